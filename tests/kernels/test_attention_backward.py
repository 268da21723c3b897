"""The backward passes of attention in their shipped tiles, on the emulated device, against float64."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import policy
from kernels.attention_checks import DTYPES, MASKS, Problem, in_turn, in_words, label
from kernels.checked import FEW_ORDERS, ORDERS, same_bits
from weft.backends import emulator
from weft.backends import reference as K
from weft.backends.gpu import attention_backward, attention_choice, attention_configurations
from weft.backends.gpu.array import from_host

pytestmark = policy.needs("emulator")


@pytest.fixture(autouse=True)
def device():
    with emulator.settings(arch=80):
        yield


#: Small tiles of each family; shapes are two of them and a ragged edge.
TILES = {"float32": {"queries": "32x32w2", "keys": "32x32w2"}, "float16": {"queries": "32x32w2", "keys": "32x64w4"},
         "bfloat16": {"queries": "32x32w2", "keys": "32x64w4"}}  # fmt: skip
#: B, H, Hkv, S, T, D, Dv
#: float16 differs from bfloat16 in no line of the kernels.
SOME = ["float32", "bfloat16", pytest.param("float16", marks=pytest.mark.slow)]
SHAPES = [
    (1, 1, 1, 1, 1, 32, 32), (1, 2, 1, 67, 71, 32, 32), (2, 4, 2, 35, 131, 24, 32), (1, 3, 1, 101, 13, 32, 16),
    (2, 2, 2, 64, 64, 32, 8), (1, 1, 1, 33, 66, 17, 5),
]  # fmt: skip


@pytest.mark.parametrize("causal", [None, 0, 7, -9], ids=lambda c: f"causal{c}")
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "x".join(map(str, s)))
@pytest.mark.parametrize("dtype", SOME)
def test_shapes(dtype, shape, causal, rng):
    Problem(rng, dtype, *shape, causal=causal).check_backward(**TILES[dtype])


def test_unordered_gives_way_where_no_tile_has_the_registers(rng):
    with emulator.settings(arch=75):
        one = Problem(rng, "float32", 1, 1, 1, 33, 40, 250, 20)
        problem = attention_configurations.problem("float32", 256, 75, head_v=32)
        assert attention_choice.choose_keys(problem, False) and not attention_choice.choose_keys(problem, True)
        one.check_backward(unordered=True)


@pytest.mark.parametrize("shape", SHAPES[1:4], ids=lambda s: "x".join(map(str, s)))
@pytest.mark.parametrize("dtype", SOME)
def test_unordered(dtype, shape, rng):
    for causal in (None, 3):
        Problem(rng, dtype, *shape, causal=causal).check_backward(unordered=True, **TILES[dtype])


@pytest.mark.parametrize(
    "case",
    policy.mostly_slow(itertools.product(DTYPES, MASKS[1:], (0.0, 0.3)), lambda c: c[0] != "float16" and in_turn(c)),
    ids=in_words,
)
def test_masks(case, rng):
    dtype, mask, dropout = case
    shape, causal = ((1, 2, 2, 35, 41, 32, 32), 3) if dropout else ((2, 2, 1, 37, 72, 32, 32), None)
    Problem(rng, dtype, *shape, mask=mask, causal=causal, dropout=dropout).check_backward(**TILES[dtype])


@pytest.mark.parametrize("keys", [64, 65, 66, 67])
@pytest.mark.parametrize("dtype", SOME)
def test_dropout_is_that_of_the_forward_pass(dtype, keys, rng):
    Problem(rng, dtype, 2, 2, 1, 37, keys, 32, 32, causal=2, dropout=0.4).check_backward(**TILES[dtype])
    Problem(rng, dtype, 1, 2, 1, 5, keys, 32, 32, dropout=1.0).check_backward(**TILES[dtype])


@pytest.mark.parametrize("order", [(0, 2, 1, 3), (1, 2, 0, 3)], ids=str)
@pytest.mark.parametrize("margin", [0, 3])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_views(dtype, margin, order, rng):
    Problem(rng, dtype, 2, 3, 3, 17, 19, 32, 32, order=order, margin=margin).check_backward(**TILES[dtype])


@pytest.mark.parametrize("scale", [0.0, -0.4, 0.5])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_scales(dtype, scale, rng):
    for mask in ("", "added"):
        Problem(rng, dtype, 1, 2, 1, 33, 35, 32, 32, mask=mask, scale=scale).check_backward(**TILES[dtype])


def test_gradients_of_one_projection_are_parts_of_one_array(rng):
    x = from_host(rng.standard_normal((2, 5, 3, 2, 8)).astype(np.float32))
    parts = x.transpose((2, 0, 3, 1, 4))
    gq, gk, gv = attention_backward.empty_like_parts(parts[0], parts[1], parts[2])
    assert gk.pointer - gq.pointer == gv.pointer - gk.pointer == 2 * 8 * 4 and gq.strides == parts[0].strides


def test_nothing_to_see_has_no_gradient(rng):
    for S, T in ((0, 3), (3, 0)):
        q, k = (from_host(rng.standard_normal((1, 2, n, 8)).astype(np.float32)) for n in (S, T))
        params = {"scale": 1.0, "causal": False, "dropout": 0.0, "seed": 0, "offset": 0}
        out, lse = K.attention(q, k, k, None, **params)
        for gradient in K.attention_backward(out, q, k, k, None, out, lse, **params):
            assert not gradient.get().any()


def every_tile():
    for arch, dtype in ((75, "float16"), (80, "bfloat16"), (90, "bfloat16"), (80, "float32")):
        for head in attention_choice.HEADS:
            one = attention_configurations.problem(dtype, head, arch)
            for tile in attention_choice.queries_tiles(one):
                yield arch, dtype, head, "queries", tile
            passes = [list(attention_choice.keys_tiles(one, g)) for g, _ in attention_choice.choose_keys(one, False)]
            for tile in dict.fromkeys(itertools.chain(*passes)):
                yield arch, dtype, head, "keys", tile


EVERY = list(every_tile())


def run_tile(arch, dtype, head, side, tile, rng):
    name = tile.name
    if side == "queries":
        m, n = tile.m + 3, 2 * tile.n + 5
    else:
        m, n = 2 * tile.m + 3, tile.n + 5
        one = attention_configurations.problem(dtype, head, arch)
        passes = attention_choice.choose_keys(one, False)
        # of two passes perhaps one has room for this tile
        name = tuple(name if tile in attention_choice.keys_tiles(one, g) else None for g, _ in passes)
    with emulator.settings(arch=arch):
        Problem(rng, dtype, 1, 2, 1, m, n, head - 8, head, causal=n // 2).check_backward(**{side: name})


@pytest.mark.parametrize("arch,dtype,head,side,tile", EVERY[5::59], ids=label)
def test_some_tiles(arch, dtype, head, side, tile, rng):
    run_tile(arch, dtype, head, side, tile, rng)


@pytest.mark.slow
@pytest.mark.parametrize("arch,dtype,head,side,tile", EVERY, ids=label)
def test_every_tile(arch, dtype, head, side, tile, rng):
    run_tile(arch, dtype, head, side, tile, rng)


CHECKED = [
    (80, "bfloat16", {"mask": "bool", "dropout": 0.2}), (75, "float16", {"causal": 3}),
    (80, "float32", {"dropout": 0.5}), (80, "bfloat16", {"unordered": True}),
]  # fmt: skip


@pytest.mark.parametrize("arch,dtype,options", CHECKED, ids=str)
def test_checked_in_every_order(arch, dtype, options):
    options = dict(options)
    unordered = options.pop("unordered", False)

    def run():
        problem = Problem(np.random.default_rng(7), dtype, 1, 2, 1, 67, 131, 32, 32, **options)
        grads = problem.check_backward(unordered, **TILES[dtype])
        return [] if unordered else grads

    same_bits(run, ORDERS if arch == 75 else FEW_ORDERS, arch=arch)
