"""Lines hidden in all environments: folds, random partitions, groups."""

import hashlib
import itertools
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from bmtme.cv import new_lines
from bmtme.cv.new_lines import NewLines
from bmtme.data.trial import Trial
from bmtme.errors import DataError, UsageError
from tests.helpers.patterns import TRAITS, by_name, hidden_lines, incomplete, is_uniform, shuffle, trial_of_pattern

FULL = np.ones((24, 3))
#: Families of 6, 5, 4, 3 and 2 lines; the other four lines have none.
SIZES = {"Red": 6, "Blue": 5, "Green": 4, "Grey": 3, "White": 2}
FAMILIES = dict(
    zip((f"L{j:03d}" for j in range(24)), itertools.chain(*([name] * n for name, n in SIZES.items())), strict=False)
)


class Rotation:
    """A stream that only rotates what it should permute."""

    def __init__(self, seed, number):
        self.shift = seed + number

    def permutation(self, n):
        return np.roll(np.arange(n), self.shift)


@pytest.mark.parametrize("lines, folds", [(24, 5), (23, 4), (7, 7), (9, 2)])
def test_folds_hide_every_line_once_and_differ_by_one_line_at_most(lines, folds):
    trial = trial_of_pattern(np.ones((lines, 3)), reps=2)
    partitions = NewLines(folds).masks(trial, 3)
    assert [partition.label for partition in partitions] == [str(k + 1) for k in range(folds)]
    for partition in partitions:
        # A line loses all of its environments, traits and plots, or nothing.
        assert (partition.hidden == partition.hidden[:, :1, :1]).all()
        assert (partition.scored == partition.hidden).all()
        training = trial.hide(partition.record_mask(trial))
        assert sorted([*training.recorded_lines, *hidden_lines(partition, trial)]) == sorted(trial.lines)
    assert (sum(partition.hidden.astype(int) for partition in partitions) == 1).all()
    sizes = [partition.hidden[:, 0, 0].sum() for partition in partitions]
    assert max(sizes) - min(sizes) <= 1


def pairings(seeds):
    """The three folds of two lines that each seed gives to six lines."""
    trial = trial_of_pattern(np.ones((6, 1)))
    return [frozenset(tuple(hidden_lines(p, trial)) for p in NewLines(3).masks(trial, seed)) for seed in seeds]


def test_folds_are_uniform(monkeypatch):
    assert is_uniform(pairings(range(1500)), 15)
    monkeypatch.setattr(new_lines, "spawn_stream", Rotation)
    assert not is_uniform(pairings(range(1500)), 15)


def test_random_partitions_are_uniform(monkeypatch):
    trial = trial_of_pattern(np.ones((6, 2)))

    def draw():
        masks = [NewLines(partitions=1, test_fraction=1 / 3).masks(trial, seed) for seed in range(3000)]
        return [tuple(hidden_lines(p, trial)) for (p,) in masks]

    assert is_uniform(draw(), 15)
    monkeypatch.setattr(new_lines, "spawn_stream", Rotation)
    assert not is_uniform(draw(), 15)


@pytest.mark.parametrize("fraction, expected", [(0.2, 5), (0.15, 4), (0.1, 2), (0.5, 12), (0.01, 1), (0.93, 22)])
def test_random_partitions_have_the_share_asked_for(fraction, expected):
    trial = trial_of_pattern(FULL)
    partitions = NewLines(partitions=8, test_fraction=fraction).masks(trial, 1)
    assert [partition.label for partition in partitions] == [str(k) for k in range(1, 9)]
    assert {len(hidden_lines(partition, trial)) for partition in partitions} == {expected}
    few = NewLines(partitions=3, test_fraction=fraction).masks(trial, 1)
    assert by_name(few, trial) == by_name(partitions, trial)[:3]


