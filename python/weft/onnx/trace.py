"""What a module does, as a list of ops: run twice, with inputs of other sizes and values the second time.

Arrays are known by themselves, and views that raw code made of them by the memory that they show. Numbers that differ
between the two runs follow a dynamic axis; arrays that no op made must be the same in both, or they would silently hold
what belongs to one input. Code that leaves the ops for raw arrays is found so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from weft.autograd import Tensor, no_grad, state
from weft.backends import writes
from weft.backends.array import ARRAYS
from weft.nn import module as modules
from weft.nn.module import Module

MAX_DEPTH = 8  # ops that are written out as other ops


class Ref(NamedTuple):
    """Where an array comes from: ("input", i), ("state", name), or ("made", call, output)."""

    kind: str
    key: Any
    output: int = 0


def memory(array: Any) -> Any:
    """Where the values of an array lie and how; None where it has none, or is no array."""
    if not isinstance(array, np.ndarray) or not array.size:
        return None
    return array.__array_interface__["data"][0], array.shape, array.strides, array.dtype.str, array.dtype.name


class Call(NamedTuple):
    """One op: its function, what it took and gave, and the path of the module around it."""

    body: Callable[..., Any]
    arrays: tuple[Any, ...]
    params: dict[str, Any]
    outs: tuple[Any, ...]
    path: str


class Trace:
    """One run: its calls, and where each array comes from. All arrays are kept, so that memory is used once."""

    def __init__(self, module: Module, has_entry: Callable[[Any, dict[str, Any]], Any]):
        self.module, self.has_entry = module, has_entry
        self.paths = {id(m): path for path, m in module.named_modules()}
        self.calls: list[Call] = []
        self.refs: dict[int, Ref] = {}  # by the id of the array
        self.shown: dict[Any, Ref] = {}  # by its memory
        self.kept: list[Any] = []
        self.stack: list[str] = []
        self.depth = 0

    def know(self, array: Any, ref: Ref) -> None:
        self.refs[id(array)] = ref
        place = memory(array)
        if place is not None:
            self.shown.setdefault(place, ref)
        self.kept.append(array)

    def ref(self, array: Any) -> Ref | None:
        return self.refs.get(id(array)) or self.shown.get(memory(array))

    # -- told of the calls of modules

    def enter(self, module: Module) -> None:
        self.stack.append(self.paths.get(id(module), self.stack[-1] if self.stack else ""))

    def leave(self, module: Module, out: Any) -> None:
        self.stack.pop()

    # -- told of ops

    def __call__(self, body: Any, arrays: Any, params: dict[str, Any], results: Any) -> None:
        outs = tuple(t.data for t in (results if type(results) is tuple else (results,)))
        if all(any(o is a for a in arrays) for o in outs):  # it gave back what it was given
            return
        if not self.has_entry(body, params) and self.written_out(body, arrays, params, outs):
            return
        index = len(self.calls)
        self.calls.append(Call(body, tuple(arrays), params, outs, self.stack[-1] if self.stack else ""))
        self.kept.extend(arrays)
        for i, out in enumerate(outs):
            if not any(out is a for a in arrays):
                self.know(out, Ref("made", index, i))

    def written_out(self, body: Any, arrays: Any, params: dict[str, Any], outs: tuple[Any, ...]) -> bool:
        """Whether an op without an entry could be written as the smaller ops that it means on Tensors."""
        if self.depth >= MAX_DEPTH:
            return False
        before = len(self.calls)
        self.depth += 1
        try:
            made, _ = body(*[Tensor(a) if isinstance(a, ARRAYS) else a for a in arrays], **params)
        except (AttributeError, TypeError, ValueError):  # its body is for raw arrays alone
            made = None
        finally:
            self.depth -= 1
        parts = [t.data if isinstance(t, Tensor) else t for t in (made if type(made) is tuple else (made,))]
        known = [self.ref(part) for part in parts]
        if len(parts) != len(outs) or None in known:
            del self.calls[before:]
            return False
        self.kept.extend(parts)
        for out, ref in zip(outs, known):
            self.know(out, ref)  # type: ignore[arg-type]
        return True


def record(
    module: Module, args: tuple[Any, ...], named: dict[str, Any], has_entry: Callable[[Any, dict[str, Any]], Any]
) -> tuple[Trace, Any]:
    """(the trace of one call, its result); inputs are the arrays of `args` and then of `named`, in order."""
    trace = Trace(module, has_entry)
    for name, tensor in module._state():
        if trace.ref(tensor.data) is None:
            trace.know(tensor.data, Ref("state", name))
    for i, x in enumerate([x for x in (*args, *named.values()) if isinstance(x, Tensor)]):
        trace.know(x.data, Ref("input", i))
    outer, modules.watch = modules.watch, trace
    state.exporting, start = trace, writes.clock.now
    try:
        with no_grad():
            out = module(*args, **named)
    finally:
        modules.watch, state.exporting = outer, None
    for array in trace.kept:
        author = writes.written_since(array, start)
        if author is not None:
            raise ValueError(f"onnx.export: expected a forward pass that writes into no array, got {author}")
    return trace, out


class Sym(NamedTuple):
    """A number that follows the dynamic axes: its value in the first run, and in the second."""

    first: int
    second: int


class Pair(NamedTuple):
    """The arrays that stand at one place in the two runs."""

    first: Any
    second: Any


class DiffersError(ValueError):
    """The two runs differ in what cannot follow the size of an axis."""


def unified(a: Any, b: Any) -> Any:
    """What two runs had at one place, as one: equal values as they are, Sym for integers, Pair for arrays."""
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return unified(getattr(a, "data", a), getattr(b, "data", b))
    if isinstance(a, ARRAYS) and isinstance(b, ARRAYS):
        return Pair(a, b)
    if isinstance(a, np.generic):
        a = a.item()
    if isinstance(b, np.generic):
        b = b.item()
    if type(a) is not type(b):
        raise DiffersError(f"{a!r} and {b!r}")
    if isinstance(a, slice):
        return slice(*(unified(x, y) for x, y in zip((a.start, a.stop, a.step), (b.start, b.stop, b.step))))
    if isinstance(a, (tuple, list)):
        if len(a) != len(b):
            raise DiffersError(f"{len(a)} and {len(b)} values")
        return tuple(unified(x, y) for x, y in zip(a, b))
    if type(a) is int and a != b:
        return Sym(a, b)
    if a is not b and a != b and not (a != a and b != b):
        raise DiffersError(f"{a!r} and {b!r}")
    return a
