"""Trials: reading of wide and long tables, messages for bad ones, and the Trial itself."""

from __future__ import annotations

import copy
import dataclasses
import gzip
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bmtme.data.trial import Trial, read_trial
from bmtme.errors import BmtmeError, DataError, NumericalError, UsageError
from bmtme.words import first_repeat, list_names, normalise_name, suggest

WIDE = "line,env,Yield,PH\n001,A,1.5,200\nNA,A,2.5,\n001,B,NA,210\nNA,B,3.5,.\n"


def write(folder: Path, text: str, name: str = "pheno.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def same(a: Trial, b: Trial) -> bool:
    return (
        (a.lines, a.envs, a.traits, a.reps) == (b.lines, b.envs, b.traits, b.reps)
        and np.array_equal(a.line_index, b.line_index)
        and np.array_equal(a.env_index, b.env_index)
        and np.array_equal(a.values, b.values, equal_nan=True)
    )


def cells(trial: Trial) -> dict[tuple[str, str, str], tuple[int, float]]:
    """Count and mean of every recorded cell by name: the content of a trial without its order."""
    counts, means = trial.counts(), trial.cell_means()
    return {
        (trial.lines[j], trial.envs[i], trial.traits[t]): (int(counts[j, i, t]), round(float(means[j, i, t]), 10))
        for j, i, t in np.argwhere(counts > 0)
    }


# --- errors and words -------------------------------------------------------------------------------------------


def test_errors_carry_exit_codes_and_are_builtin_kinds():
    assert (DataError.exit_code, UsageError.exit_code, NumericalError.exit_code) == (3, 2, 4)
    assert issubclass(DataError, ValueError)
    assert issubclass(UsageError, ValueError)
    assert issubclass(NumericalError, ArithmeticError)
    assert all(issubclass(kind, BmtmeError) for kind in (DataError, UsageError, NumericalError))


def test_names_in_messages():
    assert list_names(["a", 1]) == "'a', '1'"
    assert list_names("abcdef", limit=4) == "'a', 'b', 'c', 'd' and 2 more"
    assert normalise_name("L-007 b") == normalise_name("l7B")
    assert normalise_name("L70") != normalise_name("L7")
    assert normalise_name("0") == "0"
    assert suggest("yeild", ["ASI", "Yield"]) == " Did you mean 'Yield'?"
    assert suggest("xyz", ["ASI", "Yield"]) == ""
    assert first_repeat("abcb") == (1, 3)
    assert first_repeat("abc") is None


# --- wide tables ------------------------------------------------------------------------------------------------


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


# --- long tables ------------------------------------------------------------------------------------------------


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


# --- bad tables -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("abc", r"trait column 'y' of pheno.csv holds 'abc' in row 3: expected a number, or an empty cell, NA"),
        ('"5,3"', r"holds '5,3' \(write decimals with a point\) in row 3"),
        ("1_0", r"holds '1_0' in row 3"),
        ("inf", r"trait column 'y' of pheno.csv holds an infinite value, 'inf', in row 3"),
        ("-Infinity", r"an infinite value, '-Infinity', in row 3"),
        ("1e999", r"an infinite value, '1e999', in row 3"),
    ],
)
def test_bad_value_is_named(tmp_path, cell, words):
    with pytest.raises(DataError, match=words):
        read_trial(write(tmp_path, f"line,env,y\na,E,1\nb,E,{cell}\n"), line="line", env="env", traits=["y"])


def test_rows_are_counted_as_in_the_file(tmp_path):
    text = '\nline,env,note,y\na,E,"two\nlines",1\n\n  \nb,E,,x\n'
    with pytest.raises(DataError, match=r"holds 'x' in row 7"):
        read_trial(write(tmp_path, text), line="line", env="env", traits="y")


