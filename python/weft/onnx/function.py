"""Functions: operators that a file defines by nodes of its own, or the standard by other operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import AttributeProto, FunctionProto, GraphProto, TypeProto, helper

from weft.autograd import Tensor
from weft.onnx.dtypes import code_of
from weft.onnx.errors import UnsupportedError
from weft.onnx.graph import Model, Plan, has_function, unique
from weft.onnx.operators.unsupported import reason


def plan_of(model: Model, function: Any, attributes: dict[str, Any], depth: int, label: str) -> Plan:
    """A function's nodes as a graph, its attributes filled in."""
    graph = GraphProto(name=function.name)
    for name in unique(list(function.input), f"{label}: input"):
        graph.input.add().name = name
    for name in function.output:
        graph.output.add().name = name
    defaults = {a.name: a for a in function.attribute_proto}
    allowed = {*function.attribute, *defaults}
    unknown = attributes.keys() - allowed
    if unknown:
        raise ValueError(f"{label}: expected attributes out of {sorted(allowed)}, got {sorted(unknown)}")
    fill(function.node, graph.node, {**defaults, **attributes}, depth)
    opsets = dict(model.opsets)
    for entry in function.opset_import:
        opsets["" if entry.domain == "ai.onnx" else entry.domain] = entry.version
    return Plan(model._replace(opsets=opsets), graph, lambda name: False, depth + 1, label)


def fill(nodes: Any, into: Any, attributes: dict[str, Any], depth: int) -> None:
    """Copy nodes; an attribute that refers to the function's takes its value, or is left out where there is none."""
    for node in nodes:
        new = into.add()
        new.CopyFrom(node)
        del new.attribute[:]
        for attribute in node.attribute:
            if attribute.ref_attr_name:
                given = attributes.get(attribute.ref_attr_name)
                if given is None:
                    continue
                copied = new.attribute.add()
                copied.CopyFrom(given)
                copied.name = attribute.name
                continue
            copied = new.attribute.add()
            copied.CopyFrom(attribute)
            if attribute.type == AttributeProto.GRAPH:
                del copied.g.node[:]
                fill(attribute.g.node, copied.g.node, attributes, depth)


def run_plan(plan: Plan, context: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(inputs) > len(plan.inputs):
        raise ValueError(f"expected at most {len(plan.inputs)} inputs, got {len(inputs)}")
    given: list[Any] = [*inputs, *[None] * (len(plan.inputs) - len(inputs))]
    return tuple(context.run(plan, given, outer=False))


def of_file(model: Model, key: tuple[str, str, str], node: Any, depth: int, label: str) -> Callable[..., Any]:
    """A call of a function that the file defines. What calls itself is nested without end, which Plan refuses."""
    plan = plan_of(model, model.functions[key], {a.name: a for a in node.attribute}, depth, label)
    return lambda context, *inputs: run_plan(plan, context, inputs)


def of_standard(model: Model, node: Any, domain: str, version: int, depth: int, label: str) -> Callable[..., Any]:
    """An operator by the standard's own definition out of others; UnsupportedError if it has none."""
    schema = has_function(domain, node.op_type, version)
    if schema is None:
        raise UnsupportedError(f"{label}: {reason(f'{domain}.{node.op_type}' if domain else node.op_type)}")
    known = set(schema.attributes)
    unknown = [a.name for a in node.attribute if a.name not in known]
    if unknown:
        raise ValueError(f"{label}: expected attributes out of {sorted(known)}, got {unknown}")
    plans: dict[Any, Plan] = {}

    def run(context: Any, *inputs: Any) -> tuple[Any, ...]:
        types = tuple(None if x is None else code_of(x.dtype) if isinstance(x, Tensor) else "sequence" for x in inputs)
        if types not in plans:
            body = body_of(schema, node, inputs, version)
            attributes = {a.name: a for a in node.attribute}
            for name, attribute in schema.attributes.items():
                if name not in attributes and attribute.default_value.type:
                    attributes[name] = attribute.default_value
            body.attribute[:] = sorted({*body.attribute, *attributes})
            body.output[:] = [name for name, given in zip(body.output, node.output) if given]  # it makes no others
            plans[types] = plan_of(model, body, attributes, depth, label)
        made = iter(run_plan(plans[types], context, inputs))
        return tuple(next(made) if given else None for given in node.output)

    return run


def body_of(schema: Any, node: Any, inputs: tuple[Any, ...], version: int) -> Any:
    """The FunctionProto of an operator, for the types of these inputs where it depends on them."""
    if schema.has_function:
        versions = [v for v in schema.function_opset_versions if v <= version]
        found = schema.get_function_with_opset_version(max(versions)) if versions else None
        if found:
            return FunctionProto.FromString(found) if isinstance(found, bytes) else found
    versions = [v for v in schema.context_dependent_function_opset_versions if v <= version]
    types = [TypeProto() if x is None else type_of(x) for x in inputs]
    text = schema.get_context_dependent_function_with_opset_version(
        max(versions), node.SerializeToString(), [t.SerializeToString() for t in types]
    )
    return FunctionProto.FromString(text)


def type_of(value: Any) -> Any:
    """The TypeProto of a value."""
    if isinstance(value, list):
        inner = type_of(value[0]) if value else helper.make_tensor_type_proto(code_of(np.float32), None)
        return helper.make_sequence_type_proto(inner)
    return helper.make_tensor_type_proto(code_of(value.dtype), value.shape)
