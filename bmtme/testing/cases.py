"""Small trials with everything awkward in them, as the dense model and as the sampler's problem side by side.

Designs: cells without a plot, records without a trait, columns (environment, trait) without a record,
environments without a record, unequal replication, clones (a relationship of deficient rank), an identity
relationship, one environment, one trait.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from bmtme.engines.rotated.problem import MeanPrior, Problem, build_problem
from bmtme.engines.rotated.state import State, start_state
from bmtme.model import codes
from bmtme.model.eigenbasis import Eigenbasis, decompose_relationship
from bmtme.model.layout import Layout, lay_out
from bmtme.testing.dense import CovarianceLaw, DenseModel, MeanLaw, Unknowns

SHAPES = {"full": codes.FULL, "diagonal": codes.DIAGONAL, "scalar": codes.SCALAR}
FAMILIES = {"half-t": codes.HALF_T, "inverse-wishart": codes.INVERSE_WISHART}
KINDS = {"flat": codes.FLAT, "exchangeable": codes.EXCHANGEABLE, "paper": codes.PAPER}

#: Records as one text an environment: a cell's records per line, each a string of traits seen (trait numbers), and
#: after an x the plots of which it is the mean; "-" none.
DESIGNS: dict[str, tuple[Sequence[str], ...]] = {
    "complete": (("01", "01", "01", "01", "01", "01"), ("01", "01", "01", "01", "01", "01")),
    "missing": (("01", "01 0", "1 01 01", "-", "01", "0"), ("-", "01", "0 1", "01 01", "1", "01 01")),
    "absent": (
        ("012", "012 01", "12 012", "-", "012", "0"),
        ("-", "012", "0 12", "01 012", "1", "012 012"),
        ("02", "02", "-", "02 2 0", "02 02", "-"),
    ),
    "absent-two": (("012", "012", "2 01", "-", "012"), ("1", "1", "1", "1 1", "1"), ("-", "02", "02", "02", "0 2")),
    "unseen": (("01", "01 01", "01", "-", "01"), ("-", "-", "-", "-", "-"), ("01", "-", "01", "01 0", "1")),
    "means-of-plots": (
        ("01x3", "01 0x2", "1x2 01x4 01", "-", "01", "0x5"),
        ("-", "01x2", "0 1x3", "01x4 01", "1x2", "01"),
    ),
    "one-environment": (("01", "01 0", "1", "01", "0 01"),),
    "one-trait": (("0", "0 0", "-", "0", "0"), ("-", "0", "0 0 0", "0", "-")),
}


@dataclass(frozen=True)
class Case:
    """One data set, seen by both sides. ``recorded`` (N, L) says which values are seen."""

    model: DenseModel
    observed: np.ndarray
    layout: Layout
    basis: Eigenbasis

    @property
    def recorded(self) -> np.ndarray:
        """(I, L) columns with a record."""
        return self.layout.recorded

    def problem(self, values: np.ndarray, inner: int = 1) -> Problem:
        """The sampler's problem of these values; those not observed are hidden from it."""
        m = self.model
        beta = m.law_beta
        means = MeanPrior(
            kind=KINDS[beta.kind],
            mu_mean=beta.mu_mean,
            mu_precision=1 / beta.mu_sd**2,
            tau_nu=beta.tau_nu,
            tau_scale=beta.tau_scale,
            scale=beta.scale,
            centre=beta.centre,
            s2_nu=beta.s2_nu,
            s2_scale=beta.s2_scale,
        )
        t, E, e = (
            codes.CovariancePrior(FAMILIES[a.family], SHAPES[a.shape], a.nu, a.scale, a.df, a.matrix)
            for a in (m.law_t, m.law_E, m.law_e)
        )
        return build_problem(self.layout, self.basis, self.hide(values), t, E, e, means, inner)

    def hide(self, values: np.ndarray) -> np.ndarray:
        """Values with NaN where none was observed."""
        return np.where(self.observed, values, np.nan)

    def standardise(self, effects: np.ndarray) -> np.ndarray:
        """w of effects u (..., J) of the lines: sqrt(d) w = U' sqrt(c) u, zero beyond the rank."""
        rotated = effects * np.sqrt(self.basis.multiples)
        if self.basis.vectors is not None:
            rotated = rotated @ self.basis.vectors
        positive = self.basis.values > 0
        return np.where(positive, rotated, 0.0) / np.sqrt(np.where(positive, self.basis.values, 1.0))

    def total(self, t: Unknowns) -> np.ndarray:
        """u = b1 + b2 of every column, (I, L, J)."""
        return np.swapaxes(t.b1 + t.b2, 1, 2)

    def places(self, name: str) -> np.ndarray:
        """Places of a block's recorded entries in the dense model's stacked vector, (column after column for b2)."""
        block = self.model.blocks()[name]
        places = np.arange(block.start, block.stop)
        if name == "beta":
            return places[self.recorded.ravel()]
        if name == "b2":
            I, L = self.recorded.shape
            return np.moveaxis(places.reshape(I, -1, L), 2, 1)[self.recorded].ravel()
        return places

    def pads(self) -> DenseModel:
        """The model of the unseen plots that make the layout balanced: one mean each touched cell that has any."""
        m, lay = self.model, self.layout
        here = lay.cell_pad > 0
        env = np.repeat(np.arange(m.n_env), np.diff(lay.cell_offset))
        return DenseModel(
            m.G, lay.cell_line[here], env[here], lay.cell_pad[here], m.n_env, m.law_t, m.law_E, m.law_e, m.law_beta
        )

    def completed(self) -> DenseModel:
        """The model of recorded and unseen plots together, in this order."""
        m, pads = self.model, self.pads()
        return DenseModel(
            m.G,
            np.concatenate([m.line, pads.line]),
            np.concatenate([m.env, pads.env]),
            np.concatenate([m.plots, pads.plots]),
            m.n_env,
            m.law_t,
            m.law_E,
            m.law_e,
            m.law_beta,
        )

    def without_absent(self, env: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Values with NaN in columns that have no record."""
        return np.where(self.recorded[env], values, np.nan)

    def cell_means(self, values: np.ndarray) -> np.ndarray:
        """sqrt(c_j) times the mean over all plots, seen and imputed, of every cell: (I, L, J).

        values : (N + pads, L), of the completed model
        """
        m = self.completed()
        cell = m.env * len(m.G) + m.line
        total = np.zeros((m.n_env * len(m.G), values.shape[1]))
        np.add.at(total, cell, values * m.plots[:, None])
        plots = np.bincount(cell, m.plots, minlength=len(total)).reshape(m.n_env, -1)
        means = total.reshape(m.n_env, len(m.G), -1) / np.where(plots > 0, plots, np.nan)[:, :, None]
        return np.swapaxes(means * np.sqrt(self.basis.multiples)[:, None], 1, 2)

    def pack(self, p: Problem, t: Unknowns, values: np.ndarray, pads: np.ndarray) -> State:
        """The sampler's state at these unknowns.

        Parameters
        ----------
        values : (N, L) of every trait of the recorded plots, the missing ones included
        pads : (pads, L) means of the unseen plots, as in `pads`
        """
        s = start_state(p, np.random.default_rng(0))
        for name in ("Sigma_t", "s2_E", "aux_t", "aux_E", "aux_e", "mu", "tau2", "aux_tau"):
            getattr(s, name)[:] = getattr(t, name)
        s.R_e[:] = np.tile(t.R_e, (len(s.R_e) // len(t.R_e), 1))
        s.s2_b[0], s.aux_b[0] = t.s2_b, t.aux_b
        s.beta[:] = t.beta[self.recorded]
        s.W[:] = self.standardise(self.total(t))[self.recorded]
        s.W1[:] = self.standardise(t.b1.T)
        s.part[:] = np.nan_to_num(values[self.layout.part_record])
        s.pad[self.layout.cell_pad > 0] = np.nan_to_num(pads)
        Y = self.cell_means(np.vstack([values, pads]))[self.recorded]
        s.Y[:] = Y if self.basis.vectors is None else Y @ self.basis.vectors
        return s


def read_design(plots: tuple[Sequence[str], ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(observed, line, env, plots) of records written as in `DESIGNS`."""
    marks = [
        (j, i, *f"{record}x1".split("x")[:2])
        for i, row in enumerate(plots)
        for j, cell in enumerate(row)
        for record in cell.split()
        if record != "-"
    ]
    line, env, records, number = (list(column) for column in zip(*marks, strict=True))
    n_trait = 1 + max(int(digit) for record in records for digit in record)
    observed = np.array([[str(l) in record for l in range(n_trait)] for record in records])
    return observed, np.array(line), np.array(env), np.array(number, float)


def make_relationship(rng: np.random.Generator, n_line: int, clones: bool = False) -> np.ndarray:
    """A relationship of mean diagonal one; with ``clones`` the last two lines are one genotype."""
    markers = rng.standard_normal((n_line, n_line + 3))
    if clones:
        markers[-1] = markers[-2]
    G = markers @ markers.T
    return np.asarray(G * n_line / np.trace(G))


def make_law(
    rng: np.random.Generator, p: int, shape: str, family: str, nu: float, scale: float | None = None
) -> CovarianceLaw:
    """A prior with uneven scales, or all scales as given; inverse-Wishart degrees of freedom p + 4."""
    A = rng.uniform(0.5, 2.0, p) if scale is None else np.full(p, scale)
    root = rng.standard_normal((p, p + 2)) if scale is None else np.eye(p) * np.sqrt(3.0) * scale
    return CovarianceLaw(shape, family, nu, A, p + 4.0, root @ root.T)


def make_case(
    plots: tuple[Sequence[str], ...],
    *,
    shape: str = "full",
    family: str = "half-t",
    means: str = "exchangeable",
    mu_sd: float = np.inf,
    nu: float = 2.5,
    scale: float | None = None,
    clones: bool = True,
    identity: bool = False,
    even: bool = False,
    uncertain: bool = False,
    joint: bool = False,
    seed: int = 1,
) -> Case:
    """A case of one design and one variant of the model.

    Parameters
    ----------
    plots : records, see `DESIGNS`
    shape : of Sigma_t and R_e; Sigma_E is scalar where they are, else diagonal
    scale : of every prior; by default scales are drawn
    even : a layout without multiples
    uncertain : laid out for records with errors of their own, all but the first of each environment
    joint : for errors that correlate between records, which all have
    """
    rng = np.random.default_rng(seed)
    observed, line, env, number = read_design(plots)
    I, J, L = len(plots), len(plots[0]), observed.shape[1]
    G = np.eye(J) if identity else make_relationship(rng, J, clones)
    doubtful = np.isin(np.arange(len(env)), np.unique(env, return_index=True)[1], invert=True) & uncertain | joint
    layout = lay_out(observed, line, env, J, I, even, number, doubtful)
    basis = decompose_relationship(G, layout.multiples, identity)
    mu_mean, tau_scale, units, centre = rng.uniform((-1.0, 0.5, 0.5, -1.0), (1.0, 1.5, 2.0, 1.0), (L, 4)).T
    paper = means == "paper"
    mean_law = MeanLaw(
        kind=means,
        mu_mean=mu_mean.copy(),
        mu_sd=np.full(L, mu_sd),
        tau_nu=4.0,
        tau_scale=tau_scale.copy(),
        scale=units.copy() if paper else np.ones(L),
        centre=centre.copy() if paper else np.zeros(L),
        s2_nu=4.0,
        s2_scale=1.5,
    )
    model = DenseModel(
        G=G / basis.scale,
        line=line,
        env=env,
        plots=number,
        n_env=I,
        law_t=make_law(rng, L, shape, family, nu, scale),
        law_E=make_law(rng, I, "scalar" if shape == "scalar" else "diagonal", family, nu, scale),
        law_e=make_law(rng, L, shape, family, nu, scale),
        law_beta=mean_law,
    )
    return Case(model, observed, layout, basis)


#: The variants of the model: shape of the trait covariances, family of their priors, prior of the means.
VARIANTS: dict[str, dict[str, str | float]] = {
    "unstructured": {"shape": "full", "family": "half-t", "means": "exchangeable"},
    "diagonal": {"shape": "diagonal", "family": "half-t", "means": "exchangeable", "mu_sd": 1.5},
    "standard": {"shape": "scalar", "family": "half-t", "means": "paper"},
    "unstructured-iw": {"shape": "full", "family": "inverse-wishart", "means": "exchangeable", "mu_sd": 1.5},
    "diagonal-iw": {"shape": "diagonal", "family": "inverse-wishart", "means": "paper"},
    "standard-iw": {"shape": "scalar", "family": "inverse-wishart", "means": "exchangeable"},
    "unstructured-flat": {"shape": "full", "family": "half-t", "means": "flat"},
}


@dataclass(frozen=True)
class Scene:
    """A case with one set of unknowns and data, everything that a conditional conditions on."""

    case: Case
    t: Unknowns
    values: np.ndarray  # (N, L) every trait of the recorded plots
    pads: np.ndarray  # (pads, L) means of the unseen plots
    problem: Problem

    def state(self) -> State:
        """A fresh state at these unknowns."""
        return self.case.pack(self.problem, self.t, self.values, self.pads)

    def completed_values(self) -> np.ndarray:
        """Values of the completed model, NaN in columns without a record."""
        return self.case.without_absent(self.case.completed().env, np.vstack([self.values, self.pads]))


#: Named scenes. A flat prior of the means has nothing to say about a column without a record, and is refused there.
SCENES = [
    (design, variant)
    for design in DESIGNS
    for variant in VARIANTS
    if not (variant.endswith("flat") and design in ("absent", "absent-two", "unseen"))
    and not (design == "means-of-plots" and variant not in ("unstructured", "diagonal", "standard"))
]


def draw_tame(rng: np.random.Generator, m: DenseModel) -> Unknowns:
    """Unknowns from priors without heavy tails in place of a model's own: its matrices are well-conditioned."""
    tame = {name: replace(getattr(m, name), family="inverse-wishart") for name in ("law_t", "law_E", "law_e")}
    means = replace(m.law_beta, kind="exchangeable", mu_sd=np.ones(len(m.law_beta.mu_sd)), tau_nu=30.0)
    return replace(m, law_beta=means, **tame).draw(rng)


@cache
def make_scene(design: str, variant: str) -> Scene:
    """Data and unknowns of a named case (`draw_tame`).

    The diagonal variant is given an identity relationship, the others one with clones.
    """
    case = make_case(DESIGNS[design], identity=variant == "diagonal", **VARIANTS[variant])  # type: ignore[arg-type]
    rng = np.random.default_rng(5)
    t = draw_tame(rng, case.model)
    values, pads = case.model.draw_values(rng, t), case.pads().draw_values(rng, t)
    return Scene(case, t, values, pads, case.problem(values))
