"""The page of a fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from bmtme.decisions.covariances import list_names_along
from bmtme.errors import UsageError
from bmtme.report.best import count_draws
from bmtme.report.glossary import name_record
from bmtme.report.html.audit import audit_records, rebuild_trial
from bmtme.report.html.content import Block, Column, Facts, Fold, Notice, Page, Prose, Section, Table
from bmtme.report.html.estimates import (
    show_correlations,
    show_diagnostics,
    show_heritability,
    show_interaction,
    show_means,
)
from bmtme.report.html.figures import CHAINS, Pictures
from bmtme.report.html.lines import (
    STABLE,
    VALUES,
    Rankings,
    explain_absence,
    name_best,
    rank_all,
    show_lines,
    show_stability,
    show_values,
)
from bmtme.report.html.methods import write_fit_methods
from bmtme.report.html.numbers import interval, plain
from bmtme.report.html.settings import show_settings, write_plain
from bmtme.report.tables import list_data_facts, list_fit_facts, name_model
from bmtme.results.fit import Fit
from bmtme.results.unrecorded import RELATIONSHIP
from bmtme.words import count_noun

if TYPE_CHECKING:
    from bmtme.data.trial import Trial

__all__ = ["HeldFit", "make_fit_page"]

#: Traits with pictures of lines; cells of a picture of heritabilities; values that are left out in turn, at most.
MOST_DRAWN, MOST_SHARES, MOST_LEFT_OUT = 3, 40, 3000
RANKED = "values of the highest lines with 90% intervals, and of all lines by rank."
NORMS = (
    "values of all lines from environment to environment, and below their deviations from the mean; the best lines in "
    "colour."
)
CALIBRATION = (
    "Every record against what all others predict for it. The slope should be near 1, and the shares within the 50% "
    "and 90% intervals near these."
)


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


def make_fit_page(fit: Fit, name: str, folder: str | None = None, check: str | None = None) -> Page:
    """The page of a fit.

    check : a line that the others are compared with

    Raises
    ------
    DataError
        If there is no such line.
    """
    fit = HeldFit(fit)
    trial, rankings, pictures = rebuild_trial(fit), rank_all(fit, check), Pictures()
    if check is not None and rankings is None:
        raise UsageError(f"check goes with a ranking, and this page has none. {explain_absence(fit)}")
    ranked, changes = draw_lines(fit, pictures, "plot_ranking", RANKED, check), show_changes(fit, pictures, check)
    facts, record = list_fit_facts(fit.run, trial), name_record(fit.run["data"], plots=bool((trial.plots() > 1).any()))
    sections: list[Section] = [
        Section("short", "In short", show_short(fit, trial, rankings)),
        Section("ranking", "Ranking", show_lines(fit, rankings, ranked)),
        Section("correlations", "Correlations of the traits", show_correlations(fit)),
        Section("environments", "Lines and environments", [*show_interaction(fit), *changes]),
        Section("heritability", "Heritabilities", [*show_heritability(fit, record), *draw_shares(fit, pictures)]),
        Section("diagnostics", "Diagnostics", [
            *show_diagnostics(fit), *pictures.draw(fit, "plot_chains", CHAINS), *draw_calibration(fit, pictures),
        ]),
        Section("data", "Data", [*show_means(fit), *audit_records(fit, trial)]),
        Section("settings", "Settings", [
            *show_settings(fit.run, facts, folder), Fold("All settings", [Facts(list_settings(fit))]),
        ]),
        Section("methods", "Methods, to be pasted", write_methods(fit, trial)),
    ]  # fmt: skip
    lead = " ".join(text.rstrip(".") + "." for _, text in list_data_facts(fit.run["data"], trial)[:2])
    lead += f" Model: {name_model(fit.run['settings']['model'])}."
    return Page("Report of a fit", name, lead, judge(fit), sections, fit.run["versions"].get("bmtme", ""), check)


def draw_lines(fit: Fit, pictures: Pictures, method: str, caption: str, check: str | None) -> dict[str, list[Block]]:
    """A picture of lines for each of the first traits, and after the last one how the others are drawn."""
    if not count_draws(fit):
        return {}
    traits = fit._traits[:MOST_DRAWN]
    found = {trait: pictures.draw(fit, method, f"{trait}: {caption}", trait=trait, check=check) for trait in traits}
    left = len(fit._traits) - len(traits)
    if left > 0 and found[traits[-1]]:
        name = method.removeprefix("plot_").replace("_", "-")
        text = f"'bmtme plot RUN {name} --trait TRAIT' draws the other {count_noun(left, 'trait')}."
        found[traits[-1]].append(Prose([text]))
    return found


def show_changes(fit: Fit, pictures: Pictures, check: str | None) -> list[Block]:
    """How lines change from environment to environment, trait by trait."""
    stable, values = show_stability(fit, check) if count_draws(fit) else {}, show_values(fit, check)
    drawn = draw_lines(fit, pictures, "plot_reaction_norms", NORMS, check)
    blocks: list[Block] = [Prose([*([STABLE] if stable else []), *([VALUES] if values else [])])]
    for trait in fit._traits:
        blocks += [*drawn.get(trait, ()), *(found[trait] for found in (stable, values) if trait in found)]
    return blocks if len(blocks) > 1 else []


def draw_shares(fit: Fit, pictures: Pictures) -> list[Block]:
    """Heritabilities, where they are few enough for a picture."""
    if len(fit._traits) * len(list_names_along(fit, "env")) > MOST_SHARES:
        return []
    return pictures.draw(fit, "plot_heritability", "Heritabilities with 90% intervals.")


def draw_calibration(fit: Fit, pictures: Pictures) -> list[Block]:
    """Every record against what the others predict, where that takes few seconds."""
    if int(fit._groups["observed_data"]["Y"].notnull().sum()) > MOST_LEFT_OUT:
        return []
    return pictures.draw(fit, "plot_calibration", CALIBRATION)


def list_settings(fit: Fit) -> list[tuple[str, str]]:
    """All settings as they were given; what "default" means is in the methods."""
    settings = dict(fit.run["settings"])
    model = settings.pop("model")
    return [(name.replace("_", " "), write_plain(value)) for name, value in {**model, **settings}.items()]


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
    return write_fit_methods(fit.run, trial, fit.summary(), identity, fit.reliable)
