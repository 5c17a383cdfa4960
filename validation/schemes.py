"""What do the models predict under every scheme, on three real trials, and how long does it take?

All models and baselines on maize (309 lines, three traits), wheat (250 lines, four traits) and wheat (599 lines, grain
yield alone), in three or four environments, under every scheme of `bmtme.cv`. Needs BMTME_DATA.

Beside it, correlations that were published for the 599 lines (`PUBLISHED`), and times on the maize.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtr

import bmtme
from bmtme.cv.result import CrossValidation, load_cross_validation
from bmtme.linalg.compile import hash_sources
from validation.paper.kept import Data, digest_data
from validation.registry import LEVEL, Options, Row, make_table, register, report_progress, write_tables
from validation.trials import read_trial, skip

TRIALS = "maize309_mtme", "wheat250_mtme", "wheat599"
SHORT = {"draws": 600, "tune": 400, "chains": 2}
FIRST, MEANS = "unstructured", "environment means"
FREE = bmtme.Free()
MODELS = {
    FIRST: bmtme.BMTME(),
    "diagonal": bmtme.BMTME("diagonal"),
    "standard": bmtme.BMTME("standard"),
    "main and interaction": bmtme.BMTME(genetic=bmtme.MainAndInteraction(), residual="common_correlation"),
    "free": bmtme.BMTME(genetic=FREE, residual="common_correlation"),
    "single": bmtme.SingleTrait(bmtme.BMTME()),
    "single, free": bmtme.SingleTrait(bmtme.BMTME(genetic=FREE, residual="by_env")),
    MEANS: bmtme.EnvironmentMeans(),
}
SCHEMES = {
    "CV1": bmtme.CV1(10, 0.2),
    "CV2": bmtme.CV2(),
    "NewLines": bmtme.NewLines(5),
    "NewEnvironments": bmtme.NewEnvironments(),
    "NewLinesNewEnvironments": bmtme.NewLinesNewEnvironments(5),
}
#: Where every environment keeps records of all traits, which free covariances need.
KEPT_ENVS = "CV1", "NewLines"

#: Mean and SD of Pearson's correlation over 100 partitions with 30% for testing, 599 lines in environments 2, 4 and 5,
#: main effects of markers and effects in each environment, by BGLR: M. Lopez-Cruz, multi_environment.md of
#: github.com/MarcooLopez/Genomic-Selection (its CV1 and CV2, column MxE), the model of Lopez-Cruz et al. (2015), G3
#: 5:569-582. With one trait it is the unstructured model, but for priors.
PUBLISHED = {
    "new lines": {"E2": (0.460, 0.050), "E4": (0.382, 0.055), "E5": (0.412, 0.054)},
    "lines seen in other environments": {"E2": (0.647, 0.033), "E4": (0.591, 0.043), "E5": (0.529, 0.042)},
}
#: Partitions of theirs, and of ours.
THEIRS, PARTITIONS = 100, 10
OURS = {
    "new lines": bmtme.NewLines(partitions=PARTITIONS, test_fraction=0.3),
    "lines seen in other environments": bmtme.CV1(PARTITIONS, 0.3),
}

#: Models and schemes that are timed, on two cores with the default number of draws.
TIMED = {"CV1": bmtme.CV1(10, 0.2), "NewLines": bmtme.NewLines(partitions=10)}
CORES, MOST_SECONDS, FORETOLD = 2, 60.0, 1 / 3


# --- runs -------------------------------------------------------------------------------------------------------


def choose_models(data: Data, scheme: str) -> dict[str, Any]:
    """The models that take the scheme; with one trait those that are the unstructured one are left out."""
    left_out = set() if scheme in KEPT_ENVS else {"free", "single, free"}
    if len(data[0].traits) == 1:
        left_out |= {"diagonal", "standard", "single", "single, free"}
    return {label: model for label, model in MODELS.items() if label not in left_out}


def choose_schemes(data: Data) -> dict[str, Any]:
    """All; with one trait, CV2 is NewEnvironments."""
    return {label: scheme for label, scheme in SCHEMES.items() if label != "CV2" or len(data[0].traits) > 1}


def run_kept(
    options: Options, name: str, data: Data, models: Mapping[str, Any], scheme: Any, chains: Mapping[str, int]
) -> CrossValidation:
    """A cross-validation from the folder of replicates, or run and put there.

    The folder is called after the data, the settings and the compiled sources, so that another run is never taken for
    this one.
    """
    described = {label: model.describe() for label, model in models.items()}
    settings = [digest_data(data), described, repr(scheme), options.seed, dict(chains), hash_sources()]
    digest = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=6).hexdigest()
    folder = options.replicates / f"schemes-{name}-{digest}"
    if folder.is_dir():
        return load_cross_validation(folder)
    cv = run(options, data, models, scheme, options.cores, chains)
    cv.save(folder)
    return cv


def run(
    options: Options, data: Data, models: Mapping[str, Any], scheme: Any, workers: int, chains: Mapping[str, int]
) -> CrossValidation:
    """A cross-validation without a word of warning; what it warns of is in the result."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return bmtme.cross_validate(*data, models, scheme, seed=options.seed, workers=workers, progress=False, **chains)


