"""Elementwise functions and operators beside the standard's reference: every dtype that each takes, mixed with others
of its kind, with Python's numbers on either side, NaN and infinities, empty and 0-d arrays, broadcasting."""

from __future__ import annotations

import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import weft
from standard.strict import (
    ALL,
    COMPLEX,
    FLOATS,
    INTEGERS,
    NUMERIC,
    REAL,
    arrays,
    changed,
    compare,
    elements,
    examples,
    same,
)  # fmt: skip

FLOATING = [*FLOATS, *COMPLEX]
BITS = ["bool", *INTEGERS]
DTYPES = {  # which dtypes the standard gives each function
    **dict.fromkeys("""acos acosh asin asinh atan atanh cos cosh exp expm1 log log1p log2 log10 reciprocal sin sinh sqrt
                    tan tanh divide""".split(), FLOATING),
    **dict.fromkeys("""abs add isfinite isinf isnan multiply negative positive pow round sign square
                    subtract""".split(), NUMERIC),
    **dict.fromkeys("""ceil clip floor floor_divide greater greater_equal less less_equal maximum minimum remainder
                    trunc""".split(), REAL),
    **dict.fromkeys("atan2 copysign hypot logaddexp nextafter signbit".split(), FLOATS),
    **dict.fromkeys("bitwise_and bitwise_invert bitwise_or bitwise_xor".split(), BITS),
    **dict.fromkeys("bitwise_left_shift bitwise_right_shift".split(), INTEGERS),
    **dict.fromkeys("logical_and logical_not logical_or logical_xor".split(), ["bool"]),
    **dict.fromkeys("conj imag real".split(), COMPLEX),
    **dict.fromkeys("equal not_equal".split(), ALL),
}  # fmt: skip
BINARY = set("""add atan2 bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor copysign divide
    equal floor_divide greater greater_equal hypot less less_equal logaddexp logical_and logical_or logical_xor maximum
    minimum multiply nextafter not_equal pow remainder subtract""".split())
UNARY = sorted(set(DTYPES) - BINARY - {"clip"})
#: Results that are rounded, of functions that no two libraries round alike.
ROUNDED = set(UNARY) - set("""abs bitwise_invert ceil conj floor imag isfinite isinf isnan logical_not negative positive
    real round signbit trunc""".split()) | {"atan2", "divide", "hypot", "logaddexp", "multiply", "pow"}
OPERATORS = {
    "add": "add", "subtract": "sub", "multiply": "mul", "divide": "truediv", "floor_divide": "floordiv",
    "remainder": "mod", "pow": "pow", "bitwise_and": "and_", "bitwise_or": "or_", "bitwise_xor": "xor",
    "bitwise_left_shift": "lshift", "bitwise_right_shift": "rshift",
}  # fmt: skip


def mixable(dtypes, first):
    """The dtypes that mix with `first`, one way or the other, by the standard's table."""
    kind = np.dtype(first).kind
    if kind in "iu":
        others = [d for d in INTEGERS if np.result_type(first, d).kind in "iu"]
    else:
        others = {"b": ["bool"], "f": FLOATING, "c": FLOATING}[kind]
    return [d for d in others if d in dtypes]


def modest(x, n):
    """Integers from 0 to n - 1 for integers, other numbers as they are."""
    if isinstance(x, np.ndarray):
        return np.asarray(np.abs(x.astype(object)) % n).astype(x.dtype) if x.dtype.kind in "iu" else x
    return abs(x) % n if type(x) is int else x


def suited(name, x, y):
    """Values at which the standard, or the reference, says something."""
    if name in ("bitwise_left_shift", "bitwise_right_shift"):
        return x, modest(y, 8)
    if name in ("floor_divide", "remainder"):  # what the standard says of infinities test_special_cases.py has
        x, y = [np.where(np.isfinite(v), v, 3).astype(v.dtype) if isinstance(v, np.ndarray) else v for v in (x, y)]
        kinds = {getattr(v, "dtype", np.dtype(type(v))).kind for v in (x, y)}
        if kinds <= {"i", "u"}:
            y = (np.where(y == 0, 7, y).astype(y.dtype)) if isinstance(y, np.ndarray) else y or 7
        return x, y
    return (x, modest(y, 4)) if name == "pow" else (x, y)


def finite(x):
    return np.where(np.isfinite(x), x, 1).astype(x.dtype) if isinstance(x, np.ndarray) and x.dtype.kind == "c" else x


def broadcastable(draw):
    return draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=4)).input_shapes


@pytest.mark.parametrize("name", UNARY)
@examples(4)
@given(data=st.data())
def test_one_array(name, data):
    x = data.draw(arrays(DTYPES[name], small=False))
    x = x if name in ("isnan", "isinf", "isfinite", "conj", "real", "imag", "negative", "positive") else finite(x)
    compare(name, x, exact=name not in ROUNDED)


