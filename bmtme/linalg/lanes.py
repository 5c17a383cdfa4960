"""Four numbers side by side: fast sums over lines whose order of additions is written down.

A processor adds several numbers at a time only if the sum may be reordered. Leaving that to the compiler (fastmath)
gives bits that depend on what a function was inlined into: code compiled in this process and the same code read
from the cache then part ways, and with them two chains of one seed. Here the order is part of the source: four
partial sums, then (0 + 2) + (1 + 3). The type is an LLVM vector, so it lives in a register; on a processor without
wide registers the same additions are done one after another. A product and a sum are rounded once together only where
`multiply_add` says so, and where the processor can.

As plain Python (numba switched off) an array of four stands in.
"""

from __future__ import annotations

import operator
import platform
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba.core import types
from numba.core.cgutils import get_or_insert_function, unpack_tuple
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

WIDTH = 4

VECTOR = ir.VectorType(ir.DoubleType(), WIDTH)

numba_types: Any = types


class LanesType(numba_types.Type):
    """numba's type of four floats in one register."""

    def __init__(self) -> None:
        super().__init__(name=f"Lanes{WIDTH}")


LANES = LanesType()


@register_model(LanesType)
class LanesModel(models.PrimitiveModel):
    """Held as an LLVM vector."""

    def __init__(self, manager: Any, kind: LanesType) -> None:
        super().__init__(manager, kind, VECTOR)


def _point(context: Any, builder: Any, kinds: Any, args: Any) -> Any:
    """Address of entry args[1] of a contiguous array, as a vector."""
    array = context.make_array(kinds.args[0])(context, builder, args[0])
    return builder.bitcast(builder.gep(array.data, [args[1]]), VECTOR.as_pointer())


def _point_row(context: Any, builder: Any, kinds: Any, args: Any) -> Any:
    """Address of entry (args[1], args[2]) of a contiguous matrix, as a vector."""
    array = context.make_array(kinds.args[0])(context, builder, args[0])
    _, width = unpack_tuple(builder, array.shape, 2)
    place = builder.add(builder.mul(args[1], width), args[2])
    return builder.bitcast(builder.gep(array.data, [place]), VECTOR.as_pointer())


def _require_contiguous(array: Any, dimensions: int) -> None:
    if not (isinstance(array, numba_types.Array) and array.layout == "C" and array.ndim == dimensions):
        raise numba.TypingError(f"lanes are read from contiguous arrays of {dimensions} dimensions, not from {array}")


@intrinsic
def load(typing_context: Any, array: Any, j: Any) -> Any:
    """Entries j .. j + 3 of a contiguous vector; nobody checks the bounds."""
    _require_contiguous(array, 1)

    def generate(context: Any, builder: Any, kinds: Any, args: Any) -> Any:
        value = builder.load(_point(context, builder, kinds, args))
        value.align = 8
        return value

    return LANES(array, types.intp), generate


@intrinsic
def store(typing_context: Any, array: Any, j: Any, lanes: Any) -> Any:
    """Entries j .. j + 3 of a contiguous vector become the four; nobody checks the bounds."""
    _require_contiguous(array, 1)

    def generate(context: Any, builder: Any, kinds: Any, args: Any) -> Any:
        builder.store(args[2], _point(context, builder, kinds, args)).align = 8
        return context.get_dummy_value()

    return numba_types.void(array, types.intp, LANES), generate


@intrinsic
def load_row(typing_context: Any, array: Any, row: Any, j: Any) -> Any:
    """The same of a row of a matrix, without a view of the row (its references would be counted)."""
    _require_contiguous(array, 2)

    def generate(context: Any, builder: Any, kinds: Any, args: Any) -> Any:
        value = builder.load(_point_row(context, builder, kinds, args))
        value.align = 8
        return value

    return LANES(array, types.intp, types.intp), generate


@intrinsic
def store_row(typing_context: Any, array: Any, row: Any, j: Any, lanes: Any) -> Any:
    """The same of a row of a matrix."""
    _require_contiguous(array, 2)

    def generate(context: Any, builder: Any, kinds: Any, args: Any) -> Any:
        builder.store(args[3], _point_row(context, builder, kinds, args)).align = 8
        return context.get_dummy_value()

    return numba_types.void(array, types.intp, types.intp, LANES), generate


@intrinsic
def spread(typing_context: Any, number: Any) -> Any:
    """The same number four times."""

    def generate(context: Any, builder: Any, kinds: Any, args: Any) -> Any:
        first = builder.insert_element(ir.Constant(VECTOR, ir.Undefined), args[0], ir.Constant(ir.IntType(32), 0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
        return builder.shuffle_vector(first, ir.Constant(VECTOR, ir.Undefined), zeros)

    return LANES(types.float64), generate


@intrinsic
def add_up(typing_context: Any, lanes: Any) -> Any:
    """(0 + 2) + (1 + 3)."""

    def generate(context: Any, builder: Any, kinds: Any, args: Any) -> Any:
        parts = [builder.extract_element(args[0], ir.Constant(ir.IntType(32), k)) for k in range(WIDTH)]
        return builder.fadd(builder.fadd(parts[0], parts[2]), builder.fadd(parts[1], parts[3]))

    return numba_types.float64(LANES), generate


#: Whether one instruction multiplies and adds, rounding once; otherwise that would be a slow call.
FUSED = not numba.config.DISABLE_JIT and bool(
    platform.machine() in ("arm64", "aarch64") or get_host_cpu_features().get("fma")
)


@intrinsic
def multiply_add(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c, rounded once where `FUSED`."""

    def generate(context: Any, builder: Any, kinds: Any, args: Any) -> Any:
        if not FUSED:
            return builder.fadd(builder.fmul(args[0], args[1]), args[2])
        kind = ir.FunctionType(VECTOR, [VECTOR] * 3)
        fused = get_or_insert_function(builder.module, kind, f"llvm.fma.v{WIDTH}f64")
        return builder.call(fused, args)

    return LANES(LANES, LANES, LANES), generate


def _define_operator(operation: Any, instruction: str) -> None:
    class Template(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            return signature(LANES, LANES, LANES) if tuple(args) == (LANES, LANES) else None

    infer_global(operation)(Template)

    @lower_builtin(operation, LanesType, LanesType)
    def lower(context: Any, builder: Any, kinds: Any, args: Any) -> Any:
        return getattr(builder, instruction)(*args)


for _operation, _instruction in (
    (operator.add, "fadd"),
    (operator.iadd, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _define_operator(_operation, _instruction)


if numba.config.DISABLE_JIT:

    def load(array, j):
        return np.array(array[j : j + WIDTH])

    def store(array, j, lanes):
        array[j : j + WIDTH] = lanes

    def load_row(array, row, j):
        return np.array(array[row, j : j + WIDTH])

    def store_row(array, row, j, lanes):
        array[row, j : j + WIDTH] = lanes

    def spread(number):
        return np.full(WIDTH, number)

    def add_up(lanes):
        return (lanes[0] + lanes[2]) + (lanes[1] + lanes[3])

    def multiply_add(a, b, c):
        return a * b + c
