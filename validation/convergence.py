"""Do four chains of the default length suffice, for the structures of the family on three real trials?

Maize (309 lines, three traits), wheat (250 lines, four traits) and wheat (599 lines, grain yield alone), in three or
four environments, complete. Needs BMTME_DATA. Of each fit: the largest R-hat and the fewest effective draws of any row
of the summary, and whether the printed fit says what to do where these do not suffice.

And what the structures say of the 599 lines, where the paper's C can only say that all environments covary alike: the
genetic covariances of the first environment with the others.
"""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np

import bmtme
from bmtme.results.summary import GOOD_ESS, GOOD_R_HAT
from validation.family import TRIALS
from validation.paper.kept import Data
from validation.registry import Options, Row, make_table, register, report_progress, write_tables
from validation.trials import read_trial, skip

OWN, FREE, MAIN = "by_env", bmtme.Free(), bmtme.MainAndInteraction
MODELS: dict[str, Any] = {
    "paper's": bmtme.BMTME(),
    "paper's C, by environment": bmtme.BMTME(residual=OWN),
    "main and interaction, k = 1": bmtme.BMTME(genetic=MAIN("equal")),
    "main and interaction, by environment": bmtme.BMTME(genetic=MAIN("free"), residual=OWN),
    "separable, by environment": bmtme.BMTME(genetic=bmtme.Separable(), residual=OWN),
    "two factors, by environment": bmtme.BMTME(genetic=bmtme.FactorAnalytic(factors=2), residual=OWN),
    "free, common correlation": bmtme.BMTME(genetic=FREE, residual="common_correlation"),
    "free, by environment": bmtme.BMTME(genetic=FREE, residual=OWN),
    "free, by environment, line effect": bmtme.BMTME(genetic=FREE, residual=OWN, line_effect=True),
    "one trait at a time: main and interaction, k = 1": bmtme.SingleTrait(bmtme.BMTME(genetic=MAIN("equal"))),
    "one trait at a time: free, by environment": bmtme.SingleTrait(bmtme.BMTME(genetic=FREE, residual=OWN)),
    "one trait at a time: free, by environment, line effect": bmtme.SingleTrait(
        bmtme.BMTME(genetic=FREE, residual=OWN, line_effect=True)
    ),
}
#: What the printed fit says where the chains suffice.
ENOUGH = "The chains agree"
#: Models whose covariances of the first environment with the others are set beside each other, and bounds of their mean
#: where a model can say it: in the units of the data, variances of an environment.
WHEAT = "wheat599"
LOOSE = "two factors, by environment", "free, by environment", "free, by environment, line effect"
BOUNDS = -0.3, -0.05


def choose_models(data: Data) -> dict[str, Any]:
    """The models that these data can tell apart: with one trait residual correlations and traits apart say nothing."""
    if len(data[0].traits) > 1:
        return MODELS
    return {
        label: model for label, model in MODELS.items() if not label.startswith(("one trait", "separable"))
        and not label.endswith("common correlation")
    }  # fmt: skip


