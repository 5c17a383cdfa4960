"""Tables and figure of the study `gryphon`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import gaussian_kde
from threadpoolctl import threadpool_limits

from validation.referees.animals import Analysis, Animals, fit_animals, set_up
from validation.referees.estimates import OURS, THEIRS
from validation.referees.gryphon_results import ALONE, BOTH, BY_SEX, DRAWS, PRINTED, PRINTED_MEANS, PROGRAM, Result
from validation.registry import Options, make_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def list_tables(animals: Animals, results: dict[Analysis, Result], options: Options) -> dict[str, str]:
    """All tables by their headings."""
    return {
        "Pedigree and records": tabulate_animals(animals),
        **{analysis.name: tabulate_result(result) for analysis, result in results.items()},
        "BWT, sex taken off beforehand": tabulate_adjusted(animals, results[BY_SEX], options),
        "BWT, means of the sexes": tabulate_sexes(results[BY_SEX]),
        "Default priors: largest change of a posterior mean": tabulate_defaults(animals, results, options),
        "Programs": tabulate_programs(results),
    }


def tabulate_animals(animals: Animals) -> str:
    """What the data are, counted."""
    pedigree, A = animals.pedigree.fillna(""), np.asarray(animals.relationship.matrix)
    inbreeding = np.diag(A) - 1
    seen = animals.frame[["BWT", "TARSUS"]].notna().to_numpy()
    return make_table(("what", "figure"), [
        ("animals in the pedigree", f"{len(pedigree)}"),
        ("of them without a known sire, dam", ", ".join(f"{(pedigree[p] == '').sum()}" for p in ("sire", "dam"))),
        ("in the table of phenotypes", f"{len(animals.frame)}"),
        ("with BWT, TARSUS, both, neither", f"{seen[:, 0].sum()}, {seen[:, 1].sum()}, {seen.all(axis=1).sum()}, "
         f"{(~seen.any(axis=1)).sum()}"),
        ("inbred animals, largest coefficient", f"{(inbreeding > 1e-9).sum()}, {inbreeding.max():.3g}"),
        ("mean diagonal of A", f"{np.diag(A).mean():.5f}"),
    ])  # fmt: skip


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


def tabulate_adjusted(animals: Animals, result: Result, options: Options) -> str:
    """The mean of each sex taken off, then one environment; beside the model with sexes as environments."""
    frame = animals.frame.copy()
    frame["BWT"] -= frame.groupby("sex")["BWT"].transform("mean") - frame["BWT"].mean()
    adjusted = replace(animals, frame=frame)
    analysis = Analysis("adjusted", ("BWT",))
    with threadpool_limits(1):
        reml = analysis.expand(set_up(adjusted, analysis).maximise().theta[None])[0]
    draws, _ = fit_animals(adjusted, analysis, DRAWS[ALONE], options.seed, options.cores)
    ours = analysis.expand(draws.reshape(-1, 2)).mean(axis=0)
    rows = [
        (label, f"{PRINTED[BY_SEX][k][0]:.4f}", f"{result.estimates[k]:.4f}", f"{result.agreement.ours[k]:.3f}",
         f"{reml[k]:.4f}", f"{ours[k]:.3f}")
        for k, label in enumerate([*BY_SEX.labels, *BY_SEX.ratios])
    ]  # fmt: skip
    head = ("", "ASReml-R, sex fixed", "our REML, sex fixed", "bmtme, sexes as environments",
            "our REML, adjusted", "bmtme, adjusted")  # fmt: skip
    return make_table(head, rows)


def tabulate_sexes(result: Result) -> str:
    """Environment means beside the printed fixed effects."""
    means = result.means.reshape(-1, 2)
    effects = (means[:, 0], means[:, 1] - means[:, 0])
    rows = [
        (what, f"{e.mean():.3f} (SD {e.std():.3f})", f"{printed:.3f} (SE {error:.3f})")
        for what, e, (printed, error) in zip(("sex 1", "sex 2 less sex 1"), effects, PRINTED_MEANS, strict=True)
    ]
    return make_table(("", "bmtme", "ASReml-R"), rows)


def tabulate_defaults(animals: Animals, results: dict[Analysis, Result], options: Options) -> str:
    """What bmtme's default priors change against the flat ones, in posterior SDs."""
    rows = []
    for analysis in (ALONE, BOTH):
        draws, _ = fit_animals(animals, analysis, DRAWS[analysis], options.seed, options.cores, prior=None)
        default = analysis.expand(draws.reshape(-1, draws.shape[2]))
        flat = results[analysis].values.reshape(len(default), -1)
        shift = (default.mean(axis=0) - flat.mean(axis=0)) / flat.std(axis=0)
        worst = int(np.abs(shift).argmax())
        rows.append((analysis.name, [*analysis.labels, *analysis.ratios][worst], f"{shift[worst]:+.2f}"))
    return make_table(("analysis", "of", "posterior SDs"), rows)


def tabulate_programs(results: dict[Analysis, Result]) -> str:
    """How much each program did, and which shift of a mean would not be seen."""
    rows = [
        (a.name, f"{r.records}", f"{r.maximum.steps}", f"{r.exact.effective:.0f}" if len(a.traits) == 2 else "a grid",
         f"{r.agreement.effective:.0f}", f"{r.blind():.2f}")
        for a, r in results.items()
    ]  # fmt: skip
    head = ("analysis", "values", "Newton steps of REML", "weighted draws of the exact posterior",
            "least effective draws of bmtme", "shift of a mean that just fails, in SDs")  # fmt: skip
    return make_table(head, rows)


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
