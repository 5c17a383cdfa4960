"""Effects of replicates through fits and cross-validations."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import bmtme
from bmtme import BMTME, CV1, SingleTrait, UsageError
from bmtme.collection import collect
from bmtme.cv.models import find_twins
from bmtme.cv.partitions import Partition
from bmtme.cv.training import take_training
from bmtme.engines.rotated.chains import run_chains
from bmtme.engines.rotated.density import evaluate, measure_prior
from bmtme.engines.rotated.state import start_state
from bmtme.preparation import DecompositionCache, build, lay_model, prepare
from bmtme.results.replicates import find_levels
from bmtme.results.targets import predict_hidden
from bmtme.sampling import plan_slots, spawn_seeds
from bmtme.structures.part import Start
from bmtme.structures.proportional import Proportional, Shared
from bmtme.testing.pairs import open_walk
from tests.helpers.predictions import flatten, mixture_quantile
from tests.helpers.trials import trial_of

SHORT = {"draws": 40, "tune": 40, "chains": 2, "seed": 1}
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def make_data(lines=24, envs=2, traits=2, reps=2, size=2.0, seed=2, **settings):
    """A frame to which effects of replicates are added, some residual standard deviations apart, and these."""
    usual = {"relationship": "markers", "heritability": 0.5, "residual_correlation": 0.3}
    sim = bmtme.simulate(lines=lines, envs=envs, traits=traits, reps=reps, seed=seed, **usual | settings)
    rng = np.random.default_rng(seed)
    names = [name for name in sim.frame if name.startswith("T")]
    keys = pd.MultiIndex.from_product([sorted(sim.frame["env"].unique()), sorted(sim.frame["rep"].unique())])
    sd = np.sqrt(np.diag(np.asarray(sim.truth["R_e"])))
    spread = rng.choice([-1.0, 1.0], (envs, 1, traits)) * np.linspace(-0.5, 0.5, reps)[None, :, None]
    effects = pd.DataFrame((size * spread * sd).reshape(-1, traits), keys, names)
    frame = sim.frame.copy()
    frame[names] += effects.loc[list(zip(frame["env"], frame["rep"], strict=True))].to_numpy()
    return frame, sim, effects


def run(frame, relationship, model=None, **settings):
    return bmtme.fit(trial_of(frame), relationship, model or BMTME(), **SHORT | settings)


@pytest.fixture(scope="module")
def fitted():
    """Gaps, and two plots of each line at most."""
    frame, sim, effects = make_data(missing_traits=0.1, missing=0.1)
    return frame, sim, effects, run(frame, sim.relationship)


def test_what_a_fit_tells(fitted, tmp_path):
    frame, _, _, fit = fitted
    posterior = fit.idata.posterior
    assert posterior["rep_effects"].dims == ("chain", "draw", "replicate", "trait")
    shown = [f"{env}/{rep}" for env in frame["env"].unique() for rep in frame.loc[frame["env"] == env, "rep"].unique()]
    assert posterior["replicate"].values.tolist() == shown
    total = posterior["rep_effects"].values.reshape(2, 40, 2, 2, 2).sum(axis=3)
    np.testing.assert_allclose(total, 0.0, atol=1e-9)
    summary = fit.summary()
    assert {f"rep_effects[{name}, T1]" for name in shown} <= set(summary.index)
    row = summary.loc["rep_effects[E1/1, T1]"]
    assert row["mean"] == pytest.approx(posterior["rep_effects"].sel(replicate="E1/1", trait="T1").values.mean())
    assert fit.run["settings"]["model"]["rep_effect"] == "auto"
    told = {"asked": "auto", "kind": "fixed", "replicates": 4, "columns": 4, "of": 4}
    assert fit.run["data"]["rep_effects"] == told
    names = fit._groups["observed_data"]["record_replicate"].values.tolist()
    assert set(names) == set(shown)
    fit.save(tmp_path / "run")
    loaded = bmtme.load(tmp_path / "run")
    pd.testing.assert_frame_equal(loaded.summary(), summary)
    pd.testing.assert_frame_equal(loaded.predictions(of="record"), fit.predictions(of="record"))


def test_predictions_are_for_an_average_replicate(fitted):
    *_, fit = fitted
    posterior = fit.idata.posterior
    total = posterior["beta"] + posterior["b1"] + posterior["b2"]
    table = fit.predictions().set_index(["line", "env", "trait"])
    drawn = total.sel(line="L05", env="E2", trait="T1").values
    assert table.loc[("L05", "E2", "T1"), "mean"] == pytest.approx(drawn.mean(), rel=1e-9)


def test_records_are_predicted_with_their_replicates(fitted):
    """Plot by plot: the trait they lack given the others, all less the effects of the plot's own replicate."""
    frame, _, _, fit = fitted
    p = fit.idata.posterior
    beta, b1, b2, R, b = (flatten(p, name) for name in ("beta", "b1", "b2", "R_e", "rep_effects"))
    lines, envs, traits, levels = (p[dim].values.tolist() for dim in ("line", "env", "trait", "replicate"))
    genetic = fit.predictions().set_index(["line", "env", "trait"])
    table = fit.predictions(of="record").set_index(["line", "env", "trait"])
    found = {}
    for plot in frame.itertuples():
        y = np.array([plot.T1, plot.T2])
        for a in np.flatnonzero(np.isnan(y)):
            o = 1 - a
            if np.isnan(y[o]):
                continue
            j, i, k = lines.index(plot.line), envs.index(plot.env), levels.index(f"{plot.env}/{plot.rep}")
            e = y[o] - beta[:, i, o] - b1[:, j, o] - b2[:, i, j, o] - b[:, k, o]
            own = R[:, a, o] / R[:, o, o] * e + b[:, k, a]
            found.setdefault((plot.line, plot.env, traits[a]), []).append(
                (own, R[:, a, a] - R[:, a, o] ** 2 / R[:, o, o])
            )
    assert {len(plots) for plots in found.values()} >= {1}
    assert table["n_plots"].gt(0).sum() == len(found)
    for (line, env, trait), plots in found.items():
        shifts, variances = np.array(plots).transpose(1, 0, 2)
        j, i, l = lines.index(line), envs.index(env), traits.index(trait)
        drawn = beta[:, i, l] + b1[:, j, l] + b2[:, i, j, l] + shifts.mean(axis=0)
        row = table.loc[(line, env, trait)]
        assert row["mean"] == pytest.approx(genetic["mean"][line, env, trait] + shifts.mean(), rel=1e-9)
        assert row["sd"] == pytest.approx(drawn.std(ddof=1), rel=1e-9)
        low = mixture_quantile(drawn, variances.sum(axis=0) / len(plots) ** 2, 0.05)
        assert row["lower"] == pytest.approx(low, abs=1e-4 * row["sd"])


