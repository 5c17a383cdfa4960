"""Matrices with their names in a file beside them: GCTA's text, PLINK's .rel and .rel.bin, IDs with a header."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from bmtme import DataError, Relationship, UsageError, read_relationship
from bmtme.cli.main import main
from bmtme.data.relationship.files import write_relationship

LINES = ("q1", "x-2", "003")
MATRIX = np.array([[1.25, -0.5, 0.125], [-0.5, 0.75, 0.0625], [0.125, 0.0625, 2.0]])
LOWER = np.tril_indices(3)
IDS = "F1 q1\nF1 x-2\nF2 003\n"


def gcta_text(matrix: np.ndarray = MATRIX) -> str:
    return "".join(f"{j + 1}\t{k + 1}\t200\t{matrix[j, k]}\n" for j, k in zip(*LOWER, strict=True))


def rows_of(matrix: np.ndarray, triangle: bool) -> str:
    rows = [matrix[j, : j + 1] if triangle else matrix[j] for j in range(len(matrix))]
    return "".join("\t".join(map(str, row)) + "\n" for row in rows)


def written(folder: Path, name: str) -> Path:
    """The matrix in one of the formats, with its IDs."""
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    stem = name.removesuffix(".gz").removesuffix(".bin")
    (folder / f"{stem}.id").write_text(IDS)
    content: bytes
    if ".grm" in name:
        content = gcta_text().encode()
    elif "f8" in folder.name or "f4" in folder.name:
        square = "square" in folder.name
        numbers = (np.tril(MATRIX) if "square0" in folder.name else MATRIX).ravel() if square else MATRIX[LOWER]
        content = numbers.astype("<f8" if "f8" in folder.name else "<f4").tobytes()
    else:
        square0 = "square0" in folder.name
        content = rows_of(np.tril(MATRIX) if square0 else MATRIX, "triangle" in folder.name).encode()
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("text", "g.grm.gz"),
        ("text", "g.grm"),
        ("triangle", "g.rel"),
        ("square", "g.rel"),
        ("square0", "g.rel.gz"),
        ("f8 triangle", "g.rel.bin"),
        ("f4 triangle", "g.rel.bin"),
        ("f8 square", "g.rel.bin"),
        ("f4 square", "g.rel.bin"),
        ("f8 square0", "g.rel.bin"),
    ],
)
def test_every_shape(tmp_path, kind, name):
    (tmp_path / kind).mkdir()
    path = written(tmp_path / kind, name)
    relationship = read_relationship(path)
    assert relationship.lines == LINES
    np.testing.assert_array_equal(relationship.matrix, MATRIX)
    assert main(["grm", str(path), "--matrix", "--out", str(tmp_path / "out.csv")]) == 0
    np.testing.assert_array_equal(read_relationship(tmp_path / "out.csv").matrix, MATRIX)


@pytest.mark.parametrize("name", ["g.grm.id", "g", "g.grm"])
def test_the_text_of_gcta_by_other_names_of_it(tmp_path, name):
    written(tmp_path, "g.grm.gz")
    np.testing.assert_array_equal(read_relationship(tmp_path / name).matrix, MATRIX)


def test_the_ids_of_a_rel_stand_for_it(tmp_path):
    written(tmp_path, "g.rel")
    np.testing.assert_array_equal(read_relationship(tmp_path / "g.rel.id").matrix, MATRIX)


@pytest.mark.parametrize(
    ("ids", "lines"),
    [
        ("#FID IID\nF1 q1\nF1 x-2\nF2 003\n", LINES),
        ("#IID\nq1\nx-2\n003\n", LINES),
        ("#FID\tIID\tSID\na\tq1\t0\nb\tx-2\t0\nc\t003\t0\n", LINES),
        ("q1\nx-2\n003\n", LINES),
    ],
)
def test_ids_with_a_header_and_without_families(tmp_path, ids, lines):
    path = written(tmp_path, "g.grm.gz")
    (tmp_path / "g.grm.id").write_text(ids)
    assert read_relationship(path).lines == lines
    write_relationship(Relationship(MATRIX, LINES), tmp_path / "h.grm.bin")
    (tmp_path / "h.grm.id").write_text(ids)
    again = read_relationship(tmp_path / "h.grm.bin")
    assert again.lines == lines
    np.testing.assert_array_equal(again.matrix, MATRIX)


def test_either_id_names_the_lines(tmp_path):
    path = written(tmp_path, "g.grm.gz")
    (tmp_path / "g.grm.id").write_text("a 1\nb 2\nc 3\n")
    assert read_relationship(path).lines == ("1", "2", "3")
    assert read_relationship(path, ids="fid").lines == ("a", "b", "c")
    out = tmp_path / "out.csv"
    assert main(["grm", str(path), "--matrix", "--ids", "fid", "--out", str(out)]) == 0
    assert read_relationship(out).lines == ("a", "b", "c")
    (tmp_path / "g.grm.id").write_text("a 1\nb 1\nc 1\n")
    with pytest.warns(
        UserWarning, match=r"holds the individual's ID '1' throughout: .* ids='fid' .* without this"
    ) as told:
        assert read_relationship(path).lines == ("a", "b", "c")
    assert told[0].filename == __file__
    with pytest.raises(DataError, match=r"second column of g.grm.id names line '1' twice"):
        read_relationship(path, ids="iid")
    (tmp_path / "g.grm.id").write_text("a 1\na 2\nc 3\n")
    with pytest.raises(
        DataError, match=r"ID 'a' stands twice in the first column of g.grm.id \(individuals '1' and '2'"
    ):
        read_relationship(path, ids="fid")
    (tmp_path / "g.grm.id").write_text("#IID\n1\n2\n3\n")
    with pytest.raises(DataError, match=r"g.grm.id has no IDs of families"):
        read_relationship(path, ids="fid")
    with pytest.raises(UsageError, match="ids must be one of auto, iid, fid, got 'both'"):
        read_relationship(path, ids="both")


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        (
            "g.grm.gz",
            "3\t3\t200\t2.0\n",
            "",
            r"g.grm.gz has no entry for lines 3 and 3 \('003', '003'\) of the 3 lines of",
        ),
        ("g.grm.gz", "3\t3\t", "3\t4\t", "g.grm.gz has the lines 3 and 4 in row 6: expected numbers from 1 to 3"),
        ("g.grm.gz", "3\t3\t", "q3\t3\t", "g.grm.gz has the lines q3 and 3 in row 6: expected numbers from 1 to 3"),
        ("g.grm.gz", "3\t2\t", "2\t3\t", None),
        ("g.grm.gz", "3\t2\t", "3\t1\t", "g.grm.gz has the entry of lines 3 and 1 twice, in row 5 again"),
        ("g.grm.gz", "200\t2.0", "200", "g.grm.gz has 3 columns in row 6: expected four"),
        ("g.grm.gz", "\t2.0", "\tnan", r"g.grm.gz, row 6: the entry of lines '003' \(row\) and '003' .* is missing"),
        ("g.rel", "\t2.0", "\tnan", r"g.rel, row 3: the entry of lines '003' \(row\) and '003' .* is missing"),
        (
            "g.rel",
            "\t2.0",
            "",
            "g.rel has 2 numbers in row 3: expected 3 rows for the 3 lines of g.rel.id, each with 3",
        ),
        ("g.rel", "0.125\t0.0625\t2.0\n", "", "g.rel has 2 rows, but g.rel.id 3 lines: the two files do not belong"),
        ("g.rel", "\t2.0\n", "\t2.0\n1\t2\t3\n", "g.rel has 3 numbers in row 4: expected 3 rows"),
    ],
)
def test_bad_texts(tmp_path, capsys, name, old, new, words):
    path = written(tmp_path, name.removesuffix(".gz"))
    text = path.read_text()
    assert old in text
    path.unlink()
    content = text.replace(old, new).encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    if words is None:
        np.testing.assert_array_equal(read_relationship(tmp_path / name).matrix, MATRIX)
        return
    with pytest.raises(DataError, match=words) as raised:
        read_relationship(tmp_path / name)
    assert main(["grm", str(tmp_path / name), "--matrix", "--out", str(tmp_path / "o.csv")]) == 3
    assert str(raised.value) in capsys.readouterr().err


def test_bad_binaries_and_ids(tmp_path):
    (tmp_path / "f8 square").mkdir()
    path = written(tmp_path / "f8 square", "g.rel.bin")
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(
        DataError, match=r"g.rel.bin has 68 bytes, but 48 or 72 are needed for the lower triangle or all"
    ):
        read_relationship(path)
    path.with_name("g.rel.id").unlink()
    with pytest.raises(
        DataError, match=r"g.rel.id cannot be read: .*The names of the lines of g.rel.bin stand in g.rel"
    ):
        read_relationship(path)
    path = written(tmp_path, "g.rel")
    (tmp_path / "g.rel.id").write_text("#FID NAME\nF1 q1\n")
    with pytest.raises(DataError, match=r"g.rel.id has no column IID in its header"):
        read_relationship(path)
    (tmp_path / "g.rel.id").write_text("F1 q1\nF1 x 2\n")
    with pytest.raises(
        DataError, match=r"g.rel.id has 3 columns in row 2: expected two, the family's and the individual"
    ):
        read_relationship(path)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("g.rds", r"an object of R: write the matrix with write.csv\(G, 'G.csv'\)"),
        ("g.xlsx", "a workbook: save the sheet as CSV"),
        ("g.sgiv", "a binary file of ASReml: write the matrix as text"),
        ("g.king", "a table of kinships or of shared segments, which are no relationships"),
        ("g.rel.zst", "a compressed file of PLINK 2: unpack it with zstd -d"),
        ("g.npz", "a file of NumPy"),
        ("g.csv.zip", "an archive: unpack it first"),
    ],
)
def test_formats_that_are_recognised_and_not_read(tmp_path, capsys, name, words):
    (tmp_path / name).write_bytes(b"\x00\x01")
    with pytest.raises(DataError, match=f"{name} cannot be read as a relationship matrix: by its ending it is {words}"):
        read_relationship(tmp_path / name)
    assert main(["grm", str(tmp_path / name), "--matrix", "--out", str(tmp_path / "o.csv")]) == 3
    assert "by its ending it is" in capsys.readouterr().err
