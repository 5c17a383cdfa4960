"""Lines of the relationship without a record: how their effects follow from those of the lines that have one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.linalg import eigh

from bmtme.engines.rotated.draws import Draws
from bmtme.engines.rotated.problem import Problem
from bmtme.errors import DataError
from bmtme.mapped import Allocate
from bmtme.model.eigenbasis import BENDING, NEGATIVE, ZERO
from bmtme.model.scaling import Scaling
from bmtme.preparation import Prepared
from bmtme.results.posterior import collect_draws
from bmtme.results.predictions import Targets

#: So many lines without a record are drawn jointly; more in blocks, as a factor takes their number squared.
BLOCK = 3000
#: The group of a result in which this is kept; further ones, where traits have other lines with a record, are numbered.
GROUP = "unrecorded"
#: The group of a genetic covariance that has all columns, where the posterior's has those with a record.
COLUMNS = "columns"
#: Group of the relationship among the lines with a record, kept up to so many values.
RELATIONSHIP, MOST_RELATED = "relationship", 5000


def take_relationship(groups: Mapping[str, Any]) -> tuple[list[str], np.ndarray | None]:
    """The lines with a record, sorted, and the relationship among them, None for the identity, of the groups of a fit.

    Raises
    ------
    DataError
        If it was not kept.
    """
    if RELATIONSHIP not in groups:
        raise DataError(
            "this fit does not have the relationship among its lines, which the log likelihood and left-out values "
            "need: it has too many values, or an earlier version wrote it. Use bmtme.cross_validate, or fit again."
        )
    group = groups[RELATIONSHIP]
    lines = sorted(group["line"].values.astype(str).tolist())
    return lines, group["G"].sel(line=lines, line_bis=lines).values if "G" in group else None


def relate_unrecorded(prepared: Prepared, targets: Targets) -> dict[str, Any]:
    """What draws of lines without a record need beside those of the others, in computing order.

    Parameters
    ----------
    prepared : Prepared
    targets : from `bmtme.results.targets.choose_targets` for the sorted lines of the relationship

    Returns
    -------
    dict
        Variables of a Dataset, none where every line has a record. ``weights (unrecorded_line, line)``:
        B = G_no G_oo^+, so that E[u_n | u_o] = B u_o. ``factor (unrecorded_line, direction)``: F with F F' =
        G_nn - G_no G_oo^+ G_on within a block of `BLOCK` lines. Both are left out for an identity, where they are 0
        and I.

    Raises
    ------
    DataError
        If the lines without a record are related as they cannot be, given the others.
    """
    relationship, basis = prepared.relationship, prepared.basis
    known = set(prepared.lines)
    new = [name for name in sorted(relationship.lines) if name not in known]
    if not new:
        return {}
    coords: dict[str, Any] = {"unrecorded_line": new, "line": list(prepared.lines)}
    if relationship.is_identity:
        return coords
    index, matrix = relationship.index(new), relationship.matrix
    factor = np.zeros((len(new), min(len(new), BLOCK)))
    for block in list_blocks(len(new)):
        A = targets.A[block]
        left = matrix[np.ix_(index[block], index[block])] - basis.scale * (A @ A.T)
        factor[block, : len(A)] = factor_left(left, basis.scale * basis.values.max(), new[block])
    dims = "unrecorded_line", "line"
    return coords | {
        "weights": (dims, basis.weigh(targets.A)),
        "factor": (("unrecorded_line", "direction"), factor[:, np.any(factor != 0.0, axis=0)]),
    }


def list_blocks(count: int) -> Iterator[slice]:
    """Lines that are drawn jointly, block by block."""
    for start in range(0, count, BLOCK):
        yield slice(start, min(start + BLOCK, count))


def factor_left(left: np.ndarray, top: float, lines: Sequence[str]) -> np.ndarray:
    """F with F F' = left, a Schur complement which may be singular (clones among the lines, or of recorded ones).

    top : largest eigenvalue of the relationship among the lines with a record

    Raises
    ------
    DataError
        Where it has an eigenvalue that is negative beyond rounding.
    """
    try:
        return np.asarray(np.linalg.cholesky(left))
    except np.linalg.LinAlgError:
        values, vectors = eigh(left, overwrite_a=True, check_finite=False)
    top = max(top, values[-1])
    if values[0] < -NEGATIVE * top:
        worst = lines[int(np.abs(vectors[:, 0]).argmax())]
        raise DataError(
            f"the relationships among the lines without records (above all of line {worst!r}) cannot be, given those "
            f"with the lines that have some: what is left of them has an eigenvalue of {values[0]:.3g}, the largest "
            f"being {top:.3g}, so the matrix is not positive semi-definite. Check how it was made, or {BENDING}."
        )
    values[values < ZERO**2 * top] = 0.0
    return np.asarray(vectors * np.sqrt(values))[:, ::-1]


def cover_columns(
    prepared: Prepared,
    problem: Problem,
    scaling: Scaling,
    chains: Sequence[Draws],
    attrs: Mapping[str, Any],
    allocate: Allocate = np.zeros,
) -> dict[str, Any]:
    """C over all columns, ``C (chain, draw, env, trait, env_bis, trait_bis)`` as shown, if the posterior lacks some.

    A group of the result by its name, or none. A new line's effects in columns without a record are drawn with the
    others, and so are correlations with them.
    """
    if problem.proportional or problem.recorded.all():
        return {}
    import xarray

    from bmtme.structures.part import build_matrices

    I, L = problem.recorded.shape
    units = scaling.take(np.tile(np.arange(L), I))
    shown, dims = prepared.shown_envs, ("env", "trait", "env_bis", "trait_bis")

    def take(chain: Draws) -> np.ndarray:
        C = units.restore_genetic(build_matrices(problem.whole_genetic, chain.theta, (I * L, I * L)))
        return np.asarray(C.reshape(-1, I, L, I, L)[:, shown][:, :, :, shown])

    C = collect_draws(chains, take, allocate)
    labels = {"env": prepared.given.envs, "trait": prepared.given.traits}
    coords = {dim: list(labels[dim.removesuffix("_bis")]) for dim in dims}
    variables = {"C": (("chain", "draw", *dims), C)}
    return {COLUMNS: xarray.Dataset(variables, coords, dict(attrs))}


def collect_unrecorded(parts: Sequence[tuple[Sequence[str], Mapping[str, Any]]], attrs: Mapping[str, Any]) -> Any:
    """Groups of a result, by name: one for all traits that have the same lines with a record.

    Parameters
    ----------
    parts : traits, and variables as of `relate_unrecorded`; one object for traits with the same lines
    """
    import xarray

    found: dict[int, tuple[list[str], Mapping[str, Any]]] = {}
    for traits, variables in parts:
        if variables:
            found.setdefault(id(variables), ([], variables))[0].extend(traits)
    return {
        GROUP if k == 0 else f"{GROUP}_{k + 1}": xarray.Dataset({**variables, "trait": traits}, attrs=dict(attrs))
        for k, (traits, variables) in enumerate(found.values())
    }
