"""`keras.ops`: functions of Tensors by Keras's names, which work on the symbols of functional models too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import weft
from weft import ops
from weft.autograd import Tensor
from weft.keras import activations
from weft.keras.layer import Layer
from weft.keras.operation_table import MORE
from weft.keras.registry import TABLES
from weft.keras.symbols import KerasTensor, leaves
from weft.nn import functional as F


def over(function: Callable[..., Any]) -> Callable[..., Any]:
    """A reduction with Keras's arguments."""
    return lambda x, axis=None, keepdims=False: function(x, axis=tuple(axis) if isinstance(axis, list) else axis,
                                                         keepdims=keepdims)  # fmt: skip


def cast(x: Any, dtype: Any) -> Any:
    return ops.astype(tensor(x), dtype=dtype)


def tensor(x: Any, dtype: Any = None) -> Any:
    x = x if isinstance(x, Tensor) else weft.asarray(x)
    return x if dtype is None or x.dtype.name == dtype else ops.astype(x, dtype=dtype)


def transpose(x: Any, axes: Any = None) -> Any:
    return ops.permute_dims(x, tuple(reversed(range(x.ndim))) if axes is None else tuple(axes))


def swapped(x: Any, axis1: int, axis2: int) -> Any:
    return ops.swapaxes(x, axis1, axis2)


def one_hot(x: Any, num_classes: int, axis: int = -1, dtype: Any = "float32") -> Any:
    return ops.moveaxis(ops.astype(F.one_hot(x, num_classes), dtype=dtype), -1, axis)


def get_item(x: Any, key: Any) -> Any:
    """x[key]; a list that holds slices is a tuple that was read from JSON."""
    listed = isinstance(key, list) and any(k is None or k is Ellipsis or isinstance(k, slice) for k in key)
    return x[tuple(key) if listed else key]


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    return weft.linalg.vector_norm(x, axis=axis, keepdims=keepdims, ord=2 if ord is None else ord)


FUNCTIONS: dict[str, Any] = {
    "add": lambda x1, x2: x1 + x2, "subtract": lambda x1, x2: x1 - x2, "multiply": lambda x1, x2: x1 * x2,
    "divide": lambda x1, x2: x1 / x2, "power": lambda x1, x2: x1**x2, "matmul": lambda x1, x2: x1 @ x2,
    "less": lambda x1, x2: x1 < x2, "less_equal": lambda x1, x2: x1 <= x2, "greater": lambda x1, x2: x1 > x2,
    "greater_equal": lambda x1, x2: x1 >= x2, "equal": lambda x1, x2: tensor(x1) == x2,
    "not_equal": lambda x1, x2: tensor(x1) != x2, "negative": lambda x: -x, "absolute": ops.abs, "abs": ops.abs,
    "square": lambda x: x * x, "sqrt": ops.sqrt, "rsqrt": lambda x: 1 / ops.sqrt(x), "exp": ops.exp, "log": ops.log,
    "log1p": ops.log1p, "expm1": ops.expm1, "sin": ops.sin, "cos": ops.cos, "floor": ops.floor, "round": ops.round,
    "sign": ops.sign, "clip": lambda x, x_min, x_max: ops.clip(x, x_min, x_max), "maximum": ops.maximum,
    "minimum": ops.minimum, "logical_and": ops.logical_and, "logical_or": ops.logical_or,
    "logical_not": ops.logical_not, "isnan": ops.isnan, "isfinite": ops.isfinite, "where": ops.where,
    "sum": over(ops.sum), "mean": over(ops.mean), "max": over(ops.max), "min": over(ops.min), "prod": over(ops.prod),
    "var": over(ops.var), "std": over(ops.std), "any": over(ops.any), "all": over(ops.all),
    "argmax": lambda x, axis=None, keepdims=False: ops.argmax(x, axis=axis, keepdims=keepdims),
    "argmin": lambda x, axis=None, keepdims=False: ops.argmin(x, axis=axis, keepdims=keepdims),
    "cumsum": lambda x, axis: ops.cumulative_sum(x, axis=axis), "norm": norm,
    "reshape": lambda x, newshape: ops.reshape(x, tuple(newshape)), "transpose": transpose, "swapaxes": swapped,
    "expand_dims": lambda x, axis: ops.expand_dims(x, axis=axis), "get_item": get_item,
    "squeeze": lambda x, axis=None: ops.squeeze(x, axis=axis) if axis is not None else ops.reshape(
        x, tuple(n for n in x.shape if n != 1)),
    "concatenate": lambda xs, axis=0: ops.concat(list(xs), axis=axis), "stack": lambda x, axis=0: ops.stack(
        list(x), axis=axis),
    "repeat": lambda x, repeats, axis=None: ops.repeat(x, repeats, axis=axis), "tile": lambda x, repeats: ops.tile(
        x, tuple(repeats)),
    "flip": lambda x, axis=None: ops.flip(x, axis=axis), "moveaxis": ops.moveaxis,
    "broadcast_to": lambda x, shape: ops.broadcast_to(x, tuple(shape)),
    "take": lambda x, indices, axis=None: ops.take(x, tensor(indices), axis=axis),
    "take_along_axis": lambda x, indices, axis: ops.take_along_axis(x, tensor(indices), axis=axis),
    "einsum": lambda subscripts, *operands: ops.einsum(subscripts, *operands), "one_hot": one_hot, "cast": cast,
    "zeros_like": lambda x, dtype=None: ops.zeros_like(x, dtype=dtype),
    "ones_like": lambda x, dtype=None: ops.ones_like(x, dtype=dtype), "stop_gradient": lambda x: x.detach(),
    "normalize": lambda x, axis=-1, order=2: F.normalize(x, p=order, dim=axis),
} | activations.ENTRIES | MORE  # fmt: skip


