"""Factorizations of matrices and their gradients, for stacks of matrices, real or complex.

Cholesky: Murray, "Differentiation of the Cholesky decomposition" (2016). QR: Walter and Lehmann, "Algorithmic
differentiation of linear algebra functions with application in optimum experimental design" (2010). Eigenvalues and
singular values: Giles, "An extended collection of matrix derivative results" (2008), and for complex numbers Wan and
Zhang, "Automatic differentiation for complex valued SVD" (2019).

Vectors that belong to one value (of eigh, of svd) are given up to a factor of length 1, and gradients are right for
losses that do not depend on it. Where values coincide, or a singular value is 0, the gradient of the vectors does not
exist, and what comes is infinite or NaN; the gradient of the values alone stays finite.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from weft.autograd import Tensor, op
from weft.backends import linalg as factors
from weft.backends.array import namespace
from weft.ops.complex import adjoint_matrix, is_complex
from weft.ops.elementwise import floating
from weft.ops.matrices import as_columns, as_rows, check_matrices, check_square, embed, hermitian, off_diagonal


class EighResult(NamedTuple):
    """What `eigh` returns: x = V diag(w) V^H with w = eigenvalues, V = eigenvectors."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class QRResult(NamedTuple):
    """What `qr` returns: x = Q R."""

    Q: Tensor
    R: Tensor


class SVDResult(NamedTuple):
    """What `svd` returns: x = U diag(S) Vh."""

    U: Tensor
    S: Tensor
    Vh: Tensor


def library(*arrays: Any) -> Any:
    """Whose factorizations run: `weft.linalg` where a body is replayed on Tensors, else the array library's."""
    if any([type(x) is Tensor for x in arrays]):
        from weft import linalg

        return linalg
    return factors


def real_part(x: Any) -> Any:
    return namespace(x).real(x) if is_complex(x) else x


# -- Cholesky ----------------------------------------------------------------------------------------------------------


@op
def lower_factor(x):
    check_square("cholesky", x)
    x = floating(x)
    y = library(x).cholesky(x)

    def vjp(g):
        xp, lib = namespace(g), library(g, y)
        up = adjoint_matrix(y)
        inner = xp.matmul(up, xp.tril(g))
        inner = xp.tril(inner) - embed(diagonal_of(inner), *inner.shape[-2:]) * 0.5
        left = lib.solve(up, inner)  # then L^-H inner L^-1
        return hermitian(adjoint_matrix(lib.solve(up, adjoint_matrix(left))))

    return y, (vjp,)


lower_factor.body.__name__ = "cholesky"


def cholesky(x: Any, /, *, upper: bool = False) -> Any:
    """The lower triangular L with x = L L^H, or with `upper` the upper U with x = U^H U, of each matrix.

    x: symmetric (Hermitian) and positive definite; its lower triangle is read. (..., M, M) -> (..., M, M).  The
    gradient is symmetric (Hermitian).  ValueError unless x is square; LinAlgError where it is not positive definite.

    >>> import weft
    >>> weft.linalg.cholesky(weft.asarray([[4.0, 2.0], [2.0, 5.0]])).numpy()
    array([[2., 0.],
           [1., 2.]], dtype=float32)
    """
    y = lower_factor(x)
    return adjoint_matrix(y) if upper else y


def diagonal_of(x: Any) -> Any:
    """The main diagonal, of an array or a Tensor."""
    if type(x) is Tensor:
        from weft.ops.matrices import diagonal

        return diagonal(x)
    return namespace(x).diagonal(x, 0, -2, -1)


# -- QR ----------------------------------------------------------------------------------------------------------------


def qr_square_backward(q: Any, r: Any, gq: Any, gr: Any) -> Any:
    """The gradient of a matrix at least as high as wide, from those of q (..., M, N) and r (..., N, N)."""
    xp = namespace(gq)
    inner = xp.matmul(xp.triu(gr), adjoint_matrix(r)) - xp.matmul(adjoint_matrix(q), gq)
    above = xp.triu(inner, k=1)
    folded = above + adjoint_matrix(above) + embed(real_part(diagonal_of(inner)), *inner.shape[-2:])
    sides = gq + xp.matmul(q, folded)  # times R^-H
    return adjoint_matrix(library(sides, r).solve(r, adjoint_matrix(sides)))


