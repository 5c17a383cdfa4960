"""Compiled functions handed to compiled code as addresses, so that the caller is compiled once for all of them.

numba compiles a caller anew for each function that it is given, and optimises each function again in every one above
it: a large step with three callers is compiled four times. An address is a number like any other: the caller is
compiled once, and each function by itself when it is first used.

A function and its callers must agree on all types; nobody can check that at an address. So the types are fixed by the
kinds of call here, `find_address` compiles for just these, and it looks at what is returned.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba.core import types
from numba.core.cgutils import if_unlikely, unpack_tuple
from numba.extending import intrinsic

numba_types: Any = types

#: What is behind each address; also keeps it in memory.
FUNCTIONS: dict[int, Any] = {}

VECTOR = numba_types.Array(types.float64, 1, "C")
MATRIX = numba_types.Array(types.float64, 2, "C")


def find_address(function: Any, result: Any, *arguments: Any) -> int:
    """Address of a compiled function that takes arguments of the types of these and returns what `result` is.

    The same function and types give the same address, valid in this process. As plain Python (numba switched off) a
    number that stands for it.

    Raises
    ------
    TypeError
        For a function that is not compiled, or returns another type.
    """
    name = getattr(function, "__qualname__", repr(function))
    if not numba.config.DISABLE_JIT and not hasattr(function, "compile"):
        raise TypeError(f"{name} is not compiled: decorate it with bmtme.linalg.compile.compiled()")
    if numba.config.DISABLE_JIT:
        address = id(function)
    else:
        signature = tuple(_find_type(value) for value in arguments)
        function.compile(signature)
        compiled = function.overloads[signature]
        found, wanted = numba_types.unliteral(compiled.signature.return_type), numba.typeof(result)
        if found != wanted:
            raise TypeError(f"{name} returns {found} where {wanted} is expected: look at each of its returns")
        address = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
    FUNCTIONS[address] = function
    return int(address)


def _find_type(value: Any) -> Any:
    """numba's type of an argument, which may be given itself; an array stands for any contiguous one."""
    if isinstance(value, numba_types.Type):
        return value
    if isinstance(value, np.ndarray):
        return {1: VECTOR, 2: MATRIX}[value.ndim]
    return numba.typeof(value)


def _generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
    """Call what is at the address values[0] with the other values, in numba's way of calling."""
    kinds = signature.args[1:]
    with if_unlikely(builder, builder.icmp_unsigned("==", values[0], values[0].type(0))):
        context.call_conv.return_user_exc(builder, RuntimeError, ("a step without an address",))
    kind = context.call_conv.get_function_type(signature.return_type, kinds)
    function = builder.inttoptr(values[0], kind.as_pointer())
    status, value = context.call_conv.call_function(builder, function, signature.return_type, kinds, values[1:])
    with if_unlikely(builder, status.is_error):
        context.call_conv.return_status_propagate(builder, status)
    return value


def _require(given: tuple[Any, ...], expected: tuple[Any, ...]) -> None:
    if given != expected:
        raise numba.TypingError(f"a function at an address takes {expected}, not {given}")


@intrinsic
def call_build(typing_context: Any, address: Any, part: Any, theta: Any, matrix: Any) -> Any:
    """build(part, theta, matrix) of the function at an address: bool."""
    _require((theta, matrix), (VECTOR, MATRIX))
    return types.boolean(types.int64, part, theta, matrix), _generate


@intrinsic
def call_back(typing_context: Any, address: Any, part: Any, theta: Any, matrix: Any, gradient: Any) -> Any:
    """back(part, theta, matrix, gradient) of the function at an address: float."""
    _require((theta, matrix, gradient), (VECTOR, MATRIX, VECTOR))
    return types.float64(types.int64, part, theta, matrix, gradient), _generate


@intrinsic
def call_complete(typing_context: Any, address: Any, rng: Any, part: Any, theta: Any, whole: Any) -> Any:
    """complete(rng, part, theta, whole) of the function at an address: bool."""
    _require((theta, whole), (VECTOR, VECTOR))
    return types.boolean(types.int64, rng, part, theta, whole), _generate


def _define_call(result: Any) -> Any:
    """A call with a tuple of arguments, whatever they are, of a function that returns this type."""

    @intrinsic
    def call(typing_context: Any, address: Any, arguments: Any) -> Any:
        kinds = tuple(numba_types.unliteral(kind) for kind in arguments)
        arrays = tuple(kind for kind in kinds if isinstance(kind, numba_types.Array))
        _require(arrays, tuple({1: VECTOR, 2: MATRIX}[kind.ndim] for kind in arrays))

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            given = unpack_tuple(builder, values[1], len(kinds))
            return _generate(context, builder, result(types.int64, *kinds), (values[0], *given))

        return result(types.int64, numba_types.Tuple(kinds)), generate

    return call


call_bool, call_int, call_float = (_define_call(kind) for kind in (types.boolean, types.int64, types.float64))


def call_apart(function: Any, call: Any) -> Any:
    """`call` for a function that its callers do not contain; as plain Python the function, whatever the address."""
    return (lambda address, arguments: function(*arguments)) if numba.config.DISABLE_JIT else call


if numba.config.DISABLE_JIT:

    def call_build(address, *arguments):
        return FUNCTIONS[address](*arguments)

    call_back = call_complete = call_build
