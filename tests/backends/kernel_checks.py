"""Products, maps and sums of the extension against NumPy in float64: `python kernel_checks.py [digest]`.

A script of its own, because the instruction set and the number of threads are chosen once per process (WEFT_ISA,
WEFT_NUM_THREADS). With `digest` it only prints a checksum of results, for comparing thread counts bit by bit.
"""

import hashlib
import itertools
import math
import sys

import numpy as np

from weft import _cpu
from weft.backends import reference as K

np.seterr(all="ignore")
rng = np.random.default_rng(0)
SIZES = (0, 1, 2, 3, 5, 7, 13, 16, 17, 31, 32, 33, 64, 97, 131)
LARGE = (
    (1, 1000, 1000),
    (1000, 1, 1000),
    (3, 1000, 701),
    (700, 3, 515),
    (4, 257, 131),
    (127, 513, 1031),
    (1000, 10, 4000),
    (10, 10, 20000),
    (4500, 40, 70),
    (40, 4500, 70),
    (60, 50, 5000),
)


def normal(*shape):
    return rng.standard_normal(shape, dtype=np.float32)


def layouts(rows, columns):
    """One matrix shape in memory as it may come: rows, columns, every second, backwards, the same row again."""
    yield normal(rows, columns)
    yield normal(columns, rows).T
    yield normal(rows, 2 * columns)[:, ::2]
    yield normal(rows, columns)[::-1, ::-1]
    yield np.broadcast_to(normal(1, columns), (rows, columns))


def check_product(a, b):
    got, want = K.matmul(a, b), a.astype("d") @ b.astype("d")
    bound = np.abs(a).astype("d") @ np.abs(b).astype("d") * 2e-6
    assert got.shape == want.shape and got.dtype == np.float32, (a.shape, b.shape, got.shape)
    assert (np.abs(got - want) <= bound).all(), (a.shape, a.strides, b.shape, b.strides, np.abs(got - want).max())


def few_long(*sizes):
    """Some of the vectors, rows of one, and empty shapes."""
    return sizes.count(0) + sizes.count(1) > 1 and rng.random() < 0.4


def products():
    for m, n, k in [(256, 1024, 300), (130, 2048, 270), (2048, 70, 300)]:  # rows far apart, in place or packed
        check_product(normal(k, m).T, normal(k, n))
    for m, n, k in itertools.product(SIZES, SIZES, SIZES):
        if rng.random() < 0.04 or few_long(m, n, k):
            for a, b in itertools.product(layouts(m, k), layouts(k, n)):
                check_product(a, b)
    for m, n, k in LARGE:
        for a, b in itertools.product(list(layouts(m, k))[:2], list(layouts(k, n))[:2]):
            check_product(a, b)
    for a, b in (
        [((3, 4, 5), (5, 6)), ((3, 4, 5), (3, 5, 6)), ((2, 1, 4, 5), (3, 5, 6)), ((4, 5), (7, 5, 3)), ((5,), (5,))]
        + [((5,), (2, 5, 3)), ((2, 3, 5), (5,)), ((0, 3, 4), (4, 5)), ((2, 3, 0), (0, 5)), ((1, 1, 1), (1, 1, 1))]
        + [((64, 70, 30), (64, 30, 40)), ((3, 200, 300), (3, 300, 250)), ((6, 1, 40, 50), (1, 5, 50, 3))]
    ):
        check_product(normal(*a), normal(*b))
    x = normal(4, 6, 8)
    check_product(x.transpose(1, 0, 2), normal(8, 9))
    check_product(np.broadcast_to(x[:1], x.shape), x.swapaxes(1, 2))
    for spoil in (np.inf, np.nan):  # one bad number reaches its row and no other
        a, b = normal(3, 9), normal(9, 4100)
        a[1, 8] = spoil
        assert np.isfinite(K.matmul(a, b)[[0, 2]]).all() and not np.isfinite(K.matmul(a, b)[1]).any()


def linears():
    for rows, inputs, outputs in itertools.product((0, 1, 3, 33, 100), (0, 1, 5, 64, 300), (1, 3, 32, 77, 600)):
        x, w, b = normal(rows, inputs), normal(outputs, inputs), normal(2 * outputs)[::2]
        want = x.astype("d") @ w.T.astype("d")
        bound = np.abs(x).astype("d") @ np.abs(w).T.astype("d") * 2e-6 + 2e-6
        assert (np.abs(K.linear(x, w, None) - want) <= bound).all(), (rows, inputs, outputs)
        assert (np.abs(K.linear(x, w, b) - (want + b)) <= bound + 1e-6).all(), (rows, inputs, outputs)
    x = normal(7, 3, 5, 8)
    for view in (x, x.transpose(2, 0, 1, 3), x[:, ::2], x[..., 0, :]):
        got = K.linear(view, normal(9, 8), normal(9))
        assert got.shape == (*view.shape[:-1], 9)


MAPS = {  # function, largest error in units of the last place
    "negative": (np.negative, 0),
    "abs": (np.abs, 0),
    "square": (np.square, 0.5),
    "sqrt": (np.sqrt, 0.5),
    "exp": (np.exp, 1.5),
    "log": (np.log, 1.5),
    "tanh": (np.tanh, 2),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), 3),
    "relu": (lambda x: np.maximum(x, 0), 0),
    "erf": (np.vectorize(math.erf, otypes="d"), 7),
    "reciprocal": (np.reciprocal, 0.5),
}
EDGES = [0, -0.0, np.inf, -np.inf, np.nan, 1, -1, 88.72, 88.73, 1e-38, 1e-40, 3e38, -87.3, -87.4, -200, 200, 0.5]


