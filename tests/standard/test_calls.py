"""Functions of the standard beside its reference, on drawn arrays of every dtype, empty and 0-d ones too."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from standard.strict import (
    ALL,
    FLOATS,
    NUMERIC,
    REAL,
    SIGNED,
    UNSIGNED,
    Dtype,
    arrays,
    axes_of,
    axis_of,
    compare,
    examples,
    shapes,
)  # fmt: skip

ODD = functools.partial(arrays, small=False)  # NaN, infinities, zeros of both signs, the ends of integers
KEEP = st.booleans()
SOME = shapes(min_dims=1)
FULL = shapes(min_dims=1, min_side=1)


def maybe(draw, keywords):
    """Some of the keywords, the others left at their defaults."""
    return {k: draw(v) for k, v in keywords.items() if draw(st.booleans())}


ROWS = {}


def row(**options):
    """Make a function that draws the arguments of the standard's function of its name a test of that function."""

    def register(drawn):
        ROWS[drawn.__name__] = (drawn, options)
        return drawn

    return register


def promotable(draw, count, dtypes=NUMERIC):
    """`count` dtypes that mix."""
    first = draw(st.sampled_from(dtypes))
    families = [SIGNED, UNSIGNED, FLOATS, [*FLOATS, "complex64", "complex128"], ["bool"]]
    family = draw(st.sampled_from([f for f in families if first in f]))
    return [first, *[draw(st.sampled_from(family)) for _ in range(count - 1)]]


# -- statistics --------------------------------------------------------------------------------------------------------

WIDER = {"i": ["int64"], "u": ["uint64"], "f": ["float64", "complex128"], "c": ["complex128"]}


def statistics(name, dtypes, options, shape=None, exact=False):
    def drawn(draw):
        x = draw(arrays(dtypes, shape))
        keywords = {"axis": axes_of(x), "keepdims": KEEP, **{k: v(x) for k, v in options.items()}}
        return (x,), maybe(draw, keywords)

    drawn.__name__ = name
    row(exact=exact)(drawn)


def wider(x):
    return st.none() | st.sampled_from([x.dtype.name, *WIDER[x.dtype.kind]]).map(Dtype)


def correction(x):
    return st.sampled_from([0, 1, 0.5, 2.0])


full = shapes(min_side=1)
statistics("sum", NUMERIC, {"dtype": wider})
statistics("prod", NUMERIC, {"dtype": wider})
statistics("mean", FLOATS, {})
statistics("var", FLOATS, {"correction": correction})
statistics("std", FLOATS, {"correction": correction})
statistics("max", REAL, {}, full, exact=True)
statistics("min", REAL, {}, full, exact=True)
statistics("all", ALL, {})
statistics("any", ALL, {})
statistics("count_nonzero", ALL, {})


def running(name):
    def drawn(draw):
        x = draw(arrays(NUMERIC, SOME))
        keywords = maybe(draw, {"dtype": wider(x), "include_initial": st.booleans()})
        return (x,), keywords if x.ndim == 1 and draw(st.booleans()) else {**keywords, "axis": draw(axis_of(x))}

    drawn.__name__ = name
    row(exact=False)(drawn)


running("cumulative_sum")
running("cumulative_prod")


@row()
def diff(draw):
    x = draw(arrays(NUMERIC, SOME))
    axis = draw(axis_of(x))
    ends = x.shape[:axis] + (2,) + x.shape[axis + 1 :] if axis >= 0 else x.shape[:axis] + (2,) + x.shape[axis:][1:]
    keywords = maybe(draw, {"n": st.integers(0, 3), "prepend": arrays(x.dtype.name, ends)})
    return (x,), {"axis": axis, **keywords}


# -- searching, sorting, sets ------------------------------------------------------------------------------------------


def extreme(name):
    def drawn(draw):
        x = draw(ODD(REAL, shapes(min_side=1)))
        return (x,), maybe(draw, {"axis": st.none() | axis_of(x) if x.ndim else st.none(), "keepdims": KEEP})

    drawn.__name__ = name
    row()(drawn)


