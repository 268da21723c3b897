"""Readers of IDX and CIFAR-10 files; every size is checked against the file before it is believed."""

from __future__ import annotations

import contextlib
import gzip
import math
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

Array = np.ndarray[Any, Any]
IDX_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MAX_AXES = 8
DEFLATE_RATIO = 1032  # no deflate stream expands more than this
CIFAR_RECORD = 1 + 3 * 32 * 32


def read_idx(path: Path | str) -> Array:
    """The array in an IDX file (MNIST's format), gzipped or not, in the shape that its header says.

    ValueError if the file is not IDX, is cut, or holds more than its header says. Source: yann.lecun.com/exdb/mnist.

    >>> read_idx("train-images-idx3-ubyte.gz").shape                                        # doctest: +SKIP
    (60000, 28, 28)
    """
    path = Path(path)
    with open_plain(path) as file:
        head = read_bytes(path, file, 4)
        dtype, axes = IDX_DTYPES.get(head[2]), head[3]
        if head[:2] != b"\0\0" or dtype is None or not 1 <= axes <= MAX_AXES:
            raise ValueError(f"read_idx: expected an IDX file, got {path}, which begins with {head.hex(' ')}")
        shape = tuple(int(n) for n in np.frombuffer(read_bytes(path, file, 4 * axes), ">u4"))
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if size > path.stat().st_size * DEFLATE_RATIO:
            raise ValueError(f"read_idx: expected {size} bytes in {path}, as its shape {shape} says, got a file of "
                             f"{path.stat().st_size}")  # fmt: skip
        data = read_bytes(path, file, size)
        if read_some(path, file, 1):
            raise ValueError(f"read_idx: expected {size} bytes in {path}, as its shape {shape} says, got more")
    array = np.frombuffer(data, dtype).reshape(shape)
    return array.astype(array.dtype.newbyteorder("="))


def read_cifar(path: Path | str) -> tuple[Array, Array]:
    """Images uint8 (N, 3, 32, 32) and labels int64 (N,) of a CIFAR-10 file in its binary layout, gzipped or not.

    ValueError if the file is not whole records of 3073 bytes, or a label is above 9.
    Source: https://www.cs.toronto.edu/~kriz/cifar.html.

    >>> images, labels = weft.data.read_cifar("data_batch_1.bin")  # doctest: +SKIP
    """
    path = Path(path)
    with open_plain(path) as file:
        data = read_some(path, file, 100_000 * CIFAR_RECORD)
        if read_some(path, file, 1):
            raise ValueError(f"read_cifar: expected at most 100000 images in {path}, got more")
    if not data or len(data) % CIFAR_RECORD:
        raise ValueError(f"read_cifar: expected records of {CIFAR_RECORD} bytes in {path}, got {len(data)} bytes")
    records = np.frombuffer(data, np.uint8).reshape(-1, CIFAR_RECORD)
    labels = records[:, 0].astype(np.int64)
    if labels.max() > 9:
        raise ValueError(f"read_cifar: expected labels 0 to 9 in {path}, got {labels.max()}")
    return records[:, 1:].reshape(-1, 3, 32, 32).copy(), labels


@contextlib.contextmanager
def open_archive(name: str, path: Path) -> Iterator[tarfile.TarFile]:
    """A tar archive, packed or not; damage that is met in the block is a ValueError that begins with `name`."""
    import lzma

    try:
        with tarfile.open(path) as tar:
            yield tar
    except FileNotFoundError:
        raise
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError) as error:
        raise ValueError(f"{name}: expected a whole tar archive, got {path}: {error}") from None


def open_plain(path: Path) -> BinaryIO:
    """The file, unpacked while it is read if it is gzipped."""
    file = open(path, "rb")
    if file.read(2) == b"\x1f\x8b":
        file.close()
        return cast(BinaryIO, gzip.open(path, "rb"))
    file.seek(0)
    return file


def read_some(path: Path, file: BinaryIO, n: int) -> bytes:
    """At most `n` bytes; a damaged gzip file is a ValueError like any other damage."""
    parts, left = [], n
    try:
        while left and (part := file.read(min(left, 1 << 24))):
            parts.append(part)
            left -= len(part)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"expected a whole gzip file, got {path}: {error}") from None
    return b"".join(parts)


def read_bytes(path: Path, file: BinaryIO, n: int) -> bytes:
    data = read_some(path, file, n)
    if len(data) < n:
        raise ValueError(f"expected {n} more bytes in {path}, got {len(data)}: the file is cut")
    return data