def test_differences_between_replicates_are_no_residual_variance():
    """Replicates two residual standard deviations apart: with effects the truth is covered, without it is not."""
    frame, sim, effects = make_data(lines=60, size=2.0, missing=0.1, missing_traits=0.1)
    fits = {
        kind: run(frame, sim.relationship, BMTME(rep_effect=kind), draws=400, tune=300)
        for kind in ("auto", "random", "none")
    }
    for kind in ("auto", "random"):
        summary = fits[kind].summary()
        for l, trait in enumerate(("T1", "T2")):
            row, true = summary.loc[f"R_e[{trait}, {trait}]"], sim.truth["R_e"].iloc[l, l]
            assert row["lower"] < true < row["upper"]
            for env in ("E1", "E2"):
                one, two = (f"rep_effects[{env}/{rep}, {trait}]" for rep in ("1", "2"))
                b = fits[kind].idata.posterior["rep_effects"].sel(trait=trait)
                difference = (b.sel(replicate=f"{env}/1") - b.sel(replicate=f"{env}/2")).values
                wanted = effects.loc[(env, "1"), trait] - effects.loc[(env, "2"), trait]
                assert abs(difference.mean() - wanted) < 3.5 * difference.std()
                assert difference.std() < 0.25 * np.sqrt(true)
                assert {one, two} <= set(summary.index)
            without = fits["none"].summary().loc[f"R_e[{trait}, {trait}]"]
            assert without["lower"] > 1.4 * true
            mine, other = (fits[name].summary()["mean"][f"heritability[E1, {trait}]"] for name in (kind, "none"))
            assert mine > other + 0.05
    assert {"sigma_rep[T1]", "sigma_rep[T2]"} <= set(fits["random"].summary().index)
    assert "sigma_rep[T1]" not in fits["auto"].summary().index


