"""Optimizer steps on devices: optimizer.cu walks all parameters in one launch, in whatever memory they lie.

A launch takes a table of pointers as its parameter; those of more arrays than it holds stand in memory.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from weft.backends import capturing
from weft.backends import reference as K
from weft.backends.array import OnDevice
from weft.backends.gpu import entry, flags, layout
from weft.backends.gpu.array import contiguous, empty
from weft.backends.gpu.expressions import STORAGE
from weft.backends.gpu.maps import apply, empty_in_format
from weft.backends.gpu.reduce import reduce
from weft.backends.launch import Kernel, kernel, launch

THREADS, CHUNK, ARRAYS, MASTER = 256, 4096, 6, 5
TENSORS = 64  # of a table: the driver takes 4 KiB of parameters
TABLE = TENSORS * (ARRAYS * 8 + 12) + 8  # bytes
KEPT = 256  # tables in memory
STEPPED = "[feE][feE]f*|dd+"  # states are float32, or float64 with float64 parameters

FLOAT32 = np.dtype(np.float32)

Columns = list[Sequence[Any] | None]


# -- the table of pointers --------------------------------------------------------------------------------------------


def dense(x: Any) -> bool:
    """Whether x fills its memory, in whatever order of its axes."""
    if x.flags.c_contiguous:
        return True
    steps = layout.spread(x.shape, x.strides, x.dtype.itemsize, x.shape)
    order = sorted(range(x.ndim), key=lambda i: -steps[i])
    return all([n == 1 or s == t for n, s, t in zip(x.shape, steps, layout.dense(x.shape, tuple(order)))])


def alike(x: Any, model: Any) -> bool:
    """Whether the values of x lie in the same order as those of `model`, both dense."""
    if x.flags.c_contiguous and model.flags.c_contiguous:
        return True
    steps = [layout.spread(a.shape, a.strides, a.dtype.itemsize, a.shape) for a in (x, model)]
    return all([n == 1 or s == t for n, s, t in zip(x.shape, *steps)])


def together(row: list[Any], written: tuple[bool, ...]) -> tuple[list[Any], list[tuple[Any, Any]]]:
    """The arrays of one parameter in memory that may be walked as one, and the copies that must go back."""
    model = row[0] if dense(row[0]) else empty_in_format(row[0], row[0].dtype)
    if not dense(model):
        model = contiguous(model)
    lying, back = [], []
    for x, is_written in zip(row, written):
        if x is None or (dense(x) and alike(x, model)):
            lying.append(x)
            continue
        copy = empty_in_format(model, x.dtype)
        apply("copy", x, out=copy)
        lying.append(copy)
        if is_written:
            back.append((copy, x))
    return lying, back


def tables(columns: list[list[Any]], sizes: list[int]) -> tuple[list[bytes], int]:
    """`Tensors` of optimizer.cu, as many as the arrays take, and the number of blocks; columns: of arrays, or empty."""
    made, done = [], 0
    for begin in range(0, len(sizes), TENSORS):
        part = slice(begin, begin + TENSORS)
        count = len(sizes[part])
        at = np.zeros((ARRAYS, TENSORS), np.uint64)
        for k, column in columns_of(columns, part):
            at[k, :count] = [x.pointer for x in column]
        elements = np.array(sizes[part], np.int64)
        spans, first = np.zeros(TENSORS, np.int64), np.zeros(TENSORS, np.int32)
        spans[:count] = elements * 2 + ~(at[:, :count] & 15).any(axis=0)
        ends = done + np.cumsum(-(-elements // CHUNK))
        first[:count] = [done, *ends[:-1]]
        done = int(ends[-1])
        made.append(at.tobytes() + spans.tobytes() + first.tobytes() + struct.pack("<i4x", count))
    return made, done


kept: dict[tuple[str, int, bytes], Any] = {}  # tables in memory, by device, stream and what they hold


def in_memory(more: list[bytes], model: Any) -> Any:
    """Tables in the memory of a device; they change when a gradient comes to lie elsewhere, which is rare.

    A recording writes its own, and keeps them.
    """
    device = model.device_name
    recording = capturing.state.recorder is not None
    key = (device, 0 if recording else flags.stream_of(device), b"".join(more))
    found = None if recording else kept.get(key)
    if found is None:
        found = empty((len(more), TABLE), np.uint8, device)
        for k, table in enumerate(more):
            launch(optimizer_kernel("keep_table", FLOAT32, FLOAT32), (1,), (THREADS,), (found.basic(k), table))
        if not recording:
            if len(kept) >= KEPT:
                kept.clear()
            kept[key] = found
    return found


def walk(function: Kernel, columns: list[list[Any]], sizes: list[int], *arguments: Any) -> None:
    """Launch a kernel once over all arrays, which the first of `columns` has, too."""
    made, blocks = tables(columns, sizes)
    model = columns[0][0]
    more = in_memory(made[1:], model) if len(made) > 1 else None
    launch(function, (blocks,), (THREADS,), (model, made[0], more, len(made) - 1, *arguments))


def columns_of(columns: list[list[Any]], part: slice) -> list[tuple[int, list[Any]]]:
    return [(k, column[part]) for k, column in enumerate(columns) if column and column[0] is not None]


def arranged(columns: Columns, written: tuple[bool, ...]) -> tuple[list[list[Any]], list[int], list[tuple[Any, Any]]]:
    """Columns of dense arrays that lie alike, without the empty ones; their sizes; and the copies that must go back."""
    back: list[tuple[Any, Any]] = []
    used = [None if not c else c for c in columns]
    if all([x.flags.c_contiguous for c in used if c for x in c]):
        arrays = [list(c) if c else [] for c in used]
    else:
        rows = []
        for k in range(len(columns[0] or ())):
            lying, late = together([c[k] if c else None for c in used], written)
            rows.append(lying)
            back += late
        arrays = [[row[c] for row in rows] if used[c] else [] for c in range(len(columns))]
    keep([x for column in arrays for x in column])
    sizes = [x.size for x in arrays[0]]
    if 0 in sizes:
        arrays = [[x for x, n in zip(column, sizes) if n] for column in arrays]
        sizes = [n for n in sizes if n]
    return arrays, sizes, back


def keep(arrays: list[Any]) -> None:
    """Let a recording keep what the tables of its launches point to."""
    recorder = capturing.state.recorder
    if recorder is not None:
        for x in arrays:
            recorder.pin(x)


def same_dtype(arrays: Sequence[Any]) -> list[Any]:
    """The arrays in the dtype of the first."""
    dtype = arrays[0].dtype
    return [x if x.dtype == dtype else x.astype(dtype) for x in arrays]


# -- steps ------------------------------------------------------------------------------------------------------------


def scalar(x: Any, default: float) -> tuple[Any, float]:
    """(array to read on the device, number where there is none) of a parameter that may be either."""
    return (x, default) if isinstance(x, OnDevice) else (None, default if x is None else x)


def optimizer_kernel(name: str, dtype: np.dtype, grads: np.dtype) -> Kernel:
    state = "double" if dtype.char == "d" else "float"
    types = dict(PARAM=STORAGE[dtype.char], GRAD=STORAGE[grads.char], STATE=state)
    return kernel("optimizer.cu", name, **types, TENSORS=TENSORS)


def run(
    name: str, params: Any, grads: Any, states: list[Any], masters: Any, rule: tuple[float, ...],
    flags: tuple[bool, ...], *, lr: Any, weight_decay: float, maximize: bool, step: Any, scale: Any, skip: Any,
    more: int = 0,
) -> None:  # fmt: skip
    """Launch the step `name`; rule, flags: the numbers and the ints of its struct, `more` numbers behind them."""
    states = [*states, *[None] * (MASTER - 2 - len(states))]
    columns = [params, same_dtype(grads), *states, masters]
    arrays, sizes, back = arranged(columns, (True, False, True, True, True, True))
    if sizes:
        c = "d" if params[0].dtype.char == "d" else "f"
        (lr_at, lr), (scale_at, scale) = scalar(lr, 0.0), scalar(scale, 1.0)
        numbers = struct.pack(f"<3{c}i{'4x' * (c == 'd')}", lr, scale, weight_decay, maximize)
        packed = struct.pack(f"<{len(rule)}{c}{len(flags)}i{more}{c}", *rule, *flags, *[0.0] * more)
        function = optimizer_kernel(name, params[0].dtype, columns[1][0].dtype)
        step_at = step if isinstance(step, OnDevice) else None
        walk(function, arrays, sizes, numbers, packed, lr_at, scale_at, step_at, skip)
    for copy, x in back:
        apply("copy", copy, out=x)


@entry(K.sgd, STEPPED)
def sgd(
    params: Any, grads: Any, buffers: Any, masters: Any = None, *, lr: Any, momentum: float, dampening: float,
    weight_decay: float, nesterov: bool, maximize: bool, first: bool, step: Any = None, scale: Any = None,
    skip: Any = None,
) -> None:  # fmt: skip
    run(
        "sgd", params, grads, [buffers if momentum else None], masters, (momentum, dampening), (nesterov, first),
        lr=lr, weight_decay=weight_decay, maximize=maximize, step=step, scale=scale, skip=skip,
    )  # fmt: skip


@entry(K.adam, STEPPED)
def adam(
    params: Any, grads: Any, m: Any, v: Any, vmax: Any, masters: Any = None, *, lr: Any, beta1: float, beta2: float,
    eps: float, weight_decay: float, decoupled: bool, step: Any, amsgrad: bool, maximize: bool, scale: Any = None,
    skip: Any = None,
) -> None:  # fmt: skip
    if isinstance(step, OnDevice):
        weights = [math.log(beta) if beta else -math.inf for beta in (beta1, beta2)]
    else:
        weights = [1 - beta**step for beta in (beta1, beta2)]
    run(
        "adam", params, grads, [m, v, vmax if amsgrad else None], masters,
        (1 - beta1, beta2, 1 - beta2, eps, *weights), (decoupled, amsgrad), more=2,
        lr=lr, weight_decay=weight_decay, maximize=maximize, step=step, scale=scale, skip=skip,
    )  # fmt: skip


@entry(K.rmsprop, STEPPED)
def rmsprop(
    params: Any, grads: Any, sq: Any, avg: Any, buf: Any, masters: Any = None, *, lr: Any, alpha: float, eps: float,
    weight_decay: float, momentum: float, centered: bool, maximize: bool, scale: Any = None, skip: Any = None,
) -> None:  # fmt: skip
    run(
        "rmsprop", params, grads, [sq, avg if centered else None, buf if momentum else None], masters,
        (alpha, 1 - alpha, eps, momentum), (),
        lr=lr, weight_decay=weight_decay, maximize=maximize, step=None, scale=scale, skip=skip,
    )  # fmt: skip


@entry(K.lion, STEPPED)
def lion(
    params: Any, grads: Any, m: Any, masters: Any = None, *, lr: Any, beta1: float, beta2: float, weight_decay: float,
    maximize: bool, scale: Any = None, skip: Any = None,
) -> None:  # fmt: skip
    run(
        "lion", params, grads, [m], masters, (beta1, 1 - beta1, beta2, 1 - beta2), (),
        lr=lr, weight_decay=weight_decay, maximize=maximize, step=None, scale=scale, skip=skip,
    )  # fmt: skip


@entry(K.count_step, "i{1,2}")
def count_step(step: Any, skip: Any = None) -> None:
    launch(optimizer_kernel("count_step", FLOAT32, FLOAT32), (1,), (1,), (step, skip))


# -- gradients --------------------------------------------------------------------------------------------------------


def by_dtype(arrays: Sequence[Any]) -> list[list[Any]]:
    """The arrays that have values, in groups of one dtype."""
    groups: dict[str, list[Any]] = {}
    for x in arrays:
        if x.size:
            groups.setdefault(x.dtype.char, []).append(x)
    return list(groups.values())


def gradient_kernel(name: str, dtype: np.dtype) -> Kernel:
    return optimizer_kernel(name, dtype, dtype)


@entry(K.sum_of_squares, "[fdeE]")
def sum_of_squares(arrays: Any) -> Any:
    groups = [[x if dense(x) else contiguous(x) for x in group] for group in by_dtype(arrays)]
    blocks = [sum([-(-x.size // CHUNK) for x in group]) for group in groups]
    sums, done = empty((sum(blocks),), np.float64, arrays[0].device_name), 0
    for group, count in zip(groups, blocks):
        keep(group)
        part = sums.basic(slice(done, done + count))
        walk(gradient_kernel("squares", group[0].dtype), [group], [x.size for x in group], part)
        done += count
    return reduce("sum", sums)


@entry(K.scale_arrays, "[fdeE]")
def scale_arrays(arrays: Any, *, factor: Any) -> None:
    at, number = scalar(factor, 1.0)
    for group in by_dtype(arrays):
        lying, sizes, back = arranged([group], (True,))
        function = gradient_kernel("scale", group[0].dtype)
        wide = at is not None and at.dtype.char == "d"
        walk(function, lying, sizes, at, int(wide), number)
        for copy, x in back:
            apply("copy", copy, out=x)


@entry(K.gradient_scale, "d|df")
def gradient_scale(squares: Any, loss_scale: Any = None, *, max_norm: float | None) -> tuple[Any, Any, Any]:
    norm, factor, skip = (empty((), t, squares.device_name) for t in (np.float32, np.float32, np.int32))
    function = optimizer_kernel("gradient_scale", FLOAT32, FLOAT32)
    most = -1.0 if max_norm is None else float(max_norm)
    launch(function, (1,), (1,), (norm, factor, skip, squares, loss_scale, most))
    return norm, factor, skip
