"""Lines on the page of a fit: rankings, what selection brings, values by environment, stability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bmtme.decisions.candidates import draw_candidates
from bmtme.decisions.covariances import find_recorded, list_names_along
from bmtme.decisions.ranking import tabulate_ranking
from bmtme.decisions.response import compare_selected
from bmtme.decisions.targets import HIGH, LOW, count_top
from bmtme.report.best import count_draws
from bmtme.report.html.content import Block, Column, Matrix, Prose, Shade, Table
from bmtme.report.html.numbers import decide_decimals, interval, limit_rows, plain
from bmtme.report.ranking import NEW, choose_decimals
from bmtme.words import count_noun

if TYPE_CHECKING:
    from bmtme.results.fit import Fit

__all__ = ["STABLE", "VALUES", "Rankings", "name_best", "rank_all", "show_lines", "show_stability", "show_values"]

#: Share of the lines that counts as the best.
TOP = 0.05
#: Rows of all rankings, of all values by environment, and of all tables of stability on a page.
MOST_ROWS, MOST_VALUES, MOST_STABLE = 6000, 4000, 3000
STABLE = (
    "Stability. SD: standard deviation over environments of the line's genetic effect, small for a line that is alike "
    "everywhere. Slope: regression of its values on the means of the environments (Finlay & Wilkinson 1963), 1 for an "
    "average line, above it for one that gains more where all do well; where the means of the environments hardly "
    "differ its interval is wide. P(above): probability to be above the mean of the trial's lines in every environment."
)
VALUES = (
    "Values by environment. Predicted genetic values with the mean of the environment, highest mean first; in brackets "
    "where the line has no record of the trait there. Intervals are in predictions.csv."
)
NOT_GROWN = "Of lines marked * there is no record: they are known through relatives."


@dataclass(frozen=True)
class Rankings:
    """Rankings of all traits over all environments.

    Attributes
    ----------
    tables : by trait, as of `Fit.ranking` with high values wanted, and a column ``p_low`` for low ones
    top : how many lines count as the best
    gains : by trait of the selection and trait of the response, mean and 90% interval of the highest lines' mean less
        that of all
    check : the line that the others are compared with, if any
    """

    tables: Mapping[str, pd.DataFrame]
    top: int
    gains: Mapping[tuple[str, str], tuple[float, float, float]]
    check: str | None = None


def rank_all(fit: Fit, check: str | None = None) -> Rankings | None:
    """The rankings, from one set of draws; None where effects were not kept, or of too many lines.

    check : a line that all are compared with

    Raises
    ------
    DataError
        If there is no such line.
    """
    draws = count_draws(fit)
    if not draws:
        return None
    traits = list_names_along(fit, "trait")
    candidates = draw_candidates(fit, traits, None, check=check, draws=draws)
    top = count_top(TOP, len(candidates.lines))
    tables, response = {}, {}
    for trait, alone in zip(traits, np.eye(len(traits)), strict=True):
        table = tabulate_ranking(candidates, alone, top, HIGH)
        low = tabulate_ranking(candidates, alone, top, LOW).set_index("line")["p_top"]
        table["p_low"] = low.loc[table["line"]].to_numpy()
        tables[trait] = table
        mean, _, lower, upper = compare_selected(candidates, [*table["line"].head(top)])
        for other, *numbers in zip(traits, mean, lower, upper, strict=True):
            response[trait, other] = (float(numbers[0]), float(numbers[1]), float(numbers[2]))
    return Rankings(tables, top, response, check)


def show_lines(fit: Fit, rankings: Rankings | None, drawn: Mapping[str, Sequence[Block]]) -> list[Block]:
    """A table for each trait, best first.

    drawn : pictures by trait
    """
    if rankings is None:
        return [Prose([explain_absence(fit)])]
    known = set(fit.recorded_lines)
    k = rankings.top
    new = any(line not in known for line in next(iter(rankings.tables.values()))["line"])
    envs = list_names_along(fit, "env")
    where = envs[0] if len(envs) == 1 else f"the mean over all {len(envs)} environments, which count alike"
    text = (
        f"Values are of {where}; highest first, so that of a trait to be lowered the best are at the end (a click on "
        "'value' turns the table). Intervals are of 90%. Reliability: squared correlation with the true deviation "
        f"from the mean of the trial's lines, as the model expects. P(highest {k}): probability to be truly among the "
        f"{k} highest of all; P(lowest {k}) likewise. Lines whose intervals of the rank overlap widely are not told "
        "apart."
    )
    if rankings.check is not None:
        text += f" P(> check): probability to have a truly higher value than the check, {rankings.check}."
    blocks: list[Block] = [Prose([text, *([NOT_GROWN] if new else [])])]
    most = limit_rows(len(rankings.tables), len(next(iter(rankings.tables.values()))), MOST_ROWS)
    for trait, table in rankings.tables.items():
        blocks += [show_ranking(table, known, k, most, trait, rankings.check), *drawn.get(trait, ())]
    blocks += show_response(rankings)
    blocks.append(
        Prose(
            [
                "'bmtme rank' ranks for some environments or with weights, beside a check, with low values wanted, or "
                "by an index of several traits; in Python fit.ranking, fit.index, fit.joint_probabilities."
            ]
        )
    )
    return blocks


def explain_absence(fit: Fit) -> str:
    """Why there are no rankings."""
    if fit._predictions is None:
        return (
            "This fit kept no effects of lines (keep_effects='none'), so that lines cannot be ranked or predicted: fit "
            "again with keep_effects='auto', in the shell --keep-effects auto."
        )
    return (
        "There are too many lines, environments and traits for joint draws of all within the memory that a page takes: "
        "'bmtme rank' ranks by one trait."
    )


def show_ranking(
    table: pd.DataFrame, known: set[str], k: int, most: int, trait: str, check: str | None = None
) -> Table:
    """A ranking as a table with all lines, or the first and last ones and the check."""
    decimals = decide_decimals(table["lower"].tolist(), table["upper"].tolist())
    header = [
        Column("line"),
        Column("rank", True, "place by value, 1 for the highest"),
        Column("value", True, "posterior mean, means of environments included"),
        Column("90% interval", True),
        Column("reliab.", True, "reliability"),
        Column("rank 90%", True, "90% interval of the rank"),
        Column(f"P(highest {k})", True),
        Column(f"P(lowest {k})", True),
        *([] if check is None else [Column("P(> check)", True, f"probability to be higher than {check}")]),
    ]
    places = list(range(len(table)))
    note = ""
    if len(places) > most:
        own = [n for n, line in enumerate(table["line"]) if line == check]
        places = sorted({*places[: most - most // 5], *places[-(most // 5) :], *own})
        note = (
            f"The first {most - most // 5:,} and the last {most // 5:,} of {len(table):,} lines; 'bmtme rank RUN "
            "--trait TRAIT --out DIR' writes all."
        )
    columns = [table[name].tolist() for name in ("line", "value", "lower", "upper", "reliability")]
    columns += [table[name].tolist() for name in ("rank_lower", "rank_upper", "p_top", "p_low")]
    rows: list[list[str]] = []
    marked: list[int] = []
    for n in places:
        line, value, low, high, reliability, first, last, p_top, p_low = (column[n] for column in columns)
        if line == check:
            marked.append(len(rows))
        rows.append([
            name_line(line, check) + ("" if line in known else NEW), str(n + 1), plain(value, decimals),
            interval(low, high, decimals), plain(reliability, 2), f"{first}-{last}", plain(p_top, 2), plain(p_low, 2),
        ])  # fmt: skip
        if check is not None:
            rows[-1].append("-" if line == check else plain(table["p_above_check"].iloc[n], 2))
    return Table(header, rows, trait, note, long=True, marked=frozenset(marked), kept=frozenset(marked))


def name_line(line: str, check: str | None) -> str:
    """A line's name, which says whether it is the check."""
    return f"{line} (check)" if line == check else line


