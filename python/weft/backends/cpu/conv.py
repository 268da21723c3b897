"""Convolution and its gradients, float32: any stride, padding, dilation and groups."""

from __future__ import annotations

import numpy as np

from weft import _cpu  # type: ignore[attr-defined]
from weft.backends import reference as K

K.conv2d.on(np.ndarray, "f+")(_cpu.conv2d)
K.conv2d_input_grad.on(np.ndarray, "ff")(_cpu.conv2d_input_grad)
K.conv2d_weight_grad.on(np.ndarray, "ff")(_cpu.conv2d_weight_grad)
