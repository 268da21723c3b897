"""The recorded ops of a model as TensorBoard's graph: a GraphDef whose names are the paths of layers.

Source: tensorflow/core/framework/graph.proto, node_def.proto, attr_value.proto.
"""

from __future__ import annotations

from collections import Counter
from typing import Any
from weakref import WeakKeyDictionary

from weft import autograd
from weft.autograd import Edge, Node, Tensor
from weft.guard import Calls, tensors
from weft.nn import module as modules
from weft.train.events import data, integer


def shape_of(shape: Any) -> bytes:
    """The attribute that TensorBoard reads an op's output shape from."""
    dims = [data(2, integer(1, n)) for n in shape]
    return data(5, data(1, "_output_shapes"), data(2, data(1, data(7, *dims))))


def node(name: str, op: str, inputs: list[str], shape: Any) -> bytes:
    return data(1, data(1, name), data(2, op), *[data(3, i) for i in inputs], shape_of(shape))


def graph_of(model: Any, *inputs: Any) -> bytes:
    """A GraphDef of what `model(*inputs)` records. TypeError if its result holds no Tensor."""
    places: WeakKeyDictionary[Node, Any] = WeakKeyDictionary()
    given = [x if isinstance(x, Tensor) else Tensor(x) for x in inputs]
    given = [Tensor(x.data, x.dtype.kind not in "biu") for x in given]  # so that what has no parameters is recorded
    outer, modules.watch = modules.watch, Calls(places)
    try:
        with modules.evaluating(model), autograd.enable_grad():
            out = tensors(model(*given))
    finally:
        modules.watch = outer
    if not out:
        raise TypeError(f"add_graph: expected a model that returns Tensors, got {type(model).__name__}")
    paths = {id(layer): path for path, layer in model.named_modules()}
    names = {id(p): path.replace(".", "/") for path, p in model.named_parameters()}
    names |= {id(x): f"input_{i}" for i, x in enumerate(given)}
    used: Counter[str] = Counter()
    lines = [node(f"input_{i}", "Placeholder", [], x.shape) for i, x in enumerate(given)]
    lines += [node(names[id(p)], "Parameter", [], p.shape) for _, p in model.named_parameters()]
    order = autograd.forward_order([t.node for t in out if t.node is not None])
    shapes = {id(t.node): t.shape for t in out}
    for each in order:  # a result is gone by now, but what took it knows its shape
        shapes |= {id(p[0]): spec[0] for p, spec in zip(each.parents, each.specs, strict=True) if type(p) is Edge}
    known: dict[int, str] = {}
    for each in order:
        place = places.get(each)
        path = paths.get(id(place[1]), "") if place is not None else ""
        stem = f"{path.replace('.', '/')}/{each.name}" if path else each.name
        used[stem] += 1
        name = known[id(each)] = stem if used[stem] == 1 else f"{stem}_{used[stem] - 1}"
        above = [known[id(p[0])] if type(p) is Edge else names.get(id(p), "") for p in each.parents]
        lines.append(node(name, each.name, [i for i in above if i], shapes[id(each)]))
    for i, t in enumerate(out):
        above = [known[id(t.node)]] if t.node is not None else []
        lines.append(node(f"output_{i}", "Result", above, t.shape))
    return b"".join(lines) + data(4, integer(1, 22))
