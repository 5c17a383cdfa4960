"""Tables as text."""

import csv
from pathlib import Path

import numpy as np

#: Two lines in two environments, two traits, two values missing by different codes.
WIDE = "line,env,Yield,PH\n001,A,1.5,200\nNA,A,2.5,\n001,B,NA,210\nNA,B,3.5,.\n"
#: Names of lines that careless readers and writers change.
NAMES = ("001", "1", "NA", "é", "x,y", "it's", 'quo"te', "line")


def write(folder: Path, text: str, name: str = "pheno.csv") -> Path:
    """A file in UTF-8, its line ends as they are in the text."""
    path = folder / name
    path.write_bytes(text.encode())
    return path


def assert_file_holds(path, table):
    """Every number of a table stands in the file so that reading it gives the very same number."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(table.columns)
    assert len(rows) == len(table)
    for name in table.columns:
        texts = [row[name] for row in rows]
        if table[name].dtype.kind == "f":
            found = np.array([float(text or "nan") for text in texts])
            np.testing.assert_array_equal(found, table[name].to_numpy(), err_msg=name)
        else:
            assert texts == table[name].astype(str).tolist(), name
