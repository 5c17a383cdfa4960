"""The notebooks: they are those of their sources, they run, and what is committed was executed."""

from __future__ import annotations

import base64
import re
from typing import Any

import jupytext
import pytest

from tests.helpers.notebooks import EXAMPLES, NOTEBOOKS, execute, read_source, shrink

#: Pictures of each notebook, and what it says with any number of lines and draws.
SAID = {
    "diagnostics": (4, ["R-hat above 1.01", "lines x 3 environments"]),
    "choosing": (3, ["lines x 3 environments", "clones tell what is hidden", "one trait at a time"]),
    "from_plots_to_ranking": (5, ["lines in 4 environments", "AIC above the least", "full covariance against raw"]),
    "field_trial": (4, ["entries in 4 site-years", "0.5 chi2(0) + 0.5 chi2(1)", "covariance of entries"]),
    "first_fit": (3, ["'l-07' is nearly 'L07'", "protein is -9 in 2 records", "The chains have NOT converged"]),
    "from_posterior_to_selection": (4, ["difference from fit.ranking: 0.000", "of predicted values"]),
    "coming_from_r": (1, ["env:known(line)", "Sigma_t[yield, yield]", "the inverse gives G back: True"]),
}
#: What each says with its parameters for tests.
SHRUNK = {
    "diagnostics": "Trial(20 lines x 3 environments",
    "choosing": "Trial(60 lines x 3 environments",
    "from_plots_to_ranking": "30 lines in 4 environments",
    "field_trial": "in 1 trial of each site-year",
    "first_fit": "4 chains of 150 draws",
    "from_posterior_to_selection": "34 lines x 4 environments",
    "coming_from_r": "Trial(30 lines x 3 environments",
}


@pytest.fixture(params=NOTEBOOKS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def notebook(name: str) -> Any:
    return jupytext.read(EXAMPLES / f"{name}.ipynb")


def list_figures(notebook: Any) -> list[bytes]:
    """The pictures below the cells."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    pictures = [output.data["image/png"] for output in outputs if "image/png" in output.get("data", ())]
    return [base64.b64decode(picture) for picture in pictures]


def list_texts(notebook: Any) -> str:
    """What the cells printed, and their tables."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return "\n".join(output.get("text") or output.data["text/plain"] for output in outputs)


def check_content(name: str, notebook: Any) -> None:
    number, parts = SAID[name]
    figures = list_figures(notebook)
    assert len(figures) == number
    assert all(figure.startswith(b"\x89PNG") for figure in figures)
    for part in parts:
        assert part in list_texts(notebook)


def test_notebook_is_that_of_its_source(name: str, notebook: Any) -> None:
    """Otherwise: make notebooks."""
    source = read_source(name)
    assert len(source.cells) == len(notebook.cells)
    for one, other in zip(source.cells, notebook.cells, strict=True):
        assert (one.id, one.cell_type, one.source) == (other.id, other.cell_type, other.source)
        assert one.metadata == other.metadata
    assert sum(cell.cell_type == "markdown" for cell in source.cells) >= 5


def test_every_cell_was_executed(name: str, notebook: Any) -> None:
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(output.output_type != "error" for cell in cells for output in cell.outputs)
    check_content(name, notebook)


def test_nothing_tells_who_executed_it_and_when(name: str, notebook: Any) -> None:
    assert (EXAMPLES / f"{name}.ipynb").stat().st_size < 1_000_000
    figures = list_figures(notebook)
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            output.get("data", {}).pop("image/png", None)  # letters of pictures may spell anything
    content = jupytext.writes(notebook, fmt="ipynb")
    assert not re.search(r"(?<![\w.])/(home|root|tmp|usr|opt|var|mnt|work|private|Users)/|ipykernel_", content)
    assert not re.search(r"iopub|\d{4}-\d\d-\d\dT\d\d", content)
    assert set(notebook.metadata) == {"kernelspec"}
    assert not any(word in figure for figure in figures for word in (b"tIME", b"Creation Time"))


def test_notebook_runs(name: str, notebook: Any) -> None:
    """With fewer lines, draws and trials."""
    (parameters,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
    parameters.source = shrink(name, parameters.source)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    execute(notebook)
    check_content(name, notebook)
    assert SHRUNK[name] in list_texts(notebook)
