"""Options of the shell that say how phenotypes are to be read."""

from __future__ import annotations

import pytest

from bmtme.cli.main import main
from tests.helpers.tables import write


@pytest.mark.parametrize("given", [["--missing", "-9,x"], ["--missing=-9,x"], ["--missing", "-9", "--missing", "x"]])
def test_options(tmp_path, capsys, given):
    path = write(tmp_path, "line;env;y\na;E;1,5\nb;E;-9\nc;E;x\nd;E;4,5\ne;E;5\n")
    words = ["check", str(path), "--line", "line", "--env", "env", "--traits", "y", "--decimal", ",", *given]
    assert main(words) == 0
    captured = capsys.readouterr()
    assert "5 records; 40.0% of their values missing" in captured.out
    assert captured.err == ""


@pytest.mark.parametrize("command", ["fit", "cv"])
def test_fit_and_cv_read_the_same(tmp_path, capsys, command):
    path = write(tmp_path, "line;env;y\na;E;1,5\nb;E;-9\n")
    words = [command, str(path), "--relationship", "identity", "--line", "line", "--env", "env", "--traits", "y"]
    words += ["--out", str(tmp_path / "run")]
    assert main([*words, "--decimal", ",", "--missing", "-9"]) == 3
    assert "values for one line only" in capsys.readouterr().err
    assert main([*words, "--decimal", "x"]) == 2
    assert "argument --decimal: invalid choice: 'x'" in capsys.readouterr().err
    assert main([*words, "--missing", "a,,b"]) == 2
    assert "argument --missing: a name is empty in 'a,,b'" in capsys.readouterr().err
    assert main([*words, "--sheet", "x"]) == 2
    assert "is no Excel workbook" in capsys.readouterr().err
