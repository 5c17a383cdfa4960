"""The fit as ArviZ wants it: its functions run unmodified, and the log likelihood is what it says."""

from __future__ import annotations

from typing import Any

import arviz
import numpy as np
import pytest
import xarray
from scipy.stats import norm

import bmtme
from bmtme import BMTME, DataError, SingleTrait, UsageError
from bmtme.results.pointwise import Covariances, Plan, log_records, log_values, measure
from tests.helpers.fits import fit_frame
from tests.helpers.posteriors import make_fit, make_setting
from tests.helpers.trials import simulate_small

pytestmark = pytest.mark.filterwarnings("ignore")
LATE = int(arviz.__version__.split(".")[0]) >= 1
#: The functions that take observations, those that there are in the version.
PLOTS = ("plot_ppc", "plot_ppc_dist", "plot_ppc_pit", "plot_ppc_interval", "plot_loo_pit")


def take(tree: Any, group: str) -> Any:
    """A group as a Dataset, of both lines of ArviZ."""
    return tree[group].to_dataset() if LATE else tree[group]


@pytest.fixture(scope="module")
def tiny():
    sim = simulate_small(lines=9, envs=2, traits=2, missing_traits=0.1, reps=2)
    return fit_frame(sim.frame, sim.relationship, draws=100, tune=30)


@pytest.fixture(scope="module")
def whole(tiny):
    return tiny.to_arviz(log_likelihood=True, posterior_predictive=True)


@pytest.fixture(scope="module")
def left_out(tiny):
    return tiny.to_arviz(log_likelihood=True, posterior_predictive="left_out")


# --- functions of ArviZ -----------------------------------------------------------------------------------------------


def test_diagnostics_are_never_missing(whole):
    posterior = take(whole, "posterior")
    assert {"sigma2_E", "genetic_correlation", "residual_correlation", "heritability"} <= set(posterior.data_vars)
    assert not {"Sigma_E", "b1"} & set(posterior.data_vars)
    for function in (arviz.rhat, arviz.ess):
        table = function(posterior)
        assert all(np.isfinite(table[name]).all() for name in table.data_vars)
    rows = arviz.summary(whole if LATE else posterior).index
    assert {"sigma2_E[E1]", "genetic_correlation[T1, T2]", "heritability[E2, T1]"} <= set(rows)


@pytest.mark.parametrize(
    "model",
    [
        BMTME("diagonal", genetic=bmtme.MainAndInteraction(), residual="by_env"),
        BMTME("standard", means="paper"),
        SingleTrait(BMTME(genetic=bmtme.Free(), residual="by_env")),
    ],
    ids=["diagonal", "paper", "single"],
)
def test_every_entry_varies(model):
    sim = simulate_small(lines=8, envs=2, traits=2)
    tree = fit_frame(sim.frame, sim.relationship, model, draws=30, tune=10).to_arviz()
    table = arviz.rhat(take(tree, "posterior"))
    assert not [name for name in table.data_vars if not np.isfinite(table[name]).all()]


def test_energy(tiny, whole):
    stats = take(whole, "sample_stats")
    np.testing.assert_array_equal(stats["energy"], -tiny.idata["sample_stats"]["completed_log_density"])
    values = arviz.bfmi(whole)
    assert np.isfinite(values["energy"] if LATE else values).all()
    arviz.plot_energy(whole)


@pytest.mark.parametrize("unit", [True, "record", "value"])
def test_loo_and_compare(tiny, unit):
    tree = tiny.to_arviz(log_likelihood=unit)
    loo = arviz.loo(tree, pointwise=True)
    count = int(np.isfinite(tiny.idata["observed_data"]["Y"]).sum())
    assert len(loo.pareto_k) == (count if unit == "value" else tiny.idata["observed_data"].sizes["record"])
    assert (loo.pareto_k.values < 0.7).mean() > 0.8
    assert ("joint over its traits" in take(tree, "log_likelihood")["y"].attrs["meaning"]) == (unit != "value")
    assert len(arviz.compare({"one": tree, "other": tree})) == 2


