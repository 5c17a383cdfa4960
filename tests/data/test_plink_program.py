"""Files that PLINK itself makes, where it is installed (plink1.9 and plink2 of Debian), read to the last digit.

For HapMap and DArT, which PLINK does not write, it is the referee of the relationship after the same quality control.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bmtme import filter_markers, read_markers, read_relationship, vanraden
from tests.helpers.markers import codes_of, naive

PLINK, PLINK2 = shutil.which("plink1.9") or shutil.which("plink"), shutil.which("plink2")
pytestmark = pytest.mark.skipif(PLINK is None, reason="no plink1.9 installed")

N, M = 23, 120


LINES = [f"L{j:02d}" for j in range(N)]


def simulate(gaps: float) -> np.ndarray:
    """Copies of A, lines in rows, -1 where missing; some lines and markers have many gaps."""
    rng = np.random.default_rng(5)
    copies = rng.binomial(2, rng.uniform(0.02, 0.6, M), (N, M))
    holes = rng.random((N, M)) < gaps * rng.uniform(0, 3, (N, 1)) * rng.uniform(0, 3, M)
    return np.where(holes, -1, copies)


def call(*command: object) -> None:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Path]:
    """Run PLINK on simulated genotypes, all there or with gaps, and give what its files begin with."""

    def make(gaps: float, out: str, *words: str, families: int = 4) -> Path:
        letters = np.array(["C C", "A C", "A A", "0 0"])[simulate(gaps)]
        rows = [f"F{j % families} {LINES[j]} 0 0 {j % 3} -9 {' '.join(letters[j])}\n" for j in range(N)]
        (tmp_path / "d.ped").write_text("".join(rows))
        (tmp_path / "d.map").write_text("".join(f"1 s{k} 0 {100 + k}\n" for k in range(M)))
        # Allele 1 stays A and is counted.
        (tmp_path / "a1").write_text("".join(f"s{k} A\n" for k in range(M)))
        how = ["--file", tmp_path / "d", "--a1-allele", tmp_path / "a1", "2", "1", *words, "--out", tmp_path / out]
        call(PLINK, *how)
        return tmp_path / out

    return make


@pytest.mark.parametrize("words", [("A",), ("A", "tab"), ("AD",), ("AD", "tab")])
def test_raw(run, words, recwarn):
    text = run(0.05, "d", "--recode", *words).with_suffix(".raw")
    markers = read_markers(text)
    assert markers.lines == tuple(LINES)
    assert markers.names == tuple(f"s{k}_A" for k in range(M))
    expected = simulate(0.05)
    np.testing.assert_array_equal(codes_of(markers), np.where(expected < 0, np.nan, expected))
    assert [str(told.message) for told in recwarn] == (
        [f"d.raw: {M} columns of heterozygotes (_HET) left out."] if "AD" in words else []
    )


def test_quality_control(run):
    kept = read_markers(
        run(0.08, "kept", "--mind", "0.2", "--geno", "0.1", "--maf", "0.1", "--recode", "A").with_suffix(".raw")
    )
    everything = read_markers(run(0.08, "all", "--recode", "A").with_suffix(".raw"))
    chosen, _ = filter_markers(everything, min_call_rate_line=0.8, min_call_rate_marker=0.9, min_maf=0.1)
    assert 10 < len(kept.lines) < N
    assert 10 < len(kept.names) < M
    assert chosen.lines == kept.lines
    assert chosen.names == kept.names
    np.testing.assert_array_equal(codes_of(chosen), codes_of(kept))
    np.testing.assert_allclose(vanraden(chosen).matrix, naive(codes_of(kept), 1), atol=1e-12)


@pytest.mark.parametrize("shape", ["triangle", "square", "square0"])
def test_relationships_of_plink_are_vanradens_second(run, shape):
    """PLINK's --make-rel is the second method where no genotype is missing; with 64 bits every digit counts."""
    data = read_markers(run(0.0, "data", "--maf", "0.05", "--recode", "A").with_suffix(".raw"))
    expected = vanraden(data, method=2)
    for kind, ending, error in (("bin", ".rel.bin", 1e-12), ("bin4", ".rel.bin", 1e-6), ("gz", ".rel.gz", 1e-5)):
        prefix = run(0.0, f"{shape}_{kind}", "--maf", "0.05", "--make-rel", shape, kind)
        found = read_relationship(f"{prefix}{ending}")
        assert found.lines == expected.lines
        np.testing.assert_allclose(found.matrix, expected.matrix, rtol=0, atol=error)
    path = Path(f"{run(0.0, shape, '--maf', '0.05', '--make-rel', shape, families=N)}.rel")
    text = read_relationship(path, ids="fid")
    assert text.lines == tuple(f"F{j}" for j in range(N))
    # The text has six digits, which are read as another program does.
    np.testing.assert_allclose(text.matrix, expected.matrix, rtol=0, atol=1e-5)
    rows = [np.array(row.split(), dtype=float) for row in path.read_text().splitlines()]
    for j, row in enumerate(rows):
        np.testing.assert_array_equal(text.matrix[j, : j + 1], row[: j + 1])


