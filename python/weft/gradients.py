"""Functions that make functions of gradients, and recomputation instead of memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from weft import autograd
from weft.autograd import CastingAs, Edge, Tensor, enable_grad, forward_order, no_grad, op
from weft.backends.device import beside
from weft.ops.creation import zeros_like


def value_and_grad(f: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """A function that returns `f(*args)` (a Tensor of one value) and its gradient with respect to `args[argnums]`.

    Differentiable itself, so it nests to any order.

    >>> import weft
    >>> weft.value_and_grad(lambda x: (x * x).sum())(weft.asarray([1.0, 3.0]))[1].numpy()
    array([2., 6.], dtype=float32)
    """
    from weft.ops.elementwise import identity

    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    def function(*args: Any, **kwargs: Any) -> Any:
        inputs: list[Any] = list(args)
        outer = autograd.state.recording and any(isinstance(a, Tensor) and a.requires_grad for a in args)
        with enable_grad():
            for i in numbers:
                x = inputs[i] if isinstance(inputs[i], Tensor) else Tensor(inputs[i])
                if x.requires_grad:
                    inputs[i] = identity(x)
                else:
                    inputs[i] = Tensor(x.data, requires_grad=True)
            value = f(*inputs, **kwargs)
            if not isinstance(value, Tensor) or value.size != 1:
                got = f"shape {value.shape}" if isinstance(value, Tensor) else type(value).__name__
                raise ValueError(f"grad: expected f to return a Tensor of one value, got {got}")
            grads = autograd.grad(value, [inputs[i] for i in numbers], create_graph=True, allow_unused=True)
        grads = [zeros_like(inputs[i]) if g is None else g for i, g in zip(numbers, grads, strict=True)]
        if not outer:
            value, grads = value.detach(), [g.detach() for g in grads]
        return value, grads[0] if isinstance(argnums, int) else tuple(grads)

    return function


def grad(f: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """A function that returns the gradient of `f` (one value) with respect to `args[argnums]`; it nests to any order.

    >>> import weft
    >>> cube = lambda x: x**3
    >>> weft.grad(weft.grad(cube))(weft.asarray(2.0)).item()
    12.0
    """
    both = value_and_grad(f, argnums)
    return lambda *args, **kwargs: both(*args, **kwargs)[1]


def hessian_vector_product(f: Callable[[Tensor], Tensor], x: Any, v: Any) -> Tensor:
    """The Hessian of `f` (one value) at x times v, both of x's shape, at the cost of two backward passes.

    >>> import weft
    >>> weft.hessian_vector_product(lambda x: (x**3).sum(), weft.asarray([1.0, 2.0]), weft.asarray([1.0, 1.0])).numpy()
    array([ 6., 12.], dtype=float32)
    """
    leaf = Tensor(x.data if isinstance(x, Tensor) else x, requires_grad=True)
    v = v.detach() if isinstance(v, Tensor) else Tensor(beside(np.asarray(v, leaf.dtype), leaf))
    if v.shape != leaf.shape:
        raise ValueError(f"hessian_vector_product: expected v of shape {leaf.shape}, got {v.shape}")
    with enable_grad():
        first = autograd.grad(f(leaf), leaf, create_graph=True)
        if not first.requires_grad:
            return zeros_like(leaf)
        second = autograd.grad(first, leaf, v, allow_unused=True)
    return zeros_like(leaf) if second is None else second


def checkpoint(f: Callable[..., Tensor], *args: Any) -> Tensor:
    """`f(*args)` without keeping what its ops would save: backward runs f again.

    args: Tensors or anything else; f returns one Tensor. Parameters that f reaches by itself get their gradients too,
    and random draws repeat; f runs twice, so what it updates besides (batch norm's running statistics) is updated
    twice. Memory: the inputs, plus one segment while it is recomputed.

    >>> x = weft.Tensor([2.0], requires_grad=True)
    >>> weft.checkpoint(lambda x: weft.exp(x) * x, x).sum().backward()
    >>> x.grad.numpy()
    array([22.167168], dtype=float32)
    """
    from weft import random

    tensors = [a for a in args if isinstance(a, Tensor)]
    before, casting = random.get_state(), autograd.state.casting

    def call(inputs: Any) -> Tensor:
        given = iter(inputs)
        return f(*[next(given) if isinstance(a, Tensor) else a for a in args])

    if not autograd.state.recording:
        return call(tensors)
    stand_ins = [Tensor(t.data, t.requires_grad) for t in tensors]
    out = call(stand_ins)
    if out.node is None:
        return out
    own = {id(t) for t in stand_ins}
    leaves = {
        id(p): p
        for n in forward_order([out.node])
        for p in n.parents
        if type(p) is not Edge and isinstance(p, Tensor) and p.requires_grad and id(p) not in own
    }
    parameters = list(leaves.values())
    result = out.data
    del out, stand_ins

    def again(inputs: Any) -> Tensor:
        after = random.get_state()
        random.set_state(before)
        try:
            with enable_grad(), CastingAs(casting):
                return call(inputs)
        finally:
            random.set_state(after)

    first = [result]

    def checkpointed(*inputs):
        n = len(tensors)
        if any(isinstance(x, Tensor) for x in inputs):  # a replay: record for real, on the very parameters
            out = again(inputs[:n])
            targets = [x for x in (*inputs[:n], *parameters) if x.requires_grad]

            def vjp(g):
                found = iter(autograd.grad(out, targets, g, create_graph=True, allow_unused=True))
                return tuple([next(found) if x.requires_grad else None for x in (*inputs[:n], *parameters)])

            return out, vjp
        if first:
            value = first.pop()
        else:
            with no_grad():
                value = again([Tensor(x) for x in inputs[:n]]).data
        needs = [t.requires_grad for t in tensors]

        def raw_vjp(g):
            local = [Tensor(x, need) for x, need in zip(inputs[:n], needs, strict=True)]
            out = again(local)
            targets = [x for x in (*local, *parameters) if x.requires_grad]
            with enable_grad():
                found = iter(autograd.grad(out, targets, g, allow_unused=True))
            grads = [next(found) if x.requires_grad else None for x in (*local, *parameters)]
            return tuple([None if x is None else x.data for x in grads])

        return value, raw_vjp

    checkpointed.__name__ = f"checkpoint({getattr(f, '__name__', type(f).__name__)})"
    return op(checkpointed)(*tensors, *parameters)
