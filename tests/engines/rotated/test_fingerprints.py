"""Draws of every sampler and variant from fixed seeds, as they were: what moves code must not move numbers.

python -m tests.engines.rotated.test_fingerprints      writes fingerprints.json anew, after a change meant to move them
"""

import json
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

import bmtme

FILE = Path(__file__).parent / "fingerprints.json"
SAMPLERS = ("collapsed", "gibbs", "stepwise")
MODELS = {
    "unstructured": {},
    "diagonal": {"structure": "diagonal"},
    "standard": {"structure": "standard"},
    "inverse-Wishart": {
        "prior_t": bmtme.InverseWishart(5, 0.5),
        "prior_e": bmtme.InverseWishart(5, 0.5),
        "prior_E": bmtme.InverseWishart(4, 0.5),
    },
    "paper": {"means": "paper"},
    "fixed replicates": {"rep_effect": "fixed"},
    "random replicates": {"rep_effect": "random"},
}
DATA = ("gaps", "one environment")
NAMES = [f"{sampler}, {model}, {data}" for sampler in SAMPLERS for model in MODELS for data in DATA]


def make_data(name):
    """Replicates, missing plots and traits, an absent column, a line without a record; or one environment."""
    sim = bmtme.simulate(
        lines=16, envs=1 if name == "one environment" else 3, traits=2, reps=2, relationship="markers", seed=3,
        missing=0.0 if name == "one environment" else 0.2, missing_traits=0.1,
    )  # fmt: skip
    frame = sim.frame[sim.frame["line"] != "L07"].copy()
    if name == "gaps":
        frame.loc[frame["env"] == "E2", "T2"] = np.nan
    return bmtme.Trial.from_frame(frame, line="line", env="env", traits=["T1", "T2"], rep="rep"), sim.relationship


def take_fingerprint(name):
    """Mean and mean square of the draws of every variable, and of the predictions."""
    sampler, model, data = name.split(", ")
    settings = {"rep_effect": "none"} | MODELS[model]
    structure = settings.pop("structure", "unstructured")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = bmtme.fit(
            *make_data(data), bmtme.BMTME(structure, **settings), draws=6, tune=8, chains=2, seed=7, sampler=sampler
        )
    found = {str(key): fit.idata.posterior[key].values for key in fit.idata.posterior.data_vars}
    found |= {f"predicted {key}": fit.predictions()[key].to_numpy() for key in ("mean", "sd", "lower", "upper")}
    return {key: [float(np.mean(values)), float(np.mean(np.square(values)))] for key, values in sorted(found.items())}


def list_versions():
    """Of the libraries that make the numbers; a last bit grows from sweep to sweep."""
    return {name: version(name) for name in ("numpy", "scipy", "numba")}


@pytest.mark.parametrize("name", NAMES)
def test_draws_are_as_they_were(name):
    """To four digits. So few sweeps that another processor, whose last bits differ, draws the same to seven.

    After 32 sweeps a proposal may be taken on one processor and refused on another.
    """
    record = json.loads(FILE.read_text(encoding="utf-8"))
    if record["versions"] != list_versions():
        pytest.skip(f"written with {record['versions']}")
    expected = record[name]
    found = take_fingerprint(name)
    assert found.keys() == expected.keys()
    for key, values in found.items():
        size = np.sqrt(expected[key][1])  # a mean near zero has fewer digits of its own
        off = np.abs(np.subtract(values, expected[key])) / [size, size**2]
        assert np.all(off < 1e-4), (key, values, expected[key])


if __name__ == "__main__":
    record = {"versions": list_versions()} | {name: take_fingerprint(name) for name in NAMES}
    FILE.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
