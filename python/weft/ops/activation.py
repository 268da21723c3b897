"""Activations: softmax and its logarithm, and functions of each element alone.

All take a floating Tensor of any shape and return its shape and dtype; 16-bit types are computed in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from weft.autograd import Tensor, op, state
from weft.backends import reference as K
from weft.backends.array import namespace
from weft.backends.reference.precision import narrow, wide
from weft.ops.elementwise import relu, sigmoid, tanh  # noqa: F401
from weft.ops.shape import normal_axes

SELU_ALPHA = 1.6732632423543772848170429916717  # Klambauer et al., 2017: keeps mean 0 and variance 1
SELU_SCALE = 1.0507009873554804934193349852946


def floating(x: Any, name: str) -> None:
    """Raise unless `x` has a floating dtype."""
    if not hasattr(x, "dtype") or x.dtype.kind not in "fV":
        raise TypeError(f"{name}: expected a floating Tensor, got {getattr(x, 'dtype', type(x).__name__)}")


@op
def softmax(x: Any, *, axis: int = -1) -> Any:
    """exp(x) / sum(exp(x)) along `axis`: positive numbers that sum to 1.

    x (...) floating -> same shape.  IndexError for an axis that `x` lacks.

    >>> import weft
    >>> weft.softmax(weft.asarray([0.0, 0.0])).numpy()
    array([0.5, 0.5], dtype=float32)
    """
    floating(x, "softmax")
    (axis,) = normal_axes("softmax", axis, x.ndim)
    y = K.softmax(x, axis=axis)
    return y, (lambda g: K.softmax_backward(g, y, axis=axis),)


@op
def log_softmax(x: Any, *, axis: int = -1) -> Any:
    """log(softmax(x)) along `axis`, without its overflow.

    x (...) floating -> same shape, all <= 0.  IndexError for an axis that `x` lacks.

    >>> import weft
    >>> weft.log_softmax(weft.asarray([0.0, 1000.0])).numpy()
    array([-1000.,     0.], dtype=float32)
    """
    floating(x, "log_softmax")
    (axis,) = normal_axes("log_softmax", axis, x.ndim)
    y = K.log_softmax(x, axis=axis)
    return y, (lambda g: K.log_softmax_backward(g, y, axis=axis),)


@op
def gelu(x: Any, *, approximate: str = "none") -> Any:
    """x times the normal distribution function at x (Hendrycks and Gimpel, 2016).

    approximate: "none" (error function) or "tanh".  ValueError for another.

    >>> import weft
    >>> weft.gelu(weft.asarray([1.0])).numpy().round(4)
    array([0.8413], dtype=float32)
    """
    floating(x, "gelu")
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: expected approximate 'none' or 'tanh', got {approximate!r}")
    return K.gelu(x, approximate=approximate), (
        lambda g: K.gelu_backward(g, x, approximate=approximate, spare=state.spare is g),
    )


@op
def silu(x: Any) -> Any:
    """x * sigmoid(x), also called swish.

    >>> import weft
    >>> weft.silu(weft.asarray([1.0])).numpy().round(4)
    array([0.7311], dtype=float32)
    """
    floating(x, "silu")
    return K.silu(x), (lambda g: K.silu_backward(g, x, spare=state.spare is g),)


# -- one function of one element: `body(xp, x, **params)` returns the value and its vjp -------------------------------


def pointwise(body: Callable[..., Any]) -> Callable[..., Any]:
    """An op of one array that computes 16-bit floats in float32 and rounds value and gradient once."""

    @wraps(body)
    def rounded(x: Any, **params: Any) -> Any:
        floating(x, body.__name__)
        dtype = x.dtype
        y, vjp = body(namespace(x), wide(x), **params)
        return narrow(y, dtype), (lambda g: narrow(vjp(wide(g)), dtype),)

    return op(rounded)


def held(xp: Any, x: Any, low: float, high: float) -> Any:
    """x cut to [low, high]; NaN stays."""
    return xp.minimum(xp.maximum(x, low), high)


@pointwise
def leaky_relu(xp: Any, x: Any, *, negative_slope: float = 0.01) -> Any:
    """x where positive, `negative_slope` times x elsewhere.

    >>> weft.leaky_relu(weft.asarray([-1.0, 2.0])).numpy()
    array([-0.01,  2.  ], dtype=float32)
    """
    return xp.where(x > 0, x, x * negative_slope), lambda g: xp.where(x > 0, g, g * negative_slope)


@pointwise
def relu6(xp: Any, x: Any) -> Any:
    """x cut to [0, 6].

    >>> weft.relu6(weft.asarray([-1.0, 2.0, 9.0])).numpy()
    array([0., 2., 6.], dtype=float32)
    """
    return held(xp, x, 0, 6), lambda g: xp.where((x > 0) & (x < 6), g, xp.zeros_like(g))


@pointwise
def hardtanh(xp: Any, x: Any, *, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    """x cut to [min_val, max_val].  ValueError unless min_val < max_val.

    >>> weft.hardtanh(weft.asarray([-2.0, 0.5, 2.0])).numpy()
    array([-1. ,  0.5,  1. ], dtype=float32)
    """
    if not min_val < max_val:
        raise ValueError(f"hardtanh: expected min_val < max_val, got {min_val} and {max_val}")
    return held(xp, x, min_val, max_val), lambda g: xp.where((x > min_val) & (x < max_val), g, xp.zeros_like(g))


@pointwise
def hardsigmoid(xp: Any, x: Any) -> Any:
    """x / 6 + 1/2 cut to [0, 1] (Howard et al., 2019).

    >>> weft.hardsigmoid(weft.asarray([-4.0, 0.0, 4.0])).numpy()
    array([0. , 0.5, 1. ], dtype=float32)
    """
    inside = (x > -3) & (x < 3)
    return held(xp, x, -3, 3) / 6 + 0.5, lambda g: xp.where(inside, g / 6, xp.zeros_like(g))


@pointwise
def hardswish(xp: Any, x: Any) -> Any:
    """x * hardsigmoid(x) (Howard et al., 2019).

    >>> weft.hardswish(weft.asarray([-4.0, 3.0])).numpy()
    array([-0.,  3.], dtype=float32)
    """

    def vjp(g: Any) -> Any:
        return xp.where(x >= 3, g, xp.where(x <= -3, xp.zeros_like(g), g * (x / 3 + 0.5)))

    return x * (held(xp, x, -3, 3) / 6 + 0.5), vjp


def exponential_below(xp: Any, x: Any, above: float, alpha: float, rate: float) -> Any:
    """above * x where positive, alpha * (exp(rate * x) - 1) elsewhere: ELU, SELU and CELU."""
    low = alpha * xp.expm1(rate * xp.minimum(x, 0))
    return xp.where(x > 0, above * x, low), lambda g: xp.where(x > 0, above * g, rate * g * (low + alpha))


@pointwise
def elu(xp: Any, x: Any, *, alpha: float = 1.0) -> Any:
    """x where positive, alpha * (exp(x) - 1) elsewhere (Clevert et al., 2015).

    >>> weft.elu(weft.asarray([-1.0, 2.0])).numpy()
    array([-0.63212055,  2.        ], dtype=float32)
    """
    return exponential_below(xp, x, 1.0, alpha, 1.0)


@pointwise
def selu(xp: Any, x: Any) -> Any:
    """ELU with the scale and alpha that keep mean 0 and variance 1 (Klambauer et al., 2017).

    >>> weft.selu(weft.asarray([-1.0, 2.0])).numpy()
    array([-1.1113307,  2.101402 ], dtype=float32)
    """
    return exponential_below(xp, x, SELU_SCALE, SELU_SCALE * SELU_ALPHA, 1.0)


@pointwise
def celu(xp: Any, x: Any, *, alpha: float = 1.0) -> Any:
    """x where positive, alpha * (exp(x / alpha) - 1) elsewhere (Barron, 2017).  ValueError for alpha 0.

    >>> weft.celu(weft.asarray([-1.0, 2.0])).numpy()
    array([-0.63212055,  2.        ], dtype=float32)
    """
    if not alpha:
        raise ValueError(f"celu: expected alpha other than 0, got {alpha}")
    return exponential_below(xp, x, 1.0, alpha, 1 / alpha)


def softplus_of(xp: Any, x: Any) -> Any:
    """log(1 + exp(x)) without overflow."""
    return xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.abs(x)))


@pointwise
def softplus(xp: Any, x: Any, *, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """log(1 + exp(beta * x)) / beta; x itself where beta * x is above `threshold`.

    >>> weft.softplus(weft.asarray([0.0, 30.0])).numpy()
    array([ 0.6931472, 30.       ], dtype=float32)
    """
    linear = x * beta > threshold
    y = xp.where(linear, x, softplus_of(xp, x * beta) / beta)
    return y, lambda g: xp.where(linear, g, g * xp.sigmoid(x * beta))


@pointwise
def softsign(xp: Any, x: Any) -> Any:
    """x / (1 + |x|).

    >>> weft.softsign(weft.asarray([-1.0, 3.0])).numpy()
    array([-0.5 ,  0.75], dtype=float32)
    """
    below = 1 + xp.abs(x)
    return x / below, lambda g: g / (below * below)


@pointwise
def logsigmoid(xp: Any, x: Any) -> Any:
    """log(sigmoid(x)), without its underflow.

    >>> weft.logsigmoid(weft.asarray([0.0, 20.0])).numpy()
    array([-6.9314718e-01, -2.0611537e-09], dtype=float32)
    """
    return -softplus_of(xp, -x), lambda g: g * xp.sigmoid(-x)


@pointwise
def mish(xp: Any, x: Any) -> Any:
    """x * tanh(softplus(x)) (Misra, 2019).

    >>> weft.mish(weft.asarray([0.0, 1.0])).numpy()
    array([0.       , 0.8650984], dtype=float32)
    """
    t = xp.tanh(softplus_of(xp, x))
    return x * t, lambda g: g * (t + x * xp.sigmoid(x) * (1 - t * t))


# -- gated linear units: one half of the features times an activation of the other ------------------------------------


@op
def gated(x: Any, gate: Any, *, activation: str) -> Any:
    """x * activation(gate), both of one shape; the body of `swiglu` and its like."""
    out = K.gated(x, gate, activation=activation)
    return out, lambda g: K.gated_backward(g, x, gate, activation=activation, joined=None)


@op
def gated_halves(x: Any, *, axis: int, activation: str) -> Any:
    """The first half of `axis` times the activation of the second; the body of `glu` and its like."""
    lead, half = (slice(None),) * axis, x.shape[axis] // 2
    a, gate = x[(*lead, slice(None, half))], x[(*lead, slice(half, None))]
    out = K.gated(a, gate, activation=activation)
    return out, (lambda g: K.gated_backward(g, a, gate, activation=activation, joined=axis),)


def gated_unit(name: str, x: Any, gate: Any, axis: int, activation: str) -> Any:
    floating(x, name)
    if gate is not None:
        if gate.shape != x.shape or gate.dtype != x.dtype:
            got = f"{x.dtype} {x.shape} and {gate.dtype} {gate.shape}"
            raise ValueError(f"{name}: expected x and gate of one shape and dtype, got {got}")
        return gated(x, gate, activation=activation)
    (axis,) = normal_axes(name, axis, x.ndim)
    if x.shape[axis] % 2:
        raise ValueError(f"{name}: expected an even size along axis {axis}, got shape {x.shape}")
    return gated_halves(x, axis=axis, activation=activation)


def glu(x: Any, *, axis: int = -1) -> Tensor:
    """The first half of `axis` times the sigmoid of the second (Dauphin et al., 2017).

    x (..., 2C, ...) -> (..., C, ...).  ValueError for an odd size.

    >>> weft.glu(weft.asarray([[3.0, 0.0]])).numpy()
    array([[1.5]], dtype=float32)
    """
    return gated_unit("glu", x, None, axis, "sigmoid")


def swiglu(x: Any, gate: Any = None, *, axis: int = -1) -> Tensor:
    """x * silu(gate); without `gate` the halves of `axis`, the second one the gate, as in `glu` (Shazeer, 2020).

    x and gate (...) -> (...), or x (..., 2C, ...) -> (..., C, ...).  ValueError for an odd size, or unlike operands.

    >>> import weft
    >>> weft.swiglu(weft.asarray([2.0, 1.0])).numpy().round(4)
    array([1.4621], dtype=float32)
    """
    return gated_unit("swiglu", x, gate, axis, "silu")


def geglu(x: Any, gate: Any = None, *, axis: int = -1, approximate: str = "none") -> Tensor:
    """x * gelu(gate); without `gate` the halves of `axis`, the second one the gate, as in `glu` (Shazeer, 2020).

    x and gate (...) -> (...), or x (..., 2C, ...) -> (..., C, ...).  approximate: as in `gelu`.  ValueError for
    another, for an odd size, or unlike operands.

    >>> import weft
    >>> weft.geglu(weft.asarray([2.0, 1.0])).numpy().round(4)
    array([1.6827], dtype=float32)
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f"geglu: expected approximate 'none' or 'tanh', got {approximate!r}")
    return gated_unit("geglu", x, gate, axis, "gelu_tanh" if approximate == "tanh" else "gelu")


def reglu(x: Any, gate: Any = None, *, axis: int = -1) -> Tensor:
    """x * relu(gate); without `gate` the halves of `axis`, the second one the gate, as in `glu` (Shazeer, 2020).

    x and gate (...) -> (...), or x (..., 2C, ...) -> (..., C, ...).  ValueError for an odd size, or unlike operands.

    >>> import weft
    >>> weft.reglu(weft.asarray([2.0, 3.0, 1.0, -1.0])).numpy()
    array([2., 0.], dtype=float32)
    """
    return gated_unit("reglu", x, gate, axis, "relu")
