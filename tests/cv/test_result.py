"""A cross-validation as an object: folders, joined runs, what it says in words."""

import itertools
import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bmtme
import bmtme.cv.advice
from bmtme.cv.differences import adjust_holm
from bmtme.cv.joining import join_runs
from bmtme.cv.result import GIVEN, CrossValidation, load_cross_validation
from bmtme.errors import DataError, UsageError
from tests.helpers.comparisons import make_result

NAN = float("nan")
TABLES = ("predictions", "line_means", "partitions", "heritability", "scores", "overall")


def rename(cv, **names):
    """The same with lines (and so on) renamed, made anew."""
    tables = {
        name: getattr(cv, name).replace({"line": names}) if "line" in getattr(cv, name) else getattr(cv, name)
        for name in TABLES[:4]
    }
    return CrossValidation(**tables, failures=cv.failures, warnings=cv.warnings, run=cv.run, envs=cv.envs,
                           traits=cv.traits)  # fmt: skip


# --- files ----------------------------------------------------------------------------------------------------------


def test_a_folder_gives_back_what_was_saved(tmp_path):
    cv = make_result({"un": 0.5, "NA": 0.3}, lines=20, partitions=3, folds=True, top=0.4, lowest=["ASI"])
    cv = rename(cv, **{"002": "NA", "003": "x,y", "004": 'quo"te', "005": "1e5"})
    cv.failures.append(("un", "3", "it broke down"))
    cv.warnings.append("a caution")
    cv.save(tmp_path / "cv")
    names = {path.name for path in (tmp_path / "cv").iterdir()}
    assert names == {*(f"{name}.csv" for name in (*TABLES, "summary", "comparison")), "run.json"}
    for loaded in (bmtme.load(tmp_path / "cv"), load_cross_validation(tmp_path / "cv")):
        for name in TABLES:
            pd.testing.assert_frame_equal(
                getattr(loaded, name).astype(object), getattr(cv, name).astype(object), check_exact=True
            )
        assert {"001", "NA", "x,y", "1e5"} <= set(loaded.predictions["line"])
        assert loaded.heritability["env"].tolist() == cv.heritability["env"].tolist()
        assert loaded.heritability.dtypes[["env", "trait"]].eq(object).all()
        assert (loaded.failures, loaded.warnings, loaded.envs, loaded.traits) == (
            cv.failures, cv.warnings, cv.envs, cv.traits,
        )  # fmt: skip
        assert loaded.run == cv.run
        assert loaded.advice() == cv.advice()
        pd.testing.assert_frame_equal(loaded.compare(), cv.compare(), check_exact=True)
        assert loaded.partitions["scored"].dtype == bool


def test_scores_are_read_back_and_not_made_again(tmp_path, monkeypatch):
    cv = make_result({"un": 0.5, "NA": np.nan}, lines=20, partitions=3, folds=True)
    cv.save(tmp_path / "cv")
    again = CrossValidation(**{name: getattr(cv, name) for name in GIVEN}, failures=[], warnings=[], run=cv.run,
                            envs=cv.envs, traits=cv.traits)  # fmt: skip
    # As a version wrote it that knew fewer scores.
    cv.scores = cv.scores.drop(columns="spearman")
    cv.save(tmp_path / "older")
    pd.testing.assert_frame_equal(bmtme.load(tmp_path / "older").scores, again.scores, check_exact=True)
    for name in ("score", "score_means"):
        monkeypatch.setattr(f"bmtme.cv.result.{name}", lambda *given, **named: pytest.fail("scored again"))
    loaded = bmtme.load(tmp_path / "cv")
    for name in ("scores", "overall"):
        pd.testing.assert_frame_equal(getattr(loaded, name), getattr(again, name), check_exact=True)


