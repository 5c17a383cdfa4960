"""The relationship beside the trial: lines without one, rank, twins, centring."""

from __future__ import annotations

import numpy as np
import pytest

from bmtme.checkup.kin import describe_centring
from bmtme.data.relationship.matrix import Relationship
from bmtme.data.trial import Trial
from bmtme.errors import DataError
from tests.helpers.cautions import simulate_cells, stack_plots
from tests.helpers.checkups import LINES, found, kinds, report


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


def test_centring_in_words():
    rng = np.random.default_rng(0)
    markers = rng.binomial(1, 0.3, (30, 200)) * 2.0
    centred = markers - markers.mean(axis=0)
    assert describe_centring(centred @ centred.T / 100).startswith("centred (1'G1/J is ")
    raw = markers @ markers.T / 100
    effects = np.random.default_rng(1).normal(size=(200, 20000)) / 10
    c = float((markers @ effects).var(axis=0, ddof=1).mean())
    text = describe_centring(raw)
    assert text.startswith("not centred (1'G1/J is ")
    assert float(text.split("expected to be ")[1].split()[0]) == pytest.approx(c, rel=0.02)
    assert describe_centring(np.eye(100)).startswith("nearly centred (1'G1/J is 1%")
    assert "not centred" in str(
        stack_plots(simulate_cells(30, 2, 1)).check(Relationship(raw, [f"g{j}" for j in range(30)]))
    )


def test_doubles_are_counted():
    matrix = 0.5 * np.eye(30) + 0.5
    for group in ((2, 5, 9), (11, 12), tuple(range(15, 27))):
        matrix[np.ix_(group, group)] = 0.995
        matrix[group, group] = 1.0
    trial = stack_plots(simulate_cells(30, 2, 1))
    notes = trial.check(Relationship(matrix, [f"g{j}" for j in range(30)])).notes
    (finding,) = (note for note in notes if note.kind == "nearly identical lines")
    assert "70 pairs" in finding.summary
    assert "17 of 30 lines have such a double; the largest group holds 12." in finding.summary
    assert [(item["line"], item["other"]) for item in finding.items][:2] == [("g2", "g5"), ("g2", "g9")]
