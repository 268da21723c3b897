"""reduce.cu and scan.cu against NumPy in float64: operations, axes, layouts, accuracy, one order of additions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import policy
from kernels.array_checks import BF16, ROUNDING, build, draw, dtype, on, require, same
from kernels.checked import same_under_every_schedule
from weft.backends import reference as K
from weft.backends.gpu import layout, namespace
from weft.backends.gpu import reduce as reductions
from weft.backends.gpu.reduce import OPERATIONS, reduce

pytestmark = pytest.mark.gpu

REAL_NAMES = ("sum", "mean", "prod")
EXACT_NAMES = ("max", "min", "any", "all", "argmax", "argmin")
#: All in float32, in which bfloat16 is reduced too: of it one of each kind of sum, extreme and place.
FAST = [*itertools.product(OPERATIONS, "f"), *itertools.product(("sum", "mean", "min", "argmax"), "E")]
FAST += [*itertools.product(("sum", "max", "argmax"), "di?"), ("any", "?")]
FAST += [("mean", "i"), ("prod", "i"), ("sum", "B"), ("min", "b"), ("argmin", "l")]
#: Shape and axes for each shape of work: short, middling and long rows, columns, mixtures, parts in two passes.
CASES = [
    ((5, 7, 33), (None, 0, 1, -1, (0, 2), (1, 2), (0, 1), ())),
    ((300, 10), (1, 0)),
    ((70, 500), (1, 0)),
    ((3, 4100), (1, 0, None)),
    ((40_003,), (0,)),
    ((4001, 36), (0,)),
    ((2, 3, 5, 8), ((0, 2, 3), (1,), (0, 3))),
    ((1,), (0,)),
    ((), (None,)),
    ((4, 1, 3), (1, (0, 1))),
]


@pytest.fixture(scope="module", autouse=True)
def built(request, device):
    require(device)
    ours = [i.callspec.params for i in request.session.items if i.path == request.path and hasattr(i, "callspec")]
    wanted = {params["case"] for params in ours if "case" in params}
    wanted = {c for c in wanted if type(c) is tuple and c[0] in OPERATIONS and isinstance(c[1], str)}
    build([reductions.make_plan(n, on(device, np.zeros((8, 8), dtype(c))), 1, False).kernel for n, c in wanted], device)


def reference(name, x, axis, keepdims=False):
    if name == "sum_of_squares":
        return np.sum(np.square(x.astype(np.float64)), axis=axis, keepdims=keepdims)
    wide = x.astype(np.float64) if x.dtype.kind not in "biu" and name in REAL_NAMES else x
    return np.asarray(getattr(np, name)(wide, axis=axis, keepdims=keepdims))


def check(name, x, values, axis, keepdims=False):
    """x: a device view of the NumPy array `values`."""
    if name in ("argmax", "argmin") and type(axis) is tuple:
        return
    got, expected = reduce(name, x, axis, keepdims), reference(name, values, axis, keepdims)
    assert got.shape == expected.shape
    if name in EXACT_NAMES or (values.dtype.kind in "biu" and name != "mean"):
        same(got, expected.astype(np.int64) if name == "sum_of_squares" else expected)
        return
    kind = np.dtype(np.float64) if name == "sum_of_squares" or values.dtype.kind in "biu" else values.dtype
    assert got.dtype == kind
    char = kind.char
    terms = reference("sum", np.abs(values.astype(np.float64)), axis, keepdims)
    count = max(1, values.size // max(expected.size, 1))
    computed = ROUNDING["f" if char in "eE" else char]
    if name == "prod":
        bound = 2 * count * computed * np.abs(expected)
    elif name == "sum_of_squares":
        bound = 1e-12 * expected  # NumPy's own error along columns
    else:
        bound = 40 * computed * terms / (count if name == "mean" else 1)
    error = np.abs(got.get().astype(np.float64) - expected)
    assert (error <= bound + 1.01 * ROUNDING[char] * np.abs(expected) + 1e-45).all(), (error.max(), name, axis)


def values_for(name, shape, char, rng):
    kind = dtype(char)
    if name == "prod" and kind.kind not in "biu":
        return (1 + draw(rng, shape, "d", -0.01, 0.01)).astype(kind)
    if kind.kind not in "biu":
        return draw(rng, shape, kind)
    return draw(rng, shape, kind)


@pytest.mark.parametrize("case", FAST, ids="-".join)
def test_operations(case, device, rng):
    name, char = case
    if name == "sum_of_squares" and dtype(char).kind in "biu":
        return
    for shape, all_axes in CASES:
        values = values_for(name, shape, char, rng)
        x = on(device, values)
        for axis in all_axes:
            check(name, x, values, axis)
        check(name, x, values, all_axes[0], keepdims=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", [c for c in itertools.product(OPERATIONS, "EdebBhHiIlL?") if c not in FAST], ids="-".join
)
def test_operations_of_other_dtypes(case, device, rng):
    if case[0] != "sum_of_squares" or dtype(case[1]).kind not in "biu":
        test_operations(case, device, rng)


VIEWS = {
    "transposed": lambda x: x.transpose(2, 0, 1),
    "reversed": lambda x: x[::-1, :, ::-1],
    "every other": lambda x: x[:, ::2, 1::3],
    "offset rows": lambda x: x[..., 1:-2],
    "misaligned": lambda x: x.reshape(-1)[1:].reshape(-1),
}


@pytest.mark.sanitized
@pytest.mark.parametrize("view", VIEWS.values(), ids=list(VIEWS))
@pytest.mark.parametrize("case", [("sum", "f"), ("max", "f"), ("argmax", "f"), ("sum", "E")], ids="-".join)
def test_strides(view, case, device, rng):
    name, char = case
    values = draw(rng, (6, 18, 40), dtype(char))
    x, v = view(on(device, values)), view(values)
    for axis in (None, 0, -1, (0, -1) if v.ndim > 1 else 0):
        check(name, x, v, axis)


@pytest.mark.sanitized
def test_channels_last(device, rng):
    values = draw(rng, (3, 6, 5, 8), "f")
    x = on(device, values).transpose(0, 3, 1, 2)
    check("sum", x, values.transpose(0, 3, 1, 2), (0, 2, 3))
    check("max", x, values.transpose(0, 3, 1, 2), (2, 3), keepdims=True)


def test_nan_wins_and_the_first_index(device):
    x = np.array([[1, 3, 3, np.nan, 5, np.nan], [2, 2, 2, 2, 2, 2], [-np.inf, np.inf, np.inf, 0, -0.0, 0]], "f")
    wide = np.tile(x, (1, 60))
    for values in (x, wide, wide.T.copy()):
        axis = 1 if values.shape[0] == 3 else 0
        for name in ("max", "min", "argmax", "argmin"):
            same(reduce(name, on(device, values), axis), getattr(np, name)(values, axis=axis))
    lowest = np.full((3, 50), -np.inf, "f")
    same(reduce("max", on(device, lowest), 1), lowest.max(1))
    same(reduce("argmax", on(device, lowest), 1), lowest.argmax(1))


def test_integers_reach_their_limits(device):
    for name, char in (("max", "i"), ("sum", "i"), ("prod", "i"), ("sum", "B"), ("min", "b"), ("argmin", "l")):
        info = np.iinfo(char)
        x = np.array([[info.min, info.max], [info.max, info.max], [info.min, info.min]], char)
        same(reduce(name, on(device, x), 1), getattr(np, name)(x, axis=1))


def test_nothing(device):
    x = on(device, np.zeros((0, 3), "f"))
    same(reduce("sum", x, 0), np.zeros(3, "f"))
    same(reduce("prod", x, 0), np.ones(3, "f"))
    same(reduce("any", x, 0), np.zeros(3, bool))
    same(reduce("all", x, 0), np.ones(3, bool))
    same(reduce("sum", x), np.zeros((), "f"))
    assert reduce("max", x, 1).shape == (0,) and np.isnan(reduce("mean", x, 0).get()).all()
    with pytest.raises(ValueError, match="zero-size array to reduction operation maximum which has no identity"):
        reduce("max", x, 0)
    with pytest.raises(ValueError, match="attempt to get argmax of an empty sequence"):
        reduce("argmax", x, 0)
    with pytest.raises(np.exceptions.AxisError):
        reduce("sum", x, 2)


def test_sums_are_as_accurate_as_pairwise_ones(device, rng):
    """Root mean square over many sums; NumPy's pairwise summation of float32 is the bar."""
    for shape, axis in (((60, 20_000), 1), ((20_000, 60), 0), ((60, 100_000), 1)):
        x = rng.random(shape).astype("f")
        exact = x.astype("d").sum(axis)
        ours = np.sqrt(np.mean((reduce("sum", on(device, x), axis).get() - exact) ** 2))
        rows = np.ascontiguousarray(x if axis else x.T)  # NumPy adds pairwise along rows alone
        pairwise = np.sqrt(np.mean((rows.sum(1) - exact) ** 2))
        assert ours <= 2 * pairwise, (shape, ours, pairwise)


