"""Scenes of digits: boxes hold their ink, masks are where it is, and nothing depends on what was made before."""

from __future__ import annotations

import numpy as np
import pytest

from policy import needs
from weft.data import ArrayDataset, digit_canvases


def blobs(n=12):
    """Images with one bright rectangle each, whose sides are the sample's own, and their labels."""
    images = np.zeros((n, 1, 28, 28), np.uint8)
    for i, image in enumerate(images[:, 0]):
        image[4 : 24 - i, 6 : 14 + i] = 255
    return ArrayDataset(images, np.arange(n) % 10)


@needs("PIL")
def test_boxes_and_masks_agree():
    scenes = digit_canvases(blobs(), 40, size=56, most=5, noise=0.0, seed=3)
    assert scenes.images.shape == (40, 1, 56, 56) and scenes.masks.shape == (40, 56, 56)
    counts = set()
    for image, boxes, labels, mask in zip(scenes.images[:, 0], *scenes[1:]):
        counts.add(len(boxes))
        assert len(boxes) == len(labels) >= 1
        assert np.array_equal(mask > 0, image >= 128)
        rest = mask.copy()
        for (x1, y1, x2, y2), label in zip(boxes.astype(int), labels):
            part = rest[y1:y2, x1:x2]
            assert set(np.unique(part)) <= {0, 1 + label} and 17 <= max(part.shape) <= 32
            assert all((side > 0).any() for side in (part[0], part[-1], part[:, 0], part[:, -1]))  # tight
            rest[y1:y2, x1:x2] = 0
        assert not rest.any()  # no ink outside of boxes
    assert len(counts) > 2


@needs("PIL")
def test_seeds_and_noise():
    first, again = (digit_canvases(blobs(), 5, seed=1) for _ in range(2))
    other, still = digit_canvases(blobs(), 5, seed=2), digit_canvases(blobs(), 5, seed=1, noise=0.0)
    assert np.array_equal(first.images, again.images) and not np.array_equal(first.images, other.images)
    assert np.array_equal(first.masks, still.masks) and np.unique(first.images).size > np.unique(still.images).size
    empty = digit_canvases(blobs(), 0)
    assert empty.images.shape == (0, 1, 64, 64) and empty.boxes == []


def test_refusals():
    with pytest.raises(ValueError, match=r"uint8 \(N, 1, H, W\), got float64 \(2, 1, 8, 8\)"):
        digit_canvases(ArrayDataset(np.zeros((2, 1, 8, 8)), np.zeros(2, int)), 1)
    with pytest.raises(ValueError, match="size >= 32"):
        digit_canvases(blobs(), 1, size=31)
