"""What a run was asked for as plain values and arrays, and back: for a checkpoint, which no pickle may be.

Of objects those of classes in bmtme only are taken, and given back without running anything of theirs but what makes
them by name: dataclasses field by field, and relationships.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from bmtme.data.relationship.matrix import Relationship
from bmtme.errors import UsageError

_PACKAGE = "bmtme."
#: Keys of what is no plain value.
ARRAY, TUPLE, SET, MAPPING, FRAME, SERIES, OBJECT, LINES, FLOAT, SPARSE = (
    "array", "tuple", "set", "dict", "frame", "series", "object", "relationship", "float", "sparse",
)  # fmt: skip


def encode(value: Any, arrays: dict[str, np.ndarray], name: str = "it") -> Any:
    """Plain values that JSON can hold; arrays are put among `arrays` and stand there by their names.

    Raises
    ------
    UsageError
        For what could not be given back, such as a structure or a scheme of the user's own.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else {FLOAT: repr(value)}
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        key = f"{len(arrays)}"
        arrays[key] = value
        return {ARRAY: key}
    if isinstance(value, np.ndarray | list | tuple):
        items = [encode(item, arrays, name) for item in (value.tolist() if isinstance(value, np.ndarray) else value)]
        return items if isinstance(value, list) else {TUPLE: items}
    if isinstance(value, frozenset):
        return {SET: [encode(item, arrays, name) for item in sorted(value, key=repr)]}
    if isinstance(value, Mapping):
        return {MAPPING: [[encode(key, arrays, name), encode(each, arrays, name)] for key, each in value.items()]}
    if isinstance(value, pd.Series):
        return {SERIES: [_encode_column(value.to_numpy(), arrays, name), _encode_index(value.index, arrays, name)]}
    if isinstance(value, pd.DataFrame):
        columns = [_encode_column(value.iloc[:, k].to_numpy(), arrays, name) for k in range(value.shape[1])]
        kinds = [_encode_kind(kind, arrays, name) for kind in value.dtypes]
        return {FRAME: [columns, kinds, *(_encode_index(axis, arrays, name) for axis in (value.columns, value.index))]}
    if isinstance(value, sp.csc_array):
        return {SPARSE: [encode(part, arrays, name) for part in (value.data, value.indices, value.indptr, value.shape)]}
    if isinstance(value, Relationship):
        return {LINES: [encode(part, arrays, name) for part in value.__reduce__()[1]]}
    kind = type(value)
    if is_dataclass(value) and kind.__module__.startswith(_PACKAGE) and "." not in kind.__qualname__:
        content = {each.name: encode(getattr(value, each.name), arrays, name) for each in fields(value)}
        return {OBJECT: [kind.__module__, kind.__qualname__, content]}
    raise UsageError(
        f"{name} holds a {kind.__name__}, which is none of bmtme's own and cannot be kept in a checkpoint: leave that "
        "out."
    )


def decode(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """What was encoded.

    Raises
    ------
    ValueError, KeyError, TypeError, AttributeError, ImportError
        If it is nothing that `encode` makes.
    """
    if isinstance(value, list):
        return [decode(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    ((key, content),) = value.items()
    if key == ARRAY:
        return arrays[content]
    if key == FLOAT:
        return float(content)
    if key == TUPLE:
        return tuple(decode(item, arrays) for item in content)
    if key == SET:
        return frozenset(decode(item, arrays) for item in content)
    if key == MAPPING:
        return {decode(name, arrays): decode(each, arrays) for name, each in content}
    if key == SERIES:
        return pd.Series(decode(content[0], arrays), index=_decode_index(content[1], arrays))
    if key == FRAME:
        columns, kinds, names, index = content
        rows = _decode_index(index, arrays)
        frame = pd.DataFrame(
            {
                k: pd.Series(_decode_column(column, arrays), rows, dtype=_decode_kind(kind, arrays))
                for k, (column, kind) in enumerate(zip(columns, kinds, strict=True))
            },
            index=rows,
        )
        frame.columns = _decode_index(names, arrays)
        return frame
    if key == SPARSE:
        *parts, shape = (decode(part, arrays) for part in content)
        return sp.csc_array(tuple(parts), shape=shape)
    if key == LINES:
        lines, matrix, notes = (decode(part, arrays) for part in content)
        return Relationship._stored(lines, matrix, notes)
    module, name, given = content
    if key != OBJECT or not module.startswith(_PACKAGE):
        raise ValueError(f"{key} is nothing that a checkpoint holds")
    kind = getattr(import_module(module), name)
    if not (isinstance(kind, type) and is_dataclass(kind)):
        raise ValueError(f"{name} is nothing that a checkpoint holds")
    made = object.__new__(kind)
    for field, each in given.items():
        item = decode(each, arrays)
        if isinstance(item, np.ndarray):
            item.setflags(write=False)
        object.__setattr__(made, field, item)
    return made


def _encode_column(values: Any, arrays: dict[str, np.ndarray], name: str) -> Any:
    values = np.asarray(values)
    if values.dtype.kind in "biuf":
        return encode(values, arrays, name)
    return encode([None if item is pd.NA else item for item in values.tolist()], arrays, name)


def _decode_column(content: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    values = decode(content, arrays)
    return values if isinstance(values, np.ndarray) else pd.Series(values, dtype=object).to_numpy()


def _encode_kind(kind: Any, arrays: dict[str, np.ndarray], name: str) -> Any:
    """The type of a column; of categories with their order, the first of which is the base of a factor."""
    if not isinstance(kind, pd.CategoricalDtype):
        return str(kind)
    return encode({"categories": kind.categories.tolist(), "ordered": bool(kind.ordered)}, arrays, name)


def _decode_kind(content: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    return content if isinstance(content, str) else pd.CategoricalDtype(**decode(content, arrays))


def _encode_index(index: pd.Index, arrays: dict[str, np.ndarray], name: str) -> Any:
    labels = [list(label) if isinstance(label, tuple) else label for label in index.tolist()]
    return encode(
        {"names": list(index.names), "labels": labels, "many": isinstance(index, pd.MultiIndex)}, arrays, name
    )


def _decode_index(content: Any, arrays: Mapping[str, np.ndarray]) -> pd.Index:
    given = decode(content, arrays)
    if given["many"]:
        return pd.MultiIndex.from_tuples([tuple(label) for label in given["labels"]], names=given["names"])
    return pd.Index(given["labels"], name=given["names"][0])
