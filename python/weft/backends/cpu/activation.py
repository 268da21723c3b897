"""ReLU, GELU and SiLU, float32."""

from __future__ import annotations

from typing import Any

import numpy as np

from weft import _cpu  # type: ignore[attr-defined]
from weft.backends import reference as K


@K.gelu.on(np.ndarray, "f")
def gelu(x: Any, *, approximate: str) -> Any:
    return _cpu.gelu(x, approximate == "tanh")


@K.gelu_backward.on(np.ndarray, "ff")
def gelu_backward(g: Any, x: Any, *, approximate: str, spare: bool = False) -> Any:
    return _cpu.gelu_backward(g, x, approximate == "tanh", spare)


K.relu.on(np.ndarray, "f")(_cpu.relu)
K.relu_backward.on(np.ndarray, "ff")(_cpu.relu_backward)
K.silu.on(np.ndarray, "f")(_cpu.silu)
K.silu_backward.on(np.ndarray, "ff")(_cpu.silu_backward)
