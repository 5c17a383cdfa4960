"""The notebooks among the examples: made of their sources, and executed.

python -m tests.helpers.notebooks [NAME ...]      writes them anew, such as examples/diagnostics.ipynb
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from typing import Any

import jupytext
import nbclient

from tests.helpers.checkout import ROOT

#: A warning with the place that it comes from: a file that was made for the cell, and its line.
PLACE = re.compile(r"(?m)^\S*ipykernel_\d+\S*\.py:\d+: (.*)\n(?:  .*\n)?")
EXAMPLES = ROOT / "examples"
#: The notebooks by name, and their parameters with which they run in tests.
NOTEBOOKS = {
    "diagnostics": "LINES, DRAWS, TUNE = 20, 100, 50",
    "choosing": "LINES, DRAWS, TUNE = 60, 40, 30",
    "from_plots_to_ranking": "LINES, DRAWS, TUNE, TRIALS = 30, 40, 30, 1",
    "field_trial": "TRIALS, COPIES = 1, 5",
    "first_fit": "LINES, DRAWS, TUNE = 40, 150, 100",
    "coming_from_r": "LINES, DRAWS, TUNE = 30, 150, 100",
    "from_posterior_to_selection": "LINES, DRAWS, TUNE = 40, 150, 100",
}


def shrink(name: str, source: str) -> str:
    """The source of a notebook, or of its cell with the parameters, with fewer lines, draws and trials."""
    names = NOTEBOOKS[name].split("=")[0]
    source, found = re.subn(rf"(?m)^{names}=.*$", NOTEBOOKS[name], source)
    assert found == 1
    return source


def read_source(name: str) -> Any:
    """The notebook that a source describes, without outputs; cells are named by their number."""
    notebook = jupytext.read(EXAMPLES / f"{name}.py")
    for number, cell in enumerate(notebook.cells, 1):
        cell.id = f"cell-{number:02d}"
    return notebook


def execute(notebook: Any) -> None:
    """Run the cells with this interpreter in an empty folder; outputs are put into the notebook.

    They hold no time, no name of a file or a process, and no version of the interpreter.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        Where a cell fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        # Not the reader's own start-up files, and this checkout whichever one is installed.
        environment = os.environ | {"IPYTHONDIR": folder, "PYTHONPATH": str(ROOT)}
        client = nbclient.NotebookClient(
            notebook, timeout=600, kernel_name="python3", record_timing=False, resources={"metadata": {"path": folder}}
        )
        client.execute(env=environment)
    notebook.metadata.pop("language_info", None)
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if output.output_type == "stream":
                output.text = PLACE.sub(r"\1\n", output.text)


def write_notebook(name: str) -> None:
    """Execute a source and write it with its outputs."""
    notebook = read_source(name)
    execute(notebook)
    jupytext.write(notebook, EXAMPLES / f"{name}.ipynb")


if __name__ == "__main__":
    for each in sys.argv[1:] or NOTEBOOKS:
        write_notebook(each)
