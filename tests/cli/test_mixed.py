"""``bmtme mixed``: what it says, writes and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bmtme
from bmtme import mixed
from bmtme.results.record import read_record
from tests.helpers.shell import Run


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Plots of 8 lines in 4 blocks at two sites numbered 1 and 2, a matrix and a pedigree of the lines."""
    path = tmp_path_factory.mktemp("plots")
    rng = np.random.default_rng(6)
    lines = [f"0{j}" for j in range(8)]
    u, b = rng.normal(0, 1, 8), rng.normal(0, 0.7, (2, 4))
    rows = [
        (s + 1, k + 1, line, 5 + u[j] + b[s, k] + rng.normal(0, 0.6), rng.normal(9, 1))
        for s in range(2)
        for k in range(4)
        for j, line in enumerate(lines)
    ]
    frame = pd.DataFrame(rows, columns=["site", "block", "line", "yield", "protein"]).round(4)
    frame.loc[5, "yield"] = np.nan
    frame.to_csv(path / "plots.csv", index=False)
    W = rng.normal(size=(8, 20))
    pd.DataFrame(W @ W.T / 20, lines, lines).to_csv(path / "grm.csv")
    parents = {"line": lines, "father": ["", "", "00", "00", "00", "02", "02", "open"], "mother": ["", "", *["01"] * 6]}
    pd.DataFrame(parents).to_csv(path / "ped.csv", index=False)
    return path


WORDS = ("--fixed", "yield ~ C(site)", "--random", "line + site:block")


def test_what_it_says_and_writes(folder, run: Run, tmp_path):
    code, said, complained = run(
        "mixed", folder / "plots.csv", *WORDS, "--residual", "units | site", "--out", tmp_path / "run"
    )
    assert (code, complained) == (0, "")
    plots = pd.read_csv(folder / "plots.csv", dtype={"line": str})
    fit = mixed.Model("yield ~ C(site)", "line + site:block", "units | site").fit(plots)
    assert said.startswith("fixed        yield ~ C(site)\n")
    assert "63 values (1 row without a value)" in " ".join(said.split())
    assert f"{fit.log_likelihood:.4f}" in said
    assert max(map(len, said.splitlines()[:-1])) <= 100
    record, columns = read_record(tmp_path / "run", "mixed")
    assert record["log_likelihood"] == fit.log_likelihood
    assert record["model"] == {"fixed": "yield ~ C(site)", "random": "line + site:block", "residual": "units | site"}
    assert record["blups"] == {"blup-line.csv": "line", "blup-site-block.csv": "site:block"}
    assert record["inputs"]["plots"]["path"] == str(folder / "plots.csv")
    tables = {"components": fit.components, "blup-line": fit.blup("line"), "fixed_effects": fit.fixed_effects}
    assert set(columns) == {f"{name}.csv" for name in (*tables, "blup-site-block", "wald", "residuals")}
    for name, table in tables.items():
        found = pd.read_csv(tmp_path / "run" / f"{name}.csv", dtype={"line": str, "bound": str, "note": str})
        pd.testing.assert_frame_equal(found.fillna({"bound": "", "note": ""}), table, check_dtype=False)
    assert found_rows(tmp_path / "run" / "residuals.csv")[0] == "2"  # the row of the file


def found_rows(path: Path) -> list[str]:
    return pd.read_csv(path, dtype=str)["row_of_table"].tolist()


def test_for_programs(folder, run: Run):
    words = ("--fixed", "yield + protein ~ trait", "--random", "us(trait):line", "--residual", "us(trait):units")
    code, said, _ = run("mixed", folder / "plots.csv", *words, "--json")
    assert code == 0
    found = json.loads(said)
    assert found["command"] == "mixed"
    assert found["out"] is None
    assert found["converged"] is True
    assert [row["term"] for row in found["components"]].count("us(trait):units") == 3
    assert {row["line"] for row in found["blup-us(trait):line"]} == {f"0{j}" for j in range(8)}


