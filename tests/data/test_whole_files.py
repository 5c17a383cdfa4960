"""Files are read to their end: nothing is cut short, swallowed or passed over without a word."""

from __future__ import annotations

import gzip
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bmtme import DataError, read_markers, read_relationship, read_trial
from bmtme.data.relationship.pedigree_table import read_pedigree

COLUMNS = {"line": "line", "env": "env", "traits": ["y"]}
TEXT = "line,env,y,note\na,E,1.5,\nb,E,2,x\nc,E,3,\nd,E,4,\n"

Workbook = Callable[..., Path]


@pytest.fixture
def workbook(tmp_path: Path) -> Workbook:
    """A workbook of nine rows whose sheet is changed by a pattern and its replacement."""

    def make(pattern: str = "", replacement: str = "", header: tuple[str, ...] = ("line", "env", "y")) -> Path:
        openpyxl = pytest.importorskip("openpyxl")
        book = openpyxl.Workbook()
        book.active.append(header)
        for j in range(4):
            for env in "AB":
                book.active.append((f"L{j}", env if header[1] == "env" else "", j + 0.1 * (env == "B")))
        plain, path = tmp_path / "plain.xlsx", tmp_path / "field.xlsx"
        book.save(plain)
        with zipfile.ZipFile(plain) as old, zipfile.ZipFile(path, "w") as new:
            for item in old.infolist():
                content = old.read(item)
                if item.filename == "xl/worksheets/sheet1.xml":
                    text, times = re.subn(pattern, replacement, content.decode(), flags=re.DOTALL)
                    assert times or not pattern
                    content = text.encode()
                new.writestr(item, content)
        return path

    return make


@pytest.mark.parametrize("tag", ["A1:C5", "A1", "A1:B9", "B2:C9"])
def test_a_wrong_extent_of_a_sheet_cuts_nothing_off(workbook, tag):
    trial = read_trial(workbook(r'<dimension ref="[^"]*"\s*/>', f'<dimension ref="{tag}"/>'), **COLUMNS)
    assert trial.n_records == 8
    np.testing.assert_allclose(trial.values[:, 0], [0, 0.1, 1, 1.1, 2, 2.1, 3, 3.1])


def test_a_wrong_extent_cuts_no_pedigree_off(workbook):
    path = workbook(r'<dimension ref="[^"]*"\s*/>', '<dimension ref="A1:C3"/>', header=("id", "sire", "dam"))
    assert len(read_pedigree(path)) == 8


@pytest.mark.parametrize(
    ("pattern", "replacement", "words"),
    [
        (r'(<row r=")9(".*?<c r="A)9', r"\g<1>3\g<2>3", r"sheet 'Sheet' of field.xlsx has row 3 after row 8"),
        (r'(<row r=")9"', r'\g<1>999999999999"', r"field.xlsx has row 999999999999, but a sheet ends at 1048576"),
        (r'(<c r="B5".*?</c>)(<c r="C5".*?</c>)', r"\2\1", r"has the cell B5 at a wrong place"),
        (r'<c r="C5"', '<c r="C6"', r"has the cell C6 at a wrong place"),
        (r"</sheetData>", '</sheetData><mergeCells><mergeCell ref="C2:C3"/></mergeCells>', "merged cells C2:C3"),
    ],
)
def test_what_a_workbook_hides_is_refused(workbook, pattern, replacement, words):
    with pytest.raises(DataError, match=words):
        read_trial(workbook(pattern, replacement), **COLUMNS)


