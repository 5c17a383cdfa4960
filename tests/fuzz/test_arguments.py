"""Fuzz of arguments: every public function, and every option of the shell, with what does not belong there.

As in `test_files`, ``BMTME_FUZZ=20 pytest tests/fuzz/test_arguments.py`` runs twenty times as many cases, random ones.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bmtme
from bmtme import datasets
from tests.helpers.discs import small_files
from tests.helpers.fuzzing import Draw, call, check_shell, compile_samplers, examples, run_here

LINES = ("L1", "L2", "L3", "L4", "L5")
SHORT = {"draws": 2, "tune": 2, "chains": 1, "progress": False}

#: Vast counts are refused at once; nothing here asks for work that can be done, but takes long.
ODD = st.one_of(
    st.sampled_from(
        [
            *(None, True, False, -1, 0, 1, 2, 3.0, 0.5, 1e-300, 1e308),
            *(-0.1, float("nan"), float("inf"), 10**20, 10**400),
            *(-(10**400), 10**5000, 1j, "", " ", "x", "line", "T1", "L1"),
            *("auto", "1", "\x00", "\ud800", "x" * 5000, "a\nb", b"x"),
            *([], ["x"], [1], [None], ["L1", "L1"], ["L1", "L2"]),
            *([[]], (), {}, {"x": 1}, {"T1": 1.0}, {1, 2}, range(3)),
            *(object(), int, len, Path("x"), Path("."), "/", Decimal("NaN"), Decimal(1), pd.NA, pd.NaT, np.nan, ...),
            *(np.float64(0.5), np.int64(2), np.bool_(True), np.str_("x")),
            *(np.array(1), np.array([1, 2]), np.zeros((2, 2))),
            *(np.array([]), np.array(["L1"]), np.array([None]), np.zeros((2, 2, 2)), np.zeros((6, 2), bool)),
            *(pd.DataFrame(), pd.DataFrame({"line": ["L1"]})),
            *(pd.Series([1, 2]), pd.Index(["L1"]), pd.Timestamp("2020")),
        ]
    ),
    st.integers(-3, 3),
    st.floats(),
    st.text(max_size=4),
)


class Target(NamedTuple):
    """A function with keywords that work, and words of which its messages hold one."""

    function: Callable[..., Any]
    keywords: dict[str, Any]
    places: tuple[str, ...] = ()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files and a saved fit; the samplers are compiled."""
    compile_samplers()
    made = tmp_path_factory.mktemp("fuzz")
    frame().to_csv(made / "pheno.csv", index=False)
    marker_frame().to_csv(made / "marks.csv", index_label="line")
    pedigree().to_csv(made / "ped.csv", index=False)
    bmtme.write_relationship(relationship(), made / "grm.csv")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bmtme.fit(trial(), relationship(), **SHORT).save(made / "run")
    return made


def frame() -> pd.DataFrame:
    rng = np.random.default_rng(2)
    cells = pd.MultiIndex.from_product([LINES, ["North", "South"], ["1", "2"]], names=["line", "env", "rep"])
    return cells.to_frame(index=False).assign(T1=rng.normal(5, 1, len(cells)), T2=rng.normal(9, 2, len(cells)))


def trial() -> bmtme.Trial:
    return bmtme.Trial.from_frame(frame(), line="line", env="env", rep="rep", traits=["T1", "T2"])


def relationship() -> bmtme.Relationship:
    return bmtme.Relationship(np.eye(5) + 0.3, LINES)


def marker_frame() -> pd.DataFrame:
    return pd.DataFrame(np.random.default_rng(3).integers(0, 3, (5, 8)), LINES, [f"m{k}" for k in range(8)])


def pedigree() -> pd.DataFrame:
    return pd.DataFrame({"id": LINES, "sire": ["", "", "L1", "L3", "L3"], "dam": ["", "", "L2", "L2", ""]})


def fetch_here(name: Any, folder: Any, mirror: Any) -> Any:
    """Always with a folder, as nothing is to be downloaded."""
    return datasets.fetch(name, folder="nowhere" if folder is None else folder, mirror=mirror)


@pytest.fixture(scope="module")
def every(folder: Path) -> dict[str, Target]:
    return targets(folder)


