"""``--json``: one object on stdout, all else on stderr; ``--dry-run``: what would run; the best lines at the end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bmtme
from bmtme.cli.objects import simplify
from bmtme.estimates import Part, measure_sweep
from bmtme.model.structure import BMTME
from bmtme.preparation import prepare, stand_in
from tests.helpers.shell import COLUMNS, SMALL, Run
from tests.helpers.trials import trial_of


def read(said: str) -> dict[str, Any]:
    """The one object on stdout, strictly."""

    def refuse(word: str) -> None:
        raise AssertionError(word)

    assert said.count("\n") == 1
    assert said.isascii()
    content: dict[str, Any] = json.loads(said, parse_constant=refuse)
    return content


@pytest.fixture(scope="module")
def saved(trial_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    trial = bmtme.read_trial(trial_folder / "pheno.csv", line="line", env="env", traits=["T1", "T2"], rep="rep")
    with pytest.warns(UserWarning, match="short run"):
        fit = bmtme.fit(
            trial, bmtme.read_relationship(trial_folder / "relationship.csv"), draws=30, tune=20, chains=2, seed=3
        )
    folder = tmp_path_factory.mktemp("saved") / "run"
    fit.save(folder)
    return folder


def test_fit(fit_words: list[str], tmp_path: Path, run: Run) -> None:
    code, said, complained = run(*fit_words, *SMALL, "--out", tmp_path / "run", "--json")
    assert code == 0, complained
    assert complained.startswith("warning: a short run")
    content = read(said)
    assert content["command"] == "fit"
    assert content["out"] == str(tmp_path / "run")
    assert content["files"] == ["idata.nc", "predictions.csv", "run.json", "summary.csv"]
    fit = bmtme.load(tmp_path / "run")
    assert content["reliable"] is False
    assert content["diagnosis"] == fit._diagnose()
    table = fit.summary()
    assert [row["parameter"] for row in content["summary"]] == list(table.index)
    for row, (_, expected) in zip(content["summary"], table.iterrows(), strict=True):
        for name in ("mean", "lower", "r_hat"):
            assert row[name] == (None if np.isnan(expected[name]) else expected[name])
    assert {trait: [row["line"] for row in rows] for trait, rows in content["best"].items()} == {
        trait: fit.ranking(trait).head(5)["line"].tolist() for trait in ("T1", "T2")
    }


def test_rank(saved: Path, tmp_path: Path, run: Run) -> None:
    code, said, complained = run("rank", saved, "--trait", "T2", "--check", "L03", "--json", "--out", tmp_path / "out")
    assert code == 0
    assert complained.startswith("warning: the chains of this fit do not suffice")
    content = read(said)
    assert content["reliable"] is False
    table = bmtme.load(saved).ranking("T2", check="L03")
    assert content["of"] == {"env": {"E1": 0.5, "E2": 0.5}, "top": 1, "best": "high", "trait": "T2", "check": "L03"}
    assert [row["line"] for row in content["ranking"]] == table["line"].tolist()
    assert [row["p_above_check"] for row in content["ranking"]] == simplify(table["p_above_check"].tolist())
    assert [row["line"] for row in content["ranking"] if not row["recorded"]] == ["L12"]
    assert [row["trait"] for row in content["response"]] == ["T1", "T2"]
    assert content["files"] == ["ranking.csv", "response.csv", "run.json"]


def test_check(trial_folder: Path, run: Run) -> None:
    words = ["check", trial_folder / "pheno.csv", *COLUMNS, "--traits", "T1,T2", "--rep", "rep", "--json"]
    code, said, _ = run(*words)
    assert code == 0
    content = read(said)
    assert content["ok"] is True
    assert content["sizes"]["lines"] == 11
    assert any("T2" in finding["summary"] for finding in content["findings"])
    assert [(row["env"], row["trait"]) for row in content["columns"]] == [
        ("E1", "T1"), ("E1", "T2"), ("E2", "T1"), ("E2", "T2"),
    ]  # fmt: skip


def test_data_that_are_refused(trial_folder: Path, tmp_path: Path, run: Run) -> None:
    text = (trial_folder / "pheno.csv").read_text().splitlines()
    (tmp_path / "bad.csv").write_text("\n".join([*text, "L01,E1,9,abc,1"]))
    words = [tmp_path / "bad.csv", *COLUMNS, "--traits", "T1,T2", "--rep", "rep", "--json"]
    code, said, complained = run("check", *words)
    assert code == 3
    assert read(said)["ok"] is False
    assert complained.startswith("bmtme: error: a fit of these data would be refused")
    code, said, complained = run("fit", *words, "--relationship", "identity", "--out", tmp_path / "run")
    assert (code, said) == (3, "")
    assert "abc" in complained


def test_cv_and_compare(fit_words: list[str], tmp_path: Path, run: Run) -> None:
    words = ["cv", *fit_words[1:], "--draws", "20", "--tune", "10", "--chains", "1", "--partitions", "2"]
    words += ["--model", "unstructured", "--model", "mean", "--json"]
    code, said, complained = run(*words, "--out", tmp_path / "run")
    assert code == 0, complained
    content = read(said)
    cv = bmtme.load(tmp_path / "run")
    assert len(content["summary"]) == len(cv.summary())
    assert content["summary"][0]["msep_mean"] == cv.summary()["msep_mean"].iloc[0]
    assert {row["metric"] for row in content["comparison"]} == {"pearson", "msep"}
    assert content["warnings"] == cv.warnings
    code, said, _ = run("compare", tmp_path / "run", "--metric", "msep", "--json")
    assert code == 0
    assert read(said)["comparison"][0]["model"] == "unstructured"


def test_missing_numbers_and_odd_names_are_json() -> None:
    odd = {"a": float("nan"), "b": np.float64(np.inf), "c": np.int64(3), "d": np.bool_(True), "e": ("\x1b[31m", None)}
    assert simplify(odd) == {"a": None, "b": None, "c": 3, "d": True, "e": ["\x1b[31m", None]}


# --- dry runs ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def unable(replaced_fit: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("sampled")

    replaced_fit(fail)
    monkeypatch.setattr("bmtme.cv.run.cross_validate", fail)


@pytest.mark.usefixtures("unable")
def test_a_dry_fit(fit_words: list[str], tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, said, complained = run(*fit_words, *SMALL, "--residual", "by-env", "--dry-run")
    assert (code, complained) == (0, "")
    assert said.startswith("dry run      nothing is sampled, nothing is written\n")
    for part in (
        "11 lines with records, 2 environments (E1, E2), 2 traits (T1, T2)",
        "unstructured, residual by env, means exchangeable",
        "fixed effects of 4 replicates",
        "2 chains of 30 draws after 20 warm-up sweeps",
        "memory about ",
        "time roughly ",
    ):
        assert part in " ".join(said.split())
    assert run(*fit_words, *SMALL, "--dry-run", "--xlsx", "--safe-text")[0] == 0
    code, said, _ = run(*fit_words, *SMALL, "--dry-run", "--json", "--out", tmp_path / "run")
    content = read(said)
    assert (code, content["dry_run"], content["out"]) == (0, True, None)
    assert content["models"]["model"]["structure"] == "unstructured"
    assert content["sampling"]["draws"] == 30
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("unable")
def test_a_dry_fit_of_as_many_draws_as_suffice(fit_words: list[str], run: Run) -> None:
    words = [*fit_words, "--draws", "auto", "--ess", "900", "--time-limit", "60", "--dry-run"]
    code, said, _ = run(*words)
    assert code == 0
    said = " ".join(said.split())
    assert "4 chains of as many draws as give 900 effective ones, 250 at first, after 1,000 warm-up sweeps" in said
    assert "reckoned with 2,000 draws of each chain: how many it takes, the run shows" in said
    assert "no more are asked for after 60 s" in said
    sampling = read(run(*words, "--json")[1])["sampling"]
    assert (sampling["draws"], sampling["reckoned_draws"]) == ("auto", 2000)


@pytest.mark.usefixtures("unable")
def test_a_dry_cross_validation(fit_words: list[str], tmp_path: Path, run: Run) -> None:
    words = ["cv", *fit_words[1:], "--scheme", "new-lines", "--folds", "4", "--model", "unstructured"]
    words += ["--model", "single", "--model", "mean", "--dry-run"]
    code, said, _ = run(*words)
    assert code == 0
    assert "on each of 4 partitions" in " ".join(said.split())
    assert "single: one trait at a time" in said
    assert "mean: means of the environments, nothing to be sampled" in said
    content = read(run(*words, "--json")[1])
    assert content["partitions"] == 4
    assert list(content["models"]) == ["unstructured", "single", "mean"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("unable")
def test_what_a_dry_run_refuses(fit_words: list[str], run: Run) -> None:
    code, said, complained = run(*fit_words, "--means", "flat", "--dry-run")
    assert (code, said) == (3, "")
    assert "means='flat' cannot serve" in complained
    code, said, complained = run(*fit_words)
    assert (code, said) == (2, "")
    assert "required: --out" in complained


@pytest.mark.parametrize(
    ("lines", "envs", "traits", "missing", "milliseconds"),
    [(80, 3, 3, 0.2, 0.104), (309, 3, 3, 0.2, 0.202), (309, 3, 3, 0.0, 0.143), (309, 10, 3, 0.2, 1.106),
     (309, 3, 8, 0.2, 0.722), (600, 3, 3, 0.2, 0.39)],
)  # fmt: skip
def test_the_time_of_a_sweep(lines: int, envs: int, traits: int, missing: float, milliseconds: float) -> None:
    """Those of validation/results/tables/speed.md, within a third."""
    sim = bmtme.simulate(lines=lines, envs=envs, traits=traits, missing=missing, relationship="markers", seed=1)
    prepared = prepare(trial_of(sim.frame), sim.relationship, "error", stand_in)
    assert 2 / 3 < measure_sweep(Part.of(prepared, BMTME())) / milliseconds < 4 / 3


# --- best lines -------------------------------------------------------------------------------------------------------


def test_a_fit_ends_with_the_best_lines(fit_words: list[str], saved: Path, tmp_path: Path, run: Run) -> None:
    code, said, complained = run(*fit_words, *SMALL, "--out", tmp_path / "run")
    assert code == 0, complained
    assert said.index("convergence") < said.index("Highest lines, mean over E1, E2 (the chains do not suffice")
    lines = said.splitlines()
    (start,) = (k for k, line in enumerate(lines) if line.startswith("trait  line"))
    fit = bmtme.load(saved)
    for trait, shown in (("T1", lines[start + 1 : start + 6]), ("T2", lines[start + 6 : start + 11])):
        table = fit.ranking(trait, top=5).head(5)
        assert shown[0].split()[0] == trait
        for line, row in zip(shown, table.itertuples(), strict=True):
            words = line.removeprefix(trait).split()
            assert words[0].rstrip("*") == row.line
            assert words[0].endswith("*") == (row.line == "L12")
            assert float(words[-1]) == pytest.approx(row.p_top, abs=0.005)
            assert words[-2] == f"{row.rank_lower}-{row.rank_upper}"


def test_no_effects_no_lines(fit_words: list[str], tmp_path: Path, run: Run) -> None:
    code, said, _ = run(*fit_words, *SMALL, "--keep-effects", "none", "--out", tmp_path / "run")
    assert code == 0
    assert "Highest lines" not in said
