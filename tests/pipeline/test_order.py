"""The order of a file decides how results are shown, and not a digit of them."""

import warnings

import numpy as np
import pandas as pd
import pytest

from bmtme import BMTME, CV1, CV2, HalfT, InverseWishart, Relationship, Trial, cross_validate, fit, simulate
from bmtme.choices import SAMPLERS
from bmtme.cv import score
from bmtme.cv.plan import rank_labels
from bmtme.data.order import sort_trial
from bmtme.preparation import build, prepare
from tests.helpers.trials import trial_of

RUN = {"draws": 12, "tune": 8, "chains": 2, "seed": 3}
SCHEMES = (CV1(3, 0.25), CV2(["T1"]))
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def make_frame(reps=True, seed=8):
    """Seventeen lines: uneven replicates, gaps, a trait not recorded in an environment, lines without a record.

    Their names are not in the order of the rows, nor in that of numbers.
    """
    frame = simulate(lines=17, envs=3, traits=3, reps=3, missing=0.1, missing_traits=0.1, seed=seed).frame
    rng = np.random.default_rng(seed)
    names = [f"{k}" for k in rng.permutation(17) + 1]
    frame["line"] = frame["line"].map(dict(zip(sorted(frame["line"].unique()), names, strict=True)))
    frame["env"] = frame["env"].map({"E1": "Zürich", "E2": "Aas", "E3": "mid"})
    frame.loc[frame["env"] == "Aas", "T2"] = np.nan
    frame.loc[frame["line"].isin(["4", "12"]), ["T1", "T2", "T3"]] = np.nan
    frame = frame[rng.random(len(frame)) > 0.15].reset_index(drop=True)
    return frame if reps else frame.drop(columns="rep")


def make_relationship(lines, identity=False):
    """Of the lines and three more."""
    names = [*lines, "new 3", "new 1", "new 2"]
    if identity:
        return Relationship.identity(names)
    markers = np.random.default_rng(2).choice([0.0, 1.0, 2.0], (len(names), 60))
    centred = markers - markers.mean(axis=0)
    return Relationship(centred @ centred.T / 30 + 0.05 * np.eye(len(names)), names)


def shuffle(frame, relationship, seed):
    """Rows, environments and the relationship's lines in another order."""
    rng = np.random.default_rng(seed)
    rows = frame.iloc[rng.permutation(len(frame))]
    return rows, relationship.subset(rng.permutation(relationship.lines).tolist())


def assert_same_groups(one, two):
    """Bit for bit, once aligned by their labels; records by what they are."""
    assert list(one) == list(two)
    for name, dataset in one.items():
        other = two[name]
        if name == "observed_data":
            table, second = (
                x.to_dataframe().reset_index().pivot(
                    index=["record", "record_line", "record_env"], columns="trait", values="Y"
                ).reset_index().drop(columns="record")
                for x in (dataset, other)
            )  # fmt: skip
            order = list(table.columns)
            table, second = (x.sort_values(order).reset_index(drop=True) for x in (table, second))
            pd.testing.assert_frame_equal(table, second, check_exact=True)
            continue
        for key in dataset.data_vars:
            values = other[key]
            for dim in values.dims:
                if dim in ("line", "line_bis", "predicted_line", "env", "env_bis", "replicate"):
                    values = values.sel({dim: dataset[dim].values})
            np.testing.assert_array_equal(dataset[key].values, values.values, err_msg=f"{name}.{key}")


def assert_same_tables(one, two, keys):
    one, two = (table.set_index(keys) for table in (one, two))
    assert set(one.index) == set(two.index)
    pd.testing.assert_frame_equal(one, two.loc[one.index], check_exact=True)


