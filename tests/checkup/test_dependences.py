"""Traits that are nearly one, columns that depend on others, and what that leaks into a cross-validation."""

from __future__ import annotations

import time

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import bmtme
import bmtme.cv.run
import bmtme.pipeline
from bmtme.checkup.dependences import describe_dependence, find_dependences
from bmtme.cv.leaks import find_leaks, refuse_leaks
from bmtme.cv.partitions import Partition
from bmtme.cv.schemes import CV1, CV2
from bmtme.data.relationship.matrix import Relationship
from bmtme.data.trial import Trial
from bmtme.errors import DataError
from tests.helpers.cautions import SHORT, caution, list_cautions, said_by_fit, simulate_cells, stack_plots

# --- alike traits -----------------------------------------------------------------------------------------------


def test_traits_that_are_nearly_one(no_sampling):
    cells = simulate_cells(40, 2, 2)
    cells[:, :, 1] = np.round(3 * cells[:, :, 0] + 0.5 * np.random.default_rng(2).normal(size=(40, 2)), 3)
    trial = stack_plots(cells)
    item = caution(trial, "traits alike").items[0]
    deviations = cells - cells.mean(axis=0)
    assert item["value"] == pytest.approx(np.corrcoef(deviations.reshape(-1, 2).T)[0, 1])
    (text,) = said_by_fit(trial, no_sampling)
    assert text.startswith("Traits that are nearly one: A and B (r 0.99")
    assert "Leave one of the two out" in text
    # In one environment only; and never for environments alone.
    cells[:, 1] = simulate_cells(40, 1, 2, seed=7)[:, 0]
    alike = caution(stack_plots(cells), "traits alike")
    assert [(item["env"], item["other"]) for item in alike.items] == [("2018", "B")]
    apart = simulate_cells(40, 3, 2) + 1000 * np.arange(1, 4)[None, :, None]
    assert np.corrcoef(apart.reshape(-1, 2).T)[0, 1] > 0.999
    assert list_cautions(stack_plots(apart)) == set()


# --- dependent columns ------------------------------------------------------------------------------------------


def name_columns(trial: Trial) -> set[frozenset[str]]:
    return {
        frozenset(f"{trial.traits[l]} {trial.envs[i]}" for i, l in each.columns) for each in find_dependences(trial)
    }


@pytest.mark.parametrize("digits", [0, 1, 2, 9])
def test_a_year_that_is_the_mean_of_two(digits, no_sampling):
    cells = simulate_cells(327, 3, 2, digits=digits)
    cells[:, 2, 0] = np.round((cells[:, 0, 0] + cells[:, 1, 0]) / 2, digits)
    trial = stack_plots(cells)
    (found,) = find_dependences(trial)
    assert found.columns == ((2, 0), (0, 0), (1, 0))
    assert found.coefficients == (0.5, 0.5)
    assert (found.constant, found.n_lines) == (0.0, 327)
    said = "A in 2020 = 0.5 x A in 2018 + 0.5 x A in 2019 for all 327 lines"
    assert describe_dependence(trial, found) == said
    finding = caution(trial, "dependent columns")
    assert finding.severity == "warning"
    assert said in finding.summary
    assert any(said in text for text in said_by_fit(trial, no_sampling))


def test_relations_among_traits():
    cells = simulate_cells(40, 3, 4)
    cells[:, :, 3] = cells[:, :, 0] + cells[:, :, 1] - 3
    trial = stack_plots(cells)
    assert name_columns(trial) == {frozenset({f"A {env}", f"B {env}", f"D {env}"}) for env in trial.envs}
    assert (
        "D = A + B - 3 for all lines of 3 environments (2018, 2019, 2020)"
        in caution(trial, "dependent columns").summary
    )
    # Rounded plots, whose means are compared; and traits that are never on one plot in an environment.
    rng = np.random.default_rng(3)
    plots = [np.round(cells + rng.normal(size=cells.shape), 2) for _ in range(3)]
    for each in plots:
        each[:, :, 3] = np.round((each[:, :, 0] + each[:, :, 1]) / 3, 1)
    assert len(find_dependences(stack_plots(*plots))) == 3
    plots[0][:, 2, 3], plots[1][:, 2, 0], plots[2][:, 2, 0] = np.nan, np.nan, np.nan
    assert len(find_dependences(stack_plots(*plots))) == 2
    # Few lines, but in many environments.
    few = simulate_cells(8, 6, 4)
    few[:, :, 3] = few[:, :, 0] - 0.25 * few[:, :, 1]
    found = find_dependences(stack_plots(few))
    assert [each.n_lines for each in found] == [8] * 6
    # The trait whose terms are all positive stands first: A = D + 0.25 x B.
    assert {(each.columns[0][1], tuple(sorted(each.coefficients))) for each in found} == {(0, (0.25, 1.0))}


def test_relations_with_missing_values():
    rng = np.random.default_rng(5)
    cells = simulate_cells(400, 12, 2)
    cells[rng.random((400, 12)) < 0.6] = np.nan
    assert find_dependences(stack_plots(cells)) == []
    cells[:, 3, 1] = np.round(0.5 * cells[:, 1, 1] + 0.5 * cells[:, 7, 1], 2)
    assert name_columns(stack_plots(cells)) == {frozenset({"B 2021", "B 2019", "B 2025"})}
    # Four columns, in the lines that have them; a fifth and a sixth are never there with all of them.
    parts = simulate_cells(120, 6, 1)
    parts[:, 3] = np.round(parts[:, 0] + parts[:, 1] - parts[:, 2], 2)
    parts[:60, 4], parts[60:, 5], parts[60:, 0] = np.nan, np.nan, np.nan
    assert name_columns(stack_plots(parts)) == {frozenset({"A 2018", "A 2019", "A 2020", "A 2021"})}
    blocks = simulate_cells(100, 4, 3)
    blocks[:50, 3], blocks[60:, 2] = np.nan, np.nan
    blocks[:, 1, 2] = blocks[:, 1, 0] - blocks[:, 1, 1]
    assert name_columns(stack_plots(blocks)) == {frozenset({"A 2019", "B 2019", "C 2019"})}


