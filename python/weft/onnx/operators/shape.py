"""Shapes: what moves values and changes none, and what says how many there are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import weft
from weft.autograd import Tensor
from weft.onnx.dtypes import dtype_of
from weft.onnx.operators import operator
from weft.onnx.operators.common import axes_of, axis_of, flag, host, ints, number, one_of


def integers(values: Any) -> Tensor:
    """Integers that say how, on the host."""
    return Tensor(np.asarray(values, np.int64))


@operator("Shape")
def shape_of(x: Any) -> Any:
    return integers(x.shape)


@operator("Shape", 15)
def part_of_shape(x: Any, *, start: int = 0, end: int | None = None) -> Any:
    return integers(x.shape[start:end])


@operator("Size")
def size_of(x: Any) -> Any:
    return integers(x.size)


@operator("Reshape", 5)
def reshape_with_zeros(x: Any, shape: Any) -> Any:
    return reshape(x, shape)


@operator("Reshape", 14)
def reshape(x: Any, shape: Any, *, allowzero: int = 0) -> Any:
    """A 0 copies the length of x's axis, unless `allowzero`; one -1 is worked out."""
    wanted = ints(shape)
    if not flag("allowzero", allowzero):
        if any(n == 0 and i >= x.ndim for i, n in enumerate(wanted)):
            raise ValueError(f"Reshape: expected a 0 only where {x.shape} has an axis, got {wanted}")
        wanted = [x.shape[i] if n == 0 else n for i, n in enumerate(wanted)]
        if -1 in wanted and 0 in wanted and wanted.count(-1) == 1 and x.size == 0:
            wanted[wanted.index(-1)] = 0
    return x.reshape(tuple(wanted))


@operator("Transpose")
def transpose(x: Any, *, perm: Sequence[int] | None = None) -> Any:
    order = list(range(x.ndim))[::-1] if perm is None else axes_of(perm, x.ndim)
    if len(order) != x.ndim:
        raise ValueError(f"Transpose: expected perm of {x.ndim} axes, got {order}")
    return weft.permute_dims(x, tuple(order))


def squeezed(x: Any, axes: Sequence[int] | None) -> Any:
    where = [i for i, n in enumerate(x.shape) if n == 1] if axes is None else axes_of(axes, x.ndim)
    if any(x.shape[i] != 1 for i in where):
        raise ValueError(f"Squeeze: expected axes of length 1, got {where} of shape {x.shape}")
    return x.reshape(tuple(n for i, n in enumerate(x.shape) if i not in where))


def unsqueezed(x: Any, axes: Sequence[int]) -> Any:
    where = axes_of(axes, x.ndim + len(axes))
    lengths = iter(x.shape)
    return x.reshape(tuple(1 if i in where else next(lengths) for i in range(x.ndim + len(axes))))


@operator("Squeeze")
def squeeze_by_attribute(x: Any, *, axes: Sequence[int] | None = None) -> Any:
    return squeezed(x, axes)


@operator("Squeeze", 13)
def squeeze(x: Any, axes: Any = None) -> Any:
    return squeezed(x, None if axes is None else ints(axes))


@operator("Unsqueeze")
def unsqueeze_by_attribute(x: Any, *, axes: Sequence[int]) -> Any:
    return unsqueezed(x, axes)


@operator("Unsqueeze", 13)
def unsqueeze(x: Any, axes: Any) -> Any:
    return unsqueezed(x, ints(axes))


@operator("Flatten")
def flatten(x: Any, *, axis: int = 1) -> Any:
    """Two axes: all before `axis`, and all from it on."""
    axis = x.ndim if axis == x.ndim else axis_of(axis, x.ndim)
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


@operator("Expand", 8)
def expand(x: Any, shape: Any) -> Any:
    return weft.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(ints(shape))))


@operator("Tile", 6)
def tile(x: Any, repeats: Any) -> Any:
    counts = ints(repeats)
    if len(counts) != x.ndim or any(n < 0 for n in counts):
        raise ValueError(f"Tile: expected {x.ndim} repeats of at least 0, got {counts}")
    return weft.tile(x, tuple(counts))


@operator("Concat", 4)
def concat(first: Any, *others: Any, axis: int) -> Any:
    if any(x.dtype != first.dtype for x in others):
        raise TypeError(f"Concat: expected inputs of one type, got {[str(x.dtype) for x in (first, *others)]}")
    return weft.concat([first, *others], axis=axis_of(axis, first.ndim))


