"""Named tuples of arrays handed around inside compiled code as one pointer.

A named tuple of forty arrays is passed field by field, several hundred machine words a call, and half of the
compile time of a sweep went into that. A heap record holds references to the same arrays; steps read ``p.d``
from either, so each can also be called by itself, compiled or as plain Python.
"""

from __future__ import annotations

from typing import Any

import numba
from numba.core import types
from numba.experimental import structref

#: numba.core.types has no type information.
numba_types: Any = types


def define_record(tuple_class: Any) -> tuple[Any, Any]:
    """Compiled type and constructor of a heap record with the fields of a named tuple.

    The type must be bound to ``<tuple's name>Type`` in the tuple's module: cached code finds it there. As plain
    Python (numba switched off) the constructor gives the named tuple back.
    """
    name = tuple_class.__name__
    kind = type(f"{name}Type", (numba_types.StructRef,), {"__module__": tuple_class.__module__})
    if numba.config.DISABLE_JIT:
        return kind, tuple_class
    structref.register(kind)
    record = type(f"{name}Record", (structref.StructRefProxy,), {"__module__": tuple_class.__module__})
    structref.define_constructor(record, kind, list(tuple_class._fields))
    structref.define_boxing(kind, record)
    return kind, record
