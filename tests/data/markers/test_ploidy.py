"""Polyploids: dosages of 0 to the ploidy, and VanRaden's scaling for them."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from bmtme import (
    DataError,
    Markers,
    UsageError,
    filter_markers,
    gaussian_kernel,
    read_markers,
    read_relationship,
    vanraden,
)
from bmtme.cli.main import main
from tests.helpers.markers import codes_of


def simulate(n: int, m: int, ploidy: int, seed: int) -> pd.DataFrame:
    """Dosages under random mating: as many draws of an allele as there are sets of chromosomes."""
    rng = np.random.default_rng(seed)
    codes = rng.binomial(ploidy, rng.uniform(0.2, 0.8, m), (n, m))
    return pd.DataFrame(codes, index=[f"L{j}" for j in range(n)], columns=[f"m{k}" for k in range(m)])


def by_hand(codes: np.ndarray, ploidy: int, method: int) -> np.ndarray:
    """Covariances of dosages over their variance under random mating, marker by marker."""
    n = len(codes)
    total, scale = np.zeros((n, n)), 0.0
    for column in codes.T:
        mean = np.nanmean(column)
        p = mean / ploidy
        z = np.where(np.isnan(column), 0.0, column - mean)
        variance = ploidy * p * (1 - p)
        if variance > 0:
            total += np.outer(z, z) / (variance if method == 2 else 1)
            scale += 1 if method == 2 else variance
    return total / scale


@pytest.mark.parametrize("ploidy", [2, 3, 4, 6, 8])
@pytest.mark.parametrize("method", [1, 2])
def test_vanraden(tmp_path, capsys, ploidy, method):
    frame = simulate(9, 60, ploidy, ploidy).astype("Int64")
    frame.iloc[2, 5] = pd.NA
    codes = frame.to_numpy(dtype=float, na_value=np.nan)
    expected = by_hand(codes, ploidy, method)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(vanraden(frame, method, ploidy=ploidy).matrix, expected, atol=1e-13)
        frame.to_csv(tmp_path / "m.csv")
        markers = read_markers(tmp_path / "m.csv", ploidy=ploidy)
    np.testing.assert_array_equal(codes_of(markers), codes)
    np.testing.assert_allclose(vanraden(markers, method).matrix, expected, atol=1e-13)
    words = ["grm", str(tmp_path / "m.csv"), "--ploidy", str(ploidy), "--method", str(method)]
    assert main([*words, "--out", str(tmp_path / "g.csv")]) == 0
    np.testing.assert_allclose(read_relationship(tmp_path / "g.csv").matrix, expected, atol=1e-13)
    said = capsys.readouterr().out
    assert (f"method {method}, ploidy {ploidy}, 9 lines" in said) == (ploidy > 2)


def test_the_mean_diagonal_is_one_under_random_mating():
    # As of diploids: the scale is the variance of the dosage.
    for ploidy in (2, 4, 6):
        matrix = vanraden(simulate(40, 4000, ploidy, 1), ploidy=ploidy).matrix
        # Centring takes one of 40 degrees of freedom; the SD of the mean over seeds is about 0.004.
        assert abs(np.trace(matrix) / 40 - 39 / 40) < 0.02, ploidy


def test_frequencies_and_rare_alleles():
    frame = simulate(9, 30, 4, 2)
    shares = Markers.from_frame(frame / 4, coding="01", ploidy=4)
    np.testing.assert_allclose(codes_of(shares), frame.to_numpy(), atol=1e-12)
    quality = filter_markers(Markers.from_frame(frame, ploidy=4))[1]
    p = frame.mean() / 4
    np.testing.assert_allclose(quality.markers["maf"], np.minimum(p, 1 - p))
    kernel = gaussian_kernel(frame, ploidy=4).matrix
    np.testing.assert_allclose(kernel, gaussian_kernel(frame / 2).matrix, atol=1e-12)  # distances know no scale


@pytest.mark.parametrize(
    ("codes", "words", "error", "expected"),
    [
        ([[0, 3], [4, 1]], {}, DataError, r"is 4: expected 0, 1 or 2.*polyploids, say .* ploidy=4 \(--ploidy 4\)"),
        ([[0, 6], [4, 1]], {}, DataError, r"is 6: .*ploidy=6 \(--ploidy 6\)"),
        ([[0, 5], [4, 1]], {"ploidy": 4}, DataError, r"is 5: expected 0 to 4 copies of one allele.*ploidy=6"),
        ([[0, -1], [4, 1]], {"ploidy": 4}, DataError, r"is -1: expected 0 to 4 copies of one allele"),
        ([[0, 0.25], [1, 0.5]], {"ploidy": 4}, DataError, r"are they frequencies of an allele, .* coding='01'"),
        ([[0, 1], [4, 1]], {"ploidy": 1}, UsageError, r"ploidy must be a whole number of at least 2, got 1"),
        ([[0, 1], [4, 1]], {"ploidy": 40}, UsageError, r"ploidy must be at most 24, got 40"),
        ([[0, 1], [1, 1]], {"ploidy": 4, "coding": "-101"}, UsageError, r"coding='-101' is for diploids"),
    ],
)
def test_dosages_that_do_not_fit(tmp_path, capsys, codes, words, error, expected):
    frame = pd.DataFrame(codes, index=["a", "b"], columns=["m1", "m2"])
    with pytest.raises(error, match=expected):
        Markers.from_frame(frame, **words)
    frame.to_csv(tmp_path / "m.csv")
    with pytest.raises(error, match=expected) as raised:
        read_markers(tmp_path / "m.csv", **words)
    shell = [word for name, value in words.items() for word in (f"--{name}", str(value))]
    assert main(["grm", str(tmp_path / "m.csv"), *shell, "--out", str(tmp_path / "g.csv")]) == error.exit_code
    if words.get("ploidy") != 1:  # argparse's own words
        assert str(raised.value) in capsys.readouterr().err


def test_dosages_of_diploids_are_asked_about():
    frame = simulate(6, 20, 2, 3)
    with pytest.warns(
        UserWarning, match=r"no genotype has more than 2 of 4 copies of the allele: are these dosages of"
    ):
        markers = Markers.from_frame(frame, ploidy=4)
    assert markers.ploidy == 4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Markers.from_frame(frame, "012", ploidy=4).select(lines=np.arange(6) < 4).ploidy == 4
    with pytest.raises(UsageError, match=r"ploidy=2, but the markers of the markers were read with ploidy=4"):
        vanraden(markers, ploidy=2)


def test_vcf_of_tetraploids(tmp_path):
    pytest.importorskip("cyvcf2")
    head = "##fileformat=VCFv4.2\n##contig=<ID=1>\n"
    head += '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n'
    head += "\t".join("#CHROM POS ID REF ALT QUAL FILTER INFO FORMAT a b c d".split()) + "\n"
    row = "\t".join("1 5 m1 A C . . . GT 0/0/0/1 0|1|1|1 ./././. 1/1/1/1".split()) + "\n"
    (tmp_path / "m.vcf").write_text(head + row)
    np.testing.assert_array_equal(codes_of(read_markers(tmp_path / "m.vcf", ploidy=4))[:, 0], [1, 3, np.nan, 4])
    (tmp_path / "n.vcf").write_text(head + row.replace("0|1|1|1", "0/1"))
    with pytest.raises(DataError, match="m1 at 1:5: the genotype of line 'b' has 2 alleles: expected 4"):
        read_markers(tmp_path / "n.vcf", ploidy=4)