def test_relationships_of_files(folder, run: Run):
    words = ("--fixed", "yield ~ C(site)", "--random", "known(line)")
    numbers = []
    for file, *more in (
        ("grm.csv",),
        ("ped.csv", "--pedigree-columns", "line,father,mother", "--pedigree-missing", "open"),
    ):
        code, said, complained = run("mixed", folder / "plots.csv", *words, "--known", f"line={folder / file}", *more)
        assert (code, complained) == (0, "")
        numbers.append(said.split("log lik.")[1].split()[0])
    assert numbers[0] != numbers[1]


def test_options_of_pedigrees_are_for_pedigrees(folder, run: Run):
    """Beside a matrix they change nothing of it; without a pedigree they are refused."""
    words = ("--fixed", "yield ~ C(site)", "--random", "known(line) + known(gen)")
    plots = pd.read_csv(folder / "plots.csv", dtype=str)
    plots.assign(gen=plots["line"]).to_csv(folder / "twice.csv", index=False)
    known = ("--known", f"line={folder / 'grm.csv'}", "--known", f"gen={folder / 'ped.csv'}")
    names = ("--pedigree-columns", "line,father,mother", "--pedigree-missing", "open")
    code, said, complained = run("mixed", folder / "twice.csv", *words, *known, *names)
    assert (code, complained) == (0, "")
    assert "known(gen)" in said


def test_what_is_made_of_it(folder, run: Run, tmp_path):
    asked = ("--predict", "line", "--predict", "site", "--heritability", "line", "--derive", "line / (line + residual)")
    code, said, complained = run("mixed", folder / "plots.csv", *WORDS, *asked, "--out", tmp_path / "run")
    assert code == 0
    assert "these means leave out 'site:block'" in complained
    fit = mixed.Model("yield ~ C(site)", "line + site:block").fit(
        pd.read_csv(folder / "plots.csv", dtype={"line": str})
    )
    derived = pd.read_csv(tmp_path / "run/derived.csv").loc[0]
    assert derived["estimate"] == pytest.approx(fit.derive("line / (line + residual)").estimate)
    table = pd.read_csv(tmp_path / "run/heritability.csv")
    assert table["kind"].tolist() == ["record", "mean", "cullis"]
    assert table["estimate"][0] == pytest.approx(derived["estimate"])
    assert table["denominator"][0] == "line + units"
    means = pd.read_csv(tmp_path / "run/predict-line.csv", dtype={"line": str})
    np.testing.assert_allclose(means["mean"], fit.predict("line")["mean"])
    record, columns = read_record(tmp_path / "run", "mixed")
    assert columns["predict-line.csv"]["line"] == "text"
    assert record["means"]["predict-site"]["lsd"] > record["means"]["predict-site"]["sed"] > 0
    assert "predict-line\n\nline" in said
    assert "Least significant difference at 5%" in " ".join(said.split())
    code, said, _ = run("mixed", folder / "plots.csv", *WORDS, *asked, "--json")
    assert json.loads(said)["derived"][0]["estimate"] == pytest.approx(derived["estimate"])
    code, said, complained = run(
        "mixed", folder / "plots.csv", *WORDS, "--predict", "lien", "--out", tmp_path / "other"
    )
    assert (code, said, (tmp_path / "other").exists()) == (2, "", False)
    assert "Did you mean 'line'?" in complained


def test_a_covariate_is_named(folder, run: Run):
    code, said, complained = run("mixed", folder / "plots.csv", "--fixed", "yield ~ site + protein", "--random", "line")
    assert (code, complained) == (0, "")
    assert "covariates   site, protein" in said
    code, _, complained = run("mixed", folder / "plots.csv", "--fixed", "yield ~ site", "--residual", "units | site")
    assert code == 0
    assert "write C(site) in the fixed formula" in complained


