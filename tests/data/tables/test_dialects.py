"""Texts separated by tabs, commas or blanks, and R's header that is one cell short."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from bmtme import DataError, read_markers, read_pedigree, read_relationship, read_trial
from bmtme.cli.main import main
from bmtme.data.tables.texts import read_rows
from tests.helpers.markers import codes_of

#: As R writes them: row names and texts in quotes.
TABLE = {
    "write.table": '"line" "env" "Yield"\n"1" "L 1" "V1" 5.5\n"2" "L2" "V1" NA\n"3" "L2" "V2" 6.25\n',
    "write.table(quote = FALSE, row.names = FALSE)": "line env Yield\nL_1 V1 5.5\nL2 V1 NA\nL2 V2 6.25\n",
    "write.table(sep = tab)": '"line"\t"env"\t"Yield"\n"1"\t"L 1"\t"V1"\t5.5\n"2"\t"L2"\t"V1"\tNA\n'
    '"3"\t"L2"\t"V2"\t6.25\n',
    "write.table(sep = comma)": '"line","env","Yield"\n"11","L 1","V1",5.5\n"2","L2","V1",NA\n"7","L2","V2",6.25\n',
    "write.csv": '"","line","env","Yield"\n"1","L 1","V1",5.5\n"2","L2","V1",NA\n"3","L2","V2",6.25\n',
    "aligned": "line   env  Yield\n L_1   V1    5.5\n L2    V1     NA\n L2    V2   6.25   \n",
}


def write(folder: Path, text: str, name: str = "p.txt") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("how", TABLE)
@pytest.mark.parametrize("name", ["p.txt", "p.csv", "p.tsv", "p.dat", "p"])
def test_a_table_is_the_same_however_r_wrote_it(tmp_path, how, name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trial = read_trial(write(tmp_path, TABLE[how], name), line="line", env="env", traits="Yield")
    assert [line.replace("_", " ") for line in trial.lines] == ["L 1", "L2"]
    assert trial.envs == ("V1", "V2")
    np.testing.assert_array_equal(trial.values[:, 0], [5.5, np.nan, 6.25])


MATRIX = {
    "write.table": '"a b" "c"\n"a b" 1.5 0.25\n"c" 0.25 2\n',
    "write.table(quote = FALSE, sep = tab)": "a b\tc\na b\t1.5\t0.25\nc\t0.25\t2\n",
    "write.table(sep = comma)": '"a b","c"\n"a b",1.5,0.25\n"c",0.25,2\n',
    "write.csv": '"","a b","c"\n"a b",1.5,0.25\n"c",0.25,2\n',
    "write.table(col.names = NA)": '"" "a b" "c"\n"a b" 1.5 0.25\n"c" 0.25 2\n',
}


@pytest.mark.parametrize("how", MATRIX)
@pytest.mark.parametrize("name", ["g.txt", "g.csv", "g.tsv"])
def test_a_matrix_is_the_same_however_r_wrote_it(tmp_path, how, name):
    path = write(tmp_path, MATRIX[how], name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        relationship = read_relationship(path)
    assert relationship.lines == ("a b", "c")
    np.testing.assert_array_equal(relationship.matrix, [[1.5, 0.25], [0.25, 2.0]])
    assert main(["grm", str(path), "--matrix", "--out", str(tmp_path / "out.csv")]) == 0
    np.testing.assert_array_equal(read_relationship(tmp_path / "out.csv").matrix, relationship.matrix)


def test_markers_and_pedigrees_too(tmp_path):
    markers = read_markers(write(tmp_path, '"m1" "m2"\n"a" 0 1\n"b" 2 NA\n'))
    assert markers.lines == ("a", "b")
    assert markers.names == ("m1", "m2")
    np.testing.assert_array_equal(codes_of(markers), [[0, 1], [2, np.nan]])
    frame = read_pedigree(write(tmp_path, '"id" "sire" "dam"\n"1" "a" 0 0\n"2" "b" "a" NA\n'))
    assert frame.to_numpy().tolist() == [["a", "0", "0"], ["b", "a", "NA"]]


def test_quotes_between_blanks(tmp_path):
    text = '"x" y "z"\n"say \\"so\\"" "" "b""b"\n\n  1"2   \u00e9\u00a0e  \'q\'\n'
    rows = list(read_rows(write(tmp_path, text)))
    assert rows == [
        (1, ["x", "y", "z"]),
        (2, ['say "so"', "", 'b"b']),
        (4, ['1"2', "\u00e9\u00a0e", "'q'"]),  # a no-break space is part of a name
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('line env y\n"a V1 5\n', r"p.txt cannot be split into cells at row 2: a quote does not close before a blank"),
        (
            "line env y\nIR 64 V1 5\n",
            r"4 cells in row 2 but 3 in its header.*put names with a blank into double quotes",
        ),
        ("line env y\n1 a V1 5\n1 b V1 6\n", r"as if R had written .* but '1' in row 3 stands there twice: name every"),
        (
            "line env y\n1 a V1 5\nx b V1 6\n",
            r"as if R had written .* but 'x' in row 3 is no number: name every column",
        ),
        (
            "line,env,y\na,V1,5,\nb,V1,6,\n",
            r"4 cells in row 2 but 3 in its header, as the row ends with a comma more: ",
        ),
        ("line\tenv\ty\na\tV1\t5\t\t\n", r"as the row ends with a tab more: take such tabs away, or add them to the"),
        ("line env y\na V1\n", r"2 cells in row 2 but 3 in its header: every row needs as many as the header.$"),
    ],
)
def test_rows_that_do_not_fit_the_header(tmp_path, capsys, text, words):
    path = write(tmp_path, text)
    with pytest.raises(DataError, match=words) as raised:
        read_trial(path, line="line", env="env", traits="y")
    assert main(["check", str(path), "--line", "line", "--env", "env", "--traits", "y"]) == 3
    assert str(raised.value) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            b"PK\x03\x04\x14\xff",
            "p.csv is not UTF-8 text .byte 0xff.: by its first bytes it is an archive, as an Excel",
        ),
        (b"PAR1\xff\xff", "by its first bytes it is a Parquet file, which needs the ending .parquet"),
        (b"\xff\xfel\x00i\x00n\x00e\x00", "text in UTF-16, as Excel's Unicode text is: save it as CSV UTF-8"),
        (b"X\n\x00\x00\x00\x03\x00\x04", "holds a zero byte in row 2: by its first bytes it is an object of R: write"),
    ],
)
def test_files_under_a_wrong_ending(tmp_path, content, words):
    (tmp_path / "p.csv").write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_trial(tmp_path / "p.csv", line="line", env="env")
