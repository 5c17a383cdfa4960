"""Scores and their summary against numbers worked out by hand."""

import itertools
import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from bmtme.cv.scores import score, summarise
from bmtme.errors import UsageError
from bmtme.results.agreement import msep, pearson

SCORE_COLUMNS = ("model", "partition", "env", "trait", "n_test", "pearson", "msep")
SUMMARY_COLUMNS = (
    "model", "env", "trait", "n_partitions", "pearson_mean", "pearson_se", "msep_mean", "msep_se", "pearson_rank",
    "msep_rank",
)  # fmt: skip


def predictions(rows):
    """Rows (model, partition, line, env, trait, observed, mean) as the table of cross-validation."""
    table = pd.DataFrame(rows, columns=["model", "partition", "line", "env", "trait", "observed", "mean"])
    table["n_obs"], table["sd"], table["lower"], table["upper"] = 1, 1.0, -1.0, 1.0
    return table


def scores(rows):
    """Rows (model, partition, env, trait, n_test, pearson, msep)."""
    return pd.DataFrame(rows, columns=list(SCORE_COLUMNS))


def test_pearson_and_msep_by_hand():
    # Deviations (-2, -1, 1, 2) and (-1, -2, 2, 1): 2 * (2 + 2) / 10; errors (0, 1, 0, 1) squared.
    assert pearson([1, 2, 4, 5], [1, 0, 4, 3]) == pytest.approx(8 / 10)
    assert msep([1, 2, 4, 5], [1, 3, 4, 4]) == pytest.approx(0.5)
    assert pearson([1, 2, 4], [-1, -2, -4]) == pytest.approx(-1.0)
    rng = np.random.default_rng(1)
    y, f = rng.normal(size=(2, 50))
    assert pearson(y, f) == pytest.approx(np.corrcoef(y, f)[0, 1], abs=1e-14)
    assert -1.0 <= pearson(y, 3.0 * y) <= 1.0


@pytest.mark.parametrize("scale", [1e-200, 1e-6, 1.0, 1e6, 1e200])
def test_pearson_does_not_depend_on_units(scale):
    rng = np.random.default_rng(2)
    y, f = rng.normal(size=(2, 30))
    assert pearson(scale * y, scale * f) == pytest.approx(pearson(y, f), abs=1e-12)
    assert pearson(scale * (y + 1e6), scale * (f + 1e6)) == pytest.approx(pearson(y, f), abs=1e-8)


def test_pearson_is_missing_where_a_side_is_constant():
    y = np.array([5.0, 6.0, 7.0, 8.0])
    rounding = np.array([0.0, 1.0, -1.0, 2.0])
    assert math.isnan(pearson(y, np.full(4, 6.5)))
    assert math.isnan(pearson(np.full(4, 6.5), y))
    assert math.isnan(pearson(y, 6.5 + 1e-15 * rounding))
    assert math.isnan(pearson(y, 1e-17 * rounding))  # a constant zero but for rounding at the size of y
    assert math.isnan(pearson(np.zeros(4), y))
    assert math.isnan(pearson(np.zeros(4), np.zeros(4)))
    assert pearson(y, 6.5 + 1e-6 * np.arange(4)) == pytest.approx(1.0)  # strongly shrunk is not constant


def test_missing_scores():
    assert math.isnan(pearson([1, 2], [1, 2]))
    assert math.isnan(pearson([], []))
    assert math.isnan(pearson([1, 2, 3], [1, 2, np.nan]))
    assert math.isnan(msep([], []))
    assert math.isnan(msep([1, 2], [np.nan, 2]))
    with pytest.raises(UsageError, match="vectors of one length"):
        msep([1, 2], [1])


def test_score_by_hand():
    rows = []
    for line, observed, mean in zip("abcd", [1, 2, 4, 5], [1, 0, 4, 3], strict=True):
        rows.append(("un", "1", line, "E1", "Yield", observed, mean))
    rows += [("un", "1", line, "E1", "ASI", 1.0, 3.0) for line in "ab"]
    rows += [("un", "1", "c", "E1", "ASI", np.nan, 3.0)]
    table = score(predictions(rows))
    assert list(table.columns) == list(SCORE_COLUMNS)
    assert table["n_test"].tolist() == [4, 2]
    assert table["pearson"][0] == pytest.approx(0.8)
    assert math.isnan(table["pearson"][1])
    assert table["msep"].tolist() == [2.0, 4.0]


