"""``bmtme grm``: what it writes and says, what it refuses, and what it leaves behind when it is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bmtme.cli import arguments, grm
from bmtme.cli.main import main
from bmtme.data.markers.codes import AUTO, CODINGS
from bmtme.data.relationship import files as relationship_files
from bmtme.data.relationship.files import read_relationship, write_relationship
from bmtme.data.relationship.genomic import gaussian_kernel, vanraden
from bmtme.data.relationship.matrix import Relationship
from bmtme.data.relationship.pedigree import pedigree_relationship
from bmtme.data.relationship.pedigree_table import read_pedigree
from tests.helpers.discs import small_files
from tests.helpers.shell import Run


@pytest.fixture
def run_grm(run: Run) -> Run:
    return partial(run, "grm")


@pytest.fixture
def frame() -> pd.DataFrame:
    """Fifteen lines at 120 markers: L14 copies L03, L15 has few genotypes, M001 the same in all."""
    rng = np.random.default_rng(4)
    codes = rng.binomial(2, rng.uniform(0.1, 0.9, 120), size=(15, 120)).astype(float)
    codes[13] = codes[2]
    codes[rng.random(codes.shape) < 0.03] = np.nan
    codes[14, 40:] = np.nan
    codes[:, 0] = 2
    return pd.DataFrame(codes, index=[f"L{j:02d}" for j in range(1, 16)], columns=[f"M{k:03d}" for k in range(1, 121)])


@pytest.fixture
def table(frame: pd.DataFrame, tmp_path: Path) -> Path:
    frame.astype("Int64").to_csv(tmp_path / "markers.csv", index_label="line")
    return tmp_path / "markers.csv"


QC = ("--min-call-rate-line", "0.5", "--min-call-rate-marker", "0.8", "--min-maf", "0.05")


def expected(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame after `QC`."""
    kept = frame.iloc[:14]
    share = kept.mean() / 2
    return kept.loc[:, (kept.notna().mean() >= 0.8) & (share.clip(upper=1 - share) >= 0.05)]


def test_numbers_and_file(run_grm, frame, table, tmp_path):
    code, out, err = run_grm(table, "--out", tmp_path / "g.csv", *QC)
    assert (code, err) == (0, "")
    kept = expected(frame)
    rel = read_relationship(tmp_path / "g.csv")
    assert rel.lines == tuple(kept.index)
    np.testing.assert_allclose(rel.matrix, vanraden(kept).matrix, atol=1e-13)
    missing = 100 * frame.isna().to_numpy().mean()
    for words in (
        f"read: 15 lines x 120 markers, {missing:.3g}% of the genotypes missing",
        "lines left out: 1 with a call rate below 0.5: 'L15'",
        "1 with one genotype in all lines, or none",
        f"left: 14 lines x {kept.shape[1]} markers",
        "duplicated lines: 1 with at least 99% of the genotypes of an earlier line\n  L14 and L03: 100.00% of ",
        f"computed: VanRaden's method 1, 14 lines, {kept.shape[1]} markers",
        f"diagonal: mean {rel.matrix.trace() / 14:.4g}, ",
        "\ncentred (1'G1/J is less than 0.01% of tr G)\n",
        f"written to {tmp_path / 'g.csv'}",
    ):
        assert words in out


def test_groups_of_doubles_and_a_matrix_that_is_not_centred(run_grm, frame, tmp_path):
    for name in ("L05", "L09", "L11"):
        frame.loc[name] = frame.loc["L02"]
    frame.to_csv(tmp_path / "m.csv")
    code, out, _ = run_grm(tmp_path / "m.csv", "--out", tmp_path / "g.csv", *QC)
    assert code == 0
    assert "duplicated lines: 4 with at least 99% of the genotypes of an earlier line; the largest group holds 4" in out
    matrix = read_relationship(tmp_path / "g.csv").matrix + 0.5
    write_relationship(Relationship(matrix, read_relationship(tmp_path / "g.csv").lines), tmp_path / "shifted.csv")
    code, out, _ = run_grm(tmp_path / "shifted.csv", "--matrix", "--out", tmp_path / "h.csv")
    out = " ".join(out.split())
    assert code == 0
    part = 100 * matrix.sum() / len(matrix) / matrix.trace()
    c = (matrix.trace() - matrix.sum() / len(matrix)) / (len(matrix) - 1)
    assert f"not centred (1'G1/J is {part:.2g}% of tr G): the variance among lines is expected to be {c:.4g} " in out
    assert "identical" in out