@pytest.mark.parametrize("name", sorted(BINARY))
@examples(5)
@given(data=st.data())
def test_two_arrays(name, data):
    first = data.draw(st.sampled_from(DTYPES[name]))
    second = first if name == "nextafter" else data.draw(st.sampled_from(mixable(DTYPES[name], first)))
    shapes = broadcastable(data.draw)
    pair = [data.draw(arrays(d, shape, small=False)) for d, shape in zip((first, second), shapes)]
    if "c" in {x.dtype.kind for x in pair}:
        pair = [np.where(np.isfinite(x), x, 1).astype(x.dtype) for x in pair]
    compare(name, *suited(name, *pair), exact=name not in ROUNDED)


def python_number(draw, dtype):
    kind = np.dtype(dtype).kind
    number = draw(elements(dtype))
    number = {"b": bool, "i": int, "u": int, "f": float, "c": complex}[kind](number)
    return int(number.real) if kind in "fc" and draw(st.booleans()) else number


@pytest.mark.parametrize("name", sorted(BINARY))
@examples(4)
@given(data=st.data())
def test_python_numbers_on_either_side(name, data):
    dtype = data.draw(st.sampled_from(DTYPES[name]))
    x, number = data.draw(arrays(dtype)), python_number(data.draw, dtype)
    if data.draw(st.booleans()):
        left, right = suited(name, x, number)
    else:
        left, right = suited(name, number, x)
    got = compare(name, left, right, exact=name not in ROUNDED)
    if got is not None and name in OPERATORS:
        same(getattr(operator, OPERATORS[name])(changed(left, weft), changed(right, weft)), got, f"operator of {name}")


@pytest.mark.parametrize("name", sorted(OPERATORS))
@examples(4)
@given(data=st.data())
def test_operators_in_place(name, data):
    """In place where the result keeps shape and dtype, an error and nothing written elsewhere."""
    first = data.draw(st.sampled_from(DTYPES[name]))
    second = data.draw(st.sampled_from(mixable(DTYPES[name], first)))
    shapes = broadcastable(data.draw)
    x, y = suited(name, *[finite(data.draw(arrays(d, shape))) for d, shape in zip((first, second), shapes)])
    target = weft.asarray(x.copy())
    other = weft.asarray(y)
    want = getattr(weft, name)(weft.asarray(x), other)
    operation = getattr(operator, "i" + OPERATORS[name].rstrip("_"))
    if want.shape == x.shape and want.dtype == x.dtype:
        before = target.data
        after = operation(target, other)
        assert after is target and target.data is before
        same(target, want, name)
    else:
        with pytest.raises((ValueError, TypeError), match="in-place"):
            operation(target, other)
        np.testing.assert_array_equal(target.numpy(), x)


@examples(15)
@given(data=st.data())
def test_clip(data):
    dtype = data.draw(st.sampled_from(REAL))
    x = data.draw(arrays(dtype, small=False))
    shapes = hnp.mutually_broadcastable_shapes(num_shapes=2, base_shape=x.shape, min_side=0, max_dims=3)
    bounds = []
    for shape in data.draw(shapes).input_shapes:
        kinds = [st.none(), elements(dtype), arrays(dtype, shape)]
        bounds.append(data.draw(st.one_of(kinds)))
    low, high = bounds
    if low is not None and high is not None and np.any(np.asarray(low) > np.asarray(high)):
        return
    keywords = {k: v for k, v in (("min", low), ("max", high)) if v is not None or data.draw(st.booleans())}
    compare("clip", x, **keywords)


@pytest.mark.parametrize("name", ["positive", "real", "conj", "clip", "round", "trunc", "floor", "ceil"])
def test_results_have_memory_of_their_own(name):
    for x in (weft.asarray([1, 2]), weft.asarray([1.0, 2.0])):
        y = getattr(weft, name)(x)
        y += 1
        np.testing.assert_array_equal(x.numpy(), [1, 2])


def test_the_parts_of_a_complex_number_are_copies():
    z = weft.asarray(np.array([1 + 2j]))
    for name in ("real", "imag"):
        part = getattr(weft, name)(z)
        part += 5
    assert z.item() == 1 + 2j
    x = weft.asarray([1.0, -2.0])
    np.testing.assert_array_equal(weft.conj(x).numpy(), [1, -2])
    np.testing.assert_array_equal(weft.imag(x).numpy(), [0, 0])


def test_operators_leave_strangers_to_their_own():
    class Stranger:
        def __radd__(self, other):
            return "mine"

        def __rmatmul__(self, other):
            return "mine"

        def __rlshift__(self, other):
            return "mine"

    x = weft.asarray([1, 2])
    assert x + Stranger() == x @ Stranger() == x << Stranger() == "mine"
    with pytest.raises(TypeError):
        x + "1"


def test_errors_name_both_shapes():
    with pytest.raises(ValueError, match=r"hypot: expected shapes that broadcast together, got \(2,\) and \(3,\)"):
        weft.hypot(weft.ones((2,)), weft.ones((3,)))
    with pytest.raises(TypeError, match="bitwise_left_shift"):
        weft.asarray([1.0]) << 1
