"""Reductions on devices: reduce.cu, specialised by operation and types, in an order that shapes alone decide."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from weft.backends.gpu import layout
from weft.backends.gpu.array import contiguous, empty
from weft.backends.gpu.expressions import STORAGE
from weft.backends.launch import Kernel, kernel, launch

THREADS = 256
LINES = 8  # of threads that share a column
FILLING = 1024  # blocks that fill any GPU
MOST = 65535  # parts of a row: a grid's second extent
LONGEST = 1 << 18  # elements that one block takes of a row, so that no thread adds more than a thousand
KEPT = 4096  # plans

#: name -> (operation of operations.cuh, what it is called in NumPy's errors if there is no result of nothing)
OPERATIONS = {
    "sum": ("Sum", ""),
    "mean": ("Mean", ""),
    "prod": ("Product", ""),
    "sum_of_squares": ("SumOfSquares", ""),
    "max": ("Largest", "reduction operation maximum which has no identity"),
    "min": ("Smallest", "reduction operation minimum which has no identity"),
    "any": ("Any", ""),
    "all": ("All", ""),
    "argmax": ("ArgLargest", "argmax"),
    "argmin": ("ArgSmallest", "argmin"),
}
INDEXED = ("argmax", "argmin")


class Plan(NamedTuple):
    """How a reduction runs, whatever the pointer is."""

    kernel: Kernel
    grid: tuple[int, int]
    layout: bytes
    shape: tuple[int, ...]
    dtype: np.dtype
    second: Kernel
    partials: int
    """Bytes of the results of parts; 0 where one pass is enough."""
    splits: int
    outputs: int
    elements: int


plans: dict[Any, Plan] = {}


def result_types(name: str, dtype: np.dtype) -> tuple[np.dtype, str]:
    """The dtype of a result, as NumPy has it, and the C type in which it is accumulated."""
    kind, char = dtype.kind, dtype.char
    if name in INDEXED:
        return np.dtype(np.int64), "float"
    if name in ("any", "all"):
        return np.dtype(bool), "int"
    if name in ("max", "min"):
        return dtype, "float"
    if name == "sum_of_squares":
        return np.dtype(np.float64), "double"
    if kind in "biu":
        if name == "mean":
            return np.dtype(np.float64), "double"
        return np.dtype(np.uint64 if kind == "u" else np.int64), "uint64_t"
    return dtype, "double" if char == "d" else "float"


def accumulator_size(name: str, dtype: np.dtype, accumulate: str, wide: bool) -> int:
    if name in INDEXED:
        return 16 if wide or dtype.itemsize == 8 else 8
    if name in ("max", "min"):
        return 4 if dtype.kind not in "biu" and dtype.itemsize == 2 else dtype.itemsize
    return 8 if accumulate in ("double", "uint64_t") else 4


def reduce(name: str, x: Any, axis: Any = None, keepdims: bool = False, out: Any = None) -> Any:
    """The reduction `name` (of OPERATIONS) of a device array over `axis` (an int, a tuple, or None for all).

    out: a C-contiguous array of the result's dtype and size. ValueError, as NumPy's, for the extreme of nothing.
    """
    key = (name, axis, keepdims, x.dtype.char, x.shape, x.strides, x.pointer & 15)
    plan = plans.get(key)
    if plan is None:
        if len(plans) >= KEPT:
            plans.clear()
        plan = plans[key] = make_plan(name, x, axis, keepdims)
    if out is None:
        out = empty(plan.shape, plan.dtype, x.device_name)
    if not plan.outputs:
        return out
    partials = empty((plan.partials,), np.uint8, x.device_name) if plan.partials else None
    launch(plan.kernel, plan.grid, (THREADS,), (out, x, partials, plan.layout))
    if partials is not None:
        blocks = -(-plan.outputs // (THREADS // 32))
        launch(plan.second, (blocks,), (THREADS,), (out, partials, plan.splits, plan.outputs, plan.elements))
    return out


def normal_axes(axis: Any, rank: int) -> tuple[int, ...]:
    """The reduced axes, sorted; NumPy's AxisError for one that there is not."""
    if axis is None:
        return tuple(range(rank))
    return tuple(sorted(np.lib.array_utils.normalize_axis_tuple(axis, rank)))


def ordered(axes: Sequence[int], steps: Sequence[int]) -> list[int]:
    """Axes from the outermost in memory to the innermost."""
    return sorted(axes, key=lambda i: -abs(steps[i]))


