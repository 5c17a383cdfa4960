"""Records left out of real fits: what a fit keeps is enough, whatever the model; formulas in tests/decisions."""

import numpy as np
import pytest

from bmtme import BMTME, Free, Relationship, SingleTrait, collection, load
from tests.helpers.fits import fit_frame
from tests.helpers.trials import simulate_small

pytestmark = pytest.mark.filterwarnings("ignore:a short run:UserWarning")

MODELS = {
    "unstructured": BMTME(),
    "paper's means": BMTME(means="paper"),
    "free, by environment, line effect": BMTME(genetic=Free(), residual="by_env", line_effect=True),
    "fixed replicates": BMTME(rep_effect="fixed"),
    "random replicates": BMTME(rep_effect="random"),
    "single": SingleTrait(BMTME(rep_effect="random")),
}


@pytest.fixture(scope="module")
def frame():
    """Two replicates, gaps, the last line without a record, rows in no order."""
    sim = simulate_small(reps=2, missing=0.1)
    rows = sim.frame[sim.frame["line"] != sim.relationship.lines[-1]].sample(frac=1.0, random_state=1)
    return rows, sim.relationship


@pytest.mark.parametrize("name", MODELS)
def test_every_model(name, frame, tmp_path):
    rows, relationship = frame
    fit = fit_frame(rows, relationship, MODELS[name])
    table = fit.leave_one_out()
    wide = rows[["T1", "T2", "T3"]].to_numpy()
    wide = wide[~np.isnan(wide).all(axis=1)]
    assert table["observed"].tolist() == wide[~np.isnan(wide)].tolist()
    if name == "single":
        told = fit._groups["observed_data"]["record_replicate"].values
        there = rows[["T1", "T2", "T3"]].notna().any(axis=1)
        labels = (rows["env"] + "/" + rows["rep"].astype(str))[there]
        assert told.tolist() == [[label] * 3 for label in labels]
    z = (table["observed"] - table["mean"]) / table["sd"]
    assert 0.6 < np.sqrt((z**2).mean()) < 1.5
    fit.save(tmp_path / "run")
    assert load(tmp_path / "run").leave_one_out().equals(table)


@pytest.mark.parametrize("name", ["unstructured", "fixed replicates", "paper's means"])
def test_rows_in_another_order(name, frame):
    rows, relationship = frame
    tables = []
    for seed in (2, 3):
        mixed = rows.sample(frac=1.0, random_state=seed)
        related = relationship.subset(np.random.default_rng(seed).permutation(relationship.lines).tolist())
        table = fit_frame(mixed, related, MODELS[name]).leave_one_out("cell").drop(columns="record")
        tables.append(table.sort_values(["line", "env", "trait", "observed"]).reset_index(drop=True))
    assert tables[0].equals(tables[1])


def test_too_many_values(frame, monkeypatch):
    """The relationship is not kept for nothing: of several traits all values count, of single ones each."""
    rows, relationship = frame
    monkeypatch.setattr(collection, "MOST_RELATED", int(rows[["T1", "T2", "T3"]].notna().sum().max()))
    assert "relationship" not in fit_frame(rows, relationship, draws=5, tune=5)._groups
    assert "relationship" in fit_frame(rows, relationship, SingleTrait(), draws=5, tune=5)._groups


def test_unrelated_lines(frame, tmp_path):
    rows, relationship = frame
    fit = fit_frame(rows, Relationship.identity(relationship.lines))
    assert "G" not in fit._groups["relationship"]
    fit.save(tmp_path / "run")
    assert load(tmp_path / "run").leave_one_out().equals(fit.leave_one_out())
    same = fit_frame(rows, Relationship(np.eye(len(relationship.lines)), lines=relationship.lines))
    np.testing.assert_allclose(fit.leave_one_out("line")["mean"], same.leave_one_out("line")["mean"], rtol=0.2)
    assert fit.leave_one_out()["mean"].notna().all()
