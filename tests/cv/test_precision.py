"""Monte Carlo error of predictions: what is counted, and what a cross-validation says of it."""

import warnings

import numpy as np
import pytest

from bmtme import BMTME, CV1, Trial, cross_validate, simulate
from bmtme.cv.precision import (
    LINES,
    choose_lines,
    count_effective,
    load_line_effects,
    load_lines,
    measure_noise,
    trace_cells,
)
from bmtme.engines.rotated.chains import run_chains
from bmtme.preparation import build, prepare
from bmtme.results.targets import choose_targets, predict_hidden
from bmtme.sampling import plan_slots, spawn_seeds
from tests.helpers.trials import make_trial

SHORT = {"draws": 12, "tune": 6, "chains": 2, "seed": 5}
MODELS = {"un": BMTME(), "bd": BMTME("diagonal")}


@pytest.fixture(scope="module")
def data():
    return make_trial()


@pytest.mark.filterwarnings("ignore:a short run", "ignore:the differences between")
def test_few_effective_draws_are_told(data):
    with pytest.warns(UserWarning, match="few effective draws behind the predictions") as caught:
        cv = cross_validate(*data, MODELS, CV1(2), **SHORT)
    (text,) = [str(entry.message) for entry in caught if "few effective" in str(entry.message)]
    assert text in cv.warnings
    assert "model 'un' about" in text
    assert "model 'bd' about" in text
    assert "2 of 2 partitions below 100" in text
    assert all(value <= 24 for entries in cv.run["effective_draws"].values() for value in entries.values())


def test_enough_effective_draws_are_silent(data):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        cv = cross_validate(*data, BMTME("standard"), CV1(1), draws=3000, tune=200, chains=2, seed=1)
    assert cv.warnings == []
    assert cv.run["effective_draws"]["standard"]["1"] > 100


def sampled_chains(data, hidden_lines=()):
    """Two short chains and what they were run on."""
    trial, relationship = data
    mask = np.isin(trial.line_index, hidden_lines)[:, None] & np.ones(len(trial.traits), dtype=bool)
    prepared = prepare(trial.hide(mask), relationship)
    problem, scaling = build(prepared, BMTME())
    chains = run_chains(problem, "gibbs", 20, plan_slots(60, 2, "thin"), True, spawn_seeds(1, 2))
    return prepared, problem, scaling, chains


def test_traces_are_the_draws_behind_the_predictions(data):
    trial, _ = data
    prepared, problem, scaling, chains = sampled_chains(data, hidden_lines=(2,))
    cells = np.zeros(trial.counts().shape, dtype=bool)
    cells[[2, 4], [0, 1], [1, 0]] = True
    targets = choose_targets(prepared, (trial.lines[2], trial.lines[4]))
    places = np.array([[0, 0, 1], [1, 1, 0]])
    loadings = load_lines(prepared.basis, targets)
    traces = np.concatenate(
        [trace_cells(chain, loadings, places, load_line_effects(prepared.basis, targets)) for chain in chains]
    )
    assert traces.shape == (120, 2)
    table = predict_hidden(prepared, problem, scaling, chains, trial, cells)[0]
    scale, centre = scaling.scale[[1, 0]], scaling.centre[[1, 0]]
    np.testing.assert_allclose(table["mean"], scale * traces.mean(axis=0) + centre)
    np.testing.assert_allclose(table["sd"][1], scale[1] * traces[:, 1].std(ddof=1))  # line 2 has some variance left


def test_effective_draws_of_known_series(data):
    # The trace of an unrecorded effect is that of beta: put series of known autocorrelation there.
    prepared, _, _, chains = sampled_chains(data)
    targets = choose_targets(prepared, prepared.lines[:1])
    n, rho = 500, 0.9
    rng = np.random.default_rng(4)
    places = np.array([[0, 0, l] for l in range(2)] + [[0, i, l] for i in (1, 2) for l in range(2)])

    def effective(series):
        made = []
        for chain, beta in zip(chains, series, strict=True):
            zero = np.zeros((n, *chain.W1.shape[1:])), np.zeros((n, *chain.W2.shape[1:]))
            made.append(chain._replace(slot=np.arange(n), beta=beta, W1=zero[0], W2=zero[1]))
        return count_effective(made, prepared.basis, targets, places)

    white = rng.normal(size=(2, n, 3, 2))
    assert 500 < effective(white) <= 2 * n
    slow = np.zeros_like(white)
    for t in range(1, n):
        slow[:, t] = rho * slow[:, t - 1] + white[:, t]
    truth = 2 * n * (1 - rho) / (1 + rho)
    assert truth / 2 < effective(slow) < truth * 2
    apart = white + np.array([-3.0, 3.0])[:, None, None, None]
    assert effective(apart) < 25  # chains that disagree
    assert effective(np.ones_like(white)) == 2 * n