def test_lines_without_a_record_do_not_count():
    pattern = incomplete(2, lines=30)
    pattern[::3] = False
    trial = trial_of_pattern(pattern)
    sizes = [len(hidden_lines(partition, trial)) for partition in NewLines(4).masks(trial, 1)]
    assert sorted(sizes) == [5, 5, 5, 5]
    assert len(hidden_lines(NewLines(partitions=1).masks(trial, 1)[0], trial)) == 4
    # Nor do they change what is drawn among the others.
    without = trial.drop_lines(sorted(set(trial.lines) - set(trial.recorded_lines)))
    for scheme in (NewLines(4), NewLines(partitions=3)):
        assert by_name(scheme.masks(trial, 1), trial) == by_name(scheme.masks(without, 1), without)


SCHEMES = [
    NewLines(4),
    NewLines(partitions=4, test_fraction=0.3),
    NewLines(5, groups=FAMILIES),
    NewLines(partitions=4, groups=FAMILIES),
]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_masks_depend_on_names_pattern_and_seed_alone(scheme):
    pattern = incomplete(1, lines=24)
    trial = trial_of_pattern(pattern, reps=2)
    first = by_name(scheme.masks(trial, 7), trial)
    values = np.random.default_rng(5).normal(100.0, 30.0, (*pattern.shape, 2))
    for other in (trial_of_pattern(pattern, values, reps=2), trial_of_pattern(pattern, values), shuffle(trial)):
        assert by_name(scheme.masks(other, 7), other) == first
    assert by_name(scheme.masks(trial, 7), trial) == first
    assert by_name(scheme.masks(trial, 8), trial) != first


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("scheme", SCHEMES[2:])
def test_groups_are_never_split(scheme, seed):
    trial = trial_of_pattern(incomplete(seed, lines=24))
    for partition in scheme.masks(trial, seed):
        found = Counter(FAMILIES.get(line) for line in hidden_lines(partition, trial))
        assert all(number == SIZES[family] for family, number in found.items() if family)
    # Without groups, some are.
    found = [Counter(map(FAMILIES.get, hidden_lines(p, trial))) for p in NewLines(5).masks(trial, seed)]
    assert any(0 < counts[family] < n for counts in found for family, n in SIZES.items())


def test_grouped_folds_worked_out_by_hand():
    # 6 | 5 | 4, then 3 to the four, 2 to the five, and of four single lines one each to 6, 7, 7 and on.
    trial = trial_of_pattern(FULL)
    for seed in range(10):
        folds = [hidden_lines(partition, trial) for partition in NewLines(3, groups=FAMILIES).masks(trial, seed)]
        families = [sorted({FAMILIES[line] for line in fold if line in FAMILIES}) for fold in folds]
        assert families == [["Red"], ["Blue", "White"], ["Green", "Grey"]]
        assert [len(fold) for fold in folds] == [8, 8, 8]


def test_groups_of_one_size_are_dealt_at_random():
    trial = trial_of_pattern(np.ones((12, 1)))
    groups = {f"L{j:03d}": f"F{j // 3}" for j in range(12)}

    def pairs(seeds):
        masks = [NewLines(2, groups=groups).masks(trial, seed) for seed in seeds]
        return [frozenset(frozenset(groups[line] for line in hidden_lines(p, trial)) for p in each) for each in masks]

    assert is_uniform(pairs(range(600)), 3)
    assert not is_uniform(pairs([1] * 300 + [2] * 300), 3)


def test_folds_that_are_the_groups_are_labelled_so():
    trial = trial_of_pattern(np.ones((20, 2)))
    groups = pd.Series(FAMILIES)
    partitions = NewLines(5, groups=groups).masks(trial, 4)
    assert [partition.label for partition in partitions] == sorted(SIZES)
    for partition in partitions:
        assert hidden_lines(partition, trial) == [name for name, f in FAMILIES.items() if f == partition.label]
    # One fold less, or a line without a family: folds are numbered.
    assert [partition.label for partition in NewLines(4, groups=groups).masks(trial, 4)] == ["1", "2", "3", "4"]
    more = trial_of_pattern(np.ones((21, 2)))
    assert [partition.label for partition in NewLines(6, groups=groups).masks(more, 4)] == list("123456")


