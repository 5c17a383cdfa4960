"""The fixed part of a model: its formula, read by formulaic, and its columns for some records."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from bmtme.arguments import as_text, show
from bmtme.errors import DataError, UsageError
from bmtme.model.mixed.plots import Factor, Plots
from bmtme.model.mixed.terms import TRAIT, UNITS
from bmtme.words import suggest

__all__ = ["Columns", "Fixed", "list_columns", "parse_fixed"]

_COLOURS = re.compile("\x1b\\[[0-9;]*m|⧛\\[[0-9;]*m⧚?")
INTERCEPT = "Intercept"
#: Names of columns that are words of Python, and in formulas stand for themselves with this behind them.
_WORDS = re.compile(r"(?<![\w.`])(yield|class|lambda|global|pass|break)(?![\w`])")
_BEHIND = "_column"
#: What formulaic's message of a syntax error shows below its first line.
_REST = re.compile(r"\s*\n.*", re.DOTALL)
#: Functions of other programs, and what is said here.
_ELSEWHERE = {
    **dict.fromkeys(("factor", "as.factor"), "C(x) makes a factor of numbers, and text is one"),
    **dict.fromkeys(("cbind", "mvbind"), "Several traits are written as in 'A + B ~ trait'"),
    **dict.fromkeys(("ns", "s", "spl", "lin", "pol"), "A spline is bs(x, df=4), a polynomial poly(x, 2)"),
    "at": "An effect of some rows only is a product with a column that marks them",
    "offset": "Subtract it from the response in the table",
}
_CALLED = re.compile(r"(?<![\w.])([^\W\d][\w.]*)\s*\(")


@dataclass(frozen=True)
class Fixed:
    """The fixed part of a model.

    Attributes
    ----------
    text : str
        The formula.
    responses : tuple of str
        The response, or one for each trait.
    names : tuple of str
        Columns that the right side names.
    """

    text: str
    responses: tuple[str, ...]
    names: tuple[str, ...]
    formula: Any = field(repr=False, compare=False)

    def __str__(self) -> str:
        return self.text

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that both sides name."""
        left = [name for term in self.formula.lhs for factor in term.factors for name in list_columns(factor)]
        return (*left, *self.names)

    @property
    def traits(self) -> tuple[str, ...]:
        """Names of the traits, where there are several."""
        return self.responses if len(self.responses) > 1 else ()


@dataclass(frozen=True, eq=False)
class Columns:
    """The design of the fixed part.

    Attributes
    ----------
    matrix : (n, p) scipy.sparse.csc_array
    names : tuple of str
        Of the columns.
    terms : dict of str to slice
        Columns of each term of the formula, in its order.
    covariates : tuple of str
        Parts of the formula that are taken as numbers.
    spec : formulaic.ModelSpec
        Makes the columns for other rows.
    """

    matrix: sp.csc_array
    names: tuple[str, ...]
    terms: dict[str, slice]
    covariates: tuple[str, ...]
    spec: Any


def parse_fixed(text: Any) -> Fixed:
    """Read the formula of the fixed part, ``"yield ~ site + C(year)"`` or with several traits ``"A + B ~ trait"``.

    Raises
    ------
    UsageError
        With the formula and the reason.
    """
    if isinstance(text, Fixed):
        return text
    words = as_text(text, "fixed")
    left, sign, _ = words.partition("~")
    if not sign or not left.strip():
        raise UsageError(
            f"The fixed formula {show(words, 300)} has no response: write it as in 'yield ~ site', or 'yield ~ 1' "
            "for a mean alone."
        )
    _refuse_functions(words)
    formula = _parse(_WORDS.sub(rf"\1{_BEHIND}", words), words)
    if not hasattr(formula, "lhs") or not hasattr(formula, "rhs"):
        raise UsageError(f"The fixed formula {show(words, 300)} has more than two sides of ~.")
    responses = tuple(decode(term) for term in formula.lhs if str(term) != "1")
    rights = formula.rhs if isinstance(formula.rhs, tuple) else (formula.rhs,)
    if len(rights) != 1 or isinstance(formula.lhs, tuple):
        raise UsageError(f"The fixed formula {show(words, 300)} has a |, which is for the residual formula.")
    names = dict.fromkeys(name for term in formula.rhs for factor in term.factors for name in list_columns(factor))
    if UNITS in names:
        raise UsageError(f"The fixed formula {show(words, 300)} names units, the plot, which is for random terms.")
    return Fixed(words, responses, tuple(names), formula)


