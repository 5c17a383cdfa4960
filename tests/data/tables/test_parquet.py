"""Parquet files, and libraries that are not installed."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest

from bmtme.data.trial import read_trial
from bmtme.errors import DataError, UsageError
from tests.helpers.trials import values

COLUMNS = {"line": "line", "env": "env"}


def test_parquet(tmp_path):
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame(
        {"line": ["001", "NA", "x"], "env": pd.array([2015, None, 2016], "Int64"), "y": [1.5, None, -9]}
    )
    path = tmp_path / "pheno.parquet"
    frame.to_parquet(path)
    with pytest.raises(DataError, match=r"env column 'env' of pheno.parquet is empty in row 2"):
        read_trial(path, **COLUMNS)
    frame["env"] = frame["env"].fillna(2**53 + 1)  # a number that no float holds
    frame.to_parquet(path)
    trial = read_trial(path, **COLUMNS)
    assert trial.lines == ("001", "NA", "x")
    assert trial.envs == ("2015", "9007199254740993", "2016")
    np.testing.assert_array_equal(values(trial), [1.5, np.nan, -9])
    frame.set_index("line").to_parquet(path)  # an index is a column like others
    assert read_trial(path, **COLUMNS, traits="y").lines == ("001", "NA", "x")
    path.write_bytes(b"PAR1 rubbish PAR1")
    with pytest.raises(DataError, match=r"pheno.parquet is no Parquet file, or a damaged one"):
        read_trial(path, **COLUMNS)
    with pytest.raises(DataError, match=r"none.parquet cannot be read: No such file"):
        read_trial(tmp_path / "none.parquet", **COLUMNS)


def test_damaged_parquet(tmp_path):
    """Whatever byte is wrong, the file is read or refused by name; some columns show it only when they are used."""
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"line": [f"L{j}" for j in range(8)], "env": "E", "y": np.arange(8.0)})
    frame.to_parquet(tmp_path / "whole.parquet")
    content = (tmp_path / "whole.parquet").read_bytes()
    refused = []
    for place in range(0, len(content), 11):
        (tmp_path / "p.parquet").write_bytes(content[:place] + b"\xe2" + content[place + 1 :])
        try:
            read_trial(tmp_path / "p.parquet", **COLUMNS, traits="y")
        except DataError as error:
            refused.append(str(error))
    assert len(refused) > 20
    assert all("p.parquet" in message for message in refused)


@pytest.mark.parametrize(
    ("name", "module", "extra"), [("p.xlsx", "openpyxl", "excel"), ("p.parquet", "pyarrow", "parquet")]
)
def test_library_that_is_not_installed(tmp_path, monkeypatch, name, module, extra):
    (tmp_path / name).write_bytes(b"")
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, f"{module}.parquet", None)
    with pytest.raises(UsageError, match=rf"reading {name} needs the Python library {module}.*bmtme\[{extra}\]"):
        read_trial(tmp_path / name, **COLUMNS)
