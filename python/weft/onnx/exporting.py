"""Modules to ONNX files: run twice, compared, and written node by node."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

import weft
from weft.autograd import Tensor
from weft.backends.device import on_host
from weft.io.durable import write_durably
from weft.nn.module import Module
from weft.onnx.dtypes import code_of
from weft.onnx.emit import Emitter, Value, to_proto
from weft.onnx.errors import UnsupportedError
from weft.onnx.exporters import entry
from weft.onnx.trace import Call, DiffersError, Pair, Ref, Sym, Trace, record, unified

OLDEST, DEFAULT, NEWEST = 17, 18, 26  # opsets; the newest is what onnxruntime 1.31 runs whole


def export(
    module: Module,
    example_inputs: Any,
    path: Path | str,
    *,
    opset: int = DEFAULT,
    dynamic_axes: Mapping[str, Mapping[int, str]] | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
) -> Path:
    """Write `module`, in eval mode, as an ONNX model; returns the path.

    example_inputs: an array or Tensor, a tuple of them (numbers and None among them stay as they are), or a dict by the
    names of forward's parameters. opset: 17 to 26. dynamic_axes: which axes of which inputs may have any length, and
    what they are called: {"x": {0: "batch", 1: "time"}}; by default axis 0 of all inputs, as "batch", {} for none.
    The names of inputs are those of forward's parameters, of outputs "output" or "output_0", ..., of initializers those
    of `state_dict`.

    The module runs twice, the second time with other values and other lengths of the dynamic axes, and what the two
    runs do is compared: a size that is fixed in the code, or a value that leaves weft's ops (`.numpy()`), is an error
    and not a constant. The file is checked by onnx.checker, with its shapes inferred.  ValueError names the op and the
    path of its module, UnsupportedError (a ValueError) an op that ONNX has no operator for.

    >>> from weft import nn
    >>> weft.onnx.export(nn.Linear(3, 2), weft.ones((5, 3)), "linear.onnx")                 # doctest: +SKIP
    PosixPath('linear.onnx')
    """
    if not OLDEST <= opset <= NEWEST:
        raise ValueError(f"onnx.export: expected an opset of {OLDEST} to {NEWEST}, got {opset}")
    args, named = arguments(example_inputs)
    given = {name: x for name, x in named_inputs(module, args, named, input_names).items() if isinstance(x, Tensor)}
    axes = dynamic(given, dynamic_axes)
    lengths = sizes(given, axes)
    others = {name: other(x, axes.get(name, {}), lengths) for name, x in given.items()}
    modes = [(m, m.training) for m in module.modules()]
    module.eval()
    try:
        first, out = record(module, args, named, entry)
        replaced = dict(zip(map(id, given.values()), others.values()))
        other_args = tuple(replaced.get(id(x), x) for x in args)
        try:
            second, other_out = record(module, other_args, {k: replaced.get(id(x), x) for k, x in named.items()}, entry)
        except Exception as error:
            raise ValueError(
                f"onnx.export: expected a module that runs with other lengths of its dynamic axes {axes}, got {error}; "
                "pass dynamic_axes without those that are fixed"
            ) from error
    finally:
        for m, mode in modes:
            m.training = mode
    model = Writer(module, given, others, axes, opset).write(first, second, out, other_out, output_names)
    try:
        onnx.checker.check_model(model, full_check=True)
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ValueError(f"onnx.export: {error}") from error
    write_durably(path, [model.SerializeToString()])
    return Path(path)


def arguments(example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Example inputs as what the module is called with, arrays as Tensors of their own."""
    if isinstance(example, Mapping):
        return (), {name: as_input(x) for name, x in example.items()}
    return tuple(as_input(x) for x in (example if isinstance(example, (tuple, list)) else (example,))), {}


def as_input(x: Any) -> Any:
    if x is None or isinstance(x, (bool, int, float, str)):
        return x
    return weft.asarray(x, copy=True)  # arrays are known by identity, and one may be given twice


