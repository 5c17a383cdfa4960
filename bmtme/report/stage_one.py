"""Stage one as a breeder reads it: what was made of each field, how well it tells lines apart, what to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bmtme.columns import MOST_ROWS, align, label_facts
from bmtme.report.mixed import cut, show
from bmtme.words import count_noun

if TYPE_CHECKING:
    from bmtme.results.stage_one.result import Adjustment

__all__ = ["NOT_FITTED", "WORDS", "describe_adjustment", "describe_candidates", "name_outcome"]

#: Outliers that are named.
MOST_OUTLIERS = 10
#: What stands in place of an AIC, and why.
WORDS = {
    "trend": "an autocorrelation of one makes the level of all means arbitrary: not chosen.",
    "failed": "the search has not converged: not chosen.",
}
NOT_FITTED = "-"


def describe_adjustment(means: Adjustment, width: int = 80) -> str:
    """Stage one as text."""
    parts = [label_facts(_list_facts(means), width), _describe_environments(means, width)]
    if means.candidates["log_likelihood"].notna().groupby(means.candidates["env"]).sum().max() > 1:
        parts.append(describe_candidates(means.candidates, width))
    if len(means.outliers):
        parts.append(_describe_outliers(means.outliers, width))
    return "\n\n".join(parts)


def _list_facts(means: Adjustment) -> list[tuple[str, str]]:
    table = means.table
    lacking = int((~table["estimable"]).sum())
    words = (
        f"{count_noun(len(means.lines), 'line')} in {count_noun(len(means.envs), 'environment')}, "
        f"{count_noun(len(means.traits), 'trait')}: {count_noun(len(table) - lacking, 'adjusted mean')}"
    )
    facts = [("means", words + (f", {lacking:,} not estimable" if lacking else ""))]
    facts.append(("errors", "full covariance over lines and traits in each environment"))
    facts += [("note", f"{note}.") for note in means.notes]
    failed = [env for env, fit in means.fits.items() if not fit.converged]
    facts += [("SEARCH", f"{env}: {means.fits[env].message.rstrip('.')}.") for env in failed]
    return facts


def _describe_environments(means: Adjustment, width: int) -> str:
    """A row for each environment and trait."""
    chosen = means.candidates[means.candidates["chosen"]].set_index("env")
    outliers = means.outliers.groupby(["env", "trait"]).size()
    rows = []
    several = len(means.traits) > 1
    for row in means.heritability.head(MOST_ROWS).to_dict("records"):
        env, trait = str(row["env"]), str(row["trait"])
        found = int(outliers.get((env, trait), 0))
        cells = [cut(env), cut(trait), str(chosen.loc[env, "model"])]
        cells += [f"{row['n_lines']:,}", f"{row['n_plots']:,}"]
        cells += [f"{row['cullis']:.2f}" if np.isfinite(row["cullis"]) else "-", show(row["sed"], 3), str(found)]
        rows.append(cells if several else [cells[0], *cells[2:]])
    header = ["environment", "trait", "model", "lines", "plots", "H2 Cullis", "SED", "outliers"]
    if not several:
        header.pop(1)
    more = len(means.heritability) - len(rows)
    return align(rows, header, left=3 if several else 2, width=width) + (f"\n({more:,} more rows)" if more > 0 else "")


def describe_candidates(table: pd.DataFrame, width: int) -> str:
    """AIC of the models above the least, a row for each environment; why others were not fitted."""
    models = list(dict.fromkeys(table["model"]))
    rows = []
    for env, own in list(table.groupby("env", sort=False))[:MOST_ROWS]:
        by = own.set_index("model")
        cells = [cut(str(env))]
        for model in models:
            text = name_outcome(by.loc[model]) if model in by.index else NOT_FITTED
            told = text in WORDS or text == NOT_FITTED
            cells.append(text if told else text + "*" * bool(by.loc[model, "chosen"]))
        rows.append(cells)
    reasons: dict[str, dict[str, set[str]]] = {}
    for row in table[table["log_likelihood"].isna()].to_dict("records"):
        why = str(row["note"]).removeprefix("not fitted: ")
        reasons.setdefault(why, {}).setdefault(str(row["model"]), set()).add(str(row["env"]))
    notes = []
    for why, named in reasons.items():
        envs = len({env for names in named.values() for env in names})
        notes.append(f"{', '.join(named)} ({envs:,} of {count_noun(len(rows), 'environment')}): {why}.")
    text = align(rows, ["AIC above the least", *models], left=1, width=width)
    facts = label_facts([*_list_words(rows), *(("not fitted", note) for note in notes[:5])], width)
    return text + (f"\n\n{facts}" if facts else "")


def name_outcome(own: Any) -> str:
    """What stands for a model of the field: its AIC above the least, a word of `WORDS`, or that it was not fitted.

    own : row of `Adjustment.candidates`
    """
    if not np.isfinite(own["log_likelihood"]):
        return NOT_FITTED
    if not own["converged"]:
        return "failed"
    return f"{own['difference']:.1f}" if np.isfinite(own["difference"]) else "trend"


def _list_words(rows: list[list[str]]) -> list[tuple[str, str]]:
    """What words in place of an AIC mean."""
    there = {cell for row in rows for cell in row[1:]}
    return [("*", "chosen."), *(item for item in WORDS.items() if item[0] in there)]


def _describe_outliers(table: pd.DataFrame, width: int) -> str:
    rows = []
    for row in table.sort_values("p", kind="stable").head(MOST_OUTLIERS).to_dict("records"):
        place = f"{row['row']:g}, {row['col']:g}" if np.isfinite(row["row"]) and np.isfinite(row["col"]) else "-"
        cells = [cut(str(row[name])) for name in ("env", "trait", "line", "row_of_table")]
        numbers = [show(row["value"]), show(row["expected"]), f"{row['standardised']:.1f}"]
        rows.append([*cells, place, *numbers])
    header = ["outlier in", "trait", "line", "row of table", "place", "value", "expected", "standardised"]
    more = len(table) - len(rows)
    text = align(rows, header, left=3, width=width)
    return (
        text + (f"\n({more:,} more)" if more > 0 else "") + "\n\nNone is left out: correct or empty what is a mistake."
    )
