"""The search for modes: heights against the dense twin, starts, and a trial whose likelier mode few climbs reach."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

import bmtme
from bmtme.engines.rotated.density import measure_prior
from bmtme.engines.rotated.modes import (
    Climber,
    Mode,
    choose_starts,
    find_modes,
    find_tight,
    list_entries,
    list_starts,
    share_draws,
)
from bmtme.engines.rotated.observed import Observed
from bmtme.engines.rotated.state import expect_missing, measure_columns
from bmtme.model.codes import EXCHANGEABLE, FLAT
from bmtme.preparation import build, observe, prepare
from bmtme.results.convergence import describe_convergence, describe_divergences, describe_explanations
from bmtme.structures.part import Start
from bmtme.testing.cases import DESIGNS, make_case
from validation.modes import simulate_copies, simulate_tight, write_density


@pytest.mark.parametrize("design", ["complete", "missing", "absent", "unseen", "one-environment", "one-trait"])
@pytest.mark.parametrize("kind", ["exchangeable", "flat"])
def test_density_of_the_observed_values(design, kind):
    """Differences between covariances are those of the model written out with incidence matrices."""
    rng = np.random.default_rng(1)
    case = make_case(DESIGNS[design])
    if kind == "flat" and not case.recorded.all():
        pytest.skip("flat means of absent columns are improper")
    law = dataclasses.replace(case.model.law_beta, kind=kind, mu_sd=np.full(case.recorded.shape[1], 100.0))
    model = dataclasses.replace(case.model, law_beta=law)
    exchangeable = dataclasses.replace(law, kind="exchangeable")
    draws = [dataclasses.replace(model, law_beta=exchangeable).draw(rng) for _ in range(2)]
    tau2 = np.full(case.recorded.shape[1], 0.7)
    values = case.hide(rng.standard_normal(case.observed.shape))
    scale = case.basis.scale
    observed = Observed(values, case.layout.rec_line, case.layout.rec_env, case.basis)
    ours, dense = [], []
    for t in draws:
        t = dataclasses.replace(t, tau2=tau2)
        one = EXCHANGEABLE if kind == "exchangeable" else FLAT
        ours.append(observed.log_density(scale * t.Sigma_t, t.s2_E, t.R_e, tau2, one))
        dense.append(model.log_marginal(t, values))
    assert ours[0] - ours[1] == pytest.approx(dense[0] - dense[1], rel=1e-3)
    assert abs(dense[0] - dense[1]) > 0.5


def tight_trial(seed, lines=120, missing=0.0, tight=0.999):
    """Two traits, residual correlation `tight` in the first of three environments and 0.5 in the others."""
    return simulate_tight(seed, lines, 3, missing, tight)


def search(trial, relationship, model=None):
    prepared = prepare(trial, relationship)
    problem, scaling = build(prepared, model or bmtme.BMTME())
    observed = observe(prepared, scaling)
    return problem, observed, find_modes(problem, observed, np.random.SeedSequence(1))


@pytest.mark.parametrize("missing", [pytest.param(0.0, marks=pytest.mark.slow), 0.15])
def test_likelier_mode_is_found(missing):
    """An environment where the traits are nearly copies: the residual covariance as tight as it is far likelier."""
    for seed in range(3):
        _, _, modes = search(*tight_trial(seed, missing=missing))
        for mode in modes:
            R = mode.start.R_e
            assert R[0, 1] / np.sqrt(R[0, 0] * R[1, 1]) > 0.99


def test_heights_of_complete_data_are_those_of_the_observed_values():
    """On a complete layout both ways of comparing two modes agree."""
    trial, relationship = tight_trial(2, tight=0.99)
    problem, observed, _ = search(trial, relationship)
    climber = Climber(problem, observed, np.random.SeedSequence(3))
    found = [climber.climb(start) for start in list_starts(problem, observed)]
    tau2 = climber.state.tau2.copy()
    heights, _ = climber.compare(found)
    others = [
        observed.log_density(*start, tau2, EXCHANGEABLE) + measure_prior(theta, climber.held[0], climber.held[3])
        for theta, start in found
    ]
    assert np.ptp(heights) > 1.0
    np.testing.assert_allclose(heights - heights[0], np.array(others) - others[0], atol=0.01)


@pytest.mark.parametrize("structure", ["unstructured", "diagonal", "standard"])
def test_climbs_end_where_the_density_is_flat(structure):
    simulation = bmtme.simulate(lines=60, envs=3, traits=2, missing=0.0, seed=4)
    trial = bmtme.Trial.from_frame(simulation.frame, line="line", env="env", traits=["T1", "T2"])
    problem, observed, modes = search(trial, simulation.relationship, bmtme.BMTME(structure))
    assert modes
    climber = Climber(problem, observed, np.random.SeedSequence(3))
    for start in list_starts(problem, observed):
        theta, _ = climber.climb(start)
        assert np.abs(climber.measure(theta)[1]).max() < 0.05


def test_tight_environments_are_those_that_vary_less_in_some_direction():
    problem, observed, _ = search(*tight_trial(0))
    pooled, each = observed.measure_covariances(3)
    assert find_tight(problem, pooled, each) == [0]
    assert find_tight(problem, pooled, np.array([pooled] * 3)) == []
    values = observed.values[observed.env == 1]
    np.testing.assert_allclose(each[1], np.cov(values, rowvar=False), rtol=1e-9)


def test_missing_values_are_filled_from_the_record():
    """Columns are at their mean; a missing trait is at its regression on the record's other trait."""
    trial, relationship = tight_trial(1, lines=40, missing=0.2)
    problem, observed, _ = search(trial, relationship)
    env = np.repeat(np.arange(3), np.diff(problem.cell_offset))
    means = measure_columns(problem, env)
    for i in range(3):
        np.testing.assert_allclose(means[i], np.nanmean(observed.values[observed.env == i], axis=0), rtol=1e-9)
    start = Start(np.array([[1.0, 0.8], [0.8, 2.0]]), np.array([0.5, 1.0, 2.0]), np.array([[0.5, 0.1], [0.1, 0.3]]))
    pad, part = expect_missing(problem, start)
    np.testing.assert_array_equal(pad, means[env])
    n = int(np.flatnonzero(np.isnan(problem.part_values[:, 1]))[-1])
    i = np.repeat(env, np.diff(problem.part_offset))[n]
    V = start.Sigma_t * (1 + start.s2_E[i]) + start.R_e
    expected = means[i, 1] + V[1, 0] / V[0, 0] * (problem.part_values[n, 0] - means[i, 0])
    assert part[n, 1] == pytest.approx(expected)
    assert part[n, 0] == problem.part_values[n, 0]