def test_random_partitions_of_groups_hide_as_many_lines_as_wanted_on_average(monkeypatch):
    """Whatever the sizes of the families, of which none is larger than the share; all of them have their turn."""
    trial = trial_of_pattern(FULL)

    def draw():
        masks = [NewLines(partitions=1, test_fraction=0.3, groups=FAMILIES).masks(trial, seed) for seed in range(2000)]
        return [hidden_lines(p, trial) for (p,) in masks]

    def is_met(sets):
        sizes = np.array([len(lines) for lines in sets])
        return abs(sizes.mean() - 7) < 4.5 * sizes.std() / np.sqrt(len(sizes))

    sets = draw()
    assert is_met(sets)
    often = Counter(family for lines in sets for family in {FAMILIES.get(line) for line in lines})
    assert min(often[family] for family in SIZES) > 400
    # A rule that keeps every last group hides too many, one that leaves out what goes beyond too few.
    for kept in (0.0, 1.0):

        class Fixed(Rotation):
            def __init__(self, seed, number):
                self.drawn = np.random.default_rng(seed)

            def permutation(self, n):
                return self.drawn.permutation(n)

            def random(self, kept=kept):
                return 1.0 - kept

        monkeypatch.setattr(new_lines, "spawn_stream", Fixed)
        assert not is_met(draw())


def test_random_partitions_of_a_few_large_groups():
    trial = trial_of_pattern(np.ones((29, 2)))
    families = {line: "A" if j < 10 else "B" if j < 20 else "C" for j, line in enumerate(trial.lines)}
    three = NewLines(partitions=3, test_fraction=0.1, groups=families).masks(trial, 1)
    assert sorted(len(hidden_lines(p, trial)) for p in three) == [9, 10, 10]
    with pytest.raises(
        DataError,
        match=r"partitions=10 of 3 groups: at test_fraction=0\.1 only 3 different sets of lines came out.*"
        r"Use folds=3, which hides every group once, or partitions=3\.",
    ):
        NewLines(partitions=10, test_fraction=0.1, groups=families).masks(trial, 1)
    with pytest.raises(DataError, match=r"partitions=11 of 5 lines: .* only 10 different sets .* every line once"):
        NewLines(partitions=11, test_fraction=0.4).masks(trial_of_pattern(np.ones((5, 2))), 1)
    # Never all groups, however many lines are wanted.
    both = {line: "A" if j < 20 else "B" for j, line in enumerate(trial.lines)}
    for fraction in (0.01, 0.99):
        drawn = NewLines(partitions=2, test_fraction=fraction, groups=both).masks(trial, 1)
        assert {tuple(hidden_lines(p, trial)) for p in drawn} == {trial.lines[20:], trial.lines[:20]}


def test_partitions_are_different_sets_and_do_not_depend_on_their_number():
    trial = trial_of_pattern(FULL)
    scheme = NewLines(partitions=100, test_fraction=0.25, groups=FAMILIES)
    masks = scheme.masks(trial, 1)
    assert len({partition.hidden.tobytes() for partition in masks}) == 100
    # Without drawing again, some would be the same.
    alone = [NewLines(partitions=1, test_fraction=0.25, groups=FAMILIES).masks(trial, k)[0] for k in range(100)]
    assert len({partition.hidden.tobytes() for partition in alone}) < 100
    few = NewLines(partitions=60, test_fraction=0.25, groups=FAMILIES).masks(trial, 1)
    assert by_name(few, trial) == by_name(masks, trial)[:60]


@pytest.mark.parametrize(
    "scheme, seed, digest",
    [
        (NewLines(4), 1, "59ff8efc20c703fa"),
        (NewLines(4), 7, "85ac71890204b3d5"),
        (NewLines(partitions=4, test_fraction=0.3), 1, "a7dd7f18cd0c93ca"),
        (NewLines(partitions=4, test_fraction=0.3), 7, "55268cce7fa97e3f"),
        (NewLines(partitions=3, test_fraction=0.01), 1, "a3534f8269f76842"),
    ],
)
def test_lines_without_groups_are_drawn_as_they_always_were(scheme, seed, digest):
    masks = scheme.masks(trial_of_pattern(incomplete(seed)), seed)
    bits = b"".join(np.packbits(partition.hidden).tobytes() for partition in masks)
    assert hashlib.sha256(bits).hexdigest().startswith(digest)


