"""What has been made of a run's results and stands beside them in its folder: the page, the folder of pictures."""

from __future__ import annotations

import re
import urllib.parse
import warnings
from dataclasses import dataclass
from pathlib import Path

from bmtme.errors import DataError
from bmtme.results.packing import read_pack
from bmtme.results.record import PICTURES, REPORT
from bmtme.results.standing import FOLDER

__all__ = ["ASIDE", "MARK", "Aside", "find_aside", "is_report", "recall_aside", "set_aside"]

#: What pages of ours say that made them: files that do not are never replaced.
MARK = "bmtme report"
#: Bytes of a file in which the mark stands, and letters in which the check does.
HEAD, META = 400, 4000
#: File of a checkpoint with what is set aside of the earlier results, until there is a page of the new ones.
ASIDE = "aside"


@dataclass(frozen=True)
class Aside:
    """What had been made of results that others took the place of.

    Attributes
    ----------
    draws : int
        Of each chain of these results.
    page : bool
        Whether there was a page of them.
    check : str or None
        The line that the others were compared with on it.
    pictures : str or None
        The new name of the folder of their pictures, if there was one.
    """

    draws: int
    page: bool = False
    check: str | None = None
    pictures: str | None = None


def is_report(path: Path) -> bool:
    """Whether a page of ours stands there.

    Raises
    ------
    OSError
    """
    if not path.is_file():
        return False
    with open(path, "rb") as there:
        return MARK.encode() in there.read(HEAD)


def _find_check(path: Path) -> str | None:
    """The line that the others are compared with on a page of ours, if any."""
    # An editor may have saved it in another encoding; the name is in ASCII.
    with open(path, encoding="utf-8", errors="replace") as there:
        found = re.search('<meta name="check" content="([^"]*)">', there.read(META))
    return urllib.parse.unquote(found[1]) if found else None


def find_aside(folder: Path, draws: int) -> Aside | None:
    """What has been made of the results in a folder and is to be set aside, if anything; nothing is changed.

    draws : of each chain of these results
    """
    page, pictures, name = folder / REPORT, folder / PICTURES, None
    before = recall_aside(folder)  # of an extension that was stopped before it made the page
    there, check = (False, None) if before is None else (before.page, before.check)
    try:
        if is_report(page):
            there, check = True, _find_check(page)
    except OSError as error:
        _tell_stale(page, "read", draws, error)
    if pictures.is_dir():
        name, number = f"{PICTURES}-of-{draws}-draws", 1
        while (folder / name).exists():
            number += 1
            name = f"{PICTURES}-of-{draws}-draws-{number}"
    return Aside(draws, there, check, name) if there or name else None


def recall_aside(folder: Path) -> Aside | None:
    """What was noted of the folder of a run, if anything."""
    place = folder / FOLDER / ASIDE
    if not place.exists():
        return None
    try:
        values, _ = read_pack(place, ASIDE)
    except DataError as error:  # the results do not depend on it, and a page of others must not stay
        warnings.warn(f"a report is made anew, without a check: {error}", UserWarning, stacklevel=2)
        return Aside(0, page=True)
    return Aside(**{name: value for name, value in values.items() if name != "run"})


def set_aside(folder: Path) -> None:
    """Remove the page that was noted, and give the folder of pictures its other name, where that has not been done."""
    aside = recall_aside(folder)
    if aside is None:
        return
    page, pictures = folder / REPORT, folder / PICTURES
    try:
        if aside.page and is_report(page):
            page.unlink()
    except OSError as error:
        _tell_stale(page, "removed", aside.draws, error)
    try:
        if aside.pictures and pictures.is_dir() and not (folder / aside.pictures).exists():
            pictures.rename(folder / aside.pictures)
    except OSError as error:
        _tell_stale(pictures, "renamed", aside.draws, error)


def _tell_stale(path: Path, done: str, draws: int, error: OSError) -> None:
    warnings.warn(
        f"{path} cannot be {done}: {error.strerror}. It may be of the earlier {draws} draws of each chain.",
        UserWarning,
        stacklevel=3,
    )
