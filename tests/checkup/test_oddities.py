"""Values that are odd: outliers, codes, mixed units, constants, copies."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bmtme.checkup.oddities import robust_z
from bmtme.data.relationship.matrix import Relationship
from bmtme.data.trial import Trial
from bmtme.errors import UsageError
from tests.helpers.checkups import LINES, cells, found, kinds, report

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
