"""Adjusted means of lines in environments with the covariance of their errors, as a first stage gives them.

The errors of the means of one environment correlate, as they share estimates of blocks, rows or columns, and those of
traits because they come from the same plots. A second stage that knows V_i = Var(errors of environment i) loses nothing
but what the first stage's variances were estimated from. (Piepho et al. 2012, Biometrical Journal 54:844.)
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bmtme.arguments import as_array, file_path, show
from bmtme.choices import ADJUSTMENT
from bmtme.data.tables.cells import identifier
from bmtme.data.tables.files import Table
from bmtme.errors import DataError, UsageError
from bmtme.machine import describe_machine, find_versions
from bmtme.words import count_noun, first_repeat, list_names, suggest

__all__ = ["KIND", "AdjustedMeans", "lay_means", "open_means", "read_means", "write_means"]

#: What a folder of them says that it holds, and its files.
KIND = ADJUSTMENT
TABLE, COVARIANCES = "means", "covariances.npz"
#: The columns of the table, by what they are.
COLUMNS = ("line", "env", "trait", "mean", "se", "se_stage2", "n_plots", "estimable")
#: Of a covariance, relative to the standard errors: what counts as rounding.
ROUNDING = 1e-8
#: Relative difference of standard errors given and those of the covariance that passes.
AGREEMENT = 1e-3
#: No mean has so many plots.
MOST_PLOTS = 2.0**53
#: Below this share of the largest, an eigenvalue counts as so much where a covariance is inverted.
LEAST_SHARE = 1e-12


@dataclass(frozen=True, eq=False, repr=False)
class AdjustedMeans:
    """Adjusted means and the covariances of their errors, one for each environment. Do not change its frames.

    Parameters
    ----------
    table : DataFrame
        A row for each line, environment and trait: columns ``line``, ``env``, ``trait`` and ``mean``, which is missing
        where it cannot be estimated, and perhaps ``n_plots``, the number of plots behind it (0 where nothing tells).
        Rows may stand in any order.
    covariances : dict of DataFrames
        By environment, the covariance of the errors of its means that can be estimated: a square table with a
        MultiIndex of (line, trait) on both sides, in any order.

    Attributes
    ----------
    table : DataFrame
        The same with columns ``line``, ``env``, ``trait``, ``mean``, ``se``, ``se_stage2``, ``n_plots``, ``estimable``.
        ``se`` is the root of the covariance's diagonal: for display, as it contains errors that all lines share.
        ``se_stage2`` is one over the root of the diagonal of the inverse of the trait's own part, Smith's weight: what
        stands in for the covariance where only one number for each mean can be given.
    covariances : dict of DataFrames
        By environment, in the order of the table's rows.

    Raises
    ------
    DataError
        If a column is missing, a row repeats, a mean has no covariance or a covariance no mean, or a covariance is not
        finite, symmetric or positive semi-definite, or has a variance of zero, or the table has standard errors
        (``se``) that are not those of the covariances.

    References
    ----------
    Smith, Cullis & Gilmour 2001, Australian & New Zealand Journal of Statistics 43:129.
    """

    table: pd.DataFrame
    covariances: Mapping[str, pd.DataFrame]

    def __post_init__(self) -> None:
        if not isinstance(self.table, pd.DataFrame):
            raise UsageError(f"table must be a DataFrame of adjusted means, got {show(self.table)}.")
        if not isinstance(self.covariances, Mapping):
            raise UsageError(f"covariances must be a dict of DataFrames by environment, got {show(self.covariances)}.")
        table = _read_rows(self.table)
        given: dict[str, Any] = {}
        for key, matrix in self.covariances.items():
            env = str(identifier(key))
            if env in given:
                raise DataError(f"covariances holds environment {env!r} twice.")
            given[env] = matrix
        unknown = [env for env in given if env not in set(table["env"])]
        if unknown:
            raise DataError(
                f"covariances holds environment {unknown[0]!r}, which has no means.{suggest(unknown[0], table['env'])}"
            )
        se, weights = np.full(len(table), np.nan), np.full(len(table), np.nan)
        covariances = {}
        for env, rows in _group_rows(table).items():
            kept = rows[table["estimable"].to_numpy()[rows]]
            names = list(zip(table["line"].to_numpy()[kept], table["trait"].to_numpy()[kept], strict=True))
            V = _match_names(given.get(env), env, names)
            index = pd.MultiIndex.from_tuples(names, names=["line", "trait"]) if names else _no_names()
            covariances[env] = pd.DataFrame(V, index=index, columns=index)
            se[kept] = np.sqrt(V.diagonal())
            of_trait = np.array([trait for _, trait in names], dtype=object)
            for trait in dict.fromkeys(of_trait.tolist()):
                own = np.flatnonzero(of_trait == trait)
                weights[kept[own]] = _weigh(V[np.ix_(own, own)])
        table["se"], table["se_stage2"] = se, weights
        _compare_errors(self.table, table)
        object.__setattr__(self, "table", table[list(COLUMNS)])
        object.__setattr__(self, "covariances", covariances)

    def __reduce__(self) -> tuple[Any, ...]:
        return AdjustedMeans, (self.table, self.covariances)

    def __repr__(self) -> str:
        lacking = int((~self.table["estimable"]).sum())
        return (
            f"AdjustedMeans({count_noun(len(self.lines), 'line')} x {count_noun(len(self.envs), 'environment')} x "
            f"{count_noun(len(self.traits), 'trait')}; {count_noun(len(self.table) - lacking, 'mean')}"
            f"{f', {lacking:,} not estimable' if lacking else ''})"
        )

    @property
    def lines(self) -> list[str]:
        """The lines, in order of first appearance, and so environments and traits."""
        return list(dict.fromkeys(self.table["line"]))

    @property
    def envs(self) -> list[str]:
        """The environments."""
        return list(dict.fromkeys(self.table["env"]))

    @property
    def traits(self) -> list[str]:
        """The traits."""
        return list(dict.fromkeys(self.table["trait"]))

    def take(self, envs: Sequence[str] | None = None, traits: Sequence[str] | None = None) -> AdjustedMeans:
        """The means of some environments and traits, with their part of the covariances; default all.

        Raises
        ------
        UsageError
            If there is none of a name, or no mean is left.
        """
        kept = np.ones(len(self.table), bool)
        for column, names, there in (("env", envs, self.envs), ("trait", traits, self.traits)):
            if names is None:
                continue
            for name in names:
                if name not in there:
                    what = "environment" if column == "env" else "trait"
                    raise UsageError(
                        f"there are no means of {what} {name!r}.{suggest(name, there)} There are {list_names(there)}."
                    )
            kept &= self.table[column].isin(list(names)).to_numpy()
        if not self.table["estimable"].to_numpy()[kept].any():
            raise UsageError("no mean that can be estimated is left: name more environments or traits.")
        table = self.table[kept].drop(columns=["se", "se_stage2"]).reset_index(drop=True)
        covariances = {}
        for env in dict.fromkeys(table["env"]):
            V = self.covariances[env]
            own = V.index.get_level_values("trait").isin(table["trait"])
            covariances[env] = V.loc[own, own]
        return AdjustedMeans(table, covariances)

    def save(self, folder: str | os.PathLike[str], *, safe_text: bool = False, xlsx: bool = False) -> None:
        """Write a new folder with ``means.csv``, ``covariances.npz`` and ``run.json``; whole, or not at all.

        Parameters
        ----------
        folder : str or path
            Must be empty or not be there.
        safe_text, xlsx : bool
            As for `Fit.save`.

        Raises
        ------
        UsageError
            If the folder holds something already.
        MachineError
        """
        # Imported here, as files of results are of a later row.
        from bmtme.results.folder import save_result
        from bmtme.results.spreadsheets import check_tables

        check_tables(safe_text, xlsx)
        save_result(folder, partial(write_means, self, {}, {}, safe_text, xlsx))


def write_means(
    means: AdjustedMeans,
    run: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame],
    safe_text: bool,
    xlsx: bool,
    folder: Path,
) -> None:
    """Write the files of adjusted means into a folder that is there, and further tables and facts with them.

    The covariances are arrays ``0``, ``1``, ... in the order of the environments in ``run.json``, over the estimable
    means of each in the order of the rows of ``means.csv``.

    Parameters
    ----------
    run : facts for run.json
    tables : by the names of their files without the ending

    Raises
    ------
    OSError
    """
    from bmtme.results.record import write_record
    from bmtme.results.spreadsheets import write_tables

    began = time.perf_counter()
    columns = write_tables(folder, {TABLE: means.table, **tables}, safe_text, xlsx)
    arrays: dict[str, Any] = {str(k): V.to_numpy() for k, V in enumerate(means.covariances.values())}
    np.savez(folder / COVARIANCES, **arrays)
    facts = {
        "environments": list(means.covariances),
        "roles": dict(zip(COLUMNS, COLUMNS, strict=True)),
        "versions": find_versions(),
        "machine": describe_machine(),
    }
    write_record(folder, {**run, **facts}, KIND, columns, began=began)


def read_means(folder: str | os.PathLike[str]) -> AdjustedMeans:
    """Read adjusted means from a folder of `AdjustedMeans.save`.

    Raises
    ------
    DataError
        If the folder holds none, or a file of it is missing, damaged or changed.
    """
    return open_means(Path(file_path(folder, "folder")))[0]


def open_means(path: Path) -> tuple[AdjustedMeans, dict[str, Any], dict[str, dict[str, str]]]:
    """The means of a folder, its record, and the types of the columns of all its tables; raises as `read_means`."""
    from bmtme.results.record import read_record
    from bmtme.results.storage import read_table

    facts, columns = read_record(path, KIND)
    try:
        table = read_table(path / f"{TABLE}.csv", columns[f"{TABLE}.csv"])
        with np.load(path / COVARIANCES, allow_pickle=False) as arrays:
            matrices = [arrays[str(k)] for k in range(len(facts["environments"]))]
    except MemoryError:
        raise
    except Exception as error:  # of several libraries; the files are what was written
        reason = " ".join(str(error).split()).rstrip(".")
        raise DataError(f"{path} cannot be read as a saved {KIND}: {reason}.") from error
    covariances = {}
    for env, V in zip(facts["environments"], matrices, strict=True):
        own = table[(table["env"] == env) & table["estimable"]]
        index = pd.MultiIndex.from_frame(own[["line", "trait"]])
        covariances[env] = pd.DataFrame(V, index=index, columns=index)
    return AdjustedMeans(table, covariances), facts, columns


def lay_means(means: AdjustedMeans) -> dict[str, Any]:
    """Parts of a `Trial`; a record is a line in an environment, also one without a mean that can be estimated."""
    lines, envs, traits = means.lines, means.envs, means.traits
    table = means.table
    line, env, trait = (
        pd.Index(names).get_indexer(pd.Index(table[column]))
        for column, names in (("line", lines), ("env", envs), ("trait", traits))
    )
    record, cells = pd.factorize(env * len(lines) + line)
    env_index, line_index = np.divmod(np.asarray(cells, np.int64), len(lines))
    values = np.full((len(cells), len(traits)), np.nan)
    values[record, trait] = table["mean"].to_numpy()
    place = np.zeros(len(cells), np.int64)  # among the records of the environment
    covariances = {}
    known = table["estimable"].to_numpy()
    for i, name in enumerate(envs):
        here = np.flatnonzero(env_index == i)
        place[here] = np.arange(len(here))
        own = np.flatnonzero((env == i) & known)
        V = np.zeros((len(here), len(traits)) * 2)
        at = place[record[own]], trait[own]
        V[at[0][:, None], at[1][:, None], at[0], at[1]] = means.covariances[name]
        covariances[name] = V
    labels = {"lines": lines, "envs": envs, "traits": traits}
    return labels | {
        "line_index": line_index, "env_index": env_index, "values": values, "error_covariances": covariances,
    }  # fmt: skip


def _read_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Labels, means and numbers of plots, checked."""
    source = Table.from_frame(frame, "the table of adjusted means")
    if frame.empty:
        raise DataError(f"{source.name} has no rows: expected one for each line, environment and trait.")
    labels = {name: source.identifiers(name, name) for name in COLUMNS[:3]}
    repeat = first_repeat(zip(*labels.values(), strict=True))
    if repeat is not None:
        here = {name: own[repeat[1]] for name, own in labels.items()}
        raise DataError(
            f"{source.name} has {_name(here['line'], here['trait'], here['env'])} twice: {source.row(repeat[0])} and "
            f"{source.row(repeat[1])}. An adjusted mean is one number."
        )
    mean = source.numbers("mean", "mean")
    if np.isnan(mean).all():
        raise DataError(f"{source.name} has no mean that can be estimated.")
    plots = np.zeros(len(mean))
    if "n_plots" in source.columns:
        plots = source.numbers("n_plots", "n_plots")
        odd = ~((plots >= 0) & (plots == np.floor(plots)) & (plots < MOST_PLOTS))
        if odd.any():
            row = int(np.argmax(odd))
            raise DataError(
                f"The n_plots column of {source.name} holds {plots[row]:g} in {source.row(row)}: expected a whole "
                "number of plots, 0 where nothing tells."
            )
    return pd.DataFrame({**labels, "mean": mean, "n_plots": plots.astype(np.int64), "estimable": ~np.isnan(mean)})


