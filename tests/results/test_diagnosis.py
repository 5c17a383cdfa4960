"""What a fit says of itself: what to trust in words, and the first look in a terminal and in a notebook."""

from __future__ import annotations

import copy
import re

import numpy as np
import pandas as pd
import pytest

from bmtme import Relationship
from bmtme.results.fit import Fit
from tests.helpers.fits import fit_frame
from tests.helpers.pages import parse
from tests.helpers.trials import simulate_small

pytestmark = pytest.mark.filterwarnings("ignore:a short run")
ODD = '<b>&"x"</b>'


@pytest.fixture
def trusted(fitted: Fit) -> Fit:
    """A fit whose chains agree in all, of which nothing is to be said: by its summary and its record."""
    run = copy.deepcopy(fitted.run)
    run["data"]["lines"] = 300
    run["facts"]["records"] = np.full_like(run["facts"]["records"], 300).tolist()
    fit = Fit(fitted._groups, run, fitted._predictions)
    fit._summary = pd.DataFrame(fitted.summary()).assign(ess_bulk=900.0, ess_tail=800.0, r_hat=1.002, note="")
    return fit


def alter(fit: Fit, row: str, **cells: object) -> Fit:
    for name, value in cells.items():
        fit._summary.loc[row, name] = value
    return fit


def read(fit: Fit) -> list[str]:
    """Paragraphs without their line breaks."""
    return [" ".join(part.split()) for part in fit.diagnose().split("\n\n")]


def test_nothing_to_say(trusted):
    verdict, chains = read(trusted)
    assert verdict == "The numbers can be leaned on."
    assert chains.startswith("The chains agree")


@pytest.mark.parametrize("cells", [{"r_hat": 1.02}, {"ess_bulk": 399.0}, {"ess_tail": 399.0}])
def test_chains_that_do_not_suffice(trusted, cells):
    verdict, chains = read(alter(trusted, "beta[E1, T1]", **cells))
    assert verdict == "Do not lean on these numbers yet."
    assert "beta[E1, T1]" in chains
    assert re.search(r"tune=\d+, draws=\d+", chains)


def test_divergences_and_corners(trusted):
    trusted.run["sampling"]["divergences"] = [trusted.run["settings"]["draws"], 0]
    verdict, chains = read(trusted)
    assert verdict == "Do not lean on these numbers yet."
    assert chains.startswith("Do NOT lean on these numbers: 20 of 40 draws diverged")
    trusted.run["sampling"] |= {"divergences": [0, 0], "corners": [{"env": 0, "trait": 1, "low": 0.4, "high": 0.5}]}
    verdict, chains = read(trusted)
    assert verdict == "Do not lean on these numbers yet."
    assert chains.startswith("The data have two explanations: the heritability of T2 in E1")


def test_what_is_not_known(trusted):
    alter(trusted, "R_e[T1, T2]", note="prior only: never on one record; R-hat above 1.01")
    alter(trusted, "Sigma_E[E2, E2]", note="prior only: nothing was recorded in this environment")
    alter(trusted, "heritability[E1, T1]", note="the data hardly say: the interval covers 0.90 of (0, 1)")
    verdict, _, prior, hardly = read(trusted)
    assert verdict == "Most numbers can be leaned on; those below cannot, or less."
    assert prior.startswith(
        f"Known from the prior only (2 of {len(trusted.summary())}). R_e[T1, T2]: never on one record. "
        "Sigma_E[E2, E2]: nothing was recorded in this environment."
    )
    assert hardly.startswith(f"Hardly known (1 of {len(trusted.summary())}). heritability[E1, T1].")


def test_few_lines_and_records(trusted):
    trusted.run["data"]["lines"] = 12
    trusted.run["facts"]["records"] = [[30, 9], [0, 10]]
    *_, lines, records = read(trusted)
    assert lines.startswith("Few lines: 12.")
    assert records.startswith("Few records: T2 in E1 (9). ")


