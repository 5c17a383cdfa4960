"""Replicates that differ."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from bmtme.checkup.cautions import warn_of_values
from bmtme.checkup.replicates import compare_replicates, tabulate_replicates
from bmtme.data.trial import Trial
from tests.helpers.cautions import caution, list_cautions, said_by_fit, simulate_cells, stack_plots


def test_f_test_of_replicates_by_hand():
    """Complete blocks against the sums of squares of a two-way table, incomplete ones against dense least squares."""
    rng = np.random.default_rng(1)
    table = rng.normal(size=(12, 3)) + rng.normal(size=(12, 1)) + [0, 1.5, 3]
    line, rep = (index.ravel() for index in np.meshgrid(np.arange(12), np.arange(3), indexing="ij"))
    between = 12 * ((table.mean(axis=0) - table.mean()) ** 2).sum()
    error = ((table - table.mean(axis=1)[:, None] - table.mean(axis=0) + table.mean()) ** 2).sum()
    from scipy.stats import f

    p, share = compare_replicates(table.ravel(), line, rep)
    assert p == pytest.approx(f.sf(between / 2 / (error / 22), 2, 22), rel=1e-6)
    assert share == pytest.approx(1 - error / 22 / ((between + error) / 24))
    kept = rng.random(36) < 0.7
    y, line, rep = table.ravel()[kept], line[kept], rep[kept]
    squares, ranks = [], []
    for design in (np.eye(12)[line], np.hstack([np.eye(12)[line], np.eye(3)[rep]])):
        coefficients, _, rank, _ = np.linalg.lstsq(design, y, rcond=None)
        squares.append(((y - design @ coefficients) ** 2).sum())
        ranks.append(rank)
    ratio = (squares[0] - squares[1]) / (ranks[1] - ranks[0]) / (squares[1] / (len(y) - ranks[1]))
    expected = f.sf(ratio, ranks[1] - ranks[0], len(y) - ranks[1])
    assert compare_replicates(y, line, rep)[0] == pytest.approx(expected, rel=1e-6)


def test_replicates_that_differ(no_sampling):
    cells = simulate_cells(30, 2, 2)
    rng = np.random.default_rng(2)
    first, second = cells + rng.normal(size=cells.shape), cells + rng.normal(size=cells.shape)
    reps = ("1", "2")
    assert list_cautions(stack_plots(first, second, reps=reps)) == set()
    second[:, 1, 0] += 4
    trial = stack_plots(first, second, reps=reps)
    finding = caution(trial, "replicates differ")
    assert [(item["env"], item["trait"]) for item in finding.items] == [("2019", "A")]
    assert finding.severity == "note"
    assert "have effects of these replicates by default (rep_effect)" in finding.summary
    assert said_by_fit(trial, no_sampling) == []
    table = tabulate_replicates(trial).set_index(["env", "rep", "trait"])
    assert table.loc[("2019", "2", "A"), "mean"] == pytest.approx(second[:, 1, 0].mean())
    assert table["lines"].eq(30).all()
    said = str(trial.check())
    assert "Mean of each replicate of five or more lines" in said
    assert f"{second[:, 1, 0].mean():.1f}" in said
    # Labels of several columns, and none.
    several = stack_plots(first, second, reps=reps)
    plots = tuple(f"{rep}:{n}" for n, rep in enumerate(several.reps))
    cut = Trial(
        several.lines, several.envs, several.traits, several.line_index, several.env_index, several.values, plots
    )
    assert caution(cut, "replicates differ").items == finding.items
    assert tabulate_replicates(stack_plots(first, second)).empty


def test_replicates_that_differ_without_effects(no_sampling):
    """A third one of few lines: by default there are no effects in this environment."""
    cells = simulate_cells(30, 2, 2)
    rng = np.random.default_rng(2)
    plots = [cells + rng.normal(size=cells.shape) for _ in range(3)]
    plots[1][:, 1, 0] += 4
    plots[2][4:, 1] = np.nan
    trial = stack_plots(*plots, reps=("1", "2", "3"))
    finding = caution(trial, "replicates differ")
    assert finding.severity == "warning"
    (text,) = (each for each in said_by_fit(trial, no_sampling) if each.startswith("Replicates"))
    assert "as one holds fewer than 5 lines: their differences go into the residual variance" in text
    assert "Use rep_effect='fixed' or 'random' (in the shell --rep-effect)." in text
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_values(trial, True, False, True, 1)
    assert not [each for each in caught if str(each.message).startswith("Replicates")]


def test_how_often_alike_replicates_are_said_to_differ():
    """A chance of one in a thousand for each column; and never where lines differ, not replicates."""
    found = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        cells = simulate_cells(15, 2, 2, seed)
        plots = [cells + 5 * rng.normal(size=cells.shape) for _ in range(3)]
        found += "replicates differ" in list_cautions(stack_plots(*plots, reps=("1", "2", "3")))
    assert found <= 4  # 0.8 expected of 800
