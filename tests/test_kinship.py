"""Relationships from markers and pedigrees, against plain formulas, textbook values and real data."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from bmtme.errors import DataError, UsageError
from bmtme.model import kinship
from bmtme.model.kinship import pedigree_relationship, vanraden
from bmtme.model.relationship import read_relationship


@pytest.fixture
def markers() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    codes = rng.binomial(2, rng.uniform(0.4, 0.6, 60), size=(8, 60)).astype(float)
    codes[:, :2] = [[0, 1]] * 4 + [[2, 1]] * 4  # one marker with an opposite pair, one with heterozygotes only
    return pd.DataFrame(codes, index=[f"L{j}" for j in range(8)], columns=[f"m{k}" for k in range(60)])


# --- markers ----------------------------------------------------------------------------------------------------


def test_vanraden_agrees_with_the_formulas(markers):
    codes = markers.to_numpy()
    p = codes.mean(axis=0) / 2
    z = codes - 2 * p
    first, second = vanraden(markers), vanraden(markers, method=2)
    assert first.lines == tuple(markers.index)
    np.testing.assert_allclose(first.matrix, z @ z.T / (2 * p * (1 - p)).sum(), atol=1e-13)
    np.testing.assert_allclose(
        second.matrix, sum(np.outer(c, c) / (2 * q * (1 - q)) for c, q in zip(z.T, p, strict=True)) / 60, atol=1e-13
    )


@pytest.mark.parametrize("method", [1, 2])
def test_missing_genotypes_are_imputed_by_the_mean(markers, method):
    markers.iloc[2, 5] = np.nan
    markers.iloc[[0, 4], 7] = np.nan
    expected = vanraden(markers.fillna(markers.mean()), method=method).matrix
    np.testing.assert_allclose(vanraden(markers, method=method).matrix, expected, atol=1e-13)
    for variant in (markers.astype("Int64"), markers.astype(object).where(markers.notna(), "NA")):
        np.testing.assert_allclose(vanraden(variant, method=method).matrix, expected, atol=1e-13)


@pytest.mark.parametrize("method", [1, 2])
def test_markers_without_both_alleles_are_left_out_with_their_number(markers, method):
    expected = vanraden(markers, method=method).matrix
    more = markers.assign(zero=0, two=2.0, nothing=np.nan)
    with pytest.warns(UserWarning, match=r"^3 of 63 markers left out.*among the 8 lines"):
        rel = vanraden(more, method=method)
    np.testing.assert_allclose(rel.matrix, expected, atol=1e-13)


def test_no_warning_without_reason(markers):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vanraden(markers)


@pytest.mark.parametrize("method", [1, 2])
def test_swapped_alleles_and_integer_codes_change_nothing(markers, method):
    expected = vanraden(markers, method=method).matrix
    np.testing.assert_allclose(vanraden(2 - markers, method=method).matrix, expected, atol=1e-13)
    np.testing.assert_allclose(vanraden(markers.astype(np.int8), method=method).matrix, expected, atol=1e-13)


@pytest.mark.parametrize("method", [1, 2])
def test_blocks_of_markers_add_up(markers, method, monkeypatch):
    expected = vanraden(markers, method=method).matrix
    monkeypatch.setattr(kinship, "_MARKER_BLOCK", 7)
    np.testing.assert_allclose(vanraden(markers, method=method).matrix, expected, atol=1e-13)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-1, r"line 'L3' at marker 'm9' is -1: expected .* 0, 1 or 2 \(add 1 to codes -1, 0, 1\)"),
        (3, "line 'L3' at marker 'm9' is 3"),
        (np.inf, "line 'L3' at marker 'm9' is inf"),
        ("AT", "line 'L3' at marker 'm9' is 'AT': expected 0, 1 or 2, or NaN"),
    ],
)
def test_bad_genotype_is_named(markers, code, words):
    markers = markers.astype(object)
    markers.iloc[3, 9] = code
    with pytest.raises(DataError, match=words):
        vanraden(markers)
    if not isinstance(code, str):
        with pytest.raises(DataError, match=words):
            vanraden(markers.astype(float))


def test_no_marker_is_left(markers):
    with pytest.raises(DataError, match="None of the 60 markers shows both alleles among the 1 lines"):
        vanraden((markers > 3).astype(int).iloc[:1])
    with pytest.raises(DataError, match="None of the 0 markers"):
        vanraden(markers.iloc[:, :0])


def test_repeated_and_missing_line_names(markers):
    with pytest.raises(DataError, match="the index of the marker frame names line 'L0' twice"):
        vanraden(pd.concat([markers, markers.iloc[:1]]))
    with pytest.raises(DataError, match="the index of the marker frame has no name for line 1"):
        vanraden(markers.set_axis([None, *markers.index[1:]]))


def test_bad_calls(markers):
    with pytest.raises(UsageError, match="method must be 1 or 2, got 3"):
        vanraden(markers, method=3)
    with pytest.raises(UsageError, match="expected a pandas DataFrame"):
        vanraden(markers.to_numpy())


def test_real_markers(data_file):
    held = np.load(data_file("barley_steptoe_morex152/markers.npz"))
    names = ["line", "snp"]
    (key,) = [key for key in held if key not in names]
    codes = np.where(held[key] < 0, np.nan, held[key].astype(float))
    rel = vanraden(pd.DataFrame(codes, index=held["line"], columns=held["snp"]))
    stored = read_relationship(data_file("barley_steptoe_morex152/grm.csv.gz")).subset(rel.lines)
    np.testing.assert_allclose(rel.matrix, stored.matrix, atol=1e-9)


# --- pedigrees --------------------------------------------------------------------------------------------------


def pedigree(*rows: tuple[object, object, object]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["id", "sire", "dam"])


def entry(rel, a: str, b: str) -> float:
    return float(rel.matrix[tuple(rel.index([a, b]))])


# Mrode, Linear Models for the Prediction of Animal Breeding Values, example 2.1
TEXTBOOK = pedigree((3, 1, 2), (4, 1, 0), (5, 4, 3), (6, 5, 2))
TEXTBOOK_A = np.array(
    [
        [1.0, 0.0, 0.5, 0.5, 0.5, 0.25],
        [0.0, 1.0, 0.5, 0.0, 0.25, 0.625],
        [0.5, 0.5, 1.0, 0.25, 0.625, 0.5625],
        [0.5, 0.0, 0.25, 1.0, 0.625, 0.3125],
        [0.5, 0.25, 0.625, 0.625, 1.125, 0.6875],
        [0.25, 0.625, 0.5625, 0.3125, 0.6875, 1.125],
    ]
)


def test_textbook_pedigree():
    rel = pedigree_relationship(TEXTBOOK)
    assert rel.lines == ("3", "4", "5", "6", "1", "2")
    np.testing.assert_array_equal(rel.subset(list("123456")).matrix, TEXTBOOK_A)


@pytest.mark.parametrize("seed", range(4))
def test_order_of_rows_does_not_matter(seed):
    shuffled = TEXTBOOK.sample(frac=1, random_state=seed)
    rel = pedigree_relationship(shuffled, id="id", sire="sire", dam="dam")
    assert rel.lines[:4] == tuple(shuffled["id"].astype(str))
    np.testing.assert_array_equal(rel.subset(list("123456")).matrix, TEXTBOOK_A)


@pytest.mark.parametrize("unknown", [0, "0", "", " ", "NA", "NaN", ".", None, np.nan, pd.NA])
def test_codes_of_unknown_parents(unknown):
    rel = pedigree_relationship(pedigree(("a", unknown, "c"), ("b", unknown, unknown)))
    assert rel.lines == ("a", "b", "c")
    np.testing.assert_array_equal(rel.matrix, [[1, 0, 0.5], [0, 1, 0], [0.5, 0, 1]])


def test_gaps_that_turned_numbers_into_floats():
    frame = pedigree((1, np.nan, np.nan), (2, np.nan, np.nan), (3, 1, 2))
    assert frame["sire"].dtype == float
    assert pedigree_relationship(frame).lines == ("1", "2", "3")


def test_selfing_and_hermaphrodites():
    rel = pedigree_relationship(pedigree(("S1", "P", "P"), ("S2", "S1", "S1"), ("F1", "P", "Q"), ("R", "Q", "P")))
    assert entry(rel, "S1", "S1") == 1.5
    assert entry(rel, "S2", "S2") == 1.75
    assert entry(rel, "S1", "P") == 1.0
    assert entry(rel, "F1", "R") == 0.5


def test_founders_only_are_the_identity():
    assert pedigree_relationship(pedigree(("a", 0, 0), ("b", 0, 0))).is_identity


def test_other_column_names_and_leading_zeros():
    frame = pd.DataFrame({"clone": ["01", "1"], "parent1": ["1", ""], "parent2": ["", ""]})
    rel = pedigree_relationship(frame, id="clone", sire="parent1", dam="parent2")
    assert rel.lines == ("01", "1")
    assert entry(rel, "01", "1") == 0.5


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([("a", "a", 0)], "'a' as its own sire in row 1"),
        ([("b", 0, 0), ("a", "b", "a")], "'a' as its own dam in row 2"),
        ([("a", 0, 0), ("b", 0, 0), ("a", "b", 0)], r"individual 'a' twice, in row 1 .* and row 3"),
        (
            [("x", 0, 0), ("a", "b", "x"), ("b", "x", "c"), ("c", "a", 0)],
            "loop, offspring -> parent: 'a' -> 'b' -> 'c' -> 'a'",
        ),
        ([("d", "a", 0), ("a", "b", 0), ("b", 0, "a")], "loop, offspring -> parent: 'a' -> 'b' -> 'a'"),
        ([("a", 0, 0), (None, "a", 0)], "id column 'id' of the pedigree is empty in row 2"),
        ([("a", 0, 0), ("0", "a", 0)], "individual '0' in row 2 .* a code for unknown parents"),
        ([("a", 1.5, 0)], "sire column 'sire' of the pedigree holds 1.5, which is no whole number"),
        ([], "the pedigree has no rows"),
    ],
)
def test_bad_pedigree(rows, words):
    with pytest.raises(DataError, match=words):
        pedigree_relationship(pedigree(*rows))


def test_bad_columns():
    with pytest.raises(DataError, match="no column 'father', given as the sire column"):
        pedigree_relationship(TEXTBOOK, sire="father")
    with pytest.raises(DataError, match="must be different columns"):
        pedigree_relationship(TEXTBOOK, sire="dam")
    with pytest.raises(UsageError, match="expected a pandas DataFrame"):
        pedigree_relationship("pedigree.csv")


def test_random_pedigree_against_gene_dropping_variances():
    """A = T D T' with D the Mendelian sampling variances (Henderson 1976), T the gene flow from parents."""
    rng = np.random.default_rng(11)
    n = 40
    parents = [(int(rng.integers(-1, j)), int(rng.integers(-1, j))) if j > 5 else (-1, -1) for j in range(n)]
    names = np.array([f"i{j}" for j in range(n)])
    rows = [(names[j], names[s] if s >= 0 else "", names[d] if d >= 0 else "") for j, (s, d) in enumerate(parents)]
    rel = pedigree_relationship(pedigree(*rows).sample(frac=1, random_state=1)).subset(names)
    flow = np.zeros((n, n))
    for j, pair in enumerate(parents):
        for parent in pair:
            if parent >= 0:
                flow[j, parent] += 0.5
    transmission = np.linalg.inv(np.eye(n) - flow)
    inbreeding = rel.matrix.diagonal() - 1
    sampling = np.empty(n)
    for j, (s, d) in enumerate(parents):
        sampling[j] = 1 - sum(0.25 * (1 + inbreeding[parent]) for parent in (s, d) if parent >= 0)
    np.testing.assert_allclose(rel.matrix, transmission @ np.diag(sampling) @ transmission.T, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "columns", "n_rows"),
    [("gryphon", ("id", "sire", "dam"), 1309), ("potato_hancock", ("id", "parent1", "parent2"), None)],
)
def test_real_pedigrees(data_file, name, columns, n_rows):
    frame = pd.read_csv(data_file(f"{name}/pedigree.csv"))
    rel = pedigree_relationship(frame, **dict(zip(("id", "sire", "dam"), columns, strict=True)))
    if n_rows is not None:
        assert len(frame) == n_rows
    assert rel.lines[: len(frame)] == tuple(frame[columns[0]].astype(str))
    assert rel.matrix.diagonal().min() >= 1
    assert np.linalg.eigvalsh(rel.matrix).min() > -1e-9
    text = frame.astype({column: "string" for column in columns})
    if name == "gryphon":  # the table says nothing new when its whole numbers are text
        text = pd.read_csv(data_file(f"{name}/pedigree.csv"), dtype=str, keep_default_na=False)
    again = pedigree_relationship(text.iloc[::-1], **dict(zip(("id", "sire", "dam"), columns, strict=True)))
    np.testing.assert_allclose(again.subset(rel.lines).matrix, rel.matrix, atol=1e-14)
