"""Markers: codes, files, quality control, and relationships computed from them against the plain formulas."""

from __future__ import annotations

import gzip
import io
import os
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bmtme.data.markers import genotypes as markers_module
from bmtme.data.markers.files import read_markers
from bmtme.data.markers.genotypes import Markers
from bmtme.data.markers.quality import duplicated_lines, filter_markers
from bmtme.data.relationship.files import read_relationship
from bmtme.data.relationship.genomic import gaussian_kernel, vanraden
from bmtme.errors import DataError, UsageError

LINES = ("001", "1", "NA", "L 4", "é", "x6", "x7", "x8")


@pytest.fixture
def markers() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    codes = rng.binomial(2, rng.uniform(0.4, 0.6, 60), size=(8, 60)).astype(float)
    codes[:, :2] = [[0, 1]] * 4 + [[2, 1]] * 4  # one marker with an opposite pair, one with heterozygotes only
    return pd.DataFrame(codes, index=LINES, columns=[f"m{k}" for k in range(60)])


@pytest.fixture
def gaps(markers: pd.DataFrame) -> pd.DataFrame:
    """Markers with some genotypes missing."""
    markers.iloc[2, 5] = np.nan
    markers.iloc[[0, 4], 7] = np.nan
    return markers


def codes_of(markers: Markers) -> np.ndarray:
    return np.hstack([codes for _, codes in markers.blocks()])


def naive(codes: np.ndarray, method: int) -> np.ndarray:
    """VanRaden's formulas marker by marker, missing genotypes at the mean, one allele left out."""
    n = len(codes)
    total, scale = np.zeros((n, n)), 0.0
    for column in codes.T:
        p = np.nanmean(column) / 2
        if not 0 < p < 1:
            continue
        z = np.where(np.isnan(column), 2 * p, column) - 2 * p
        variance = 2 * p * (1 - p)
        total += np.outer(z, z) / (1 if method == 1 else variance)
        scale += variance if method == 1 else 1
    return total / scale


# --- VanRaden ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [1, 2])
def test_vanraden_agrees_with_the_formulas(gaps, method):
    rel = vanraden(gaps, method=method)
    assert rel.lines == LINES
    np.testing.assert_allclose(rel.matrix, naive(gaps.to_numpy(), method), atol=1e-13)


@pytest.mark.parametrize("method", [1, 2])
def test_missing_genotypes_are_imputed_by_the_mean(gaps, method):
    expected = vanraden(gaps.fillna(gaps.mean()), method=method).matrix
    np.testing.assert_allclose(vanraden(gaps, method=method).matrix, expected, atol=1e-13)
    for variant in (
        gaps.astype("Int64"),
        gaps.astype(object).where(gaps.notna(), "NA"),
        gaps.fillna(-9).astype(int),
        gaps.fillna(-128).astype(np.int8),
    ):
        np.testing.assert_allclose(vanraden(variant, method=method).matrix, expected, atol=1e-13)


@pytest.mark.parametrize("method", [1, 2])
def test_markers_without_both_alleles_are_left_out_with_their_number(markers, method):
    expected = vanraden(markers, method=method).matrix
    more = markers.assign(zero=0, two=2.0, nothing=np.nan)
    with pytest.warns(UserWarning, match=r"^3 of 63 markers left out.*among the 8 lines"):
        rel = vanraden(more, method=method)
    np.testing.assert_allclose(rel.matrix, expected, atol=1e-13)


def test_no_warning_without_reason(gaps):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vanraden(gaps)


@pytest.mark.parametrize("method", [1, 2])
def test_swapped_alleles_and_integer_codes_change_nothing(markers, method):
    expected = vanraden(markers, method=method).matrix
    np.testing.assert_allclose(vanraden(2 - markers, method=method).matrix, expected, atol=1e-13)
    np.testing.assert_allclose(vanraden(markers.astype(np.int8), method=method).matrix, expected, atol=1e-13)


