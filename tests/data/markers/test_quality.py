"""Quality control of markers, and lines that are copies."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from bmtme.data.markers.genotypes import Markers
from bmtme.data.markers.quality import duplicated_lines, filter_markers
from bmtme.data.relationship.genomic import vanraden
from bmtme.errors import DataError, UsageError
from tests.helpers.markers import codes_of


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
