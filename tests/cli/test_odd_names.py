"""Names that a terminal would obey, places that lead nowhere, and a line without an end."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from bmtme import DataError, UsageError, read_trial
from bmtme.cli.main import main
from bmtme.data.tables import texts
from bmtme.results.folder import new_folder

COLUMNS = ["--line", "line", "--env", "env", "--traits", "y"]


def write(folder: Path, text: str) -> str:
    path = folder / "y.csv"
    path.write_text(text, encoding="utf-8", newline="")
    return str(path)


def test_a_terminal_obeys_no_name(tmp_path, capsys):
    names = ["a\x1b[31m", "b\x9b2J", "c\x07", "d\u202ee", "e"]
    rows = "".join(f"{name},E,{k}\n" for k, name in enumerate(names))
    # Names that are nearly the same are printed as they are, and so are traits.
    path = write(tmp_path, f"line,env,y\x1b]0;x\n{rows}A\x1b[31m,E,3\nB\x9b2J,E,3\nC\x07,E,3\nD\u202eE,E,3\n")
    assert main(["check", path, *COLUMNS[:-1], "y\x1b]0;x"]) == 0
    said = capsys.readouterr()
    text = said.out + said.err
    assert not [sign for sign in text if (ord(sign) < 32 and sign not in "\n\t") or 127 <= ord(sign) < 160]
    assert "\u202e" not in text
    for shown in ("a\\x1b[31m", "b\\x9b2J", "c\\x07", "d\\u202ee", "y\\x1b]0;x"):
        assert shown in text
    assert main(["check", path, *COLUMNS[:-1], "none\x1b[31m"]) == 3
    assert "\x1b" not in capsys.readouterr().err


COMMANDS = {
    "fit": ["fit", "PHENO", *COLUMNS, "--relationship", "identity"],
    "cv": ["cv", "PHENO", *COLUMNS, "--relationship", "identity"],
    "simulate": ["simulate"],
    "check": ["check", "PHENO", *COLUMNS],
    "rank": ["rank", "PHENO", "--trait", "y"],
    "compare": ["compare", "PHENO"],
    "grm": ["grm", "PHENO"],
}


def link_in_a_circle(folder: Path) -> Path:
    (folder / "one").symlink_to(folder / "two")
    (folder / "two").symlink_to(folder / "one")
    # A way to the circle that is no link to a link.
    (folder / "three").symlink_to(Path("nothing", "..", "one"))
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_links_in_a_circle(tmp_path, capsys, command):
    folder = link_in_a_circle(tmp_path)
    outs = ["one/g.csv", "one/b/g.csv"] if command == "grm" else ["one", "one/run", "one/a/run", "three"]
    for out in outs:
        # Said before any work: the phenotypes, which are not there, are not looked for.
        words = [f"{folder}/none.csv" if word == "PHENO" else word for word in COMMANDS[command]]
        assert main([*words, "--out", f"{folder}/{out}"]) == 2, out
        said = capsys.readouterr()
        assert not said.out
        assert said.err.count("\n") == 1
        assert f"{out} cannot be used: symbolic links lead in a circle there." in said.err


def test_links_in_a_circle_in_python(tmp_path):
    folder = link_in_a_circle(tmp_path)
    for out in ("one", "one/run"):
        with (
            pytest.raises(UsageError, match=f"{out} cannot be used: symbolic links lead in a circle there"),
            new_folder(folder / out),
        ):
            raise AssertionError("it was begun")


def test_a_line_that_fills_memory(tmp_path, capsys, monkeypatch):
    assert texts.LONGEST_LINE > 10**8
    monkeypatch.setattr(texts, "LONGEST_LINE", 10**6)
    path = tmp_path / "y.csv.gz"
    with gzip.open(path, "wb") as file:
        file.write(b"line,env,y\n" + b"a" * 10**6 + b",E,1\n")
    with pytest.raises(
        DataError, match=r"y.csv.gz has a line of more than 1,000,000 characters, row 2: it is no table"
    ):
        read_trial(path, line="line", env="env")
    assert main(["check", str(path), *COLUMNS]) == 3
    assert "row 2: it is no table, or its line breaks are lost" in capsys.readouterr().err
