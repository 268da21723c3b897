"""Elementwise ops, by their Case rows."""

import math

import ml_dtypes
import numpy as np
import pytest

import weft
from opcheck import Case, apart, checks, integers, normal, positive, within
from weft import ops
from weft.ops import elementwise

erf = np.vectorize(math.erf)


def mask(*shape):
    return lambda rng: rng.random(shape) < 0.5


CASES = [
    Case(elementwise.identity, (3, 4), oracle=lambda x: x),
    Case(ops.add, (3, 4), (3, 4), oracle=np.add),
    Case(ops.add, (3, 1, 4), (5, 1), oracle=np.add),
    Case(ops.subtract, (3, 4), (4,), oracle=np.subtract),
    Case(ops.multiply, (2, 3, 4), (3, 1), oracle=np.multiply, order=3),
    Case(ops.multiply, (0, 4), (4,), oracle=np.multiply),
    Case(ops.divide, (3, 4), positive(3, 4), oracle=np.divide, order=3),
    Case(ops.divide, (), positive(2, 3), oracle=np.divide),
    Case(ops.pow, positive(3, 4), (3, 4), oracle=np.power),
    Case(lambda x: ops.pow(x, 3), (3, 4), oracle=lambda x: x**3, name="pow(x,3)", order=3),
    Case(lambda x: ops.pow(x, 2), (3, 4), oracle=lambda x: x**2, name="pow(x,2)", order=3),
    Case(lambda x: ops.pow(x, -1.5), positive(3, 4), oracle=lambda x: x**-1.5, name="pow(x,-1.5)"),
    Case(lambda x: ops.pow(1.7, x), (3, 4), oracle=lambda x: 1.7**x, name="pow(1.7,x)"),
    Case(lambda x: 2.0 - x / 3.0 + 5 * x, (3, 4), oracle=lambda x: 2 - x / 3 + 5 * x, name="scalars"),
    Case(ops.maximum, apart(3, 4), lambda rng: np.zeros((3, 4)), oracle=np.maximum),
    Case(ops.minimum, apart(3, 4), lambda rng: np.zeros(4), oracle=np.minimum),
    Case(ops.atan2, positive(3, 4), (3, 4), oracle=np.arctan2),
    Case(ops.hypot, (3, 4), apart(4), oracle=np.hypot),
    Case(ops.logaddexp, (3, 4), (3, 1), oracle=np.logaddexp, order=3),
    Case(ops.copysign, apart(3, 4), apart(4), oracle=np.copysign),
    Case(ops.remainder, apart(3, 4, gap=0.2), lambda rng: np.full((3, 4), 7.3), oracle=np.remainder, half=False,
         why="a quotient near an integer rounds the other way in 16 bits"),
    Case(ops.abs, apart(3, 4), oracle=np.abs),
    Case(ops.square, (3, 4), oracle=np.square, order=3),
    Case(ops.negative, (3, 4), oracle=np.negative),
    Case(ops.positive, (3, 4), oracle=np.positive),
    Case(ops.sin, (3, 4), oracle=np.sin, order=3),
    Case(ops.cos, (3, 4), oracle=np.cos, order=3),
    Case(ops.tan, within(-1, 1, 3, 4), oracle=np.tan, order=3),
    Case(ops.asin, within(-0.9, 0.9, 3, 4), oracle=np.arcsin),
    Case(ops.acos, within(-0.9, 0.9, 3, 4), oracle=np.arccos),
    Case(ops.atan, (3, 4), oracle=np.arctan, order=3),
    Case(ops.sinh, (3, 4), oracle=np.sinh),
    Case(ops.cosh, (3, 4), oracle=np.cosh),
    Case(ops.asinh, (3, 4), oracle=np.arcsinh),
    Case(ops.acosh, within(1.2, 3, 3, 4), oracle=np.arccosh),
    Case(ops.atanh, within(-0.8, 0.8, 3, 4), oracle=np.arctanh),
    Case(ops.exp, (3, 4), oracle=np.exp, order=3),
    Case(ops.expm1, (3, 4), oracle=np.expm1),
    Case(ops.log, positive(3, 4), oracle=np.log, order=3),
    Case(ops.log1p, positive(3, 4), oracle=np.log1p),
    Case(ops.log2, positive(3, 4), oracle=np.log2),
    Case(ops.log10, positive(3, 4), oracle=np.log10),
    Case(ops.sqrt, positive(3, 4), oracle=np.sqrt, order=3),
    Case(ops.reciprocal, positive(3, 4), oracle=np.reciprocal, order=3),
    Case(ops.tanh, (3, 4), oracle=np.tanh, order=3),
    Case(ops.sigmoid, (3, 4), oracle=lambda x: 1 / (1 + np.exp(-x)), order=3),
    Case(ops.erf, within(-4, 4, 3, 4), oracle=erf, order=3),
    Case(ops.erf, within(-4, 4, 0, 4), oracle=lambda x: x),
    Case(ops.relu, apart(3, 4), oracle=lambda x: np.maximum(x, 0)),
    Case(ops.where, mask(3, 4), (3, 4), (4,), oracle=np.where),
    Case(ops.clip, apart(3, 4), params={"min": -0.4, "max": 0.35}, oracle=lambda x, min, max: np.clip(x, min, max),
         half=False, why="values within half a step of a bound"),
    Case(lambda x, low, high: ops.clip(x, low, high), apart(3, 4, gap=0.3), lambda rng: np.full(4, -1.0),
         lambda rng: np.full((3, 1), 1.05), oracle=np.clip, name="clip(arrays)"),
    Case(lambda x: ops.astype(ops.astype(x, np.float64) * 2, x.dtype), (3, 4), oracle=lambda x: 2 * x, name="astype"),
    *[Case(getattr(ops, n), (3, 4), (4,), oracle=getattr(np, n), grad=False)
      for n in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")],
    *[Case(getattr(ops, n), (3, 4), oracle=getattr(np, n), grad=False)
      for n in ("isnan", "isinf", "isfinite", "sign", "signbit", "floor", "ceil", "trunc", "round")],
    Case(ops.floor_divide, (3, 4), positive(3, 4), oracle=np.floor_divide, grad=False, half=False,
         why="a quotient near an integer rounds the other way in 16 bits"),
    *[Case(getattr(ops, n), mask(3, 4), mask(4), oracle=getattr(np, n), grad=False)
      for n in ("logical_and", "logical_or", "logical_xor", "bitwise_and", "bitwise_or", "bitwise_xor")],
    Case(ops.logical_not, mask(3, 4), oracle=np.logical_not, grad=False),
    Case(ops.bitwise_invert, integers(9, 3, 4), oracle=np.invert, grad=False),
    *[Case(getattr(ops, n), integers(99, 3, 4), integers(9, 4), oracle=getattr(np, n), grad=False)
      for n in ("bitwise_left_shift", "bitwise_right_shift")],
    Case(ops.nextafter, (3, 4), (4,), oracle=np.nextafter, grad=False, half=False,
         why="the next number of 16 bits is far from that of 64"),
]  # fmt: skip
globals().update(checks(CASES))


def test_scalars_are_weak():
    for dtype in (np.float32, np.float16, ml_dtypes.bfloat16):
        x = weft.Tensor(np.ones(3, dtype))
        for y in (
            x * 0.5,
            0.5 * x,
            x + 1,
            2 - x,
            x / 3.0,
            x**2,
            x**0.5,
            x * np.float64(0.5),
            weft.where(x > 0, x, 0.0),
            x.sum(),
            x.mean(),
        ):
            assert y.dtype == x.dtype, (dtype, y.dtype)
    assert (weft.asarray([1, 2]) * 0.5).dtype == np.float32
    assert (weft.asarray([1, 2]) / 2).dtype == np.float32
    assert (weft.asarray([1, 2]) * weft.asarray([0.5, 1])).dtype == np.float32
    assert weft.exp(weft.asarray([1, 2])).dtype == np.float32


def test_sixteen_bit_sums_do_not_stall():
    ones = weft.Tensor(np.ones(100_000, ml_dtypes.bfloat16))
    assert abs(float(ones.sum().astype(np.float32)) - 1e5) < 500  # bfloat16 alone stops at 256


def test_integer_that_does_not_fit_raises():
    with pytest.raises(OverflowError, match="uint8"):
        weft.asarray(np.zeros(2, np.uint8)) + 300


def test_sigmoid_far_below_zero():
    x = np.linspace(-700, 40, 301)
    expected = [math.exp(v) / (1 + math.exp(v)) for v in x]
    np.testing.assert_allclose(weft.sigmoid(weft.asarray(x)).numpy(), expected, rtol=1e-15)


def test_max_tie_shares_gradient():
    x = weft.Tensor(np.zeros(3), requires_grad=True)
    y = weft.Tensor(np.zeros(3), requires_grad=True)
    weft.maximum(x, y).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.full(3, 0.5))
    np.testing.assert_array_equal(y.grad.numpy(), np.full(3, 0.5))


def test_pow_at_zero_is_finite():
    x = weft.Tensor(np.array([0.0, 2.0]), requires_grad=True)
    n = weft.Tensor(np.array([0.0, 3.0]), requires_grad=True)
    (x**n).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [0, 12])
    assert np.isfinite(n.grad.numpy()).all()
    assert normal(2)(np.random.default_rng(0)).shape == (2,)
