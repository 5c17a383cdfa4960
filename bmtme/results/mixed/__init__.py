"""Fits of mixed models: from a table's layout to the engine's problem, and from its answer to labelled tables."""
