"""Numbers of plots behind the records of a trial: read, refused, carried along, and what a cell's mean is by them."""

import pickle

import numpy as np
import pandas as pd
import pytest

from bmtme import DataError, Trial, UsageError, read_trial
from bmtme.checkup.faults import read_in_spite
from bmtme.data.digests import digest_trial
from bmtme.data.order import sort_trial
from bmtme.data.selection import take_trait
from bmtme.data.tables.files import Table

FRAME = pd.DataFrame(
    {
        "line": ["b", "a", "a", "b", "c"],
        "env": ["F", "E", "E", "E", "E"],
        "n": [3, 2, 4, 1, np.nan],
        "T1": [1.0, 2.0, 5.0, np.nan, np.nan],
        "T2": [np.nan, 1.0, 4.0, 7.0, np.nan],
    }
)


def read(frame=FRAME, **columns):
    return Trial.from_frame(frame, **{"line": "line", "env": "env", "n_plots": "n"} | columns)


def test_numbers_are_read_and_are_no_trait(tmp_path):
    trial = read()
    assert trial.traits == ("T1", "T2")
    assert trial.n_plots.tolist() == [3, 2, 4, 1, 0]
    assert "10 plots" in repr(trial)
    FRAME.to_csv(tmp_path / "p.csv", index=False)
    assert read_trial(tmp_path / "p.csv", line="line", env="env", n_plots="n").n_plots.tolist() == [3, 2, 4, 1, 0]
    again = Trial.from_frame(trial.to_frame(), line="line", env="env", n_plots="n_plots")
    assert again.n_plots.tolist() == trial.n_plots.tolist()


def test_cells_count_plots_and_their_means_weigh_records_by_them():
    trial = read()
    a, E = trial.lines.index("a"), trial.envs.index("E")
    assert trial.counts()[a, E].tolist() == [2, 2]
    assert trial.plots()[a, E].tolist() == [6, 6]
    np.testing.assert_allclose(trial.cell_means()[a, E], [(2 * 2 + 4 * 5) / 6, (2 * 1 + 4 * 4) / 6])
    assert trial.plots()[trial.lines.index("b"), trial.envs.index("F")].tolist() == [3, 0]
    assert read(n_plots=None, traits=["T1", "T2"]).plots().max() == 2


def test_numbers_go_with_their_records():
    trial = read()
    assert sort_trial(trial)[0].n_plots.tolist() == [2, 4, 1, 3, 0]
    assert take_trait(trial, 0, np.array([True, False])).n_plots.tolist() == [3]
    assert trial.drop_lines("a").n_plots.tolist() == [3, 1, 0]
    assert trial.hide(np.zeros((5, 2), bool)).n_plots.tolist() == [3, 2, 4, 1, 0]
    assert pickle.loads(pickle.dumps(trial)).n_plots.tolist() == [3, 2, 4, 1, 0]
    assert not pickle.loads(pickle.dumps(trial)).n_plots.flags.writeable
    other = read(FRAME.assign(n=[3, 2, 4, 2, np.nan]))
    assert digest_trial(trial) != digest_trial(other)
    assert digest_trial(trial) == digest_trial(read(FRAME.iloc[::-1]))


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (2.5, r"holds 2.5 in row 2 .*line 'a' in environment 'E'\): expected a whole number.*named as se="),
        (0, r"n_plots column 'n' of the table holds 0 in row 2 .*\(line 'a' in environment 'E'\): expected a whole"),
        (-1, r"holds -1 in row 2"),
        (None, r"is empty in row 2 .*line 'a' in environment 'E' has a value: say of how many plots"),
    ],
)
def test_what_is_no_number_of_plots(number, message):
    frame = FRAME.assign(n=[3, number, 4, 1, np.nan])
    with pytest.raises(DataError, match=message):
        read(frame)
    records, found = read_in_spite(Table.from_frame(frame), "line", "env", ["T1", "T2"], None, None, None, n_plots="n")
    assert [each.severity for each in found] == ["stop"]
    assert found[0].items[0]["line"] == "a"
    assert records.n_plots.tolist() == [3, 1, 4, 1, 0]


def test_a_trial_made_of_arrays():
    parts = ("a", "b"), ("E",), ("T",), np.array([0, 1]), np.array([0, 0]), np.array([[1.0], [2.0]])
    assert Trial(*parts, n_plots=np.array([1.0, 3.0])).n_plots.dtype == np.int64
    with pytest.raises(DataError, match=r"n_plots holds 0.5 for line 'b' in environment 'E': expected a whole number"):
        Trial(*parts, n_plots=np.array([1.0, 0.5]))
    with pytest.raises(DataError, match=r"one number per record: expected \(2,\)"):
        Trial(*parts, n_plots=np.array([1]))