@pytest.mark.parametrize(
    ("row", "words"), [(" ,E,1", "line column 'line' of pheno.csv is empty in row 3"), ("b,,1", "env column 'env'")]
)
def test_empty_identifier(tmp_path, row, words):
    with pytest.raises(DataError, match=words):
        read_trial(write(tmp_path, f"line,env,y\na,E,1\n{row}\n"), line="line", env="env")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"line": "Line", "env": "env"}, "no column 'Line', given as the line column. Did you mean 'line'?"),
        ({"line": "line", "env": "evn"}, "no column 'evn', given as the env column. Did you mean 'env'?"),
        ({"line": "line", "env": "env", "rep": "plots"}, "no column 'plots', given as the rep column."),
        ({"line": "line", "env": "env", "traits": ["Yeild"]}, "given as the trait column. Did you mean 'Yield'?"),
    ],
)
def test_unknown_column(tmp_path, asked, words):
    with pytest.raises(DataError) as error:
        read_trial(write(tmp_path, WIDE), **asked)
    assert words in str(error.value)
    assert "Its columns are 'line', 'env', 'Yield', 'PH'" in str(error.value)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"line": "line", "env": "line"}, "'line' is given both as line and as env"),
        ({"line": "line", "env": "env", "rep": "env"}, "'env' is given both as env and as rep"),
        ({"line": "line", "env": "env", "rep": ["PH", "PH"]}, "'PH' is given both as rep and as rep"),
        ({"line": "line", "env": "env", "traits": ["env"]}, "'env' is given both as env and as trait"),
        ({"line": "line", "env": "env", "trait": "PH", "value": "PH"}, "'PH' is given both as trait and as value"),
        ({"line": "line", "env": "env", "traits": ["PH", "PH"]}, "The trait 'PH' is named twice"),
    ],
)
def test_columns_must_differ(tmp_path, asked, words):
    with pytest.raises(DataError, match=words):
        read_trial(write(tmp_path, WIDE), **asked)


def test_no_trait_asked_for(tmp_path):
    with pytest.raises(UsageError, match="names no trait"):
        read_trial(write(tmp_path, WIDE), line="line", env="env", traits=[])


def test_trait_without_a_value(tmp_path):
    path = write(tmp_path, "line,env,y,z\na,E,1,\nb,E,2,NA\n")
    with pytest.raises(DataError, match=r"trait 'z' has no value in pheno.csv"):
        read_trial(path, line="line", env="env", traits=["y", "z"])


@pytest.mark.parametrize("rows", ["a,E,1\na,F,2\n", "a,E,1\nb,E,\n"])
def test_a_single_line(tmp_path, rows):
    with pytest.raises(DataError, match=r"values for one line only: at least two lines"):
        read_trial(write(tmp_path, "line,env,y\n" + rows), line="line", env="env", traits="y")


def test_no_records(tmp_path):
    with pytest.raises(DataError, match=r"pheno.csv has no records"):
        read_trial(write(tmp_path, "line,env,y\n"), line="line", env="env", traits="y")
    with pytest.raises(DataError, match="the table has no records"):
        Trial.from_frame(pd.DataFrame(columns=["line", "env", "y"]), line="line", env="env", traits="y")


# --- files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "pheno.csv is empty"),
        (b"\n\n", "pheno.csv is empty"),
        ("line,env,y\na,Z\xfcrich,1\n".encode("latin-1"), r"pheno.csv is not UTF-8 text \(byte 0xfc\)"),
        (WIDE.encode("utf-16"), "is not UTF-8 text"),
        (b"line,env,y\na,E,1\nb,E\n", "has 2 cells in row 3 but 3 in its header"),
        (b"line,env,y\na,E,1,2\n", "has 4 cells in row 2 but 3 in its header.*write.table"),
        (b"line,env,y,y\na,E,1,2\n", r"two columns named 'y' \(columns 3 and 4\)"),
        (b"line,env,y,,\na,E,1,,\n", "no name in its header for columns 4 and 5"),
        (b'line,env,y\n"a"x,E,1\n', "cannot be split into cells at row 2"),
        (b'line,env,y\na,E,1\n"b,E,1\nc,E,1\n', "cannot be split into cells at row 3"),
        (b"line;env;y\na;E;1\n", "seems to separate its columns by semicolons"),
        (b"line\tenv\ty\na\tE\t1\n", "seems to separate its columns by tabs"),
        (gzip.compress(WIDE.encode())[:-12], "pheno.csv is a damaged gzip file"),
    ],
)
def test_bad_file(tmp_path, content, words):
    path = tmp_path / "pheno.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_trial(path, line="line", env="env", traits="y")


