"""What the validation studies on simulated data compute with."""

from __future__ import annotations

import numpy as np
import pytest

import bmtme
from validation.paper import accuracy_tables, recovery_tables
from validation.paper.accuracy import judge_gains
from validation.paper.accuracy_known import READINGS as KNOWN_READINGS
from validation.paper.accuracy_known import Known, bound_prediction, correlate, list_genetic
from validation.paper.accuracy_sets import ALONE, BD, DESIGNS, KNOWN, MODELS, PREDICTORS, SCORES, UN, Accuracy
from validation.paper.recovery import judge
from validation.paper.recovery_sets import DEFAULT, GROUPS, PRIORS, READINGS, VAGUE, Recovery
from validation.paper.simulated import compare_zero, simulate, write_number

ENVS, TRAITS = ("E1", "E2", "E3"), ("T1", "T2", "T3")


def test_numbers_that_round_to_zero_have_no_sign():
    assert [write_number(value, 1, "+") for value in (-0.04, 0.04, -0.06, 0.06)] == ["0.0", "0.0", "-0.1", "+0.1"]
    assert write_number(2.5, 2) == "2.50"
    assert [compare_zero(value, 1.0) for value in (-2.1, -1.9, 1.9, 2.1)] == [-1, 0, 0, 1]


@pytest.mark.parametrize("interaction, others", [(1.0, 2), (0.5, 4), (3.0, 1)])
def test_bound_is_that_of_the_joint_normal(interaction, others):
    V = np.ones((others + 1, others + 1)) + interaction * np.eye(others + 1)
    explained = V[0, 1:] @ np.linalg.solve(V[1:, 1:], V[1:, 0])
    assert bound_prediction(interaction, others) == pytest.approx(np.sqrt(explained / V[0, 0]))


def test_genetic_values_are_the_means_without_residual():
    simulation = bmtme.simulate(lines=7, envs=3, traits=2, reps=2, heritability=1 - 1e-13, seed=3)
    trial = bmtme.Trial.from_frame(simulation.frame, line="line", env="env", traits=["T1", "T2"], rep="rep")
    np.testing.assert_allclose(list_genetic(simulation), trial.cell_means(), atol=1e-4)


def test_correlations_are_of_hidden_lines():
    rng = np.random.default_rng(1)
    y, hidden = rng.normal(size=(9, 2, 2)), rng.random((9, 2, 2)) < 0.6
    f = np.where(hidden, 3 - 2 * y, rng.normal(size=y.shape))
    assert correlate(y, f, hidden) == pytest.approx(-1)


def make_recovery(percent: dict[str, float], seed: int, sets: int = 100, noise: float = 4.0) -> Recovery:
    """Posterior means that are by so many percent above the truth, with noise of so many percent."""
    pairs = {"beta": [(e, t) for e in ENVS for t in TRAITS], "Sigma_E": [(e, e) for e in ENVS]}
    pairs["Sigma_t"] = pairs["R_e"] = [(TRAITS[i], TRAITS[j]) for i in range(3) for j in range(i, 3)]
    names = [f"{group}[{a}, {b}]" for group in GROUPS for a, b in pairs[group]]
    groups = np.array([name[: name.index("[")] for name in names])
    truth = np.linspace(1, 3, len(names))
    above = np.array([percent.get(name, percent.get(group, 0.0)) for name, group in zip(names, groups, strict=True)])
    steps = np.random.default_rng(seed).normal(scale=noise, size=(sets, len(names)))
    mean = truth * (1 + (above + steps - steps.mean(axis=0)) / 100)
    inside = np.random.default_rng(seed + 1).random(mean.shape) < 0.9
    sd = mean * noise / 100  # a low estimate has a small posterior SD
    return Recovery(tuple(names), groups, truth, mean, mean, sd, inside, 400.0, np.full(sets, 1.001))


def make_results(default: dict[str, float], vague: dict[str, float], sets: int = 100) -> recovery_tables.Results:
    percent = {DEFAULT: default, VAGUE: vague}
    return {
        (reading, priors): make_recovery(percent[priors], 10 * n + m, sets)
        for n, reading in enumerate(READINGS)
        for m, priors in enumerate(PRIORS)
    }


def test_batches_are_of_one_relationship_and_counted():
    r = make_recovery({"Sigma_t": 1.0}, 5, sets=120)
    batches = recovery_tables.split_batches(r, "Sigma_t")
    assert [len(batch) for batch in batches] == [50, 50]
    np.testing.assert_allclose(np.concatenate(batches), r.excess("Sigma_t", r.mean)[:100])
    assert recovery_tables.count_high([np.array([1.0, 1.1]), np.array([-1.0, -1.1]), np.array([-1.0, 1.1])]) == 1


def test_recovery_tables_hold_what_was_put_in():
    results = make_results({"Sigma_t": 5.5}, {"Sigma_E": 5.5})
    inside = results["blocks", VAGUE].inside
    inside[:, 11] = np.arange(len(inside)) % 2 == 0
    tables = recovery_tables.list_tables(results)
    rows = [line.split() for line in next(iter(tables.values())).split("\n")]
    (row,) = [row for row in rows if row[1::2][:3] == ["both", "default", "Sigma_t"]]
    assert row[7] == row[10] == "+5.5", "mean and median"
    name = results["blocks", VAGUE].names[11]
    row = next(line for line in tables["Relationship blocks: covariances"].split("\n") if name in line)
    assert row.rstrip(" |").endswith(" 50")
    assert not any("-0.0 (" in table for table in tables.values())


