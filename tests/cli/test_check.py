"""``bmtme check``: what it says and writes, bad tables, exit statuses, and real data."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bmtme.checkup import findings
from tests.helpers.checkups import LINES
from tests.helpers.shell import COLUMNS, Run

WORDS = [*COLUMNS, "--traits", "Yield,PH", "--rep", "rep"]


@pytest.fixture
def check(tmp_path: Path, run: Run) -> Run:
    """Write the phenotypes and run ``bmtme check``."""

    def call(frame: pd.DataFrame, *words: object, columns: list[str] | None = None) -> tuple[int, str, str]:
        frame.to_csv(tmp_path / "pheno.csv", index=False)
        given = WORDS if columns is None else columns
        return run("check", tmp_path / "pheno.csv", *given, *words)

    return call


def test_shell(clean, check, tmp_path):
    code, said, complained = check(clean, "--relationship", "identity")
    assert (code, complained) == (0, "")
    assert "identity: the lines are taken as unrelated" in said
    pd.DataFrame(np.eye(29), LINES[1:], LINES[1:]).to_csv(tmp_path / "grm.csv")
    code, said, complained = check(clean, "--relationship", tmp_path / "grm.csv", "--out", tmp_path / "out")
    assert code == 3
    assert complained == ("bmtme: error: a fit of these data would be refused, for the reasons named in the report.\n")
    assert "1 of 30 lines with records has no relationship: L01." in said
    names = ["columns.csv", "common_lines.csv", "findings.csv", "lines.csv", "replicates.csv", "report.txt"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    table = pd.read_csv(tmp_path / "out" / "findings.csv")
    assert list(table.columns) == list(findings.COLUMNS)
    assert table[["severity", "line"]].values.tolist() == [["stop", "L01"]]
    assert "1 of 30 lines" in (tmp_path / "out" / "report.txt").read_text()
    code, said, complained = check(clean, "--out", tmp_path / "out")
    assert (code, said) == (2, "")
    assert "is not empty" in complained
    code, said, complained = check(clean, "--relationship", tmp_path / "grm.csv", "--drop-unrelated")
    assert (code, complained) == (0, "")


def test_tables_for_spreadsheets(clean, check, tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    frame = clean.replace({"line": {"L01": "=1+1"}, "env": {clean["env"].iloc[0]: "@E"}})
    code, said, complained = check(frame, "--out", tmp_path / "out", "--safe-text", "--xlsx")
    assert (code, complained) == (0, "")
    assert "tables.xlsx" in said
    assert '\n"\'=1+1",' in (tmp_path / "out" / "lines.csv").read_text()
    assert "'@E" in (tmp_path / "out" / "common_lines.csv").read_text().splitlines()[0]
    book = openpyxl.load_workbook(tmp_path / "out" / "tables.xlsx")
    assert book.sheetnames == ["findings", "columns", "lines", "common_lines", "replicates"]
    assert "=1+1" in [cell.value for cell in book["lines"]["A"] if cell.data_type == "s"]
    for option in ("--safe-text", "--xlsx"):
        code, said, complained = check(clean, option)
        assert (code, said) == (2, "")
        assert f"argument {option}: needs --out" in complained


def test_picture(clean, check, tmp_path):
    code, said, complained = check(clean, "--plot", "--out", tmp_path / "out")
    assert (code, complained) == (0, "")
    assert "records.png" in said
    assert (tmp_path / "out" / "records.png").read_bytes().startswith(b"\x89PNG")
    code, said, complained = check(clean, "--plot")
    assert (code, said) == (2, "")
    assert "argument --plot: needs --out" in complained


def test_shell_with_a_pedigree(clean, check, tmp_path):
    pedigree = pd.DataFrame({"clone": LINES[:20], "father": ["A"] * 20, "mother": ["B"] * 20})
    pedigree.to_csv(tmp_path / "ped.csv", index=False)
    columns = ["--pedigree-columns", "clone,father,mother"]
    code, said, _ = check(clean, "--relationship", tmp_path / "ped.csv", *columns)
    assert code == 3
    assert "10 of 30 lines with records have no relationship: L21, L22," in said
    assert "2 lines of the relationship without records: A, B" in said
    assert "both sire and dam" not in said
    pedigree.loc[1, ["father", "mother"]] = ["B", "A"]  # plants may be either
    pedigree.to_csv(tmp_path / "ped.csv", index=False)
    _, said, _ = check(clean, "--relationship", tmp_path / "ped.csv", *columns)
    assert "2 individuals of the pedigree are both sire and dam: A, B." in said
    code, said, complained = check(clean, "--relationship", tmp_path / "ped.csv")
    assert (code, said) == (3, "")
    assert "ped.csv has the columns 'father', 'mother', as a pedigree: say which are the individual's" in complained
    code, said, complained = check(clean, "--relationship", tmp_path / "ped.csv", "--pedigree-columns", "id,sire,dam")
    assert (code, said) == (3, "")
    assert "ped.csv has no column 'id', given as the id column" in complained


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--outlier", "0"], "argument --outlier: expected a positive number, got 0"),
        (["--relationship", "identity", "--founders"], "argument --founders: needs a pedigree, as --relationship"),
        (["--relationship", "identity", "--selfing", "3"], "argument --selfing: needs a pedigree, as --relationship"),
        (["--pedigree-columns", "a,b,c"], "argument --pedigree-columns: needs a pedigree, as --relationship"),
        (
            ["--relationship", "p.csv", "--pedigree-columns", "a,b"],
            "expected three columns (individual, sire, dam), got 2",
        ),
        (["--trait", "t"], "argument --trait: needs --value too"),
    ],
)
def test_bad_options(clean, check, words, message):
    code, said, complained = check(clean, *words)
    assert (code, said) == (2, "")
    assert message in complained


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--line", "Line"], "no column 'Line', given as the line column. Did you mean 'line'?"),
        (["--traits", "Yeild"], "no column 'Yeild', given as the trait column. Did you mean 'Yield'?"),
        (["--relationship", "none.csv"], "none.csv cannot be read"),
    ],
)
def test_files_and_columns_that_are_not_there(clean, check, words, message):
    columns = ["--line", "line", "--env", "env", "--rep", "rep"]
    code, said, complained = check(clean, *words, columns=columns)
    assert (code, said) == (3, "")
    complained = complained.replace(
        "warning: no --traits given: every numeric column is taken as one (Yield, PH).\n", ""
    )
    assert message in complained
    assert complained.count("\n") == 1


def test_all_faults_of_a_table_at_once(clean, check):
    frame = clean.astype(object)
    frame.loc[2, "Yield"] = "low"
    frame.loc[7, "PH"] = "1,75"
    frame.loc[9, "PH"] = "inf"
    frame.loc[11, "line"] = " "
    frame.loc[14, "env"] = None
    frame.loc[21, ["line", "env", "rep"]] = frame.loc[20, ["line", "env", "rep"]].to_numpy()
    code, said, complained = check(frame)
    assert code == 3
    assert complained.count("\n") == 1
    said = " ".join(said.split())
    assert "2 rows without a name in 'line', 'env' (row 13, 16 of pheno.csv)" in said
    assert "3 values that are no numbers, such as 'low', '1,75' (write decimals with a point), infinite" in said
    assert "decimal commas are read with --decimal ," in said
    assert "1 row with the same line, env, rep as an earlier one" in said
    assert "4 Yield East L01 'low' is no number" not in said  # row, trait, environment and line stand in a table
    for row in ("4 Yield North L01 'low' is no number", "9 PH East L02", "11 PH North L02 infinite", "23 North L04"):
        assert row in said
    assert "178 records" in said


def test_faults_as_rows(clean, tmp_path, check):
    frame = clean.astype(object)
    frame.loc[2, "Yield"] = "low"
    check(frame, "--out", tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / "findings.csv")
    (row,) = table[table["kind"] == "bad value"].to_dict("records")
    assert (row["severity"], row["row"], row["line"], row["env"], row["trait"]) == ("stop", 4, "L01", "North", "Yield")


def test_repeated_plots_with_the_column_that_tells_them_apart(clean, check):
    frame = clean.assign(block=clean["rep"], note="x").assign(rep="1")
    code, said, _ = check(frame)
    said = " ".join(said.split())
    assert code == 3
    assert "90 rows with the same line, env, rep as an earlier one, taken as further plots" in said
    assert "block would tell them apart: --rep rep,block" in said
    assert "2 records per line and environment" in said
    assert check(frame, columns=[*WORDS[:-1], "rep,block"])[0] == 0


def test_repeated_plots_without_named_traits(clean, check):
    frame = pd.concat([clean, clean.iloc[[4]]])
    code, said, complained = check(frame, columns=WORDS[:4] + ["--rep", "rep"])
    assert code == 3
    said = " ".join(said.split())
    assert "give a plot identifier as --rep" in said
    assert "would tell them apart" not in said  # a trait's values tell anything apart
    assert "rep' of" not in complained  # rep was named as rep
    assert "2 traits (Yield, PH)" in said


def test_a_trait_of_which_no_value_is_a_number(clean, check):
    frame = clean.assign(Yield=[f"{value * 1000:,.0f}" for value in clean["Yield"]])
    code, _, complained = check(frame)
    assert code == 3
    assert "has no value" not in complained
    assert f"{frame['Yield'].iloc[0]!r}" in complained


def test_repeated_values_of_a_long_table(clean, check):
    long = clean.melt(["line", "env", "rep"], ["Yield", "PH"], "trait", "value")
    long = pd.concat([long, long.iloc[[4]]]).astype(object)
    long.iloc[8, 4] = "?"
    words = [*WORDS[:4], "--rep", "rep", "--trait", "trait", "--value", "value"]
    code, said, _ = check(long, columns=words)
    said = " ".join(said.split())
    assert code == 3
    assert "1 row with the same line, env, rep, trait as an earlier one, left out" in said
    assert "1 value that is no number, such as '?'" in said
    assert "180 records" in said
    assert check(clean.melt(["line", "env", "rep"], ["Yield", "PH"], "trait", "value"), columns=words)[0] == 0


def test_check_imports_no_sampler(tmp_path):
    """A look at the data is quick: numba and ArviZ stay out."""
    (tmp_path / "p.csv").write_text("line,env,y\na,E,1\nb,E,2\nc,E,4\n")
    code = (
        "import sys; from bmtme.cli.main import main; "
        f"assert main(['check', {str(tmp_path / 'p.csv')!r}, '--line', 'line', '--env', 'env', '--traits', 'y']) == 0; "
        "sys.exit(sum(name in sys.modules for name in ('numba', 'arviz', 'matplotlib')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# --- real data --------------------------------------------------------------------------------------------------


@pytest.fixture
def look(data_file: Callable[[str], Path], run: Run) -> Callable[..., tuple[int, str]]:
    """Exit status of ``bmtme check`` on a real data set, and what it says as one line."""

    def call(name: str, traits: str, *words: str) -> tuple[int, str]:
        code, said, _ = run("check", data_file(f"{name}/pheno.csv"), *COLUMNS, "--traits", traits, *words)
        return code, " ".join(said.split())

    return call


def test_steptoe_morex(data_file, look):
    grm = str(data_file("barley_steptoe_morex152/grm.csv.gz"))
    traits = "amylase,diapow,hddate,lodging,malt,height,protein,yield"
    code, said = look("barley_steptoe_morex152", traits, "--relationship", grm)
    assert code == 3
    assert "3 of 152 lines with records have no relationship: Steptoe, Morex, SM8." in said
    assert "1 line of the relationship without records: SM9." in said
    assert "38 absent blocks" in said
    assert "amylase, diapow, malt, protein in 7 of 16 environments (MTd91, NY92," in said
    assert "lodging in 10 of 16 environments" in said


def test_potato_hancock(data_file, look):
    words = [
        "--relationship",
        str(data_file("potato_hancock/pedigree.csv")),
        "--pedigree-columns",
        "id,parent1,parent2",
    ]
    code, said = look("potato_hancock", "total.yield,vine.maturity,fry.color", *words)
    assert code == 3
    assert "359 of 1,318 lines with records have no relationship" in said
    assert (
        "21.1% of the line x environment cells are filled, and 1,063 of 1,318 lines are in one environment only" in said
    )
    assert "'MSV033-01' and 'MSV033-1'" in said


def test_belamkar(data_file, look):
    code, said = look("belamkar_augmented", "yield", "--rep", "row,col")
    assert code == 0
    for name in ("Camelot", "Freeman", "GOODSTREAK"):
        assert f"{name} (90 plots in 8 environments; 10 to 20 each)" in said
