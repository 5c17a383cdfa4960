"""A mixed model's fit as a breeder reads it: what was fitted, whether to trust it, the variances, the fixed terms."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bmtme.columns import MOST_ROWS, align, label_facts, show_p
from bmtme.results.mixed.search import describe_size
from bmtme.words import count_noun

if TYPE_CHECKING:
    from bmtme.results.mixed.fit import MixedFit

__all__ = ["describe_components", "describe_fit", "describe_table", "describe_wald"]

#: Significant digits of a number.
DIGITS = 4
#: Letters of a term in a column of a table at most.
LONGEST = 44


def describe_fit(fit: MixedFit, width: int = 80) -> str:
    """The fit as text."""
    parts = [label_facts(list_facts(fit), width), describe_components(fit.components, width)]
    wald = fit.wald()
    if len(wald):
        parts.append(describe_wald(wald, width))
    return "\n\n".join(parts)


def list_facts(fit: MixedFit) -> list[tuple[str, str]]:
    """What was fitted, as (label, text)."""
    problem = fit.result.problem
    facts = [("fixed", str(fit.fixed)), ("random", str(fit.random) or "none"), ("residual", str(fit.residual))]
    values = count_noun(problem.n, "value")
    if fit.layout.trait is not None:
        values += f" of {len(fit.layout.trait.levels)} traits in {count_noun(len(set(fit.layout.rows)), 'plot')}"
    absent = len(fit.layout.plots) - len(set(fit.layout.rows))
    if absent:
        values += f" ({count_noun(absent, 'row')} without a value)"
    values += f"; {problem.rank:,} fixed effects, {sum(term.q for term in problem.terms):,} random effects"
    facts += [("data", values), ("size", describe_size(fit.result.equations))]
    if fit.layout.columns.covariates:
        facts.append(("covariates", ", ".join(fit.layout.columns.covariates)))
    if fit.layout.weights is not None:
        facts.append(("weights", "variance of a residual divided by the weight of its record"))
    facts.append(
        (
            "log lik.",
            f"{fit.log_likelihood:.4f} ({fit.log_likelihood_full:.4f} with n log 2 pi); AIC {fit.aic:.2f}, BIC "
            f"{fit.bic:.2f}; {count_noun(fit.n_parameters, 'parameter')} of covariances",
        )
    )
    facts.append(("search" if fit.converged else "SEARCH", fit.message.rstrip(".") + "."))
    facts += [("note", f"{note}.") for note in fit.notes]
    return facts


def describe_components(table: pd.DataFrame, width: int) -> str:
    """The variances, covariances and correlations: a term with one in a row, others below the term."""
    shown = table.head(MOST_ROWS)
    rows = []
    for term, own in shown.groupby("term", sort=False):
        alone = len(own) == 1 and own["parameter"].iloc[0] == "variance"
        if not alone:
            rows.append([cut(str(term)), "", "", "", ""])
        for row in own.to_dict("records"):
            label = cut(str(term)) if alone else f"  {row['parameter']}"
            zero = row["bound"] and "variance" in row["parameter"] and not np.isfinite(row["se"])
            numbers = ["0" if zero else show(row["estimate"]), show(row["se"], 3), show(row["z"], 3)]
            rows.append([label, *numbers, str(row["bound"])])
    header = ["variances and correlations", "estimate", "SE", "z", ""]
    if not any(row[-1] for row in rows):
        rows, header = [row[:-1] for row in rows], header[:-1]
    more = len(table) - len(shown)
    text = align(rows, header, left=1, width=width)
    return text + (f"\n({more:,} more rows: fit.components has all)" if more > 0 else "")


def describe_wald(table: pd.DataFrame, width: int) -> str:
    """The tests of the fixed terms: conditional ones where they differ from the incremental."""
    both = bool((table["f"] - table["f_conditional"]).abs().max() > 1e-6 * table["f"].abs().max())
    endings = ("", "_conditional") if both else ("",)
    rows = []
    for row in table.to_dict("records"):
        cells = [cut(str(row["term"])), str(row["df"])]
        for ending in endings:
            cells += [show(row[f"den_df{ending}"], 3), show(row[f"f{ending}"], 3), show_p(row[f"p{ending}"])]
        rows.append(cells)
    header = ["fixed term", "df", "den. df", "F inc.", "p"] + ["den. df", "F cond.", "p"] * both
    if not both:
        header[3] = "F"
    notes = []
    if both:
        notes.append("F inc.: each term after those before it; F cond.: after all others but those that contain it.")
    small = "matching the moments of F (Kenward and Roger)"
    large = "containment, as the equations are large"
    notes.append(f"Denominator degrees of freedom: {small if 'moments' in set(table['method']) else large}.")
    if (table["df"] == 0).any():
        notes.append("A term with 0 degrees of freedom is a sum of those before it.")
    return align(rows, header, left=1, width=width) + "\n\n" + "\n".join(textwrap.wrap(" ".join(notes), width))


def describe_table(name: str, table: pd.DataFrame, width: int) -> str:
    """Means, heritabilities or functions of the variances: the first rows, and what is to be known of all."""
    shown = table.head(MOST_ROWS)
    if "estimable" in table:
        shown = shown.drop(columns="estimable" if shown["note"].any() else ["estimable", "note"])
    texts = [column for column in shown if not pd.api.types.is_numeric_dtype(shown[column])]
    left = next((k for k, column in enumerate(shown) if column not in texts), len(texts))
    rows = [[cut(str(row[c])) if c in texts else show(row[c]) for c in shown] for row in shown.to_dict("records")]
    text = f"{name}\n\n{align(rows, list(map(str, shown.columns)), left=left, width=width)}"
    if len(table) > len(shown):
        text += f"\n({len(table) - len(shown):,} more rows)"
    notes = []
    if np.isfinite(table.attrs.get("sed", np.nan)):
        notes.append(f"Standard error of a difference: {show(table.attrs['sed'])} (root mean square).")
    if np.isfinite(table.attrs.get("lsd", np.nan)):
        df = show(table.attrs["lsd_df"], 3)
        notes.append(f"Least significant difference at 5%: {show(table.attrs['lsd'])} ({df} degrees of freedom).")
    notes += list_averaged(table.attrs)
    return text + ("\n\n" + "\n".join(textwrap.wrap(" ".join(notes), width)) if notes else "")


def list_averaged(about: Mapping[Any, Any]) -> list[str]:
    """What adjusted means are means over, as of the ``attrs`` of `MixedFit.predict`; in sentences."""
    words = (("averaged", "Averaged over"), ("held", "At their mean"), ("ignored", "Left out"))
    return [f"{what}: {', '.join(about[key])}." for key, what in words if about.get(key)]


def show(value: float, digits: int = DIGITS) -> str:
    """A number with so many significant digits, without powers of ten where it can be."""
    if value is None or not np.isfinite(value):
        return "inf" if value == np.inf else "-"
    if value == 0:
        return "0"
    power = math.floor(math.log10(abs(value)))
    if not -6 < power < 9:
        return f"{value:.{digits - 1}g}"
    decimals = max(digits - 1 - power, 0)
    return f"{value:,.{decimals}f}" if decimals < 9 else f"{value:.{digits}g}"


def cut(text: str) -> str:
    """A term that is too long for a column, without its middle."""
    if len(text) <= LONGEST:
        return text
    half = (LONGEST - 3) // 2
    return f"{text[:half]}...{text[-half:]}"
