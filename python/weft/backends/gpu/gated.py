"""Gated activations on devices: gated.cu, whose gradients are written side by side where the halves of one array were
the operands."""

from __future__ import annotations

from typing import Any

import numpy as np

from weft.backends import reference as K
from weft.backends.gpu import entry
from weft.backends.gpu.array import empty_like
from weft.backends.gpu.expressions import STORAGE
from weft.backends.gpu.maps import empty_in_format
from weft.backends.gpu.walk import THREADS, operand, walk
from weft.backends.launch import Kernel, kernel, launch

ACTIVATIONS = {"sigmoid": "Sigmoid", "silu": "Silu", "gelu": "Gelu", "gelu_tanh": "GeluTanh", "relu": "Relu"}


def gated_kernel(name: str, dtype: np.dtype, activation: str, wide: bool = False) -> Kernel:
    types = dict(TYPE=STORAGE[dtype.char], ACTIVATION=ACTIVATIONS[activation])
    return kernel("gated.cu", name, **types, VECTOR=16 // dtype.itemsize, WIDE=int(wide))


def run(name: str, arrays: tuple[Any, ...], activation: str) -> None:
    x = arrays[-1]
    if not x.size:
        return
    how = walk(x.shape, tuple([operand(a) for a in arrays]), 16 // x.dtype.itemsize)
    function = gated_kernel(name, x.dtype, activation, how.wide)
    launch(function, (how.blocks,), (THREADS,), (*arrays, how.packed, int(how.vectors)))


@entry(K.gated, "ff|dd|ee|EE")
def gated(x: Any, gate: Any, *, activation: str) -> Any:
    out = empty_in_format(x, x.dtype)
    run("gated", (out, x, gate), activation)
    return out


@entry(K.gated_backward, "fff|ddd|eee|EEE")
def gated_backward(g: Any, x: Any, gate: Any, *, activation: str, joined: int | None) -> Any:
    if joined is None:
        grads = empty_in_format(x, x.dtype), empty_in_format(gate, gate.dtype)
        run("gated_backward", (*grads, g, x, gate), activation)
        return grads
    n, lead = x.shape[joined], (slice(None),) * joined
    both = empty_like(x, tuple([2 * m if i == joined else m for i, m in enumerate(x.shape)]))
    halves = [both.basic((*lead, part)) for part in (slice(0, n), slice(n, None))]
    run("gated_backward", (*halves, g, x, gate), activation)
    return both
