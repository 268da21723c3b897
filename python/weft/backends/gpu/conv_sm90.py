"""conv_sm90.cu: convolutions on Hopper's tensor cores, whose columns of pixels TMA gathers.

The forward pass multiplies columns with the filters; so does the input gradient, over the gradient of out and with the
taps in reverse, once for each phase where strides make some (see the kernel); the weight gradient multiplies the
gradient of out, transposed, with columns. The tiles are gemm_sm90's. TMA wants channels in multiples of 8; it brings
those of one tap in pieces of 64, or of 32, 16 or 8 where that wastes less.
"""

from __future__ import annotations

import ctypes
import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from weft.backends.gpu.conv_choice import register
from weft.backends.gpu.conv_problem import INPUT_GRAD, WEIGHT_GRAD, Convolution, padded
from weft.backends.gpu.gemm_choice import LAUNCH_CYCLES, Configuration, Device
from weft.backends.gpu.gemm_product import Matrix
from weft.backends.gpu.gemm_sm90 import ROW, SM90, TILES, Tile, band_height, itemsize, multiprocessors, store
from weft.backends.gpu.maps import apply
from weft.backends.launch import kernel, launch, tensor_map, tensor_map_im2col

if TYPE_CHECKING:
    from weft.backends.gpu.conv_choice import Run

#: Share of its rate at which TMA is taken to gather pieces of so many channels: estimates, which only compare them.
PIECES = {64: 1.0, 32: 0.9, 16: 0.6, 8: 0.35}
MOST_OFFSET = 255  #: pixels from the first tap to another, by the instruction's bits
CORNERS = range(-128, 128)  #: of the box that columns walk, beyond the image's own
MOST_STRIDE = 8


class Window(ctypes.Structure):
    """`Window` of kernels/conv_sm90.cu."""

    _fields_ = [
        (name, ctypes.c_int)
        for name in ("out_w", "out_h", "stride_w", "stride_h", "left", "top", "dilation_w", "dilation_h", "taps_w",
                     "taps_h", "first_w", "first_h", "step_w", "step_h", "pieces")
    ]  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Axis:
    """Rows, or columns, of one launch. A phase writes pixels `phase`, `phase + phases`, ... of out."""

    size: int  #: of the image that is gathered
    count: int  #: pixels of a column
    taps: int
    stride: int
    first: int  #: the pixel under the first tap of the first pixel of a column, negative where there is padding
    spacing: int  #: pixels between taps
    filter: int = 0  #: of the first tap
    step: int = 1  #: to the filter of the next
    phase: int = 0
    phases: int = 1

    @property
    def last(self) -> int:
        """The upper corner of the box that the first tap walks, relative to the image's last pixel."""
        return self.first + (self.count - 1) * self.stride + 1 - self.size

    def refusal(self) -> str:
        if (self.taps - 1) * self.spacing > MOST_OFFSET:
            return f"taps {(self.taps - 1) * self.spacing} pixels apart, of at most {MOST_OFFSET}"
        if self.stride > MOST_STRIDE:
            return f"stride {self.stride}, of at most {MOST_STRIDE}"
        if self.first not in CORNERS or self.last not in CORNERS:
            return f"corners {self.first} and {self.last}, of {CORNERS.start} to {CORNERS[-1]}"
        return ""


