"""Elementwise functions on devices: one kernel, map.cu, specialised by an expression of `expressions.py`.

What a call needs but the pointers and the numbers is a `Plan`, kept by the types, shapes, strides and alignments of
the operands: the second call like it costs a dictionary look-up and a launch.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from weft.backends.array import OnDevice
from weft.backends.gpu import layout, transpose
from weft.backends.gpu.array import check_real, empty
from weft.backends.gpu.expressions import COMPUTE, EXPRESSIONS, FLOAT32, MOVES, NAMES, STORAGE, promoted, text_of
from weft.backends.launch import Kernel, kernel, launch

THREADS = 256
FILLING = 1024  # blocks that fill any GPU; beyond, threads take up to four vectors each
PER_THREAD = 4
BITS = {1: "uint8_t", 2: "uint16_t", 4: "uint32_t", 8: "uint64_t"}  # of values that are only moved
BOOL, INT64 = np.dtype(bool), np.dtype(np.int64)
POSITIONAL = ("tril", "triu", "eye", "arange")  # what is computed from positions in C order
KEPT = 4096  # plans
IN_REGISTERS = 64  # elements of operands that a thread has at a time


class Plan(NamedTuple):
    """How a call runs, whatever its pointers and numbers are."""

    kernel: Kernel
    grid: tuple[int]
    layout: bytes
    shape: tuple[int, ...]
    order: tuple[int, ...] | None
    """The axes of a new result as they lie in memory, outermost first; None for C order."""
    dtype: np.dtype
    numbers: type
    """What the numbers among the operands become: float or int."""
    limits: tuple[int, int] | None
    """Of integers among the operands."""
    empty: bool
    transposes: bool = False
    """Whether this is a copy by transpose.cu, which takes no numbers."""


plans: dict[Any, Plan] = {}


def number(name: str, x: Any) -> Any:
    """A scalar operand as a Python bool, int or float; TypeError for anything else."""
    if type(x) in (bool, int, float):
        return x
    if isinstance(x, complex):
        check_real(np.dtype(type(x)), "devices")
    if isinstance(x, np.generic) or (isinstance(x, np.ndarray) and not x.ndim):
        return x.item() if x.dtype.kind in "biuf" else float(x)
    if isinstance(x, np.ndarray):
        raise TypeError(f"{name}: expected all on one device, got an array on cpu (numpy.ndarray)")
    raise TypeError(f"{name}: expected arrays or numbers, got {type(x).__name__}")


def dtype_with(dtype: np.dtype | None, value: Any) -> np.dtype:
    """The dtype of an op on arrays that promote to `dtype` (None: there are none) and a weak number."""
    kind = type(value)
    if dtype is None:
        return FLOAT32 if kind is float else BOOL if kind is bool else INT64
    if kind is float and dtype.kind in "biu":
        return FLOAT32
    return INT64 if kind is int and dtype.kind == "b" else dtype


def operand_dtype(operands: Sequence[Any]) -> np.dtype:
    """What the operands, arrays and numbers, promote to."""
    dtype: np.dtype | None = None
    for x in operands:
        if isinstance(x, OnDevice):
            dtype = x.dtype if dtype is None else promoted(dtype, x.dtype)  # type: ignore[attr-defined]
    for x in operands:
        if not isinstance(x, OnDevice):
            dtype = dtype_with(dtype, x)
    return FLOAT32 if dtype is None else dtype


class Typed(NamedTuple):
    """What a call computes with, but for the types of its operands in memory."""

    text: str
    seen: tuple[str, ...]
    """The C types of the operands in the expression."""
    dtype: np.dtype
    """Of the result."""
    numbers: str
    """The C type of numbers."""
    held: np.dtype | None = None
    """The integer dtype in which numbers must fit."""
    moves: bool = False
    make: Callable[..., Kernel] = kernel
    """What makes the kernel; one that links it to a user's function, for LINKED."""


#: Functions that are linked to the kernel: name -> what a call computes with, by the dtype of its operands.
LINKED: dict[str, Callable[[np.dtype], Typed]] = {}


def types_of(name: str, operands: Sequence[Any], out_dtype: np.dtype | None) -> Typed:
    """What a call of `name` computes with; out_dtype: of what is written, where that is known."""
    if name in LINKED:
        return LINKED[name](operand_dtype(operands))
    if name in EXPRESSIONS:
        entry = EXPRESSIONS[name]
        dtype, text = text_of(name, operand_dtype(operands))
        seen = ((entry.types if dtype.kind in "iu" else COMPUTE)[dtype.char],) * entry.arity
        return Typed(text, seen, BOOL if entry.result == "bool" else dtype, scalar_type(dtype), integer(dtype))
    text = MOVES[name]
    if name == "where":
        dtype = operand_dtype(operands[1:])
        seen = ("bool", STORAGE[dtype.char], STORAGE[dtype.char])
        return Typed(text, seen, dtype, scalar_type(dtype), integer(dtype), moves=True)
    if name == "arange":
        dtype = out_dtype or INT64
        computed = np.dtype(np.float64) if dtype.kind not in "iub" else INT64
        return Typed(text, (COMPUTE[computed.char],) * 2, dtype, scalar_type(computed))
    if name == "eye":
        return Typed(text, (), np.dtype(out_dtype or FLOAT32), "int")
    if out_dtype is not None and not isinstance(operands[0], OnDevice):  # a number: in the type that it fills
        return Typed(text, (COMPUTE[out_dtype.char],), out_dtype, scalar_type(out_dtype), integer(out_dtype))
    dtype = operand_dtype(operands)
    return Typed(text, (STORAGE[dtype.char],), out_dtype or dtype, scalar_type(dtype), moves=True)


