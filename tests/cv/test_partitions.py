"""What a partition hides, scores and keeps; schemes of users; what is recorded of a scheme."""

import json

import numpy as np
import pandas as pd
import pytest

from bmtme.cv import NewEnvironments, NewLines, NewLinesNewEnvironments, Partition, Partitions
from bmtme.cv.partitions import (
    check_scheme,
    count_units,
    describe_scheme,
    draw_partitions,
    find_equal,
    label_apart,
    tabulate_partitions,
)
from bmtme.cv.schemes import CV1, CV2
from bmtme.data.trial import Trial
from bmtme.errors import DataError, UsageError
from tests.helpers.patterns import TRAITS, incomplete, trial_of_pattern

SHAPE = (6, 3, 2)


def nothing():
    return np.zeros(SHAPE, dtype=bool)


def some(*cells):
    mask = nothing()
    for cell in cells:
        mask[cell] = True
    return mask


class Own:
    """A user's scheme, of what it is given."""

    def __init__(self, *partitions):
        self.made = list(partitions)

    def masks(self, trial, seed):
        return self.made


def test_all_that_is_hidden_is_scored_unless_said_otherwise():
    trial = trial_of_pattern(np.ones((6, 3)), reps=2)
    hidden = some((0, slice(None)), (1, 2))
    partition = Partition(" new ", hidden)
    assert partition.label == "new"
    assert (partition.scored == hidden).all()
    scored = some((0, 1, 0))
    partition = Partition("new", hidden, scored)
    hidden[:], scored[:] = False, False  # the partition holds copies
    assert partition.hidden.sum() == 8
    assert np.argwhere(partition.test_cells(trial)).tolist() == [[0, 1, 0]]
    assert partition.record_mask(trial).sum() == 16
    for mask in (partition.hidden, partition.scored):
        with pytest.raises(ValueError, match="read-only"):
            mask[0] = True
    assert repr(partition) == "Partition('new', hides 8 of 36 cells, scores 1)"


def test_only_recorded_cells_are_tested():
    pattern = np.ones((6, 3), dtype=bool)
    pattern[0, 1] = False
    partition = Partition("1", some((0,)))
    assert partition.test_cells(trial_of_pattern(pattern)).sum() == 4
    with pytest.raises(UsageError, match=r"'1' was made for a trial of .*\(6, 3, 2\), this one has \(5, 3, 2\)"):
        partition.test_cells(trial_of_pattern(pattern[:5]))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((1, nothing()), "the label of a partition must be a text, got 1"),
        ((" ", nothing()), "the label of a partition is empty"),
        (("a\x1b[31mb", nothing()), r"the label of a partition holds the control character '\\x1b'"),
        (("a\ud800", nothing()), "the label of a partition holds half of a pair"),
        (("x" * 201, nothing()), "the label of a partition has 201 characters"),
        (("x", nothing()[0]), r"partition 'x': hidden must be an array of bool of shape .* got bool of shape \(3, 2\)"),
        (("x", nothing().astype(float)), "partition 'x': hidden must be an array of bool .* got float64"),
        (("x", nothing(), nothing()[:5]), r"scored has shape \(5, 3, 2\) and hidden \(6, 3, 2\)"),
        (("x", some((0, 0)), some((0, 0), (1, 1, 0))), "partition 'x' scores 1 cell that it does not hide"),
        (("x", None), "partition 'x': hidden must be an array of bool"),
    ],
)
def test_partitions_that_make_no_sense(arguments, message):
    with pytest.raises(UsageError, match=message):
        Partition(*arguments)


def test_units_worked_out_by_hand():
    pattern = np.ones((6, 3), dtype=bool)
    pattern[5, 1:] = False
    values = np.ones(SHAPE)
    values[4, 0, 1] = np.nan
    trial = trial_of_pattern(pattern, values, reps=2)
    # Lines 0 and 1 are hidden, and environment 0; they are scored there.
    hidden = some((slice(0, 2),), (slice(None), 0))
    scored = some((slice(0, 2), 0))
    assert count_units(Partition("1", hidden, scored), trial) == {
        "lines_hidden": 2,
        "lines_kept": 3,  # line 5 is recorded in environment 0 only
        "envs_hidden": 1,
        "envs_kept": 2,
        "cells_hidden": 10,  # 6 of environment 0, 2 x 2 of the lines
        "cells_kept": 6,
    }
    # One trait of one environment: its cells lose a value and keep one, but where it was alone.
    assert count_units(Partition("2", some((slice(None), 0, 0))), trial) == {
        "lines_hidden": 0,
        "lines_kept": 6,
        "envs_hidden": 0,
        "envs_kept": 3,
        "cells_hidden": 6,
        "cells_kept": 15,
    }


