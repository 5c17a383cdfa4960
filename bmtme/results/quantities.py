"""The register: one entry for everything that comes out, which all that stores, tabulates or describes it goes by.

`QUANTITIES` have draws: what the posterior stores, and what is derived from that; those that are `listed` are rows of
the summary, in this order. `SUMMARY`, `PREDICTIONS` and `SCORES` are columns of tables. Nothing else lists them: the
posterior, the summary and its notes, R-hat of a cross-validation, files, printed tables and docstrings go through
the register, so that an entry here is all that a new one needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from bmtme.model.codes import EXCHANGEABLE
from bmtme.model.scaling import Scaling
from bmtme.results.agreement import msep, pearson
from bmtme.results.notes import (
    HARDLY,
    SPREAD,
    Note,
    Values,
    first_of,
    note_absent_mean,
    note_apart,
    note_clones,
    note_likeness,
    note_prior_only,
    note_spread,
    note_unseen,
)

if TYPE_CHECKING:
    from bmtme.engines.rotated.draws import Draws
    from bmtme.engines.rotated.problem import Problem
    from bmtme.results.predictions import Cells

# --- units ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Unit:
    """What a number is in, and how it comes there from the sampler's units.

    Attributes
    ----------
    words : str
        Empty for a number without a unit.
    restore : callable
        Of values and the `Scaling` of the traits along their last dimension (of one trait: numbers).
    """

    words: str
    restore: Callable[[Any, Scaling], Any] = lambda values, scaling: values


NONE = Unit("")
VALUE = Unit("trait's", lambda values, scaling: values * scaling.scale + scaling.centre)
DIFFERENCE = Unit("trait's", lambda values, scaling: values * scaling.scale)
COVARIANCE = Unit("product of the traits'", lambda values, scaling: scaling.restore_residual(values))
GENETIC = Unit("product of the traits'", lambda values, scaling: scaling.restore_genetic(values))
#: Of what is in the user's units throughout.
GIVEN, SQUARE, OWN = Unit("trait's"), Unit("trait's, squared"), Unit("the row's")

# --- quantities with draws ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mark:
    """How `bmtme.results.information` finds the rows of a quantity that show the prior alone, beyond its own slopes.

    Attributes
    ----------
    slopes : name of the variable whose slopes along the parameters stand for those of this quantity
    pairs : quantity by which the entries off the diagonal are judged instead
    along : quantity which, where it is the prior's, takes this one along if that can be nearly anything there
    far : quantity which, where it is the prior's, takes this one along if nearly all of its prior's interval is left
    """

    slopes: str = ""
    pairs: str = ""
    along: str = ""
    far: str = ""


def always(problem: Problem) -> bool:
    """Reported by every model."""
    return True


@dataclass(frozen=True)
class Quantity:
    """Something with draws, stored or derived.

    Attributes
    ----------
    name : str
        Of the variable, and before the brackets of a row such as ``Sigma_t[Yield, ASI]``.
    dims : tuple of str
        After chain and draw. ``trait_bis`` goes with ``trait``: a symmetric matrix, listed from its diagonal on.
    unit : Unit
    meaning : str
        In words, as in ``idata.nc`` and on the page of the outputs.
    draws : callable, optional
        From one chain's `Draws`, in the sampler's units, to (draw, *dims); with a dimension ``line``, to the kept
        effects (kept, ..., J) in the eigenbasis. Without it, the quantity is derived.
    when : callable
        Whether a model (by its `Problem`) stores it. Entries of one name may differ in dims if no model stores both.
    needs, derive : tuple of Quantity; callable
        What it is derived from, and how: from arrays (..., *dims) by name, and the expected sample variance of the
        lines' effects per unit of their covariance, to (..., *dims).
    listed : bool
        Whether it has rows in the summary; entries off a diagonal that are zero in all draws have none.
    checked : bool
        Whether R-hat of a cross-validation counts it.
    range : (float, float), optional
        The least and the most that it can be, where an interval is to be judged by that.
    diagonal : bool
        Whether entries on the diagonal say something.
    notes : tuple of callables
        Of `bmtme.results.notes`, beside those on interval and convergence that every row gets.
    mark : Mark
    title, told : str
        Of its table as printed by ``bmtme fit`` (``{record}`` is a plot or a record), empty for none; beginning of
        the notes that are told below.
    """

    name: str
    dims: tuple[str, ...]
    unit: Unit
    meaning: str
    draws: Callable[[Draws], np.ndarray] | None = None
    when: Callable[[Problem], bool] = always
    needs: tuple[Quantity, ...] = ()
    derive: Callable[[Values, float], np.ndarray] | None = None
    listed: bool = True
    checked: bool = True
    range: tuple[float, float] | None = None
    diagonal: bool = True
    notes: tuple[Note, ...] = (note_prior_only, note_likeness)
    mark: Mark = field(default_factory=Mark)
    title: str = ""
    told: str = ""

    @property
    def is_effect(self) -> bool:
        """Whether it is drawn for every line, which takes much memory."""
        return "line" in self.dims


def diagonal(values: np.ndarray) -> np.ndarray:
    """(..., p) of (..., p, p)."""
    return np.asarray(np.diagonal(values, axis1=-2, axis2=-1))


def correlate(values: np.ndarray) -> np.ndarray:
    """Correlations of covariances (..., p, p)."""
    variances = diagonal(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(values / np.sqrt(variances[..., :, None] * variances[..., None, :]))


def share_genetic(values: Values, spread: float) -> np.ndarray:
    """V / (V + R_e,ll), V = c Sigma_t,ll (1 + Sigma_E,ii), with c the spread; without Sigma_E in one environment."""
    E = diagonal(values["Sigma_E"]) if "Sigma_E" in values else np.zeros(1)
    genetic = spread * diagonal(values["Sigma_t"])[..., None, :] * (1.0 + E[..., :, None])
    return np.asarray(genetic / (genetic + diagonal(values["R_e"])[..., None, :]))


def spread_interaction(chain: Draws) -> np.ndarray:
    """Sigma_E as a matrix."""
    return np.asarray(chain.s2_E[..., None] * np.eye(chain.s2_E.shape[-1]))


def has_interaction(problem: Problem) -> bool:
    """More than one environment."""
    return problem.interaction


def has_spread_means(problem: Problem) -> bool:
    """Means of the environments around one of their own."""
    return problem.means.kind == EXCHANGEABLE


BETA = Quantity(
    "beta", ("env", "trait"), VALUE, "mean of the environment", attrgetter("beta"),
    checked=False, notes=(note_absent_mean,),
)  # fmt: skip
SIGMA_T = Quantity(
    "Sigma_t", ("trait", "trait_bis"), GENETIC,
    "genetic covariance of the traits across environments, for the relationship as given", attrgetter("Sigma_t"),
    mark=Mark(pairs="genetic_correlation"),
)  # fmt: skip
R_E = Quantity(
    "R_e", ("trait", "trait_bis"), COVARIANCE, "residual covariance of the traits on one plot", attrgetter("R_e"),
    notes=(first_of(note_apart, note_prior_only), note_spread, note_likeness),
    mark=Mark(pairs="residual_correlation"), told=SPREAD,
)  # fmt: skip
SIGMA_E = Quantity(
    "Sigma_E", ("env", "env_bis"), NONE, "variance of the interaction relative to the main effect, a diagonal matrix",
    spread_interaction, has_interaction,
    notes=(first_of(note_unseen, note_prior_only), note_likeness), mark=Mark(along="R_e"),
)  # fmt: skip

QUANTITIES: tuple[Quantity, ...] = (
    BETA,
    SIGMA_T,
    R_E,
    SIGMA_E,
    Quantity(
        "mu", ("trait",), VALUE, "mean over environments, under exchangeable means", attrgetter("mu"),
        has_spread_means, listed=False,
    ),
    Quantity(
        "tau", ("trait",), DIFFERENCE, "standard deviation between environment means, under exchangeable means",
        attrgetter("tau"), has_spread_means, listed=False,
    ),
    Quantity(
        "b1", ("line", "trait"), DIFFERENCE, "genetic effect of the line across environments", attrgetter("W1"),
        listed=False,
    ),
    Quantity(
        "b2", ("env", "line", "trait"), DIFFERENCE, "genetic effect of the line in one environment beside b1",
        attrgetter("W2"), has_interaction, listed=False,
    ),
    Quantity(
        "genetic_correlation", ("trait", "trait_bis"), NONE, "correlation of Sigma_t",
        needs=(SIGMA_T,), derive=lambda values, spread: correlate(values["Sigma_t"]), range=(-1.0, 1.0),
        diagonal=False, mark=Mark(slopes="Sigma_t"), title="Genetic correlation",
    ),
    Quantity(
        "residual_correlation", ("trait", "trait_bis"), NONE, "correlation of R_e",
        needs=(R_E,), derive=lambda values, spread: correlate(values["R_e"]), range=(-1.0, 1.0),
        diagonal=False, notes=(first_of(note_apart, note_prior_only), note_likeness), mark=Mark(slopes="R_e"),
        title="Residual correlation",
    ),
    Quantity(
        "heritability", ("env", "trait"), NONE,
        "genetic share of the variance of a record among the lines of the trial",
        needs=(SIGMA_T, R_E), derive=share_genetic, range=(0.0, 1.0),
        notes=(first_of(note_clones, note_unseen, note_prior_only), note_spread, note_likeness),
        mark=Mark(along="R_e", far="Sigma_t"), title="Heritability of a {record}", told=HARDLY,
    ),
)  # fmt: skip


def choose_stored(problem: Problem) -> list[Quantity]:
    """What a model stores."""
    return [quantity for quantity in QUANTITIES if quantity.draws is not None and quantity.when(problem)]


def find_quantity(name: str, values: Values, lead: int = 2) -> Quantity:
    """The entry of this name; of several, the one for the dimensions that the values have after the first `lead`."""
    return next(
        quantity
        for quantity in QUANTITIES
        if quantity.name == name and (name not in values or values[name].ndim == lead + len(quantity.dims))
    )


# --- columns of tables ----------------------------------------------------------------------------------------------

TEXT, WHOLE, NUMBER = "text", "int64", "float64"


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes
    ----------
    name, meaning : str
    kind : str
        ``text`` or a type of numpy: that of the column, also after a file is read back.
    unit : Unit
    make : callable, optional
        From what the table is made of (`Cells` of the predictions, `Digest` of the summary's draws, a table of
        predictions and what was observed) to the column's values, in the sampler's units where the unit restores
        them. Without it the column is a key of the rows.
    hidden : bool
        Whether it says something of the mean of hidden plots, and so stands in a cross-validation only.
    """

    name: str
    kind: str
    unit: Unit
    meaning: str
    make: Callable[[Any], Any] | None = None
    hidden: bool = False

    def of(self, source: Any) -> Any:
        """What `make` makes."""
        assert self.make is not None, self.name
        return self.make(source)


