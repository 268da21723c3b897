"""Copies of Tensors: copy.copy shares the memory, copy.deepcopy and what pickles a Tensor copy the values.

Weft itself writes and reads no pickle. Others do, to send a Module to another process: a Tensor then goes as its values
in a NumPy array, the name of its device and whether it requires a gradient, and never as a handle to shared memory.
"""

from __future__ import annotations

import copy
from typing import Any

from weft.autograd import Tensor
from weft.backends.device import on_host, place

TAPE = frozenset({"__weakref__", "__dict__", "_hooks", "data", "grad", "index", "node", "requires_grad"})


def extras(x: Tensor) -> dict[str, Any]:
    """The attributes that subclasses add, in slots or otherwise."""
    found: dict[str, Any] = dict(getattr(x, "__dict__", {}))
    for kind in type(x).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in TAPE and hasattr(x, name):
                found[name] = getattr(x, name)
    return found


def made(kind: type[Tensor], data: Any, requires_grad: bool, grad: Any, more: dict[str, Any]) -> Tensor:
    """A leaf of class `kind`, made without its `__init__`, which may want other arguments."""
    new = kind.__new__(kind)
    Tensor.__init__(new, data, requires_grad)
    new.grad = grad
    for name, value in more.items():
        setattr(new, name, value)
    return new


def restore(kind: type[Tensor], values: Any, device: str, requires_grad: bool, grad: Any, more: Any) -> Tensor:
    """What an unpickled Tensor is. ValueError where this machine lacks its device."""
    return made(kind, place(values, checked(device)), requires_grad, grad, more)


def checked(device: str) -> str:
    from weft.backends.device import check_device

    return check_device(device)


def expect_leaf(x: Tensor, what: str) -> None:
    if x.node is not None:
        raise RuntimeError(
            f"{what}: expected a leaf, got the result of {x.node.name}, whose graph would be copied with it; "
            "detach() it first"
        )


def shallow(x: Tensor) -> Tensor:
    """The same memory and the same place on the tape in a new Tensor."""
    new = made(type(x), x.data, x.requires_grad, x.grad, extras(x))
    new.node, new.index = x.node, x.index
    return new


def deep(x: Tensor, memo: dict[int, Any]) -> Tensor:
    """The values in memory of their own. Hooks stay behind. RuntimeError for what is not a leaf."""
    expect_leaf(x, "deepcopy")
    new = memo[id(x)] = shallow(x)
    new.data = x.data.copy()
    new.grad = copy.deepcopy(x.grad, memo)
    for name, value in extras(x).items():
        setattr(new, name, copy.deepcopy(value, memo))
    return new


def reduce(x: Tensor, protocol: Any, /) -> Any:
    """What pickles a Tensor: how to make it again out of a NumPy array. Hooks stay behind. RuntimeError for no leaf."""
    expect_leaf(x, "pickling")
    return restore, (type(x), on_host(x.data), x.device, x.requires_grad, x.grad, extras(x))
