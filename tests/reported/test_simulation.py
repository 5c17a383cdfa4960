"""Simulated trials: their truth and their files."""

import json

import numpy as np
import pytest
from scipy import stats

from bmtme import Relationship, simulate
from bmtme.data.relationship.files import read_relationship
from tests.helpers.tables import assert_file_holds

pytestmark = pytest.mark.filterwarnings("ignore:a short run")


def test_truth_of_a_simulation():
    """A plot is its mean, its effects and a residual; means beyond the third are from N(10, 3^2)."""
    wide = simulate(lines=2, envs=40, traits=40, relationship=Relationship.identity(["a", "b"]), seed=4)
    means = wide.truth["beta"].to_numpy()[3:, 3:].ravel()
    assert abs(means.mean() - 10) < 4.5 * 3 / np.sqrt(means.size)
    assert abs(means.std(ddof=1) - 3) < 4.5 * 3 / np.sqrt(2 * means.size)
    assert abs(stats.skew(means)) < 4.5 * np.sqrt(6 / means.size)


def test_files_of_a_simulation_hold_every_digit(tmp_path):
    sim = simulate(lines=12, reps=2, relationship="markers", missing_traits=0.2, seed=3)
    sim.save(tmp_path)
    np.testing.assert_array_equal(read_relationship(tmp_path / "relationship.csv").matrix, sim.relationship.matrix)
    assert_file_holds(tmp_path / "phenotypes.csv", sim.frame)
    truth = json.loads((tmp_path / "truth.json").read_text(encoding="utf-8"))
    for name in ("beta", "Sigma_t", "R_e", "Sigma_E", "b1"):
        table = sim.truth[name]
        found = [[truth[name][row][column] for column in table.columns] for row in table.index]
        np.testing.assert_array_equal(found, table, err_msg=name)
    for (env, line), row in sim.truth["b2"].iterrows():
        assert truth["b2"][env][line] == row.to_dict()
