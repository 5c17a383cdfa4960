"""Which model an environment gets, and what is said of those that it cannot have."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bmtme
from bmtme import mixed
from bmtme.choices import SPATIAL
from bmtme.data.tables.files import Table
from bmtme.errors import DataError, UsageError
from bmtme.model.environments import Roles, read_environments
from bmtme.model.stage_one import lay_candidate, list_candidates

FIXED = "yield ~ 0 + gen + rep + r + c + r:c"
WORDS = {
    "linear": ("rep:block", "units"),
    "rows_cols": ("rep:block + row + col", "units"),
    "ar1": ("rep:block", "ar1(row):ar1(col)"),
    "ar1_nugget": ("rep:block + units", "ar1(row):ar1(col)"),
}


@pytest.fixture(scope="module")
def north(plots):
    return plots[plots["site"] == "N"]


def test_candidates_are_models_in_words(north, auto):
    """A nugget beside a residual field is the same model as a random field beside the residual of plots."""
    table = auto.candidates.query("env == 'N'").set_index("model")
    assert list(table.index) == list(SPATIAL[2:])
    named = north.assign(r=(north["row"].astype(float) - 14.5) / 3.5, c=(north["col"].astype(float) - 4) / 3)
    for model, (random, residual) in WORDS.items():
        fit = mixed.Model(FIXED, random, residual).fit(named)
        tolerance = 1e-6 if model != "ar1_nugget" else 0.02  # its autocorrelation slides to one
        assert table.loc[model, "log_likelihood"] == pytest.approx(fit.log_likelihood, abs=tolerance)
        assert table.loc[model, "parameters"] == fit.n_parameters
        assert table.loc[model, "aic"] == pytest.approx(fit.aic, abs=2 * tolerance)


def test_the_least_aic_is_chosen(auto):
    for env, own in auto.candidates.groupby("env"):
        (chosen,) = np.flatnonzero(own["chosen"])
        fitted = own[own["difference"].notna()]
        assert own["aic"].iloc[chosen] == fitted["aic"].min()
        assert own["difference"].iloc[chosen] == 0
        np.testing.assert_allclose(fitted["difference"], fitted["aic"] - fitted["aic"].min())
        assert auto.fits[env].aic == own["aic"].iloc[chosen]


def test_a_field_that_is_a_trend_is_not_chosen(auto):
    row = auto.candidates.query("env == 'N' and model == 'ar1_nugget'").squeeze()
    assert row["aic"] < auto.candidates.query("env == 'N' and chosen")["aic"].item()
    assert not row["chosen"]
    assert row["note"].startswith("an autocorrelation of one, which is a trend")


def test_without_positions(auto):
    own = auto.candidates.query("env == 'S'").set_index("model")
    assert own.index[own["chosen"]].tolist() == ["none"]
    assert set(own["note"]) == {"", "not fitted: no positions of plots"}


def narrow(plots, rows, cols):
    """Plots of the north in a field of its own shape."""
    few = plots[plots["site"] == "N"].dropna(subset="yield").copy()
    few["row"] = [str(k % rows + 1) for k in range(len(few))]
    few["col"] = [str(k // rows + 1) for k in range(len(few))]
    assert few["col"].astype(int).max() >= cols
    return few


def test_a_narrow_field(plots):
    """Two rows: effects, an autoregression and a spline along the columns alone."""
    means = bmtme.adjust(narrow(plots, 2, 20), "gen", "site", "yield", "rep", None, "row", "col", "auto")
    assert means.candidates["log_likelihood"].notna().all()
    names = {model: set(fit_terms(means, model)) for model in SPATIAL[2:]}
    assert names["rows_cols"] == {"col", "units"}
    assert names["ar1"] == {"row:ar1(col):units"}
    assert names["psplines"] == {"s(col)", "s(col) x row", "units"}


def fit_terms(means, model):
    """Names of the random terms and the residual of a model of the same plots."""
    fit = means.fits["N"]
    frame = fit.layout.plots.table.frame.assign(site="N")
    roles = Roles("gen", "site", "yield", "rep", None, "row", "col")
    (environment,) = read_environments(Table.from_frame(frame), roles)
    candidate = next(each for each in list_candidates(environment)[0] if each.name == model)
    layout = lay_candidate(environment, candidate, ["yield"]).layout
    return [design.name for design in (*layout.random, *layout.residual)]


def test_one_row(plots):
    few = narrow(plots, 1, 40)
    means = bmtme.adjust(few, "gen", "site", "yield", "rep", None, "row", "col")
    notes = means.candidates.set_index("model")["note"]
    assert means.candidates["log_likelihood"].notna().sum() >= 3
    assert not notes.str.contains("not fitted: unexpected").any()


def test_rows_alone(north):
    means = bmtme.adjust(north, "gen", "site", "yield", "rep", row="row")
    notes = means.candidates.set_index("model")["note"]
    assert set(notes[["ar1", "ar1_nugget", "psplines"]]) == {"not fitted: needs rows and columns"}
    assert means.candidates["log_likelihood"].notna().sum() == 2
    with pytest.raises(DataError, match=r"spatial='ar1' cannot be fitted in environment 'N': needs rows and columns"):
        bmtme.adjust(north, "gen", "site", "yield", "rep", row="row", spatial="ar1")


def test_few_degrees_of_freedom(north):
    """Four lines in two plots tell an error, and no field."""
    values = north.dropna(subset="yield")
    once = values.drop_duplicates("gen")
    few = values[~values.index.isin(once.index)].head(4)
    means = bmtme.adjust(pd.concat([once, few]), "gen", "site", "yield", row="row", col="col")
    own = means.candidates.set_index("model")
    assert own.index[own["chosen"]].tolist() == ["none"]
    assert own.loc["ar1", "note"] == "not fitted: lines leave 1 degree of freedom, and 10 are needed"
    with pytest.raises(DataError, match="No line of environment 'N' tells the error of a plot"):
        bmtme.adjust(once, "gen", "site", "yield", row="row", col="col")
    values.loc[~values.index.isin(once.index), "protein"] = np.nan
    with pytest.raises(DataError, match=r"a plot of the trait 'protein': .* Either leave out the trait or its values"):
        bmtme.adjust(values, "gen", "site", ["yield", "protein"])


def test_environments_of_single_plots_are_named_and_may_be_left_out(plots):
    """All of them at once, before anything is fitted, and the others can be had."""
    values = plots.dropna(subset="yield")
    north = values[values["site"] == "N"]
    single = values[values["site"] == "S"].drop_duplicates("gen")
    both = pd.concat([single, north, single.assign(site="T")])
    with pytest.raises(DataError, match=r"No line of environments 'S', 'T' tells .* envs= \(--envs\): 'N'; or take"):
        bmtme.adjust(both, "gen", "site", "yield", "rep")
    means = bmtme.adjust(both, "gen", "site", "yield", "rep", envs=["N"])
    alone = bmtme.adjust(north, "gen", "site", "yield", "rep")
    pd.testing.assert_frame_equal(means.table, alone.table)
    with pytest.raises(UsageError, match="envs names the environment 'n'"):
        bmtme.adjust(both, "gen", "site", "yield", "rep", envs=["n"])


def test_a_trait_of_one_value(plots):
    """Its means would have next to no errors, and the others' with it."""
    south = plots[plots["site"] == "S"].assign(protein=40.0)
    with pytest.raises(DataError, match=r"Environment 'S', trait 'protein': the fixed effects explain every value"):
        bmtme.adjust(south, "gen", "site", ["yield", "protein"], "rep")


