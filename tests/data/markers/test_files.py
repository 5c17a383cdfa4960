"""Marker tables and archives, and formats that need a library."""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bmtme.data.markers.files import read_markers
from bmtme.errors import DataError, UsageError
from tests.helpers.markers import LINES, codes_of

# --- tables and archives ----------------------------------------------------------------------------------------


def write_table(frame: pd.DataFrame, path: Path, **words: object) -> Path:
    frame.to_csv(path, sep="\t" if ".tsv" in path.name else ",", index_label="line", **words)
    return path


@pytest.mark.parametrize("name", ["m.csv", "m.tsv", "m.csv.gz", "m.txt"])
def test_tables(gaps, tmp_path, name):
    source = read_markers(write_table(gaps.astype("Int64"), tmp_path / name))
    assert source.lines == LINES
    assert source.names == tuple(gaps.columns)
    np.testing.assert_array_equal(codes_of(source), gaps)
    np.testing.assert_array_equal(codes_of(source), gaps)  # readable again
    assert repr(source) == f"Markers({name}: 8 lines x 60 markers)"


def test_table_with_dosages_and_codes_for_missing(gaps, tmp_path):
    frame = gaps.astype("Int64").astype(object).where(gaps.notna(), "--")
    frame.iloc[0, 0] = 0.25
    frame.iloc[1, 0] = "-9"
    frame.iloc[1, 1] = "nan"
    source = read_markers(write_table(frame, tmp_path / "m.csv"), missing=["--"])
    expected = gaps.copy()
    expected.iloc[0, 0] = 0.25
    expected.iloc[1, :2] = np.nan
    np.testing.assert_array_equal(codes_of(source), expected)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("line,m1,m2\na,0,1\nb,AA,2\n", "m.csv, row 3: the genotype of line 'b' at marker 'm1' is 'AA': expected"),
        ("line,m1,m2\na,0,1\nb,7,2\n", "m.csv: the genotype of line 'b' at marker 'm1' is 7: expected 0, 1 or 2"),
        ("line,m1,m2\na,0,1\nb,inf,2\n", "m.csv: the genotype of line 'b' at marker 'm1' is inf"),
        ("line,m1,m2\na,0,1\na,1,2\n", "the first column of m.csv names line 'a' twice"),
        ("line,m1,m2\n,0,1\nb,1,2\n", "m.csv has no line name in row 2"),
        ("line,m1,m1\na,0,1\nb,1,2\n", r"m.csv has two columns named 'm1' \(columns 2 and 3\)"),
        ("line,m1,m2\na,0\nb,1,2\n", "m.csv has 2 cells in row 2 but 3 in its header"),
        ("line,m1,m2\n", "the first column of m.csv names no lines"),
        ("line\na\nb\n", "m.csv has no markers"),
        ("", "m.csv is empty"),
        ("line;m1;m2\na;0;1\n", "separate its columns by semicolons"),
        ("line,m1,m2\na,0,-1\nb,1,2\n", "'a' at marker 'm2' is -1, and that of line 'b' at marker 'm2' is 2"),
    ],
)
def test_bad_tables(tmp_path, text, words):
    path = tmp_path / "m.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=words):
        read_markers(path)


def test_no_such_file(tmp_path):
    for name in ("none.csv", "none.npz", "none.vcf", "none.bed"):
        if name.endswith(("vcf", "bed")):
            pytest.importorskip({"vcf": "cyvcf2", "bed": "bed_reader"}[name[-3:]])
        with pytest.raises(DataError, match=r"none\.\w+ cannot be read: No such file or directory"):
            read_markers(tmp_path / name)


@pytest.mark.parametrize("names", [("markers", "line", "snp"), ("genotypes", "lines", "marker")])
def test_archives(gaps, tmp_path, names):
    codes = gaps.fillna(-128).astype(np.int8).to_numpy()
    arrays = dict(zip(names, (codes, np.array(LINES), np.array(gaps.columns, dtype=str)), strict=True))
    np.savez_compressed(tmp_path / "m.npz", **arrays)
    source = read_markers(tmp_path / "m.npz")
    assert source.lines == LINES
    assert source.names[:2] == ("m0", "m1")
    np.testing.assert_array_equal(codes_of(source), gaps)
    del arrays[names[2]]
    np.savez(tmp_path / "n.npz", **arrays)
    assert read_markers(tmp_path / "n.npz").names[:2] == ("1", "2")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"G": np.zeros((2, 3)), "line": ["a", "b"]}, "has the arrays 'G', 'line': expected markers"),
        ({"markers": np.zeros((2, 3))}, "has the arrays 'markers': expected markers"),
        ({"markers": np.zeros(6), "line": ["a", "b"]}, r"'markers' of m.npz has shape \(6,\)"),
        ({"markers": np.full((2, 3), "A"), "line": ["a", "b"]}, "type <U1: expected numbers"),
        ({"markers": np.zeros((2, 3)), "line": ["a"]}, r"'line' of m.npz has shape \(1,\), but 'markers' has 2 lines"),
        ({"markers": np.zeros((2, 3)), "line": ["a", "b"], "snp": ["x"]}, "'snp' of m.npz .* has 3 markers"),
        ({"markers": np.zeros((2, 3)), "line": ["a", "a"]}, "the array 'line' of m.npz names line 'a' twice"),
        ({"markers": np.full((2, 3), 5), "line": ["a", "b"]}, "line 'a' at marker '1' is 5"),
        ({"markers": np.zeros((2, 3)), "line": np.array(["a", None], dtype=object)}, "array of Python objects"),
    ],
)
def test_bad_archives(tmp_path, arrays, words):
    np.savez(tmp_path / "m.npz", **arrays)
    with pytest.raises(DataError, match=words):
        read_markers(tmp_path / "m.npz")


def text_in_a_zip() -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as file:
        file.writestr("markers.npy", "0 1 2")
        file.writestr("line.npy", "a")
    return held.getvalue()


def damaged_zip() -> bytes:
    held = io.BytesIO()
    np.savez_compressed(held, markers=np.random.default_rng(1).integers(0, 3, (50, 50)), line=np.arange(50))
    content = bytearray(held.getvalue())
    content[200:260] = bytes(60)
    return bytes(content)


def test_files_that_are_no_archives(tmp_path):
    path = tmp_path / "m.npz"
    for content in (b"", b"line,m1\na,0\n", b"PK\x03\x04" + bytes(100), damaged_zip()):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"m.npz is no NumPy archive, or a damaged one"):
            read_markers(path)
    path.write_bytes(text_in_a_zip())
    with pytest.raises(DataError, match=r"'markers' of m.npz has shape .* expected numbers"):
        read_markers(path)
    with open(path, "wb") as file:
        np.save(file, np.zeros((2, 3)))
    with pytest.raises(DataError, match=r"m.npz holds a single array"):
        read_markers(path)


# --- optional libraries, codings of formats that have their own --------------------------------------------------


@pytest.mark.parametrize(
    ("name", "library", "extra"), [("m.bed", "bed_reader", "plink"), ("m.vcf.gz", "cyvcf2", "vcf")]
)
def test_missing_library(name, library, extra, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UsageError, match=rf"reading {name} needs .* {library}, .*pip install 'bmtme\[{extra}\]'"):
        read_markers(tmp_path / name)


@pytest.mark.parametrize("name", ["m.bed", "m.vcf"])
@pytest.mark.parametrize("words", [{"coding": "012"}, {"missing": ["-1"]}])
def test_coding_of_a_format_that_has_its_own(name, words):
    with pytest.raises(UsageError, match=f"{name} says itself what its genotypes are"):
        read_markers(name, **words)
