"""Arguments of a kernel, checked against its C declaration and laid out as the driver takes them.

This is the way of the emulated device, and of GPUs where weft._launcher is not built; csrc/launcher does the same in
C++.
"""

from __future__ import annotations

import ctypes
import operator
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from weft.backends.source import POINTER, STRUCT, TENSOR_MAP, Parameter
from weft.backends.tensor_maps import TensorMap


def expected(name: str, place: int, parameter: Parameter, what: str, got: str) -> TypeError:
    return TypeError(f"launch: {name}: expected argument {place} ({parameter.name}) to be {what}, got {got}")


def no_fit(name: str, place: int, parameter: Parameter, argument: Any) -> ValueError:
    words = f"argument {place} ({parameter.name}) to fit {parameter.type}"
    return ValueError(f"launch: {name}: expected {words}, got {argument}")


def pack(name: str, parameters: Sequence[Parameter], arguments: Sequence[Any], device: str) -> Any:
    """The array of pointers to argument values that cuLaunchKernel takes; it keeps the values alive.

    TypeError and ValueError name the argument that does not fit; `device` is where all arrays must be.
    """
    if len(arguments) != len(parameters):
        words = ", ".join(f"{p.type} {p.name}" for p in parameters)
        raise TypeError(f"launch: {name}: expected {len(parameters)} arguments ({words}), got {len(arguments)}")
    values = [value(name, i, p, a, device) for i, (p, a) in enumerate(zip(parameters, arguments))]
    pointers = (ctypes.c_void_p * len(values))(*map(ctypes.addressof, values))
    pointers.values = values  # type: ignore[attr-defined]  # as long as the pointers
    return pointers


def value(name: str, place: int, parameter: Parameter, argument: Any, device: str) -> Any:
    """The ctypes object that holds `argument` as the kernel reads it."""
    kind = parameter.kind
    if kind == POINTER:
        return ctypes.c_void_p(address(name, place, parameter, argument, device))
    if kind == TENSOR_MAP:
        if not isinstance(argument, TensorMap):
            raise expected(name, place, parameter, "a tensor map", type(argument).__name__)
        if argument.device_name != device:
            raise expected(name, place, parameter, f"a tensor map of {device}", f"one of {argument.device_name}")
        return argument.bits
    if kind == STRUCT:
        return structure(name, place, parameter, argument)
    return scalar(name, place, parameter, argument)


def address(name: str, place: int, parameter: Parameter, argument: Any, device: str) -> int:
    if argument is None:
        return 0
    if isinstance(argument, int):
        if not 0 <= argument < 1 << 64:
            raise no_fit(name, place, parameter, argument)
        return argument
    try:
        where, pointer, char = argument.device_name, argument.pointer, argument.dtype.char
    except AttributeError:
        raise expected(name, place, parameter, f"an array of {device}", type(argument).__name__) from None
    if where != device:
        raise expected(name, place, parameter, f"an array of {device}", f"one of {where}")
    if parameter.dtypes and char not in parameter.dtypes:
        raise expected(name, place, parameter, f"an array of {parameter.type[:-1]}", str(argument.dtype))
    return int(pointer)


def structure(name: str, place: int, parameter: Parameter, argument: Any) -> Any:
    """A copy: the caller may change its own before the kernel has run."""
    try:
        data = bytes(memoryview(argument).cast("B")) if not isinstance(argument, bytes) else argument
    except (TypeError, ValueError):
        what = f"a {parameter.type} by value (bytes, or a ctypes or NumPy structure)"
        raise expected(name, place, parameter, what, type(argument).__name__) from None
    if parameter.size not in (0, len(data)):
        raise expected(name, place, parameter, f"a {parameter.type} of {parameter.size} bytes", str(len(data)))
    return (ctypes.c_char * len(data)).from_buffer_copy(data)


def scalar(name: str, place: int, parameter: Parameter, argument: Any) -> Any:
    kind = parameter.kind
    refusal = expected(name, place, parameter, parameter.type, type(argument).__name__)
    if not isinstance(argument, (int, float, np.generic)):  # an array of a device would wait for the device
        raise refusal
    try:
        if kind == "f":
            return ctypes.c_float(float(argument))  # beyond float's range: an infinity, as C has it
        data = struct.pack(f"<{kind}", float(argument) if kind == "d" else operator.index(argument))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise refusal from None
    except (struct.error, OverflowError):
        raise no_fit(name, place, parameter, argument) from None
    return (ctypes.c_char * len(data)).from_buffer_copy(data)
