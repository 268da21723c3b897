"""Ops that move values and change none."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from weft.autograd import op
from weft.backends.array import namespace


def resolve_shape(shape: Any, size: int) -> tuple[int, ...]:
    """`shape` with its one -1 worked out for `size` values."""
    shape = (shape,) if isinstance(shape, int) else tuple([int(n) for n in shape])
    if -1 in shape:
        rest = math.prod([n for n in shape if n != -1])
        if shape.count(-1) > 1 or rest == 0 or size % rest:
            raise ValueError(f"reshape: expected a shape for {size} values, got {shape}")
        shape = tuple([size // rest if n == -1 else n for n in shape])
    return shape


def positional(body: Any, *names: str) -> Any:
    """An op of one array whose parameters may also be passed by position, as the standard allows."""
    recorded = op(body)

    def function(x: Any, *args: Any, **params: Any) -> Any:
        if args:
            params.update(zip(names, args, strict=False))
        return recorded(x, **params)

    function.__name__ = function.__qualname__ = body.__name__
    function.__doc__ = body.__doc__
    function.body = body  # type: ignore[attr-defined]
    return function


def reshape_body(x, *, shape):
    """The same values in C order under another shape; one length may be -1.

    >>> import weft
    >>> weft.reshape(weft.arange(6), (2, -1)).shape
    (2, 3)
    """
    old = x.shape
    shape = resolve_shape(shape, x.size)
    if math.prod(shape) != x.size:
        raise ValueError(f"reshape: expected a shape for {x.size} values {old}, got {shape}")
    return namespace(x).reshape(x, shape), (lambda g: namespace(g).reshape(g, old),)


def permute_dims_body(x, *, axes):
    """x with its axes in the order `axes`."""
    inverse = [0] * len(axes)
    for i, a in enumerate(axes):
        inverse[a] = i
    back = tuple(inverse)
    return namespace(x).permute_dims(x, tuple(axes)), (lambda g: namespace(g).permute_dims(g, back),)


def swapaxes_body(x, *, axis1, axis2):
    """x with two axes exchanged."""
    return namespace(x).swapaxes(x, axis1, axis2), (lambda g: namespace(g).swapaxes(g, axis1, axis2),)


def moveaxis_body(x, *, source, destination):
    """x with axis `source` moved to `destination`."""
    return namespace(x).moveaxis(x, source, destination), (lambda g: namespace(g).moveaxis(g, destination, source),)


def expand_dims_body(x, *, axis=0):
    """x with a new axis of length 1 at `axis`."""
    old = x.shape
    return namespace(x).expand_dims(x, axis=axis), (lambda g: namespace(g).reshape(g, old),)


def squeeze_body(x, *, axis):
    """x without the axes `axis`, each of length 1."""
    old = x.shape
    return namespace(x).squeeze(x, axis=axis), (lambda g: namespace(g).reshape(g, old),)


def broadcast_to_body(x, *, shape):
    """x repeated to `shape` by broadcasting; the memory is shared."""
    return namespace(x).broadcast_to(x, shape), (lambda g: g,)  # the engine sums back


def flip_body(x, *, axis=None):
    """x with the order along `axis` reversed (all axes for None)."""
    return namespace(x).flip(x, axis=axis), (lambda g: namespace(g).flip(g, axis=axis),)


def roll_body(x, *, shift, axis=None):
    """x shifted along `axis`, what leaves at one end coming in at the other."""
    back = tuple([-s for s in shift]) if isinstance(shift, tuple) else -shift
    return namespace(x).roll(x, shift, axis=axis), (lambda g: namespace(g).roll(g, back, axis=axis),)


def tile_body(x, *, repetitions):
    """x laid `repetitions[i]` times along axis i."""
    repetitions = tuple(repetitions)
    lead = max(len(repetitions) - x.ndim, 0)
    shape = (1,) * lead + tuple(x.shape)
    counts = (1,) * (len(shape) - len(repetitions)) + repetitions
    old = x.shape

    def vjp(g):
        xp = namespace(g)
        split = xp.reshape(g, tuple([n for pair in zip(counts, shape, strict=True) for n in pair]))
        return xp.reshape(xp.sum(split, axis=tuple(range(0, 2 * len(shape), 2))), old)

    return namespace(x).tile(x, repetitions), (vjp,)


def repeat_body(x, *, repeats, axis=None):
    """Each value along `axis` repeated `repeats` times (an int)."""
    if not isinstance(repeats, int):
        raise TypeError(f"repeat: expected repeats as an int, got {type(repeats).__name__}")
    old = x.shape
    where = None if axis is None else axis % x.ndim

    def vjp(g):
        xp = namespace(g)
        if where is None:
            return xp.reshape(xp.sum(xp.reshape(g, (-1, repeats)), axis=1), old)
        return xp.sum(xp.reshape(g, (*old[: where + 1], repeats, *old[where + 1 :])), axis=where + 1)

    return namespace(x).repeat(x, repeats, axis=axis), (vjp,)


def pad_body(x, *, widths, value=0.0):
    """x with `widths[i] = (before, after)` entries of `value` around axis i."""
    widths = tuple([tuple(w) for w in widths])
    if len(widths) != x.ndim:
        raise ValueError(f"pad: expected {x.ndim} pairs of widths for shape {x.shape}, got {len(widths)}")
    inside = tuple([slice(b, b + n) for (b, _), n in zip(widths, x.shape, strict=True)])
    return namespace(x).pad(x, widths, value=value), (lambda g: g[inside],)


def triangle(name: str, doc: str) -> Any:
    def body(x, *, k=0):
        return getattr(namespace(x), name)(x, k=k), (lambda g: getattr(namespace(g), name)(g, k=k),)

    body.__name__ = body.__qualname__ = name
    body.__doc__ = doc
    return positional(body, "k")


def made(body: Any, *names: str) -> Any:
    body.__name__ = body.__qualname__ = body.__name__.removesuffix("_body")
    return positional(body, *names)


reshape = made(reshape_body, "shape")
permute_dims = made(permute_dims_body, "axes")
swapaxes = made(swapaxes_body, "axis1", "axis2")
moveaxis = made(moveaxis_body, "source", "destination")
expand_dims = made(expand_dims_body, "axis")
squeeze = made(squeeze_body, "axis")
broadcast_to = made(broadcast_to_body, "shape")
flip = made(flip_body, "axis")
roll = made(roll_body, "shift", "axis")
tile = made(tile_body, "repetitions")
repeat = made(repeat_body, "repeats", "axis")
pad = made(pad_body, "widths")
tril = triangle("tril", "The lower triangle of the last two axes, zeros above diagonal k.")
triu = triangle("triu", "The upper triangle of the last two axes, zeros below diagonal k.")


def matrix_transpose(x: Any) -> Any:
    """x with its last two axes exchanged."""
    if x.ndim < 2:
        raise ValueError(f"matrix_transpose: expected at least two axes, got shape {x.shape}")
    return swapaxes(x, -1, -2)


@op
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


@op
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


def concat(arrays: Any, /, *, axis: int | None = 0) -> Any:
    """Arrays joined along an existing axis; all other lengths must agree.

    >>> import weft
    >>> weft.concat([weft.ones((2, 3)), weft.zeros((1, 3))]).shape
    (3, 3)
    """
    arrays = same_dtype("concat", arrays)
    first = arrays[0].shape
    if axis is not None:
        for a in arrays[1:]:
            i = axis % len(first)
            if a.ndim != len(first) or any(
                p != q for j, (p, q) in enumerate(zip(first, a.shape, strict=True)) if j != i
            ):
                raise ValueError(f"concat: expected shapes equal but for axis {axis}, got {first} and {a.shape}")
    return concat_arrays(*arrays, axis=axis)


def stack(arrays: Any, /, *, axis: int = 0) -> Any:
    """Arrays of one shape joined along a new axis."""
    arrays = same_dtype("stack", arrays)
    for a in arrays[1:]:
        if a.shape != arrays[0].shape:
            raise ValueError(f"stack: expected arrays of one shape, got {arrays[0].shape} and {a.shape}")
    return stack_arrays(*arrays, axis=axis)


def unstack(x: Any, /, *, axis: int = 0) -> tuple[Any, ...]:
    """The slices of x along `axis`, as a tuple."""
    if not x.ndim:
        raise TypeError("unstack: expected at least one axis, got a 0-d Tensor")
    lead = (slice(None),) * (axis % x.ndim)
    return tuple([x[(*lead, i)] for i in range(x.shape[axis])])


def split(x: Any, sizes: Any, /, *, axis: int = 0) -> tuple[Any, ...]:
    """x cut along `axis` into pieces of the given sizes (a list), or of one size (an int; the last may be shorter)."""
    n = x.shape[axis]
    pieces = [min(sizes, n - i) for i in range(0, n, sizes)] if isinstance(sizes, int) else list(sizes)
    if sum(pieces) != n:
        raise ValueError(f"split: expected sizes that add up to {n}, got {pieces}")
    lead = (slice(None),) * (axis % x.ndim)
    out, start = [], 0
    for size in pieces:
        out.append(x[(*lead, slice(start, start + size))])
        start += size
    return tuple(out)
