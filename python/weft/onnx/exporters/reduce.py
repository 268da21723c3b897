"""Reductions, running sums, and sorting."""

from __future__ import annotations

from typing import Any

import numpy as np

from weft.onnx.emit import Emitter
from weft.onnx.exporters import exports


def axes_of(axis: Any, ndim: int) -> list[int]:
    return list(range(ndim)) if axis is None else [a % ndim for a in ((axis,) if isinstance(axis, int) else axis)]


def reduction(kind: str) -> Any:
    def write(to: Emitter, x: Any, *, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Any:
        axes = axes_of(axis, x.ndim)
        value = to.cast(x, x.dtype, to.outs[0].dtype)
        return to.reduce(kind, value, axes, keepdims) if axes else to.node("Identity", value)

    return write


for name, kind in (("sum", "ReduceSum"), ("mean", "ReduceMean"), ("max", "ReduceMax"), ("min", "ReduceMin"),
                   ("prod", "ReduceProd")):  # fmt: skip
    exports(name)(reduction(kind))


def test(kind: str) -> Any:
    """all and any: as reductions of 0 and 1."""

    def write(to: Emitter, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        ones = to.cast(to.cast(x, x.dtype, np.bool_), np.bool_, np.int32)
        axes = axes_of(axis, x.ndim)
        return to.cast(to.reduce(kind, ones, axes, keepdims) if axes else ones, np.int32, np.bool_)

    return write


exports("all")(test("ReduceMin"))
exports("any")(test("ReduceMax"))


@exports("count_nonzero")
def count_nonzero(to: Emitter, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    ones = to.cast(to.cast(x, x.dtype, np.bool_), np.bool_, to.outs[0].dtype)
    axes = axes_of(axis, x.ndim)
    return to.reduce("ReduceSum", ones, axes, keepdims) if axes else to.node("Identity", ones)


def place(kind: str) -> Any:
    def write(to: Emitter, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        value = to.cast(x, x.dtype, np.int32) if x.dtype == np.bool_ else x
        if axis is not None:
            found = to.node(kind, value, axis=axis, keepdims=int(keepdims))
        else:
            found = to.node(kind, to.reshape(value, None, [-1]), axis=0, keepdims=0)
            found = to.node("Reshape", found, to.constant([1] * x.ndim, np.int64)) if keepdims else found
        return to.cast(found, np.int64, to.outs[0].dtype)

    return write


exports("argmax")(place("ArgMax"))
exports("argmin")(place("ArgMin"))


@exports("cumulative_sum")
def cumulative_sum(to: Emitter, x: Any, *, axis: int = -1) -> Any:
    return to.node("CumSum", to.cast(x, x.dtype, to.outs[0].dtype), to.constant(axis % x.ndim, np.int64))


def ordered(to: Emitter, x: Any, axis: int, descending: bool) -> Any:
    count = to.length(x, axis % x.ndim)
    return to.node("TopK", x, count, outputs=2, axis=axis, largest=int(descending), sorted=1)


@exports("sort_values")
def sort_values(to: Emitter, x: Any, *, axis: int, descending: bool, stable: bool = True) -> Any:
    return ordered(to, x, axis, descending)[0]


@exports("argsort")
def argsort(to: Emitter, x: Any, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    return to.cast(ordered(to, x, axis, descending)[1], np.int64, to.outs[0].dtype)
