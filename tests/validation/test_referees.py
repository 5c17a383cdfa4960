"""The instruments of validation/referees: REML, posteriors without Markov chains, comparisons of two posteriors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from bmtme.results.summary import diagnose
from bmtme.testing.dense import CovarianceLaw
from bmtme.testing.uniformity import combine_z
from validation.referees.nuts import check_forms, check_pair, check_planted
from validation.referees.nuts_sets import PLANTED, PRIORS, Run, find_program, make_small, write_problem
from validation.referees.nuts_tables import Pair, list_tables
from validation.referees.posteriors import Comparison, find_limit, measure, show_p, take_entries
from validation.referees.reml import (
    Traits,
    integrate_posterior,
    log_half_t_prior,
    sample_posterior,
    stack,
)
from validation.registry import LEVEL, Options


@pytest.fixture(scope="module")
def related() -> tuple[np.ndarray, np.ndarray]:
    """A relationship of 80 animals in sib groups with one inbred, and values of two traits with gaps."""
    rng = np.random.default_rng(5)
    A = np.kron(np.eye(20), 0.5 * np.eye(4) + 0.5)
    A[0, 0] = 1.25
    values = np.linalg.cholesky(A) @ rng.standard_normal((80, 2)) @ [[1.5, 0.8], [0.0, 1.0]]
    values += rng.standard_normal((80, 2)) + [5.0, 9.0]
    values[rng.random((80, 2)) < 0.2] = np.nan
    return A, values


def make_traits(related: tuple[np.ndarray, np.ndarray], traits: int) -> Traits:
    A, values = related
    seen = ~np.isnan(values[:, :traits]).all(axis=1)
    return stack(values[seen, :traits], A[np.ix_(seen, seen)], [np.ones((seen.sum(), 1))] * traits)


def test_restricted_likelihood_is_that_of_error_contrasts(related: tuple[np.ndarray, np.ndarray]) -> None:
    traits = make_traits(related, 2)
    contrasts = np.linalg.svd(traits.design)[0][:, traits.design.shape[1] :]
    parts = traits.parts()

    def of_contrasts(theta: np.ndarray) -> float:
        V = sum(t * part for t, part in zip(theta, parts, strict=True))
        K = contrasts.T @ V @ contrasts
        return float(stats.multivariate_normal(np.zeros(len(K)), K).logpdf(contrasts.T @ traits.values))

    one, other = np.array([2.0, 0.5, 1.5, 1.0, 0.2, 1.0]), np.array([1.0, -0.3, 2.5, 2.0, 0.4, 0.7])
    expected = of_contrasts(one) - of_contrasts(other)
    assert traits.log_likelihood(one) - traits.log_likelihood(other) == pytest.approx(expected, abs=1e-8)


def test_reml_is_at_the_top(related: tuple[np.ndarray, np.ndarray]) -> None:
    traits = make_traits(related, 2)
    maximum = traits.maximise()
    top = traits.log_likelihood(maximum.theta)
    for k, error in enumerate(maximum.errors):
        for step in (-0.05, 0.05):
            moved = maximum.theta.copy()
            moved[k] += step * error
            assert traits.log_likelihood(moved) < top


def test_importance_sampling_and_the_grid_agree(related: tuple[np.ndarray, np.ndarray]) -> None:
    traits = make_traits(related, 1)
    maximum = traits.maximise()
    grid = integrate_posterior(traits, maximum, 2.0, 5.0)
    drawn = sample_posterior(traits, maximum, 2.0, np.array([5.0]), 8000, 1, 1)
    exact, _ = grid.mean(lambda theta: np.sqrt(theta))
    mean, error = drawn.mean(lambda theta: np.sqrt(theta))
    assert drawn.effective > 1000
    assert np.abs((mean - exact) / error).max() < 4


def test_prior_is_that_of_the_hierarchy() -> None:
    """The auxiliaries integrated out by their prior's draws."""
    nu, scale = 2.0, np.array([0.7, 1.5])
    law = CovarianceLaw("full", "half-t", nu, scale, 0.0, np.eye(2))
    rng = np.random.default_rng(3)
    a = 1 / scale**2 / rng.standard_gamma(0.5, (200_000, 2))
    one, other = np.array([[1.0, 0.5], [0.5, 2.0]]), np.array([[0.3, -0.1], [-0.1, 0.6]])

    def mean_density(M: np.ndarray) -> tuple[float, float]:
        # IW(2 nu diag(1/a), nu + 1), up to its constant
        diagonal = np.diag(np.linalg.inv(M))
        log_p = -(nu + 1) / 2 * np.log(a).sum(axis=1) - nu * (diagonal / a).sum(axis=1)
        p = np.exp(log_p) * np.linalg.det(M) ** (-(nu + 4) / 2)
        return float(p.mean()), float(p.std() / np.sqrt(len(p)))

    (p, e), (q, f) = mean_density(one), mean_density(other)
    found = np.exp(log_half_t_prior(one, nu, scale) - log_half_t_prior(other, nu, scale))
    assert found == pytest.approx(p / q, rel=4 * np.hypot(e / p, f / q))
    # the draws above are those of the dense model
    fixed = np.array([0.8, 0.4])
    by_law = law.log_density(one, fixed) - law.log_density(other, fixed)
    diagonals = [np.diag(np.linalg.inv(M)) for M in (one, other)]
    by_hand = -nu * ((diagonals[0] - diagonals[1]) / fixed).sum()
    by_hand -= (nu + 4) / 2 * np.log(np.linalg.det(one) / np.linalg.det(other))
    assert by_law == pytest.approx(by_hand)


