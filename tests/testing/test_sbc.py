"""The calibration instrument: uniform where the sampler is right, not where an error is planted; files that resume."""

import json

import numpy as np
import pytest

from bmtme.testing.sbc import collect_replicates, make_study, name_quantities, run_study
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


def test_collapsed_is_calibrated():
    result = calibrate(small_study(), 80)
    assert result.failed == 0
    assert len(result.names) > 30
    assert result.p_value() > 1e-3, str(result.uniformity())
    share, error = result.overall_coverage()
    assert abs(share - 0.9) < 4 * error


def wrong_prior(problem):
    """Residual standard deviations thought to be a fifth of what they are."""
    return problem._replace(prior_e=problem.prior_e._replace(scale=0.2 * problem.prior_e.scale))


def wrong_residuals(problem):
    """Differences between plots of one cell count three times."""
    return problem._replace(within=3.0 * problem.within)


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
