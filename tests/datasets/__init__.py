"""Simulated and public trials: `bmtme/datasets`."""
