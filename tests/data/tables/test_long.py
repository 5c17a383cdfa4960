"""Long tables, a row a value."""

from __future__ import annotations

import numpy as np
import pytest

from bmtme.data.trial import Trial, read_trial
from bmtme.errors import DataError, UsageError
from tests.helpers.tables import write
from tests.helpers.trials import cells


def test_long_and_wide_tables_give_the_same_trial(wide_frame, long_frame):
    wide = Trial.from_frame(wide_frame, line="line", env="env", rep="rep", traits=["Yield", "PH"])
    long = Trial.from_frame(
        long_frame, line="line", env="env", rep="rep", trait="trait", value="value", traits=["Yield", "PH"]
    )
    assert cells(wide) == cells(long)
    assert wide.n_records == long.n_records
    key = {
        (long.lines[j], long.envs[i], r): n
        for n, (j, i, r) in enumerate(zip(long.line_index, long.env_index, long.reps, strict=True))
    }
    records = zip(wide.line_index, wide.env_index, wide.reps, strict=True)
    order = [key[wide.lines[j], wide.envs[i], r] for j, i, r in records]
    np.testing.assert_array_equal(long.values[order], wide.values)


def test_long_file_without_rep_and_with_chosen_traits(tmp_path):
    text = "gid\tsite\tname\tresult\n1\tE\tY\t2\n1\tF\tscore\tgood\n2\tE\tY\t3\n1\tE\tASI\t.\n2\tE\tASI\t1\n"
    path = write(tmp_path, text, "long.tsv")
    trial = read_trial(path, line="gid", env="site", trait="name", value="result", traits=["ASI", "Y"])
    assert trial.traits == ("ASI", "Y")
    assert trial.lines == ("1", "2")
    assert trial.envs == ("E", "F")  # seen with another trait only, and listed all the same
    np.testing.assert_array_equal(trial.values, [[np.nan, 2], [np.nan, np.nan], [1, 3]])
    with pytest.raises(DataError, match=r"value column 'result' of long.tsv holds 'good' in row 3: expected a number"):
        read_trial(path, line="gid", env="site", trait="name", value="result")


def test_long_traits_are_in_order_of_appearance(long_frame):
    trial = Trial.from_frame(long_frame, line="line", env="env", rep="rep", trait="trait", value="value")
    assert trial.traits == tuple(dict.fromkeys(long_frame["trait"]))


def test_repeated_value_in_a_long_table(tmp_path):
    text = "line,env,rep,trait,value\na,E,1,Y,1\nb,E,1,Y,2\na,E,1,Y,\n"
    path = write(tmp_path, text)
    with pytest.raises(DataError) as error:
        read_trial(path, line="line", env="env", rep="rep", trait="trait", value="value")
    assert "line 'a' in environment 'E' with rep '1' and trait 'Y' twice: row 2 and row 4 (1 such repeat" in str(
        error.value
    )
    assert "plot identifier" in str(error.value)
    assert "leave rep out" not in str(error.value)
    with pytest.raises(DataError, match=r"line 'a' in environment 'E' and trait 'Y' twice: .* plot identifier"):
        read_trial(path, line="line", env="env", trait="trait", value="value")


def test_long_table_with_a_missing_rep(tmp_path):
    text = "line,env,rep,trait,value\na,E,1,Y,1\nb,E,,Y,2\n"
    with pytest.raises(DataError, match=r"rep column 'rep' of pheno.csv is empty in row 3"):
        read_trial(write(tmp_path, text), line="line", env="env", rep="rep", trait="trait", value="value")


def test_long_table_without_the_trait_asked_for(long_frame):
    with pytest.raises(
        DataError, match=r"holds no trait 'yield'\. Did you mean 'Yield'\? Its traits are 'PH', 'Yield'"
    ):
        Trial.from_frame(
            long_frame.sort_values("trait"),
            line="line",
            env="env",
            rep="rep",
            trait="trait",
            value="value",
            traits="yield",
        )


@pytest.mark.parametrize("lone", [{"trait": "trait"}, {"value": "value"}])
def test_trait_and_value_belong_together(long_frame, lone):
    with pytest.raises(UsageError, match="belong together"):
        Trial.from_frame(long_frame, line="line", env="env", **lone)
