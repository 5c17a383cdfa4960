"""The search for the estimates: what it says while it lasts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bmtme.linalg.compile import CACHE_FOLDER
from bmtme.progress import Progress
from bmtme.results.mixed.problem import make_problem

if TYPE_CHECKING:
    import numpy as np

    from bmtme.engines.mixed.result import REML
    from bmtme.model.mixed.design import Layout

__all__ = ["announce_compilation", "find_estimates", "is_compiled"]


def is_compiled() -> bool:
    """Whether this version's code of the sparse factor lies compiled on disk."""
    return CACHE_FOLDER is not None and any(Path(CACHE_FOLDER).rglob("factor.factor_fronts*.nbi"))


def announce_compilation(bar: Progress) -> None:
    """Say that the first fit compiles, if it does."""
    if not is_compiled():
        bar.announce("compiling the sparse algebra (once after an installation, about a minute) ...")


def find_estimates(layout: Layout, progress: bool | None = None, start: np.ndarray | None = None) -> REML:
    """Fit a layout by REML.

    Parameters
    ----------
    layout : Layout
    progress : bool, optional
        A line on stderr; default where it is a terminal. That code is compiled first is said in a log, too.
    start : array, optional
        The engine's parameters, from where to search.

    Raises
    ------
    UsageError, DataError, NumericalError
    """
    from bmtme.engines.mixed.reml import fit_reml

    problem = make_problem(layout)
    bar = Progress(1, "REML", progress)
    try:
        announce_compilation(bar)
        return fit_reml(
            problem,
            start,
            progress=lambda evaluations, value: bar.write(
                f"REML: evaluation {evaluations}, log likelihood {value:.4f}"
            ),
        )
    finally:
        bar.close()
