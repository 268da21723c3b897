"""Taking and putting by position. Indices are parameters, so the tape records only the values."""

from __future__ import annotations

import functools
import math
import operator
from typing import Any

import numpy as np

from weft.autograd import Tensor, op, state
from weft.backends.array import namespace
from weft.backends.piece import Pieces


def raw_index(index: Any) -> Any:
    """An index with Tensors and lists as NumPy arrays."""
    if type(index) is tuple:
        return tuple([raw_index(i) for i in index])
    if isinstance(index, Tensor):
        return index.data
    if isinstance(index, list):
        return np.asarray(index)
    return index


@op
def get(x, *, index):
    """x[index]."""
    shape = x.shape
    return x[index], (lambda g: put_back(g, index, shape),)


@op
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


def getitem(x: Any, index: Any) -> Any:
    """x[index] with NumPy's rules: integers, slices, None, Ellipsis, integer arrays and boolean masks."""
    return get(x, index=raw_index(index))


def setitem(x: Tensor, index: Any, value: Any) -> None:
    """x[index] = value. Recorded Tensors get a new value; memory outside the tape is written in place."""
    index = raw_index(index)
    if state.recording and (x.requires_grad or (isinstance(value, Tensor) and value.requires_grad)):
        if x.node is None and x.requires_grad:
            raise RuntimeError(
                "setitem: expected a Tensor made by an op, got a leaf that requires a gradient; use no_grad()"
            )
        before = Tensor(x.data, x.requires_grad, x.node, x.index)
        after = replace(before, value if isinstance(value, Tensor) else np.asarray(value, x.dtype), index=index)
        x.data, x.requires_grad, x.node, x.index = after.data, after.requires_grad, after.node, after.index
        return
    value = value.data if isinstance(value, Tensor) else value
    x.check_writable("setitem")
    x.data[index] = value
    x.touch("setitem")


@op
def replace(x, value, *, index):
    """A copy of x with x[index] = value."""
    shape = x.shape
    if type(x) is Tensor:
        keep = np.ones(shape, x.dtype)
        keep[index] = 0
        ones = np.ones_like(keep[index])
        out = x * keep + put(value * ones, index=index, shape=shape)
    else:
        out = x.copy()
        out[index] = value

    def outside(g):
        keep = np.ones(shape, g.dtype)
        keep[index] = 0
        return g * keep

    return out, (outside, lambda g: g[index])


@op
def take_at(x, *, indices, axis):
    n = x.shape[axis]
    if indices.size and (indices.min() < -n or indices.max() >= n):
        bad = int(indices[(indices < -n) | (indices >= n)].reshape(-1)[0])
        raise IndexError(f"take: expected indices below {n} along axis {axis} of shape {x.shape}, got {bad}")
    shape, where = x.shape, axis % x.ndim

    def vjp(g):
        return put_at(g, indices=indices, axis=where, shape=shape)

    return namespace(x).take(x, indices, axis=axis), (vjp,)


def put_at(g: Any, *, indices: Any, axis: int, shape: Any) -> Any:
    """Zeros of `shape` with the slices of g added at `indices` along `axis`."""
    xp = namespace(g)
    lead, tail = shape[:axis], shape[axis + 1 :]
    k = indices.ndim
    order = (*range(axis, axis + k), *range(axis), *range(axis + k, g.ndim))
    rows = xp.reshape(xp.permute_dims(g, order), (indices.size, math.prod((*lead, *tail))))  # (indices, rest)
    summed = xp.scatter_add(rows, np.where(indices < 0, indices + shape[axis], indices).reshape(-1), rows=shape[axis])
    back = xp.reshape(summed, (shape[axis], *lead, *tail))
    return xp.moveaxis(back, 0, axis)


def take(x: Any, indices: Any, /, *, axis: int | None = None) -> Any:
    """The slices of x at integer `indices` along `axis`; out of range raises and names the index.

    >>> import weft
    >>> weft.take(weft.asarray([1.0, 2.0, 3.0]), weft.asarray([2, 0]), axis=0).numpy()
    array([3., 1.], dtype=float32)
    """
    if axis is None:
        if x.ndim != 1:
            raise ValueError(f"take: expected axis= for an array of shape {x.shape}")
        axis = 0
    return take_at(x, indices=np.asarray(raw_index(indices)), axis=axis)


@op
def gather(x, *, indices, axis):
    shape, where = x.shape, axis % x.ndim
    grid = list(np.ogrid[tuple(slice(n) for n in indices.shape)])
    grid[where] = indices
    index = tuple(grid)

    return namespace(x).take_along_axis(x, indices, axis=axis), (lambda g: put_back(g, index, shape),)


def take_along_axis(x: Any, indices: Any, /, *, axis: int = -1) -> Any:
    """For each position of `indices` (integers, x's shape but along `axis`), the value of x that it names there."""
    indices = np.asarray(raw_index(indices))
    n = x.shape[axis]
    if indices.size and (indices.min() < -n or indices.max() >= n):
        raise IndexError(
            f"take_along_axis: expected indices within {n}, got {int(indices.min())} to {int(indices.max())}"
        )
    shape = list(x.shape)
    shape[axis] = indices.shape[axis]
    return gather(x, indices=np.broadcast_to(indices, shape), axis=axis)


@op
def sort_values(x, *, axis, descending):
    xp = namespace(x)
    raw = x.data if type(x) is Tensor else x
    order = sorting(raw, axis, descending)
    shape, where = x.shape, axis % x.ndim
    grid = list(np.ogrid[tuple(slice(n) for n in shape)])
    grid[where] = order
    index = tuple(grid)

    return xp.take_along_axis(x, order, axis=axis), (lambda g: put_back(g, index, shape),)


def sort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    """x sorted along `axis`."""
    return sort_values(x, axis=axis, descending=descending)


@op
def argsort(x, *, axis=-1, descending=False, stable=True):
    """The indices that sort x along `axis`."""
    return sorting(x.data if type(x) is Tensor else x, axis, descending), None


def sorting(x: Any, axis: int, descending: bool) -> Any:
    """The indices that sort an array; ties stay in their order, NaN comes last."""
    if descending:  # ~x turns the order of integers around, where -x wraps
        x = ~x if x.dtype.kind in "biu" else -x
    return np.argsort(x, axis=axis, stable=True)