def integer(dtype: np.dtype) -> np.dtype | None:
    return dtype if dtype.kind in "iu" else None


def scalar_type(dtype: np.dtype) -> str:
    if dtype.kind in "biu":
        return "unsigned long long" if dtype.kind == "u" else "long long"
    return "double" if dtype.char == "d" else "float"


def apply(
    name: str, *operands: Any, out: Any = None, dtype: Any = None, device: str = "", shape: Any = None,
    parameters: tuple[int, int, int] = (0, 0, 0),
) -> Any:  # fmt: skip
    """The elementwise function `name` (of EXPRESSIONS or MOVES) of device arrays and numbers, broadcast.

    out: the array to write, of any dtype, which may be an operand; otherwise a new one that keeps the operands' memory
    format. dtype, device, shape: of a new result where the operands do not tell. parameters: p, q, r of the expression.
    """
    operands = tuple([x if isinstance(x, OnDevice) else number(name, x) for x in operands])
    if out is not None:
        operands = tuple([apart(x, out) if isinstance(x, OnDevice) else x for x in operands])
    key: list[Any] = [name, dtype, shape, parameters]
    for x in operands if out is None else (*operands, out):
        if isinstance(x, OnDevice):
            key.append((x.dtype.char, x.shape, x.strides, x.pointer & 15))  # type: ignore[attr-defined]
        else:
            key.append(type(x))
    known = tuple(key)
    plan = plans.get(known)
    if plan is None:
        if len(plans) >= KEPT:
            plans.clear()
        plan = plans[known] = make_plan(name, operands, out, dtype, shape, parameters)
    if out is None:
        out = empty_in_order(plan.shape, plan.dtype, device or device_of(name, operands), plan.order)
    if plan.empty:
        return out
    if plan.transposes:
        launch(plan.kernel, plan.grid, (THREADS,), (out, operands[0], plan.layout))
        return out
    arguments = [out, plan.layout]
    for x in operands:
        if not isinstance(x, OnDevice):
            given, x = x, plan.numbers(x)
            if plan.limits is not None and not plan.limits[0] <= x <= plan.limits[1]:
                raise OverflowError(f"{name}: expected an integer within {plan.limits}, got {given}")
        arguments.append(x)
    launch(plan.kernel, plan.grid, (THREADS,), arguments)
    return out


def empty_in_order(shape: tuple[int, ...], dtype: np.dtype, device: str, order: tuple[int, ...] | None) -> Any:
    """Memory of `shape` whose axes lie in `order`, outermost first; None for C order."""
    if order is None:
        return empty(shape, dtype, device)
    out = empty(tuple([shape[i] for i in order]), dtype, device)
    return out.transpose(*[order.index(i) for i in range(len(order))])


def empty_in_format(x: Any, dtype: np.dtype) -> Any:
    """Memory of x's shape and memory format."""
    steps = layout.spread(x.shape, x.strides, x.dtype.itemsize, x.shape)
    order = layout.memory_order(x.shape, [steps])
    return empty_in_order(x.shape, dtype, x.device_name, None if order == tuple(range(x.ndim)) else order)


def device_of(name: str, operands: Sequence[Any]) -> str:
    """The device of all arrays among the operands; TypeError names two that differ."""
    found = ""
    for x in operands:
        if isinstance(x, OnDevice):
            where = x.device_name  # type: ignore[attr-defined]
            if found and where != found:
                raise TypeError(f"{name}: expected both on one device, got {found} and {where}")
            found = where
    return found


