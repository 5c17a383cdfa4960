"""The function `fit`: reproducibility, what it refuses, what it warns of, and that it finds the truth."""

import numpy as np
import pandas as pd
import pytest

from bmtme import BMTME, DataError, NumericalError, Relationship, Trial, UsageError, fit, simulate
from bmtme.preparation import prepare
from bmtme.results.predictions import KEPT
from bmtme.sampling import plan_slots, spawn_seeds
from tests.helpers.fits import assert_equal_draws
from tests.helpers.trials import trial_of

SHORT = {"draws": 30, "tune": 20, "chains": 2}
quiet = pytest.mark.filterwarnings("ignore:a short run")


@pytest.fixture(scope="module")
def data():
    sim = simulate(lines=14, missing=0.1, missing_traits=0.1, relationship="markers", seed=3)
    frame = sim.frame.copy()
    frame.loc[frame["env"] == "E1", "T2"] = np.nan
    return trial_of(frame), sim.relationship


# --- reproducibility ----------------------------------------------------------------------------------------------


@quiet
@pytest.mark.parametrize("sampler", ["gibbs", "collapsed", "stepwise"])
def test_same_seed_same_numbers(data, sampler):
    """Whatever the number of cores; and other numbers from another seed."""
    one = fit(*data, seed=7, sampler=sampler, cores=1, **SHORT)
    again = fit(*data, seed=7, sampler=sampler, cores=2, **SHORT)
    assert_equal_draws(one, again)
    pd.testing.assert_frame_equal(one.predictions(), again.predictions())
    other = fit(*data, seed=8, sampler=sampler, **SHORT)
    assert not (one.idata.posterior["beta"].values == other.idata.posterior["beta"].values).any()
    chains = one.idata.posterior["Sigma_t"].values
    assert not (chains[0] == chains[1]).any()


@quiet
def test_more_chains_leave_the_first_ones_alone(data):
    two, four = (fit(*data, draws=30, tune=20, chains=n, seed=1) for n in (2, 4))
    np.testing.assert_array_equal(two.idata.posterior["beta"].values, four.idata.posterior["beta"].values[:2])


@quiet
@pytest.mark.parametrize("sampler", ["gibbs", "collapsed"])
def test_more_draws_begin_with_the_same_draws(data, sampler):
    short, long = (fit(*data, draws=n, tune=20, chains=2, sampler=sampler, keep_effects="all") for n in (20, 60))
    for name in short.idata.posterior.data_vars:
        np.testing.assert_array_equal(
            short.idata.posterior[name].values, long.idata.posterior[name].values[:, :20], err_msg=name
        )


@quiet
def test_what_is_kept_does_not_change_the_draws(data):
    """The covariances of a fit are the same, stored with all of its effects, with some or with none."""
    fits = [fit(*data, draws=1100, tune=20, chains=1, keep_effects=keep) for keep in ("all", "thin", "none")]
    for other in fits[1:]:
        assert_equal_draws(fits[0], other, ("Sigma_t", "Sigma_E", "R_e", "beta"))


@quiet
def test_inputs_are_left_alone(data):
    trial, relationship = data
    values, matrix = trial.values.copy(), relationship.matrix.copy()
    fit(trial, relationship, **SHORT)
    np.testing.assert_array_equal(trial.values, values)
    np.testing.assert_array_equal(relationship.matrix, matrix)


def test_streams_depend_on_their_key_only():
    one, two = spawn_seeds(5, 2), spawn_seeds(5, 4)
    assert [seed.spawn_key for seed in two] == [(0,), (1,), (2,), (3,)]
    assert one[1].generate_state(4).tolist() == two[1].generate_state(4).tolist()
    states = {tuple(seed.generate_state(4)) for seed in (*two, *spawn_seeds(6, 4), *spawn_seeds(5, 2, 3))}
    assert len(states) == 10


