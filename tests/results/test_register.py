"""One entry of the register is all that a quantity or a column needs: everything that comes out goes by it."""

import dataclasses
import re
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import bmtme
from bmtme import CV1, Relationship, Trial, cross_validate, fit, simulate
from bmtme.cv.compare import COMPARED, compare
from bmtme.cv.diagnostics import list_parameters
from bmtme.cv.heritability import HERITABILITY, measure_heritability
from bmtme.cv.result import CrossValidation
from bmtme.report.tables import describe_cv, describe_fit
from bmtme.results import decided, quantities, scores
from bmtme.results.docstrings import document
from bmtme.results.entries import GENETIC, NONE, SQUARE, VALUE, Column, Quantity
from bmtme.results.fisher import Direction, Point
from bmtme.results.fit import Fit
from bmtme.results.information import slopes_along
from bmtme.results.quantities import BETA, R_E, SIGMA_E, SIGMA_T
from bmtme.results.record import read_record
from bmtme.results.rows import derive_rows
from bmtme.results.scores import Score
from bmtme.results.storage import read_table
from bmtme.results.summary import summarise_posterior
from tests.helpers.checkout import ROOT

SHORT = {"draws": 30, "tune": 20, "chains": 2, "seed": 3}
PAGE = ROOT / "examples" / "outputs.md"

# --- throw-away entries -----------------------------------------------------------------------------------------------


def odds(values, spread):
    """Genetic by residual variance, by environment and trait."""
    E = np.diagonal(values["Sigma_E"], axis1=-2, axis2=-1) if "Sigma_E" in values else np.zeros(1)
    S, R = (np.diagonal(values[name], axis1=-2, axis2=-1)[..., None, :] for name in ("Sigma_t", "R_e"))
    return spread * S * (1.0 + E[..., None]) / R


ODDS = Quantity("odds", ("env", "trait"), NONE, "a throw-away", needs=(SIGMA_T, R_E), derive=odds, title="Odds")
COLUMNS = (
    Column("median", "float64", VALUE, "a throw-away", lambda cells: np.median(cells.fitted, axis=1)),
    Column("above", "int64", NONE, "a throw-away", lambda cells: (cells.fitted > 0).sum(axis=1)),
    Column("new", "bool", NONE, "a throw-away", lambda cells: cells.extra.any(axis=1)),
    Column("sign", "text", NONE, "a throw-away", lambda cells: np.where(cells.expected > 0, "+", "NA")),
)
ODD = Score(
    name="odd", kind="float64", unit=SQUARE, meaning="a throw-away", best="lowest", title="odd", heading="Odd",
    make=lambda cells: (cells["mean"] - cells["observed"]).mean() ** 2,
)  # fmt: skip


@pytest.fixture
def enlarged(monkeypatch):
    monkeypatch.setattr(quantities, "QUANTITIES", (*quantities.QUANTITIES, ODDS))
    monkeypatch.setattr(quantities, "PREDICTIONS", (*quantities.PREDICTIONS, *COLUMNS))
    monkeypatch.setattr(scores, "SCORES", (*scores.SCORES, ODD))