def test_a_long_table_has_one_number_a_record():
    long = pd.DataFrame(
        {
            "line": ["a", "a", "b", "b"],
            "env": ["E"] * 4,
            "trait": ["T1", "T2"] * 2,
            "value": [1.0, 2.0, 3.0, np.nan],
            "n": [2, 2, 3, 5],
        }
    )
    columns = {"trait": "trait", "value": "value"}
    assert read(long, **columns).n_plots.tolist() == [2, 3]
    long.loc[3, "value"] = 4.0
    with pytest.raises(DataError, match=r"3 in row 3 .* 5 in row 4 .*line 'b' in environment 'E'.*one number of plots"):
        read(long, **columns)
    assert read(long, **columns, traits=["T1"]).n_plots.tolist() == [2, 3]


def test_the_column_has_no_other_role():
    with pytest.raises(DataError, match=r"'n' is given both as n_plots and as trait"):
        read(traits=["n", "T1"])


# --- standard errors ------------------------------------------------------------------------------------------------

ERRORS = pd.DataFrame(
    {
        "line": ["b", "a", "c", "b"],
        "env": ["F", "E", "E", "E"],
        "T1": [1.0, 2.0, np.nan, 3.0],
        "s1": [0.1, 0.2, np.nan, 0.3],
        "T2": [10.0, 20.0, 30.0, 40.0],
        "s2": [2.0, 1.0, 4.0, 1.0],
    }
)


def read_errors(frame=ERRORS, **columns):
    usual = {"line": "line", "env": "env", "traits": ["T1", "T2"], "se": {"T1": "s1", "T2": "s2"}}
    return Trial.from_frame(frame, **usual | columns)


def test_errors_go_with_their_values():
    trial = read_errors(se_correlation=0.5)
    np.testing.assert_array_equal(trial.se, ERRORS[["s1", "s2"]])
    np.testing.assert_array_equal(trial.se_correlation, [[1.0, 0.5], [0.5, 1.0]])
    np.testing.assert_array_equal(sort_trial(trial)[0].se[:, 1], [1.0, 1.0, 2.0, 4.0])
    alone = take_trait(trial, 0)
    np.testing.assert_array_equal(alone.se, ERRORS[["s1"]])
    assert alone.se_correlation is None
    assert take_trait(read_errors(se={"T2": "s2"}), 0).se is None
    hidden = trial.hide(np.array([[False, True]] * 4))
    assert np.isnan(hidden.se[:, 1]).all()
    assert pickle.loads(pickle.dumps(trial)).se[0, 0] == 0.1
    again = Trial.from_frame(trial.to_frame(), line="line", env="env", se={"T1": "T1_se", "T2": "T2_se"})
    np.testing.assert_array_equal(again.se, trial.se)
    assert digest_trial(trial) != digest_trial(read_errors())
    assert digest_trial(read_errors()) != digest_trial(read_errors(ERRORS.assign(s2=[2.0, 1.0, 4.0, 1.5])))


def test_errors_of_a_mean_of_records():
    frame = pd.DataFrame({"line": ["a", "a", "b"], "env": "E", "T": [1.0, 2.0, 3.0], "s": [0.3, 0.4, 0.1]})
    trial = Trial.from_frame(frame, line="line", env="env", traits="T", se="s")
    np.testing.assert_allclose(trial.mean_errors()[:, 0, 0], [(0.09 + 0.16) / 4, 0.01])


def test_errors_of_a_long_table():
    long = ERRORS.melt(["line", "env"], ["T1", "T2"], "trait", "value")
    long["s"] = ERRORS.melt(["line", "env"], ["s1", "s2"])["value"]
    matrix = pd.DataFrame([[1.0, 0.2], [0.2, 1.0]], index=["T2", "T1"], columns=["T2", "T1"])
    trial = read_errors(long, traits=None, trait="trait", value="value", se="s", se_correlation=matrix)
    np.testing.assert_array_equal(trial.se, ERRORS[["s1", "s2"]])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"se": "s1"}, r"one column for the standard errors of 2 traits \('T1', 'T2'\): name one for each"),
        ({"se": {"T3": "s1"}}, r"no trait with 'T3': the traits are 'T1', 'T2'"),
        ({"n_plots": "s2"}, r"n_plots= and se= do not go together"),
        ({"se": None, "se_correlation": 0.5}, r"se_correlation= needs se="),
        ({"se": {"T1": "T2"}}, r"'T2' is given both as se and as trait"),
        ({"se_correlation": 1.0}, r"not positive definite"),
        ({"se_correlation": [[4.0, 1.0], [1.0, 4.0]]}, r"ones on its diagonal: correlations, no covariances"),
        ({"se_correlation": np.eye(3)}, r"expected \(2, 2\), got \(3, 3\)"),
    ],
)
def test_errors_that_do_not_do(columns, message):
    with pytest.raises((DataError, UsageError), match=message):
        read_errors(**columns)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            0.0,
            r"se column 's1' of the table holds 0 in row 2 .*line 'a' in environment 'E'\): expected a standard error",
        ),
        (-0.5, r"holds -0.5 in row 2"),
        (None, r"is empty in row 2 .*line 'a' in environment 'E' has a value: give its standard error"),
    ],
)
def test_what_is_no_standard_error(error, message):
    with pytest.raises(DataError, match=message):
        read_errors(ERRORS.assign(s1=[0.1, error, np.nan, 0.3]))
