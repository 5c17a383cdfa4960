"""Page of the study of the priors' scales."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bmtme.results.summary import GOOD_R_HAT
from validation.paper.estimates import list_pairs, tell
from validation.paper.sensitivity_sweeps import (
    DECADES,
    DRAWS,
    GAMMA_E,
    HALF_T,
    HALF_T_E,
    INSENSITIVE,
    LARGE,
    LONGER,
    ONE,
    PACKAGE_E,
    PACKAGE_T,
    QUARTER,
    SENSITIVE,
    SMALL,
    SOMEWHAT,
    TIGHT,
    TUNE,
    WISHART,
    Span,
    Sweep,
    Swept,
    measure_changes,
    measure_scales,
    name_point,
)
from validation.paper.simulated import join_words
from validation.registry import make_table

#: Kinds of quantities, by how their names begin.
KINDS = {
    "correlations": ("genetic_correlation", "residual_correlation"),
    "variances": ("genetic_variance", "R_e"),
    "heritabilities": ("heritability",),
    "Sigma_E": ("Sigma_E",),
}
#: Whether a claim of insensitivity holds, by verdict.
HOLDS = {
    INSENSITIVE: "holds",
    QUARTER: "holds in the main",
    SOMEWHAT: "holds in the main",
    ONE: "does not hold",
    SENSITIVE: "does not hold",
}
#: The parts of the model that half-t priors are varied for.
PARTS = {HALF_T: "Sigma_t and R_e", HALF_T_E: "Sigma_E"}


def find_change(swept: Swept, sweep: Sweep, scale: float) -> float:
    """Largest change of a posterior mean against the default priors at one scale."""
    return float(measure_changes(swept.reference, [swept.at(sweep, scale)]).abs().to_numpy().max())


def show(change: float) -> str:
    """A change in posterior standard deviations."""
    return f"{change:.2f}" if change < 100 else "above 100"


def judge_claim(spans: Mapping[Sweep, Span]) -> str:
    """Whether results do not depend on the scale of half-t priors, for each part of the model."""
    told: dict[str, list[str]] = {}
    for sweep, part in PARTS.items():
        span = spans[sweep]
        about = f", {span.verdict}" if span.verdict in (QUARTER, ONE) else ""
        told.setdefault(HOLDS[span.verdict], []).append(f"for {part} ({span.told} SDs{about}; of {span.name})")
    return "; it ".join(f"{holds} {join_words(parts)}" for holds, parts in told.items())


def describe_claim(swept: Swept) -> str:
    """The paper's claim under half-t priors, vague ones and others."""
    vague, every = ({sweep: swept.measure(sweep, least) for sweep in PARTS} for least in (1.0, 0.0))
    return (
        "Half-t priors: largest change of any posterior mean between two scales, in posterior standard deviations "
        f"(SDs). For vague priors (scale 1 and more) the claim {judge_claim(vague)}. With scales down to "
        f"{swept.scales[0]:g}, far below the data, it {judge_claim(every)}."
    )


def describe_wishart(swept: Swept) -> str:
    """Inverse-Wishart priors at the same scales and as they are used."""
    families = {sweep: sweep.name.split(", ")[1] for sweep in (WISHART, TIGHT)}
    vague = [f"{swept.measure(sweep, 1.0).told} SDs ({df})" for sweep, df in families.items()]
    at_one = [f"{show(find_change(swept, sweep, 1.0))} SDs ({df})" for sweep, df in families.items()]
    text = (
        f"Inverse-Wishart priors of Sigma_t and R_e: the largest changes over scales from 1 are {join_words(vague)}. "
        "Large changes are those of 'vague' ones, with a scale far above the data. With A = 1, the size of the "
        f"data, no mean is further from that under the default priors than {join_words(at_one)}."
    )
    if swept.package is None:
        return text
    changes = measure_changes(swept.reference, [swept.package]).abs().iloc[0]
    _, m = measure_scales(swept.data)
    given = (
        f" (of Sigma_t {np.sqrt(PACKAGE_T * m):.2f} in the measure of this page, as the relationship given has a mean "
        f"diagonal of {m:.2f})"
        if abs(m - 1) > 0.05
        else ""
    )
    return (
        f"{text} The R package BMTME takes p + 4 degrees of freedom and scale matrices from the data, 0.25 x 7 Var(Y) "
        "for Sigma_t and 0.5 x 7 Var(Y) for R_e (covariances and differences between environments included), so that "
        f"A is {np.sqrt(PACKAGE_T):.1f} and {np.sqrt(PACKAGE_E):.1f}"
        f"{given}: the largest change against the default priors is then {show(changes.max())} SDs "
        f"({changes.idxmax()}), the median one {changes.median():.2f}."
    )


