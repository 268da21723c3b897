"""Layer norm and RMS norm, float32."""

from __future__ import annotations

from typing import Any

import numpy as np

from weft import _cpu  # type: ignore[attr-defined]
from weft.backends import reference as K


@K.layer_norm.on(np.ndarray, "f+")
def layer_norm(x: Any, weight: Any, bias: Any, *, eps: float) -> Any:
    return _cpu.layer_norm(x, weight, bias, eps)


@K.rms_norm.on(np.ndarray, "f+")
def rms_norm(x: Any, weight: Any, *, eps: float) -> Any:
    return _cpu.rms_norm(x, weight, eps)


K.layer_norm_backward.on(np.ndarray, "f+")(_cpu.layer_norm_backward)
K.rms_norm_backward.on(np.ndarray, "f+")(_cpu.rms_norm_backward)
