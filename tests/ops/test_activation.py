"""Activations: values against formulas written out again, gradients against differences."""

import numpy as np
import pytest

import weft
from opcheck import Case, apart, checks, within
from weft import ops
from weft.ops import activation


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.log1p(np.exp(x))


def gelu(x, approximate="none"):
    from math import erf

    if approximate == "tanh":
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    return x * 0.5 * (1 + np.vectorize(erf)(x / np.sqrt(2)))


def glu(x, axis=-1):
    a, b = np.split(x, 2, axis)
    return a * sigmoid(b)


def silu(x):
    return x * sigmoid(x)


def halved(function):
    """The oracle of x * function(gate), of two arrays or of the halves of one."""

    def oracle(x, gate=None, axis=-1, **params):
        a, b = np.split(x, 2, axis) if gate is None else (x, gate)
        return a * function(b, **params)

    return oracle


FAR = within(-30, 30, 4, 5)

CASES = [
    Case(ops.softmax, (3, 7), oracle=softmax, order=3),
    Case(ops.softmax, (4, 3, 2), params={"axis": 1}, oracle=softmax),
    Case(ops.softmax, (5, 2), params={"axis": 0}, oracle=softmax),
    Case(ops.softmax, (1,), oracle=softmax),
    Case(ops.log_softmax, (3, 7), oracle=lambda x: np.log(softmax(x)), order=3),
    Case(ops.log_softmax, (4, 3, 2), params={"axis": 1}, oracle=lambda x, axis: np.log(softmax(x, axis))),
    Case(ops.gelu, (3, 5), oracle=gelu, order=3),
    Case(ops.gelu, (3, 5), params={"approximate": "tanh"}, oracle=gelu, order=3),
    Case(ops.silu, (3, 5), oracle=lambda x: x * sigmoid(x), order=3),
    Case(ops.relu, apart(4, 5), oracle=lambda x: np.maximum(x, 0)),
    Case(ops.leaky_relu, apart(4, 5), oracle=lambda x: np.where(x > 0, x, 0.01 * x)),
    Case(
        ops.leaky_relu,
        apart(4, 5),
        params={"negative_slope": 0.2},
        oracle=lambda x, negative_slope: np.where(x > 0, x, negative_slope * x),
    ),
    Case(ops.relu6, apart(6, 7, gap=0.1), oracle=lambda x: np.clip(x, 0, 6)),
    Case(ops.hardtanh, apart(4, 5, gap=0.07), oracle=lambda x: np.clip(x, -1, 1)),
    Case(
        ops.hardtanh,
        apart(4, 5),
        params={"min_val": -0.4, "max_val": 0.6},
        oracle=lambda x, min_val, max_val: np.clip(x, min_val, max_val),
    ),
    Case(ops.hardsigmoid, apart(6, 7, gap=0.07), oracle=lambda x: np.clip(x / 6 + 0.5, 0, 1)),
    Case(ops.hardswish, apart(6, 7, gap=0.07), oracle=lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    Case(ops.elu, apart(4, 5), oracle=lambda x: np.where(x > 0, x, np.expm1(x))),
    Case(ops.elu, apart(4, 5), params={"alpha": 1.5}, oracle=lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(x))),
    Case(
        ops.selu,
        apart(4, 5),
        oracle=lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
    ),
    Case(
        ops.celu,
        apart(4, 5),
        params={"alpha": 0.7},
        oracle=lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(x / alpha)),
    ),
    Case(ops.softplus, (4, 5), oracle=softplus, order=3),
    Case(ops.softplus, FAR, oracle=lambda x: np.where(x > 20, x, softplus(x)), rtol=1e-4),
    Case(ops.softplus, (4, 5), params={"beta": 2.0}, oracle=lambda x, beta: softplus(beta * x) / beta),
    Case(ops.softsign, apart(4, 5), oracle=lambda x: x / (1 + abs(x))),
    Case(ops.logsigmoid, (4, 5), oracle=lambda x: -softplus(-x)),
    Case(ops.logsigmoid, FAR, oracle=lambda x: -softplus(-x), rtol=1e-4),
    Case(ops.mish, (4, 5), oracle=lambda x: x * np.tanh(softplus(x)), order=3),
    Case(ops.glu, (3, 6), oracle=glu),
    Case(ops.swiglu, (3, 6), oracle=halved(silu), order=3),
    Case(ops.swiglu, (3, 4, 2), params={"axis": 1}, oracle=halved(silu)),
    Case(ops.swiglu, (3, 5), (3, 5), oracle=halved(silu), order=3),
    Case(ops.geglu, (3, 16), oracle=halved(gelu)),
    Case(ops.geglu, (4, 3), params={"axis": 0, "approximate": "tanh"}, oracle=halved(gelu)),
    Case(ops.geglu, (2, 3, 4), (2, 3, 4), oracle=halved(gelu)),
    Case(ops.reglu, apart(3, 6), oracle=halved(lambda x: np.maximum(x, 0))),
    Case(ops.reglu, apart(3, 5), apart(3, 5), oracle=halved(lambda x: np.maximum(x, 0))),
    Case(ops.glu, (3, 4, 2), params={"axis": 1}, oracle=glu),
]
globals().update(checks(CASES))


