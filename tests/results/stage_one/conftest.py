"""Plots of two environments, adjusted once: one with a field, one without."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bmtme

COLUMNS = {"line": "gen", "env": "site", "rep": "rep", "block": "block", "row": "row", "col": "col"}


def make_plots(seed: int = 2) -> pd.DataFrame:
    """N: a field of 8 x 7 plots, two replicates of 25 lines and checks, with a trend; S: 3 replicates, no positions.

    Plots are lost, in one trait or in both; blocks differ in size; g5 has no value in N, g7 no protein there.
    """
    rng = np.random.default_rng(seed)
    names = [f"g{j}" for j in range(26)]
    u = rng.normal(0, 1.0, (26, 2))
    rows = []
    for rep, cols in ((1, range(1, 5)), (2, range(4, 8))):
        places = [(r, c) for c in cols for r in range(1, 9) if (rep == 1) == (c < 4 or (c == 4 and r < 5))]
        order = rng.permutation([*range(26), *rng.choice(4, len(places) - 26, replace=False)])
        for (r, c), j in zip(places, order, strict=True):
            trend = 1.2 * np.sin(r / 2.0) + 0.15 * c
            values = u[j] + trend + rng.normal(0, 0.5, 2) @ [[1.0, 0.5], [0.0, 0.8]]
            rows.append((names[j], "N", f"R{rep}", str(r // 3), str(r + 10), str(c), *(values + [5, 50])))
    for rep in range(3):
        for j in range(12):
            values = u[j] + rng.normal(0, 0.6, 2)
            rows.append((names[j], "S", f"R{rep}", "", "", "", *(values + [8, 40])))
    frame = pd.DataFrame(rows, columns=["gen", "site", "rep", "block", "row", "col", "yield", "protein"])
    frame.loc[[3, 19, 40], ["yield", "protein"]] = np.nan
    frame.loc[[8, 33, 60], "protein"] = np.nan
    north = frame["site"] == "N"
    frame.loc[north & (frame["gen"] == "g5"), ["yield", "protein"]] = np.nan
    frame.loc[north & (frame["gen"] == "g7"), "protein"] = np.nan
    return frame


@pytest.fixture(scope="session")
def plots() -> pd.DataFrame:
    return make_plots()


@pytest.fixture(scope="session")
def auto(plots) -> bmtme.Adjustment:
    """One trait, every candidate."""
    return bmtme.adjust(plots, traits="yield", **COLUMNS)


@pytest.fixture(scope="session")
def pair(plots) -> bmtme.Adjustment:
    """Two traits jointly, splines in N."""
    north = plots[plots["site"] == "N"]
    return bmtme.adjust(north, traits=["yield", "protein"], spatial="psplines", **COLUMNS)
