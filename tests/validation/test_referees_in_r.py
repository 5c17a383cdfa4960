"""What the studies with referees in R rest on: matrices in and out, entries in order, environments of a design."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import bmtme
from validation import rscript
from validation.referees import environments, toyruns, toys, toytables, wheat599, wheatpriors
from validation.referees.estimates import compare, estimate, is_settled, name_triangle, take_triangle
from validation.registry import Options


def make_toy(lines: int = 6) -> toyruns.Toy:
    sim = bmtme.simulate(lines=lines, envs=2, traits=2, relationship="markers", seed=3)
    trial = bmtme.Trial.from_frame(sim.frame, line="line", env="env", traits=["T1", "T2"], rep="rep")
    G = np.asarray(sim.relationship.matrix) + 0.1 * np.eye(lines)
    relationship = bmtme.Relationship(G, lines=sim.relationship.lines).subset(trial.lines)
    return toyruns.Toy("simulated", trial, trial, relationship, toyruns.rescale(relationship), np.ones(2))


def make_run(
    toy: toyruns.Toy, given: dict[str, np.ndarray], Sigma_E: np.ndarray, means: dict[str, np.ndarray]
) -> toyruns.Run:
    return toyruns.Run(np.eye(2)[None], Sigma_E, np.eye(2)[None], means, given, toy.G, 1.0, 1.0)


def test_triangles_go_by_columns() -> None:
    matrix = np.array([[1.0, 2, 3], [2, 4, 5], [3, 5, 6]])
    assert take_triangle(matrix).tolist() == [1, 2, 3, 4, 5, 6]
    assert name_triangle(["a", "b", "c"]) == ["a", "a, b", "a, c", "b", "b, c", "c"]
    np.testing.assert_array_equal(toyruns.fill(take_triangle(matrix)[None])[0], matrix)


def test_design_by_environment_keeps_sigma_e() -> None:
    toy = make_toy()
    Sigma_E = np.array([[[2.0, 1.0], [1.0, 3.0]]])
    run = make_run(toy, {"z2": np.kron(np.eye(2), np.linalg.cholesky(toy.G))}, Sigma_E, {})
    np.testing.assert_allclose(toyruns.unscramble(toy, run), Sigma_E, atol=1e-12)


def test_sorted_eigenvalue_root_mixes_environments() -> None:
    toy = make_toy()
    values, vectors = np.linalg.eigh(np.asarray(toy.relationship.matrix))
    root = np.kron(np.eye(2), vectors * np.sqrt(values))
    order = np.argsort(-np.tile(values, 2), kind="stable")  # every eigenvalue once for each environment, side by side
    given = {"z2": root[:, order], "cells": np.eye(12)}
    run = make_run(toy, given, np.array([[[2.0, 1.0], [1.0, 3.0]]]), {})
    np.testing.assert_allclose(toyruns.unscramble(toy, run)[0], 2.5 * np.eye(2), atol=1e-12)


def test_offset_is_found() -> None:
    toy = make_toy()
    rng = np.random.default_rng(1)
    given = {"x": np.kron(np.eye(2), np.ones((6, 1))), "z1": np.tile(np.linalg.cholesky(toy.G), (2, 1)),
             "z2": np.kron(np.eye(2), np.linalg.cholesky(toy.G))}  # fmt: skip
    means = {name: rng.standard_normal((given[key].shape[1], 2)) for name, key in
             (("beta", "x"), ("b1", "z1"), ("b2", "z2"))}  # fmt: skip
    fitted = given["x"] @ means["beta"] + given["z1"] @ means["b1"] + given["z2"] @ means["b2"]
    shift = 0.1 * given["z1"].sum(axis=1, keepdims=True)
    off, left = make_run(toy, given, np.eye(2)[None], means | {"yHat": fitted - shift}).measure_offset()
    assert off == pytest.approx(np.abs(shift).max())
    assert left < 1e-12
    _, left = make_run(toy, given, np.eye(2)[None], means | {"yHat": fitted}).measure_offset()
    assert left > 1e-3


def test_compare_sees_what_is_there_only() -> None:
    rng = np.random.default_rng(2)
    one, other = (rng.standard_normal((2, 2000, 4)) for _ in range(2))
    assert compare(estimate(one), estimate(other))[1] > 0.01
    assert compare(estimate(one), estimate(other + np.array([0, 0, 0, 0.2])))[1] < 1e-3


def test_default_scales_have_their_modes_at_half_of_the_variance() -> None:
    rng = np.random.default_rng(4)
    values = rng.standard_normal((50, 4))
    scales = wheat599.set_scales(values, np.eye(50))
    V = np.cov(values.T)
    np.testing.assert_allclose(scales["residual"] / (5 + 4 + 1), V / 2)
    np.testing.assert_allclose(scales["genetic"] / (5 + 4 + 1), V / 2 / (1 - 1 / 50))


def test_few_draws_and_chains_apart_settle_nothing() -> None:
    rng = np.random.default_rng(3)
    good = estimate(rng.standard_normal((2, 1000, 3)))
    assert is_settled(good, good)
    assert not is_settled(good, estimate(rng.standard_normal((1, 100, 3))))
    assert not is_settled(good, estimate(rng.standard_normal((2, 1000, 3)) + np.array([0.0, 1.0])[:, None, None]))
    assert is_settled(estimate(rng.standard_normal((1, 1000, 3))))


def test_error_of_a_mean_is_that_of_the_values() -> None:
    """Not that of their ranks: here rare large values come in runs, and small ones are independent."""
    rng = np.random.default_rng(6)

    def measure() -> tuple[float, float]:
        bursts = np.repeat(rng.random((1, 40)) < 0.05, 25, axis=1)
        one = estimate((10.0 * bursts + rng.standard_normal((1, 1000)))[..., None])
        return float(one.mean[0]), float(one.error[0])

    found = np.array([measure() for _ in range(300)])
    assert found[:, 0].std() == pytest.approx(found[:, 1].mean(), rel=0.25)


def test_residuals_of_seen_environments_predict_hidden_ones() -> None:
    rng = np.random.default_rng(7)
    root = rng.standard_normal((3, 3))
    R, fitted = root @ root.T, rng.standard_normal((3, 3))
    seen = rng.standard_normal((3, 3))
    seen[0, 1] = seen[1, 0] = seen[1, 2] = np.nan
    found = environments.add_residuals(fitted, seen, R)
    P = np.linalg.inv(R)  # the conditional mean by the precision: -P_hh^-1 P_hs e_s
    e = seen - fitted
    assert found[0, 1] == pytest.approx(fitted[0, 1] - (P[1, 0] * e[0, 0] + P[1, 2] * e[0, 2]) / P[1, 1])
    h = [0, 2]
    expected = fitted[1, h] - np.linalg.solve(P[np.ix_(h, h)], P[h, 1] * e[1, 1])
    np.testing.assert_allclose(found[1, h], expected)
    np.testing.assert_array_equal(found[2], fitted[2])


def test_limit_is_for_all_comparisons_together() -> None:
    """The t quantile of 19 degrees of freedom for 5% over three other ways in two environments."""
    rng = np.random.default_rng(8)
    e = estimate(rng.standard_normal((2, 500, 2)))
    ways = (environments.MAIN, environments.FREE, environments.LEANING, environments.ALONE)
    accuracy = {way: 0.5 + 0.02 * rng.standard_normal((20, 2)) for way in ways}
    both = dict.fromkeys(ways[:2], e)
    found = environments.Comparison(["A", "B"], both, e, both, np.zeros(1), accuracy)
    draws = np.abs(rng.standard_t(19, (100_000, 6)))
    assert np.mean(draws > found.limit) == pytest.approx(0.05 / 6, rel=0.05)
    tables = found.list_tables()
    assert len(tables["Correlations between environments"].split("\n")) == 3
    assert [len(table.split("\n")) for table in tables.values()][2:] == [6, 5]


def test_overlapping_partitions_have_larger_errors() -> None:
    scores = np.random.default_rng(9).standard_normal((20, 3))
    _, error = environments.average(scores)
    np.testing.assert_allclose(error, scores.std(axis=0, ddof=1) * np.sqrt(1 / 20 + 0.25))


def test_prior_heritabilities_are_those_of_inverse_gammas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Diagonal entries of an inverse-Wishart of order 4 are IG((df - 3) / 2, scale / 2)."""
    monkeypatch.setattr(wheatpriors, "PRIOR_DRAWS", 10_000)
    rng = np.random.default_rng(10)
    values, matrix = rng.standard_normal((50, 4)), 2 * np.eye(50)
    spread = 2 - 2 / 50
    for df in (9, 5):
        # m = 2 times the genetic variance, scale 5 V over `spread`; residual IG(1, 5 V / 2)
        genetic = 2 / spread / rng.standard_gamma((df - 3) / 2, 200_000)
        residual = 1 / rng.standard_gamma(1.0, 200_000)
        expected = np.quantile(genetic / (genetic + residual), (0.05, 0.5, 0.95))
        drawn = wheatpriors.draw_bglr_prior(df, values, matrix, 1)
        np.testing.assert_allclose(np.quantile(drawn, (0.05, 0.5, 0.95)), expected, atol=0.02)
    assert np.median(wheatpriors.draw_default_prior(1)) == pytest.approx(0.5, abs=0.02)