# --- text -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (TEXT.replace("b,E", "b\0,E").encode(), r"p.csv holds a zero byte in row 3"),
        (TEXT.encode("utf-16-le"), r"p.csv holds a zero byte in row 1"),
        (TEXT.replace("1.5,", '1.5,"see').replace("3,", '3,good"').encode(), r"a quote in row 2 .* only 2 rows"),
        (TEXT.replace("a,E,1.5", '"a,E,1.5').replace("b,E", 'b",E').encode(), r"a quote in row 2 .* only 1 row "),
        (TEXT.replace("1.5,", '1.5,"see').encode(), r"at row 2: a quote that opens there is never closed"),
        (gzip.compress(TEXT.encode(), mtime=0)[:-9], r"p.csv is a damaged gzip file"),
        (gzip.compress(TEXT.encode(), mtime=0) + b"more", r"p.csv is a damaged gzip file"),
    ],
)
def test_a_text_that_would_lose_rows_is_refused(tmp_path, content, words):
    path = tmp_path / "p.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_trial(path, **COLUMNS)


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        gzip.compress(TEXT[:30].encode(), mtime=0) + gzip.compress(TEXT[30:].encode(), mtime=0),
        TEXT.replace("1.5,", '1.5,"a comma, here\nand, there"').encode(),
        TEXT.replace("1.5,", '1.5,"two\nlines"').encode(),
    ],
)
def test_a_text_is_read_to_its_end(tmp_path, content):
    path = tmp_path / "p.csv"
    path.write_bytes(content)
    assert read_trial(path, **COLUMNS).lines == ("a", "b", "c", "d")


def test_a_bgzip_file_without_its_end(tmp_path):
    end = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")

    def block(text: str) -> bytes:
        packed = zlib.compressobj(wbits=-15)
        body = packed.compress(text.encode()) + packed.flush()
        head = bytes.fromhex("1f8b08040000000000ff060042430200") + struct.pack("<H", len(body) + 25)
        return head + body + struct.pack("<II", zlib.crc32(text.encode()), len(text))

    path = tmp_path / "p.csv.gz"
    path.write_bytes(block(TEXT[:33]) + block(TEXT[33:]) + end)
    assert read_trial(path, **COLUMNS).lines == ("a", "b", "c", "d")
    path.write_bytes(block(TEXT[:33]))  # up to the end of a row
    with pytest.raises(DataError, match=r"p.csv.gz is a damaged gzip file \(the block that ends a bgzip file is"):
        read_trial(path, **COLUMNS)


def test_a_table_as_large_as_a_sheet_is_told(tmp_path):
    path = tmp_path / "m.csv"
    names = ",".join(f"m{k}" for k in range(1, 16384))
    path.write_text(f"line,{names}\n" + "".join(f"{j},{','.join('012'[j] * 16383)}\n" for j in range(3)))
    with pytest.warns(UserWarning, match=r"m.csv has exactly 16,384 columns, the most that a spreadsheet program"):
        assert read_markers(path).shape == (3, 16383)


def test_row_groups_of_parquet(tmp_path):
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"line": [f"L{j}" for j in range(9)], "env": "E", "y": np.arange(9.0)})
    frame.to_parquet(tmp_path / "p.parquet", row_group_size=2, index=False)
    assert read_trial(tmp_path / "p.parquet", **COLUMNS).n_records == 9
    content = (tmp_path / "p.parquet").read_bytes()
    (tmp_path / "p.parquet").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"p.parquet is no Parquet file, or a damaged one"):
        read_trial(tmp_path / "p.parquet", **COLUMNS)


def test_a_matrix_that_is_cut_off(tmp_path):
    lines = [f"L{j}" for j in range(5)]
    text = pd.DataFrame(np.eye(5) + 0.1, index=lines, columns=lines).to_csv()
    path = tmp_path / "g.csv"
    path.write_text("\n".join(text.splitlines()[:-1]) + "\n")
    with pytest.raises(DataError, match=r"g.csv has 'L4' only among the columns"):
        read_relationship(path)


def test_a_vcf_that_is_cut_off(tmp_path):
    pytest.importorskip("cyvcf2")
    head = '##fileformat=VCFv4.2\n##contig=<ID=1>\n##FORMAT=<ID=GT,Number=1,Type=String,Description="g">\n'
    text = head + "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ta\tb\n1\t9\tm\tA\tC\t.\t.\t.\tGT\t1/1\t0/1\n"
    path = tmp_path / "m.vcf"
    path.write_text(text[:-3])  # 0/1 is 0 now
    with pytest.raises(DataError, match=r"m.vcf ends within row 5, without a line break"):
        read_markers(path)
