"""Bad input in the shell: one message that names the place, the right exit status, and nothing written."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.helpers.shell import COLUMNS, Run

LINES = ("L1", "L2", "L3", "L4", "L5", "L6")
OPTIONS = [*COLUMNS, "--traits", "Yield,PH"]

Change = Callable[[pd.DataFrame], pd.DataFrame | None]


@pytest.fixture
def pheno() -> pd.DataFrame:
    """Six lines in two environments; row k + 2 of the file is row k of the frame."""
    rng = np.random.default_rng(5)
    rows = [(line, env) for env in ("North", "South") for line in LINES]
    frame = pd.DataFrame(rows, columns=["line", "env"]).astype(object)
    frame["Yield"] = rng.normal(5, 1, len(rows)).round(3).astype(str)
    frame["PH"] = rng.normal(200, 10, len(rows)).round(1).astype(str)
    return frame.astype(object)


@pytest.fixture
def grm() -> pd.DataFrame:
    """Relationship of the six lines and of one more."""
    lines = [*LINES, "L7"]
    matrix = pd.DataFrame(0.6 * np.eye(7) + 0.4, index=lines, columns=lines)
    return matrix.map("{:.3f}".format).astype(object)


@pytest.fixture
def refuse(tmp_path: Path, run: Run) -> Callable[..., str]:
    """Run a command that must fail, and give its message back."""

    def call(*words: object, code: int = 3) -> str:
        before = sorted(tmp_path.rglob("*"))
        status, said, complained = run(*words)
        assert status == code, complained
        assert said == ""
        check_message(complained)
        assert sorted(tmp_path.rglob("*")) == before
        return complained

    return call


def check_message(text: str) -> None:
    assert text.startswith("bmtme: error: ")
    assert text.endswith(".\n")
    assert text.count("\n") == 1
    assert "Traceback" not in text


def set_cell(row: int, column: str, text: str) -> Change:
    def change(frame: pd.DataFrame) -> None:
        frame.loc[frame.index[row], column] = text

    return change


def set_entry(row: str, column: str, text: str) -> Change:
    def change(frame: pd.DataFrame) -> None:
        frame.loc[row, column] = text

    return change


def rename(axis: str, old: str, new: str) -> Change:
    return lambda frame: frame.rename(**{axis: {old: new}})


def make_indefinite(frame: pd.DataFrame) -> None:
    frame.loc["L1", "L2"] = frame.loc["L2", "L1"] = "1.500"


def write(frame: pd.DataFrame, path: Path, change: Change | None = None, index: bool = False) -> Path:
    frame = frame.copy()
    changed = change(frame) if change is not None else None
    (frame if changed is None else changed).to_csv(path, index=index, index_label="line" if index else None)
    return path


@pytest.mark.parametrize(
    "change, named",
    [
        (rename("columns", "PH", "Height"), ["no column 'PH'", "pheno.csv", "'Height'"]),
        (rename("columns", "line", "Line"), ["no column 'line'", "Did you mean 'Line'?"]),
        (rename("columns", "Yield", "PH"), ["two columns named 'PH'", "pheno.csv"]),
        (set_cell(3, "Yield", "low"), ["'Yield'", "'low'", "row 5"]),
        (set_cell(3, "Yield", "4,5"), ["'Yield'", "'4,5'", "row 5", "with a point"]),
        (set_cell(0, "PH", "inf"), ["'PH'", "infinite", "'inf'", "row 2"]),
        (set_cell(7, "line", ""), ["'line'", "empty", "row 9"]),
        (set_cell(2, "env", " "), ["'env'", "empty", "row 4"]),
        (set_cell(4, "line", "L05"), ["1 line has records", "'L05'", "'L05' is nearly 'L5'", "--drop-unrelated"]),
        (lambda frame: frame.assign(PH=""), ["'PH'", "no value", "pheno.csv"]),
        (lambda frame: frame[frame["line"] == "L2"], ["one line only", "pheno.csv"]),
        (lambda frame: frame.iloc[:0], ["pheno.csv", "no records"]),
        (lambda frame: frame.assign(line=[f"X{k}" for k in range(12)]), ["12 lines have records", "'X0'"]),
    ],
)
def test_phenotypes(
    change: Change, named: list[str], pheno: pd.DataFrame, grm: pd.DataFrame, tmp_path: Path, refuse: Callable[..., str]
) -> None:
    table = write(pheno, tmp_path / "pheno.csv", change)
    relationship = write(grm, tmp_path / "grm.csv", index=True)
    message = refuse("fit", table, "--relationship", relationship, *OPTIONS, "--out", tmp_path / "run")
    for part in named:
        assert part in message


@pytest.mark.parametrize(
    "change, named",
    [
        (lambda frame: pd.concat([frame, frame.loc[["L3"]]]), ["grm.csv", "'L3'", "twice"]),
        (rename("columns", "L3", "L4"), ["header", "grm.csv", "'L4'", "twice"]),
        (set_entry("L1", "L4", "0.900"), ["grm.csv", "not symmetric", "'L1'", "'L4'", "0.9", "0.4"]),
        (set_entry("L5", "L2", ""), ["grm.csv", "row 6", "'L5'", "'L2'", "missing"]),
        (set_entry("L5", "L2", "NA"), ["grm.csv", "'L5'", "'L2'", "missing ('NA')"]),
        (set_entry("L5", "L2", "high"), ["grm.csv", "'L5'", "'L2'", "'high'"]),
        (set_entry("L6", "L6", "0"), ["grm.csv", "diagonal", "'L6'", "positive"]),
        (make_indefinite, ["not positive semi-definite", "smallest eigenvalue is -0.5"]),
        (lambda frame: frame.drop(index="L7"), ["grm.csv", "'L7' only among the columns", "square"]),
        (lambda frame: frame.drop(index="L5", columns="L5"), ["1 line has records", "'L5'", "--drop-unrelated"]),
    ],
)
@pytest.mark.parametrize("command", ["fit", "cv"])
def test_relationship(
    command: str,
    change: Change,
    named: list[str],
    pheno: pd.DataFrame,
    grm: pd.DataFrame,
    tmp_path: Path,
    refuse: Callable[..., str],
) -> None:
    table = write(pheno, tmp_path / "pheno.csv")
    relationship = write(grm, tmp_path / "grm.csv", change, index=True)
    message = refuse(command, table, "--relationship", relationship, *OPTIONS, "--out", tmp_path / "run")
    for part in named:
        assert part in message


@pytest.mark.parametrize(
    "content, named",
    [
        (b"", ["is empty"]),
        (b"just a sentence\n", ["names no lines"]),
        (b"line;L1;L2\nL1;1;0\nL2;0;1\n", ["semicolons"]),
        (b"line,L1,L2\nL1,1,0\nL2,0\n", ["2 cells in row 3", "3 in its header"]),
        (b"\x89PNG\r\n\x1a\n\x00\xff", ["not UTF-8"]),
        (gzip.compress(b"line,L1\nL1,1\n" * 50, mtime=0)[:-12], ["damaged gzip"]),
    ],
)
def test_file_that_is_no_matrix(
    content: bytes, named: list[str], pheno: pd.DataFrame, tmp_path: Path, refuse: Callable[..., str]
) -> None:
    table = write(pheno, tmp_path / "pheno.csv")
    (tmp_path / "grm.csv").write_bytes(content)
    message = refuse("fit", table, "--relationship", tmp_path / "grm.csv", *OPTIONS, "--out", tmp_path / "run")
    for part in ["grm.csv", *named]:
        assert part in message


def test_phenotypes_in_place_of_the_relationship(
    pheno: pd.DataFrame, tmp_path: Path, refuse: Callable[..., str]
) -> None:
    table = write(pheno, tmp_path / "pheno.csv")
    message = refuse("fit", table, "--relationship", table, *OPTIONS, "--out", tmp_path / "run")
    assert "pheno.csv, row 2" in message
    assert "'North', expected a number" in message


@pytest.mark.parametrize("lacking", ["pheno.csv", "grm.csv"])
def test_missing_file(
    lacking: str, pheno: pd.DataFrame, grm: pd.DataFrame, tmp_path: Path, refuse: Callable[..., str]
) -> None:
    table, relationship = tmp_path / "pheno.csv", tmp_path / "grm.csv"
    write(pheno, table)
    write(grm, relationship, index=True)
    (tmp_path / lacking).unlink()
    message = refuse("fit", table, "--relationship", relationship, *OPTIONS, "--out", tmp_path / "run")
    assert f"{lacking} cannot be read: No such file or directory" in message


def test_folder_in_place_of_a_file(pheno: pd.DataFrame, tmp_path: Path, refuse: Callable[..., str]) -> None:
    table = write(pheno, tmp_path / "pheno.csv")
    message = refuse("fit", table, "--relationship", tmp_path, *OPTIONS, "--out", tmp_path / "run")
    assert f"{tmp_path} is a folder: expected a file." in message


def test_repeated_plot_of_a_long_table(pheno: pd.DataFrame, tmp_path: Path, refuse: Callable[..., str]) -> None:
    long = pheno.melt(["line", "env"], ["Yield", "PH"], "trait", "value")
    table = write(pd.concat([long, long.iloc[[4]]]), tmp_path / "long.csv")
    options = ["--relationship", "identity", "--line", "line", "--env", "env", "--trait", "trait", "--value", "value"]
    message = refuse("fit", table, *options, "--out", tmp_path / "run")
    for part in ("'L5'", "'North'", "'Yield'", "row 6 and row 26", "plot identifier"):
        assert part in message


def test_unknown_trait_of_a_long_table(pheno: pd.DataFrame, tmp_path: Path, refuse: Callable[..., str]) -> None:
    table = write(pheno.melt(["line", "env"], ["Yield", "PH"], "trait", "value"), tmp_path / "long.csv")
    options = ["--relationship", "identity", "--line", "line", "--env", "env", "--trait", "trait", "--value", "value"]
    message = refuse("fit", table, *options, "--traits", "Yeild", "--out", tmp_path / "run")
    assert "no trait 'Yeild'" in message
    assert "Did you mean 'Yield'?" in message


def test_trait_without_a_value_among_related_lines(
    pheno: pd.DataFrame, grm: pd.DataFrame, tmp_path: Path, refuse: Callable[..., str]
) -> None:
    pheno.loc[pheno["line"] != "L6", "PH"] = ""
    table = write(pheno, tmp_path / "pheno.csv")
    relationship = write(grm, tmp_path / "grm.csv", lambda g: g.drop(index="L6", columns="L6"), index=True)
    options = [*OPTIONS, "--drop-unrelated", "--out", tmp_path / "run"]
    message = refuse("fit", table, "--relationship", relationship, *options)
    assert "trait 'PH' has no value" in message


def test_flat_means_of_a_column_without_records(
    pheno: pd.DataFrame, tmp_path: Path, refuse: Callable[..., str]
) -> None:
    pheno.loc[pheno["env"] == "South", "PH"] = ""
    table = write(pheno, tmp_path / "pheno.csv")
    options = ["--relationship", "identity", *OPTIONS, "--means", "flat", "--out", tmp_path / "run"]
    assert "'South x PH'" in refuse("fit", table, *options)


def test_unknown_names_of_the_schemes(pheno: pd.DataFrame, tmp_path: Path, refuse: Callable[..., str]) -> None:
    table = write(pheno, tmp_path / "pheno.csv")
    options = ["--relationship", "identity", *OPTIONS, "--scheme", "cv2", "--out", tmp_path / "run"]
    assert "'West'" in refuse("cv", table, *options, "--cv-envs", "West")
    assert "'Hight'" in refuse("cv", table, *options, "--cv-traits", "Hight")


def test_too_few_lines_to_hide(pheno: pd.DataFrame, tmp_path: Path, refuse: Callable[..., str]) -> None:
    table = write(pheno, tmp_path / "pheno.csv", lambda frame: frame.iloc[:6])
    options = ["--relationship", "identity", *OPTIONS, "--out", tmp_path / "run"]
    assert "environment 'North'" in refuse("cv", table, *options)


# --- in use, and usage ------------------------------------------------------------------------------------------


def test_output_folder_in_use_comes_before_the_data(tmp_path: Path, refuse: Callable[..., str]) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    words = ["fit", tmp_path / "none.csv", "--relationship", tmp_path / "none.csv", *OPTIONS]
    assert f"{tmp_path / 'run'} is not empty" in refuse(*words, "--out", tmp_path / "run", code=2)
    assert "is a file" in refuse(*words, "--out", tmp_path / "run" / "notes.txt", code=2)
    assert "notes.txt is a file" in refuse(*words, "--out", tmp_path / "run" / "notes.txt" / "run", code=2)
    assert "is empty" in refuse(*words, "--out", " ", code=2)
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"


def test_current_folder_is_no_output_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuse: Callable[..., str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["fit", "none.csv", "--relationship", "none.csv", *OPTIONS]
    assert "name a new folder" in refuse(*words, "--out", ".", code=2)


def test_name_too_long_for_a_file(tmp_path: Path, pheno: pd.DataFrame, refuse: Callable[..., str]) -> None:
    """Also where a file is looked into to see what it is: the command makes no sense, the machine has not failed."""
    pheno.to_csv(tmp_path / "pheno.csv", index=False)
    words = ["check", tmp_path / "pheno.csv", "--relationship", "9" * 3000, *OPTIONS]
    assert "is too long for the name of a file" in refuse(*words, code=2)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_output_folder_without_permission(tmp_path: Path, refuse: Callable[..., str]) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    words = ["fit", "none.csv", "--relationship", "none.csv", *OPTIONS]
    assert "no permission" in refuse(*words, "--out", tmp_path / "locked" / "run", code=2)


FIT = ["fit", "none.csv", "--relationship", "identity", "--line", "line", "--env", "env"]
CV = ["cv", *FIT[1:]]


@pytest.mark.parametrize(
    "words, named",
    [
        ([], ["a command is needed", "bmtme --help"]),
        (["fti"], ["'fti'", "bmtme --help"]),
        (["--frobnicate"], ["--frobnicate"]),
        (["fit", "none.csv"], ["--relationship", "--out", "bmtme fit --help"]),
        (["fit", "none.csv", "--relationship", "identity", "--out", "run"], ["--line", "bmtme fit --help"]),
        ([*FIT, "--model", "unstructred"], ["--model", "'unstructred'", "diagonal"]),
        ([*FIT, "--sampler", "nuts"], ["--sampler", "'nuts'"]),
        ([*FIT, "--means", "none"], ["--means", "'none'"]),
        ([*FIT, "--units", "raw"], ["units='raw'", "standard"]),
        ([*FIT, "--draws", "0"], ["--draws", "at least 1", "'0'"]),
        ([*FIT, "--tune", "-1"], ["--tune", "at least 0", "'-1'"]),
        ([*FIT, "--chains", "two"], ["--chains", "whole number", "'two'"]),
        ([*FIT, "--seed", "1.5"], ["--seed", "'1.5'"]),
        ([*FIT, "--draw", "10"], ["unrecognized", "--draw 10", "bmtme fit --help"]),
        ([*FIT, "--value", "y"], ["--value", "needs --trait"]),
        ([*FIT, "--trait", "t"], ["--trait", "needs --value"]),
        ([*FIT, "--traits", "Yield,,PH"], ["--traits", "'Yield,,PH'"]),
        ([*FIT, "--rep", ""], ["--rep", "empty"]),
        ([*CV, "--scheme", "cv3"], ["--scheme", "'cv3'"]),
        ([*CV, "--scheme", "cv2", "--partitions", "5"], ["--partitions", "--scheme cv2"]),
        ([*CV, "--scheme", "cv2", "--test-fraction", "0.2"], ["--test-fraction", "--scheme cv2"]),
        ([*CV, "--cv-envs", "North"], ["--cv-envs", "--scheme cv1"]),
        ([*CV, "--scheme", "cv1", "--cv-of", "record"], ["--cv-of", "--scheme cv1"]),
        ([*CV, "--scheme", "cv1", "--cv-traits", "PH"], ["--cv-traits", "--scheme cv1"]),
        ([*CV, "--scheme", "cv2", "--cv-traits", "PH,PH"], ["'PH'", "more than once"]),
        ([*CV, "--test-fraction", "1"], ["--test-fraction", "between 0 and 1"]),
        ([*CV, "--test-fraction", "some"], ["--test-fraction", "'some'"]),
        ([*CV, "--model", "diagonal", "--model", "diagonal"], ["--model", "'diagonal'", "label of its own"]),
        ([*CV, "--model", "diagonal", "--units", "raw"], ["--units", "standard"]),
        (["simulate", "--lines", "none"], ["--lines", "'none'"]),
        (["simulate", "--heritability", "0.2,x"], ["--heritability", "'x'"]),
        (["simulate", "--heritability", "0.2,0.5"], ["heritability", "3 traits"]),
        (["simulate", "--heritability", "1.5"], ["heritability", "1.5"]),
        (["simulate", "--genetic-correlation", "-0.9"], ["genetic_correlation", "-0.9"]),
        (["simulate", "--missing", "0.9"], ["missing", "0.9"]),
        (["simulate", "--relationship", "pedigree"], ["--relationship", "'pedigree'"]),
    ],
)
def test_usage(words: list[str], named: list[str], tmp_path: Path, refuse: Callable[..., str]) -> None:
    complete = len(words) > 2 or words[:1] == ["simulate"]
    message = refuse(*words, *(["--out", tmp_path / "run"] if complete else []), code=2)
    for part in named:
        assert part in message


def test_as_processes(pheno: pd.DataFrame, grm: pd.DataFrame, tmp_path: Path) -> None:
    table = write(pheno, tmp_path / "pheno.csv", set_cell(3, "Yield", "low"))
    sound = write(pheno, tmp_path / "sound.csv")
    relationship = write(grm, tmp_path / "grm.csv", make_indefinite, index=True)
    for words, code, named in (
        (["fit", table, "--relationship", relationship], 3, "row 5"),
        (["fit", sound, "--relationship", relationship], 3, "positive semi-definite"),
        (["fit", table, "--relationship", relationship, "--model", "full"], 2, "'full'"),
    ):
        command = [sys.executable, "-m", "bmtme", *map(str, words), *OPTIONS, "--out", str(tmp_path / "run")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        assert done.stdout == ""
        check_message(done.stderr)
        assert named in done.stderr
        assert not (tmp_path / "run").exists()
