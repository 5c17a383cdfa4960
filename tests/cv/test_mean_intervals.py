"""Cross-validation: the interval of the mean of a cell's hidden plots, which is what `observed` is."""

import numpy as np
import pytest
from scipy.stats import norm

from bmtme import BMTME, CV1, cross_validate, simulate
from bmtme.collection import collect
from bmtme.data.order import sort_trial
from bmtme.engines.rotated.chains import run_chains
from bmtme.engines.rotated.kernels.mixture import fill_mixture_scores
from bmtme.preparation import build, prepare
from bmtme.results.predictions import Mixture
from bmtme.results.targets import predict_hidden
from bmtme.sampling import plan_slots, spawn_seeds
from tests.helpers.predictions import flatten, mixture_quantile, predict_by_hand
from tests.helpers.trials import trial_of

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def drop_plots(frame, seed):
    """One to three plots of each line in an environment."""
    rng = np.random.default_rng(seed)
    kept = rng.integers(1, 4, (frame["line"].nunique(), frame["env"].nunique()))
    line, env = (frame[name].astype("category").cat.codes for name in ("line", "env"))
    return frame[frame["rep"].astype(int).to_numpy() <= kept[line, env]]


def test_intervals_are_those_of_the_mixture_with_the_residual_over_the_plots():
    """Every hidden cell by a root finder on N(fitted, v + R / n), from the labelled draws; a line hidden altogether."""
    sim = simulate(lines=14, envs=3, traits=3, reps=3, missing_traits=0.1, relationship="blocks", seed=7)
    frame = drop_plots(sim.frame, 1)
    trial = sort_trial(trial_of(frame))[0]
    hidden = CV1(1, 0.3).masks(trial, 2)[0].hidden.copy()
    new = next(j for j, counts in enumerate(trial.counts()) if set(counts.ravel()) >= {1, 2, 3})
    hidden[new] = True
    cells = hidden & (trial.counts() > 0)
    training = trial.hide(hidden[trial.line_index, trial.env_index])
    prepared = prepare(training, sim.relationship)
    problem, scaling = build(prepared, BMTME())
    chains = run_chains(problem, "collapsed", 50, plan_slots(60, 2, "all"), True, spawn_seeds(1, 2))
    table, totals = predict_hidden(prepared, problem, scaling, chains, trial, cells)
    posterior = collect(prepared, BMTME(), problem, scaling, chains, "all")["posterior"]
    _, fitted, spare = predict_by_hand(training.to_frame(), sim.relationship, posterior)
    R = flatten(posterior, "R_e")
    place = {name: n for n, name in enumerate(sim.relationship.lines)}
    seen = set()
    for row in table.itertuples():
        n, i, l = place[row.line], trial.envs.index(row.env), trial.traits.index(row.trait)
        seen.add((row.n_obs, row.line == trial.lines[new]))
        for plots, low, high in ((1, row.lower, row.upper), (row.n_obs, row.mean_lower, row.mean_upper)):
            variance = spare[:, n, i, l] + R[:, l, l] / plots
            expected = [mixture_quantile(fitted[:, n, i, l], variance, p) for p in (0.05, 0.95)]
            np.testing.assert_allclose([low, high], expected, atol=1e-4 * row.sd)
        expected = [mixture_quantile(fitted[:, n, i, l], variance, p) for p in (0.25, 0.75)]
        np.testing.assert_allclose([row.mean_lower_50, row.mean_upper_50], expected, atol=1e-4 * row.sd)
        density = norm.pdf(row.observed, fitted[:, n, i, l], np.sqrt(variance)).mean()
        np.testing.assert_allclose(row.log_score, np.log(density), rtol=1e-9)
        if row.n_obs == 1:
            assert (row.mean_lower, row.mean_upper) == (row.lower, row.upper)
        else:
            assert row.lower < row.mean_lower < row.mean_upper < row.upper
    assert seen == {(n, whole) for n in (1, 2, 3) for whole in (False, True)}
    assert len(table) == cells.sum()

    # Lines' means over their hidden environments: a new line's effects go together over these.
    centre, E = np.nanmean(training.cell_means(), axis=0), np.einsum("sii->si", flatten(posterior, "Sigma_E"))
    assert len(totals) == cells.any(axis=1).sum()
    seen = set()
    for row in totals.itertuples():
        j, n, l = trial.lines.index(row.line), place[row.line], trial.traits.index(row.trait)
        envs = np.flatnonzero(cells[j, :, l])
        k, plots = len(envs), trial.counts()[j, envs, l]
        seen.add((k > 1, row.line == trial.lines[new]))
        mean = (fitted[:, n, envs, l] - centre[envs, l]).mean(axis=1)
        extra = spare[:, n, 0, l] / (1 + E[:, 0]) * (1 + E[:, envs].sum(axis=1) / k**2)
        variance = extra + R[:, l, l] * (1 / plots).sum() / k**2
        observed = (trial.cell_means()[j, envs, l] - centre[envs, l]).mean()
        assert row.n_envs == k
        np.testing.assert_allclose([row.observed, row.sd], [observed, np.sqrt(mean.var(ddof=1) + extra.mean())])
        expected = [mixture_quantile(mean, variance, p) for p in (0.05, 0.95, 0.25, 0.75)]
        found = [row.mean_lower, row.mean_upper, row.mean_lower_50, row.mean_upper_50]
        np.testing.assert_allclose(found, expected, atol=1e-4 * row.sd)
        np.testing.assert_allclose(row.log_score, np.log(norm.pdf(observed, mean, np.sqrt(variance)).mean()), rtol=1e-9)
        np.testing.assert_allclose(row.crps, find_crps(mean, variance, observed), rtol=1e-4)
    assert seen == {(several, whole) for several in (False, True) for whole in (False, True)} - {(False, True)}


