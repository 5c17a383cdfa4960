"""Genomic values of lines that are in no relationship, from their markers and the effects of those in a fit."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bmtme.arguments import check_memory
from bmtme.data.markers.genotypes import Markers
from bmtme.decisions.covariances import average_genetic, list_names_along
from bmtme.decisions.markers import Training, as_markers, centre, match_training, take_effects
from bmtme.decisions.targets import choose_target
from bmtme.errors import DataError
from bmtme.results.decided import SCORED
from bmtme.results.entries import name_columns
from bmtme.results.line_effects import relate_columns, take_kept
from bmtme.results.predictions import HIGH, LOW, find_quantiles
from bmtme.results.unrecorded import COLUMNS
from bmtme.words import list_names, some_names

if TYPE_CHECKING:
    from bmtme.results.fit import Fit

#: Share of the markers of a fit that genotypes must have, and below which a line is warned of.
LEAST = 0.5
#: Share of equal genotypes from which on a line is the same as in training.
SAME = 0.95
#: Lines and markers at least, for a look at the allele frequencies.
FEWEST = 5, 20
#: Of a line's own variance: what the markers leave open, or a difference from the mean, is nothing below it.
ROUNDING = 1e-9
#: Genotypes read from 32-bit dosages are equal so far.
EQUAL = 1e-3


def score_genotypes(fit: Fit, markers: Any, training: Any, env: Any, draws: int = 1000) -> pd.DataFrame:
    """See `bmtme.results.fit.Fit.score`."""
    target = choose_target(env, list_names_along(fit, "env"))
    u = take_effects(fit, target, draws)
    given = as_markers(markers)
    known = match_training(fit, given if training is None else as_markers(training))
    codes = read_codes(given, known.markers)
    cross, squares, missing = relate_genotypes(codes, given, known)
    within = take_variances(fit, target.weights, draws)  # (S, L)
    sigma2 = np.einsum("i,ilkl,k->l", target.weights, average_genetic(fit), target.weights)
    columns: list[list[np.ndarray]] = []
    for l, (here, inverse) in enumerate(zip(known.of_trait, known.invert(), strict=True)):
        own = cross[:, here]
        weights = own @ inverse
        fitted = weights @ u[:, here, l].T
        left = squares - (weights * own).sum(axis=1)
        left = np.where(left > ROUNDING * squares, left, 0.0) / known.total
        variance = left[:, None] * within[:, l]
        sd = np.sqrt(fitted.var(axis=1, ddof=min(1, len(u) - 1)) + variance.mean(axis=1))
        contrast = (squares - 2 * own.mean(axis=1) + known.product[np.ix_(here, here)].mean()) / known.total
        off = (fitted - u[:, here, l].mean(axis=1)).var(axis=1, ddof=min(1, len(u) - 1)) + variance.mean(axis=1)
        contrast[contrast <= ROUNDING * (squares + known.product[here, here].mean()) / known.total] = np.nan
        with np.errstate(invalid="ignore", divide="ignore"):
            reliability = np.where(contrast > 0, np.maximum(1.0 - off / (sigma2[l] * contrast), 0.0), np.nan)
        ends = find_quantiles(fitted, variance, LOW, HIGH)
        columns.append([fitted.mean(axis=1), sd, ends[:, 0], ends[:, 1], reliability, missing])
    traits = list_names_along(fit, "trait")
    lines = np.repeat(np.array(given.lines, dtype=object), len(traits))
    numbers = [np.stack(of, axis=1).ravel() for of in zip(*columns, strict=True)]
    parts = [lines, np.tile(np.array(traits, dtype=object), len(given.lines)), *numbers]
    table = pd.DataFrame(dict(zip(name_columns(SCORED), parts, strict=True)))
    table.attrs = {"env": target.shares, "markers": len(known.markers.names)}
    return table


def take_variances(fit: Fit, weights: np.ndarray, draws: int) -> np.ndarray:
    """(S, L) genetic variance of the traits over the target, w'Cw, in the kept draws."""
    groups, traits = fit._groups, list_names_along(fit, "trait")
    _, _, posterior = take_kept(groups, draws)
    C = relate_columns(posterior, groups[COLUMNS]["C"] if COLUMNS in groups else None, traits)
    C = C.reshape(-1, len(weights), len(traits), len(weights), len(traits))
    return np.einsum("i,silkl,k->sl", weights, C, weights)


