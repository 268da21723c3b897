"""Losses with PyTorch's names and argument order; `weft.ops.loss` computes them.

reduction: "mean", "sum" or "none". Nothing is broadcast: a prediction (N, 1) against a target (N,) raises.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from weft import ops
from weft.autograd import Tensor
from weft.ops.loss import weighted

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "linear_cross_entropy",
    "mse_loss",
    "nll_loss",
    "smooth_l1_loss",
]


def array(x: Any) -> Any:
    """A target as it may come: Tensor, array, number or list."""
    return x if isinstance(x, (Tensor, np.ndarray)) else Tensor(x)


def of_each(name: str, losses: Any, weight: Any, reduction: str, mean_by_weight: bool) -> Any:
    """Losses times weights of one shape, reduced; the mean over the weights' sum, or over the number of losses."""
    if weight.shape != losses.shape:
        raise ValueError(f"{name}: expected weight of the input's shape {losses.shape}, got {weight.shape}")
    if mean_by_weight and reduction == "mean":
        return weighted(losses, weight, "sum", name) / ops.sum(weight)
    return weighted(losses, weight, reduction, name)


def mse_loss(input: Any, target: Any, reduction: str = "mean", weight: Any = None) -> Any:
    """(input - target)^2; weight: of each element, of one shape with them; "mean" then divides by its sum.

    >>> F.mse_loss(weft.asarray([1.0, 2.0]), weft.asarray([1.0, 4.0])).item()
    2.0
    """
    if weight is None:
        return ops.mse_loss(input, array(target), reduction=reduction)
    losses = ops.mse_loss(input, array(target), reduction="none")
    return of_each("mse_loss", losses, array(weight), reduction, True)


def l1_loss(input: Any, target: Any, reduction: str = "mean", weight: Any = None) -> Any:
    """|input - target|; weight as in mse_loss.

    >>> F.l1_loss(weft.asarray([1.0, 2.0]), weft.asarray([1.0, 5.0])).item()
    1.5
    """
    if weight is None:
        return ops.l1_loss(input, array(target), reduction=reduction)
    losses = ops.l1_loss(input, array(target), reduction="none")
    return of_each("l1_loss", losses, array(weight), reduction, True)


def smooth_l1_loss(input: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Any:
    """d^2 / (2 beta) for |d| < beta, |d| - beta / 2 from there, for d = input - target.

    >>> F.smooth_l1_loss(weft.asarray([3.0]), weft.asarray([0.0])).item()
    2.5
    """
    return ops.smooth_l1_loss(input, array(target), reduction=reduction, beta=beta)


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None) -> Any:
    """d^2 / 2 for |d| <= delta, delta (|d| - delta / 2) from there, for d = input - target.

    weight: of each element, of one shape with them; "mean" divides by their number all the same.

    >>> F.huber_loss(weft.asarray([3.0]), weft.asarray([0.0])).item()
    2.5
    """
    if weight is None:
        return ops.huber_loss(input, array(target), reduction=reduction, delta=delta)
    losses = ops.huber_loss(input, array(target), reduction="none", delta=delta)
    return of_each("huber_loss", losses, array(weight), reduction, False)


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """-log softmax(input)[target], or -sum(target log softmax(input)) where target holds probabilities.

    input (N, C), (N, C, d1, ...) or (C,) of unnormalised scores; target of the same shape without C, integers in [0, C)
    (ignore_index counts for nothing), or of the input's shape, floating. weight (C,): of each class. "mean" divides by
    the weight of the counted labels. IndexError names a label out of range.

    >>> F.cross_entropy(weft.asarray([[0.0, 0.0]]), weft.asarray([1])).item()
    0.6931471824645996
    """
    return ops.cross_entropy(
        input, array(target), weight, ignore_index=ignore_index, reduction=reduction, label_smoothing=label_smoothing
    )


def linear_cross_entropy(
    input: Any,
    linear_weight: Any,
    target: Any,
    *,
    linear_bias: Any = None,
    weight: Any = None,
    reduction: str = "mean",
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    chunk_size: int | None = None,
) -> Any:
    """cross_entropy(linear(input, linear_weight, linear_bias), target) without all logits in memory.

    input (..., D), linear_weight (V, D), target (...) integers in [0, V), linear_bias (V,), weight (V,) of each class.
    chunk_size: how many rows of logits exist at a time; None for as many as suit the device.

    >>> F.linear_cross_entropy(weft.ones((2, 3)), weft.ones((4, 3)), weft.asarray([1, 2])).item()
    1.3862943649291992
    """
    return ops.linear_cross_entropy(
        input, linear_weight, array(target), linear_bias, weight, ignore_index=ignore_index, reduction=reduction,
        label_smoothing=label_smoothing, chunk_size=chunk_size,
    )  # fmt: skip


def nll_loss(input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> Any:
    """-input[target] for log-probabilities; shapes, weight and ignore_index as in `cross_entropy`.

    >>> F.nll_loss(weft.asarray([[-0.5, -1.0]]), weft.asarray([1])).item()
    1.0
    """
    return ops.nll_loss(input, array(target), weight, ignore_index=ignore_index, reduction=reduction)


def binary_cross_entropy(input: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Any:
    """-(t log p + (1 - t) log(1 - p)) for probabilities p = input and t = target; logs are held above -100.

    >>> F.binary_cross_entropy(weft.asarray([0.5]), weft.asarray([1.0])).item()
    0.6931471824645996
    """
    return ops.binary_cross_entropy(input, array(target), weight, reduction=reduction)


def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Any:
    """Binary cross-entropy of sigmoid(input), without its underflow.  pos_weight: factor on the positive term.

    >>> F.binary_cross_entropy_with_logits(weft.asarray([0.0]), weft.asarray([1.0])).item()
    0.6931471824645996
    """
    return ops.binary_cross_entropy_with_logits(
        input, array(target), weight, reduction=reduction, pos_weight=pos_weight
    )


def kl_div(input: Any, target: Any, reduction: str = "mean", log_target: bool = False) -> Any:
    """target (log target - input) for log-probabilities `input`; target too is one with log_target.

    reduction: "batchmean" too, the sum divided by the first dimension, which is the divergence itself.

    >>> p = weft.asarray([[0.5, 0.5]])
    >>> F.kl_div(weft.log(p), p, reduction="batchmean").item()
    0.0
    """
    return ops.kl_div(input, array(target), reduction=reduction, log_target=log_target)
