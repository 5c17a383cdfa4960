"""Two trials with many environments: what is proposed for them, what it costs, and what it reaches.

Barley (Steptoe x Morex: 149 lines, 16 environments, eight traits; of 128 columns 38 have no record), with markers, and
winter wheat (273 unrelated lines in eight environments, yield, three checks in many plots). Needs BMTME_DATA. Fits of
models that `bmtme.suggest_models` proposes and their cross-validation beside GBLUP of one trait by REML
(`validation.gblup`); of the barley's, which take minutes, the first, the paper's, and two factors of all traits
together with residuals by environment, in short chains.
"""

from __future__ import annotations

import time
from typing import Any

import bmtme
from bmtme.model.baselines import EnvironmentMeans
from validation.convergence import judge_fit, run
from validation.family import PAPER, RULE, judge, tabulate
from validation.paper.kept import Data
from validation.registry import Options, Row, make_table, register, report_progress, write_tables
from validation.schemes import run_kept
from validation.trials import read_trial, skip

WHEAT, BARLEY = "belamkar_augmented", "barley_steptoe_morex152"
PARTITIONS = {WHEAT: 5, BARLEY: 2}
#: Chains of the fits, and of each fit of a cross-validation.
FITS = {WHEAT: {}, BARLEY: {"draws": 1000, "tune": 500, "chains": 2}}
SHORT = {WHEAT: {"draws": 500, "tune": 500, "chains": 2}, BARLEY: {"draws": 300, "tune": 300, "chains": 2}}
JOINT = "two factors, by environment"


def choose_models(name: str, data: Data) -> tuple[str, dict[str, Any]]:
    """What is proposed in words, and the models: the first as the rule, the baseline of the means left out."""
    suggested = bmtme.suggest_models(*data)
    models: dict[str, Any] = {}
    for label, model in suggested.items():
        if not isinstance(model, EnvironmentMeans):
            models[label if models else RULE] = model
    if name == BARLEY:
        models = {label: models[label] for label in (RULE, PAPER)}
        models[JOINT] = bmtme.BMTME(genetic=bmtme.FactorAnalytic(factors=2), residual="by_env")
    return str(suggested), models


def run_quick(options: Options) -> list[Row]:
    """The rule on the wheat, few draws."""
    data = read_trial(WHEAT)
    if data is None:
        return [skip("many environments", WHEAT)]
    models = choose_models(WHEAT, data)[1]
    chains = {"draws": 200, "tune": 200, "chains": 1}
    cv = run_kept(options, f"many-{WHEAT}-quick", data, models, bmtme.CV1(2, 0.2), chains)
    return judge(WHEAT, "CV1", tabulate(WHEAT, "CV1", cv, data, {})[1])


def run_full(options: Options) -> list[Row]:
    """Proposals, fits and cross-validations of both, with tables that are written after each step."""
    fits = "trial", "model", "R-hat", "fewest bulk", "fewest tail", "of", "enough", "CPU s", "what the fit says"
    scores = (
        "trial", "scheme", "model", "Pearson", "MSEP / var", "in 90%", "less unstructured", "SE", "less GBLUP", "SE",
        "chains disagree", "thread s",
    )  # fmt: skip
    rows: list[Row] = []
    proposals, fitted, scored = [], [], []
    for name, chains in FITS.items():
        data = read_trial(name)
        if data is None:
            rows.append(skip(f"{name}: many environments", name))
            continue
        words, models = choose_models(name, data)
        proposals.append(f"{name}: {words}")
        report = report_progress(f"many, {name}")
        for k, (label, model) in enumerate(models.items(), start=1):
            began = time.process_time()
            row, line = judge_fit(name, label, run(data, model, options, **chains), time.process_time() - began)
            rows.append(row)
            fitted.append(line)
            report(k, len(models) + 1)
        scheme = bmtme.CV1(PARTITIONS[name], 0.2)
        cv = run_kept(options, f"many-{name}", data, models, scheme, SHORT[name])
        lines, leads = tabulate(name, "CV1", cv, data, {})
        seconds = cv.run["thread_seconds"]
        scored += [(*line, f"{seconds[line[2]]:.0f}" if line[2] in seconds else "") for line in lines]
        rows += judge(name, "CV1", leads)
        report(len(models) + 1, len(models) + 1)
        tables = {
            "Proposed": "\n\n".join(proposals),
            "Fits": make_table(fits, fitted),
            "Scores": make_table(scores, scored),
        }
        write_tables(options, "many", rows, tables)
    return rows


register("many", run_quick, run_full)
