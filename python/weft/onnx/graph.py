"""A GraphProto as a plan: checked once, then run as a list of steps.

Whatever a file can have wrong in its structure raises here, as ValueError: names made twice or never, cycles, operators
that nobody knows, attributes that an operator has not, nesting without end.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from onnx import AttributeProto, defs

from weft.onnx.errors import UnsupportedError
from weft.onnx.operators import Operator, find
from weft.onnx.operators.unsupported import reason
from weft.onnx.tensors import External, to_array

MAX_DEPTH = 16  # graphs within graphs, and functions that call functions
MAX_NODES = 20_000  # of functions, written out, beyond the nodes of the graph itself
#: opset domains, and the newest of each that was read
NEWEST = {"": 28, "ai.onnx.ml": 5, "ai.onnx.preview.training": 1, "ai.onnx.preview": 1}


class Model(NamedTuple):
    """What the parts of a model share."""

    opsets: dict[str, int]
    functions: dict[tuple[str, str, str], Any]  # (domain, name, overload) -> FunctionProto
    external: External
    nodes: list[int]  # how many there may still be: functions that call functions multiply


class Step(NamedTuple):
    """One node, ready to run."""

    label: str
    run: Callable[..., Any]  # (context, *inputs) -> tuple of values
    inputs: tuple[str, ...]  # "" for one that is left out
    outputs: tuple[str, ...]
    last: tuple[str, ...]  # values that nothing needs after this step
    standard: Callable[[], Callable[..., Any]] | None = None  # makes the operator out of others, as the standard does


class Plan:
    """A graph that is known to be sound. `outer`: the names it takes from the graphs around it."""

    def __init__(
        self, model: Model, graph: Any, known: Callable[[str], bool], depth: int, label: str,
        constants: dict[str, np.ndarray[Any, Any]] | None = None,
    ):  # fmt: skip
        if depth > MAX_DEPTH:
            raise ValueError(f"{label}: expected at most {MAX_DEPTH} graphs within each other, got more")
        model.nodes[0] -= len(graph.node)
        if model.nodes[0] < 0:
            raise ValueError(f"{label}: expected functions of at most {MAX_NODES} nodes, written out, got more")
        if len(graph.sparse_initializer):
            raise UnsupportedError(f"{label}: {reason('sparse tensors')}")
        self.label = label
        self.model = model
        self.infos = {info.name: info for info in graph.input}
        self.constants = read_initializers(graph.initializer, model.external, label) if constants is None else constants
        self.inputs = unique([info.name for info in graph.input], f"{label}: input")
        self.outputs = [value.name for value in graph.output]
        self.results = list(graph.output)
        self.outer: set[str] = set()
        made = {*self.inputs, *self.constants}

        def seen(name: str) -> bool:
            if name in made:
                return True
            if known(name):
                self.outer.add(name)
                return True
            return False

        if "" in made:
            raise ValueError(f"{label}: expected names for inputs and initializers, got an empty one")
        steps = []
        for i, node in enumerate(graph.node):
            steps.append(self.compile(node, seen, depth, i, graph))
            for name in steps[-1].outputs:
                if name and (name in made or known(name)):
                    raise ValueError(f"{steps[-1].label}: expected a new name for its output, got {name!r} again")
                made.add(name)
        for name in self.outputs:
            if not name or not seen(name):
                raise ValueError(f"{label}: expected outputs that some node makes, got {name!r}")
        self.steps = self.with_last_uses(steps)

    def compile(self, node: Any, seen: Callable[[str], bool], depth: int, i: int, graph: Any) -> Step:
        domain = "" if node.domain == "ai.onnx" else node.domain
        kind = f"{domain}.{node.op_type}" if domain else node.op_type
        label = f"{self.label}: node {i} {node.name!r} ({kind})"
        for name in node.input:
            if name and not seen(name):
                later = any(name in other.output for other in graph.node)
                why = "which a later node makes: the nodes form a cycle, or are out of order" if later else "got none"
                raise ValueError(f"{label}: expected something that makes its input {name!r}, {why}")
        outputs = unique([name for name in node.output if name], f"{label}: output")
        if not outputs:
            raise ValueError(f"{label}: expected at least one output, got none")
        key = (domain, node.op_type, getattr(node, "overload", ""))
        if key in self.model.functions:
            from weft.onnx.function import of_file

            return Step(label, of_file(self.model, key, node, depth, label), tuple(node.input), tuple(node.output), ())
        if domain not in self.model.opsets:
            raise ValueError(f"{label}: expected an opset_import of domain {domain!r}, got none")
        attributes: dict[str, Any] = {}
        nested: set[str] = set()
        for attribute in node.attribute:
            if attribute.name in attributes:
                raise ValueError(f"{label}: expected each attribute once, got {attribute.name!r} twice")
            try:
                value = self.value_of(attribute, seen, depth, label)
            except UnicodeDecodeError as error:
                raise ValueError(f"{label}: attribute {attribute.name!r}: {error}") from None
            attributes[attribute.name] = value
            if isinstance(value, Plan):
                nested |= value.outer
        version = self.model.opsets[domain]
        operator = find(domain, node.op_type, version)
        from weft.onnx.function import of_standard

        standard = functools.cache(lambda: of_standard(self.model, node, domain, version, depth, label))
        run = standard() if operator is None else bind(operator, attributes, node, label)
        return Step(label, run, tuple(node.input), tuple(node.output), tuple(sorted(nested)), standard)

    def value_of(self, attribute: Any, seen: Callable[[str], bool], depth: int, label: str) -> Any:
        """An attribute as a Python value: numbers, text, lists of them, arrays, plans, types."""
        where = f"{label}: attribute {attribute.name!r}"
        if attribute.ref_attr_name:
            raise ValueError(f"{where}: expected a value, got a reference outside of a function")
        kind = attribute.type
        if kind == AttributeProto.FLOAT:
            return attribute.f
        if kind == AttributeProto.INT:
            return attribute.i
        if kind == AttributeProto.STRING:
            return attribute.s.decode()
        if kind in (AttributeProto.TENSOR, AttributeProto.TENSORS):
            tensors = [attribute.t] if kind == AttributeProto.TENSOR else attribute.tensors
            try:
                arrays = [to_array(tensor, self.model.external) for tensor in tensors]
            except ValueError as error:
                raise type(error)(f"{where}: {error}") from None
            return arrays[0] if kind == AttributeProto.TENSOR else arrays
        if kind == AttributeProto.GRAPH:
            return Plan(self.model, attribute.g, seen, depth + 1, f"{where}: graph {attribute.g.name!r}")
        if kind == AttributeProto.FLOATS:
            return list(attribute.floats)
        if kind == AttributeProto.INTS:
            return list(attribute.ints)
        if kind == AttributeProto.STRINGS:
            return [text.decode() for text in attribute.strings]
        if kind == AttributeProto.TYPE_PROTO:
            return attribute.tp
        if kind in (AttributeProto.SPARSE_TENSOR, AttributeProto.SPARSE_TENSORS):
            raise UnsupportedError(f"{where}: {reason('sparse tensors')}")
        raise ValueError(f"{where}: expected a known type of attribute, got {kind}")

    def with_last_uses(self, steps: list[Step]) -> list[Step]:
        """The steps, each with the values of this graph that nothing needs after it."""
        needed, ready = set(self.outputs), []
        own = {name for step in steps for name in step.outputs} | set(self.inputs)
        for step in reversed(steps):
            used = {name for name in (*step.inputs, *step.last, *step.outputs) if name}
            last = tuple(sorted(name for name in used - needed if name in own))
            needed |= used
            ready.append(step._replace(last=last))
        return ready[::-1]


def read_initializers(tensors: Any, external: External, label: str) -> dict[str, np.ndarray[Any, Any]]:
    """Name -> array; ValueError names the tensor that is not as it should be."""
    constants: dict[str, np.ndarray[Any, Any]] = {}
    for tensor in tensors:
        if tensor.name in constants:
            raise ValueError(f"{label}: expected each initializer once, got {tensor.name!r} twice")
        try:
            constants[tensor.name] = to_array(tensor, external)
        except ValueError as error:
            raise type(error)(f"{label}: initializer {tensor.name!r}: {error}") from None
    return constants


def unique(names: list[str], what: str) -> list[str]:
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{what}: expected each name once, got {twice!r} twice")
    return names


def bind(operator: Operator, attributes: dict[str, Any], node: Any, label: str) -> Callable[..., Any]:
    """The operator with its attributes; ValueError for one that it has not, or lacks, and for too many inputs."""
    unknown = attributes.keys() - operator.attributes.keys()
    if unknown:
        known = ", ".join(operator.attributes) or "none"
        raise UnsupportedError(f"{label}: expected attributes out of {known}, got {', '.join(sorted(unknown))}")
    lacking = [name for name, required in operator.attributes.items() if required and name not in attributes]
    if lacking:
        raise ValueError(f"{label}: expected the attribute {', '.join(lacking)}, got none")
    if not operator.least <= len(node.input) <= operator.most:
        raise ValueError(f"{label}: expected {operator.least} to {operator.most} inputs, got {len(node.input)}")
    function = operator.function

    def run(context: Any, *inputs: Any) -> tuple[Any, ...]:
        more = {"context": context} if operator.wants_context else {}
        out = function(*inputs, **attributes, **more)
        return out if type(out) is tuple else (out,)

    return run


def has_function(domain: str, name: str, version: int) -> Any:
    """The schema of an operator that the standard defines by others, or None."""
    if not defs.has(name, domain=domain, max_inclusive_version=version):
        return None
    schema: Any = defs.get_schema(name, max_inclusive_version=version, domain=domain)
    return schema if schema.has_function or schema.has_context_dependent_function else None
