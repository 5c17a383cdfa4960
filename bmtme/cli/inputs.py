"""Input files of a command: read, and known again by their hashes."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmtme.cli.arguments import is_folder
from bmtme.cli.kinship import IDENTITY, read_kinship
from bmtme.cli.streams import complain
from bmtme.errors import DataError, UsageError, blame
from bmtme.results.inputs import describe_file, describe_relationship

if TYPE_CHECKING:
    from bmtme.data.relationship.matrix import Relationship
    from bmtme.data.tables.cells import NumberFormat
    from bmtme.data.tables.files import Table
    from bmtme.data.trial import Trial

__all__ = [
    "Inputs",
    "check_optional_out",
    "check_out",
    "describe_file",
    "describe_relationship",
    "name_columns",
    "name_format",
    "read_adjusted",
    "read_inputs",
    "record_command",
    "warn_of_unnamed_traits",
]


@dataclass(frozen=True)
class Inputs:
    """Data of a command, the record of the files they came from, and groups of lines if asked for.

    Attributes
    ----------
    seconds : that reading took
    """

    trial: Trial
    relationship: Relationship
    files: dict[str, Any]
    groups: dict[str, str] | None = None
    seconds: float = 0.0


def read_inputs(args: argparse.Namespace, groups: str | None = None, families: str | None = None) -> Inputs:
    """Read the phenotypes, or adjusted means, and the relationship that the options name.

    Parameters
    ----------
    args : Namespace
    groups : str, optional
        Column of the phenotypes with the group of each line, which is no trait.
    families : str, optional
        Table of a pedigree, of which the full-sib families are the groups.

    Raises
    ------
    DataError
    """
    from bmtme.data.tables.files import read_table
    from bmtme.data.trial import make_trial

    found, began = None, time.perf_counter()
    if is_folder(args.phenotypes):
        trial = read_adjusted(args)
    else:
        # Once, as it may be a pipe.
        table = read_table(args.phenotypes, name_format(args), args.sheet)
        if groups is not None:
            found = read_groups(table, args.line, groups)
            table = replace(table, frame=table.frame.drop(columns=groups))
        trial = make_trial(table, *name_columns(args).values())
        warn_of_unnamed_traits(args, trial.traits)
    files: dict[str, Any] = {"phenotypes": describe_file(args.phenotypes)}
    if families is not None:
        found = read_families(args, families, trial.lines)
        files["families"] = describe_file(families)
    relationship = read_kinship(args, trial.lines).relationship
    files["relationship"] = IDENTITY if args.relationship == IDENTITY else describe_relationship(args.relationship)
    if args.se_correlation is not None and os.path.exists(args.se_correlation):
        files["se_correlation"] = describe_file(args.se_correlation)
    return Inputs(trial, relationship, files, found, time.perf_counter() - began)


def record_command(words: Sequence[str], files: dict[str, Any], seconds: dict[str, float]) -> dict[str, Any]:
    """What the record of a run says of its command: with this `bmtme rerun` repeats it."""
    rounded = {name: round(value, 3) for name, value in seconds.items()}
    return {"command": list(words), "inputs": files, "seconds": rounded}


def read_adjusted(args: argparse.Namespace) -> Trial:
    """The adjusted means of a folder, of the environments and traits that the options name.

    Raises
    ------
    DataError, UsageError
    """
    from bmtme.data.adjusted import read_means
    from bmtme.data.trial import Trial

    return Trial.from_means(read_means(args.phenotypes).take(args.envs, args.traits))


def read_groups(table: Table, line: str, column: str) -> dict[str, str]:
    """The group of each line by a column of the phenotypes; a line whose cells are all empty has none.

    Raises
    ------
    DataError
        If the column is not there or empty, or a line has two groups.
    """
    lines = table.identifiers(line, "line")
    found: dict[str, str] = {}
    first: dict[str, int] = {}
    for position, (name, group) in enumerate(
        zip(lines, table.identifiers(column, "groups", allow_missing=True), strict=True)
    ):
        if not group:
            continue
        if found.setdefault(name, group) != group:
            raise DataError(
                f"The groups column {column!r} of {table.name} puts line {name!r} into {found[name]!r} "
                f"({table.row(first[name])}) and into {group!r} ({table.row(position)}): a line belongs to one group, "
                "which all of its rows name."
            )
        first.setdefault(name, position)
    if not found:
        raise DataError(f"The groups column {column!r} of {table.name} is empty: leave --groups out.")
    return found


def read_families(args: argparse.Namespace, path: str, lines: Sequence[str]) -> dict[str, str]:
    """Of the trial's lines with two known parents in a pedigree, their full-sib family.

    Raises
    ------
    DataError
        If the pedigree cannot be read, or has the parents of no line.
    """
    from bmtme.data.relationship.pedigree_table import (
        describe_doubtful,
        find_families,
        list_doubtful_parents,
        read_pedigree,
    )
    from bmtme.words import count_noun, list_names

    id, sire, dam = args.pedigree_columns
    missing: list[str] | None = args.pedigree_missing
    frame = read_pedigree(path, id, sire, dam)
    families = find_families(frame, id, sire, dam, missing)
    doubtful = list_doubtful_parents(frame, id, sire, dam, missing)
    if doubtful:
        complain(f"warning: {Path(path).name}: {describe_doubtful(doubtful)}")
    found = {line: families[line] for line in lines if line in families}
    if not found:
        raise DataError(
            f"The pedigree {Path(path).name} has both parents of no line of the trial: its individuals have names such "
            f"as {list_names(frame[id][:3])}, the lines such as {list_names(lines[:3])}. Names must be the "
            "same; without families, leave --families out."
        )
    without = [line for line in lines if line not in found]
    if without:
        complain(
            f"warning: --families: {count_noun(len(without), 'line')} without two known parents in {Path(path).name} "
            f"({list_names(without, 3)}): each is taken as a family of its own."
        )
    return found


def name_columns(args: argparse.Namespace) -> dict[str, Any]:
    """The columns of the phenotypes that the options name, in the order of `bmtme.data.records.read_records`."""
    names = ("line", "env", "traits", "rep", "trait", "value", "blocks", "covariates", "n_plots", "se")
    return {name: getattr(args, name) for name in names} | {"se_correlation": read_correlation(args.se_correlation)}


def read_correlation(text: str | None) -> Any:
    """The correlation of errors that an option gives: a number, or a square table with the names of the traits.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        pass
    import pandas as pd

    from bmtme.data.tables.files import read_table

    table = read_table(text)
    first, *others = table.columns
    names = table.identifiers(first, "trait")
    return pd.DataFrame({name: table.numbers(name, "se_correlation") for name in others}, index=names)


