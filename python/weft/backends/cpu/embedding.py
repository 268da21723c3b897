"""Sums of rows by index."""

from __future__ import annotations

import numpy as np

from weft import _cpu
from weft.backends import reference as K


@K.scatter_add.on(np.ndarray, "f[bBhHiIlLqQ]")
def scatter_add(g, indices, *, rows):
    return _cpu.scatter_add(_cpu.in_c_order(g), np.asarray(indices, np.int64, order="C"), rows)
