"""The folder of stage one: that of adjusted means, with further tables and pictures."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmtme.data.adjusted import open_means, write_means
from bmtme.errors import DataError
from bmtme.results.folder import save_result
from bmtme.results.mixed.storage import name_file
from bmtme.results.spreadsheets import check_tables
from bmtme.results.stage_one.field import FEWEST_PAIRS
from bmtme.results.storage import read_table

if TYPE_CHECKING:
    from bmtme.results.stage_one.result import Adjustment

__all__ = ["TABLES", "load_adjustment", "save_adjustment"]

#: Dots to an inch of a picture.
DPI = 130
#: Tables beside the means, as of `Adjustment.tables`.
TABLES = ("candidates", "heritability", "outliers", "plots")


def save_adjustment(
    folder: str | os.PathLike[str],
    means: Adjustment,
    run: dict[str, Any],
    safe_text: bool = False,
    xlsx: bool = False,
    figures: bool = False,
) -> None:
    """Write stage one into a new folder; see `Adjustment.save`.

    Parameters
    ----------
    run : dict
        Further facts for run.json, such as the command and its files.
    """
    check_tables(safe_text, xlsx)
    save_result(folder, partial(_write, means, run, safe_text, xlsx, figures))


def _write(means: Adjustment, run: dict[str, Any], safe_text: bool, xlsx: bool, figures: bool, folder: Path) -> None:
    names: dict[str, Any] = {}
    pictures = {}
    for env in means.envs:
        name = name_file(env, names)
        names[name] = env
        pictures[env] = _draw(means, env, name, folder) if figures else []
    write_means(means, {**run, **means.record(), "pictures": pictures}, means.tables(), safe_text, xlsx, folder)


def load_adjustment(folder: Path) -> Adjustment:
    """Stage one as its folder has it, without the fits of the models.

    Raises
    ------
    DataError
        If the folder is not such a folder, holds means alone, or a file is missing or damaged.
    """
    from bmtme.results.stage_one.result import Adjustment

    means, run, columns = open_means(folder)
    lacking = [name for name in TABLES if f"{name}.csv" not in columns]
    if lacking:
        raise DataError(
            f"{folder} holds adjusted means without the plots that they are of: of 'bmtme adjust' or Adjustment.save "
            f"it would have {lacking[0]}.csv."
        )
    tables = {name: read_table(folder / f"{name}.csv", columns[f"{name}.csv"]) for name in TABLES}
    return Adjustment(
        table=means.table,
        covariances=means.covariances,
        **tables,
        fits={},
        axes=tuple(run.get("axes", ())),
        notes=tuple(run["notes"]),
    )


def _draw(means: Adjustment, env: str, name: str, folder: Path) -> list[str]:
    """Pictures of an environment, and the names of their files."""
    figures = {"quantiles": means.plot_quantiles}
    if means.has_field(env):
        figures["field"] = means.plot_field
        if (means.variogram(env)["n"] >= FEWEST_PAIRS).any():
            figures["variogram"] = means.plot_variogram
    files = []
    for kind, draw in figures.items():
        files.append(f"{kind}-{name}.png")
        draw(env).savefig(folder / files[-1], dpi=DPI)
    return files
