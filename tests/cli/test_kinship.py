"""A pedigree in place of a matrix: the relationship that is computed from it, its options, and lines without a row."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bmtme import DataError, UsageError, pedigree_inverse, pedigree_relationship
from bmtme.cli import cv, fit
from bmtme.cli.arguments import Parser
from bmtme.cli.inputs import read_inputs
from bmtme.cli.main import main
from bmtme.data.relationship.matrix import Relationship

LINES = ("a", "b", "c", "d", "e")
ROWS = [("p1", "0", "NA", 0), ("a", "p1", "p2", 4), ("b", "p1", "a", 0), ("c", "b", "a", 2), ("d", "d1", "unknown", 1)]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    rows = [(line, env, k + 0.5 * j) for k, env in enumerate("EF") for j, line in enumerate(LINES)]
    pd.DataFrame(rows, columns=["line", "env", "y"]).to_csv(tmp_path / "y.csv", index=False)
    pd.DataFrame(ROWS, columns=["id", "sire", "dam", "F"]).to_csv(tmp_path / "ped.csv", index=False)
    return tmp_path


def relationship_of(files: Path, *words: str, command: str = "fit") -> Relationship:
    """The relationship that a command fits with these options."""
    parser = Parser(prog="bmtme")
    {"fit": fit, "cv": cv}[command].add_command(parser.add_subparsers())
    data = [str(files / "y.csv"), "--line", "line", "--env", "env", "--traits", "y", "--out", "x"]
    args: argparse.Namespace = parser.parse_args([command, *data, *words])
    args.check(args)
    return read_inputs(args).relationship


@pytest.mark.parametrize("command", ["fit", "cv"])
def test_the_relationship_of_a_pedigree(files, command):
    words = ["--relationship", str(files / "ped.csv"), "--founders"]
    frame = pd.DataFrame(ROWS, columns=["id", "sire", "dam", "F"]).astype(str)
    expected = pedigree_relationship(frame, separate_sexes=False, founders=LINES)
    found = relationship_of(files, *words, command=command)
    assert found.lines == expected.lines == ("p1", "a", "b", "c", "d", "p2", "d1", "e")
    np.testing.assert_array_equal(found.matrix, expected.matrix)
    e = found.index(["e"])[0]
    np.testing.assert_array_equal(found.matrix[e], np.eye(8)[e])
    for selfing, text in (("F", "F"), (3, "3")):
        selfed = pedigree_relationship(frame, separate_sexes=False, selfing=selfing, founders=LINES)
        assert not np.array_equal(selfed.matrix, expected.matrix)
        found = relationship_of(files, *words, "--selfing", text, command=command)
        np.testing.assert_array_equal(found.matrix, selfed.matrix)


@pytest.mark.parametrize("name", ["ped.csv", "ped.txt", "ped.tsv"])
def test_columns_by_other_names(files, name):
    frame = pd.DataFrame(ROWS, columns=["Line", "female", "male", "F"])
    separator = {".csv": ",", ".txt": " ", ".tsv": "\t"}[Path(name).suffix]
    frame.to_csv(files / name, index=False, sep=separator)
    columns = ["--pedigree-columns", "Line,female,male", "--pedigree-missing", "p2"]
    found = relationship_of(files, "--relationship", str(files / name), *columns, "--founders")
    assert found.lines == ("p1", "a", "b", "c", "d", "d1", "e")
    with pytest.raises(
        DataError, match=f"{name} has the columns 'female', 'male', as a pedigree: .*--pedigree-columns"
    ):
        relationship_of(files, "--relationship", str(files / name))


def test_founders(files, capsys):
    frame = pd.DataFrame(ROWS, columns=["id", "sire", "dam", "F"])
    plain = pedigree_relationship(frame, separate_sexes=False)
    more = pedigree_relationship(frame, separate_sexes=False, founders=["e", "a", "p2", " new "])
    assert more.lines == (*plain.lines, "e", "new")
    np.testing.assert_array_equal(more.subset(plain.lines).matrix, plain.matrix)
    np.testing.assert_array_equal(more.subset(["e", "new"]).matrix, np.eye(2))
    inverse = pedigree_inverse(frame, separate_sexes=False, founders=["e", "new"])
    assert inverse.lines == more.lines
    np.testing.assert_allclose(inverse.matrix.toarray() @ more.matrix, np.eye(len(more)), atol=1e-12)
    with pytest.raises(UsageError, match="founders must hold names of lines, got 7"):
        pedigree_relationship(frame, separate_sexes=False, founders=["e", 7])

    words = ["check", str(files / "y.csv"), "--line", "line", "--env", "env", "--traits", "y"]
    words += ["--relationship", str(files / "ped.csv")]
    assert main(words) == 3
    assert "1 of 5 lines with records has no relationship: e." in " ".join(capsys.readouterr().out.split())
    assert main([*words, "--founders"]) == 0
    said = capsys.readouterr()
    assert "relationship 8 lines, among them all 5 lines with records" in said.out
    assert "--founders: 1 line without a row in ped.csv ('e') is taken as founders without parents" in said.err
    (files / "ped.csv").write_text("id,sire,dam\nx,0,0\ny,x,0\n")
    assert main([*words, "--founders"]) == 3
    assert "No line of the trial has a row in ped.csv" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["grm.csv", "--founders"], 2, "argument --founders: is for a pedigree as --relationship, but grm.csv has no"),
        (["grm.csv", "--selfing", "3"], 2, "argument --selfing: is for a pedigree as --relationship, but grm.csv"),
        (["grm.csv", "--pedigree-columns", "i,s,d"], 3, "grm.csv has no column 'i', given as the id column"),
        (["ped.csv", "--pedigree-columns", "i,s"], 2, "expected three columns (individual, sire, dam), got 2"),
        (["ped.csv", "--selfing", "years"], 3, "ped.csv has no column 'years', given as the selfing column"),
        (["ped.csv", "--selfing=-1"], 3, "no column '-1', given as the selfing column"),
    ],
)
def test_options_that_do_not_fit(files, capsys, monkeypatch, words, code, message):
    monkeypatch.chdir(files)
    pd.DataFrame(np.eye(5) + 0.1, LINES, LINES).to_csv("grm.csv")
    data = ["check", "y.csv", "--line", "line", "--env", "env", "--traits", "y", "--relationship"]
    assert main([*data, *words]) == code
    assert message in capsys.readouterr().err


def test_a_matrix_is_no_pedigree(files):
    matrix = pd.DataFrame(np.eye(5) + 0.1, LINES, LINES)
    matrix.to_csv(files / "grm.csv")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = relationship_of(files, "--relationship", str(files / "grm.csv"))
    np.testing.assert_array_equal(found.matrix, matrix.to_numpy())