@pytest.mark.parametrize("cells", [1, 8 * 7, 8 * 60])
def test_blocks_of_any_width_agree(gaps, cells, monkeypatch):
    """Blocks of one marker, of seven (with a shorter last one), and of all."""
    before = [vanraden(gaps, method=method).matrix for method in (1, 2)]
    kernel = gaussian_kernel(gaps).matrix
    monkeypatch.setattr(markers_module, "_BLOCK_CELLS", cells)
    source = Markers.from_frame(gaps)
    widths = [codes.shape[1] for _, codes in source.blocks()]
    assert widths == {1: [1] * 60, 56: [7] * 8 + [4], 480: [60]}[cells]
    for method in (1, 2):
        np.testing.assert_allclose(vanraden(source, method=method).matrix, before[method - 1], atol=1e-13)
    np.testing.assert_allclose(gaussian_kernel(source).matrix, kernel, atol=1e-13)
    kept, quality = filter_markers(source, min_call_rate_marker=0.8, min_call_rate_line=0.99, min_maf=0.3)
    rows = gaps.loc[list(kept.lines), list(kept.names)]
    assert quality.counts()["lines_call_rate"] == 3
    assert 0 < len(kept.names) < 60
    np.testing.assert_array_equal(codes_of(kept), rows.to_numpy())


def test_no_marker_is_left(markers):
    with pytest.raises(DataError, match="none of the 60 markers shows both alleles among the 1 lines"):
        vanraden((markers > 3).astype(int).iloc[:1])
    with pytest.raises(DataError, match="the markers has no markers"):
        vanraden(markers.iloc[:, :0])
    with pytest.raises(DataError, match="none of the 2 markers shows both alleles"):
        vanraden(pd.DataFrame(np.nan, index=["a", "b"], columns=["m1", "m2"]))


def test_a_line_without_genotypes_is_named(markers):
    markers.iloc[3] = np.nan
    with pytest.raises(DataError, match=r"line 'L 4' has no genotype .* --min-call-rate-line"):
        vanraden(markers)


def test_repeated_and_missing_line_names(markers):
    with pytest.raises(DataError, match="the index of the marker frame names line '001' twice"):
        vanraden(pd.concat([markers, markers.iloc[:1]]))
    with pytest.raises(DataError, match="the index of the marker frame has no name for line 1"):
        vanraden(markers.set_axis([None, *markers.index[1:]]))


@pytest.mark.parametrize("method", [0, 3, "1", True])
def test_bad_method(markers, method):
    with pytest.raises(UsageError, match="method must be 1 or 2, got"):
        vanraden(markers, method=method)


def test_no_frame(markers):
    with pytest.raises(UsageError, match="expected a pandas DataFrame"):
        vanraden(markers.to_numpy())


@pytest.mark.parametrize("name", ["barley_steptoe_morex152", "wheat599"])
def test_real_markers(data_file, name):
    source = read_markers(data_file(f"{name}/markers.npz"), coding="012")
    stored = read_relationship(data_file(f"{name}/grm.csv.gz")).subset(source.lines)
    rel = vanraden(source)
    if name == "barley_steptoe_morex152":
        np.testing.assert_allclose(rel.matrix, stored.matrix, atol=1e-9)
    np.testing.assert_allclose(rel.matrix, naive(codes_of(source), 1), atol=1e-12)


# --- Gaussian kernel --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bandwidth", [0.5, 1, 3.0])
def test_gaussian_kernel_agrees_with_the_formula(gaps, bandwidth):
    codes = gaps.fillna(gaps.mean()).to_numpy()
    squares = ((codes[:, None, :] - codes[None, :, :]) ** 2).sum(axis=2)
    expected = np.exp(-bandwidth * squares / np.median(squares[np.triu_indices(8, 1)]))
    rel = gaussian_kernel(gaps, bandwidth=bandwidth)
    np.testing.assert_allclose(rel.matrix, expected, atol=1e-12)
    assert (rel.matrix.diagonal() == 1).all()


@pytest.mark.parametrize("bandwidth", [0, -1, np.nan, np.inf, "1", True])
def test_bad_bandwidth(markers, bandwidth):
    with pytest.raises(UsageError, match="bandwidth must be a positive number"):
        gaussian_kernel(markers, bandwidth=bandwidth)


