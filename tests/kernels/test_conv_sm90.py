"""conv_sm90 on the emulated device, in its shipped tiles: every pass over odd shapes, strides, paddings, dilations."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import policy
from kernels import conv_checks
from kernels.array_checks import on as placed
from kernels.conv_checks import PASSES, Conv, check
from weft.backends import emulator
from weft.backends.gpu import conv
from weft.backends.gpu.gemm_sm90 import TILES
from weft.backends.launch import capability

pytestmark = [policy.needs("emulator"), pytest.mark.gpu]
BY_NAME = {tile.name: tile for tile in TILES}
LARGE, TURNS, PAIR, SMALL = "128x256x64s3c2x1", "128x128x64s5p", "256x128x64s4c1x2", "64x64x64s8"
ONE, ASYMMETRIC = ((1, 1), (1, 1)), ((2, 0), (0, 3))


@pytest.fixture(autouse=True)
def hopper(device, monkeypatch):
    """An emulated Hopper GPU of two multiprocessors, so that blocks have several tiles; or a real one."""
    if device != "emulated":
        if capability(placed(device, np.zeros(1))) // 10 != 9:
            pytest.skip("no Hopper GPU")
        monkeypatch.setattr(conv_checks, "from_host", lambda values: placed(device, values))
    with emulator.settings(arch=90, multiprocessors=2):
        yield


def on(tile, parts=1):
    return f"conv_sm90/{tile}/{parts}"


#: What is read has the channels; few of them come in pieces of 8, 16 or 32.
CASES = {
    "1x1": Conv(3, 64, 5, 7, 72, (1, 1)),
    "3x3": Conv(2, 64, 9, 7, 64, padding=ONE),
    "3x3 unpadded": Conv(2, 72, 9, 7, 40),
    "5x2": Conv(2, 64, 8, 6, 24, (5, 2), padding=ASYMMETRIC),
    "one pixel out": Conv(5, 64, 3, 3, 8),
    "one image, one row": Conv(1, 64, 1, 70, 16, (1, 3), padding=((0, 0), (1, 1))),
    "one column": Conv(2, 64, 67, 1, 16, (3, 1), padding=((1, 1), (0, 0))),
    "stride": Conv(2, 64, 9, 11, 40, stride=(2, 2), padding=ONE),
    "strides": Conv(2, 64, 11, 13, 40, (3, 2), stride=(2, 3), padding=ASYMMETRIC),
    "1x1 stride": Conv(2, 64, 8, 9, 40, (1, 1), stride=(2, 2)),
    "stride beyond the taps": Conv(2, 64, 11, 9, 40, (2, 2), stride=(4, 3)),
    "rows behind the last window": Conv(2, 64, 12, 10, 40, stride=(3, 2)),
    "dilation": Conv(2, 64, 9, 11, 40, dilation=(2, 3), padding=((2, 2), (3, 3))),
    "dilation and stride": Conv(2, 64, 13, 11, 40, dilation=(2, 3), stride=(2, 2), padding=ONE),
    "dilation as stride": Conv(2, 64, 11, 12, 40, dilation=(2, 4), stride=(2, 2), padding=((2, 1), (4, 3))),
    "padding beyond the taps": Conv(2, 64, 4, 5, 40, (2, 2), padding=((3, 3), (3, 3))),
    "8 channels": Conv(2, 8, 10, 9, 72, padding=ONE),
    "8 channels, 7x7, stride": Conv(1, 8, 19, 21, 64, (7, 7), stride=(2, 2), padding=((3, 3), (3, 3))),
    "16 channels": Conv(2, 16, 9, 7, 40, padding=ONE),
    "32 channels": Conv(2, 32, 9, 7, 40, (3, 2), padding=ONE),
    "24 channels": Conv(2, 24, 9, 7, 40, stride=(1, 2), padding=ONE),
    "136 channels": Conv(1, 136, 9, 7, 136, (2, 2), padding=ONE),
    "5 channels, padded": Conv(2, 5, 9, 7, 24, padding=ONE),
}  # fmt: skip


def of(case, direction):
    """The case with the channels turned about where the gradient of out is gathered."""
    case = CASES[case]
    return dataclasses.replace(case, C=case.O, O=case.C) if direction == "input_grad" else case


@pytest.mark.parametrize("direction", PASSES)
@pytest.mark.parametrize("case", CASES)
def test_every_geometry(case, direction, rng):
    check(rng, of(case, direction), direction, "bfloat16", kernel=on(SMALL))


@pytest.mark.parametrize("outputs", [1, 3, 63, 65, 130])
def test_channels_that_do_not_align_rows_of_out(outputs, rng):
    check(rng, Conv(2, 64, 7, 6, outputs, padding=ONE), "forward", "bfloat16", kernel=on(SMALL), bias=False)
    check(rng, Conv(2, 64, 7, 6, outputs, padding=ONE), "forward", "bfloat16", kernel=on(SMALL), activation="relu")
    check(rng, Conv(2, outputs, 7, 6, 64, padding=ONE), "input_grad", "bfloat16", kernel=on(SMALL))


@pytest.mark.parametrize("direction", PASSES)
@pytest.mark.parametrize("activation", [None, "relu"])
def test_float16(direction, activation, rng):
    check(rng, Conv(2, 64, 9, 7, 136, padding=ONE), direction, "float16", kernel=on(SMALL), activation=activation)


@pytest.mark.parametrize("channels", [8, 16, 24, 64])
def test_infinite_values_reach_what_meets_them(channels, device, rng):
    """Stages have room for taps and channels that do not exist, and 0 times infinity is NaN."""
    x = rng.standard_normal((2, channels, 8, 6)).astype(np.float16)
    x[:, :, -1] = np.inf
    weight = rng.standard_normal((40, channels, 3, 3)).astype(np.float16)
    geometry = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}
    got = conv.convolve(placed(device, x), placed(device, weight), None, **geometry, kernel=on(SMALL)).get()
    assert np.isfinite(got[:, :, :-1]).all() and not np.isfinite(got[:, :, -1]).any()


@pytest.mark.parametrize("direction", PASSES)
@pytest.mark.parametrize("parts", [2, 3, 5])
def test_parts_of_k(parts, direction, rng):
    """Parts of unequal length that begin at any tap or pixel, added in order, the epilogue behind them."""
    for case in (Conv(9, 136, 7, 6, 72, padding=ONE), Conv(9, 72, 7, 6, 136, padding=ONE)):
        check(rng, case, direction, "bfloat16", kernel=on(SMALL, parts), activation="relu")


@pytest.mark.parametrize("memory", ["channels_last", "odd", "strided"])
@pytest.mark.parametrize("direction", PASSES)
def test_memory(direction, memory, rng):
    check(rng, Conv(2, 40, 9, 7, 64, padding=ONE), direction, "bfloat16", kernel=on(SMALL), memory=memory)


def passes(rng, tile, channels=72, multiprocessors=2, stride=(1, 1)):
    """Two tiles and a ragged edge both ways, taps enough for the ring to go round."""
    shape, geometry = BY_NAME[tile], {"kernel": (3, 2), "padding": ((1, 1), (1, 0)), "stride": stride}
    pixels, outputs = 2 * shape.tile_m + 24, 2 * shape.tile_n + 40
    images, wide = pixels // 12 * stride[0] * stride[1], 64 * stride[0]
    with emulator.settings(arch=90, multiprocessors=multiprocessors):
        check(rng, Conv(images, channels, 4, 3, outputs, **geometry), "forward", "bfloat16", kernel=on(tile))
        check(rng, Conv(images, outputs, 4, 3, channels, **geometry), "input_grad", "bfloat16", kernel=on(tile))
        weights = Conv(wide, -(-outputs // 48) * 8, 4, 3, 2 * shape.tile_m + 40, **geometry)
        check(rng, weights, "weight_grad", "bfloat16", kernel=on(tile))


@pytest.mark.parametrize("tile", [LARGE, TURNS, PAIR])
def test_tiles(tile, rng):
    passes(rng, tile)


@pytest.mark.slow
@pytest.mark.parametrize("tile", BY_NAME)
def test_every_tile(tile, rng):
    passes(rng, tile, multiprocessors=3)
    passes(rng, tile, 64, stride=(2, 2))


@pytest.mark.slow
@pytest.mark.parametrize("tile", [LARGE, TURNS, PAIR])
@pytest.mark.parametrize("channels", [8, 16, 32])
def test_few_channels_in_every_kind_of_tile(tile, channels, rng):
    passes(rng, tile, channels)
    check(rng, Conv(24, channels, 6, 5, 200, padding=ONE), "weight_grad", "bfloat16", kernel=on(tile))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("direction", PASSES)
@pytest.mark.parametrize("seed", range(20))
def test_random_geometry(seed, direction, dtype):
    rng = np.random.default_rng([seed, PASSES.index(direction), len(dtype)])
    pair = lambda low, high: tuple(map(int, rng.integers(low, high, 2)))
    while True:
        case = Conv(
            int(rng.integers(1, 5)), 8 * int(rng.integers(1, 18)), *pair(3, 20), 8 * int(rng.integers(1, 18)),
            pair(1, 6), pair(1, 4), (pair(0, 5), pair(0, 5)), pair(1, 4),
        )  # fmt: skip
        if min(case.out) > 0:
            break
    check(rng, case, direction, dtype, kernel=on(SMALL))
