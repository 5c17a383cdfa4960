"""A process that is killed while it saves leaves nothing in the way."""

import signal
import subprocess
import sys

import pytest

from bmtme import UsageError
from bmtme.cli.main import main
from bmtme.results.folder import check_new_folder, save_result
from tests.helpers.discs import contents

pytestmark = pytest.mark.filterwarnings("ignore:a short run")
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
