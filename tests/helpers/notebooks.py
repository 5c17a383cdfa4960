"""The notebook of diagnostics: made of its source, and executed.

python -m tests.helpers.notebooks      writes examples/diagnostics.ipynb anew
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Any

import jupytext
import nbclient

from tests.helpers.checkout import ROOT

#: A warning with the place that it comes from: a file that was made for the cell, and its line.
PLACE = re.compile(r"(?m)^\S*ipykernel_\d+\S*\.py:\d+: (.*)\n(?:  .*\n)?")
SOURCE = ROOT / "examples" / "diagnostics.py"
NOTEBOOK = SOURCE.with_suffix(".ipynb")


def read_source() -> Any:
    """The notebook that the source describes, without outputs; cells are named by their number."""
    notebook = jupytext.read(SOURCE)
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


def write_notebook(path: Path = NOTEBOOK) -> None:
    """Execute the source and write it with its outputs."""
    notebook = read_source()
    execute(notebook)
    jupytext.write(notebook, path)


if __name__ == "__main__":
    write_notebook()
