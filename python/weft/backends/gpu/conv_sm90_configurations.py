"""conv_sm90 in its shipped tiles, for configurations.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from weft.backends.gpu import conv_problem
from weft.backends.gpu.conv_problem import FORWARD, INPUT_GRAD, WEIGHT_GRAD, Convolution, Shape
from weft.backends.gpu.conv_sm90 import SM90_CONV, Columns, launches
from weft.backends.gpu.gemm_configurations import ceiling
from weft.backends.gpu.gemm_sm90 import TILES


def layer(
    direction: str, channels: int = 256, outputs: int = 256, *, images: int = 64, size: int = 56, kernel: int = 3,
    stride: int = 1, dtype: str = "bfloat16", capability: int = 90, **options: Any,
) -> Convolution:  # fmt: skip
    """A pass of a layer over square images, padded so that strides alone make them smaller."""
    out = (size + 2 * (kernel // 2) - kernel) // stride + 1
    square = lambda n: (n, n)
    shape = Shape(images, 1, channels, outputs, *map(square, (size, out, kernel, stride, kernel // 2, 1)))
    return conv_problem.describe(direction, shape, dtype, capability=capability, device="cuda", **options)


def launched(direction: str, channels: int = 256, outputs: int = 256, **options: Any) -> Columns:
    """The last launch of such a pass."""
    return launches(layer(direction, channels, outputs, **options))[-1]


def sm90() -> Iterator[tuple[Any, ...]]:
    """Every tile in every pass, at pieces, epilogues, strides and kinds of store in turn."""
    for i, tile in enumerate(TILES):
        width, other = (64, 32, 16, 8)[i % 4], (8, 64, 32, 16)[i % 4]
        epilogue: dict[str, Any] = {"bias_dtype": "float32", "activation": "relu"} if i % 2 else {}
        made = [
            (launched(FORWARD, width, 256 if i % 3 else 250, **epilogue), 1),
            (launched(FORWARD, other, dtype="float16"), 1 + i % 2),
            (launched(INPUT_GRAD, 256, width, stride=1 + i % 2), 1),
            (launched(WEIGHT_GRAD, other, stride=1 + i % 2), 1),
            (launched(WEIGHT_GRAD, width, dtype="float16"), 2),
        ]
        for columns, parts in made:
            defines = SM90_CONV.defines(columns, tile, parts)
            yield "conv_sm90.cu", "conv_sm90", defines, 90, ceiling(tile.threads, 1), 99
