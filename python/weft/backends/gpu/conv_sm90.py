"""conv_sm90.cu: convolution on Hopper's tensor cores, as an implicit matrix product whose columns TMA gathers.

The forward pass multiplies a row for each pixel of out, (taps, channels) long, with the weights. The input gradient is
the same over the gradient of out, with the taps in reverse and the weights transposed, which wgmma does by itself; with
a stride above 1 it is one such product for each phase, the pixels that meet the same taps. Both read the weights as
(O, KH, KW, C) in memory. Products with few tiles are cut into parts of K, as GEMM's are.
"""

from __future__ import annotations

import ctypes
import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

from weft.backends.gpu import gemm_choice, gemm_split
from weft.backends.gpu.gemm_product import Matrix, Product
from weft.backends.gpu.gemm_sm90 import ROW, TILES, Sm90, Tile, band_height, itemsize, multiprocessors, store
from weft.backends.launch import kernel, launch, tensor_map, tensor_map_im2col
from weft.backends.reference.windows import output_size

Pair = tuple[int, int]
Run = Callable[[Any, Any, Any, Any], None]  #: (x or g, weight, out, bias): launches a plan on arrays of its kind
#: Share of its rate at which TMA is taken to gather rows of so many channels: an estimate, which only compares widths.
WIDTHS = {64: 1.0, 32: 0.9, 16: 0.6, 8: 0.35}
MOST_OFFSET = 255  #: pixels from the first tap to another, by the instruction's bits
CORNERS = range(-128, 128)  #: of the box that the columns walk, beyond the image's own
MOST_STRIDE = 8


class Window(ctypes.Structure):
    """`Window` of kernels/conv_sm90.cu."""

    _fields_ = [
        (name, ctypes.c_int)
        for name in ("out_w", "out_h", "stride_w", "stride_h", "left", "top", "dilation_w", "dilation_h", "taps_w",
                     "taps_h", "first_w", "first_h", "step_w", "step_h", "pieces")
    ]  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Columns:
    """One launch as the kernel sees it: images that a window walks, times weights; hashable. Pairs are (rows, columns).

    channels, outputs: of the images that are read and of those that are written.
    """

    images: int
    channels: int
    outputs: int
    size: Pair
    out_size: Pair  #: pixels of out that this launch writes
    taps: Pair
    stride: Pair
    first: Pair  #: the pixel under the first tap of the first pixel of out, negative where there is padding
    dilation: Pair
    kernel: Pair  #: KH, KW of the weights
    dtype: str
    out_dtype: str
    capability: int
    weight_first: Pair = (0, 0)  #: the weights of the first tap
    weight_step: Pair = (1, 1)  #: and those of the next
    phase: Pair = (0, 0)  #: the first pixel of out that is written
    phases: Pair = (1, 1)  #: and the step to the next
    device: str = "cuda"
    multiprocessors: int = 0  #: 0 stands for a typical GPU of its generation
    input_grad: bool = False
    bias: str = ""  #: the dtype of one value per output channel, or "" for none
    activation: str = "none"

    @property
    def last(self) -> Pair:
        """Upper corner of the box that the first tap walks, relative to the image's last pixel."""
        return self.along(lambda axis: self.first[axis] + (self.out_size[axis] - 1) * self.stride[axis] + 1
                          - self.size[axis])  # fmt: skip

    @property
    def width(self) -> int:
        """The channels that TMA brings at a time: those that waste least."""
        return max(WIDTHS, key=lambda w: WIDTHS[w] * self.channels / (math.ceil(self.channels / w) * w))

    @property
    def product(self) -> Product:
        """The matrix product that this is, for the choice of a tile and for the epilogue."""
        pixels = self.images * math.prod(self.out_size)
        pieces = math.prod(self.taps) * math.ceil(self.channels / self.width)
        pitched = self.outputs * itemsize(self.out_dtype) % 16 == 0
        return Product(
            m=pixels, n=self.outputs, k=math.ceil(pieces * self.width / 64) * 64, outer=1, inner=1, dtype=self.dtype,
            out_dtype=self.out_dtype, a=Matrix(), b=Matrix(transposed=not self.input_grad),
            out=Matrix(stride=self.outputs, pitched=pitched, bytes=16 if pitched else 2), capability=self.capability,
            device=self.device, multiprocessors=self.multiprocessors, bias="column" if self.bias else "none",
            bias_dtype=self.bias, activation=self.activation, aligned=pitched,
        )  # fmt: skip

    def along(self, value: Callable[[int], int]) -> Pair:
        return value(0), value(1)

    def refusal(self) -> str:
        """Why TMA cannot gather this, or ""."""
        reaches = self.along(lambda axis: self.dilation[axis] * (self.taps[axis] - 1))
        if not 90 <= self.capability < 100:
            return f"wgmma on sm_{self.capability}"
        if self.dtype not in ("float16", "bfloat16"):
            return f"{self.dtype}"
        if self.channels % 8 or (self.input_grad and self.outputs % 8):
            return "channels that are no multiple of 8"
        if max(reaches) > MOST_OFFSET:
            return f"taps {max(reaches)} pixels apart, of at most {MOST_OFFSET}"
        if max(self.stride) > MOST_STRIDE:
            return f"stride {max(self.stride)}, of at most {MOST_STRIDE}"
        if any(corner not in CORNERS for corner in (*self.first, *self.last)):
            return f"corners {self.first} and {self.last} beyond {CORNERS.start} to {CORNERS[-1]}"
        if self.images * math.prod(self.out_size) >= 2**31:
            return "pixels of out that 31 bits cannot count"
        if not (self.images and self.channels and self.outputs):
            return "nothing to compute"
        return ""