def pieces(x: Any, axis: int, sizes: Sequence[int] | None, count: int) -> tuple[Any, ...]:
    axis = axis_of(axis, x.ndim)
    n = x.shape[axis]
    if sizes is None:
        each = -(-n // count)
        sizes = [each] * (count - 1) + [n - each * (count - 1)]
        if sizes[-1] < 0:
            raise ValueError(f"Split: expected a length that {count} pieces can share, got {n}")
    if len(sizes) != count or any(size < 0 for size in sizes):
        raise ValueError(f"Split: expected {count} sizes of at least 0, got {list(sizes)}")
    return tuple(weft.split(x, list(sizes), axis=axis))


@operator("Split", 2)
def split_by_attribute(x: Any, *, axis: int = 0, split: Sequence[int] | None = None, context: Any) -> Any:
    return pieces(x, axis, split, context.outputs)


@operator("Split", 13)
def split_by_input(x: Any, split: Any = None, *, axis: int = 0, context: Any) -> Any:
    return pieces(x, axis, None if split is None else ints(split), context.outputs)


@operator("Split", 18)
def split(x: Any, split: Any = None, *, axis: int = 0, num_outputs: int | None = None, context: Any) -> Any:
    if (split is None) == (num_outputs is None):
        raise ValueError("Split: expected either split or num_outputs, got both or neither")
    if num_outputs is not None and num_outputs != context.outputs:
        raise ValueError(f"Split: expected num_outputs of {context.outputs}, got {num_outputs}")
    return pieces(x, axis, None if split is None else ints(split), context.outputs)


def sliced(x: Any, starts: Any, ends: Any, axes: Any, steps: Any) -> Any:
    where = axes_of(range(len(starts)) if axes is None else axes, x.ndim)
    steps = [1] * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(where) == len(steps) or 0 in steps:
        raise ValueError(f"Slice: expected as many starts, ends, axes and steps (not 0), got {starts}, {ends}, {steps}")
    index = [slice(None)] * x.ndim
    for axis, start, end, step in zip(where, starts, ends, steps):
        n = x.shape[axis]
        start, end = (i + n if i < 0 else i for i in (start, end))
        low, high = (0, n) if step > 0 else (-1, n - 1)
        start, end = min(max(start, max(low, 0)), high), min(max(end, low), high if step > 0 else n)
        index[axis] = slice(start, None if end < 0 else end, step)
    return x[tuple(index)]


@operator("Slice")
def slice_by_attribute(x: Any, *, starts: Any, ends: Any, axes: Any = None) -> Any:
    return sliced(x, starts, ends, axes, None)


@operator("Slice", 10)
def slice_(x: Any, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> Any:
    axes, steps = (None if a is None else ints(a) for a in (axes, steps))
    return sliced(x, ints(starts), ints(ends), axes, steps)


def padded(x: Any, pads: Sequence[int], mode: str, value: Any, axes: Sequence[int] | None = None) -> Any:
    """Widths may be negative, which cuts."""
    where = list(range(x.ndim)) if axes is None else axes_of(axes, x.ndim)
    if len(pads) != 2 * len(where):
        raise ValueError(f"Pad: expected {2 * len(where)} widths, got {list(pads)}")
    widths = [(0, 0)] * x.ndim
    for i, axis in enumerate(where):
        widths[axis] = (pads[i], pads[len(where) + i])
    one_of("mode", mode, ("constant", "reflect", "edge", "wrap"))
    if mode == "constant":
        cut = tuple(slice(max(-a, 0), n - max(-b, 0)) for (a, b), n in zip(widths, x.shape))
        x = x[cut] if any(min(pair) < 0 for pair in widths) else x
        return weft.pad(x, tuple((max(a, 0), max(b, 0)) for a, b in widths), value=value)
    for axis, (before, after) in enumerate(widths):
        n = x.shape[axis]
        if (before, after) == (0, 0):
            continue
        if not n:
            raise ValueError(f"Pad: expected values to repeat along axis {axis}, got shape {x.shape}")
        places = np.arange(-before, n + after)
        if mode == "reflect":
            period = max(2 * (n - 1), 1)
            places = np.abs((places + n - 1) % period - (n - 1)) if n > 1 else np.zeros_like(places)
        else:
            places = np.clip(places, 0, n - 1) if mode == "edge" else places % n
        x = weft.take(x, Tensor(places), axis=axis) if x.device == "cpu" else weft.take(x, places, axis=axis)
    return x


@operator("Pad", 2)
def pad_by_attribute(x: Any, *, pads: Sequence[int], mode: str = "constant", value: float = 0.0) -> Any:
    return padded(x, pads, mode, value)


@operator("Pad", 11)
def pad(x: Any, pads: Any, constant_value: Any = None, axes: Any = None, *, mode: str = "constant") -> Any:
    value = number(constant_value) if constant_value is not None else False if x.dtype == np.bool_ else 0
    return padded(x, ints(pads), mode, value, None if axes is None else ints(axes))


def rearranged(x: Any, into: Any, order: Any, shape: Any) -> Any:
    return weft.permute_dims(x.reshape(into), order).reshape(shape)


@operator("DepthToSpace")
def depth_to_space(x: Any, *, blocksize: int, mode: str = "DCR") -> Any:
    one_of("mode", mode, ("DCR", "CRD"))
    n, c, h, w = x.shape
    b = blocksize
    shape = (n, c // b**2, h * b, w * b)
    if mode == "DCR":
        return rearranged(x, (n, b, b, c // b**2, h, w), (0, 3, 4, 1, 5, 2), shape)
    return rearranged(x, (n, c // b**2, b, b, h, w), (0, 1, 4, 2, 5, 3), shape)


@operator("SpaceToDepth")
def space_to_depth(x: Any, *, blocksize: int, mode: str = "DCR") -> Any:
    one_of("mode", mode, ("DCR", "CRD"))
    n, c, h, w = x.shape
    b = blocksize
    order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    return rearranged(x, (n, c, h // b, b, w // b, b), order, (n, c * b**2, h // b, w // b))


# ---- values from nothing


@operator("Constant")
def constant(
    *, value: Any = None, value_float: Any = None, value_floats: Any = None, value_int: Any = None,
    value_ints: Any = None,
) -> Any:  # fmt: skip
    if value is not None:
        return Tensor(value)
    for given, dtype in ((value_float, np.float32), (value_floats, np.float32), (value_int, np.int64),
                         (value_ints, np.int64)):  # fmt: skip
        if given is not None:
            return Tensor(np.asarray(given, dtype))
    raise ValueError("Constant: expected one value, got none")


@operator("ConstantOfShape", 9)
def constant_of_shape(shape: Any, *, value: Any = None) -> Any:
    fill = np.zeros(1, np.float32) if value is None else value
    lengths = tuple(ints(shape))
    if fill.size != 1 or any(n < 0 for n in lengths):
        raise ValueError(f"ConstantOfShape: expected one value and lengths of at least 0, got {fill.shape}, {lengths}")
    return weft.broadcast_to(Tensor(fill.reshape(())), lengths)


@operator("EyeLike", 9)
def eye_like(x: Any, *, dtype: int | None = None, k: int = 0) -> Any:
    rows, columns = x.shape
    return weft.eye(rows, columns, k=k, dtype=x.dtype if dtype is None else dtype_of(dtype), device=x.device)


@operator("Range", 11)
def range_(start: Any, limit: Any, delta: Any) -> Any:
    first, last, step = (host(x).reshape(()) for x in (start, limit, delta))
    if not step:
        raise ValueError("Range: expected a delta other than 0")
    dtype = first.dtype
    wide = np.float64 if dtype.kind not in "iu" else object
    a, b, s = (x.astype(wide).item() for x in (first, last, step))
    count = max(math.ceil((b - a) / s) if dtype.kind not in "iu" else -((a - b) // s), 0)
    return Tensor((a + np.arange(count) * s).astype(dtype))


@operator("Trilu", 14)
def triangle(x: Any, k: Any = None, *, upper: int = 1) -> Any:
    diagonal = 0 if k is None else number(k)
    diagonal = min(max(diagonal, -x.shape[-2]), x.shape[-1])
    keep = (np.triu if flag("upper", upper) else np.tril)(np.ones(x.shape[-2:], bool), diagonal)
    return weft.where(weft.asarray(keep, device=x.device), x, weft.zeros_like(x))


@operator("RandomUniformLike")
def random_uniform_like(
    x: Any, *, dtype: int | None = None, high: float = 1.0, low: float = 0.0, seed: float = 0.0
) -> Any:
    return (
        random_values("uniform_array", x.shape, x.dtype if dtype is None else dtype_of(dtype), seed, x) * (high - low)
        + low
    )


@operator("RandomNormalLike")
def random_normal_like(
    x: Any, *, dtype: int | None = None, mean: float = 0.0, scale: float = 1.0, seed: float = 0.0
) -> Any:
    return random_values("normal_array", x.shape, x.dtype if dtype is None else dtype_of(dtype), seed, x) * scale + mean


def random_values(kind: str, shape: Any, dtype: Any, seed: float, x: Any) -> Any:
    """Random numbers of weft's own; `seed` 0 takes them from the default generator."""
    generator = weft.random.Generator(int(np.float32(seed).view(np.uint32))) if seed else weft.random.default_generator
    return weft.asarray(getattr(generator, kind)(tuple(shape)).astype(dtype), device=x.device)
