"""Special values, one by one, as the standard's text has them: NaN, infinities, zeros of either sign, real and complex.

Where the text has a slip, and where it leaves a choice, docs/array-api.md says what Weft does.
"""

from __future__ import annotations

import cmath
import math
import operator
import warnings

import numpy as np
import pytest

import weft

inf, nan, pi = math.inf, math.nan, math.pi
GRID = [0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0, 2.5, -2.5, inf, -inf, nan]


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


def agrees(got: float, want: float) -> bool:
    """Equal up to rounding, NaN to NaN, and zeros with their signs."""
    if math.isnan(want) or math.isinf(want):
        return math.isnan(got) if math.isnan(want) else got == want
    if want == 0:
        return got == 0 and math.copysign(1, got) == math.copysign(1, want)
    return math.isclose(got, want, rel_tol=1e-6)


# -- one real number ---------------------------------------------------------------------------------------------------

ODD = [(0.0, 0.0), (-0.0, -0.0), (nan, nan)]  # zeros keep their sign
WHOLE = [*ODD, (inf, inf), (-inf, -inf), (3.0, 3.0), (-4.0, -4.0)]
UNARY = {
    "abs": [(nan, nan), (-0.0, 0.0), (-inf, inf), (inf, inf)],
    "acos": [(nan, nan), (1.5, nan), (-1.5, nan), (inf, nan), (1.0, 0.0)],
    "acosh": [(nan, nan), (0.5, nan), (-inf, nan), (1.0, 0.0), (inf, inf)],
    "asin": [*ODD, (1.5, nan), (-1.5, nan), (-inf, nan)],
    "asinh": [*ODD, (inf, inf), (-inf, -inf)],
    "atan": [*ODD, (inf, pi / 2), (-inf, -pi / 2)],
    "atanh": [*ODD, (1.5, nan), (-1.5, nan), (1.0, inf), (-1.0, -inf)],
    "ceil": [*WHOLE, (-0.5, -0.0), (2.5, 3.0)],
    "cos": [(nan, nan), (0.0, 1.0), (-0.0, 1.0), (inf, nan), (-inf, nan)],
    "cosh": [(nan, nan), (0.0, 1.0), (-0.0, 1.0), (inf, inf), (-inf, inf)],
    "exp": [(nan, nan), (0.0, 1.0), (-0.0, 1.0), (inf, inf), (-inf, 0.0)],
    "expm1": [*ODD, (inf, inf), (-inf, -1.0)],
    "floor": [*WHOLE, (-0.5, -1.0), (2.5, 2.0)],
    "log": [(nan, nan), (-1.0, nan), (-inf, nan), (0.0, -inf), (-0.0, -inf), (1.0, 0.0), (inf, inf)],
    "log1p": [*ODD, (-2.0, nan), (-1.0, -inf), (inf, inf)],
    "log2": [(nan, nan), (-1.0, nan), (0.0, -inf), (-0.0, -inf), (1.0, 0.0), (inf, inf)],
    "log10": [(nan, nan), (-1.0, nan), (0.0, -inf), (-0.0, -inf), (1.0, 0.0), (inf, inf)],
    "negative": [(0.0, -0.0), (-0.0, 0.0), (inf, -inf), (nan, nan)],
    "positive": WHOLE,
    "reciprocal": [(0.0, inf), (-0.0, -inf), (inf, 0.0), (-inf, -0.0), (nan, nan)],
    "round": [*WHOLE, (0.5, 0.0), (1.5, 2.0), (2.5, 2.0), (-0.5, -0.0), (-1.5, -2.0)],
    "sign": [(-2.0, -1.0), (2.0, 1.0), (inf, 1.0), (-inf, -1.0), (nan, nan)],
    "sin": [*ODD, (inf, nan), (-inf, nan)],
    "sinh": [*ODD, (inf, inf), (-inf, -inf)],
    "square": [(0.0, 0.0), (-0.0, 0.0), (inf, inf), (-inf, inf), (nan, nan)],
    "sqrt": [*ODD, (-1.0, nan), (-inf, nan), (inf, inf)],
    "tan": [*ODD, (inf, nan), (-inf, nan)],
    "tanh": [*ODD, (inf, 1.0), (-inf, -1.0)],
    "trunc": [*WHOLE, (-0.5, -0.0), (2.5, 2.0), (-2.5, -2.0)],
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", sorted(UNARY))
def test_of_one_real_number(name, dtype):
    given, wanted = zip(*UNARY[name], strict=True)
    got = getattr(weft, name)(weft.asarray(np.array(given, dtype))).tolist()
    for x, g, w in zip(given, got, wanted, strict=True):
        assert agrees(g, w), f"{name}({x}) is {g}, the standard says {w}"


@pytest.mark.parametrize(
    "name, true", [("isnan", [nan]), ("isinf", [inf, -inf]), ("isfinite", [v for v in GRID if math.isfinite(v)])]
)
def test_predicates(name, true):
    got = getattr(weft, name)(weft.asarray(GRID)).tolist()
    assert got == [any(v == t or (v != v and t != t) for t in true) for v in GRID]
    parts = weft.asarray([complex(a, b) for a in GRID for b in GRID])
    both = [(a, b) for a in GRID for b in GRID]
    join = all if name == "isfinite" else any
    assert getattr(weft, name)(parts).tolist() == [join(got[GRID_INDEX(v)] for v in pair) for pair in both]


def GRID_INDEX(value):  # noqa: N802
    return next(i for i, v in enumerate(GRID) if v == value or (v != v and value != value))


def test_signbit_sees_the_sign_of_zeros_and_of_nan():
    x = weft.asarray([0.0, -0.0, inf, -inf, 1.0, -1.0, nan, math.copysign(nan, -1)])
    assert weft.signbit(x).tolist() == [False, True, False, True, False, True, False, True]


# -- two real numbers --------------------------------------------------------------------------------------------------


def finite(*xs):
    return all(math.isfinite(x) for x in xs)


def zero_like(negative):
    return -0.0 if negative else 0.0


def minus(x):
    """Whether the sign of x is negative, that of -0.0 too."""
    return math.copysign(1, x) < 0


def quotient(a, b):
    if math.isnan(a) or math.isnan(b) or (math.isinf(a) and math.isinf(b)) or (a == 0 and b == 0):
        return nan
    negative = minus(a) != minus(b)
    if b == 0 or math.isinf(a):
        return -inf if negative else inf
    return zero_like(negative) if a == 0 or math.isinf(b) else a / b


def whole_quotient(a, b):
    q = quotient(a, b)
    return float(math.floor(q)) if math.isfinite(q) and q != 0 else q


def remainder(a, b):
    if not finite(a) or math.isnan(b) or b == 0:
        return nan
    if math.isinf(b):
        return math.copysign(0.0, b) if a == 0 else a if (a > 0) == (b > 0) else b
    return math.copysign(a % b, b)


def power(a, b):
    odd = finite(b) and b == int(b) and b % 2 == 1
    if b == 0 or a == 1:
        return 1.0
    if math.isnan(a) or math.isnan(b):
        return nan
    if math.isinf(b):
        return 1.0 if abs(a) == 1 else inf if (abs(a) > 1) == (b > 0) else 0.0
    if a == 0 or math.isinf(a):
        size = inf if (a == 0) == (b < 0) else 0.0
        return math.copysign(size, -1) if odd and minus(a) else size
    return nan if a < 0 and b != int(b) else math.pow(a, b)


def added(a, b):
    if math.isnan(a) or math.isnan(b) or (math.isinf(a) and math.isinf(b) and a != b):
        return nan
    return zero_like(minus(a) and minus(b)) if a == 0 and b == 0 else 0.0 if a == -b else a + b


def product(a, b):
    if math.isnan(a) or math.isnan(b) or (math.isinf(a) and b == 0) or (a == 0 and math.isinf(b)):
        return nan
    return math.copysign(abs(a) * abs(b), -1 if minus(a) != minus(b) else 1)


def angle(y, x):
    return nan if math.isnan(x) or math.isnan(y) else math.atan2(y, x)


def joined(a, b):
    if math.isnan(a) or math.isnan(b):
        return nan
    return max(a, b) + 0.0 if math.isinf(a) or math.isinf(b) else math.log(math.exp(a) + math.exp(b))


def length(a, b):
    return inf if math.isinf(a) or math.isinf(b) else nan if math.isnan(a) or math.isnan(b) else math.hypot(a, b)


def largest(a, b):
    return nan if math.isnan(a) or math.isnan(b) else max(a, b)


def smallest(a, b):
    return nan if math.isnan(a) or math.isnan(b) else min(a, b)


BINARY = {
    "add": added, "subtract": lambda a, b: added(a, -b), "multiply": product, "divide": quotient,
    "floor_divide": whole_quotient, "remainder": remainder, "pow": power, "atan2": angle, "logaddexp": joined,
    "hypot": length, "maximum": largest, "minimum": smallest, "copysign": math.copysign,
}  # fmt: skip
ORDER_OF_ZEROS = ("maximum", "minimum")  # which of 0.0 and -0.0 is larger the standard leaves open
OPERATORS = {
    "add": operator.add, "subtract": operator.sub, "multiply": operator.mul, "divide": operator.truediv,
    "floor_divide": operator.floordiv, "remainder": operator.mod, "pow": operator.pow,
}  # fmt: skip
IN_PLACE = {
    "add": operator.iadd, "subtract": operator.isub, "multiply": operator.imul, "divide": operator.itruediv,
    "floor_divide": operator.ifloordiv, "remainder": operator.imod, "pow": operator.ipow,
}  # fmt: skip


def check_pairs(name, call, dtype):
    pairs = [(a, b) for a in GRID for b in GRID]
    left, right = (weft.asarray(np.array(v, dtype)) for v in zip(*pairs, strict=True))
    for (a, b), g in zip(pairs, call(left, right).tolist(), strict=True):
        w = BINARY[name](a, b)
        if name in ORDER_OF_ZEROS and w == 0:
            g, w = abs(g), 0.0
        assert agrees(g, w), f"{name}({a}, {b}) is {g}, the standard says {w}"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", sorted(BINARY))
def test_of_two_real_numbers(name, dtype):
    check_pairs(name, getattr(weft, name), dtype)


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_of_operators(name):
    check_pairs(name, OPERATORS[name], "float32")
    check_pairs(name, IN_PLACE[name], "float64")


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_with_python_numbers(name):
    for s in GRID:
        x = weft.asarray(GRID)
        for g, a in zip(OPERATORS[name](x, s).tolist(), GRID, strict=True):
            assert agrees(g, BINARY[name](a, s)), f"{name}({a}, {s}) is {g}"
        for g, b in zip(OPERATORS[name](s, x).tolist(), GRID, strict=True):
            assert agrees(g, BINARY[name](s, b)), f"{name}({s}, {b}) is {g}"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nextafter(dtype):
    pairs = [(0.0, -0.0), (-0.0, 0.0), (nan, 1.0), (1.0, nan), (inf, 0.0), (1.0, inf), (1.0, 1.0), (0.0, 1.0)]
    left, right = (np.array(v, dtype) for v in zip(*pairs, strict=True))
    got = weft.nextafter(weft.asarray(left), weft.asarray(right)).numpy()
    info = np.finfo(dtype)
    want = np.array([-0.0, 0.0, nan, nan, info.max, 1 + info.eps, 1, info.smallest_subnormal], dtype)
    np.testing.assert_array_equal(got, want)
    assert np.signbit(got[:2]).tolist() == [True, False]


@pytest.mark.parametrize("name", ["equal", "not_equal", "less", "less_equal", "greater", "greater_equal"])
def test_comparisons(name):
    compare = {"equal": operator.eq, "not_equal": operator.ne, "less": operator.lt, "less_equal": operator.le,
               "greater": operator.gt, "greater_equal": operator.ge}[name]  # fmt: skip
    pairs = [(a, b) for a in GRID for b in GRID]
    left, right = (weft.asarray(v) for v in zip(*pairs, strict=True))
    for got in (getattr(weft, name)(left, right), compare(left, right)):
        assert got.tolist() == [compare(a, b) for a, b in pairs]


# -- one complex number ------------------------------------------------------------------------------------------------



def cis(b):
    return complex(math.cos(b), math.sin(b))


F = [1.5, -2.0]  # nonzero finite numbers
P = [1.5, 0.25]  # positive ones
ANY = [0.0, -0.0, *F]  # finite numbers
#: (real parts, imaginary parts, real part of the result, its imaginary part, which of the two may have either sign)
COMPLEX = {
    "acos": [
        ([0.0, -0.0], [0.0], pi / 2, -0.0), ([0.0, -0.0], [nan], pi / 2, nan), (ANY, [inf], pi / 2, -inf),
        (F, [nan], nan, nan), ([-inf], P, pi, -inf), ([inf], P, 0.0, -inf), ([-inf], [inf], 3 * pi / 4, -inf),
        ([inf], [inf], pi / 4, -inf), ([inf, -inf], [nan], nan, inf, "imag"), ([nan], ANY, nan, nan),
        ([nan], [inf], nan, -inf), ([nan], [nan], nan, nan),
    ],
    "acosh": [
        ([0.0, -0.0], [0.0], 0.0, pi / 2), (ANY, [inf], inf, pi / 2), (F, [nan], nan, nan),
        ([0.0], [nan], nan, pi / 2, "imag"), ([-inf], P, inf, pi), ([inf], P, inf, 0.0),
        ([-inf], [inf], inf, 3 * pi / 4), ([inf], [inf], inf, pi / 4), ([inf, -inf], [nan], inf, nan),
        ([nan], ANY, nan, nan), ([nan], [inf], inf, nan), ([nan], [nan], nan, nan),
    ],
    "asinh": [
        ([0.0], [0.0], 0.0, 0.0), (P, [inf], inf, pi / 2), (ANY, [nan], nan, nan), ([inf], P, inf, 0.0),
        ([inf], [inf], inf, pi / 4), ([nan], [0.0], nan, 0.0), ([nan], F, nan, nan), ([nan], [inf], inf, nan, "real"),
        ([nan], [nan], nan, nan),
    ],
    "atanh": [
        ([0.0], [0.0], 0.0, 0.0), ([0.0], [nan], 0.0, nan), ([1.0], [0.0], inf, 0.0), (P, [inf], 0.0, pi / 2),
        (F, [nan], nan, nan), ([inf], P, 0.0, pi / 2), ([inf], [inf], 0.0, pi / 2), ([inf], [nan], 0.0, nan),
        ([nan], ANY, nan, nan), ([nan], [inf], 0.0, pi / 2, "real"), ([nan], [nan], nan, nan),
    ],
    "cosh": [
        ([0.0], [0.0], 1.0, 0.0), ([0.0], [inf, nan], nan, 0.0, "imag"), (F, [inf, nan], nan, nan),
        ([inf], [0.0], inf, 0.0), ([inf], F, lambda b: inf * cis(b).real, lambda b: inf * cis(b).imag),
        ([inf], [inf], inf, nan, "real"), ([inf], [nan], inf, nan), ([nan], [0.0, -0.0], nan, 0.0, "imag"),
        ([nan], F, nan, nan), ([nan], [nan], nan, nan),
    ],
    "exp": [
        ([0.0, -0.0], [0.0], 1.0, 0.0), (ANY, [inf, nan], nan, nan), ([inf], [0.0], inf, 0.0),
        ([-inf], F, lambda b: 0.0 * cis(b).real, lambda b: 0.0 * cis(b).imag),
        ([inf], F, lambda b: inf * cis(b).real, lambda b: inf * cis(b).imag),
        ([-inf], [inf, nan], 0.0, 0.0, "both"), ([inf], [inf, nan], inf, nan, "real"), ([nan], [0.0], nan, 0.0),
        ([nan], [*F, inf, nan], nan, nan),
    ],
    "expm1": [
        ([0.0, -0.0], [0.0], 0.0, 0.0), (ANY, [inf, nan], nan, nan), ([inf], [0.0], inf, 0.0),
        ([-inf], F, -1.0, lambda b: 0.0 * cis(b).imag),
        ([inf], F, lambda b: inf * cis(b).real, lambda b: inf * cis(b).imag),
        ([-inf], [inf, nan], -1.0, 0.0, "imag"), ([inf], [inf, nan], inf, nan, "real"), ([nan], [0.0], nan, 0.0),
        ([nan], [*F, inf, nan], nan, nan),
    ],
    "log": [
        ([-0.0], [0.0], -inf, pi), ([0.0], [0.0], -inf, 0.0), (ANY, [inf], inf, pi / 2), (ANY, [nan], nan, nan),
        ([-inf], P, inf, pi), ([inf], P, inf, 0.0), ([-inf], [inf], inf, 3 * pi / 4), ([inf], [inf], inf, pi / 4),
        ([inf, -inf], [nan], inf, nan), ([nan], ANY, nan, nan), ([nan], [inf], inf, nan), ([nan], [nan], nan, nan),
    ],
    "log1p": [
        ([-1.0], [0.0], -inf, 0.0), (ANY, [inf], inf, pi / 2), (ANY, [nan], nan, nan), ([-inf], P, inf, pi),
        ([inf], P, inf, 0.0), ([-inf], [inf], inf, 3 * pi / 4), ([inf], [inf], inf, pi / 4),
        ([inf, -inf], [nan], inf, nan), ([nan], ANY, nan, nan), ([nan], [inf], inf, nan), ([nan], [nan], nan, nan),
    ],
    "sinh": [
        ([0.0], [0.0], 0.0, 0.0), ([0.0], [inf, nan], 0.0, nan, "real"), (P, [inf, nan], nan, nan),
        ([inf], [0.0], inf, 0.0), ([inf], P, lambda b: inf * cis(b).real, lambda b: inf * cis(b).imag),
        ([inf], [inf, nan], inf, nan, "real"), ([nan], [0.0], nan, 0.0), ([nan], F, nan, nan), ([nan], [nan], nan, nan),
    ],
    "sqrt": [
        ([0.0, -0.0], [0.0], 0.0, 0.0), ([*ANY, inf, -inf, nan], [inf], inf, inf), (ANY, [nan], nan, nan),
        ([-inf], P, 0.0, inf), ([inf], P, inf, 0.0), ([-inf], [nan], nan, inf, "imag"), ([inf], [nan], inf, nan),
        ([nan], [*ANY, nan], nan, nan),
    ],
    "tanh": [
        ([0.0], [0.0], 0.0, 0.0), (F, [inf, nan], nan, nan), ([inf], [*P, 2.0], 1.0, 0.0),
        ([inf], [inf, nan], 1.0, 0.0, "imag"), ([nan], [0.0], nan, 0.0), ([nan], F, nan, nan), ([nan], [nan], nan, nan),
    ],
    "sign": [([0.0, -0.0], [0.0, -0.0], 0.0, 0.0), ([nan], [*ANY, inf, nan], nan, nan), (ANY, [nan], nan, nan)],
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("name", sorted(COMPLEX))
def test_of_one_complex_number(name, dtype):
    for reals, imags, *wanted in COMPLEX[name]:
        either = wanted[2] if len(wanted) == 3 else ""
        for a in reals:
            for b in imags:
                z = np.array(complex(0, 0), dtype)
                z.real, z.imag = a, b
                got = getattr(weft, name)(weft.asarray(z)).numpy()
                want = [w(b) if callable(w) else w for w in wanted[:2]]
                for part, g, w in zip(("real", "imag"), (got.real, got.imag), want, strict=True):
                    g = abs(float(g)) if either in (part, "both") else float(g)
                    assert agrees(g, w), f"{name}({a} + {b}j) is {got}, the standard says {want} {either}"


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_tangents_are_hyperbolic_tangents_turned_around(dtype):
    """tan(z) is -1j * tanh(1j * z), with the signs of zeros."""
    for a in [*ANY, inf, -inf]:
        for b in [*ANY, inf, -inf]:
            z, turned = np.empty((), dtype), np.empty((), dtype)
            z.real, z.imag, turned.real, turned.imag = a, b, -b, a
            got, tanh = (f(weft.asarray(v)).numpy() for f, v in ((weft.tan, z), (weft.tanh, turned)))
            assert agrees(got.real, tanh.imag) and agrees(got.imag, -tanh.real), (z, got, tanh)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_absolute_values_of_complex_numbers(dtype):
    for a in GRID:
        for b in GRID:
            z = np.array(complex(a, b), dtype)
            assert agrees(weft.abs(weft.asarray(z)).item(), length(a, b)), z


SYMMETRIC = "acos acosh asin asinh atan atanh cos cosh exp expm1 log log1p log2 log10 sin sinh sqrt tan tanh".split()


@pytest.mark.parametrize("name", SYMMETRIC)
def test_functions_of_conjugates_are_conjugates(name):
    parts = [0.3, -0.3, 2.0, -2.0, inf, -inf]
    z = weft.asarray(np.array([complex(a, b) for a in parts for b in parts]))
    f = getattr(weft, name)
    np.testing.assert_allclose(f(weft.conj(z)).numpy(), weft.conj(f(z)).numpy(), rtol=1e-13)


@pytest.mark.parametrize("name", [name for name in SYMMETRIC if hasattr(cmath, name)])
def test_branch_cuts_follow_c99(name):
    """The sign of a zero tells the side of a cut, as Python's cmath has it."""
    parts = [0.0, -0.0, 0.5, -0.5, 2.0, -2.0]
    for a in parts:
        for b in parts:
            try:
                want = getattr(cmath, name)(complex(a, b))
            except ValueError:  # a pole
                continue
            got = getattr(weft, name)(weft.asarray(np.array(complex(a, b)))).item()
            np.testing.assert_allclose([got.real, got.imag], [want.real, want.imag], rtol=1e-13, atol=1e-15,
                                       err_msg=f"{name}({a}, {b})")  # fmt: skip


@pytest.mark.parametrize("name", ["expm1", "log1p"])
def test_small_complex_numbers_keep_their_digits(name):
    for z in (1e-12 + 3e-12j, -2e-10 + 1e-14j, 1e-20 - 1e-20j):
        got = getattr(weft, name)(weft.asarray(np.array(z))).item()
        sign = 1 if name == "expm1" else -1
        want = z + sign * z * z / 2  # the next term is below the last digit
        assert cmath.isclose(got, want, rel_tol=1e-14), (name, z, got, want)


def test_branch_cut_of_zero_signs_of_sums():
    z, w = (weft.asarray(np.array(complex(-0.0, s))) for s in (0.0, -0.0))
    total = (z + w).item()
    assert minus(total.real) and not minus(total.imag)
