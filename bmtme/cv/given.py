"""Partitions given as a table: those of a saved cross-validation, or of another program."""

from __future__ import annotations

import hashlib
import os
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bmtme.arguments import as_label, as_text, check_memory, show
from bmtme.cv.arguments import check_trial
from bmtme.cv.partitions import Partition, Tabulated
from bmtme.data.tables.cells import identifier
from bmtme.data.tables.files import Table, read_table
from bmtme.data.trial import Trial
from bmtme.errors import DataError, UsageError
from bmtme.words import list_names, normalise_name, suggest

__all__ = ["Partitions"]

_YES_NO = {"true": True, "1": True, "1.0": True, "yes": True, "false": False, "0": False, "0.0": False, "no": False}
#: What other programs call the columns, as `normalise_name` leaves it: a table that is read without one of them hides
#: more than it says.
_SYNONYMS = {
    "partition": ("partitions", "fold", "folds", "split"),
    "line": ("lines", "genotype", "geno", "gid", "entry", "accession", "variety"),
    "env": ("envs", "environment", "environments", "site", "sites", "location", "locations", "loc"),
    "trait": ("traits", "phenotype", "phenotypes", "pheno", "variable", "variables"),
    "scored": ("test", "tested", "istest"),
}


@dataclass(frozen=True, eq=False)
class Partitions(Tabulated):
    """Partitions that a table lists, one hidden cell or several in each row: made by `from_frame` or `read`.

    Attributes
    ----------
    rows : Table
        Its frame has the columns partition, line, env, trait (text; an empty env or trait stands for all) and scored
        (bool); in the order of the table given.
    """

    rows: Table

    def __post_init__(self) -> None:
        if not isinstance(self.rows, Table):
            raise UsageError(
                "Partitions are made by bmtme.Partitions.from_frame of a table or bmtme.Partitions.read of a file, got "
                f"{show(self.rows)}."
            )

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        partition: str = "partition",
        line: str = "line",
        env: str = "env",
        trait: str = "trait",
        scored: str = "scored",
    ) -> Partitions:
        """Take partitions from a table, such as ``cv.partitions`` or one of another program.

        Parameters
        ----------
        frame : pandas.DataFrame
            One row for each hidden cell. The order of rows does not matter, but that partitions come in order of first
            appearance. Cells of a trial that no row names are seen in training.
        partition, line : str
            Columns with the partition's label and the line.
        env, trait : str
            Columns with the environment and the trait. Without the column, or where it is empty, all of them are meant:
            a table with a fold for every line hides lines in all environments.
        scored : str
            Column that says which hidden cells are judged: True or False, 1 or 0, yes or no. Without it, all are. A
            cell that several rows name is scored if one says so.

        Returns
        -------
        Partitions

        Raises
        ------
        DataError
            If the column of partitions or lines is missing, or another one only under a usual name of other programs
            (``Env``, ``site``); if a label or line is empty, a label does not do, or `scored` holds something else.
        UsageError
            If `frame` is no DataFrame, or one column is named twice.

        Warns
        -----
        UserWarning
            Of columns that are not used.

        Notes
        -----
        Names are text: ``001`` and ``NA`` stay, and whole numbers become their decimal text.
        """
        if not isinstance(frame, pd.DataFrame):
            raise UsageError(
                f"expected a pandas DataFrame, got {type(frame).__name__}; bmtme.Partitions.read reads files."
            )
        return cls(_arrange(Table.from_frame(frame, "the table of partitions"), partition, line, env, trait, scored))

    @classmethod
    def read(
        cls,
        path: str | os.PathLike[str],
        partition: str = "partition",
        line: str = "line",
        env: str = "env",
        trait: str = "trait",
        scored: str = "scored",
    ) -> Partitions:
        """Read partitions from a file, such as the ``partitions.csv`` of a saved cross-validation.

        Parameters
        ----------
        path : str or path
            CSV, TSV, Excel or Parquet, as of `bmtme.read_trial`.
        partition, line, env, trait, scored : str
            Columns, as for `from_frame`.

        Raises
        ------
        DataError
            If the file cannot be read, and as for `from_frame`.
        """
        return cls(_arrange(read_table(path), partition, line, env, trait, scored))

    def describe(self) -> dict[str, Any]:
        """In plain values, for the record of a run: numbers, and a digest of all rows whatever their order."""
        frame = self.rows.frame
        rows = sorted(frame.itertuples(index=False, name=None))
        return {
            "partitions": int(frame["partition"].nunique()),
            "rows": len(frame),
            "digest": hashlib.blake2b(repr(rows).encode(), digest_size=16).hexdigest(),
        }

    def masks(self, trial: Trial, seed: int = 0) -> list[Partition]:
        """Make the partitions.

        Parameters
        ----------
        trial : Trial
            Matched by name.
        seed : int
            Not used; all schemes are called alike.

        Returns
        -------
        list of Partition
            In the order of the table.

        Raises
        ------
        DataError
            If a name is not in the trial, with the row.
        """
        check_trial(trial)
        frame = self.rows.frame
        shape = (len(trial.lines), len(trial.envs), len(trial.traits))
        labels, order = pd.factorize(frame["partition"])
        check_memory(2.0 * len(order) * np.prod(shape), f"the masks of {len(order)} partitions")
        line = self._find("line", trial.lines, "line")
        env = self._find("env", trial.envs, "environment")
        trait = self._find("trait", trial.traits, "trait")
        scored = frame["scored"].to_numpy(dtype=bool)
        ranked = np.argsort(labels, kind="stable")
        ends = np.searchsorted(labels[ranked], np.arange(len(order) + 1))
        made = []
        for label, start, end in zip(order, ends[:-1], ends[1:], strict=True):
            own = ranked[start:end]
            hidden, judged = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
            for all_envs in (False, True):
                for all_traits in (False, True):
                    rows = own[((env[own] < 0) == all_envs) & ((trait[own] < 0) == all_traits)]
                    for mask, chosen in ((hidden, rows), (judged, rows[scored[rows]])):
                        places = (
                            line[chosen],
                            slice(None) if all_envs else env[chosen],
                            slice(None) if all_traits else trait[chosen],
                        )
                        mask[places] = True
            made.append(Partition(str(label), hidden, judged))
        return made

    def _find(self, column: str, known: tuple[str, ...], what: str) -> np.ndarray:
        """Places of a column's names in the trial, -1 for an empty one."""
        codes, names = pd.factorize(self.rows.frame[column])
        place = {"": -1} | {name: position for position, name in enumerate(known)}
        for code, name in enumerate(names):
            if name not in place:
                row = self.rows.row(int(np.argmax(codes == code)))
                raise DataError(
                    f"{self.rows.name}, {row}: the trial has no {what} {name!r}.{suggest(name, known)} Its {what}s "
                    f"are {list_names(known)}. Correct the name, or leave the rows with it out."
                )
        return np.array([place[name] for name in names], dtype=np.int64)[codes]