@pytest.mark.usefixtures("no_windows")
@pytest.mark.parametrize("name", [name for name in ("loo_pit", *PLOTS) if hasattr(arviz, name)])
def test_functions_of_observations(whole, left_out, name):
    tree = left_out if "loo" in name else whole
    result = getattr(arviz, name)(tree, **({} if LATE or name == "plot_ppc" else {"y": "y"}))
    if name == "loo_pit":
        pit = result["y"] if LATE else result
        assert pit.size == take(whole, "observed_data").sizes["obs"]
        assert ((0 <= pit) & (pit <= 1)).all()


def test_observations(tiny, whole):
    data, Y = take(whole, "observed_data"), tiny.idata["observed_data"]
    assert data["y"].dims == ("obs",)
    assert set(data.coords) == {"obs", "line", "env", "trait", "record"}
    for n in range(data.sizes["obs"]):
        one = data.isel(obs=n)
        own = Y.isel(record=int(one["record"])).sel(trait=str(one["trait"].values))
        assert float(own["Y"]) == float(one["y"])
        assert (str(own["record_line"].values), str(own["record_env"].values)) == (
            str(one["line"].values),
            str(one["env"].values),
        )
    for group in ("log_likelihood", "posterior_predictive"):
        assert take(whole, group)["y"].dims == ("chain", "draw", "obs")
        assert (take(whole, group)["trait"] == data["trait"]).all()


def test_new_values_are_of_the_fit(tiny, whole):
    """On average they are beta + u, and spread by residuals as large as R_e on top."""
    new = take(whole, "posterior_predictive")["y"].values.reshape(-1, take(whole, "observed_data").sizes["obs"])
    old = take(whole, "observed_data")["y"].values
    assert np.corrcoef(new.mean(axis=0), old)[0, 1] > 0.8
    inside = (np.quantile(new, 0.05, axis=0) < old) & (old < np.quantile(new, 0.95, axis=0))
    assert 0.8 < inside.mean() <= 1.0


def make_flat_fit(s, draws, spread=0.0):
    """Exact draws of effects at one set of covariances, or some around it, the means flat."""
    fit = make_fit(s, spread=spread, draws=draws)
    fit.run["facts"]["means"] = "flat"
    density = fit._groups["posterior"]["beta"].isel(env=0, trait=0, drop=True)
    fit._groups["sample_stats"] = xarray.Dataset({"completed_log_density": density})
    return fit


@pytest.mark.parametrize("kind", ["left_out", True])
def test_loo_pit_of_a_correct_model(kind):
    """60 lines x 3 environments, a plot a cell, heritability above 0.9: uniform by left-out values only.

    12 var of n independent uniform values is 1 with variance 0.8 / n: 4 SD are 0.27 for 180 values.
    """
    s = make_setting(lines=60, new=0, traits=1, reps=1)
    s.plots = np.array([(j, i) for j in range(60) for i in range(3)])
    rng = np.random.default_rng(2)
    s.R[:] = 0.05
    s.C = (np.eye(3) + 0.3).reshape(3, 1, 3, 1)
    u = np.linalg.cholesky(s.G) @ rng.normal(size=(60, 3)) @ np.linalg.cholesky(s.C.reshape(3, 3)).T
    s.y = (u.ravel() + np.sqrt(0.05) * rng.normal(size=180))[:, None]
    # Covariances that differ a little: ArviZ 1 refuses weights that are all the same.
    tree = make_flat_fit(s, 150, spread=0.02).to_arviz(log_likelihood=True, posterior_predictive=kind)
    result = arviz.loo_pit(tree, **({} if LATE else {"y": "y"}))
    pit = np.asarray(result["y"] if LATE else result)
    assert pit.size == 180
    bound = 4 * np.sqrt(0.8 / pit.size)
    if kind == "left_out":
        assert abs(12 * pit.var() - 1) < bound
        assert abs(pit.mean() - 0.5) < 4 / np.sqrt(12 * pit.size)
    else:
        assert 12 * pit.var() < 1 - bound


