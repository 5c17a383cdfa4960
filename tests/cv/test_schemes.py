"""Cross-validation masks: what is hidden, how often, and when a scheme refuses."""

import hashlib
import itertools
import math
from collections import Counter

import numpy as np
import pytest

from bmtme.cv.groups import draw_units
from bmtme.cv.new_environments import NewEnvironments, NewLinesNewEnvironments
from bmtme.cv.new_lines import NewLines
from bmtme.cv.partitions import Partition, count_units, describe_scheme
from bmtme.cv.schemes import CV1, CV2
from bmtme.data.trial import Trial
from bmtme.errors import DataError, UsageError
from tests.helpers.patterns import TRAITS, by_name, incomplete, is_uniform, shuffle, trial_of_pattern


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.25, 0.5])
def test_cv1_hides_the_right_number_and_leaves_every_line_somewhere(seed, fraction):
    pattern = incomplete(seed)
    trial = trial_of_pattern(pattern)
    for partition in CV1(4, fraction).masks(trial, seed):
        hidden = partition.hidden
        assert (hidden == hidden[:, :, :1]).all()
        lost = hidden[:, :, 0]
        assert not (lost & ~pattern).any()
        assert lost.sum(axis=0).tolist() == [math.floor(fraction * n + 0.5) for n in pattern.sum(axis=0)]
        assert (pattern & ~lost).any(axis=1).all()


def test_cv1_partitions_differ_and_do_not_depend_on_their_number():
    trial = trial_of_pattern(np.ones((30, 3)))
    ten = CV1(10).masks(trial, 3)
    assert [partition.label for partition in ten] == [str(k) for k in range(1, 11)]
    assert len({partition.hidden.tobytes() for partition in ten}) == 10
    for few, many in zip(CV1(4).masks(trial, 3), ten, strict=False):
        assert (few.hidden == many.hidden).all()
    assert (CV1(1).masks(trial, 4)[0].hidden != ten[0].hidden).any()


@pytest.mark.parametrize("seed, digest", [(1, "5d1a20c570f3d340"), (7, "b8492ce120f86bc7")])
def test_cv1_draws_what_it_always_drew(seed, digest):
    masks = CV1(4, 0.25).masks(trial_of_pattern(incomplete(seed)), seed)
    bits = b"".join(np.packbits(partition.hidden).tobytes() for partition in masks)
    assert hashlib.sha256(bits).hexdigest().startswith(digest)


@pytest.mark.parametrize("seed, digest", [(1, "5d1a20c570f3d340"), (7, "b8492ce120f86bc7")])
def test_cv1_draws_the_same_where_no_clones_meet(seed, digest):
    # Clones of other trials, and a line alone.
    scheme = CV1(4, 0.25).join({"L003": "L003", "Other": "L003", "Seed": "Seed", "Bag": "Seed"})
    masks = scheme.masks(trial_of_pattern(incomplete(seed)), seed)
    bits = b"".join(np.packbits(partition.hidden).tobytes() for partition in masks)
    assert hashlib.sha256(bits).hexdigest().startswith(digest)


#: Three clones, two and two; the others of 40 lines are alone.
CLONES = {"L000": "a", "L013": "a", "L021": "a", "L002": "b", "L030": "b", "L005": "c", "L006": "c"}


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5])
def test_cv1_hides_the_clones_of_an_environment_together(fraction):
    pattern = incomplete(2)
    trial = trial_of_pattern(pattern)
    scheme = CV1(10, fraction).join(CLONES)
    apart = 0
    for joined, alone in zip(scheme.masks(trial, 1), CV1(10, fraction).masks(trial, 1), strict=True):
        lost = joined.hidden[:, :, 0]
        assert (joined.hidden == lost[:, :, None]).all()
        assert (joined.scored == joined.hidden).all()
        # Lines alone fill up what groups leave.
        assert lost.sum(axis=0).tolist() == [math.floor(fraction * n + 0.5) for n in pattern.sum(axis=0)]
        assert (pattern & ~lost).any(axis=1).all()
        for name in "abc":
            rows = [trial.lines.index(line) for line, group in CLONES.items() if group == name]
            for i in range(4):
                here = [j for j in rows if pattern[j, i]]
                assert len(set(lost[here, i].tolist())) <= 1
                apart += len(set(alone.hidden[here, i, 0].tolist())) == 2
    assert apart > 5


