"""CIFAR-10 as 60,000 JPEG files in one archive, `train/<class>/0000.jpg` and so on."""

from __future__ import annotations

import io
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from weft.data.dataset import ArrayDataset
from weft.data.readers import open_archive

MAX_JPEG = 1 << 16  # bytes of one file of 32 x 32 pixels


def read_jpegs(archive: Path, labels: Path, classes: list[str]) -> tuple[ArrayDataset, ArrayDataset]:
    """Train and test part; the k-th file of a class is the k-th of that class in `labels`, one byte per train image.

    ValueError if a file is no image of 32 x 32, or the files are not those that the labels say. Needs Pillow.
    """
    order = np.fromfile(labels, np.uint8).astype(np.int64)
    if not order.size or order.max() >= len(classes):
        raise ValueError(f"cifar10: expected labels 0 to {len(classes) - 1} in {labels}, got {order.max(initial=-1)}")
    parts: dict[str, dict[int, list[Any]]] = {part: {c: [] for c in range(len(classes))} for part in ("train", "test")}
    with open_archive("cifar10", archive) as tar:
        for member in tar:
            path = PurePosixPath(member.name)
            if member.isreg() and path.suffix == ".jpg" and len(path.parts) >= 3:
                part, name = path.parts[-3:-1]
                if part not in parts or name not in classes or not 0 < member.size < MAX_JPEG:
                    raise ValueError(f"cifar10: expected train/<class>/<n>.jpg in {archive}, got {member.name!r}")
                source = tar.extractfile(member)
                image = decode(source.read() if source else b"", path, 32, "cifar10")
                parts[part][classes.index(name)].append((path.name, image))
    in_order: dict[str, list[Any]] = {}
    for part, by_class in parts.items():
        for found in by_class.values():
            found.sort(key=lambda item: item[0])
        in_order[part] = [image for found in by_class.values() for _, image in found]
    counts = [len(parts["train"][c]) for c in range(len(classes))]
    if counts != np.bincount(order, minlength=len(classes)).tolist() or not in_order["test"]:
        raise ValueError(f"cifar10: expected the images that {labels} counts in {archive}, got {counts} of each class")
    train = np.empty((len(order), 3, 32, 32), np.uint8)
    train[np.argsort(order, kind="stable")] = np.stack(in_order["train"])
    test_labels = np.repeat(np.arange(len(classes)), [len(parts["test"][c]) for c in range(len(classes))])
    return ArrayDataset(train, order), ArrayDataset(np.stack(in_order["test"]), test_labels)


def decode(content: bytes, path: PurePosixPath, side: int, name: str) -> Any:
    """A JPEG file of `side` x `side` pixels as uint8 (3, side, side); ValueError, naming the data set, for others."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
            if image.size != (side, side):
                raise ValueError(f"{image.width} x {image.height} pixels")
            return np.asarray(image.convert("RGB"), np.uint8).transpose(2, 0, 1)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{name}: expected a JPEG of {side} x {side} pixels in {path}, got {error}") from None