def _refuse_functions(words: str) -> None:
    """Refuse functions that formulas do not have, before any table is read."""
    from formulaic.transforms import TRANSFORMS

    for name in _CALLED.findall(re.sub("`[^`]*`|\"[^\"]*\"|'[^']*'", "", words)):
        if name.partition(".")[0] in TRANSFORMS or hasattr(builtins, name):
            continue
        there = [function for function in TRANSFORMS if not function.startswith("_") and function != "np"]
        hint = _ELSEWHERE.get(name) or f"There are {', '.join(sorted(there))}, and those of NumPy, as in np.sqrt(x)"
        raise UsageError(
            f"The fixed formula {show(words, 300)} has a function {name}(), which there is not.{suggest(name, there)} "
            f"{hint}."
        )


def encode(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame with its columns named as formulas name them inside."""
    return frame.rename(columns={name: f"{name}{_BEHIND}" for name in frame.columns if _WORDS.fullmatch(str(name))})


def decode(name: Any) -> str:
    """A name of the formula as it was written."""
    return re.sub(rf"\b(yield|class|lambda|global|pass|break){_BEHIND}\b", r"\1", str(name))


def _parse(code: str, words: str) -> Any:
    from formulaic import Formula
    from formulaic.errors import FormulaicError

    hint = ""
    if "|" in words:
        hint = " Random terms of lme4, (1 | x), are written x in the random formula; sections are for the residual."
    try:
        # In the order of the formula: incremental tests depend on it.
        return Formula(code, _ordering="none")
    except (FormulaicError, SyntaxError) as error:
        reason = decode(_REST.sub("", _COLOURS.sub("", str(error))).strip().rstrip("."))
        raise UsageError(f"The fixed formula {show(words, 300)} cannot be read: {reason}.{hint}") from None


def list_columns(factor: Any) -> list[str]:
    """Columns that a factor of a formula names."""
    method, text = str(getattr(factor.eval_method, "value", factor.eval_method)), decode(factor.expr)
    if method == "literal":
        return []
    if method == "lookup":
        return [text]
    quoted = re.findall("`([^`]+)`", text)
    bare = re.sub("`[^`]+`", "0", factor.expr)
    try:
        tree = ast.parse(bare, mode="eval")
    except SyntaxError:
        return quoted
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    calls = {id(inner) for node in ast.walk(tree) if id(node) in called for inner in ast.walk(node)}
    found = [decode(node.id) for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in calls]
    return [*quoted, *found]


def read_responses(fixed: Fixed, plots: Plots) -> np.ndarray:
    """Values (n, traits) of the response, NaN where there is none.

    Raises
    ------
    DataError
    """
    columns = []
    for term, text in zip([term for term in fixed.formula.lhs if str(term) != "1"], fixed.responses, strict=True):
        names = [name for factor in term.factors for name in list_columns(factor)]
        frame = pd.DataFrame({name: plots.numbers(name, "response") for name in names})
        if len(names) == 1 and text == names[0]:
            columns.append(frame[names[0]].to_numpy())
            continue
        values = _materialise(fixed, f"0 + {term}", frame).toarray()
        if values.shape[1] != 1:
            raise UsageError(f"The response {text!r} is {values.shape[1]} columns: a trait is one.")
        columns.append(values[:, 0])
    return np.column_stack(columns)


def _materialise(fixed: Fixed, formula: Any, frame: pd.DataFrame) -> Any:
    """Columns of a formula, sparse."""
    from formulaic import Formula
    from formulaic.errors import FormulaicError

    made = Formula(formula) if isinstance(formula, str) else formula
    try:
        with np.errstate(all="ignore"):
            return made.get_model_matrix(encode(frame), na_action="ignore", output="sparse", context={})
    except (FormulaicError, ValueError, TypeError, ArithmeticError) as error:
        reason = decode(_REST.sub("", _COLOURS.sub("", str(error))).strip().rstrip("."))
        hint = " Within brackets a power is **, as in I(x**2)." if re.search(r"\([^()]*\^", fixed.text) else ""
        raise DataError(f"The fixed formula {show(fixed.text, 300)} cannot be computed: {reason}.{hint}") from None


def make_frame(fixed: Fixed, plots: Plots, rows: np.ndarray, trait: Factor | None) -> pd.DataFrame:
    """What the formula needs of some rows: numbers, and texts as categories.

    Parameters
    ----------
    rows : (n,) int array
        Row of the table of each record.
    trait : Factor, optional
        Of each record, where there are several traits.

    Raises
    ------
    DataError
        For a column that is not there, or is missing in one of the rows.
    """
    made: dict[str, Any] = {}
    for name in fixed.names:
        if trait is not None and name == TRAIT:
            made[name] = as_category(trait.codes, trait.levels)
            continue
        plots.check_column(name, "fixed")
        gaps = np.zeros(len(plots), dtype=bool)
        if plots.is_numeric(name):
            values = plots.numbers(name, "covariate")
            gaps[rows] = np.isnan(values[rows])
            plots.refuse_gaps(gaps, name, "covariate", "give it a value, or leave these rows out")
            values = values[rows]
            whole = bool((values == np.round(values)).all() and (np.abs(values) < 2**53).all())
            made[name] = values.astype(np.int64) if whole else values
        else:
            factor = plots.factor(name, "factor")
            gaps[rows] = factor.codes[rows] < 0
            plots.refuse_gaps(gaps, name, "factor", "give it a name, or leave these rows out")
            some = order_levels(factor.take(rows), plots.table.frame[name])
            made[name] = as_category(some.codes, some.levels)
    return pd.DataFrame(made, index=pd.RangeIndex(len(rows)))


def as_category(codes: np.ndarray, levels: Sequence[str]) -> pd.Categorical[Any]:
    """A column of names with its levels in order."""
    return pd.Categorical.from_codes(codes.astype(np.int64), pd.Index(list(levels), dtype=object))


def order_levels(factor: Factor, column: pd.Series) -> Factor:
    """The factor with its levels in the order of a column that says one (of type category): the first is the base."""
    if not isinstance(column.dtype, pd.CategoricalDtype):
        return factor
    given = [str(level).strip() for level in column.cat.categories]
    levels = tuple(level for level in given if level in factor.levels)
    if len(levels) != len(factor.levels):
        return factor
    place = np.array([levels.index(level) for level in factor.levels], dtype=np.int64)
    return Factor(place[factor.codes], levels)


def name_term(term: Any) -> str:
    """A term of the formula by name."""
    return INTERCEPT if str(term) == "1" else decode(term)


def make_columns(fixed: Fixed, plots: Plots, rows: np.ndarray, trait: Factor | None) -> Columns:
    """The columns of the fixed part for some records.

    Raises
    ------
    DataError
    """
    frame = make_frame(fixed, plots, rows, trait)
    made = _materialise(fixed, fixed.formula.rhs, frame)
    matrix = sp.csc_array(made)
    if matrix.shape[0] != len(rows):  # a formula of constants alone
        matrix = sp.csc_array(np.ones((len(rows), matrix.shape[1])))
    bad = ~np.isfinite(matrix.data)
    spec = made.model_spec
    names = tuple(map(decode, spec.column_names))
    if bad.any():
        entry = int(np.flatnonzero(bad)[0])
        column = int(np.searchsorted(matrix.indptr, entry, side="right")) - 1
        row = plots.table.row(int(rows[matrix.indices[entry]]))
        raise DataError(f"The fixed formula {show(fixed.text, 300)} has no finite value of {names[column]!r} in {row}.")
    terms = {name_term(term): part for term, part in spec.term_slices.items()}
    kinds = {decode(factor): str(getattr(kind, "value", kind)) for factor, (kind, _) in spec.encoder_state.items()}
    covariates = tuple(factor for factor, kind in kinds.items() if kind == "numerical")
    return Columns(matrix, names, terms, covariates, spec)