def test_kernel_of_copies(markers):
    copies = pd.concat([markers.iloc[:1]] * 6 + [markers.iloc[1:2]]).set_axis(list("abcdefg"))
    with (
        pytest.warns(UserWarning, match="markers left out"),
        pytest.raises(DataError, match="at least half of all pairs of lines have the same genotypes"),
    ):
        gaussian_kernel(copies)


# --- codes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-1, r"line 'L 4' at marker 'm9' is -1, and that of line .* is 2: expected 0, 1 or 2 .* or -1, 0, 1"),
        (3, "line 'L 4' at marker 'm9' is 3: expected 0, 1 or 2 copies"),
        (np.inf, "line 'L 4' at marker 'm9' is inf"),
        ("AT", "line 'L 4' at marker 'm9' is 'AT': expected a number such as 0, 1 or 2"),
    ],
)
def test_bad_genotype_is_named(markers, code, words, monkeypatch):
    monkeypatch.setattr(markers_module, "_BLOCK_CELLS", 8 * 7)
    markers = markers.astype(object)
    markers.iloc[3, 9] = code
    with pytest.raises(DataError, match=words):
        vanraden(markers)
    if not isinstance(code, str):
        with pytest.raises(DataError, match=words):
            vanraden(markers.astype(float))


def test_codes_around_zero_are_told_and_said(gaps):
    expected = vanraden(gaps).matrix
    with pytest.warns(UserWarning, match=r"taken as -1, 0, 1 for 0, 1, 2 copies .*\(missing=-1"):
        told = Markers.from_frame(gaps - 1)
    given = Markers.from_frame(gaps - 1, coding="-101")
    for source in (told, given):
        np.testing.assert_array_equal(codes_of(source), gaps.to_numpy())
        np.testing.assert_allclose(vanraden(source).matrix, expected, atol=1e-13)


def test_a_negative_code_for_missing(markers):
    presence = (markers > 1).astype(int)
    presence.iloc[2, 5] = -1
    with pytest.warns(UserWarning, match="the only codes are 0 and 1"):
        counted = Markers.from_frame(presence, missing=[-1])
    expected = presence.where(presence >= 0)
    np.testing.assert_array_equal(codes_of(counted), expected)
    twice = Markers.from_frame(presence, coding="01", missing="-1")
    np.testing.assert_array_equal(codes_of(twice), 2 * expected)
    first, second = (vanraden(filter_markers(source)[0]).matrix for source in (counted, twice))
    np.testing.assert_allclose(second / second[0, 0], first / first[0, 0], atol=1e-12)
    assert second[0, 0] > first[0, 0]


