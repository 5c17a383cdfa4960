"""What an extended fit says of itself, and what becomes of what was made of the earlier draws."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import bmtme
from bmtme.cli.main import main
from bmtme.errors import MachineError, UsageError
from bmtme.report.html.runs import report_run
from bmtme.results.checkpoint import Checkpoint
from tests.helpers.browsing import read_page
from tests.helpers.discs import contents
from tests.helpers.trials import make_trial, simulate_small, trial_of

pytestmark = [
    pytest.mark.filterwarnings("ignore:a short run"),
    pytest.mark.filterwarnings("ignore::bmtme.errors.SamplingWarning"),
]
SHORT = {"draws": 30, "tune": 20, "chains": 2, "seed": 2}
#: A name with all that a page, a shell or a terminal takes for its own, and another alphabet.
ODD = 'Löß\x1b[31m\x7f "x" & <b> %41\u202e'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a short fit, with its page, a picture and a file of the user's."""
    out = tmp_path / "run"
    simulation = simulate_small(traits=2)
    frame, names = simulation.frame, list(simulation.relationship.lines)
    frame["line"] = frame["line"].replace(names[4], ODD)
    names[4] = ODD
    fit = bmtme.fit(trial_of(frame), bmtme.Relationship(simulation.relationship.matrix, names), checkpoint=out, **SHORT)
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


def stop(*given: object, **named: object) -> None:
    raise KeyboardInterrupt


def is_of(folder: Path, draws: int, check: str) -> bool:
    """Whether the page is of so many draws, and compares with this line."""
    texts = read_page((folder / "report.html").read_text(encoding="utf-8")).texts
    return any(f"2 chains of {draws} draws" in text for text in texts) and any(
        "than the check, " + check in text for text in texts
    )


def test_the_page_comes_back_wherever_an_extension_was_stopped(folder: Path, monkeypatch: pytest.MonkeyPatch):
    check = bmtme.load(folder).predictions()["line"].iloc[0]
    report_run(folder, check=check)
    page = (folder / "report.html").read_bytes()

    def fail(*given: object, **named: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:  # before anything has been changed
        patched.setattr("bmtme.results.checkpoint.write_record", fail)
        with pytest.raises(MachineError, match="No space left"):
            bmtme.extend(folder, more=1)
    assert (folder / "report.html").read_bytes() == page
    assert (folder / "pictures").is_dir()
    with monkeypatch.context() as patched:  # once the folder says that it is unfinished
        patched.setattr("bmtme.results.checkpoint.move_files", stop)
        with pytest.raises(KeyboardInterrupt):
            bmtme.resume(folder)
    assert not (folder / "report.html").exists()
    with pytest.warns(UserWarning, match="of the earlier 30 draws of each chain: they are now in .*-of-30-draws"):
        bmtme.resume(folder)
    assert is_of(folder, 31, check)
    with monkeypatch.context() as patched:  # once the results are complete
        patched.setattr("bmtme.report.html.runs.write_page", stop)
        for go_on in (lambda: bmtme.extend(folder, more=1), lambda: bmtme.resume(folder)):
            with pytest.raises(KeyboardInterrupt):
                go_on()
        with pytest.raises(KeyboardInterrupt):  # a further extension knows of it, too
            bmtme.extend(folder, more=1)
    assert not (folder / "report.html").exists()
    assert main(["resume", str(folder)]) == 0
    assert is_of(folder, 33, check)
    assert "aside" not in contents(folder / "checkpoint")


def test_a_page_that_an_editor_saved_in_another_encoding_is_made_anew_with_its_check(folder: Path):
    report_run(folder, check=ODD)
    page = (folder / "report.html").read_text(encoding="utf-8").replace("<title>", "<title>\xe9")
    (folder / "report.html").write_text(page, encoding="latin-1", errors="replace")
    bmtme.extend(folder, more=1)
    assert is_of(folder, 31, "L\xf6\xdf\\x1b[31m")


def test_a_page_that_cannot_be_made_is_told_with_the_command_that_makes_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    report_run(folder, check=ODD)
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "jinja2", None)
        with pytest.warns(UserWarning, match="no new one could be made") as caught:
            bmtme.extend(folder, more=1)
    told = [str(warning.message) for warning in caught if "no new one could be made" in str(warning.message)]
    assert len(told) == 1
    assert "could be made: ModuleNotFoundError: import of jinja2 halted; None in sys.modules. 'bmtme report" in told[0]
    assert f"'bmtme report {folder} --check '{ODD}'' makes it." in told[0]
    assert bmtme.load(folder).run["settings"]["draws"] == 31


def test_the_page_is_made_while_the_folder_is_held(folder: Path, monkeypatch: pytest.MonkeyPatch):
    held = []

    def look(*given: object, **named: object) -> None:
        with pytest.raises(UsageError, match="another process is at work"):
            Checkpoint.open(folder)
        held.append(True)

    monkeypatch.setattr("bmtme.report.html.runs.report_run", look)
    bmtme.extend(folder, more=1)
    assert held
    bmtme.extend(folder, more=1)


def test_nothing_about_the_page_stops_an_extension(folder: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr("bmtme.results.derived.is_report", refuse)
        with pytest.warns(UserWarning, match="report.html cannot be read: Permission denied. It may be of the earlier"):
            bmtme.extend(folder, more=1)
    assert not (folder / "pictures").exists()
    with monkeypatch.context() as patched:
        patched.setattr("bmtme.results.checkpoint.move_files", stop)
        with pytest.raises(KeyboardInterrupt):
            bmtme.extend(folder, more=1)
    (folder / "checkpoint" / "aside").write_bytes(b"nothing")
    with pytest.warns(UserWarning, match="without a check: .*aside is no file of a checkpoint"):
        bmtme.resume(folder)
    page = read_page((folder / "report.html").read_text(encoding="utf-8"))
    assert any("2 chains of 32 draws" in text for text in page.texts)
    assert "aside" not in contents(folder / "checkpoint")
