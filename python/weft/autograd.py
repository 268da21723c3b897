"""The tape: Tensors, recorded ops, and gradients of any order.

An op is one pure function over arrays that returns its result and its vjp. In the forward pass it gets raw arrays; what
its vjp captures is all that a recorded call keeps. When a gradient is itself to be differentiated, the same body runs
again on Tensors, where `namespace` is `weft` itself, so the vjp it returns is made of recorded ops: fast first-order
rules need no second-order twin.

A Node holds its parents (Nodes, leaves, constants) but never the data of a recorded value. Replay recomputes what the
forward pass let go, once, from the leaves.
"""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from weft.backends import writes
from weft.backends.array import ndarray


class State(threading.local):
    """Whether ops record, per thread."""

    recording = True


state = State()
observers: list[Callable[[Callable[..., Any], tuple[Any, ...], Any], None]] = []  # called with (body, arrays, out) after each op
bodies: list[Callable[..., Any]] = []  # of every op, so that tests can demand a case for each
accumulating = threading.Lock()  # two threads may run backward into the same parameters


class Edge(tuple[Any, int]):
    """(Node, output index) of a recorded value."""

    __slots__ = ()


class Node:
    """One recorded call; `parents[i]` is an Edge, a leaf Tensor, or a constant.

    `specs[i]` is (shape, dtype) of input i, which its gradient must take. `born` is the write clock at the call.
    """

    __slots__ = ("body", "born", "hooks", "outs", "params", "parents", "specs", "vjp")

    def __init__(self, body: Any, inputs: Any, arrays: Any, params: Any, vjp: Any):
        self.body = body
        self.params = params
        self.vjp = vjp
        self.born = writes.clock.now
        self.hooks: dict[int, list[Any]] | None = None
        self.outs: list[Any] = []
        parents: list[Any] = []
        specs: list[Any] = []
        for x, a in zip(inputs, arrays):
            if isinstance(x, Tensor) and x.requires_grad:
                specs.append((a.shape, a.dtype))
                parents.append(x if x.node is None else Edge((x.node, x.index)))
            else:
                specs.append(None)
                parents.append(x)
        self.parents = parents
        self.specs = specs

    @property
    def name(self) -> str:
        return str(self.body.__name__)


