"""Pooling of images: the largest or the mean of each window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from weft.autograd import Tensor, op
from weft.backends import reference as K
from weft.backends.array import namespace
from weft.backends.device import beside
from weft.ops.activation import floating
from weft.ops.conv import Padding, Pair, check_fits, pads, pair, reach


def max_pool2d(
    x: Any,
    kernel_size: int | Sequence[int],
    *,
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[Any] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    """The largest value of each window; a window with a NaN gives NaN.

    x (N, C, H, W) -> (N, C, OH, OW), OH = (H + top + bottom - dilation * (KH - 1) - 1) // stride + 1, rounded up with
    `ceil_mode`.  stride: the kernel's size unless given.  padding never wins, so it must be smaller than the window.
    return_indices: (result, where each value stands in its image: int64 (N, C, OH, OW), counted row by row).

    >>> weft.max_pool2d(weft.ones((1, 3, 8, 8)), 2).shape
    (1, 3, 4, 4)
    """
    geometry, _ = pooling_geometry("max_pool2d", x, kernel_size, stride, padding, dilation, ceil_mode)
    return largest_and_where(x, **geometry) if return_indices else largest(x, **geometry)


def avg_pool2d(
    x: Any,
    kernel_size: int | Sequence[int],
    *,
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[Any] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window, zeros of the padding included unless `count_include_pad` is false.

    x (N, C, H, W) -> (N, C, OH, OW), OH = (H + top + bottom - KH) // stride + 1, rounded up with `ceil_mode`; pixels
    that only `ceil_mode` adds are never counted.  stride: the kernel's size unless given.

    >>> weft.avg_pool2d(weft.ones((1, 3, 8, 8)), 2).shape
    (1, 3, 4, 4)
    """
    floating(x, "avg_pool2d")
    geometry, extra = pooling_geometry("avg_pool2d", x, kernel_size, stride, padding, 1, ceil_mode)
    del geometry["dilation"]
    out = average(x, count_include_pad=count_include_pad, **geometry)
    if count_include_pad and any(extra):
        out = out * beside(uncounted(x, extra, **geometry), x)
    return out


