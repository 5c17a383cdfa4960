"""Relationships from markers against the plain formulas: VanRaden's, and the Gaussian kernel."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from bmtme.data.markers import genotypes as markers_module
from bmtme.data.markers.files import read_markers
from bmtme.data.markers.genotypes import Markers
from bmtme.data.markers.quality import filter_markers
from bmtme.data.relationship.files import read_relationship
from bmtme.data.relationship.genomic import gaussian_kernel, vanraden
from bmtme.errors import DataError, UsageError
from tests.helpers.markers import LINES, codes_of, naive

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
