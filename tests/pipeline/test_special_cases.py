"""Special cases that must agree with each other, with an exact integration, and over the three samplers."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from bmtme import BMTME, Relationship, Trial, fit, simulate
from bmtme.engines.rotated.chains import run_chains
from bmtme.model.eigenbasis import decompose_relationship
from bmtme.model.layout import lay_out
from bmtme.preparation import Prepared, build
from bmtme.results.targets import choose_targets, predict
from bmtme.sampling import plan_slots, spawn_seeds
from tests.helpers.fits import assert_equal_draws
from tests.helpers.trials import trial_of

pytestmark = pytest.mark.filterwarnings("ignore:a short run", "ignore:the effects b1 and b2")
SAMPLERS = ("gibbs", "collapsed", "stepwise")


def unconstrain(result):
    """Draws on scales where they are near to normal: {name: (chain, draw, k)}."""
    p = result.idata.posterior
    out = {"beta": p["beta"].values.reshape(*p["beta"].shape[:2], -1)}
    for name in ("Sigma_t", "R_e"):
        S = p[name].values
        sd = np.sqrt(np.einsum("cdll->cdl", S))
        out[f"sd {name}"] = sd
        l, q = np.triu_indices(S.shape[-1], 1)
        if len(l) and np.any(S[..., l, q] != 0):
            out[f"correlation {name}"] = np.arctanh((S / sd[..., :, None] / sd[..., None, :])[..., l, q])
    if "Sigma_E" in p:
        out["Sigma_E"] = np.log1p(np.sqrt(np.einsum("cdii->cdi", p["Sigma_E"].values)))
    if "tau" in p:
        out["mu"], out["tau"] = p["mu"].values, np.log(p["tau"].values)
    return out


def measure(draws):
    """Mean, standard deviation and the Monte Carlo errors of both, of (chain, draw, k) draws."""
    import arviz
    import xarray

    mean = draws.mean(axis=(0, 1))
    squares = (draws - mean) ** 2
    sd = np.sqrt(squares.mean(axis=(0, 1)))

    def error(x):
        data = xarray.Dataset({"x": (("chain", "draw", "k"), x)})
        return x.std(axis=(0, 1)) / np.sqrt(arviz.ess(data, method="mean")["x"].values)

    return mean, sd, error(draws), error(squares) / (2 * sd)


def assert_same_posterior(one, two, limit=4.5):
    """Means and standard deviations differ by no more than Monte Carlo error, which must itself be small."""
    a, b = unconstrain(one), unconstrain(two)
    assert set(a) == set(b)
    for name in a:
        m1, s1, e1, f1 = measure(a[name])
        m2, s2, e2, f2 = measure(b[name])
        assert (np.hypot(e1, e2) < 0.15 * s1).all(), f"{name}: too few effective draws to tell"
        assert (np.abs(m1 - m2) < limit * np.hypot(e1, e2)).all(), f"mean of {name}: {m1}, {m2}, {e1}, {e2}"
        assert (np.abs(s1 - s2) < limit * np.hypot(f1, f2)).all(), f"sd of {name}: {s1}, {s2}, {f1}, {f2}"


def assert_same_predictions(one, two):
    """Means within 15% of their standard deviation; ends of intervals (of fewer draws) within 10% of their width.

    Half as strict where a column has no record: the spread of its mean is heavy-tailed.
    """
    P, Q = (x if isinstance(x, pd.DataFrame) else x.predictions() for x in (one, two))
    keys = ["line", "env", "trait"]
    both = P.merge(Q, on=keys, suffixes=("", "_2"), validate="one_to_one")
    assert len(both) == len(P) == len(Q)
    width = both["upper"] - both["lower"]
    ease = np.where(both.groupby(["env", "trait"])["n_obs"].transform("sum") == 0, 2.0, 1.0)
    for column, tolerance in (
        ("mean", 0.15 * both["sd"]), ("sd", 0.3 * both["sd"]), ("lower", 0.1 * width), ("upper", 0.1 * width)
    ):  # fmt: skip
        off = np.abs(both[column] - both[f"{column}_2"]) / (ease * tolerance)
        assert off.max() < 1.0, f"{column}: {both.loc[off.idxmax(), keys].tolist()}: {off.max():.2f} of what may be"


# --- exact: one trait in one environment --------------------------------------------------------------------------


def log_half_t(sd, nu, scale):
    return -0.5 * (nu + 1) * np.log1p((sd / scale) ** 2 / nu)


@pytest.fixture(scope="module")
def one_trait():
    """Unequal replication in one environment; a line without a record."""
    sim = simulate(lines=14, envs=1, traits=1, reps=3, heritability=0.5, relationship="markers", seed=11)
    rng = np.random.default_rng(5)
    frame = sim.frame[(rng.random(len(sim.frame)) < 0.6) & (sim.frame["line"] != "L05")]
    return frame, sim.relationship


@pytest.fixture(scope="module")
def integrated(one_trait):
    """Posterior of (sqrt s2_t, sqrt s2_e) on a grid, beta integrated out; predictions from the same grid."""
    frame, relationship = one_trait
    y, names = frame["T1"].to_numpy(), relationship.lines
    s = y.std(ddof=1)
    Z = (frame["line"].to_numpy()[:, None] == np.array(names)).astype(float)
    G = np.asarray(relationship.matrix)
    m = np.diag(G)[relationship.index(sorted(set(frame["line"])))].mean()
    grid = np.linspace(-5.0, 2.2, 110)
    st, se = (x.ravel() for x in np.meshgrid(s * np.exp(grid) / np.sqrt(m), s * np.exp(grid[40:]), indexing="ij"))
    log_p, means, variances = [], [], []
    A, ones = Z @ G @ Z.T, np.ones(len(y))
    values, vectors = np.linalg.eigh(A)
    ty, tx, cross = vectors.T @ y, vectors.T @ ones, G @ Z.T @ vectors
    for a, b in zip(st, se, strict=True):
        v = a**2 * values + b**2
        xx, xy = (tx**2 / v).sum(), (tx * ty / v).sum()
        beta = xy / xx
        e = ty - tx * beta
        log_p.append(
            -0.5 * (np.log(v).sum() + np.log(xx) + (e**2 / v).sum())
            + log_half_t(a * np.sqrt(m), 2, 5 * s) + log_half_t(b, 2, 5 * s) + np.log(a) + np.log(b)
        )  # fmt: skip
        K = a**2 * cross
        means.append(beta + K @ (e / v))
        share = 1.0 - K @ (tx / v)
        variances.append(a**2 * np.diag(G) - ((K / v) * K).sum(axis=1) + share**2 / xx)
    weight = np.exp(np.array(log_p) - max(log_p))
    weight /= weight.sum()
    edge = weight.reshape(110, 70)
    assert max(edge[-1].sum(), edge[:, 0].sum(), edge[:, -1].sum()) < 1e-3
    return st, se, weight, np.array(means), np.array(variances), m


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("structure", ["unstructured", "diagonal"])
def test_against_exact_integration(one_trait, integrated, sampler, structure):
    """One trait, one environment: covariances, heritability, predictions and intervals, to Monte Carlo error."""
    frame, relationship = one_trait
    st, se, weight, means, variances, m = integrated
    result = fit(
        trial_of(frame, ["T1"]), relationship, BMTME(structure), draws=6000, tune=500, chains=2, seed=1,
        sampler=sampler, keep_effects="thin",
    )  # fmt: skip
    p = result.idata.posterior
    s2_t, s2_e = p["Sigma_t"].values[..., 0], p["R_e"].values[..., 0]
    exact_h2 = m * st**2 / (m * st**2 + se**2)
    for draws, exact in (
        (np.log(s2_e), 2 * np.log(se)),
        (np.sqrt(s2_t), st),
        (m * s2_t / (m * s2_t + s2_e), exact_h2),
    ):
        mean, sd, error, sd_error = (x[0] for x in measure(draws))
        expected = weight @ exact
        assert abs(mean - expected) < 4 * error + 1e-3
        assert abs(sd - np.sqrt(weight @ (exact - expected) ** 2)) < 4 * sd_error + 1e-3
    table = result.predictions()
    assert table["line"].tolist() == list(relationship.lines)
    mean = weight @ means
    sd = np.sqrt(weight @ (variances + (means - mean) ** 2))
    assert (np.abs(table["mean"] - mean) < 0.08 * sd).all()
    np.testing.assert_allclose(table["sd"], sd, rtol=0.15)
    kept = weight > 1e-7
    for n in (0, 4, 9):
        spread = np.sqrt(variances[kept, n] + se[kept] ** 2)
        for column, q in (("lower", 0.05), ("upper", 0.95)):
            exact = brentq(
                lambda x, n=n, spread=spread, q=q: weight[kept] @ norm.cdf(x, means[kept, n], spread) - q, -100, 100
            )
            assert abs(table[column][n] - exact) < 0.15 * spread.mean()


def test_one_environment_and_one_trait_have_what_they_need():
    """No b2, no Sigma_E, no mu and tau in one environment; predictions are beta + b1."""
    sim = simulate(lines=10, envs=1, traits=2, seed=2)
    result = fit(trial_of(sim.frame, ["T1", "T2"]), sim.relationship, draws=50, tune=20, chains=1, keep_effects="all")
    p = result.idata.posterior
    assert set(p.data_vars) == {"beta", "b1", "Sigma_t", "R_e"}
    cells = (p["beta"] + p["b1"]).mean(("chain", "draw")).transpose("line", "env", "trait")
    np.testing.assert_allclose(result.predictions()["mean"], cells.values.ravel(), rtol=1e-9)
    assert not result.summary().index.str.startswith("Sigma_E").any()
    sim = simulate(lines=10, envs=2, traits=1, seed=2)
    result = fit(trial_of(sim.frame, ["T1"]), sim.relationship, draws=50, tune=20, chains=1, keep_effects="all")
    p = result.idata.posterior
    assert p["Sigma_t"].shape == (1, 50, 1, 1)
    assert set(p.data_vars) == {"beta", "b1", "b2", "Sigma_t", "Sigma_E", "R_e", "mu", "tau"}


# --- the samplers agree -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def awkward():
    """Missing cells and traits, an absent column, unequal replication, lines without a record."""
    sim = simulate(
        lines=30, envs=3, traits=2, reps=2, missing=0.15, missing_traits=0.1, relationship="markers",
        heritability=0.5, interaction=1.0, genetic_correlation=0.5, residual_correlation=0.3, seed=6,
    )  # fmt: skip
    frame = sim.frame.drop(index=sim.frame.index[::5])
    frame = frame[frame["line"] != "L07"].copy()
    frame.loc[frame["env"] == "E3", "T2"] = np.nan
    return trial_of(frame, ["T1", "T2"]), sim.relationship


DRAWS = {"gibbs": 30000, "collapsed": 5000, "stepwise": 20000}


def run_sampler(data, structure, sampler, seed=1, **keywords):
    return fit(
        *data, BMTME(structure), draws=DRAWS[sampler], tune=1000, chains=2, seed=seed, sampler=sampler,
        keep_effects="thin", **keywords,
    )  # fmt: skip


@pytest.fixture(scope="module")
def collapsed(awkward):
    return {structure: run_sampler(awkward, structure, "collapsed") for structure in ("unstructured", "standard")}


@pytest.mark.parametrize(("structure", "sampler"), [("unstructured", "gibbs"), ("standard", "stepwise")])
def test_samplers_agree(awkward, collapsed, structure, sampler):
    other = run_sampler(awkward, structure, sampler, seed=2)
    assert_same_posterior(collapsed[structure], other)
    assert_same_predictions(collapsed[structure], other)


def test_order_of_rows_lines_environments_and_traits(awkward, collapsed):
    """Other orders are the same posterior: names count, not places."""
    trial, relationship = awkward
    frame = trial.to_frame().sample(frac=1.0, random_state=3)
    frame = frame.sort_values("env", ascending=False, kind="stable")
    lines = list(relationship.lines)[::-1]
    swapped = trial_of(frame, ["T2", "T1"])
    assert swapped.envs == ("E3", "E2", "E1")
    result = run_sampler((swapped, relationship.subset(lines)), "unstructured", "collapsed", seed=3)
    assert_same_predictions(collapsed["unstructured"], result)
    one, two = collapsed["unstructured"].summary(), result.summary()
    swap = {"Sigma_t[T1, T2]": "Sigma_t[T2, T1]", "R_e[T1, T2]": "R_e[T2, T1]"}
    for name in ("beta[E1, T1]", "beta[E2, T2]", "R_e[T1, T1]", "Sigma_E[E2, E2]", "heritability[E1, T2]", *swap):
        a, b = one.loc[name], two.loc[swap.get(name, name)]
        error = np.hypot(a["sd"] / np.sqrt(a["ess_bulk"]), b["sd"] / np.sqrt(b["ess_bulk"]))
        assert abs(a["mean"] - b["mean"]) < 4.5 * error, name


@pytest.mark.parametrize("sampler", ["gibbs", "collapsed"])
def test_imputing_what_need_not_be_imputed_changes_nothing(monkeypatch, sampler):
    """Complete data on a layout with room for three plots a cell where there are two: the posterior is the same."""
    sim = simulate(lines=30, envs=2, traits=2, reps=2, relationship="blocks", heritability=0.5, seed=8)
    data = trial_of(sim.frame, ["T1", "T2"]), sim.relationship
    plain = run_sampler(data, "unstructured", "collapsed")
    monkeypatch.setattr(
        "bmtme.model.layout.choose_plots", lambda n, even: (np.full(n.shape[1], 3.0), np.ones(n.shape[0]))
    )
    padded = run_sampler(data, "unstructured", sampler, seed=2)
    assert plain.run["data"]["imputed_share"] == 0.0
    assert padded.run["data"]["imputed_share"] == pytest.approx(1 / 3, abs=1e-6)
    assert_same_posterior(plain, padded)
    assert_same_predictions(plain, padded)


# --- exactly the same ---------------------------------------------------------------------------------------------


def test_long_and_wide_input():
    """Wide and long tables of the same records are the same trial, hence the same numbers."""
    sim = simulate(lines=10, missing_traits=0.2, seed=3)
    wide = trial_of(sim.frame)
    long = sim.frame.melt(["line", "env", "rep"], ["T1", "T2", "T3"], "trait", "value").dropna()
    places = {key: k for k, key in enumerate(zip(sim.frame["line"], sim.frame["env"], strict=True))}
    rank = [places[key] for key in zip(long["line"], long["env"], strict=True)]
    long = long.iloc[np.argsort(rank, kind="stable")]
    other = Trial.from_frame(
        long, line="line", env="env", rep="rep", trait="trait", value="value", traits=["T1", "T2", "T3"]
    )
    one, two = (fit(t, sim.relationship, draws=40, tune=20, chains=2, keep_effects="all") for t in (wide, other))
    assert_equal_draws(one, two)


def test_dense_multiple_of_the_identity():
    """Twice the identity, as a matrix: its eigenvectors are the lines, so that the draws are those of the identity."""
    sim = simulate(lines=15, missing=0.1, missing_traits=0.1, seed=4)
    lines = sim.relationship.lines
    one, two = (
        fit(trial_of(sim.frame), relationship, draws=40, tune=40, chains=2, sampler="gibbs", keep_effects="all")
        for relationship in (Relationship.identity(lines), Relationship(2.0 * np.eye(15), lines=lines))
    )
    for name, factor in (("Sigma_t", 2.0), ("R_e", 1.0), ("beta", 1.0), ("b1", 1.0), ("b2", 1.0)):
        expected = one.idata.posterior[name].values
        np.testing.assert_allclose(factor * two.idata.posterior[name].values, expected, rtol=1e-7, atol=1e-7)


def test_identity_agrees_with_its_dense_form():
    """No rotation against a rotation: the same posterior within Monte Carlo error."""
    sim = simulate(lines=20, envs=2, traits=2, reps=2, missing=0.1, heritability=0.5, seed=5,
                   relationship=Relationship.identity([f"L{j}" for j in range(20)]))  # fmt: skip
    lines = sim.relationship.lines
    frame = sim.frame.drop(index=sim.frame.index[::6])
    trial = trial_of(frame, ["T1", "T2"])
    one = run_sampler((trial, sim.relationship), "unstructured", "collapsed")
    two = run_sampler((trial, Relationship(2.0 * np.eye(20), lines=lines)), "unstructured", "collapsed", seed=2)
    assert_same_predictions(one, two)
    two.idata.posterior["Sigma_t"].values[:] *= 2.0
    assert_same_posterior(one, two)


def test_line_without_a_record_does_not_touch_the_fit():
    """In the trial with hidden values, or not in the trial at all: the same draws and the same predictions."""
    sim = simulate(lines=14, missing=0.1, relationship="markers", seed=9)
    trial = trial_of(sim.frame)
    place = trial.lines.index("L04")
    hidden = trial.hide(np.repeat((trial.line_index == place)[:, None], 3, axis=1))
    gone = trial.drop_lines("L04")
    one, two = (fit(t, sim.relationship, draws=60, tune=30, chains=2, keep_effects="all") for t in (hidden, gone))
    assert "L04" in hidden.lines
    assert_equal_draws(one, two)
    columns = ["line", "env", "trait", "mean", "sd", "lower", "upper"]
    assert one.predictions()[columns].equals(two.predictions()[columns])


def test_predicting_a_line_is_carrying_it_through_the_sampler():
    """A line without a record, imputed in every sweep, comes out as where it leaves the sampler and is predicted."""
    sim = simulate(lines=30, envs=3, traits=2, relationship="markers", heritability=0.7, interaction=0.5, seed=12)
    trial = trial_of(sim.frame[sim.frame["line"] != "L04"], ["T1", "T2"])
    after = run_sampler((trial, sim.relationship), "unstructured", "collapsed")
    lines = (*trial.lines, "L04")
    layout = lay_out(~np.isnan(trial.values), trial.line_index, trial.env_index, len(lines), 3)
    assert layout.cell_pad.tolist() == [1.0, 1.0, 1.0]
    index = sim.relationship.index(lines)
    basis = decompose_relationship(sim.relationship.matrix[np.ix_(index, index)], layout.multiples)
    carried = Prepared(
        trial, sim.relationship, (), lines, trial.values, layout, basis, trial, np.arange(trial.n_records)
    )
    problem, scaling = build(carried, BMTME())
    draws = run_chains(problem, "collapsed", 1000, plan_slots(6000, 2, "thin"), True, spawn_seeds(2, 2))
    table = predict(carried, scaling, draws, trial, choose_targets(carried, sim.relationship.lines))
    assert_same_predictions(after, table)
    Sigma_t = np.stack([scaling.restore_genetic(chain.Sigma_t) for chain in draws])
    for place in ((0, 0), (0, 1), (1, 1)):
        one, two = (x[..., *place][..., None] for x in (after.idata.posterior["Sigma_t"].values, Sigma_t))
        (m1, _, e1, _), (m2, _, e2, _) = measure(one), measure(two)
        assert abs(m1 - m2) < 4.5 * np.hypot(e1, e2)
