"""Whole environments hidden, for known lines and for new ones."""

import itertools

import numpy as np
import pandas as pd
import pytest

from bmtme.cv.new_environments import NewEnvironments, NewLinesNewEnvironments
from bmtme.cv.new_lines import NewLines
from bmtme.data.trial import Trial
from bmtme.errors import DataError, UsageError
from tests.helpers.patterns import TRAITS, by_name, hidden_lines, incomplete, shuffle, trial_of_pattern

FULL = np.ones((10, 3))


def test_an_environment_is_hidden_for_all_lines_and_traits():
    trial = trial_of_pattern(incomplete(3), reps=2)
    partitions = NewEnvironments().masks(trial)
    assert [partition.label for partition in partitions] == list(trial.envs)
    for i, partition in enumerate(partitions):
        expected = np.zeros_like(partition.hidden)
        expected[:, i] = True
        assert (partition.hidden == expected).all()
        assert (partition.test_cells(trial) == (expected & (trial.counts() > 0))).all()
    assert [p.label for p in NewEnvironments(["E2", "E0"]).masks(trial, 9)] == ["E2", "E0"]
    assert NewEnvironments("E1") == NewEnvironments(("E1",))


def test_lines_recorded_nowhere_else_are_hidden_and_not_scored():
    pattern = np.ones((6, 3), dtype=bool)
    pattern[0, 1:] = False
    trial = trial_of_pattern(pattern)
    first, second, _ = NewEnvironments().masks(trial)
    assert first.hidden[0, 0].all()
    assert not first.test_cells(trial)[0].any()
    assert first.test_cells(trial)[1:, 0].all()
    assert second.test_cells(trial).sum() == 5 * 2


def test_a_line_is_known_by_any_trait():
    values = np.ones((6, 2, 2))
    values[0, 1] = np.nan, 1.0  # its yield is recorded in E0 alone, its ASI in both
    trial = trial_of_pattern(np.ones((6, 2)), values)
    assert NewEnvironments(["E0"]).masks(trial)[0].test_cells(trial)[0, 0].all()


def test_environments_without_a_record():
    pattern = FULL.copy()
    pattern[:, 1] = 0
    trial = trial_of_pattern(pattern)
    for scheme in (NewEnvironments, NewLinesNewEnvironments):
        assert {p.label.partition(":")[0] for p in scheme().masks(trial, 1)} == {"E0", "E2"}
        with pytest.raises(DataError, match=r"environment 'E1' has no recorded value in any trait.*leave this env"):
            scheme(envs=["E1"]).masks(trial, 1)
        with pytest.raises(DataError, match=r"no environment 'E9'\.? .*Its environments are 'E0', 'E1', 'E2'"):
            scheme(envs=["E9"]).masks(trial, 1)
        with pytest.raises(UsageError, match=f"{scheme.__name__}: the list of envs is empty"):
            scheme(envs=[])
        with pytest.raises(UsageError, match="'E0' stands more than once"):
            scheme(envs=["E0", "E0"])


def test_one_environment_names_the_scheme_that_can():
    trial = trial_of_pattern(np.ones((10, 1)))
    for scheme in (NewEnvironments(), NewLinesNewEnvironments(envs=["E0"])):
        with pytest.raises(DataError, match=r"recorded in 'E0' only\. NewLines can serve.*--scheme new-lines\.$"):
            scheme.masks(trial, 1)
    with pytest.raises(DataError, match=r"recorded in 'E0' only\.$"):
        NewEnvironments().masks(trial_of_pattern(np.ones((3, 1))), 1)


def test_a_trait_recorded_in_one_environment():
    values = np.ones((10, 3, 2))
    values[:, 1:, 1] = np.nan
    trial = trial_of_pattern(FULL, values)
    told = rf"environment 'E0': trait {TRAITS[1]!r} is recorded in no other.*leave the trait out, or hide other env"
    for scheme in (NewEnvironments(), NewLinesNewEnvironments()):
        with pytest.raises(DataError, match=told + r".*envs=\['E1', 'E2'\].*NewLines can serve"):
            scheme.masks(trial, 1)
    assert len(NewEnvironments(["E1", "E2"]).masks(trial)) == 2


def test_no_line_is_recorded_elsewhere():
    pattern = np.zeros((20, 2), dtype=bool)
    pattern[:10, 0] = pattern[10:, 1] = True
    trial = trial_of_pattern(pattern)
    with pytest.raises(DataError, match=r"none of its lines .*nothing to score.*NewLinesNewEnvironments can serve"):
        NewEnvironments().masks(trial)
    assert NewLinesNewEnvironments(envs=["E0"]).masks(trial, 0)


