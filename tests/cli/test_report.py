"""``bmtme report``: the page of a run, made from its folder alone, and what it refuses."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

import bmtme
from bmtme.cli.main import main
from bmtme.report.html.runs import report_result
from bmtme.results.record import write_record
from tests.helpers.browsing import read_page
from tests.helpers.shell import COLUMNS, SMALL, Run


@pytest.fixture(scope="module")
def made(trial_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a short fit."""
    out = tmp_path_factory.mktemp("made") / "run"
    words = ["fit", str(trial_folder / "pheno.csv"), "--relationship", str(trial_folder / "relationship.csv")]
    assert main([*words, *COLUMNS, "--rep", "rep", "--traits", "T1,T2", *SMALL, "--out", str(out)]) == 0
    return out


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(made, tmp_path / "run"))


def test_it_stands_in_the_folder_and_may_be_made_again(folder: Path, run: Run):
    code, said, complained = run("report", folder)
    assert (code, complained) == (0, "")
    page = folder / "report.html"
    assert said.startswith(f"written to {page} (")
    shown = " ".join(read_page(page.read_text(encoding="utf-8")).texts)
    assert "Report of a fit" in shown
    assert "pheno.csv, SHA-256 " in shown
    before = page.read_bytes()
    assert run("report", folder)[0] == 0
    assert page.read_bytes() == before
    assert len(bmtme.load(folder).summary()) > 0  # the folder is still what was written
    assert run("rank", folder, "--trait", "T1")[0] == 0


def test_elsewhere(folder: Path, run: Run, tmp_path: Path):
    page = tmp_path / "new" / "run.html"
    code, said, _ = run("report", folder, "--out", page, "--json")
    assert code == 0
    found = json.loads(said)
    assert found["out"] == str(page)
    assert page.is_file()
    assert not (folder / "report.html").exists()


def test_a_check_is_marked_and_compared(folder: Path, run: Run, tmp_path: Path):
    texts = []
    for words in ((), ("--check", "L03")):
        assert run("report", folder, *words)[0] == 0
        texts.append((folder / "report.html").read_text(encoding="utf-8"))
    assert texts[1].count('<tr class="marked"') == texts[0].count('<tr class="marked"') + 2
    page = read_page(texts[1])
    fit = bmtme.load(folder)
    for trait in ("T1", "T2"):
        heading, *rows = page.tables[trait]
        table = fit.ranking(trait, check="L03")
        above = [f"{p:.2f}" for p in table["p_above_check"]]
        place = table["line"].tolist().index("L03")
        assert heading[-1] == "P(> check)"
        assert [row[-1] for row in rows] == [*above[:place], "-", *above[place + 1 :]]
        assert [n for n, row in enumerate(rows) if "(check)" in row[0]] == [place]
        assert rows[place][0] == "L03 (check)"
        assert any(row[0] == "L03 (check)" for row in page.tables["T1: values by environment"])
    assert "L03 (check)" in page.texts  # of the picture
    assert run("extend", folder, "--more", "1")[0] == 0  # which makes the page anew
    page = read_page((folder / "report.html").read_text(encoding="utf-8"))
    assert "P(> check)" in page.tables["T1"][0]
    fit.report(tmp_path / "mine.html", check="L03")
    assert "P(> check)" in read_page((tmp_path / "mine.html").read_text(encoding="utf-8")).tables["T1"][0]


def test_checks_that_do_not_serve(folder: Path, run: Run):
    assert "no line 'L99'" in refuse(run, folder, "--check", "L99")
    fit = bmtme.load(folder)
    fit._predictions = None
    for made, words in ((fit, "this page has none"), (object(), "this is no fit")):
        with pytest.raises(bmtme.UsageError, match=words):
            report_result(made, folder / "a.html", "L03")
    assert not list(folder.glob("*.html"))


