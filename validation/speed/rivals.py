"""Programs in R on the same data, where R has them: BGLR's Multitrait and BMTME 1.0.19.

Their models are near relatives of ours, with their own priors. BGLR: fixed environments, a main effect and an
interaction, each with a covariance of the traits of its own, the same in all environments. BMTME: `Sigma_E` a full
matrix, complete data only. One data set each, one chain; a sweep's time is that of a long call less a short one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bmtme.results.summary import diagnose
from validation.registry import Options, Row, make_table
from validation.rscript import describe_r, find_version, run_r, skip_r
from validation.speed.problems import Data, simulate
from validation.speed.programs import rate, time_sampler

SCRIPTS = Path(__file__).parents[1] / "referees"
#: Lines, environments, traits, share of cells missing, correlation of the traits; programs with their sweeps. Traits
#: that are as alike as in the paper's simulation (0.85) mix slowly where they are drawn one at a time, as in BGLR.
SIZES = (
    ((80, 3, 3, 0.2, 0.85), {"BGLR": 12_000}),
    ((80, 3, 3, 0.2, 0.3), {"BGLR": 12_000}),
    ((309, 3, 3, 0.2, 0.3), {"BGLR": 12_000}),
    ((80, 3, 3, 0.0, 0.3), {"BGLR": 12_000, "BMTME": 500}),
)
DROPPED = {"BGLR": 1000, "BMTME": 100}
SHORT = {"BGLR": 200, "BMTME": 20}
#: Fewer effective draws than this are not counted reliably: a bound stands for them.
FEW = 40
OURS = 6000


def stack_records(data: Data) -> tuple[np.ndarray, np.ndarray]:
    """Standardised records (I J, L), environment by environment, NaN where missing; G."""
    values, mask, G = data.arrays
    values = np.where(mask[:, :, None], np.nan, values)
    return values.transpose(1, 0, 2).reshape(-1, values.shape[2]), G


def run_bglr(data: Data, sweeps: int, dropped: int, seed: int) -> tuple[float, np.ndarray]:
    """Seconds of a call, and draws (draw, k) of the three covariances."""
    y, G = stack_records(data)
    I = len(y) // len(G)
    given = {
        "y": y,
        "x": np.kron(np.eye(I)[:, 1:], np.ones((len(G), 1))),
        "k1": np.kron(np.ones((I, I)), G),
        "k2": np.kron(np.eye(I), G),
    }
    out = run_r(SCRIPTS / "bglr.R", given, dropped + sweeps, dropped, seed)
    return out["seconds"].item(), np.hstack([out[name] for name in ("effect1", "effect2", "residual")])


def run_bmtme(data: Data, sweeps: int, dropped: int, seed: int) -> tuple[float, np.ndarray]:
    """The same of BMTME, on designs that keep environments apart, with as large blocks as there are lines."""
    y, G = stack_records(data)
    J, I = len(G), len(y) // len(G)
    root = np.linalg.cholesky(G + 1e-8 * np.eye(J))
    given = {"y": y, "x": np.kron(np.eye(I), np.ones((J, 1))), "z1": np.tile(root, (I, 1)),
             "z2": np.kron(np.eye(I), root)}  # fmt: skip
    out = run_r(SCRIPTS / "bmtme_r.R", given, dropped + sweeps, dropped, seed, J)
    return out["seconds"].item(), np.hstack([out[name] for name in ("traits", "environments", "residual")])


RUNS = {"BGLR": run_bglr, "BMTME": run_bmtme}


def time_rival(name: str, data: Data, sweeps: int, seed: int) -> tuple[dict[str, float], float]:
    """Its figures, as of `programs.rate`, and the least effective draws of an entry."""
    dropped, short = DROPPED[name], SHORT[name]
    base, _ = RUNS[name](data, short // 2, short // 2, seed)
    whole, draws = RUNS[name](data, sweeps, dropped, seed)
    seconds = (whole - base) / (dropped + sweeps - short)
    bulk, square = (diagnose(np.moveaxis(x[None], 2, 0))[0] for x in (draws, (draws - draws.mean(axis=0)) ** 2))
    counts = float(bulk.min()), float(np.median(bulk)), float(square.min())
    return rate(seconds, sweeps, counts), counts[0]


def measure_rivals(options: Options) -> tuple[list[Row], dict[str, str]]:
    """Rows, and a table: the programs that are there, beside `collapsed` on the same data.

    Where the worst entry has fewer than `FEW` effective draws, its figures are the bounds that `FEW` would give.
    """
    there = [name for name in RUNS if find_version(name) is not None]
    rows = [skip_r(f"speed of {name}", name) for name in RUNS if name not in there]
    if not there:
        return rows, {}
    lines = []
    for (J, I, L, missing, correlation), programs in SIZES:
        if not set(programs) & set(there):
            continue
        size = f"{J} x {I} x {L}, {missing:.0%} missing, correlation {correlation:g}"
        data = simulate(J, I, L, missing, options.seed, correlation)
        ours = time_sampler(data.problem, "collapsed", OURS, options.seed)
        counts = [f"{ours[key]:.0f}" for key in ("worst", "median")]
        lines.append((size, "bmtme `collapsed`", f"{ours['ms']:.3f}", *counts, ""))
        for name in programs:
            if name not in there:
                continue
            theirs, least = time_rival(name, data, programs[name], options.seed)
            sure = least >= FEW
            worst = theirs["worst"] if sure else theirs["worst"] * FEW / least
            bound, gain = "" if sure else "< ", f"{'' if sure else '> '}{ours['worst'] / worst:,.0f}"
            lines.append((size, name, f"{theirs['ms']:.2f}", f"{bound}{worst:.2g}",
                          f"{theirs['median']:.2g}" if sure else "", gain))  # fmt: skip
            rows.append(Row(f"collapsed / {name}", size, "worst effective draws per second", gain,
                            ours["worst"] > worst))  # fmt: skip
    head = ("lines x environments x traits; correlation of the traits", "program", "ms a sweep", "worst/s", "median/s",
            "worst/s: bmtme's over its")  # fmt: skip
    return rows, {f"Programs in R: {describe_r(*there)}": make_table(head, lines)}
