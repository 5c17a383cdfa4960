"""Tables and files that are refused: the message names the place."""

from __future__ import annotations

import gzip

import pandas as pd
import pytest

from bmtme.data.trial import Trial, read_trial
from bmtme.errors import DataError, UsageError
from tests.helpers.tables import WIDE, write
from tests.helpers.trials import same

# --- bad tables -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("abc", r"trait column 'y' of pheno.csv holds 'abc' in row 3: expected a number, or an empty cell, NA"),
        ('"5,3"', r"holds '5,3' \(write decimals with a point\) in row 3"),
        ("1_0", r"holds '1_0' in row 3"),
        ("inf", r"trait column 'y' of pheno.csv holds an infinite value, 'inf', in row 3"),
        ("-Infinity", r"an infinite value, '-Infinity', in row 3"),
        ("1e999", r"an infinite value, '1e999', in row 3"),
    ],
)
def test_bad_value_is_named(tmp_path, cell, words):
    with pytest.raises(DataError, match=words):
        read_trial(write(tmp_path, f"line,env,y\na,E,1\nb,E,{cell}\n"), line="line", env="env", traits=["y"])


def test_rows_are_counted_as_in_the_file(tmp_path):
    text = '\nline,env,note,y\na,E,"two\nlines",1\n\n  \nb,E,,x\n'
    with pytest.raises(DataError, match=r"holds 'x' in row 7"):
        read_trial(write(tmp_path, text), line="line", env="env", traits="y")


@pytest.mark.parametrize(
    ("row", "words"), [(" ,E,1", "line column 'line' of pheno.csv is empty in row 3"), ("b,,1", "env column 'env'")]
)
def test_empty_identifier(tmp_path, row, words):
    with pytest.raises(DataError, match=words):
        read_trial(write(tmp_path, f"line,env,y\na,E,1\n{row}\n"), line="line", env="env")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"line": "Line", "env": "env"}, "no column 'Line', given as the line column. Did you mean 'line'?"),
        ({"line": "line", "env": "evn"}, "no column 'evn', given as the env column. Did you mean 'env'?"),
        ({"line": "line", "env": "env", "rep": "plots"}, "no column 'plots', given as the rep column."),
        ({"line": "line", "env": "env", "traits": ["Yeild"]}, "given as the trait column. Did you mean 'Yield'?"),
    ],
)
def test_unknown_column(tmp_path, asked, words):
    with pytest.raises(DataError) as error:
        read_trial(write(tmp_path, WIDE), **asked)
    assert words in str(error.value)
    assert "Its columns are 'line', 'env', 'Yield', 'PH'" in str(error.value)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"line": "line", "env": "line"}, "'line' is given both as line and as env"),
        ({"line": "line", "env": "env", "rep": "env"}, "'env' is given both as env and as rep"),
        ({"line": "line", "env": "env", "rep": ["PH", "PH"]}, "'PH' is given both as rep and as rep"),
        ({"line": "line", "env": "env", "traits": ["env"]}, "'env' is given both as env and as trait"),
        ({"line": "line", "env": "env", "trait": "PH", "value": "PH"}, "'PH' is given both as trait and as value"),
        ({"line": "line", "env": "env", "traits": ["PH", "PH"]}, "The trait 'PH' is named twice"),
    ],
)
def test_columns_must_differ(tmp_path, asked, words):
    with pytest.raises(DataError, match=words):
        read_trial(write(tmp_path, WIDE), **asked)


def test_no_trait_asked_for(tmp_path):
    with pytest.raises(UsageError, match="names no trait"):
        read_trial(write(tmp_path, WIDE), line="line", env="env", traits=[])


def test_trait_without_a_value(tmp_path):
    path = write(tmp_path, "line,env,y,z\na,E,1,\nb,E,2,NA\n")
    with pytest.raises(DataError, match=r"trait 'z' has no value in pheno.csv"):
        read_trial(path, line="line", env="env", traits=["y", "z"])


@pytest.mark.parametrize("rows", ["a,E,1\na,F,2\n", "a,E,1\nb,E,\n"])
def test_a_single_line(tmp_path, rows):
    with pytest.raises(DataError, match=r"values for one line only: at least two lines"):
        read_trial(write(tmp_path, "line,env,y\n" + rows), line="line", env="env", traits="y")


def test_no_records(tmp_path):
    with pytest.raises(DataError, match=r"pheno.csv has no records"):
        read_trial(write(tmp_path, "line,env,y\n"), line="line", env="env", traits="y")
    with pytest.raises(DataError, match="the table has no records"):
        Trial.from_frame(pd.DataFrame(columns=["line", "env", "y"]), line="line", env="env", traits="y")


# --- files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "pheno.csv is empty"),
        (b"\n\n", "pheno.csv is empty"),
        ("line,env,y\na,Z\xfcrich,1\n".encode("latin-1"), r"pheno.csv is not UTF-8 text \(byte 0xfc\)"),
        (WIDE.encode("utf-16"), "is not UTF-8 text"),
        (b"line,env,y\na,E,1\nb,E\n", "has 2 cells in row 3 but 3 in its header"),
        (b"line,env,y\na,E,1,2\n", "has 4 cells in row 2 but 3 in its header.*write.table"),
        (b"line,env,y,y\na,E,1,2\n", r"two columns named 'y' \(columns 3 and 4\)"),
        (b"line,env,y,,\na,E,1,,\n", "no name in its header for columns 4 and 5"),
        (b'line,env,y\n"a"x,E,1\n', "cannot be split into cells at row 2"),
        (b'line,env,y\na,E,1\n"b,E,1\nc,E,1\n', "cannot be split into cells at row 3"),
        (b"line;env;y\na;E;1\n", "seems to separate its columns by semicolons"),
        (gzip.compress(WIDE.encode(), mtime=0)[:-12], "pheno.csv is a damaged gzip file"),
    ],
)
def test_bad_file(tmp_path, content, words):
    path = tmp_path / "pheno.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_trial(path, line="line", env="env", traits="y")


def test_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"none.csv cannot be read: No such file"):
        read_trial(tmp_path / "none.csv", line="line", env="env")
    with pytest.raises(DataError, match="is a folder: expected a file"):
        read_trial(tmp_path, line="line", env="env")


def test_formats_of_the_same_table(tmp_path):
    expected = read_trial(write(tmp_path, WIDE), line="line", env="env")
    tabs = WIDE.replace(",", "\t")
    quoted = "".join(", ".join(f'"{cell}"' for cell in row.split(",")) + "\r\n" for row in WIDE.splitlines())
    files = {"a.tsv": tabs, "b.txt": tabs, "c.txt": WIDE, "d.csv": "\ufeff" + WIDE, "e.csv": quoted, "f.csv": WIDE[:-1]}
    for name, text in files.items():
        assert same(read_trial(write(tmp_path, text, name), line="line", env="env"), expected), name
    for name in ("g.csv.gz", "h.tsv.gz", "i.csv"):  # what counts is the content, not the ending
        path = tmp_path / name
        path.write_bytes(gzip.compress((tabs if "tsv" in name else WIDE).encode(), mtime=0))
        assert same(read_trial(str(path), line="line", env="env"), expected), name


def test_white_space_is_trimmed(tmp_path):
    path = write(tmp_path, " line ,env, Yield\n a b ,E , 1 \nc, E,2\n")
    trial = read_trial(path, line="line", env="env", traits=[" Yield "])
    assert trial.lines == ("a b", "c")
    assert trial.envs == ("E",)
    assert trial.traits == ("Yield",)
