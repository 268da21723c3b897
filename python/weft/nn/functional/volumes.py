"""Pooling of volumes with PyTorch's names and arguments: a window is a box, so rows and columns come first, then depth.

Every pooling here parts that way: the largest value and the mean of boxes, whether the padding counts or not.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from weft import ops
from weft.nn.functional.pool import (
    adaptive_avg_pool2d,
    adaptive_max_pool2d,
    avg_pool2d,
    max_pool2d,
    power_mean,
)
from weft.nn.functional.shape import tuple_of

__all__ = ["adaptive_avg_pool3d", "adaptive_max_pool3d", "avg_pool3d", "lp_pool3d", "max_pool3d"]

#: What an argument is along the axis that holds all rows and columns while the depth is pooled.
ALONE = {"kernel_size": 1, "stride": 1, "padding": 0, "dilation": 1, "output_size": None}


def volumes(name: str, planes: Callable[..., Any], depths: Callable[..., Any], input: Any, **sizes: Any) -> Any:
    """Pool (N, C, D, H, W), or one volume (C, D, H, W), by functions of images; sizes: arguments along D, H and W."""
    if input.ndim not in (4, 5):
        raise ValueError(f"{name}: expected input (N, C, D, H, W) or (C, D, H, W), got {tuple(input.shape)}")
    N, C, D, H, W = input.shape if input.ndim == 5 else (1, *input.shape)
    flat = planes(ops.reshape(input, (N, C * D, H, W)), **{what: value[1:] for what, value in sizes.items()})
    flat, inside = flat if isinstance(flat, tuple) else (flat, None)
    OH, OW = flat.shape[2:]
    out = depths(
        ops.reshape(flat, (N, C, D, OH * OW)), **{what: (value[0], ALONE[what]) for what, value in sizes.items()}
    )
    out, where = out if isinstance(out, tuple) else (out, None)
    shape = (*input.shape[:-3], out.shape[2], OH, OW)
    if where is None:
        return ops.reshape(out, shape)
    where = ops.reshape(where, (N, C, -1))  # among the rows and columns of all depths
    inside = ops.take_along_axis(ops.reshape(inside, (N, C, D * OH * OW)), where, axis=2)
    return ops.reshape(out, shape), ops.reshape(where // (OH * OW) * (H * W) + inside, shape)


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
    sizes = triples("max_pool3d", kernel_size=kernel_size, stride=kernel_size if stride is None else stride,
                    padding=padding, dilation=dilation)  # fmt: skip

    def pool(x: Any, **sizes: Any) -> Any:
        return max_pool2d(x, **sizes, ceil_mode=ceil_mode, return_indices=return_indices)

    return volumes("max_pool3d", pool, pool, input, **sizes)


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
    sizes = triples("avg_pool3d", kernel_size=kernel_size, stride=kernel_size if stride is None else stride,
                    padding=padding)  # fmt: skip
    if divisor_override is not None and not divisor_override:
        raise ValueError("avg_pool3d: expected divisor_override other than 0, got 0")

    def pool(divisor: int | None) -> Callable[..., Any]:
        return lambda x, **sizes: avg_pool2d(
            x, **sizes, ceil_mode=ceil_mode, count_include_pad=count_include_pad, divisor_override=divisor
        )

    sums = None if divisor_override is None else 1
    return volumes("avg_pool3d", pool(sums), pool(divisor_override), input, **sizes)


def adaptive_avg_pool3d(input: Any, output_size: Any) -> Any:
    """(N, C, D, H, W) -> (N, C, *output_size): the mean of windows laid evenly; None keeps the input's size.

    >>> F.adaptive_avg_pool3d(weft.ones((1, 3, 4, 5, 7)), (2, 1, None)).shape
    (1, 3, 2, 1, 7)
    """
    name, pool = "adaptive_avg_pool3d", adaptive_avg_pool2d
    return volumes(name, pool, pool, input, output_size=wanted(name, output_size))


def adaptive_max_pool3d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """(N, C, D, H, W) -> (N, C, *output_size): the largest value of windows laid evenly; None keeps the input's size.

    return_indices: also where it stands in its volume, int64 of the same shape, counted plane by plane and row by row.
    Of equal values the first counts.

    >>> F.adaptive_max_pool3d(weft.ones((1, 3, 4, 5, 7)), (2, 1, None)).shape
    (1, 3, 2, 1, 7)
    """
    name = "adaptive_max_pool3d"

    def pool(x: Any, output_size: Any) -> Any:
        return adaptive_max_pool2d(x, output_size, return_indices)

    return volumes(name, pool, pool, input, output_size=wanted(name, output_size))


def lp_pool3d(input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Any:
    """(N, C, D, H, W) -> (N, C, OD, OH, OW): (sum of x^norm_type)^(1 / norm_type) of each window; see lp_pool2d.

    >>> F.lp_pool3d(weft.ones((1, 3, 4, 4, 4)), 2, 2).shape
    (1, 3, 2, 2, 2)
    """
    kernel = tuple_of(kernel_size, 3, "lp_pool3d: kernel_size")
    return power_mean(avg_pool3d(input**norm_type, kernel, stride, 0, ceil_mode), norm_type, prod(kernel))


def triples(name: str, **sizes: Any) -> dict[str, tuple[int, ...]]:
    return {what: tuple_of(value, 3, f"{name}: {what}") for what, value in sizes.items()}


def wanted(name: str, output_size: Any) -> tuple[int | None, ...]:
    """A number or None for all axes, or one for each."""
    sizes = tuple(output_size) if isinstance(output_size, (tuple, list)) else (output_size,) * 3
    if len(sizes) != 3 or any([n is not None and n < 1 for n in sizes]):
        raise ValueError(f"{name}: expected output_size of at least 1 along three axes, got {output_size}")
    return sizes
