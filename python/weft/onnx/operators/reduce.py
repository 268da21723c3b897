"""Reductions, running sums, and the places of extremes."""

from __future__ import annotations

from typing import Any

import numpy as np

import weft
from weft.onnx.operators import operator
from weft.onnx.operators.common import axes_of, axis_of, flag, host, ints, is_float, like, one_of


def total(x: Any, **where: Any) -> Any:
    """The sum, in x's own type."""
    return weft.sum(x, **where).astype(x.dtype)


def average(x: Any, **where: Any) -> Any:
    return weft.mean(x, **where) if is_float(x) else weft.mean(x.astype(np.float64), **where).astype(x.dtype)


def lowest(x: Any) -> Any:
    return -np.inf if is_float(x) else np.iinfo(x.dtype).min if x.dtype != np.bool_ else False


def highest(x: Any) -> Any:
    return np.inf if is_float(x) else np.iinfo(x.dtype).max if x.dtype != np.bool_ else True


def extreme(function: Any, nothing: Any) -> Any:
    """max or min; of no values, the one that loses against all."""

    def run(x: Any, **where: Any) -> Any:
        if x.size:
            return function(x, **where)
        shape = np.sum(np.empty(x.shape, np.bool_), **where).shape
        return weft.full(shape, nothing(x), dtype=x.dtype, device=x.device)

    return run


largest, smallest = extreme(weft.max, lowest), extreme(weft.min, highest)


def log_sum_exp(x: Any, **where: Any) -> Any:
    """log(sum(exp(x))) without overflow."""
    if not x.size:
        return weft.log(total(x, **where))
    top = weft.max(x.detach(), axis=where["axis"], keepdims=True)
    top = weft.where(weft.isfinite(top), top, weft.zeros_like(top))
    out = weft.log(total(weft.exp(x - top), axis=where["axis"], keepdims=True)) + top
    shape = weft.sum(x.detach(), **where).shape
    return out.reshape(shape)


REDUCTIONS = {
    "ReduceSum": total,
    "ReduceMean": average,
    "ReduceMax": largest,
    "ReduceMin": smallest,
    "ReduceProd": lambda x, **where: weft.prod(x, **where).astype(x.dtype),
    "ReduceSumSquare": lambda x, **where: total(x * x, **where),
    "ReduceL1": lambda x, **where: total(weft.abs(x), **where),
    "ReduceL2": lambda x, **where: weft.sqrt(total(x * x, **where)).astype(x.dtype),
    "ReduceLogSum": lambda x, **where: weft.log(total(x, **where)),
    "ReduceLogSumExp": log_sum_exp,
}


def reduce_over(function: Any, x: Any, axes: Any, keepdims: int, nothing: int) -> Any:
    if not axes:
        if flag("noop_with_empty_axes", nothing):  # only what is done to each element
            return function(x[None], axis=(0,), keepdims=False)
        axes = range(x.ndim)
    axes = tuple(axes_of(axes, x.ndim))
    keep = flag("keepdims", keepdims)
    return function(x, axis=axes, keepdims=keep) if axes else function(x[None], axis=(0,), keepdims=False)


def by_attribute(function: Any) -> Any:
    def run(x: Any, *, axes: Any = None, keepdims: int = 1) -> Any:
        return reduce_over(function, x, axes, keepdims, 0)

    return run


def by_input(function: Any) -> Any:
    def run(x: Any, axes: Any = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Any:
        return reduce_over(function, x, None if axes is None else ints(axes), keepdims, noop_with_empty_axes)

    return run


for name, function in REDUCTIONS.items():
    operator(name)(by_attribute(function))
    operator(name, 13 if name == "ReduceSum" else 18)(by_input(function))


def place_of(function: Any) -> Any:
    def run(x: Any, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Any:
        axis = axis_of(axis, x.ndim)
        keep = flag("keepdims", keepdims)
        if not flag("select_last_index", select_last_index):
            return function(x, axis=axis, keepdims=keep).astype(np.int64)
        turned = function(weft.flip(x, axis=axis), axis=axis, keepdims=keep)
        return (x.shape[axis] - 1 - turned).astype(np.int64)

    return run


operator("ArgMax")(place_of(weft.argmax))
operator("ArgMin")(place_of(weft.argmin))


def running(x: Any, axis: int, exclusive: bool, reverse: bool, function: Any, first: Any) -> Any:
    x = weft.flip(x, axis=axis) if reverse else x
    if exclusive:
        edge = [slice(None)] * x.ndim
        edge[axis] = slice(0, -1)
        start = list(x.shape)
        start[axis] = min(1, x.shape[axis])
        x = weft.concat([weft.full(tuple(start), first, dtype=x.dtype, device=x.device), x[tuple(edge)]], axis=axis)
    out = function(x, axis=axis).astype(x.dtype)
    return weft.flip(out, axis=axis) if reverse else out


@operator("CumSum", 11)
def cumulative_sum(x: Any, axis: Any, *, exclusive: int = 0, reverse: int = 0) -> Any:
    (where,) = axes_of(ints(axis), x.ndim)
    return running(x, where, flag("exclusive", exclusive), flag("reverse", reverse), weft.cumulative_sum, 0)


def cumulative_product(x: Any, *, axis: int) -> Any:
    return like(np.cumprod(host(x), axis=axis), x)


@operator("CumProd", 26)
def cumulative_prod(x: Any, axis: Any, *, exclusive: int = 0, reverse: int = 0) -> Any:
    (where,) = axes_of(ints(axis), x.ndim)
    return running(x, where, flag("exclusive", exclusive), flag("reverse", reverse), cumulative_product, 1)


@operator("TopK", 10)
def top_k_largest(x: Any, k: Any, *, axis: int = -1) -> Any:
    return top_k(x, k, axis=axis)


@operator("TopK", 11)
def top_k(x: Any, k: Any, *, axis: int = -1, largest: int = 1, sorted: int = 1) -> Any:
    """The k first of the sorted values, and where they stand; `sorted` is kept in either case."""
    axis = axis_of(axis, x.ndim)
    one_of("sorted", sorted, (0, 1))
    (count,) = ints(k)
    if not 0 <= count <= x.shape[axis]:
        raise ValueError(f"TopK: expected k in [0, {x.shape[axis]}], got {count}")
    order = weft.argsort(x, axis=axis, descending=flag("largest", largest))
    first = order[(slice(None),) * axis + (slice(0, count),)]
    return weft.take_along_axis(x, first, axis=axis), first.astype(np.int64)
