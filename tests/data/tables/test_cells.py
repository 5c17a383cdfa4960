"""Cells of a table: missing codes and decimal commas."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bmtme.data.tables.cells import NumberFormat, number
from bmtme.data.trial import Trial, read_trial
from bmtme.errors import DataError, UsageError
from tests.helpers.tables import write
from tests.helpers.trials import values

COLUMNS = {"line": "line", "env": "env"}


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
    with pytest.raises(DataError, match=r"by semicolons: .*phenotypes with decimal commas can be read .* decimal=','"):
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
