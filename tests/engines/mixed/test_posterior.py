"""Posterior of the covariances: priors by their definitions, density and slopes, chains, effects."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
from scipy import integrate, stats

from bmtme.engines.mixed import priors
from bmtme.engines.mixed.axes import (
    AR1,
    CompoundSymmetry,
    Corh,
    Diagonal,
    FactorAnalytic,
    Identity,
    Unstructured,
    Variance,
)
from bmtme.engines.mixed.chains import Hamiltonian, Metropolis, Pilot, measure_k
from bmtme.engines.mixed.coordinates import Coordinates
from bmtme.engines.mixed.equations import Equations
from bmtme.engines.mixed.posterior import Target, find_proposal
from bmtme.engines.mixed.priors import AxisPrior, evaluate_prior
from bmtme.engines.mixed.problem import Problem, Section, Term
from bmtme.engines.mixed.reml import fit_reml
from bmtme.testing.dense_mixed import DenseCholesky, DenseMixed, build_axis
from bmtme.testing.uniformity import find_ecdf_p
from tests.engines.mixed.cases import CASES

AXES = (
    Variance(),
    Diagonal(3),
    Unstructured(1),
    Unstructured(3),
    Corh(3),
    CompoundSymmetry(4),
    AR1(4),
    FactorAnalytic(3),
    FactorAnalytic(4, 2),
)


def half_t(s, nu, A):
    """Log density of a half-t standard deviation."""
    return stats.t(nu, scale=A).logpdf(s) + np.log(2.0)


def huang_wand(S, nu, A):
    """IW(2 nu diag(1/a), nu + p - 1), each a_k ~ IG(1/2, 1/A_k^2) integrated numerically: log density of S."""
    p, df = len(S), nu + len(S) - 1
    Q = np.linalg.inv(S)
    value = -0.5 * (df + p + 1) * np.linalg.slogdet(S)[1]
    for k in range(p):
        auxiliary = stats.invgamma(0.5, scale=A[k] ** -2)

        def density(x, k=k, auxiliary=auxiliary):  # of log a
            a = np.exp(x)
            return np.exp(-nu * Q[k, k] / a) * a ** (-0.5 * df) * auxiliary.pdf(a) * a

        value += np.log(integrate.quad(density, -20, 40, limit=400, epsabs=0, epsrel=1e-11)[0])
    return value


def define(axis, prior, phi):
    """Log density of phi by the definition: of what is reported, and a numerical Jacobian."""
    n = axis.n
    nu, A = prior.nu, prior.scale

    def jacobian(report):
        h = 1e-6
        return np.array([(report(phi + h * e) - report(phi - h * e)) / (2 * h) for e in np.eye(len(phi))]).T

    i, j = np.tril_indices(n)

    def covariance(x):
        return build_axis(axis, x)

    if isinstance(axis, Unstructured) and prior.eta is None:
        D = jacobian(lambda x: covariance(x)[i, j])
        return huang_wand(covariance(phi), nu, A) + np.linalg.slogdet(D)[1]
    if isinstance(axis, Unstructured):

        def report(x):
            S = covariance(x)
            sd = np.sqrt(np.diag(S))
            return np.r_[sd, (S / np.outer(sd, sd))[i, j][i > j]]

        S = covariance(phi)
        sd = np.sqrt(np.diag(S))
        value = (prior.eta - 1) * np.linalg.slogdet(S / np.outer(sd, sd))[1] + half_t(sd, nu, A).sum()
        return value + np.linalg.slogdet(jacobian(report))[1]
    if isinstance(axis, FactorAnalytic):
        m = len(axis.places[0])
        level, factor = axis.places
        psi = np.exp(phi[m:])
        value = half_t(psi, nu, A).sum() + np.log(psi).sum()
        for x, a, f in zip(phi[:m], level, factor, strict=True):
            # Free loadings turned to a triangle: chi with as many degrees of freedom as factors are left.
            left = axis.k - f if a == f else 1
            value += stats.chi(left, scale=A[a]).logpdf(abs(x))
        return value
    if isinstance(axis, AR1):
        return np.log(jacobian(np.tanh)[0, 0])
    if isinstance(axis, (Corh, CompoundSymmetry)):
        S = covariance(phi)
        sd = np.sqrt(np.diag(S)) if isinstance(axis, Corh) else np.sqrt(np.diag(S))[:1]
        D = jacobian(lambda x: np.r_[(lambda C: C[1, 0] / np.sqrt(C[0, 0] * C[1, 1]))(covariance(x)), np.exp(x[1:])])
        return half_t(sd, nu, A[: len(sd)]).sum() + np.linalg.slogdet(D)[1]
    return half_t(np.exp(phi), nu, A).sum() + phi.sum()


@pytest.mark.parametrize("eta", [None, 2.5])
@pytest.mark.parametrize("axis", AXES, ids=str)
def test_prior_is_its_definition(axis, eta):
    if eta is not None and not isinstance(axis, Unstructured):
        pytest.skip("LKJ is of unstructured covariances")
    rng = np.random.default_rng(3)
    prior = AxisPrior(2.5, rng.uniform(0.5, 3, axis.n), eta)
    one, two = (axis.start(np.full(axis.n, 1.3)) + rng.normal(0, 0.6, axis.count) for _ in range(2))
    found = [evaluate_prior(axis, prior, phi) for phi in (one, two)]
    wanted = [define(axis, prior, phi) for phi in (one, two)]
    assert found[0][0] - found[1][0] == pytest.approx(wanted[0] - wanted[1], abs=2e-8)
    h = 1e-5
    slopes = [
        (evaluate_prior(axis, prior, one + h * e)[0] - evaluate_prior(axis, prior, one - h * e)[0]) / (2 * h)
        for e in np.eye(axis.count)
    ]
    np.testing.assert_allclose(found[0][1], slopes, atol=1e-7)


@pytest.mark.parametrize("eta", [None, 1.5])
def test_prior_of_a_singular_covariance(eta):
    """The last diagonal K far out, so that 1 - r^2 goes as K^2: both densities are powers of K, without losing digits.

    Of LKJ (K^2)^(eta - 1), of Huang & Wand given the standard deviations (K^2)^(nu / 2), and K^2 of the Jacobian.
    """
    axis, prior = Unstructured(2), AxisPrior(2.0, np.array([1.0, 2.0]), eta)
    wanted = prior.nu + 2 if eta is None else 2 * eta
    for last in (-25.0, -60.0):
        up, down = (evaluate_prior(axis, prior, np.array([0.2, 0.5, last + s]))[0] for s in (1, -1))
        assert (up - down) / 2 == pytest.approx(wanted, rel=1e-6)
    assert evaluate_prior(axis, prior, np.array([0.2, 0.5, -400.0]))[0] == -np.inf


def differentiate(coordinates, theta):
    """dphi / dtheta by differences."""
    h = 1e-6
    up, down = ([coordinates.find_phi(theta + s * h * e) for e in np.eye(len(theta))] for s in (1, -1))
    return (np.array(up) - np.array(down)).T / (2 * h)


def make_covariances(n):
    """A problem of which nothing is used but its covariances: of n levels, of one, and a field."""
    first = Term("a", (Unstructured(n), Identity(2)), np.arange(40) % (2 * n))
    second = Term("b", (Unstructured(1), Identity(2)), np.arange(40) % 2)
    field = Section("field", np.arange(40), (Variance(), AR1(5), AR1(8)))
    return Problem(np.random.default_rng(2).standard_normal(40), np.ones((40, 1)), (second, first), (field,))


@pytest.mark.parametrize("n", [2, 4])
def test_coordinates_are_their_definition(n):
    """Standard deviations; partial correlations from inverses of leading blocks; volume by differences."""
    coordinates = Coordinates(make_covariances(n).blocks)
    theta = np.random.default_rng(5).normal(0, 0.8, coordinates.count)
    place = coordinates.find_place(theta)
    np.testing.assert_array_equal(place.phi[:4], theta[:4])
    own = theta[4:]
    S = build_axis(Unstructured(n), place.phi[4:])
    for value, i, j in zip(own, *np.tril_indices(n), strict=True):
        if i == j:
            assert value == pytest.approx(0.5 * np.log(S[i, i]), abs=1e-12)
            continue
        some = [*range(j), i, j]
        P = np.linalg.inv(S[np.ix_(some, some)])[-2:, -2:]
        assert np.tanh(value) == pytest.approx(-P[0, 1] / np.sqrt(P[0, 0] * P[1, 1]), abs=1e-12)
    np.testing.assert_allclose(coordinates.find_theta(place.phi), theta, atol=1e-12)
    np.testing.assert_allclose(place.slopes, differentiate(coordinates, theta), atol=1e-8)
    assert place.log_volume == pytest.approx(np.linalg.slogdet(place.slopes)[1], abs=1e-12)
    h = 1e-6
    volumes = [[coordinates.find_place(theta + s * h * e).log_volume for s in (1, -1)] for e in np.eye(len(theta))]
    np.testing.assert_allclose(place.volume_slopes, [(up - down) / (2 * h) for up, down in volumes], atol=1e-8)


def test_coordinates_of_a_singular_covariance():
    """A correlation of one, and a level without a variance, keep the numbers finite."""
    coordinates = Coordinates(make_covariances(2).blocks)
    theta = np.array([0.0, 0.0, 0.0, 0.0, 0.3, 30.0, -60.0])
    phi = coordinates.find_phi(theta)
    assert phi[5] == pytest.approx(np.exp(-60.0))
    assert phi[6] == pytest.approx(-60.0 - 30.0 + np.log(2.0))
    np.testing.assert_allclose(coordinates.find_theta(phi), theta, atol=1e-9)


def make_target(problem, cholesky=DenseCholesky):
    own = [
        AxisPrior(2.0, np.linspace(2.0, 4.0, max((a.n for a in block.axes if a.has_scale), default=1)))
        for block in problem.blocks
    ]
    return Target(Equations(problem, cholesky), own)


@pytest.mark.parametrize("case", CASES)
def test_density_is_likelihood_times_prior(case):
    """Against the model written out, with the priors tested above; slopes and Jacobian by differences."""
    rng = np.random.default_rng(11)
    problem = CASES[case](rng)
    target, twin = make_target(problem), DenseMixed(problem)

    def define_all(theta):
        phi = target.coordinates.find_phi(theta)
        value = twin.log_likelihood(phi) + np.linalg.slogdet(differentiate(target.coordinates, theta))[1]
        for block, prior, parts in zip(target.blocks, target.priors, target.split(phi), strict=True):
            for axis, part in zip(block.axes, parts, strict=True):
                value += evaluate_prior(axis, prior, part)[0] if axis.count else 0.0
        return value

    start = target.ranges.start
    one, two = start, start + rng.normal(0, 0.2, len(start))
    found = [target.evaluate(phi).log_likelihood for phi in (one, two)]
    assert found[0] - found[1] == pytest.approx(define_all(one) - define_all(two), abs=1e-8)
    h = 1e-4
    slopes = [
        (target.evaluate(two + h * e, 0).log_likelihood - target.evaluate(two - h * e, 0).log_likelihood) / (2 * h)
        for e in np.eye(target.count)
    ]
    np.testing.assert_allclose(target.evaluate(two, 1).gradient, slopes, rtol=1e-6, atol=1e-6)


def test_density_goes_on_where_the_likelihood_has_settled():
    problem = CASES["spatial"](np.random.default_rng(2))
    target = make_target(problem)
    phi = fit_reml(problem, cholesky=DenseCholesky).phi
    phi[0] = -11.0  # the log standard deviation of the field, below its bound
    far = target.evaluate(phi, 1)
    up, down = (target.evaluate(phi + s * np.eye(len(phi))[0], 0).log_likelihood for s in (1, -1))
    assert far.gradient[0] == pytest.approx(1.0, abs=1e-6)
    assert (up - down) / 2 == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_effects_given_covariances(case):
    """Draws with z the columns of I are the mean and a root of C^-1."""
    problem = CASES[case](np.random.default_rng(5))
    target, twin = make_target(problem), DenseMixed(problem)
    theta = target.ranges.start
    phi = target.coordinates.find_phi(theta)
    equations = target.equations
    N = int(equations.offsets[-1])
    root = target.draw(theta, np.eye(equations.n)) - target.evaluate(theta, 0).solution[:, None]
    np.testing.assert_allclose((root @ root.T)[:N, :N], twin.errors(phi), atol=1e-9)
    b, u = twin.solve(phi)
    fixed, effects = equations.find_effects(target.draw(theta, np.zeros((equations.n, 1)))[:, 0])
    np.testing.assert_allclose(fixed[problem.kept], b, atol=1e-8)
    np.testing.assert_allclose(np.concatenate(effects), u, atol=1e-8)


def make_groups(rng, groups=6, each=4) -> Problem:
    """Independent groups: one variance of theirs, one of the residual, one mean."""
    n = groups * each
    y = np.repeat(rng.normal(0, 1.2, groups), each) + rng.standard_normal(n)
    terms = (Term("group", (Variance(), Identity(groups)), np.repeat(np.arange(groups), each)),)
    return Problem(y, np.ones((n, 1)), terms, (Section("units", np.arange(n), (Variance(), Identity(n))),))


@pytest.fixture(scope="module")
def groups():
    problem = make_groups(np.random.default_rng(9))
    target = make_target(problem)
    return target, find_proposal(target, fit_reml(problem, cholesky=DenseCholesky).phi)


@pytest.fixture(scope="module")
def moments(groups):
    """Posterior means and standard deviations of both log standard deviations by a grid."""
    target, _ = groups
    x = np.linspace(-5.0, 2.5, 45)
    log_p = np.array([[target.evaluate(np.array([a, b]), 0).log_likelihood for b in x] for a in x])
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    means = p.sum(axis=1) @ x, p.sum(axis=0) @ x
    sds = [np.sqrt(w @ x**2 - m**2) for w, m in zip((p.sum(axis=1), p.sum(axis=0)), means, strict=True)]
    return np.array(means), np.array(sds)


def test_proposals_have_their_density(groups):
    """Weights 1/q of draws from q integrate to the volume: here that of a box around the mode."""
    _, proposal = groups
    proposal = replace(proposal, stretch=np.array([[1.0, 2.0], [1.5, 1.0]]))
    rng = np.random.default_rng(3)
    drawn = [proposal.draw(rng) for _ in range(20_000)]
    e = np.array([np.linalg.solve(proposal.root, phi - proposal.mode) for phi, _ in drawn])
    weights = np.exp(-np.array([log_q for _, log_q in drawn]))
    sides = [((low < e) & (e < high)).all(axis=1) for low, high in ((-1.5, 0.0), (0.0, 1.5), (-3.0, 3.0))]
    assert [log_q for _, log_q in drawn[:50]] == pytest.approx([proposal.evaluate(phi) for phi, _ in drawn[:50]])
    shares = [(weights * side).sum() for side in sides]
    assert shares[0] / shares[1] == pytest.approx(1.0, abs=0.12)
    assert shares[2] / shares[1] == pytest.approx(16.0, rel=0.1)


@pytest.mark.parametrize("case", ["spatial", "traits"])
def test_modes_are_found(case):
    """Also where estimates have run to a singular covariance, and the prior is no hill there."""
    problem = CASES[case](np.random.default_rng(5))
    target = make_target(problem)
    start = fit_reml(problem, cholesky=DenseCholesky).phi
    proposal = find_proposal(target, start)
    there = target.evaluate(proposal.mode, 1)
    assert there.log_likelihood == proposal.log_density
    # What a Newton step promises of log density.
    step = proposal.root.T @ there.gradient
    assert 0.5 * step @ step < 1e-3
    assert (proposal.stretch >= 1).all()


def test_mode_and_curvature(groups):
    target, proposal = groups
    assert np.abs(target.evaluate(proposal.mode, 1).gradient).max() < 1e-3
    h, V = 1e-3, proposal.root @ proposal.root.T
    H = np.array(
        [
            (target.evaluate(proposal.mode - h * e, 1).gradient - target.evaluate(proposal.mode + h * e, 1).gradient)
            / (2 * h)
            for e in np.eye(2)
        ]
    )
    np.testing.assert_allclose(V @ H, np.eye(2), atol=1e-4)


@pytest.mark.parametrize("kind", ["metropolis", "hamiltonian"])
def test_chains_have_the_posterior(groups, moments, kind, monkeypatch):
    """Means of both log standard deviations as on a grid."""
    target, proposal = groups
    seeds = np.random.SeedSequence(4).spawn(2)
    draws = 400 if kind == "metropolis" else 150
    monkeypatch.setattr("bmtme.engines.mixed.chains.Hamiltonian.tune", 60)
    found = []
    for seed in seeds:
        slots = np.arange(0, draws, 50)
        if kind == "metropolis":
            chain = Metropolis(target.fork(), proposal, draws, slots, seed, 100)
            Pilot(chain).advance(lambda done: None, threading.Event())
        else:
            chain = Hamiltonian(target.fork(), proposal, draws, slots, seed, proposal.mode)
        told = []
        chain.advance(told.append, threading.Event())
        assert told == sorted(told)
        assert told[-1] == chain.sweeps
        assert chain.draws.effects.shape == (draws // 50, 6)
        np.testing.assert_allclose(chain.draws.parameters, np.exp(2 * chain.draws.phi))
        found.append(chain.draws.phi)
    means, sds = moments
    z = (np.concatenate(found).mean(axis=0) - means) / sds
    # About a third of the draws' number is that of effective ones.
    assert np.abs(z).max() < 4 / np.sqrt(len(found) * draws / 3)


def test_weights_without_a_mean_are_told():
    rng = np.random.default_rng(1)
    assert measure_k(rng.standard_normal(2000)) < 0.5
    assert measure_k(rng.exponential(1.0, 2000)) > 0.7  # weights with a Pareto tail of shape 1
    assert measure_k(np.full(2000, -np.inf)) == np.inf


def test_stopped_chains_end(groups):
    target, proposal = groups
    stop = threading.Event()
    chain = Metropolis(target.fork(), proposal, 50, np.zeros(0, int), np.random.SeedSequence(1))
    chain.advance(lambda done: stop.set() if done == 3 else None, stop)
    assert not chain.draws.phi[3:].any()


# --- calibration --------------------------------------------------------------------------------------------------


def rank_truths(replicates):
    """Ranks among 19 draws of both standard deviations drawn from their priors, that of groups near zero."""
    ranks = []
    for seed in np.random.SeedSequence(21).spawn(replicates):
        rng = np.random.default_rng(seed)
        sd = np.abs(rng.standard_t(4, 2)) * [1.0, 0.4]
        y = np.repeat(sd[1] * rng.standard_normal(8), 3) + sd[0] * rng.standard_normal(24)
        shape = make_groups(rng, 8, 3)
        problem = Problem(y, shape.X, shape.terms, shape.sections)
        target = Target(Equations(problem), [AxisPrior(4.0, np.array([1.0])), AxisPrior(4.0, np.array([0.4]))])
        proposal = find_proposal(target, fit_reml(problem).phi)
        chain = Metropolis(target, proposal, 190, np.zeros(0, int), seed.spawn(1)[0], 60)
        Pilot(chain).advance(lambda done: None, threading.Event())
        chain.advance(lambda done: None, threading.Event())
        ranks.append((np.sqrt(chain.draws.parameters[9::10]) < sd).sum(axis=0))
    return np.array(ranks)


@pytest.mark.slow
def test_truths_are_uniformly_ranked():
    ranks = rank_truths(150)
    assert min(find_ecdf_p(column, 20) for column in ranks.T) > 1e-3


@pytest.mark.slow
def test_calibration_sees_a_jacobian_too_many(monkeypatch):
    right = priors.evaluate_roots

    def wrong(prior, phi, scale):
        value, slopes = right(prior, phi, scale)
        return value + phi.sum(), slopes + 1.0

    monkeypatch.setattr(priors, "evaluate_roots", wrong)
    ranks = rank_truths(150)
    assert min(find_ecdf_p(column, 20) for column in ranks.T) < 1e-3
