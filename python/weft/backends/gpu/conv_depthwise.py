"""conv_depthwise.cu: convolutions of one channel and one output per group, each channel alone."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from weft.backends.gpu import conv_problem
from weft.backends.gpu.array import empty_like
from weft.backends.gpu.conv_problem import FORWARD, INPUT_GRAD, WEIGHT_GRAD, Convolution, Shape
from weft.backends.gpu.gemm_choice import device_of
from weft.backends.gpu.gemm_product import C_TYPES
from weft.backends.gpu.reduce import reduce
from weft.backends.launch import kernel, launch

THREADS, RUN = 256, 4  # as in the kernel
LANES, TAPS = 32, 4
LEAST = 64  #: pixels of a part
NAME = "conv_depthwise"


def fits(shape: Shape) -> bool:
    return shape.groups > 1 and shape.channels == shape.outputs == 1


def merged(convolution: Convolution) -> Convolution:
    """The convolution with its groups as the channels of one: how its operands lie."""
    shape = dataclasses.replace(
        convolution.shape, groups=1, channels=convolution.shape.groups, outputs=convolution.shape.groups
    )
    channels = shape.channels
    made = conv_problem.describe(
        convolution.direction, shape, convolution.dtype, capability=convolution.capability, device=convolution.device,
        multiprocessors=convolution.multiprocessors, bias_dtype=convolution.bias_dtype,
        activation=convolution.activation, aligned=channels * convolution.itemsize % 16 == 0,
    )  # fmt: skip
    return dataclasses.replace(made, n=channels)


def vector(convolution: Convolution) -> int:
    """The channels of a thread: 16 bytes of them, for the weight's gradient four."""
    most = 16 // convolution.itemsize
    if convolution.direction == WEIGHT_GRAD:
        most = min(most, 4)
    return most if convolution.shape.groups % most == 0 else 1


def defines(convolution: Convolution) -> dict[str, Any]:
    return {
        "TYPE": C_TYPES[convolution.dtype][0], "VECTOR": vector(convolution), "PASS": convolution.direction,
        **merged(convolution).epilogue_defines(),
    }  # fmt: skip


def geometry(convolution: Convolution) -> Any:
    made = convolution.geometry()
    made.channels = made.pixel = convolution.shape.groups
    return made


def prepare(convolution: Convolution) -> Callable[[Any, Any, Any, Any], None]:
    """run(image, filters, out, bias) of the forward pass and of the image's gradient: images (N, H, W, C), filters
    (KH, KW, C), bias (C,) or None."""
    if convolution.direction not in (FORWARD, INPUT_GRAD):
        raise ValueError(f"{NAME}: expected {FORWARD} or {INPUT_GRAD}, got {convolution.direction}")
    s = convolution.shape
    sizes, phases = (s.image, s.stride) if convolution.direction == INPUT_GRAD else (s.out, (1, 1))
    rows, columns = (-(-size // step) for size, step in zip(sizes, phases))
    threads = s.images * rows * -(-columns // RUN) * (s.groups // vector(convolution))
    if threads >= 1 << 31:
        raise ValueError(f"conv2d: expected at most 2**31 runs of {RUN} pixels, got {threads}")
    grid = (-(-threads // THREADS), math.prod(phases))
    problem, layout = merged(convolution).problem(1, 1), geometry(convolution)
    problem.m = s.images * math.prod(sizes)
    function = kernel(f"{NAME}.cu", NAME, **defines(convolution))

    def run(image: Any, filters: Any, out: Any, bias: Any) -> None:
        launch(function, grid, (THREADS,), (image, filters, out, bias, problem, layout))

    return run


def prepare_weight(convolution: Convolution) -> Callable[[Any, Any], Any]:
    """run(g, image) -> (KH, KW, C): the gradient of the filters, float32 (float64 of its own), over parts of the pixels
    that are added in their order."""
    s = convolution.shape
    kernel_h, kernel_w = s.kernel
    pixels = s.images * math.prod(s.out)
    blocks = -(-s.groups // (LANES * vector(convolution))), kernel_h * -(-kernel_w // TAPS)
    wanted = max(1, device_of(convolution).multiprocessors * 4 // math.prod(blocks))
    part = max(LEAST, -(-pixels // wanted))
    parts = max(1, -(-pixels // part))
    function, layout = kernel(f"{NAME}.cu", f"{NAME}_weight", **defines(convolution)), geometry(convolution)

    def run(g: Any, image: Any) -> Any:
        sums = empty_like(g, (parts, kernel_h, kernel_w, s.groups), convolution.compute)
        launch(function, (*blocks, parts), (THREADS,), (image, g, sums, layout, s.groups, pixels, part))
        return reduce("sum", sums, 0, False) if parts > 1 else sums[0]

    return run