@pytest.mark.parametrize("draws, chains", [(10, 1), (2000, 4), (1000, 4), (3, 2000)])
@pytest.mark.parametrize("keep", ["all", "thin", "none"])
def test_slots_of_kept_effects(draws, chains, keep):
    for slots in plan_slots(draws, chains, keep):
        kept = slots[slots >= 0]
        assert kept.tolist() == list(range(len(kept)))
        most = max(1, KEPT // chains)
        fewest = {"all": draws, "thin": min(draws, (most + 1) // 2), "none": 0}[keep]
        assert fewest <= len(kept) <= (most if keep == "thin" else fewest)


# --- it finds the truth -------------------------------------------------------------------------------------------


def test_parameters_of_a_large_simulation_are_found():
    """The paper's design with fewer replicates: every parameter within four posterior standard deviations."""
    sim = simulate(lines=60, reps=6, interaction=[0.6, 1.0, 1.6], relationship="blocks", seed=2)
    result = fit(trial_of(sim.frame), sim.relationship, draws=600, tune=400, chains=2, sampler="collapsed")
    table, truth = result.summary(), sim.truth
    for name in ("Sigma_t", "R_e"):
        for a in ("T1", "T2", "T3"):
            row = table.loc[f"{name}[{a}, {a}]"]
            assert abs(row["mean"] - truth[name].loc[a, a]) < 4 * row["sd"], (name, a)
    assert (table.loc[[f"R_e[{t}, {t}]" for t in ("T1", "T2", "T3")], "sd"] < 0.1 * table["mean"].max()).all()
    for env in ("E1", "E2", "E3"):
        row = table.loc[f"Sigma_E[{env}, {env}]"]
        assert abs(row["mean"] - truth["Sigma_E"].loc[env, env]) < 4 * row["sd"]
    b1, b2 = truth["b1"], truth["b2"]
    cells = result.predictions().set_index(["env", "line", "trait"])["mean"].unstack()
    for env in ("E1", "E2", "E3"):
        for trait in ("T1", "T2", "T3"):
            assert np.corrcoef(cells.loc[env, trait], (b1 + b2.loc[env]).loc[cells.loc[env].index, trait])[0, 1] > 0.8


# --- matching and refusals ----------------------------------------------------------------------------------------


@quiet
def test_lines_are_matched_by_name(data):
    """Another order of the relationship changes the order of the predictions and nothing else."""
    trial, relationship = data
    turned = relationship.subset(relationship.lines[::-1])
    one, two = (fit(trial, r, **SHORT) for r in (relationship, turned))
    np.testing.assert_array_equal(one.idata.posterior["b1"].values, two.idata.posterior["b1"].values)
    keys = ["line", "env", "trait"]
    P, Q = (x.predictions().set_index(keys) for x in (one, two))
    assert Q.index.get_level_values("line").unique().tolist() == list(turned.lines)
    pd.testing.assert_frame_equal(P, Q.loc[P.index])


@quiet
def test_lines_without_a_relationship(data):
    trial, relationship = data
    partial = relationship.subset([name for name in relationship.lines if name not in ("L02", "L05")])
    with pytest.raises(DataError, match="'L02', 'L05'"):
        fit(trial, partial, **SHORT)
    with pytest.warns(UserWarning, match="'L02', 'L05'"):
        result = fit(trial, partial, unrelated="drop", **SHORT)
    assert result.run["data"]["lines_dropped"] == ["L02", "L05"]
    assert not {"L02", "L05"} & set(result.predictions()["line"])
    assert not {"L02", "L05"} & set(result.idata.posterior["line"].values.tolist())


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"draws": 0}, ["draws", "at least 1", "0"]),
        ({"draws": 10.5}, ["draws", "10.5"]),
        ({"tune": -1}, ["tune", "at least 0"]),
        ({"chains": 0}, ["chains"]),
        ({"chains": True}, ["chains", "True"]),
        ({"seed": -1}, ["seed"]),
        ({"seed": None}, ["seed", "None"]),
        ({"cores": 0}, ["cores"]),
        ({"sampler": "nuts"}, ["sampler", "'gibbs'", "'nuts'"]),
        ({"keep_effects": "some"}, ["keep_effects", "'thin'", "'some'"]),
        ({"unrelated": "ignore"}, ["unrelated", "'drop'"]),
        ({"model": "unstructured"}, ["BMTME", "str"]),
    ],
)
@quiet
def test_refused_arguments(data, arguments, words):
    model = arguments.pop("model", None) if "model" in arguments else BMTME()
    arguments = dict(arguments)
    with pytest.raises(UsageError) as error:
        fit(*data, model, **(SHORT | arguments))
    for word in words:
        assert word in str(error.value)


