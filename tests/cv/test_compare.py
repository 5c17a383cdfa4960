"""Comparison of models: the test by hand, what is averaged, the bootstrap, what gets a star."""

import itertools
import time

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bmtme.cv.compare import SIZES, compare, find_score, find_winners
from bmtme.cv.differences import Design, adjust_holm, judge_difference
from bmtme.cv.resampling import draw_counts
from bmtme.errors import UsageError
from bmtme.results.scores import SCORES
from tests.helpers.comparisons import make_result

NAN = float("nan")
NO_PREDICTIONS = pd.DataFrame(columns=["model", "partition", "line", "env", "trait", "observed", "mean"])


def test_the_test_by_hand():
    d = np.array([0.02, 0.05, -0.01, 0.04, 0.03])
    mean, S2 = d.sum() / 5, ((d - d.sum() / 5) ** 2).sum() / 4
    se = np.sqrt((1 / 5 + 0.25) * S2)
    found = judge_difference(d, 0.25)
    assert found["difference"] == pytest.approx(mean)
    assert found["se"] == pytest.approx(se)
    assert found["p"] == pytest.approx(2 * stats.t.sf(mean / se, 4))
    assert [found["lower"], found["upper"]] == pytest.approx([mean - 2.776445 * se, mean + 2.776445 * se])
    # Where nothing is shared it is the paired t test.
    assert judge_difference(d, 0.0)["p"] == pytest.approx(stats.ttest_1samp(d, 0.0).pvalue)
    few = judge_difference(d[:2], 0.25)
    assert few["difference"] == pytest.approx(0.035)
    assert np.isnan([few["p"], few["lower"]]).all()
    assert np.isnan(judge_difference(np.zeros(5), 0.25)["p"])
    assert judge_difference(np.full(5, 0.25), 0.25)["p"] == 0.0


def test_holm_by_hand():
    np.testing.assert_allclose(adjust_holm(np.array([0.01, 0.04, NAN, 0.03])), [0.03, 0.06, NAN, 0.06])
    np.testing.assert_allclose(adjust_holm(np.array([0.6, 0.5])), [1.0, 1.0])
    assert adjust_holm(np.array([])).size == 0


def test_every_row_by_hand():
    cv = make_result({"a": 0.5, "b": 0.3, "c": 0.4}, lines=60, partitions=6)
    keys = ["partition", "model"]
    for metric in ("pearson", "msep", "bias", "coverage_90"):
        score = find_score(metric)
        table = cv.compare(metric)
        pairs = list(itertools.combinations("abc", 2))
        expected = [(*pair, env, trait) for pair in pairs for env in cv.envs for trait in cv.traits]
        assert list(table.iloc[:, :4].itertuples(index=False, name=None)) == expected
        for row in table.itertuples():
            cells = cv.scores[(cv.scores["env"] == row.env) & (cv.scores["trait"] == row.trait)]
            scores = cells.set_index(keys)[metric].unstack()
            if metric in ("bias", "coverage_90"):
                scores = (scores - {"bias": 0.0, "coverage_90": 0.9}[metric]).abs()
            d = scores[row.model] - scores[row.against]
            assert row.difference == pytest.approx(d.mean())
            assert row.se == pytest.approx(np.sqrt((1 / 6 + 12 / 48) * d.var(ddof=1)))
            assert row.n_partitions == 6
            assert score.measure(scores["a"].mean()) is not None
        for _, part in table.groupby(["model", "against"]):
            np.testing.assert_array_equal(part["p_adjusted"], adjust_holm(part["p"].to_numpy()))


@pytest.mark.parametrize(
    "hide, folds, unit, ratio",
    [("lines", False, "lines", 20 / 80), ("lines", True, "lines", 10 / 90), ("cells", False, "cells", 0.2 / 1.8)],
)
def test_n_is_counted_in_what_is_hidden(hide, folds, unit, ratio):
    cv = make_result({"a": 0.5}, hide=hide, folds=folds)
    design = Design.of(cv.run["data"]["partitions"], cv.scores)
    assert (design.unit, design.alone) == (unit, False)
    assert design.ratio == pytest.approx(ratio, rel=0.1 if hide == "cells" else 1e-12)


