"""What the studies of the paper's trials compute with: weighted scores, errors, kept tables, counts, orders."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bmtme
from validation.paper.crossvalidation import CV1, CV1_MODELS, CV2, CV2_MODELS, PAPER, RAW, weigh_scores
from validation.paper.kept import keep
from validation.paper.rawstandard import expect
from validation.paper.sensitivity_sweeps import measure_span, package, simulate
from validation.paper.trialtables import (
    count_wins,
    find_steps,
    order_models,
    range_wins,
    tabulate_averages,
    tabulate_residuals,
    tabulate_wins,
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


def read_table(table: str) -> list[list[str]]:
    """Cells of a Markdown table, without its head."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.split("\n")[2:]]


def test_counts_and_means_are_of_the_papers_models():
    scores = np.zeros((4, 12, 1, 3))
    scores[0, :, 0, :2] = 1.0
    scores[2:, :, 0, 2] = 1.0
    cv = CV1(CV1_MODELS, ("E1",), ("a", "b", "c"), {"pearson": scores, "msep": -scores}, {})
    assert range_wins(cv, "pearson", 1).tolist() == [[2, 0, 1], [2, 0, 1]]
    assert read_table(tabulate_wins(cv, {"pearson": {"standard": 5}}, 1))[2:4] == [
        ["Pearson", "standard", "5", "1 (1 to 1)", "1"],
        ["MSEP", "unstructured", "not known", "2 (2 to 2)", "2"],
    ]
    averages = read_table(tabulate_averages(cv, 1))
    assert averages[0] == ["Pearson", "unstructured", "0.6667", "100", "0", "0.6667"]
    assert averages[4] == ["MSEP", "diagonal", "0", "0", "100", "0"]
    # The model of the paper is the one in raw units.
    scores[CV1_MODELS.index(RAW)] = -1.0
    assert range_wins(cv, "pearson", 1)[0].tolist() == [3, 0, 0]


def test_probability_of_smaller_residual_correlations():
    draws = np.linspace(-1, 1, 4000)
    samples = {"genetic_correlation[a, b]": 0.5 + draws, "residual_correlation[a, b]": np.zeros(4000) - 0.25}
    # |0.5 + u| > 0.25: all but u from -0.75 to -0.25
    assert read_table(tabulate_residuals(samples, [("a", "b")])) == [["a, b", "0.75"]]


def test_orders_and_steps_of_the_models():
    n = len(CV2_MODELS)
    values = np.zeros((n, 1))
    values[[CV2_MODELS.index(label) for label in PAPER], 0] = [0.9, 0.495, 0.5]
    noise = np.random.default_rng(4).normal(scale=0.01, size=(400, n, 1))
    chains = np.full((n, 1), 0.02)
    cv = CV2(
        "a", CV2_MODELS, ("E1",), np.zeros((5, 1)), np.zeros((n, 2, 5, 1)), {"pearson": values, "msep": values},
        {"pearson": chains}, {"pearson": values[None] + noise},
    )  # fmt: skip
    assert order_models(cv, 0, "pearson") == ["unstructured", "standard", "diagonal"]
    assert order_models(cv, 0, "msep") == ["diagonal", "standard", "unstructured"]
    (one, other, step, error), (_, last, second, _) = find_steps(
        cv, 0, "pearson", ("unstructured", "diagonal", "standard")
    )
    assert (one, other, last) == ("unstructured", "diagonal", "standard")
    assert (step, second) == (pytest.approx(0.405), pytest.approx(-0.005))
    # Over lines and of the chains of both models.
    assert error == pytest.approx(np.sqrt(2 * 0.01**2 + 2 * 0.02**2), rel=0.05)
    assert [step[:2] for step in find_steps(cv, 0, "pearson", ("diagonal",))] == [
        ("diagonal", "unstructured"),
        ("diagonal", "standard"),
    ]


def make_summary(means: list[float], draws: float) -> pd.DataFrame:
    """Two quantities with standard deviation 1."""
    table = pd.DataFrame({"mean": means, "sd": 1.0, "ess_bulk": draws, "r_hat": 1.0}, index=["q", "r"])
    return table.assign(lower=table["mean"] - 2, upper=table["mean"] + 2)


def test_changes_have_their_monte_carlo_error():
    reference = make_summary([0.0, 0.0], 1e6)
    span = measure_span(reference, [make_summary([0.1, 0.0], 5000), make_summary([0.1, -1.5], 5000)])
    assert (span.name, span.size) == ("r", pytest.approx(1.5))
    assert span.error == pytest.approx(np.sqrt(2 / 5000))


def test_priors_of_the_r_package_are_those_of_its_source():
    data = simulate(1)
    model = package(data)
    values = data[0].values
    assert model.prior_t.df == model.prior_e.df == 5 + values.shape[1] - 1
    np.testing.assert_allclose(model.prior_t.scale, np.cov(values.T) * 0.25 * 7)
    np.testing.assert_allclose(model.prior_e.scale, np.cov(values.T) * 0.5 * 7)
