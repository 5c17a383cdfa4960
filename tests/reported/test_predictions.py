"""Every prediction, and what was observed beside it."""

import numpy as np
import pandas as pd
import pytest

from tests.helpers.predictions import flatten, mixture_quantile, predict_by_hand
from tests.reported.design import CHAINS, DRAWS, EMPTY, KEPT, OUTSIDE, TRAITS

pytestmark = pytest.mark.filterwarnings("ignore:a short run")


def test_every_prediction(data, fitted, orders):
    """Means over all draws of all chains; standard deviations and intervals over every 2^k-th."""
    frame, relationship = data
    posterior = fitted.idata.posterior
    table = fitted.predictions()
    keys = pd.MultiIndex.from_product([relationship.lines, *orders], names=["line", "env", "trait"])
    assert list(table[keys.names].itertuples(index=False, name=None)) == keys.tolist()
    expected, drawn, spare = predict_by_hand(frame, relationship, posterior)
    sd = table["sd"].to_numpy()
    off = table["mean"].to_numpy() - expected.mean(axis=0).ravel()
    assert np.abs(off / sd).max() < 1e-8
    kept = next(np.arange(0, DRAWS, 2**k) for k in range(20) if len(np.arange(0, DRAWS, 2**k)) <= KEPT)
    kept = (np.arange(CHAINS)[:, None] * DRAWS + kept).ravel()
    residual = np.einsum("sll->sl", flatten(posterior, "R_e"))[kept]
    drawn, spare = drawn[kept], spare[kept]
    np.testing.assert_allclose(sd, np.sqrt(drawn.var(axis=0, ddof=1) + spare.mean(axis=0)).ravel(), rtol=1e-7)
    for row, (n, i, l) in enumerate(np.ndindex(drawn.shape[1:])):
        for column, p in (("lower", 0.05), ("upper", 0.95)):
            quantile = mixture_quantile(drawn[:, n, i, l], spare[:, n, i, l] + residual[:, l], p)
            assert abs(table[column][row] - quantile) < 1e-4 * sd[row], (*keys[row], column)


def test_what_was_observed_stands_beside_the_predictions(recorded, fitted):
    plots = recorded.melt(["line", "env", "rep"], TRAITS, "trait").dropna()
    cells = plots.groupby(["line", "env", "trait"])["value"].agg(["size", "mean"])
    assert cells["size"].nunique() == 3
    table = fitted.predictions().set_index(["line", "env", "trait"])
    cells = cells.reindex(table.index)
    assert table["n_obs"].tolist() == cells["size"].fillna(0).tolist()
    np.testing.assert_allclose(table["observed"], cells["mean"], rtol=1e-12)
    assert table.loc[[*OUTSIDE, EMPTY], "n_obs"].eq(0).all()
