"""Heritability of what is scored: formulas by hand, a dense likelihood, simulated truth."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.optimize import minimize_scalar
from scipy.stats import multivariate_normal

from bmtme.cv.heritability import GRID, measure_heritability
from bmtme.cv.replicates import fit_plots
from bmtme.data.relationship.matrix import Relationship
from bmtme.data.trial import Trial
from bmtme.errors import UsageError


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
    # The profile falls by 1.92 at the ends of the interval, up to the step of the grid.
    for end, step in ((row["lower"], -0.011), (row["upper"], 0.011)):
        fall = [fall_densely(relationship.matrix, y, h2) - min(falls) for h2 in (end, end + step) if 0 <= h2 < 0.9991]
        assert fall[0] < 1.94
        assert len(fall) == 1 or fall[1] > 1.9
    # The same for the relationship centred or on another scale.
    K = np.eye(60) - 1 / 60
    for G in (K @ relationship.matrix @ K + 1e-9 * np.eye(60), 5.0 * relationship.matrix):
        again = measure_heritability(trial, Relationship((G + G.T) / 2, relationship.lines)).iloc[0]
        assert again["heritability"] == pytest.approx(row["heritability"], abs=1e-4)


def make_design(rng, kind, lines=40):
    """(J, K) bool: which lines are in which replicates."""
    plots = np.zeros((lines, {"complete": 2, "partly replicated": 2, "blocks": 5, "augmented": 12}[kind]), bool)
    if kind == "complete":
        plots[:] = True
    elif kind == "partly replicated":
        plots[:, 0] = True
        plots[rng.permutation(lines)[: lines // 2], 1] = True
    elif kind == "blocks":
        plots[np.arange(lines), np.arange(lines) % 5] = True
        plots[:4] = True
    else:  # the labels of the checks' plots stand for few lines
        plots[:, 0] = plots[:3] = True
    return plots


def make_replicated(rng, plots, genetic, size, envs=1):
    """Unrelated lines, plots of residual variance 1; effects of replicates of an SD, drawn in each environment."""
    g = np.sqrt(genetic) * rng.normal(size=len(plots))
    rows = []
    for i in range(envs):
        effects = size * rng.normal(size=plots.shape[1])
        rows += [
            (f"L{j:02}", f"E{i}", f"R{k:02}", 5.0 + g[j] + effects[k] + rng.normal()) for j, k in np.argwhere(plots)
        ]
    frame = pd.DataFrame(rows, columns=["line", "env", "rep", "Y"])
    trial = Trial.from_frame(frame, line="line", env="env", rep="rep", traits=["Y"])
    return frame, trial, Relationship.identity([f"L{j:02}" for j in range(len(plots))]), g


def solve_densely(frame, replicates):
    """Heritability and residual mean square by dense design matrices, all variances by traces of quadratic forms."""
    X, R = (pd.get_dummies(frame[name]).to_numpy(float) for name in ("line", "rep"))
    R = R if replicates else np.zeros((len(frame), 1))
    both = np.hstack([X, R])
    rest = np.eye(len(frame)) - both @ np.linalg.pinv(both)
    y = frame["Y"].to_numpy()
    error = y @ rest @ y / np.trace(rest)
    A = (X / X.sum(axis=0)).T  # means of lines
    around = np.eye(len(frame)) - X @ A
    B = A @ R @ np.linalg.pinv(around @ R) @ around  # what effects of replicates add to them, as estimated
    K = (np.eye(X.shape[1]) - 1 / X.shape[1]) / (X.shape[1] - 1)
    genetic = y @ (A - B).T @ K @ (A - B) @ y - error * np.trace((A - B).T @ K @ (A - B))
    added = max(0.0, y @ B.T @ K @ B @ y - error * np.trace(B.T @ K @ B))
    return genetic / (genetic + error * np.trace(A.T @ K @ A) + added), error, np.trace(rest)


@pytest.mark.parametrize("kind", ["complete", "partly replicated", "blocks", "augmented"])
def test_plots_against_a_dense_twin(kind):
    rng = np.random.default_rng(5)
    size = 0.0 if kind == "augmented" else 1.5
    frame, trial, relationship, _ = make_replicated(rng, make_design(rng, kind), 2.0, size)
    row = measure_heritability(trial, relationship).iloc[0]
    expected, error, freedom = solve_densely(frame, kind != "augmented")
    assert row["source"] == "replicates"
    assert row["heritability"] == pytest.approx(expected, rel=1e-9)
    fitted = fit_plots(trial, 0, 0, trial.counts()[:, 0, 0], trial.cell_means()[:, 0, 0])
    assert (fitted.fitted.error, fitted.freedom) == pytest.approx((error, freedom))
    # With the replicates left in the error it would be seen.
    assert abs(solve_densely(frame, kind == "augmented")[0] - expected) > 0.005
    # Effects of complete replicates change no digit that counts.
    if kind == "complete":
        shifted = frame.assign(Y=frame["Y"] + 7.0 * (frame["rep"] == "R01"))
        again = Trial.from_frame(shifted, line="line", env="env", rep="rep", traits=["Y"])
        assert measure_heritability(again, relationship)["heritability"][0] == pytest.approx(expected, rel=1e-9)


def test_equal_numbers_of_plots_by_hand():
    """One way: 1 - 1 / F, and the exact interval by F."""
    rng = np.random.default_rng(9)
    relationship = Relationship.identity([f"L{j}" for j in range(30)])
    frame, trial, _ = make_trial(rng, relationship, 3, 0.5)
    row = measure_heritability(trial, relationship).iloc[0]
    F = stats.f_oneway(*[part["Y"].to_numpy() for _, part in frame.groupby("line")]).statistic
    assert row["heritability"] == pytest.approx(1 - 1 / F)
    ends = [1 - stats.f.ppf(q, 29, 60) / F for q in (0.975, 0.025)]
    assert [row["lower"], row["upper"]] == pytest.approx(ends)


@pytest.mark.parametrize("kind", ["complete", "partly replicated", "blocks", "augmented"])
@pytest.mark.parametrize("envs", [1, 2])
def test_the_correlation_of_means_with_genetic_values_is_found(kind, envs):
    """Squared, on 60 sets; and 95% intervals hold what is expected."""
    found, truth, inside = [], [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        plots = make_design(rng, kind, lines=60)
        size = 0.0 if kind == "augmented" else 1.5
        _, trial, relationship, g = make_replicated(rng, plots, 1.5, size, envs)
        row = measure_heritability(trial, relationship).iloc[-1]
        y = trial.cell_means()[:, :, 0].mean(axis=1)[np.argsort(trial.lines)]
        found.append(row["heritability"])
        truth.append(np.corrcoef(y, g)[0, 1] ** 2)
        inside.append(row["lower"] <= truth[-1] <= row["upper"])
    difference = np.subtract(found, truth)
    assert abs(difference.mean()) < 3.5 * difference.std() / np.sqrt(60)
    assert np.mean(inside) > 0.9
    assert max(difference.std(), abs(difference.mean())) < 0.15


def test_replicates_left_in_the_error_would_be_seen():
    """The same by plots within lines alone: far too low."""
    found, truth = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        frame, trial, relationship, g = make_replicated(rng, make_design(rng, "complete", 60), 1.5, 2.0)
        bare = Trial.from_frame(frame.drop(columns="rep"), line="line", env="env", traits=["Y"])
        found.append(measure_heritability(bare, relationship)["heritability"][0])
        truth.append(np.corrcoef(trial.cell_means()[:, 0, 0][np.argsort(trial.lines)], g)[0, 1] ** 2)
    assert np.mean(found) < np.mean(truth) - 0.2


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
    scarce = "replicates leave fewer than 10 degrees of freedom for the error"
    assert set(table["note"]) == {f"unrelated lines, and {scarce}"}
    alike = Relationship(0.5 * np.eye(12) + 0.5, identity.lines)
    assert measure_heritability(trial, alike)["note"][0] == f"all lines are related alike, and {scarce}"
    few = trial.drop_lines([f"L{j}" for j in range(3)])
    related = make_relationship(rng, 12)
    related = Relationship(related.matrix, identity.lines)
    assert measure_heritability(few, related)["note"][0] == "fewer than 10 lines"
    row = measure_heritability(trial, related).iloc[0]
    assert row["note"] == f"uncertain, 95% interval {row['lower']:.2f} to {row['upper']:.2f}"
    assert table[["lower", "upper"]].isna().all().all()
    # Lines without a relationship, and a trait that is nowhere recorded in an environment.
    part = related.subset(identity.lines[:11])
    assert np.isfinite(measure_heritability(trial, part)["heritability"][0])


def test_order_of_records_and_lines_changes_no_digit():
    rng = np.random.default_rng(8)
    relationship = make_relationship(rng, 50)
    for plots in (1, 2, "blocks"):
        frame, trial, _ = make_trial(rng, relationship, 2 if plots == "blocks" else plots, 0.5, envs=2)
        rep = "rep" if plots == "blocks" else None
        frame["rep"] = [f"R{k}" for k in rng.permutation(len(frame)) % 4]
        frame = frame.drop_duplicates(["line", "env", "rep"]) if rep else frame
        trial = Trial.from_frame(frame, line="line", env="env", rep=rep, traits=["Y"])
        first = measure_heritability(trial, relationship)
        order = rng.permutation(50)
        turned = Relationship(relationship.matrix[np.ix_(order, order)], [relationship.lines[j] for j in order])
        shuffled = Trial.from_frame(frame.sample(frac=1, random_state=1), line="line", env="env", rep=rep, traits=["Y"])
        again = measure_heritability(shuffled, turned).set_index(["env", "trait"]).loc[list(first["env"])]
        pd.testing.assert_frame_equal(
            again.reset_index(), first, check_exact=True, check_dtype=False, check_index_type=False
        )


def test_wrong_types_are_refused():
    with pytest.raises(UsageError, match=r"expected a bmtme\.Trial and a bmtme\.Relationship, got int and int"):
        measure_heritability(3, 4)
