"""Fuzz of files and tables: each case ends in a result or in one of our own errors that names the place.

``BMTME_FUZZ=20 pytest tests/fuzz`` runs twenty times as many cases, random ones (see `helpers.fuzzing`). Files that
libraries written in C take apart are read by a process of their own, so that a crash is a failure like any other.
"""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Iterator, Sequence
from datetime import datetime, time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.fuzzing import (
    LINES,
    PLACES,
    Draw,
    Rows,
    Worker,
    check_shell,
    damage_bytes,
    damage_rows,
    examples,
    grm_rows,
    long_rows,
    marker_codes,
    marker_rows,
    pedigree_rows,
    place_file,
    run_here,
    wide_rows,
    write_rows,
)

COLUMNS = ("--line", "line", "--env", "env")
SHORT = ("--draws", "2", "--tune", "2", "--chains", "1", "--seed", "1")


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    started = Worker()
    yield started
    started.stop()


# --- files ------------------------------------------------------------------------------------------------------


def vcf_text() -> bytes:
    head = ["##fileformat=VCFv4.2", '##FORMAT=<ID=GT,Number=1,Type=String,Description="G">', "##contig=<ID=1>"]
    head.append("\t".join(["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", *LINES]))
    for k, codes in enumerate(marker_codes().T):
        fields = ["1", str(k + 1), f"m{k}", "A", "C", ".", ".", ".", "GT"]
        head.append("\t".join([*fields, *(("0/0", "0/1", "1/1")[code] for code in codes)]))
    return ("\n".join(head) + "\n").encode()


def save_plink(draw: Draw, stem: Path) -> None:
    bits = np.array([0b00, 0b10, 0b11], dtype=np.uint8)[marker_codes()].T
    padded = np.pad(bits, ((0, 0), (0, -bits.shape[1] % 4))).reshape(len(bits), -1, 4)
    body = (padded << np.array([0, 2, 4, 6], dtype=np.uint8)).sum(axis=2).astype(np.uint8).tobytes()
    fam = "".join(f"f {line.replace(' ', '_')} 0 0 0 -9\n" for line in LINES)
    bim = "".join(f"1 m{k} 0 {k + 1} A C\n" for k in range(len(bits)))
    for ending, raw in ((".bed", b"\x6c\x1b\x01" + body), (".fam", fam.encode()), (".bim", bim.encode())):
        place_file(draw, stem.with_suffix(ending), damage_bytes(draw, raw))


def save_gcta(draw: Draw, stem: Path) -> None:
    matrix = np.array([row[1:] for row in grm_rows()[1:]], dtype=float)
    entries = [(matrix[j, : j + 1]).astype("<f4") for j in range(len(matrix))]
    if draw(st.integers(0, 3)) == 0:
        j = draw(st.integers(0, len(entries) - 1))
        entries[j][draw(st.integers(0, j))] = draw(st.floats(width=32))
    ids = "".join(f"f\t{line.replace(' ', '_')}\n" for line in LINES).encode()
    body = np.concatenate(entries).tobytes()
    for ending, raw in ((".grm.id", ids), (".grm.bin", body), (".grm.N.bin", body)):
        place_file(draw, Path(f"{stem}{ending}"), damage_bytes(draw, raw))


