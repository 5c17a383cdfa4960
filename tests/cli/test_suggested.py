"""``bmtme cv --model suggested``: which options go with it, and that the scheme decides."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.helpers.shell import SMALL, Run


@pytest.mark.parametrize(
    "words",
    [
        ["--genetic", "free"],
        ["--genetic=proportional"],
        ["--factors", "2"],
        ["--residual", "by-env"],
        ["--line-effect"],
        ["--means", "flat"],
        ["--units", "raw"],
    ],
)
def test_options_of_models_that_nobody_named(words: list[str], fit_words: list[str], tmp_path: Path, run: Run) -> None:
    option = words[0].partition("=")[0]
    command = ["cv", *fit_words[1:], *SMALL, *words, "--model", "suggested", "--out", str(tmp_path / "run")]
    code, _, complained = run(*command)
    assert code == 2
    assert f"argument {option}: the suggested models have their own" in complained
    assert not (tmp_path / "run").exists()


def test_the_scheme_decides(fit_words: list[str], tmp_path: Path, run: Run) -> None:
    """Free covariances are not suggested for hidden columns; options go to models that are named beside."""
    words = ["cv", *fit_words[1:], *SMALL, "--scheme", "cv2", "--cv-envs", "E1", "--cv-traits", "T1"]
    words += ["--model", "suggested", "--model", "mine=diagonal", "--residual", "by-env"]
    code, said, complained = run(*words, "--out", str(tmp_path / "run"))
    assert code == 0, complained
    assert "- single: one trait at a time" in said
    models = json.loads((tmp_path / "run" / "run.json").read_text())["settings"]["models"]
    assert models["mine"]["residual"] == "by_env"
    assert models["unstructured"]["residual"] == "shared"
    assert {"single", "mine", "mean"} <= set(models)
    assert not any(model.get("genetic") == "free" for model in models.values())
