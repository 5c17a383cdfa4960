"""``bmtme score``: what it says, writes and refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bmtme import read_markers, vanraden
from bmtme.data.markers.quality import filter_markers
from bmtme.results.record import read_record
from bmtme.results.storage import read_table, write_fit
from tests.helpers.posteriors import make_fit, make_setting
from tests.helpers.shell import Run

QUALITY = ["--min-maf", "0.1", "--min-call-rate-marker", "0.7"]


@pytest.fixture(autouse=True)
def _sufficient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chains that suffice; what is said of others is tested with a real fit (`test_for_programs.py`)."""
    monkeypatch.setattr("bmtme.results.fit.Fit.reliable", True)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run, and genotypes of its 12 lines (old.csv), of 14 others (new.csv) and of both (all.csv)."""
    path = tmp_path_factory.mktemp("score")
    rng = np.random.default_rng(7)
    s = make_setting()
    frame = pd.DataFrame(
        rng.binomial(2, rng.uniform(0.02, 0.9, 80), size=(26, 80)).astype(float),
        index=pd.Index([*s.lines, *(f"N{k:02d}" for k in range(14))], name="line"),
        columns=[f"M{k}" for k in range(80)],
    )
    frame[rng.random(frame.shape) < 0.1] = np.nan
    for name, part in (("all", frame), ("old", frame.iloc[:12]), ("new", frame.iloc[12:])):
        part.to_csv(path / f"{name}.csv")
    kept, _ = filter_markers(read_markers(path / "old.csv"), min_call_rate_marker=0.7, min_maf=0.1)
    assert len(kept.names) < 75
    s.G = np.array(vanraden(kept).matrix)
    fit = make_fit(s)
    (path / "run").mkdir()
    write_fit(path / "run", fit._groups, fit.run, fit.summary(), fit._predictions)
    return path


def test_one_file_or_two(place: Path, run: Run, tmp_path: Path) -> None:
    from bmtme import load

    kept, _ = filter_markers(read_markers(place / "old.csv"), min_call_rate_marker=0.7, min_maf=0.1)
    expected = load(place / "run").score(read_markers(place / "all.csv"), kept, {"E1": 2, "E3": 1})
    env = ["--env", "E1=2,E3=1", *QUALITY]
    code, _, complained = run("score", place / "run", place / "all.csv", *env, "--out", tmp_path / "one")
    assert (code, complained) == (0, "")
    record, columns = read_record(tmp_path / "one", "scores")
    found = read_table(tmp_path / "one" / "gebv.csv", columns["gebv.csv"])
    pd.testing.assert_frame_equal(found, expected)
    assert record["inputs"]["markers"]["path"].endswith("all.csv")
    words = ["--training", place / "old.csv", *env, "--out", tmp_path / "two"]
    assert run("score", place / "run", place / "new.csv", *words)[0] == 0
    two = pd.read_csv(tmp_path / "two" / "gebv.csv")
    pd.testing.assert_frame_equal(two, found.iloc[24:].reset_index(drop=True))
    assert run("score", place / "run", place / "new.csv", *words)[0] == 2


def test_what_it_says(place: Path, run: Run) -> None:
    from bmtme import load

    _, said, _ = run("score", place / "run", place / "all.csv", *QUALITY)
    kept, _ = filter_markers(read_markers(place / "old.csv"), min_call_rate_marker=0.7, min_maf=0.1)
    table = load(place / "run").score(read_markers(place / "all.csv"), kept)
    lines = said.splitlines()
    assert max(map(len, lines)) <= 100
    assert "lines        26, 12 of them in the fit" in lines
    assert "environments mean over E1, E2, E3" in lines
    for trait in ("T1", "T2"):
        best = table[table["trait"] == trait].sort_values("mean", ascending=False).head(10)
        start = next(n for n, line in enumerate(lines) if line.split()[:2] == [trait, "value"])
        for line, row in zip(lines[start + 1 :], best.itertuples(), strict=False):
            cells = line.split()
            mark = "" if row.line[0] == "N" else "*" if row.line in ("L10", "L11") else "+"
            assert cells[0] == row.line + mark
            assert float(cells[1]) == pytest.approx(row.mean, abs=0.006)
            assert float(cells[-1]) == pytest.approx(row.reliability, abs=0.0051)
    assert "16 lines of each trait are not shown" in " ".join(said.split())


@pytest.mark.parametrize(
    "words, code, text",
    [
        (["new.csv"], 3, "new.csv: 12 of the 12 lines of the relationship have no genotypes: 'L00'"),
        (["all.csv"], 3, "is not VanRaden's first of these markers and lines"),
        (["all.csv", "--env", "E9", *QUALITY], 3, "no environment 'E9'"),
        (["none.csv"], 3, "none.csv"),
        (["all.csv", "--ids", "iid"], 2, "ids='iid' is for PLINK's files"),
        (["all.csv", "--min-maf", "0.7"], 2, "min_maf must be a number from 0 to 0.5"),
    ],
)
def test_what_is_refused(words: list[str], code: int, text: str, place: Path, run: Run) -> None:
    found, said, complained = run("score", place / "run", place / words[0], *words[1:])
    assert (found, said) == (code, "")
    assert text in complained
    assert complained.count("\n") == 1