extreme("argmax")
extreme("argmin")


def ordering(name, exact, stable):
    def drawn(draw):
        down = draw(st.booleans())
        x = draw((arrays if down else ODD)(REAL, SOME))  # where NaN goes downwards, the standard leaves open
        return (x,), {"descending": down} | maybe(draw, {"axis": axis_of(x), "stable": stable})

    drawn.__name__ = name
    row(exact=exact)(drawn)


ordering("argsort", True, st.just(True))
ordering("sort", False, st.booleans())  # not exact: the order of -0.0 and 0.0 among themselves


@row()
def nonzero(draw):
    return (draw(ODD()),), {}


@row()
def searchsorted(draw):
    one, two = promotable(draw, 2, REAL)
    x = np.sort(draw(arrays(one, SOME.map(lambda s: s[:1]))))
    keywords = maybe(draw, {"side": st.sampled_from(["left", "right"])})
    if draw(st.booleans()):
        order = draw(st.permutations(range(x.size)))
        sorter = np.argsort(order).astype(np.int64)
        x, keywords["sorter"] = np.ascontiguousarray(x[np.asarray(order, np.int64)]), sorter
    return (x, draw(arrays(two))), keywords


@row()
def where(draw):
    one, two = promotable(draw, 2, ALL)
    three = draw(hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=3, max_side=3)).input_shapes
    return (draw(arrays("bool", three[0])), draw(ODD(one, three[1])), draw(ODD(two, three[2]))), {}


def sets(name):
    def drawn(draw):
        return (draw(ODD()),), {}

    drawn.__name__ = name
    row(exact=False)(drawn)


for name in ("unique_all", "unique_counts", "unique_inverse", "unique_values"):
    sets(name)

# -- indexing ----------------------------------------------------------------------------------------------------------


@row()
def take(draw):
    x = draw(ODD(ALL, FULL))
    axis = draw(axis_of(x))
    n = x.shape[axis]
    indices = draw(hnp.arrays(draw(st.sampled_from([np.int64, np.int32, np.uint8])), shapes(max_dims=1, min_dims=1),
                              elements=st.integers(0, n - 1)))  # fmt: skip
    return (x, indices), {} if x.ndim == 1 and draw(st.booleans()) else {"axis": axis}


@row()
def take_along_axis(draw):
    x = draw(ODD(ALL, FULL))
    axis = draw(axis_of(x))
    shape = list(x.shape)
    shape[axis] = draw(st.integers(0, 5))
    indices = draw(hnp.arrays(np.int64, tuple(shape), elements=st.integers(-x.shape[axis], x.shape[axis] - 1)))
    return (x, indices), {} if axis == -1 and draw(st.booleans()) else {"axis": axis}


# -- manipulation ------------------------------------------------------------------------------------------------------


@row()
def broadcast_arrays(draw):
    drawn = draw(hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=3, max_side=3)).input_shapes
    return tuple([draw(ODD(ALL, shape)) for shape in drawn]), {}


@row()
def broadcast_to(draw):
    drawn = draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3))
    return (draw(ODD(ALL, drawn.input_shapes[0])), drawn.result_shape), {}


@row()
def concat(draw):
    dtypes = promotable(draw, 3)
    shape = list(draw(SOME))
    axis = draw(st.none() | st.integers(-len(shape), len(shape) - 1))
    parts = []
    for dtype in dtypes:
        shape[axis or 0] = draw(st.integers(0, 3))
        parts.append(draw(ODD(dtype, tuple(shape))))
    return (parts,), {} if axis == 0 and draw(st.booleans()) else {"axis": axis}


@row()
def stack(draw):
    shape = draw(shapes())
    parts = [draw(ODD(dtype, shape)) for dtype in promotable(draw, 3)]
    return (parts,), maybe(draw, {"axis": st.integers(-len(shape) - 1, len(shape))})


