"""Taking and putting by position. Indices are parameters, so the tape records only the values."""

from __future__ import annotations

import functools
import math
import operator
from typing import Any

import numpy as np

from weft.autograd import Tensor, op, state
from weft.backends.array import ARRAYS, device_of, namespace
from weft.backends.device import beside, check_together
from weft.backends.piece import Pieces
from weft.ops.complex import check_ordered
from weft.ops.dtypes import INT64, check_holds
from weft.ops.shape import broadcast_to, normal_axes

INT64_MAX = 2**63 - 1


def raw_index(index: Any, x: Any, by: str) -> Any:
    """An index with raw arrays for Tensors and lists. What comes from NumPy goes to the device of x."""
    if type(index) is tuple:
        return tuple([raw_index(i, x, by) for i in index])
    if isinstance(index, Tensor):
        check_together(by, (x.data, index.data))
        return index.data
    if isinstance(index, list) and not index:
        index = np.empty(0, np.intp)
    if isinstance(index, (list, np.ndarray)):
        return beside(index, x)
    return index


def as_indices(indices: Any, x: Any, by: str) -> Any:
    """Positions in x as a raw array of int32 or int64 on its device; TypeError unless they are integers."""
    if isinstance(indices, list) and not indices:
        indices = np.empty(0, np.intp)
    if isinstance(indices, Tensor):
        indices = indices.data
    elif not isinstance(indices, ARRAYS) or (type(indices) is np.ndarray and device_of(x) != "cpu"):
        indices = beside(indices, x)
    if type(indices) is not np.ndarray or device_of(x) != "cpu":
        check_together(by, (x.data if isinstance(x, Tensor) else x, indices))
    if indices.dtype.kind not in "iu":
        raise TypeError(f"{by}: expected integer indices, got {indices.dtype}")
    if indices.dtype.char not in "ilq":  # small types do not hold the length of an axis
        xp = namespace(indices)
        indices = xp.minimum(indices, INT64_MAX) if indices.dtype.itemsize == 8 else indices  # stays out of range
        indices = xp.astype(indices, INT64)
    return indices


@op(name="getitem")
def get(x, *, index):
    """x[index]."""
    shape = x.shape
    return x[index], (lambda g: put_back(g, index, shape),)


@op(name="setitem")
def put(g, *, index, shape):
    """Zeros of `shape` with g added at `index`: the gradient of `get`."""
    if type(g) is Tensor:
        out = put(g, index=index, shape=shape)
    else:
        out = Pieces([(g, index)], shape).whole()
    return out, (lambda h: h[index],)


def put_all(parts: list[tuple[Any, Any]], shape: Any) -> Any:
    """The gradient of an array of `shape` of which the parts (gradient, index) were taken."""
    if not any(type(g) is Tensor for g, _ in parts):
        return Pieces(parts, shape)
    return functools.reduce(operator.add, [put(g, index=index, shape=shape) for g, index in parts])


def put_back(g: Any, index: Any, shape: Any) -> Any:
    return put_all([(g, index)], shape)


def getitem(x: Any, key: Any, /) -> Any:
    """x[key] with NumPy's rules: integers, slices, None, Ellipsis, integer arrays and boolean masks."""
    return get(x, index=raw_index(key, x, "getitem"))


def setitem(x: Tensor, key: Any, value: Any, /) -> None:
    """x[key] = value. Recorded Tensors get a new value; memory outside the tape is written in place."""
    index = raw_index(key, x, "setitem")
    if isinstance(value, Tensor):
        check_together("setitem", (x.data, value.data))
    elif isinstance(value, (list, tuple, np.ndarray)):
        value = beside(value, x)
    check_holds("setitem", x.dtype, value)
    if state.recording and (x.requires_grad or (isinstance(value, Tensor) and value.requires_grad)):
        if x.node is None and x.requires_grad:
            raise RuntimeError(
                "setitem: expected a Tensor made by an op, got a leaf that requires a gradient; use no_grad()"
            )
        before = Tensor(x.data, x.requires_grad, x.node, x.index)
        if not isinstance(value, (Tensor, *ARRAYS)):
            value = beside(np.asarray(value, x.dtype), x)
        after = replace(before, value if isinstance(value, Tensor) else value.astype(x.dtype, copy=False), index=index)
        x.data, x.requires_grad, x.node, x.index = after.data, after.requires_grad, after.node, after.index
        return
    value = value.data if isinstance(value, Tensor) else value
    x.check_writable("setitem")
    x.data[index] = value
    x.touch("setitem")


@op(name="setitem")
def replace(x, value, *, index):
    """A copy of x with x[index] = value."""
    shape = x.shape

    def outside(g):
        raw = g.data if type(g) is Tensor else g
        keep = namespace(raw).ones_like(raw)
        keep[index] = 0
        return g * keep

    if type(x) is Tensor:
        out = outside(x) + put(value * namespace(x.data).ones_like(x.data[index]), index=index, shape=shape)
    else:
        out = x.copy()
        out[index] = value

    return out, (outside, lambda g: g[index])


def out_of_range(indices: Any, n: int) -> bool:
    """Whether an index on the host is not within -n and n - 1. Devices check where they read, and note it in a flag."""
    return type(indices) is np.ndarray and bool(indices.size and (indices.min() < -n or indices.max() >= n))


@op(name="take")
def take_at(x, *, indices, axis):
    n = x.shape[axis]
    if out_of_range(indices, n):
        bad = int(indices[(indices < -n) | (indices >= n)].reshape(-1)[0])
        raise IndexError(f"take: expected indices below {n} along axis {axis} of shape {x.shape}, got {bad}")
    shape = x.shape

    def vjp(g):
        return put_at(g, indices=indices, axis=axis, shape=shape)

    return namespace(x).take(x, indices, axis=axis), (vjp,)