class ConvSm90(Sm90):
    """The tiles of gemm_sm90, with columns of pixels in the place of A."""

    name = "conv_sm90"

    def __init__(self, columns: Columns):
        self.columns = columns

    def refusal(self, product: Product, configuration: gemm_choice.Configuration) -> str:
        return self.columns.refusal()

    def defines(self, product: Product, tile: Tile, splits: int = 1) -> dict[str, Any]:
        made = super().defines(product, tile, splits)
        made.update(CHANNELS=self.columns.width, INPUT_GRAD=int(self.columns.input_grad))
        if self.columns.phases != (1, 1):
            made["STORE"] = "pixels"
        return made

    def problem(self, product: Product, tile: Tile, splits: int) -> Any:
        made = product.problem(tile.tile_m, tile.tile_n, splits=splits)
        if self.columns.phases != (1, 1):
            made.out_outer, made.out_inner = self.columns.out_size
        return made

    def prepare(self, product: Product, configuration: gemm_choice.Configuration, splits: int) -> Any:
        tile: Any = configuration
        c = self.columns
        if splits > product.k // 64:
            raise ValueError(f"conv_sm90: expected at most {product.k // 64} parts of K, got {splits}")
        problem = self.problem(product, tile, splits)
        function = kernel("conv_sm90.cu", "conv_sm90", **self.defines(product, tile, splits))
        shared, band = self.shared_bytes(product, tile), band_height(tile)
        clusters = math.ceil(problem.tiles_m / tile.cluster_m) * math.ceil(problem.tiles_n / tile.cluster_n) * splits
        size, width = itemsize(c.dtype), c.width
        pairs = (c.out_size, c.stride, c.first, c.dilation, c.taps, c.weight_first, c.weight_step)
        window = Window(*[value for pair in pairs for value in pair[::-1]], math.ceil(c.channels / width))
        shape = (c.channels, *c.size[::-1], c.images)
        corners, steps = (c.first[::-1], c.last[::-1]), (1, *c.stride[::-1], 1)
        swizzle = 0 if width == 8 else width * size
        inner, outer = (c.outputs, c.channels) if c.input_grad else (c.channels, c.outputs)
        weights = (inner, *c.kernel[::-1], outer)
        rows = [inner * size * count for count in (1, c.kernel[1], math.prod(c.kernel))]
        box = (64, 1, 1, width) if c.input_grad else (width, 1, 1, tile.tile_n // tile.cluster_m)

        def run(x: Any, weight: Any, out: Any, bias: Any, aux: Any, residual: Any) -> None:
            map_x = tensor_map_im2col(
                x, shape, pixel_strides(x), *corners, width, tile.tile_m // tile.cluster_n, swizzle=swizzle,
                element_strides=steps,
            )  # fmt: skip
            map_weight = tensor_map(weight, weights, rows, box, swizzle=ROW if c.input_grad else swizzle)
            map_out = self.out_map(out, product, splits) or map_weight
            blocks = min(clusters, max(1, multiprocessors(x) // tile.cluster)) * tile.cluster
            launch(
                function, (blocks,), (tile.threads,),
                (map_x, map_weight, map_out, map_out, out, bias, problem, window, band),
                shared=shared, cluster=(tile.cluster, 1, 1),
            )  # fmt: skip

        return run

    def out_map(self, out: Any, product: Product, splits: int) -> Any:
        """Of the pixels of out as rows; of the parts of K, which lie one after the other; or of a phase's pixels."""
        c = self.columns
        size = itemsize(product.out_dtype)
        if c.phases != (1, 1):
            view = out[:, :, c.phase[0] :: c.phases[0], c.phase[1] :: c.phases[1]]
            shape = (product.n, *c.out_size[::-1], c.images)
            return tensor_map_im2col(view, shape, pixel_strides(view), (0, 0), (0, 0), ROW // size, 64, swizzle=ROW)
        if store(product) == "elements":
            return None
        row, box = product.n * size, (ROW // size, 64)
        if splits == 1:
            return tensor_map(out, (product.n, product.m), (row,), box, swizzle=ROW)
        part = product.m * row
        return tensor_map(out, (product.n, product.m, 1, splits), (row, part, part), (*box, 1, 1), swizzle=ROW)


def pixel_strides(x: Any) -> tuple[int, ...]:
    """Bytes between the pixels, rows and images of x (N, C, H, W); along axes of length 1 any step would do."""
    strides, step = [], x.shape[1] * x.itemsize
    for axis in (3, 2, 0):
        step = x.strides[axis] if x.shape[axis] > 1 else step
        strides.append(step)
    return tuple(strides)


def cycles(columns: Columns, tile: Tile, parts: int) -> float:
    """The model's cost: GEMM's, but the images pass the device's memory once, not once for each tap."""
    product = columns.product
    device = gemm_choice.device_of(product)
    busy = ConvSm90(columns).busy(tile, product, parts) / WIDTHS[columns.width]
    size, sums = product.itemsize, product.m * product.n
    moved = columns.images * columns.channels * math.prod(columns.size) * size + product.n * product.k * size + sums * 2
    memory = moved / device.bandwidth * device.clock
    reduce = 0.0
    if parts > 1:
        reduce = 2 * parts * sums * 4 / device.bandwidth * device.clock + gemm_choice.LAUNCH_CYCLES
    return max(busy, memory) + 0.1 * min(busy, memory) + reduce


@functools.lru_cache(maxsize=4096)
def choose(columns: Columns) -> tuple[Tile, int]:
    """The tile and the parts of K that the model finds cheapest."""
    product = columns.product
    steps = product.k // 64
    few = product.m * product.n < 2**31 and columns.phases == (1, 1)  # gemm_split.cu counts in 32 bits, writes rows
    found = [(tile, parts) for tile in TILES for parts in gemm_choice.PARTS
             if parts == 1 or (few and steps // parts >= 4)]  # fmt: skip
    return min(found, key=lambda c: cycles(columns, *c))


@functools.lru_cache(maxsize=4096)
def plan(columns: Columns, tile: Tile, parts: int) -> Any:
    family = ConvSm90(columns)
    if parts == 1:
        return family.prepare(columns.product, tile, 1)
    return gemm_split.prepare(family, columns.product, tile, parts)  # type: ignore[arg-type]


def compute(
    x: Any, weight: Any, out: Any, bias: Any, columns: Columns, tile: Tile | None = None, parts: int = 1
) -> None:
    """out = activation(columns of x, times weight, plus bias).

    x (N, C, H, W) and weight (O, C, KH, KW) with their channels together in memory, pixels and images of x at multiples
    of 16 bytes, weight and out (N, O, OH, OW) dense in the order (0, 2, 3, 1); bias (O,) or None. tile: None chooses.
    ValueError where TMA cannot gather, with the reason.
    """
    refusal = columns.refusal()
    if refusal:
        raise ValueError(f"conv_sm90: expected columns that TMA can gather, got {refusal}")
    if tile is None:
        tile, parts = choose(columns)
    plan(columns, tile, parts)(x, weight, out, bias, None, None)


def forward_columns(
    x_shape: tuple[int, ...], weight_shape: tuple[int, ...], stride: Pair, padding: tuple[Pair, Pair], dilation: Pair,
    **options: Any,
) -> Columns:  # fmt: skip
    """The forward pass of x (N, C, H, W) and weight (O, C, KH, KW)."""
    (N, C, H, W), (O, _, KH, KW) = x_shape, weight_shape
    out_size = output_size((H, W), (KH, KW), stride, padding, dilation)
    first = -padding[0][0], -padding[1][0]
    return Columns(N, C, O, (H, W), out_size, (KH, KW), stride, first, dilation, (KH, KW), **options)


def input_grad_columns(
    x_shape: tuple[int, ...], weight_shape: tuple[int, ...], stride: Pair, padding: tuple[Pair, Pair], dilation: Pair,
    **options: Any,
) -> list[Columns]:  # fmt: skip
    """The gradient of x (N, C, H, W): the phases that meet any taps. Pixels of the others are zero."""
    (N, C, H, W), (O, _, *kernel) = x_shape, weight_shape
    size = output_size((H, W), kernel, stride, padding, dilation)
    rows, columns = (phases(n, *axis) for n, axis in zip((H, W), zip(kernel, stride, padding, dilation)))
    return [
        Columns(N, O, C, size, out_size=(h["count"], w["count"]), taps=(h["taps"], w["taps"]), stride=(1, 1),
                first=(h["first"], w["first"]), dilation=(h["spacing"], w["spacing"]), kernel=(kernel[0], kernel[1]),
                weight_first=(h["last_tap"], w["last_tap"]), weight_step=(h["step"], w["step"]),
                phase=(h["phase"], w["phase"]), phases=stride, input_grad=True, **options)
        for h in rows
        for w in columns
    ]  # fmt: skip


def phases(image: int, kernel: int, stride: int, padding: Pair, dilation: int) -> list[dict[str, int]]:
    """Along one axis: the pixels `phase + i stride` of the image, `count` of them, meet every `step`-th tap, and pixel
    i finds under the last of them, which comes first, pixel i + first of the gradient of out."""
    common = math.gcd(stride, dilation)
    step, spacing = stride // common, dilation // common
    found = []
    for phase in range(min(stride, image)):
        met = [t for t in range(min(step, kernel)) if (phase + padding[0] - t * dilation) % stride == 0]
        if not met:
            continue
        first_tap = met[0]
        taps = (kernel - 1 - first_tap) // step + 1
        under_first_tap = (phase + padding[0] - first_tap * dilation) // stride
        found.append({
            "phase": phase, "count": -(-(image - phase) // stride), "taps": taps, "spacing": spacing,
            "first": under_first_tap - (taps - 1) * spacing, "last_tap": first_tap + (taps - 1) * step, "step": -step,
        })  # fmt: skip
    return found
