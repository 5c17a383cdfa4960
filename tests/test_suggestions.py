"""Models that are worth comparing: by the sizes of the data, and such that every one of them takes these data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bmtme
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


def test_free_covariances_only_where_every_column_has_records():
    trial, relationship = make_trial(lines=60, envs=3)
    frame = trial.to_frame()
    frame.loc[frame["env"] == "E2", "T1"] = np.nan
    holed = bmtme.Trial.from_frame(frame, line="line", env="env", traits=list(trial.traits))
    whole, lacking = suggest_models(trial, relationship), suggest_models(holed, relationship)
    assert isinstance(whole["single"].model.genetic, bmtme.Free)
    assert isinstance(lacking["single"].model.genetic, bmtme.FactorAnalytic)
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
    assert found.data.startswith("40 lines in 2 environments, 2 traits, one plot a cell, 20% of the values missing.")
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
    with pytest.raises(bmtme.UsageError, match=r"trial must be a bmtme.Trial, .* got DataFrame"):
        suggest_models(trial.to_frame(), relationship)
    with pytest.raises(bmtme.UsageError, match=r"relationship must be a bmtme.Relationship, .* got ndarray"):
        suggest_models(trial, relationship.matrix)


@pytest.mark.parametrize("sizes", [{}, {"traits": 1, "envs": 3}, {"envs": 1, "reps": 2}, {"lines": 18}])
def test_every_model_is_taken(sizes):
    """By a cross-validation, as they come."""
    trial, relationship = make_trial(**sizes)
    with pytest.warns(UserWarning, match="a short run"):
        cv = bmtme.cross_validate(
            trial, relationship, suggest_models(trial, relationship), bmtme.NewLines(2), workers=1, **SHORT
        )
    assert not cv.failures
    assert list(dict.fromkeys(cv.scores["model"])) == list(suggest_models(trial, relationship))
