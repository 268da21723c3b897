"""Optimizer steps over whole lists of float32 arrays in one call; lists with arrays that are not plain (strided, of
mixed dtypes, read-only) go to the reference."""

from __future__ import annotations

from typing import Any

import numpy as np

from weft import _cpu  # type: ignore[attr-defined]
from weft.backends import reference as K


@K.sgd.on(np.ndarray, "f+")
def sgd(params: Any, grads: Any, buffers: Any, **o: Any) -> None:
    flags = o["nesterov"], o["maximize"], o["first"]
    if not _cpu.sgd(params, grads, buffers, o["lr"], o["momentum"], o["dampening"], o["weight_decay"], *flags):
        K.sgd.reference(params, grads, buffers, **o)


@K.adam.on(np.ndarray, "f+")
def adam(params: Any, grads: Any, m: Any, v: Any, vmax: Any, **o: Any) -> None:
    numbers = o["lr"], o["beta1"], o["beta2"], o["eps"], o["weight_decay"]
    flags = o["decoupled"], o["step"], o["amsgrad"], o["maximize"]
    if not _cpu.adam(params, grads, m, v, vmax, *numbers, *flags):
        K.adam.reference(params, grads, m, v, vmax, **o)


@K.rmsprop.on(np.ndarray, "f+")
def rmsprop(params: Any, grads: Any, sq: Any, avg: Any, buf: Any, **o: Any) -> None:
    numbers = o["lr"], o["alpha"], o["eps"], o["weight_decay"], o["momentum"]
    if not _cpu.rmsprop(params, grads, sq, avg, buf, *numbers, o["centered"], o["maximize"]):
        K.rmsprop.reference(params, grads, sq, avg, buf, **o)


@K.sum_of_squares.on(np.ndarray, "f")
def sum_of_squares(arrays: Any) -> float:
    total = _cpu.sum_of_squares(arrays)
    return K.sum_of_squares.reference(arrays) if total is None else total
