"""softmax.cu and softmax_columns.cu against their references in float64: lengths, axes, layouts, schedules, bugs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import policy
from kernels.array_checks import dtype, on, runs  # noqa: F401  (runs: a fixture)
from kernels.checked import same_under_every_schedule
from kernels.rows_checks import LAYOUTS, accurate, caught, lie
from weft.backends import reference as K
from weft.backends.gpu import rows

pytestmark = pytest.mark.gpu

NAMES = ("softmax", "log_softmax")
#: Type and length of rows: every team of threads, whole vectors and odd ends, rows kept in registers and read twice.
COMMON = [("f", 5), ("f", 64), ("f", 130), ("f", 1000), ("f", 33001), ("E", 24), ("E", 1000), ("E", 1001), ("e", 7),
          ("d", 6)]  # fmt: skip
REST = [("f", 32), ("f", 99), ("f", 4096), ("f", 5001), ("f", 20000), ("f", 40000), ("E", 31), ("E", 8192),
        ("E", 33003), ("e", 65), ("e", 3001), ("d", 128), ("d", 3000), ("d", 9001)]  # fmt: skip
LENGTHS = [*COMMON, *(pytest.param(*case, marks=pytest.mark.slow) for case in REST)]


def some(rng, shape, char, spread=3.0):
    return (spread * rng.standard_normal(shape)).astype(dtype(char))


def check(name, x, g, axis, device, place=on):
    """Value and gradient; x and g in NumPy. -> both, on the device"""
    y = getattr(K, name)(place(device, x), axis=axis)
    outer = float(axis % x.ndim < x.ndim - 1)  # where a thread adds more numbers in a row
    accurate(y, getattr(K, name).reference, [x], {"axis": axis}, terms=outer, kinds=[x.dtype])
    backward = getattr(K, f"{name}_backward")
    gx = backward(place(device, g), y, axis=axis)
    if name == "log_softmax":  # g - p * sum of g: that sum is rounded by what its parts reach, about their norm
        p = np.exp(y.get().astype("d"))
        terms = 4 * (p.max(axis) * np.linalg.norm(g.astype("d"), axis=axis)).max(initial=0)
    else:
        terms = 2 * np.abs(g.astype("d")).max() * y.get().astype("d").max()
    accurate(gx, backward.reference, [g, y.get()], {"axis": axis}, terms=terms, kinds=[x.dtype])
    return y, gx


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("char", "columns"), LENGTHS)
def test_lengths(name, char, columns, device, rng):
    for count in (1, 3, 70) if columns < 200 else (2,):
        check(name, some(rng, (count, columns), char), some(rng, (count, columns), char), 1, device)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("char", "shape", "axis"),
    [("f", (2, 5, 3), 1), ("f", (3, 20, 68), 1), ("f", (40, 7), 0), ("E", (2, 9, 2, 40), 1), ("E", (9, 5), 0),
     pytest.param("e", (3, 30, 8), -2, marks=pytest.mark.slow), pytest.param("d", (3, 9, 6), 1, marks=pytest.mark.slow),
     pytest.param("f", (2, 1000, 300), 1, marks=pytest.mark.slow)],
)  # fmt: skip
def test_other_axes(name, char, shape, axis, device, rng):
    check(name, some(rng, shape, char), some(rng, shape, char), axis, device)


@pytest.mark.sanitized
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(name, layout, device, rng):
    for axis in (0, 1):
        x, g = some(rng, (8, 5), "f"), some(rng, (8, 5), "f")
        y, gx = check(name, x, g, axis, device, lambda d, v: lie(v, d, layout))
        if layout == "transposed":  # results lie as what they were computed from
            assert y.strides == gx.strides == (4, 32)


def test_large_and_infinite_numbers(device):
    """What would overflow does not, -inf has probability 0, and rows without a number are NaN, as in NumPy."""
    inf, nan = np.inf, np.nan
    x = np.array([[1e4, 1e4, -1e4, 0], [-inf, 0, 0, -inf], [-inf] * 4, [nan, 0, 0, 0], [inf, 0, 0, 0]], "f")
    wide = np.concatenate([np.full((5, 200), -np.inf, "f"), x], 1)
    for values, axis in ((x, 1), (wide, 1), (x.T.copy(), 0)):
        for name in NAMES:
            with np.errstate(invalid="ignore", divide="ignore"):
                want = getattr(K, name).reference(values, axis=axis)
            np.testing.assert_allclose(getattr(K, name)(on(device, values), axis=axis).get(), want, rtol=1e-6)


def test_nothing_and_single_numbers(device):
    assert K.softmax(on(device, np.zeros((0, 3), "f")), axis=1).shape == (0, 3)
    assert K.softmax(on(device, np.zeros((3, 0), "f")), axis=1).shape == (3, 0)
    np.testing.assert_array_equal(K.softmax(on(device, np.full((3, 1), 7, "f")), axis=1).get(), np.ones((3, 1), "f"))
    np.testing.assert_array_equal(K.log_softmax(on(device, np.full(1, 7, "f")), axis=0).get(), np.zeros(1, "f"))


def test_every_length_has_a_team():
    """Registers hold what the table says, and nothing is kept beyond it."""
    lengths = (1, 2, 31, 32, 33, 500, 5000, 50_000, 10**6)
    for itemsize, operands, columns in itertools.product((2, 4, 8), (1, 2), lengths):
        team = rows.team(columns, itemsize, operands)
        reach = team.lanes * team.keep * team.vector
        assert not team.keep or columns + (0 if team.whole else team.vector - 1) <= reach
        assert team.keep * team.vector * operands * itemsize <= 128
        assert team.keep or columns > 1024 * rows.KEPT[itemsize] // operands - team.vector


CHECKED = [("f", (5, 7), 1), ("f", (2, 1001), 1), ("f", (2, 6, 3), 1),
           pytest.param("E", (2, 33001), 1, marks=pytest.mark.slow)]  # fmt: skip


@policy.needs("emulator")
@pytest.mark.parametrize(("char", "shape", "axis"), CHECKED)
def test_checked_under_every_schedule(char, shape, axis, rng):
    x, g = some(rng, shape, char), some(rng, shape, char)

    def run():
        X, G = on("emulated", x), on("emulated", g)
        y = K.softmax(X, axis=axis)
        return y, K.softmax_backward(G, y, axis=axis), K.log_softmax(X, axis=axis)

    same_under_every_schedule(run)


#: what is wrong -> file, text, its replacement, shape, axis, whether the checks are needed to see it
BUGS = {
    "scratch is read before it is written": (
        "rows.cuh", "scratch[threadIdx.x / 32] = x;\n    __syncthreads();", "scratch[threadIdx.x / 32] = x;",
        (2, 1500), 1, True),
    "the end of a row is taken from the next": (
        "rows.cuh", "at >= 0 && at + VECTOR <= columns)) return", "at >= 0 && at < columns)) return", (3, 7), 1, False),
    "the next row is written": (
        "rows.cuh", "at >= 0 && at + VECTOR <= columns)) {", "at >= 0 && at < columns)) {", (3, 7), 1, True),
    "another lane's vector": (
        "rows.cuh", "return lane * VECTOR -", "return (lane | 1) * VECTOR -", (3, 9), 1, False),
    "sums are not scaled when joined": (
        "softmax.cuh", "a.sum * exponential(a.most - both.most)", "a.sum", (3, 9), 1, False),
    "lines are joined before they are there": (
        "softmax_columns.cu", "scratch[threadIdx.x] = values[v];\n    __syncthreads();",
        "scratch[threadIdx.x] = values[v];", (2, 9, 3), 1, True),
    "a line is left out": ("softmax_columns.cu", "int l = 1; l < LINES", "int l = 2; l < LINES", (2, 9, 3), 1, False),
}  # fmt: skip


@policy.needs("emulator")
@pytest.mark.parametrize("bug", BUGS)
def test_bugs_are_caught(bug, patched, rng):
    file, text, replacement, shape, axis, checked = BUGS[bug]
    patched(file, text, replacement)

    def run():
        for name in NAMES:
            check(name, some(rng, shape, "f"), some(rng, shape, "f"), axis, "emulated")

    caught(run, checked)