def _arrange(table: Table, partition: str, line: str, env: str, trait: str, scored: str) -> Table:
    """The table with the columns of `Partitions`, as text and bool."""
    columns = {"partition": partition, "line": line, "env": env, "trait": trait, "scored": scored}
    columns = {role: as_text(name, role) for role, name in columns.items()}
    if len(set(columns.values())) < len(columns):
        raise UsageError(f"one column is named twice: partition, line, env, trait and scored are {columns!r}.")
    _refuse_synonyms(table, columns)
    found: dict[str, Any] = {role: table.identifiers(columns[role], role) for role in ("partition", "line")}
    _check_labels(table, columns["partition"], found["partition"])
    found |= {"env": "", "trait": "", "scored": True}
    for role in ("env", "trait", "scored"):
        # One that was named must be there; by its usual name, it may be.
        if columns[role] in table.columns or columns[role] != role:
            name = columns[role]
            found[role] = (
                _read_flags(table, name) if role == "scored" else table.identifiers(name, role, allow_missing=True)
            )
    if not len(table.frame):
        raise DataError(f"{table.name} has no rows: expected one per hidden cell.")
    _warn_of_unused(table, columns)
    frame = pd.DataFrame(found, index=table.frame.index).astype(
        {"partition": object, "line": object, "env": object, "trait": object, "scored": bool}
    )
    return Table(frame, table.name, table.from_file)


def _refuse_synonyms(table: Table, columns: dict[str, str]) -> None:
    """Refuse to read past a column that is probably meant for one that is looked for by its usual name."""
    others = {normalise_name(name): name for name in table.columns if name not in columns.values()}
    for role, name in columns.items():
        meant = next((others[other] for other in (role, *_SYNONYMS[role]) if other in others), None)
        if name == role and name not in table.columns and meant is not None:
            other = "" if role in ("partition", "line") else "; if it is something else, leave it out"
            raise DataError(
                f"{table.name} has no column {role!r}, but one {meant!r}: rename it, or name it with "
                f"{role}={meant!r}{other}."
            )


def _check_labels(table: Table, column: str, labels: list[str]) -> None:
    """Refuse labels that cannot stand in a table."""
    first: dict[str, int] = {}
    for position, label in enumerate(labels):
        first.setdefault(label, position)
    for label, position in first.items():
        try:
            as_label(label, f"the partition column {column!r} of {table.name}, {table.row(position)},")
        except UsageError as error:
            raise DataError(str(error)) from None


def _warn_of_unused(table: Table, columns: dict[str, str]) -> None:
    """Warn of columns that nothing is taken from, and say what is hidden without others."""
    unused = [name for name in table.columns if name not in columns.values()]
    if not unused:
        return
    absent = [
        words
        for role, words in (("env", "in all environments"), ("trait", "for all traits"))
        if columns[role] not in table.columns
    ]
    hidden = f" Its lines are hidden {' and '.join(absent)}." if absent else ""
    warnings.warn(
        f"{table.name}: nothing is taken from the column {list_names(unused)}.{hidden}", UserWarning, stacklevel=4
    )


def _read_flags(table: Table, column: str) -> list[bool]:
    flags = []
    for position, value in enumerate(table.column(column, "scored").astype(object)):
        try:
            flags.append(_YES_NO[(identifier(value) or "").casefold()])
        except (KeyError, DataError):
            raise DataError(
                f"The scored column {column!r} of {table.name} holds {show(value)} in {table.row(position)}: expected "
                "True or False, 1 or 0, yes or no."
            ) from None
    return flags
