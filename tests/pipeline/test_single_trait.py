"""One trait at a time, in one fit: the numbers of each trait's own fit, and nothing about two traits together."""

import warnings

import numpy as np
import pandas as pd
import pytest

import bmtme.pipeline
from bmtme import (
    BMTME,
    DataError,
    EnvironmentMeans,
    Free,
    HalfT,
    MainAndInteraction,
    NumericalError,
    SingleTrait,
    UsageError,
    fit,
    load,
    simulate,
)
from bmtme.cv.partitions import Partition
from bmtme.cv.tasks import Job
from bmtme.cv.training import take_training
from bmtme.engines.rotated.chains import Chain
from bmtme.preparation import decompose_lines
from bmtme.report.tables import describe_fit
from bmtme.results.convergence import describe_convergence
from bmtme.results.posterior import import_arviz
from bmtme.sampling import Sampling, spawn_seeds
from bmtme.trait_sets import ALONE
from tests.helpers.trials import trial_of

pytestmark = pytest.mark.filterwarnings("ignore:a short run")
SHORT = {"draws": 40, "tune": 30, "chains": 2, "seed": 5}
TRAITS = ["T1", "T2", "T3"]
#: With T2 not recorded in E1, but the last, for which it is.
MODELS = {
    "paper": BMTME("diagonal", prior_t=HalfT(scale={"T1": 1.0, "T2": 2.0, "T3": 3.0})),
    "main": BMTME(genetic=MainAndInteraction(), residual="by_env"),
    "free": BMTME(genetic=Free(), residual="by_env"),
}


@pytest.fixture(scope="module")
def frame():
    """Rows out of order; line L05 has no T3, L24 nothing, environment E1 no T2."""
    sim = simulate(lines=24, envs=3, traits=3, reps=2, missing_traits=0.1, relationship="markers", seed=4)
    frame = sim.frame[sim.frame["line"] != "L24"].sample(frac=1.0, random_state=1)
    frame.loc[frame["line"] == "L05", "T3"] = np.nan
    return frame, sim.relationship


def take_frame(frame, label):
    """The frame for a model, where the free one needs records in every column."""
    gappy = frame.copy()
    if label != "free":
        gappy.loc[gappy["env"] == "E1", "T2"] = np.nan
    return gappy


@pytest.fixture(scope="module", params=MODELS)
def fitted(frame, request):
    rows, relationship = take_frame(frame[0], request.param), frame[1]
    model = MODELS[request.param]
    return rows, relationship, model, fit(trial_of(rows), relationship, SingleTrait(model), keep_effects="all", **SHORT)


def fit_alone(rows, relationship, model, trait, monkeypatch, **settings):
    """The trait's own fit, as if its table had no other, with the streams that it has among the others."""
    key = ALONE, TRAITS.index(trait)
    monkeypatch.setattr(bmtme.trait_sets, "spawn_seeds", lambda seed, chains, *_: spawn_seeds(seed, chains, *key))
    model = SingleTrait(model).take_trait(trait)
    return fit(trial_of(rows, [trait]), relationship, model, **SHORT | {"keep_effects": "all"} | settings)


def rename(names, trait):
    """Names of the summary of a trait's own fit among those of the others."""
    return [name if trait in name else f"{name[:-1]}, {trait}]" for name in names]


# --- the same numbers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trait", TRAITS)
def test_each_trait_has_the_numbers_of_its_own_fit(fitted, trait, monkeypatch):
    """To the last digit: predictions, draws, and the summary with its notes."""
    rows, relationship, model, joined = fitted
    own = fit_alone(rows, relationship, model, trait, monkeypatch)
    predicted = joined.predictions().query("trait == @trait").reset_index(drop=True)
    pd.testing.assert_frame_equal(predicted, own.predictions(), check_exact=True)
    table = own.summary()
    table.index = pd.Index(rename(table.index, trait), name="parameter")
    mine = joined.summary().loc[lambda found: [trait in name for name in found.index]]
    pd.testing.assert_frame_equal(mine, table, check_exact=True)
    p, q = joined.idata.posterior.sel(trait=trait), own.idata.posterior
    assert set(p.data_vars) == set(q.data_vars)
    for name in q.data_vars:
        theirs = q[name].squeeze([dim for dim in ("trait", "trait_bis") if dim in q[name].dims], drop=True)
        if name == "C":
            recorded = [f"{env} x {trait}" in q["cell"].values for env in p["env"].values]
            mine = p[name].values[..., recorded, :][..., recorded]
        else:
            # Lines and replicates of other traits too are in the joined one.
            mine = p[name].sel({dim: q[dim].values for dim in ("line", "replicate") if dim in q[name].dims}).values
        np.testing.assert_array_equal(mine, theirs.values, err_msg=name)
    acceptance = joined.idata.sample_stats["acceptance"].sel(trait=trait).values
    np.testing.assert_array_equal(acceptance, own.idata.sample_stats["acceptance"].values)
    assert joined.run["facts"]["traits"][trait] == own.run["facts"]
    assert joined.run["sampling"]["traits"][trait] == own.run["sampling"]


