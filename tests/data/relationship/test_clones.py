"""Clones by the relationship."""

import numpy as np
import pytest

from bmtme import Relationship, find_clones
from bmtme.data.relationship.clones import find_close, find_nearly_clones, find_same_rows
from bmtme.errors import UsageError


def from_marks(marks, names=None):
    z = marks - marks.mean(axis=0)
    names = [f"L{j:03d}" for j in range(len(marks))] if names is None else names
    return Relationship(z @ z.T / marks.shape[1], lines=names)


def genotypes(lines=30, markers=4000, seed=0):
    rng = np.random.default_rng(seed)
    return rng.binomial(2, rng.uniform(0.1, 0.9, markers), size=(lines, markers)).astype(float)


def test_clones_by_name():
    marks = genotypes()
    marks[20] = marks[3]
    marks[25] = marks[3]
    marks[7] = marks[11]
    marks[7, ::4000] = 2 - marks[7, ::4000]  # a typing error in 4,000
    marks[15] = marks[16]
    marks[15, ::250] = np.abs(1 - marks[15, ::250])  # nearly alike, with a correlation of some 0.995
    expected = {"L003": "L003", "L020": "L003", "L025": "L003", "L007": "L007", "L011": "L007"}
    relationship = from_marks(marks)
    assert find_clones(relationship) == expected
    assert list(find_clones(relationship)) == sorted(expected)
    order = np.random.default_rng(1).permutation(30)
    assert find_clones(relationship.subset([f"L{j:03d}" for j in order])) == expected
    names = [f"z{j}" if j == 3 else f"L{j:03d}" for j in range(30)]
    assert find_clones(from_marks(marks, names))["z3"] == "L020"


def test_where_nothing_is_centred():
    # A constant added to all entries changes no prediction, and makes all correlations high.
    marks = genotypes()
    marks[20] = marks[3]
    relationship = from_marks(marks)
    shifted = Relationship(relationship.matrix + 1000.0, lines=relationship.lines)
    root = np.sqrt(shifted.matrix.diagonal())
    assert (shifted.matrix / np.outer(root, root)).min() > 0.999
    assert find_clones(shifted) == find_clones(relationship) == {"L003": "L003", "L020": "L003"}


@pytest.mark.parametrize("errors, least", [(0.001, 0.99), (0.005, 0.97), (0.02, 0.93)])
def test_duplicates_whose_markers_have_errors(errors, least):
    rng = np.random.default_rng(4)
    marks = genotypes(40)
    again = marks[:3].copy()
    wrong = rng.random(again.shape) < errors
    again[wrong] = rng.binomial(2, 0.5, wrong.sum())
    relationship = from_marks(np.vstack([marks, again]))
    assert find_clones(relationship, 1.0) == {}
    expected = {f"L{j:03d}": f"L{j % 40:03d}" for j in (0, 1, 2, 40, 41, 42)}
    assert find_clones(relationship, least) == expected
    found = find_nearly_clones(relationship, least)
    assert list(found) == [(f"L00{j}", f"L04{j}") for j in range(3)]
    matrix, root = relationship.matrix, np.sqrt(relationship.matrix.diagonal())
    for j, r in enumerate(found.values()):
        assert r == pytest.approx(matrix[j, 40 + j] / (root[j] * root[40 + j]))
    # Full sibs are none.
    parents = rng.integers(2, size=(2, 2, 4000))
    sibs = np.array([[parents[p][rng.integers(2, size=4000), range(4000)] for p in (0, 1)] for _ in range(20)])
    assert find_clones(from_marks(np.vstack([marks, sibs.sum(axis=1)])), least) == {}


@pytest.mark.parametrize("least", [0, 1.1, "0.9", None, True, np.nan])
def test_no_correlation(least):
    with pytest.raises(UsageError, match="least must be a correlation above 0 and up to 1"):
        find_clones(from_marks(genotypes(5, 50)), least)


def test_none():
    assert find_clones(Relationship.identity(["a", "b"])) == {}
    assert find_clones(from_marks(genotypes())) == {}
    assert find_clones(Relationship(np.eye(1) * 2, lines=["a"])) == {}
    assert find_clones(Relationship(np.full((3, 3), 2.0), lines=["b", "a", "c"])) == {"a": "a", "b": "a", "c": "a"}
    with pytest.raises(UsageError, match="expected a Relationship, got dict"):
        find_clones({})


def test_close_pairs_are_those_of_the_whole_matrix():
    matrix = from_marks(genotypes(1100, 40)).matrix
    root = np.sqrt(matrix.diagonal())
    assert (find_close(matrix, 0.6) == np.triu(matrix >= 0.6 * np.outer(root, root), 1)).all()


def test_same_rows():
    marks = genotypes(12)
    marks[9] = marks[4]
    marks[2] = marks[4]
    assert find_same_rows(from_marks(marks).matrix) == [[2, 4, 9]]