def test_signs_that_the_font_lacks(folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch):
    """A browser has them: names stay texts, and nothing is said but where pixels are taken, in one line."""
    from bmtme.report.figure import Figure
    from bmtme.report.html import figures

    def draw(*given: object, **named: object) -> Figure:
        figure = Figure(figsize=(5, 4))
        panel = figure.subplots()
        panel.set_title("\u4ea7\u91cf")
        panel.plot(range(9000), [k * k % 97 for k in range(9000)])
        return figure

    monkeypatch.setattr("bmtme.results.pictures.FitPictures.plot_heritability", draw)
    code, _, complained = run("report", folder)
    assert (code, complained) == (0, "")
    assert "\u4ea7\u91cf</text>" in (folder / "report.html").read_text(encoding="utf-8")
    monkeypatch.setattr(figures, "MOST_WITH_TEXT", 1000)
    code, _, complained = run("report", folder)
    assert (code, len(complained.splitlines())) == (0, 1)
    assert "the font has no picture of \u4ea7, \u91cf, which stand as boxes in names." in complained


def refuse(run: Run, *words: object) -> str:
    """The one line with which a data error is told."""
    code, said, complained = run("report", *words)
    assert (code, said) == (3, "")
    assert complained.count("\n") == 1
    return complained


def test_what_is_no_run(run: Run, tmp_path: Path, trial_folder: Path):
    for path, words in ((tmp_path, "holds no run.json"), (tmp_path / "none", "is no folder")):
        assert f"{path} {words}: expected a folder of 'bmtme fit', 'cv', 'adjust' or 'mixed'." in refuse(run, path)
    file = trial_folder / "pheno.csv"
    assert f"{file} is no folder" in refuse(run, file)
    assert not list(tmp_path.iterdir())
    other = tmp_path / "ranking"
    other.mkdir()
    write_record(other, {}, "ranking", {})
    assert "holds a ranking, of which there is nothing to look at" in refuse(run, other)
    assert [path.name for path in other.iterdir()] == ["run.json"]


def test_damaged_and_unfinished_runs(folder: Path, run: Run):
    (folder / "summary.csv").write_text("parameter\n", encoding="utf-8")
    assert "its summary.csv is damaged or was changed" in refuse(run, folder)
    (folder / "idata.nc").unlink()
    assert "its idata.nc is missing" in refuse(run, folder)
    (folder / "run.json").write_text('{"kind": "fit"', encoding="utf-8")
    assert "its run.json is damaged" in refuse(run, folder)
    (folder / "run.json").write_text('{"state": "unfinished", "kind": "fit"}', encoding="utf-8")
    refuse(run, folder)
    assert not list(folder.glob("*.html"))


def test_places_that_do_not_serve(folder: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    other = tmp_path / "mine.html"
    other.write_text("mine", encoding="utf-8")
    code, _, complained = run("report", folder, "--out", other)
    assert code == 2
    assert "there is a file that is no report. Name another one." in complained
    assert other.read_text(encoding="utf-8") == "mine"
    code, _, complained = run("report", folder, "--out", other / "run.html")
    assert code == 2
    assert f"{other} is a file" in complained
    code, _, complained = run("report", folder, "--out", folder)
    assert code == 2
    assert "is a folder: name a file" in complained
    # A folder that nobody may write in, whoever runs the tests.
    access = os.access
    monkeypatch.setattr("os.access", lambda path, mode: not mode & os.W_OK and access(path, mode))
    code, _, complained = run("report", folder)
    assert code == 2
    assert f"no permission to write in {folder}" in complained
    assert not (folder / "report.html").exists()


def test_mixed_models_and_means(run: Run, tmp_path: Path):
    table = tmp_path / "plots.csv"
    plots = pd.DataFrame(
        {"gen": list("abcdef") * 3, "rep": list("1" * 6 + "2" * 6 + "3" * 6), "y": [x * 7 % 11 for x in range(18)]}
    )
    plots.to_csv(table, index=False)
    words = ("--fixed", "y ~ rep", "--random", "gen", "--heritability", "gen", "--predict", "gen")
    assert run("mixed", table, *words, "--out", tmp_path / "mixed")[0] == 0
    assert run("adjust", table, "--line", "gen", "--rep", "rep", "--traits", "y", "--out", tmp_path / "means")[0] == 0
    for name, title in (("mixed", "Report of a mixed model"), ("means", "Report of adjusted means")):
        assert run("report", tmp_path / name)[0] == 0
        page = read_page((tmp_path / name / "report.html").read_text(encoding="utf-8"))
        assert title in page.texts
        assert any(f"bmtme {name.replace('means', 'adjust')}" in text for text in page.texts)
