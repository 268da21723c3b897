"""nanguard: the first op that makes a NaN or an infinity, named together with the module it runs in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from weft import autograd
from weft.autograd import Edge, Node, Tensor, op_name
from weft.backends.device import on_host
from weft.nn import module as modules
from weft.nn.module import Module, is_float

CAUSES = {
    "log": "an argument that is 0 or negative",
    "divide": "a divisor that is 0",
    "sqrt": "a negative argument; at 0 its gradient is infinite",
    "exp": "an argument above 88, where float32 ends",
    "pow": "a negative base with a fractional exponent, or 0 with a negative one",
}

Place = tuple[Module, Module]  # outermost and innermost module of a call


@contextmanager
def nanguard() -> Iterator[None]:
    """In this block the first op that makes a value or gradient that is not finite raises FloatingPointError.

    The message has the op, the shape, where the first such value stands, the likely cause and the path of the module,
    also for what goes wrong on the way back. An infinity that an op was given (a mask of -inf) is not its fault; a NaN
    that enters from outside is named as an input. Every result is read once more: a tool for finding faults.

    >>> import weft
    >>> with weft.nanguard():
    ...     weft.log(weft.asarray([1.0, 0.0]))
    Traceback (most recent call last):
    FloatingPointError: nanguard: expected finite values, log made -inf at (1,) of shape (2,), 1 of 2 not finite...
    """
    places: WeakKeyDictionary[Node, Place] = WeakKeyDictionary()

    def check_gradient(node: Node, i: int, gradient: Any) -> None:
        if finite(gradient):
            return
        place = where(node, i, places.get(node))
        raise FloatingPointError(
            f"nanguard: expected finite gradients, {describe(gradient, f'the backward of {node.name}')}"
            f" for its input {i}{place}{likely(node.name)}"
        )

    outer, modules.watch = modules.watch, Calls(places)
    autograd.observers.append(check_op)
    autograd.gradient_observers.append(check_gradient)
    try:
        with np.errstate(all="ignore"):  # NumPy's warnings would only say the same with less
            yield
    finally:
        autograd.observers.remove(check_op)
        autograd.gradient_observers.remove(check_gradient)
        modules.watch = outer


class Calls:
    """The modules that are being called; remembers which one each recorded op belongs to."""

    def __init__(self, places: WeakKeyDictionary[Node, Place]):
        self.places = places
        self.stack: list[Module] = []

    def enter(self, module: Module) -> None:
        self.stack.append(module)

    def leave(self, module: Module, out: Any) -> None:
        """A module has returned `out`: what was recorded for it and is not known yet is its own."""
        place = (self.stack[0], self.stack.pop())
        pending = [t.node for t in tensors(out)]
        while pending:
            node = pending.pop()
            if node is not None and node not in self.places:
                self.places[node] = place
                pending += [p[0] for p in node.parents if type(p) is Edge]


def check_op(body: Any, arrays: tuple[Any, ...], out: Any) -> None:
    """Raise where an op made what its inputs did not have."""
    outs = out if type(out) is tuple else (out,)
    if all(map(finite, outs)):
        return
    name = op_name(body)
    inputs = [raw(a) for a in arrays if a is not None]
    inputs = [a for a in inputs if is_float(a.dtype)]
    for i, a in enumerate(inputs):
        if np.isnan(a).any():
            raise FloatingPointError(
                f"nanguard: expected finite values, {describe(a, f'input {i} of {name}', 'holds')}"
            )
    for a in map(raw, outs):
        if is_float(a.dtype) and (np.isnan(a).any() or (not finite(a) and not any(np.isinf(x).any() for x in inputs))):
            raise FloatingPointError(f"nanguard: expected finite values, {describe(a, name)}{likely(name)}")


def raw(x: Any) -> Any:
    """The values on the host: whoever looks for a fault waits for the device."""
    return on_host(x.data if isinstance(x, Tensor) else x)


def finite(x: Any) -> bool:
    a = raw(x)
    return not is_float(a.dtype) or bool(np.isfinite(a).all())


def describe(x: Any, subject: str, verb: str = "made") -> str:
    bad = ~np.isfinite(raw(x))
    at = tuple(map(int, np.argwhere(bad)[0]))
    return f"{subject} {verb} {raw(x)[at]} at {at} of shape {raw(x).shape}, {bad.sum()} of {bad.size} not finite"


def likely(name: str) -> str:
    return f" (likely cause: {CAUSES[name]})" if name in CAUSES else ""


def where(node: Node, i: int, place: Place | None) -> str:
    """The parameter that the gradient is of, if it is one, and the path of the module."""
    if place is None:
        return ""
    root, inner = place
    parent = node.parents[i]
    name = next((n for n, p in root.named_parameters() if p is parent), None)
    path = next((p for p, m in root.named_modules() if m is inner), "")
    return (
        (f", the parameter {name}" if name else "") + f", in {type(inner).__name__}" + (f" at {path}" if path else "")
    )


def tensors(out: Any) -> list[Tensor]:
    if isinstance(out, Tensor):
        return [out]
    if isinstance(out, dict):
        out = list(out.values())
    return [t for part in out for t in tensors(part)] if isinstance(out, (tuple, list)) else []