def name_format(args: argparse.Namespace) -> NumberFormat:
    """How the phenotypes are written, by the options."""
    from bmtme.data.tables.cells import NumberFormat

    return NumberFormat.of(args.missing, args.decimal)


def warn_of_unnamed_traits(args: argparse.Namespace, traits: Sequence[str]) -> None:
    """Say which columns are taken as traits where none was named."""
    if args.traits is None and args.trait is None:
        complain(f"warning: no --traits given: every numeric column is taken as one ({', '.join(traits)}).")


def check_out(folder: str) -> Path:
    """The output folder, refused before any work where it is in use or could not be made afterwards.

    Raises
    ------
    UsageError
    """
    from bmtme.arguments import check_place
    from bmtme.results.folder import check_new_folder

    if not folder.strip():
        raise UsageError("argument --out: the name of the folder is empty.")
    try:
        path = check_new_folder(folder)
        # The folder is replaced by one that is complete, which neither of these can be; a link stays and leads there.
        place = Path(os.path.realpath(path))
        if place == Path.cwd() or path.is_mount():
            raise UsageError(f"the output folder {path} is in use as it is: name a new folder, for example in it.")
        if path.is_symlink():
            path = place
    except OSError as error:
        raise blame(error)(f"the output folder {folder} cannot be used: {error.strerror}.") from None
    check_place(path, f"the output folder {folder}")
    return path


def check_optional_out(folder: str | None) -> Path | None:
    """The output folder, if there is to be one."""
    return None if folder is None else check_out(folder)
