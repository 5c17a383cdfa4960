"""Simulated data against the parameters they were drawn with."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from bmtme.data.relationship.files import read_relationship
from bmtme.data.relationship.matrix import Relationship
from bmtme.data.trial import read_trial
from bmtme.datasets import PAPER_MEANS, simulate
from bmtme.errors import UsageError


def close_to_covariance(draws, expected, sds=4.5):
    """Rows are independent N(0, expected): mean square and products within so many standard errors."""
    found = draws.T @ draws / len(draws)
    error = np.sqrt((np.outer(np.diag(expected), np.diag(expected)) + expected**2) / len(draws))
    assert (np.abs(found - expected) < sds * error).all(), (found, expected)


def effects(simulation):
    """b2 (I, J, L) and the residuals of the plots (N, L) from the truth."""
    truth, frame = simulation.truth, simulation.frame
    shape = (len(truth["beta"]), len(truth["b1"]), -1)
    cells = pd.MultiIndex.from_frame(frame[["env", "line"]])
    fitted = (
        truth["beta"].loc[frame["env"]].to_numpy()
        + truth["b1"].loc[frame["line"]].to_numpy()
        + truth["b2"].loc[cells].to_numpy()
    )
    return truth["b2"].to_numpy().reshape(shape), frame[list(truth["beta"].columns)].to_numpy() - fitted


@pytest.mark.parametrize("relationship", ["compound", "blocks"])
def test_moments(relationship):
    simulation = simulate(
        lines=300, envs=4, reps=2, interaction=(0.2, 0.5, 1.0, 2.0), relationship=relationship, seed=3
    )
    truth = {name: values.to_numpy() for name, values in simulation.truth.items()}
    assert truth["Sigma_t"] == pytest.approx(0.15 * np.eye(3) + 0.85)
    assert np.diag(truth["Sigma_E"]).tolist() == [0.2, 0.5, 1.0, 2.0]
    whiten = np.linalg.inv(np.linalg.cholesky(simulation.relationship.matrix))
    close_to_covariance(whiten @ truth["b1"], truth["Sigma_t"])
    b2, residuals = effects(simulation)
    for i, variance in enumerate(np.diag(truth["Sigma_E"])):
        close_to_covariance(whiten @ b2[i], variance * truth["Sigma_t"])
    close_to_covariance(residuals, truth["R_e"])


@pytest.mark.slow
def test_effects_follow_the_relationship():
    # Over many small data sets: E b1 b1' = G Sigma_t[l, l], lines within and between blocks.
    draws = np.stack([simulate(lines=12, relationship="blocks", seed=seed).truth["b1"]["T1"] for seed in range(400)])
    close_to_covariance(draws, simulate(lines=12, relationship="blocks").relationship.matrix)


def test_environments_and_plots_are_independent():
    b2, residuals = effects(simulate(lines=300, envs=3, reps=2, seed=4))
    e = residuals.reshape(3, 300, 2, 3)
    pairs = [(e[:, :, 0], e[:, :, 1]), (e[0], e[1])]
    for a, b in pairs:
        assert abs(np.corrcoef(a.reshape(-1), b.reshape(-1))[0, 1]) < 0.15
    centred = b2 - b2.mean(axis=1, keepdims=True)
    assert abs(np.corrcoef(centred[0, :, 0], centred[1, :, 0])[0, 1]) < 4.5 / math.sqrt(300)


@pytest.mark.parametrize("relationship", ["compound", "markers"])
def test_heritability_is_as_defined(relationship):
    simulation = simulate(
        lines=60, heritability=(0.1, 0.5, 0.9), interaction=(0.1, 0.3, 0.8), relationship=relationship
    )
    G = simulation.relationship.matrix
    c = (np.trace(G) - G.sum() / 60) / 59
    genetic = c * np.diag(simulation.truth["Sigma_t"]) * 1.4
    h2 = genetic / (genetic + np.diag(simulation.truth["R_e"]))
    assert h2 == pytest.approx([0.1, 0.5, 0.9])
    assert simulation.truth["heritability"].to_numpy() == pytest.approx(h2)
    sd = np.sqrt(np.diag(simulation.truth["R_e"]))
    correlation = simulation.truth["R_e"].to_numpy() / np.outer(sd, sd)
    assert correlation == pytest.approx(0.15 * np.eye(3) + 0.85)


def test_the_design_of_the_paper():
    simulation = simulate(reps=20, interaction=1.0)
    assert simulation.frame.shape == (4800, 6)
    assert (simulation.truth["beta"].to_numpy() == PAPER_MEANS).all()
    assert simulation.relationship.matrix == pytest.approx(0.3 * np.eye(80) + 0.7)
    assert simulation.relationship.lines[0] == "L01"
    blocks = simulate(relationship="blocks").relationship.matrix
    assert blocks == pytest.approx(np.kron(np.eye(8), 0.3 * np.eye(10) + 0.7))


def test_everything_follows_from_the_seed():
    for relationship in ("compound", "markers"):
        first, second = (simulate(lines=20, relationship=relationship, seed=5) for _ in range(2))
        pd.testing.assert_frame_equal(first.frame, second.frame, check_exact=True)
        assert (first.relationship.matrix == second.relationship.matrix).all()
    assert (simulate(lines=20, seed=6).frame["T1"] != simulate(lines=20, seed=5).frame["T1"]).all()


def test_missing_records_and_traits():
    whole = simulate(lines=50, envs=4, reps=2).frame
    fewer = simulate(lines=50, envs=4, reps=2, missing=0.3).frame
    assert len(fewer) == 2 * 140
    assert fewer["line"].nunique() == 50
    merged = fewer.merge(whole, on=["line", "env", "rep"], suffixes=("", "_whole"))
    assert (merged["T2"] == merged["T2_whole"]).all()
    holes = simulate(lines=50, envs=4, reps=2, missing=0.3, missing_traits=0.4).frame
    values = holes[["T1", "T2", "T3"]].isna()
    assert values.to_numpy().sum() == round(0.4 * 280 * 3)
    assert not values.all(axis=1).any()
    assert (values.mean() - 0.4).abs().max() < 0.15
    most = simulate(lines=50, envs=4, missing=0.75, missing_traits=2 / 3).frame
    assert len(most) == 50
    assert (most[["T1", "T2", "T3"]].notna().sum(axis=1) == 1).all()


def test_markers():
    simulation = simulate(lines=80, relationship="markers", seed=2)
    markers = simulation.markers.to_numpy().astype(float)
    assert set(np.unique(markers)) == {0.0, 2.0}
    p = markers.mean(axis=0) / 2
    z = markers - 2 * p
    assert simulation.relationship.matrix == pytest.approx(z @ z.T / (2 * (p * (1 - p)).sum()))
    matrix = simulation.relationship.matrix
    assert 1.5 < np.diag(matrix).mean() < 2.2  # doubled haploids: twice that of outbred lines
    family = np.arange(80) // 10
    same = (family[:, None] == family) & ~np.eye(80, dtype=bool)
    population = (family[:, None] % 4 == family % 4) & ~(family[:, None] == family)
    other = family[:, None] % 4 != family % 4
    assert matrix[same].mean() > matrix[population].mean() + 0.3
    assert matrix[population].mean() > matrix[other].mean() + 0.1
    b1 = simulation.truth["b1"].to_numpy()
    assert np.abs(b1.mean(axis=0)).max() < 1e-6  # G 1 = 0, so the effects add up to nothing


def test_a_relationship_of_ones_own():
    rel = Relationship.identity(["x", "y", "z"])
    simulation = simulate(lines=3, relationship=rel)
    assert simulation.frame["line"].unique().tolist() == ["x", "y", "z"]
    with pytest.raises(UsageError, match="has 3 lines but lines=80"):
        simulate(relationship=rel)


def test_one_environment_and_other_sizes():
    simulation = simulate(lines=10, envs=1, traits=1, heritability=0.5)
    assert "b2" not in simulation.truth
    assert "Sigma_E" not in simulation.truth
    assert simulation.truth["R_e"].to_numpy() == pytest.approx(0.3)  # what lines differ in, of 0.3 I + 0.7 11'
    larger = simulate(lines=10, envs=5, traits=4)
    assert larger.truth["heritability"].tolist() == [0.2, 0.5, 0.8, 0.2]
    assert (larger.truth["beta"].to_numpy()[:3, :3] == PAPER_MEANS).all()


def test_save(tmp_path):
    simulation = simulate(lines=12, missing=0.2, missing_traits=0.2, relationship="markers")
    simulation.save(tmp_path / "new" / "data")
    folder = tmp_path / "new" / "data"
    trial = read_trial(folder / "phenotypes.csv", line="line", env="env", rep="rep", traits=["T1", "T2", "T3"])
    assert set(trial.lines) == set(simulation.relationship.lines)
    assert np.nansum(trial.values) == pytest.approx(np.nansum(simulation.frame[["T1", "T2", "T3"]]))
    rel = read_relationship(folder / "relationship.csv")
    assert rel.lines == simulation.relationship.lines
    assert rel.matrix == pytest.approx(simulation.relationship.matrix)
    truth = json.loads((folder / "truth.json").read_text())
    assert truth["beta"]["E2"]["T1"] == 12.0
    assert truth["b2"]["E3"]["L05"]["T2"] == pytest.approx(simulation.truth["b2"].loc[("E3", "L05"), "T2"])
    assert truth["heritability"] == pytest.approx({"T1": 0.2, "T2": 0.5, "T3": 0.8})
    with pytest.raises(UsageError, match=r"phenotypes.csv exists already"):
        simulation.save(folder)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lines": 0}, "lines must be a whole number of at least 1"),
        ({"reps": 1.5}, "reps must be a whole number"),
        ({"seed": -1}, "seed must be a whole number of at least 0"),
        ({"heritability": 1.0}, "heritability must lie strictly between 0 and 1"),
        ({"heritability": (0.2, 0.5)}, "one number for each of the 3 traits"),
        ({"heritability": "high"}, "heritability must be a number"),
        ({"interaction": -0.5}, "interaction must be finite and not negative"),
        ({"interaction": (0.5, 0.5)}, "one number for each of the 3 environments"),
        ({"genetic_correlation": 1.0}, "genetic_correlation must lie between -0.5 and 1"),
        ({"residual_correlation": -0.6}, "residual_correlation must lie between -0.5 and 1"),
        ({"relationship": "pedigree"}, "relationship must be one of compound, blocks, markers"),
        ({"missing": 0.7}, "missing must lie between 0 and 0.667, as every line keeps one environment"),
        ({"missing_traits": -0.1}, "missing_traits must lie between 0 and 0.667"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(UsageError, match=message):
        simulate(**arguments)
