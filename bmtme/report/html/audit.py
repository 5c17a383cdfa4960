"""The records of a fit looked over again, from what its folder holds."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pandas as pd

from bmtme.checkup.cautions import list_settled
from bmtme.checkup.coverage import count_common_lines
from bmtme.checkup.findings import Finding
from bmtme.checkup.overview import look_over
from bmtme.checkup.text import HEADINGS, LISTED
from bmtme.data.relationship.matrix import Relationship
from bmtme.data.trial import Trial
from bmtme.report.html.content import Block, Column, Matrix, Notice, Shade, Table
from bmtme.report.html.numbers import ABSENT, plain
from bmtme.report.ranking import choose_decimals
from bmtme.results.residuals import RECORD_PLOTS
from bmtme.results.traits import BY_TRAIT
from bmtme.results.unrecorded import RELATIONSHIP
from bmtme.words import count_noun

if TYPE_CHECKING:
    from bmtme.results.fit import Fit

__all__ = ["audit_records", "rebuild_trial"]

#: Environments up to which their common lines are shown.
MOST_ENVS = 16
#: Rows of environment and trait that are shown.
MOST_COLUMNS = 400
#: Single cases of a finding.
MOST_CASES = 50
TONES: dict[str, Any] = {"stop": "bad", "warning": "caution", "note": "plain"}


def rebuild_trial(fit: Fit) -> Trial:
    """The records of a fit as a trial: lines with a record, environments and traits; replicates that have effects."""
    observed = fit._groups["observed_data"]
    lines, envs = fit.recorded_lines, fit.run["facts"]["envs"]
    names = observed["record_line"].values.tolist()
    line = pd.Index(lines).get_indexer(pd.Index(names))
    env = pd.Index(envs).get_indexer(pd.Index(observed["record_env"].values.tolist()))
    values = observed["Y"].transpose("record", "trait").values
    reps = None
    if "record_replicate" in observed.coords and observed["record_replicate"].dims == ("record",):
        reps = tuple(map(str, observed["record_replicate"].values.tolist()))
    n_plots = observed[RECORD_PLOTS].values if RECORD_PLOTS in observed.coords else None
    return Trial(tuple(lines), tuple(envs), tuple(fit._traits), line, env, values, reps=reps, n_plots=n_plots)


def audit_records(fit: Fit, trial: Trial) -> list[Block]:
    """What a look at the records finds, the gravest first, and how many there are."""
    relationship = take_relationship(fit, trial)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what the fit has said
        checkup = look_over(trial, relationship)
    model = fit.run["settings"]["model"]
    by_env, alone = "env" in fit._groups["posterior"]["R_e"].dims, BY_TRAIT in fit.run["facts"]
    settled = list_settled(by_env, alone, model.get("rep_effect") in ("fixed", "random"))
    blocks: list[Block] = []
    for finding in checkup.notes:
        if finding.kind in settled:  # the model of the fit has what they ask for
            continue
        title = f"{HEADINGS[finding.severity]}: {finding.kind}"
        blocks.append(Notice(TONES[finding.severity], title, [finding.summary]))
        if finding.kind in LISTED and finding.items:
            blocks.append(tabulate_cases(finding))
    if not blocks:
        blocks.append(Notice("good", "Nothing strange was found in the records."))
    blocks.append(tabulate_records(checkup.columns))
    common = count_common_lines(trial)
    if 2 <= len(common) <= MOST_ENVS:
        blocks.append(show_common(common))
    return blocks


def tabulate_cases(finding: Finding) -> Table:
    """Single cases of a finding."""
    items = finding.items[:MOST_CASES]
    names = [name for name in ("trait", "env", "line", "rep") if any(item.get(name) for item in items)]
    numbers = [name for name in ("value", "median", "z") if any(item.get(name) is not None for item in items)]
    header = [Column({"env": "environment"}.get(name, name)) for name in names]
    header += [Column({"z": "robust z"}.get(name, name), True) for name in numbers]
    rows = [
        [str(item.get(name) or "") for name in names] + [f"{item[name]:+.1f}" if name == "z" else f"{item[name]:.6g}"
        for name in numbers]
        for item in items
    ]  # fmt: skip
    more = len(finding.items) - len(items)
    return Table(header, rows, note=f"{count_noun(more, 'more case')}." if more > 0 else "", long=len(rows) > 12)


def take_relationship(fit: Fit, trial: Trial) -> Relationship | None:
    """That of the lines with a record, where the folder has it."""
    group = fit._groups.get(RELATIONSHIP)
    if group is None or "G" not in group:
        return None
    matrix = group["G"].transpose("line", "line_bis").values
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = Relationship(matrix, [str(name) for name in group["line"].values])
    return whole if set(trial.lines) <= set(whole.lines) else None


def tabulate_records(columns: pd.DataFrame) -> Table:
    """Lines, mean and standard deviation of each environment and trait."""
    header = [
        Column("environment"), Column("trait"), Column("lines", True), Column("mean", True), Column("SD", True),
    ]  # fmt: skip
    rows = []
    for row in columns.head(MOST_COLUMNS).to_dict("records"):
        decimals = choose_decimals(row["sd"]) if row["sd"] > 0 else 2
        numbers = [plain(row[name], decimals) for name in ("mean", "sd")]
        rows.append([str(row["env"]), str(row["trait"]), f"{row['lines']:,}" if row["lines"] else ABSENT, *numbers])
    more = len(columns) - len(rows)
    note = f"{count_noun(more, 'more row')}." if more > 0 else ""
    return Table(header, rows, "Records by environment and trait", note, long=len(rows) > 12)


def show_common(common: pd.DataFrame) -> Matrix:
    """Lines that two environments have in common."""
    envs = [str(env) for env in common.index]
    counts = common.to_numpy()
    largest = max(int(counts.max()), 1)
    cells = [
        [Shade(f"{counts[i, k]:,}", dark=0.7 * counts[i, k] / largest) if k <= i else None for k in range(len(envs))]
        for i in range(len(envs))
    ]
    return Matrix(envs, envs, cells, "Lines in common", "On the diagonal: lines of the environment itself.")