def show_response(rankings: Rankings) -> list[Block]:
    """What the selection of the highest lines by one trait brings in each."""
    traits = list(rankings.tables)
    cells = []
    sizes = {}
    for other in traits:
        sizes[other] = max(abs(rankings.gains[trait, other][0]) for trait in traits) or 1.0
    for trait in traits:
        row = []
        for other in traits:
            mean, low, high = rankings.gains[trait, other]
            decimals = choose_decimals(high - low)
            dark = 0.8 * mean / sizes[other]
            row.append(Shade(f"{'+' if mean > 0 else ''}{plain(mean, decimals)}", interval(low, high, decimals), dark))
        cells.append(row)
    title = f"What selection brings: mean of the {count_noun(rankings.top, 'highest line')} less that of all"
    note = (
        "Rows: the trait by whose highest values is selected; columns: the response in each trait, in its unit, with "
        "the 90% interval. Of a trait that is to be lowered, read the signs the other way round."
    )
    return [Matrix(traits, traits, cells, title, note)]


def show_values(fit: Fit, check: str | None = None) -> dict[str, Table]:
    """Predicted values of every line in every environment, a table for each trait."""
    table = fit._predictions
    if table is None or table["env"].nunique() < 2:
        return {}
    # In the order of the rows, as `arrange_predictions` has them.
    lines, envs, traits = (list(dict.fromkeys(table[name])) for name in ("line", "env", "trait"))
    shape = (len(lines), len(envs), len(traits))
    values, grown = (table[name].to_numpy().reshape(shape) for name in ("mean", "n_obs"))
    most = limit_rows(len(traits), len(lines), MOST_VALUES)
    found = {}
    for l, trait in enumerate(traits):
        own = values[:, :, l]
        spread = float(np.nanstd(own - np.nanmean(own, axis=0)))
        decimals = choose_decimals(4 * spread) if spread > 0 else 2
        mean = own.mean(axis=1)
        order = np.argsort(-mean, kind="stable")[:most]
        rows = []
        for j in order.tolist():
            cells = [
                plain(value, decimals) if there else f"({plain(value, decimals)})"
                for value, there in zip(own[j].tolist(), (grown[j, :, l] > 0).tolist(), strict=True)
            ]
            rows.append([name_line(lines[j], check), plain(mean[j], decimals), *cells])
        header = [Column("line"), Column("mean", True), *(Column(env, True) for env in envs)]
        note = "" if len(order) == len(lines) else f"The first {len(order):,} of {len(lines):,} lines."
        found[trait] = Table(header, rows, f"{trait}: values by environment", note, long=True)
    return found