def test_comparison_sees_a_shift_a_spread_and_a_tail() -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal((3, 4, 2000))
    same = Comparison(["a", "b", "c"], measure(x), measure(rng.standard_normal((3, 4, 2000))))
    assert same.converged
    assert same.p > 1e-3
    for wrong in (rng.standard_normal((3, 4, 2000)) + 0.15, 1.15 * rng.standard_normal((3, 4, 2000)),
                  rng.standard_t(4, (3, 4, 2000)) * np.sqrt(0.5)):  # fmt: skip
        assert Comparison(["a", "b", "c"], measure(x), measure(wrong)).p < 1e-3


def test_errors_of_statistics_are_their_spread() -> None:
    """Over independent repetitions, statistics vary as much as their errors say."""
    rng = np.random.default_rng(8)
    noise = rng.standard_normal((200, 4, 401))
    x = np.empty_like(noise)
    x[..., 0] = noise[..., 0]
    for n in range(1, noise.shape[2]):
        x[..., n] = 0.5 * x[..., n - 1] + np.sqrt(0.75) * noise[..., n]
    found = measure(x[..., 1:])
    assert found.values.std(axis=0) == pytest.approx(found.errors.mean(axis=0), rel=0.2)


def test_effective_draws_are_those_of_the_worst_statistic() -> None:
    """Draws whose spread changes slowly: a mean soon known, quantiles and SD not."""
    rng = np.random.default_rng(4)
    spread = np.repeat(rng.gamma(0.5, 1.0, (1, 4, 20)), 100, axis=2)
    x = spread * rng.standard_normal((1, 4, 2000))
    assert diagnose(x)[0][0] > 1000
    assert measure(x).effective[0] < 400


def test_limit_is_where_the_verdict_turns() -> None:
    for figures in (1, 55, 135):
        z = np.zeros(figures)
        z[0] = find_limit(figures)
        assert combine_z(z) == pytest.approx(LEVEL)
    x = np.random.default_rng(6).standard_normal((3, 4, 2000))
    comparison = Comparison(["a", "b", "c"], measure(x), measure(x))
    # 8000 independent draws by each: limit x sqrt(2 / 8000)
    assert comparison.blind == pytest.approx((find_limit(15) * np.sqrt(2 / 8000),) * 2, rel=0.15)


def test_p_values_without_a_number() -> None:
    assert show_p(combine_z(np.array([40.0]))) == "< 1e-300"
    assert show_p(0.0412) == "0.041"


def make_pair(shift: float, draws: int, divergent: int) -> Pair:
    """Both programs with independent draws of everything, the referee's off by a shift."""
    data = make_small(1)
    rng = np.random.default_rng(7)

    def make_run(shift: float) -> Run:
        sizes = {"Sigma_t": (2, 2), "R_e": (2, 2), "s2_E": (2,), "beta": (2, 2), "tau": (2,)}
        found = {name: rng.gamma(9.0, 1.0, (4, draws, *size)) + shift for name, size in sizes.items()}
        notes = {"divergent": np.array(divergent), "steps": np.array(7.0), "versions": np.array(["numpyro 0"])}
        return Run(found, 1.0, notes)

    return Pair(data, make_run(0.0), make_run(shift))


def test_one_rule_for_what_is_found() -> None:
    """p decides only where the chains allow a verdict, in the rows and in the tables."""
    same, wrong = make_pair(0.0, 1000, 0), make_pair(2.0, 1000, 0)
    assert check_pair(same).ok
    assert not check_pair(wrong).ok
    assert check_planted(wrong, "").ok
    assert not check_planted(same, "").ok
    tables = list_tables([same, wrong], [(PLANTED[0], wrong), (PLANTED[1], same)])
    for name in ("Sets", "Planted errors"):
        assert [line.rstrip(" |").split()[-1] for line in tables[name].split("\n")[2:]] == ["yes", "NO"]
    for doubtful in (make_pair(2.0, 40, 0), make_pair(2.0, 1000, 100)):
        assert doubtful.comparison.p < LEVEL
        assert not check_planted(doubtful, "").ok


def test_both_forms_of_the_referee_are_the_same(tmp_path: Path) -> None:
    python = find_program()
    if python is None:
        pytest.skip("needs an environment with numpyro")
    row = check_forms(python, Options(1, 3, tmp_path, tmp_path))
    assert row.ok, row.figure


def test_entries_follow_the_structure() -> None:
    shape = (2, 5)
    draws = {"Sigma_t": np.ones((*shape, 3, 3)), "R_e": np.ones((*shape, 3, 3)), "s2_E": np.ones((*shape, 2)),
             "beta": np.ones((*shape, 2, 3)), "tau": np.ones((*shape, 3))}  # fmt: skip
    for structure, covariances in (("unstructured", 6 + 6 + 2), ("diagonal", 3 + 3 + 2), ("standard", 1 + 1 + 1)):
        names, values = take_entries(draws, structure, ["E1", "E2"], ["T1", "T2", "T3"])
        assert len(names) == len(set(names)) == len(values) == covariances + 3 + 6


def test_problem_holds_the_recorded_lines_only(tmp_path: Path) -> None:
    data = make_small(1)
    path = tmp_path / "problem.npz"
    write_problem(path, data, PRIORS, 1)
    with np.load(path) as held:
        problem = dict(held)
    seen = ~np.isnan(problem["values"])
    assert seen.any(axis=1).all()
    assert seen.sum() == np.count_nonzero(~np.isnan(data.trial.values))
    assert len(problem["G"]) == problem["line"].max() + 1 == len(np.unique(problem["line"]))
