"""Weft: a deep-learning array framework with a NumPy-like front end, gradients of any order, and hand-written kernels.

>>> import weft
>>> x = weft.asarray([1.0, 2.0, 3.0])
>>> x.requires_grad = True
>>> (x * x).sum().backward()
>>> x.grad.numpy()
array([2., 4., 6.], dtype=float32)
"""

import importlib as _importlib
from typing import Any as _Any

import numpy as _np
from numpy import bool_ as bool  # noqa: F401
from numpy import (  # noqa: F401
    complex64,
    complex128,
    e,
    float16,
    float32,
    float64,
    inf,
    int8,
    int16,
    int32,
    int64,
    nan,
    newaxis,
    pi,
    uint8,
    uint16,
    uint32,
    uint64,
)

from weft import interop as _interop  # noqa: F401
from weft import methods as _methods  # noqa: F401
from weft.autograd import Tensor, enable_grad, is_recording, no_grad, op  # noqa: F401
from weft.backends import cpu as _cpu_entries  # noqa: F401
from weft.backends.device import default_device, devices, set_default_device  # noqa: F401
from weft.backends.registry import which  # noqa: F401
from weft.gradients import checkpoint, grad, hessian_vector_product, value_and_grad  # noqa: F401
from weft.ops import *  # noqa: F403
from weft.ops import __array_namespace_info__  # noqa: F401

__version__ = "0.1.0"
__array_api_version__ = "2024.12"

_LAZY = set(
    """nn linalg fft models onnx tfjs browser optim data train metrics explain vision io random testing recipes sklearn
    keras cli cuda""".split()
)
_LAZY_NAMES = {
    "save": "io",
    "load": "io",
    "generate": "models",
    "nanguard": "guard",
    "profile": "profiling",
    "plan": "planning",
    "autocast": "casting",
    "GradScaler": "optim",
    "capture": "captured",
    "CaptureError": "captured",
    "set_float32_matmul_precision": "backends.gpu.gemm_choice",
    "set_ordered_attention": "backends.gpu.attention_choice",
    "get_float32_matmul_precision": "backends.gpu.gemm_choice",
    "CudaKernel": "custom",
    "elementwise": "custom",
}


def __getattr__(name: str) -> _Any:
    if name in _LAZY:
        return _importlib.import_module(f"weft.{name}")
    if name in _LAZY_NAMES:
        return getattr(_importlib.import_module(f"weft.{_LAZY_NAMES[name]}"), name)
    if name == "bfloat16":
        import ml_dtypes

        return _np.dtype(ml_dtypes.bfloat16)
    raise AttributeError(f"module 'weft' has no attribute {name!r}")
