"""conv_sm90 in its shipped tiles, for configurations.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from weft.backends.gpu.conv_sm90 import Columns, ConvSm90, forward_columns, input_grad_columns
from weft.backends.gpu.gemm_configurations import ceiling
from weft.backends.gpu.gemm_sm90 import TILES

ONE = ((1, 1), (1, 1))


def forward(channels: int, outputs: int = 256, **options: Any) -> Columns:
    """A 3x3 convolution that stands for all of its channels' width and epilogue."""
    options = {"dtype": "bfloat16", "out_dtype": "bfloat16", "capability": 90, **options}
    return forward_columns((64, channels, 56, 56), (outputs, channels, 3, 3), (1, 1), ONE, (1, 1), **options)


def input_grad(channels: int, stride: int, dtype: str = "bfloat16") -> Columns:
    """One phase of the gradient of an image of 256 channels."""
    options = {"dtype": dtype, "out_dtype": dtype, "capability": 90}
    steps = stride, stride
    return input_grad_columns((64, 256, 56, 56), (channels, 256, 3, 3), steps, ONE, (1, 1), **options)[-1]


def sm90() -> Iterator[tuple[Any, ...]]:
    """Every tile forward and back, at widths, epilogues and kinds of store in turn."""
    for i, tile in enumerate(TILES):
        width, other = (64, 32, 16, 8)[i % 4], (8, 64, 32, 16)[i % 4]
        made = [
            forward(width, bias="float32", activation="relu"),
            forward(other, 250 if i % 3 == 0 else 256, dtype="float16", out_dtype="float16"),
            input_grad(width, 1 + i % 2),
            input_grad(other, 2 - i % 2, "float16"),
        ]
        for columns in made:
            defines = ConvSm90(columns).defines(columns.product, tile)
            yield "conv_sm90.cu", "conv_sm90", defines, 90, ceiling(tile.threads, 1), 99
        partial = made[0].product.partial()
        defines = ConvSm90(made[0]).defines(partial, tile, 2)
        yield "conv_sm90.cu", "conv_sm90", defines, 90, ceiling(tile.threads, 1), 99