def test_many_columns_in_one_relation_and_pairs():
    cells = simulate_cells(60, 11, 2)
    cells[:, 10, 0] = np.round(cells[:, :10, 0].mean(axis=1), 2)
    cells[:, 3, 1] = np.round(2.2046 * cells[:, 4, 1] - 7, 2)
    pair, mean = find_dependences(stack_plots(cells))
    assert mean.columns[0] == (10, 0)
    assert mean.coefficients == (0.1,) * 10
    assert set(pair.columns) == {(3, 1), (4, 1)}


@pytest.mark.parametrize("seed", range(20))
def test_coarse_and_few_values_depend_on_nothing(seed):
    rng = np.random.default_rng(seed)
    scores = np.clip(np.round(5 + 1.5 * rng.normal(size=(150, 1, 1)) + 0.5 * rng.normal(size=(150, 6, 3))), 1, 9)
    lodging = np.where(rng.random((60, 5, 3)) < 0.9, 0, np.round(50 * rng.random((60, 5, 3)), -1))
    small = simulate_cells(14, 5, 3, seed, digits=0, spread=3)
    alike = np.round(simulate_cells(60, 5, 3, seed) + 0.02 * rng.normal(size=(60, 1, 1)), 1)
    alike[:, :, 1] = np.round(alike[:, :, 0] + 0.3 * rng.normal(size=(60, 5)), 1)  # r 0.999, but with errors
    for cells in (scores, lodging, small, alike):
        assert find_dependences(stack_plots(cells)) == []


def test_too_few_lines_or_values_make_no_relation():
    for lines, found in ((10, 0), (11, 1)):
        cells = simulate_cells(lines, 2, 1)
        cells[:, 1] = 2 * cells[:, 0]
        assert len(find_dependences(stack_plots(cells))) == found
    lodging = np.zeros((30, 2, 1))
    lodging[3], lodging[8], lodging[9] = 5, 10, 15  # exactly in a line, on four different rows of values
    assert find_dependences(stack_plots(lodging * [[1.0], [1.4]])) == []


def test_the_search_is_fast_enough():
    cells = simulate_cells(500, 48, 12)
    began = time.perf_counter()
    assert find_dependences(stack_plots(cells)) == []
    assert time.perf_counter() - began < 30  # half a second on an idle core


def test_copies_are_named_once():
    cells = simulate_cells(40, 2, 2)
    cells[:, 1, 0] = cells[:, 0, 0]
    cells[:, :, 1] = 2 * cells[:, :, 0]
    trial = stack_plots(cells)
    assert list_cautions(trial) == {"copied environment", "copied trait"} | (
        list_cautions(trial) & {"dependent columns"}
    )
    assert "traits alike" not in list_cautions(trial)
    assert len(find_dependences(trial)) >= 3  # a cross-validation has to know


def test_cross_validation_refuses_to_hide_what_the_rest_tells(no_sampling):
    cells = simulate_cells(60, 3, 2)
    trial = stack_plots(cells)
    cells[:, 2, 0] = np.round((cells[:, 0, 0] + cells[:, 1, 0]) / 2, 2)
    leaking = stack_plots(cells)
    relationship = Relationship.identity(trial.lines)
    for scheme in (CV1(2, 0.2), CV2()):
        with pytest.raises(DataError, match=r"^partition .* follow exactly .*: A in 2020 = 0\.5 x A in 2018 \+ 0\.5 x"):
            bmtme.cross_validate(leaking, relationship, scheme=scheme, **SHORT)
        with pytest.warns(UserWarning, match="a short run"), pytest.raises(no_sampling):
            bmtme.cross_validate(trial, relationship, scheme=scheme, **SHORT)


def test_what_a_partition_leaks():
    cells = simulate_cells(60, 3, 2)
    cells[:, 2, 0] = np.round((cells[:, 0, 0] + cells[:, 1, 0]) / 2, 2)
    cells[5, 1, 0] = np.nan
    trial = stack_plots(cells)
    dependences = find_dependences(trial)
    hidden = np.zeros(cells.shape, dtype=bool)
    hidden[:4, 0] = True  # one of the three
    hidden[5, 0] = True  # the relation does not bind line 5
    hidden[6, :2] = True  # two of three: the third does not tell
    hidden[7] = True
    hidden[8, :, 1] = True
    assert [(each.columns[0], lines) for each, lines in find_leaks(trial, hidden, dependences)] == [((2, 0), 4)]
    with pytest.raises(DataError, match="partition 'x' hides values of 4 lines that follow exactly"):
        refuse_leaks(trial, [Partition("x", hidden)])
    hidden[:6] = False
    refuse_leaks(trial, [Partition("x", hidden)])


# --- spreads ----------------------------------------------------------------------------------------------------


def test_relations_are_looked_for_in_one_thread(monkeypatch):
    """On a busy machine the threads of many small products wait for one another: 40 s in place of half a second."""
    seen = []

    def search(*_):
        seen.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return []

    monkeypatch.setattr("bmtme.checkup.dependences._search", search)
    with threadpool_limits(2):
        assert find_dependences(stack_plots(simulate_cells(20, 2, 2))) == []
    assert set(seen) == {1}
