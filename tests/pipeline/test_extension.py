"""What an extended fit says of itself, and what becomes of what was made of the earlier draws."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import bmtme
from bmtme.cli.main import main
from tests.helpers.browsing import read_page
from tests.helpers.discs import contents
from tests.helpers.trials import make_trial

pytestmark = [
    pytest.mark.filterwarnings("ignore:a short run"),
    pytest.mark.filterwarnings("ignore::bmtme.errors.SamplingWarning"),
]
SHORT = {"draws": 30, "tune": 20, "chains": 2, "seed": 2}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a short fit, with its page, a picture and a file of the user's."""
    out = tmp_path / "run"
    fit = bmtme.fit(*make_trial(lines=12, missing=0.2, seed=4), checkpoint=out, **SHORT)
    assert fit.run["extendable"]
    assert main(["report", str(out)]) == 0
    assert main(["plot", str(out), "heritability"]) == 0
    (out / "notes.html").write_text("mine", encoding="utf-8")
    return out


def test_pages_and_pictures_are_of_the_draws_that_are_there(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    picture = (folder / "pictures" / "heritability.png").read_bytes()
    capsys.readouterr()
    assert main(["extend", str(folder), "--more", "25"]) == 0
    said, complained = capsys.readouterr()
    kept = folder / "pictures-of-30-draws"
    assert f"the pictures in {folder} are of the earlier 30 draws of each chain: they are now in {kept}." in complained
    assert not (folder / "pictures").exists()
    assert (kept / "heritability.png").read_bytes() == picture
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert any("2 chains of 55 draws" in text for text in read_page(page).texts)
    assert said.rstrip().endswith("idata.nc, predictions.csv, report.html, run.json, summary.csv")

    def fail(*given: object) -> None:
        raise bmtme.MachineError("no space left.")

    monkeypatch.setattr("bmtme.report.html.runs.write_page", fail)
    assert main(["extend", str(folder), "--more", "1", "--json"]) == 0
    said, complained = capsys.readouterr()
    assert json.loads(said)["files"] == ["idata.nc", "predictions.csv", "run.json", "summary.csv"]
    assert "no new one could be made: no space left. 'bmtme report" in complained
    assert "notes.html" in contents(folder)
    assert "report.html" not in contents(folder)


def test_earlier_pictures_stay_beside_earlier_ones_and_a_file_that_is_no_page_stays(folder: Path):
    (folder / "pictures-of-30-draws").mkdir()
    (folder / "report.html").write_text("mine", encoding="utf-8")
    with pytest.warns(UserWarning, match="they are now in .*pictures-of-30-draws-2"):
        bmtme.extend(folder, more=1)
    assert (folder / "report.html").read_text(encoding="utf-8") == "mine"


def test_what_was_to_suffice_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "run"
    data = make_trial(lines=12, missing=0.2, seed=4)
    settings = {"tune": 20, "chains": 2, "seed": 2, "checkpoint": out}
    first = bmtme.fit(*data, draws="auto", ess=10**6, time_limit=0.01, **settings)
    wanted = {"ess": 10**6, "r_hat": 1.01, "time_limit": 0.01}
    assert (first.run["auto"]["wanted"], first.run["auto"]["ended_by"]) == (wanted, "time")
    capsys.readouterr()
    assert main(["extend", str(out), "--more", "25"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "275 draws of each chain do not suffice, and no more were asked for:" in said
    verdict = bmtme.load(out).run["auto"]
    assert (verdict["wanted"], verdict["ended_by"]) == (wanted, "extended")
    table = bmtme.load(out).summary()
    assert verdict["ess"] == pytest.approx(table[["ess_bulk", "ess_tail"]].min(axis=None), abs=1e-3)
    assert verdict["more"] > 0
    assert f"bmtme extend {out} --more {verdict['more']}." in said
