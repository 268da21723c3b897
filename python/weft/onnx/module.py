"""A model file as a Module: read and checked, then run step by step on weft's ops."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from onnx import ModelProto, TensorProto

from weft.autograd import Tensor
from weft.backends.array import ARRAYS, device_of
from weft.backends.device import place
from weft.nn.module import Module
from weft.nn.parameter import Buffer, Parameter
from weft.onnx.dtypes import code_of, dtype_of
from weft.onnx.errors import UnsupportedError
from weft.onnx.graph import MAX_NODES, NEWEST, Model, Plan, read_initializers
from weft.onnx.tensors import External
from weft.ops.creation import asarray

#: operator -> inputs that are settings or statistics, which no gradient moves
KEPT = {
    "BatchNormalization": (3, 4),
    "Attention": (3,),
    "Clip": (1, 2),
    "DequantizeLinear": (1,),
    "Dropout": (1,),
    "MelWeightMatrix": (3, 4),
    "NonMaxSuppression": (3, 4),
    "OneHot": (1, 2),
    "Pad": (2,),
    "QLinearConv": (1, 4, 6),
    "QLinearMatMul": (1, 4, 6),
    "QuantizeLinear": (1,),
    "Range": (0, 1, 2),
    "Resize": (1, 2),
    "RotaryEmbedding": (1, 2),
    "STFT": (2,),
    "Upsample": (1,),
}


def only_settings(graph: Any) -> set[str]:
    """The names that a graph, with those inside it, reads as KEPT says and not otherwise."""
    settings: set[str] = set()
    others: set[str] = set()
    origin: dict[str, str] = {}
    graphs = [graph]
    while graphs:
        inner = graphs.pop()
        others |= {output.name for output in inner.output}
        for node in inner.node:
            graphs += [a.g for a in node.attribute if a.HasField("g")] + [g for a in node.attribute for g in a.graphs]
            standard = node.domain in ("", "ai.onnx")
            if standard and node.op_type == "Identity" and len(node.input) == len(node.output) == 1:
                origin[node.output[0]] = node.input[0]  # how PyTorch shares an initializer
                continue
            kept = KEPT.get(node.op_type, ()) if standard else ()
            for i, name in enumerate(node.input):
                (settings if i in kept else others).add(name)

    def source(name: str) -> str:
        seen = set()  # a damaged file may go in circles
        while name in origin and name not in seen:
            seen.add(name)
            name = origin[name]
        return name

    return {source(name) for name in settings} - {source(name) for name in others}


class OnnxModule(Module):
    """A model file as a Module.  Inputs by position or by name -> its output, a tuple where there are several.

    model: a ModelProto; its initializers are taken out of it. folder: where external data may lie.

    Floating initializers are Parameters under their own names (with "initializer." before a name that Module itself
    needs); integers, statistics of batch normalisation and settings such as the bounds of Clip or the scales of Resize
    are Buffers; so `state_dict`, optimizers, `to` and `weft.save` work as with any module. Gradients flow through every
    operator that has one. `input_names` and `output_names` are the graph's.  ValueError names the node that does not
    accept what it is given.
    """

    def __init__(self, model: Any, folder: Path | str | None = None):
        try:
            self.build(model, folder)
        except RecursionError:
            raise ValueError("model: expected graphs that nest less deep") from None
        except (AttributeError, OverflowError, TypeError) as error:  # text that is no UTF-8 comes as bytes
            raise ValueError(f"model: expected fields of ONNX's types, got {error}") from error

    def build(self, model: Any, folder: Path | str | None) -> None:
        plan = plan_of(model, folder)
        self.plan = (plan,)  # in a tuple: it is no part of the state
        self.input_names = tuple(name for name in plan.inputs if name not in plan.constants)
        self.output_names = tuple(plan.outputs)
        settings = only_settings(model.graph)
        self.names: dict[str, str] = {}  # initializer -> attribute
        for name, array in plan.constants.items():
            attribute = name
            while hasattr(self, attribute):
                attribute = f"initializer.{attribute}"
            self.names[name] = attribute
            trained = array.dtype.kind not in "biu" and array.dtype.itemsize > 1 and name not in settings
            setattr(self, attribute, Parameter(array) if trained else Buffer(array))
        plan.constants.clear()  # from here on the module has them

    def forward(self, *args: Any, **named: Any) -> Any:
        values = self.bound(args, named)
        for name, attribute in self.names.items():
            values.setdefault(name, self.__dict__[attribute])
        plan = self.plan[0]
        out = execute(plan, values, None)
        return out[0] if len(out) == 1 else tuple(out)

    def bound(self, args: tuple[Any, ...], named: Mapping[str, Any]) -> dict[str, Any]:
        """Inputs by name, each checked against what the graph declares."""
        plan, given = self.plan[0], dict(zip(self.input_names, args))
        unknown = [name for name in named if name in given or name not in plan.inputs]
        if len(args) > len(self.input_names) or unknown:
            raise ValueError(f"onnx: expected the inputs {', '.join(self.input_names)}, got {len(args)} by position"
                             + f" and {', '.join(named)}" * bool(named))  # fmt: skip
        given |= named
        free: dict[str, int] = {}
        for name in self.input_names:
            info = plan.infos[name]
            if name not in given:
                if info.type.HasField("optional_type"):
                    given[name] = None
                    continue
                raise ValueError(f"onnx: expected the input {name!r}, got {', '.join(given) or 'none'}")
        return {name: checked(value, plan.infos[name], free) for name, value in given.items()}

    def extra_repr(self) -> str:
        return f"{', '.join(self.input_names)} -> {', '.join(self.output_names)}"


class Context:
    """What a step may ask of the run it is part of."""

    def __init__(self, step: Any, plan: Plan, scope: Scope):
        self.step, self.scope = step, scope
        self.outputs = len(step.outputs)
        self.wanted = [i for i, name in enumerate(step.outputs) if name]
        self.opset = plan.model.opsets.get("", 0)

    def run(self, plan: Plan, inputs: list[Any], *, outer: bool = True) -> list[Any]:
        """The outputs of an inner graph; `outer`: whether it sees the names around it (a function does not)."""
        if len(inputs) != len(plan.inputs):
            raise ValueError(f"expected {len(plan.inputs)} values for {plan.label}, got {len(inputs)}")
        return execute(plan, dict(zip(plan.inputs, inputs)), self.scope if outer else None)

    def standard(self, *inputs: Any) -> tuple[Any, ...]:
        """The operator as the standard defines it out of others, for options that its own function leaves out."""
        given = len(inputs)
        while given and inputs[given - 1] is None:
            given -= 1
        return self.step.standard()(self, *inputs[:given])  # type: ignore[no-any-return]


class Scope:
    """Names and their values, in one graph and those around it."""

    __slots__ = ("outer", "values")

    def __init__(self, values: dict[str, Any], outer: Scope | None):
        self.values, self.outer = values, outer

    def get(self, name: str) -> Any:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.values:
                return scope.values[name]
            scope = scope.outer
        raise ValueError(f"expected a value of {name!r}, got none")


def execute(plan: Plan, values: dict[str, Any], outer: Scope | None) -> list[Any]:
    """Run a plan. What no later step needs is let go."""
    for name, array in plan.constants.items():
        values[name] = Tensor(array)
    scope = Scope(values, outer)
    for step in plan.steps:
        try:
            inputs = together([None if not name else scope.get(name) for name in step.inputs])
            out = step.run(Context(step, plan, scope), *inputs)
        except RecursionError:
            raise
        except UnsupportedError as error:
            raise UnsupportedError(told(step.label, error)) from error
        except (
            ArithmeticError,
            AttributeError,
            LookupError,
            MemoryError,
            RuntimeError,
            TypeError,
            ValueError,
        ) as error:
            raise ValueError(told(step.label, error)) from error
        if len(out) < len(step.outputs):
            raise ValueError(f"{step.label}: expected at most {len(out)} outputs, got {len(step.outputs)}")
        values.update({name: value for name, value in zip(step.outputs, out) if name})
        for name in step.last:
            values.pop(name, None)
    return [scope.get(name) for name in plan.outputs]


def told(label: str, error: Exception) -> str:
    words = str(error) or type(error).__name__
    return words if words.startswith("graph") else f"{label}: {words}"


def together(values: list[Any]) -> list[Any]:
    """Tensors on one device: integers that were made on the host follow the others."""
    devices = {device_of(x.data) for x in values if isinstance(x, Tensor)}
    if len(devices) < 2:
        return values
    there = next(d for d in sorted(devices) if d != "cpu")
    return [Tensor(place(x.data, there)) if isinstance(x, Tensor) and x.device == "cpu" else x for x in values]


def checked(value: Any, info: Any, free: dict[str, int]) -> Any:
    """An input as a Tensor (or a list of them), of the type and shape that the graph declares."""
    kind = info.type.WhichOneof("value")
    if kind == "optional_type" and value is None:
        return None
    return conformed(value, info.type, free, f"onnx: input {info.name!r}")


def conformed(value: Any, kind: Any, free: dict[str, int], label: str) -> Any:
    if kind.HasField("optional_type"):
        return conformed(value, kind.optional_type.elem_type, free, label)
    if kind.HasField("sequence_type"):
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"{label}: expected a list of arrays, got {type(value).__name__}")
        return [conformed(x, kind.sequence_type.elem_type, {}, label) for x in value]
    if not isinstance(value, (Tensor, *ARRAYS, np.generic, int, float, list)):
        raise ValueError(f"{label}: expected an array, got {type(value).__name__}")
    if isinstance(value, np.ndarray) and value.dtype.kind in "OUS":
        dtype_of(TensorProto.STRING)
    x = asarray(value)
    if not kind.HasField("tensor_type"):
        return x
    wanted = kind.tensor_type
    if wanted.elem_type and code_of(x.dtype) != wanted.elem_type:
        raise ValueError(f"{label}: expected {dtype_of(wanted.elem_type)}, got {x.dtype}")
    if wanted.HasField("shape"):
        shape = tuple(d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in wanted.shape.dim)
        fits = len(shape) == x.ndim and all(
            n is None or n == (free.setdefault(n, m) if isinstance(n, str) else m) or free.get(n) == m  # type: ignore[arg-type]
            for n, m in zip(shape, x.shape)
        )
        if not fits:
            raise ValueError(f"{label}: expected shape {shape}, got {x.shape}" + f" where {free}" * bool(free))
    return x


def plan_of(model: Any, folder: Path | str | None) -> Plan:
    """The graph of a ModelProto, checked."""
    opsets: dict[str, int] = {}
    for entry in model.opset_import:
        domain = "" if entry.domain == "ai.onnx" else entry.domain
        if domain in opsets:
            raise ValueError(f"model: expected one opset_import of domain {domain!r}, got two")
        if domain in NEWEST and not 1 <= entry.version <= NEWEST[domain]:
            raise UnsupportedError(
                f"model: expected an opset of 1 to {NEWEST[domain]} for domain {domain!r}, got {entry.version}"
            )
        opsets[domain] = entry.version
    if not opsets:
        raise ValueError("model: expected an opset_import, got none")
    if len(model.training_info):
        raise UnsupportedError("model: expected inference alone, got training_info")
    label, outside = f"graph {model.graph.name!r}", External(folder)
    constants = read_initializers(model.graph.initializer, outside, label)
    del model.graph.initializer[:]
    model = ModelProto.FromString(model.SerializeToString())  # in memory of its own: that of the weights is let go
    functions: dict[tuple[str, str, str], Any] = {}
    for function in model.functions:
        key = (function.domain, function.name, getattr(function, "overload", ""))
        if key in functions:
            raise ValueError(f"model: expected each function once, got {key[:2]} twice")
        functions[key] = function
    total = len(model.graph.node) + sum(map(count_nodes, model.graph.node))
    parts = Model(opsets, functions, outside, [total + MAX_NODES])
    return Plan(parts, model.graph, lambda name: False, 0, label, constants)


def count_nodes(node: Any) -> int:
    """How many nodes there are in the graphs inside of a node."""
    graphs = [a.g for a in node.attribute if a.HasField("g")]
    return sum(len(g.node) + sum(map(count_nodes, g.node)) for g in graphs)


def parsed(data: bytes, label: str) -> Any:
    """The ModelProto in `data`; ValueError where there is none."""
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"{label}: expected an ONNX model, got bytes that are none: {error}") from None
    if not model.HasField("graph") or not model.ir_version:
        raise ValueError(f"{label}: expected an ONNX model with a graph and an ir_version, got none")
    return model


def load(path: Path | str) -> OnnxModule:
    """A Module that runs the ONNX model in a file on weft's ops, its initializers as parameters.

    The file is checked whole before anything runs: sizes against the bytes that are there, names, order and types of
    nodes; external data is read below the file's own folder alone.  ValueError says what is wrong, UnsupportedError
    (a ValueError) which operator Weft does not have; FileNotFoundError if there is no file.

    >>> model = weft.onnx.load("model.onnx")                                                # doctest: +SKIP
    >>> model(weft.ones((2, 3))).shape                                                      # doctest: +SKIP
    (2, 10)
    """
    path = Path(path)
    model = parsed(path.read_bytes(), f"onnx.load: {path}")
    try:
        return OnnxModule(model, path.parent)
    except UnsupportedError as error:
        raise UnsupportedError(f"onnx.load: {path}: {error}") from None
    except ValueError as error:
        raise ValueError(f"onnx.load: {path}: {error}") from None
