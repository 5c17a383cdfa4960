"""Problem, state, workspace and walk of a chain as compiled code takes them, with the addresses of its large steps.

A step that is called at an address is compiled once, not again in each of its callers, and one that a fit does not need
is not compiled at all. Its types are those of the records, whatever the sizes.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from bmtme.engines.rotated.collapsed import Walk, allocate_walk, hold_walk, move_covariances
from bmtme.engines.rotated.density import evaluate
from bmtme.engines.rotated.draws import allocate_draws, hold_draws, record_draw, record_total
from bmtme.engines.rotated.factor_effects import draw_factors, refill
from bmtme.engines.rotated.kernels.pair import whiten
from bmtme.engines.rotated.line_effect import draw_line
from bmtme.engines.rotated.problem import Problem, hold_problem
from bmtme.engines.rotated.state import (
    BLOCK,
    COVARIANCES,
    DENSITY,
    FACTOR,
    LEVELS,
    LINE,
    MOVE,
    RECORD,
    RECORD_TOTAL,
    REFILL,
    WHITEN,
    State,
    Work,
    hold_state,
    hold_work,
)
from bmtme.engines.rotated.steps import draw_covariances, draw_means_and_genetic, factor_pair
from bmtme.linalg.pointers import find_address

#: Types of the records; whether there are line effects, effects of levels, effects that are not split.
Key = tuple[tuple[Any, ...], bool, bool, bool]
#: Addresses of the steps.
FOUND: dict[Key, np.ndarray] = {}


def hold(p: Problem, s: State, w: Work, h: Walk | None = None) -> tuple[Any, ...]:
    """Heap records of these (of a walk where there is one); the workspace learns the addresses of the steps."""
    held = hold_problem(p), hold_state(s), hold_work(w), hold_walk(allocate_walk(p) if h is None else h)
    if not numba.config.DISABLE_JIT:
        kinds = tuple(numba.typeof(record) for record in held)
        key = kinds, bool(p.line_effect), len(p.factors.factor) > 0, not p.proportional
        if key not in FOUND:
            draws = hold_draws(allocate_draws(p, 0, np.zeros(0, np.int64), False))
            FOUND[key] = find_steps(key, numba.typeof(draws))
        w.steps[:] = FOUND[key]
    return held if h is not None else held[:3]


def find_steps(key: Key, draws: Any) -> np.ndarray:
    """Addresses of the steps, compiled where they are not yet. draws : type of their record"""
    kinds, line, levels, total = key
    rng, vector, matrix = np.random.default_rng(0), np.zeros(1), np.zeros((1, 1))
    p, _, w, _ = kinds
    effects, choice, row = (rng, *kinds[:3]), numba.types.boolean, (vector, numba.int64, draws)
    steps = np.zeros(11, np.int64)
    steps[WHITEN] = find_address(whiten, True, matrix, matrix, vector, matrix, matrix, matrix, vector)
    steps[FACTOR] = find_address(factor_pair, True, p, matrix, vector, matrix, matrix, w)
    steps[DENSITY] = find_address(evaluate, 0.0, vector, *kinds, vector)
    steps[MOVE] = find_address(move_covariances, True, rng, *kinds)
    steps[BLOCK] = find_address(draw_means_and_genetic, True, *effects)
    steps[LINE] = find_address(draw_line, True, *effects) if line else 0
    steps[COVARIANCES] = find_address(draw_covariances, 0, *effects, choice)
    steps[REFILL] = find_address(refill, True, *effects, choice)
    steps[LEVELS] = find_address(draw_factors, True, *effects) if levels else 0
    steps[RECORD] = find_address(record_draw, 0, *effects, *row)
    steps[RECORD_TOTAL] = find_address(record_total, 0, *effects, *row) if total else 0
    return steps
