"""The page of a fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from bmtme.decisions.covariances import list_names_along
from bmtme.report.best import count_draws
from bmtme.report.glossary import name_record
from bmtme.report.html.audit import audit_records, rebuild_trial
from bmtme.report.html.content import Block, Column, Notice, Page, Prose, Section, Table
from bmtme.report.html.estimates import (
    show_correlations,
    show_diagnostics,
    show_heritability,
    show_interaction,
    show_means,
)
from bmtme.report.html.lines import (
    Rankings,
    name_best,
    rank_all,
    show_lines,
    show_response,
    show_stability,
    show_values,
)
from bmtme.report.html.methods import write_fit_methods
from bmtme.report.html.numbers import interval, plain
from bmtme.report.html.settings import show_settings
from bmtme.report.tables import list_data_facts, list_fit_facts, name_model
from bmtme.results.fit import Fit
from bmtme.results.unrecorded import RELATIONSHIP
from bmtme.words import count_noun

if TYPE_CHECKING:
    from bmtme.data.trial import Trial

__all__ = ["make_fit_page"]


class HeldFit(Fit):
    """The same fit, which keeps its joint draws while a page is made: a dozen tables are made of them."""

    def __init__(self, fit: Fit) -> None:
        super().__init__(fit._groups, fit.run, fit._predictions)
        self._summary = pd.DataFrame(fit.summary())
        self._held: Any = None

    def line_effects(self, draws: int = 1000) -> Any:
        if self._held is None:
            self._held = super().line_effects(count_draws(self) or draws)
        return self._held


def make_fit_page(fit: Fit, name: str, folder: str | None = None) -> Page:
    """The page of a fit."""
    fit = HeldFit(fit)
    trial, rankings = rebuild_trial(fit), rank_all(fit)
    facts, record = list_fit_facts(fit.run, trial), name_record(fit.run["data"], plots=bool((trial.plots() > 1).any()))
    stability = show_stability(fit) if rankings is not None else []
    sections = [
        Section("short", "In short", show_short(fit, trial, rankings)),
        Section("ranking", "Ranking", [*show_lines(fit, rankings), *(show_response(rankings) if rankings else [])]),
        Section("correlations", "Correlations of the traits", show_correlations(fit)),
        Section("environments", "Lines and environments", [*show_interaction(fit), *stability, *show_values(fit)]),
        Section("heritability", "Heritabilities", show_heritability(fit, record)),
        Section("diagnostics", "Diagnostics", show_diagnostics(fit)),
        Section("data", "Data", [*show_means(fit), *audit_records(fit, trial)]),
        Section("settings", "Settings", show_settings(fit.run, facts, folder)),
        Section("methods", "Methods, to be pasted", write_methods(fit, trial)),
    ]
    lead = " ".join(text.rstrip(".") + "." for _, text in list_data_facts(fit.run["data"], trial)[:2])
    lead += f" Model: {name_model(fit.run['settings']['model'])}."
    return Page("Report of a fit", name, lead, judge(fit), sections, fit.run["versions"].get("bmtme", ""))


def judge(fit: Fit) -> list[Notice]:
    """What can be trusted, and what not or less."""
    verdict, convergence, *doubts = fit._diagnose()
    tone = ("caution" if doubts else "good") if fit.reliable else "bad"
    notices = [Notice(tone, verdict, [convergence])]  # type: ignore[arg-type]
    if doubts:
        notices.append(Notice("caution", "Of these little or nothing is known, or they do not fit", doubts))
    return notices


def show_short(fit: Fit, trial: Trial, rankings: Rankings | None) -> list[Block]:
    """A row for each trait: how heritable it is, and its best lines."""
    envs = list_names_along(fit, "env")
    found = {row["trait"]: row for row in fit.heritability("mean").to_dict("records")}
    header = [Column("trait"), Column("heritability of a line's mean", True), Column("90% interval", True)]
    if rankings is not None:
        header += [Column("highest line: value (90% interval)"), Column(f"P(highest {rankings.top})", True)]
    rows = []
    for trait in trial.traits:
        own = found.get(trait)
        numbers = ["-", "-"]
        if own is not None:
            numbers = [plain(own["mean"], 2), interval(own["lower"], own["upper"], 2)]
        rows.append([trait, *numbers, *(name_best(rankings, trait) if rankings is not None else ())])
    over = f"the mean over {count_noun(len(envs), 'environment')}" if len(envs) > 1 else "the environment"
    text = f"Values are of {over}."
    if rankings is not None:
        text += (
            f" P(highest {rankings.top}): probability of that line to be truly among the {rankings.top} highest of "
            "all. Of a trait where low values are wanted, look at the end of its ranking."
        )
    return [Table(header, rows), Prose([text])]


def write_methods(fit: Fit, trial: Trial) -> list[Block]:
    """The text of the methods."""
    group = fit._groups.get(RELATIONSHIP)
    identity = "G" not in group if group is not None else None
    if fit.run.get("inputs", {}).get("relationship") == "identity":
        identity = True
    return write_fit_methods(fit.run, trial, fit.summary(), identity)
