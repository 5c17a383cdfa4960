"""What a fit of a mixed model tells: `bmtme/results/mixed` and `bmtme/mixed.py`."""
