"""weft.linalg beside the standard's reference: values, dtypes, shapes, stacks of matrices, empty ones, and errors."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import weft
from standard.strict import COMPLEX, FLOATS, NUMERIC, arrays, compare, examples, shapes, strict

FLOATING = [*FLOATS, *COMPLEX]


def matrices(draw, dtypes=FLOATING, square=False, definite=False, invertible=False):
    """A stack of matrices of small whole numbers; with a diagonal that makes them invertible where that is asked."""
    stack = draw(st.sampled_from([(), (2,), (2, 3), (0,)]))
    m = draw(st.integers(1, 4))
    n = m if square or definite or invertible else draw(st.integers(1, 4))
    x = draw(arrays(dtypes, (*stack, m, n)))
    if definite:
        x = (x @ np.conj(np.swapaxes(x, -1, -2)) + 4 * np.eye(m)).astype(x.dtype)
    return (x + 40 * np.eye(m)).astype(x.dtype) if invertible else x


def test_every_function_is_there_with_its_signature():
    for name in strict.linalg.__all__:
        ours, theirs = (inspect.signature(getattr(module, name)) for module in (weft.linalg, strict.linalg))
        for mine, other in zip(ours.parameters.values(), theirs.parameters.values(), strict=True):
            assert mine.kind == other.kind or other.kind is other.POSITIONAL_ONLY, (name, mine, other)
            if mine.kind is mine.KEYWORD_ONLY:
                assert (mine.name, mine.default) == (other.name, other.default), (name, mine, other)
    assert set(strict.linalg.__all__) <= set(weft.linalg.__all__)


@examples(8)
@given(data=st.data())
@pytest.mark.parametrize("name", ["det", "inv"])
def test_of_square_matrices(name, data):
    compare(f"linalg.{name}", matrices(data.draw, invertible=True), exact=False)


@examples(10)
@given(data=st.data())
def test_cholesky(data):
    x, upper = matrices(data.draw, definite=True), data.draw(st.booleans())
    compare("linalg.cholesky", x, upper=upper, exact=False)


@examples(10)
@given(data=st.data())
def test_slogdet(data):
    out = compare("linalg.slogdet", matrices(data.draw, invertible=True), exact=False)
    assert out._fields == ("sign", "logabsdet")


@examples(10)
@given(data=st.data())
def test_eigenvalues(data):
    x = matrices(data.draw, definite=True)
    compare("linalg.eigvalsh", x, exact=False)
    out = weft.linalg.eigh(weft.asarray(x))
    assert out._fields == ("eigenvalues", "eigenvectors") and out.eigenvectors.dtype == x.dtype
    w, v = (t.numpy() for t in out)
    tolerance = 1e-4 if x.dtype.itemsize // (1 + (x.dtype.kind == "c")) == 4 else 1e-10
    np.testing.assert_allclose((v * w[..., None, :]) @ np.conj(np.swapaxes(v, -1, -2)), x, atol=tolerance * 200)
    assert (np.diff(w) >= 0).all()


@examples(12)
@given(data=st.data())
def test_factors(data):
    x = matrices(data.draw)
    full, mode = data.draw(st.booleans()), data.draw(st.sampled_from(["reduced", "complete"]))
    want = strict.linalg.svd(strict.asarray(x), full_matrices=full)
    u, s, vh = out = weft.linalg.svd(weft.asarray(x), full_matrices=full)
    assert out._fields == ("U", "S", "Vh")
    assert [(t.shape, t.dtype) for t in out] == [(t.shape, np.asarray(t._array).dtype) for t in want]
    k = s.shape[-1]
    product = weft.matmul(u[..., :k] * s[..., None, :], vh[..., :k, :])
    np.testing.assert_allclose(product.numpy(), x, atol=1e-3)
    q, r = out = weft.linalg.qr(weft.asarray(x), mode=mode)
    want = strict.linalg.qr(strict.asarray(x), mode=mode)
    assert out._fields == ("Q", "R")
    assert [(t.shape, t.dtype) for t in out] == [(t.shape, np.asarray(t._array).dtype) for t in want]
    np.testing.assert_allclose((q @ r).numpy(), x, atol=1e-3)
    compare("linalg.svdvals", x + 10 * np.eye(*x.shape[-2:], dtype=x.dtype), exact=False)


@examples(10)
@given(data=st.data())
def test_solve(data):
    a = matrices(data.draw, invertible=True)
    if data.draw(st.booleans()):
        b = data.draw(arrays(FLOATING, a.shape[-1:]))
    else:
        stack = data.draw(st.sampled_from([a.shape[:-2], ()]))
        b = data.draw(arrays(FLOATING, (*stack, a.shape[-1], data.draw(st.integers(0, 3)))))
    compare("linalg.solve", a, b, exact=False)


@examples(10)
@given(data=st.data())
def test_pinv_and_rank(data):
    x = matrices(data.draw)
    options = data.draw(st.sampled_from([{}, {"rtol": 0.01}, {"rtol": np.full(x.shape[:-2], 0.01, x.real.dtype)}]))
    if x.shape[0] and not (x.ndim > 2 and "rtol" in options):
        compare("linalg.matrix_rank", x, **options)
    compare("linalg.pinv", x + 10 * np.eye(*x.shape[-2:], dtype=x.dtype), exact=False, **options)


@examples(10)
@given(data=st.data())
def test_matrix_power(data):
    compare("linalg.matrix_power", matrices(data.draw, invertible=True), data.draw(st.integers(-3, 4)), exact=False)


@examples(20)
@given(data=st.data())
def test_norms(data):
    x = matrices(data.draw)
    options = {"ord": data.draw(st.sampled_from(["fro", "nuc", 1, 2, np.inf, -1, -2, -np.inf])),
               "keepdims": data.draw(st.booleans())}  # fmt: skip
    if options["ord"] in ("nuc", 2, -2):
        x = (x + 10 * np.eye(*x.shape[-2:])).astype(x.dtype)
    compare("linalg.matrix_norm", x, exact=False, **options)
    v = data.draw(arrays(FLOATING, shapes(min_dims=1, min_side=1)))
    v = (v + 20).astype(v.dtype)
    axes = st.none() | st.integers(-v.ndim, v.ndim - 1) | st.just(tuple(range(v.ndim)))
    options = {"ord": data.draw(st.sampled_from([2, 1, 0, 3, 0.5, -1, -2, np.inf, -np.inf])),
               "axis": data.draw(axes), "keepdims": data.draw(st.booleans())}  # fmt: skip
    compare("linalg.vector_norm", v, exact=False, **options)


@examples(12)
@given(data=st.data())
def test_products(data):
    x = matrices(data.draw, NUMERIC)
    y = data.draw(arrays(x.dtype.name, (x.shape[-1], 3)))
    compare("linalg.matmul", x, y, exact=False)
    compare("linalg.matmul", x, y[:, 0], exact=False)
    compare("linalg.vecdot", x, y[:, 0], exact=False)
    compare("linalg.tensordot", x, y, axes=1, exact=False)
    compare("linalg.tensordot", x, y, axes=((-1,), (0,)), exact=False)
    compare("linalg.matrix_transpose", x)
    compare("linalg.outer", y[:, 0], y[0])
    offset = data.draw(st.integers(-5, 5))
    compare("linalg.diagonal", x, offset=offset)
    compare("linalg.trace", x, offset=offset)
    a, b = (data.draw(arrays(x.dtype.name, shape)) for shape in ((2, 3, 4), (3, 1)))
    compare("linalg.cross", a, b.repeat(4, 1), axis=-2)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda la, x: la.inv(x), r"inv: expected square matrices \(..., M, M\), got shape \(2, 3\)"),
        (lambda la, x: la.cholesky(x), "cholesky: expected square"),
        (lambda la, x: la.det(x), "det: expected square"),
        (lambda la, x: la.slogdet(x), "slogdet: expected square"),
        (lambda la, x: la.eigh(x), "eigh: expected square"),
        (lambda la, x: la.eigvalsh(x), "eigvalsh: expected square"),
        (lambda la, x: la.matrix_power(x, 2), "matrix_power: expected square"),
        (lambda la, x: la.solve(x, x), "solve: expected square"),
        (lambda la, x: la.solve(x[:, :2], x[0]), r"solve: expected \(..., M, M\) and .*, got \(2, 2\) and \(3,\)"),
        (lambda la, x: la.svd(x[0]), r"svd: expected matrices \(..., M, N\), got shape \(3,\)"),
        (lambda la, x: la.svdvals(x[0]), "svdvals: expected matrices"),
        (lambda la, x: la.qr(x[0]), "qr: expected matrices"),
        (lambda la, x: la.qr(x, mode="raw"), "qr: expected mode 'reduced' or 'complete', got 'raw'"),
        (lambda la, x: la.pinv(x[0]), "pinv: expected matrices"),
        (lambda la, x: la.matrix_rank(x[0]), "matrix_rank: expected matrices"),
        (lambda la, x: la.matrix_norm(x[0]), "matrix_norm: expected matrices"),
        (lambda la, x: la.matrix_norm(x, ord=3), "matrix_norm: expected ord .*, got 3"),
        (lambda la, x: la.diagonal(x[0]), "diagonal: expected matrices"),
        (lambda la, x: la.trace(x[0]), "trace: expected matrices"),
        (lambda la, x: la.outer(x, x[0]), r"outer: expected two vectors .*, got \(2, 3\) and \(3,\)"),
        (lambda la, x: la.cross(x.mT, x.mT), r"cross: expected 3 numbers along axis -1, got \(3, 2\) and \(3, 2\)"),
        (lambda la, x: la.cross(x, x, axis=-3), r"cross: expected a negative axis"),
        (lambda la, x: la.vecdot(x, x[:, :2]), r"vecdot: expected equal lengths along axis -1"),
        (lambda la, x: la.tensordot(x, x, axes=1), "tensordot: expected equal lengths"),
        (lambda la, x: la.tensordot(x, x, axes=((0, 0), (0, 1))), "tensordot: expected each axis once"),
        (lambda la, x: la.inv(weft.zeros((2, 2))), r"inv: expected invertible matrices, got \(2, 2\): Singular"),
        (lambda la, x: la.solve(weft.zeros((2, 2)), x), "solve: expected an invertible matrix"),
        (lambda la, x: la.cholesky(-weft.eye(2)), "cholesky: expected positive definite matrices"),
        (lambda la, x: la.svd(x * np.nan), "svd: expected matrices of finite numbers"),
    ],
)
def test_errors(call, words):
    x = weft.asarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    with pytest.raises(ValueError, match=words):
        call(weft.linalg, x)


def test_types():
    with pytest.raises(TypeError, match="matrix_power: expected a power that is an int, got float"):
        weft.linalg.matrix_power(weft.eye(2), 2.0)
    with pytest.raises(TypeError, match="vector_norm: expected an order that is a number, got 'fro'"):
        weft.linalg.vector_norm(weft.eye(2), ord="fro")
    for dtype in ("float16", weft.bfloat16):
        x = weft.asarray(np.array([[4.0, 1.0], [1.0, 3.0]])).astype(dtype)
        for out in (weft.linalg.inv(x), weft.linalg.cholesky(x), weft.linalg.eigh(x).eigenvalues, weft.linalg.pinv(x)):
            assert out.dtype == dtype
    big = weft.full((3,), 300.0, dtype="float16")
    assert weft.linalg.vector_norm(big).dtype == np.float16 and 519 < float(weft.linalg.vector_norm(big)) < 520
    assert weft.linalg.det(weft.asarray([[1, 2], [3, 4]])).dtype == np.float32


def test_no_rows_or_columns():
    x = weft.zeros((2, 0, 3))
    assert weft.linalg.pinv(x).shape == (2, 3, 0)
    assert weft.linalg.matrix_rank(x).tolist() == [0, 0]
    assert weft.linalg.matrix_norm(x).tolist() == [0, 0]
    assert weft.linalg.det(weft.zeros((2, 0, 0))).tolist() == [1, 1]
    assert weft.linalg.diagonal(x).shape == (2, 0) and weft.linalg.trace(x).tolist() == [0, 0]
    assert weft.tensordot(x, weft.zeros((3, 0)), axes=1).shape == (2, 0, 0)
    assert weft.linalg.matmul(x, weft.zeros((3, 4))).shape == (2, 0, 4)
