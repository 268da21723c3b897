"""NumPy's ufuncs on Tensors (`__array_ufunc__`), so that `numpy.exp(x)` and `ndarray * x` are recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from weft import ops
from weft.autograd import Tensor
from weft.backends.array import OnDevice
from weft.interop import keeps_gradient

#: NumPy's names that are not Weft's.
OTHER_NAMES = {
    "true_divide": "divide", "power": "pow", "absolute": "abs", "fabs": "abs", "conjugate": "conj",
    "invert": "bitwise_invert", "left_shift": "bitwise_left_shift", "right_shift": "bitwise_right_shift",
}  # fmt: skip
#: What `ufunc.reduce` is called.
REDUCTIONS = {"add": "sum", "multiply": "prod", "maximum": "max", "minimum": "min", "logical_and": "all",
              "logical_or": "any"}  # fmt: skip


def call(function: Any, method: str, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """A ufunc, or one of its methods, on arguments of which at least one is a Tensor.

    Weft's op where it has one of the name. Else NumPy's values in a Tensor, if they have no gradient to lose.
    """
    name = function.__name__
    op = getattr(ops, OTHER_NAMES.get(name, name), None)
    if isinstance(getattr(np, name, None), np.ufunc) and op is not None and "out" not in options:
        if method == "__call__" and (not options or (name == "vecdot" and options.keys() == {"axis"})):
            return op(*map(operand, inputs), **options)
        if method == "reduce" and name in REDUCTIONS and options.keys() <= {"axis", "keepdims"}:
            (x,) = inputs[:1]
            axis = inputs[1] if len(inputs) == 2 else options.get("axis", 0)
            if len(inputs) <= 2:
                return getattr(ops, REDUCTIONS[name])(x, axis=axis, keepdims=options.get("keepdims", False))
    words = f"numpy.{name}" + ("" if method == "__call__" else f".{method}")
    return on_values(words, getattr(function, method), inputs, options)


def operand(x: Any) -> Any:
    return x if isinstance(x, (Tensor, OnDevice, np.ndarray, np.generic, bool, int, float, complex)) else np.asarray(x)


def tensors(value: Any) -> Iterator[Tensor]:
    """Every Tensor in nested arguments."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from tensors(part)
    elif isinstance(value, dict):
        for part in value.values():
            yield from tensors(part)


def raw(value: Any) -> Any:
    """Nested arguments with NumPy arrays for Tensors, read-only ones."""
    if isinstance(value, Tensor):
        return value.numpy()
    if isinstance(value, (list, tuple)):
        parts = [raw(part) for part in value]
        return parts if isinstance(value, list) else tuple(parts)
    return {key: raw(part) for key, part in value.items()} if isinstance(value, dict) else value


def wrapped(value: Any) -> Any:
    """A result of NumPy's with Tensors for its arrays."""
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind not in "OUSMm":
        return Tensor(np.asarray(value))
    if type(value) in (tuple, list):
        return type(value)([wrapped(part) for part in value])
    if isinstance(value, tuple):  # a named one
        return type(value)(*map(wrapped, value))
    return value


def check_values(name: str, *arguments: Any) -> None:
    """Raise TypeError unless NumPy may work on the values of all Tensors in `arguments`."""
    for x in tensors(arguments):
        if x.device != "cpu":
            raise TypeError(f"{name}: expected Tensors on cpu, for which Weft can leave it to NumPy, got {x.device}")
        keeps_gradient(x, name)


def on_values(name: str, function: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    """What NumPy makes of the values; results that are arrays become Tensors. `out` may be arrays or Tensors."""
    check_values(name, args, kwargs)
    targets = kwargs.get("out")
    if targets is None:
        return wrapped(function(*raw(args), **raw(kwargs)))
    rest = {key: value for key, value in kwargs.items() if key != "out"}
    several = targets if isinstance(targets, tuple) else (targets,)
    made = function(*raw(args), **raw(rest))
    for target, value in zip(several, made if isinstance(made, tuple) else (made,), strict=True):
        if not np.can_cast(value.dtype, target.dtype, "same_kind"):
            raise TypeError(f"{name}: expected out of a dtype for {value.dtype}, got {target.dtype}")
        if target.shape != value.shape:
            raise ValueError(f"{name}: expected out of shape {value.shape}, got {target.shape}")
        if isinstance(target, Tensor):
            target.assign(value.astype(target.dtype), by=name)
        else:
            np.copyto(target, value, casting="same_kind")
    return several[0] if len(several) == 1 else several
