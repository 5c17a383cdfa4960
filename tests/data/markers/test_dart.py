"""DArT's reports as they are delivered: SNPs in one row and in two, SilicoDArT; stars above or not."""

from __future__ import annotations

import numpy as np
import pytest

from bmtme import DataError, UsageError, read_markers, read_relationship
from bmtme.cli.main import main
from tests.helpers.markers import codes_of, naive

LINES = ["P-1", "P-2", "003", "x y", "P-5"]
NAN = np.nan
#: Copies of the SNP allele of five lines at six markers.
COPIES = np.array(
    [[0, 1, 2, NAN, 0], [2, 2, 0, 0, 1], [1, 1, 1, 0, 0], [NAN, 0, 2, 2, 2], [0, 0, 0, 0, 0], [2, 0, 1, 0, 2]]
)
ABOUT = ["AlleleID", "CloneID", "AlleleSequence", "SNP", "SnpPosition", "CallRate", "Chrom_Wheat_v1", "RepAvg"]


def about(k: int, snp: str | None) -> list[str]:
    clone = str(100049 + k)
    return [f"{clone}|F|0-{k}:C>T", clone, "TGCAGAA", snp if snp is not None else "", str(k), "0.98", "1A", "1"]


def report(rows: list[list[str]], columns: list[str], stars: bool) -> str:
    table = [[*columns, *LINES], *rows]
    if stars:
        extra = [["P1"] * 5, ["A", "A", "B", "B", "C"], ["1", "2", "3", "4", "5"]]
        table = [[*["*"] * len(columns), *cells] for cells in extra] + table
    return "".join(",".join(cells) + "\n" for cells in table)


def one_row(stars: bool = True, copies: np.ndarray = COPIES) -> str:
    codes = {0: "0", 2: "1", 1: "2"}
    rows = [
        [*about(k, f"{k}:C>T"), *("-" if np.isnan(c) else codes[int(c)] for c in marker)]
        for k, marker in enumerate(copies)
    ]
    return report(rows, ABOUT, stars)


def two_rows(stars: bool = True) -> str:
    rows = []
    for k, marker in enumerate(COPIES):
        for snp, present in ((None, {0: "1", 1: "1", 2: "0"}), (f"{k}:C>T", {0: "0", 1: "1", 2: "1"})):
            rows.append([*about(k, snp), *("-" if np.isnan(c) else present[int(c)] for c in marker)])
    return report(rows, ABOUT, stars)


@pytest.mark.parametrize("make", [one_row, two_rows])
@pytest.mark.parametrize("stars", [True, False])
def test_reports_of_snps(tmp_path, capsys, make, stars):
    path = tmp_path / "Report_DWheat.csv"
    path.write_text(make(stars))
    markers = read_markers(path)
    assert markers.lines == tuple(LINES)
    assert markers.names == tuple(f"{100049 + k}|F|0-{k}:C>T" for k in range(6))
    np.testing.assert_array_equal(codes_of(markers), COPIES.T)
    assert main(["grm", str(path), "--out", str(tmp_path / "g.csv")]) == 0
    np.testing.assert_allclose(read_relationship(tmp_path / "g.csv").matrix, naive(COPIES.T, 1), atol=1e-12)
    assert "read: 5 lines x 6 markers" in capsys.readouterr().out


def test_absence_of_both_alleles_is_no_genotype(tmp_path):
    text = two_rows()
    first = text.splitlines()[4]
    (tmp_path / "r.csv").write_text(text.replace(first, first[: first.rindex("1,1,0,-,1")] + "1,1,0,-,0"))
    assert np.isnan(codes_of(read_markers(tmp_path / "r.csv"))[4, 0])