@pytest.mark.parametrize("identity", [False, True])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_shuffled_rows_give_the_same_fit(sampler, identity):
    frame = make_frame(reps=sampler != "gibbs")
    relationship = make_relationship(frame["line"].unique(), identity)
    keep = "thin" if sampler == "stepwise" else "all"
    model = BMTME("diagonal" if sampler == "gibbs" else "unstructured")
    one = fit(trial_of(frame), relationship, model, sampler=sampler, keep_effects=keep, **RUN)
    for seed in (1, 2):
        rows, other = shuffle(frame, relationship, seed)
        two = fit(trial_of(rows), other, model, sampler=sampler, keep_effects=keep, **RUN)
        assert_same_groups(one._groups, two._groups)
        a, b = one.summary(), two.summary()
        assert set(a.index) == set(b.index)
        pd.testing.assert_frame_equal(a, b.loc[a.index], check_exact=True)
        assert_same_tables(one.predictions(), two.predictions(), ["line", "env", "trait"])
        # Shown in the order of the files.
        posterior = two._groups["posterior"]
        envs = rows["env"].unique().tolist()
        assert posterior["env"].values.tolist() == posterior["env_bis"].values.tolist() == envs
        recorded = set(rows.loc[rows[["T1", "T2", "T3"]].notna().any(axis=1), "line"])
        shown = (two._groups["effects"] if keep == "thin" else posterior)["line"].values.tolist()
        assert shown == [line for line in rows["line"].unique() if line in recorded]
        table = two.predictions()
        assert table["line"].unique().tolist() == list(other.lines)
        assert table["env"].unique().tolist() == envs
        assert table["trait"].unique().tolist() == ["T1", "T2", "T3"]
        seen = rows[rows[["T1", "T2", "T3"]].notna().any(axis=1)]
        assert two._groups["observed_data"]["record_line"].values.tolist() == seen["line"].tolist()
        np.testing.assert_array_equal(two._groups["observed_data"]["Y"].values, seen[["T1", "T2", "T3"]].to_numpy())
        assert two.run["data"]["absent_columns"] == ["Aas x T2"]
        notes = b["note"]
        assert notes[notes.str.startswith("no record")].index.tolist() == ["beta[Aas, T2]"]


@pytest.mark.parametrize(("scheme", "identity"), [(SCHEMES[0], False), (SCHEMES[1], True)], ids=("cv1", "cv2"))
def test_shuffled_rows_give_the_same_cross_validation(scheme, identity):
    frame = make_frame()
    relationship = make_relationship(frame["line"].unique(), identity)
    models = {"un": BMTME(), "st": BMTME("standard")}
    one = cross_validate(trial_of(frame), relationship, models, scheme, **RUN)
    for seed in (1, 2):
        rows, other = shuffle(frame, relationship, seed)
        trial = trial_of(rows)
        two = cross_validate(trial, other, models, scheme, workers=seed, **RUN)
        assert_same_tables(one.predictions, two.predictions, ["model", "partition", "line", "env", "trait"])
        assert_same_tables(one.scores, two.scores, ["model", "partition", "env", "trait"])
        assert_same_tables(one.summary(), two.summary(), ["model", "env", "trait"])
        for record in ("effective_draws", "monte_carlo_noise", "diagnostics"):
            assert one.run[record] == two.run[record]
        place = {line: j for j, line in enumerate(trial.lines)}
        for _, table in two.predictions.groupby(["model", "partition"]):
            assert table["line"].map(place).is_monotonic_increasing


@pytest.mark.parametrize("scheme", SCHEMES, ids=("cv1", "cv2"))
def test_masks_depend_on_names_and_pattern_alone(scheme):
    frame = make_frame()
    one = scheme.table(trial_of(frame), 4)
    rng = np.random.default_rng(1)
    for _ in range(5):
        rows = frame.iloc[rng.permutation(len(frame))].copy()
        rows[["T1", "T2", "T3"]] *= rng.uniform(0.5, 2.0, (len(rows), 3))
        trial = trial_of(rows)
        table = scheme.table(trial, 4)
        keys = ["partition", "line", "env", "trait"]
        pd.testing.assert_frame_equal(
            one.sort_values(keys, ignore_index=True), table.sort_values(keys, ignore_index=True)
        )
        place = {line: j for j, line in enumerate(trial.lines)}
        for _, cells in table.groupby("partition"):
            assert cells["line"].map(place).is_monotonic_increasing
    # Neither lines nor an environment without a record, nor more plots of a cell, change them.
    empty = frame.iloc[:3].assign(line=["!", "a", "b"], env="Bern", T1=np.nan, T2=np.nan, T3=np.nan)
    more = frame.assign(rep="9" + frame["rep"].astype(str))
    pd.testing.assert_frame_equal(one, scheme.table(trial_of(pd.concat([frame, more, empty])), 4))