def take_envs(data: Data, envs: list[str]) -> Data:
    """A trial of some of the environments."""
    trial, relationship = data
    frame = trial.to_frame()
    some = bmtme.Trial.from_frame(frame[frame["env"].isin(envs)], line="line", env="env", traits=list(trial.traits))
    return some, relationship


# --- figures ----------------------------------------------------------------------------------------------------


def average_scores(scores: pd.DataFrame, baseline: str = MEANS) -> pd.DataFrame:
    """Means of scores by model: over partitions within an environment and trait, then over these.

    Columns: ``pearson``; ``msep``, mean of the ratios to the baseline's, so that units cancel; ``coverage_90``;
    ``slope``.
    """
    names = ["pearson", "msep", "coverage_90", "slope"]
    cells = scores.groupby(["model", "env", "trait"], sort=False)[names].mean()
    base = cells["msep"].xs(baseline).reindex(cells.index.droplevel("model")).to_numpy()
    cells["msep"] = cells["msep"] / base
    return cells.groupby("model", sort=False).mean()


def tabulate_scheme(name: str, label: str, cv: CrossValidation) -> list[tuple[str, ...]]:
    """A row for every model of a run."""
    means = average_scores(cv.scores)
    steps = cv.compare(metric="pearson", against=FIRST, by="all").set_index("model")
    rows = []
    for model, row in means.iterrows():
        step = "", "", ""
        if model in steps.index and np.isfinite(steps.loc[model, "difference"]):
            found = steps.loc[model]
            p = "<0.001" if found["p"] < 0.001 else write(found["p"])
            step = f"{found['difference']:+.3f}", write(found["se"]), p
        seconds = cv.run["thread_seconds"].get(model, np.nan)
        figures = (write(row[column]) for column in ("pearson", "msep", "coverage_90", "slope"))
        rows.append((name, label, str(model), *figures, *step, write(seconds, 0)))
    return rows


def write(value: float, digits: int = 3) -> str:
    """A number, empty where it is missing."""
    return f"{value:.{digits}f}" if np.isfinite(value) else ""


def compare_published(cv: CrossValidation, published: Mapping[str, tuple[float, float]]) -> pd.DataFrame:
    """Our correlations beside published ones, by model and environment.

    ``z`` is the difference in standard errors: partitions are drawn at random given the data, so that the error of a
    mean over k of them is SD / sqrt(k).
    """
    found = cv.scores.groupby(["model", "env"], sort=False)["pearson"].agg(["mean", "std", "size"]).reset_index()
    theirs = np.array([published[env] for env in found["env"]])
    found["published"], found["published_sd"] = theirs.T
    error = np.sqrt(found["std"] ** 2 / found["size"] + found["published_sd"] ** 2 / THEIRS)
    found["z"] = (found["mean"] - found["published"]) / error
    return found


def judge_published(what: str, found: pd.DataFrame) -> Row:
    """Whether the unstructured model has the published correlations."""
    z = found.loc[found["model"] == FIRST, "z"].abs()
    p = min(1.0, float(2.0 * ndtr(-z.max()) * len(z)))
    figure = f"{z.max():.1f} standard errors; p {p:.2g}"
    return Row(
        f"wheat599: {what}, published by BGLR", f"{len(z)} environments", "largest difference", figure, p > LEVEL
    )


