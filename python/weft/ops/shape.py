"""Ops that move values and change none."""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from weft.autograd import Tensor, op
from weft.backends import writes
from weft.backends.array import namespace
from weft.backends.device import on_host


def resolve_shape(shape: Any, size: int) -> tuple[int, ...]:
    """`shape` with its one -1 worked out for `size` values."""
    shape = (shape,) if isinstance(shape, int) else tuple([int(n) for n in shape])
    if -1 in shape:
        rest = math.prod([n for n in shape if n != -1])
        if shape.count(-1) > 1 or rest == 0 or size % rest:
            raise ValueError(f"reshape: expected a shape for {size} values, got {shape}")
        shape = tuple([size // rest if n == -1 else n for n in shape])
    return shape


def parametric(body: Any) -> Callable[..., Tensor]:
    """An op whose parameters may be given by position too: those that stand between `/` and `*` in the body."""
    recorded = op(body)
    code = body.__code__
    arrays, last = code.co_posonlyargcount, code.co_argcount
    names = code.co_varnames[arrays:last]

    @functools.wraps(body)
    def function(*inputs: Any, **params: Any) -> Any:
        if len(inputs) > arrays:
            if len(inputs) > last:
                raise TypeError(f"{body.__name__}: expected at most {last} positional arguments, got {len(inputs)}")
            for name, value in zip(names, inputs[arrays:]):
                if name in params:
                    raise TypeError(f"{body.__name__}: expected one value for {name!r}, got two")
                params[name] = value
            inputs = inputs[:arrays]
        return recorded(*inputs, **params)

    function.body = body  # type: ignore[attr-defined]
    return function


@parametric
def reshape(x, /, shape, *, copy=None):
    """The same values in C order under another shape; one length may be -1.

    copy: True for memory of its own, False for a ValueError where the values would have to move.

    >>> import weft
    >>> weft.reshape(weft.arange(6), (2, -1)).shape
    (2, 3)
    """
    old = x.shape
    shape = resolve_shape(shape, x.size)
    if math.prod(shape) != x.size:
        raise ValueError(f"reshape: expected a shape for {x.size} values {old}, got {shape}")
    xp = namespace(x)
    out = xp.reshape(x, shape)
    if copy is not None and type(x) is not Tensor and x.size:
        shared = writes.owner(out) is writes.owner(x)
        if copy is False and not shared:
            raise ValueError(f"reshape: expected copy allowed to go from {old} to {shape}, got copy=False")
        out = xp.astype(out, out.dtype, copy=True) if copy and shared else out
    return out, (lambda g: namespace(g).reshape(g, old),)


@parametric
def permute_dims(x, /, axes):
    """x with its axes in the order `axes`.  ValueError unless each is named once.

    >>> weft.permute_dims(weft.ones((2, 3, 4)), (2, 0, 1)).shape
    (4, 2, 3)
    """
    axes = normal_axes("permute_dims", axes, x.ndim)
    if len(axes) != x.ndim:
        raise ValueError(f"permute_dims: expected every axis of shape {x.shape}, got axes {axes}")
    inverse = [0] * len(axes)
    for i, a in enumerate(axes):
        inverse[a] = i
    back = tuple(inverse)
    return namespace(x).permute_dims(x, axes), (lambda g: namespace(g).permute_dims(g, back),)


@parametric
def swapaxes(x, /, axis1, axis2):
    """x with two axes exchanged.

    >>> weft.swapaxes(weft.ones((2, 3, 4)), 0, 2).shape
    (4, 3, 2)
    """
    return namespace(x).swapaxes(x, axis1, axis2), (lambda g: namespace(g).swapaxes(g, axis1, axis2),)


@parametric
def moveaxis(x, /, source, destination):
    """x with axis `source` moved to `destination` (ints, or tuples of as many).

    >>> weft.moveaxis(weft.ones((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    source, destination = [normal_axes("moveaxis", axes, x.ndim) for axes in (source, destination)]
    if len(source) != len(destination):
        raise ValueError(f"moveaxis: expected as many destinations as sources, got {destination} and {source}")
    return namespace(x).moveaxis(x, source, destination), (lambda g: namespace(g).moveaxis(g, destination, source),)


@parametric
def expand_dims(x, /, axis=0):
    """x with new axes of length 1 at `axis` (an int or a tuple, counted in the result).

    >>> weft.expand_dims(weft.ones((2, 3)), axis=1).shape
    (2, 1, 3)
    """
    old = x.shape
    return namespace(x).expand_dims(x, axis=axis), (lambda g: namespace(g).reshape(g, old),)


@parametric
def squeeze(x, /, axis):
    """x without the axes `axis` (an int or a tuple), each of length 1.  ValueError for a longer one.

    >>> weft.squeeze(weft.ones((1, 3, 1)), axis=0).shape
    (3, 1)
    """
    old = x.shape
    return namespace(x).squeeze(x, axis=axis), (lambda g: namespace(g).reshape(g, old),)


@parametric
def broadcast_to(x, /, shape):
    """x repeated to `shape` by broadcasting; the memory is shared.

    >>> weft.broadcast_to(weft.asarray([1.0, 2.0]), (2, 2)).numpy()
    array([[1., 2.],
           [1., 2.]], dtype=float32)
    """
    return namespace(x).broadcast_to(x, shape), (lambda g: g,)  # the engine sums back


@parametric
def flip(x, /, *, axis=None):
    """x with the order along `axis` (an int or a tuple) reversed; all axes for None.

    >>> weft.flip(weft.asarray([1, 2, 3])).numpy()
    array([3, 2, 1])
    """
    return namespace(x).flip(x, axis=axis), (lambda g: namespace(g).flip(g, axis=axis),)


@parametric
def roll(x, /, shift, *, axis=None):
    """x shifted along `axis`, what leaves at one end coming in at the other; along the flat x for None.

    >>> weft.roll(weft.asarray([1, 2, 3]), 1).numpy()
    array([3, 1, 2])
    """
    shifts = shift if isinstance(shift, tuple) else (shift,)
    if not all([isinstance(s, (int, np.integer)) for s in shifts]):
        raise TypeError(f"roll: expected shift as an int or a tuple of them, got {shift!r}")
    back = tuple([-s for s in shift]) if isinstance(shift, tuple) else -shift
    return namespace(x).roll(x, shift, axis=axis), (lambda g: namespace(g).roll(g, back, axis=axis),)


@parametric
def tile(x, /, repetitions):
    """x laid `repetitions[i]` times along axis i.

    >>> weft.tile(weft.asarray([1, 2]), (2,)).numpy()
    array([1, 2, 1, 2])
    """
    repetitions = (repetitions,) if isinstance(repetitions, int) else tuple(repetitions)
    lead = max(len(repetitions) - x.ndim, 0)
    shape = (1,) * lead + tuple(x.shape)
    counts = (1,) * (len(shape) - len(repetitions)) + repetitions
    old = x.shape

    def vjp(g):
        xp = namespace(g)
        split = xp.reshape(g, tuple([n for pair in zip(counts, shape, strict=True) for n in pair]))
        return xp.reshape(xp.sum(split, axis=tuple(range(0, 2 * len(shape), 2))), old)

    return namespace(x).tile(x, repetitions), (vjp,)


@op(name="repeat")
def repeat_each(x, *, repeats, axis):
    where, old = axis % x.ndim, x.shape

    def vjp(g):
        xp = namespace(g)
        return xp.sum(xp.reshape(g, (*old[: where + 1], repeats, *old[where + 1 :])), axis=where + 1)

    return namespace(x).repeat(x, repeats, axis=axis), (vjp,)


def repeat(x: Any, /, repeats: Any, *, axis: int | None = None) -> Tensor:
    """Each value along `axis` repeated `repeats` times, along the flat x for None.

    repeats: an int, or integers, one for each position along the axis.

    >>> import weft
    >>> weft.repeat(weft.asarray([1.0, 2.0]), weft.asarray([3, 1])).numpy()
    array([1., 1., 1., 2.], dtype=float32)
    """
    if axis is None:
        x, axis = reshape(x, (x.size,)), 0
    if isinstance(repeats, int):
        if repeats < 0:
            raise ValueError(f"repeat: expected repeats of 0 or more, got {repeats}")
        return repeat_each(x, repeats=repeats, axis=axis)
    if not hasattr(repeats, "dtype"):
        raise TypeError(f"repeat: expected repeats as an int or an array of them, got {type(repeats).__name__}")
    counts = on_host(repeats.data if isinstance(repeats, Tensor) else repeats)
    n = x.shape[axis]
    if counts.dtype.kind not in "iu":
        raise TypeError(f"repeat: expected repeats as integers, got {counts.dtype}")
    if counts.shape not in ((), (1,), (n,)):
        raise ValueError(f"repeat: expected repeats of shape ({n},) for axis {axis} of {x.shape}, got {counts.shape}")
    if counts.size and counts.min() < 0:
        raise ValueError(f"repeat: expected repeats of 0 or more, got {counts.min()}")
    if counts.size and counts.max() > sys.maxsize:
        raise ValueError(f"repeat: expected repeats of at most {sys.maxsize}, got {counts.max()}")
    from weft.ops.index import take

    return take(x, np.repeat(np.arange(n), counts.astype(np.int64)), axis=axis)  # NumPy takes no uint64


@parametric
def pad(x, /, widths, *, value=0.0):
    """x with `widths[i] = (before, after)` entries of `value` around axis i.

    >>> weft.pad(weft.asarray([1, 2]), ((1, 2),)).numpy()
    array([0, 1, 2, 0, 0])
    """
    widths = tuple([tuple(w) for w in widths])
    if len(widths) != x.ndim:
        raise ValueError(f"pad: expected {x.ndim} pairs of widths for shape {x.shape}, got {len(widths)}")
    inside = tuple([slice(b, b + n) for (b, _), n in zip(widths, x.shape, strict=True)])
    return namespace(x).pad(x, widths, value=value), (lambda g: g[inside],)


def triangle(name: str, doc: str) -> Callable[..., Tensor]:
    def body(x, /, *, k=0):
        if x.ndim < 2:
            raise ValueError(f"{name}: expected at least two axes, got shape {x.shape}")
        return getattr(namespace(x), name)(x, k=k), (lambda g: getattr(namespace(g), name)(g, k=k),)

    body.__name__ = body.__qualname__ = name
    body.__doc__ = doc
    return op(body)


tril = triangle("tril", "The lower triangle of the last two axes, zeros above diagonal k.")
triu = triangle("triu", "The upper triangle of the last two axes, zeros below diagonal k.")


def normal_axes(name: str, axes: Any, rank: int) -> tuple[int, ...]:
    """Axes as numbers from 0, each named once; IndexError, ValueError otherwise."""
    axes = (axes,) if isinstance(axes, int) else tuple(axes)
    for a in axes:
        if not -rank <= a < rank:
            raise IndexError(f"{name}: expected axes of an array of {rank}, got {a}")
    found = tuple([a % rank for a in axes])
    if len(set(found)) != len(found):
        raise ValueError(f"{name}: expected each axis once, got {axes}")
    return found


def broadcast_arrays(*arrays: Any) -> tuple[Any, ...]:
    """The arrays, all broadcast to the shape that they broadcast to together; their memory is shared.

    >>> import weft
    >>> [x.shape for x in weft.broadcast_arrays(weft.ones((2, 1)), weft.ones((3,)))]
    [(2, 3), (2, 3)]
    """
    try:
        shape = np.broadcast_shapes(*[x.shape for x in arrays])
    except ValueError:
        shapes = ", ".join([str(x.shape) for x in arrays])
        raise ValueError(f"broadcast_arrays: expected shapes that broadcast together, got {shapes}") from None
    return tuple([broadcast_to(x, shape) for x in arrays])


def matrix_transpose(x: Any, /) -> Tensor:
    """x with its last two axes exchanged.

    >>> weft.matrix_transpose(weft.asarray([[1, 2], [3, 4]])).numpy()
    array([[1, 3],
           [2, 4]])
    """
    if x.ndim < 2:
        raise ValueError(f"matrix_transpose: expected at least two axes, got shape {x.shape}")
    return swapaxes(x, -1, -2)


@op(name="concat")
def concat_arrays(*arrays, axis):
    xp = namespace(*arrays)
    if axis is None:
        arrays = tuple([xp.reshape(a, (-1,)) for a in arrays])
        axis = 0
    axis %= arrays[0].ndim
    ends = np.cumsum([a.shape[axis] for a in arrays]).tolist()
    shapes = [a.shape for a in arrays]
    lead = (slice(None),) * axis

    def vjp(g):
        parts = [g[(*lead, slice(end - s[axis], end))] for end, s in zip(ends, shapes, strict=True)]
        return tuple(parts)

    return xp.concat(arrays, axis=axis), vjp


@op(name="stack")
def stack_arrays(*arrays, axis):
    lead = (slice(None),) * (axis % (arrays[0].ndim + 1))
    n = len(arrays)
    return namespace(*arrays).stack(arrays, axis=axis), lambda g: tuple([g[(*lead, i)] for i in range(n)])


def same_dtype(name: str, arrays: Any) -> list[Any]:
    from weft.ops.elementwise import astype, promoted

    arrays = list(arrays)
    if not arrays:
        raise ValueError(f"{name}: expected at least one array, got none")
    dtype = arrays[0].dtype
    for a in arrays[1:]:
        dtype = promoted(dtype, a.dtype)
    return [a if a.dtype == dtype else astype(a, dtype=dtype) for a in arrays]


def concat(arrays: Any, /, *, axis: int | None = 0) -> Tensor:
    """Arrays joined along an existing axis; all other lengths must agree.

    >>> import weft
    >>> weft.concat([weft.ones((2, 3)), weft.zeros((1, 3))]).shape
    (3, 3)
    """
    arrays = same_dtype("concat", arrays)
    first = arrays[0].shape
    if axis is not None:
        (i,) = normal_axes("concat", axis, len(first))
        for a in arrays[1:]:
            if a.ndim != len(first) or any(
                p != q for j, (p, q) in enumerate(zip(first, a.shape, strict=True)) if j != i
            ):
                raise ValueError(f"concat: expected shapes equal but for axis {axis}, got {first} and {a.shape}")
    return concat_arrays(*arrays, axis=axis)


def stack(arrays: Any, /, *, axis: int = 0) -> Tensor:
    """Arrays of one shape joined along a new axis.

    >>> weft.stack([weft.asarray([1, 2]), weft.asarray([3, 4])], axis=1).numpy()
    array([[1, 3],
           [2, 4]])
    """
    arrays = same_dtype("stack", arrays)
    for a in arrays[1:]:
        if a.shape != arrays[0].shape:
            raise ValueError(f"stack: expected arrays of one shape, got {arrays[0].shape} and {a.shape}")
    normal_axes("stack", axis, arrays[0].ndim + 1)
    return stack_arrays(*arrays, axis=axis)


def unstack(x: Any, /, *, axis: int = 0) -> tuple[Any, ...]:
    """The slices of x along `axis`, as a tuple.

    >>> [x.tolist() for x in weft.unstack(weft.asarray([[1, 2], [3, 4]]))]
    [[1, 2], [3, 4]]
    """
    if not x.ndim:
        raise TypeError("unstack: expected at least one axis, got a 0-d Tensor")
    lead = (slice(None),) * normal_axes("unstack", axis, x.ndim)[0]
    return tuple([x[(*lead, i)] for i in range(x.shape[axis])])


def split(x: Any, sizes: Any, /, *, axis: int = 0) -> tuple[Any, ...]:
    """x cut along `axis` into pieces of the given sizes (a list), or of one size (an int; the last may be shorter).

    >>> [part.shape for part in weft.split(weft.ones((5, 2)), 2)]
    [(2, 2), (2, 2), (1, 2)]
    """
    lead = (slice(None),) * normal_axes("split", axis, x.ndim)[0]
    n = x.shape[axis]
    pieces = [min(sizes, n - i) for i in range(0, n, sizes)] if isinstance(sizes, int) else list(sizes)
    if sum(pieces) != n:
        raise ValueError(f"split: expected sizes that add up to {n}, got {pieces}")
    out, start = [], 0
    for size in pieces:
        out.append(x[(*lead, slice(start, start + size))])
        start += size
    return tuple(out)