def test_the_table_says_what_is_hidden_and_what_is_scored():
    pattern = np.ones((6, 3), dtype=bool)
    pattern[0, 1] = False
    trial = trial_of_pattern(pattern, reps=2)
    table = tabulate_partitions([Partition("a", some((0,)), some((0, 2, 1))), Partition("b", some((5, 0, 0)))], trial)
    assert table.columns.tolist() == ["partition", "line", "env", "trait", "scored"]
    assert table["scored"].dtype == bool
    assert list(table.itertuples(index=False, name=None)) == [
        ("a", "L000", "E0", TRAITS[0], False),
        ("a", "L000", "E0", TRAITS[1], False),
        ("a", "L000", "E2", TRAITS[0], False),
        ("a", "L000", "E2", TRAITS[1], True),
        ("b", "L005", "E0", TRAITS[0], True),
    ]
    assert tabulate_partitions([], trial).dtypes.astype(str).tolist() == ["object"] * 4 + ["bool"]


def test_a_users_scheme_needs_masks_alone():
    trial = trial_of_pattern(np.ones((6, 3)))
    own = Own(Partition("one", some((0,))), Partition("two", some((1, 1))))
    assert check_scheme(own) is own
    assert [partition.label for partition in draw_partitions(own, trial, 1)] == ["one", "two"]
    # A whole line hidden is what CV1 and CV2 refuse, not what a scheme must not do.
    assert draw_partitions(own, trial, 1)[0].hidden[0].all()
    own.made = iter(own.made)
    assert len(draw_partitions(own, trial, 1)) == 2


@pytest.mark.parametrize(
    "partitions, error, message",
    [
        ([], UsageError, "made no partition"),
        ([nothing()], UsageError, "must return a list of bmtme.Partition, got array"),
        ([Partition("a", some((0,))), Partition("a", some((1,)))], UsageError, "two partitions called 'a'"),
        ([Partition("a", some((0,))[:5])], UsageError, "partition 'a' was made for a trial of"),
        ([Partition("a", nothing())], DataError, "Partition 'a' hides no recorded value, .*: hide cells"),
        ([Partition("a", some((0,)), nothing())], DataError, "Partition 'a' hides .* and scores none of them: score a"),
        (
            [Partition("a", some((slice(None), slice(None), 1)))],
            DataError,
            "Partition 'a' leaves no training value of trait 'ASI': .* leave the trait out",
        ),
        ([Partition("a", some((slice(0, 5),)))], DataError, "Partition 'a' leaves training values of 1 line, .*two"),
    ],
)
def test_what_a_users_scheme_must_not_make(partitions, error, message):
    trial = trial_of_pattern(np.ones((6, 3)))
    good = [Partition("good", some((3, 1)))] if partitions else []
    with pytest.raises(error, match=message):
        draw_partitions(Own(*good, *partitions), trial, 1)


@pytest.mark.parametrize("found", [None, 3, Partition("a", some((0,)))])
def test_masks_that_are_no_list(found):
    own = Own()
    own.made = found
    with pytest.raises(UsageError, match=r"must return a list of bmtme\.Partition, got"):
        draw_partitions(own, trial_of_pattern(np.ones((6, 3))), 1)


@pytest.mark.parametrize("scheme", [CV1, "cv1", None, object(), Partition("a", nothing())])
def test_no_scheme(scheme):
    with pytest.raises(UsageError, match=r"scheme must be a scheme such as bmtme\.CV1\(\), bmtme\.NewLines\(\)"):
        check_scheme(scheme)


def test_schemes_are_recorded_in_plain_values():
    groups = {f"L{j:03d}": f"F{j % 7}" for j in range(1000)}
    frame = pd.DataFrame({"partition": ["1"] * 500, "line": [f"L{j}" for j in range(500)]})
    described = {}
    for scheme in (
        CV1(4),
        CV2(traits=["Yield"]),
        NewLines(4, groups=groups).join({"L001": "x", "L002": "x"}),
        NewLines(4),
        NewEnvironments(["E1"]),
        NewLinesNewEnvironments(3, groups=groups),
        Partitions.from_frame(frame),
        Own(Partition("a", some((0,)))),
    ):
        told = describe_scheme(scheme)
        text = json.dumps(told, allow_nan=False)
        assert json.loads(text) == told
        assert len(text) < 400
        described[told["name"]] = told
    assert described["CV1"] == {"name": "CV1", "partitions": 4, "test_fraction": 0.2}
    assert described["CV2"] == {"name": "CV2", "traits": ["Yield"], "envs": None, "of": "genetic"}
    assert described["NewEnvironments"] == {"name": "NewEnvironments", "envs": ["E1"]}
    assert described["NewLines"] == {
        "name": "NewLines", "folds": 4, "partitions": None, "test_fraction": None, "groups": None,
    }  # fmt: skip
    told = describe_scheme(NewLines(4, groups=groups).join({"L001": "x", "L002": "x"}))["groups"]
    assert (told["groups"], told["lines"], told["joined"]) == (7, 1000, [2])
    other = describe_scheme(NewLines(4, groups=groups | {"L000": "F1"}).join({"L001": "x", "L002": "x"}))["groups"]
    assert other["digest"] != told["digest"]
    assert (described["Partitions"]["partitions"], described["Partitions"]["rows"]) == (1, 500)
    assert describe_scheme(Partitions.from_frame(frame[::-1])) == described["Partitions"]


