"""Posteriors with mass where a variance is zero: chains of the default sampler do not lose themselves there."""

import numpy as np
import pytest

from bmtme import Relationship, Trial, fit, simulate
from bmtme.results.summary import diagnose


def residuals_of_few_lines():
    """Full genetic rank and one plot a cell: the genetic effects can explain everything, R_e may be near singular."""
    sim = simulate(lines=30, envs=3, traits=2, relationship="markers", heritability=0.7, interaction=0.5, seed=12)
    return sim.frame[sim.frame["line"] != "L04"], sim.relationship


def genetics_of_unrelated_lines():
    """Twenty unrelated lines in two environments: Sigma_t may be near zero, with Sigma_E far out or not."""
    sim = simulate(lines=20, envs=2, traits=2, reps=2, missing=0.1, heritability=0.5, seed=5,
                   relationship=Relationship.identity([f"L{j}" for j in range(20)]))  # fmt: skip
    return sim.frame.drop(index=sim.frame.index[::6]), sim.relationship


@pytest.mark.parametrize(
    "make", [residuals_of_few_lines, pytest.param(genetics_of_unrelated_lines, marks=pytest.mark.slow)]
)
def test_variances_near_zero(make):
    frame, relationship = make()
    trial = Trial.from_frame(frame, line="line", env="env", traits=["T1", "T2"], rep="rep")
    result = fit(trial, relationship, draws=2500, tune=500, chains=4, seed=7, keep_effects="none")
    posterior = result.idata.posterior
    roots = {"sd genetic": np.sqrt(np.diagonal(posterior["Sigma_t"].values, axis1=2, axis2=3))}
    roots["sd residual"] = np.sqrt(np.diagonal(posterior["R_e"].values, axis1=2, axis2=3))
    roots["root interaction"] = np.sqrt(np.diagonal(posterior["Sigma_E"].values, axis1=2, axis2=3))
    for name, draws in roots.items():
        bulk, _, r_hat = diagnose(np.moveaxis(draws, -1, 0))
        assert bulk.min() > 400, name
        assert r_hat.max() < 1.03, name
    low = np.linalg.eigvalsh(posterior["R_e"].values if make is residuals_of_few_lines else posterior["Sigma_t"].values)
    assert (low[..., 0] < 0.02).any(axis=1).all()  # every chain has been there
    assert result.idata.sample_stats["diverging"].values.mean() < 0.01
