"""A ranking as a breeder reads it: the best lines, how sure that is, and where the check stands."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd

from bmtme.columns import MOST_ROWS, align, fixed, label_facts
from bmtme.words import count_noun, some_names

__all__ = ["describe_ranking"]

#: Rows at least, where there are so many lines.
FEWEST_ROWS = 10
#: Behind the name of a line without a record.
NEW = "*"


def describe_ranking(
    table: pd.DataFrame, recorded: Collection[str], width: int = 80, response: pd.DataFrame | None = None
) -> str:
    """The table of `Fit.ranking` or `Fit.index` as text.

    Parameters
    ----------
    table : DataFrame
        As it came: what it is of stands in its ``attrs``.
    recorded : names of the lines with a record
    width : int
        Columns of the terminal.
    response : DataFrame, optional
        Of `Fit.response` to the selection of the best.
    """
    about, known = table.attrs, set(recorded)
    k, check = about["top"], about["check"]
    parts = [label_facts(list_facts(table, known), width), tabulate_lines(table, known, width)]
    notes = []
    left = len(table) - min(len(table), count_rows(len(table), k))
    if left:
        notes.append(f"{count_noun(left, 'line')} below are not shown.")
    new = any(line not in known for line in table["line"])
    if new:
        notes.append(f"{NEW} no record: known through relatives.")
    notes.append(
        "90% intervals of value and rank; reliability: squared correlation with the true deviation from the mean of "
        f"the trial's lines, as the model expects; P(top {k}): to be among the best {k}."
    )
    if check is not None:
        notes.append(f"P(> check): to be better than {check}.")
    parts.append("\n".join(textwrap.wrap(" ".join(notes), width, break_on_hyphens=False)))
    if response is not None:
        parts.append(describe_response(response, k, width))
    return "\n\n".join(parts)


def count_rows(n: int, k: int) -> int:
    """Lines that are shown."""
    return min(n, max(FEWEST_ROWS, k), MOST_ROWS)


def list_facts(table: pd.DataFrame, known: set[str]) -> list[tuple[str, str]]:
    """What is ranked, where, and among which lines; as (label, text)."""
    about = table.attrs
    if "trait" in about:
        of = ("trait", f"{about['trait']}, {about['best']} values wanted")
    else:
        of = ("index", describe_weights(about["weights"]))
    new = sum(line not in known for line in table["line"])
    among = count_noun(len(table), "line")
    among += f", {new:,} of them without a record" if new else ", all with records"
    facts = [of, ("environments", describe_target(about["env"])), ("candidates", among)]
    if about["check"] is not None:
        facts.append(("check", about["check"]))
    return facts


def describe_target(shares: dict[str, float]) -> str:
    """Target environments with their weights."""
    where = some_names(list(shares))
    if len(shares) == 1:
        return where
    alike = np.ptp(list(shares.values())) < 1e-12
    return f"mean over {where}" if alike else ", ".join(f"{env} {share:.2g}" for env, share in shares.items())


def describe_weights(weights: dict[str, float]) -> str:
    """An index as a sum."""
    text = ""
    for trait, weight in weights.items():
        sign = "-" if weight < 0 else "+"
        text += (
            f" {sign} {abs(weight):.4g} {trait}" if text else f"{'-' if weight < 0 else ''}{abs(weight):.4g} {trait}"
        )
    return text


def tabulate_lines(table: pd.DataFrame, known: set[str], width: int) -> str:
    """The best lines, and the check where it is further down."""
    about = table.attrs
    check = about["check"]
    numbers = table[["value", "lower", "upper"]].to_numpy()
    decimals = choose_decimals(float(np.median(numbers[:, 2] - numbers[:, 1])))
    header = ["", "line", "value", "90% interval", "reliab.", "rank 90%", f"P(top {about['top']})"]
    header += ["P(> check)"] if check is not None else []
    shown = list(range(count_rows(len(table), about["top"])))
    names = table["line"].tolist()
    if check in names and names.index(check) not in shown:
        shown.append(names.index(check))
    rows = []
    for n in shown:
        row: Any = table.iloc[n]
        value, low, high = (fixed(x, decimals) for x in numbers[n])
        size = len(fixed(numbers[:, 2].max(), decimals))
        cells = [
            str(n + 1), names[n] + ("" if names[n] in known else NEW), value, f"{low:>{size}} to {high:>{size}}",
            "-" if np.isnan(row["reliability"]) else fixed(row["reliability"], 2),
            f"{row['rank_lower']}-{row['rank_upper']}", fixed(row["p_top"], 2),
        ]  # fmt: skip
        if check is not None:
            cells.append("check" if names[n] == check else fixed(row["p_above_check"], 2))
        rows.append(cells)
    places = max(len(row[0]) for row in rows)
    for row in rows:
        row[0] = row[0].rjust(places)
    return align(rows, header, left=2, width=width)


def choose_decimals(spread: float) -> int:
    """Three digits of an interval's width."""
    return min(7, max(0, 2 - math.floor(math.log10(spread)))) if spread > 0 else 2


def describe_response(response: pd.DataFrame, k: int, width: int) -> str:
    """What the selection of the best brings in every trait."""
    rows = []
    numbers = response[["mean", "lower", "upper"]].to_numpy()
    for trait, (mean, low, high) in zip(response["trait"], numbers, strict=True):
        decimals = choose_decimals(high - low)
        interval = f"{fixed(low, decimals)} to {fixed(high, decimals)}"
        rows.append([trait, fixed(mean, decimals), interval])
    title = f"Selected the best {k}: their mean less that of all candidates"
    return f"{title}\n{align(rows, ['trait', 'response', '90% interval'], left=1, width=width)}"
