"""What `check`, `fit` and `cross_validate` say about values that would give wrong numbers: one implementation."""

from __future__ import annotations

import time
import warnings

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import bmtme
import bmtme.cv.run
import bmtme.pipeline
from bmtme.checkup.cautions import find_cautions
from bmtme.checkup.constants import deviate_within, refuse_constants
from bmtme.checkup.dependences import describe_dependence, find_dependences
from bmtme.checkup.kin import describe_centring
from bmtme.checkup.replicates import compare_replicates, tabulate_replicates
from bmtme.cv.leaks import find_leaks, refuse_leaks
from bmtme.cv.partitions import Partition
from bmtme.cv.schemes import CV1, CV2
from bmtme.data.relationship.matrix import Relationship
from bmtme.data.trial import Trial
from bmtme.errors import DataError

SHORT = {"draws": 20, "tune": 10, "chains": 1, "seed": 1, "progress": False}


def simulate_cells(J: int, I: int, L: int, seed: int = 0, digits: int = 2, spread: float = 5.0) -> np.ndarray:
    """Values (J, I, L) of ordinary lines: alike between environments and traits, with errors, rounded."""
    rng = np.random.default_rng(seed)
    genetic = rng.normal(size=(J, 1, 1)) + 0.5 * rng.normal(size=(J, 1, L)) + 0.5 * rng.normal(size=(J, I, L))
    return np.round(50 + spread * (genetic + rng.normal(size=(J, I, L))), digits)


def trial_of(*plots: np.ndarray, reps: tuple[str, ...] | None = None) -> Trial:
    """A trial with one or more values (J, I, L) of each cell, replicates one after the other."""
    J, I, L = plots[0].shape
    line, env = (index.ravel() for index in np.meshgrid(np.arange(J), np.arange(I), indexing="ij"))
    labels = None if reps is None else tuple(rep for rep in reps for _ in range(J * I))
    return Trial(
        tuple(f"g{j}" for j in range(J)),
        tuple(str(2018 + i) for i in range(I)),
        tuple("ABCDEFGHIJKL"[:L]),
        np.tile(line, len(plots)),
        np.tile(env, len(plots)),
        np.concatenate([each.reshape(-1, L) for each in plots]),
        labels,
    )


def caution(trial: Trial, kind: str) -> object:
    """The one finding of a kind, in the check-up as in what a fit looks at."""
    (finding,) = (each for each in find_cautions(trial) if each.kind == kind)
    assert finding in trial.check().notes
    return finding


def kinds(trial: Trial) -> set[str]:
    return {finding.kind for finding in find_cautions(trial)}


@pytest.fixture
def no_sampling(monkeypatch):
    """Stop a fit where it would begin to sample: what it says of the data comes before."""

    class Sampled(Exception):
        pass

    def stop(*_: object) -> None:
        raise Sampled

    monkeypatch.setattr(bmtme.pipeline, "rehearse", stop)
    monkeypatch.setattr(bmtme.cv.run, "rehearse", stop)
    return Sampled


def said_by_fit(trial: Trial, sampled: type[Exception]) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(sampled):
            bmtme.fit(trial, Relationship.identity(trial.lines), **SHORT)
    return [str(each.message) for each in caught if not str(each.message).startswith("a short run")]


@pytest.mark.parametrize("seed", range(5))
def test_ordinary_values_need_no_caution(seed, no_sampling):
    trial = trial_of(simulate_cells(60, 4, 3, seed))
    assert kinds(trial) == set()
    assert said_by_fit(trial, no_sampling) == []


# --- constants --------------------------------------------------------------------------------------------------


def test_a_trait_constant_within_an_environment_is_refused(no_sampling):
    cells = simulate_cells(24, 2, 2)
    cells[:, 0, 1] = 5
    trial = trial_of(cells)
    finding = caution(trial, "constant in an environment")
    assert finding.severity == "stop"
    assert "B is 5 in all 24 records of 2018" in finding.summary
    with pytest.raises(DataError, match=r"B is 5 in all 24 records of 2018.*leave these values out"):
        bmtme.fit(trial, Relationship.identity(trial.lines), **SHORT)
    cells[:, 0, 1] = np.nan
    refuse_constants(trial_of(cells))


