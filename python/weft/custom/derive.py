"""The derivative of a scalar program as another one, by forward mode: beside every number that depends on the chosen
parameter its tangent is computed, through branches and loops. Of a derivative there is a derivative again.

Griewank and Walther, "Evaluating Derivatives" (2008), chapter 3.
"""

from __future__ import annotations

import collections
import itertools
import math
from collections.abc import Callable
from typing import Any

from weft.custom.scalar import (
    FLOAT,
    FOLDED,
    ONE,
    ZERO,
    Assign,
    Const,
    For,
    If,
    Program,
    Var,
    While,
    kinds_of,
    statements,
)

#: Where these jump they have no derivative, and elsewhere it is 0.
STEPS = frozenset("floor ceil trunc round sign".split())


class NoDerivative(TypeError):
    """An operation's derivative is not known; the message names the line that uses it."""


def derivative(program: Program, parameter: str) -> Program:
    """The program of d result / d parameter, with the same parameters. NoDerivative where an operation has none."""
    return Deriver(program, parameter).program()


def vjp(program: Program, parameter: str) -> Program:
    """The program of g times that derivative; its parameters are g and the program's own."""
    d = derivative(program, parameter)
    known = names_of(d)
    g = next(name for name in itertools.chain(["g"], (f"g{i}" for i in itertools.count())) if name not in known)
    result = f"{g}_times"
    body = (*d.body, Assign(result, "multiply", (Var(g), d.result), d.line))
    if d.result == ONE:
        return d._replace(parameters=(g, *d.parameters), body=(), result=Var(g))
    return d._replace(parameters=(g, *d.parameters), body=body, result=Var(result))


def names_of(program: Program) -> set[str]:
    found = {*program.parameters}
    for one in statements(program.body):
        found |= {one.target} if isinstance(one, Assign) else {one.name} if isinstance(one, For) else set()
    return found


