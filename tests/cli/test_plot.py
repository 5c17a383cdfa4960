"""``bmtme plot``: what it lists, draws and refuses."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bmtme
from bmtme import mixed
from bmtme.cli import plot
from bmtme.report.pictures import PICTURES
from bmtme.results.fit import Fit
from bmtme.results.storage import write_fit
from tests.helpers.comparisons import make_result
from tests.helpers.posteriors import make_fit, make_setting
from tests.helpers.shell import Run

pytestmark = pytest.mark.filterwarnings("ignore:a short run")


@pytest.fixture(autouse=True)
def _sufficient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chains that suffice; what is said of others is `test_chains_that_do_not_suffice`."""
    monkeypatch.setattr("bmtme.results.fit.Fit.reliable", True)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of each kind."""
    folder = tmp_path_factory.mktemp("runs")
    found = {name: folder / name for name in ("fit", "cv", "means", "bare", "mixed", "posterior")}
    fit = make_fit(make_setting(lines=14, new=2))
    fit.run["facts"]["means"] = "flat"  # as they were drawn
    found["fit"].mkdir()
    write_fit(found["fit"], fit._groups, fit.run, fit.summary(), fit._predictions)
    make_result({"un": 0.8, "single": 0.3}, baselines={"single": "single"}).save(found["cv"])
    rng = np.random.default_rng(1)
    rows = [(env, f"g{(5 * r + c) % 12}", str(r), str(c)) for env in "AB" for r in range(1, 9) for c in range(1, 7)]
    plots = pd.DataFrame(rows, columns=["site", "gen", "row", "col"]).assign(y=rng.normal(9, 1, len(rows)))
    means = bmtme.adjust(plots, line="gen", env="site", traits="y", row="row", col="col", spatial="none")
    means.save(found["means"])
    bmtme.AdjustedMeans(means.table, means.covariances).save(found["bare"])
    model = mixed.Model("y ~ site", random="gen", residual="col:row | site")
    model.fit(plots).save(found["mixed"])
    model.posterior(plots, draws=20, chains=2, seed=1).save(found["posterior"])
    return found


#: Options with which each picture is drawn.
OPTIONS = {
    "ranking": ["--trait", "T1", "--check", "L03", "--top", "3", "--env", "E1=2,E2=1", "--lowest"],
    "probabilities": ["--trait", "T1", "--check", "L03"],
    "reaction-norms": ["--trait", "T2", "--env", "E1,E3"],
    "trait-correlations": ["--env", "E2"],
    "env-correlations": ["--trait", "T2"],
    "accuracy": ["--score", "msep"],
}
OF: dict[str, dict[str, list[str]]] = {
    "fit": {"chains": ["--parameter", "genetic_correlation[E1 x T1, E1 x T2]", "--parameter", "beta[E1, T1]"]},
    "cv": {"calibration": ["--model", "single"]},
    "means": {"field": ["--env", "B"], "variogram": ["--env", "B"], "quantiles": ["--env", "A"]},
}


@pytest.mark.parametrize("kind", ["fit", "cv", "means", "mixed", "posterior"])
def test_every_picture(runs: dict[str, Path], kind: str, run: Run, tmp_path: Path) -> None:
    code, said, complained = run("plot", runs[kind])
    assert (code, complained) == (0, "")
    names = [line.split()[0] for line in said.splitlines() if not line.startswith(" ")]
    types = {"fit": Fit, "cv": "CrossValidation", "means": "Adjustment", "mixed": "ResidualPictures"}
    wanted = types.get(kind, "MixedPosterior")
    expected = next(pictures for of, pictures in PICTURES.items() if wanted in (of, of.__name__))
    assert names == [picture.name for picture in expected]
    for k, name in enumerate(names):
        out = tmp_path / f"{kind}-{name}{plot.ENDINGS[k % 3]}"
        options = OF.get(kind, {}).get(name, OPTIONS.get(name, []))
        code, said, complained = run("plot", runs[kind], name, *options, "--out", out)
        assert (code, complained) == (0, ""), name
        assert said == f"written to {out}\n"
        begin = out.read_bytes()[:8]
        assert begin.startswith((b"\x89PNG", b"<?xml", b"%PDF")[k % 3])


def test_beside_the_run(runs: dict[str, Path], run: Run) -> None:
    """In the folder, by what it shows, which still is what was written; again in its place."""
    for _ in range(2):
        code, said, _ = run("plot", runs["fit"], "ranking", "--trait", "T1", "--env", "E1,E2")
        assert code == 0
    file = runs["fit"] / "pictures" / "ranking-T1-env-E1+E2.png"
    assert said == f"written to {file}\n"
    assert file.exists()
    bmtme.load(runs["fit"])
    file.unlink()
    file.parent.rmdir()


def test_each_picture_has_a_file_of_its_own() -> None:
    """Whatever names differ in, and wherever they stand; the same options give the same name."""
    odd = [
        "E 1",
        "E_1",
        "E/1",
        "e_1",
        "E_1_2",
        "E\u00e9",
        "E",
        "x" * 300,
        "x" * 301,
        "A-B",
        "A",
        "B-C",
        "check",
        "../../etc",
    ]
    several = [f"parameter[{k}, \U0001f600]" for k in range(40)]
    choices = {"trait": odd, "env": odd, "check": odd, "parameter": several}
    given: list[dict[str, Any]] = [{}, {"best": "low"}, {"top": 3.0}, {"top": 0.05}]
    given += [{option: name} for option in ("trait", "env", "check") for name in odd]
    given += [{"trait": trait, "env": env} for trait in odd for env in odd]
    given += [{"env": list(pair)} for pair in itertools.permutations(odd[:6], 2)]
    given += [{"env": {"E 1": 2.0, "E_1": weight}} for weight in (1.0, 2.0)]
    given += [{"parameter": several[:k]} for k in (1, 2, 39, 40)]

    def name(options: dict[str, Any]) -> str:
        return plot.name_file("ranking", options, lambda option: choices.get(option, []))

    files = [name(options) for options in given]
    assert len({file.casefold() for file in files}) == len(given)
    assert files == [name(options) for options in given]
    assert max(len(file.encode()) for file in files) < 220
    assert not [file for file in files if "/" in file or file.startswith(".")]
    assert name({"trait": "E_1"}) == "ranking-E_1.png"  # that needs no other
    assert name({"trait": "A", "env": ["E", "E_1"], "check": "B-C"}) == "ranking-A-env-E+E_1-check-B_C.png"


def test_environments_of_nearly_one_name(run: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    envs = ("E 1", "E_1", "e_1")
    rows = [(env, f"g{j}", str(k)) for env in envs for j in range(6) for k in range(3)]
    plots = pd.DataFrame(rows, columns=["site", "gen", "rep"]).assign(y=rng.normal(9, 1, len(rows)))
    bmtme.adjust(plots, line="gen", env="site", traits="y", rep="rep").save(tmp_path / "means")
    for env in envs:
        assert run("plot", tmp_path / "means", "quantiles", "--env", env)[0] == 0
    files = sorted(path.name for path in (tmp_path / "means" / "pictures").iterdir())
    assert files == ["quantiles-env-E_1.png", "quantiles-env-E_1_3.png", "quantiles-env-e_1_2.png"]


REFUSED = {
    "no such picture": (["fit", "rankin"], 2, "Did you mean 'ranking'?"),
    "of another run": (["cv", "ranking", "--trait", "T1"], 2, "there is no picture 'ranking' of this run"),
    "trait not named": (["fit", "ranking"], 2, "trait must be named"),
    "option of another": (["fit", "heritability", "--trait", "T1"], 2, "does not take --trait: it takes no option"),
    "low where there is none": (["fit", "env-correlations", "--lowest"], 2, "does not take --lowest: it takes --trait"),
    "no such trait": (["fit", "ranking", "--trait", "T7"], 3, "no trait 'T7'"),
    "no such environment": (["fit", "trait-correlations", "--env", "E7"], 3, "no environment 'E7'"),
    "no such check": (["fit", "probabilities", "--trait", "T1", "--check", "L77"], 3, "no line 'L77'"),
    "no such place": (["means", "field", "--env", "C"], 3, "no environment 'C'"),
    "place not named": (["means", "field"], 2, "env must be named, as these means have several: 'A', 'B'"),
    "no such score": (["cv", "accuracy", "--score", "pearsn"], 2, "Did you mean 'pearson'?"),
    "no such model": (["cv", "calibration", "--model", "x"], 2, "model must be one of 'un', 'single', got 'x'"),
    "no such parameter": (["posterior", "chains", "--parameter", "x"], 2, "no parameter 'x'"),
    "means alone": (["bare", "field"], 3, "without the plots that they are of"),
    "another ending": (["fit", "heritability", "--out", "a.jpeg"], 2, "expected a file as .png, .svg, .pdf"),
    "options alone": (["fit", "--trait", "T1"], 2, "name the picture before its options"),
    "too many": (["fit", "ranking", "--trait", "T1", "--top", "99"], 2, "top is 99 lines, and there are 14"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(runs: dict[str, Path], run: Run, case: str) -> None:
    (kind, *words), status, text = REFUSED[case]
    before = sorted(path.name for path in runs[kind].iterdir())
    code, said, complained = run("plot", runs[kind], *words)
    assert (code, said) == (status, "")
    assert text in complained
    assert len(complained.splitlines()) == 1
    assert sorted(path.name for path in runs[kind].iterdir()) == before


def test_chains_that_do_not_suffice(
    runs: dict[str, Path], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bmtme.results.fit.Fit.reliable", False)
    code, _, complained = run("plot", runs["fit"], "heritability", "--out", tmp_path / "new" / "h.png")
    assert code == 0
    assert complained.startswith("warning: the chains of this fit do not suffice")
    code, _, complained = run("plot", runs["fit"], "chains", "--out", tmp_path / "c.png")
    assert (code, complained) == (0, "")


def test_signs_that_the_font_lacks(run: Run, tmp_path: Path) -> None:
    make_result({"\u4e2d\U0001f600": 0.5}).save(tmp_path / "cv")
    code, _, complained = run("plot", tmp_path / "cv", "accuracy", "--out", tmp_path / "a.png")
    assert code == 0
    assert complained.startswith("warning: the font has no picture of \u4e2d")
    assert len(complained.splitlines()) == 1


def test_no_run(run: Run, tmp_path: Path) -> None:
    code, _, complained = run("plot", tmp_path)
    assert code == 3
    assert "holds no idata.nc" in complained
    code, _, complained = run("plot", tmp_path / "nothing", "ranking")
    assert code == 3


def test_nothing_half_written(runs: dict[str, Path], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disc that is full in the middle leaves the earlier picture, and no other file."""
    out = tmp_path / "old.png"
    out.write_bytes(b"old")

    def fail(figure: object, path: Path, **options: object) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("bmtme.report.figure.Figure.savefig", fail)
    code, _, complained = run("plot", runs["fit"], "heritability", "--out", out)
    assert code == 1
    assert "No space left on device" in complained
    assert [path.name for path in tmp_path.iterdir()] == ["old.png"]
    assert out.read_bytes() == b"old"


def test_no_window_is_asked_for(runs: dict[str, Path], run: Run, tmp_path: Path) -> None:
    """pyplot, which would look for a screen, is not needed."""
    kept = sys.modules.pop("matplotlib.pyplot", None)
    try:
        assert run("plot", runs["fit"], "heritability", "--out", tmp_path / "h.png")[0] == 0
        assert "matplotlib.pyplot" not in sys.modules
    finally:
        if kept is not None:
            sys.modules["matplotlib.pyplot"] = kept
