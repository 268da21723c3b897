"""gemm_sm90 on the emulated device, in its shipped tiles: values, batches, epilogues, layouts, parts of K."""

from __future__ import annotations

import dataclasses
import itertools
import sys

import numpy as np
import pytest

import policy
import stub_driver
import weft
from kernels.gemm_checks import check
from stub_driver import FakeArray
from weft.backends import emulator, tensor_maps
from weft.backends.gpu import gemm_choice, gemm_sm90
from weft.backends.gpu.gemm_configurations import product
from weft.backends.gpu.gemm_product import Matrix

TILES = {tile.name: tile for tile in gemm_sm90.TILES}
LARGE, TURNS, SMALL = "128x256x64s3c2x1", "128x128x64s5p", "64x64x64s8"


@pytest.fixture(autouse=True)
def hopper():
    """An emulated Hopper GPU of two or three multiprocessors, so that blocks have several tiles."""
    weft.set_float32_matmul_precision("high")
    with emulator.settings(arch=90, multiprocessors=2):
        yield
    weft.set_float32_matmul_precision("highest")


def on(tile):
    return f"gemm_sm90/{tile}/1"


#: float16 differs from bfloat16 in no line of the kernel but the instruction's name.
LAYOUTS = policy.mostly_slow(
    itertools.product(("bfloat16", "float16", "float32"), ("NN", "NT", "TN", "TT")),
    lambda case: case[0] != "float16" or case[1] == "NT",
)


@pytest.mark.parametrize("case", LAYOUTS, ids="-".join)
def test_layouts(rng, case):
    dtype, layout = case
    check(rng, 296, 528, 200, dtype, layout, kernel=on(LARGE), tf32="even" if dtype == "float32" else False)


@pytest.mark.parametrize("tile", TILES)
def test_tiles(rng, tile):
    """Two tiles and a ragged edge both ways, and enough of K for the ring to go round."""
    shape = TILES[tile]
    m, n, k = 2 * shape.tile_m + 24, 2 * shape.tile_n + 40, (shape.stages + 2) * 64 + 8
    layout = ["NN", "NT", "TN", "TT"][list(TILES).index(tile) % 4]
    check(rng, m, n, k, "bfloat16", layout, kernel=on(tile))


@pytest.mark.parametrize("tile", [LARGE, TURNS, SMALL])
@pytest.mark.parametrize(
    "m, n, k", [(1, 1, 8), (1, 264, 72), (65, 8, 8), (127, 257, 64), (129, 129, 65), (130, 264, 640)]
)
def test_odd_shapes(rng, tile, m, n, k):
    """Rows that TMA cannot take are copied, or written by elements."""
    check(rng, m, n, k, "bfloat16", "NT", kernel=on(tile))


@pytest.mark.parametrize("multiprocessors", [1, 3, 64])
def test_blocks_for_any_device(rng, multiprocessors):
    """One block or cluster for all tiles, an odd count of multiprocessors, and fewer tiles than blocks could be."""
    with emulator.settings(arch=90, multiprocessors=multiprocessors):
        check(rng, 400, 600, 136, "float16", "NT", kernel=on(LARGE))
        check(rng, 400, 300, 136, "float16", "NT", kernel=on(TURNS))


EPILOGUES = {
    "column": {"bias": "column", "activation": "relu"},
    "row": {"bias": "row", "activation": "silu", "alpha": 0.5},
    "aux": {"bias": "column", "activation": "gelu", "aux": True},
    "aux f32": {"activation": "gelu_tanh", "aux": True, "out_dtype": "float32"},
    "residual": {"bias": "column", "residual": True},
    "residual f32": {"residual": True, "out_dtype": "float32", "activation": "relu"},
    "beta": {"beta": 0.5, "alpha": 2.0, "activation": "relu"},
    "accumulate": {"beta": 1.0, "out_dtype": "float32"},
    "accumulate with bias": {"beta": 1.0, "alpha": -1.0, "bias": "row", "out_dtype": "float32"},
    "elements": {"out_margin": 3, "bias": "column", "activation": "silu"},
    "elements f32": {"out_margin": 3, "out_dtype": "float32"},
}


def alternating(case):
    """Each in clusters or in turns, and every third by one warpgroup too."""
    tile, epilogue = case
    i = list(EPILOGUES).index(epilogue)
    return i % 3 == 2 if tile == SMALL else i % 2 == (tile == TURNS)


@pytest.mark.parametrize(
    "case", policy.mostly_slow(itertools.product([LARGE, TURNS, SMALL], EPILOGUES), alternating), ids="-".join
)
def test_epilogues(rng, case):
    tile, epilogue = case
    options = {"out_margin": 8, **EPILOGUES[epilogue]}
    check(rng, 200, 328, 136, "bfloat16", "NN", kernel=on(tile), **options)


@pytest.mark.parametrize("epilogue", ["column", "residual", "accumulate"])
def test_epilogues_of_tf32(rng, epilogue):
    options = EPILOGUES[epilogue]
    check(rng, 200, 328, 136, "float32", "NT", kernel=on(LARGE), tf32="even", out_margin=4, **options)


