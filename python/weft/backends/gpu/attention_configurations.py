"""The attention kernels in their shipped tiles, for configurations.py."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from weft.backends.gpu import attention_choice
from weft.backends.gpu.attention_choice import HEADS, Problem, Tile
from weft.backends.gpu.expressions import STORAGE
from weft.backends.gpu.gemm_configurations import ceiling

CHARS = {"float32": "f", "float16": "e", "bfloat16": "E"}
#: (dtype of the mask or "", dropout)
VARIANTS = (("", False), ("", True), ("bool", False), ("float32", True))


def problem(dtype: str, head: int, capability: int, mask: str = "", dropout: bool = False, head_v: int = 0) -> Problem:
    """A problem that stands for all of its dtype, head, mask and capability."""
    return Problem(
        dtype=dtype, batch=4, heads=16, key_heads=16, queries=4096, keys=4096, head=head, head_v=head_v or head,
        visible=4096, capability=capability, mask=mask, dropout=dropout,
    )  # fmt: skip


def defines(one: Problem) -> dict[str, Any]:
    mask = {"bool": "bool", "": "float"}.get(one.mask) or STORAGE[CHARS[one.mask]]
    return {
        "TYPE": STORAGE[CHARS[one.dtype]], "HEAD": one.padded, "HEAD_V": one.padded_v, "MASKED": int(bool(one.mask)),
        "MASK_TYPE": mask, "DROPOUT": int(one.dropout),
    }  # fmt: skip


def problems() -> Iterator[tuple[Problem, int]]:
    """(problem, last capability that has its tiles): Turing and GPUs of 99 KiB have other tiles than those of 163."""
    for low, high in ((75, 79), (80, 85), (86, 89), (90, 99), (100, 119), (120, 999)):
        for dtype in ("float16", "float32") if low == 75 else ("bfloat16", "float32"):
            for head in HEADS:
                for mask, dropout in VARIANTS if head == 64 else VARIANTS[::3]:
                    yield problem(dtype, head, low, mask, dropout), high
        if low >= 80:
            yield problem("float16", 128, low), high
            yield problem("bfloat16", 192, low, head_v=128), high


def row(file: str, kernel: str, one: Problem, high: int, tile: Tile, **more: int) -> tuple[Any, ...]:
    options = {**defines(one), **attention_choice.tile_defines(tile), **more}
    return file, kernel, options, one.capability, ceiling(32 * tile.warps, tile.blocks), high


def forward(family: str) -> Iterator[tuple[Any, ...]]:
    for one, high in problems():
        if attention_choice.family(one) == family:
            for tile in attention_choice.forward_tiles(one):
                yield row(f"{family}.cu", "attention_forward", one, high, tile)


def queries(family: str) -> Iterator[tuple[Any, ...]]:
    for one, high in problems():
        if attention_choice.family(one) == family:
            for tile in attention_choice.queries_tiles(one):
                yield row(f"{family}_queries.cu", "attention_backward_queries", one, high, tile)


def keys(family: str) -> Iterator[tuple[Any, ...]]:
    for one, high in problems():
        if attention_choice.family(one) != family:
            continue
        for unordered in (False, True):
            for grads, _ in attention_choice.choose_keys(one, unordered):
                adds = unordered and bool(grads & attention_choice.GK)
                if adds == unordered:
                    for tile in attention_choice.keys_tiles(one, grads, adds):
                        more = {"GRADS": grads, "UNORDERED": int(adds)}
                        yield row(f"{family}_keys.cu", "attention_backward_keys", one, high, tile, **more)


def family(name: str) -> Iterator[tuple[Any, ...]]:
    """All passes, in turns, so that a part of the table has some of each."""
    for rows in itertools.zip_longest(forward(name), keys(name), queries(name)):
        yield from [one for one in rows if one is not None]


def delta() -> Iterator[tuple[Any, ...]]:
    for dtype, least in (("float", 75), ("f16", 75), ("bf16", 80)):
        yield "attention_delta.cu", "attention_delta", {"TYPE": dtype}, least, 64