class Tensor:
    """An array that records what is done to it while `requires_grad` is true for it or for what it came from.

    data: a raw array (or what `numpy.asarray` takes, Python floats becoming float32).

    >>> import weft
    >>> x = weft.Tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad.numpy()
    array([2., 4.], dtype=float32)
    """

    __slots__ = ("__weakref__", "_hooks", "data", "grad", "index", "node", "requires_grad")
    __array_priority__ = 1000
    __hash__ = object.__hash__

    def __init__(self, data: Any, requires_grad: bool = False, node: Node | None = None, index: int = 0):
        if type(data) is not ndarray:
            data = to_array(data)
        self.data = data
        self.requires_grad = requires_grad
        self.node = node
        self.index = index
        self.grad: Tensor | None = None

    # -- what it is ------------------------------------------------------------------------------------------------

    shape = property(lambda self: self.data.shape)
    ndim = property(lambda self: self.data.ndim)
    dtype = property(lambda self: self.data.dtype)
    size = property(lambda self: self.data.size)
    nbytes = property(lambda self: self.data.nbytes)
    is_leaf = property(lambda self: self.node is None)

    @property
    def device(self) -> str:
        return "cpu"

    def __repr__(self) -> str:
        body = np.array2string(self.data, separator=", ", prefix="Tensor(", threshold=200)
        dtype = "" if self.data.dtype == np.float32 else f", dtype={self.data.dtype}"
        grad = f", from={self.node.name}" if self.node else ", requires_grad=True" if self.requires_grad else ""
        return f"Tensor({body}{dtype}{grad})"

    def __len__(self) -> int:
        if not self.data.ndim:
            raise TypeError("len: expected at least one axis, got a 0-d Tensor")
        return int(self.data.shape[0])

    # -- leaving the tape ------------------------------------------------------------------------------------------

    def numpy(self) -> np.ndarray[Any, Any]:
        """The values as a NumPy array of the same shape, read-only because the tape may have saved them; `.copy()` to write."""
        view = self.data.view()
        view.flags.writeable = False
        return view

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        out = self.data if dtype is None else self.data.astype(dtype, copy=False)
        if out is self.data:
            return out.copy() if copy else self.numpy()
        if copy is False:
            raise ValueError(f"__array__: expected copy allowed to change {self.dtype} into {dtype}, got copy=False")
        return out

    def item(self) -> Any:
        """The one value as a Python number; ValueError unless the Tensor has exactly one."""
        if self.data.size != 1:
            raise ValueError(f"item: expected a Tensor of one value, got shape {self.shape}")
        return self.data.item()

    def tolist(self) -> Any:
        """The values as nested Python lists."""
        return self.data.tolist()

    def detach(self) -> Tensor:
        """The same memory, off the tape."""
        return Tensor(self.data)

    def to_device(self, device: str, /, *, stream: Any = None) -> Tensor:
        """This Tensor on `device`; itself if it is there already."""
        from weft.backends.device import check_device

        check_device(device)
        return self

    # -- going backward --------------------------------------------------------------------------------------------

    def backward(self, gradient: Any = None, *, retain_graph: bool = False, create_graph: bool = False) -> None:
        """Add the gradient of this Tensor to `.grad` of every leaf that requires one.

        gradient: same shape as this; may be left out for a Tensor of one value.  RuntimeError if nothing was recorded,
        or the graph was freed by an earlier backward (keep it with `retain_graph=True`).
        """
        if self.node is None:
            if not self.requires_grad:
                raise RuntimeError("backward: expected a recorded Tensor, got one that no op with requires_grad made")
            leaves = {id(self): (self, seed_gradient(self, gradient, create_graph))}
        else:
            leaves, _ = propagate([self], [gradient], create_graph, retain_graph or create_graph, ())
        with accumulating:
            for leaf, g in leaves.values():
                for hook in getattr(leaf, "_hooks", ()):
                    g = raw_or_tensor(hook(Tensor(g) if type(g) is not Tensor else g), g)
                g = g if type(g) is Tensor else Tensor(np.ascontiguousarray(g) if g.ndim else g)
                if leaf.grad is not None:
                    g = add(leaf.grad, g) if create_graph else Tensor(leaf.grad.data + g.data)
                leaf.grad = g

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Callable[[], None]:
        """Call `hook(gradient)` when this Tensor's gradient is known; what it returns replaces it. Returns a remover."""
        if self.node is not None:
            if self.node.hooks is None:
                self.node.hooks = {}
            hooks = self.node.hooks.setdefault(self.index, [])
        else:
            hooks = self._hooks = getattr(self, "_hooks", [])
        hooks.append(hook)
        return lambda: hooks.remove(hook)

    # -- writing in place ------------------------------------------------------------------------------------------

    def assign(self, value: Any, by: str = "assign") -> None:
        """Write `value` (same shape) into this Tensor's memory; backward then refuses to use what an op saved of it."""
        value = value.data if type(value) is Tensor else np.asarray(value)
        if value.shape != self.shape:
            raise ValueError(f"{by}: expected a value of shape {self.shape}, got {value.shape}")
        self.check_writable(by)
        self.data[...] = value
        self.touch(by)

    def touch(self, by: str) -> None:
        """Say that this Tensor's memory has been written by `by`."""
        writes.record(self.data, by)

    def check_writable(self, by: str) -> None:
        if self.node is not None and state.recording:
            raise RuntimeError(f"{by}: expected a leaf, got the result of {self.node.name}; detach() it or write under no_grad()")
        if not self.data.flags.writeable:
            raise RuntimeError(f"{by}: expected memory that may be written, got a read-only array of shape {self.shape}")


add: Callable[[Any, Any], Any]  # ops.elementwise.add; set by methods.py, which knows both sides