def test_heritability_of_a_balanced_trial(auto):
    """Without a field, Cullis is 1 - MSE / MSG by analysis of variance (Piepho and Moehring 2007)."""
    own = auto.plots.query("env == 'S'")
    own = own.assign(rep=(own["row_of_table"].astype(int) - 56) // 12)
    table = own.pivot(index="line", columns="rep", values="value")
    assert table.shape == (12, 3)
    effects = table.sub(table.mean(axis=1), axis=0).sub(table.mean(axis=0) - table.to_numpy().mean())
    mse = float((effects**2).to_numpy().sum()) / 22
    msg = 3 * float(table.mean(axis=1).var(ddof=1))
    found = auto.heritability.query("env == 'S'").squeeze()
    assert found["cullis"] == pytest.approx(1 - mse / msg, abs=1e-5)
    assert found["sed"] == pytest.approx(np.sqrt(2 * mse / 3), rel=1e-5)
    assert (found["n_lines"], found["n_plots"]) == (12, 36)


def test_what_is_said(auto):
    said = " ".join(str(auto).split())
    for env, own in auto.candidates.groupby("env"):
        assert f"{env} {own.loc[own['chosen'], 'model'].item()}" in said
    table = auto.candidates.set_index(["env", "model"])["difference"]
    numbers = " ".join(f"{table['N', model]:.1f}" for model in ("linear", "rows_cols", "ar1"))
    assert f"N {numbers}".replace(" 0.0", " 0.0*") in said
    assert "trend an autocorrelation of one makes the level of all means arbitrary" in said
    assert "(1 of 2 environments): no positions of plots." in said
