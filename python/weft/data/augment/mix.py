"""Two images and their labels made one: for `DataLoader(mix=...)`, which hands over whole batches with their labels.

Each image takes the next one of its batch for a partner. So a mixed sample depends on the batch that it is in, which is
itself a function of seed, epoch and position: the same whatever the number of workers, and again after a resume.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from weft.data.augment.base import Array, as_pixels, check_images, check_pixels, each
from weft.data.samplerandom import SampleRandom


class MixUp:
    """Each image as a mean of two, w and 1 - w of them, and their labels as probabilities of the same shares.

    alpha: w is Beta(alpha, alpha) distributed, > 0: small ones mostly keep one image, 1 is uniform. num_classes: labels
    (N,) are integers below it, and become float32 (N, num_classes), what `cross_entropy` takes as a target.
    Images uint8 or float32 of any range.  Source: arXiv:1710.09412.

    >>> mix = MixUp(alpha=0.2, num_classes=10)
    >>> images, rng = np.ones((2, 3, 8, 8), np.float32), SampleRandom(0, 0, np.arange(2))
    >>> mixed, targets = mix(images, np.array([3, 7]), rng)
    >>> mixed.shape, targets.shape
    ((2, 3, 8, 8), (2, 10))
    """

    def __init__(self, alpha: float = 1.0, *, num_classes: int):
        self.alpha, self.num_classes = check_mix("MixUp", alpha, num_classes)

    def __call__(self, x: Array, labels: Array, rng: SampleRandom) -> tuple[Array, Array]:
        check_pixels("MixUp", x)
        check_labels("MixUp", x, labels, self.num_classes)
        share = beta(rng, self.alpha)
        mixed = each(share) * x + each(1 - share) * np.roll(x, -1, axis=0)
        return as_pixels(mixed, x), mixed_labels(labels, share, self.num_classes)


class CutMix:
    """A rectangle of each image replaced by that of another, and their labels as probabilities by their pixels' shares.

    alpha: the rectangle's part of the image is 1 - w, w as in `MixUp`; its centre is anywhere in the image, and what
    lies outside is cut off. num_classes and labels as in `MixUp`. Images of any dtype.  Source: arXiv:1905.04899.

    >>> mix = CutMix(num_classes=10)
    >>> images, rng = np.ones((2, 3, 8, 8), np.float32), SampleRandom(0, 0, np.arange(2))
    >>> mixed, targets = mix(images, np.array([3, 7]), rng)
    >>> mixed.shape, targets.shape
    ((2, 3, 8, 8), (2, 10))
    """

    def __init__(self, alpha: float = 1.0, *, num_classes: int):
        self.alpha, self.num_classes = check_mix("CutMix", alpha, num_classes)

    def __call__(self, x: Array, labels: Array, rng: SampleRandom) -> tuple[Array, Array]:
        check_images("CutMix", x)
        check_labels("CutMix", x, labels, self.num_classes)
        height, width = x.shape[2:]
        side = np.sqrt(1 - beta(rng, self.alpha))  # of the rectangle, as a part of the image's
        rows = stretch(rng.uniform(0, height), side * height, height)  # (N, H)
        columns = stretch(rng.uniform(0, width), side * width, width)
        inside = rows[:, :, None] & columns[:, None, :]  # (N, H, W)
        share = 1 - inside.mean(axis=(1, 2), dtype=np.float64)
        mixed = np.where(inside[:, None], np.roll(x, -1, axis=0), x)
        return mixed, mixed_labels(labels, share.astype(np.float32), self.num_classes)


def stretch(centre: Array, length: Array, size: int) -> Array:
    """Which of `size` pixels lie in a stretch of `length` about `centre`, bool (N, size)."""
    begin, end = np.rint(centre - length / 2), np.rint(centre + length / 2)
    place = np.arange(size)
    return (place >= begin[:, None]) & (place < end[:, None])


def check_mix(name: str, alpha: float, num_classes: int) -> tuple[float, int]:
    if not 0 < alpha < math.inf or num_classes < 1:
        raise ValueError(f"{name}: expected alpha > 0 and num_classes >= 1, got {alpha} and {num_classes}")
    return float(alpha), num_classes


def check_labels(name: str, x: Array, labels: Array, num_classes: int) -> None:
    if labels.dtype.kind not in "iu" or labels.shape != x.shape[:1]:
        raise ValueError(f"{name}: expected integer labels ({len(x)},) of images {x.shape}, "
                         f"got {labels.dtype} {labels.shape}")  # fmt: skip
    if labels.size and not (labels.min() >= 0 and labels.max() < num_classes):
        raise IndexError(f"{name}: expected labels in [0, {num_classes}), got {labels.min()} to {labels.max()}")


def mixed_labels(labels: Array, share: Array, num_classes: int) -> Array:
    """`share` (N,) of each label and the rest of its partner's, float32 (N, num_classes)."""
    out = np.zeros((len(labels), num_classes), np.float32)
    row = np.arange(len(labels))
    out[row, labels] = share
    out[row, np.roll(labels, -1)] += 1 - share  # added: the partner may be of the same class
    return out


def beta(rng: SampleRandom, alpha: float) -> Array:
    """Beta(alpha, alpha) distributed numbers, float32 (N,): the quantiles of uniforms."""
    mass, t, power = beta_table(alpha)
    u = rng.uniform().astype(np.float64)
    lower = np.interp(np.minimum(u, 1 - u), mass, t) ** (1 / power)  # the density is symmetric about 1/2
    return np.where(u < 0.5, lower, 1 - lower).astype(np.float32)


@functools.lru_cache(maxsize=16)
def beta_table(alpha: float, steps: int = 8192) -> tuple[Array, Array, float]:
    """The lower half of the distribution: probabilities from 0 to 1/2, their quantiles w as t = w**power, and power.

    The density of w is proportional to (w (1 - w))**(alpha - 1), which has a pole at 0 where alpha < 1; that of
    t = w**alpha has none.
    """
    power = min(alpha, 1.0)
    t = np.linspace(0, 0.5**power, steps + 1)
    w = t ** (1 / power)
    density = (1 - w) ** (alpha - 1) if alpha < 1 else (4 * w * (1 - w)) ** (alpha - 1)
    mass = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return mass / (2 * mass[-1]), t, power