def to_array(data: Any) -> np.ndarray[Any, Any]:
    """What a Tensor holds: arrays as they are, Python and NumPy scalars and lists with floats as float32."""
    if type(data) is Tensor:
        return data.data
    if isinstance(data, np.ndarray):
        return np.asarray(data)
    out = np.asarray(data)
    if out.dtype.kind in "OUSMm":
        raise TypeError(f"Tensor: expected numbers, got {type(data).__name__}")
    return out.astype(np.float32) if out.dtype == np.float64 and not isinstance(data, np.generic) else out


def raw_or_tensor(new: Any, old: Any) -> Any:
    """A hook's answer in the form the engine works with; None keeps the gradient."""
    if new is None:
        return old
    if new.shape != old.shape:
        raise ValueError(f"hook: expected a gradient of shape {old.shape}, got {new.shape}")
    return new if type(old) is Tensor or type(new) is not Tensor else new.data


# -- recording ---------------------------------------------------------------------------------------------------------


def op(body: Callable[..., Any]) -> Callable[..., Any]:
    """Make a pure `body(*arrays, **params) -> (out, vjp)` a recorded function of Tensors.

    Arrays are positional (None and Python scalars too), parameters keywords. vjp: a tuple with one callable per input,
    one callable that returns all gradients, or None where nothing is differentiable. A tuple `out` has several arrays;
    its vjp takes a tuple with None for those that nobody used.

    >>> import weft
    >>> @weft.op
    ... def cube(x):
    ...     return x * x * x, (lambda g: 3 * g * x * x,)
    >>> weft.grad(lambda x: cube(x).sum())(weft.asarray([2.0])).numpy()
    array([12.], dtype=float32)
    """

    @functools.wraps(body)
    def function(*inputs: Any, **params: Any) -> Any:
        needs, whole = False, True  # one input, every input requires a gradient
        arrays = []
        for x in inputs:
            if type(x) is Tensor or isinstance(x, Tensor):  # the second for subclasses, such as nn.Parameter
                arrays.append(x.data)
                if x.requires_grad:
                    needs = True
                else:
                    whole = False
            else:  # a NumPy scalar is as weak as Python's, or float64 would creep in
                arrays.append(x.item() if isinstance(x, np.generic) else x)
                whole = False
        out, vjp = body(*arrays, **params)
        if observers:
            for observer in observers:
                observer(body, tuple(arrays), out)
        if not needs or vjp is None or not state.recording:
            return tuple([Tensor(o) for o in out]) if type(out) is tuple else Tensor(out)
        if not whole and type(vjp) is tuple:  # drop what only unneeded inputs would capture
            vjp = [v if isinstance(x, Tensor) and x.requires_grad else None for v, x in zip(vjp, inputs)]
        node = Node(body, inputs, arrays, params, vjp)
        if type(out) is tuple:
            results = tuple([Tensor(o, o.dtype.kind not in "biu", node, i) for i, o in enumerate(out)])
            node.outs = [weakref.ref(t) for t in results]
            return results
        result = Tensor(out, True, node)
        node.outs = [weakref.ref(result)]
        return result

    function.body = body  # type: ignore[attr-defined]
    bodies.append(body)
    return function


class recording_as:
    """Set recording for a block or a function, in this thread."""

    def __init__(self, value: bool):
        self.value = value
        self.before: list[bool] = []

    def __enter__(self) -> None:
        self.before.append(state.recording)
        state.recording = self.value

    def __exit__(self, *_: object) -> None:
        state.recording = self.before.pop()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with recording_as(self.value):
                return function(*args, **kwargs)

        return wrapped


def no_grad() -> recording_as:
    """Record nothing in this block (or decorated function), in this thread."""
    return recording_as(False)


def enable_grad() -> recording_as:
    """Record again inside a `no_grad` block."""
    return recording_as(True)


def is_recording() -> bool:
    """Whether ops in this thread record."""
    return state.recording


# -- going backward ----------------------------------------------------------------------------------------------------


def forward_order(roots: Iterable[Node]) -> list[Node]:
    """Nodes below `roots`, parents first; a loop, so depth is unlimited."""
    seen: set[int] = set()
    order: list[Node] = []
    stack: list[tuple[Node, bool]] = [(n, False) for n in roots]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack += [(p[0], False) for p in node.parents if type(p) is Edge and id(p[0]) not in seen]
    return order


