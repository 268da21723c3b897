"""conv_simt.cu and conv_mma.cu in their shipped tiles, on the emulated device, against float64: every pass, geometry,
type and layout."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest

import policy
import weft
from kernels.checked import FEW_ORDERS, ORDERS, same_bits
from kernels.conv_checks import PASSES, Conv, check, in_memory
from weft.backends import emulator
from weft.backends.gpu import conv_mma, conv_simt, gemm_choice

pytestmark = policy.needs("emulator")

ONE = ((1, 1), (1, 1))
#: Without their sizes, which follow from the tile.
GEOMETRIES = (
    Conv(1, 1, 5, 4, 1, padding=ONE),
    Conv(1, 1, 9, 7, 1, stride=(2, 2), padding=((1, 0), (0, 2))),
    Conv(1, 1, 8, 7, 1, (3, 2), dilation=(2, 3), padding=((2, 1), (1, 3))),
    Conv(1, 1, 7, 6, 1, (1, 1), stride=(2, 2)),
    Conv(1, 1, 9, 8, 1, (2, 3), stride=(3, 1), padding=ONE),
    Conv(1, 1, 8, 9, 1, (3, 3), stride=(2, 4), dilation=(2, 2), padding=((2, 2), (1, 2))),
    Conv(1, 1, 6, 5, 1, (4, 5), padding=((3, 3), (2, 2))),
    Conv(1, 1, 5, 6, 1, (3, 3), groups=2, padding=((0, 1), (2, 0))),
)


def sized(geometry, direction, tile, depth=None):
    """The geometry with a little more than one tile of rows and of columns for each group, and two slices of k."""
    g, depth = geometry, 2 * (depth or tile.tile_k) + 1
    taps = math.prod(g.kernel)
    wanted = {"forward": tile.tile_m, "input_grad": tile.tile_m, "weight_grad": depth}[direction]
    each = g.out if direction != "input_grad" else (0, 0, *(-(-n // s) for n, s in zip((g.H, g.W), g.stride)))
    images = -(-(wanted + 1) // (each[2] * each[3]))
    if direction == "forward":
        channels, outputs = -(-depth // taps), tile.tile_n + 3
    elif direction == "input_grad":
        channels, outputs = tile.tile_n + 3, -(-depth // taps)
    else:
        channels, outputs = -(-tile.tile_n // taps) + 1, tile.tile_m + 3
    return dataclasses.replace(g, N=images, C=channels * g.groups, O=outputs * g.groups)


@pytest.fixture(autouse=True)
def settings():
    with emulator.settings(arch=80):
        yield
    gemm_choice.set_float32_matmul_precision("highest")


SMALL = conv_simt.CONFIGURATIONS[-1]


@pytest.mark.gpu
@pytest.mark.parametrize("direction", PASSES)
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_every_geometry(geometry, direction, rng, device):
    check(rng, sized(geometry, direction, SMALL), direction, kernel=f"conv_simt/{SMALL.name}", device=device)


@pytest.mark.parametrize("direction", PASSES)
@pytest.mark.parametrize("tile", conv_simt.CONFIGURATIONS[:-1], ids=lambda t: t.name)
def test_every_tile(tile, direction, rng):
    for geometry in GEOMETRIES[:2]:
        check(rng, sized(geometry, direction, tile), direction, kernel=f"conv_simt/{tile.name}", activation="relu")


# -- one channel per group

EACH = (
    Conv(2, 24, 7, 9, 24, groups=24, padding=ONE),
    Conv(3, 40, 9, 8, 40, (5, 3), stride=(2, 3), dilation=(1, 2), padding=((2, 1), (1, 3)), groups=40),
    Conv(2, 5, 6, 7, 5, (2, 6), stride=(1, 2), padding=((0, 1), (2, 2)), groups=5),
    Conv(2, 264, 5, 4, 264, groups=264, stride=(3, 3), padding=ONE),
)


def in_turn(each):
    """All in float32; each of the other types in one pass of each geometry, which is another of the next."""
    case, dtype, direction = each
    return dtype == "float32" or (EACH.index(case) + PASSES.index(direction) + (dtype == "float64")) % 3 == 0


@pytest.mark.gpu
@pytest.mark.parametrize(
    "each",
    policy.mostly_slow(itertools.product(EACH, ("float32", "bfloat16", "float64"), PASSES), in_turn),
    ids=lambda each: "-".join(map(str, each)),
)
def test_each_channel_alone(each, rng, device):
    case, dtype, direction = each
    check(rng, case, direction, dtype, kernel="conv_depthwise", activation="relu", device=device)


# -- tensor cores

TENSOR = next(t for t in conv_mma.ROWS if t.name == "64x64x64")
#: Few channels, which come by fours in 16 bits.
STEMS = (
    Conv(2, 3, 9, 8, 70, padding=ONE),
    Conv(2, 3, 11, 10, 66, (5, 4), stride=(2, 2), padding=((2, 1), (1, 2))),
    Conv(2, 8, 6, 7, 12, groups=4, padding=ONE),
    Conv(3, 1, 8, 9, 10, (3, 3)),
)


def tensor_check(rng, case, direction, dtype, tile, **options):
    if dtype == "float32":
        gemm_choice.set_float32_matmul_precision("high")
    return check(
        rng, case, direction, dtype, kernel=f"conv_mma/{tile.name}", tf32=dtype == "float32", **options
    )  # fmt: skip


def float16_once(case):
    """float16 differs from bfloat16 in no line of the kernel but the instruction's name."""
    return case[1] != "float16" or case[0] is GEOMETRIES[1]


