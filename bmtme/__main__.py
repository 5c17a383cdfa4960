"""``python -m bmtme`` is the shell command ``bmtme``."""

from __future__ import annotations

import sys

from bmtme.cli.main import run_process

if __name__ == "__main__":
    sys.exit(run_process())