def test_cv1_of_pairs_of_clones_alone():
    trial = trial_of_pattern(np.ones((60, 2)))
    pairs = {line: str(j % 30) for j, line in enumerate(trial.lines)}
    for partition in CV1(20, 0.3).join(pairs).masks(trial, 1):
        assert count_units(partition, trial)["lines_hidden"] == 0
        assert partition.hidden[:, :, 0].sum(axis=0).tolist() == [18, 18]
    # 15 lines are wanted, and pairs make 14 or 16.
    for partition in CV1(20, 0.25).join(pairs).masks(trial, 1):
        assert partition.hidden[:, :, 0].sum(axis=0).tolist() == [14, 14]
    # All of two environments cannot be hidden.
    with pytest.raises(DataError, match=r"36 of its 60 lines should be hidden .* only 24 of them could be found"):
        CV1(1, 0.6).join(pairs).masks(trial, 1)


def test_cv1_keeps_a_clone_that_has_one_environment_and_all_of_its_group():
    pattern = np.ones((12, 3), dtype=bool)
    pattern[3] = [True, False, False]
    trial = trial_of_pattern(pattern)
    for partition in CV1(50, 0.3).join({"L002": "x", "L003": "x"}).masks(trial, 1):
        assert not partition.hidden[[2, 3], 0].any()
    often = sum(p.hidden[2, :, 0].astype(int) for p in CV1(50, 0.3).join({"L002": "x", "L003": "x"}).masks(trial, 1))
    assert often[1:].min() > 3  # where the other is not grown


def test_cv1_with_clones_depends_on_names_and_seed_alone():
    trial = trial_of_pattern(incomplete(1), reps=2)
    scheme = CV1(5, 0.3, groups=CLONES)
    first = by_name(scheme.masks(trial, 7), trial)
    other = shuffle(trial)
    assert by_name(scheme.masks(other, 7), other) == first
    assert by_name(scheme.masks(trial, 8), trial) != first
    assert by_name(CV1(3, 0.3, groups=CLONES).masks(trial, 7), trial) == first[:3]


def test_units_are_drawn_as_near_to_the_wanted_number_as_can_be():
    rng = np.random.default_rng(1)
    for _ in range(300):
        units = rng.integers(6, size=rng.integers(1, 13))
        sizes = Counter(units.tolist()).values()
        sums = {sum(some) for k in range(1, 7) for some in itertools.combinations(sizes, k)}
        wanted = int(rng.integers(len(units) + 1))
        drawn = draw_units(units, wanted, rng)
        expected = min(sums, key=lambda s: (abs(s - wanted), s)) if wanted else 0
        assert len(drawn) == len(set(drawn.tolist())) == expected
        assert not set(units[drawn]) & set(np.delete(units, drawn))


def test_units_are_drawn_at_random():
    pairs = np.repeat(np.arange(4), 2)
    assert is_uniform((tuple(draw_units(pairs, 4, np.random.default_rng(k))) for k in range(1200)), 6)
    # A stream that is always the same is caught.
    assert not is_uniform((tuple(draw_units(pairs, 4, np.random.default_rng(k % 5))) for k in range(1200)), 6)


def test_cv1_with_clones_is_a_value():
    assert CV1() == CV1(10, 0.2) != CV1().join(CLONES) == CV1().join(CLONES)
    assert CV1(groups=CLONES) == CV1(groups=dict(reversed(CLONES.items())))
    assert len({CV1(), CV1().join(CLONES), CV1().join(CLONES)}) == 2
    assert repr(CV1()) == "CV1(partitions=10, test_fraction=0.2)"
    assert repr(CV1(3).join(CLONES)) == "CV1(partitions=3, test_fraction=0.2, groups=Groups(7 lines joined))"
    assert repr(CV1(3, groups=CLONES)) == "CV1(partitions=3, test_fraction=0.2, groups=Groups(3 of 7 lines))"
    assert describe_scheme(CV1(3)) == {"name": "CV1", "partitions": 3, "test_fraction": 0.2}
    assert describe_scheme(CV1(3).join(CLONES))["groups"]["joined"] == [7]
    with pytest.raises(UsageError, match="groups must be a dict or a pandas Series"):
        CV1(groups=["L000"])


