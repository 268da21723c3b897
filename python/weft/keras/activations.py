"""Activations by Keras's names, over `weft.nn.functional`."""

from __future__ import annotations

from typing import Any

from weft import ops
from weft.autograd import Tensor
from weft.keras import registry
from weft.keras.masks import Beside
from weft.keras.registry import Table
from weft.nn import functional as F

#: The scores that recorded probabilities were made of: a cross entropy of those is computed from these, see `losses`.
SCORES = Beside()


def remember(kind: str, out: Any, x: Any) -> Any:
    if isinstance(out, Tensor) and out.node is not None:
        SCORES[out] = (kind, x)
    return out


def linear(x: Any) -> Any:
    """x.

    >>> from weft import keras
    >>> keras.activations.linear(3.0)
    3.0
    """
    return x


def relu(x: Any, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0) -> Any:
    """max(x, 0); or negative_slope (x - threshold) below threshold, and never more than max_value.

    >>> from weft import keras
    >>> keras.activations.relu(weft.asarray([-1.0, 2.0, 9.0]), max_value=6).tolist()
    [0.0, 2.0, 6.0]
    """
    if threshold:
        below = (x - threshold) * negative_slope
        out = ops.where(x >= threshold, x, below if negative_slope else ops.zeros_like(x))
    else:
        out = F.leaky_relu(x, negative_slope) if negative_slope else F.relu(x)
    return out if max_value is None else ops.minimum(out, max_value)


