"""Compile a sampler on three made-up lines before the chains start.

In the main thread an interruption is served at once; a worker thread would compile to its end first.
"""

from __future__ import annotations

import functools
import threading

import numpy as np
from threadpoolctl import threadpool_limits

from bmtme.engines.rotated.chains import Chain
from bmtme.engines.rotated.held import NOTHING, Needs, hold
from bmtme.engines.rotated.kernels.mixture import fill_mixture_quantiles
from bmtme.engines.rotated.modes import find_modes
from bmtme.engines.rotated.observed import Observed
from bmtme.engines.rotated.problem import MeanPrior, build_problem
from bmtme.linalg.compile import CACHE_FOLDER
from bmtme.model.codes import DIAGONAL, EXCHANGEABLE, FULL, HALF_T, CovariancePrior
from bmtme.model.eigenbasis import decompose_relationship
from bmtme.model.layout import lay_out

#: What `is_compiled` may be asked beside samplers: whether the draws of effects of levels are.
EFFECTS_OF_LEVELS = "effects of levels"
#: Files of compiled code by what they are of; by default of the samplers `collapsed` and `gibbs`.
ENTRIES = {"stepwise": "stepwise.run_*.nbi", EFFECTS_OF_LEVELS: "factor_effects.draw_factors*.nbi"}


def is_compiled(what: str) -> bool:
    """Whether this version's code of a sampler lies compiled on disk, so that a start takes a second, not minutes."""
    from pathlib import Path

    return CACHE_FOLDER is not None and any(Path(CACHE_FOLDER).rglob(ENTRIES.get(what, "sweep.run_*.nbi")))


@functools.cache
def rehearse(sampler: str, needs: Needs = NOTHING) -> None:
    """Look for modes and run a few sweeps on a tiny problem, and what predictions compile, once per process.

    needs : steps that are compiled beside those of the tiny problem
    """
    rng = np.random.default_rng(0)
    values = rng.standard_normal((6, 2))
    line, env = np.repeat([0, 1, 2], 2), np.tile([0, 1], 3)
    layout = lay_out(np.ones((6, 2), bool), line, env, 3, 2)
    prior = CovariancePrior(HALF_T, FULL, 4.0, np.ones(2), 0.0, np.eye(2))
    means = MeanPrior(EXCHANGEABLE, np.zeros(2), np.ones(2), 4.0, np.ones(2), np.ones(2), np.zeros(2), 2.0, 1.0)
    basis = decompose_relationship(np.eye(3) + 0.1, layout.multiples)
    problem = build_problem(
        layout,
        basis,
        values,
        prior,
        prior._replace(shape=DIAGONAL),
        prior,
        means,
    )
    with threadpool_limits(1):  # threads of a BLAS take longer to wait for each other than such steps take
        find_modes(problem, Observed(values, layout.rec_line, layout.rec_env, basis), np.random.SeedSequence(0))
    chain = Chain(problem, sampler, 10, np.array([0]), True, np.random.SeedSequence(0))
    chain.advance(lambda done: None, threading.Event())
    hold(problem, chain.state, chain.work, needs=needs)
    fill_mixture_quantiles(np.zeros((1, 2)), np.ones((1, 2)), 0.05, 0.95, np.empty((1, 2)))