def test_averages_over_environments_and_over_all():
    cv = make_result({"a": 0.5, "b": 0.3}, partitions=5)
    wide = cv.scores.set_index(["partition", "env", "trait", "model"])["pearson"].unstack()
    d = wide["a"] - wide["b"]
    by_trait = cv.compare(by="trait")
    assert by_trait["trait"].tolist() == list(cv.traits)
    assert by_trait["env"].tolist() == [None, None]
    for row in by_trait.itertuples():
        means = d.xs(row.trait, level="trait").groupby("partition").mean()
        assert row.difference == pytest.approx(means.mean())
        assert row.se == pytest.approx(np.sqrt((1 / 5 + 0.25) * means.var(ddof=1)))
    (overall,) = cv.compare(by="all").itertuples()
    means = d.groupby("partition").mean()
    assert (overall.env, overall.trait) == (None, None)
    assert overall.se == pytest.approx(np.sqrt((1 / 5 + 0.25) * means.var(ddof=1)))


def test_environments_hidden_in_turn_are_replicates():
    envs = tuple(f"E{i}" for i in range(6))
    cv = make_result({"a": 0.5, "b": 0.3}, hide="envs", envs=envs)
    cells = cv.compare()
    assert cells["p"].isna().all()
    assert set(cells["note"]) == {"fewer than 3 partitions: compare by='trait', over environments"}
    assert cells["boot_lower"].notna().all()
    row = cv.compare(by="trait").iloc[0]
    wide = cv.scores[cv.scores["trait"] == "Yield"].set_index(["env", "model"])["pearson"].unstack()
    d = wide["a"] - wide["b"]
    assert row["n_partitions"] == 6
    assert row["difference"] == pytest.approx(d.mean())
    assert row["se"] == pytest.approx(np.sqrt((1 / 6 + 1 / 5) * d.var(ddof=1)))
    # The bootstrap draws environments.
    drawn = np.quantile(d.sort_index().to_numpy() @ draw_counts(6, 1000) / 6, [0.025, 0.975])
    assert [row["boot_lower"], row["boot_upper"]] == pytest.approx(drawn)
    short = make_result({"a": 0.5, "b": 0.3}, hide="envs", envs=envs[:3]).compare(by="trait")
    assert short["boot_lower"].isna().all()
    assert short["note"][0] == "fewer than 5 environments: no interval by resampling"


def test_folds_within_a_new_environment_are_averaged_first():
    cv = make_result({"a": 0.5, "b": 0.3}, hide="envs", envs=("E1", "E2", "E3"), traits=("Yield",))
    scores = pd.concat([cv.scores.assign(partition=cv.scores["env"] + f":{k}", pearson=lambda t, k=k: t["pearson"] + k)
                        for k in (0, 1)])  # fmt: skip
    scores.loc[(scores["model"] == "b"), "pearson"] *= 0.9
    # As lines are hidden too, n is counted in lines elsewhere, but not over environments.
    records = [{**entry, "lines_hidden": 50, "lines_kept": 50} for entry in cv.run["data"]["partitions"] * 2]
    row = compare(scores, cv.predictions, records, by="trait", draws=0).iloc[0]
    d = scores.groupby(["env", "model"])["pearson"].mean().unstack()
    assert row["n_partitions"] == 3
    assert row["se"] == pytest.approx(np.sqrt((1 / 3 + 1 / 2) * (d["a"] - d["b"]).var(ddof=1)))


def bootstrap_by_hand(cv, metric, env, trait, draws):
    """Rows of the drawn lines, repeated, scored by the entry of the register."""
    from bmtme.cv.scores import score

    table = cv.predictions[(cv.predictions["env"] == env) & (cv.predictions["trait"] == trait)]
    lines = sorted(set(table["line"]))
    counts = draw_counts(len(lines), draws)
    found = []
    for b in range(draws):
        times = table["line"].map(dict(zip(lines, counts[:, b].astype(int), strict=True)))
        scores = score(table.loc[table.index.repeat(times)]).set_index(["partition", "model"])[metric].unstack()
        scores = find_score(metric).measure(scores)
        found.append((scores["a"] - scores["b"]).mean())
    return np.quantile(found, [0.025, 0.975])


@pytest.mark.parametrize(
    "metric", ["pearson", "msep", "rmse", "bias", "slope", "crps", "log_score", "coverage_50", "coverage_90"]
)
def test_bootstrap_by_hand(metric):
    cv = make_result({"a": 0.6, "b": 0.4}, lines=60, partitions=5, folds=True, envs=("E1",), traits=("Yield",))
    row = compare(cv.scores, cv.predictions, cv.run["data"]["partitions"], metric=metric, draws=20).iloc[0]
    expected = bootstrap_by_hand(cv, metric, "E1", "Yield", 20)
    assert [row["boot_lower"], row["boot_upper"]] == pytest.approx(expected, rel=1e-8)


