"""Records predicted from the others: against posteriors without them, and kriging with everything written out."""

import numpy as np
import pytest
import xarray
from threadpoolctl import threadpool_limits

from bmtme import DataError, UsageError
from bmtme.decisions import leave_one_out
from tests.helpers.posteriors import condition, make_fit, make_setting

NAMES = ["record", "line", "env", "trait", "observed", "mean", "sd", "lower", "upper"]
TAU = np.array([1.5, 0.8])


def make_spread_fit(s, means, alone=False, **more):
    """A fit whose covariances do not vary, with means of that kind."""
    fit = make_fit(s, spread=0.0, draws=6, alone=alone, **more)
    facts = fit.run["facts"]
    for own in facts["traits"].values() if alone else [facts]:
        own["means"] = means
    if means == "exchangeable":
        posterior = fit._groups["posterior"]
        tau = np.broadcast_to(TAU[: len(s.traits)], (2, 6, len(s.traits)))
        fit._groups["posterior"] = posterior.assign(tau=(("chain", "draw", "trait"), tau))
    return fit


def refit(s, rows, means):
    """Mean and variance of the values (n, L) of some plots by the posterior without them, covariances held."""
    J, (I, L) = len(s.G), s.C.shape[:2]
    M, y = I * L, s.y.copy()
    s.y[rows] = np.nan
    try:
        mean, covariance = condition(s, TAU[:L] if means == "exchangeable" else None)
    finally:
        s.y = y
    found = {}
    for n in rows:
        j, i = s.plots[n]
        for l in range(L):
            t = np.zeros(len(mean))
            t[[i * L + l, M + j * M + i * L + l, M + J * M + j * L + l]] = 1.0
            found[n, l] = t @ mean, t @ covariance @ t + s.R[i, l, l]
    return found


def write_out(s, means, extra=lambda n, l, m, q: 0.0):
    """Values (n, l), their covariance V and design X, pair by pair."""
    values = [(n, l) for n in range(len(s.plots)) for l in range(s.y.shape[1]) if np.isfinite(s.y[n, l])]
    (I, L), V = s.C.shape[:2], np.zeros((len(values),) * 2)
    X = np.zeros((len(values), {"exchangeable": L, "flat": I * L, "paper": 0}[means]))
    for a, (n, l) in enumerate(values):
        j, i = s.plots[n]
        if means != "paper":
            X[a, l if means == "exchangeable" else i * L + l] = 1.0
        for b, (m, q) in enumerate(values):
            p, h = s.plots[m]
            V[a, b] = s.G[j, p] * s.C[i, l, h, q] + extra(n, l, m, q)
            V[a, b] += s.Sigma_r[l, q] * (j == p) + s.R[i, l, q] * (n == m)
            V[a, b] += TAU[l] ** 2 * (means == "exchangeable" and i == h and l == q)
    return values, V, X


def krige(V, X, y, block):
    """Mean and standard deviation of y[block] given the rest, by generalised least squares on the rest."""
    rest = np.setdiff1d(np.arange(len(y)), block)
    Vi = np.linalg.inv(V[np.ix_(rest, rest)])
    H = np.linalg.inv(X[rest].T @ Vi @ X[rest])
    beta = H @ X[rest].T @ Vi @ y[rest]
    gain = V[np.ix_(block, rest)] @ Vi
    left = X[block] - gain @ X[rest]
    variance = V[np.ix_(block, block)] - gain @ V[np.ix_(rest, block)] + left @ H @ left.T
    return X[block] @ beta + gain @ (y[rest] - X[rest] @ beta), np.sqrt(np.diag(variance))


def compare(table, s, written, by="record", every=1):
    """Rows of the table against kriging."""
    assert table.columns.tolist() == NAMES
    values, V, X = written
    there = np.flatnonzero(~np.isnan(s.y).all(axis=1))
    for row, (n, l) in zip(table.itertuples(), values, strict=True):
        j, i = s.plots[n]
        assert there[row.record] == n
        assert (row.line, row.env, row.trait, row.observed) == (s.lines[j], s.envs[i], s.traits[l], s.y[n, l])
    y = np.array([s.y[n, l] for n, l in values])
    keys = [{"record": n, "line": s.plots[n, 0], "cell": tuple(s.plots[n])}[by] for n, _ in values]
    for key in list(dict.fromkeys(keys))[::every]:
        block = np.array([a for a, other in enumerate(keys) if other == key])
        mean, sd = krige(V, X, y, block)
        np.testing.assert_allclose(table["mean"].to_numpy()[block], mean, rtol=1e-8)
        np.testing.assert_allclose(table["sd"].to_numpy()[block], sd, rtol=1e-8)
    half = 1.6448536269514722 * table["sd"]
    np.testing.assert_allclose(table["lower"], table["mean"] - half)
    np.testing.assert_allclose(table["upper"], table["mean"] + half)


