"""The trial, a fit and a cross-validation of it."""

import warnings

import numpy as np
import pytest

from bmtme import BMTME, CV1, cross_validate, fit, simulate
from tests.helpers.trials import trial_of
from tests.reported.design import CHAINS, DRAWS, EMPTY, KEPT, OUTSIDE, TRAITS, UNITS


@pytest.fixture(scope="package")
def data():
    """Frame and relationship; one to three plots in a cell, and no T3 in E2."""
    sim = simulate(lines=14, reps=3, missing_traits=0.15, relationship="markers", seed=11)
    frame = sim.frame[~sim.frame["line"].isin(OUTSIDE)].sample(frac=1.0, random_state=1)
    frame = frame[(frame["rep"] == "1") | (np.random.default_rng(2).random(len(frame)) < 0.4)]
    frame[TRAITS] *= UNITS
    frame.loc[frame["env"] == "E2", "T3"] = np.nan
    frame.loc[frame["line"] == EMPTY, TRAITS] = np.nan
    return frame.reset_index(drop=True), sim.relationship


@pytest.fixture(scope="package")
def recorded(data):
    """Rows with a value."""
    frame, _ = data
    return frame[frame[TRAITS].notna().any(axis=1)]


@pytest.fixture(scope="package")
def fitted(data):
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setattr("bmtme.results.predictions.KEPT", KEPT * CHAINS)
        settings = {"draws": DRAWS, "tune": 30, "chains": CHAINS, "seed": 3, "sampler": "gibbs"}
        return fit(trial_of(data[0]), data[1], keep_effects="all", **settings)


@pytest.fixture(scope="package")
def compared(data):
    models, settings = {"un": BMTME(), "bd": BMTME("diagonal")}, {"draws": 8, "tune": 4, "chains": 3, "seed": 5}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return cross_validate(trial_of(data[0]), data[1], models, CV1(4, 0.3), sampler="gibbs", **settings)


@pytest.fixture(scope="package")
def orders(data):
    """Environments and traits as in the trial."""
    trial = trial_of(data[0])
    return list(trial.envs), list(trial.traits)
