"""Predictions of records: what the other traits of a plot tell of its residual, by the dense conditional normal."""

import numpy as np
import pandas as pd
import pytest

import bmtme
from bmtme import BMTME, CV2, SingleTrait, UsageError, cross_validate, fit, simulate
from bmtme.collection import collect
from bmtme.cv.partitions import Partition
from bmtme.cv.training import take_training
from bmtme.engines.rotated.chains import run_chains
from bmtme.engines.rotated.modes import branch_seed, choose_starts, find_modes
from bmtme.preparation import DecompositionCache, build, observe
from bmtme.report.tables import describe_partitions
from bmtme.results.line_effects import take_kept
from bmtme.results.targets import predict_hidden
from bmtme.sampling import plan_slots, spawn_seeds
from tests.helpers.fits import fit_frame
from tests.helpers.predictions import flatten, mixture_quantile
from tests.helpers.trials import trial_of

pytestmark = pytest.mark.filterwarnings("ignore:a short run")
KEYS = ["line", "env", "trait"]
#: Those with effects of replicates are in `tests/pipeline/test_replicates.py`.
MODELS = {"shared": BMTME(rep_effect="none"), "by environment": BMTME(residual="by_env", rep_effect="none")}


@pytest.fixture(scope="module")
def data():
    """Two plots in each environment, of which some lack traits: in some cells one plot, in some both."""
    settings = {
        "missing_traits": 0.25,
        "missing": 0.1,
        "residual_correlation": 0.8,
        "relationship": "markers",
        "seed": 5,
    }
    sim = simulate(lines=24, envs=2, traits=3, reps=2, **settings)
    frame = sim.frame.sample(frac=1.0, random_state=1)
    frame.loc[(frame["env"] == "E1") & frame["line"].isin(["L12", "L05"]), ["T1", "T3"]] = np.nan
    return frame[frame["line"] != "L07"], sim.relationship


@pytest.fixture(scope="module", params=MODELS)
def fitted(data, request):
    model = MODELS[request.param]
    return fit(trial_of(data[0]), data[1], model, draws=150, tune=60, chains=2, seed=3, keep_effects="all")


def predict_by_hand(frame, posterior):
    """By cell, plot by plot and draw by draw: shifts and variances, both (plots, S), of plots that lack the trait."""
    beta, b1, b2, R = (flatten(posterior, name) for name in ("beta", "b1", "b2", "R_e"))
    lines, envs, traits = ([str(name) for name in posterior[dim].values] for dim in ("line", "env", "trait"))
    found: dict[tuple[str, str, str], list[tuple[np.ndarray, np.ndarray]]] = {}
    for _, plot in frame.iterrows():
        y = plot[traits].to_numpy(float)
        b = np.flatnonzero(~np.isnan(y))
        if not len(b):
            continue
        j, i = lines.index(plot["line"]), envs.index(plot["env"])
        for a in np.flatnonzero(np.isnan(y)):
            e = y - beta[:, i] - b1[:, j] - b2[:, i, j]
            told = []
            for s in range(len(beta)):
                here = R[s, i] if R.ndim == 4 else R[s]
                weights = here[a, b] @ np.linalg.inv(here[np.ix_(b, b)])
                told.append((weights @ e[s, b], here[a, a] - weights @ here[b, a]))
            found.setdefault((plot["line"], plot["env"], traits[a]), []).append(tuple(np.array(told).T))
    return found


