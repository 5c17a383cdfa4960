"""Blocks of the records: read, kept and refused."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bmtme import DataError, Trial, UsageError, read_trial
from bmtme.data.order import sort_trial
from bmtme.data.selection import take_trait

ROWS = [
    ("b", "E1", "R1", "1", 3.0, 1.0),
    ("a", "E1", "R1", "2", 1.0, 2.0),
    ("a", "E1", "R2", "1", 2.0, 5.0),
    ("b", "E2", "R1", "", 4.0, 4.0),
    ("c", "E1", "R2", "2", 7.0, 3.0),
]
FRAME = pd.DataFrame(ROWS, columns=["line", "env", "rep", "block", "y", "z"])
COLUMNS = {"line": "line", "env": "env"}
SEVERAL = ["block", "rep:block"]


def read(frame=FRAME, **settings):
    return Trial.from_frame(frame, **COLUMNS | {"traits": ["y", "z"], "rep": "rep", "blocks": SEVERAL} | settings)


def test_blocks_stay_with_their_records(tmp_path):
    trial = read()
    assert trial.blocks == {"block": ("1", "2", "1", "", "2"), "rep:block": ("R1:1", "R1:2", "R2:1", "", "R2:2")}
    for copied in (pickle.loads(pickle.dumps(trial)), copy.deepcopy(trial), replace(trial)):
        assert copied.blocks == trial.blocks
    assert trial.hide(np.zeros((5, 2), bool)).blocks == trial.blocks
    assert trial.drop_lines(["a"]).blocks["block"] == ("1", "", "2")
    assert take_trait(trial, 1, np.array([True, False])).blocks["block"] == ("1", "2", "1", "2")
    ordered, places = sort_trial(trial)
    assert places.tolist() == [1, 2, 0, 3, 4]
    assert ordered.blocks["rep:block"] == ("R1:2", "R2:1", "R1:1", "", "R2:2")
    assert trial.to_frame()["block"].tolist() == ["1", "2", "1", "", "2"]
    FRAME.to_csv(tmp_path / "p.csv", index=False)
    assert read_trial(tmp_path / "p.csv", rep="rep", traits=["y"], blocks="block", **COLUMNS).blocks == {
        "block": trial.blocks["block"]
    }


def test_plots_of_a_line_are_put_in_order_by_their_blocks():
    """Not by their values, of which a cross-validation hides some."""
    trial = read(FRAME.assign(line=list("aaaab"), env="E1", rep="1", block=list("32154")), blocks=["block"])
    _, places = sort_trial(trial)
    _, hidden = sort_trial(trial.hide(np.arange(5)[:, None] == [2, 2]))
    assert places.tolist() == hidden.tolist() == [2, 1, 0, 3, 4]


def test_a_long_table():
    long = FRAME.melt(["line", "env", "rep", "block"], ["y", "z"])
    trial = Trial.from_frame(long, **COLUMNS, rep="rep", trait="variable", value="value", blocks=["block"])
    assert trial.blocks["block"] == ("1", "2", "1", "", "2")
    np.testing.assert_array_equal(trial.values, read().values)


def test_blocks_tell_plots_apart():
    twice = FRAME.assign(line=["b", "b", "a", "b", "c"], rep="R1")
    assert read(twice, blocks=["block"]).n_records == 5
    with pytest.raises(DataError, match="line 'b' in environment 'E1' with rep 'R1' twice"):
        read(twice, blocks=None)


def test_columns_of_rep_that_are_blocks_are_no_replicates():
    assert read(blocks=None).replicates == read(blocks=["block"]).replicates == ("R1", "R1", "R2", "R1", "R2")
    assert read(blocks=["rep"]).replicates is None
    assert read(rep=["rep", "block"], blocks=["block"]).replicates == ("R1", "R1", "R2", "R1", "R2")
    assert read(rep=["rep", "block"], blocks=["rep:block"]).replicates == ("R1", "R1", "R2", "R1", "R2")
    assert read(rep=["rep", "block"], blocks=["rep", "block"]).replicates is None
    assert read(rep=["rep", "block"], blocks=None).replicates[3] == "R1:"
    assert read(rep=None, blocks=["block"]).replicates is None


def test_a_numeric_block_is_no_trait():
    frame = FRAME.assign(block=[1, 2, 1, np.nan, 2])
    assert read(frame, traits=None, blocks=["block"]).traits == ("y", "z")
    assert read(frame, blocks=["block"]).blocks["block"] == ("1", "2", "1", "", "2")


@pytest.mark.parametrize(
    ("blocks", "error", "words"),
    [
        ("blok", DataError, "no column 'blok', given as the blocks column. Did you mean 'block'"),
        ("rep:blok", DataError, "no column 'blok'"),
        (["block", "block"], UsageError, "blocks= names 'block' twice"),
        ("env", DataError, "'env' is given both as env and as blocks"),
        ("y", DataError, "'y' is given both as blocks and as trait"),
        (3, UsageError, "blocks must be a name or a list of names, got 3"),
    ],
)
def test_bad_names(blocks, error, words):
    with pytest.raises(error, match=words):
        read(blocks=blocks)


@pytest.mark.parametrize(
    ("blocks", "words"),
    [
        (["1"], "blocks must be a dict"),
        ({"": ["1"] * 5}, "blocks holds the factor ''"),
        ({"block": ["1"]}, r"blocks\['block'\] must hold one text per record: expected 5, got 1"),
        ({"block": [1] * 5}, r"blocks\['block'\] must hold one text per record"),
    ],
)
def test_bad_labels(blocks, words):
    with pytest.raises(DataError, match=words):
        replace(read(), blocks=blocks)