def test_cv1_sees_the_pattern_only():
    pattern = incomplete(1)
    values = np.random.default_rng(5).normal(100.0, 30.0, (*pattern.shape, 2))
    values[::3, :, 1] = np.nan  # other traits recorded, the same records
    first, second, third = (
        trial_of_pattern(pattern),
        trial_of_pattern(pattern, values),
        trial_of_pattern(pattern, reps=3),
    )
    for a, b, c in zip(*(CV1(5).masks(trial, 7) for trial in (first, second, third)), strict=True):
        assert (a.hidden == b.hidden).all()
        assert (a.hidden == c.hidden).all()


def test_cv1_draws_lines_uniformly():
    trials = 2000
    trial = trial_of_pattern(np.ones((12, 3)))
    often = sum(partition.hidden[:, :, 0].astype(int) for partition in CV1(trials, 0.25).masks(trial, 11))
    # Complete data: by symmetry every cell is hidden with probability 3 / 12.
    assert np.abs(often - trials / 4).max() < 4.5 * math.sqrt(trials * 0.25 * 0.75)


def test_cv1_has_the_distribution_worked_out_by_hand():
    # Three lines, two environments, one line hidden in each: the first environment takes any line, the second any
    # other one, so each of the six ordered pairs has probability 1/6 whichever environment comes first.
    trials = 3000
    found = Counter()
    for partition in CV1(trials, 1 / 3).masks(trial_of_pattern(np.ones((3, 2))), 2):
        found[tuple(partition.hidden[:, :, 0].argmax(axis=0).tolist())] += 1
    assert set(found) == set(itertools.permutations(range(3), 2))
    assert max(abs(count - trials / 6) for count in found.values()) < 4.5 * math.sqrt(trials * 5 / 36)


def test_cv1_with_unequal_lines_has_the_distribution_worked_out_by_hand():
    # Lines a, b, c in environments (1, 2), (1, 2, 3), (3); half a line or more is hidden in each: 1, 1, 1 of 2.
    # c is never hidden, so environment 3 always loses b. Then b keeps 1 or 2, and a the other one.
    trials = 1500
    pattern = np.array([[1, 1, 0], [1, 1, 1], [0, 0, 1]])
    found = Counter()
    for partition in CV1(trials, 0.4).masks(trial_of_pattern(pattern), 2):
        lost = partition.hidden[:, :, 0]
        assert lost.sum(axis=0).tolist() == [1, 1, 1]
        assert not lost[2].any()
        found[tuple(lost[0, :2].tolist())] += 1
    assert set(found) == {(True, False), (False, True)}
    assert abs(found[True, False] - trials / 2) < 4.5 * math.sqrt(trials / 4)


def test_cv1_starts_again_until_it_succeeds():
    # Two of three lines hidden in each of three environments: only the six permutations of the kept lines remain.
    partitions = CV1(200, 2 / 3).masks(trial_of_pattern(np.ones((3, 3))), 1)
    kept = {tuple((~partition.hidden[:, :, 0]).argmax(axis=0).tolist()) for partition in partitions}
    assert kept == set(itertools.permutations(range(3)))


def test_cv1_gives_up_naming_the_environment():
    pattern = np.ones((10, 3), dtype=bool)
    pattern[:, 2] = [True] * 4 + [False] * 6
    pattern[:4, :2] = False  # these four lines are seen in E2 only
    with pytest.raises(DataError, match=r"partition 1, environment 'E2': 2 of its 4 lines .* only 0 .* 100 restarts"):
        CV1(3, 0.5).masks(trial_of_pattern(pattern), 1)
    with pytest.raises(DataError, match="environment 'E0'"):
        CV1(3, 0.5).masks(trial_of_pattern(np.ones((10, 1))), 1)


def test_cv1_with_nothing_to_score():
    with pytest.raises(DataError, match=r"less than half a line .* 5 lines"):
        CV1(3, 0.05).masks(trial_of_pattern(np.ones((5, 2))), 1)


def test_cv1_refuses_to_hide_all_of_a_trait():
    pattern = np.ones((4, 2), dtype=bool)
    values = np.ones((4, 2, 2))
    values[..., 1] = np.nan
    values[0, 0, 1] = 1.0
    with pytest.raises(DataError, match=r"Partition '\d+' leaves no training value of trait 'ASI'"):
        CV1(20, 0.25).masks(trial_of_pattern(pattern, values), 1)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, math.nan, "a fifth", None, True])
def test_cv1_fraction_out_of_range(fraction):
    with pytest.raises(UsageError, match="strictly between 0 and 1"):
        CV1(test_fraction=fraction)