def test_damaged_and_other_folders_are_refused(tmp_path):
    cv = make_result({"un": 0.5}, lines=20, partitions=2)
    cv.save(tmp_path / "cv")
    path = tmp_path / "cv" / "predictions.csv"
    text = path.read_text()
    path.write_text(text.replace("001", "010", 1))
    with pytest.raises(DataError, match=r"its predictions.csv is damaged or was changed"):
        bmtme.load(tmp_path / "cv")
    path.unlink()
    with pytest.raises(DataError, match=r"its predictions.csv is missing"):
        bmtme.load(tmp_path / "cv")
    with pytest.raises(DataError, match="expected a folder of"):
        bmtme.load(tmp_path)
    with pytest.raises(DataError, match=r"holds no run\.json"):
        load_cross_validation(tmp_path)


def test_options_of_the_scores_are_those_of_the_run():
    cv = make_result({"un": 0.5}, top=0.5, lowest=["ASI"])
    expected = bmtme.cv.score(
        cv.predictions, envs=cv.envs, traits=cv.traits, top=0.5, lowest=["ASI"], heritability=cv.heritability
    )
    pd.testing.assert_frame_equal(cv.scores, expected)
    assert not cv.scores["top_share"].equals(make_result({"un": 0.5}).scores["top_share"])
    np.testing.assert_allclose(cv.scores["accuracy"], cv.scores["pearson"] / 0.8)
    assert set(cv.overall.columns) == set(cv.scores.columns) - {"env"}


@pytest.mark.parametrize("number", [1, 120])
def test_repr_fits_the_terminal(number):
    cv = make_result({"un": 0.5}, lines=20, partitions=2)
    cv.run["settings"]["scheme"]["name"] = "NewLinesNewEnvironments"
    cv.run["settings"]["models"] = {str(k): {} for k in range(number)}
    cv.failures += [("un", "1", "broke")] * number
    assert max(map(len, repr(cv).splitlines())) <= 80
    assert "2 partitions" in repr(cv)


# --- runs made apart --------------------------------------------------------------------------------------------------


def test_runs_of_the_same_partitions_are_joined():
    whole = make_result({"a": 0.5, "b": 0.3, "c": 0.2}, partitions=5)
    parts = {}
    for name, models in (("one", ["a"]), ("two", ["b", "c"])):
        part = {t: getattr(whole, t) for t in TABLES[:4]}
        for table in ("predictions", "line_means"):
            part[table] = part[table][part[table]["model"].isin(models)]
        run = {**whole.run, "settings": {**whole.run["settings"], "models": {m: {"structure": m} for m in models}}}
        run["diagnostics"] = {m: {"1": {"r_hat": 1.0}} for m in models}
        parts[name] = CrossValidation(**part, failures=[("c", "9", "broke")] if name == "two" else [],
                                      warnings=["careful"], run=run, envs=whole.envs, traits=whole.traits)  # fmt: skip
    # The rows of a run may stand in another order.
    parts["two"].partitions = parts["two"].partitions.sample(frac=1, random_state=1)
    joined = join_runs(parts)
    assert list(joined.run["settings"]["models"]) == ["a", "b", "c"]
    assert set(joined.run["diagnostics"]) == {"a", "b", "c"}
    assert joined.failures == [("c", "9", "broke")]
    assert joined.warnings == ["run 'one': careful", "run 'two': careful"]
    assert set(joined.run["runs"]) == {"one", "two"}
    pd.testing.assert_frame_equal(joined.scores, whole.scores)
    pd.testing.assert_frame_equal(joined.overall, whole.overall)
    pd.testing.assert_frame_equal(joined.compare(), whole.compare())


def test_labels_that_two_runs_share():
    first, second = (make_result({"un": r, "st": 0.3}, partitions=3) for r in (0.5, 0.4))
    same = join_runs({"x": first, "y": first})
    assert list(same.run["settings"]["models"]) == ["un", "st"]
    pd.testing.assert_frame_equal(same.scores, first.scores)
    second.run["settings"] |= {"draws": 5}
    joined = join_runs({"x": first, "y": second})
    # What predicts alike is one model, whatever it was made with.
    assert list(joined.run["settings"]["models"]) == ["un (x)", "st", "un (y)"]
    assert joined.warnings == []
    pearson = joined.scores.groupby("model")["pearson"].mean()
    assert pearson["un (y)"] == pytest.approx(second.scores.groupby("model")["pearson"].mean()["un"])
    first.run["settings"]["models"] = {"un": {}, "st": {}, "un (y)": {}}
    with pytest.raises(UsageError, match=r"two models would be called 'un \(y\)'"):
        join_runs({"x": first, "y": second})


