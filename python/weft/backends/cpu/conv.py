"""Convolution and its gradients, float32: any stride, padding, dilation and groups.

3x3 kernels at stride 1 with at least 16 channels on both sides take Winograd's filtering, with rounding of the same
size and 2.25 times fewer products; there an infinity or NaN may reach up to two pixels further than its windows do.
"""

from __future__ import annotations

import numpy as np

from weft import _cpu  # type: ignore[attr-defined]
from weft.backends import reference as K

K.conv2d.on(np.ndarray, "f+")(_cpu.conv2d)
K.conv2d_input_grad.on(np.ndarray, "ff")(_cpu.conv2d_input_grad)
K.conv2d_weight_grad.on(np.ndarray, "ff")(_cpu.conv2d_weight_grad)
