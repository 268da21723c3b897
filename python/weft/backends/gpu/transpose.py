"""Copies between two orders of dimensions: transpose.cu, where map.cu would read or write one element per line."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from weft.backends.gpu import layout
from weft.backends.launch import Kernel, kernel

TILE = 32
SMALLEST = 8  # of both dimensions: below, tiles would be mostly empty


def plan(
    sizes: Sequence[int], out: Sequence[int], source: Sequence[int], bits: str
) -> tuple[Kernel, tuple[int], bytes] | None:
    """Kernel, grid and layout of a copy, or None where map.cu serves it as well.

    sizes and strides as `layout.collapse` has them; bits: the C type of an element.
    """
    y = next((d for d, stride in enumerate(source) if stride == 1), 0)
    if not y or out[0] != 1 or min(sizes[0], sizes[y]) < SMALLEST:
        return None
    others = [d for d in range(1, len(sizes)) if d != y]
    rest = [sizes[d] for d in others] or [1]
    strides = [[steps[d] for d in others] or [0] for steps in (out, source)]
    tiles_x, tiles_y = -(-sizes[0] // TILE), -(-sizes[y] // TILE)
    blocks = tiles_x * tiles_y
    for n in rest:
        blocks *= n
    if blocks >= 1 << 31 or max(sizes[0], sizes[y]) >= 1 << 30:
        return None
    wide = max(layout.reach(sizes, out), layout.reach(sizes, source)) + TILE >= layout.NARROW
    packed = layout.pack(rest, strides)
    packed += struct.pack("<2q4i", out[y], source[0], sizes[0], sizes[y], tiles_x, tiles_y)
    return kernel("transpose.cu", "transpose", TYPE=bits, WIDE=int(wide)), (blocks,), packed