def _compare_errors(given: pd.DataFrame, table: pd.DataFrame) -> None:
    """Refuse standard errors that are not those of the covariances."""
    source = Table.from_frame(given, "the table of adjusted means")
    if "se" not in source.columns:
        return
    told, se = source.numbers("se", "se"), table["se"].to_numpy()
    odd = np.abs(told - se) > AGREEMENT * se
    if odd.any():
        row = int(np.argmax(odd))
        line, env, trait = (str(table[name].iloc[row]) for name in COLUMNS[:3])
        raise DataError(
            f"{source.name} has the standard error {told[row]:g} for {_name(line, trait, env)}, and the covariance "
            f"says {se[row]:g}: give the covariance of these means, or leave the column se out."
        )


def _group_rows(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Rows of each environment."""
    codes, envs = pd.factorize(table["env"])
    return {str(env): np.flatnonzero(codes == k) for k, env in enumerate(envs)}


def _no_names() -> pd.MultiIndex:
    return pd.MultiIndex.from_arrays([[], []], names=["line", "trait"])


def _name(line: str, trait: str, env: str) -> str:
    return f"the mean of line {line!r} and trait {trait!r} in environment {env!r}"


def _match_names(given: Any, env: str, names: list[tuple[str, str]]) -> np.ndarray:
    """The covariance of an environment in the order of its means, checked."""
    where = f"The error covariance of environment {env!r}"
    if given is None:
        if names:
            raise DataError(
                f"covariances has none for environment {env!r}, which has {count_noun(len(names), 'mean')}."
            )
        return np.zeros((0, 0))
    if not isinstance(given, pd.DataFrame):
        raise UsageError(f"{where} must be a DataFrame labelled by line and trait on both sides, got {show(given)}.")
    places = []
    for side, index in (("rows", given.index), ("columns", given.columns)):
        if index.nlevels != 2:
            raise DataError(f"{where} must have (line, trait) on its {side}, got {index.nlevels} level of labels.")
        labels = [(str(identifier(label[0])), str(identifier(label[1]))) for label in index]
        repeat = first_repeat(labels)
        if repeat is not None:
            line, trait = labels[repeat[1]]
            raise DataError(f"{where} has line {line!r} and trait {trait!r} twice on its {side}.")
        place = {label: k for k, label in enumerate(labels)}
        lacking = [name for name in names if name not in place]
        if lacking:
            raise DataError(
                f"{where} lacks {_name(*lacking[0], env)} on its {side} ({len(lacking):,} in all): every mean needs "
                "its error. Leave the mean empty where it cannot be estimated."
            )
        known = set(names)
        beside = [label for label in labels if label not in known]
        if beside:
            raise DataError(
                f"{where} has line {beside[0][0]!r} and trait {beside[0][1]!r} on its {side}, of which there is no "
                f"mean ({len(beside):,} in all): leave out what is not estimable."
            )
        places.append([place[name] for name in names])
    entries = as_array(given, "covariances")
    try:
        V = np.array(entries[np.ix_(*places)], dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{where} must be numbers.") from None
    return _check_covariance(V, where, names)


def _check_covariance(V: np.ndarray, where: str, names: list[tuple[str, str]]) -> np.ndarray:
    """A covariance, symmetric to the last digit, checked."""

    def words(k: int) -> str:
        return f"line {names[k][0]!r}, trait {names[k][1]!r}"

    if not np.isfinite(V).all():
        a, b = np.argwhere(~np.isfinite(V))[0]
        raise DataError(f"{where} holds {V[a, b]:g} between {words(a)} and {words(b)}: expected a finite number.")
    if not len(V):
        return V
    odd = ~(V.diagonal() > 0.0)
    if odd.any():
        k = int(np.argmax(odd))
        raise DataError(f"{where} holds the variance {V[k, k]:g} of {words(k)}: expected one above zero.")
    root = np.sqrt(V.diagonal())
    apart = np.abs(V - V.T) / np.multiply.outer(root, root)
    if apart.max() > ROUNDING:
        a, b = np.unravel_index(int(np.argmax(apart)), V.shape)
        raise DataError(
            f"{where} is not symmetric: {V[a, b]:g} and {V[b, a]:g} between {words(int(a))} and {words(int(b))}."
        )
    V = 0.5 * (V + V.T)
    least, *_ = np.linalg.eigvalsh(V / np.multiply.outer(root, root))
    if least < -ROUNDING * len(V):
        P = np.abs(V / np.multiply.outer(root, root))
        np.fill_diagonal(P, 0.0)
        a, b = np.unravel_index(int(np.argmax(P)), P.shape)
        raise DataError(
            f"{where} is not positive semi-definite (its correlations have the eigenvalue {least:.3g}): no errors have "
            f"such covariances. The strongest correlation, of {words(int(a))} with {words(int(b))}, is {P[a, b]:.3g}."
        )
    return V


def _weigh(V: np.ndarray) -> np.ndarray:
    """1 / sqrt(diag V^-1), near zero for errors that the others determine."""
    values, vectors = np.linalg.eigh(V)
    values = np.maximum(values, LEAST_SHARE * values[-1])
    return np.asarray(1.0 / np.sqrt((vectors**2 / values).sum(axis=1)))
