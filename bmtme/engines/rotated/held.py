"""Problem, state, workspace and walk of a chain as compiled code takes them, with the addresses of its large steps.

A step that is called at an address is compiled once, not again in each of its callers, and one that a fit does not need
is not compiled at all. Its types are those of the records, whatever the sizes.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np

from bmtme.engines.rotated.collapsed import Walk, allocate_walk, hold_walk
from bmtme.engines.rotated.density import evaluate
from bmtme.engines.rotated.factor_effects import draw_factors, refill
from bmtme.engines.rotated.problem import Problem, hold_problem
from bmtme.engines.rotated.state import BLOCK, DENSITY, LEVELS, REFILL, State, Work, hold_state, hold_work
from bmtme.engines.rotated.steps import draw_means_and_genetic
from bmtme.linalg.pointers import find_address


def hold(p: Problem, s: State, w: Work, h: Walk | None = None) -> tuple[Any, ...]:
    """Heap records of these (of a walk where there is one); the workspace learns the addresses of the steps."""
    walk = hold_walk(allocate_walk(p) if h is None else h)
    held = hold_problem(p), hold_state(s), hold_work(w), walk
    if not numba.config.DISABLE_JIT:
        w.steps[:] = find_steps(tuple(numba.typeof(record) for record in held), len(p.factors.factor) > 0)
    return held if h is not None else held[:3]


@functools.cache
def find_steps(kinds: tuple[Any, ...], levels: bool) -> np.ndarray:
    """Addresses of the steps for records of these types, compiled where they are not yet.

    levels : whether the step that draws effects of levels is wanted
    """
    rng, vector = np.random.default_rng(0), np.zeros(1)
    steps = np.zeros(4, np.int64)
    steps[DENSITY] = find_address(evaluate, 0.0, vector, *kinds, vector)
    steps[BLOCK] = find_address(draw_means_and_genetic, True, rng, *kinds[:3])
    steps[LEVELS] = find_address(draw_factors, True, rng, *kinds[:3]) if levels else 0
    steps[REFILL] = find_address(refill, True, rng, *kinds[:3], numba.types.boolean)
    return steps
