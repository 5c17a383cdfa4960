"""What the terminal shows of a fit."""

import pytest

from bmtme import fit, simulate
from bmtme.columns import MOST_ROWS
from bmtme.report.tables import describe_fit
from bmtme.results.fit import Fit
from tests.helpers.trials import trial_of
from tests.reported.design import TRAITS

pytestmark = pytest.mark.filterwarnings("ignore:a short run")


def read_table(text, title):
    """Cells of a table of `describe_fit` by (row, column), without the mark of the prior."""
    part = next(part for part in text.split("\n\n") if part.startswith(title)).splitlines()
    header = part[1].split()
    rows = {line.split()[0]: line.strip().split("  ")[1:] for line in part[2:] if not line.startswith("  *")}
    cells = {row: [cell.strip().rstrip("*") for cell in found if cell.strip()] for row, found in rows.items()}
    return {(row, column): cell for row, found in cells.items() for column, cell in zip(header, found, strict=False)}


def test_report_of_a_fit(data, recorded, fitted, orders):
    envs, traits = orders
    summary = fitted.summary()
    text = describe_fit(summary, fitted.run, trial_of(data[0]), width=200)

    def cell(name):
        row = summary.loc[name]
        numbers = [f"{row[column]:.2f}".replace("-0.00", "0.00") for column in ("mean", "lower", "upper")]
        return "{} ({}, {})".format(*numbers)

    expected = {(env, trait): cell(f"heritability[{env}, {trait}]") for env in envs for trait in traits}
    assert read_table(text, "Heritability") == expected
    for kind in ("Genetic", "Residual"):
        pairs = [(two, one) for k, one in enumerate(traits) for two in traits[k + 1 :]]
        expected = {(two, one): cell(f"{kind.lower()}_correlation[{one}, {two}]") for two, one in pairs}
        assert read_table(text, f"{kind} correlation") == expected
    missing = recorded[TRAITS].isna().to_numpy().mean()
    assert f"{len(recorded)} records, {100 * missing:.1f}% of their values missing" in text


def test_notebook(fitted):
    """All columns are there, whatever the width of pandas, and no name is taken as HTML."""
    page = fitted._repr_html_()
    assert all(f"<th>{column}</th>" in page for column in fitted.summary().columns)
    assert "R-hat" in page
    assert page.count("<tr") == 1 + min(len(fitted.summary()), MOST_ROWS) + (len(fitted.summary()) > MOST_ROWS)
    assert all(note in page for note in fitted.summary()["note"].iloc[:5])
    named = Fit(fitted._groups, fitted.run, None)
    named._summary = fitted.summary().rename(index=lambda name: f"<b>{name}")
    assert "<b>" not in named._repr_html_()


def test_report_of_empty_cells(data):
    """Lines with a record, in environments where they have none."""
    sim = simulate(lines=12, missing=0.25, relationship="markers", seed=2)
    result = fit(trial_of(sim.frame), sim.relationship, draws=4, tune=2, chains=1, sampler="gibbs")
    text = describe_fit(result.summary(), result.run, trial_of(sim.frame))
    assert "25.0% of the line x environment cells without one" in text
