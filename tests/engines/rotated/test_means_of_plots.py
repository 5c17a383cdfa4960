"""Means of plots in place of the plots: what they say of the covariances differs by the plots within records alone."""

from dataclasses import replace

import numpy as np
import pytest

from bmtme.engines.rotated.density import evaluate
from bmtme.engines.rotated.kernels.residual import sum_log_density
from bmtme.model.layout import lay_out
from bmtme.structures.by_env import ByEnv
from bmtme.structures.free import Free
from bmtme.structures.proportional import PAPER_PAIR
from bmtme.testing.cases import Case, draw_tame, make_case
from bmtme.testing.pairs import build_pair_problem, open_walk
from tests.structures.test_structures import start_at

#: Plots of each line by environment.
EQUAL = ((3,) * 6, (3,) * 6)
UNEQUAL = ((1, 4, 2, 3, 1, 2), (2, 1, 0, 4, 4, 1))


def make_both(plots, seed=1):
    """A case of plots, values of these, and the case of their means with values."""
    case = make_case(tuple(tuple(" ".join(["01"] * n) or "-" for n in row) for row in plots))
    rng = np.random.default_rng(seed)
    values = case.model.draw_values(rng, draw_tame(rng, case.model))
    cell, of = np.unique(np.column_stack([case.model.env, case.model.line]), axis=0, return_inverse=True)
    number = np.bincount(of.ravel()).astype(float)
    means = np.stack([np.bincount(of.ravel(), column) / number for column in values.T], axis=1)
    observed, (env, line) = np.ones(means.shape, bool), cell.T
    layout = lay_out(observed, line, env, len(case.model.G), len(plots), rec_plots=number)
    model = replace(case.model, line=line, env=env, plots=number)
    return case, values, Case(model, observed, layout, case.basis), means, of.ravel()


@pytest.mark.parametrize("plots", [EQUAL, UNEQUAL])
@pytest.mark.parametrize("pair", [PAPER_PAIR, (Free(), ByEnv())])
def test_density(pair, plots):
    case, values, of_means, means, of = make_both(plots)
    within = (values - means[of]).T @ (values - means[of])
    p, q = build_pair_problem(case, pair, values), build_pair_problem(of_means, pair, means)
    for name in ("d", "x", "k", "cell_root", "cell_pad", "cell_count", "cell_mean", "fixed"):
        np.testing.assert_allclose(getattr(p, name), getattr(q, name), atol=1e-12)
    start = draw_tame(np.random.default_rng(2), case.model)
    walks = []
    for problem, each, y in ((p, case, values), (q, of_means, means)):
        s = each.pack(problem, start, y, np.ones((len(each.pads().line), 2)))
        walks.append(open_walk(problem, s))
    rng, found, expected = np.random.default_rng(3), [], []
    for _ in range(4):
        theta = start_at(pair, p, start) + 0.2 * rng.standard_normal(len(walks[0][0].theta))
        found.append(np.subtract(*(evaluate(theta, *held, np.empty(len(theta))) for _, held in walks)))
        R = walks[0][0].R_e.reshape(-1, 2, 2)[p.block]
        parts = []
        for i in range(2):
            here = case.model.env == i
            left = (values - means[of])[here]
            degrees = here.sum() - len(np.unique(case.model.line[here]))
            parts.append(sum_log_density(left.T @ left, float(degrees), np.ones(2, bool), R[i]))
        expected.append(sum(parts))
    assert within.trace() > 1.0
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert np.ptp(expected) > 0.1
