"""Activations as layers."""

from __future__ import annotations

from typing import Any

from weft import ops
from weft.keras import activations
from weft.keras.layer import Layer
from weft.keras.layers.core import Weighted, in_memory_order
from weft.keras.masks import mask_of
from weft.nn import functional as F


class Elementwise(Layer):
    """What these share."""

    supports_masking = True

    def compute_output_shape(self, input_shape: Any) -> Any:
        return tuple(input_shape)


class ReLU(Elementwise):
    """`activations.relu`.

    >>> from weft import keras
    >>> keras.layers.ReLU(max_value=6)(weft.asarray([[-1.0, 9.0]])).tolist()
    [[0.0, 6.0]]
    """

    def __init__(self, max_value: float | None = None, negative_slope: float = 0.0, threshold: float = 0.0,
                 **kwargs: Any):  # fmt: skip
        super().__init__(**kwargs)
        if (max_value is not None and max_value < 0) or negative_slope < 0 or threshold < 0:
            raise ValueError(f"ReLU: expected numbers >= 0, got {max_value}, {negative_slope} and {threshold}")
        self.max_value, self.negative_slope, self.threshold = max_value, negative_slope, threshold

    def call(self, inputs: Any) -> Any:
        return in_memory_order(
            lambda x: activations.relu(x, self.negative_slope, self.max_value, self.threshold), inputs
        )


class LeakyReLU(Elementwise):
    """x above 0, negative_slope x below.

    >>> from weft import keras
    >>> keras.layers.LeakyReLU(0.5)(weft.asarray([[-1.0, 9.0]])).tolist()
    [[-0.5, 9.0]]
    """

    def __init__(self, negative_slope: float = 0.3, **kwargs: Any):
        negative_slope = kwargs.pop("alpha", negative_slope)
        super().__init__(**kwargs)
        self.negative_slope = negative_slope

    def call(self, inputs: Any) -> Any:
        return in_memory_order(lambda x: F.leaky_relu(x, self.negative_slope), inputs)


class ELU(Elementwise):
    """x above 0, alpha (exp(x) - 1) below.

    >>> from weft import keras
    >>> keras.layers.ELU()(weft.asarray([[9.0]])).tolist()
    [[9.0]]
    """

    def __init__(self, alpha: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.alpha = alpha

    def call(self, inputs: Any) -> Any:
        return in_memory_order(lambda x: F.elu(x, self.alpha), inputs)


class PReLU(Weighted):
    """x above 0, alpha x below, with a learned alpha for each feature; shared_axes: along which it is one.

    >>> from weft import keras
    >>> keras.layers.PReLU()(weft.asarray([[-1.0, 9.0]])).tolist()
    [[0.0, 9.0]]
    """

    supports_masking = True

    def __init__(self, alpha_initializer: Any = "Zeros", alpha_regularizer: Any = None, alpha_constraint: Any = None,
                 shared_axes: Any = None, **kwargs: Any):  # fmt: skip
        super().__init__(**kwargs)
        self.shared_axes = [shared_axes] if isinstance(shared_axes, int) else list(shared_axes or ())
        self.resolve(alpha_initializer=alpha_initializer, alpha_regularizer=alpha_regularizer,
                     alpha_constraint=alpha_constraint)  # fmt: skip

    def build(self, input_shape: Any) -> None:
        self.weight("alpha", tuple(1 if i in self.shared_axes else n for i, n in enumerate(input_shape) if i))
        self.built = True

    def call(self, inputs: Any) -> Any:
        return F.relu(inputs) - self.alpha * F.relu(-inputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return tuple(input_shape)


class Softmax(Elementwise):
    """exp(x) / sum(exp(x)) along an axis; positions that a mask leaves out get 0.

    >>> from weft import keras
    >>> keras.layers.Softmax()(weft.asarray([[0.0, 0.0]])).tolist()
    [[0.5, 0.5]]
    """

    def __init__(self, axis: Any = -1, **kwargs: Any):
        super().__init__(**kwargs)
        self.axis = axis

    def call(self, inputs: Any, mask: Any = None) -> Any:
        if mask is not None and mask is not mask_of(inputs):  # one that was handed over, of the inputs' shape
            inputs = ops.where(mask, inputs, ops.full_like(inputs, -1e30))
        return activations.softmax(inputs, self.axis)
