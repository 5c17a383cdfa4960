"""Blocks through fits and cross-validations."""

from __future__ import annotations

import numpy as np
import pytest

import bmtme
from bmtme import BMTME, CV1, DataError, SingleTrait, Trial, UsageError
from bmtme.collection import collect
from bmtme.cv.training import take_training
from bmtme.engines.rotated.chains import run_chains
from bmtme.preparation import DecompositionCache, build, lay_model, prepare
from bmtme.report.replicates import list_block_facts
from bmtme.results.targets import predict_hidden
from bmtme.sampling import plan_slots, spawn_seeds
from tests.helpers.fits import assert_equal_draws
from tests.helpers.predictions import flatten, mixture_quantile

SHORT = {"draws": 40, "tune": 40, "chains": 2, "seed": 1}
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def make_data(lines=24, size=2.0, seed=2, **settings):
    """A frame of plots in crossed blocks and rows, to which effects of blocks are added, in residual SDs; these."""
    usual = {"envs": 2, "traits": 2, "reps": 2, "relationship": "markers", "heritability": 0.5}
    sim = bmtme.simulate(lines=lines, seed=seed, **usual | settings)
    rng = np.random.default_rng(seed)
    frame = sim.frame.copy()
    names = [name for name in frame if name.startswith("T")]
    for column, count in (("block", 6), ("row", 3)):
        frame[column] = rng.integers(1, count + 1, len(frame)).astype(str)
    sd = np.sqrt(np.diag(np.asarray(sim.truth["R_e"])))
    keys = frame["env"] + "/block/" + frame["block"]
    effects = {key: size * sd * rng.standard_normal(len(names)) for key in sorted(set(keys))}
    frame[names] += np.array([effects[key] for key in keys])
    return frame, sim, effects


def read(frame, blocks=("block", "row"), rep="rep"):
    traits = [name for name in frame if name.startswith("T")]
    return Trial.from_frame(frame, line="line", env="env", traits=traits, rep=rep, blocks=list(blocks))


def run(trial, relationship, model=None, **settings):
    return bmtme.fit(trial, relationship, model or BMTME(), **SHORT | settings)


@pytest.fixture(scope="module")
def fitted():
    frame, sim, effects = make_data(missing_traits=0.1, missing=0.1)
    return frame, sim, effects, run(read(frame), sim.relationship, draws=150, tune=100)


def test_what_a_fit_tells(fitted, tmp_path):
    """Effects of every block by name, near those that were added; their standard deviations in the summary."""
    frame, _, effects, fit = fitted
    posterior = fit.idata.posterior
    assert posterior["block_effects"].dims == ("chain", "draw", "block", "trait")
    assert posterior["sigma_b"].dims == ("chain", "draw", "factor", "trait")
    assert posterior["factor"].values.tolist() == ["block", "row"]
    keys = [f"{env}/{factor}/{label}" for factor in ("block", "row") for env in ("E1", "E2") for label in sorted(
        frame.loc[frame["env"] == env, factor].unique())]  # fmt: skip
    assert sorted(posterior["block"].values.tolist()) == sorted(keys)
    mean = posterior["block_effects"].mean(("chain", "draw"))
    for trait in (0, 1):
        wanted = [effects[key][trait] for key in keys if "/block/" in key]
        found = [float(mean.sel(block=key)[trait]) for key in keys if "/block/" in key]
        assert np.corrcoef(wanted, found)[0, 1] > 0.8
    summary = fit.summary()
    assert [name for name in summary.index if "block" in name or "row" in name] == [
        f"sigma_b[{factor}, {trait}]" for factor in ("block", "row") for trait in ("T1", "T2")
    ]
    row = summary.loc["sigma_b[block, T2]"]
    assert row["mean"] == pytest.approx(float(posterior["sigma_b"].sel(factor="block", trait="T2").mean()))
    assert row["mean"] > 3 * summary.loc["sigma_b[row, T2]", "mean"]
    names = fit._groups["observed_data"]["record_block"].values
    recorded = frame[frame[["T1", "T2"]].notna().any(axis=1)]
    assert names[:, 0].tolist() == (recorded["env"] + "/block/" + recorded["block"]).tolist()
    assert fit.run["data"]["blocks"]["row"] == {"blocks": 6, "columns": 4, "of": 4}
    fit.save(tmp_path / "run")
    loaded = bmtme.load(tmp_path / "run")
    assert loaded.summary().equals(summary)
    assert_equal_draws(fit, loaded, ["block_effects", "sigma_b"])


def test_predictions_are_for_an_average_block(fitted):
    """The mean of a line's genetic value has no effect of a block in it."""
    *_, fit = fitted
    p = fit.idata.posterior
    row = fit.predictions().iloc[0]
    total = p["beta"] + p["b1"] + p["b2"]
    value = total.sel(line=row["line"], env=row["env"], trait=row["trait"]).values
    assert row["mean"] == pytest.approx(value.mean(), rel=1e-6)


