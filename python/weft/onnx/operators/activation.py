"""Activations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import weft
from weft.onnx.operators import operator
from weft.onnx.operators.common import axis_of, is_integer, like

operator("Softsign")(lambda x: weft.softsign(x))
operator("Mish", 18)(lambda x: weft.mish(x))
operator("HardSwish", 14)(lambda x: weft.hardswish(x))


@operator("Relu", 6)
def relu(x: Any) -> Any:
    return weft.maximum(x, weft.zeros_like(x)) if is_integer(x) else weft.relu(x)


@operator("LeakyRelu", 6)
def leaky_relu(x: Any, *, alpha: float = 0.01) -> Any:
    return weft.leaky_relu(x, negative_slope=alpha)


@operator("ThresholdedRelu", 10)
def thresholded_relu(x: Any, *, alpha: float = 1.0) -> Any:
    return weft.where(weft.greater(x, alpha), x, weft.zeros_like(x))


@operator("Elu", 6)
def elu(x: Any, *, alpha: float = 1.0) -> Any:
    return weft.elu(x, alpha=alpha)


@operator("Celu", 12)
def celu(x: Any, *, alpha: float = 1.0) -> Any:
    return weft.celu(x, alpha=alpha)


@operator("Selu", 6)
def selu(x: Any, *, alpha: float = 1.67326319217681884765625, gamma: float = 1.05070102214813232421875) -> Any:
    return weft.elu(x, alpha=alpha) * gamma


@operator("HardSigmoid", 6)
def hard_sigmoid(x: Any, *, alpha: float = 0.2, beta: float = 0.5) -> Any:
    return weft.clip(x * alpha + beta, 0.0, 1.0)


@operator("Shrink", 9)
def shrink(x: Any, *, bias: float = 0.0, lambd: float = 0.5) -> Any:
    dtype, zero = x.dtype, weft.zeros_like(x)
    low = weft.where(weft.less(x, -lambd), (x + bias).astype(dtype), zero)
    return weft.where(weft.greater(x, lambd), (x - bias).astype(dtype), low)


@operator("Gelu", 20)
def gelu(x: Any, *, approximate: str = "none") -> Any:
    return weft.gelu(x, approximate=approximate)


@operator("Swish", 24)
def swish(x: Any, *, alpha: float = 1.0) -> Any:
    return weft.silu(x) if alpha == 1.0 else x * weft.sigmoid(x * alpha)


@operator("Softmax", 13)
def softmax(x: Any, *, axis: int = -1) -> Any:
    return weft.softmax(x, axis=axis)


@operator("LogSoftmax", 13)
def log_softmax(x: Any, *, axis: int = -1) -> Any:
    return weft.log_softmax(x, axis=axis)


def of_rows(function: Any) -> Any:
    """Before opset 13: over all axes from `axis` on, as one row."""

    def run(x: Any, *, axis: int = 1) -> Any:
        axis = x.ndim if axis == x.ndim else axis_of(axis, x.ndim)
        rows = x.reshape(math.prod(x.shape[:axis]), -1) if x.size else x
        return function(rows, axis=-1).reshape(x.shape)

    return run


operator("Softmax")(of_rows(weft.softmax))
operator("LogSoftmax")(of_rows(weft.log_softmax))


def one_at_largest(x: Any, *, axis: int) -> Any:
    first = weft.argmax(x, axis=axis, keepdims=True)
    places = like(np.arange(x.shape[axis]).reshape([-1 if i == axis % x.ndim else 1 for i in range(x.ndim)]), x)
    return weft.equal(first, places).astype(x.dtype)


operator("Hardmax")(of_rows(one_at_largest))


@operator("Hardmax", 13)
def hardmax(x: Any, *, axis: int = -1) -> Any:
    return one_at_largest(x, axis=axis)


@operator("Dropout", 12)
def dropout(x: Any, ratio: Any = None, training_mode: Any = None, *, seed: int = 0, context: Any) -> Any:
    """x, and which values stayed. In training the random numbers are weft's own, so no other runtime drops the same."""
    p = 0.5 if ratio is None else float(ratio.item())
    if training_mode is None or not training_mode.item() or p == 0.0:
        return x, weft.ones(x.shape, dtype=np.bool_, device=x.device)
    generator = weft.random.Generator(seed) if seed else None
    kept = weft.dropout(weft.ones_like(x), p=p, generator=generator)
    return x * kept, weft.not_equal(kept, 0.0)


@operator("Dropout", 7)
def dropout_of_inference(x: Any, *, ratio: float = 0.5) -> Any:
    if not 0 <= ratio <= 1:
        raise ValueError(f"Dropout: expected a ratio in [0, 1], got {ratio}")
    return x, weft.ones(x.shape, dtype=np.bool_, device=x.device)
