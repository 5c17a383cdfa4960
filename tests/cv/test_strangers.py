"""Hidden lines that nothing is known of: found whatever the matrix looks like, and no others."""

import numpy as np
import pytest

from bmtme.cv import NewLines, Partition
from bmtme.cv.strangers import describe_strangers, find_strangers
from bmtme.data.relationship.matrix import Relationship
from bmtme.errors import DataError
from tests.helpers.patterns import shuffle, trial_of_pattern

LINES = [f"L{j:03d}" for j in range(12)]


@pytest.fixture
def trial():
    return trial_of_pattern(np.ones((12, 3)))


def hide(*lines, shape=(12, 3, 2)):
    mask = np.zeros(shape, dtype=bool)
    mask[list(lines)] = True
    return Partition("a", mask)


def families(*sizes, within=0.5):
    """Lines of families that are not related to each other."""
    family = np.repeat(np.arange(len(sizes)), sizes)
    return np.where(family[:, None] == family, within, 0.0) + (1 - within) * np.eye(len(family))


@pytest.mark.parametrize("scale", [1.0, 2.0, 1e-12, 1e12])
@pytest.mark.parametrize("noise", [0.0, 1e-11])
def test_unrelated_lines_are_strangers_in_any_unit(trial, scale, noise):
    matrix = scale * (np.eye(12) + noise * (np.ones((12, 12)) - np.eye(12)))
    for partition in NewLines(3).masks(trial, 1):
        hidden = [line for line, mask in zip(trial.lines, partition.hidden, strict=True) if mask.all()]
        assert len(hidden) == 4
        assert find_strangers(Relationship(matrix, lines=LINES), partition, trial) == hidden
        assert find_strangers(Relationship.identity(LINES), partition, trial) == hidden
        # One weak relative is enough.
        related = matrix.copy()
        j, k = LINES.index(hidden[0]), LINES.index(next(line for line in LINES if line not in hidden))
        related[j, k] = related[k, j] = 1e-6 * scale
        assert find_strangers(Relationship(related, lines=LINES), partition, trial) == hidden[1:]


def test_a_family_that_is_hidden_as_a_whole(trial):
    relationship = Relationship(families(4, 4, 4), lines=LINES)
    assert find_strangers(relationship, hide(0, 1, 2, 3), trial) == LINES[:4]  # related, but to hidden lines only
    assert find_strangers(relationship, hide(0, 1, 2, 4), trial) == []
    assert find_strangers(relationship, hide(0, 1, 2, 3, 4), trial) == LINES[:4]


def test_only_lines_that_are_scored_and_seen_nowhere(trial):
    relationship = Relationship(2 * np.eye(12), lines=LINES)
    hidden = hide(0, 1).hidden.copy()
    scored = hidden.copy()
    scored[1] = False
    assert find_strangers(relationship, Partition("a", hidden, scored), trial) == ["L000"]
    hidden[0, 1] = False
    assert find_strangers(relationship, Partition("a", hidden), trial) == ["L001"]


def test_the_effects_of_strangers_do_not_depend_on_the_data(trial):
    """By the definition: their rows of the predictor G_ht (G_tt + I)^-1 are zero, those of others are not."""
    matrix = families(3, 5, 4)
    relationship = Relationship(matrix, lines=LINES)
    for partition in (hide(0, 1, 2, 5, 9), *NewLines(4).masks(trial, 2)):
        hidden = partition.hidden.all(axis=(1, 2))
        weights = matrix[np.ix_(hidden, ~hidden)] @ np.linalg.inv(
            matrix[np.ix_(~hidden, ~hidden)] + np.eye((~hidden).sum())
        )
        alone = np.array(LINES)[hidden][np.abs(weights).max(axis=1) < 1e-12].tolist()
        assert find_strangers(relationship, partition, trial) == alone


def test_lines_are_matched_by_name(trial):
    matrix = families(4, 4, 4)
    order = np.random.default_rng(3).permutation(13)
    lines = [*LINES, "other"]
    wide = np.eye(13)
    wide[:12, :12] = matrix
    relationship = Relationship(wide[np.ix_(order, order)], lines=[lines[j] for j in order])
    mixed = shuffle(trial)
    places = [mixed.lines.index(line) for line in LINES[:4]]
    assert find_strangers(relationship, hide(*places), mixed) == LINES[:4]
    with pytest.raises(DataError, match="L011"):
        find_strangers(Relationship(matrix[:11, :11], lines=LINES[:11]), hide(0), trial)


def test_words(trial):
    with pytest.raises(DataError, match=r"hides every value of 4 lines, and with an identity relationship nothing"):
        describe_strangers(NewLines(3).masks(trial, 1), trial, Relationship.identity(LINES))
    with pytest.raises(DataError, match=r"'a' hides every value of 1 line, and as they are related to no other line"):
        describe_strangers([hide(11)], trial, Relationship(families(6, 5, 1), lines=LINES))
    other = Partition("b", hide(1).hidden)
    text = describe_strangers([hide(0, 11), other], trial, Relationship(families(6, 5, 1), lines=LINES))
    assert "in 1 of 2 partitions, most in 'a' ('L011')" in text
    assert describe_strangers([hide(0)], trial, Relationship(families(6, 6), lines=LINES)) == ""
