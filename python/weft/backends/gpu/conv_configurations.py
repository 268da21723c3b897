"""The convolution kernels in their shipped tiles, for configurations.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from weft.backends.gpu import conv_depthwise, conv_mma, conv_problem, conv_simt
from weft.backends.gpu.conv_problem import FORWARD, PASSES, WEIGHT_GRAD, Convolution, Shape
from weft.backends.gpu.gemm_configurations import ceiling

#: A layer whose channels come in whole vectors, and one whose channels are few.
WIDE = Shape(32, 1, 64, 64, (56, 56), (28, 28), (3, 3), (2, 2), (1, 1), (1, 1))
STEM = Shape(32, 1, 3, 64, (224, 224), (112, 112), (7, 7), (2, 2), (3, 3), (1, 1))


def convolution(direction: str, dtype: str, capability: int, shape: Shape = WIDE, **options: Any) -> Convolution:
    """A convolution that stands for all of its pass, dtype and access."""
    if direction == FORWARD:
        options = {"bias_dtype": dtype, "activation": "relu", **options}
    return conv_problem.describe(direction, shape, dtype, capability=capability, device="cuda", tf32=True, **options)


def simt() -> Iterator[tuple[Any, ...]]:
    family = conv_simt.SIMT
    for dtype in ("float32", "float64", "bfloat16"):
        for direction in PASSES:
            made = convolution(direction, dtype, 75)
            for c in family.configurations:
                if not family.refusal(made, c):
                    for splits in (1, 2) if dtype == "float32" else (1,):
                        defines = family.defines(made, c, splits)
                        yield "conv_simt.cu", "conv_simt", defines, 75, ceiling(c.threads, defines["BLOCKS"])


#: (dtype, capability, shape): Turing has a path of its own, and so have few channels.
MMA = (
    ("bfloat16", 80, WIDE), ("float16", 80, STEM), ("float32", 80, WIDE), ("float16", 75, WIDE), ("float16", 75, STEM),
)  # fmt: skip


def mma() -> Iterator[tuple[Any, ...]]:
    family = conv_mma.MMA
    for dtype, capability, shape in MMA:
        for direction in PASSES:
            made = convolution(direction, dtype, capability, shape)
            for c in family.configurations:
                if not family.refusal(made, c):
                    for splits in (1, 2) if dtype == "bfloat16" else (1,):
                        defines = family.defines(made, c, splits)
                        row = ("conv_mma.cu", "conv_mma", defines, capability, ceiling(c.threads, defines["BLOCKS"]))
                        yield (*row, 79) if capability < 80 else row


ALONE = Shape(32, 64, 1, 1, (56, 56), (28, 28), (3, 3), (2, 2), (1, 1), (1, 1))
ODD = Shape(32, 63, 1, 1, (56, 56), (28, 28), (3, 3), (2, 2), (1, 1), (1, 1))


def depthwise() -> Iterator[tuple[Any, ...]]:
    for dtype in ("float32", "float16", "bfloat16", "float64"):
        for shape in (ALONE, ODD):
            for direction in PASSES:
                defines = conv_depthwise.defines(convolution(direction, dtype, 75, shape))
                name = "conv_depthwise_weight" if direction == WEIGHT_GRAD else "conv_depthwise"
                yield "conv_depthwise.cu", name, defines, 75, ceiling(256, 2)
