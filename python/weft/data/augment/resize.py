"""Images to another size, whole or cut out.

Both directions are weighted means, so a batch is resized by two products with matrices of weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from weft.data.augment.area import places, sides
from weft.data.augment.base import Array, Span, as_pixels, check_pixels, check_size, check_span
from weft.data.samplerandom import SampleRandom


class Resize:
    """Images scaled to `size`, their height and width, or one int for both.

    Linear between pixels; where the image gets smaller each pixel is a mean of all that fall on it, so that nothing
    flickers (Pillow's BILINEAR). uint8 or float32.

    >>> Resize(4)(np.ones((2, 3, 8, 8), np.float32)).shape
    (2, 3, 4, 4)
    """

    def __init__(self, size: int | Sequence[int]):
        self.size = check_size("Resize", size)

    def __call__(self, x: Array, rng: SampleRandom | None = None) -> Array:
        check_pixels("Resize", x)
        (height, width), zero = x.shape[2:], np.zeros(1, np.int64)
        rows = weights(zero, zero + height, height, self.size[0])  # (1, H', H)
        columns = weights(zero, zero + width, width, self.size[1])
        return resized(x, rows, columns)


class RandomResizedCrop:
    """A rectangle of each image, anywhere in it, scaled to `size`: its height and width, or one int for both.

    scale: the rectangle's part of the image, (smallest, largest) within 0 to 1. ratio: its width by its height,
    (smallest, largest) above 0, drawn evenly between their logarithms; a side that would be longer than the image is
    as long as the image. Scaled as by `Resize`. uint8 or float32.  Source: arXiv:1409.4842.

    >>> RandomResizedCrop(4)(np.ones((2, 3, 8, 8), np.float32), SampleRandom(0, 0, np.arange(2))).shape
    (2, 3, 4, 4)
    """

    def __init__(self, size: int | Sequence[int], scale: Span = (0.08, 1.0), ratio: Span = (3 / 4, 4 / 3)):
        self.size = check_size("RandomResizedCrop", size)
        self.scale = check_span("RandomResizedCrop", "scale", scale, low=0, high=1)
        low, high = check_span("RandomResizedCrop", "ratio", ratio, low=0)
        if not low > 0:
            raise ValueError(f"RandomResizedCrop: expected ratio > 0, got {ratio}")
        self.ratio = 1 / high, 1 / low  # of height by width, as `sides` wants it

    def __call__(self, x: Array, rng: SampleRandom) -> Array:
        check_pixels("RandomResizedCrop", x)
        height, width = x.shape[2:]
        tall, wide = sides(rng, self.scale, self.ratio, height, width)
        top, left = places(rng, height - tall, width - wide)
        rows = weights(top, tall, height, self.size[0])  # (N, H', H)
        columns = weights(left, wide, width, self.size[1])
        return resized(x, rows, columns)


def weights(begin: Array, length: Array, pixels: int, size: int) -> Array:
    """What each of `pixels` contributes to each of `size` pixels of a stretch, float32 (N, size, pixels).

    A triangle about the middle of the new pixel, as wide as two pixels of the old or the new image, whichever are
    larger, of those old pixels that lie in the stretch from `begin` on, `length` of them, both (N,).
    """
    step = (length / size)[:, None, None]  # old pixels per new one
    middle = (np.arange(size)[None, :, None] + 0.5) * step + begin[:, None, None]  # (N, size, 1)
    place = np.arange(pixels)[None, None, :]
    out = np.maximum(1 - np.abs(place + 0.5 - middle) / np.maximum(step, 1), 0)
    out *= (place >= begin[:, None, None]) & (place < (begin + length)[:, None, None])
    out /= out.sum(axis=2, keepdims=True)
    return out.astype(np.float32)


def resized(x: Array, rows: Array, columns: Array) -> Array:
    out = rows[:, None] @ x.astype(np.float32, copy=False) @ columns[:, None].swapaxes(2, 3)
    return as_pixels(out, x)
