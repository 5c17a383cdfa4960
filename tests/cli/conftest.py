"""Commands that run in this process, and a trial in files for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bmtme.cli.main import main
from tests.helpers.shell import COLUMNS, Run


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in this process, in a terminal of 100 columns: exit status, stdout, stderr."""
    monkeypatch.setenv("COLUMNS", "100")

    def call(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture(scope="session")
def trial_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve related lines in two environments, T1 and T2; L12 has no record, and T2 none in E2."""
    folder = tmp_path_factory.mktemp("trial") / "sim"
    words = ["simulate", "--lines", "12", "--envs", "2", "--traits", "2", "--reps", "2", "--seed", "8"]
    assert main([*words, "--relationship", "blocks", "--out", str(folder)]) == 0
    frame = pd.read_csv(folder / "phenotypes.csv", dtype=object)
    frame = frame[frame["line"] != "L12"]
    frame.loc[frame["env"] == "E2", "T2"] = ""
    frame.to_csv(folder / "pheno.csv", index=False)
    long = frame.melt(["line", "env", "rep"], ["T1", "T2"], "trait", "value")
    long[long["value"] != ""].to_csv(folder / "long.csv", index=False)
    return folder


@pytest.fixture
def fit_words(trial_folder: Path) -> list[str]:
    relationship = str(trial_folder / "relationship.csv")
    table = str(trial_folder / "pheno.csv")
    return ["fit", table, "--relationship", relationship, *COLUMNS, "--rep", "rep", "--traits", "T1,T2"]


@pytest.fixture
def replaced_fit(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], None]:
    """Put another function in place of `bmtme.pipeline.compute`."""

    def replace(function: Callable[..., Any]) -> None:
        monkeypatch.setattr("bmtme.pipeline.compute", function)

    return replace
