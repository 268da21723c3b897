"""Symbols: what a functional model is written with. A symbol has a shape, a dtype, and the call that makes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Shape = tuple[int | None, ...]


class KerasTensor:
    """A value that a functional model will have: `Input` makes one, calling a layer with it makes the next.

    Operators, indices and the functions of `keras.ops` work on it as on Tensors.

    >>> from weft import keras
    >>> x = keras.Input((4,))
    >>> (keras.layers.Dense(2)(x) * 3).shape
    (None, 2)
    """

    __array_priority__ = 2000

    def __init__(self, shape: Any, dtype: Any = "float32", name: str | None = None):
        self.shape: Shape = tuple(None if n is None else int(n) for n in shape)
        self.dtype = "string" if isinstance(dtype, str) and dtype == "string" else np.dtype(dtype).name
        self.name = name or "keras_tensor"
        self.call: Call | None = None
        self.index = 0

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __repr__(self) -> str:
        return f"<KerasTensor shape={self.shape}, dtype={self.dtype}, name={self.name}>"

    def __bool__(self) -> bool:
        raise TypeError("KerasTensor: expected a value to decide by, got a symbol of a functional model; code that "
                        "depends on values belongs in the `call` of a Layer or Model")  # fmt: skip

    __iter__ = None  # a symbol has no values to go through

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError(f"KerasTensor: expected values, got the symbol {self!r} of a functional model")

    def __getitem__(self, key: Any) -> Any:
        return apply("get_item", self, key)


class Call:
    """A call of a layer with symbols: an edge of the graph of a functional model."""

    def __init__(self, layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]):
        self.layer, self.args, self.kwargs = layer, args, kwargs
        self.inputs = [x for x in leaves((args, kwargs)) if isinstance(x, KerasTensor)]
        self.outputs: list[KerasTensor] = []
        self.structure: Any = None  # of what the call returns, with symbols as leaves


def apply(name: str, *args: Any, **kwargs: Any) -> Any:
    """A function of `keras.ops` on symbols."""
    from weft.keras.operations import Operation

    return Operation(name)(*args, **kwargs)


def operator(name: str, swapped: bool = False) -> Callable[..., Any]:
    if swapped:
        return lambda self, other: apply(name, other, self)
    return lambda self, *others: apply(name, self, *others)


BINARY = {"add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "pow": "power", "matmul": "matmul"}
COMPARED = {"lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal"}
for short, long in BINARY.items():
    setattr(KerasTensor, f"__{short}__", operator(long))
    setattr(KerasTensor, f"__r{short}__", operator(long, swapped=True))
for short, long in COMPARED.items():
    setattr(KerasTensor, f"__{short}__", operator(long))
for short, long in {"neg": "negative", "abs": "absolute"}.items():
    setattr(KerasTensor, f"__{short}__", operator(long))


# ---- nested structures


def leaves(structure: Any) -> Iterator[Any]:
    """What lists, tuples and dicts hold, in order (dicts by sorted key, as Keras's)."""
    if isinstance(structure, (list, tuple)):
        for item in structure:
            yield from leaves(item)
    elif isinstance(structure, dict):
        for key in sorted(structure):
            yield from leaves(structure[key])
    else:
        yield structure


def mapped(function: Callable[[Any], Any], structure: Any) -> Any:
    """The structure with `function` of each leaf."""
    if isinstance(structure, dict):
        return {key: mapped(function, structure[key]) for key in sorted(structure)}
    if isinstance(structure, tuple) and hasattr(structure, "_fields"):
        return type(structure)(*(mapped(function, item) for item in structure))
    if isinstance(structure, (list, tuple)):
        return type(structure)(mapped(function, item) for item in structure)
    return function(structure)