def test_silico_dart(tmp_path):
    columns = ["CloneID", "AlleleSequence", "CallRate", "OneRatio", "PIC", "AvgReadDepth", "Qpmr", "Reproducibility"]
    present = np.array([[1, 0, 1, NAN, 0], [0, 0, 1, 1, 1]])
    rows = [
        [str(700 + k), "TGCAG", *["0.9"] * 6, *("-" if np.isnan(p) else str(int(p)) for p in marker)]
        for k, marker in enumerate(present)
    ]
    (tmp_path / "s.csv").write_text(report(rows, columns, stars=False))
    markers = read_markers(tmp_path / "s.csv")
    assert markers.names == ("700", "701")
    np.testing.assert_array_equal(codes_of(markers), 2 * present.T)
    rows[0][-1] = "2"
    (tmp_path / "s.csv").write_text(report(rows, columns, stars=True))
    with pytest.raises(
        DataError, match=r"s.csv, row 5: the genotype of line 'P-5' at marker '700' is '2': expected 0, 1 or"
    ):
        read_markers(tmp_path / "s.csv")


def test_no_heterozygote_in_one_row(tmp_path):
    copies = np.where(COPIES == 1, 0, COPIES)
    (tmp_path / "r.csv").write_text(one_row(copies=copies))
    np.testing.assert_array_equal(codes_of(read_markers(tmp_path / "r.csv")), copies.T)


def edit(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new, 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            edit(one_row(), "0.98,1A,1,0,2", "0.98,1A,1,14,2"),
            r"r.csv, row 5: the genotype of line 'P-1' at .* is '14': .*cou",
        ),
        (
            edit(one_row(), "0.98,1A,1,0,2", "0.98,1A,1,A,2"),
            r"row 5: the genotype of line 'P-1' .* is 'A': expected 0, 1, 2",
        ),
        (
            edit(one_row(False), "Chrom_Wheat_v1,RepAvg", "RepAvg,Mystery").replace(",1A,1,", ",1A,0.5,"),
            r"line 'Mystery' at .* is '0.5': expected .* where 'Mystery' is taken as a line by its column",
        ),
        (edit(one_row(), "P-2", "P-1"), "row 4 of r.csv names line 'P-1' twice"),
        (
            edit(two_rows(), ",,1,0.98", ",0:C>T,1,0.98"),
            r"r.csv has rows with and without an entry under SNP, .* by turns at",
        ),
        (two_rows().rsplit("100054|", 1)[0], r"r.csv has rows with and without an entry under SNP"),
        (
            two_rows().replace("-,1\n", "-,2\n"),
            r"two rows a marker, as SNP is empty .* code 2",
        ),
        ("*,*,a,b\n", "r.csv has rows of stars only"),
        (
            edit(one_row(), "AlleleID,CloneID", "x,y"),
            r"looks like a DArT report, but has no column AlleleID or CloneID",
        ),
        (one_row().split("100049|")[0], "r.csv has no rows below its header"),
    ],
)
def test_bad_reports(tmp_path, capsys, text, words):
    path = tmp_path / "r.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=words) as raised:
        read_markers(path)
    assert main(["grm", str(path), "--out", str(tmp_path / "g.csv")]) == 3
    assert " ".join(str(raised.value).split()) in capsys.readouterr().err


def test_two_rows_with_an_entry_in_both(tmp_path):
    text = two_rows()
    for k in range(6):
        text = text.replace(f",,{k},", f",{k}:C>T,{k},")
    (tmp_path / "r.csv").write_text(text)
    with pytest.raises(
        DataError, match=r"r.csv names every marker twice, as DArT's report with two rows a marker, but"
    ):
        read_markers(tmp_path / "r.csv")


def test_options_that_do_not_belong_to_it(tmp_path):
    (tmp_path / "r.csv").write_text(one_row())
    with pytest.raises(UsageError, match=r"r.csv says itself what its genotypes are"):
        read_markers(tmp_path / "r.csv", coding="012")
    with pytest.raises(UsageError, match=r"r.csv holds genotypes of diploids"):
        read_markers(tmp_path / "r.csv", ploidy=4)
