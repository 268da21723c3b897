"""Augmentation of whole batches of images (N, C, H, W), each image by its own random numbers.

A transform is called with the batch and a SampleRandom, `transform(x, rng)`, and returns a new batch. All keep the
dtype (uint8 or float32) but `Normalize`, which makes float32 and so comes last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from weft.data.samplerandom import SampleRandom

Array = np.ndarray[Any, Any]
Transform = Callable[[Array, SampleRandom], Array]


class Compose:
    """One transform after another.

    >>> both = Compose([RandomHorizontalFlip(p=1.0), Cutout(2)])
    >>> both(np.ones((2, 3, 8, 8), np.float32), SampleRandom(0, 0, np.arange(2))).shape
    (2, 3, 8, 8)
    """

    def __init__(self, transforms: Sequence[Transform]):
        self.transforms = list(transforms)

    def __call__(self, x: Array, rng: SampleRandom) -> Array:
        for transform in self.transforms:
            x = transform(x, rng)
        return x


class RandomHorizontalFlip:
    """Left and right exchanged, with probability `p`.

    >>> images = np.arange(3, dtype=np.float32).reshape(1, 1, 1, 3)
    >>> RandomHorizontalFlip(p=1.0)(images, SampleRandom(0, 0, np.arange(1))).ravel()
    array([2., 1., 0.], dtype=float32)
    """

    def __init__(self, p: float = 0.5):
        if not 0 <= p <= 1:
            raise ValueError(f"RandomHorizontalFlip: expected 0 <= p <= 1, got {p}")
        self.p = p

    def __call__(self, x: Array, rng: SampleRandom) -> Array:
        check_images("RandomHorizontalFlip", x)
        flip = rng.uniform() < self.p  # (N,)
        return np.where(flip[:, None, None, None], x[..., ::-1], x)


class RandomCrop:
    """Each image framed by `padding` pixels of zeros, then cut out of it at random in its own size: a random shift.

    >>> RandomCrop(2)(np.ones((2, 3, 8, 8), np.float32), SampleRandom(0, 0, np.arange(2))).shape
    (2, 3, 8, 8)
    """

    def __init__(self, padding: int):
        if padding < 1:
            raise ValueError(f"RandomCrop: expected padding >= 1, got {padding}")
        self.padding = padding

    def __call__(self, x: Array, rng: SampleRandom) -> Array:
        check_images("RandomCrop", x)
        n, _, height, width = x.shape
        p = self.padding
        padded = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(2, 3))  # (N, C, P, P, H, W)
        top, left = rng.integers(0, 2 * p + 1, (2,)).T
        return windows[np.arange(n), :, top, left]


class RandomAffine:
    """Turned by up to `degrees` either way, shifted by up to `translate` of its size, and scaled, about the centre.

    translate: (of the width, of the height), each 0 to 1. scale: (smallest, largest) factor. Between pixels values are
    interpolated linearly; outside the image they are zero.

    >>> RandomAffine(degrees=10)(np.ones((2, 3, 8, 8), np.float32), SampleRandom(0, 0, np.arange(2))).shape
    (2, 3, 8, 8)
    """

    def __init__(
        self,
        degrees: float,
        translate: tuple[float, float] = (0.0, 0.0),
        scale: tuple[float, float] = (1.0, 1.0),
    ):
        if degrees < 0 or not all(0 <= t <= 1 for t in translate) or not 0 < scale[0] <= scale[1]:
            raise ValueError("RandomAffine: expected degrees >= 0, translate within 0 to 1, 0 < scale[0] <= scale[1], "
                             f"got {degrees}, {translate} and {scale}")  # fmt: skip
        self.degrees, self.translate, self.scale = degrees, translate, scale

    def __call__(self, x: Array, rng: SampleRandom) -> Array:
        check_images("RandomAffine", x)
        height, width = x.shape[2:]
        angle = np.deg2rad(rng.uniform(-self.degrees, self.degrees))
        shrink = 1 / rng.uniform(*self.scale)
        reach = np.array(self.translate, np.float32) * np.array([width, height], np.float32)
        shift = rng.uniform(-1, 1, (2,)) * reach  # (N, 2)
        cos, sin = np.cos(angle) * shrink, np.sin(angle) * shrink  # (N,)
        middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
        # Where each pixel of the result comes from: the inverse turn of its place about the centre.
        to_y = (np.arange(height, dtype=np.float32) - middle_y)[None, :, None] - shift[:, 1, None, None]
        to_x = (np.arange(width, dtype=np.float32) - middle_x)[None, None, :] - shift[:, 0, None, None]
        from_x = cos[:, None, None] * to_x + sin[:, None, None] * to_y + np.float32(middle_x)  # (N, H, W)
        from_y = cos[:, None, None] * to_y - sin[:, None, None] * to_x + np.float32(middle_y)
        return sample_bilinear(x, from_y, from_x)


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
        top = rng.integers(0, height)[:, None] - self.size // 2
        left = rng.integers(0, width)[:, None] - self.size // 2
        y, z = np.arange(height)[None], np.arange(width)[None]
        rows, columns = (y >= top) & (y < top + self.size), (z >= left) & (z < left + self.size)  # (N, H), (N, W)
        return np.where((rows[:, :, None] & columns[:, None, :])[:, None], x.dtype.type(0), x)


class Normalize:
    """(x - mean) / std per channel, as float32; uint8 is first taken from 0..255 to 0..1.

    mean, std: a number, or one per channel.

    >>> Normalize(0.5, 0.5)(numpy.full((1, 1, 2, 2), 255, "u1")).max()                      # doctest: +SKIP
    1.0
    """

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float]):
        self.mean = np.asarray(mean, np.float32).reshape(-1, 1, 1)
        self.std = np.asarray(std, np.float32).reshape(-1, 1, 1)
        if not (self.std > 0).all():
            raise ValueError(f"Normalize: expected std > 0, got {std}")

    def __call__(self, x: Array, rng: SampleRandom | None = None) -> Array:
        check_images("Normalize", x)
        unit = np.float32(255 if x.dtype == np.uint8 else 1)
        scale = 1 / (self.std * unit)
        out = x.astype(np.float32)
        out *= scale
        out -= self.mean / self.std
        return out


def sample_bilinear(x: Array, y: Array, z: Array) -> Array:
    """Values of images (N, C, H, W) at rows `y` and columns `z`, float32 (N, H', W'); zero outside."""
    n, channels, height, width = x.shape
    framed = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))  # so that neighbours outside are zeros that exist
    y, z = np.clip(y, -1, height) + 1, np.clip(z, -1, width) + 1
    top = np.minimum(y.astype(np.int64), height)
    left = np.minimum(z.astype(np.int64), width)
    down, right = (y - top)[:, None], (z - left)[:, None]  # (N, 1, H', W')
    flat = framed.reshape(n, channels, -1)
    place = top * (width + 2) + left

    def at(offset: int) -> Array:
        index = (place + offset).reshape(n, 1, -1)
        return np.take_along_axis(flat, index, axis=2).reshape(n, channels, *y.shape[1:]).astype(np.float32)

    above = at(0) * (1 - right) + at(1) * right
    below = at(width + 2) * (1 - right) + at(width + 3) * right
    out = above * (1 - down) + below * down
    return np.rint(out).astype(x.dtype) if x.dtype.kind in "ui" else out.astype(x.dtype)


def check_images(name: str, x: Array) -> None:
    if x.ndim != 4:
        raise ValueError(f"{name}: expected images (N, C, H, W), got {x.shape}")
