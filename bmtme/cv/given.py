"""Partitions given as a table: those of a saved cross-validation, or of another program."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bmtme.arguments import as_text, check_memory, show
from bmtme.cv.arguments import check_trial
from bmtme.cv.partitions import Partition, Tabulated
from bmtme.data.tables.cells import identifier
from bmtme.data.tables.files import Table, read_table
from bmtme.data.trial import Trial
from bmtme.errors import DataError, UsageError
from bmtme.words import list_names, suggest

__all__ = ["Partitions"]

_YES_NO = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


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
            If the column of partitions or lines is missing, a label or line is empty, or `scored` holds something else.
        UsageError
            If `frame` is no DataFrame, or one column is named twice.

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
        made = []
        for k, label in enumerate(order):
            hidden, judged = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
            for all_envs in (False, True):
                for all_traits in (False, True):
                    rows = (labels == k) & ((env < 0) == all_envs) & ((trait < 0) == all_traits)
                    for mask, chosen in ((hidden, rows), (judged, rows & scored)):
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
    found: dict[str, Any] = {role: table.identifiers(columns[role], role) for role in ("partition", "line")}
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
    frame = pd.DataFrame(found, index=table.frame.index).astype(
        {"partition": object, "line": object, "env": object, "trait": object, "scored": bool}
    )
    return Table(frame, table.name, table.from_file)


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
