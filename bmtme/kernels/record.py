"""Named tuples of arrays handed around inside compiled code as one pointer.

A named tuple of forty arrays is passed field by field, several hundred machine words a call, and half of the
compile time of a sweep went into that. A heap record holds references to the same arrays; steps read ``p.d``
from either, so each can also be called by itself, compiled or as plain Python.
"""

from __future__ import annotations

from typing import Any

import numba
from numba.experimental import structref


def define_record(kind: type, tuple_class: Any) -> Any:
    """Constructor of a heap record of type `kind` with the fields of a named tuple, for compiled code.

    As plain Python (numba switched off) it gives the named tuple back.
    """
    if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
        return tuple_class
    structref.register(kind)
    record = type(tuple_class.__name__ + "Record", (structref.StructRefProxy,), {})
    structref.define_constructor(record, kind, list(tuple_class._fields))
    structref.define_boxing(kind, record)
    return record