def make_data():
    """Without the records of two lines, and environments that are not in the order of their names."""
    sim = simulate(lines=14, envs=3, traits=2, reps=2, missing=0.1, relationship="markers", seed=2)
    frame = sim.frame[~sim.frame["line"].isin(["L05", "L09"])].replace({"env": {"E1": "Z"}})
    frame[["T1", "T2"]] *= [1.0, 100.0]
    return Trial.from_frame(frame, line="line", env="env", traits=["T1", "T2"], rep="rep"), sim.relationship


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_row_and_columns_by_one_entry_each(enlarged, tmp_path):
    """In the summary, the predictions, the files, what is loaded and what is printed."""
    trial, relationship = make_data()
    result = fit(trial, relationship, keep_effects="all", **SHORT)
    p, spread = result.idata.posterior, result.run["facts"]["spread"]
    summary, table = result.summary(), result.predictions()
    for i, env in enumerate(trial.envs):
        for l, trait in enumerate(trial.traits):
            S, E, R = p["Sigma_t"][..., l, l], p["Sigma_E"][..., i, i], p["R_e"][..., l, l]
            expected = float((spread * S * (1 + E) / R).mean())
            assert summary.loc[f"odds[{env}, {trait}]", "mean"] == pytest.approx(expected)
    assert list(summary.index[-6:]) == [f"odds[{env}, {trait}]" for env in trial.envs for trait in trial.traits]
    assert np.isfinite(summary.loc["odds[Z, T1]", "r_hat"])

    names = [column.name for column in COLUMNS]
    assert list(table.columns)[-5:] == ["upper", *names]
    kinds = {"median": "f", "above": "i", "new": "b", "sign": "O"}
    assert {name: table[name].dtype.kind for name in names} == kinds
    there = table[~table["new"]]
    assert set(table.loc[table["new"], "line"]) == {"L05", "L09"}
    for row in there.iloc[::7].itertuples():
        place = {"env": row.env, "trait": row.trait}
        value = p["beta"].sel(place) + p["b1"].sel(line=row.line, trait=row.trait) + p["b2"].sel(line=row.line, **place)
        assert row.median == pytest.approx(float(np.median(value)))
        centre = float(result.idata["constant_data"]["trait_mean"].sel(trait=row.trait))
        assert row.above == int((value > centre).sum())
        assert row.sign == ("+" if row.mean > centre else "NA")

    result.save(tmp_path / "run")
    files = [(tmp_path / "run" / name).read_text().splitlines() for name in ("summary.csv", "predictions.csv")]
    assert files[0][-1].startswith('"odds[')
    assert files[1][0].endswith(",upper,median,above,new,sign")
    loaded = bmtme.load(tmp_path / "run")
    pd.testing.assert_frame_equal(loaded.summary(), summary)
    pd.testing.assert_frame_equal(loaded.predictions(), table)
    assert "Odds: mean (90% interval)" in describe_fit(summary, result.run, trial)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_cross_validation_takes_the_entries_over(enlarged, tmp_path):
    trial, relationship = make_data()
    cv = cross_validate(trial, relationship, scheme=CV1(2, 0.2), **SHORT)
    assert list(cv.predictions.columns)[-6:] == ["log_score", "crps", "median", "above", "new", "sign"]
    assert {cv.predictions[column.name].dtype.kind for column in COLUMNS} == set("fibO")
    cv.save(tmp_path / "cv")
    _, kinds = read_record(tmp_path / "cv", "cross-validation")
    for name, table in (("predictions", cv.predictions), ("scores", cv.scores), ("summary", cv.summary())):
        found = read_table(tmp_path / "cv" / f"{name}.csv", kinds[f"{name}.csv"])
        pd.testing.assert_frame_equal(found, table)
    cells = cv.predictions.groupby(["partition", "env", "trait"], sort=False)
    expected = cells.apply(lambda t: (t["mean"] - t["observed"]).mean() ** 2, include_groups=False)
    np.testing.assert_allclose(
        cv.scores["odd"], expected.loc[list(cv.scores[expected.index.names].itertuples(index=False, name=None))]
    )
    assert {"odd_mean", "odd_se", "odd_rank"} <= set(cv.summary().columns)
    header = next(line for line in describe_cv(cv.summary(), cv.run, trial).splitlines() if line.startswith("trait "))
    assert header.split()[-3:] == ["Pearson", "MSEP", "Odd"]


def test_r_hat_of_a_cross_validation_counts_a_new_row(enlarged):
    rng = np.random.default_rng(1)
    chain = SimpleNamespace(
        beta=rng.normal(size=(9, 2, 1)),
        Sigma_t=rng.random((9, 1, 1)),
        s2_E=rng.random((9, 2)),
        R_e=rng.random((9, 1, 1)),
    )
    found = dict(list_parameters([chain], [BETA, SIGMA_T, SIGMA_E, R_E], {"env": ["E1", "E2"], "trait": ["T"]}))
    assert list(found)[-2:] == ["odds[E1, T]", "odds[E2, T]"]
    assert not any(name.startswith("beta") for name in found)
    expected = chain.Sigma_t[:, 0, 0] * (1 + chain.s2_E[:, 1]) / chain.R_e[:, 0, 0]
    np.testing.assert_allclose(found["odds[E2, T]"][0], expected)


