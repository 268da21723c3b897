"""One table from ops to the operators and methods of Tensor."""

from __future__ import annotations

from typing import Any

import numpy as np

from weft import ops
from weft.autograd import Tensor, state
from weft.backends.array import OnDevice
from weft.ops import index

NUMBERS = (float, int, bool, complex, np.ndarray, np.generic, OnDevice)

BINARY = {
    "add": ops.add,
    "sub": ops.subtract,
    "mul": ops.multiply,
    "truediv": ops.divide,
    "floordiv": ops.floor_divide,
    "mod": ops.remainder,
    "pow": ops.pow,
    "matmul": ops.matmul,
    "and": ops.bitwise_and,
    "or": ops.bitwise_or,
    "xor": ops.bitwise_xor,
    "lshift": ops.bitwise_left_shift,
    "rshift": ops.bitwise_right_shift,
}
COMPARISONS = {
    "lt": ops.less,
    "le": ops.less_equal,
    "gt": ops.greater,
    "ge": ops.greater_equal,
    "eq": ops.equal,
    "ne": ops.not_equal,
}
UNARY = {"neg": ops.negative, "pos": ops.positive, "abs": ops.abs, "invert": ops.bitwise_invert}
METHODS = [
    *["sum", "mean", "prod", "max", "min", "var", "std", "argmax", "argmin", "all", "any", "cumulative_sum"],
    *["exp", "log", "sqrt", "tanh", "sigmoid", "relu", "abs", "square", "sin", "cos", "clip", "astype", "pow", "round"],
    *["swapaxes", "moveaxis", "squeeze", "expand_dims", "broadcast_to", "flip", "roll", "tile", "repeat"],
    *["take", "sort", "argsort", "permute_dims", "split"],
]


def accepts(other: Any) -> bool:
    return isinstance(other, Tensor) or isinstance(other, NUMBERS)


def fitting(a: Tensor, out: Tensor, function: Any) -> Tensor:
    """The result of an in-place operator, which may change neither the shape nor the dtype of its left operand."""
    name = f"in-place {function.__name__}"
    if out.shape != a.shape:
        raise ValueError(f"{name}: expected a result of shape {a.shape}, got {out.shape}")
    if out.dtype != a.dtype:
        raise TypeError(f"{name}: expected a result of {a.dtype}, got {out.dtype}; write x = x + y in place of x += y")
    return out


def operator(function: Any) -> tuple[Any, Any, Any]:
    """The forward, reflected and in-place forms of a binary operator."""

    def forward(a: Any, b: Any) -> Any:
        return function(a, b) if type(b) is Tensor or accepts(b) else NotImplemented

    def reflected(a: Any, b: Any) -> Any:
        return function(b, a) if accepts(b) else NotImplemented

    def in_place(a: Any, b: Any) -> Any:
        if state.recording and (a.requires_grad or (isinstance(b, Tensor) and b.requires_grad)):
            if a.node is None and a.requires_grad:
                name = function.__name__
                raise RuntimeError(
                    f"in-place {name}: expected no leaf that requires a gradient; write it under no_grad()"
                )
            return fitting(a, function(a, b), function)  # recorded: a new value, the name is bound to it
        out = fitting(a, function(a.detach(), b), function)
        a.assign(out, by=f"in-place {function.__name__}")
        return a

    return forward, reflected, in_place


for name, function in BINARY.items():
    forward, reflected, in_place = operator(function)
    setattr(Tensor, f"__{name}__", forward)
    setattr(Tensor, f"__r{name}__", reflected)
    setattr(Tensor, f"__i{name}__", in_place)
for name, function in COMPARISONS.items():
    setattr(Tensor, f"__{name}__", operator(function)[0])
for name, function in UNARY.items():
    setattr(Tensor, f"__{name}__", lambda x, function=function: function(x))
for name in METHODS:
    function = getattr(ops, name)
    setattr(Tensor, name, lambda x, *args, _function=function, **params: _function(x, *args, **params))
    getattr(Tensor, name).__name__ = name
    getattr(Tensor, name).__doc__ = function.__doc__


def only_value(convert: Any, name: str) -> Any:
    def method(x: Tensor) -> Any:
        if x.data.size != 1:
            raise ValueError(f"{name}: expected a Tensor of one value, got shape {x.shape}")
        return convert(x.data.item())

    return method


def reshape(x: Tensor, *shape: Any) -> Tensor:
    """The same values under another shape, given as a tuple or as lengths; one may be -1."""
    return ops.reshape(x, shape=shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape)


def transpose(x: Tensor) -> Tensor:
    if x.ndim != 2:
        raise ValueError(f"T: expected two axes, got shape {x.shape}; use mT for the last two or permute_dims")
    return ops.matrix_transpose(x)


VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12")


def array_namespace(x: Tensor, /, *, api_version: str | None = None) -> Any:
    """The module `weft`, by the Python array API standard. ValueError for a version of it that is not there."""
    import weft

    if api_version is not None and api_version not in VERSIONS:
        raise ValueError(f"__array_namespace__: expected a version of {', '.join(VERSIONS)}, got {api_version!r}")
    return weft


def as_index(x: Tensor, /) -> int:
    """A 0-d integer as a Python int."""
    if x.data.ndim or x.data.dtype.kind not in "iu":
        raise TypeError(f"index: expected one integer of no axes, got {x.dtype} of shape {x.shape}")
    return int(x.data.item())


def members() -> dict[str, Any]:
    return {
        "__array_namespace__": array_namespace,
        "__bool__": only_value(bool, "bool"),
        "__float__": only_value(float, "float"),
        "__int__": only_value(int, "int"),
        "__complex__": only_value(complex, "complex"),
        "__index__": as_index,
        "__getitem__": index.getitem,
        "__setitem__": index.setitem,
        "__iter__": lambda x: iter(ops.unstack(x)),
        "reshape": reshape,
        "T": property(transpose),
        "mT": property(ops.matrix_transpose),
    }


for name, member in members().items():
    setattr(Tensor, name, member)
