"""The array object of the standard: every form of indexing, assignment, conversion to Python's numbers, devices."""

from __future__ import annotations

import cmath
import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from hypothesis.extra.array_api import make_strategies_namespace

import weft
from standard.strict import ALL, COMPLEX, FLOATS, INTEGERS, arrays, elements, examples, same, shapes

XPS = make_strategies_namespace(weft, api_version="2024.12")


@examples(60)
@given(data=st.data(), x=arrays(ALL, shapes(max_dims=4), small=False))
def test_basic_indices(data, x):
    key = data.draw(hnp.basic_indices(x.shape, allow_newaxis=True))
    same(weft.asarray(x)[key], np.asarray(x[key]), f"{x.shape}[{key}]")


@examples(60)
@given(data=st.data(), x=arrays(ALL, shapes(min_dims=1, max_dims=4, min_side=1), small=False))
def test_integer_arrays(data, x):
    """One array of integers for each of the first axes, with integers and slices among them."""
    shape = data.draw(shapes(max_dims=2))
    key = []
    for n in x.shape[: data.draw(st.integers(1, x.ndim))]:
        dtype = data.draw(st.sampled_from([np.int64, np.int32, np.uint8]))
        low = 0 if dtype is np.uint8 else -n
        array = hnp.arrays(dtype, shape, elements=st.integers(low, n - 1))
        key.append(data.draw(array | st.integers(-n, n - 1) | st.just(slice(None, None, -1))))
    want = x[tuple(key)]
    found = weft.asarray(x)[tuple([weft.asarray(k) if isinstance(k, np.ndarray) else k for k in key])]
    same(found, np.asarray(want), f"{x.shape}[{key}]")


@examples(40)
@given(data=st.data(), x=arrays(ALL, shapes(max_dims=3), small=False))
def test_masks(data, x):
    mask = data.draw(arrays("bool", x.shape[: data.draw(st.integers(0, x.ndim))]))
    same(weft.asarray(x)[weft.asarray(mask)], np.asarray(x[mask]), f"{x.shape}[{mask}]")
    value = data.draw(elements(x.dtype.name, small=False))
    y, want = weft.asarray(x, copy=True), x.copy()
    y[weft.asarray(mask)] = value
    want[mask] = value
    same(y, want, f"{x.shape}[{mask}] = {value}")


@examples(60)
@given(data=st.data(), x=arrays(ALL, shapes(max_dims=4), small=False))
def test_assignment(data, x):
    key = data.draw(hnp.basic_indices(x.shape, allow_newaxis=True))
    shape = np.asarray(x[key]).shape
    value = data.draw(arrays(x.dtype.name, st.sampled_from([(), shape]), small=False) | elements(x.dtype.name))
    y, want = weft.asarray(x, copy=True), x.copy()
    y[key] = weft.asarray(value) if isinstance(value, np.ndarray) else value
    want[key] = value
    same(y, want, f"{x.shape}[{key}] = {value}")


@pytest.mark.parametrize("key, words", [
    (5, "out of bounds"), ((0, 0, 0), "too many indices"), (1.0, "only integers"),
    (np.array([True, False, True]), "boolean index did not match"), (np.array([0.5]), "arrays used as indices"),
], ids=["beyond", "too many", "float", "mask", "floats"])  # fmt: skip
def test_wrong_indices(key, words):
    for act in (lambda x: x[key], lambda x: operator.setitem(x, key, 1.0)):
        with pytest.raises(IndexError, match=words):
            act(weft.ones((2, 3)))


@pytest.mark.parametrize("dtype, value", [("int32", 1.5), ("bool", 1), ("float32", 1j), ("uint8", -1)])
def test_assignment_refuses_what_would_be_cut(dtype, value):
    x = weft.ones((2,), dtype=dtype)
    with pytest.raises((TypeError, OverflowError)):
        x[0] = value
    np.testing.assert_array_equal(x.numpy(), np.ones(2, dtype))


def test_views_are_seen_by_their_array():
    x = weft.zeros((3, 2))
    x[1:][0] = 5.0
    np.testing.assert_array_equal(x.numpy(), [[0, 0], [5, 5], [0, 0]])


@examples(60)
@given(data=st.data(), name=st.sampled_from(ALL))
def test_conversion_to_numbers(data, name):
    value = data.draw(elements(name, small=False))
    x = weft.asarray(np.asarray(value, name))
    exact = x.numpy().item()
    assert bool(x) is bool(exact)
    found = complex(x)
    assert found == exact or (cmath.isnan(found) and cmath.isnan(exact))
    if name in COMPLEX:
        for convert in (int, float):
            with pytest.raises(TypeError):
                convert(x)
        return
    assert float(x) == float(exact) or exact != exact
    if name in INTEGERS:
        assert operator.index(x) == int(x) == exact and type(operator.index(x)) is type(int(x)) is int
        return
    with pytest.raises(TypeError, match="index: expected one integer of no axes"):
        operator.index(x)
    if exact != exact or exact in (np.inf, -np.inf):
        with pytest.raises((ValueError, OverflowError)):
            int(x)
    else:
        assert int(x) == int(exact)


def test_only_one_value_becomes_a_number():
    for convert in (bool, int, float, complex):
        with pytest.raises(ValueError, match=f"{convert.__name__}: expected a Tensor of one value, got shape"):
            convert(weft.ones((2,)))
    with pytest.raises(TypeError, match=r"index: expected one integer .* got int64 of shape \(1,\)"):
        operator.index(weft.ones((1,), dtype=weft.int64))
    assert [10, 20, 30][weft.asarray(1)] == 20 and list(range(5))[weft.asarray(1) : weft.asarray(3)] == [1, 2]


def test_devices():
    x = weft.asarray([1.0, 2.0])
    assert x.to_device("cpu") is x is x.to_device(x.device)
    assert weft.zeros_like(x, device=x.device).device == x.device
    with pytest.raises(ValueError, match="device: expected one of cpu"):
        x.to_device("tpu")


@pytest.mark.parametrize("name", [*ALL])
def test_hypothesis_builds_arrays_of_this_namespace(name):
    """Its strategies use most of what creates, fills and compares arrays, as any library for the standard does."""

    @examples(8)
    @given(x=XPS.arrays(getattr(weft, name), XPS.array_shapes(min_dims=0, min_side=0), fill=st.nothing()))
    def check(x):
        assert isinstance(x, weft.Tensor) and x.dtype == name

    check()


@pytest.mark.parametrize("name", FLOATS)
def test_unique_elements(name):
    @examples(8)
    @given(x=XPS.arrays(getattr(weft, name), 6, unique=True))
    def check(x):
        assert weft.unique_values(x).shape == (6,)

    check()
