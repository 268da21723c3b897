"""Normalisation."""

from __future__ import annotations

import math
from typing import Any

import weft
from weft.onnx.dtypes import dtype_of
from weft.onnx.operators import operator
from weft.onnx.operators.common import axis_of, computed_in, flag, one_of


def along(values: Any, x: Any) -> Any:
    """(C,) -> (C, 1, ...), which broadcasts against x (N, C, ...)."""
    return values.reshape((-1,) + (1,) * (x.ndim - 2))


@operator("BatchNormalization", 9)
def batch_norm_of_inference(
    x: Any, scale: Any, bias: Any, mean: Any, var: Any, *, epsilon: float = 1e-5, momentum: float = 0.9
) -> Any:
    return batch_norm(x, scale, bias, mean, var, epsilon=epsilon, momentum=momentum)[0]


@operator("BatchNormalization", 14)
def batch_norm(
    x: Any, scale: Any, bias: Any, mean: Any, var: Any, *, epsilon: float = 1e-5, momentum: float = 0.9,
    training_mode: int = 0,
) -> Any:  # fmt: skip
    """In training the batch's own statistics, and running ones that keep `momentum` of what they were."""
    if not flag("training_mode", training_mode):
        if not all(p.dtype == x.dtype for p in (scale, bias, mean, var)):
            scale, bias, mean, var = computed_in(x.dtype, scale, bias, mean, var)
        return weft.batch_norm(x, scale, bias, mean, var, training=False, eps=epsilon)[0], mean, var
    axes = (0, *range(2, x.ndim))
    batch_mean, batch_var = weft.mean(x, axis=axes), weft.var(x, axis=axes)
    out = (x - along(batch_mean, x)) / weft.sqrt(along(batch_var, x) + epsilon) * along(scale, x) + along(bias, x)
    after = [old * momentum + new * (1 - momentum) for old, new in ((mean, batch_mean), (var, batch_var))]
    return out, *after


@operator("InstanceNormalization", 6)
def instance_norm(x: Any, scale: Any, bias: Any, *, epsilon: float = 1e-5) -> Any:
    return weft.group_norm(x, scale, bias, num_groups=x.shape[1], eps=epsilon)


@operator("GroupNormalization", 18)
def group_norm_by_groups(x: Any, scale: Any, bias: Any, *, num_groups: int, epsilon: float = 1e-5) -> Any:
    """Scale and bias for each group, as it was before opset 21."""
    each = x.shape[1] // num_groups
    return weft.group_norm(
        x, weft.repeat(scale, each, axis=0), weft.repeat(bias, each, axis=0), num_groups=num_groups, eps=epsilon
    )


@operator("GroupNormalization", 21)
def group_norm(x: Any, scale: Any, bias: Any, *, num_groups: int, epsilon: float = 1e-5, stash_type: int = 1) -> Any:
    one_of("stash_type", stash_type, (1,))
    return weft.group_norm(x, scale, bias, num_groups=num_groups, eps=epsilon)


@operator("LayerNormalization", 17)
def layer_norm(
    x: Any, scale: Any, bias: Any = None, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1, context: Any
) -> Any:
    """Over the axes from `axis` on; with the mean and the reciprocal deviation, in `stash_type`, where asked for."""
    axis = axis_of(axis, x.ndim)
    lengths = x.shape[axis:]
    stash = dtype_of(stash_type)
    scale, bias = (None if p is None else weft.broadcast_to(p, lengths) for p in (scale, bias))
    out = weft.layer_norm(x, scale, bias, normalized_shape=lengths, eps=epsilon)
    if context.outputs == 1:
        return out
    wide, axes = x.astype(stash), tuple(range(axis, x.ndim))
    mean = weft.mean(wide, axis=axes, keepdims=True)
    centred = wide - mean
    return out, mean, 1.0 / weft.sqrt(weft.mean(centred * centred, axis=axes, keepdims=True) + epsilon)


@operator("RMSNormalization", 23)
def rms_norm(x: Any, scale: Any, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1) -> Any:
    one_of("stash_type", stash_type, (1,))
    lengths = x.shape[axis_of(axis, x.ndim) :]
    if scale.dtype != x.dtype:
        return weft.rms_norm(x, None, normalized_shape=lengths, eps=epsilon).astype(scale.dtype) * scale
    return weft.rms_norm(x, weft.broadcast_to(scale, lengths), normalized_shape=lengths, eps=epsilon)


@operator("LpNormalization")
def lp_norm(x: Any, *, axis: int = -1, p: int = 2) -> Any:
    """x over its norm along `axis`; where that is 0, x stays."""
    one_of("p", p, (1, 2))
    size = weft.sum(weft.abs(x) if p == 1 else x * x, axis=axis, keepdims=True)
    empty = weft.equal(size, 0.0)
    size = weft.where(empty, weft.ones_like(size), size)
    return x / (size if p == 1 else weft.sqrt(size))


@operator("LRN")
def local_response_norm(x: Any, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0) -> Any:
    """Each channel over a power of the squares of `size` channels around it."""
    before, after = (size - 1) // 2, math.ceil((size - 1) / 2)
    squares = weft.pad(x * x, ((0, 0), (before, after)) + ((0, 0),) * (x.ndim - 2))
    total = squares[:, : x.shape[1]]
    for i in range(1, size):
        total = total + squares[:, i : i + x.shape[1]]
    return x / weft.pow(total * (alpha / size) + bias, beta)


@operator("MeanVarianceNormalization", 9)
def mean_variance_norm(x: Any, *, axes: Any = (0, 2, 3)) -> Any:
    centred = x - weft.mean(x, axis=tuple(axes), keepdims=True)
    return centred / (weft.sqrt(weft.mean(centred * centred, axis=tuple(axes), keepdims=True)) + 1e-9)
