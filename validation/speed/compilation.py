"""Processor seconds of the first fit on a machine, when everything is compiled, and of one that finds it compiled.

Each in a process of its own with a cache folder that is empty before the first. CPU time of another program's threads
does not count, but a busy machine slows compilation by up to a third all the same.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import bmtme
from validation.registry import Options, Row, register

#: Models of the first fit, as Python writes them, and the most seconds that compilation may take.
MODELS = {
    "the default": "bmtme.BMTME()",
    "free, own residuals, line effect": 'bmtme.BMTME(genetic=bmtme.Free(), residual="by_env", line_effect=True)',
}
MOST_SECONDS = 100.0
CHILD = """
import sys
import bmtme
sim = bmtme.simulate(lines=60, envs=3, traits=2, relationship="markers", seed=1)
trial = bmtme.Trial.from_frame(sim.frame, line="line", env="env", traits=["T1", "T2"], rep="rep")
fit = bmtme.fit(trial, sim.relationship, eval(sys.argv[1]), draws=50, tune=50, chains=1, cores=1, seed=1)
fit.summary(), fit.predictions()
"""


def time_fit(model: str, cache: str) -> float:
    """Processor seconds, of user and system, of a fit in a process of its own."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CHILD, model], check=True, capture_output=True,
        env={**os.environ, "NUMBA_CACHE_DIR": cache}, cwd=Path(bmtme.__file__).parent.parent,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure_compilation(options: Options) -> list[Row]:
    """A row for each of `MODELS`, with an empty cache each."""
    rows = []
    for label, model in MODELS.items():
        with tempfile.TemporaryDirectory() as cache:
            first, second = time_fit(model, cache), time_fit(model, cache)
        figure = f"{first:.0f} (at most {MOST_SECONDS:.0f}); {second:.1f}"
        rows.append(Row("compilation", label, "CPU s of the first fit; of the next", figure, first <= MOST_SECONDS))
    return rows


register("compilation", measure_compilation)
