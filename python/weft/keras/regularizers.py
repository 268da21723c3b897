"""Penalties on weights and activations that are added to the loss."""

from __future__ import annotations

from typing import Any

from weft import ops
from weft.keras import registry
from weft.keras.registry import Configured, Table
from weft.nn import functional as F


class Regularizer(Configured):
    """Base: define `__call__(x)`, which returns the penalty.

    >>> from weft import keras
    >>> class Sum(keras.regularizers.Regularizer):
    ...     def __call__(self, x):
    ...         return x.sum()
    >>> Sum()(weft.asarray([1.0, 2.0])).item()
    3.0
    """

    def __call__(self, x: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__}: expected a method `__call__`, got none")


class L1L2(Regularizer):
    """l1 sum(|x|) + l2 sum(x^2).

    >>> from weft import keras
    >>> keras.regularizers.L1L2(l1=1.0, l2=1.0)(weft.asarray([3.0])).item()
    12.0
    """

    def __init__(self, l1: float | None = 0.0, l2: float | None = 0.0):
        self.l1, self.l2 = checked("l1", l1 or 0.0), checked("l2", l2 or 0.0)

    def __call__(self, x: Any) -> Any:
        parts = [ops.sum(ops.abs(x)) * self.l1] * bool(self.l1) + [ops.sum(x * x) * self.l2] * bool(self.l2)
        return sum(parts[1:], parts[0]) if parts else ops.sum(x) * 0


class L1(L1L2):
    """l1 sum(|x|).

    >>> from weft import keras
    >>> keras.regularizers.L1(0.5)(weft.asarray([3.0, -1.0])).item()
    2.0
    """

    def __init__(self, l1: float | None = 0.01):
        super().__init__(l1=0.01 if l1 is None else l1)


class L2(L1L2):
    """l2 sum(x^2).

    >>> from weft import keras
    >>> keras.regularizers.L2(0.5)(weft.asarray([3.0, -1.0])).item()
    5.0
    """

    def __init__(self, l2: float | None = 0.01):
        super().__init__(l2=0.01 if l2 is None else l2)


class OrthogonalRegularizer(Regularizer):
    """factor times the mean |cosine| between two different rows (mode="columns": columns) of a matrix.

    >>> from weft import keras
    >>> keras.regularizers.OrthogonalRegularizer(1.0)(weft.asarray([[1.0, 0.0], [0.0, 2.0]])).item()
    0.0
    """

    def __init__(self, factor: float = 0.01, mode: str = "rows"):
        if mode not in ("rows", "columns"):
            raise ValueError(f"OrthogonalRegularizer: expected mode rows or columns, got {mode!r}")
        self.factor, self.mode = checked("factor", factor), mode

    def __call__(self, x: Any) -> Any:
        if x.ndim != 2:
            raise ValueError(f"OrthogonalRegularizer: expected a matrix, got shape {x.shape}")
        rows = F.normalize(x if self.mode == "rows" else x.mT, dim=1)
        n = rows.shape[0]
        others = ops.abs(rows @ rows.mT) * (1 - ops.eye(n, dtype=x.dtype, device=x.device))
        return ops.sum(others) * (self.factor * 0.5 / max(n * (n - 1) / 2, 1.0))


def checked(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
        raise ValueError(f"regularizer: expected {name} as a finite number >= 0, got {value!r}")
    return float(value)


CLASSES = (L1L2, L1, L2, OrthogonalRegularizer)
TABLE = Table("regularizer", "keras.regularizers", {c.__name__: c for c in CLASSES})
get, serialize, deserialize = TABLE.get, registry.serialize, registry.deserialize
l1, l2, l1_l2, orthogonal_regularizer = L1, L2, L1L2, OrthogonalRegularizer
