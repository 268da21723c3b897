"""array-api-strict, the reference of the Python array API standard, beside Weft: the same call with both, compared."""

from __future__ import annotations

import warnings
from operator import attrgetter
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import weft

strict = pytest.importorskip(
    "array_api_strict", reason="could not import 'array_api_strict' (pip install 'weft[test]')"
)
strict.set_array_api_strict_flags(api_version="2024.12")

SIGNED = ["int8", "int16", "int32", "int64"]
UNSIGNED = ["uint8", "uint16", "uint32", "uint64"]
INTEGERS = SIGNED + UNSIGNED
FLOATS = ["float32", "float64"]
COMPLEX = ["complex64", "complex128"]
REAL = INTEGERS + FLOATS
NUMERIC = REAL + COMPLEX
ALL = ["bool", *NUMERIC]


def examples(number: int) -> settings:
    """The same examples on every machine, as many as a test of the suite can afford."""
    return settings(
        max_examples=number,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )


def elements(dtype: str, small: bool = True) -> st.SearchStrategy[Any]:
    """Numbers of a dtype; floats are small whole ones, so that sums are exact in any order, or odd ones."""
    kind = np.dtype(dtype).kind
    if kind == "b":
        return st.booleans()
    if kind in "iu":
        info = np.iinfo(dtype)
        near = st.integers(max(info.min, -9), 9)
        return near if small else near | st.integers(int(info.min), int(info.max))
    whole = st.integers(-9, 9).map(float)
    odd = whole | st.sampled_from([np.nan, np.inf, -np.inf, -0.0, 0.5])
    floats = whole if small else odd
    return st.builds(complex, floats, floats) if kind == "c" else floats


def shapes(min_dims: int = 0, max_dims: int = 3, min_side: int = 0, max_side: int = 4) -> st.SearchStrategy[Any]:
    return hnp.array_shapes(min_dims=min_dims, max_dims=max_dims, min_side=min_side, max_side=max_side)


@st.composite
def arrays(draw: Any, dtypes: Any = ALL, shape: Any = None, small: bool = True) -> np.ndarray:
    """NumPy arrays of one of `dtypes`, now and then with their axes or their order turned around in memory."""
    dtype = draw(st.sampled_from(dtypes)) if isinstance(dtypes, list) else dtypes
    shape = draw(shapes()) if shape is None else draw(shape) if isinstance(shape, st.SearchStrategy) else shape
    lies = draw(st.sampled_from(["C", "F", "backwards"]))
    x = draw(hnp.arrays(np.dtype(dtype), shape, elements=elements(dtype, small)))
    return np.asfortranarray(x) if lies == "F" and x.ndim > 1 else x[::-1].copy()[::-1] if lies != "C" and x.ndim else x


def axis_of(x: np.ndarray) -> st.SearchStrategy[int]:
    return st.integers(-x.ndim, x.ndim - 1)


def axes_of(x: np.ndarray, none: bool = True) -> st.SearchStrategy[Any]:
    """None, an axis, or several."""
    if not x.ndim:
        return st.none() if none else st.just(())
    tuples = hnp.valid_tuple_axes(x.ndim)
    return st.none() | axis_of(x) | tuples if none else axis_of(x) | tuples


class Dtype(str):
    """The name of a dtype as an argument, for which each library has its own object."""


def changed(tree: Any, namespace: Any, **options: Any) -> Any:
    """A nest of arguments with arrays and dtypes of a library in place of NumPy's and of names."""
    if isinstance(tree, (list, tuple)):
        return type(tree)([changed(t, namespace, **options) for t in tree])
    if isinstance(tree, dict):
        return {k: changed(v, namespace, **options) for k, v in tree.items()}
    if isinstance(tree, Dtype):
        return getattr(namespace, tree)
    return namespace.asarray(tree, **options) if isinstance(tree, np.ndarray) else tree


def values(x: Any) -> Any:
    """A result of either library as NumPy arrays."""
    if isinstance(x, weft.Tensor):
        return np.asarray(x.numpy())
    if isinstance(x, strict._array_object.Array):
        return np.asarray(x._array)
    return np.asarray(x)


def many(x: Any) -> list[Any]:
    return list(x) if isinstance(x, (tuple, list)) else [x]


def same(got: Any, want: Any, what: str, exact: bool = True) -> None:
    """Results equal in dtype, shape and values; `exact`: bit for bit, so that -0.0 is not 0.0."""
    assert len(many(got)) == len(many(want)), what
    for g, w in zip(map(values, many(got)), map(values, many(want))):
        assert g.dtype == w.dtype, f"{what}: {g.dtype}, the standard says {w.dtype}"
        assert g.shape == w.shape, f"{what}: {g.shape}, the standard says {w.shape}"
        if exact or w.dtype.kind in "biu":
            np.testing.assert_array_equal(g, w, what)
            if w.dtype.kind == "f":
                np.testing.assert_array_equal(np.signbit(g[g == 0]), np.signbit(w[w == 0]), f"{what}: signs of zeros")
        else:
            rtol = 1e-5 if w.dtype.itemsize // (1 + (w.dtype.kind == "c")) == 4 else 1e-12
            np.testing.assert_allclose(g, w, rtol, rtol, err_msg=what)


def compare(name: str, *args: Any, exact: bool = True, device: str | None = None, **keywords: Any) -> Any:
    """`name(*args, **keywords)` of both libraries agrees, errors included. -> Weft's result, or None of an error."""
    what = f"{name}({', '.join(map(repr, args))}, {keywords})"
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            want = attrgetter(name)(strict)(*changed(args, strict), **changed(keywords, strict))
        except (ValueError, TypeError, IndexError) as error:
            with pytest.raises((ValueError, TypeError, IndexError)):
                attrgetter(name)(weft)(*changed(args, weft, device=device), **changed(keywords, weft, device=device))
                pytest.fail(f"{what}: expected {error!r}")
            return None
        got = attrgetter(name)(weft)(*changed(args, weft, device=device), **changed(keywords, weft, device=device))
    same(got, want, what, exact)
    return got