def axes(convolution: Convolution, i: int) -> list[Axis]:
    """The rows (i = 0) or columns of a pass; of the input gradient, of each phase that meets any taps."""
    s = convolution.shape
    image, out, taps, stride = s.image[i], s.out[i], s.kernel[i], s.stride[i]
    padding, dilation = s.padding[i], s.dilation[i]
    if convolution.direction != INPUT_GRAD:
        return [Axis(image, out, taps, stride, -padding, dilation)]
    step, spacing = s.steps[i], dilation // math.gcd(stride, dilation)
    found = []
    for phase in range(min(stride, image)):
        met = [t for t in range(min(step, taps)) if (phase + padding - t * dilation) % stride == 0]
        if met:
            count = (taps - 1 - met[0]) // step + 1
            under_last = (phase + padding - met[0] * dilation) // stride - (count - 1) * spacing
            found.append(Axis(out, -(-(image - phase) // stride), count, 1, under_last, spacing,
                              met[0] + (count - 1) * step, -step, phase, stride))  # fmt: skip
    return found


@dataclasses.dataclass(frozen=True)
class Columns:
    """One launch of a pass: its rows, its columns, and the product that it is."""

    rows: Axis
    columns: Axis
    product: Convolution

    @property
    def pair(self) -> tuple[Axis, Axis]:
        """As the kernel and TMA name them: columns, the innermost, first."""
        return self.columns, self.rows

    @property
    def phased(self) -> bool:
        return (self.rows.phases, self.columns.phases) != (1, 1)

    @property
    def store(self) -> str:
        return "pixels" if self.phased else store(self.product)

    def window(self, piece: int) -> Window:
        fields = ("count", "stride", "first", "spacing", "taps", "filter", "step")
        values = [getattr(axis, name) for name in fields for axis in self.pair]
        return Window(*values, math.ceil(self.product.gathered / piece))

    def image_map(self, image: Any, piece: int, pixels: int) -> Any:
        """Columns of `pixels` pixels by `piece` channels of an image (N, H, W, 1, channels)."""
        p = self.product
        shape = (p.gathered, *[axis.size for axis in self.pair], p.shape.images)
        lower, upper = [axis.first for axis in self.pair], [axis.last for axis in self.pair]
        steps = (1, *[axis.stride for axis in self.pair], 1)
        return tensor_map_im2col(image, shape, dense_strides(shape, 2), lower, upper, piece, pixels,
                                 swizzle=swizzle(piece), element_strides=steps)  # fmt: skip

    def out_map(self, out: Any, parts: int) -> Any:
        """Of the rows of out; of the parts of K, which lie one after the other; or of a phase's pixels."""
        p = self.product
        size = itemsize(p.out_dtype)
        if self.phased:
            rows, columns = self.rows, self.columns
            view = out.basic((..., slice(rows.phase, None, rows.phases), slice(columns.phase, None, columns.phases)))
            _, _, H, W = out.shape
            strides = (columns.phases * p.n * size, rows.phases * W * p.n * size, H * W * p.n * size)
            shape = (p.n, columns.count, rows.count, p.shape.images)
            return tensor_map_im2col(view, shape, strides, (0, 0), (0, 0), ROW // size, 64, swizzle=ROW)
        box = (ROW // size, 64)
        if parts == 1:
            return tensor_map(out, (p.n, p.m), (p.n * size,), box, swizzle=ROW)
        shape = (p.n, p.m, 1, parts)
        row, part = p.n * size, p.m * p.n * size
        return tensor_map(out, shape, (row, part, part), (*box, 1, 1), swizzle=ROW)


def launches(convolution: Convolution) -> list[Columns]:
    """The launches of a pass: one, or one for each phase of the input gradient that meets any taps."""
    s, direction = convolution.shape, convolution.direction
    found = []
    for rows in axes(convolution, 0):
        for columns in axes(convolution, 1):
            m, n, k = convolution.m, convolution.n, convolution.k
            if direction != WEIGHT_GRAD:
                m = s.images * rows.count * columns.count
                width = piece_of(convolution)
                pieces = rows.taps * columns.taps * math.ceil(convolution.gathered / width)
                k = math.ceil(pieces * width / 64) * 64
            out = Matrix(stride=n, pitched=n * itemsize(convolution.out_dtype) % 16 == 0)
            product = dataclasses.replace(convolution, m=m, n=n, k=k, outer=1, out=out)
            found.append(Columns(rows, columns, product))
    return found


def piece_of(convolution: Convolution) -> int:
    """The channels that TMA brings at a time: of the weight gradient a divisor, since columns are not padded."""
    channels = convolution.gathered
    if convolution.direction == WEIGHT_GRAD:
        return math.gcd(channels, 64)
    return max(PIECES, key=lambda width: PIECES[width] * channels / (math.ceil(channels / width) * width))


class ConvSm90:
    """Persistent blocks, as gemm_sm90's: a producer warp and warpgroups that multiply."""

    name = "conv_sm90"
    configurations = TILES
    portable = False
    reads_shared = True

    def refusal(self, convolution: Convolution, configuration: Configuration) -> str:
        s = convolution.shape
        if not 90 <= convolution.capability < 100:
            return f"wgmma on sm_{convolution.capability}"
        if convolution.dtype not in ("float16", "bfloat16"):
            return f"{convolution.dtype} by 16-bit products"
        if s.groups > 1:
            return "groups"
        strided = convolution.direction == INPUT_GRAD and s.stride != (1, 1)
        narrow = [convolution.gathered]
        narrow += [padded(2, s.outputs)] if convolution.direction == WEIGHT_GRAD else []
        narrow += [s.channels] if strided else []
        if any(channels % 8 for channels in narrow):
            return "channels that are no multiple of 8"
        for i in (0, 1):
            for axis in axes(convolution, i):
                if axis.refusal():
                    return axis.refusal()
        return ""

    def rate(self, convolution: Convolution, device: Device) -> float:
        return SM90.rate(convolution, device)

    def resident(self, convolution: Convolution, configuration: Configuration) -> int:
        return 1

    def busy(self, configuration: Configuration, convolution: Convolution, splits: int) -> float:
        """As GEMM's, at the rate at which its pieces come; phases run one after the other."""
        made = launches(convolution)
        cycles = sum(SM90.busy(configuration, columns.product, splits) for columns in made)
        return cycles / PIECES[piece_of(convolution)] + (len(made) - 1) * LAUNCH_CYCLES

    def defines(self, columns: Columns, tile: Tile, splits: int = 1) -> dict[str, Any]:
        product = partial(columns.product) if splits > 1 else columns.product
        made = SM90.defines(product, tile, splits)
        made.update(CHANNELS=piece_of(product), WEIGHT_GRAD=int(product.direction == WEIGHT_GRAD))
        return {**made, "STORE": "pixels"} if columns.phased else made

    def prepare(self, convolution: Convolution, configuration: Configuration, splits: int) -> Run:
        made = launches(convolution)
        runs = [self.prepare_launch(columns, configuration, splits) for columns in made]
        written = sum(columns.rows.count * columns.columns.count for columns in made)
        if convolution.direction != INPUT_GRAD or written == math.prod(convolution.shape.image):
            return runs[0] if len(runs) == 1 else in_turn(runs)

        def clear(a: Any, b: Any, out: Any, bias: Any) -> None:
            apply("copy", 0, out=out)

        return in_turn([clear, *runs])

    def prepare_launch(self, columns: Columns, configuration: Configuration, splits: int) -> Run:
        tile: Any = configuration
        if splits > 1:
            columns = dataclasses.replace(columns, product=partial(columns.product))
        product = columns.product
        if splits > math.ceil(product.k / 64):
            raise ValueError(f"conv2d: expected at most {math.ceil(product.k / 64)} parts of K, got {splits}")
        s, width = product.shape, piece_of(product)
        problem = product.problem(tile.tile_m, tile.tile_n, splits=splits)
        if columns.phased:
            problem.out_outer, problem.out_inner = columns.rows.count, columns.columns.count
        function = kernel("conv_sm90.cu", "conv_sm90", **self.defines(columns, tile, splits))
        shared, band, window = SM90.shared_bytes(product, tile), band_height(tile), columns.window(width)
        clusters = math.ceil(problem.tiles_m / tile.cluster_m) * math.ceil(problem.tiles_n / tile.cluster_n) * splits
        pixels, by_tma = tile.tile_m // tile.cluster_n, columns.store != "elements"
        box: tuple[int, ...]
        other: tuple[int, ...]
        if product.direction == WEIGHT_GRAD:
            length = s.images * columns.rows.count * columns.columns.count
            pixels, other, box, turned = 64, (s.outputs, length), (64, 64), ROW
            strides = [2 * padded(2, s.outputs)]
        else:
            other = (product.gathered, *s.kernel[::-1], product.n)
            strides, turned = dense_strides(other, 2), swizzle(width)
            box = (width, 1, 1, tile.tile_n // tile.cluster_m)

        def run(a: Any, b: Any, out: Any, bias: Any) -> None:
            image, beside = (b, a) if product.direction == WEIGHT_GRAD else (a, b)
            map_image = columns.image_map(image, width, pixels)
            map_other = tensor_map(beside, other, strides, box, swizzle=turned)
            map_out = columns.out_map(out, splits) if by_tma else map_other
            blocks = min(clusters, max(1, multiprocessors(out) // tile.cluster)) * tile.cluster
            launch(
                function, (blocks,), (tile.threads,), (map_image, map_other, map_out, out, bias, problem, window, band),
                shared=shared, cluster=(tile.cluster, 1, 1),
            )  # fmt: skip

        return run


def partial(product: Convolution) -> Convolution:
    """What one part of K contributes."""
    made = product.partial()
    if not isinstance(made, Convolution):
        raise TypeError(f"conv2d: expected a convolution, got {type(made).__name__}")
    return made


def in_turn(runs: list[Callable[..., None]]) -> Run:
    def run(a: Any, b: Any, out: Any, bias: Any) -> None:
        for each in runs:
            each(a, b, out, bias)

    return run


def dense_strides(shape: tuple[int, ...], size: int) -> list[int]:
    """Bytes between the neighbours along all axes but the innermost, which is the first."""
    return [size * math.prod(shape[: i + 1]) for i in range(len(shape) - 1)]


def swizzle(piece: int) -> int:
    """Of rows of so many 16-bit channels; rows of 16 bytes need none."""
    return 0 if piece == 8 else 2 * piece


SM90_CONV = ConvSm90()
register(SM90_CONV)