@pytest.mark.parametrize("partitions", [0, -1, 2.5, "ten", True])
def test_cv1_partitions_out_of_range(partitions):
    with pytest.raises(UsageError, match="partitions must be a whole number of at least 1"):
        CV1(partitions)


@pytest.mark.parametrize("seed", [-1, 0.5, None])
def test_bad_seed(seed):
    with pytest.raises(UsageError, match="seed must be a whole number"):
        CV1().masks(trial_of_pattern(np.ones((10, 2))), seed)


def test_schemes_are_values():
    assert CV1(5, 0.3) == CV1(partitions=5, test_fraction=0.3) != CV1(5)
    assert CV1(np.int64(5)) == CV1(5)
    assert CV2(["Yield"]) == CV2(("Yield",)) == CV2("Yield")
    assert len({CV1(), CV1(), CV2(), CV2(envs=["E1"])}) == 3


def test_cv2_hides_one_trait_of_all_lines():
    trial = trial_of_pattern(incomplete(2), reps=2)
    partitions = CV2().masks(trial, 1)
    assert [partition.label for partition in partitions] == [f"E{i}:{trait}" for i in range(4) for trait in TRAITS]
    for partition, (i, k) in zip(partitions, itertools.product(range(4), range(2)), strict=True):
        expected = np.zeros_like(partition.hidden)
        expected[:, i, k] = True
        assert (partition.hidden == expected).all()
        mask = partition.record_mask(trial)
        assert mask.shape == (trial.n_records, 2)
        assert (mask[:, k] == (trial.env_index == i)).all()
        assert not mask[:, 1 - k].any()


def test_cv2_chosen_cells_in_the_order_asked_for():
    trial = trial_of_pattern(np.ones((5, 3)))
    labels = [partition.label for partition in CV2(["ASI"], ["E2", "E0"]).masks(trial, 1)]
    assert labels == ["E2:ASI", "E0:ASI"]


def test_cv2_unknown_names():
    trial = trial_of_pattern(np.ones((5, 3)))
    with pytest.raises(DataError, match=r"has no trait 'Yeild'\. Did you mean 'Yield'\? Its traits are 'Yield', 'ASI'"):
        CV2(traits=["Yeild"]).masks(trial, 1)
    with pytest.raises(DataError, match=r"no environment 'Mars'\. Its environments are 'E0', 'E1', 'E2'"):
        CV2(envs=["Mars"]).masks(trial, 1)


def test_cv2_bad_lists():
    with pytest.raises(UsageError, match="list of traits is empty"):
        CV2(traits=[])
    with pytest.raises(UsageError, match="'E1' stands more than once in the list of envs"):
        CV2(envs=["E1", "E0", "E1"])


def test_cv2_trait_measured_in_some_environments():
    values = np.ones((5, 3, 2))
    values[:, 2, 1] = np.nan
    trial = trial_of_pattern(np.ones((5, 3)), values)
    labels = ["E0:Yield", "E0:ASI", "E1:Yield", "E1:ASI", "E2:Yield"]
    assert [partition.label for partition in CV2().masks(trial, 1)] == labels
    assert [partition.label for partition in CV2(envs=["E2"]).masks(trial, 1)] == labels[4:]
    with pytest.raises(DataError, match="Partition 'E2:ASI' hides no recorded value"):
        CV2(["ASI"], ["E2"]).masks(trial, 1)
    values[:, 1, 1] = np.nan
    with pytest.raises(DataError, match="Partition 'E0:ASI' leaves no training value of trait 'ASI'"):
        CV2(["ASI"]).masks(trial_of_pattern(np.ones((5, 3)), values), 1)


def test_cv2_refuses_to_hide_all_of_a_line():
    pattern = np.ones((5, 3))
    pattern[0, :2] = 0
    values = np.ones((5, 3, 2))
    values[:, 2, 1] = np.nan
    with pytest.raises(DataError, match="Partition 'E2:Yield' hides every recorded value of line 'L000':"):
        CV2(["Yield"], ["E2"]).masks(trial_of_pattern(pattern, values), 1)


def test_cv2_names_without_any_record():
    trial = trial_of_pattern(np.ones((5, 3)))
    without = trial.hide(np.tile([False, True], (trial.n_records, 1)))
    with pytest.raises(DataError, match="trait 'ASI' has no recorded value in any environment"):
        CV2(["ASI"]).masks(without, 1)
    pattern = np.ones((5, 3))
    pattern[:, 1] = 0
    with pytest.raises(DataError, match="environment 'E1' has no recorded value in any trait"):
        CV2(envs=["E1"]).masks(trial_of_pattern(pattern), 1)


