"""The summary of a fit."""

import numpy as np
import pytest

from bmtme.results.convergence import describe_agreement
from tests.helpers.fits import fit_frame
from tests.helpers.trials import simulate_small

pytestmark = pytest.mark.filterwarnings("ignore:a short run")


def test_summary(awkward):
    table = awkward.summary()
    assert list(table.columns) == ["mean", "sd", "lower", "upper", "ess_bulk", "ess_tail", "r_hat", "note"]
    assert table.index.is_unique
    covariances = {"Sigma_t[T1, T1]", "Sigma_t[T1, T2]", "R_e[T2, T3]", "Sigma_E[E3, E3]"}
    derived = {"genetic_correlation[T1, T3]", "residual_correlation[T1, T2]", "heritability[E1, T1]"}
    assert {"beta[E4, T3]"} | covariances | derived <= set(table.index)
    assert len(table) == 12 + 6 + 6 + 4 + 3 + 3 + 12
    posterior = awkward.idata.posterior
    flat = posterior["Sigma_t"].sel(trait="T1", trait_bis="T2").values.ravel()
    expected = [flat.mean(), flat.std(ddof=1), *np.quantile(flat, [0.05, 0.95])]
    np.testing.assert_allclose(table.loc["Sigma_t[T1, T2]", ["mean", "sd", "lower", "upper"]].astype(float), expected)
    h2 = table.loc[[name for name in table.index if name.startswith("heritability")]]
    assert ((h2["lower"] > 0) & (h2["upper"] < 1)).all()


def test_heritability(awkward):
    """V / (V + R_e), V the expected sample variance of u over the lines with a record: u's by tr(K G K) / (J - 1)."""
    p = awkward.idata.posterior
    G = simulate_small(envs=4).relationship.matrix[:11, :11]
    K = np.eye(11) - 1 / 11
    c = np.trace(K @ G @ K) / 10
    genetic = c * p["Sigma_t"].sel(trait="T2", trait_bis="T2") * (1 + p["Sigma_E"].sel(env="E2", env_bis="E2"))
    expected = (genetic / (genetic + p["R_e"].sel(trait="T2", trait_bis="T2"))).mean()
    assert awkward.summary().loc["heritability[E2, T2]", "mean"] == pytest.approx(float(expected))


def test_what_only_the_prior_informs_is_marked(awkward):
    notes = awkward.summary()["note"]
    marked = set(notes[notes.str.contains("prior only")].index)
    border = {"genetic_correlation[T1, T3]", "Sigma_t[T1, T3]"}  # eleven lines, T1 on every other record
    assert marked - border == {
        "R_e[T1, T2]", "residual_correlation[T1, T2]", "Sigma_E[E4, E4]",
        *(f"heritability[E4, T{l}]" for l in (1, 2, 3)),
    }  # fmt: skip
    assert "never on one record" in notes["R_e[T1, T2]"]
    unrecorded = set(notes[notes.str.contains("no record")].index)
    assert unrecorded == {"beta[E3, T3]", "beta[E4, T1]", "beta[E4, T2]", "beta[E4, T3]"}


def test_names_with_commas_are_not_mixed_up():
    """An environment 'A' without a record says nothing about an environment 'A, B' with records."""
    sim = simulate_small()
    frame = sim.frame.replace({"env": {"E1": "A", "E2": "A, B", "E3": "B"}})
    frame.loc[frame["env"] == "A", ["T1", "T2", "T3"]] = np.nan
    notes = fit_frame(frame, sim.relationship).summary()["note"]
    assert "prior only" in notes["Sigma_E[A, A]"]
    assert "prior only" not in notes["Sigma_E[A, B, A, B]"]
    assert "prior only" not in notes["heritability[A, B, T1]"]


def test_complete_data_carry_no_mark():
    sim = simulate_small(missing=0.0)
    assert not fit_frame(sim.frame, sim.relationship).summary()["note"].str.contains("prior only|no record").any()


@pytest.mark.parametrize("draws, chains", [(1, 1), (3, 2), (5, 1)])
def test_very_short_runs_are_summarised(draws, chains):
    """Numbers come out and diagnostics are missing or flagged, without an error."""
    sim = simulate_small()
    result = fit_frame(sim.frame, sim.relationship, draws=draws, tune=0, chains=chains)
    table = result.summary()
    assert np.isfinite(table["mean"]).all()
    assert (table["sd"] >= 0).all()
    if draws < 4:
        assert table["r_hat"].isna().all()
        assert describe_agreement(table, result.run).startswith("Too few")
    assert not result.predictions()[["mean", "sd", "lower", "upper"]].isna().any(axis=None)


def test_tables_are_copies(awkward):
    for table in (awkward.summary(), awkward.predictions()):
        table.loc[:, "mean"] = 0.0
    assert (awkward.summary()["mean"] != 0).any()
    assert (awkward.predictions()["mean"] != 0).any()
