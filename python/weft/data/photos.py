"""Small sets of photos: hand signs for digits, and the first images of CIFAR-10 as they were published."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from weft.data.catalog import CIFAR_CLASSES, CIFAR_FOLDERS, Loaded, locate
from weft.data.cifar_jpeg import decode
from weft.data.dataset import ArrayDataset
from weft.data.readers import open_archive, read_cifar

SIGNS = "https://github.com/ardamavi/Sign-Language-Digits-Dataset"
SIGN_SIDE = 100
MAX_SIGN = 1 << 18  # bytes of one photo of 100 x 100 pixels


def sign_digits(data: Path | str | None = None) -> tuple[ArrayDataset, list[str]]:
    """500 photos of hands that sign a digit, 50 of each: uint8 (3, 100, 100) with labels, and the names of the classes.

    data: the folder to look in first; then `WEFT_DATA` and the cache folder are searched. MissingDataError if they have
    none. Needs Pillow. Source: https://github.com/ardamavi/Sign-Language-Digits-Dataset (the first 50 by name of each).

    >>> photos, classes = weft.data.sign_digits()                                           # doctest: +SKIP
    """
    (path,) = locate("sign-digits", ["sign-digits"], [["sign-digits-500jpg.tar"]], data, SIGNS)
    return read_signs(path), [str(digit) for digit in range(10)]


def read_signs(archive: Path) -> ArrayDataset:
    """The photos `<folder>/<digit>/<name>.JPG` of an archive, ordered by digit and name.

    ValueError if there are none, one is no JPEG of 100 x 100 pixels, or the archive is damaged.
    """
    found: list[tuple[int, str, Any]] = []
    with open_archive("sign-digits", archive) as tar:
        for member in tar:
            path = PurePosixPath(member.name)
            if not (member.isreg() and path.suffix.lower() in (".jpg", ".jpeg")):
                continue
            digit = path.parent.name
            if digit not in tuple("0123456789") or not 0 < member.size < MAX_SIGN:
                raise ValueError(f"sign-digits: expected <digit>/<name>.JPG below {MAX_SIGN} bytes in {archive}, "
                                 f"got {member.name!r} of {member.size}")  # fmt: skip
            source = tar.extractfile(member)
            image = decode(source.read() if source else b"", path, SIGN_SIDE, "sign-digits")
            found.append((int(digit), path.name, image))
    if not found:
        raise ValueError(f"sign-digits: expected <digit>/<name>.JPG in {archive}, got none")
    found.sort(key=lambda item: item[:2])
    labels = np.array([digit for digit, _, _ in found], np.int64)
    return ArrayDataset(np.stack([image for _, _, image in found]), labels)


def cifar10_sample(data: Path | str | None = None) -> Loaded:
    """The first 4,000 training and 1,000 test images of CIFAR-10 as they were published: read in a moment.

    Arguments, errors and source as `weft.data.cifar10`, which has them all.

    >>> train, test, classes, name = weft.data.cifar10_sample()                             # doctest: +SKIP
    """
    files = [[f"cifar10-{part}.bin.gz", f"{whole}.bin"] for part, whole in (
        ("train-first4000", "data_batch_1"), ("test-first1000", "test_batch")
    )]  # fmt: skip
    train_path, test_path = locate("cifar10", CIFAR_FOLDERS, files, data)
    train, test = first(train_path, 4000), first(test_path, 1000)
    return Loaded(train, test, CIFAR_CLASSES, "CIFAR-10 (first 4,000 and 1,000 images)")


def first(path: Path, count: int) -> ArrayDataset:
    """The first images of a file in CIFAR-10's binary layout, and their labels."""
    images, labels = read_cifar(path)
    return ArrayDataset(images[:count], labels[:count])
