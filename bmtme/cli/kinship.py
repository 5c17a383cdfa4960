"""The relationship that ``--relationship`` names: a matrix, that of a pedigree, or unrelated lines."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmtme.cli.streams import complain
from bmtme.errors import DataError, UsageError
from bmtme.words import count_noun, list_names

if TYPE_CHECKING:
    import pandas as pd

    from bmtme.data.relationship.matrix import Relationship

__all__ = ["IDENTITY", "Kinship", "name_pedigree", "read_kinship"]

#: In place of a file: unrelated lines.
IDENTITY = "identity"


@dataclass(frozen=True)
class Kinship:
    """A relationship, and the table of the pedigree that it was made of, if it was."""

    relationship: Relationship
    pedigree: pd.DataFrame | None = None


def read_kinship(args: argparse.Namespace, lines: Sequence[str]) -> Kinship:
    """Read the relationship that the options name.

    Parameters
    ----------
    args : Namespace
    lines : sequence of str
        Of the trial: all there are for ``identity``, and founders of a pedigree under ``--founders``.

    Raises
    ------
    DataError, UsageError
    """
    from bmtme.data.relationship.files import read_relationship
    from bmtme.data.relationship.matrix import Relationship
    from bmtme.data.relationship.pedigree import pedigree_relationship

    if args.relationship == IDENTITY:
        return Kinship(Relationship.identity(lines))
    frame = _read_pedigree(args)
    if frame is None:
        return Kinship(read_relationship(args.relationship, ids=args.ids))
    roles = name_pedigree(args, frame)
    relationship = pedigree_relationship(frame, **roles, founders=lines if args.founders else ())
    if args.founders:
        _say_founders(frame[roles["id"]], relationship, lines, Path(args.relationship).name)
    return Kinship(relationship, frame)


def _read_pedigree(args: argparse.Namespace) -> pd.DataFrame | None:
    """The table, if the file has the columns of a pedigree; None for a matrix."""
    from bmtme.data.relationship.pedigree_table import is_pedigree, read_pedigree

    path = args.relationship
    name = Path(path).name
    id, sire, dam = args.pedigree_columns
    if is_pedigree(path, id, sire, dam):
        return read_pedigree(path, id, sire, dam)
    if args.named_pedigree and args.families is None:
        return read_pedigree(path, id, sire, dam)  # which names the column that is not there
    for option, given in (("--founders", args.founders), ("--selfing", args.selfing)):
        if given:
            raise UsageError(
                f"argument {option}: is for a pedigree as --relationship, but {name} has no columns {id}, {sire}, "
                f"{dam}: name those of a pedigree with --pedigree-columns."
            )
    return None


def name_pedigree(args: argparse.Namespace, frame: pd.DataFrame) -> dict[str, Any]:
    """Columns and customs of a pedigree as the options name them, for what makes a relationship or its inverse."""
    id, sire, dam = args.pedigree_columns
    return {
        "id": id,
        "sire": sire,
        "dam": dam,
        "selfing": _find_selfing(args.selfing, frame),
        "separate_sexes": False,  # plants may be both; of animals, check tells
        "missing": args.pedigree_missing,
    }


def _find_selfing(text: str | None, frame: pd.DataFrame) -> str | float | None:
    """A column of the pedigree, or a number of generations."""
    if text is None or text in frame.columns or not text.isdecimal():
        return text
    return int(text)


def _say_founders(names: Any, relationship: Relationship, lines: Sequence[str], source: str) -> None:
    """Say which lines of the trial are founders for want of a row."""
    known = {str(name).strip() for name in names}
    alone = [line for line in lines if line not in known]
    if len(alone) == len(lines):
        raise DataError(
            f"No line of the trial has a row in {source}: its individuals have names such as "
            f"{list_names(relationship.lines[:3])}, the lines such as {list_names(lines[:3])}. Names must be the same; "
            "for unrelated lines, say --relationship identity."
        )
    if alone:
        complain(
            f"warning: --founders: {count_noun(len(alone), 'line')} without a row in {source} ({list_names(alone, 3)}) "
            f"{'is' if len(alone) == 1 else 'are'} taken as founders without parents."
        )
