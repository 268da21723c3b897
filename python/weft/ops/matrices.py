"""Matrices and vectors without a factorization: diagonals, products by element, norms of vectors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from weft.autograd import Tensor, op
from weft.backends.array import is_16_bit, namespace
from weft.ops.complex import adjoint_matrix
from weft.ops.elementwise import floating
from weft.ops.reduce import kept_shape
from weft.ops.shape import stack


def check_matrices(name: str, x: Any) -> None:
    if x.ndim < 2:
        raise ValueError(f"{name}: expected matrices (..., M, N), got shape {x.shape}")


def check_square(name: str, x: Any) -> None:
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ValueError(f"{name}: expected square matrices (..., M, M), got shape {x.shape}")


# -- in array code, for values and for what a gradient is made of ------------------------------------------------------


def embed(d: Any, rows: int, columns: int, offset: int = 0) -> Any:
    """Zeros with `d` on one diagonal.  (..., K) -> (..., rows, columns)"""
    xp = namespace(d)
    along = -1 if offset >= 0 else -2  # d runs along the rows above the main diagonal, along the columns below it
    short = (rows if offset >= 0 else columns) - d.shape[-1]
    d = xp.pad(d, [(0, 0)] * (d.ndim - 1) + [(0, short)])
    spread = xp.broadcast_to(xp.expand_dims(d, axis=along), (*d.shape[:-1], rows, columns))
    return xp.tril(xp.triu(spread, k=offset), k=offset)


def off_diagonal(x: Any) -> Any:
    """x with zeros on its main diagonal."""
    xp = namespace(x)
    return xp.triu(x, k=1) + xp.tril(x, k=-1)


def hermitian(x: Any) -> Any:
    """The part of x that equals its conjugate transpose."""
    return (x + adjoint_matrix(x)) * 0.5


def as_rows(d: Any) -> Any:
    """(..., K) -> (..., 1, K)"""
    return namespace(d).expand_dims(d, axis=-2)


def as_columns(d: Any) -> Any:
    """(..., K) -> (..., K, 1)"""
    return namespace(d).expand_dims(d, axis=-1)


# -- the functions -----------------------------------------------------------------------------------------------------


@op
def diagonal(x, /, *, offset=0):
    """The diagonal of each matrix that lies `offset` above the main one (below it where negative), in its own memory.

    (..., M, N) -> (..., K); K is 0 for an offset beyond the matrix.

    >>> import weft
    >>> weft.linalg.diagonal(weft.asarray([[1, 2], [3, 4]])).numpy()
    array([1, 4])
    """
    check_matrices("diagonal", x)
    rows, columns = x.shape[-2:]
    offset = max(-rows, min(columns, offset))
    vjp = (lambda g: embed(g, rows, columns, offset),)
    if type(x) is Tensor:
        return diagonal(x, offset=offset), vjp
    xp = namespace(x)
    return xp.astype(xp.diagonal(x, offset, -2, -1), x.dtype), vjp


def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    """The sum of the diagonal of each matrix, as `diagonal` and `sum` have it.  (..., M, N) -> (...)

    dtype: that of the sum; by default integers add up in 64 bits, and floats in their own type.

    >>> weft.linalg.trace(weft.asarray([[1, 2], [3, 4]])).item()
    5
    """
    check_matrices("trace", x)
    return diagonal(x, offset=offset).sum(axis=-1, dtype=dtype)


def outer(x1: Any, x2: Any, /) -> Any:
    """Every product of a number of x1 and one of x2.  (M,), (N,) -> (M, N).  ValueError unless both are vectors.

    >>> weft.linalg.outer(weft.asarray([1, 2]), weft.asarray([3, 4])).numpy()
    array([[3, 4],
           [6, 8]])
    """
    if x1.ndim != 1 or x2.ndim != 1:
        raise ValueError(f"outer: expected two vectors (M,) and (N,), got {x1.shape} and {x2.shape}")
    return x1[:, None] * x2[None, :]


def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """The cross products of vectors of three numbers along `axis`, a negative number; the other axes broadcast.

    ValueError with both shapes where the length along `axis` is not 3.

    >>> import weft
    >>> weft.linalg.cross(weft.asarray([1, 0, 0]), weft.asarray([0, 1, 0])).numpy()
    array([0, 0, 1])
    """
    rank = min(x1.ndim, x2.ndim)
    if axis >= 0 and x1.ndim == x2.ndim:
        axis -= rank
    if not -rank <= axis < 0:
        raise ValueError(f"cross: expected a negative axis of both {x1.shape} and {x2.shape}, got {axis}")
    if x1.shape[axis] != 3 or x2.shape[axis] != 3:
        raise ValueError(f"cross: expected 3 numbers along axis {axis}, got {x1.shape} and {x2.shape}")
    after = (slice(None),) * (-axis - 1)
    a, b = ([x[(..., i, *after)] for i in range(3)] for x in (x1, x2))
    return stack([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]], axis=axis)


@op
def norm_over(x, *, axis, ord, keepdims):
    x = floating(x)
    if is_16_bit(x.dtype):  # squares leave float16 soon
        x = namespace(x).astype(x, np.float32)
    xp = namespace(x)
    sizes = xp.abs(x)
    kept = kept_shape(x.shape, axis)
    if ord == math.inf:
        y = xp.max(sizes, axis=axis)
    elif ord == -math.inf:
        y = xp.min(sizes, axis=axis)
    elif ord == 0:
        y = xp.sum(xp.astype(xp.not_equal(sizes, 0), sizes.dtype), axis=axis)
    elif ord == 1:
        y = xp.sum(sizes, axis=axis)
    elif ord == 2:
        y = xp.sqrt(xp.sum(sizes * sizes, axis=axis))
    else:
        y = xp.pow(xp.sum(xp.pow(sizes, ord), axis=axis), 1 / ord)
    whole = xp.reshape(y, kept)

    def vjp(g):
        xp = namespace(g)
        g = xp.reshape(g, kept)
        if ord == 0:
            return xp.zeros_like(x)
        if ord == 1:
            return g * xp.sign(x)
        if abs(ord) == math.inf:
            tied = xp.astype(xp.equal(sizes, whole), g.dtype)
            return xp.sign(x) * (g * tied / xp.sum(tied, axis=axis, keepdims=True))
        nothing = xp.equal(whole, 0)
        length = xp.where(nothing, xp.ones_like(whole), whole)
        if ord == 2:
            return xp.where(nothing, xp.zeros_like(whole), g / length) * x
        zero = xp.logical_or(nothing, xp.equal(sizes, 0))
        share = xp.pow(xp.where(zero, xp.ones_like(sizes), sizes) / length, ord - 1)
        return xp.sign(x) * (g * xp.where(zero, xp.zeros_like(share), share))

    return (whole if keepdims else y), (vjp,)


norm_over.body.__name__ = "vector_norm"


def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: float = 2) -> Any:
    """The norm of order `ord` of the vectors along `axis` (an int, a tuple, or None for all numbers as one vector).

    ord: 2 for the length, 1, any other number p for sum(|x|^p)^(1/p), inf and -inf for the largest and the smallest
    |x|, 0 for how many are not 0. The result is real. The gradient where a norm has a corner is 0; numbers that tie
    for the largest share it.  TypeError for an order that is no number.

    >>> import weft
    >>> weft.linalg.vector_norm(weft.asarray([3.0, 4.0])).item()
    5.0
    """
    if isinstance(ord, (str, bool)) or not isinstance(ord, (int, float)):
        raise TypeError(f"vector_norm: expected an order that is a number, got {ord!r}")
    out = norm_over(x, axis=tuple(axis) if isinstance(axis, list) else axis, ord=ord, keepdims=keepdims)
    return out.astype(x.dtype) if is_16_bit(x.dtype) else out