def make_mode(weight, size):
    return Mode(Start(size * np.eye(1), np.array([0.5, 0.5]), np.eye(1)), 0.0, weight)


def test_chains_are_spread_over_the_modes_by_weight():
    heavy, light = make_mode(0.8, 1.0), make_mode(0.2, 0.1)
    assert [start is heavy.start for start in choose_starts([heavy, light], 4)] == [True, True, True, False]
    assert [start is heavy.start for start in choose_starts([heavy, light], 1)] == [True]
    assert choose_starts([], 2) == [None, None]


def test_draws_belong_to_the_nearest_mode():
    class Chain:
        Sigma_t = np.array([[[1.0]], [[0.9]], [[0.2]], [[0.1]]])
        s2_E, R_e = np.full((4, 2), 0.5), np.ones((4, 1, 1))

    np.testing.assert_allclose(share_draws([make_mode(0.8, 1.0), make_mode(0.2, 0.1)], [Chain]), [[0.5, 0.5]])
    assert list_entries(np.eye(2), np.array([1.0]), np.eye(2)).tolist() == [2, 0, 2, 1, 0, 1]


SETTINGS = {"draws": 1000, "tune": 500}


def test_words_for_chains_that_do_not_cross():
    modes = [
        {"height": 3.0, "weight": 0.9, "heritability": [[0.02, 0.5], [0.4, 0.5]], "chains": [1.0, 0.99, 0.0]},
        {"height": 1.0, "weight": 0.1, "heritability": [[0.42, 0.5], [0.3, 0.5]], "chains": [0.0, 0.01, 1.0]},
    ]
    sampling = {"modes": modes, "divergences": [0, 0, 0], "acceptance": [0.9] * 3, "corners": []}
    text = describe_explanations(sampling, SETTINGS, ["E1", "E2"], ["A", "B"])
    assert "heritability of A in E1 is 0.02 (chains 1, 2; weight about 90%), or 0.42 (chain 3; weight" in text
    assert "More sweeps do not help" in text
    assert "could not be computed" not in text
    for mode in modes:  # with many values and some missing, heights are not compared
        mode |= {"height": None, "weight": 0.5}
    text = describe_explanations(sampling, SETTINGS, ["E1", "E2"], ["A", "B"])
    assert "0.02 (chains 1, 2), or 0.42 (chain 3). How likely each of them is could not be computed." in text
    assert "weight" not in text
    for mode in modes:
        mode["chains"] = [0.5, 0.5, 0.5]  # they cross
    assert describe_explanations(sampling, SETTINGS, ["E1", "E2"], ["A", "B"]) == ""
    assert describe_explanations(sampling | {"modes": modes[:1]}, SETTINGS, ["E1"], ["A"]) == ""