def run(data: Data, model: Any, options: Options, **chains: int) -> bmtme.Fit:
    """A fit of four chains; what it warns of is what is measured here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return bmtme.fit(
            *data, model, seed=options.seed, cores=options.cores, keep_effects="none", progress=False, **chains
        )


def describe(fit: bmtme.Fit) -> str:
    """What the printed fit says of its chains, in one line."""
    return " ".join(str(fit).split("\n")[1:])


def shorten(text: str) -> str:
    """The verdict and the advice, without the sentence between."""
    verdict, _, rest = text.partition(": ")
    at = rest.find("Run more")
    return verdict if at < 0 else f"{verdict}. {rest[at:]}"


def judge_fit(name: str, label: str, fit: bmtme.Fit, seconds: float) -> tuple[Row, tuple[str, ...]]:
    """Whether a fit that does not suffice says so and what to do, and a line of the table."""
    summary = fit.summary()
    r_hat, bulk, tail = summary["r_hat"].max(), summary["ess_bulk"].min(), summary["ess_tail"].min()
    reached = bool(r_hat <= GOOD_R_HAT and bulk >= GOOD_ESS)
    text = describe(fit)
    told = (ENOUGH in text) == reached and (reached or any(word in text for word in ("Run more", "do not", "Look")))
    line = (
        name, label, f"{r_hat:.3f}", f"{bulk:.0f}", f"{tail:.0f}", str(summary["ess_bulk"].idxmin()),
        "yes" if reached else "no", f"{seconds:.0f}", "" if reached else shorten(text),
    )  # fmt: skip
    figure = f"{r_hat:.3f}, {bulk:.0f}: " + ("reached" if reached else "not reached, and told")
    return Row(f"{name}: {label}", f"{len(summary)} rows", "R-hat, effective draws", figure, told), line


def take_first(fit: bmtme.Fit) -> np.ndarray:
    """Draws (n, I) of the genetic covariance of the first environment with each, of one trait, in the data's units."""
    posterior = fit.idata.posterior
    if "C" in posterior:
        C = posterior["C"].values
        return np.asarray(C.reshape(-1, *C.shape[2:])[:, 0])
    variance = posterior["Sigma_t"].values.reshape(-1, 1)
    own = posterior["Sigma_E"].values
    own = own.reshape(-1, *own.shape[2:])[:, 0]
    return np.asarray(variance * (1.0 + own * (np.arange(own.shape[1]) == 0)))


def judge_first(label: str, draws: np.ndarray, envs: tuple[str, ...]) -> tuple[Row | None, tuple[str, ...]]:
    """Whether a model that can say so finds the first environment apart from the others."""
    means = draws[:, 1:].mean(axis=0)
    low, high = np.quantile(draws[:, 1:], (0.05, 0.95), axis=0)
    cells = [f"{m:+.2f} ({a:+.2f}, {b:+.2f})" for m, a, b in zip(means, low, high, strict=True)]
    row = None
    if label in LOOSE:
        figure = ", ".join(f"{m:+.2f}" for m in means)
        ok = bool(means.min() > BOUNDS[0] and means.max() < BOUNDS[1])
        row = Row(f"{WHEAT}: {label}", f"{envs[0]} with {len(means)} others", "genetic covariances", figure, ok)
    return row, (label, *cells)


def run_quick(options: Options) -> list[Row]:
    """Two models of the 599 lines."""
    data = read_trial(WHEAT)
    if data is None:
        return [skip("convergence on real trials", WHEAT)]
    rows = []
    for label in LOOSE[:2]:
        fit = run(data, MODELS[label], options, draws=500, tune=500)
        row, _ = judge_first(label, take_first(fit), data[0].envs)
        rows += [] if row is None else [row]
    return rows


def run_full(options: Options) -> list[Row]:
    """Every model on every trial, with tables that are written after each trial."""
    head = (
        "trial", "model", "largest R-hat", "fewest bulk", "fewest tail", "of", "enough", "CPU s", "what the fit says"
    )  # fmt: skip
    rows: list[Row] = []
    lines, firsts = [], []
    tables: dict[str, str] = {}
    for name in reversed(TRIALS):
        data = read_trial(name)
        if data is None:
            rows.append(skip(f"{name}: convergence", name))
            continue
        models = choose_models(data)
        report = report_progress(f"convergence, {name}")
        for k, (label, model) in enumerate(models.items(), start=1):
            began = time.process_time()
            fit = run(data, model, options)
            row, line = judge_fit(name, label, fit, time.process_time() - began)
            rows.append(row)
            lines.append(line)
            if name == WHEAT:
                found, cells = judge_first(label, take_first(fit), data[0].envs)
                rows += [] if found is None else [found]
                firsts.append(cells)
            report(k, len(models))
        tables["Chains of the default length"] = make_table(head, lines)
        if name == WHEAT:
            envs = [f"{data[0].envs[0]} with {env}" for env in data[0].envs[1:]]
            tables[f"Genetic covariances on {WHEAT}, mean and 90% interval"] = make_table(("model", *envs), firsts)
        write_tables(options, "convergence", rows, tables)
    return rows


register("convergence", run_quick, run_full)
