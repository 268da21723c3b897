"""Cross-entropy of integer labels, float32; each pass reads the logits where they lie, with no softmax in memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from weft import _cpu  # type: ignore[attr-defined]
from weft.backends import reference as K


@K.cross_entropy.on(np.ndarray, "f[ilq]f?")
def cross_entropy(logits: Any, labels: Any, weight: Any, *, ignore_index: int, label_smoothing: float) -> Any:
    return _cpu.cross_entropy(logits, labels, weight, ignore_index, label_smoothing)


@K.cross_entropy_backward.on(np.ndarray, "ff[ilq]f?f")
def cross_entropy_backward(
    g: Any, logits: Any, labels: Any, weight: Any, lse: Any, *, ignore_index: int, label_smoothing: float,
    spare: bool = False,
) -> Any:  # fmt: skip
    return _cpu.cross_entropy_backward(g, logits, labels, weight, lse, ignore_index, label_smoothing)