def save_triangle(draw: Draw, folder: Path) -> Path:
    """GCTA's text, PLINK's .rel and .rel.bin or ASReml's .giv and .grm, with the names beside it."""
    name = draw(st.sampled_from(["grm.grm.gz", "grm.grm", "grm.rel", "grm.rel.bin", "grm.giv", "grm.csv"]))
    matrix = np.array([row[1:] for row in grm_rows()[1:]], dtype=float)
    n = len(matrix)
    if name.endswith(".bin"):
        raw = matrix.astype(draw(st.sampled_from(["<f8", "<f4"]))).tobytes()
    else:
        pairs = [(j, k, str(matrix[j, k])) for j in range(n) for k in range(j + 1)]
        labels = [str(j + 1) for j in range(n)] if draw(st.integers(0, 3)) else list(LINES)
        if name == "grm.grm.gz" or (name == "grm.grm" and draw(st.booleans())):
            rows = [[labels[j], labels[k], "99", entry] for j, k, entry in pairs]
        elif name == "grm.rel":
            rows = [row[1:] for row in grm_rows()[1:]]
        else:
            rows = [[labels[j], labels[k], entry] for j, k, entry in pairs]
            rows = draw(st.sampled_from([[], [["Row", "Column", "Ainverse"]], [["!LDET", "0.5"]]])) + rows
        raw = write_rows(draw, damage_rows(draw, rows), draw(st.sampled_from([" ", "\t", ","])))
    place_file(draw, folder / name, damage_bytes(draw, raw))
    ids = draw(st.sampled_from(["#FID IID\n", "", ""])) + "".join(f"f {line.replace(' ', '_')}\n" for line in LINES)
    if draw(st.integers(0, 5)):
        stem = name.removesuffix(".gz").removesuffix(".bin")
        place_file(draw, folder / f"{stem}.id", damage_bytes(draw, ids.encode()))
    return folder / name


def hapmap_rows() -> Rows:
    head = "rs# alleles chrom pos strand assembly# center protLSID assayLSID panelLSID QCcode".split()
    rows = [[*head, *LINES]]
    for k, codes in enumerate(marker_codes().T):
        rows.append([f"m{k}", "A/G", "1", str(k), "+", *["NA"] * 6, *("ARG"[code] for code in codes)])
    return rows


def dart_rows(two: bool) -> Rows:
    rows = [["*"] * 4 + list("ABCDEF"), ["AlleleID", "SNP", "CallRate", "RepAvg", *LINES]]
    for k, codes in enumerate(marker_codes().T):
        if two:
            rows.append([f"{k}|F|0", "", "1", "1", *("110"[code] for code in codes)])
        snp = "011" if two else "021"
        rows.append([f"{k}|F|0-1:C>T", "1:C>T", "1", "1", *(snp[code] for code in codes)])
    return rows


def raw_rows() -> Rows:
    head = ["FID", "IID", "PAT", "MAT", "SEX", "PHENOTYPE"]
    rows = marker_rows()
    return [[*head, *rows[0][1:]], *(["f", row[0], "0", "0", "1", "-9", *row[1:]] for row in rows[1:])]


def book(draw: Draw, rows: Rows) -> bytes:
    """A workbook, some of whose cells are no text."""
    import openpyxl

    workbook = openpyxl.Workbook()
    values: list[Any] = [1, 1.5, True, None, "=1/0", "=A1", "#REF!", 1e300, datetime(2020, 1, 2), time(3)]
    for row in rows:
        plain = ["".join(sign for sign in cell if sign.isprintable())[:3000] for cell in row]
        workbook.active.append([float(cell) if cell.replace(".", "", 1).isdecimal() else cell for cell in plain])
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(1, 10)), draw(st.integers(1, 7))
        workbook.active.cell(*place).value = draw(st.sampled_from(values))
    if draw(st.integers(0, 5)) == 0:
        workbook.create_sheet(draw(st.sampled_from(["more", "Sheet2"])), draw(st.integers(0, 1)))
    file = io.BytesIO()
    workbook.save(file)
    return file.getvalue()


def parquet(draw: Draw, rows: Rows) -> bytes:
    import pyarrow
    import pyarrow.parquet

    columns = [list(column) for column in zip(*rows[1:], strict=False)]
    names = [*rows[0], *"abcdefg"][: len(columns)] if rows else []
    arrays = []
    for column in columns:
        kind = draw(st.sampled_from(["text", "text", "number", "list", "date", "bytes", "dictionary", "decimal"]))
        texts = pyarrow.array(column, pyarrow.string())
        try:
            array = {
                "text": lambda texts: texts,
                "number": lambda texts: texts.cast(pyarrow.float64()),
                "list": lambda texts: pyarrow.array([[text] for text in texts.to_pylist()]),
                "date": lambda texts: pyarrow.array(range(len(texts)), pyarrow.date32()),
                "bytes": lambda texts: texts.cast(pyarrow.binary()),
                "dictionary": lambda texts: texts.dictionary_encode(),
                "decimal": lambda texts: texts.cast(pyarrow.float64()).cast(pyarrow.decimal128(12, 3)),
            }[kind](texts)
        except pyarrow.ArrowInvalid:
            array = texts
        arrays.append(array)
    file = io.BytesIO()
    if arrays:
        pyarrow.parquet.write_table(pyarrow.Table.from_arrays(arrays, names=names), file)
    return file.getvalue()


