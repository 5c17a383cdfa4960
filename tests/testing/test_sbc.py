"""The calibration instrument: uniform where the sampler is right, not where an error is planted; files that resume."""

import json
import threading

import numpy as np
import pytest

from bmtme.engines.rotated.collapsed import resume_walk
from bmtme.engines.rotated.draws import allocate_draws, hold_draws, record_draw
from bmtme.engines.rotated.steps import fill_fitted, measure_completed_density
from bmtme.linalg.compile import compiled
from bmtme.results.predictions import Predictor
from bmtme.structures import main_and_interaction
from bmtme.structures.by_env import ByEnv
from bmtme.structures.common_correlation import CommonCorrelation
from bmtme.structures.environments_by_trait import EnvironmentsByTrait
from bmtme.structures.factor_analytic import FactorAnalytic
from bmtme.structures.free import Free
from bmtme.structures.main_and_interaction import MainAndInteraction
from bmtme.structures.proportional import Proportional, Shared
from bmtme.structures.scaled import Scaled
from bmtme.structures.separable import Separable
from bmtme.structures.structure import point_part
from bmtme.testing.laws import join_laws, join_restrictions
from bmtme.testing.pairs import draw_truth, open_walk, pack_truth
from bmtme.testing.ranked import choose_targets, fit_held
from bmtme.testing.replication import run_study
from bmtme.testing.sbc import EVERY, collect_replicates, make_pair_study, make_study, name_quantities, run_chain
from bmtme.testing.uniformity import (
    combine_p,
    combine_z,
    count_below,
    effective_draws,
    find_band,
    find_chi_square_p,
    find_ecdf_p,
    limit_counts,
    stay_inside,
)

#: Six lines, two environments, two traits: one empty cell, missing traits, replicates.
DESIGN = (("01", "01", "01 0", "1 01", "01 01", "-"), ("01", "01", "0", "01 01", "01", "01"))


def small_study(distort=None):
    return make_study("collapsed", shape="full", design=DESIGN, tune=200, ranked=19, thin=15, distort=distort)


def calibrate(study, replicates):
    return collect_replicates(study, run_study(study, replicates, seed=2, cores=2))


@pytest.mark.slow
def test_collapsed_is_calibrated():
    result = calibrate(small_study(), 80)
    assert result.failed == 0
    assert len(result.names) > 30
    assert result.p_value() > 1e-3, str(result.uniformity())
    share, error = result.overall_coverage()
    assert abs(share - 0.9) < 4 * error


def wrong_prior(problem):
    """Residual standard deviations thought to be a fifth of what they are."""
    wrong = problem.residual.prior._replace(scale=0.2 * problem.residual.prior.scale)
    return problem._replace(residual=problem.residual._replace(prior=wrong))


def wrong_residuals(problem):
    """Differences between plots of one cell count three times."""
    return problem._replace(within=3.0 * problem.within)


@pytest.mark.slow
@pytest.mark.parametrize("mutant", [wrong_prior, wrong_residuals], ids=lambda x: x.__name__)
def test_planted_errors_are_caught(mutant):
    result = calibrate(small_study(mutant), 50)
    assert result.p_value() < 1e-6
    worst = {row["quantity"]: row["p_ecdf"] for row in result.uniformity()}
    assert worst["log|R_e|"] < 1e-4


def test_a_study_goes_on_where_it_was_interrupted(tmp_path):
    study, path = small_study(), tmp_path / "runs" / "study.jsonl"
    told = []
    whole = run_study(study, 4, cores=2, report=lambda done, total: told.append((done, total)))
    assert sorted(told) == [(1, 4), (2, 4), (3, 4), (4, 4)]
    run_study(study, 3, path)
    text = path.read_text()
    path.write_text(text[:-10])  # the last line was cut short
    again = run_study(study, 4, path)
    assert again == whole
    assert [r["replicate"] for r in again] == [0, 1, 2, 3]
    assert len(path.read_text().splitlines()) == 5
    first = json.loads(path.read_text().splitlines()[0])
    assert first["sampler"] == "collapsed"
    assert run_study(study, 4, path, report=lambda *_: pytest.fail("nothing is left to do")) == whole
    with pytest.raises(ValueError, match="made with other seed"):
        run_study(study, 4, path, seed=2)


def test_a_sampler_that_fails_is_no_pass():
    def break_prior(problem):
        return problem._replace(fixed=np.full_like(problem.fixed, np.nan))

    study = make_study("gibbs", shape="full", design=DESIGN, tune=20, ranked=19, thin=5, distort=break_prior)
    replicates = run_study(study, 2)
    assert all("not positive definite" in r["error"] for r in replicates)


