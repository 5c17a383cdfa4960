"""Functions of the parameters, read from a text and taken with their slopes."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bmtme.arguments import as_text, show
from bmtme.errors import UsageError
from bmtme.results.mixed.components import Finder, Named

__all__ = ["Derived", "evaluate", "evaluate_draws"]


@dataclass(frozen=True)
class Derived:
    """A function of the parameters.

    Attributes
    ----------
    expression : str
    estimate : float
    se : float
        By the delta method; NaN where a parameter stands at its bound.
    """

    expression: str
    estimate: float
    se: float

    def __str__(self) -> str:
        return f"{self.expression}: {self.estimate:.4g} (SE {self.se:.2g})"


_FUNCTIONS: dict[str, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "sqrt": (np.sqrt, lambda x: 0.5 / np.sqrt(x)),
    "log": (np.log, lambda x: 1.0 / x),
    "exp": (np.exp, np.exp),
}
_WORD = re.compile(r"[^\W\d][\w.]*")
_BRACKET = re.compile(r"\s*\[([^\]]*)\]")


def evaluate(text: str, named: Sequence[Named], estimates: np.ndarray) -> tuple[float, np.ndarray]:
    """Value of an expression, and its slopes in the engine's components.

    Parameters
    ----------
    text : str
        Numbers, parameters, + - * / ** and brackets, sqrt(), log(), exp().
    named : sequence of Named
    estimates : (r,) float array

    Returns
    -------
    value : float
    slopes : (r,) float array

    Raises
    ------
    UsageError
    """
    words, tree, used = _read(text, named)
    with np.errstate(all="ignore"):
        value, slopes = _walk(tree, used, np.asarray(estimates, dtype=float), words)
    return float(value), slopes


def evaluate_draws(text: str, named: Sequence[Named], draws: np.ndarray) -> np.ndarray:
    """Values (n,) of an expression in draws (n, r) of the engine's components.

    Raises
    ------
    UsageError
    """
    words, tree, used = _read(text, named)
    with np.errstate(all="ignore"):
        return np.array([_walk(tree, used, x, words)[0] for x in np.asarray(draws, dtype=float)])


def _read(text: str, named: Sequence[Named]) -> tuple[str, ast.expr, dict[str, int]]:
    """An expression as words and as a tree, and the places of the parameters in it."""
    words = as_text(text, "expression")
    plain, used = _replace_names(words, Finder(named))
    try:
        return words, ast.parse(plain, mode="eval").body, used
    except SyntaxError:
        raise UsageError(
            f"The expression {show(words)} cannot be read: write it as in 'gen / (gen + residual)'."
        ) from None


def _replace_names(text: str, finder: Finder) -> tuple[str, dict[str, int]]:
    """The expression with p0, p1, ... for its parameters, and their places."""
    used: dict[str, int] = {}
    made = ""
    at = 0
    while at < len(text):
        found = finder.match(text, at)
        if found is not None:
            term, end = found
            bracket = _BRACKET.match(text, end)
            named = finder.find(term, None if bracket is None else bracket[1])
            name = f"p{named.place}"
            used[name] = named.place
            made += name
            at = end if bracket is None else bracket.end()
            continue
        word = _WORD.match(text, at)
        if word is not None and word[0] not in _FUNCTIONS:
            raise UsageError(
                f"The expression {show(text)} names {word[0]!r}, which is no parameter.{finder.suggest(word[0])} There "
                f"are {finder.list_all()}, and residual where it has one variance."
            )
        number = re.match(r"[0-9.]+([eE][+-]?[0-9]+)?", text[at:])
        piece = (word or number)[0] if word or number else text[at]  # type: ignore[index]
        made += piece
        at += len(piece)
    return made, used


def _walk(node: ast.AST, used: dict[str, int], x: np.ndarray, text: str) -> tuple[float, np.ndarray]:
    """Value and slopes of a part of the expression."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return float(node.value), np.zeros(len(x))
    if isinstance(node, ast.Name) and node.id in used:
        place = used[node.id]
        return x[place], np.eye(1, len(x), place)[0]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value, slopes = _walk(node.operand, used, x, text)
        return (-value, -slopes) if isinstance(node.op, ast.USub) else (value, slopes)
    if isinstance(node, ast.BinOp):
        a, da = _walk(node.left, used, x, text)
        b, db = _walk(node.right, used, x, text)
        if isinstance(node.op, ast.Add):
            return a + b, da + db
        if isinstance(node.op, ast.Sub):
            return a - b, da - db
        if isinstance(node.op, ast.Mult):
            return a * b, a * db + b * da
        if isinstance(node.op, ast.Div):
            return np.divide(a, b), np.divide(da * b - a * db, b * b)
        if isinstance(node.op, ast.Pow) and not db.any():
            return np.power(a, b), b * np.power(a, b - 1) * da
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) == 1 and not node.keywords:
        function = _FUNCTIONS.get(node.func.id)
        if function is not None:
            a, da = _walk(node.args[0], used, x, text)
            return function[0](a), function[1](a) * da
    raise UsageError(
        f"The expression {show(text)} has a part that is not understood: there are + - * / **, brackets, sqrt(), log() "
        "and exp()."
    )
