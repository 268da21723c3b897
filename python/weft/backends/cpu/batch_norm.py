"""Batch normalisation, float32."""

from __future__ import annotations

from typing import Any

import numpy as np

from weft import _cpu  # type: ignore[attr-defined]
from weft.backends import reference as K


@K.batch_norm.on(np.ndarray, "f+")
def batch_norm(x: Any, weight: Any, bias: Any, *, eps: float) -> Any:
    return _cpu.batch_norm(x, weight, bias, eps=eps) if x.size else K.batch_norm.reference(x, weight, bias, eps=eps)


@K.batch_norm_backward.on(np.ndarray, "f+")
def batch_norm_backward(g: Any, x: Any, weight: Any, mean: Any, var: Any, *, eps: float) -> Any:
    run = _cpu.batch_norm_backward if x.size else K.batch_norm_backward.reference
    return run(g, x, weight, mean, var, eps=eps)
