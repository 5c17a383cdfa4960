"""Named tuples of arrays handed around inside compiled code as one pointer.

A named tuple of forty arrays is passed field by field, several hundred machine words a call, and half of the
compile time of a sweep went into that. The compiled entry points copy the references into a heap record once;
the steps read ``p.d`` from either, so each can also be called by itself, compiled or as plain Python.
"""

from __future__ import annotations

from typing import Any

from numba.experimental import structref


def define_record(kind: type, tuple_class: Any) -> Any:
    """Constructor of a heap record of type `kind` with the fields of a named tuple.

    Compiled, ``Record(*fields)`` makes the record; as plain Python it gives the named tuple back.
    """
    structref.register(kind)

    class Record:
        def __new__(cls, *fields: Any) -> Any:
            return tuple_class(*fields)

    structref.define_constructor(Record, kind, list(tuple_class._fields))
    return Record
