"""Which kernel computes an attention, in which tiles."""

from __future__ import annotations

import dataclasses
import importlib
import os
from collections.abc import Iterator
from typing import Any

from weft.backends.gpu import gemm_choice

#: What rows of q, k and v are filled up to: a kernel for each.
HEADS = (32, 64, 96, 128, 160, 192, 256)
#: Modules with kernels for one generation: `fits(problem)` says whether one takes a problem, and then
#: `forward(call)` (attention.Call) writes call.out and call.lse.
SPECIAL = ("attention_sm90",)
#: The same for gradients: `run(work)` (attention_backward.Backward) writes work.gq, work.gk and work.gv.
SPECIAL_BACKWARD = ("attention_sm90_backward",)

#: The name of a tile, or of one for each pass over the keys; None leaves the choice.
Names = str | tuple[str | None, ...] | None

#: Whether the gradient of q is added up in a fixed order, by a pass of its own.
ordered = True


@dataclasses.dataclass(frozen=True)
class Problem:
    """All that decides how an attention is computed, but for the arrays."""

    dtype: str  #: float32, float16 or bfloat16
    batch: int  #: sequences
    heads: int
    key_heads: int
    queries: int  #: of the longest sequence
    keys: int
    head: int  #: columns of q and k
    head_v: int  #: columns of v
    visible: int  #: row i sees the keys below i + visible; `keys` or more where all are seen
    capability: int
    multiprocessors: int = 0  #: 0: unknown
    mask: str = ""  #: dtype of the mask
    dropout: bool = False
    varlen: bool = False  #: sequences lie one after the other, cut by cumulative offsets
    bottom_right: bool = False  #: visible counts from where the last query sees the last key

    @property
    def causal(self) -> bool:
        return self.bottom_right or self.visible < self.keys

    @property
    def itemsize(self) -> int:
        return 4 if self.dtype == "float32" else 2

    @property
    def padded(self) -> int:
        return padded(self.head)

    @property
    def padded_v(self) -> int:
        return padded(self.head_v)

    @property
    def shared(self) -> int:
        """Bytes that a block may have."""
        return gemm_choice.most_shared(self.capability)


@dataclasses.dataclass(frozen=True)
class Tile:
    """Rows of queries and of keys that a block multiplies at a time, and how."""

    m: int
    n: int
    warps: int
    stages: int = 1
    blocks: int = 1

    @property
    def name(self) -> str:
        return f"{self.m}x{self.n}w{self.warps}" + (f"s{self.stages}" if self.stages > 1 else "")


def tile_defines(tile: Tile) -> dict[str, int]:
    return {
        "TILE_M": tile.m, "TILE_N": tile.n, "TILE_WARPS": tile.warps, "STAGES": tile.stages, "BLOCKS": tile.blocks,
    }  # fmt: skip


def padded(head: int) -> int:
    """The least of HEADS that holds `head` columns; 0 where there is none."""
    return next((h for h in HEADS if head <= h), 0)


def wide(problem: Problem) -> bool:
    """Whether a row's sums are those of 256 columns."""
    return max(problem.padded, problem.padded_v) > 192


def family(problem: Problem) -> str:
    """attention_mma where tensor cores take the dtype, attention_simt for float32, "" for the reference."""
    if not problem.padded or not problem.padded_v:
        return ""
    if problem.dtype == "float32":
        # With sums of 256 columns every tile of some pass would spill: of those that 99 KiB hold, and on sm_100 of all.
        crowded = problem.capability in (86, 89) or problem.capability >= 100
        return "" if wide(problem) and crowded else "attention_simt"
    return "attention_mma" if problem.capability >= (80 if problem.dtype == "bfloat16" else 75) else ""


#: Bytes of shared memory for what all threads of a block know of it, beside the tiles.
HELD = 256
#: That sums and scores of a thread may take; masks and dropout need more of the rest.
REGISTERS = 176
BACKWARD_REGISTERS = 180
#: Tiles within these bounds that ptxas spills all the same: what they give, from which capability to below which,
#: columns of q and v, names. The whole table of configurations finds them (tests/kernels/test_sass.py --full).
SPILLED = (
    ("forward", 100, 120, 256, ("16x64w1s2",)),
    ("values", 100, 120, 256, ("64x64w4s2",)),
    ("both", 75, 80, 160, ("16x64w4", "16x32w2")),
    ("both", 120, 999, 96, ("64x64w4s2", "64x128w8s2")),
    ("unordered", 120, 999, 64, ("64x128w8s2",)),
    ("unordered", 120, 999, 96, ("32x64w4s2", "32x128w8s2")),
    ("unordered", 120, 999, 128, ("32x64w4s2", "32x128w8s2")),
    ("unordered", 75, 999, 128, ("16x16w1",)),
)

