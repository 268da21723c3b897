"""Random numbers: the published generator, the same bits from every entry, and a state of two ints."""

import itertools
import os
import subprocess
import sys
import threading

import ml_dtypes
import numpy as np
import pytest

import weft
from policy import needs
from weft.backends import reference as K
from weft.backends.reference.random import philox4x32, words
from weft.random import Generator, fold

# (counter, key, output): the known answers of the authors' Random123 1.14, file kat_vectors, "philox4x32 10".
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def parse(text):
    return tuple(int(w, 16) for w in text.split())


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_known_answers(counter, key, answer):
    assert philox4x32(parse(counter), parse(key)) == parse(answer)
    arrays = tuple(np.array([w, 1], np.uint64) for w in parse(counter))
    assert tuple(int(w[0]) for w in philox4x32(arrays, parse(key))) == parse(answer)


def test_stream_is_made_of_blocks():
    seed = 0x0123456789ABCDEF
    want = [philox4x32((i, 0, 0, 0), (seed & 0xFFFFFFFF, seed >> 32)) for i in range(5)]
    assert words(18, seed, 0).tolist() == list(itertools.chain(*want))[:18]
    high = 2**34 + 8  # the counter's second word
    assert words(4, seed, high).tolist() == list(philox4x32((2, 1, 0, 0), (seed & 0xFFFFFFFF, seed >> 32)))
    assert Generator(seed).bits_array(18).tolist() == words(18, seed, 0).tolist()


# -- the same bits from every entry ------------------------------------------------------------------------------------

FILLS = [(name, dtype) for name in ("random_uniform", "random_normal") for dtype in "fd"] + [("random_bits", "I")]


@needs("native")
@pytest.mark.parametrize(("name", "dtype"), FILLS)
@pytest.mark.parametrize("n", [0, 1, 2, 3, 5, 31, 1023, 1025, 8192, 50001])
def test_native_equals_reference(name, dtype, n):
    primitive = getattr(K, name)
    params = {"seed": 2**63 + 12345 + n, "offset": 4 * (2**40 + n)}
    out, want = np.empty(n, dtype), np.empty(n, dtype)
    assert weft.which(name, out) == "cpu.random"
    primitive(out, **params)
    primitive.reference(want, **params)
    np.testing.assert_array_equal(out.view(np.uint8), want.view(np.uint8))


@needs("native")
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0 / 3, 1.0])
def test_native_dropout_equals_reference(p):
    x = np.random.default_rng(0).standard_normal((301, 57)).astype(np.float32)
    params = {"p": p, "seed": 99, "offset": 40}
    np.testing.assert_array_equal(K.dropout(x, **params), K.dropout.reference(x, **params))


SCRIPT = """
import zlib, numpy as np, weft
g = weft.random.Generator(42)
drawn = [g.normal_array(10007), g.normal_array(33, dtype="d"), g.uniform_array((50, 70), -2, 3),
         g.uniform_array(9, dtype="d"), g.integers_array(-5, 10**12, 77),
         g.permutation_array(301), g.bernoulli_array(0.3, 65)]
x = weft.dropout(weft.Tensor(np.ones((123, 45), "f")), p=0.4, generator=g).numpy()
print(*[zlib.crc32(np.ascontiguousarray(a).tobytes()) for a in (*drawn, x)], g.get_state())
"""


def elsewhere(**settings):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), **settings}
    return subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True
    ).stdout


@needs("native")
def test_same_numbers_on_every_instruction_set_and_thread_count():
    from weft import _cpu

    plain = elsewhere(WEFT_NATIVE="0")
    for isa in _cpu.supported_isas():
        for threads in ("1", "3"):
            assert elsewhere(WEFT_NATIVE="1", WEFT_ISA=isa, WEFT_NUM_THREADS=threads) == plain, (isa, threads)


# -- distributions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_moments(dtype):
    n, dtype = 200_000, np.dtype(getattr(ml_dtypes, dtype, dtype))
    g = Generator(1)
    u = g.uniform_array(n, dtype=dtype).astype(float)
    assert u.min() >= 0 and u.max() < 1
    step = {1: 2.0**-8, 2: 2.0**-11}.get(1 if dtype.name == "bfloat16" else dtype.itemsize, 0)
    assert abs(u.mean() - 0.5 + step / 2) < 5 * (1 / 12 / n) ** 0.5
    assert abs(u.var() * 12 - 1) < 0.02
    z = g.normal_array(n, dtype=dtype).astype(float)
    for power, moment, spread in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((z**power).mean() - moment) < 5 * (spread / n) ** 0.5 + (0.02 if dtype.itemsize == 2 else 0)


def test_normal_tail_and_quadrants():
    z = Generator(2).normal_array(2**20, dtype=np.float64)
    share = [(abs(z) > t).mean() for t in (1, 2, 3, 4)]
    np.testing.assert_allclose(share, [0.317311, 0.0455, 0.0027, 6.33e-5], rtol=0.15)
    pairs = z.reshape(-1, 2) > 0
    np.testing.assert_allclose(np.bincount(pairs @ [1, 2]) / len(pairs), 0.25, atol=0.003)
    assert abs(np.corrcoef(z[::2], z[1::2])[0, 1]) < 0.01


def test_float32_normals_are_the_float64_ones_rounded():
    a, b = Generator(3).normal_array(1001, dtype=np.float32), Generator(3).normal_array(1001, dtype=np.float64)
    np.testing.assert_array_equal(a, b.astype(np.float32))