def test_dosages_are_taken_as_they_are(markers):
    dosages = (markers * 0.9 + 0.05).round(3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source = Markers.from_frame(dosages)
    np.testing.assert_array_equal(codes_of(source), dosages)


@pytest.mark.parametrize(
    ("coding", "shift", "words"),
    [
        ("012", -1, "is -1: expected 0, 1 or 2 copies"),
        ("-101", 0, "is 2: expected -1, 0 or 1"),
        ("01", 0, "is 2: expected 0 or 1"),
    ],
)
def test_codes_outside_the_coding_given(markers, coding, shift, words):
    with pytest.raises(DataError, match=words):
        Markers.from_frame(markers + shift, coding=coding)


def test_bad_coding_and_missing_codes(markers, tmp_path):
    for read in (lambda **words: Markers.from_frame(markers, **words), lambda **words: read_markers("x.csv", **words)):
        with pytest.raises(UsageError, match="coding must be one of auto, 012, -101, 01, got '102'"):
            read(coding="102")
        with pytest.raises(UsageError, match="takes away two genotypes"):
            read(missing=[0, 2])


# --- tables and archives ----------------------------------------------------------------------------------------


def write_table(frame: pd.DataFrame, path: Path, **words: object) -> Path:
    frame.to_csv(path, sep="\t" if ".tsv" in path.name else ",", index_label="line", **words)
    return path


@pytest.mark.parametrize("name", ["m.csv", "m.tsv", "m.csv.gz", "m.txt"])
def test_tables(gaps, tmp_path, name):
    source = read_markers(write_table(gaps.astype("Int64"), tmp_path / name))
    assert source.lines == LINES
    assert source.names == tuple(gaps.columns)
    np.testing.assert_array_equal(codes_of(source), gaps)
    np.testing.assert_array_equal(codes_of(source), gaps)  # readable again
    assert repr(source) == f"Markers({name}: 8 lines x 60 markers)"


def test_table_with_dosages_and_codes_for_missing(gaps, tmp_path):
    frame = gaps.astype("Int64").astype(object).where(gaps.notna(), "--")
    frame.iloc[0, 0] = 0.25
    frame.iloc[1, 0] = "-9"
    frame.iloc[1, 1] = "nan"
    source = read_markers(write_table(frame, tmp_path / "m.csv"), missing=["--"])
    expected = gaps.copy()
    expected.iloc[0, 0] = 0.25
    expected.iloc[1, :2] = np.nan
    np.testing.assert_array_equal(codes_of(source), expected)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("line,m1,m2\na,0,1\nb,AA,2\n", "m.csv, row 3: the genotype of line 'b' at marker 'm1' is 'AA': expected"),
        ("line,m1,m2\na,0,1\nb,7,2\n", "m.csv: the genotype of line 'b' at marker 'm1' is 7: expected 0, 1 or 2"),
        ("line,m1,m2\na,0,1\nb,inf,2\n", "m.csv: the genotype of line 'b' at marker 'm1' is inf"),
        ("line,m1,m2\na,0,1\na,1,2\n", "the first column of m.csv names line 'a' twice"),
        ("line,m1,m2\n,0,1\nb,1,2\n", "m.csv has no line name in row 2"),
        ("line,m1,m1\na,0,1\nb,1,2\n", r"m.csv has two columns named 'm1' \(columns 2 and 3\)"),
        ("line,m1,m2\na,0\nb,1,2\n", "m.csv has 2 cells in row 2 but 3 in its header"),
        ("line,m1,m2\n", "the first column of m.csv names no lines"),
        ("line\na\nb\n", "m.csv has no markers"),
        ("", "m.csv is empty"),
        ("line;m1;m2\na;0;1\n", "separate its columns by semicolons"),
        ("line,m1,m2\na,0,-1\nb,1,2\n", "'a' at marker 'm2' is -1, and that of line 'b' at marker 'm2' is 2"),
    ],
)
def test_bad_tables(tmp_path, text, words):
    path = tmp_path / "m.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=words):
        read_markers(path)


def test_no_such_file(tmp_path):
    for name in ("none.csv", "none.npz", "none.vcf", "none.bed"):
        if name.endswith(("vcf", "bed")):
            pytest.importorskip({"vcf": "cyvcf2", "bed": "bed_reader"}[name[-3:]])
        with pytest.raises(DataError, match=r"none\.\w+ cannot be read: No such file or directory"):
            read_markers(tmp_path / name)