def test_every_kind_of_quantity_is_ranked():
    names = name_quantities(small_study())
    wanted = (
        "Sigma_t[1,0]", "cor R_e[1,0]", "log|Sigma_t|", "Sigma_E[1,1]", "beta[1,1]", "mu[0]", "tau[1]",
        "log likelihood", "b1[5,0]", "b2[1,0,1]", "plot[empty cell,1]", "plot[new line,0]",
    )  # fmt: skip
    assert set(wanted) <= set(names)
    assert len(set(names)) == len(names)


PAIRS = {
    "main and interaction": (MainAndInteraction(k="free"), ByEnv(), False),
    "separable": (Separable(), Scaled(), False),
    "environments by trait": (EnvironmentsByTrait(), Shared(), False),
    "two factors": (FactorAnalytic(2), CommonCorrelation(), False),
    "free": (Free(), Shared(), True),
    "paper": (Proportional(), ByEnv(), True),
}


@pytest.mark.parametrize("name", PAIRS)
def test_truths_and_draws_are_the_same_quantities(name, monkeypatch):
    """A draw written at the truth itself has its values; where every column is recorded, no part of it is drawn."""
    monkeypatch.setattr("bmtme.testing.sbc.choose_design", lambda genetic: EVERY)
    *pair, line_effect = PAIRS[name]
    more = {"blocks": 2, "covariates": 1} if name == "paper" else {}
    subject = make_pair_study(*pair, line_effect=line_effect, **more).subject
    ranked = {what for what, _ in subject.draw(np.random.default_rng(1))[2]}
    assert ({"sd[1,0]", "b[0,1]", "slope[2,1]"} <= ranked) == (name == "paper")
    p = subject.problem(np.zeros(subject.case.observed.shape), 1)
    rng = np.random.default_rng(4)
    truth = draw_truth(subject.case, p, subject.pair, join_laws(*subject.pair), rng)
    p = subject.problem(truth.values, 1)
    s = pack_truth(subject.case, p, truth)
    walk, held = open_walk(p, s)
    walk.theta[:] = np.concatenate([join_restrictions(*subject.pair)(p, truth.theta), truth.line])
    assert resume_walk(*held)
    fill_fitted(*held[:3])
    measure_completed_density(*held[:3])
    draws = allocate_draws(p, 1, np.array([0]), True)
    assert record_draw(rng, *held[:3], walk.theta, 0, hold_draws(draws)) == 0
    wanted, found = subject._list_truth(p, truth), subject.read(draws, p)
    assert [what for what, _ in wanted] == [what for what, _ in found]
    np.testing.assert_allclose([x[0] for _, x in found], [x for _, x in wanted], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", ["paper", "two factors"])
def test_held_plots_are_predicted_as_users_see_them(name):
    """Means and variances beside those of the predictions, which the intervals are made of."""
    *pair, line_effect = PAIRS[name]
    study = make_pair_study(*pair, line_effect=line_effect, tune=10, ranked=2, thin=5)
    subject = study.subject
    values = subject.draw(np.random.default_rng(1))[0]
    draws = run_chain(study, subject.problem(values, 1), 1, np.random.SeedSequence(1), threading.Event())
    targets = choose_targets(subject)
    fitted, variance = fit_held(subject, targets, draws)
    predictor = Predictor([draws], subject.case.basis, targets)
    for h, (j, i) in enumerate(subject.held.values()):
        for l in range(2):
            rows = np.array([j])
            np.testing.assert_allclose(fitted[h, l], predictor.draw(i, l, rows)[0], rtol=1e-9, atol=1e-12)
            added = predictor.add(rows, predictor.genetic[:, i, l], l)[0] + predictor.residual[:, i, l]
            np.testing.assert_allclose(variance[h, l], added, rtol=1e-9)
    assert np.ptp(variance[:, 0, 0]) > 0


def test_designs_have_the_gaps_that_structures_serve():
    studies = {name: make_pair_study(*pair, line_effect=effect) for name, (*pair, effect) in PAIRS.items()}
    held = {name: set(study.subject.held) for name, study in studies.items()}
    everywhere = {"replicated", "new line", "empty cell"}
    assert held["free"] == held["environments by trait"] == everywhere
    assert held["separable"] == everywhere | {"absent column"}
    for name in ("main and interaction", "two factors", "paper"):
        assert held[name] == everywhere | {"absent column", "unseen environment"}
    for study in studies.values():
        assert study.subject.case.basis.rank < len(study.subject.case.model.G)  # clones
        assert not study.subject.case.observed.all()
    wanted = {
        "main and interaction": ("k[2]", "cor Sigma_gt[1,0]", "R_e[2][1,1]", "spread R_e[0]", "u[5,11]"),
        "separable": ("cor K[2,0]", "Sigma_t[1,1]", "log|R_e[2]|", "plot[absent column,1]"),
        "environments by trait": ("env_covariance[1][2,0]", "P[1,0]", "log|env_covariance[0]|"),
        "two factors": ("psi[7]", "cor C[7,0]", "plot[unseen environment,0]"),
        "free": ("R_e[1,0]", "log|C|", "Sigma_r[1,0]", "r[10,1]", "log likelihood"),
        "paper": ("Sigma_E[2,2]", "cor Sigma_t[1,0]", "tau[1]"),
    }
    for name, study in studies.items():
        names = name_quantities(study)
        assert set(wanted[name]) <= set(names), name
        assert len(set(names)) == len(names)


@compiled()
def narrow_back(part, theta, G, gradient):
    """As of `MainAndInteraction`, with log k ~ N(0, 0.2^2) in place of N(0, 1)."""
    lp = main_and_interaction.back(part, theta, G, gradient)
    for a in range(theta.shape[0] - part.seen.shape[0], theta.shape[0]):
        lp -= 12.0 * theta[a] ** 2
        gradient[a] -= 24.0 * theta[a]
    return lp


class Narrow(MainAndInteraction):
    back = staticmethod(narrow_back)


@pytest.mark.slow
def test_a_wrong_prior_in_a_structure_is_caught():
    """The right one passes, with the same replicates."""
    for structure, caught in ((MainAndInteraction, False), (Narrow, True)):

        def distort(problem, structure=structure):
            return problem._replace(genetic=point_part(structure(k="free"), problem.genetic))

        study = make_pair_study(MainAndInteraction(k="free"), Shared(), tune=300, ranked=19, thin=15, distort=distort)
        result = calibrate(study, 60)
        assert result.failed == 0
        if not caught:
            assert result.p_value() > 1e-3, str(result.uniformity())
            continue
        worst = min(result.uniformity(), key=lambda row: row["p_ecdf"])
        assert result.p_value() < 1e-6
        assert worst["quantity"].startswith("k["), worst


def test_thinning_must_fit():
    with pytest.raises(ValueError, match="multiple of 5"):
        make_study(thin=7, shape="full")


def test_band_holds_at_its_level():
    n, values = 200, 20
    low, high = find_band(n, values, 0.9)
    ranks = np.random.default_rng(1).integers(0, values, (5000, n))
    counts = np.array([count_below(r, values) for r in ranks])
    inside = np.mean(np.all((counts >= low) & (counts <= high), axis=1))
    assert inside == pytest.approx(stay_inside(n, low, high), abs=0.02)
    assert 0.9 <= stay_inside(n, low, high) < 0.93


def test_probability_of_staying_inside_by_hand():
    """Two ranks among three values, all nine pairs counted one by one."""
    low, high = np.array([1, 1]), np.array([2, 2])
    pairs = [(a, b) for a in range(3) for b in range(3)]
    inside = [1 <= sum(x < 1 for x in pair) <= 2 and 1 <= sum(x < 2 for x in pair) <= 2 for pair in pairs]
    assert stay_inside(2, low, high) == pytest.approx(sum(inside) / 9)
    everything = limit_counts(2, 3, 0.0)
    assert stay_inside(2, *everything) == pytest.approx(1.0)


def test_p_values_are_uniform_and_see_departures():
    rng = np.random.default_rng(2)
    for find in (find_ecdf_p, find_chi_square_p):
        p = np.array([find(rng.integers(0, 20, 200), 20) for _ in range(400)])
        for level in (0.05, 0.25, 0.5):
            assert abs(np.mean(p <= level) - level) < 4 * np.sqrt(level * (1 - level) / 400)
    shifted = np.minimum(rng.integers(0, 20, 400) + rng.integers(0, 4, 400), 19)
    assert find_ecdf_p(shifted, 20) < 1e-6
    assert find_ecdf_p(np.zeros(200, dtype=int), 20) < 1e-12
    narrow = rng.integers(5, 15, 200)
    assert find_ecdf_p(narrow, 20) < 1e-6
    assert find_chi_square_p(narrow, 20) < 1e-6
    assert find_chi_square_p(np.array([1, 2]), 20) == 1.0
    assert combine_p([0.01, 0.5, 0.9]) == pytest.approx(0.03)
    assert combine_p([0.9, 0.9]) == 1.0
    assert np.isnan(combine_p([0.9, np.nan]))  # no verdict rests on it: NaN > LEVEL is false
    assert combine_z(np.array([[-1.959964], [0.3]])) == pytest.approx(0.1)


@pytest.mark.parametrize("rho", [0.0, 0.7])
def test_effective_draws_of_an_autoregression(rho):
    rng = np.random.default_rng(3)
    found = []
    for _ in range(50):
        x = np.empty(1000)
        x[0] = rng.standard_normal()
        for t in range(1, 1000):
            x[t] = rho * x[t - 1] + np.sqrt(1 - rho**2) * rng.standard_normal()
        found.append(effective_draws(x))
    assert np.mean(found) == pytest.approx(1000 * (1 - rho) / (1 + rho), rel=0.1)
    assert effective_draws(np.ones(10)) == 10