def test_bootstrap_of_accuracies_is_that_of_correlations_over_the_root_of_heritability():
    cv = make_result({"a": 0.6, "b": 0.4}, partitions=4)
    np.testing.assert_allclose(cv.scores["accuracy"], cv.scores["pearson"] / 0.8)
    ends = ["boot_lower", "boot_upper"]
    np.testing.assert_allclose(cv.compare("accuracy")[ends], cv.compare("pearson")[ends] / 0.8, rtol=1e-9)
    cv.heritability.loc[cv.heritability["env"] == "E1", "heritability"] = 0.16
    cv.heritability.loc[cv.heritability["trait"] == "ASI", "heritability"] = NAN
    cv.__post_init__(None)
    row, plain = cv.compare("accuracy", by="all").iloc[0], cv.compare("pearson")
    # The mean of two traits' intervals is none: hold against the average of both environments' scores instead.
    scores = cv.scores[cv.scores["trait"] == "Yield"].assign(pearson=lambda t: t["accuracy"])
    by_hand = scores.set_index(["partition", "env", "model"])["pearson"].unstack()
    d = (by_hand["a"] - by_hand["b"]).groupby("partition").mean()
    assert row["difference"] == pytest.approx(d.mean())
    assert row["boot_lower"] < d.mean() < row["boot_upper"]
    here = cv.compare("accuracy")
    first = (here["env"] == "E1") & (here["trait"] == "Yield")
    np.testing.assert_allclose(here.loc[first, ends], plain.loc[first, ends] / 0.4, rtol=1e-9)
    assert here.loc[here["trait"] == "ASI", ends].isna().all().all()


def test_scores_without_a_bootstrap():
    cv = make_result({"a": 0.6, "b": 0.4}, partitions=3)
    for metric in ("spearman", "top_share"):
        table = cv.compare(metric)
        assert table["boot_lower"].isna().all()
        assert set(table["note"]) == {"no interval by resampling for this score"}


def test_order_of_rows_changes_no_digit():
    cv = make_result({"a": 0.6, "b": 0.4}, lines=50)
    records = cv.run["data"]["partitions"]
    named = {"metric": "pearson", "by": "trait", "draws": 100, "traits": cv.traits}
    first = compare(cv.scores, cv.predictions, records, **named)
    scores = cv.scores.sample(frac=1, random_state=1).sort_values("model", kind="stable")
    again = compare(scores, cv.predictions.sample(frac=1, random_state=2), records[::-1], **named)
    pd.testing.assert_frame_equal(again, first, check_exact=True)


def test_missing_partitions_and_models_without_a_score():
    cv = make_result({"a": 0.5, "b": 0.3, "means": NAN}, partitions=6)
    scores = cv.scores[~((cv.scores["model"] == "b") & (cv.scores["partition"] == "2"))]
    table = compare(scores, cv.predictions, cv.run["data"]["partitions"], draws=20)
    pair = table[(table["model"] == "a") & (table["against"] == "b")]
    assert (pair["n_partitions"] == 5).all()
    none = table[table["against"] == "means"]
    assert (none["n_partitions"] == 0).all()
    alike = "'means' predicts all lines of an environment alike: it has no correlation, compare by msep"
    assert set(none["note"]) == {alike}
    failed = scores[(scores["model"] != "b") | (scores["partition"] == "none")]
    failed = pd.concat([failed, cv.scores[cv.scores["model"] == "b"].assign(partition="7")])
    table = compare(failed, cv.predictions, cv.run["data"]["partitions"], draws=0)
    other = table[(table["model"] == "a") & (table["against"] == "b")]
    assert set(other["note"]) == {"no partition has a score of both"}
    assert none[["difference", "p", "boot_lower"]].isna().all().all()
    twins = make_result({"a": 0.5, "b": 0.3})
    copy = pd.concat([twins.scores, twins.scores[twins.scores["model"] == "a"].assign(model="twin")])
    rows = compare(copy, twins.predictions, twins.run["data"]["partitions"], against="twin", draws=0)
    same = rows[rows["model"] == "a"]
    assert set(same["note"]) == {"both have the same scores"}
    assert (same["difference"] == 0).all()
    assert same["p"].isna().all()


