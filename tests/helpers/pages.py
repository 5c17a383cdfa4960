"""HTML that is shown in notebooks."""

from __future__ import annotations

from html.parser import HTMLParser


class Texts(HTMLParser):
    """Tags and texts of a page; a tag left open or not opened is an error."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def parse(html: str) -> Texts:
    page = Texts()
    page.feed(html)
    assert page.open == []
    return page