@row()
def unstack(draw):
    x = draw(ODD(ALL, SOME))
    return (x,), maybe(draw, {"axis": axis_of(x)})


@row()
def expand_dims(draw):
    x = draw(ODD())
    return (x,), {"axis": draw(st.integers(-x.ndim - 2, x.ndim + 1))}  # some that there are not


@row()
def squeeze(draw):
    x = draw(ODD(ALL, shapes(max_side=2)))
    return (x, draw(axes_of(x, none=False))), {}


@row()
def flip(draw):
    x = draw(ODD())
    return (x,), maybe(draw, {"axis": axes_of(x)})


@row()
def roll(draw):
    x = draw(ODD())
    axis = draw(axes_of(x))
    by = st.integers(-7, 7)
    shift = tuple([draw(by) for _ in axis]) if isinstance(axis, tuple) and axis else draw(by)
    return (x, shift), {"axis": axis}


@row()
def moveaxis(draw):
    x = draw(ODD(ALL, SOME))
    places = draw(hnp.valid_tuple_axes(x.ndim))
    to = draw(st.permutations(range(x.ndim)))[: len(places)]
    return (x, draw(axis_of(x)), draw(axis_of(x))) if draw(st.booleans()) else (x, places, tuple(to)), {}


@row()
def permute_dims(draw):
    x = draw(ODD())
    return (x, tuple(draw(st.permutations(range(x.ndim))))), {}


@row()
def repeat(draw):
    x = draw(ODD())
    axis = draw(st.none() | axis_of(x)) if x.ndim else None
    n = x.size if axis is None else x.shape[axis]
    each = hnp.arrays(
        draw(st.sampled_from([np.int64, np.int32])), st.sampled_from([(n,), (1,)]), elements=st.integers(0, 3)
    )
    return (x, draw(st.integers(0, 3) | each)), {} if axis is None and draw(st.booleans()) else {"axis": axis}


@row()
def reshape(draw):
    x = draw(ODD())
    shape = draw(st.permutations(x.shape)) if x.ndim else []
    if draw(st.booleans()):
        shape = [*shape, 1]
    if shape and x.size and draw(st.booleans()):
        shape[draw(st.integers(0, len(shape) - 1))] = -1
    return (x, tuple(shape)), maybe(draw, {"copy": st.sampled_from([None, True])})


@row()
def tile(draw):
    return (draw(ODD()), tuple(draw(st.lists(st.integers(0, 3), max_size=4)))), {}


def triangle(name):
    def drawn(draw):
        return (draw(ODD(NUMERIC, shapes())),), maybe(draw, {"k": st.integers(-5, 5)})

    drawn.__name__ = name
    row()(drawn)


triangle("tril")
triangle("triu")


@row()
def meshgrid(draw):
    dtype = draw(st.sampled_from(NUMERIC))
    vectors = [draw(arrays(dtype, (draw(st.integers(0, 4)),))) for _ in range(draw(st.integers(0, 3)))]
    return tuple(vectors), maybe(draw, {"indexing": st.sampled_from(["xy", "ij"])})


@row(exact=False)
def astype(draw):
    x = draw(arrays(ALL))
    whole = np.asarray(np.abs(x)) if x.dtype.kind in "if" else x  # negative numbers are not those of unsigned types
    return (whole, Dtype(draw(st.sampled_from(ALL)))), maybe(draw, {"copy": st.booleans()})


def check(name, data, **options):
    drawn, fixed = ROWS[name]
    args, keywords = drawn(data.draw)
    return compare(name, *args, **fixed, **options, **keywords)


@pytest.mark.parametrize("name", ROWS)
@examples(12)
@given(data=st.data())
def test_as_the_reference(name, data):
    check(name, data)


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
@examples(300)
@given(data=st.data())
def test_as_the_reference_at_length(name, data):
    check(name, data)
