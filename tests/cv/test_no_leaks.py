"""No scheme lets a model see what it hides, and no digit depends on the order of the input."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import bmtme.cv.plan
import bmtme.cv.run
import bmtme.cv.tasks
from bmtme import (
    BMTME,
    CV1,
    CV2,
    EnvironmentMeans,
    Free,
    MainAndInteraction,
    NewEnvironments,
    NewLines,
    NewLinesNewEnvironments,
    Partition,
    Partitions,
    Relationship,
    SingleTrait,
    cross_validate,
    find_clones,
)
from bmtme.cv.training import Training, take_training
from tests.helpers.trials import make_trial, trial_of

SHORT = {"draws": 60, "tune": 40, "chains": 2, "seed": 4, "progress": False}
KEYS = ["model", "partition", "line", "env", "trait"]
#: What stands beside a prediction: the hidden value itself, and scores against it.
OF_HIDDEN = ["observed", "log_score", "crps"]
BY_ENV = "common_correlation"
#: Every kind of model; which genetic structure goes with residuals by environment depends on the scheme.
MODELS = {"un": BMTME(), "single": SingleTrait(BMTME()), "mean": EnvironmentMeans()}
FREE = {**MODELS, "by env": BMTME(genetic=Free(), residual="by_env")}
TIED = {**MODELS, "by env": BMTME(genetic=MainAndInteraction(), residual=BY_ENV)}
CLONE = "L16"

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # short runs, and hidden values that look like errors


class Own:
    """A user's own scheme, with nothing but masks: some lines leave E1, where they are scored, and E2."""

    def __init__(self, lines):
        self.lines = lines

    def masks(self, trial, seed):
        rows = np.isin(trial.lines, self.lines)
        hidden, scored = (np.zeros((len(trial.lines), len(trial.envs), len(trial.traits)), bool) for _ in range(2))
        for name, masks in {"E1": (hidden, scored), "E2": (hidden,)}.items():
            for mask in masks:
                mask[rows, trial.envs.index(name)] = True
        return [Partition("own", hidden, scored)]


def list_given():
    """A table of partitions: lines hidden in all environments, of which one is scored, and one trait in another."""
    cells = [("lines", line, env, "", env == "E2") for line in ("L02", "L05", "L09") for env in ("E1", "E2", "E3")]
    cells += [("trait", f"L{j:02d}", "E3", "T1", True) for j in range(1, 12)]
    return pd.DataFrame(cells, columns=["partition", "line", "env", "trait", "scored"])


FAMILIES = {f"L{j:02d}": f"family {j % 5}" for j in range(1, 16)}
SCHEMES = {
    "CV1": (CV1(2, 0.25), FREE),
    "CV2": (CV2(traits=["T2"]), TIED),
    "CV2 of records": (CV2(traits=["T2"], of="record"), TIED),
    "NewLines": (NewLines(3), FREE),
    "NewLines in groups": (NewLines(partitions=2, test_fraction=0.3, groups=FAMILIES), FREE),
    "NewEnvironments": (NewEnvironments(), TIED),
    "NewLinesNewEnvironments": (NewLinesNewEnvironments(2), TIED),
    "Partitions": (Partitions.from_frame(list_given()), TIED),
    "own": (Own(["L01", "L04", "L07"]), FREE),
}


@pytest.fixture(scope="module")
def data():
    """Sixteen lines, the last a clone of the third; two plots of most cells, values missing."""
    _, relationship = make_trial(lines=15, relationship="markers")
    same = [*range(15), 2]
    matrix = relationship.matrix[np.ix_(same, same)]
    doubled = Relationship(matrix, lines=[*relationship.lines, CLONE])
    assert set(find_clones(doubled)) == {"L03", CLONE}
    return make_trial(lines=16, reps=2, relationship=doubled)


@pytest.fixture(scope="module")
def runs(data):
    """Cross-validations of the trial as it is, made when they are first asked for."""
    made = {}

    def find(name):
        if name not in made:
            scheme, models = SCHEMES[name]
            made[name] = cross_validate(*data, models, scheme, **SHORT)
        return made[name]

    return find


def replace_values(trial, cells):
    """The trial with other values, of a wholly different scale, in all plots of these cells (J, I, L)."""
    rng = np.random.default_rng(9)
    mask = cells[trial.line_index, trial.env_index] & ~np.isnan(trial.values)
    return replace(trial, values=np.where(mask, rng.normal(5e4, 3e3, mask.shape), trial.values))


def find_hidden(cv, trial, label):
    """(J, I, L) cells that a partition of a finished cross-validation hides."""
    hidden = np.zeros((len(trial.lines), len(trial.envs), len(trial.traits)), bool)
    for row in cv.partitions[cv.partitions["partition"] == label].itertuples():
        hidden[trial.lines.index(row.line), trial.envs.index(row.env), trial.traits.index(row.trait)] = True
    return hidden


