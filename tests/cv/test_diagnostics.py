"""Cross-validation says whether its chains agree, which models are one, and which model is better beyond doubt."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest

import bmtme.cv.tasks
from bmtme import BMTME, CV1, HalfT, InverseWishart, cross_validate
from bmtme.collection import collect, find_facts, list_labels
from bmtme.cv.diagnostics import (
    Diagnosis,
    describe_diagnoses,
    diagnose_chains,
    list_parameters,
    rank_r_hat,
    summarise_diagnoses,
)
from bmtme.cv.models import find_twins
from bmtme.engines.rotated.chains import run_chains
from bmtme.engines.rotated.modes import Mode
from bmtme.preparation import build, prepare
from bmtme.report.tables import describe_cv
from bmtme.results.quantities import R_E, SIGMA_E, SIGMA_T, choose_stored
from bmtme.results.rows import derive_rows, list_values
from bmtme.results.summary import diagnose, summarise_posterior
from bmtme.sampling import plan_slots, spawn_seeds
from bmtme.structures.part import Start
from bmtme.structures.proportional import PAPER_PAIR
from tests.helpers.trials import make_trial

SHORT = {"draws": 40, "tune": 20, "chains": 2, "seed": 5}
quiet = pytest.mark.filterwarnings("ignore::UserWarning")


# --- chains -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chains, draws", [(2, 4), (2, 101), (4, 500), (3, 57)])
def test_r_hat_is_that_of_arviz(chains, draws):
    """White noise, slow chains, chains apart in place or in spread, repeated values, heavy tails."""
    rng = np.random.default_rng(draws)
    white = rng.normal(size=(6, chains, draws))
    apart = np.arange(chains)[:, None]
    white[1] = np.cumsum(white[1], axis=-1)
    white[2] += apart
    white[3] *= 1.0 + 3.0 * apart
    white[4] = np.round(white[4], 1)
    white[5] = np.exp(3.0 * white[5])
    np.testing.assert_allclose(rank_r_hat(white), diagnose(white)[2], rtol=1e-10)


def test_r_hat_where_there_is_none():
    rng = np.random.default_rng(1)
    assert np.isnan(rank_r_hat(rng.normal(size=(3, 1, 50)))).all()
    assert np.isnan(rank_r_hat(rng.normal(size=(3, 2, 3)))).all()
    draws = rng.normal(size=(2, 2, 50))
    draws[1] = 4.0
    assert np.isnan(rank_r_hat(draws)).tolist() == [False, True]


@pytest.mark.parametrize("structure", ["unstructured", "diagonal", "standard"])
def test_fits_are_diagnosed_as_by_their_summaries(structure):
    """The largest R-hat and its parameter, of three chains and three traits; divergent draws and acceptance."""
    trial, relationship = make_trial(traits=3, missing_traits=0)
    prepared = prepare(trial, relationship)
    problem, scaling = build(prepared, BMTME(structure))
    chains = run_chains(problem, "collapsed", 30, plan_slots(61, 3, "thin"), True, spawn_seeds(1, 3))
    chains = [chain._replace(diverging=np.arange(61) < k) for k, chain in enumerate(chains)]
    stored, labels = choose_stored(problem, PAPER_PAIR), list_labels(prepared)
    found = diagnose_chains(chains, stored, labels)
    groups = collect(prepared, BMTME(structure), problem, scaling, chains, "none")
    facts = find_facts(prepared, BMTME(structure), problem, scaling, groups["posterior"])
    table = summarise_posterior(groups["posterior"], facts)
    r_hat = table["r_hat"][~table.index.str.startswith(("beta", "Sigma_t", "R_e"))]
    variances = [f"{name}[{trait}, {trait}]" for name in ("Sigma_t", "R_e") for trait in trial.traits]
    r_hat = pd.concat([r_hat, table.loc[variances, "r_hat"]])
    # In other units, rounding ranks a few draws at the same distance from the median otherwise.
    np.testing.assert_allclose(found.r_hat, r_hat.max(), rtol=5e-3)
    np.testing.assert_allclose(found.r_hat, r_hat[found.parameter], rtol=5e-3)
    drawn = {row.name: row.draws for row in derive_rows(*list_values(groups["posterior"]), facts["spread"])}
    for name, values in list_parameters(chains, stored, labels):
        if name not in drawn:
            assert not values.any()  # correlations that the model sets to zero
        else:
            ratio = drawn[name] / values
            if name.startswith("heritability"):  # there of the lines' sample variance: the odds have another factor
                ratio = ratio * (1.0 - values) / (1.0 - drawn[name])
            known = name.startswith(("Sigma_t", "R_e", "heritability"))
            np.testing.assert_allclose(ratio, ratio[0, 0] if known else 1.0, rtol=1e-9)
    assert (found.divergent, found.draws) == (0 + 1 + 2, 183)
    assert found.acceptance == min(chain.acceptance.mean() for chain in chains)  # a chain that is stuck shows


def test_chains_that_disagree_are_told():
    good = Diagnosis(1.004, "R_e[T1, T1]", 0, 4000, 0.85)
    found = {"un": {str(k): good for k in range(1, 11)}, "bd": {"1": good}}
    assert describe_diagnoses(found) == []
    found["un"] |= {
        "3": Diagnosis(1.31, "heritability[E1, T1]", 0, 4000, 0.85),
        "7": Diagnosis(1.12, "R_e[T1, T1]", 950, 4000, 0.31),
        "9": Diagnosis(1.8, "R_e[T1, T1]", 0, 4000, 0.85, explanations=2),
        "8": Diagnosis(np.nan, "", 40, 4000, np.nan),  # at the limit
    }
    stuck, apart, divergent, rejected = describe_diagnoses(found)
    assert "model 'un' on 1 of 10 partitions (such as '9')" in stuck
    assert "longer chains do not help" in stuck
    assert "model 'un' on 2 of 10 partitions (R-hat of heritability[E1, T1] up to 1.31, partition '3')" in apart
    assert "use more tune and draws" in apart
    assert "model 'un' on 1 of 10 partitions (up to 950 of 4,000 draws, partition '7')" in divergent
    assert "model 'un' on 1 of 10 partitions (down to 0.31, partition '7')" in rejected
    assert "'bd'" not in apart + divergent + rejected
    records = {model: {k: d.describe() for k, d in entries.items()} for model, entries in found.items()}
    text = summarise_diagnoses(records)
    assert text == ("largest R-hat 1.800 (R_e[T1, T1], un on 9); 990 divergent draws, acceptance 0.31 to 0.85")
    assert summarise_diagnoses({}) == summarise_diagnoses({"un": {}}) == ""
    assert summarise_diagnoses({"un": {"1": Diagnosis(np.nan, "", 0, 10, np.nan).describe()}}) == ""


def test_chains_in_different_modes_are_diagnosed():
    """Two chains, each in a mode of its own; short ones have not had the time to leave where they started."""

    class Chain:
        def __init__(self, size, draws):
            self.Sigma_t = size * np.exp(0.01 * np.random.default_rng(1).standard_normal((draws, 1, 1)))
            self.s2_E, self.R_e = np.full((draws, 1), 0.0), np.ones((draws, 1, 1))
            self.acceptance, self.diverging = np.full(draws, 0.9), np.zeros(draws, bool)

    modes = [Mode(Start(np.full((1, 1), size), np.zeros(1), np.ones((1, 1))), 0.0, 0.5) for size in (1.0, 0.1)]
    for draws, sizes, found in ((500, (1.0, 0.1), 2), (500, (1.0, 1.0), 1), (100, (1.0, 0.1), 1)):
        chains = [Chain(size, draws) for size in sizes]
        assert (
            diagnose_chains(chains, [SIGMA_T, R_E, SIGMA_E], {"env": ["E"], "trait": ["T"]}, modes).explanations
            == found
        )


@quiet
def test_diagnostics_are_kept_and_printed(tmp_path, monkeypatch):
    trial, relationship = make_trial(traits=3, missing_traits=0)
    models = {"un": BMTME(), "st": BMTME("standard")}
    real = bmtme.cv.tasks.diagnose_chains
    calls = []

    def listen(*arguments):
        calls.append(real(*arguments))
        return calls[-1]

    monkeypatch.setattr(bmtme.cv.tasks, "diagnose_chains", listen)
    with pytest.warns(UserWarning, match="the chains do NOT agree: model 'un' on"):
        cv = cross_validate(trial, relationship, models, CV1(2), **SHORT)
    assert any("do NOT agree" in text for text in cv.warnings)
    cv.save(tmp_path / "run")
    record = json.loads((tmp_path / "run" / "run.json").read_text())["diagnostics"]
    assert [list(entries) for entries in record.values()] == [["1", "2"]] * 2
    kept = [entry for entries in record.values() for entry in entries.values()]
    assert len(calls) == 4
    assert all(diagnosis.describe() in kept for diagnosis in calls)
    text = describe_cv(cv.summary(), cv.run, trial)
    assert f"largest R-hat {max(entry['r_hat'] for entry in kept):.3f}" in " ".join(text.split())
    gibbs = cross_validate(trial, relationship, BMTME(), CV1(1), sampler="gibbs", **SHORT | {"chains": 1})
    assert gibbs.run["diagnostics"]["unstructured"]["1"] == {
        "r_hat": None, "parameter": "", "divergent": 0, "acceptance": None, "explanations": 1,
    }  # fmt: skip


def test_chains_that_agree_are_silent():
    trial, relationship = make_trial(lines=40, traits=3, missing_traits=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        cv = cross_validate(trial, relationship, BMTME(), CV1(1), draws=2000, tune=500, chains=2, seed=1)
    assert cv.warnings == []


# --- models that are one ------------------------------------------------------------------------------------------


@quiet
def test_with_one_trait_free_and_diagonal_are_one_model():
    trial, relationship = make_trial(traits=1, missing_traits=0)
    models = {"un": BMTME(), "bd": BMTME("diagonal"), "st": BMTME("standard")}
    with pytest.warns(UserWarning, match="with 'T1' as the only trait, the models 'un', 'bd' are one model: it was"):
        cv = cross_validate(trial, relationship, models, CV1(2), **SHORT)
    tables = [cv.predictions[cv.predictions["model"] == name].drop(columns="model") for name in models]
    one, two, other = (table.reset_index(drop=True) for table in tables)
    pd.testing.assert_frame_equal(one, two, check_exact=True)
    assert (one["mean"] != other["mean"]).all()
    assert cv.scores["model"].value_counts().to_dict() == {"un": 6, "bd": 6, "st": 6}
    assert list(cv.run["thread_seconds"]) == ["un", "st"]
    # The numbers of the model that follows are those of its place.
    rest = cross_validate(trial, relationship, {"a": BMTME(), "b": BMTME(means="flat"), "st": models["st"]},
                          CV1(2), **SHORT)  # fmt: skip
    last = rest.predictions.query("model == 'st'").drop(columns="model").reset_index(drop=True)
    pd.testing.assert_frame_equal(other, last, check_exact=True)


def test_what_makes_models_one():
    one, two = make_trial(traits=1, missing_traits=0)[0], make_trial(missing_traits=0)[0]
    models = {
        "un": BMTME(),
        "bd": BMTME("diagonal"),
        "st": BMTME("standard"),
        "raw": BMTME("standard", units="raw"),
        "flat": BMTME("diagonal", means="flat"),
        "named": BMTME(prior_t=HalfT(2.0, {"T1": 3.0})),
        "same": BMTME("diagonal", prior_t=HalfT(2.0, 3.0)),
        "other": BMTME("diagonal", prior_t=HalfT(3.0, 3.0)),
        "wishart": BMTME(prior_e=InverseWishart(4.0, pd.DataFrame([[2.0]], ["T1"], ["T1"]))),
        "again": BMTME(prior_e=InverseWishart(4.0, 2.0)),
    }
    twins = find_twins(models, one)
    assert {a: b for a, b in twins.items() if a != b} == {"bd": "un", "same": "named", "again": "wishart"}
    pair = {name: models[name] for name in ("un", "bd", "st")}
    assert find_twins(pair, two) == {name: name for name in pair}
    assert find_twins({"a": BMTME(), "b": BMTME()}, two) == {"a": "a", "b": "a"}


@quiet
def test_the_printed_legend_says_what_stars_mean():
    trial, relationship = make_trial(traits=1, missing_traits=0)
    models = {"un": BMTME(), "st": BMTME("standard")}

    def show(scheme, best):
        cv = cross_validate(trial, relationship, models, scheme, **SHORT)
        return " ".join(describe_cv(cv.summary(), cv.run, trial, best=best).split())

    assert "fewer than 3 partitions of a cell do not tell which model is better" in show(CV1(2), set())
    assert "no model is better than all others by a paired t test" in show(CV1(5), set())
    text = show(CV1(5), {("pearson", "E1", "T1", "un")})
    assert "* better than every other model by a paired t test that allows for shared lines" in text
    assert ")* " in text
    del models["st"]
    assert "better" not in show(CV1(2), set())
