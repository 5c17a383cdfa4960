"""What the studies with referees in R rest on: matrices in and out, entries in order, environments of a design."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import bmtme
from validation import rscript
from validation.referees import toyruns, toys, wheat599
from validation.referees.estimates import compare, estimate, name_triangle, take_triangle
from validation.registry import Options


def make_toy(lines: int = 6) -> toyruns.Toy:
    sim = bmtme.simulate(lines=lines, envs=2, traits=2, relationship="markers", seed=3)
    trial = bmtme.Trial.from_frame(sim.frame, line="line", env="env", traits=["T1", "T2"], rep="rep")
    G = np.asarray(sim.relationship.matrix) + 0.1 * np.eye(lines)
    relationship = bmtme.Relationship(G, lines=sim.relationship.lines).subset(trial.lines)
    root = np.linalg.cholesky(np.asarray(relationship.matrix))
    return toyruns.Toy("simulated", trial, trial, relationship, root, np.ones(2))


def make_run(given: dict[str, np.ndarray], Sigma_E: np.ndarray, means: dict[str, np.ndarray]) -> toyruns.Run:
    return toyruns.Run(np.eye(2)[None], Sigma_E, np.eye(2)[None], means, given, 1.0, 1.0)


def test_triangles_go_by_columns() -> None:
    matrix = np.array([[1.0, 2, 3], [2, 4, 5], [3, 5, 6]])
    assert take_triangle(matrix).tolist() == [1, 2, 3, 4, 5, 6]
    assert name_triangle(["a", "b", "c"]) == ["a", "a, b", "a, c", "b", "b, c", "c"]
    np.testing.assert_array_equal(toyruns.fill(take_triangle(matrix)[None])[0], matrix)


def test_design_by_environment_keeps_sigma_e() -> None:
    toy = make_toy()
    Sigma_E = np.array([[[2.0, 1.0], [1.0, 3.0]]])
    run = make_run({"z2": np.kron(np.eye(2), toy.root)}, Sigma_E, {})
    np.testing.assert_allclose(toyruns.unscramble(toy, run), Sigma_E, atol=1e-12)


def test_sorted_eigenvalue_root_mixes_environments() -> None:
    toy = make_toy()
    values, vectors = np.linalg.eigh(np.asarray(toy.relationship.matrix))
    root = np.kron(np.eye(2), vectors * np.sqrt(values))
    order = np.argsort(-np.tile(values, 2), kind="stable")  # every eigenvalue once for each environment, side by side
    given = {"z2": root[:, order], "cells": np.eye(12)}
    run = make_run(given, np.array([[[2.0, 1.0], [1.0, 3.0]]]), {})
    np.testing.assert_allclose(toyruns.unscramble(toy, run)[0], 2.5 * np.eye(2), atol=1e-12)


def test_offset_is_found() -> None:
    toy = make_toy()
    rng = np.random.default_rng(1)
    given = {"x": np.kron(np.eye(2), np.ones((6, 1))), "z1": np.tile(toy.root, (2, 1)),
             "z2": np.kron(np.eye(2), toy.root)}  # fmt: skip
    means = {name: rng.standard_normal((given[key].shape[1], 2)) for name, key in
             (("beta", "x"), ("b1", "z1"), ("b2", "z2"))}  # fmt: skip
    fitted = given["x"] @ means["beta"] + given["z1"] @ means["b1"] + given["z2"] @ means["b2"]
    shift = 0.1 * given["z1"].sum(axis=1, keepdims=True)
    off, left = make_run(given, np.eye(2)[None], means | {"yHat": fitted - shift}).measure_offset()
    assert off == pytest.approx(np.abs(shift).max())
    assert left < 1e-12
    _, left = make_run(given, np.eye(2)[None], means | {"yHat": fitted}).measure_offset()
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
