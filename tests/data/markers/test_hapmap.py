"""HapMap files: letters of one or of all copies become copies of the second allele."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from bmtme import DataError, UsageError, read_markers, read_relationship
from bmtme.cli.main import main
from tests.helpers.markers import codes_of, naive

COLUMNS = "rs# alleles chrom pos strand assembly# center protLSID assayLSID panelLSID QCcode".split()
LINES = ["001", "B 73", "Mo17", "NA"]
NAN = np.nan
#: Alleles, genotypes in one letter, in two, and the copies of the second allele.
SITES = {
    "s1": ("A/G", "A G R N", "AA GG AG NN", [0, 2, 1, NAN]),
    "s2": ("C/T", "Y C T C", "TC CC TT CC", [1, 0, 2, 0]),
    "s3": ("G/C", "G S C C", "G/G G/C C/C C/C", [0, 1, 2, 2]),
    "s4": ("T/A", "T W A -", "TT TA AA --", [0, 1, 2, NAN]),
    "s5": ("T/G", "K T G T", "TG TT GG TT", [1, 0, 2, 0]),
    "s6": ("C/A", "M C A C", "CA CC AA CC", [1, 0, 2, 0]),
    "s7": ("-/+", "- + 0 N", "-- ++ +- NA", [0, 2, 1, NAN]),
    "s8": ("NA", "G A R A", "GG AA GA AA", [2, 0, 1, 0]),
    "s9": ("A/G/T", "A T A W", "AA TT AA AT", [0, 2, 0, 1]),
    "s10": ("A/C", "C C C C", "CC CC CC CC", [2, 2, 2, 2]),
}


def text_of(column: int, sites: dict | None = None) -> str:
    rows = ["\t".join([*COLUMNS, *LINES])]
    for k, (name, site) in enumerate((sites or SITES).items()):
        about = [name, site[0], "1", str(100 + k), "+", *["NA"] * 6]
        rows.append("\t".join([*about, *site[column].split()]))
    return "\n".join(rows) + "\n"


@pytest.mark.parametrize("column", [1, 2])
@pytest.mark.parametrize("name", ["m.hmp.txt", "m.hmp", "m.txt", "m.hmp.txt.gz"])
def test_copies_of_the_second_allele(tmp_path, column, name):
    text = text_of(column)
    (tmp_path / name).write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    markers = read_markers(tmp_path / name)
    assert markers.lines == tuple(LINES)
    assert markers.names == tuple(SITES)
    np.testing.assert_array_equal(codes_of(markers), np.array([site[3] for site in SITES.values()]).T)
    told = {name: tuple(reversed(site[0].split("/"))) for name, site in SITES.items()}
    assert dict(zip(markers.names, markers.alleles, strict=True)) == told | {"s8": ("G", "A"), "s9": ("T", "A")}


def test_a_third_allele_leaves_the_marker_out(tmp_path):
    sites = {**SITES, "s11": ("A/G", "A G T A", "", []), "s12": ("A/G", "A G G A", "", [])}
    (tmp_path / "m.hmp.txt").write_text(text_of(1, sites))
    with pytest.warns(UserWarning, match=r"m.hmp.txt: 1 of 12 markers left out, as more than two alleles are") as told:
        markers = read_markers(tmp_path / "m.hmp.txt")
    assert markers.names == (*SITES, "s12")
    assert told[0].filename == __file__


def test_tetraploids(tmp_path):
    sites = {
        "s1": ("A/G", "", "AAAA AAAG AGGG GGGG", [0, 1, 3, 4]),
        "s2": ("T/C", "", "T NNNN TTCC CCCC", [0, NAN, 2, 4]),
    }
    (tmp_path / "m.hmp.txt").write_text(text_of(2, sites))
    np.testing.assert_array_equal(
        codes_of(read_markers(tmp_path / "m.hmp.txt", ploidy=4)).T, [s[3] for s in sites.values()]
    )
    (tmp_path / "n.hmp.txt").write_text(text_of(1))
    with pytest.raises(DataError, match="'s1' is 'R', which does not tell how many copies of 4 each allele has"):
        read_markers(tmp_path / "n.hmp.txt", ploidy=4)


def test_the_relationship_in_the_shell(tmp_path, capsys):
    (tmp_path / "m.hmp.txt").write_text(text_of(1))
    words = ["grm", str(tmp_path / "m.hmp.txt"), "--out", str(tmp_path / "g.csv")]
    assert main(words) == 0
    codes = np.array([site[3] for site in SITES.values()]).T
    np.testing.assert_allclose(read_relationship(tmp_path / "g.csv").matrix, naive(codes, 1), atol=1e-12)
    assert main([*words[:-1], str(tmp_path / "h.csv"), "--coding", "012"]) == 2
    assert "m.hmp.txt says itself what its genotypes are" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "\tA\tG\tR\tN",
            "\tA\tG\tB\tN",
            r"m.hmp.txt, row 2: the genotype of line 'Mo17' at marker 's1' is 'B': expected",
        ),
        ("\tA\tG\tR\tN", "\tA\tG\tAGG\tN", r"line 'Mo17' at marker 's1' is 'AGG': expected one letter .* or 2 letters"),
        ("\tMo17", "\t001", "the header of m.hmp.txt names line '001' twice"),
        ("QCcode\t", "other\t", r"m.hmp.txt begins as a HapMap file does, but has no QCcode in column 11"),
        ("rs#", "name", r"m.hmp.txt is no HapMap file: expected a header that begins rs# alleles chrom pos"),
        ("\tN\ns2", "\ns2", "m.hmp.txt has 14 cells in row 2 but 15 in its header"),
    ],
)
def test_bad_files(tmp_path, capsys, old, new, words):
    text = text_of(1)
    assert old in text
    path = tmp_path / "m.hmp.txt"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(DataError, match=words) as raised:
        read_markers(path)
    assert main(["grm", str(path), "--out", str(tmp_path / "g.csv")]) == 3
    assert str(raised.value) in capsys.readouterr().err
    with pytest.raises(UsageError, match=r"ids='fid' is for PLINK's files"):
        read_markers(path, ids="fid")


def test_no_markers(tmp_path: Path):
    (tmp_path / "m.hmp.txt").write_text(text_of(1).splitlines()[0] + "\n")
    with pytest.raises(DataError, match=r"m.hmp.txt has no marker with two alleles or one"):
        read_markers(tmp_path / "m.hmp.txt")
