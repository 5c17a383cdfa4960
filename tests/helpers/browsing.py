"""Pages for a browser, read as a browser reads them: elements, and tables by the heading before them."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

#: Elements that have no end.
VOID = {"meta", "br", "img", "input"}
#: Elements whose end may be left out: where one begins, an open one of them ends.
IMPLIED = {"td": {"td"}, "tr": {"td"}}


@dataclass
class Reader(HTMLParser):
    """Reads a page.

    Attributes
    ----------
    elements : (tag, attributes) of all
    tables : rows of texts, the heading among them, by the title before the table
    texts : of all that is seen, in order
    """

    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    tables: dict[str, list[list[str]]] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.title = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        while self.open and self.open[-1] in IMPLIED.get(tag, ()):
            self.open.pop()
        if tag in ("h2", "h3"):
            self.title = ""
        if tag == "table":
            while self.title in self.tables:
                self.title += "+"
            self.tables[self.title] = []
        if tag == "tr":
            self.tables[self.title].append([])
        if tag in ("td", "th"):
            self.tables[self.title][-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag in self.open, (tag, self.open)
        while self.open.pop() != tag:
            pass

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("style", "script"):
            return
        if data.strip():
            self.texts.append(data)
        if "h2" in self.open or "h3" in self.open:
            self.title += data
        if "td" in self.open or "th" in self.open:
            below = "small" in self.open  # an interval below a number
            self.tables[self.title][-1][-1] += f"|{data}" if below else data


def read_page(text: str) -> Reader:
    """A page, all of whose elements end where they should."""
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


def split(cell: str) -> list[float]:
    """Numbers of a cell."""
    return [float(number) for number in re.findall(r"(?<![\w.])-?\d+\.?\d*", cell.replace("*", ""))]


def browse(script: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str] | None:
    """Open a page in a browser without a screen; None where there is no browser."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        return None
    words = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    words += [f"--user-data-dir={folder}", "--allow-file-access-from-files", *options, script.as_uri()]
    return subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
