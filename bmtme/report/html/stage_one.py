"""The page of adjusted means: what was made of each field, and how well it tells lines apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bmtme.report.html.content import Block, Column, Matrix, Notice, Page, Prose, Section, Shade, Table
from bmtme.report.html.figures import Pictures
from bmtme.report.html.methods import describe_software, list_methods
from bmtme.report.html.numbers import ABSENT, limit_rows, plain, tabulate
from bmtme.report.html.references import Citations
from bmtme.report.html.settings import show_settings, write_plain
from bmtme.report.mixed import show
from bmtme.report.ranking import choose_decimals
from bmtme.report.stage_one import NOT_FITTED, WORDS, name_outcome
from bmtme.words import count_noun, some_names

if TYPE_CHECKING:
    from bmtme.results.stage_one.result import Adjustment

__all__ = ["make_adjustment_page"]

#: Rows of all tables of means.
MOST_MEANS = 6000
#: Environments with pictures.
MOST_DRAWN = 8
#: Below this, plots hardly tell lines apart.
LOW = 0.3


def make_adjustment_page(
    drawn: Adjustment | None,
    run: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame],
    name: str,
    folder: str | None = None,
) -> Page:
    """The page of stage one.

    Parameters
    ----------
    drawn : the adjustment, where plots were adjusted here
    run : facts of the run: models by environment, notes
    tables : ``means``, and where plots were adjusted here ``heritability``, ``candidates``, ``outliers``, ``plots``
    """
    means = tables["means"]
    lines, envs, traits = (list(dict.fromkeys(means[key])) for key in ("line", "env", "trait"))
    sections = [Section("environments", "Environments", show_environments(tables))]
    sections += [Section("means", "Adjusted means", show_means(means))]
    if "outliers" in tables:
        sections.append(Section("outliers", "Outliers", show_outliers(tables["outliers"])))
    if "candidates" in tables:
        sections.append(Section("models", "Models of the field", show_candidates(tables["candidates"], run)))
    if drawn is not None:
        sections.append(Section("fields", "Fields", draw_fields(drawn)))
    sections += [
        Section("settings", "Settings", show_settings(run, list_facts(run), folder)),
        Section("methods", "Methods, to be pasted", write_methods(run, tables)),
    ]
    lead = (
        f"{count_noun(len(lines), 'line')} in {count_noun(len(envs), 'environment')} ({some_names(envs)}), "
        f"{count_noun(len(traits), 'trait')} ({some_names(traits)}): "
        f"{count_noun(int(means['estimable'].sum()), 'adjusted mean')}, with the covariance of their errors."
    )
    version = run.get("versions", {}).get("bmtme", "")
    return Page("Report of adjusted means", name, lead, judge(run, tables), sections, version)


def judge(run: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> list[Notice]:
    """What can be trusted, and what to look at."""
    models: Mapping[str, Any] = run.get("models", {})
    failed = [f"{env}: the search {own['message'].rstrip('.')}." for env, own in models.items() if not own["converged"]]
    doubts = list_doubts(run, tables)
    if failed:
        notices = [
            Notice("bad", "Do not lean on the means of these environments: the search has not converged.", failed)
        ]
    elif doubts:
        notices = [Notice("caution", "The means can be leaned on; look at what stands below.")]
    else:
        notices = [Notice("good", "The means can be leaned on.")]
    if doubts:
        notices.append(Notice("caution", "Please look at", doubts))
    remarks = list_remarks(run)
    if remarks:
        notices.append(Notice("plain", "Good to know", remarks))
    advice = (
        "They are not shrunken, so do not rank by means of few plots: 'bmtme fit' takes this folder in place of a "
        "table, with the covariance of the errors, and shrinks once."
    )
    return [*notices, Notice("plain", "What to do with them", [advice])]


def list_doubts(run: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """Notes of the run and of the models, means that are not there, plots that stand out."""
    texts = [note[0].upper() + note[1:].rstrip(".") + "." for note in run.get("notes", []) if note]
    lacking = tables["means"][~tables["means"]["estimable"]]
    if len(lacking):
        names = [f"{row.line} in {row.env}" for row in lacking.head(5).itertuples()]
        more = f" and {len(lacking) - len(names):,} more" if len(lacking) > len(names) else ""
        texts.append(f"Not estimable: {', '.join(names)}{more}. Nothing tells these lines from the design there.")
    outliers = tables.get("outliers")
    if outliers is not None and len(outliers):
        texts.append(
            f"{count_noun(len(outliers), 'plot')} {'differs' if len(outliers) == 1 else 'differ'} from what the others "
            "predict by more than chance. None is left out: correct what is a mistake, or empty it, and adjust again."
        )
    found = tables.get("heritability")
    if found is not None:
        poor = [
            f"{row['trait']} in {row['env']} ({row['cullis']:.2f})"
            for row in found[found["cullis"] < LOW].to_dict("records")
        ]
        if poor:
            texts.append(
                f"Plots hardly tell lines apart, the heritability by Cullis is below {LOW}: {some_names(poor)}."
            )
    return texts


def list_remarks(run: Mapping[str, Any]) -> list[str]:
    """What the models of the fields note, with the environments."""
    notes: dict[str, list[str]] = {}
    for env, own in run.get("models", {}).items():
        for note in own["notes"]:
            notes.setdefault(note, []).append(env)
    return [f"{note[0].upper()}{note[1:].rstrip('.')} ({some_names(where)})." for note, where in notes.items()]


def show_environments(tables: Mapping[str, pd.DataFrame]) -> list[Block]:
    """A row for each environment and trait."""
    found = tables.get("heritability")
    if found is None:
        return [Prose(["The means came from elsewhere: of plots and models of the field the folder says nothing."])]
    chosen = tables["candidates"][tables["candidates"]["chosen"]].set_index("env")["model"].to_dict()
    outliers = tables["outliers"].groupby(["env", "trait"]).size().to_dict()
    header = [
        Column("environment"), Column("trait"), Column("model"), Column("lines", True), Column("plots", True),
        Column("H2 Cullis", True, "heritability by the precision of differences between lines"),
        Column("SED", True, "standard error of a difference between two means, root mean square"),
        Column("outliers", True),
    ]  # fmt: skip
    rows = [
        [
            str(row["env"]), str(row["trait"]), str(chosen.get(row["env"], "")), f"{row['n_lines']:,}",
            f"{row['n_plots']:,}", plain(row["cullis"], 2), show(row["sed"], 3),
            str(outliers.get((row["env"], row["trait"]), 0)),
        ]
        for row in found.to_dict("records")
    ]  # fmt: skip
    note = (
        "H2 Cullis: heritability by the precision of differences between lines, lines random in the model that was "
        "chosen. SED: standard error of a difference between two means, root mean square."
    )
    told = [f"{row['trait']} in {row['env']}: {row['note']}." for row in found.to_dict("records") if row["note"]]
    return [Table(header, rows, "", " ".join([note, *told]), long=len(rows) > 12)]


def show_means(table: pd.DataFrame) -> list[Block]:
    """Lines by environments, a table for each trait."""
    traits, envs = (list(dict.fromkeys(table[key])) for key in ("trait", "env"))
    lines = table["line"].nunique()
    most = limit_rows(len(traits), lines, MOST_MEANS)
    text = (
        "In brackets the number of plots. Highest plain mean over environments first, which counts every mean alike "
        "and differs where lines were grown in different environments; standard errors are in means.csv."
    )
    blocks: list[Block] = [Prose([text])]
    for trait in traits:
        own = table[table["trait"] == trait]
        wide = own.pivot(index="line", columns="env", values="mean").reindex(columns=envs)
        plots = own.pivot(index="line", columns="env", values="n_plots").reindex(columns=envs)
        order = wide.mean(axis=1).sort_values(ascending=False, kind="stable").index[:most]
        decimals = choose_decimals(4 * float(np.nanmean(wide.std())) if len(wide) > 1 else 0.0)
        rows = []
        for line in order:
            values, counts = wide.loc[line].to_numpy(), plots.loc[line].to_numpy()
            cells = [
                ABSENT if not np.isfinite(value) else plain(value, decimals) + (f" ({n:.0f})" if n > 0 else "")
                for value, n in zip(values, counts, strict=True)
            ]
            rows.append([str(line), plain(float(np.nanmean(values)), decimals) if len(cells) else ABSENT, *cells])
        header = [Column("line"), Column("mean", True), *(Column(env, True) for env in envs)]
        note = "" if len(order) == lines else f"The first {len(order):,} of {lines:,} lines; means.csv has all."
        blocks.append(Table(header, rows, trait, note, long=True))
    return blocks


def show_outliers(table: pd.DataFrame) -> list[Block]:
    """Plots that stand out."""
    if table.empty:
        return [Prose(["No plot differs from what the others predict by more than chance (Holm's test at 5%)."])]
    note = "standardised: the difference in its standard deviations. None is left out."
    return [tabulate(table.sort_values("p", kind="stable"), note=note, long=len(table) > 12)]


def show_candidates(table: pd.DataFrame, run: Mapping[str, Any]) -> list[Block]:
    """AIC of the models above the least, a row for each environment; and the models that were chosen."""
    models, envs = (list(dict.fromkeys(table[key])) for key in ("model", "env"))
    rows: list[list[Shade | None]] = []
    for env in envs:
        by = table[table["env"] == env].set_index("model")
        cells: list[Shade | None] = []
        for model in models:
            if model not in by.index:
                cells.append(None)
                continue
            own: Any = by.loc[model]
            text = name_outcome(own)
            if text == NOT_FITTED:
                cells.append(Shade(text, "not fitted", about=str(own["note"] or "")))
            elif text in WORDS:
                cells.append(Shade(text, about=WORDS[text]))
            else:
                cells.append(Shade(text, "chosen" if own["chosen"] else "", 0.6 * own["chosen"]))
        rows.append(cells)
    reasons = dict.fromkeys(
        f"{row.model}: {str(row.note).removeprefix('not fitted: ')}"
        for row in table[table["log_likelihood"].isna()].itertuples()
        if row.note
    )
    note = "AIC above the least of the environment; the least is chosen."
    if reasons:
        note += f" Not fitted: {'; '.join(list(reasons)[:5])}."
    blocks: list[Block] = [Matrix(envs, models, rows, "", note)]
    chosen = [
        [env, own["model"]["fixed"], own["model"]["random"] or "none", own["model"]["residual"]]
        for env, own in run.get("models", {}).items()
    ]
    if chosen:
        header = [Column("environment"), Column("fixed"), Column("random"), Column("residual")]
        blocks.append(Table(header, chosen, "The models that were chosen", long=len(chosen) > 12))
    return blocks


def draw_fields(means: Adjustment) -> list[Block]:
    """Fields and residuals of the first environments."""
    pictures, envs = Pictures(), means.envs
    blocks: list[Block] = []
    for env in envs[:MOST_DRAWN]:
        if means.has_field(env):
            blocks += pictures.draw(
                means, "plot_field", f"{env}: values, trend and residuals in the field.", True, env=env
            )
        caption = f"{env}: standardised residuals against normal quantiles, outliers named."
        blocks += pictures.draw(means, "plot_quantiles", caption, True, env=env)
    if len(envs) > MOST_DRAWN:
        left = count_noun(len(envs) - MOST_DRAWN, "environment")
        blocks.append(
            Prose([f"'bmtme plot RUN field --env ENV' draws the other {left}; also variogram and quantiles."])
        )
    return blocks


def list_facts(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Columns and the model of the field that was asked for; as (label, text)."""
    facts = []
    for role, column in run.get("columns_of_plots", {}).items():
        if column:
            facts.append((role, write_plain(column) if not isinstance(column, str) else column))
    if "spatial" in run:
        facts.append(("field", str(run["spatial"]).replace("_", " ")))
    return facts


