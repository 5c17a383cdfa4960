"""Fits that several of these tests look at, and their saved folders."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from bmtme import Relationship
from tests.helpers.fits import fit_frame
from tests.helpers.trials import simulate_small


@pytest.fixture(scope="package")
def awkward():
    """Lines '001' and 'NA', one without a record, a gap, traits never together, a column and an environment unseen."""
    sim = simulate_small(envs=4)
    frame = sim.frame.replace({"line": {"L01": "001", "L02": "NA"}})
    frame = frame[frame["line"] != "L12"]
    lines = ["001", "NA", *sim.relationship.lines[2:]]
    frame.loc[frame["env"] == "E4", ["T1", "T2", "T3"]] = np.nan
    frame.loc[frame["env"] == "E3", "T3"] = np.nan
    first = frame.index % 2 == 0
    frame.loc[first, "T2"] = np.nan
    frame.loc[~first, "T1"] = np.nan
    return fit_frame(frame, Relationship(sim.relationship.matrix, lines=lines))


@pytest.fixture(scope="package")
def awkward_lines(awkward):
    table = awkward.idata["observed_data"]["record_line"].values
    return dict.fromkeys(table.tolist())


@pytest.fixture(scope="package")
def fitted():
    """Eight lines, two environments, two traits."""
    sim = simulate_small(lines=8, envs=2, traits=2)
    return fit_frame(sim.frame, sim.relationship, draws=20, tune=10)


@pytest.fixture(scope="package")
def saved(fitted, tmp_path_factory):
    """Its folder, which is not to be changed."""
    folder = tmp_path_factory.mktemp("saved") / "run"
    fitted.save(folder)
    return folder


@pytest.fixture
def copy(saved, tmp_path):
    """A folder that may be."""
    return Path(shutil.copytree(saved, tmp_path / "run"))
