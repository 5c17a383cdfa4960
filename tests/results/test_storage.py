"""Fits saved and loaded, and the record of their run."""

import json
import os

import numpy as np
import pandas as pd
import pytest

import bmtme
from bmtme import BMTME, DataError, HalfT, InverseWishart, UsageError
from bmtme.results import record
from tests.helpers.fits import fit_frame
from tests.helpers.trials import simulate_small

pytestmark = pytest.mark.filterwarnings("ignore:a short run")
FILES = {"summary.csv", "predictions.csv", "idata.nc", "run.json"}


# --- record of the run --------------------------------------------------------------------------------------------


def test_record_of_the_run_is_plain_json(awkward):
    run = awkward.run
    assert json.loads(json.dumps(run, allow_nan=False)) == run
    assert run["settings"]["seed"] == 1
    assert run["settings"]["model"]["structure"] == "unstructured"
    assert run["data"]["absent_columns"] == ["E3 x T3", "E4 x T1", "E4 x T2", "E4 x T3"]
    assert run["data"]["lines"] == 11
    assert run["data"]["lines_predicted"] == 12
    assert run["versions"]["bmtme"] == bmtme.__version__


# --- save and load ------------------------------------------------------------------------------------------------


def assert_same_fit(one, two):
    pd.testing.assert_frame_equal(one.summary(), two.summary())
    pd.testing.assert_frame_equal(one.predictions(), two.predictions())
    assert one.run == two.run
    assert repr(one) == repr(two)
    names = ("posterior", "sample_stats", "observed_data", "constant_data", "relationship")
    for name in (*names, *(["effects"] if one.run["settings"]["keep_effects"] == "thin" else [])):
        a, b = one.idata[name], two.idata[name]
        assert set(a.data_vars) == set(b.data_vars)
        for variable in a.data_vars:
            assert a[variable].dims == b[variable].dims
            assert a[variable].dtype == b[variable].dtype, variable
            np.testing.assert_array_equal(a[variable].values, b[variable].values, err_msg=variable)
        for coordinate in a.coords:
            assert a[coordinate].values.tolist() == b[coordinate].values.tolist()


@pytest.mark.parametrize("keep", ["all", "thin"])
def test_save_and_load(awkward, tmp_path, keep):
    result = awkward
    if keep == "thin":
        sim = simulate_small()
        result = fit_frame(sim.frame, sim.relationship, keep_effects="thin")
    result.save(tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES
    assert_same_fit(result, bmtme.load(tmp_path / "run"))
    bmtme.load(tmp_path / "run").save(tmp_path / "again")
    assert_same_fit(result, bmtme.load(tmp_path / "again"))


def test_saved_without_effects(tmp_path):
    sim = simulate_small()
    result = fit_frame(sim.frame, sim.relationship, keep_effects="none")
    result.save(tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES - {"predictions.csv"}
    again = bmtme.load(tmp_path / "run")
    pd.testing.assert_frame_equal(result.summary(), again.summary())
    with pytest.raises(UsageError, match="no predictions"):
        again.predictions()


@pytest.mark.parametrize(
    "prior", [HalfT(nu=np.int64(3), scale=np.float32(2.0)), InverseWishart(df=np.int64(8), scale=np.eye(3))]
)
def test_numbers_of_numpy_in_a_prior_can_be_saved(tmp_path, prior):
    sim = simulate_small()
    fit_frame(sim.frame, sim.relationship, BMTME(prior_t=prior)).save(tmp_path / "run")
    assert bmtme.load(tmp_path / "run").run["settings"]["model"]["prior_t"] != "default"


def test_text_files_keep_names(awkward, tmp_path):
    awkward.save(tmp_path / "run")
    table = pd.read_csv(tmp_path / "run" / "predictions.csv", dtype=str, keep_default_na=False)
    assert list(dict.fromkeys(table["line"]))[:2] == ["001", "NA"]
    assert table["observed"].eq("").any()
    json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("kind", ["empty folder", "nested", "current folder"])
def test_folders_that_will_do(awkward, tmp_path, kind, monkeypatch):
    target = tmp_path / "run"
    if kind == "nested":
        target = tmp_path / "a" / "b" / "run"
    else:
        target.mkdir()
    if kind == "current folder":
        monkeypatch.chdir(target)
    awkward.save("." if kind == "current folder" else target)
    assert {path.name for path in target.iterdir()} == FILES
    assert not list(tmp_path.glob(".*"))


def test_a_folder_in_use_is_refused(awkward, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        awkward.save(tmp_path)
    with pytest.raises(UsageError, match="is a file"):
        awkward.save(tmp_path / "notes.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_failure_leaves_nothing_behind(awkward, tmp_path, monkeypatch):
    """The disk is full when the last file is written: no folder, no draft; the same call works afterwards."""

    def fail(*arguments, **keywords):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(record.json, "dumps", fail)
        with pytest.raises(Exception, match="No space left"):
            awkward.save(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
    awkward.save(tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES


def test_what_is_no_saved_fit_is_named(awkward, tmp_path):
    with pytest.raises(DataError, match=r"holds no idata\.nc"):
        bmtme.load(tmp_path)
    awkward.save(tmp_path / "run")
    (tmp_path / "run" / "idata.nc").write_bytes(b"no netCDF")
    with pytest.raises(DataError, match="cannot be read as a saved fit"):
        bmtme.load(tmp_path / "run")
    os.remove(tmp_path / "run" / "run.json")
    with pytest.raises(DataError, match=r"holds no run\.json"):
        bmtme.load(tmp_path / "run")
