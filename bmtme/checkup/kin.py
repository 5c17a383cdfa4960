"""A trial and a relationship beside each other: lines in one only, and what the matrix itself shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from threadpoolctl import threadpool_limits

from bmtme.checkup.findings import Finding, Severity
from bmtme.data.relationship.clones import find_close, find_same_rows
from bmtme.data.relationship.matrix import Relationship
from bmtme.data.relationship.pedigree_table import describe_doubtful, list_both_sexes, list_doubtful_parents
from bmtme.data.trial import Trial
from bmtme.model.eigenbasis import BENDING, NEGATIVE, ZERO
from bmtme.progress import Progress
from bmtme.words import count_noun, describe_matches, match_look_alikes, some_names

__all__ = ["describe_centring", "find_identical_lines", "find_odd_parents", "find_rank", "find_unmatched"]

#: A correlation of two lines' genetic values from which on they are nearly identical.
NEARLY = 0.99
#: Lines from which on eigenvalues take seconds, and it is said what is being done.
MANY = 2000


def find_odd_parents(
    pedigree: pd.DataFrame, id: str, sire: str, dam: str, missing: Sequence[str] | None = None
) -> list[Finding]:
    """Parents of a pedigree that are both sires and dams, or that may stand for an unknown one."""
    found = []
    known, founders = list_both_sexes(pedigree, id, sire, dam, missing)
    both = known + founders
    if both:
        one = len(both) == 1
        text = f"{count_noun(len(both), 'individual')} of the pedigree {'is' if one else 'are'} both sire and dam"
        text += f": {some_names(both)}."
        if founders:
            text += (
                f" Without a row of {'its' if len(founders) == 1 else 'their'} own: {some_names(founders)}; if "
                f"{'this stands' if len(founders) == 1 else 'one stands'} for unknown parents, name it with "
                "--pedigree-missing (in Python, missing=)."
            )
        text += " Plants may be both (in Python, separate_sexes=False); of an animal it is a mistake."
        items = [{"line": name, "message": "both a sire and a dam"} for name in both]
        found.append(Finding.of("note", "both sexes", text, items))
    doubtful = list_doubtful_parents(pedigree, id, sire, dam, missing)
    if doubtful:
        items = [{"line": name, "message": "a parent that may stand for unknown ones"} for name in doubtful]
        text = describe_doubtful(doubtful)
        found.append(Finding.of("warning", "doubtful parent", f"{_start(text)}", items))
    return found


def find_unmatched(
    trial: Trial, relationship: Relationship, unrelated: Literal["error", "drop"] = "error"
) -> list[Finding]:
    """Lines of the trial without a relationship, and lines of the relationship without a record.

    unrelated : with "drop", lines without a relationship are no reason to refuse a fit
    """
    related = set(relationship.lines)
    recorded = trial.recorded_lines
    lacking = [line for line in recorded if line not in related]
    found = []
    if lacking:
        close = match_look_alikes(lacking, relationship.lines)
        few = len(recorded) - len(lacking) < 2
        text = (
            f"{len(lacking):,} of {count_noun(len(recorded), 'line')} with records "
            f"{'has' if len(lacking) == 1 else 'have'} no relationship: {some_names(lacking)}. "
        )
        if close:
            text += f"Mistyped? {_start(describe_matches(close))}. "
        if few:
            text += (
                "Hardly a line of the trial is in the relationship (it has names such as "
                f"{some_names(relationship.lines, 3)}): a fit is refused. If these are markers, the relationship was "
                "made of a table with markers in rows."
            )
        elif unrelated == "drop":
            text += f"A fit leaves {'it' if len(lacking) == 1 else 'them'} out."
        else:
            text += (
                "A fit is refused as it stands: correct the names, add the lines to the relationship, or leave them "
                "out with --drop-unrelated (unrelated='drop')."
            )
        items = [
            {
                "line": line,
                "other": close.get(line),
                "message": "records but no relationship" + (f"; nearly {close[line]!r}" if line in close else ""),
            }
            for line in lacking
        ]
        severity: Severity = "stop" if few or unrelated == "error" else "warning"
        found.append(Finding.of(severity, "line without relationship", text, items))
    names = set(recorded)
    spare = [line for line in relationship.lines if line not in names]
    if spare:
        found.append(
            Finding.of(
                "note",
                "line without record",
                f"{count_noun(len(spare), 'line')} of the relationship without records: {some_names(spare)}. A fit "
                f"predicts {'it through its' if len(spare) == 1 else 'them through their'} relatives.",
                [{"line": line, "message": "in the relationship, without records"} for line in spare],
            )
        )
    return found


def find_rank(trial: Trial, relationship: Relationship) -> list[Finding]:
    """Eigenvalues of the relationship among the lines with a record: negative ones, and how many are zero."""
    related = set(relationship.lines)
    lines = [line for line in trial.recorded_lines if line in related]
    if relationship.is_identity or len(lines) < 2:
        return []
    values = _eigenvalues(relationship, lines)
    if values[0] < -NEGATIVE * values[-1]:
        text = (
            f"The relationship is no covariance matrix: among {count_noun(len(lines), 'line')} with records its "
            f"smallest eigenvalue is {values[0]:.3g} and its largest {values[-1]:.3g}. A fit is refused: check how the "
            f"matrix was made, or {BENDING}."
        )
        return [Finding.of("stop", "negative eigenvalue", text, [{"value": float(values[0]), "message": text}])]
    found = []
    rank = int((values >= ZERO * values[-1]).sum())
    if rank < len(lines):
        text = (
            f"The relationship has rank {rank:,} among {count_noun(len(lines), 'line')} with records: some lines are "
            "combinations of others (clones, few markers, centred markers). A fit copes."
        )
        found.append(Finding.of("note", "rank", text, [{"value": rank, "message": text}]))
    if len(lines) < len(relationship):
        every = _eigenvalues(relationship, relationship.lines)
        if every[0] < -NEGATIVE * every[-1]:
            text = (
                f"With the lines without records, the relationship is no covariance matrix: its smallest eigenvalue is "
                f"{every[0]:.3g} and its largest {every[-1]:.3g}. A fit may be refused when it comes to predict these: "
                f"check how the matrix was made, leave them out, or {BENDING}."
            )
            item = {"value": float(every[0]), "message": text}
            found.append(Finding.of("warning", "negative eigenvalue", text, [item]))
    return found


def _eigenvalues(relationship: Relationship, lines: Sequence[str]) -> np.ndarray:
    """Eigenvalues of the relationship of these lines, in ascending order."""
    index = relationship.index(lines)
    progress = Progress(1, "relationship")
    if len(lines) >= MANY:
        progress.write(f"eigenvalues of the relationship of {count_noun(len(lines), 'line')} ...")
    try:
        with threadpool_limits(1):
            return np.linalg.eigvalsh(relationship.matrix[np.ix_(index, index)])
    finally:
        progress.close()


def find_identical_lines(relationship: Relationship) -> list[Finding]:
    """Groups of lines with the same row in the relationship, and pairs that are nearly identical."""
    if relationship.is_identity:
        return []
    matrix, lines = relationship.matrix, relationship.lines
    found = []
    groups = find_same_rows(matrix)
    if groups:
        texts = [" = ".join(lines[j] for j in group[:5]) + (" = ..." if len(group) > 5 else "") for group in groups]
        found.append(
            Finding.of(
                "note",
                "identical lines",
                f"{count_noun(len(groups), 'group')} of lines with identical rows in the relationship (clones, or "
                f"one line under two names): {some_names(texts, 6)}.",
                [
                    {"line": lines[j], "other": lines[group[0]], "message": f"identical with {lines[group[0]]}"}
                    for group in groups
                    for j in group[1:]
                ],
            )
        )
    root = np.sqrt(matrix.diagonal())
    close = find_close(matrix, NEARLY)
    for group in groups:
        close[np.ix_(group, group)] = False
    n_pairs = int(np.count_nonzero(close))
    if n_pairs:
        _, part = connected_components(coo_array(close), directed=False)
        sizes = np.bincount(part)
        members = np.flatnonzero(sizes[part] > 1)
        # Of each line the first one that is like it: in a large group there are too many pairs to name.
        first = {int(k): int(j) for j, k in zip(*(index[::-1] for index in np.nonzero(close)), strict=True)}
        texts = [f"{lines[j]} and {lines[k]}" for k, j in sorted(first.items(), key=lambda pair: pair[::-1])]
        found.append(
            Finding.of(
                "note",
                "nearly identical lines",
                f"{count_noun(n_pairs, 'pair')} of lines with a relationship of {NEARLY:g} or more (as a correlation): "
                f"{some_names(texts, 6)}. {len(members):,} of {len(lines):,} lines have such a double; the largest "
                f"group holds {sizes.max()}.",
                [
                    {
                        "line": lines[j],
                        "other": lines[k],
                        "value": float(matrix[j, k] / (root[j] * root[k])),
                        "message": "nearly identical by the relationship",
                    }
                    for k, j in sorted(first.items(), key=lambda pair: pair[::-1])
                ],
            )
        )
    return found


def describe_centring(matrix: np.ndarray) -> str:
    r"""How far a relationship is centred on its lines, in words.

    With J lines and m = tr G / J, :math:`1'G1 / J` over tr G is the share of the lines' expected squares that is their
    mean's; unrelated lines have 1 / J. The sample variance of the lines' genetic values is expected to be
    :math:`c = (\operatorname{tr} G - 1'G1 / J) / (J - 1)` times the genetic variance.
    """
    J, trace = len(matrix), float(matrix.trace())
    if J < 2 or not trace > 0:
        return ""
    shared = float(matrix.mean()) * J
    part = shared / trace
    share = f"1'G1/J is {f'{100 * part:.2g}%' if part >= 1e-4 else 'less than 0.01%'} of tr G"
    if part < 0.5 / J:
        return f"centred ({share})"
    if part < 0.05:
        return f"nearly centred ({share})"
    return (
        f"not centred ({share}): the variance among lines is expected to be {(trace - shared) / (J - 1):.4g} times the "
        f"genetic variance, where the mean diagonal is {trace / J:.4g}"
    )


def _start(text: str) -> str:
    return text[:1].upper() + text[1:]
