"""Scalar functions as programs: a few kinds of statement over named numbers, each an operation on names and constants.

`parse` makes a program of a Python function, `derive` its derivative; `evaluate` runs one on whole arrays, `emit`
writes one as Python for Numba to compile. Every program has one exit; a choice between two values is the operation
`select`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

FLOAT, INT, BOOL = "float", "int", "bool"
WIDEST = {BOOL: 0, INT: 1, FLOAT: 2}


class Const(NamedTuple):
    """A number known beforehand."""

    value: bool | int | float


class Var(NamedTuple):
    """The number that a name stands for."""

    name: str


Atom = Const | Var
ZERO, ONE = Const(0.0), Const(1.0)


class Assign(NamedTuple):
    """target = operation(args)."""

    target: str
    operation: str
    args: tuple[Any, ...]
    line: int


class If(NamedTuple):
    """What follows where `test` holds, or where it does not."""

    test: Any
    then: tuple[Any, ...]
    other: tuple[Any, ...]
    line: int


class For(NamedTuple):
    """`body` for every integer of a range."""

    name: str
    start: Any
    stop: Any
    step: Any
    body: tuple[Any, ...]
    line: int


class While(NamedTuple):
    """`before` computes `test`; `body` while it holds."""

    before: tuple[Any, ...]
    test: Any
    body: tuple[Any, ...]
    line: int


class Program(NamedTuple):
    """A scalar function: from its parameters to `result`, and where it was written."""

    name: str
    parameters: tuple[str, ...]
    body: tuple[Any, ...]
    result: Any
    file: str
    line: int


class Operation(NamedTuple):
    """What an operation takes and gives: FLOAT, or the widest kind of its arguments ("same"), or BOOL or INT."""

    arity: int
    result: str = FLOAT


UNARY = (
    "exp exp2 expm1 log log2 log10 log1p sqrt sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh erf erfc "
    "sigmoid floor ceil trunc round float lgamma gamma"
)
OPERATIONS: dict[str, Operation] = {
    **{name: Operation(1) for name in UNARY.split()},
    **{name: Operation(2, "same") for name in "add subtract multiply floor_divide remainder minimum maximum".split()},
    **{name: Operation(2) for name in "divide atan2 hypot copysign fmod".split()},
    "pow": Operation(2, "same"),
    **{name: Operation(1, "same") for name in ("copy", "negative", "abs", "sign")},
    **{name: Operation(2, BOOL) for name in "less less_equal greater greater_equal equal not_equal".split()},
    **{name: Operation(2, BOOL) for name in ("logical_and", "logical_or")},
    **{name: Operation(1, BOOL) for name in ("logical_not", "isnan", "isinf", "isfinite", "bool")},
    "int": Operation(1, INT),
    "select": Operation(3, "same"),
}


#: Operations on constants that are done beforehand, as Python does them.
FOLDED: dict[str, Callable[..., Any]] = {
    "add": operator.add, "subtract": operator.sub, "multiply": operator.mul, "divide": operator.truediv,
    "floor_divide": operator.floordiv, "remainder": operator.mod, "pow": operator.pow, "negative": operator.neg,
    "abs": abs, "minimum": min, "maximum": max, "copy": lambda x: x, "float": float, "int": int,
    **{name: getattr(math, name) for name in "exp expm1 log log2 log10 log1p sqrt sin cos tan erf".split()},
}  # fmt: skip


def statements(body: Sequence[Any]) -> Iterator[Any]:
    """Every statement of `body`, those inside of others too, in the order in which they stand."""
    for one in body:
        yield one
        if isinstance(one, If):
            yield from statements(one.then)
            yield from statements(one.other)
        elif isinstance(one, While):
            yield from statements(one.before)
            yield from statements(one.body)
        elif isinstance(one, For):
            yield from statements(one.body)


def kind_of(atom: Any, kinds: dict[str, str]) -> str:
    """The kind of an atom, given those of names so far."""
    if isinstance(atom, Var):
        return kinds.get(atom.name, BOOL)
    return BOOL if isinstance(atom.value, bool) else INT if isinstance(atom.value, int) else FLOAT


def result_kind(one: Assign, kinds: dict[str, str]) -> str:
    """The kind of what an assignment computes."""
    kind = OPERATIONS[one.operation].result
    if kind != "same":
        return kind
    args = one.args[1:] if one.operation == "select" else one.args
    widest = max((kind_of(a, kinds) for a in args), key=WIDEST.__getitem__)
    moved = one.operation in ("select", "copy")
    if one.operation == "pow" and widest != FLOAT and not (isinstance(args[1], Const) and args[1].value >= 0):
        return FLOAT  # a negative power of an integer is none
    return INT if widest == BOOL and not moved else widest


def kinds_of(program: Program) -> dict[str, str]:
    """The kind of every name: the widest of what is assigned to it."""
    kinds = dict.fromkeys(program.parameters, FLOAT)
    changed = True
    while changed:
        changed = False
        for one in statements(program.body):
            name, kind = None, INT
            if isinstance(one, Assign):
                name, kind = one.target, result_kind(one, kinds)
            elif isinstance(one, For):
                name = one.name
            if name is not None and (name not in kinds or WIDEST[kind] > WIDEST[kinds[name]]):
                kinds[name] = kind
                changed = True
    return kinds
