"""Text tables for terminals: what a fit says in short, and the comparison of models by cross-validation."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pandas as pd

from bmtme.model.cells import list_names
from bmtme.model.trial import Trial
from bmtme.results.summary import PRIOR_ONLY, describe_convergence

__all__ = ["align", "describe_cv", "describe_fit", "describe_trial"]

#: Rows of a table at most; the files hold all.
MOST_ROWS = 40
ABSENT = "-"

Cell = Callable[[str], str]


def describe_fit(
    summary: pd.DataFrame, run: dict[str, Any], envs: Sequence[str], traits: Sequence[str], width: int = 100
) -> str:
    """What a fit says in short: the data, whether the chains agree, heritabilities and correlations.

    Parameters
    ----------
    summary : DataFrame
        As of `Fit.summary`.
    run : dict
        As of `Fit.run`.
    envs, traits : sequence of str
        In the order of the tables.
    width : int
        Columns of the terminal.
    """
    data, settings = run["data"], run["settings"]
    values = data["records"] * data["traits"]
    facts = [
        ("data", describe_sizes(data["lines"], "line with records", "lines with records", envs, traits)),
        ("", f"{_count(data['records'], 'record')}, {_share(data['missing_values'], values)} of their values missing"),
    ]
    absent = data["absent_columns"]
    if absent:
        facts.append(
            (
                "no records",
                f"{len(absent)} of {len(envs) * len(traits)} environment x trait columns, predicted from the others: "
                + _some(absent),
            )
        )
    if data["lines_dropped"]:
        dropped = data["lines_dropped"]
        facts.append(("dropped", f"{_count(len(dropped), 'line')} without a relationship: {_some(dropped)}"))
    new = data["lines_predicted"] - data["lines"]
    if new and settings["keep_effects"] != "none":
        facts.append(("predicted", f"also {_count(new, 'line')} of the relationship without records"))
    facts += [
        (
            "model",
            f"{settings['model']['structure']}, {_count(settings['chains'], 'chain')} of "
            f"{_count(settings['draws'], 'draw')} after {_count(settings['tune'], 'warm-up sweep')}, "
            f"seed {settings['seed']}, {sum(run['seconds'].values()):.1f} s",
        ),
        ("convergence", describe_convergence(summary)),
    ]
    parts = [_label(facts, width)]
    parts.append(
        _tabulate(
            "Heritability of a plot",
            summary,
            [(env, [f"heritability[{env}, {trait}]" for trait in traits]) for env in envs],
            traits,
            width,
        )
    )
    for what in ("Genetic", "Residual"):
        title, kind = f"{what} correlation", f"{what.lower()}_correlation"
        names = [
            (other, [f"{kind}[{trait}, {other}]" for trait in traits[:q]]) for q, other in enumerate(traits) if q > 0
        ]
        if any(name in summary.index for _, row in names for name in row):
            parts.append(_tabulate(title, summary, names, traits[:-1], width))
    return "\n\n".join(parts)


def describe_trial(trial: Trial) -> str:
    """Sizes of a trial in a few words."""
    return describe_sizes(len(trial.lines), "line", "lines", trial.envs, trial.traits)


def describe_sizes(lines: int, one: str, many: str, envs: Sequence[str], traits: Sequence[str]) -> str:
    """Numbers of lines, environments and traits, with the names where they are few."""
    return (
        f"{lines:,} {one if lines == 1 else many}, {_count(len(envs), 'environment')} ({_some(envs)}), "
        f"{_count(len(traits), 'trait')} ({_some(traits)})"
    )


def describe_cv(summary: pd.DataFrame, trial: Trial, width: int = 100) -> str:
    """Comparison of models by cross-validation.

    Parameters
    ----------
    summary : DataFrame
        As of `CrossValidation.summary`.
    trial : Trial
        For the order of environments and traits.
    width : int
        Columns of the terminal.
    """
    models = list(dict.fromkeys(summary["model"]))
    records = summary.to_dict("records")
    table = {(record["trait"], record["env"], record["model"]): record for record in records}
    several = bool((summary["n_partitions"] > 1).any())
    rows = []
    for trait in trial.traits:
        for env in trial.envs:
            for model in models:
                row = table.get((trait, env, model))
                if row is None:
                    continue
                cells = [trait, env, model, str(row["n_partitions"])]
                for score in ("pearson", "msep"):
                    best = len(models) > 1 and row[f"{score}_rank"] == 1
                    cells.append(_score(row[f"{score}_mean"], row[f"{score}_se"], score == "pearson") + " *"[best])
                rows.append(cells)
    text = ["Mean over the partitions" + (", with its naive standard error in brackets." if several else ".")]
    if several:
        text.append("Naive: it takes the partitions for independent, though they share most of their lines; too small.")
    if len(models) > 1:
        text.append("* best model of the environment and trait.")
    facts = _label([("data", describe_trial(trial))], width)
    header = ["trait", "env", "model", "partitions", "Pearson ", "MSEP "]
    shown = rows[: MOST_ROWS * len(models)]
    more = [f"({len(rows) - len(shown)} more rows in summary.csv)"] if len(rows) > len(shown) else []
    return "\n".join([facts, "", *text, "", align(shown, header, left=3, width=10**6), *more])


def align(rows: Sequence[Sequence[str]], header: Sequence[str], left: int, width: int) -> str:
    """Cells in columns; where they are wider than the terminal, blocks of columns one below the other.

    Parameters
    ----------
    rows, header : sequences of as many texts
    left : int
        How many columns stand on the left of every block, flush left; the others are flush right.
    width : int
        Columns of the terminal.
    """
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    margin = sum(widths[:left]) + 2 * (left - 1)
    blocks: list[list[int]] = [[]]
    used = margin
    for k in range(left, len(header)):
        if blocks[-1] and used + 2 + widths[k] > width:
            blocks.append([])
            used = margin
        blocks[-1].append(k)
        used += 2 + widths[k]
    texts = []
    for block in blocks:
        for cells in (header, *rows):
            fixed = [cells[k].ljust(widths[k]) for k in range(left)]
            texts.append("  ".join([*fixed, *(cells[k].rjust(widths[k]) for k in block)]).rstrip())
        texts.append("")
    return "\n".join(texts[:-1])


def _tabulate(
    title: str,
    summary: pd.DataFrame,
    names: Sequence[tuple[str, Sequence[str]]],
    columns: Sequence[str],
    width: int,
) -> str:
    """A table of the summary's entries, with intervals where they fit."""
    shown = names[:MOST_ROWS]
    means = summary["mean"].to_dict()
    lower, upper, notes = (summary[column].to_dict() for column in ("lower", "upper", "note"))

    def star(name: str) -> str:
        return "*" if PRIOR_ONLY in notes[name] else ""

    def short(name: str) -> str:
        return f"{means[name]:.2f}{star(name)}"

    def long(name: str) -> str:
        return f"{means[name]:.2f} ({lower[name]:.2f}, {upper[name]:.2f}){star(name)}"

    def lay_out(cell: Cell) -> str:
        rows = []
        for label, row in shown:
            cells = [cell(name) if name in means else "" for name in row]
            rows.append([f"  {label}", *cells, *[""] * (len(columns) - len(cells))])
        return align(rows, ["", *columns], left=1, width=10**6 if cell is long else width)

    text = lay_out(long)
    heading = f"{title}: mean (90% interval)"
    if max(map(len, text.splitlines())) > width:
        text = lay_out(short)
        heading = f"{title}: mean (intervals are in the summary)"
    lines = [heading, text]
    if len(shown) < len(names):
        lines.append(f"  ({len(names) - len(shown)} more rows in the summary)")
    if any(star(name) for _, row in shown for name in row if name in means):
        lines.append("  * known from the prior only")
    return "\n".join(lines)


