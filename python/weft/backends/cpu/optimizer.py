"""Optimizer steps over whole lists of float32 arrays in one call; lists with arrays that are not plain (strided, of
mixed dtypes, read-only) go to the reference."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from weft import _cpu  # type: ignore[attr-defined]
from weft.backends import reference as K
from weft.backends.registry import Primitive

Entry = Callable[..., bool]


def stepping(primitive: Primitive) -> Callable[[Entry], Entry]:
    """Register a step that says whether it was taken. Gradients come scaled, and what may be an array as a number."""

    def register(entry: Entry) -> Entry:
        @wraps(entry)
        def step(params: Any, grads: Any, *states: Any, scale: Any = None, skip: Any = None, **o: Any) -> None:
            if skip is not None and int(skip):
                return
            if scale is not None and float(scale) != 1:
                grads = [g * np.float32(scale) for g in grads]
            o = {k: v.item() if isinstance(v, np.ndarray) else v for k, v in o.items()}
            if not entry(params, grads, *states, **o):
                primitive.reference(params, grads, *states, **o)

        primitive.on(np.ndarray, "f+")(step)
        return entry

    return register


@stepping(K.sgd)
def sgd(params: Any, grads: Any, buffers: Any, masters: Any = None, *, step: Any = None, **o: Any) -> bool:
    flags = o["nesterov"], o["maximize"], bool(o["first"] or step == 1)
    return _cpu.sgd(params, grads, buffers, o["lr"], o["momentum"], o["dampening"], o["weight_decay"], *flags)  # type: ignore[no-any-return]


@stepping(K.adam)
def adam(params: Any, grads: Any, m: Any, v: Any, vmax: Any, masters: Any = None, **o: Any) -> bool:
    numbers = o["lr"], o["beta1"], o["beta2"], o["eps"], o["weight_decay"]
    flags = o["decoupled"], o["step"], o["amsgrad"], o["maximize"]
    return _cpu.adam(params, grads, m, v, vmax, *numbers, *flags)  # type: ignore[no-any-return]


@stepping(K.rmsprop)
def rmsprop(params: Any, grads: Any, sq: Any, avg: Any, buf: Any, masters: Any = None, **o: Any) -> bool:
    numbers = o["lr"], o["alpha"], o["eps"], o["weight_decay"], o["momentum"]
    return _cpu.rmsprop(params, grads, sq, avg, buf, *numbers, o["centered"], o["maximize"])  # type: ignore[no-any-return]


@stepping(K.lion)
def lion(params: Any, grads: Any, m: Any, masters: Any = None, **o: Any) -> bool:
    return _cpu.lion(params, grads, m, o["lr"], o["beta1"], o["beta2"], o["weight_decay"], o["maximize"])  # type: ignore[no-any-return]


@K.sum_of_squares.on(np.ndarray, "f")
def sum_of_squares(arrays: Any) -> float:
    total = _cpu.sum_of_squares(arrays)
    return K.sum_of_squares.reference(arrays) if total is None else total
