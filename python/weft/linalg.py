"""Linear algebra: the `linalg` extension of the Python array API standard, 2024.12, with gradients of any order.

All functions take stacks of matrices (..., M, N), real or complex; types of 16 bits are computed in float32.

>>> import weft
>>> x = weft.asarray([[2.0, 1.0], [1.0, 2.0]])
>>> weft.linalg.eigh(x).eigenvalues.numpy()
array([1., 3.], dtype=float32)
"""

from __future__ import annotations

from weft.backends.linalg import LinAlgError
from weft.ops.decompositions import cholesky, eigh, eigvalsh, qr, svd, svdvals
from weft.ops.linalg import matmul, tensordot, vecdot
from weft.ops.matrices import cross, diagonal, outer, trace, vector_norm
from weft.ops.shape import matrix_transpose
from weft.ops.solving import det, inv, matrix_norm, matrix_power, matrix_rank, pinv, slogdet, solve

__all__ = [
    "LinAlgError",
    "cholesky",
    "cross",
    "det",
    "diagonal",
    "eigh",
    "eigvalsh",
    "inv",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "matrix_transpose",
    "outer",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "svd",
    "svdvals",
    "tensordot",
    "trace",
    "vecdot",
    "vector_norm",
]
