"""Matrices as rows of row, column and value: ASReml's .giv and .grm, long tables with names, and their inverse flag."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bmtme import DataError, UsageError, pedigree_inverse, pedigree_relationship, read_relationship
from bmtme.cli.main import main

LINES = tuple(f"{'abcdefghij'[j]}{j}" for j in range(10))


@pytest.fixture
def pedigree() -> pd.DataFrame:
    parents = [(0, 0)] * 3 + [(0, 1), (0, 1), (1, 2), (3, 5), (4, 5), (6, 7), (8, 8)]
    rows = [[LINES[j], *("0" if j < 3 else LINES[p] for p in pair)] for j, pair in enumerate(parents)]
    return pd.DataFrame(rows, columns=["id", "sire", "dam"])


@pytest.fixture
def matrix(pedigree) -> np.ndarray:
    return pedigree_relationship(pedigree, separate_sexes=False).matrix


@pytest.fixture
def inverse(pedigree) -> np.ndarray:
    return pedigree_inverse(pedigree, separate_sexes=False).matrix.toarray()


def triples(matrix: np.ndarray, names: list[str] | None = None, separator: str = " ", upper: bool = False) -> str:
    """The lower triangle (and the upper one) without zeros."""
    labels = names or [str(j + 1) for j in range(len(matrix))]
    return "".join(
        separator.join((labels[j], labels[k], repr(float(matrix[j, k])))) + "\n"
        for j in range(len(matrix))
        for k in range(len(matrix) if upper else j + 1)
        if matrix[j, k] != 0
    )


def write(folder: Path, text: str, name: str, ids: str | None = "\n".join(LINES) + "\n") -> Path:
    path = folder / name
    path.write_text(text)
    if ids is not None:
        (folder / f"{name}.id").write_text(ids)
    return path


@pytest.mark.parametrize("head", ["", "!LDET {:.8f} !GROUPSDF 0\n", "# made by hand\n"])
def test_an_inverse_of_asreml_is_inverted(tmp_path, matrix, inverse, head):
    # ASReml writes the determinant of the relationship.
    text = head.format(np.linalg.slogdet(matrix)[1]) + triples(inverse)
    path = write(tmp_path, text, "ped.giv")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        relationship = read_relationship(path)
    assert relationship.lines == LINES
    np.testing.assert_allclose(relationship.matrix, matrix, atol=1e-13)
    assert relationship.notes[0].startswith("inverted: ped.giv holds the inverse of a relationship by its ending; mean")
    out = tmp_path / "out.csv"
    assert main(["grm", str(path), "--matrix", "--out", str(out)]) == 0
    np.testing.assert_allclose(read_relationship(out).matrix, matrix, atol=1e-13)


def test_a_grm_of_asreml_is_not(tmp_path, matrix):
    assert np.array_equal(read_relationship(write(tmp_path, triples(matrix), "ped.grm")).matrix, matrix)
    dense = "".join(" ".join(map(str, matrix[j, : j + 1])) + "\n" for j in range(10))
    assert np.array_equal(read_relationship(write(tmp_path, dense, "dense.grm")).matrix, matrix)


@pytest.mark.parametrize(
    ("name", "head", "separator"),
    [
        ("g.txt", "", " "),
        ("g.csv", "Row,Column,value\n", ","),
        ("g.tsv", "", "\t"),
        ("g.txt", "line1\tline2\tG\n", "\t"),
        ("g.csv", '"ind1","ind2","r"\n', ","),
    ],
)
@pytest.mark.parametrize("upper", [False, True])
def test_rows_with_names(tmp_path, matrix, name, head, separator, upper):
    path = write(tmp_path, head + triples(matrix, list(LINES), separator, upper), name, None)
    relationship = read_relationship(path)
    assert relationship.lines[0] == LINES[0]
    assert np.array_equal(relationship.subset(LINES).matrix, matrix)


@pytest.mark.parametrize("header", ["Ainverse", "Ginv", "A-inv"])
def test_a_header_says_that_it_is_an_inverse(tmp_path, matrix, inverse, header):
    path = write(tmp_path, f"Row,Column,{header}\n" + triples(inverse, list(LINES), ","), "x.csv", None)
    np.testing.assert_allclose(read_relationship(path).subset(LINES).matrix, matrix, atol=1e-13)
    with pytest.warns(UserWarning, match="x.csv: the matrix looks like the inverse"):
        again = read_relationship(path, inverse=False)
    np.testing.assert_allclose(again.subset(LINES).matrix, inverse, atol=1e-13)


def test_an_inverse_that_does_not_say_so(tmp_path, capsys, matrix, inverse):
    path = tmp_path / "inv.csv"
    pd.DataFrame(inverse, LINES, LINES).to_csv(path)
    np.testing.assert_allclose(read_relationship(path, inverse=True).matrix, matrix, atol=1e-13)
    words = ["grm", str(path), "--matrix", "--out", str(tmp_path / "out.csv")]
    assert main([*words, "--inverse"]) == 0
    said = capsys.readouterr()
    assert "inverted: inv.csv holds the inverse of a relationship as was said; mean diagonal" in said.out
    assert not said.err
    np.testing.assert_allclose(read_relationship(tmp_path / "out.csv").matrix, matrix, atol=1e-13)
    assert main([*words[:3], "--out", str(tmp_path / "o.csv")]) == 0
    assert "bmtme grm FILE --matrix --inverse" in capsys.readouterr().err
    assert main(["grm", str(path), "--inverse", "--out", str(tmp_path / "p.csv")]) == 2
    assert "argument --inverse: is for --matrix" in capsys.readouterr().err


def test_a_relationship_by_the_ending_of_an_inverse(tmp_path, capsys, matrix):
    path = write(tmp_path, triples(matrix), "ped.giv")
    with pytest.warns(UserWarning, match=r"ped.giv was taken as the inverse .* by its ending .* looks like an") as told:
        assert not np.allclose(read_relationship(path).matrix, matrix)
    assert told[0].filename == __file__
    assert main(["grm", str(path), "--matrix", "--out", str(tmp_path / "o.csv")]) == 0
    assert "looks like an inverse itself" in capsys.readouterr().err
    assert np.array_equal(read_relationship(path, inverse=False).matrix, matrix)
    write(tmp_path, triples(matrix - 0.9 * np.eye(10) * (matrix > 1)), "bad.giv")
    with pytest.raises(
        DataError, match=r"bad.giv is the inverse of a relationship by its ending, but not positive def"
    ):
        read_relationship(tmp_path / "bad.giv")
    with pytest.raises(UsageError, match="inverse must be True, False or None, got 1"):
        read_relationship(path, inverse=1)


def test_numbers_that_are_names_and_the_identity(tmp_path):
    text = "101 101 1\n205 101 0.5\n205 205 1\n"
    path = write(tmp_path, text, "n.grm", "101\n205\n")
    relationship = read_relationship(path)
    assert relationship.lines == ("101", "205")
    np.testing.assert_array_equal(relationship.matrix, [[1, 0.5], [0.5, 1]])
    assert read_relationship(write(tmp_path, "1 1 1\n2 2 1\n", "i.giv", "b\na\n")).is_identity


@pytest.mark.parametrize(
    ("text", "ids", "words"),
    [
        (
            "1 1 1\n2 1 0.5\n2 2 1\n",
            None,
            r"x.giv has numbers for rows and columns, .* put these into x.giv.id beside it",
        ),
        ("1 1 1\n2 1 0.5\n2 2 1\n", "a\nb\nc\n", r"x.giv has the rows 1 to 2, 2 in all, but x.giv.id names 3 lines"),
        ("1 1 1\n3 3 1\n", "a\nb\n", r"x.giv has the rows 1 to 3, 2 in all, but x.giv.id names 2 lines"),
        ("0 0 1\n1 1 1\n", "a\nb\n", r"x.giv has the rows 0 to 1"),
        ("1 1 1\n2 1 0.5\n", "a\nb\n", r"x.giv has no entry of line 'b' with itself \(1 such lines\)"),
        ("1 1 1\n2 1 .5\n2 1 .5\n2 2 1\n", "a\nb\n", r"x.giv has row '2' and column '1' twice, in row 3 again"),
        ("1 1 1\n2 1 .5\n1 2 .4\n2 2 1\n", "a\nb\n", r"x.giv is not symmetric: .* 'a' and 'b' is 0.4 but .* is 0.5"),
        ("1 1 1\n2 1 x\n2 2 1\n", "a\nb\n", r"x.giv, row 2: the entry of lines 'b' \(row\) and 'a' \(column\) is 'x'"),
        ("1 1 1\n2 1\n", "a\nb\n", r"x.giv has 2 cells in row 2: expected three, row, column and value"),
        ("!LDET 0.5\n1 1 1\n2 2 1.5\n", "a\nb\n", r"logarithm of its determinant is 0.5 \(!LDET\), but it is 0.405465"),
        ("!LDET 0.4 !GROUPSDF 2\n1 1 1\n", "a\nb\n", r"x.giv has rows of genetic groups"),
        ("", "a\n", r"x.giv has no rows"),
    ],
)
def test_bad_files(tmp_path, capsys, text, ids, words):
    path = write(tmp_path, text, "x.giv", ids)
    with pytest.raises(DataError, match=words) as raised:
        read_relationship(path)
    assert main(["grm", str(path), "--matrix", "--out", str(tmp_path / "o.csv")]) == 3
    assert str(raised.value) in capsys.readouterr().err


@pytest.mark.parametrize("header", ["line,a,b", ",a,2", "name,1,2"])
def test_a_square_matrix_of_two_lines_is_no_such_table(tmp_path, header):
    names = header.split(",")[1:]
    path = write(tmp_path, f"{header}\n{names[0]},1,0.5\n{names[1]},0.5,2\n", "g.csv", None)
    assert read_relationship(path).lines == tuple(names)
