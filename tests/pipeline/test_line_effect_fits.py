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


def relate(lines, matrix):
    return bmtme.Relationship(matrix, lines=list(lines))


@pytest.mark.parametrize(
    "matrix",
    [
        np.eye(24),
        2 * np.eye(24),
        0.3 * np.eye(24) + 0.7,
        # G = a I + v 1' + 1 v': the rest of it goes into the means.
        np.eye(24) + np.add.outer(np.linspace(0.5, 0.6, 24), np.linspace(0.5, 0.6, 24)),
        np.diag(np.linspace(1, 1.02, 24)),
    ],
)
def test_lines_related_alike_are_refused(matrix):
    """The likelihood is the same whatever goes from one of the two effects to the other."""
    frame, relationship, _ = make_data()
    with pytest.raises(bmtme.UsageError, match=r"related unequally: the 24 lines with a record of trait 'T1'"):
        run(frame, relate(relationship.lines, matrix))


def test_what_tells_is_counted_among_lines_with_a_record_and_trait_by_trait():
    frame, relationship, _ = make_data()
    lines = list(relationship.lines)
    # Families among lines without a record only.
    matrix = np.eye(24)
    matrix[12:, 12:] += 0.5
    with pytest.raises(bmtme.UsageError, match="the 12 lines with a record of trait 'T1'"):
        run(frame[frame["line"].isin(lines[:12])], relate(lines, matrix))
    # T2 of every line in one environment only, of half of them in each.
    apart = frame.copy()
    apart.loc[(frame["env"] == "E1") == frame["line"].isin(lines[:12]), "T2"] = np.nan
    with pytest.raises(bmtme.UsageError, match="one record each for the 24 lines with a record of trait 'T2'"):
        run(apart, relationship)
    with pytest.raises(bmtme.UsageError, match="trait 'T2': line_effect=True needs records of lines"):
        run(apart, relationship, bmtme.SingleTrait(MODEL))
    with pytest.raises(bmtme.UsageError, match="are clones of one"):
        run(frame, relate(lines, np.ones((24, 24))))


def test_few_records_that_tell_are_said():
    frame, relationship, _ = make_data()
    few = frame[(frame["env"] == "E1") | frame["line"].isin(["L01", "L02"])]
    with pytest.warns(UserWarning, match=r"few records are further ones .* of 'T1' \(2\), 'T2' \(2\)"):
        bmtme.fit(trial_of(few), relationship, MODEL, **SHORT)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        bmtme.fit(trial_of(frame), relationship, MODEL, **SHORT)
        bmtme.fit(trial_of(few), relationship, **SHORT)
    assert not any("further ones" in str(each.message) for each in told)


@pytest.mark.parametrize("model", [MODEL, bmtme.SingleTrait(MODEL)])
def test_plots_imputed_beside_a_check_are_said(model):
    frame, relationship, _ = make_data(reps=8)
    check = frame[(frame["rep"] == "1") | (frame["line"] == "L01")]
    share = 23 * 7 / (24 * 8)
    message = rf"'L01' has 8 in 'E1', where 1 is usual, and {100 * share:.0f}% of the plots are imputed \(0% without"
    with pytest.warns(UserWarning, match=message):
        fit = bmtme.fit(trial_of(check), relationship, model, **SHORT)
    told = fit.run["data"]["imputed_share"]
    assert (told["T1"] if isinstance(told, dict) else told) == pytest.approx(share, abs=1e-6)
    with pytest.warns(UserWarning, match=message):
        cv = bmtme.cross_validate(trial_of(check), relationship, model, bmtme.NewLines(2), workers=1, **SHORT)
    assert any("is usual" in text for text in cv.warnings)
    even = frame[frame["rep"].isin(["1", "2"])]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        bmtme.fit(trial_of(even), relationship, model, **SHORT)
        bmtme.fit(trial_of(check), relationship, **SHORT)
    assert not any("is usual" in str(each.message) for each in said)


def test_notes_on_what_the_data_do_not_say():
    """Sigma_r of lines that are related nearly alike, and of traits that no line has on different records."""
    frame, relationship, _ = make_data(lines=60, envs=2, reps=2)
    noise = np.diag(np.linspace(0.6, 1.4, 60))
    vague = run(frame, relate(relationship.lines, noise), draws=200, tune=200).summary()["note"]
    clear = run(frame, relationship, draws=200, tune=200).summary()["note"]
    for name in ("Sigma_r[T1, T1]", "Sigma_t[T2, T2]"):
        assert "prior only: the data do not tell" in vague[name]
    assert not clear.str.contains("prior only").any()
    # T1 of half of the lines, T2 of the others: a line has two records of one trait.
    apart = frame.copy()
    apart.loc[frame["line"].isin(relationship.lines[:30]), "T1"] = np.nan
    apart.loc[~frame["line"].isin(relationship.lines[:30]), "T2"] = np.nan
    notes = run(apart, relationship).summary()["note"]
    assert notes["Sigma_r[T1, T2]"].startswith("prior only: no line has the two traits on different records")
    assert "different records" not in notes["Sigma_r[T1, T1]"]
    # Never on one record, but on different ones of one line.
    never = frame.copy()
    never.loc[frame["env"] == "E1", "T1"] = np.nan
    never.loc[frame["env"] == "E2", "T2"] = np.nan
    notes = run(never, relationship).summary()["note"]
    assert "different records" not in notes["Sigma_r[T1, T2]"]
    assert "never on one record" in notes["R_e[T1, T2]"]


def test_what_cannot_be_told_is_refused():
    frame, relationship, _ = make_data()
    one = frame[frame["env"] == "E1"]
    with pytest.raises(
        bmtme.UsageError, match="two environments, or replicates: with one record each for the 24 lines"
    ):
        run(one, relationship)
    with pytest.raises(bmtme.UsageError, match="does not go with structure='standard'"):
        bmtme.BMTME("standard", line_effect=True)
    with pytest.raises(bmtme.UsageError, match="line_effect of a model must be True or False, got 1"):
        bmtme.BMTME(line_effect=1)
    with pytest.raises(bmtme.UsageError, match=r"sampler='gibbs' .* has the line effect: leave sampler out"):
        run(frame, relationship, sampler="gibbs")
