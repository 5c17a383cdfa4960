"""What the studies of the paper's trials compute with: weighted scores, errors, kept tables, verdicts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bmtme
from validation.paper.crossvalidation import CV1, CV1_MODELS, CV2, label_means, weigh_scores
from validation.paper.findings import (
    AGREE,
    DISAGREE,
    NEARLY,
    OTHERWISE,
    UNKNOWN,
    check_order,
    check_wins,
    count_wins,
    judge_table,
)
from validation.paper.kept import keep
from validation.paper.pages import reflow
from validation.paper.rawstandard import expect


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
    found = expect(trial, G, s2_t, s2_E, s2_e)
    np.testing.assert_allclose(found.transpose(1, 0, 2).reshape(J * I, 2), dense, rtol=1e-5)


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
    small = cv.draw_small(("standard",), "pearson", 12, seed=1)
    assert small == pytest.approx(np.broadcast_to(scores[2].mean(axis=0), small.shape)), "all partitions drawn"


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
    assert {finding.verdict for finding in check_wins(cv, "pearson", right, "4", 10, 1)} == {AGREE}
    assert {finding.verdict for finding in check_wins(cv, "pearson", {"standard": 2}, "4", 10, 1)} == {DISAGREE}
    short = {"unstructured": 1, "diagonal": 0, "standard": 1}
    assert {finding.verdict for finding in check_wins(cv, "pearson", short, "4", 10, 1)} == {AGREE}, "one left over"


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
    models = tuple(label_means(name, "paper") for name in ("unstructured", "diagonal", "standard"))
    values = np.array([0.9, 0.5, 0.495])[:, None]
    noise = np.random.default_rng(4).normal(scale=0.01, size=(400, 3, 1))
    cv = CV2(
        "a", models, ("E1",), np.zeros((5, 1)), np.zeros((3, 2, 5, 1)), {"pearson": values},
        {"pearson": np.zeros((3, 1))}, {"pearson": values.T[:, :, None] + noise},
    )  # fmt: skip
    assert check_order(cv, 0, "pearson", "paper", printed, "5", "E1").verdict == verdict


def test_a_table_is_judged_by_all_its_statements():
    assert judge_table([UNKNOWN]) == UNKNOWN
    assert judge_table([AGREE, NEARLY, OTHERWISE, UNKNOWN]) == AGREE
    assert judge_table([AGREE, NEARLY, DISAGREE]) == f"{AGREE} in part"
    assert judge_table([AGREE, DISAGREE, OTHERWISE]) == DISAGREE
    assert judge_table([NEARLY, OTHERWISE, OTHERWISE]) == OTHERWISE


def test_reflow_leaves_tables_and_keeps_items_apart():
    text = "a " * 80 + "\nb\n\n- one\n  two\n- three\n\n| x |\n|---|"
    flowed = reflow(text)
    assert max(map(len, flowed.split("\n"))) <= 118
    assert flowed.endswith("\n\n- one two\n- three\n\n| x |\n|---|")
