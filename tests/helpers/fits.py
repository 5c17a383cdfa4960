"""Short fits, and what is compared of two."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import numpy as np
import pandas as pd

from bmtme import BMTME, Relationship, fit
from bmtme.results.fit import Fit
from tests.helpers.trials import trial_of


def fit_frame(frame: pd.DataFrame, relationship: Relationship, model: BMTME | None = None, **settings: object) -> Fit:
    """A very short fit of a frame as `trial_of` takes it."""
    short = {"draws": 60, "tune": 30, "chains": 2, "seed": 1}
    return fit(trial_of(frame), relationship, model, **short | settings)


#: Long enough for what a summary says of covariances; without effects.
fit_covariances = partial(fit_frame, draws=400, tune=300, keep_effects="none")


def assert_equal_draws(one: Fit, two: Fit, names: Iterable[str] | None = None, tolerance: float = 0.0) -> None:
    """The same draws of everything, or of the variables named: of every digit, or within a tolerance."""
    p, q = one.idata.posterior, two.idata.posterior
    if names is None:
        assert set(p.data_vars) == set(q.data_vars)
    for name in names or p.data_vars:
        np.testing.assert_allclose(q[name].values, p[name].values, rtol=tolerance, atol=tolerance, err_msg=name)
