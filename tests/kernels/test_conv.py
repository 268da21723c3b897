"""conv_simt.cu in its shipped tiles, on the emulated device, against float64: every pass, geometry, type and layout."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest

import policy
from kernels.conv_checks import PASSES, Conv, check
from weft.backends import emulator
from weft.backends.gpu import conv_simt

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


@pytest.fixture
def rng():
    return np.random.default_rng()


@pytest.fixture(autouse=True)
def device():
    with emulator.settings(arch=80):
        yield


SMALL = conv_simt.CONFIGURATIONS[-1]


@pytest.mark.parametrize("direction", PASSES)
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_every_geometry(geometry, direction, rng):
    check(rng, sized(geometry, direction, SMALL), direction, kernel=f"conv_simt/{SMALL.name}")


@pytest.mark.parametrize("direction", PASSES)
@pytest.mark.parametrize("tile", conv_simt.CONFIGURATIONS[:-1], ids=lambda t: t.name)
def test_every_tile(tile, direction, rng):
    for geometry in GEOMETRIES[:2]:
        check(rng, sized(geometry, direction, tile), direction, kernel=f"conv_simt/{tile.name}", activation="relu")


@pytest.mark.parametrize("direction", PASSES)
@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_other_types_by_single_threads(dtype, direction, rng):
    for geometry in GEOMETRIES[1:3]:
        check(rng, sized(geometry, direction, SMALL), direction, dtype, kernel=f"conv_simt/{SMALL.name}")


@pytest.mark.parametrize("direction", PASSES)
def test_parts_of_k(direction, rng):
    kernel = f"conv_simt/{SMALL.name}/3"
    check(rng, Conv(3, 20, 6, 5, 37, padding=ONE), direction, kernel=kernel, activation="relu")
    check(rng, Conv(3, 20, 6, 5, 36, padding=ONE, groups=2), direction, kernel=kernel, bias=False)


@pytest.mark.parametrize("memory", ["channels_last", "odd", "strided"])
@pytest.mark.parametrize("direction", PASSES)
def test_memory(direction, memory, rng):
    for case in (Conv(2, 8, 6, 5, 8, padding=ONE), Conv(2, 3, 6, 5, 5), Conv(2, 8, 6, 5, 12, (1, 1))):
        check(rng, case, direction, memory=memory)


EMPTY = (
    Conv(0, 3, 5, 4, 6), Conv(2, 0, 5, 4, 6), Conv(2, 3, 5, 4, 0), Conv(0, 3, 5, 4, 6, (1, 1)),
    Conv(2, 0, 5, 4, 6, (1, 1)), Conv(2, 3, 5, 4, 0, (1, 1)), Conv(1, 1, 1, 1, 1, (1, 1)), Conv(1, 1, 3, 3, 1),
)  # fmt: skip


@pytest.mark.parametrize("direction", PASSES)
@pytest.mark.parametrize("case", EMPTY, ids=str)
def test_nothing_and_next_to_nothing(case, direction, rng):
    check(rng, case, direction)


@pytest.mark.parametrize("direction", PASSES)
def test_checked_in_every_order(direction):
    outputs = []
    case = Conv(2, 9, 9, 8, 37, stride=(2, 1), padding=((1, 1), (0, 2)))
    for schedule, late in itertools.product(("fifo", "lifo", "reverse", "random"), (True, False)):
        with emulator.settings(arch=80, checked=True, schedule=schedule, late=late):
            got = check(np.random.default_rng(7), case, direction, kernel=f"conv_simt/{SMALL.name}")
            outputs.append(got.tobytes())
    assert len(set(outputs)) == 1, "the order of execution shows in the result"
