"""Reductions over axes."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from weft.autograd import Tensor, op, state
from weft.backends.array import is_16_bit, namespace
from weft.ops.complex import adjoint, check_ordered
from weft.ops.cumulative import products_before
from weft.ops.elementwise import astype, cast, floating, sqrt


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


def in_dtype(x: Any, dtype: Any) -> Any:
    """x in `dtype`; None and its own leave it as it is."""
    return x if dtype is None or x.dtype == dtype else cast.body(x, dtype=np.dtype(dtype))[0]


def slope(y: Any, vjp: Any) -> Any:
    """The vjp of a result y: None where y is of integers, which have no gradient."""
    return None if y.dtype.kind in "biu" else (vjp,)


@op
def sum(x, /, *, axis=None, dtype=None, keepdims=False):
    """The sum over `axis` (an int, a tuple, or None for all), of and in `dtype` if one is given.

    Integers and bool add up in 64 bits.

    >>> import weft
    >>> weft.sum(weft.ones((2, 3)), axis=1).numpy()
    array([3., 3.], dtype=float32)
    """
    shape, kept = x.shape, kept_shape(x.shape, axis)

    def vjp(g):
        xp = namespace(g)
        return xp.broadcast_to(xp.reshape(g, kept), shape)

    if dtype is not None:
        y = in_dtype(namespace(x).sum(in_dtype(x, dtype), axis=axis, keepdims=keepdims), dtype)
        return y, slope(y, vjp)
    return namespace(x).sum(x, axis=axis, keepdims=keepdims), (vjp,)


@op
def mean(x, /, *, axis=None, keepdims=False):
    """The mean over `axis`; integers are averaged in float32.

    >>> weft.mean(weft.asarray([[1.0, 3.0], [5.0, 2.0]]), axis=0).numpy()
    array([3. , 2.5], dtype=float32)
    """
    x = floating(x)
    shape, kept, n = x.shape, kept_shape(x.shape, axis), count(x.shape, axis)

    def vjp(g):
        xp = namespace(g)
        return xp.broadcast_to(xp.reshape(g / n, kept), shape)

    return namespace(x).mean(x, axis=axis, keepdims=keepdims), (vjp,)


def extreme(name: str, doc: str) -> Callable[..., Tensor]:
    """max or min: values that tie share the gradient equally."""

    def body(x, /, *, axis=None, keepdims=False):
        check_ordered(name, x)
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
def prod(x, /, *, axis=None, dtype=None, keepdims=False):
    """The product over `axis`, of and in `dtype` if one is given; its gradient is right with zeros too.

    Integers and bool are multiplied in 64 bits.

    >>> weft.prod(weft.asarray([[1.0, 3.0], [5.0, 2.0]]), axis=0).numpy()
    array([5., 6.], dtype=float32)
    """
    x = in_dtype(x, dtype)
    axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    order = [i for i in range(x.ndim) if i not in {a % x.ndim for a in axes}]
    kept = kept_shape(x.shape, axis)

    def vjp(g):
        xp = namespace(g)
        last = [i for i in range(len(kept)) if i not in order]
        moved = xp.permute_dims(x, tuple(order + last))
        lead = tuple([x.shape[i] for i in order])
        flat = xp.reshape(moved, (*lead, math.prod([x.shape[i] for i in last])))  # (..., n)
        wide = in_dtype(flat, np.float32) if is_16_bit(x.dtype) else flat
        turned = products_before(xp.flip(wide, axis=-1), len(lead))
        others = products_before(wide, len(lead)) * xp.flip(turned, axis=-1)
        back = xp.reshape(others, lead + tuple([x.shape[i] for i in last]))
        inverse = [0] * len(kept)
        for i, j in enumerate(order + last):
            inverse[j] = i
        return adjoint(xp.permute_dims(back, tuple(inverse))) * xp.reshape(g, kept)

    y = in_dtype(namespace(x).prod(x, axis=axis, keepdims=keepdims), dtype)
    return y, slope(y, vjp)


def narrowed(out: Any, dtype: Any) -> Any:
    """A float32 result in `dtype`; where `weft.autocast` is on it stays float32, as sums and means do there."""
    return out if state.casting is not None else astype(out, dtype)


def var(x: Any, /, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """The variance over `axis`, divided by count - correction.

    >>> weft.var(weft.asarray([1.0, 3.0]), correction=1).item()
    2.0
    """
    check_ordered("var", x)
    if is_16_bit(x.dtype):  # its sum of squares is soon past float16
        return narrowed(var(astype(x, np.float32), axis=axis, correction=correction, keepdims=keepdims), x.dtype)
    centred = x - mean(x, axis=axis, keepdims=True)
    return sum(centred * centred, axis=axis, keepdims=keepdims) / float(
        builtins.max(count(x.shape, axis) - correction, 0.0)
    )


def std(x: Any, /, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """The standard deviation over `axis`, the root of `var`.

    >>> weft.std(weft.asarray([1.0, 3.0])).item()
    1.0
    """
    if is_16_bit(x.dtype):
        return narrowed(std(astype(x, np.float32), axis=axis, correction=correction, keepdims=keepdims), x.dtype)
    return sqrt(var(x, axis=axis, correction=correction, keepdims=keepdims))


def plain(name: str, doc: str, ordered: bool) -> Callable[..., Tensor]:
    def body(x, /, *, axis=None, keepdims=False):
        if ordered:
            check_ordered(name, x)
        return getattr(namespace(x), name)(x, axis=axis, keepdims=keepdims), None

    body.__name__ = body.__qualname__ = name
    body.__doc__ = doc
    return op(body)


all = plain("all", "Whether all values over `axis` are true.", False)
any = plain("any", "Whether one value over `axis` is true.", False)
argmax = plain("argmax", "The index of the first largest value along `axis` (of the flat array for None).", True)
argmin = plain("argmin", "The index of the first smallest value along `axis` (of the flat array for None).", True)


@op
def count_nonzero(x, /, *, axis=None, keepdims=False):
    """How many values over `axis` are not 0; NaN counts as one that is not.

    >>> weft.count_nonzero(weft.asarray([[0, 1], [2, 3]]), axis=1).numpy()
    array([1, 2])
    """
    xp = namespace(x)
    return xp.sum(x if x.dtype.kind == "b" else xp.not_equal(x, 0), axis=axis, keepdims=keepdims), None