def show_stability(fit: Fit, check: str | None = None) -> dict[str, Table]:
    """How lines change from environment to environment, a table for each trait that was recorded in two."""
    traits, recorded = list_names_along(fit, "trait"), find_recorded(fit)
    told = [trait for l, trait in enumerate(traits) if recorded[:, l].sum() > 1]
    found = {}
    for trait in told:
        table = fit.stability(trait)
        most = limit_rows(len(told), len(table), MOST_STABLE)
        found[trait] = show_stable(table.head(most), len(table), trait, check)
    return found


def show_stable(table: pd.DataFrame, lines: int, trait: str, check: str | None = None) -> Table:
    """A table of `Fit.stability`."""
    decimals = decide_decimals(table["env_sd_lower"].tolist(), table["env_sd_upper"].tolist())
    slopes = min(3, decide_decimals(table["slope_lower"].tolist(), table["slope_upper"].tolist()))
    header = [
        Column("line"), Column("value", True), Column("SD", True), Column("90% interval", True), Column("slope", True),
        Column("90% interval", True), Column("P(above)", True),
    ]  # fmt: skip
    rows = []
    row: Any
    for row in table.itertuples(index=False):
        spread = interval(row.env_sd_lower, row.env_sd_upper, decimals)
        slope = interval(row.slope_lower, row.slope_upper, slopes)
        numbers = [plain(row.value, decimals), plain(row.env_sd, decimals), spread, plain(row.slope, slopes), slope]
        rows.append([name_line(row.line, check), *numbers, plain(row.p_above_mean, 2)])
    note = "" if len(table) == lines else f"The first {len(table):,} of {lines:,} lines."
    return Table(header, rows, f"{trait}: stability", note, long=True)


def name_best(rankings: Rankings, trait: str) -> tuple[str, str]:
    """The highest line of a trait with its interval, and how sure it is to be among the highest."""
    table = rankings.tables[trait]
    row: Any = table.iloc[0]
    decimals = decide_decimals(table["lower"].tolist(), table["upper"].tolist())
    return (
        f"{name_line(row['line'], rankings.check)}: {plain(row['value'], decimals)} "
        f"({interval(row['lower'], row['upper'], decimals)})",
        plain(row["p_top"], 2),
    )
