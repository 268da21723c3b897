"""What weft.elementwise reads of a function, how it derives it, and what it says of what it cannot."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest

import weft
from kernels.elementwise_functions import as_python, clamped, draw, gelu, linear, program_of, winding
from weft.custom import derive, evaluate
from weft.custom.parse import parse
from weft.custom.scalar import OPERATIONS
from weft.custom.scalar_op import Scalar


def line_of(text):
    lines = Path(__file__).read_text().splitlines()
    return next(i for i, line in enumerate(lines, 1) if text in line and "line_of" not in line)


# -- reading and deriving ----------------------------------------------------------------------------------------------


def test_a_function_is_read_as_python_runs_it():
    x, y = draw(500, dtype=np.float64) * 1.5, draw(500, dtype=np.float64) * 1.5
    want = as_python(x, y)
    np.testing.assert_allclose(evaluate.each(parse(winding.function), [x, y]), want, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(winding.scalar({}, interpreted=True)(x, y), want, rtol=1e-12, atol=1e-12)


DOMAIN = {
    "log": (0.1, 3), "log2": (0.1, 3), "log10": (0.1, 3), "log1p": (-0.5, 3), "sqrt": (0.1, 3), "asin": (-0.9, 0.9),
    "acos": (-0.9, 0.9), "acosh": (1.1, 3), "atanh": (-0.9, 0.9), "pow": (0.2, 2),
}  # fmt: skip
UNDERIVED = {"lgamma", "gamma", "int", "bool", "copy", "float", "floor_divide"}


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name not in UNDERIVED])
def test_the_derivative_of_every_operation(name):
    scalar = Scalar(program_of(name), None, __name__, interpreted=True)
    low, high = DOMAIN.get(name, (-2, 2))
    points = [np.random.default_rng(3 + k).uniform(low, high, 7) for k in range(OPERATIONS[name].arity)]
    weft.testing.gradcheck(scalar.op, points)
    weft.testing.gradgradcheck(scalar.op, points)


#: x and y on every path through `winding`, a step away from where two meet: differences across a jump, or beside a
#: root, are no derivatives.
PATHS = [(0.9, 1.3), (-0.1, 0.5), (-0.9, 0.7), (-0.1, -0.5), (-0.1, -0.2), (-0.1, 0.2), (1.3, 0.0), (1.5, 0.4),
         (0.5, -1.6)]  # fmt: skip


def test_derivatives_of_derivatives_through_branches_and_loops():
    op = winding.scalar({}, interpreted=True).op
    points = list(np.transpose(PATHS) + np.random.default_rng().uniform(-0.05, 0.05, (2, len(PATHS))))
    weft.testing.gradcheck(op, points)
    weft.testing.gradgradcheck(op, points, order=3)


def overwriting(x):
    x = x * x
    x = math.sin(x)
    for _ in range(2):
        x = x / (2 + x)
    return x


def test_a_name_may_be_overwritten_by_what_it_decides():
    op = weft.elementwise(overwriting).scalar({}, interpreted=True).op
    weft.testing.gradgradcheck(op, [draw(9, dtype=np.float64)], order=3)


def test_what_decides_nothing_is_not_computed():
    made = derive.vjp(parse(clamped), "x")
    assert "minimum" not in [getattr(s, "operation", "") for s in made.body]
    assert derive.vjp(parse(linear), "y").body == ()


# -- gradients that are given ------------------------------------------------------------------------------------------


def test_a_given_gradient_is_used_and_checked():
    def slope(g, x):
        return g * 2 * x

    @weft.elementwise(gradient=slope)
    def square(x):
        return x * x

    weft.testing.gradcheck(square.scalar({}, interpreted=True).op, [draw(5, dtype=np.float64)])
    assert square.scalar({}).gradients[0].name == "slope"
    with pytest.raises(ArithmeticError, match=rf"{Path(__file__).name}:\d+: gradcheck: cubed, input 0"):

        @weft.elementwise(gradient=slope)
        def cubed(x):
            return x * x * x

    @weft.elementwise(gradient=slope, check=False)
    def unchecked(x):
        return x

    with pytest.raises(TypeError, match=r"expected a gradient for each of x, y, got 1"):
        weft.elementwise(gradient=slope)(linear)
    with pytest.raises(TypeError, match=r"slope: .*expected parameters \(g, x, y\), got \(g, x\)"):
        weft.elementwise(gradient=(slope, slope))(linear)


def test_a_gradient_of_several_inputs_is_one_function_each():
    @weft.elementwise(gradient=(lambda_gx, lambda_gy))
    def product(x, y):
        return x * y

    weft.testing.gradcheck(product.scalar({}, interpreted=True).op, [draw(3, dtype=np.float64) for _ in range(2)])


def lambda_gx(g, x, y):
    return g * y


def lambda_gy(g, x, y):
    return g * x


def test_what_has_no_known_derivative_says_so_when_it_is_asked_for():
    @weft.elementwise
    def f(x):
        return math.lgamma(x)  # has no derivative here

    scalar = f.scalar({}, interpreted=True)
    np.testing.assert_allclose(scalar(np.array([0.5, 3.0])), [math.lgamma(0.5), math.lgamma(3.0)])
    x = weft.Tensor(np.array([2.0]), requires_grad=True)
    with pytest.raises(TypeError, match=rf":{line_of('# has no derivative here')}: .* got lgamma; give gradient="):
        scalar.op(x).backward()


# -- what cannot be compiled -------------------------------------------------------------------------------------------


def uses_string(x):
    return x + "one"  # line of uses_string


def uses_list(x):
    values = [x]  # line of uses_list
    return values


def returns_in_loop(x):
    for _ in range(3):
        return x  # line of returns_in_loop
    return 0


def no_return(x):
    if x > 0:
        return x


def maybe_unset(x):
    if x > 0:
        y = x
    return y  # line of maybe_unset


def unknown_name(x):
    return x * wherever  # noqa: F821  line of unknown_name


def unknown_function(x):
    return np.fft.fft(x)  # line of unknown_function


def recursive(x):
    return recursive(x - 1) if x > 0 else x  # line of recursive


def other_loop(x):
    for v in (1, 2):  # line of other_loop
        x += v
    return x


def matrix(x):
    return x @ x  # line of matrix


def wrong_count(x):
    return math.exp(x, x)  # line of wrong_count


def is_test(x):
    return x if x is None else -x  # line of is_test


def an_op_of_weft(x):
    return weft.softmax(x)  # line of an_op_of_weft


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (uses_string, "expected a number, got 'one'"), (uses_list, r"expected a number, got \[x\]"),
        (returns_in_loop, "expected no return inside a loop"), (maybe_unset, "expected y to have a value here"),
        (unknown_name, "expected a name that is known here, got wherever"),
        (unknown_function, "expected a function of math, or a scalar function, got np.fft.fft"),
        (recursive, "expected no recursion"), (other_loop, r"expected for ... in range\(...\)"),
        (matrix, "got x @ x"), (wrong_count, "expected 1 arguments of math.exp, got 2"),
        (is_test, "expected a number, got None"), (an_op_of_weft, "got weft.softmax"),
    ],
    ids=lambda v: getattr(v, "__name__", ""),
)  # fmt: skip
def test_what_cannot_be_read_is_named_with_its_line(function, words):
    place = re.escape(f"{__file__}:{line_of(f'line of {function.__name__}')}: ")
    with pytest.raises(TypeError, match=rf"elementwise: {function.__name__}: {place}.*{words}"):
        weft.elementwise(function)


def test_other_refusals():
    with pytest.raises(TypeError, match="expected a return on every path"):
        weft.elementwise(no_return)
    with pytest.raises(TypeError, match="expected a function made by def, got a lambda"):
        weft.elementwise(lambda x: x)
    with pytest.raises(TypeError, match="expected a function whose source is in a file"):
        parse(type(gelu.function)(compile("x", "<none>", "eval"), {}))
    with pytest.raises(TypeError, match="winding: expected x, y, got 1 arguments"):
        winding(weft.ones(3))
    with pytest.raises(TypeError, match="expected numbers for k, n, got 'm'"):
        winding(weft.ones(3), 1, m=1)
    with pytest.raises(TypeError, match="gelu: expected an array at least, got numbers alone"):
        gelu(1.0)

    def nowhere(x):
        return math.log(-x * x - 1)

    with pytest.raises(TypeError, match="nowhere: .*expected finite values at some points, got none"):
        weft.elementwise(nowhere)
