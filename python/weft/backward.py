"""Going backward: the order of nodes, the flow of gradients, and replay for gradients that are differentiated again."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from weft.autograd import CastingAs, Edge, Node, RecordingAs, Tensor, gradient_observers, state
from weft.backends import writes
from weft.backends.array import ARRAYS, namespace
from weft.backends.capturing import state as capturing
from weft.backends.device import beside, check_together
from weft.backends.piece import Pieces

WORTH_REUSING = 1 << 14  # elements of a gradient from which its memory saves more time than looking after it takes
accumulating = threading.Lock()  # two threads may run backward into the same parameters


def raw_or_tensor(new: Any, old: Any) -> Any:
    """A hook's answer in the form the engine works with; None keeps the gradient."""
    if new is None:
        return old
    if new.shape != old.shape:
        raise ValueError(f"hook: expected a gradient of shape {old.shape}, got {new.shape}")
    return new if type(old) is Tensor or type(new) is not Tensor else new.data


def accumulate(leaves: dict[int, list[Any]], _: Any) -> None:
    """Add the gradients that arrived at leaves to their `.grad`, after their hooks; each gets memory of its own."""
    taken: set[int] = set()  # ids of the memory given out: `a + b` sends one array to both, and clipping writes into it
    with accumulating:
        for leaf, g in leaves.values():
            for hook in getattr(leaf, "_hooks", ()):
                g = raw_or_tensor(hook(g if isinstance(g, Tensor) else Tensor(g)), g)
            if not isinstance(g, Tensor):
                g = namespace(g).contiguous(g)
                memory = id(writes.owner(g))
                g = Tensor(g.copy() if memory in taken or not writes.writable(g) else g)
                taken.add(memory)
            if capturing.received is not None and received(leaf, g):
                continue
            if leaf.grad is not None:
                both = g.requires_grad or leaf.grad.requires_grad  # only create_graph records gradients
                g = namespace(g).add(leaf.grad, g) if both else Tensor(namespace(g.data).add(leaf.grad.data, g.data))
            leaf.grad = g


def received(leaf: Tensor, g: Tensor) -> bool:
    """Tell a step that is warming up or being recorded of a gradient; whether that took it.

    What a leaf has from before the step stays in its memory, which every replay adds to.
    """
    recorder = capturing.recorder
    if capturing.received is not None:
        capturing.received[id(leaf)] = leaf
    if recorder is None:
        return False
    if id(leaf) not in recorder.gradients:
        recorder.late.setdefault(id(leaf), (leaf, leaf.grad))
        return False
    _, before = recorder.gradients[id(leaf)]
    if leaf.grad is not before:
        return False
    recorder.assume(f"the gradient of a Tensor {leaf.shape}", lambda: leaf.grad is before)
    if before is None or g.requires_grad:
        return False
    namespace(g.data).accumulate(before.data, g.data)
    return True


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
                t if t is not None else Tensor(o, o.dtype.kind not in "biu", node, i)
                for i, (t, o) in enumerate(zip(alive, outs, strict=True))
            ]
            node.outs = [weakref.ref(t) for t in alive]
        known[id(node)] = alive
    return known


def seed_gradient(output: Tensor, gradient: Any, create_graph: bool) -> Any:
    """The gradient a backward pass starts from, checked: an array, or a Tensor when it is to be differentiated."""
    if gradient is None:
        if output.data.size != 1:
            raise ValueError(
                f"backward: expected a gradient of shape {output.shape}, got none for a Tensor of many values"
            )
        if output.dtype.kind == "c":
            raise TypeError("backward: expected a gradient of a complex Tensor, got none: only real losses have one")
        gradient = namespace(output.data).ones_like(output.data)
    if not isinstance(gradient, (Tensor, *ARRAYS)):
        gradient = beside(gradient, output)
    if not isinstance(gradient, Tensor):
        gradient = Tensor(gradient.astype(output.dtype, copy=False))
    if gradient.shape != output.shape:
        raise ValueError(f"backward: expected a gradient of shape {output.shape}, got {gradient.shape}")
    check_together("backward", (output.data, gradient.data))
    return gradient if create_graph else gradient.data.astype(output.dtype)  # a copy: it may become a leaf's gradient


def unbroadcast(g: Any, shape: tuple[int, ...]) -> Any:
    """Sum `g` down to `shape`, from which it was broadcast; works on arrays and on Tensors."""
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
        if g.dtype.kind == "c" and dtype.kind != "c":  # a real input of a complex op moves along the real axis alone
            g = namespace(g).real(g)
        if dtype.kind in "biu":
            raise TypeError(f"backward: expected a floating input where requires_grad is true, got {dtype} {shape}")
        g = namespace(g).astype(g, dtype)
    return g


def may_write(held: list[Any]) -> bool:
    """Whether the list `held` is all that holds its one array, and its values may be written over."""
    return isinstance(held[0], ARRAYS) and writes.alone(held) and writes.writable(held[0])


