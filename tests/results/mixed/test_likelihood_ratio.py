"""Which distribution a likelihood ratio has, by what is tested."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from bmtme import mixed
from bmtme.errors import UsageError
from bmtme.model.mixed.design import lay_out
from bmtme.model.mixed.fixed import parse_fixed
from bmtme.model.mixed.parser import parse_random, parse_residual
from bmtme.model.mixed.plots import Plots
from bmtme.results.mixed.likelihood_ratio import UNKNOWN, Mixture, find_mixture
from bmtme.results.mixed.problem import make_axes


def count_parameters(layout):
    return sum(axis.count for design in (*layout.residual, *layout.random) for axis in make_axes(design))


def find(series, small, large, residuals=("units", "units"), fixed="yield ~ site"):
    layouts = [
        lay_out(parse_fixed(fixed), parse_random(words), parse_residual(residual), {}, Plots.of(series))
        for words, residual in zip((small, large), residuals, strict=True)
    ]
    return find_mixture(*layouts, count_parameters(layouts[1]) - count_parameters(layouts[0]))


@pytest.mark.parametrize(
    "small, large, wanted",
    [
        # A variance that is zero: half of the time its estimate is, too.
        (None, "line", {0: 0.5, 1: 0.5}),
        ("line", "line + site:line", {0: 0.5, 1: 0.5}),
        ("line", "line + units", {0: 0.5, 1: 0.5}),
        ("line", "line + at(site):col", {0: 0.25, 1: 0.5, 2: 0.25}),
        (None, "diag(site):line", {0: 0.25, 1: 0.5, 2: 0.25}),
        # One more level of an unstructured covariance.
        ('at(site, "N"):line', "us(site):line", {1: 0.5, 2: 0.5}),
        # Correlations and variances that are split lie inside.
        ("site:line", "diag(site):line", {1: 1.0}),
        ("diag(site):line", "us(site):line", {1: 1.0}),
        ("at(site):line", "us(site):line", {1: 1.0}),
        ("site:line", "corh(site):line", {2: 1.0}),
        ("cs(site):line", "corh(site):line", {1: 1.0}),
        ("line + site:line", "us(site):line", {1: 1.0}),
        ("site:line", "corh(site):line + site:col", {2: 0.5, 3: 0.5}),
    ],
)
def test_mixtures(series, small, large, wanted):
    assert find(series, small, large).weights == wanted


@pytest.mark.parametrize("large", ["us(site):line", "corh(site):line"])
@pytest.mark.parametrize("small", [None, "line"])
def test_what_is_not_known_is_said(series, small, large):
    """From nothing, or from a correlation of one, to a covariance: the chi-square is conservative."""
    found = find(series, small, large)
    assert found.note == UNKNOWN
    assert len(found.weights) == 1


def test_residuals_lie_inside(series):
    assert find(series, None, None, ("units", "units | site")).weights == {1: 1.0}
    assert find(series, None, None, ("units | site", "ar1(col):ar1(row) | site")).weights == {4: 1.0}
    assert find(series, None, "line", ("units", "units | site")).weights == {1: 0.5, 2: 0.5}


def test_models_that_are_not_nested(series):
    with pytest.raises(UsageError, match="random term line, which the other neither has nor extends"):
        find(series, "line", "site:col + site:row")


def test_probabilities():
    half = Mixture({0: 0.5, 1: 0.5})
    assert str(half) == "0.5 chi2(0) + 0.5 chi2(1)"
    assert half.find_p(2.705543) == pytest.approx(0.05, abs=1e-7)
    assert half.find_p(0.0) == 1.0
    assert Mixture({1: 0.5, 2: 0.5}).find_p(5.138) == pytest.approx(0.05, abs=1e-4)  # Stram and Lee's table
    assert Mixture({1: 1.0}).find_p(5.3223) == pytest.approx(0.02105, abs=1e-4)


def test_tests_of_fits(series):
    none = mixed.Model("yield ~ site", "site:col").fit(series)
    one = mixed.Model("yield ~ site", "line + site:col").fit(series)
    table = one.lrt(none)
    assert table.equals(none.lrt(one))
    row = table.iloc[0]
    statistic = 2 * (one.log_likelihood - none.log_likelihood)
    assert row["statistic"] == pytest.approx(statistic)
    assert row["p_plain"] == pytest.approx(scipy.stats.chi2.sf(statistic, 1))
    assert row["p"] == pytest.approx(row["p_plain"] / 2)
    assert row["distribution"] == "0.5 chi2(0) + 0.5 chi2(1)"


def test_fits_that_cannot_be_compared(series):
    one = mixed.Model("yield ~ site", "line").fit(series)
    with pytest.raises(UsageError, match="different fixed parts"):
        one.lrt(mixed.Model("yield ~ site + stand").fit(series))
    with pytest.raises(UsageError, match="different records"):
        one.lrt(mixed.Model("yield ~ site").fit(series.iloc[:-1]))
    with pytest.raises(UsageError, match="2 parameters of covariances each"):
        one.lrt(mixed.Model("yield ~ site", "site:col").fit(series))
    with pytest.raises(UsageError, match="must be a fit of a mixed model"):
        one.lrt(np.nan)
