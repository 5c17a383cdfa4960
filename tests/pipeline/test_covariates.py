"""Covariates through fits and cross-validations."""

from __future__ import annotations

import numpy as np
import pytest

import bmtme
from bmtme import BMTME, CV1, SingleTrait, Trial, UsageError
from bmtme.collection import collect
from bmtme.cv.training import take_training
from bmtme.engines.rotated.chains import run_chains
from bmtme.preparation import DecompositionCache, build
from bmtme.results.targets import predict_hidden
from bmtme.sampling import plan_slots, spawn_seeds
from tests.helpers.predictions import flatten

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
#: Per plant on T1 and T2.
SLOPES = np.array([0.3, -0.1])


def make_data(lines=20, seed=2, **settings):
    """Plots with a stand on which traits depend, and a moisture on which they do not."""
    usual = {"envs": 2, "traits": 2, "reps": 2, "relationship": "markers", "heritability": 0.5}
    sim = bmtme.simulate(lines=lines, seed=seed, **usual | settings)
    rng = np.random.default_rng(seed)
    frame = sim.frame.copy()
    frame["stand"], frame["moisture"] = rng.normal(60, 8, len(frame)).round(), rng.normal(12, 1, len(frame))
    frame["stand"] += 20.0 * (frame["env"] == "E2")
    frame[["T1", "T2"]] += (frame["stand"].to_numpy()[:, None] - 60.0) * SLOPES
    return frame, sim


def read(frame, **settings):
    usual = {"rep": "rep", "covariates": ["stand", "moisture"]}
    return Trial.from_frame(frame, line="line", env="env", traits=["T1", "T2"], **usual | settings)


def run(trial, relationship, model=None, **settings):
    usual = {"draws": 40, "tune": 40, "chains": 2, "seed": 1}
    return bmtme.fit(trial, relationship, model or BMTME(), **usual | settings)


@pytest.mark.parametrize("sampler", ["collapsed", "gibbs"])
def test_slopes_are_found(sampler, tmp_path):
    """With gaps; of T1 per plant, of what it does not depend on near zero; kept by a folder."""
    frame, sim = make_data(missing_traits=0.1, missing=0.1)
    fit = run(read(frame), sim.relationship, sampler=sampler, draws=150, tune=100)
    b = fit.idata.posterior["covariate_effects"]
    assert b.dims == ("chain", "draw", "covariate", "trait")
    mean, sd = (getattr(b, word)(("chain", "draw")).values for word in ("mean", "std"))
    truth = np.array([SLOPES, [0.0, 0.0]])
    assert (np.abs(mean - truth) < 4 * sd).all()
    assert (sd[0] < 0.08).all()
    summary = fit.summary()
    rows = summary[summary.index.str.startswith("covariate_effects")]
    assert rows.index.tolist() == [f"covariate_effects[{x}, {t}]" for x in ("stand", "moisture") for t in ("T1", "T2")]
    np.testing.assert_allclose(rows["mean"].to_numpy(dtype=float).reshape(2, 2), mean)
    stand = fit._groups["observed_data"]["record_covariate"].sel(covariate="stand").values
    recorded = frame[frame[["T1", "T2"]].notna().any(axis=1)]
    wanted = recorded["stand"] - frame.groupby("env")["stand"].mean().loc[recorded["env"]].to_numpy()
    np.testing.assert_allclose(stand, wanted, atol=1e-9)
    fit.save(tmp_path / "run")
    assert bmtme.load(tmp_path / "run").summary().equals(summary)
    assert fit.run["data"]["covariates"] == ["stand", "moisture"]


def test_units_and_samplers():
    """In other units the slope is another and nothing else is; one trait at a time has one of each; stepwise none."""
    frame, sim = make_data(lines=12)
    short = {"draws": 8, "tune": 4, "sampler": "gibbs"}
    one = run(read(frame), sim.relationship, **short).idata.posterior
    two = run(read(frame.assign(stand=5.0 * frame["stand"] + 3.0)), sim.relationship, **short).idata.posterior
    factor = np.array([5.0, 1.0])[:, None]
    np.testing.assert_allclose(two["covariate_effects"] * factor, one["covariate_effects"], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(two["Sigma_t"], one["Sigma_t"], rtol=1e-6)
    alone = run(read(frame), sim.relationship, SingleTrait(BMTME()), **short)
    assert alone.idata.posterior["covariate_effects"].dims == ("chain", "draw", "covariate", "trait")
    assert "covariate_effects[stand, T2]" in alone.summary().index
    for call in (bmtme.fit, bmtme.cross_validate):
        with pytest.raises(UsageError, match="sampler='stepwise' draws the means given the effects of lines"):
            call(read(frame), sim.relationship, sampler="stepwise")


def test_hidden_plots_contain_their_covariates():
    """By hand: the mean over the hidden plots of their values, less the mean of the environment, times the slope."""
    frame, sim = make_data(missing_traits=0.05)
    trial = read(frame)
    partition = CV1(1, 0.3).masks(trial, 2)[0]
    training = take_training(trial, sim.relationship, partition, DecompositionCache(), None)
    model = BMTME(rep_effect="none")
    prepared = training.prepare(model)
    problem, scaling = build(prepared, model)
    chains = run_chains(problem, "gibbs", 20, plan_slots(20, 2, "all"), True, spawn_seeds(1, 2))
    table = predict_hidden(prepared, problem, scaling, chains, training.trial, training.cells)[0]
    posterior = collect(prepared, model, problem, scaling, chains, "all")["posterior"]
    plain = type(prepared)(**{**vars(prepared), "factors": ()})
    without = predict_hidden(plain, problem, scaling, chains, training.trial, training.cells)[0]
    b = flatten(posterior, "covariate_effects")
    centred = frame[["stand", "moisture"]] - frame.groupby("env")[["stand", "moisture"]].transform("mean")
    for row, before in zip(table.itertuples(), without.itertuples(), strict=True):
        l = trial.traits.index(row.trait)
        plots = (frame["line"] == row.line) & (frame["env"] == row.env) & frame[row.trait].notna()
        shift = b[:, :, l] @ centred[plots].mean().to_numpy()
        assert row.mean == pytest.approx(before.mean + shift.mean(), rel=1e-9)
    assert np.abs(table["mean"] - without["mean"]).max() > 1.0