def test_a_cross_validation_predicts_the_same(frame):
    """What is hidden of a trait, by its training part with the streams of a fit to the rest.

    Without effects of replicates, which what is observed contains and a fit predicts none of.
    """
    rows, relationship = frame
    trial, model = trial_of(rows), BMTME(residual="by_env", rep_effect="none")
    cells = np.zeros((len(trial.lines), 3, 3), bool)
    cells[:6, 0] = cells[4:9, 2] = True
    partition = Partition("1", cells)
    joined = fit(trial.hide(partition.record_mask(trial)), relationship, SingleTrait(model), **SHORT).predictions()
    sampling = Sampling.checked(**SHORT, warn=False)
    for l, trait in enumerate(TRAITS):
        training = take_training(trial, relationship, partition, decompose_lines, l)
        own = SingleTrait(model).take_trait(trait)
        job = Job(own, training, sampling, spawn_seeds(SHORT["seed"], 2, ALONE, l), (0,))
        for c in range(2):
            job.run_chain(c, lambda sweeps: None)
        hidden = job.outcome.predictions
        both = hidden.merge(joined, on=["line", "env", "trait"], suffixes=("", "_fit"))
        assert len(both) == len(hidden) > 5
        for column in ("mean", "sd", "lower", "upper"):
            # Products of other sizes are rounded otherwise in their last digit.
            np.testing.assert_allclose(both[column], both[f"{column}_fit"], rtol=1e-13, atol=1e-13)


def test_cores_and_other_traits_change_nothing(frame):
    rows, relationship = frame
    one, two = (
        fit(trial_of(rows), relationship, SingleTrait(MODELS["main"]), cores=cores, **SHORT) for cores in (1, 2)
    )
    pd.testing.assert_frame_equal(one.predictions(), two.predictions(), check_exact=True)
    pd.testing.assert_frame_equal(one.summary(), two.summary(), check_exact=True)
    other = rows.assign(T2=np.random.default_rng(1).normal(50.0, 9.0, len(rows)))
    again = fit(trial_of(other), relationship, SingleTrait(MODELS["main"]), **SHORT)
    changed = (one.predictions()["mean"] != again.predictions()["mean"]).groupby(one.predictions()["trait"]).any()
    assert changed.to_dict() == {"T1": False, "T2": True, "T3": False}


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_traits_have_streams_of_their_own(frame):
    """The same values twice: draws that went together would make a correlation where there is no estimate of one."""
    rows, relationship = frame
    twice = fit(
        trial_of(rows[["line", "env", "rep", "T1"]].assign(T2=rows["T1"])), relationship, SingleTrait(), **SHORT
    )
    draws = twice.idata.posterior["Sigma_t"].values
    assert not (draws[..., 0] == draws[..., 1]).any()


# --- what it says ---------------------------------------------------------------------------------------------------


def test_nothing_is_said_of_two_traits(fitted):
    *_, joined = fitted
    posterior = joined.idata.posterior
    assert "trait_bis" not in posterior.sizes
    assert all(array.dims.count("trait") == 1 for array in posterior.data_vars.values())
    for name in joined.summary().index:
        assert sum(trait in name for trait in TRAITS) == 1, name
    assert joined.summary().index.is_unique
    assert not any("correlation of the traits" in str(array.attrs) for array in posterior.data_vars.values())


