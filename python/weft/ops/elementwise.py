"""Elementwise array ops: one function each, forward, what is saved, and gradient together.

Undoing a broadcast lives in the engine. Types mix by the array API's table; Python scalars are weak, and an integer
array beside a float one (or a Python float) takes the float's type, float32 by default.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from weft.autograd import Tensor, op, state
from weft.backends import array
from weft.backends import reference as K
from weft.backends.array import is_16_bit, namespace, ndarray
from weft.backends.device import beside
from weft.ops.complex import adjoint, check_ordered, is_complex
from weft.ops.dtypes import FLOAT32, SCALARS, as_dtype, beside_scalar, promoted


def weak(scalar: Any, x: Any) -> tuple[Any, Any]:
    """A Python scalar beside array `x`: neither may widen the other by accident."""
    kind = x.dtype.kind
    if type(scalar) is complex and kind != "c":
        return scalar, namespace(x).astype(x, beside_scalar(x.dtype, scalar))
    if type(scalar) is float and kind in "biu":
        xp = namespace(x)
        return scalar, xp.astype(x, FLOAT32)
    if type(scalar) is int and kind in "iu":
        info = np.iinfo(x.dtype)
        if not info.min <= scalar <= info.max:
            raise OverflowError(f"expected an integer that fits {x.dtype}, got {scalar}")
    if type(x) is ndarray and is_16_bit(x.dtype):  # elsewhere scalars are weak by themselves
        return np.asarray(scalar, x.dtype), x
    return scalar, x


def promote(a: Any, b: Any) -> tuple[Any, Any]:
    """Both operands ready for a NumPy ufunc whose result dtype is then the promoted one."""
    if type(a) in SCALARS:
        if type(b) in SCALARS:
            b = np.asarray(b, FLOAT32 if float in (type(a), type(b)) else None)
        return weak(a, b)
    if type(b) in SCALARS:
        b, a = weak(b, a)
        return a, b
    p, q = a.dtype, b.dtype
    if p is q or p == q:
        return a, b
    dtype = promoted(p, q)
    xp = namespace(a, b)
    return (a if p == dtype else xp.astype(a, dtype)), (b if q == dtype else xp.astype(b, dtype))


def operands(a: Any, b: Any) -> tuple[Any, Any, Any]:
    """The namespace of a and b, and both ready for its functions."""
    if type(a) is ndarray and type(b) is ndarray and a.dtype is b.dtype:  # nearly always, and it must be cheap
        return array, a, b
    a, b = promote(a, b)
    return namespace(a, b), a, b


def floating(x: Any) -> Any:
    """x in a floating type: integers become float32."""
    return namespace(x).astype(x, FLOAT32) if x.dtype.kind in "biu" else x


def same(g: Any) -> Any:
    return g


def opposite(g: Any) -> Any:
    return namespace(g).negative(g)


@op
def identity(x, /):
    """x itself, as a new recorded Tensor."""
    return x, (same,)


@op
def add(a, b, /):
    """a + b, elementwise with broadcasting.

    >>> import weft
    >>> weft.add(weft.asarray([1.0, 2.0]), 1.0).numpy()
    array([2., 3.], dtype=float32)
    """
    xp, a, b = operands(a, b)
    return xp.add(a, b), (same, same)


@op
def subtract(a, b, /):
    """a - b, elementwise with broadcasting.

    >>> weft.subtract(weft.asarray([1.0, 2.0]), 3).numpy()
    array([-2., -1.], dtype=float32)
    """
    xp, a, b = operands(a, b)
    return xp.subtract(a, b), (same, opposite)


@op
def multiply(a, b, /):
    """a * b, elementwise with broadcasting.

    >>> weft.multiply(weft.asarray([1.0, 2.0]), 3).numpy()
    array([3., 6.], dtype=float32)
    """
    xp, a, b = operands(a, b)
    multiply = xp.multiply
    return multiply(a, b), (lambda g: multiply(g, adjoint(b)), lambda g: multiply(g, adjoint(a)))


@op
def divide(a, b, /):
    """a / b, elementwise with broadcasting; integers are divided in float32.

    >>> weft.divide(weft.asarray([1.0, 3.0]), 2).numpy()
    array([0.5, 1.5], dtype=float32)
    """
    a, b = promote(a, b)
    if not any(type(x) not in SCALARS and x.dtype.kind not in "biu" for x in (a, b)):
        a, b = (x if type(x) in SCALARS else floating(x) for x in (a, b))
    xp = namespace(a, b)
    y = xp.divide(a, b)
    return y, (
        lambda g: xp.divide(g, adjoint(b)),
        lambda g: xp.negative(xp.divide(xp.multiply(g, adjoint(y)), adjoint(b))),
    )


@op
def pow(a, b, /):
    """a to the power b, elementwise with broadcasting.

    The gradient of the exponent where a is 0 is taken as 0, its limit for b > 0; so it is where a real a is negative,
    whose powers are real for whole b alone.

    >>> weft.pow(weft.asarray([2.0, 3.0]), 2).numpy()
    array([4., 9.], dtype=float32)
    """
    xp, a, b = operands(a, b)

    def base(g):
        if type(b) in SCALARS:
            if b == 0:
                return g * 0
            return g if b == 1 else g * adjoint(a * b) if b == 2 else g * adjoint(b * xp.pow(a, b - 1))
        zero = xp.equal(b, 0)
        return g * adjoint(b * xp.where(zero, xp.ones_like(b), xp.pow(a, xp.where(zero, xp.ones_like(b), b - 1))))

    def exponent(g):
        if type(a) in SCALARS:
            log = cmath.log(a) if type(a) is complex and a != 0 else math.log(a) if a != 0 and a > 0 else 0
            return g * adjoint(xp.pow(a, b) * log) if log else g * 0
        has_log = xp.not_equal(a, 0) if is_complex(a) else xp.greater(a, 0)
        log = xp.where(has_log, xp.log(xp.where(has_log, a, xp.ones_like(a))), xp.zeros_like(a))
        return g * adjoint(xp.pow(a, b) * log)

    return xp.pow(a, b), (base, exponent)


@op
def maximum(a, b, /):
    """The larger of a and b, elementwise; NaN wins. A tie gives each half of the gradient.

    >>> weft.maximum(weft.asarray([1.0, 4.0]), 2.0).numpy()
    array([2., 4.], dtype=float32)
    """
    check_ordered("maximum", a, b)
    xp, a, b = operands(a, b)
    return xp.maximum(a, b), (lambda g: choose(g, a, b), lambda g: choose(g, b, a))


@op
def minimum(a, b, /):
    """The smaller of a and b, elementwise; NaN wins. A tie gives each half of the gradient.

    >>> weft.minimum(weft.asarray([1.0, 4.0]), 2.0).numpy()
    array([1., 2.], dtype=float32)
    """
    check_ordered("minimum", a, b)
    xp, a, b = operands(a, b)
    return xp.minimum(a, b), (lambda g: choose(g, b, a), lambda g: choose(g, a, b))


def choose(g: Any, larger: Any, smaller: Any) -> Any:
    """g where `larger` is the larger, half of it on a tie."""
    xp = namespace(g)
    share = xp.astype(xp.greater(larger, smaller), g.dtype) + xp.astype(xp.equal(larger, smaller), g.dtype) * 0.5
    return g * share


def real_pair(a: Any, b: Any) -> tuple[Any, Any, Any]:
    """`operands` of a function of two real numbers: integers become float32."""
    a, b = promote(a, b)
    a, b = [x if type(x) in SCALARS else floating(x) for x in (a, b)]
    return namespace(a, b), a, b


@op
def atan2(a, b, /):
    """The angle of the point (b, a), in radians within [-pi, pi].

    >>> weft.atan2(weft.asarray([1.0, -1.0]), weft.asarray([0.0, 0.0])).numpy()
    array([ 1.5707964, -1.5707964], dtype=float32)
    """
    xp, a, b = real_pair(a, b)
    norm = a * a + b * b
    return xp.atan2(a, b), (lambda g: g * b / norm, lambda g: -g * a / norm)


@op
def hypot(a, b, /):
    """sqrt(a * a + b * b) without overflow, elementwise with broadcasting. The gradient at (0, 0) is 0.

    >>> weft.hypot(weft.asarray([3.0]), weft.asarray([4.0])).numpy()
    array([5.], dtype=float32)
    """
    xp, a, b = real_pair(a, b)
    y = xp.hypot(a, b)

    def part(g, x):
        zero = xp.equal(y, 0)
        return xp.where(zero, xp.zeros_like(g), g * x / xp.where(zero, xp.ones_like(y), y))

    return y, (lambda g: part(g, a), lambda g: part(g, b))


@op
def logaddexp(a, b, /):
    """log(exp(a) + exp(b)) without overflow, elementwise with broadcasting.

    >>> weft.logaddexp(weft.asarray([1000.0]), weft.asarray([1000.0])).numpy()
    array([1000.6932], dtype=float32)
    """
    xp, a, b = real_pair(a, b)

    def share(g, x, other):  # of two infinities that are equal each has a half
        ahead = xp.subtract(x, other)
        return g * xp.sigmoid(xp.where(xp.equal(x, other), xp.zeros_like(ahead), ahead))

    return xp.logaddexp(a, b), (lambda g: share(g, a, b), lambda g: share(g, b, a))


@op
def copysign(a, b, /):
    """The magnitude of a with the sign of b, elementwise with broadcasting; the sign of -0.0 is negative.

    >>> weft.copysign(weft.asarray([1.0, 2.0]), weft.asarray([-0.0, 3.0])).numpy()
    array([-1.,  2.], dtype=float32)
    """
    xp, a, b = real_pair(a, b)
    return xp.copysign(a, b), (lambda g: g * xp.sign(a) * xp.copysign(xp.ones_like(g), b), None)


def unary(name: str, doc: str, slope: Any, float_only: bool = True) -> Callable[..., Tensor]:
    """An elementwise function of one array; `slope(xp, x, y)` is dy/dx, from x or from the result y."""

    def body(x, /):
        x = floating(x) if float_only else x
        xp = namespace(x)
        y = getattr(xp, name)(x)
        return y, (lambda g: g * adjoint(slope(xp, x, y)),)

    body.__name__ = body.__qualname__ = name
    body.__doc__ = doc
    return op(body)


square = unary("square", "x * x.", lambda xp, x, y: x * 2, float_only=False)
sin = unary("sin", "Sine of x in radians.", lambda xp, x, y: xp.cos(x))
cos = unary("cos", "Cosine of x in radians.", lambda xp, x, y: -xp.sin(x))
tan = unary("tan", "Tangent of x in radians.", lambda xp, x, y: y * y + 1)
asin = unary("asin", "Inverse sine, in radians.", lambda xp, x, y: 1 / xp.sqrt(1 - x * x))
acos = unary("acos", "Inverse cosine, in radians.", lambda xp, x, y: -1 / xp.sqrt(1 - x * x))
atan = unary("atan", "Inverse tangent, in radians.", lambda xp, x, y: 1 / (x * x + 1))
sinh = unary("sinh", "Hyperbolic sine.", lambda xp, x, y: xp.cosh(x))
cosh = unary("cosh", "Hyperbolic cosine.", lambda xp, x, y: xp.sinh(x))
asinh = unary("asinh", "Inverse hyperbolic sine.", lambda xp, x, y: 1 / xp.sqrt(x * x + 1))
acosh = unary("acosh", "Inverse hyperbolic cosine.", lambda xp, x, y: 1 / (xp.sqrt(x - 1) * xp.sqrt(x + 1)))
atanh = unary("atanh", "Inverse hyperbolic tangent.", lambda xp, x, y: 1 / (1 - x * x))
log = unary("log", "Natural logarithm.", lambda xp, x, y: 1 / x)
log1p = unary("log1p", "log(1 + x), exact near 0.", lambda xp, x, y: 1 / (x + 1))
log2 = unary("log2", "Logarithm to base 2.", lambda xp, x, y: 1 / (x * float(np.log(2))))
log10 = unary("log10", "Logarithm to base 10.", lambda xp, x, y: 1 / (x * float(np.log(10))))
reciprocal = unary("reciprocal", "1 / x.", lambda xp, x, y: -y * y)
erf = unary("erf", "The error function.", lambda xp, x, y: xp.exp(-x * x) * float(2 / np.sqrt(np.pi)))


def of_result(name: str, doc: str, vjp: Any) -> Callable[..., Tensor]:
    """An elementwise function whose gradient needs its result alone, so that the input is not kept."""

    def body(x, /):
        x = floating(x)
        y = getattr(namespace(x), name)(x)
        return y, (lambda g: vjp(g, adjoint(y)),)

    body.__name__ = body.__qualname__ = name
    body.__doc__ = doc
    return op(body)


exp = of_result("exp", "e to the power x.", lambda g, y: g * y)
expm1 = of_result("expm1", "exp(x) - 1, exact near 0.", lambda g, y: g * (y + 1))
sqrt = of_result("sqrt", "Square root; its gradient at 0 is infinite.", lambda g, y: g / (y * 2))
tanh = of_result("tanh", "Hyperbolic tangent.", lambda g, y: g * (1 - y * y))
sigmoid = of_result("sigmoid", "1 / (1 + exp(-x)), without overflow.", lambda g, y: g * (y * (1 - y)))


@op
def negative(x, /):
    """-x.

    >>> weft.negative(weft.asarray([1, -2])).numpy()
    array([-1,  2])
    """
    return namespace(x).negative(x), (opposite,)


@op
def positive(x, /):
    """+x: the same values in memory of their own.

    >>> weft.positive(weft.asarray([1, -2])).numpy()
    array([ 1, -2])
    """
    return namespace(x).astype(x, x.dtype), (same,)


@op
def abs(x, /):
    """The absolute value; of complex numbers the distance from 0, which is real. Its gradient at 0 is 0.

    >>> weft.abs(weft.asarray([-1.5, 2.0])).numpy()
    array([1.5, 2. ], dtype=float32)
    """
    return namespace(x).abs(x), (lambda g: g * namespace(x).sign(x),)


@op
def sign(x, /):
    """-1, 0 or 1 by the sign of x; of complex numbers x / abs(x), or 0 at 0. NaN stays NaN.

    >>> weft.sign(weft.asarray([-3.0, 0.0, 2.0])).numpy()
    array([-1.,  0.,  1.], dtype=float32)
    """
    xp = namespace(x)
    y = xp.sign(x)
    if not is_complex(x):
        return y, None

    def across(g):  # what turns the number of length 1; what lengthens it is lost
        size = xp.abs(x)
        zero = xp.equal(size, 0)
        turned = g - y * xp.real(g * adjoint(y))
        return xp.where(zero, xp.zeros_like(g), turned / xp.where(zero, xp.ones_like(size), size))

    return y, (across,)


@op
def relu(x, /):
    """max(x, 0); the gradient at 0 is 0, and NaN stays NaN.

    >>> weft.relu(weft.asarray([-1.0, 2.0])).numpy()
    array([0., 2.], dtype=float32)
    """
    y = K.relu(x)
    return y, (lambda g: K.relu_backward(g, y, spare=state.spare is g),)


@op
def where(condition, a, b, /):
    """a where `condition`, else b, with broadcasting.

    >>> weft.where(weft.asarray([True, False]), 1.0, weft.asarray([5.0, 6.0])).numpy()
    array([1., 6.], dtype=float32)
    """
    if type(a) in SCALARS and type(b) in SCALARS:
        b = beside(np.asarray(b, FLOAT32 if float in (type(a), type(b)) else None), condition)
    a, b = promote(a, b)
    xp = namespace(condition, a, b)
    y = xp.where(condition, a, b)

    def part(g, first):
        xp = namespace(g)
        zero = xp.zeros_like(g)
        return xp.where(condition, g, zero) if first else xp.where(condition, zero, g)

    return y, (None, lambda g: part(g, True), lambda g: part(g, False))


@op
def clip_arrays(x, low, high):
    check_ordered("clip", x, low, high)
    xp = namespace(x, low, high)
    for bound in (low, high):
        if bound is not None and type(bound) not in SCALARS and bound.dtype.kind not in "biu" and x.dtype.kind in "biu":
            raise TypeError(f"clip: expected bounds of {x.dtype} or Python scalars, got {bound.dtype}")
    y = x if low is not None or high is not None else xp.astype(x, x.dtype)
    for bound, limit in ((low, xp.maximum), (high, xp.minimum)):
        if bound is not None:
            y = limit(*promote(y, bound))

    def within(g):
        xp = namespace(g)
        keep = None
        for bound, test in ((low, xp.greater_equal), (high, xp.less_equal)):
            if bound is not None:
                mask = test(x, bound)
                keep = mask if keep is None else xp.logical_and(keep, mask)
        return g if keep is None else g * xp.astype(keep, g.dtype)

    def at_low(g):
        xp = namespace(g)
        return g * xp.astype(xp.less(x, low), g.dtype)

    def at_high(g):
        xp = namespace(g)
        return g * xp.astype(xp.greater(x, high), g.dtype)

    return y, (within, at_low, at_high)


clip_arrays.body.__name__ = "clip"


def clip(x: Any, /, min: Any = None, max: Any = None) -> Tensor:
    """x held between `min` and `max` (numbers or arrays, with broadcasting); outside, the gradient of x is 0.

    NaN stays NaN. TypeError for bounds of floats beside integers, and for complex numbers.

    >>> import weft
    >>> weft.clip(weft.asarray([1.0, 5.0]), max=3.0).numpy()
    array([1., 3.], dtype=float32)
    """
    return clip_arrays(x, min, max)


@op
def cast(x, *, dtype):
    before = x.dtype
    if before.kind == "c" and dtype.kind != "c":
        raise TypeError(f"astype: expected complex numbers to stay so, got {dtype}; take real(x) or imag(x)")
    differentiable = dtype.kind not in "biu" and before.kind not in "biu"
    return namespace(x).astype(x, dtype), (same,) if differentiable else None  # the engine brings the gradient back


cast.body.__name__ = "astype"


def astype(x: Any, dtype: Any, *, copy: bool = True, device: str | None = None) -> Tensor:
    """x in another dtype, and on another device if one is named; the gradient returns in x's own.

    copy: False for x itself where nothing changes.  TypeError for complex numbers that should become real.

    >>> weft.astype(weft.asarray([1.7, -1.7]), weft.int32).numpy()
    array([ 1, -1], dtype=int32)
    """
    dtype = as_dtype("astype", dtype)
    if device is not None:
        x = x.to_device(device)
    return x if not copy and x.dtype == dtype else cast(x, dtype=dtype)


@op
def remainder(a, b, /):
    """a - floor(a / b) * b, with the sign of b.

    >>> weft.remainder(weft.asarray([7, -7]), 3).numpy()
    array([1, 2])
    """
    check_ordered("remainder", a, b)
    xp, a, b = operands(a, b)
    return xp.remainder(a, b), (lambda g: g, lambda g: -g * xp.floor_divide(a, b))