def adaptive_avg_pool2d(x: Any, output_size: int | None | Sequence[int | None]) -> Tensor:
    """The mean of OH x OW regions that cover the image evenly, whatever its size; None keeps an axis as it is.

    x (N, C, H, W) -> (N, C, OH, OW).  Region i covers rows floor(i H / OH) to ceil((i + 1) H / OH), as in PyTorch.

    >>> weft.adaptive_avg_pool2d(weft.ones((1, 3, 8, 8)), 1).shape
    (1, 3, 1, 1)
    """
    check_images("adaptive_avg_pool2d", x)
    floating(x, "adaptive_avg_pool2d")
    wanted = (output_size, output_size) if output_size is None or isinstance(output_size, int) else tuple(output_size)
    image = tuple(x.shape[2:])
    size = pair("adaptive_avg_pool2d", "output_size", [n if k is None else k for n, k in zip(image, wanted)])
    if all(n % k == 0 for n, k in zip(image, size)):
        kernel = tuple(n // k for n, k in zip(image, size))
        return average(x, kernel=kernel, stride=kernel, padding=((0, 0), (0, 0)), count_include_pad=True)
    rows, columns = (regions(n, k, x.dtype) for n, k in zip(image, size))
    return average_regions(x, beside(rows, x), beside(columns.T, x))


@op(name="max_pool2d")
def largest(x, **geometry):
    """max_pool2d with every parameter spelled out, as the primitive takes it."""
    out, taps = K.max_pool2d(x, **geometry)
    shape = x.shape
    return out, (lambda g: K.max_pool2d_backward(g, taps, shape=shape, **geometry),)


@op(name="max_pool2d")
def largest_and_where(x, **geometry):
    """`largest`, and the position of each value among the pixels of its image."""
    out, taps = K.max_pool2d(x, **geometry)
    xp, shape = namespace(taps), x.shape
    which = xp.astype(taps, np.dtype(np.int64))
    across = geometry["kernel"][1]
    axes = zip(out.shape[2:], geometry["stride"], geometry["padding"], geometry["dilation"])
    (first_row, down), (first_column, right) = ((np.arange(n) * s - p[0], d) for n, s, p, d in axes)
    rows = xp.floor_divide(which, across) * down + beside(first_row[:, None], x)
    columns = xp.remainder(which, across) * right + beside(first_column, x)
    return (out, rows * shape[3] + columns), lambda gs: (K.max_pool2d_backward(gs[0], taps, shape=shape, **geometry),)


@op(name="avg_pool2d")
def average(x, **geometry):
    """avg_pool2d with every parameter spelled out, as the primitive takes it."""
    shape = x.shape
    return K.avg_pool2d(x, **geometry), (lambda g: K.avg_pool2d_backward(g, shape=shape, **geometry),)


@op(name="adaptive_avg_pool2d")
def average_regions(x, rows, columns):
    """x (N, C, H, W), rows (OH, H), columns (W, OW) -> rows @ x @ columns (N, C, OH, OW)."""
    xp = namespace(x)

    def backward(g):
        return xp.matmul(xp.matmul(xp.matrix_transpose(rows), g), xp.matrix_transpose(columns))

    return xp.matmul(xp.matmul(rows, x), columns), (backward, None, None)


def regions(n: int, count: int, dtype: Any) -> np.ndarray[Any, Any]:
    """(count, n): row i averages the pixels of region i."""
    first, last = np.arange(count) * n // count, -(-(np.arange(count) + 1) * n // count)
    inside = (np.arange(n) >= first[:, None]) & (np.arange(n) < last[:, None])
    return (inside / (last - first)[:, None]).astype(dtype)


def pooling_geometry(
    name: str, x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> tuple[dict[str, Any], Pair]:
    """The primitive's parameters, and how many rows and columns `ceil_mode` added to the padding."""
    check_images(name, x)
    size, spread = pair(name, "kernel_size", kernel), pair(name, "dilation", dilation)
    step = size if stride is None else pair(name, "stride", stride)
    window = reach(size, spread)
    sides = pads(name, padding, window, step)
    if any(max(side) >= n for side, n in zip(sides, window)):
        raise ValueError(f"{name}: expected padding smaller than the window {window}, got {sides}")
    extra = (0, 0)
    if ceil_mode:
        (top, bottom), (left, right) = sides
        extra = overhang(x.shape[2], window[0], step[0], sides[0]), overhang(x.shape[3], window[1], step[1], sides[1])
        sides = (top, bottom + extra[0]), (left, right + extra[1])
    check_fits(name, x.shape, window, sides)
    return {"kernel": size, "stride": step, "padding": sides, "dilation": spread}, extra


def overhang(n: int, window: int, stride: int, padding: Pair) -> int:
    """Pixels that one more window would need past the padding; 0 where it would start outside the image."""
    padded = n + sum(padding)
    more = -(-max(padded - window, 0) // stride) * stride
    return max(more + window - padded, 0) if more < n + padding[0] else 0


def uncounted(x: Any, extra: Pair, *, kernel: Pair, stride: Pair, padding: Padding) -> np.ndarray[Any, Any]:
    """(OH, OW): the factor by which a mean grows when the pixels of `extra` do not count."""
    factor = np.ones((1, 1))
    for axis in (0, 1):
        padded = x.shape[2 + axis] + sum(padding[axis])
        first = np.arange((padded - kernel[axis]) // stride[axis] + 1) * stride[axis]
        counted = np.minimum(first + kernel[axis], padded - extra[axis]) - first
        along = (kernel[axis] / counted).astype(x.dtype)
        factor = factor * (along[:, None] if axis == 0 else along)
    return factor.astype(x.dtype)


def check_images(name: str, x: Any) -> None:
    if len(x.shape) != 4:
        hint = "; add the batch axis with x[None]" if len(x.shape) == 3 else ""
        raise ValueError(f"{name}: expected x (N, C, H, W), got {tuple(x.shape)}{hint}")