class Broken:
    """What cannot be described: by itself, or because it has no end."""

    def __init__(self, error=None):
        self.error = error

    def describe(self):
        if self.error is not None:
            raise self.error
        return Broken()

    def __repr__(self):
        raise RuntimeError("no text")


class Silent:
    __repr__ = Broken.__repr__


def test_settings_that_cannot_be_described():
    own = Own()
    ring = [1]
    ring.append(ring)
    wide = [ring] * 100
    own.made = [Broken(), Broken(ZeroDivisionError()), Silent(), ring, wide, "told"]
    made = describe_scheme(own)["made"]
    assert json.loads(json.dumps(made)) == made
    assert made[:4] == ["Broken", "Broken", "a value of type Silent", [1, "list"]]
    assert made[5] == "told"
    assert describe_scheme(Broken(RecursionError())) == {"name": "Broken"}


def test_masks_with_other_arguments():
    class Alone:
        def masks(self):
            return []

    class Keyword:
        def masks(self, trial, *, seed):
            return []

    class More:
        def masks(self, trial, seed, more=None):
            raise TypeError("of its own")

    for scheme in (Alone(), Keyword()):
        with pytest.raises(UsageError, match=r"the method masks of .* must be masks\(trial, seed\): "):
            check_scheme(scheme)
    with pytest.raises(TypeError, match="of its own"):
        draw_partitions(check_scheme(More()), trial_of_pattern(np.ones((6, 3))), 1)


def test_labels_of_names_with_colons():
    names = [("a:b", "c"), ("a", "b:c"), ("d", "e"), ("a:b", "c (2)"), ("a", "b", "c")]
    labels = label_apart(names)
    assert labels == ["a:b:c (4)", "a:b:c (3)", "d:e", "a:b:c (2)", "a:b:c"]
    assert label_apart(names[::-1]) == labels[::-1]
    trial = trial_of_pattern(np.ones((6, 3)))
    odd = Trial(trial.lines, ("a:b", "b", "a"), ("b:c", "c"), trial.line_index, trial.env_index, trial.values, None)
    partitions = draw_partitions(CV2(), odd, 1)
    assert [partition.label for partition in partitions] == ["a:b:b:c", "a:b:c (2)", "b:b:c", "b:c", "a:b:c", "a:c"]


def test_odd_settings_of_a_users_scheme():
    own = Own()
    own.made = [np.float64(np.nan), np.int64(3), {"a": (1, None)}, lambda: 0, list(range(1000)), np.zeros(5)]
    told = describe_scheme(own)
    json.dumps(told, allow_nan=False)
    assert told["made"][0] == "nan"
    assert told["made"][1:3] == [3, {"a": [1, None]}]
    assert told["made"][4] == "list of 1000"
    assert " at 0x" not in json.dumps(told)


@pytest.mark.parametrize(
    "scheme", [CV1(3), CV2(), NewLines(), NewLines(partitions=3), NewEnvironments(), NewLinesNewEnvironments(3)]
)
def test_every_scheme_makes_what_is_asked_of_schemes(scheme):
    trial = trial_of_pattern(incomplete(4), reps=2)
    partitions = draw_partitions(scheme, trial, 3)
    pd.testing.assert_frame_equal(scheme.table(trial, 3), tabulate_partitions(partitions, trial))
    for partition in partitions:
        units = count_units(partition, trial)
        whole_lines = isinstance(scheme, (NewLines, NewLinesNewEnvironments))
        assert (units["lines_hidden"] > 0) == whole_lines
        assert units["envs_hidden"] == isinstance(scheme, (NewEnvironments, NewLinesNewEnvironments))


def test_partitions_that_are_equal():
    values = np.ones((6, 3, 2))
    values[0, 0, 1] = np.nan
    trial = trial_of_pattern(np.ones((6, 3)), values)
    masks = [np.zeros((6, 3, 2), dtype=bool) for _ in range(5)]
    masks[0][:2, 0] = masks[1][1, 0] = masks[2][:2, 0] = masks[3][:2, 0] = masks[4][:2, 0] = True
    masks[2][0, 0, 1] = False  # without a recorded value
    scored = masks[3].copy()
    scored[0] = False
    partitions = [Partition(label, mask) for label, mask in zip("abcde", masks, strict=True)]
    partitions[3] = Partition("d", masks[3], scored)
    table = tabulate_partitions(partitions, trial)
    assert find_equal(table) == [["a", "c", "e"]]
    shuffled = table.sample(frac=1.0, random_state=1).sort_values("partition", kind="stable")
    assert find_equal(shuffled) == [["a", "c", "e"]]
    assert find_equal(table[table["partition"].isin(["a", "b", "d"])]) == []


def test_a_trial_is_needed():
    partition = Partition("a", some((0,)))
    for ask in (partition.record_mask, partition.test_cells):
        with pytest.raises(UsageError, match="expected a Trial"):
            ask(3)