def test_shifts_beyond_the_limit_fail():
    """A limit of 0.25 posterior SDs and three standard errors, here of about 0.09."""
    for percent, failed in ((0.0, 0), (-1.2, 0), (-3.0, 2)):
        rows = judge(make_results({"Sigma_E": percent}, {}))
        assert sum(not row.ok for row in rows if "medians" in row.check) == failed


def test_coverage_beyond_the_limit_fails():
    results = make_results({}, {})
    assert all(row.ok for row in judge(results))
    results["blocks", VAGUE].inside[:] = np.random.default_rng(1).random(results["blocks", VAGUE].inside.shape) < 0.6
    assert [row.check for row in judge(results) if not row.ok] == [
        f"recovery, blocks, vague priors: {group}" for group in GROUPS
    ]


def make_accuracy(gains: dict[str, float], rises: dict[bool, float], sets: int = 10) -> list[Accuracy]:
    """All designs; what the unstructured model gains by design, and how much all models rise from 0.2 to 0.85."""
    made = []
    for n, design in enumerate(DESIGNS):
        rng = np.random.default_rng(n)
        shape = (sets, 1, len(ENVS), len(TRAITS))
        level = (
            0.5 + rises[design.proportional] * (design.correlation > 0.5) + rng.normal(scale=0.03, size=(sets, 1, 1, 1))
        )
        scores = {}
        for score in SCORES:
            sign = 1 if "pearson" in score else -1
            values = np.repeat(level + rng.normal(scale=0.02, size=shape), len(PREDICTORS), axis=1)
            gain = gains.get(design.name, 0.0)
            values[:, PREDICTORS.index(UN)] += sign * gain + rng.normal(scale=0.002, size=(sets, 1, 1))
            values[:, PREDICTORS.index(KNOWN)] += sign * gain * (not design.proportional)
            scores[score] = values
        made.append(Accuracy(design, ENVS, TRAITS, scores, np.full((sets, len(MODELS)), 200.0)))
    return made


FLAT = {True: 0.0, False: 0.0}
EQUAL, EQUAL_LOW, UNEQUAL, UNEQUAL_LOW = (design.name for design in DESIGNS)


def test_gains_must_be_above_their_errors():
    for gain, ok in ((0.05, True), (0.0, False)):
        (row,) = judge_gains(make_accuracy({UNEQUAL: gain}, FLAT))
        assert UNEQUAL in row.check
        assert row.ok is ok


def test_pairs_of_different_sets_are_counted():
    results = make_accuracy({}, {True: 0.1, False: 0.0}, sets=6)
    high, low = (accuracy_tables.find(results, True, rho).average(UN, "pearson") for rho in (0.85, 0.2))
    count = sum(high[a] - low[b] >= accuracy_tables.RISE for a in range(6) for b in range(6) if a != b)
    pairs, spread = accuracy_tables.pair_sets(results, True, UN)
    assert (len(pairs), (pairs >= accuracy_tables.RISE).sum()) == (30, count)
    assert spread == pytest.approx(np.hypot(high.std(ddof=1), low.std(ddof=1)))
    assert f"{count} of 30" in accuracy_tables.tabulate_rises(results)


def test_accuracy_tables_have_every_design_and_no_negative_zero():
    steps = np.linspace(-0.01, 0.01, 5)
    known = [Known(name, 0.4 + steps, 0.5 + steps, 1e-13) for name in KNOWN_READINGS]
    tables = accuracy_tables.list_tables(make_accuracy({UNEQUAL: 0.05}, FLAT), known)
    text = "\n".join(tables.values())
    assert "-0.000 (" not in text
    assert "-0.00 (" not in text
    assert all(f"{name.capitalize()}: mean and rank of every cell" in tables for name in (EQUAL, EQUAL_LOW))
    gains = [line for line in tables["Gains of the unstructured model"].split("\n") if line.startswith(f"| {UNEQUAL} ")]
    assert "+0.0500 (0.0000)" in gains[2], "known covariances gain what was put in"


def test_the_gain_is_over_the_diagonal_model():
    r = accuracy_tables.find(make_accuracy({UNEQUAL: 0.05}, FLAT), False, 0.85)
    expected = (r.of(UN, "pearson") - r.of(BD, "pearson")).mean(axis=(1, 2))
    np.testing.assert_allclose(r.gain(UN, BD, "pearson")[:, -1], expected)
    assert np.abs(r.gain(KNOWN, ALONE, "pearson")[:, -1] - 0.05).max() < 1e-12


@pytest.mark.parametrize("relationship", ["compound", "blocks"])
def test_the_design_is_in_terms_of_one_line(relationship: str) -> None:
    """Residual variances of the pages' designs: (1 + mean Sigma_E) (1 / h2 - 1), whatever lines have in common."""
    simulation, _ = simulate(1, (0.2, 0.5, 0.8), interaction=(0.5, 1.0, 1.5), relationship=relationship)
    np.testing.assert_allclose(np.diag(simulation.truth["R_e"]), [8.0, 2.0, 0.5])
