"""Elementwise functions and sums of float32 arrays, in the array namespace under their own names.

Large arrays get every thread and reused memory; small ones a shorter call than NumPy's. Each function hands to NumPy
what the kernels do not cover: other dtypes, strided memory, unusual broadcasts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from weft import _cpu
from weft.backends import array

UNARY = ("negative", "abs", "square", "sqrt", "exp", "log", "tanh", "sigmoid", "erf")
BINARY = ("add", "subtract", "multiply", "divide", "maximum", "minimum")


def sum_or(otherwise: Callable[..., Any]) -> Callable[..., Any]:
    def sum(x: Any, *, axis: Any = None, keepdims: bool = False, **options: Any) -> Any:
        y = None if options else _cpu.sum(x, axis, keepdims)
        return otherwise(x, axis=axis, keepdims=keepdims, **options) if y is None else y

    return sum


def mean_or(otherwise: Callable[..., Any]) -> Callable[..., Any]:
    def mean(x: Any, *, axis: Any = None, keepdims: bool = False, **options: Any) -> Any:
        y = None if options else _cpu.sum(x, axis, keepdims, True)
        return otherwise(x, axis=axis, keepdims=keepdims, **options) if y is None else y

    return mean


def accumulate_or(otherwise: Callable[..., Any]) -> Callable[..., Any]:
    def accumulate(total: Any, x: Any) -> None:
        if type(x) is not np.ndarray or not _cpu.accumulate(total, x):  # a scalar of NumPy's is what 0-d sums give
            otherwise(total, x)

    return accumulate


def empty_or(otherwise: Callable[..., Any]) -> Callable[..., Any]:
    def empty(shape: Any, dtype: Any = np.float64) -> Any:
        return _cpu.empty(shape) if np.dtype(dtype).char == "f" else otherwise(shape, dtype)

    return empty


def take_or(otherwise: Callable[..., Any]) -> Callable[..., Any]:
    def take(x: Any, indices: Any, *, axis: int) -> Any:
        y = _cpu.take_rows(x, indices) if axis == 0 and type(indices) is np.ndarray else None
        return otherwise(x, indices, axis=axis) if y is None else y

    return take


def in_c_order_or(otherwise: Callable[..., Any]) -> Callable[..., Any]:
    def in_c_order(x: Any) -> Any:
        y = _cpu.in_c_order(x)
        return otherwise(x) if y is None else y

    return in_c_order


def zeros_or(otherwise: Callable[..., Any]) -> Callable[..., Any]:
    """Zeros in memory that is reused: fresh pages cost more than writing them."""

    def zeros(shape: Any, dtype: Any = np.float64) -> Any:
        if np.dtype(dtype).char != "f":
            return otherwise(shape, dtype)
        out = _cpu.empty(shape)
        out.fill(0)
        return out

    return zeros


for name in UNARY + BINARY:
    setattr(array, name, _cpu.route(name, getattr(array, name), 0))
for name, or_numpy in {
    "sum": sum_or,
    "mean": mean_or,
    "accumulate": accumulate_or,
    "empty": empty_or,
    "in_c_order": in_c_order_or,
    "take": take_or,
    "zeros": zeros_or,
}.items():
    setattr(array, name, or_numpy(getattr(array, name)))