def test_names_are_not_broken(awkward):
    text = awkward.diagnose()
    assert max(map(len, text.splitlines())) <= 80
    assert all(line.count("[") == line.count("]") for line in text.splitlines())
    assert "R_e[T1, T2], residual_correlation[T1, T2]: never on one record." in " ".join(text.split())


def test_every_note_has_a_paragraph_or_is_of_the_chains(awkward):
    """The gravest summary of these tests: whatever its notes say is told."""
    told = " ".join(awkward.diagnose().split())
    for note in set("; ".join(awkward.summary()["note"]).split("; ")):
        begin = note.split(":")[0]
        known = {"prior only": "Known from the prior only", "the data hardly say": "Hardly known"}
        known |= {"no record": "Without a record"}
        if begin in known:
            assert known[begin] in told
        else:
            assert begin.startswith(("R-hat above", "fewer than")), note


def test_printed(awkward, trusted):
    first, verdict, *rest = str(awkward).splitlines()
    assert first == repr(awkward)
    assert verdict == "Do not lean on these numbers yet."
    assert rest[-1].startswith("fit.diagnose() says")
    assert "fit.diagnose()" not in str(trusted)


# --- tables -----------------------------------------------------------------------------------------------------------


def test_a_summary_is_printed_with_its_diagnostics(awkward):
    table = awkward.summary()
    lines = repr(table).splitlines()
    assert max(map(len, lines)) <= 80
    worst = table["r_hat"].idxmax()
    assert f"the largest R-hat is {table['r_hat'].max():.3f} ({worst})" in " ".join(lines[:3])
    (row,) = [line for line in lines if line.startswith("R_e[T1, T2] ")]
    here = table.loc["R_e[T1, T2]"]
    *_, ess, r_hat = row.split()
    assert ess.strip("!") == f"{min(here['ess_bulk'], here['ess_tail']):.0f}"
    assert ess.endswith("!") == (min(here["ess_bulk"], here["ess_tail"]) < 400)
    assert r_hat.strip("!") == f"{here['r_hat']:.3f}"
    assert lines[lines.index(row) + 1].strip() == "prior only: never on one record"


def test_a_long_summary_begins_with_notes(trusted):
    long = pd.concat([pd.DataFrame(trusted.summary())] * 4)
    long.index = pd.Index([f"beta[{k}, T1]" for k in range(len(long))], name="parameter")
    long["note"] = np.where(np.arange(len(long)) % 4 == 3, "prior only: x", "")
    trusted._summary = long
    lines = repr(trusted.summary()).splitlines()
    places = [int(line[5:].split(",")[0]) for line in lines if line.startswith("beta[")]
    noted = [k for k in range(len(long)) if k % 4 == 3]
    assert places == [*noted, *(k for k in range(len(long)) if k % 4 < 3)][:40]
    assert f"({len(long) - 40} more rows, those with a note shown first" in lines[-1]


def test_what_is_made_of_a_summary_is_plain(fitted):
    table = fitted.summary()
    for made in (table.copy(), table[["mean", "sd"]], table.query("mean > 0"), table.head()):
        assert type(made) is pd.DataFrame
    pd.testing.assert_frame_equal(table, fitted.summary())
    pd.testing.assert_frame_equal(table, table.copy())
    pd.testing.assert_frame_equal(table.copy(), table)
    assert "..." not in table.to_string()


def test_html_of_odd_names():
    sim = simulate_small(lines=8, envs=2, traits=2)
    frame = sim.frame.replace({"env": {"E1": ODD}})
    fit = fit_frame(frame, Relationship(sim.relationship.matrix, sim.relationship.lines), draws=20, tune=10)
    for html in (fit._repr_html_(), fit.summary()._repr_html_()):
        page = parse(html)
        assert f"heritability[{ODD}, T1]" in page.text
        assert f"beta[{ODD}, T2]" in page.text
    page = parse(fit._repr_html_())
    assert page.text.index("Do not lean") < page.text.index("heritability[") < page.text.index("parameter")
    assert page.tags <= {"div", "p", "b", "code", "table", "thead", "tbody", "tr", "th", "td", "details", "summary"}
    assert html.count("<b>") == 0
