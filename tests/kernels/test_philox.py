"""philox.cu: the same bits as the CPU's, for every dtype, length and place in a stream."""

from __future__ import annotations

import numpy as np
import pytest

import policy
from kernels.array_checks import draw, dtype, on, runs  # noqa: F401
from kernels.checked import same_under_every_schedule
from weft.backends import reference as K
from weft.backends.device import check_device
from weft.backends.gpu.array import empty

pytestmark = pytest.mark.gpu

STREAMS = [(0, 0), (7, 4), (2**64 - 1, 2**34 + 8), (2**33 + 5, 2**63)]
SHAPES = [(1,), (2,), (3,), (4,), (1031,), (5, 3), (0,), ()]


def bits(x):
    return np.ascontiguousarray(x).view(np.uint8)


@pytest.mark.parametrize(
    ("primitive", "char"),
    [(K.random_bits, "I"), *[(p, c) for p in (K.random_uniform, K.random_normal) for c in "fdeE"]],
    ids=lambda v: v if type(v) is str else v.__name__,
)
def test_numbers_are_the_cpus(primitive, char, device):
    kind = dtype(char)
    for shape in SHAPES:
        for seed, offset in STREAMS:
            out = empty(shape, kind, check_device(device))
            assert primitive(out, seed=seed, offset=offset) is out
            expected = primitive.reference(np.empty(shape, kind), seed=seed, offset=offset)
            np.testing.assert_array_equal(bits(out.get()), bits(expected))


def test_many_normals(device):
    """As many as show a fused multiply-add or another logarithm; also from the CPU's own kernel."""
    out = K.random_normal(empty((200_000,), "d", check_device(device)), seed=11, offset=0).get()
    np.testing.assert_array_equal(out, K.random_normal(np.empty(200_000), seed=11, offset=0))
    assert abs(out.mean()) < 0.01 and abs(out.std() - 1) < 0.01


@pytest.mark.sanitized
def test_views_are_filled_in_c_order(device):
    whole = on(device, np.zeros((6, 9), "f"))
    K.random_uniform(whole[1:5, 2:8:2], seed=3, offset=8)
    expected = np.zeros((6, 9), "f")
    expected[1:5, 2:8:2] = K.random_uniform.reference(np.empty((4, 3), "f"), seed=3, offset=8)
    np.testing.assert_array_equal(whole.get(), expected)
    odd = on(device, np.zeros(10, "f"))
    K.random_uniform(odd[1:], seed=3, offset=8)  # not at a multiple of 16 bytes
    np.testing.assert_array_equal(odd.get()[1:], K.random_uniform.reference(np.empty(9, "f"), seed=3, offset=8))


@pytest.mark.parametrize("char", ["f", "d", "e", "E"])
def test_dropout(char, device, rng):
    for shape, p in (((1031,), 0.3), ((5, 3), 0.999), ((7,), 1.0), ((0,), 0.5), ((), 0.5)):
        x = draw(rng, shape, dtype(char))
        got = K.dropout(on(device, x), p=p, seed=9, offset=12).get()
        expected = K.dropout.reference(x, p=p, seed=9, offset=12)
        assert got.dtype == x.dtype
        np.testing.assert_array_equal(got.astype("d"), np.asarray(expected).astype("d"))
    x = draw(rng, (6, 8), dtype(char))
    got = K.dropout(on(device, x).transpose(1, 0), p=0.4, seed=9, offset=12).get()
    np.testing.assert_array_equal(got.astype("d"), K.dropout.reference(x.T, p=0.4, seed=9, offset=12).astype("d"))


@policy.needs("emulator")
def test_checked_under_every_schedule(rng):
    x = draw(rng, (1501,), "f")

    def run():
        outs = [p(empty((1501,), c, "emulated"), seed=4, offset=8) for p, c in (
            (K.random_bits, "I"), (K.random_uniform, "f"), (K.random_uniform, "d"), (K.random_normal, "f"),
        )]  # fmt: skip
        return [out.get() for out in (*outs, K.dropout(on("emulated", x), p=0.5, seed=4, offset=8))]

    same_under_every_schedule(run)
