"""The graph that an export writes: nodes, initializers, and the sizes that follow dynamic axes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from weft.backends.device import on_host
from weft.onnx.dtypes import NAMES, code_of
from weft.onnx.trace import Sym


class Value:
    """A value of the graph: its name, and the arrays that it was in the two runs."""

    __slots__ = ("first", "name", "second")

    def __init__(self, name: str, first: Any, second: Any):
        self.name, self.first, self.second = name, first, second

    dtype = property(lambda self: self.first.dtype)
    ndim = property(lambda self: self.first.ndim)

    @property
    def shape(self) -> tuple[Any, ...]:
        """Its lengths; a Sym for one that differs between the runs."""
        return tuple(a if a == b else Sym(a, b) for a, b in zip(self.first.shape, self.second.shape))


class Emitter:
    """Collects nodes. An entry of the table gets one as `to`, and names what it makes by `to.node`."""

    def __init__(self, opset: int):
        self.opset = opset
        self.nodes: list[NodeProto] = []
        self.initializers: dict[str, Any] = {}
        self.names: set[str] = set()
        self.path = ""
        self.outs: tuple[Any, ...] = ()  # the arrays that the op being written gave
        self.sizes: dict[Sym, str] = {}
        self.axes: list[tuple[Sym, Value, int]] = []  # lengths that are known, and of which axis of which value
        self.constants: dict[Any, str] = {}

    # -- nodes

    def fresh(self, name: str) -> str:
        """A name that nothing has yet."""
        for suffix in itertools.chain([""], (f"_{i}" for i in itertools.count(1))):
            if name + suffix not in self.names:
                self.names.add(name + suffix)
                return name + suffix
        raise AssertionError

    def node(self, kind: str, *inputs: Any, outputs: int = 1, **attributes: Any) -> Any:
        """Add a node; the name of its output, or a tuple of them. None and "" leave an input out."""
        names = [x.name if isinstance(x, Value) else x or "" for x in inputs]
        while names and not names[-1]:
            names.pop()
        label = self.fresh(f"{self.path.replace('.', '/')}/{kind}" if self.path else f"/{kind}")
        made = [self.fresh(f"{label}_output_{i}") for i in range(outputs)]
        given = {name: value for name, value in attributes.items() if value is not None}
        self.nodes.append(helper.make_node(kind, names, made, name=label, **given))
        return made[0] if outputs == 1 else tuple(made)

    # -- constants

    def constant(self, value: Any, dtype: Any = None) -> str:
        """An initializer of a number or an array; equal ones are one."""
        array = np.asarray(on_host(value) if not isinstance(value, (int, float, bool, list, tuple)) else value, dtype)
        array = np.ascontiguousarray(array).reshape(array.shape)
        key = (array.dtype.str, array.dtype.name, array.shape, array.tobytes())
        if key not in self.constants:
            self.constants[key] = self.initializer(self.fresh(f"constant_{len(self.constants)}"), array)
        return self.constants[key]

    def initializer(self, name: str, array: Any) -> str:
        if array.dtype not in map(np.dtype, NAMES.values()):
            raise TypeError(f"onnx.export: expected a dtype that ONNX has, got {array.dtype}")
        self.initializers[name] = to_proto(array, name)
        return name

    def scalar(self, x: Any, dtype: Any) -> Any:
        """A Value in `dtype`, or a Python number as a constant of it; a Sym as the number that it is at run time."""
        if isinstance(x, Sym):
            return self.node(
                "Cast", self.node("Squeeze", self.size(x), self.constant([0], np.int64)), to=code_of(dtype)
            )
        if isinstance(x, Value):
            return self.cast(x, x.dtype, dtype)
        return self.constant(x, dtype)

    def cast(self, x: Any, before: Any, dtype: Any) -> Any:
        """x, or its Cast where its dtype is another."""
        return x if np.dtype(before) == np.dtype(dtype) else self.node("Cast", x, to=code_of(dtype))

    # -- sizes

    def watch(self, value: Value) -> None:
        """Let later sizes be read off this value's shape."""
        for axis, n in enumerate(value.shape):
            if isinstance(n, Sym) and not any(known == n for known, _, _ in self.axes):
                self.axes.append((n, value, axis))

    def length(self, value: Value, axis: int) -> str:
        """The length of an axis at run time, int64 of shape (1,)."""
        return str(self.node("Shape", value, start=axis, end=axis + 1))

    def size(self, n: Sym) -> str:
        """A number that follows dynamic axes, int64 of shape (1,): a length that is known, times or plus a constant,
        or a product of lengths."""
        if n in self.sizes:
            return self.sizes[n]
        path, self.path = self.path, ""
        try:
            self.sizes[n] = self.made_of(n)
        finally:
            self.path = path
        return self.sizes[n]

    def made_of(self, n: Sym) -> str:
        for known, value, axis in self.axes:
            if known == n:
                return self.length(value, axis)
        for count in (1, 2, 3):
            for chosen in itertools.combinations(self.axes[:8], count):
                product = Sym(
                    int(np.prod([k.first for k, _, _ in chosen])), int(np.prod([k.second for k, _, _ in chosen]))
                )
                if product.first and n.first % product.first == 0 and n == times(product, n.first // product.first):
                    name = self.size(chosen[0][0])
                    for known, _, _ in chosen[1:]:
                        name = self.node("Mul", name, self.size(known))
                    factor = n.first // product.first
                    return name if factor == 1 else self.node("Mul", name, self.constant([factor], np.int64))
        for known, _, _ in self.axes:
            if known.first - n.first == known.second - n.second:
                return str(self.node("Add", self.size(known), self.constant([n.first - known.first], np.int64)))
        raise ValueError(f"expected a number made of the dynamic axes, got {n.first} and then {n.second}")

    def shape(self, lengths: Sequence[Any]) -> str:
        """A shape as int64 (n,): a constant where no length is dynamic."""
        if not any(isinstance(n, Sym) for n in lengths):
            return self.constant(np.asarray(lengths, np.int64).reshape(-1))
        parts: list[str] = []
        for dynamic, group in itertools.groupby(lengths, lambda n: isinstance(n, Sym)):
            found = list(group)
            parts += [self.size(n) for n in found] if dynamic else [self.constant(found, np.int64)]
        return parts[0] if len(parts) == 1 else str(self.node("Concat", *parts, axis=0))

    # -- what many entries need

    def reshape(self, x: Any, before: Sequence[Any] | None, lengths: Sequence[Any]) -> str:
        """x under another shape. One dynamic length is -1, one that x has at the same place 0."""
        wanted = list(lengths)
        dynamic = [i for i, n in enumerate(wanted) if isinstance(n, Sym)]
        if not any(n == 0 for n in wanted):
            for i in dynamic:
                if len(dynamic) > 1 and before is not None and i < len(before) and before[i] == wanted[i]:
                    wanted[i] = 0
            rest = [i for i in dynamic if isinstance(wanted[i], Sym)]
            if len(rest) == 1:
                wanted[rest[0]] = -1
        return str(self.node("Reshape", x, self.shape(wanted)))

    def reduce(self, kind: str, x: Any, axes: Sequence[int] | None, keepdims: bool) -> str:
        """A reduction: axes are an attribute before opset 18 (13 for ReduceSum), then an input."""
        if self.opset >= 18 or kind == "ReduceSum":
            given = None if axes is None else self.constant(np.asarray(axes, np.int64))
            return str(self.node(kind, x, given, keepdims=int(keepdims)))
        return str(self.node(kind, x, axes=None if axes is None else list(axes), keepdims=int(keepdims)))

    def slice(self, x: Any, axis: int, start: Any, stop: Any, step: int = 1) -> str:
        """x[start:stop:step] along an axis, start and stop numbers or Syms."""
        at = self.constant([axis], np.int64)
        return str(self.node("Slice", x, self.shape([start]), self.shape([stop]), at, self.constant([step], np.int64)))

    def squeeze(self, x: Any, *axes: int) -> str:
        return str(self.node("Squeeze", x, self.constant(list(axes), np.int64)))

    def unsqueeze(self, x: Any, *axes: int) -> str:
        return str(self.node("Unsqueeze", x, self.constant(list(axes), np.int64)))

    def split(self, x: Any, count: int, axis: int) -> tuple[str, ...]:
        """Equal pieces along an axis."""
        more = {"num_outputs": count} if self.opset >= 18 else {}
        made = self.node("Split", x, outputs=count, axis=axis, **more)
        return made if isinstance(made, tuple) else (made,)


def times(n: Sym, factor: int) -> Sym:
    return Sym(n.first * factor, n.second * factor)


def to_proto(array: Any, name: str) -> Any:
    """A TensorProto; types that NumPy has no letters for go by their bytes."""
    array = np.asarray(array)
    if array.dtype.kind in "biufc" and array.dtype.itemsize > 1 or array.dtype.str[1:] in ("b1", "i1", "u1"):
        return numpy_helper.from_array(array, name)
    return TensorProto(name=name, dims=array.shape, data_type=code_of(array.dtype), raw_data=array.tobytes())
