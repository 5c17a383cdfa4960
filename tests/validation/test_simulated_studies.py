"""What the validation studies on simulated data compute with, and that their sentences follow the results."""

from __future__ import annotations

import numpy as np
import pytest

import bmtme
from validation.paper import accuracy_findings, recovery_findings
from validation.paper.accuracy_known import READINGS as KNOWN_READINGS
from validation.paper.accuracy_known import Known, bound_prediction, correlate, list_genetic
from validation.paper.accuracy_page import describe as describe_accuracy
from validation.paper.accuracy_sets import ALONE, BD, DESIGNS, KNOWN, MODELS, PREDICTORS, SCORES, UN, Accuracy
from validation.paper.recovery import judge
from validation.paper.recovery_page import cover_normal
from validation.paper.recovery_page import describe as describe_recovery
from validation.paper.recovery_sets import DEFAULT, GROUPS, PRIORS, READINGS, VAGUE, Recovery
from validation.paper.simulated import compare_zero, join_words, simulate, write_number

ENVS, TRAITS = ("E1", "E2", "E3"), ("T1", "T2", "T3")


def test_numbers_that_round_to_zero_have_no_sign():
    assert [write_number(value, 1, "+") for value in (-0.04, 0.04, -0.06, 0.06)] == ["0.0", "0.0", "-0.1", "+0.1"]
    assert write_number(2.5, 2) == "2.50"
    assert [compare_zero(value, 1.0) for value in (-2.1, -1.9, 1.9, 2.1)] == [-1, 0, 0, 1]
    assert compare_zero(2.1, 1.0, 3.0) == 0
    assert [join_words(list(words)) for words in ("a", "ab", "abc")] == ["a", "a and b", "a, b and c"]


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


def test_coverage_of_wrong_intervals():
    assert cover_normal(1, 0) == pytest.approx(0.9)
    draws = np.random.default_rng(1).normal(size=200_000)
    assert cover_normal(7 / 8, 0.5) == pytest.approx(np.mean(np.abs(draws + 0.5) < 7 / 8 * 1.6448536), abs=0.004)


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


def make_results(default: dict[str, float], vague: dict[str, float], sets: int = 100) -> recovery_findings.Results:
    percent = {DEFAULT: default, VAGUE: vague}
    return {
        (reading, priors): make_recovery(percent[priors], 10 * n + m, sets)
        for n, reading in enumerate(READINGS)
        for m, priors in enumerate(PRIORS)
    }


PATTERN = {"Sigma_E": 5.5}


@pytest.mark.parametrize(
    "default, vague, found",
    [
        ({"Sigma_t": 5.0}, PATTERN, "found with vague priors, not with default ones"),
        (PATTERN, {}, "found with default priors, not with vague ones"),
        (PATTERN, PATTERN, "found with both"),
        ({"Sigma_E": -5.0}, {"Sigma_E": 30.0}, "NOT found"),
        ({**PATTERN, "beta[E2, T2]": 14.0, "beta[E3, T3]": -14.0}, PATTERN, "found with vague priors, not"),
        ({**PATTERN, "R_e": -3.0}, PATTERN, "found with vague priors, not"),
    ],
)
def test_one_rule_finds_the_pattern_of_table_1(default, vague, found):
    assert found in describe_recovery(make_results(default, vague), "figure.png").split("\n- ")[1]


def test_groups_are_called_by_one_rule():
    results = make_results({"Sigma_t": 5.5, "R_e": -2.0, "beta[E2, T2]": 14.0, "beta[E3, T3]": -13.0}, {"Sigma_E": 5.5})
    found = {group: recovery_findings.find_group(results, DEFAULT, group) for group in GROUPS}
    assert str(found["Sigma_t"]).endswith("too high")
    assert found["Sigma_t"].slightly_high
    assert str(found["R_e"]).endswith("too low")
    assert not found["R_e"].close
    assert "not close in single entries (beta[E2, T2], " in str(found["beta"])
    assert "+14.0%" in str(found["beta"])
    assert found["Sigma_E"].close
    assert str(found["Sigma_E"]).endswith("close")
    assert "Sigma_t with default priors (+5.5%) and Sigma_E with vague priors (+5.5%) are alike" in (
        recovery_findings.summarise(results)
    )


def test_batches_are_of_one_relationship_and_counted():
    r = make_recovery({"Sigma_t": 1.0}, 5, sets=120)
    batches = recovery_findings.split_batches(r, "Sigma_t")
    assert [len(batch) for batch in batches] == [50, 50]
    np.testing.assert_allclose(np.concatenate(batches), r.excess("Sigma_t", r.mean)[:100])
    assert recovery_findings.count_high([np.array([1.0, 1.1]), np.array([-1.0, -1.1]), np.array([-1.0, 1.1])]) == 1
    assert "too few sets for batches" in describe_recovery(make_results({}, {}, sets=49), "figure.png")