@pytest.mark.parametrize("name", ["g.csv.gz", "g.tsv", "g.parquet", "g.grm.bin"])
def test_formats(run_grm, frame, table, tmp_path, name):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    code, out, err = run_grm(table, "--out", tmp_path / name, *QC, "--method", "2")
    assert (code, err) == (0, "")
    kept = expected(frame)
    rel = read_relationship(tmp_path / name)
    tolerance = 1e-6 if "grm" in name else 1e-13
    np.testing.assert_allclose(rel.matrix, vanraden(kept, method=2).matrix, atol=tolerance)
    if "grm" in name:
        assert (np.fromfile(tmp_path / "g.grm.N.bin", dtype="<f4") == kept.shape[1]).all()
        assert all(f"g{ending}" in out for ending in (".grm.id", ".grm.N.bin", ".grm.bin"))


def test_kernel_blending_and_bending(run_grm, frame, table, tmp_path):
    other = Relationship(np.full((16, 16), 0.5) + np.eye(16), [*frame.index[::-1], "more"])
    write_relationship(other, tmp_path / "a.csv")
    words = ("--method", "gaussian", "--bandwidth", "0.7", "--blend", "0.25", "--with", tmp_path / "a.csv")
    code, out, _ = run_grm(table, "--out", tmp_path / "g.csv", *QC, *words, "--bend", "0.1")
    assert code == 0
    kernel = gaussian_kernel(expected(frame), bandwidth=0.7)
    changed = kernel.blend(0.25, other).bend(0.1)
    assert "eigenvalues raised" in changed.notes[1]
    assert " ".join(changed.notes) in " ".join(out.split())
    assert max(map(len, out.splitlines()[:-1])) <= 100
    np.testing.assert_allclose(read_relationship(tmp_path / "g.csv").matrix, changed.matrix, atol=1e-12)


NAMES = ("animal", "father", "mother")
PEDIGREE = "animal,father,mother,selfed\n3,1,2,\n4,1,0,\n5,4,3,\n6,5,2,\n7,6,6,2\n8,open,7,\n"


def test_a_pedigree(run_grm, tmp_path):
    (tmp_path / "p.csv").write_text(PEDIGREE)
    words = ("--pedigree-columns", "animal,father,mother", "--pedigree-missing", "open", "--selfing", "selfed")
    code, out, err = run_grm(tmp_path / "p.csv", "--pedigree", *words, "--out", tmp_path / "a.csv")
    assert (code, err) == (0, "")
    options = {"missing": ["open"], "selfing": "selfed", "separate_sexes": False}
    expected = pedigree_relationship(read_pedigree(tmp_path / "p.csv", *NAMES), *NAMES, **options)
    rel = read_relationship(tmp_path / "a.csv")
    assert rel.lines == expected.lines
    np.testing.assert_allclose(rel.matrix, expected.matrix, atol=1e-15)
    # 5 and 6 have F = 1/8; 7, of 6 with itself and then selfed twice, 1 - (1 - (1 + 1/8) / 2) / 4.
    assert "read: 8 individuals, 2 founders among them without a row\n" in out
    assert "inbreeding: mean 0.1426, largest 0.8906; 3 inbred\n" in out
    assert "1 individual of the pedigree is both sire and dam: 6." in out


def test_a_parent_that_may_be_nobody_is_named_once(run_grm, tmp_path):
    (tmp_path / "p.csv").write_text("id,sire,dam\na,bulk,0\nb,bulk,a\n")
    code, out, err = run_grm(tmp_path / "p.csv", "--pedigree", "--out", tmp_path / "a.csv")
    assert (code, err) == (0, "")
    assert "'bulk' without a row of its own" in " ".join(out.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--selfing", "2"), "argument --selfing: is for --pedigree"),
        (("--pedigree", "--matrix"), "argument --pedigree: a file is a pedigree or a --matrix, not both"),
        (("--pedigree", "--min-maf", "0.1"), "argument --min-maf: is about markers, which --pedigree excludes"),
        (("--pedigree", "--ids", "fid"), "argument --ids: is about files of PLINK and GCTA, which --pedigree excludes"),
        (("--pedigree", "--pedigree-columns", "a,b"), "argument --pedigree-columns: expected three columns"),
    ],
)
def test_options_of_pedigrees_that_do_not_fit(run_grm, tmp_path, words, message):
    (tmp_path / "p.csv").write_text(PEDIGREE)
    code, _, err = run_grm(tmp_path / "p.csv", *words, "--out", tmp_path / "a.csv")
    assert code == 2
    assert message in err