def test_records_are_predicted_by_the_other_traits_of_their_plots(data, fitted):
    p = fitted.idata.posterior
    value = (p["beta"] + p["b1"] + p["b2"]).transpose("chain", "draw", "line", "env", "trait")
    found = predict_by_hand(data[0], p)
    assert {len(plots) for plots in found.values()} == {1, 2}
    genetic = fitted.predictions().set_index(KEYS)
    table = fitted.predictions(of="record").set_index(KEYS)
    assert table.columns.tolist() == ["n_obs", "n_plots", "observed", "mean", "sd", "lower", "upper"]
    assert table["n_plots"].to_dict() == {key: len(found.get(key, [])) for key in table.index}
    for key, plots in found.items():
        shifts, variances = np.array(plots).transpose(1, 0, 2)
        line, env, trait = key
        drawn = value.sel(line=line, env=env, trait=trait).values.ravel() + shifts.mean(axis=0)
        row, variance = table.loc[key], variances.sum(axis=0) / len(plots) ** 2
        assert row["mean"] == pytest.approx(genetic["mean"][key] + shifts.mean(), rel=1e-9)
        assert row["sd"] == pytest.approx(drawn.std(ddof=1), rel=1e-9)
        for column, q in (("lower", 0.05), ("upper", 0.95)):
            assert row[column] == pytest.approx(mixture_quantile(drawn, variance, q), abs=1e-4 * row["sd"])
    rest = table.index[table["n_plots"] == 0]
    assert set(rest.get_level_values("line")) >= {"L07"}
    pd.testing.assert_frame_equal(table.drop(columns="n_plots").loc[rest], genetic.loc[rest])


def test_intervals_of_records_are_narrower(fitted):
    genetic, table = (fitted.predictions(of).set_index(KEYS) for of in ("genetic", "record"))
    one = table.index[table["n_plots"] == 1]
    width = ((table["upper"] - table["lower"]) / (genetic["upper"] - genetic["lower"])).loc[one]
    assert width.median() < 0.9


@pytest.mark.parametrize("keep", ["all", "thin"])
def test_a_loaded_fit_predicts_the_same_records(data, keep, tmp_path):
    result = fit_frame(*data, keep_effects=keep)
    table = result.predictions(of="record")
    assert (table["n_plots"] > 0).any()
    result.save(tmp_path / "run")
    loaded = bmtme.load(tmp_path / "run")
    pd.testing.assert_frame_equal(loaded.predictions(of="record"), table, check_exact=True)
    pd.testing.assert_frame_equal(loaded.predictions(), result.predictions(), check_exact=True)
    if keep == "thin":
        other = fit_frame(*data, keep_effects="all").predictions(of="record")
        pd.testing.assert_frame_equal(table, other, rtol=1e-9)


def test_what_has_no_records_to_predict_is_refused(data):
    result = fit_frame(*data, SingleTrait(BMTME()))
    with pytest.raises(UsageError, match=r"one at a time have none: fit a model of several traits"):
        result.predictions(of="record")
    with pytest.raises(UsageError, match="of must be one of 'genetic' or 'record', got 'plot'"):
        result.predictions(of="plot")
    with pytest.raises(UsageError, match="of must be one of 'genetic' or 'record', got 'plot'"):
        CV2(of="plot")
    with pytest.raises(UsageError, match=r"keep_effects='none'"):
        fit_frame(*data, keep_effects="none").predictions(of="record")


