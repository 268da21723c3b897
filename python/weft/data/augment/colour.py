"""Transforms of colours: brightness, contrast, saturation, hue, grey, noise, and the scale that a network is given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from weft.data.augment.base import (
    Array,
    Span,
    as_pixels,
    check_chance,
    check_images,
    check_range,
    check_span,
    each,
)
from weft.data.samplerandom import SampleRandom

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # shares of red, green, blue in grey: ITU-R BT.601


class ColorJitter:
    """Brightness, contrast, saturation and hue changed at random, in this order; results are clipped to the range.

    brightness, contrast, saturation: a factor between max(0, 1 - v) and 1 + v, or of the pair (smallest, largest).
    Contrast is the distance from the image's mean grey, saturation that from each pixel's own grey. hue: a part of the
    colour circle added, between -v and v, or of the pair; all within -0.5 to 0.5.

    uint8, or float32 within 0 to 1; saturation and hue need three channels, contrast one or three; ValueError for
    others. The definitions are Pillow's (ImageEnhance) and, of hue, those of the standard module colorsys.

    >>> jitter = ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.05)
    >>> jitter(np.ones((2, 3, 8, 8), np.float32), SampleRandom(0, 0, np.arange(2))).shape
    (2, 3, 8, 8)
    """

    def __init__(self, brightness: Span = 0.0, contrast: Span = 0.0, saturation: Span = 0.0, hue: Span = 0.0):
        self.brightness = check_span("ColorJitter", "brightness", brightness, centre=1, low=0)
        self.contrast = check_span("ColorJitter", "contrast", contrast, centre=1, low=0)
        self.saturation = check_span("ColorJitter", "saturation", saturation, centre=1, low=0)
        self.hue = check_span("ColorJitter", "hue", hue, centre=0, low=-0.5, high=0.5)

    def __call__(self, x: Array, rng: SampleRandom) -> Array:
        top = check_range("ColorJitter", x)
        spans = np.array([self.brightness, self.contrast, self.saturation, self.hue], np.float32)  # (4, 2)
        drawn = rng.uniform(0, 1, (4,)) * (spans[:, 1] - spans[:, 0]) + spans[:, 0]  # (N, 4)
        brightness, contrast, saturation, hue = (each(column) for column in drawn.T)
        out = x.astype(np.float32)
        if self.brightness != (1, 1):
            out = np.clip(out * brightness, 0, top)
        if self.contrast != (1, 1):
            mean = grey_of("ColorJitter with contrast", out).mean(axis=(1, 2, 3), keepdims=True)
            out = np.clip(mean + contrast * (out - mean), 0, top)
        if self.saturation != (1, 1):
            check_colour("ColorJitter with saturation", x)
            grey = grey_of("ColorJitter", out)
            out = np.clip(grey + saturation * (out - grey), 0, top)
        if self.hue != (0, 0):
            check_colour("ColorJitter with hue", x)
            out = turn_hue(out, hue[:, 0])
        return as_pixels(out, x)


class RandomGrayscale:
    """Each image as grey with probability `p`; it keeps its three channels, all equal.  Grey as ITU-R BT.601 has it.

    uint8 or float32; ValueError for others, and for images without three channels.

    >>> RandomGrayscale(p=0.2)(np.ones((2, 3, 8, 8), np.float32), SampleRandom(0, 0, np.arange(2))).shape
    (2, 3, 8, 8)
    """

    def __init__(self, p: float = 0.1):
        self.p = check_chance("RandomGrayscale", p)

    def __call__(self, x: Array, rng: SampleRandom) -> Array:
        check_range("RandomGrayscale", x)
        check_colour("RandomGrayscale", x)
        chosen = np.flatnonzero(rng.uniform() < self.p)
        out = x.copy()
        out[chosen] = as_pixels(grey_of("RandomGrayscale", x[chosen].astype(np.float32)), x)
        return out


class GaussianNoise:
    """Normal noise added to every value; results are clipped to the range.

    sigma: the noise's standard deviation as a part of the range (of 255 for uint8), >= 0; or (smallest, largest), from
    which each image draws its own.

    uint8, or float32 within 0 to 1; ValueError for others.

    >>> GaussianNoise(0.1)(np.ones((2, 3, 8, 8), np.float32), SampleRandom(0, 0, np.arange(2))).shape
    (2, 3, 8, 8)
    """

    def __init__(self, sigma: Span = 0.1):
        self.sigma = check_span("GaussianNoise", "sigma", sigma, low=0)

    def __call__(self, x: Array, rng: SampleRandom) -> Array:
        top = check_range("GaussianNoise", x)
        sigma = rng.uniform(*self.sigma) * np.float32(top)
        noise = rng.normal(x.shape[1:])
        noise *= each(sigma)
        noise += x
        return as_pixels(np.clip(noise, 0, top, out=noise), x)


class Normalize:
    """(x - mean) / std per channel, as float32; uint8 is first taken from 0..255 to 0..1.

    mean, std: a number, or one per channel.

    >>> Normalize(0.5, 0.5)(np.full((1, 1, 2, 2), 255, "u1")).max()
    np.float32(1.0)
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


def check_colour(name: str, x: Array) -> None:
    if x.shape[1] != 3:
        raise ValueError(f"{name}: expected images (N, 3, H, W), got {x.shape}")


def grey_of(name: str, x: Array) -> Array:
    """Float32 images (N, 3, H, W) as grey (N, 1, H, W); grey ones as they are."""
    if x.shape[1] == 1:
        return x
    if x.shape[1] != 3:
        raise ValueError(f"{name}: expected images of 1 or 3 channels, got {x.shape}")
    return LUMA[0] * x[:, :1] + LUMA[1] * x[:, 1:2] + LUMA[2] * x[:, 2:]


def turn_hue(x: Array, turn: Array) -> Array:
    """Float32 images (N, 3, H, W) with `turn` (N, 1, 1), a part of the colour circle, added to their hue.

    In sextants of the circle a colour of hue h, largest value v and smallest value m has, in the channel n = 5 (red), 3
    (green), 1 (blue), the value v - (v - m) * min(max(0, min(k, 4 - k)), 1) with k = (n + h) mod 6.
    """
    red, green, blue = x[:, 0], x[:, 1], x[:, 2]
    value, smallest = x.max(axis=1), x.min(axis=1)  # (N, H, W)
    chroma = value - smallest
    per = np.divide(1, chroma, out=np.zeros_like(chroma), where=chroma > 0)
    hue = np.where(
        value == red, (green - blue) * per, np.where(value == green, 2 + (blue - red) * per, 4 + (red - green) * per)
    )
    hue += 6 * turn
    out = np.empty_like(x)
    for channel, n in enumerate((5, 3, 1)):
        k = (hue + n) % 6
        out[:, channel] = value - chroma * np.clip(np.minimum(k, 4 - k), 0, 1)
    return out
