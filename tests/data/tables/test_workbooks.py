"""Excel workbooks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bmtme import pedigree_relationship, read_pedigree
from bmtme.cli.main import main
from bmtme.data.trial import read_trial
from bmtme.errors import DataError
from tests.helpers.trials import values

COLUMNS = {"line": "line", "env": "env"}


@pytest.fixture
def workbook(tmp_path: Path) -> Callable[..., Path]:
    """Write rows into sheets of a workbook; a cell may be a pair of a value and a number format."""
    openpyxl = pytest.importorskip("openpyxl")

    def make(rows: list[list[Any]], name: str = "field.xlsx", **more: list[list[Any]]) -> Path:
        book = openpyxl.Workbook()
        for title, body in {"plots": rows, **more}.items():
            sheet = book.active if title == "plots" else book.create_sheet(title)
            sheet.title = title
            for r, cells in enumerate(body, 1):
                for c, cell in enumerate(cells, 1):
                    value, style = cell if isinstance(cell, tuple) else (cell, None)
                    sheet.cell(r, c, value)
                    if style:
                        sheet.cell(r, c).number_format = style
        book.save(tmp_path / name)
        return tmp_path / name

    return make


HEADER = ["line", "env", "y"]


def test_excel(workbook):
    rows = [
        [None, None, None],
        [" line", "env ", "y"],
        ["001", 2015, 1.5],
        [2, 2015.0, None],
        [],
        [(3, "000"), "NA", "NA"],
    ]
    rows += [["NA", 2015, "2.5"], [4, 2015, -9]]
    trial = read_trial(workbook(rows), **COLUMNS, missing=-9)
    assert trial.lines == ("001", "2", "003", "NA", "4")
    assert trial.envs == ("2015", "NA")
    np.testing.assert_array_equal(values(trial), [1.5, np.nan, np.nan, 2.5, np.nan])


def test_excel_rows_are_counted_as_shown(workbook):
    path = workbook([[], HEADER, ["a", "E", 1], [], ["b", "E", "low"]])
    with pytest.raises(DataError, match=r"trait column 'y' of field.xlsx holds 'low' in cell C5"):
        read_trial(path, **COLUMNS, traits="y")


def test_excel_sheets(workbook):
    path = workbook([HEADER, ["a", "E", 1], ["b", "E", 2]], trials=[HEADER, ["c", "E", 1], ["d", "E", 2]], blank=[])
    with pytest.warns(UserWarning, match=r"field.xlsx has more than one sheet: the first, 'plots', is read") as told:
        assert read_trial(path, **COLUMNS).lines == ("a", "b")
    assert [warning.filename for warning in told] == [__file__]
    assert read_trial(path, **COLUMNS, sheet="trials").lines == ("c", "d")
    with pytest.raises(
        DataError, match=r"no sheet 'trails'\. Did you mean 'trials'\? It has 'plots', 'trials', 'blank'"
    ):
        read_trial(path, **COLUMNS, sheet="trails")
    with pytest.raises(DataError, match=r"sheet 'blank' of field.xlsx is empty"):
        read_trial(path, **COLUMNS, sheet="blank")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([HEADER, ["a", "E", "=1+1"]], r"sheet 'plots' of field.xlsx has a formula without its result in cell C2"),
        ([HEADER, ["a", "E", 1, "note"]], r"has 'note' in cell D2, but its header has 3 columns"),
        ([["line", "env", "y", "y"], ["a", "E", 1, 1]], "two columns named 'y'"),
        ([HEADER, ["a", "E", "#REF!"]], r"has the error #REF! in cell C2"),
        (
            [HEADER, [1.5, "E", 1]],
            r"line column 'line' of field.xlsx holds 1.5, which is no whole number.* \(cell A2\)",
        ),
        ([HEADER, ["a", date(2020, 1, 1), 1]], r"'env' .* 2020-01-01 00:00:00, .*names like 3-1 or MAR1.* \(cell B2\)"),
        ([HEADER, ["a", "E", 1], [3927520000001234, "E", 1]], r"holds 3927520000001234, a number of .* \(cell A3\)"),
        ([HEADER, ["a", "E", 1], [None, "E", 1]], r"line column 'line' of field.xlsx is empty in cell A3"),
        ([HEADER, [None, None, "t/ha"], ["a", "E", 1]], r"line column 'line' of field.xlsx is empty in cell A2"),
        ([HEADER, ["-", "-", "t/ha"], ["a", "E", 1]], r"'t/ha' in cell C2: .* If row 2 is part of the header \(units"),
        ([HEADER], "field.xlsx has no records"),
        ([], "no visible sheet with anything in it"),
    ],
)
def test_bad_excel(workbook, rows, words):
    with pytest.raises(DataError, match=words):
        read_trial(workbook(rows), **COLUMNS, traits="y")


def test_cells_far_to_the_right_and_of_pedigrees(workbook):
    header = ["line", "env", *(f"t{k}" for k in range(28))]
    path = workbook([header, ["a", "E", *[1] * 28], ["b", "E", *[1] * 27, "x"]])
    with pytest.raises(DataError, match=r"trait column 't27' of field.xlsx holds 'x' in cell AD3"):
        read_trial(path, **COLUMNS, traits=["t0", "t27"])
    frame = read_pedigree(workbook([["id", "sire", "dam"], ["a", 0, 0], ["b", date(2020, 3, 1), 0]], "ped.xlsx"))
    with pytest.raises(DataError, match=r"sire column 'sire' of the pedigree ped.xlsx holds 2020-03-01 .*\(cell B3\)"):
        pedigree_relationship(frame)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("p.xls", r"a sheet of a format that is not read: save it as .xlsx or as CSV"),
        ("p.RData", r"an object of R: write it with write.csv\(x, 'x.csv', row.names = FALSE\)"),
        ("p.sas7bdat", "a table of a statistics program"),
        ("p.csv.zip", "an archive: unpack it first"),
        ("p.pdf", "no table: export"),
    ],
)
def test_tables_that_are_recognised_and_not_read(tmp_path, capsys, name, words):
    (tmp_path / name).write_bytes(b"\x00")
    with pytest.raises(DataError, match=f"{name} cannot be read as a table: by its ending it is {words}"):
        read_trial(tmp_path / name, **COLUMNS)
    assert main(["check", str(tmp_path / name), "--line", "line", "--env", "env"]) == 3
    assert f"{name} cannot be read as a table: by its ending" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"line,env,y\n", b"PK\x03\x04rubbish", b"\xd0\xcf\x11\xe0 locked"])
def test_file_that_is_no_workbook(tmp_path, content):
    pytest.importorskip("openpyxl")
    (tmp_path / "field.xlsx").write_bytes(content)
    with pytest.raises(DataError, match=r"field.xlsx is no Excel workbook that can be read"):
        read_trial(tmp_path / "field.xlsx", **COLUMNS)
    with pytest.raises(DataError, match=r"none.xlsx cannot be read: No such file"):
        read_trial(tmp_path / "none.xlsx", **COLUMNS)


def test_damaged_workbook(workbook):
    path = workbook([HEADER, ["a", "E", 1], ["b", "E", 2]])
    content = bytearray(path.read_bytes())
    for place in range(40, len(content), 97):
        content[place] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"field.xlsx is no Excel workbook that can be read"):
        read_trial(path, **COLUMNS)
