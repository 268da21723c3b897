"""Transforms of areas of pixels: blur, and squares or rectangles that are covered."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from weft.data.augment.base import Array, Span, as_pixels, check_chance, check_images, check_pixels, check_span, each
from weft.data.samplerandom import SampleRandom


class GaussianBlur:
    """Each pixel as a mean of those around it, with weights that fall off as a normal density.

    kernel_size: width of the square of weights, odd. sigma: the density's standard deviation in pixels, >= 0, or
    (smallest, largest), from which each image draws its own. At the borders images are mirrored, the border pixel not
    repeated; ValueError for images with no more than kernel_size // 2 pixels in a direction. uint8 or float32.

    >>> GaussianBlur(5)(np.ones((2, 3, 8, 8), np.float32), SampleRandom(0, 0, np.arange(2))).shape
    (2, 3, 8, 8)
    """

    def __init__(self, kernel_size: int, sigma: Span = (0.1, 2.0)):
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"GaussianBlur: expected an odd kernel_size >= 1, got {kernel_size}")
        self.reach = kernel_size // 2
        self.sigma = check_span("GaussianBlur", "sigma", sigma, low=0)

    def __call__(self, x: Array, rng: SampleRandom) -> Array:
        check_pixels("GaussianBlur", x)
        if min(x.shape[2:]) <= self.reach:
            raise ValueError(f"GaussianBlur: expected images larger than {self.reach} pixels, got {x.shape}")
        sigma = np.maximum(rng.uniform(*self.sigma), np.float32(1e-6))  # all weight in the middle where it is 0
        offsets = np.arange(-self.reach, self.reach + 1, dtype=np.float32)
        weights = np.exp(-0.5 * np.square(offsets / sigma[:, None]))  # (N, kernel_size)
        weights /= weights.sum(axis=1, keepdims=True)
        out = x.astype(np.float32)
        for axis in (2, 3):
            out = smooth(out, weights, axis)
        return as_pixels(out, x)


def smooth(x: Array, weights: Array, axis: int) -> Array:
    """Float32 images (N, C, H, W) convolved with a kernel of their own each, (N, K), along axis 2 or 3."""
    reach, size = weights.shape[1] // 2, x.shape[axis]
    ends = [(reach, reach) if i == axis else (0, 0) for i in range(4)]
    framed = np.pad(x, ends, mode="reflect")
    out = np.zeros_like(x)
    for k, weight in enumerate(weights.T):
        out += each(weight) * framed.take(range(k, k + size), axis=axis)
    return out


class Cutout:
    """A square of `size` pixels, its centre anywhere in the image, set to zero.  Source: arXiv:1708.04552.

    >>> images = Cutout(2)(np.ones((2, 1, 8, 8), np.float32), SampleRandom(0, 0, np.arange(2)))
    >>> images.shape, images.min()
    ((2, 1, 8, 8), np.float32(0.0))
    """

    def __init__(self, size: int):
        if size < 1:
            raise ValueError(f"Cutout: expected size >= 1, got {size}")
        self.size = size

    def __call__(self, x: Array, rng: SampleRandom) -> Array:
        check_images("Cutout", x)
        height, width = x.shape[2:]
        top = rng.integers(0, height) - self.size // 2
        left = rng.integers(0, width) - self.size // 2
        return np.where(rectangle(x, top, left, self.size, self.size), x.dtype.type(0), x)


class RandomErasing:
    """A rectangle of each image covered, with probability `p`.  Source: arXiv:1708.04896.

    scale: the rectangle's part of the image, (smallest, largest) within 0 to 1. ratio: its height by its width,
    (smallest, largest) above 0, drawn evenly between their logarithms; a side that would be longer than the image is
    as long as the image. value: what covers it, a number or one per channel, in the images' own range; or "random":
    for each value its own, uniform in the range of the dtype.

    uint8, or float32, which "random" takes to range from 0 to 1.

    >>> RandomErasing(p=1.0)(np.ones((2, 3, 8, 8), np.float32), SampleRandom(0, 0, np.arange(2))).shape
    (2, 3, 8, 8)
    """

    def __init__(
        self, p: float = 0.5, scale: Span = (0.02, 0.33), ratio: Span = (0.3, 3.3),
        value: float | Sequence[float] | str = 0.0,
    ):  # fmt: skip
        self.p = check_chance("RandomErasing", p)
        self.scale = check_span("RandomErasing", "scale", scale, low=0, high=1)
        self.ratio = check_span("RandomErasing", "ratio", ratio, low=0)
        if not self.ratio[0] > 0:
            raise ValueError(f"RandomErasing: expected ratio > 0, got {ratio}")
        if isinstance(value, str) and value != "random":
            raise ValueError(f"RandomErasing: expected value to be numbers or 'random', got {value!r}")
        self.value = None if isinstance(value, str) else np.asarray(value, np.float32).reshape(-1, 1, 1)

    def __call__(self, x: Array, rng: SampleRandom) -> Array:
        check_pixels("RandomErasing", x)
        height, width = x.shape[2:]
        tall, wide = sides(rng, self.scale, self.ratio, height, width)
        top, left = places(rng, height - tall, width - wide)
        erased = rng.uniform() < self.p
        inside = rectangle(x, top, left, np.where(erased, tall, 0), wide)
        return np.where(inside, self.cover(x, rng), x)

    def cover(self, x: Array, rng: SampleRandom) -> Array:
        """What shows in place of images: values (C, 1, 1) for all, or an array like them."""
        levels = 256 if x.dtype == np.uint8 else 1
        if self.value is None:
            return (rng.uniform(0, levels, x.shape[1:])).astype(x.dtype)
        if len(self.value) not in (1, x.shape[1]):
            raise ValueError(f"RandomErasing: expected one value or {x.shape[1]} for images {x.shape}, "
                             f"got {len(self.value)}")  # fmt: skip
        if x.dtype == np.uint8 and not (self.value.min() >= 0 and self.value.max() <= 255):
            raise ValueError(f"RandomErasing: expected values within 0 to 255 for uint8, got {self.value.ravel()}")
        return as_pixels(self.value, x)


def places(rng: SampleRandom, *rooms: Array) -> list[Array]:
    """For each room (N,) an integer from 0 to itself, int64 (N,)."""
    drawn = rng.uniform(0, 1, (len(rooms),))
    return [np.minimum((u * (room + 1)).astype(np.int64), room) for u, room in zip(drawn.T, rooms)]


def sides(
    rng: SampleRandom, scale: tuple[float, float], ratio: tuple[float, float], height: int, width: int
) -> tuple[Array, Array]:  # fmt: skip
    """Heights and widths, int64 (N,), of rectangles that are `scale` of the image, with height / width of `ratio`."""
    area = rng.uniform(*scale) * np.float32(height * width)
    root = np.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])) / 2)
    tall = np.clip(np.rint(np.sqrt(area) * root), 1, height).astype(np.int64)
    wide = np.clip(np.rint(np.sqrt(area) / root), 1, width).astype(np.int64)
    return tall, wide


def rectangle(x: Array, top: Array, left: Array, tall: Array | int, wide: Array | int) -> Array:
    """Which pixels of images (N, C, H, W) lie in their rectangles, bool (N, 1, H, W)."""
    y, z = np.arange(x.shape[2]), np.arange(x.shape[3])
    tall, wide = np.asarray(tall)[..., None], np.asarray(wide)[..., None]
    rows = (y >= top[:, None]) & (y < top[:, None] + tall)  # (N, H)
    columns = (z >= left[:, None]) & (z < left[:, None] + wide)
    return (rows[:, :, None] & columns[:, None, :])[:, None]
