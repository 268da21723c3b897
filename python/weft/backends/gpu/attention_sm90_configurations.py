"""The kernels of attention on Hopper in their shipped kinds, for configurations.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from weft.backends.gpu import attention_sm90_backward
from weft.backends.gpu.attention_sm90 import TILES, TYPES, defines

HEADS = (64, 96, 128, 192, 256)  # columns that models have


def sm90() -> Iterator[tuple[Any, ...]]:
    for dtype in TYPES:
        for head in HEADS:
            kinds = TILES[next(w for w in TILES if head <= w)]
            for tile in dict.fromkeys([*kinds["full"], *kinds["causal"]]):
                registers = 65536 // tile.threads // 8 * 8  # until setmaxnreg moves some to who multiplies
                for varlen in (False, True):
                    which = defines(dtype, head, head, tile, varlen)
                    yield "attention_sm90.cu", "attention_sm90", which, 90, registers, 90


def backward() -> Iterator[tuple[Any, ...]]:
    name = "attention_sm90_backward"
    for dtype in TYPES:
        for head in HEADS:
            if head > attention_sm90_backward.WIDEST:
                continue
            for of_keys in (True, False):
                tile = attention_sm90_backward.tile_of(head, head, of_keys)
                which = attention_sm90_backward.defines(dtype, head, head, of_keys, tile)
                yield f"{name}.cu", name, which, 90, 168, 90
