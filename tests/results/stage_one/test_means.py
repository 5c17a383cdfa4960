"""Adjusted means, their covariance and the likelihood against dense models, for one trait and for two."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bmtme
from bmtme.data.tables.files import Table
from bmtme.engines.mixed.reml import fit_reml
from bmtme.engines.mixed.start import find_ranges
from bmtme.errors import DataError
from bmtme.model.environments import Roles, read_environments
from bmtme.model.stage_one import lay_candidate, list_candidates
from bmtme.results.mixed.fit import MixedFit
from bmtme.results.mixed.problem import make_problem
from bmtme.results.stage_one.field import tabulate_plots
from bmtme.results.stage_one.means import tabulate_means
from tests.results.stage_one.conftest import COLUMNS
from tests.results.stage_one.dense import Field


@pytest.fixture(scope="module")
def north(plots):
    return plots[plots["site"] == "N"]


def read_north(north, traits=("yield",)):
    (environment,) = read_environments(Table.from_frame(north), Roles(traits=list(traits), **COLUMNS))
    return environment


def take(fit, term, parameter="variance"):
    table = fit.components
    return table.loc[(table["term"] == term) & (table["parameter"] == parameter), "estimate"].item()


def correlate(x, rho):
    return rho ** np.abs(np.subtract.outer(x, x))


def write_out(field: Field, fit, model: str):
    """The random terms and R of a model with one trait."""
    n = len(field.y)
    B = field.blocks()
    parts = [(B, take(fit, "rep:block") * np.eye(B.shape[1]), False)]
    if model == "ar1":
        term = "ar1(row):ar1(col):units"
        rho = [take(fit, term, f"autocorrelation {axis}") for axis in ("row", "col")]
        R = take(fit, term) * correlate(field.row, rho[0]) * correlate(field.col, rho[1])
        return parts, R
    if model == "rows_cols":
        for name, x in (("row", field.row), ("col", field.col)):
            Z = (x[:, None] == np.unique(x)).astype(float)
            parts.append((Z, take(fit, name) * np.eye(Z.shape[1]), False))
    if model == "ar1_nugget":
        term = "ar1(row):ar1(col)"
        rho = [take(fit, term, f"autocorrelation {axis}") for axis in ("row", "col")]
        G = take(fit, term) * correlate(field.row, rho[0]) * correlate(field.col, rho[1])
        parts.append((np.eye(n), G, False))
    if model == "psplines":
        for name, Z in field.splines().items():
            parts.append((Z, take(fit, name) / field.scale(Z, 0) * np.eye(Z.shape[1]), True))
    return parts, take(fit, "units") * np.eye(n)


def fit_near_start(laid, seed=1):
    """A fit whose parameters are near those where a search starts, so that none is zero."""
    problem = make_problem(laid.layout)
    start = find_ranges(problem).start
    start = start + np.random.default_rng(seed).normal(0, 0.4, len(start))
    return MixedFit(laid.fixed, laid.random, laid.residual, laid.layout, fit_reml(problem, start, most=1))


@pytest.mark.parametrize("model", ["linear", "rows_cols", "ar1", "ar1_nugget", "psplines"])
def test_every_model_is_the_one_written_out(north, model):
    environment = read_north(north)
    candidate = next(each for each in list_candidates(environment)[0] if each.name == model)
    laid = lay_candidate(environment, candidate, ["yield"])
    fit = fit_near_start(laid)
    field = Field(north, ["yield"])
    twin = field.find_means(*write_out(field, fit, model))
    assert fit.log_likelihood == pytest.approx(twin.log_likelihood, abs=1e-8)
    check_means(environment, fit, twin)
    check_deletions(environment, fit, field, twin)


def check_means(environment, fit, twin):
    table, covariance = tabulate_means(environment, fit)
    there = table[table["mean"].notna()]
    keys = list(zip(there["line"], there["trait"], strict=True))
    assert sorted(keys) == sorted(twin.cells)
    np.testing.assert_allclose(there["mean"], [twin.means[key] for key in keys], rtol=1e-8)
    wanted = twin.covariance.loc[covariance.index.to_list(), covariance.index.to_list()]
    np.testing.assert_allclose(covariance, wanted, atol=1e-8 * wanted.to_numpy().max())


def check_deletions(environment, fit, field, twin):
    """Every plot as the others predict it: generalised least squares without it."""
    table = tabulate_plots(environment, fit).set_index(["trait", "row_of_table"])
    Py, own = twin.P @ field.y, np.diag(twin.P)
    for k in range(len(field.y)):
        found = table.loc[(field.table["trait"].iloc[k], str(field.table["plot"].iloc[k]))]
        assert found["value"] == field.y[k]
        if own[k] < 1e-8:
            assert np.isnan(found["standardised"])
            assert np.isnan(found["residual"])
            continue
        assert found["standardised"] == pytest.approx(Py[k] / np.sqrt(own[k]), abs=1e-7)
        assert found["expected"] == pytest.approx(field.y[k] - Py[k] / own[k], abs=1e-7)


def test_two_traits_jointly(north):
    """Splines and blocks of each trait, residuals that covary within plots, gaps of either trait."""
    names = ("yield", "protein")
    environment = read_north(north, names)
    candidate = next(each for each in list_candidates(environment)[0] if each.has_splines)
    fit = fit_near_start(lay_candidate(environment, candidate, names))
    field = Field(north, names)
    B = field.blocks()
    parts = []
    for t, trait in enumerate(names):
        own = (field.trait == t)[:, None]
        parts.append((B * own, take(fit, "diag(trait):rep:block", f"variance {trait}") * np.eye(B.shape[1]), False))
        for name, Z in field.splines().items():
            s2 = take(fit, f"diag(trait):{name}", f"variance {trait}") / field.scale(Z, t)
            parts.append((Z * own, s2 * np.eye(Z.shape[1]), True))
    S = np.zeros((2, 2))
    S[0, 0], S[1, 1] = (take(fit, "us(trait):units", f"variance {trait}") for trait in names)
    S[0, 1] = S[1, 0] = take(fit, "us(trait):units", "covariance protein, yield")
    plot = field.table["plot"].to_numpy()
    R = S[np.ix_(field.trait, field.trait)] * (plot[:, None] == plot)
    twin = field.find_means(parts, R)
    assert fit.log_likelihood == pytest.approx(twin.log_likelihood, abs=1e-8)
    check_means(environment, fit, twin)
    check_deletions(environment, fit, field, twin)
    assert abs(S[0, 1]) > 0.05


def test_two_stages_are_one(north):
    """With these errors and the variances of one stage, predictions of lines are those of one stage."""
    environment = read_north(north)
    candidate = list_candidates(environment)[0][0]
    fit = fit_near_start(lay_candidate(environment, candidate, ["yield"]))
    field = Field(north, ["yield"])
    parts, R = write_out(field, fit, "linear")
    n, s2 = len(field.cells), 1.3
    X = np.column_stack([np.ones(len(field.y)), field.rest])
    V = R + sum(Z @ G @ Z.T for Z, G, _ in parts) + s2 * field.lines @ field.lines.T
    one = s2 * field.lines.T @ predict(X, V, field.y)
    table, covariance = tabulate_means(environment, fit)
    means = table.set_index("line")["mean"].loc[[line for line, _ in field.cells]].to_numpy()
    errors = covariance.loc[field.cells, field.cells].to_numpy()
    two = s2 * predict(np.ones((n, 1)), errors + s2 * np.eye(n), means)
    np.testing.assert_allclose(two, one, atol=1e-8)


def predict(X, V, y):
    """V^-1 (y - X b) by generalised least squares."""
    Q = np.linalg.inv(V)
    return Q @ (y - X @ np.linalg.solve(X.T @ Q @ X, X.T @ Q @ y))


def test_lines_without_values_are_not_estimable(pair):
    table = pair.table.set_index(["line", "trait"])
    assert not table.loc["g5", "estimable"].any()
    assert table.loc["g5", "n_plots"].tolist() == [0, 0]
    assert table.loc[("g7", "yield"), "estimable"]
    assert not table.loc[("g7", "protein"), "estimable"]
    assert pair.table["n_plots"].sum() == len(pair.plots)


def test_replicates_that_share_no_line(north):
    """Nothing tells such replicates from their lines."""
    own = north.assign(rep=(north["gen"].str[1:].astype(int) % 2).astype(str))
    message = "No mean of the trait 'yield' can be estimated in environment 'N': no line connects the replicates 'rep'"
    with pytest.raises(DataError, match=message):
        bmtme.adjust(own, "gen", "site", "yield", "rep")


def test_rows_in_any_order(plots, auto):
    shuffled = plots.sample(frac=1, random_state=3)
    again = bmtme.adjust(shuffled, traits="yield", **COLUMNS)
    one, two = (each.table.sort_values(["env", "line"]) for each in (auto, again))
    np.testing.assert_array_equal(one["mean"], two["mean"])
    np.testing.assert_array_equal(one["se"], two["se"])
    np.testing.assert_allclose(one["se_stage2"], two["se_stage2"], rtol=1e-12)
    one, two = (each.candidates.sort_values("env", kind="stable", ignore_index=True) for each in (auto, again))
    pd.testing.assert_frame_equal(one, two, check_exact=True)


def test_levels_of_a_design_do_not_matter(north, auto):
    """Adding to a replicate, and a plane over the field, leaves differences as they are."""
    moved = north.copy()
    row, col = moved["row"].astype(float), moved["col"].astype(float)
    moved["yield"] += 30 * (moved["rep"] == "R2") + 2 * row - 0.7 * col + 0.1 * row * col
    model = auto.candidates.query("env == 'N' and chosen")["model"].item()
    again = bmtme.adjust(moved, traits="yield", spatial=model, **COLUMNS)
    one, two = (each.table.set_index(["env", "line"])["mean"].loc["N"].dropna() for each in (auto, again))
    gap = two.loc[one.index] - one
    np.testing.assert_allclose(gap - gap.mean(), 0.0, atol=1e-5)


def test_a_second_stage_takes_them(pair):
    trial = bmtme.Trial.from_means(pair)
    assert (trial.traits, trial.envs) == (("yield", "protein"), ("N",))
    at = [trial.lines.index(line) for line in ("g1", "g3")]
    where = [trial.line_index.tolist().index(j) for j in at]
    table = pair.table.set_index(["line", "trait"])["mean"]
    assert trial.values[where[0], 1] == table.loc[("g1", "protein")]
    V = pair.covariances["N"].loc[("g1", "yield"), ("g3", "protein")]
    assert trial.error_covariances["N"][where[0], 0, where[1], 1] == V