def read_codes(given: Markers, training: Markers) -> np.ndarray:
    """Genotypes (n, m) at the markers in training, by name; NaN where missing.

    Raises
    ------
    DataError
    """
    if given.ploidy != training.ploidy:
        raise DataError(
            f"{given.source} has a ploidy of {given.ploidy}, and the genotypes of the fit one of {training.ploidy}."
        )
    place = {name: k for k, name in enumerate(training.names)}
    for markers in (given, training):
        names = pd.Index(markers.names)
        if len(twice := names[names.duplicated()].intersection(list(place))):
            raise DataError(f"{markers.source}: marker {twice[0]!r} is there twice; markers are matched by name.")
    there = np.array([place.get(name, -1) for name in given.names])
    found = int((there >= 0).sum())
    if found < LEAST * len(place):
        raise DataError(
            f"{given.source} has {found:,} of the {len(place):,} markers of the fit; at least half are needed. Its "
            f"markers are {some_names(given.names, 3)}, those of the fit {some_names(training.names, 3)}: they are "
            "matched by name."
        )
    if found < len(place):
        absent = [name for name in training.names if name not in set(given.names)]
        warnings.warn(
            f"{given.source} lacks {len(absent):,} of the {len(place):,} markers of the fit ({list_names(absent)}): "
            "there all its lines are at the mean, and as uncertain as if each lacked the genotype.",
            UserWarning,
            stacklevel=5,
        )
    check_memory(8 * len(given.lines) * len(place), f"genotypes of {len(given.lines):,} x {len(place):,} markers")
    codes = np.full((len(given.lines), len(place)), np.nan)
    for places, block in given.blocks("reading genotypes"):
        own = there[places]
        codes[:, own[own >= 0]] = block[:, own >= 0]
    turned = find_turned(given, training, there)
    codes[:, turned] = given.ploidy - codes[:, turned]
    return codes


def find_turned(given: Markers, training: Markers, there: np.ndarray) -> np.ndarray:
    """Places in training of the markers of which the other allele is counted, where both files name the alleles.

    there : (m,) places in training of the given markers, -1 for none

    Raises
    ------
    DataError
        For a marker that has other alleles.
    """
    turned: list[int] = []
    if given.alleles is None or training.alleles is None:
        return np.array(turned, np.int64)
    for name, mine, k in zip(given.names, given.alleles, there.tolist(), strict=True):
        if k < 0:
            continue
        theirs = training.alleles[k]
        if len({*mine, *theirs} - {""}) > 2:
            one, other = ("/".join(allele or "?" for allele in pair) for pair in (mine, theirs))
            raise DataError(
                f"{given.source}: marker {name!r} has the alleles {one}, and {other} in those of the fit: is it read "
                "from the other strand, or another marker?"
            )
        if any(allele and allele == theirs[1 - n] for n, allele in enumerate(mine)):
            turned.append(k)
    if turned:
        warnings.warn(
            f"{given.source} counts the other allele at {len(turned):,} markers "
            f"({list_names([training.names[k] for k in turned])}): turned round.",
            UserWarning,
            stacklevel=6,
        )
    return np.array(turned, np.int64)


