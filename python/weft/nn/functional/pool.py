"""Pooling with PyTorch's names and arguments, one- and two-dimensional.

A sequence is pooled as an image of one row. One sample may come without its batch dimension.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from weft import ops
from weft.autograd import Tensor
from weft.backends.device import beside
from weft.nn.functional.shape import tuple_of
from weft.ops.activation import floating
from weft.ops.pool import overhang, regions

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "avg_pool1d",
    "avg_pool2d",
    "lp_pool1d",
    "lp_pool2d",
    "max_pool1d",
    "max_pool2d",
]


def images(function: Any, input: Any, *args: Any, **params: Any) -> Any:
    """Pool (N, C, H, W), or one image (C, H, W)."""
    if input.ndim != 3:
        return function(input, *args, **params)
    out = function(input[None], *args, **params)
    return tuple([o[0] for o in out]) if isinstance(out, tuple) else out[0]


def sequences(name: str, function: Any, input: Any, *sizes: Any, **params: Any) -> Any:
    """Pool (N, C, L) or (C, L) by a function of images; `sizes` are (argument, value of the row, value along L)."""
    if input.ndim not in (2, 3):
        raise ValueError(f"{name}: expected input (N, C, L) or (C, L), got {input.shape}")
    given = {what: (row, *tuple_of(value, 1, f"{name}: {what}")) for what, row, value in sizes}
    out = function(ops.expand_dims(input, axis=-2), **given, **params)
    return tuple([ops.squeeze(o, axis=-2) for o in out]) if isinstance(out, tuple) else ops.squeeze(out, axis=-2)


def max_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """(N, C, H, W) -> (N, C, OH, OW): the largest value of each window; stride defaults to the kernel's size.

    return_indices: also where it stands in its image, int64 (N, C, OH, OW), counted row by row.

    >>> F.max_pool2d(weft.ones((1, 3, 4, 4)), 2).shape
    (1, 3, 2, 2)
    """
    options = {"stride": stride, "padding": padding, "dilation": dilation, "ceil_mode": ceil_mode}
    return images(ops.max_pool2d, input, kernel_size, **options, return_indices=return_indices)


def max_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """(N, C, L) -> (N, C, OL): the largest value of each window, and with return_indices where it stands.

    >>> F.max_pool1d(weft.asarray([[[1.0, 3.0, 5.0, 7.0]]]), 2).numpy()
    array([[[3., 7.]]], dtype=float32)
    """
    sizes = ("kernel_size", 1, kernel_size), ("stride", 1, kernel_size if stride is None else stride)
    sides = ("padding", 0, padding), ("dilation", 1, dilation)
    options = {"ceil_mode": ceil_mode, "return_indices": return_indices}
    return sequences("max_pool1d", max_pool2d, input, *sizes, *sides, **options)


def avg_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """(N, C, H, W) -> (N, C, OH, OW): the mean of each window; stride defaults to the kernel's size.

    count_include_pad: whether zeros of the padding count. divisor_override: what each window's sum is divided by.
    ValueError for a divisor of 0.

    >>> F.avg_pool2d(weft.ones((1, 3, 4, 4)), 2).shape
    (1, 3, 2, 2)
    """
    options = {"stride": stride, "padding": padding, "ceil_mode": ceil_mode}
    if divisor_override is None:
        return images(ops.avg_pool2d, input, kernel_size, **options, count_include_pad=count_include_pad)
    if not divisor_override:
        raise ValueError("avg_pool2d: expected divisor_override other than 0, got 0")
    kernel = tuple_of(kernel_size, 2, "avg_pool2d: kernel_size")
    if ceil_mode:  # rows and columns that are never counted: zeros, so that a mean is a sum over the whole kernel
        step = kernel if stride is None else tuple_of(stride, 2, "avg_pool2d: stride")
        sides = tuple_of(padding, 2, "avg_pool2d: padding")
        more = [overhang(n, k, s, (p, p)) for n, k, s, p in zip(input.shape[-2:], kernel, step, sides)]
        widths = [*[(0, 0)] * (input.ndim - 2), *[(p, p + e) for p, e in zip(sides, more)]]
        input, options = ops.pad(input, tuple(widths)), {"stride": stride, "padding": 0, "ceil_mode": False}
    out = images(ops.avg_pool2d, input, kernel_size, **options)
    return out * (kernel[0] * kernel[1] / divisor_override)


def avg_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:
    """(N, C, L) -> (N, C, OL): the mean of each window; arguments as avg_pool2d.

    >>> F.avg_pool1d(weft.asarray([[[1.0, 3.0, 5.0, 7.0]]]), 2).numpy()
    array([[[2., 6.]]], dtype=float32)
    """
    sizes = ("kernel_size", 1, kernel_size), ("stride", 1, kernel_size if stride is None else stride)
    options = {"ceil_mode": ceil_mode, "count_include_pad": count_include_pad}
    return sequences("avg_pool1d", avg_pool2d, input, *sizes, ("padding", 0, padding), **options)


def adaptive_avg_pool2d(input: Any, output_size: Any) -> Any:
    """(N, C, H, W) -> (N, C, *output_size): the mean of windows laid evenly; None keeps the input's size.

    >>> F.adaptive_avg_pool2d(weft.ones((1, 3, 5, 7)), (1, 2)).shape
    (1, 3, 1, 2)
    """
    return images(ops.adaptive_avg_pool2d, input, output_size)


def adaptive_avg_pool1d(input: Any, output_size: Any) -> Any:
    """(N, C, L) -> (N, C, output_size): the mean of windows laid evenly.

    >>> F.adaptive_avg_pool1d(weft.asarray([[[1.0, 3.0, 5.0, 7.0]]]), 2).numpy()
    array([[[2., 6.]]], dtype=float32)
    """
    return sequences("adaptive_avg_pool1d", adaptive_avg_pool2d, input, ("output_size", 1, output_size))


def adaptive_max_pool2d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """(N, C, H, W) -> (N, C, *output_size): the largest value of windows laid evenly; None keeps the input's size.

    return_indices: also where it stands in its image, int64 of the same shape, counted row by row. Of equal values the
    first counts. Windows as in adaptive_avg_pool2d.

    >>> F.adaptive_max_pool2d(weft.ones((1, 3, 5, 7)), (1, 2)).shape
    (1, 3, 1, 2)
    """
    return images(adaptive_max, input, output_size, return_indices)


def adaptive_max_pool1d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """(N, C, L) -> (N, C, output_size): the largest value of windows laid evenly, and where with return_indices.

    >>> F.adaptive_max_pool1d(weft.asarray([[[1.0, 3.0, 5.0, 7.0]]]), 2).numpy()
    array([[[3., 7.]]], dtype=float32)
    """
    size = ("output_size", 1, output_size)
    return sequences("adaptive_max_pool1d", adaptive_max_pool2d, input, size, return_indices=return_indices)


def adaptive_max(input: Any, output_size: Any, return_indices: bool) -> Any:
    floating(input, "adaptive_max_pool2d")
    if input.ndim != 4:
        raise ValueError(f"adaptive_max_pool2d: expected input (N, C, H, W) or (C, H, W), got {input.shape}")
    N, C, H, W = input.shape
    wanted = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * 2
    OH, OW = tuple_of([n if k is None else k for n, k in zip((H, W), wanted)], 2, "adaptive_max_pool2d: output_size")
    if min(OH, OW) < 1 or len(wanted) != 2:
        raise ValueError(f"adaptive_max_pool2d: expected output_size of at least 1 along two axes, got {output_size}")
    if H % OH == 0 and W % OW == 0:
        return max_pool2d(input, (H // OH, W // OW), return_indices=return_indices)
    rows, columns = covered(H, OH), covered(W, OW)  # (OH, rows of a window), (OW, columns of a window)
    pixels = (rows[:, None, :, None] * W + columns[None, :, None, :]).reshape(OH * OW, -1)
    flat = ops.reshape(input, (N, C, H * W))
    members = Tensor(beside(pixels.reshape(-1), flat.data))
    windows = ops.reshape(ops.take(flat.detach(), members, axis=2), (N, C, *pixels.shape))
    firsts = Tensor(beside(np.arange(OH * OW) * pixels.shape[1], flat.data))
    won = ops.argmax(windows, axis=-1) + firsts  # the first of equal values
    where = ops.take(members, won, axis=0)  # (N, C, OH * OW)
    out = ops.reshape(ops.take_along_axis(flat, where, axis=2), (N, C, OH, OW))
    return (out, ops.reshape(where, (N, C, OH, OW))) if return_indices else out


def covered(n: int, count: int) -> Any:
    """(count, longest): the positions of each region of `ops.pool.regions`, a shorter one with its first repeated."""
    inside = regions(n, count, np.float64) > 0
    members = [np.flatnonzero(row) for row in inside]
    longest = max(map(len, members))
    return np.stack([np.concatenate([m, np.full(longest - len(m), m[0])]) for m in members])


def lp_pool2d(input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Any:
    """(N, C, H, W) -> (N, C, OH, OW): (sum of x^norm_type)^(1 / norm_type) of each window, as PyTorch defines it.

    NaN where a sum is negative and norm_type is not 1.

    >>> F.lp_pool2d(weft.ones((1, 3, 4, 4)), 2, 2).shape
    (1, 3, 2, 2)
    """
    kernel = tuple_of(kernel_size, 2, "lp_pool2d: kernel_size")
    return power_mean(avg_pool2d(input**norm_type, kernel, stride, 0, ceil_mode), norm_type, kernel[0] * kernel[1])


def lp_pool1d(input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Any:
    """(N, C, L) -> (N, C, OL): (sum of x^norm_type)^(1 / norm_type) of each window; see lp_pool2d.

    >>> F.lp_pool1d(weft.asarray([[[3.0, 4.0]]]), 2, 2).numpy()
    array([[[5.]]], dtype=float32)
    """
    (kernel,) = tuple_of(kernel_size, 1, "lp_pool1d: kernel_size")
    return power_mean(avg_pool1d(input**norm_type, kernel, stride, 0, ceil_mode), norm_type, kernel)


def power_mean(means: Any, norm_type: float, count: int) -> Any:
    """PyTorch's definition: sign and size are parted, which settles the gradient of a sum of 0."""
    return (ops.sign(means) * ops.relu(ops.abs(means)) * count) ** (1 / norm_type)