def test_noise_is_that_of_the_chains_predictions(data):
    trial, _ = data
    prepared, problem, scaling, chains = sampled_chains(data, hidden_lines=(2,))
    cells = trial.counts() > 0
    cells[:5, 0, 1] = False
    cells[1:, 2, 1] = False  # one line alone tells no difference
    targets = choose_targets(prepared, trial.lines)
    tables = [predict_hidden(prepared, problem, scaling, [chain], trial, cells)[0] for chain in chains]
    joined = predict_hidden(prepared, problem, scaling, chains, trial, cells)[0]
    noise, spread = np.zeros(2), np.zeros(2)
    for (_, trait), rows in joined.groupby(["env", "trait"], sort=False):
        if len(rows) > 1:
            l = trial.traits.index(trait)
            apart = tables[0]["mean"][rows.index] - tables[1]["mean"][rows.index]
            noise[l] += np.var(apart, ddof=1) / 4 / scaling.scale[l] ** 2
            spread[l] += np.var(rows["mean"], ddof=1) / scaling.scale[l] ** 2
    found = measure_noise(chains, prepared.basis, targets, cells)
    np.testing.assert_allclose(found, [noise, spread])
    assert np.isnan(measure_noise(chains[:1], prepared.basis, targets, cells)).all()


def test_noise_has_the_variance_of_the_mean_over_chains(data):
    prepared, _, _, chains = sampled_chains(data)
    targets = choose_targets(prepared, prepared.lines)
    cells = np.ones((len(prepared.lines), 3, 2), dtype=bool)
    rng = np.random.default_rng(6)
    shape = chains[0].sum_W.shape
    draws = len(chains[0].slot)
    found, means = [], []
    for _ in range(200):
        made = [chains[0]._replace(sum_W=draws * rng.normal(size=shape)) for _ in range(3)]
        found.append(measure_noise(made, prepared.basis, targets, cells))
        means.append(load_lines(prepared.basis, targets) @ np.mean([chain.sum_W for chain in made], axis=0).T / draws)
    wide = np.array(means)
    wide = wide - wide.mean(axis=1, keepdims=True)
    truth = (wide**2).sum(axis=1).mean(axis=0) / (wide.shape[1] - 1)
    np.testing.assert_allclose(np.mean(found, axis=0)[0], truth.reshape(3, 2).sum(axis=0), rtol=0.1)


def test_at_most_so_many_lines_are_looked_at():
    cells = np.zeros((5 * LINES, 2, 1), dtype=bool)
    cells[7:, 1, 0] = True
    chosen = choose_lines(cells)
    assert len(chosen) == LINES
    assert (chosen[0], chosen[-1]) == (7, 5 * LINES - 1)
    assert len(choose_lines(cells[:7])) == 0


@pytest.mark.filterwarnings("ignore:a short run", "ignore:few effective")
def test_noise_in_the_differences_between_lines_is_told():
    # One variance for traits whose units differ by a factor of 100: nothing is left of the small one's differences.
    simulation = simulate(lines=60, envs=2, traits=2, heritability=0.5, relationship="markers", seed=2)
    frame = simulation.frame.assign(T2=100 * simulation.frame["T2"])
    trial = Trial.from_frame(frame, line="line", env="env", rep="rep", traits=["T1", "T2"])
    models = {"raw": BMTME("standard", units="raw"), "scaled": BMTME("standard")}
    with pytest.warns(UserWarning, match="the differences between predicted lines") as caught:
        cv = cross_validate(trial, simulation.relationship, models, CV1(2), draws=300, tune=200, seed=1)
    (text,) = [str(entry.message) for entry in caught if "the differences" in str(entry.message)]
    assert text in cv.warnings
    assert "model 'raw': T1 " in text
    assert "T2" not in text
    assert "scaled" not in text
    noise = cv.run["monte_carlo_noise"]
    assert noise["raw"]["T1"] > 0.5 > 0.02 > max(noise["raw"]["T2"], *noise["scaled"].values())
