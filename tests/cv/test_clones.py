"""Scored cells whose value a clone shows."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest

from bmtme import EnvironmentMeans, Relationship, cross_validate, find_clones
from bmtme.cv import CV1, CV2, NewEnvironments, NewLines, NewLinesNewEnvironments, Partition, Partitions
from bmtme.cv.clones import choose_clones, describe_clone_leaks, describe_nearly_clones, find_clone_leaks
from bmtme.errors import DataError, UsageError
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


def test_cv1_leaks_unless_clones_are_joined():
    values = np.random.default_rng(1).normal(size=(12, 4, 2))
    values[2, :, 1] = np.nan
    trial = trial_of_pattern(incomplete(3, lines=12), values, reps=2)
    assert find_clone_leaks(CV1(8, 0.3).masks(trial, 1), trial, CLONES)
    assert find_clone_leaks(CV1(8, 0.3).join(CLONES).masks(trial, 1), trial, CLONES) == {}


def relate(lines, pairs):
    """A relationship of hardly related lines but for pairs with a correlation."""
    matrix = 0.99 * np.eye(len(lines)) + 0.01
    for (one, other), r in pairs.items():
        j, k = lines.index(one), lines.index(other)
        matrix[j, k] = matrix[k, j] = r
    return Relationship(matrix, lines=lines)


NEAR = {("L000", "L006"): 1.0, ("L001", "L007"): 0.995, ("L002", "L008"): 0.98, ("L003", "L009"): 0.96}


def test_what_counts_as_a_clone():
    trial = trial_of_pattern(np.ones((12, 3)))
    relationship = relate(trial.lines, NEAR)
    same = {"L000": "L000", "L006": "L000"}
    more = same | {"L001": "L001", "L007": "L001"}
    for clones, expected in (
        (0.999, same),
        (1, same),
        (0.99, more),
        (0.97, more | {"L002": "L002", "L008": "L002"}),
        (None, {}),
        (False, {}),
        ({"L004": 1, "L005": "1", "Seed": 1, "L006": None}, {"L004": "1", "L005": "1", "Seed": "1"}),
        (pd.Series({"L004": "x", "L005": "x"}), {"L004": "x", "L005": "x"}),
    ):
        found, described = choose_clones(clones, trial, relationship)
        assert found == expected
        json.dumps(described)
    assert choose_clones(0.99, trial, relationship)[1] == 0.99
    for clones in (True, 0, 1.5, "0.99", ["L000"], np.nan):
        with pytest.raises(UsageError, match=r"clones must be the least correlation .*, or None for none"):
            choose_clones(clones, trial, relationship)
    with pytest.raises(DataError, match=r"clones names no line of the trial: .* Did you mean 'L004'\?"):
        choose_clones({"l004": "x", "l005": "x"}, trial, relationship)
    with pytest.raises(DataError, match="clones has line 'L004' in the groups '1' and '2'"):
        choose_clones(pd.Series(["1", "2"], index=["L004", "L004"]), trial, relationship)


def test_near_duplicates_that_are_apart():
    trial = trial_of_pattern(np.ones((12, 3)))
    relationship = relate((*trial.lines, "Seed"), NEAR | {("L010", "Seed"): 0.99})
    halves = NewLines(2, groups={line: str(j // 6) for j, line in enumerate(trial.lines)}).masks(trial)

    def tell(partitions, clones=0.999):
        return describe_nearly_clones(partitions, trial, relationship, choose_clones(clones, trial, relationship)[0])

    # Of the pairs of 0.97 or more two are not tied together; Seed is not in the trial.
    text = tell(halves)
    assert "2 pairs of lines are nearly one genotype" in text
    assert "such as 'L001' and 'L007' (0.995)" in text
    assert "in the shell --clones 0.97." in text
    assert "1 pair of lines is nearly one genotype" in tell(halves, 0.99)
    assert tell(halves, 0.97) == ""
    assert "3 pairs of lines" in tell(halves, None)
    assert "'L000' and 'L006' (1.000)" in tell(halves, {"L001": "a", "L007": "a"})
    # Hidden together, or where all of an environment is hidden, they tell nothing.
    together = NewLines(2, groups={line: str(j % 6 // 3) for j, line in enumerate(trial.lines)}).masks(trial)
    assert tell(together) == ""
    assert tell(NewEnvironments().masks(trial)) == tell(CV2().masks(trial)) == ""
    # In another environment than a hidden one they do, of lines not known otherwise.
    assert tell(NewLinesNewEnvironments(2, groups=dict(zip(trial.lines, "000000111111", strict=True))).masks(trial))
    # One line in one environment: the other one, there.
    hidden = np.zeros((12, 3, 2), dtype=bool)
    hidden[7, 0] = True
    assert "1 pair" in tell([Partition("one", hidden)])
    hidden[1, 0] = True
    assert tell([Partition("both", hidden)]) == ""


def test_clones_of_a_cross_validation():
    """The scheme is handed them; what was hidden is in the result, and what is to be borne in mind is said."""
    trial = trial_of_pattern(np.ones((12, 3)))
    relationship = relate(trial.lines, NEAR)
    mean = {"mean": EnvironmentMeans()}

    def run(scheme, **named):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            cv = cross_validate(trial, relationship, mean, scheme, progress=False, **named)
        assert cv.warnings == [str(each.message) for each in caught]
        assert all(each.filename == __file__ for each in caught)
        return cv

    for scheme in (CV1(4, 0.3), NewLines(4), NewLinesNewEnvironments(4)):
        cv = run(scheme, clones=0.99)
        assert cv.run["settings"]["clones"] == 0.99
        assert cv.run["settings"]["scheme"]["groups"]["joined"] == [4]
        joined = scheme.join(find_clones(relationship, 0.99)).table(trial, 1)
        pd.testing.assert_frame_equal(cv.partitions, joined)
        assert not cv.partitions.equals(scheme.table(trial, 1))
        none = run(scheme, clones=None)
        pd.testing.assert_frame_equal(none.partitions, scheme.table(trial, 1))
        assert none.run["settings"]["clones"] is None
    assert any("near-duplicates: " in text for text in run(CV1(4, 0.3)).warnings)
    table = run(NewLines(4), clones={"L004": "x", "L005": "x"})
    assert table.run["settings"]["clones"]["lines"] == 2


def test_partitions_that_are_the_same_or_too_small_are_told_of():
    trial = trial_of_pattern(np.ones((12, 3)))
    relationship = relate(trial.lines, {("L000", "L006"): 0.5})
    twice = [("a", "L001"), ("a", "L002"), ("b", "L003"), ("b", "L001"), ("c", "L002"), ("c", "L001")]
    scheme = Partitions.from_frame(pd.DataFrame(twice, columns=["partition", "line"]))
    with pytest.warns(UserWarning, match="different sets|in an environment") as caught:
        cv = cross_validate(trial, relationship, {"mean": EnvironmentMeans()}, scheme, progress=False)
    texts = [str(each.message) for each in caught]
    assert cv.warnings == texts
    assert "3 partitions hide only 2 different sets of values: those called 'a', 'c' are the same." in texts[0]
    assert "no partition scores more than 2 lines of a trait in an environment" in texts[1]
    assert "folds=5" in texts[1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cross_validate(trial, relationship, {"mean": EnvironmentMeans()}, NewLines(4), progress=False)


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
    assert "bmtme.NewLines() and bmtme.CV1() keep clones together" in text
    assert describe_clone_leaks(partitions[1:], trial, CLONES) == ""
    assert describe_clone_leaks(partitions, trial, {}) == ""
