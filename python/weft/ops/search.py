"""Positions found by value: of what is not 0, of where values belong, of what occurs."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from weft.autograd import Tensor, op
from weft.backends.array import is_16_bit, namespace
from weft.backends.device import beside, check_together
from weft.ops.complex import check_ordered
from weft.ops.dtypes import promoted, result_type
from weft.ops.index import as_indices, take
from weft.ops.shape import reshape


def raw(x: Any) -> Any:
    return x.data if isinstance(x, Tensor) else x


def comparable(x: Any) -> Any:
    """A raw array whose values sort as those of x, in a type that every array library sorts."""
    x = raw(x)
    return namespace(x).astype(x, np.dtype(np.float32)) if is_16_bit(x.dtype) else x


@op
def nonzero(x, /):
    """The positions of the values that are not 0, in C order: one array of integers for each axis.

    ValueError for a 0-d array.

    >>> import weft
    >>> [i.numpy() for i in weft.nonzero(weft.asarray([[0, 5], [6, 0]]))]
    [array([0, 1]), array([1, 0])]
    """
    if not x.ndim:
        raise ValueError("nonzero: expected at least one axis, got a 0-d array")
    x = raw(x)
    return tuple(np.nonzero(x if x.dtype.kind == "b" else namespace(x).not_equal(x, 0))), None


@op
def places(x1, x2, *, side):
    return np.searchsorted(comparable(x1), comparable(x2), side=side), None


places.body.__name__ = "searchsorted"


def searchsorted(x1: Any, x2: Any, /, *, side: str = "left", sorter: Any = None) -> Tensor:
    """Where the values x2, of any shape, would have to go in the sorted vector x1 for it to stay sorted.

    side: "left" before equal values, "right" after them. sorter: positions that sort x1, if it is not.  -> integers of
    x2's shape.  ValueError for another side, or for x1 that is no vector.

    >>> import weft
    >>> weft.searchsorted(weft.asarray([1.0, 2.0, 2.0]), weft.asarray([2.0, 0.5]), side="right").numpy()
    array([3, 0])
    """
    if side not in ("left", "right"):
        raise ValueError(f"searchsorted: expected side 'left' or 'right', got {side!r}")
    if x1.ndim != 1:
        raise ValueError(f"searchsorted: expected a sorted vector, got shape {x1.shape}")
    if sorter is not None:
        x1 = take(x1, as_indices(sorter, x1, "searchsorted"), axis=0)
    if isinstance(x2, (bool, int, float)):
        x2 = Tensor(beside(np.asarray(x2, result_type(x1, x2)), x1))
    check_ordered("searchsorted", raw(x1), raw(x2))
    check_together("searchsorted", (raw(x1), raw(x2)))
    promoted(x1.dtype, x2.dtype)  # refuses what does not mix
    return places(x1, x2, side=side)


class UniqueAll(NamedTuple):
    """What `unique_all` finds."""

    values: Any
    indices: Any
    inverse_indices: Any
    counts: Any


class UniqueCounts(NamedTuple):
    """What `unique_counts` finds."""

    values: Any
    counts: Any


class UniqueInverse(NamedTuple):
    """What `unique_inverse` finds."""

    values: Any
    inverse_indices: Any


def unique(x: Any, **wanted: bool) -> list[Tensor]:
    """The distinct values of x, sorted, and what else is wanted of NumPy's function of that name.

    The values are taken from x, so they are recorded; of equal ones the first receives the gradient.
    """
    flat = reshape(x, (x.size,))
    found: Any = np.unique  # of whatever device
    _, first, *others = found(comparable(flat), return_index=True, equal_nan=False, **wanted)
    return [take(flat, Tensor(first), axis=0), Tensor(first), *map(Tensor, others)]


def unique_all(x: Any, /) -> UniqueAll:
    """The distinct values of x, sorted, where each occurs first, which of them every value is, and how often it occurs.

    x of any shape -> values (n,), indices (n,) into the flat x, inverse_indices in x's shape, counts (n,). No NaN
    equals another; -0 and 0 are equal.

    >>> import weft
    >>> weft.unique_all(weft.asarray([3, 1, 3])).counts.numpy()
    array([1, 2])
    """
    values, indices, inverse, counts = unique(x, return_inverse=True, return_counts=True)
    return UniqueAll(values, indices, reshape(inverse, x.shape), counts)


def unique_counts(x: Any, /) -> UniqueCounts:
    """The distinct values of x, sorted, and how often each occurs: both (n,). NaN and -0 as in `unique_all`.

    >>> values, counts = weft.unique_counts(weft.asarray([2, 1, 2]))
    >>> values.numpy(), counts.numpy()
    (array([1, 2]), array([1, 2]))
    """
    values, _, counts = unique(x, return_counts=True)
    return UniqueCounts(values, counts)


def unique_inverse(x: Any, /) -> UniqueInverse:
    """The distinct values of x, sorted (n,), and which of them every value is, in x's shape. NaN as in `unique_all`.

    >>> values, inverse = weft.unique_inverse(weft.asarray([2, 1, 2]))
    >>> values.numpy(), inverse.numpy()
    (array([1, 2]), array([1, 0, 1]))
    """
    values, _, inverse = unique(x, return_inverse=True)
    return UniqueInverse(values, reshape(inverse, x.shape))


def unique_values(x: Any, /) -> Tensor:
    """The distinct values of x, sorted: (n,). NaN and -0 as in `unique_all`.

    >>> weft.unique_values(weft.asarray([2, 1, 2])).numpy()
    array([1, 2])
    """
    return unique(x)[0]
