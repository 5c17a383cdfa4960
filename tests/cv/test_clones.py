"""Scored cells whose value a clone shows."""

import numpy as np

from bmtme.cv import CV1, NewEnvironments, NewLines, Partition
from bmtme.cv.clones import describe_clone_leaks, find_clone_leaks, hide_clones
from tests.helpers.patterns import incomplete, trial_of_pattern

CLONES = {"L000": "L000", "L001": "L000", "L002": "L000", "L003": "L003", "L004": "L003"}
CLONES |= {"L005": "L005", "Other": "L005"}  # whose clone has no record


def count_by_hand(partition, trial):
    """Scored cells with a training value of a clone in the same environment and trait, one by one."""
    recorded, place = trial.counts() > 0, {line: j for j, line in enumerate(trial.lines)}
    cells = 0
    for j, i, k in np.argwhere(partition.test_cells(trial)):
        group = CLONES.get(trial.lines[j])
        others = [place[line] for line, name in CLONES.items() if name == group and line in place and place[line] != j]
        cells += any(recorded[o, i, k] and not partition.hidden[o, i, k] for o in others)
    return cells


def test_leaks_are_those_counted_by_hand():
    values = np.random.default_rng(1).normal(size=(12, 4, 2))
    values[2, :, 1] = np.nan
    trial = trial_of_pattern(incomplete(3, lines=12), values, reps=2)
    partitions = CV1(8, 0.3).masks(trial, 1)
    found = find_clone_leaks(partitions, trial, CLONES)
    expected = {partition.label: count_by_hand(partition, trial) for partition in partitions}
    assert found == {label: cells for label, cells in expected.items() if cells}
    assert len(found) > 4


def test_whole_lines_leak_unless_clones_are_kept_together():
    trial = trial_of_pattern(np.ones((12, 3)))
    apart = [NewLines(4).masks(trial, seed) for seed in range(5)]
    assert any(find_clone_leaks(partitions, trial, CLONES) for partitions in apart)
    joined = NewLines(4).join(CLONES)
    for seed in range(5):
        assert find_clone_leaks(joined.masks(trial, seed), trial, CLONES) == {}
    assert find_clone_leaks(NewEnvironments().masks(trial), trial, CLONES) == {}


def test_clones_of_scored_cells_are_hidden_and_not_scored():
    values = np.random.default_rng(1).normal(size=(12, 4, 2))
    values[2, :, 1] = np.nan
    trial = trial_of_pattern(incomplete(3, lines=12), values, reps=2)
    partitions = CV1(8, 0.3).masks(trial, 1)
    assert find_clone_leaks(partitions, trial, CLONES)
    made = hide_clones(partitions, trial, CLONES)
    assert find_clone_leaks(made, trial, CLONES) == {}
    place = {line: j for j, line in enumerate(trial.lines)}
    for before, after in zip(partitions, made, strict=True):
        assert (before.test_cells(trial) == after.test_cells(trial)).all()
        assert (before.hidden <= after.hidden).all()
        for j, i, k in np.argwhere(after.hidden & ~before.hidden):
            group = CLONES[trial.lines[j]]
            others = [place[line] for line, name in CLONES.items() if name == group and line in place]
            assert before.test_cells(trial)[others, i, k].any()
    assert all(
        (a.hidden == b.hidden).all() for a, b in zip(partitions, hide_clones(partitions, trial, {}), strict=True)
    )


def test_words():
    trial = trial_of_pattern(np.ones((12, 3)))
    hidden = np.zeros((12, 3, 2), dtype=bool)
    hidden[0, 0] = hidden[6, 1] = True
    clean = np.zeros_like(hidden)
    clean[6] = True
    partitions = [Partition("one", hidden), Partition("two", clean)]
    text = describe_clone_leaks(partitions, trial, CLONES)
    assert "in 1 of 2 partitions" in text
    assert "most in partition 'one', 2 of 4 scored cells" in text
    assert "bmtme.NewLines() keeps clones together" in text
    assert describe_clone_leaks(partitions[1:], trial, CLONES) == ""
    assert describe_clone_leaks(partitions, trial, {}) == ""
