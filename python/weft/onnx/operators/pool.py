"""Pooling over one, two or three axes."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import numpy as np

import weft
from weft.onnx.operators import operator
from weft.onnx.operators.common import flag, host, ints, is_float, like
from weft.onnx.operators.conv import Pads, geometry


def rounded_up(x: Any, kernel: Any, pads: Pads, strides: Any, dilations: Any) -> Pads:
    """Pads with what a last, partial window needs; one that would start in the padding behind is left out."""
    sides = []
    for n, k, (a, b), s, d in zip(x.shape[2:], kernel, pads, strides, dilations):
        reach = d * (k - 1) + 1
        count = -(-(n + a + b - reach) // s) + 1
        if (count - 1) * s >= n + a:
            count -= 1
        sides.append((a, max(b, (count - 1) * s + reach - n - a)))
    return tuple(sides)


def taps(x: Any, kernel: Any, pads: Pads, strides: Any, dilations: Any, value: Any) -> list[Any]:
    """For each place in the window, the values of all windows there: arrays (N, C, *out)."""
    if any(pair != (0, 0) for pair in pads):
        x = weft.pad(x, ((0, 0), (0, 0), *pads), value=value)
    outs = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(x.shape[2:], kernel, strides, dilations)]
    if min(outs) < 1:
        raise ValueError(f"expected an image that a window {tuple(kernel)} fits into, got {x.shape}")
    found = []
    for place in itertools.product(*map(range, kernel)):
        index = [slice(i * d, i * d + (o - 1) * s + 1, s) for i, d, o, s in zip(place, dilations, outs, strides)]
        found.append(x[(slice(None), slice(None), *index)])
    return found


def least(x: Any) -> Any:
    return -np.inf if is_float(x) else int(np.iinfo(x.dtype).min)


@operator("MaxPool")
def max_pool(
    x: Any, *, kernel_shape: Any, auto_pad: str = "NOTSET", pads: Any = None, strides: Any = None,
    dilations: Any = None, ceil_mode: int = 0, storage_order: int = 0, context: Any,
) -> Any:  # fmt: skip
    """The largest value of each window and, where asked for, its place in x, rows first unless `storage_order`."""
    sides, steps, spread = geometry(x.shape[2:], kernel_shape, auto_pad, pads, strides, dilations)
    if flag("ceil_mode", ceil_mode):
        sides = rounded_up(x, kernel_shape, sides, steps, spread)
    columns_first = flag("storage_order", storage_order)
    if context.outputs == 1:
        reach = [d * (k - 1) + 1 for k, d in zip(kernel_shape, spread)]
        if len(kernel_shape) == 2 and is_float(x) and all(max(side) < r for side, r in zip(sides, reach)):
            return weft.max_pool2d(x, tuple(kernel_shape), stride=steps, padding=sides, dilation=spread)
        return functools.reduce(weft.maximum, taps(x, kernel_shape, sides, steps, spread, least(x)))
    spatial = x.shape[2:]
    places = np.arange(np.prod(spatial)).reshape(spatial[::-1] if columns_first else spatial)
    places = places.T if columns_first else places
    offset = np.arange(x.shape[0] * x.shape[1]).reshape(x.shape[:2] + (1,) * len(spatial)) * places.size
    values = weft.stack(taps(x, kernel_shape, sides, steps, spread, least(x)))
    numbers = np.stack([t.numpy() for t in taps(
        weft.Tensor(np.ascontiguousarray(np.broadcast_to(offset + places, x.shape))), kernel_shape, sides, steps,
        spread, 0)])  # fmt: skip
    first = weft.argmax(values, axis=0, keepdims=True)
    where = np.take_along_axis(numbers, first.numpy(), axis=0)[0]
    return weft.take_along_axis(values, first, axis=0)[0], like(where.astype(np.int64), x)


def window_sums(x: Any, kernel: Any, sides: Pads, steps: Any, spread: Any) -> Any:
    return functools.reduce(weft.add, taps(x, kernel, sides, steps, spread, 0))


@operator("AveragePool", 7)
def average_pool(
    x: Any, *, kernel_shape: Any, auto_pad: str = "NOTSET", pads: Any = None, strides: Any = None,
    dilations: Any = None, ceil_mode: int = 0, count_include_pad: int = 0,
) -> Any:  # fmt: skip
    """The mean of each window, over what is counted: never what `ceil_mode` alone adds."""
    sides, steps, spread = geometry(x.shape[2:], kernel_shape, auto_pad, pads, strides, dilations)
    grown = rounded_up(x, kernel_shape, sides, steps, spread) if flag("ceil_mode", ceil_mode) else sides
    total = window_sums(x, kernel_shape, grown, steps, spread)
    counted = np.ones((1, 1, *x.shape[2:]), np.float32)
    if flag("count_include_pad", count_include_pad):
        counted = np.pad(counted, ((0, 0), (0, 0), *sides), constant_values=1)
        rest = tuple((0, g - b) for (_, b), (_, g) in zip(sides, grown))
    else:
        rest = grown
    counts = window_sums(weft.Tensor(counted), kernel_shape, rest, steps, spread).numpy()
    return total / like(counts.astype(x.dtype), x)


@operator("LpPool", 2)
def lp_pool(
    x: Any, *, kernel_shape: Any, p: int = 2, auto_pad: str = "NOTSET", pads: Any = None, strides: Any = None,
    dilations: Any = None, ceil_mode: int = 0,
) -> Any:  # fmt: skip
    sides, steps, spread = geometry(x.shape[2:], kernel_shape, auto_pad, pads, strides, dilations)
    if flag("ceil_mode", ceil_mode):
        sides = rounded_up(x, kernel_shape, sides, steps, spread)
    return weft.pow(window_sums(weft.pow(weft.abs(x), float(p)), kernel_shape, sides, steps, spread), 1.0 / p)


def over_image(function: Any) -> Any:
    return lambda x: function(x, axis=tuple(range(2, x.ndim)), keepdims=True)


operator("GlobalAveragePool")(over_image(weft.mean))
operator("GlobalMaxPool")(over_image(weft.max))


@operator("GlobalLpPool", 2)
def global_lp_pool(x: Any, *, p: int = 2) -> Any:
    return weft.pow(over_image(weft.sum)(weft.pow(weft.abs(x), float(p))), 1.0 / p)


@operator("MaxUnpool", 9)
def max_unpool(
    x: Any, indices: Any, output_shape: Any = None, *, kernel_shape: Any, pads: Any = None, strides: Any = None
) -> Any:
    """Zeros with x's values at the places that MaxPool named."""
    n = len(kernel_shape)
    steps, flat = strides or [1] * n, pads or [0] * 2 * n
    lengths = [(m - 1) * s + k - flat[i] - flat[n + i]
               for i, (m, s, k) in enumerate(zip(x.shape[2:], steps, kernel_shape))]  # fmt: skip
    natural = (*x.shape[:2], *lengths)
    places = np.unravel_index(host(indices).reshape(-1), natural)
    shape = natural if output_shape is None else tuple(ints(output_shape))
    from weft.onnx.operators.index import scattered

    base = weft.zeros(shape, dtype=x.dtype, device=x.device)
    return scattered(base, tuple(places), x.reshape(-1), "none")
