"""Layer norm and RMS norm over the last axis, with their gradients."""

from __future__ import annotations

from typing import Any

from weft.backends.array import namespace
from weft.backends.reference.precision import narrow, wide
from weft.backends.registry import primitive


def mean_of_rows(x: Any) -> Any:
    """(..., C) -> (..., 1); 0 where C is 0."""
    return namespace(x).sum(x, axis=-1, keepdims=True) / max(x.shape[-1], 1)


def sum_over_rows(x: Any) -> Any:
    """(..., C) -> (C,)"""
    return namespace(x).sum(x, axis=tuple(range(x.ndim - 1))) if x.ndim > 1 else x


@primitive
def layer_norm(x: Any, weight: Any, bias: Any, *, eps: float) -> tuple[Any, Any, Any]:
    """x (..., C), weight (C,)|None, bias (C,)|None -> out (..., C), mean (..., 1), rstd (..., 1).

    The variance is biased and taken in a second pass: E[x^2] - E[x]^2 cancels where |mean| >> std.
    """
    dtype, x = x.dtype, wide(x)
    mean = mean_of_rows(x)
    centred = x - mean
    rstd = 1 / namespace(x).sqrt(mean_of_rows(centred * centred) + eps)
    out = centred * rstd
    if weight is not None:
        out = out * wide(weight)
    if bias is not None:
        out = out + wide(bias)
    return narrow(out, dtype), mean, rstd


@primitive
def layer_norm_backward(
    g: Any, x: Any, weight: Any, mean: Any, rstd: Any, *, spare: bool = False
) -> tuple[Any, Any, Any]:
    """g, x (..., C), weight (C,)|None, mean, rstd (..., 1) -> gradients of x, weight (None without one) and bias."""
    dtype, g = x.dtype, wide(g)
    normal = (wide(x) - mean) * rstd
    scaled = g if weight is None else g * wide(weight)
    gx = rstd * (scaled - mean_of_rows(scaled) - normal * mean_of_rows(scaled * normal))
    gb = sum_over_rows(g)
    if weight is None:
        return narrow(gx, dtype), None, narrow(gb, dtype)
    return narrow(gx, dtype), narrow(sum_over_rows(g * normal), weight.dtype), narrow(gb, weight.dtype)


@primitive
def rms_norm(x: Any, weight: Any, *, eps: float) -> tuple[Any, Any]:
    """x (..., C), weight (C,)|None -> out (..., C), rstd (..., 1) = 1 / sqrt(mean(x^2) + eps)."""
    dtype, x = x.dtype, wide(x)
    rstd = 1 / namespace(x).sqrt(mean_of_rows(x * x) + eps)
    out = x * rstd
    if weight is not None:
        out = out * wide(weight)
    return narrow(out, dtype), rstd


@primitive
def rms_norm_backward(g: Any, x: Any, weight: Any, rstd: Any, *, spare: bool = False) -> tuple[Any, Any]:
    """g, x (..., C), weight (C,)|None, rstd (..., 1) -> gradients of x and weight (None without one)."""
    dtype, g = x.dtype, wide(g)
    normal = wide(x) * rstd
    scaled = g if weight is None else g * wide(weight)
    gx = narrow(rstd * (scaled - normal * mean_of_rows(scaled * normal)), dtype)
    return gx, None if weight is None else narrow(sum_over_rows(g * normal), weight.dtype)