def values(nodes: list[Node]) -> dict[int, list[Any]]:
    """Every node's outputs as Tensors: those still alive, the rest recomputed from the leaves."""
    known: dict[int, list[Any]] = {}
    for node in nodes:
        alive = [ref() for ref in node.outs]
        if any(t is None for t in alive):
            arrays = [
                known[id(p[0])][p[1]].data if type(p) is Edge else p.data if isinstance(p, Tensor) else p
                for p in node.parents
            ]
            writes.check_parents(node, arrays)
            out, _ = node.body(*arrays, **node.params)
            outs = out if type(out) is tuple else (out,)
            alive = [
                t if t is not None else Tensor(o, np.asarray(o).dtype.kind not in "biu", node, i)
                for i, (t, o) in enumerate(zip(alive, outs, strict=True))
            ]
            node.outs = [weakref.ref(t) for t in alive]
        known[id(node)] = alive
    return known


def seed_gradient(output: Tensor, gradient: Any, create_graph: bool) -> Any:
    """The gradient a backward pass starts from, checked: an array, or a Tensor when it is to be differentiated."""
    if gradient is None:
        if output.data.size != 1:
            raise ValueError(f"backward: expected a gradient of shape {output.shape}, got none for a Tensor of many values")
        gradient = np.ones_like(output.data)
    if not isinstance(gradient, Tensor):
        gradient = Tensor(np.asarray(gradient, output.dtype))
    if gradient.shape != output.shape:
        raise ValueError(f"backward: expected a gradient of shape {output.shape}, got {gradient.shape}")
    return gradient if create_graph else gradient.data.astype(output.dtype, copy=False)


def unbroadcast(g: Any, shape: tuple[int, ...]) -> Any:
    """Sum `g` down to `shape`, from which it was broadcast; works on arrays and on Tensors."""
    from weft.backends.array import namespace

    xp = namespace(g)
    lead = g.ndim - len(shape)
    if lead < 0 or any(n not in (1, m) for n, m in zip(shape, g.shape[lead:], strict=True)):
        raise RuntimeError(f"backward: expected a gradient of shape {shape} or broadcast from it, got {g.shape}")
    axes = tuple(range(lead)) + tuple(i + lead for i, n in enumerate(shape) if n == 1 and g.shape[i + lead] != 1)
    return xp.reshape(xp.sum(g, axis=axes), shape)


def fit(g: Any, spec: tuple[tuple[int, ...], Any]) -> Any:
    """A gradient in the shape and dtype of the input it belongs to."""
    shape, dtype = spec
    if g.shape != shape:
        g = unbroadcast(g, shape)
    if g.dtype != dtype:
        from weft.backends.array import namespace

        g = namespace(g).astype(g, dtype)
    return g


