"""ReLU, GELU and SiLU, float32."""

from __future__ import annotations

from typing import Any

import numpy as np

from weft import _cpu  # type: ignore[attr-defined]
from weft.backends import reference as K

RELU = _cpu.UNARY["relu"]


@K.relu.on(np.ndarray, "f")
def relu(x: Any) -> Any:
    y = _cpu.unary(RELU, x)
    return _cpu.unary(RELU, np.ascontiguousarray(x)) if y is None else y  # None: x was strided


@K.relu_backward.on(np.ndarray, "ff")
def relu_backward(g: Any, y: Any) -> Any:
    gx = _cpu.relu_backward(g, y)
    return _cpu.relu_backward(np.ascontiguousarray(g), np.ascontiguousarray(y)) if gx is None else gx


@K.gelu.on(np.ndarray, "f")
def gelu(x: Any, *, approximate: str) -> Any:
    return _cpu.gelu(x, approximate == "tanh")


@K.gelu_backward.on(np.ndarray, "ff")
def gelu_backward(g: Any, x: Any, *, approximate: str) -> Any:
    return _cpu.gelu_backward(g, x, approximate == "tanh")


K.silu.on(np.ndarray, "f")(_cpu.silu)
K.silu_backward.on(np.ndarray, "ff")(_cpu.silu_backward)
