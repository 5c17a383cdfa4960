"""Input files of a command: read, and known again by their hashes."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmtme.cli.streams import complain
from bmtme.errors import UsageError

if TYPE_CHECKING:
    from bmtme.data.relationship.matrix import Relationship
    from bmtme.data.tables.cells import NumberFormat
    from bmtme.data.trial import Trial
    from bmtme.model.structure import BMTME

__all__ = [
    "IDENTITY",
    "Inputs",
    "check_out",
    "make_model",
    "name_columns",
    "name_format",
    "read_inputs",
    "warn_of_unnamed_traits",
]

#: In place of a file: unrelated lines.
IDENTITY = "identity"


@dataclass(frozen=True)
class Inputs:
    """Data of a command and the record of the files they came from."""

    trial: Trial
    relationship: Relationship
    files: dict[str, Any]


def read_inputs(args: argparse.Namespace) -> Inputs:
    """Read the phenotypes and the relationship that the options name.

    Raises
    ------
    DataError
    """
    from bmtme.data.relationship.files import read_relationship
    from bmtme.data.relationship.matrix import Relationship
    from bmtme.data.trial import read_trial

    trial = read_trial(
        args.phenotypes, **name_columns(args), missing=args.missing, decimal=args.decimal, sheet=args.sheet
    )
    warn_of_unnamed_traits(args, trial.traits)
    files: dict[str, Any] = {"phenotypes": describe_file(args.phenotypes)}
    if args.relationship == IDENTITY:
        return Inputs(trial, Relationship.identity(trial.lines), files | {"relationship": IDENTITY})
    relationship = read_relationship(args.relationship)
    return Inputs(trial, relationship, files | {"relationship": describe_file(args.relationship)})


def name_columns(args: argparse.Namespace) -> dict[str, Any]:
    """The columns of the phenotypes that the options name, in the order of `bmtme.data.records.read_records`."""
    return {name: getattr(args, name) for name in ("line", "env", "traits", "rep", "trait", "value")}


def name_format(args: argparse.Namespace) -> NumberFormat:
    """How the phenotypes are written, by the options."""
    from bmtme.data.tables.cells import NumberFormat

    return NumberFormat.of(args.missing, args.decimal)


def warn_of_unnamed_traits(args: argparse.Namespace, traits: Sequence[str]) -> None:
    """Say which columns are taken as traits where none was named."""
    if args.traits is None and args.trait is None:
        complain(f"warning: no --traits given: every numeric column is taken as one ({', '.join(traits)}).")


def describe_file(path: str) -> dict[str, Any]:
    """Path and SHA-256 of a file; no hash of a pipe, which can be read only once."""
    digest = None
    if Path(path).is_file():
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"path": path, "sha256": digest}


def make_model(structure: str, means: str, units: str, genetic: str, residual: str) -> BMTME:
    """The model that the options name.

    Raises
    ------
    UsageError
        If `units`, `genetic` or `residual` does not fit the structure.
    """
    from bmtme.model.structure import BMTME
    from bmtme.structures.genetics import GENETIC_STRUCTURES

    return BMTME(
        structure,  # type: ignore[arg-type]
        means=means,  # type: ignore[arg-type]
        units=units,  # type: ignore[arg-type]
        genetic=GENETIC_STRUCTURES[genetic.replace("-", "_")],
        residual=residual.replace("-", "_"),  # type: ignore[arg-type]
    )


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
        if path.resolve() == Path.cwd() or path.is_mount():
            raise UsageError(f"the output folder {path} is in use as it is: name a new folder, for example in it.")
        if path.is_symlink():
            path = path.resolve()
    except OSError as error:
        raise UsageError(f"the output folder {folder} cannot be used: {error.strerror}.") from None
    check_place(path, f"the output folder {path}")
    return path