def test_prior_heritability_of_bmtme_goes_with_the_scale_of_g(monkeypatch: pytest.MonkeyPatch) -> None:
    """m Sigma_t (1 + Sigma_E) to R_e, with entries IG(5 / 2, scale / 2) each."""
    monkeypatch.setattr(toyruns, "PRIOR_DRAWS", 10_000)
    scales = toyruns.Priors(np.eye(2), np.diag([2.0, 2.0, 2.0]), 3 * np.eye(2))
    rng = np.random.default_rng(11)
    t, E, e = (scale / 2 / rng.standard_gamma(2.5, 200_000) for scale in (1.0, 2.0, 3.0))
    for m in (1.0, 0.2):
        expected = np.median(m * t * (1 + E) / (m * t * (1 + E) + e))
        assert np.median(scales.draw_heritability(m, 1)) == pytest.approx(expected, abs=0.015)


def make_found(draws: int) -> toyruns.Found:
    """One simulated set whose chains hold so many independent draws."""
    toy = make_toy()
    rng = np.random.default_rng(12)
    covariances = [np.tile(np.eye(2), (draws, 1, 1)) for _ in range(3)]
    run = toyruns.Run(*covariances, {}, {}, toy.G, 1.0, 0.01)
    heritability = {way: estimate(0.5 + 0.1 * rng.standard_normal((1, draws, 4))) for way in toytables.STYLES}
    genetic = {way: rng.standard_normal((12, 2)) for way in (toyruns.DOCUMENTED, toyruns.REPAIRED, toyruns.DEFAULT)}
    return toyruns.Found(toy, run, run, heritability, genetic)


