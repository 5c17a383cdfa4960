"""Saves to discs that are full or taken: nothing is lost."""

import contextlib
import shutil
import tempfile
from pathlib import Path

import pandas as pd
import pytest

import bmtme
from bmtme import MachineError, UsageError
from bmtme.cli.main import main
from bmtme.results.folder import check_space, new_folder, save_result
from tests.helpers.discs import contents, small_files

pytestmark = pytest.mark.filterwarnings("ignore:a short run")


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
    assert error.startswith(f"bmtme: error: cannot write the results to {disc / 'run'}: No space left on device.")
    assert f"'bmtme resume {disc / 'run'}' goes on" in error
    assert main(["resume", str(disc / "run")]) == 0
    assert len(bmtme.load(disc / "run").predictions()) == 8 * 2 * 2


def test_a_folder_that_was_taken_during_the_run(words, tmp_path, monkeypatch, capsys):
    out = tmp_path / "run"
    before = bmtme.pipeline.compute

    def slow(*arguments, **keywords):
        out.mkdir()
        (out / "of_another.txt").write_text("")
        return before(*arguments, **keywords)

    monkeypatch.setattr(bmtme.pipeline, "compute", slow)
    monkeypatch.setattr("bmtme.pipeline.run", lambda *arguments, **keywords: pytest.fail("sampled"))
    assert main([*words, "--out", str(out)]) == 2
    assert "is not empty (it holds 'of_another.txt')" in capsys.readouterr().err.splitlines()[-1]
    assert contents(out) == ["of_another.txt"]


def test_space_is_looked_for_before_sampling(words, tmp_path, monkeypatch, capsys):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    monkeypatch.setattr(bmtme.pipeline, "compute", lambda *arguments, **keywords: pytest.fail("sampled"))
    assert main([*words, "--out", str(tmp_path / "new" / "run")]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert f"the output folder {tmp_path / 'new' / 'run'} would take about" in error
    assert f"free in {tmp_path}" in error
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "draws").write_bytes(b"12345")  # there already
    for folder, most in (("none", 1000), ("run", 1005)):
        check_space(tmp_path / folder, most)
        with pytest.raises(MachineError):
            check_space(tmp_path / folder, most + 1)


def test_what_is_estimated_is_what_is_written(words, tmp_path, monkeypatch):
    """At least, for every way to keep effects."""
    sizes = []
    monkeypatch.setattr("bmtme.results.folder.check_space", lambda path, size: sizes.append(size))
    for keep in ("all", "thin", "none"):
        out = tmp_path / keep
        assert main([*words, "--draws", "6000", "--keep-effects", keep, "--out", str(out)]) == 0
        files = [out / "idata.nc", *(out / "checkpoint").glob("chain-*")]
        sizes.append(sum(file.stat().st_size for file in files))
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
