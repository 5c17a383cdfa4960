"""Models that are worth comparing: by the sizes of the data, and such that every one of them takes these data."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import bmtme
from bmtme.structures.main_and_interaction import MainAndInteraction
from bmtme.suggestions import suggest_models

SHORT = {"draws": 10, "tune": 20, "chains": 1, "seed": 1}


def make_trial(lines=40, envs=2, traits=2, **settings):
    sim = bmtme.simulate(lines=lines, envs=envs, traits=traits, relationship="markers", seed=1, **settings)
    names = [name for name in sim.frame if name not in ("line", "env", "rep")]
    return bmtme.Trial.from_frame(sim.frame, line="line", env="env", rep="rep", traits=names), sim.relationship


@pytest.mark.parametrize(
    ("sizes", "labels"),
    [
        ({}, ["single", "main", "free", "unstructured", "mean"]),
        ({"traits": 1}, ["own", "main", "unstructured", "mean"]),
        ({"envs": 1}, ["unstructured", "single", "mean"]),
        ({"envs": 1, "traits": 1}, ["unstructured", "mean"]),
        ({"envs": 1, "traits": 1, "reps": 2}, ["unstructured", "line effect", "mean"]),
        ({"lines": 18}, ["single", "main", "factors", "unstructured", "mean"]),
    ],
)
def test_models_by_the_sizes(sizes, labels):
    assert list(suggest_models(*make_trial(**sizes))) == labels


def test_line_effects_are_suggested_where_something_tells_them():
    def has(trial, relationship, label):
        model = suggest_models(trial, relationship)[label]
        return getattr(model, "model", model).line_effect

    trial, relationship = make_trial()
    assert has(trial, relationship, "single")
    assert not has(trial, bmtme.Relationship.identity(trial.lines), "single")
    assert not has(*make_trial(envs=1), "single")
    assert has(*make_trial(envs=1, reps=2), "single")
    alike = bmtme.Relationship(0.3 * np.eye(40) + 0.7, lines=trial.lines)
    assert not has(trial, alike, "single")
    frame = trial.to_frame()
    # T2 of every line in one environment only: both traits are decided by the one that tells least.
    frame.loc[(frame["env"] == "E1") == frame["line"].isin(trial.lines[:20]), "T2"] = np.nan
    assert not has(bmtme.Trial.from_frame(frame, line="line", env="env", traits=["T1", "T2"]), relationship, "single")
    few = trial.to_frame()
    few.loc[(few["env"] == "E1") & few["line"].isin(trial.lines[9:]), "T2"] = np.nan  # nine lines have two records
    assert not has(bmtme.Trial.from_frame(few, line="line", env="env", traits=["T1", "T2"]), relationship, "single")


def find_models(scheme, **sizes):
    trial, relationship = make_trial(**{"lines": 60, "envs": 3} | sizes)
    return suggest_models(trial, relationship, scheme)


def test_what_a_scheme_hides_decides():
    """Free covariances say nothing of a column that is hidden whole."""
    assert find_models(bmtme.CV1(2))["single"].model == find_models(None)["single"].model
    for scheme in (bmtme.CV2(), bmtme.NewEnvironments(), bmtme.NewLinesNewEnvironments(2)):
        found = find_models(scheme)
        assert found["single"].model.genetic == MainAndInteraction("free")  # known in two environments
        assert "free" not in found
        assert "as the scheme hides whole columns" in found.reasons["factors"]
        assert find_models(scheme, envs=5)["single"].model.genetic == bmtme.FactorAnalytic(factors=2)
    # In one of two environments with single plots, nothing tells lines from residuals, or main effects from others.
    few = find_models(bmtme.NewEnvironments(), envs=2)
    assert few["single"].model == bmtme.BMTME(residual="by_env")
    assert "main" not in few
    assert find_models(bmtme.NewEnvironments(), envs=2, reps=2)["single"].model.line_effect
    # Half of the lines have no record in training: too few are left for the columns.
    assert "free" in find_models(None, lines=32)
    assert "factors" in find_models(bmtme.NewLines(2), lines=32)


def test_partitions_are_those_of_the_seed_and_the_clones():
    trial, relationship = make_trial()
    seen = []

    class Spy:
        def masks(self, trial, seed):
            seen.append(seed)
            return bmtme.NewLines(2).masks(trial, seed)

        def join(self, clones):
            seen.append(clones)
            return self

    suggest_models(trial, relationship, Spy(), seed=7, clones={"L01": "a", "L02": "a"})
    assert seen == [{"L01": "a", "L02": "a"}, 7]
    with pytest.raises(bmtme.UsageError, match="scheme"):
        suggest_models(trial, relationship, "cv1")


def test_free_covariances_only_where_every_column_has_records():
    trial, relationship = make_trial(lines=60, envs=4)
    frame = trial.to_frame()
    frame.loc[frame["env"] == "E2", "T1"] = np.nan
    holed = bmtme.Trial.from_frame(frame, line="line", env="env", traits=list(trial.traits))
    whole, lacking = suggest_models(trial, relationship), suggest_models(holed, relationship)
    assert isinstance(whole["single"].model.genetic, bmtme.Free)
    assert lacking["single"].model.genetic == bmtme.FactorAnalytic(factors=1)  # T1 has three environments
    assert "free" not in lacking
    assert "1 environment x trait column without a record" in lacking.data
    few, relationship = make_trial(lines=12, envs=4, traits=1)
    assert suggest_models(few, relationship)["own"].genetic == bmtme.FactorAnalytic(factors=2)


def test_words():
    trial, relationship = make_trial(missing=0.2)
    frame = trial.to_frame()
    frame.loc[frame["env"] == "E1", "T2"] *= 10
    uneven = bmtme.Trial.from_frame(frame, line="line", env="env", traits=list(trial.traits))
    found = suggest_models(uneven, relationship)
    assert str(found).splitlines()[0] == found.data
    assert found.data.startswith("40 lines in 2 environments, 2 traits, one record a cell, 20% of the values missing.")
    assert "Standard deviations differ between environments: 'T2'." in found.data
    assert str(found).splitlines()[1] == f"- single: {found.reasons['single']}"
    assert "prior alone" in suggest_models(trial, bmtme.Relationship.identity(trial.lines)).data


def test_order_of_rows_and_lines_is_of_no_account():
    trial, relationship = make_trial(missing=0.2)
    frame = trial.to_frame().sample(frac=1.0, random_state=1)
    other = bmtme.Trial.from_frame(frame, line="line", env="env", traits=list(trial.traits))
    assert str(suggest_models(other, relationship)) == str(suggest_models(trial, relationship))


def test_lines_without_a_relationship_are_not_counted():
    trial, relationship = make_trial()
    some = relationship.lines[:30]
    matrix = pd.DataFrame(relationship.matrix, relationship.lines, relationship.lines).loc[some, some]
    assert suggest_models(trial, bmtme.Relationship(matrix.to_numpy(), some)).data.startswith("30 lines in")
    with pytest.raises(bmtme.DataError, match="no line of the trial with a record is in the relationship"):
        suggest_models(trial, bmtme.Relationship.identity(["a", "b"]))


def test_what_is_no_trial_or_relationship_is_refused():
    trial, relationship = make_trial()
    with pytest.raises(bmtme.UsageError, match=r"expected a Trial .*, got DataFrame"):
        suggest_models(trial.to_frame(), relationship)
    with pytest.raises(bmtme.UsageError, match=r"relationship must be a bmtme.Relationship, .* got ndarray"):
        suggest_models(trial, relationship.matrix)


def take_all(trial, relationship, scheme):
    """A cross-validation with the models suggested for it."""
    models = suggest_models(trial, relationship, scheme)
    with pytest.warns(UserWarning, match="a short run"):
        cv = bmtme.cross_validate(trial, relationship, models, scheme, workers=1, **SHORT)
    assert not cv.failures
    assert list(dict.fromkeys(cv.scores["model"])) == list(models)


@pytest.mark.parametrize(
    ("sizes", "scheme"),
    [
        ({}, bmtme.NewLines(2)),
        ({"traits": 1, "envs": 3}, bmtme.NewEnvironments()),
        ({"envs": 1, "reps": 2}, bmtme.NewLines(2)),
        ({"lines": 18}, bmtme.CV1(1, 0.3)),
        ({"envs": 3}, bmtme.CV2(traits=["T2"])),
        ({"envs": 2}, bmtme.NewEnvironments()),
    ],
)
def test_every_model_is_taken(sizes, scheme):
    """By a cross-validation, as they come."""
    take_all(*make_trial(**sizes), scheme)


@pytest.mark.parametrize("there", [["E1"], ["E1", "E2"]])
def test_a_trait_of_few_environments(there):
    """Its fit alone takes the model that all traits get, and so do cross-validations."""
    trial, relationship = make_trial(envs=3)
    frame = trial.to_frame()
    frame.loc[~frame["env"].isin(there), "T2"] = np.nan
    trial = bmtme.Trial.from_frame(frame, line="line", env="env", traits=["T1", "T2"])
    for model in suggest_models(trial, relationship).values():
        if not isinstance(model, bmtme.EnvironmentMeans):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                fit = bmtme.fit(trial, relationship, model, **SHORT)
            assert np.isfinite(fit.predictions()["mean"]).all()
    take_all(trial, relationship, bmtme.NewLines(2))