def named_inputs(module: Module, args: Any, named: dict[str, Any], names: Sequence[str] | None) -> dict[str, Any]:
    """Every argument by its name: the one that is given, or that of forward's parameter."""
    if names is not None:
        if named or len(names) != len(args) or len(set(names)) != len(names):
            raise ValueError(f"onnx.export: expected {len(args)} input_names for inputs by position, got {list(names)}")
        return dict(zip(names, args))
    parameters = list(inspect.signature(module.forward).parameters.values())
    found: list[str] = []
    for i in range(len(args)):
        plain = i < len(parameters) and parameters[i].kind is parameters[i].POSITIONAL_OR_KEYWORD
        found.append(parameters[i].name if plain else f"input_{i}")
    return {**dict(zip(found, args)), **named}


Axes = dict[str, dict[int, str]]


def dynamic(given: dict[str, Tensor], axes: Mapping[str, Mapping[int, str]] | None) -> Axes:
    """The dynamic axes of each input, counted from the front; axes of one name must have one length."""
    if axes is None:
        firsts = {name: x.shape[0] for name, x in given.items() if x.ndim}
        if len(set(firsts.values())) > 1:
            raise ValueError(
                f"onnx.export: expected one batch along axis 0, got {firsts}; pass dynamic_axes, {{}} for none"
            )
        return {name: {0: "batch"} for name in firsts}
    found: Axes = {}
    for name, names in axes.items():
        if name not in given:
            raise ValueError(f"onnx.export: expected dynamic_axes of {', '.join(given)}, got {name!r}")
        n = given[name].ndim
        if any(not -n <= axis < n for axis in names):
            raise ValueError(f"onnx.export: expected axes of {name!r} within {n}, got {sorted(names)}")
        found[name] = {axis % n: called for axis, called in names.items()}
    for called in {c for names in found.values() for c in names.values()}:
        lengths = {given[n].shape[a] for n, names in found.items() for a, c in names.items() if c == called}
        if len(lengths) > 1:
            raise ValueError(f"onnx.export: expected one length of the axis {called!r}, got {sorted(lengths)}")
    return found


def sizes(given: dict[str, Tensor], axes: Axes) -> dict[str, int]:
    """Another length for each dynamic axis, so that no two axes change alike. Shorter where that leaves two, for what
    has a longest sequence."""
    found: dict[str, int] = {}
    taken: set[tuple[int, int]] = set()
    for name, names in axes.items():
        for axis, called in names.items():
            n = given[name].shape[axis]
            if called not in found:
                candidates = [n - 1, n + 1, *(n + i for i in range(-2, -8, -1)), *range(n + 2, n + 40)]
                found[called] = next(m for m in candidates if m > 1 and m != n and (n, m) not in taken)
                taken.add((n, found[called]))
    return found


def other(x: Tensor, names: dict[int, str], lengths: dict[str, int]) -> Tensor:
    """Other values of the same kind, and the other lengths of the dynamic axes."""
    array = np.flip(on_host(x.data))
    for axis, called in names.items():
        array = np.take(array, np.arange(lengths[called]) % max(array.shape[axis], 1), axis=axis)
    if array.dtype.kind not in "biu":
        array = (array * 0.75).astype(array.dtype)
    return weft.asarray(np.array(array, order="C"), device=x.device)


