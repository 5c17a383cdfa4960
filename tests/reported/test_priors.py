"""Priors in the units of the data."""

from operator import attrgetter

import numpy as np
import pytest
from scipy import stats

from bmtme import BMTME, HalfT, InverseWishart
from bmtme.engines.rotated.kernels.beta import draw_paper_scale, draw_tau
from bmtme.preparation import build, prepare
from bmtme.structures.parameters import prior_of_root
from tests.helpers.trials import trial_of
from tests.reported.design import TRAITS

pytestmark = pytest.mark.filterwarnings("ignore:a short run")


def follows_half_t(draws, nu, scale):
    """Whether draws are from |t| with nu degrees of freedom and a scale, by Kolmogorov and Smirnov's test."""
    return stats.kstest(draws, lambda x: 2.0 * stats.t.cdf(x, nu, scale=scale) - 1.0).pvalue > 1e-3


def test_prior_of_the_spread_between_environment_means(data, recorded):
    """tau_l ~ HalfT(4, s_l) with s_l the SD of the trait: its two conditionals, without a mean to tell anything."""
    problem, scaling = build(prepare(trial_of(data[0]), data[1]), BMTME())
    prior, rng = problem.means, np.random.default_rng(1)
    tau2, aux, none = np.ones(3), np.ones(3), np.empty(0)
    made = np.empty((40_000, 3))
    for draw in made:
        draw_tau(rng, none, np.zeros(3), none.astype(np.int64), 3, prior.tau_nu, prior.tau_scale, tau2, aux)
        draw[:] = np.sqrt(tau2)
    tau = made[100::10] * scaling.scale
    for l, sd in enumerate(recorded[TRAITS].std(ddof=1)):
        assert follows_half_t(tau[:, l], 4, sd)
        assert not follows_half_t(tau[:, l], 2, sd)
        assert not follows_half_t(tau[:, l], 4, 1.2 * sd)


def test_prior_of_the_papers_means(data):
    """beta ~ N(0, s2_b) with sqrt(s2_b) ~ HalfT(2, 1e5), in the units of the data."""
    problem, _ = build(prepare(trial_of(data[0]), data[1]), BMTME(means="paper"))
    prior, rng, none = problem.means, np.random.default_rng(2), np.empty(0)
    s2, aux = np.array([1e10]), np.array([1e-10])
    made = np.empty(40_000)
    for k in range(len(made)):
        draw_paper_scale(
            rng, none, none.astype(np.int64), prior.scale, prior.centre, prior.s2_nu, prior.s2_scale, s2, aux
        )
        made[k] = np.sqrt(s2[0])
    assert follows_half_t(made[100::10], 2, 1e5)
    assert not follows_half_t(made[100::10], 2, 1.2e5)


ROOTS = np.array([1e-3, 0.1, 0.7, 3.0, 40.0])  # inside, in standard deviations of the trait


def assert_prior(prior, k, unit, log_density):
    """The prior of a root, told apart by ratios, where `unit` is the root as reported for one inside."""
    found = [prior_of_root(prior, root, k)[0] for root in ROOTS]
    np.testing.assert_allclose(np.diff(found), np.diff(log_density(ROOTS * unit)), rtol=1e-9)


#: Where the sampler finds the priors.
PRIORS = {
    "prior_t": attrgetter("genetic.prior"),
    "prior_E": attrgetter("genetic.prior_env"),
    "prior_e": attrgetter("residual.prior"),
}


@pytest.fixture(scope="module")
def units(data, recorded):
    """Standard deviation of each trait, and that divided by the root of the mean diagonal: of sqrt(Sigma_t)."""
    G = data[1].subset(list(recorded["line"].unique())).matrix
    sd = recorded[TRAITS].std(ddof=1).to_numpy()
    return sd, sd / np.sqrt(np.diag(G).mean())


def test_default_priors_of_variances(data, units):
    """HalfT(2) with 5 standard deviations of the trait for an average line and for a plot; HalfT(4, 1) for Sigma_E."""
    prepared = prepare(trial_of(data[0]), data[1])
    problem, _ = build(prepared, BMTME("diagonal"))
    for prior, unit in ((problem.genetic.prior, units[1]), (problem.residual.prior, units[0])):
        for l in range(3):
            assert_prior(prior, l, unit[l], lambda s, A=5 * unit[l]: stats.t.logpdf(s, 2, scale=A))
    for i in range(3):
        assert_prior(problem.genetic.prior_env, i, 1.0, lambda s: stats.t.logpdf(s, 4))
    free, _ = build(prepared, BMTME())
    one, _ = build(prepared, BMTME("standard"))
    for read in PRIORS.values():
        known = read(problem)
        for other in (read(free), read(one)):
            assert (other.family, other.nu) == (known.family, known.nu)
            np.testing.assert_array_equal(other.scale, known.scale)


def test_priors_of_ones_own(data, units):
    """In the units of what is reported: standard deviations of a half-t, variances of an inverse gamma."""
    sizes = {"T1": 2e-3, "T2": 1.5, "T3": 4e3}
    for name, unit in (("prior_t", units[1]), ("prior_e", units[0])):
        half_t = BMTME("diagonal", **{name: HalfT(nu=3, scale=sizes)})
        wishart = BMTME("diagonal", **{name: InverseWishart(df=6, scale={k: v**2 for k, v in sizes.items()})})
        problems = [build(prepare(trial_of(data[0]), data[1]), model)[0] for model in (half_t, wishart)]
        for l, A in enumerate(sizes.values()):
            assert_prior(PRIORS[name](problems[0]), l, unit[l], lambda s, A=A: stats.t.logpdf(s, 3, scale=A))
            assert_prior(
                PRIORS[name](problems[1]),
                l,
                unit[l],
                lambda s, A=A: stats.invgamma.logpdf(s**2, 3, scale=A**2 / 2) + np.log(2 * s),
            )
