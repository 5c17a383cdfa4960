"""Which model of the family predicts best, and does one rule, fixed beforehand, keep up with every rival?

Maize (309 lines, three traits), wheat (250 lines, four traits) and wheat (599 lines, grain yield alone), cells hidden
at random (CV1, 20 partitions) and whole lines hidden (NewLines): six designs. Needs BMTME_DATA; where a folder
``masks`` stands beside it, ten of the partitions of the first two are those of ``mask_maize_cv1.csv`` and
``mask_wheat_cv1.csv`` there.

The rule is the first model of `bmtme.suggest_models`. The nested rule chooses between it and the free covariance of all
traits in a cross-validation within each training part: the second where its correlation is higher by more than its
standard error. The rivals are GBLUP of one trait by REML (`validation.gblup`), on the same partitions, and the paper's
model.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import bmtme
from bmtme.cv.result import CrossValidation
from validation.gblup import predict
from validation.paper.kept import Data
from validation.registry import Options, Row, make_table, register, report_progress, write_tables
from validation.schemes import run_kept, write
from validation.trials import read_trial, skip

TRIALS = {"maize309_mtme": "maize", "wheat250_mtme": "wheat", "wheat599": "wheat599"}
#: Of cells hidden at random.
PARTITIONS = 20
SHORT = {"draws": 750, "tune": 500, "chains": 2}
OWN = "common_correlation"
#: Chains of a cross-validation within a training part, and its partitions.
INNER, INNER_PARTITIONS = {"draws": 300, "tune": 300, "chains": 1}, 5
PAPER, RULE, RIVAL, NESTED, OTHER = "unstructured", "rule", "GBLUP", "nested", "free"
MODELS: dict[str, Any] = {
    PAPER: bmtme.BMTME(),
    "unstructured, own residuals": bmtme.BMTME(residual=OWN),
    "main and interaction": bmtme.BMTME(genetic=bmtme.MainAndInteraction("equal")),
    "main and interaction, own residuals": bmtme.BMTME(genetic=bmtme.MainAndInteraction(), residual=OWN),
    "separable": bmtme.BMTME(genetic=bmtme.Separable(), residual=OWN),
    "factor-analytic": bmtme.BMTME(genetic=bmtme.FactorAnalytic(factors=2), residual=OWN),
    "free": bmtme.BMTME(genetic=bmtme.Free(), residual=OWN),
    "free, line effect": bmtme.BMTME(genetic=bmtme.Free(), residual=OWN, line_effect=True),
    "single, unstructured": bmtme.SingleTrait(bmtme.BMTME()),
    "single, main and interaction": bmtme.SingleTrait(bmtme.BMTME(genetic=bmtme.MainAndInteraction("equal"))),
    "single, free": bmtme.SingleTrait(bmtme.BMTME(genetic=bmtme.Free(), residual="by_env")),
}
#: Of a rule over a rival: mean difference of Pearson, and its error.
Leads = dict[tuple[str, str], tuple[float, float]]
CHOSEN = "trial", "scheme", "partitions in which the nested rule chose the free covariance of all traits"
#: Limits of R-hat that a fit of a cross-validation may have.
AGREE = 1.05


def choose_models(data: Data) -> dict[str, Any]:
    """The models that these data can tell apart, and the rule."""
    trial, relationship = data
    suggested = bmtme.suggest_models(trial, relationship)
    models = {RULE: suggested[next(iter(suggested))]}
    for label, model in MODELS.items():
        alone = len(trial.traits) == 1
        if not (alone and (label.startswith("single") or label == "separable")):
            models[label] = model
    return models


def choose_schemes(name: str, data: Data, seed: int) -> dict[str, Any]:
    """CV1, in given partitions as far as there are any, and folds of whole lines."""
    path = Path(os.environ["BMTME_DATA"]).parent / "masks" / f"mask_{TRIALS[name]}_cv1.csv"
    trial, cells = data[0], bmtme.CV1(PARTITIONS, 0.2)
    if path.is_file():
        given = pd.read_csv(path, dtype=str).rename(columns={"part": "partition"})
        given = given.merge(pd.DataFrame({"trait": trial.traits}), how="cross")
        more = bmtme.CV1(PARTITIONS - given["partition"].nunique(), 0.2).table(trial, seed)
        more["partition"] = "random " + more["partition"].astype(str)
        names = ["partition", "line", "env", "trait"]
        cells = bmtme.Partitions.from_frame(pd.concat([given, more])[names])
    return {"CV1": cells, "NewLines": bmtme.NewLines(5)}


def predict_rival(data: Data, cv: CrossValidation) -> pd.DataFrame:
    """GBLUP's predictions of the cells that are scored: columns as in ``cv.predictions`` up to ``mean``."""
    trial, relationship = data
    G = relationship.matrix * len(relationship.lines) / np.trace(relationship.matrix)
    place = np.array([relationship.lines.index(line) for line in trial.lines])
    means = trial.cell_means()
    one = cv.predictions[cv.predictions["model"] == PAPER]
    found = []
    for partition, cells in one.groupby("partition", sort=False):
        hidden = cv.partitions[cv.partitions["partition"] == partition]
        for trait, wanted in cells.groupby("trait", sort=False):
            kept = ~np.isnan(means[:, :, trial.traits.index(str(trait))])
            away = hidden[hidden["trait"] == trait]
            kept[[trial.lines.index(x) for x in away["line"]], [trial.envs.index(x) for x in away["env"]]] = False
            j, i = np.nonzero(kept)
            lines = place[[trial.lines.index(x) for x in wanted["line"]]]
            envs = np.array([trial.envs.index(x) for x in wanted["env"]])
            y = means[j, i, trial.traits.index(str(trait))]
            names = ["partition", "line", "env", "trait", "observed"]
            found.append(wanted[names].assign(model=RIVAL, mean=predict(y, place[j], i, G, lines, envs)))
    return pd.concat(found, ignore_index=True)


