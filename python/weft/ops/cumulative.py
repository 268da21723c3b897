"""Running sums and products, and the differences that undo the former."""

from __future__ import annotations

from typing import Any

from weft.autograd import Tensor, op
from weft.backends.array import namespace
from weft.ops.complex import adjoint
from weft.ops.elementwise import astype
from weft.ops.shape import concat, normal_axes, pad


def along(axis: int, start: int | None, stop: int | None = None) -> tuple[Any, ...]:
    """The index of a part of an axis, counted from 0."""
    return (*(slice(None),) * axis, slice(start, stop))


@op
def running_sum(x, *, axis):
    def vjp(g):
        xp = namespace(g)
        return xp.flip(xp.cumulative_sum(xp.flip(g, axis=axis), axis=axis), axis=axis)

    return namespace(x).cumulative_sum(x, axis=axis), (vjp,)


running_sum.body.__name__ = "cumulative_sum"


@op
def running_product(x, *, axis):
    def vjp(g):
        return product_gradient(g, x, axis)

    return namespace(x).cumulative_prod(x, axis=axis), (vjp,)


running_product.body.__name__ = "cumulative_prod"


def products_before(x: Any, axis: int) -> Any:
    """For each position along `axis`, counted from 0, the product of all values before it: of 2, 4, 8 ... of them."""
    xp, n, d = namespace(x), x.shape[axis], 1
    out = xp.concat((xp.ones_like(x[along(axis, 0, 1)]), x[along(axis, 0, max(n - 1, 0))]), axis=axis)
    while d < n:
        out = xp.concat((out[along(axis, 0, d)], out[along(axis, d)] * out[along(axis, 0, n - d)]), axis=axis)
        d *= 2
    return out


def product_gradient(g: Any, x: Any, axis: int) -> Any:
    """The gradient of running products, right with zeros, at all orders, because nothing is divided.

    It is the product of all values before i, times h[i] = g[i] + x[i + 1] h[i + 1]. Those sums come from pairs of
    intervals whose lengths double: h[i] of two is b[i] + a[i] b[i + d], a[i] the product of the d values after i.
    """
    xp, x, n = namespace(g), adjoint(x), x.shape[axis]
    if n < 2:
        return g
    a, b, d = x[along(axis, 1)], g, 1
    while d < n:
        head = b[along(axis, 0, n - d)] + a * b[along(axis, d)]
        b = xp.concat((head, b[along(axis, n - d)]), axis=axis)
        a = a[along(axis, 0, max(n - 2 * d, 0))] * a[along(axis, min(d, n - d))]
        d *= 2
    return products_before(x, axis) * b


def cumulative(name: str, scan: Any, initial: int, x: Any, axis: Any, dtype: Any, include_initial: bool) -> Any:
    if axis is None:
        if x.ndim != 1:
            raise ValueError(f"{name}: expected axis= for an array of shape {x.shape}")
        axis = 0
    (axis,) = normal_axes(name, axis, x.ndim)
    if dtype is not None and x.dtype != dtype:
        x = astype(x, dtype)
    y = scan(x, axis=axis)
    if dtype is not None and y.dtype != dtype:  # small integers add up in 64 bits
        y = astype(y, dtype)
    if not include_initial:
        return y
    return pad(y, tuple([(int(i == axis), 0) for i in range(x.ndim)]), value=initial)


def cumulative_sum(x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Tensor:
    """Running sums along `axis`, which a vector need not name; integers and bool add up in 64 bits.

    dtype: of the sums. include_initial: whether a 0 comes first.  ValueError without an axis for more than one.

    >>> import weft
    >>> weft.cumulative_sum(weft.asarray([1, 2, 3]), include_initial=True).numpy()
    array([0, 1, 3, 6])
    """
    return cumulative("cumulative_sum", running_sum, 0, x, axis, dtype, include_initial)


def cumulative_prod(x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Tensor:
    """Running products along `axis`, which a vector need not name; integers and bool are multiplied in 64 bits.

    dtype: of the products. include_initial: whether a 1 comes first.  ValueError without an axis for more than one.

    >>> import weft
    >>> weft.cumulative_prod(weft.asarray([1, 2, 3, 4])).numpy()
    array([ 1,  2,  6, 24])
    """
    return cumulative("cumulative_prod", running_product, 1, x, axis, dtype, include_initial)


def diff(x: Any, /, *, axis: int = -1, n: int = 1, prepend: Any = None, append: Any = None) -> Tensor:
    """Differences of neighbours along `axis`, taken `n` times.

    prepend, append: arrays that come before and after x along `axis` first.  ValueError for n below 0.

    >>> import weft
    >>> weft.diff(weft.asarray([1, 4, 9, 16]), n=2).numpy()
    array([2, 2])
    """
    if n < 0:
        raise ValueError(f"diff: expected n of 0 or more, got {n}")
    if not x.ndim:
        raise ValueError("diff: expected at least one axis, got a 0-d Tensor")
    if x.dtype.kind == "b":
        raise TypeError("diff: expected numbers, got bool")
    (axis,) = normal_axes("diff", axis, x.ndim)
    if n and not (prepend is None and append is None):
        x = concat([part for part in (prepend, x, append) if part is not None], axis=axis)
    for _ in range(n):
        x = x[along(axis, 1)] - x[along(axis, 0, -1)]
    return x
