"""Linear algebra, by Case rows: values against NumPy, gradients of any order against differences, real and complex.

Vectors of eigh and svd are fixed up to a factor of length 1, so cases look at what does not depend on it.
"""

import numpy as np
import pytest

import weft
from opcheck import Case, check_second_order, checks
from weft import linalg, ops

LIBRARY = "the array library computes it on devices, which tests/backends/test_devices.py looks at"


def spread(*shape):
    """Matrices far from singular, whose singular values lie apart: rotations of well spaced numbers."""

    def make(rng):
        *stack, m, n = shape
        k = min(m, n)
        q = np.linalg.qr(rng.standard_normal((*stack, m, m)))[0][..., :k]
        r = np.linalg.qr(rng.standard_normal((*stack, n, n)))[0][..., :k]
        values = 1 + 0.7 * np.arange(k)[::-1] + 0.2 * rng.random((*stack, k))
        return q * values[..., None, :] @ np.swapaxes(r, -1, -2)

    return make


def singular(rng):
    a = rng.standard_normal((3, 3))
    return a[:, :2] @ a[:2]


def adjoint(xp, z):
    return xp.matrix_transpose(xp.conj(z))


def positive(xp, z):
    """A positive definite matrix that depends on z."""
    return z @ adjoint(xp, z) + 0.5 * np.eye(z.shape[-1], dtype=z.dtype)


def of_parts(xp, f):
    """f of real and imaginary parts, which gives the parts of the result where that is complex."""

    def function(re, im):
        out = f(re + 1j * im)
        return xp.stack([xp.real(out), xp.imag(out)]) if out.dtype.kind == "c" else out

    return function


def real(name, f, *inputs, **options):
    """The case of `f(xp, la, *arrays)`, with Weft's functions and with NumPy's."""
    return Case(lambda *x: f(ops, linalg, *x), *inputs, oracle=lambda *x: f(np, np.linalg, *x), name=name, half=False,
                off_device=LIBRARY, why="a factorization magnifies rounding to 16 bits", **options)  # fmt: skip


def both(name, f, *shape, make=spread, **options):
    """The cases of a real matrix and of a complex one, whose second order runs apart, with the slow tests."""
    parts = lambda xp, la, re, im: of_parts(xp, lambda z: f(xp, la, z))(re, im)  # noqa: E731
    return [
        real(name, f, make(*shape), **options),
        real(f"complex {name}", parts, make(*shape), make(*shape), order=1, **options),
    ]


def projector(xp, v):
    return v @ adjoint(xp, v)


def eigh_function(xp, la, x):
    w, v = la.eigh(positive(xp, x))
    return (v * xp.exp(0.1 * w)) @ adjoint(xp, v)


def svd_function(xp, la, x):
    u, s, vh = la.svd(x, full_matrices=False)
    return (u * xp.exp(0.1 * s)) @ vh


def qr_complete(xp, la, x):
    q, r = la.qr(x, mode="complete")
    return projector(xp, q[:, 2:]) + xp.sum((q @ r) ** 2)


def by(**options):
    """The parameters of a norm in the name of its case."""
    return ",".join(f"{k}={v}" for k, v in options.items())


def norm(function, *shape, **options):
    return both(f"{function} {by(**options)}", lambda xp, la, x: getattr(la, function)(x, **options), *shape)


