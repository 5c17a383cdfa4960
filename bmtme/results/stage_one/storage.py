"""The folder of stage one: that of adjusted means, with further tables and pictures."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmtme.data.adjusted import write_means
from bmtme.results.folder import save_result
from bmtme.results.mixed.storage import name_file
from bmtme.results.spreadsheets import check_tables
from bmtme.results.stage_one.field import FEWEST_PAIRS

if TYPE_CHECKING:
    from bmtme.results.stage_one.result import Adjustment

__all__ = ["save_adjustment"]

#: Dots to an inch of a picture.
DPI = 130


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


def _draw(means: Adjustment, env: str, name: str, folder: Path) -> list[str]:
    """Pictures of an environment, and the names of their files."""
    import matplotlib

    # Into files alone: there may be no screen.
    matplotlib.use("Agg", force=True)
    import matplotlib.pyplot as plt

    figures = {"quantiles": means.plot_quantiles}
    if means.has_field(env):
        figures["field"] = means.plot_field
        if (means.variogram(env)["n"] >= FEWEST_PAIRS).any():
            figures["variogram"] = means.plot_variogram
    files = []
    for kind, draw in figures.items():
        figure = draw(env)
        files.append(f"{kind}-{name}.png")
        figure.savefig(folder / files[-1], dpi=DPI)
        plt.close(figure)
    return files
