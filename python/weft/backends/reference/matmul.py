"""Products of matrices."""

from __future__ import annotations

import numpy as np

from weft.backends.array import namespace
from weft.backends.reference.precision import computed_wide
from weft.backends.registry import primitive


@primitive
@computed_wide
def matmul(a, b):
    """a (..., M, K), b (..., K, N) -> (..., M, N); leading axes broadcast."""
    return np.matmul(a, b) if type(a) is np.ndarray else namespace(a, b).matmul(a, b)


@primitive
@computed_wide
def linear(x, weight, bias):
    """x (..., I), weight (O, I), bias (O,) or None -> (..., O): x @ weight^T + bias."""
    xp = namespace(x, weight)
    y = xp.matmul(x, xp.matrix_transpose(weight))
    return y if bias is None else y + bias
