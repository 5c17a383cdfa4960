"""Problem, state, workspace and walk of a chain as compiled code takes them, with the addresses of its large steps.

A step that is called at an address is compiled once, not again in each of its callers, and one that a fit does not need
is not compiled at all. Its types are those of the records, whatever the sizes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np

from bmtme.engines.rotated.collapsed import Walk, allocate_walk, hold_walk, move_covariances
from bmtme.engines.rotated.density import evaluate
from bmtme.engines.rotated.draws import allocate_draws, hold_draws, record_draw, record_total
from bmtme.engines.rotated.factor_effects import draw_factors, refill
from bmtme.engines.rotated.joint_errors import draw_joint_values
from bmtme.engines.rotated.kernels.pair import whiten
from bmtme.engines.rotated.known_errors import draw_true_values
from bmtme.engines.rotated.line_effect import draw_line
from bmtme.engines.rotated.problem import Problem, hold_problem
from bmtme.engines.rotated.slopes import draw_slopes
from bmtme.engines.rotated.state import (
    BLOCK,
    COVARIANCES,
    DENSITY,
    ERRORS,
    FACTOR,
    JOINT,
    LEVELS,
    LINE,
    MOVE,
    N_STEPS,
    RECORD,
    RECORD_TOTAL,
    REFILL,
    SLOPES,
    WHITEN,
    State,
    Work,
    hold_state,
    hold_work,
)
from bmtme.engines.rotated.steps import draw_covariances, draw_means_and_genetic, factor_pair
from bmtme.linalg.pointers import find_address


class Needs(NamedTuple):
    """Which steps that not every fit has.

    Draws of line effects, of effects of levels, of slopes of covariates; records of effects not split; draws of what
    records with known errors are means of, and the same of errors that correlate between records.
    """

    line: bool = False
    levels: bool = False
    slopes: bool = False
    total: bool = False
    errors: bool = False
    joint: bool = False


NOTHING = Needs()
#: Addresses of the steps by the types of the records; zero for those that nothing has needed yet.
FOUND: dict[tuple[Any, ...], np.ndarray] = {}


def list_needs(p: Problem) -> Needs:
    """Those of a problem."""
    slopes = len(p.factors.slopes) > 0
    alone = bool(p.known and not p.joint)
    return Needs(bool(p.line_effect), len(p.factors.random) > 0, slopes, not p.proportional, alone, bool(p.joint))


def hold(p: Problem, s: State, w: Work, h: Walk | None = None, needs: Needs | None = None) -> tuple[Any, ...]:
    """Heap records of these (of a walk where there is one); the workspace learns the addresses of the steps.

    needs : default those of the problem
    """
    held = hold_problem(p), hold_state(s), hold_work(w), hold_walk(allocate_walk(p) if h is None else h)
    if not numba.config.DISABLE_JIT:
        kinds = tuple(numba.typeof(record) for record in held)
        steps = FOUND.setdefault(kinds, np.zeros(N_STEPS, np.int64))
        needs = list_needs(p) if needs is None else needs
        wanted = {LINE: needs.line, LEVELS: needs.levels, SLOPES: needs.slopes, RECORD_TOTAL: needs.total}
        wanted |= {ERRORS: needs.errors, JOINT: needs.joint}
        if any(not address and wanted.get(place, True) for place, address in enumerate(steps.tolist())):
            draws = hold_draws(allocate_draws(p, 0, np.zeros(0, np.int64), False))
            find_steps(steps, kinds, needs, numba.typeof(draws))
        w.steps[:] = steps
    return held if h is not None else held[:3]


def find_steps(steps: np.ndarray, kinds: tuple[Any, ...], needs: Needs, draws: Any) -> None:
    """Addresses of the steps for records and draws of these types, compiled where they are not yet, into `steps`."""
    rng, vector, matrix = np.random.default_rng(0), np.zeros(1), np.zeros((1, 1))
    p, _, w, _ = kinds
    effects, choice, row = (rng, *kinds[:3]), numba.types.boolean, (vector, numba.int64, draws)
    steps[WHITEN] = find_address(whiten, True, matrix, matrix, vector, matrix, matrix, matrix, vector)
    steps[FACTOR] = find_address(factor_pair, True, p, matrix, vector, matrix, matrix, w)
    steps[DENSITY] = find_address(evaluate, 0.0, vector, *kinds, vector)
    steps[MOVE] = find_address(move_covariances, True, rng, *kinds)
    steps[BLOCK] = find_address(draw_means_and_genetic, True, *effects)
    steps[COVARIANCES] = find_address(draw_covariances, 0, *effects, choice)
    steps[REFILL] = find_address(refill, True, *effects, choice)
    steps[RECORD] = find_address(record_draw, 0, *effects, *row)
    if needs.line:
        steps[LINE] = find_address(draw_line, True, *effects)
    if needs.levels:
        steps[LEVELS] = find_address(draw_factors, True, *effects)
    if needs.slopes:
        steps[SLOPES] = find_address(draw_slopes, True, *effects)
    if needs.errors:
        steps[ERRORS] = find_address(draw_true_values, True, *effects, 0, 0, 0)
    if needs.joint:
        steps[JOINT] = find_address(draw_joint_values, True, *effects, 0)
    if needs.total:
        steps[RECORD_TOTAL] = find_address(record_total, 0, *effects, *row)
