"""The page and the figure of the study `gryphon`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import gaussian_kde
from threadpoolctl import threadpool_limits

from validation.referees.animals import CHAINS, NU, SCALE, Analysis, Animals, find_mode, fit_animals, set_up
from validation.referees.estimates import LEVEL
from validation.referees.gryphon_results import (
    ALONE,
    BOTH,
    BY_SEX,
    DRAWS,
    PRINTED,
    PRINTED_MEANS,
    SOURCE,
    Result,
)
from validation.registry import Options, Row, make_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def tabulate_result(result: Result) -> str:
    """Every program's figures on one analysis."""
    rows = []
    values, a = result.values, result.agreement
    for k, label in enumerate([*result.analysis.labels, *result.analysis.ratios]):
        flat = values[:, :, k].ravel()
        printed, error = PRINTED[result.analysis][k]
        mode, spread = find_mode(values[:, :, k])
        low, high = np.quantile(flat, (0.05, 0.95))
        exact = f"{a.exact[k]:.3f}" + (f" ± {a.exact_errors[k]:.1g}" if a.exact_errors[k] > 0 else "")
        rows.append((
            label, f"{printed:.4f} ({error:.4f})", f"{result.estimates[k]:.4f} ({result.errors[k]:.4f})", exact,
            f"{a.ours[k]:.3f} ± {a.our_errors[k]:.1g}", f"{np.median(flat):.3f}", f"{mode:.2f} ± {spread:.1g}",
            f"{flat.std():.3f}", f"{low:.3f} to {high:.3f}", f"{result.place()[k]:+.2f}",
        ))  # fmt: skip
    head = ("", "ASReml-R (SE)", "our REML (SE)", "exact posterior mean", "bmtme: mean", "median", "mode", "SD",
            "90% interval", "(ASReml-R - median) / SD")  # fmt: skip
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
        label = [*analysis.labels, *analysis.ratios][worst]
        parts.append(f"{analysis.name}: {shift[worst]:+.2f} posterior SDs ({label})")
    return "; ".join(parts)


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
        ours = gaussian_kde(flat[::4])(grid)
        top = ours.max()
        panel.fill_between(grid, ours, color="#56B4E9", alpha=0.5, linewidth=0, label="bmtme: posterior")
        exact = gaussian_kde(theirs, bw_method=0.28, weights=result.exact.weights)(grid)
        panel.plot(grid, exact, color="#0072B2", linewidth=1.2, linestyle="--",
                   label="exact posterior (our REML's likelihood × prior)")  # fmt: skip
        estimate, error = PRINTED[result.analysis][k]
        panel.axvline(estimate, color="#D55E00", linewidth=1.2)
        panel.errorbar(estimate, -0.08 * top, xerr=1.645 * error, fmt="s", color="#D55E00", capsize=3,
                       label="ASReml-R: estimate ± 1.645 SE")  # fmt: skip
        low, middle, high = np.quantile(flat, (0.05, 0.5, 0.95))
        panel.errorbar(middle, -0.2 * top, xerr=[[middle - low], [high - middle]], fmt="o", color="#0072B2",
                       capsize=3, label="bmtme: median and 90% interval")  # fmt: skip
        panel.axhline(0, color="0.6", linewidth=0.6)
        panel.set_yticks([])
        label = [*result.analysis.labels, *result.analysis.ratios][k]
        panel.set_title(f"{result.analysis.name}:\n{label}", fontsize=9)
    figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def describe(
    animals: Animals, results: dict[Analysis, Result], rows: list[Row], facts: str, figure: str, options: Options
) -> str:
    """The page."""
    shares = [result.differ()[0] for result in results.values()]
    far = max(float(np.abs(result.place()).max()) for result in results.values())
    worst = max(float(np.abs(result.agreement.z).max()) for result in results.values())
    failed = [row.check for row in rows if row.ok is False]
    if failed:
        verdict = f"**Not everything agrees.** Failed: {'; '.join(failed)}."
    else:
        verdict = (
            f"**All three programs agree.** Our REML gives ASReml-R's estimates to {max(shares):.0e} of their size, so "
            "data, relationship and likelihood are the same. bmtme's posterior is the one that follows from this "
            f"likelihood and its prior (largest difference {worst:.1f} Monte Carlo errors). ASReml-R's estimates lie "
            f"within {far:.2f} posterior SDs of bmtme's medians."
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
covariances, as printed in {SOURCE}, beside bmtme's posterior on the same data.

{verdict}

![Posterior densities with ASReml-R's estimates]({figure})

## Data

The simulated "gryphons" of Wilson and others (2010, Journal of Animal Ecology 79:13-26): {facts}

## Model and prior

y = mean + a + e, a ~ N(0, A (x) Sigma_t), e ~ N(0, R_e), with A the additive relationship of the pedigree, inbreeding
included. In bmtme this is one environment: there is no interaction (no b2, no Sigma_E), so that Sigma_t is the
additive covariance and nothing has to be converted. bmtme scales a relationship by its mean diagonal inside, and
reports for the matrix as given; Sigma_t therefore refers to A itself, as ASReml-R's components do.

REML has no prior. Here bmtme's is made as flat as can be: `HalfT(nu={NU:g}, scale={SCALE:g})` for Sigma_t and R_e, the
mean flat. Far below {NU**0.5 * SCALE:,.0f} units its density is practically constant in the standard deviations and,
for two traits, in the correlation (proportional to (1 - r^2)^{NU / 2:g}), so that *the highest point of the joint
posterior of SDs and correlations is the REML estimate*. Posterior means, medians and modes of single entries are not
that point: variances have skewed posteriors, means lie above modes. They are REML-like, and should be within a fraction
of a standard error. Under bmtme's default priors (half-t, 2 degrees of freedom, scale 5 SDs of the trait) the posterior
means that move most are, {describe_priors(animals, results, options)}.

How to read the tables: the first two columns must be equal. The third, "exact posterior mean", is our REML's likelihood
times bmtme's prior, integrated without any Markov chain (on a grid; for two traits by importance sampling): it must be
bmtme's mean within the errors (±, Monte Carlo). Mode: of the smoothed density of one entry, its error from the spread
over the chains. The last column says where ASReml-R's estimate lies in bmtme's posterior.

{sections}

## Verdicts

{table}

The moments compared with the exact posterior are the means of every entry and ratio and of their squared distances from
the REML estimates. A check fails where its smallest p-value times their number is below {LEVEL:g}.

## What this does not show

One environment only: the interaction of lines and environments is not in it. Printed estimates are those of one program
on one simulated population; further effects of the tutorial's models (mother, birth year) are not offered by bmtme.
Standard errors of REML come from the curvature at the maximum, posterior SDs from the whole posterior: they need not be
equal, and intervals of variances made from the former are symmetric, which the posterior is not.
"""
