"""Codes of genotypes: bad ones, codings, dosages."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from bmtme.data.markers import genotypes as markers_module
from bmtme.data.markers.files import read_markers
from bmtme.data.markers.genotypes import Markers
from bmtme.data.markers.quality import filter_markers
from bmtme.data.relationship.genomic import vanraden
from bmtme.errors import DataError, UsageError
from tests.helpers.markers import codes_of


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
