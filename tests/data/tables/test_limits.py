"""Files that unfold to more than they should, or hold more than memory does."""

from __future__ import annotations

import gzip
import os
import tracemalloc
import zipfile
from functools import partial
from pathlib import Path
from threading import Thread

import numpy as np
import pandas as pd
import pytest

from bmtme import (
    DataError,
    UsageError,
    read_markers,
    read_relationship,
    read_trial,
)
from bmtme.cli.main import main
from bmtme.data.tables import limits

COLUMNS = {"line": "line", "env": "env", "traits": ["y"]}


@pytest.fixture
def megabyte(monkeypatch):
    monkeypatch.setenv(limits.LIMIT, "0.001")


def write_table(path: Path, rows: int) -> Path:
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b"line,env,y\n")
        for start in range(0, rows, 10_000):
            file.writelines(b"a%d,E,1\n" % k for k in range(start, min(start + 10_000, rows)))
    return path


def refuse(read, path: Path, *patterns: str) -> None:
    with pytest.raises(DataError) as caught:
        read(path)
    for pattern in (path.name, *patterns):
        assert pattern in str(caught.value)


def test_a_table_that_unfolds(tmp_path, megabyte, monkeypatch, capsys):
    path = write_table(tmp_path / "y.csv.gz", 200_000)
    tracemalloc.start()
    refuse(lambda path: read_trial(path, **COLUMNS), path, "unfolds to more than 0.001 GB", limits.LIMIT, "unpack it")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5e7  # no more than the megabyte is unfolded
    words = ["check", str(path), "--line", "line", "--env", "env", "--traits", "y"]
    assert main(words) == 3
    assert limits.LIMIT in capsys.readouterr().err
    # The limit is for what is compressed, and only beyond it.
    plain = tmp_path / "y.csv"
    plain.write_bytes(gzip.decompress(path.read_bytes()))
    monkeypatch.setenv(limits.LIMIT, str(plain.stat().st_size / 1e9))
    few = write_table(tmp_path / "few.csv.gz", 3)
    assert len(read_trial(few, **COLUMNS).lines) == 3
    monkeypatch.setenv(limits.LIMIT, str((few_bytes := len(gzip.decompress(few.read_bytes()))) / 1e9))
    assert len(read_trial(few, **COLUMNS).lines) == 3
    monkeypatch.setenv(limits.LIMIT, str((few_bytes - 1) / 1e9))
    refuse(lambda path: read_trial(path, **COLUMNS), few)


def test_gigabytes_of_nothing(tmp_path):
    """What unfolds to many times its size is told before any of it is taken apart."""
    # Members of 10 MB, all alike.
    (tmp_path / "y.csv.gz").write_bytes(gzip.compress(b"line,env,y\n") + gzip.compress(b"\n" * 10**7) * 300)
    refuse(
        partial(read_trial, **COLUMNS),
        tmp_path / "y.csv.gz",
        "unfolds to more than 300 times its size",
        f"unpack it, or set the environment variable {limits.LIMIT} to the GB that it may become",
    )


def test_many_times_the_size(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "_FEW_LINES", 10**4)
    for name, read, head in (
        ("y.csv.gz", partial(read_trial, **COLUMNS), b"line,env,y\na,E,1\nb,E,2\nc,E,3\n"),
        ("g.giv.gz", read_relationship, b"1 1 1\n"),
        ("m.hmp.txt.gz", read_markers, b"rs#\talleles\n"),
    ):
        (tmp_path / name).write_bytes(gzip.compress(head + b"\n" * 10**5))
        refuse(read, tmp_path / name, "unfolds to more than 300 times its size")
    # Few lines may be nearly all zeros, as a relationship of families; a limit that is given counts alone.
    monkeypatch.setattr(limits, "_FEW_LINES", 10**5 + 4)
    assert read_trial(tmp_path / "y.csv.gz", **COLUMNS).lines == ("a", "b", "c")
    monkeypatch.setattr(limits, "_SMALL", 10**5)
    refuse(partial(read_trial, **COLUMNS), tmp_path / "y.csv.gz", "unfolds to more than 300 times its size")
    monkeypatch.setenv(limits.LIMIT, "1")
    assert read_trial(tmp_path / "y.csv.gz", **COLUMNS).lines == ("a", "b", "c")
    monkeypatch.delenv(limits.LIMIT)
    pytest.importorskip("cyvcf2")
    (tmp_path / "m.vcf.gz").write_bytes(gzip.compress(b"##fileformat=VCFv4.2\n" + b"\n" * 10**5))
    refuse(read_markers, tmp_path / "m.vcf.gz", "unfolds to more than 300 times its size")


