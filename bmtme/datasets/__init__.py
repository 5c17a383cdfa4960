"""Data to try things on: simulated trials with known parameters, and public trials that are fetched."""

from bmtme.datasets.public import DataSet, fetch, list_sets
from bmtme.datasets.selection import Selection, simulate_selection
from bmtme.datasets.simulated import PAPER_MEANS, Simulation, simulate

__all__ = ["PAPER_MEANS", "DataSet", "Selection", "Simulation", "fetch", "list_sets", "simulate", "simulate_selection"]
