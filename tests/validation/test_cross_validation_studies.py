"""What the studies of cross-validation on real trials and of its coverage compute with."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bmtme.preparation
from bmtme.preparation import build, prepare
from tests.helpers.trials import make_trial
from validation import coverage, schemes
from validation.coverage import (
    ENVS,
    NARROW,
    NU,
    count_covered,
    draw_effects,
    draw_set,
    draw_variances,
    estimate_share,
    fix_scales,
    judge,
    judge_planted,
    narrow_tau,
)
from validation.registry import Options
from validation.schemes import (
    FIRST,
    MEANS,
    OURS,
    PUBLISHED,
    SCHEMES,
    average_scores,
    choose_models,
    choose_schemes,
    compare_published,
    judge_published,
    run_kept,
    take_envs,
)


@pytest.fixture
def options(tmp_path):
    return Options(1, 3, tmp_path / "results", tmp_path / "replicates")


# --- coverage ---------------------------------------------------------------------------------------------------


def test_standard_deviations_are_half_t():
    sd = np.sqrt(draw_variances(np.random.default_rng(1), NU, 4000))
    assert stats.kstest(sd, lambda x: 2 * stats.t.cdf(x, NU) - 1).pvalue > 1e-3
    assert stats.kstest(sd, lambda x: 2 * stats.t.cdf(x, NU / 2) - 1).pvalue < 1e-6  # another prior is noticed


def test_effects_have_the_covariance_of_the_model():
    G = np.array([[1.0, 0.5, 0.1], [0.5, 1.2, 0.0], [0.1, 0.0, 0.8]])
    Sigma_t, s2_E = np.array([[2.0, -0.6], [-0.6, 0.5]]), np.array([0.3, 2.0])
    rng = np.random.default_rng(2)
    draws = np.stack([draw_effects(rng, G, Sigma_t, s2_E).ravel() for _ in range(6000)])
    expected = np.kron(1.0 + np.diag(s2_E), np.kron(G, Sigma_t))
    error = np.sqrt((np.outer(np.diag(expected), np.diag(expected)) + expected**2) / len(draws))
    assert (np.abs(np.cov(draws.T) - expected) < 4.5 * error).all()
    swapped = np.kron(1.0 + np.diag(s2_E[::-1]), np.kron(G, Sigma_t))
    assert (np.abs(np.cov(draws.T) - swapped) > 4.5 * error).any()


def test_sets_are_drawn_from_their_seed():
    one, two, other = (draw_set(ENVS, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one[0].values, two[0].values)
    assert one[0].values.shape != other[0].values.shape or (one[0].values != other[0].values).any()
    trial, relationship = one
    assert (len(trial.lines), len(trial.envs), len(trial.traits)) == (ENVS.lines, ENVS.envs, ENVS.traits)
    assert relationship.matrix.diagonal().mean() == pytest.approx(1.0)
    assert set(np.unique(trial.counts())) == {0, 1, 2}


def test_scales_are_fixed_and_tau_is_narrowed_inside_only():
    prepared, model = prepare(*make_trial()), bmtme.BMTME()
    before, scaling = build(prepared, model)
    with fix_scales(2), narrow_tau(NARROW):
        inside, fixed = build(prepared, model)
    after, again = build(prepared, model)
    assert (fixed.scale == 1).all()
    assert (fixed.centre == 0).all()
    np.testing.assert_array_equal(scaling.scale, again.scale)
    np.testing.assert_allclose(inside.means.tau_scale, NARROW * before.means.tau_scale)
    np.testing.assert_array_equal(before.means.tau_scale, after.means.tau_scale)


def test_values_in_intervals_are_counted():
    table = pd.DataFrame({
        "env": ["E1", "E1", "E2"], "observed": [1.0, 3.0, 0.0], "mean": 0.0, "sd": 1.0,
        "mean_lower": -2.0, "mean_upper": 2.0, "mean_lower_50": -0.5, "mean_upper_50": 0.5,
    })  # fmt: skip
    found = count_covered(table, ["env"]).set_index("env")
    assert found.loc["E1"].tolist() == [2, 1, 0, 1]
    assert found.loc["E2"].tolist() == [1, 1, 1, 1]


def make_counts(share, sets=300, seed=1, between=0.0):
    """Counts of sets whose share of values in intervals varies, in units of a standard deviation, by `between`."""
    rng = np.random.default_rng(seed)
    n = rng.integers(20, 60, sets).astype(float)
    own = np.clip(share + between * rng.standard_normal(sets), 0.0, 1.0)
    inside = rng.binomial(n.astype(int), own).astype(float)
    half = rng.binomial(n.astype(int), 0.5).astype(float)
    columns = {"set": np.arange(sets).astype(str), "env": "E1", "scheme": "CV1", "level": coverage.LEVELS[0]}
    return pd.DataFrame({**columns, "n": n, "in_90": inside, "in_50": half, "without_residual": inside})


def test_error_of_a_share_is_that_between_clusters():
    counts = make_counts(0.9)
    share, error = estimate_share(counts, "in_90", ["set"])
    n = counts["n"].sum()
    assert share == counts["in_90"].sum() / n
    assert error == pytest.approx(np.sqrt(0.9 * 0.1 / n), rel=0.2)  # nothing but the binomial
    # Sets that differ have larger errors, by which repeated shares really scatter.
    found = np.array([estimate_share(make_counts(0.8, 60, seed, 0.15), "in_90", ["set"]) for seed in range(400)])
    assert found[:, 1].mean() == pytest.approx(found[:, 0].std(ddof=1), rel=0.12)
    assert found[:, 1].mean() > 2 * np.sqrt(0.8 * 0.2 / 2400)


def test_wrong_intervals_are_noticed():
    assert all(row.ok for row in judge("made up", make_counts(0.9)))
    assert [row.ok for row in judge("made up", make_counts(0.86))] == [False, True]
    assert [row.ok for row in judge("made up", make_counts(0.95))] == [False, True]
    assert judge_planted("made up", make_counts(0.8))[0].ok
    assert not judge_planted("made up", make_counts(0.9))[0].ok


# --- schemes on real trials -------------------------------------------------------------------------------------


def make_scores():
    """Two models and the baseline in two cells of different units, two partitions."""
    rows = [
        (model, partition, env, "T1", unit * msep, r, 0.9, 1.0)
        for env, unit in (("E1", 1.0), ("E2", 100.0))
        for partition in ("1", "2")
        for model, msep, r in ((FIRST, 2.0, 0.5), ("other", 3.0, 0.3), (MEANS, 4.0, np.nan))
    ]
    return pd.DataFrame(rows, columns=["model", "partition", "env", "trait", "msep", "pearson", "coverage_90", "slope"])


def test_units_cancel_in_means_over_cells():
    found = average_scores(make_scores())
    assert found["msep"].to_dict() == {FIRST: 0.5, "other": 0.75, MEANS: 1.0}
    assert found.loc[FIRST, "pearson"] == pytest.approx(0.5)
    assert np.isnan(found.loc[MEANS, "pearson"])


def test_models_are_those_that_take_the_scheme():
    several = make_trial()
    alone = make_trial(traits=1, missing_traits=0.0)
    assert "free" in choose_models(several, "CV1")
    assert "free" not in choose_models(several, "NewEnvironments")
    assert set(choose_schemes(several)) == set(SCHEMES)
    assert "CV2" not in choose_schemes(alone)
    assert {"diagonal", "single"}.isdisjoint(choose_models(alone, "CV1"))


@pytest.mark.parametrize("what", PUBLISHED)
def test_published_correlations_are_told_from_others(what):
    assert what in OURS
    rng = np.random.default_rng(4)
    rows = [
        (FIRST, str(k), env, mean + sd * rng.standard_normal())
        for env, (mean, sd) in PUBLISHED[what].items()
        for k in range(10)
    ]
    scores = pd.DataFrame(rows, columns=["model", "partition", "env", "pearson"])

    found = compare_published(SimpleNamespace(scores=scores), PUBLISHED[what])
    assert len(found) == 3
    assert judge_published(what, found).ok
    other = SimpleNamespace(scores=scores.assign(pearson=scores["pearson"] + 0.12))
    assert not judge_published(what, compare_published(other, PUBLISHED[what])).ok


def test_a_run_is_kept_under_its_settings(options, monkeypatch):
    trial, relationship = make_trial(lines=20, missing=0.0, missing_traits=0.0)
    data = trial, relationship
    models = {MEANS: bmtme.EnvironmentMeans()}
    first = run_kept(options, "made-up", data, models, SCHEMES["NewLines"], {})
    made = []
    monkeypatch.setattr(schemes, "run", lambda *arguments: made.append(arguments))
    again = run_kept(options, "made-up", data, models, SCHEMES["NewLines"], {})
    pd.testing.assert_frame_equal(first.scores, again.scores)
    assert not made
    with pytest.raises(AttributeError):  # another seed is another run
        run_kept(replace(options, seed=4), "made-up", data, models, SCHEMES["NewLines"], {})
    assert len(made) == 1


def test_some_environments_are_a_trial():
    trial, relationship = make_trial()
    some, same = take_envs((trial, relationship), ["E1", "E3"])
    assert some.envs == ("E1", "E3")
    assert same is relationship
    kept = np.isin(trial.env_index, [0, 2])
    np.testing.assert_array_equal(some.values, trial.values[kept])
