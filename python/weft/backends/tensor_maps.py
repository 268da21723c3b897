"""Tensor maps: how TMA finds boxes of a tensor in global memory.

Sources: PTX ISA, "tensor map"; the driver's API reference, "Tensor Map Object Management", whose names and order
(innermost dimension first) are kept here.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from weft.backends.capturing import state as capturing

#: CUtensorMapDataType by dtype character, and by name where a dtype does not tell.
DATA_TYPES = {
    "B": 0, "b": 0, "?": 0, "H": 1, "h": 1, "I": 2, "i": 3, "Q": 4, "L": 4, "q": 5, "l": 5,
    "e": 6, "f": 7, "d": 8, "E": 9, "tf32": 11,
}  # fmt: skip
SIZES = (1, 2, 4, 4, 8, 8, 2, 4, 8, 2, 4, 4, 4)
SWIZZLES = {0: 0, 32: 1, 64: 2, 128: 3}
INTERLEAVES = {None: 0, "none": 0, 16: 1, 32: 2}
PROMOTIONS = {0: 0, 64: 1, 128: 2, 256: 3}
FILLS = {"zero": 0, "nan": 1}


class TensorMap:
    """128 bytes that a kernel takes as `const __grid_constant__ TensorMap`; made by `tensor_map`."""

    __slots__ = ("address", "bits", "device_name", "memory", "ordinal", "text")

    def __init__(self, device_name: str, text: str):
        self.device_name = device_name
        self.ordinal = int(device_name.removeprefix("cuda:")) if device_name.startswith("cuda:") else -1
        self.text = text
        self.memory = ctypes.create_string_buffer(128 + 64)
        start = -ctypes.addressof(self.memory) % 64  # the driver wants 64-byte alignment
        self.bits = (ctypes.c_char * 128).from_buffer(self.memory, start)
        self.address = ctypes.addressof(self.bits)

    def __repr__(self) -> str:
        return f"TensorMap({self.text})"


MAPS: dict[Any, TensorMap] = {}
MOST_MAPS = 4096


def tensor_map(
    array: Any,
    shape: Sequence[int],
    strides: Sequence[int],
    box: Sequence[int],
    *,
    swizzle: int = 0,
    dtype: Any = None,
    interleave: Any = None,
    fill: str = "zero",
    element_strides: Sequence[int] | None = None,
    promotion: int = 256,
) -> TensorMap:
    """The map of a tensor at the start of `array`, read and written in boxes of `box` elements.

    shape, box: innermost dimension first, 1 to 5 of them; strides: bytes, of all but the innermost. swizzle: 0, 32, 64
    or 128 bytes. dtype: the array's, or "tf32" to round float32 on the way. fill: what lies outside, "zero" or "nan".
    promotion: bytes that L2 fetches at once. Maps are kept by address and arguments. ValueError names the rule that an
    argument breaks.
    """
    where, pointer = array.device_name, array.pointer
    if capturing.recorder is not None:
        capturing.recorder.pin(array)  # a map alone keeps no memory
    type_ = array.dtype.char if dtype is None else dtype if isinstance(dtype, str) else np.dtype(dtype).char
    key = (where, pointer, tuple(shape), tuple(strides), tuple(box), swizzle, type_, interleave, fill,
           None if element_strides is None else tuple(element_strides), promotion)  # fmt: skip
    found = MAPS.get(key)
    if found is None:
        found = keep(key, encode(where, pointer, shape, strides, swizzle, type_, interleave, fill,
                                 element_strides, promotion, box=box))  # fmt: skip
    return found


def tensor_map_im2col(
    array: Any,
    shape: Sequence[int],
    strides: Sequence[int],
    lower: Sequence[int],
    upper: Sequence[int],
    channels: int,
    pixels: int,
    *,
    swizzle: int = 0,
    dtype: Any = None,
    interleave: Any = None,
    fill: str = "zero",
    element_strides: Sequence[int] | None = None,
    promotion: int = 256,
) -> TensorMap:
    """The map of images at the start of `array`, read as columns of `pixels` pixels by `channels` channels.

    shape: channels, width, (height, (depth,)) images; strides: bytes, of all but the channels. lower, upper: the
    corners of the box of pixels in width, height, depth, relative to the image's own. The rest as in `tensor_map`.
    """
    where, pointer = array.device_name, array.pointer
    if capturing.recorder is not None:
        capturing.recorder.pin(array)
    type_ = array.dtype.char if dtype is None else dtype if isinstance(dtype, str) else np.dtype(dtype).char
    key = (where, pointer, tuple(shape), tuple(strides), tuple(lower), tuple(upper), channels, pixels, swizzle, type_,
           interleave, fill, None if element_strides is None else tuple(element_strides), promotion)  # fmt: skip
    found = MAPS.get(key)
    if found is None:
        found = keep(key, encode(where, pointer, shape, strides, swizzle, type_, interleave, fill, element_strides,
                                 promotion, columns=(tuple(lower), tuple(upper), channels, pixels)))  # fmt: skip
    return found


def keep(key: Any, made: TensorMap) -> TensorMap:
    if len(MAPS) >= MOST_MAPS:
        for old in list(MAPS)[: MOST_MAPS // 2]:  # the oldest; one in use is simply encoded anew
            MAPS.pop(old, None)
    MAPS[key] = made
    return made


def one_of(what: str, value: Any, table: dict[Any, int]) -> int:
    if value not in table:
        raise ValueError(f"tensor_map: expected {what} to be one of {', '.join(map(str, table))}, got {value!r}")
    return table[value]


def encode(
    where: str,
    pointer: int,
    shape: Sequence[int],
    strides: Sequence[int],
    swizzle: int,
    type_: str,
    interleave: Any,
    fill: str,
    element_strides: Sequence[int] | None,
    promotion: int,
    *,
    box: Sequence[int] = (),
    columns: tuple[tuple[int, ...], tuple[int, ...], int, int] | None = None,
) -> TensorMap:
    """A new map, made by the driver, or by the emulated device for arrays of its own."""
    rank = len(shape)
    data_type = one_of("dtype", type_, DATA_TYPES)
    choices = [one_of("interleave", interleave, INTERLEAVES), one_of("swizzle", swizzle, SWIZZLES),
               one_of("promotion", promotion, PROMOTIONS), one_of("fill", fill, FILLS)]  # fmt: skip
    steps = tuple(element_strides) if element_strides is not None else (1,) * rank
    inner = columns[2] if columns else (box[0] if len(box) else 0)
    check(pointer, shape, strides, box, columns, steps, swizzle, inner * SIZES[data_type], interleave)
    text = f"{where}, shape {tuple(shape)}, strides {tuple(strides)}, box {columns or tuple(box)}, swizzle {swizzle}"
    made = TensorMap(where, text)
    u64, u32 = ctypes.c_uint64, ctypes.c_uint32
    head = (ctypes.byref(made.bits), ctypes.c_int(data_type), u32(rank), ctypes.c_void_p(pointer),
            (u64 * rank)(*shape), (u64 * max(rank - 1, 1))(*strides))  # fmt: skip
    tail = ((u32 * rank)(*steps), *map(ctypes.c_int, choices))
    if columns is None:
        encoder(where, "tiled")(*head, (u32 * rank)(*box), *tail)
    else:
        lower, upper, channels, pixels = columns
        corner = ctypes.c_int * (rank - 2)
        encoder(where, "im2col")(*head, corner(*lower), corner(*upper), u32(channels), u32(pixels), *tail)
    return made


def encoder(where: str, mode: str) -> Any:
    """The C function of that device that writes a map, of the signature of cuTensorMapEncodeTiled or ...Im2col."""
    if where == "emulated":
        from weft.backends import emulator

        return emulator.encoder(mode)
    from weft.backends import driver

    return driver.encoder(mode)


def check(
    pointer: int,
    shape: Sequence[int],
    strides: Sequence[int],
    box: Sequence[int],
    columns: tuple[tuple[int, ...], tuple[int, ...], int, int] | None,
    steps: Sequence[int],
    swizzle: int,
    inner_bytes: int,
    interleave: Any,
) -> None:
    """The driver's rules: it breaks off with "invalid value" and does not say which."""

    def require(holds: bool, rule: str, got: Any) -> None:
        if not holds:
            raise ValueError(f"tensor_map: expected {rule}, got {got}")

    rank, least = len(shape), 32 if interleave == 32 else 16
    fewest = 3 if columns or interleave not in (None, "none") else 1
    require(fewest <= rank <= 5, f"{fewest} to 5 dimensions", rank)
    require(pointer % least == 0, f"memory aligned to {least} bytes", hex(pointer))
    require(len(strides) == rank - 1, f"{rank - 1} strides, of all but the innermost dimension", len(strides))
    require(all(1 <= n <= 1 << 32 for n in shape), "sizes of 1 to 2^32", tuple(shape))
    good = all(0 <= s < 1 << 40 and s % least == 0 for s in strides)
    require(good, f"strides of whole {least} bytes, below 2^40", tuple(strides))
    require(len(steps) == rank and all(1 <= s <= 8 for s in steps), f"{rank} element strides of 1 to 8", tuple(steps))
    if columns:
        lower, upper, channels, pixels = columns
        require(len(lower) == len(upper) == rank - 2, f"corners of {rank - 2} numbers", (lower, upper))
        few = 1 <= channels <= 256 and 1 <= pixels <= 1024
        require(few, "at most 256 channels and 1024 pixels", (channels, pixels))
    else:
        fits = len(box) == rank and all(1 <= n <= 256 for n in box)
        require(fits, f"a box of {rank} sizes from 1 to 256", tuple(box))
    if interleave in (None, "none"):
        require(inner_bytes % 16 == 0, "inner rows of a box to be whole 16 bytes", inner_bytes)
        fits = not swizzle or inner_bytes <= swizzle
        require(fits, f"inner rows of at most the swizzle's {swizzle} bytes", inner_bytes)
