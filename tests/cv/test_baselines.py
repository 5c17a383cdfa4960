"""Models to compare with: one trait at a time, and the means of the environments."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from bmtme import (
    BMTME,
    CV1,
    CV2,
    EnvironmentMeans,
    Free,
    HalfT,
    InverseWishart,
    NewEnvironments,
    NewLines,
    SingleTrait,
    Trial,
    cross_validate,
    simulate,
)
from bmtme.cv.means import find_nodes, measure_within, predict_by_means, relate_envs
from bmtme.data.order import sort_trial
from bmtme.errors import UsageError
from tests.helpers.trials import trial_of

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
SHORT = {"draws": 60, "tune": 40, "chains": 2, "seed": 3, "workers": 2}
TRAITS = ["T1", "T2", "T3"]


@pytest.fixture(scope="module")
def data():
    sim = simulate(lines=24, envs=3, traits=3, reps=2, missing_traits=0.1, relationship="markers", seed=4)
    return trial_of(sim.frame), sim.relationship


def take(trial, trait):
    """The trial of one trait."""
    l = trial.traits.index(trait)
    return Trial(trial.lines, trial.envs, (trait,), trial.line_index, trial.env_index, trial.values[:, [l]], trial.reps)


# --- one trait at a time --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", [CV1(2, 0.3), NewLines(2), CV2(["T2"])])
def test_one_trait_knows_nothing_of_the_others(data, scheme):
    """Whatever the other traits' values are, also where they are hidden or missing in other records."""
    trial, relationship = data
    models = {"single": SingleTrait(BMTME(residual="by_env"))}
    cv = cross_validate(trial, relationship, models, scheme, **SHORT)
    values = trial.values.copy()
    values[:, [0, 2]] = np.random.default_rng(1).normal(50.0, 9.0, (len(values), 2))
    other = Trial(trial.lines, trial.envs, trial.traits, trial.line_index, trial.env_index, values, trial.reps)
    again = cross_validate(other, relationship, models, scheme, **SHORT)
    for table in ("predictions", "line_means"):
        one, two = (getattr(each, table).query("trait == 'T2'").reset_index(drop=True) for each in (cv, again))
        pd.testing.assert_frame_equal(one, two, check_exact=True)
    assert len(cv.predictions.query("trait == 'T2'")) > 10


def test_one_trait_alone_is_the_model_itself(data):
    trial, relationship = data
    models = {"un": BMTME(), "single": SingleTrait(), "bd": SingleTrait(BMTME("diagonal"))}
    cv = cross_validate(take(trial, "T1"), relationship, models, CV1(2, 0.3), **SHORT)
    tables = [part.drop(columns="model").reset_index(drop=True) for _, part in cv.predictions.groupby("model")]
    for table in tables[1:]:
        pd.testing.assert_frame_equal(tables[0], table, check_exact=True)
    assert "are one model" in " ".join(cv.warnings)
    assert set(cv.run["thread_seconds"]) == {"un"}


def test_with_several_traits_it_is_another_model(data):
    models = {"un": BMTME(), "single": SingleTrait(), "mean": EnvironmentMeans()}
    cv = cross_validate(*data, models, CV1(2, 0.3), **SHORT)
    assert not any("one model" in text for text in cv.warnings)
    assert list(dict.fromkeys(cv.predictions["model"])) == list(models)
    assert cv.predictions.groupby("model").size().nunique() == 1
    assert cv.run["settings"]["models"]["single"]["baseline"] == "single"
    assert cv.run["settings"]["models"]["mean"] == {"baseline": "means"}
    assert set(cv.run["diagnostics"]["single"]) == {"1", "2"}
    assert cv.run["diagnostics"]["mean"] == {}


