"""The data sets of the study `nuts`, and both programs on them."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

import bmtme
from validation.trials import read_trial

PROGRAM = Path(__file__).with_name("nuts_program.py")
#: The variable that names the other environment's Python.
VARIABLE = "BMTME_NUMPYRO"
CHAINS = 4
#: Sweeps of NUTS (warming up, kept): of `small` and of the set with most entries; and where an error is planted.
MANY, FEW = (500, 2000), (500, 500)
#: Of the simulated relationships.
MEAN_DIAGONAL = 0.04

#: bmtme's default priors, in its documentation's words: half-t with nu degrees of freedom and scale A, A in standard
#: deviations of the trait over all of its records; that of Sigma_t for a relationship of mean diagonal one.
PRIORS: dict[str, float] = {
    "nu_t": 2.0, "scale_t": 5.0, "nu_e": 2.0, "scale_e": 5.0, "nu_E": 4.0, "scale_E": 1.0, "nu_tau": 4.0,
    "scale_tau": 1.0, "independent": 0.0,
}  # fmt: skip


Structure = Literal["unstructured", "diagonal", "standard"]


@dataclass(frozen=True)
class Planted:
    """An error in the referee's priors: what it is, and what it changes in `PRIORS`."""

    what: str
    changes: Mapping[str, float]


PLANTED = (
    Planted("scales of Sigma_t and R_e a tenth", {"scale_t": 0.5, "scale_e": 0.5}),
    Planted("scale of Sigma_t as if G had mean diagonal one", {"scale_t": 5 * MEAN_DIAGONAL**0.5}),
    Planted("8 degrees of freedom of Sigma_t and R_e, not 2", {"nu_t": 8.0, "nu_e": 8.0}),
    Planted("correlations independent of the SDs", {"independent": 1.0}),
)


@dataclass(frozen=True)
class Set:
    """A trial, its relationship and the model; sweeps (warming up, kept) of both programs.

    heritability : that a trial was simulated with
    units : of the traits, in words
    """

    label: str
    what: str
    structure: Structure
    trial: bmtme.Trial
    relationship: bmtme.Relationship
    heritability: float | None = None
    units: str = ""
    form: str = "dense"
    nuts: tuple[int, int] = (500, 1000)
    bmtme: tuple[int, int] = (2000, 20_000)

    @property
    def size(self) -> str:
        """Lines, environments, traits and recorded values."""
        J, I, L = (len(part) for part in (self.trial.lines, self.trial.envs, self.trial.traits))
        return f"{J} x {I} x {L}, {np.count_nonzero(~np.isnan(self.trial.values))} values"


@dataclass(frozen=True)
class Run:
    """Draws of one program (see `posteriors.take_entries`), wall time and what it says of itself."""

    draws: Mapping[str, np.ndarray]
    seconds: float
    notes: Mapping[str, Any] = field(default_factory=dict)


def simulate(
    label: str,
    what: str,
    structure: Structure,
    lines: int,
    envs: int,
    traits: int,
    heritability: float,
    seed: int,
    gap: bool = False,
    complete: bool = False,
    nuts: tuple[int, int] = Set.nuts,
) -> Set:
    """A quarter of the values missing: 12% of the records, 15% of the values in the others.

    Traits get units of their own: the second is 30 times as large, and shifted.

    gap : two plots for a third of the records, and no record of the last trait in the last environment
    complete : nothing missing
    """
    records, values = (0.0, 0.0) if complete else (0.12, 0.15)
    simulation = bmtme.simulate(
        lines=lines, envs=envs, traits=traits, reps=2 if gap else 1, missing=records, missing_traits=values,
        heritability=heritability, interaction=0.5, genetic_correlation=0.6, residual_correlation=0.3,
        relationship="markers", seed=seed,
    )  # fmt: skip
    frame, names = simulation.frame.copy(), [f"T{k + 1}" for k in range(traits)]
    frame["T2"] = 30 * frame["T2"] + 100
    if gap:
        rng = np.random.default_rng(seed)
        frame = frame[(frame["rep"] == "1") | (rng.random(len(frame)) < 1 / 3)].copy()
        frame.loc[frame["env"] == f"E{envs}", names[-1]] = np.nan
    trial = bmtme.Trial.from_frame(frame, line="line", env="env", traits=names)
    G = np.asarray(simulation.relationship.matrix)
    relationship = bmtme.Relationship(G * MEAN_DIAGONAL / np.diag(G).mean(), lines=simulation.relationship.lines)
    return Set(label, what, structure, trial, relationship, heritability, nuts=nuts)


def make_small(seed: int) -> Set:
    """The smallest set; little is known from it, so that priors count."""
    what = "two traits, two environments"
    return simulate("small", what, "unstructured", 25, 2, 2, 0.5, seed, nuts=MANY)


