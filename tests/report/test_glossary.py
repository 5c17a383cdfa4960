"""One glossary, and an example of the interaction's variance."""

from __future__ import annotations

import math
import re

import pandas as pd
import pytest

import bmtme
from bmtme.report.glossary import GLOSSARY, explain_interaction, name_record
from bmtme.results.frames import SummaryTable
from tests.helpers.checkout import ROOT


def test_the_page_has_it() -> None:
    page = (ROOT / "examples" / "models.md").read_text(encoding="utf-8")
    part = page.split("## Glossary")[1].split("## ")[0]
    assert dict(re.findall(r"(?m)^\| (.+?) \| (.+) \|$", part)) == GLOSSARY


def make_summary(**means: float) -> pd.DataFrame:
    names = {name.replace("__", ", "): mean for name, mean in means.items()}
    table = pd.DataFrame({"mean": list(names.values())}, index=pd.Index(list(names), name="parameter"))
    return table.assign(sd=0.1, lower=0.0, upper=1.0, ess_bulk=900.0, ess_tail=900.0, r_hat=1.0, note="")


def test_interaction_by_an_example() -> None:
    """Of the first two environments; equal variances of 0.6 make 1 / 1.6."""
    table = make_summary(**{"beta[a__T]": 1.0, "Sigma_E[a__a]": 0.6, "Sigma_E[b__b]": 0.6, "Sigma_E[c__c]": 9.0})
    text = explain_interaction(table)
    assert "0.60 and 0.60 in its first two rows" in text
    assert f"1 / sqrt(1.60 x 1.60) = {1 / 1.6:.2f}" in text
    table.loc["Sigma_E[b, b]", "mean"] = 2.0
    assert f"1 / sqrt(1.60 x 3.00) = {1 / math.sqrt(1.6 * 3):.2f}" in explain_interaction(table)
    assert text in " ".join(str(SummaryTable(make_summary(**{"Sigma_E[a__a]": 0.6, "Sigma_E[b__b]": 0.6}))).split())
    assert "first two rows" in SummaryTable(table)._repr_html_()
    assert explain_interaction(make_summary(**{"beta[a__T]": 1.0})) == ""


def test_the_formula_is_that_of_the_model() -> None:
    """The correlation in the example is the one of C as the model makes it."""
    simulated = bmtme.simulate(lines=12, envs=2, traits=1, seed=2)
    trial = bmtme.Trial.from_frame(simulated.frame, line="line", env="env", rep="rep", traits=["T1"])
    with pytest.warns(UserWarning, match="a short run"):
        fit = bmtme.fit(trial, simulated.relationship, draws=4, tune=4, chains=1, progress=False)
    E = fit.idata["posterior"]["Sigma_E"].values[0]
    each = [1 / math.sqrt((1 + e[0, 0]) * (1 + e[1, 1])) for e in E]
    assert sum(each) / len(each) == pytest.approx(fit.correlations(over="env")["mean"][0])


def test_traits_one_at_a_time_have_no_example() -> None:
    table = make_summary(**{"Sigma_E[a__a__T1]": 0.6, "Sigma_E[a__a__T2]": 0.6})
    assert explain_interaction(table) == f"Sigma_E: {GLOSSARY['Sigma_E']}."


def test_what_a_heritability_is_of() -> None:
    assert name_record({"standard_errors": ["Yield"]}, plots=True) == "value without error"
    assert (name_record({}), name_record({}, plots=True)) == ("record", "plot")
