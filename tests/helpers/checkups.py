"""Looks at a trial: the check-up of a frame, and what it found."""

from __future__ import annotations

import pandas as pd

from bmtme.checkup.findings import Finding
from bmtme.checkup.overview import Checkup
from bmtme.data.relationship.matrix import Relationship
from bmtme.data.trial import Trial

#: The lines of the fixture `clean`.
LINES = [f"L{j:02d}" for j in range(1, 31)]


def report(frame: pd.DataFrame, relationship: Relationship | None = None, **options: object) -> Checkup:
    rep = "rep" if "rep" in frame else None
    traits = [name for name in frame.columns if name not in ("line", "env", "rep")]
    return Trial.from_frame(frame, line="line", env="env", rep=rep, traits=traits).check(relationship, **options)


def found(checkup: Checkup, kind: str) -> Finding:
    """The one finding of a kind."""
    (finding,) = (finding for finding in checkup.notes if finding.kind == kind)
    return finding


def kinds(checkup: Checkup) -> set[str]:
    return {finding.kind for finding in checkup.notes}


def cells(frame: pd.DataFrame, line: str, env: str) -> pd.Series:
    return (frame["line"] == line) & (frame["env"] == env)