def test_environments_where_the_trait_is_not_recorded_are_left_out(data):
    """A free covariance has no place for an environment without a record; one trait alone has no need of it."""
    trial, relationship = data
    values = trial.values.copy()
    values[trial.env_index == 0, 1] = np.nan
    gappy = Trial(trial.lines, trial.envs, trial.traits, trial.line_index, trial.env_index, values, trial.reps)
    cv = cross_validate(gappy, relationship, SingleTrait(BMTME(genetic=Free())), CV1(1, 0.3), **SHORT)
    recorded = cv.predictions.groupby("trait")["env"].nunique()
    assert recorded.to_dict() == {"T1": 3, "T2": 2, "T3": 3}


def test_a_trait_that_fails_fails_the_model(data, monkeypatch):
    from bmtme.cv import tasks
    from bmtme.errors import NumericalError

    advance = tasks.Chain.advance

    def fail(chain, *rest):
        if len(failing) == 4:  # the chains of T1 and T2 come first
            raise NumericalError("nothing works")
        failing.append(chain)
        return advance(chain, *rest)

    failing = []
    monkeypatch.setattr(tasks.Chain, "advance", fail)
    models = {"single": SingleTrait(), "mean": EnvironmentMeans()}
    cv = cross_validate(*data, models, CV1(1, 0.3), **SHORT | {"workers": 1})
    assert [(model, label) for model, label, _ in cv.failures] == [("single", "1")]
    assert "trait 'T3'" in cv.failures[0][2]
    assert "nothing works" in cv.failures[0][2]
    assert set(cv.predictions["model"]) == {"mean"}


def test_scales_by_trait_are_those_of_the_trait():
    model = SingleTrait(BMTME(prior_t=HalfT(scale={"A": 1.0, "B": 2.0}), prior_e=InverseWishart(5, {"A": 1, "B": 3})))
    one = model.take_trait("B")
    assert one.prior_t == HalfT(scale={"B": 2.0})
    assert (one.prior_e.df, one.prior_e.scale) == (5, {"B": 3})
    with pytest.raises(UsageError, match="none for 'C'"):
        model.take_trait("C")
    with pytest.raises(UsageError, match="prior_e is a matrix of several traits"):
        SingleTrait(BMTME(prior_e=InverseWishart(5, np.eye(2))))
    for bad in (BMTME, EnvironmentMeans(), "unstructured"):
        with pytest.raises(UsageError, match=r"takes a bmtme\.BMTME"):
            SingleTrait(bad)


# --- means of environments ------------------------------------------------------------------------------------------


def test_one_plot_a_line_is_predicted_by_students_t():
    rng = np.random.default_rng(2)
    frame = pd.DataFrame(
        [(f"L{j:02d}", f"E{i}", rng.normal(10 + i, 2.0)) for j in range(30) for i in range(2)],
        columns=["line", "env", "T1"],
    )
    trial = sort_trial(Trial.from_frame(frame, line="line", env="env", traits=["T1"]))[0]
    cells = np.zeros((30, 2, 1), bool)
    cells[:8, 0] = cells[8:12, 1] = True
    training = trial.hide(cells[trial.line_index, trial.env_index])
    table, _ = predict_by_means(training, trial, cells)
    for i, env in enumerate(trial.envs):
        values = training.cell_means()[:, i, 0]
        values = values[~np.isnan(values)]
        n, s = len(values), values.std(ddof=1)
        law = t(n - 1, values.mean(), s * np.sqrt(1 + 1 / n))
        rows = table[table["env"] == env]
        np.testing.assert_allclose(rows["mean"], values.mean())
        for ends, p in ((("mean_lower", "mean_upper"), 0.05), (("mean_lower_50", "mean_upper_50"), 0.25)):
            np.testing.assert_allclose(rows[list(ends)].iloc[0], law.ppf([p, 1 - p]), atol=0.01 * s)
        np.testing.assert_allclose(rows["log_score"], law.logpdf(rows["observed"]), atol=0.01)


def test_nodes_are_those_of_students_t():
    for degrees in (1, 4, 60):
        nodes = find_nodes(degrees)
        from scipy.stats import norm

        for p in (0.6, 0.75, 0.95):
            found = norm.cdf(t(degrees).ppf(p) / np.sqrt(nodes)).mean()
            assert abs(found - p) < 0.003


