"""Notes of a summary: a note wherever something is missing, bounded by nothing, or does not fit."""

import numpy as np
import pandas as pd
import pytest

from bmtme import BMTME, Relationship, simulate
from bmtme.report.tables import describe_fit
from bmtme.results.convergence import advise_length
from bmtme.results.notes import PRIOR_ONLY
from bmtme.results.summary import note_diagnostics, note_width
from tests.helpers.fits import fit_covariances
from tests.helpers.trials import trial_of

pytestmark = pytest.mark.filterwarnings("ignore:a short run")


# --- diagnostics --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("draws, chains", [(1, 1), (3, 2), (5, 1), (20, 1), (20, 2)])
def test_no_missing_diagnostic_without_a_note(draws, chains):
    sim = simulate(lines=12, relationship="markers", seed=2)
    table = fit_covariances(sim.frame, sim.relationship, draws=draws, chains=chains, tune=0).summary()
    missing = table[["ess_bulk", "ess_tail", "r_hat"]].isna().any(axis=1)
    assert missing.all() == (draws < 4 or chains == 1)
    assert (table.loc[missing, "note"] != "").all()
    expected = "too few draws to judge" if draws < 4 else "one chain: R-hat unknown"
    assert table.loc[missing, "note"].str.contains(expected).all()


def test_what_the_diagnostics_say():
    nan = float("nan")
    assert note_diagnostics((4, 1000), False, 900.0, 800.0, 1.001) == []
    assert note_diagnostics((4, 1000), True, nan, nan, nan) == ["does not vary: R-hat and effective draws unknown"]
    assert note_diagnostics((1, 1000), False, 900.0, 800.0, nan) == ["one chain: R-hat unknown"]
    assert note_diagnostics((4, 1000), False, nan, 800.0, 1.0) == ["R-hat or effective draws could not be computed"]
    assert note_diagnostics((4, 1000), False, 900.0, 800.0, nan) == ["R-hat or effective draws could not be computed"]
    assert note_diagnostics((4, 2), False, nan, nan, nan) == ["too few draws to judge"]
    assert note_diagnostics((4, 1000), False, 900.0, 399.0, 1.02) == [
        "R-hat above 1.01", "fewer than 400 effective draws"
    ]  # fmt: skip


# --- intervals ----------------------------------------------------------------------------------------------------


def test_intervals_that_cover_almost_everything():
    assert note_width((0.0, 1.0), 0.84) == []
    assert note_width((0.0, 1.0), 0.97) == ["the data hardly say: the interval covers 0.97 of (0, 1)"]
    assert note_width((-1.0, 1.0), 1.6) == []
    assert note_width((-1.0, 1.0), 1.8) == ["the data hardly say: the interval covers 0.90 of (-1, 1)"]
    assert note_width(None, 1e6) == []


def test_the_printed_report_says_so():
    """One record a line: marked, and the reason given under the table, once."""
    sim = simulate(lines=40, envs=1, traits=1, seed=2)
    trial = trial_of(sim.frame)
    result = fit_covariances(sim.frame, Relationship.identity(trial.lines))
    text = describe_fit(result.summary(), result.run, trial)
    assert "* known from the prior only: the data do not tell Sigma_t and R_e apart" in text
    assert "The data hardly say" not in text
    # Printed, a fit says how its chains went, which the columns of a summary on a narrow screen hide.
    first, *rest = str(result).splitlines()
    assert first == repr(result)
    assert "the largest R-hat is" in " ".join(rest)
    assert max(map(len, rest)) <= 80
    assert max(map(len, text.splitlines())) <= 100


def test_the_time_of_a_longer_run_is_never_none():
    run = {"settings": {"tune": 300, "draws": 500}, "seconds": {"sample": 0.04}}
    for warm in (True, False):
        assert advise_length(300.0, run, warm).endswith("draws=1000 would take about 1 s.")


# --- residual variances that differ -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unlike():
    """Three environments; in E2 nothing varies by more than a fifth of what it does elsewhere."""
    sim = simulate(lines=60, envs=3, traits=2, reps=2, heritability=0.3, relationship="markers", seed=3)
    frame = sim.frame.copy()
    there = frame["env"] == "E2"
    mean = frame.loc[there, "T2"].mean()
    frame.loc[there, "T2"] = mean + 0.2 * (frame.loc[there, "T2"] - mean)
    return frame, sim.relationship


def test_a_residual_sd_above_the_observed_one_is_told(unlike):
    frame, relationship = unlike
    result = fit_covariances(frame, relationship)
    table = result.summary()
    told = table.index[table["note"].str.contains("residual variances differ by environment")]
    assert set(told) == {"R_e[T2, T2]", "heritability[E2, T2]"}
    observed = frame.loc[frame["env"] == "E2", "T2"].std()
    residual = np.median(np.sqrt(result.idata.posterior["R_e"].sel(trait="T2", trait_bis="T2")))
    expected = f"residual SD {residual:.3g} above the observed SD {observed:.3g} in E2"
    assert expected in table.loc["heritability[E2, T2]", "note"]
    assert f"T2: {expected}" in " ".join(describe_fit(table, result.run, trial_of(frame)).split())


def test_chance_is_not_told():
    """Traits that are noise: half of the environments have a smaller SD than the residual one."""
    for seed in range(5):
        sim = simulate(lines=12, envs=4, traits=2, heritability=0.01, relationship="markers", seed=seed)
        assert not fit_covariances(sim.frame, sim.relationship).summary()["note"].str.contains("residual SD").any()


# --- means --------------------------------------------------------------------------------------------------------


def test_a_mean_that_only_the_prior_places():
    """With one other environment tau is the prior's, with two it is known a little; the paper's prior is at zero."""
    sim = simulate(lines=20, envs=3, traits=2, relationship="markers", seed=4)
    frame = sim.frame.copy()
    frame.loc[frame["env"] == "E3", "T1"] = np.nan
    frame.loc[frame["env"] != "E1", "T2"] = np.nan
    notes = fit_covariances(frame, sim.relationship, draws=30, tune=20).summary()["note"]
    assert "no record: from the other environments" in notes["beta[E3, T1]"]
    assert PRIOR_ONLY not in notes["beta[E3, T1]"]
    for env in ("E2", "E3"):
        assert notes[f"beta[{env}, T2]"].startswith("prior only: no record, and one other environment")
    notes = fit_covariances(frame, sim.relationship, BMTME(means="paper"), draws=30, tune=20).summary()["note"]
    assert "no record: from the prior around zero" in notes["beta[E3, T1]"]


def test_facts_are_those_of_the_records():
    """Numbers of records and their SD by environment and trait, gaps and replicates as they are."""
    sim = simulate(lines=15, envs=2, traits=2, reps=2, missing=0.1, missing_traits=0.2, relationship="markers", seed=6)
    facts = fit_covariances(sim.frame, sim.relationship, draws=4, tune=0).run["facts"]
    table = sim.frame.groupby("env")[["T1", "T2"]]
    np.testing.assert_array_equal(facts["records"], table.count())
    np.testing.assert_allclose(facts["observed_sd"], table.std())
    assert pd.Series(facts["envs"]).tolist() == ["E1", "E2"]
