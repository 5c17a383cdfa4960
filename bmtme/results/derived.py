"""What has been made of a run's results and stands beside them in its folder: the page, the folder of pictures."""

from __future__ import annotations

import html
import re
from pathlib import Path

from bmtme.results.record import PICTURES, REPORT

__all__ = ["MARK", "find_check", "is_report", "set_aside"]

#: What pages of ours say that made them: files that do not are never replaced.
MARK = "bmtme report"
#: Bytes of a file in which the mark stands, and letters in which the check does.
HEAD, META = 400, 4000


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


def find_check(path: Path) -> str | None:
    """The line that the others are compared with on a page of ours, if any.

    Raises
    ------
    OSError
    """
    with open(path, encoding="utf-8") as there:
        found = re.search('<meta name="check" content="([^"]*)">', there.read(META))
    return html.unescape(found[1]) if found else None


def set_aside(folder: Path, draws: int) -> dict[str, str | None]:
    """Remove the page of the results in a folder, and give the folder of their pictures another name.

    draws : of each chain of these results

    Returns
    -------
    dict
        Of the page, if there was one, its check; of the pictures their new name.

    Raises
    ------
    OSError
    """
    found: dict[str, str | None] = {}
    page, pictures = folder / REPORT, folder / PICTURES
    if is_report(page):
        found[REPORT] = find_check(page)
        page.unlink()
    if pictures.is_dir():
        name, number = f"{PICTURES}-of-{draws}-draws", 1
        while (folder / name).exists():
            number += 1
            name = f"{PICTURES}-of-{draws}-draws-{number}"
        pictures.rename(folder / name)
        found[PICTURES] = name
    return found
