"""A file that cannot be read for the machine's sake is no fault of the data (exit status 1, and not 3)."""

from __future__ import annotations

import builtins
import errno
from pathlib import Path
from typing import Any

import pytest

from bmtme import DataError, read_markers, read_relationship, read_trial
from bmtme.cli.main import main
from bmtme.errors import MachineError


def read_table(path: Path) -> Any:
    return read_trial(path, line="line", env="env")


READERS = {
    "y.csv": (read_table, None),
    "y.csv.gz": (read_table, None),
    "y.xlsx": (read_table, "openpyxl"),
    "y.parquet": (read_table, "pyarrow"),
    "g.csv": (read_relationship, None),
    "m.npz": (read_markers, None),
    "m.vcf": (read_markers, "cyvcf2"),
    "m.csv": (read_markers, None),
}


@pytest.mark.parametrize(
    ("code", "error"),
    [(errno.EIO, MachineError), (errno.EMFILE, MachineError), (errno.EACCES, DataError), (errno.EISDIR, DataError)],
)
@pytest.mark.parametrize("name", READERS)
def test_what_is_to_blame(tmp_path, monkeypatch, capsys, name, code, error):
    read, library = READERS[name]
    if library is not None:
        pytest.importorskip(library)
    path = tmp_path / name
    path.write_bytes(b"line,env,y\na,E,1\n")
    real = builtins.open

    def fail(file: Any, *args: Any, **keywords: Any) -> Any:
        if str(file) == str(path):
            raise OSError(code, "it is as it is", str(file))
        return real(file, *args, **keywords)

    monkeypatch.setattr(builtins, "open", fail)
    with pytest.raises(error, match=rf"{name} (cannot be read: it is as it is|is a folder: expected a file)"):
        read(path)
    if name == "y.csv":
        status = main(["check", str(path), "--line", "line", "--env", "env", "--traits", "y"])
        assert status == error.exit_code
        said = "is a folder: expected" if code == errno.EISDIR else "cannot be read: it is as it is"
        assert f"y.csv {said}" in capsys.readouterr().err