def test_left_out_values_are_drawn_by_their_density():
    """Two traits, gaps: a normal of the mean and variance of the draws has the log likelihood as its density at y."""
    s = make_setting(outside=0.4)
    s.y[:, 1] *= 100.0
    s.C[:, 1] *= 100.0
    s.C[:, :, :, 1] *= 100.0
    s.R[:, 1] *= 100.0
    s.R[:, :, 1] *= 100.0
    s.Sigma_r[1, 1] *= 1e4
    tree = make_flat_fit(s, 400).to_arviz(log_likelihood=True, posterior_predictive="left_out", draws=800)
    new, y = take(tree, "posterior_predictive")["y"], take(tree, "observed_data")["y"].values
    assert new.dims == ("chain", "draw", "obs")
    assert "given all others" in new.attrs["meaning"]
    log = take(tree, "log_likelihood")["y"].values
    assert np.ptp(log, axis=(0, 1)).max() < 1e-8
    mean, sd = new.values.mean(axis=(0, 1)), new.values.std(axis=(0, 1))
    z = (y - mean) / sd
    error = np.abs(norm.logpdf(y, mean, sd) - log[0, 0])
    assert (error < 5 * (np.abs(z) + np.abs(z**2 - 1) / np.sqrt(2) + 0.1) / np.sqrt(800)).all()


def test_as_leave_one_out():
    """The density that `Fit.leave_one_out` gives a record, written by other algebra, and its values by mean and SD."""
    fit = make_flat_fit(make_setting(traits=1, outside=0.4), 400)
    tree = fit.to_arviz(log_likelihood=True, posterior_predictive="left_out", draws=800)
    table = fit.leave_one_out()
    expected = norm.logpdf(table["observed"], table["mean"], table["sd"])
    np.testing.assert_allclose(take(tree, "log_likelihood")["y"].values[1, 7], expected, rtol=1e-8)
    z = (take(tree, "posterior_predictive")["y"].values - table["mean"].to_numpy()) / table["sd"].to_numpy()
    assert np.abs(z.mean(axis=(0, 1))).max() < 5 / np.sqrt(800)
    assert np.abs((z**2).mean(axis=(0, 1)) - 1).max() < 5 * np.sqrt(2 / 800)


def test_draws_are_thinned_together(tiny):
    tree = tiny.to_arviz(log_likelihood=True, posterior_predictive=True, draws=20)
    for group in ("posterior", "sample_stats", "log_likelihood", "posterior_predictive"):
        assert take(tree, group).sizes["draw"] == 10
    assert take(tiny.to_arviz(draws=20), "posterior").sizes["draw"] == 100


def test_saved_and_loaded(tiny, whole, tmp_path):
    tiny.save(tmp_path / "run")
    again = bmtme.load(tmp_path / "run").to_arviz(log_likelihood="value", posterior_predictive=True)
    for group in ("log_likelihood", "posterior_predictive"):
        np.testing.assert_array_equal(take(again, group)["y"], take(whole, group)["y"])


def test_what_is_refused(tiny):
    with pytest.raises(UsageError, match="one of 'record', 'value', got 'line'"):
        tiny.to_arviz(log_likelihood="line")
    sim = simulate_small(lines=8, envs=2, traits=2)
    none = fit_frame(sim.frame, sim.relationship, draws=5, tune=5, keep_effects="none")
    none.to_arviz(log_likelihood=True)
    none.to_arviz(posterior_predictive="left_out")
    with pytest.raises(UsageError, match="kept no effects"):
        none.to_arviz(posterior_predictive=True)
    with pytest.raises(UsageError, match="posterior_predictive must be False, True or 'left_out', got 'new'"):
        none.to_arviz(posterior_predictive="new")
    none._groups.pop("relationship")
    with pytest.raises(DataError, match="does not have the relationship"):
        none.to_arviz(log_likelihood=True)
    frame = sim.frame.dropna()
    lone = frame[(frame["env"] != "E2") | (frame.index == frame.index[frame["env"] == "E2"][0])]
    flat = fit_frame(lone, sim.relationship, BMTME(means="flat"), draws=5, tune=5)
    with pytest.raises(DataError, match="'E2 x T1', 'E2 x T2' have one record"):
        flat.to_arviz(log_likelihood=True)


