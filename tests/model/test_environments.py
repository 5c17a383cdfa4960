"""Plots read by environment: what is left out of a design, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bmtme
from bmtme.data.tables.files import Table
from bmtme.errors import DataError, UsageError
from bmtme.model.environments import Roles, read_environments
from bmtme.model.mixed.terms import quote_name
from bmtme.model.stage_one import Candidate, lay_candidate

FRAME = pd.DataFrame(
    [
        (f"0{j}", env, str(rep), f"b{j // 2}", r, c, float(10 * k + j))
        for env, rep, k, (r, c), j in zip(
            ["A"] * 8 + ["B"] * 8, [1, 2] * 8, range(16), [*np.ndindex(4, 2)] * 2, [0, 1, 2, 3] * 4, strict=True
        )
    ],
    columns=["line", "env", "rep", "block", "row", "col", "y"],
)
ROLES = {"line": "line", "env": "env", "traits": "y", "rep": "rep", "block": "block", "row": "row", "col": "col"}


def read(frame, **changed):
    return read_environments(Table.from_frame(frame), Roles(**{**ROLES, **changed}))


def test_what_is_read():
    frame = FRAME.copy()
    frame.loc[frame["env"] == "B", ["row", "block"]] = np.nan
    frame.loc[5, "y"] = np.nan
    one, two = read(frame)
    assert (one.name, one.rep, one.block, one.row, one.col) == ("A", "rep", "block", "row", "col")
    assert one.extents == ((0, 3), (0, 1))
    assert one.trends == ("row_linear", "col_linear")
    np.testing.assert_allclose(
        one.plots.numbers("row_linear", ""), 2 * frame.loc[:7, "row"].to_numpy(dtype=float) / 3 - 1
    )
    assert (two.block, two.axes) == (None, ("col",))
    assert list(one.recorded) == [0, 1, 2, 3, 4, 6, 7]
    assert one.plots.factor("line", "").levels == ("00", "01", "02", "03")


@pytest.mark.parametrize(
    "change, note",
    [
        ({"block": FRAME["rep"]}, "the block is the replicate: no effects of blocks"),
        ({"block": [str(k) for k in range(16)]}, "a block for each plot: no effects of blocks"),
        ({"rep": "1", "block": "1"}, "the block is one: no effects of blocks"),
    ],
)
def test_no_effects_of_blocks(change, note):
    one, _ = read(FRAME.assign(**change))
    assert one.block is None
    assert one.notes == (note,)


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"row": ["x", *range(15)]},
            r"positions 'row' of the table in environment 'A' have 'x': expected whole numbers",
        ),
        ({"row": [0, 4000, *range(14)]}, r"positions 'row' .* are 7 from 0 to 4000"),
        ({"row": ["1.5", *range(15)]}, r"positions 'row' .* have '1.5': expected whole numbers"),
        ({"row": [str(10**25 + k) for k in range(16)]}, r"positions 'row' .* have '10{25}': expected whole numbers"),
        ({"row": ["1", "01", *range(14)], "col": 1}, r"Two plots .* lie in one place, row 1, col 1: row 1 "),
        ({"row": 1, "col": 1}, r"Two plots of the table in environment 'A' lie in one place, row 1, col 1: row 1 "),
        ({"rep": ["", *["1"] * 15]}, r"The rep column 'rep' of the table is empty in 1 plot .* 'A' \(row 1 "),
        ({"line": ["", *["a"] * 15]}, r"The line column 'line' of the table is empty"),
        ({"y": ["high", *["1"] * 15]}, r"The trait column 'y' of the table holds 'high'"),
        ({"y": np.nan}, r"The trait 'y' has no value in the table"),
    ],
)
def test_contents_that_are_refused(change, message):
    with pytest.raises(DataError, match=message):
        read(FRAME.assign(**change))


def test_positions_are_numbers_however_they_are_written():
    (expected, _), rows = read(FRAME), FRAME["row"].tolist()
    for written in ([f"{r}.0" for r in rows], [f"0{r}" for r in rows], [float(r) for r in rows]):
        found = read(FRAME.assign(row=written))[0]
        assert found.extents == expected.extents
        np.testing.assert_array_equal(found.codes("row"), expected.codes("row"))


def test_roles_that_are_refused():
    with pytest.raises(DataError, match="'rep' is given both as rep and as block"):
        read(FRAME, block="rep")
    with pytest.raises(DataError, match=r"no column 'rows', given as the row column\. Did you mean 'row'"):
        read(FRAME, row="rows")
    with pytest.raises(DataError, match="'y' is named twice"):
        read(FRAME, traits=["y", "y"])
    with pytest.raises(DataError, match="No column of environments is named"):
        read(FRAME, env=None)
    with pytest.raises(DataError, match="row column is named 'units', a word that stands for the plot"):
        read(FRAME.rename(columns={"row": "units"}), row="units")
    with pytest.raises(UsageError, match="names no trait"):
        read(FRAME, traits=[])


def test_use_that_makes_no_sense():
    with pytest.raises(UsageError, match="spatial must be one of 'auto', 'none'"):
        bmtme.adjust(FRAME, "line", "env", "y", spatial="sometimes")
    with pytest.raises(UsageError, match="spatial='ar1' needs the positions of plots"):
        bmtme.adjust(FRAME, "line", "env", "y", spatial="ar1")
    with pytest.raises(UsageError, match="plots must be a DataFrame or the name of a file"):
        bmtme.adjust([1, 2], "line", "env", "y")


def test_a_trait_that_an_environment_has_not():
    frame = FRAME.assign(z=FRAME["y"])
    frame.loc[frame["env"] == "B", "z"] = np.nan
    one, two = read(frame, traits=["y", "z"])
    assert (one.traits, two.traits) == (("y", "z"), ("y",))


@pytest.mark.parametrize("role", ["line", "rep", "block", "row", "traits"])
@pytest.mark.parametrize("name", ["grain.yield", "1st", "a b (x+y)", "C", "lambda", "log"])
def test_odd_names(role, name):
    old = ROLES[role]
    (environment,) = read(FRAME[FRAME["env"] == "A"].rename(columns={old: name}), **{role: name})
    candidate = Candidate("rows_cols", (quote_name(environment.row),))
    laid = lay_candidate(environment, candidate, environment.traits)
    assert laid.layout.columns.matrix.shape == (8, 8)
    assert [design.name for design in laid.layout.random] == [
        f"{quote_name(environment.rep)}:{quote_name(environment.block)}",
        quote_name(environment.row),
    ]
