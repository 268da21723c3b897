"""Softmax and its logarithm, float32."""

from __future__ import annotations

from typing import Any

import numpy as np

from weft import _cpu  # type: ignore[attr-defined]
from weft.backends import reference as K


@K.softmax.on(np.ndarray, "f")
def softmax(x: Any, *, axis: int) -> Any:
    return _cpu.softmax(x, axis)


@K.softmax_backward.on(np.ndarray, "ff")
def softmax_backward(g: Any, y: Any, *, axis: int) -> Any:
    return _cpu.softmax_backward(g, y, axis)


@K.log_softmax.on(np.ndarray, "f")
def log_softmax(x: Any, *, axis: int) -> Any:
    return _cpu.log_softmax(x, axis)


@K.log_softmax_backward.on(np.ndarray, "ff")
def log_softmax_backward(g: Any, y: Any, *, axis: int) -> Any:
    return _cpu.log_softmax_backward(g, y, axis)
