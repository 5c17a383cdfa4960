"""Effects of markers from those of the lines, to score genotypes that no fit has seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bmtme.arguments import whole_number
from bmtme.data.markers.genotypes import Markers
from bmtme.data.order import sort_names
from bmtme.decisions.covariances import list_names_along, list_recorded_lines
from bmtme.decisions.targets import choose_target
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


def centre(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Z (n, m) of codes, zero for missing genotypes and markers with one allele, and p (m,)."""
    absent = np.isnan(codes)
    seen = len(codes) - absent.sum(axis=0)
    p = np.divide(np.where(absent, 0.0, codes).sum(axis=0), 2 * seen, out=np.zeros(codes.shape[1]), where=seen > 0)
    return np.where(absent | (p <= 0) | (p >= 1), 0.0, codes - 2 * p), p


def tabulate_marker_effects(fit: Fit, markers: Any, env: Any, draws: int = 1000) -> pd.DataFrame:
    """See `bmtme.results.fit.Fit.marker_effects`."""
    whole_number(draws, "draws", 1)
    fit._look_at_predictions("there are no effects of lines to share out")
    target = choose_target(env, list_names_along(fit, "env"))
    chosen = markers if isinstance(markers, Markers) else Markers.from_frame(markers)
    traits = list_names_along(fit, "trait")
    recorded = list_recorded_lines(fit)
    lines = sorted(set().union(*recorded))
    place = {name: n for n, name in enumerate(chosen.lines)}
    if missing := [name for name in lines if name not in place]:
        raise DataError(
            f"{chosen.source}: lines with records have no genotypes: {list_names(missing)}. Marker effects need the "
            "genotypes of which the relationship was made."
        )
    rows = np.array([place[name] for name in lines])
    product = check_markers(fit, chosen, lines, rows)
    u, _, _ = take_kept(fit._groups, draws)
    order = sort_names(target.envs)
    mean = u.sel(line=lines).mean(("chain", "draw")).transpose("env", "line", "trait").values
    mean = np.tensordot(target.weights[order], mean[order], 1)  # (n, L)
    alpha = np.zeros(mean.shape)
    for l, own in enumerate(recorded):
        here = np.isin(lines, own)
        values, vectors = np.linalg.eigh(product[np.ix_(here, here)])
        kept = values > ZERO * values[-1]
        alpha[here, l] = vectors[:, kept] @ (vectors[:, kept].T @ mean[here, l] / values[kept])
    parts = [(p, Z[rows].T @ alpha) for Z, p in (centre(codes) for _, codes in chosen.blocks("marker effects"))]
    frequency, effects = np.concatenate([p for p, _ in parts]), np.concatenate([a for _, a in parts])
    names, of = np.array(chosen.names, dtype=object), np.array(traits, dtype=object)
    columns = (
        np.repeat(names, len(of)), np.tile(of, len(names)), np.repeat(frequency, len(of)), effects.ravel(),
    )  # fmt: skip
    table = pd.DataFrame(dict(zip(name_columns(MARKER_EFFECTS), columns, strict=True)))
    table.attrs = {"env": target.shares}
    return table


def check_markers(fit: Fit, markers: Markers, lines: list[str], rows: np.ndarray) -> np.ndarray:
    """Z Z' of the lines with a record, once the markers are seen to make the relationship of the fit.

    Seen by the variances of contrasts with the mean of these lines, of which the fit keeps what its relationship says.

    Raises
    ------
    DataError
    """
    product, total = np.zeros((len(rows), len(rows))), 0.0
    first = list_recorded_lines(fit)[0]
    mine = np.array([n for n, name in zip(rows, lines, strict=True) if name in set(first)])
    squares, means, level = np.zeros(len(markers.lines)), np.zeros(len(markers.lines)), 0.0
    for _, codes in markers.blocks("comparing relationships"):
        Z, p = centre(codes)
        product += Z[rows] @ Z[rows].T
        middle = Z[mine].mean(axis=0)
        squares += (Z**2).sum(axis=1)
        means += Z @ middle
        level += float(middle @ middle)
        total += float((2 * p * (1 - p)).sum())
    known = fit._groups["constant_data"]["relationship_contrast"]
    known = known.isel(trait=0) if "trait" in known.dims else known
    stored = dict(zip(known["predicted_line"].values.tolist(), known.values.tolist(), strict=True))
    found = dict(zip(markers.lines, ((squares - 2 * means + level) / total).tolist(), strict=True))
    off = {name: abs(found[name] - stored[name]) for name in stored if name in found}
    worst = max(off, key=off.__getitem__)
    if off[worst] > LIKE * np.mean(list(stored.values())):
        raise DataError(
            f"{markers.source}: the relationship of the fit is not VanRaden's first of these markers and lines (of "
            f"line {worst!r} the variance against the mean is {stored[worst]:.4g} there and {found[worst]:.4g} by the "
            "markers). Give the genotypes that bmtme.vanraden took, of the same lines, and a relationship that was "
            "neither blended nor bent."
        )
    return product
