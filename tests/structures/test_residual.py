"""One residual covariance that is larger or smaller in each environment, by hand and through a fit."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bmtme
from bmtme.model.codes import DIAGONAL, FULL, HALF_T, CovariancePrior
from bmtme.structures.part import build_matrices
from bmtme.structures.scaled import Scaled, gather_deviations, spread_deviations
from bmtme.structures.structure import make_part

SHORT = {"draws": 100, "tune": 100, "chains": 2, "seed": 4}


def make_parts(recorded, shape=FULL):
    """Over the recorded and over all columns."""
    prior = CovariancePrior(HALF_T, shape, 2.5, np.array([0.3, 2.0]), 0.0, np.eye(2))
    recorded = np.array(recorded, bool)
    return [make_part(Scaled(), 0, columns, prior, prior, True) for columns in (recorded, np.ones_like(recorded))]


def test_contrasts_keep_lengths_and_sum_to_zero():
    rng = np.random.default_rng(1)
    for n in (2, 3, 7):
        z, g, back = rng.standard_normal(n - 1), np.empty(n), np.empty(n - 1)
        spread_deviations(z, g)
        gather_deviations(g, back)
        assert g.sum() == pytest.approx(0.0, abs=1e-12)
        assert g @ g == pytest.approx(z @ z)
        np.testing.assert_allclose(back, z, rtol=1e-12)
    spread_deviations(np.zeros(0), alone := np.ones(1))
    assert alone[0] == 0.0


def test_scaled_residuals_by_hand():
    """R_e in each environment where all scales are one, and otherwise on geometric average."""
    part, _ = make_parts([[1, 1], [1, 0], [1, 1]])
    assert part.size == 5
    own = np.array([0.5, -2.0, 0.3])
    z = np.array([0.4, -0.7])
    R = build_matrices(part, np.array([[*own, 0.0, 0.0], [*own, *z]]), (6, 2)).reshape(2, 3, 2, 2)
    R_e = np.array([[0.25, -np.tanh(0.3)], [-np.tanh(0.3), 4.0]])  # standard deviations 0.5 and 2
    np.testing.assert_allclose(R[0], np.broadcast_to(R_e, (3, 2, 2)), rtol=1e-12)
    f = R[1, :, 0, 0] / 0.25
    np.testing.assert_allclose(R[1], f[:, None, None] * R_e, rtol=1e-12)
    assert np.log(f).mean() == pytest.approx(0.0, abs=1e-12)
    assert np.square(np.log(f) / 2).sum() == pytest.approx(z @ z)


def test_prior_of_scaled_residuals():
    """The variance of the deviations integrated out by quadrature, half-t variances of R_e; up to a constant."""
    part, _ = make_parts(np.ones((4, 2)), DIAGONAL)
    variances = np.geomspace(1e-6, 1e4, 20_000)
    law = stats.invgamma.pdf(variances, 2.0, scale=0.18)
    differences = []
    for theta in np.random.default_rng(1).standard_normal((4, part.size)):
        density = (2 * np.pi * variances) ** -1.5 * np.exp(-(theta[2:] @ theta[2:]) / 2 / variances)
        expected = np.log(np.trapezoid(density * law, variances))
        expected += stats.t.logpdf(theta[:2] / [0.3, 2.0], 2.5).sum()
        differences.append(Scaled.back(part, theta, np.zeros((8, 2)), np.empty(part.size)) - expected)
    assert np.ptp(differences) < 1e-4


def test_environments_without_records_follow_the_prior():
    """Deviations of an unseen environment from the mean of those seen: their joint law with these, by direct draws."""
    part, whole = make_parts([[1, 1], [0, 0], [1, 1]])
    rng = np.random.default_rng(2)
    found, direct = [], []
    for _ in range(6000):
        logs = np.sqrt(0.18 / rng.gamma(2.0)) * rng.standard_normal(3)
        direct.append([logs[0] - logs[2], logs[1] - (logs[0] + logs[2]) / 2])
        z, every = np.empty(1), np.empty(whole.size)
        gather_deviations(np.array([1.0, -1.0]) * direct[-1][0] / 2, z)
        assert Scaled.complete(rng, part, np.array([0.5, -2.0, 0.3, *z]), every)
        sd = np.sqrt(build_matrices(whole, every[None], (6, 2))[0].reshape(3, 2, 2)[:, 0, 0])
        found.append([np.log(sd[0] / sd[2]), np.log(sd[1]) - np.log(sd[0] * sd[2]) / 2])
        assert sd[0] * sd[2] == pytest.approx(0.25)
    found, direct = np.array(found), np.array(direct)
    np.testing.assert_allclose(found[:, 0], direct[:, 0], atol=1e-9)
    assert stats.ks_2samp(found[:, 1], direct[:, 1]).pvalue > 1e-3
    large = np.abs(direct[:, 0]) > np.median(np.abs(direct[:, 0]))
    assert stats.ks_2samp(found[large, 1], direct[large, 1]).pvalue > 1e-3
    assert stats.ks_2samp(found[~large, 1], direct[~large, 1]).pvalue > 1e-3


@pytest.fixture(scope="module")
def noisy():
    """Three environments with one twice as noisy, a column and an environment more without records."""
    sim = bmtme.simulate(lines=40, envs=4, traits=2, reps=2, relationship="markers", seed=3)
    frame = sim.frame.copy()
    rng, spread = np.random.default_rng(1), frame[["T1", "T2"]].std()
    rows = frame["env"] == "E2"
    frame.loc[rows, ["T1", "T2"]] += 2.0 * rng.standard_normal((rows.sum(), 2)) * spread.to_numpy()
    frame.loc[frame["env"] == "E3", "T2"] = np.nan
    frame.loc[frame["env"] == "E4", ["T1", "T2"]] = np.nan
    return bmtme.Trial.from_frame(frame, line="line", env="env", traits=["T1", "T2"], rep="rep"), sim.relationship


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("structure", ["unstructured", "diagonal"])
def test_scaled_through_a_fit(noisy, structure, tmp_path):
    model = bmtme.BMTME(structure, residual="scaled", prior_e=bmtme.HalfT(2.0, 3.0))
    fit = bmtme.fit(*noisy, model, **SHORT)
    assert fit.run["settings"]["model"]["residual"] == "scaled"
    R, summary = fit.idata.posterior["R_e"], fit.summary()
    assert R.dims == ("chain", "draw", "env", "trait", "trait_bis")
    ratio = R / R.sel(env="E1")
    scale = ratio.sel(trait="T1", trait_bis="T1")
    np.testing.assert_allclose(ratio.sel(trait="T2", trait_bis="T2"), scale)
    assert (scale.sel(env="E2") > 2.0).all()
    assert float(np.abs(np.log(scale.sel(env="E3"))).mean()) < 0.5
    if structure == "unstructured":
        np.testing.assert_allclose(ratio.sel(trait="T1", trait_bis="T2"), scale)
        assert "residual_correlation[E1, T1, T2]" in summary.index
    notes = summary["note"]
    assert "no record" not in notes["R_e[E3, T2, T2]"]  # told by the other trait
    assert "no record: from the other environments" in notes["R_e[E4, T2, T2]"]
    fit.save(tmp_path / "run")
    pd.testing.assert_frame_equal(bmtme.load(tmp_path / "run").summary(), summary)
    again = bmtme.fit(*noisy, model, **SHORT, cores=1)
    pd.testing.assert_frame_equal(again.predictions(), fit.predictions())


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_scaled_in_a_cross_validation(noisy):
    trial, relationship = noisy
    model = bmtme.BMTME(genetic=bmtme.Separable(), residual="scaled")
    frame = trial.to_frame()
    seen = bmtme.Trial.from_frame(frame[frame["env"] != "E4"], line="line", env="env", traits=["T1", "T2"], rep="rep")
    cv = bmtme.cross_validate(seen, relationship, model, bmtme.CV1(2), **SHORT)
    assert cv.scores["msep"].notna().all()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_scaled_in_one_environment_is_the_shared_covariance():
    """Whose posterior it has, within Monte Carlo error."""
    sim = bmtme.simulate(lines=40, envs=1, traits=2, reps=2, relationship="markers", seed=3)
    trial = bmtme.Trial.from_frame(sim.frame, line="line", env="env", traits=["T1", "T2"], rep="rep")
    run = {"draws": 1000, "tune": 300, "chains": 2, "seed": 1}
    scaled, shared = (
        bmtme.fit(trial, sim.relationship, bmtme.BMTME(residual=name), **run).summary() for name in ("scaled", "shared")
    )
    for pair in ("T1, T1", "T1, T2", "T2, T2"):
        one, other = scaled.loc[f"R_e[E1, {pair}]"], shared.loc[f"R_e[{pair}]"]
        error = np.sqrt(one["sd"] ** 2 / one["ess_bulk"] + other["sd"] ** 2 / other["ess_bulk"])
        assert abs(one["mean"] - other["mean"]) < 4.5 * error


def test_what_scaled_goes_with():
    with pytest.raises(bmtme.UsageError, match="structure='standard' does not go with residual='scaled'"):
        bmtme.BMTME("standard", residual="scaled")
    with pytest.raises(bmtme.UsageError, match="prior_e belongs to residual='shared' or 'scaled'"):
        bmtme.BMTME(residual="by_env", prior_e=bmtme.HalfT(2.0, 3.0))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("residual", ["by_env", "common_correlation", "scaled"])
def test_notes_on_environments_without_records(noisy, residual):
    """A residual SD of unknown spread has no mean; a correlation has one, and is the prior's or that of all others."""
    notes = bmtme.fit(*noisy, bmtme.BMTME(residual=residual), **SHORT).summary()["note"]
    alone = residual == "by_env"
    for trait in ("T1", "T2"):
        assert "it has no mean" in notes[f"R_e[E4, {trait}, {trait}]"]
        assert "no mean" not in notes[f"R_e[E1, {trait}, {trait}]"]
    for env in ("E3", "E4"):
        note = notes[f"residual_correlation[{env}, T1, T2]"]
        assert "no mean" not in note
        assert ("prior only: the two traits are never on one record in this environment" in note) is alone
    assert ("prior only" in notes["R_e[E4, T1, T2]"]) is alone
    assert ("no mean" in notes["R_e[E4, T1, T2]"]) is not alone
    assert "prior only" not in notes["residual_correlation[E1, T1, T2]"]