def put_at(g: Any, *, indices: Any, axis: int, shape: Any) -> Any:
    """Zeros of `shape` with the slices of g added at `indices` along `axis`."""
    xp = namespace(g)
    lead, tail = shape[:axis], shape[axis + 1 :]
    k = indices.ndim
    order = (*range(axis, axis + k), *range(axis), *range(axis + k, g.ndim))
    rows = xp.reshape(xp.permute_dims(g, order), (indices.size, math.prod((*lead, *tail))))  # (indices, rest)
    positions = namespace(indices).where(indices < 0, indices + shape[axis], indices).reshape(-1)
    summed = xp.scatter_add(rows, positions, rows=shape[axis])
    back = xp.reshape(summed, (shape[axis], *lead, *tail))
    return xp.moveaxis(back, 0, axis)


def take(x: Any, indices: Any, /, *, axis: int | None = None) -> Tensor:
    """The slices of x at integer `indices` along `axis`; out of range raises and names the index.

    >>> import weft
    >>> weft.take(weft.asarray([1.0, 2.0, 3.0]), weft.asarray([2, 0]), axis=0).numpy()
    array([3., 1.], dtype=float32)
    """
    if axis is None:
        if x.ndim != 1:
            raise ValueError(f"take: expected axis= for an array of shape {x.shape}")
        axis = 0
    (axis,) = normal_axes("take", axis, x.ndim)
    return take_at(x, indices=as_indices(indices, x, "take"), axis=axis)


def along(indices: Any, axis: int) -> tuple[Any, ...]:
    """The index that names, for each position, that position with `indices` in place of its coordinate on `axis`."""
    xp, grid = namespace(indices), []
    for i, n in enumerate(indices.shape):
        line = tuple([n if i == j else 1 for j in range(indices.ndim)])
        grid.append(indices if i == axis else xp.reshape(xp.arange(n, device=device_of(indices)), line))
    return tuple(grid)


@op(name="take_along_axis")
def gather(x, *, indices, axis):
    shape = x.shape
    index = along(indices, axis)

    return namespace(x).take_along_axis(x, indices, axis=axis), (lambda g: put_back(g, index, shape),)


def take_along_axis(x: Any, indices: Any, /, *, axis: int = -1) -> Tensor:
    """For each position of `indices` (integers, x's shape but along `axis`), the value of x that it names there.

    The other axes broadcast.  ValueError where they do not; IndexError for an index out of range.

    >>> weft.take_along_axis(weft.asarray([[1, 2], [3, 4]]), weft.asarray([[1], [0]]), axis=1).numpy()
    array([[2],
           [3]])
    """
    indices = as_indices(indices, x, "take_along_axis")
    (axis,) = normal_axes("take_along_axis", axis, x.ndim)
    n = x.shape[axis]
    if out_of_range(indices, n):
        raise IndexError(
            f"take_along_axis: expected indices within {n}, got {int(indices.min())} to {int(indices.max())}"
        )
    others = [(*shape[:axis], 1, *shape[axis + 1 :]) for shape in (x.shape, indices.shape)]
    if indices.ndim != x.ndim or any([p != q and 1 not in (p, q) for p, q in zip(*others)]):
        raise ValueError(f"take_along_axis: expected indices that fit {x.shape} but along {axis}, got {indices.shape}")
    whole = np.broadcast_shapes(*others)
    shapes = [(*whole[:axis], length, *whole[axis + 1 :]) for length in (n, indices.shape[axis])]
    x = x if x.shape == shapes[0] else broadcast_to(x, shapes[0])
    if indices.shape != shapes[1]:
        indices = broadcast_to(Tensor(indices), shapes[1]).data  # an op, so that an export sees it
    return gather(x, indices=indices, axis=axis)


@op(name="sort")
def sort_values(x, *, axis, descending, stable):
    xp = namespace(x)
    raw = x.data if type(x) is Tensor else x
    order = sorting(raw, axis, descending, stable)
    shape, index = x.shape, along(order, axis)

    return xp.take_along_axis(x, order, axis=axis), (lambda g: put_back(g, index, shape),)


def sort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """x sorted along `axis`; NaN comes last either way.

    stable: whether equal values keep their order, as they do in `argsort`.

    >>> weft.sort(weft.asarray([3.0, 1.0, 2.0]), descending=True).numpy()
    array([3., 2., 1.], dtype=float32)
    """
    (axis,) = normal_axes("sort", axis, x.ndim)
    return sort_values(x, axis=axis, descending=descending, stable=stable)


@op
def argsort(x, /, *, axis=-1, descending=False, stable=True):
    """The indices that sort x along `axis`; NaN comes last, and equal values keep their order if `stable`.

    >>> weft.argsort(weft.asarray([3.0, 1.0, 2.0])).numpy()
    array([1, 2, 0])
    """
    (axis,) = normal_axes("argsort", axis, x.ndim)
    return sorting(x.data if type(x) is Tensor else x, axis, descending, stable), None


def sorting(x: Any, axis: int, descending: bool, stable: bool) -> Any:
    """The indices that sort an array along an axis, counted from 0."""
    check_ordered("sort", x)
    if descending:  # ~x turns the order of integers around, where -x wraps
        x = ~x if x.dtype.kind in "biu" else -x
    return namespace(x).argsort(x, axis=axis, stable=stable)
