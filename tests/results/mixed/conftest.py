"""Small trials that several tests fit, each once."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bmtme
from bmtme import mixed


def make_series(seed: int = 4) -> pd.DataFrame:
    """Two sites, fields of 5 x 4 and 4 x 4 plots; 6 lines, some plots lost; a covariate; two traits with gaps."""
    rng = np.random.default_rng(seed)
    rows = []
    lines = rng.normal(0, 1.0, (6, 2))
    for s, (site, n_col) in enumerate((("N", 5), ("S", 4))):
        order = rng.permutation(np.resize(np.arange(6), n_col * 4))
        for k, j in enumerate(order):
            u, e = lines[j] + 0.5 * rng.normal(size=2), rng.normal(0, 0.7 + 0.3 * s, 2)
            rows.append((site, str(k // 4 + 1), str(k % 4 + 1), f"L{j}", rng.normal(50, 5), *(4 + s + u + e)))
    frame = pd.DataFrame(rows, columns=["site", "col", "row", "line", "stand", "yield", "height"])
    frame.loc[[3, 22], "yield"] = np.nan
    frame.loc[[3, 7, 8, 30], "height"] = np.nan
    return frame


@pytest.fixture(scope="session")
def series() -> pd.DataFrame:
    return make_series()


@pytest.fixture(scope="session")
def relationship() -> bmtme.Relationship:
    rng = np.random.default_rng(8)
    W = rng.normal(size=(8, 12))
    return bmtme.Relationship(W @ W.T / 12 + 0.2 * np.eye(8), [*(f"L{j}" for j in (4, 2, 0, 1, 5, 3)), "new1", "new2"])


@pytest.fixture(scope="session")
def simple(series) -> mixed.MixedFit:
    """Independent plots, lines random."""
    return mixed.Model("yield ~ site + stand", "line + site:col").fit(series)


@pytest.fixture(scope="session")
def rich(series, relationship) -> mixed.MixedFit:
    """A relationship with lines without records, sections with an autoregression, an unestimable column."""
    model = mixed.Model(
        "yield ~ site + stand + C(site)",
        "known(line) + at(site, 'N'):col",
        "at(site, 'N'):units + at(site, 'S'):col:ar1(row)",
        known={"line": relationship},
    )
    return model.fit(series)


@pytest.fixture(scope="session")
def pair(series) -> mixed.MixedFit:
    """Two traits."""
    return mixed.Model("yield + height ~ trait + trait:site", "diag(trait):line", "us(trait):units").fit(series)