def test_joined_groups_are_never_split():
    trial = trial_of_pattern(FULL)
    clones = {"L000": "L000", "L023": "L000", "L008": "L008", "L012": "L008", "Other": "Other", "More": "Other"}
    scheme = NewLines(3, groups=FAMILIES).join(clones)
    assert scheme.groups.joined == (tuple(sorted(clones.items())),)
    for seed in range(8):
        for partition in scheme.masks(trial, seed):
            lost = set(hidden_lines(partition, trial))
            for one, other in (("L000", "L023"), ("L008", "L012")):
                assert (one in lost) == (other in lost)
            # L008 is of Blue, L012 of Green: both families are hidden, or neither.
            assert len({f in {FAMILIES.get(line) for line in lost} for f in ("Blue", "Green")}) == 1
    # The scheme that was joined to is as it was.
    assert NewLines(3, groups=FAMILIES).groups.joined == ()
    apart = [hidden_lines(p, trial) for seed in range(8) for p in NewLines(3, groups=FAMILIES).masks(trial, seed)]
    assert any(("L000" in lines) != ("L023" in lines) for lines in apart)


def test_joined_groups_alone_give_numbers_for_labels():
    trial = trial_of_pattern(np.ones((4, 2)))
    scheme = NewLines(2).join({"L000": "a", "L001": "a", "L002": "b", "L003": "b"})
    partitions = scheme.masks(trial, 1)
    assert [partition.label for partition in partitions] == ["1", "2"]
    assert {tuple(hidden_lines(p, trial)) for p in partitions} == {("L000", "L001"), ("L002", "L003")}


def test_lines_outside_the_trial_tie_nothing_together():
    trial = trial_of_pattern(np.ones((4, 2)))
    families = {"L000": "A", "Seed": "A", "L001": "B", "L002": "C", "L003": "D"}
    # A line without a record is like L001, and of the family of L000.
    scheme = NewLines(4, groups=families).join({"Seed": "Seed", "L001": "Seed"})
    assert [partition.label for partition in scheme.masks(trial, 1)] == ["A", "B", "C", "D"]


def test_names_of_groups_are_text():
    trial = Trial.from_frame(
        pd.DataFrame({"line": ["001", "002", "3", "NA"] * 2, "env": list("aaaabbbb"), "Y": np.arange(8.0)}),
        line="line", env="env", traits=["Y"],
    )  # fmt: skip
    table = pd.Series([1.0, 2.0, 2.0, np.nan, 1], index=["001", "002", 3, "NA", "001"], dtype=object)
    scheme = NewLines(2, groups=table)
    assert scheme.groups.given == (("001", "1"), ("002", "2"), ("3", "2"))
    assert scheme == NewLines(groups={"3": "2", "002": 2, "001": "1", "NA": None}, folds=2)
    assert hash(scheme) == hash(NewLines(2, groups=table))
    folds = {tuple(hidden_lines(partition, trial)) for partition in scheme.masks(trial, 1)}
    assert folds == {("001", "NA"), ("002", "3")}