def test_16_bit_sums_count_beyond_their_precision(device):
    same(reduce("sum", on(device, np.ones(100_000, BF16))), np.asarray(1e5).astype(BF16))
    same(reduce("mean", on(device, np.full(70_000, 2, np.float16))), np.asarray(2, np.float16))


def test_wide_indices(device, rng, monkeypatch):
    monkeypatch.setattr(layout, "NARROW", 0)
    monkeypatch.setattr(reductions, "plans", {})
    x = draw(rng, (7, 6, 40), "f")
    for name in ("sum", "argmax"):
        for axis in (0, 1, 2, None):
            check(name, on(device, x), x, axis)
    check("argmax", on(device, draw(rng, 40_000, "f") * 0 + 1), np.ones(40_000, "f"), None)


def test_sum_of_squares(device, rng):
    arrays = [draw(rng, shape, kind) for shape, kind in (((40, 7), "f"), ((3,), "f"), ((0,), "f"), ((5000,), "f"))]
    got = K.sum_of_squares([on(device, x) for x in arrays]).item()
    np.testing.assert_allclose(got, K.sum_of_squares.reference(arrays), rtol=1e-13)


@pytest.mark.sanitized
@pytest.mark.parametrize("char", ["f", "E", "i", "?"])
@pytest.mark.parametrize(("shape", "axis"), [((3, 2500), -1), ((5, 40, 33), 1), ((7,), 0), ((4, 0), 1), ((1, 1024), 1)])
def test_cumulative_sum(char, shape, axis, device, rng):
    kind = dtype(char)
    values = draw(rng, shape, kind, 0, 1) if kind.kind not in "iu" else rng.integers(-9, 9, shape).astype(kind)
    for x, v in ((on(device, values), values), (on(device, values)[..., ::-1], values[..., ::-1])):
        got = namespace.cumulative_sum(x, axis=axis)
        if kind.kind in "biu":
            same(got, np.cumulative_sum(v, axis=axis))
            continue
        exact = np.cumulative_sum(v.astype("d"), axis=axis)
        assert got.dtype == kind
        np.testing.assert_allclose(
            got.get().astype("d"), exact, rtol=2 * ROUNDING[char] + 64 * ROUNDING["f"], atol=1e-30
        )


@policy.needs("emulator")
@pytest.mark.parametrize("case", [("sum", "f"), ("argmax", "f"), ("sum", "E")], ids="-".join)
def test_checked_under_every_schedule(case, rng):
    """No report, and the same bits, whichever block or thread runs first: rows, columns, both in parts."""
    name, char = case
    x, long = draw(rng, (6, 30, 35), dtype(char)), draw(rng, (2, 6000), dtype(char))

    def run():
        X, L = on("emulated", x), on("emulated", long)
        outs = [reduce(name, X, axis) for axis in (0, 1, 2)]
        outs += [reduce(name, L, 1), reduce(name, L.transpose(1, 0), 0), reduce(name, L.reshape(1500, 8), 0)]
        if name == "sum":
            outs += [namespace.cumulative_sum(L[:, :2500], axis=-1), namespace.cumulative_sum(X, axis=1)]
        return outs

    same_under_every_schedule(run)