def make_plan(name: str, operands: Sequence[Any], out: Any, dtype: Any, shape: Any, parameters: Any) -> Plan:
    typed = types_of(name, operands, out.dtype if out is not None else None if dtype is None else np.dtype(dtype))
    arrays = [x for x in operands if isinstance(x, OnDevice)]
    full = layout.broadcast(name, [x.shape for x in arrays] if shape is None else [x.shape for x in arrays] + [shape])
    if out is not None:
        if len(full) > out.ndim or any([n not in (1, m) for n, m in zip(full[::-1], out.shape[::-1])]):
            raise ValueError(f"{name}: expected an output that holds {full}, got one of shape {out.shape}")
        if any([n > 1 and s == 0 for n, s in zip(out.shape, out.strides)]):
            raise ValueError(
                f"{name}: expected an output of memory of its own, got a broadcast view of shape {out.shape}"
            )
        full = out.shape
    result = out.dtype if out is not None else typed.dtype
    nothing = 0 in full

    strides = [
        layout.spread(x.shape, x.strides, x.dtype.itemsize, full) if isinstance(x, OnDevice) else None for x in operands
    ]
    given = [s for s in strides if s is not None]
    in_c_order = tuple(range(len(full)))
    if out is not None:
        steps = layout.spread(out.shape, out.strides, out.dtype.itemsize, full)
        order = in_c_order if name in POSITIONAL else layout.memory_order(full, [steps])
    else:
        order = in_c_order if name in POSITIONAL else layout.memory_order(full, given)
        steps = layout.dense(full, order)
    zero = [0] * len(full)
    rows = [steps, *[zero if s is None else s for s in strides]]
    sizes, walked = layout.collapse(full, rows, order)
    layout.check_rank(name, sizes)

    storage = [STORAGE[x.dtype.char] if isinstance(x, OnDevice) else "" for x in operands]
    seen, out_type = list(typed.seen), STORAGE[result.char]
    if typed.moves and typed.dtype == result and len(arrays) == len(operands) and all_same(arrays, result, name):
        bits = BITS[result.itemsize]
        turned = transpose.plan(sizes, walked[0], walked[1], bits) if name == "copy" and not nothing else None
        if turned is not None:
            in_memory = None if order == in_c_order else order
            return Plan(*turned, full, in_memory, result, int, None, nothing, transposes=True)
        out_type = bits
        storage = [s if name == "where" and k == 0 else bits for k, s in enumerate(storage)]
        seen = [s if name == "where" and k == 0 else bits for k, s in enumerate(seen)]
    widths = [x.dtype.itemsize for x in arrays] + [result.itemsize]
    vector = max(1, min(16 // min(widths), 32 // max(widths)))
    while vector * len(operands) > IN_REGISTERS:
        vector //= 2
    placed = [(walked[0], result.itemsize, out.pointer if out is not None else 0)]
    placed += [(walked[k + 1], x.dtype.itemsize, x.pointer) for k, x in enumerate(operands) if isinstance(x, OnDevice)]
    vectors = vector > 1 and (len(sizes) == 1 or sizes[0] % vector == 0)
    vectors = vectors and all([aligned(s, itemsize, at, vector) for s, itemsize, at in placed])
    size = math.prod(sizes)
    farthest = max([size, *[layout.reach(sizes, s) for s, _, _ in placed]])
    wide = farthest + vector * THREADS >= layout.NARROW
    declared = [f", const {s}* {x}" if s else f", {typed.numbers} {x}" for s, x in zip(storage, NAMES)]
    operated = [f"OPERAND({k}, {x}, {s})" for k, (x, s) in enumerate(zip(NAMES, seen))]
    compiled = typed.make(
        "map.cu", "map", PARAMETERS="".join(declared), EACH_OPERAND=" ".join(operated), ARITY=len(operands),
        EXPRESSION=typed.text, OUT=out_type, VECTOR=vector, WIDE=int(wide),
    )  # fmt: skip
    needed = -(-size // (THREADS * (vector if vectors else 1)))
    blocks = min(needed, max(FILLING, -(-needed // PER_THREAD)))
    limits = None if typed.held is None else (int(np.iinfo(typed.held).min), int(np.iinfo(typed.held).max))
    packed = struct.pack("<qi4x", size, vectors) + layout.pack(sizes, walked) + struct.pack("<3q", *parameters)
    return Plan(
        compiled, (max(blocks, 1),), packed, full, None if order == in_c_order else order, result,
        float if typed.numbers in ("float", "double") else int, limits, nothing,
    )  # fmt: skip


def all_same(arrays: Sequence[Any], dtype: np.dtype, name: str) -> bool:
    """Whether what moves is bits: every array but a condition has the result's dtype."""
    return all([x.dtype == dtype for x in (arrays[1:] if name == "where" else arrays)])


def aligned(strides: Sequence[int], itemsize: int, pointer: int, vector: int) -> bool:
    """Whether an operand may be accessed in vectors along the innermost dimension; one with gaps is not anyway."""
    grain = min(16, vector * itemsize)
    return strides[0] != 1 or not (pointer % grain or any([s * itemsize % grain for s in strides[1:]]))


# -- memory that overlaps ---------------------------------------------------------------------------------------------


def bounds(x: Any) -> tuple[int, int]:
    """The first byte of an array and the first after it."""
    low = high = x.pointer
    for n, s in zip(x.shape, x.strides):
        if n == 0:
            return low, low
        if s < 0:
            low += (n - 1) * s
        else:
            high += (n - 1) * s
    return low, high + x.dtype.itemsize


def apart(x: Any, out: Any) -> Any:
    """x, or a copy of it if writing `out` element by element would change what is yet to be read of it."""
    if x is out:
        return x
    if x.pointer == out.pointer and x.strides == out.strides and x.dtype == out.dtype and x.shape == out.shape:
        return x
    if x.flags.c_contiguous and out.flags.c_contiguous:
        a, c = x.pointer, out.pointer
        b, d = a + x.nbytes, c + out.nbytes
    else:
        (a, b), (c, d) = bounds(x), bounds(out)
    return apply("copy", x) if a < d and c < b else x