def test_models_of_another_relationship_are_other_models():
    named = {"partitions": 3, "baselines": {"mean": "means"}}
    first, second = (make_result({"un": r, "mean": NAN}, **named) for r in (0.5, 0.4))
    second.run["data"]["relationship_digest"] = "other"
    joined = join_runs({"grm": first, "ped": second})
    assert list(joined.run["settings"]["models"]) == ["un (grm)", "mean", "un (ped)"]
    assert joined.run["relationships"] == {"un (grm)": "r", "mean": "r", "un (ped)": "other"}
    pearson = joined.scores.groupby("model")["pearson"].mean()
    assert pearson["un (ped)"] == pytest.approx(second.scores.groupby("model")["pearson"].mean()["un"])
    assert joined.warnings == [
        "the relationship of 'ped' is another than that of 'grm': models of these runs differ in it, too."
    ]


def test_runs_that_cannot_be_compared_are_refused():
    cv = make_result({"un": 0.5}, lines=20, partitions=3)

    def change(**named):
        other = make_result({"un": 0.5}, lines=20, partitions=3)
        for name, value in named.items():
            setattr(other, name, value)
        return other

    swapped = cv.partitions.copy()
    swapped.loc[0, "line"] = "zzz"
    values = cv.predictions.copy()
    values.loc[4, "observed"] += 0.25
    row = values.loc[4]
    cases = (
        (change(envs=("E1", "E3")), r"different environments \('E2', 'E3' only in one"),
        (change(traits=("Yield",)), r"different traits \('ASI' only in one"),
        (make_result({"un": 0.5}, lines=20, partitions=4), r"different partitions \('4' only in one"),
        (change(partitions=swapped), r"partition '1' hides or scores other cells \(2 of them only in one\)"),
        (change(partitions=cv.partitions.assign(scored=False)), r"partition '1' hides or scores other cells"),
        (
            change(predictions=values),
            f"observed values of 1 cell differ, such as line {row['line']!r} in {row['env']!r}, trait {row['trait']!r}",
        ),
        (change(predictions=cv.predictions.assign(n_obs=2)), "observed values of .* cells differ"),
    )
    for other, message in cases:
        with pytest.raises(DataError, match=message):
            join_runs({"x": cv, "y": other})
    other = change()
    other.run["data"]["trial_digest"] = "other"
    with pytest.raises(DataError, match="the hidden values are the same, but the models learnt from other values"):
        join_runs({"x": cv, "y": other})
    for named, message in (
        ({"top": 0.5}, r"differ in top \(0.2 in 'x' and 0.5 in 'y'\)"),
        ({"lowest": ["ASI"]}, r"differ in lowest \(none in 'x' and 'ASI' in 'y'\)"),
    ):
        with pytest.raises(UsageError, match=message):
            join_runs({"x": cv, "y": make_result({"un": 0.5}, lines=20, partitions=3, **named)})
    with pytest.raises(UsageError, match="no run to join"):
        join_runs({})


# --- words ----------------------------------------------------------------------------------------------------------


def told(cv):
    text = cv.advice()
    assert max(map(len, text.splitlines()), default=0) <= 80
    return " ".join(text.split())