@threadpool_limits.wrap(limits=1)  # many small matrices
def test_refits_of_forty_lines():
    """A record of each line in turn, cells and traits missing; means of variance 1e6 take digits from the posterior."""
    s = make_setting(lines=40, new=0, reps=1, outside=0.4)
    there = np.flatnonzero(~np.isnan(s.y).all(axis=1))
    assert len(s.plots) < 110  # of 120 cells
    table = make_spread_fit(s, "exchangeable").leave_one_out()
    compare(table, s, write_out(s, "exchangeable"), every=4)
    for j in range(40):
        n = there[s.plots[there, 0] == j][0]
        expected = refit(s, [n], "exchangeable")
        for row in table[there[table["record"]] == n].itertuples():
            mean, variance = expected[n, s.traits.index(row.trait)]
            assert (row.mean, row.sd) == pytest.approx((mean, np.sqrt(variance)), rel=1e-3)


@pytest.mark.parametrize("means", ["exchangeable", "flat", "paper"])
@pytest.mark.parametrize("by", ["record", "cell", "line"])
def test_blocks(by, means):
    s = make_setting(outside=0.4)
    fit = make_spread_fit(s, means)
    s2 = float((fit._groups["posterior"]["beta"] ** 2).mean()) if means == "paper" else 0.0
    written = write_out(s, means, lambda n, l, m, q: s2 * (s.plots[n, 1] == s.plots[m, 1] and l == q))
    compare(fit.leave_one_out(by), s, written, by, every=3)


def test_one_environment():
    """Its mean is free, whatever the model says."""
    s = make_setting(envs=1)
    compare(make_spread_fit(s, "exchangeable").leave_one_out("line"), s, write_out(s, "flat"), "line", every=3)


def test_one_trait_at_a_time():
    """Of a trait, the others are no part."""
    s = make_setting(outside=0.4)
    table = make_spread_fit(s, "flat", alone=True).leave_one_out("cell")
    assert table["record"].is_monotonic_increasing
    records = np.cumsum(~np.isnan(s.y).all(axis=1)) - 1
    for l, trait in enumerate(s.traits):
        part = s.take_trait(l)
        own = table[table["trait"] == trait].reset_index(drop=True)
        seen = np.flatnonzero(~np.isnan(part.y[:, 0]))
        assert own["record"].tolist() == records[seen].tolist()
        compare(own.assign(record=range(len(own))), part, write_out(part, "flat"), "cell", every=4)


