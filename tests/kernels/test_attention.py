"""attention_mma.cu and attention_simt.cu in their shipped tiles, on the emulated device, against float64."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import policy
from kernels.attention_checks import DTYPES, MASKS, Problem, in_turn, in_words, label
from kernels.checked import same_bits
from weft.backends import emulator
from weft.backends.gpu import attention_choice, attention_configurations

pytestmark = policy.needs("emulator")


@pytest.fixture(autouse=True)
def device():
    with emulator.settings(arch=80):
        yield


#: A small tile of each family; shapes are two of them and a ragged edge.
TILES = {"float32": "32x32w2", "float16": "64x32w4", "bfloat16": "64x32w4"}
#: B, H, Hkv, S, T, D, Dv
SHAPES = [
    (1, 1, 1, 1, 1, 32, 32), (1, 2, 1, 67, 71, 32, 32), (2, 4, 2, 131, 37, 24, 32), (1, 3, 1, 13, 101, 32, 16),
    (2, 2, 2, 64, 64, 32, 8), (1, 2, 2, 5, 0, 32, 32), (1, 1, 1, 129, 66, 17, 5),
]  # fmt: skip
CAUSAL = [None, 0, 7, -9]


@pytest.mark.parametrize("causal", CAUSAL, ids=lambda c: f"causal{c}")
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "x".join(map(str, s)))
@pytest.mark.parametrize("dtype", DTYPES)
def test_shapes(dtype, shape, causal, rng):
    Problem(rng, dtype, *shape, causal=causal).check_forward(TILES[dtype])


@pytest.mark.parametrize(
    "case", policy.mostly_slow(itertools.product(DTYPES, MASKS[1:], (0.0, 0.3)), in_turn), ids=in_words
)
def test_masks(case, rng):
    dtype, mask, dropout = case
    shape, causal = ((1, 2, 2, 35, 41, 32, 32), 3) if dropout else ((2, 2, 1, 67, 72, 32, 32), None)
    Problem(rng, dtype, *shape, mask=mask, causal=causal, dropout=dropout).check_forward(TILES[dtype])


@pytest.mark.parametrize("keys", [64, 65, 66, 67])
@pytest.mark.parametrize("dtype", DTYPES)
def test_dropout_counts_the_elements_of_all_weights(dtype, keys, rng):
    for causal in (None, 2):
        Problem(rng, dtype, 2, 2, 1, 37, keys, 32, 32, causal=causal, dropout=0.4).check_forward(TILES[dtype])
    Problem(rng, dtype, 1, 2, 1, 5, keys, 32, 32, dropout=1.0).check_forward(TILES[dtype])


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 1, 3), (2, 0, 1, 3), (1, 2, 0, 3)], ids=str)
@pytest.mark.parametrize("margin", [0, 3, 8])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_views(dtype, margin, order, rng):
    Problem(rng, dtype, 2, 3, 3, 17, 19, 32, 32, order=order, margin=margin).check_forward(TILES[dtype])


@pytest.mark.parametrize("scale", [0.0, -0.4, 1.0])
@pytest.mark.parametrize("mask", ["", "added"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_scales(dtype, mask, scale, rng):
    Problem(rng, dtype, 1, 2, 1, 33, 35, 32, 32, mask=mask, scale=scale).check_forward(TILES[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_mask_of_the_least_float_hides_as_one_of_infinities(dtype, rng):
    problem = Problem(rng, dtype, 1, 1, 1, 9, 33, 32, 32, mask="added32")
    hidden = rng.random((9, 33)) < 0.5
    hidden[:, 0] = False
    hidden[3] = True  # all alike: the mean of the values
    problem.mask = np.where(hidden, np.finfo(np.float32).min, 0).astype(np.float32)
    out, _ = problem.forward(TILES[dtype])
    mean = problem.host[2].astype(np.float64).mean(axis=2)
    np.testing.assert_allclose(out.get()[:, :, 3].astype(np.float64), mean, atol=0.01)
    assert np.isfinite(out.get().astype(np.float32)).all()


def every_tile():
    for arch, dtype in ((75, "float16"), (80, "float16"), (80, "bfloat16"), (90, "bfloat16"), (80, "float32")):
        for head in attention_choice.HEADS:
            one = attention_configurations.problem(dtype, head, arch)
            for tile in attention_choice.forward_tiles(one):
                yield arch, dtype, head, tile


EVERY = list(every_tile())


def run_tile(arch, dtype, head, tile, rng, **options):
    with emulator.settings(arch=arch):
        shape = (1, 2, 1, tile.m + 3, 2 * tile.n + 5, head - 8, head)
        Problem(rng, dtype, *shape, causal=tile.n + 9, **options).check_forward(tile.name)


@pytest.mark.parametrize("arch,dtype,head,tile", EVERY[3::29], ids=label)
def test_some_tiles(arch, dtype, head, tile, rng):
    run_tile(arch, dtype, head, tile, rng)


@pytest.mark.slow
@pytest.mark.parametrize("arch,dtype,head,tile", EVERY, ids=label)
def test_every_tile(arch, dtype, head, tile, rng):
    run_tile(arch, dtype, head, tile, rng)
    with emulator.settings(arch=arch):
        one = attention_configurations.problem(dtype, head, arch, "float32", True)
        if tile in list(attention_choice.forward_tiles(one)):
            run_tile(arch, dtype, head, tile, rng, mask="added32", dropout=0.2)


CHECKED = [
    (80, "bfloat16", "64x32w4", {"mask": "bool", "dropout": 0.2}), (80, "float16", "16x64w1s2", {"causal": 3}),
    (75, "float16", "64x32w4", {"mask": "added32"}), (80, "float32", "32x32w2", {"dropout": 0.5}),
]  # fmt: skip


@pytest.mark.parametrize("arch,dtype,tile,options", CHECKED, ids=lambda x: str(x))
def test_checked_in_every_order(arch, dtype, tile, options):
    run = lambda: Problem(np.random.default_rng(7), dtype, 1, 2, 1, 67, 131, 32, 32, **options).check_forward(tile)
    same_bits(run, arch=arch)