# --- the log likelihood by hand ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [BMTME(), BMTME(genetic=bmtme.Free(), residual="by_env"), SingleTrait()])
def test_of_a_fit(model):
    """A draw of a fit with gaps, replicates, blocks and a covariate, by one dense normal distribution for each record.

    T2 has no effect of the blocks of E2, where one of them has it.
    """
    sim = simulate_small(lines=7, envs=2, traits=2, missing_traits=0.2, reps=2)
    rng = np.random.default_rng(1)
    frame = sim.frame.assign(block=rng.choice(["1", "2"], len(sim.frame)), stand=rng.normal(50, 5, len(sim.frame)))
    frame.loc[(frame["env"] == "E2") & (frame["block"] == "1"), "T2"] = np.nan
    columns = {"line": "line", "env": "env", "traits": ["T1", "T2"], "rep": "rep"}
    trial = bmtme.Trial.from_frame(frame, **columns, blocks=["block"], covariates=["stand"])
    fit = bmtme.fit(trial, sim.relationship, model, draws=6, tune=4, chains=2, seed=1)
    draw = take(fit.idata, "posterior").isel(chain=1, draw=3)
    data = fit.idata["observed_data"]
    lines, envs, Y = data["record_line"].values.tolist(), data["record_env"].values.tolist(), data["Y"].values
    G = dict(zip(sim.relationship.lines, range(99), strict=False))
    G = sim.relationship.matrix[np.ix_([G[name] for name in lines], [G[name] for name in lines])]
    n, l = np.nonzero(~np.isnan(Y))
    traits = draw["trait"].values.tolist()
    V, shift = np.zeros((len(n), len(n))), np.zeros(len(n))
    for s in range(len(n)):
        rep = data["record_replicate"].values[n[s]] if "rep_effects" in draw else ""
        rep = rep if isinstance(rep, str) else rep[l[s]]
        shift[s] = float(draw["mu"][l[s]]) + (float(draw["rep_effects"].sel(replicate=rep)[l[s]]) if rep else 0.0)
        shift[s] += float(draw["block_effects"].sel(block=data["record_block"].values[n[s], 0])[l[s]])
        shift[s] += float(data["record_covariate"].values[n[s], 0]) * float(draw["covariate_effects"][0, l[s]])
        for t in range(len(n)):
            a, b = envs[n[s]], envs[n[t]]
            V[s, t] = G[n[s], n[t]] * find_genetic(draw, a, traits[l[s]], b, traits[l[t]])
            if a == b and l[s] == l[t]:
                V[s, t] += float(draw["tau"][l[s]]) ** 2
            if n[s] == n[t]:
                V[s, t] += find_residual(draw, a, traits[l[s]], traits[l[t]])
    expected = [leave_out(V, Y[n, l] - shift, np.flatnonzero(n == k)) for k in range(len(Y))]
    made = fit.to_arviz(log_likelihood=True)
    found = take(made, "log_likelihood")["y"].isel(chain=1, draw=3)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8)
    effects = take(made, "posterior")["block_effects"]
    assert effects.dims == ("chain", "draw", "block_trait_row")
    assert "E2/block/1, T1" in effects["block_trait_row"].values
    assert "E2/block/1, T2" not in effects["block_trait_row"].values
    assert (effects.std(("chain", "draw")) > 0).all()


