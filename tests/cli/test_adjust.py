"""``bmtme adjust``: what it says, writes and refuses."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import bmtme
from bmtme.choices import SPATIAL
from bmtme.data.adjusted import KIND
from bmtme.results.record import read_record
from tests.helpers.shell import Run
from tests.results.stage_one.conftest import COLUMNS, make_plots

WORDS = [word for role, column in COLUMNS.items() for word in (f"--{role}", column)]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Plots whose lines are numbers, with a leading zero."""
    path = tmp_path_factory.mktemp("plots") / "plots.csv"
    plots = make_plots()
    plots["gen"] = "0" + plots["gen"].str[1:]
    plots.loc[plots["yield"].isna(), "yield"] = -9
    plots.to_csv(path, index=False)
    return path


def test_what_it_says_and_writes(table, run: Run, tmp_path):
    out = tmp_path / "means"
    words = ("--traits", "yield", "--missing", "-9", "--spatial", "auto", "--out", out)
    code, said, complained = run("adjust", table, *WORDS, *words)
    assert (code, complained) == (0, "")
    first = "means 26 lines in 2 environments, 1 trait: 37 adjusted means, 1 not estimable errors"
    assert " ".join(said.split()).startswith(first)
    assert max(map(len, said.splitlines()[:-1])) <= 100
    means = bmtme.adjust(pd.read_csv(table, dtype=str).replace("-9.0", ""), traits="yield", **COLUMNS)
    found = bmtme.read_means(out)
    assert set(found.lines) == {"0" + str(j) for j in range(26)}
    pd.testing.assert_frame_equal(found.table, means.table)
    for env in ("N", "S"):
        np.testing.assert_array_equal(found.covariances[env], means.covariances[env])
    for name, own in means.tables().items():
        read = pd.read_csv(out / f"{name}.csv", dtype={"line": str, "row_of_table": str}, keep_default_na=False)
        assert list(read.columns) == list(own.columns)
        assert len(read) == len(own)
    assert pd.read_csv(out / "plots.csv")["row_of_table"].min() == 2  # rows of the file
    record, _ = read_record(out, KIND)
    assert record["columns_of_plots"] == {**COLUMNS, "traits": ["yield"]}
    assert record["inputs"]["plots"]["path"] == str(table)
    assert record["models"]["N"]["log_likelihood"] == means.fits["N"].log_likelihood
    pictures = {"field-N.png", "variogram-N.png", "quantiles-N.png", "quantiles-S.png"}
    assert {path.name for path in out.glob("*.png")} == pictures
    assert {name for names in record["pictures"].values() for name in names} == pictures


def test_for_programs(table, run: Run):
    words = ("--traits", "yield,protein", "--missing", "-9", "--spatial", "none", "--json")
    code, said, _ = run("adjust", table, *WORDS, *words)
    assert code == 0
    found = json.loads(said)
    assert (found["command"], found["out"]) == ("adjust", None)
    assert {row["model"] for row in found["candidates"] if row["chosen"]} == {"none"}
    assert {row["trait"] for row in found["heritability"]} == {"yield", "protein"}
    lacking = [row for row in found["means"] if not row["estimable"]]
    assert {(row["line"], row["trait"]) for row in lacking} == {("05", "yield"), ("05", "protein"), ("07", "protein")}
    assert all(row["mean"] is None for row in lacking)


@pytest.mark.parametrize(
    "words, status, message",
    [
        (("--line", "gen", "--env", "site"), 2, "--traits"),
        (("--line", "gen", "--env", "site", "--traits", "yeild"), 3, "Did you mean 'yield'"),
        (("--line", "gen", "--env", "site", "--traits", "yield", "--spatial", "ar1"), 2, "ar1 needs --row and --col"),
        (("--line", "gen", "--env", "site", "--traits", "yield", "--spatial", "ar2"), 2, "invalid choice: 'ar2'"),
        (("--line", "gen", "--traits", "yield"), 3, "No column of environments is named"),
        ((*WORDS, "--traits", "yield", "--row", "col", "--col", "block"), 3, "both as block and as col"),
        ((*WORDS, "--traits", "yield", "--spatial", "psplines"), 3, "cannot be fitted in environment 'S'"),
    ],
)
def test_what_is_refused(table, run: Run, tmp_path, words, status, message):
    code, said, complained = run("adjust", table, *words, "--out", tmp_path / "means")
    assert (code, said) == (status, "")
    assert message in complained
    assert not (tmp_path / "means").exists()


def test_help_names_every_model(run: Run):
    code, said, _ = run("adjust", "--help")
    assert code == 0
    epilog = said.partition("examples:")[2]
    assert all(f"\n  {name.replace('_', '-')} " in epilog for name in SPATIAL)
    assert max(map(len, epilog.splitlines())) <= 81
