"""Sums of rows by index."""

from __future__ import annotations

import numpy as np

from weft import _cpu
from weft.backends import reference as K


@K.scatter_add.on(np.ndarray, "f[bBhHiIlLqQ]")
def scatter_add(g, indices, *, rows):
    return _cpu.scatter_add(np.asarray(g, np.float32, order="C"), np.asarray(indices, np.int64, order="C"), rows)
