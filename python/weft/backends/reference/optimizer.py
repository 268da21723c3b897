"""Optimizer steps over lists of arrays, written in place, with PyTorch's formulas (Lion: the paper's); and clipping.

Arithmetic runs in the dtype of the state, float32 for 16-bit parameters. Every step takes beside its own numbers

masters: float32 copies of 16-bit parameters, which move in their stead and are rounded into them, or None. Where a
parameter is no longer its rounded copy, another has written it, and the copy starts again from there.
scale: what the gradients are multiplied by as they are read, or None.   skip: where not 0, nothing is written; or None.

lr, scale, skip and the number of the step may be arrays of one element on the device of the parameters (float32, and
int32 for skip and step), so that a step can be enqueued, or recorded, before they are known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from weft.backends.array import ARRAYS, OnDevice, namespace
from weft.backends.reference.precision import narrow, wide
from weft.backends.registry import primitive

Arrays = Sequence[Any]
Number = Any  # a Python number, or an array of one element


def gradient(g: Any, p: Any, scale: Number, weight_decay: float, maximize: bool) -> Any:
    """The gradient to descend along, L2 penalty included, as a wide array; p is wide."""
    g = wide(g)
    if scale is not None:
        g = g * scale
    g = -g if maximize else g
    return g + weight_decay * p if weight_decay else g


def write(out: Any, value: Any, skip: Number) -> None:
    """out[...] = value, unless the step is skipped."""
    out[...] = value if skip is None else namespace(out).where(skip != 0, out, narrow(value, out.dtype))


def start_of(k: int, params: Arrays, masters: Arrays | None) -> Any:
    """What parameter k moves from, as a wide array."""
    p = params[k]
    if not masters:
        return wide(p)
    master = masters[k]
    return namespace(p).where(narrow(master, p.dtype) == p, master, wide(p))


def finish(k: int, params: Arrays, masters: Arrays | None, value: Any, skip: Number) -> None:
    """Write what parameter k has become."""
    if masters:
        write(masters[k], value, skip)
    write(params[k], value, skip)


def correction(beta: float, step: Number) -> Any:
    """1 - beta^step, the sum of the weights of a running mean so far."""
    if not isinstance(step, ARRAYS):
        return 1 - beta**step
    xp = namespace(step)
    return -xp.expm1(xp.astype(step, np.float32) * (math.log(beta) if beta else -math.inf))


@primitive
def sgd(
    params: Arrays,
    grads: Arrays,
    buffers: Arrays,
    masters: Arrays | None = None,
    *,
    lr: Number,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    maximize: bool,
    first: bool,
    step: Number = None,
    scale: Number = None,
    skip: Number = None,
) -> None:
    """One step of SGD. buffers: momentum of each parameter, or [] where momentum is 0; `first` fills them.

    step: an array with the number of the step; where it is 1, that is the first.
    """
    for k, g in enumerate(grads):
        start = start_of(k, params, masters)
        g = gradient(g, start, scale, weight_decay, maximize)
        if momentum:
            b = g if first else momentum * wide(buffers[k]) + (1 - dampening) * g
            if step is not None and not first:
                b = namespace(b).where(step == 1, g, b)
            write(buffers[k], b, skip)
            g = g + momentum * b if nesterov else b
        finish(k, params, masters, start - lr * g, skip)


@primitive
def adam(
    params: Arrays,
    grads: Arrays,
    m: Arrays,
    v: Arrays,
    vmax: Arrays,
    masters: Arrays | None = None,
    *,
    lr: Number,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
    step: Number,
    amsgrad: bool,
    maximize: bool,
    scale: Number = None,
    skip: Number = None,
) -> None:
    """Step number `step` (from 1) of Adam, or of AdamW where the decay is `decoupled`. vmax: [] without amsgrad."""
    rate, root = lr / correction(beta1, step), correction(beta2, step) ** 0.5
    for k, g in enumerate(grads):
        start = start_of(k, params, masters)
        g = gradient(g, start, scale, 0.0 if decoupled else weight_decay, maximize)
        first = wide(m[k]) + (1 - beta1) * (g - wide(m[k]))
        second = beta2 * wide(v[k]) + (1 - beta2) * g * g
        write(m[k], first, skip)
        write(v[k], second, skip)
        if amsgrad:
            second = namespace(second).maximum(wide(vmax[k]), second)
            write(vmax[k], second, skip)
        if decoupled:
            start = start * (1 - lr * weight_decay)
        value = start - rate * first / (namespace(second).sqrt(second) / root + eps)
        finish(k, params, masters, value, skip)


@primitive
def rmsprop(
    params: Arrays,
    grads: Arrays,
    sq: Arrays,
    avg: Arrays,
    buf: Arrays,
    masters: Arrays | None = None,
    *,
    lr: Number,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
    centered: bool,
    maximize: bool,
    scale: Number = None,
    skip: Number = None,
) -> None:
    """One step of RMSprop. avg: [] unless `centered`; buf: [] where momentum is 0."""
    for k, g in enumerate(grads):
        start = start_of(k, params, masters)
        g = gradient(g, start, scale, weight_decay, maximize)
        second = alpha * wide(sq[k]) + (1 - alpha) * g * g
        write(sq[k], second, skip)
        if centered:
            mean = wide(avg[k]) + (1 - alpha) * (g - wide(avg[k]))
            write(avg[k], mean, skip)
            second = second - mean**2
        move = g / (namespace(second).sqrt(second) + eps)
        if momentum:
            move = momentum * wide(buf[k]) + move
            write(buf[k], move, skip)
        finish(k, params, masters, start - lr * move, skip)


@primitive
def lion(
    params: Arrays,
    grads: Arrays,
    m: Arrays,
    masters: Arrays | None = None,
    *,
    lr: Number,
    beta1: float,
    beta2: float,
    weight_decay: float,
    maximize: bool,
    scale: Number = None,
    skip: Number = None,
) -> None:
    """One step of Lion: by lr along the sign of a mean of m and the gradient; the decay is off the parameters."""
    for k, g in enumerate(grads):
        start = start_of(k, params, masters)
        g = gradient(g, start, scale, 0.0, maximize)
        old = wide(m[k])
        direction = namespace(g).sign(beta1 * old + (1 - beta1) * g)
        write(m[k], beta2 * old + (1 - beta2) * g, skip)
        finish(k, params, masters, start * (1 - lr * weight_decay) - lr * direction, skip)


@primitive
def count_step(step: Any, skip: Any = None) -> None:
    """step += 1 unless `skip`, both int32 arrays of one element."""
    step[...] = step + 1 if skip is None else step + (skip == 0)


@primitive
def sum_of_squares(arrays: Arrays) -> Any:
    """The sum of the squares of all elements of all arrays, in float64: a number, or an array () on a device."""
    total = sum(namespace(a).sum(namespace(a).square(a.astype(np.float64))) for a in arrays)
    return total if isinstance(total, OnDevice) else float(total)


@primitive
def scale_arrays(arrays: Arrays, *, factor: Number) -> None:
    """a *= factor for every array; 16-bit types are multiplied in float32. factor: a number, or an array ()."""
    for a in arrays:
        x = wide(a)
        a[...] = x * (narrow(factor, x.dtype) if isinstance(factor, ARRAYS) else x.dtype.type(factor))


@primitive
def gradient_scale(squares: Any, loss_scale: Any = None, *, max_norm: float | None) -> tuple[Any, Any, Any]:
    """The sum of squares of all gradients () -> their norm (), the factor for them (), whether to skip the step ().

    loss_scale: what the loss was multiplied by, an array () or None; norm and factor undo it. The factor also takes the
    norm down to `max_norm` where it is larger. Norm and factor are float32; skip is int32, 1 if the sum is not finite.
    """
    xp = namespace(squares)
    one = xp.ones_like(squares)
    inverse = one if loss_scale is None else one / xp.astype(loss_scale, squares.dtype)
    norm = xp.sqrt(squares) * inverse
    factor = inverse if max_norm is None else xp.minimum(max_norm / (norm + 1e-6), 1.0) * inverse
    skip = xp.logical_not(xp.isfinite(squares))
    return tuple([xp.astype(x, np.dtype(t)) for x, t in ((norm, "f"), (factor, "f"), (skip, "i"))])  # type: ignore[return-value]