def test_a_clear_winner_is_named_and_noise_is_not():
    clear = make_result({"good": 0.8, "bad": 0.1, "means": NAN}, lines=300, baselines={"means": "means"})
    text = told(clear)
    assert "Over all environments and traits, 'good' predicts best" in text
    assert re.search(
        r"above that of 'bad' by 0\.\d+ \(0\.8\d against 0\.\d\d, 95% interval 0\.\d+ to 0\.\d+, p < 0.001\)", text
    )
    assert "better than every other model: 'good' in 4 of 4" in text
    assert "'good' against the means of environments ('means'): its squared errors are smaller for Yield, ASI." in text
    assert "The test is approximate: at 5% it rejected in 10% of simulated" in text
    assert clear.best() >= {("pearson", env, trait, "good") for env in clear.envs for trait in clear.traits}
    assert {model for *_, model in clear.best()} == {"good"}
    noise = make_result({"a": 0.5, "b": 0.5}, lines=300, seed=3)
    text = told(noise)
    assert "no difference that can be told from noise separates the models" in text
    assert "best" not in text
    assert noise.best() == set()


def test_what_predicts_nothing_is_not_called_best():
    cv = make_result({"a": 0.5, "b": 0.3}, lines=300, envs=("E",), traits=("T",))
    turned = cv.predictions.assign(mean=-cv.predictions["mean"])
    cv = CrossValidation(turned, cv.line_means, cv.partitions, cv.heritability, [], [], cv.run, cv.envs, cv.traits)
    assert (cv.compare()["p"] < 0.05).all()
    assert "No mean correlation is above zero." in told(cv)
    assert "above" not in told(cv).replace("above zero", "")
    assert cv.best(["pearson"]) == set()


def test_baselines_are_judged():
    named = {"lines": 400, "partitions": 10, "baselines": {"single": "single", "means": "means"}}
    helped = told(make_result({"un": 0.8, "single": 0.2, "means": NAN}, **named))
    assert re.search(
        r"'un' against one trait at a time \('single'\): several traits help \(mean correlation \+0", helped
    )
    harmed = told(make_result({"un": 0.2, "single": 0.8, "means": NAN}, **named))
    assert "several traits do NOT help, they harm (mean correlation -0" in harmed
    assert "it cannot be told from noise whether several traits help" in told(
        make_result({"un": 0.5, "single": 0.5, "means": NAN}, seed=3, **named)
    )
    useless = make_result({"un": 0.5, "means": NAN}, **named)
    useless.predictions.loc[useless.predictions["model"] == "un", "mean"] += 3.0
    useless.__post_init__(None)
    assert "they are LARGER for Yield, ASI" in told(useless)
    one = make_result({"un": 0.8, "single": 0.2}, traits=("T",), **named)
    assert "several traits" not in told(one)


def test_intervals_and_slopes_that_are_off_are_told():
    cv = make_result({"a": 0.6, "b": 0.6}, lines=200)
    assert "do not hold 90%" not in told(cv)
    assert "not on the scale" not in told(cv)
    mine = cv.predictions["model"] == "a"
    cv.predictions.loc[mine, "mean_lower"] = cv.predictions["mean"] - 0.4
    cv.predictions.loc[mine, "mean_upper"] = cv.predictions["mean"] + 0.4
    cv.predictions.loc[~mine, "mean"] *= 2.0
    cv.__post_init__(None)
    text = told(cv)
    assert re.search(r"90% intervals do not hold 90% .*: those of 'a' hold [34]\d% for Yield \(too narrow\), ", text)
    assert re.search(r"those of 'b' spread too much \(inflated\), slope 0\.[45]", text)


def test_few_partitions_failures_and_environments_are_told():
    two = make_result({"a": 0.5, "b": 0.4}, partitions=2)
    two.failures.append(("b", "2", "broke"))
    text = told(two)
    assert "1 of 4 fits failed ('b'): models are compared on the partitions that both have." in text
    assert "With 2 partitions no difference can be told from noise: make at least 5, better 10." in text
    assert "best" not in text
    assert "With 4 partitions only large differences can be told" in told(
        make_result({"a": 0.5, "b": 0.4}, partitions=4)
    )
    envs = make_result({"a": 0.5, "b": 0.4}, hide="envs", envs=("A", "B", "C"))
    assert "With 3 environments hidden in turn only large differences" in told(envs)
    assert told(make_result({"a": 0.5}, partitions=2)) == ""


