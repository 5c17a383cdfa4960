"""Files that PLINK 1.9 itself makes, where it is installed (plink1.9 of Debian), read to the last digit."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bmtme import filter_markers, read_markers, read_relationship, vanraden
from tests.helpers.markers import codes_of, naive

PLINK = shutil.which("plink1.9") or shutil.which("plink")
pytestmark = pytest.mark.skipif(PLINK is None, reason="no plink1.9 installed")

N, M = 23, 120


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Path]:
    """Run PLINK on simulated genotypes, all there or with gaps, and give what its files begin with."""

    def make(gaps: float, out: str, *words: str) -> Path:
        rng = np.random.default_rng(5)
        copies = rng.binomial(2, rng.uniform(0.02, 0.6, M), (N, M))
        # Some lines and markers have many.
        holes = rng.random((N, M)) < gaps * rng.uniform(0, 3, (N, 1)) * rng.uniform(0, 3, M)
        letters = np.where(holes, "0 0", np.array(["C C", "A C", "A A"])[copies])
        rows = [f"F{j % 4} L{j:02d} 0 0 {j % 3} -9 {' '.join(letters[j])}\n" for j in range(N)]
        (tmp_path / "d.ped").write_text("".join(rows))
        (tmp_path / "d.map").write_text("".join(f"1 s{k} 0 {100 + k}\n" for k in range(M)))
        # Allele 1 stays A and is counted.
        (tmp_path / "a1").write_text("".join(f"s{k} A\n" for k in range(M)))
        assert PLINK is not None
        command = [PLINK, "--file", str(tmp_path / "d"), "--a1-allele", str(tmp_path / "a1"), "2", "1", *words]
        command += ["--out", str(tmp_path / out)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return tmp_path / out

    return make


@pytest.mark.parametrize("words", [("A",), ("A", "tab"), ("AD",), ("AD", "tab")])
def test_raw(run, words, recwarn):
    text = run(0.05, "d", "--recode", *words).with_suffix(".raw")
    markers = read_markers(text)
    assert markers.lines == tuple(f"L{j:02d}" for j in range(N))
    assert markers.names == tuple(f"s{k}_A" for k in range(M))
    pedigree = [row.split() for row in (text.parent / "d.ped").read_text().splitlines()]
    pairs = np.array([row[6:] for row in pedigree]).reshape(N, M, 2)
    expected = np.where((pairs == "0").any(axis=2), np.nan, (pairs == "A").sum(axis=2))
    np.testing.assert_array_equal(codes_of(markers), expected)
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
    text = read_relationship(f"{run(0.0, shape, '--maf', '0.05', '--make-rel', shape)}.rel")
    np.testing.assert_allclose(text.matrix, expected.matrix, rtol=0, atol=1e-5)


def test_files_of_gcta_by_plink(run):
    data = read_markers(run(0.0, "data", "--maf", "0.05", "--recode", "A").with_suffix(".raw"))
    expected = vanraden(data, method=2)
    binary = read_relationship(f"{run(0.0, 'b', '--maf', '0.05', '--make-grm-bin')}.grm.bin")
    text = read_relationship(f"{run(0.0, 't', '--maf', '0.05', '--make-grm-gz')}.grm.gz")
    for found, error in ((binary, 1e-6), (text, 1e-5)):
        assert found.lines == expected.lines
        np.testing.assert_allclose(found.matrix, expected.matrix, rtol=0, atol=error)
