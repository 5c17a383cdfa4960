"""The shell command: what it writes and says, how it ends, and what it leaves behind when it is stopped."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bmtme
from bmtme.cli import arguments, streams
from bmtme.cli.main import main
from bmtme.columns import align
from bmtme.errors import NumericalError
from bmtme.report.tables import describe_cv, describe_fit

SMALL = ["--draws", "30", "--tune", "20", "--chains", "2", "--seed", "3"]
COLUMNS = ["--line", "line", "--env", "env"]

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process: exit status, stdout, stderr."""

    def call(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture(scope="module")
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
    """Put another function in place of the sampling."""

    def replace(function: Callable[..., Any]) -> None:
        monkeypatch.setattr("bmtme.pipeline.fit", function)

    return replace


# --- fit --------------------------------------------------------------------------------------------------------


def test_fit(fit_words: list[str], trial_folder: Path, tmp_path: Path, run: Run) -> None:
    out = tmp_path / "new" / "run"
    words = [*fit_words, *SMALL, "--out", str(out)]
    code, said, complained = run(*words)
    assert code == 0, complained
    assert sorted(path.name for path in out.iterdir()) == ["idata.nc", "predictions.csv", "run.json", "summary.csv"]
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
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["idata.nc", "run.json", "summary.csv"]
    assert "nothing, as no effects were kept" in said
    assert "correlation" not in said
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["inputs"]["relationship"] == "identity"
    assert record["settings"]["model"]["structure"] == "diagonal"


def test_fit_into_an_empty_folder_and_through_a_link(
    fit_words: list[str], tmp_path: Path, run: Run, replaced_fit: Callable[..., None]
) -> None:
    import bmtme.pipeline

    original = bmtme.pipeline.fit
    replaced_fit(lambda *given, **named: original(*given, **named | {"draws": 4, "tune": 2, "chains": 1}))
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


# --- cv ---------------------------------------------------------------------------------------------------------


def test_cv(fit_words: list[str], trial_folder: Path, tmp_path: Path, run: Run) -> None:
    words = ["cv", *fit_words[1:], *SMALL, "--partitions", "2", "--model", "diagonal", "--model", "standard"]
    words += ["--units", "raw", "--test-fraction", "0.3", "--workers", "2", "--out", str(tmp_path / "run")]
    code, said, complained = run(*words)
    assert code == 0, complained
    assert all(line.startswith("warning: ") for line in complained.splitlines())
    names = ["predictions.csv", "run.json", "scores.csv", "summary.csv"]
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
    code, said, complained = run(*words, "--out", tmp_path / "run")
    assert code == 0, complained
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


# --- simulate ---------------------------------------------------------------------------------------------------


def test_simulate(tmp_path: Path, run: Run) -> None:
    words = ["simulate", "--lines", "12", "--envs", "2", "--traits", "2", "--reps", "3", "--seed", "5"]
    words += ["--genetic-correlation", "0.3", "--residual-correlation", "-0.1", "--heritability", "0.4"]
    words += ["--interaction", "0.2,0.6", "--missing", "0.25", "--missing-traits", "0.1", "--relationship", "markers"]
    code, said, complained = run(*words, "--out", tmp_path / "sim")
    assert (code, complained) == (0, "")
    names = ["markers.csv", "phenotypes.csv", "relationship.csv", "truth.json"]
    assert sorted(path.name for path in (tmp_path / "sim").iterdir()) == names
    same = bmtme.simulate(12, 2, 2, 3, 0.3, -0.1, 0.4, [0.2, 0.6], "markers", 0.25, 0.1, 5)
    assert (tmp_path / "sim" / "phenotypes.csv").read_text() == same.frame.to_csv(index=False)
    truth = json.loads((tmp_path / "sim" / "truth.json").read_text())
    assert truth["Sigma_E"]["E2"]["E2"] == 0.6
    assert f"--relationship {tmp_path / 'sim' / 'relationship.csv'}" in said
    code, _, complained = run(*words, "--out", tmp_path / "sim")
    assert code == 2
    assert "is not empty" in complained


# --- how a command ends -----------------------------------------------------------------------------------------


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from bmtme.cli.main import main; codes = [main([*word, '--help']) for word in "
        "([], ['check'], ['grm'], ['fit'], ['cv'], ['simulate'])]; "
        "print(codes, sorted({'numpy', 'pandas', 'numba', 'arviz'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[0, 0, 0, 0, 0, 0] []"
    for part in ("bmtme fit PHENO", "--keep-effects", "predictions.csv", "exit status:", "cv2  one trait is hidden"):
        assert part in done.stdout


def test_fit_imports_nothing_for_figures(fit_words: list[str], tmp_path: Path) -> None:
    """All of ArviZ takes as long to import as a small fit to sample."""
    words = [*fit_words, *SMALL, "--out", str(tmp_path / "run")]
    script = (
        f"import sys; from bmtme.cli.main import main; code = main({words!r}); "
        "print(code, sorted({'arviz', 'arviz_plots', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"


def test_version(run: Run) -> None:
    assert run("--version") == (0, f"bmtme {bmtme.__version__}\n", "")


@pytest.mark.parametrize(
    "texts, names",
    [
        (None, None),
        (["A"], ["A"]),
        ([" A , B"], ["A", "B"]),
        (['"Yield, dry", B'], ["Yield, dry", "B"]),
        (["Yield, dry", " B "], ["Yield, dry", "B"]),
    ],
)
def test_split_names(texts: list[str] | None, names: list[str] | None) -> None:
    assert arguments.split_names(arguments.Parser(prog="bmtme"), "--traits", texts) == names


def raise_interrupt(*given: Any, **named: Any) -> Any:
    raise KeyboardInterrupt


def raise_sigterm(*given: Any, **named: Any) -> Any:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(5)


@pytest.mark.parametrize("stop, status", [(raise_interrupt, 130), (raise_sigterm, 143)])
@pytest.mark.parametrize("stage", ["sampling", "writing"])
def test_interruption_leaves_nothing(
    stop: Callable[..., Any],
    status: int,
    stage: str,
    fit_words: list[str],
    tmp_path: Path,
    run: Run,
    replaced_fit: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    if stage == "sampling":
        replaced_fit(stop)
    else:
        # The last file of the folder, when the others are there.
        monkeypatch.setattr(Path, "write_text", stop)
    code, said, complained = run(*fit_words, "--draws", "4", "--tune", "2", "--chains", "1", "--out", tmp_path / "run")
    assert (code, said) == (status, "")
    assert complained.splitlines()[-1] == "bmtme: interrupted; nothing was written"
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) is before


def test_interruption_after_the_results_are_there(
    fit_words: list[str], tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bmtme.report.tables.describe_fit", raise_interrupt)
    code, _, complained = run(*fit_words, "--draws", "4", "--tune", "2", "--chains", "1", "--out", tmp_path / "run")
    assert code == 130
    assert complained.splitlines()[-1] == f"bmtme: interrupted; the results are complete in {tmp_path / 'run'}"


@pytest.mark.parametrize(
    "error, message",
    [
        (MemoryError("Unable to allocate 9 TiB"), "not enough memory (Unable to allocate 9 TiB); nothing was written."),
        (OSError(28, "No space left on device", "run/idata.nc"), "run/idata.nc: No space left on device; nothing was"),
        (KeyError("x"), "unexpected KeyError ('x'); nothing was written. This is a fault in bmtme: please report it"),
        (RuntimeError(), "unexpected RuntimeError; nothing was written."),
    ],
)
def test_other_failures_are_one_message(
    error: Exception,
    message: str,
    fit_words: list[str],
    tmp_path: Path,
    run: Run,
    replaced_fit: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*given: Any, **named: Any) -> Any:
        raise error

    replaced_fit(fail)
    code, said, complained = run(*fit_words, "--out", tmp_path / "run")
    assert (code, said) == (1, "")
    assert complained.startswith(f"bmtme: error: {message}")
    assert complained.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
    assert "Traceback" in run(*fit_words, "--debug", "--out", tmp_path / "run")[2]
    monkeypatch.setenv("BMTME_DEBUG", "1")
    assert "Traceback" in run(*fit_words, "--out", tmp_path / "run")[2]


def test_warnings_are_plain_lines(
    fit_words: list[str], tmp_path: Path, run: Run, replaced_fit: Callable[..., None]
) -> None:
    def warn(*given: Any, **named: Any) -> Any:
        for _ in range(2):
            warnings.warn("few draws:\n  use more.", UserWarning, stacklevel=1)
        warnings.warn("a library will change", FutureWarning, stacklevel=1)
        warnings.warn("overflow", RuntimeWarning, stacklevel=1)
        raise KeyboardInterrupt

    replaced_fit(warn)
    _, _, complained = run(*fit_words, "--out", tmp_path / "run")
    assert complained == "warning: few draws: use more.\nbmtme: interrupted; nothing was written\n"


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX pipes and signals")
def test_a_reader_that_went_away(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        for words in (["simulate", "--lines", "5", "--out", str(tmp_path / "sim")], ["--help"]):
            command = [sys.executable, "-m", "bmtme", *words]
            done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
            assert (done.returncode, done.stderr) == (0, "")
    finally:
        os.close(writing)
    assert (tmp_path / "sim" / "truth.json").is_file()


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX pipes and signals")
def test_sigterm_ends_a_process_that_samples(fit_words: list[str], tmp_path: Path, run: Run) -> None:
    # A thread that compiles cannot be interrupted: leave the process nothing to compile.
    assert run(*fit_words, *SMALL, "--keep-effects", "thin", "--out", tmp_path / "first" / "run")[0] == 0
    command = [sys.executable, "-m", "bmtme", *fit_words, "--draws", "5000000", "--keep-effects", "thin"]
    with subprocess.Popen(
        [*command, "--out", str(tmp_path / "run")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        time.sleep(4)
        process.send_signal(signal.SIGTERM)
        said, complained = process.communicate(timeout=300)
    assert (process.returncode, said) == (143, "")
    assert complained.splitlines()[-1] == "bmtme: interrupted; nothing was written"
    assert [path.name for path in tmp_path.iterdir()] == ["first"]


def test_letters_that_a_terminal_lacks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with open(tmp_path / "out.txt", "w", encoding="ascii") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        streams.say("Zürich")
        monkeypatch.setattr(sys, "stdout", None)
        streams.say("nobody")
        streams.flush()
    assert (tmp_path / "out.txt").read_text() == "Z\\xfcrich\n"


# --- tables -----------------------------------------------------------------------------------------------------


def test_align_wraps_columns() -> None:
    rows = [["a", "1", "22", "3"], ["bb", "1", "2", "333"]]
    assert align(rows, ["", "x", "y", "z"], left=1, width=80) == "    x   y    z\na   1  22    3\nbb  1   2  333"
    assert align(rows, ["", "x", "y", "z"], left=1, width=9) == (
        "    x   y\na   1  22\nbb  1   2\n\n      z\na     3\nbb  333"
    )


def make_trial() -> bmtme.Trial:
    frame = pd.DataFrame(
        {"line": list("abab"), "env": ["E", "E", "F", "F"], "Y": [1.0, 2, 3, 4], "Z, dry": [1, 2, 3, 4]}
    )
    return bmtme.Trial.from_frame(frame, line="line", env="env", traits=["Y", "Z, dry"])


def test_describe_fit_marks_what_only_the_prior_knows() -> None:
    names = [f"heritability[{env}, {trait}]" for env in "EF" for trait in ("Y", "Z, dry")]
    names += ["residual_correlation[Y, Z, dry]", "genetic_correlation[Y, Z, dry]"]
    summary = pd.DataFrame(
        {"mean": 0.5, "lower": -0.001, "upper": 0.9, "ess_bulk": 900.0, "r_hat": 1.0, "note": ""}, index=names
    )
    summary.loc["residual_correlation[Y, Z, dry]", "note"] = "prior only: never on one record"
    run = {
        "data": {"lines": 2, "lines_predicted": 2, "lines_dropped": [], "records": 4, "traits": 2, "missing_values": 0},
        "settings": {
            "model": {"structure": "unstructured"},
            "chains": 1,
            "draws": 1000,
            "tune": 0,
            "seed": 1,
            "sampler": "gibbs",
            "keep_effects": "all",
        },
        "sampling": {"modes": [], "divergences": [0], "acceptance": None, "corners": []},
        "seconds": {"sample": 0.25},
    }
    text = describe_fit(summary, run, make_trial())
    assert "2 traits ('Y', 'Z, dry')" in text
    assert "4 records, nothing missing" in text
    assert "  Z, dry  0.50 (0.00, 0.90)*\n  * known from the prior only" in text
    assert text.count("*") == 2
    assert max(map(len, text.splitlines())) <= 100
    narrow = describe_fit(summary, run, make_trial(), width=40)
    table = "Heritability of a record: mean (intervals are in the summary)\n        Y  Z, dry\n  E  0.50    0.50\n"
    assert table in narrow
    assert "sampler, seed 1, 0.2 s\n" in text
    run["seconds"] |= {"search": 0.5, "compile": 105.07}
    assert "sampler, seed 1, 0.8 s (and 105 s to compile it first)\n" in describe_fit(summary, run, make_trial())
    # A prior-only entry is not told again as one of which the data say little; others are.
    hardly = "the data hardly say: the interval covers 0.98 of (0, 1)"
    summary.loc["heritability[E, Y]", "note"] = f"prior only: why; {hardly}"
    summary.loc["heritability[F, Y]", "note"] = hardly
    assert "almost all of (0, 1): Y in F\n" in describe_fit(summary, run, make_trial())


def test_describe_cv_shows_missing_scores_and_units() -> None:
    rows = [
        ("un", "E", "Y", 2, 0.5, 0.02, 1234.5, 20.0, 1, 2),
        ("un", "F", "Y", 2, np.nan, np.nan, 4.0, np.nan, np.nan, 1),
        ("bd", "E", "Y", 2, 0.4, 0.03, 999.0, 30.0, 2, 1),
        ("bd", "F", "Y", 2, -0.0001, 0.1, 9.0, 1.0, 1, 2),
        ("un", "E", "Z, dry", 2, 0.5, 0.02, 1.5e-12, 1e-13, 1, 1),
    ]
    columns = ["model", "env", "trait", "n_partitions", "pearson_mean", "pearson_se", "msep_mean", "msep_se"]
    summary = pd.DataFrame(rows, columns=[*columns, "pearson_rank", "msep_rank"])
    run = {
        "data": {
            "lines": 2,
            "lines_dropped": ["x"],
            "records": 4,
            "traits": 2,
            "missing_values": 1,
            "partitions": [{"partition": "1"}, {"partition": "2"}],
        },
        "settings": {
            "scheme": {"name": "CV1", "partitions": 2, "test_fraction": 0.25},
            "chains": 2,
            "draws": 1,
            "tune": 1,
            "seed": 1,
            "sampler": "gibbs",
        },
        "seconds": {"sample": 1.0},
    }
    best = {("pearson", "E", "Y", "un"), ("msep", "E", "Y", "bd"), ("msep", "F", "Y", "un")}
    text = describe_cv(summary, run, make_trial(), best=best)
    lines = [line.split() for line in text.splitlines()]
    assert ["Y", "E", "un", "2", "0.500", "(0.020)*", "1234", "(20)"] in lines
    assert ["bd", "2", "0.400", "(0.030)", "999", "(30)*"] in lines
    assert ["Y", "F", "un", "2", "-", "4*"] in lines
    assert ["bd", "2", "0.000", "(0.100)", "9", "(1)"] in lines
    assert ["Z,", "dry", "E", "un", "2", "0.500", "(0.020)", "1.5e-12", "(1e-13)"] in lines
    assert "* better than every other model" in " ".join(text.split())
    assert "2 partitions, 25% of the lines" in text
    assert "12.5% of their values missing" in text
    assert "1 line without a relationship: x" in text