def test_up_to_rounding_and_over_environments():
    cells = simulate_cells(24, 3, 2)
    cells[:, 0, 1] = 5 + 1e-4 * np.random.default_rng(1).normal(size=24)
    with pytest.raises(DataError, match=r"B varies in 2018 by \S+ of what it does elsewhere"):
        refuse_constants(trial_of(cells))
    # Three equal values leave the likelihood its bounds; in two environments, no longer.
    few = simulate_cells(24, 3, 2)
    few[:3, 0, 1], few[3:, 0, 1] = 5, np.nan
    refuse_constants(trial_of(few))
    assert caution(trial_of(few), "constant in an environment").severity == "note"
    few[:3, 1, 1], few[3:, 1, 1] = 7, np.nan
    with pytest.raises(DataError, match="B is 5 in all 3 records of 2018; B is 7 in all 3 records of 2019"):
        refuse_constants(trial_of(few))


def test_a_single_value_is_no_constant():
    cells = simulate_cells(24, 2, 2)
    cells[1:, 0, 1] = np.nan
    trial = trial_of(cells)
    refuse_constants(trial)
    (note,) = (note for note in trial.check().notes if note.kind == "single value")
    assert note.severity == "note"
    assert "One value only: B in 2018." in note.summary


def test_a_code_for_missing_values_makes_no_constants():
    cells = simulate_cells(24, 3, 1, spread=0.3)
    cells[0, 0, 0] = -9999
    refuse_constants(trial_of(cells))


def test_constant_in_a_training_part_only(no_sampling):
    cells = simulate_cells(30, 2, 2)
    trial = trial_of(cells)
    partition = CV1(2, 0.25).masks(trial, 1)[1]
    cells[~partition.hidden[:, 0, 1], 0, 1] = 5
    trial = trial_of(cells)
    refuse_constants(trial)
    with pytest.raises(DataError, match=r"^partition '2', training part: .*B is 5 in all 22 records of 2018"):
        bmtme.cross_validate(trial, Relationship.identity(trial.lines), scheme=CV1(2, 0.25), **SHORT)


def test_all_but_one_record_the_same(no_sampling):
    cells = simulate_cells(24, 2, 2)
    cells[1:, 0, 1] = 50
    trial = trial_of(cells)
    assert caution(trial, "nearly constant in an environment").severity == "warning"
    assert any("B is 50 in 23 of 24 records of 2018" in text for text in said_by_fit(trial, no_sampling))


def test_two_values(no_sampling):
    cells = simulate_cells(30, 2, 2)
    cells[:, :, 1] = np.where(cells[:, :, 1] > 50, 0.5, 1.5)
    assert said_by_fit(trial_of(cells), no_sampling) == [
        "B takes 2 values: a score or a class. The model takes traits as normal; with so few classes, intervals are "
        "rough."
    ]


def test_plots_that_repeat_their_line(no_sampling):
    cells = simulate_cells(20, 2, 2)
    again = cells.copy()
    again[:, :, 0] += np.random.default_rng(3).normal(size=(20, 2))
    trial = trial_of(cells, again, reps=("1", "2"))
    assert caution(trial, "plots alike").severity == "stop"
    with pytest.raises(DataError, match=r"all have the same value of B \(80 plots\).*every heritability would be 1"):
        bmtme.fit(trial, Relationship.identity(trial.lines), **SHORT)
    again[:, 1, 1] += np.random.default_rng(4).normal(size=20)
    partly = trial_of(cells, again, reps=("1", "2"))
    refuse_constants(partly)
    assert "same value of B in 2018, and not elsewhere" in caution(partly, "plots alike").summary


@pytest.mark.parametrize(("value", "said"), [(-9.0, "does -9 stand for a missing value?"), (None, "Another unit?")])
def test_codes_and_units(value, said, no_sampling):
    cells = simulate_cells(24, 3, 2, spread=1.0)
    if value is None:
        cells[:, 1, 0] *= 1000
    else:
        cells[3:5, 1, 0] = value
    assert any(said in text for text in said_by_fit(trial_of(cells), no_sampling))


# --- alike traits -----------------------------------------------------------------------------------------------


