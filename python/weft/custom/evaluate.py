"""A scalar program run on whole arrays, of any device, one array function per operation: what runs where Numba is not
installed, and what gradients are checked with when a function is registered.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from weft.backends.array import ARRAYS, namespace, ndarray
from weft.custom.scalar import Assign, Const, For, If, Program, While


class Unvectorised(TypeError):
    """A loop's length depends on the values, so that whole arrays cannot walk it together."""


#: Operations that the array namespace has under the same name.
SAME = frozenset(
    "add subtract multiply divide floor_divide remainder pow minimum maximum negative abs sign exp expm1 log log2 "
    "log10 log1p sqrt sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh erf sigmoid floor ceil trunc round "
    "atan2 less less_equal greater greater_equal equal not_equal logical_and logical_or logical_not isnan isinf "
    "isfinite".split()
)
#: The others, as (array namespace, args) -> array.
COMPOSED: dict[str, Callable[..., Any]] = {
    "copy": lambda xp, a: a,
    "float": lambda xp, a: a,
    "select": lambda xp, c, a, b: xp.where(c, a, b),
    "exp2": lambda xp, a: xp.exp(a * math.log(2)),
    "erfc": lambda xp, a: 1 - xp.erf(a),
    "hypot": lambda xp, a, b: xp.sqrt(a * a + b * b),
    "copysign": lambda xp, a, b: xp.where(xp.logical_or(b < 0, 1 / b < 0), -xp.abs(a), xp.abs(a)),
    "fmod": lambda xp, a, b: a - b * xp.trunc(a / b),
    "int": lambda xp, a: xp.trunc(a),
    "bool": lambda xp, a: xp.not_equal(a, 0),
}
#: Operations on Python's numbers, where they are not NumPy's.
ON_NUMBERS: dict[str, Callable[..., Any]] = {
    "copy": lambda a: a, "float": float, "int": int, "bool": bool, "select": lambda c, a, b: a if c else b,
    "erf": math.erf, "erfc": math.erfc, "lgamma": math.lgamma, "gamma": math.gamma,
    "sigmoid": lambda a: 1 / (1 + math.exp(-a)),
}  # fmt: skip


def evaluate(program: Program, arrays: Sequence[Any]) -> Any:
    """The program's result for arrays and numbers that broadcast; computed in their own dtype.

    Unvectorised where a loop depends on values.
    """
    values = dict(zip(program.parameters, arrays))
    with np.errstate(all="ignore"):  # of branches that are not taken, too
        run(program.body, values)
        return atom(program.result, values)


def atom(one: Any, values: Mapping[str, Any]) -> Any:
    return one.value if isinstance(one, Const) else values[one.name]


def run(body: Sequence[Any], values: dict[str, Any]) -> None:
    for one in body:
        if isinstance(one, Assign):
            values[one.target] = operate(one.operation, [atom(a, values) for a in one.args])
        elif isinstance(one, If):
            branch(one, values)
        elif isinstance(one, For):
            bounds = [atom(a, values) for a in (one.start, one.stop, one.step)]
            if any(isinstance(b, ARRAYS) for b in bounds):
                raise Unvectorised(f"line {one.line}: expected a range that is one for all elements, got an array's")
            for i in range(*map(int, bounds)):
                values[one.name] = i
                run(one.body, values)
        elif isinstance(one, While):
            while True:
                run(one.before, values)
                test = atom(one.test, values)
                if isinstance(test, ARRAYS):
                    raise Unvectorised(f"line {one.line}: expected a condition that is one for all elements")
                if not test:
                    break
                run(one.body, values)


def branch(one: If, values: dict[str, Any]) -> None:
    test = atom(one.test, values)
    if not isinstance(test, ARRAYS):
        run(one.then if test else one.other, values)
        return
    then, other = dict(values), dict(values)
    run(one.then, then)
    run(one.other, other)
    xp = namespace(test)
    for name in then.keys() & other.keys():
        alike = then[name] is other[name]
        values[name] = then[name] if alike else xp.where(test, then[name], other[name])


def operate(name: str, args: list[Any]) -> Any:
    arrays = [a for a in args if isinstance(a, ARRAYS)]
    if not arrays:
        return on_numbers(name, args)
    xp = namespace(arrays[0])
    if name in COMPOSED:
        return COMPOSED[name](xp, *args)
    if name not in SAME:
        return by_element(name, args)
    return getattr(xp, name)(*args)


def on_numbers(name: str, args: list[Any]) -> Any:
    if name in ON_NUMBERS:
        return ON_NUMBERS[name](*args)
    found = getattr(np, name)(*args)
    return found.item() if isinstance(found, np.generic) else found


def by_element(name: str, args: list[Any]) -> Any:
    """What no array library has, one element after the other; on the CPU alone."""
    if not all(type(a) is ndarray for a in args if isinstance(a, ARRAYS)):
        raise Unvectorised(f"expected a function that devices have, got {name}: install Numba for it")
    dtype = next(a.dtype for a in args if isinstance(a, ARRAYS))
    return np.asarray(np.vectorize(ON_NUMBERS[name], otypes=[np.float64])(*args)).astype(dtype)


def each(program: Program, arrays: Sequence[Any]) -> Any:
    """The program for one element after the other, which takes any loop; NumPy arrays and numbers."""
    from weft.custom.emit import scalar_function

    functions: dict[str, Any] = {name: getattr(np, name) for name in SAME if hasattr(np, name)}
    functions |= {"round": np.rint, "abs": abs, "hypot": np.hypot, "copysign": np.copysign, "fmod": np.fmod}
    functions |= {name: ON_NUMBERS[name] for name in ("erf", "erfc", "lgamma", "gamma")}
    function = np.vectorize(scalar_function(program, np.float64, functions), otypes=[np.float64])
    with np.errstate(all="ignore"):
        return function(*arrays).astype(next(x.dtype for x in arrays if isinstance(x, ARRAYS)))
