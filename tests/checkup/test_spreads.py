"""Environments of unequal spread."""

from __future__ import annotations

import numpy as np
import pytest

from bmtme.checkup.constants import deviate_within
from tests.helpers.cautions import caution, list_cautions, said_by_fit, simulate_cells, stack_plots


@pytest.mark.parametrize(("factor", "severity"), [(1.2, None), (2.2, "note"), (6.0, "warning")])
def test_standard_deviations_that_differ(factor, severity, no_sampling):
    cells = simulate_cells(80, 3, 1)
    cells[:, 2] = np.round(50 + factor * (cells[:, 2] - 50), 2)
    trial = stack_plots(cells)
    if severity is None:
        assert list_cautions(trial) == set()
    else:
        finding = caution(trial, "unequal spread")
        assert finding.severity == severity
        assert finding.items[0]["other"] == "2020"
    said = said_by_fit(trial, no_sampling)
    assert len(said) == (severity == "warning")
    assert all("one residual variance for all environments" in text for text in said)


def test_small_environments_and_outliers_have_no_spread_of_their_own():
    for lines in (12, 16, 40):
        for seed in range(40):
            cells = simulate_cells(lines, 6, 2, seed)
            cells[0, 0, 0] += 200
            assert list_cautions(stack_plots(cells)) <= {"gross outlier"}


def test_deviations_within_lines_have_the_variance_of_a_plot():
    rng = np.random.default_rng(0)
    cells = simulate_cells(500, 1, 1)
    for n in (2, 3):
        trial = stack_plots(*(cells + 2 * rng.normal(size=(n, 500, 1, 1))))
        around, freedom = deviate_within(trial, np.arange(trial.n_records), 0)
        assert freedom == 500 * (n - 1)
        table = trial.values.reshape(n, 500)
        assert (around**2).mean() == pytest.approx(table.var(axis=0, ddof=1).mean())
    once, freedom = deviate_within(trial, np.arange(500), 0)
    assert (len(once), freedom) == (0, 0)


def test_spread_within_lines_where_there_are_plots():
    cells = simulate_cells(40, 2, 1)
    rng = np.random.default_rng(0)
    errors = rng.normal(size=(2, 40, 2, 1)) * np.array([0.5, 3.0])[:, None]
    trial = stack_plots(*(cells + errors), reps=("1", "2"))
    finding = caution(trial, "unequal spread")
    assert "(plots around their line's mean)" in finding.summary
    assert finding.items[0]["value"] == pytest.approx(6, rel=0.4)