def make_sets(seed: int) -> list[Set]:
    """All of them; the maize trial where it is there."""
    three, gap = "three traits, two environments", "plots repeated for a third of the records; T2 never recorded in E3"
    sets = [
        make_small(seed),
        simulate("three traits", three, "unstructured", 22, 2, 3, 0.8, seed + 1, nuts=MANY),
        simulate("gap", gap, "unstructured", 20, 3, 2, 0.8, seed + 2, gap=True),
        simulate("diagonal", three, "diagonal", 20, 2, 3, 0.8, seed + 3),
        simulate("standard", "two traits, three environments", "standard", 20, 3, 2, 0.8, seed + 4),
    ]
    maize = read_trial("maize309_mtme")
    if maize is not None:
        what = "the maize trial of the paper, complete"
        # The file names no units; sizes leave no doubt.
        units = "Yield in t/ha, ASI in days, PH in cm"
        sets.append(Set("maize", what, "unstructured", *maize, units=units, form="rotated", bmtme=(1000, 8000)))
    return sets


def make_complete(seed: int) -> Set:
    """A small complete set, which both forms of the referee can take."""
    what = "two traits, three environments, complete"
    data = simulate("complete", what, "unstructured", 12, 3, 2, 0.5, seed, complete=True)
    # Not centred: of a G with G 1 = 0, environment means would not depend on any genetic variance.
    G = np.asarray(data.relationship.matrix) + MEAN_DIAGONAL / 4
    return replace(data, relationship=bmtme.Relationship(G, lines=data.relationship.lines))


def find_program() -> str | None:
    """The other environment's Python, or None where none is named.

    Raises
    ------
    RuntimeError
        Where one is named that is not there or has no numpyro.
    """
    named = os.environ.get(VARIABLE)
    if not named:
        return None
    try:
        subprocess.run([named, "-c", "import numpyro"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise RuntimeError(f"{VARIABLE}={named} is no Python with numpyro") from error
    return named


def write_problem(path: Path, data: Set, priors: Mapping[str, float], seed: int) -> None:
    """What the program reads.

    ``values`` (N, L) of the records with a value, NaN where a trait is missing; ``line`` and ``env`` (N,) of each;
    ``G`` of the lines with a record, as given; ``structure``; ``form`` dense or rotated; the priors; ``chains``,
    ``tune``, ``draws``, ``seed``.
    """
    trial = data.trial
    kept = ~np.isnan(trial.values).all(axis=1)
    places, line = np.unique(trial.line_index[kept], return_inverse=True)
    tune, draws = data.nuts
    np.savez(
        path,
        values=trial.values[kept], line=line, env=trial.env_index[kept],
        G=data.relationship.subset([trial.lines[j] for j in places]).matrix,
        structure=data.structure, form=data.form, chains=CHAINS, tune=tune, draws=draws, seed=seed, **priors,
    )  # fmt: skip


def run_program(python: str, task: str, data: Set, changes: Mapping[str, float], seed: int) -> dict[str, np.ndarray]:
    """What the referee writes, in a process of its own with one thread.

    Parameters
    ----------
    task : sample or compare
    changes : in place of some of `PRIORS`: a planted error, or nothing

    Raises
    ------
    RuntimeError
        Where the program breaks off: its last words.
    """
    serial = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1", "OMP_NUM_THREADS": "1",
              "OPENBLAS_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"}  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        problem, found = Path(name) / "problem.npz", Path(name) / "found.npz"
        write_problem(problem, data, PRIORS | dict(changes), seed)
        done = subprocess.run(
            [python, str(PROGRAM), task, str(problem), str(found)], capture_output=True, text=True, check=False,
            env=os.environ | serial,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"NUTS on {data.label} stopped: {' '.join(done.stderr.split()[-30:])}")
        with np.load(found) as held:
            return dict(held)


def run_nuts(python: str, data: Set, changes: Mapping[str, float], seed: int) -> Run:
    """The referee's draws."""
    began = time.perf_counter()
    found = run_program(python, "sample", data, changes, seed)
    notes = {name: found.pop(name) for name in ("divergent", "steps", "versions")}
    return Run(found, time.perf_counter() - began, notes)


def run_bmtme(data: Set, seed: int, cores: int) -> Run:
    """Our draws, with the default sampler and priors."""
    tune, draws = data.bmtme
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = bmtme.fit(
            data.trial, data.relationship, bmtme.BMTME(data.structure), draws=draws, tune=tune, chains=CHAINS,
            seed=seed, cores=cores, keep_effects="none", progress=False,
        )  # fmt: skip
    posterior = fit.idata.posterior
    found = {name: posterior[name].values for name in ("Sigma_t", "R_e", "beta", "tau")}
    found["s2_E"] = np.diagonal(posterior["Sigma_E"].values, axis1=2, axis2=3)
    return Run(found, time.perf_counter() - began)
