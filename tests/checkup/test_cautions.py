"""What `check`, `fit` and `cross_validate` say about values that would give wrong numbers: one implementation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bmtme.checkup.cautions import find_cautions
from bmtme.checkup.dependences import find_dependences
from bmtme.data.trial import Trial
from tests.helpers.cautions import caution, list_cautions, said_by_fit, simulate_cells, stack_plots


@pytest.mark.parametrize("seed", range(5))
def test_ordinary_values_need_no_caution(seed, no_sampling):
    trial = stack_plots(simulate_cells(60, 4, 3, seed))
    assert list_cautions(trial) == set()
    assert said_by_fit(trial, no_sampling) == []


# --- one cause, one word ------------------------------------------------------------------------------------------


def test_an_exact_relation_is_not_called_a_likeness_too():
    """Of its advice, the difference of the two traits would leave nothing."""
    cells = simulate_cells(40, 3, 2)
    cells[:, :, 1] = 2 * cells[:, :, 0] + np.arange(3)
    assert list_cautions(stack_plots(cells)) == {"dependent columns"}
    # Where it is exact in one environment only, the likeness in another is told still.
    cells[:, 1:, 1] = np.round(cells[:, 1:, 1] + 0.3 * np.random.default_rng(0).normal(size=(40, 2)), 2)
    trial = stack_plots(cells)
    assert {"dependent columns", "traits alike"} <= list_cautions(trial)
    assert "2018" not in caution(trial, "traits alike").summary
    assert "of 2018" in caution(trial, "dependent columns").summary


def test_another_unit_is_not_called_an_unequal_spread_too():
    cells = simulate_cells(40, 3, 1)
    cells[:, 1] *= 1000
    assert list_cautions(stack_plots(cells)) == {"unit"}
    # The other environments are compared still.
    cells[:, 2] = np.round(50 + 6 * (cells[:, 2] - 50), 2)
    finding = caution(stack_plots(cells), "unequal spread")
    assert {finding.items[0]["env"], finding.items[0]["other"]} == {"2018", "2020"}


def test_a_unit_so_large_that_a_fit_is_refused_is_named():
    cells = simulate_cells(40, 3, 1)
    cells[:, 1] = 0.03 * cells[:, 1]
    cells[:, [0, 2]] *= 1000
    assert "varies in 2019 by" in (text := caution(stack_plots(cells), "constant in an environment").summary)
    assert "(another unit?)" in text


# --- relationship -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [1e3, -400.0, 1e6])
def test_a_gross_outlier_is_said_by_a_fit_too(value, no_sampling):
    cells = simulate_cells(40, 2, 2)
    cells[3, 0, 1] = value
    trial = stack_plots(cells)
    finding = caution(trial, "gross outlier")
    assert f"B of g3 in 2018 is {value:.6g}, where the median is" in finding.summary
    # Nothing is said of the other environment, which varies as ever.
    assert list_cautions(trial) <= {"gross outlier", "missing code"}
    assert any(text == finding.summary for text in said_by_fit(trial, no_sampling))


def test_an_outlier_makes_no_plots_alike():
    plots = [simulate_cells(20, 2, 1, seed=0) + np.random.default_rng(k).normal(size=(20, 2, 1)) for k in range(2)]
    plots[0][4, 0, 0] = 1e6
    assert list_cautions(stack_plots(*plots)) == {"gross outlier"}


def test_heavy_tails_are_no_gross_outliers():
    cells = simulate_cells(60, 2, 1)
    cells[:, 1, 0] = np.exp(np.random.default_rng(1).normal(size=60))
    cells[:5, 0, 0] += 60  # a group of lines that differ
    assert "gross outlier" not in list_cautions(stack_plots(cells))


def test_two_magnitudes_in_an_environment(no_sampling):
    cells = simulate_cells(40, 2, 1) * 100
    cells[:9, 0, 0] /= 1000  # 4.817 for 4,817
    trial = stack_plots(cells)
    finding = caution(trial, "two magnitudes")
    assert "A in 2018 is" in finding.summary
    assert "in 9 records and" in finding.summary
    assert finding.summary in said_by_fit(trial, no_sampling)


def test_small_values_of_a_wide_trait_are_of_one_magnitude():
    for seed in range(20):
        cells = np.random.default_rng(seed).lognormal(sigma=1.5, size=(60, 2, 1))
        assert "two magnitudes" not in list_cautions(stack_plots(cells))


def test_real_sets_are_fitted_without_a_word(data_file):
    for name, traits in (
        ("maize309_mtme", "Yield,ASI,PH"),
        ("wheat250_mtme", "DTHD,GRYLD,NDVI,PTHT"),
        ("wheat599", "GY"),
        ("potato_hancock", "total.yield,vine.maturity,fry.color"),
    ):
        frame = pd.read_csv(data_file(f"{name}/pheno.csv"))
        trial = Trial.from_frame(frame, line="line", env="env", traits=traits.split(","))
        assert [finding.kind for finding in find_cautions(trial) if finding.severity != "note"] == []
        assert find_dependences(trial) == []
