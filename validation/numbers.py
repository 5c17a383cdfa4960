"""Data at the edges of arithmetic: each is fitted, or refused with what to do about it, and no file has a NaN.

Missing on purpose are cells of tables that have a note, diagnostics of one chain or of a constant, scores that nothing
can be computed of, and what was not recorded; everything else in the files of a fit has to be a finite number.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray

import bmtme
from bmtme import BMTME, Relationship, SingleTrait
from bmtme.errors import BmtmeError
from validation.registry import Options, Row, make_table, register, write_tables

SHORT = {"draws": 200, "tune": 100, "chains": 2, "seed": 3}
#: Columns of a summary that may be missing: diagnostics.
DIAGNOSTICS = {"ess_bulk", "ess_tail", "r_hat"}

Data = tuple[pd.DataFrame, Relationship]
Case = Callable[[], tuple[Data, Any]]


def simulate(**others: Any) -> Data:
    """Thirty lines, two environments, two traits."""
    settings = {"lines": 30, "envs": 2, "traits": 2, "relationship": "markers", "seed": 1}
    sim = bmtme.simulate(**{**settings, **others})
    return sim.frame, sim.relationship


def list_traits(frame: pd.DataFrame) -> list[str]:
    """Columns of traits."""
    return [name for name in frame.columns if name.startswith("T")]


def change(make: Callable[[pd.DataFrame], None], model: Any = None, **others: Any) -> Case:
    """The usual trial after a change of its table."""

    def build() -> tuple[Data, Any]:
        frame, relationship = simulate(**others)
        make(frame)
        return (frame, relationship), model

    return build


def shrink(lines: int, **others: Any) -> Case:
    """The records of the first lines, unrelated."""

    def build() -> tuple[Data, Any]:
        frame, _ = simulate(**others)
        frame = frame[frame["line"].isin(frame["line"].unique()[:lines])]
        return (frame, Relationship.identity(list(frame["line"].unique()))), None

    return build


def multiply(share: float) -> Callable[[pd.DataFrame], None]:
    """A third trait that is three times the first, and so much noise in its standard deviations."""

    def make(frame: pd.DataFrame) -> None:
        noise = np.random.default_rng(5).standard_normal(len(frame))
        frame["T3"] = 3.0 * frame["T1"] + share * 3.0 * frame["T1"].std() * noise

    return make


def scale(factor: float, trait: str | None = None) -> Callable[[pd.DataFrame], None]:
    """Units of a trait, or of all."""

    def make(frame: pd.DataFrame) -> None:
        for name in list_traits(frame) if trait is None else [trait]:
            frame[name] *= factor

    return make


def forget_lines(frame: pd.DataFrame) -> None:
    """Values without any genetic variance."""
    rng = np.random.default_rng(2)
    for name in list_traits(frame):
        frame[name] = rng.standard_normal(len(frame))


def forget_errors(frame: pd.DataFrame) -> None:
    """Values of which the errors are next to nothing: those of a line alone, and the mean of the environment."""
    rng = np.random.default_rng(2)
    for name in list_traits(frame):
        own = dict(zip(frame["line"].unique(), rng.standard_normal(frame["line"].nunique()), strict=True))
        frame[name] = frame["line"].map(own) + (frame["env"] == "E1") + 1e-6 * rng.standard_normal(len(frame))


def relate(make: Callable[[np.ndarray], np.ndarray], **others: Any) -> Case:
    """The usual trial with another relationship."""

    def build() -> tuple[Data, Any]:
        frame, relationship = simulate(**others)
        return (frame, Relationship(make(relationship.matrix.copy()), lines=relationship.lines)), None

    return build


def clone(G: np.ndarray) -> np.ndarray:
    """All lines in pairs of clones."""
    G[1::2], G[:, 1::2] = G[::2].copy(), G[:, ::2].copy()
    G[1::2] = G[::2]
    return G


def flatten(G: np.ndarray) -> np.ndarray:
    """Eigenvalues from one down to 1e-14 of the largest."""
    _, vectors = np.linalg.eigh(G)
    values = np.geomspace(1e-14, 1.0, len(G))
    flat = (vectors * values) @ vectors.T
    return 0.5 * (flat + flat.T)


def alike(G: np.ndarray) -> np.ndarray:
    """All lines are one clone."""
    return np.ones_like(G)


CASES: dict[str, Case] = {
    "usual": change(lambda frame: None),
    "a trait three times another": change(multiply(0.0)),
    "the same, one trait at a time": change(multiply(0.0), SingleTrait(BMTME())),
    "the same, with noise of 1e-8 SD": change(multiply(1e-8)),
    "the same, with noise of 1e-4 SD": change(multiply(1e-4)),
    "the same, residuals by environment": change(multiply(1e-4), BMTME(residual="by_env")),
    "a trait that is constant": change(lambda frame: frame.__setitem__("T2", 4.0)),
    "a trait that is constant in an environment": change(
        lambda frame: frame.__setitem__("T2", np.where(frame["env"] == "E1", 4.0, frame["T2"]))
    ),
    "no genetic variance": change(forget_lines),
    "no genetic variance, free covariances": change(forget_lines, BMTME(genetic=bmtme.Free())),
    "errors of 1e-6 SD": change(forget_errors),
    "errors of 1e-6 SD, free covariances": change(forget_errors, BMTME(genetic=bmtme.Free(), residual="by_env")),
    "pairs of clones": relate(clone),
    "pairs of clones, two plots each": relate(clone, reps=2),
    "one clone": relate(alike),
    "eigenvalues down to 1e-14": relate(flatten),
    "relationship times 1e-30": relate(lambda G: 1e-30 * G),
    "relationship times 1e30": relate(lambda G: 1e30 * G),
    "units of 1e-30": change(scale(1e-30)),
    "units of 1e30": change(scale(1e30)),
    "units of 1e-30 and 1e30": change(lambda frame: (scale(1e-30, "T1")(frame), scale(1e30, "T2")(frame), None)[2]),
    "units of 1e150": change(scale(1e150)),
    "units of 1e-150": change(scale(1e-150)),
    "units of 1e200": change(scale(1e200)),
    "units of 1e-200": change(scale(1e-200)),
    "units of 1e307": change(scale(1e307)),
    "units of 1e-310": change(scale(1e-310)),
    "the standard model in raw units of 1e30": change(scale(1e30), BMTME("standard", units="raw")),
    "a mean 1e9 SD from zero": change(lambda frame: frame.__setitem__("T1", frame["T1"] + 1e9 * frame["T1"].std())),
    "a mean 1e15 SD from zero": change(lambda frame: frame.__setitem__("T1", frame["T1"] + 1e15 * frame["T1"].std())),
    "a value 1e12 SD from the others": change(lambda frame: frame.__setitem__("T1", frame["T1"].where(
        frame.index > 0, 1e12 * frame["T1"].std()))),
    "two lines": shrink(2),
    "two lines, two plots each": shrink(2, reps=2),
    "one environment": change(lambda frame: None, envs=1),
    "one environment, two lines": shrink(2, envs=1),
    "20 traits": change(lambda frame: None, traits=20, lines=60),
    "48 environments": change(lambda frame: None, envs=48, traits=1),
    "48 environments, two factors": change(
        lambda frame: None, BMTME(genetic=bmtme.FactorAnalytic(factors=2)), envs=48, traits=1
    ),
}  # fmt: skip


def find_gaps(folder: Path) -> list[str]:
    """What is no finite number in the files of a fit, and has no reason not to be."""
    found = []
    for name in ("summary.csv", "predictions.csv"):
        table = pd.read_csv(folder / name, keep_default_na=False, na_values=[""])
        noted = table["note"].notna() if "note" in table else pd.Series(False, table.index)
        for column in table.select_dtypes("number"):
            if column in DIAGNOSTICS or column == "observed":
                continue
            bad = ~np.isfinite(table[column]) & ~noted
            if bad.any():
                found.append(f"{name}: {column} of {bad.sum()} rows")
    with xarray.open_datatree(folder / "idata.nc", engine="h5netcdf") as tree:
        for group in ("posterior", "effects", "sample_stats"):
            if group not in tree.children:
                continue
            for variable, values in tree[group].to_dataset().data_vars.items():
                bad = ~np.isfinite(values.values.astype(float))
                if bad.any() and variable not in ("acceptance", "step_size"):
                    found.append(f"idata.nc: {group}/{variable}, {bad.sum()} of {bad.size}")
    if any(word in (folder / "run.json").read_text() for word in ("NaN", "Infinity")):
        found.append("run.json")
    return found


def try_case(case: Case) -> tuple[str, bool]:
    """What came of it in words, and whether that does."""
    (frame, relationship), model = case()
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            trial = bmtme.Trial.from_frame(frame, line="line", env="env", traits=list_traits(frame),
                                           rep="rep" if "rep" in frame else None)  # fmt: skip
            fit = bmtme.fit(trial, relationship, model, progress=False, **SHORT)
            fit.save(Path(name) / "run")
            gaps = find_gaps(Path(name) / "run")
        except BmtmeError as error:
            return f"{type(error).__name__}: {error}", True
        except Exception as error:
            return f"fault: {type(error).__name__}: {error}", False
    if gaps:
        return f"gaps: {'; '.join(gaps)}", False
    worst = fit.summary()["r_hat"].max()
    return f"fitted, R-hat up to {worst:.2f}", True


def run_cases(names: list[str]) -> tuple[list[Row], str]:
    """A row for each, and all as a table."""
    rows, lines = [], []
    for name in names:
        text, ok = try_case(CASES[name])
        rows.append(Row(name, "2 chains of 200", "outcome", text.split(":")[0], ok))
        lines.append([name, text])
    return rows, make_table(("data", "what comes of it"), lines)


def run_quick(options: Options) -> list[Row]:
    """All that are quickly done."""
    return run_cases([name for name in CASES if "20 traits" not in name and "48" not in name])[0]


def run_full(options: Options) -> list[Row]:
    """All."""
    rows, table = run_cases(list(CASES))
    write_tables(options, "numbers", rows, {"Data at the edges of arithmetic": table})
    return rows


register("numbers", quick=run_quick, full=run_full)
