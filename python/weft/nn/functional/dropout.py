"""Dropout in its forms: of elements, of channels, of samples, and for SELU networks. Only in training."""

from __future__ import annotations

import math
from typing import Any

from weft import ops
from weft.ops.activation import SELU_ALPHA, SELU_SCALE, floating
from weft.ops.dropout import check_probability

__all__ = ["alpha_dropout", "drop_path", "dropout", "dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout"]


def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False, generator: Any = None) -> Any:
    """Zero elements with probability p and scale the rest by 1 / (1 - p), in training; same shape.

    inplace is taken and ignored: the input is left as it was.

    >>> F.dropout(weft.ones((2, 3)), 0.5, training=False).numpy()
    array([[1., 1., 1.],
           [1., 1., 1.]], dtype=float32)
    """
    if not training or p == 0:
        return input
    return ops.dropout(input, p=p, generator=generator)


def channels_of(name: str, input: Any, p: float, training: bool, ranks: tuple[int, int]) -> Any:
    """input with whole channels zeroed; ranks: its dimensions, where the lower ones may mean a missing batch."""
    check_probability(name, p)
    if input.ndim not in ranks:
        raise ValueError(f"{name}: expected an input of {ranks[0]} or {ranks[1]} dimensions, got {input.shape}")
    if not training or p == 0:
        return input
    batched = input.ndim == ranks[1] or name == "dropout2d"
    return input * kept(input, 2 if batched else 1, p)


def kept(input: Any, lead: int, p: float) -> Any:
    """1 / (1 - p) or 0 for each position of the first `lead` dimensions, 1 long elsewhere."""
    floating(input, "dropout")
    shape = input.shape[:lead] + (1,) * (input.ndim - lead)
    return ops.dropout(ops.ones(shape, dtype=input.dtype, device=input.device), p=p)


def dropout1d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Zero whole channels of (N, C, L) or (C, L) with probability p, in training; the others times 1 / (1 - p).

    >>> F.dropout1d(weft.ones((1, 2, 3)), 0.5, training=False).shape
    (1, 2, 3)
    """
    return channels_of("dropout1d", input, p, training, (2, 3))


def dropout2d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Zero whole channels of (N, C, H, W) or (N, C, L) with probability p, in training; as PyTorch, never unbatched.

    >>> F.dropout2d(weft.ones((1, 2, 3, 3)), 0.5, training=False).shape
    (1, 2, 3, 3)
    """
    return channels_of("dropout2d", input, p, training, (3, 4))


def dropout3d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Zero whole channels of (N, C, D, H, W) or (C, D, H, W) with probability p, in training.

    >>> F.dropout3d(weft.ones((1, 2, 3, 3, 3)), 0.5, training=False).shape
    (1, 2, 3, 3, 3)
    """
    return channels_of("dropout3d", input, p, training, (4, 5))


def alpha_dropout(input: Any, p: float = 0.5, training: bool = False, inplace: bool = False) -> Any:
    """Set elements with probability p to SELU's lowest value, then scale and shift so that mean 0 and variance 1 stay.

    Same shape; p = 1 gives zeros.  Klambauer et al., "Self-normalizing neural networks" (2017).

    >>> F.alpha_dropout(weft.ones((2, 3)), 0.5, training=False).numpy()
    array([[1., 1., 1.],
           [1., 1., 1.]], dtype=float32)
    """
    return saturated("alpha_dropout", input, p, training, input.ndim)


def feature_alpha_dropout(input: Any, p: float = 0.5, training: bool = False, inplace: bool = False) -> Any:
    """alpha_dropout of whole channels of (N, C, ...).

    >>> F.feature_alpha_dropout(weft.ones((1, 2, 3)), 0.5, training=False).shape
    (1, 2, 3)
    """
    return saturated("feature_alpha_dropout", input, p, training, 2)


def saturated(name: str, input: Any, p: float, training: bool, lead: int) -> Any:
    check_probability(name, p)
    floating(input, name)
    if input.ndim < lead:
        raise ValueError(f"{name}: expected an input (N, C, ...), got {input.shape}")
    if not training or p == 0:
        return input
    if p == 1:
        return input * 0
    low = -SELU_SCALE * SELU_ALPHA
    scale = 1 / math.sqrt((1 - p) * (1 + p * low * low))
    return ops.where(kept(input, lead, p) > 0, input * scale, low * scale) - low * scale * p


def drop_path(input: Any, drop_prob: float = 0.0, training: bool = False, scale_by_keep: bool = True) -> Any:
    """Zero whole samples of (N, ...) with probability drop_prob, in training: a residual branch left out.

    scale_by_keep: the others times 1 / (1 - drop_prob).  Huang et al., "Deep networks with stochastic depth" (2016).

    >>> F.drop_path(weft.ones((2, 3)), 0.5, training=False).numpy()
    array([[1., 1., 1.],
           [1., 1., 1.]], dtype=float32)
    """
    check_probability("drop_path", drop_prob)
    if not training or drop_prob == 0:
        return input
    mask = kept(input, 1, drop_prob)
    return input * mask if scale_by_keep or drop_prob == 1 else input * (mask * (1 - drop_prob))
