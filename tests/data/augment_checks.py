"""What the tests of augmentation share: real batches of noise, and runs that must not write their input."""

from __future__ import annotations

import numpy as np

from weft.data import SampleRandom

IMAGES = np.random.default_rng(0).integers(1, 255, (64, 3, 12, 10)).astype("u1")
UNIT = IMAGES.astype("f") / 255


def run(transform, x=IMAGES, epoch=0, labels=None):
    """`transform` on a batch that may not be written: the caller may keep it."""
    before = x.copy()
    rest = () if labels is None else (labels,)
    out = transform(x, *rest, SampleRandom(0, epoch, np.arange(len(x))))
    assert np.array_equal(x, before), "a transform must not write its input"
    return out


def smooth_images(n=6, channels=3, height=23, width=31, seed=1):
    """Float32 images within 0 to 1 without edges, so that a reference may differ by a rounding at a pixel's border."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    a, b, c = rng.uniform(0.05, 0.3, (3, n, channels, 1, 1))
    return (0.5 + 0.45 * np.sin(a * y + b * x + 20 * c)).astype("f")
