"""Predictions against the stored draws, by formulas that share nothing with the eigenbasis."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from bmtme import BMTME, DataError, Relationship, UsageError, fit, simulate
from bmtme.engines.rotated.kernels.mixture import fill_mixture_quantiles, find_mixture_quantile
from bmtme.report.tables import describe_fit
from bmtme.results.predictions import spread_evenly
from tests.helpers.predictions import flatten, mixture_quantile, predict_by_hand
from tests.helpers.trials import trial_of

pytestmark = pytest.mark.filterwarnings("ignore:a short run")
TRAITS = ["T1", "T2", "T3"]
NEW = ("L03", "L16")  # lines of the relationship that are never recorded


# --- quantiles of mixtures ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 30, 400])
@pytest.mark.parametrize("p", [0.05, 0.47, 0.95, 0.001])
def test_mixture_quantiles(size, p):
    """Overlapping, separate and heavy-tailed components, on any scale."""
    rng = np.random.default_rng(size)
    for scale in (1e-6, 1.0, 1e5):
        for mean, variance in (
            (rng.normal(3.0, 1.0, size), rng.uniform(0.5, 2.0, size)),
            (rng.normal(0.0, 100.0, size), rng.uniform(0.5, 2.0, size)),
            (rng.standard_t(2.0, size), 1.0 / rng.gamma(0.8, 1.0, size)),
        ):
            mean, variance = scale * mean, scale**2 * variance
            spread = np.sqrt(variance.mean() + mean.var())
            found = find_mixture_quantile(mean, variance, p)
            assert abs(found - mixture_quantile(mean, variance, p)) < 1e-5 * spread


def test_mixture_quantiles_without_variance():
    """Point masses: any point between the order statistics will do; all in one place: that place."""
    points = np.arange(100.0)
    assert 4.0 - 1e-3 <= find_mixture_quantile(points, np.zeros(100), 0.05) <= 5.0 + 1e-3
    assert 94.0 - 1e-3 <= find_mixture_quantile(points, np.zeros(100), 0.95) <= 95.0 + 1e-3
    assert find_mixture_quantile(np.full(7, 2.5), np.zeros(7), 0.95) == 2.5


def test_rows_of_mixtures():
    rng = np.random.default_rng(3)
    mean, variance, out = rng.normal(size=(4, 50)), rng.uniform(0.1, 1.0, (4, 50)), np.empty((4, 2))
    fill_mixture_quantiles(mean, variance, 0.1, 0.7, out)
    expected = [[mixture_quantile(m, v, p) for p in (0.1, 0.7)] for m, v in zip(mean, variance, strict=True)]
    np.testing.assert_allclose(out, expected, atol=1e-5)


@pytest.mark.parametrize("count, wanted", [(10, 3), (10, 10), (10, 50), (1, 5), (7, 1), (2000, 1000)])
def test_even_spacing(count, wanted):
    places = spread_evenly(count, wanted)
    assert len(places) == min(count, wanted)
    assert places.min() >= 0
    assert places.max() < count
    assert len(places) < 3 or np.ptp(np.diff(places)) <= 1


# --- predictions from the draws -----------------------------------------------------------------------------------


def make_data(kind):
    """Frame and relationship: replicates, gaps, two lines without a record, one column without one."""
    sim = simulate(lines=16, envs=3, traits=3, reps=2, missing=0.1, missing_traits=0.1, relationship="markers", seed=7)
    frame = sim.frame[~sim.frame["line"].isin(NEW)].copy()
    frame.loc[frame["env"] == "E2", "T3"] = np.nan
    relationship = sim.relationship
    if kind == "identity":
        relationship = Relationship.identity(relationship.lines)
    elif kind == "clones":
        matrix = np.array(relationship.matrix)
        source = np.arange(16)
        source[2], source[6] = 0, 4  # L03 is a clone of L01, L07 of L05
        relationship = Relationship(matrix[np.ix_(source, source)], lines=relationship.lines)
    elif kind == "unseen environment":
        frame.loc[frame["env"] == "E2", TRAITS] = np.nan
    elif kind == "one environment":
        frame = frame[frame["env"] == "E1"]
    return frame, relationship


KINDS = ("general", "identity", "clones", "unseen environment", "one environment")


@pytest.fixture(scope="module", params=KINDS)
def fitted(request):
    frame, relationship = make_data(request.param)
    model = BMTME()
    result = fit(trial_of(frame), relationship, model, draws=120, tune=50, chains=2, seed=2, keep_effects="all")
    return frame, relationship, result


def test_order_counts_and_observed_means(fitted):
    """Every line of the relationship x environment x trait, in the order of the input."""
    frame, relationship, result = fitted
    table = result.predictions()
    envs = list(dict.fromkeys(frame["env"]))
    assert list(table.columns) == ["line", "env", "trait", "n_obs", "observed", "mean", "sd", "lower", "upper"]
    expected = pd.MultiIndex.from_product([relationship.lines, envs, TRAITS], names=["line", "env", "trait"])
    assert list(zip(table["line"], table["env"], table["trait"], strict=True)) == expected.tolist()
    long = frame.melt(["line", "env", "rep"], TRAITS, "trait", "value").dropna()
    cells = long.groupby(["line", "env", "trait"])["value"].agg(["size", "mean"]).reindex(expected)
    np.testing.assert_array_equal(table["n_obs"], cells["size"].fillna(0))
    np.testing.assert_allclose(table["observed"], cells["mean"])
    assert table["n_obs"].dtype.kind == "i"
    assert not table[["mean", "sd", "lower", "upper"]].isna().any(axis=None)


def test_predictions_are_those_of_the_draws(fitted):
    """Means of conditional means; standard deviations and intervals of draws, with what a new line adds."""
    frame, relationship, result = fitted
    posterior = result.idata.posterior
    expected, drawn, spare = predict_by_hand(frame, relationship, posterior)
    table = result.predictions()
    np.testing.assert_allclose(table["mean"], expected.mean(axis=0).ravel(), rtol=1e-8, atol=1e-8)
    sd = np.sqrt(drawn.var(axis=0, ddof=1) + spare.mean(axis=0))
    np.testing.assert_allclose(table["sd"], sd.ravel(), rtol=1e-6)
    residual = np.einsum("sll->sl", flatten(posterior, "R_e"))
    shape = expected.shape[1:]
    for row in range(0, len(table), 5):
        n, i, l = np.unravel_index(row, shape)
        for column, p in (("lower", 0.05), ("upper", 0.95)):
            quantile = mixture_quantile(drawn[:, n, i, l], spare[:, n, i, l] + residual[:, l], p)
            assert table[column][row] == pytest.approx(quantile, abs=1e-4 * table["sd"][row])


def test_means_are_posterior_means_of_the_cell(fitted):
    """For recorded lines and columns: mean of beta + b1 + b2 over the stored draws, exactly."""
    frame, _, result = fitted
    posterior = result.idata.posterior
    cells = posterior["beta"] + posterior["b1"]
    if "b2" in posterior:
        cells = cells + posterior["b2"]
    means = cells.mean(("chain", "draw")).to_series().rename("expected").reset_index()
    table = result.predictions().merge(means, on=["line", "env", "trait"])
    columns = frame.groupby("env")[TRAITS].count().stack()
    table = table[[columns[env, trait] > 0 for env, trait in zip(table["env"], table["trait"], strict=True)]]
    assert len(table) >= 13 * 3
    np.testing.assert_allclose(table["mean"], table["expected"], rtol=1e-9)


def test_clone_of_a_recorded_line_is_predicted_as_that_line():
    frame, relationship = make_data("clones")
    table = fit(trial_of(frame), relationship, draws=60, tune=30, chains=1).predictions().set_index("line")
    columns = ["mean", "sd", "lower", "upper"]
    np.testing.assert_allclose(table.loc["L03", columns], table.loc["L01", columns], rtol=1e-5)


def test_new_line_that_makes_the_relationship_indefinite_is_named():
    """The recorded lines alone are decomposed, but a line to be predicted must fit in too."""
    frame, relationship = make_data("general")
    matrix = np.array(relationship.matrix)
    j, k = relationship.index(["L03", "L01"])
    matrix[j] = matrix[:, j] = 2.5 * matrix[k]
    matrix[j, j] = matrix[k, k]
    assert np.linalg.eigvalsh(matrix)[0] < -0.1
    with pytest.raises(DataError, match="L03"):
        fit(trial_of(frame), Relationship(matrix, lines=relationship.lines), draws=10, tune=10, chains=1)


# --- columns without a record -------------------------------------------------------------------------------------


def test_means_of_an_absent_column_do_not_carry_the_noise_of_its_draws():
    """Over seeds, the mean of conditional means varies less than that of draws, and both have one expectation."""
    frame, relationship = make_data("general")
    means, draws, sds = [], [], []
    for seed in range(8):
        result = fit(
            trial_of(frame), relationship, draws=150, tune=100, chains=1, seed=seed, sampler="collapsed",
            keep_effects="all",
        )  # fmt: skip
        table = result.predictions().query("env == 'E2' and trait == 'T3'").set_index("line")
        p = result.idata.posterior.sel(env="E2", trait="T3")
        cells = (p["beta"] + p["b1"] + p["b2"]).mean(("chain", "draw"))
        means.append(table.loc[list(cells["line"].values), "mean"].to_numpy())
        draws.append(cells.values)
        sds.append(table.loc[list(cells["line"].values), "sd"].to_numpy())
    means, draws, sds = np.array(means), np.array(draws), np.array(sds)
    assert np.sqrt(means.var(axis=0, ddof=1).mean()) < 0.7 * np.sqrt(draws.var(axis=0, ddof=1).mean())
    error = np.sqrt((sds**2).mean(axis=0) / means.shape[0] / 50)
    assert (np.abs(means.mean(axis=0) - draws.mean(axis=0)) < 4 * error).all()


# --- calibration --------------------------------------------------------------------------------------------------


def test_intervals_cover_new_plots():
    """Probability, under the truth, that a new plot falls into its 90% interval, over cells of all kinds."""
    covered = []
    for seed in (1, 2, 3, 4):
        sim = simulate(lines=40, missing=0.2, missing_traits=0.1, relationship="blocks", seed=seed)
        frame = sim.frame.copy()
        frame.loc[frame["env"] == "E2", "T3"] = np.nan
        table = fit(
            trial_of(frame), sim.relationship, draws=400, tune=300, chains=2, seed=seed, sampler="collapsed"
        ).predictions()
        truth = sim.truth
        fitted = [
            truth["beta"].loc[env, trait] + truth["b1"].loc[line, trait] + truth["b2"].loc[(env, line), trait]
            for line, env, trait in zip(table["line"], table["env"], table["trait"], strict=True)
        ]
        sd = np.sqrt(np.diag(truth["R_e"]))[table["trait"].map(TRAITS.index)]
        share = norm.cdf(table["upper"], fitted, sd) - norm.cdf(table["lower"], fitted, sd)
        absent = (table["env"] == "E2") & (table["trait"] == "T3")
        covered.append(share[~absent].mean())
        assert share[absent].mean() > 0.7  # one mean in all, from two other environments
    assert 0.87 < np.mean(covered) < 0.93


# --- what is kept -------------------------------------------------------------------------------------------------


def test_no_effects_no_predictions():
    frame, relationship = make_data("general")
    result = fit(trial_of(frame), relationship, draws=20, tune=10, chains=2, keep_effects="none")
    assert not {"b1", "b2"} & set(result.idata.posterior.data_vars)
    with pytest.raises(UsageError, match="keep_effects='none'"):
        result.predictions()


@pytest.mark.parametrize("draws, chains", [(40, 2), (900, 2)])
def test_thinned_effects(draws, chains):
    """At most 500 evenly kept draws, and mean and SD, with the same numbers as where everything is kept."""
    frame, relationship = make_data("general")
    one, two = (
        fit(trial_of(frame), relationship, draws=draws, tune=20, chains=chains, seed=3, keep_effects=keep)
        for keep in ("all", "thin")
    )
    posterior, thinned = one.idata.posterior, two.idata.posterior
    assert set(posterior.data_vars) - set(thinned.data_vars) == {"b1", "b2"}
    for name in thinned.data_vars:
        np.testing.assert_array_equal(thinned[name], posterior[name], err_msg=name)
    effects = two.idata["effects"]
    kept = effects.sizes["effect_draw"]
    assert min(250, draws * chains) <= kept <= 500
    assert "draw" not in effects.dims
    chain, draw = effects["effect_chain"].values, effects["effect_draw_index"].values
    assert np.ptp(np.bincount(chain)) == 0
    assert np.ptp(np.diff(draw[chain == 0])) == 0
    for name in ("b1", "b2"):
        np.testing.assert_allclose(effects[name].values, posterior[name].values[chain, draw], atol=1e-12)
        every = flatten(posterior, name)
        assert effects[f"{name}_mean"].dims == posterior[name].dims[2:]
        # Mean and SD of a thousand evenly kept draws, or of all there are.
        loose = 0.0 if draws * chains <= 1000 else 0.3
        error = loose * every.std(axis=0) + 1e-10
        assert (np.abs(effects[f"{name}_mean"].values - every.mean(axis=0)) <= error).all()
        np.testing.assert_allclose(effects[f"{name}_sd"].values, every.std(axis=0, ddof=1), rtol=loose + 1e-6)
    pd.testing.assert_frame_equal(one.predictions(), two.predictions())


def test_many_effects_are_thinned_and_very_many_with_a_warning(monkeypatch):
    monkeypatch.setattr("bmtme.sampling.LARGE", 1000)
    frame, relationship = make_data("general")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "a short run")
        result = fit(trial_of(frame), relationship, draws=20, tune=10, chains=2)
    assert result.run["settings"]["keep_effects"] == "thin"
    assert "mean, SD and at most 500 draws are kept" in " ".join(
        describe_fit(result.summary(), result.run, trial_of(frame)).split()
    )
    monkeypatch.setattr("bmtme.running.VERY_LARGE", 1000)
    with pytest.warns(UserWarning, match="keep_effects='thin'"):
        result = fit(trial_of(frame), relationship, draws=20, tune=10, chains=2)
    assert result.run["settings"]["keep_effects"] == "thin"
    assert "b1" not in result.idata.posterior
    assert "b1" in result.idata["effects"]