def test_score_orders_rows():
    rng = np.random.default_rng(1)
    cells = [(m, p, e, t) for m in ("un", "bd") for p in ("10", "2") for e in ("E2", "E1") for t in ("Yield", "ASI")]
    rows = [(m, p, line, e, t, rng.normal(), rng.normal()) for m, p, e, t in cells for line in "abc"]
    table = score(predictions(rows))
    assert list(table[["model", "partition", "env", "trait"]].itertuples(index=False, name=None)) == cells
    ordered = score(predictions(rows), envs=["E1", "E2", "E3"], traits=["ASI", "Yield"])
    expected = list(itertools.product(["un", "bd"], ["10", "2"], ["E1", "E2"], ["ASI", "Yield"]))
    assert list(ordered[["model", "partition", "env", "trait"]].itertuples(index=False, name=None)) == expected
    assert ordered.set_index(["model", "partition", "env", "trait"])["msep"].to_dict() == pytest.approx(
        table.set_index(["model", "partition", "env", "trait"])["msep"].to_dict()
    )
    with pytest.raises(UsageError, match="env 'E2' is not among the envs given: 'E1'"):
        score(predictions(rows), envs=["E1"])
    with pytest.raises(UsageError, match="predictions lacks the column 'observed'"):
        score(predictions(rows).drop(columns="observed"))


def test_score_of_no_predictions():
    table = score(predictions([]))
    assert list(table.columns) == list(SCORE_COLUMNS)
    assert table.empty
    assert list(summarise(table).columns) == list(SUMMARY_COLUMNS)


def test_summary_by_hand():
    rows = [("un", str(k), "E1", "Yield", 5, r, e) for k, r, e in [(1, 0.2, 4.0), (2, 0.4, 6.0), (3, 0.6, 8.0)]]
    rows += [("bd", str(k), "E1", "Yield", 5, r, e) for k, r, e in [(1, 0.5, 5.0), (2, np.nan, 6.0), (3, 0.7, 1.0)]]
    rows += [("st", str(k), "E1", "Yield", 5, np.nan, 6.0) for k in (1, 2, 3)]
    rows += [("st", "1", "E2", "Yield", 2, np.nan, 7.0)]
    table = summarise(scores(rows))
    assert list(table.columns) == list(SUMMARY_COLUMNS)
    assert table["model"].tolist() == ["un", "bd", "st", "st"]
    assert table["n_partitions"].tolist() == [3, 3, 3, 1]
    np.testing.assert_allclose(table["pearson_mean"], [0.4, 0.6, np.nan, np.nan])
    np.testing.assert_allclose(
        table["pearson_se"], [0.2 / math.sqrt(3), 0.1 * math.sqrt(2) / math.sqrt(2), np.nan, np.nan]
    )
    np.testing.assert_allclose(table["msep_mean"], [6.0, 4.0, 6.0, 7.0])
    np.testing.assert_allclose(table["msep_se"], [2 / math.sqrt(3), math.sqrt(7) / math.sqrt(3), 0.0, np.nan])
    np.testing.assert_array_equal(table["pearson_rank"], [2, 1, np.nan, np.nan])
    np.testing.assert_array_equal(table["msep_rank"], [2, 1, 2, 1])  # a tie shares the lower rank


def test_summary_orders_rows():
    rows = [
        (m, p, e, t, 5, 0.1, 1.0)
        for p in ("1", "2")
        for m in ("un", "bd")
        for t in ("Yield", "ASI")
        for e in ("B", "A")
    ]
    table = summarise(scores(rows), envs=["A", "B"])
    expected = list(itertools.product(["un", "bd"], ["A", "B"], ["Yield", "ASI"]))
    assert list(table[["model", "env", "trait"]].itertuples(index=False, name=None)) == expected
    with pytest.raises(UsageError, match="lacks the column 'msep'"):
        summarise(scores(rows).drop(columns="msep"))


def test_masks_and_scores_need_no_compiled_code():
    script = "import sys, bmtme.cv; print(sorted({'numba', 'arviz'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
