"""The best lines of a fit at the end of ``bmtme fit``: a few for each trait, and what is known of them."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bmtme.columns import MOST_ROWS, align, fixed
from bmtme.decisions.ranking import rank_traits
from bmtme.report.ranking import NEW, choose_decimals
from bmtme.words import some_names

if TYPE_CHECKING:
    import pandas as pd

    from bmtme.results.fit import Fit

__all__ = ["count_draws", "describe_best", "rank_best"]

#: Lines of each trait.
MOST = 5
#: Bytes that the joint draws of all lines may take for this; fewer than so many draws say nothing of ranks.
BUDGET, FEWEST_DRAWS = 2**28, 100


def rank_best(fit: Fit) -> dict[str, pd.DataFrame]:
    """`Fit.ranking` of each trait, high values wanted; empty where effects were not kept, or of too many lines."""
    draws = count_draws(fit)
    if not draws or fit._predictions is None:
        return {}
    return rank_traits(fit, min(MOST, fit._predictions["line"].nunique()), draws)


def count_draws(fit: Fit) -> int:
    """Joint draws of all lines that a ranking may take; none where effects were not kept, or of too many lines."""
    if fit._predictions is None:
        return 0
    sizes, lines = fit._groups["posterior"].sizes, fit._predictions["line"].nunique()
    draws = min(1000, BUDGET // (8 * lines * sizes["env"] * sizes["trait"]))
    there = sizes["chain"] * sizes["draw"]
    return int(draws) if draws >= min(FEWEST_DRAWS, there) else 0


def describe_best(
    tables: Mapping[str, pd.DataFrame], recorded: Collection[str], reliable: bool, width: int = 80
) -> str:
    """The first lines of each trait as text.

    Parameters
    ----------
    tables : as of `rank_best`
    recorded : names of the lines with a record
    reliable : whether the chains can be leaned on
    width : columns of the terminal
    """
    known, rows = set(recorded), list[list[str]]()
    about: Any = next(iter(tables.values())).attrs
    for trait, table in tables.items():
        numbers = table[["value", "lower", "upper"]].to_numpy()
        decimals = choose_decimals(float(np.median(numbers[:, 2] - numbers[:, 1])))
        size = len(fixed(numbers[:, 2].max(), decimals))
        row: Any
        for n, row in enumerate(table.head(MOST).itertuples()):
            value, low, high = (fixed(number, decimals) for number in numbers[n])
            rows.append([
                "" if n else trait, row.line + ("" if row.line in known else NEW),
                value, f"{low:>{size}} to {high:>{size}}",
                "-" if np.isnan(row.reliability) else fixed(row.reliability, 2), f"{row.rank_lower}-{row.rank_upper}",
                fixed(row.p_top, 2),
            ])  # fmt: skip
    header = ["trait", "line", "value", "90% interval", "reliab.", "rank 90%", f"P(top {about['top']})"]
    envs = list(about["env"])
    where = some_names(envs) if len(envs) == 1 else f"mean over {some_names(envs)}"
    title = f"Highest lines, {where}" + ("" if reliable else " (the chains do not suffice: do not lean on this yet)")
    new = f"{NEW} no record: known through relatives. " if any(NEW in row[1] for row in rows) else ""
    lines = textwrap.wrap(title, width, break_on_hyphens=False, break_long_words=False)
    lines.append(align(rows[:MOST_ROWS], header, left=2, width=width))
    note = (
        f"{new}'bmtme rank' ranks all lines, also for low values, in some environments, by an index, or beside a check."
    )
    return "\n".join([*lines, *textwrap.wrap(note, width, break_on_hyphens=False)])
