"""Scores and their summary against numbers worked out by hand."""

import itertools
import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bmtme.cv.scores import score, score_means, summarise
from bmtme.errors import UsageError
from bmtme.results.agreement import Pair
from tests.helpers.comparisons import make_result


def pearson(observed, predicted):
    return Pair(observed, predicted).pearson


def spearman(observed, predicted):
    return Pair(observed, predicted).spearman


def slope(observed, predicted):
    return Pair(observed, predicted).slope


def bias(observed, predicted):
    return Pair(observed, predicted).bias


def msep(observed, predicted):
    return Pair(observed, predicted).msep


def share_top(observed, predicted, top=0.2, lowest=False):
    return Pair(observed, predicted).share_top(top, lowest)


KEYS = ("model", "partition", "env", "trait", "n_test")
NAMES = (
    "pearson", "spearman", "msep", "rmse", "bias", "slope", "crps", "log_score", "coverage_50", "coverage_90",
    "top_share", "accuracy",
)  # fmt: skip
SCORE_COLUMNS = (*KEYS, *NAMES, "note")
SUMMARY_COLUMNS = (
    "model", "env", "trait", "n_partitions",
    *(f"{name}_{what}" for name in NAMES for what in ("mean", "se")),
    *(f"{name}_rank" for name in NAMES),
)  # fmt: skip


def predictions(rows):
    """Rows (model, partition, line, env, trait, observed, mean) as the table of cross-validation."""
    table = pd.DataFrame(rows, columns=["model", "partition", "line", "env", "trait", "observed", "mean"])
    table["n_obs"], table["sd"], table["lower"], table["upper"] = 1, 1.0, -1.0, 1.0
    return table


def scores(rows):
    """Rows (model, partition, env, trait, n_test, pearson, msep)."""
    return pd.DataFrame(rows, columns=[*KEYS, "pearson", "msep"])


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
    assert table["note"].tolist() == ["", "fewer than 3 lines"]
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
    # A model that lacks a partition has no place.
    np.testing.assert_array_equal(table["pearson_rank"], [1, np.nan, np.nan, np.nan])
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


def random_predictions(models=("un", "bd"), partitions=3, n=23, seed=5):
    """With every column that a score looks at; values are rounded, so that some tie."""
    rng = np.random.default_rng(seed)
    tables = []
    for model, k, env, trait in itertools.product(models, range(partitions), ("E1", "E2"), ("Yield", "ASI")):
        y = rng.normal(5.0, 2.0, size=n).round(1)
        f = (5.0 + 0.5 * (y - 5.0) + rng.normal(size=n)).round(1)
        table = pd.DataFrame(
            {"model": model, "partition": str(k), "env": env, "trait": trait, "observed": y, "mean": f}
        )
        table["line"] = [f"L{j}" for j in rng.permutation(n)]
        width = rng.uniform(0.5, 2.0, size=n)
        table["mean_lower"], table["mean_upper"] = f - width, f + width
        table["mean_lower_50"], table["mean_upper_50"] = f - width / 2, f + width / 2
        table["crps"], table["log_score"] = rng.random(n), rng.normal(size=n)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def test_every_score_by_hand():
    table = random_predictions()
    h2 = pd.DataFrame(
        [("E1", "Yield", 0.9, ""), ("E2", "Yield", 0.04, ""), ("E1", "ASI", np.nan, "few lines")],
        columns=["env", "trait", "heritability", "note"],
    )
    found = score(table, top=0.3, lowest=["ASI"], heritability=h2)
    keys = ["model", "partition", "env", "trait"]
    groups = dict(list(table.groupby(keys)))
    assert len(found) == len(groups) == 24
    for row in found.itertuples():
        cells = groups[row.model, row.partition, row.env, row.trait]
        y, f = cells["observed"].to_numpy(), cells["mean"].to_numpy()
        fitted = stats.linregress(f, y)
        expected = {
            "n_test": 23,
            "pearson": fitted.rvalue,
            "spearman": stats.spearmanr(y, f).statistic,
            "msep": ((y - f) ** 2).sum() / 23,
            "rmse": np.sqrt(((y - f) ** 2).sum() / 23),
            "bias": f.mean() - y.mean(),
            "slope": fitted.slope,
            "crps": cells["crps"].mean(),
            "log_score": cells["log_score"].mean(),
            "coverage_50": ((cells["mean_lower_50"] <= y) & (y <= cells["mean_upper_50"])).sum() / 23,
            "coverage_90": ((cells["mean_lower"] <= y) & (y <= cells["mean_upper"])).sum() / 23,
            "top_share": break_ties(y, f, 7, -1 if row.trait == "ASI" else 1),
            "accuracy": fitted.rvalue / np.sqrt(0.9) if (row.env, row.trait) == ("E1", "Yield") else np.nan,
        }
        for name, value in expected.items():
            tolerance = 0.04 if name == "top_share" else 1e-10
            assert getattr(row, name) == pytest.approx(value, abs=tolerance, nan_ok=True), name
        notes = {
            ("E1", "Yield"): "",
            ("E2", "Yield"): "heritability below 0.05",
            ("E1", "ASI"): "heritability unknown: few lines",
            ("E2", "ASI"): "heritability unknown: not measured here",
        }
        assert row.note == notes[row.env, row.trait]