@pytest.mark.parametrize("names", [("markers", "line", "snp"), ("genotypes", "lines", "marker")])
def test_archives(gaps, tmp_path, names):
    codes = gaps.fillna(-128).astype(np.int8).to_numpy()
    arrays = dict(zip(names, (codes, np.array(LINES), np.array(gaps.columns, dtype=str)), strict=True))
    np.savez_compressed(tmp_path / "m.npz", **arrays)
    source = read_markers(tmp_path / "m.npz")
    assert source.lines == LINES
    assert source.names[:2] == ("m0", "m1")
    np.testing.assert_array_equal(codes_of(source), gaps)
    del arrays[names[2]]
    np.savez(tmp_path / "n.npz", **arrays)
    assert read_markers(tmp_path / "n.npz").names[:2] == ("1", "2")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"G": np.zeros((2, 3)), "line": ["a", "b"]}, "has the arrays 'G', 'line': expected markers"),
        ({"markers": np.zeros((2, 3))}, "has the arrays 'markers': expected markers"),
        ({"markers": np.zeros(6), "line": ["a", "b"]}, r"'markers' of m.npz has shape \(6,\)"),
        ({"markers": np.full((2, 3), "A"), "line": ["a", "b"]}, "type <U1: expected numbers"),
        ({"markers": np.zeros((2, 3)), "line": ["a"]}, r"'line' of m.npz has shape \(1,\), but 'markers' has 2 lines"),
        ({"markers": np.zeros((2, 3)), "line": ["a", "b"], "snp": ["x"]}, "'snp' of m.npz .* has 3 markers"),
        ({"markers": np.zeros((2, 3)), "line": ["a", "a"]}, "the array 'line' of m.npz names line 'a' twice"),
        ({"markers": np.full((2, 3), 5), "line": ["a", "b"]}, "line 'a' at marker '1' is 5"),
        ({"markers": np.zeros((2, 3)), "line": np.array(["a", None], dtype=object)}, "array of Python objects"),
    ],
)
def test_bad_archives(tmp_path, arrays, words):
    np.savez(tmp_path / "m.npz", **arrays)
    with pytest.raises(DataError, match=words):
        read_markers(tmp_path / "m.npz")


def text_in_a_zip() -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as file:
        file.writestr("markers.npy", "0 1 2")
        file.writestr("line.npy", "a")
    return held.getvalue()


def damaged_zip() -> bytes:
    held = io.BytesIO()
    np.savez_compressed(held, markers=np.random.default_rng(1).integers(0, 3, (50, 50)), line=np.arange(50))
    content = bytearray(held.getvalue())
    content[200:260] = bytes(60)
    return bytes(content)


def test_files_that_are_no_archives(tmp_path):
    path = tmp_path / "m.npz"
    for content in (b"", b"line,m1\na,0\n", b"PK\x03\x04" + bytes(100), damaged_zip()):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"m.npz is no NumPy archive, or a damaged one"):
            read_markers(path)
    path.write_bytes(text_in_a_zip())
    with pytest.raises(DataError, match=r"'markers' of m.npz has shape .* expected numbers"):
        read_markers(path)
    with open(path, "wb") as file:
        np.save(file, np.zeros((2, 3)))
    with pytest.raises(DataError, match=r"m.npz holds a single array"):
        read_markers(path)


# --- PLINK ------------------------------------------------------------------------------------------------------


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
    assert read_markers(plink).names[:2] == ("3:0", "3:1")


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


# --- VCF --------------------------------------------------------------------------------------------------------

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
        (vcf_text(GOOD, "1 6 m2 A C . . . GT 0/1 0/0/1/1 0/0"), "m2 at 1:6: .* line 'b' has more than two alleles"),
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


# --- optional libraries, codings of formats that have their own --------------------------------------------------


@pytest.mark.parametrize(
    ("name", "library", "extra"), [("m.bed", "bed_reader", "plink"), ("m.vcf.gz", "cyvcf2", "vcf")]
)
def test_missing_library(name, library, extra, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UsageError, match=rf"reading {name} needs .* {library}, .*pip install 'bmtme\[{extra}\]'"):
        read_markers(tmp_path / name)


@pytest.mark.parametrize("name", ["m.bed", "m.vcf"])
@pytest.mark.parametrize("words", [{"coding": "012"}, {"missing": ["-1"]}])
def test_coding_of_a_format_that_has_its_own(name, words):
    with pytest.raises(UsageError, match=f"{name} says itself what its genotypes are"):
        read_markers(name, **words)


# --- quality ----------------------------------------------------------------------------------------------------


@pytest.fixture
def poor() -> Markers:
    """Six lines: z lacks most genotypes. Markers: good, rare, one allele, three without half of the lines."""
    nan = np.nan
    frame = pd.DataFrame(
        {
            "good1": [0, 1, 2, 2, 0, nan],
            "good2": [2, 1, 0, 0, 1, nan],
            "good3": [0, 2, 0, 2, 0, 2],
            "rare": [0, 0, 0, 0, 1, nan],
            "one": [0, 0, 0, 0, 0, 2],
            "thin": [0, 2, nan, nan, nan, nan],
        },
        index=list("abcdyz"),
    )
    return Markers.from_frame(frame)