def _interval_end(name: str, end: int) -> Callable[[Cells], np.ndarray]:
    return lambda cells: np.asarray(getattr(cells, name)[:, end])


SUMMARY: tuple[Column, ...] = (
    Column("mean", NUMBER, OWN, "posterior mean", lambda row: row.flat.mean()),
    Column("sd", NUMBER, OWN, "posterior standard deviation", lambda row: row.sd),
    Column("lower", NUMBER, OWN, "5% quantile: lower end of the 90% interval", lambda row: row.interval[0]),
    Column("upper", NUMBER, OWN, "95% quantile: upper end of the 90% interval", lambda row: row.interval[1]),
    Column("ess_bulk", NUMBER, NONE, "how many independent draws the mean is worth", attrgetter("ess_bulk")),
    Column(
        "ess_tail", NUMBER, NONE, "how many independent draws the ends of the interval are worth",
        attrgetter("ess_tail"),
    ),
    Column("r_hat", NUMBER, NONE, "1 if the chains agree (rank-normalised, split)", attrgetter("r_hat")),
    Column("note", TEXT, NONE, "empty if all is well", attrgetter("note")),
)  # fmt: skip

LINE = Column("line", TEXT, NONE, "name of the line")
ENV = Column("env", TEXT, NONE, "name of the environment")
TRAIT = Column("trait", TEXT, NONE, "name of the trait")
MODEL = Column("model", TEXT, NONE, "label of the model")
PARTITION = Column("partition", TEXT, NONE, "label of the partition")