def test_balanced_replicates_against_the_exact_posterior():
    """Twelve lines in three complete replicates, one trait: effects are contrasts of means, R_e has (J - 1)(r - 1)
    degrees of freedom within lines. By quadrature over the two parameters, means and effects integrated out."""
    frame, sim, _ = make_data(lines=12, envs=1, traits=1, reps=3, size=2.0)
    fit = run(frame, sim.relationship, draws=3000, tune=500, chains=2)
    # The same problem of the values less the means of their replicates, with two degrees of freedom less.
    centred = frame.copy()
    means = frame.groupby("rep")["T1"].mean()
    centred["T1"] = frame["T1"] - frame["rep"].map(means) + frame["T1"].mean()
    prepared = prepare(trial_of(centred), sim.relationship)
    own = prepare(trial_of(frame), sim.relationship)
    _, scaling = build(own, BMTME(rep_effect="none"))
    p, centred_scaling = build(prepared, BMTME(rep_effect="none"))
    ratio = centred_scaling.scale[0] / scaling.scale[0]  # priors are in units of the trait's SD, which differ
    prior = p.residual.prior._replace(scale=p.residual.prior.scale / ratio)
    p = p._replace(
        residual=p.residual._replace(prior=prior),
        genetic=p.genetic._replace(prior=p.genetic.prior._replace(scale=p.genetic.prior.scale / ratio)),
    )
    walk, held = open_walk(p, start_state(p, np.random.default_rng(0)))
    assert walk.n_within[0] == 12 * 2
    walk.n_within[0] = 11 * 2
    start = Start(np.eye(1), np.zeros(1), np.eye(1))
    assert len(np.concatenate([Proportional().start(p.genetic, start), Shared().start(p.residual, start)])) == 2
    grid = np.linspace(0.01, 3.0, 120)
    logs = np.array([[evaluate(np.array([g, r]), *held, np.empty(2)) for r in grid] for g in grid])
    assert np.isfinite(measure_prior(np.array([0.5, 0.5]), held[0], held[3]))
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    expected = (weights.sum(axis=0) * grid**2).sum() * centred_scaling.scale[0] ** 2
    found = fit.summary().loc["R_e[T1, T1]"]
    error = found["sd"] / np.sqrt(found["ess_bulk"])
    assert abs(found["mean"] - expected) < 4 * error
    walk.n_within[0] = 12 * 2  # what it is without counting the effects
    logs = np.array([[evaluate(np.array([g, r]), *held, np.empty(2)) for r in grid] for g in grid])
    weights = np.exp(logs - logs.max())
    wrong = (weights.sum(axis=0) / weights.sum() * grid**2).sum() * centred_scaling.scale[0] ** 2
    assert abs(found["mean"] - wrong) > 6 * error
    b = fit.idata.posterior["rep_effects"].values[..., 0].reshape(-1, 3)
    contrast = means - means.mean()
    # b | R ~ N(contrast, R (1 - 1/3) / 12), independent of everything else.
    for k, name in enumerate(fit.idata.posterior["replicate"].values):
        sd = np.sqrt(found["mean"] * (2 / 3) / 12)
        assert b[:, k].std() == pytest.approx(sd, rel=0.05)
        assert b[:, k].mean() == pytest.approx(contrast[name.split("/")[1]], abs=4 * sd / np.sqrt(2000))