@pytest.mark.parametrize(
    "words, status, message",
    [
        (("--fixed", "yield ~ C(sit)"), 3, "plots.csv has no column 'sit'"),
        (("--fixed", "yield"), 2, "has no response"),
        (("--fixed", "yield ~ 1", "--random", "us(line"), 2, "cannot be read at character 8"),
        (("--fixed", "yield ~ 1", "--random", "known(line)"), 2, "--known line=FILE"),
        (("--fixed", "yield ~ 1", "--known", "line"), 2, "expected NAME=FILE"),
        (("--fixed", "yield ~ 1", "--known", "line=a", "--known", "line=b"), 2, "is there twice"),
        (("--fixed", "yield ~ 1", "--random", "known(line)", "--known", "line=identity"), 2, "without known()"),
        (("--fixed", "yield ~ 1", "--random", "known(line)", "--known", "line=none.csv"), 3, "none.csv"),
        (("--fixed", "yield ~ 1", "--pedigree-columns", "a,b"), 2, "expected three columns"),
        (("--random", "line"), 2, "--fixed"),
        (("--fixed", "yield ~ 1", "--draws", "9"), 2, "argument --draws: needs --posterior"),
        (("--fixed", "yield ~ 1", "--posterior", "--predict", "lien"), 2, "no such factor. It has none"),
        (("--fixed", "yield ~ 1", "--posterior", "--predict", "gen", "--keep-effects", "none"), 2, "'none' keeps none"),
        (("--fixed", "yield ~ 1", "--posterior", "--heritability", "lien"), 2, "no random term 'lien'"),
        (("--fixed", "yield ~ 1", "--posterior", "--derive", "lien"), 2, "'lien'"),
        (("--fixed", "yield ~ 1", "--selfing", "3"), 2, "is for a pedigree as --known, but there is none"),
        (("--fixed", "cbind(yield, protein) ~ trait"), 2, "written as in 'A + B ~ trait'"),
        (("--fixed", "yield ~ C(site)", "--random", "site"), 2, "The random term site is in the fixed part"),
        (("--fixed", "yield ~ 1", "--residual", "block:line"), 3, "Two plots lie in one cell"),
    ],
)
def test_what_is_refused(folder, run: Run, tmp_path, words, status, message):
    code, said, complained = run("mixed", folder / "plots.csv", *words, "--out", tmp_path / "run")
    assert (code, said) == (status, "")
    assert message in complained
    assert not (tmp_path / "run").exists()


def test_posterior(folder, run: Run, tmp_path, monkeypatch):
    monkeypatch.setattr("bmtme.engines.mixed.chains.PILOT", 60)
    monkeypatch.setattr("bmtme.engines.mixed.chains.FEWEST_PILOT", 30)
    monkeypatch.setattr("bmtme.engines.mixed.chains.Hamiltonian.tune", 20)
    asked = ("--predict", "site", "--heritability", "line", "--derive", "line / (line + residual)")
    words = ("--posterior", "--draws", "40", "--chains", "2", "--seed", "5", "--out", tmp_path / "run", *asked)
    code, said, complained = run("mixed", folder / "plots.csv", *WORDS, *words)
    assert code == 0
    assert "80 draws in all" in complained
    assert "Do not lean on these numbers yet." in " ".join(said.split())
    assert "line[variance]" in said
    found = bmtme.load(tmp_path / "run")
    plots = pd.read_csv(folder / "plots.csv", dtype={"line": str})
    model = mixed.Model("yield ~ C(site)", "line + site:block")
    with pytest.warns(UserWarning, match="80 draws in all"):
        again = model.posterior(plots, draws=40, chains=2, seed=5)
    pd.testing.assert_frame_equal(found.summary(), again.summary())
    assert found.run["inputs"]["plots"]["path"] == str(folder / "plots.csv")
    assert set(found.run["effects"].values()) == {"line", "site:block"}
    derived = again.derive("line / (line + residual)")
    told = pd.read_csv(tmp_path / "run/derived.csv").loc[0]
    assert told["lower"] == pytest.approx(derived.lower)
    table = pd.read_csv(tmp_path / "run/heritability.csv")
    assert table["kind"].tolist() == ["record", "mean"]
    assert table["mean"][0] == pytest.approx(derived.mean)
    pd.testing.assert_frame_equal(found.heritability("line"), again.heritability("line"))
    with pytest.warns(UserWarning, match="leave out"):
        means = again.predict("site")
    pd.testing.assert_frame_equal(found.predict("site"), means)
    assert found.predict("site").attrs == means.attrs
    assert complained.count("leave out") == 1
    assert "predict-site\n\nsite" in said
    code, _, complained = run("mixed", folder / "plots.csv", *WORDS, "--draws", "40")
    assert code == 2
    assert "argument --draws: needs --posterior" in complained
