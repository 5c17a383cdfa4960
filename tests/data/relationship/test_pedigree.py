"""Relationships from pedigrees, against textbook values and real data."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

from bmtme.data.relationship.pedigree import pedigree_inverse, pedigree_relationship
from bmtme.data.relationship.pedigree_table import list_both_sexes, read_pedigree
from bmtme.errors import DataError, UsageError


def pedigree(*rows: tuple[object, object, object]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["id", "sire", "dam"])


def entry(rel, a: str, b: str) -> float:
    return float(rel.matrix[tuple(rel.index([a, b]))])


# Mrode, Linear Models for the Prediction of Animal Breeding Values, example 2.1. By the tabular method: 1, 2 are
# founders; a_3j = (a_1j + a_2j) / 2, a_33 = 1 + a_12 / 2 = 1; a_4j = a_1j / 2, a_44 = 1; a_5j = (a_4j + a_3j) / 2 and
# a_55 = 1 + a_43 / 2 = 1 + 0.25 / 2; a_6j = (a_5j + a_2j) / 2 and a_66 = 1 + a_52 / 2 = 1 + 0.25 / 2.
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


# Its inverse by Henderson's rules, with 1/d of the animals 1 to 6: 1, 1, 2, 4/3, 2 and 32/15, as
# d_6 = 0.5 - (F_5 + F_2) / 4 = 0.5 - 0.125 / 4. An animal adds 1/d at itself, -1/(2d) with each parent,
# 1/(4d) among them.
TEXTBOOK_INVERSE = np.array(
    [
        [1 + 1 / 2 + 1 / 3, 1 / 2, -1, -2 / 3, 0, 0],
        [1 / 2, 1 + 1 / 2 + 8 / 15, -1, 0, 8 / 15, -16 / 15],
        [-1, -1, 2 + 1 / 2, 1 / 2, -1, 0],
        [-2 / 3, 0, 1 / 2, 4 / 3 + 1 / 2, -1, 0],
        [0, 8 / 15, -1, -1, 2 + 8 / 15, -16 / 15],
        [0, -16 / 15, 0, 0, -16 / 15, 32 / 15],
    ]
)


def inverse_of(frame: pd.DataFrame, order, **options) -> np.ndarray:
    """A^-1 as an array, in this order."""
    inverse = pedigree_inverse(frame, **options)
    places = [inverse.lines.index(str(name)) for name in order]
    return inverse.matrix.toarray()[np.ix_(places, places)]


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
    rows = pedigree(("S1", "P", "P"), ("S2", "S1", "S1"), ("F1", "P", "Q"), ("R", "Q", "P"))
    rel = pedigree_relationship(rows, separate_sexes=False)
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


# --- the inverse ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_textbook_inverse(seed):
    shuffled = TEXTBOOK.sample(frac=1, random_state=seed)
    np.testing.assert_allclose(inverse_of(shuffled, "123456"), TEXTBOOK_INVERSE, atol=1e-14)
    inverse = pedigree_inverse(shuffled)
    assert dict(zip(inverse.lines, inverse.inbreeding, strict=True)) == {
        **dict.fromkeys("1234", 0.0),
        **dict.fromkeys("56", 0.125),
    }
    assert inverse.lines == pedigree_relationship(shuffled).lines
    assert inverse.matrix.nnz == np.count_nonzero(TEXTBOOK_INVERSE)


def random_pedigree(rng: np.random.Generator, n: int, founders: int) -> pd.DataFrame:
    """Parents of each among all that are older, one or both unknown now and then, selfing included; rows shuffled."""
    rows = [(f"i{j}", 0, 0) for j in range(founders)]
    for j in range(founders, n):
        parents = [f"i{rng.integers(j)}" if rng.random() < 0.9 else "0" for _ in range(2)]
        rows.append((f"i{j}", *parents))
    return pedigree(*rows).sample(frac=1, random_state=int(rng.integers(1000)))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("selfing", [None, 2, "selfing"])
def test_inverse_times_relationship_is_the_identity(seed, selfing):
    rng = np.random.default_rng(seed)
    frame = random_pedigree(rng, 60, 5).assign(selfing=rng.integers(0, 5, 60))
    options = {"selfing": selfing, "separate_sexes": False}
    relationship, inverse = (make(frame, **options) for make in (pedigree_relationship, pedigree_inverse))
    assert inverse.lines == relationship.lines
    np.testing.assert_allclose(inverse.matrix @ relationship.matrix, np.eye(len(relationship)), atol=1e-9)
    np.testing.assert_allclose(inverse.inbreeding, relationship.matrix.diagonal() - 1, atol=1e-12)
    assert inverse.log_determinant == pytest.approx(np.linalg.slogdet(relationship.matrix)[1], abs=1e-9)


def test_inverse_after_two_thousand_generations():
    """The shares of the oldest ancestors are below what a number can hold."""
    names = np.arange(2000)
    frame = pd.DataFrame({"id": names + 1, "sire": names, "dam": 0})
    np.testing.assert_allclose(pedigree_inverse(frame).inbreeding, 0.0, atol=1e-12)


def test_inverse_of_many_animals_takes_seconds():
    rng = np.random.default_rng(1)
    n, size = 30_000, 3_000  # ten generations, from twenty sires each
    first = (np.arange(n) // size - 1) * size
    known = first >= 0
    sires, dams = (np.where(known, first + rng.integers(*some, n) + 1, 0) for some in ((0, 20), (20, 1500)))
    pedigree_inverse(TEXTBOOK)  # compiled
    began = time.perf_counter()
    inverse = pedigree_inverse(pd.DataFrame({"id": np.arange(n) + 1, "sire": sires, "dam": dams}))
    assert time.perf_counter() - began < 10
    assert inverse.matrix.nnz < 10 * n
    assert 0 < inverse.inbreeding.max() < 1


def test_a_copy_has_no_inverse():
    rows = pedigree(("P", 0, 0), ("Q", "P", "P")).assign(selfing=[60, 0])
    assert entry(pedigree_relationship(rows, selfing="selfing"), "Q", "P") == 2
    with pytest.raises(DataError, match="no inverse: 'Q' is a copy of its parents"):
        pedigree_inverse(rows, selfing="selfing")


# --- selfing ----------------------------------------------------------------------------------------------------


def test_generations_of_selfing_are_those_of_a_pedigree_that_lists_them():
    listed = pedigree(("F1", "P", "Q"), ("S1", "F1", "F1"), ("S2", "S1", "S1"), ("S3", "S2", "S2"), ("R", "S3", "Q"))
    short = pedigree(("S3", "P", "Q"), ("R", "S3", "Q")).assign(selfing=[3, None])
    expected = pedigree_relationship(listed, separate_sexes=False).subset(["S3", "R", "P", "Q"]).matrix
    assert expected[0, 0] == 2 - 0.5**3
    np.testing.assert_array_equal(pedigree_relationship(short, selfing="selfing").matrix, expected)
    text = short.assign(selfing=["3", ""])
    np.testing.assert_array_equal(pedigree_relationship(text, selfing="selfing").matrix, expected)


def test_one_number_of_generations_serves_all():
    rel = pedigree_relationship(pedigree(("a", "p", "q"), ("b", "a", "p")), selfing=50)
    np.testing.assert_allclose(rel.matrix.diagonal(), 2)
    assert entry(rel, "a", "p") == pytest.approx(1)
    assert entry(rel, "b", "p") == pytest.approx(1.5)  # (a_ap + a_pp) / 2


@pytest.mark.parametrize(
    ("selfing", "kind", "words"),
    [
        ("k", DataError, "no column 'k', given as the selfing column"),
        ("dam", DataError, "id, sire, dam and selfing must be different columns"),
        (-1, UsageError, "selfing must be a column or a whole number"),
        (1.5, UsageError, "selfing must be a column or a whole number"),
        (float("nan"), UsageError, "selfing must be a column or a whole number"),
        ("half", DataError, "selfing column 'half' of the pedigree holds 0.5 for 'b'"),
        ("text", DataError, r"selfing column 'text' of the pedigree holds 'F4' in row 2"),
    ],
)
def test_bad_generations_of_selfing(selfing, kind, words):
    frame = pedigree(("a", 0, 0), ("b", "a", 0)).assign(half=[1, 0.5], text=["1", "F4"])
    with pytest.raises(kind, match=words):
        pedigree_relationship(frame, selfing=selfing)


# --- bad pedigrees ----------------------------------------------------------------------------------------------


def test_separate_sexes():
    frame = pedigree(("c", "a", "b"), ("d", "b", "a"), ("e", "a", "f"))
    with pytest.raises(
        DataError,
        match=r"'a' as a sire in row 1 .* and as a dam in row 2 .* separate_sexes=False. In all, 2 .* both: 'a', 'b'",
    ):
        pedigree_relationship(frame)
    with pytest.raises(DataError, match=r"'s' as a sire in row 1 .* and as a dam in row 1"):
        pedigree_inverse(pedigree(("x", "s", "s")))
    assert list_both_sexes(frame) == ([], ["a", "b"])
    assert list_both_sexes(TEXTBOOK) == ([], [])
    plants = pedigree_relationship(frame, separate_sexes=False)
    assert entry(plants, "c", "d") == 0.5
    np.testing.assert_array_equal(pedigree_relationship(frame, selfing=0).matrix, plants.matrix)


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
@pytest.mark.parametrize("make", [pedigree_relationship, pedigree_inverse])
def test_bad_pedigree(make, rows, words):
    with pytest.raises(DataError, match=words):
        make(pedigree(*rows), separate_sexes=False)


def test_long_loop_is_found_at_once():
    n = 20_000
    rows = pd.DataFrame({"id": np.arange(n) + 1, "sire": (np.arange(n) + 1) % n + 1, "dam": 0})
    with pytest.raises(DataError, match=r"has a loop, offspring -> parent: '1' -> '2' -> '3' .* and 19991 more"):
        pedigree_inverse(rows)


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
    rel = pedigree_relationship(pedigree(*rows).sample(frac=1, random_state=1), separate_sexes=False).subset(names)
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
    options = {**dict(zip(("id", "sire", "dam"), columns, strict=True)), "separate_sexes": name == "gryphon"}
    rel = pedigree_relationship(frame, **options)
    if n_rows is not None:
        assert len(frame) == n_rows
    assert rel.lines[: len(frame)] == tuple(frame[columns[0]].astype(str))
    assert rel.matrix.diagonal().min() >= 1
    with threadpool_limits(1):
        np.linalg.cholesky(rel.matrix + 1e-9 * np.eye(len(rel)))  # no negative eigenvalue
    text = frame.astype({column: "string" for column in columns})
    if name == "gryphon":  # the table says nothing new when its whole numbers are text
        text = pd.read_csv(data_file(f"{name}/pedigree.csv"), dtype=str, keep_default_na=False)
    again = pedigree_relationship(text.iloc[::-1], **options)
    np.testing.assert_allclose(again.subset(rel.lines).matrix, rel.matrix, atol=1e-14)


def test_gryphon(data_file):
    """Known inverse and relationship, and quickly."""
    frame = read_pedigree(data_file("gryphon/pedigree.csv"))
    began = time.perf_counter()
    relationship, inverse = pedigree_relationship(frame), pedigree_inverse(frame)
    assert time.perf_counter() - began < 5
    assert inverse.lines == relationship.lines
    product = inverse.matrix @ relationship.matrix
    np.testing.assert_allclose(product, np.eye(1309), atol=1e-10)
    assert inverse.matrix.nnz < 5 * 1309


# --- files ------------------------------------------------------------------------------------------------------


def test_read_pedigree(tmp_path):
    (tmp_path / "ped.csv").write_text("line,father,mother\n001,,\n1,001,\nx,1,1\n")
    columns = {"id": "line", "sire": "father", "dam": "mother"}
    frame = read_pedigree(tmp_path / "ped.csv", **columns)
    rel = pedigree_relationship(frame, **columns, separate_sexes=False)
    assert rel.lines == ("001", "1", "x")
    assert entry(rel, "x", "x") == 1.5
    with pytest.raises(DataError, match=r"ped.csv has no column 'id', given as the id column\. .* 'line', 'father'"):
        read_pedigree(tmp_path / "ped.csv")
    (tmp_path / "ped.csv").write_text("id,sire,dam\na,b,\n\nb,a,\n")
    with pytest.raises(DataError, match=r"the pedigree ped.csv has a loop"):
        pedigree_relationship(read_pedigree(tmp_path / "ped.csv"))
    (tmp_path / "ped.csv").write_text("id,sire,dam\na,b,\n\na,,\n")
    with pytest.raises(DataError, match=r"the pedigree ped.csv has the individual 'a' twice, in row 2 and row 4"):
        pedigree_relationship(read_pedigree(tmp_path / "ped.csv"))
