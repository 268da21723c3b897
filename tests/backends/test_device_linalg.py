"""Linear algebra on devices: the array library's factorizations, with gradients that stay there."""

from __future__ import annotations

import numpy as np
import pytest

import weft
from policy import needs
from weft.backends.device import on_host
from weft.backends.gpu.array import from_host

pytestmark = needs("emulator")


def draw(*shape):
    return np.random.default_rng().standard_normal(shape).astype(np.float32)


LINEAR = {
    "cholesky": lambda la, x: la.cholesky(x @ x.mT + 3 * weft.eye(3, device=x.device)),
    "det": lambda la, x: la.det(x),
    "eigh": lambda la, x: la.eigh(x + x.mT).eigenvectors ** 2,
    "eigvalsh": lambda la, x: la.eigvalsh(x + x.mT),
    "inv": lambda la, x: la.inv(x),
    "matrix_norm": lambda la, x: la.matrix_norm(x, ord=2),
    "matrix_power": lambda la, x: la.matrix_power(x, -2),
    "pinv": lambda la, x: la.pinv(x),
    "qr": lambda la, x: la.qr(x).Q @ la.qr(x).R ** 2,
    "slogdet": lambda la, x: la.slogdet(x).logabsdet,
    "solve": lambda la, x: la.solve(x, x[..., :2] * x[..., :2]),
    "svd": lambda la, x: la.svd(x).U ** 2,
    "trace": lambda la, x: la.trace(x, offset=1),
    "vector_norm": lambda la, x: la.vector_norm(x, axis=-1, ord=3),
}


QUICK = ("eigvalsh", "inv", "trace")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in QUICK else [pytest.mark.slow]) for n in sorted(LINEAR)]
)
def test_linear_algebra_and_its_gradients(name):
    n = draw(2, 3, 3) + 3 * np.eye(3, dtype=np.float32)
    found = []
    for x in (weft.Tensor(n, True), weft.Tensor(from_host(n), True)):
        y = LINEAR[name](weft.linalg, x)
        assert y.device == x.device
        (y * y).sum().backward()
        assert x.grad.device == x.device
        found.append((on_host(y.data), on_host(x.grad.data)))
    for on_cpu, on_device in zip(*found):
        np.testing.assert_allclose(on_device, on_cpu, rtol=2e-3, atol=2e-3 * np.abs(on_cpu).max())


def test_ranks_and_errors_of_linear_algebra():
    x = weft.Tensor(from_host(np.ones((2, 3, 3), np.float32)))
    assert weft.linalg.matrix_rank(x).tolist() == [1, 1]
    assert weft.linalg.matrix_rank(x[:, :0]).tolist() == [0, 0]
    with pytest.raises(weft.linalg.LinAlgError, match="inv: expected invertible matrices"):
        weft.linalg.inv(weft.zeros((2, 2), device="emulated"))
