"""Fixtures shared by the tests: real data where they are at hand, and small simulated trials."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

# Before any of them is imported: a failing assertion there shows its numbers too.
pytest.register_assert_rewrite("tests.helpers")


def pytest_configure(config: pytest.Config) -> None:
    """Compile the sampler before several processes share the tests out, each of which would do so by itself."""
    if getattr(config.option, "numprocesses", 0) and not hasattr(config, "workerinput"):
        from bmtme.engines.rotated.rehearsal import rehearse

        rehearse("collapsed")


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Folder of real data sets: the environment variable BMTME_DATA, or ``shared/data`` next to the checkout."""
    named = os.environ.get("BMTME_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no folder with real data (set BMTME_DATA)")
    return folder


@pytest.fixture(scope="session")
def data_file(data_folder: Path) -> Callable[[str], Path]:
    """Path of one real data file; the test is skipped where it is absent."""

    def find(name: str) -> Path:
        path = data_folder / name
        if not path.is_file():
            pytest.skip(f"no real data file {name}")
        return path

    return find


@pytest.fixture(autouse=True)
def no_word_of_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which test is the first to sample on a new machine, and says so, must not matter to what tests read."""
    monkeypatch.setattr("bmtme.running.is_compiled", lambda sampler: True)
    # Nor that it takes more than a minute, or a cross-validation seems to take so long for it.
    monkeypatch.setattr("bmtme.progress.LOG_EVERY", 3600.0)
    monkeypatch.setattr("bmtme.cv.tasks.LONG", 3600.0)
    monkeypatch.setattr("bmtme.results.mixed.search.is_compiled", lambda: True)


@pytest.fixture
def wide_frame() -> pd.DataFrame:
    """Six lines x two environments x two replicates, traits Yield and PH, in shuffled rows, with some gaps.

    Line "006" is not grown in environment "B"; PH of line "001" is missing everywhere in "A".
    """
    rng = np.random.default_rng(20161)
    rows = []
    for line in ("001", "002", "NA", "L 4", "005", "006"):
        for env in ("A", "B"):
            for rep in ("1", "2"):
                if (line, env) == ("006", "B"):
                    continue
                height = np.nan if (line, env) == ("001", "A") else round(rng.normal(200, 10), 1)
                rows.append((line, env, rep, round(rng.normal(5, 1), 3), height))
    frame = pd.DataFrame(rows, columns=["line", "env", "rep", "Yield", "PH"])
    return frame.sample(frac=1, random_state=7).reset_index(drop=True)


@pytest.fixture
def long_frame(wide_frame: pd.DataFrame) -> pd.DataFrame:
    """The records of `wide_frame` with one row per value, in shuffled rows; missing values have no row."""
    frame = wide_frame.melt(["line", "env", "rep"], ["Yield", "PH"], "trait", "value").dropna()
    return frame.sample(frac=1, random_state=8).reset_index(drop=True)


@pytest.fixture
def clean() -> pd.DataFrame:
    """Thirty lines in three environments with two replicates, Yield and PH; nothing strange in it."""
    rng = np.random.default_rng(4)
    lines = [f"L{j:02d}" for j in range(1, 31)]
    plots = pd.MultiIndex.from_product([lines, ["East", "North", "West"], ["1", "2"]], names=["line", "env", "rep"])
    frame = plots.to_frame(index=False)
    # Spread evenly enough that no value is an outlier, without two alike.
    frame["Yield"] = rng.permutation(np.linspace(4, 7, len(frame))).round(3)
    frame["PH"] = rng.permutation(np.linspace(150, 220, len(frame))).round(2)
    return frame


@pytest.fixture(autouse=True)
def answered_interruptions() -> Iterator[None]:
    """Interruptions reach the tests also where they were started in the background, with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def no_windows() -> Iterator[None]:
    """Figures are drawn into memory, and closed afterwards."""
    import matplotlib
    import matplotlib.pyplot as plt

    matplotlib.use("Agg", force=True)
    yield
    plt.close("all")
