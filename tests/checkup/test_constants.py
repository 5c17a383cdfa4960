"""Traits that are constant or nearly so."""

from __future__ import annotations

import numpy as np
import pytest

import bmtme
import bmtme.cv.run
import bmtme.pipeline
from bmtme.checkup.constants import refuse_constants
from bmtme.cv.schemes import CV1
from bmtme.data.relationship.matrix import Relationship
from bmtme.errors import DataError
from tests.helpers.cautions import SHORT, caution, said_by_fit, simulate_cells, stack_plots


def test_a_trait_constant_within_an_environment_is_refused(no_sampling):
    cells = simulate_cells(24, 2, 2)
    cells[:, 0, 1] = 5
    trial = stack_plots(cells)
    finding = caution(trial, "constant in an environment")
    assert finding.severity == "stop"
    assert "B is 5 in all 24 records of 2018" in finding.summary
    with pytest.raises(DataError, match=r"B is 5 in all 24 records of 2018.*leave these values out"):
        bmtme.fit(trial, Relationship.identity(trial.lines), **SHORT)
    cells[:, 0, 1] = np.nan
    refuse_constants(stack_plots(cells))


def test_up_to_rounding_and_over_environments():
    cells = simulate_cells(24, 3, 2)
    cells[:, 0, 1] = 5 + 1e-4 * np.random.default_rng(1).normal(size=24)
    with pytest.raises(DataError, match=r"B varies in 2018 by \S+ of what it does elsewhere"):
        refuse_constants(stack_plots(cells))
    # Three equal values leave the likelihood its bounds; in two environments, no longer.
    few = simulate_cells(24, 3, 2)
    few[:3, 0, 1], few[3:, 0, 1] = 5, np.nan
    refuse_constants(stack_plots(few))
    assert caution(stack_plots(few), "constant in an environment").severity == "note"
    few[:3, 1, 1], few[3:, 1, 1] = 7, np.nan
    with pytest.raises(DataError, match="B is 5 in all 3 records of 2018; B is 7 in all 3 records of 2019"):
        refuse_constants(stack_plots(few))


def test_a_single_value_is_no_constant():
    cells = simulate_cells(24, 2, 2)
    cells[1:, 0, 1] = np.nan
    trial = stack_plots(cells)
    refuse_constants(trial)
    (note,) = (note for note in trial.check().notes if note.kind == "single value")
    assert note.severity == "note"
    assert "One value only: B in 2018." in note.summary


def test_a_code_for_missing_values_makes_no_constants():
    cells = simulate_cells(24, 3, 1, spread=0.3)
    cells[0, 0, 0] = -9999
    refuse_constants(stack_plots(cells))


def test_constant_in_a_training_part_only(no_sampling):
    cells = simulate_cells(30, 2, 2)
    trial = stack_plots(cells)
    partition = CV1(2, 0.25).masks(trial, 1)[1]
    cells[~partition.hidden[:, 0, 1], 0, 1] = 5
    trial = stack_plots(cells)
    refuse_constants(trial)
    with pytest.raises(DataError, match=r"^partition '2', training part: .*B is 5 in all 22 records of 2018"):
        bmtme.cross_validate(trial, Relationship.identity(trial.lines), scheme=CV1(2, 0.25), **SHORT)


def test_all_but_one_record_the_same(no_sampling):
    cells = simulate_cells(24, 2, 2)
    cells[1:, 0, 1] = 50
    trial = stack_plots(cells)
    assert caution(trial, "nearly constant in an environment").severity == "warning"
    assert any("B is 50 in 23 of 24 records of 2018" in text for text in said_by_fit(trial, no_sampling))


def test_two_values(no_sampling):
    cells = simulate_cells(30, 2, 2)
    cells[:, :, 1] = np.where(cells[:, :, 1] > 50, 0.5, 1.5)
    assert said_by_fit(stack_plots(cells), no_sampling) == [
        "B takes 2 values: a score or a class. The model takes traits as normal; with so few classes, intervals are "
        "rough."
    ]


def test_plots_that_repeat_their_line(no_sampling):
    cells = simulate_cells(20, 2, 2)
    again = cells.copy()
    again[:, :, 0] += np.random.default_rng(3).normal(size=(20, 2))
    trial = stack_plots(cells, again, reps=("1", "2"))
    assert caution(trial, "plots alike").severity == "stop"
    with pytest.raises(DataError, match=r"all have the same value of B \(80 plots\).*every heritability would be 1"):
        bmtme.fit(trial, Relationship.identity(trial.lines), **SHORT)
    again[:, 1, 1] += np.random.default_rng(4).normal(size=20)
    partly = stack_plots(cells, again, reps=("1", "2"))
    refuse_constants(partly)
    assert "same value of B in 2018, and not elsewhere" in caution(partly, "plots alike").summary


@pytest.mark.parametrize(("value", "said"), [(-9.0, "does -9 stand for a missing value?"), (None, "Another unit?")])
def test_codes_and_units(value, said, no_sampling):
    cells = simulate_cells(24, 3, 2, spread=1.0)
    if value is None:
        cells[:, 1, 0] *= 1000
    else:
        cells[3:5, 1, 0] = value
    assert any(said in text for text in said_by_fit(stack_plots(cells), no_sampling))
