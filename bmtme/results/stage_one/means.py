"""Adjusted means of the lines of an environment, and the covariance of their errors."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp

from bmtme.errors import DataError
from bmtme.model.stage_one import Environment, weigh_records
from bmtme.results.mixed.fit import MixedFit

__all__ = ["combine_means", "tabulate_means"]


def combine_means(environment: Environment, fit: MixedFit) -> tuple[np.ndarray, np.ndarray, sp.csr_array]:
    """Lines and traits of the means (m,), as levels, and the combinations of effects (m, p + q) that they are.

    A mean is the line's effect and the design and field of the average plot: every replicate counts alike, and within
    it every plot. Random effects of blocks, rows and columns stand at zero, splines at their mean.
    """
    layout = fit.layout
    X = sp.csr_array(layout.columns.matrix)
    lines = environment.plots.factor(environment.line, "line").codes[layout.rows]
    traits = np.zeros(len(lines), dtype=np.int64) if layout.trait is None else layout.trait.codes
    part = next(iter(layout.columns.terms.values()))  # the lines, of each trait their own
    own = sp.csr_array(X[:, part])
    columns = part.start + own.indices  # each record has one
    cells, first = np.unique(np.column_stack([lines, traits]), axis=0, return_index=True)
    rest = X.copy()
    rest.data[(rest.indices >= part.start) & (rest.indices < part.stop)] = 0.0
    weights = weigh_records(environment, layout)
    means = [np.where(traits == t, weights, 0.0) @ rest for t in range(int(traits.max()) + 1)]
    K = np.array([means[t] for t in cells[:, 1]])
    K[np.arange(len(cells)), columns[first]] += 1.0
    random = sum(term.q for term in fit.result.problem.terms)
    return cells[:, 0], cells[:, 1], sp.csr_array(np.hstack([K, np.zeros((len(K), random))]))


def tabulate_means(environment: Environment, fit: MixedFit) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Means of all lines of the environment's plots, and the covariance of those that can be estimated.

    Returns
    -------
    table : DataFrame
        line, env, trait, mean, n_plots: lines as in the table of plots, each with its traits.
    covariance : DataFrame
        With a MultiIndex (line, trait) on both sides.

    Raises
    ------
    DataError
        If no mean of a trait can be estimated.
    """
    lines, traits, K = combine_means(environment, fit)
    result = fit.result
    estimable = result.is_estimable(K)
    for t, trait in enumerate(environment.traits):
        if not estimable[traits == t].any():
            raise DataError(
                f"No mean of the trait {trait!r} can be estimated in environment {environment.name!r}: no line "
                f"connects the replicates {environment.rep!r} with each other, so that nothing tells their effects "
                "from those of their lines. Leave the column out, where plots of different replicates can be compared "
                "as they are."
            )
    K = sp.csr_array(K[np.flatnonzero(estimable)])
    means, V = result.combine(K), result.covariance_of(K)
    levels = environment.plots.factor(environment.line, "line").levels
    names = [(levels[j], environment.traits[t]) for j, t in zip(lines[estimable], traits[estimable], strict=True)]
    found = dict(zip(names, means, strict=True))
    codes = environment.plots.factor(environment.line, "line").codes
    values = {trait: environment.plots.numbers(trait, "trait") for trait in environment.traits}
    counts = {trait: np.bincount(codes[~np.isnan(own)], minlength=len(levels)) for trait, own in values.items()}
    rows = [
        (levels[j], environment.name, trait, found.get((levels[j], trait), np.nan), int(counts[trait][j]))
        for j in dict.fromkeys(codes.tolist())
        for trait in environment.traits
    ]
    index = pd.MultiIndex.from_tuples(names, names=["line", "trait"])
    table = pd.DataFrame(rows, columns=["line", "env", "trait", "mean", "n_plots"])
    return table, pd.DataFrame(0.5 * (V + V.T), index=index, columns=index)