def test_chains_with_few_draws_are_marked_and_left_out() -> None:
    thin, enough = [make_found(40)], [make_found(1000)]
    for tabulate in (toytables.tabulate_heritability, toytables.tabulate_genetic):
        assert "†" in tabulate(thin)
        assert "†" not in tabulate(enough)
    assert toytables.tabulate_distances(thin).startswith("No set")
    own = enough[0].heritability[toyruns.DEFAULT].mean
    gap = np.abs(enough[0].heritability[toyruns.REPAIRED].mean - own)
    assert f"{gap.mean():.2f}, {gap.max():.2f}" in toytables.tabulate_distances(enough)


def test_faults_are_those_of_the_version_that_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(13)
    one = toyruns.Pair(make_toy(), *(estimate(rng.standard_normal((2, 400, 6))) for _ in range(2)), (1.0, 1.0),
                       (0.1, 1e-12))  # fmt: skip
    for version, verdict in ((toyruns.READ, True), ("9.9", None)):
        monkeypatch.setattr(toys, "find_version", lambda _, version=version: version)
        means, fitted = toys.judge(one)
        assert means.ok
        assert fitted.ok is verdict


def test_without_r_checks_are_not_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data_folder: Path) -> None:
    monkeypatch.setenv("BMTME_RSCRIPT", str(tmp_path / "none"))
    monkeypatch.setenv("BMTME_DATA", str(data_folder))
    rscript.find_version.cache_clear()
    try:
        rows = toys.run_quick(Options(1, 1, tmp_path, tmp_path))
    finally:
        rscript.find_version.cache_clear()
    assert [row.ok for row in rows] == [None]
    assert "BMTME" in rows[0].figure


@pytest.mark.skipif(rscript.find_rscript() is None, reason="no Rscript")
def test_matrices_pass_through_r(tmp_path: Path) -> None:
    script = tmp_path / "script.R"
    script.write_text('m <- read_matrix("m")\nwrite_matrix(is.na(m), "gaps")\nwrite_matrix(numbers[2] * t(m), "out")\n')
    m = np.array([[1.0, np.nan, 3.0], [4.0, 5.0, 1 / 3]])
    out = rscript.run_r(script, {"m": m}, 7.0, 0.1)
    np.testing.assert_array_equal(out["gaps"], np.isnan(m))
    np.testing.assert_array_equal(np.nan_to_num(out["out"]), np.nan_to_num(0.1 * m.T))
    script.write_text('stop("this is wrong")\n')
    with pytest.raises(RuntimeError, match="this is wrong"):
        rscript.run_r(script, {"m": m})