@pytest.mark.parametrize(
    "model", [BMTME(rep_effect="random", line_effect=True), BMTME(rep_effect="fixed", residual="by_env")]
)
def test_shuffled_rows_give_the_same_effects(model):
    frame, sim, _ = make_data(lines=12, reps=3, missing_traits=0.1)
    frame = frame[np.random.default_rng(1).random(len(frame)) < 0.85]
    one = run(frame, sim.relationship, model, draws=10, tune=8)
    rows = frame.sample(frac=1.0, random_state=3)
    two = run(rows, sim.relationship, model, draws=10, tune=8)
    first, second = one._groups["posterior"], two._groups["posterior"]
    assert first["replicate"].values.tolist() != second["replicate"].values.tolist()
    for name in first.data_vars:
        other = second[name]
        for dim in set(other.dims) & {"line", "env", "env_bis", "replicate"}:
            other = other.sel({dim: first[dim].values})
        np.testing.assert_array_equal(first[name].values, other.values)


def test_units_change_nothing():
    frame, sim, _ = make_data(lines=12)
    one = run(frame, sim.relationship, BMTME(rep_effect="random"), draws=10, tune=8, sampler="gibbs")
    scaled = frame.assign(T1=frame["T1"] * 1000.0 + 7.0)
    two = run(scaled, sim.relationship, BMTME(rep_effect="random"), draws=10, tune=8, sampler="gibbs")
    for name, factor in (("rep_effects", [1000.0, 1.0]), ("sigma_rep", [1000.0, 1.0])):
        first, second = (fit.idata.posterior[name].values for fit in (one, two))
        np.testing.assert_allclose(second, first * factor, rtol=1e-5)


@pytest.mark.parametrize("kind", ["fixed", "random"])
def test_one_trait_at_a_time(kind):
    """Replicates that one trait has and another has not: zero, and without a row."""
    frame, sim, _ = make_data(lines=14, envs=2)
    frame.loc[(frame["env"] == "E2") & (frame["rep"] == "2"), "T2"] = np.nan
    fit = run(frame, sim.relationship, SingleTrait(BMTME(rep_effect=kind)), draws=12, tune=8)
    b = fit.idata.posterior["rep_effects"]
    assert b.dims == ("chain", "draw", "replicate", "trait")
    assert b["replicate"].values.tolist() == ["E1/1", "E1/2", "E2/1", "E2/2"]
    there = (b != 0).any(["chain", "draw"]).values
    np.testing.assert_array_equal(there, [[True, True], [True, True], [True, False], [True, False]])
    names = set(fit.summary().index)
    assert {"rep_effects[E2/1, T1]", "rep_effects[E1/2, T2]"} <= names
    assert "rep_effects[E2/1, T2]" not in names
    assert fit.run["data"]["rep_effects"]["T2"]["columns"] == 1
    joint = run(frame, sim.relationship, BMTME(rep_effect=kind), draws=12, tune=8)
    assert "rep_effects[E2/1, T2]" not in joint.summary().index
    assert ("sigma_rep[T2]" in names) == (kind == "random")


def test_what_cannot_be_is_refused():
    frame, sim, _ = make_data(lines=12)
    with pytest.raises(UsageError, match="rep_effect of a model must be one of 'auto', 'none', 'fixed', 'random'"):
        BMTME(rep_effect="mixed")
    with pytest.raises(UsageError, match=r"rep_effect='fixed' needs to know the replicates: name their column, rep="):
        run(frame.drop(columns="rep"), sim.relationship, BMTME(rep_effect="fixed"))
    few = frame[(frame["env"] == "E1") & (frame["line"] == "L01") & (frame["rep"] == "1")].assign(rep="3")
    with pytest.raises(UsageError, match=r"replicate '3' of environment 'E1' holds one line only"):
        run(pd.concat([frame, few]), sim.relationship, BMTME(rep_effect="fixed"))
    plots = frame.assign(rep=[str(n) for n in range(len(frame))])
    with pytest.raises(UsageError, match="every replicate of every environment holds one line only"):
        run(plots, sim.relationship, BMTME(rep_effect="random"))
    assert "rep_effects" not in run(plots, sim.relationship, draws=4, tune=4).idata.posterior


