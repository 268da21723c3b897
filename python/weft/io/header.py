"""The header of a safetensors file, checked before a byte of data is read or allocated.

A file is 8 bytes (length of the header, little endian), the header (JSON: name -> dtype, shape, offsets, and strings
under "__metadata__"), then the data. Source: https://github.com/huggingface/safetensors (format). A file of Weft's
begins its metadata with the CRC-32 of length and header, so a flipped bit is found there too.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

MAX_HEADER = 32_000_000  # bytes: parsed, a hostile one may take twenty times as much memory
MAX_TENSORS = 100_000
MAX_AXES = 32
MAX_BYTES = 2**63 - 1

NUMPY_NAMES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8",
    "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8", "C64": "<c8",
}  # fmt: skip
ML_NAMES = {"BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}

SEAL = b'{"__metadata__":{"weft.header":"'  # followed by 8 hexadecimal digits, at a fixed place
NO_SUM = b"00000000"


class HeaderError(ValueError):
    """What is wrong with a header; the reader adds the file's name."""


class Entry(NamedTuple):
    """One tensor: where its bytes lie, counted from the start of the data."""

    dtype: Any
    shape: tuple[int, ...]
    begin: int
    end: int


def to_dtype(name: str) -> Any:
    """The NumPy dtype of a safetensors name, bfloat16 and the 8-bit floats included; KeyError if unknown."""
    if name in ML_NAMES:
        import ml_dtypes

        return np.dtype(getattr(ml_dtypes, ML_NAMES[name]))
    return np.dtype(NUMPY_NAMES[name])


def to_name(dtype: Any) -> str:
    """The safetensors name of a NumPy dtype; TypeError if there is none."""
    for name, text in NUMPY_NAMES.items():
        if np.dtype(text) == dtype.newbyteorder("<"):
            return name
    for name, text in ML_NAMES.items():
        if dtype.name == text:
            return name
    hint = "; the format has no name for it: save its real and imaginary parts" if dtype.kind == "c" else ""
    raise TypeError(f"expected a dtype out of {', '.join([*NUMPY_NAMES, *ML_NAMES])}, got {dtype}{hint}")


def seal(metadata: dict[str, str], entries: dict[str, Any]) -> bytes:
    """Length and header of a file, its own checksum inside."""
    text = json.dumps({"__metadata__": {"weft.header": NO_SUM.decode(), **metadata}, **entries}, separators=(",", ":"))
    body = text.encode()
    body += b" " * (-len(body) % 8)  # the data starts at a multiple of 8
    if len(body) > MAX_HEADER:
        raise ValueError(f"save: expected a header of at most {MAX_HEADER} bytes, got {len(body)}")
    head = len(body).to_bytes(8, "little") + body
    place = 8 + len(SEAL)
    return head[:place] + b"%08x" % zlib.crc32(head) + head[place + 8 :]


def parse(head: bytes, data_size: int) -> tuple[dict[str, str], dict[str, Entry]]:
    """Metadata and entries of a header (its length included), every rule of the format checked.

    data_size: bytes that follow the header in the file. HeaderError says which rule is broken, and by which tensor.
    """
    place = 8 + len(SEAL)
    sealed = head[8:place] == SEAL
    if sealed and head[place : place + 8] != b"%08x" % zlib.crc32(head[:place] + NO_SUM + head[place + 8 :]):
        raise HeaderError("checksum of the header does not match: the file is damaged")
    if head[8:9] != b"{":
        raise HeaderError(f"header is not JSON: expected it to begin with {{, got {head[8:9]!r}")
    try:
        fields = json.loads(head[8:].decode(), object_pairs_hook=unique, parse_constant=refuse)
    except HeaderError:
        raise
    except (ValueError, RecursionError) as error:
        raise HeaderError(f"header is not JSON: {error}") from None
    metadata = fields.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise HeaderError("expected strings in __metadata__")
    if not sealed and any(key.startswith("weft.") for key in metadata):
        raise HeaderError("checksum of the header is missing: the file is damaged")
    if len(fields) > MAX_TENSORS:
        raise HeaderError(f"expected at most {MAX_TENSORS} tensors, got {len(fields)}")
    entries = {name: check_entry(name, entry) for name, entry in fields.items()}
    check_offsets(entries, data_size)
    return metadata, entries


def read_object(path: Path, limit: int) -> dict[str, Any]:
    """The JSON object in a file of at most `limit` bytes, no name in it twice; HeaderError if it is not one."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise HeaderError(f"expected at most {limit} bytes of JSON, got {size}")
        text = file.read(size)  # a larger number would be set aside first
    try:
        fields = json.loads(text.decode(), object_pairs_hook=unique, parse_constant=refuse)
    except HeaderError:
        raise
    except (ValueError, RecursionError) as error:
        raise HeaderError(f"expected JSON, got something else: {error}") from None
    if not isinstance(fields, dict):
        raise HeaderError(f"expected a JSON object, got {type(fields).__name__}")
    return fields


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object without repeated keys, which readers would otherwise resolve differently."""
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        raise HeaderError(f"expected each name once, got {next(n for n in names if names.count(n) > 1)!r} twice")
    return made


def refuse(constant: str) -> None:
    raise HeaderError(f"expected integers and strings, got {constant}")


def check_entry(name: str, entry: Any) -> Entry:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise HeaderError(f"tensor {name!r}: expected dtype, shape and data_offsets")
    try:
        dtype = to_dtype(entry["dtype"])
    except (KeyError, TypeError):
        raise HeaderError(f"tensor {name!r}: expected a known dtype, got {entry['dtype']!r}") from None
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not is_sizes(shape) or len(shape) > MAX_AXES:
        raise HeaderError(f"tensor {name!r}: expected a shape of at most {MAX_AXES} sizes, got {shape!r}")
    if not is_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise HeaderError(f"tensor {name!r}: expected data_offsets [begin, end], got {offsets!r}")
    if math.prod(size or 1 for size in shape) * dtype.itemsize > MAX_BYTES:
        raise HeaderError(f"tensor {name!r}: shape {shape} is beyond any memory")
    begin, end = offsets
    if math.prod(shape) * dtype.itemsize != end - begin:
        raise HeaderError(f"tensor {name!r}: {entry['dtype']} of shape {shape} takes "
                          f"{math.prod(shape) * dtype.itemsize} bytes, got data_offsets {offsets}")  # fmt: skip
    return Entry(dtype, tuple(shape), begin, end)


def is_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(size) is int and 0 <= size <= MAX_BYTES for size in value)


def check_offsets(entries: dict[str, Entry], data_size: int) -> None:
    """The tensors lie end to end and cover the data: nothing overlaps, nothing hides between them."""
    place = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != place:
            raise HeaderError(f"tensor {name!r}: expected to begin at byte {place} of the data, got {entry.begin}")
        place = entry.end
    if place != data_size:
        raise HeaderError(f"expected {place} bytes of data, got {data_size}: the file is "
                          + ("truncated" if data_size < place else "longer than its header says"))  # fmt: skip
