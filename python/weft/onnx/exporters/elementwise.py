"""Functions of each element."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from weft.onnx.dtypes import code_of
from weft.onnx.emit import Emitter, Value
from weft.onnx.errors import UnsupportedError
from weft.onnx.exporters import exports

UNARY = {
    "abs": "Abs", "acos": "Acos", "acosh": "Acosh", "asin": "Asin", "asinh": "Asinh", "atan": "Atan",
    "atanh": "Atanh", "cos": "Cos", "cosh": "Cosh", "erf": "Erf", "exp": "Exp", "log": "Log", "negative": "Neg",
    "relu": "Relu", "sigmoid": "Sigmoid", "sin": "Sin", "sinh": "Sinh", "sqrt": "Sqrt", "tan": "Tan", "tanh": "Tanh",
    "sign": "Sign", "softsign": "Softsign",
}  # fmt: skip
ARITHMETIC = {"add": "Add", "subtract": "Sub", "multiply": "Mul", "divide": "Div", "maximum": "Max", "minimum": "Min"}
COMPARISONS = {
    "equal": "Equal", "less": "Less", "greater": "Greater", "less_equal": "LessOrEqual",
    "greater_equal": "GreaterOrEqual",
}  # fmt: skip
LOGIC = {"logical_and": "And", "logical_or": "Or", "logical_xor": "Xor"}
BITS = {"bitwise_and": "And", "bitwise_or": "Or", "bitwise_xor": "Xor"}


def in_type(to: Emitter, x: Value) -> Any:
    """x in the dtype of the result, as ops of floats take integers."""
    return to.cast(x, x.dtype, to.outs[0].dtype)


def unary(kind: str) -> Any:
    return lambda to, x: to.node(kind, in_type(to, x))


def arithmetic(kind: str) -> Any:
    def write(to: Emitter, a: Any, b: Any) -> Any:
        dtype = to.outs[0].dtype
        return to.node(kind, to.scalar(a, dtype), to.scalar(b, dtype))

    return write


def common(a: Any, b: Any) -> Any:
    """The dtype in which a and b are compared."""
    types = [x.dtype for x in (a, b) if isinstance(x, Value)]
    scalars = [x for x in (a, b) if not isinstance(x, Value)]
    dtype = np.result_type(*types) if len(set(types)) > 1 else types[0]
    if any(type(x) is float for x in scalars) and dtype.kind in "biu":
        return np.dtype(np.float32)
    return dtype


def comparison(kind: str) -> Any:
    def write(to: Emitter, a: Any, b: Any) -> Any:
        dtype = common(a, b)
        if dtype == np.bool_ and kind != "Equal":
            dtype = np.dtype(np.int32)
        return to.node(kind, to.scalar(a, dtype), to.scalar(b, dtype))

    return write


def logic(kind: str) -> Any:
    return lambda to, a, b: to.node(kind, to.scalar(a, np.bool_), to.scalar(b, np.bool_))


def bits(kind: str) -> Any:
    def write(to: Emitter, a: Any, b: Any) -> Any:
        dtype = to.outs[0].dtype
        if dtype == np.bool_:
            return to.node(kind, to.scalar(a, dtype), to.scalar(b, dtype))
        needs_bits(to)
        return to.node(f"Bitwise{kind}", to.scalar(a, dtype), to.scalar(b, dtype))

    return write


def needs_bits(to: Emitter) -> None:
    if to.opset < 18:
        raise UnsupportedError(f"expected opset 18 or later for operators of bits, got {to.opset}")


for name, kind in UNARY.items():
    exports(name)(unary(kind))
for name, kind in ARITHMETIC.items():
    exports(name)(arithmetic(kind))
for name, kind in COMPARISONS.items():
    exports(name)(comparison(kind))
for name, kind in LOGIC.items():
    exports(name)(logic(kind))
for name, kind in BITS.items():
    exports(name)(bits(kind))


@exports("identity", "positive", "moved")
def same(to: Emitter, x: Any, **params: Any) -> Any:
    return to.node("Identity", x)


@exports("not_equal")
def not_equal(to: Emitter, a: Any, b: Any) -> Any:
    return to.node("Not", comparison("Equal")(to, a, b))


@exports("logical_not")
def logical_not(to: Emitter, x: Any) -> Any:
    return to.node("Not", to.scalar(x, np.bool_))


@exports("bitwise_invert")
def bitwise_invert(to: Emitter, x: Any) -> Any:
    if x.dtype == np.bool_:
        return to.node("Not", x)
    needs_bits(to)
    return to.node("BitwiseNot", x)


def rounding(kind: str) -> Any:
    return lambda to, x: to.node("Identity" if x.dtype.kind in "biu" else kind, x)


for name, kind in (("floor", "Floor"), ("ceil", "Ceil"), ("round", "Round")):
    exports(name)(rounding(kind))


@exports("trunc")
def trunc(to: Emitter, x: Any) -> Any:
    if x.dtype.kind in "biu":
        return to.node("Identity", x)
    return to.node("Mul", to.node("Floor", to.node("Abs", x)), to.node("Sign", x))


@exports("isnan")
def is_nan(to: Emitter, x: Any) -> Any:
    return to.node("IsNaN", to.cast(x, x.dtype, np.float32) if x.dtype.kind in "biu" else x)


@exports("isinf")
def is_infinite(to: Emitter, x: Any) -> Any:
    return to.node("IsInf", to.cast(x, x.dtype, np.float32) if x.dtype.kind in "biu" else x)


@exports("isfinite")
def is_finite(to: Emitter, x: Any) -> Any:
    return to.node("Not", to.node("Or", is_nan(to, x), is_infinite(to, x)))


def logarithm(base: float) -> Any:
    def write(to: Emitter, x: Any) -> Any:
        return to.node("Div", to.node("Log", in_type(to, x)), to.constant(math.log(base), to.outs[0].dtype))

    return write


@exports("expm1")
def expm1(to: Emitter, x: Any) -> Any:
    """2 t / (1 - t) of t = tanh(x / 2) near 0, where exp(x) - 1 would lose its digits; ONNX has no Expm1."""
    dtype, x = to.outs[0].dtype, in_type(to, x)
    half, one, two = (to.constant(c, dtype) for c in (0.5, 1, 2))
    t = to.node("Tanh", to.node("Mul", x, half))
    near = to.node("Div", to.node("Mul", t, two), to.node("Sub", one, t))
    return to.node("Where", is_near(to, x, dtype), near, to.node("Sub", to.node("Exp", x), one))


@exports("log1p")
def log1p(to: Emitter, x: Any) -> Any:
    """log(u) x / (u - 1) of u = 1 + x near 0, in which the rounding of u cancels (Kahan); ONNX has no Log1p."""
    dtype, x = to.outs[0].dtype, in_type(to, x)
    one = to.constant(1, dtype)
    u = to.node("Add", x, one)
    log, rest = to.node("Log", u), to.node("Sub", u, one)
    near = to.node("Mul", log, to.node("Div", x, rest))  # 0 / 0 where u is 1, and x is the value
    near = to.node("Where", to.node("Equal", rest, to.constant(0, dtype)), x, near)
    return to.node("Where", is_near(to, x, dtype), near, log)


def is_near(to: Emitter, x: Any, dtype: Any) -> Any:
    return to.node("Less", to.node("Abs", x), to.constant(0.5, dtype))


exports("log2")(logarithm(2))
exports("log10")(logarithm(10))


@exports("square")
def square(to: Emitter, x: Any) -> Any:
    return to.node("Mul", x, x)


@exports("pow")
def power(to: Emitter, a: Any, b: Any) -> Any:
    dtype = to.outs[0].dtype
    return to.node("Pow", to.scalar(a, dtype), to.scalar(b, dtype))


@exports("atan2")
def atan2(to: Emitter, a: Any, b: Any) -> Any:
    """atan(a / b), turned by half a circle where b is negative; of a 0 by a 0 it is 0."""
    dtype = to.outs[0].dtype
    a, b = to.scalar(a, dtype), to.scalar(b, dtype)
    zero, half = to.constant(0, dtype), to.constant(math.pi, dtype)
    angle = to.node("Atan", to.node("Div", a, b))
    angle = to.node("Where", to.node("And", to.node("Equal", a, zero), to.node("Equal", b, zero)), zero, angle)
    turn = to.node("Where", to.node("Less", a, zero), to.node("Neg", half), half)
    return to.node("Add", angle, to.node("Where", to.node("Less", b, zero), turn, zero))


@exports("floor_divide")
def floor_divide(to: Emitter, a: Any, b: Any) -> Any:
    dtype = to.outs[0].dtype
    a, b = to.scalar(a, dtype), to.scalar(b, dtype)
    if dtype.kind in "iu":
        return to.node("Div", to.node("Sub", a, to.node("Mod", a, b)), b)
    return to.node("Floor", to.node("Div", a, b))


@exports("remainder")
def remainder(to: Emitter, a: Any, b: Any) -> Any:
    dtype = to.outs[0].dtype
    a, b = to.scalar(a, dtype), to.scalar(b, dtype)
    if dtype.kind in "iu":
        return to.node("Mod", a, b)
    return to.node("Sub", a, to.node("Mul", to.node("Floor", to.node("Div", a, b)), b))


@exports("where")
def where(to: Emitter, condition: Any, a: Any, b: Any) -> Any:
    dtype = to.outs[0].dtype
    return to.node("Where", to.scalar(condition, np.bool_), to.scalar(a, dtype), to.scalar(b, dtype))


@exports("clip")
def clip(to: Emitter, x: Any, low: Any = None, high: Any = None) -> Any:
    dtype = to.outs[0].dtype
    if all(not isinstance(bound, Value) or bound.ndim == 0 for bound in (low, high)):
        bounds = [None if bound is None else to.scalar(bound, dtype) for bound in (low, high)]
        return to.node("Clip", in_type(to, x), *bounds)
    out = in_type(to, x)
    for bound, kind in ((low, "Max"), (high, "Min")):
        out = out if bound is None else to.node(kind, out, to.scalar(bound, dtype))
    return out


@exports("cast", "astype")
def cast(to: Emitter, x: Any, *, dtype: Any) -> Any:
    return to.node("Cast", x, to=code_of(dtype))


# ---- activations


@exports("gelu")
def gelu(to: Emitter, x: Any, *, approximate: str = "none") -> Any:
    if to.opset >= 20:
        return to.node("Gelu", x, approximate=approximate)
    half, one = to.constant(0.5, x.dtype), to.constant(1, x.dtype)
    if approximate == "tanh":
        cube = to.node("Mul", to.node("Mul", to.node("Mul", x, x), x), to.constant(0.044715, x.dtype))
        inner = to.node("Tanh", to.node("Mul", to.node("Add", x, cube), to.constant(math.sqrt(2 / math.pi), x.dtype)))
    else:
        inner = to.node("Erf", to.node("Mul", x, to.constant(math.sqrt(0.5), x.dtype)))
    return to.node("Mul", to.node("Mul", x, half), to.node("Add", inner, one))


@exports("silu")
def silu(to: Emitter, x: Any) -> Any:
    return to.node("Mul", x, to.node("Sigmoid", x))  # Swish of opset 24 is one that runtimes still lack


@exports("mish")
def mish(to: Emitter, x: Any) -> Any:
    return to.node("Mish", x) if to.opset >= 18 else to.node("Mul", x, to.node("Tanh", to.node("Softplus", x)))


@exports("hardswish")
def hardswish(to: Emitter, x: Any) -> Any:
    return to.node("HardSwish", x)


@exports("hardsigmoid")
def hardsigmoid(to: Emitter, x: Any) -> Any:
    return to.node("HardSigmoid", x, alpha=1 / 6, beta=0.5)


@exports("relu6")
def relu6(to: Emitter, x: Any) -> Any:
    return to.node("Clip", x, to.constant(0, x.dtype), to.constant(6, x.dtype))


@exports("hardtanh")
def hardtanh(to: Emitter, x: Any, *, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    return to.node("Clip", x, to.constant(min_val, x.dtype), to.constant(max_val, x.dtype))


@exports("leaky_relu")
def leaky_relu(to: Emitter, x: Any, *, negative_slope: float = 0.01) -> Any:
    return to.node("LeakyRelu", x, alpha=negative_slope)


@exports("elu")
def elu(to: Emitter, x: Any, *, alpha: float = 1.0) -> Any:
    return to.node("Elu", x, alpha=alpha)


@exports("celu")
def celu(to: Emitter, x: Any, *, alpha: float = 1.0) -> Any:
    return to.node("Celu", x, alpha=alpha)


@exports("selu")
def selu(to: Emitter, x: Any) -> Any:
    return to.node("Selu", x)


@exports("softplus")
def softplus(to: Emitter, x: Any, *, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """`threshold` is where weft's own takes x itself; the two differ by less than exp(-threshold) / beta there."""
    if threshold < 15:
        raise UnsupportedError(f"expected a threshold of at least 15, below which ONNX's differs, got {threshold}")
    if beta == 1:
        return to.node("Softplus", x)
    factor = to.constant(beta, x.dtype)
    return to.node("Div", to.node("Softplus", to.node("Mul", x, factor)), factor)


