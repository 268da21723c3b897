"""conv_sm90 on the emulated device, in its shipped tiles: both passes over odd shapes, strides, paddings, dilations."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.conv_sm90_checks import LARGE, PAIR, TILES, TURNS, check
from weft.backends import emulator


@pytest.fixture(autouse=True)
def hopper():
    """An emulated Hopper GPU of two multiprocessors, so that blocks have several tiles."""
    with emulator.settings(arch=90, multiprocessors=2):
        yield


@pytest.fixture
def rng(request):
    return np.random.default_rng(len(request.node.name))


NONE, ONE, ASYMMETRIC = ((0, 0), (0, 0)), ((1, 1), (1, 1)), ((2, 0), (0, 3))
#: x, outputs, taps, and what is not the default. Few channels go in pieces of 8, 16 or 32.
SHAPES = {
    "1x1": ((3, 64, 5, 7), 72, (1, 1), {}),
    "3x3": ((2, 64, 9, 7), 64, (3, 3), {"padding": ONE}),
    "3x3 unpadded": ((2, 72, 9, 7), 40, (3, 3), {}),
    "5x2": ((2, 64, 8, 6), 24, (5, 2), {"padding": ASYMMETRIC}),
    "one pixel out": ((5, 64, 3, 3), 8, (3, 3), {}),
    "one image, one row": ((1, 64, 1, 70), 16, (1, 3), {"padding": ((0, 0), (1, 1))}),
    "one column": ((2, 64, 67, 1), 16, (3, 1), {"padding": ((1, 1), (0, 0))}),
    "stride": ((2, 64, 9, 11), 40, (3, 3), {"stride": (2, 2), "padding": ONE}),
    "strides": ((2, 64, 11, 13), 40, (3, 2), {"stride": (2, 3), "padding": ASYMMETRIC}),
    "1x1 stride": ((2, 64, 8, 9), 40, (1, 1), {"stride": (2, 2)}),
    "stride beyond the taps": ((2, 64, 11, 9), 40, (2, 2), {"stride": (4, 3)}),
    "rows behind the last window": ((2, 64, 12, 10), 40, (3, 3), {"stride": (3, 2)}),
    "dilation": ((2, 64, 9, 11), 40, (3, 3), {"dilation": (2, 3), "padding": ((2, 2), (3, 3))}),
    "dilation and stride": ((2, 64, 13, 11), 40, (3, 3), {"dilation": (2, 3), "stride": (2, 2), "padding": ONE}),
    "padding beyond the taps": ((2, 64, 4, 5), 40, (2, 2), {"padding": ((3, 3), (3, 3))}),
    "8 channels": ((2, 8, 10, 9), 72, (3, 3), {"padding": ONE}),
    "8 channels, 7x7, stride": ((1, 8, 19, 21), 64, (7, 7), {"stride": (2, 2), "padding": ((3, 3), (3, 3))}),
    "16 channels": ((2, 16, 9, 7), 40, (3, 3), {"padding": ONE}),
    "32 channels": ((2, 32, 9, 7), 40, (3, 2), {"padding": ONE}),
    "24 channels": ((2, 24, 9, 7), 40, (3, 3), {"stride": (1, 2), "padding": ONE}),
    "136 channels": ((1, 136, 9, 7), 136, (2, 2), {"padding": ONE}),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_forward(rng, shape):
    x, outputs, taps, options = SHAPES[shape]
    check(rng, x, outputs, taps, **options)


@pytest.mark.parametrize("shape", SHAPES)
def test_input_grad(rng, shape):
    """With the channels turned about, so that the image that is read has as many as the case says."""
    (n, channels, *size), outputs, taps, options = SHAPES[shape]
    check(rng, (n, outputs, *size), channels, taps, grad=True, **options)


@pytest.mark.parametrize("outputs", [1, 3, 63, 65, 130])
def test_outputs_that_rows_of_out_do_not_align(rng, outputs):
    check(rng, (2, 64, 7, 6), outputs, (3, 3), padding=ONE)
    check(rng, (2, 64, 7, 6), outputs, (3, 3), padding=ONE, bias="bfloat16", activation="relu")


@pytest.mark.parametrize("dtype, bias, activation", [
    ("bfloat16", "float32", "none"), ("bfloat16", "bfloat16", "relu"), ("float16", "float16", "relu"),
    ("float16", "", "relu"),
])  # fmt: skip
def test_epilogues(rng, dtype, bias, activation):
    check(rng, (2, 64, 9, 7), 136, (3, 3), padding=ONE, dtype=dtype, bias=bias, activation=activation)


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("stride", [(1, 1), (2, 1)])
def test_views_of_larger_images(rng, grad, stride):
    """Pixels, rows and images with NaN between them."""
    check(rng, (2, 64, 9, 7), 64, (3, 3), stride=stride, padding=ONE, grad=grad, margin=2)


@pytest.mark.parametrize("channels", [8, 16, 24, 64])
def test_infinite_values_reach_what_meets_them(rng, channels):
    """Stages have room for taps and channels that do not exist, and 0 times infinity is NaN."""
    check(rng, (2, channels, 8, 6), 40, (3, 3), infinite=True)


@pytest.mark.parametrize("parts", [2, 3, 5])
@pytest.mark.parametrize("grad", [False, True])
def test_parts_of_k(rng, parts, grad):
    """Parts of unequal length that begin at any tap, added in order, the epilogue behind them."""
    options = {} if grad else {"bias": "float32", "activation": "relu"}
    check(rng, (2, 136, 7, 6), 72, (3, 3), padding=ONE, parts=parts, grad=grad, **options)
    check(rng, (2, 72, 7, 6), 136, (3, 3), padding=ONE, parts=parts, grad=grad, **options)


def both_passes(rng, tile, multiprocessors=2):
    """Two tiles and a ragged edge both ways, taps enough for the ring to go round."""
    shape = TILES[tile]
    pixels, outputs = 2 * shape.tile_m + 24, 2 * shape.tile_n + 40
    with emulator.settings(arch=90, multiprocessors=multiprocessors):
        check(rng, (pixels // 12, 72, 4, 3), outputs, (3, 2), padding=((1, 1), (1, 0)), tile=tile)
        check(rng, (pixels // 12, outputs, 4, 3), 72, (3, 2), padding=((1, 1), (1, 0)), tile=tile, grad=True)


@pytest.mark.parametrize("tile", [LARGE, TURNS, PAIR])
def test_tiles(rng, tile):
    both_passes(rng, tile)
    both_passes(rng, tile, multiprocessors=3)


@pytest.mark.slow
@pytest.mark.parametrize("tile", [tile for tile in TILES if tile not in (LARGE, TURNS, PAIR)])
def test_every_tile(rng, tile):
    both_passes(rng, tile)


@pytest.mark.slow
@pytest.mark.parametrize("tile", [LARGE, TURNS, PAIR])
@pytest.mark.parametrize("channels", [8, 16, 32])
def test_few_channels_in_every_kind_of_tile(rng, tile, channels):
    shape = TILES[tile]
    outputs = shape.tile_n + 40
    check(rng, (2, channels, 14, 12), outputs, (3, 3), padding=ONE, tile=tile)
    check(rng, (2, outputs, 14, 12), channels, (3, 3), padding=ONE, tile=tile, grad=True)
    check(rng, (2, outputs, 28, 24), channels, (3, 3), stride=(2, 2), padding=ONE, tile=tile, grad=True)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("seed", range(20))
def test_random_geometry(seed, grad, dtype):
    rng = np.random.default_rng(1000 * seed + 10 * grad + len(dtype))
    while True:
        taps = tuple(map(int, rng.integers(1, 6, 2)))
        stride, dilation = (tuple(map(int, rng.integers(1, 4, 2))) for _ in range(2))
        padding = tuple((int(a), int(b)) for a, b in rng.integers(0, 5, (2, 2)))
        size = rng.integers(3, 20, 2)
        if all(n + sum(p) > d * (k - 1) for n, p, d, k in zip(size, padding, dilation, taps)):
            break
    n, channels, outputs = int(rng.integers(1, 5)), 8 * int(rng.integers(1, 18)), 8 * int(rng.integers(1, 18))
    check(rng, (n, channels, *map(int, size)), outputs, taps, stride=stride, dilation=dilation, padding=padding,
          grad=grad, dtype=dtype)  # fmt: skip
