"""What a look at the data finds: one sentence for people, and rows for programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

__all__ = ["COLUMNS", "SEVERITIES", "Finding", "Severity", "join_texts", "tabulate_findings"]

Severity = Literal["stop", "warning", "note"]
#: In the order in which people want to read them: a fit would be refused; look at it; good to know.
SEVERITIES: tuple[Severity, ...] = ("stop", "warning", "note")
#: Columns of the table of findings; `other` is the second line, environment or trait of a pair, `median` that of an
#: outlier's trait and environment.
COLUMNS = ("severity", "kind", "trait", "env", "line", "other", "rep", "row", "value", "median", "z", "message")


@dataclass(frozen=True)
class Finding:
    """One kind of thing that was found.

    Attributes
    ----------
    severity : {"stop", "warning", "note"}
        A fit would be refused; it may be a mistake; good to know.
    kind : str
        What it is in a word or two, such as ``outlier``.
    summary : str
        One or more sentences for people.
    items : tuple of dict
        Every single case, by the names of `COLUMNS`; a case's ``message`` stands on its own.
    """

    severity: Severity
    kind: str
    summary: str
    items: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def of(cls, severity: Severity, kind: str, summary: str, items: Iterable[Mapping[str, Any]] = ()) -> Finding:
        """A finding with its cases."""
        return cls(severity, kind, summary, tuple(items))


def tabulate_findings(findings: Sequence[Finding]) -> pd.DataFrame:
    """All cases, one a row, in the order given; a finding without cases is one row with its summary."""
    rows = []
    for finding in findings:
        for item in finding.items or ({"message": finding.summary},):
            rows.append({"severity": finding.severity, "kind": finding.kind, **item})
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    numbers = {"value": "float64", "median": "float64", "z": "float64", "row": "Int64"}
    return frame.astype({name: numbers.get(name, "object") for name in COLUMNS}).where(frame.notna(), None)


def join_texts(texts: Sequence[str], most: int = 6) -> str:
    """The first texts, which may hold commas, and how many more there are."""
    more = f"; and {len(texts) - most:,} more" if len(texts) > most else ""
    return "; ".join(texts[:most]) + more