def test_traits_that_are_nearly_one(no_sampling):
    cells = simulate_cells(40, 2, 2)
    cells[:, :, 1] = np.round(3 * cells[:, :, 0] + 0.5 * np.random.default_rng(2).normal(size=(40, 2)), 3)
    trial = trial_of(cells)
    item = caution(trial, "traits alike").items[0]
    deviations = cells - cells.mean(axis=0)
    assert item["value"] == pytest.approx(np.corrcoef(deviations.reshape(-1, 2).T)[0, 1])
    (text,) = said_by_fit(trial, no_sampling)
    assert text.startswith("Traits that are nearly one: A and B (r 0.99")
    assert "Leave one of the two out" in text
    # In one environment only; and never for environments alone.
    cells[:, 1] = simulate_cells(40, 1, 2, seed=7)[:, 0]
    assert [(item["env"], item["other"]) for item in caution(trial_of(cells), "traits alike").items] == [("2018", "B")]
    apart = simulate_cells(40, 3, 2) + 1000 * np.arange(1, 4)[None, :, None]
    assert np.corrcoef(apart.reshape(-1, 2).T)[0, 1] > 0.999
    assert kinds(trial_of(apart)) == set()


# --- dependent columns ------------------------------------------------------------------------------------------


def name_columns(trial: Trial) -> set[frozenset[str]]:
    return {
        frozenset(f"{trial.traits[l]} {trial.envs[i]}" for i, l in each.columns) for each in find_dependences(trial)
    }


@pytest.mark.parametrize("digits", [0, 1, 2, 9])
def test_a_year_that_is_the_mean_of_two(digits, no_sampling):
    cells = simulate_cells(327, 3, 2, digits=digits)
    cells[:, 2, 0] = np.round((cells[:, 0, 0] + cells[:, 1, 0]) / 2, digits)
    trial = trial_of(cells)
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
    trial = trial_of(cells)
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
    assert len(find_dependences(trial_of(*plots))) == 3
    plots[0][:, 2, 3], plots[1][:, 2, 0], plots[2][:, 2, 0] = np.nan, np.nan, np.nan
    assert len(find_dependences(trial_of(*plots))) == 2
    # Few lines, but in many environments.
    few = simulate_cells(8, 6, 4)
    few[:, :, 3] = few[:, :, 0] - 0.25 * few[:, :, 1]
    found = find_dependences(trial_of(few))
    assert [each.n_lines for each in found] == [8] * 6
    # The trait whose terms are all positive stands first: A = D + 0.25 x B.
    assert {(each.columns[0][1], tuple(sorted(each.coefficients))) for each in found} == {(0, (0.25, 1.0))}


def test_relations_with_missing_values():
    rng = np.random.default_rng(5)
    cells = simulate_cells(400, 12, 2)
    cells[rng.random((400, 12)) < 0.6] = np.nan
    assert find_dependences(trial_of(cells)) == []
    cells[:, 3, 1] = np.round(0.5 * cells[:, 1, 1] + 0.5 * cells[:, 7, 1], 2)
    assert name_columns(trial_of(cells)) == {frozenset({"B 2021", "B 2019", "B 2025"})}
    # Four columns, in the lines that have them; a fifth and a sixth are never there with all of them.
    parts = simulate_cells(120, 6, 1)
    parts[:, 3] = np.round(parts[:, 0] + parts[:, 1] - parts[:, 2], 2)
    parts[:60, 4], parts[60:, 5], parts[60:, 0] = np.nan, np.nan, np.nan
    assert name_columns(trial_of(parts)) == {frozenset({"A 2018", "A 2019", "A 2020", "A 2021"})}
    blocks = simulate_cells(100, 4, 3)
    blocks[:50, 3], blocks[60:, 2] = np.nan, np.nan
    blocks[:, 1, 2] = blocks[:, 1, 0] - blocks[:, 1, 1]
    assert name_columns(trial_of(blocks)) == {frozenset({"A 2019", "B 2019", "C 2019"})}


def test_many_columns_in_one_relation_and_pairs():
    cells = simulate_cells(60, 11, 2)
    cells[:, 10, 0] = np.round(cells[:, :10, 0].mean(axis=1), 2)
    cells[:, 3, 1] = np.round(2.2046 * cells[:, 4, 1] - 7, 2)
    pair, mean = find_dependences(trial_of(cells))
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
        assert find_dependences(trial_of(cells)) == []