@exports("logsigmoid")
def logsigmoid(to: Emitter, x: Any) -> Any:
    return to.node("Neg", to.node("Softplus", to.node("Neg", x)))


@exports("softmax")
def softmax(to: Emitter, x: Any, *, axis: int = -1) -> Any:
    return to.node("Softmax", x, axis=axis)


@exports("log_softmax")
def log_softmax(to: Emitter, x: Any, *, axis: int = -1) -> Any:
    return to.node("LogSoftmax", x, axis=axis)


def activated(to: Emitter, x: Any, dtype: Any, activation: str) -> Any:
    value = Value(x, np.empty((), dtype), np.empty((), dtype))
    if activation == "silu":
        return silu(to, value)
    if activation in ("gelu", "gelu_tanh"):
        return gelu(to, value, approximate="tanh" if activation == "gelu_tanh" else "none")
    return to.node({"sigmoid": "Sigmoid", "relu": "Relu"}[activation], x)


@exports("gated")
def gated(to: Emitter, x: Any, gate: Any, *, activation: str) -> Any:
    return to.node("Mul", x, activated(to, gate.name, gate.dtype, activation))


@exports("gated_halves")
def gated_halves(to: Emitter, x: Any, *, axis: int, activation: str) -> Any:
    value, gate = to.split(x, 2, axis)
    return to.node("Mul", value, activated(to, gate, x.dtype, activation))