@pytest.mark.parametrize(
    "counts, words", [([0, 9, 0], None), ([0, 40, 0], "40 of 3,000 draws"), ([0, 520, 0], "Do NOT lean on")]
)
def test_words_for_divergences(counts, words):
    sampling = {"divergences": counts, "acceptance": [0.9, 0.23, 0.9]}
    text = describe_divergences(sampling, SETTINGS)
    if words is None:
        assert text == ""
        return
    assert words in text
    assert f"chain 2: {counts[1]}, acceptance 0.23" in text
    assert "tune=2000" in text


def test_corners_are_said():
    """Whoever reads that chains agree reads beside it that the mean of two explanations is neither."""
    table = pd.DataFrame({"ess_bulk": [900.0], "ess_tail": [900.0], "r_hat": [1.001]}, index=["heritability[E1, A]"])
    corner = {"env": 0, "trait": 0, "low": 0.44, "high": 0.56}
    sampling = {"modes": [], "divergences": [0, 0], "acceptance": [0.9, 0.9], "corners": [corner]}
    run = {"sampling": sampling, "settings": SETTINGS, "seconds": {"sample": 1.0}}
    text = describe_convergence(table, run, ["E1"], ["A", "B"])
    assert "heritability of A in E1 is below 0.05 with probability 0.44 and above 0.95 with probability 0.56" in text
    assert "leave one out" in text
    alone = describe_convergence(table, run, ["E1"], ["A"])
    assert "copies" not in alone
    assert "Lines that hardly differ in relationship" in alone


def test_advice_names_a_length_and_a_time():
    table = pd.DataFrame({"ess_bulk": [100.0], "ess_tail": [900.0], "r_hat": [1.001]}, index=["R_e[A, A]"])
    sampling = {"modes": [], "divergences": [0, 0], "acceptance": [0.9, 0.9], "corners": []}
    run = {"sampling": sampling, "settings": SETTINGS, "seconds": {"warm_up": 1.0, "sample": 7.0}}
    assert "draws=5000 would take about 36 s." in describe_convergence(table, run, ["E1"], ["A"])
    longer = run | {"extendable": True}
    said = describe_convergence(table, longer, ["E1"], ["A"], "my run")
    assert said.endswith(": 4,000 of each chain would take about 28 s: bmtme extend my run --more 4000.")
    said = describe_convergence(table, longer, ["E1"], ["A"])
    assert said.endswith("bmtme extend RUN --more 4000, in Python bmtme.extend(folder, more=4000).")
    # Where the warm-up may be at fault, draws from there do not help.
    apart = (table.assign(r_hat=1.2), longer)
    diverged = (table, longer | {"sampling": sampling | {"divergences": [60, 60]}})
    short = (table, longer | {"settings": SETTINGS | {"tune": 100}})
    for given, of in (apart, diverged, short):
        said = describe_convergence(given, of, ["E1"], ["A"])
        assert f"tune={5 * of['settings']['tune']}, draws=5000 would take about 40 s." in said
        assert "extend" not in said


def test_density_that_is_tempered():
    """The referee's density and that of the chains differ by a constant, at the default priors."""
    problem, observed, _ = search(*simulate_copies(1))
    climber = Climber(problem, observed, np.random.SeedSequence(1))
    assert climber.climb(list_starts(problem, observed)[0]) is not None
    density = write_density(simulate_copies(1))
    rng = np.random.default_rng(2)
    theta = rng.normal([-0.5, -0.5, 1.5] * 2, 0.7, (5, 6))
    ours = theta.copy()
    ours[:, [0, 1, 3, 4]] = np.exp(theta[:, [0, 1, 3, 4]])
    ours = np.array([-climber.measure(row)[0] for row in ours]) + theta[:, [0, 1, 3, 4]].sum(axis=1)
    likelihood, prior = density(theta)
    np.testing.assert_allclose(likelihood + prior - ours, (likelihood + prior - ours)[0], atol=1e-7)