def targets(folder: Path) -> dict[str, Target]:
    """Every public function, and the methods that take arguments."""
    pheno = {"line": "line", "env": "env", "traits": ["T1", "T2"], "rep": "rep", "missing": [-9], "decimal": "."}
    pheno |= {"trait": None, "value": None}
    wide = ("column", "trait")
    marks = bmtme.Markers.from_frame(marker_frame())
    parents = {"id": "id", "sire": "sire", "dam": "dam"}
    made, kin, stored = trial(), relationship(), bmtme.load(folder / "run")
    rates = {"min_call_rate_marker": 0.1, "min_call_rate_line": 0.1, "min_maf": 0.01, "progress": False}
    sim = {"lines": 6, "envs": 2, "traits": 2, "reps": 1, "genetic_correlation": 0.5, "residual_correlation": 0.5}
    sim |= {"heritability": 0.5, "interaction": 0.5, "relationship": "compound", "missing": 0.1, "missing_traits": 0.1}
    prior = {"prior_t": bmtme.HalfT(), "prior_E": None, "prior_e": None, "means": "exchangeable", "units": "scaled"}
    run = {"trial": made, "relationship": kin, **SHORT, "seed": 1, "unrelated": "error", "sampler": "gibbs"}
    fit = run | {"model": bmtme.BMTME(), "keep_effects": "auto", "cores": 1}
    cv = run | {"models": [bmtme.BMTME()], "scheme": bmtme.CV2(traits=["T1"], envs=["North"]), "workers": 1}
    return {
        "read_trial": Target(bmtme.read_trial, {"path": folder / "pheno.csv", **pheno, "sheet": None}, wide),
        "from_frame": Target(bmtme.Trial.from_frame, {"df": frame(), **pheno}, ("DataFrame", "table", *wide)),
        "Trial": Target(
            bmtme.Trial,
            {
                **{"lines": made.lines, "envs": made.envs, "traits": made.traits, "values": made.values},
                **{"line_index": made.line_index, "env_index": made.env_index, "reps": made.reps},
            },
            ("_index", "values"),
        ),
        "hide": Target(made.hide, {"mask": np.zeros((20, 2), bool)}),
        "drop_lines": Target(made.drop_lines, {"lines": ["L1"]}, ("line",)),
        "check": Target(made.check, {"relationship": kin, "outlier": 3.5, "unrelated": "error"}, ("Relationship",)),
        "to_frame": Target(made.to_frame, {"line": "line", "env": "env", "rep": "rep"}),
        "read_relationship": Target(bmtme.read_relationship, {"path": folder / "grm.csv"}),
        "write_relationship": Target(bmtme.write_relationship, {"relationship": kin, "path": "new.csv", "markers": 0}),
        "Relationship": Target(bmtme.Relationship, {"matrix": np.eye(2), "lines": ["L1", "L2"]}, ("index",)),
        "identity": Target(bmtme.Relationship.identity, {"lines": ["L1", "L2"]}),
        "index": Target(kin.index, {"lines": ["L1"]}, ("line",)),
        "subset": Target(kin.subset, {"lines": ["L1"]}, ("line",)),
        "blend": Target(kin.blend, {"weight": 0.1, "other": kin}),
        "bend": Target(kin.bend, {"floor": 0.1}),
        "read_markers": Target(
            bmtme.read_markers, {"path": folder / "marks.csv", "coding": "auto", "missing": (), "progress": False}
        ),
        "Markers": Target(
            bmtme.Markers.from_frame,
            {"frame": marker_frame(), "coding": "auto", "missing": ()},
            ("DataFrame", "marker"),
        ),
        "filter_markers": Target(bmtme.filter_markers, {"markers": marks, **rates}, ("Markers", "markers")),
        "duplicated_lines": Target(
            bmtme.duplicated_lines, {"markers": marks, "relationship": kin, "least": 0.9, "progress": False}
        ),
        "vanraden": Target(
            bmtme.vanraden, {"markers": marker_frame(), "method": 1, "progress": False}, ("marker", "DataFrame")
        ),
        "gaussian_kernel": Target(
            bmtme.gaussian_kernel, {"markers": marks, "bandwidth": 1.0, "progress": False}, ("marker", "DataFrame")
        ),
        "pedigree_relationship": Target(
            bmtme.pedigree_relationship,
            {"frame": pedigree(), **parents, "selfing": 2, "separate_sexes": False},
            ("DataFrame", "pedigree"),
        ),
        "pedigree_inverse": Target(
            bmtme.pedigree_inverse,
            {"frame": pedigree(), **parents, "selfing": None, "separate_sexes": False},
            ("DataFrame", "pedigree"),
        ),
        "read_pedigree": Target(bmtme.read_pedigree, {"path": folder / "ped.csv", **parents}),
        "BMTME": Target(bmtme.BMTME, {"structure": "standard", **prior}),
        "HalfT": Target(bmtme.HalfT, {"nu": 2.0, "scale": 1.0}),
        "InverseWishart": Target(bmtme.InverseWishart, {"df": 5.0, "scale": 1.0}),
        "adjust": Target(
            bmtme.adjust,
            {
                **{"plots": frame(), "line": "line", "env": "env", "traits": "T1", "rep": "rep", "block": None},
                **{"row": None, "col": None, "spatial": "auto", "progress": False},
            },
            ("trait", "table", "column", "environment"),
        ),
        "fit": Target(bmtme.fit, fit, ("Trial", "Relationship", "BMTME")),
        "cross_validate": Target(bmtme.cross_validate, cv, ("Trial", "Relationship", "BMTME")),
        "CV1": Target(bmtme.CV1, {"partitions": 2, "test_fraction": 0.2}),
        "CV2": Target(bmtme.CV2, {"traits": ["T1"], "envs": ["North"]}),
        "masks": Target(bmtme.CV1(2, 0.2).masks, {"trial": made, "seed": 1}, ("Trial",)),
        "CV2 masks": Target(bmtme.CV2().masks, {"trial": made, "seed": 1}, ("Trial",)),
        "table": Target(bmtme.CV1(2, 0.2).table, {"trial": made, "seed": 1}, ("Trial",)),
        "load": Target(bmtme.load, {"folder": folder / "run"}),
        "save": Target(stored.save, {"folder": folder / "pheno.csv", "safe_text": True, "xlsx": False}, ("pheno",)),
        "simulate": Target(bmtme.simulate, {**sim, "seed": 1}, ("missing",)),
        "Simulation.save": Target(bmtme.simulate(**sim).save, {"folder": folder / "pheno.csv"}),
        "fetch": Target(fetch_here, {"name": "wheat599", "folder": folder, "mirror": None}, ("pheno", "data set")),
    }


