"""TensorProto to NumPy: every size is checked against the bytes that are there before an array is made.

External data never leaves the folder of the model: each step of its path is opened below the step before, links of
either kind are refused, and no two tensors may claim the same bytes.
"""

from __future__ import annotations

import hashlib
import math
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, numpy_helper

from weft.onnx.dtypes import SIZES, dtype_of

MAX_BYTES = 2**63 - 1
MAX_AXES = 32

# The field that holds the values of a type where raw_data does not, and how many values an entry holds.
FIELDS = {
    TensorProto.FLOAT: "float_data", TensorProto.COMPLEX64: "float_data",
    TensorProto.DOUBLE: "double_data", TensorProto.COMPLEX128: "double_data",
    TensorProto.INT64: "int64_data", TensorProto.UINT32: "uint64_data", TensorProto.UINT64: "uint64_data",
}  # fmt: skip
ENTRIES = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")


class External:
    """The files of external data below one folder, and which of their bytes are taken."""

    def __init__(self, folder: Path | str | None):
        self.folder = folder
        self.taken: dict[tuple[int, int], list[tuple[int, int]]] = {}  # (device, inode) -> [(begin, end)]
        self.digests: dict[tuple[int, int], str] = {}  # (device, inode) -> SHA-1 of the file

    def read(self, tensor: Any, nbytes: int) -> bytes:
        """The bytes of a tensor that lies outside; ValueError unless its entry is exactly what is allowed."""
        entries = {entry.key: entry.value for entry in tensor.external_data}
        if len(entries) != len(tensor.external_data):
            raise ValueError("expected each key of external_data once, got one twice")
        unknown = entries.keys() - {"location", "offset", "length", "checksum"}
        if unknown or "location" not in entries:
            raise ValueError(f"expected external_data with location, offset, length, checksum, got {sorted(entries)}")
        if self.folder is None:
            raise ValueError("expected the values inside of the model, got external data of a model that is no file")
        offset, length = (size_of(entries, key) for key in ("offset", "length"))
        if length is not None and length != nbytes:
            raise ValueError(f"expected external data of {nbytes} bytes by type and dims, got length {length}")
        begin = offset or 0
        descriptor = open_below(self.folder, entries["location"])
        try:
            found = os.fstat(descriptor)
            if begin + nbytes > found.st_size:
                raise ValueError(
                    f"expected bytes {begin} to {begin + nbytes} of {entries['location']!r}, which has {found.st_size}"
                )
            place = (found.st_dev, found.st_ino)
            self.claim(place, begin, begin + nbytes, entries["location"])
            with os.fdopen(os.dup(descriptor), "rb") as file:
                if "checksum" in entries:
                    self.verify(place, file, entries["checksum"], entries["location"])
                file.seek(begin)
                data = file.read(nbytes)
        finally:
            os.close(descriptor)
        if len(data) != nbytes:
            raise ValueError(f"expected {nbytes} bytes of {entries['location']!r}, got {len(data)}: it was cut")
        return data

    def verify(self, place: tuple[int, int], file: Any, checksum: str, location: str) -> None:
        """The whole file has the SHA-1 that the model gives; each file is read for it once."""
        if place not in self.digests:
            digest = hashlib.file_digest(file, lambda: hashlib.sha1(usedforsecurity=False))
            self.digests[place] = digest.hexdigest()
        if checksum.lower() != self.digests[place]:
            raise ValueError(f"expected {location!r} of SHA-1 {checksum!r}, got {self.digests[place]}: it was changed")

    def claim(self, file: tuple[int, int], begin: int, end: int, location: str) -> None:
        """Bytes of a file belong to one tensor: a small file cannot fill the memory."""
        spans = self.taken.setdefault(file, [])
        if begin < end and any(begin < b and a < end for a, b in spans):
            raise ValueError(f"expected bytes {begin} to {end} of {location!r} for one tensor, got them for two")
        spans.append((begin, end))


def size_of(entries: dict[str, str], key: str) -> int | None:
    text = entries.get(key)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ValueError(f"expected {key} of external data as a number of bytes, got {text!r}")
    return int(text)


def open_below(folder: Path | str, location: str) -> int:
    """A descriptor of the regular file `location` below `folder`; ValueError for a path that leads elsewhere."""
    parts = location.split("/")
    if not location or "\\" in location or "\0" in location or any(p in ("", ".", "..") for p in parts):
        raise ValueError(f"expected external data at a plain path below the model's folder, got {location!r}")
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for i, part in enumerate(parts):
            kind = os.O_NONBLOCK if i == len(parts) - 1 else os.O_DIRECTORY  # no waiting for a pipe
            try:
                below = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | kind, dir_fd=place)
            except OSError as error:
                why = error.strerror or error
                raise ValueError(f"expected external data in a regular file, got {location!r}: {why}") from None
            os.close(place)
            place = below
        found = os.fstat(place)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise ValueError(f"expected external data in a regular file with one name, got {location!r}")
    except BaseException:
        os.close(place)
        raise
    return place


def count_of(dims: Any, code: int) -> tuple[int, int]:
    """(values, bytes) of a tensor of these dims; ValueError for what no memory holds."""
    if len(dims) > MAX_AXES or any(n < 0 for n in dims):
        raise ValueError(f"expected at most {MAX_AXES} dims of at least 0, got {list(dims)[:40]}")
    if math.prod(n or 1 for n in dims) * SIZES[code] // 8 > MAX_BYTES:
        raise ValueError(f"dims {list(dims)} are beyond any memory")
    count = math.prod(dims)
    return count, -(-count * SIZES[code] // 8)


def to_array(tensor: Any, external: External) -> np.ndarray[Any, Any]:
    """The values of a TensorProto. ValueError where its fields do not agree, naming both sizes."""
    code = tensor.data_type
    dtype = dtype_of(code)
    count, nbytes = count_of(tensor.dims, code)
    if tensor.HasField("segment"):
        raise ValueError("expected a whole tensor, got a segment of one")
    filled = [name for name in ENTRIES if len(getattr(tensor, name))]
    raw = tensor.HasField("raw_data")
    if tensor.data_location == TensorProto.EXTERNAL:
        if raw or filled:
            raise ValueError("expected external values only, got some inside of the model too")
        data = external.read(tensor, nbytes)
        inner = TensorProto(data_type=code, dims=tensor.dims, raw_data=data)
        return whole(numpy_helper.to_array(inner), dtype)
    if len(tensor.external_data):
        raise ValueError("expected external_data only where data_location says EXTERNAL")
    if raw:
        if filled:
            raise ValueError(f"expected the values in one field, got raw_data and {', '.join(filled)}")
        if len(tensor.raw_data) != nbytes:
            raise ValueError(f"expected {nbytes} bytes for dims {list(tensor.dims)}, got {len(tensor.raw_data)}")
    else:
        field = FIELDS.get(code, "int32_data")
        entries = 2 * count if dtype.kind == "c" else nbytes if SIZES[code] < 8 else count
        if [name for name in filled if name != field] or len(getattr(tensor, field)) != entries:
            got = ", ".join(f"{len(getattr(tensor, name))} of {name}" for name in filled) or "none"
            raise ValueError(f"expected {entries} values of {field} for dims {list(tensor.dims)}, got {got}")
    return whole(numpy_helper.to_array(tensor), dtype)


def whole(array: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """The array in memory of its own that may be written, in the dtype that is asked for."""
    if dtype == np.bool_ and array.size and array.view(np.uint8).max() > 1:
        raise ValueError(f"expected booleans of 0 and 1, got {array.view(np.uint8).max()}")
    return np.array(array, dtype=dtype, order="C")