def table_file(draw: Draw, folder: Path, stem: str, rows: Rows, gently: bool = False) -> Path:
    """A table as a file, damaged first as a table and then, unless gently, as bytes."""
    if gently:
        path = folder / f"{stem}.csv"
        with open(path, "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(damage_rows(draw, rows, 1))
        return path
    kind = draw(st.sampled_from([".csv"] * 6 + [".tsv", ".txt", ".csv.gz", "", ".xlsx", ".parquet", ".parquet"]))
    rows = damage_rows(draw, rows)
    if kind == ".xlsx":
        raw = book(draw, rows)
    elif kind == ".parquet":
        raw = parquet(draw, rows)
    else:
        raw = write_rows(draw, rows, "\t" if kind == ".tsv" else " " if kind == ".txt" else ",")
    others = [".xlsx", ".parquet", ".npz", ".grm.bin", ".CSV"]
    ending = kind if draw(st.integers(0, 15)) else draw(st.sampled_from(others))
    path = folder / f"{stem}{ending}"
    place_file(draw, path, damage_bytes(draw, raw))
    return path


def pick(draw: Draw, *groups: Sequence[str], often: int = 3) -> list[str]:
    """Words of some of the groups."""
    return [word for group in groups if draw(st.integers(0, often)) == 0 for word in group]


def pheno_words(draw: Draw, folder: Path, **how: Any) -> list[str]:
    """A file of phenotypes and the options that describe it."""
    if draw(st.booleans()):
        path = table_file(draw, folder, "pheno", wide_rows(), **how)
        form = ["--rep", "rep", "--traits", draw(st.sampled_from(["Yield,PH", "Yield", "PH,env", "yield,ph"]))]
    else:
        path = table_file(draw, folder, "pheno", long_rows(), **how)
        form = ["--rep", "rep", "--trait", "trait", "--value", "value"]
    drop = draw(st.integers(0, 9))
    more = pick(draw, ["--missing", "-9,x"], ["--decimal", ","], ["--sheet", "Sheet"], ["--drop-unrelated"], often=6)
    return [str(path), *COLUMNS, *(form if drop else form[2:]), *more]


# --- files, by the shell ----------------------------------------------------------------------------------------


@examples(60)
@given(data=st.data())
def test_check(data: st.DataObject, worker: Worker) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = ["check", *pheno_words(data.draw, folder)]
        kin = data.draw(st.sampled_from(["none", "grm", "ped"]))
        if kin == "grm":
            words += ["--relationship", str(table_file(data.draw, folder, "grm", grm_rows()))]
        elif kin == "ped":
            words += ["--relationship", str(table_file(data.draw, folder, "ped", pedigree_rows()))]
            words += pick(data.draw, ["--founders"], ["--selfing", "2"])
        out = folder / "report" if data.draw(st.booleans()) else None
        check_shell(worker, [*words, *([] if out is None else ["--out", str(out)])], folder, out, PLACES)


@examples(40)
@given(data=st.data())
def test_relationship_files(data: st.DataObject, worker: Worker) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kind = data.draw(st.integers(0, 3))
        if kind < 2:
            path = table_file(data.draw, folder, "grm", grm_rows())
        elif kind == 2:
            path = save_triangle(data.draw, folder)
        else:
            save_gcta(data.draw, folder / "grm")
            path = folder / data.draw(st.sampled_from(["grm.grm.bin", "grm", "grm.grm.id", "grm.grm"]))
        names = ["new.csv", "new.tsv.gz", "new.parquet", "new", "new/er.csv", "new.doc"]
        out = folder / data.draw(st.sampled_from(names))
        words = ["grm", str(path), "--matrix", "--out", str(out)]
        check_shell(
            worker,
            words + pick(data.draw, ["--blend", "0.1"], ["--bend"], ["--inverse"], ["--ids", "fid"]),
            folder,
            out,
            PLACES,
        )


@examples(60)
@given(data=st.data())
def test_marker_files(data: st.DataObject, worker: Worker) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = marker_file(data.draw, folder)
        out = folder / "new.csv"
        words = ["grm", str(path), "--out", str(out)]
        words += pick(
            data.draw,
            ["--min-maf", "0.1", "--min-call-rate-line", "0.9"],
            ["--method", "2"],
            ["--method", "gaussian"],
            ["--missing", "x"],
            ["--coding", "-101"],
            ["--ploidy", "4"],
            often=5,
        )
        check_shell(worker, words, folder, out, PLACES)


def marker_file(draw: Draw, folder: Path) -> Path:
    kind = draw(st.sampled_from(["table", "vcf", "vcf", "plink", "npz", "hapmap", "dart", "dart", "raw"]))
    if kind == "table":
        return table_file(draw, folder, "marks", marker_rows())
    if kind in ("hapmap", "dart", "raw"):
        rows = {"hapmap": hapmap_rows, "dart": lambda: dart_rows(draw(st.booleans())), "raw": raw_rows}[kind]()
        path = folder / {"hapmap": "marks.hmp.txt", "dart": "marks.csv", "raw": "marks.raw"}[kind]
        sign = "," if kind == "dart" else draw(st.sampled_from("\t "))
        place_file(draw, path, damage_bytes(draw, write_rows(draw, damage_rows(draw, rows), sign)))
        return path
    if kind == "plink":
        save_plink(draw, folder / "marks.bed")
        return folder / draw(st.sampled_from(["marks.bed", "marks.fam", "other.bed"]))
    if kind == "vcf":
        rows = [line.split("\t") for line in vcf_text().decode().splitlines()]
        raw = b"".join("\t".join(row).encode() + b"\n" for row in rows[:3])
        raw += "".join("\t".join(row) + "\n" for row in damage_rows(draw, rows[3:])).encode("utf-8", "replace")
        path = folder / draw(st.sampled_from(["marks.vcf", "marks.vcf.gz", "marks.bcf"]))
        place_file(draw, path, damage_bytes(draw, raw, 2))
        return path
    codes: Any = marker_codes().astype(draw(st.sampled_from(["i1", "f4", "f8", "u1", "?", "c8", "U2", "i8"])))
    if draw(st.integers(0, 4)) == 0:
        shapes = [codes.T, codes[0], codes[:0], codes[:, :0], codes[..., None], codes.astype(object)]
        codes = draw(st.sampled_from(shapes))
    names: Any = np.array(LINES)
    if draw(st.integers(0, 4)) == 0:
        names = draw(st.sampled_from([names[:3], names.astype("S"), np.arange(6), np.arange(6.0) + 0.5, names[None]]))
    file = io.BytesIO()
    key = draw(st.sampled_from(["markers"] * 5 + ["x"]))
    np.savez(file, **{key: codes, "line": names, "snp": np.arange(9).astype(str)})
    path = folder / "marks.npz"
    place_file(draw, path, damage_bytes(draw, file.getvalue()))
    return path


@examples(30)
@given(data=st.data())
def test_fit_and_cv(data: st.DataObject, compiled: None) -> None:
    """Data that are only a little strange, to get beyond the reading."""
    draw = data.draw
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = pheno_words(draw, folder, gently=True)
        kin = "identity" if draw(st.booleans()) else str(table_file(draw, folder, "grm", grm_rows(), gently=True))
        words += ["--relationship", kin, *SHORT, "--out", str(folder / "run")]
        if draw(st.booleans()):
            words = ["fit", *words, *pick(draw, ["--keep-effects", "none"], ["--means", "flat"])]
        else:
            cv1 = ["--partitions", "2", "--test-fraction", draw(st.sampled_from(["0.2", "0.9"]))]
            words = ["cv", *words, *draw(st.sampled_from([cv1, ["--scheme", "cv2"]]))]
        words += pick(draw, ["--model", "diagonal"], ["--sampler", "gibbs"])
        check_shell(run_here, words, folder, folder / "run", PLACES)
