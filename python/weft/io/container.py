"""One file that holds tensors and JSON: safetensors, with a CRC-32 per tensor in its metadata."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from weft.io.durable import write_durably
from weft.io.foreign import refuse_foreign
from weft.io.header import MAX_HEADER, Entry, HeaderError, parse, seal, to_name

Array = np.ndarray[Any, Any]


class CheckpointError(RuntimeError):
    """A file that cannot be trusted, or could not be written; names the file and, where one is at fault, the tensor."""


class CheckpointWarning(UserWarning):
    """A checkpoint was not written, or an older one had to be used; training goes on."""


def write_file(path: Path | str, tensors: Mapping[str, Array], metadata: Mapping[str, Any] | None = None) -> int:
    """Write arrays and JSON to one safetensors file, durably and all or nothing; returns its size in bytes.

    metadata: what `json.dumps` takes, under names of your own. Any safetensors reader can open the file; Weft's also
    verifies the CRC-32 of each tensor. CheckpointError if the disk is full or cannot be written: the old file is left.

    >>> write_file("weights.safetensors", {"w": numpy.ones(3)}, {"epoch": 4})               # doctest: +SKIP
    """
    path = Path(path)
    arrays, sums = {}, {}
    for name, array in tensors.items():
        try:
            to_name(array.dtype)
        except TypeError as error:
            raise TypeError(f"save: tensor {name!r}: {error}") from None
        if name == "__metadata__":
            raise ValueError("save: expected another name for a tensor than '__metadata__', which the format reserves")
        arrays[name] = as_bytes(array)
        sums[name] = f"{zlib.crc32(arrays[name].data):08x}"
    # Wide types first, so that every tensor of a memory-mapped file is aligned.
    order = sorted(arrays, key=lambda name: -tensors[name].dtype.itemsize)
    begins, place = {}, 0
    for name in order:
        begins[name], place = place, place + arrays[name].nbytes
    entries = {
        name: {"dtype": to_name(array.dtype), "shape": list(array.shape),
               "data_offsets": [begins[name], begins[name] + arrays[name].nbytes]}
        for name, array in tensors.items()
    }  # fmt: skip
    texts = {"weft.crc32": json.dumps(sums, separators=(",", ":"))}
    for name, value in (metadata or {}).items():
        plain = isinstance(value, str) and as_json(value) is value  # text that cannot be taken for JSON: other readers'
        texts[name] = value if plain else json.dumps(value, separators=(",", ":"), allow_nan=False)
    try:
        return write_durably(path, [seal(texts, entries), *(arrays[name] for name in order)])
    except OSError as error:
        kept = "the file that was there is unchanged" if path.exists() else "no file was left"
        raise CheckpointError(f"save: could not write {path}: {error.strerror or error}; {kept}") from error


def read_file(path: Path | str, *, checksums: bool = False) -> tuple[dict[str, Array], dict[str, Any]]:
    """Arrays and metadata of a safetensors file, every checksum verified.

    checksums: refuse a file that has none (of another writer). Metadata that is not JSON comes as text. The header is
    checked first, and nothing larger than the file is ever allocated. CheckpointError names the file and the tensor;
    FileNotFoundError if there is no file.

    >>> tensors, metadata = read_file("weights.safetensors")                                # doctest: +SKIP
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            contents = read_contents(file, path)
            if contents.sums is None and checksums:
                raise HeaderError("expected checksums, which every checkpoint of Weft has")
            tensors: dict[str, Array] = {}
            for name, entry in sorted(contents.entries.items(), key=lambda item: item[1].begin):
                raw = np.empty(entry.end - entry.begin, np.uint8)
                if file.readinto(raw.data) != raw.nbytes:  # entries are read in file order, so the position is right
                    raise HeaderError(f"tensor {name!r}: the file was cut while it was read")
                tensors[name] = as_tensor(raw, name, contents)
    except HeaderError as error:
        raise CheckpointError(f"{path}: {error}") from None
    return {name: tensors[name] for name in contents.entries}, contents.metadata


class Contents(NamedTuple):
    """What the header of a file says, all of it checked."""

    start: int  # of the data, in bytes
    entries: dict[str, Entry]
    sums: dict[str, str] | None  # the CRC-32 of each tensor; None in a file of another writer
    metadata: dict[str, Any]


def read_contents(file: Any, path: Path) -> Contents:
    """The header of an open file, which is left where the data begin; HeaderError says what is wrong with it."""
    size = os.fstat(file.fileno()).st_size
    head = read_head(file, size, path)
    texts, entries = parse(head, size - len(head))
    sums = read_sums(texts, entries)
    return Contents(len(head), entries, sums, {name: as_json(text) for name, text in texts.items()})


def read_head(file: Any, size: int, path: Path) -> bytes:
    """Length and header, no more than the file holds."""
    first = file.read(8)
    refuse_foreign(path, first)
    if len(first) < 8:
        raise HeaderError(f"expected a safetensors file, got {size} bytes")
    length = int.from_bytes(first, "little")
    if not 2 <= length <= min(MAX_HEADER, size - 8):
        raise HeaderError(f"expected a header of 2 to {min(MAX_HEADER, size - 8)} bytes, got {length}")
    rest = file.read(length)
    if len(rest) < length:
        raise HeaderError("the file was cut while it was read")
    return bytes(first + rest)


def read_sums(texts: dict[str, str], entries: dict[str, Entry]) -> dict[str, str] | None:
    """Name -> CRC-32 of each tensor, taken out of the metadata; None in a file of another writer."""
    texts.pop("weft.header", None)
    text = texts.pop("weft.crc32", None)
    if text is None:
        return None
    sums = as_json(text)
    if not isinstance(sums, dict) or set(sums) != set(entries):
        raise HeaderError("expected one checksum per tensor")
    return sums


def as_tensor(raw: Array, name: str, contents: Contents) -> Array:
    """The bytes of a tensor as what its entry says, once its checksum is right."""
    entry = contents.entries[name]
    if contents.sums is not None and f"{zlib.crc32(raw.data):08x}" != contents.sums[name]:
        raise HeaderError(f"tensor {name!r}: checksum does not match: the file is damaged")
    if entry.dtype == np.bool_ and raw.size and raw.max() > 1:
        raise HeaderError(f"tensor {name!r}: expected booleans of 0 and 1, got {raw.max()}")
    return raw.view(entry.dtype).reshape(entry.shape) if raw.size else np.empty(entry.shape, entry.dtype)


def as_bytes(array: Array) -> Array:
    """The elements of `array` in C order and little endian, as bytes; a view where they lie so already."""
    flat = np.ascontiguousarray(array).reshape(-1)
    if flat.dtype.newbyteorder("<") != flat.dtype:
        flat = flat.astype(flat.dtype.newbyteorder("<"))
    return flat.view(np.uint8)


def as_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
