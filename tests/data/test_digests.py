"""Digests of trials and relationships: the same for the same data in any order, others for any other."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bmtme import EnvironmentMeans, NewLines, Relationship, Trial, cross_validate
from bmtme.data.digests import digest_relationship, digest_trial


def make_frame():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        [(f"L{j}", env, rep) for j in range(6) for env in ("B", "A") for rep in ("1", "2")],
        columns=["line", "env", "rep"],
    )
    frame["x"], frame["y"] = rng.normal(size=(2, len(frame)))
    frame.loc[3, "x"] = np.nan
    return frame


def read(frame, traits=("x", "y"), rep="rep"):
    return Trial.from_frame(frame, line="line", env="env", traits=list(traits), rep=rep)


def test_the_order_of_rows_and_traits_does_not_matter():
    frame = make_frame()
    expected = digest_trial(read(frame))
    assert digest_trial(read(frame.sample(frac=1.0, random_state=1))) == expected
    assert digest_trial(read(frame, ("y", "x"))) == expected
    assert digest_trial(read(frame, rep=None)) == expected
    blank = frame.iloc[:1].assign(line="blank", x=np.nan, y=np.nan)
    assert digest_trial(read(pd.concat([blank, frame]))) == expected


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f.assign(x=f["x"].where(f.index != 5, f["x"] + 1e-12)),
        lambda f: f.assign(x=f["x"].where(f.index != 5)),
        lambda f: f.assign(x=f["y"], y=f["x"]),
        lambda f: f.assign(line=f["line"].replace("L2", "L9")),
        lambda f: f.assign(env=f["env"].replace({"A": "C"})),
        lambda f: f.drop(index=7),
        lambda f: pd.concat([f, f.iloc[[7]].assign(rep="3")]),
        lambda f: f.rename(columns={"x": "y", "y": "x"}),
    ],
)
def test_every_change_of_the_trial_matters(change):
    frame = make_frame()
    assert digest_trial(read(change(frame))) != digest_trial(read(frame))


def test_relationships():
    rng = np.random.default_rng(2)
    root = rng.normal(size=(5, 9))
    matrix, names = root @ root.T, [f"L{j}" for j in (3, 1, 0, 2, 4)]
    expected = digest_relationship(Relationship(matrix, names))
    order = rng.permutation(5)
    assert digest_relationship(Relationship(matrix[np.ix_(order, order)], [names[j] for j in order])) == expected
    other = matrix.copy()
    other[1, 2] = other[2, 1] = other[1, 2] + 1e-12
    found = {expected, digest_relationship(Relationship(other, names))}
    found |= {digest_relationship(Relationship(matrix, [*names[1:], names[0]]))}
    found |= {digest_relationship(Relationship.identity(names)), digest_relationship(Relationship.identity(names[1:]))}
    assert len(found) == 5


def test_a_run_records_them():
    trial = read(make_frame())
    relationship = Relationship(np.eye(6) + 0.5, [f"L{j}" for j in range(6)])
    cv = cross_validate(trial, relationship, EnvironmentMeans(), NewLines(folds=2))
    assert cv.run["data"]["trial_digest"] == digest_trial(trial)
    assert cv.run["data"]["relationship_digest"] == digest_relationship(relationship)
    turned = replace(trial, values=trial.values[::-1], line_index=trial.line_index[::-1],
                     env_index=trial.env_index[::-1], reps=trial.reps[::-1])  # fmt: skip
    again = cross_validate(turned, relationship, EnvironmentMeans(), NewLines(folds=2))
    assert again.run["data"]["trial_digest"] == cv.run["data"]["trial_digest"]
