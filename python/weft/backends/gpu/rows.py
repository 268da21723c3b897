"""How kernels on rows split them among threads: `team` chooses what rows.cuh is compiled with, by length and type."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from weft.backends.gpu import layout
from weft.backends.gpu.array import contiguous
from weft.backends.gpu.expressions import STORAGE
from weft.backends.gpu.maps import apply

#: Threads of a team, and the most elements that each keeps of a row.
TEAMS = ((4, 8), (8, 16), (32, 32), (256, 32), (1024, 32))
KEPT = {2: 32, 4: 32, 8: 8}  # elements that a thread keeps at most, by their bytes: beyond, registers spill
LONGEST = (1 << 31) - (1 << 16)  # elements of a row, which kernels count in 32 bits


class Team(NamedTuple):
    """The threads of a row, and what they keep of it; see rows.cuh."""

    lanes: int
    keep: int
    vector: int
    whole: int

    @property
    def threads(self) -> int:
        return max(self.lanes, 128)

    def blocks(self, rows: int) -> int:
        return -(-rows // (self.threads // self.lanes))

    def defines(self, char: str) -> dict[str, Any]:
        return dict(TYPE=STORAGE[char], LANES=self.lanes, VECTOR=self.vector, KEEP=self.keep, WHOLE=self.whole)


@lru_cache(maxsize=4096)
def team(columns: int, itemsize: int, operands: int = 1, table: tuple[tuple[int, int], ...] = TEAMS) -> Team:
    """Who reads rows of `columns` elements of `operands` arrays at once, each of them one time if registers hold it."""
    vector = 16 // itemsize
    whole = columns % vector == 0
    least = columns if whole else columns + vector - 1  # a row may begin amid a vector
    most = KEPT[itemsize] // operands
    for lanes, values in table:
        keep = min(values, most) // vector
        if least <= lanes * keep * vector:
            return Team(lanes, keep, vector, int(whole))
    return Team(table[-1][0], 0, vector, int(whole))


def check_columns(name: str, columns: int) -> None:
    if columns > LONGEST:
        raise ValueError(f"{name}: expected rows of at most {LONGEST} elements, got {columns}")


def dense(x: Any) -> Any:
    """x in C order, beginning at a multiple of 16 bytes: itself, or a copy."""
    return aligned(contiguous(x))


def aligned(x: Any) -> Any:
    return x if x.pointer % 16 == 0 else apply("copy", x)


def real_of(x: Any) -> np.dtype[Any]:
    """The dtype that the elements of x are computed in."""
    return np.dtype(np.float64 if x.dtype.char == "d" else np.float32)


def memory_order(x: Any) -> tuple[int, ...]:
    """The axes of x from the outermost in memory to the innermost."""
    return layout.memory_order(x.shape, [layout.spread(x.shape, x.strides, x.dtype.itemsize, x.shape)])