def test_a_pipe_of_something_compressed(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = Thread(target=pipe.write_bytes, args=(gzip.compress(b"line,env,y\na,E,1\n"),))
    writer.start()
    refuse(partial(read_trial, **COLUMNS), pipe, "a pipe with something compressed: unpack it on the way")
    writer.join()


def test_genotypes_that_fill_the_memory(tmp_path, monkeypatch):
    """Rows of every text with genotypes are counted while they are read."""
    monkeypatch.setattr(limits, "measure_memory", lambda: 10**6)
    lines = [f"l{k}" for k in range(200)]
    hapmap = "rs# alleles chrom pos strand assembly# center protLSID assayLSID panelLSID QCcode".split()
    texts = {
        "t.csv": ["line," + ",".join(lines), *(",".join([line, *["1"] * 200]) for line in lines * 2)],
        "m.raw": [
            "FID IID PAT MAT SEX PHENOTYPE " + " ".join(lines),
            *(" ".join(["f", line, *"0019", *["1"] * 200]) for line in lines * 2),
        ],
        "m.hmp.txt": [
            "\t".join(hapmap + lines),
            *("\t".join(["m", "A/C", *"11+NNNNNN", *["A"] * 200]) for _ in lines * 2),
        ],
        "d.csv": [",".join(["*"] * 4 + lines), ",".join(["AlleleID", "SNP", "CallRate", "RepAvg", *lines])],
    }
    texts["d.csv"] += [",".join(["m", "C>T", "1", "1", *["1"] * 200]) for _ in lines * 2]
    for name, rows in texts.items():
        (tmp_path / name).write_text("\n".join(rows) + "\n")
        refuse(read_markers, tmp_path / name, "would take about 0.0 GB of memory, of which this machine has 0.0 GB")


@pytest.mark.parametrize("text", ["much", "0", "-1", "nan"])
def test_a_limit_that_is_none(tmp_path, monkeypatch, text):
    monkeypatch.setenv(limits.LIMIT, text)
    with pytest.raises(UsageError, match=rf"{limits.LIMIT} must be a positive number of GB, got '{text}'"):
        read_trial(write_table(tmp_path / "y.csv.gz", 3), **COLUMNS)


def test_matrices_and_genotypes_that_unfold(tmp_path, megabyte):
    (tmp_path / "a.grm.id").write_text("".join(f"f l{j}\n" for j in range(2000)))
    with gzip.open(tmp_path / "a.grm.gz", "wt") as file:
        file.writelines(f"{j + 1}\t{k + 1}\t10\t0.5\n" for j in range(2000) for k in range(j % 100))
    refuse(read_relationship, tmp_path / "a.grm.gz", "unfolds to more than 0.001 GB")
    with gzip.open(tmp_path / "a.raw.gz", "wt") as file:
        file.write("FID IID PAT MAT SEX PHENOTYPE " + " ".join(f"s{k}_A" for k in range(100_000)) + "\n")
        file.write("f l 0 0 0 -9" + " 1" * 100_000 + "\n")
    refuse(read_markers, tmp_path / "a.raw.gz", "unfolds to more than 0.001 GB")
    np.savez_compressed(
        tmp_path / "a.npz", markers=np.zeros((100, 20_000), np.int8), line=[f"l{j}" for j in range(100)]
    )
    refuse(read_markers, tmp_path / "a.npz", "unfolds to more than 0.001 GB")


def test_a_vcf_that_unfolds(tmp_path, megabyte):
    pytest.importorskip("cyvcf2")
    with gzip.open(tmp_path / "a.vcf.gz", "wt") as file:
        file.write("##fileformat=VCFv4.2\n" + "##x=" + "a" * 10**6 + "\n#CHROM\tPOS\n")
    refuse(read_markers, tmp_path / "a.vcf.gz", "unfolds to more than 0.001 GB")


def test_a_workbook_that_unfolds(tmp_path, monkeypatch):
    pytest.importorskip("openpyxl")

    def read(path: Path) -> None:
        read_trial(path, **COLUMNS)

    with zipfile.ZipFile(tmp_path / "y.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", b" " * (10**6 + 1))
    monkeypatch.setattr(limits, "_SMALL_PART", 10**6)
    refuse(read, tmp_path / "y.xlsx", "a part, 'xl/worksheets/sheet1.xml'", "more than 100 times its size", "as CSV")
    monkeypatch.setenv(limits.LIMIT, "0.001")
    refuse(read, tmp_path / "y.xlsx", "unfolds to more than 0.001 GB")


def test_an_archive_whose_arrays_say_too_much(tmp_path):
    np.savez(tmp_path / "whole.npz", markers=np.ones((2, 3), np.int8), line=["a", "b"])
    with zipfile.ZipFile(tmp_path / "whole.npz") as source, zipfile.ZipFile(tmp_path / "a.npz", "w") as target:
        for name in source.namelist():
            content = source.read(name)
            # As long a header as before, with 16 million million entries.
            said = b"'shape': (2, 3), }" + b" " * 24
            assert name != "markers.npy" or said in content
            target.writestr(name, content.replace(said, b"'shape': (4000000, 4000000), }".ljust(len(said))))
    refuse(read_markers, tmp_path / "a.npz", "is no NumPy archive, or a damaged one")


def test_more_cells_than_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "measure_memory", lambda: 2 * 10**6)
    monkeypatch.setattr(limits, "_ROWS", 100)
    path = write_table(tmp_path / "y.csv.gz", 20_000)
    # A million bytes: some 5,000 rows of three cells.
    refuse(lambda path: read_trial(path, **COLUMNS), path, "of memory up to row 5,", "this machine has 0.0 GB")
    pytest.importorskip("pyarrow")
    # A few kilobytes.
    pd.DataFrame({"line": "a", "env": "E", "y": np.ones(50_000)}).to_parquet(tmp_path / "y.parquet")
    assert (tmp_path / "y.parquet").stat().st_size < 10_000
    refuse(lambda path: read_trial(path, **COLUMNS), tmp_path / "y.parquet", "would take about 0.0 GB of memory")
    # A long text that is stored once.
    pd.DataFrame({"line": "a" * 1000, "env": "E", "y": np.ones(3000)}).to_parquet(tmp_path / "t.parquet")
    assert (tmp_path / "t.parquet").stat().st_size < 10_000
    refuse(lambda path: read_trial(path, **COLUMNS), tmp_path / "t.parquet", "would take about 0.0 GB of memory")
