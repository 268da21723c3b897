"""How a kernel walks several strided arrays together, vector by vector: for kernels of their own beside map.cu."""

from __future__ import annotations

import math
import struct
from functools import lru_cache
from typing import Any, NamedTuple

from weft.backends.gpu import layout

THREADS = 256
FILLING = 4096  # blocks that fill any GPU; beyond, threads take several turns


class Walk(NamedTuple):
    """A walk, as kernels take it: the number of vectors and a `Layout` of common.cuh whose strides count elements."""

    packed: bytes
    blocks: int
    vectors: bool
    """Whether every operand is walked in vectors; else in single elements."""
    wide: bool
    """Whether 31 bits do not hold a number of elements, or an offset."""


class Operand(NamedTuple):
    """Where one operand lies: strides in elements, element size, and how far its pointer is from 16 bytes."""

    strides: tuple[int, ...]
    itemsize: int
    off: int


def operand(x: Any) -> Operand:
    itemsize = x.dtype.itemsize
    return Operand(tuple(layout.spread(x.shape, x.strides, itemsize, x.shape)), itemsize, x.pointer & 15)


@lru_cache(4096)
def walk(shape: tuple[int, ...], operands: tuple[Operand, ...], vector: int) -> Walk:
    """The walk of all elements of `shape`, as they lie in memory; `vector` of them at once where that may be."""
    steps = [list(o.strides) for o in operands]
    sizes, walked = layout.collapse(shape, steps, layout.memory_order(shape, steps))
    layout.check_rank("walk", sizes)
    vectors = sizes[0] % vector == 0 and all([fits(o, w, vector) for o, w in zip(operands, walked)])
    farthest = max([math.prod(sizes), *[layout.reach(sizes, w) for w in walked]])
    if vectors:
        sizes, walked = [sizes[0] // vector, *sizes[1:]], [[w[0] * vector, *w[1:]] for w in walked]
    size = math.prod(sizes)
    blocks = max(1, min(-(-size // THREADS), FILLING))
    return Walk(struct.pack("<q", size) + layout.pack(sizes, walked), blocks, vectors, farthest >= layout.NARROW // 2)


def fits(operand: Operand, walked: list[int], vector: int) -> bool:
    grain = min(16, vector * operand.itemsize)
    ends = [operand.off, *[s * operand.itemsize for s in walked[1:]]]
    return walked[0] == 1 and not any([n % grain for n in ends])
