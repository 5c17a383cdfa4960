"""Saved folders: what is damaged is named, a killed or failing save leaves nothing in the way, nothing is lost."""

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray

import bmtme
from bmtme import DataError, MachineError, Trial, UsageError
from bmtme.cli.main import main
from bmtme.results.folder import check_new_folder, check_space, new_folder, save_result
from bmtme.results.record import SCHEMA, read_record, write_record
from bmtme.results.storage import describe_columns, read_table
from tests.helpers.discs import small_files

pytestmark = pytest.mark.filterwarnings("ignore:a short run")

FILES = ("idata.nc", "predictions.csv", "run.json", "summary.csv")


@pytest.fixture(scope="module")
def fitted():
    sim = bmtme.simulate(lines=8, envs=2, traits=2, missing=0.1, relationship="markers", seed=2)
    trial = Trial.from_frame(sim.frame, line="line", env="env", traits=["T1", "T2"], rep="rep")
    return bmtme.fit(trial, sim.relationship, draws=20, tune=10, chains=2, seed=1)


@pytest.fixture(scope="module")
def saved(fitted, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "run"
    fitted.save(folder)
    return folder


@pytest.fixture
def copy(saved, tmp_path):
    return Path(shutil.copytree(saved, tmp_path / "run"))


def refuse(folder, *parts):
    """The one message with which a folder is refused."""
    with pytest.raises(DataError) as caught:
        bmtme.load(folder)
    message = str(caught.value)
    assert "\n" not in message
    for part in (str(folder), *parts):
        assert part in message
    return message


# --- damage -----------------------------------------------------------------------------------------------------------


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
    write_record(tmp_path, {}, "cross-validation", {})
    refuse(tmp_path, "it holds a cross-validation")
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


# --- a process that is killed -----------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from pathlib import Path
from bmtme.results.folder import new_folder

out, stage = sys.argv[1:]
renamed = []

def rename(path, target):
    if renamed:
        os.kill(os.getpid(), signal.SIGKILL)
    renamed.append(path)
    os.rename(path, target)

with new_folder(out) as draft:
    for name in ("a.csv", "b.csv", "run.json"):
        (draft / name).write_text(name)
    if stage == "waiting":
        print("ready", flush=True)
        sys.stdin.readline()
    if stage == "writing":
        os.kill(os.getpid(), signal.SIGKILL)
    Path.rename = rename
"""


def start(out, stage):
    command = [sys.executable, "-c", KILLED, str(out), stage]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def contents(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("existed", [True, False])
def test_what_a_killed_process_leaves_is_removed(tmp_path, existed):
    out = tmp_path / "run"
    existed and out.mkdir()
    # What only looks like a draft stays.
    mine = tmp_path / ".run-backup1"
    mine.mkdir()
    for _ in range(2):
        with start(out, "writing") as process:
            process.communicate()
        assert process.returncode == -signal.SIGKILL
    (left,) = (out if existed else tmp_path).glob(".run.bmtme-*")
    assert "a.csv" in contents(left)

    check_new_folder(out)
    assert contents(tmp_path) == [".run-backup1", *(["run"] if existed else [])]
    save_result(out, lambda draft: (draft / "a.csv").write_text("new"))
    assert contents(out) == ["a.csv"]
    assert (out / "a.csv").read_text() == "new"
    assert mine.is_dir()


def test_killed_while_files_move_into_a_folder_that_was_there(tmp_path):
    """All files were complete: the move is brought to its end, and the folder is in use."""
    out = tmp_path / "run"
    out.mkdir()
    with start(out, "moving") as process:
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert "a.csv" in contents(out)
    assert "run.json" not in contents(out)
    with pytest.raises(UsageError, match=r"is not empty \(it holds 'a.csv' and 2 more\)"):
        check_new_folder(out)
    assert contents(out) == ["a.csv", "b.csv", "run.json"]


@pytest.mark.parametrize("existed", [True, False])
def test_a_draft_of_a_live_process_is_left_alone(tmp_path, existed):
    out = tmp_path / "run"
    existed and out.mkdir()
    with start(out, "waiting") as process:
        assert process.stdout.readline() == "ready\n"
        if existed:
            with pytest.raises(UsageError, match="in use, another process is writing"):
                check_new_folder(out)
        else:
            check_new_folder(out)
        process.kill()
    # Its last moment is over: now the same folder can be written.
    check_new_folder(out)
    assert not list(tmp_path.rglob(".run.bmtme-*"))


def test_a_draft_without_its_lock(tmp_path):
    """Killed right after it was made, or while it was being removed."""
    for name, files in (("a", []), ("b", ["idata.nc"])):
        (tmp_path / f".run.bmtme-{name}").mkdir()
        for file in files:
            (tmp_path / f".run.bmtme-{name}" / file).write_text("")
    check_new_folder(tmp_path / "run")
    assert contents(tmp_path) == []


def test_the_shell_after_a_kill(tmp_path, capsys):
    """As it happened: an existing empty --out, SIGKILL while it is written, the same command again."""
    out = tmp_path / "sim"
    out.mkdir()
    killed = (
        "import os, signal, bmtme.cli.main, bmtme.datasets.simulated as s\n"
        "def save(self, folder):\n"
        "    (folder / 'phenotypes.csv').write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "s.Simulation.save = save\n"
        f"bmtme.cli.main.main(['simulate', '--lines', '5', '--out', {str(out)!r}])\n"
    )
    done = subprocess.run([sys.executable, "-c", killed], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(contents(out)) == 1
    assert main(["simulate", "--lines", "5", "--out", str(out)]) == 0, capsys.readouterr().err
    assert contents(out) == ["phenotypes.csv", "relationship.csv", "truth.json"]


def test_a_folder_that_is_not_empty_says_what_it_holds(tmp_path):
    (tmp_path / ".hidden").write_text("")
    with pytest.raises(UsageError, match=r"is not empty \(it holds '\.hidden'\)"):
        check_new_folder(tmp_path)


# --- a machine that fails ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 100, 3_000, 30_000, 1_000_000])
def test_a_full_disc_is_a_failure_of_the_machine(fitted, tmp_path, size):
    with small_files(size), pytest.raises(MachineError, match="Nor could the results be kept in") as caught:
        fitted.save(tmp_path / "run")
    assert caught.value.exit_code == 1
    assert isinstance(caught.value, OSError)
    assert contents(tmp_path) == []


def full_below(monkeypatch, folder):
    """A disc that is full from the second file on, with room elsewhere."""
    before = pd.DataFrame.to_csv

    def write(frame, path, *arguments, **keywords):
        if Path(path).is_relative_to(folder):
            raise OSError(28, "No space left on device")
        return before(frame, path, *arguments, **keywords)

    monkeypatch.setattr(pd.DataFrame, "to_csv", write)


def kept_in(message):
    return Path(message.split("kept in ")[1].split(": move")[0])


def test_results_that_cannot_be_written_are_kept(fitted, tmp_path, monkeypatch):
    disc, elsewhere = tmp_path / "disc", tmp_path / "elsewhere"
    disc.mkdir()
    elsewhere.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    full_below(monkeypatch, disc)
    with pytest.raises(MachineError, match="No space left on device") as caught:
        fitted.save(disc / "run")
    assert contents(disc) == []
    pd.testing.assert_frame_equal(bmtme.load(kept_in(str(caught.value))).summary(), fitted.summary())
    assert kept_in(str(caught.value)).parent == elsewhere


@pytest.fixture
def words(tmp_path):
    assert main(["simulate", "--lines", "8", "--envs", "2", "--traits", "2", "--out", str(tmp_path / "sim")]) == 0
    data = [str(tmp_path / "sim" / name) for name in ("phenotypes.csv", "relationship.csv")]
    columns = ["--line", "line", "--env", "env", "--rep", "rep", "--traits", "T1,T2"]
    return ["fit", data[0], "--relationship", data[1], *columns, "--draws", "8", "--tune", "4", "--chains", "1"]


def test_a_folder_that_two_write_at_once(fitted, tmp_path, monkeypatch):
    """The first one at its end has it; of the other, nothing is lost."""
    out = tmp_path / "run"
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def write(draft):
        with contextlib.suppress(FileExistsError):
            out.mkdir()
            (out / "of_another.txt").write_text("")
        fitted._write(draft)

    with pytest.raises(UsageError, match="another process wrote it meanwhile") as caught:
        save_result(out, write)
    assert contents(out) == ["of_another.txt"]
    bmtme.load(kept_in(str(caught.value)))


def test_the_shell_on_a_full_disc(words, tmp_path, monkeypatch, capsys):
    disc = tmp_path / "disc"
    disc.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path))
        full_below(patch, disc)
        assert main([*words, "--out", str(disc / "run")]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"bmtme: error: cannot write the output folder {disc / 'run'}: No space left on device.")
    assert len(bmtme.load(kept_in(error)).predictions()) == 8 * 2 * 2


def test_a_folder_that_was_taken_during_the_run(words, tmp_path, monkeypatch, capsys):
    out = tmp_path / "run"
    before = bmtme.pipeline.fit

    def slow(*arguments, **keywords):
        out.mkdir()
        (out / "of_another.txt").write_text("")
        return before(*arguments, **keywords)

    monkeypatch.setattr(bmtme.pipeline, "fit", slow)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert main([*words, "--out", str(out)]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "is not empty (it holds 'of_another.txt')" in error
    assert bmtme.load(kept_in(error)).run["command"] == ["bmtme", *words, "--out", str(out)]


def test_space_is_looked_for_before_sampling(words, tmp_path, monkeypatch, capsys):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    monkeypatch.setattr(bmtme.pipeline, "fit", lambda *arguments, **keywords: pytest.fail("sampled"))
    assert main([*words, "--out", str(tmp_path / "new" / "run")]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert f"the output folder {tmp_path / 'new' / 'run'} would take about" in error
    assert f"free in {tmp_path}" in error
    check_space(tmp_path, 1000)
    with pytest.raises(MachineError):
        check_space(tmp_path, 1001)


def test_what_is_estimated_is_what_is_written(words, tmp_path, monkeypatch):
    """At least, for every way to keep effects."""
    sizes = []
    monkeypatch.setattr("bmtme.results.folder.check_space", lambda path, size: sizes.append(size))
    for keep in ("all", "thin", "none"):
        out = tmp_path / keep
        assert main([*words, "--draws", "6000", "--keep-effects", keep, "--out", str(out)]) == 0
        sizes.append((out / "idata.nc").stat().st_size)
    for estimated, written in zip(sizes[::2], sizes[1::2], strict=True):
        assert 0.5 * written < estimated < written, sizes


def test_half_a_simulation_is_not_left(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    simulation = bmtme.simulate(lines=20)
    with small_files(6_000), pytest.raises(OSError, match="File too large"):
        simulation.save(tmp_path)
    assert contents(tmp_path) == ["notes.txt"]
    simulation.save(tmp_path)


def test_a_place_that_does_not_serve_is_no_failure_of_the_machine(tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file" / "run", tmp_path / ("x" * 250)):
        with contextlib.suppress(UsageError), new_folder(out):
            pass
    assert contents(tmp_path)[0] == "file"