def test_plots_and_environments_each_have_their_variance():
    """Replicates tell the variance within a cell; a line's values in two environments go together."""
    sim = simulate(lines=300, envs=3, traits=1, reps=3, heritability=0.5, relationship="compound", seed=8)
    trial = sort_trial(trial_of(sim.frame, ["T1"]))[0]
    left = trial.values[:, 0] - trial.cell_means()[trial.line_index, trial.env_index, 0]
    np.testing.assert_allclose(measure_within(trial)[0], (left**2).sum() / (300 * 3 * 2))
    means = trial.cell_means()[:, :, 0]
    covariances = np.cov(means.T, ddof=0)[np.triu_indices(3, 1)]
    np.testing.assert_allclose(relate_envs(means), covariances.mean())
    cells = np.zeros((300, 3, 1), bool)
    cells[::2] = True
    training = trial.hide(cells[trial.line_index, trial.env_index])
    table, totals = predict_by_means(training, trial, cells)
    for rows in (table, totals):
        for low, high, share in (("mean_lower", "mean_upper", 0.9), ("mean_lower_50", "mean_upper_50", 0.5)):
            covered = rows["observed"].between(rows[low], rows[high]).mean()
            assert abs(covered - share) < (0.05 if len(rows) > 150 else 0.1)  # rows of a line go together
    single = table["observed"].between(table["lower"], table["upper"]).mean()
    assert single > 0.93  # the interval of a plot is too wide for a mean of three


def test_a_new_environment_is_predicted_by_the_others(data):
    trial, relationship = data
    cv = cross_validate(trial, relationship, EnvironmentMeans(), NewEnvironments(), seed=1)
    means = np.nanmean(trial.cell_means(), axis=0)
    for (env, trait), rows in cv.predictions.groupby(["env", "trait"]):
        i, l = trial.envs.index(env), trial.traits.index(trait)
        np.testing.assert_allclose(rows["mean"], np.delete(means[:, l], i).mean())
    assert cv.scores["pearson"].isna().all()
    assert cv.scores["msep"].notna().all()


def test_one_other_environment_tells_nothing_of_their_spread(data):
    """Predicted all the same; intervals and what rests on them are missing, not zero."""
    trial, relationship = data
    kept = trial.env_index < 2
    two = Trial(
        trial.lines, trial.envs[:2], trial.traits, trial.line_index[kept], trial.env_index[kept], trial.values[kept],
        tuple(rep for rep, keep in zip(trial.reps, kept, strict=True) if keep),
    )  # fmt: skip
    cv = cross_validate(two, relationship, EnvironmentMeans(), NewEnvironments(), seed=1)
    for table in (cv.predictions, cv.line_means):
        assert table[["mean_lower", "mean_upper_50", "log_score", "crps"]].isna().all(axis=None)
        assert table["mean"].notna().all()
    assert cv.scores[["coverage_90", "crps", "log_score"]].isna().all(axis=None)
    assert cv.scores["msep"].notna().all()


def test_intervals_of_new_environments_hold_what_they_should():
    """Means of environments are drawn, five of them; each is hidden in turn."""
    covered = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        means = rng.normal(0.0, 3.0, 5)
        rows = [(f"L{j}", f"E{i}", means[i] + rng.normal()) for j in range(12) for i in range(5)]
        frame = pd.DataFrame(rows, columns=["line", "env", "T1"])
        trial = sort_trial(Trial.from_frame(frame, line="line", env="env", traits=["T1"]))[0]
        for i in range(5):
            cells = np.zeros((12, 5, 1), bool)
            cells[:, i] = True
            training = trial.hide(cells[trial.line_index, trial.env_index])
            table = predict_by_means(training, trial, cells)[0]
            covered.append(table["observed"].between(table["mean_lower"], table["mean_upper"]).mean())
    assert 0.87 < np.mean(covered) < 0.93
