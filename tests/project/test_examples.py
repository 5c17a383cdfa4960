"""The examples and the code of the README and of its pages run, with tiny settings."""

from __future__ import annotations

import re
import runpy
import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bmtme
from bmtme.cli.main import main as shell
from tests.helpers.checkout import ROOT
from tests.helpers.notebooks import shrink

EXAMPLES = ROOT / "examples"
#: Pages with blocks of Python, in the order in which they are read.
PAGES = (
    "README.md",
    "examples/pictures.md",
    "examples/decisions.md",
    "examples/formats.md",
    "examples/outputs.md",
    "examples/mixed.md",
    "examples/adjust.md",
)
TINY = ["--lines", "20", "--partitions", "2", "--draws", "20", "--tune", "20"]


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_windows: None) -> Iterator[None]:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bmtme.engines.mixed.chains.PILOT", 60)
    monkeypatch.setattr("bmtme.engines.mixed.chains.FEWEST_PILOT", 30)
    monkeypatch.setattr("bmtme.engines.mixed.chains.Hamiltonian.tune", 20)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "a short run", UserWarning)
        warnings.filterwarnings("ignore", "few effective draws", UserWarning)
        yield


def run_example(name: str, *words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [name, *words])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


def test_demo(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run_example("demo.py", "--out", "demo", *TINY, monkeypatch=monkeypatch)
    text = capsys.readouterr().out
    for what in ("convergence", "heritability[E3, T3]", "without plots", "unstructured", "All files are in demo"):
        assert what in text
    assert sorted(path.name for path in Path("demo").iterdir()) == ["cv", "fit", "sim"]


def test_demo_cleans_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    run_example("demo.py", *TINY, monkeypatch=monkeypatch)
    assert list(tmp_path.iterdir()) == []
    assert Path.cwd() == tmp_path


def test_accuracy(monkeypatch: pytest.MonkeyPatch) -> None:
    run_example("accuracy.py", "--out", "accuracy.png", *TINY, monkeypatch=monkeypatch)
    assert Path("accuracy.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow  # as a notebook it is run always
def test_diagnostics(capsys: pytest.CaptureFixture[str]) -> None:
    run_notebook("diagnostics")
    names = {path.stem for path in Path("figures").iterdir()}
    assert names == {"bad", "good", "effective", "predictive"}
    assert "R-hat above 1.01" in capsys.readouterr().out


@pytest.mark.slow
def test_choosing(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run_notebook("choosing")
    assert any("clones tell what is hidden" in str(warning.message) for warning in caught)
    assert {path.stem for path in Path("figures").iterdir()} == {"accuracy", "differences", "calibration"}
    said = capsys.readouterr().out
    for scheme in ("CV1", "NewLines", "CV2"):
        assert f"{scheme}\n" in said


@pytest.mark.slow
def test_from_plots_to_ranking(capsys: pytest.CaptureFixture[str]) -> None:
    run_notebook("from_plots_to_ranking")
    names = {path.stem for path in Path("figures").iterdir()}
    assert names == {"plots", "field", "variogram", "ranks", "accuracy"}
    assert "true ranks within their interval" in capsys.readouterr().out


@pytest.mark.slow
def test_field_trial(capsys: pytest.CaptureFixture[str]) -> None:
    run_notebook("field_trial")
    names = {path.stem for path in Path("figures").iterdir()}
    assert names == {"nursery", "residuals", "curves", "gains"}
    assert "ar1 x ar1 against ar1" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("name", ["first_fit", "from_posterior_to_selection", "coming_from_r"])
def test_notebook_as_script(name: str) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "FigureCanvasAgg is non-interactive", UserWarning)
        run_notebook(name)


def run_notebook(name: str) -> None:
    """As a script, with fewer lines, draws and trials."""
    source = shrink(name, (EXAMPLES / f"{name}.py").read_text(encoding="utf-8"))
    exec(compile(source, f"{name}.py", "exec"), {"__name__": "__main__"})


def find_blocks(page: str, language: str) -> list[str]:
    source = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```", source)


def test_python_of_the_pages() -> None:
    """The blocks in their order, one session from the README on; on a small trial of the names they use."""
    make_files()
    session: dict[str, object] = {}
    for page in PAGES:
        blocks = find_blocks(page, "python")
        assert blocks, page
        for block in blocks:
            block = re.sub(r"draws=\d+, tune=\d+", "draws=20, tune=20", block)
            block = re.sub(r"(posterior\([^()]*draws)=\d+, chains=\d+", r"\1=20, chains=2", block)
            block = re.sub(r"partitions=\d+", "partitions=2", block)
            if "draws=" not in block:
                block = re.sub(r"(bmtme\.fit\([^()]*)\)", r"\1, draws=20, tune=20)", block)
            exec(compile(block, page, "exec"), session)
    assert Path("run", "summary.csv").is_file()


def test_shell_of_the_pages() -> None:
    """Every bmtme command, with fewer draws; the first makes the relationship."""
    make_files()
    Path("grm.csv").unlink()
    commands = [
        command
        for page in (
            "README.md",
            "examples/decisions.md",
            "examples/mixed.md",
            "examples/adjust.md",
            "examples/pictures.md",
        )
        for block in find_blocks(page, "sh")
        for command in block.replace("\\\n", " ").splitlines()
        if command.startswith("bmtme ")
    ]
    assert {command.split()[1] for command in commands} >= {
        "grm",
        "fit",
        "rank",
        "cv",
        "score",
        "mixed",
        "adjust",
        "plot",
    }
    for command in commands:
        words = shlex.split(command, comments=True)[1:]
        if words[0] in ("fit", "cv"):
            words += ["--draws", "20", "--tune", "20", "--chains", "2"]
        if "--posterior" in words:
            words += ["--draws", "20", "--chains", "2"]
        if "--partitions" in words:
            words[words.index("--partitions") + 1] = "2"
        assert shell(words) == 0, command
        if words[0] == "adjust":
            assert Path(words[words.index("--out") + 1], "means.csv").is_file()


def make_files() -> None:
    """Phenotypes, markers, relationship and pedigree of 20 lines, of which the last has no record; plots, animals."""
    simulation = bmtme.simulate(lines=20, reps=2, traits=2, relationship="markers", missing=0.1, seed=1)
    wide = simulation.frame.rename(columns={"T1": "Yield", "T2": "PH"})
    wide = wide[wide["line"] != simulation.relationship.lines[-1]]
    wide.to_csv("pheno.csv", index=False)
    wide.melt(["line", "env", "rep"], ["Yield", "PH"], "trait", "value").to_csv("long.csv", index=False)
    assert simulation.markers is not None
    simulation.markers.to_csv("markers.csv")
    simulation.markers.rename(index={simulation.relationship.lines[0]: "N1"}).to_csv("new.csv")
    lines = simulation.relationship.lines
    make_plots(lines)
    pd.DataFrame(simulation.relationship.matrix, lines, lines).to_csv("grm.csv")
    parents = {"female": [""] * 5 + list(lines[:15]), "male": [""] * 5 + list(lines[1:16])}
    pd.DataFrame({"line": lines, **parents, "generations": 6}).to_csv("pedigree.csv", index=False)


def make_plots(lines: Sequence[str]) -> None:
    """Two fields of 6 x 8 plots, and 60 animals with a pedigree."""
    rng = np.random.default_rng(3)
    gens = rng.normal(0, 1, len(lines))
    rows = [
        (site, f"b{row // 4}", row + 1, col + 1, lines[j], 5 + gens[j] + rng.normal())
        for site in ("A", "B")
        for (row, col), j in zip(np.ndindex(8, 6), rng.permutation(np.arange(48) % len(lines)), strict=True)
    ]
    pd.DataFrame(rows, columns=["site", "block", "row", "col", "gen", "yield"]).to_csv("plots.csv", index=False)
    young = [(f"y{k}", f"s{k % 5}", f"d{k % 8}") for k in range(60)]
    pd.DataFrame(young, columns=["id", "sire", "dam"]).to_csv("animals_pedigree.csv", index=False)
    value = rng.normal(0, 1, 5)[np.arange(60) % 5] + rng.normal(0, 1, 60)
    animals = pd.DataFrame(young, columns=["id", "sire", "dam"]).drop(columns="sire")
    animals.assign(sex=np.where(rng.random(60) < 0.5, "f", "m"), year=np.arange(60) % 3, weight=30 + value).to_csv(
        "animals.csv", index=False
    )
