"""Pooling on devices: pool.cu over images that lie channels last; others are copied so first, and results lie so."""

from __future__ import annotations

import math
import struct
from typing import Any

from weft.backends import reference as K
from weft.backends.gpu import entry
from weft.backends.gpu.conv_layout import channels_last, new_image
from weft.backends.gpu.expressions import STORAGE
from weft.backends.gpu.layout import division
from weft.backends.gpu.reduce import reduce
from weft.backends.launch import Kernel, kernel, launch
from weft.backends.reference.windows import output_size

THREADS = 256
BLOCKS = 1 << 16  # beyond, threads take several turns

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]


def pool_kernel(name: str, dtype: Any, tap: str = "uint8_t") -> Kernel:
    accumulate = "double" if dtype.char == "d" else "float"
    types = dict(TYPE=STORAGE[dtype.char], ACCUMULATE=accumulate, TAP=tap, VECTOR=16 // dtype.itemsize)
    return kernel("pool.cu", name, **types)


def in_memory(x: Any) -> Any:
    """x (N, C, H, W) as (N, H, W, C) in C order."""
    return channels_last(x, 1, x.shape[1])


def run(
    name: str, out: Any, arrays: tuple[Any, ...], image: tuple[int, ...], size: Pair, *, kernel: Pair, stride: Pair,
    padding: Padding, dilation: Pair = (1, 1), count_include_pad: bool = True, tap: str = "uint8_t",
) -> None:  # fmt: skip
    """Launch `name`, which writes `out` (N, C, ...) of images (H, W) with windows (OH, OW)."""
    N, C, rows, columns = out.shape
    if not out.size:
        return
    function = pool_kernel(name, out.dtype, tap)
    vector = 16 // out.dtype.itemsize
    width = vector if C % vector == 0 else 1
    threads = N * rows * columns * (C // width)
    everything = count_include_pad or not any(map(any, padding))
    packed = struct.pack(
        "<q9I15i", threads, *division(C // width), *division(columns), *division(rows), C, width, *image, *size,
        *kernel, *stride, *dilation, padding[0][0], padding[1][0], everything,
    )  # fmt: skip
    blocks = max(1, min(-(-threads // THREADS), BLOCKS))
    launch(function, (blocks,), (THREADS,), (*arrays, packed))


def tap_type(kernel: Pair) -> str:
    return "uint8_t" if math.prod(kernel) <= 256 else "int32_t"


@entry(K.max_pool2d, "[fdeE]")
def max_pool2d(x: Any, *, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair) -> tuple[Any, Any]:
    N, C, *image = x.shape
    size = output_size(tuple(image), kernel, stride, padding, dilation)  # type: ignore[no-untyped-call]
    tap = tap_type(kernel)
    out, taps = (new_image(x, N, C, size, dtype) for dtype in (x.dtype, tap.removesuffix("_t")))
    run(
        "max_pool", out, (out, taps, in_memory(x)), tuple(image), size,
        kernel=kernel, stride=stride, padding=padding, dilation=dilation, tap=tap,
    )  # fmt: skip
    return out, taps


@entry(K.max_pool2d_backward, "[fdeE][Bi]")
def max_pool2d_backward(
    g: Any, taps: Any, *, shape: tuple[int, ...], kernel: Pair, stride: Pair, padding: Padding, dilation: Pair
) -> Any:
    out = new_image(g, shape[0], shape[1], shape[2:])
    run(
        "max_pool_backward", out, (out, in_memory(g), in_memory(taps)), shape[2:], g.shape[2:],
        kernel=kernel, stride=stride, padding=padding, dilation=dilation, tap=STORAGE[taps.dtype.char],
    )  # fmt: skip
    return out


@entry(K.avg_pool2d, "[fdeE]")
def avg_pool2d(x: Any, *, kernel: Pair, stride: Pair, padding: Padding, count_include_pad: bool) -> Any:
    N, C, *image = x.shape
    if tuple(image) == kernel and not any(map(any, padding)):  # one window: blocks share the rows of its image
        return reduce("mean", x, (2, 3), keepdims=True)
    size = output_size(tuple(image), kernel, stride, padding, (1, 1))
    out = new_image(x, N, C, size)
    run(
        "mean_pool", out, (out, in_memory(x)), tuple(image), size,
        kernel=kernel, stride=stride, padding=padding, count_include_pad=count_include_pad,
    )  # fmt: skip
    return out


@entry(K.avg_pool2d_backward, "[fdeE]")
def avg_pool2d_backward(
    g: Any, *, shape: tuple[int, ...], kernel: Pair, stride: Pair, padding: Padding, count_include_pad: bool
) -> Any:
    out = new_image(g, shape[0], shape[1], shape[2:])
    run(
        "mean_pool_backward", out, (out, in_memory(g)), shape[2:], g.shape[2:],
        kernel=kernel, stride=stride, padding=padding, count_include_pad=count_include_pad,
    )  # fmt: skip
    return out
