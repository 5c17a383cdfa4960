"""Cross-validation: the interval of the mean of a cell's hidden plots, which is what `observed` is."""

import numpy as np
import pytest

from bmtme import BMTME, CV1, cross_validate, simulate
from bmtme.collection import collect
from bmtme.data.order import sort_trial
from bmtme.engines.rotated.chains import run_chains
from bmtme.preparation import build, prepare
from bmtme.results.targets import choose_targets, predict
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
    table = predict(prepared, scaling, chains, trial, choose_targets(prepared, trial.lines), cells)
    posterior = collect(prepared, problem, scaling, chains, "all")["posterior"]
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
        if row.n_obs == 1:
            assert (row.mean_lower, row.mean_upper) == (row.lower, row.upper)
        else:
            assert row.lower < row.mean_lower < row.mean_upper < row.upper
    assert seen == {(n, whole) for n in (1, 2, 3) for whole in (False, True)}
    assert len(table) == cells.sum()


@pytest.mark.parametrize("reps", [2, 5])
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
