"""Functions of each element alone, with broadcasting."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

import weft
from weft.onnx.operators import operator
from weft.onnx.operators.common import flag, host, is_float, is_integer, like, one_of

UNARY = {  # name -> (the first opset of today's meaning, weft's op)
    "Abs": (6, weft.abs), "Neg": (6, weft.negative), "Ceil": (6, weft.ceil), "Floor": (6, weft.floor),
    "Round": (11, weft.round), "Sqrt": (6, weft.sqrt), "Exp": (6, weft.exp), "Log": (6, weft.log),
    "Sin": (7, weft.sin), "Cos": (7, weft.cos), "Tan": (7, weft.tan), "Asin": (7, weft.asin), "Acos": (7, weft.acos),
    "Atan": (7, weft.atan), "Sinh": (9, weft.sinh), "Cosh": (9, weft.cosh), "Asinh": (9, weft.asinh),
    "Acosh": (9, weft.acosh), "Atanh": (9, weft.atanh), "Erf": (9, weft.erf), "Sign": (9, weft.sign),
    "Not": (1, weft.logical_not), "BitwiseNot": (18, weft.bitwise_invert), "IsNaN": (9, weft.isnan),
    "Sigmoid": (6, weft.sigmoid), "Tanh": (6, weft.tanh),
}  # fmt: skip
BINARY = {
    "Add": (7, weft.add), "Sub": (7, weft.subtract), "Mul": (7, weft.multiply),
    "And": (7, weft.logical_and), "Or": (7, weft.logical_or), "Xor": (7, weft.logical_xor),
    "BitwiseAnd": (18, weft.bitwise_and), "BitwiseOr": (18, weft.bitwise_or), "BitwiseXor": (18, weft.bitwise_xor),
    "Equal": (7, weft.equal), "Less": (7, weft.less), "Greater": (7, weft.greater),
    "LessOrEqual": (12, weft.less_equal), "GreaterOrEqual": (12, weft.greater_equal),
}  # fmt: skip


def unary(function: Any) -> Any:
    return lambda x: function(x)


def binary(name: str, function: Any) -> Any:
    def run(a: Any, b: Any) -> Any:
        same_type(name, a, b)
        return function(a, b)

    return run


def same_type(name: str, *xs: Any) -> None:
    """ONNX never mixes types by itself, so what does is a mistake of the model's."""
    if any(x.dtype != xs[0].dtype for x in xs):
        raise TypeError(f"{name}: expected inputs of one type, got {', '.join(str(x.dtype) for x in xs)}")


for name, (since, function) in UNARY.items():
    operator(name, since)(unary(function))
for name, (since, function) in BINARY.items():
    operator(name, since)(binary(name, function))


@operator("Identity")
def identity(x: Any) -> Any:
    return x


@operator("Reciprocal", 6)
def reciprocal(x: Any) -> Any:
    return 1.0 / x


@operator("Div", 7)
def divide(a: Any, b: Any) -> Any:
    """Integers are divided towards 0."""
    same_type("Div", a, b)
    if not is_integer(a):
        return weft.divide(a, b)
    x, y = host(a), host(b)
    if (y == 0).any():
        raise ZeroDivisionError("Div: expected no integer 0 to divide by, got one")
    whole = np.floor_divide(x, y)
    return like((whole + ((np.remainder(x, y) != 0) & ((x < 0) != (y < 0)))).astype(x.dtype), a)


@operator("Mod", 10)
def modulo(a: Any, b: Any, *, fmod: int = 0) -> Any:
    """The remainder with the sign of b, or with `fmod` that of a."""
    same_type("Mod", a, b)
    if not flag("fmod", fmod):
        return weft.remainder(a, b)
    if is_integer(a):
        return like(np.fmod(host(a), host(b)), a)
    return weft.remainder(weft.abs(a), weft.abs(b)) * weft.sign(a)


@operator("Pow", 7)
def power(a: Any, b: Any) -> Any:
    """The type is that of the base."""
    dtype = a.dtype
    if dtype == b.dtype:
        return weft.pow(a, b)
    if is_float(a):
        return weft.pow(a, b.astype(dtype))
    if not is_float(b) and not (host(b) < 0).any():  # beyond 2**53 float64 would lose digits
        return weft.pow(a.astype(np.int64), b.astype(np.int64)).astype(dtype)
    return weft.pow(a.astype(np.float64), b.astype(np.float64)).astype(dtype)


@operator("BitShift", 11)
def bit_shift(x: Any, y: Any, *, direction: str) -> Any:
    one_of("direction", direction, ("LEFT", "RIGHT"))
    a, b = host(x), host(y)
    bits = 8 * a.dtype.itemsize
    shifted = (np.left_shift if direction == "LEFT" else np.right_shift)(a, np.clip(b, 0, bits - 1).astype(a.dtype))
    beyond = np.where(a < 0, -1, 0) if direction == "RIGHT" else 0  # the sign fills a number that is shifted out
    return like(np.where((b >= bits) | (b < 0), beyond, shifted).astype(a.dtype), x)


def variadic(function: Any) -> Any:
    def run(first: Any, *others: Any) -> Any:
        same_type("onnx", first, *others)
        return functools.reduce(function, others, first)

    return run


operator("Sum", 8)(variadic(weft.add))
operator("Max", 8)(variadic(weft.maximum))
operator("Min", 8)(variadic(weft.minimum))


@operator("Mean", 8)
def mean(first: Any, *others: Any) -> Any:
    return variadic(weft.add)(first, *others) / (1 + len(others))


@operator("Where", 9)
def where(condition: Any, a: Any, b: Any) -> Any:
    same_type("Where", a, b)
    return weft.where(condition, a, b)


@operator("Clip", 6)
def clip_by_attributes(x: Any, *, min: float = -3.4028234663852886e38, max: float = 3.4028234663852886e38) -> Any:
    return weft.clip(x, min, max)


@operator("Clip", 11)
def clip(x: Any, low: Any = None, high: Any = None) -> Any:
    low, high = (None if bound is None else bound.reshape(()) for bound in (low, high))
    return weft.clip(x, low, high)


@operator("IsInf", 10)
def is_infinite(x: Any, *, detect_negative: int = 1, detect_positive: int = 1) -> Any:
    up, down = flag("detect_positive", detect_positive), flag("detect_negative", detect_negative)
    found = weft.isinf(x)
    if up and down:
        return found
    sign = weft.greater(x, 0) if up else weft.less(x, 0)
    return weft.logical_and(found, sign) if up or down else weft.zeros_like(found)


@operator("Softplus")
def softplus(x: Any) -> Any:
    return weft.softplus(x, threshold=math.inf)


@operator("PRelu", 7)
def prelu(x: Any, slope: Any) -> Any:
    """slope broadcasts to x in one direction."""
    return weft.where(weft.greater_equal(x, 0), x, x * weft.broadcast_to(slope, x.shape))