def test_shifts_beyond_the_limit_are_told():
    assert recovery_findings.explain_shifts(make_results({}, {})).startswith("None is beyond")
    off = make_results({"Sigma_E": -1.2}, {})
    told = recovery_findings.explain_shifts(off)
    shift = off["compound", DEFAULT].shift("Sigma_E")[0]
    assert f"Sigma_E under *compound* with default priors ({shift:+.2f}, SE" in told
    assert "passes" in told
    assert all(row.ok for row in judge(off) if "medians" in row.check)
    assert "small posterior standard deviation" not in told, "the same in mean posterior SDs"
    wide = {key: make_recovery({"Sigma_E": -2.5 * (key[1] == DEFAULT)}, k, noise=20.0) for k, key in enumerate(off)}
    assert "small posterior standard deviation" in recovery_findings.explain_shifts(wide)
    far = make_results({"Sigma_E": -3.0}, {})
    assert "2 of them by more than three standard errors" in recovery_findings.explain_shifts(far)
    assert sum(not row.ok for row in judge(far) if "medians" in row.check) == 2


def test_recovery_page_names_the_least_covered_entries():
    results = make_results({}, {})
    inside = results["blocks", VAGUE].inside
    inside[:, 11] = np.arange(len(inside)) % 2 == 0
    name = results["blocks", VAGUE].names[11]
    assert f"entries least for {name} (blocks, vague priors, 50%)" in recovery_findings.tell_coverage(results)
    assert "-0.0 (" not in describe_recovery(results, "figure.png")


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


def make_known(pure: float) -> list[Known]:
    steps = np.linspace(-0.01, 0.01, 5)
    return [
        Known(name, pure + k / 5 + steps - 0.1, pure + k / 5 + steps, 1e-13) for k, name in enumerate(KNOWN_READINGS)
    ]


FLAT = {True: 0.0, False: 0.0}
EQUAL, EQUAL_LOW, UNEQUAL, UNEQUAL_LOW = (design.name for design in DESIGNS)


@pytest.mark.parametrize(
    "gains, answer, rule",
    [
        ({UNEQUAL: 0.05}, "not from the correlation alone", "needs heritabilities that differ"),
        ({}, "no gain was found", "not followed"),
        ({UNEQUAL: 0.05, EQUAL: 0.05}, "makes no difference", "with equal and with unequal"),
        ({UNEQUAL: 0.05, UNEQUAL_LOW: 0.05}, "not from the correlation alone", "not followed"),
    ],
)
def test_accuracy_answers_by_the_results(gains, answer, rule):
    page = describe_accuracy(make_accuracy(gains, FLAT), make_known(0.54), "figure.png")
    bullets = page.split("\n- ")
    assert bullets[1].startswith("*Answer*")
    assert answer in bullets[1]
    assert bullets[2].startswith("*The paper's rule*")
    assert rule in bullets[2]
    assert "-0.000 (" not in page
    assert "-0.00 (" not in page


def test_the_papers_rise_is_compared():
    larger = accuracy_findings.compare_rise(make_accuracy({}, FLAT))
    assert "larger than what is found either way" in larger
    same = accuracy_findings.compare_rise(make_accuracy({}, {True: 0.0, False: 0.1}))
    assert "what is found with unequal heritabilities" in same


def test_pairs_of_different_sets_are_counted():
    results = make_accuracy({}, {True: 0.1, False: 0.0}, sets=6)
    high, low = (accuracy_findings.find(results, True, rho).average(UN, "pearson") for rho in (0.85, 0.2))
    count = sum(high[a] - low[b] >= accuracy_findings.RISE for a in range(6) for b in range(6) if a != b)
    told = accuracy_findings.tell_chance(results)
    assert f" {count} of 30 pairs" in told
    assert "may make" in told
    assert "chance is not excluded" in told
    assert "hardly makes" in accuracy_findings.tell_chance(make_accuracy({}, {True: -0.1, False: 0.0}))
    assert "chance is excluded" in accuracy_findings.tell_chance(make_accuracy({}, {True: -0.1, False: 0.0}))


def test_levels_beyond_the_bound_are_told():
    told = accuracy_findings.tell_bound(make_known(0.54))
    assert "cannot be the average under *compound*," in told
    assert "is above none" in accuracy_findings.tell_bound(make_known(0.7))
    assert "no prediction changes" in accuracy_findings.explain_bound(make_known(0.54))
    broken = [Known("compound", np.ones(3), np.ones(3), 0.1)]
    assert "forbids" in accuracy_findings.explain_bound(broken)


def test_the_gain_is_over_the_diagonal_model():
    results = make_accuracy({UNEQUAL: 0.05}, FLAT)
    r = accuracy_findings.find(results, False, 0.85)
    expected = (r.of(UN, "pearson") - r.of(BD, "pearson")).mean(axis=(1, 2))
    np.testing.assert_allclose(accuracy_findings.find_gain(r), expected)
    assert np.abs(r.gain(KNOWN, ALONE, "pearson")[:, -1] - 0.05).max() < 1e-12


@pytest.mark.parametrize("relationship", ["compound", "blocks"])
def test_the_design_is_in_terms_of_one_line(relationship: str) -> None:
    """Residual variances of the pages' designs: (1 + mean Sigma_E) (1 / h2 - 1), whatever lines have in common."""
    simulation, _ = simulate(1, (0.2, 0.5, 0.8), interaction=(0.5, 1.0, 1.5), relationship=relationship)
    np.testing.assert_allclose(np.diag(simulation.truth["R_e"]), [8.0, 2.0, 0.5])