def test_a_new_row_that_shows_the_prior_is_marked(monkeypatch):
    """One record a line of unrelated lines: of the two variances only the sum is known."""
    total = Quantity(
        "total", ("trait",), NONE, "a throw-away", needs=(SIGMA_T, R_E),
        derive=lambda values, spread: np.diagonal(spread * values["Sigma_t"] + values["R_e"], axis1=-2, axis2=-1),
    )  # fmt: skip
    sd = Quantity(
        "sd", ("trait",), NONE, "a throw-away", needs=(SIGMA_T,),
        derive=lambda values, spread: np.sqrt(np.diagonal(values["Sigma_t"], axis1=-2, axis2=-1)),
    )  # fmt: skip
    monkeypatch.setattr(quantities, "QUANTITIES", (*quantities.QUANTITIES, ODDS, total, sd))
    sim = simulate(lines=40, envs=1, traits=1, heritability=0.5, seed=2)
    trial = Trial.from_frame(sim.frame, line="line", env="env", traits=["T1"], rep="rep")
    settings = {"draws": 400, "tune": 300, "chains": 2, "seed": 1, "keep_effects": "none"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        notes = fit(trial, Relationship.identity(trial.lines), **settings).summary()["note"]
    told = "prior only: the data do not tell Sigma_t and R_e apart"
    assert told in notes["sd[T1]"]
    assert told in notes["Sigma_t[T1, T1]"]
    assert told in notes["odds[E1, T1]"]
    assert "prior only" not in notes["total[T1]"]


def test_slopes_are_derivatives():
    """Of a heritability by the quotient rule, along a step of each covariance, in units of the parameter's range."""
    S, E, R = np.array([[2.0, 0.3], [0.3, 0.5]]), np.array([0.4, 1.5]), np.array([[1.5, -0.2], [-0.2, 0.7]])
    none, change = np.zeros((2, 2)), np.array([[1.0, 0.4], [0.4, -0.3]])
    steps = [(change, np.zeros(2), none), (none, np.array([1.0, 0.2]), none), (none, np.zeros(2), change)]
    directions = [Direction("any", *step, spread) for step, spread in zip(steps, (0.1, 2.0, 30.0), strict=True)]
    found = slopes_along("heritability", Point(S, E, R), directions, 0.8)
    assert found.shape == (3, 2, 2)
    for k, (dS, dE, dR) in enumerate(steps):
        for i, l in np.ndindex(2, 2):
            V, N = 0.8 * S[l, l] * (1 + E[i]), R[l, l]
            dV = 0.8 * (dS[l, l] * (1 + E[i]) + S[l, l] * dE[i])
            expected = (N * dV - V * dR[l, l]) / (V + N) ** 2 * (0.1, 2.0, 30.0)[k]
            assert found[k, i, l] == pytest.approx(expected, rel=1e-6)
    found = slopes_along("R_e", Point(S, E, R), directions, 0.8)
    np.testing.assert_allclose(found, [none, none, 30.0 * change], rtol=1e-9)


# --- variables of other structures --------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_variable_over_cells_by_one_entry(monkeypatch, tmp_path):
    """C over the recorded environment x trait cells, from the draws of the chains, in the user's units and order."""

    def draw(chain):
        total = 1.0 + chain.s2_E[:, None, :] * np.eye(3)
        C = np.einsum("nij,nlq->niljq", total, chain.Sigma_t).reshape(len(total), 6, 6)
        return C[:, :5, :5]  # the last cell in computing order has no record

    C = Quantity("C", ("cell", "cell_bis"), GENETIC, "a throw-away", draw)
    monkeypatch.setattr(quantities, "QUANTITIES", (*quantities.QUANTITIES, C))
    trial, relationship = make_data()
    frame = trial.to_frame()
    frame.loc[frame["env"] == "Z", "T2"] = np.nan
    trial = Trial.from_frame(frame, line="line", env="env", traits=["T1", "T2"], rep="rep")
    assert trial.envs[0] == "Z"
    result = fit(trial, relationship, keep_effects="none", **SHORT)
    p = result.idata.posterior
    cells = ["Z x T1", "E2 x T1", "E2 x T2", "E3 x T1", "E3 x T2"]
    assert p["C"].dims == ("chain", "draw", "cell", "cell_bis")
    assert p["cell"].values.tolist() == p["cell_bis"].values.tolist() == cells
    for a in cells:
        for b in cells:
            (i, l), (j, q) = a.split(" x "), b.split(" x ")
            expected = (1 + p["Sigma_E"].sel(env=i, env_bis=j)) * p["Sigma_t"].sel(trait=l, trait_bis=q)
            np.testing.assert_allclose(p["C"].sel(cell=a, cell_bis=b), expected)
    summary = result.summary()
    assert sum(name.startswith("C[") for name in summary.index) == 15
    mean = float(p["C"].sel(cell="Z x T1", cell_bis="E2 x T2").mean())
    assert summary.loc["C[Z x T1, E2 x T2]", "mean"] == pytest.approx(mean)
    result.save(tmp_path / "run")
    loaded = bmtme.load(tmp_path / "run")
    pd.testing.assert_frame_equal(loaded.summary(), summary)
    assert loaded.idata.posterior["C"].attrs == {"meaning": "a throw-away", "unit": GENETIC.words}

    monkeypatch.setattr("bmtme.cv.diagnostics.derive_rows", lambda *given: rows.extend(derive_rows(*given)) or rows)
    rows = []
    cross_validate(trial, relationship, scheme=CV1(1, 0.2), **SHORT)
    assert sum(row.name.startswith("C[") for row in rows) == 15
    assert "C[E2 x T1, Z x T1]" in [row.name for row in rows]  # in computing order


def test_a_variable_of_the_same_name_by_environment(monkeypatch):
    """R_e of each environment beside the shared one in the register: the dimensions tell which it is."""
    import xarray

    share = Quantity(
        "share", ("env", "trait"), NONE, "a throw-away", needs=(quantities.R_BY_ENV,),
        derive=lambda values, spread: np.diagonal(values["R_e"], axis1=-2, axis2=-1) / 2,
    )  # fmt: skip
    monkeypatch.setattr(quantities, "QUANTITIES", (*quantities.QUANTITIES, share))
    R = np.random.default_rng(1).random((2, 50, 2, 2, 2))
    posterior = xarray.Dataset(
        {"R_e": (("chain", "draw", "env", "trait", "trait_bis"), R)},
        {"env": ["E1", "E2"], "trait": ["A", "B"], "trait_bis": ["A", "B"]},
    )
    facts = {
        "spread": 1.0,
        "prior_only": {"share[E2, B]": "why"},
        "bounds_only": {},
        "alike": [],
        "together": [[True] * 2] * 2,
    }
    facts |= {
        "recorded": [[True] * 2] * 2,
        "residual_here": [[True] * 2] * 2,
        "together_here": [[[True] * 2] * 2] * 2,
        "single_alike": False,
    }
    summary = summarise_posterior(posterior, facts)
    rows = [f"R_e[{env}, {pair}]" for env in ("E1", "E2") for pair in ("A, A", "A, B", "B, B")]
    rows += [f"residual_correlation[{env}, A, B]" for env in ("E1", "E2")]
    assert summary.index.tolist() == [*rows, *(f"share[{env}, {trait}]" for env in ("E1", "E2") for trait in "AB")]
    assert summary.loc["R_e[E2, A, B]", "mean"] == pytest.approx(R[:, :, 1, 0, 1].mean())
    assert summary.loc["share[E2, B]", "mean"] == pytest.approx(R[:, :, 1, 1, 1].mean() / 2)
    assert "prior only: why" in summary.loc["share[E2, B]", "note"]


# --- pages ----------------------------------------------------------------------------------------------------------


def read_tables():
    """Rows of the page's tables (name, ...), by the text of the first cell of their header."""
    tables = {}
    for block in re.findall(r"(?:^\|.*\n)+", PAGE.read_text(encoding="utf-8"), re.MULTILINE):
        header, _, *rows = [
            [cell.strip() for cell in line.strip().strip("|").split(" | ")] for line in block.splitlines()
        ]
        tables[header[0].strip()] = [tuple(row) for row in rows]
    return tables


@pytest.mark.parametrize(
    "header, columns",
    [
        ("column of `summary.csv`", quantities.SUMMARY),
        ("column of `predictions.csv`", quantities.list_predictions()),
        (
            "further column",
            [column for column in quantities.list_hidden() if column not in quantities.list_predictions()],
        ),
        ("column of `scores.csv`", scores.list_scores()),
        ("column of `summary.csv` of a cross-validation", scores.outline_comparison()),
        ("column of `cv.compare()`", COMPARED),
        ("column of `heritability.csv`", HERITABILITY),
        ("column of `fit.ranking()` and `fit.index()`", decided.RANKING),
        ("column of `fit.joint_probabilities()`", decided.JOINT),
        ("column of `fit.correlations()`", decided.CORRELATIONS["trait"]),
        ("column of `fit.heritability()`", decided.HERITABILITIES),
        ("column of `fit.response()`", decided.RESPONSE),
        ("column of `fit.stability()`", decided.STABILITY),
        ("column of `fit.leave_one_out()`", decided.LEFT_OUT),
        ("column of `fit.marker_effects()`", decided.MARKER_EFFECTS),
        ("column of `fit.score()`", decided.SCORED),
    ],
)
def test_the_page_of_the_outputs_has_every_column(header, columns):
    """In this order, with its type, unit and meaning, and no other."""
    expected = [(f"`{each.name}`", each.kind, each.unit.words or "-", each.meaning) for each in columns]
    assert read_tables()[header] == expected, "\n".join(f"| {' | '.join(row)} |" for row in expected)


def test_the_page_of_the_outputs_has_every_quantity():
    expected = []
    for each in {(each.name, each.dims): each for each in quantities.QUANTITIES}.values():
        places = [*(["`idata.nc`"] if each.draws or each.reported else []), *(["`summary.csv`"] if each.listed else [])]
        dims = (
            ", ".join(each.dims).replace("trait, trait_bis", "two traits").replace("env, env_bis", "two environments")
        )
        dims = re.sub(r"\benv\b", "environment", dims.replace("cell, cell_bis", "two columns"))
        expected.append((f"`{each.name}`", dims, each.unit.words or "-", each.meaning, ", ".join(places)))
    assert read_tables()["quantity"] == expected, "\n".join(f"| {' | '.join(row)} |" for row in expected)


def test_docstrings_say_what_the_register_says():
    for documented, entries in (
        (Fit.summary, [*quantities.SUMMARY, *(each for each in quantities.QUANTITIES if each.listed)]),
        (Fit.predictions, quantities.list_predictions()),
        (Fit.ranking, decided.RANKING),
        (Fit.index, decided.RANKING),
        (Fit.joint_probabilities, decided.JOINT),
        (Fit.correlations, decided.CORRELATIONS["trait"]),
        (Fit.heritability, decided.HERITABILITIES),
        (Fit.response, decided.RESPONSE),
        (Fit.stability, decided.STABILITY),
        (Fit.marker_effects, decided.MARKER_EFFECTS),
        (CrossValidation, [*quantities.list_hidden(), *scores.list_scores(), *scores.list_overall(), *HERITABILITY]),
        (CrossValidation.summary, scores.outline_comparison()),
        (CrossValidation.compare, COMPARED),
        (compare, COMPARED),
        (measure_heritability, HERITABILITY),
        (bmtme.cv.score, scores.list_scores()),
        (bmtme.cv.score_means, scores.list_overall()),
        (bmtme.cv.summarise, scores.outline_comparison()),
    ):
        text = " ".join(documented.__doc__.split())
        assert not re.search(r"\{\w+\}", text)
        for entry in entries:
            assert f"* ``{entry.name}``: {entry.meaning}" in text


def test_a_docstring_without_a_place_is_refused():
    with pytest.raises(AssertionError, match="columns"):

        @document(columns=quantities.SUMMARY)
        def nothing():
            """No place."""


def test_names_are_unique():
    for columns in (
        quantities.SUMMARY,
        quantities.list_hidden(),
        scores.list_scores(),
        scores.list_overall(),
        scores.list_comparison(),
    ):
        names = [column.name for column in columns]
        assert len(set(names)) == len(names)
    keys = [
        (each.name, each.dims, tuple(need.name + str(need.dims) for need in each.needs))
        for each in quantities.QUANTITIES
    ]
    assert len(set(keys)) == len(keys)
    assert all(each.draws or each.derive or each.reported for each in quantities.QUANTITIES)
    assert dataclasses.is_dataclass(quantities.QUANTITIES[0])
