"""A look at a trial: what it says of data with nothing strange in them, and of cells without a record."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bmtme.checkup.findings import COLUMNS
from bmtme.checkup.text import describe_checkup
from bmtme.data.relationship.matrix import Relationship
from tests.helpers.checkups import LINES, cells, found, kinds, report

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
    once = found(report(pd.concat([clean[clean["rep"] == "1"], more])), "check")
    assert (
        "The other lines have 1 plot in an environment. So this is an augmented design: 'bmtme adjust'" in once.summary
    )
