"""Effects of markers from those of the lines, to score genotypes that no fit has seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bmtme.arguments import whole_number
from bmtme.data.markers.genotypes import Markers
from bmtme.data.order import sort_names
from bmtme.decisions.covariances import list_names_along, list_recorded_lines, list_related, take_constant
from bmtme.decisions.targets import Target, choose_target
from bmtme.errors import DataError
from bmtme.model.eigenbasis import ZERO
from bmtme.results.decided import MARKER_EFFECTS
from bmtme.results.entries import name_columns
from bmtme.results.line_effects import take_kept
from bmtme.words import list_names

if TYPE_CHECKING:
    from bmtme.results.fit import Fit

#: How far the markers' relationship may be from that of the fit, which may have been kept in 32-bit numbers.
LIKE = 1e-5


@dataclass(frozen=True)
class Training:
    """The genotypes of which the relationship of a fit was made.

    Attributes
    ----------
    markers : of the lines of the relationship
    lines : with a record of some trait, in the order of their names
    rows : (n,) their places in `markers`
    of_trait : (L, n) bool, which of them have one of the trait, or, of traits that were fitted together, of any
    product : (n, n) Z Z' of them
    total : c_m, sum of c p (1 - p) with c sets of chromosomes
    """

    markers: Markers
    lines: tuple[str, ...]
    rows: np.ndarray
    of_trait: np.ndarray
    product: np.ndarray
    total: float

    def invert(self) -> list[np.ndarray]:
        """(Z Z')^+ over the lines of each trait, where its zero eigenvalues are those that a fit leaves out."""
        found: dict[bytes, np.ndarray] = {}
        for here in self.of_trait:
            if here.tobytes() not in found:
                values, vectors = np.linalg.eigh(self.product[np.ix_(here, here)])
                kept = values > ZERO * values[-1]
                found[here.tobytes()] = vectors[:, kept] / values[kept] @ vectors[:, kept].T
        return [found[here.tobytes()] for here in self.of_trait]


def as_markers(markers: Any) -> Markers:
    """Markers of a frame, or as they are."""
    return markers if isinstance(markers, Markers) else Markers.from_frame(markers)


def centre(codes: np.ndarray, ploidy: int) -> tuple[np.ndarray, np.ndarray]:
    """Z (n, m) of codes, zero for missing genotypes and markers with one allele, and p (m,)."""
    absent = np.isnan(codes)
    seen = len(codes) - absent.sum(axis=0)
    p = np.divide(np.where(absent, 0.0, codes).sum(axis=0), ploidy * seen, out=np.zeros(codes.shape[1]), where=seen > 0)
    return np.where(absent | (p <= 0) | (p >= 1), 0.0, codes - ploidy * p), p


def tabulate_marker_effects(fit: Fit, markers: Any, env: Any, draws: int = 1000) -> pd.DataFrame:
    """See `bmtme.results.fit.Fit.marker_effects`."""
    target = choose_target(env, list_names_along(fit, "env"))
    u = take_effects(fit, target, draws).mean(axis=0)
    training = match_training(fit, as_markers(markers))
    traits = np.array(list_names_along(fit, "trait"), dtype=object)
    alpha = np.zeros(u.shape)
    for l, (here, inverse) in enumerate(zip(training.of_trait, training.invert(), strict=True)):
        alpha[here, l] = inverse @ u[here, l]
    chosen = training.markers
    blocks = (centre(codes, chosen.ploidy) for _, codes in chosen.blocks("marker effects"))
    parts = [(p, Z[training.rows].T @ alpha) for Z, p in blocks]
    frequency, effects = np.concatenate([p for p, _ in parts]), np.concatenate([a for _, a in parts])
    names = np.array(chosen.names, dtype=object)
    columns = (
        np.repeat(names, len(traits)), np.tile(traits, len(names)), np.repeat(frequency, len(traits)), effects.ravel(),
    )  # fmt: skip
    table = pd.DataFrame(dict(zip(name_columns(MARKER_EFFECTS), columns, strict=True)))
    table.attrs = {"env": target.shares}
    return table


def take_effects(fit: Fit, target: Target, draws: int) -> np.ndarray:
    """(S, n, L) effects over the target of the lines with a record, in the order of their names, in the kept draws."""
    whole_number(draws, "draws", 1)
    fit._look_at_predictions("there are no effects of lines to share out")
    u, _, _ = take_kept(fit._groups, draws)
    lines = sorted(set().union(*list_recorded_lines(fit)))
    total = 0.0
    for i in sort_names(target.envs):
        if target.weights[i] > 0:
            total = total + target.weights[i] * u.isel(env=i).sel(line=lines)
    values = total.transpose("chain", "draw", "line", "trait").values  # type: ignore[attr-defined]
    return np.asarray(values.reshape(-1, *values.shape[2:]))


def match_training(fit: Fit, markers: Markers) -> Training:
    """Genotypes of the lines of the relationship, once they are seen to make it; lines that it lacks are left aside.

    Seen by the variances of contrasts with the mean of the lines with a record, which the fit keeps of its
    relationship.

    Raises
    ------
    DataError
    """
    known = take_constant(fit, "relationship_contrast")
    known = known.isel(trait=0) if "trait" in known.dims else known
    names = list_related(fit)
    place = {name: n for n, name in enumerate(markers.lines)}
    if missing := [name for name in names if name not in place]:
        raise DataError(
            f"{markers.source}: {len(missing):,} of the {len(names):,} lines of the relationship have no genotypes: "
            f"{list_names(missing)}. Marker effects need those of which the relationship was made: give them, to score "
            "others as training= (in the shell --training)."
        )
    markers = markers.select(lines=np.isin(markers.lines, names))
    place = {name: n for n, name in enumerate(markers.lines)}
    recorded = list_recorded_lines(fit)
    lines = sorted(set().union(*recorded))
    rows = np.array([place[name] for name in lines])
    of_trait = np.array([np.isin(lines, own) for own in recorded])
    product, total = np.zeros((len(rows), len(rows))), 0.0
    squares, means, level = np.zeros(len(names)), np.zeros(len(names)), 0.0
    for _, codes in markers.blocks("comparing relationships"):
        Z, p = centre(codes, markers.ploidy)
        product += Z[rows] @ Z[rows].T
        middle = Z[rows[of_trait[0]]].mean(axis=0)
        squares += (Z**2).sum(axis=1)
        means += Z @ middle
        level += float(middle @ middle)
        total += float((markers.ploidy * p * (1 - p)).sum())
    stored = known.values
    with np.errstate(invalid="ignore", divide="ignore"):
        found = ((squares - 2 * means + level) / total)[[place[name] for name in names]]
    off = np.abs(found - stored)
    worst = int(off.argmax())  # NaN counts as the largest
    if not off[worst] <= LIKE * stored.mean():
        raise DataError(
            f"{markers.source}: the relationship of the fit is not VanRaden's first of these markers and lines (of "
            f"line {names[worst]!r} the variance against the mean is {stored[worst]:.4g} there and {found[worst]:.4g} "
            "by the markers). Give the genotypes that bmtme.vanraden or 'bmtme grm' took, after the same quality "
            "control, and a relationship that was neither blended nor bent."
        )
    return Training(markers, tuple(lines), rows, of_trait, product, total)