def test_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"none.csv cannot be read: No such file"):
        read_trial(tmp_path / "none.csv", line="line", env="env")
    with pytest.raises(DataError, match="cannot be read"):
        read_trial(tmp_path, line="line", env="env")


def test_formats_of_the_same_table(tmp_path):
    expected = read_trial(write(tmp_path, WIDE), line="line", env="env")
    tabs = WIDE.replace(",", "\t")
    quoted = "".join(", ".join(f'"{cell}"' for cell in row.split(",")) + "\r\n" for row in WIDE.splitlines())
    files = {"a.tsv": tabs, "b.txt": tabs, "c.txt": WIDE, "d.csv": "\ufeff" + WIDE, "e.csv": quoted, "f.csv": WIDE[:-1]}
    for name, text in files.items():
        assert same(read_trial(write(tmp_path, text, name), line="line", env="env"), expected), name
    for name in ("g.csv.gz", "h.tsv.gz", "i.csv"):  # what counts is the content, not the ending
        path = tmp_path / name
        path.write_bytes(gzip.compress((tabs if "tsv" in name else WIDE).encode()))
        assert same(read_trial(str(path), line="line", env="env"), expected), name


def test_white_space_is_trimmed(tmp_path):
    path = write(tmp_path, " line ,env, Yield\n a b ,E , 1 \nc, E,2\n")
    trial = read_trial(path, line="line", env="env", traits=[" Yield "])
    assert trial.lines == ("a b", "c")
    assert trial.envs == ("E",)
    assert trial.traits == ("Yield",)


# --- frames -----------------------------------------------------------------------------------------------------


def test_numeric_identifiers_become_text():
    frame = pd.DataFrame({"line": [1, 2], "env": [2015.0, 2016.0], "rep": [True, False], "y": [1, 2]})
    trial = Trial.from_frame(frame, line="line", env="env", rep="rep", traits="y")
    assert trial.lines == ("1", "2")
    assert trial.envs == ("2015", "2016")
    assert trial.reps == ("True", "False")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (1.5, r"'line' of the table holds 1\.5, which is no whole number.* \(row 2 \(index label 'q'\)\)"),
        (np.inf, "holds inf, which is no whole number"),
        (1e17, "no whole number"),
        (pd.Timestamp("2020-01-01"), "neither text nor a whole number"),
        (None, r"line column 'line' of the table is empty in row 2 \(index label 'q'\)"),
        (np.nan, "is empty in row 2"),
        (pd.NA, "is empty in row 2"),
        (pd.NaT, "is empty in row 2"),
        ("", "is empty in row 2"),
    ],
)
def test_bad_identifiers_of_a_frame(value, words):
    frame = pd.DataFrame({"line": pd.Series(["a", value, "c"], dtype=object), "env": "E", "y": 1.0})
    frame.index = list("pqr")
    with pytest.raises(DataError, match=words):
        Trial.from_frame(frame, line="line", env="env", traits="y")


@pytest.mark.parametrize("value", [True, 1j, "x", [1], pd.Timestamp("2020-01-01")])
def test_bad_values_of_a_frame(value):
    frame = pd.DataFrame({"line": ["a", "b"], "env": "E", "y": pd.Series([1.0, value], dtype=object)})
    with pytest.raises(DataError, match=r"trait column 'y' of the table holds .* in row 2 \(index label 1\)"):
        Trial.from_frame(frame, line="line", env="env", traits="y")


def test_categorical_nullable_and_float32_columns(wide_frame):
    expected = Trial.from_frame(wide_frame, line="line", env="env", rep="rep")
    frame = wide_frame.astype({"line": "category", "env": "category", "rep": "Int64", "Yield": "Float64"})
    frame["PH"] = frame["PH"].astype(str)  # numbers and nan as text
    assert same(Trial.from_frame(frame, line="line", env="env", rep="rep"), expected)


def test_arrow_columns(wide_frame):
    pytest.importorskip("pyarrow")
    expected = Trial.from_frame(wide_frame, line="line", env="env", rep="rep")
    for frame in (wide_frame.convert_dtypes(dtype_backend="pyarrow"), wide_frame.astype({"line": "string[pyarrow]"})):
        assert same(Trial.from_frame(frame, line="line", env="env", rep="rep"), expected)