def add_gradient(slot: list[Any], i: int, g: Any) -> None:
    """Add one more gradient to those in slot[i] (None at first): in place where nothing else holds their sum.

    Pieces are only collected as long as nothing else comes.
    """
    if slot[i] is None:
        slot[i] = g
        return
    held, slot[i] = [slot[i]], None
    if type(g) is Pieces:
        if type(held[0]) is Pieces:
            held[0].parts += g.parts
        else:
            held = held if may_write(held) else [held[0].copy()]
            g.add_to(held[0])
    elif type(held[0]) is Pieces:
        held = [namespace(g).add(held[0].whole(), g)]
    elif may_write(held):
        namespace(g).accumulate(held[0], g)
    else:
        held = [namespace(g).add(held[0], g)]
    slot[i] = held[0]


@contextlib.contextmanager
def freeing(value: bool) -> Iterator[None]:
    """Say to vjps whether they run for the last time."""
    before, state.freeing = state.freeing, value
    try:
        yield
    finally:
        state.freeing, state.spare = before, None


def propagate(
    outputs: Sequence[Tensor], gradients: Sequence[Any], create_graph: bool, retain: bool, wanted: Iterable[Tensor]
) -> tuple[dict[int, list[Any]], dict[tuple[int, int], Any]]:
    """Run backward from `outputs`; gradients of leaves by id, and of the `wanted` recorded Tensors by (node, index)."""
    grads: dict[int, list[Any]] = {}
    leaves: dict[int, list[Any]] = {}  # by id: [leaf, gradient]
    kept: dict[tuple[int, int], Any] = {}
    keep = {(id(t.node), t.index) for t in wanted if t.node is not None}

    def give(parent: Any, g: Any) -> None:
        if type(parent) is Edge:
            add_gradient(grads.setdefault(id(parent[0]), [None] * len(parent[0].outs)), parent[1], g)
        else:
            add_gradient(leaves.setdefault(id(parent), [parent, None]), 1, g)

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
                f"backward: the graph through {node.name} was freed by an earlier backward; "
                "pass retain_graph=True there"
            )
    known = values(nodes) if create_graph else {}
    # what was cast in the forward pass is recorded as such
    with RecordingAs(create_graph), CastingAs(None), freeing(not retain):
        while nodes:
            node = nodes.pop()
            gs = grads.pop(id(node), None)
            if gs is None:
                if not retain:
                    node.vjp = None
                continue
            gs = [g.whole() if type(g) is Pieces else g for g in gs]
            if node.hooks:
                for i, hooks in node.hooks.items():
                    for hook in hooks:
                        if gs[i] is not None:
                            gs[i] = raw_or_tensor(hook(gs[i] if create_graph else Tensor(gs[i])), gs[i])
            for i in range(len(gs)):
                if (id(node), i) in keep:
                    kept[id(node), i] = gs[i]
            if create_graph:
                inputs = [
                    known[id(p[0])][p[1]] if type(p) is Edge else Tensor(p) if isinstance(p, ARRAYS) else p
                    for p in node.parents
                ]
                writes.check_parents(node, [x.data if isinstance(x, Tensor) else x for x in inputs])
                vjp = node.body(*map(plain, inputs), **node.params)[1]
            else:
                writes.check_saved(node)
                vjp = node.vjp
                state.spare = gs[0] if gs[0] is not None and gs[0].size >= WORTH_REUSING and may_write(gs) else None
            g = gs[0] if len(gs) == 1 else tuple(gs)
            parts = vjp(g) if callable(vjp) else None
            for i, parent in enumerate(node.parents):
                if type(parent) is not Edge and not (isinstance(parent, Tensor) and parent.requires_grad):
                    continue
                part = parts[i] if parts is not None else vjp[i](g) if vjp[i] is not None else None
                if part is not None:
                    for observer in gradient_observers:
                        observer(node, i, part.parts[0][0] if type(part) is Pieces else part)
                    give(parent, fit(part, node.specs[i]))
            if not retain:  # free as we go: what this node saved is of no use any more
                node.vjp = None
                node.parents = []
            state.spare = part = None  # what still named a gradient here would keep the next node from reusing it
            del g, gs, parts, vjp
    for entry in leaves.values():
        if type(entry[1]) is Pieces:
            entry[1] = entry[1].whole()
    return leaves, kept


def plain(x: Any) -> Any:
    """A leaf of a subclass (nn.Parameter) as a Tensor on the same tape position, so that bodies see one type."""
    if isinstance(x, Tensor) and type(x) is not Tensor:
        from weft.ops.elementwise import identity

        return identity(x)
    return x


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
    seeds = (
        [grad_outputs] * len(many_outputs)
        if grad_outputs is None or isinstance(outputs, Tensor)
        else list(grad_outputs)
    )
    for i, t in enumerate(many_inputs):
        if not t.requires_grad:
            raise ValueError(
                f"grad: expected inputs that require gradients, got input {i} of shape {t.shape} that does not"
            )
    retain = create_graph if retain_graph is None else retain_graph
    leaves, kept = propagate(many_outputs, seeds, create_graph, retain, many_inputs)
    found: list[Tensor | None] = []
    for i, t in enumerate(many_inputs):
        g = leaves.get(id(t), (t, None))[1] if t.node is None else kept.get((id(t.node), t.index))
        if g is None and not allow_unused:
            raise RuntimeError(
                f"grad: no output depends on input {i} of shape {t.shape}; pass allow_unused=True to get None"
            )
        found.append(g if g is None or isinstance(g, Tensor) else Tensor(g))
    return found[0] if isinstance(inputs, Tensor) else tuple(found)
