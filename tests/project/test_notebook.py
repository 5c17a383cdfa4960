"""The notebook of diagnostics: it is that of its source, it runs, and what is committed was executed."""

from __future__ import annotations

import base64
import re
from typing import Any

import jupytext
import pytest

from tests.helpers.notebooks import NOTEBOOK, execute, read_source


@pytest.fixture
def notebook() -> Any:
    return jupytext.read(NOTEBOOK)


def list_figures(notebook: Any) -> list[bytes]:
    """The pictures below the cells."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    pictures = [output.data["image/png"] for output in outputs if "image/png" in output.get("data", ())]
    return [base64.b64decode(picture) for picture in pictures]


def list_texts(notebook: Any) -> str:
    """What the cells printed, and their tables."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return "\n".join(output.get("text") or output.data["text/plain"] for output in outputs)


def test_notebook_is_that_of_its_source(notebook: Any) -> None:
    """Otherwise: make notebooks."""
    source = read_source()
    assert len(source.cells) == len(notebook.cells)
    for one, other in zip(source.cells, notebook.cells, strict=True):
        assert (one.id, one.cell_type, one.source) == (other.id, other.cell_type, other.source)
        assert one.metadata == other.metadata
    assert sum(cell.cell_type == "markdown" for cell in source.cells) >= 5


def test_every_cell_was_executed(notebook: Any) -> None:
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(output.output_type != "error" for cell in cells for output in cell.outputs)
    figures = list_figures(notebook)
    assert len(figures) == sum("show(" in cell.source and "def show" not in cell.source for cell in cells) == 4
    assert all(figure.startswith(b"\x89PNG") for figure in figures)
    assert "R-hat above 1.01" in list_texts(notebook)


def test_nothing_tells_who_executed_it_and_when(notebook: Any) -> None:
    assert NOTEBOOK.stat().st_size < 1_000_000
    figures = list_figures(notebook)
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            output.get("data", {}).pop("image/png", None)  # letters of pictures may spell anything
    content = jupytext.writes(notebook, fmt="ipynb")
    assert not re.search(r"(?<![\w.])/(home|root|tmp|usr|opt|var|mnt|work|private|Users)/|ipykernel_", content)
    assert not re.search(r"iopub|\d{4}-\d\d-\d\dT\d\d", content)
    assert set(notebook.metadata) == {"kernelspec"}
    assert not any(word in figure for figure in figures for word in (b"tIME", b"Creation Time"))


def test_notebook_runs(notebook: Any) -> None:
    """With fewer lines and draws."""
    (parameters,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
    parameters.source, found = re.subn(
        r"(?m)^LINES, DRAWS, TUNE = .*$", "LINES, DRAWS, TUNE = 20, 100, 50", parameters.source
    )
    assert found == 1
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    execute(notebook)
    assert len(list_figures(notebook)) == 4
    assert "R-hat above 1.01" in list_texts(notebook)
    assert "Trial(20 lines x 3 environments" in list_texts(notebook)