class Deriver:
    def __init__(self, program: Program, parameter: str):
        self.source, self.parameter = program, parameter
        self.kinds = kinds_of(program)
        names = names_of(program)
        tags = (f"d{i}_" for i in itertools.count())
        self.tag = next(tag for tag in tags if not any(name.startswith(tag) for name in names))
        self.numbers = itertools.count()
        self.active = self.dependent()
        self.body: list[Any] = []
        self.line = program.line
        self.times = collections.Counter(
            [*program.parameters, *(one.target for one in statements(program.body) if isinstance(one, Assign))]
        )
        self.constant: dict[str, Any] = {}  # tangents of names that have one value, and a tangent known beforehand

    def dependent(self) -> set[str]:
        """The names that may depend on the parameter, each for its whole life."""
        active, before = {self.parameter}, 0
        while len(active) != before:
            before = len(active)
            for one in statements(self.source.body):
                if isinstance(one, Assign) and self.differentiable(one, active):
                    active.add(one.target)
        return active

    def differentiable(self, one: Assign, active: set[str]) -> bool:
        args = one.args[1:] if one.operation == "select" else one.args
        known = any(isinstance(a, Var) and a.name in active for a in args)
        return known and self.kinds[one.target] == FLOAT and one.operation not in STEPS | {"int"}

    def program(self) -> Program:
        for name in self.source.parameters:
            if name in self.active:
                self.set_tangent(name, ONE if name == self.parameter else ZERO)
        self.body += self.block(self.source.body)
        result = self.tangent(self.source.result)
        return self.source._replace(body=without_unused(self.body, result), result=result)

    def set_tangent(self, name: str, tangent: Any) -> None:
        if self.times[name] == 1 and isinstance(tangent, Const):
            self.constant[name] = tangent
        else:
            self.body.append(Assign(self.tag + name, "copy", (tangent,), self.line))

    def tangent(self, atom: Any) -> Any:
        if isinstance(atom, Var) and atom.name in self.constant:
            return self.constant[atom.name]
        return Var(self.tag + atom.name) if isinstance(atom, Var) and atom.name in self.active else ZERO

    def block(self, body: tuple[Any, ...]) -> list[Any]:
        outer, self.body = self.body, []
        for one in body:
            self.line = one.line
            if isinstance(one, Assign):
                self.assignment(one)
            elif isinstance(one, If):
                self.body.append(one._replace(then=tuple(self.block(one.then)), other=tuple(self.block(one.other))))
            elif isinstance(one, For):
                self.body.append(one._replace(body=tuple(self.block(one.body))))
            elif isinstance(one, While):
                before = tuple(self.block(one.before))
                self.body.append(one._replace(before=before, body=tuple(self.block(one.body))))
        inner, self.body = self.body, outer
        return inner

    def assignment(self, one: Assign) -> None:
        if one.target not in self.active:
            self.body.append(one)
            return
        tangent: Any = ZERO
        result = one.target
        if any(isinstance(a, Var) and a.name == one.target for a in one.args):  # whose old value the rule may need
            result = self.fresh()
        self.body.append(one._replace(target=result))
        if self.differentiable(one, self.active):
            tangent = self.rule(one, Var(result))
        self.set_tangent(one.target, tangent)
        if result != one.target:
            self.body.append(Assign(one.target, "copy", (Var(result),), one.line))

    def fresh(self) -> str:
        return f"{self.tag}t{next(self.numbers)}"

    def emit(self, operation: str, *args: Any) -> Any:
        """An atom that holds operation(args), which is done away with where a factor is 1 or a term 0."""
        if operation == "multiply":
            if ZERO in args:
                return ZERO
            if args[0] == ONE or args[1] == ONE:
                return args[1] if args[0] == ONE else args[0]
        if operation == "add" and ZERO in args:
            return args[1] if args[0] == ZERO else args[0]
        if operation == "subtract" and args[1] == ZERO:
            return args[0]
        if operation == "negative" and args[0] == ZERO:
            return ZERO
        if operation in FOLDED and all(isinstance(a, Const) for a in args):
            try:
                return Const(FOLDED[operation](*[a.value for a in args]))
            except (ArithmeticError, ValueError):
                pass  # as it comes out when it runs
        target = self.fresh()
        self.body.append(Assign(target, operation, args, self.line))
        return Var(target)

    def rule(self, one: Assign, y: Any) -> Any:
        """The tangent of y = operation(args)."""
        name, args = one.operation, one.args
        tangents = [self.tangent(a) for a in args]
        if name in ("copy", "float"):
            return tangents[0]
        if name == "select":
            return self.emit("select", args[0], tangents[1], tangents[2])
        if name in ("add", "subtract"):
            return self.emit(name, *tangents) if tangents[0] != ZERO or name == "add" else self.emit(
                "negative", tangents[1]
            )  # fmt: skip
        if name in ("minimum", "maximum"):
            wins = self.emit("greater" if name == "maximum" else "less", *args)
            tie = self.emit("multiply", Const(0.5), self.emit("add", *tangents))
            otherwise = self.emit("select", self.emit("equal", *args), tie, tangents[1])
            return self.emit("select", wins, tangents[0], otherwise)
        partials = PARTIALS.get(name)
        if partials is None:
            known = f"{self.source.file}:{one.line}"
            raise NoDerivative(
                f"elementwise: {self.source.name}: {known}: expected functions whose derivative is known, got {name}; "
                "give gradient="
            )
        total: Any = ZERO
        for partial, tangent in zip(partials, tangents):
            if tangent != ZERO:
                total = self.emit("add", total, self.emit("multiply", partial(self.emit, y, *args), tangent))
        return total


def without_unused(body: list[Any], result: Any) -> tuple[Any, ...]:
    """The body without assignments that nothing reads."""
    while True:
        read = {result.name} if isinstance(result, Var) else set()
        for one in statements(body):
            atoms = one.args if isinstance(one, Assign) else (one.test,) if isinstance(one, If | While) else (
                one.start, one.stop, one.step)  # fmt: skip
            read |= {a.name for a in atoms if isinstance(a, Var)}
        kept = pruned(body, read)
        if sum(1 for _ in statements(kept)) == sum(1 for _ in statements(body)):
            return tuple(kept)
        body = kept


def pruned(body: Any, read: set[str]) -> list[Any]:
    kept = []
    for one in body:
        if isinstance(one, Assign) and one.target not in read:
            continue
        if isinstance(one, If):
            one = one._replace(then=tuple(pruned(one.then, read)), other=tuple(pruned(one.other, read)))
            if not one.then and not one.other:
                continue
        elif isinstance(one, For):
            one = one._replace(body=tuple(pruned(one.body, read)))
            if not one.body:
                continue
        elif isinstance(one, While):
            one = one._replace(body=tuple(pruned(one.body, read)))
        kept.append(one)
    return kept


Emit = Callable[..., Any]


def inverse(e: Emit, x: Any) -> Any:
    return e("divide", ONE, x)


def one_minus_square(e: Emit, x: Any) -> Any:
    return e("subtract", ONE, e("multiply", x, x))


