"""A page as text, and written to a file: as a whole or not at all."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

from bmtme.arguments import check_place, file_path
from bmtme.errors import UsageError, blame
from bmtme.report.html.content import Page
from bmtme.results.derived import MARK, is_report
from bmtme.words import show_signs

__all__ = ["check_report", "render", "write_page"]

TEMPLATES = Path(__file__).parent / "templates"


def render(page: Page) -> str:
    """The page as HTML that needs no other file."""
    import jinja2

    texts = {name: (TEMPLATES / name).read_text(encoding="utf-8") for name in ("page.html", "page.css", "page.js")}
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, finalize=_finalize)
    # The browser runs this script and no other, whatever a name holds.
    digest = base64.b64encode(hashlib.sha256(texts["page.js"].encode()).digest()).decode()
    return environment.from_string(texts["page.html"]).render(
        page=page, style=texts["page.css"], script=texts["page.js"], digest=digest, mark=MARK
    )


def _finalize(value: Any) -> Any:
    # Markup is a text too: pictures have been dealt with where they were made.
    return show_signs(value) if type(value) is str else value


def check_report(file: str | os.PathLike[str]) -> Path:
    """The path of a page, refused before any work where it could not be written, or something else stands there.

    Raises
    ------
    UsageError, MachineError
    """
    path = Path(file_path(file, "file"))
    what = f"the report {path}"
    check_place(path, what)
    try:
        if path.is_dir():
            raise UsageError(f"{what} is a folder: name a file, such as {path / 'report.html'}.")
        if path.exists() and not path.is_file():
            raise UsageError(f"{what} is no plain file: name another one.")
        if path.exists() and not is_report(path):
            raise UsageError(f"{what} cannot be made: there is a file that is no report. Name another one.")
    except OSError as error:
        raise blame(error)(f"{what} cannot be made: {error.strerror}.") from error
    return path


def write_page(page: Page, file: Path) -> None:
    """Write a page in place of an earlier one: whole, or the earlier one stays.

    Raises
    ------
    UsageError, MachineError
    """
    path = check_report(file)
    text = render(page)
    draft = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(prefix=".bmtme-report-", suffix=".html", dir=path.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as there:
            there.write(text)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(draft, 0o666 & ~mask)
        os.replace(draft, path)
        draft = None
    except OSError as error:
        raise blame(error)(f"cannot write the report {path}: {error.strerror}.") from error
    finally:
        if draft is not None:
            with contextlib.suppress(OSError):
                os.unlink(draft)
