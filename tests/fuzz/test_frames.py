"""Fuzz of data frames and matrices, which hold what no file does.

As in `test_files`, ``BMTME_FUZZ=20 pytest tests/fuzz/test_frames.py`` runs twenty times as many cases, random ones.
"""

from __future__ import annotations

import contextlib
import datetime
import tempfile
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

import bmtme
from tests.helpers.fuzzing import (
    CELLS,
    PLACES,
    Draw,
    Rows,
    call,
    damage_rows,
    examples,
    long_rows,
    marker_rows,
    pedigree_rows,
    wide_rows,
)

SPECIAL = st.sampled_from(
    [
        *(None, pd.NA, pd.NaT, True, 10**30, -(10**400), 2**53 + 1),
        *(b"x", Decimal("NaN"), Decimal("1.5"), 1j, (), [1]),
        *({"a": 1}, object, np.array([1.0, 2.0]), np.float16(1), np.datetime64("2020-01-01"), pd.Timestamp("2020")),
        *(datetime.date(2020, 1, 2), Decimal("sNaN"), pd.Timedelta(1), float, Decimal("1e999"), np.str_("L01")),
    ]
)
ODD_VALUES = st.one_of(SPECIAL, SPECIAL, CELLS, st.integers(-3, 10), st.floats())


def odd_frame(draw: Draw, rows: Rows) -> pd.DataFrame:
    """A frame with some odd cells, labels or types."""
    rows = damage_rows(draw, rows, 1)
    width = min(map(len, rows), default=0)
    frame = pd.DataFrame([row[:width] for row in rows[1:]], columns=rows[0][:width] if rows else [], dtype=object)
    for _ in range(draw(st.integers(0, 2))):
        if frame.size:
            i, k = draw(st.integers(0, len(frame) - 1)), draw(st.integers(0, width - 1))
            column = frame.iloc[:, k].tolist()
            column[i] = draw(ODD_VALUES)
            frame.isetitem(k, pd.Series(column, index=frame.index, dtype=object))
    kinds = [*["plain"] * 6, "category", "string", "labels", "levels", "numbers", "odd labels"]
    kind = draw(st.sampled_from(kinds))
    index, columns = ([draw(ODD_VALUES) for _ in range(n)] if kind == "odd labels" else [] for n in frame.shape)
    with contextlib.suppress(TypeError, ValueError, OverflowError, ArithmeticError):  # pandas itself may refuse
        if kind == "category":
            frame = frame.astype(str).astype("category")
        elif kind == "string":
            frame = frame.astype(str).astype("string")
        elif kind == "labels":
            frame = frame.set_axis(pd.RangeIndex(width), axis=1)
        elif kind == "levels":
            frame = frame.set_axis(pd.MultiIndex.from_arrays([frame.columns, frame.columns]), axis=1)
        elif kind == "numbers":
            frame = frame.apply(pd.to_numeric, errors="coerce")
        elif kind == "odd labels":
            axis = draw(st.integers(0, 1))
            frame = frame.set_axis(pd.Index((index, columns)[axis], dtype=object), axis=axis)
    return frame


@examples(300)
@given(data=st.data())
def test_frames(data: st.DataObject) -> None:
    draw = data.draw
    match draw(st.sampled_from(["wide", "long", "pedigree", "markers"])):
        case "wide":
            traits = draw(st.sampled_from([["Yield", "PH"], None]))
            frame = odd_frame(draw, wide_rows())
            trial = call(PLACES, bmtme.Trial.from_frame, frame, line="line", env="env", traits=traits, rep="rep")
        case "long":
            columns = {"line": "line", "env": "env", "rep": "rep", "trait": "trait", "value": "value"}
            trial = call(PLACES, bmtme.Trial.from_frame, odd_frame(draw, long_rows()), **columns)
        case "pedigree":
            make = draw(st.sampled_from([bmtme.pedigree_relationship, bmtme.pedigree_inverse]))
            trial = call(["pedigree", "id", "sire", "dam"], make, odd_frame(draw, pedigree_rows()))
        case _:
            frame = odd_frame(draw, marker_rows())
            if frame.shape[1]:
                frame = frame.iloc[:, 1:].set_axis(pd.Index(frame.iloc[:, 0].tolist(), dtype=object), axis=0)
            trial = call(["marker"], draw(st.sampled_from([bmtme.vanraden, bmtme.gaussian_kernel])), frame)
    if isinstance(trial, bmtme.Trial):
        call(PLACES, lambda: str(trial.check()))


MATRICES = st.sampled_from(
    [
        *(np.eye(2), np.zeros((2, 2)), np.full((2, 2), np.nan), -np.eye(2), np.array([[1, 2], [2, 1.0]]), np.eye(1)),
        *(np.zeros((0, 0)), np.zeros((2, 0)), np.ones(2)),
        *(np.ones((2, 2, 2)), np.array([[1, 0.5], [0.4, 1]]), np.array(3)),
        *(np.eye(2) * 1e308, np.eye(2) * 1e-308, np.eye(2) * 5e-324),
        *(np.array([[1, np.inf], [np.inf, 1]]), np.eye(2) * 1j),
        *(np.array([["1", "0"], ["0", "x"]]), np.array([[1, None], [None, 1]]), np.eye(2, dtype=bool), np.ones((2, 2))),
        *(np.eye(2).tolist(), [[1, 0], [0]], "ab", None, 1.0, np.ma.masked_array(np.eye(2), np.eye(2)), {"a": 1}),
        *(pd.DataFrame(np.eye(2)), pd.DataFrame(np.eye(2), ["a", "b"], ["b", "a"])),
        *(np.array([[1, -1e200], [-1e200, 1]])),
        *(pd.DataFrame([[1, "x"], [0, 1]], ["a", "b"], ["a", "b"]), np.eye(2).astype("M8[s]"), np.eye(2, dtype="f2")),
        *(np.array([[1e-200, 1], [1, 1e200]]), np.array([[object(), 1], [1, 1]]), np.eye(2).astype("longdouble")),
    ]
)
LABELS = st.one_of(
    st.just(["a", "b"]), st.lists(ODD_VALUES, max_size=3), st.sampled_from([None, "ab", 5, {"a": 1, "b": 2}])
)


@examples(100)
@given(data=st.data())
def test_matrices(data: st.DataObject, compiled: None) -> None:
    matrix, lines = data.draw(MATRICES), data.draw(LABELS)
    with tempfile.TemporaryDirectory() as name:
        rel = call([*PLACES, "lines="], bmtme.Relationship, matrix, lines)
        if not isinstance(rel, bmtme.Relationship):
            return
        rows = [list(row) for row in zip(rel.lines * 2, "AABB", (1.0, 2.5, 1.5, 2.0), strict=False)]
        frame = pd.DataFrame(rows, columns=["line", "env", "T"])
        trial = call(["table"], bmtme.Trial.from_frame, frame, line="line", env="env", traits=["T"])
        if isinstance(trial, bmtme.Trial):
            call(PLACES, lambda: str(trial.check(rel)))
            call([*PLACES, "chain"], bmtme.fit, trial, rel, draws=2, tune=2, chains=1, progress=False)
        other = call(["floor", "eigen", *PLACES], lambda: rel.blend(0.1).bend(0.5))
        path = Path(name) / data.draw(st.sampled_from(["m.csv", "m.parquet", "m.grm.bin", "m.tsv.gz"]))
        call(["GCTA", *PLACES], bmtme.write_relationship, other if isinstance(other, bmtme.Relationship) else rel, path)
