"""Entries of `matmul` and `linear` for device arrays: one GEMM each, whatever the strides and leading axes."""

from __future__ import annotations

from typing import Any

from weft.backends import reference as K
from weft.backends.gpu import entry
from weft.backends.gpu.gemm import explain, gemm


@entry(K.matmul, "ff|ee|EE|dd|" + "|".join(2 * c for c in r"bBhHiIlLqQ") + r"|\?\?")
def matmul(a: Any, b: Any) -> Any:
    if a.ndim < 2 or b.ndim < 2:
        return vectors(a, b)
    return gemm(a, b)


def with_axes(a: Any, b: Any) -> tuple[Any, Any]:
    return a[None, :] if a.ndim == 1 else a, b[:, None] if b.ndim == 1 else b


def vectors(a: Any, b: Any) -> Any:
    """A vector counts as one row of a or one column of b, and its axis goes again."""
    if not a.ndim or not b.ndim:
        raise ValueError(f"matmul: expected (..., M, K) and (..., K, N), got {a.shape} and {b.shape}")
    out = gemm(*with_axes(a, b))
    if b.ndim == 1:
        out = out[..., 0]
    return out if a.ndim > 1 else out[..., 0, :] if b.ndim > 1 else out[..., 0]


@entry(K.linear, "fff?|eee?|EEE?|ddd?")
def linear(x: Any, weight: Any, bias: Any) -> Any:
    rows = x[None, :] if x.ndim == 1 else x
    out = gemm(rows, weight.swapaxes(0, 1), bias=bias)
    return out[0] if x.ndim == 1 else out


matmul.describe = lambda a, b: explain(*with_axes(a, b))  # type: ignore[attr-defined]
linear.describe = lambda x, weight, bias=None: explain(  # type: ignore[attr-defined]
    x[None, :] if x.ndim == 1 else x, weight.swapaxes(0, 1), bias
)