def propagate(
    outputs: Sequence[Tensor], gradients: Sequence[Any], create_graph: bool, retain: bool, wanted: Iterable[Tensor]
) -> tuple[dict[int, tuple[Tensor, Any]], dict[tuple[int, int], Any]]:
    """Run backward from `outputs`; gradients of leaves by id, and of the `wanted` recorded Tensors by (node, index)."""
    from weft.backends.array import namespace

    grads: dict[int, list[Any]] = {}
    leaves: dict[int, tuple[Tensor, Any]] = {}
    kept: dict[tuple[int, int], Any] = {}
    keep = {(id(t.node), t.index) for t in wanted if t.node is not None}

    def give(parent: Any, g: Any) -> None:
        if type(parent) is Edge:
            slot, i = grads.setdefault(id(parent[0]), [None] * len(parent[0].outs)), parent[1]
            slot[i] = g if slot[i] is None else namespace(g).add(slot[i], g)
        elif id(parent) in leaves:
            leaves[id(parent)] = (parent, namespace(g).add(leaves[id(parent)][1], g))
        else:
            leaves[id(parent)] = (parent, g)

    for output, gradient in zip(outputs, gradients, strict=True):
        g = seed_gradient(output, gradient, create_graph)
        if output.node is not None:
            give(Edge((output.node, output.index)), g)
        elif output.requires_grad:
            give(output, g)
    nodes = forward_order(t.node for t in outputs if t.node is not None)
    for node in nodes:
        if node.vjp is None:
            raise RuntimeError(
                f"backward: the graph through {node.name} was freed by an earlier backward; pass retain_graph=True there"
            )
    known = values(nodes) if create_graph else {}
    with recording_as(create_graph):
        while nodes:
            node = nodes.pop()
            gs = grads.pop(id(node), None)
            if gs is None:
                if not retain:
                    node.vjp = None
                continue
            if node.hooks:
                for i, hooks in node.hooks.items():
                    for hook in hooks:
                        if gs[i] is not None:
                            gs[i] = raw_or_tensor(hook(gs[i] if create_graph else Tensor(gs[i])), gs[i])
            for i, g in enumerate(gs):
                if (id(node), i) in keep:
                    kept[id(node), i] = g
            if create_graph:
                inputs = [
                    known[id(p[0])][p[1]] if type(p) is Edge else Tensor(p) if isinstance(p, np.ndarray) else p
                    for p in node.parents
                ]
                writes.check_parents(node, [x.data if isinstance(x, Tensor) else x for x in inputs])
                vjp = node.body(*map(plain, inputs), **node.params)[1]
            else:
                writes.check_saved(node)
                vjp = node.vjp
            g = gs[0] if len(gs) == 1 else tuple(gs)
            parts = vjp(g) if callable(vjp) else None
            for i, parent in enumerate(node.parents):
                if type(parent) is not Edge and not (isinstance(parent, Tensor) and parent.requires_grad):
                    continue
                part = parts[i] if parts is not None else vjp[i](g) if vjp[i] is not None else None
                if part is not None:
                    give(parent, fit(part, node.specs[i]))
            if not retain:  # free as we go: what this node saved is of no use any more
                node.vjp = None
                node.parents = []
            del g, gs, parts, vjp
    return leaves, kept


def plain(x: Any) -> Any:
    """A leaf of a subclass (nn.Parameter) as a Tensor on the same tape position, so that bodies see one type."""
    if isinstance(x, Tensor) and type(x) is not Tensor:
        return identity(x)
    return x


identity: Callable[[Any], Any]  # ops.elementwise.identity; set by methods.py


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    create_graph: bool = False,
    retain_graph: bool | None = None,
    allow_unused: bool = False,
) -> Any:
    """Gradients of `outputs`, weighted by `grad_outputs`, with respect to `inputs`; `.grad` of nothing is touched.

    One Tensor for one input, a tuple for a sequence, each of its input's shape. create_graph: make them differentiable,
    to any order. An input that no output depends on raises unless `allow_unused` (then None).

    >>> import weft
    >>> x = weft.Tensor([3.0], requires_grad=True)
    >>> (g,) = weft.autograd.grad((x * x * x).sum(), [x], create_graph=True)
    >>> weft.autograd.grad(g.sum(), x).numpy()
    array([18.], dtype=float32)
    """
    many_outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    many_inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    seeds = [grad_outputs] * len(many_outputs) if grad_outputs is None or isinstance(outputs, Tensor) else list(grad_outputs)
    for i, t in enumerate(many_inputs):
        if not t.requires_grad:
            raise ValueError(f"grad: expected inputs that require gradients, got input {i} of shape {t.shape} that does not")
    retain = create_graph if retain_graph is None else retain_graph
    leaves, kept = propagate(many_outputs, seeds, create_graph, retain, many_inputs)
    found: list[Tensor | None] = []
    for i, t in enumerate(many_inputs):
        g = leaves.get(id(t), (t, None))[1] if t.node is None else kept.get((id(t.node), t.index))
        if g is None and not allow_unused:
            raise RuntimeError(f"grad: no output depends on input {i} of shape {t.shape}; pass allow_unused=True to get None")
        found.append(g if g is None or isinstance(g, Tensor) else Tensor(g))
    return found[0] if isinstance(inputs, Tensor) else tuple(found)