def test_a_pedigree_with_other_columns(run_grm, tmp_path):
    (tmp_path / "p.csv").write_text(PEDIGREE)
    code, _, err = run_grm(tmp_path / "p.csv", "--pedigree", "--out", tmp_path / "a.csv")
    assert code == 3
    assert "p.csv has no column 'id'" in err


def test_a_matrix_is_bent_and_converted(run_grm, tmp_path):
    crooked = Relationship(np.array([[1, 0.9, 0], [0.9, 1, 0.9], [0, 0.9, 1]]), ["a", "b", "c"])
    write_relationship(crooked, tmp_path / "a.csv")
    code, out, err = run_grm(tmp_path / "a.csv", "--matrix", "--bend", "--out", tmp_path / "b")
    assert (code, err) == (0, "")
    assert "read: 3 lines\nbent: 1 of 3 eigenvalues raised" in out
    assert np.linalg.eigvalsh(crooked.matrix)[0] < -0.2
    bent = read_relationship(tmp_path / "b")
    np.testing.assert_allclose(bent.matrix, crooked.bend().matrix, atol=1e-6)


def test_from_markers_to_fit(run_grm, frame, table, tmp_path, capsys):
    grm_file, pheno = tmp_path / "g.csv.gz", tmp_path / "pheno.csv"
    assert run_grm(table, "--out", grm_file, "--blend", "0.05", *QC)[0] == 0
    rng = np.random.default_rng(1)
    records = [(line, env, round(rng.normal(), 3)) for line in frame.index[:14] for env in ("E1", "E2")]
    pd.DataFrame(records, columns=["line", "env", "T1"]).to_csv(pheno, index=False)
    words = ["fit", str(pheno), "--relationship", str(grm_file), "--line", "line", "--env", "env", "--traits", "T1"]
    assert main([*words, "--draws", "10", "--tune", "10", "--chains", "1", "--out", str(tmp_path / "run")]) == 0
    assert len(pd.read_csv(tmp_path / "run" / "predictions.csv")) == 28


# --- refused ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--method", "3"], "argument --method: invalid choice: '3'"),
        (["--min-maf", "0.6"], "min_maf must be a number from 0 to 0.5, got 0.6"),
        (["--min-call-rate-line", "x"], "argument --min-call-rate-line: expected a number, got 'x'"),
        (["--min-call-rate-marker", "2"], "min_call_rate_marker must be a number from 0 to 1, got 2.0"),
        (["--blend", "1.5"], "--blend: expected a number from 0 to 1, got 1.5"),
        (["--bend", "0"], "--bend: expected a number above 0 and below 1, got 0"),
        (["--with", "a.csv"], "argument --with: needs --blend W"),
        (["--bandwidth", "1"], "argument --bandwidth: is for --method gaussian"),
        (["--method", "gaussian", "--bandwidth", "-1"], "bandwidth must be a positive number, got -1.0"),
        (["--matrix", "--min-maf", "0.1"], "argument --min-maf: is about markers, which --matrix excludes"),
        (["--identical", "0"], "--identical: expected a number above 0 and up to 1"),
        (["--coding", "11"], "argument --coding: invalid choice: '11'"),
        (["--missing", "0", "--missing", "2"], "takes away two genotypes"),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
    ],
)
def test_bad_options(run_grm, table, tmp_path, words, said):
    code, _, err = run_grm(table, "--out", tmp_path / "g.csv", *words)
    assert code == 2
    assert err.startswith("bmtme: error: ")
    assert err.count("\n") == 1
    assert said in err
    assert [file.name for file in tmp_path.iterdir()] == ["markers.csv"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("g.cvs", "g.cvs does not say in which format"),
        ("markers.csv", "markers.csv is there already"),
        ("markers.csv/g.csv", "markers.csv is a file"),
        (" ", "argument --out: the name of the file is empty"),
    ],
)
def test_bad_out_is_refused_before_any_work(run_grm, table, tmp_path, name, said, monkeypatch):
    monkeypatch.setattr(grm, "run", lambda *_: pytest.fail("worked"))
    before = table.read_bytes()
    code, _, err = run_grm(table, "--out", name if name == " " else tmp_path / name)
    assert code == 2
    assert said in err
    assert table.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("line,m1,m2\na,0,AA\nb,1,2\n", "bad.csv, row 2: the genotype of line 'a' at marker 'm2' is 'AA'"),
        ("line,m1,m2\na,0,1\nb,0,1\n", "bad.csv: none of the 2 markers stays for 2 lines"),
        ("line,m1,m2\na,0,1\na,1,1\n", "names line 'a' twice"),
        ("", "bad.csv is empty"),
    ],
)
def test_bad_markers(run_grm, tmp_path, text, said):
    (tmp_path / "bad.csv").write_text(text)
    code, _, err = run_grm(tmp_path / "bad.csv", "--out", tmp_path / "g.csv")
    assert code == 3
    assert err.splitlines()[-1].startswith("bmtme: error: ")
    assert said in err
    assert [file.name for file in tmp_path.iterdir()] == ["bad.csv"]


