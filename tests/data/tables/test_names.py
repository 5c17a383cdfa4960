"""Names that are none or damaged, and columns of names that are no traits."""

from __future__ import annotations

import warnings
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bmtme import DataError, Relationship, Trial, pedigree_relationship, read_relationship, read_trial
from bmtme.cli.main import main
from bmtme.data.relationship.pedigree import pedigree_inverse
from bmtme.data.relationship.pedigree_table import read_pedigree
from bmtme.data.tables.names import find_dates, is_nothing

WORDS = ["unknown", "Unknown", "*", "-9", "?", ".", "-", "--", "0", "0.0", "NA", "n/a", "none", "missing", "-99", ""]


def parents(*rows: tuple[object, object, object]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["id", "sire", "dam"])


def plots(lines: list[object], env: object = "E") -> pd.DataFrame:
    return pd.DataFrame({"line": lines, "env": env, "y": np.arange(len(lines)) + 0.5})


# --- unknown parents --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", WORDS)
def test_words_for_an_unknown_parent(tmp_path, word):
    expected = pedigree_relationship(parents(("P1", None, None), ("P2", None, None), ("K1", "P1", "P2")))
    frame = parents(("P1", word, word), ("P2", word, word), ("K1", "P1", "P2"))
    assert pedigree_relationship(frame).lines == ("P1", "P2", "K1")
    np.testing.assert_array_equal(pedigree_relationship(frame).matrix, expected.matrix)
    assert pedigree_inverse(frame).lines == ("P1", "P2", "K1")
    frame.to_csv(tmp_path / "p.csv", index=False)
    np.testing.assert_array_equal(pedigree_relationship(read_pedigree(tmp_path / "p.csv")).matrix, expected.matrix)


def test_numbers_for_an_unknown_parent():
    numeric = pd.DataFrame({"id": [1, 2, 3], "sire": [-9.0, -9.0, 1.0], "dam": [-9.0, 0.0, 2.0]})
    assert pedigree_relationship(numeric).lines == ("1", "2", "3")


def test_further_codes_for_an_unknown_parent():
    frame = parents(("a", "X", "999"), ("b", "x", "999.0"), ("c", "a", "b"))
    assert pedigree_relationship(frame, missing=["x", 999]).lines == ("a", "b", "c")
    assert pedigree_inverse(frame, missing=["x", 999]).lines == ("a", "b", "c")
    with pytest.raises(DataError, match=r"has the individual 'a' in row 1 .*, a code for unknown parents"):
        pedigree_relationship(frame, missing="a")


@pytest.mark.parametrize("word", ["999", "open", "Bulk", "tbd"])
def test_a_parent_that_may_be_unknown_is_asked_about(word):
    frame = parents(("a", word, None), ("b", word, None))
    words = rf"the parent '{word}' without a row of its own .* missing=\['{word}'\]"
    with pytest.warns(UserWarning, match=words) as told:
        relationship = pedigree_relationship(frame)
    assert relationship.lines == ("a", "b", word)
    assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pedigree_relationship(parents((word, None, None), *frame.itertuples(index=False)))
        pedigree_relationship(frame, missing=word)


def test_a_founder_on_both_sides_may_be_a_code():
    with pytest.raises(DataError, match=r"'u' as a sire .* no row of its own: if it stands for an unknown parent, say"):
        pedigree_relationship(parents(("a", "u", "u"), ("b", "u", "u")))