def choose_nested(options: Options, name: str, data: Data, scheme: Any, cv: CrossValidation) -> dict[str, str]:
    """The model that the nested rule chooses for each partition, from the values that are not hidden there."""
    trial, relationship = data
    models = {label: model for label, model in choose_models(data).items() if label in (RULE, OTHER)}
    if len(models) < 2:
        return {}
    chosen = {}
    frame = trial.to_frame()
    for partition, hidden in cv.partitions.groupby("partition", sort=False):
        kept = frame.copy()
        for trait, cells in hidden.groupby("trait"):
            away = pd.MultiIndex.from_frame(cells[["line", "env"]])
            kept.loc[pd.MultiIndex.from_frame(kept[["line", "env"]]).isin(away), trait] = np.nan
        kept = kept.dropna(subset=list(trial.traits), how="all")
        part = bmtme.Trial.from_frame(kept, line="line", env="env", traits=list(trial.traits))
        inner = bmtme.NewLines(INNER_PARTITIONS) if isinstance(scheme, bmtme.NewLines) else bmtme.CV1(INNER_PARTITIONS)
        found = run_kept(options, f"family-{name}-{partition}", (part, relationship), models, inner, INNER)
        step, error = compare(measure(found.predictions), OTHER, RULE, 0.25)
        chosen[str(partition)] = OTHER if step > error else RULE
    return chosen


def measure(table: pd.DataFrame) -> pd.DataFrame:
    """Pearson and MSEP (over the variance of what is observed) by model and partition: means over cells."""
    cells = []
    for key, here in table.groupby(["model", "partition", "env", "trait"], sort=False):
        if len(here) > 2:
            r = np.corrcoef(here["observed"], here["mean"])[0, 1]
            error = ((here["observed"] - here["mean"]) ** 2).mean() / here["observed"].var()
            cells.append((*key[:2], r, error))
    frame = pd.DataFrame(cells, columns=["model", "partition", "pearson", "msep"])
    return frame.groupby(["model", "partition"], sort=False).mean()


def compare(scores: pd.DataFrame, model: str, other: str, share: float) -> tuple[float, float]:
    """Mean difference of Pearson and its error, corrected for partitions that share their training data.

    share : hidden over kept units; the variance is (1/k + share) S^2 (Nadeau & Bengio 2003, Mach. Learn. 52:239-281)
    """
    differences = (scores.loc[model] - scores.loc[other])["pearson"]
    return float(differences.mean()), float(np.sqrt((1 / len(differences) + share) * differences.var(ddof=1)))


def count_unsettled(cv: CrossValidation, model: str) -> str:
    """Fits of a model whose chains disagree, of all."""
    found = cv.run["diagnostics"].get(model, {})
    bad = sum((entry["r_hat"] or np.inf) > AGREE for entry in found.values())
    return f"{bad} of {len(found)}"