PREDICTIONS: tuple[Column, ...] = (
    LINE,
    ENV,
    TRAIT,
    Column(
        "n_obs", WHOLE, NONE, "number of recorded plots of the cell; in a cross-validation, of hidden ones",
        attrgetter("n_obs"),
    ),
    Column("observed", NUMBER, GIVEN, "mean of these plots", attrgetter("observed")),
    Column(
        "mean", NUMBER, VALUE, "posterior mean of the cell's genetic value, `beta + b1 + b2`", attrgetter("expected")
    ),
    Column("sd", NUMBER, DIFFERENCE, "its posterior standard deviation", attrgetter("sd")),
    Column("lower", NUMBER, VALUE, "lower end of the 90% interval for one new plot", _interval_end("interval", 0)),
    Column("upper", NUMBER, VALUE, "upper end of it", _interval_end("interval", 1)),
    Column(
        "mean_lower", NUMBER, VALUE, "lower end of the 90% interval for the mean of `n_obs` new plots",
        _interval_end("mean_interval", 0), hidden=True,
    ),
    Column("mean_upper", NUMBER, VALUE, "upper end of it", _interval_end("mean_interval", 1), hidden=True),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Score(Column):
    """A column of the scores: how well predictions of the hidden cells of an environment and trait agree with them.

    Attributes
    ----------
    best : {"highest", "lowest"}
        Which score is the best.
    title, heading : str
        In figures and sentences; above its column of the printed comparison.
    """

    best: str
    title: str
    heading: str

    @property
    def sign(self) -> float:
        """1 if the highest is the best, else -1."""
        return 1.0 if self.best == "highest" else -1.0


SCORES: tuple[Score, ...] = (
    Score(
        name="pearson", kind=NUMBER, unit=NONE, meaning="correlation of predicted and observed values",
        make=lambda cells: pearson(cells["observed"], cells["mean"]),
        best="highest", title="Pearson correlation", heading="Pearson",
    ),
    Score(
        name="msep", kind=NUMBER, unit=SQUARE, meaning="mean squared error of prediction",
        make=lambda cells: msep(cells["observed"], cells["mean"]),
        best="lowest", title="mean squared error of prediction", heading="MSEP",
    ),
)  # fmt: skip


def list_predictions(hidden: bool = False) -> list[Column]:
    """Columns of the predictions of a fit or of hidden cells."""
    return [column for column in PREDICTIONS if hidden or not column.hidden]


def list_hidden() -> list[Column]:
    """Columns of the predictions of a cross-validation."""
    return [MODEL, PARTITION, *PREDICTIONS]


def list_scores() -> list[Column]:
    """Columns of the scores of a cross-validation."""
    return [MODEL, PARTITION, ENV, TRAIT, Column("n_test", WHOLE, NONE, "number of lines scored", len), *SCORES]


def list_comparison() -> list[Column]:
    """Columns of the summary of a cross-validation: means and errors of all scores, then ranks."""
    columns = [MODEL, ENV, TRAIT, Column("n_partitions", WHOLE, NONE, "number of partitions with a hidden value")]
    for score in SCORES:
        columns.append(Column(f"{score.name}_mean", NUMBER, score.unit, f"mean of `{score.name}` over the partitions"))
        error = "naive standard error of that mean: SD over partitions / sqrt(partitions), which is too small"
        columns.append(Column(f"{score.name}_se", NUMBER, score.unit, error))
    for score in SCORES:
        words = f"rank of the model by `{score.name}_mean`, 1 for the {score.best}"
        columns.append(Column(f"{score.name}_rank", NUMBER, NONE, words))
    return columns


def name_columns(columns: Sequence[Column]) -> list[str]:
    """Their names, in order."""
    return [column.name for column in columns]


def type_columns(columns: Sequence[Column]) -> dict[str, str]:
    """Types of the columns that are not text, as `pandas.DataFrame.astype` takes them."""
    return {column.name: column.kind for column in columns if column.kind != TEXT}
