"""A line effect outside the relationship through fits and cross-validations."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import bmtme
from tests.helpers.fits import trial_of

SHORT = {"draws": 40, "tune": 40, "chains": 2, "seed": 1}
MODEL = bmtme.BMTME(line_effect=True)


def make_data(lines=24, envs=2, traits=2, reps=1, size=1.0, seed=2, missing=0.0):
    """A frame to which effects of the lines outside the relationship are added, and these."""
    sim = bmtme.simulate(
        lines=lines, envs=envs, traits=traits, reps=reps, relationship="markers", seed=seed, missing=missing
    )
    rng = np.random.default_rng(seed)
    names = [name for name in sim.frame if name not in ("line", "env", "rep")]
    effects = pd.DataFrame(size * rng.standard_normal((lines, traits)), sim.relationship.lines, names)
    frame = sim.frame.copy()
    frame[names] += effects.loc[frame["line"]].to_numpy()
    return frame, sim.relationship, effects


def run(frame, relationship, model=MODEL, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return bmtme.fit(trial_of(frame), relationship, model, **SHORT | settings)


@pytest.fixture(scope="module")
def hidden():
    """Records in which one line has none, and a fit of them."""
    frame, relationship, _ = make_data()
    frame = frame[frame["line"] != "L03"]
    return frame, relationship, run(frame, relationship)


def test_what_a_fit_tells(hidden, tmp_path):
    *_, fit = hidden
    posterior = fit.idata.posterior
    assert posterior["Sigma_r"].dims == ("chain", "draw", "trait", "trait_bis")
    assert posterior["r"].dims == ("chain", "draw", "line", "trait")
    summary = fit.summary()
    assert {"Sigma_r[T1, T1]", "Sigma_r[T1, T2]", "Sigma_r[T2, T2]"} <= set(summary.index)
    assert fit.run["settings"]["model"]["line_effect"] is True
    # V / (V + R), V = c Sigma_t,ll (1 + Sigma_E,ii) + Sigma_r,ll
    S, E, r, R = (posterior[name].values for name in ("Sigma_t", "Sigma_E", "Sigma_r", "R_e"))
    V = fit.run["facts"]["spread"] * S[..., 0, 0] * (1 + E[..., 1, 1]) + r[..., 0, 0]
    assert summary.loc["heritability[E2, T1]", "mean"] == pytest.approx((V / (V + R[..., 0, 0])).mean())
    fit.save(tmp_path / "run")
    loaded = bmtme.load(tmp_path / "run")
    pd.testing.assert_frame_equal(loaded.summary(), summary)
    pd.testing.assert_frame_equal(loaded.predictions(), fit.predictions())


def test_predictions_count_the_line_effects(hidden):
    """Those of lines with records contain theirs; of others they know the variance."""
    _, relationship, fit = hidden
    posterior = fit.idata.posterior
    total = posterior["beta"] + posterior["b1"] + posterior["b2"] + posterior["r"]
    table = fit.predictions().set_index(["line", "env", "trait"])
    for line, env, trait in (("L01", "E1", "T1"), ("L24", "E2", "T2")):
        draws = total.sel(line=line, env=env, trait=trait).values
        assert table.loc[(line, env, trait), "mean"] == pytest.approx(draws.mean(), rel=1e-9)
        assert table.loc[(line, env, trait), "sd"] == pytest.approx(draws.std(ddof=1), rel=1e-9)
    lines = posterior["line"].values.tolist()
    G = pd.DataFrame(relationship.matrix, relationship.lines, relationship.lines)
    weights = np.linalg.lstsq(G.loc[lines, lines].to_numpy(), G.loc[lines, "L03"].to_numpy(), rcond=1e-9)[0]
    u = (posterior["b1"] + posterior["b2"]).sel(env="E1", trait="T1").transpose("chain", "draw", "line").values
    mean = u @ weights + posterior["beta"].sel(env="E1", trait="T1").values
    C = posterior["Sigma_t"].values[..., 0, 0] * (1 + posterior["Sigma_E"].values[..., 0, 0])
    spare = G.loc["L03", "L03"] - weights @ G.loc[lines, "L03"].to_numpy()
    extra = spare * C + posterior["Sigma_r"].values[..., 0, 0]
    row = table.loc[("L03", "E1", "T1")]
    assert row["mean"] == pytest.approx(mean.mean(), rel=1e-6)
    assert row["sd"] == pytest.approx(np.sqrt(mean.var(ddof=1) + extra.mean()), rel=1e-6)


@pytest.mark.parametrize("keep", ["thin", "none"])
def test_effects_kept_otherwise(hidden, keep):
    frame, relationship, fit = hidden
    other = run(frame, relationship, keep_effects=keep)
    np.testing.assert_array_equal(other.idata.posterior["Sigma_r"].values, fit.idata.posterior["Sigma_r"].values)
    if keep == "thin":
        assert "r_mean" in other.idata.effects
        mean = fit.idata.posterior["r"].mean(["chain", "draw"]).values
        np.testing.assert_allclose(other.idata.effects["r_mean"].values, mean, atol=1e-9)
        pd.testing.assert_frame_equal(other.predictions(), fit.predictions())


def test_what_is_simulated_is_found():
    """Sigma_r and the effects themselves, beside a relationship that says little about them."""
    frame, relationship, effects = make_data(lines=150, envs=4, size=1.0, missing=0.2)
    fit = run(frame, relationship, draws=400, tune=400, chains=2)
    summary = fit.summary()
    for trait in ("T1", "T2"):
        row = summary.loc[f"Sigma_r[{trait}, {trait}]"]
        assert row["lower"] < effects[trait].var() < row["upper"]
        assert row["upper"] < 3.0
        found = fit.idata.posterior["r"].mean(["chain", "draw"]).sel(trait=trait).to_series()
        assert np.corrcoef(found, effects[trait].loc[found.index])[0, 1] > 0.4
    without, relationship, _ = make_data(lines=150, envs=4, size=0.0, missing=0.2)
    assert run(without, relationship, draws=400, tune=400).summary().loc["Sigma_r[T2, T2]", "lower"] < 0.05


def test_unequal_replication_and_clones():
    """Rows are not scaled by plot multiples, as without a line effect they may be."""
    frame, relationship, _ = make_data(reps=3)
    rng = np.random.default_rng(1)
    frame = frame[(frame["rep"] == "1") | (rng.random(len(frame)) < 0.4)]
    assert np.isfinite(run(frame, relationship).predictions()["mean"]).all()
    one = frame[frame["env"] == "E1"]
    assert np.isfinite(run(one, relationship).predictions()["mean"]).all()


@pytest.mark.parametrize(
    "model",
    [
        bmtme.BMTME("diagonal", line_effect=True),
        bmtme.BMTME(genetic=bmtme.Free(), residual="by_env", line_effect=True),
        bmtme.SingleTrait(bmtme.BMTME(genetic=bmtme.Free(), residual="by_env", line_effect=True)),
    ],
)
def test_with_other_structures(model, tmp_path):
    frame, relationship, _ = make_data()
    fit = run(frame[frame["line"] != "L05"], relationship, model)
    assert "Sigma_r[T2, T2]" in fit.summary().index
    assert ("Sigma_r[T1, T2]" in fit.summary().index) is (getattr(model, "structure", "") == "unstructured")
    fit.save(tmp_path / "run")
    pd.testing.assert_frame_equal(bmtme.load(tmp_path / "run").summary(), fit.summary())
    again = run(frame[frame["line"] != "L05"].sample(frac=1, random_state=1), relationship, model, cores=1)
    pd.testing.assert_frame_equal(
        again.predictions().sort_values(["line", "env", "trait"], ignore_index=True),
        fit.predictions().sort_values(["line", "env", "trait"], ignore_index=True),
    )


def test_in_a_cross_validation():
    frame, relationship, _ = make_data(reps=2)
    models = {"line": MODEL, "none": bmtme.BMTME(), "single": bmtme.SingleTrait(MODEL)}
    for scheme in (bmtme.CV1(2, 0.25), bmtme.NewLines(2)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            cv = bmtme.cross_validate(trial_of(frame), relationship, models, scheme, workers=1, **SHORT)
        assert not cv.failures
        assert cv.scores["pearson"].notna().any()
        assert cv.run["settings"]["models"]["line"]["line_effect"] is True


def test_what_cannot_be_told_is_refused():
    frame, relationship, _ = make_data()
    with pytest.raises(bmtme.UsageError, match="needs a relationship that says more than the identity"):
        run(frame, bmtme.Relationship.identity(relationship.lines))
    one = frame[frame["env"] == "E1"]
    with pytest.raises(bmtme.UsageError, match="two environments, or replicates: with single plots"):
        run(one, relationship)
    with pytest.raises(bmtme.UsageError, match="does not go with structure='standard'"):
        bmtme.BMTME("standard", line_effect=True)
    with pytest.raises(bmtme.UsageError, match="line_effect of a model must be True or False, got 1"):
        bmtme.BMTME(line_effect=1)
    with pytest.raises(bmtme.UsageError, match=r"sampler='gibbs' .* has the line effect: leave sampler out"):
        run(frame, relationship, sampler="gibbs")
