"""Pooling of images, float32: any kernel, stride, padding and dilation."""

from __future__ import annotations

import numpy as np

from weft import _cpu  # type: ignore[attr-defined]
from weft.backends import reference as K

K.max_pool2d.on(np.ndarray, "f")(_cpu.max_pool2d)
K.max_pool2d_backward.on(np.ndarray, "f[Bi]")(_cpu.max_pool2d_backward)
K.avg_pool2d.on(np.ndarray, "f")(_cpu.avg_pool2d)
K.avg_pool2d_backward.on(np.ndarray, "f")(_cpu.avg_pool2d_backward)