def test_table_lists_the_scored_cells():
    pattern = incomplete(3)
    values = np.random.default_rng(1).normal(size=(*pattern.shape, 2))
    values[1::2, :, 1] = np.nan
    trial = trial_of_pattern(pattern, values)
    scheme = CV1(3)
    table = scheme.table(trial, 9)
    assert list(table.columns) == ["partition", "line", "env", "trait", "scored"]
    partitions = scheme.masks(trial, 9)
    expected = [
        (partition.label, trial.lines[j], trial.envs[i], trial.traits[k], True)
        for partition in partitions
        for j, i, k in zip(*np.nonzero(partition.test_cells(trial)), strict=True)
    ]
    assert list(table.itertuples(index=False, name=None)) == expected
    assert (partitions[0].test_cells(trial) == (partitions[0].hidden & (trial.counts() > 0))).all()


def test_hide_keeps_the_labels_and_empties_the_hidden_cells():
    trial = trial_of_pattern(incomplete(4), reps=2)
    partition = CV1(1).masks(trial, 5)[0]
    training = trial.hide(partition.record_mask(trial))
    assert training.lines == trial.lines
    assert (training.counts() == np.where(partition.hidden, 0, trial.counts())).all()


def test_partition_of_another_trial():
    partition = CV1(1).masks(trial_of_pattern(np.ones((5, 2))), 5)[0]
    with pytest.raises(UsageError, match="was made for a trial"):
        partition.record_mask(trial_of_pattern(np.ones((6, 2))))
    with pytest.raises(ValueError, match="read-only"):
        partition.hidden[0, 0, 0] = True
    assert isinstance(partition, Partition)


@pytest.mark.parametrize("fraction", [0.2, 0.04])
def test_cv1_names_the_scheme_that_can(fraction):
    # 59 of 60 lines are in one environment only: no fraction helps, as nothing or one line can be hidden.
    pattern = np.zeros((60, 2), dtype=bool)
    pattern[:, 0] = pattern[0, 1] = True
    trial = trial_of_pattern(pattern)
    with pytest.raises(DataError, match=r"No test fraction helps.* CV2 can serve.*CV2\(envs=\['E0'\]\).*--scheme cv2"):
        CV1(3, fraction).masks(trial, 1)
    assert len(CV2(envs=["E0"]).masks(trial, 1)) == 2
    # With one trait, CV2 would leave the lines without a record.
    values = np.where(pattern[:, :, None], 1.0, np.nan)[:, :, :1]
    single = Trial(trial.lines, trial.envs, ("Yield",), *(index.ravel() for index in np.nonzero(pattern)),
                   values[pattern])  # fmt: skip
    with pytest.raises(
        DataError, match=r"helps.* NewLines can serve.*: bmtme.NewLines\(\), in the shell --scheme new-lines"
    ):
        CV1(3, fraction).masks(single, 1)
    assert len(NewLines().masks(single, 1)) == 5
    few = single.drop_lines(single.lines[4:])
    with pytest.raises(DataError, match=r"No test fraction helps.* Record lines in more environments\.$"):
        CV1(3, 0.5).masks(few, 1)
    with pytest.raises(DataError):
        CV2(envs=["E0"]).masks(single, 1)


def test_cv1_names_the_fraction_that_can():
    pattern = np.ones((60, 3), dtype=bool)
    pattern[:40, 1:] = False
    trial = trial_of_pattern(pattern)
    with pytest.raises(DataError, match=r"Use a test fraction of at most 0\.\d+, or leave") as error:
        CV1(3, 0.6).masks(trial, 1)
    fraction = float(str(error.value).split("at most ")[1].split(", or")[0])
    assert len(CV1(3, fraction).masks(trial, 1)) == 3


@pytest.mark.parametrize("names", [[None], [["E1"]], [1.5], [b"E1"]])
def test_names_that_are_none(names):
    for scheme in (NewEnvironments, NewLinesNewEnvironments, CV2):
        with pytest.raises(UsageError, match=f"{scheme.__name__}: envs must hold names, one text for each, got"):
            scheme(envs=names)
    assert CV2(envs=[2019, " E1 "]).envs == ("2019", "E1")