def time_runs(options: Options, data: Data) -> tuple[list[Row], list[tuple[str, ...]]]:
    """Seconds of three models on ten partitions, beside what was foretold."""
    rows, lines = [], []
    models = {name: MODELS[name] for name in (FIRST, "diagonal", "standard")}
    for label, scheme in TIMED.items():
        cv = run(options, data, models, scheme, CORES, {})
        seconds, foretold = cv.run["seconds"], cv.run["seconds_foretold"]
        sampling = seconds["warm_up"] + seconds["sample"]
        took = seconds["prepare"] + sampling
        off = foretold / sampling - 1.0
        size = f"10 partitions x {len(models)} models, {CORES} workers"
        rows += [
            Row(f"maize: time of {label}", size, "seconds less compilation", f"{took:.1f}", took < MOST_SECONDS),
            Row(
                f"maize: time foretold of {label}", size, "seconds, and share too many", f"{foretold:.1f}; {off:+.0%}",
                abs(off) < FORETOLD,
            ),
        ]  # fmt: skip
        lines.append((label, *(f"{x:.1f}" for x in (seconds["prepare"], seconds["sample"], foretold)), f"{off:+.0%}"))
    return rows, lines


def judge_run(name: str, label: str, cv: CrossValidation) -> list[Row]:
    """Whether all fits ended well and, where lines are hidden, the first model predicts better than the means."""
    size = f"{len(cv.run['settings']['models'])} models x {len(cv.run['data']['partitions'])} partitions"
    rows = [Row(f"{name}: {label}, fits", size, "failed", f"{len(cv.failures)}", not cv.failures)]
    if label in KEPT_ENVS:
        ratio = float(average_scores(cv.scores).loc[FIRST, "msep"])
        rows.append(Row(f"{name}: {label}, {FIRST}", size, "MSEP of the means' MSEP", f"{ratio:.3f}", ratio < 1.0))
    return rows


# --- the study --------------------------------------------------------------------------------------------------


def run_quick(options: Options) -> list[Row]:
    """Two schemes on the maize with few draws, where it is there."""
    data = read_trial(TRIALS[0])
    if data is None:
        return [skip("schemes on real trials", TRIALS[0])]
    models = {label: MODELS[label] for label in (FIRST, "single", MEANS)}
    rows = []
    for label, scheme in {"CV1": bmtme.CV1(2, 0.2), "NewLines": bmtme.NewLines(partitions=2)}.items():
        cv = run(options, data, models, scheme, options.cores, {"draws": 200, "tune": 200, "chains": 1})
        rows += judge_run(TRIALS[0], label, cv)
    return rows


def run_full(options: Options) -> list[Row]:
    """Everything, with tables that are written after every trial."""
    rows: list[Row] = []
    tables: dict[str, str] = {}
    head = (
        "trial", "scheme", "model", "Pearson", "MSEP of the means'", "in 90%", "slope", f"Pearson less {FIRST}", "SE",
        "p", "seconds",
    )  # fmt: skip
    lines: list[tuple[str, ...]] = []
    for name in TRIALS:
        data = read_trial(name)
        if data is None:
            rows.append(skip(f"{name}: schemes", name))
            continue
        schemes = choose_schemes(data)
        report = report_progress(f"schemes, {name}")
        for k, (label, scheme) in enumerate(schemes.items(), start=1):
            cv = run_kept(options, f"{name}-{label}", data, choose_models(data, label), scheme, SHORT)
            rows += judge_run(name, label, cv)
            lines += tabulate_scheme(name, label, cv)
            report(k, len(schemes))
        tables["Scores"] = make_table(head, lines)
        if name == "wheat599":
            found, tables["Published correlations"] = run_published(options, data)
            rows += found
        if name == "maize309_mtme":
            found, times = time_runs(options, data)
            rows += found
            tables["Seconds"] = make_table(("scheme", "prepare", "sample", "foretold", "too many"), times)
        write_tables(options, "schemes", rows, tables)
    return rows


def run_published(options: Options, data: Data) -> tuple[list[Row], str]:
    """The 599 lines in environments 2, 4 and 5, as published."""
    data = take_envs(data, ["E2", "E4", "E5"])
    models = {label: MODELS[label] for label in (FIRST, "free")}
    rows, lines = [], []
    for what, published in PUBLISHED.items():
        cv = run_kept(options, f"published-{what.replace(' ', '-')}", data, models, OURS[what], SHORT)
        found = compare_published(cv, published)
        rows.append(judge_published(what, found))
        lines += [
            (
                what, row.model, row.env, f"{row.mean:.3f} ({row.std:.3f})",
                f"{row.published:.3f} ({row.published_sd:.3f})", f"{row.z:+.1f}",
            )
            for row in found.itertuples()
        ]  # fmt: skip
    return rows, make_table(("predicted", "model", "environment", "bmtme (SD)", "published (SD)", "SEs apart"), lines)


register("schemes", run_quick, run_full)
