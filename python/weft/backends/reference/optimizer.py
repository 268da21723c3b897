"""Optimizer steps over lists of arrays, written in place, with PyTorch's formulas; and the sum of squares.

Arithmetic runs in the dtype of the state, float32 for 16-bit parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from weft.backends.array import OnDevice, namespace
from weft.backends.reference.precision import wide
from weft.backends.registry import primitive

Arrays = Sequence[Any]


def decayed(g: Any, p: Any, weight_decay: float, maximize: bool) -> Any:
    """The gradient to descend along, L2 penalty included, as a wide array."""
    g = -wide(g) if maximize else wide(g)
    return g + weight_decay * wide(p) if weight_decay else g


@primitive
def sgd(
    params: Arrays,
    grads: Arrays,
    buffers: Arrays,
    *,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    maximize: bool,
    first: bool,
) -> None:
    """One step of SGD. buffers: momentum of each parameter, or [] where momentum is 0; `first` fills them."""
    for k, (p, g) in enumerate(zip(params, grads, strict=True)):
        g = decayed(g, p, weight_decay, maximize)
        if momentum:
            buffers[k][...] = g if first else momentum * wide(buffers[k]) + (1 - dampening) * g
            g = g + momentum * wide(buffers[k]) if nesterov else wide(buffers[k])
        p[...] = wide(p) - lr * g


@primitive
def adam(
    params: Arrays,
    grads: Arrays,
    m: Arrays,
    v: Arrays,
    vmax: Arrays,
    *,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
    step: int,
    amsgrad: bool,
    maximize: bool,
) -> None:
    """Step number `step` (from 1) of Adam, or of AdamW where the decay is `decoupled`. vmax: [] without amsgrad."""
    rate, root = lr / (1 - beta1**step), (1 - beta2**step) ** 0.5
    for k, (p, g) in enumerate(zip(params, grads, strict=True)):
        g = decayed(g, p, 0.0 if decoupled else weight_decay, maximize)
        m[k][...] = wide(m[k]) + (1 - beta1) * (g - wide(m[k]))
        v[k][...] = beta2 * wide(v[k]) + (1 - beta2) * g * g
        second = v[k]
        if amsgrad:
            second = vmax[k]
            second[...] = namespace(second).maximum(second, v[k])
        start = wide(p) * (1 - lr * weight_decay) if decoupled else wide(p)
        p[...] = start - rate * wide(m[k]) / (namespace(second).sqrt(wide(second)) / root + eps)


@primitive
def rmsprop(
    params: Arrays,
    grads: Arrays,
    sq: Arrays,
    avg: Arrays,
    buf: Arrays,
    *,
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
    centered: bool,
    maximize: bool,
) -> None:
    """One step of RMSprop. avg: [] unless `centered`; buf: [] where momentum is 0."""
    for k, (p, g) in enumerate(zip(params, grads, strict=True)):
        g = decayed(g, p, weight_decay, maximize)
        sq[k][...] = alpha * wide(sq[k]) + (1 - alpha) * g * g
        second = wide(sq[k])
        if centered:
            avg[k][...] = wide(avg[k]) + (1 - alpha) * (g - wide(avg[k]))
            second = second - wide(avg[k]) ** 2
        move = g / (namespace(second).sqrt(second) + eps)
        if momentum:
            buf[k][...] = momentum * wide(buf[k]) + move
            move = wide(buf[k])
        p[...] = wide(p) - lr * move


@primitive
def sum_of_squares(arrays: Arrays) -> Any:
    """The sum of the squares of all elements of all arrays, in float64: a number, or an array () on a device."""
    total = sum(namespace(a).sum(namespace(a).square(a.astype(np.float64))) for a in arrays)
    return total if isinstance(total, OnDevice) else float(total)