@pytest.mark.parametrize("tile", [LARGE, TURNS])
@pytest.mark.parametrize(
    "batch, b_batch", [((3,), (3,)), ((2, 3), (2, 3)), ((3,), (1,)), ((2, 3), (1, 3)), ((2, 3), (2, 1)), ((1,), (3,))]
)
def test_batches(rng, tile, batch, b_batch):
    options = {"bias": "column", "residual": True} if batch == b_batch else {"out_dtype": "float32"}
    check(rng, 72, 136, 72, "bfloat16", "TN", batch=batch, b_batch=b_batch, kernel=on(tile), **options)


@pytest.mark.parametrize("tile, parts", [(SMALL, 4), (LARGE, 3), (TURNS, 5)])
def test_parts_of_k(rng, tile, parts):
    """Parts of unequal length, added in order, the epilogue in the second pass."""
    kernel = f"gemm_sm90/{tile}/{parts}"
    check(rng, 200, 328, 64 * 13 + 24, "bfloat16", "NT", kernel=kernel, bias="column", activation="gelu")
    check(rng, 65, 67, 64 * 5 + 8, "bfloat16", "NT", batch=(2,), kernel=kernel)


def test_more_parts_than_k_has():
    with pytest.raises(ValueError, match="at most 2 parts of K, got 3"):
        check(np.random.default_rng(0), 64, 64, 128, "bfloat16", "NT", kernel=f"gemm_sm90/{SMALL}/3")


@pytest.mark.parametrize("layout", ["NN", "NT", "TN", "TT"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_copied_factors(rng, dtype, layout):
    """Pointers and rows at odd places: TMA loads copies."""
    check(rng, 70, 75, 77, dtype, layout, batch=(2,), b_batch=(1,), margin=1, offset=3, kernel=on(SMALL),
          tf32="even" if dtype == "float32" else False)  # fmt: skip


@policy.needs("nvrtc")
def test_launch_on_a_gpu(monkeypatch):
    """What the driver is asked for: a cluster on every pair of multiprocessors, and the boxes of each matrix."""
    monkeypatch.delitem(sys.modules, "cupy", raising=False)  # a test before imported it: the stub lacks its streams
    rows = {"stride": 512, "inner": 0, "outer": 0}
    one = product("bfloat16", "NT", 90, m=4096, n=4096, k=512, a=Matrix(**rows), b=Matrix(True, **rows))
    one = dataclasses.replace(one, out=Matrix(stride=4096))
    with stub_driver.driven(native=False) as stub:
        tensor_maps.MAPS.clear()
        run = gemm_sm90.SM90.prepare(one, TILES[LARGE], 1)
        a, b, out = (FakeArray(i << 30, "bfloat16") for i in (1, 2, 3))
        run(a, b, out, None, None, None)
        (launch,) = stub.launches()
        maps = [(m["address"] >> 30, m["shape"], m["strides"], m["box"]) for m in stub.calls("cuTensorMapEncodeTiled")]
        tensor_maps.MAPS.clear()
    assert launch["grid"] == [132, 1, 1] and launch["block"] == [384, 1, 1]
    assert launch["attributes"] == {"4": [2, 1, 1]}
    assert launch["shared"] == gemm_sm90.SM90.shared_bytes(one, TILES[LARGE]) == 213_104
    assert maps == [
        (1, [512, 4096], [1024], [64, 128]), (2, [512, 4096], [1024], [64, 128]), (3, [4096, 4096], [8192], [64, 64])
    ]  # fmt: skip


def test_refusals():
    """What TMA and wgmma cannot do goes to the other kernels, and is said."""
    plain = product("bfloat16", "NN", 90)
    wanted = {
        "sm_80": dataclasses.replace(plain, capability=80),
        "sm_100": dataclasses.replace(plain, capability=100),
        "set_float32_matmul_precision": product("float32", "NT", 90, tf32=False),
        "float64 on tensor cores": product("float64", "NN", 90),
        "nothing to load": dataclasses.replace(plain, k=0),
        "more than one of beta, aux and residual": product("bfloat16", "NN", 90, aux=Matrix(), residual=Matrix()),
        "start at multiples of 16 bytes": product("bfloat16", "NN", 90, residual=Matrix(pitched=False)),
        "the batch shares": product("bfloat16", "NN", 90, outer=4, residual=Matrix()),
    }
    for words, one in wanted.items():
        assert words in gemm_sm90.SM90.refusal(one, TILES[LARGE])
    assert not gemm_sm90.SM90.refusal(plain, TILES[LARGE])


def test_large_products_choose_this_kernel():
    for layout in ("NN", "NT", "TN", "TT"):
        for size in (4096, 8192):
            chosen = gemm_choice.describe(product("bfloat16", layout, 90, m=size, n=size, k=size))
            assert chosen.startswith("gemm_sm90/") and TILES[chosen.split("/")[1]].cluster == 2
    assert gemm_choice.describe(product("bfloat16", "NT", 80)).startswith("gemm_mma/")
    short = gemm_choice.describe(product("bfloat16", "NT", 90, k=64, activation="gelu"))
    assert TILES[short.split("/")[1]].pingpong, "an epilogue that outlasts the products is hidden behind them"