def test_what_it_takes_to_tell_a_difference():
    """Many partitions where their number is the limit; more lines where it is not; nothing for a difference of none."""
    rng = np.random.default_rng(1)

    def tell(difference, noise, number=10):
        cv = make_result({"a": 0.5, "b": 0.5}, lines=100, envs=("E",), traits=("T",), partitions=number)
        noise = noise * (lambda z: (z - z.mean()) / z.std(ddof=1))(rng.normal(size=number))
        pearson = cv.scores["pearson"].to_numpy().copy()
        pearson[number:] = pearson[:number] - difference - noise
        cv.scores["pearson"] = pearson
        return told(cv)

    def need(number):  # the least difference per standard deviation that is found in 80%
        return (stats.t.ppf(0.975, number - 1) + stats.norm.ppf(0.8)) * np.sqrt(1 / number + 0.25)

    assert need(11) < 1.8 < need(10)
    assert "some 11 partitions instead of 5 would tell it with a power of 80%" in tell(0.18, 0.1, 5)
    times = (need(10) / 0.6) ** 2
    assert f"it takes about {times:.1f} times as many lines to tell it with a power of 80%" in tell(0.06, 0.1)
    assert "takes more than 10 times as many lines" in tell(0.01, 0.1)


def test_pairs_told_not_told_and_unknown_together(monkeypatch):
    """With any p of the pairs of two and three models, and either sign, the advice can be written and fits the rows."""
    for models in ("ab", "abc"):
        cv = make_result(dict.fromkeys(models, 0.5), lines=40, partitions=5)
        rows = cv.compare(by="all")
        values = itertools.product((0.001, 0.02, 0.5, NAN, "same"), repeat=len(rows))
        every = list(itertools.product(values, itertools.product((1.0, -1.0), repeat=len(rows))))
        for p, signs in every[:: 1 if len(rows) == 1 else 11]:  # 11 has no divisor of their number
            table = rows.assign(p=[NAN if each == "same" else each for each in p], se=0.01)
            table["difference"] = np.array(signs) * [0.0 if each == "same" else 0.1 for each in p]
            table.loc[[each == "same" for each in p], "se"] = 0.0
            table["p_adjusted"] = table["p"]
            table["note"] = np.where(table["p"].isna(), "no reason", "")
            monkeypatch.setattr(bmtme.cv.advice, "tabulate", lambda *_, table=table: table)
            text = told(cv)
            for row, holm in zip(table.itertuples(), adjust_holm(table["p"].to_numpy()), strict=True):
                upper, lower = (row.model, row.against)[:: int(np.sign(row.difference) or 1)]
                named = f"{upper!r} above {lower!r}" in text
                if " best: " not in text and holm < 0.05:
                    assert named
                if "the largest is" not in text and not holm < 0.05:
                    assert not named
            if " best: " in text:
                best = re.findall(r"'(\w)'", text.split(" best: ")[0])[0]
                beaten = table[(table["model"] == best) | (table["against"] == best)]
                assert ((beaten["p"] < 0.05) | (beaten["difference"] == 0)).all()
            elif any(each != "same" and np.isnan(each) for each in p):
                assert "Not to be told: " in text


def test_pairs_named_are_adjusted_for_all_pairs():
    """Two of six pairs with p of 0.02 are no news."""
    cv = make_result(dict.fromkeys("abcd", 0.5), lines=60, partitions=10)
    wide = cv.scores.groupby(["model", "partition"])["pearson"].mean().unstack()
    raw = cv.compare(by="all")
    d = wide.loc["a"] - wide.loc["b"]
    wanted = stats.t.ppf(0.99, 9) * raw.iloc[0]["se"]
    cv.scores.loc[cv.scores["model"] == "a", "pearson"] += wanted - d.mean()
    row = cv.compare(by="all").iloc[0]
    assert row["p"] == pytest.approx(0.02)
    assert "'a' above 'b'" not in told(cv).split("the largest is")[0]
    assert "no model is shown to be better" not in told(cv)


