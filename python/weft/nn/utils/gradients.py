"""Gradient clipping, and parameters as one vector."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from weft import ops
from weft.autograd import Tensor
from weft.backends import reference as K
from weft.backends.array import OnDevice, namespace


def gradients(parameters: Any) -> list[Any]:
    """The gradient arrays of one or several Tensors."""
    parameters = [parameters] if isinstance(parameters, Tensor) else parameters
    return [p.grad.data for p in parameters if p.grad is not None]


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """Scale the gradients, in place, so that the norm of all of them together is at most max_norm; returns that norm.

    norm_type: p, or inf for the largest element. error_if_nonfinite: RuntimeError where the norm is NaN or infinite,
    with the gradients as they were.  Pascanu, Mikolov and Bengio, 2013.

    >>> p = nn.Parameter([1.0, 1.0])
    >>> (p * weft.asarray([3.0, 4.0])).sum().backward()
    >>> clip_grad_norm_([p], max_norm=1.0).item()
    5.0
    >>> p.grad.numpy()
    array([0.5999999 , 0.79999983], dtype=float32)
    """
    grads = gradients(parameters)
    norm: Any
    if norm_type == 2:
        norm = K.sum_of_squares(grads) ** 0.5 if grads else 0.0
    elif norm_type == math.inf:
        largest = [namespace(g).max(namespace(g).abs(g)) for g in grads if g.size]
        norm = namespace(*largest).max(namespace(*largest).stack(largest, axis=0)) if largest else 0.0
    else:
        norm = sum(namespace(g).sum(abs(g).astype(np.float64) ** norm_type) for g in grads) ** (1 / norm_type)
    if error_if_nonfinite and not math.isfinite(norm):
        raise RuntimeError(f"clip_grad_norm_: expected a finite norm of the gradients, got {norm}")
    on_device = isinstance(norm, OnDevice)
    if on_device:  # the host does not wait for it
        xp = namespace(norm)
        K.scale_arrays(grads, factor=xp.minimum(max_norm / (norm + 1e-6), 1.0))  # NaN scales too, so that it is seen
        return Tensor(xp.astype(norm, np.dtype(np.float32)))
    norm = float(norm)
    scale = max_norm / (norm + 1e-6)
    if not scale >= 1:  # NaN scales too, so that it is seen
        with np.errstate(invalid="ignore"):  # an infinity times 0 is such a NaN
            K.scale_arrays(grads, factor=scale)
    return Tensor(np.asarray(norm, np.float32))


class GradientScale(NamedTuple):
    """What `gradient_scale` finds, all of no axes: norm and scale float32, skip int32."""

    norm: Tensor
    scale: Tensor
    skip: Tensor


def gradient_scale(
    parameters: Tensor | Iterable[Tensor], max_norm: float | None = None, loss_scale: Tensor | None = None
) -> GradientScale:
    """The norm of all gradients together, and what a step is to do about it; nothing is written, nobody waits.

    max_norm: the largest norm, as in `clip_grad_norm_`; None: any. loss_scale: what the loss was multiplied by, float32
    (); norm and scale undo it. skip: 1 where a gradient is not finite.

        norm, scale, skip = nn.utils.gradient_scale(model.parameters(), max_norm=1.0)
        optimizer.step(scale=scale, skip=skip)

    >>> p = nn.Parameter([1.0, 1.0])
    >>> (p * weft.asarray([3.0, 4.0])).sum().backward()
    >>> norm, scale, skip = gradient_scale([p], max_norm=1.0)
    >>> norm.item(), skip.item()
    (5.0, 0)
    """
    grads = gradients(parameters)
    if not grads:
        raise ValueError("gradient_scale: expected parameters with gradients, got none")
    squares = K.sum_of_squares(grads)
    squares = squares if isinstance(squares, OnDevice) else np.asarray(squares)
    found = K.gradient_scale(squares, None if loss_scale is None else loss_scale.data, max_norm=max_norm)
    return GradientScale(*map(Tensor, found))


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Hold every element of the gradients within [-clip_value, clip_value], in place.

    >>> p = nn.Parameter([1.0, 1.0])
    >>> (p * weft.asarray([3.0, 0.5])).sum().backward()
    >>> clip_grad_value_([p], 1.0)
    >>> p.grad.numpy()
    array([1. , 0.5], dtype=float32)
    """
    for g in gradients(parameters):
        xp = namespace(g)
        xp.assign(g, xp.minimum(xp.maximum(g, g.dtype.type(-clip_value)), g.dtype.type(clip_value)))


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All elements in one vector (n,), recorded.

    >>> parameters_to_vector(nn.Linear(2, 3).parameters()).shape
    (9,)
    """
    return ops.concat([ops.reshape(p, (-1,)) for p in parameters])


def vector_to_parameters(vec: Any, parameters: Iterable[Tensor]) -> None:
    """Write a vector (n,) into the parameters; the inverse of `parameters_to_vector`.

    >>> layer = nn.Linear(1, 1)
    >>> vector_to_parameters(weft.asarray([2.0, 3.0]), layer.parameters())
    >>> layer.weight.item(), layer.bias.item()
    (2.0, 3.0)
    """
    parameters = list(parameters)
    total = sum(p.size for p in parameters)
    if vec.shape != (total,):
        raise ValueError(f"vector_to_parameters: expected a vector ({total},), got {vec.shape}")
    values, start = vec.data if isinstance(vec, Tensor) else vec, 0
    for p in parameters:
        p.assign(values[start : start + p.size].reshape(p.shape), by="vector_to_parameters")
        start += p.size
