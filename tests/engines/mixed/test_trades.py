"""Two variances that trade what they have of their sum: a law that the move should leave as it is stays as it is."""

import numpy as np
import pytest
from scipy.stats import ks_2samp

from bmtme.engines.mixed.axes import AR1, Identity, Unstructured, Variance
from bmtme.engines.mixed.problem import Section, Term
from bmtme.engines.mixed.trades import Trades

BLOCKS = (
    Section("field", np.arange(6), (Variance(), AR1(2), AR1(3)), np.arange(6)),
    Term("line", (Unstructured(2), Identity(3)), np.arange(6)),
    Term("nugget", (Variance(), Identity(6)), np.arange(6)),
)
SCALES, N = np.array([1.0, 0.3]), 4000


def draw(rng):
    """(N, 7): half-normal standard deviations, autocorrelations that prefer to be positive, and others."""
    theta = rng.standard_normal((N, 7))
    theta[:, [0, 6]] = np.log(np.abs(SCALES * rng.standard_normal((N, 2))))
    theta[:, 1:3] = np.arctanh(2.0 * rng.beta(3.0, 1.0, (N, 2)) - 1.0)
    return theta


def measure(theta):
    """Log density, of what the move changes."""
    s, rho = np.exp(theta[[0, 6]]), np.tanh(theta[1:3])
    return float(
        (theta[[0, 6]] - 0.5 * (s / SCALES) ** 2).sum() + (2 * np.log((1 + rho) / 2) + np.log1p(-(rho**2))).sum()
    )


def move(theta, rng, trades):
    there, ratio = trades.propose(theta, rng)
    return there if np.log(rng.random()) < measure(there) - measure(theta) + ratio else theta


def find_least_p(trades):
    rng = np.random.default_rng(3)
    moved = np.array([move(theta, rng, trades) for theta in draw(rng)])
    assert (moved[:, 0] != draw(np.random.default_rng(3))[:, 0]).mean() > 0.3
    fresh = draw(np.random.default_rng(4))
    return min(ks_2samp(moved[:, k], fresh[:, k]).pvalue for k in (0, 1, 2, 6))


def test_places():
    trades = Trades(BLOCKS)
    assert trades.variances == [0, 6]
    assert trades.correlations == [[1, 2], []]
    assert trades
    assert not Trades(BLOCKS[:2])


def test_the_law_stays():
    assert find_least_p(Trades(BLOCKS)) > 1e-3


@pytest.mark.parametrize("wrong", ["sizes", "correlations"])
def test_a_wrong_ratio_is_caught(wrong, monkeypatch):
    propose = Trades.propose

    def err(self, theta, rng):
        there, ratio = propose(self, theta, rng)
        sizes = float(theta[[0, 6]].sum() - there[[0, 6]].sum())
        return there, ratio - sizes if wrong == "sizes" else sizes

    monkeypatch.setattr(Trades, "propose", err)
    assert find_least_p(Trades(BLOCKS)) < 1e-3