def relate_genotypes(
    codes: np.ndarray, given: Markers, training: Training
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Products (n, J) of the genotypes with those of the lines with a record, their squares (n,), shares missing (n,).

    A missing genotype adds what it adds on average: nothing to the products, and to the squares the mean square of the
    lines of the relationship at the marker. Where the fit lacks the genotype of the same line it adds nothing, as it
    did not to the relationship.

    Raises
    ------
    DataError
        Where lines of both have other genotypes.
    """
    markers, ploidy = training.markers, training.markers.ploidy
    place = {name: n for n, name in enumerate(markers.lines)}
    mine = np.array([n for n, line in enumerate(given.lines) if line in place], np.int64)
    theirs = np.array([place[given.lines[n]] for n in mine], np.int64)
    cross, squares, missing = np.zeros((len(codes), len(training.rows))), np.zeros(len(codes)), np.zeros(len(codes))
    gaps = np.zeros(len(codes))
    counts = np.zeros((3, len(mine)))  # genotypes of both, equal ones, and equal ones with the other allele counted
    turned: list[str] = []
    frequencies, used = [], 0
    for places, block in markers.blocks("scoring"):
        Z, p = centre(block, ploidy)
        own = codes[:, places]
        several = (p > 0) & (p < 1)
        absent = np.isnan(own)
        z = np.where(absent | ~several, 0.0, own - ploidy * p)
        cross += z @ Z[training.rows].T
        gap = absent & several
        gap[mine] &= ~np.isnan(block[theirs])
        expected = (Z**2).sum(axis=0) / np.maximum((~np.isnan(block)).sum(axis=0), 1)
        squares += (z**2).sum(axis=1) + gap @ expected
        gaps += gap.sum(axis=1)
        missing += absent[:, several].sum(axis=1)
        used += int(several.sum())
        if len(mine):
            one, other = own[mine], block[theirs]
            seen, mirrored = ~np.isnan(one - other), np.abs(ploidy - one - other) < EQUAL
            same = np.abs(one - other) < EQUAL
            counts += [each.sum(axis=1) for each in (seen, same, mirrored)]
            telling = seen & (np.abs(2 * other - ploidy) > EQUAL)
            flipped = (telling.sum(axis=0) > 1) & (mirrored | ~telling).all(axis=0)
            turned += [name for name, bad in zip(markers.names[places], flipped, strict=True) if bad]
        filled = several & ~absent.all(axis=0)
        means = np.nanmean(own[:, filled], axis=0) / ploidy if filled.any() else np.zeros(0)
        frequencies.append(np.stack([p[filled], means]))
    compare_lines([given.lines[n] for n in mine], counts, turned, given, ploidy)
    if not len(mine):
        compare_frequencies(np.hstack(frequencies), len(codes), given)
    if lacking := [line for line, gap in zip(given.lines, gaps, strict=True) if gap > (1 - LEAST) * used]:
        warnings.warn(
            f"{len(lacking):,} lines of {given.source} have a genotype at fewer than half of the markers of the fit "
            f"({list_names(lacking)}): their values are drawn to zero, and little is known of them.",
            UserWarning,
            stacklevel=5,
        )
    return cross, squares, missing / max(used, 1)


def compare_lines(lines: list[str], counts: np.ndarray, turned: list[str], given: Markers, ploidy: int) -> None:
    """Refuse markers whose alleles are counted the other way round, and lines that are not those in training."""
    seen, same, mirrored = counts
    alike, opposite = ((each / np.maximum(seen, 1)) for each in (same, mirrored))
    if turned or (len(lines) and (opposite > np.maximum(alike, SAME)).any()):
        which = f"at {len(turned):,} markers ({list_names(turned)})" if turned else "nearly everywhere"
        raise DataError(
            f"{given.source}: other alleles are counted than in the genotypes of the fit {which}: lines of both, such "
            f"as {lines[0]!r}, have 0 copies where they had {ploidy}. Turn these genotypes round."
        )
    off = np.flatnonzero((seen > 0) & (alike < SAME))
    if len(off):
        n = int(off[alike[off].argmin()])
        raise DataError(
            f"{given.source}: {len(off):,} lines have other genotypes than in the fit, above all {lines[n]!r}, which "
            f"has the same at {100 * alike[n]:.1f}% of {int(seen[n]):,} markers. Check names and coding, or give new "
            "lines new names."
        )
    if differ := [line for line, a, b in zip(lines, seen, same, strict=True) if a > b]:
        warnings.warn(
            f"{len(differ):,} lines have genotypes in {given.source} that differ a little from those of the fit "
            f"({list_names(differ)}): they are scored by those given.",
            UserWarning,
            stacklevel=6,
        )


def compare_frequencies(frequencies: np.ndarray, lines: int, given: Markers) -> None:
    """Warn where alleles that are frequent in training are rare here, and the other way round."""
    if lines < FEWEST[0] or frequencies.shape[1] < FEWEST[1] or not (np.ptp(frequencies, axis=1) > 0).all():
        return
    r = float(np.corrcoef(frequencies)[0, 1])
    if r < 0:
        warnings.warn(
            f"the allele frequencies of {given.source} correlate {r:.2f} with those of the genotypes of the fit: are "
            "the same alleles counted? A line of the fit among the genotypes would tell.",
            UserWarning,
            stacklevel=6,
        )
