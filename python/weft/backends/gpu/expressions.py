"""The table of elementwise functions on devices: each is an expression in C that map.cu computes.

Names are those of `backends.array`. `a`, `b`, ... are the operands in the type that the function computes in: float for
16 bits, else the promoted type of the operands. The helpers are in kernels/expressions.cuh.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from weft.backends.gpu.array import check_real

FLOAT32 = np.dtype(np.float32)
NAMES = "abcdefgh"  # of operands, of which there are no more


class Types(dict[str, str]):
    """C types by dtype character; complex numbers have none."""

    def __missing__(self, char: str) -> str:
        check_real(np.dtype(char), "devices")
        raise KeyError(char)


#: C types by dtype character: in memory, and what they are computed in.
STORAGE = Types({
    "?": "bool",
    "b": "int8_t",
    "B": "uint8_t",
    "h": "int16_t",
    "H": "uint16_t",
    "i": "int32_t",
    "I": "uint32_t",
    "l": "int64_t",
    "L": "uint64_t",
    "q": "int64_t",
    "Q": "uint64_t",
    "e": "f16",
    "E": "bf16",
    "f": "float",
    "d": "double",
})  # fmt: skip
COMPUTE = Types({**STORAGE, "e": "float", "E": "float"})
WRAPPING = Types({**COMPUTE, **dict.fromkeys("bBhHiI", "uint32_t"), **dict.fromkeys("lLqQ", "uint64_t")})


class Expression(NamedTuple):
    """One function: C text per kind of operand. `integer` None: integers are computed as float32."""

    arity: int
    real: str
    integer: str | None = None
    boolean: str | None = None
    """None: bool counts as an integer type of `bool_as`."""
    result: str = "same"
    """"bool" for predicates, else "same": the type of the operands."""
    types: dict[str, str] = COMPUTE
    """What integers are computed in: WRAPPING where they may overflow."""
    bool_as: str = ""
    """The dtype that bool counts as where there is no boolean text: "b" as in NumPy, "" for a TypeError."""


def real_only(text: str) -> Expression:
    """A function of real numbers: integers and bool become float32."""
    return Expression(2 if "(a, b)" in text else 1, text)


def arithmetic(text: str, boolean: str | None = None) -> Expression:
    return Expression(2, text, text, boolean, types=WRAPPING)


def predicate(text: str, arity: int = 2) -> Expression:
    return Expression(arity, text, text, text, result="bool")


def rounding(text: str) -> Expression:
    """A function that leaves integers alone."""
    return Expression(1, text, "a", "a")


def bitwise(text: str, boolean: str) -> Expression:
    arity = 2 if "b" in text else 1
    return Expression(arity, "", text, boolean)


#: What is infinite is divided as it is; the rest is whole.
FLOOR_DIVIDE = "fabs(a) == INFINITY || fabs(b) == INFINITY ? a / b : real_floor_divide(a, b)"
LOGADDEXP = "a == b ? a + decltype(a)(0.6931471805599453) : larger(a, b) + log1p(exp(-fabs(a - b)))"
LEFT_SHIFT = "(unsigned long long)b < 8 * sizeof(a) ? decltype(a)(a << b) : decltype(a)(0)"
RIGHT_SHIFT = "(unsigned long long)b < 8 * sizeof(a) ? a >> b : decltype(a)(a < decltype(a)(0) ? -1 : 0)"

EXPRESSIONS: dict[str, Expression] = {
    # arithmetic
    "add": arithmetic("a + b", "a || b"),
    "subtract": arithmetic("a - b"),
    "multiply": arithmetic("a * b", "a && b"),
    "negative": Expression(1, "-a", "0 - a", types=WRAPPING),
    "square": Expression(1, "a * a", "a * a", types=WRAPPING, bool_as="b"),
    "divide": Expression(2, "a / b"),
    "floor_divide": Expression(2, FLOOR_DIVIDE, "integer_floor_divide(a, b)", bool_as="b"),
    "remainder": Expression(2, "real_remainder(a, b)", "integer_remainder(a, b)", bool_as="b"),
    "pow": Expression(2, "pow(a, b)", "integer_power(a, b)", bool_as="b"),
    "abs": Expression(1, "fabs(a)", "magnitude(a)", "a"),
    "sign": Expression(1, "sign_of(a)", "(a > 0) - (a < 0)"),
    "maximum": Expression(2, "larger(a, b)", "larger(a, b)", "a || b"),
    "minimum": Expression(2, "smaller(a, b)", "smaller(a, b)", "a && b"),
    "clip": Expression(3, "smaller(larger(a, b), c)", "smaller(larger(a, b), c)", "(a || b) && c"),
    # real functions
    "sqrt": real_only("sqrt(a)"),
    "exp": real_only("exp(a)"),
    "expm1": real_only("expm1(a)"),
    "log": real_only("log(a)"),
    "log1p": real_only("log1p(a)"),
    "log2": real_only("log2(a)"),
    "log10": real_only("log10(a)"),
    "sin": real_only("sin(a)"),
    "cos": real_only("cos(a)"),
    "tan": real_only("tan(a)"),
    "asin": real_only("asin(a)"),
    "acos": real_only("acos(a)"),
    "atan": real_only("atan(a)"),
    "atan2": real_only("atan2(a, b)"),
    "sinh": real_only("sinh(a)"),
    "cosh": real_only("cosh(a)"),
    "tanh": real_only("tanh(a)"),
    "asinh": real_only("asinh(a)"),
    "acosh": real_only("acosh(a)"),
    "atanh": real_only("atanh(a)"),
    "erf": real_only("erf(a)"),
    "sigmoid": real_only("sigmoid(a)"),
    "reciprocal": real_only("1 / a"),
    "hypot": Expression(2, "hypot(a, b)"),
    "logaddexp": Expression(2, LOGADDEXP),
    "copysign": Expression(2, "copysign(a, b)"),
    "nextafter": Expression(2, "nextafter(a, b)"),
    # rounding: to even in ties
    "floor": rounding("floor(a)"),
    "ceil": rounding("ceil(a)"),
    "trunc": rounding("trunc(a)"),
    "round": rounding("rint(a)"),
    # predicates
    "equal": predicate("a == b"),
    "not_equal": predicate("a != b"),
    "less": predicate("a < b"),
    "less_equal": predicate("a <= b"),
    "greater": predicate("a > b"),
    "greater_equal": predicate("a >= b"),
    "logical_and": predicate("a && b"),
    "logical_or": predicate("a || b"),
    "logical_xor": predicate("!a != !b"),
    "logical_not": predicate("!a", arity=1),
    "isnan": Expression(1, "a != a", "false", "false", result="bool"),
    "isinf": Expression(1, "fabs(a) == INFINITY", "false", "false", result="bool"),
    "isfinite": Expression(1, "fabs(a) < INFINITY", "true", "true", result="bool"),
    "signbit": Expression(1, "signbit(a)", result="bool"),
    # bits
    "bitwise_and": bitwise("a & b", "a && b"),
    "bitwise_or": bitwise("a | b", "a || b"),
    "bitwise_xor": bitwise("a ^ b", "a != b"),
    "bitwise_invert": bitwise("~a", "!a"),
    "bitwise_left_shift": Expression(2, "", LEFT_SHIFT, types=WRAPPING),
    "bitwise_right_shift": Expression(2, "", RIGHT_SHIFT),
    # activations and their gradients; b is the result of relu, the argument of the others
    "relu": Expression(1, "larger(a, decltype(a)(0))", "larger(a, decltype(a)(0))"),
    "relu_backward": Expression(2, "b <= 0 ? decltype(a)(0) : a", "b <= 0 ? decltype(a)(0) : a"),
    "gelu": real_only("gelu(a)"),
    "gelu_backward": real_only("gelu_backward(a, b)"),
    "gelu_tanh": real_only("gelu_tanh(a)"),
    "gelu_tanh_backward": real_only("gelu_tanh_backward(a, b)"),
    "silu": real_only("a * sigmoid(a)"),
    "silu_backward": real_only("silu_backward(a, b)"),
}

#: What moves values and computes nothing, in their own type: `where` (a is the condition), copies, and what a position
#: decides. i is the position in C order; p, q, r are integers.
MOVES = {
    "where": "a ? b : c",
    "copy": "a",
    "tril": "i % p <= i / p % q + r ? a : decltype(a)(0)",
    "triu": "i % p >= i / p % q + r ? a : decltype(a)(0)",
    "eye": "i % p == i / p + r",
    "arange": "a + b * i",
}


def promoted(a: np.dtype, b: np.dtype) -> np.dtype:
    """The dtype of an op on arrays of dtypes `a` and `b`; where kinds mix, the real one's."""
    if a == b:
        return a
    for x, y in ((a, b), (b, a)):
        if x.kind in "biu" and y.kind not in "biu":
            return y
    return np.result_type(a, b)


def text_of(name: str, dtype: np.dtype) -> tuple[np.dtype, str]:
    """The dtype that `name` computes with where its operands promote to `dtype`, and the C text."""
    entry = EXPRESSIONS[name]
    if dtype.kind == "b":
        if entry.boolean is not None:
            return dtype, entry.boolean
        if entry.integer is not None:
            if not entry.bool_as:
                raise TypeError(f"{name}: expected numbers, got bool")
            return np.dtype(entry.bool_as), entry.integer
    elif dtype.kind in "iu" and entry.integer is not None:
        return dtype, entry.integer
    if not entry.real:
        raise TypeError(f"{name}: expected integers or bool, got {dtype}")
    return (FLOAT32 if dtype.kind in "biu" else dtype), entry.real
