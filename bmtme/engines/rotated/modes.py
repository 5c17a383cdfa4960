"""Where the posterior of the covariances has its modes: looked for before sampling, so that chains start in them.

A chain stays for ever in a mode that is separated from a likelier one, and so do others that start at the same place;
they then agree. Two kinds were seen. Where data hardly tell genetic from residual variation there is a corner for
either. Where an environment is tighter than the others (two traits nearly copies of each other there and not
elsewhere), one explanation is a residual covariance as tight as that environment and the rest genetic, another an
average residual. So climbs start from shares of the heritability near both ends and in the middle, and from each
such environment.

Heights are compared with means and effects integrated out: on a complete layout by the density that the chains walk
on, otherwise by that of the observed values alone (`observed`; what is imputed differs between modes and
says nothing of their weights). A mode of height h in q parameters with minus the Hessian H weighs
exp(h) |H|^(-1/2) (2 pi)^(q/2) by Laplace's approximation, times two for each signed root that is clearly not zero,
which has a mirror image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from bmtme.engines.rotated.adaptation import list_flips
from bmtme.engines.rotated.collapsed import allocate_walk, measure_curvature, pack_state
from bmtme.engines.rotated.density import evaluate, measure_prior, unpack_trial
from bmtme.engines.rotated.draws import Draws
from bmtme.engines.rotated.factor_effects import adjust_data
from bmtme.engines.rotated.failures import FINE
from bmtme.engines.rotated.held import hold
from bmtme.engines.rotated.observed import MOST_VALUES, Observed
from bmtme.engines.rotated.problem import Problem, take_paper_pair
from bmtme.engines.rotated.state import allocate_work, expect_missing, start_state
from bmtme.engines.rotated.sweep import settle
from bmtme.mapped import release, walk_slabs
from bmtme.model.codes import DIAGONAL, FULL, SCALAR
from bmtme.structures.parameters import count_roots
from bmtme.structures.part import Start

#: Heritabilities at which climbs start.
SHARES = (0.05, 0.5, 0.95)
#: An environment is tight where some combination of traits varies less than this share of what it does on average;
#: climbs start from so many of them, the tightest.
TIGHT, MOST_TIGHT = 0.5, 4
#: Climbs between imputations, where something is missing, and sweeps of imputation before each.
ROUNDS, SETTLING = 4, 3
#: Steps of a climb: enough to get to the top, so that where it ends does not depend on its path.
STEPS = 200
#: Modes whose entries of the covariances (traits have variance one) differ by less are the same; with imputation,
#: climbs to one top end further apart.
SAME, SAME_IMPUTED = 0.1, 0.25
#: Standard deviations below this are no starts: a chain leaves the neighbourhood of zero slowly.
LEAST_ROOT = 0.05
#: A signed root so many standard deviations from zero has a mirror image of its own.
CLEAR = 2.0
#: Last word of the spawn key of a search; keys of chains are shorter.
BRANCH = 2**31
#: A mode with a smaller share of the posterior gets no chain.
NEGLIGIBLE = 0.01


@dataclass(frozen=True)
class Mode:
    """A mode of the covariances, in scaled units.

    Attributes
    ----------
    start : its covariances
    height : log density there, up to a constant; NaN where heights could not be compared
    weight : share of the posterior by Laplace's approximation, all modes equal where heights could not be compared
    alone : whether every climb ended here
    """

    start: Start
    height: float
    weight: float
    alone: bool = False

    def list_entries(self) -> np.ndarray:
        """What modes are told apart by."""
        return list_entries(*self.start)


def list_entries(Sigma_t: np.ndarray, s2_E: np.ndarray, R_e: np.ndarray) -> np.ndarray:
    """(..., n) entries of the genetic covariance in each environment and of the residual covariance."""
    rows, columns = np.tril_indices(R_e.shape[-1])
    genetic = Sigma_t[..., None, rows, columns] * (1.0 + s2_E[..., :, None])
    return np.concatenate([genetic.reshape(*genetic.shape[:-2], -1), R_e[..., rows, columns]], axis=-1)


def find_modes(p: Problem, observed: Observed, seed: np.random.SeedSequence) -> list[Mode]:
    """The modes that climbs reach, the heaviest first; those that weigh next to nothing are left out.

    Parameters
    ----------
    observed : the records of the problem, in scaled units
    seed : for imputations

    Returns
    -------
    list of Mode
        At least one; empty where no climb came to an end, which leaves the chains to their own starts. For other
        structures than the paper's they are those of the paper's pair: where to start.
    """
    p = take_paper_pair(p)
    climber = Climber(p, observed, seed)
    same = SAME if climber.complete else SAME_IMPUTED
    found: list[tuple[np.ndarray, Start]] = []
    for start in list_starts(p, observed):
        climbed = climber.climb(start)
        if climbed is None:
            continue
        entries = list_entries(*climbed[1])
        if not any(np.abs(entries - list_entries(*other)).max() < same for _, other in found):
            found.append(climbed)
    if len(found) < 2:
        return [Mode(start, np.nan, 1.0, alone=True) for _, start in found]
    heights, volumes = climber.compare(found)
    logs = heights + volumes
    if not np.isfinite(logs).all():
        return [Mode(climber.round_off(theta), np.nan, 1.0 / len(found)) for theta, _ in found]
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    order = [k for k in np.argsort(-logs, kind="stable") if weights[k] >= NEGLIGIBLE]
    return [Mode(climber.round_off(found[k][0]), float(heights[k]), float(weights[k])) for k in order]


def branch_seed(seed: np.random.SeedSequence) -> np.random.SeedSequence:
    """The stream of a search, from that of its first chain: apart from those of all chains."""
    return np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, BRANCH))


def choose_starts(modes: Sequence[Mode], chains: int) -> list[Start | None]:
    """Where each chain starts: one in every mode, then where the weight is large for the chains already there.

    Where every climb ended in one mode, so will the chains: they keep their own dispersed starts (None).
    """
    if not modes or modes[0].alone:
        return [None] * chains
    counts = np.zeros(len(modes), int)
    counts[:chains] = 1
    weights = np.array([mode.weight for mode in modes])
    for _ in range(chains - len(modes)):
        counts[np.argmax(weights / counts)] += 1
    return [mode.start for mode, count in zip(modes, counts, strict=True) for _ in range(count)]


def share_draws(modes: Sequence[Mode], chains: Sequence[Draws]) -> np.ndarray:
    """(chain, mode) share of a chain's draws of the paper's pair that are nearest to each mode."""
    shares = np.empty((len(chains), len(modes)))
    if not modes:
        return shares
    for c, chain in enumerate(chains):
        nearest = np.zeros(len(modes), np.int64)
        for (rows,) in walk_slabs(chain.R_e.shape, 1):
            entries = list_entries(chain.Sigma_t[rows], chain.s2_E[rows], chain.R_e[rows])
            distance = np.array([np.abs(entries - mode.list_entries()).max(axis=1) for mode in modes])
            nearest += np.bincount(distance.argmin(axis=0), minlength=len(modes))
            release(chain.Sigma_t, chain.s2_E, chain.R_e)
        shares[c] = nearest / len(chain.R_e)
    return shares


def list_starts(p: Problem, observed: Observed) -> list[Start]:
    """Over-dispersed covariances to climb from (see the head of this module)."""
    I = p.n_env
    pooled, each = observed.measure_covariances(I)
    half = 0.5 if p.interaction else 0.0
    starts = [Start(pooled * share / (1.0 + half), np.full(I, half), pooled * (1.0 - share)) for share in SHARES]
    if p.interaction:
        for i in find_tight(p, pooled, each):
            s2 = np.full(I, 4.0)
            s2[i] = 0.01
            others = [k for k in p.seen if k != i]
            values, vectors = np.linalg.eigh(each[others].mean(axis=0) - 0.9 * each[i])
            rest = (vectors * np.maximum(values, 0.05)) @ vectors.T
            starts.append(Start(rest / 5.0, s2, 0.9 * each[i]))
    return [shape_start(p, start) for start in starts]


def find_tight(p: Problem, pooled: np.ndarray, each: np.ndarray) -> list[int]:
    """Environments in which some combination of traits varies less than on average, the tightest first."""
    Ki = np.linalg.inv(np.linalg.cholesky(pooled))
    least = {int(i): float(np.linalg.eigvalsh(Ki @ each[i] @ Ki.T)[0]) for i in p.seen}
    tight = sorted((value, i) for i, value in least.items() if value < TIGHT)
    return [i for _, i in tight[:MOST_TIGHT]]


def shape_start(p: Problem, start: Start) -> Start:
    """The same in the shapes that the priors allow."""

    def shape(matrix: np.ndarray, kind: int) -> np.ndarray:
        if kind == FULL:
            return matrix
        diagonal = np.diag(matrix)
        return np.diag(diagonal if kind == DIAGONAL else np.full(len(diagonal), diagonal.mean()))

    s2 = start.s2_E if p.genetic.prior_env.shape != SCALAR else np.full(p.n_env, start.s2_E.mean())
    return Start(shape(start.Sigma_t, p.genetic.prior.shape), s2, shape(start.R_e, p.residual.prior.shape))


class Climber:
    """Climbs the log density of the covariances from given ones."""

    def __init__(self, p: Problem, observed: Observed, seed: np.random.SeedSequence) -> None:
        self.p, self.observed = p, observed
        self.rng = np.random.Generator(np.random.PCG64(seed))
        self.state = start_state(p, self.rng)
        self.walk = allocate_walk(p)
        self.held = hold(p, self.state, allocate_work(p), self.walk)
        self.complete = len(p.cell_line) == 0 and not len(p.factors.factor)

    def climb(self, start: Start) -> tuple[np.ndarray, Start] | None:
        """Parameters and covariances at the top; None where the climb broke down."""
        s, q = self.state, len(self.walk.theta)
        s.level_effects[:] = 0.0
        if len(self.p.factors.factor):
            adjust_data(*self.held[:2])
        s.pad[:], s.part[:] = expect_missing(self.p, start)
        self.walk.theta[:] = 1.0
        for _ in range(1 if self.complete else ROUNDS):
            s.Sigma_t[:], s.s2_E[:], s.R_e[:] = start.Sigma_t, start.s2_E, start.R_e
            if settle(self.rng, *self.held, SETTLING) != FINE or not pack_state(*self.held[:2], self.held[3]):
                return None
            theta = self.walk.theta.copy()
            top = minimize(self.measure, theta, jac=True, method="L-BFGS-B", options={"maxiter": STEPS})
            if not np.isfinite(top.fun) or not unpack_trial(top.x, self.held[0], self.held[3]):
                return None
            h = self.walk
            start = Start(h.Sigma_t.copy(), _fill_unseen(self.p, h.s2_E), h.R_e.copy())
            theta = np.array(top.x).reshape(q)
        return theta, start

    def round_off(self, theta: np.ndarray) -> Start:
        """Covariances near the top: the same in any units, while a climb's end carries the rounding of its path."""
        q = len(theta)
        roots = np.zeros(q, bool)
        n = int(count_roots(self.p.genetic.prior.shape, self.p.n_trait))
        last = self.p.residual.first
        roots[:n] = roots[last : last + n] = True
        sizes = np.maximum(np.abs(theta), LEAST_ROOT)
        near = np.where(roots, np.copysign(np.exp(np.round(np.log(sizes), 1)), theta), np.round(theta, 1))
        unpack_trial(near, self.held[0], self.held[3])
        h = self.walk
        return Start(h.Sigma_t.copy(), _fill_unseen(self.p, h.s2_E), h.R_e.copy())

    def measure(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Minus the log density and its gradient."""
        gradient = np.empty(len(theta))
        value = evaluate(np.ascontiguousarray(theta), *self.held, gradient)
        return (-value, -gradient) if value > -np.inf else (np.inf, np.zeros(len(theta)))

    def compare(self, found: Sequence[tuple[np.ndarray, Start]]) -> tuple[np.ndarray, np.ndarray]:
        """Log density at each mode, and the log of the volume that goes with it; NaN where they cannot be told."""
        heights, volumes = np.full(len(found), np.nan), np.full(len(found), np.nan)
        tau2 = self.state.tau2.copy()
        values = int(np.count_nonzero(~np.isnan(self.observed.values)))
        if not self.complete and values > MOST_VALUES:
            return heights, volumes
        for k, (theta, start) in enumerate(found):
            s = self.state
            s.Sigma_t[:], s.s2_E[:], s.R_e[:], s.tau2[:] = start.Sigma_t, start.s2_E, start.R_e, tau2
            self.walk.tuning.centre[:] = theta
            hessian = np.empty((len(theta), len(theta)))
            if not self.complete and settle(self.rng, *self.held, SETTLING) != FINE:
                continue
            s.tau2[:] = tau2
            if not measure_curvature(*self.held, hessian):
                continue
            height = -self.measure(theta)[0]
            if not self.complete:
                try:
                    height = self.observed.log_density(start.Sigma_t, start.s2_E, start.R_e, tau2, self.p.means.kind)
                except np.linalg.LinAlgError:
                    continue
                height += measure_prior(theta, self.held[0], self.held[3])
            heights[k], volumes[k] = height, self._measure_volume(theta, hessian)
        return heights, volumes

    def _measure_volume(self, theta: np.ndarray, hessian: np.ndarray) -> float:
        """log of |H|^(-1/2) and of the number of mirror images."""
        curvature = (hessian + hessian.T) / 2
        values = np.maximum(np.linalg.eigvalsh(curvature), 1e-3)
        roots = [lead for lead, _ in list_flips(self.p)]
        images = np.abs(theta[roots]) * np.sqrt(np.maximum(np.diag(curvature)[roots], 0.0)) > CLEAR
        return float(-0.5 * np.log(values).sum() + images.sum() * np.log(2.0))


def _fill_unseen(p: Problem, s2_E: np.ndarray) -> np.ndarray:
    """The same with a value for environments without a record."""
    return np.where(p.is_seen, s2_E, 0.5) if p.interaction else np.zeros(p.n_env)
