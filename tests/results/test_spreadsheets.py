"""Tables of results in a workbook, and texts that no spreadsheet program runs; what is loaded is what there was."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bmtme
from bmtme import UsageError
from bmtme.results import spreadsheets
from bmtme.results.spreadsheets import write_tables
from bmtme.results.storage import read_table
from tests.helpers.trials import trial_of

NAMES = [
    "=cmd|' /C calc'!A0",
    "+1",
    "-x",
    "@SUM(A1)",
    "\tt",
    "\rr",
    "'q",
    "plain",
    "a=b",
    "NA",
    "x\r=y",
    "\uff1d1",
    "\x1b[31m",
]


def make_table() -> pd.DataFrame:
    n = len(NAMES)
    return pd.DataFrame(
        {
            "line": NAMES,
            "=trait": ["y"] * n,
            "count": np.arange(n),
            "value": [-1.5, np.nan, np.inf, *np.linspace(-1, 1, n - 3)],
            "ok": [name < "a" for name in NAMES],
        }
    )


def test_texts_that_are_not_run(tmp_path: Path) -> None:
    table = make_table()
    columns = write_tables(tmp_path, {"t": table}, safe_text=True)
    with open(tmp_path / "t.csv", newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file, lineterminator="\n")
    assert header == ["line", "'=trait", "count", "value", "ok"]
    wanted = [name if name in ("plain", "a=b", "NA", "x\r=y", "\x1b[31m") else f"'{name}" for name in NAMES]
    assert [row[0] for row in rows] == wanted
    assert rows[0][3] == "-1.5"  # numbers are none
    assert '"x\r=y"' in (tmp_path / "t.csv").read_bytes().decode()
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.csv", columns["t.csv"]), table)
    # Without the option all is as it is.
    columns = write_tables(tmp_path, {"t": table})
    assert (tmp_path / "t.csv").read_text(encoding="utf-8").splitlines()[1].startswith("=cmd|")
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.csv", columns["t.csv"]), table)


def test_workbook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    monkeypatch.setattr(spreadsheets, "_MOST_ROWS", 8)
    table = make_table()
    write_tables(tmp_path, {"t": table, "none": table.iloc[:0]}, xlsx=True)
    book = openpyxl.load_workbook(tmp_path / "tables.xlsx")
    assert book.sheetnames == ["t", "t 2", "none"]
    cells = [list(row) for title in ("t", "t 2") for row in book[title].iter_rows(min_row=2)]
    assert not [cell for row in cells for cell in row if cell.data_type == "f"]
    # A workbook holds neither control characters nor lone carriage returns.
    assert [row[0].value for row in cells] == [*NAMES[:5], "\nr", *NAMES[6:10], "x\n=y", NAMES[11], "\\x1b[31m"]
    assert [row[2].value for row in cells] == list(range(len(NAMES)))
    values = [row[3].value for row in cells]
    assert values[:3] == [-1.5, None, "inf"]
    np.testing.assert_allclose(values[3:], table["value"][3:], rtol=1e-15)
    assert [row[4].value for row in cells] == table["ok"].tolist()
    assert [cell.value for cell in book["none"][1]] == list(table.columns)


@pytest.mark.filterwarnings("ignore:a short run")
def test_a_fit_comes_back(tmp_path: Path) -> None:
    pytest.importorskip("openpyxl")
    simulation = bmtme.simulate(lines=6, envs=2, traits=1, reps=1, seed=4)
    lines = dict(zip(simulation.relationship.lines, NAMES[:6], strict=True))
    rows = simulation.frame.assign(line=simulation.frame["line"].map(lines))
    rows["line"] = rows["line"].replace({"\tt": "=t", "\rr": "'r"})  # trimmed where tables are read
    relationship = bmtme.Relationship(simulation.relationship.matrix, lines=list(rows["line"].unique()))
    fit = bmtme.fit(trial_of(rows, ["T1"]), relationship, draws=10, tune=5, chains=1)
    fit.save(tmp_path / "run", safe_text=True, xlsx=True)
    assert "\n\"'=cmd|" in (tmp_path / "run" / "predictions.csv").read_text()
    with pytest.raises(UsageError, match=r"xlsx must be True or False, got 'yes'"):
        fit.save(tmp_path / "other", xlsx="yes")  # type: ignore[arg-type]
    again = bmtme.load(tmp_path / "run")
    pd.testing.assert_frame_equal(again.predictions(), fit.predictions())
    again.save(tmp_path / "plain")
    assert "\n=cmd|" in (tmp_path / "plain" / "predictions.csv").read_text()
    assert sorted(path.name for path in (tmp_path / "plain").iterdir()) == [
        "idata.nc",
        "predictions.csv",
        "run.json",
        "summary.csv",
    ]
    # People change a workbook, which is never read back.
    (tmp_path / "run" / "tables.xlsx").write_bytes(b"")
    bmtme.load(tmp_path / "run")


def test_no_library_for_workbooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)
    with pytest.raises(UsageError, match=r"writing tables.xlsx needs the Python library openpyxl"):
        spreadsheets.check_tables(False, True)