def find_crps(mean, variance, observed):
    """Integral of (F - 1[z >= y])^2 on either side of y, by the trapezoidal rule."""
    sd = np.sqrt(variance)
    ends = (min(observed, (mean - 8 * sd).min()), max(observed, (mean + 8 * sd).max()))
    total = 0.0
    for low, high, step in ((ends[0], observed, 0.0), (observed, ends[1], 1.0)):
        z = np.linspace(low, high, 4001)
        total += np.trapezoid((norm.cdf(z[:, None], mean, sd).mean(axis=1) - step) ** 2, z)
    return total


def test_the_crps_of_a_mixture_is_that_of_its_distribution_function():
    """All pairs of draws; a planted error is seen."""
    rng = np.random.default_rng(5)
    mean, variance = rng.normal(0.0, 1.0, (6, 200)), rng.gamma(3.0, 0.2, (6, 200))
    observed = rng.normal(0.0, 2.0, 6)
    expected = [find_crps(*row) for row in zip(mean, variance, observed, strict=True)]
    found = Mixture(observed, mean, 0 * mean, variance, target=observed).scores
    np.testing.assert_allclose(found[:, 1], expected, rtol=1e-4)
    np.testing.assert_allclose(found[:, 0], np.log(norm.pdf(observed[:, None], mean, np.sqrt(variance)).mean(axis=1)))
    wider = Mixture(observed, mean, 0 * mean, 2.0 * variance, target=observed).scores
    assert np.abs(wider[:, 1] / expected - 1).max() > 0.02


@pytest.mark.parametrize(("degrees", "most"), [(2, 0.02), (4, 0.005), (100, 0.002)])
def test_many_draws_are_paired_in_groups(degrees, most):
    """As good as all pairs, also where the variances have heavy tails, as those of a new environment have."""
    rng = np.random.default_rng(6)
    mean, variance = rng.normal(0.0, 1.0, (20, 1000)), degrees / rng.chisquare(degrees, (20, 1000))
    observed = rng.normal(0.0, 2.0, 20)
    found = Mixture(observed, mean, 0 * mean, variance, target=observed).scores[:, 1]
    every = np.empty((20, 2))
    fill_mixture_scores(mean, variance, observed, 1000, every)
    assert np.abs(found / every[:, 1] - 1).max() < most


@pytest.mark.parametrize("reps", [2, pytest.param(5, marks=pytest.mark.slow)])
def test_nine_in_ten_means_lie_in_their_intervals(reps):
    """And more of them in the interval of a single plot, which is the wrong one for a mean."""
    covered, too_wide = [], []
    for seed in range(4):
        sim = simulate(lines=50, envs=3, traits=2, reps=reps, heritability=0.3, relationship="markers", seed=seed)
        trial = trial_of(sim.frame, ["T1", "T2"])
        cv = cross_validate(trial, sim.relationship, BMTME(), CV1(2, 0.3), draws=400, tune=200, seed=seed)
        p = cv.predictions
        assert p["n_obs"].eq(reps).all()
        covered.append(p["observed"].between(p["mean_lower"], p["mean_upper"]).mean())
        too_wide.append(p["observed"].between(p["lower"], p["upper"]).mean())
    assert 0.86 < np.mean(covered) < 0.94
    assert np.mean(too_wide) > 0.95
