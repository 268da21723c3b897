"""attention_sm90_backward.cu: the gradients of attention on Hopper, a pass over keys and one over queries.

It takes what attention_sm90.cu takes, up to 128 columns, but for sequences that lie one after the other.
"""

from __future__ import annotations

import dataclasses
import math
import struct
from typing import Any

from weft.backends.gpu import attention_sm90
from weft.backends.gpu.attention_sm90 import COLUMNS, LOG2_E, NEAR, ROW, ROWS, TYPES, ready, rows_map
from weft.backends.launch import Kernel, kernel, launch

CONSUMERS = 2  #: warpgroups that compute
THREADS = 128 * (1 + CONSUMERS)
WIDEST = 128  #: columns whose sums registers hold
FEWEST_KEYS = 64  #: below, most of a tile would be empty


@dataclasses.dataclass(frozen=True)
class Tile:
    """Rows that are met at a time, of 128 that a block owns, and how many such tiles the ring holds."""

    n: int
    stages: int


#: Columns of a head -> the tile of the pass over keys, which holds two sums in registers, and of that over queries.
TILES = {64: (Tile(96, 3), Tile(128, 3)), 128: (Tile(64, 3), Tile(96, 2))}


def fits(problem: Any) -> bool:
    """Whether `run` computes the gradients of this `attention_choice.Problem`."""
    return bool(
        attention_sm90.fits(problem)
        and not (problem.varlen or problem.bottom_right)
        and max(problem.head, problem.head_v) <= WIDEST
        and problem.head % 8 == 0  # rows of gradients are whole 16 bytes
        and problem.keys >= FEWEST_KEYS
    )


def tile_of(head: int, head_v: int, of_keys: bool) -> Tile:
    return TILES[next(w for w in TILES if max(head, head_v) <= w)][0 if of_keys else 1]


def shared_bytes(head: int, head_v: int, of_keys: bool, tile: Tile) -> int:
    """Of a block, as kernels/attention_sm90_backward.cu lays it out."""
    boxes = math.ceil(head / COLUMNS) + math.ceil(head_v / COLUMNS)
    numbers = 8 * tile.n if of_keys else 0
    return boxes * ROW * (tile.stages * tile.n + CONSUMERS * ROWS) + tile.stages * (numbers + 16) + 8 * CONSUMERS


def defines(dtype: str, head: int, head_v: int, of_keys: bool, tile: Tile) -> dict[str, Any]:
    return {
        "TYPE": TYPES[dtype], "OF_KEYS": int(of_keys), "HEAD": head, "HEAD_V": head_v, "TILE_N": tile.n,
        "STAGES": tile.stages, "SHARED_BYTES": shared_bytes(head, head_v, of_keys, tile),
    }  # fmt: skip


def compiled(problem: Any, of_keys: bool, tile: Tile) -> Kernel:
    which = defines(problem.dtype, problem.padded, problem.padded_v, of_keys, tile)
    return kernel("attention_sm90_backward.cu", "attention_sm90_backward", **which)


def problem_of(problem: Any, of_keys: bool, scale: float) -> tuple[bytes, int]:
    """`Problem` of kernels/attention_sm90_backward.cu, and how many blocks there are."""
    group = problem.heads // problem.key_heads
    pairs = problem.batch * (problem.key_heads if of_keys else problem.heads)
    tiles = math.ceil((problem.keys if of_keys else problem.queries) / (CONSUMERS * ROWS))
    columns = problem.head + problem.head_v
    if of_keys:  # a pair meets the queries of its group
        section = NEAR // (2 * columns * problem.queries * group)
    else:  # a group of pairs meets the same keys
        section = NEAR // (2 * columns * problem.keys) * group
    packed = struct.pack(
        "<8i2f", problem.queries, problem.keys, problem.visible, problem.heads, group, pairs, tiles,
        min(pairs, max(1, section)), scale, scale * LOG2_E,
    )  # fmt: skip
    return packed, pairs * tiles


def run(work: Any, tiles: tuple[Tile, Tile] | None = None) -> None:
    """Write gq, gk and gv of an `attention_backward.Backward`; tiles: of the passes over keys and queries."""
    call, problem = work.call, work.call.problem
    q, k, v, g = (ready(x) for x in (call.q, call.k, call.v, work.g))
    for of_keys in (True, False):
        tile = tiles[0 if of_keys else 1] if tiles else tile_of(problem.padded, problem.padded_v, of_keys)
        own, met = ((k, v), (q, g)) if of_keys else ((q, g), (k, v))
        results = (work.gk, work.gv) if of_keys else (work.gq, work.gq)
        maps = [rows_map(x, ROWS) for x in own] + [rows_map(x, tile.n) for x in met]
        maps += [rows_map(x, ROWS) for x in results]
        packed, blocks = problem_of(problem, of_keys, call.scale)
        launch(
            compiled(problem, of_keys, tile), (blocks,), (THREADS,), (*maps, work.logs, work.deltas, packed),
            shared=shared_bytes(problem.padded, problem.padded_v, of_keys, tile),
        )  # fmt: skip