def test_frame_is_not_changed_and_column_names_are_text(wide_frame):
    frame = wide_frame.set_axis([0, 1, 2, "Yield ", "PH"], axis=1)
    before = frame.copy(deep=True)
    trial = Trial.from_frame(frame, line="0", env="1", rep="2")
    assert trial.traits == ("Yield", "PH")
    pd.testing.assert_frame_equal(frame, before)


def test_frame_with_two_columns_of_one_name(wide_frame):
    frame = wide_frame.set_axis(["line", "env", "rep", "PH", "PH"], axis=1)
    with pytest.raises(DataError, match="two columns named 'PH'"):
        Trial.from_frame(frame, line="line", env="env")


def test_something_else_than_a_frame():
    with pytest.raises(UsageError, match="expected a pandas DataFrame, got str"):
        Trial.from_frame("pheno.csv", line="line", env="env")


# --- the trial --------------------------------------------------------------------------------------------------


@pytest.fixture
def trial(wide_frame) -> Trial:
    return Trial.from_frame(wide_frame, line="line", env="env", rep="rep")


def test_trial_is_immutable(trial):
    with pytest.raises(dataclasses.FrozenInstanceError):
        trial.lines = ("x",)
    for copied in (trial, pickle.loads(pickle.dumps(trial)), copy.deepcopy(trial), dataclasses.replace(trial)):
        assert same(copied, trial)
        for array in (copied.values, copied.line_index, copied.env_index):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0


def test_trial_copies_what_it_is_given():
    values = np.array([[1.0], [2.0]])
    trial = Trial(["a", "b"], ["E"], ["y"], [0, 1], [0, 0], values)
    values[0] = 99
    assert trial.values[0, 0] == 1
    assert trial.lines == ("a", "b")
    assert trial.values.dtype == np.float64
    assert trial.line_index.dtype == np.int64


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lines": ("a", "a")}, "lines holds 'a' twice"),
        ({"envs": ()}, "envs is empty"),
        ({"traits": ("",)}, "traits holds ''"),
        ({"traits": (1,)}, "traits holds 1"),
        ({"traits": ("y", "z")}, r"expected \(N, 2\), got \(2, 1\)"),
        ({"values": np.zeros(2)}, r"expected \(N, 1\), got \(2,\)"),
        ({"values": np.array([[0.0], [np.inf]])}, "infinite value of trait 'y' in record 1"),
        ({"line_index": [0]}, r"line_index must hold one integer per record: expected \(2,\)"),
        ({"line_index": [0.0, 1.0]}, "one integer per record"),
        ({"line_index": [0, 2]}, "line_index must lie between 0 and 1"),
        ({"env_index": [-1, 0]}, "env_index must lie between 0 and 0"),
        ({"reps": ("1",)}, "one text per record: expected 2, got 1"),
    ],
)
def test_trial_checks_its_parts(change, words):
    parts = {"lines": ("a", "b"), "envs": ("E",), "traits": ("y",), "line_index": [0, 1], "env_index": [0, 0]}
    with pytest.raises(DataError, match=words):
        Trial(**{**parts, "values": np.zeros((2, 1)), **change})


def test_cell_means_agree_with_pandas(trial, wide_frame):
    grouped = wide_frame.groupby(["line", "env"])[["Yield", "PH"]]
    means, counts = grouped.mean(), grouped.count()
    for j, line in enumerate(trial.lines):
        for i, env in enumerate(trial.envs):
            if (line, env) in means.index:
                np.testing.assert_allclose(trial.cell_means()[j, i], means.loc[(line, env)], rtol=1e-14)
                np.testing.assert_array_equal(trial.counts()[j, i], counts.loc[(line, env)])
            else:
                assert np.isnan(trial.cell_means()[j, i]).all()
                assert not trial.counts()[j, i].any()


