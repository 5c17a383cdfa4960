"""The page of a mixed model: by REML, or from its posterior."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bmtme.columns import show_p
from bmtme.report.html.content import Block, Column, Fold, Notice, Page, Prose, Section, Table, split_paragraphs
from bmtme.report.html.estimates import tabulate_summary
from bmtme.report.html.figures import CHAINS, Pictures
from bmtme.report.html.methods import describe_software, list_methods
from bmtme.report.html.numbers import LABELS, plain, tabulate, write_cell
from bmtme.report.html.references import Citations
from bmtme.report.html.settings import show_settings, write_plain
from bmtme.report.mixed import list_averaged, show
from bmtme.report.summaries import describe_worst
from bmtme.results.frames import ComponentTable
from bmtme.words import count_noun

if TYPE_CHECKING:
    from bmtme.results.mixed.pictures import ResidualPictures
    from bmtme.results.mixed.posterior import MixedPosterior

__all__ = ["make_posterior_page", "make_reml_page"]

#: Rows of the effects of a term, and residuals that are listed, at most.
MOST_EFFECTS, MOST_RESIDUALS = 2500, 15
#: Standardised residuals from which on they are listed: of a thousand normal ones some three lie beyond.
LARGE, BEYOND = 3.0, 0.0027
ABOUT = {
    "blup": "predicted effect",
    "pev": "prediction error variance",
    "se": "standard error",
    "z": "estimate over its standard error",
    "reliability": "1 - PEV / variance of the effect",
    "n": "records of the level",
    "den_df": "denominator degrees of freedom",
    "f_conditional": "after all other terms but those that contain it",
}
EFFECTS, MEANS, FIXED = "effects-", "predict-", "fixed_effects"


def make_reml_page(
    drawn: ResidualPictures,
    run: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame],
    name: str,
    folder: str | None = None,
) -> Page:
    """The page of a fit by REML.

    Parameters
    ----------
    drawn : the fit, or what its folder has
    run : as of `MixedFit.record`
    tables : by name, as of `MixedFit.tables`, and others that were asked for
    """
    asked = {key: table for key, table in tables.items() if key in ("heritability", "derived")}
    means = {key.removeprefix(MEANS): table for key, table in tables.items() if key.startswith(MEANS)}
    sections = [
        Section("variances", "Variances and correlations", show_components(tables["components"])),
        Section("heritability", "Heritabilities and functions of variances", show_asked(asked)),
        Section("fixed", "Fixed effects", show_fixed(tables)),
        *([Section("means", "Adjusted means", show_means(means, run.get("means", {})))] if means else []),
        Section("effects", "Random effects", show_blups(tables)),
        Section("residuals", "Residuals", [*show_residuals(tables.get("residuals")), *draw_residuals(drawn)]),
        Section("settings", "Settings", show_settings(run, list_facts(run), folder)),
        Section("methods", "Methods, to be pasted", write_reml_methods(run, tables)),
    ]
    lead = f"{describe_formula(run['model'])} {count_noun(run['records'], 'value')}. By REML."
    verdict = judge(run, tables.get("residuals"))
    return Page("Report of a mixed model", name, lead, verdict, sections, run["versions"].get("bmtme", ""))


def describe_formula(model: Mapping[str, str]) -> str:
    """The three parts of a model."""
    return f"Fixed: {model['fixed']}; random: {model['random'] or 'none'}; residual: {model['residual']}."


def judge(run: Mapping[str, Any], residuals: pd.DataFrame | None) -> list[Notice]:
    """Whether the search ended well, and what is to be known of the estimates."""
    message = run["message"].rstrip(".") + "."
    notes = [*run["notes"], *count_residuals(residuals)]
    if not run["converged"]:
        return [
            Notice("bad", "Do not lean on these numbers: the search has not converged.", [f"The search {message}"]),
            *list_notes(notes),
        ]
    tone = "caution" if notes else "good"
    title = "The likelihood is at its maximum; mind the notes below." if notes else "The numbers can be leaned on."
    return [Notice(tone, title, [f"The search {message}"]), *list_notes(notes)]  # type: ignore[arg-type]


def count_residuals(table: pd.DataFrame | None) -> list[str]:
    """A word on more large residuals than chance makes of normal ones: by three standard deviations and two."""
    if table is None or "standardised" not in table:
        return []
    size = table["standardised"].abs().dropna()
    large, expected = int((size > LARGE).sum()), BEYOND * len(size)
    if large <= expected + 3.0 * math.sqrt(expected) + 2.0:
        return []
    return [
        f"{large:,} of {len(size):,} values lie more than {LARGE:g} standard deviations from what is fitted, where "
        f"some {expected:.0f} would by chance: look at the residuals, as standard errors and tests take them as normal"
    ]


def list_notes(notes: Sequence[str]) -> list[Notice]:
    """What is to be known, in sentences."""
    texts = [note[0].upper() + note[1:].rstrip(".") + "." for note in notes if note]
    return [Notice("caution", "To be known of the estimates", texts)] if texts else []


def show_components(table: pd.DataFrame) -> list[Block]:
    """Variances, covariances and correlations."""
    about = {"z": ABOUT["z"], "bound": "where a variance is zero, or a covariance has no full rank"}
    note = (
        "Standard errors are those of the average information: of a variance near zero they say little, and a "
        "likelihood ratio (MixedFit.lrt) is the test."
    )
    return [tabulate(table, about, note=note, long=len(table) > 12)]


def show_asked(tables: Mapping[str, pd.DataFrame]) -> list[Block]:
    """Heritabilities and functions of variances, where they were asked for."""
    if not tables:
        return [
            Prose(
                [
                    "None were asked for: --heritability TERM and --derive EXPRESSION of 'bmtme mixed' make them, in "
                    "Python MixedFit.heritability and MixedFit.derive."
                ]
            )
        ]
    titles = {"heritability": "Heritabilities", "derived": "Functions of the variances"}
    return [tabulate(table, title=titles[key]) for key, table in tables.items()]


def show_fixed(tables: Mapping[str, pd.DataFrame]) -> list[Block]:
    """Tests of the fixed terms, and the effects."""
    blocks: list[Block] = []
    wald = tables.get("wald")
    if wald is not None and len(wald):
        blocks.append(tabulate_wald(wald))
    fixed = tables.get(FIXED)
    if fixed is not None and len(fixed):
        blocks.append(tabulate(fixed, ABOUT, title="Fixed effects", long=len(fixed) > 12))
    return blocks or [Prose(["There are none."])]


def tabulate_wald(table: pd.DataFrame) -> Table:
    """Tests of the fixed terms."""
    header = [
        Column("fixed term"), Column("df", True), Column("den. df", True), Column("F incremental", True),
        Column("p", True), Column("F conditional", True), Column("p conditional", True),
    ]  # fmt: skip
    rows = [
        [
            str(row["term"]), str(row["df"]), show(row["den_df"], 3), show(row["f"], 3), show_p(row["p"]),
            show(row["f_conditional"], 3), show_p(row["p_conditional"]),
        ]
        for row in table.to_dict("records")
    ]  # fmt: skip
    note = (
        "Incremental: each term after those before it; conditional: after all others but those that contain it. "
        "Denominator degrees of freedom by "
        + (
            "matching the moments of F."
            if "moments" in set(table["method"])
            else "containment, as the equations are large."
        )
    )
    return Table(header, rows, "Tests of the fixed terms", note)


def show_means(tables: Mapping[str, pd.DataFrame], facts: Mapping[str, Any]) -> list[Block]:
    """Adjusted means, the highest first."""
    blocks: list[Block] = []
    for term, table in tables.items():
        own = dict(facts.get(f"predict-{term}", {})) | dict(table.attrs)
        notes = []
        if own.get("sed") is not None and np.isfinite(own["sed"]):
            notes.append(f"Standard error of a difference {show(own['sed'])} (root mean square).")
        if own.get("lsd") is not None and np.isfinite(own["lsd"]):
            notes.append(f"Least significant difference at 5%: {show(own['lsd'])}.")
        notes += list_averaged(own)
        shown = table.sort_values("mean", ascending=False, kind="stable")
        blocks.append(tabulate(shown, ABOUT, MOST_EFFECTS, title=term, note=" ".join(notes), long=True))
    return blocks


def show_blups(tables: Mapping[str, pd.DataFrame]) -> list[Block]:
    """Predicted effects of each random term, the highest first."""
    blocks: list[Block] = []
    for key, table in tables.items():
        if key.startswith("blup-") and len(table):
            shown = table.sort_values("blup", ascending=False, kind="stable")
            blocks.append(tabulate_effects(shown, key.removeprefix("blup-")))
    return blocks or [Prose(["There are none."])]


def tabulate_effects(table: pd.DataFrame, title: str) -> Table:
    """Effects of a term, the numbers of a column with the same decimals."""
    shown = table.drop(columns=[name for name in table if (table[name].astype(str) == "").all()]).head(MOST_EFFECTS)
    columns, texts = [], []
    for name in shown:
        own = shown[name]
        number = pd.api.types.is_numeric_dtype(own)
        columns.append(Column(LABELS.get(str(name), str(name)), number, ABOUT.get(str(name), "")))
        if number and own.dtype.kind == "f" and str(name) != "n":
            decimals = 2 if name == "reliability" else count_decimals(own)
            texts.append([plain(value, decimals) for value in own.tolist()])
        else:
            texts.append([write_cell(value, number) for value in own.tolist()])
    note = "" if len(shown) == len(table) else f"The first {len(shown):,} of {len(table):,}; the files have all."
    return Table(columns, list(zip(*texts, strict=True)), title, note, long=True)


def count_decimals(values: pd.Series) -> int:
    """Three digits of the standard deviation of a column."""
    spread = float(values.std()) if len(values) > 1 else float(abs(values.iloc[0]))
    return int(min(8, max(0, 2 - np.floor(np.log10(spread))))) if spread > 0 else 3


def show_residuals(table: pd.DataFrame | None) -> list[Block]:
    """The largest residuals in their standard deviations."""
    if table is None or "standardised" not in table:
        return [Prose(["They are not in the folder."])]
    size = table["standardised"].abs()
    large = table[size > LARGE]
    expected = BEYOND * int(size.notna().sum())
    text = (
        f"{count_noun(len(large), 'value')} of {int(size.notna().sum()):,} {'lies' if len(large) == 1 else 'lie'} more "
        f"than {LARGE:g} standard deviations from what is fitted; of normal residuals some {expected:.0f} would."
    )
    blocks: list[Block] = [Prose([text])]
    if len(large):
        shown = large.loc[size[large.index].sort_values(ascending=False, kind="stable").index].head(MOST_RESIDUALS)
        note = "Rows of the table of plots, the first data row being 2 where it was a file with a header."
        blocks.append(tabulate(shown, title="The largest residuals", note=note))
    return blocks


def draw_residuals(drawn: ResidualPictures) -> list[Block]:
    """Residuals against fitted values, and where they lie if that is known."""
    pictures = Pictures()
    return [
        *pictures.draw(drawn, "plot_residuals", "Residuals against fitted values, and against normal quantiles.", True),
        *pictures.draw(drawn, "plot_field", "Residuals where they lie in the field.", True),
        *pictures.draw(
            drawn, "plot_variogram", "Sample variogram of the residuals: flat where neighbours are not alike."
        ),
    ]


def list_facts(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The model and the search; as (label, text)."""
    model = run["model"]
    facts = [(name, model[name] or "none") for name in ("fixed", "random", "residual")]
    facts.append(("values", f"{run['records']:,}"))
    if "log_likelihood" in run:
        facts += [
            ("log likelihood", f"{run['log_likelihood']:.4f} ({run['log_likelihood_full']:.4f} with n log 2 pi)"),
            (
                "AIC, BIC",
                f"{run['aic']:.2f}, {run['bic']:.2f}; {count_noun(run['parameters'], 'parameter')} of covariances",
            ),
            ("search", str(run["message"])),
        ]
    return facts