def test_unknown_parents_in_the_shell(tmp_path, capsys):
    plots(["a", "b", "c"]).to_csv(tmp_path / "y.csv", index=False)
    parents(("a", "u", "u"), ("b", "unknown", "999"), ("c", "a", "b")).to_csv(tmp_path / "p.csv", index=False)
    words = ["check", str(tmp_path / "y.csv"), "--line", "line", "--env", "env", "--traits", "y"]
    words += ["--relationship", str(tmp_path / "p.csv")]
    assert main(words) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Without a row of its own: u; if this stands for unknown parents, name it with --pedigree-missing" in said
    assert "The parent '999' without a row of its own is taken as one individual" in said
    assert "relationship 5 lines" in said  # unknown is none of them
    assert main([*words, "--pedigree-missing", "u,999"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "relationship 3 lines, among them all 3" in said
    assert "nothing strange" in said
    assert main([*words[:-2], "--pedigree-missing", "u"]) == 2
    assert "--pedigree-missing: needs a pedigree" in capsys.readouterr().err


def test_words_for_nothing_are_one_list():
    assert all(is_nothing(word) for word in WORDS if word)
    assert not any(map(is_nothing, ("L0", "-7", "1", "9", "999", "unknown1", "*1", "A-9")))
    with pytest.raises(DataError, match=r"holds '\*' in row 2 .* If '\*' stands for a missing value, say missing='\*'"):
        Trial.from_frame(plots(["a", "b"]).assign(y=[1, "*"]), line="line", env="env", traits="y")


# --- names that a spreadsheet program has damaged ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["3.92752E+12", "3.92752e+12", "3,92752E+12", "1.00E-05", "4e+05", "#NAME?", "####"])
def test_lost_names_are_refused(tmp_path, name):
    frame = plots([name, "L1", name, "L2"])
    words = r"The line column 'line' of the table holds '.*' 2 times, .* make the column text"
    with pytest.raises(DataError, match=words):
        Trial.from_frame(frame, line="line", env="env", traits="y")
    frame.to_csv(tmp_path / "y.csv", index=False)
    words = ["check", str(tmp_path / "y.csv"), "--line", "line", "--env", "env", "--traits", "y"]
    assert main(words) == 3
    square = pd.DataFrame(np.eye(2) + 0.1, index=[name, "a"], columns=[name, "a"])
    with pytest.raises(DataError, match=r"the index of the relationship matrix holds '"):
        Relationship(square)
    square.to_csv(tmp_path / "g.csv")
    with pytest.raises(DataError, match=r"the header of g.csv holds '"):
        read_relationship(tmp_path / "g.csv")
    with pytest.raises(DataError, match=r"The sire column 'sire' of the pedigree holds '"):
        pedigree_relationship(parents(("a", name, None)))


@pytest.mark.parametrize("name", ["2E5", "E12", "1E-3A", "W1E+05B", "12E+05", "A#1", "#1", "1.5E5"])
def test_names_that_only_resemble_them(name):
    assert Trial.from_frame(plots([name, "L1"]), line="line", env="env").lines == (name, "L1")


def test_dates_of_a_workbook_are_named(tmp_path, capsys):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["line", "env", "y"])
    for day in (1, 2, 3):
        book.active.append([datetime(2026, 5, day), "E", day / 2])
    book.save(tmp_path / "ids.xlsx")
    words = r"line column 'line' of ids.xlsx holds 2026-05-01 00:00:00, .* names like 3-1 or MAR1: .* \(cell A2\)"
    with pytest.raises(DataError, match=words):
        read_trial(tmp_path / "ids.xlsx", line="line", env="env")
    assert main(["check", str(tmp_path / "ids.xlsx"), "--line", "line", "--env", "env"]) == 3
    assert "names like 3-1 or MAR1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["1-Mar", "14-32", "3-Dez"], ["1-Mar", "3-Dez"]),
        (["Mar-01", "Sep-02", "B7"], ["Mar-01", "Sep-02"]),
        (["2026-05-01", "2026-05-02 00:00:00", "L1"], ["2026-05-01", "2026-05-02 00:00:00"]),
        (["5/1/2026", "31.12.2026", "L1"], ["5/1/2026", "31.12.2026"]),
        (["392752000000000120000", "392752000000000130000", "392752000000000140000"], []),
        (["3927520000000010", "3927520000000020", "3927520000000130"], None),
        (["MAR-01", "MAR-02", "MAR-99"], []),  # a family
        (["2015-03-12", "2015-03-112"], []),
        (["12/05/07", "1-2", "3/14", "5-11-16"], []),
        (["3927520000000011", "3927520000000020", "3927520000000130"], []),
    ],
)
def test_names_that_look_like_dates(names, found):
    assert find_dates(names) == (names if found is None else found)


def test_dates_of_environments_may_be_meant():
    sowings = ["1-Mar", "15-Apr"]
    assert find_dates(sowings, dated=True) == []
    assert find_dates([*sowings, "14-32"], dated=True) == sowings


def test_dates_are_warned_of_and_found():
    frame = plots(["1-Mar", "2-Mar", "3-40", "3-41"])
    with pytest.warns(UserWarning, match=r"the table: 2 lines with a name such .*\('1-Mar', '2-Mar'\)") as told:
        trial = Trial.from_frame(frame, line="line", env="env")
    assert told[0].filename == __file__
    findings = trial.check().findings
    assert set(findings.loc[findings["kind"] == "damaged name", "line"]) == {"1-Mar", "2-Mar"}


# --- columns that are no traits ---------------------------------------------------------------------------------


def test_labels_are_no_traits(tmp_path: Path):
    frame = pd.DataFrame({"": range(1, 13), "line": [f"L{j}" for j in range(6)] * 2, "env": ["E"] * 6 + ["F"] * 6})
    frame = frame.assign(Rep=1, block_no=[1, 2] * 6, YEAR=2026, Plot_ID=range(101, 113), X=range(12))
    frame = frame.assign(Yield=np.sqrt(range(12)), score=[1, 2, 3] * 4, rowing=[3, 4] * 6)
    frame.to_csv(tmp_path / "y.csv", index=False)
    words = r"The columns '', 'Rep', 'block_no', 'YEAR', 'Plot_ID', 'X' of y.csv are not taken as traits"
    with pytest.warns(UserWarning, match=words) as told:
        trial = read_trial(tmp_path / "y.csv", line="line", env="env")
    assert trial.traits == ("Yield", "score", "rowing")
    assert len(told) == 1
    assert told[0].filename == __file__
    assert read_trial(tmp_path / "y.csv", line="line", env="env", traits=["Rep", "Yield"]).traits == ("Rep", "Yield")
    with pytest.warns(UserWarning, match="are not taken as traits"):
        named = read_trial(tmp_path / "y.csv", line="line", env="YEAR", rep=["Rep", "X"])
    assert "YEAR" not in named.traits
    assert not {"Rep", "X"} & set(named.traits)


def test_a_measured_column_with_such_a_name_is_a_trait():
    frame = plots(["a", "b", "c"]).assign(row=[1.5, 2.0, 3.0], y1=[1, 2, 3])
    assert Trial.from_frame(frame, line="line", env="env").traits == ("y", "row", "y1")
