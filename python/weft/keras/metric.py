"""What metrics share: the base class, and how labels, predictions and weights fit together."""

from __future__ import annotations

from typing import Any

import numpy as np

from weft.autograd import Tensor
from weft.backends.device import on_host
from weft.keras.registry import Configured, snake, unique_name

Array = np.ndarray[Any, Any]


def array(x: Any) -> Array:
    """A NumPy array of a Tensor, an array or numbers."""
    return on_host(x.data) if isinstance(x, Tensor) else np.asarray(x)


class Metric(Configured):
    """Base: define `reset_state`, `update_state(y_true, y_pred, sample_weight)` and `result`.

    >>> from weft import keras
    >>> class Largest(keras.metrics.Metric):
    ...     def reset_state(self):
    ...         self.largest = 0.0
    ...     def update_state(self, y_true, y_pred, sample_weight=None):
    ...         self.largest = max(self.largest, float(y_pred.max()))
    ...     def result(self):
    ...         return self.largest
    >>> Largest()(None, np.array([1.0, 5.0]))
    5.0

    direction: "up" or "down", what callbacks with mode="auto" take as better; None where they have to be told.
    """

    direction: str | None = None

    def __init__(self, dtype: Any = None, name: str | None = None):
        self.name, self.dtype = name or unique_name(snake(type(self).__name__)), dtype
        self.reset_state()

    def reset_state(self) -> None:
        raise NotImplementedError(f"{type(self).__name__}: expected a method `reset_state`, got none")

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(f"{type(self).__name__}: expected a method `update_state`, got none")

    def result(self) -> Any:
        raise NotImplementedError(f"{type(self).__name__}: expected a method `result`, got none")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Update, then the result so far."""
        self.update_state(*args, **kwargs)
        return self.result()


def weights_of(sample_weight: Any, values: Array) -> Array:
    """A weight for each value; axes that the weights lack at the end are filled up."""
    weight = array(sample_weight).astype(np.float64)
    if weight.ndim == values.ndim + 1 and weight.shape[-1] == 1:
        weight = weight[..., 0]
    if weight.ndim > values.ndim or any(n not in (1, m) for n, m in zip(weight.shape, values.shape)):
        raise ValueError(f"metric: expected sample_weight {values.shape} or its first axes, got {weight.shape}")
    return np.broadcast_to(weight.reshape(weight.shape + (1,) * (values.ndim - weight.ndim)), values.shape)


def fitting(name: str, y_true: Any, y_pred: Any) -> tuple[Array, Array]:
    """Labels and predictions of one shape; (N,) beside (N, 1) is lined up."""
    a, b = array(y_true), array(y_pred)
    if a.shape == (*b.shape, 1):
        a = a[..., 0]
    elif b.shape == (*a.shape, 1):
        b = b[..., 0]
    if a.shape != b.shape:
        raise ValueError(f"{name}: expected labels of the predictions' shape {b.shape}, got {a.shape}")
    return a, b
