"""Joint-distribution test of whole sweeps (after Geweke 2004, JASA 99:799-804), in its invariance form.

Unknowns are drawn from the prior, data given them; a correct sweep, started there and given those data, leaves the
joint distribution of (unknowns, data) as it was. So after a few sweeps every statistic must be distributed as
before. Replicates are independent and before is compared with after *within* a replicate, so that no
autocorrelation has to be estimated and the noise of the prior cancels where data say something. Statistics are
ranked among all values before and after, which bounds them whatever the tails of the prior; the first two
Legendre polynomials of the rank show shifts and changes of spread.

Needs proper priors. Seen are: wrong degrees of freedom, wrong orders of steps, wrong imputations, wrong
conditional means, data that count twice. Not seen is slow mixing, nor a sweep that leaves something unmoved.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from bmtme.gibbs.adaptation import start_stage
from bmtme.gibbs.collapsed import allocate_walk
from bmtme.gibbs.draws import Draws, allocate_draws
from bmtme.gibbs.problem import Problem, load_values
from bmtme.gibbs.state import State, Work, allocate_work
from bmtme.gibbs.sweep import run_collapsed, run_gibbs, run_stepwise
from bmtme.testing.cases import Case

#: Runs n sweeps from a state and writes the last one to the draws; returns a failure code or 0.
Sweeps = Callable[[np.random.Generator, Problem, State, Work, int, Draws], int]

Arrays = dict[str, np.ndarray]


def sweep_gibbs(rng: np.random.Generator, p: Problem, s: State, w: Work, n: int, draws: Draws) -> int:
    """The block sampler."""
    return int(run_gibbs(rng, p, s, w, 0, n, True, draws)[1])


def sweep_stepwise(rng: np.random.Generator, p: Problem, s: State, w: Work, n: int, draws: Draws) -> int:
    """The paper's separate steps."""
    return int(run_stepwise(rng, p, s, w, 0, n, True, draws)[1])


def sweep_collapsed(rng: np.random.Generator, p: Problem, s: State, w: Work, n: int, draws: Draws) -> int:
    """Hamiltonian moves of the covariances, with a fixed metric, step and length (nothing adapts)."""
    walk = allocate_walk(p)
    start_stage_fixed(p, s, w, walk)
    return int(run_collapsed(rng, p, s, w, walk, 0, n, True, draws, np.empty((0, len(walk.theta))))[1])
