"""Whole sweeps leave the joint distribution of unknowns and data as it is; planted errors do not.

Everything awkward at once: most cells empty, traits missing within records, a column without a record, unequal
replication, clones. Fixed seeds; a run passes where no z-score is significant at 1e-3 after Bonferroni.
"""

import functools

import numpy as np
import pytest

from bmtme.engines.rotated.collapsed import allocate_walk, pack_state
from bmtme.engines.rotated.draws import hold_draws, record_draw
from bmtme.engines.rotated.held import hold
from bmtme.engines.rotated.steps import (
    complete_data,
    draw_genetic_covariances,
    draw_mean_scales,
    draw_means_and_genetic,
    draw_residual,
    factor_pair,
    fill_fitted,
    impute,
    split_effects,
)
from bmtme.engines.rotated.sweep import COLLAPSED, run_sweeps
from bmtme.linalg.compile import compiled
from bmtme.model.codes import ABSENT, OBSERVED
from bmtme.testing.cases import make_case
from bmtme.testing.geweke import (
    DENSE,
    SPARSE,
    Comparison,
    compare_joint,
    compare_ranks,
    draw_replicates,
    sweep_collapsed,
    sweep_gibbs,
    sweep_stepwise,
)

LEVEL = 1e-3
SIZE = 2000
SWEEPS = 5

MODELS = {
    "unstructured": (SPARSE, {"shape": "full"}),
    "diagonal": (SPARSE, {"shape": "diagonal", "family": "inverse-wishart"}),
    "standard": (SPARSE, {"shape": "scalar", "means": "paper"}),
    "unstructured-iw": (SPARSE, {"shape": "full", "family": "inverse-wishart"}),
    "every-column": (DENSE, {"shape": "full"}),
    "identity": (DENSE, {"shape": "diagonal", "identity": True}),
    "one-environment": ((DENSE[0][:7],), {"shape": "full"}),  # the eighth line has no record there
}


#: One environment, one plot a line: genetic and residual covariance are hardly told apart, and mirror moves accepted.
#: Priors of uneven scales, so that the odds of an exchange are not one even where lines are unrelated.
CORNERS = (("01", "01", "0", "01", "1", "01", "01", "01"),)
UNEVEN = {"clones": False, "nu": 2.5, "scale": None}
MODELS |= {
    "corners": (CORNERS, {"shape": "full", "identity": True, **UNEVEN}),
    "corners-diagonal": (CORNERS, {"shape": "diagonal", "identity": True, **UNEVEN}),
    "corners-related": (CORNERS, {"shape": "full", **UNEVEN}),
}
#: Each sampler with one model is among the quick tests.
QUICK = {sweep_gibbs: "standard", sweep_stepwise: "diagonal", sweep_collapsed: "unstructured"}


@functools.cache
def replicates_of(name):
    design, options = MODELS[name]
    case = make_case(design, **({"mu_sd": 1.0, "nu": 4.0, "scale": 1.0} | options))
    return draw_replicates(case, SIZE, seed=1)


def compare(name, run):
    return compare_joint(replicates_of(name), run, SWEEPS, seed=2)


def check(comparison, at_least):
    assert len(comparison.z) >= at_least
    assert comparison.p_value > LEVEL, str(comparison)


@pytest.mark.parametrize(
    "name, run",
    [
        pytest.param(name, run, id=f"{name}-{run.__name__}", marks=() if QUICK.get(run) == name else pytest.mark.slow)
        for name in ("unstructured", "diagonal", "standard")
        for run in (sweep_gibbs, sweep_stepwise, sweep_collapsed)
    ],
)
def test_sweeps_leave_the_joint_distribution(name, run):
    check(compare(name, run), 150)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["every-column", "identity", "one-environment"])
def test_block_sweep_with_other_layouts(name):
    check(compare(name, sweep_gibbs), 60)


@pytest.mark.slow
@pytest.mark.parametrize("run", [sweep_gibbs, sweep_collapsed], ids=lambda run: run.__name__)
def test_several_augmentations_a_sweep(run):
    def run_with_inner(rng, p, s, w, n, draws):
        return run(rng, p._replace(inner=3), s, w, n, draws)

    check(compare("unstructured", run_with_inner), 150)


@pytest.mark.parametrize(
    "name",
    ["corners-related", *[pytest.param(name, marks=pytest.mark.slow) for name in ("corners", "corners-diagonal")]],
)
def test_mirror_moves_leave_the_joint_distribution(name):
    """Accepted in a good part of the replicates, between trajectories with an uneven centre and metric."""
    accepted = []

    def run(rng, p, s, w, n, draws):
        walk = allocate_walk(p)
        q = len(walk.theta)
        walk.tuning.step[0], walk.tuning.leapfrogs[0], walk.tuning.mirror_every[0] = 0.2, 5, 1
        walk.tuning.centre[:] = np.linspace(-0.5, 0.5, q)
        walk.tuning.metric[:] = np.diag(np.linspace(0.5, 1.5, q)) + 0.2 * np.tri(q, k=-1)
        held = hold(p, s, w, walk)
        trail = np.empty((0, q))
        pack_state(held[0], held[1], held[3])
        code = run_sweeps(rng, COLLAPSED, *held, 0, n, True, hold_draws(draws), trail)[1]
        accepted.append(walk.outcome.mirrors[0])
        return int(code)

    check(compare(name, run), 60)
    assert np.mean(np.array(accepted) > 0) > 0.3