def leaky_relu(x: Any, negative_slope: float = 0.2) -> Any:
    """x above 0, negative_slope x below.

    >>> from weft import keras
    >>> keras.activations.leaky_relu(weft.asarray([-1.0, 2.0]), 0.5).tolist()
    [-0.5, 2.0]
    """
    return F.leaky_relu(x, negative_slope)


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)).

    >>> from weft import keras
    >>> keras.activations.sigmoid(weft.asarray([0.0])).tolist()
    [0.5]
    """
    return remember("sigmoid", F.sigmoid(x), x)


def softmax(x: Any, axis: Any = -1) -> Any:
    """exp(x) / sum(exp(x)) along an axis, or several.

    >>> from weft import keras
    >>> keras.activations.softmax(weft.asarray([[0.0, 0.0]])).tolist()
    [[0.5, 0.5]]
    """
    if isinstance(axis, (list, tuple)):
        moved = ops.moveaxis(x, tuple(axis), tuple(range(x.ndim - len(axis), x.ndim)))
        flat = F.softmax(F.flatten(moved, x.ndim - len(axis)), -1)
        return ops.moveaxis(ops.reshape(flat, moved.shape), tuple(range(x.ndim - len(axis), x.ndim)), tuple(axis))
    if x.ndim < 2:
        raise ValueError(f"softmax: expected at least 2 dimensions, a batch of them, got shape {x.shape}")
    out = F.softmax(x, axis)
    return remember("softmax", out, x) if axis in (-1, x.ndim - 1) else out


def gelu(x: Any, approximate: bool = False) -> Any:
    """x P(X <= x) for a standard normal X; approximate: with a tanh.

    >>> from weft import keras
    >>> keras.activations.gelu(weft.asarray([0.0])).tolist()
    [0.0]
    """
    return F.gelu(x, "tanh" if approximate else "none")


def elu(x: Any, alpha: float = 1.0) -> Any:
    """x above 0, alpha (exp(x) - 1) below.

    >>> from weft import keras
    >>> keras.activations.elu(weft.asarray([2.0])).tolist()
    [2.0]
    """
    return F.elu(x, alpha)


def celu(x: Any, alpha: float = 1.0) -> Any:
    """x above 0, alpha (exp(x / alpha) - 1) below.

    >>> from weft import keras
    >>> keras.activations.celu(weft.asarray([2.0])).tolist()
    [2.0]
    """
    return F.celu(x, alpha)


def softplus(x: Any) -> Any:
    """log(1 + exp(x)).

    >>> from weft import keras
    >>> round(keras.activations.softplus(weft.asarray([0.0])).item(), 4)
    0.6931
    """
    return F.softplus(x)


def exponential(x: Any) -> Any:
    """exp(x).

    >>> from weft import keras
    >>> keras.activations.exponential(weft.asarray([0.0])).tolist()
    [1.0]
    """
    return ops.exp(x)


def tanh_shrink(x: Any) -> Any:
    """x - tanh(x).

    >>> from weft import keras
    >>> keras.activations.tanh_shrink(weft.asarray([0.0])).tolist()
    [0.0]
    """
    return x - F.tanh(x)


def hard_shrink(x: Any, threshold: float = 0.5) -> Any:
    """x where |x| is above the threshold, else 0.

    >>> from weft import keras
    >>> keras.activations.hard_shrink(weft.asarray([0.25, 2.0])).tolist()
    [0.0, 2.0]
    """
    return ops.where(ops.abs(x) > threshold, x, ops.zeros_like(x))


def soft_shrink(x: Any, threshold: float = 0.5) -> Any:
    """x moved towards 0 by the threshold.

    >>> from weft import keras
    >>> keras.activations.soft_shrink(weft.asarray([0.25, -2.0])).tolist()
    [0.0, -1.5]
    """
    return F.relu(x - threshold) - F.relu(-x - threshold)


def squareplus(x: Any, b: float = 4) -> Any:
    """(x + sqrt(x^2 + b)) / 2.

    >>> from weft import keras
    >>> keras.activations.squareplus(weft.asarray([0.0])).tolist()
    [1.0]
    """
    return (x + ops.sqrt(x * x + b)) / 2


def log_softmax(x: Any, axis: int = -1) -> Any:
    """log(softmax(x)).

    >>> from weft import keras
    >>> keras.activations.log_softmax(weft.asarray([[0.0]])).tolist()
    [[0.0]]
    """
    return F.log_softmax(x, axis)


def glu(x: Any, axis: int = -1) -> Any:
    """The first half times the sigmoid of the second.

    >>> from weft import keras
    >>> keras.activations.glu(weft.asarray([[2.0, 0.0]])).tolist()
    [[1.0]]
    """
    return F.glu(x, axis)


def threshold(x: Any, threshold: float, default_value: float) -> Any:
    """x above the threshold, else default_value.

    >>> from weft import keras
    >>> keras.activations.threshold(weft.asarray([1.0, 3.0]), 2.0, -1.0).tolist()
    [-1.0, 3.0]
    """
    return ops.where(x > threshold, x, ops.full_like(x, default_value))


OWN = (linear, relu, leaky_relu, sigmoid, softmax, gelu, elu, celu, softplus, exponential, tanh_shrink, hard_shrink,
       soft_shrink, squareplus, log_softmax, glu, threshold)  # fmt: skip
tanh, selu, silu, mish, relu6, softsign = F.tanh, F.selu, F.silu, F.mish, F.relu6, F.softsign
hard_sigmoid, hard_silu, hard_tanh, log_sigmoid = F.hardsigmoid, F.hardswish, F.hardtanh, F.logsigmoid
swish, hard_swish = silu, hard_silu
ENTRIES = {f.__name__: f for f in OWN} | {
    "tanh": tanh, "selu": selu, "silu": silu, "mish": mish, "relu6": relu6, "softsign": softsign,
    "hard_sigmoid": hard_sigmoid, "hard_silu": hard_silu, "hard_tanh": hard_tanh, "log_sigmoid": log_sigmoid,
}  # fmt: skip
TABLE = Table("activation", "keras.activations", ENTRIES, {"swish": "silu", "hard_swish": "hard_silu"})
NAMES = {id(function): name for name, function in ENTRIES.items()}
deserialize = registry.deserialize


def get(identifier: Any) -> Any:
    """An activation by name, configuration or itself; None is `linear`.  ValueError lists the names there are.

    >>> from weft import keras
    >>> keras.activations.get("relu") is keras.activations.relu
    True
    """
    return linear if identifier is None else TABLE.get(identifier)


def serialize(activation: Any) -> Any:
    """The name of an activation.

    >>> from weft import keras
    >>> keras.activations.serialize(keras.activations.tanh)
    'tanh'
    """
    return NAMES.get(id(activation)) or registry.serialize(activation)
