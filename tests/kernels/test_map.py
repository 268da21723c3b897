"""map.cu: every expression against NumPy in float64, over dtypes, layouts and special values."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import policy
from kernels.array_checks import BF16, BOOL, INTEGERS, REAL, build, close, draw, dtype, on, operands, require, same
from kernels.checked import same_under_every_schedule
from weft.backends import array
from weft.backends import reference as K
from weft.backends.gpu import layout, maps, namespace
from weft.backends.gpu.expressions import EXPRESSIONS
from weft.backends.gpu.maps import apply

pytestmark = pytest.mark.gpu

DOMAIN = {"acosh": (1, 9), "log": (0.01, 9), "log2": (0.01, 9), "log10": (0.01, 9), "asin": (-1, 1), "acos": (-1, 1),
          "atanh": (-1, 1), "log1p": (-0.9, 9), "sqrt": (0, 9)}  # fmt: skip
REFERENCES = {
    "gelu": lambda x: K.gelu.reference(x, approximate="none"),
    "gelu_tanh": lambda x: K.gelu.reference(x, approximate="tanh"),
    "gelu_backward": lambda g, x: K.gelu_backward.reference(g, x, approximate="none"),
    "gelu_tanh_backward": lambda g, x: K.gelu_backward.reference(g, x, approximate="tanh"),
    "silu": K.silu.reference,
    "silu_backward": K.silu_backward.reference,
    "relu": K.relu.reference,
    "relu_backward": K.relu_backward.reference,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "floor_divide": array.floor_divide,
    "erf": np.vectorize(math.erf, otypes=[np.float64]),
}
#: Sums of terms that may cancel: their error is measured against the terms.
CANCELLING = {"gelu", "gelu_tanh", "gelu_backward", "gelu_tanh_backward", "silu_backward", "erf", "remainder",
              "logaddexp"}  # fmt: skip
FAST = "fEi?"


def reference(name, *arrays):
    with np.errstate(all="ignore"):
        return REFERENCES[name](*arrays) if name in REFERENCES else getattr(np, name)(*arrays)


def cases(chars):
    for name, char in itertools.product(EXPRESSIONS, chars):
        entry, kind = EXPRESSIONS[name], dtype(char)
        whole = entry.integer is not None if kind.kind in "iu" else entry.boolean is not None if char == "?" else True
        if (name == "relu_backward" and char not in "fEed") or name + char == "round?":  # NumPy's is float16
            continue
        if name == "nextafter" and char in "eE":  # refused
            continue
        if entry.real if kind.kind not in "biu" else whole:
            yield name, char


def plan_of(name, char, device):
    x = on(device, np.zeros(8, dtype(char)))
    return maps.make_plan(name, [x] * EXPRESSIONS[name].arity, None, None, None, (0, 0, 0))


@pytest.fixture(scope="module", autouse=True)
def built(request, device):
    """All kernels of the tests that run, compiled side by side."""
    require(device)
    ours = [i.callspec.params for i in request.session.items if i.path == request.path and hasattr(i, "callspec")]
    wanted = {params["case"] for params in ours if "case" in params}
    build([plan_of(*case, device).kernel for case in wanted], device)


def check_expression(name, char, device, rng):
    kind = dtype(char)
    arrays = operands(rng, kind, EXPRESSIONS[name].arity, *DOMAIN.get(name, (-4, 4)))
    if name == "pow" and kind.kind in "iu":
        arrays[1] = np.abs(arrays[1].astype(object) % 9).astype(kind)  # NumPy refuses negative powers of integers
    got = apply(name, *[on(device, x) for x in arrays])
    if kind.kind in "biu":
        with np.errstate(all="ignore"):
            expected = reference(name, *arrays)
        same(got, expected)
        return
    if name == "nextafter":
        same(got, np.nextafter(*arrays))
        return
    expected = reference(name, *[x.astype(np.float64) for x in arrays])
    if EXPRESSIONS[name].result == "bool":
        same(got, expected)
        return
    scale = 32 if name in CANCELLING else 0
    close(got, expected, kind, absolute=scale)


def of_16_bits_few(case):
    """16-bit types are loaded, converted and stored alike whatever is computed between, in float32: every fourth."""
    name, char = case
    return char != "E" or list(EXPRESSIONS).index(name) % 4 == 0


@pytest.mark.parametrize("case", policy.mostly_slow(cases(FAST), of_16_bits_few), ids="-".join)
def test_expressions(case, device, rng):
    check_expression(*case, device, rng)


@pytest.mark.slow
@pytest.mark.parametrize("case", [c for c in cases("edbBhHIlL")], ids="-".join)
def test_expressions_of_other_dtypes(case, device, rng):
    check_expression(*case, device, rng)


@pytest.mark.parametrize("name", ["sin", "sqrt", "divide", "gelu"])
def test_real_functions_of_integers_are_float32(name, device, rng):
    x = rng.integers(1, 50, 77)
    arrays = [x] * EXPRESSIONS[name].arity
    close(apply(name, *[on(device, a) for a in arrays]), reference(name, *[a * 1.0 for a in arrays]), np.dtype("f"))


@pytest.mark.parametrize("name", ["subtract", "negative", "sign"])
def test_arithmetic_refuses_bool(name, device):
    x = on(device, np.ones(3, bool))
    with pytest.raises(TypeError, match=f"{name}: expected numbers, got bool"):
        apply(name, *[x] * EXPRESSIONS[name].arity)


def test_bits_refuse_real_numbers(device):
    with pytest.raises(TypeError, match="bitwise_and: expected integers or bool, got float32"):
        namespace.bitwise_and(on(device, np.ones(3, "f")), on(device, np.ones(3, "f")))


# -- casts, where ---------------------------------------------------------------------------------------------------


def check_cast(source, target, device, rng):
    if source.kind in "biu":
        values = np.concatenate([operands(rng, source, 1)[0]])
    elif target.kind in "iu":
        low, high = (-100, 100) if target.kind == "i" else (0, 100)
        values = rng.uniform(low, high, 203).astype(source)
    else:
        values = operands(rng, source, 1)[0]
    with np.errstate(all="ignore"):
        wide = values if source.kind in "biu" else values.astype(np.float64)
        expected = wide.astype(target) if target.kind != "b" else wide != 0
        if target == BF16 and source.char != "f":
            expected = wide.astype(np.float32).astype(BF16)
    same(namespace.astype(on(device, values), target), expected)


ALL = [*REAL, *INTEGERS, BOOL]
PAIRS = [(a, b) for a, b in itertools.product(ALL, ALL)]
MIXED = ("Ed", "dE", "eE", "Ei", "B?", "lb")
QUICK = [(a, b) for a, b in PAIRS if "f" in (a.char, b.char) or a.char + b.char in MIXED]


@pytest.mark.parametrize(("source", "target"), QUICK, ids=str)
def test_casts(source, target, device, rng):
    check_cast(source, target, device, rng)


@pytest.mark.slow
@pytest.mark.parametrize(("source", "target"), [p for p in PAIRS if p not in QUICK], ids=str)
def test_all_casts(source, target, device, rng):
    check_cast(source, target, device, rng)


@pytest.mark.parametrize("kind", [REAL[0], REAL[1], INTEGERS[4]], ids=str)
def test_where_moves_values(kind, device, rng):
    a, b, mask = draw(rng, (5, 7), kind), draw(rng, (7,), kind), rng.random((5, 1)) < 0.5
    same(namespace.where(on(device, mask), on(device, a), on(device, b)), np.where(mask, a, b))
    same(namespace.where(on(device, mask), on(device, a), 1), np.where(mask, a, np.ones((), kind)))
    same(namespace.where(on(device, mask), 0, on(device, b)), np.where(mask, np.zeros((), kind), b))


def test_numbers_are_weak(device, rng):
    for kind in (*REAL, *INTEGERS):
        x = on(device, draw(rng, 9, kind))
        for number, expected in ((2, kind), (0.5, kind if kind in REAL else np.dtype("f"))):
            assert maps.make_plan("add", [x, number], None, None, None, (0, 0, 0)).dtype == expected
    same(namespace.where(on(device, np.array([True, False])), 1.0, 0.0), np.array([1, 0], "f"))
    flags = on(device, np.array([True, False]))
    assert namespace.add(flags, 1).dtype == np.int64 and namespace.add(flags, True).dtype == bool
    with pytest.raises(OverflowError, match="add: expected an integer within"):
        namespace.add(on(device, np.zeros(3, "b")), 300)


@pytest.mark.parametrize("char", "fEi")
def test_powers_by_numbers(char, device, rng):
    x = np.array([-3, 0, 1, 2, 7]).astype(dtype(char))
    for exponent in (2, 2.0, 3) if char != "i" else (2, 3):
        same(namespace.pow(on(device, x), exponent), (x.astype("d") ** exponent).astype(x.dtype))


def test_numbers_keep_float64(device):
    same(namespace.add(on(device, np.zeros(3)), 0.1), np.full(3, 0.1))
    same(namespace.full((2,), 0.1, np.float64, device=on(device, 0).device_name), np.full(2, 0.1))


@pytest.mark.parametrize("pair", ["fd", "Ef", "if", "bl", "Bb", "?i"])
def test_promotion(pair, device, rng):
    a, b = pair
    x, y = rng.integers(0, 9, 13).astype(dtype(a)), rng.integers(0, 9, 13).astype(dtype(b))
    got = namespace.add(on(device, x), on(device, y))
    expected = np.dtype("f") if pair == "if" else np.result_type(dtype(a), dtype(b))
    assert got.dtype == expected
    np.testing.assert_array_equal(got.get().astype("d"), x.astype("d") + y.astype("d"))


# -- layouts ---------------------------------------------------------------------------------------------------------

SHAPES = [(), (0,), (1,), (7,), (1031,), (3, 0, 2), (5, 7), (1, 257), (2, 3, 4, 5), (33, 1, 8), (64, 16)]


@pytest.mark.sanitized
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("char", ["f", "E"])
def test_shapes(shape, char, device, rng):
    x, y = draw(rng, shape, dtype(char)), draw(rng, shape, dtype(char))
    same(namespace.maximum(on(device, x), on(device, y)), np.asarray(np.maximum(x, y)))


@pytest.mark.parametrize(
    ("a", "b"),
    [((5, 7), (7,)), ((5, 1), (1, 7)), ((2, 3, 4, 5), (3, 1, 1)), ((), (4, 3)), ((6, 1, 8), (5, 1)), ((0, 3), (1, 3))],
)
def test_broadcasting(a, b, device, rng):
    x, y = draw(rng, a, "f"), draw(rng, b, "f")
    same(namespace.maximum(on(device, x), on(device, y)), np.asarray(np.maximum(x, y)))


def test_shapes_that_do_not_broadcast(device):
    with pytest.raises(ValueError, match=r"add: expected shapes that broadcast, got \(3,\) and \(4,\)"):
        namespace.add(on(device, np.ones(3, "f")), on(device, np.ones(4, "f")))


VIEWS = {
    "transposed": lambda x: x.transpose(2, 0, 1),
    "reversed": lambda x: x[::-1, :, ::-1],
    "every other": lambda x: x[:, ::2, 1::3],
    "misaligned": lambda x: x.reshape(-1)[1:].reshape(-1),
    "offset rows": lambda x: x[..., 1:-2],
    "swapped and reversed": lambda x: x.swapaxes(0, 2)[:, ::-1],
}


@pytest.mark.sanitized
@pytest.mark.parametrize("view", VIEWS.values(), ids=list(VIEWS))
@pytest.mark.parametrize("char", ["f", "E"])
def test_strides(view, char, device, rng):
    x, y = draw(rng, (6, 8, 20), dtype(char)), draw(rng, (6, 8, 20), dtype(char))
    same(namespace.maximum(view(on(device, x)), view(on(device, y))), np.maximum(view(x), view(y)))
    dense = np.ascontiguousarray(view(y))
    same(namespace.maximum(view(on(device, x)), on(device, dense)), np.maximum(view(x), dense))


def test_eight_dimensions_that_do_not_merge(device, rng):
    x, y = draw(rng, (2,) * 8, "f"), draw(rng, (2,) * 8, "f")
    back = tuple(range(7, -1, -1))
    same(namespace.maximum(on(device, x).transpose(*back), on(device, y)), np.maximum(x.transpose(back), y))
    z = on(device, draw(rng, (2,) * 9, "f"))
    with pytest.raises(ValueError, match="expected memory of at most 8 dimensions, got one of 9"):
        namespace.maximum(z.transpose(*range(8, -1, -1)), z)


def test_memory_format_is_kept(device, rng):
    last = draw(rng, (2, 5, 6, 3), "f").transpose(0, 3, 1, 2)  # NCHW in shape, NHWC in memory
    x = on(device, np.ascontiguousarray(last.transpose(0, 2, 3, 1))).transpose(0, 3, 1, 2)
    bias = on(device, draw(rng, (3, 1, 1), "f"))
    mask = namespace.greater(x, 0.0)
    for y in (namespace.exp(x), namespace.add(x, x), namespace.multiply(x, bias), namespace.add(bias, x)):
        assert y.strides == x.strides
    assert namespace.where(mask, x, 0.0).strides == x.strides
    assert [s * 4 for s in mask.strides] == list(x.strides)
    assert [s * 2 for s in namespace.astype(x, np.float64).strides] == [s * 4 for s in x.strides]
    assert namespace.zeros_like(x).strides == x.strides
    plain = on(device, np.ascontiguousarray(last))
    assert namespace.add(x, plain).strides == plain.strides  # they disagree: C order


@pytest.mark.sanitized
def test_out_writes_into_a_view_and_nothing_else(device, rng):
    whole = draw(rng, (6, 10), "f")
    out, a, b = on(device, whole), draw(rng, (4, 3), "f"), draw(rng, (3,), "f")
    namespace.add(on(device, a), on(device, b), out=out[1:5, 2:8:2])
    whole[1:5, 2:8:2] = a + b
    same(out, whole)
    namespace.accumulate(out, on(device, whole.astype(BF16)))
    same(out, (whole + whole.astype(BF16).astype("f")))
    with pytest.raises(ValueError, match="add: expected an output that holds"):
        namespace.add(on(device, a), on(device, b), out=out)
    with pytest.raises(ValueError, match="copy: expected an output of memory of its own, got a broadcast view"):
        namespace.assign(on(device, b).broadcast_to((4, 3)), 1.0)


def test_overlapping_memory_is_read_before_it_is_written(device, rng):
    x = draw(rng, 5000, "f")
    y = on(device, x)
    y[1:] = y[:-1]
    x[1:] = x[:-1].copy()
    same(y, x)
    y[:] = y[::-1]
    same(y, x[::-1].copy())


TURNED = [((40, 70), (1, 0)), ((3, 33, 9, 8), (0, 3, 1, 2)), ((2, 9, 8, 17), (3, 0, 2, 1)), ((64, 64), (1, 0)),
          ((5, 8, 31, 3), (2, 1, 0, 3)), ((16, 8), (1, 0))]  # fmt: skip


@pytest.mark.sanitized
@pytest.mark.parametrize("char", "BEfd")
def test_copies_between_orders_of_dimensions(char, device, rng, monkeypatch):
    monkeypatch.setattr(maps, "plans", {})
    for shape, axes in TURNED:
        x = draw(rng, shape, dtype(char))
        turned = on(device, x).transpose(*axes)
        same(namespace.contiguous(turned), np.ascontiguousarray(x.transpose(axes)))
        same(namespace.contiguous(turned[1:, ::-1]), np.ascontiguousarray(x.transpose(axes)[1:, ::-1]))
        whole = draw(rng, tuple(n + 3 for n in turned.shape), dtype(char))
        inside = tuple(slice(1, n + 1) for n in turned.shape)
        out = on(device, whole)
        namespace.assign(out[inside], turned)  # and nothing around it
        whole[inside] = x.transpose(axes)
        same(out, whole)
    assert sum(plan.transposes for plan in maps.plans.values()) >= 10


def test_wide_indices(device, rng, monkeypatch):
    monkeypatch.setattr(layout, "NARROW", 0)
    monkeypatch.setattr(maps, "plans", {})
    x, y = draw(rng, (6, 7, 8), "f"), draw(rng, (7, 1), "f")
    same(namespace.maximum(on(device, x).transpose(2, 1, 0), on(device, y)), np.maximum(x.transpose(2, 1, 0), y))
    x = draw(rng, (9, 3, 12), "f")
    same(namespace.contiguous(on(device, x).transpose(2, 1, 0)), np.ascontiguousarray(x.transpose(2, 1, 0)))
    assert all(plan.kernel.defines["WIDE"] == "1" for plan in maps.plans.values())


def test_grid_stride(device, rng, monkeypatch):
    """More elements than threads."""
    monkeypatch.setattr(maps, "FILLING", 1)
    monkeypatch.setattr(maps, "PER_THREAD", 5)
    monkeypatch.setattr(maps, "plans", {})
    x = draw(rng, 50_001, "f")
    same(namespace.maximum(on(device, x), 0.5), np.maximum(x, np.float32(0.5)))
    assert {plan.grid for plan in maps.plans.values()} == {(10,)}


# -- numbers from positions, clip, the names --------------------------------------------------------------------------


def test_positions(device, rng):
    where = on(device, 0).device_name
    x = draw(rng, (2, 5, 7), "f")
    for k in (-6, -1, 0, 2, 9):
        same(namespace.tril(on(device, x), k), np.tril(x, k))
        same(namespace.triu(on(device, x).swapaxes(1, 2), k), np.triu(x.swapaxes(1, 2), k))
        same(namespace.eye(4, 6, k, np.float32, device=where), np.eye(4, 6, k, np.float32))
    for numbers in ((7,), (2, 11, 3), (9, 0, -2), (0.0, 1.0, 0.1), (3, 3)):
        same(namespace.arange(*numbers, device=where), np.arange(*numbers))
    same(namespace.arange(300, dtype=np.float32, device=where), np.arange(300, dtype=np.float32))


def test_clip(device, rng):
    x = operands(rng, "f", 1)[0]
    for low, high in ((-1.0, 1.0), (None, 0.5), (0.5, None)):
        same(namespace.clip(on(device, x), low, high), np.clip(x, low, high))
    low = draw(rng, x.shape, "f")
    same(namespace.clip(on(device, x), on(device, low), 3.0), np.clip(x, low, np.float32(3.0)))


def test_every_name_of_the_cpu_is_there():
    own = {"namespace", "on_devices", "device_of", "is_16_bit", "of_parts", "reduction", "ndarray", "OnDevice"}
    names = {n for n in vars(array) if callable(vars(array)[n]) and not n.startswith(("_", "np_"))} - own
    names -= {"Any", "Callable", "ModuleType"}
    assert not names - set(vars(namespace))
    assert not set(EXPRESSIONS) - set(vars(namespace)) - {"clip"}


def test_devices_do_not_mix(device, rng):
    x = on(device, draw(rng, 3, "f"))
    with pytest.raises(TypeError, match="add: expected all on one device, got an array on cpu"):
        namespace.add(x, np.ones(3, "f"))


@policy.needs("emulator")
def test_checked_under_every_schedule(rng):
    """No report, and the same bits, on a representative subset."""
    x, y, b = draw(rng, (9, 6, 33), "f"), draw(rng, (9, 6, 33), BF16), draw(rng, (6, 1), "f")

    def run():
        X, Y, B = (on("emulated", v) for v in (x, y, b))
        outs = [
            namespace.exp(X.transpose(2, 0, 1)), namespace.add(X, B), namespace.add(Y[..., 1:], Y[..., :-1]),
            namespace.astype(Y, np.float32), namespace.where(namespace.greater(X, 0.0), X, 0.0),
            apply("gelu_backward", Y, Y), namespace.tril(X), namespace.floor_divide(X, 3),
            namespace.contiguous(X.transpose(1, 2, 0)), namespace.contiguous(Y.transpose(2, 1, 0)),
        ]  # fmt: skip
        X[:, :, 1:] = X[:, :, :-1]
        return [out.get() for out in (*outs, X)]

    same_under_every_schedule(run)