def test_against_one_model():
    cv = make_result({"a": 0.5, "b": 0.3, "c": 0.3}, partitions=3)
    table = cv.compare("msep", against="b")
    assert table[["model", "against"]].drop_duplicates().values.tolist() == [["a", "b"], ["c", "b"]]
    turned = cv.compare("msep", against="a")
    np.testing.assert_allclose(turned["difference"][:4], -table["difference"][:4])


def test_what_makes_no_sense_is_refused():
    cv = make_result({"a": 0.5, "b": 0.3}, partitions=3)
    for message, named in (
        (r"metric must be one of .*Did you mean 'pearson'", {"metric": "pearsn"}),
        (r"against must be the label of a model, got 'c'.*'a', 'b'", {"against": "c"}),
        (r"by must be 'cell', 'trait' or 'all'", {"by": "env"}),
        (r"msep is in the trait's unit squared, so that it cannot be averaged", {"metric": "msep", "by": "all"}),
    ):
        with pytest.raises(UsageError, match=message):
            cv.compare(**named)
    with pytest.raises(UsageError, match="nothing to compare: 'a' is the only model"):
        make_result({"a": 0.5}).compare()


def test_the_size_told_is_that_of_such_partitions():
    def tell(metric="pearson", by="cell", **named):
        cv = make_result({"a": 0.5, "b": 0.4}, **{"lines": 100, **named})
        (size,) = cv.compare(metric, by=by)["size"].unique()
        return size

    for metric in ("pearson", "msep"):
        known = {key: dict(entries) for key, entries in SIZES.items()}
        for kind, named in (
            ("folds", {"folds": True}),
            ("random", {}),
            ("cells", {"hide": "cells", "envs": tuple("ABCDE")}),
        ):
            measured = known[kind, metric]
            for number, size in measured.items():
                assert tell(metric, partitions=number, **named) == size
            assert tell(metric, partitions=8, **named) == measured[10]
            assert np.isnan(tell(metric, partitions=3 if kind == "random" else 25, **named))
    assert tell("accuracy") == tell()
    for score in SCORES:
        told = score.name == "accuracy" or ("random", score.name) in SIZES
        assert np.isnan(tell(score.name)) != told
    # Averages were not measured, unless there is nothing to average.
    assert np.isnan(tell(by="trait"))
    assert np.isnan(tell(by="all"))
    one = {"envs": ("E",), "traits": ("T",)}
    assert tell(by="all", **one) == tell(by="trait", **one) == tell()


def test_no_size_is_told_for_partitions_of_other_kinds():
    named = {"envs": tuple("ABCDEF"), "traits": ("T",)}
    cv = make_result({"a": 0.5, "b": 0.4}, hide="envs", **named)
    assert cv.compare()["size"].isna().all()
    records = cv.run["data"]["partitions"]
    # Half of the lines hidden; families of unequal sizes; CV2, which hides all lines of one environment.
    half = [{**entry, "lines_hidden": 50, "lines_kept": 50} for entry in make_records(10)]
    cv = make_result({"a": 0.5, "b": 0.4})
    assert compare(cv.scores, cv.predictions, half, draws=0)["size"].isna().all()
    cv = make_result({"a": 0.5, "b": 0.4}, folds=True, partitions=5)
    few = sorted(set(cv.predictions.loc[cv.predictions["partition"] == "1", "line"]))[:5]
    unequal = cv.predictions[(cv.predictions["partition"] != "1") | cv.predictions["line"].isin(few)]
    assert compare(cv.scores, unequal, cv.run["data"]["partitions"], draws=0)["size"].isna().all()
    assert compare(cv.scores, cv.predictions, cv.run["data"]["partitions"], draws=0)["size"].notna().all()
    assert len(records) == 6


def make_records(number):
    none = {"envs_hidden": 0, "envs_kept": 2, "cells_hidden": 40, "cells_kept": 160}
    return [{"lines_hidden": 20, "lines_kept": 80, **none}] * number


def turn_into_cv2(cv):
    """Of environments hidden in turn: one trait of an environment in each partition, the lines and others seen."""
    tables = {}
    for name in ("scores", "predictions"):
        table = getattr(cv, name)
        tables[name] = table.assign(partition=table["env"] + ":" + table["trait"])
    envs = len(cv.envs)
    record = {"lines_hidden": 0, "lines_kept": 100, "envs_hidden": 0, "envs_kept": envs}
    record |= {"cells_hidden": 100, "cells_kept": 100 * envs}
    return tables["scores"], tables["predictions"], [record] * (envs * len(cv.traits))


