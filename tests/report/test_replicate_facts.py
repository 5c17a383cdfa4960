"""What effects of replicates a run has, in words."""

import numpy as np

from bmtme.data.trial import Trial
from bmtme.report.replicates import list_replicate_facts


def make_trial(reps=("1", "1")):
    return Trial(("a", "b"), ("E1",), ("T1",), np.array([0, 1]), np.array([0, 0]), np.array([[1.0], [2.0]]), reps)


def tell(kind, asked="auto", columns=0, replicates=0):
    return {"asked": asked, "kind": kind, "replicates": replicates, "columns": columns, "of": 6}


def test_one_model():
    trial = make_trial()
    assert list_replicate_facts(tell("fixed", columns=6, replicates=4), trial) == [
        ("replicates", "fixed effects of 4 replicates, in each of 6 environment x trait columns")
    ]
    assert list_replicate_facts(tell("random", columns=2, replicates=4), trial) == [
        ("replicates", "random effects of 4 replicates, in 2 of 6 environment x trait columns")
    ]
    (fact,) = list_replicate_facts(tell("none"), trial)
    assert fact[1].startswith("without effects: fewer than two hold five lines")
    assert list_replicate_facts(tell("none", asked="none"), trial) == [("replicates", "without effects")]


def test_several_models_or_traits():
    found = {"a": tell("fixed", columns=6, replicates=4), "b": tell("none", "none"), "c": tell("none", "none")}
    assert list_replicate_facts(found, make_trial()) == [
        ("replicates", "a: fixed effects of 4 replicates, in each of 6 environment x trait columns"),
        ("", "b, c: without effects"),
    ]
    assert len(list_replicate_facts({"a": tell("none"), "b": tell("none")}, make_trial())) == 1


def test_nothing_is_said_where_no_replicates_are_known():
    assert list_replicate_facts(tell("none"), make_trial(None)) == []
    assert list_replicate_facts(None, make_trial()) == []