class Operation(Layer):
    """A function of `keras.ops` in a functional model."""

    floats = False

    def __init__(self, operation: str, **kwargs: Any):
        super().__init__(**kwargs)
        if operation not in FUNCTIONS:
            raise ValueError(f"Operation: expected one of {', '.join(sorted(FUNCTIONS))}, got {operation!r}")
        self.operation = operation
        self.built = True

    def cast(self, value: Any) -> Any:
        return value

    def call(self, *args: Any, **kwargs: Any) -> Any:
        kwargs.pop("training", None)
        return FUNCTIONS[self.operation](*args, **kwargs)


TABLES["keras.layers"].entries["Operation"] = Operation


# ---- what makes values of nothing


def convert_to_tensor(x: Any, dtype: Any = None, sparse: Any = None) -> Any:
    """A Tensor of an array or numbers.

    >>> from weft import keras
    >>> keras.ops.convert_to_tensor([1.0, 2.0]).shape
    (2,)
    """
    return tensor(x, dtype)


def convert_to_numpy(x: Any) -> Any:
    """The values as a NumPy array.

    >>> from weft import keras
    >>> keras.ops.convert_to_numpy(weft.asarray([1.0])).tolist()
    [1.0]
    """
    return x.numpy() if isinstance(x, Tensor) else np.asarray(x)


def shape(x: Any) -> tuple[Any, ...]:
    """The shape, whose unknown sizes are None where x is a symbol.

    >>> from weft import keras
    >>> keras.ops.shape(weft.asarray([1.0]))
    (1,)
    """
    return tuple(x.shape)


def zeros(shape: Any, dtype: Any = None) -> Any:
    """0 everywhere.

    >>> from weft import keras
    >>> keras.ops.zeros((2,)).tolist()
    [0.0, 0.0]
    """
    return weft.zeros(tuple(shape), dtype=dtype)


def ones(shape: Any, dtype: Any = None) -> Any:
    """1 everywhere.

    >>> from weft import keras
    >>> keras.ops.ones((2,)).tolist()
    [1.0, 1.0]
    """
    return weft.ones(tuple(shape), dtype=dtype)


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> Any:
    """Numbers from start up to, and without, stop.

    >>> from weft import keras
    >>> keras.ops.arange(3).tolist()
    [0, 1, 2]
    """
    return weft.arange(start, stop, step, dtype=dtype)


array = convert_to_tensor


def function(name: str) -> Callable[..., Any]:
    """The function of a name, of Tensors, arrays or symbols."""

    def call(*args: Any, **kwargs: Any) -> Any:
        if any(isinstance(x, KerasTensor) for x in leaves((args, kwargs))):
            return Operation(name)(*args, **kwargs)
        args = tuple(weft.asarray(a) if isinstance(a, np.ndarray) else a for a in args)
        return FUNCTIONS[name](*args, **kwargs)

    call.__name__ = name
    return call


def __getattr__(name: str) -> Any:
    if name in FUNCTIONS:
        return function(name)
    known = sorted({*FUNCTIONS, "arange", "array", "convert_to_numpy", "convert_to_tensor", "ones", "shape", "zeros"})
    raise AttributeError(f"keras.ops: expected one of {', '.join(known)}, got {name!r}")