def test_rows_are_in_the_order_of_the_register(fitted):
    """Quantity by quantity, traits beside each other as in a fit of all."""
    rows, relationship, model, joined = fitted
    names = list(joined.summary().index)
    whole = list(fit(trial_of(rows), relationship, BMTME("diagonal"), **SHORT | {"draws": 4}).summary().index)
    kinds = [name.split("[")[0] for name in names]
    assert len({kind for kind, before in zip(kinds, ["", *kinds], strict=False) if kind != before}) == len(set(kinds))
    shared = ("beta", "heritability", "Sigma_t")
    assert [name for name in whole if name.split("[")[0] == "beta"] == [n for n in names if n.startswith("beta")]
    if model.structure == "diagonal":
        assert [n for n in whole if n.split("[")[0] in shared] == [n for n in names if n.split("[")[0] in shared]


def test_arviz_judges_every_number(fitted):
    """R-hat is missing for zeros, and for effects of lines that a trait has no record of, and for nothing else."""
    *_, joined = fitted
    arviz, posterior = import_arviz(), joined.idata.posterior
    r_hat = arviz.rhat(joined.idata)
    r_hat = r_hat["posterior"] if "posterior" in getattr(r_hat, "children", {}) else r_hat
    for name, array in posterior.data_vars.items():
        unknown = np.isnan(r_hat[name])
        if "line" in array.dims:
            unknown = unknown.sel(line=[line for line in posterior["line"].values if line != "L05"])
            assert np.isnan(array.sel(line="L05", trait="T3")).all()
        assert not np.isnan(array.where(array["trait"] != "T3", 0.0)).any(), name
        assert not (unknown & (array.std(("chain", "draw")) > 0)).any(), name
    assert len(arviz.summary(joined.idata, var_names=["beta", "Sigma_t" if "Sigma_t" in posterior else "C"])) > 9
    assert joined.idata.sample_stats["diverging"].dims == ("chain", "draw")


def test_notes_are_by_trait(frame):
    """Of the trait that was not recorded, and not of the others."""
    rows, relationship = take_frame(frame[0], "main"), frame[1]
    notes = fit(trial_of(rows), relationship, SingleTrait(MODELS["main"]), **SHORT).summary()["note"]
    assert "prior only: nothing was recorded" in notes["k[E1, T2]"]
    assert "no record" in notes["beta[E1, T2]"]
    for name in ("k[E1, T1]", "beta[E1, T3]", "R_e[E1, T1, T1]", "k[E2, T2]"):
        assert "record" not in notes[name]


def test_report(fitted, no_windows):
    rows, *_, joined = fitted
    said = describe_fit(joined.summary(), joined.run, trial_of(rows))
    assert "one trait at a time" in said
    assert "Heritability of a plot" in said
    assert "orrelation:" not in said
    assert ("T2 in 1 of 3 environments: known only through the other environments" in said) == ("free" not in said)
    assert "one trait at a time; 23 lines x 3 environments x 3 traits" in str(joined)
    assert len(joined.plot_chains().axes) == 8


def test_chains_that_went_wrong_are_told_by_trait(fitted):
    *_, joined = fitted
    sampling = {trait: {"divergences": [0, 0], "acceptance": None, "modes": [], "corners": []} for trait in TRAITS}
    sampling["T2"] |= {"divergences": [30, 0]}
    sampling["T3"] |= {"corners": [{"env": 1, "trait": 0, "low": 0.4, "high": 0.5}]}
    run = joined.run | {"sampling": {"traits": sampling}}
    said = describe_convergence(joined.summary(), run, ["E1", "E2", "E3"], TRAITS)
    assert "T2: Do NOT lean on these numbers: 30 of 80 draws diverged" in said
    assert "the heritability of T3 in E2 is below" in said
    assert "T1: " not in said


# --- files and what is kept -----------------------------------------------------------------------------------------


def test_saved_and_loaded(fitted, tmp_path):
    *_, joined = fitted
    joined.save(tmp_path / "run")
    again = load(tmp_path / "run")
    pd.testing.assert_frame_equal(again.summary(), joined.summary(), check_exact=True)
    pd.testing.assert_frame_equal(again.predictions(), joined.predictions(), check_exact=True)
    assert (repr(again), str(again)) == (repr(joined), str(joined))
    for name, array in joined.idata.posterior.data_vars.items():
        np.testing.assert_array_equal(again.idata.posterior[name].values, array.values)