@pytest.mark.parametrize(
    "case",
    policy.mostly_slow(itertools.product(GEOMETRIES, ("float16", "bfloat16", "float32"), PASSES), float16_once),
    ids=lambda case: "-".join(map(str, case)),
)
def test_every_geometry_on_tensor_cores(case, rng):
    geometry, dtype, direction = case
    tensor_check(rng, sized(geometry, direction, TENSOR), direction, dtype, TENSOR)


@pytest.mark.gpu
@pytest.mark.parametrize("direction", PASSES)
@pytest.mark.parametrize("case", STEMS, ids=str)
def test_few_channels(case, direction, rng, device):
    tensor_check(rng, case, direction, "bfloat16", TENSOR, device=device)


TILES = [(tile, dtype) for tile in conv_mma.ROWS for dtype in ("bfloat16", "float32")
         if tile is not TENSOR and not (dtype == "float32" and tile.sums == 128)]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("direction", PASSES)
@pytest.mark.parametrize("tile, dtype", TILES, ids=lambda x: x if isinstance(x, str) else x.name)
def test_every_tile_of_tensor_cores(tile, dtype, direction, rng):
    for geometry in GEOMETRIES[:3]:
        case = sized(geometry, direction, tile, depth=tile.tile_k if dtype != "float32" else tile.tile_k // 2)
        tensor_check(rng, case, direction, dtype, tile, activation="relu")


@pytest.mark.slow
@pytest.mark.parametrize("direction", PASSES)
@pytest.mark.parametrize("tile", [t for t in conv_mma.ROWS if t.sums < 128 and t.threads > 32], ids=lambda t: t.name)
def test_few_channels_in_every_tile(tile, direction, rng):
    for case in STEMS[1:3]:
        tensor_check(rng, case, direction, "float16", tile)


@pytest.mark.parametrize("direction", PASSES)
def test_turing(direction, rng):
    with emulator.settings(arch=75):
        tensor_check(rng, sized(GEOMETRIES[1], direction, TENSOR), direction, "float16", TENSOR)
        tensor_check(rng, STEMS[1], direction, "float16", TENSOR)


@pytest.mark.parametrize("direction", PASSES)
@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_other_types_by_single_threads(dtype, direction, rng):
    for geometry in GEOMETRIES[1:3]:
        check(rng, sized(geometry, direction, SMALL), direction, dtype, kernel=f"conv_simt/{SMALL.name}")


@pytest.mark.parametrize("direction", PASSES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_parts_of_k(dtype, direction, rng):
    kernel = f"conv_simt/{SMALL.name}/3" if dtype == "float32" else f"conv_mma/{TENSOR.name}/3"
    check(rng, Conv(3, 20, 6, 5, 37, padding=ONE), direction, dtype, kernel=kernel, activation="relu")
    check(rng, Conv(3, 20, 6, 5, 36, padding=ONE, groups=2), direction, dtype, kernel=kernel, bias=False)


@pytest.mark.gpu
@pytest.mark.sanitized
@pytest.mark.parametrize("memory", ["channels_last", "odd", "strided"])
@pytest.mark.parametrize("direction", PASSES)
def test_memory(direction, memory, rng, device):
    for case in (Conv(2, 8, 6, 5, 8, padding=ONE), Conv(2, 3, 6, 5, 5), Conv(2, 8, 6, 5, 12, (1, 1))):
        check(rng, case, direction, memory=memory, device=device)


FAR = (
    Conv(1, 3, 32, 32, 40, (16, 16), stride=(16, 16)),  # patches: 256 phases of one tap
    Conv(2, 16, 1, 120, 24, (1, 31), padding=((0, 0), (15, 15))),  # a sequence, and as many taps as there are bits
    Conv(2, 8, 5, 5, 8, stride=(5, 7), padding=((4, 4), (4, 4))),  # phases without taps
    Conv(1, 4, 3, 3, 6, (1, 40), padding=((0, 0), (30, 30))),  # more padding than image, more taps than bits
)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("direction", PASSES)
@pytest.mark.parametrize("case", FAR, ids=str)
def test_far_from_the_usual(case, direction, dtype, rng, device):
    check(rng, case, direction, dtype, device=device)


EMPTY = (
    Conv(0, 3, 5, 4, 6), Conv(2, 0, 5, 4, 6), Conv(2, 3, 5, 4, 0), Conv(0, 3, 5, 4, 6, (1, 1)),
    Conv(2, 0, 5, 4, 6, (1, 1)), Conv(2, 3, 5, 4, 0, (1, 1)), Conv(1, 1, 1, 1, 1, (1, 1)), Conv(1, 1, 3, 3, 1),
)  # fmt: skip


@pytest.mark.gpu
@pytest.mark.parametrize("direction", PASSES)
@pytest.mark.parametrize("case", EMPTY, ids=str)
def test_nothing_and_next_to_nothing(case, direction, rng, device):
    check(rng, case, direction, device=device)


CHECKED = [
    (80, "float32", f"conv_simt/{SMALL.name}"),
    (80, "bfloat16", "conv_mma/32x32x64"),
    (75, "float16", "conv_mma/64x64x64"),
    (80, "tf32", "conv_mma/32x32x64/2"),
    (75, "float32", "conv_depthwise"),
]


def every_time(case):
    """All passes of the main loops, of which Turing's and that of parts of K differ little; one pass of these."""
    (_, dtype, kernel), direction = case
    return kernel in ("conv_mma/32x32x64", "conv_depthwise") or dtype == "float32" or direction == "forward"


@pytest.mark.parametrize(
    "case",
    policy.mostly_slow(itertools.product(CHECKED, PASSES), every_time),
    ids=lambda case: "-".join(map(str, (case[1], *case[0]))),
)
def test_checked_in_every_order(case):
    (arch, dtype, kernel), direction = case
    tf32 = dtype == "tf32"
    if tf32:
        gemm_choice.set_float32_matmul_precision("high")
    stride = (1, 1) if kernel.endswith("/2") else (2, 1)
    case = Conv(2, 9, 9, 8, 37, stride=stride, padding=((1, 1), (0, 2)))
    case = EACH[1] if kernel == "conv_depthwise" else case

    def run():
        rng = np.random.default_rng(7)  # one convolution in all orders
        return check(rng, case, direction, "float32" if tf32 else dtype, kernel=kernel, tf32=tf32)

    same_bits(run, ORDERS if direction == "forward" else FEW_ORDERS, arch=arch)


def test_which_names_the_kernel(device, rng):
    x, w = (
        in_memory(rng.uniform(-1, 1, shape).astype(np.float32), "plain", device)
        for shape in ((2, 8, 9, 9), (8, 8, 3, 3))
    )
    assert weft.which("conv2d", x, w).startswith("gpu.conv: conv_simt/")
    assert weft.which("conv2d", x, w[:, :, :1, :1]).startswith("gpu.conv: gemm_simt/")
    with pytest.raises(ValueError, match="conv2d: expected a kernel of .*conv_mma.*got 'none'"):
        check(rng, Conv(2, 8, 9, 9, 8), "forward", kernel="none")
    with pytest.raises(
        ValueError, match="conv2d: expected a kernel for forward of float32, got none .*float32 without"
    ):
        check(rng, Conv(2, 8, 9, 9, 8), "forward", kernel="conv_mma/64x64x64")