def test_odd_results_can_be_spoken_of():
    """One model, one trait, one environment, no score, all values missing."""
    assert told(make_result({"a": 0.5})) == ""
    for named in ({"envs": ("E",)}, {"traits": ("T",)}, {"envs": ("E",), "traits": ("T",)}):
        for baselines in ({}, {"b": "single"}, {"b": "means"}):
            told(
                make_result(
                    {"a": 0.5, "b": NAN if "means" in baselines.values() else 0.3}, baselines=baselines, **named
                )
            )
    nothing = make_result({"a": NAN, "b": NAN})
    assert "correlation" not in told(nothing)
    missing = make_result({"a": 0.5, "b": 0.3})
    missing.predictions["mean"] = NAN
    missing.predictions["mean_lower"] = NAN
    missing.__post_init__(None)
    assert told(missing) == ""
    empty = make_result({"a": 0.5, "b": 0.3})
    empty.predictions = empty.predictions.iloc[:0]
    empty.__post_init__(None)
    assert told(empty) == ""


def test_means_that_are_quoted_are_over_the_partitions_that_both_have():
    """The better model fails where all do well: its own mean is the lower one."""
    cv = make_result({"a": 0.6, "b": 0.3}, lines=200, envs=("E",), traits=("T",))
    scores = cv.scores.set_index(["model", "partition"])["pearson"].unstack()
    kept = list(scores.columns[:6])
    cv.predictions = cv.predictions[(cv.predictions["model"] == "b") | cv.predictions["partition"].isin(kept)]
    rows = ~cv.predictions["partition"].isin(kept)
    cv.predictions.loc[rows, "mean"] = cv.predictions.loc[rows, "observed"] + 0.01
    cv.__post_init__(None)
    means = cv.scores.groupby("model")["pearson"].mean()
    assert means["b"] > 0.5
    shared = scores[kept].mean(axis=1)
    assert f"by {shared['a'] - shared['b']:.3f} ({shared['a']:.2f} against {shared['b']:.2f}," in told(cv)
    ranks = cv.summary().set_index("model")["pearson_rank"]
    assert np.isnan(ranks["a"])


def test_several_traits_are_judged_against_the_same_model_alone():
    named = {"lines": 400, "baselines": {"single": "single"}}

    def tell(one, other, **more):
        cv = make_result({"un": 0.8, "single": 0.2}, **named)
        for label, settings in (("un", one), ("single", other)):
            cv.run["settings"]["models"][label] |= settings
        cv.run |= more
        return told(cv)

    inner = bmtme.BMTME().describe()
    for structure in ("unstructured", "diagonal"):
        assert "several traits help (" in tell(bmtme.BMTME(structure).describe(), bmtme.SingleTrait().describe())
    for model, what in (
        (bmtme.BMTME(genetic=bmtme.Free()), "genetic"),
        (bmtme.BMTME(residual="by_env"), "residual"),
        (bmtme.BMTME(prior_E=bmtme.HalfT(4, 2.0)), "prior_E"),
        (bmtme.BMTME(means="flat"), "means"),
        (bmtme.BMTME("standard"), "structure"),
    ):
        text = tell(model.describe(), bmtme.SingleTrait().describe())
        assert f"they differ in more than the number of traits ({what}), so that this does not tell whether" in text
        assert ": several traits help" not in text
        assert "harm" not in text
    other = {"relationships": {"un": "r", "single": "other"}}
    assert "(relationship)" in tell(inner, bmtme.SingleTrait().describe(), **other)


@pytest.mark.parametrize("runs", [[1], {"a": 3}, None, {}])
def test_what_is_no_run_is_refused(runs):
    with pytest.raises(UsageError, match=r"the runs to join must be a dict|there is no run to join"):
        join_runs(runs)
