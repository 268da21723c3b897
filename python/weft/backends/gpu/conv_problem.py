"""What a pass of a convolution is to the kernels: a product of matrices of which one is gathered from an image.

    forward      out (pixels, O)  = windows of x (pixels, KH KW C)  filters (KH KW C, O)
    input_grad   dx  (pixels, C)  = windows of g (pixels, KH KW O)  filters (KH KW O, C)
    weight_grad  dw  (O, KH KW C) = g^T (O, pixels)                 windows of x (pixels, KH KW C)

each for every group. A `Convolution` is the `Product` of gemm with the geometry of its windows, so the cost model, the
epilogues and the second pass over parts of K are gemm's.

How operands lie: images (N, H, W, groups, channels) and filters (groups, rows, KH, KW, channels) in C order, their
channels padded with zeros to `padded` where they are read by windows, at multiples of 16 bytes.
"""

from __future__ import annotations

import ctypes
import dataclasses
import math
from typing import Any

from weft.backends.gpu.gemm_product import C_TYPES, Matrix, Problem, Product
from weft.backends.gpu.layout import division

FORWARD, INPUT_GRAD, WEIGHT_GRAD = "forward", "input_grad", "weight_grad"
PASSES = (FORWARD, INPUT_GRAD, WEIGHT_GRAD)
Pair = tuple[int, int]


class Division(ctypes.Structure):
    """`Division` of kernels/common.cuh."""

    _fields_ = [(name, ctypes.c_uint) for name in ("divisor", "multiplier", "shift")]


class Axis(ctypes.Structure):
    """`Axis` of kernels/conv/geometry.cuh."""

    _fields_ = [
        *[(name, ctypes.c_int) for name in (
            "image", "out", "kernel", "stride", "padding", "dilation", "step", "shift")],
        ("by_taps", Division * 2),
    ]  # fmt: skip


