"""Inverses, linear systems, determinants, powers, ranks and norms of matrices, with gradients.

Determinants and inverses: Giles, "An extended collection of matrix derivative results" (2008). The pseudoinverse:
Golub and Pereyra, "The differentiation of pseudo-inverses and nonlinear least squares problems" (1973).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from weft.autograd import Tensor, op
from weft.backends import linalg as factors
from weft.backends.array import namespace
from weft.ops.complex import adjoint, adjoint_matrix, is_complex
from weft.ops.decompositions import library, svdvals
from weft.ops.elementwise import floating, promote
from weft.ops.linalg import matmul
from weft.ops.matrices import (
    as_columns,
    as_rows,
    check_matrices,
    check_square,
    diagonal,
    embed,
    off_diagonal,
    vector_norm,
)


class SlogdetResult(NamedTuple):
    """What `slogdet` returns: det(x) = sign exp(logabsdet)."""

    sign: Tensor
    logabsdet: Tensor


@op
def inv(x, /):
    """The inverse of each matrix.  (..., M, M) -> (..., M, M).  ValueError unless square, LinAlgError where singular.

    >>> import weft
    >>> weft.linalg.inv(weft.asarray([[2.0, 0.0], [0.0, 4.0]])).numpy()
    array([[0.5 , 0.  ],
           [0.  , 0.25]], dtype=float32)
    """
    check_square("inv", x)
    x = floating(x)
    y = library(x).inv(x)

    def vjp(g):
        matmul, yh = namespace(g).matmul, adjoint_matrix(y)
        return -matmul(matmul(yh, g), yh)

    return y, (vjp,)


@op
def solve_matrices(a, b):
    a, b = promote(floating(a), floating(b))
    check_square("solve", a)
    if b.ndim < 2 or b.shape[-2] != a.shape[-1]:
        raise ValueError(f"solve: expected (..., M, M) and (M,) or (..., M, K), got {a.shape} and {b.shape}")
    y = library(a, b).solve(a, b)

    def right(g):
        return library(a, g).solve(adjoint_matrix(a), g)

    return y, (lambda g: -namespace(g).matmul(right(g), adjoint_matrix(y)), right)


solve_matrices.body.__name__ = "solve"


def solve(x1: Any, x2: Any, /) -> Any:
    """The y with x1 @ y = x2, for one right side (M,) or for the columns of matrices; leading axes broadcast.

    x1 (..., M, M), x2 (M,) or (..., M, K) -> (..., M) or (..., M, K).  ValueError with both shapes where they do not
    fit, LinAlgError where x1 is singular.

    >>> import weft
    >>> weft.linalg.solve(weft.asarray([[2.0, 0.0], [0.0, 4.0]]), weft.asarray([2.0, 2.0])).numpy()
    array([1. , 0.5], dtype=float32)
    """
    if x2.ndim == 1 and x1.ndim > 1 and x2.shape[0] == x1.shape[-1]:
        return solve_matrices(x1, x2[:, None])[..., 0]
    return solve_matrices(x1, x2)


def cofactors(x: Any) -> Any:
    """The conjugated gradient of the determinant, of singular matrices too; from the singular values.

    For x = U diag(s) Vh it is det(U) det(Vh) U diag(p) Vh, where p_i is the product of all s but s_i.
    """
    u, s, vh = factors.svd(x, full_matrices=False)
    xp, n = namespace(x), s.shape[-1]
    others = off_diagonal(xp.broadcast_to(as_rows(s), (*s.shape, n))) + embed(xp.ones_like(s), n, n)
    phase = adjoint(factors.det(u) * factors.det(vh))
    return xp.matmul(u * as_rows(xp.prod(others, axis=-1)), vh) * as_columns(as_columns(phase))


@op
def det(x, /):
    """The determinant of each matrix.  (..., M, M) -> (...).  ValueError unless square.

    The gradient exists for singular matrices too; the gradient of the gradient needs an inverse.

    >>> import weft
    >>> weft.linalg.det(weft.asarray([[3.0, 0.0], [0.0, 4.0]])).item()
    12.0
    """
    check_square("det", x)
    x = floating(x)
    y = library(x).det(x)

    def vjp(g):
        if type(g) is Tensor:
            return as_columns(as_columns(g * adjoint(y))) * adjoint_matrix(inv(x))
        return as_columns(as_columns(g)) * cofactors(x)

    return y, (vjp,)


@op
def slogdet_arrays(x):
    check_square("slogdet", x)
    x = floating(x)
    sign, log = library(x).slogdet(x)

    def vjp(gs):
        g_sign, g_log = gs
        xp = namespace(*[g for g in gs if g is not None])
        weight = xp.zeros_like(log) if g_log is None else g_log
        if g_sign is not None and is_complex(x):  # the sign turns with the imaginary part of log det
            weight = weight - xp.imag(adjoint(g_sign) * sign) * 1j
        return (as_columns(as_columns(weight)) * adjoint_matrix(library(x, weight).inv(x)),)

    return (sign, log), vjp


slogdet_arrays.body.__name__ = "slogdet"


def slogdet(x: Any, /) -> SlogdetResult:
    """The sign and the logarithm of the absolute value of the determinant of each matrix, without overflow.

    x (..., M, M) -> sign (...), of a complex x a number of length 1; logabsdet (...), real. Of a singular matrix they
    are 0 and -inf, which have no gradient.  ValueError unless x is square.

    >>> import weft
    >>> weft.linalg.slogdet(weft.asarray([[0.0, 1.0], [1.0, 0.0]])).sign.item()
    -1.0
    """
    return SlogdetResult(*slogdet_arrays(x))


@op
def pinv_arrays(x, *, rtol):
    check_matrices("pinv", x)
    x = floating(x)
    y = library(x).pinv(x, rtol=rtol)

    def vjp(g):
        matmul = namespace(g).matmul
        yh, gh = adjoint_matrix(y), adjoint_matrix(g)
        left = matmul(matmul(gh, y), yh)  # (M, N), as all that follow
        right = matmul(yh, matmul(y, gh))
        beyond = left - matmul(matmul(x, y), left) + right - matmul(right, matmul(y, x))
        return beyond - matmul(matmul(yh, g), yh)

    return y, (vjp,)


pinv_arrays.body.__name__ = "pinv"


def raw(rtol: Any) -> Any:
    return rtol.data if isinstance(rtol, Tensor) else rtol


def pinv(x: Any, /, *, rtol: Any = None) -> Any:
    """The Moore-Penrose inverse of each matrix.  (..., M, N) -> (..., N, M)

    rtol: singular values up to rtol times the largest count as 0; a number, or an array (...) with one for each
    matrix; by default max(M, N) times the distance from 1 to the next number. The gradient is that among matrices of
    x's rank.

    >>> import weft
    >>> weft.linalg.pinv(weft.asarray([[2.0, 0.0]])).numpy()
    array([[0.5],
           [0. ]], dtype=float32)
    """
    return pinv_arrays(x, rtol=raw(rtol))


def matrix_rank(x: Any, /, *, rtol: Any = None) -> Tensor:
    """How many singular values of each matrix are more than rtol times the largest; rtol as `pinv` has it.

    (..., M, N) -> (...), int64

    >>> import weft
    >>> weft.linalg.matrix_rank(weft.asarray([[1.0, 2.0], [2.0, 4.0]])).item()
    1
    """
    check_matrices("matrix_rank", x)
    return Tensor(factors.matrix_rank(floating(raw(x)), rtol=raw(rtol)))


def matrix_power(x: Any, n: int, /) -> Any:
    """The product of n copies of each matrix, of its inverse where n < 0; the identity for n = 0.

    (..., M, M) -> (..., M, M).  ValueError unless x is square; TypeError unless n is an int; LinAlgError where the
    inverse does not exist.

    >>> import weft
    >>> weft.linalg.matrix_power(weft.asarray([[1.0, 1.0], [0.0, 1.0]]), 5).numpy()
    array([[1., 5.],
           [0., 1.]], dtype=float32)
    """
    check_square("matrix_power", x)
    if not isinstance(n, int):
        raise TypeError(f"matrix_power: expected a power that is an int, got {type(n).__name__}")
    if n == 0:
        ones = diagonal(x)
        return embed(namespace(ones).ones_like(ones), *x.shape[-2:])
    base, n, out = (inv(x) if n < 0 else x), abs(n), None
    while n:
        if n % 2:
            out = base if out is None else matmul(out, base)
        n //= 2
        if n:
            base = matmul(base, base)
    return out


def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """A norm of each matrix.  (..., M, N) -> (...), or (..., 1, 1) with keepdims; real

    ord: "fro" for the length of all numbers as one vector, "nuc" for the sum of the singular values, 2 for the largest
    and -2 for the smallest of them, 1 and -1 for the largest and smallest sum of sizes of a column, inf and -inf of a
    row.  ValueError for another order.

    >>> import weft
    >>> weft.linalg.matrix_norm(weft.asarray([[1.0, -2.0], [3.0, 4.0]]), ord=1).item()
    6.0
    """
    check_matrices("matrix_norm", x)
    if ord == "fro":
        return vector_norm(x, axis=(-2, -1), keepdims=keepdims)
    if ord == "nuc":
        out = svdvals(x).sum(axis=-1)
    elif ord in (2, -2):
        values = svdvals(x)
        out = values.max(axis=-1) if ord > 0 else values.min(axis=-1)
    elif ord in (1, -1, math.inf, -math.inf):
        sums = vector_norm(x, axis=-2 if abs(ord) == 1 else -1, ord=1)
        out = sums.max(axis=-1) if ord > 0 else sums.min(axis=-1)
    else:
        raise ValueError(f"matrix_norm: expected ord 'fro', 'nuc', 1, -1, 2, -2, inf or -inf, got {ord!r}")
    return out[..., None, None] if keepdims else out
