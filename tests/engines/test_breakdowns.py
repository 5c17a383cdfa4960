"""What is said of sweeps that break down: the matrix, the entry, the sweep, and what to do."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from bmtme import BMTME, CV2, NumericalError, cross_validate, fit, simulate
from bmtme.engines.breakdowns import Breakdown, describe_failure, refuse_gaps
from bmtme.engines.rotated.failures import FAILURES, MEANS, PAIR, R_E, SIGMA_E, SIGMA_T
from tests.helpers.trials import trial_of

FINE, SPREAD = np.array([[2.0, 0.5, 0.1], [0.5, 1.0, 0.2], [0.1, 0.2, 3.0]]), np.array([0.3, 0.7])
NAMES = ["a", "b", "c"], ["X", "Y"]


def make_alike(one, other, share):
    """A covariance of which two traits correlate by so much."""
    sd, r = np.array([2.0, 1e-3, 30.0]), np.eye(3)
    r[one, other] = r[other, one] = share
    return r * np.outer(sd, sd)


@pytest.mark.parametrize("code", [R_E, PAIR, MEANS])
@pytest.mark.parametrize("share", [1.0, -1.0 + 1e-9])
def test_traits_that_are_one_are_named(code, share):
    error = describe_failure("sweep 7", code, FINE, SPREAD, make_alike(2, 0, share)).name(*NAMES)
    assert str(error).startswith(
        f"sweep 7: {FAILURES[code]} is not positive definite: the correlation of 'a' and 'c' in R_e has come to "
        f"{share:.12g}. Leave one of the two traits out"
    )


def test_the_worst_of_all_matrices_is_named():
    blocks = np.vstack([FINE, make_alike(0, 1, 1.0 - 1e-8)])
    error = describe_failure("sweep 2", PAIR, make_alike(1, 2, 1.0 - 1e-7), SPREAD, blocks)
    assert "'a' and 'b' in R_e of environment 'Y' has come to 0.99999999." in str(error.name(*NAMES))
    assert "trait 1 and trait 2 in R_e of environment 2" in str(error)
    error = describe_failure("sweep 2", SIGMA_T, make_alike(1, 2, 1.0 - 1e-7), SPREAD, blocks)
    assert "'b' and 'c' in Sigma_t has come to 0.9999999." in str(error.name(*NAMES))
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), str(again.name(*NAMES))) == (str(error), str(error.name(*NAMES)))


def test_variances_and_numbers_that_are_none_are_named():
    gone = FINE.copy()
    gone[1, 1] = 0.0
    text = str(describe_failure("sweep 2", R_E, FINE, SPREAD, gone).name(*NAMES))
    assert "the entry of 'b' in R_e has come to 0 (in standard deviations). Look for a trait" in text
    gone = FINE.copy()
    gone[2, 1] = np.nan
    text = str(describe_failure("sweep 2", SIGMA_T, gone, SPREAD, FINE).name(*NAMES))
    assert "the entry of 'c' in Sigma_t has come to nan" in text
    text = str(describe_failure("sweep 2", SIGMA_E, FINE, np.array([0.1, -1e-9]), FINE).name(*NAMES))
    assert "the entry in Sigma_E of environment 'Y' has come to -1e-09" in text
    text = str(describe_failure("sweep 2", PAIR, FINE, SPREAD, FINE))
    assert text == f"sweep 2: {FAILURES[PAIR]} is not positive definite. {text.partition('definite. ')[2]}"
    assert "Look for a trait that is constant" in text


def test_draws_that_are_no_numbers_are_refused():
    made = {"beta": np.zeros((4, 2, 3)), "the residual variance": np.ones((4, 2, 3))}
    refuse_gaps(11, made)
    made["the residual variance"][2, 1, 0] = np.inf
    with pytest.raises(Breakdown, match="sweep 13: the residual variance is no finite number") as error:
        refuse_gaps(11, made)
    assert "the entry of 'a' in the residual variance of environment 'Y' has come to inf" in str(
        error.value.name(*NAMES)
    )


@pytest.mark.filterwarnings("ignore")
def test_fits_name_the_traits():
    sim = simulate(lines=30, envs=2, traits=2, relationship="markers", seed=1)
    frame = sim.frame
    noise = np.random.default_rng(5).standard_normal(len(frame))
    frame["T3"] = 3.0 * frame["T1"] + 1e-8 * 3.0 * frame["T1"].std() * noise
    short = {"draws": 200, "tune": 100, "chains": 2, "seed": 3}
    told = r"sweep \d+: R_e .* is not positive definite: the correlation of 'T1' and 'T3' in R_e has come to"
    with pytest.raises(NumericalError, match=f"^{told}"):
        fit(trial_of(frame), sim.relationship, **short)
    with pytest.raises(NumericalError, match=f"chain . of 2: {told}"):
        cross_validate(trial_of(frame), sim.relationship, BMTME(), CV2(["T2"], ["E1"]), **short)
