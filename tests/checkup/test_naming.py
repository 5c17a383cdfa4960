"""Names that are nearly the same, or none."""

from __future__ import annotations

import pytest

from tests.helpers.checkups import cells, found, kinds, report


def test_two_ways_to_write_an_accent(clean):
    clean["line"] = clean["line"].replace({"L07": "Zo\u00e9"})
    clean.loc[cells(clean, "Zo\u00e9", "West"), "line"] = "Zoe\u0301"
    alike = found(report(clean), "near-identical lines")
    assert "(they differ in how Unicode writes a letter, such as one with an accent)" in alike.summary


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
