"""How commands end, and what they leave behind when they are stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bmtme
from bmtme.cli import arguments, streams
from tests.helpers.shell import SMALL, Run


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from bmtme.cli.main import main; codes = [main([*word, '--help']) for word in "
        "([], ['check'], ['grm'], ['fit'], ['cv'], ['compare'], ['simulate'])]; "
        "print(codes, sorted({'numpy', 'pandas', 'numba', 'arviz'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[0, 0, 0, 0, 0, 0, 0] []"
    for part in (
        "bmtme fit PHENO",
        "--keep-effects",
        "predictions.csv",
        "exit status:",
        "new-lines  lines never grown",
    ):
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
    assert list(tmp_path.iterdir()) == []  # what begins is a whole folder, too
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
        (
            ImportError("libblas.so: failed to map segment from shared object"),
            "not enough memory; nothing was written.",
        ),
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
    command = [sys.executable, "-m", "bmtme", *fit_words, "--draws", "1000000", "--keep-effects", "thin"]
    with subprocess.Popen(
        [*command, "--out", str(tmp_path / "run")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        time.sleep(4)
        process.send_signal(signal.SIGTERM)
        said, complained = process.communicate(timeout=300)
    assert (process.returncode, said) == (143, "")
    assert complained.splitlines()[-1] == (
        "bmtme: interrupted; what was drawn up to the last checkpoint is kept: 'bmtme resume "
        f"{tmp_path / 'run'}' goes on"
    )
    assert [path.name for path in (tmp_path / "run").glob("*.*")] == ["run.json"]


def test_letters_that_a_terminal_lacks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with open(tmp_path / "out.txt", "w", encoding="ascii") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        streams.say("Zürich")
        monkeypatch.setattr(sys, "stdout", None)
        streams.say("nobody")
        streams.flush()
    assert (tmp_path / "out.txt").read_text() == "Z\\xfcrich\n"
