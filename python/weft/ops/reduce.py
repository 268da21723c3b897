"""Reductions and cumulative sums over axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from weft.autograd import op
from weft.backends.array import device_of, is_16_bit, namespace
from weft.ops.elementwise import astype, floating, sqrt


def kept_shape(shape: tuple[int, ...], axis: Any) -> tuple[int, ...]:
    """`shape` with the reduced axes at length 1."""
    axes = range(len(shape)) if axis is None else (axis,) if isinstance(axis, int) else axis
    reduced = {i % len(shape) for i in axes} if shape else set()
    return tuple([1 if i in reduced else n for i, n in enumerate(shape)])


def count(shape: tuple[int, ...], axis: Any) -> int:
    """How many values go into one result."""
    total = 1
    for n, k in zip(shape, kept_shape(shape, axis), strict=True):
        if k != n:
            total *= n
    return total


@op
def sum(x, *, axis=None, keepdims=False):
    """The sum over `axis` (an int, a tuple, or None for all).

    >>> import weft
    >>> weft.sum(weft.ones((2, 3)), axis=1).numpy()
    array([3., 3.], dtype=float32)
    """
    shape, kept = x.shape, kept_shape(x.shape, axis)

    def vjp(g):
        xp = namespace(g)
        return xp.broadcast_to(xp.reshape(g, kept), shape)

    return namespace(x).sum(x, axis=axis, keepdims=keepdims), (vjp,)


@op
def mean(x, *, axis=None, keepdims=False):
    """The mean over `axis`; integers are averaged in float32."""
    x = floating(x)
    shape, kept, n = x.shape, kept_shape(x.shape, axis), count(x.shape, axis)

    def vjp(g):
        xp = namespace(g)
        return xp.broadcast_to(xp.reshape(g / n, kept), shape)

    return namespace(x).mean(x, axis=axis, keepdims=keepdims), (vjp,)


def extreme(name: str, doc: str) -> Any:
    """max or min: values that tie share the gradient equally."""

    def body(x, *, axis=None, keepdims=False):
        xp = namespace(x)
        kept = kept_shape(x.shape, axis)
        y = getattr(xp, name)(x, axis=axis, keepdims=keepdims)

        def vjp(g):
            xp = namespace(g)
            tied = xp.astype(xp.equal(x, xp.reshape(y, kept)), g.dtype)
            return tied * xp.reshape(g, kept) / xp.sum(tied, axis=axis, keepdims=True)

        return y, (vjp,)

    body.__name__ = body.__qualname__ = name
    body.__doc__ = doc
    return op(body)


max = extreme("max", "The largest value over `axis`; NaN wins; ties share the gradient.")
min = extreme("min", "The smallest value over `axis`; NaN wins; ties share the gradient.")


@op
def prod(x, *, axis=None, keepdims=False):
    """The product over `axis`; its gradient is right with zeros too."""
    axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    order = [i for i in range(x.ndim) if i not in {a % x.ndim for a in axes}]
    kept = kept_shape(x.shape, axis)

    def vjp(g):
        xp = namespace(g)
        last = [i for i in range(len(kept)) if i not in order]
        moved = xp.permute_dims(x, tuple(order + last))
        lead = tuple([x.shape[i] for i in order])
        flat = xp.reshape(moved, (*lead, -1))  # (..., n)
        n = flat.shape[-1]
        own = xp.astype(xp.eye(n, device=device_of(x)), bool)
        spread = xp.where(own, xp.ones_like(flat[..., None]), flat[..., None, :])  # (..., n, n)
        others = xp.prod(spread, axis=-1)  # (..., n)
        back = xp.reshape(others, lead + tuple([x.shape[i] for i in last]))
        inverse = [0] * len(kept)
        for i, j in enumerate(order + last):
            inverse[j] = i
        return xp.permute_dims(back, tuple(inverse)) * xp.reshape(g, kept)

    return namespace(x).prod(x, axis=axis, keepdims=keepdims), (vjp,)


def var(x: Any, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Any:
    """The variance over `axis`, divided by count - correction."""
    if is_16_bit(x.dtype):  # its sum of squares is soon past float16
        return var(astype(x, dtype=np.float32), axis=axis, correction=correction, keepdims=keepdims).astype(x.dtype)
    centred = x - mean(x, axis=axis, keepdims=True)
    return sum(centred * centred, axis=axis, keepdims=keepdims) / (count(x.shape, axis) - correction)


def std(x: Any, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Any:
    """The standard deviation over `axis`, the root of `var`."""
    if is_16_bit(x.dtype):
        return std(astype(x, dtype=np.float32), axis=axis, correction=correction, keepdims=keepdims).astype(x.dtype)
    return sqrt(var(x, axis=axis, correction=correction, keepdims=keepdims))


@op
def cumulative_sum(x, *, axis=-1):
    """Running sums along `axis`."""

    def vjp(g):
        xp = namespace(g)
        return xp.flip(xp.cumulative_sum(xp.flip(g, axis=axis), axis=axis), axis=axis)

    return namespace(x).cumulative_sum(x, axis=axis), (vjp,)


def plain(name: str, doc: str) -> Any:
    def body(x, *, axis=None, keepdims=False):
        return getattr(namespace(x), name)(x, axis=axis, keepdims=keepdims), None

    body.__name__ = body.__qualname__ = name
    body.__doc__ = doc
    return op(body)


all = plain("all", "Whether all values over `axis` are true.")
any = plain("any", "Whether one value over `axis` is true.")
argmax = plain("argmax", "The index of the first largest value along `axis` (of the flat array for None).")
argmin = plain("argmin", "The index of the first smallest value along `axis` (of the flat array for None).")
