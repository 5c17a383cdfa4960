"""The runner of the validation studies: what fails, and that every study has its tables and a page that quotes them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from validation import run
from validation.registry import RESULTS, STUDIES, Options, Row, Study, default_options, find_studies, write_tables

GOOD, BAD, ABSENT = (Row("a check", "3 sets", "p", "0.5", ok) for ok in (True, False, None))


def break_off(options: Options) -> list[Row]:
    raise ValueError("no such set")


@pytest.mark.parametrize(
    "rows, status, said",
    [
        ([GOOD], 0, "all 1 checks passed"),
        ([GOOD, BAD], 1, "1 of 2 checks FAILED"),
        ([GOOD, ABSENT], 0, "all 1 checks passed, 1 not run"),
        ([ABSENT], 1, "all 0 checks passed, 1 not run"),
        (None, 1, "| ValueError | no such set | FAILED"),
    ],
)
@pytest.mark.parametrize("size", [["--quick"], []])
def test_status_is_that_of_the_checks(rows, status, said, size, monkeypatch, capsys):
    """A check that fails, a study that breaks off, and one in which nothing was run."""
    study = break_off if rows is None else lambda options: rows
    monkeypatch.setitem(STUDIES, "made up", Study("made up", study, study, "made up"))
    assert run.main([*size, "--only", "made up"]) == status
    assert said in " ".join(capsys.readouterr().out.split())


def test_groups_stand_for_their_studies():
    run.import_studies()
    assert {"accuracy", "maize", "recovery", "sensitivity", "wheat"} == set(find_studies(["paper"]))
    assert find_studies(["wheat", "paper", "sbc"])[0] == "wheat"
    assert len(find_studies(["wheat", "paper"])) == 5


def test_tables_come_after_the_checks(tmp_path):
    options = Options(2, 7, tmp_path, tmp_path)
    text = write_tables(options, "made-up", [GOOD], {"Means": "| a |\n|---|"}, 90.0).read_text(encoding="utf-8")
    assert "--only made-up --seed 7`" in text
    assert "1.5 minutes, 2 threads" in text
    assert text.index("## Checks\n\n| check") < text.index("## Means\n\n| a |\n|---|\n")


#: Pages of single runs by the command that is on them; tables of one whole run are still to be written.
BY_HAND = {"survival-fit", "survival-extend"}


def list_studies() -> list[str]:
    run.import_studies()
    return sorted(name for name, study in STUDIES.items() if study.full is not None and name not in BY_HAND)


@pytest.mark.parametrize("name", list_studies())
def test_every_page_is_of_the_run_of_its_tables(name):
    assert default_options().results == RESULTS
    tables = (RESULTS / "tables" / f"{name}.md").read_text(encoding="utf-8")
    page = " ".join((RESULTS / f"{name}.md").read_text(encoding="utf-8").split())
    date, command = re.findall(r"- Date: (\S+)\n- Command: (`[^`]+`)", tables)[0]
    assert (
        page.split("# ", 1)[1]
        .split(" Figures: ")[1]
        .startswith(f"[tables/{name}.md](tables/{name}.md), written on {date} by {command}")
    )


def test_every_figure_is_on_a_page():
    pages = "\n".join(path.read_text(encoding="utf-8") for path in RESULTS.glob("*.md"))
    assert {path.name for path in RESULTS.glob("*.png")} == set(re.findall(r"\]\(([\w-]+\.png)\)", pages))
    names = {path.stem for path in RESULTS.glob("*.md")}
    assert names - BY_HAND == {path.stem for path in Path(RESULTS / "tables").glob("*.md")}