def test_notes_say_how_little_the_accuracy_says():
    table = random_predictions(models=("un",), partitions=1)
    vague = "uncertain, 95% interval 0.06 to 0.90"
    above = "accuracy above 1: chance among few lines, or the heritability is too low"
    keys = [("E1", "Yield"), ("E1", "ASI"), ("E2", "Yield"), ("E2", "ASI")]
    h2 = pd.DataFrame(
        [(*key, *found) for key, found in zip(keys, [(0.8, vague), (0.06, ""), (0.06, vague), (0.8, "")], strict=True)],
        columns=["env", "trait", "heritability", "note"],
    )
    notes = [f"heritability {vague}", above, f"heritability {vague}; {above}", ""]
    found = score(table, heritability=h2).set_index(["env", "trait"])
    assert found["note"][keys].tolist() == notes
    assert (found["accuracy"][keys] > 1).tolist() == [False, True, True, False]
    means = table[table["env"] == "E1"].drop(columns="env").assign(n_envs=1)
    overall = pd.DataFrame([(None, "Yield", 0.8, vague), (None, "ASI", 0.06, "")], columns=h2.columns)
    assert score_means(means, heritability=overall)["note"].tolist() == notes[:2]
    # Where there is no accuracy, only why.
    flat = score(table.assign(mean=5.0), heritability=h2)
    assert set(flat["note"]) == {"the predictions are constant"}


def break_ties(y, f, k, sign):
    """The mean share of the k best over random tie breaking on both sides."""
    rng = np.random.default_rng(1)
    shares = []
    for _ in range(300):
        best = [set(np.lexsort((rng.random(len(v)), -sign * v))[:k]) for v in (y, f)]
        shares.append(len(best[0] & best[1]) / k)
    return np.mean(shares)


def test_share_of_the_best_by_hand():
    y = np.arange(10.0)
    assert share_top(y, y, 0.2) == 1.0
    assert share_top(y, -y, 0.2) == 0.0
    assert share_top(y, -y, 0.2, lowest=True) == 0.0
    assert share_top(y, [0, 9, 2, 3, 4, 5, 6, 7, 8, 1], 0.2) == 0.5  # line 8 is found, line 9 is not
    assert share_top(y, [5, 0, 1, 3, 4, 2, 6, 7, 8, 9], 0.2, lowest=True) == 0.5  # of lines 0 and 1, the latter
    assert share_top(y, np.full(10, 3.0), 0.2) == pytest.approx(0.2)  # at random
    assert share_top(y, 3.0 + 1e-16 * y, 0.2) == pytest.approx(0.2)
    assert share_top(y, np.r_[np.zeros(8), 1.0, 1.0], 0.1) == pytest.approx(0.5)  # one of two for one place
    assert share_top(y[:4], y[:4], 0.01) == 1.0  # at least one line
    assert share_top(np.arange(5.0), [0, 1, 2, 4, 3], 0.5) == pytest.approx(1.0)  # 2.5 + 0.5: three lines
    assert math.isnan(share_top(y[:2], y[:2]))


def test_bias_and_slope_have_signs():
    y = np.array([1.0, 2.0, 4.0, 5.0])
    assert bias(y, y + 0.5) == pytest.approx(0.5)
    assert slope(y, 3.0 + 2.0 * y) == pytest.approx(0.5)  # inflated
    assert slope(1e150 * y, 1e150 * (3.0 + 2.0 * y)) == pytest.approx(0.5)
    assert spearman(y, y**3) == pytest.approx(1.0)
    assert math.isnan(slope(y, np.full(4, 2.0)))
    assert math.isnan(spearman(np.full(4, 2.0), y))


def test_notes_say_what_is_missing():
    rows = [("un", "1", line, "E1", trait, y, f) for trait, values in {
        "short": [(1, 2), (2, 3)],
        "same": [(3, 1), (3, 2), (3, 4)],
        "flat": [(1, 3), (2, 3), (4, 3)],
        "gap": [(1, 3), (2, np.nan), (4, 3)],
        "good": [(1, 3), (2, 2), (4, 3)],
    }.items() for line, (y, f) in zip("abc", values, strict=False)]  # fmt: skip
    table = score(predictions(rows)).set_index("trait")
    assert table["note"].to_dict() == {
        "short": "fewer than 3 lines",
        "same": "the observed values are constant",
        "flat": "the predictions are constant",
        "gap": "a prediction is missing",
        "good": "",
    }
    assert table["pearson"].notna().to_dict() == {name: name == "good" for name in table.index}
    assert table["msep"].notna().to_dict() == {name: name != "gap" for name in table.index}
    assert table["top_share"].notna().to_dict() == {name: name not in ("short", "gap") for name in table.index}
    # The columns of intervals and densities are not there.
    assert table[["crps", "log_score", "coverage_50"]].isna().all().all()