class Geometry(ctypes.Structure):
    """`Geometry` of kernels/conv/geometry.cuh."""

    _fields_ = [
        ("height", Axis), ("width", Axis),
        *[(name, ctypes.c_int) for name in ("images", "channels", "pixel")],
        *[(name, Division) for name in ("by_channels", "by_width", "by_pixels")],
    ]  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Shape:
    """The sizes of a convolution, the same for its three passes; `channels` and `outputs` are those of one group."""

    images: int
    groups: int
    channels: int
    outputs: int
    image: Pair
    out: Pair
    kernel: Pair
    stride: Pair
    padding: Pair  #: in front: (top, left); what is behind follows from the sizes
    dilation: Pair

    @property
    def flops(self) -> int:
        """Of each pass, the windows' taps on padding counted as well."""
        pixels = self.images * math.prod(self.out)
        return 2 * pixels * self.groups * self.outputs * self.channels * math.prod(self.kernel)

    @property
    def steps(self) -> Pair:
        """Which taps of the kernel a phase of the input's gradient meets: every so many."""
        return tuple(s // math.gcd(s, d) for s, d in zip(self.stride, self.dilation))  # type: ignore[return-value]


def unit(itemsize: int, channels: int) -> int:
    """Channels come in multiples of this many: 16 bytes, of few 16-bit ones 8."""
    return 4 if itemsize == 2 and channels <= 4 else 16 // itemsize


def padded(itemsize: int, channels: int) -> int:
    """The channels of a group as they lie in memory."""
    step = unit(itemsize, channels)
    return max(1, -(-channels // step)) * step


@dataclasses.dataclass(frozen=True)
class Convolution(Product):
    """One pass as the kernels see it; hashable, and free of pointers. A phase of the input's gradient (see the kernel)
    is a product of the batch's outer axis, a group one of its inner axis."""

    direction: str = FORWARD
    shape: Shape = Shape(0, 0, 0, 0, (0, 0), (0, 0), (1, 1), (1, 1), (0, 0), (1, 1))

    @property
    def gathered(self) -> int:
        """Channels of a group of the image that windows are gathered from, as they lie in memory."""
        return padded(self.itemsize, self.shape.outputs if self.direction == INPUT_GRAD else self.shape.channels)

    @property
    def splittable(self) -> bool:
        """Whether K may be cut: the second pass knows neither phases nor a bias that changes with the group."""
        return self.outer == 1 and (self.inner == 1 or self.bias == "none")

    def geometry(self) -> Geometry:
        """The argument of a kernel."""
        s = self.shape
        axes = []
        for i in (0, 1):
            step = s.steps[i]
            fewest = s.kernel[i] // step if self.direction == INPUT_GRAD else s.kernel[i]
            axes.append(
                Axis(
                    s.image[i], s.out[i], s.kernel[i], s.stride[i], s.padding[i], s.dilation[i], step,
                    s.dilation[i] // math.gcd(s.stride[i], s.dilation[i]),
                    (Division(*division(fewest)), Division(*division(fewest + 1))),
                )
            )  # fmt: skip
        divisions = [Division(*division(n)) for n in (self.gathered, s.out[1], s.out[0] * s.out[1])]
        return Geometry(*axes, s.images, self.gathered, s.groups * self.gathered, *divisions)

    def tiled(self, tile_m: int, tile_n: int, tile_k: int, splits: int) -> tuple[Problem, int]:
        """`Problem` of kernels/epilogue.cuh for tiles of this size, and how many blocks have them all."""
        product = self.partial() if splits > 1 else self
        part = max(1, math.ceil(math.ceil(self.k / tile_k) / splits)) * tile_k
        problem = product.problem(tile_m, tile_n, splits=splits, k_split=part)
        blocks = problem.tiles_m * problem.tiles_n * self.batch * splits
        if self.direction == INPUT_GRAD:  # of all phases: the epilogue counts so
            problem.m = self.shape.images * math.prod(self.shape.image)
        return problem, blocks


def describe(
    direction: str, shape: Shape, dtype: str, *, capability: int, device: str, multiprocessors: int = 0,
    tf32: bool = False, bias_dtype: str = "", activation: str = "none", aligned: bool = True,
) -> Convolution:  # fmt: skip
    """The product that a pass over operands of this shape is. aligned: out and bias start at multiples of 16 bytes."""
    s, itemsize = shape, 2 if C_TYPES[dtype][0] in ("f16", "bf16") else {"float32": 4, "float64": 8}[dtype]
    channels, outputs = padded(itemsize, s.channels), padded(itemsize, s.outputs)
    taps, phases = math.prod(s.kernel), 1
    options: dict[str, Any] = {}
    if direction == FORWARD:
        m, n, k = s.images * math.prod(s.out), s.outputs, taps * channels
    elif direction == INPUT_GRAD:
        phases = math.prod(s.stride)
        m = s.images * math.prod(-(-size // step) for size, step in zip(s.image, s.stride))
        n, k = s.channels, math.prod(-(-size // step) for size, step in zip(s.kernel, s.steps)) * outputs
    else:
        m, n, k = s.outputs, taps * channels, s.images * math.prod(s.out)
    if direction == WEIGHT_GRAD:
        options["a"] = Matrix(True, s.groups * outputs, 0, outputs, width(itemsize, s.outputs))
        options["b"] = Matrix(False, n, 0, 0, width(itemsize, s.channels))
        options["out"] = Matrix(False, n, 0, m * n)
    else:
        gathered, length = (s.channels, taps * channels) if direction == FORWARD else (s.outputs, taps * outputs)
        options["a"] = Matrix(False, 0, 0, 0, width(itemsize, gathered))
        options["b"] = Matrix(True, length, 0, n * length, width(itemsize, gathered))
        options["out"] = Matrix(False, s.groups * n, 0, n)
    strides = (options["out"].stride, options["out"].inner if s.groups > 1 else 0)
    bias_steps = n * 4 if s.groups > 1 and bias_dtype else 0
    aligned = aligned and not any(step * itemsize % 16 for step in strides) and not bias_steps % 16
    return Convolution(
        m=m, n=n, k=k, outer=phases, inner=s.groups, dtype=dtype, out_dtype=dtype, capability=capability,
        device=device, multiprocessors=multiprocessors, tf32=tf32, bias="column" if bias_dtype else "none",
        bias_dtype=bias_dtype, activation=activation, aligned=aligned, direction=direction, shape=shape, **options,
    )  # fmt: skip


def width(itemsize: int, channels: int) -> int:
    """The widest access to `channels` padded ones, in bytes."""
    return 16 if itemsize * unit(itemsize, channels) % 16 == 0 else 8
