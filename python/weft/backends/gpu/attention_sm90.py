"""attention_sm90.cu: attention, forward, on Hopper: TMA feeding wgmma, softmax behind products.

It takes what needs no mask and no dropout, in 16 bits; attention_mma.cu does the rest.
"""

from __future__ import annotations

import dataclasses
import math
import struct
from typing import Any

from weft.backends.gpu.array import contiguous
from weft.backends.gpu.gemm_sm90 import multiprocessors
from weft.backends.launch import Kernel, kernel, launch, tensor_map

ROW = 128  #: bytes of a swizzled row of shared memory
COLUMNS = ROW // 2
ROWS = 64  #: of queries per warpgroup
SHARED = 232_448  #: bytes that a block may have
FEWEST_QUERIES = 64  #: below, most of a tile would be empty
NEAR = 32 << 20  #: bytes of keys and values that stay in L2 while their tiles run
TYPES = {"float16": "f16", "bfloat16": "bf16"}
LOG2_E = math.log2(math.e)


@dataclasses.dataclass(frozen=True)
class Tile:
    """Rows of queries and keys that a block takes at a time: see kernels/attention_sm90/tile.cuh."""

    consumers: int
    n: int
    stages: int = 2
    turns: bool = True

    @property
    def m(self) -> int:
        return ROWS * self.consumers

    @property
    def name(self) -> str:
        return f"{self.m}x{self.n}s{self.stages}"

    @property
    def threads(self) -> int:
        return 128 * (1 + self.consumers)


#: Columns of a head -> tiles, the best for many rows first; `full` where every row sees every key, and fewer scores at
#: the diagonal are computed in vain. Bounded by registers (scores, weights and sums of 64 rows) and shared memory.
TILES: dict[int, dict[str, tuple[Tile, ...]]] = {
    64: {"full": (Tile(3, 128), Tile(2, 128, 3)), "causal": (Tile(3, 128), Tile(2, 128, 3))},
    128: {"full": (Tile(2, 160),), "causal": (Tile(2, 128),)},
    192: {"full": (Tile(2, 112),), "causal": (Tile(2, 96),)},
    256: {"full": (Tile(2, 80, turns=False),), "causal": (Tile(2, 80, turns=False),)},
}
LARGER = 1.08  #: what rows cost in a smaller tile, by estimate


def fits(problem: Any) -> bool:
    """Whether `forward` computes this `attention_choice.Problem`."""
    return bool(
        90 <= problem.capability < 100
        and problem.dtype in TYPES
        and not (problem.mask or problem.dropout)
        and problem.padded and problem.padded_v
        and problem.head_v % 8 == 0  # rows of out are whole 16 bytes
        and problem.queries >= FEWEST_QUERIES and problem.keys > 0
        and max(problem.queries, problem.keys) < 1 << 30
        and problem.batch * problem.heads * math.ceil(problem.queries / ROWS) < 1 << 30
    )  # fmt: skip


def tiles(problem: Any) -> tuple[Tile, ...]:
    """Those that run."""
    wider = max(problem.padded, problem.padded_v)
    return TILES[next(w for w in TILES if wider <= w)]["causal" if problem.causal else "full"]


def choose(problem: Any) -> Tile:
    """The tile in which the fewest rows are computed, by `LARGER`."""
    found = tiles(problem)
    costs = [math.ceil(problem.queries / tile.m) * tile.m * (LARGER if i else 1) for i, tile in enumerate(found)]
    return found[costs.index(min(costs))]


def shared_bytes(head: int, head_v: int, tile: Tile) -> tuple[int, bool]:
    """Of a block, as kernels/attention_sm90/tile.cuh lays it out, and whether results leave where the queries were."""
    boxes, boxes_v = (math.ceil(n / COLUMNS) for n in (head, head_v))
    ring = tile.stages * (boxes + boxes_v) * tile.n * ROW
    barriers = 32 * tile.stages + 16 * tile.consumers
    queries, results = (tile.consumers * n * ROWS * ROW for n in (boxes, boxes_v))
    apart = ring + queries + results + barriers
    return (apart, False) if apart <= SHARED else (ring + queries + barriers, True)


def defines(dtype: str, head: int, head_v: int, tile: Tile, varlen: bool = False) -> dict[str, Any]:
    shared, in_q = shared_bytes(head, head_v, tile)
    return {
        "TYPE": TYPES[dtype], "HEAD": head, "HEAD_V": head_v, "CONSUMERS": tile.consumers, "TILE_N": tile.n,
        "STAGES": tile.stages, "TURNS": int(tile.turns), "VARLEN": int(varlen), "OUT_IN_Q": int(in_q),
        "SHARED_BYTES": shared,
    }  # fmt: skip


def compiled(problem: Any, tile: Tile) -> Kernel:
    which = defines(problem.dtype, problem.padded, problem.padded_v, tile, problem.varlen)
    return kernel("attention_sm90.cu", "attention_sm90", **which)


def problem_of(call: Any, tile: Tile) -> bytes:
    """`Problem` of kernels/attention_sm90/tile.cuh."""
    p, rows = call.problem, call.lse.shape[2]
    group, pairs = p.heads // p.key_heads, p.batch * p.heads
    near = NEAR // (max(p.keys, 1) * (p.head + p.head_v) * 2)  # heads of keys
    size = call.out.dtype.itemsize
    return struct.pack(
        "<10if4x4q", p.queries, p.keys, p.visible, p.bottom_right, p.heads, group, pairs,
        math.ceil(p.queries / tile.m), min(pairs, max(1, near) * group), p.head_v, call.scale * LOG2_E,
        call.out.strides[2] // size, call.out.strides[1] // size, 0 if p.varlen else p.heads * rows, rows,
    )  # fmt: skip


def rows_map(x: Any, rows: int) -> Any:
    """The tensor map of x (B, H, S, D): boxes of `rows` rows of one head."""
    batch, heads, length, columns = x.shape
    size = x.dtype.itemsize
    row = x.strides[2] if length > 1 else math.ceil(columns * size / 16) * 16
    head, first = (step if n > 1 else row for n, step in ((heads, x.strides[1]), (batch, x.strides[0])))
    return tensor_map(x, (columns, length, heads, batch), (row, head, first), (COLUMNS, rows, 1, 1), swizzle=128)


def ready(x: Any) -> Any:
    """x, or a copy if it repeats itself or runs backwards, which tensor maps do not."""
    return contiguous(x) if any(n > 1 and step <= 0 for n, step in zip(x.shape, x.strides)) else x


def forward(call: Any, tile: Tile | None = None) -> None:
    """Write call.out and call.lse of an `attention.Call`, in tiles of this kind, or of the kind that is chosen."""
    problem = call.problem
    chosen = tile or choose(problem)
    q, k, v = ready(call.q), ready(call.k), ready(call.v)
    maps = (rows_map(q, ROWS), rows_map(k, chosen.n), rows_map(v, chosen.n), rows_map(call.out, ROWS))
    blocks = problem.batch * problem.heads * math.ceil(problem.queries / chosen.m)
    launch(
        compiled(problem, chosen), (min(blocks, multiprocessors(q)),), (chosen.threads,),
        (*maps, call.out, call.lse, call.queries_until, call.keys_until, problem_of(call, chosen)),
        shared=shared_bytes(problem.padded, problem.padded_v, chosen)[0],
    )  # fmt: skip
