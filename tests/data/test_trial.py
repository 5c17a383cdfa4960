"""The trial itself, and real ones."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import numpy as np
import pandas as pd
import pytest

from bmtme.data.trial import Trial, read_trial
from bmtme.errors import DataError, UsageError
from tests.helpers.trials import cells, same

# --- the trial --------------------------------------------------------------------------------------------------


@pytest.fixture
def trial(wide_frame) -> Trial:
    return Trial.from_frame(wide_frame, line="line", env="env", rep="rep")


def test_trial_is_immutable(trial):
    with pytest.raises(dataclasses.FrozenInstanceError):
        trial.lines = ("x",)
    for copied in (trial, pickle.loads(pickle.dumps(trial)), copy.deepcopy(trial), dataclasses.replace(trial)):
        assert same(copied, trial)
        for array in (copied.values, copied.line_index, copied.env_index):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0


def test_trial_copies_what_it_is_given():
    values = np.array([[1.0], [2.0]])
    trial = Trial(["a", "b"], ["E"], ["y"], [0, 1], [0, 0], values)
    values[0] = 99
    assert trial.values[0, 0] == 1
    assert trial.lines == ("a", "b")
    assert trial.values.dtype == np.float64
    assert trial.line_index.dtype == np.int64


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lines": ("a", "a")}, "lines holds 'a' twice"),
        ({"envs": ()}, "envs is empty"),
        ({"traits": ("",)}, "traits holds ''"),
        ({"traits": (1,)}, "traits holds 1"),
        ({"traits": ("y", "z")}, r"expected \(N, 2\), got \(2, 1\)"),
        ({"values": np.zeros(2)}, r"expected \(N, 1\), got \(2,\)"),
        ({"values": np.array([[0.0], [np.inf]])}, "infinite value of trait 'y' in record 1"),
        ({"line_index": [0]}, r"line_index must hold one integer per record: expected \(2,\)"),
        ({"line_index": [0.0, 1.0]}, "one integer per record"),
        ({"line_index": [0, 2]}, "line_index must lie between 0 and 1"),
        ({"env_index": [-1, 0]}, "env_index must lie between 0 and 0"),
        ({"reps": ("1",)}, "one text per record: expected 2, got 1"),
    ],
)
def test_trial_checks_its_parts(change, words):
    parts = {"lines": ("a", "b"), "envs": ("E",), "traits": ("y",), "line_index": [0, 1], "env_index": [0, 0]}
    with pytest.raises(DataError, match=words):
        Trial(**{**parts, "values": np.zeros((2, 1)), **change})


def test_cell_means_agree_with_pandas(trial, wide_frame):
    grouped = wide_frame.groupby(["line", "env"])[["Yield", "PH"]]
    means, counts = grouped.mean(), grouped.count()
    for j, line in enumerate(trial.lines):
        for i, env in enumerate(trial.envs):
            if (line, env) in means.index:
                np.testing.assert_allclose(trial.cell_means()[j, i], means.loc[(line, env)], rtol=1e-14)
                np.testing.assert_array_equal(trial.counts()[j, i], counts.loc[(line, env)])
            else:
                assert np.isnan(trial.cell_means()[j, i]).all()
                assert not trial.counts()[j, i].any()


def test_hide(trial):
    mask = np.zeros(trial.values.shape, dtype=bool)
    mask[:5, 1] = True
    hidden = trial.hide(mask)
    assert (hidden.lines, hidden.envs, hidden.reps) == (trial.lines, trial.envs, trial.reps)
    assert np.isnan(hidden.values[mask]).all()
    np.testing.assert_array_equal(hidden.values[~mask], trial.values[~mask])
    assert np.isnan(trial.hide(np.ones_like(mask)).values).all()
    for bad in (mask[:-1], mask.astype(int), mask[:, 0]):
        with pytest.raises(UsageError, match="mask must be a boolean array of shape"):
            trial.hide(bad)


def test_drop_lines(trial, wide_frame):
    smaller = trial.drop_lines(["002", "NA"])
    rest = wide_frame[~wide_frame["line"].isin(["002", "NA"])]
    assert cells(smaller) == cells(Trial.from_frame(rest, line="line", env="env", rep="rep"))
    assert smaller.lines == tuple(line for line in trial.lines if line not in ("002", "NA"))
    assert smaller.envs == trial.envs
    assert len(smaller.reps) == smaller.n_records == len(rest)
    assert same(trial.drop_lines([]), trial)
    with pytest.raises(DataError, match="no line 'x', 'y'"):
        trial.drop_lines(["y", "002", "x"])
    with pytest.raises(DataError, match="leaves no trial"):
        trial.drop_lines(trial.lines)


def test_to_frame_and_back(trial):
    frame = trial.to_frame()
    assert list(frame.columns) == ["line", "env", "rep", "Yield", "PH"]
    assert same(Trial.from_frame(frame, line="line", env="env", rep="rep"), trial)
    with pytest.raises(UsageError, match="two columns would be named 'PH'"):
        trial.to_frame(rep="PH")
    plain = Trial(("a", "b"), ("E",), ("rep",), [0, 1], [0, 0], np.ones((2, 1)))
    assert list(plain.to_frame().columns) == ["line", "env", "rep"]


def test_repr_is_short_and_tells_what_is_missing(trial):
    assert repr(trial) == (
        "Trial(6 lines x 2 environments x 2 traits; 22 records, 4.5% of values missing; "
        "0 of 4 environment x trait columns without a value)"
    )


# --- real data --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "traits", "shape", "n_records", "n_missing"),
    [
        ("maize309_mtme", "Yield ASI PH", (309, 3, 3), 927, 0),
        ("wheat250_mtme", "DTHD GRYLD NDVI PTHT", (250, 3, 4), 750, 0),
        ("wheat599", "GY", (599, 4, 1), 2396, 0),
        (
            "barley_steptoe_morex152",
            "amylase diapow hddate lodging malt height protein yield",
            (152, 16, 8),
            2432,
            None,
        ),
        ("gryphon", "BWT TARSUS", (1084, 1, 2), 1084, None),
        ("potato_hancock", "total.yield vine.maturity fry.color", (1318, 6, 3), 2076, None),
        ("belamkar_augmented", "yield", (273, 8, 1), 2700, 9),
        ("toys/MaizeToy", "Yield ASI PH", (30, 3, 3), 90, 0),
        ("toys/WheatToy", "DTHD PTHT", (30, 3, 2), 90, 0),
        ("toys/WheatIranianToy", "DTH DTM", (30, 2, 2), 60, 0),
    ],
)
def test_real_trials(data_file, name, traits, shape, n_records, n_missing):
    path = data_file(f"{name}/pheno.csv")
    trial = read_trial(path, line="line", env="env", traits=traits.split())
    raw = pd.read_csv(path, dtype={"line": str, "env": str})
    assert (len(trial.lines), len(trial.envs), len(trial.traits)) == shape
    assert trial.n_records == n_records == len(raw)
    np.testing.assert_allclose(trial.values, raw[traits.split()].to_numpy(), rtol=1e-14)
    if n_missing is not None:
        assert int(np.isnan(trial.values).sum()) == n_missing


def test_real_trial_with_plots(data_file):
    path = data_file("belamkar_augmented/pheno.csv")
    with pytest.raises(DataError, match="plot identifier"):
        read_trial(path, line="line", env="env", rep="rep", traits="yield")
    trial = read_trial(path, line="line", env="env", rep=["row", "col"], traits="yield")
    assert trial.counts().max() == 20