@examples(500)
@given(data=st.data())
def test_arguments(data: st.DataObject, every: dict[str, Target]) -> None:
    """One or two arguments are replaced by something odd."""
    target = every[data.draw(st.sampled_from(sorted(every)))]
    changed = data.draw(st.dictionaries(st.sampled_from(sorted(target.keywords)), ODD, min_size=1, max_size=2))
    words = [*changed, *target.places, *(name.replace("_", " ") for name in changed)]
    words += [str(value) for value in changed.values() if isinstance(value, (str, Path)) and str(value).strip()]
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.chdir(name)  # whatever is written by a name such as "x"
        call(words, target.function, **target.keywords | changed)


@pytest.mark.parametrize(
    "function, keywords",
    [
        (bmtme.simulate, {"lines": 10**7}),
        (bmtme.simulate, {"reps": 10**11}),
        (bmtme.CV1(10**12).masks, {"trial": trial(), "seed": 1}),
        (bmtme.fit, {"trial": trial(), "relationship": relationship(), "draws": 10**12}),
        (bmtme.cross_validate, {"trial": trial(), "relationship": relationship(), "chains": 10**10}),
    ],
)
def test_vast_counts(function: Callable[..., Any], keywords: dict[str, Any]) -> None:
    """What no memory holds is refused before any of it is asked for."""
    error = call([*keywords, "partitions"], function, **keywords)
    assert isinstance(error, bmtme.UsageError)
    assert "GB of memory" in str(error)


# --- the shell --------------------------------------------------------------------------------------------------