def test_effects_kept_or_not(frame, monkeypatch):
    rows, relationship = frame
    trial, model = trial_of(rows), SingleTrait(BMTME())
    thin, none = (fit(trial, relationship, model, keep_effects=keep, **SHORT) for keep in ("thin", "none"))
    effects = thin.idata.effects
    assert effects["b1"].dims == ("effect_draw", "line", "trait")
    assert effects["b1_mean"].dims == ("line", "trait")
    assert effects["effect_chain"].dims == ("effect_draw",)
    assert np.argwhere(np.isnan(effects["b1_mean"].values)).tolist() == [
        [thin.idata.effects["line"].values.tolist().index("L05"), 2]
    ]
    own = fit_alone(rows, relationship, BMTME(), "T2", monkeypatch, keep_effects="thin").idata.effects
    np.testing.assert_array_equal(effects["b2_sd"].sel(trait="T2").values, own["b2_sd"].sel(trait="T2").values)
    pd.testing.assert_frame_equal(thin.summary(), none.summary(), check_exact=True)
    with pytest.raises(UsageError, match="kept no effects"):
        none.predictions()


def test_data_and_constants(fitted):
    rows, _, _, joined = fitted
    trial, constant = trial_of(rows), joined.idata.constant_data
    np.testing.assert_array_equal(joined.idata.observed_data["Y"].values, trial.values[~np.isnan(trial.values).all(1)])
    for l, trait in enumerate(TRAITS):
        np.testing.assert_allclose(float(constant["trait_mean"].sel(trait=trait)), np.nanmean(trial.values[:, l]))
        number = int((~np.isnan(constant["relationship_eigenvalues"].sel(trait=trait))).sum())
        assert number == joined.run["data"]["relationship_rank"][trait]
    assert joined.run["data"]["lines"] == 23
    assert joined.run["settings"]["model"]["baseline"] == "single"


# --- what is refused ------------------------------------------------------------------------------------------------


def test_refusals_name_the_trait(frame):
    rows, relationship = take_frame(frame[0], "main"), frame[1]
    with pytest.raises(UsageError, match=r"^trait 'T2': the genetic structure free cannot serve .*\('E1 x T2'\)"):
        fit(trial_of(rows), relationship, SingleTrait(MODELS["free"]), **SHORT)
    with pytest.raises(DataError, match=r"^trait 'T2': means='flat' cannot serve"):
        fit(trial_of(rows), relationship, SingleTrait(BMTME(means="flat")), **SHORT)
    rows.loc[rows["line"] != "L07", "T3"] = np.nan
    with pytest.raises(DataError, match=r"^trait 'T3': only 1 line has records"):
        fit(trial_of(rows), relationship, SingleTrait(), **SHORT)
    with pytest.raises(UsageError, match="nothing in it to be fitted"):
        fit(trial_of(rows), relationship, EnvironmentMeans())
    with pytest.raises(UsageError, match="sampler='gibbs' draws the covariances of the paper's model only"):
        fit(trial_of(rows), relationship, SingleTrait(MODELS["main"]), sampler="gibbs", **SHORT)


def test_a_chain_that_breaks_down_names_its_trait(frame, monkeypatch):
    advance, begun = Chain.advance, []

    def fail(chain, *rest):
        begun.append(chain)
        if len(begun) == 4:  # two of T1, and two of T2
            raise NumericalError("sweep 3: R_e is not positive definite.")
        advance(chain, *rest)

    monkeypatch.setattr(Chain, "advance", fail)
    with pytest.raises(NumericalError, match=r"^trait 'T2': sweep 3: R_e is not"):
        fit(trial_of(frame[0]), frame[1], SingleTrait(), cores=1, **SHORT)


def test_traits_may_be_alike(frame):
    """Nothing is said against traits that are nearly copies: each is fitted by itself."""
    rows, relationship = frame
    near = rows.assign(T2=rows["T1"] + np.random.default_rng(1).normal(0.0, 0.05, len(rows)))
    for model, warned in ((SingleTrait(), False), (BMTME(), True)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = fit(trial_of(near), relationship, model, **SHORT)
        assert any("Traits that are nearly one" in str(warning.message) for warning in caught) == warned
        assert found.summary()["note"].str.contains("nearly copies").any() == warned


def test_lines_are_dropped_once(frame):
    rows, relationship = frame
    kept = [line for line in relationship.lines if line != "L03"]
    with pytest.warns(UserWarning, match="not in the relationship: 1 line of the trial, ") as caught:
        found = fit(trial_of(rows), relationship.subset(kept), SingleTrait(), unrelated="drop", **SHORT)
    assert sum("not in the relationship" in str(warning.message) for warning in caught) == 1
    assert found.run["data"]["lines_dropped"] == ["L03"]
