"""What the studies of the paper's trials compute with: weighted scores, errors, kept tables, verdicts."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import bmtme
from validation.paper import wheat
from validation.paper.crossvalidation import CV1, CV1_MODELS, CV2, CV2_MODELS, RAW, weigh_scores
from validation.paper.findings import (
    AGREE,
    COMPATIBLE,
    DISAGREE,
    NEARLY,
    OTHERWISE,
    PAPER,
    check_average,
    check_order,
    check_residuals,
    check_wins,
    count_wins,
)
from validation.paper.hidden_means import HiddenMean, warn_of_draws
from validation.paper.kept import keep
from validation.paper.pages import reflow
from validation.paper.published import TABLE_8_ORDER
from validation.paper.rawstandard import expect
from validation.paper.sensitivity_page import judge_claim
from validation.paper.sensitivity_sweeps import (
    HALF_T,
    HALF_T_E,
    INSENSITIVE,
    ONE,
    QUARTER,
    SENSITIVE,
    SOMEWHAT,
    Span,
    measure_span,
    package,
    simulate,
)


def test_weighted_scores_count_lines_again():
    rng = np.random.default_rng(1)
    y = 200 + rng.normal(size=30)
    f = y + rng.normal(size=(2, 30))
    f[0, :10] = np.nan
    weights = rng.integers(0, 3, size=(3, 30))
    found = weigh_scores(y, f, weights.astype(float))
    for b, p in np.ndindex(3, 2):
        asked = ~np.isnan(f[p])
        o, g = (np.repeat(values[asked], weights[b, asked]) for values in (y, f[p]))
        assert found["pearson"][b, p] == pytest.approx(np.corrcoef(o, g)[0, 1])
        assert found["msep"][b, p] == pytest.approx(np.mean((o - g) ** 2))
        assert found["mean"][b, p] == pytest.approx((o.mean() - g.mean()) ** 2)
        assert found["lines"][b, p] == pytest.approx(np.var(o - g))


def test_conditional_expectation_is_that_of_the_joint_normal():
    """Against the conditional mean with the environment means given a vague normal prior."""
    rng = np.random.default_rng(2)
    J, I = 5, 3
    frame = pd.DataFrame([(f"L{j}", f"E{i}") for i in range(I) for j in range(J)], columns=["line", "env"])
    frame[["a", "b"]] = rng.normal(size=(J * I, 2)) + [10, 100]
    frame.loc[[0, 7], ["a", "b"]] = np.nan
    trial = bmtme.Trial.from_frame(frame, line="line", env="env", traits=["a", "b"])
    root = rng.normal(size=(J, J + 2))
    G, (s2_t, s2_E, s2_e) = root @ root.T / J, (0.7, 0.4, 0.5)
    cells = s2_t * np.kron(np.ones((I, I)) + s2_E * np.eye(I), G) + 1e7 * np.kron(np.eye(I), np.ones((J, J)))
    seen = ~np.isnan(frame["a"].to_numpy())
    V = cells[np.ix_(seen, seen)] + s2_e * np.eye(seen.sum())
    dense = cells[:, seen] @ np.linalg.solve(V, frame.loc[seen, ["a", "b"]].to_numpy())
    found = expect(trial, G, [0, 1], s2_t, s2_E, s2_e)
    np.testing.assert_allclose(found.transpose(1, 0, 2).reshape(J * I, 2), dense, rtol=1e-5)
    # One trait alone, without a record in an environment: its mean there is that of the paper's prior, 0.
    hidden = np.zeros((J * I, 2), bool)
    hidden[trial.env_index == 1, 1] = True
    seen &= trial.env_index != 1
    cells = s2_t * np.kron(np.ones((I, I)) + s2_E * np.eye(I), G)
    vague = cells + 1e7 * np.kron(np.diag([1.0, 0.0, 1.0]), np.ones((J, J)))
    V = vague[np.ix_(seen, seen)] + s2_e * np.eye(seen.sum())
    dense = vague[:, seen] @ np.linalg.solve(V, frame.loc[seen, "b"].to_numpy())
    found = expect(trial.hide(hidden), G, [1], s2_t, s2_E, s2_e)
    np.testing.assert_allclose(found[:, :, 0].T.ravel(), dense, rtol=1e-5, atol=1e-5)


def test_kept_tables_come_back_and_refuse_other_settings(tmp_path):
    table = pd.DataFrame({"model": ["st"], "partition": ["01"], "line": ["NA"], "env": ["E1"], "mean": [1 / 3]})
    path = tmp_path / "deep" / "table.csv"
    pd.testing.assert_frame_equal(keep(path, {"seed": 1}, lambda: table), table)

    def fail() -> pd.DataFrame:
        raise AssertionError("made again")

    back = keep(path, {"seed": 1}, fail)
    assert back["mean"][0] == 1 / 3
    assert back.loc[0, ["partition", "line"]].tolist() == ["01", "NA"]
    with pytest.raises(ValueError, match="other seed"):
        keep(path, {"seed": 2}, fail)
    assert list(path.parent.iterdir()) == [path]


def test_differences_have_both_errors():
    rng = np.random.default_rng(3)
    scores = rng.normal(size=(4, 12, 3, 2))
    again = rng.normal(size=(50, 4, 3, 2))
    cv = CV1(CV1_MODELS, ("E1", "E2", "E3"), ("a", "b"), {"pearson": scores}, {"pearson": again})
    step, partitions, lines = cv.compare("unstructured", "diagonal", "pearson")
    difference = scores[0] - scores[1]
    assert step[:-1].reshape(3, 2) == pytest.approx(difference.mean(axis=0))
    assert step[-1] == pytest.approx(difference.mean())
    assert partitions[-1] == pytest.approx(difference.mean(axis=(1, 2)).std(ddof=1) / np.sqrt(12))
    assert lines[-1] == pytest.approx((again[:, 0] - again[:, 1]).mean(axis=(1, 2)).std(ddof=1))
    # Ten other partitions are as uncertain as ten, and our mean, from which they are drawn, as twelve.
    small = cv.draw_others(("standard",), "pearson", 10, seed=1)[:, 0]
    spread = scores[2].std(axis=0)
    assert small.std(axis=0) == pytest.approx(spread * np.sqrt(1 / 10 + (1 - 1 / 10) / 12), rel=0.05)
    assert small.mean(axis=0) == pytest.approx(scores[2].mean(axis=0), abs=0.05)


def test_wins_count_the_best_model_of_every_cell():
    means = np.array([[[3.0, 1.0]], [[2.0, 2.0]], [[1.0, 3.0]]])
    assert count_wins(means, "pearson").tolist() == [1, 0, 1]
    assert count_wins(means, "msep").tolist() == [1, 0, 1]
    assert count_wins(means[:, :, :1], "msep").tolist() == [0, 0, 1]


def test_printed_counts_are_found_or_not():
    scores = np.zeros((4, 12, 1, 3))
    scores[0, :, 0, :2] = 1.0
    scores[2:, :, 0, 2] = 1.0
    cv = CV1(CV1_MODELS, ("E1",), ("a", "b", "c"), {"pearson": scores}, {})
    right = {"unstructured": 2, "diagonal": 0, "standard": 1}
    assert check_wins(cv, "pearson", right, "4", 10, 1).verdict == AGREE
    assert check_wins(cv, "pearson", {"standard": 2}, "4", 10, 1).verdict == DISAGREE
    short = check_wins(cv, "pearson", {"unstructured": 1, "diagonal": 0, "standard": 1}, "4", 10, 1)
    assert short.verdict == COMPATIBLE
    assert "(sum 2 of 3: 1 cells not accounted for)" in short.paper
    none = {"unstructured": 0, "diagonal": 0, "standard": 1}
    assert check_wins(cv, "pearson", none, "4", 10, 1).verdict == COMPATIBLE, "two left over, two missing"
    low = {"unstructured": 1, "diagonal": 1, "standard": 0}
    assert check_wins(cv, "pearson", low, "4", 10, 1).verdict == DISAGREE, "one left over, two missing"
    # The model of the paper is the one in raw units.
    scores[CV1_MODELS.index(RAW)] = -1.0
    assert check_wins(cv, "pearson", right, "4", 10, 1).verdict == DISAGREE
    assert check_average(cv, "pearson", "unstructured", "standard", "4", 10, 1).verdict == AGREE
    assert check_average(cv, "pearson", "unstructured", "diagonal", "4", 10, 1).verdict == DISAGREE


@pytest.mark.parametrize("size, verdict", [(3.0, AGREE), (0.7, NEARLY), (-0.3, OTHERWISE), (-3.0, DISAGREE)])
def test_smaller_residual_correlations_need_probability(size, verdict):
    draws = np.random.default_rng(5).normal(size=4000)
    samples = {"genetic_correlation[a, b]": 9 + size + draws, "residual_correlation[a, b]": np.full(4000, 9.0)}
    assert check_residuals(samples, [("a", "b")], "3").verdict == verdict


@pytest.mark.parametrize(
    "printed, verdict",
    [
        (("unstructured", "diagonal"), AGREE),
        (("diagonal", "standard"), NEARLY),
        (("standard", "diagonal"), OTHERWISE),
        (("diagonal", "unstructured"), DISAGREE),
        (("unstructured",), AGREE),
        (("standard",), DISAGREE),
    ],
)
def test_orders_are_judged_by_steps_and_errors(printed, verdict):
    n = len(CV2_MODELS)
    values = np.zeros((n, 1))
    values[[CV2_MODELS.index(label) for label in PAPER], 0] = [0.9, 0.5, 0.495]
    noise = np.random.default_rng(4).normal(scale=0.01, size=(400, n, 1))
    cv = CV2(
        "a", CV2_MODELS, ("E1",), np.zeros((5, 1)), np.zeros((n, 2, 5, 1)), {"pearson": values},
        {"pearson": np.zeros((n, 1))}, {"pearson": values[None] + noise},
    )  # fmt: skip
    assert check_order(cv, 0, "pearson", printed, "5", "E1").verdict == verdict


def make_summary(means: list[float], draws: float) -> pd.DataFrame:
    """Two quantities with standard deviation 1."""
    table = pd.DataFrame({"mean": means, "sd": 1.0, "ess_bulk": draws, "r_hat": 1.0}, index=["q", "r"])
    return table.assign(lower=table["mean"] - 2, upper=table["mean"] + 2)


def test_changes_are_judged_with_their_monte_carlo_error():
    reference = make_summary([0.0, 0.0], 1e6)
    steps = {0.0: INSENSITIVE, 0.26: QUARTER, 0.6: SOMEWHAT, 0.97: ONE, 1.5: SENSITIVE}
    for step, verdict in steps.items():
        span = measure_span(reference, [make_summary([0.1, 0.0], 5000), make_summary([0.1, step], 5000)])
        assert span.verdict == verdict
        assert span.size == pytest.approx(step)
    assert (span.name, span.error) == ("r", pytest.approx(np.sqrt(2 / 5000)))
    assert measure_span(reference, [make_summary([0.0, 0.0], 1e6), make_summary([0.0, 0.26], 1e6)]).verdict == SOMEWHAT


def test_the_claim_is_judged_for_every_part_of_the_model():
    spans = {HALF_T: Span(0.07, 0.01, "q"), HALF_T_E: Span(0.6, 0.01, "r")}
    both = judge_claim(spans).split("; it ")
    assert both[0] == "holds for Sigma_t and R_e (0.07 SDs; of q)"
    assert both[1] == "holds in the main for Sigma_E (0.60 SDs; of r)"
    spans[HALF_T] = Span(1.01, 0.05, "q")
    assert judge_claim(spans).startswith("does not hold for Sigma_t and R_e (1.01 SDs, about one SD; of q)")


def test_priors_of_the_r_package_are_those_of_its_source():
    data = simulate(1)
    model = package(data)
    values = data[0].values
    assert model.prior_t.df == model.prior_e.df == 5 + values.shape[1] - 1
    np.testing.assert_allclose(model.prior_t.scale, np.cov(values.T) * 0.25 * 7)
    np.testing.assert_allclose(model.prior_e.scale, np.cov(values.T) * 0.5 * 7)


def test_reflow_leaves_tables_and_keeps_items_apart():
    text = "a " * 80 + "\nb\n\n- one\n  two\n- three\n\n| x |\n|---|"
    flowed = reflow(text)
    assert max(map(len, flowed.split("\n"))) <= 118
    assert flowed.endswith("\n\n- one two\n- three\n\n| x |\n|---|")


def make_orders(names: dict[str, str]) -> SimpleNamespace:
    """Results of the wheat trial in which all printed orders are found under some names of its environments."""
    envs = tuple(wheat.ENVIRONMENTS.values())
    scores = {key: np.zeros((len(CV2_MODELS), len(envs))) for key in ("pearson", "msep", "mean", "lines")}
    for (env, key), order in TABLE_8_ORDER.items():
        for k, model in enumerate(order):
            places = [m for m, label in enumerate(CV2_MODELS) if label.startswith(model)]
            scores[key][places, envs.index(names[env])] = -k if key == "pearson" else k
    noise = {key: np.full(value.shape, 0.1) for key, value in scores.items()}
    again = {key: np.zeros((2, *value.shape)) for key, value in scores.items()}
    shape = (len(CV2_MODELS), 2, 5, len(envs))
    means = [HiddenMean(env, mean, 1.0, 1.0, 0.0, 1.0) for env, mean in zip(envs, (-0.4, -0.7, -0.9), strict=True)]
    cv = CV2("GRYLD", CV2_MODELS, envs, np.zeros((5, len(envs))), np.zeros(shape), scores, noise, again)
    return SimpleNamespace(cv2=cv, means=means)


def test_readings_of_the_names_are_weighed_by_what_is_found():
    used, exchanged = (make_orders(names) for names in (wheat.ENVIRONMENTS, wheat.EXCHANGED))
    assert wheat.count_found(used, wheat.ENVIRONMENTS, "msep") == (3, 3)
    assert wheat.compare_readings(used).endswith("That speaks for the names as used here.")
    assert wheat.compare_readings(exchanged).endswith("That speaks for the names exchanged.")
    assert "explain the rest" not in wheat.explain_orders(used)
    assert "not found: Bed2I (Bed2IR) (unstructured printed, standard here)" in wheat.explain_orders(exchanged)
    # Names exchanged for the MSEP alone.
    mixed = make_orders(wheat.ENVIRONMENTS)
    mixed.cv2.scores["msep"][:] = exchanged.cv2.scores["msep"]
    assert wheat.compare_readings(mixed).endswith("That does not tell which names the paper used.")
    told = " ".join(wheat.explain_orders(mixed).split())
    assert "3 of 3 printed orders by MSEP are found then (1 with the names as used here)" in told


def test_the_prior_of_the_means_is_told_better_only_where_it_is():
    results = make_orders(wheat.ENVIRONMENTS)
    msep = results.cv2.scores["msep"]
    paper, default = (CV2_MODELS.index(f"unstructured; {means}") for means in ("paper", "exchangeable"))
    msep[paper], msep[default] = [0.1, 0.4, 0.3], [0.2, 0.3, 0.2]
    told = wheat.explain_means(results)
    assert "are 0.4 to 0.9 standard deviations of the lines\nbelow 0" in told
    assert "where the mean is nearest to 0 (Bed2IR 0.100 against 0.200), worse in the others (Bed5IR" in told
    msep[paper] = 0.5
    told = wheat.explain_means(results)
    assert "worse than exchangeable means in all environments (Bed2IR 0.500 against 0.200;" in told


def test_orders_by_msep_mean_nothing_only_where_errors_are_larger_than_differences():
    results = make_orders(wheat.ENVIRONMENTS)
    wide = [HiddenMean("E", 6.0, 36.0, 1.0, 5.0, spread) for spread in (200.0, 200.0, 1.0)]
    assert warn_of_draws(wide, results.cv2, "u²").endswith("mean nothing in E and E (models that differ as here)")
    assert warn_of_draws(wide[:1] * 3, results.cv2, "u²").endswith("its orders by MSEP mean nothing")
    assert warn_of_draws(wide[2:] * 3, results.cv2, "u²").endswith("may still stand")