def test_uniform_range():
    x = Generator(0).uniform_array(100_000, -3.0, 5.0)
    assert x.dtype == np.float32 and x.min() >= -3 and x.max() < 5 and abs(x.mean() - 1) < 0.03
    narrow = Generator(0).uniform_array(100_000, 1.0, np.nextafter(np.float32(1), np.float32(2)))
    assert set(narrow) == {np.float32(1)}
    assert (Generator(0).uniform_array(5, 2.0, 2.0) == 2).all()


def test_integers():
    x = Generator(0).integers_array(-3, 4, 70_000)
    counts = np.bincount(x + 3)
    assert len(counts) == 7 and ((counts - 10_000) ** 2 / 10_000).sum() < 25
    whole = Generator(0).integers_array(-(2**63), 2**63, 1000)
    assert whole.min() < -(2**62) and whole.max() > 2**62
    assert Generator(0).integers_array(0, 2**64, 10, dtype=np.uint64).max() > 2**62
    w = words(20, 0, 0).astype(object)
    want = [5 + ((int(a) << 32 | int(b)) * (10**15 - 5) >> 64) for a, b in w.reshape(-1, 2)]
    assert Generator(0).integers_array(5, 10**15, 10).tolist() == want


def test_permutation():
    p = Generator(0).permutation_array(1000)
    assert p.dtype == np.int64 and sorted(p.tolist()) == list(range(1000)) and (p != np.arange(1000)).any()
    firsts = np.bincount([Generator(s).permutation_array(5)[0] for s in range(2000)], minlength=5)
    assert ((firsts - 400) ** 2 / 400).sum() < 20
    assert Generator(0).permutation_array(0).shape == (0,)


def test_bernoulli():
    assert abs(Generator(0).bernoulli_array(0.3, 100_000).mean() - 0.3) < 0.01
    assert Generator(0).bernoulli_array(1.0, (3, 3)).all() and not Generator(0).bernoulli_array(0.0, 99).any()


# -- state -------------------------------------------------------------------------------------------------------------


def test_resume_by_state():
    g = Generator(77)
    g.normal_array(13)
    state = g.get_state()
    assert state == (77, 16)
    draws = g.uniform_array(7), g.permutation_array(9), g.take(5)
    other = Generator()
    other.set_state(list(state))  # as JSON gives it back
    for a, b in zip(draws, (other.uniform_array(7), other.permutation_array(9), other.take(5))):
        np.testing.assert_array_equal(a, b)
    assert g.get_state() == other.get_state()


def test_default_generator():
    weft.random.seed(5)
    a = weft.random.normal((2, 3))
    assert isinstance(a, weft.Tensor) and a.dtype == np.float32 and weft.random.get_state() == (5, 8)
    weft.random.set_state((5, 0))
    assert (weft.random.normal((2, 3)).numpy() == a.numpy()).all()
    assert (weft.random.normal((2, 3), generator=Generator(5)).numpy() == a.numpy()).all()
    assert weft.random.uniform((4,), device="cpu").shape == (4,)
    assert weft.random.integers(0, 3, (2, 2)).dtype == np.int64 and weft.random.permutation(3).shape == (3,)
    assert weft.random.bernoulli(0.5, (3,)).dtype == np.bool_


def test_threads_never_share_numbers():
    g, taken = Generator(0), []

    def draw():
        for _ in range(500):
            taken.append(g.take(6)[1])

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(taken) == list(range(0, 8 * 2000, 8))


def test_fold():
    seeds = {fold(0), *(fold(0, e, i) for e in range(20) for i in range(20)), fold(1, 0), fold(0, 0)}
    assert len(seeds) == 403 and all(0 <= s < 2**64 for s in seeds)
    assert fold(7, 3, 4) == fold(fold(7, 3), 4)
    blocks = {tuple(w) for w in words(4000, 0, 0).reshape(-1, 4).tolist()}
    assert not any((fold(0, n) & 0xFFFFFFFF, fold(0, n) >> 32) == b[:2] for n in range(50) for b in blocks)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Generator(-1), ValueError, "0 <= seed < 2\\*\\*64, got -1"),
        (lambda: Generator(2**64), ValueError, "seed"),
        (lambda: Generator(1.5), TypeError, "integer seed, got 1.5"),
        (lambda: Generator().set_state((0, 3)), ValueError, "multiple of 4, got 3"),
        (lambda: weft.random.uniform((2,), 1.0, 0.0), ValueError, "low <= high, got 1.0 and 0.0"),
        (lambda: weft.random.uniform((2,), dtype=np.int32), TypeError, "floating dtype, got int32"),
        (lambda: weft.random.normal((2,), std=-1.0), ValueError, "std >= 0, got -1.0"),
        (lambda: weft.random.normal((-2,)), ValueError, r"sizes >= 0, got \(-2,\)"),
        (lambda: weft.random.integers(3, 3), ValueError, "low < high, got 3 and 3"),
        (lambda: weft.random.integers(0, 300, (2,), dtype=np.uint8), ValueError, r"holds \[0, 300\), got uint8"),
        (lambda: weft.random.bernoulli(1.5), ValueError, "0 <= p <= 1, got 1.5"),
        (lambda: weft.random.normal((2,), device="tpu"), ValueError, "tpu"),
    ],
)
def test_refuses(call, error, message):
    with pytest.raises(error, match=message):
        call()