ODD_WORDS = st.one_of(
    st.sampled_from(
        [
            *("", " ", "-1", "0", "1", "2", "1.5", "-0.5", "nan", "inf"),
            *("1e400", "9" * 30, "9" * 5000, "1e-320", ",", "a,,b"),
            *("line", "Line ", "T1,T1", "T1,T2,T3", "env", "North"),
            *('"T1', "T1,", ";", "-", "--", "-x", "--x", "=", "x\ny"),
            *("pheno.csv", "grm.csv", "marks.csv", "ped.csv"),
            *("nowhere.csv", ".", "..", "/", "run", "identity", "new.csv"),
            *("x" * 300, "\udcff", "\u00e9", "auto", "standard", "cv2", "gibbs", "raw", "all", "%s", "%(prog)s", "{}"),
        ]
    ),
    st.text(st.characters(exclude_characters="\x00"), max_size=4),
)
PHENO = ["pheno.csv", "--line", "line", "--env", "env", "--rep", "rep", "--traits", "T1,T2"]
LENGTH = ["--draws", "2", "--tune", "2", "--chains", "1"]
COMMANDS = {
    "check": ["check", *PHENO, "--relationship", "grm.csv", "--outlier", "3", "--missing", "-9"],
    "pedigree": ["check", *PHENO, "--relationship", "ped.csv", "--pedigree-columns", "id,sire,dam", "--decimal", "."],
    "adjust": ["adjust", *PHENO, "--spatial", "none"],
    "fit": ["fit", *PHENO, "--relationship", "grm.csv", *LENGTH, "--model", "diagonal", "--out", "out", "--cores", "1"],
    "cv": ["cv", *PHENO, "--relationship", "identity", "--scheme", "cv2", "--cv-envs", "North", *LENGTH, "--out", "cv"],
    "grm": ["grm", "marks.csv", "--coding", "012", "--min-maf", "0.1", "--identical", "0.9", "--out", "new.tsv"],
    "matrix": ["grm", "grm.csv", "--matrix", "--blend", "0.1", "--bend", "0.1", "--out", "new.grm.bin"],
    "simulate": ["simulate", "--lines", "4", "--envs", "2", "--traits", "2", "--missing", "0.1", "--out", "out"],
}
OPTIONS = sorted({word for words in COMMANDS.values() for word in words if word.startswith("--")})
OPTIONS += ["--sheet", "--trait", "--value", "--drop-unrelated", "--means", "--units", "--sampler", "--seed", "--with"]
OPTIONS += ["--test-fraction", "--partitions", "--cv-traits", "--keep-effects", "--method", "--bandwidth", "--help"]
OPTIONS += [
    "--reps",
    "--heritability",
    "--xlsx",
    "--safe-text",
    "--plot",
    "--interaction",
    "--genetic-correlation",
    "--min-call-rate-line",
    "--version",
]


def odd_command(draw: Draw) -> list[str]:
    """A command that works, with a word or two replaced, left out, doubled or added."""
    words = list(COMMANDS[draw(st.sampled_from(sorted(COMMANDS)))])
    for _ in range(draw(st.integers(1, 2))):
        k = draw(st.integers(0, len(words) - 1))
        match draw(st.sampled_from(["replace", "replace", "replace", "drop", "double", "option", "option", "swap"])):
            case "replace":
                words[k] = draw(ODD_WORDS)
            case "drop":
                del words[k]
            case "double":
                words[k:k] = words[k : k + 2]
            case "option":
                words += [draw(st.sampled_from(OPTIONS)), draw(ODD_WORDS)]
            case "swap":
                j = draw(st.integers(0, len(words) - 1))
                words[j], words[k] = words[k], words[j]
    return words


@contextlib.contextmanager
def copied(folder: Path) -> Iterator[Path]:
    """The files in a folder of their own, which is the working folder meanwhile."""
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        for file in folder.glob("*.csv"):
            (Path(name) / file.name).write_bytes(file.read_bytes())
        patch.chdir(name)
        yield Path(name)


@examples(200)
@given(data=st.data())
def test_options(data: st.DataObject, folder: Path) -> None:
    words = odd_command(data.draw)
    with copied(folder) as here:
        names = [word.lstrip("-").replace("-", "_") for word in words]
        check_shell(run_here, words, here, None, [*names, "command", "T1", "T2", "line", "env"])


@examples(25)
@given(
    name=st.sampled_from(["cv", "grm", "matrix", "simulate"]),
    size=st.integers(0, 2_000) | st.integers(0, 80_000),
)
def test_full_disc(name: str, size: int, folder: Path) -> None:
    """Output that cannot be written to its end is not there at all."""

    def run(words: Sequence[str]) -> tuple[int, str, str]:
        with small_files(size):
            return run_here(words)

    with copied(folder) as here:
        check_shell(run, COMMANDS[name], here, None, ["out", "new", "cv"], machine=[1])


@examples(3)
@given(data=st.data())
def test_process(data: st.DataObject, folder: Path) -> None:
    """The same in a process of its own, as a user has it."""
    words = odd_command(data.draw)

    def run(words: Sequence[str]) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "bmtme", *words]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=240, check=False)
        return done.returncode, done.stdout, done.stderr

    with copied(folder) as here:
        names = [word.lstrip("-").replace("-", "_") for word in words]
        check_shell(run, words, here, None, [*names, "command", "T1", "T2", "line", "env"])