@op
def qr_arrays(x, *, mode):
    check_matrices("qr", x)
    x = floating(x)
    q, r = library(x).qr(x, mode=mode)
    rows, columns = x.shape[-2:]

    def vjp(gs):
        xp = namespace(*[g for g in gs if g is not None])
        gq, gr = (xp.zeros_like(y) if g is None else g for g, y in zip(gs, (q, r)))
        if rows >= columns:
            first = q[..., :columns]
            if q.shape[-1] > columns:  # the columns that complete q follow the others, and have no motion of their own
                rest, g_rest = q[..., columns:], gq[..., columns:]
                gq = gq[..., :columns] - xp.matmul(rest, xp.matmul(adjoint_matrix(g_rest), first))
            return qr_square_backward(first, r[..., :columns, :], gq, gr[..., :columns, :])
        beyond, g_beyond = x[..., rows:], gr[..., rows:]  # r beyond its square is q^H times x
        gq = gq + xp.matmul(beyond, adjoint_matrix(g_beyond))
        square = qr_square_backward(q, r[..., :rows], gq, gr[..., :rows])
        return xp.concat([square, xp.matmul(q, g_beyond)], axis=-1)

    return (q, r), lambda gs: (vjp(gs),)


qr_arrays.body.__name__ = "qr"


def qr(x: Any, /, *, mode: str = "reduced") -> QRResult:
    """Q with orthonormal columns and upper triangular R, whose product is x, of each matrix.

    x (..., M, N), K = min(M, N) -> Q (..., M, K), R (..., K, N); with mode="complete" Q (..., M, M), R (..., M, N).
    The gradient needs the first K columns of x to be linearly independent.  ValueError for another mode.

    >>> import weft
    >>> Q, R = weft.linalg.qr(weft.asarray([[3.0, 1.0], [4.0, 2.0]]))
    >>> abs(R).numpy().round(3)
    array([[5. , 2.2],
           [0. , 0.4]], dtype=float32)
    """
    if mode not in ("reduced", "complete"):
        raise ValueError(f"qr: expected mode 'reduced' or 'complete', got {mode!r}")
    return QRResult(*qr_arrays(x, mode=mode))


# -- eigenvalues -------------------------------------------------------------------------------------------------------


@op
def eigh_arrays(x):
    check_square("eigh", x)
    x = floating(x)
    w, v = library(x).eigh(x)

    def vjp(gs):
        gw, gv = gs
        xp = namespace(*[g for g in gs if g is not None])
        if gv is None:
            return (xp.matmul(v * as_rows(gw), adjoint_matrix(v)),)
        gaps = as_rows(w) - as_columns(w)
        gaps = gaps + embed(xp.ones_like(w), *gaps.shape[-2:])
        inner = off_diagonal(xp.matmul(adjoint_matrix(v), gv)) / gaps
        if gw is not None:
            inner = inner + embed(gw, *gaps.shape[-2:])
        return (hermitian(xp.matmul(xp.matmul(v, inner), adjoint_matrix(v))),)

    return (w, v), vjp


eigh_arrays.body.__name__ = "eigh"


def eigh(x: Any, /) -> EighResult:
    """The eigenvalues, smallest first, and eigenvectors (columns) of each symmetric (Hermitian) matrix.

    x (..., M, M), of which the lower triangle is read -> eigenvalues (..., M), real; eigenvectors (..., M, M). The
    gradient is symmetric (Hermitian); that of vectors needs eigenvalues that differ.  ValueError unless x is square,
    LinAlgError for NaN and infinities.

    >>> import weft
    >>> weft.linalg.eigh(weft.asarray([[2.0, 1.0], [1.0, 2.0]])).eigenvalues.numpy()
    array([1., 3.], dtype=float32)
    """
    return EighResult(*eigh_arrays(x))


@op
def eigvalsh(x, /):
    """The eigenvalues of each symmetric (Hermitian) matrix, smallest first.  (..., M, M) -> (..., M), real

    Its gradient is finite where eigenvalues coincide, too.

    >>> weft.linalg.eigvalsh(weft.asarray([[2.0, 0.0], [0.0, 1.0]])).numpy()
    array([1., 2.], dtype=float32)
    """
    check_square("eigvalsh", x)
    x = floating(x)
    w = library(x).eigvalsh(x)

    def vjp(g):
        _, v = library(x, g).eigh(x)
        return namespace(g).matmul(v * as_rows(g), adjoint_matrix(v))

    return w, (vjp,)


