"""Fits, summaries and comparisons as HTML in notebooks; every name is the user's, and escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from bmtme.columns import MOST_ROWS
from bmtme.report.glossary import explain_interaction, name_record
from bmtme.report.summaries import describe_worst, order_rows, show_estimate, show_number, tabulate_printed
from bmtme.words import some_names

if TYPE_CHECKING:
    import pandas as pd

    from bmtme.cv.result import CrossValidation
    from bmtme.results.fit import Fit

__all__ = ["show_comparison", "show_cross_validation", "show_fit", "show_scores", "show_summary"]

CELL = "padding:2px 10px;text-align:{side};vertical-align:top{wrap}"
#: Behind rows with a note, and beside a verdict that is good or bad; readable on light and dark pages.
NOTED, GOOD, BAD = "background:rgba(230,159,0,.18)", "#009E73", "#D55E00"


def make_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], left: Iterable[int], noted: Iterable[bool] | None = None
) -> str:
    """A table of texts, which are escaped here.

    left : places of the columns that are flush left
    noted : of each row, whether it is marked
    """
    flush = set(left)
    sides = ["left" if k in flush else "right" for k in range(len(header))]

    def line(cells: Sequence[str], tag: str, style: str = "") -> str:
        inner = "".join(
            f'<{tag} style="{CELL.format(side=side, wrap="" if side == "left" else ";white-space:nowrap")}">'
            f"{escape(cell)}</{tag}>"
            for cell, side in zip(cells, sides, strict=True)
        )
        return f'<tr style="{style}">{inner}</tr>' if style else f"<tr>{inner}</tr>"

    rows = list(rows)
    marks = [False] * len(rows) if noted is None else list(noted)
    body = "".join(line(row, "td", NOTED if mark else "") for row, mark in zip(rows, marks, strict=True))
    return f"<table><thead>{line(header, 'th')}</thead><tbody>{body}</tbody></table>"


def make_paragraphs(texts: Iterable[str]) -> str:
    """Texts, escaped."""
    return "".join(f"<p>{escape(text)}</p>" for text in texts if text)


def frame(texts: Sequence[str], colour: str) -> str:
    """Paragraphs with a bar of a colour, the first one bold."""
    first = f"<p><b>{escape(texts[0])}</b></p>"
    return (
        f'<div style="border-left:4px solid {colour};padding-left:10px;max-width:60em">{first}'
        f"{make_paragraphs(texts[1:])}</div>"
    )


def fold(title: str, inner: str) -> str:
    """What is shown on a click."""
    return f"<details><summary>{escape(title)}</summary>{inner}</details>"


def show_fit(fit: Fit) -> str:
    """The verdict and its reasons, heritabilities; the whole summary on a click."""
    summary = fit.summary()
    colour = GOOD if fit.reliable else BAD
    shares = summary[[str(name).startswith("heritability[") for name in summary.index]]
    parts = [f"<p><code>{escape(repr(fit))}</code></p>", frame(fit._diagnose(), colour)]
    if len(shares):
        rows = [
            [str(name), f"{row['mean']:.2f}", f"{row['lower']:.2f} to {row['upper']:.2f}", row["note"]]
            for name, row in shares.iloc[:MOST_ROWS].iterrows()
        ]
        parts.append(
            make_table(
                [f"heritability of a {name_record(fit.run['data'])}", "mean", "90% interval", "note"], rows, (0, 3)
            )
        )
    return "<div>" + "".join([*parts, fold("summary", show_summary(summary))]) + "</div>"


def show_summary(table: pd.DataFrame) -> str:
    """As of `bmtme.report.summaries.describe_summary`, with all columns."""
    shown, more = order_rows(table, MOST_ROWS)
    rows = []
    row: Any
    for row in shown.itertuples():
        mean, lower, upper = show_estimate(row.mean, row.lower, row.upper)
        diagnostics = [show_number(value, ".0f") for value in (row.ess_bulk, row.ess_tail)]
        rows.append(
            [str(row.Index), mean, f"{row.sd:.3g}", lower, upper, *diagnostics, show_number(row.r_hat, ".3f"), row.note]
        )
    header = ["parameter", "mean", "sd", "lower", "upper", "ess_bulk", "ess_tail", "r_hat", "note"]
    noted = [bool(note) for note in shown["note"]]
    texts = [describe_worst(table), explain_interaction(table)]
    return make_paragraphs(texts) + make_table(header, rows, (0, 8), noted) + make_paragraphs([more])


def show_scores(table: pd.DataFrame) -> str:
    """As of `bmtme.report.summaries.describe_scores`."""
    from bmtme.report.tables import list_printed

    rows, rest = tabulate_printed(table)
    header = ["trait", "env", "model", "partitions", *(score.heading or score.name for score in list_printed())]
    text = "Mean over the partitions, naive standard error in brackets: cv.advice() says what is more than noise."
    return make_paragraphs([text]) + make_table(header, rows, (0, 1, 2)) + make_paragraphs([rest])


def show_comparison(table: pd.DataFrame, metric: str) -> str:
    """As of `bmtme.report.comparison.describe_comparison`."""
    from bmtme.cv.compare import LEVEL, find_score
    from bmtme.report.comparison import list_notes

    known = table[table["difference"].notna()]
    texts = [list_notes(known, find_score(metric))] if len(known) else []
    rows = []
    row: Any
    for row in known.head(MOST_ROWS).itertuples(index=False):
        interval = "-" if np.isnan(row.lower) else f"{row.lower:+.3g} to {row.upper:+.3g}"
        star = "*" if row.p_adjusted < LEVEL else ""
        where = [row.model, row.against, row.trait or "all", row.env or "all"]
        tests = [show_number(row.p, ".3f"), show_number(row.p_adjusted, ".3f")]
        rows.append([*where, f"{row.difference:+.3g}{star}", interval, *tests])
    header = ["model", "against", "trait", "env", "difference", "95% interval", "p", "Holm"]
    marks = [bool(p < LEVEL) for p in known["p_adjusted"].head(MOST_ROWS)]
    rest = [f"({len(known) - len(rows):,} more rows: .to_string() prints all)"] if len(known) > len(rows) else []
    for note, part in table[table["p"].isna()].groupby("note", sort=False):
        pairs = dict.fromkeys(f"{row.model} - {row.against}" for row in part.itertuples(index=False))
        rest.append(f"Not to be told: {some_names(list(pairs))}: {note}.")
    shown = make_table(header, rows, range(4), marks) if rows else ""
    return make_paragraphs(texts) + shown + make_paragraphs(rest)


def show_cross_validation(cv: CrossValidation) -> str:
    """What to bear in mind, what the comparison can bear, and the scores."""
    from bmtme.cv.advice import advise

    parts = [f"<p><code>{escape(' '.join(repr(cv).split()))}</code></p>"]
    texts = [text for text in (*cv.warnings, *advise(cv, 10**6).splitlines()) if text]
    if texts:
        parts.append(frame(texts, BAD if cv.warnings else GOOD))
    return "<div>" + "".join([*parts, show_scores(cv.summary())]) + "</div>"