def test_replicates_as_blocks():
    """A column of replicates that is named as blocks: the draws of random replicates, to the last digit."""
    frame, sim, _ = make_data(lines=12, missing_traits=0.1)
    one = run(read(frame, blocks=()), sim.relationship, BMTME(rep_effect="random"), draws=12, tune=8)
    two = run(read(frame, blocks=["rep"]), sim.relationship, BMTME(), draws=12, tune=8)
    assert_equal_draws_of(one, two, ("beta", "Sigma_t", "R_e", "b1", "b2"))
    p, q = one.idata.posterior, two.idata.posterior
    assert np.array_equal(p["sigma_rep"].values, q["sigma_b"].sel(factor="rep").values)
    assert np.array_equal(p["rep_effects"].values, q["block_effects"].values)
    assert "rep_effects" not in q
    assert two.run["data"]["rep_effects"]["kind"] == "none"
    with pytest.raises(UsageError, match="rep_effect='random' does not go with blocks that are the replicates"):
        run(read(frame, blocks=["rep"]), sim.relationship, BMTME(rep_effect="random"))


def assert_equal_draws_of(one, two, names):
    for name in names:
        a, b = (fit.idata.posterior[name].values for fit in (one, two))
        assert np.array_equal(a, b), name


def test_blocks_with_no_two_levels_anywhere():
    """In a training part that has one block in each environment they change nothing but draws of their own SD."""
    frame, sim, _ = make_data(lines=12)
    alone = frame.assign(block=frame["env"])
    laid = {}
    for blocks in ((), ("block",)):
        prepared = lay_model(prepare(read(alone, blocks), sim.relationship), BMTME())
        laid[blocks] = build(prepared, BMTME())[0]
    one, two = laid.values()
    assert len(two.factors.random) == len(one.factors.random) + 1
    for name in ("plots", "share", "total", "around", "first", "factor"):
        assert np.array_equal(getattr(one.factors, name), getattr(two.factors, name))
    with pytest.raises(DataError, match="'block' has one block in every environment"):
        run(read(alone, ["block"]), sim.relationship)


@pytest.mark.parametrize("sampler", ["gibbs", "stepwise"])
def test_one_trait_at_a_time_and_other_samplers(sampler):
    """T2 in one block of E2 only: it has no effect there, and its standard deviation is that of E1."""
    frame, sim, _ = make_data(lines=12)
    frame.loc[(frame["env"] == "E2") & (frame["block"] != "1"), "T2"] = np.nan
    trial = read(frame, ["block"])
    fit = run(trial, sim.relationship, SingleTrait(BMTME()), draws=8, tune=4, sampler=sampler)
    p = fit.idata.posterior
    assert p["sigma_b"].dims == ("chain", "draw", "factor", "trait")
    assert (p["block_effects"].sel(block="E2/block/1", trait="T2") == 0).all()
    assert (p["block_effects"].sel(block="E2/block/1", trait="T1") != 0).all()
    assert fit.run["data"]["blocks"]["T2"]["block"]["columns"] == 1
    joint = run(trial, sim.relationship, draws=8, tune=4, sampler=sampler)
    assert (joint.idata.posterior["block_effects"].sel(block="E2/block/1", trait="T2") == 0).all()
    assert {"sigma_b[block, T1]", "sigma_b[block, T2]"} <= set(fit.summary().index) & set(joint.summary().index)


@pytest.mark.parametrize("whole", [False, True])
def test_hidden_plots_contain_the_effects_of_their_blocks(whole):
    """By hand: means of these over the hidden plots; of blocks hidden as a whole, their variance."""
    frame, sim, _ = make_data(lines=20, size=4.0, missing_traits=0.05)
    trial = read(frame)
    partition = CV1(1, 0.3).masks(trial, 2)[0]
    hidden = partition.hidden.copy()  # (lines, environments)
    if whole:
        n = np.array(trial.blocks["block"]) == "2"
        hidden[trial.line_index[n], trial.env_index[n]] = True
    training = take_training(trial, sim.relationship, type(partition)("p", hidden), DecompositionCache(), None)
    model = BMTME()
    prepared = training.prepare(model)
    problem, scaling = build(prepared, model)
    chains = run_chains(problem, "gibbs", 20, plan_slots(40, 2, "all"), True, spawn_seeds(1, 2))
    table, means = predict_hidden(prepared, problem, scaling, chains, training.trial, training.cells)
    posterior = collect(prepared, model, problem, scaling, chains, "all")["posterior"]
    plain = type(prepared)(**{**vars(prepared), "factors": ()})
    without = predict_hidden(plain, problem, scaling, chains, training.trial, training.cells)[0]
    R, reps, b = (flatten(posterior, name) for name in ("R_e", "rep_effects", "block_effects"))
    sd = flatten(posterior, "sigma_b")
    names = posterior["replicate"].values.tolist(), posterior["block"].values.tolist()
    strange = 0
    for row, before in zip(table.itertuples(), without.itertuples(), strict=True):
        l = trial.traits.index(row.trait)
        plots = frame[(frame["line"] == row.line) & (frame["env"] == row.env) & frame[row.trait].notna()]
        shift, extra = np.zeros(len(b)), np.zeros(len(b))
        for plot in plots.itertuples():
            shift += reps[:, names[0].index(f"{row.env}/{plot.rep}"), l] / row.n_obs
        for f, factor in enumerate(("block", "row")):
            labels = [f"{row.env}/{factor}/{label}" for label in plots[factor]]
            for label in labels:
                shift += b[:, names[1].index(label), l] / row.n_obs if label in names[1] else 0.0
            unknown = [label for label in labels if label not in names[1]]
            extra += sum(unknown.count(label) ** 2 for label in set(unknown)) / row.n_obs**2 * sd[:, f, l] ** 2
            strange += len(unknown)
        assert row.mean == pytest.approx(before.mean + shift.mean(), rel=1e-9)
        if row.line not in posterior["line"].values:
            continue
        assert row.sd**2 == pytest.approx(np.var(fit_cell(posterior, row) + shift, ddof=1) + extra.mean(), rel=1e-6)
        high = mixture_quantile(fit_cell(posterior, row) + shift, extra + R[:, l, l] / row.n_obs, 0.95)
        assert row.mean_upper == pytest.approx(high, abs=1e-4 * row.sd)
    assert (strange > 0) == whole
    assert np.isfinite(means["crps"]).all()


