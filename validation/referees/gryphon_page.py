"""The page and the figure of the study `gryphon`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import gaussian_kde
from threadpoolctl import threadpool_limits

from validation.referees.animals import CHAINS, NU, SCALE, Analysis, Animals, fit_animals, set_up
from validation.referees.estimates import ENOUGH, OURS, THEIRS
from validation.referees.gryphon_results import (
    ALONE,
    BOTH,
    BY_SEX,
    DRAWS,
    NEAR,
    PRINTED,
    PRINTED_MEANS,
    PROGRAM,
    SAME,
    SAME_ERROR,
    SOURCE,
    Result,
)
from validation.registry import LEVEL, Options, Row, make_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def tabulate_result(result: Result) -> str:
    """Every program's figures on one analysis."""
    rows = []
    values, a = result.values, result.agreement
    for k, label in enumerate([*result.analysis.labels, *result.analysis.ratios]):
        flat = values[:, :, k].ravel()
        printed, error = PRINTED[result.analysis][k]
        low, high = np.quantile(flat, (0.05, 0.95))
        exact = f"{a.exact[k]:.3f}" + (f" ± {a.exact_errors[k]:.1g}" if a.exact_errors[k] > 0 else "")
        rows.append((
            label, f"{printed:.4f} ({error:.4f})", f"{result.estimates[k]:.4f} ({result.errors[k]:.4f})", exact,
            f"{a.ours[k]:.3f} ± {a.our_errors[k]:.1g}", f"{np.median(flat):.3f}", f"{flat.std():.3f}",
            f"{low:.3f} to {high:.3f}", f"{result.place()[k]:+.2f}",
        ))  # fmt: skip
    head = ("", "ASReml-R (SE)", "our REML (SE)", "exact posterior mean", "bmtme: mean", "median", "SD", "90% interval",
             "(ASReml-R - median) / SD")  # fmt: skip
    return make_table(head, rows)


def describe_sexes(animals: Animals, result: Result, options: Options) -> str:
    """What can be done about a fixed effect, and what it gives."""
    frame = animals.frame.copy()
    frame["BWT"] -= frame.groupby("sex")["BWT"].transform("mean") - frame["BWT"].mean()
    adjusted = replace(animals, frame=frame)
    analysis = Analysis("adjusted", ("BWT",))
    with threadpool_limits(1):
        reml = analysis.expand(set_up(adjusted, analysis).maximise().theta[None])[0]
    draws, _ = fit_animals(adjusted, analysis, DRAWS[ALONE], options.seed, options.cores)
    ours = analysis.expand(draws.reshape(-1, 2)).mean(axis=0)
    means = result.means.reshape(-1, 2)
    effects = np.column_stack([means[:, 0], means[:, 1] - means[:, 0]])
    rows = [
        (label, f"{PRINTED[BY_SEX][k][0]:.4f}", f"{result.estimates[k]:.4f}", f"{result.agreement.ours[k]:.3f}",
         f"{reml[k]:.4f}", f"{ours[k]:.3f}")
        for k, label in enumerate([*BY_SEX.labels, *BY_SEX.ratios])
    ]  # fmt: skip
    head = ("", "ASReml-R, sex fixed", "our REML, sex fixed", "bmtme, sexes as environments",
            "our REML, adjusted", "bmtme, adjusted")  # fmt: skip
    shift = np.abs(reml / result.estimates - 1).max()
    of_means = "; ".join(
        f"{what} {e.mean():.3f} (SD {e.std():.3f}), ASReml-R {printed:.3f} (SE {error:.3f})"
        for what, e, (printed, error) in zip(
            ("mean of sex 1", "difference of sex 2"), effects.T, PRINTED_MEANS, strict=True
        )
    )
    return f"""
bmtme has no fixed effects but one mean for each environment and trait: sex cannot be given to it as a covariate. Two
ways round it:

- *Sexes as environments* (1 = female, 2 = male), with Sigma_E held at zero by its prior (half-t, 4 degrees of freedom,
  scale 0.001: the interaction has some millionths of the additive variance), means flat. R_e is common to
  all environments in this model, so nothing else differs: it *is* the model with sex fixed, and is checked as such
  above. With the default prior of Sigma_E it would not be: it would let the sexes' breeding values differ. The price:
  each animal lacks the record of the other sex, which is imputed, so that the chains are slower
  ({result.agreement.effective:.0f} effective draws of {CHAINS} x {DRAWS[BY_SEX]:,}).
  {of_means[0].upper()}{of_means[1:]}.
- *Adjusting beforehand*: the mean of each sex taken off, then one environment. That is an approximation, as it knows
  nothing of relatives when it estimates the means, and takes them for known afterwards. Here it moves the REML
  estimates by at most {shift:.2%}.

{make_table(head, rows)}"""