CASES = [
    *both("cholesky", lambda xp, la, x: la.cholesky(positive(xp, x)), 3, 3),
    *both("cholesky upper", lambda xp, la, x: la.cholesky(positive(xp, x), upper=True), 2, 2, 2),
    *both("qr q", lambda xp, la, x: la.qr(x).Q, 4, 3),
    *both("qr r", lambda xp, la, x: la.qr(x).R, 2, 3, 3),
    *both("qr wide", lambda xp, la, x: la.qr(x).Q @ la.qr(x).R[:, ::-1] ** 2, 2, 4),
    real("qr complete", qr_complete, spread(4, 2)),
    *both("eigvalsh", lambda xp, la, x: la.eigvalsh(positive(xp, x)), 2, 3, 3),
    *both("eigh vectors", lambda xp, la, x: xp.abs(la.eigh(positive(xp, x)).eigenvectors) ** 2, 3, 3),
    *both("eigh both", eigh_function, 3, 3),
    *both("svdvals", lambda xp, la, x: la.svdvals(x), 2, 3, 4),
    *both("svd u", lambda xp, la, x: xp.abs(la.svd(x, full_matrices=False).U) ** 2, 4, 3),
    *both("svd vh", lambda xp, la, x: xp.abs(la.svd(x, full_matrices=False).Vh) ** 2, 2, 3),
    *both("svd all", svd_function, 4, 3),
    *both("svd full", lambda xp, la, x: projector(xp, la.svd(x).U[:, 2:]), 4, 2),
    *both("inv", lambda xp, la, x: la.inv(x), 2, 3, 3),
    *both("det", lambda xp, la, x: la.det(x), 2, 3, 3),
    real("det of a singular matrix", lambda xp, la, x: la.det(x), singular, order=1),
    *both("slogdet log", lambda xp, la, x: la.slogdet(x).logabsdet, 2, 3, 3),
    *both("slogdet", lambda xp, la, x: xp.multiply(*la.slogdet(x)), 3, 3),
    *both("pinv", lambda xp, la, x: la.pinv(x), 4, 2),
    real("pinv wide", lambda xp, la, x: la.pinv(x), spread(2, 2, 3)),
    real("pinv of rank 1", lambda xp, la, x, y: la.pinv(la.outer(x, y)), (3,), (2,), rtol=1e-5),
    real("solve matrices", lambda xp, la, a, b: la.solve(a, b), spread(2, 3, 3), (3, 2)),
    real("solve broadcast", lambda xp, la, a, b: la.solve(a, b), spread(3, 3), (2, 3, 1)),
    real("solve vector", lambda xp, la, a, b: la.solve(a, b), spread(2, 3, 3), (3,)),
    *both("solve", lambda xp, la, x: la.solve(x + 2 * np.eye(3, dtype=x.dtype), x), 3, 3),
    real("matrix_power", lambda xp, la, x: la.matrix_power(x, 5), spread(3, 3)),
    *both("matrix_power negative", lambda xp, la, x: la.matrix_power(x, -2), 2, 2, 2),
    real("matrix_power 0", lambda xp, la, x: la.matrix_power(x, 0), spread(2, 2), grad=False),
    *[norm("matrix_norm", 3, 3, ord=order)[1] for order in ("fro", "nuc", np.inf)],
    *[norm("vector_norm", 2, 3, axis=1, ord=order)[1] for order in (2, 1, 3, np.inf)],
    *[norm("matrix_norm", 2, 2, 3, ord=order, keepdims=True)[0] for order in (-1, 1, 2, -2, -np.inf)],
    *[norm("vector_norm", 3, 3, ord=order)[0] for order in (0, 0.5, -1, -np.inf)],
    real("vector_norm axes", lambda xp, la, x: la.vector_norm(x, axis=(0, 2), keepdims=True), (2, 3, 2)),
    *both("cross", lambda xp, la, x: la.cross(x, x[::-1] * x), 2, 3),
    real("cross axis", lambda xp, la, a, b: la.cross(a, xp.broadcast_to(b, a.shape), axis=-2), (4, 3, 2), (3, 1)),
    *both("outer", lambda xp, la, x: la.outer(x[0], x[1]), 2, 3),
    *both("trace", lambda xp, la, x: la.trace(x, offset=1), 2, 3, 4),
    *[real(f"diagonal {o}", lambda xp, la, x, o=o: la.diagonal(x, offset=o), (2, 3, 4)) for o in (2, -1)],
    real("diagonal beyond", lambda xp, la, x: la.diagonal(x, offset=9), (2, 3), grad=False),
    Case(linalg.diagonal, (2, 3, 4), oracle=np.linalg.diagonal, order=3),
    Case(ops.vecdot, (2, 3), (3,), oracle=np.vecdot),
    Case(ops.vecdot, (3, 2), (3, 1, 2), params={"axis": -1}, oracle=np.vecdot),
    Case(ops.tensordot, (2, 3, 4), (4, 3, 2), params={"axes": ((1, 2), (1, 0))}, oracle=np.tensordot),
]  # fmt: skip
globals().update(checks(CASES))


@pytest.mark.slow
@pytest.mark.parametrize("case", [c for c in CASES if str(c).startswith("complex ")], ids=str)
def test_second_order_of_complex_matrices(case):
    check_second_order(case)


def leaf(values):
    return weft.Tensor(np.asarray(values, np.float64), True)


def test_gradients_of_values_where_they_coincide():
    """The values of a multiple of the identity coincide; what goes along with their sum is smooth."""
    for f in (linalg.eigvalsh, linalg.svdvals):
        x = leaf(2 * np.eye(3))
        f(x).sum().backward()
        np.testing.assert_allclose(x.grad.numpy(), np.eye(3), atol=1e-14)


def test_corners_of_norms_have_the_gradient_0():
    for order in (2, 1, 3, 0.5):
        x = leaf([[0.0, 0.0], [3.0, 0.0]])
        linalg.vector_norm(x, axis=1, ord=order).sum().backward()
        np.testing.assert_allclose(x.grad.numpy(), [[0, 0], [1, 0]], rtol=1e-15)
    x = leaf([2.0, -2.0, 1.0])
    linalg.vector_norm(x, ord=np.inf).backward()
    np.testing.assert_array_equal(x.grad.numpy(), [0.5, -0.5, 0])


@pytest.mark.needs("torch")
def test_gradients_agree_with_torch():
    import torch

    rng = np.random.default_rng(3)
    z = rng.standard_normal((2, 4, 4)) + 1j * rng.standard_normal((2, 4, 4))
    eye = np.eye(4)

    def gradient(xp, la, eye, x, name):
        out = getattr(la, name)(x @ xp.conj(x).mT + eye)
        out = out[name == "slogdet"] if isinstance(out, tuple) else out
        (xp.abs(out) ** 3).sum().backward()
        return x.grad.numpy()

    for name in ("cholesky", "eigh", "svd", "qr", "inv", "det", "pinv", "slogdet"):
        ours = gradient(ops, linalg, eye, weft.Tensor(z, True), name)
        theirs = gradient(torch, torch.linalg, torch.tensor(eye), torch.tensor(z, requires_grad=True), name)
        np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-8 * np.abs(theirs).max(), err_msg=name)
