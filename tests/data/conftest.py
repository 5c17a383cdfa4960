"""Genotypes of eight lines at 60 markers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.helpers.markers import LINES


@pytest.fixture
def markers() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    codes = rng.binomial(2, rng.uniform(0.4, 0.6, 60), size=(8, 60)).astype(float)
    codes[:, :2] = [[0, 1]] * 4 + [[2, 1]] * 4  # one marker with an opposite pair, one with heterozygotes only
    return pd.DataFrame(codes, index=LINES, columns=[f"m{k}" for k in range(60)])


@pytest.fixture
def gaps(markers: pd.DataFrame) -> pd.DataFrame:
    """Markers with some genotypes missing."""
    markers.iloc[2, 5] = np.nan
    markers.iloc[[0, 4], 7] = np.nan
    return markers