#: From the one that reads shared memory least to those for few rows or little shared memory.
FORWARD = {
    "attention_mma": (
        Tile(128, 64, 4, 1, 2), Tile(128, 64, 8), Tile(64, 64, 4, 1, 2), Tile(64, 32, 4),
        Tile(64, 16, 4), Tile(16, 64, 1, 2), Tile(16, 32, 1), Tile(16, 16, 1),
    ),
    "attention_simt": (
        Tile(128, 32, 4), Tile(64, 32, 4), Tile(32, 32, 2), Tile(16, 32, 1), Tile(32, 16, 2), Tile(16, 16, 1),
    ),
}  # fmt: skip


def spills(which: str, problem: Problem, tile: Tile) -> bool:
    """Whether a tile is one of SPILLED."""
    return any(
        which == gives and problem.padded == problem.padded_v == head and low <= problem.capability < below
        and tile.name in names
        for gives, low, below, head, names in SPILLED
    )


def forward_bytes(problem: Problem, tile: Tile) -> int:
    """Shared memory: the queries, the ring of keys and values, and in float32 the weights on their way."""
    slot = tile.n * max(problem.padded, problem.padded_v) * problem.itemsize
    scratch = tile.m * (tile.n + 4) * 4 if problem.dtype == "float32" else 0
    return tile.m * problem.padded * problem.itemsize + 2 * tile.stages * slot + scratch


def forward_registers(problem: Problem, tile: Tile) -> int:
    """Of a thread's sums and scores."""
    return tile.m // tile.warps * (tile.n + problem.padded_v) // 32


def forward_tiles(problem: Problem) -> Iterator[Tile]:
    """Those that run: with enough registers, and shared memory for all blocks that are to be resident."""
    most = REGISTERS - 40 * (problem.dropout or bool(problem.mask))
    for tile in FORWARD[family(problem)]:
        held = (forward_bytes(problem, tile) + HELD + 1024) * tile.blocks  # each block takes one KiB more
        if forward_registers(problem, tile) > most or spills("forward", problem, tile):
            continue
        if held <= problem.shared + 1024:
            yield tile


def choose_forward(problem: Problem, name: str | None = None) -> Tile:
    """The first tile that gives every multiprocessor a block, or the one with most blocks; or the one of this name."""
    return chosen(problem, list(forward_tiles(problem)), name, problem.queries, problem.heads, "m")