def describe_priors(animals: Animals, results: dict[Analysis, Result], options: Options) -> str:
    """What the default priors change."""
    parts = []
    for analysis in (ALONE, BOTH):
        draws, _ = fit_animals(animals, analysis, DRAWS[analysis], options.seed, options.cores, prior=None)
        default = analysis.expand(draws.reshape(-1, draws.shape[2]))
        flat = results[analysis].values.reshape(len(default), -1)
        shift = (default.mean(axis=0) - flat.mean(axis=0)) / flat.std(axis=0)
        worst = int(np.abs(shift).argmax())
        most = f"{abs(shift[worst]):.2f}"
        # What is zero in two digits has no entry that moves most.
        label = f", {[*analysis.labels, *analysis.ratios][worst]}" if float(most) > 0 else ""
        parts.append(f"{most} SDs ({analysis.name}{label})")
    return " and ".join(parts)


def describe_summary(results: dict[Analysis, Result]) -> str:
    """Which summary of the posterior is held against REML, and how the means stand to it."""
    rises = [result.rise() for result in results.values()]
    shifts, errors = (np.concatenate(part) for part in zip(*rises, strict=True))
    mean, error = shifts.mean(), np.sqrt((errors**2).sum()) / len(errors)
    text = (
        "The REML-like summary that the verdicts use is the posterior *median* of each entry and ratio under these "
        "priors. "
    )
    if mean > 2 * error:
        text += (
            "Posterior means of variances lie above the REML estimates on average (skewed posteriors): by "
            f"{mean:.2f} posterior SDs over the {len(shifts)} variances of the tables, {(shifts > 0).sum()} of which "
            "are above."
        )
    return text