@pytest.mark.parametrize("random", [False, True])
def test_effects_of_replicates(random):
    """Two replicates in E1 and E2 with effects on T1, in E2 on T2 as well."""
    s = make_setting()
    rng = np.random.default_rng(1)
    active = np.array([[1, 0], [1, 0], [1, 1], [1, 1]], bool)
    level = np.where(s.plots[:, 1] < 2, 2 * s.plots[:, 1] + rng.integers(2, size=len(s.plots)), -1)
    fit = make_spread_fit(s, "flat")
    extra = {"rep_effects": (("chain", "draw", "replicate", "trait"), rng.normal(size=(2, 6, 4, 2)) * active)}
    if random:
        extra["sigma_rep"] = (("chain", "draw", "trait"), np.broadcast_to([0.7, 0.4], (2, 6, 2)))
    levels = ["E1/1", "E1/2", "E2/1", "E2/2"]
    fit._groups["posterior"] = fit._groups["posterior"].assign(extra).assign_coords(replicate=levels)
    names = np.array([*levels, ""])[level[~np.isnan(s.y).all(axis=1)]]
    observed = fit._groups["observed_data"]
    fit._groups["observed_data"] = observed.assign_coords(record_replicate=("record", names))

    def share(n, l, m, q):
        same = l == q and level[n] >= 0 and level[n] == level[m] and active[level[n], l]
        return (0.7, 0.4)[l] ** 2 if random and same else 0.0

    values, V, X = write_out(s, "flat", share)
    if not random:  # one contrast for each pair: E1 T1, E2 T1, E2 T2
        contrasts = np.zeros((len(values), 3))
        for a, (n, l) in enumerate(values):
            k = level[n]
            if k >= 0 and active[k, l]:
                contrasts[a, k // 2 + l] = 1.0 if k % 2 else -1.0
        X = np.hstack([X, contrasts])
    compare(fit.leave_one_out(), s, (values, V, X), every=3)


def test_effects_of_blocks():
    """Two crossed factors: blocks in E1 and E2, rows in E1 alone, which have no effect on T2."""
    s = make_setting()
    rng = np.random.default_rng(1)
    factors = {"block": ["E1", "E2"], "row": ["E1"]}
    names = [f"{env}/{factor}/{k}" for factor, envs in factors.items() for env in envs for k in (1, 2)]
    level = np.full((len(s.plots), 2), -1)
    level[:, 0] = np.where(s.plots[:, 1] < 2, 2 * s.plots[:, 1] + rng.integers(2, size=len(s.plots)), -1)
    level[:, 1] = np.where(s.plots[:, 1] < 1, 4 + rng.integers(2, size=len(s.plots)), -1)
    active = np.array([[1, 1]] * 4 + [[1, 0]] * 2, bool)
    sd = np.array([[0.7, 0.4], [0.5, 0.9]])
    fit = make_spread_fit(s, "exchangeable")
    extra = {
        "block_effects": (("chain", "draw", "block", "trait"), rng.normal(size=(2, 6, 6, 2)) * active),
        "sigma_b": (("chain", "draw", "factor", "trait"), np.broadcast_to(sd, (2, 6, 2, 2))),
    }
    fit._groups["posterior"] = fit._groups["posterior"].assign(extra).assign_coords(block=names, factor=[*factors])
    own = np.array([*names, ""])[level[~np.isnan(s.y).all(axis=1)]]
    observed = fit._groups["observed_data"].assign_coords(factor=[*factors])
    fit._groups["observed_data"] = observed.assign_coords(record_block=(("record", "factor"), own))

    def share(n, l, m, q):
        same = (level[n] >= 0) & (level[n] == level[m]) & active[level[n], l] & (l == q)
        return float(sd[:, l] ** 2 @ same)

    compare(fit.leave_one_out(), s, write_out(s, "exchangeable", share), every=3)


def test_what_the_others_do_not_tell():
    """The only record of a trait in an environment whose mean is free; the other trait on it is told."""
    s = make_setting()
    here = np.flatnonzero(s.plots[:, 1] == 2)
    s.y[here[1:], 1] = np.nan
    s.y[here[0]] = [10.0, 11.0]
    table = make_spread_fit(s, "flat").leave_one_out()
    lost = table["mean"].isna()
    assert table.loc[lost, ["env", "trait"]].to_numpy().tolist() == [["E3", "T2"]]
    assert (table["sd"].isna() == lost).all()
    row = table[(table["line"] == s.lines[s.plots[here[0], 0]]) & (table["env"] == "E3") & (table["trait"] == "T1")]
    mean, variance = refit(s, [here[0]], "flat")[here[0], 0]
    assert row["mean"].iloc[0] == pytest.approx(mean, rel=1e-3)
    assert row["sd"].iloc[0] == pytest.approx(np.sqrt(variance), rel=1e-3)
    compare(make_spread_fit(s, "exchangeable").leave_one_out(), s, write_out(s, "exchangeable"), every=5)


def test_units_and_identity():
    """Units of a trait change nothing but these; a relationship that is left out is the identity."""
    s = make_setting(new=0)
    s.G[:] = np.eye(12)
    fit = make_spread_fit(s, "flat")
    table = fit.leave_one_out()
    fit._groups["relationship"] = xarray.Dataset(coords={"line": fit._groups["relationship"]["line"]})
    assert fit.leave_one_out().equals(table)
    factor = np.array([1e-4, 1.0])
    s.y *= factor
    s.R *= factor[:, None] * factor
    s.C *= factor[:, None, None] * factor
    scaled = make_spread_fit(s, "flat").leave_one_out()
    units = np.where(scaled["trait"] == "T1", 1e-4, 1.0)
    np.testing.assert_allclose(scaled["mean"], table["mean"] * units, rtol=1e-6)
    np.testing.assert_allclose(scaled["sd"], table["sd"] * units, rtol=1e-6)


def test_what_is_refused(monkeypatch):
    fit = make_fit(make_setting(), draws=10)
    with pytest.raises(UsageError, match="by must be one of 'record', 'cell', 'line', got 'env'"):
        fit.leave_one_out("env")
    del fit._groups["relationship"]
    with pytest.raises(DataError, match=r"does not have the relationship .* fit again"):
        fit.leave_one_out()
    monkeypatch.setattr(leave_one_out, "MOST_RELATED", 50)
    with pytest.raises(UsageError, match=r"of which this fit has \d+: more than 50 are not taken"):
        fit.leave_one_out()
