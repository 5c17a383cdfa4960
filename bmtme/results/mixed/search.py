"""The search for the estimates: what it says while it lasts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bmtme.errors import UsageError
from bmtme.linalg.compile import CACHE_FOLDER
from bmtme.memory import measure_free_memory, show_bytes
from bmtme.progress import Progress
from bmtme.results.mixed.problem import make_problem

if TYPE_CHECKING:
    import numpy as np

    from bmtme.engines.mixed.equations import Equations
    from bmtme.engines.mixed.reml import Climb
    from bmtme.engines.mixed.result import REML
    from bmtme.model.mixed.design import Layout

__all__ = ["announce_compilation", "describe_size", "find_estimates", "is_compiled"]

#: Bytes of equations from which their size is said in a log, too.
LARGE = 2**29


def is_compiled() -> bool:
    """Whether this version's code of the sparse factor lies compiled on disk."""
    return CACHE_FOLDER is not None and any(Path(CACHE_FOLDER).rglob("factor.factor_fronts*.nbi"))


def announce_compilation(bar: Progress) -> None:
    """Say that the first fit compiles, if it does."""
    if not is_compiled():
        bar.announce("compiling the sparse algebra (once after an installation, about a minute) ...")


def describe_size(equations: Equations) -> str:
    """How large equations are, in words."""
    return (
        f"{equations.n:,} equations, {equations.factor.fill:,} entries in their factor, about "
        f"{show_bytes(equations.memory)} of memory"
    )


def refuse_large(equations: Equations) -> None:
    """Refuse equations that would not fit into the memory that is free.

    Raises
    ------
    UsageError
        With what to change.
    """
    free = measure_free_memory()
    if equations.memory > free:
        raise UsageError(
            f"This model has {describe_size(equations)}, of which {show_bytes(free)} are free. Give a relationship as "
            "a pedigree, whose inverse is sparse, and in it only individuals with records and their ancestors; make "
            "factors with thousands of levels random that are fixed; leave out terms; or take a machine, or a limit, "
            "with more memory."
        )


def find_estimates(
    layout: Layout,
    progress: bool | None = None,
    start: np.ndarray | None = None,
    begin: Callable[[Equations], None] | None = None,
    recall: Callable[[Callable[[], Climb]], Climb] = lambda search: search(),
) -> REML:
    """Fit a layout by REML.

    Parameters
    ----------
    layout : Layout
    progress : bool, optional
        A line on stderr; default where it is a terminal. That code is compiled first, and how large large equations
        are, is said in a log, too.
    start : array, optional
        The engine's parameters, from where to search.
    begin : function, optional
        Told the equations, once all has been checked and before they are factored.
    recall : function, optional
        As of `bmtme.engines.mixed.reml.fit_reml`.

    Raises
    ------
    UsageError
        Also where the equations would not fit into the memory that is free.
    DataError, NumericalError
    """
    from bmtme.engines.mixed.reml import fit_reml

    problem = make_problem(layout)
    bar = Progress(1, "REML", progress)

    def check(equations: Equations) -> None:
        refuse_large(equations)
        if begin is not None:
            begin(equations)
        say = bar.announce if equations.memory >= LARGE else bar.write
        say(f"REML: {describe_size(equations)}")

    try:
        announce_compilation(bar)
        return fit_reml(
            problem,
            start,
            begin=check,
            recall=recall,
            progress=lambda evaluations, value: bar.write(
                f"REML: evaluation {evaluations}, log likelihood {value:.4f}"
            ),
        )
    finally:
        bar.close()
