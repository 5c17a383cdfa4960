"""Whatever a command has left in a folder, as an object."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from bmtme.arguments import file_path
from bmtme.choices import MIXED, POSTERIOR
from bmtme.data.adjusted import KIND as ADJUSTMENT
from bmtme.errors import DataError
from bmtme.results.fit import Fit
from bmtme.results.record import read_kind
from bmtme.results.storage import KIND as FIT
from bmtme.results.storage import read_fit

if TYPE_CHECKING:
    from bmtme.cv.result import CrossValidation
    from bmtme.results.mixed.posterior import MixedPosterior
    from bmtme.results.mixed.storage import MixedTables
    from bmtme.results.stage_one.result import Adjustment

    Run: TypeAlias = Fit | CrossValidation | Adjustment | MixedTables | MixedPosterior

__all__ = ["open_run"]


def open_run(folder: str | os.PathLike[str]) -> Run:
    """A fit, a cross-validation, an adjustment, or a mixed model by REML or with its posterior, from its folder.

    Raises
    ------
    DataError
        If the folder holds none of them, or a file is missing or damaged.
    """
    from bmtme.cv.result import KIND as CROSS_VALIDATION
    from bmtme.cv.result import load_cross_validation
    from bmtme.results.mixed.posterior import load_posterior
    from bmtme.results.mixed.storage import load_mixed
    from bmtme.results.stage_one.storage import load_adjustment

    path = Path(file_path(folder, "folder"))
    kind = read_kind(path)
    readers: dict[str, Callable[[Path], Run]] = {
        CROSS_VALIDATION: load_cross_validation,
        ADJUSTMENT: load_adjustment,
        MIXED: load_mixed,
        POSTERIOR: load_posterior,
    }
    if kind in readers:
        return readers[kind](path)
    if kind not in ("", FIT):
        raise DataError(
            f"{path} holds a {kind}, of which there is nothing to look at: expected the folder of 'bmtme fit', "
            "'bmtme cv', 'bmtme adjust' or 'bmtme mixed'."
        )
    return Fit(*read_fit(path))
