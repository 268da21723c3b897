"""Arrays from nothing and from others, by the standard: dtypes, values, devices, copies, errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import weft
from standard.strict import ALL, INTEGERS, NUMERIC, arrays, elements, examples, same, shapes, strict

DEFAULTS = {bool: "bool", int: "int64", float: "float32", complex: "complex64"}


@examples(40)
@given(data=st.data(), dtype=st.sampled_from(ALL), shape=shapes(), device=st.sampled_from([None, "cpu"]))
def test_filled(data, dtype, shape, device):
    value = data.draw(elements(dtype, small=False))
    for name, args in (("zeros", ()), ("ones", ()), ("full", (value,))):
        got = getattr(weft, name)(shape, *args, dtype=getattr(weft, dtype), device=device)
        same(got, getattr(strict, name)(shape, *args, dtype=getattr(strict, dtype)), name)
        like = getattr(weft, f"{name}_like")(got, *args, device=device)
        same(like, getattr(strict, name)(shape, *args, dtype=getattr(strict, dtype)), f"{name}_like")
        other = getattr(weft, f"{name}_like")(weft.ones(shape), *args, dtype=getattr(weft, dtype))
        same(other, getattr(strict, name)(shape, *args, dtype=getattr(strict, dtype)), f"{name}_like, dtype")
    for x in (weft.empty(shape, dtype=getattr(weft, dtype)), weft.empty_like(weft.zeros(shape, dtype=dtype))):
        assert (x.shape, x.dtype, x.device) == (shape, dtype, "cpu")


def test_default_dtypes():
    for name in ("zeros", "ones", "empty"):
        assert getattr(weft, name)(3).dtype == weft.float32 and getattr(weft, name)(3).shape == (3,)
    for value in (True, 2, 2.0, 2j):
        for x in (weft.full((2,), value), weft.asarray(value), weft.asarray([[value]]), weft.asarray((value, False))):
            assert x.dtype == DEFAULTS[type(value)], value
    assert weft.eye(2).dtype == weft.linspace(0, 1, 3).dtype == weft.float32
    assert weft.linspace(0, 1j, 3).dtype == weft.complex64
    assert weft.arange(3).dtype == weft.int64 and weft.arange(3.0).dtype == weft.arange(0, 3, 0.5).dtype == weft.float32


INTEGER = st.integers(-20, 20)


@examples(60)
@given(start=INTEGER, stop=st.none() | INTEGER, step=INTEGER.filter(bool), scale=st.sampled_from([1, 0.5]),
       dtype=st.sampled_from([None, *INTEGERS, "float32", "float64"]))  # fmt: skip
def test_arange(start, stop, step, scale, dtype):
    start, stop, step = start * scale, None if stop is None else stop * scale, step * scale
    first, last = (0, start) if stop is None else (start, stop)
    count = max(math.ceil((last - first) / step), 0)
    ends = (first, first + (count - 1) * step) if count else ()
    if dtype in INTEGERS and scale != 1:
        with pytest.raises(TypeError, match="arange: expected values that"):
            weft.arange(start, stop, step, dtype=dtype)
    elif dtype in INTEGERS and any(not np.iinfo(dtype).min <= e <= np.iinfo(dtype).max for e in ends):
        with pytest.raises(OverflowError, match=f"arange: expected numbers that fit {dtype}, got"):
            weft.arange(start, stop, step, dtype=dtype)
    else:
        got = weft.arange(start, stop, step, dtype=dtype)
        assert got.dtype == (dtype or ("int64" if scale == 1 else "float32")) and got.shape == (count,)
        np.testing.assert_array_equal(got.numpy(), [first + i * step for i in range(count)])


def test_arange_reaches_the_ends_of_integers():
    ends = (0, 2**64 - 1, 2**61)
    np.testing.assert_array_equal(weft.arange(*ends, dtype=weft.uint64).numpy(), np.array(range(*ends), np.uint64))
    low = range(2**63 - 5, 2**63)
    np.testing.assert_array_equal(weft.arange(2**63 - 5, 2**63, dtype=weft.int64).numpy(), np.array(low, np.int64))
    np.testing.assert_array_equal(weft.arange(3, -1, -1, dtype=weft.uint8).numpy(), [3, 2, 1, 0])
    with pytest.raises(OverflowError, match="fit int64"):
        weft.arange(2**63, 2**63 + 2)


@examples(30)
@given(start=INTEGER, stop=INTEGER, num=st.integers(0, 8), endpoint=st.booleans(),
       dtype=st.sampled_from(["float32", "float64", "complex64"]))  # fmt: skip
def test_linspace(start, stop, num, endpoint, dtype):
    got = weft.linspace(start, stop, num, endpoint=endpoint, dtype=getattr(weft, dtype))
    want = strict.linspace(start, stop, num, endpoint=endpoint, dtype=getattr(strict, dtype))
    same(got, want, "linspace", exact=False)


@examples(30)
@given(n_rows=st.integers(0, 5), n_cols=st.none() | st.integers(0, 5), k=st.integers(-6, 6) | st.just(10**30),
       dtype=st.sampled_from(NUMERIC))  # fmt: skip
def test_eye(n_rows, n_cols, k, dtype):
    got = weft.eye(n_rows, n_cols, k=k, dtype=getattr(weft, dtype))
    same(got, strict.eye(n_rows, n_cols, k=k, dtype=getattr(strict, dtype)), "eye")


@examples(40)
@given(data=st.data(), dtype=st.sampled_from(ALL), shape=shapes(min_side=1))
def test_asarray_of_nested_numbers(data, dtype, shape):
    x = data.draw(arrays(dtype, shape, small=False))
    numbers = x.tolist()
    got = weft.asarray(numbers, dtype=getattr(weft, dtype))
    same(got, strict.asarray(numbers, dtype=getattr(strict, dtype)), "asarray")
    assert weft.asarray(numbers).dtype == DEFAULTS[type(x.flat[0].item())]


def test_float64_numbers_keep_their_digits():
    assert weft.asarray([0.1], dtype=weft.float64).item() == 0.1
    assert weft.asarray(np.array([0.1])).item() == weft.asarray(memoryview(np.array([0.1]))).item() == 0.1
    assert weft.asarray(2**63 + 1, dtype=weft.uint64).item() == 2**63 + 1


def test_copies():
    source = np.array([1.0, 2.0], "f")
    shared, copied = weft.asarray(source), weft.asarray(source, copy=True)
    source[0] = 7
    assert shared.numpy()[0] == 7 and copied.numpy()[0] == 1
    x = weft.asarray([1.0, 2.0])
    assert weft.asarray(x) is x is weft.asarray(x, copy=False, dtype=weft.float32)
    for dtype in (None, weft.float32):
        y = weft.asarray(x, copy=True, dtype=dtype)
        x[0] = x[0] + 1
        assert y.numpy()[0] + 1 == x.numpy()[0]
    for wrong in (lambda: weft.asarray([1.0], copy=False), lambda: weft.asarray(1, copy=False),
                  lambda: weft.asarray(x, dtype=weft.float64, copy=False),
                  lambda: weft.asarray([x, x], copy=False)):  # fmt: skip
        with pytest.raises(ValueError, match="asarray: expected copy allowed"):
            wrong()


def test_copies_are_recorded():
    x = weft.Tensor(np.array([1.0, 2.0], "f"), requires_grad=True)
    y = weft.asarray(x, copy=True) * 2 + weft.asarray(x, dtype=weft.float64)
    (y + weft.asarray([x[0], [x[1]][0]])).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [4, 4])


def test_lists_of_tensors():
    x = weft.asarray([1.0, 2.0])
    got = weft.asarray([[x, [3, 4]], [x, x]])
    np.testing.assert_array_equal(got.numpy(), [[[1, 2], [3, 4]], [[1, 2], [1, 2]]])
    assert got.dtype == weft.float32


def test_other_objects_keep_their_dtype():
    class Exporting:
        def __array__(self, dtype=None, copy=None):
            return np.array([1.0, 2.0])

    assert weft.asarray(Exporting()).dtype == weft.float64  # an array's float64 is meant; Python's floats are weak
    assert weft.asarray(np.float64(1.5)).dtype == weft.float64


@pytest.mark.parametrize("call, words", [
    (lambda: weft.full((2,), 1.5, dtype=weft.int32), "full: expected values that int32 can hold, got floating"),
    (lambda: weft.full((2,), 1j, dtype=weft.float32), "full: expected values that float32 can hold, got complex"),
    (lambda: weft.full_like(weft.ones(2, dtype=weft.int8), 1.5), "full_like: expected values that int8 can hold"),
    (lambda: weft.asarray(["a"]), "expected numbers"),
])  # fmt: skip
def test_what_would_be_cut_is_refused(call, words):
    with pytest.raises(TypeError, match=words):
        call()


def test_numbers_that_do_not_fit():
    for call in (lambda: weft.full((2,), 300, dtype=weft.uint8), lambda: weft.asarray([300], dtype=weft.uint8)):
        with pytest.raises(OverflowError):
            call()


def test_fill_values_may_be_arrays_of_one():
    x = weft.full((2,), weft.asarray(3, dtype=weft.int16))
    assert x.dtype == weft.int16 and x.tolist() == [3, 3]


@pytest.mark.parametrize("name", ["zeros", "ones", "empty", "full", "arange", "linspace", "eye", "asarray"])
def test_unknown_devices(name):
    args = {"full": ((2,), 1), "arange": (3,), "linspace": (0, 1, 3), "eye": (2,), "asarray": ([1],)}.get(name, ((2,),))
    with pytest.raises(ValueError, match="device: expected one of cpu, emulated.*got 'tpu'"):
        getattr(weft, name)(*args, device="tpu")


def test_meshgrid_owns_its_memory_and_is_recorded():
    x = weft.Tensor(np.array([1.0, 2.0], "f"), requires_grad=True)
    a, b = weft.meshgrid(x, weft.asarray([1.0, 2.0, 3.0]))
    (a * b).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [6, 6])
    p, _ = weft.meshgrid(weft.arange(2), weft.arange(3))
    p[0, 0] = 9
    assert p.tolist() == [[9, 1], [0, 1], [0, 1]]
    with pytest.raises(ValueError, match="meshgrid: expected indexing 'xy' or 'ij', got 'yx'"):
        weft.meshgrid(x, indexing="yx")
    with pytest.raises(ValueError, match=r"meshgrid: expected vectors, got shapes \[\(2, 2\)\]"):
        weft.meshgrid(weft.ones((2, 2)))
