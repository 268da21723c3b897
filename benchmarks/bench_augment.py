"""Augmentation of whole batches beside one image after another by Pillow: `python benchmarks/bench_augment.py`.

Images per second of one thread, by the processor time it takes: 32 x 32 colour photos in batches of 128.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import harness

if __name__ == "__main__":
    harness.quiet_environment()

import numpy as np

SHAPE = (128, 3, 32, 32)


def per_second(call: Callable[[], object], rounds: int = 7) -> float:
    """Images per second of processor time, the best of several rounds."""
    best = float("inf")
    for _ in range(rounds):
        begun = time.thread_time()
        call()
        best = min(best, time.thread_time() - begun)
    return SHAPE[0] / best


def one_by_one(images, change) -> Callable[[], object]:
    """A batch whose images go through Pillow, one after another, as loaders of samples do it."""
    from PIL import Image

    def call():
        photos = [Image.fromarray(image.transpose(1, 2, 0)) for image in images]
        return np.stack([np.asarray(change(photo)).transpose(2, 0, 1) for photo in photos])

    return call


def measure() -> list[dict]:
    from PIL import Image, ImageEnhance, ImageFilter, ImageOps

    from weft.data import ColorJitter, GaussianBlur, RandomAffine, RandomHorizontalFlip, RandomResizedCrop, SampleRandom

    images = np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)
    draw = np.random.default_rng(1).uniform
    bilinear = Image.Resampling.BILINEAR

    def jitter(photo):
        for kind in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
            photo = kind(photo).enhance(draw(0.7, 1.3))
        return photo

    def cropped(photo):
        side = int(draw(12, 32))
        left, top = int(draw(0, 33 - side)), int(draw(0, 33 - side))
        return photo.resize((32, 32), bilinear, (left, top, left + side, top + side))

    pairs = {
        "flip": (RandomHorizontalFlip(), lambda photo: ImageOps.mirror(photo) if draw() < 0.5 else photo),
        "affine": (RandomAffine(15), lambda photo: photo.rotate(draw(-15, 15), bilinear)),
        "resized crop": (RandomResizedCrop(32), cropped),
        "colours": (ColorJitter(0.3, 0.3, 0.3), jitter),
        "blur": (GaussianBlur(5), lambda photo: photo.filter(ImageFilter.GaussianBlur(draw(0.1, 2)))),
    }
    rows = []
    for name, (transform, change) in pairs.items():
        rng = SampleRandom(0, 0, np.arange(SHAPE[0]))
        ours = per_second(lambda: transform(images, rng))
        naive = per_second(one_by_one(images, change))
        print(f"  {name:14s} {ours:10,.0f} images/s, one by one {naive:10,.0f}: {ours / naive:.1f} times")
        rows.append({"what": name, "images_per_second": ours, "one_by_one": naive})
    return rows


if __name__ == "__main__":
    facts = harness.announce("augmentation of batches, one thread")
    harness.save("augment", facts, measure())
