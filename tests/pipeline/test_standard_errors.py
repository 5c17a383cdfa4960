"""Fits of adjusted means with known standard errors: what is refused, and what comes out."""

import numpy as np
import pandas as pd
import pytest

import bmtme
from bmtme import BMTME, CV1, CV2, SingleTrait, Trial, UsageError, cross_validate, fit, simulate
from bmtme.decisions.covariances import average_errors, count_plots
from bmtme.report.tables import describe_fit
from tests.decisions.test_leave_one_out import compare, make_spread_fit, write_out
from tests.helpers.posteriors import make_setting

pytestmark = pytest.mark.filterwarnings("ignore:a short run")
SHORT = {"draws": 60, "tune": 60, "chains": 2, "seed": 1}


def make_data(lines=20, missing_traits=0.1, seed=2, **columns):
    sim = simulate(
        lines=lines, envs=2, traits=2, reps=1, missing_traits=missing_traits, relationship="markers", seed=seed
    )
    rng = np.random.default_rng(3)
    frame = sim.frame.copy()
    for trait in ("T1", "T2"):
        spread = frame[trait].std()
        frame[f"{trait}_se"] = spread * rng.uniform(0.2, 0.5, len(frame))
        frame[trait] += frame[f"{trait}_se"] * rng.normal(size=len(frame))
    usual = {"line": "line", "env": "env", "traits": ["T1", "T2"], "se": {"T1": "T1_se", "T2": "T2_se"}}
    return Trial.from_frame(frame, **usual | columns), sim.relationship


@pytest.fixture(scope="module")
def data():
    return make_data(se_correlation=0.4)


@pytest.mark.parametrize(
    ("columns", "settings", "message"),
    [
        ({}, {}, r"several traits need se_correlation=.*one trait at a time with bmtme.SingleTrait"),
        ({"se": {"T1": "T1_se"}}, {}, r"traits 'T2' have no standard errors and others have"),
        ({"se_correlation": 0.4}, {"sampler": "gibbs"}, r"sampler='gibbs' does not serve standard errors"),
        (
            {"se_correlation": 0.4},
            {"model": BMTME(rep_effect="random")},
            r"rep_effect='random' does not go with standard",
        ),
    ],
)
def test_what_is_refused(columns, settings, message):
    trial, relationship = make_data(**columns)
    with pytest.raises(UsageError, match=message):
        fit(trial, relationship, **SHORT | settings)


def test_records_by_their_other_traits_are_refused(data):
    with pytest.raises(UsageError, match=r"of='record' does not serve records with standard errors"):
        cross_validate(*data, BMTME(), CV2(["T1"], ["E1"], of="record"), draws=10, tune=10, chains=1)


def test_a_fit_of_several_traits(data, tmp_path):
    trial, relationship = data
    result = fit(trial, relationship, **SHORT)
    assert result.idata["posterior"]["R_e"].dims == ("chain", "draw", "trait", "trait_bis")
    observed = result.idata["observed_data"]
    seen = ~np.isnan(trial.values).all(axis=1)
    np.testing.assert_array_equal(observed["record_se"].values, trial.se[seen])
    assert "(with standard errors)" in describe_fit(result.summary(), result.run, trial)
    result.save(tmp_path / "fit")
    loaded = bmtme.load(tmp_path / "fit")
    np.testing.assert_array_equal(loaded.idata["observed_data"]["record_se"].values, trial.se[seen])
    np.testing.assert_allclose(loaded.idata["observed_data"]["se_correlation"].values, [[1.0, 0.4], [0.4, 1.0]])
    pd.testing.assert_frame_equal(loaded.predictions(), result.predictions())
    with pytest.raises(UsageError, match=r"predictions\(of='record'\) do not serve"):
        result.predictions(of="record")
    with pytest.raises(UsageError, match=r"do not serve records with standard errors"):
        result.to_arviz(log_likelihood=True)
    new = result.to_arviz(posterior_predictive=True, draws=20)
    assert np.isfinite(new["posterior_predictive"]["y"].values).all()


def test_one_trait_at_a_time():
    """One of them with errors; residuals of each environment."""
    trial, relationship = make_data(se={"T1": "T1_se"})
    result = fit(trial, relationship, SingleTrait(BMTME(residual="by_env")), **SHORT)
    assert "(with standard errors of T1)" in describe_fit(result.summary(), result.run, trial)
    errors = average_errors(result, list(trial.lines), count_plots(result, list(trial.lines)))
    np.testing.assert_allclose(errors, np.nan_to_num(trial.mean_errors()))
    assert errors[:, :, 0].any()
    assert not errors[:, :, 1].any()


def test_hidden_means_have_their_errors(data):
    """The interval of what was observed is wider than that of a value without error."""
    cv = cross_validate(*data, BMTME(), CV1(1, 0.3), draws=40, tune=30, chains=1, workers=1)
    table = cv.predictions
    assert (table["mean_upper"] - table["mean_lower"] > table["upper"] - table["lower"]).all()


@pytest.mark.parametrize("by", ["record", "line"])
def test_left_out_records(by):
    s = make_setting(outside=0.4)
    result = make_spread_fit(s, "exchangeable")
    observed = result._groups["observed_data"]
    se = np.random.default_rng(1).uniform(0.2, 1.5, observed["Y"].shape)
    P = np.array([[1.0, 0.3], [0.3, 1.0]])
    result._groups["observed_data"] = observed.assign_coords(
        record_se=(("record", "trait"), np.where(np.isnan(observed["Y"]), np.nan, se)),
        se_correlation=(("trait", "trait_bis"), P),
    )
    there = np.flatnonzero(~np.isnan(s.y).all(axis=1))
    of = {int(n): own for n, own in zip(there, se, strict=True)}
    written = write_out(s, "exchangeable", lambda n, l, m, q: of[n][l] * of[n][q] * P[l, q] * (n == m))
    compare(result.leave_one_out(by), s, written, by, every=3)