@pytest.mark.parametrize("seed", range(3))
def test_new_lines_in_new_environments(seed):
    trial = trial_of_pattern(incomplete(seed), reps=2)
    recorded = trial.counts() > 0
    partitions = NewLinesNewEnvironments(4).masks(trial, seed)
    folds = NewLines(4).masks(trial, seed)
    labels = [f"{env}:{fold.label}" for env, fold in itertools.product(trial.envs, folds)]
    assert [partition.label for partition in partitions] == labels
    for partition, (i, fold) in zip(partitions, itertools.product(range(4), folds), strict=True):
        lines = fold.hidden[:, 0, 0]
        training = recorded & ~partition.hidden
        assert not training[lines].any()
        assert not training[:, i].any()
        # Nothing more is withheld, and where both meet is scored.
        assert (training == (recorded & ~fold.hidden & (np.arange(4) != i)[None, :, None])).all()
        scored = partition.test_cells(trial)
        assert (scored[:, i] == (recorded & fold.hidden)[:, i]).all()
        assert scored.sum() == scored[:, i].sum()
    # Every recorded value is scored once.
    assert (sum(partition.test_cells(trial).astype(int) for partition in partitions) == recorded).all()


def test_folds_without_a_record_in_the_environment_are_left_out():
    pattern = np.ones((10, 3), dtype=bool)
    groups = {f"L{j:03d}": "old" if j < 5 else "new" for j in range(10)}
    pattern[5:, 0] = False
    trial = trial_of_pattern(pattern)
    labels = [p.label for p in NewLinesNewEnvironments(2, groups).masks(trial, 1)]
    assert labels == ["E0:old", "E1:new", "E1:old", "E2:new", "E2:old"]


def test_groups_and_joined_groups_stay_together():
    trial = trial_of_pattern(incomplete(4, lines=20))
    groups = {line: f"F{j // 4}" for j, line in enumerate(sorted(trial.lines))}
    scheme = NewLinesNewEnvironments(2, groups=groups).join({"L000": "x", "L019": "x"})
    assert scheme.folds == 2
    for partition in scheme.masks(trial, 3):
        lost = {line for line in hidden_lines(partition, trial)}
        # Lines recorded in this environment and one more may be lost by that: judge the scored ones.
        tested = {trial.lines[j] for j in np.flatnonzero(partition.test_cells(trial).any(axis=(1, 2)))}
        assert {line for line in trial.lines if groups[line] in {groups[name] for name in tested}} <= lost
        if "L000" in tested:
            assert "L019" in lost


@pytest.mark.parametrize("scheme", [NewEnvironments(), NewLinesNewEnvironments(3)])
def test_masks_depend_on_names_pattern_and_seed_alone(scheme):
    pattern = incomplete(1, lines=15)
    trial = trial_of_pattern(pattern, reps=2)
    first = by_name(scheme.masks(trial, 7), trial)
    values = np.random.default_rng(5).normal(100.0, 30.0, (*pattern.shape, 2))
    for other in (trial_of_pattern(pattern, values, reps=2), shuffle(trial)):
        assert sorted(by_name(scheme.masks(other, 7), other), key=str) == sorted(first, key=str)


def test_labels_stay_apart_where_names_hold_colons():
    names = [f"L{j}" for j in range(8)]
    frame = pd.DataFrame(itertools.product(names, ["a", "a:b", "z"]), columns=["line", "env"]).assign(Y=1.0)
    trial = Trial.from_frame(frame, line="line", env="env", traits=["Y"])
    groups = {name: "b:c" if j < 4 else "c" for j, name in enumerate(names)}
    labels = [partition.label for partition in NewLinesNewEnvironments(2, groups=groups).masks(trial, 1)]
    assert labels == ["a:1", "a:2", "a:b:1", "a:b:2", "z:1", "z:2"]


def test_too_few_lines_stay():
    with pytest.raises(DataError, match=r"Partition 'E0:1' leaves training values of 1 line"):
        NewLinesNewEnvironments(2).masks(trial_of_pattern(np.ones((2, 2))), 1)
    with pytest.raises(DataError, match=r"NewLinesNewEnvironments: 10 lines .*folds=11, .* Use folds=10"):
        NewLinesNewEnvironments(11).masks(trial_of_pattern(FULL), 1)
    with pytest.raises(UsageError, match="folds must be a whole number of at least 2"):
        NewLinesNewEnvironments(1)
    with pytest.raises(UsageError, match="seed must be"):
        NewLinesNewEnvironments().masks(trial_of_pattern(FULL), -1)
