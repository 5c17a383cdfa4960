"""Relationships: construction, reading of labelled matrices, and matching with a trial."""

from __future__ import annotations

import copy
import gzip
import pickle
import time

import numpy as np
import pandas as pd
import pytest

from bmtme.data.relationship.files import read_relationship
from bmtme.data.relationship.matrix import Relationship, match_lines
from bmtme.data.trial import Trial, read_trial
from bmtme.errors import DataError, UsageError
from tests.helpers.tables import write

LINES = ("001", "NA", "L3")
G = np.array([[1.0, 0.25, -0.1], [0.25, 1.5, 0.3], [-0.1, 0.3, 0.9]])


def table(matrix: np.ndarray = G, rows=LINES, columns=LINES, corner: str = "line") -> str:
    text = ",".join([corner, *columns]) + "\n"
    return text + "".join(f"{line}," + ",".join(map(str, row)) + "\n" for line, row in zip(rows, matrix, strict=True))


# --- construction -----------------------------------------------------------------------------------------------


def test_array_with_lines():
    given = G.copy()
    rel = Relationship(given, lines=list(LINES))
    given[0, 0] = 99
    assert rel.lines == LINES
    assert len(rel) == 3
    assert not rel.is_identity
    np.testing.assert_array_equal(rel.matrix, G)
    assert rel.matrix.flags.c_contiguous
    assert rel.matrix.dtype == np.float64
    assert repr(rel) == "Relationship(3 lines; mean diagonal 1.133)"


def test_relationship_is_immutable():
    rel = Relationship(np.asfortranarray(G), lines=LINES)
    with pytest.raises(AttributeError):
        rel.lines = ("x",)
    for copied in (rel, pickle.loads(pickle.dumps(rel)), copy.deepcopy(rel), rel.subset(LINES[:2])):
        with pytest.raises(ValueError, match="read-only"):
            copied.matrix[0, 0] = 2
    assert pickle.loads(pickle.dumps(rel)).lines == LINES


def test_frame_is_matched_by_name():
    frame = pd.DataFrame(G, index=LINES, columns=LINES)
    shuffled = frame.loc[["L3", "001", "NA"], ["NA", "L3", "001"]]
    rel = Relationship(shuffled)
    assert rel.lines == ("L3", "001", "NA")
    np.testing.assert_array_equal(rel.matrix, frame.loc[list(rel.lines), list(rel.lines)])
    ordered = Relationship(shuffled, lines=LINES)
    assert ordered.lines == LINES
    np.testing.assert_array_equal(ordered.matrix, G)


def test_frame_with_other_names():
    frame = pd.DataFrame(G, index=LINES, columns=["V1", "V2", "V3"])
    with pytest.raises(
        DataError, match=r"'001', 'L3', 'NA' only among the rows and 'V1', 'V2', 'V3' only among the col"
    ):
        Relationship(frame)
    with pytest.raises(DataError, match=r"\('1', '2', '3', 'a', 'b', 'c' in one only\).* pass frame.to_numpy\(\)"):
        Relationship(pd.DataFrame(G, index=[1, 2, 3], columns=[1, 2, 3]), lines=["a", "b", "c"])
    assert Relationship(pd.DataFrame(G), lines=[2, 1, 0]).matrix[0, 1] == 0.3


def test_frame_of_text_and_nullable_numbers():
    frame = pd.DataFrame(G, index=LINES, columns=LINES)
    np.testing.assert_array_equal(Relationship(frame.astype("Float64")).matrix, G)
    np.testing.assert_array_equal(Relationship(frame.astype(str)).matrix, G)
    bad = frame.astype(object)
    bad.loc["L3", "NA"] = "high"
    with pytest.raises(
        DataError, match=r"the entry of lines 'L3' \(row\) and 'NA' \(column\) is 'high', expected a num"
    ):
        Relationship(bad)
    with pytest.raises(DataError, match=r"lines 'L3' \(row\) and 'NA' \(column\) is missing"):
        Relationship(frame.where((frame != 0.3) | (np.arange(3)[:, None] == 1)))


