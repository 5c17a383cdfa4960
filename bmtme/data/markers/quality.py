"""Quality of markers: what is missing, rare or the same in all lines, what is left out for it, and duplicated lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bmtme.arguments import is_number, show
from bmtme.data.markers.genotypes import Markers
from bmtme.data.relationship.matrix import Relationship
from bmtme.errors import DataError, UsageError
from bmtme.words import count_noun, list_names

__all__ = ["MarkerQuality", "duplicated_lines", "filter_markers"]

#: A share computed in floating point reaches a threshold that it equals.
_ROUNDING = 1e-12
#: Two lines whose relationship, as a correlation, is below this are no duplicates, however rare the alleles.
_ALIKE = 0.75

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MarkerQuality:
    """Quality of markers, and what was left out.

    Attributes
    ----------
    lines : pandas.DataFrame
        By line, all that were read: ``call_rate`` (share of the markers with a genotype) and ``reason`` why it was
        left out (``"call rate"``), empty for those that stay.
    markers : pandas.DataFrame
        By marker, all that were read: ``call_rate`` and ``maf`` (frequency of the rarer allele, missing where there is
        no genotype) among the lines that stay, and ``reason``: ``"call rate"``, ``"one genotype"``, ``"maf"`` or empty.
    thresholds : dict
        ``call_rate_marker``, ``call_rate_line``, ``maf``: the least values asked for.
    """

    lines: pd.DataFrame
    markers: pd.DataFrame
    thresholds: dict[str, float]

    def counts(self) -> dict[str, int]:
        """Numbers of lines and markers read, left out by reason, and left."""
        reasons = self.markers["reason"].value_counts()
        lines_out = int((self.lines["reason"] != "").sum())
        return {
            "lines": len(self.lines),
            "lines_call_rate": lines_out,
            "lines_left": len(self.lines) - lines_out,
            "markers": len(self.markers),
            "markers_call_rate": int(reasons.get("call rate", 0)),
            "markers_one_genotype": int(reasons.get("one genotype", 0)),
            "markers_maf": int(reasons.get("maf", 0)),
            "markers_left": int(reasons.get("", 0)),
        }

    def describe(self) -> str:
        """The numbers as lines of text."""
        counts = self.counts()
        rates, maf = self.lines["call_rate"], self.markers["maf"]
        reasons = {
            "markers_call_rate": f"with a call rate below {self.thresholds['call_rate_marker']:g}",
            "markers_one_genotype": "with one genotype in all lines, or none",
            "markers_maf": f"with a minor allele frequency below {self.thresholds['maf']:g}",
        }
        left_out = [f"{counts[reason]:,} {words}" for reason, words in reasons.items() if counts[reason]]
        dropped = self.lines.index[self.lines["reason"] != ""]
        lines_out = "none"
        if len(dropped):
            below = f"with a call rate below {self.thresholds['call_rate_line']:g}"
            lines_out = f"{len(dropped):,} {below}: {list_names(dropped)}"
        return "\n".join(
            (
                f"read: {counts['lines']:,} lines x {counts['markers']:,} markers, "
                f"{100 * (1 - rates.mean()):.3g}% of the genotypes missing",
                f"call rate of lines: {_describe_rates(rates)}",
                f"call rate of markers: {_describe_rates(self.markers['call_rate'])}",
                f"minor allele frequency: median {maf.median():.3g}, {count_noun(int((maf < 0.01).sum()), 'marker')} "
                f"below 0.01, {int((maf < 0.05).sum()):,} below 0.05",
                f"lines left out: {lines_out}",
                f"markers left out: {', '.join(left_out) or 'none'}",
                f"left: {counts['lines_left']:,} lines x {counts['markers_left']:,} markers",
            )
        )


def _describe_rates(rates: pd.Series) -> str:
    if rates.min() == 1:
        return "1 in all"
    return f"least {rates.min():.3g} ({rates.idxmin()}), median {rates.median():.3g}"


def filter_markers(
    markers: Markers,
    min_call_rate_marker: float = 0.0,
    min_call_rate_line: float = 0.0,
    min_maf: float = 0.0,
    progress: bool | None = None,
) -> tuple[Markers, MarkerQuality]:
    """Leave out lines with few genotypes, then markers with few genotypes, the same in all lines, or a rare allele.

    Parameters
    ----------
    markers : Markers
    min_call_rate_marker, min_call_rate_line : float
        Least share of genotypes that are there, 0 to 1. The lines' is over all markers, the markers' over the lines
        that stay (the order of PLINK).
    min_maf : float
        Least frequency of the rarer allele among the lines that stay, 0 to 0.5. Markers with the same genotype in all
        of them are left out whatever it is.
    progress : bool, optional
        Whether to show on stderr how far it is; by default only where that is a terminal.

    Returns
    -------
    markers : Markers
        What stays.
    quality : MarkerQuality
        The numbers.

    Raises
    ------
    UsageError
        For a threshold out of its range.
    DataError
        If no line or no marker stays.
    """
    check_markers(markers)
    thresholds = {"call_rate_marker": min_call_rate_marker, "call_rate_line": min_call_rate_line, "maf": min_maf}
    for name, value in thresholds.items():
        most = 0.5 if name == "maf" else 1.0
        if not is_number(value) or not 0 <= value <= most:
            raise UsageError(f"min_{name} must be a number from 0 to {most:g}, got {show(value)}.")
    by_line, by_marker, copies, varies = _count(markers, progress)
    line_rate = by_line / len(markers.names)
    stays = line_rate >= min_call_rate_line - _ROUNDING
    if not stays.any():
        raise DataError(
            f"{markers.source}: no line has genotypes at {min_call_rate_line:g} of the markers or more; the best, "
            f"{markers.lines[int(line_rate.argmax())]!r}, has {line_rate.max():.3g}."
        )
    chosen = markers.select(lines=stays)
    if not stays.all():
        _, by_marker, copies, varies = _count(chosen, progress)
    marker_rate = by_marker / len(chosen.lines)
    frequency = np.divide(
        copies, float(markers.ploidy) * by_marker, out=np.full(len(copies), np.nan), where=by_marker > 0
    )
    maf = np.minimum(frequency, 1.0 - frequency)
    reason = np.full(len(maf), "", dtype=object)
    reason[maf < min_maf - _ROUNDING] = "maf"
    reason[~varies] = "one genotype"
    reason[marker_rate < min_call_rate_marker - _ROUNDING] = "call rate"
    quality = MarkerQuality(
        pd.DataFrame(
            {"call_rate": line_rate, "reason": np.where(stays, "", "call rate")},
            index=pd.Index(markers.lines, name="line"),
        ),
        pd.DataFrame(
            {"call_rate": marker_rate, "maf": maf, "reason": reason}, index=pd.Index(markers.names, name="marker")
        ),
        {name: float(value) for name, value in thresholds.items()},
    )
    if (reason != "").all():
        counts = quality.counts()
        raise DataError(
            f"{markers.source}: none of the {len(maf):,} markers stays for {len(chosen.lines):,} lines: "
            f"{counts['markers_call_rate']:,} have a call rate below {min_call_rate_marker:g}, "
            f"{counts['markers_one_genotype']:,} one genotype or none, {counts['markers_maf']:,} a minor allele "
            f"frequency below {min_maf:g}."
        )
    return chosen.select(markers=reason == ""), quality


def check_markers(markers: Any) -> None:
    """Raise a UsageError if these are no Markers."""
    if not isinstance(markers, Markers):
        raise UsageError(
            f"markers must be Markers (bmtme.read_markers or bmtme.Markers.from_frame), got {type(markers).__name__}."
        )


def _count(markers: Markers, progress: bool | None) -> tuple[FloatArray, FloatArray, FloatArray, npt.NDArray[np.bool_]]:
    """Genotypes of every line; of every marker its genotypes, copies of its allele, and whether genotypes differ."""
    by_line = np.zeros(len(markers.lines))
    by_marker = np.zeros(len(markers.names))
    copies = np.zeros(len(markers.names))
    varies = np.zeros(len(markers.names), dtype=bool)
    for places, codes in markers.blocks("counting genotypes", progress):
        seen = ~np.isnan(codes)
        by_line += seen.sum(axis=1)
        by_marker[places] = seen.sum(axis=0)
        # Not a number, without any genotype, is not less than itself.
        varies[places] = np.fmin.reduce(codes, axis=0) < np.fmax.reduce(codes, axis=0)
        codes[~seen] = 0.0
        copies[places] = codes.sum(axis=0)
    return by_line, by_marker, copies, varies


def duplicated_lines(
    markers: Markers, relationship: Relationship, least: float = 0.99, progress: bool | None = None
) -> pd.DataFrame:
    """Lines with nearly the genotypes of an earlier line. None is left out: which one is right, the user knows.

    Every line is compared with the one before it that is most related to it by `relationship` (as a correlation, for
    call rates corrected), if this is at least 0.75: among markers with rare alleles unrelated lines agree too.

    Parameters
    ----------
    markers : Markers
        As `filter_markers` leaves them.
    relationship : Relationship
        Made from these markers.
    least : float
        Least share of equal genotypes among the markers with a genotype in both lines, above 0 and up to 1.

    Returns
    -------
    pandas.DataFrame
        ``line``, ``same_as`` (an earlier line), ``identical`` (share of equal genotypes) and ``compared`` (number of
        markers with a genotype in both), in the order of the lines.
    """
    check_markers(markers)
    if not isinstance(relationship, Relationship):
        raise UsageError(f"relationship must be a Relationship, got {type(relationship).__name__}.")
    if not is_number(least) or not 0 < least <= 1:
        raise UsageError(f"least must be a number above 0 and up to 1, got {show(least)}.")
    partner = _closest_before(markers, relationship, progress)
    later = np.flatnonzero(partner >= 0)
    earlier = partner[later]
    compared = np.zeros(len(later))
    equal = np.zeros(len(later))
    if len(later):
        for _, codes in markers.blocks("comparing lines", progress):
            mine, theirs = codes[later], codes[earlier]
            compared += (~np.isnan(mine) & ~np.isnan(theirs)).sum(axis=1)
            equal += (mine == theirs).sum(axis=1)
    share = np.divide(equal, compared, out=np.zeros(len(later)), where=compared > 0)
    found = np.flatnonzero(share >= least - _ROUNDING)
    columns: dict[str, Any] = {
        "line": [markers.lines[later[k]] for k in found],
        "same_as": [markers.lines[earlier[k]] for k in found],
        "identical": share[found],
        "compared": compared[found].astype(np.int64),
    }
    return pd.DataFrame(columns)


def _closest_before(markers: Markers, relationship: Relationship, progress: bool | None) -> npt.NDArray[np.int64]:
    """For every line the earlier one most related to it, -1 where none comes close."""
    places = relationship.index(markers.lines)
    matrix = relationship.matrix
    # Genotypes at the marker's mean make two copies of one line look less alike, by the root of both call rates.
    root = np.sqrt(matrix.diagonal()[places] * _count(markers, progress)[0] / len(markers.names))
    partner = np.full(len(places), -1, dtype=np.int64)
    for j in range(1, len(places)):
        alike = matrix[places[j], places[:j]] / (root[j] * root[:j])
        best = int(alike.argmax())
        if alike[best] >= _ALIKE:
            partner[j] = best
    return partner
