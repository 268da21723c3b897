"""A person's own photos: one folder per class."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from weft.data.dataset import Dataset

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
MAX_PIXELS = 200_000_000  # a file may declare more than any camera makes, to exhaust memory


class ImageFolder(Dataset):
    """Images in `root/<class>/<file>` as (uint8 (C, H, W), label); the classes are the folders, sorted.

    size: height and width (or one int for both); images are scaled to cover it and cropped at the centre. channels: 3
    for colour, 1 for grey. transform: `transform(image, rng) -> image`, `rng` the sample's own weft.random.Generator.
    FileNotFoundError if there is no class folder or a class is empty; ValueError names a file that is no image. Needs
    Pillow.

    >>> photos = weft.data.ImageFolder("photos", size=64)                                   # doctest: +SKIP
    >>> photos.classes                                                                      # doctest: +SKIP
    ['cat', 'dog']
    """

    def __init__(
        self,
        root: Path | str,
        size: int | tuple[int, int],
        *,
        channels: int = 3,
        transform: Callable[[Any, Any], Any] | None = None,
    ):
        self.root, self.transform = Path(root), transform
        self.size = (size, size) if isinstance(size, int) else size
        if channels not in (1, 3) or min(self.size) < 1:
            raise ValueError(f"ImageFolder: expected sizes >= 1 and channels 1 or 3, got {self.size} and {channels}")
        self.channels = channels
        if not self.root.is_dir():
            raise FileNotFoundError(f"ImageFolder: expected a folder with one folder per class, got {self.root}")
        self.classes = sorted(entry.name for entry in os.scandir(self.root) if entry.is_dir() and entry.name[0] != ".")
        if not self.classes:
            raise FileNotFoundError(f"ImageFolder: expected one folder per class in {self.root}, got no folder")
        self.files: list[Path] = []
        labels: list[int] = []
        for label, name in enumerate(self.classes):
            found = sorted(path for path in (self.root / name).rglob("*") if path.suffix.lower() in SUFFIXES)
            if not found:
                raise FileNotFoundError(f"ImageFolder: expected images in {self.root / name}, got none "
                                        f"({' '.join(SUFFIXES)})")  # fmt: skip
            self.files += found
            labels += [label] * len(found)
        self.labels = np.array(labels, np.int64)

    def __len__(self) -> int:
        return len(self.files)

    def get(self, i: int, rng: Any) -> Any:
        image = read_image(self.files[i], self.size, self.channels)
        return image if self.transform is None else self.transform(image, rng), self.labels[i]


def read_image(path: Path | str, size: tuple[int, int] | None = None, channels: int = 3) -> Any:
    """An image file as uint8 (C, H, W), turned upright, and scaled and cropped to `size` (H, W) if given.

    ValueError names a file that Pillow cannot read, or that declares more than 200 million pixels.

    >>> image = weft.data.read_image("photo.jpg", size=(224, 224))  # doctest: +SKIP
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"at most {MAX_PIXELS} pixels, got {image.width} x {image.height}")
            upright = ImageOps.exif_transpose(image).convert("RGB" if channels == 3 else "L")
            if size is not None and upright.size != (size[1], size[0]):
                upright = ImageOps.fit(upright, (size[1], size[0]), Image.Resampling.BILINEAR)
            pixels = np.asarray(upright, np.uint8)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"read_image: expected an image in {path}, got {error}") from None
    return pixels.transpose(2, 0, 1) if channels == 3 else pixels[None]
