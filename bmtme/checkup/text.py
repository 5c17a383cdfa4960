"""Text of a look at a trial, for a terminal: the most important first."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from bmtme.checkup.precision import describe_plots
from bmtme.columns import MOST_ROWS, align, fixed, label_facts, share
from bmtme.words import count_noun, some_names

if TYPE_CHECKING:
    from bmtme.checkup.findings import Finding
    from bmtme.checkup.overview import Checkup

__all__ = ["describe_checkup"]

#: Headings of the severities.
HEADINGS = {
    "stop": "A fit would be refused",
    "warning": "Please look at",
    "note": "Good to know",
}
#: Kinds whose single cases are worth a table, and how many of them; of a note, fewer.
LISTED = {"outlier": 12, "bad value": 20, "repeated plot": 10}
NOTED = 5
#: Environments up to which their common lines are shown as a table.
MOST_ENVS = 12


def describe_checkup(checkup: Checkup, width: int = 100) -> str:
    """What a look at a trial found.

    Parameters
    ----------
    checkup : Checkup
    width : int
        Columns of the terminal.
    """
    parts = [label_facts(_list_facts(checkup), width)]
    for severity, heading in HEADINGS.items():
        found = [note for note in checkup.notes if note.severity == severity]
        if found:
            parts.append("\n".join([heading, *(_describe(note, width) for note in found)]))
    parts.append(_tabulate_lines(checkup.columns, width))
    if len(checkup.replicates):
        parts.append(_tabulate_replicates(checkup.replicates, checkup.columns, width))
    parts.append(_tabulate_means(checkup.columns, width))
    if _is_sparse(checkup):
        parts.append(_tabulate_common(checkup.common_lines, width))
    return "\n\n".join(parts)


def _list_facts(checkup: Checkup) -> list[tuple[str, str]]:
    """Sizes and the verdict; as (label, text)."""
    sizes = checkup.sizes
    envs, traits = sizes["envs"], sizes["traits"]
    stops, warnings, notes = (sum(note.severity == severity for note in checkup.notes) for severity in HEADINGS)
    verdict = "a fit would take these data"
    if stops:
        verdict = f"a fit would be refused, for {count_noun(stops, 'reason')}"
    rest = [count_noun(warnings, "thing") + " to look at"] * bool(warnings) + [count_noun(notes, "note")] * bool(notes)
    verdict += f"; {', '.join(rest) or ('nothing else' if stops else 'nothing strange')}"
    facts = [
        ("verdict", verdict),
        (
            "trial",
            f"{count_noun(sizes['lines'], 'line')}, {count_noun(len(envs), 'environment')} ({some_names(envs)}), "
            f"{count_noun(len(traits), 'trait')} ({some_names(traits)})",
        ),
        ("records", _describe_records(sizes)),
        ("replicates", _describe_plots(sizes)),
    ]
    for k, (factor, counts) in enumerate(sizes["blocks"].items()):
        facts.append(("" if k else "blocks", _describe_blocks(factor, counts)))
    if sizes["covariates"]:
        facts.append(("covariates", some_names(sizes["covariates"])))
    if "relationship" in sizes:
        facts.append(("relationship", _describe_relationship(sizes["relationship"], sizes["lines_with_values"])))
    return facts


def _describe_relationship(related: Mapping[str, Any], recorded: int) -> str:
    if related["identity"]:
        return "identity: the lines are taken as unrelated"
    part = "all" if related["matched"] == recorded > 1 else f"{related['matched']:,} of the"
    text = f"{count_noun(related['lines'], 'line')}, among them {part} {recorded:,} lines with records"
    return f"{text}; {related['centring']}" if related["centring"] else text


def _describe_records(sizes: Mapping[str, Any]) -> str:
    gaps = []
    if sizes["missing_values"]:
        part = share(sizes["missing_values"], sizes["records"] * len(sizes["traits"]))
        gaps.append(f"{part} of their values missing")
    if sizes["filled_cells"] < sizes["cells"]:
        part = share(sizes["cells"] - sizes["filled_cells"], sizes["cells"])
        gaps.append(f"{part} of the line x environment cells empty")
    if sizes["absent_columns"]:
        blocks = len(sizes["envs"]) * len(sizes["traits"])
        gaps.append(f"{sizes['absent_columns']} of {blocks} environment x trait blocks absent")
    records = count_noun(sizes["records"], "record")
    if sizes["plots"]:
        records += f" ({describe_plots(**sizes['plots'])})"
    return f"{records}; {', '.join(gaps) if gaps else 'nothing missing'}"


def _describe_plots(sizes: Mapping[str, Any]) -> str:
    low, high = sizes["fewest_plots"], sizes["most_plots"]
    if high <= 1:
        return "none: one record per line and environment"
    text = f"{high}" if low == high else f"{low} to {high}"
    text += " records per line and environment"
    if low == 1:
        text += f", more than one in {share(sizes['replicated_cells'], sizes['filled_cells'])} of these"
    return text if sizes["reps"] is not None else f"{text} (no column tells them apart: rows count as plots)"


def _describe_blocks(factor: str, counts: Mapping[str, int]) -> str:
    blocks, plots = (
        f"{low}" if low == high else f"{low} to {high}"
        for low, high in ((counts[f"fewest_{word}"], counts[f"most_{word}"]) for word in ("blocks", "plots"))
    )
    if not counts["envs"]:
        return f"{factor}: none"
    return f"{factor}: {blocks} in each of {count_noun(counts['envs'], 'environment')}, of {plots} plots"


def _describe(note: Finding, width: int) -> str:
    """A bullet, and a table of its single cases where these matter."""
    text = textwrap.fill(
        note.summary,
        width,
        initial_indent="  - ",
        subsequent_indent="    ",
        break_on_hyphens=False,
        break_long_words=False,
    )
    most = LISTED.get(note.kind, 0)
    if note.severity == "note":
        most = min(most, NOTED)
    if not most or not note.items:
        return text
    names = [name for name in ("row", "trait", "env", "line", "rep") if any(item.get(name) for item in note.items)]
    numbers = [name for name in ("value", "median", "z") if any(item.get(name) is not None for item in note.items)]
    if note.kind == "bad value":
        names.append("message")
    rows = [
        [str(item.get(name) or "") for name in names] + [_number(name, item[name]) for name in numbers]
        for item in note.items[:most]
    ]
    header = ["robust z" if name == "z" else "" if name == "message" else name for name in names + numbers]
    table = align(rows, header, left=len(names), width=max(width - 6, 40))
    lines = [text, textwrap.indent(table, "      ")]
    if len(note.items) > most:
        lines.append(f"      and {len(note.items) - most:,} more")
    return "\n".join(lines)


def _number(name: str, value: float) -> str:
    return f"{value:+.1f}" if name == "z" else f"{value:.6g}"


def _tabulate_lines(columns: pd.DataFrame, width: int) -> str:
    """Lines with a value of each trait in each environment."""
    traits = list(dict.fromkeys(columns["trait"]))
    grown = dict(zip(columns["env"], columns["lines_grown"], strict=True))
    counted = {(env, trait): n for env, trait, n in columns[["env", "trait", "lines"]].itertuples(index=False)}
    rows = [[f"  {env}", f"{n}", *(str(counted[env, trait] or "-") for trait in traits)] for env, n in grown.items()]
    return _tabulate_envs("Lines grown, and lines with a value of each trait (- none)", rows, ["grown", *traits], width)


def _tabulate_means(columns: pd.DataFrame, width: int) -> str:
    """Mean and standard deviation of each trait in each environment, the latter with two digits."""
    decimals = _choose_decimals(columns)
    cells: dict[str, list[str]] = {}
    for env, trait, mean, sd in columns[["env", "trait", "mean", "sd"]].itertuples(index=False):
        text = "-" if math.isnan(mean) else fixed(mean, decimals[trait])
        cells.setdefault(env, []).append(text + ("" if math.isnan(sd) else f" ({fixed(sd, decimals[trait])})"))
    rows = [[f"  {env}", *texts] for env, texts in cells.items()]
    return _tabulate_envs("Mean and, in brackets, standard deviation of the records", rows, list(decimals), width)


def _choose_decimals(columns: pd.DataFrame) -> dict[str, int]:
    """By trait: digits after the point that leave two of the smallest standard deviation."""
    smallest = columns.groupby("trait", sort=False)["sd"].min().items()
    return {
        str(trait): max(0, 1 - math.floor(math.log10(least))) if 0 < least < math.inf else 2
        for trait, least in smallest
    }


def _tabulate_replicates(replicates: pd.DataFrame, columns: pd.DataFrame, width: int) -> str:
    """Mean of each trait in each replicate."""
    decimals = _choose_decimals(columns)
    means = {(env, rep, trait): mean for env, rep, trait, _, mean in replicates.itertuples(index=False)}
    rows = []
    before = None
    for env, rep in dict.fromkeys((env, rep) for env, rep, _ in means):
        cells = [means.get((env, rep, trait)) for trait in decimals]
        texts = ["-" if mean is None else fixed(mean, decimals[t]) for mean, t in zip(cells, decimals, strict=True)]
        rows.append([f"  {env}" if env != before else "", rep, *texts])
        before = env
    more = [f"  ({len(rows) - MOST_ROWS} more replicates)"] if len(rows) > MOST_ROWS else []
    table = align(rows[:MOST_ROWS], ["", "rep", *decimals], 2, width)
    return "\n".join(["Mean of each replicate of five or more lines", table, *more])


def _tabulate_envs(title: str, rows: list[list[str]], header: list[str], width: int) -> str:
    """A table with an environment in each row, the first ones if there are many."""
    more = [f"  ({len(rows) - MOST_ROWS} more environments)"] if len(rows) > MOST_ROWS else []
    return "\n".join([title, align(rows[:MOST_ROWS], ["", *header], 1, width), *more])


def _is_sparse(checkup: Checkup) -> bool:
    kinds = {note.kind for note in checkup.notes}
    few = 2 <= len(checkup.common_lines) <= MOST_ENVS
    return few and bool(kinds & {"sparse", "few lines in common", "unconnected environments"})


def _tabulate_common(common: pd.DataFrame, width: int) -> str:
    """Lines in common of each two environments, below the diagonal."""
    envs = [str(env) for env in common.index]
    cells = common.to_numpy()
    rows = [[f"  {env}", *(str(cells[i, k]) if k <= i else "" for k in range(len(envs)))] for i, env in enumerate(envs)]
    return "Lines in common (on the diagonal: of the environment itself)\n" + align(rows, ["", *envs], 1, width)
