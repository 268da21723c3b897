"""Random numbers and dropout."""

from __future__ import annotations

import numpy as np

from weft import _cpu
from weft.backends import reference as K
from weft.backends.reference.dropout import keep_scale
from weft.backends.reference.random import threshold


def filling(native, reference):
    """An entry that fills its C-contiguous argument; anything else is the reference's."""

    def fill(out, *, seed, offset):
        if not out.flags.c_contiguous:
            return reference(out, seed=seed, offset=offset)
        native(out, seed, offset)
        return out

    return fill


K.random_bits.on(np.ndarray, "I")(filling(_cpu.random_bits, K.random_bits.reference))
K.random_uniform.on(np.ndarray, "[fd]")(filling(_cpu.random_uniform, K.random_uniform.reference))
K.random_normal.on(np.ndarray, "[fd]")(filling(_cpu.random_normal, K.random_normal.reference))


@K.dropout.on(np.ndarray, "f")
def dropout(x, *, p, seed, offset):
    return _cpu.dropout(np.asarray(x, np.float32, order="C"), threshold(p), keep_scale(p), seed, offset)
