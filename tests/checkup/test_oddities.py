"""What a look at a trial finds: each thing planted in clean data, and nothing in data without it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bmtme.checkup.findings import COLUMNS, Finding
from bmtme.checkup.oddities import robust_z
from bmtme.checkup.overview import Checkup
from bmtme.checkup.text import describe_checkup
from bmtme.data.relationship.matrix import Relationship
from bmtme.data.trial import Trial
from bmtme.errors import UsageError

LINES = [f"L{j:02d}" for j in range(1, 31)]


def report(frame: pd.DataFrame, relationship: Relationship | None = None, **options: object) -> Checkup:
    rep = "rep" if "rep" in frame else None
    traits = [name for name in frame.columns if name not in ("line", "env", "rep")]
    return Trial.from_frame(frame, line="line", env="env", rep=rep, traits=traits).check(relationship, **options)


def found(checkup: Checkup, kind: str) -> Finding:
    """The one finding of a kind."""
    (finding,) = (finding for finding in checkup.notes if finding.kind == kind)
    return finding


def kinds(checkup: Checkup) -> set[str]:
    return {finding.kind for finding in checkup.notes}


def cells(frame: pd.DataFrame, line: str, env: str) -> pd.Series:
    return (frame["line"] == line) & (frame["env"] == env)


# --- nothing strange --------------------------------------------------------------------------------------------


def test_clean_data_have_no_findings(clean):
    checkup = report(clean, Relationship(0.6 * np.eye(30) + 0.4, lines=LINES))
    assert kinds(checkup) == set()
    assert checkup.ok
    assert checkup.findings.empty
    assert list(checkup.findings.columns) == list(COLUMNS)
    text = str(checkup)
    for part in (
        "verdict      a fit would take these data; nothing strange",
        "30 lines, 3 environments (East, North, West), 2 traits (Yield, PH)",
        "180 records; nothing missing",
        "2 records per line and environment",
        "30 lines, among them all 30 lines with records",
    ):
        assert part in text
    assert repr(checkup) == "Checkup(180 records; findings: 0 stop, 0 warning, 0 note; print() shows them)"


def test_tables(clean):
    clean.loc[cells(clean, "L01", "East"), "PH"] = np.nan
    checkup = report(clean[~cells(clean, "L02", "West")])
    east = checkup.columns.set_index(["env", "trait"]).loc[("East", "PH")]
    assert (east["lines_grown"], east["lines"], east["records"], east["most_per_line"]) == (30, 29, 58, 2)
    seen = clean.loc[(clean["env"] == "East"), "PH"].dropna()
    assert (east["minimum"], east["maximum"]) == (seen.min(), seen.max())
    assert east["mean"] == pytest.approx(seen.mean())
    assert east["sd"] == pytest.approx(seen.std())
    lines = checkup.lines.set_index("line")
    assert lines.loc["L02"].to_dict() == {"records": 4, "envs": 2, "traits": 2}
    assert checkup.common_lines.loc["East", "West"] == checkup.common_lines.loc["West", "West"] == 29


def test_means_in_the_text(clean):
    """With the digits that the spread leaves, none in their hundreds, and a dash where nothing was recorded."""
    clean["PH"] *= 1e40
    clean.loc[clean["env"] == "West", "Yield"] = np.nan
    lines = str(report(clean)).splitlines()
    start = lines.index("Mean and, in brackets, standard deviation of the records")
    table = {words[0]: words[1:] for words in (line.split() for line in lines[start + 2 :])}
    seen = clean.loc[clean["env"] == "East", "Yield"]
    assert seen.std() > 0.1
    assert table["East"][:2] == [f"{seen.mean():.2f}", f"({seen.std():.2f})"]
    assert table["West"][0] == "-"
    assert table["West"][1].endswith("e+42")


def test_width_of_the_text(clean):
    clean.loc[0, "Yield"] = 40.0
    checkup = report(clean, Relationship.identity(LINES[3:]))
    for width in (80, 110):
        text = describe_checkup(checkup, width)
        assert max(map(len, text.splitlines())) <= width
        assert not any(line != line.rstrip() for line in text.splitlines())


# --- relationship -----------------------------------------------------------------------------------------------


def test_lines_without_relationship_and_the_reverse(clean):
    names = [*LINES[2:], "l1", "Extra"]
    checkup = report(clean, Relationship.identity(names))
    assert not checkup.ok
    lacking = found(checkup, "line without relationship")
    assert lacking.severity == "stop"
    assert "2 of 30 lines with records have no relationship: L01, L02." in lacking.summary
    assert "Mistyped? 'L01' is nearly 'l1'." in lacking.summary
    assert "--drop-unrelated" in lacking.summary
    assert [(item["line"], item["other"]) for item in lacking.items] == [("L01", "l1"), ("L02", None)]
    spare = found(checkup, "line without record")
    assert [item["line"] for item in spare.items] == ["l1", "Extra"]
    assert checkup.lines["related"].tolist() == [False, False] + [True] * 28
    assert checkup.notes[0] is lacking

    dropped = report(clean, Relationship.identity(names), unrelated="drop")
    assert dropped.ok
    assert "A fit leaves them out." in found(dropped, "line without relationship").summary


def test_relationship_of_other_lines(clean):
    checkup = report(clean, Relationship.identity(["A", "B", "C"]), unrelated="drop")
    assert not checkup.ok
    assert "names such as A, B, C): a fit is refused" in found(checkup, "line without relationship").summary


def test_what_a_fit_says_agrees(clean):
    """A report is ok exactly where a fit takes the data."""
    from bmtme.errors import DataError
    from bmtme.preparation import prepare

    indefinite = 0.5 * np.eye(30) + 0.5
    indefinite[0, 1] = indefinite[1, 0] = 1.6
    cases = [
        Relationship.identity(LINES),
        Relationship.identity(LINES[1:]),
        Relationship(indefinite, lines=LINES),
        Relationship(np.ones((30, 30)), lines=LINES),
    ]
    trial = Trial.from_frame(clean, line="line", env="env", rep="rep", traits=["Yield", "PH"])
    outcomes = []
    for relationship in cases:
        try:
            prepare(trial, relationship)
            outcomes.append(True)
        except DataError:
            outcomes.append(False)
        assert trial.check(relationship).ok == outcomes[-1]
    assert outcomes == [True, False, False, True]


def test_rank_and_twins_of_the_relationship(clean):
    matrix = 0.5 * np.eye(30) + 0.5
    matrix[4] = matrix[3]
    matrix[:, 4] = matrix[:, 3]
    matrix[8, 9] = matrix[9, 8] = 0.995
    checkup = report(clean, Relationship(matrix, lines=LINES))
    assert checkup.ok
    assert "rank 29 among 30 lines" in found(checkup, "rank").summary
    twins = found(checkup, "identical lines")
    assert [(item["line"], item["other"]) for item in twins.items] == [("L05", "L04")]
    near = found(checkup, "nearly identical lines")
    assert [(item["line"], item["other"], item["value"]) for item in near.items] == [("L09", "L10", 0.995)]

    matrix[8, 9] = matrix[9, 8] = 1.4
    bad = found(report(clean, Relationship(matrix, lines=LINES)), "negative eigenvalue")
    assert bad.severity == "stop"
    assert "smallest eigenvalue is -0.4" in bad.summary


def test_relationship_that_is_bad_among_lines_without_records(clean):
    matrix = 0.5 * np.eye(32) + 0.5
    matrix[30, 31] = matrix[31, 30] = 1.4
    names = [*LINES, "new1", "new2"]
    checkup = report(clean, Relationship(matrix, lines=names))
    assert checkup.ok
    assert found(checkup, "negative eigenvalue").severity == "warning"


def test_trait_that_is_constant_without_the_dropped_lines(clean):
    clean.loc[clean["line"] != "L01", "PH"] = 180.0
    relationship = Relationship.identity(LINES[1:])
    assert "constant trait" not in kinds(report(clean, relationship))
    assert found(report(clean, relationship, unrelated="drop"), "constant trait").severity == "stop"


# --- names ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "how"),
    [("l07", "case"), ("L 07", "spaces"), ("L7", "leading zeros"), ("L-07", "punctuation"), ("L\u00a007", "spaces")],
)
def test_near_identical_lines(clean, other, how):
    clean.loc[cells(clean, "L07", "West"), "line"] = other
    alike = found(report(clean), "near-identical lines")
    assert alike.severity == "warning"
    assert f"(they differ in {how})" in alike.summary
    assert "L07" in alike.summary
    assert {(item["line"], item["other"]) for item in alike.items} == {(other, "L07")}


def test_a_year_with_a_decimal_is_nearly_the_year(clean):
    clean["env"] = clean["env"].replace({"North": "2019"})
    clean.loc[(clean["env"] == "2019") & (clean["rep"] == "2"), "env"] = "2019.0"
    alike = found(report(clean), "near-identical environments")
    assert "(they differ in a decimal): '2019' and '2019.0'" in alike.summary


def test_numbers_in_names_stay_apart(clean):
    clean["line"] = clean["line"].replace({"L01": "W1-11", "L02": "W11-1", "L03": "W111", "L04": "W1-1-1"})
    assert kinds(report(clean)) == set()


def test_near_identical_environments_and_traits(clean):
    clean.loc[(clean["env"] == "West") & (clean["rep"] == "2"), "env"] = "west"
    clean["ph"] = clean["PH"].sample(frac=1, random_state=1).to_numpy()
    checkup = report(clean)
    assert found(checkup, "near-identical environments").items[0]["env"] == "west"
    assert found(checkup, "near-identical traits").items[0]["trait"] == "ph"


def test_names_that_are_none(clean):
    clean["line"] = clean["line"].replace({"L01": "-", "L02": "NA", "L03": "Border", "L04": "999"})
    clean["env"] = clean["env"].replace({"East": "unknown"})
    checkup = report(clean)
    assert [item["line"] for item in found(checkup, "line without a name").items] == ["-", "NA", "999"]
    assert found(checkup, "environment without a name").items[0]["env"] == "unknown"
    assert [item["line"] for item in found(checkup, "no line").items] == ["Border"]


def test_numbers_as_names_are_no_codes(clean):
    clean["line"] = clean["line"].str[1:].replace({"01": "999", "02": "0"})
    assert kinds(report(clean)) == set()


# --- values -----------------------------------------------------------------------------------------------------


def test_robust_z_by_hand():
    # median 3, absolute deviations 2, 1, 0, 1, 97: MAD 1
    np.testing.assert_allclose(robust_z(np.array([1.0, 2, 3, 4, 100])), 0.6745 * np.array([-2, -1, 0, 1, 97]))
    # MAD 0: mean absolute deviation 2 times 1.2533
    np.testing.assert_allclose(robust_z(np.array([5.0, 5, 5, 5, 15])), np.array([0, 0, 0, 0, 10]) / (1.2533 * 2))
    np.testing.assert_array_equal(robust_z(np.full(4, 2.5)), np.zeros(4))


def test_outliers_are_listed_and_kept(clean):
    place = clean.index[cells(clean, "L03", "North") & (clean["rep"] == "2")][0]
    clean.loc[place, "Yield"] = 51.0
    trial = Trial.from_frame(clean, line="line", env="env", rep="rep", traits=["Yield", "PH"])
    checkup = trial.check()
    outlier = found(checkup, "outlier")
    assert outlier.severity == "warning"
    (case,) = outlier.items
    assert (case["line"], case["env"], case["rep"], case["trait"], case["value"]) == ("L03", "North", "2", "Yield", 51)
    row = checkup.findings.iloc[0]
    north = clean.loc[clean["env"] == "North", "Yield"]
    median = north.median()
    assert row["z"] == pytest.approx(0.6745 * (51 - median) / (north - median).abs().median())
    assert "A fit leaves none of them out." in str(checkup)
    assert np.nanmax(trial.values[:, 0]) == 51
    shown = [line.split() for line in str(checkup).splitlines()]
    assert ["trait", "env", "line", "rep", "value", "median", "robust", "z"] in shown
    assert ["Yield", "North", "L03", "2", "51", f"{median:.6g}", f"{row['z']:+.1f}"] in shown
    # Each environment is a population of its own, and the limit is the user's.
    assert kinds(report(clean, outlier=100)) == {"gross outlier"}
    shifted = clean.assign(Yield=clean["Yield"] + 3 * clean["env"].map({"East": 0, "North": 1, "West": 2}))
    assert len(found(report(shifted), "outlier").items) == 1


def test_many_outliers_are_cut_short_in_the_text(clean):
    clean.loc[:17, "Yield"] = np.linspace(60, 80, 18)
    checkup = report(clean)
    assert len(found(checkup, "outlier").items) == 18
    assert "and 6 more" in str(checkup)


@pytest.mark.parametrize("outlier", [0, -1, float("nan"), float("inf"), "3", True])
def test_bad_limits(clean, outlier):
    with pytest.raises(UsageError, match="outlier must be a positive number"):
        report(clean, outlier=outlier)


def test_bad_arguments(clean):
    with pytest.raises(UsageError, match=r"expected a Relationship .*, got ndarray"):
        report(clean, np.eye(30))
    with pytest.raises(UsageError, match="unrelated must be 'error' or 'drop', got 'ignore'"):
        report(clean, unrelated="ignore")


@pytest.mark.parametrize("code", [-9, -99, 999, 9999, 0, -1])
def test_codes_of_missing_values(clean, code):
    clean.loc[[3, 50], "PH"] = code
    finding = found(report(clean), "missing code")
    assert finding.severity == "warning"
    assert f"PH is {code} in 2 records" in finding.summary
    assert [item["value"] for item in finding.items] == [code, code]
    assert [(item["line"], item["env"]) for item in finding.items] == [
        tuple(clean.loc[n, ["line", "env"]]) for n in (3, 50)
    ]


def test_zeros_and_negative_values_that_are_ordinary(clean):
    rng = np.random.default_rng(2)
    clean["lodging"] = np.maximum(0, rng.normal(10, 15, len(clean))).round()
    clean["adjusted"] = rng.uniform(-12, 12, len(clean)).round(2)
    clean.loc[5, "adjusted"] = -9
    clean.loc[6, "adjusted"] = 0
    clean.loc[7, "PH"] = 199
    assert "missing code" not in kinds(report(clean))


def test_a_zero_below_a_score_is_a_note(clean):
    clean["score"] = np.resize([1, 2, 3, 4, 5, 6, 7, 8, 9], len(clean))
    clean.loc[5, "score"] = 0
    checkup = report(clean)
    assert found(checkup, "missing code").severity == "note"
    assert "10 different whole numbers (0 to 9)" in found(checkup, "score").summary


@pytest.mark.parametrize("factor, words", [(1000, "about 1000 times more"), (0.01, "about 100 times less"), (7, "")])
def test_mixed_units(clean, factor, words):
    clean.loc[clean["env"] == "North", "Yield"] *= factor
    finding = found(report(clean), "unit")
    assert finding.summary.startswith("Yield is of another magnitude in North (")
    assert words in finding.summary
    assert [item["env"] for item in finding.items] == ["North"]


def test_better_environments_are_no_mixed_units(clean):
    clean.loc[clean["env"] == "North", "Yield"] *= 3
    clean["centred"] = clean["PH"].sample(frac=1, random_state=3).to_numpy() - 185
    assert kinds(report(clean)) == {"unequal spread"}
    clean.loc[clean["env"] == "West", "centred"] *= 100
    assert found(report(clean), "unit").items[0]["env"] == "West"


def test_units_of_two_environments(clean):
    two = clean[clean["env"] != "West"].copy()
    two.loc[two["env"] == "North", "PH"] /= 100
    assert [item["env"] for item in found(report(two), "unit").items] == ["North"]


def test_constants(clean):
    clean.loc[clean["env"] == "West", "PH"] = 180.0
    finding = found(report(clean), "constant in an environment")
    assert "PH is 180 in all 60 records of West" in finding.summary
    assert finding.severity == "stop"
    clean["PH"] = 180.0
    stop = found(report(clean), "constant trait")
    assert stop.severity == "stop"
    assert "PH has the same value, 180, in all of its 180 records" in stop.summary


def test_a_trait_whose_values_are_hidden(clean):
    trial = Trial.from_frame(clean, line="line", env="env", rep="rep", traits=["Yield", "PH"])
    mask = np.zeros(trial.values.shape, dtype=bool)
    mask[:, 1] = True
    checkup = trial.hide(mask).check()
    assert found(checkup, "empty trait").severity == "stop"
    nothing = trial.hide(~np.zeros_like(mask)).check(Relationship(0.6 * np.eye(30) + 0.4, lines=LINES))
    assert not nothing.ok
    assert "0 of the 0 lines with records" in " ".join(str(nothing).split())


def test_classes(clean):
    clean["red"] = np.resize([0, 1, 1], len(clean))
    finding = found(report(clean), "score")
    assert finding.severity == "warning"
    assert "red takes 2 different whole numbers (0 to 1)" in finding.summary


# --- copies -----------------------------------------------------------------------------------------------------


def test_records_entered_twice(clean):
    twice = pd.concat([clean, clean[cells(clean, "L04", "East") & (clean["rep"] == "1")].assign(rep="3")])
    finding = found(report(twice), "repeated record")
    assert "L04 in East (reps 1 and 3)" in finding.summary
    (case,) = finding.items
    assert (case["line"], case["env"], case["rep"]) == ("L04", "East", "3")
    assert found(report(twice.drop(columns="rep")), "repeated record")


def test_equal_coarse_values_are_no_copies(clean):
    clean["Yield"] = clean["Yield"].round()
    assert "repeated record" not in kinds(report(clean[["line", "env", "rep", "Yield"]]))


def test_one_record_for_two_lines(clean):
    source = clean[cells(clean, "L04", "East")]
    clean.loc[cells(clean, "L09", "East"), ["Yield", "PH"]] = source[["Yield", "PH"]].to_numpy()
    finding = found(report(clean), "shared record")
    assert len(finding.items) == 2
    assert "L04 and L09 in East" in finding.summary


def test_copied_columns(clean):
    clean.loc[clean["env"] == "West", "PH"] = clean.loc[clean["env"] == "East", "PH"].to_numpy()
    clean["Yield_kg"] = 1000 * clean["Yield"] + 3
    clean["Yield_again"] = clean["Yield"]
    checkup = report(clean)
    assert "PH has the same values in East and West (30 of 30 lines)" in found(checkup, "copied environment").summary
    texts = [finding.summary for finding in checkup.notes if finding.kind == "copied trait"]
    assert "Yield and Yield_kg are one trait in two units (correlation 1): leave one of them out." in texts
    assert "Yield and Yield_again have the same values: leave one of them out." in texts


# --- coverage ---------------------------------------------------------------------------------------------------


def test_absent_blocks(clean):
    clean["ASI"] = clean["PH"].sample(frac=1, random_state=5).to_numpy()
    clean.loc[clean["env"] != "East", ["PH", "ASI"]] = np.nan
    clean.loc[clean["env"] == "East", "Yield"] = np.nan
    checkup = report(clean)
    blocks = found(checkup, "absent block")
    assert blocks.severity == "note"
    assert "Yield in 1 of 3 environments (East); PH, ASI in 2 of 3 environments (North, West)" in blocks.summary
    assert {(item["env"], item["trait"]) for item in blocks.items} == {
        ("East", "Yield"),
        *((env, trait) for env in ("North", "West") for trait in ("PH", "ASI")),
    }
    assert "5 of 9 environment x trait blocks absent" in " ".join(str(checkup).split())
    assert ["East", "30", "-", "30", "30"] in [line.split() for line in str(checkup).splitlines()]
    apart = found(checkup, "traits apart")
    assert {(item["trait"], item["other"]) for item in apart.items} == {("Yield", "PH"), ("Yield", "ASI")}


def test_records_and_environments_without_values(clean):
    clean.loc[clean["env"] == "West", ["Yield", "PH"]] = np.nan
    clean.loc[clean["line"] == "L30", ["Yield", "PH"]] = np.nan
    checkup = report(clean)
    assert [item["env"] for item in found(checkup, "environment without values").items] == ["West"]
    assert "absent block" not in kinds(checkup)
    empty = found(checkup, "empty record")
    assert empty.summary.startswith("64 records without any value")
    assert "1 line with no value at all: L30" in empty.summary
    assert len(empty.items) == 64


def test_sparse_trials(clean):
    parts = {"East": LINES[:12], "North": LINES[10:21], "West": LINES[18:]}
    sparse = pd.concat([clean[(clean["env"] == env) & clean["line"].isin(names)] for env, names in parts.items()])
    checkup = report(sparse)
    assert (
        "38.9% of the line x environment cells are filled, and 25 of 30 lines are in one environment only"
        in found(checkup, "sparse").summary
    )
    few = found(checkup, "few lines in common")
    assert few.severity == "warning"
    assert [(item["env"], item["other"], item["value"]) for item in few.items] == [
        ("East", "West", 0),
        ("East", "North", 2),
        ("North", "West", 3),
    ]
    assert "unconnected environments" not in kinds(checkup)
    assert "Lines in common" in str(checkup)


def test_unconnected_environments(clean):
    clean.loc[clean["env"] == "West", "line"] = "x" + clean["line"]
    checkup = report(clean)
    apart = found(checkup, "unconnected environments")
    assert "2 groups without a line in common: East, North; West" in apart.summary
    assert {item["env"]: item["value"] for item in apart.items} == {"East": 1, "North": 1, "West": 2}


def test_checks(clean):
    rng = np.random.default_rng(7)
    plots = [("L01", env, str(rep)) for env in ("East", "West") for rep in range(3, 11)]
    more = pd.DataFrame(plots, columns=["line", "env", "rep"])
    more["Yield"], more["PH"] = rng.uniform(4.5, 6.5, 16), rng.uniform(160, 210, 16)
    checkup = report(pd.concat([clean, more]))
    check = found(checkup, "check")
    assert check.summary == (
        "1 check, lines with many plots: L01 (22 plots in 3 environments; 10 each). The other lines have 2 plots in an "
        "environment."
    )
    assert [(item["line"], item["value"]) for item in check.items] == [("L01", 22)]
