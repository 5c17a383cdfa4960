"""Genotypes in PLINK's binary files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bmtme.data.markers import genotypes as markers_module
from bmtme.data.markers.files import read_markers
from bmtme.data.relationship.genomic import vanraden
from bmtme.errors import DataError
from tests.helpers.markers import LINES, codes_of, naive


@pytest.fixture
def plink(gaps: pd.DataFrame, tmp_path: Path) -> Path:
    """The markers of `gaps` as a PLINK fileset; one line's name loses its space, which the format cannot hold."""
    bed_reader = pytest.importorskip("bed_reader")
    names = {"iid": [line.replace(" ", "_") for line in LINES], "sid": list(gaps.columns)}
    bed_reader.to_bed(tmp_path / "p.bed", gaps.to_numpy().copy(), properties=names)
    return tmp_path / "p.bed"


@pytest.mark.parametrize("cells", [8 * 7, 2**22])
def test_plink(gaps, plink, cells, monkeypatch):
    monkeypatch.setattr(markers_module, "_BLOCK_CELLS", cells)
    for ending in (".bed", ".bim", ".fam"):
        source = read_markers(plink.with_suffix(ending))
        assert source.lines == tuple(line.replace(" ", "_") for line in LINES)
        assert source.names == tuple(gaps.columns)
        np.testing.assert_array_equal(codes_of(source), gaps)
    np.testing.assert_allclose(vanraden(source).matrix, naive(gaps.to_numpy(), 1), atol=1e-13)


def test_plink_names_markers_by_position(gaps, plink):
    bim = plink.with_suffix(".bim")
    bim.write_text("".join(f"3 . 0 {k} A C\n" for k in range(60)))
    markers = read_markers(plink)
    assert markers.names[:2] == ("3:0", "3:1")
    assert markers.alleles[0] == ("A", "C")
    bim.write_text("".join(f"3 . 0 {k} 0 c\n" for k in range(60)))
    assert read_markers(plink).alleles[59] == ("", "C")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda bed: bed.with_suffix(".fam").unlink(), "p.fam cannot be read: No such file.* three files side by side"),
        (lambda bed: bed.unlink(), "p.bed cannot be read: No such file"),
        (cut, r"p.bed has 122 bytes, but 123 are needed for the 8 lines of p.fam and the 60 markers of p.bim"),
        (lambda bed: bed.write_bytes(b"x" + bed.read_bytes()[1:]), "p.bed is no PLINK .bed file"),
        (lambda bed: bed.write_bytes(b"\x6c\x1b\x00" + bed.read_bytes()[3:]), "stored line by line"),
        (lambda bed: bed.with_suffix(".bim").write_text("1 m1 0\n"), "p.bim has 3 columns in row 1: expected the six"),
        (lambda bed: bed.with_suffix(".bim").write_text(""), "p.bim is empty"),
        (lambda bed: bed.with_suffix(".fam").write_bytes(b"\xff\xfe 1 0 0 0 0\n"), "p.fam is not UTF-8 text"),
        (
            lambda bed: bed.with_suffix(".fam").write_text("f a 0 0 0 0\n" * 8),
            "the second column of p.fam names line 'a' twice",
        ),
    ],
)
def test_damaged_plink(plink, damage, words):
    damage(plink)
    with pytest.raises(DataError, match=words):
        read_markers(plink)


def test_plink_that_changes_while_it_is_read(plink):
    source = read_markers(plink)
    cut(plink)
    with pytest.raises(DataError, match=r"p.bed cannot be read at markers 1 to 60"):
        codes_of(source)
