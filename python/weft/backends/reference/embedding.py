"""scatter_add: the gradient of a table look-up."""

from __future__ import annotations

import numpy as np

from weft.backends.array import namespace, ndarray
from weft.backends.registry import primitive


@primitive
def scatter_add(g, indices, *, rows):
    """g (*indices.shape, D), indices (...) integers in [0, rows) -> (rows, D).

    Row r is the sum, in order, of the rows of g whose index is r; 16-bit types are summed in float32.
    """
    if type(g) is not ndarray:  # on Tensors the recorded op of the same name, linear in g
        return namespace(g).scatter_add(g, indices, rows=rows)
    D = g.shape[-1]
    out = np.zeros((rows, D), np.promote_types(g.dtype, np.float32))
    flat, parts = np.asarray(indices).reshape(-1), g.reshape(-1, D)
    for turn in turns(flat):
        out[flat[turn]] += parts[turn]
    return out.astype(g.dtype, copy=False)


def turns(flat):
    """Positions in `flat` in groups without repeated values: the first of every value, then the second, and so on."""
    n = flat.size
    order = np.argsort(flat, kind="stable")
    first = np.flatnonzero(np.diff(flat[order], prepend=-1))  # where a new value begins
    turn = np.arange(n) - np.repeat(first, np.diff(first, append=n))
    return np.split(order[np.argsort(turn, kind="stable")], np.cumsum(np.bincount(turn))[:-1]) if n else []
