"""Clones by the relationship."""

import numpy as np
import pytest

from bmtme import Relationship, find_clones
from bmtme.data.relationship.clones import find_close, find_same_rows
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
