"""Elementwise functions without gradients: comparisons, logic, bits, predicates, and rounding."""

from __future__ import annotations

from collections.abc import Callable

from weft.autograd import Tensor, op
from weft.backends.array import namespace
from weft.ops.complex import check_ordered
from weft.ops.elementwise import promote


def plain(name: str, doc: str, inputs: int, ordered: bool = False) -> Callable[..., Tensor]:
    """An elementwise function with no gradient; ordered: complex numbers are refused."""

    def unary(x, /):
        if ordered:
            check_ordered(name, x)
        return getattr(namespace(x), name)(x), None

    def binary(a, b, /):
        if ordered:
            check_ordered(name, a, b)
        a, b = promote(a, b)
        return getattr(namespace(a, b), name)(a, b), None

    body = unary if inputs == 1 else binary
    body.__name__ = body.__qualname__ = name
    body.__doc__ = doc
    return op(body)


equal = plain("equal", "a == b, elementwise.", 2)
not_equal = plain("not_equal", "a != b, elementwise.", 2)
less = plain("less", "a < b, elementwise.", 2, ordered=True)
less_equal = plain("less_equal", "a <= b, elementwise.", 2, ordered=True)
greater = plain("greater", "a > b, elementwise.", 2, ordered=True)
greater_equal = plain("greater_equal", "a >= b, elementwise.", 2, ordered=True)
logical_and = plain("logical_and", "a and b, elementwise.", 2)
logical_or = plain("logical_or", "a or b, elementwise.", 2)
logical_xor = plain("logical_xor", "Either a or b, elementwise.", 2)
logical_not = plain("logical_not", "not x, elementwise.", 1)
bitwise_and = plain("bitwise_and", "a & b, elementwise.", 2)
bitwise_or = plain("bitwise_or", "a | b, elementwise.", 2)
bitwise_xor = plain("bitwise_xor", "a ^ b, elementwise.", 2)
bitwise_invert = plain("bitwise_invert", "~x, elementwise.", 1)
bitwise_left_shift = plain("bitwise_left_shift", "a << b, elementwise; what leaves the type is lost.", 2)
bitwise_right_shift = plain("bitwise_right_shift", "a >> b, elementwise; the sign of a fills what becomes free.", 2)
isnan = plain("isnan", "Whether x (of a complex number one part) is NaN, elementwise.", 1)
isinf = plain("isinf", "Whether x (of a complex number one part) is infinite, elementwise.", 1)
isfinite = plain("isfinite", "Whether x (with both its parts) is neither NaN nor infinite, elementwise.", 1)
signbit = plain("signbit", "Whether the sign of x is negative, that of -0.0 too, elementwise.", 1, ordered=True)
nextafter = plain("nextafter", "The number of a's type that comes after a on the way to b.", 2, ordered=True)
floor = plain("floor", "The largest integer not above x.", 1, ordered=True)
ceil = plain("ceil", "The smallest integer not below x.", 1, ordered=True)
trunc = plain("trunc", "x towards 0.", 1, ordered=True)
round = plain("round", "The nearest integer, ties to even; of complex numbers for each part.", 1)
floor_divide = plain(
    "floor_divide",
    """The floor of a / b, elementwise with broadcasting.

    An infinite a stays infinite and an infinite b leaves a zero of the quotient's sign, as the standard says; Python
    and NumPy have NaN for the first, and for the second -1 where the signs differ.
    """,
    2,
    ordered=True,
)
