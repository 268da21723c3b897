"""TensorBoard's event files, written by hand: protobuf messages in records with checksums.

A file is a series of TFRecords (length, checksum of it, bytes, checksum of them), each an Event message.
Sources: protobuf.dev, "Encoding"; RFC 3720 B.4 (CRC32C); tensorflow/core/util/event.proto and framework/summary.proto.
"""

from __future__ import annotations

import functools
import struct
import threading
from pathlib import Path
from typing import Any

import numpy as np

# ---- protobuf: a message is its fields one after another

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def varint(value: int) -> bytes:
    """An integer in seven bits per byte, the lowest first; negative ones as 64 bits in two's complement."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def integer(number: int, value: int) -> bytes:
    """Field `number`: an int64, an enum or a bool."""
    return varint(number << 3 | VARINT) + varint(int(value))


def double(number: int, value: float) -> bytes:
    return varint(number << 3 | FIXED64) + struct.pack("<d", value)


def single(number: int, value: float) -> bytes:
    with np.errstate(over="ignore"):  # beyond float32 is infinity
        return varint(number << 3 | FIXED32) + np.float32(value).astype("<f4").tobytes()


def data(number: int, *parts: bytes | str) -> bytes:
    """Field `number`: bytes, a string, or a message that consists of `parts`."""
    body = b"".join(part.encode() if isinstance(part, str) else part for part in parts)
    return varint(number << 3 | BYTES) + varint(len(body)) + body


def doubles(number: int, values: Any) -> bytes:
    """Field `number`: repeated doubles, packed."""
    return data(number, np.asarray(values, "<f8").tobytes())


# ---- CRC32C

POLYNOMIAL = 0x82F63B78  # Castagnoli's, bits reversed
LANE = 256  # bytes that one lane of a long text goes through


def crc_table() -> np.ndarray[Any, Any]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(POLYNOMIAL), table >> 1)
    return table


TABLE = crc_table()
SHORT = TABLE.tolist()


def after_zeros(n: int) -> np.ndarray[Any, Any]:
    """What a register becomes of each byte value at each of its four places while n zero bytes go through, (4, 256)."""
    state = (np.arange(256, dtype=np.uint32) << np.array([[0], [8], [16], [24]], np.uint32)).astype(np.uint32)
    for _ in range(n):
        state = TABLE[state & 255] ^ state >> 8
    return state


@functools.cache
def jump() -> list[list[int]]:
    """What a lane of zeros makes of each byte of a register, by its place. Made for the first long text."""
    return after_zeros(LANE).tolist()


def crc32c(text: bytes) -> int:
    """The CRC32C of bytes. Long texts go through the table in lanes, all at once, and the lanes are put together."""
    register, rest = 0xFFFFFFFF, text
    if len(text) >= 16 * LANE:
        whole = len(text) // LANE * LANE
        columns = np.frombuffer(text, np.uint8, whole).reshape(-1, LANE).T
        lanes = np.zeros(whole // LANE, np.uint32)
        for column in columns:
            lanes = TABLE[(lanes ^ column) & 255] ^ lanes >> 8
        table = jump()
        for lane in lanes.tolist():  # what came before goes through a lane of zeros, and the lane's own is added
            register = (
                table[0][register & 255] ^ table[1][register >> 8 & 255] ^ table[2][register >> 16 & 255]
                ^ table[3][register >> 24] ^ lane
            )  # fmt: skip
        rest = text[whole:]
    for byte in rest:
        register = SHORT[(register ^ byte) & 255] ^ register >> 8
    return register ^ 0xFFFFFFFF


def masked(text: bytes) -> bytes:
    """The checksum of a TFRecord: rotated and shifted, for texts that hold checksums themselves."""
    crc = crc32c(text)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def record(body: bytes) -> bytes:
    """`body` as a TFRecord."""
    length = struct.pack("<Q", len(body))
    return length + masked(length) + body + masked(body)


# ---- events


def event(wall_time: float, step: int, *fields: bytes) -> bytes:
    """An Event with the time in seconds since 1970 and the step."""
    return double(1, wall_time) + (integer(2, step) if step else b"") + b"".join(fields)


def value(tag: str, *fields: bytes) -> bytes:
    """The field of an Event that is a Summary of one Value."""
    return data(5, data(1, data(1, tag), *fields))


def plugin(name: str, content: bytes = b"") -> bytes:
    """The metadata of a Value that belongs to one of TensorBoard's dashboards."""
    return data(9, data(1, data(1, name), data(2, content) if content else b""))


class EventFile:
    """One event file, to which several threads may write; `flush` puts what was written on the disk's way."""

    def __init__(self, path: Path, wall_time: float):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.lock = threading.Lock()
        self.file = open(path, "xb")  # noqa: SIM115  (closed by `close`)
        self.write(event(wall_time, 0, data(3, "brain.Event:2")))

    def write(self, body: bytes) -> None:
        with self.lock:
            self.file.write(record(body))

    def flush(self) -> None:
        with self.lock:
            self.file.flush()

    def close(self) -> None:
        with self.lock:
            self.file.close()
