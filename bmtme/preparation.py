"""Before a sampler runs: lines matched and laid out, G decomposed, data and priors scaled."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal
from weakref import WeakValueDictionary

import numpy as np

from bmtme.checkup.constants import refuse_constants
from bmtme.checkup.line_effect import describe_evening, describe_obstacle, describe_weakness
from bmtme.checkup.precision import NO_EFFECTS
from bmtme.data.covariances import take_covariances
from bmtme.data.effects import scale_covariate
from bmtme.data.order import sort_names, sort_trial
from bmtme.data.relationship.matrix import Relationship, match_lines
from bmtme.data.trial import Trial, as_trial
from bmtme.engines.rotated.observed import Observed
from bmtme.engines.rotated.problem import MeanPrior, Problem, build_problem
from bmtme.errors import DataError, UsageError
from bmtme.memory import measure_memory
from bmtme.model.codes import FLAT
from bmtme.model.eigenbasis import Eigenbasis, decompose_relationship
from bmtme.model.errors import Errors, find_dependence, share_covariances, share_errors
from bmtme.model.factors import Factor, find_blocks, find_covariate, find_replicates, refuse_slopes, settle_replicates
from bmtme.model.layout import Layout, lay_out
from bmtme.model.scaling import (
    MEAN_KINDS,
    PAPER_NU,
    PAPER_SCALE,
    TAU_NU,
    Scaling,
    measure_traits,
    scale_priors,
)
from bmtme.model.structure import BMTME
from bmtme.words import list_names

#: From a relationship, the lines with a record and their plot multiples.
Decompose = Callable[[Relationship, tuple[str, ...], np.ndarray], Eigenbasis]
#: Of the memory, for decompositions that nobody uses at the moment.
KEPT_SHARE = 0.1


@dataclass(frozen=True)
class Prepared:
    """A trial matched to its relationship and laid out for the sampler; arrays cover records with a value.

    Lines, environments and records are in computing order (see `bmtme.data.order`) but for what `given` holds; the
    way back to the order in which results are shown is `shown_envs`, `shown_lines`, `shown_records`.
    """

    trial: Trial  # less the lines dropped
    relationship: Relationship  # as given
    dropped: tuple[str, ...]
    lines: tuple[str, ...]  # with a record
    values: np.ndarray  # (N, L) of the records with a value, user's units
    layout: Layout
    basis: Eigenbasis
    given: Trial  # less the lines dropped, in the order of the file
    records: np.ndarray  # (N,) places of the records in the trial given
    factors: tuple[Factor, ...] = ()  # of the records, that have effects in a model: see `lay_model`
    errors: Errors | None = None  # of the records, known ones, user's units

    @property
    def observed(self) -> np.ndarray:
        """(N, L) whether a value was recorded."""
        return ~np.isnan(self.values)

    @property
    def shown_envs(self) -> np.ndarray:
        """(I,) places, in computing order, of the environments as they are shown."""
        return find_places(self.given.envs, self.trial.envs)

    @property
    def shown_lines(self) -> np.ndarray:
        """(J,) places among `lines` of the lines with a record as they are shown."""
        recorded = set(self.lines)
        return find_places([line for line in self.given.lines if line in recorded], self.lines)

    @property
    def shown_records(self) -> np.ndarray:
        """(N,) places, in computing order, of the records as they are shown."""
        return np.argsort(self.records)


def find_places(names: Sequence[str], among: Sequence[str]) -> np.ndarray:
    """Where each of the names stands among others."""
    place = {name: position for position, name in enumerate(among)}
    return np.array([place[name] for name in names], dtype=np.int64)


def decompose_lines(relationship: Relationship, lines: tuple[str, ...], multiples: np.ndarray) -> Eigenbasis:
    """The decomposition of the relationship among some lines."""
    if relationship.is_identity:
        return decompose_relationship(np.empty((len(lines), 0)), multiples, True, False)
    index, matrix = relationship.index(lines), relationship.matrix
    as_given = np.array_equal(index, np.arange(len(matrix)))
    if not as_given:  # thousands of lines: no copy without need, and none of the copy
        matrix = matrix[np.ix_(index, index)]
    return decompose_relationship(matrix, multiples, False, not as_given)


class DecompositionCache:
    """Decompositions of one relationship by what they depend on: the lines with a record, and their plot multiples.

    Training parts of the same lines share one. The last ones used are kept, as many as fit into a share of the memory;
    others live as long as somebody uses them. Where a partition hides whole lines, theirs is made from scratch: taking
    a row and a column off a decomposition costs a product of J x J matrices for each, more than a new one from a
    handful of lines on.
    """

    def __init__(self) -> None:
        self._last: OrderedDict[tuple[Any, ...], Eigenbasis] = OrderedDict()
        self._alive: WeakValueDictionary[tuple[Any, ...], Eigenbasis] = WeakValueDictionary()
        self._locks: dict[tuple[Any, ...], threading.Lock] = {}
        self._lock = threading.Lock()

    def __call__(self, relationship: Relationship, lines: tuple[str, ...], multiples: np.ndarray) -> Eigenbasis:
        key = (lines, multiples.tobytes())
        with self._lock:
            own = self._locks.setdefault(key, threading.Lock())
        with own:  # one is made once, and others at the same time
            basis = self._alive.get(key)
            if basis is None:
                basis = decompose_lines(relationship, lines, multiples)
        with self._lock:
            self._alive[key] = self._last[key] = basis
            self._last.move_to_end(key)
            while len(self._last) > max(1, int(KEPT_SHARE * measure_memory() / (8 * len(lines) ** 2))):
                self._last.popitem(last=False)
        return basis


def stand_in(relationship: Relationship, lines: tuple[str, ...], multiples: np.ndarray) -> Eigenbasis:
    """In place of a decomposition where nothing but its scale is asked for: whether a model can be fitted at all."""
    if relationship.is_identity:
        return decompose_lines(relationship, lines, multiples)
    scale = float(np.mean(relationship.matrix.diagonal()[relationship.index(lines)]))
    return Eigenbasis(None, np.ones(len(lines)), len(lines), scale, multiples)


def prepare(
    trial: Trial,
    relationship: Relationship,
    unrelated: Literal["error", "drop"] = "error",
    decompose: Decompose = decompose_lines,
) -> Prepared:
    """Match lines by name, find what is recorded, lay the records out and decompose the relationship.

    decompose : stands in for `decompose_lines` where the caller keeps decompositions

    Raises
    ------
    DataError
        For lines without a relationship, a trait without any value or without variation within an environment, fewer
        than two lines with a record, or a relationship that is not positive semi-definite.
    """
    trial = as_trial(trial)
    if not isinstance(relationship, Relationship):
        raise UsageError(
            "expected a Relationship (bmtme.read_relationship or bmtme.Relationship), got "
            f"{type(relationship).__name__}."
        )
    given, dropped = match_lines(trial, relationship, unrelated)
    trial, places = sort_trial(given)
    observed = ~np.isnan(trial.values)
    for l, trait in enumerate(trial.traits):
        if not observed[:, l].any():
            raise DataError(f"trait {trait!r} has no value: leave it out or check its column.")
    refuse_constants(trial)
    records = np.flatnonzero(observed.any(axis=1))
    with_record, line_of = np.unique(trial.line_index[records], return_inverse=True)
    if len(with_record) < 2:
        raise DataError(f"only {len(with_record)} line has records; at least two are needed.")
    lines = tuple(trial.lines[j] for j in with_record)
    plots = None if trial.n_plots is None else trial.n_plots[records]
    errors = share_known(trial, records)
    uncertain = None if errors is None else errors.uncertain
    where = line_of, trial.env_index[records], len(lines), len(trial.envs)
    layout = lay_out(observed[records], *where, rec_plots=plots, uncertain=uncertain)
    basis = decompose(relationship, lines, layout.multiples)
    values = trial.values[records]
    return Prepared(trial, relationship, dropped, lines, values, layout, basis, given, places[records], (), errors)


def share_known(trial: Trial, records: np.ndarray) -> Errors | None:
    """Known errors of some records; None where there are none, or where nothing tells how those of traits correlate."""
    env = trial.env_index[records]
    if trial.error_covariances is not None:
        covariances = take_covariances(trial.error_covariances, trial.envs, trial.env_index, records)
        given = covariances, ~np.isnan(trial.values[records]), env, trial.envs
        return None if find_dependence(*given) else share_covariances(*given)
    if trial.se is None or (trial.se_correlation is None and len(trial.traits) > 1):
        return None
    if not trial.has_se.all():
        return None
    correlation = np.eye(1) if trial.se_correlation is None else trial.se_correlation
    return share_errors(trial.se[records], correlation, env, len(trial.envs))


def lay_level(prepared: Prepared, model: BMTME, decompose: Decompose = decompose_lines) -> Prepared:
    """The same laid out without plot multiples, where the model has a line effect, which needs that."""
    layout = prepared.layout
    if not model.line_effect or np.all(layout.multiples == 1.0):
        return prepared
    J, I = layout.n_line, len(layout.recorded)
    where = layout.rec_line, layout.rec_env, J, I
    uncertain = None if prepared.errors is None else prepared.errors.uncertain
    layout = lay_out(prepared.observed, *where, even=True, rec_plots=layout.rec_plots, uncertain=uncertain)
    return replace(prepared, layout=layout, basis=decompose(prepared.relationship, prepared.lines, layout.multiples))


def lay_model(prepared: Prepared, model: BMTME, decompose: Decompose = decompose_lines) -> Prepared:
    """The same laid out as a model needs it, with the factors of the records that have effects in it.

    Raises
    ------
    UsageError
        Where effects of replicates are asked for that the records cannot tell.
    DataError
        Where they do not tell the slope of a covariate.
    """
    trial, layout = prepared.given, prepared.layout
    reps = None if trial.replicates is None else [trial.replicates[n] for n in prepared.records]
    where = layout.rec_line, layout.rec_env, prepared.observed
    kind = model.rep_effect
    if trial.se is not None:
        if kind in ("fixed", "random"):
            raise UsageError(
                f"rep_effect={kind!r} does not go with standard errors (se): records that have some are adjusted "
                "means, from which effects of replicates are taken. Leave rep_effect out, or give the plots themselves."
            )
        kind = "none"
    if kind in ("fixed", "random") and trial.reps is not None and reps is None:
        raise UsageError(
            f"rep_effect={kind!r} does not go with blocks that are the replicates themselves: leave rep_effect out, or "
            "name that column as rep= alone."
        )
    found = find_replicates(kind, reps, *where, prepared.trial.envs)
    blocks = [
        find_blocks(name, [labels[n] for n in prepared.records], *where[1:], len(layout.recorded))
        for name, labels in trial.blocks.items()
    ]
    if found is not None and blocks:
        found = settle_replicates(model.rep_effect, found, blocks, prepared.trial.envs)
    slopes = [lay_covariate(prepared, name) for name in trial.covariates]
    factors = (*blocks, *slopes) if found is None else (found, *blocks, *slopes)
    refuse_slopes(slopes, layout.rec_env, prepared.observed, prepared.trial.traits)
    return replace(lay_level(prepared, model, decompose), factors=factors)


def lay_covariate(prepared: Prepared, name: str) -> Factor:
    """A covariate of the records, centred within the environments of the trial, in its standard deviations there."""
    trial, records = prepared.given, prepared.records
    used = np.isin(np.arange(trial.n_records), records)
    values, unit = scale_covariate(trial.covariates[name], trial.env_index, used)
    envs = prepared.trial.envs
    return find_covariate(name, values[records], unit, prepared.layout.rec_env, prepared.observed, envs)


def count_records(prepared: Prepared) -> np.ndarray:
    """(J, L) records of each line and trait."""
    counts = np.zeros((len(prepared.lines), len(prepared.trial.traits)), np.int64)
    np.add.at(counts, prepared.layout.rec_line, prepared.observed)
    return counts


def describe_line_effect(prepared: Prepared, model: BMTME) -> list[str]:
    """Cautions about a line effect in these data, as sentences; none of a model without.

    prepared : laid out as without one
    """
    if not model.line_effect:
        return []
    plots = np.zeros((len(prepared.lines), len(prepared.trial.envs)), np.int64)
    layout = prepared.layout
    np.add.at(plots, (layout.rec_line, layout.rec_env), layout.rec_plots.astype(np.int64))
    shares = prepared.layout.imputed_share, lay_level(prepared, model, stand_in).layout.imputed_share
    texts = (
        describe_weakness(prepared.trial.traits, count_records(prepared)),
        describe_evening(prepared.lines, prepared.trial.envs, plots, *shares),
    )
    return [text for text in texts if text]


def refuse_model(prepared: Prepared, model: BMTME) -> None:
    """Refuse a model that these records cannot serve.

    prepared : perhaps with a `stand_in`

    Raises
    ------
    UsageError, DataError
    """
    trial, recorded = prepared.trial, prepared.layout.recorded
    refuse_errors(trial)
    if model.line_effect:
        why = describe_obstacle(prepared.relationship, prepared.lines, trial.traits, count_records(prepared))
        if why:
            raise UsageError(why)
    if choose_means(prepared, model) == FLAT and not recorded.all():
        absent = [f"{trial.envs[i]} x {trial.traits[l]}" for i, l in np.argwhere(~recorded)]
        raise DataError(
            f"means='flat' cannot serve environment x trait columns without any record ({list_names(absent)}): their "
            "means would be anything. Use means='exchangeable', or leave these environments or traits out."
        )
    model.structures[0].check(recorded, trial.envs, trial.traits)


def refuse_errors(trial: Trial) -> None:
    """Refuse standard errors beside blocks or covariates, and those of several traits that do not suffice.

    Raises
    ------
    UsageError
    DataError
        If errors of several traits follow from each other.
    """
    if trial.se is None:
        return
    if trial.blocks or trial.covariates:
        raise UsageError(NO_EFFECTS)
    if trial.error_covariances is not None:
        seen = ~np.isnan(trial.values)
        if dependent := find_dependence(trial.error_covariances, seen, trial.env_index, trial.envs):
            raise DataError(
                f"The errors of the adjusted means of environment {dependent[0]!r} are linearly dependent between the "
                f"traits {list_names(trial.traits)}: some follow from others exactly. Where a trait is made of others, "
                "leave it out, or fit one trait at a time with bmtme.SingleTrait (in the shell --model single)."
            )
        return
    if len(trial.traits) == 1:
        return
    lacking = [trait for trait, there in zip(trial.traits, trial.has_se, strict=True) if not there]
    if lacking:
        raise UsageError(
            f"the traits {list_names(lacking)} have no standard errors and others have: name a column for each in se=, "
            "or fit one trait at a time with bmtme.SingleTrait (in the shell --model single)."
        )
    if trial.se_correlation is None:
        raise UsageError(
            "standard errors (se) of several traits need se_correlation= (in the shell --se-correlation), the "
            "correlation of the errors of a record's traits, as a joint analysis of the plots gives it: errors from "
            "the same plots correlate, and without it that would count as genetic or residual correlation. Or fit one "
            "trait at a time with bmtme.SingleTrait (in the shell --model single)."
        )


def choose_means(prepared: Prepared, model: BMTME) -> int:
    """Kind of the prior of the means: with one environment there is nothing to learn from others."""
    return FLAT if len(prepared.trial.envs) == 1 else MEAN_KINDS[model.means]


def build(prepared: Prepared, model: BMTME) -> tuple[Problem, Scaling]:
    """Scale the data and the priors, and assemble the sampler's constants.

    prepared : laid out for the model (`lay_model`)
    """
    trial = prepared.trial
    laid = len(prepared.factors) >= len(trial.blocks) + len(trial.covariates) + (
        model.rep_effect not in ("auto", "none")
    )
    assert laid, "not laid out for effects of replicates and blocks"
    refuse_model(prepared, model)
    centre, scale = measure_traits(prepared.values, trial.traits, pooled=model.units == "raw")
    scaling = Scaling(centre, scale, prepared.basis.scale)
    # A matrix without names is in the order of the environments as given.
    prior_t, prior_E, prior_e = scale_priors(model, trial.traits, prepared.given.envs, scaling)
    envs = sort_names(prepared.given.envs)
    matrix = np.ascontiguousarray(prior_E.matrix[np.ix_(envs, envs)])
    prior_E = prior_E._replace(scale=prior_E.scale[envs], matrix=matrix)
    L = len(trial.traits)
    kind = choose_means(prepared, model)
    means = MeanPrior(kind, np.zeros(L), np.zeros(L), TAU_NU, np.ones(L), scale, centre, PAPER_NU, PAPER_SCALE)
    values = (prepared.values - centre) / scale
    inner = choose_inner(prepared.layout.imputed_share)
    genetic, residual = model.structures
    problem = build_problem(
        prepared.layout,
        prepared.basis,
        values,
        prior_t,
        prior_E,
        prior_e,
        means,
        inner,
        genetic,
        residual,
        model.line_effect,
        prepared.factors,
        errors=None if prepared.errors is None else prepared.errors.rescale(scale),
    )
    return problem, scaling


def observe(prepared: Prepared, scaling: Scaling) -> Observed:
    """The records in scaled units."""
    values = (prepared.values - scaling.centre) / scaling.scale
    layout = prepared.layout
    where = layout.rec_line, layout.rec_env
    return Observed(values, *where, prepared.basis, prepared.factors, layout.rec_plots)


def choose_inner(imputed_share: float) -> int:
    """Augmentation sweeps (means and effects, then imputation) for each move of the covariances.

    What is imputed from the current effects, and the effects from it, mix slowly where much is missing and the
    residual variance is small; repeating these two steps costs less than repeating the whole sweep.
    """
    return 1 if imputed_share < 0.25 else 2 if imputed_share < 0.4 else 4
