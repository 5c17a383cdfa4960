"""Pages of other runs than fits: their numbers are those of the tables, from a folder as from the result."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bmtme
from bmtme import mixed
from bmtme.report.html.mixed import judge
from bmtme.report.html.runs import make_page, report_run
from bmtme.results.mixed.storage import MixedTables
from tests.helpers.browsing import read_page, split
from tests.helpers.comparisons import make_result
from tests.results.stage_one.conftest import COLUMNS, make_plots


def test_cross_validation(tmp_path: Path):
    cv = make_result({"<b>good": 0.8, "bad": 0.1, "mean": np.nan}, baselines={"mean": "means"})
    cv.run |= {"versions": {"bmtme": "1"}, "seconds": {"sample": 1.0}}
    cv.run["settings"] |= {"tune": 10, "draws": 20, "chains": 2, "seed": 1, "sampler": "collapsed"}
    cv.run["data"] |= {"lines": 100, "records": 200}
    cv.report(tmp_path / "cv.html")
    page = read_page((tmp_path / "cv.html").read_text(encoding="utf-8"))
    shown = " ".join(page.texts)
    for sentence in cv.advice().split(". ")[:2]:
        assert " ".join(sentence.split()) in shown
    summary = cv.summary().set_index(["trait", "env", "model"])
    rows = page.tables["All scores"]
    assert len(rows) == 1 + len(summary)
    for cells in rows[1:]:
        own = summary.loc[tuple(cells[:3])]
        assert cells[3] == "10"
        if np.isfinite(own["pearson_mean"]):
            mean, error = split(cells[4])
            assert (mean, error) == pytest.approx((own["pearson_mean"], own["pearson_se"]), abs=6e-4)
        else:
            assert cells[4] == "-"
    rows = page.tables["Mean correlation by trait and model"]
    means = cv.summary().groupby(["trait", "model"])["pearson_mean"].mean()
    assert split(rows[1][1])[0] == pytest.approx(means["Yield", "<b>good"], abs=6e-4)
    rows = page.tables["Pearson correlation, over all"]
    own = cv.compare(by="all").iloc[0]
    assert rows[1][0] == f"{own['model']} - {own['against']}"
    assert split(rows[1][3].replace("+", ""))[0] == pytest.approx(own["difference"], abs=6e-4)


@pytest.fixture(scope="module")
def plots() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    frame = pd.DataFrame([(f"G{j}", f"<i>{k}") for j in range(15) for k in range(3)], columns=["gen", "rep"])
    frame["y"] = rng.normal(size=15).repeat(3) + 0.5 * rng.normal(size=45) + 5
    return frame


def test_mixed_model(plots: pd.DataFrame, tmp_path: Path):
    own = mixed.Model("y ~ rep", "gen").fit(plots)
    own.report(tmp_path / "live.html")
    own.save(tmp_path / "run")
    live = read_page((tmp_path / "live.html").read_text(encoding="utf-8"))
    page = read_page(report_run(tmp_path / "run").read_text(encoding="utf-8"))
    assert live.tables == page.tables
    blups = own.blup("gen").sort_values("blup", ascending=False)
    rows = page.tables["gen"]
    assert rows[0] == ["gen", "effect", "SE", "PEV", "reliability", "records"]
    assert [row[0] for row in rows[1:]] == blups["gen"].tolist()
    assert [float(row[1]) for row in rows[1:]] == pytest.approx(blups["blup"].tolist(), abs=0.006)
    rows = page.tables["Variances and correlations"]
    assert [float(row[2]) for row in rows[1:]] == pytest.approx(own.components["estimate"].tolist(), rel=1e-3)
    assert "The numbers can be leaned on." in page.texts
    assert f"{own.log_likelihood:.4f}" in " ".join(page.texts)


def test_a_search_that_did_not_converge(plots: pd.DataFrame):
    own = mixed.Model("y ~ rep", "gen").fit(plots)
    run = {**own.record(), "versions": {}, "converged": False, "message": "stopped: start elsewhere", "notes": ["x"]}
    made = make_page(MixedTables(own.tables(), run), "run")
    assert [notice.tone for notice in made.verdict] == ["bad", "caution"]
    assert made.verdict[0].texts == ["The search stopped: start elsewhere."]


@pytest.mark.parametrize(("large", "told"), [(3, False), (9, True)])
def test_large_residuals_are_told(large: int, told: bool):
    """Of 224 normal residuals 0.6 lie beyond three standard deviations; nine say that these are not normal."""
    table = pd.DataFrame({"standardised": [3.5] * large + [0.5] * (224 - large)})
    run = {"converged": True, "message": "converged", "notes": []}
    first, *others = judge(run, table)
    assert (first.tone, len(others)) == (("caution", 1) if told else ("good", 0))
    assert not told or others[0].texts[0].startswith("9 of 224 values lie more than 3 standard deviations")


def test_posterior_of_a_mixed_model(plots: pd.DataFrame, tmp_path: Path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        own = mixed.Model("y ~ rep", "gen").posterior(plots, draws=50, chains=2, cores=1, progress=False)
    own.asked["heritability"] = own.heritability("gen")
    own.save(tmp_path / "run", predict=["rep"])
    page = read_page(report_run(tmp_path / "run").read_text(encoding="utf-8"))
    assert len(page.tables["Heritabilities"]) == 1 + len(own.asked["heritability"])
    means = own.predict("rep").sort_values("mean", ascending=False)
    assert [row[0] for row in page.tables["rep"][1:]] == means["rep"].astype(str).tolist()
    summary = own.summary()
    rows = page.tables["Variances and correlations"]
    assert [row[0] for row in rows[1:]] == [f"{term}[{parameter}]" for term, parameter in summary.index]
    assert [float(row[1]) for row in rows[1:]] == pytest.approx(summary["mean"].tolist(), abs=0.01)
    effects = own.effects("gen").sort_values("mean", ascending=False)
    assert [row[0] for row in page.tables["gen"][1:]] == effects["gen"].tolist()
    assert " ".join(own.diagnose().split("\n\n")[0].split()) in page.texts


def test_adjusted_means(tmp_path: Path):
    means = bmtme.adjust(make_plots(), traits="yield", spatial="auto", **COLUMNS)
    means.save(tmp_path / "run")
    page = read_page(report_run(tmp_path / "run").read_text(encoding="utf-8"))
    rows = page.tables["Environments"]
    own = means.heritability
    assert [row[0] for row in rows[1:]] == own["env"].tolist()
    assert [float(row[rows[0].index("H2 Cullis")]) for row in rows[1:]] == pytest.approx(own["cullis"], abs=0.006)
    table = means.table.set_index(["line", "env"])
    rows = page.tables["yield"]
    for cells in rows[1:]:
        for cell, env in zip(cells[2:], rows[0][2:], strict=True):
            if (cells[0], env) in table.index and table.loc[(cells[0], env), "estimable"]:
                assert split(cell)[0] == pytest.approx(table.loc[(cells[0], env), "mean"], abs=0.06)
            else:
                assert cell == "-"
    assert "Not estimable: " in " ".join(page.texts)
    bare = bmtme.AdjustedMeans(means.table, means.covariances)
    bare.save(tmp_path / "bare")
    page = read_page(report_run(tmp_path / "bare").read_text(encoding="utf-8"))
    assert page.tables["yield"] == rows
    assert "of plots and models of the field the folder says nothing" in " ".join(page.texts)