# --- cross-validation -----------------------------------------------------------------------------------------------


def scatter(frame, seed=1):
    """One plot of most lines, in either replicate; two of the others."""
    rng = np.random.default_rng(seed)
    rep = rng.choice(["1", "2"], (frame["line"].nunique(), frame["env"].nunique()))
    both = rng.random(rep.shape) < 0.3
    line, env = (frame[name].astype("category").cat.codes for name in ("line", "env"))
    return frame[(frame["rep"].to_numpy() == rep[line, env]) | both[line, env]]


@pytest.mark.parametrize("kind", ["fixed", "random"])
@pytest.mark.parametrize("whole", [False, True])
def test_hidden_plots_contain_the_effects_of_their_replicates(kind, whole):
    """By hand: the mean of these over the hidden plots; of a replicate hidden as a whole, none or its variance."""
    frame, sim, _ = make_data(lines=20, envs=3, size=4.0, missing_traits=0.05)
    trial = trial_of(scatter(frame))
    model = BMTME(rep_effect=kind)
    partition = CV1(1, 0.3).masks(trial, 2)[0]
    hidden = partition.hidden.copy()
    if whole:
        hidden[:, trial.envs.index("E3")] = True
    partition = type(partition)("p", hidden)
    training = take_training(trial, sim.relationship, partition, DecompositionCache(), None)
    prepared = training.prepare(model)
    problem, scaling = build(prepared, model)
    chains = run_chains(problem, "collapsed", 40, plan_slots(50, 2, "all"), True, spawn_seeds(1, 2))
    table, means = predict_hidden(prepared, problem, scaling, chains, training.trial, training.cells)
    posterior = collect(prepared, model, problem, scaling, chains, "all")["posterior"]
    plain = type(prepared)(**{**vars(prepared), "factors": ()})
    without = predict_hidden(plain, problem, scaling, chains, training.trial, training.cells)[0]
    R, b = flatten(posterior, "R_e"), flatten(posterior, "rep_effects")
    sd = flatten(posterior, "sigma_rep") if kind == "random" else np.zeros((len(b), 2))
    names = posterior["replicate"].values.tolist()
    assert len(names) == (4 if whole else 6)
    seen = trial.to_frame()
    moved = 0
    for row, before in zip(table.itertuples(), without.itertuples(), strict=True):
        l = trial.traits.index(row.trait)
        plots = seen[(seen["line"] == row.line) & (seen["env"] == row.env) & seen[row.trait].notna()]
        assert len(plots) == row.n_obs
        labels = [f"{row.env}/{rep}" for rep in plots["rep"]]
        shift = sum((b[:, names.index(label), l] for label in labels if label in names), np.zeros(len(b))) / row.n_obs
        unknown = [label for label in labels if label not in names]
        extra = sum(unknown.count(label) ** 2 for label in set(unknown)) / row.n_obs**2 * sd[:, l] ** 2
        assert (len(unknown) > 0) == (whole and row.env == "E3")
        assert row.mean == pytest.approx(before.mean + shift.mean(), rel=1e-9)
        moved += abs(shift.mean()) > 0.5 * np.sqrt(R[:, l, l].mean())
        if row.line in posterior["line"].values and not unknown:
            u = sum(posterior[name].sel(line=row.line, trait=row.trait) for name in ("b1",))
            u = u + posterior["b2"].sel(line=row.line, trait=row.trait, env=row.env)
            u = (u + posterior["beta"].sel(trait=row.trait, env=row.env)).values.ravel()
            high = mixture_quantile(u + shift, R[:, l, l] / row.n_obs, 0.95)
            assert row.mean_upper == pytest.approx(high, abs=1e-4 * row.sd)
        if unknown:
            assert row.sd**2 == pytest.approx(before.sd**2 + extra.mean(), rel=1e-9)
            assert (row.sd > before.sd) == (kind == "random")
    assert moved > 5
    found = find_levels(prepared, training.trial)
    assert (found.level >= 0).sum() == sum(
        f"{env}/{rep}" in names for env, rep in zip(seen["env"], seen["rep"], strict=True)
    )
    # A mean over environments is that of its cells.
    one = means.iloc[0]
    cells = table[(table["line"] == one["line"]) & (table["trait"] == one["trait"])]
    other = means[means["trait"] == one["trait"]].iloc[1]
    assert len(cells) == one["n_envs"]
    assert np.isfinite([one["mean"], one["crps"], other["mean_upper"]]).all()