def test_rounding_is_averaged_away():
    skewed = G.copy()
    skewed[0, 1] += 1e-9
    rel = Relationship(skewed, lines=LINES)
    np.testing.assert_array_equal(rel.matrix, rel.matrix.T)
    assert rel.matrix[0, 1] == pytest.approx(0.25 + 5e-10, abs=1e-15)


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
def test_worst_pair_of_an_asymmetric_matrix_is_named(factor):
    skewed = G.copy()
    skewed[0, 1] += 1e-6
    skewed[2, 0] = 0.5
    with pytest.raises(DataError) as error:
        Relationship(factor * skewed, lines=LINES)
    message = str(error.value)
    assert "not symmetric" in message
    assert "'001'" in message
    assert "'L3'" in message
    assert f"{0.5 * factor:.10g}" in message
    assert f"{-0.1 * factor:.10g}" in message
    tiny = G.copy()
    tiny[0, 1] += 1e-6  # a tolerance relative to the diagonal: told apart at every scale
    with pytest.raises(DataError, match="not symmetric"):
        Relationship(factor * tiny, lines=LINES)


@pytest.mark.parametrize(
    ("matrix", "lines", "words"),
    [
        (G[:2], LINES, r"must be square, got shape \(2, 3\)"),
        (G.ravel(), LINES, r"must be square, got shape \(9,\)"),
        (G, LINES[:2], "has 3 rows but 2 lines are named"),
        (G, ("a", "b", "a"), "lines= names line 'a' twice"),
        (G, ("a", "b", " "), "lines= has no name for line 3"),
        (G, ("a", "b", 1.5), "lines= holds 1.5, which is no whole number"),
        (np.where(G == 0.3, np.nan, G), LINES, r"the entry of lines 'NA' \(row\) and 'L3' \(column\) is missing"),
        (np.where(G == 0.3, np.inf, G), LINES, r"lines 'NA' \(row\) and 'L3' \(column\) is infinite"),
        (G.astype(str).astype(object) + "x", LINES, r"lines '001' \(row\) and '001' \(column\) is '1.0x'"),
        (np.where(G == 1.5, 0.0, G), LINES, "has 0 on the diagonal for line 'NA'.*must be positive"),
        (np.where(G == 1.5, -2.0, G), LINES, "has -2 on the diagonal for line 'NA'"),
        (np.empty((0, 0)), (), "names no lines"),
    ],
)
def test_bad_matrix(matrix, lines, words):
    with pytest.raises(DataError, match=words):
        Relationship(matrix, lines=lines)


def test_array_needs_lines():
    with pytest.raises(UsageError, match="lines= is needed"):
        Relationship(G)


def test_identity():
    rel = Relationship.identity(["a", 2, "c"])
    assert rel.lines == ("a", "2", "c")
    assert rel.is_identity
    np.testing.assert_array_equal(rel.matrix, np.eye(3))
    assert rel.subset(["c", "a"]).is_identity
    assert repr(rel) == "Relationship(3 lines; identity)"
    assert pickle.loads(pickle.dumps(rel)).is_identity
    with pytest.raises(ValueError, match="read-only"):
        rel.matrix[0, 0] = 2
    with pytest.raises(DataError, match="names line 'a' twice"):
        Relationship.identity(["a", "a"])


def test_dense_identity_is_recognised():
    assert Relationship(np.eye(3), lines=LINES).is_identity
    assert not Relationship(2 * np.eye(3), lines=LINES).is_identity
    partly = np.eye(3)
    partly[0, 1] = partly[1, 0] = 0.5
    assert Relationship(partly, lines=LINES).subset(["L3", "001"]).is_identity


def test_index_and_subset():
    rel = Relationship(G, lines=LINES)
    np.testing.assert_array_equal(rel.index(["L3", "001", "L3"]), [2, 0, 2])
    part = rel.subset(["L3", "001"])
    assert part.lines == ("L3", "001")
    np.testing.assert_array_equal(part.matrix, [[0.9, -0.1], [-0.1, 1.0]])
    with pytest.raises(DataError, match=r"no line 'l-03', 'x' \('l-03' is nearly 'L3'\)"):
        rel.index(["l-03", "NA", "x"])
    with pytest.raises(DataError, match="names line 'NA' twice"):
        rel.subset(["NA", "NA"])


# --- files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("corner", ["line", "", "anything at all"])
def test_file_with_any_corner(tmp_path, corner):
    rel = read_relationship(write(tmp_path, table(corner=corner), "grm.csv"))
    assert rel.lines == LINES
    np.testing.assert_array_equal(rel.matrix, G)


