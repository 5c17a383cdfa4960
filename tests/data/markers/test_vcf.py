"""Genotypes in VCF files."""

from __future__ import annotations

import gzip
import os

import numpy as np
import pytest

from bmtme.data.markers.files import read_markers
from bmtme.data.relationship.genomic import vanraden
from bmtme.errors import DataError
from tests.helpers.markers import LINES, codes_of, naive

VCF_HEADER = """\
##fileformat=VCFv4.2
##contig=<ID=1>
##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">
##FORMAT=<ID=DP,Number=1,Type=Integer,Description="Depth">
"""


def vcf_text(*records: str, lines: tuple[str, ...] = ("a", "b", "c")) -> str:
    columns = ["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", *lines]
    body = ["\t".join(record.split(" ")) for record in records]
    return VCF_HEADER + "\n".join(["\t".join(columns), *body]) + "\n"


@pytest.mark.parametrize("name", ["m.vcf", "m.vcf.gz"])
def test_vcf(gaps, tmp_path, name):
    pytest.importorskip("cyvcf2")
    calls = {0.0: "0/0", 1.0: "0|1", 2.0: "1/1"}
    records = [
        f"1 {k + 1} {marker} A C . . . GT:DP " + " ".join(f"{calls.get(code, './.')}:9" for code in gaps[marker])
        for k, marker in enumerate(gaps.columns)
    ]
    text = vcf_text(*records, lines=LINES).encode()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    source = read_markers(tmp_path / name)
    assert source.lines == LINES
    assert source.names == tuple(gaps.columns)
    np.testing.assert_array_equal(codes_of(source), gaps)
    assert set(source.alleles) == {("C", "A")}
    np.testing.assert_allclose(vanraden(source, method=2).matrix, naive(gaps.to_numpy(), 2), atol=1e-13)


def test_vcf_odd_genotypes(tmp_path, capfd):
    pytest.importorskip("cyvcf2")
    path = tmp_path / "m.vcf"
    path.write_text(
        vcf_text(
            "1 5 m1 A C . . . GT 0/1 ./1 .",
            "1 6 . A C,G . . . GT 0/1 1/2 0/0",
            "1 7 . A T . . . GT 0 1 .",
            "1 8 . A T . . . GT 1 1/0 0|0",
            "2 9 . A . . . . GT 0/0 0/0 ./.",
        )
    )
    with pytest.warns(UserWarning, match=r"1 of 5 sites left out, as they have several alternative alleles"):
        source = read_markers(path)
    assert source.names == ("m1", "1:7", "1:8", "2:9")
    nan = np.nan
    np.testing.assert_array_equal(codes_of(source), [[1, 0, 2, 0], [nan, 2, 1, 0], [nan, nan, 0, nan]])
    assert capfd.readouterr().err == ""  # what the C library says of the undeclared contig


GOOD = "1 5 m1 A C . . . GT 0/1 1/1 0/0"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (vcf_text(GOOD, "1 6 m2 A C . . . GT 0/1 1/1"), "m.vcf has 11 columns in row 7: expected 12, as in the header"),
        (vcf_text(GOOD, "1 x m2 A C . . . GT 0/1 1/1 0/0"), "cannot be read as VCF: .*position 'x'"),
        (vcf_text(GOOD, "1 6 m2 A C . . . GT 0/1 AT 0/0"), "cannot be read as VCF: .*GT"),
        (vcf_text(GOOD, "1 6 m2 A C . . . DP 3 4 5"), "m.vcf, marker m2 at 1:6 has no genotypes: expected GT"),
        (
            vcf_text(GOOD, "1 6 m2 A C . . . GT 0/1 0/0/1/1 0/0"),
            "m2 at 1:6: .* 'b' has more than 2 alleles: .*ploidy",
        ),
        (vcf_text(GOOD, "1 6 m2 A C . . . GT 0/1 0/2 0/0"), "m2 at 1:6: .* line 'b' has allele 2, but .* names 1"),
        (vcf_text(GOOD, lines=("a", "b", "a")), "cannot be read as VCF: .*sample name 'a'"),
        (vcf_text(GOOD, "2\x00" + GOOD), "m.vcf holds a zero byte in row 7"),
        (vcf_text(GOOD, "2"), "m.vcf has 1 columns in row 7: expected 12"),
        (vcf_text(GOOD, GOOD.replace("1 5", "1e\xad 5", 1)), "cannot be read as VCF: Invalid contig name"),
        (vcf_text(), "has no site with a single alternative allele"),
        ("", "cannot be read as VCF"),
        ("line,m1\na,0\n", "m.vcf is no VCF: expected ##fileformat=VCFv4.2 in its first row"),
        (vcf_text(GOOD).replace("v4.2\n", "v4.2ø", 1), "expected ##fileformat=VCFv4.2 in its first row"),
    ],
)
def test_bad_vcf(tmp_path, text, words, capfd):
    pytest.importorskip("cyvcf2")
    path = tmp_path / "m.vcf"
    path.write_text(text)
    with pytest.raises(DataError, match=words):
        read_markers(path)
    assert capfd.readouterr().err == ""


def test_vcf_that_is_cut_off(tmp_path):
    pytest.importorskip("cyvcf2")
    path = tmp_path / "m.vcf.gz"
    path.write_bytes(gzip.compress(vcf_text(*[GOOD] * 3000).encode())[:-60])
    with pytest.raises(DataError, match=r"m.vcf.gz is a damaged gzip file \(Compressed file ended"):
        read_markers(path)


@pytest.mark.parametrize("name", ["m.bcf", "m.vcf.gz"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_bcf_is_refused(tmp_path, name, pack):
    """Before the C library sees it: a damaged one may end the process."""
    pytest.importorskip("cyvcf2")
    (tmp_path / name).write_bytes(pack(b"BCF\x02\x02" + bytes(range(100))))
    with pytest.raises(DataError, match=rf"{name} is a BCF file, .* bcftools view -Oz {name} > "):
        read_markers(tmp_path / name)


def test_stderr_is_given_back(tmp_path, capfd):
    pytest.importorskip("cyvcf2")
    path = tmp_path / "m.vcf"
    path.write_text(vcf_text(GOOD))
    read_markers(path)
    os.write(2, b"still here")
    assert capfd.readouterr().err == "still here"