def _label(facts: Iterable[tuple[str, str]], width: int) -> str:
    """Short labels on the left, wrapped texts beside them."""
    lines = []
    for label, text in facts:
        lines += textwrap.wrap(
            text,
            width,
            initial_indent=label.ljust(13),
            subsequent_indent=" " * 13,
            break_on_hyphens=False,
            break_long_words=False,
        )
    return "\n".join(lines)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _share(part: int, whole: int) -> str:
    """Part of a whole in per cent, never rounded to none or all."""
    if part == 0 or whole == 0:
        return "none"
    share = 100 * part / whole
    return f"{share:.1f}%" if share >= 0.05 else "less than 0.1%"


def _some(names: Sequence[str], most: int = 8) -> str:
    """Names, plain where none holds a comma."""
    if any("," in name or name != name.strip() for name in names):
        return list_names(names, most)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _score(mean: float, error: float, plain: bool) -> str:
    if math.isnan(mean):
        return ABSENT
    # A squared error has the trait's unit squared: significant digits, not decimals.
    digits = 3 if plain else max(0, 3 - math.floor(math.log10(mean))) if 1e-4 <= mean < 1e6 else -1
    show = (lambda x: f"{x:.{digits}f}") if digits >= 0 else (lambda x: f"{x:.3g}")
    return show(mean) + ("" if math.isnan(error) else f" ({show(error)})")
