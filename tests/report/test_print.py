"""Pages on paper: what is split, and what is broken within a word."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from bmtme.report.html.content import Column, Page, Prose, Section, Table
from bmtme.report.html.page import render
from tests.helpers.browsing import browse, read_page


def make_table(rows: int, *, long: bool = False, word: str = "unstructured") -> Table:
    """A table with words that a narrow column would break."""
    columns = [Column("environment"), Column("heritability", number=True), Column("note")]
    text = "uncertain, with an interval that fills its column and all that is left of the line of a sheet of paper"
    return Table(columns, [[f"{word} {n}", f"0.{n}", text] for n in range(rows)], long=long)


def test_which_tables_fit_without_a_break_within_a_word() -> None:
    assert make_table(3).fits
    assert not make_table(3, word="x" * 90).fits
    assert make_table(30, long=True).fits
    # Of a long one, the rows that are printed count.
    table = make_table(30, long=True)
    for place, fits in ((24, False), (25, True)):
        rows = [["x" * 200 if n == place else row[0], *row[1:]] for n, row in enumerate(table.rows)]
        assert Table(table.columns, rows, long=True).fits == fits
    # Numbers stay in one line; eleven columns are printed smaller.
    wide = [Column(f"c{k}", number=True) for k in range(11)]
    assert Table(wide, [["1.5 (0.5)"] * 11]).fits
    assert not Table(wide[:10], [["1.5 to 5.5"] * 10]).fits
    assert Table([Column("c")] * 10, [["1.5 to 5.5"] * 10]).fits


def test_a_check_is_printed_wherever_it_stands() -> None:
    table = replace(make_table(40, long=True), marked=frozenset({3, 30, 35}), kept=frozenset({30}))
    page = read_page(render(Page("kind", "name", "lead", [], [Section("one", "One", [table])])))
    classes = [values.get("class") for tag, values in page.elements if tag == "tr"][1:]
    assert [n for n, each in enumerate(classes) if each is None or "more" not in each] == [*range(25), 30]
    assert [n for n, each in enumerate(classes) if each is not None and "marked" in each] == [3, 30, 35]
    assert "On paper: the first 25 of 40 rows, and the check." in page.texts


@pytest.mark.parametrize("before", [14, 25])
def test_on_paper(before: int, tmp_path: Path) -> None:
    """A long table goes over to the next sheet, with its heading and with some rows on each; short ones do not."""
    if shutil.which("pdftotext") is None:
        pytest.skip("no pdftotext")
    lead = Prose([f"line {n}" for n in range(before)])  # so that the table begins near the end of a sheet
    long, short = make_table(40, long=True, word="long"), make_table(12, word="short")
    page = Page("kind", "name", "lead", [], [Section("one", "One", [lead, long]), Section("two", "Two", [short] * 3)])
    (tmp_path / "page.html").write_text(render(page), encoding="utf-8")
    file = tmp_path / "page.pdf"
    done = browse(tmp_path / "page.html", tmp_path / "user", "--no-pdf-header-footer", f"--print-to-pdf={file}")
    if done is None:
        pytest.skip("no browser")
    text = subprocess.run(["pdftotext", "-layout", file, "-"], capture_output=True, check=True).stdout.decode()
    sheets = text.split("\f")
    rows = [sheet.count("long ") for sheet in sheets]
    assert sum(rows) == 25
    assert sum(count > 0 for count in rows) > 1
    assert all(count == 0 or count >= 4 for count in rows)
    assert [sheet.count("short ") % 12 for sheet in sheets] == [0] * len(sheets)
    headed = [sheet.count("heritability") for sheet in sheets]
    assert headed == [(rows[n] > 0) + sheet.count("short ") // 12 for n, sheet in enumerate(sheets)]
    assert "Made by bmtme" not in text