def describe_interaction(swept: Swept) -> str:
    """Inverse gamma priors of the entries of Sigma_E."""
    every, vague = swept.measure(GAMMA_E), swept.measure(GAMMA_E, 1.0)
    return (
        f"Inverse gamma priors of the entries of Sigma_E: {every.told} SDs over all scales, {vague.told} over those "
        f"from 1 ({vague.name}); {show(find_change(swept, GAMMA_E, 1.0))} SDs from the default priors with A = 1."
    )


def describe_chains(swept: Swept) -> str:
    """R-hat and Monte Carlo errors."""
    bad = [
        f"{name_point(sweep, scale)} ({float(summary['r_hat'].max()):.2f})"
        for sweep, summaries in swept.found.items()
        for scale, summary in zip(swept.scales, summaries, strict=True)
        if not float(summary["r_hat"].max()) <= GOOD_R_HAT
    ]
    text = f"Run again {LONGER} times longer, as R-hat was above {GOOD_R_HAT}: {'; '.join(swept.longer) or 'none'}. "
    text += (
        f"R-hat is still above {GOOD_R_HAT} for: {'; '.join(bad)}; those points are not to be leaned on."
        if bad
        else f"R-hat is at most {GOOD_R_HAT} everywhere{' now' if swept.longer else ''}."
    )
    drawn = [swept.reference, *(summary for sweep in PARTS for summary in swept.found[sweep])]
    noise = max(float((1 / np.sqrt(summary["ess_bulk"])).max()) for summary in drawn)
    return f"{text} The Monte Carlo error of a mean under half-t priors is at most {noise:.2f} SDs."


def tabulate_spans(swept: Swept) -> str:
    """One row a sweep: the largest changes over all scales / over those from one on, by kind of quantity."""
    lines = []
    for sweep, summaries in swept.found.items():
        told = []
        for starts in KINDS.values():
            part = [name for name in swept.reference.index if name.startswith(starts)]
            told.append(" / ".join(swept.measure(sweep, least, part).told for least in (0.0, 1.0)))
        verdicts = [swept.measure(sweep, least).verdict for least in (0.0, 1.0)]
        worst = max(float(summary["r_hat"].max()) for summary in summaries)
        at_one = show(find_change(swept, sweep, 1.0))
        lines.append((sweep.what, sweep.name, *told, at_one, f"{worst:.3f}", " / ".join(verdicts)))
    if swept.package is not None:
        changes = measure_changes(swept.reference, [swept.package]).abs().iloc[0]
        told = [show(max(changes[name] for name in changes.index if name.startswith(s))) for s in KINDS.values()]
        worst = float(swept.package["r_hat"].max())
        lines.append(("Sigma_t, R_e", "as the R package, against the default", *told, "", f"{worst:.3f}", ""))
    head = ("prior of", "family", *KINDS, "A = 1 against the default", "largest R-hat", "verdict")
    return make_table(head, lines)


def tabulate_means(swept: Swept) -> str:
    """Genetic correlations and heritabilities at some scales."""
    traits, env = swept.data[0].traits, swept.data[0].envs[0]
    names = [f"genetic_correlation[{a}, {b}]" for a, b in list_pairs(traits)]
    names += [f"heritability[{env}, {trait}]" for trait in traits] + [f"Sigma_E[{env}, {env}]"]
    lines = [("default priors", "", "", *[tell(swept.reference.loc[name], 2) for name in names])]
    if swept.package is not None:
        told = [tell(swept.package.loc[name], 2) for name in names]
        lines.append(("Sigma_t, R_e", "as the R package", "", *told))
    for sweep, summaries in swept.found.items():
        for scale, summary in zip(swept.scales, summaries, strict=True):
            if scale in DECADES:
                lines.append((sweep.what, sweep.name, f"{scale:g}", *[tell(summary.loc[name], 2) for name in names]))
    return make_table(("prior of", "family", "scale", *names), lines)


