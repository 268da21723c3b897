"""Factorizations of matrices: LAPACK's over NumPy arrays, the array library's over those of devices.

Types of 16 bits are computed in float32 and rounded once. Errors name the function, and say what it found.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from weft.backends.array import is_16_bit, namespace

LinAlgError = np.linalg.LinAlgError
FLOAT32 = np.dtype(np.float32)


def computed(name: str, expected: str, *arrays: Any, **options: Any) -> Any:
    """What `numpy.linalg.name` makes of arrays of one dtype; its LinAlgError says what was `expected`."""
    dtype = arrays[0].dtype
    narrow = is_16_bit(dtype)
    if narrow:
        arrays = tuple([namespace(x).astype(x, FLOAT32) for x in arrays])
    try:
        out = getattr(np.linalg, name)(*arrays, **options)
    except LinAlgError as error:
        shapes = " and ".join([str(x.shape) for x in arrays])
        raise LinAlgError(f"{name}: expected {expected}, got {shapes}: {error}") from error
    many = out if isinstance(out, tuple) else (out,)
    if narrow:
        many = tuple([namespace(x).astype(x, dtype) for x in many])
    return tuple(many) if isinstance(out, tuple) else many[0]


def cholesky(x: Any) -> Any:
    """The lower factor; only the lower triangle of x is read."""
    return computed("cholesky", "positive definite matrices", x)


def qr(x: Any, *, mode: str) -> Any:
    return computed("qr", "matrices", x, mode=mode)


def eigh(x: Any) -> Any:
    return computed("eigh", "matrices of finite numbers", x)


def eigvalsh(x: Any) -> Any:
    return computed("eigvalsh", "matrices of finite numbers", x)


def svd(x: Any, *, full_matrices: bool) -> Any:
    return computed("svd", "matrices of finite numbers", x, full_matrices=full_matrices)


def svdvals(x: Any) -> Any:
    return computed("svd", "matrices of finite numbers", x, compute_uv=False)


def inv(x: Any) -> Any:
    return computed("inv", "invertible matrices", x)


def solve(a: Any, b: Any) -> Any:
    """a (..., M, M), b (..., M, K) -> (..., M, K)"""
    return computed("solve", "an invertible matrix and its right sides", a, b)


def det(x: Any) -> Any:
    return computed("det", "square matrices", x)


def slogdet(x: Any) -> Any:
    return computed("slogdet", "square matrices", x)


def cutoff(x: Any, values: Any, rtol: Any) -> Any:
    """Below what a singular value of x counts as zero.  values (..., K), largest first -> (..., 1)"""
    if rtol is None:
        kind = FLOAT32 if is_16_bit(x.dtype) else values.dtype
        rtol = max(x.shape[-2:]) * float(np.finfo(kind).eps)
    elif hasattr(rtol, "ndim") and rtol.ndim:
        rtol = namespace(rtol).expand_dims(rtol, axis=-1)
    return values[..., :1] * rtol


def matrix_rank(x: Any, *, rtol: Any) -> Any:
    xp = namespace(x)
    if not x.shape[-1] or not x.shape[-2]:
        return xp.zeros_like(xp.sum(x, axis=(-2, -1)), dtype=np.int64)
    values = svdvals(x)
    return xp.astype(xp.sum(values > cutoff(x, values, rtol), axis=-1), np.int64)


def pinv(x: Any, *, rtol: Any) -> Any:
    xp = namespace(x)
    if not x.shape[-1] or not x.shape[-2]:
        return xp.zeros_like(xp.swapaxes(x, -1, -2))
    if is_16_bit(x.dtype):
        return xp.astype(pinv(xp.astype(x, FLOAT32), rtol=rtol), x.dtype)
    u, values, vh = svd(x, full_matrices=False)
    large = values > cutoff(x, values, rtol)
    inverse = xp.where(large, 1 / xp.where(large, values, xp.ones_like(values)), xp.zeros_like(values))
    v, uh = xp.conj(xp.swapaxes(vh, -1, -2)), xp.conj(xp.swapaxes(u, -1, -2))
    return xp.matmul(v * xp.expand_dims(inverse, axis=-2), uh)