# -- singular values ---------------------------------------------------------------------------------------------------


def completed(g: Any, whole: Any, k: int) -> Any:
    """The gradient of the first k columns of a unitary matrix, from that of all: the others follow them."""
    if whole.shape[-1] == k:
        return g
    xp = namespace(g)
    first, rest = whole[..., :k], whole[..., k:]
    return g[..., :k] - xp.matmul(rest, xp.matmul(adjoint_matrix(g[..., k:]), first))


def svd_backward(u: Any, s: Any, v: Any, gu: Any, gs: Any, gv: Any) -> Any:
    """The gradient of u diag(s) v^H, from those of u (..., M, K), s (..., K) and v (..., N, K); None is zero."""
    xp = namespace(*[g for g in (gu, gs, gv) if g is not None])
    vh, k = adjoint_matrix(v), s.shape[-1]
    if gu is None and gv is None:
        return xp.matmul(u * as_rows(gs), vh)

    def turning(w: Any, g: Any) -> Any:
        inner = xp.matmul(adjoint_matrix(w), g)
        return inner - adjoint_matrix(inner)

    squares = s * s
    gaps = as_rows(squares) - as_columns(squares)
    gaps = gaps + embed(xp.ones_like(s), k, k)
    inner = None if gs is None else embed(gs, k, k)
    for g, w, scale in ((gu, u, as_rows(s)), (gv, v, as_columns(s))):
        if g is not None:
            part = off_diagonal(turning(w, g)) / gaps * scale
            inner = part if inner is None else inner + part
    if is_complex(u) and gu is not None:  # the phases: those of v stand still, and u's turn with x
        inner = inner + embed(diagonal_of(turning(u, gu)) / (s * 2), k, k)
    whole = xp.matmul(xp.matmul(u, inner), vh)
    if gu is not None and u.shape[-2] > k:
        beside = gu - xp.matmul(u, xp.matmul(adjoint_matrix(u), gu))
        whole = whole + xp.matmul(beside / as_rows(s), vh)
    if gv is not None and v.shape[-2] > k:
        beside = gv - xp.matmul(v, xp.matmul(vh, gv))
        whole = whole + xp.matmul(u / as_rows(s), adjoint_matrix(beside))
    return whole


@op
def svd_arrays(x, *, full_matrices):
    check_matrices("svd", x)
    x = floating(x)
    u, s, vh = library(x).svd(x, full_matrices=full_matrices)
    k = s.shape[-1]

    def vjp(gs):
        gu, g, gvh = gs
        v = adjoint_matrix(vh)
        gu = None if gu is None else completed(gu, u, k)
        gv = None if gvh is None else completed(adjoint_matrix(gvh), v, k)
        return (svd_backward(u[..., :k], s, v[..., :k], gu, g, gv),)

    return (u, s, vh), vjp


svd_arrays.body.__name__ = "svd"


def svd(x: Any, /, *, full_matrices: bool = True) -> SVDResult:
    """U and Vh with orthonormal columns and rows, and the singular values S, largest first, with x = U diag(S) Vh.

    x (..., M, N), K = min(M, N) -> U (..., M, M), S (..., K), Vh (..., N, N); with full_matrices=False U (..., M, K)
    and Vh (..., K, N). S is real. The gradient of vectors needs singular values that differ and are not 0.
    LinAlgError for NaN and infinities.

    >>> import weft
    >>> weft.linalg.svd(weft.asarray([[3.0, 0.0], [0.0, 4.0]])).S.numpy()
    array([4., 3.], dtype=float32)
    """
    return SVDResult(*svd_arrays(x, full_matrices=full_matrices))


@op
def svdvals(x, /):
    """The singular values of each matrix, largest first.  (..., M, N) -> (..., min(M, N)), real

    Its gradient is finite where singular values coincide, too.

    >>> weft.linalg.svdvals(weft.asarray([[3.0, 0.0], [0.0, 2.0]])).numpy()
    array([3., 2.], dtype=float32)
    """
    check_matrices("svdvals", x)
    x = floating(x)

    def vjp(g):
        u, _, vh = library(x, g).svd(x, full_matrices=False)
        return namespace(g).matmul(u * as_rows(g), vh)

    return library(x).svdvals(x), (vjp,)