def test_one_trait_of_an_environment_hidden_in_turn():
    """Traits of an environment are averaged before environments are compared; n counts environments."""
    cv = make_result({"a": 0.5, "b": 0.3}, hide="envs", envs=tuple("ABCDE"))
    scores, predictions, records = turn_into_cv2(cv)
    design = Design.of(records, scores)
    assert (design.unit, design.alone, design.env_ratio) == ("cells", True, pytest.approx(1 / 4))
    row = compare(scores, predictions, records, by="all", draws=0).iloc[0]
    d = scores.groupby(["env", "model"])["pearson"].mean().unstack()
    d = d["a"] - d["b"]
    assert row["n_partitions"] == 5
    assert row["se"] == pytest.approx(np.sqrt((1 / 5 + 1 / 4) * d.var(ddof=1)))
    assert np.isnan(row["size"])
    cells = compare(scores, predictions, records, draws=0)
    assert cells["size"].isna().all()
    assert set(cells["note"]) == {"fewer than 3 partitions: compare by='trait', over environments"}


def make_crossed(envs, folds, env_sd, fold_sd, seed=1):
    """Scores of environments x folds of lines, the differences with a part of each; records and predictions."""
    rng = np.random.default_rng(seed)
    parts = 0.02 + env_sd * rng.normal(size=(envs, 1)) + fold_sd * rng.normal(size=folds)
    rows, predictions = [], []
    for i, k in itertools.product(range(envs), range(folds)):
        for model, value in (("a", parts[i, k]), ("b", 0.0)):
            rows.append((model, f"E{i}:{k}", f"E{i}", "T", 20, 0.4 + value, 1.0))
            predictions += [(model, f"E{i}:{k}", f"{k}-{j}", f"E{i}", "T", 0.0, 0.0) for j in range(20)]
    columns = ["model", "partition", "env", "trait", "n_test", "pearson", "msep"]
    record = {"lines_hidden": 20, "lines_kept": 20 * (folds - 1), "envs_hidden": 1, "envs_kept": envs - 1}
    records = [{**record, "cells_hidden": 20, "cells_kept": 80}] * (envs * folds)
    table = pd.DataFrame(predictions, columns=NO_PREDICTIONS.columns)
    return pd.DataFrame(rows, columns=columns), table, records, parts


def test_new_lines_in_new_environments_have_the_chance_of_both():
    for env_sd, fold_sd in ((0.01, 0.05), (0.05, 0.01)):
        scores, predictions, records, parts = make_crossed(6, 5, env_sd, fold_sd)
        row = compare(scores, predictions, records, by="trait", draws=0).iloc[0]
        by_env = np.sqrt((1 / 6 + 1 / 5) * parts.mean(axis=1).var(ddof=1))
        by_fold = np.sqrt((1 / 5 + 1 / 4) * parts.mean(axis=0).var(ddof=1))
        se, df = (by_env, 5) if env_sd > fold_sd else (by_fold, 4)
        assert se == max(by_env, by_fold)
        assert row["se"] == pytest.approx(se)
        assert row["difference"] == pytest.approx(parts.mean())
        assert row["p"] == pytest.approx(2 * stats.t.sf(abs(parts.mean()) / se, df))
        assert row["upper"] - row["difference"] == pytest.approx(stats.t.ppf(0.975, df) * se)
        assert row["n_partitions"] == 6
        assert row["size"] == dict(SIZES["envs and lines", "pearson"])[6]
    scores, predictions, records, _ = make_crossed(6, 2, 0.01, 0.05)
    row = compare(scores, predictions, records, by="trait", draws=0).iloc[0]
    assert np.isnan([row["p"], row["lower"], row["size"]]).all()
    assert row["note"] == "fewer than 3 folds of lines"


# --- the best model -------------------------------------------------------------------------------------------------


def make_scores(**models):
    """Scores by partition, (pearson, msep) for each model; and records of a tenth of the lines hidden in folds."""
    rows = [
        (model, str(k), "E", "T", 20, r, e)
        for model, (pearson, msep) in models.items()
        for k, (r, e) in enumerate(zip(pearson, msep, strict=True))
    ]
    columns = ["model", "partition", "env", "trait", "n_test", "pearson", "msep"]
    none = {"envs_hidden": 0, "envs_kept": 1, "cells_hidden": 20, "cells_kept": 80}
    return pd.DataFrame(rows, columns=columns), [{"lines_hidden": 20, "lines_kept": 80, **none}]