class Writer:
    """Makes one graph of two traces."""

    def __init__(self, module: Module, given: dict[str, Tensor], others: dict[str, Tensor], axes: Axes, opset: int):
        self.module, self.axes, self.given = module, axes, given
        self.to = Emitter(opset)
        self.inputs = [Value(self.to.fresh(n), x.data, others[n].data) for n, x in given.items()]
        self.state: dict[str, Value] = {}
        self.made: dict[tuple[int, int], Value] = {}
        for value in self.inputs:
            self.to.watch(value)
        for name, _ in module._state():
            if name in given:
                raise ValueError(f"onnx.export: expected names of inputs that no parameter has, got {name!r}; "
                                 "pass input_names")  # fmt: skip
            self.to.names.add(name)

    def write(self, first: Trace, second: Trace, out: Any, other_out: Any, names: Sequence[str] | None) -> Any:
        self.first, self.second = first, second
        if [c.body for c in first.calls] != [c.body for c in second.calls]:
            a, b = ([c.body.__name__ for c in trace.calls] for trace in (first, second))
            at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
            path = (first.calls[at : at + 1] or second.calls[at : at + 1])[0].path
            raise ValueError(
                f"onnx.export: expected the same ops whatever the inputs, got {a[at : at + 3]} and then "
                f"{b[at : at + 3]} in {path or 'the module'}: a branch of the code depends on them"
            )
        for i, calls in enumerate(zip(first.calls, second.calls)):
            self.write_call(i, *calls)
        results = self.results(out, other_out)
        return self.model(results, names)

    def write_call(self, i: int, a: Call, b: Call) -> None:
        """The nodes of one op."""
        name = a.body.__name__
        where = f"onnx.export: {name}" + f" in {a.path}" * bool(a.path)
        write = entry(a.body, a.params)
        if write is None:
            raise UnsupportedError(f"{where}: expected an op that ONNX has an operator for, got {name}")
        self.to.path = a.path
        self.to.outs = a.outs
        try:
            inputs = [self.resolved(unified(x, y)) for x, y in zip(a.arrays, b.arrays)]
            params = {key: self.resolved(unified(a.params[key], b.params[key])) for key in a.params}
            out = write(self.to, *inputs, **params)
        except DiffersError as error:
            raise ValueError(
                f"{where}: expected what follows the inputs to come from weft's ops, got {error} for two inputs; "
                "pass dynamic_axes without the axis that it depends on, or write it with weft's ops"
            ) from None
        except UnsupportedError as error:
            raise UnsupportedError(f"{where}: {error}") from None
        except (ValueError, TypeError) as error:
            raise ValueError(f"{where}: {error}") from error
        for j, made in enumerate(out if isinstance(out, tuple) else (out,)):
            if made is not None:
                value = Value(made.name if isinstance(made, Value) else made, a.outs[j], b.outs[j])
                self.made[i, j] = value
                self.to.watch(value)

    def resolved(self, x: Any) -> Any:
        """A Pair as the Value that it is, or as a constant; numbers and Syms as they are."""
        if isinstance(x, Pair):
            return self.value(x)
        if isinstance(x, slice):
            return slice(*(self.resolved(n) for n in (x.start, x.stop, x.step)))
        if type(x) is tuple:
            return tuple(self.resolved(y) for y in x)
        return x

    def value(self, pair: Pair) -> Value:
        refs = (self.first.ref(pair.first), self.second.ref(pair.second))
        if refs[0] != refs[1]:
            raise DiffersError(f"{refs[0] or 'a constant'} and {refs[1] or 'a constant'}")
        ref = refs[0]
        if ref is None:
            return Value(self.constant(pair), pair.first, pair.second)
        if ref.kind == "input":
            return self.inputs[ref.key]
        if ref.kind == "state":
            return self.parameter(ref, pair)
        if (ref.key, ref.output) not in self.made:
            raise ValueError(f"expected an output that ONNX's operator gives, got output {ref.output}")
        return self.made[ref.key, ref.output]

    def parameter(self, ref: Ref, pair: Pair) -> Value:
        if ref.key not in self.state:
            self.to.initializers[ref.key] = to_proto(on_host(pair.first), ref.key)
            self.state[ref.key] = Value(ref.key, pair.first, pair.second)
        return self.state[ref.key]

    def constant(self, pair: Pair) -> str:
        """An array that no op made. It may follow dynamic axes as one value everywhere, or as even steps."""
        a, b = on_host(pair.first), on_host(pair.second)
        if a.shape == b.shape and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"):
            return self.to.constant(a)
        lengths = unified(a.shape, b.shape)
        if a.dtype == b.dtype and a.ndim == b.ndim and a.size and b.size:
            values = {*np.unique(a).tolist(), *np.unique(b).tolist()}
            if len(values) == 1:
                fill = to_proto(np.full(1, values.pop(), a.dtype), "value")
                return str(self.to.node("ConstantOfShape", self.to.shape(lengths), value=fill))
            line, long = (x.reshape(-1) for x in ((a, b) if a.size < b.size else (b, a)))
            step = (
                int(long[1] - long[0])
                if a.dtype.kind in "iu" and long.size > 1 and sum(n != 1 for n in a.shape) <= 1
                else 0
            )
            even = (
                step
                and np.array_equal(long, long[0] + step * np.arange(long.size))
                and (line == long[: line.size]).all()
            )
            if even and sum(isinstance(n, Sym) for n in lengths) == 1:
                (n,) = (n for n in lengths if isinstance(n, Sym))
                stop = self.to.node("Mul", self.to.scalar(n, np.int64), self.to.constant(step, np.int64))
                stop = self.to.node("Add", stop, self.to.constant(int(long[0]), np.int64))
                start, by = (self.to.constant(k, np.int64) for k in (int(long[0]), step))
                made = self.to.cast(self.to.node("Range", start, stop, by), np.int64, a.dtype)
                return self.to.reshape(made, None, lengths) if a.ndim > 1 else str(made)
        raise DiffersError(f"constants of shape {a.shape} and {b.shape}")

    def results(self, out: Any, other_out: Any) -> list[Value]:
        """The Tensors of what the module returned, in order; None is left out."""
        first, second = flat(out), flat(other_out)
        if not first or len(first) != len(second):
            raise ValueError(f"onnx.export: expected a module that returns Tensors, got {type(out).__name__}")
        try:
            return [self.value(Pair(a.data, b.data)) for a, b in zip(first, second)]
        except DiffersError as error:
            raise ValueError(f"onnx.export: expected outputs made by weft's ops, got {error}") from None

    def model(self, results: list[Value], names: Sequence[str] | None) -> Any:
        """The ModelProto: only nodes and initializers that the outputs need."""
        if names is None:
            names = ["output"] if len(results) == 1 else [f"output_{i}" for i in range(len(results))]
        if len(names) != len(results):
            raise ValueError(f"onnx.export: expected {len(results)} output_names, got {list(names)}")
        if set(names) & ({v.name for v in self.inputs} | set(self.to.initializers)) or len(set(names)) != len(names):
            raise ValueError(f"onnx.export: expected output_names that nothing else has, got {list(names)}")
        nodes = [*self.to.nodes, *(helper.make_node("Identity", [v.name], [n]) for v, n in zip(results, names))]
        nodes = renamed(nodes, len(results), {v.name for v in self.inputs} | set(self.to.initializers))
        needed, kept = set(names), []
        for node in reversed(nodes):
            if needed & set(node.output):
                needed |= set(node.input)
                kept.append(node)
        inputs = [self.info(v.name, v, n) for v, n in zip(self.inputs, self.given)]
        outputs = [self.info(n, v, None) for v, n in zip(results, names)]
        initializers = [proto for name, proto in self.to.initializers.items() if name in needed]
        graph = helper.make_graph(kept[::-1], type(self.module).__name__, inputs, outputs, initializers)
        opsets = [helper.make_opsetid("", self.to.opset)]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="weft", producer_version=weft.__version__)
        model.ir_version = helper.find_min_ir_version_for(opsets)
        return model

    def info(self, name: str, value: Value, given: str | None) -> Any:
        """A ValueInfoProto; axes that follow a dynamic one have its name."""
        known = {n: self.axes[i][axis] for i, x in zip(self.given, self.inputs) for axis, n in enumerate(x.shape)
                 if isinstance(n, Sym) and axis in self.axes.get(i, {})}  # fmt: skip
        lengths = [known.get(n) if isinstance(n, Sym) else n for n in value.shape]
        return helper.make_tensor_value_info(name, code_of(value.dtype), lengths)


def renamed(nodes: list[Any], count: int, outside: set[str]) -> list[Any]:
    """The nodes without the last Identities where these only rename what a node made for one output."""
    body, ends = nodes[: len(nodes) - count], nodes[len(nodes) - count :]
    sources = [end.input[0] for end in ends]
    new = {
        end.input[0]: end.output[0] for end in ends if end.input[0] not in outside and sources.count(end.input[0]) == 1
    }
    for node in body:
        for field in (node.input, node.output):
            field[:] = [new.get(name, name) for name in field]
    return body + [end for end in ends if end.input[0] not in new]


def flat(out: Any) -> list[Tensor]:
    if isinstance(out, Tensor):
        return [out]
    if isinstance(out, Mapping):
        out = list(out.values())
    return [t for part in out for t in flat(part)] if isinstance(out, (tuple, list)) else []
