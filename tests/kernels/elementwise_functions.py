"""What tests of weft.elementwise share: functions that a user might write, and the program of one operation."""

from __future__ import annotations

import math

import numpy as np

import weft
from weft.custom.scalar import OPERATIONS, Assign, Program, Var

SLOPE = 0.25


def draw(*shape, dtype=np.float32):
    return np.random.default_rng().standard_normal(shape).astype(dtype)


@weft.elementwise
def gelu(x):
    return 0.5 * x * (1 + math.erf(x / math.sqrt(2)))


def cube(x):
    return x**3


def clamped(x, *, low=-1.0):
    if x < low:
        return low
    return min(x, 1.0)


@weft.elementwise
def winding(x, y, *, k=3.0, n=3):
    """Branches, loops, helpers, constants, early returns and reassignment."""
    total, scale = 0.0, SLOPE
    for i in range(n):
        total += cube(x) / (i + 1) - y * i
        scale, total = scale * 0.5, total + scale * math.tanh(y)
    if total > k and not (x < 0 or y < -1):
        return total - k if y > 0.3 else total % k
    elif -1 < total <= 1:
        total = abs(total) ** 1.5
    while scale < 1:
        scale *= 2
    return np.maximum(total, clamped(x * y, low=-0.5)) * scale + math.exp(-abs(x))


def as_python(x, y):
    return np.vectorize(winding.function, otypes=[np.float64])(x.astype(np.float64), y.astype(np.float64))


def linear(x, y):
    return x * 2 + y


def program_of(name):
    """The program that is one operation."""
    names = ("a", "b", "c")[: OPERATIONS[name].arity]
    body = [Assign("y", name, tuple(map(Var, names)), 1)]
    if name == "select":
        body = [Assign("t", "less", (Var("a"), Var("b")), 1), Assign("y", name, (Var("t"), Var("b"), Var("c")), 1)]
    if OPERATIONS[name].result == "bool":
        body.append(Assign("z", "select", (Var("y"), Var("a"), Var("a")), 1))
    return Program(name, names, tuple(body), Var("z" if len(body) == 2 and name != "select" else "y"), __file__, 1)