def test_too_few_lines_or_values_make_no_relation():
    for lines, found in ((10, 0), (11, 1)):
        cells = simulate_cells(lines, 2, 1)
        cells[:, 1] = 2 * cells[:, 0]
        assert len(find_dependences(trial_of(cells))) == found
    lodging = np.zeros((30, 2, 1))
    lodging[3], lodging[8], lodging[9] = 5, 10, 15  # exactly in a line, on four different rows of values
    assert find_dependences(trial_of(lodging * [[1.0], [1.4]])) == []


def test_the_search_is_fast_enough():
    cells = simulate_cells(500, 48, 12)
    began = time.perf_counter()
    assert find_dependences(trial_of(cells)) == []
    assert time.perf_counter() - began < 30  # half a second on an idle core


def test_copies_are_named_once():
    cells = simulate_cells(40, 2, 2)
    cells[:, 1, 0] = cells[:, 0, 0]
    cells[:, :, 1] = 2 * cells[:, :, 0]
    trial = trial_of(cells)
    assert kinds(trial) == {"copied environment", "copied trait"} | (kinds(trial) & {"dependent columns"})
    assert "traits alike" not in kinds(trial)
    assert len(find_dependences(trial)) >= 3  # a cross-validation has to know


def test_cross_validation_refuses_to_hide_what_the_rest_tells(no_sampling):
    cells = simulate_cells(60, 3, 2)
    trial = trial_of(cells)
    cells[:, 2, 0] = np.round((cells[:, 0, 0] + cells[:, 1, 0]) / 2, 2)
    leaking = trial_of(cells)
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
    trial = trial_of(cells)
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


# --- replicates -------------------------------------------------------------------------------------------------


def test_f_test_of_replicates_by_hand():
    """Complete blocks against the sums of squares of a two-way table, incomplete ones against dense least squares."""
    rng = np.random.default_rng(1)
    table = rng.normal(size=(12, 3)) + rng.normal(size=(12, 1)) + [0, 1.5, 3]
    line, rep = (index.ravel() for index in np.meshgrid(np.arange(12), np.arange(3), indexing="ij"))
    between = 12 * ((table.mean(axis=0) - table.mean()) ** 2).sum()
    error = ((table - table.mean(axis=1)[:, None] - table.mean(axis=0) + table.mean()) ** 2).sum()
    from scipy.stats import f

    p, share = compare_replicates(table.ravel(), line, rep)
    assert p == pytest.approx(f.sf(between / 2 / (error / 22), 2, 22), rel=1e-6)
    assert share == pytest.approx(1 - error / 22 / ((between + error) / 24))
    kept = rng.random(36) < 0.7
    y, line, rep = table.ravel()[kept], line[kept], rep[kept]
    squares, ranks = [], []
    for design in (np.eye(12)[line], np.hstack([np.eye(12)[line], np.eye(3)[rep]])):
        coefficients, _, rank, _ = np.linalg.lstsq(design, y, rcond=None)
        squares.append(((y - design @ coefficients) ** 2).sum())
        ranks.append(rank)
    ratio = (squares[0] - squares[1]) / (ranks[1] - ranks[0]) / (squares[1] / (len(y) - ranks[1]))
    expected = f.sf(ratio, ranks[1] - ranks[0], len(y) - ranks[1])
    assert compare_replicates(y, line, rep)[0] == pytest.approx(expected, rel=1e-6)


def test_replicates_that_differ(no_sampling):
    cells = simulate_cells(30, 2, 2)
    rng = np.random.default_rng(2)
    first, second = cells + rng.normal(size=cells.shape), cells + rng.normal(size=cells.shape)
    reps = ("1", "2")
    assert kinds(trial_of(first, second, reps=reps)) == set()
    second[:, 1, 0] += 4
    trial = trial_of(first, second, reps=reps)
    finding = caution(trial, "replicates differ")
    assert [(item["env"], item["trait"]) for item in finding.items] == [("2019", "A")]
    (text,) = said_by_fit(trial, no_sampling)
    assert "go into the residual variance" in text
    assert "Subtract the replicates' means" in text
    table = tabulate_replicates(trial).set_index(["env", "rep", "trait"])
    assert table.loc[("2019", "2", "A"), "mean"] == pytest.approx(second[:, 1, 0].mean())
    assert table["lines"].eq(30).all()
    said = str(trial.check())
    assert "Mean of each replicate of five or more lines" in said
    assert f"{second[:, 1, 0].mean():.1f}" in said
    # Labels of several columns, and none.
    several = trial_of(first, second, reps=reps)
    plots = tuple(f"{rep}:{n}" for n, rep in enumerate(several.reps))
    cut = Trial(
        several.lines, several.envs, several.traits, several.line_index, several.env_index, several.values, plots
    )
    assert caution(cut, "replicates differ").items == finding.items
    assert tabulate_replicates(trial_of(first, second)).empty