def fit_cell(posterior, row):
    """Draws of beta + b1 + b2 of a cell of a line with a record."""
    total = posterior["b1"] + posterior["b2"] + posterior["beta"]
    return total.sel(line=row.line, trait=row.trait, env=row.env).transpose("chain", "draw").values.ravel()


def test_scores_count_the_effects_of_blocks():
    """Blocks far apart: predicted with the effects of their own, and covered."""
    frame, sim, _ = make_data(lines=60, traits=1, reps=1, size=3.0, heritability=0.6)
    cv = {
        blocks: bmtme.cross_validate(
            read(frame, blocks, None), sim.relationship, BMTME(), CV1(3, 0.2), draws=150, tune=150, chains=2, seed=4
        )
        for blocks in ((), ("block",))
    }
    without, with_blocks = (each.scores[["pearson", "rmse", "coverage_90"]].mean() for each in cv.values())
    assert with_blocks["rmse"] < 0.75 * without["rmse"]
    assert with_blocks["pearson"] > without["pearson"]
    assert 0.8 < with_blocks["coverage_90"] < 0.99
    assert cv["block",].run["data"]["blocks"] == {"block": {"blocks": 12, "columns": 2, "of": 2}}
    assert cv["block",].run["data"]["trial_digest"] == cv[()].run["data"]["trial_digest"]


def test_whole_environments_hidden():
    """Their blocks have no estimate, and their variance is counted; slopes of covariates are those of the others."""
    frame, sim, _ = make_data(lines=12, envs=3, reps=1)
    frame["stand"] = np.random.default_rng(1).normal(50, 5, len(frame))
    columns = {"line": "line", "env": "env", "traits": ["T1", "T2"]}
    trial = Trial.from_frame(frame, **columns, blocks=["block"], covariates=["stand"])
    short = {"draws": 6, "tune": 4, "chains": 2, "sampler": "gibbs"}
    plain = Trial.from_frame(frame, **columns)
    cv, without = (
        bmtme.cross_validate(each, sim.relationship, BMTME(), bmtme.NewEnvironments(), **short)
        for each in (trial, plain)
    )
    assert len(cv.predictions) == len(without.predictions) == 3 * 12 * 2
    assert np.isfinite(cv.predictions[["mean", "mean_lower", "crps"]].to_numpy()).all()


def test_a_factor_may_be_called_blocks():
    """Its name is no sign of how facts of several traits nest."""
    one = {"blocks": {"blocks": 3, "columns": 2, "of": 2}}
    text = "blocks: random effects of 3 blocks, in each of 2 environment x trait columns"
    assert list_block_facts(one) == list_block_facts({"": one}) == [("blocks", text)]
    few = {"blocks": {"blocks": 3, "columns": 1, "of": 2}}
    lines = [line for _, line in list_block_facts({"T1": one, "T2": few})]
    assert lines == [f"T1: {text}", f"T2: {text.replace('each of 2', '1 of 2')}"]


def test_replicates_that_are_the_blocks_have_one_effect():
    """By default it is that of the blocks; asked for, the effect of the replicates is refused."""
    frame, sim, _ = make_data(lines=12)
    frame["field"] = np.where((frame["env"] == "E1") & (frame["rep"] == "1"), "a", "b")
    frame.loc[frame["env"] == "E2", "field"] = frame.loc[frame["env"] == "E2", "row"]
    prepared = prepare(read(frame, ["field"]), sim.relationship)
    reps, blocks = lay_model(prepared, BMTME()).factors
    assert [prepared.trial.envs[i] for i in reps.env] == ["E2", "E2"]
    assert reps.labels == ("1", "2")
    assert blocks.labels == ("a", "b", "1", "2", "3")
    assert (reps.level >= 0).sum() == (frame["env"] == "E2").sum()
    with pytest.raises(UsageError, match="rep_effect='fixed': the replicates of environment 'E1' are its blocks"):
        lay_model(prepared, BMTME(rep_effect="fixed"))
