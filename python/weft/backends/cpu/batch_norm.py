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
def batch_norm_backward(
    g: Any, x: Any, weight: Any, mean: Any, var: Any, *, eps: float, spare: bool = False
) -> Any:
    run = _cpu.batch_norm_backward if x.size else K.batch_norm_backward.reference
    return run(g, x, weight, mean, var, eps=eps, spare=spare)


@K.batch_norm_act.on(np.ndarray, "f+")
def batch_norm_act(x: Any, weight: Any, bias: Any, residual: Any, *, eps: float, relu: bool) -> Any:
    run = _cpu.batch_norm if x.size else K.batch_norm_act.reference
    return run(x, weight, bias, residual, eps=eps, relu=relu)


@K.batch_norm_inference.on(np.ndarray, "f+")
def batch_norm_inference(
    x: Any, weight: Any, bias: Any, mean: Any, var: Any, residual: Any, *, eps: float, relu: bool
) -> Any:
    run = _cpu.batch_norm_inference if x.size else K.batch_norm_inference.reference
    return run(x, weight, bias, mean, var, residual, eps=eps, relu=relu)


@K.batch_norm_act_backward.on(np.ndarray, "f+")
def batch_norm_act_backward(
    g: Any, x: Any, weight: Any, mean: Any, var: Any, out: Any, *, eps: float, residual: bool, spare: bool = False
) -> Any:
    if out is not None:
        g, spare = K.relu_backward(g, out, spare=spare), True
    gx, gw, gb = batch_norm_backward(g, x, weight, mean, var, eps=eps, spare=spare and not residual)
    return gx, gw, gb, g if residual else None