def test_filters_and_their_numbers(poor):
    kept, quality = filter_markers(poor, min_call_rate_line=0.5, min_call_rate_marker=0.5, min_maf=0.2)
    assert kept.lines == tuple("abcdy")
    assert kept.names == ("good1", "good2", "good3")
    assert quality.counts() == {
        "lines": 6,
        "lines_call_rate": 1,
        "lines_left": 5,
        "markers": 6,
        "markers_call_rate": 1,
        "markers_one_genotype": 1,
        "markers_maf": 1,
        "markers_left": 3,
    }
    np.testing.assert_allclose(quality.lines["call_rate"], [1, 1, 5 / 6, 5 / 6, 5 / 6, 2 / 6])
    assert list(quality.lines["reason"]) == [""] * 5 + ["call rate"]
    np.testing.assert_allclose(quality.markers["call_rate"], [1, 1, 1, 1, 1, 0.4])
    np.testing.assert_allclose(quality.markers["maf"], [0.5, 0.4, 0.4, 0.1, 0, 0.5])
    assert list(quality.markers["reason"]) == ["", "", "", "maf", "one genotype", "call rate"]
    text = quality.describe()
    for words in (
        "read: 6 lines x 6 markers, 19.4% of the genotypes missing",
        "call rate of lines: least 0.333 (z)",
        "call rate of markers: least 0.4 (thin)",
        "minor allele frequency: median 0.4, 1 marker below 0.01",
        "lines left out: 1 with a call rate below 0.5: 'z'",
        "1 with a call rate below 0.5, 1 with one genotype in all lines, or none, 1 with a minor allele frequency",
        "left: 5 lines x 3 markers",
    ):
        assert words in text


def test_heterozygotes_only_tell_nothing(poor):
    frame = pd.DataFrame({"m": [0, 1, 2, 1], "het": [1, 1, 1, np.nan], "nothing": np.nan}, index=list("abcd"))
    kept, quality = filter_markers(Markers.from_frame(frame))
    assert kept.names == ("m",)
    assert quality.counts()["markers_one_genotype"] == 2


def test_without_thresholds_only_markers_with_one_genotype_go(poor):
    kept, quality = filter_markers(poor.select(lines=np.array([True] * 5 + [False])))
    assert kept.names == ("good1", "good2", "good3", "rare", "thin")
    assert quality.counts()["markers_one_genotype"] == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vanraden(kept)


def test_thresholds_are_reached_by_equal_shares(poor):
    kept, _ = filter_markers(poor, min_call_rate_line=5 / 6, min_call_rate_marker=0.4, min_maf=0.1)
    assert kept.lines == tuple("abcdy")
    assert kept.names == ("good1", "good2", "good3", "rare", "thin")


def test_selections_of_selections(poor):
    first = poor.select(np.array([1, 0, 1, 1, 1, 1], bool), np.array([1, 0, 1, 1, 1, 1], bool))
    second = first.select(np.array([1, 0, 1, 0, 1], bool), np.array([0, 1, 1, 0, 1], bool))
    assert second.lines == ("a", "d", "z")
    assert second.names == ("good3", "rare", "thin")
    np.testing.assert_array_equal(codes_of(second), [[0, 0, 0], [2, 0, np.nan], [2, np.nan, np.nan]])


@pytest.mark.parametrize(
    "words",
    [
        {"min_maf": 0.6},
        {"min_maf": -0.1},
        {"min_call_rate_line": 1.1},
        {"min_call_rate_marker": np.nan},
        {"min_call_rate_marker": "1"},
    ],
)
def test_bad_thresholds(poor, words):
    with pytest.raises(UsageError, match=f"{next(iter(words))} must be a number from 0 to"):
        filter_markers(poor, **words)