def test_how_often_alike_replicates_are_said_to_differ():
    """A chance of one in a thousand for each column; and never where lines differ, not replicates."""
    found = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        cells = simulate_cells(15, 2, 2, seed)
        plots = [cells + 5 * rng.normal(size=cells.shape) for _ in range(3)]
        found += "replicates differ" in kinds(trial_of(*plots, reps=("1", "2", "3")))
    assert found <= 4  # 0.8 expected of 800


# --- spreads ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("factor", "severity"), [(1.2, None), (2.2, "note"), (6.0, "warning")])
def test_standard_deviations_that_differ(factor, severity, no_sampling):
    cells = simulate_cells(80, 3, 1)
    cells[:, 2] = np.round(50 + factor * (cells[:, 2] - 50), 2)
    trial = trial_of(cells)
    if severity is None:
        assert kinds(trial) == set()
    else:
        finding = caution(trial, "unequal spread")
        assert finding.severity == severity
        assert finding.items[0]["other"] == "2020"
    said = said_by_fit(trial, no_sampling)
    assert len(said) == (severity == "warning")
    assert all("one residual variance for all environments" in text for text in said)


def test_small_environments_and_outliers_have_no_spread_of_their_own():
    for lines in (12, 16, 40):
        for seed in range(40):
            cells = simulate_cells(lines, 6, 2, seed)
            cells[0, 0, 0] += 200
            assert kinds(trial_of(cells)) <= {"gross outlier"}


def test_deviations_within_lines_have_the_variance_of_a_plot():
    rng = np.random.default_rng(0)
    cells = simulate_cells(500, 1, 1)
    for n in (2, 3):
        trial = trial_of(*(cells + 2 * rng.normal(size=(n, 500, 1, 1))))
        around, freedom = deviate_within(trial, np.arange(trial.n_records), 0)
        assert freedom == 500 * (n - 1)
        table = trial.values.reshape(n, 500)
        assert (around**2).mean() == pytest.approx(table.var(axis=0, ddof=1).mean())
    once, freedom = deviate_within(trial, np.arange(500), 0)
    assert (len(once), freedom) == (0, 0)


def test_spread_within_lines_where_there_are_plots():
    cells = simulate_cells(40, 2, 1)
    rng = np.random.default_rng(0)
    errors = rng.normal(size=(2, 40, 2, 1)) * np.array([0.5, 3.0])[:, None]
    trial = trial_of(*(cells + errors), reps=("1", "2"))
    finding = caution(trial, "unequal spread")
    assert "(plots around their line's mean)" in finding.summary
    assert finding.items[0]["value"] == pytest.approx(6, rel=0.4)


def test_relations_are_looked_for_in_one_thread(monkeypatch):
    """On a busy machine the threads of many small products wait for one another: 40 s in place of half a second."""
    seen = []

    def search(*_):
        seen.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return []

    monkeypatch.setattr("bmtme.checkup.dependences._search", search)
    with threadpool_limits(2):
        assert find_dependences(trial_of(simulate_cells(20, 2, 2))) == []
    assert set(seen) == {1}


# --- one cause, one word ------------------------------------------------------------------------------------------


def test_an_exact_relation_is_not_called_a_likeness_too():
    """Of its advice, the difference of the two traits would leave nothing."""
    cells = simulate_cells(40, 3, 2)
    cells[:, :, 1] = 2 * cells[:, :, 0] + np.arange(3)
    assert kinds(trial_of(cells)) == {"dependent columns"}
    # Where it is exact in one environment only, the likeness in another is told still.
    cells[:, 1:, 1] = np.round(cells[:, 1:, 1] + 0.3 * np.random.default_rng(0).normal(size=(40, 2)), 2)
    trial = trial_of(cells)
    assert {"dependent columns", "traits alike"} <= kinds(trial)
    assert "2018" not in caution(trial, "traits alike").summary
    assert "of 2018" in caution(trial, "dependent columns").summary


