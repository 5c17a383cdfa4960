"""``python -m bmtme`` is the shell command ``bmtme``."""

from __future__ import annotations

import sys

from bmtme.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
