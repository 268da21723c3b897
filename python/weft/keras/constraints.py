"""What weights are held to after each step."""

from __future__ import annotations

from typing import Any

from weft import ops
from weft.keras import registry
from weft.keras.registry import Configured, Table

EPSILON = 1e-7


class Constraint(Configured):
    """Base: define `__call__(w)`, which returns the weight as it should be.

    >>> from weft import keras
    >>> class Halved(keras.constraints.Constraint):
    ...     def __call__(self, w):
    ...         return w / 2
    >>> Halved()(weft.asarray([4.0])).tolist()
    [2.0]
    """

    def __call__(self, w: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__}: expected a method `__call__`, got none")


class NonNeg(Constraint):
    """No weight below 0.

    >>> from weft import keras
    >>> keras.constraints.NonNeg()(weft.asarray([4.0, -1.0])).tolist()
    [4.0, 0.0]
    """

    def __call__(self, w: Any) -> Any:
        return ops.maximum(w, 0)


class MinMaxNorm(Constraint):
    """Norms along `axis` between two values; `rate` is how much of the way there a step goes.

    axis: 0 for the weights into each unit of a Dense layer, (0, 1, 2) for each filter of a Conv2D.

    >>> from weft import keras
    >>> keras.constraints.MinMaxNorm(min_value=10.0, max_value=20.0)(weft.asarray([[3.0], [4.0]])).numpy().round(3)
    array([[6.],
           [8.]], dtype=float32)
    """

    def __init__(self, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: Any = 0):
        self.min_value, self.max_value, self.rate = min_value, max_value, rate
        self.axis = tuple(axis) if isinstance(axis, (list, tuple)) else axis

    def __call__(self, w: Any) -> Any:
        norms = ops.sqrt(ops.sum(w * w, axis=self.axis, keepdims=True))
        wanted = ops.clip(norms, self.min_value, self.max_value) * self.rate + norms * (1 - self.rate)
        return w * (wanted / (norms + EPSILON))


class MaxNorm(MinMaxNorm):
    """Norms along `axis` of at most max_value.

    >>> from weft import keras
    >>> keras.constraints.MaxNorm(2.5)(weft.asarray([[3.0], [4.0]])).numpy().round(3)
    array([[1.5],
           [2. ]], dtype=float32)
    """

    def __init__(self, max_value: float = 2, axis: Any = 0):
        super().__init__(0.0, max_value, 1.0, axis)


class UnitNorm(Constraint):
    """Norms along `axis` of 1.

    >>> from weft import keras
    >>> keras.constraints.UnitNorm()(weft.asarray([[3.0], [4.0]])).numpy().round(3)
    array([[0.6],
           [0.8]], dtype=float32)
    """

    def __init__(self, axis: Any = 0):
        self.axis = tuple(axis) if isinstance(axis, (list, tuple)) else axis

    def __call__(self, w: Any) -> Any:
        return w / (ops.sqrt(ops.sum(w * w, axis=self.axis, keepdims=True)) + EPSILON)


CLASSES = (NonNeg, MaxNorm, MinMaxNorm, UnitNorm)
TABLE = Table("constraint", "keras.constraints", {c.__name__: c for c in CLASSES})
get, serialize, deserialize = TABLE.get, registry.serialize, registry.deserialize
max_norm, min_max_norm, non_neg, unit_norm = MaxNorm, MinMaxNorm, NonNeg, UnitNorm
