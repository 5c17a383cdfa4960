"""Saved folders that were damaged: what is wrong is named."""

import json

import numpy as np
import pandas as pd
import pytest
import xarray

import bmtme
from bmtme import DataError, Trial
from bmtme.results.record import SCHEMA, read_record, write_record
from bmtme.results.spreadsheets import describe_columns
from bmtme.results.storage import read_table

pytestmark = pytest.mark.filterwarnings("ignore:a short run")
FILES = ("idata.nc", "predictions.csv", "run.json", "summary.csv")


def refuse(folder, *parts):
    """The one message with which a folder is refused."""
    with pytest.raises(DataError) as caught:
        bmtme.load(folder)
    message = str(caught.value)
    assert "\n" not in message
    for part in (str(folder), *parts):
        assert part in message
    return message


@pytest.mark.parametrize("name", FILES)
def test_every_flipped_byte_is_found(copy, name):
    raw = (copy / name).read_bytes()
    rng = np.random.default_rng(len(name))
    for place in rng.integers(0, len(raw), 40):
        damaged = bytearray(raw)
        damaged[place] ^= 1 << rng.integers(8)
        (copy / name).write_bytes(damaged)
        refuse(copy, name)
    (copy / name).write_bytes(raw)
    bmtme.load(copy)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["empty", "cut", "longer", "first line", "noise"])
