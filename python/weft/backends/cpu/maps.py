"""Elementwise functions and sums of large float32 arrays, in the array namespace under their own names.

Each hands to NumPy what the kernels do not cover: small arrays, other dtypes, strided memory, unusual broadcasts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import ndarray

from weft import _cpu  # type: ignore[attr-defined]
from weft.backends import array

LARGE = 16384  # elements from which threads and reused memory outweigh the call
UNARY = ("negative", "abs", "square", "sqrt", "exp", "log", "tanh", "sigmoid", "erf")
BINARY = ("add", "subtract", "multiply", "divide", "maximum", "minimum")


def summed(x: Any, axis: Any, keepdims: bool) -> Any:
    """The sum of x over `axis`; None where NumPy has to do it."""
    if type(x) is not ndarray or x.size < LARGE or x.dtype.char != "f":
        return None
    axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    bits = 0
    for i in axes:
        if not -x.ndim <= i < x.ndim:
            return None
        bits |= 1 << i % x.ndim
    return _cpu.sum(x, bits, keepdims)


def sum_or(otherwise: Callable[..., Any]) -> Callable[..., Any]:
    def sum(x: Any, *, axis: Any = None, keepdims: bool = False, **options: Any) -> Any:
        y = None if options else summed(x, axis, keepdims)
        return otherwise(x, axis=axis, keepdims=keepdims, **options) if y is None else y

    return sum


def mean_or(otherwise: Callable[..., Any]) -> Callable[..., Any]:
    def mean(x: Any, *, axis: Any = None, keepdims: bool = False, **options: Any) -> Any:
        y = None if options else summed(x, axis, keepdims)
        if y is None or not y.size:
            return otherwise(x, axis=axis, keepdims=keepdims, **options)
        return np.divide(y, np.float32(x.size // y.size), out=y)

    return mean


def accumulate_or(otherwise: Callable[..., Any]) -> Callable[..., Any]:
    def accumulate(total: Any, x: Any) -> None:
        if total.size < LARGE or not _cpu.accumulate(total, x):
            otherwise(total, x)

    return accumulate


for name in UNARY + BINARY:
    setattr(array, name, _cpu.route(name, getattr(array, name)))
array.sum, array.mean = sum_or(array.sum), mean_or(array.mean)
array.accumulate = accumulate_or(array.accumulate)