def make_plan(name: str, x: Any, axis: Any, keepdims: bool) -> Plan:
    operation, nothing = OPERATIONS[name]
    axes = normal_axes(axis, x.ndim)
    kept = [i for i in range(x.ndim) if i not in axes]
    shape = tuple([n if i in kept else 1 for i, n in enumerate(x.shape) if keepdims or i in kept])
    outputs = math.prod([x.shape[i] for i in kept])
    count = math.prod([x.shape[i] for i in axes])
    if nothing and not count and outputs:
        if name in INDEXED:
            raise ValueError(f"attempt to get {nothing} of an empty sequence")
        raise ValueError(f"zero-size array to {nothing}")

    dtype, accumulate = result_types(name, x.dtype)
    itemsize = x.dtype.itemsize
    steps = layout.spread(x.shape, x.strides, itemsize, x.shape)
    # Kept dimensions stay in C order, that of the result; reduced ones are walked as they lie, unless they are counted.
    walk = list(axes) if name in INDEXED else ordered(axes, steps)
    kept_sizes, (kept_steps,) = layout.collapse(x.shape, [steps], tuple(kept))
    sizes, (walked,) = layout.collapse(x.shape, [steps], tuple(walk))
    layout.check_rank(name, kept_sizes)
    layout.check_rank(name, sizes)
    vector = min(4 if name in INDEXED else 8, 16 // itemsize)  # each has an accumulator of its own, in registers

    by_columns = outputs > 1 and (count == 1 or not walked[0] or 0 < abs(kept_steps[0]) < abs(walked[0]))
    inner, others, inner_size, rank = (
        (kept_steps, walked, kept_sizes[0], len(kept_sizes))
        if by_columns
        else (walked, kept_steps, sizes[0], len(sizes))
    )
    vectors = inner[0] == 1 and (rank == 1 or inner_size % vector == 0) and x.pointer % (vector * itemsize) == 0
    vectors = vectors and not any([s * itemsize % (vector * itemsize) for s in (*inner[1:], *others)])
    width = vector if vectors else 1

    if by_columns:
        lanes = 1 if count < LINES else LINES
        blocks, at_once = -(-outputs // (THREADS // lanes * width)), lanes
    else:
        needed = -(-count // width)
        lanes = 4 if needed <= 16 else 32 if needed <= 1024 and outputs >= 64 else THREADS
        blocks, at_once = -(-outputs // (THREADS // lanes)), lanes * width
    splits = max(1, min(-(-FILLING // max(blocks, 1)) if blocks < FILLING // 4 else 1, count // (at_once * 16)))
    splits = min(MOST, max(splits, -(-count // (LONGEST if not by_columns else LONGEST // 32))))
    part = -(-max(count, 1) // splits)
    part = -(-part // at_once) * at_once
    splits = max(1, -(-count // part))
    farthest = max(layout.reach(sizes, walked) + layout.reach(kept_sizes, kept_steps), outputs, count)
    wide = farthest + at_once * 32 >= layout.NARROW
    defines = dict(
        OPERATION=operation, IN=STORAGE[x.dtype.char], ACCUMULATE=accumulate, OUT=STORAGE[dtype.char], VECTOR=vector,
        WIDE=int(wide),
    )  # fmt: skip
    packed = layout.pack(kept_sizes, [kept_steps]) + layout.pack(sizes, [walked])
    packed += struct.pack("<3q3i4x", outputs, count, part, splits, int(vectors), lanes)
    partials = outputs * splits * accumulator_size(name, x.dtype, accumulate, wide) if splits > 1 else 0
    return Plan(
        kernel("reduce.cu", "reduce_columns" if by_columns else "reduce_rows", **defines), (blocks, splits), packed,
        shape, dtype, kernel("reduce.cu", "reduce_partials", **defines),
        partials, splits, outputs, count,
    )  # fmt: skip


def cumulative_sum(x: Any, axis: int = -1) -> Any:
    """Running sums along `axis`; bool and integers in 64 bits, 16-bit types in float32, rounded once."""
    axis = np.lib.array_utils.normalize_axis_index(axis, x.ndim)
    dtype, accumulate = result_types("sum", x.dtype)
    source = contiguous(x)
    out = empty(x.shape, dtype, x.device_name)
    if not x.size:
        return out
    outer, n, inner = math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :])
    types = dict(IN=STORAGE[x.dtype.char], ACCUMULATE=accumulate, OUT=STORAGE[dtype.char])
    name = "scan_rows" if inner == 1 else "scan_columns"
    grid = (outer,) if inner == 1 else (-(-outer * inner // THREADS),)
    launch(kernel("scan.cu", name, **types), grid, (THREADS,), (out, source, outer, n, inner))
    return out