def write_methods(run: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> list[Block]:
    """The text of the methods."""
    cite = Citations()
    means = tables["means"]
    envs = list(dict.fromkeys(means["env"]))
    if "candidates" not in tables:
        texts = [
            f"Adjusted means of {count_noun(means['line'].nunique(), 'line')} in "
            f"{count_noun(len(envs), 'environment')} and the covariance of their errors [say here how they were made]."
        ]
        return list_methods([*texts, describe_software(run)], cite)
    chosen = tables["candidates"][tables["candidates"]["chosen"]]["model"].tolist()
    names: Sequence[str] = list(dict.fromkeys(chosen))
    plots = int(tables["heritability"].groupby("env")["n_plots"].max().sum())
    texts = [
        f"In a first stage of two ({cite('two stages')}; {cite('weights')}), {count_noun(plots, 'plot')} of "
        f"{count_noun(means['line'].nunique(), 'line')} were analysed by environment with a linear mixed model for "
        f"{some_names(list(dict.fromkeys(means['trait'])), 20)}: lines and replicates fixed, blocks random."
    ]
    fitted = tables["candidates"][tables["candidates"]["log_likelihood"].notna()]
    tried: Sequence[str] = list(dict.fromkeys(fitted["model"]))
    if len(tried) > 1:
        text = (
            f"Of the models of the field {', '.join(tried)}, which have one fixed part, that with the least AIC was "
            f"taken ({', '.join(f'{name} in {chosen.count(name)}' for name in names)} of "
            f"{count_noun(len(envs), 'environment')})"
        )
        if "psplines" in tried:
            text += f"; psplines are two-dimensional P-splines ({cite('splines')})"
        texts.append(text + ".")
    texts += [
        f"Variances were estimated by average information REML ({cite('reml')}). The means and the full covariance of "
        f"their errors are kept. Heritabilities are those of {cite.name('cullis')}, lines random. Outliers were looked "
        f"for by standardised residuals ({cite('outliers')}) with p after {cite.name('holm')}; none was left out.",
        describe_software(run),
    ]
    return list_methods(texts, cite, all(own["converged"] for own in run.get("models", {}).values()))
