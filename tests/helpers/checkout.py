"""Where the checkout is that the tests lie in."""

from pathlib import Path

#: Folder of README.md, `bmtme/`, `examples/` and `validation/`.
ROOT = Path(__file__).resolve().parents[2]
