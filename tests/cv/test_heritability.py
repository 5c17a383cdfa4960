"""Heritability of what is scored: formulas by hand, a dense likelihood, simulated truth."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import multivariate_normal

from bmtme.cv.heritability import GRID, measure_heritability
from bmtme.data.relationship.matrix import Relationship
from bmtme.data.trial import Trial


def make_relationship(rng, lines, markers=300):
    """Lines of a few founders, so that some are close relatives; named so that their order is not that of names."""
    founders = rng.integers(2, size=(8, markers)).astype(float)
    Z = np.where(
        rng.random((lines, markers)) < 0.5, founders[rng.integers(8, size=lines)], founders[rng.integers(8, size=lines)]
    )
    Z -= 0.3  # not centred
    return Relationship(Z @ Z.T / markers, [f"L{j * 37 % 1000}" for j in range(lines)])


def make_trial(rng, relationship, plots, share, envs=1, offset=3.0):
    """Trial, with plots of each line in each environment; genetic values common to the environments."""
    G = relationship.matrix
    J = len(G)
    spread = (np.trace(G) - G.sum() / J) / (J - 1)
    u = np.linalg.cholesky(G + 1e-9 * np.eye(J)) @ rng.normal(size=J) * np.sqrt(share / spread)
    rows = [
        (line, f"E{i}", offset * i + u[j] + np.sqrt(1 - share) * rng.normal())
        for i in range(envs)
        for j, line in enumerate(relationship.lines)
        for _ in range(plots[j] if np.ndim(plots) else plots)
    ]
    frame = pd.DataFrame(rows, columns=["line", "env", "Y"])
    return frame, Trial.from_frame(frame, line="line", env="env", traits=["Y"]), u


def fall_densely(G, y, h2):
    """Minus the restricted log likelihood, by the density of contrasts, at the best scale for this heritability."""
    J = len(y)
    spread = (np.trace(G) - G.sum() / J) / (J - 1)
    A = np.linalg.qr(np.column_stack([np.ones(J), np.eye(J)[:, 1:]]))[0][:, 1:]  # contrasts
    V = A.T @ (h2 * G / spread + (1 - h2) * np.eye(J)) @ A
    z = A.T @ y
    scale = z @ np.linalg.solve(V, z) / (J - 1)
    return -multivariate_normal(np.zeros(J - 1), scale * V).logpdf(z)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_restricted_likelihood_against_a_dense_twin(share):
    rng = np.random.default_rng(int(10 * share))
    relationship = make_relationship(rng, 60)
    frame, trial, _ = make_trial(rng, relationship, 1, share)
    row = measure_heritability(trial, relationship).iloc[0]
    assert (row["env"], row["trait"], row["source"]) == ("E0", "Y", "relationship")
    y = frame.set_index("line")["Y"].loc[list(relationship.lines)].to_numpy()
    falls = [fall_densely(relationship.matrix, y, h2) for h2 in GRID[::4]]
    k = int(np.argmin(falls))
    ends = GRID[::4][max(k - 1, 0)], GRID[::4][min(k + 1, len(falls) - 1)]
    best = minimize_scalar(lambda h2: fall_densely(relationship.matrix, y, h2), bounds=ends, method="bounded").x
    assert row["heritability"] == pytest.approx(best, abs=2e-3)
    # The same for the relationship centred or on another scale.
    K = np.eye(60) - 1 / 60
    for G in (K @ relationship.matrix @ K + 1e-9 * np.eye(60), 5.0 * relationship.matrix):
        again = measure_heritability(trial, Relationship((G + G.T) / 2, relationship.lines)).iloc[0]
        assert again["heritability"] == pytest.approx(row["heritability"], abs=1e-4)


def test_analysis_of_variance_by_hand():
    rng = np.random.default_rng(5)
    relationship = Relationship.identity([f"L{j}" for j in range(40)])
    plots = np.array([1, 2, 3, 4] * 10)
    frame, trial, _ = make_trial(rng, relationship, plots, 0.6)
    row = measure_heritability(trial, relationship).iloc[0]
    groups = [part["Y"].to_numpy() for _, part in frame.groupby("line")]
    n, N = np.array([len(g) for g in groups]), len(frame)
    within = sum(((g - g.mean()) ** 2).sum() for g in groups) / (N - 40)
    between = sum(len(g) * (g.mean() - frame["Y"].mean()) ** 2 for g in groups) / 39
    genetic = (between - within) / ((N - (n**2).sum() / N) / 39)
    assert row["heritability"] == pytest.approx(genetic / (genetic + within * (1 / n).mean()))
    assert row["source"] == "replicates"


def test_balanced_means_over_environments():
    """Of J lines with r plots in each of I environments: one minus the error variance of a mean over its variance."""
    rng = np.random.default_rng(6)
    relationship = Relationship.identity([f"L{j}" for j in range(30)])
    frame, trial, _ = make_trial(rng, relationship, 2, 0.4, envs=3)
    table = measure_heritability(trial, relationship)
    assert table["env"].tolist() == ["E0", "E1", "E2", None]
    cells = frame.groupby(["env", "line"])["Y"]
    within = (cells.var() / 2).groupby("env").mean().sum() / 9
    total = cells.mean().unstack(0).mean(axis=1).var()
    assert table["heritability"][3] == pytest.approx(1 - within / total)


@pytest.mark.parametrize("plots", [1, 3])
def test_true_heritabilities_are_found_and_correct_correlations(plots):
    """On 40 sets; r / sqrt(h2) of any predictor estimates its correlation with the genetic values."""
    found, seen, truth = [], [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        relationship = make_relationship(rng, 120)
        frame, trial, u = make_trial(rng, relationship, plots, 0.5)
        h2 = measure_heritability(trial, relationship)["heritability"][0]
        found.append(h2)
        predictor = u + 0.7 * rng.normal(size=120)
        y = frame.groupby("line")["Y"].mean().loc[list(relationship.lines)].to_numpy()
        seen.append(np.corrcoef(predictor, y)[0, 1])
        truth.append(np.corrcoef(predictor, u)[0, 1])
    expected = 0.5 / (0.5 + 0.5 / plots)
    assert abs(np.mean(found) - expected) < 4 * np.std(found) / np.sqrt(40)
    assert np.mean(seen) / np.sqrt(np.mean(found)) == pytest.approx(np.mean(truth), abs=0.05)
    assert np.mean(seen) < np.mean(truth) - 0.06
    # A heritability of a plot in the place of that of the mean would be seen.
    if plots == 3:
        assert abs(np.mean(found) - 0.5) > 4 * np.std(found) / np.sqrt(40)


def test_what_cannot_be_told_says_why():
    rng = np.random.default_rng(7)
    identity = Relationship.identity([f"L{j}" for j in range(12)])
    _, trial, _ = make_trial(rng, identity, 1, 0.5)
    table = measure_heritability(trial, identity)
    assert table["heritability"].isna().all()
    assert set(table["note"]) == {"unrelated lines, and fewer than 10 of them with replicates"}
    alike = Relationship(0.5 * np.eye(12) + 0.5, identity.lines)
    assert measure_heritability(trial, alike)["note"][0] == "all lines are related alike, and few have replicates"
    few = trial.drop_lines([f"L{j}" for j in range(3)])
    related = make_relationship(rng, 12)
    related = Relationship(related.matrix, identity.lines)
    assert measure_heritability(few, related)["note"][0] == "fewer than 10 lines"
    assert measure_heritability(trial, related)["note"][0].startswith("uncertain, 95% interval")
    # Lines without a relationship, and a trait that is nowhere recorded in an environment.
    part = related.subset(identity.lines[:11])
    assert np.isfinite(measure_heritability(trial, part)["heritability"][0])


def test_order_of_records_and_lines_changes_no_digit():
    rng = np.random.default_rng(8)
    relationship = make_relationship(rng, 50)
    for plots in (1, 2):
        frame, trial, _ = make_trial(rng, relationship, plots, 0.5, envs=2)
        first = measure_heritability(trial, relationship)
        order = rng.permutation(50)
        turned = Relationship(relationship.matrix[np.ix_(order, order)], [relationship.lines[j] for j in order])
        shuffled = Trial.from_frame(frame.sample(frac=1, random_state=1), line="line", env="env", traits=["Y"])
        again = measure_heritability(shuffled, turned).set_index(["env", "trait"]).loc[list(first["env"])]
        pd.testing.assert_frame_equal(
            again.reset_index(), first, check_exact=True, check_dtype=False, check_index_type=False
        )