def test_priors_follow_the_names():
    """By name, and a matrix without names in the order of the environments as given."""
    frame = make_frame()
    relationship = make_relationship(frame["line"].unique())
    envs = frame["env"].unique().tolist()
    scales = {"Zürich": 0.2, "Aas": 5.0, "mid": 1.0}
    variances = np.array([scales[env] for env in envs])
    by_name = pd.DataFrame(np.diag(variances), envs, envs)
    priors = [HalfT(2.0, scales), InverseWishart(5.0, scales), InverseWishart(5.0, by_name)]
    prepared = prepare(trial_of(frame), relationship)
    turned = prepare(trial_of(frame.iloc[::-1]), relationship)
    assert prepared.given.envs != turned.given.envs
    expected = [scales[env] for env in sorted(envs)]
    for prior in priors:
        for ready in (prepared, turned):
            found = build(ready, BMTME(prior_E=prior))[0].genetic.prior_env
            given = found.scale if isinstance(prior, HalfT) else np.diag(found.matrix)
            np.testing.assert_array_equal(given, expected)
    unnamed = build(prepared, BMTME(prior_E=InverseWishart(5.0, np.diag(variances))))[0].genetic.prior_env
    np.testing.assert_array_equal(np.diag(unnamed.matrix), expected)
    # Where the prior decides: the posterior is large under the name that it is large for.
    sure = InverseWishart(4000.0, {env: 4000.0 * value for env, value in scales.items()})
    for rows in (frame, frame.iloc[::-1]):
        posterior = fit(trial_of(rows), relationship, BMTME(prior_E=sure), **RUN)._groups["posterior"]
        for env, value in scales.items():
            draws = posterior["Sigma_E"].sel(env=env, env_bis=env).values
            np.testing.assert_allclose(draws.mean(), value, rtol=0.1)


def test_sorted_records():
    frame = pd.DataFrame(
        [
            ("b", "Y", "2", 1.0, np.nan),
            ("a", "Y", "10", 3.0, 1.0),
            ("b", "X", "1", 2.0, 2.0),
            ("a", "Y", "1", np.nan, 4.0),
            ("b", "Y", "10", 0.5, 1.0),
        ],
        columns=["line", "env", "rep", "T1", "T2"],
    )
    trial = Trial.from_frame(frame, line="line", env="env", rep="rep")
    ordered, records = sort_trial(trial)
    assert ordered.lines == ("a", "b")
    assert ordered.envs == ("X", "Y")
    assert records.tolist() == [3, 1, 2, 4, 0]  # by line, environment, and rep as text
    assert ordered.reps == ("1", "10", "1", "10", "2")
    pd.testing.assert_frame_equal(ordered.to_frame(), trial.to_frame().iloc[records].reset_index(drop=True))
    without = Trial.from_frame(frame.drop(columns="rep"), line="line", env="env")
    assert sort_trial(without)[1].tolist() == [1, 3, 2, 4, 0]  # by values, missing last


def test_means_and_scores_do_not_depend_on_the_order():
    """Sums of numbers that are far apart, where the order of additions shows."""
    rng = np.random.default_rng(3)
    values = rng.normal(size=400) * 10.0 ** rng.integers(-8, 8, 400)
    frame = pd.DataFrame({"line": rng.choice(["a", "b"], 400), "env": "E", "T1": values})
    predictions = pd.DataFrame({"model": "m", "partition": "1", "env": "E", "trait": "T"}, index=range(400))
    predictions = predictions.assign(observed=values, mean=values[::-1] + rng.normal(size=400))
    means, scores = set(), set()
    for _ in range(20):
        order = rng.permutation(400)
        trial = Trial.from_frame(frame.iloc[order], line="line", env="env")
        means.add(tuple(trial.cell_means()[[trial.lines.index(line) for line in "ab"], 0, 0]))
        scores.add(tuple(score(predictions.iloc[order]).loc[0, ["pearson", "msep"]]))
    assert len(means) == 1
    assert len(scores) == 1
    np.testing.assert_allclose(next(iter(means)), frame.groupby("line")["T1"].mean())


def test_streams_of_partitions_are_told_by_their_labels():
    assert rank_labels([str(k) for k in range(1, 13)]) == list(range(12))
    assert rank_labels(["E2:T1", "E1:T1", "E10:T1"]) == [2, 1, 0]
    assert rank_labels(["b", "10", "2", "a"]) == [3, 1, 0, 2]


def test_a_file_in_order_stays_as_it_was():
    """No array is moved where there is nothing to move."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frame = make_frame().sort_values(["line", "env"])
        prepared = prepare(trial_of(frame), make_relationship(sorted(frame["line"].unique())))
    for places in (prepared.shown_envs, prepared.shown_lines):
        np.testing.assert_array_equal(places, np.arange(len(places)))
