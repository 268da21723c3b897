"""Rows of a table by index, and sums into rows by index."""

from __future__ import annotations

from typing import Any

from weft.autograd import Tensor, op
from weft.backends import reference as K
from weft.backends.array import namespace
from weft.backends.checks import check


def embedding(indices: Any, weight: Any, *, padding_idx: int | None = None) -> Tensor:
    """The rows of `weight` that `indices` name.

    indices (...) integers in [0, N), weight (N, D) -> (..., D).  padding_idx: a row that receives no gradient.
    IndexError names an index that is out of range, its position and the size of the table.

    >>> import weft
    >>> weft.embedding(weft.asarray([2, 0]), weft.asarray([[1.0], [2.0], [3.0]])).numpy()
    array([[3.],
           [1.]], dtype=float32)
    """
    indices = indices if isinstance(indices, Tensor) else Tensor(indices)
    weight = weight if isinstance(weight, Tensor) else Tensor(weight)
    if weight.ndim != 2:
        raise ValueError(f"embedding: expected weight of shape (N, D), got {weight.shape} for indices {indices.shape}")
    check_indices("embedding", indices.data, weight.shape[0])
    padding_idx = row_of("embedding", padding_idx, weight.shape[0])
    return look_up(indices, weight, padding_idx=padding_idx)


def row_of(name: str, padding_idx: int | None, rows: int) -> int | None:
    """padding_idx counted from the first row, checked."""
    if padding_idx is None:
        return None
    if not -rows <= padding_idx < rows:
        raise ValueError(f"{name}: expected padding_idx within {rows} rows, got {padding_idx}")
    return padding_idx % rows


@op(name="embedding")
def look_up(indices, weight, *, padding_idx):
    """embedding() once its arguments are known to fit."""
    rows = weight.shape[0]

    def weight_grad(g):
        xp = namespace(g)
        if padding_idx is not None:
            g = xp.where(xp.expand_dims(indices, axis=-1) == padding_idx, 0.0, g)
        return K.scatter_add(g, indices, rows=rows)

    return namespace(weight).take(weight, indices, axis=0), (None, weight_grad)


@op
def scatter_add(g, indices, *, rows):
    """Sum the rows of `g` into a table of `rows` rows: row r receives, in order, those whose index is r.

    g (*indices.shape, D), indices (...) integers in [0, rows) -> (rows, D).

    >>> import weft
    >>> weft.scatter_add(weft.ones((3, 2)), weft.asarray([1, 1, 0]), rows=3).numpy()
    array([[1., 1.],
           [2., 2.],
           [0., 0.]], dtype=float32)
    """
    if g.shape[:-1] != indices.shape or not g.ndim:
        raise ValueError(f"scatter_add: expected g of shape (*indices.shape, D), got {g.shape} and {indices.shape}")
    check_indices("scatter_add", indices.data if isinstance(indices, Tensor) else indices, rows)
    return K.scatter_add(g, indices, rows=rows), (lambda z: namespace(z).take(z, indices, axis=0), None)


def check_indices(name: str, indices: Any, rows: int) -> None:
    """Raise TypeError unless indices are integers, IndexError, as `check` does, unless every one lies in [0, rows)."""
    if indices.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected integer indices, got {indices.dtype}")
    check("index", indices, f"{name}: expected indices in [0, {rows})", p=rows)


@op
def scale_gradient(x, factor):
    """x itself; its gradient is multiplied by `factor`, which broadcasts to it."""
    return x, (lambda g: g * factor, None)
