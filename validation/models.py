"""Does cross-validation rank the models as it must, and does the relationship carry information?

Simulated sets, CV1, mean squared error of prediction in units of the trait's variance (80 lines, 3 environments,
3 traits, genetic and residual correlations 0.85):

- heritabilities 0.2, 0.5, 0.8: R_e is not proportional to Sigma_t, traits inform each other, and the unstructured
  model must predict best;
- heritability 0.5 of every trait: R_e is proportional to Sigma_t, and with whole records hidden no trait can help
  another beyond what the line's own records say: no gain over the diagonal model;
- the lines' names in the relationship permuted: accuracy falls to what a line's other environments alone give
  (an identity relationship).
"""

from __future__ import annotations

import time
import warnings

import numpy as np

import bmtme
from bmtme.data.relationship.matrix import Relationship
from validation.registry import Options, Row, make_table, register, write_tables

MODELS = ("unstructured", "diagonal", "standard")
SHORT = {"draws": 1000, "tune": 500, "chains": 2, "progress": False}


def score_models(seed: int, heritability: object, cores: int) -> np.ndarray:
    """Mean standardised MSEP of the three models on one simulated set."""
    simulation = bmtme.simulate(lines=80, heritability=heritability, relationship="markers", seed=seed)
    traits = [name for name in simulation.frame.columns if name not in ("line", "env", "rep")]
    trial = bmtme.Trial.from_frame(simulation.frame, line="line", env="env", traits=traits)
    scores = bmtme.cross_validate(
        trial,
        simulation.relationship,
        models={name: bmtme.BMTME(name) for name in MODELS},
        scheme=bmtme.CV1(partitions=3, test_fraction=0.2),
        seed=seed,
        workers=cores,
        **SHORT,
    ).scores
    variance = {trait: float(np.nanvar(trial.values[:, l])) for l, trait in enumerate(traits)}
    scores["standardised"] = scores["msep"] / scores["trait"].map(variance).astype(float)
    return scores.groupby("model")["standardised"].mean()[list(MODELS)].to_numpy()


def score_relationships(seed: int, cores: int) -> np.ndarray:
    """Mean correlation of predicted and hidden values with the right, a permuted and an identity relationship."""
    simulation = bmtme.simulate(lines=80, relationship="markers", heritability=0.5, seed=seed)
    traits = [name for name in simulation.frame.columns if name not in ("line", "env", "rep")]
    trial = bmtme.Trial.from_frame(simulation.frame, line="line", env="env", traits=traits)
    right = simulation.relationship
    shuffled = np.random.default_rng(seed).permutation(right.lines)
    out = []
    for relationship in (right, Relationship(right.matrix, shuffled), Relationship.identity(right.lines)):
        cv = bmtme.cross_validate(
            trial, relationship, scheme=bmtme.CV1(partitions=3, test_fraction=0.2), seed=seed, workers=cores, **SHORT
        )
        out.append(cv.scores["pearson"].mean())
    return np.array(out)


def compare(values: np.ndarray, one: int, other: int) -> tuple[float, float]:
    """Mean paired difference over the sets and its standard error."""
    difference = values[:, one] - values[:, other]
    return float(difference.mean()), float(difference.std(ddof=1) / np.sqrt(len(difference)))


def measure(options: Options, sets: int) -> tuple[list[Row], dict[str, str]]:
    """The three comparisons on `sets` simulated sets each."""
    seeds = [1000 * options.seed + k for k in range(sets)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # short runs, meant so
        different = np.array([score_models(seed, (0.2, 0.5, 0.8), options.cores) for seed in seeds])
        proportional = np.array([score_models(seed, 0.5, options.cores) for seed in seeds])
        related = np.array([score_relationships(seed, options.cores) for seed in seeds])
    rows, lines = [], []
    for name, values, gain in (("different R_e", different, True), ("proportional R_e", proportional, False)):
        means = values.mean(axis=0)
        lines.append((name, *[f"{mean:.3f}" for mean in means]))
        for k, other in ((1, "diagonal"), (2, "standard")):
            step, error = compare(values, 0, k)
            ok = means[0] < means[k] if gain else k == 2 or step > -3 * error
            rows.append(
                Row(
                    f"{name}: unstructured - {other}",
                    f"{sets} sets",
                    "standardised MSEP",
                    f"{step:+.4f} (SE {error:.4f})",
                    bool(ok),
                )
            )
    means = related.mean(axis=0)
    fall, error = compare(related, 1, 0)
    gap, gap_error = compare(related, 1, 2)
    rows += [
        Row("permuted - right relationship", f"{sets} sets", "Pearson", f"{fall:+.3f} (SE {error:.3f})", fall < 0),
        Row(
            "permuted - identity relationship",
            f"{sets} sets",
            "Pearson",
            f"{gap:+.3f} (SE {gap_error:.3f})",
            bool(gap < 0.02 + 3 * gap_error),
        ),
    ]
    tables = {
        "Standardised MSEP, means": make_table(("residual covariance", *MODELS), lines),
        "Pearson's correlation by the relationship, means": make_table(
            ("right", "permuted", "identity"), [[f"{mean:.3f}" for mean in means]]
        ),
    }
    return rows, tables


def run_quick(options: Options) -> list[Row]:
    """Six sets: enough for the signs."""
    return measure(options, 6)[0]


def run_full(options: Options) -> list[Row]:
    """Twenty sets."""
    began = time.perf_counter()
    rows, tables = measure(options, 20)
    write_tables(options, "models", rows, tables, time.perf_counter() - began)
    return rows


register("models", run_quick, run_full)