def test_another_unit_is_not_called_an_unequal_spread_too():
    cells = simulate_cells(40, 3, 1)
    cells[:, 1] *= 1000
    assert kinds(trial_of(cells)) == {"unit"}
    # The other environments are compared still.
    cells[:, 2] = np.round(50 + 6 * (cells[:, 2] - 50), 2)
    finding = caution(trial_of(cells), "unequal spread")
    assert {finding.items[0]["env"], finding.items[0]["other"]} == {"2018", "2020"}


def test_a_unit_so_large_that_a_fit_is_refused_is_named():
    cells = simulate_cells(40, 3, 1)
    cells[:, 1] = 0.03 * cells[:, 1]
    cells[:, [0, 2]] *= 1000
    assert "varies in 2019 by" in (text := caution(trial_of(cells), "constant in an environment").summary)
    assert "(another unit?)" in text


# --- relationship -----------------------------------------------------------------------------------------------


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
        trial_of(simulate_cells(30, 2, 1)).check(Relationship(raw, [f"g{j}" for j in range(30)]))
    )


def test_doubles_are_counted():
    matrix = 0.5 * np.eye(30) + 0.5
    for group in ((2, 5, 9), (11, 12), tuple(range(15, 27))):
        matrix[np.ix_(group, group)] = 0.995
        matrix[group, group] = 1.0
    trial = trial_of(simulate_cells(30, 2, 1))
    notes = trial.check(Relationship(matrix, [f"g{j}" for j in range(30)])).notes
    (finding,) = (note for note in notes if note.kind == "nearly identical lines")
    assert "70 pairs" in finding.summary
    assert "17 of 30 lines have such a double; the largest group holds 12." in finding.summary
    assert [(item["line"], item["other"]) for item in finding.items][:2] == [("g2", "g5"), ("g2", "g9")]


@pytest.mark.parametrize("value", [1e3, -400.0, 1e6])
def test_a_gross_outlier_is_said_by_a_fit_too(value, no_sampling):
    cells = simulate_cells(40, 2, 2)
    cells[3, 0, 1] = value
    trial = trial_of(cells)
    finding = caution(trial, "gross outlier")
    assert f"B of g3 in 2018 is {value:.6g}, where the median is" in finding.summary
    # Nothing is said of the other environment, which varies as ever.
    assert kinds(trial) <= {"gross outlier", "missing code"}
    assert any(text == finding.summary for text in said_by_fit(trial, no_sampling))


def test_an_outlier_makes_no_plots_alike():
    plots = [simulate_cells(20, 2, 1, seed=0) + np.random.default_rng(k).normal(size=(20, 2, 1)) for k in range(2)]
    plots[0][4, 0, 0] = 1e6
    assert kinds(trial_of(*plots)) == {"gross outlier"}


def test_heavy_tails_are_no_gross_outliers():
    cells = simulate_cells(60, 2, 1)
    cells[:, 1, 0] = np.exp(np.random.default_rng(1).normal(size=60))
    cells[:5, 0, 0] += 60  # a group of lines that differ
    assert "gross outlier" not in kinds(trial_of(cells))


def test_two_magnitudes_in_an_environment(no_sampling):
    cells = simulate_cells(40, 2, 1) * 100
    cells[:9, 0, 0] /= 1000  # 4.817 for 4,817
    trial = trial_of(cells)
    finding = caution(trial, "two magnitudes")
    assert "A in 2018 is" in finding.summary
    assert "in 9 records and" in finding.summary
    assert finding.summary in said_by_fit(trial, no_sampling)


def test_small_values_of_a_wide_trait_are_of_one_magnitude():
    for seed in range(20):
        cells = np.random.default_rng(seed).lognormal(sigma=1.5, size=(60, 2, 1))
        assert "two magnitudes" not in kinds(trial_of(cells))


def test_real_sets_are_fitted_without_a_word(data_file):
    for name, traits in (
        ("maize309_mtme", "Yield,ASI,PH"),
        ("wheat250_mtme", "DTHD,GRYLD,NDVI,PTHT"),
        ("wheat599", "GY"),
        ("potato_hancock", "total.yield,vine.maturity,fry.color"),
    ):
        frame = pd.read_csv(data_file(f"{name}/pheno.csv"))
        trial = Trial.from_frame(frame, line="line", env="env", traits=traits.split(","))
        assert [finding.kind for finding in find_cautions(trial) if finding.severity != "note"] == []
        assert find_dependences(trial) == []
