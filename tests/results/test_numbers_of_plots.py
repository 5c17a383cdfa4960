"""Records that are means of several plots, in what is told of a fit: as so many plots with the same value would be."""

import numpy as np
import pandas as pd
import pytest

import bmtme
from bmtme import BMTME, CV1, CV2, Trial, cross_validate, fit, simulate
from bmtme.report.tables import describe_fit
from bmtme.results.replicates import Levels
from bmtme.results.residuals import Plots, tell_residuals
from tests.decisions.test_leave_one_out import compare, make_spread_fit, write_out
from tests.helpers.posteriors import make_setting

pytestmark = pytest.mark.filterwarnings("ignore:a short run")
NUMBER = np.array([2, 1, 3, 4])
LINE, ENV = np.array([0, 0, 1, 2]), np.zeros(4, np.int64)


def test_what_other_traits_of_a_plot_tell():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(4, 2))
    values[:, 0] = np.nan
    values[1] = np.nan
    wanted = np.array([[True, False]] * 4)
    A = rng.normal(size=(5, 2, 4))
    R, draws = A @ A.transpose(0, 2, 1), rng.normal(size=(2, 3, 5))
    times = np.repeat(np.arange(4), NUMBER)
    found = [
        tell_residuals(plots, 0, 0, np.arange(3), lambda t: draws[t], R)
        for plots in (
            Plots(LINE, ENV, values, wanted, number=NUMBER),
            Plots(LINE[times], ENV[times], values[times], wanted[times]),
        )
    ]
    np.testing.assert_allclose(found[0].shift, found[1].shift)
    np.testing.assert_allclose(found[0].variance, found[1].variance)
    assert np.abs(found[0].shift).max() > 0.1
    assert Plots(LINE, ENV, values, wanted, number=NUMBER).count((3, 1, 2))[:, 0, 0].tolist() == [3, 3, 4]


def test_effects_of_replicates_in_a_mean():
    rng = np.random.default_rng(1)
    seen, level, strange = (
        np.ones((4, 1), bool),
        np.array([[0], [1], [-1], [1]]),
        np.array([-1, -1, 0, -1])[:, None, None],
    )
    slope, mark = np.array([[4]]), rng.normal(size=(4, 1))
    effects, sd, times = rng.normal(size=(5, 5)), rng.uniform(size=(5, 1)), np.repeat(np.arange(4), NUMBER)
    one = Levels(LINE, ENV, seen, level, strange, slope, mark, NUMBER).add_up(0, 0, np.arange(3), effects, sd)
    parts = LINE[times], ENV[times], seen[times], level[times], strange[times], slope, mark[times], np.ones(len(times))
    other = Levels(*parts).add_up(0, 0, np.arange(3), effects, sd)
    np.testing.assert_allclose(one.shift, other.shift)
    np.testing.assert_allclose(one.variance, other.variance)


@pytest.mark.parametrize("by", ["record", "cell"])
def test_left_out_records(by):
    s = make_setting(outside=0.4)
    result = make_spread_fit(s, "exchangeable")
    observed = result._groups["observed_data"]
    number = 1 + np.arange(observed.sizes["record"]) % 4
    result._groups["observed_data"] = observed.assign_coords(record_plots=("record", number))
    there = np.flatnonzero(~np.isnan(s.y).all(axis=1))
    of = dict(zip(there.tolist(), number.tolist(), strict=True))
    written = write_out(s, "exchangeable", lambda n, l, m, q: s.R[s.plots[n, 1], l, q] * (n == m) * (1.0 / of[n] - 1.0))
    compare(result.leave_one_out(by), s, written, by, every=3)


@pytest.fixture(scope="module")
def data():
    sim = simulate(lines=16, envs=2, traits=2, reps=1, missing_traits=0.1, relationship="markers", seed=2)
    number = np.random.default_rng(3).integers(1, 5, len(sim.frame))
    trial = Trial.from_frame(sim.frame.assign(n=number), line="line", env="env", traits=["T1", "T2"], n_plots="n")
    return trial, sim.relationship


def test_a_fit(data, tmp_path):
    trial, relationship = data
    result = fit(trial, relationship, draws=40, tune=20, chains=2, seed=1)
    predictions = result.predictions()
    plots = trial.plots()
    for row in predictions.itertuples():
        j, i, l = trial.lines.index(row.line), trial.envs.index(row.env), trial.traits.index(row.trait)
        assert row.n_obs == plots[j, i, l]
    observed = result.idata["observed_data"]
    seen = ~np.isnan(trial.values).all(axis=1)
    assert observed["record_plots"].values.tolist() == trial.n_plots[seen].tolist()
    assert "means of 1 to 4 plots" in describe_fit(result.summary(), result.run, trial)
    result.save(tmp_path / "fit")
    loaded = bmtme.load(tmp_path / "fit")
    assert loaded.idata["observed_data"]["record_plots"].values.tolist() == trial.n_plots[seen].tolist()
    pd.testing.assert_frame_equal(loaded.predictions(), predictions)


def test_hidden_means_are_held_against_their_plots(data):
    """The noise of what is hidden is that of a plot over the number behind it; of records, by their other traits."""
    trial, relationship = data
    settings = {"draws": 30, "tune": 20, "chains": 1, "workers": 1}
    for scheme in (CV1(1, 0.3), CV2(["T1"], ["E1"], of="record")):
        cv = cross_validate(trial, relationship, {"un": BMTME(), "mean": bmtme.EnvironmentMeans()}, scheme, **settings)
        table = cv.predictions
        many = table["n_obs"] > 1
        width, new = table["mean_upper"] - table["mean_lower"], table["upper"] - table["lower"]
        assert many.any()
        model = table["model"] == "un"  # means of environments know nothing of plots within cells
        assert (width[many & model] < new[many & model]).all()
        np.testing.assert_allclose(width[~many & model], new[~many & model])
