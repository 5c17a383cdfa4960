"""Relationship files: every format read back as it was written, bad files, and writing that is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bmtme
from bmtme.data.relationship.files import read_relationship, write_relationship
from bmtme.data.relationship.matrix import Relationship
from bmtme.errors import DataError, MachineError, UsageError
from tests.helpers.tables import NAMES

#: GCTA's files hold no white space; all else goes.
EXACT = ("g.csv", "g.csv.gz", "g.tsv", "g.tsv.gz", "g.parquet")


def need(name: str) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")


# --- round trips ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXACT)
def test_round_trip_keeps_every_bit(relationship, tmp_path, name):
    need(name)
    write_relationship(relationship, tmp_path / "new" / name)
    again = read_relationship(tmp_path / "new" / name)
    assert again.lines == NAMES
    assert again.matrix.tobytes() == relationship.matrix.tobytes()
    assert [file.name for file in (tmp_path / "new").iterdir()] == [name]


@pytest.mark.parametrize("name", EXACT)
def test_names_with_spaces_and_one_line(tmp_path, name):
    need(name)
    for k, rel in enumerate((Relationship([[1.0, 0.5], [0.5, 2.0]], ["a b", "c\td"]), Relationship([[0.3]], ["0"]))):
        path = tmp_path / str(k) / name
        write_relationship(rel, path)
        again = read_relationship(path)
        assert again.lines == rel.lines
        np.testing.assert_array_equal(again.matrix, rel.matrix)


@pytest.mark.parametrize("name", [*EXACT, "g.grm.bin"])
def test_identity_comes_back_as_identity(tmp_path, name):
    need(name)
    write_relationship(Relationship.identity(["a", "b", "c"]), tmp_path / name)
    assert read_relationship(tmp_path / name).is_identity


def test_same_matrix_same_bytes(relationship, tmp_path):
    for folder in ("one", "two"):
        write_relationship(relationship, tmp_path / folder / "g.csv.gz")
    assert (tmp_path / "one" / "g.csv.gz").read_bytes() == (tmp_path / "two" / "g.csv.gz").read_bytes()


@pytest.mark.parametrize("target", ["g.grm.bin", "g"])
def test_gcta_round_trip(relationship, tmp_path, target):
    write_relationship(relationship, tmp_path / target, markers=250)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["g.grm.N.bin", "g.grm.bin", "g.grm.id"]
    single = relationship.matrix.astype(np.float32)
    for name in ("g", "g.grm", "g.grm.bin", "g.grm.id", "g.grm.N.bin"):
        again = read_relationship(tmp_path / name)
        assert again.lines == NAMES
        np.testing.assert_array_equal(again.matrix, single.astype(float))
    # A second time nothing is lost.
    write_relationship(again, tmp_path / "h.grm.bin", markers=250)
    for ending in (".grm.bin", ".grm.id", ".grm.N.bin"):
        assert (tmp_path / f"g{ending}").read_bytes() == (tmp_path / f"h{ending}").read_bytes()


def test_gcta_format_by_its_own_words(relationship, tmp_path):
    """Lower triangle row by row in 32-bit floats, counts likewise, family and individual in text."""
    write_relationship(relationship, tmp_path / "g.grm.bin", markers=7)
    triangle = np.fromfile(tmp_path / "g.grm.bin", dtype="<f4")
    np.testing.assert_array_equal(triangle, relationship.matrix[np.tril_indices(len(NAMES))].astype("<f4"))
    np.testing.assert_array_equal(np.fromfile(tmp_path / "g.grm.N.bin", dtype="<f4"), np.full(36, 7.0, "<f4"))
    ids = (tmp_path / "g.grm.id").read_text(encoding="utf-8").splitlines()
    assert ids == [f"{line}\t{line}" for line in NAMES]
    (tmp_path / "g.grm.id").write_text("".join(f"fam{j} l{j}\n" for j in range(8)))
    (tmp_path / "g.grm.N.bin").unlink()
    assert read_relationship(tmp_path / "g.grm.bin").lines == tuple(f"l{j}" for j in range(8))


def test_parquet_of_pandas(relationship, tmp_path):
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame(relationship.matrix, index=NAMES, columns=NAMES)
    shuffled = frame[sorted(NAMES)]
    shuffled.to_parquet(tmp_path / "index.parquet")
    shuffled.rename_axis("name").reset_index().to_parquet(tmp_path / "column.parquet")
    for name in ("index", "column"):
        again = read_relationship(tmp_path / f"{name}.parquet")
        assert again.lines == NAMES
        np.testing.assert_array_equal(again.matrix, relationship.matrix)


# --- bad files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "content", "words"),
    [
        (".grm.id", None, r"g.grm.id cannot be read: No such file.* files side by side with one name, .grm.id"),
        (".grm.id", b"f a b\n" * 8, "g.grm.id has 3 columns in row 1: expected two"),
        (".grm.id", b"f a\n" * 8, "the second column of g.grm.id names line 'a' twice"),
        (".grm.id", b"f a\nf b\n", r"g.grm.bin has 144 bytes, but 12 are needed for the lower triangle of the 2 lines"),
        (".grm.id", b"f \xff\n", "g.grm.id is not UTF-8 text"),
        (".grm.id", b"", "the second column of g.grm.id names no lines"),
        (".grm.bin", bytes(143), "g.grm.bin has 143 bytes, but 144 are needed"),
        (".grm.bin", bytes(144), "g.grm.bin has 0 on the diagonal for line '001'"),
        (".grm.bin", b"\x00\x00\xc0\x7f" * 36, r"g.grm.bin: the entry of lines '001' .* and '001' .* is missing"),
        (".grm.bin", None, "g.grm.bin cannot be read: No such file"),
    ],
)
def test_bad_gcta_files(relationship, tmp_path, ending, content, words):
    write_relationship(relationship, tmp_path / "g.grm.bin")
    file = tmp_path / f"g{ending}"
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_relationship(tmp_path / "g.grm.bin")


def broken_metadata_and_texts(frame, path, refused):
    """What shows only when the file is decoded."""
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = pyarrow.Table.from_pandas(frame)
    parquet.write_table(table.replace_schema_metadata({b"pandas": b"{ no JSON"}), path)
    refused("g.parquet is no Parquet file, or a damaged one")
    names = [b"\xff" + str(name).encode() for name in frame.index]
    texts = pyarrow.array(names, pyarrow.binary()).view(pyarrow.string())
    columns = [texts, *(pyarrow.array(frame[name].to_numpy()) for name in frame)]
    parquet.write_table(pyarrow.table(columns, names=["name", *frame]), path)
    refused("g.parquet is no Parquet file, or a damaged one")
    columns[0] = pyarrow.array(list(frame.index))
    parquet.write_table(pyarrow.table(columns, names=["name", frame.columns[1], *frame.columns[1:]]), path)
    refused(f"the header of g.parquet names line '{frame.columns[1]}' twice")


def test_bad_parquet_files(relationship, tmp_path):
    pytest.importorskip("pyarrow")
    path = tmp_path / "g.parquet"
    frame = pd.DataFrame(relationship.matrix, index=NAMES, columns=NAMES)

    def refused(words: str) -> None:
        with pytest.raises(DataError, match=words):
            read_relationship(path)

    refused("g.parquet cannot be read: No such file")
    path.write_text("line,a\na,1\n")
    refused("g.parquet is no Parquet file, or a damaged one")
    broken_metadata_and_texts(frame, path, refused)
    frame.reset_index(drop=True).to_parquet(path)
    refused("g.parquet has 8 rows and 8 columns: expected the names of the lines in the first column")
    frame.iloc[:5].to_parquet(path)
    refused("g.parquet has 5 rows and 8 columns")
    frame.rename(index={"NA": "N/A"}).to_parquet(path)
    refused("g.parquet has 'N/A' only among the rows and 'NA' only among the columns")
    frame.mask(np.eye(8) == 1).to_parquet(path)
    refused("g.parquet: the entry of lines '001' .* is missing")
    (frame + np.triu(np.ones((8, 8)))).to_parquet(path)
    refused("g.parquet is not symmetric")
    frame.assign(line="text").to_parquet(path)
    refused(r"g.parquet: the entry of lines '001' \(row\) and 'line' \(column\) is 'text'")


# --- writing that is refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["g.cvs", "g.xlsx", "g.gz", "g.npz"])
def test_unknown_endings(relationship, tmp_path, name):
    with pytest.raises(UsageError, match=rf"{name} does not say in which format .* \.csv, .*\.grm\.bin \(GCTA\)"):
        write_relationship(relationship, tmp_path / name)


@pytest.mark.parametrize(("name", "present"), [("g.csv", "g.csv"), ("g.grm.bin", "g.grm.id"), ("g", "g.grm.bin")])
def test_files_in_the_way_stay(relationship, tmp_path, name, present):
    (tmp_path / present).write_text("precious")
    with pytest.raises(UsageError, match=f"{present} is there already: choose another name, or remove it"):
        write_relationship(relationship, tmp_path / name)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["precious"]


def test_places_that_are_none(relationship, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"g.csv cannot be made: .*file is a file"):
        write_relationship(relationship, tmp_path / "file" / "g.csv")
    with pytest.raises(UsageError, match="names no file"):
        write_relationship(relationship, "/")


def test_names_that_gcta_cannot_hold(tmp_path):
    with pytest.raises(DataError, match="GCTA's files cannot hold the name 'a b'"):
        write_relationship(Relationship(np.eye(2) + 1, ["a b", "c"]), tmp_path / "g.grm.bin")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["g.csv", "g.csv.gz", "g.parquet", "g.grm.bin"])
@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_nothing_half_written(tmp_path, monkeypatch, name, failure):
    need(name)

    class Failing(Relationship):
        __slots__ = ()

        @property
        def matrix(self):
            raise failure

    rel = Failing(np.eye(3) + 1, ["a", "b", "c"])
    with pytest.raises(KeyboardInterrupt if failure is KeyboardInterrupt else MachineError) as caught:
        write_relationship(rel, tmp_path / name)
    if caught.type is UsageError:
        assert "cannot be written: No space left on device" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_missing_library(relationship, tmp_path, monkeypatch):
    for module in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, module, None)
    words = r"{} g.parquet needs .* pyarrow, .*pip install 'bmtme\[parquet\]'"
    with pytest.raises(UsageError, match=words.format("writing")):
        write_relationship(relationship, tmp_path / "g.parquet")
    with pytest.raises(UsageError, match=words.format("reading")):
        read_relationship(tmp_path / "g.parquet")
    assert not list(tmp_path.iterdir())


# --- bending ----------------------------------------------------------------------------------------------------


def test_public_names():
    assert bmtme.read_relationship is read_relationship
    assert bmtme.write_relationship is write_relationship
    for name in ("Markers", "read_markers", "filter_markers", "duplicated_lines", "vanraden", "gaussian_kernel"):
        assert callable(getattr(bmtme, name))


def test_write_accepts_text_paths(relationship, tmp_path):
    write_relationship(relationship, str(tmp_path / "g.csv"))
    assert Path(tmp_path / "g.csv").read_text(encoding="utf-8").startswith("line,001,1,NA,é,")