def test_formats_of_the_same_matrix(tmp_path):
    text = table()
    quoted = "\n".join(
        ",".join(cell if k and n else f'"{cell}"' for n, cell in enumerate(row.split(",")))
        for k, row in enumerate(text.splitlines())
    )
    files = {
        "a.csv": quoted,
        "b.tsv": text.replace(",", "\t"),
        "c.csv": text.replace(",", " , "),
        "d.csv": text + "\n\n",
    }
    for name, content in files.items():
        rel = read_relationship(write(tmp_path, content, name))
        assert rel.lines == LINES, name
        np.testing.assert_array_equal(rel.matrix, G)
    (tmp_path / "e.csv.gz").write_bytes(gzip.compress(text.encode()))
    np.testing.assert_array_equal(read_relationship(tmp_path / "e.csv.gz").matrix, G)


def test_rows_and_columns_in_different_orders(tmp_path):
    order = [2, 0, 1]
    path = write(tmp_path, table(G[:, order], columns=[LINES[k] for k in order]), "grm.csv")
    rel = read_relationship(path)
    assert rel.lines == LINES
    np.testing.assert_array_equal(rel.matrix, G)
    assert rel.matrix.flags.c_contiguous


def test_identity_from_a_file(tmp_path):
    assert read_relationship(write(tmp_path, table(np.eye(3)), "grm.csv")).is_identity


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (table(columns=("001", "NA", "X")), "grm.csv has 'L3' only among the rows and 'X' only among the columns"),
        (table(G[:2], rows=LINES[:2]), "grm.csv has 'L3' only among the columns: expected a square matrix"),
        (table(np.vstack([G, G[0]]), rows=(*LINES, "X")), "grm.csv has 'X' only among the rows"),
        (table(rows=("001", "NA", "001")), "the first column of grm.csv names line '001' twice"),
        (table(columns=("001", "NA", "NA")), "the header of grm.csv names line 'NA' twice"),
        (table(rows=("001", " ", "L3")), "grm.csv has no line name in row 3"),
        (table(columns=("001", "", "L3")), "the header of grm.csv has no name for line 2"),
        (
            table().replace("0.3,0.9", ",0.9"),
            r"grm.csv, row 4: the entry of lines 'L3' \(row\) and 'NA' .* is missing:",
        ),
        (table().replace("0.3,0.9", "NA,0.9"), r"'L3' \(row\) and 'NA' \(column\) is missing \('NA'\)"),
        (table().replace("0.3,0.9", "high,0.9"), r"row 4: .* is 'high', expected a number"),
        (table().replace("0.3,0.9", "1_0,0.9"), r"row 4: .* is '1_0', expected a number"),
        (table().replace("0.3,0.9", "inf,0.9"), r"row 4: .* is infinite"),
        (table().replace("0.3,0.9", "0.31,0.9"), "grm.csv is not symmetric: .*'NA' and 'L3' is 0.3 but .* is 0.31"),
        (table().replace("1.5", "0"), "grm.csv has 0 on the diagonal for line 'NA'"),
        (table().replace("0.3,0.9", "0.3"), "grm.csv has 3 cells in row 4 but 4 in its header"),
        ("", "grm.csv is empty"),
        ("line\n", "the header of grm.csv names no lines"),
    ],
)
def test_bad_file(tmp_path, text, words):
    with pytest.raises(DataError, match=words):
        read_relationship(write(tmp_path, text, "grm.csv"))


def test_real_relationships(data_folder):
    paths = sorted(path for path in data_folder.rglob("*.csv*") if path.name.startswith(("grm.", "A_pedigree.")))
    if not paths:
        pytest.skip("no relationship files")
    for path in paths:
        start = time.perf_counter()
        rel = read_relationship(path)
        assert time.perf_counter() - start < 2  # 0.1 s for 599 lines on an idle machine
        raw = pd.read_csv(path, dtype={0: str}, index_col=0)
        assert rel.lines == tuple(map(str, raw.index))
        np.testing.assert_allclose(rel.matrix, raw.to_numpy(), rtol=0, atol=1e-8 * np.abs(raw.to_numpy()).max())


