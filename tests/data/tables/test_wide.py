"""Wide tables, a column a trait."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bmtme.data.trial import Trial, read_trial
from bmtme.errors import DataError
from tests.helpers.tables import WIDE, write
from tests.helpers.trials import cells


def test_wide_file_keeps_identifiers_as_text_and_reads_missing_codes(tmp_path):
    trial = read_trial(write(tmp_path, WIDE), line="line", env="env", traits=["PH", "Yield"])
    assert trial.lines == ("001", "NA")
    assert trial.envs == ("A", "B")
    assert trial.traits == ("PH", "Yield")
    assert trial.reps is None
    assert trial.n_records == 4
    np.testing.assert_array_equal(trial.line_index, [0, 1, 0, 1])
    np.testing.assert_array_equal(trial.env_index, [0, 0, 1, 1])
    np.testing.assert_array_equal(trial.values, [[200, 1.5], [np.nan, 2.5], [210, np.nan], [np.nan, 3.5]])


@pytest.mark.parametrize("code", ["", " ", "NA", "na", "NaN", "nan", "."])
def test_missing_codes(tmp_path, code):
    path = write(tmp_path, f"line,env,y\na,E,1\nb,E,2\nc,E,{code}\n")
    assert np.isnan(read_trial(path, line="line", env="env", traits="y").values[2, 0])


def test_numbers_are_read_exactly(tmp_path):
    texts = ["0.1", "+2.", ".5", "-1e-3", "1E5", "5.3000000000000007", " 7 "]
    path = write(tmp_path, "line,env,y\n" + "".join(f"L{k},E,{text}\n" for k, text in enumerate(texts)))
    trial = read_trial(path, line="line", env="env")
    assert trial.values[:, 0].tolist() == [float(text) for text in texts]


def test_traits_default_to_the_numeric_columns_and_a_mixed_one_is_told(tmp_path):
    text = "line,env,rep,Yield,note,check,empty\na,E,1,1,x,0,\nb,E,1,2,y,Camelot,\n"
    with pytest.warns(UserWarning, match=r"'check' of pheno.csv holds numbers and text \('Camelot' in row 3\)") as told:
        trial = read_trial(write(tmp_path, text), line="line", env="env", rep="rep")
    assert trial.traits == ("Yield",)
    assert len(told) == 1
    assert told[0].filename == __file__


def test_wide_table_without_a_numeric_column(tmp_path):
    with pytest.raises(DataError, match=r"no numeric column to take as a trait beside 'env', 'line'"):
        read_trial(write(tmp_path, "line,env,y\na,E,x\nb,E,y\n"), line="line", env="env")


def test_order_of_rows_does_not_matter(wide_frame):
    trial = Trial.from_frame(wide_frame, line="line", env="env", rep="rep")
    turned = Trial.from_frame(wide_frame.iloc[::-1], line="line", env="env", rep="rep")
    assert trial.lines == tuple(dict.fromkeys(wide_frame["line"]))
    assert trial.lines != turned.lines
    assert cells(trial) == cells(turned)
    assert set(trial.reps) == {"1", "2"}


def test_wide_without_rep_takes_repeated_rows_as_replicates(wide_frame):
    trial = Trial.from_frame(wide_frame, line="line", env="env", traits=["Yield", "PH"])
    assert trial.reps is None
    counts = trial.counts()
    assert counts.shape == (6, 2, 2)
    assert counts.dtype == np.int64
    assert counts[trial.lines.index("002")].tolist() == [[2, 2], [2, 2]]
    assert counts[trial.lines.index("001"), trial.envs.index("A")].tolist() == [2, 0]
    assert counts[trial.lines.index("006"), trial.envs.index("B")].tolist() == [0, 0]


def test_record_without_any_value_stays_listed():
    frame = pd.DataFrame({"line": ["a", "b", "c"], "env": ["E", "E", "F"], "y": [1.0, 2.0, None]})
    trial = Trial.from_frame(frame, line="line", env="env")
    assert trial.lines == ("a", "b", "c")
    assert trial.envs == ("E", "F")
    assert trial.n_records == 3


def test_repeated_plot_in_a_wide_table(tmp_path):
    text = "line,env,rep,block,y\na,E,1,1,1\nb,E,1,1,2\na,E,1,2,3\nb,E,1,2,3\n"
    path = write(tmp_path, text)
    with pytest.raises(DataError) as error:
        read_trial(path, line="line", env="env", rep="rep", traits="y")
    message = str(error.value)
    assert "line 'a' in environment 'E' with rep '1' twice: row 2 and row 4 (2 such repeats in all)" in message
    assert "plot identifier" in message
    assert "leave rep out" in message
    trial = read_trial(path, line="line", env="env", rep=["rep", "block"], traits="y")
    assert trial.reps == ("1:1", "1:1", "1:2", "1:2")


def test_rep_of_several_columns_may_have_gaps_but_not_only_gaps(tmp_path):
    text = "line,env,block,plot,y\na,E,1,,1\nb,E,,7,2\na,E,,,3\n"
    with pytest.raises(DataError, match=r"rep columns 'block', 'plot' of pheno.csv are all empty in row 4"):
        read_trial(write(tmp_path, text), line="line", env="env", rep=["block", "plot"], traits="y")
    kept = read_trial(write(tmp_path, text[: -len("a,E,,,3\n")]), line="line", env="env", rep=["block", "plot"])
    assert kept.reps == ("1:", ":7")
