"""``bmtme compare``: runs made apart are joined, and told from noise, or refused."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from bmtme.cv.result import CrossValidation
from bmtme.results.record import write_record
from tests.helpers.comparisons import make_result
from tests.helpers.shell import Run

TABLES = ("predictions", "line_means")


def make_whole() -> CrossValidation:
    baselines = {"single": "single", "mean": "means"}
    return make_result({"several": 0.8, "single": 0.3, "mean": float("nan")}, baselines=baselines)


def take_models(cv: CrossValidation, *labels: str) -> CrossValidation:
    """The run with these models alone."""
    run = cv.run | {"settings": cv.run["settings"] | {"models": {k: cv.run["settings"]["models"][k] for k in labels}}}
    tables = {name: table[table["model"].isin(labels)] for name, table in vars(cv).items() if name in TABLES}
    return replace(cv, **tables, run=run)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Runs a and b with the same partitions, c with others."""
    whole = make_whole()
    take_models(whole, "several", "single").save(tmp_path / "a")
    take_models(whole, "mean").save(tmp_path / "b")
    make_result({"several": 0.8}, seed=2).save(tmp_path / "c")
    return tmp_path


def test_one_run(runs: Path, run: Run) -> None:
    code, said, complained = run("compare", runs / "a", "--by", "trait")
    assert (code, complained) == (0, "")
    words = " ".join(said.split())
    assert "NewLines, 10 partitions" in words
    assert "a: several, single (2 chains of 1,000 draws, seed 1)" in words
    table = take_models(make_whole(), "several", "single").compare(by="trait")
    assert (table["p_adjusted"] < 0.05).all()  # a difference so large is told, or this test tells nothing
    for row in table.itertuples():
        assert f"{row.trait} all +{row.difference:.3f}*" in words
    assert "several traits help" in words


def test_joined_runs(runs: Path, run: Run) -> None:
    words = ["compare", runs / "a", runs / "b", "--metric", "msep", "--against", "mean", "--out", runs / "out"]
    code, said, complained = run(*words)
    assert code == 0, complained
    assert sorted(path.name for path in (runs / "out").iterdir()) == ["comparison.csv", "run.json", "summary.csv"]
    table = pd.read_csv(runs / "out" / "comparison.csv")
    assert set(table["metric"]) == {"msep"}
    assert set(zip(table["model"], table["against"], strict=True)) == {("several", "mean"), ("single", "mean")}
    expected = make_whole().compare("msep", "mean")
    pd.testing.assert_frame_equal(table[["difference", "p", "lower"]], expected[["difference", "p", "lower"]])
    record = json.loads((runs / "out" / "run.json").read_text())
    assert (record["kind"], list(record["runs"])) == ("comparison", ["a", "b"])
    assert "written to" in said


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_lines_fit_the_terminal(runs: Path, run: Run, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    _, said, _ = run("compare", runs / "a", runs / "b")
    assert max(map(len, said.splitlines())) <= max(columns, 80)
    why = "'mean' predicts all lines of an environment alike: it has no correlation, compare by msep."
    assert f"Not to be told: several - mean, single - mean: {why}" in " ".join(said.split())


def test_refusals(runs: Path, run: Run, trial_folder: Path) -> None:
    def refuse(code: int, *words: object) -> str:
        found, said, complained = run("compare", *words)
        assert (found, said) == (code, "")
        assert complained.count("\n") == 1
        return complained

    assert "the runs 'a' and 'c' cannot be compared: " in refuse(3, runs / "a", runs / "c")
    assert "holds no run.json" in refuse(3, trial_folder)
    (runs / "fit").mkdir()
    write_record(runs / "fit", {}, "fit", {})
    assert f"{runs / 'fit'} cannot be read as a saved cross-validation: it holds a fit" in refuse(3, runs / "fit")
    (runs / "b" / "predictions.csv").write_text("model\n")
    assert "its predictions.csv is damaged" in refuse(3, runs / "b")
    assert "is named twice" in refuse(2, runs / "a", f"{runs / 'a'}/")
    assert "only model with scores" in refuse(2, runs / "c")
    assert "metric must be one of" in refuse(2, runs / "a", "--metric", "pearsson")
    assert "Did you mean 'single'?" in refuse(2, runs / "a", "--against", "singel")
    assert "cannot be averaged over traits" in refuse(2, runs / "a", "--metric", "msep", "--by", "all")
    assert "is not empty" in refuse(2, runs / "a", "--out", runs / "c")


def test_runs_of_one_name(runs: Path, run: Run) -> None:
    (runs / "other").mkdir()
    (runs / "b").rename(runs / "other" / "a")
    _, said, complained = run("compare", runs / "a", runs / "other" / "a")
    assert complained == ""
    assert f"{runs / 'other' / 'a'}: mean" in " ".join(said.split())


def test_no_compiled_code(runs: Path) -> None:
    program = (
        "import sys; from bmtme.cli.main import main; code = main(sys.argv[1:]); "
        "assert code == 0 and 'numba' not in sys.modules and 'xarray' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program, "compare", str(runs / "a")], check=True, stdout=subprocess.DEVNULL)
