"""Partitions of a table: there and back, tables of other programs, names that are not there."""

import numpy as np
import pandas as pd
import pytest

from bmtme.cv import NewEnvironments, NewLines, NewLinesNewEnvironments, Partitions
from bmtme.cv.partitions import draw_partitions, tabulate_partitions
from bmtme.cv.schemes import CV1, CV2
from bmtme.data.trial import Trial
from bmtme.errors import DataError, UsageError
from tests.helpers.patterns import TRAITS, by_name, incomplete, shuffle, trial_of_pattern


def odd_names(trial):
    """The trial with names that readers of tables like to change."""
    lines = [f"{j:03d}" for j in range(len(trial.lines) - 3)] + ["NA", "1e5", 'a,"b"']
    envs = ["2019", "NA", "007", "None"][: len(trial.envs)]
    return Trial(tuple(lines), tuple(envs), trial.traits, trial.line_index, trial.env_index, trial.values, trial.reps)


@pytest.mark.parametrize(
    "scheme",
    [CV1(3), CV2(), NewLines(3), NewLines(partitions=3), NewEnvironments(), NewLinesNewEnvironments(2)],
    ids=lambda scheme: type(scheme).__name__,
)
def test_there_and_back(scheme, tmp_path):
    pattern = incomplete(4, lines=14)
    pattern[0, 1:] = False  # for NewEnvironments, a line that is hidden and not scored
    if isinstance(scheme, (CV1, CV2)):
        pattern[0] = True
    values = np.random.default_rng(1).normal(size=(*pattern.shape, 2))
    values[1::2, 2, 1] = np.nan
    trial = odd_names(trial_of_pattern(pattern, values, reps=2))
    partitions = draw_partitions(scheme, trial, 3)
    table = tabulate_partitions(partitions, trial)
    path = tmp_path / "partitions.csv"
    table.to_csv(path, index=False)
    text = pd.read_csv(path, dtype=str, keep_default_na=False)
    shuffled = shuffle(trial)
    for back in (Partitions.from_frame(table), Partitions.from_frame(text), Partitions.read(path)):
        again = draw_partitions(back, trial, 99)
        assert [partition.label for partition in again] == [partition.label for partition in partitions]
        for one, other in zip(partitions, again, strict=True):
            assert (one.test_cells(trial) == other.test_cells(trial)).all()
            assert np.array_equal(
                trial.hide(one.record_mask(trial)).values, trial.hide(other.record_mask(trial)).values, equal_nan=True
            )
        assert by_name(draw_partitions(back, shuffled, 1), shuffled) == by_name(partitions, trial)
        pd.testing.assert_frame_equal(tabulate_partitions(again, trial), table)


def test_order_of_rows():
    trial = trial_of_pattern(incomplete(4, lines=14))
    table = NewLinesNewEnvironments(2).table(trial, 3)
    first = dict(by_name(Partitions.from_frame(table).masks(trial), trial))
    mixed = table.sample(frac=1.0, random_state=1)
    partitions = by_name(Partitions.from_frame(mixed).masks(trial), trial)
    assert [label for label, _ in partitions] == mixed["partition"].unique().tolist()
    assert dict(partitions) == first
    twice = pd.concat([table, table.assign(scored=False)])
    assert dict(by_name(Partitions.from_frame(twice).masks(trial), trial)) == first


def test_a_fold_for_every_line():
    # As other programs have it: lines with a number, and nothing of environments and traits.
    trial = trial_of_pattern(np.ones((10, 3)), reps=2)
    frame = pd.DataFrame({"Fold": np.arange(10) % 2 + 1.0, "Genotype": [f"L{j:03d}" for j in range(10)]})
    partitions = Partitions.from_frame(frame, partition="Fold", line="Genotype").masks(trial)
    assert [partition.label for partition in partitions] == ["1", "2"]
    for k, partition in enumerate(partitions):
        expected = np.zeros((10, 3, 2), dtype=bool)
        expected[k::2] = True
        assert (partition.hidden == expected).all()
        assert (partition.scored == expected).all()


def test_empty_cells_stand_for_all():
    trial = trial_of_pattern(np.ones((6, 3)))
    frame = pd.DataFrame(
        {
            "partition": ["a", "a", "a", "b"],
            "line": ["L000", "L001", "L001", "L002"],
            "env": ["E0", "E1", None, "E2"],
            "trait": ["", TRAITS[1], TRAITS[0], np.nan],
            "scored": ["yes", "0.0", "1.0", True],
        }
    )
    a, b = Partitions.from_frame(frame).masks(trial)
    expected = np.zeros((6, 3, 2), dtype=bool)
    expected[0, 0] = expected[1, 1, 1] = expected[1, :, 0] = True
    assert (a.hidden == expected).all()
    expected[1, 1, 1] = False
    assert (a.scored == expected).all()
    assert np.argwhere(b.scored).tolist() == [[2, 2, 0], [2, 2, 1]]


def test_cells_without_a_record_do_no_harm():
    pattern = np.ones((6, 3), dtype=bool)
    pattern[0, 0] = False
    frame = pd.DataFrame({"partition": "a", "line": ["L000", "L001"], "env": "E0"})
    trial = trial_of_pattern(pattern)
    (partition,) = draw_partitions(Partitions.from_frame(frame), trial, 1)
    assert partition.test_cells(trial).sum() == 2


