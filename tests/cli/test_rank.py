"""``bmtme rank``: what it says, writes and refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bmtme.results.record import read_record
from bmtme.results.storage import read_table, write_fit
from tests.helpers.posteriors import make_fit, make_setting
from tests.helpers.shell import Run


@pytest.fixture(autouse=True)
def _sufficient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chains that suffice; what is said of others is tested with a real fit (`test_for_programs.py`)."""
    monkeypatch.setattr("bmtme.results.fit.Fit.reliable", True)


@pytest.fixture(scope="module")
def fit():
    return make_fit(make_setting(lines=30, new=3))


@pytest.fixture(scope="module")
def folder(fit, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("run")
    write_fit(path, fit._groups, fit.run, fit.summary(), fit._predictions)
    return path


def test_what_it_says(fit, folder: Path, run: Run) -> None:
    table = fit.ranking("T1", check="L07", top=0.1)
    code, said, complained = run("rank", folder, "--trait", "T1", "--check", "L07", "--top", "0.1")
    assert (code, complained) == (0, "")
    assert max(map(len, said.splitlines())) <= 100
    words = " ".join(said.split())
    assert "candidates 30 lines, 3 of them without a record" in words
    assert "environments mean over E1, E2, E3" in words
    assert "P(top 3)" in words
    lines = said.splitlines()
    start = next(n for n, line in enumerate(lines) if line.split()[:2] == ["line", "value"])
    shown = table.iloc[:10]
    for n, row in enumerate(shown.to_dict("records")):
        cells = lines[start + 1 + n].split()
        star = "*" if row["line"] in ("L27", "L28", "L29") else ""
        assert cells[:2] == [str(n + 1), row["line"] + star]
        assert float(cells[2]) == pytest.approx(row["value"], abs=0.006)
        assert cells[-1] == ("check" if row["line"] == "L07" else f"{row['p_above_check']:.2f}")
        assert cells[-3] == f"{row['rank_lower']}-{row['rank_upper']}"
    below = [line.split() for line in lines[start + 11 :] if line.split()[1:2] == ["L07"]]
    place = table["line"].tolist().index("L07") + 1
    assert [cells[0] for cells in below] == ([str(place)] if place > 10 else [])
    response = fit.response(table)
    assert f"T2 {response['mean'][1]:.3f}" in words


def test_tables(fit, folder: Path, run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    index = ["--index", "T1=1,T2=-0.5", "--sd", "--env", "E1=2,E3=1"]
    code, said, complained = run("rank", folder, *index, "--top", "4", "--out", out)
    assert (code, complained) == (0, "")
    expected = fit.index({"T1": 1, "T2": -0.5}, units="sd", env={"E1": 2, "E3": 1}, top=4)
    record, columns = read_record(out, "ranking")
    found = read_table(out / "ranking.csv", columns["ranking.csv"])
    pd.testing.assert_frame_equal(found, expected)
    assert record["ranking"]["weights"] == expected.attrs["weights"]
    response = read_table(out / "response.csv", columns["response.csv"])
    pd.testing.assert_frame_equal(response, fit.response(expected))
    weights = expected.attrs["weights"]
    words = " ".join(said.split())
    assert "weights T1 - 0.5 T2, in genetic standard deviations" in words
    assert f"index {weights['T1']:.3g} T1 - {-weights['T2']:.3g} T2" in words
    assert "E1 0.67, E3 0.33" in said
    code, _, complained = run("rank", folder, "--trait", "T1", "--out", out)
    assert code == 2
    assert "is not empty" in complained


def test_lowest_and_gains(fit, folder: Path, run: Run) -> None:
    _, said, _ = run("rank", folder, "--trait", "T2", "--lowest", "--env", "E2")
    assert f" 1  {fit.ranking('T2', 'E2', best='low')['line'][0]}" in said
    assert "low values wanted" in said
    _, said, _ = run("rank", folder, "--gains", "T1=1,T2=0")
    weights = fit.index(gains={"T1": 1, "T2": 0}).attrs["weights"]
    assert f"{np.abs(weights['T2']):.3g} T2" in said
    assert "gains wanted T1 1, T2 0, in units of the traits" in said


def test_an_index_shows_its_traits(fit, folder: Path, run: Run) -> None:
    """And its own value as a deviation from the mean of the candidates; the check is one of the lines shown."""
    _, said, _ = run("rank", folder, "--index", "T1=1,T2=-0.25", "--check", "L05", "--top", "2")
    table = fit.index({"T1": 1.0, "T2": -0.25}, top=2, check="L05")
    traits = {trait: fit.ranking(trait).set_index("line")["value"] for trait in ("T1", "T2")}
    lines = [line.split() for line in said.splitlines()]
    assert ["index", "T1", "-", "0.25", "T2"] in lines
    start = lines.index("line index T1 T2 reliab. rank 90% P(top 2) P(> check)".split())
    shown = (
        table.iloc[:10]
        if "L05" in set(table["line"][:10])
        else pd.concat([table.iloc[:10], table[table["line"] == "L05"]])
    )
    for cells, row in zip(lines[start + 1 :], shown.to_dict("records"), strict=False):
        line = cells[1].removesuffix("*")
        assert line == row["line"]
        assert float(cells[2]) == pytest.approx(row["value"] - table["value"].mean(), abs=0.006)
        assert [float(x) for x in cells[3:5]] == pytest.approx([traits[t][line] for t in ("T1", "T2")], abs=0.006)
    assert f"{30 - len(shown)} lines are not shown." in " ".join(said.split())


@pytest.mark.parametrize(
    "words, code, text",
    [
        (["--trait", "t1"], 3, "no trait 't1'. Did you mean 'T1'?"),
        (["--trait", "T1", "--env", "E1,E9"], 3, "no environment 'E9'."),
        (["--trait", "T1", "--check", "l07"], 3, "no line 'l07'. Did you mean 'L07'? It has 30 lines."),
        (["--index", "Y=1"], 3, "no trait 'Y'."),
        ([], 2, "trait must be named"),
        (["--index", "T1"], 2, "--index: expected NAME=NUMBER"),
        (["--index", "T1=0,T2=0"], 2, "argument --index: every trait has 0"),
        (["--index", "T1=1,T1=2"], 2, "'T1' is there twice"),
        (["--index", "T1=1", "--lowest"], 2, "--lowest: is for --trait"),
        (["--trait", "T1", "--sd"], 2, "--sd: is for --index and --gains"),
        (["--trait", "T1", "--index", "T1=1"], 2, "not allowed with"),
        (["--trait", "T1", "--top", "0"], 2, "top must be a share"),
    ],
)
def test_what_is_refused(words: list[str], code: int, text: str, folder: Path, run: Run) -> None:
    found, said, complained = run("rank", folder, *words)
    assert (found, said) == (code, "")
    assert text in complained
    assert complained.count("\n") == 1


def test_no_fit(run: Run, tmp_path: Path) -> None:
    code, _, complained = run("rank", tmp_path / "nowhere", "--trait", "T1")
    assert code == 3
    assert "nowhere" in complained