def test_no_digit_depends_on_the_order_of_rows():
    table = random_predictions(n=60)
    named = {"envs": ["E1", "E2"], "traits": ["Yield", "ASI"]}
    keys = ["model", "partition", "env", "trait"]
    first = score(table, **named).sort_values(keys, ignore_index=True)
    for seed in range(3):
        again = score(table.sample(frac=1, random_state=seed), **named)
        pd.testing.assert_frame_equal(again.sort_values(keys, ignore_index=True), first, check_exact=True)
        pd.testing.assert_frame_equal(
            summarise(again, **named).sort_values(["model", "env", "trait"], ignore_index=True),
            summarise(first, **named).sort_values(["model", "env", "trait"], ignore_index=True),
            check_exact=True,
        )


def test_summary_ranks_by_the_distance_from_a_target():
    errors = {"a": 0.5, "b": -0.1, "c": 0.1 + 1e-9, "d": -3.0}
    lines = list(zip("xyz", (1.0, 2.0, 4.0), strict=True))
    rows = [(m, "1", line, "E1", "Yield", y, y + error) for m, error in errors.items() for line, y in lines]
    table = summarise(score(predictions(rows)))
    assert table["bias_mean"].tolist() == pytest.approx([0.5, -0.1, 0.1, -3.0])
    assert table["bias_rank"].tolist() == [3, 1, 2, 4]
    assert table["rmse_rank"].tolist() == [3, 1, 2, 4]
    assert table["crps_rank"].isna().all()


def test_scores_of_means_over_environments():
    table = random_predictions()
    means = table.rename(columns={"line": "name"}).query("env == 'E1'").assign(line=lambda t: t["name"], n_envs=2)
    means = means.drop(columns="env")
    h2 = pd.DataFrame(
        [("E1", "Yield", 0.3, ""), ("E2", "Yield", 0.3, ""), (None, "Yield", 0.8, ""), (None, "ASI", 0.5, "")],
        columns=["env", "trait", "heritability", "note"],
    )
    found = score_means(means, heritability=h2, traits=["Yield", "ASI"])
    assert list(found.columns) == [name for name in SCORE_COLUMNS if name != "env"]
    first = found[found["trait"] == "Yield"]
    np.testing.assert_allclose(first["accuracy"], first["pearson"] / np.sqrt(0.8))
    np.testing.assert_allclose(found["pearson"], score(table.query("env == 'E1'"), traits=["Yield", "ASI"])["pearson"])
    # Of one of two environments: that is another heritability.
    few = score_means(means.assign(n_envs=1), heritability=h2, traits=["Yield", "ASI"])
    assert few.loc[few["trait"] == "Yield", "accuracy"].isna().all()
    assert set(few.loc[few["trait"] == "Yield", "note"]) == {
        "heritability unknown: the means are over few of the environments"
    }


def test_what_makes_no_sense_is_refused():
    table = random_predictions()
    for top in (0.0, 1.5, "a", True):
        with pytest.raises(UsageError, match="top must be a share above 0 and up to 1"):
            score(table, top=top)
    with pytest.raises(UsageError, match=r"lowest names the trait 'ASJ', which is not scored. Did you mean 'ASI'"):
        score(table, lowest=["ASJ"])


def test_masks_and_scores_need_no_compiled_code():
    script = "import sys, bmtme.cv; print(sorted({'numba', 'arviz'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_is_no_table_of_numbers():
    cv = make_result({"a": 0.5}, lines=20, partitions=2)
    for made, what in ((score, "predictions"), (score_means, "means of lines"), (summarise, "scores")):
        with pytest.raises(UsageError, match=f"the table of {what} must be a pandas DataFrame, got 3"):
            made(3)
    for made, table in ((score, cv.predictions), (score_means, cv.line_means)):
        with pytest.raises(UsageError, match=r"the column 'mean' of the table of .* must hold numbers"):
            made(table.assign(mean="x"))
        with pytest.raises(UsageError, match="the table of heritabilities must be a pandas DataFrame, got 3"):
            made(table, heritability=3)
        with pytest.raises(UsageError, match=r"the column 'heritability' of .* must hold numbers"):
            made(table, heritability=cv.heritability.assign(heritability="high"))
    with pytest.raises(UsageError, match="the column 'pearson' of the table of scores must hold numbers"):
        summarise(cv.scores.assign(pearson="x"))