def chosen(problem: Problem, tiles: list[Tile], name: str | None, rows: int, heads: int, side: str) -> Tile:
    if name is not None:
        tiles = [tile for tile in tiles if tile.name == name]
    if not tiles:
        raise ValueError(f"attention: expected a tile for {problem}, got none{f' named {name}' if name else ''}")
    least = problem.multiprocessors or 100
    blocks = [-(-rows // getattr(tile, side)) * heads * problem.batch for tile in tiles]
    for tile, count in zip(tiles, blocks):
        if count >= least:
            return tile
    return tiles[blocks.index(max(blocks))]


#: Of the passes that give gq, and gk and gv.
QUERIES = {
    "attention_mma": (
        Tile(128, 64, 8, 2), Tile(64, 64, 4, 2), Tile(64, 64, 4), Tile(64, 32, 4), Tile(32, 32, 2), Tile(32, 16, 2),
    ),
    "attention_simt": (Tile(64, 32, 4), Tile(32, 32, 2), Tile(32, 16, 2), Tile(16, 16, 1)),
}  # fmt: skip
KEYS = {
    "attention_mma": (
        Tile(64, 128, 8, 2), Tile(32, 128, 8, 2), Tile(64, 64, 4, 2), Tile(32, 64, 4, 2), Tile(32, 64, 4),
        Tile(16, 64, 4), Tile(16, 32, 2),
    ),
    "attention_simt": (Tile(32, 64, 4), Tile(32, 32, 2), Tile(16, 32, 2), Tile(16, 16, 1)),
}  # fmt: skip
GV, GK, BOTH = 1, 2, 3  #: GRADS of backward_keys.cuh


def queries_bytes(problem: Problem, tile: Tile) -> int:
    """Shared memory: the queries and their gradients, the ring of keys and values, in float32 a scratch."""
    row = (problem.padded + problem.padded_v) * problem.itemsize
    scratch = tile.m * (tile.n + 4) * 4 if problem.dtype == "float32" else 0
    return (tile.m + tile.stages * tile.n) * row + scratch


def queries_tiles(problem: Problem) -> Iterator[Tile]:
    most = BACKWARD_REGISTERS - 20 * (problem.dropout or bool(problem.mask))
    for tile in QUERIES[family(problem)]:
        registers = tile.m // tile.warps * (2 * tile.n + problem.padded) // 32
        if registers <= most and queries_bytes(problem, tile) + HELD <= problem.shared:
            yield tile


def keys_bytes(problem: Problem, tile: Tile, grads: int, unordered: bool = False) -> int:
    """Shared memory: keys and, for gk, values; the ring of queries and their gradients, with two numbers for each."""
    q, v = problem.padded * problem.itemsize, problem.padded_v * problem.itemsize
    own = tile.n * (q + (v if grads & GK else 0))
    scratch = tile.n * (tile.m + 4) * 4 if problem.dtype == "float32" else 0
    flipped = tile.n * tile.m * problem.itemsize if unordered else 0
    return own + tile.stages * tile.m * (q + v + 8) + flipped + scratch


def keys_tiles(problem: Problem, grads: int, unordered: bool = False) -> Iterator[Tile]:
    most = BACKWARD_REGISTERS - 20 * (problem.dropout or bool(problem.mask)) - 20 * unordered
    most -= 12 * (problem.dtype == "float32")
    most -= 20 * (unordered and problem.capability < 80)
    if unordered and problem.padded > 128:  # what a warp adds to gq would spill
        return
    sums = (problem.padded if grads & GK else 0) + (problem.padded_v if grads & GV else 0)
    # Sums of 256 columns in float32 stay in registers in one tile alone.
    only = Tile(32, 32, 2) if problem.dtype == "float32" and wide(problem) and problem.capability >= 80 else None
    for tile in KEYS[family(problem)]:
        if only not in (None, tile):
            continue
        registers = tile.n // tile.warps * ((2 if grads & GK else 1) * tile.m + sums) // 32
        which = "unordered" if unordered else {GV: "values", GK: "keys", BOTH: "both"}[grads]
        if registers > most or spills(which, problem, tile):
            continue
        if keys_bytes(problem, tile, grads, unordered) + HELD <= problem.shared:
            yield tile


def choose_queries(problem: Problem, name: str | None = None) -> Tile:
    return chosen(problem, list(queries_tiles(problem)), name, problem.queries, problem.heads, "m")


def choose_keys(problem: Problem, unordered: bool, names: Names = None) -> list[tuple[int, Tile]]:
    """The passes over the keys, (what each gives, its tile): two where no thread holds the sums of both gk and gv."""
    for passes in ((BOTH,), (GV, GK)):
        found = [list(keys_tiles(problem, grads, unordered and bool(grads & GK))) for grads in passes]
        if all(found):
            side = problem.keys, problem.key_heads, "n"
            each = names if isinstance(names, tuple) else (names,) * len(passes)
            return [(grads, chosen(problem, tiles, name, *side)) for grads, tiles, name in zip(passes, found, each)]
    return []


def special(problem: Problem, names: tuple[str, ...] = SPECIAL) -> Any:
    """The module that has a kernel for this problem on its generation alone, or None."""
    if gemm_choice.kernels == "portable":
        return None
    for name in names:
        try:
            module = importlib.import_module(f"weft.backends.gpu.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"weft.backends.gpu.{name}":
                raise
            continue
        if module.fits(problem):
            return module
    return None


def set_ordered_attention(value: bool) -> None:
    """Whether attention's gradient of q is added up in a fixed order on GPUs, the default, or, faster, in any order.

    Unordered sums differ in their last bits from run to run. With more than 128 columns, and where no tile has room for
    them, the order stays fixed.

    >>> import weft
    >>> weft.set_ordered_attention(True)
    """
    global ordered
    ordered = bool(value)


if os.environ.get("WEFT_ATTENTION") == "unordered":
    ordered = False