def find_genetic(draw: Any, env: str, trait: str, other: str, another: str) -> float:
    """Genetic covariance of two columns in one draw."""
    if "trait_bis" not in draw.dims:
        same = float(trait == another)
        return same * float(
            draw["Sigma_t"].sel(trait=trait) * (1 + draw["Sigma_E"].sel(env=env, env_bis=other, trait=trait))
        )
    if "C" in draw:
        return float(draw["C"].sel(cell=f"{env} x {trait}", cell_bis=f"{other} x {another}"))
    between = 1 + float(draw["Sigma_E"].sel(env=env, env_bis=other))
    return between * float(draw["Sigma_t"].sel(trait=trait, trait_bis=another))


def find_residual(draw: Any, env: str, trait: str, another: str) -> float:
    R = draw["R_e"].sel(env=env) if "env" in draw["R_e"].dims else draw["R_e"]
    if "trait_bis" not in R.dims:
        return float(R.sel(trait=trait)) * (trait == another)
    return float(R.sel(trait=trait, trait_bis=another))


def leave_out(V: np.ndarray, y: np.ndarray, rows: np.ndarray) -> float:
    """Log density of some values given the others."""
    rest = np.setdiff1d(np.arange(len(y)), rows)
    gain = V[np.ix_(rows, rest)] @ np.linalg.inv(V[np.ix_(rest, rest)])
    S = V[np.ix_(rows, rows)] - gain @ V[np.ix_(rest, rows)]
    error = y[rows] - gain @ y[rest]
    return float(-0.5 * (error @ np.linalg.solve(S, error) + np.linalg.slogdet(2 * np.pi * S)[1]))


@pytest.mark.parametrize("means", ["exchangeable", "flat", "held"])
@pytest.mark.parametrize("identity", [False, True])
def test_formula(means, identity):
    """Uneven plots, gaps, a line effect, a singular relationship, an environment few lines are in."""
    rng = np.random.default_rng(5)
    J, I, L = 7, 3, 2
    Z = rng.normal(size=(J, 4))
    G = np.eye(J) if identity else Z @ Z.T / 4
    A = rng.normal(size=(I * L, 10))
    C, C_r = A @ A.T / 10, np.diag([0.4, 0.2])
    R = np.stack([np.cov(rng.normal(size=(L, 6))) * (1 + i) for i in range(I)])
    plots = [(j, i) for j in range(J) for i in range(I) for _ in range(1 + (j + i) % 2) if i < 2 or j < 3]
    line, env = np.array(plots).T
    observed = rng.random((len(plots), L)) < 0.85
    line, env, observed = (array[observed.any(axis=1)] for array in (line, env, observed))
    y = rng.normal(size=observed.shape) * 2
    variance = {"exchangeable": 0.8, "flat": 1e5, "held": 0.0}[means]
    precision = {"exchangeable": np.full(L, 1 / 0.8), "flat": np.zeros(L), "held": None}[means]
    plan = Plan(None if identity else G, observed, line, env, (J, I))
    P, q = measure(plan, y, Covariances(C, C_r, R, precision))
    n, l = np.nonzero(observed)
    V = np.zeros((len(n), len(n)))
    for s in range(len(n)):
        for t in range(len(n)):
            a, b, i, k = line[n[s]], line[n[t]], env[n[s]], env[n[t]]
            V[s, t] = G[a, b] * C[i * L + l[s], k * L + l[t]] + (a == b) * C_r[l[s], l[t]]
            V[s, t] += (n[s] == n[t]) * R[i, l[s], l[t]] + variance * (i == k) * (l[s] == l[t])
    tolerance = 1e-3 if means == "flat" else 1e-10
    by_record = [leave_out(V, y[n, l], np.flatnonzero(n == k)) for k in range(len(y))]
    np.testing.assert_allclose(log_records(P, q, observed), by_record, atol=tolerance)
    by_value = [leave_out(V, y[n, l], np.array([k])) for k in range(len(n))]
    np.testing.assert_allclose(log_values(P, q, observed), by_value, atol=tolerance)
