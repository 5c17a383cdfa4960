"""What the studies of real trials rest on, checked on a simulated one that every clone has."""

from __future__ import annotations

import numpy as np

import bmtme
from validation.paper.crossvalidation import MODELS, place_predictions, predict, predict_raw, score_hidden, weigh_scores
from validation.paper.kept import Data
from validation.registry import Options, Row

LINES, TRAITS = 60, ("T1", "T2", "T3")


def check_machinery(options: Options) -> list[Row]:
    """Scores, the standard model in raw units, and what the paper's prior of the means does to MSEP."""
    simulation = bmtme.simulate(lines=LINES, relationship="markers", heritability=0.5, seed=options.seed)
    trial = bmtme.Trial.from_frame(simulation.frame, line="line", env="env", traits=list(TRAITS))
    data = trial, simulation.relationship
    return [check_scores(options, data), check_raw(options, data), *check_prior(options, data)]


def check_scores(options: Options, data: Data) -> Row:
    """Weighted scores with all weights one against those of the package."""
    trial = data[0]
    table = predict(data, {"un": MODELS["unstructured"]}, bmtme.CV1(2, 0.2), options.seed, options.cores, None)
    observed = trial.cell_means()
    predicted = place_predictions(table, trial, ("un",))[0]
    labels = {"line": trial.lines, "env": trial.envs, "trait": TRAITS}
    keys = [table[key].map(names.index) for key, names in labels.items()]
    scored = bmtme.cv.score(table.assign(observed=observed[tuple(keys)]), envs=trial.envs, traits=TRAITS)
    one = np.ones((1, len(trial.lines)))
    again = [
        weigh_scores(observed[:, i, l], predicted[p : p + 1, :, i, l], one)
        for p, i, l in np.ndindex(len(predicted), len(trial.envs), len(TRAITS))
    ]
    worst = max(
        float(np.abs(scored[key] / [scores[key][0, 0] for scores in again] - 1).max()) for key in ("pearson", "msep")
    )
    return Row(
        "simulated: scores as of bmtme.cv", f"{len(again)} cells", "largest relative difference", f"{worst:.1e}",
        worst < 1e-9,
    )  # fmt: skip


def check_raw(options: Options, data: Data) -> Row:
    """Exact conditional means of the standard model in raw units against the means of the draws.

    The traits have similar units here, so that the draws' noise is small.
    """
    scheme = bmtme.CV1(2, 0.2)
    exact = predict_raw(data, scheme, "raw", "exchangeable", options.seed, options.cores, None)
    model = {"drawn": bmtme.BMTME("standard", units="raw")}
    drawn = predict(data, model, scheme, options.seed, options.cores, None)
    both = exact.merge(drawn, on=["partition", "line", "env", "trait"], validate="one_to_one")
    difference = both["mean_x"] - both["mean_y"]
    spread = both.groupby(["env", "trait"])["mean_x"].std().mean()
    ratio = float(np.sqrt((difference**2).mean()) / spread)
    return Row(
        "simulated: standard model in raw units, exact and drawn", f"{len(both)} cells",
        "RMS difference / SD of predictions", f"{ratio:.3f}", ratio < 0.1,
    )  # fmt: skip


def check_prior(options: Options, data: Data) -> list[Row]:
    """MSEP of a hidden trait under the paper's prior of the means is near the mean square of the values."""
    models = {means: bmtme.BMTME(means=means) for means in ("paper", "exchangeable")}
    env, trait = data[0].envs[0], TRAITS[0]
    scores = score_hidden(data, models, trait, env, options.seed, options.cores)
    square = float(np.mean(data[0].cell_means()[:, 0, 0] ** 2))
    ratio = scores["paper"]["msep"] / square
    gain = scores["paper"]["msep"] / scores["exchangeable"]["msep"]
    lines = scores["paper"]["lines"] / scores["exchangeable"]["lines"]
    size = f"{LINES} lines, {trait} hidden in {env}"
    return [
        Row("simulated: CV2, the paper's prior", size, "MSEP / mean square", f"{ratio:.2f}", abs(ratio - 1) < 0.2),
        Row("simulated: the same / exchangeable means", size, "MSEP, ratio", f"{gain:.1f}", gain > 3),
        Row("simulated: lines, both priors", size, "lines' part of MSEP, ratio", f"{lines:.3f}", abs(lines - 1) < 0.1),
    ]
