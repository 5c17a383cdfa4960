"""Whole fits: `bmtme/pipeline.py` and what it calls."""