@pytest.mark.parametrize("name", MODELS)
def test_hidden_records_are_predicted_as_those_that_a_fit_lacks(data, name):
    """A training part's hidden plots, against the records of its own fit, which are checked above."""
    trial, model, scheme = trial_of(data[0]), MODELS[name], CV2(["T2"], ["E1"], of="record")
    partition = scheme.masks(trial)[0]
    training = take_training(trial, data[1], partition, DecompositionCache(), None)
    prepared = training.prepare(model)
    problem, scaling = build(prepared, model)
    slots, seeds = plan_slots(60, 2, "all"), spawn_seeds(3, 2)
    starts = choose_starts(find_modes(problem, observe(prepared, scaling), branch_seed(seeds[0])), 2)
    chains = run_chains(problem, "collapsed", 40, slots, True, seeds, starts=starts, structures=model.structures)
    cells = training.cells
    table, means = predict_hidden(prepared, problem, scaling, chains, training.trial, cells, training.plots)
    without, _ = predict_hidden(prepared, problem, scaling, chains, training.trial, cells)
    groups = collect(prepared, model, problem, scaling, chains, "all")
    u, _, posterior = take_kept(groups, 1000)
    # Of the plots with T2 hidden; those that never had it are not scored.
    seen = trial.to_frame()
    seen = seen[seen["T2"].notna() & (seen["env"] == "E1")]
    frame = seen.assign(T2=np.nan)
    told = predict_by_hand(frame, posterior.assign(b1=groups["posterior"]["b1"], b2=groups["posterior"]["b2"]))
    value = (posterior["beta"] + u).sel(env="E1", trait="T2")
    assert len(table) == seen["line"].nunique()
    alone = 0
    for row, before in zip(table.itertuples(), without.itertuples(), strict=True):
        plots = told.get((row.line, "E1", "T2"), [])
        alone += len(plots) < row.n_obs  # plots without any other trait
        shifts = [shift for shift, _ in plots]
        residual = flatten(posterior, "R_e")
        residual = (residual[:, 0] if residual.ndim == 4 else residual)[:, 1, 1]
        variance = sum((v for _, v in plots), (row.n_obs - len(plots)) * residual) / row.n_obs**2
        drawn = value.sel(line=row.line).values.ravel() + sum(shifts, np.zeros(120)) / row.n_obs
        assert row.mean == pytest.approx(before.mean + (sum(shifts, np.zeros(120)) / row.n_obs).mean(), rel=1e-8)
        assert row.sd == pytest.approx(drawn.std(ddof=1), rel=1e-8)
        for column, q in (("mean_lower", 0.05), ("mean_upper", 0.95)):
            assert getattr(row, column) == pytest.approx(mixture_quantile(drawn, variance, q), abs=1e-4 * row.sd)
    assert alone > 0
    # A mean over one environment is that environment's value, less a constant.
    left = means["mean"] - table["mean"]
    np.testing.assert_allclose(left, left[0], atol=1e-8)
    np.testing.assert_allclose(means["mean_upper"] - table["mean_upper"], left[0], atol=1e-4)


def test_cross_validation_of_records_says_so_and_gains():
    sim = simulate(
        lines=60, envs=2, traits=3, genetic_correlation=0.3, heritability=0.4, relationship="markers", seed=8
    )
    trial, short = trial_of(sim.frame), {"draws": 150, "tune": 100, "chains": 2, "seed": 4}
    models = {"un": BMTME(), "single": SingleTrait(BMTME())}
    runs = [
        cross_validate(trial, sim.relationship, models, CV2(["T1"], of=of), **short) for of in ("genetic", "record")
    ]
    assert [cv.run["settings"]["scheme"]["of"] for cv in runs] == ["genetic", "record"]
    texts = [describe_partitions(cv.run) for cv in runs]
    assert ["records predicted with the hidden plot's other traits" in text for text in texts] == [False, True]
    assert "CV2 of records" in repr(runs[1])
    genetic, record = (cv.scores.groupby("model")[["pearson", "crps"]].mean() for cv in runs)
    assert record.loc["un", "pearson"] > genetic.loc["un", "pearson"] + 0.1
    assert record.loc["un", "crps"] < genetic.loc["un", "crps"]
    pd.testing.assert_series_equal(record.loc["single"], genetic.loc["single"])  # which has no other traits


class Halves:
    """A trait hidden for every second line of one environment, and for the others in the next."""

    def __init__(self, of):
        self.of = of

    def masks(self, trial, seed=0):
        hidden = np.zeros((len(trial.lines), 2, 2), bool)
        hidden[::2, 0, 0] = hidden[1::2, 1, 0] = True
        return [Partition("halves", hidden, of=self.of)]


def test_intervals_of_hidden_records_cover_them():
    """Where other lines tell the environment's mean: nine in ten, and closer than without the plots' other trait."""
    sim = simulate(lines=120, envs=2, traits=2, heritability=0.4, relationship="markers", seed=8)
    trial, short = trial_of(sim.frame), {"draws": 150, "tune": 100, "chains": 2, "seed": 4}
    runs = [cross_validate(trial, sim.relationship, BMTME(), Halves(of), **short) for of in ("genetic", "record")]
    genetic, record = (cv.predictions for cv in runs)
    width = (record["mean_upper"] - record["mean_lower"]) / (genetic["mean_upper"] - genetic["mean_lower"])
    assert width.max() < 0.8
    inside = record["observed"].between(record["mean_lower"], record["mean_upper"]).mean()
    assert abs(inside - 0.9) < 3.0 * np.sqrt(0.09 / len(record))
    assert runs[1].scores["rmse"].mean() < 0.8 * runs[0].scores["rmse"].mean()
