"""The attention kernels in their shipped tiles, for configurations.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from weft.backends.gpu import attention_choice
from weft.backends.gpu.attention_choice import HEADS, Problem
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
    for low, high in ((75, 79), (80, 85), (86, 89), (90, 119), (120, 999)):
        for dtype in ("float16", "float32") if low == 75 else ("bfloat16", "float32"):
            for i, head in enumerate(HEADS):
                for mask, dropout in VARIANTS if head in (64, 128) else (VARIANTS[0], VARIANTS[1 + i % 3]):
                    yield problem(dtype, head, low, mask, dropout), high
    yield problem("float16", 128, 80), 999
    yield problem("bfloat16", 192, 80, head_v=128), 999


def forward(family: str) -> Iterator[tuple[Any, ...]]:
    for one, high in problems():
        if attention_choice.family(one) != family:
            continue
        for tile in attention_choice.forward_tiles(one):
            more = {"TILE_M": tile.m, "TILE_N": tile.n, "TILE_WARPS": tile.warps, "STAGES": tile.stages}
            row = {**defines(one), **more, "BLOCKS": tile.blocks}
            yield f"{family}.cu", "attention_forward", row, one.capability, ceiling(32 * tile.warps, tile.blocks), high