def summarise(sets: Mapping[str, Swept]) -> str:
    """The page in a breeder's words."""
    items = []
    for label, swept in sets.items():
        traits = swept.data[0].traits
        correlations = {f"genetic_correlation[{a}, {b}]": f"{a} and {b}" for a, b in list_pairs(traits)}
        name = swept.reference.loc[list(correlations), "mean"].abs().idxmax()

        def follow(sweep: Sweep, scale: float, name: str = name, swept: Swept = swept) -> str:
            return f"{round(swept.at(sweep, scale).loc[name, 'mean'], 2) + 0.0:.2f}"  # no -0.00

        vague = {part: swept.measure(sweep, 1.0) for sweep, part in PARTS.items()}
        last = swept.scales[-1]
        of_package = (
            ""
            if swept.package is None
            else f", and {swept.package.loc[name, 'mean']:.2f} with those of the R package BMTME (scales from the data)"
        )
        largest = "; ".join(f"{part} {span.told}" for part, span in vague.items())
        worst = max(vague.values(), key=lambda span: span.size)
        items.append(
            f"- {label}. The genetic correlation of {correlations[name]} is {swept.reference.loc[name, 'mean']:.2f} "
            f"under the default priors; with half-t priors {follow(HALF_T, 1.0)} at scale 1, {follow(HALF_T, last)} at "
            f"{last:g} and {follow(HALF_T, swept.scales[0])} at {swept.scales[0]:g}; with inverse-Wishart priors (p + "
            f"1 degrees of freedom) {follow(WISHART, 1.0)}, {follow(WISHART, last)} and "
            f"{follow(WISHART, swept.scales[0])}{of_package}. Whatever is looked at, a vague half-t prior (scale 1 and "
            f"more) moves a posterior mean by so many of its standard deviations at most: {largest}. So the paper's "
            f"claim {HOLDS[worst.verdict]} for vague priors."
        )
    return "\n".join(items)


def describe(swept: Swept, label: str, figure: str) -> str:
    """The section of one set."""
    return f"""\
## {label}

{describe_claim(swept)}

{describe_wishart(swept)}

{describe_interaction(swept)} {describe_chains(swept)}

![Posterior means and intervals against the scale of the prior]({figure})

Largest difference between the posterior means of a quantity at any two of the scales, in its posterior standard
deviations under the default priors: over all scales / over those from 1.

{tabulate_spans(swept)}

Posterior means with 95% intervals at some of the scales:

{tabulate_means(swept)}"""


def write_page(sets: Mapping[str, Swept], figures: Mapping[str, str]) -> str:
    """The whole page."""
    sections = "\n\n".join(describe(swept, label, figures[label]) for label, swept in sets.items())
    widest = max((swept.scales for swept in sets.values()), key=len)
    return f"""\
Huang and Wand's priors give every standard deviation a half-t distribution and every correlation a uniform one. The
paper (Montesinos-López et al. 2016, *G3* 6:2725-2744) takes them because the results then hardly depend on the values
chosen for them, unlike with inverse-Wishart priors. Is that so?

## In short

{summarise(sets)}

## What was varied

- Half-t: 2 degrees of freedom, scale A from {widest[0]:g} to {widest[-1]:g} standard deviations of the trait, for
  Sigma_t (of a relationship with mean diagonal 1) and R_e together; the default of this package is 5.
- Inverse-Wishart: the same A, scale matrix A² on the diagonal, p + 1 degrees of freedom for p traits. Correlations are
  uniform and the median of every standard deviation is nearly that of the half-t (0.85 A against 0.82 A): the tails are
  what differs. And p + 4 degrees of freedom. At the same scales is no fair comparison, as nobody has to take a vague
  inverse-Wishart prior: so the one of the R package BMTME (1.0.19) is there, too: p + 4 degrees of freedom, scale
  matrices from the data (Sigma_E as here by default).
- Sigma_E (the roots of its entries, which have no unit): half-t with 2 degrees of freedom, and inverse gamma
  IG(1, A²/2), with Sigma_t and R_e at their defaults.
- The simulated set: 80 lines, 3 environments, 3 traits, one plot a cell, heritability 0.5, genetic correlations 0.5,
  residual ones 0.3, relationship from markers.
- Unstructured model; each fit 4 chains of {DRAWS:,} draws after {TUNE:,} of warm-up, {LONGER} times as many where R-hat
  is above {GOOD_R_HAT}. A change below {SMALL:g} posterior standard deviations between any two scales is called
  {INSENSITIVE}, above {LARGE:g} {SENSITIVE}, between them {SOMEWHAT}; within two Monte Carlo errors of a limit it is
  called by the limit ({QUARTER}, {ONE}).

A prior scale far below the standard deviation of a trait (0.1) is no vague prior but a statement that the trait hardly
varies: half-t has tails with which the data can overrule it.

{sections}"""
