"""Hidden cells, scores and their summary."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.reported.design import TRAITS

pytestmark = pytest.mark.filterwarnings("ignore:a short run")


def test_hidden_cells(data, recorded, compared):
    """Of n lines recorded in an environment, floor(0.3 n + 0.5) lose all their values, the same ones for all models."""
    plots = recorded.melt(["line", "env", "rep"], TRAITS, "trait").dropna()
    cells = plots.groupby(["line", "env", "trait"])["value"].agg(["size", "mean"])
    here = recorded.groupby("env")["line"].nunique()
    tested = {entry["partition"]: entry["test_cells"] for entry in compared.run["data"]["partitions"]}
    assert list(tested) == ["1", "2", "3", "4"]
    for (model, partition), table in compared.predictions.groupby(["model", "partition"]):
        assert tested[partition] == len(table)
        lost = table[["line", "env"]].drop_duplicates()
        for env, n in here.items():
            assert (lost["env"] == env).sum() == int(0.3 * n + 0.5), (model, partition, env)
        wanted = pd.MultiIndex.from_frame(lost)
        expected = cells[cells.index.droplevel("trait").isin(wanted)]
        found = table.set_index(["line", "env", "trait"]).sort_index()
        assert found.index.tolist() == expected.index.tolist()
        assert found["n_obs"].tolist() == expected["size"].tolist()
        np.testing.assert_allclose(found["observed"], expected["mean"], rtol=1e-12)
    keys = ["partition", "line", "env", "trait"]
    masks = [set(table[keys].itertuples(index=False, name=None)) for _, table in compared.predictions.groupby("model")]
    assert masks[0] == masks[1]


def test_scores_and_their_summary(compared, orders):
    predictions, scores, summary = compared.predictions, compared.scores, compared.summary()
    keys = ["model", "partition", "env", "trait"]
    groups = dict(list(predictions.groupby(keys)))
    assert {tuple(row) for row in scores[keys].itertuples(index=False)} == set(groups)
    for row in scores.itertuples():
        y, f = groups[row.model, row.partition, row.env, row.trait][["observed", "mean"]].to_numpy().T
        assert row.n_test == len(y)
        assert row.msep == pytest.approx(((y - f) ** 2).sum() / len(y), rel=1e-12)
        r = stats.pearsonr(y, f).statistic if len(y) > 2 else np.nan
        assert row.pearson == pytest.approx(r, abs=1e-9, nan_ok=True)
    assert len(summary) == 2 * len(scores[["env", "trait"]].drop_duplicates())
    for row in summary.itertuples():
        alike = scores[(scores["env"] == row.env) & (scores["trait"] == row.trait)]
        assert row.n_partitions == (alike["model"] == row.model).sum()
        for name, sign in (("pearson", -1), ("msep", 1)):
            there = {model: found.dropna() for model, found in alike.groupby("model")[name]}
            means = {model: found.sum() / len(found) for model, found in there.items() if len(found)}
            own = there[row.model]
            mean = means.get(row.model, np.nan)
            error = np.sqrt(((own - mean) ** 2).sum() / (len(own) - 1) / len(own)) if len(own) > 1 else np.nan
            rank = 1 + sum(sign * other < sign * mean for other in means.values()) if len(own) else np.nan
            assert getattr(row, f"{name}_mean") == pytest.approx(mean, rel=1e-12, nan_ok=True)
            assert getattr(row, f"{name}_se") == pytest.approx(error, rel=1e-9, nan_ok=True)
            assert getattr(row, f"{name}_rank") == pytest.approx(rank, nan_ok=True)