def wrong_degrees_of_freedom(rng, p, s, w, n, draws):
    """Sigma_t with one degree of freedom too many; the mutant of an inverse-Wishart prior is exactly that."""
    wrong = p.genetic.prior._replace(df=p.genetic.prior.df + 1.0)
    return sweep_gibbs(rng, p._replace(genetic=p.genetic._replace(prior=wrong)), s, w, n, draws)


def wrong_residual_degrees_of_freedom(rng, p, s, w, n, draws):
    """The same for R_e."""
    wrong = p.residual.prior._replace(df=p.residual.prior.df + 1.0)
    return sweep_gibbs(rng, p._replace(residual=p.residual._replace(prior=wrong)), s, w, n, draws)


def blind_imputation(rng, p, s, w, n, draws):
    """Missing traits imputed without regard to those seen on the same record."""
    patterns = np.where(p.patterns == OBSERVED, ABSENT, p.patterns).astype(p.patterns.dtype)
    return sweep_gibbs(rng, p._replace(patterns=patterns), s, w, n, draws)


@compiled()
def run_late(rng, p, s, w, start, stop, out):
    """R_e counts recorded plots only, yet the unseen plots are imputed before it, not after."""
    complete_data(p, s, w)
    for t in range(start, stop):
        if not factor_pair(p, s.Sigma_t, s.s2_E, s.R_e, s.Sigma_r, w) or not draw_means_and_genetic(rng, p, s, w):
            return 4
        fill_fitted(p, s, w)
        if not impute(rng, p, s, w, True) or not split_effects(rng, p, s, w):
            return 1
        if draw_genetic_covariances(rng, p, s, w) != 0 or not draw_residual(rng, p, s, w):
            return 3
        draw_mean_scales(rng, p, s)
        if record_draw(rng, p, s, w, np.empty(0), t, out) != 0:
            return 1
    return 0


def late_residual(rng, p, s, w, n, draws):
    return int(run_late(rng, *hold(p, s, w), 0, n, hold_draws(draws)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "mutant, statistic",
    [
        (wrong_degrees_of_freedom, "log|Sigma_t|"),
        (wrong_residual_degrees_of_freedom, "log|R_e|"),
        (blind_imputation, "cor R_e[1,0] spread"),
        (late_residual, "unseen e'e[0,0] spread"),
    ],
    ids=lambda x: getattr(x, "__name__", None),
)
def test_planted_errors_are_caught(mutant, statistic):
    comparison = compare("unstructured-iw", mutant)
    assert comparison.p_value < 1e-6, str(comparison)
    assert abs(comparison.z[comparison.names.index(statistic)]) > 5
    check(compare("unstructured-iw", sweep_gibbs), 150)


def wide_walk(rng, p, s, w, n, draws):
    """Sigma_t with twice the scale in its prior, which the Hamiltonian moves feel."""
    wide = p.genetic.prior._replace(scale=2.0 * p.genetic.prior.scale)
    return sweep_collapsed(rng, p._replace(genetic=p.genetic._replace(prior=wide)), s, w, n, draws)


def blind_walk(rng, p, s, w, n, draws):
    """`blind_imputation` between Hamiltonian moves."""
    patterns = np.where(p.patterns == OBSERVED, ABSENT, p.patterns).astype(p.patterns.dtype)
    return sweep_collapsed(rng, p._replace(patterns=patterns), s, w, n, draws)


@pytest.mark.slow
@pytest.mark.parametrize("mutant, statistic", [(wide_walk, "log|Sigma_t|"), (blind_walk, "cor R_e[1,0] spread")])
def test_planted_errors_in_the_collapsed_sampler_are_caught(mutant, statistic):
    comparison = compare("unstructured", mutant)
    assert comparison.p_value < 1e-6, str(comparison)
    assert abs(comparison.z[comparison.names.index(statistic)]) > 5


def test_comparison_of_ranks_is_calibrated():
    """Under exchangeability z-scores are standard normal, heavy tails or not; a shift and a spread are seen."""
    rng = np.random.default_rng(7)
    before = {str(k): rng.standard_cauchy(500) for k in range(200)}
    z = compare_ranks(before, {k: rng.standard_cauchy(500) for k in before}).z
    assert len(z) == 400
    assert 0.85 < z.std() < 1.15
    assert abs(z.mean()) < 0.2
    shifted = compare_ranks(before, {k: x + 1.0 for k, x in before.items()})
    assert np.abs(shifted.z[::2]).min() > 5
    wider = compare_ranks({"x": before["0"]}, {"x": 3.0 * before["0"]})
    assert wider.z[1] > 5
    assert wider.p_value < 1e-6
    assert "x spread" in str(wider)


def test_unchanged_statistics_are_left_out():
    x = np.arange(10.0)
    comparison = compare_ranks({"fixed": x, "moving": x}, {"fixed": x, "moving": x + 3.0})
    assert all(name.startswith("moving") for name in comparison.names)
    assert isinstance(comparison, Comparison)
