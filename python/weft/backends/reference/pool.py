"""Max and average pooling of images, with their gradients.

`kernel`, `stride` and `dilation` are pairs, `padding=((top, bottom), (left, right))`.
"""

from __future__ import annotations

from math import prod

import numpy as np

from weft.backends.array import device_of, namespace
from weft.backends.reference.precision import narrow, wide
from weft.backends.reference.windows import gather, output_size, scatter
from weft.backends.registry import primitive


@primitive
def max_pool2d(x, *, kernel, stride, padding, dilation):
    """x (N, C, H, W) -> the largest of each window (N, C, OH, OW), and the tap where it stands.

    Of equal values the first tap counts; a NaN beats everything, the last one if there are several. Padding never wins.
    Taps are uint8, or int32 for windows of more than 256.
    """
    xp = namespace(x)
    size = output_size(x.shape[2:], kernel, stride, padding, dilation)
    kind = x.dtype.kind
    least = int(np.iinfo(x.dtype).min) if kind in "iu" else False if kind == "b" else -np.inf
    values = gather(xp, x, kernel, size, stride, padding, dilation, value=least)
    one = xp.ones_like(x[:1, :1], dtype=np.float32)  # inside the image, against the padding's 0
    inside = gather(xp, one, kernel, size, stride, padding, dilation)
    best, taps, seen = values[0], xp.zeros_like(values[0], dtype=np.int32), inside[0] > 0
    for t in range(1, len(values)):
        v = values[t]
        better = xp.logical_or(xp.greater(v, best), xp.isnan(v))
        better = xp.logical_or(better, xp.logical_and(inside[t] > 0, xp.logical_not(seen)))
        best, taps = xp.where(better, v, best), xp.where(better, xp.full_like(taps, t), taps)
        seen = xp.logical_or(seen, inside[t] > 0)
    return best, xp.astype(taps, np.uint8 if prod(kernel) <= 256 else np.int32)


@primitive
def max_pool2d_backward(g, taps, *, shape, kernel, stride, padding, dilation):
    """g (N, C, OH, OW), taps (N, C, OH, OW) -> `shape` (N, C, H, W): each gradient goes to the pixel that won."""
    xp = namespace(g)
    g32 = wide(g)
    parts = [xp.where(xp.equal(taps, t), g32, xp.zeros_like(g32)) for t in range(prod(kernel))]
    return narrow(scatter(xp, parts, shape[2:], kernel, stride, padding, dilation), g.dtype)


@primitive
def avg_pool2d(x, *, kernel, stride, padding, count_include_pad):
    """x (N, C, H, W) -> (N, C, OH, OW): the mean of each window, over all its taps or over those inside the image."""
    xp = namespace(x)
    size = output_size(x.shape[2:], kernel, stride, padding, (1, 1))
    total = None
    for tap in gather(xp, wide(x), kernel, size, stride, padding, (1, 1)):
        total = tap if total is None else total + tap
    return narrow(total / window_count(xp, total, x.shape[2:], kernel, stride, padding, count_include_pad), x.dtype)


@primitive
def avg_pool2d_backward(g, *, shape, kernel, stride, padding, count_include_pad):
    """g (N, C, OH, OW) -> `shape` (N, C, H, W): each gradient spread evenly over its window."""
    xp = namespace(g)
    share = wide(g)
    share = share / window_count(xp, share, shape[2:], kernel, stride, padding, count_include_pad)
    return narrow(scatter(xp, [share] * prod(kernel), shape[2:], kernel, stride, padding, (1, 1)), g.dtype)


def window_count(xp, like, image, kernel, stride, padding, count_include_pad):
    """How many pixels a window's mean divides by: a number, or (1, 1, OH, OW) where padding does not count."""
    if count_include_pad or not any(map(any, padding)):
        return prod(kernel)
    one = xp.ones((1, 1, *image), dtype=like.dtype, device=device_of(like))
    taps = gather(xp, one, kernel, like.shape[2:], stride, padding, (1, 1))
    return xp.maximum(sum(taps[1:], start=taps[0]), xp.ones_like(taps[0]))  # a window all outside divides its 0 by 1
