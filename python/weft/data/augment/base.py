"""What all transforms share: checks of batches and arguments, and transforms made of transforms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from weft.data.samplerandom import SampleRandom

Array = np.ndarray[Any, Any]
Transform = Callable[[Array, SampleRandom], Array]
Span = float | Sequence[float]


class Compose:
    """One transform after another.

    >>> from weft.data import Cutout, RandomHorizontalFlip
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


class RandomApply:
    """Transforms, one after another, on each image with probability `p`; the other images stay as they are.

    transforms: one or several that keep shape and dtype, else ValueError.

    >>> from weft.data import GaussianBlur
    >>> sometimes = RandomApply([GaussianBlur(3)], p=0.3)
    >>> sometimes(np.ones((2, 3, 8, 8), np.float32), SampleRandom(0, 0, np.arange(2))).shape
    (2, 3, 8, 8)
    """

    def __init__(self, transforms: Transform | Sequence[Transform], p: float = 0.5):
        self.transform = transforms if callable(transforms) else Compose(transforms)
        self.p = check_chance("RandomApply", p)

    def __call__(self, x: Array, rng: SampleRandom) -> Array:
        check_images("RandomApply", x)
        chosen = np.flatnonzero(rng.uniform() < self.p)
        own = rng.only(chosen)
        out = x.copy()
        if len(chosen):
            changed = self.transform(x[chosen], own)
            if changed.shape[1:] != x.shape[1:] or changed.dtype != x.dtype:
                raise ValueError(f"RandomApply: expected transforms that keep {x.dtype} {x.shape[1:]}, got "
                                 f"{changed.dtype} {changed.shape[1:]}: the other images stay as they are")  # fmt: skip
            out[chosen] = changed
        return out


class RandomChoice:
    """One of several transforms for each image, drawn at random.

    transforms: all to results of one shape and dtype, else ValueError. p: the probability of each; all the same if
    left out. ValueError unless they sum to one.

    >>> from weft.data import RandomHorizontalFlip, RandomVerticalFlip
    >>> either = RandomChoice([RandomHorizontalFlip(1.0), RandomVerticalFlip(1.0)], p=[0.8, 0.2])
    >>> either(np.ones((2, 3, 8, 8), np.float32), SampleRandom(0, 0, np.arange(2))).shape
    (2, 3, 8, 8)
    """

    def __init__(self, transforms: Sequence[Transform], p: Sequence[float] | None = None):
        self.transforms = list(transforms)
        if not self.transforms:
            raise ValueError("RandomChoice: expected at least one transform, got none")
        share = np.full(len(self.transforms), 1 / len(self.transforms)) if p is None else np.asarray(p, np.float64)
        if share.shape != (len(self.transforms),) or not (share >= 0).all() or abs(share.sum() - 1) > 1e-6:
            raise ValueError(f"RandomChoice: expected {len(self.transforms)} probabilities that sum to 1, got {p}")
        self.ends = np.cumsum(share)[:-1]

    def __call__(self, x: Array, rng: SampleRandom) -> Array:
        check_images("RandomChoice", x)
        choice = np.searchsorted(self.ends, rng.uniform(), side="right")  # (N,)
        out: Array | None = None
        for number, transform in enumerate(self.transforms):
            chosen = np.flatnonzero(choice == number)
            own = rng.only(chosen)
            if not len(chosen):
                continue
            changed = transform(x[chosen], own)
            if out is None:
                out = np.empty((len(x), *changed.shape[1:]), changed.dtype)
            if changed.shape[1:] != out.shape[1:] or changed.dtype != out.dtype:
                raise ValueError("RandomChoice: expected transforms to one shape and dtype, got "
                                 f"{out.dtype} {out.shape[1:]} and {changed.dtype} {changed.shape[1:]}")  # fmt: skip
            out[chosen] = changed
        return x.copy() if out is None else out


def check_images(name: str, x: Array) -> None:
    if x.ndim != 4:
        raise ValueError(f"{name}: expected images (N, C, H, W), got {x.shape}")


def check_pixels(name: str, x: Array) -> float:
    """The largest value of a pixel: 255 of uint8, 1 of float32; other images are no pixels to compute with."""
    check_images(name, x)
    if x.dtype not in (np.uint8, np.float32):
        raise ValueError(f"{name}: expected images uint8 or float32, got {x.dtype} {x.shape}")
    return 255.0 if x.dtype == np.uint8 else 1.0


def check_range(name: str, x: Array) -> float:
    """As `check_pixels`, for what clips its result: float32 images must lie within 0 to 1."""
    top = check_pixels(name, x)
    if x.dtype == np.float32 and x.size and not (x.min() >= 0 and x.max() <= 1):
        raise ValueError(f"{name}: expected float32 images within 0 to 1 (Normalize comes last), "
                         f"got {x.min()} to {x.max()}")  # fmt: skip
    return top


def check_chance(name: str, p: float) -> float:
    if not 0 <= p <= 1:
        raise ValueError(f"{name}: expected 0 <= p <= 1, got {p}")
    return p


def check_span(
    name: str, what: str, value: Span, *, centre: float | None = None, low: float = -np.inf, high: float = np.inf
) -> tuple[float, float]:
    """A range as (smallest, largest), from a pair, or from a number: so far to either side of `centre`.

    Without a centre a number is a range of this one value. ValueError unless low <= smallest <= largest <= high.
    """
    if isinstance(value, (int, float)):
        if centre is not None and not value >= 0:
            raise ValueError(f"{name}: expected {what} >= 0 or a pair, got {value}")
        pair = (float(value),) * 2 if centre is None else (max(centre - value, low), centre + value)
    else:
        pair = tuple(float(v) for v in value)  # type: ignore[assignment]
    if len(pair) != 2 or not low <= pair[0] <= pair[1] <= high or not np.isfinite(pair).all():
        bounds = f", both within {low:g} to {high:g}" if np.isfinite([low, high]).any() else ""
        raise ValueError(f"{name}: expected {what} from a smallest to a largest{bounds}, got {value}")
    return pair


def check_size(name: str, size: int | Sequence[int]) -> tuple[int, int]:
    """(height, width) of a pair, or of one int for both."""
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or not all(isinstance(side, (int, np.integer)) and side >= 1 for side in pair):
        raise ValueError(f"{name}: expected a size >= 1, or (height, width), got {size}")
    return int(pair[0]), int(pair[1])


def as_pixels(values: Array, x: Array) -> Array:
    """Computed values in the dtype of images `x`: rounded for uint8."""
    return np.rint(values).astype(x.dtype) if x.dtype == np.uint8 else values.astype(x.dtype, copy=False)


def each(values: Array) -> Array:
    """One number per image (N,), to go with images: (N, 1, 1, 1)."""
    return values[:, None, None, None]
