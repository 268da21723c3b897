"""Softmax and its logarithm along one axis, with their gradients."""

from __future__ import annotations

from typing import Any

from weft.backends.array import namespace
from weft.backends.reference.precision import computed_wide
from weft.backends.registry import primitive


@primitive
@computed_wide
def softmax(x: Any, *, axis: int) -> Any:
    """x -> same shape; rows along `axis` are positive and sum to 1."""
    xp = namespace(x)
    if 0 in x.shape:
        return xp.zeros_like(x)
    e = xp.exp(x - xp.max(x, axis=axis, keepdims=True))
    return e / xp.sum(e, axis=axis, keepdims=True)


@primitive
@computed_wide
def softmax_backward(g: Any, y: Any, *, axis: int) -> Any:
    """g, y = softmax(x) -> gradient of x."""
    return y * (g - namespace(g).sum(g * y, axis=axis, keepdims=True))


@primitive
@computed_wide
def log_softmax(x: Any, *, axis: int) -> Any:
    """x -> same shape; the exponentials of rows along `axis` sum to 1."""
    xp = namespace(x)
    if 0 in x.shape:
        return xp.zeros_like(x)
    shifted = x - xp.max(x, axis=axis, keepdims=True)
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=axis, keepdims=True))


@primitive
@computed_wide
def log_softmax_backward(g: Any, y: Any, *, axis: int) -> Any:
    """g, y = log_softmax(x) -> gradient of x."""
    xp = namespace(g)
    return g - xp.exp(y) * xp.sum(g, axis=axis, keepdims=True)
