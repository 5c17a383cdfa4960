"""Does draws="auto" end where draws suffice, at what cost, and does its number give the same draws again?

Four chains of real trials (`BMTME_DATA`), and of a simulated one, until R-hat is at most 1.01 and there are 400
effective draws of every row of the summary, or for ten minutes.
"""

from __future__ import annotations

import sys
import time
import warnings
from typing import Any

import bmtme
from bmtme.results.summary import GOOD_ESS, GOOD_R_HAT
from validation.many import BARLEY
from validation.many import read as read_many
from validation.registry import Options, Row, make_table, register, write_tables
from validation.trials import read_trial, skip

LIMIT = 600.0
FREE = bmtme.BMTME(genetic=bmtme.Free(), residual="by_env")
#: Trials with the models of each; the first of a trial is the paper's.
MODELS: dict[str, dict[str, Any]] = {
    "maize309_mtme": {"paper's": bmtme.BMTME(), "free, by environment": FREE},
    "wheat250_mtme": {"paper's": bmtme.BMTME(), "free, by environment": FREE},
    "belamkar_augmented": {"paper's": bmtme.BMTME(), "free, by environment": FREE},
    BARLEY: {"paper's": bmtme.BMTME()},
}
#: What may end it, in words.
ENDS = {
    "enough": "draws suffice",
    "time": "the time was up",
    "explanations": "several explanations",
    "most": "no more would help",
    "memory": "memory",
}


def simulate() -> tuple[bmtme.Trial, bmtme.Relationship]:
    """A trial of 60 lines in three environments."""
    sim = bmtme.simulate(lines=60, envs=3, traits=2, reps=2, relationship="markers", missing=0.2, seed=1)
    trial = bmtme.Trial.from_frame(sim.frame, line="line", env="env", traits=["T1", "T2"], rep="rep")
    return trial, sim.relationship


def run(data: Any, model: Any, options: Options, limit: float) -> tuple[bmtme.Fit, float]:
    """A fit of as many draws as suffice, and its seconds."""
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        fit = bmtme.fit(
            *data, model, draws="auto", time_limit=limit, seed=options.seed, cores=options.cores,
            keep_effects="none", progress=False,
        )  # fmt: skip
    return fit, time.perf_counter() - began


def judge(name: str, label: str, fit: bmtme.Fit, seconds: float, limit: float) -> tuple[Row, list[str]]:
    """Whether it ended for a good reason, as its summary says, and a line of the table."""
    summary, verdict, draws = fit.summary(), fit.run["auto"], fit.run["settings"]["draws"]
    r_hat, fewest = summary["r_hat"].max(), summary[["ess_bulk", "ess_tail"]].min(axis=None)
    reached = bool(r_hat <= GOOD_R_HAT and fewest >= GOOD_ESS)
    ok = (verdict["ended_by"] == "enough") == reached and (reached or verdict["ended_by"] != "most")
    ok = ok and seconds < 1.5 * limit
    more = "" if reached else f"{verdict['more']:,} draws, {verdict['more_seconds']:.0f} s"
    line = [
        name, label, f"{draws:,}", f"{seconds:.0f}", f"{r_hat:.4f}", f"{fewest:.0f}", verdict["ess_of"],
        ENDS[verdict["ended_by"]], more,
    ]  # fmt: skip
    return Row(f"{name}: {label}", f"{draws:,} draws", "R-hat, effective draws", f"{r_hat:.4f}, {fewest:.0f}", ok), line


def repeat(data: Any, fit: bmtme.Fit, options: Options) -> Row:
    """Whether the number of draws gives them again."""
    draws = fit.run["settings"]["draws"]
    again = bmtme.fit(*data, draws=draws, seed=options.seed, keep_effects="none", progress=False)
    same = bool(again.idata.posterior.identical(fit.idata.posterior))
    return Row("the same number again", f"{draws:,} draws", "draws", "the same" if same else "DIFFERENT", same)


def check_quickly(options: Options) -> list[Row]:
    """The simulated trial, and its number again."""
    data = simulate()
    fit, seconds = run(data, bmtme.BMTME(), options, LIMIT)
    return [judge("simulated", "paper's", fit, seconds, LIMIT)[0], repeat(data, fit, options)]


def check_fully(options: Options) -> list[Row]:
    """All trials."""
    began = time.perf_counter()
    rows, lines = [], []
    for name, models in MODELS.items():
        data = read_many(BARLEY) if name == BARLEY else read_trial(name)
        if data is None:
            rows.append(skip(name, name))
            continue
        for k, (label, model) in enumerate(models.items()):
            fit, seconds = run(data, model, options, LIMIT)
            row, line = judge(name, label, fit, seconds, LIMIT)
            rows.append(row)
            lines.append(line)
            print(*line, sep=", ", file=sys.stderr, flush=True)
            if k == 0 and fit.run["settings"]["draws"] < 5000:
                rows.append(repeat(data, fit, options))
    head = ["trial", "model", "draws of a chain", "s", "R-hat", "effective", "of", "ended as", "more would take"]
    write_tables(options, "enough", rows, {"What was reached": make_table(head, lines)}, time.perf_counter() - began)
    return rows


register("enough", check_quickly, check_fully)
