"""``bmtme cv``: what it writes and says."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bmtme
from bmtme.cli import outputs
from bmtme.cli.cv import GOES_WITH, SCHEMES
from bmtme.report import cv_plots
from tests.helpers.shell import COLUMNS, SMALL, Run

FILES = [f"{name}.csv" for name in ("comparison", "heritability", "line_means", "overall", "partitions")]
FILES = sorted([*FILES, "predictions.csv", "run.json", "scores.csv", "summary.csv"])


def test_cv(fit_words: list[str], trial_folder: Path, tmp_path: Path, run: Run) -> None:
    words = ["cv", *fit_words[1:], *SMALL, "--partitions", "2", "--model", "diagonal", "--model", "standard"]
    words += ["--units", "raw", "--test-fraction", "0.3", "--workers", "2", "--out", str(tmp_path / "run")]
    code, said, complained = run(*words)
    assert code == 0, complained
    assert all(line.startswith("warning: ") for line in complained.splitlines())
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == FILES
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
    words += ["--genetic", "main-and-interaction", "--cv-of", "record"]
    code, said, complained = run(*words, "--out", tmp_path / "run")
    assert code == 0, complained
    settings = json.loads((tmp_path / "run" / "run.json").read_text())["settings"]
    assert settings["scheme"]["of"] == "record"
    assert "plot's other" in " ".join(said.split())
    models = settings["models"]
    assert models["unstructured"]["genetic"] == {"main_and_interaction": {"k": "equal"}}
    scores = pd.read_csv(tmp_path / "run" / "scores.csv")
    assert scores[["env", "trait"]].values.tolist() == [["E1", "T1"]]
    assert "CV2, 1 partition" in said
    assert "naive" not in said


def test_cv_with_failures_writes_the_rest(
    fit_words: list[str], tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    import bmtme.cv.run

    original = bmtme.cv.run.describe_failures

    def lose_one(failures: list[tuple[str, str, str]], *given: Any) -> Any:
        failures.append(("unstructured", "2", "sweep 7: R_e is not positive definite."))
        return original(failures, *given)

    monkeypatch.setattr("bmtme.cv.run.describe_failures", lose_one)
    words = ["cv", *fit_words[1:], *SMALL, "--partitions", "1", "--test-fraction", "0.3"]
    code, _, complained = run(*words, "--out", tmp_path / "run")
    assert code == 5
    assert "bmtme: error: 1 fit failed" in complained
    assert (tmp_path / "run" / "scores.csv").is_file()
    failures = json.loads((tmp_path / "run" / "run.json").read_text())["failures"]
    assert [entry["partition"] for entry in failures] == ["2"]


@pytest.fixture(scope="module")
def family_table(trial_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trial with the family of each line: a number, empty in some rows; L11 has none."""
    frame = pd.read_csv(trial_folder / "pheno.csv", dtype=object)
    number = frame["line"].str[1:].astype(int)
    frame["pop"] = ((number + 2) // 3).astype(str).where(number < 11, "").where(frame["rep"] != "2", "")
    path = tmp_path_factory.mktemp("families") / "pheno.csv"
    frame.to_csv(path, index=False)
    return path


def test_new_lines_and_their_partitions_again(
    family_table: Path, trial_folder: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Families are never split; their column is no trait; another run takes the partitions, and both compare."""
    monkeypatch.setenv("COLUMNS", "80")
    words = ["cv", family_table, "--relationship", trial_folder / "relationship.csv", *COLUMNS, "--rep", "rep", *SMALL]
    scheme = ["--scheme", "new-lines", "--folds", "3", "--groups", "pop", "--top", "0.3", "--lowest", "T2"]
    models = ["--model", "unstructured", "--model", "own=diagonal,residual=by-env", "--model", "mean"]
    code, said, complained = run(*words, *scheme, *models, "--out", tmp_path / "run")
    assert code == 0, complained
    assert "every numeric column is taken as one (T1, T2)" in complained
    assert "4 groups of lines never split" in " ".join(said.split())
    assert "the predictions are constant ('mean')" in " ".join(said.split())
    shown = said[: said.index("written to")].splitlines()
    assert max(map(len, shown)) <= 80
    cv = bmtme.load(tmp_path / "run")
    assert (cv.run["settings"]["top"], cv.run["settings"]["lowest"]) == (0.3, ["T2"])
    assert list(cv.run["settings"]["models"]) == ["unstructured", "own", "mean"]
    assert cv.run["settings"]["models"]["own"]["residual"] == "by_env"
    parts = cv.partitions.drop_duplicates(["partition", "line"])
    family = (parts["line"].str[1:].astype(int) + 2) // 3
    assert (parts.groupby(family)["partition"].nunique() == 1)[:3].all()
    comparison = pd.read_csv(tmp_path / "run" / "comparison.csv")
    assert set(comparison["metric"]) == {"pearson", "msep"}

    again = ["--scheme", "file", "--partitions-file", tmp_path / "run" / "partitions.csv", "--traits", "T1,T2"]
    again += ["--top", "0.3", "--lowest", "T2"]
    code, _, complained = run(*words, *again, "--model", "single", "--out", tmp_path / "more")
    assert code == 0, complained
    listed = bmtme.load(tmp_path / "more").run["inputs"]["partitions"]
    assert listed["sha256"] == hashlib.sha256((tmp_path / "run" / "partitions.csv").read_bytes()).hexdigest()
    code, said, _ = run("compare", tmp_path / "run", tmp_path / "more")
    assert code == 0
    assert "own - single" in said


def test_families_by_a_pedigree(trial_folder: Path, tmp_path: Path, run: Run) -> None:
    """Full sibs are hidden together, whichever parent is which; a line without parents is alone."""
    lines = [f"L{j:02d}" for j in range(1, 12)]
    parents = [("A", "B"), ("B", "A"), ("A", "C"), ("C", "open")]
    table = pd.DataFrame([(line, *parents[j // 3]) for j, line in enumerate(lines)], columns=["name", "m", "f"])
    table.to_csv(tmp_path / "ped.csv", index=False)
    words = ["cv", trial_folder / "pheno.csv", "--relationship", trial_folder / "relationship.csv", *COLUMNS, "--rep"]
    words += ["rep", *SMALL, "--traits", "T1", "--scheme", "new-lines", "--folds", "3", "--model", "mean"]
    words += ["--families", tmp_path / "ped.csv", "--pedigree-columns", "name,m,f"]
    code, said, complained = run(*words, "--pedigree-missing", "open", "--out", tmp_path / "run")
    assert code == 0, complained
    assert "--families: 2 lines without two known parents in ped.csv ('L10', 'L11')" in complained
    cv = bmtme.load(tmp_path / "run")
    fold = cv.partitions.drop_duplicates("line").set_index("line")["partition"]
    assert fold[lines[:6]].nunique() == fold[lines[6:9]].nunique() == 1
    assert fold["L10"] != fold["L01"] != fold["L07"]
    assert cv.run["settings"]["scheme"]["groups"]["groups"] == 2
    assert cv.run["inputs"]["families"]["sha256"]
    assert "2 groups of lines never split" in " ".join(said.split())
    # Otherwise 'open' is a parent of a family, which is said.
    code, _, complained = run(*words, "--out", tmp_path / "more")
    assert code == 0
    assert "ped.csv: the parent 'open' without a row of its own" in complained
    assert bmtme.load(tmp_path / "more").run["settings"]["scheme"]["groups"]["groups"] == 3
    table.assign(name="X" + table["name"]).to_csv(tmp_path / "ped.csv", index=False)
    code, _, complained = run(*words, "--out", tmp_path / "none")
    assert code == 3
    assert "ped.csv has both parents of no line of the trial: its individuals have names such as 'XL01'" in complained


def test_figures_and_the_scores_that_are_shown(
    fit_words: list[str], tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, no_windows: None
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    words = ["cv", *fit_words[1:], *SMALL, "--partitions", "1", "--test-fraction", "0.3", "--figures"]
    words += ["--model", "diagonal", "--model", "a/b=mean", "--score", "coverage_90,pearson,slope"]
    code, said, complained = run(*words, "--out", tmp_path / "run")
    assert code == 0, complained
    figures = ["accuracy.png", "calibration-a_b.png", "calibration-diagonal.png", "differences.png"]
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == sorted([*FILES, *figures])
    for name in figures:
        assert (tmp_path / "run" / name).read_bytes().startswith(b"\x89PNG")
    header = next(line for line in said.splitlines() if line.startswith("trait "))
    assert header.split() == ["trait", "env", "model", "partitions", "coverage_90", "Pearson", "slope"]
    assert "coverage of 90% intervals (coverage_90), Pearson correlation and slope of" in " ".join(said.split())
    assert "- means that there is no score: the predictions are constant ('a/b')." in " ".join(said.split())
    bmtme.load(tmp_path / "run")
    # Two models of which one has correlations: the figure shows differences of errors, as there are no others.
    shown: list[str] = []
    plot = cv_plots.plot_differences

    def watch(cv: Any, metric: str) -> Any:
        shown.append(metric)
        return plot(cv, metric)

    monkeypatch.setattr(cv_plots, "plot_differences", watch)
    outputs.save_figures(bmtme.load(tmp_path / "run"), tmp_path)
    assert shown == ["msep"]


def test_clones(trial_folder: Path, tmp_path: Path, run: Run) -> None:
    lines = [f"L{j:02d}" for j in range(1, 13)]
    kin = pd.DataFrame(0.9 * np.eye(12) + 0.1, lines, lines)
    kin.loc["L01", "L02"] = kin.loc["L02", "L01"] = 0.98
    kin.to_csv(tmp_path / "kin.csv")
    words = ["cv", trial_folder / "pheno.csv", "--relationship", tmp_path / "kin.csv", *COLUMNS, "--rep", "rep", *SMALL]
    words += ["--traits", "T1", "--scheme", "new-lines", "--folds", "11", "--model", "mean"]
    for limit, kept in (("none", None), ("", 0.999)):
        code, _, complained = run(*words, *(["--clones", limit] if limit else []), "--out", tmp_path / f"run{limit}")
        assert code == 0, complained
        assert "near-duplicates: 1 pair of lines is nearly one genotype" in complained
        assert "no correlation can be computed within partitions of so few lines" in complained
        assert bmtme.load(tmp_path / f"run{limit}").run["settings"]["clones"] == kept
    code, _, complained = run(*words, "--clones", "0.97", "--out", tmp_path / "eleven")
    assert code == 3
    assert "10 groups of lines with a record cannot make folds=11" in complained
    code, said, complained = run(*words, "--folds", "5", "--clones", "0.97", "--out", tmp_path / "five")
    assert code == 0, complained
    assert "near-duplicates" not in complained
    assert "2 lines with clones kept together" in " ".join(said.split())


@pytest.mark.parametrize("scheme", ["new-envs", "new-lines-new-envs"])
def test_new_envs(scheme: str, trial_folder: Path, tmp_path: Path, run: Run) -> None:
    words = ["cv", trial_folder / "pheno.csv", "--relationship", trial_folder / "relationship.csv", *COLUMNS, "--rep"]
    words += ["rep", *SMALL, "--traits", "T1", "--scheme", scheme, "--cv-envs", "E2", "--model", "mean"]
    words += ["--folds", "2"] if scheme == "new-lines-new-envs" else []
    code, said, complained = run(*words, "--out", tmp_path / "run")
    assert code == 0, complained
    scored = bmtme.load(tmp_path / "run").scores
    assert list(scored["partition"]) == (["E2"] if scheme == "new-envs" else ["E2:1", "E2:2"])
    assert "1 environment hidden and 1 to learn from" in " ".join(said.split())


@pytest.fixture
def refuse(fit_words: list[str], tmp_path: Path, run: Run) -> Any:
    """Run a command that must be refused as it stands, and give its message back."""

    def call(*words: object, code: int = 2) -> str:
        found, said, complained = run("cv", *fit_words[1:], *words, "--out", tmp_path / "run")
        assert (found, said) == (code, ""), complained
        assert complained.count("\n") == 1
        assert not (tmp_path / "run").exists()
        return complained

    return call


@pytest.mark.parametrize("option", GOES_WITH)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_options_of_other_schemes(scheme: str, option: str, refuse: Any) -> None:
    if scheme in GOES_WITH[option]:
        return
    value = {"--test-fraction": "0.3", "--cv-of": "record"}.get(option, "2")
    message = refuse("--scheme", scheme, option, value)
    assert f"argument {option}: does not go with --scheme {scheme}, but with --scheme {GOES_WITH[option][0]}" in message


def test_options_that_contradict_each_other(refuse: Any) -> None:
    new = ["--scheme", "new-lines"]
    assert "--partitions: does not go with --folds" in refuse(*new, "--folds", "3", "--partitions", "2")
    assert "--test-fraction: goes with random partitions" in refuse(*new, "--test-fraction", "0.3")
    assert "expected a share between 0 and 1, got 1" in refuse("--test-fraction", "1")
    assert "file needs --partitions-file" in refuse("--scheme", "file")
    assert "argument --top: expected a share" in refuse("--top", "0")
    assert "lowest names 'T3', which is no trait" in refuse("--lowest", "T3")
    assert "'T1' is that of --traits already" in refuse(*new, "--groups", "T1")
    assert "'line' is that of --line already" in refuse(*new, "--groups", "line")
    assert "Did you mean 'single'?" in refuse("--model", "singel")
    assert "invalid choice: 'cv3'" in refuse("--scheme", "cv3")
    assert "--families: does not go with --groups" in refuse(*new, "--groups", "fam", "--families", "ped.csv")
    assert "has no column 'a', given as the id column" in refuse(*new, "--pedigree-columns", "a,b,c", code=3)
    assert "expected three columns" in refuse(*new, "--families", "ped.csv", "--pedigree-columns", "a,b")
    assert "nowhere.csv" in refuse(*new, "--families", "nowhere.csv", code=3)
    assert "'Pearson' is no score, which are 'pearson'" in refuse("--score", "msep,Pearson")
    assert "Did you mean 'coverage_90'?" in refuse("--score", "coverage90")
    assert "'msep' stands there twice" in refuse("--score", "msep,msep")
    for text in ("1.5", "0", "some"):
        assert f"--clones: expected a correlation above 0 and up to 1, or none, got '{text}'" in refuse(
            "--clones", text
        )
    assert "no column 'fam', given as the groups column" in refuse(*new, "--groups", "fam", code=3)
    assert "nowhere.csv" in refuse("--scheme", "file", "--partitions-file", "nowhere.csv", code=3)


def test_groups_that_contradict_each_other(family_table: Path, tmp_path: Path, run: Run) -> None:
    frame = pd.read_csv(family_table, dtype=object)
    words = ["--relationship", "identity", *COLUMNS, "--traits", "T1", "--scheme", "new-lines", "--groups", "pop"]
    frame.loc[frame.index[-1], ["line", "pop"]] = ["L01", "9"]
    frame.to_csv(tmp_path / "pheno.csv", index=False)
    code, _, complained = run("cv", tmp_path / "pheno.csv", *words, "--out", tmp_path / "run")
    assert code == 3
    assert f"line 'L01' into '1' (row 2) and into '9' (row {len(frame) + 1}): a line belongs to one group" in complained
    frame.assign(pop="").to_csv(tmp_path / "pheno.csv", index=False)
    code, _, complained = run("cv", tmp_path / "pheno.csv", *words, "--out", tmp_path / "run")
    assert (code, "groups column 'pop' of pheno.csv is empty" in complained) == (3, True)
