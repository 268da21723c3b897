"""Pooling of volumes with PyTorch's names and arguments: a window is a box, so rows and columns come first, then depth.

Every pooling here parts that way: the largest value and the mean of boxes, whether the padding counts or not. Means of
16-bit numbers are float32 in between.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod
from numbers import Integral
from operator import index
from typing import Any

import numpy as np

from weft import ops
from weft.nn.functional.pool import adaptive_avg_pool2d, adaptive_max_pool2d, avg_pool2d, max_pool2d, power_mean
from weft.nn.functional.shape import tuple_of
from weft.ops.activation import floating
from weft.ops.conv import check_fits
from weft.ops.pool import overhang

__all__ = ["adaptive_avg_pool3d", "adaptive_max_pool3d", "avg_pool3d", "lp_pool3d", "max_pool3d"]

#: What an argument is along the axis that holds all rows and columns while the depth is pooled.
ALONE = {"kernel_size": 1, "stride": 1, "padding": 0, "dilation": 1, "output_size": None}


def volumes(
    name: str, planes: Callable[..., Any], depths: Callable[..., Any], input: Any, ceil_mode: bool = False, **sizes: Any
) -> Any:
    """Pool (N, C, D, H, W), or one volume (C, D, H, W), by functions of images; sizes: arguments along D, H and W."""
    if input.ndim not in (4, 5):
        raise ValueError(f"{name}: expected input (N, C, D, H, W) or (C, D, H, W), got {tuple(input.shape)}")
    N, C, D, H, W = input.shape if input.ndim == 5 else (1, *input.shape)
    if "kernel_size" in sizes:
        check_windows(name, (N, C, D, H, W), ceil_mode, **sizes)
    elif 0 in (D, H, W):
        raise ValueError(f"{name}: expected a volume of at least one element along each axis, got {(D, H, W)}")
    flat = planes(ops.reshape(input, (N, C * D, H, W)), **{what: value[1:] for what, value in sizes.items()})
    flat, inside = flat if isinstance(flat, tuple) else (flat, None)
    OH, OW = flat.shape[2:]
    along = {what: (value[0], ALONE[what]) for what, value in sizes.items()}
    out = depths(ops.reshape(flat, (N, C, D, OH * OW)), **along)
    out, where = out if isinstance(out, tuple) else (out, None)
    shape = (*input.shape[:-3], out.shape[2], OH, OW)
    if where is None:
        return ops.reshape(out, shape)
    where = ops.reshape(where, (N, C, prod(shape[-3:])))  # among the rows and columns of all depths
    if any(np.ravel(sizes.get("padding", 0))):  # a window may lie in the padding alone
        where = ops.clip(where, 0, D * OH * OW - 1)
    inside = ops.take_along_axis(ops.reshape(inside, (N, C, D * OH * OW)), where, axis=2)
    return ops.reshape(out, shape), ops.reshape(where // (OH * OW) * (H * W) + inside, shape)


def means(name: str, planes: Callable[..., Any], depths: Callable[..., Any], input: Any, **sizes: Any) -> Any:
    """`volumes` of floating numbers, those of 16 bits in float32."""
    floating(input, name)
    if input.dtype.itemsize > 2:
        return volumes(name, planes, depths, input, **sizes)
    return ops.astype(volumes(name, planes, depths, ops.astype(input, np.float32), **sizes), input.dtype)


def max_pool3d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """(N, C, D, H, W) -> (N, C, OD, OH, OW): the largest value of each window; stride defaults to the kernel's size.

    return_indices: also where it stands in its volume, int64 of the same shape, counted plane by plane and row by row.

    >>> F.max_pool3d(weft.ones((1, 3, 4, 4, 4)), 2).shape
    (1, 3, 2, 2, 2)
    """
    sizes = windows("max_pool3d", kernel_size, stride, padding)
    sizes["dilation"] = tuple_of(dilation, 3, "max_pool3d: dilation", 1)
    pool = partial(max_pool2d, ceil_mode=ceil_mode, return_indices=return_indices)
    return volumes("max_pool3d", pool, pool, input, ceil_mode, **sizes)


def avg_pool3d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """(N, C, D, H, W) -> (N, C, OD, OH, OW): the mean of each window; stride defaults to the kernel's size.

    count_include_pad: whether zeros of the padding count. divisor_override: what each window's sum is divided by.
    ValueError for a divisor of 0.

    >>> F.avg_pool3d(weft.ones((1, 3, 4, 4, 4)), 2).shape
    (1, 3, 2, 2, 2)
    """
    sizes = windows("avg_pool3d", kernel_size, stride, padding)
    if divisor_override is not None and not divisor_override:
        raise ValueError("avg_pool3d: expected divisor_override other than 0, got 0")
    pool = partial(avg_pool2d, ceil_mode=ceil_mode, count_include_pad=count_include_pad)
    sums = partial(pool, divisor_override=None if divisor_override is None else 1)
    last = partial(pool, divisor_override=divisor_override)
    return means("avg_pool3d", sums, last, input, ceil_mode=ceil_mode, **sizes)


def adaptive_avg_pool3d(input: Any, output_size: Any) -> Any:
    """(N, C, D, H, W) -> (N, C, *output_size): the mean of windows laid evenly; None keeps the input's size.

    >>> F.adaptive_avg_pool3d(weft.ones((1, 3, 4, 5, 7)), (2, 1, None)).shape
    (1, 3, 2, 1, 7)
    """
    name, pool = "adaptive_avg_pool3d", adaptive_avg_pool2d
    return means(name, pool, pool, input, output_size=wanted(name, output_size))


def adaptive_max_pool3d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """(N, C, D, H, W) -> (N, C, *output_size): the largest value of windows laid evenly; None keeps the input's size.

    return_indices: also where it stands in its volume, int64 of the same shape, counted plane by plane and row by row.
    Of equal values the first counts.

    >>> F.adaptive_max_pool3d(weft.ones((1, 3, 4, 5, 7)), (2, 1, None)).shape
    (1, 3, 2, 1, 7)
    """
    name, pool = "adaptive_max_pool3d", partial(adaptive_max_pool2d, return_indices=return_indices)
    floating(input, name)
    return volumes(name, pool, pool, input, output_size=wanted(name, output_size))


def lp_pool3d(input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Any:
    """(N, C, D, H, W) -> (N, C, OD, OH, OW): (sum of x^norm_type)^(1 / norm_type) of each window; see lp_pool2d.

    >>> F.lp_pool3d(weft.ones((1, 3, 4, 4, 4)), 2, 2).shape
    (1, 3, 2, 2, 2)
    """

    def sums(x: Any, kernel_size: Any, **sizes: Any) -> Any:  # means would leave of a sum of 0 what they are rounded by
        return avg_pool2d(x, kernel_size, **sizes, ceil_mode=ceil_mode) * prod(kernel_size)

    floating(input, "lp_pool3d")
    sizes = windows("lp_pool3d", kernel_size, stride, 0)
    return power_mean(means("lp_pool3d", sums, sums, input**norm_type, ceil_mode=ceil_mode, **sizes), norm_type, 1)


def windows(name: str, kernel_size: Any, stride: Any, padding: Any) -> dict[str, tuple[int, ...]]:
    kernel = tuple_of(kernel_size, 3, f"{name}: kernel_size", 1)
    step = kernel if stride is None else tuple_of(stride, 3, f"{name}: stride", 1)
    return {"kernel_size": kernel, "stride": step, "padding": tuple_of(padding, 3, f"{name}: padding", 0)}


def wanted(name: str, output_size: Any) -> tuple[int | None, ...]:
    """A number or None for all axes, or one for each."""
    sizes = (output_size,) * 3 if output_size is None or isinstance(output_size, Integral) else output_size
    try:
        made = tuple([None if n is None else index(n) for n in sizes])
    except TypeError:
        made = ()
    if len(made) != 3 or any([n is not None and n < 1 for n in made]):
        raise ValueError(f"{name}: expected output_size of at least 1, or None, along three axes, got {output_size!r}")
    return made


def check_windows(
    name: str, shape: Any, ceil_mode: bool, *, kernel_size: Any, stride: Any, padding: Any, dilation: Any = (1, 1, 1)
) -> None:
    """Raise where the padding is no smaller than the window, or no window fits into the padded volume."""
    window = tuple([d * (k - 1) + 1 for k, d in zip(kernel_size, dilation)])
    sides = [(p, p) if isinstance(p, Integral) else tuple(p) for p in padding]
    if any([max(side) >= k for side, k in zip(sides, window)]):
        raise ValueError(f"{name}: expected padding smaller than the window {window}, got {padding}")
    if ceil_mode:
        sides = [(a, b + overhang(n, k, s, (a, b))) for n, k, s, (a, b) in zip(shape[2:], window, stride, sides)]
    check_fits(name, shape, window, sides)