def draw_results(results: dict[Analysis, Result]) -> Figure:
    """Posterior densities with ASReml-R's estimates."""
    import matplotlib.pyplot as plt

    both, alone, by_sex = results[BOTH], results[ALONE], results[BY_SEX]
    panels = [(both, k) for k in (0, 1, 2, 8, 3, 4, 5, 9)]
    panels += [(alone, 0), (alone, 1), (by_sex, 0), (by_sex, 1)]
    figure, axes = plt.subplots(3, 4, figsize=(13, 8.4), layout="constrained")
    for panel, (result, k) in zip(axes.flat, panels, strict=True):
        flat = result.values[:, :, k].ravel()
        theirs = result.analysis.expand(result.exact.theta)[:, k]
        left, right = np.quantile(flat, (0.0005, 0.9995))
        grid = np.linspace(left, right, 300)
        # One bandwidth for both: the smoothing is not what is compared.
        width = 0.25
        ours = gaussian_kde(flat[::4], width)(grid)
        top = ours.max()
        panel.fill_between(grid, ours, color=OURS, alpha=0.35, linewidth=0, label="bmtme: posterior")
        exact = gaussian_kde(theirs, width, weights=result.exact.weights)(grid)
        panel.plot(grid, exact, color="black", linewidth=1.2, linestyle="--",
                   label="exact posterior: our REML's likelihood × prior (one trait: grid; "
                   f"two traits: {both.exact.effective:.0f} weighted draws)")  # fmt: skip
        estimate, error = PRINTED[result.analysis][k]
        panel.axvline(estimate, color=THEIRS, linewidth=1.2)
        panel.errorbar(estimate, -0.08 * top, xerr=1.645 * error, fmt="s", color=THEIRS, capsize=3,
                       label=f"{PROGRAM}: estimate ± 1.645 SE")  # fmt: skip
        low, middle, high = np.quantile(flat, (0.05, 0.5, 0.95))
        panel.errorbar(middle, -0.2 * top, xerr=[[middle - low], [high - middle]], fmt="o", color=OURS,
                       capsize=3, label="bmtme: median and 90% interval")  # fmt: skip
        panel.axhline(0, color="0.6", linewidth=0.6)
        panel.set_yticks([])
        label = [*result.analysis.labels, *result.analysis.ratios][k]
        panel.set_title(f"{result.analysis.name}:\n{label}", fontsize=9)
    figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def describe(
    animals: Animals, results: dict[Analysis, Result], rows: list[Row], facts: str, figure: str, options: Options
) -> str:
    """The page."""
    shares = [result.differ()[0] for result in results.values()]
    far = max(float(np.abs(result.place()).max()) for result in results.values())
    worst = max(float(np.abs(result.agreement.z).max()) for result in results.values())
    blind = ", ".join(
        f"{result.blind():.2f} SDs ({analysis.name}"
        + (f": {result.exact.effective:.0f} weighted draws)" if len(analysis.traits) == 2 else ")")
        for analysis, result in results.items()
    )
    failed = [row.check for row in rows if row.ok is False]
    if failed:
        verdict = f"**Not everything agrees.** Failed: {'; '.join(failed)}."
    else:
        verdict = (
            f"**No disagreement found.** Our REML gives {PROGRAM}'s estimates to {max(shares):.0e} of their size, so "
            "data, relationship and likelihood are the same. This likelihood times bmtme's prior is the exact "
            f"posterior; bmtme's posterior agrees with it within Monte Carlo error (largest {worst:.1f} errors; shifts "
            f"of a mean below about {blind} would not be seen). ASReml-R's estimates lie within {far:.2f} posterior "
            "SDs of bmtme's medians."
        )
    sections = "\n\n".join(
        f"## {analysis.name}\n\n{result.records} values. REML: {result.maximum.steps} Newton steps. Exact posterior: "
        + ("grid of both SDs. " if len(analysis.traits) == 1 else
           f"importance sampling, worth {result.exact.effective:.0f} draws. ")
        + f"bmtme: {CHAINS} x {DRAWS[analysis]:,} draws, at least {result.agreement.effective:.0f} effective.\n\n"
        + tabulate_result(result)
        + (f"\n{describe_sexes(animals, result, options)}" if analysis.by_sex else "")
        for analysis, result in results.items()
    )  # fmt: skip
    table = make_table(
        ("check", "size", "statistic", "figure", "verdict"),
        [(row.check, row.size, row.statistic, row.figure, row.verdict) for row in rows],
    )
    return f"""
Does bmtme give what the standard program for animal models gives? ASReml-R's REML estimates of additive and residual
covariances ({PROGRAM}), as printed in {SOURCE}, beside bmtme's posterior on the same data.

{verdict}

![Posterior densities with ASReml-R's estimates]({figure})

## Data

The simulated "gryphons" of Wilson and others (2010, Journal of Animal Ecology 79:13-26): {facts}

## Model and prior

y = mean + a + e, a ~ N(0, A (x) Sigma_t), e ~ N(0, R_e), with A the additive relationship of the pedigree, inbreeding
included. In bmtme this is one environment: there is no interaction (no b2, no Sigma_E), so that Sigma_t is the
additive covariance and nothing has to be converted. bmtme scales a relationship by its mean diagonal inside, and
reports for the matrix as given; Sigma_t therefore refers to A itself, as ASReml-R's components do.
Heritabilities are those of the base population, VA / (VA + VR), as ASReml-R prints them; `bmtme.Fit.summary` reports
that among the recorded animals, with c VA in place of VA, c = (tr A - 1'A1 / J) / (J - 1).

REML has no prior. Here bmtme's is made as flat as can be: `HalfT(nu={NU:g}, scale={SCALE:g})` for Sigma_t and R_e, the
mean flat. Far below {NU**0.5 * SCALE:,.0f} units its density is practically constant in the standard deviations and,
for two traits, in the correlation (proportional to (1 - r^2)^{NU / 2:g}), so that *the highest point of the joint
posterior of SDs and correlations is the REML estimate*. Means and medians of single entries are not that point, but
should be within a fraction of a standard error. {describe_summary(results)}

The default priors (half-t, 2 degrees of freedom, scale 5 SDs of the trait) move no posterior mean by more than
{describe_priors(animals, results, options)}.

How to read the tables: the first two columns must be equal. The third, "exact posterior mean", is our REML's likelihood
times bmtme's prior, integrated without any Markov chain (on a grid; for two traits by importance sampling): it must be
bmtme's mean within the errors (±, Monte Carlo). The last column says where ASReml-R's estimate lies in bmtme's
posterior.

{sections}

## Verdicts

{table}

- REML: estimates within a share of {SAME:g} of ASReml-R's, standard errors within {SAME_ERROR:g}.
- Exact posterior: the moments compared are the means of every entry and ratio and of their squared distances from the
  REML estimates. p (x n) is the smallest two-sided p-value of the n differences, taken for normal ones, times n (at
  most 1); the check fails where it is below {LEVEL:g}, or with fewer than {ENOUGH} effective draws on either side.
- ASReml-R's estimate: within {NEAR:g} posterior SDs of the median, a check against gross errors only. The sharp one is
  that against the exact posterior.

## What this does not show

One environment only: the interaction of lines and environments is not in it. Printed estimates are those of one program
on one simulated population; further effects of the tutorial's models (mother, birth year) are not offered by bmtme.
Standard errors of REML come from the curvature at the maximum, posterior SDs from the whole posterior: they need not be
equal, and intervals of variances made from the former are symmetric, which the posterior is not.
"""