# --- matching with a trial --------------------------------------------------------------------------------------


def trial_of_lines(*lines: str, empty: tuple[str, ...] = ()) -> Trial:
    frame = pd.DataFrame({"line": lines, "env": "E", "y": [np.nan if line in empty else 1.0 for line in lines]})
    return Trial.from_frame(frame, line="line", env="env", traits="y")


def test_matched_trial_is_returned_as_it_is():
    trial = trial_of_lines("L3", "001")
    assert match_lines(trial, Relationship(G, lines=LINES)) == (trial, ())


def test_unrelated_lines_are_an_error_that_suggests_names():
    rel = Relationship(np.eye(3) + 0.1, lines=["L001", "CML 12", "X"])
    with pytest.raises(DataError) as error:
        match_lines(trial_of_lines("L1", "cml12", "X", "Q"), rel)
    message = str(error.value)
    assert message.startswith("3 lines have records in the trial but no relationship: 'L1', 'cml12', 'Q' (")
    assert "('L1' is nearly 'L001', 'cml12' is nearly 'CML 12')" in message
    assert "--drop-unrelated" in message


def test_at_most_ten_unrelated_lines_are_listed():
    trial = trial_of_lines(*(f"A{k}" for k in range(14)), "X")
    with pytest.raises(DataError, match=r"14 lines have .*'A9' and 4 more\. Correct"):
        match_lines(trial, Relationship.identity(["X", "Y"]))
    with pytest.raises(DataError, match=r"1 line has records .*: 'Q'\. Correct"):
        match_lines(trial_of_lines("X", "Q"), Relationship.identity(["X", "Y"]))


def test_unrelated_lines_are_dropped_on_demand():
    trial = trial_of_lines("q", "X", "Y", "r")
    smaller, dropped = match_lines(trial, Relationship.identity(["Y", "X", "Z"]), unrelated="drop")
    assert smaller.lines == ("X", "Y")
    assert dropped == ("q", "r")


def test_unrelated_line_without_a_value_is_dropped_and_told():
    trial = trial_of_lines("X", "Y", "q", empty=("q",))
    smaller, dropped = match_lines(trial, Relationship.identity(["X", "Y"]))
    assert smaller.lines == ("X", "Y")
    assert dropped == ("q",)


def test_too_few_lines_stay():
    with pytest.raises(
        DataError, match=r"Only 1 of the trial's 3 lines .* such as 'a', 'b', 'X' do not match .* 'X', 'Y'"
    ):
        match_lines(trial_of_lines("a", "b", "X"), Relationship.identity(["X", "Y"]), unrelated="drop")


def test_unknown_choice():
    with pytest.raises(UsageError, match="'error' or 'drop', got 'ignore'"):
        match_lines(trial_of_lines("a", "b"), Relationship.identity(["a", "b"]), unrelated="ignore")


def test_real_trial_and_relationship(data_file):
    trial = read_trial(data_file("barley_steptoe_morex152/pheno.csv"), line="line", env="env")
    rel = read_relationship(data_file("barley_steptoe_morex152/grm.csv.gz"))
    with pytest.raises(DataError, match=r"3 lines have records .* 'Steptoe', 'Morex', 'SM8'"):
        match_lines(trial, rel)
    smaller, dropped = match_lines(trial, rel, unrelated="drop")
    assert set(dropped) == {"Steptoe", "Morex", "SM8"}
    assert len(smaller.lines) == 149
    assert smaller.n_records == 149 * 16


def test_symmetry_of_more_lines_than_a_block():
    """Worked on in blocks of rows: rounding is averaged out in all of them, and a real gap is named where it is."""
    n = 600
    names = [f"L{j}" for j in range(n)]
    rng = np.random.default_rng(3)
    root = rng.standard_normal((n, 5))
    exact = root @ root.T + np.eye(n)
    exact = (exact + exact.T) / 2
    rounded = exact + 1e-12 * rng.standard_normal((n, n))
    matrix = Relationship(rounded, lines=names).matrix
    np.testing.assert_array_equal(matrix, (rounded + rounded.T) / 2)
    apart = exact.copy()
    apart[550, 300] += 0.5
    with pytest.raises(DataError, match=r"'L(550|300)' and 'L(550|300)'"):
        Relationship(apart, lines=names)