def test_bad_other_relationship(run_grm, table, tmp_path):
    write_relationship(Relationship.identity(["L01", "x"]), tmp_path / "a.csv")
    code, _, err = run_grm(table, "--out", tmp_path / "g.csv", "--blend", "0.1", "--with", tmp_path / "a.csv", *QC)
    assert code == 3
    assert "The relationship has no line 'L02', 'L03'" in err
    assert not (tmp_path / "g.csv").exists()


def test_a_warning_is_one_line(run_grm, frame, tmp_path):
    (frame > 1).astype(int).to_csv(tmp_path / "m.csv", index_label="line")
    code, _, err = run_grm(tmp_path / "m.csv", "--out", tmp_path / "g.csv")
    assert code == 0
    assert err.startswith("warning: m.csv: the only codes are 0 and 1")
    assert err.count("\n") == 1
    assert run_grm(tmp_path / "m.csv", "--out", tmp_path / "h.csv", "--coding", "01")[2] == ""
    doubled, single = (read_relationship(tmp_path / name).matrix for name in ("h.csv", "g.csv"))
    np.testing.assert_allclose(doubled / doubled[0, 0], single / single[0, 0], atol=1e-12)


@pytest.mark.parametrize("value", ["-101", "-1"])
def test_options_whose_values_begin_with_a_minus(run_grm, frame, tmp_path, value):
    (frame - 1).fillna(-9).astype(int).to_csv(tmp_path / "m.csv", index_label="line")
    words = ["--coding", "-101"] if value == "-101" else ["--coding", "01", "--missing", "-1"]
    code, out, err = run_grm(tmp_path / "m.csv", "--out", tmp_path / "g.csv", *words)
    assert (code, err) == (0, "")
    assert "computed: " in out


def test_choices_are_those_of_the_library():
    assert arguments.CODINGS == (AUTO, *CODINGS)
    assert [ending for ending in (".csv", ".csv.gz", ".tsv", ".tsv.gz") if ending in grm.EPILOG] == list(
        relationship_files._TEXT_ENDINGS
    )


def test_help_says_what_is_needed(run_grm):
    code, out, _ = run_grm("--help")
    assert code == 0
    for word in ("MARKERS", "--min-maf", "pip install 'bmtme[plink]'", ".grm.bin"):
        assert word in out
    assert max(map(len, grm.EPILOG.splitlines())) <= 80


# --- stopped ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_in_the_middle(tmp_path, number, status):
    """While it waits for a table that comes through a pipe."""
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    words = [sys.executable, "-m", "bmtme", "grm", str(pipe), "--out", str(tmp_path / "g.csv")]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        with open(pipe, "w") as file:
            file.write("line,m1,m2\na,0,1\n")
            file.flush()
            time.sleep(0.5)
            process.send_signal(number)
            out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == status
    assert err == "bmtme: interrupted; nothing was written\n"
    assert out == ""
    assert [file.name for file in tmp_path.iterdir()] == ["pipe.csv"]


@pytest.mark.parametrize("name", ["grm.csv", "grm.csv.gz", "grm.grm.bin"])
def test_a_full_disc_is_a_failure_of_the_machine(run_grm: Run, tmp_path: Path, name: str) -> None:
    matrix = 0.5 * np.eye(60) + 0.5 + 0.1 * np.diag(np.random.default_rng(1).random(60))
    write_relationship(Relationship(matrix, [f"g{j}" for j in range(60)]), tmp_path / "given.csv")
    (tmp_path / "out").mkdir()
    with small_files(500):
        code, _, complained = run_grm(tmp_path / "given.csv", "--matrix", "--out", tmp_path / "out" / name)
    assert code == 1
    assert "cannot be written: File too large." in complained
    assert "fault in bmtme" not in complained
    assert list((tmp_path / "out").iterdir()) == []