def tabulate(
    name: str, label: str, cv: CrossValidation, data: Data, chosen: dict[str, str]
) -> tuple[list[tuple[str, ...]], Leads]:
    """A row for every model, and of each rule by how much it leads, with its corrected error.

    chosen : of the nested rule, by partition; empty where there is nothing to choose
    """
    picked = cv.predictions["partition"].map(chosen) == cv.predictions["model"]
    nested = cv.predictions[picked].assign(model=NESTED)
    scores = measure(pd.concat([cv.predictions, nested, predict_rival(data, cv)], ignore_index=True))
    coverage = cv.scores.groupby("model")["coverage_90"].mean()
    share = 0.25  # a fifth hidden
    rows = []
    leads: Leads = {}
    for model in scores.index.get_level_values("model").unique():
        means = scores.loc[model].mean()
        found = ["", "", "", ""]
        for k, other in enumerate((PAPER, RIVAL)):
            if model != other:
                step, error = compare(scores, model, other, share)
                found[2 * k : 2 * k + 2] = f"{step:+.3f}", write(error)
        inside = write(coverage.get(model, np.nan))
        settled = count_unsettled(cv, model) if model in cv.run["diagnostics"] else ""
        rows.append((name, label, model, write(means["pearson"]), write(means["msep"]), inside, *found, settled))
    for rule in (RULE, NESTED) if chosen else (RULE,):
        for other in (PAPER, RIVAL):
            leads[rule, other] = compare(scores, rule, other, share)
    return rows, leads


def judge(name: str, label: str, leads: Leads) -> list[Row]:
    """Whether the rules are no worse than a rival beyond the error."""
    return [
        Row(
            f"{name}: {label}, {rule} against {other}", "", "Pearson, and its corrected error",
            f"{step:+.3f}, {error:.3f}", step > -2.0 * error,
        )
        for (rule, other), (step, error) in leads.items()
    ]  # fmt: skip


def run_quick(options: Options) -> list[Row]:
    """The rule and two others on the maize, few draws."""
    name = "maize309_mtme"
    data = read_trial(name)
    if data is None:
        return [skip("accuracy of the family", name)]
    models = {label: model for label, model in choose_models(data).items() if label in (RULE, PAPER)}
    chains = {"draws": 200, "tune": 200, "chains": 1}
    cv = bmtme.cross_validate(
        *data, models, bmtme.CV1(2, 0.2), seed=options.seed, workers=options.cores, progress=False, **chains
    )
    return judge(name, "CV1", tabulate(name, "CV1", cv, data, {})[1])


def run_full(options: Options) -> list[Row]:
    """The six designs, with a table that is written after each."""
    head = (
        "trial", "scheme", "model", "Pearson", "MSEP / var", "in 90%", f"less {PAPER}", "SE", f"less {RIVAL}", "SE",
        "chains disagree",
    )  # fmt: skip
    rows: list[Row] = []
    lines: list[tuple[str, ...]] = []
    choices: list[tuple[str, ...]] = []
    steps: dict[tuple[str, str], list[float]] = {}
    for name in TRIALS:
        data = read_trial(name)
        if data is None:
            rows.append(skip(f"{name}: accuracy of the family", name))
            continue
        schemes = choose_schemes(name, data, options.seed)
        report = report_progress(f"family, {name}")
        for k, (label, scheme) in enumerate(schemes.items(), start=1):
            cv = run_kept(options, f"family-{name}-{label}", data, choose_models(data), scheme, SHORT)
            chosen = choose_nested(options, f"{name}-{label}", data, scheme, cv)
            more, leads = tabulate(name, label, cv, data, chosen)
            lines += more
            rows += judge(name, label, leads)
            for pair, (step, _) in leads.items():
                steps.setdefault(pair, []).append(step)
            if chosen:
                free = sum(model == OTHER for model in chosen.values())
                choices.append((name, label, f"{free} of {len(chosen)}"))
            tables = {"Scores": make_table(head, lines), "Chosen": make_table(CHOSEN, choices)}
            write_tables(options, "family", rows, tables)
            report(k, len(schemes))
    for (rule, other), found in steps.items():
        mean = np.mean(found)
        rows.append(
            Row(f"{rule} against {other}", f"{len(found)} designs", "mean step in Pearson", f"{mean:+.3f}", mean > 0)
        )
    if lines:
        write_tables(options, "family", rows, tables)
    return rows


register("family", run_quick, run_full)
