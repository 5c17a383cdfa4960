"""Phenotypes as they come: missing codes, decimal commas, Excel, Parquet; from Python and from the shell."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bmtme.cli.main import main
from bmtme.data.tables.cells import NumberFormat, number
from bmtme.data.trial import Trial, read_trial
from bmtme.errors import DataError, UsageError
from bmtme.words import blur_name

COLUMNS = {"line": "line", "env": "env"}


def write(folder: Path, text: str, name: str = "pheno.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def values(trial: Trial) -> list[float]:
    return trial.values[:, 0].tolist()


# --- missing codes and decimals ---------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["-9", -9, ["-9"], [-9.0], ["x", "-9.00"], ("-9", ".")])
def test_missing_codes(tmp_path, missing):
    path = write(tmp_path, "line,env,y\n-9,E,1\nb,E,-9\nc,-9,-9.0\nd,E,-90\n")
    trial = read_trial(path, **COLUMNS, missing=missing)
    assert trial.lines == ("-9", "b", "c", "d")  # a code for values only
    assert trial.envs == ("E", "-9")
    np.testing.assert_array_equal(values(trial), [1, np.nan, np.nan, -90])
    frame = pd.read_csv(path, dtype={"line": str, "env": str})
    np.testing.assert_array_equal(values(Trial.from_frame(frame, **COLUMNS, missing=missing)), values(trial))


def test_missing_codes_that_are_words(tmp_path):
    path = write(tmp_path, "line,env,y\na,E,1\nb,E,n.d.\nc,E,N.D.\nd,E,.\ne,E,2\n")
    np.testing.assert_array_equal(values(read_trial(path, **COLUMNS, missing="n.d.")), [1, np.nan, np.nan, np.nan, 2])
    with pytest.raises(
        DataError, match=r"holds 'n\.d\.' in row 3: expected a number, or an empty cell, NA, NaN, \., -"
    ):
        read_trial(path, **COLUMNS, traits="y", missing="-")


def test_long_table_with_codes_and_commas(tmp_path):
    path = write(tmp_path, "line;env;trait;value\na;E;Y;1,5\nb;E;Y;-9\nc;E;Y;2\n")
    trial = read_trial(path, **COLUMNS, trait="trait", value="value", missing=-9, decimal=",")
    np.testing.assert_array_equal(values(trial), [1.5, np.nan, 2])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "line;env;y\na;E;1,5\nb;E;-2,25\nc;E;3\n"),
        ("b.txt", "line;env;y\na;E;1,5\nb;E;-2,25\nc;E;3\n"),
        ("c.tsv", "line\tenv\ty\na\tE\t1,5\nb\tE\t-2,25\nc\tE\t3\n"),
        ("d.csv", 'line,env,y\na,E,"1,5"\nb,E,"-2,25"\nc,E,3\n'),
        ("e.csv", 'line;env;y\na;E;"1,5"\nb;E;"-2,25"\nc;E;"+3,"\n'),
    ],
)
def test_decimal_commas(tmp_path, name, text):
    assert values(read_trial(write(tmp_path, text, name), **COLUMNS, decimal=",")) == [1.5, -2.25, 3]


@pytest.mark.parametrize(
    ("cell", "decimal", "words"),
    [
        ("1.5", ",", r"holds '1\.5' \(write decimals with a comma\) in row 3: .* say decimal='\.' \(the default\)\."),
        ("8,818", ".", r"holds '8,818' .* A sign that separates thousands has to be left out; decimal commas need"),
        ("1,234.5", ".", r"holds '1,234.5' in row 3: .* A sign that separates thousands has to be left out"),
        ("1,5", ".", r"holds '1,5' \(write decimals with a point\) in row 3: .* say decimal=',' \(in the shell"),
        ("1.234,5", ",", r"holds '1\.234,5' in row 3"),
        ("1,234,5", ",", r"holds '1,234,5' in row 3"),
        ("1,234,567", ".", r"holds '1,234,567' in row 3"),
    ],
)
def test_wrong_decimals_are_named(tmp_path, cell, decimal, words):
    path = write(tmp_path, f"line\tenv\ty\na\tE\t1\nb\tE\t{cell}\n", "p.tsv")
    with pytest.raises(DataError, match=words):
        read_trial(path, **COLUMNS, traits="y", decimal=decimal)


def test_semicolons_with_points_are_told_how_to_be_read(tmp_path):
    with pytest.raises(DataError, match=r"by semicolons; .*phenotypes with decimal commas can be read .* decimal=','"):
        read_trial(write(tmp_path, "line;env;y\na;E;1,5\n"), **COLUMNS)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"decimal": ";"}, r"decimal must be '\.' or ',', got ';'"),
        ({"missing": ["-9", " "]}, "missing names an empty code"),
        ({"sheet": "x"}, r"sheet 'x' was named, but pheno.csv is no Excel workbook"),
    ],
)
def test_bad_keywords(tmp_path, given, words):
    with pytest.raises(UsageError, match=words):
        read_trial(write(tmp_path, "line,env,y\na,E,1\nb,E,1\n"), **COLUMNS, **given)


def test_number_formats():
    comma = NumberFormat(",", ("-9",))
    assert number("1,5", comma) == 1.5
    assert np.isnan(number("-9,0", comma))
    assert np.isnan(number(-9, comma))
    assert number(1.5, comma) == 1.5  # a number is a number
    assert number("1e3", comma) == 1000
    assert comma.missing_words == "an empty cell, NA, NaN, ., -9"


def test_blurred_names():
    assert blur_name("W 001-011") == blur_name("w1_11") == blur_name(" W1/11")
    assert blur_name("W1-11") != blur_name("W11-1")
    assert blur_name("W1-11") != blur_name("W111")
    assert blur_name("L.10") != blur_name("L.1")
    assert blur_name("0") == blur_name("00") != blur_name("O")
    assert blur_name("A\u00a01") == blur_name("A1")
    assert blur_name("--") == "--"


# --- Excel ------------------------------------------------------------------------------------------------------


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
    with pytest.raises(DataError, match=r"trait column 'y' of field.xlsx holds 'low' in row 5"):
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
        ([HEADER, ["a", "E", 1, "note"]], r"has 'note' in row 2, column 4, but its header has 3 columns"),
        ([["line", "env", "y", "y"], ["a", "E", 1, 1]], "two columns named 'y'"),
        ([HEADER, ["a", "E", "#REF!"]], r"has the error #REF! in cell C2"),
        ([HEADER, [1.5, "E", 1]], r"line column 'line' of field.xlsx holds 1.5, which is no whole number.* \(row 2\)"),
        ([HEADER, ["a", date(2020, 1, 1), 1]], "neither text nor a whole number"),
        ([HEADER], "field.xlsx has no records"),
        ([], "no visible sheet with anything in it"),
    ],
)
def test_bad_excel(workbook, rows, words):
    with pytest.raises(DataError, match=words):
        read_trial(workbook(rows), **COLUMNS, traits="y")


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


# --- Parquet ----------------------------------------------------------------------------------------------------


def test_parquet(tmp_path):
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame(
        {"line": ["001", "NA", "x"], "env": pd.array([2015, None, 2016], "Int64"), "y": [1.5, None, -9]}
    )
    path = tmp_path / "pheno.parquet"
    frame.to_parquet(path)
    with pytest.raises(DataError, match=r"env column 'env' of pheno.parquet is empty in row 2"):
        read_trial(path, **COLUMNS)
    frame["env"] = frame["env"].fillna(2**53 + 1)  # a number that no float holds
    frame.to_parquet(path)
    trial = read_trial(path, **COLUMNS)
    assert trial.lines == ("001", "NA", "x")
    assert trial.envs == ("2015", "9007199254740993", "2016")
    np.testing.assert_array_equal(values(trial), [1.5, np.nan, -9])
    frame.set_index("line").to_parquet(path)  # an index is a column like others
    assert read_trial(path, **COLUMNS, traits="y").lines == ("001", "NA", "x")
    path.write_bytes(b"PAR1 rubbish PAR1")
    with pytest.raises(DataError, match=r"pheno.parquet is no Parquet file, or a damaged one"):
        read_trial(path, **COLUMNS)
    with pytest.raises(DataError, match=r"none.parquet cannot be read: No such file"):
        read_trial(tmp_path / "none.parquet", **COLUMNS)


def test_damaged_parquet(tmp_path):
    """Whatever byte is wrong, the file is read or refused by name; some columns show it only when they are used."""
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"line": [f"L{j}" for j in range(8)], "env": "E", "y": np.arange(8.0)})
    frame.to_parquet(tmp_path / "whole.parquet")
    content = (tmp_path / "whole.parquet").read_bytes()
    refused = []
    for place in range(0, len(content), 11):
        (tmp_path / "p.parquet").write_bytes(content[:place] + b"\xe2" + content[place + 1 :])
        try:
            read_trial(tmp_path / "p.parquet", **COLUMNS, traits="y")
        except DataError as error:
            refused.append(str(error))
    assert len(refused) > 20
    assert all("p.parquet" in message for message in refused)


@pytest.mark.parametrize(
    ("name", "module", "extra"), [("p.xlsx", "openpyxl", "excel"), ("p.parquet", "pyarrow", "parquet")]
)
def test_library_that_is_not_installed(tmp_path, monkeypatch, name, module, extra):
    (tmp_path / name).write_bytes(b"")
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, f"{module}.parquet", None)
    with pytest.raises(UsageError, match=rf"reading {name} needs the Python library {module}.*bmtme\[{extra}\]"):
        read_trial(tmp_path / name, **COLUMNS)


# --- the shell --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [["--missing", "-9,x"], ["--missing=-9,x"], ["--missing", "-9", "--missing", "x"]])
def test_options(tmp_path, capsys, given):
    path = write(tmp_path, "line;env;y\na;E;1,5\nb;E;-9\nc;E;x\nd;E;4,5\ne;E;5\n")
    words = ["check", str(path), "--line", "line", "--env", "env", "--traits", "y", "--decimal", ",", *given]
    assert main(words) == 0
    captured = capsys.readouterr()
    assert "5 records; 40.0% of their values missing" in captured.out
    assert captured.err == ""


@pytest.mark.parametrize("command", ["fit", "cv"])
def test_fit_and_cv_read_the_same(tmp_path, capsys, command):
    path = write(tmp_path, "line;env;y\na;E;1,5\nb;E;-9\n")
    words = [command, str(path), "--relationship", "identity", "--line", "line", "--env", "env", "--traits", "y"]
    words += ["--out", str(tmp_path / "run")]
    assert main([*words, "--decimal", ",", "--missing", "-9"]) == 3
    assert "values for one line only" in capsys.readouterr().err
    assert main([*words, "--decimal", "x"]) == 2
    assert "argument --decimal: invalid choice: 'x'" in capsys.readouterr().err
    assert main([*words, "--missing", "a,,b"]) == 2
    assert "argument --missing: a name is empty in 'a,,b'" in capsys.readouterr().err
    assert main([*words, "--sheet", "x"]) == 2
    assert "is no Excel workbook" in capsys.readouterr().err