def maps():
    x = np.concatenate([EDGES, 3 * normal(40001), np.linspace(-10, 10, 9999), np.exp(80 * normal(9999).clip(-1, 1))])
    x = x.astype("f")
    tiny = 1.2e-38  # results below the normal numbers may be 0
    for name, (function, most) in MAPS.items():
        got, want = _cpu.unary(_cpu.UNARY[name], x), function(x.astype("d"))
        rounded = want.astype("f")
        plain = np.isfinite(rounded) & (np.abs(rounded) > tiny)
        ulps = np.abs(got.astype("d") - want)[plain] / np.spacing(np.abs(rounded[plain]))
        assert ulps.max() <= most * 1.01, (name, ulps.max(), x[plain][ulps.argmax()])
        same = (got == rounded) | (np.isnan(got) & np.isnan(rounded)) | ((np.abs(want) <= tiny) & (np.abs(got) <= tiny))
        assert (plain | same).all(), (name, x[~(plain | same)], got[~(plain | same)])


def binaries():
    shapes = [((5,), (5,)), ((300, 200), (200,)), ((300, 200), (300, 1)), ((8, 16, 9, 9), (1, 16, 1, 1)), ((7, 99), ())]
    shapes += [((40, 3, 50, 50), (3, 1, 1)), ((7, 0), (1,)), ((4, 5, 6), (5, 6)), ((4, 5, 6), (4, 5, 1))]
    shapes += [((4, 5, 6), (4, 1, 1)), ((99999, 3), (3,)), ((2, 3), (2, 1)), ((64, 1024), (64, 1024)), ((), ())]
    for (name, code), (left, right) in itertools.product(_cpu.BINARY.items(), shapes):
        a, b = np.asarray(normal(*left)), np.asarray(normal(*right))
        if a.size > 9:
            a.flat[3] = np.nan
        for p, q in ((a, b), (b, a)):
            np.testing.assert_array_equal(_cpu.binary(code, p, q), getattr(np, name)(p, q), f"{name} {left} {right}")
    for (name, code), number in itertools.product(_cpu.BINARY.items(), (2.5, 3, 0, -1)):
        a = normal(50000)
        np.testing.assert_array_equal(_cpu.binary(code, a, number), getattr(np, name)(a, np.float32(number)))
        np.testing.assert_array_equal(_cpu.binary(code, number, a), getattr(np, name)(np.float32(number), a))
    assert _cpu.binary(0, normal(3, 1), normal(1, 4)) is None and _cpu.binary(0, normal(4).astype("d"), 1.0) is None
    a, b = normal(99999), normal(99999)
    want = a + b
    assert _cpu.accumulate(a, b) and (a == want).all() and not _cpu.accumulate(a, b[:9])


def sums():
    shapes = [(7,), (70000,), (1000, 33), (33, 1000), (50000, 10), (5, 3, 2000), (8, 512, 4, 4), (16, 64, 28, 28)]
    for shape in shapes + [(3, 1, 5), (0, 4), (4, 0), (2, 3, 4, 5), (99999, 1), (1, 99999), (), (20, 5000, 4)]:
        x = np.asarray(normal(*shape) + np.float32(1))
        for bits, keep in itertools.product(range(1 << x.ndim), (False, True)):
            axes = tuple(i for i in range(x.ndim) if bits >> i & 1)
            got, want = _cpu.sum(x, axes, keep), x.astype("d").sum(axis=axes, keepdims=keep)
            if got is None:  # kept and summed axes alternate more than the kernels cover
                assert x.ndim == 4
                continue
            bound = 3e-7 * np.abs(x).astype("d").sum(axis=axes, keepdims=keep)
            assert got.shape == want.shape and (np.abs(got - want) <= bound).all(), (shape, axes)


def digest():
    total = hashlib.sha256()
    for m, n, k in [(300, 200, 500), (1, 999, 777), (33, 1, 20000), (1025, 77, 300), (64, 784, 576)]:
        total.update(K.matmul(normal(m, k), normal(k, n)).tobytes())
    for m, n, k in [(256, 1024, 700), (100, 1000, 700), (600, 130, 700)]:  # where K is cut must not depend on threads
        total.update(K.matmul(normal(k, m).T, normal(k, n)).tobytes())
        total.update(K.matmul(normal(m, k), normal(n, k).T).tobytes())
    total.update(K.matmul(normal(24, 40, 50), normal(24, 50, 60)).tobytes())
    x = normal(40, 31, 17, 9) * 100
    for axes in (0, 3, None, (0, 2, 3), (0, 1, 2), 1):
        total.update(_cpu.sum(x, axes, False).tobytes())
    total.update(_cpu.sum(normal(90001, 3), 0, False).tobytes())
    total.update(_cpu.unary(_cpu.UNARY["tanh"], x).tobytes())
    return total.hexdigest()


if __name__ == "__main__":
    if sys.argv[1:] == ["digest"]:
        print(_cpu.isa(), _cpu.num_threads(), digest())
    else:
        for check in (products, linears, maps, binaries, sums):
            check()
        print(_cpu.isa(), _cpu.num_threads(), "right")
