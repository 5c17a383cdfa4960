"""``bmtme fit``: what it writes and says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import bmtme
from bmtme.errors import NumericalError
from tests.helpers.shell import COLUMNS, SMALL, Run


def test_fit(fit_words: list[str], trial_folder: Path, tmp_path: Path, run: Run) -> None:
    out = tmp_path / "new" / "run"
    words = [*fit_words, *SMALL, "--out", str(out)]
    code, said, complained = run(*words)
    assert code == 0, complained
    assert sorted(path.name for path in out.iterdir()) == [
        "checkpoint", "idata.nc", "predictions.csv", "run.json", "summary.csv",
    ]  # fmt: skip
    assert [path.name for path in out.parent.iterdir()] == ["run"]

    assert complained.count("\n") == 1
    assert complained.startswith("warning: a short run: 60 draws in all")
    for part in (
        "11 lines with records, 2 environments (E1, E2), 2 traits (T1, T2)",
        "44 records, 25.0% of their values missing",
        "T2 in 1 of 2 environments",
        "also 1 line of the relationship without records",
        "unstructured, 2 chains of 30 draws after 20 warm-up sweeps",
        "convergence",
        "Heritability of a plot",
        "Genetic correlation",
        f"written to {out}: idata.nc, predictions.csv, run.json, summary.csv",
    ):
        assert part in said

    record = json.loads((out / "run.json").read_text())
    assert record["command"] == ["bmtme", *words]
    assert record["settings"]["seed"] == 3
    hashed = hashlib.sha256((trial_folder / "pheno.csv").read_bytes()).hexdigest()
    assert record["inputs"]["phenotypes"] == {"path": str(trial_folder / "pheno.csv"), "sha256": hashed}
    assert record["inputs"]["relationship"]["path"] == str(trial_folder / "relationship.csv")
    assert {"numpy", "bmtme"} <= record["versions"].keys()
    assert {"sample"} <= record["seconds"].keys()

    trial = bmtme.read_trial(trial_folder / "pheno.csv", line="line", env="env", traits=["T1", "T2"], rep="rep")
    relationship = bmtme.read_relationship(trial_folder / "relationship.csv")
    with pytest.warns(UserWarning, match="short run"):
        same = bmtme.fit(trial, relationship, draws=30, tune=20, chains=2, seed=3)
    loaded = bmtme.load(out)
    pd.testing.assert_frame_equal(loaded.predictions(), same.predictions(), check_dtype=False)
    pd.testing.assert_frame_equal(loaded.summary(), same.summary())
    assert len(loaded.predictions()) == 12 * 2 * 2

    code, said, complained = run(*words)
    assert (code, said) == (2, "")
    assert f"{out} is not empty" in complained


def test_fit_long_table_of_unrelated_lines(trial_folder: Path, tmp_path: Path, run: Run) -> None:
    words = ["fit", trial_folder / "long.csv", "--relationship", "identity", *COLUMNS, "--rep", "rep"]
    words += ["--trait", "trait", "--value", "value", "--model", "diagonal", "--keep-effects", "none", *SMALL]
    code, said, complained = run(*words, "--out", tmp_path / "run")
    assert code == 0, complained
    assert sorted(path.name for path in (tmp_path / "run").glob("*.*")) == ["idata.nc", "run.json", "summary.csv"]
    assert "nothing, as no effects were kept" in said
    assert "correlation" not in said
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["inputs"]["relationship"] == "identity"
    assert record["settings"]["model"]["structure"] == "diagonal"


def test_fit_into_an_empty_folder_and_through_a_link(fit_words: list[str], tmp_path: Path, run: Run) -> None:
    fit_words += ["--draws", "4", "--tune", "2", "--chains", "1"]
    (tmp_path / "empty").mkdir()
    assert run(*fit_words, "--out", tmp_path / "empty")[0] == 0
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    assert run(*fit_words, "--out", tmp_path / "link")[0] == 0
    assert (tmp_path / "empty" / "run.json").is_file()
    assert (tmp_path / "target" / "run.json").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "link", "target"]


def test_dropped_lines_are_named(fit_words: list[str], trial_folder: Path, tmp_path: Path, run: Run) -> None:
    matrix = pd.read_csv(trial_folder / "relationship.csv", index_col=0)
    matrix.drop(index="L03", columns="L03").to_csv(tmp_path / "grm.csv")
    fit_words[fit_words.index("--relationship") + 1] = str(tmp_path / "grm.csv")
    code, said, _ = run(*fit_words, *SMALL, "--drop-unrelated", "--out", tmp_path / "run")
    assert code == 0
    assert "1 line without a relationship: L03" in said


def test_traits_that_nobody_named_are_said(
    trial_folder: Path, tmp_path: Path, run: Run, replaced_fit: Callable[..., None]
) -> None:
    def stop(*given: Any, **named: Any) -> Any:
        raise NumericalError("sweep 3: R_e is not positive definite.")

    replaced_fit(stop)
    words = ["fit", trial_folder / "pheno.csv", "--relationship", "identity", *COLUMNS, "--out", tmp_path / "run"]
    code, said, complained = run(*words)
    assert (code, said) == (4, "")
    assert complained == (
        "warning: The column 'rep' of pheno.csv is not taken as a trait: by name and whole numbers, it says which "
        "plot, block, year or the like a row is. If plots are told apart by one, name it as rep; if one is measured, "
        "name the traits.\n"
        "warning: no --traits given: every numeric column is taken as one (T1, T2).\n"
        "bmtme: error: sweep 3: R_e is not positive definite.\n"
    )


def test_residuals_by_environment(fit_words: list[str], tmp_path: Path, run: Run) -> None:
    code, said, complained = run(*fit_words, *SMALL, "--residual", "by-env", "--out", tmp_path / "run")
    assert code == 0, complained
    assert "unstructured, residual by env," in said
    assert "Heritability" in said
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["settings"]["model"]["residual"] == "by_env"
    names = pd.read_csv(tmp_path / "run" / "summary.csv", index_col=0).index
    envs = {name.split("[")[1].split(",")[0] for name in names if name.startswith("R_e[")}
    assert envs == {name.split("[")[1].split(",")[0] for name in names if name.startswith("beta[")}
    code, _, complained = run(*fit_words, "--model", "standard", "--residual", "by-env", "--out", tmp_path / "other")
    assert code == 2
    assert "structure='standard' does not go with residual='by_env'" in complained


def test_genetic_structures(fit_words: list[str], tmp_path: Path, run: Run) -> None:
    """By their names, with what they report; k is free beside residuals by environment."""
    words = [*fit_words, *SMALL, "--genetic", "main-and-interaction", "--residual", "by-env"]
    code, said, complained = run(*words, "--out", tmp_path / "run")
    assert code == 0, complained
    assert "unstructured, genetic main and interaction, residual by env," in said
    assert "Genetic correlation" in said
    model = json.loads((tmp_path / "run" / "run.json").read_text())["settings"]["model"]
    assert model["genetic"] == {"main_and_interaction": {"k": "free"}}
    names = pd.read_csv(tmp_path / "run" / "summary.csv", index_col=0).index
    assert {name.split("[")[0] for name in names} >= {"Sigma_t", "Sigma_gt", "k", "heritability"}
    code, said, complained = run(*fit_words, *SMALL, "--genetic", "separable", "--out", tmp_path / "separable")
    assert code == 0, complained
    assert "Genetic correlation of the environments" in said
    words = [*fit_words, *SMALL, "--genetic", "factor-analytic", "--factors", "1"]
    code, said, complained = run(*words, "--out", tmp_path / "factors")
    assert code == 0, complained
    model = json.loads((tmp_path / "factors" / "run.json").read_text())["settings"]["model"]
    assert model["genetic"] == {"factor_analytic": {"factors": 1}}
    code, _, complained = run(*fit_words, "--factors", "1", "--out", tmp_path / "other")
    assert code == 2
    assert "factors belong to the genetic structure factor-analytic, not to proportional" in complained
    for word, name in (("free", "free"), ("environments-by-trait", "environments_by_trait")):
        code, _, complained = run(*fit_words, *SMALL, "--genetic", word, "--out", tmp_path / word)
        assert code == 2
        assert f"the genetic structure {name} cannot serve environment x trait columns without any record" in complained
    code, _, complained = run(*fit_words, "--model", "diagonal", "--genetic", "free", "--out", tmp_path / "other")
    assert code == 2
    assert "structure='diagonal' does not go with the genetic structure free" in complained


def test_one_trait_at_a_time(fit_words: list[str], tmp_path: Path, run: Run) -> None:
    """As easy to ask for as any other model, with any structure: one run of all traits."""
    words = [*fit_words, *SMALL, "--model", "single", "--genetic", "main-and-interaction", "--residual", "by-env"]
    code, said, complained = run(*words, "--out", tmp_path / "run")
    assert (code, complained.count("trait 'T2'")) == (2, 1)  # recorded in one environment only
    assert "trait 'T2': " in complained
    words[words.index("--genetic") + 1] = "proportional"
    code, said, complained = run(*words, "--out", tmp_path / "run")
    assert code == 0, complained
    assert "one trait at a time, residual by env," in said
    assert "Heritability" in said
    files = ["idata.nc", "predictions.csv", "run.json", "summary.csv"]
    assert sorted(path.name for path in (tmp_path / "run").glob("*.*")) == files
    names = pd.read_csv(tmp_path / "run" / "summary.csv", index_col=0).index
    assert {"Sigma_t[T1, T1]", "Sigma_t[T2, T2]", "R_e[E1, T1, T1]", "Sigma_E[E1, E1, T2]"} <= set(names)
    assert not any("T1" in name and "T2" in name for name in names)
    predicted = pd.read_csv(tmp_path / "run" / "predictions.csv")
    assert predicted.groupby("trait").size().to_dict() == {"T1": 24, "T2": 24}
    model = json.loads((tmp_path / "run" / "run.json").read_text())["settings"]["model"]
    assert (model["baseline"], model["residual"]) == ("single", "by_env")
