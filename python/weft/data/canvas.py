"""Small scenes made of digits, with the boxes and masks that a detector and a segmenter learn from."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from weft.data.dataset import ArrayDataset
from weft.random import fold

Array = np.ndarray[Any, Any]


class Canvases(NamedTuple):
    """Scenes of digits: `labels[i]` and `boxes[i]` belong to `images[i]`; a box is (x1, y1, x2, y2) in pixels.

    >>> images, boxes, labels, masks = weft.data.digit_canvases(weft.data.mnist().train, 10)  # doctest: +SKIP
    """

    images: Array  # uint8 (N, 1, size, size)
    boxes: list[Array]  # float32 (n, 4)
    labels: list[Array]  # int64 (n,)
    masks: Array  # uint8 (N, size, size): 0 background, 1 + label where a digit has ink


def digit_canvases(
    digits: ArrayDataset, n: int, *, size: int = 64, most: int = 4, noise: float = 0.1, seed: int = 0
) -> Canvases:
    """n scenes of 1 to `most` digits, each 18 to 32 pixels high, at random places of a noisy square.

    digits: images uint8 (1, H, W) with labels, such as `mnist().train`. noise: standard deviation of what is added to
    each pixel, in 0..1 of its range. A box is as tight as a digit's ink, which is what has half of the full brightness
    or more; no two boxes share a pixel. What is made depends on `digits` and `seed` alone. Needs Pillow.
    ValueError for digits of another kind, or a size under 32.

    >>> scenes = weft.data.digit_canvases(weft.data.mnist().train, 100)                     # doctest: +SKIP
    >>> scenes.images.shape, len(scenes.boxes), scenes.masks.shape                          # doctest: +SKIP
    ((100, 1, 64, 64), 100, (100, 64, 64))
    """
    images, labels = digits.arrays
    if images.ndim != 4 or images.shape[1] != 1 or images.dtype != np.uint8:
        raise ValueError(f"digit_canvases: expected images uint8 (N, 1, H, W), got {images.dtype} {images.shape}")
    if size < 32 or most < 1:
        raise ValueError(f"digit_canvases: expected size >= 32 and most >= 1, got {size} and {most}")
    rng = np.random.default_rng(fold(seed))
    scenes, masks = np.zeros((n, size, size), np.uint8), np.zeros((n, size, size), np.uint8)
    all_boxes, all_labels = [], []
    for scene, mask in zip(scenes, masks):
        boxes: list[tuple[int, ...]] = []
        chosen: list[int] = []
        for i in rng.integers(0, len(images), rng.integers(1, most + 1)):
            digit = resized(images[i, 0], int(rng.integers(18, 33)))  # (h, w)
            place = free_place(digit.shape, boxes, size, rng)
            if place is None:
                continue
            top, left = place
            bottom, right = top + digit.shape[0], left + digit.shape[1]
            scene[top:bottom, left:right] = digit
            mask[top:bottom, left:right][digit >= 128] = 1 + labels[i]
            boxes.append((left, top, right, bottom))
            chosen.append(int(labels[i]))
        all_boxes.append(np.asarray(boxes, np.float32))
        all_labels.append(np.asarray(chosen, np.int64))
    noisy = scenes + rng.normal(0, 255 * noise, scenes.shape).astype(np.float32)
    return Canvases(np.clip(noisy, 0, 255).astype(np.uint8)[:, None], all_boxes, all_labels, masks)


def resized(image: Array, height: int) -> Array:
    """The ink of a digit uint8 (H, W), cut out, `height` pixels high or wide, whichever is more."""
    from PIL import Image

    image = cut(image)
    scale = height / max(image.shape)
    shape = [max(round(side * scale), 1) for side in image.shape]
    # Resizing blurs the border: what falls under the ink's threshold there is cut off again.
    return cut(np.asarray(Image.fromarray(image).resize((shape[1], shape[0]), Image.Resampling.BILINEAR)))


def cut(image: Array) -> Array:
    """The least rectangle that holds all ink, or the whole image where there is none."""
    ink = image >= 128
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] if len(rows) else image


def free_place(
    shape: tuple[int, ...], boxes: list[tuple[int, ...]], size: int, rng: np.random.Generator
) -> tuple[int, int] | None:
    """The top left corner of a place that no box reaches into, or None if 20 draws found none."""
    for _ in range(20):
        top, left = (int(rng.integers(0, size - side + 1)) for side in shape)
        bottom, right = top + shape[0], left + shape[1]
        if all(right <= x1 or x2 <= left or bottom <= y1 or y2 <= top for x1, y1, x2, y2 in boxes):
            return top, left
    return None