def test_files_of_gcta_by_plink(run):
    data = read_markers(run(0.0, "data", "--maf", "0.05", "--recode", "A").with_suffix(".raw"))
    expected = vanraden(data, method=2)
    binary = read_relationship(f"{run(0.0, 'b', '--maf', '0.05', '--make-grm-bin')}.grm.bin")
    text = read_relationship(f"{run(0.0, 't', '--maf', '0.05', '--make-grm-gz')}.grm.gz")
    for found, error in ((binary, 1e-6), (text, 1e-5)):
        assert found.lines == expected.lines
        np.testing.assert_allclose(found.matrix, expected.matrix, rtol=0, atol=error)


def write_hapmap(path: Path, copies: np.ndarray) -> Path:
    head = "rs# alleles chrom pos strand assembly# center protLSID assayLSID panelLSID QCcode".split()
    rows = ["\t".join([*head, *LINES])]
    for k, codes in enumerate(copies.T):
        rows.append("\t".join([f"s{k}", "C/A", "1", str(k), "+", *["NA"] * 6, *("CMAN"[code] for code in codes)]))
    path.write_text("\n".join(rows) + "\n")
    return path


def write_dart(path: Path, copies: np.ndarray, two: bool) -> Path:
    rows = [",".join([*"****", *["plate"] * N]), ",".join(["AlleleID", "SNP", "CallRate", "RepAvg", *LINES])]
    for k, codes in enumerate(copies.T):
        if two:
            rows.append(",".join([f"s{k}", "", "1", "1", *("110-"[code] for code in codes)]))
        snp = "011-" if two else "021-"
        rows.append(",".join([f"s{k}", "7:C>A", "1", "1", *(snp[code] for code in codes)]))
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize("kind", ["hapmap", "dart with one row", "dart with two rows"])
def test_formats_of_others_against_plink(run, tmp_path, kind):
    """The same genotypes by another reader and our quality control, and PLINK's relationship after its own."""
    for gaps in (0.0, 0.08):
        copies = simulate(gaps)
        if kind == "hapmap":
            markers = read_markers(write_hapmap(tmp_path / "m.hmp.txt", copies))
        else:
            markers = read_markers(write_dart(tmp_path / "m.csv", copies, "two" in kind))
        chosen, _ = filter_markers(markers, min_call_rate_line=0.8, min_call_rate_marker=0.9, min_maf=0.05)
        quality = ["--mind", "0.2", "--geno", "0.1", "--maf", "0.05"]
        kept = read_markers(run(gaps, "kept", *quality, "--recode", "A").with_suffix(".raw"))
        assert (chosen.lines, tuple(f"{name}_A" for name in chosen.names)) == (kept.lines, kept.names)
        np.testing.assert_array_equal(codes_of(chosen), codes_of(kept))
        if gaps:  # PLINK leaves missing genotypes out pair by pair
            continue
        plink = read_relationship(f"{run(gaps, 'rel', *quality, '--make-rel', 'square', 'bin')}.rel.bin")
        np.testing.assert_allclose(vanraden(chosen, method=2).matrix, plink.matrix, rtol=0, atol=1e-12)


def test_files_with_genotypes_of_plink(run):
    """.bed and VCF hold what .raw does."""
    expected = read_markers(run(0.05, "r", "--recode", "A").with_suffix(".raw"))
    for extra, words, ending in (("bed_reader", ["--make-bed"], ".bed"), ("cyvcf2", ["--recode", "vcf-iid"], ".vcf")):
        pytest.importorskip(extra)
        markers = read_markers(run(0.05, "g", *words).with_suffix(ending))
        assert markers.lines == expected.lines
        np.testing.assert_array_equal(codes_of(markers), codes_of(expected))


@pytest.mark.skipif(PLINK2 is None, reason="no plink2 installed")
def test_files_of_plink_2(run, tmp_path):
    """Its IDs have a header."""
    genotypes = run(0.0, "b", "--maf", "0.05", "--make-bed")

    def make(out: str, *words: str) -> str:
        call(PLINK2, "--bfile", genotypes, "--bad-freqs", *words, "--out", tmp_path / out)
        return str(tmp_path / out)

    expected = vanraden(read_markers(f"{make('g', '--export', 'A')}.raw"), method=2)
    for words, ending, error in (
        (("--make-rel", "bin", "square"), ".rel.bin", 1e-12),
        (("--make-rel", "bin", "triangle"), ".rel.bin", 1e-12),
        (("--make-rel", "square"), ".rel", 1e-5),
        (("--make-grm-bin",), ".grm.bin", 1e-6),
        (("--make-grm-list",), ".grm", 1e-5),
    ):
        found = read_relationship(make("".join(words), *words) + ending)
        assert found.lines == expected.lines == tuple(LINES)
        np.testing.assert_allclose(found.matrix, expected.matrix, rtol=0, atol=error)
    assert (tmp_path / "--make-relbinsquare.rel.id").read_text().startswith("#FID\tIID\n")
