"""Pictures within a page: drawings whose texts stay texts, or pixels where these take fewer bytes."""

from __future__ import annotations

import base64
import re
import warnings
import xml.etree.ElementTree as ElementTree
from io import BytesIO
from itertools import count
from typing import TYPE_CHECKING, Any

from bmtme.errors import DataError, UsageError
from bmtme.report.html.content import Block, Figure
from bmtme.words import show_signs

if TYPE_CHECKING:
    from bmtme.report.figure import Figure as Drawing

__all__ = ["CHAINS", "Pictures"]

SVG, LINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
#: What a picture of chains shows.
CHAINS = (
    "Draws of the parameters with the fewest effective draws. Left: chains that agree cover one band. Right: ranks of "
    "the draws of each chain among all, flat where chains agree."
)
#: Pixels to an inch of pictures that are made of them.
DPI = 110
#: Bytes of a drawing whose names the font here lacks, above which pixels are taken all the same.
MOST_WITH_TEXT = 500_000
#: Drawings keep their texts, which can be searched and copied, and the names of their parts from run to run.
RULES: Any = {"svg.fonttype": "none", "svg.hashsalt": "bmtme"}
#: Where a part of a drawing is used by its name.
_USED = re.compile(r"url\(#([^)]+)\)")


class Pictures:
    """Makes the pictures of one page, in which no two parts have one name."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def draw(self, run: Any, method: str, caption: str, half: bool = False, **arguments: Any) -> list[Block]:
        """A picture of a run by the name of its method, or nothing where the run does not have what it takes.

        Parameters
        ----------
        run : a result
        method : such as ``plot_ranking``
        caption : what it shows
        half : whether it takes half a sheet of paper at most
        """
        try:
            drawing: Drawing = getattr(run, method)(**arguments)
        except (UsageError, DataError):  # what is missing is said where its numbers would be
            return []
        return [Figure(self.embed(drawing, caption), caption, half)]

    def embed(self, drawing: Drawing, caption: str) -> str:
        """A picture as markup."""
        import matplotlib as mpl

        from bmtme.report.figure import MissingSigns

        buffer = BytesIO()
        with mpl.rc_context(RULES), warnings.catch_warnings():
            warnings.simplefilter("ignore", MissingSigns)  # texts stay texts, and a browser has more fonts
            drawing.savefig(buffer, format="svg", metadata={"Date": None})
        inline = self._clean(buffer.getvalue().decode("utf-8"), caption)
        # Pixels of a drawing as small are not looked at: they would take more.
        if len(inline) < (MOST_WITH_TEXT if drawing.lacking else 60_000):
            return inline
        buffer = BytesIO()
        drawing.savefig(buffer, format="png", dpi=DPI)
        pixels = base64.b64encode(buffer.getvalue()).decode("ascii")
        if len(pixels) > len(inline):
            return inline
        image = ElementTree.Element("img", {"src": f"data:image/png;base64,{pixels}", "alt": show_signs(caption)})
        return ElementTree.tostring(image, "unicode", method="html")

    def _clean(self, text: str, caption: str) -> str:
        """A drawing without what only a file of its own needs; names of its parts are those of this page."""
        ElementTree.register_namespace("", SVG)
        ElementTree.register_namespace("xlink", LINK)
        root = ElementTree.fromstring(show_signs(text))
        prefix = f"f{next(self._numbers)}-"
        for parent in list(root.iter()):
            for child in list(parent):
                if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style"):
                    parent.remove(child)
        used = set()
        for element in root.iter():
            for name, value in element.attrib.items():
                used.update(_USED.findall(value))
                if name == f"{{{LINK}}}href" and value.startswith("#"):
                    used.add(value[1:])
        for element in root.iter():
            own = element.attrib.pop("id", None)
            if own in used:
                element.set("id", prefix + str(own))
            for name, value in list(element.attrib.items()):
                if name == f"{{{LINK}}}href" and value.startswith("#"):
                    element.set(name, f"#{prefix}{value[1:]}")
                elif "url(#" in value:
                    element.set(name, _USED.sub(lambda found: f"url(#{prefix}{found[1]})", value))
        # The rule that stood in the style of the file, which would be one of the whole page.
        root.set("style", "stroke-linejoin:round;stroke-linecap:butt")
        root.set("role", "img")
        root.set("aria-label", show_signs(caption))
        return ElementTree.tostring(root, "unicode")