def test_damaged_files_are_named(copy, name, damage):
    raw = (copy / name).read_bytes()
    damages = {
        "empty": b"",
        "cut": raw[: len(raw) // 2],
        "longer": raw + raw,
        "first line": raw[: raw.index(b"\n") + 1],
        "noise": bytes(np.random.default_rng(1).integers(0, 256, 500, dtype=np.uint8)),
    }
    (copy / name).write_bytes(damages[damage])
    assert "damaged" in refuse(copy, name)


def test_a_cut_at_the_end_of_a_row_is_found(copy):
    rows = (copy / "predictions.csv").read_text().splitlines(keepends=True)
    (copy / "predictions.csv").write_text("".join(rows[: len(rows) // 2]))
    refuse(copy, "predictions.csv is damaged or was changed")


@pytest.mark.parametrize("name", FILES)
def test_a_deleted_file_is_named_as_deleted(copy, name):
    (copy / name).unlink()
    message = refuse(copy, name)
    assert "keep_effects" not in message
    assert ("holds no run.json" if name == "run.json" else f"its {name} is missing, which was written and") in message


def test_a_folder_in_the_place_of_a_file(copy):
    (copy / "summary.csv").unlink()
    (copy / "summary.csv").mkdir()
    refuse(copy, "summary.csv cannot be read: Is a directory")


@pytest.mark.parametrize(
    "text",
    [
        *("{}", "[]", "null", "3", '"fit"', "", "{", "[" * 200_000, '{"a":' * 200_000, "[" * 200_000 + "]" * 200_000),
        *('{"schema": 1}', '{"schema": 1, "sha256": null}', '{"schema": "1", "sha256": 7}', '{"sha256": "' + "0" * 64),
        *('{"schema": 1, "sha256": "' + sign * 64 + '"}' for sign in ("0", "é", "\\ud800")),
        "9" * 5000,
    ],
    ids=range(18),
)
def test_a_record_that_is_none(copy, text):
    (copy / "run.json").write_text(text)
    refuse(copy, "run.json")


@pytest.mark.parametrize("key", ["facts", "data", "settings", "files", "columns", "kind", "schema", "sha256"])
def test_a_record_without_a_part(copy, key):
    record = json.loads((copy / "run.json").read_text())
    del record[key]
    (copy / "run.json").write_text(json.dumps(record, indent=2) + "\n")
    refuse(copy, "run.json")


def test_a_record_of_a_newer_version(copy, monkeypatch):
    text = (copy / "run.json").read_text()
    (copy / "run.json").write_text(text.replace(f'"schema": {SCHEMA}', '"schema": 7'))
    refuse(copy, "schema 7, of a newer version", "reads 1", "(or it is damaged)")

    monkeypatch.setattr("bmtme.results.record.SCHEMA", 7)
    write_record(copy, {}, "fit", {})
    monkeypatch.undo()
    assert "damaged" not in refuse(copy, "schema 7, of a newer version")


def test_another_kind_of_folder_is_named(tmp_path):
    write_record(tmp_path, {}, "herbarium", {})
    refuse(tmp_path, "it holds a herbarium")
    refuse(tmp_path / "nowhere", "holds no idata.nc and no run.json")


def test_a_variable_that_is_missing(copy):
    with xarray.open_datatree(copy / "idata.nc", engine="h5netcdf") as tree:
        groups = {name: node.to_dataset().load() for name, node in tree.children.items()}
    groups["posterior"] = groups["posterior"].drop_vars("R_e")
    for k, (name, dataset) in enumerate(groups.items()):
        dataset.to_netcdf(copy / "idata.nc", mode="a" if k else "w", group=name, engine="h5netcdf")
    refuse(copy, "idata.nc is damaged or was changed")


@pytest.mark.parametrize("error", [RuntimeError("HDF5: unable to\n read"), KeyError("x"), OSError("lock"), TypeError()])
def test_errors_of_libraries_are_one_error(copy, monkeypatch, error):
    def fail(*arguments, **keywords):
        raise error

    monkeypatch.setattr(xarray, "open_datatree", fail)
    refuse(copy, "idata.nc cannot be read")


def test_a_loaded_run_is_the_run_that_was_saved(fitted, saved):
    record = json.loads((saved / "run.json").read_text())
    assert list(record["files"]) == [name for name in FILES if name != "run.json"]
    assert (record["schema"], record["kind"]) == (SCHEMA, "fit")
    assert bmtme.load(saved).run == fitted.run


def test_files_of_others_do_not_matter(copy):
    (copy / "report.html").write_text("added later")
    bmtme.load(copy)


def test_a_saved_cross_validation_has_checksums(tmp_path):
    sim = bmtme.simulate(lines=8, envs=2, traits=2, seed=2)
    trial = Trial.from_frame(sim.frame, line="line", env="env", traits=["T1", "T2"], rep="rep")
    keywords = {"scheme": bmtme.CV1(partitions=1, test_fraction=0.2), "draws": 8, "tune": 4, "chains": 1}
    with pytest.warns(UserWarning, match="few effective draws"):
        result = bmtme.cross_validate(trial, sim.relationship, **keywords)
    result.save(tmp_path / "cv")
    record, columns = read_record(tmp_path / "cv", "cross-validation")
    assert record["settings"] == json.loads(json.dumps(result.run["settings"]))
    table = read_table(tmp_path / "cv" / "predictions.csv", columns["predictions.csv"])
    pd.testing.assert_frame_equal(table, result.predictions)
    with open(tmp_path / "cv" / "scores.csv", "a") as file:
        file.write("\n")
    with pytest.raises(DataError, match=r"scores\.csv is damaged"):
        read_record(tmp_path / "cv", "cross-validation")


def test_columns_come_back_with_their_types(tmp_path):
    """Whatever is added to a table: nothing names its columns again."""
    frame = pd.DataFrame(
        {
            "line": ["NA", "001", "a\rb", " c ", 'd"', ""],
            "mean": [0.1 + 0.2, np.nan, np.inf, -1e-300, 1e23, 5],
            "short": np.array([0.1, np.nan, 3, 4, 5, 6], np.float32),
            "n_obs": np.arange(6) + 2**60,
            "n_hidden": np.arange(6, dtype=np.int8),
            "in_trial": [True, False] * 3,
        }
    )
    frame.to_csv(tmp_path / "t.csv", index=False, lineterminator="\n")
    kinds = json.loads(json.dumps(describe_columns(frame)))
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.csv", kinds), frame)