def test_nothing_stays(poor):
    words = (
        "none of the 4 markers stays for 6 lines: 1 have a call rate below 0.5, 0 one genotype or none, 3 a minor "
        "allele frequency below 0.5"
    )
    with pytest.raises(DataError, match=words):
        filter_markers(poor.select(markers=np.array([0, 1, 0, 1, 1, 1], bool)), min_maf=0.5, min_call_rate_marker=0.5)
    empty = Markers.from_frame(pd.DataFrame({"m": [np.nan, 1], "n": [0, np.nan]}, index=["a", "b"]), coding="012")
    with pytest.raises(DataError, match=r"no line has genotypes at 0.9 of the markers or more; the best, 'a', has 0.5"):
        filter_markers(empty, min_call_rate_line=0.9)


def copies_frame() -> pd.DataFrame:
    """Ten lines at 400 markers; c2 copies c1 with a tenth missing in both, almost copies it in 3% of the rest."""
    rng = np.random.default_rng(5)
    codes = rng.binomial(2, rng.uniform(0.1, 0.9, 400), size=(10, 400)).astype(float)
    codes[7] = codes[2]
    codes[8] = codes[4]
    codes[8, :12] = 2 - codes[8, :12] + (codes[8, :12] == 1)
    for j in (2, 7):
        codes[j, rng.random(400) < 0.1] = np.nan
    return pd.DataFrame(codes, index=list("abcdefghij"), columns=range(400))


@pytest.mark.parametrize("method", [1, 2])
def test_duplicated_lines(method):
    frame = copies_frame()
    kept, _ = filter_markers(Markers.from_frame(frame))
    rel = vanraden(kept, method=method)
    found = duplicated_lines(kept, rel)
    both = int(frame.loc[["c", "h"]].notna().all()[list(map(int, kept.names))].sum())
    assert found.to_dict("records") == [{"line": "h", "same_as": "c", "identical": 1.0, "compared": both}]
    more = duplicated_lines(kept, rel, least=0.95)
    assert list(zip(more["line"], more["same_as"], strict=True)) == [("h", "c"), ("i", "e")]
    assert more["identical"].iloc[1] == pytest.approx(
        (frame.loc["i"] == frame.loc["e"])[list(map(int, kept.names))].mean()
    )


def test_agreement_at_rare_alleles_makes_no_duplicates():
    codes = np.zeros((6, 600))
    codes[np.arange(600) % 6, np.arange(600)] = (np.arange(600) < 6) * 1.0
    codes[:, 6] = [0, 0, 1, 1, 2, 2]
    frame = pd.DataFrame(codes, index=list("abcdef"))
    source = Markers.from_frame(frame)
    kept, _ = filter_markers(source)
    assert (frame.loc["a"] == frame.loc["b"]).mean() > 0.99
    assert duplicated_lines(kept, vanraden(kept), least=0.7).empty


def test_no_duplicates_among_few_lines(markers):
    for n in (2, 8):
        kept, _ = filter_markers(Markers.from_frame(markers.iloc[:n]))
        found = duplicated_lines(kept, vanraden(kept))
        assert found.empty
        assert list(found.columns) == ["line", "same_as", "identical", "compared"]
    with pytest.raises(UsageError, match="least must be a number above 0 and up to 1"):
        duplicated_lines(kept, vanraden(kept), least=0)


# --- memory and progress ----------------------------------------------------------------------------------------


def test_progress_is_shown_when_asked_for(gaps, capsys):
    vanraden(gaps, progress=True)
    err = capsys.readouterr().err
    assert "computing the relationship: 100%" in err
    assert err.endswith("\r")
    vanraden(gaps)
    assert capsys.readouterr().err == ""


def test_interruption_clears_the_line(gaps, capsys, monkeypatch):
    monkeypatch.setattr(markers_module, "_BLOCK_CELLS", 8 * 7)
    read: Callable[[int, int], np.ndarray] = Markers.from_frame(gaps).read

    def interrupted(start: int, stop: int) -> np.ndarray:
        if start > 20:
            raise KeyboardInterrupt
        return read(start, stop)

    with pytest.raises(KeyboardInterrupt):
        vanraden(Markers(LINES, tuple(gaps.columns), "m", interrupted), progress=True)
    err = capsys.readouterr().err
    assert "computing the relationship:" in err
    assert err.endswith(" \r")
