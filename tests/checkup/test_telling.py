"""Whether data can tell a line effect from others: contrasts between lines, records of lines."""

import numpy as np
import pytest

import bmtme
from bmtme.checkup import line_effect
from bmtme.checkup.line_effect import count_contrasts, describe_evening, describe_obstacle, describe_weakness
from bmtme.collection import find_apart
from bmtme.preparation import count_records, prepare
from tests.helpers.trials import trial_of

LINES = [f"L{j}" for j in range(12)]


def relate(matrix):
    return bmtme.Relationship(matrix, lines=LINES)


def draw_matrix(seed=1):
    Z = np.random.default_rng(seed).standard_normal((12, 8))
    return Z @ Z.T / 8 + 0.3 * np.eye(12)


@pytest.mark.parametrize("rows", [500, 5])
def test_contrasts_by_the_eigenvalues(rows, monkeypatch):
    """Twice the information about t at s G + t I = I, s not being known, from the eigenvalues of K G K."""
    monkeypatch.setattr(line_effect, "ROWS", rows)
    G = draw_matrix()
    for chosen in (LINES, LINES[3:], LINES[::2]):
        places = [LINES.index(line) for line in chosen]
        J = len(places)
        K = np.eye(J) - 1 / J
        d = np.linalg.eigvalsh(K @ G[np.ix_(places, places)] @ K)[1:]
        information = np.array([[d @ d, d.sum()], [d.sum(), J - 1]]) / 2
        expected = 2 * (information[1, 1] - information[0, 1] ** 2 / information[0, 0])
        assert count_contrasts(relate(G), chosen) == pytest.approx(expected, rel=1e-9)
        shifted = G + np.add.outer(np.arange(12.0), np.arange(12.0)) + 3.0
        assert count_contrasts(relate(5.0 * shifted), chosen) == pytest.approx(expected, rel=1e-6)


def test_no_contrast_where_lines_are_related_alike():
    for matrix in (np.eye(12), 2 * np.eye(12), 0.3 * np.eye(12) + 0.7):
        assert count_contrasts(relate(matrix), LINES) < 1e-9
    assert np.isnan(count_contrasts(relate(np.ones((12, 12))), LINES))
    assert count_contrasts(relate(draw_matrix()), LINES[:1]) == 0.0


def test_the_likelihood_is_flat_where_nothing_tells():
    """The variance of contrasts is the same with all of it genetic and with all of it outside the relationship."""
    for matrix, told in ((0.3 * np.eye(12) + 0.7, False), (draw_matrix(), True)):
        K = np.eye(12) - 1 / 12
        gap = np.abs(K @ (matrix / 0.3) @ K - K).max()
        assert (gap < 1e-12) is not told
        assert bool(describe_obstacle(relate(matrix), LINES, ["T"], np.full((12, 1), 2))) is not told


def test_records_are_counted_by_line_and_trait():
    counts = np.column_stack([np.full(12, 2), np.ones(12)]).astype(int)
    assert "one record each for the 12 lines with a record of trait 'B'" in describe_obstacle(
        relate(draw_matrix()), LINES, ["A", "B"], counts
    )
    counts[3, 1] = 2
    assert not describe_obstacle(relate(draw_matrix()), LINES, ["A", "B"], counts)
    assert "of 'B' (1);" in describe_weakness(["A", "B"], counts)
    counts[3, 1] = 11
    assert not describe_weakness(["A", "B"], counts)


def test_what_is_imputed_for_a_line_effect():
    plots = np.ones((12, 2), int)
    plots[4, 1] = 9
    text = describe_evening(LINES, ["E1", "E2"], plots, 0.1, 0.75)
    assert "'L4' has 9 in 'E2', where 1 is usual, and 75% of the plots are imputed (10% without" in text
    assert not describe_evening(LINES, ["E1", "E2"], plots, 0.55, 0.75)
    assert not describe_evening(LINES, ["E1", "E2"], plots, 0.1, 0.45)


def test_lines_with_two_traits_on_different_records():
    """Against every pair of records of every line."""
    sim = bmtme.simulate(lines=6, envs=2, traits=3, reps=2, relationship="markers", seed=2)
    rng = np.random.default_rng(4)
    found = set()
    for _ in range(40):
        frame = sim.frame.copy()
        frame[["T1", "T2", "T3"]] = frame[["T1", "T2", "T3"]].mask(rng.random((len(frame), 3)) < 0.8)
        frame.loc[0, ["T1", "T2", "T3"]] = 1.0, 2.0, 3.0
        try:
            prepared = prepare(trial_of(frame), sim.relationship)
        except bmtme.DataError:
            continue
        rows = list(zip(prepared.layout.rec_line, prepared.observed, strict=True))
        by_hand = np.zeros((3, 3), bool)
        for a, (line, one) in enumerate(rows):
            for b, (other, two) in enumerate(rows):
                by_hand |= np.logical_and.outer(one, two) & (a != b and line == other)
        np.testing.assert_array_equal(find_apart(prepared), by_hand)
        found |= set(by_hand.ravel().tolist())
        counts = [[sum(seen[l] for line, seen in rows if line == j) for l in range(3)] for j in range(6)]
        here = [j for j in range(6) if sum(counts[j])]
        np.testing.assert_array_equal(count_records(prepared), np.array(counts)[here])
    assert found == {True, False}
