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
    flat = np.asarray(indices).reshape(-1)
    if flat.size:
        order = np.argsort(flat, kind="stable")
        flat = flat[order]
        starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
        out[flat[starts]] = np.add.reduceat(g.reshape(-1, D)[order].astype(out.dtype, copy=False), starts, axis=0)
    return out.astype(g.dtype, copy=False)
