"""Cross-entropy of integer labels, float32; each pass reads the logits where they lie, with no softmax in memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from weft import _cpu  # type: ignore[attr-defined]
from weft.backends import reference as K
from weft.backends.reference.loss import check_labels


@K.cross_entropy.on(np.ndarray, "f[ilq]f?")
def cross_entropy(
    logits: Any, labels: Any, weight: Any, *, ignore_index: int, label_smoothing: float,
    shape: tuple[int, ...] | None = None,
) -> Any:  # fmt: skip
    try:
        return _cpu.cross_entropy(logits, labels, weight, ignore_index, label_smoothing)
    except IndexError:
        check_labels(labels, logits.shape[1], ignore_index, shape=shape)  # in the shape that the caller knows
        raise


@K.cross_entropy_backward.on(np.ndarray, "ff[ilq]f?f")
def cross_entropy_backward(
    g: Any, logits: Any, labels: Any, weight: Any, lse: Any, *, ignore_index: int, label_smoothing: float,
    spare: bool = False,
) -> Any:  # fmt: skip
    return _cpu.cross_entropy_backward(g, logits, labels, weight, lse, ignore_index, label_smoothing)