def differ(one, other, label):
    """Columns of the tables of a partition that are not the same to the last bit, less those of hidden values."""
    found = set()
    for table in ("predictions", "line_means"):
        a, b = (getattr(cv, table) for cv in (one, other))
        a, b = (frame[frame["partition"] == label].reset_index(drop=True) for frame in (a, b))
        assert len(a) == len(b) > 0
        assert (a["observed"] != b["observed"]).all()
        found |= {column for column in a.columns.drop(OF_HIDDEN) if not a[column].equals(b[column])}
    return found


def list_labels(cv):
    """The first and the last partition."""
    labels = [entry["partition"] for entry in cv.run["data"]["partitions"]]
    return list(dict.fromkeys((labels[0], labels[-1])))


@pytest.mark.parametrize("name", SCHEMES)
def test_hidden_values_change_no_prediction(data, runs, name):
    trial, relationship = data
    scheme, models = SCHEMES[name]
    before = runs(name)
    assert before.predictions["model"].unique().tolist() == list(models)
    for label in list_labels(before):
        changed = replace_values(trial, find_hidden(before, trial, label))
        after = cross_validate(changed, relationship, models, scheme, **SHORT)
        pd.testing.assert_frame_equal(before.partitions, after.partitions)
        assert differ(before, after, label) == set()


@pytest.mark.parametrize("name", ["NewLines", "NewLines in groups", "NewLinesNewEnvironments"])
def test_clones_of_new_lines_are_hidden_with_them(data, runs, name):
    trial, cv = data[0], runs(name)
    pair = [trial.lines.index(line) for line in ("L03", CLONE)]
    for label in cv.partitions["partition"].unique():
        training = (trial.counts() > 0) & ~find_hidden(cv, trial, label)
        one, other = training[pair].any(axis=(1, 2))
        assert one == other


def sort_rows(table, keys):
    """By the keys that the table has."""
    return table.sort_values([key for key in keys if key in table]).reset_index(drop=True)


@pytest.mark.parametrize("name", SCHEMES)
def test_order_of_the_input_changes_no_digit(data, runs, name):
    trial, relationship = data
    scheme, models = SCHEMES[name]
    rng = np.random.default_rng(2)
    rows, lines = rng.permutation(trial.n_records), rng.permutation(len(relationship))
    shuffled = trial_of(trial.to_frame().iloc[rows], trial.traits)
    other = Relationship(relationship.matrix[np.ix_(lines, lines)], [relationship.lines[j] for j in lines])
    assert shuffled.lines != trial.lines
    before, after = runs(name), cross_validate(shuffled, other, models, scheme, **SHORT)
    for table in ("partitions", "predictions", "line_means", "scores", "overall", "heritability"):
        one, two = (sort_rows(getattr(cv, table), KEYS) for cv in (before, after))
        pd.testing.assert_frame_equal(one, two, check_exact=True, obj=table)


# --- planted leaks are caught ------------------------------------------------------------------------------------


def train_on_all(trial, relationship, partition, decompose, trait):
    """A fault: nothing is hidden."""
    part = take_training(trial, relationship, partition, decompose, trait)
    if part is None:
        return None
    nothing = replace(partition, hidden=np.zeros_like(partition.hidden), scored=np.zeros_like(partition.hidden))
    # A trait alone is cut out by what is scored, so that the prepared trial comes from all traits at once.
    whole = take_training(trial, relationship, nothing, decompose, None)
    return Training(whole.outline, part.trial, part.cells, decompose)


def test_training_on_what_is_hidden_is_noticed(data, monkeypatch):
    trial, relationship = data
    monkeypatch.setattr(bmtme.cv.plan, "take_training", train_on_all)
    models = {"un": MODELS["un"], "mean": MODELS["mean"]}
    before = cross_validate(trial, relationship, models, NewLines(3), **SHORT)
    changed = replace_values(trial, find_hidden(before, trial, "1"))
    after = cross_validate(changed, relationship, models, NewLines(3), **SHORT)
    assert {"mean", "sd", "mean_lower", "mean_upper"} <= differ(before, after, "1")


def test_scales_of_the_whole_trial_are_noticed(data, monkeypatch):
    trial, relationship = data
    build = bmtme.cv.tasks.build

    def run(trial):
        spread = np.nanstd(trial.values, axis=0)

        def build_wrongly(prepared, model):
            problem, scaling = build(prepared, model)
            return problem, replace(scaling, scale=spread)

        monkeypatch.setattr(bmtme.cv.tasks, "build", build_wrongly)
        return cross_validate(trial, relationship, MODELS["un"], CV1(1), **SHORT)

    before = run(trial)
    after = run(replace_values(trial, find_hidden(before, trial, "1")))
    assert "sd" in differ(before, after, "1")


def test_a_clone_in_training_is_noticed(data):
    trial, relationship = data
    before = cross_validate(trial, relationship, MODELS["un"], NewLines(5), clones=None, **SHORT)
    hidden = before.partitions.groupby("line")["partition"].first()
    assert hidden["L03"] != hidden[CLONE]  # with this seed
    label = hidden["L03"]
    cells = find_hidden(before, trial, label)
    cells[trial.lines.index(CLONE)] = True
    other = replace_values(trial, cells)
    after = cross_validate(other, relationship, MODELS["un"], NewLines(5), clones=None, **SHORT)
    assert "mean" in differ(before, after, label)
