"""Relationships blended with others and bent until they are positive, with their numbers."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from bmtme.data.relationship.matrix import Relationship
from bmtme.errors import DataError, UsageError
from tests.helpers.tables import NAMES

# --- blending ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [0, 0.05, 1])
def test_blend_with_the_identity(relationship, weight):
    blended = relationship.blend(weight)
    np.testing.assert_allclose(blended.matrix, (1 - weight) * relationship.matrix + weight * np.eye(8), atol=1e-15)
    assert blended.lines == NAMES
    assert blended.is_identity == (weight == 1)
    assert relationship.notes == ()
    before, after = np.trace(relationship.matrix) / 8, np.trace(blended.matrix) / 8
    (note,) = blended.notes
    assert note == (
        f"blended: {1 - weight:g} x itself + {weight:g} x identity, mean diagonal {before:.6g} before, "
        f"{after:.6g} after"
    )


def test_blend_with_another_matches_names(relationship):
    pedigree = Relationship(np.full((9, 9), 0.25) + np.diag(np.arange(1.0, 10)), [*reversed(NAMES), "more"])
    blended = relationship.blend(0.2, pedigree)
    expected = 0.8 * relationship.matrix + 0.2 * pedigree.subset(NAMES).matrix
    np.testing.assert_allclose(blended.matrix, expected, atol=1e-15)
    assert "0.2 x the other" in blended.notes[0]
    with pytest.raises(DataError, match="The relationship has no line 'more'"):
        pedigree.blend(0.2, relationship)
    with pytest.raises(UsageError, match="other must be a Relationship, got ndarray"):
        relationship.blend(0.2, np.eye(8))


@pytest.mark.parametrize("weight", [-0.1, 1.1, np.nan, "0.1", True, None])
def test_bad_weight(relationship, weight):
    with pytest.raises(UsageError, match="weight must be a number from 0 to 1, got"):
        relationship.blend(weight)


# --- bending ----------------------------------------------------------------------------------------------------


@pytest.fixture
def crooked() -> Relationship:
    """Eigenvalues 4, 2, 1, 0.5, 1e-9, -0.25."""
    q, _ = np.linalg.qr(np.random.default_rng(2).standard_normal((6, 6)))
    return Relationship(q @ np.diag([4, 2, 1, 0.5, 1e-9, -0.25]) @ q.T, list("abcdef"))


@pytest.mark.parametrize("floor", [1e-6, 0.01])
def test_bend_raises_the_low_eigenvalues_only(crooked, floor):
    bent = crooked.bend(floor)
    values, vectors = np.linalg.eigh(crooked.matrix)
    expected = np.maximum(values, floor * 4)
    np.testing.assert_allclose(bent.matrix, (vectors * expected) @ vectors.T, atol=1e-14)
    np.testing.assert_allclose(np.linalg.eigvalsh(bent.matrix), expected, atol=1e-14)
    assert (bent.matrix == bent.matrix.T).all()
    change = np.abs(bent.matrix - crooked.matrix).max()
    (note,) = bent.notes
    assert note == (
        f"bent: 2 of 6 eigenvalues raised to {4 * floor:.3g}, {floor:g} of the largest (4), the smallest from -0.25; "
        f"largest change of an entry {change:.3g}, mean diagonal {np.trace(crooked.matrix) / 6:.6g} before, "
        f"{np.trace(bent.matrix) / 6:.6g} after"
    )


def test_bending_what_is_straight_changes_nothing(relationship):
    bent = relationship.bend()
    np.testing.assert_array_equal(bent.matrix, relationship.matrix)
    assert bent.notes[0].startswith("bent: no eigenvalue is below 1e-06 of the largest, the matrix is unchanged")
    again = bent.bend(1e-5)
    assert len(again.notes) == 2
    identity = Relationship.identity(["a", "b"]).bend()
    assert identity.is_identity
    assert identity.notes == ("bent: the identity needs none",)


@pytest.mark.parametrize("floor", [0, 1, -1e-6, np.nan, "1e-6", True])
def test_bad_floor(relationship, floor):
    with pytest.raises(UsageError, match="floor must be a number above 0 and below 1"):
        relationship.bend(floor)


def test_a_fit_takes_what_was_bent(crooked):
    from bmtme.model.eigenbasis import decompose_relationship

    with pytest.raises(DataError, match="not positive semi-definite"):
        decompose_relationship(crooked.matrix)
    assert decompose_relationship(crooked.bend().matrix).rank == 6


def test_notes_stay_with_the_matrix(relationship):
    changed = relationship.blend(0.1).bend(0.5)
    assert len(changed.notes) == 2
    assert pickle.loads(pickle.dumps(changed)).notes == changed.notes
    assert changed.subset(NAMES[:3]).notes == changed.notes