def test_scores_count_the_effects_of_replicates():
    """Replicates far apart, lines in one or the other: predicted with the effects of their own, and covered."""
    frame, sim, _ = make_data(lines=80, envs=2, traits=1, size=4.0, heritability=0.6)
    trial = trial_of(scatter(frame))
    models = {"auto": BMTME(), "none": BMTME(rep_effect="none"), "random": BMTME(rep_effect="random")}
    cv = bmtme.cross_validate(trial, sim.relationship, models, CV1(4, 0.2), draws=150, tune=150, chains=2, seed=4)
    scores = cv.scores.groupby("model")[["pearson", "rmse", "coverage_90"]].mean()
    for name in ("auto", "random"):
        assert scores.loc[name, "rmse"] < 0.75 * scores.loc["none", "rmse"]
        assert scores.loc[name, "pearson"] > scores.loc["none", "pearson"]
        assert 0.8 < scores.loc[name, "coverage_90"] < 0.98
    assert cv.run["data"]["rep_effects"]["auto"]["kind"] == "fixed"
    assert cv.run["data"]["rep_effects"]["none"] == {
        "asked": "none", "kind": "none", "replicates": 0, "columns": 0, "of": 2
    }  # fmt: skip


def test_records_of_a_cross_validation_have_their_replicates():
    """The other trait of a hidden plot tells of its residual once the effect of the replicate is taken off."""
    frame, sim, _ = make_data(lines=60, size=6.0, residual_correlation=0.9)
    trial, short = trial_of(scatter(frame)), {"draws": 100, "tune": 100, "chains": 2, "seed": 3}
    scheme = CV1(3, 0.3)

    class OneTrait:
        """T1 hidden where the scheme hides a line, so that its replicates are known from the others."""

        def __init__(self, of):
            self.of = of

        def masks(self, trial, seed=0):
            hide = [partition.hidden & np.array([True, False]) for partition in scheme.masks(trial, seed)]
            return [Partition(str(k), hidden, of=self.of) for k, hidden in enumerate(hide)]

    genetic, record = (
        bmtme.cross_validate(trial, sim.relationship, BMTME(), OneTrait(of), **short).scores["rmse"].mean()
        for of in ("genetic", "record")
    )
    assert record < 0.6 * genetic


def test_models_that_are_one():
    frame, *_ = make_data(lines=12)
    models = {"a": BMTME(), "b": BMTME(rep_effect="none")}
    assert find_twins(models, trial_of(frame.drop(columns="rep"))) == {"a": "a", "b": "a"}
    assert find_twins(models, trial_of(frame)) == {"a": "a", "b": "b"}


def test_a_fit_laid_for_no_model_says_so():
    frame, sim, _ = make_data(lines=12)
    prepared = prepare(trial_of(frame), sim.relationship)
    with pytest.raises(AssertionError, match="not laid out for effects of replicates"):
        build(prepared, BMTME(rep_effect="fixed"))
    laid = lay_model(prepared, BMTME(rep_effect="fixed"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        problem, _ = build(laid, BMTME(rep_effect="fixed"))
    assert problem.factors.active.all()