def square_plus(e: Emit, x: Any, constant: float) -> Any:
    return e("add", e("multiply", x, x), Const(constant))


def over_root(e: Emit, x: Any) -> Any:
    return inverse(e, e("sqrt", x))


def bell(e: Emit, x: Any, scale: float) -> Any:
    """scale exp(-x^2), the density behind erf."""
    return e("multiply", Const(scale), e("exp", e("negative", e("multiply", x, x))))


def power_by_base(e: Emit, y: Any, a: Any, b: Any) -> Any:
    if isinstance(b, Const):
        return e("multiply", Const(float(b.value)), e("pow", a, Const(b.value - 1))) if b.value != 1 else ONE
    return e("multiply", b, e("pow", a, e("subtract", b, ONE)))


def power_by_exponent(e: Emit, y: Any, a: Any, b: Any) -> Any:
    # 0 ** b stays 0 as b moves, though log(0) is no number
    return e("select", e("equal", a, ZERO), ZERO, e("multiply", y, e("log", a)))


#: operation -> its partial derivatives, each (emit, y, args) -> atom
PARTIALS: dict[str, tuple[Callable[..., Any], ...]] = {
    "negative": (lambda e, y, a: Const(-1.0),),
    "multiply": (lambda e, y, a, b: b, lambda e, y, a, b: a),
    "divide": (
        lambda e, y, a, b: inverse(e, b),
        lambda e, y, a, b: e("negative", e("divide", y, b)),
    ),
    "remainder": (lambda e, y, a, b: ONE, lambda e, y, a, b: e("negative", e("floor", e("divide", a, b)))),
    "fmod": (lambda e, y, a, b: ONE, lambda e, y, a, b: e("negative", e("trunc", e("divide", a, b)))),
    "floor_divide": (lambda e, y, a, b: ZERO, lambda e, y, a, b: ZERO),
    "pow": (power_by_base, power_by_exponent),
    "abs": (lambda e, y, a: e("sign", a),),
    "exp": (lambda e, y, a: y,),
    "exp2": (lambda e, y, a: e("multiply", Const(math.log(2)), y),),
    "expm1": (lambda e, y, a: e("add", y, ONE),),
    "log": (lambda e, y, a: inverse(e, a),),
    "log2": (lambda e, y, a: e("divide", Const(1 / math.log(2)), a),),
    "log10": (lambda e, y, a: e("divide", Const(1 / math.log(10)), a),),
    "log1p": (lambda e, y, a: inverse(e, e("add", a, ONE)),),
    "sqrt": (lambda e, y, a: e("divide", Const(0.5), y),),
    "sin": (lambda e, y, a: e("cos", a),),
    "cos": (lambda e, y, a: e("negative", e("sin", a)),),
    "tan": (lambda e, y, a: square_plus(e, y, 1.0),),
    "asin": (lambda e, y, a: over_root(e, one_minus_square(e, a)),),
    "acos": (lambda e, y, a: e("negative", over_root(e, one_minus_square(e, a))),),
    "atan": (lambda e, y, a: inverse(e, square_plus(e, a, 1.0)),),
    "atan2": (
        lambda e, y, a, b: e("divide", b, e("add", e("multiply", a, a), e("multiply", b, b))),
        lambda e, y, a, b: e("negative", e("divide", a, e("add", e("multiply", a, a), e("multiply", b, b)))),
    ),
    "hypot": (lambda e, y, a, b: e("divide", a, y), lambda e, y, a, b: e("divide", b, y)),
    "copysign": (
        lambda e, y, a, b: e("multiply", e("copysign", ONE, a), e("copysign", ONE, b)),
        lambda e, y, a, b: ZERO,
    ),
    "sinh": (lambda e, y, a: e("cosh", a),),
    "cosh": (lambda e, y, a: e("sinh", a),),
    "tanh": (lambda e, y, a: one_minus_square(e, y),),
    "asinh": (lambda e, y, a: over_root(e, square_plus(e, a, 1.0)),),
    "acosh": (lambda e, y, a: over_root(e, square_plus(e, a, -1.0)),),
    "atanh": (lambda e, y, a: inverse(e, one_minus_square(e, a)),),
    "erf": (lambda e, y, a: bell(e, a, 2 / math.sqrt(math.pi)),),
    "erfc": (lambda e, y, a: bell(e, a, -2 / math.sqrt(math.pi)),),
    "sigmoid": (lambda e, y, a: e("multiply", y, e("subtract", ONE, y)),),
}
