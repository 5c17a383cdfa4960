"""``bmtme cv``: what it writes and says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.helpers.shell import SMALL, Run


def test_cv(fit_words: list[str], trial_folder: Path, tmp_path: Path, run: Run) -> None:
    words = ["cv", *fit_words[1:], *SMALL, "--partitions", "2", "--model", "diagonal", "--model", "standard"]
    words += ["--units", "raw", "--test-fraction", "0.3", "--workers", "2", "--out", str(tmp_path / "run")]
    code, said, complained = run(*words)
    assert code == 0, complained
    assert all(line.startswith("warning: ") for line in complained.splitlines())
    tables = ("heritability", "line_means", "overall", "partitions", "predictions", "scores", "summary")
    names = sorted(["run.json", *(f"{name}.csv" for name in tables)])
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == names
    summary = pd.read_csv(tmp_path / "run" / "summary.csv")
    assert list(summary["model"].unique()) == ["diagonal", "standard"]
    parts = ("CV1, 2 partitions, 30% of the lines", "naive standard error", "Pearson", "MSEP", "do not tell which")
    for part in (*parts, "largest R-hat"):
        assert part in " ".join(said.split())
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["command"] == ["bmtme", *words]
    assert record["inputs"]["phenotypes"]["path"] == str(trial_folder / "pheno.csv")
    units = {name: model["units"] for name, model in record["settings"]["models"].items()}
    assert units == {"diagonal": "scaled", "standard": "raw"}


def test_cv2(fit_words: list[str], tmp_path: Path, run: Run) -> None:
    words = ["cv", *fit_words[1:], *SMALL, "--scheme", "cv2", "--cv-envs", "E1", "--cv-traits", "T1"]
    words += ["--genetic", "main-and-interaction"]
    code, said, complained = run(*words, "--out", tmp_path / "run")
    assert code == 0, complained
    models = json.loads((tmp_path / "run" / "run.json").read_text())["settings"]["models"]
    assert models["unstructured"]["genetic"] == {"main_and_interaction": {"k": "equal"}}
    scores = pd.read_csv(tmp_path / "run" / "scores.csv")
    assert scores[["env", "trait"]].values.tolist() == [["E1", "T1"]]
    assert "CV2, 1 partition" in said
    assert "naive" not in said


def test_cv_with_failures_writes_the_rest(
    fit_words: list[str], tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    import bmtme.cv.run

    original = bmtme.cv.run.cross_validate

    def lose_one(*given: Any, **named: Any) -> Any:
        result = original(*given, **named)
        result.failures.append(("unstructured", "2", "sweep 7: R_e is not positive definite."))
        return result

    monkeypatch.setattr("bmtme.cv.run.cross_validate", lose_one)
    words = ["cv", *fit_words[1:], *SMALL, "--partitions", "1", "--test-fraction", "0.3"]
    code, _, complained = run(*words, "--out", tmp_path / "run")
    assert code == 5
    assert "bmtme: error: 1 fit failed" in complained
    assert (tmp_path / "run" / "scores.csv").is_file()
    failures = json.loads((tmp_path / "run" / "run.json").read_text())["failures"]
    assert [entry["partition"] for entry in failures] == ["2"]
