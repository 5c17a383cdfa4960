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
    table: pd.DataFrame,
    recorded: Collection[str],
    width: int = 80,
    response: pd.DataFrame | None = None,
    values: pd.DataFrame | None = None,
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
    values : DataFrame, optional
        Of the traits of an index, by line: told in place of the interval of the index.
    """
    about, known = table.attrs, set(recorded)
    k, check = about["top"], about["check"]
    parts = [label_facts(list_facts(table, known), width), tabulate_lines(table, known, width, values)]
    notes = []
    left = len(table) - len(choose_rows(table))
    if left:
        notes.append(f"{count_noun(left, 'line')} {'is' if left == 1 else 'are'} not shown.")
    new = any(line not in known for line in table["line"])
    if new:
        notes.append(f"{NEW} no record: known through relatives.")
    if "weights" in about:
        notes.append("Index: less the mean of all candidates.")
    intervals = "90% intervals of value and rank" if values is None else "90% interval of the rank"
    notes.append(
        f"{intervals}; reliability: squared correlation with the true deviation from the mean of "
        f"the trial's lines, as the model expects; P(top {k}): to be among the best {k}."
    )
    if check is not None:
        notes.append(f"P(> check): to be better than {check}.")
    parts.append("\n".join(textwrap.wrap(" ".join(notes), width, break_on_hyphens=False)))
    if response is not None:
        parts.append(describe_response(response, k, width))
    return "\n\n".join(parts)


def choose_rows(table: pd.DataFrame) -> list[int]:
    """Places of the lines that are shown: the best, and the check where it is further down."""
    shown = list(range(min(len(table), max(FEWEST_ROWS, table.attrs["top"]), MOST_ROWS)))
    names, check = table["line"].tolist(), table.attrs["check"]
    return [*shown, names.index(check)] if check in names[len(shown) :] else shown


def list_facts(table: pd.DataFrame, known: set[str]) -> list[tuple[str, str]]:
    """What is ranked, where, and among which lines; as (label, text)."""
    about = table.attrs
    if "trait" in about:
        facts = [("trait", f"{about['trait']}, {about['best']} values wanted")]
    else:
        facts = describe_index(about["weights"], about["asked"])
    new = sum(line not in known for line in table["line"])
    among = count_noun(len(table), "line")
    among += f", {new:,} of them without a record" if new else ", all with records"
    facts += [("environments", describe_target(about["env"])), ("candidates", among)]
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


def describe_index(weights: dict[str, float], asked: dict[str, Any]) -> list[tuple[str, str]]:
    """An index, and the gains or the weights in genetic standard deviations that it was made of."""
    scaled = asked["units"] == "sd"
    facts = []
    if "gains" in asked:
        unit = "genetic standard deviations" if scaled else "units of the traits"
        gains = ", ".join(f"{trait} {gain:.4g}" for trait, gain in asked["gains"].items())
        facts.append(("gains wanted", f"{gains}, in {unit}"))
    elif scaled:
        facts.append(("weights", f"{describe_weights(asked['weights'])}, in genetic standard deviations"))
    return [*facts, ("index", describe_weights(weights))]


def describe_weights(weights: dict[str, float]) -> str:
    """An index as a sum."""
    parts = []
    for trait, weight in weights.items():
        size = "" if abs(weight) == 1 else f"{abs(weight):.3g} "
        parts.append(f"{'-' if weight < 0 else '+'} {size}{trait}")
    first = parts[0].removeprefix("+ ").replace("- ", "-", 1)
    return " ".join([first, *parts[1:]])


def tabulate_lines(table: pd.DataFrame, known: set[str], width: int, values: pd.DataFrame | None = None) -> str:
    """The lines that are shown, with the traits of an index where these are given."""
    about = table.attrs
    check = about["check"]
    numbers = table[["value", "lower", "upper"]].to_numpy()
    decimals = choose_decimals(float(np.median(numbers[:, 2] - numbers[:, 1])))
    if "weights" in about:  # its means are no merit, and in no unit
        numbers = numbers - numbers[:, 0].mean()
    each = {} if values is None else {str(trait): values[trait] for trait in values}
    digits = {trait: choose_decimals(float(np.ptp(own))) for trait, own in each.items()}
    header = ["", "line", "index" if "weights" in about else "value", *(each or ["90% interval"])]
    header += ["reliab.", "rank 90%", f"P(top {about['top']})"] + (["P(> check)"] if check is not None else [])
    names = table["line"].tolist()
    rows = []
    size = max(len(fixed(x, decimals)) for x in (numbers[:, 1].min(), numbers[:, 2].max()))
    for n in choose_rows(table):
        row: Any = table.iloc[n]
        value, low, high = (fixed(x, decimals) for x in numbers[n])
        told = [fixed(own[names[n]], digits[trait]) for trait, own in each.items()]
        cells = [
            str(n + 1), names[n] + ("" if names[n] in known else NEW), value,
            *(told or [f"{low:>{size}} to {high:>{size}}"]),
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