def find_best(**models):
    scores, records = make_scores(**models)
    correlations = scores.groupby(["env", "trait", "model"])["pearson"].mean().to_dict()
    return {
        (metric, model)
        for metric in ("pearson", "msep")
        for *_, model in find_winners(
            compare(scores, NO_PREDICTIONS, records, metric=metric, draws=0), find_score(metric), correlations
        )
    }


def test_stars_are_for_differences_beyond_their_error():
    rng = np.random.default_rng(1)
    base, noise = 0.5 + 0.2 * rng.normal(size=10), 0.01 * rng.normal(size=10)
    # Far below the spread over partitions, far above the error of the paired difference.
    assert find_best(a=(base + 0.03 + noise, 1 - base), b=(base, 1 - base + noise)) == {("pearson", "a")}
    assert find_best(a=(base, 1 - base - 0.03), b=(base + noise, 1 - base + noise)) == {("msep", "a")}
    # A difference below and above the 97.5% point of t (9 degrees of freedom) times its error.
    limit = 2.262157 * noise.std(ddof=1) * np.sqrt(1 / 10 + 0.25)
    difference = noise - noise.mean() + 0.99 * limit
    assert find_best(a=(base + difference, base), b=(base, base)) == set()
    difference = noise - noise.mean() + 1.01 * limit
    assert find_best(a=(base + difference, base), b=(base, base)) == {("pearson", "a")}
    # Better than one and not than another.
    assert find_best(a=(base + 0.03 + noise, base), b=(base, base), c=(base + 0.03, base)) == set()
    # Nothing predicts: the correlation is not above zero.
    low = base - base.mean() - 0.017
    assert find_best(a=(low, base - 0.5), b=(low - 0.1 + noise, base + noise)) == set()
    # Too few partitions; missing scores are no rival; the same scores twice share the place.
    assert find_best(a=(base[:2] + 0.03, base[:2]), b=(base[:2], base[:2])) == set()
    assert find_best(a=(base, base), b=(base * np.nan, base + 1 + noise)) == {("msep", "a")}
    three = find_best(a=(base + 0.03 + noise, base), b=(base * np.nan, base), c=(base, base + noise))
    assert three == {("pearson", "a")}
    shared = {"a": (base + 0.03 + noise, base), "b": (base + 0.03 + noise, base), "c": (base, base)}
    assert find_best(**shared) == {("pearson", name) for name in "ab"}


def test_stars_allow_for_the_number_of_cells():
    """A difference that is told in one cell is not told among twelve."""
    rng = np.random.default_rng(3)
    noise = 0.01 * rng.normal(size=10)
    noise = noise - noise.mean() + 1.2 * 2.262157 * noise.std(ddof=1) * np.sqrt(1 / 10 + 0.25)
    scores, records = make_scores(a=(0.5 + noise, noise), b=(np.full(10, 0.5), noise))
    flat = pd.concat(
        [scores.assign(trait=f"T{t}", pearson=0.5 + 0.1 * rng.normal(size=len(scores))) for t in range(11)]
    )
    table = compare(pd.concat([scores, flat]), NO_PREDICTIONS, records, draws=0)
    row = table[table["trait"] == "T"].iloc[0]
    assert row["p"] < 0.05 < row["p_adjusted"]


@pytest.mark.slow
def test_exchangeable_models_are_seldom_told_apart_and_different_ones_often():
    """The whole way from predictions, on 50 sets; a naive paired t test would reject more."""
    rejected, naive, found = [], [], []
    for seed in range(50):
        named = {"lines": 60, "partitions": 10, "envs": ("E",), "traits": ("T",), "seed": seed}
        for other, out in ((0.5, rejected), (0.05, found)):
            cv = make_result({"a": 0.5, "b": other}, **named)
            row = compare(cv.scores, cv.predictions, cv.run["data"]["partitions"], draws=0).iloc[0]
            out.append(row["p"] < 0.05)
            if out is rejected:
                naive.append(2 * stats.t.sf(abs(row["difference"]) / row["se"] * np.sqrt(0.35 / 0.1), 9) < 0.05)
    assert np.mean(rejected) < 0.13
    assert np.mean(naive) > 0.15
    assert np.mean(found) > 0.35


def test_it_is_fast():
    cv = make_result({"a": 0.5, "b": 0.4, "c": 0.3}, lines=300, envs=("A", "B", "C"), traits=("R", "S", "T", "U"))
    began = time.perf_counter()
    assert len(cv.compare()) == 36
    assert time.perf_counter() - began < 3.0