def test_hide(trial):
    mask = np.zeros(trial.values.shape, dtype=bool)
    mask[:5, 1] = True
    hidden = trial.hide(mask)
    assert (hidden.lines, hidden.envs, hidden.reps) == (trial.lines, trial.envs, trial.reps)
    assert np.isnan(hidden.values[mask]).all()
    np.testing.assert_array_equal(hidden.values[~mask], trial.values[~mask])
    assert np.isnan(trial.hide(np.ones_like(mask)).values).all()
    for bad in (mask[:-1], mask.astype(int), mask[:, 0]):
        with pytest.raises(UsageError, match="mask must be a boolean array of shape"):
            trial.hide(bad)


def test_drop_lines(trial, wide_frame):
    smaller = trial.drop_lines(["002", "NA"])
    rest = wide_frame[~wide_frame["line"].isin(["002", "NA"])]
    assert cells(smaller) == cells(Trial.from_frame(rest, line="line", env="env", rep="rep"))
    assert smaller.lines == tuple(line for line in trial.lines if line not in ("002", "NA"))
    assert smaller.envs == trial.envs
    assert len(smaller.reps) == smaller.n_records == len(rest)
    assert same(trial.drop_lines([]), trial)
    with pytest.raises(DataError, match="no line 'x', 'y'"):
        trial.drop_lines(["y", "002", "x"])
    with pytest.raises(DataError, match="leaves no trial"):
        trial.drop_lines(trial.lines)


def test_to_frame_and_back(trial):
    frame = trial.to_frame()
    assert list(frame.columns) == ["line", "env", "rep", "Yield", "PH"]
    assert same(Trial.from_frame(frame, line="line", env="env", rep="rep"), trial)
    with pytest.raises(UsageError, match="two columns would be named 'PH'"):
        trial.to_frame(rep="PH")
    plain = Trial(("a", "b"), ("E",), ("rep",), [0, 1], [0, 0], np.ones((2, 1)))
    assert list(plain.to_frame().columns) == ["line", "env", "rep"]


def test_repr_is_short_and_tells_what_is_missing(trial):
    assert repr(trial) == (
        "Trial(6 lines x 2 environments x 2 traits; 22 records, 4.5% of values missing; "
        "0 of 4 environment x trait columns without a value)"
    )


# --- real data --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "traits", "shape", "n_records", "n_missing"),
    [
        ("maize309_mtme", "Yield ASI PH", (309, 3, 3), 927, 0),
        ("wheat250_mtme", "DTHD GRYLD NDVI PTHT", (250, 3, 4), 750, 0),
        ("wheat599", "GY", (599, 4, 1), 2396, 0),
        (
            "barley_steptoe_morex152",
            "amylase diapow hddate lodging malt height protein yield",
            (152, 16, 8),
            2432,
            None,
        ),
        ("gryphon", "BWT TARSUS", (1084, 1, 2), 1084, None),
        ("potato_hancock", "total.yield vine.maturity fry.color", (1318, 6, 3), 2076, None),
        ("belamkar_augmented", "yield", (273, 8, 1), 2700, 9),
        ("toys/MaizeToy", "Yield ASI PH", (30, 3, 3), 90, 0),
        ("toys/WheatToy", "DTHD PTHT", (30, 3, 2), 90, 0),
        ("toys/WheatIranianToy", "DTH DTM", (30, 2, 2), 60, 0),
    ],
)
def test_real_trials(data_file, name, traits, shape, n_records, n_missing):
    path = data_file(f"{name}/pheno.csv")
    trial = read_trial(path, line="line", env="env", traits=traits.split())
    raw = pd.read_csv(path, dtype={"line": str, "env": str})
    assert (len(trial.lines), len(trial.envs), len(trial.traits)) == shape
    assert trial.n_records == n_records == len(raw)
    np.testing.assert_allclose(trial.values, raw[traits.split()].to_numpy(), rtol=1e-14)
    if n_missing is not None:
        assert int(np.isnan(trial.values).sum()) == n_missing


def test_real_trial_with_plots(data_file):
    path = data_file("belamkar_augmented/pheno.csv")
    with pytest.raises(DataError, match="plot identifier"):
        read_trial(path, line="line", env="env", rep="rep", traits="yield")
    trial = read_trial(path, line="line", env="env", rep=["row", "col"], traits="yield")
    assert trial.counts().max() == 20