def test_softmax_of_huge_and_infinite_logits():
    x = np.array([[1e30, 0, -1e30], [-np.inf, 2, 2], [1000, 1000, -np.inf]], np.float32)
    for kind in (np.float32, np.float64):
        y = ops.softmax(weft.Tensor(x.astype(kind))).numpy()
        np.testing.assert_allclose(y, [[1, 0, 0], [0, 0.5, 0.5], [0.5, 0.5, 0]])
        log = ops.log_softmax(weft.Tensor(x.astype(kind))).numpy()
        np.testing.assert_allclose(log[1:], [[-np.inf, -np.log(2), -np.log(2)], [-np.log(2), -np.log(2), -np.inf]])


def test_softmax_of_nothing():
    assert ops.softmax(weft.Tensor(np.zeros((0, 3), np.float32))).shape == (0, 3)
    assert ops.log_softmax(weft.Tensor(np.zeros((3, 0), np.float32))).shape == (3, 0)


def test_functions_keep_the_dtype_of_scalars_beside_them():
    x = weft.Tensor(np.linspace(-4, 4, 9, dtype=np.float16))
    for name in ("elu", "selu", "celu", "softplus", "mish", "hardswish", "leaky_relu", "logsigmoid", "softsign"):
        assert getattr(activation, name)(x).dtype == np.float16, name


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "gelu", "silu", "elu", "mish", "glu", "geglu"])
def test_integers_are_refused(name):
    with pytest.raises(TypeError, match=f"{name}: expected a floating Tensor, got int64"):
        getattr(ops, name)(weft.Tensor(np.arange(4)))


def test_parameters_are_checked():
    x = weft.Tensor(np.zeros((2, 3), np.float32))
    with pytest.raises(IndexError, match="softmax: expected axes of an array of 2, got 2"):
        ops.softmax(x, axis=2)
    with pytest.raises(ValueError, match="gelu: expected approximate 'none' or 'tanh', got 'fast'"):
        ops.gelu(x, approximate="fast")
    with pytest.raises(ValueError, match=r"glu: expected an even size along axis 1, got shape \(2, 3\)"):
        ops.glu(x)
    with pytest.raises(ValueError, match="hardtanh: expected min_val < max_val"):
        ops.hardtanh(x, min_val=1.0, max_val=-1.0)
    with pytest.raises(ValueError, match="celu: expected alpha other than 0"):
        ops.celu(x, alpha=0.0)


def test_gelu_far_below_zero_is_zero():
    """The last bit of erf, times x, must not grow with x."""
    x = weft.Tensor(np.tile(np.array([-6, -20, -1e10, -3e38], np.float32), 8), requires_grad=True)
    y = ops.gelu(x)
    y.sum().backward()
    np.testing.assert_allclose(y.numpy(), 0, atol=1e-8)
    np.testing.assert_allclose(x.grad.numpy(), 0, atol=1e-7)
