"""Covariances of a fit in one shape, whatever its structures, and whether traits were fitted together or one at a time.

Of a fit of one trait at a time, covariances of two traits are zero here: its draws of two traits are independent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bmtme.arguments import check_memory
from bmtme.errors import DataError
from bmtme.mapped import release
from bmtme.results.line_effects import leave_lines, relate_columns, relate_lines
from bmtme.results.residuals import RECORD_OWN_SE, list_residuals, take_errors, take_numbers
from bmtme.results.traits import BY_TRAIT
from bmtme.results.unrecorded import COLUMNS

if TYPE_CHECKING:
    from bmtme.results.fit import Fit

#: Numbers of a covariance that are looked at at a time.
BLOCK = 2**24
#: Copies of what is made of draws, while they are looked at.
COPIES = 4


def list_names_along(fit: Fit, dim: str) -> list[str]:
    """Names of the environments or traits."""
    return [str(name) for name in fit._groups["posterior"][dim].values]


def is_alone(fit: Fit) -> bool:
    """Whether traits were fitted one at a time."""
    return BY_TRAIT in fit.run["facts"]


def walk_genetic(fit: Fit) -> Iterator[np.ndarray]:
    """The genetic covariance of all columns, (chain, draws, I, L, I, L), some draws at a time."""
    groups, traits = fit._groups, list_names_along(fit, "trait")
    posterior = leave_lines(groups["posterior"])
    whole = groups[COLUMNS]["C"] if COLUMNS in groups else None
    I, L = posterior.sizes["env"], posterior.sizes["trait"]
    step = max(1, BLOCK // (posterior.sizes["chain"] * (I * L) ** 2))
    for start in range(0, posterior.sizes["draw"], step):
        some = posterior.isel(draw=slice(start, start + step))
        part = None if whole is None else whole.isel(draw=slice(start, start + step))
        if part is not None:
            some, part = (each.assign_coords(draw=np.arange(some.sizes["draw"])) for each in (some, part))
        C = relate_columns(some, part, traits)
        yield C.reshape(*C.shape[:2], I, L, I, L)
        release(*(array.values for array in posterior.data_vars.values()))


def derive_genetic(fit: Fit, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """What a function makes of the genetic covariance (chain, draw, I, L, I, L), of all draws: (chain, draw, ...).

    Raises
    ------
    UsageError
        If that does not fit into the memory.
    """
    made: list[np.ndarray] = []
    for C in walk_genetic(fit):
        made.append(function(C))
        if len(made) == 1:
            check_draws(fit, made[0][:, :1].nbytes)
    return np.concatenate(made, axis=1)


def check_draws(fit: Fit, size: float) -> None:
    """Refuse what takes so many bytes a draw of all chains, some copies beside it, where the memory does not do."""
    draws = fit._groups["posterior"].sizes["draw"]
    check_memory(
        COPIES * size * draws,
        f"what is asked of all {draws:,} draws of each chain",
        "of a fit whose draws are on the disc they have to be in memory for that: use a machine with more, or a fit of "
        "fewer draws",
    )


def average_genetic(fit: Fit) -> np.ndarray:
    """Posterior mean of the genetic covariance of all columns, (I, L, I, L)."""
    total, count = 0.0, 0
    for C in walk_genetic(fit):
        total = total + C.sum(axis=(0, 1))
        count += C.shape[0] * C.shape[1]
    return np.asarray(total / count)


def take_outside(fit: Fit) -> np.ndarray:
    """Covariance of the traits in effects outside the relationship, (chain, draw, L, L); zero where there are none."""
    posterior = fit._groups["posterior"]
    values = relate_lines(posterior, list_names_along(fit, "trait"))
    L = posterior.sizes["trait"]
    return np.zeros((posterior.sizes["chain"], posterior.sizes["draw"], L, L)) if values is None else values


def take_residual(fit: Fit) -> np.ndarray:
    """Residual variances of a plot, (chain, draw, I, L)."""
    posterior = fit._groups["posterior"]
    check_draws(fit, 8.0 * posterior.sizes["chain"] * posterior.sizes["env"] * posterior.sizes["trait"])
    array = posterior["R_e"]
    values = array.values if "trait_bis" not in array.dims else np.diagonal(array.values, axis1=-2, axis2=-1)
    if "env" not in array.dims:
        values = np.repeat(values[:, :, None], posterior.sizes["env"], axis=2)
    return np.asarray(values)


def average_residual(fit: Fit) -> np.ndarray:
    """Posterior mean of the residual covariance of a plot, (I, L, L)."""
    if is_alone(fit):
        variances = take_residual(fit).mean(axis=(0, 1))
        return np.asarray(variances[..., None] * np.eye(variances.shape[1]))
    return np.asarray(list_residuals(fit._groups["posterior"]).mean(axis=0))


def take_constant(fit: Fit, name: str) -> Any:
    """A variable of the group constant_data.

    Raises
    ------
    DataError
        If the fit was saved before there was such a variable.
    """
    constants = fit._groups["constant_data"]
    if name not in constants:
        raise DataError(describe_absence(fit, name))
    return constants[name]


def list_related(fit: Fit) -> list[str]:
    """All lines of the relationship."""
    return [str(name) for name in take_constant(fit, "relationship_contrast")["predicted_line"].values]


def describe_absence(fit: Fit, name: str) -> str:
    """What to say where a fit lacks something that fits have."""
    version = fit.run.get("versions", {}).get("bmtme", "of an earlier time")
    return (
        f"this fit is of bmtme {version}, which did not keep {name!r}, and what is asked for needs that: fit again "
        "with this version. Summary and predictions of the fit are not touched by it."
    )


def find_spread(fit: Fit) -> np.ndarray:
    """(L,) expected sample variance of the effects of the trial's lines per unit of their covariance.

    c = (tr G - 1'G1 / J) / (J - 1) over the J lines with a record (Legarra 2016, Theor Popul Biol 107:26-30).
    """
    facts = fit.run["facts"]
    if is_alone(fit):
        return np.array([own["spread"] for own in facts[BY_TRAIT].values()])
    return np.full(fit._groups["posterior"].sizes["trait"], facts["spread"])


def find_recorded(fit: Fit) -> np.ndarray:
    """(I, L) bool, whether the trait has a record in the environment."""
    recorded = np.asarray(take_constant(fit, "recorded").transpose("env", "trait").values, bool)
    return recorded


def count_plots(fit: Fit, lines: list[str]) -> np.ndarray:
    """(n, I, L) number of plots with a value of each line, those behind its records."""
    observed = fit._groups["observed_data"]
    envs = list_names_along(fit, "env")
    place, at = {name: k for k, name in enumerate(lines)}, {name: k for k, name in enumerate(envs)}
    values = observed["Y"].transpose("record", "trait").values
    counts = np.zeros((len(lines), len(envs), values.shape[1]), np.int64)
    names = zip(observed["record_line"].values.tolist(), observed["record_env"].values.tolist(), strict=True)
    number = take_numbers(observed)
    rows = [(n, place[line], at[env]) for n, (line, env) in enumerate(names) if line in place]
    for n, j, i in rows:
        counts[j, i] += ~np.isnan(values[n]) * number[n]
    return counts


def average_errors(fit: Fit, lines: list[str], counts: np.ndarray) -> np.ndarray:
    """(n, I, L) known error variance of the mean of each line, zero where nothing is known of errors.

    Of errors that correlate between lines, without what they have in common.

    counts : as of `count_plots`
    """
    observed = fit._groups["observed_data"]
    sums = np.zeros(counts.shape)
    errors = take_errors(observed)
    if errors is None:
        return sums
    line = pd.Index(lines).get_indexer(observed["record_line"].values)
    env = pd.Index(list_names_along(fit, "env")).get_indexer(observed["record_env"].values)
    there = line >= 0
    variances = np.diagonal(errors, axis1=1, axis2=2)
    if RECORD_OWN_SE in observed.coords:
        variances = np.nan_to_num(observed[RECORD_OWN_SE].transpose("record", "trait").values) ** 2
    np.add.at(sums, (line[there], env[there]), variances[there])
    return sums / np.maximum(counts, 1) ** 2


def list_recorded_lines(fit: Fit) -> list[list[str]]:
    """Of each trait, the lines with a record in its fit, in the order of their names: of several traits, of any."""
    observed = fit._groups["observed_data"]
    lines = observed["record_line"].values.astype(str)
    there = ~np.isnan(observed["Y"].transpose("record", "trait").values)
    if not is_alone(fit):
        return [sorted(set(lines.tolist()))] * there.shape[1]
    return [sorted(set(lines[seen].tolist())) for seen in there.T]