@pytest.mark.parametrize(
    "column, name, message",
    [
        (
            "line",
            "l002",
            r"row 2 .*: the trial has no line 'l002'\. Did you mean 'L002'\? .*leave the rows",
        ),
        ("env", "e1", r"row 2 .*: the trial has no environment 'e1'\. Did you mean 'E1'\?"),
        ("trait", "Yeild", r"row 2 .*: the trial has no trait 'Yeild'\. Did you mean 'Yield'\? Its traits are 'Yield'"),
    ],
)
def test_unknown_names_with_their_row(column, name, message, tmp_path):
    trial = trial_of_pattern(np.ones((6, 3)))
    frame = pd.DataFrame({"partition": "a", "line": ["L000", "L001", "L002"], "env": "E0", "trait": "Yield"})
    frame.loc[1:, column] = name
    with pytest.raises(DataError, match="the table of partitions, " + message):
        Partitions.from_frame(frame).masks(trial)
    path = tmp_path / "parts.csv"
    frame.to_csv(path, index=False)
    with pytest.raises(DataError, match=r"parts\.csv, row 3: the trial has no"):
        Partitions.read(path).masks(trial)


@pytest.mark.parametrize(
    "frame, settings, message",
    [
        ({"set": ["1"], "line": ["a"]}, {}, "no column 'partition', given as the partition column"),
        ({"fold": ["1"], "line": ["a"]}, {}, "no column 'partition', but one 'fold': .* partition='fold'\\.$"),
        ({"partition": ["1"], "Line": ["a"]}, {}, "no column 'line', but one 'Line': .* line='Line'\\.$"),
        ({"partition": ["1"], "line": ["a"], "Env": ["E"]}, {}, "no column 'env', but one 'Env': .*leave it out"),
        ({"partition": ["1"], "line": ["a"], "site": ["E"]}, {}, "no column 'env', but one 'site'"),
        ({"partition": ["1"], "line": ["a"], "Phenotype": ["Y"]}, {}, "no column 'trait', but one 'Phenotype'"),
        ({"partition": ["1"], "line": ["a"], "is_test": [1]}, {}, "no column 'scored', but one 'is_test'"),
        ({"partition": ["1", "a\rb"], "line": ["a", "b"]}, {}, r"row 2 .*holds the control character '\\r'"),
        ({"partition": ["1", "a\0b"], "line": ["a", "b"]}, {}, r"row 2 .*holds the control character"),
        ({"partition": ["x" * 201], "line": ["a"]}, {}, "row 1 .*has 201 characters, and 200 are the most"),
        ({"partition": ["a\ud800"], "line": ["a"]}, {}, "surrogate"),
        ({"partition": ["1", None], "line": ["a", "b"]}, {}, "column 'partition' .* is empty in row 2"),
        ({"partition": ["1", "1"], "line": ["a", ""]}, {}, "column 'line' .* is empty in row 2"),
        ({"partition": ["1", "1"], "line": ["a", 0.5]}, {}, "holds 0.5, which is no whole number"),
        ({"partition": ["1"], "line": ["a"]}, {"env": "site"}, "no column 'site', given as the env column"),
        ({"partition": ["1"], "line": ["a"]}, {"scored": "test"}, "no column 'test', given as the scored column"),
        (
            {"partition": ["1"], "line": ["a"], "scored": ["maybe"]},
            {},
            "scored .*holds 'maybe' in row 1 .*True or",
        ),
        ({"partition": ["1"], "line": ["a"], "scored": [np.nan]}, {}, "scored .*holds nan in row 1"),
        ({"partition": [], "line": []}, {}, "has no rows"),
    ],
)
def test_tables_that_do_not_do(frame, settings, message):
    with pytest.raises(DataError, match=message):
        Partitions.from_frame(pd.DataFrame(frame, dtype=object), **settings)


def test_columns_that_are_not_used():
    frame = pd.DataFrame({"partition": ["1"], "line": ["L000"], "pedigree": ["x"], "Env": ["E0"]})
    with pytest.warns(UserWarning, match="nothing is taken from the column 'pedigree'. Its lines .* for all traits.$"):
        (partition,) = Partitions.from_frame(frame, env="Env").masks(trial_of_pattern(np.ones((6, 3))))
    assert partition.hidden.sum() == 2
    with pytest.warns(UserWarning, match=r"'pedigree', 'Envir'\. .* hidden in all environments and for all traits\.$"):
        Partitions.from_frame(frame.rename(columns={"Env": "Envir"}))


def test_arguments_that_do_not_do(tmp_path):
    with pytest.raises(UsageError, match=r"made by bmtme\.Partitions\.from_frame .*got 3"):
        Partitions(3)
    with pytest.raises(UsageError, match=r"expected a pandas DataFrame, got str; bmtme\.Partitions\.read reads files"):
        Partitions.from_frame("partitions.csv")
    frame = pd.DataFrame({"partition": ["1"], "line": ["a"]})
    with pytest.raises(UsageError, match="one column is named twice"):
        Partitions.from_frame(frame, partition="line")
    with pytest.raises(UsageError, match="partition must be a text, got 3"):
        Partitions.from_frame(frame, partition=3)
    with pytest.raises(DataError, match=r"missing\.csv cannot be read"):
        Partitions.read(tmp_path / "missing.csv")
    with pytest.raises(UsageError, match="expected a Trial"):
        Partitions.from_frame(frame).masks(frame)


def test_a_table_is_not_changed_and_not_shared():
    frame = pd.DataFrame({"partition": ["1", "1"], "line": ["L000", "L001"]}, index=[7, 7])
    before = frame.copy()
    scheme = Partitions.from_frame(frame)
    pd.testing.assert_frame_equal(frame, before)
    frame["line"] = "L005"
    trial = trial_of_pattern(np.ones((6, 3)))
    assert np.flatnonzero(scheme.masks(trial)[0].hidden[:, 0, 0]).tolist() == [0, 1]