def test_schemes_are_values():
    assert NewLines() == NewLines(folds=5) != NewLines(folds=4)
    assert NewLines(partitions=10) == NewLines(partitions=10, test_fraction=0.2)
    assert NewLines(partitions=10).folds is None
    assert len({NewLines(), NewLines(5), NewLines(groups=FAMILIES), NewLines(groups=FAMILIES)}) == 2


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"folds": 5, "partitions": 10}, "give folds= or partitions=, not both"),
        ({"test_fraction": 0.2}, "goes with random partitions"),
        ({"folds": 5, "test_fraction": 0.2}, "goes with random partitions"),
        ({"folds": 1}, "folds must be a whole number of at least 2"),
        ({"folds": 2.0}, "folds must be a whole number"),
        ({"partitions": 0}, "partitions must be a whole number of at least 1"),
        ({"partitions": 5, "test_fraction": 1.0}, "strictly between 0 and 1"),
        ({"groups": ["A", "B"]}, "groups must be a dict or a pandas Series"),
        ({"groups": pd.DataFrame({"line": ["a"]})}, "groups must be a dict or a pandas Series"),
        ({"folds": 10**12}, None),
    ],
)
def test_settings_out_of_range(settings, message):
    if message is None:
        with pytest.raises(DataError, match="24 lines with a record cannot make folds=1000000000000"):
            NewLines(**settings).masks(trial_of_pattern(FULL), 1)
        return
    with pytest.raises(UsageError, match=message):
        NewLines(**settings)


@pytest.mark.parametrize(
    "groups, message",
    [
        ({"L1": 0.5}, r"as a group of line 'L1' 0.5, which is no whole number"),
        (pd.Series(["A", "B"], index=["L1", "L1"]), "line 'L1' in the groups 'A' and 'B': a line belongs to one group"),
        ({None: "A"}, "names no line for the group 'A'"),
    ],
)
def test_groups_that_make_no_sense(groups, message):
    with pytest.raises(DataError, match=message):
        NewLines(groups=groups)
    with pytest.raises(DataError, match=message):
        NewLines().join(groups)


def test_refusals_say_what_can_be_done():
    trial = trial_of_pattern(FULL)
    with pytest.raises(DataError, match=r"6 lines with a record cannot make folds=7.* Use folds=6, which hides one"):
        NewLines(7).masks(trial_of_pattern(np.ones((6, 2))), 1)
    thirds = {line: line[-1] in "02468" for line in trial.lines}
    with pytest.raises(DataError, match=r"2 groups of lines with a record cannot make folds=5.* folds=2.* or finer"):
        NewLines(groups=thirds).masks(trial, 1)
    one = dict.fromkeys(trial.lines, "all")
    for scheme in (NewLines(groups=one), NewLines(partitions=3, groups=one)):
        with pytest.raises(DataError, match=r"one group of lines with a record: .*leave groups out\. bmtme\.CV1\(\)"):
            scheme.masks(trial, 1)
    with pytest.raises(DataError, match=r"groups out\.$"):
        NewLines(groups=one).masks(trial_of_pattern(np.ones((24, 1))), 1)
    with pytest.raises(DataError, match=r"groups names no line of the trial: .*'l001', .* Did you mean 'L001'\?"):
        NewLines(groups={"l001": "A", "l002": "A"}).masks(trial, 1)
    with pytest.raises(UsageError, match="seed must be a whole number"):
        NewLines().masks(trial, -1)
    with pytest.raises(UsageError, match="expected a Trial"):
        NewLines().masks(trial.to_frame(), 1)
    with pytest.raises(DataError, match=r"Partition '\d' leaves training values of 1 line, .*at least two"):
        NewLines(2).masks(trial_of_pattern(np.ones((3, 2))), 1)


def test_a_trait_of_few_lines():
    values = np.ones((24, 3, 2))
    values[2:, :, 1] = np.nan
    trial = trial_of_pattern(FULL, values)
    told = set()
    for seed in range(40):
        try:
            NewLines(2).masks(trial, seed)
        except DataError as error:
            told.add(str(error))
    # Both lines with the trait are in one fold, for about half of the seeds.
    assert told
    assert all(f"leaves no training value of trait {TRAITS[1]!r}" in text for text in told)
    assert all(text.endswith("Other groups, another seed or more folds may help.") for text in told)
    values[1, :, 1] = np.nan
    with pytest.raises(DataError, match=f"no training value of trait {TRAITS[1]!r}.*leave the trait out"):
        NewLines(8).masks(trial_of_pattern(FULL, values), 1)