@quiet
def test_refused_types(data):
    trial, relationship = data
    with pytest.raises(UsageError, match="Trial"):
        fit(trial.to_frame(), relationship, **SHORT)
    with pytest.raises(UsageError, match="Relationship"):
        fit(trial, np.eye(14), **SHORT)


@quiet
def test_refused_data(data):
    trial, relationship = data
    with pytest.raises(DataError, match=r"means='flat'.*E1 x T2"):
        fit(trial, relationship, BMTME(means="flat"), **SHORT)
    none = trial.hide(np.repeat([[False, True, False]], trial.n_records, axis=0))
    with pytest.raises(DataError, match="'T2' has no value"):
        fit(none, relationship, **SHORT)
    alone = trial.hide(np.repeat((trial.line_index != 0)[:, None], 3, axis=1))
    with pytest.raises(DataError, match="at least two"):
        fit(alone, relationship, **SHORT)
    constant = Trial(
        trial.lines, trial.envs, trial.traits, trial.line_index, trial.env_index,
        np.where(np.isnan(trial.values), np.nan, trial.values * [1.0, 1.0, 0.0] + [0.0, 0.0, 3.0]),
    )  # fmt: skip
    with pytest.raises(DataError, match="'T3' has the same value"):
        fit(constant, relationship, **SHORT)
    matrix = np.array(relationship.matrix)
    matrix[0, 1] = matrix[1, 0] = 4.0
    with pytest.raises(DataError, match="not positive semi-definite"):
        fit(trial, Relationship(matrix, lines=relationship.lines), **SHORT)


@quiet
def test_copy_of_a_trait(data):
    """Two equal traits leave no positive residual covariance: the error says what to look for.

    Which matrix is the first to fail, R_e itself or what is computed from it, is a matter of the last bits.
    """
    trial, relationship = data
    copied = trial_of(trial.to_frame(rep="rep").assign(T2=lambda x: 2.0 * x["T1"]), ("T1", "T2"))
    with pytest.raises(NumericalError, match=r"^sweep \d+: .*not positive definite.*( copy of another| has come to 1)"):
        fit(copied, relationship, draws=2000, tune=2000, chains=2, sampler="gibbs")


def test_short_runs_are_said_to_be_short(data):
    with pytest.warns(UserWarning, match="one chain cannot show.*30 draws in all.*5 warm-up sweeps"):
        fit(*data, draws=30, tune=5, chains=1)


@pytest.mark.filterwarnings("error")
def test_a_run_of_decent_length_warns_of_nothing(data):
    result = fit(*data, draws=500, tune=200, chains=2)
    result.summary()
    result.predictions()
    repr(result.idata)


def test_preparation_leaves_out_what_is_not_recorded():
    """Records without a value are no records; lines are computed by name and keep the order of the trial."""
    sim = simulate(lines=6, envs=2, traits=2, seed=1)
    frame = sim.frame.copy()
    frame.loc[frame["line"] == "L2", ["T1", "T2"]] = np.nan
    frame.loc[(frame["line"] == "L3") & (frame["env"] == "E1"), ["T1", "T2"]] = np.nan
    prepared = prepare(trial_of(frame.iloc[::-1], ["T1", "T2"]), sim.relationship)
    assert prepared.lines == ("L1", "L3", "L4", "L5", "L6")
    assert [prepared.lines[j] for j in prepared.shown_lines] == ["L6", "L5", "L4", "L3", "L1"]
    assert prepared.given.lines == ("L6", "L5", "L4", "L3", "L2", "L1")
    assert len(prepared.values) == 9
    assert prepared.observed.all()