def write_reml_methods(run: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> list[Block]:
    """The text of the methods."""
    cite = Citations()
    model = run["model"]
    texts = [
        describe_terms(model, run["records"], cite),
        f"Covariances were estimated by average information REML ({cite('reml')}) on sparse mixed model equations; the "
        f"search {run['message'].rstrip('.')} (restricted log likelihood {run['log_likelihood']:.4f}, "
        f"{count_noun(run['parameters'], 'parameter')}). Standard errors are asymptotic.",
    ]
    wald = tables.get("wald")
    if wald is not None and "moments" in set(wald["method"]):
        texts.append(
            "Fixed terms were tested by F with denominator degrees of freedom that match its moments "
            f"({cite('tests')}, without their correction of the covariance)."
        )
    found = tables.get("heritability")
    if found is not None and "cullis" in set(found["kind"]):
        texts.append(f"Heritabilities by the precision of differences are those of {cite.name('cullis')}.")
    texts.append(describe_software(run))
    return list_methods(texts, cite, bool(run["converged"]))


def describe_terms(model: Mapping[str, str], values: int, cite: Citations) -> str:
    """The model in words, for the methods."""
    text = (
        f"A linear mixed model with the fixed part {model['fixed']}, the random terms {model['random'] or 'none'} and "
        f"the residual {model['residual']} was fitted to {count_noun(values, 'value')}"
    )
    if "known(" in model["random"]:
        text += " [say here from which pedigree or markers the relationships in known() were made]"
    return text + "."


def make_posterior_page(posterior: MixedPosterior, name: str, folder: str | None = None) -> Page:
    """The page of a mixed model's posterior."""
    run = posterior.run
    summary = ComponentTable(posterior.summary()).join_names()
    verdict, *others = split_paragraphs(posterior.diagnose())
    tone = ("caution" if any("hardly" in text for text in others) else "good") if posterior.reliable else "bad"
    tables = posterior.tables()
    terms = {file.removesuffix(".csv"): term for file, term in run["effects"].items()}
    effects = {
        terms.get(key, key.removeprefix(EFFECTS)): table for key, table in tables.items() if key.startswith(EFFECTS)
    }
    fixed, more = tables.get(FIXED), {**tables, **posterior.asked}
    asked = {key: table for key, table in more.items() if key in ("heritability", "derived")}
    means = {
        run["predictions"].get(f"{key}.csv", key.removeprefix(MEANS)): table
        for key, table in more.items()
        if key.startswith(MEANS)
    }
    settings = run["settings"]
    facts = [(key, run["model"][key] or "none") for key in ("fixed", "random", "residual")]
    facts += [(key.replace("_", " "), write_plain(value)) for key, value in settings.items() if key != "priors"]
    facts += [(f"prior of {term}", write_plain(prior)) for term, prior in settings["priors"].items()]
    sections = [
        Section("variances", "Variances and correlations", [
            Prose([describe_worst(summary)]), tabulate_summary(summary, "", long=len(summary) > 12),
        ]),
        *([Section("heritability", "Heritabilities and functions of variances", show_asked(asked))] if asked else []),
        Section("fixed", "Fixed effects", show_drawn(fixed, "Fixed effects")),
        *([Section("means", "Adjusted means", show_means(means, run["means"]))] if means else []),
        Section("effects", "Random effects", [
            block for term, table in effects.items()
            for block in show_drawn(table.sort_values("mean", ascending=False, kind="stable"), term)
        ] or show_drawn(None, "")),
        Section("diagnostics", "Diagnostics", [
            *Pictures().draw(posterior, "plot_chains", CHAINS), Fold("How the chains were made", [
                Prose([f"{key.replace('_', ' ')}: {write_plain(value)}" for key, value in run["sampling"].items()])
            ]),
        ]),
        Section("settings", "Settings", show_settings(run, facts, folder)),
        Section("methods", "Methods, to be pasted", write_posterior_methods(run, summary, posterior.reliable)),
    ]  # fmt: skip
    lead = f"{describe_formula(run['model'])} {count_noun(run['reml']['records'], 'value')}. From the posterior."
    notices = [Notice(tone, verdict, others)]  # type: ignore[arg-type]
    return Page("Report of a mixed model", name, lead, notices, sections, run["versions"].get("bmtme", ""))


def show_drawn(table: pd.DataFrame | None, title: str) -> list[Block]:
    """A table of effects with intervals."""
    if table is None:
        return [
            Prose(
                [
                    "This posterior kept no effects (keep_effects='none'): draw it again with keep_effects='auto', in "
                    "the shell --keep-effects auto."
                ]
            )
        ]
    if not len(table):
        return [Prose(["There are none."])]
    return [tabulate_effects(table, title)]


def write_posterior_methods(run: Mapping[str, Any], summary: pd.DataFrame, sound: bool) -> list[Block]:
    """The text of the methods."""
    cite = Citations()
    settings, sampling = run["settings"], run["sampling"]
    priors = write_plain(settings["priors"])
    source = f"{cite('half-t')}; {cite('lkj')}" if "LKJ" in priors else cite("half-t")
    chains = f"{count_noun(settings['chains'], 'chain')} of {count_noun(settings['draws'], 'draw')}"
    texts = [
        describe_terms(run["model"], run["reml"]["records"], cite),
        f"Fixed effects had a flat prior; covariances had these priors of standard deviations: {priors} ({source}).",
        f"With fixed and random effects integrated out, {chains} (seed {settings['seed']}) walked through the "
        f"covariances by {sampling['method']} around the mode, which was found from the REML estimates "
        f"({cite('independence')}; {cite('pareto')}).",
    ]
    r_hat, ess = summary["r_hat"].max(), summary[["ess_bulk", "ess_tail"]].min(axis=1).min()
    if np.isfinite(r_hat):
        texts.append(
            f"R-hat was at most {r_hat:.3f} and the effective number of draws at least {ess:.0f} ({cite('r-hat')})."
        )
    texts += ["Estimates are posterior means, intervals equal-tailed and of 90%.", describe_software(run)]
    return list_methods(texts, cite, sound)
