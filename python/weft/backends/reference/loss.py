"""Cross-entropy of integer labels, fused with log-softmax."""

from __future__ import annotations

from typing import Any

from weft.backends.array import device_of, namespace
from weft.backends.checks import check
from weft.backends.reference.precision import narrow, wide
from weft.backends.registry import primitive


def check_labels(
    labels: Any, classes: int, ignore_index: int, name: str = "cross_entropy", shape: tuple[int, ...] | None = None
) -> None:
    """Raise an IndexError that names a label outside [0, classes) and its position in `shape`."""
    check("index", labels, f"{name}: expected labels in [0, {classes})", shape=shape, p=classes, q=ignore_index)


def spread_of(logits: Any, labels: Any, ignore_index: int) -> tuple[Any, Any, Any]:
    """Which labels count (N, 1), the labels with 0 for the others (N, 1), and those one-hot (N, C) as a mask."""
    xp = namespace(logits)
    column = xp.reshape(labels, (-1, 1))
    keep = xp.not_equal(column, ignore_index)
    safe = xp.where(keep, column, xp.zeros_like(column))
    return keep, safe, xp.equal(xp.arange(logits.shape[1], device=device_of(logits)), safe)


@primitive
def cross_entropy(
    logits: Any, labels: Any, weight: Any, *, ignore_index: int, label_smoothing: float,
    shape: tuple[int, ...] | None = None,
) -> tuple[Any, Any]:  # fmt: skip
    """logits (N, C), labels (N,), weight (C,)|None -> losses (N,), log of the sum of exponentials (N,), in float32
    at least.

    A loss is 0 where its label is `ignore_index`. IndexError names a label outside [0, C) and its position in `shape`,
    that of the labels as the caller knows them.
    """
    xp, classes = namespace(logits), logits.shape[1]
    check_labels(labels, classes, ignore_index, shape=shape)
    logits, weight = wide(logits), wide(weight)
    if 0 in logits.shape:
        zeros = xp.sum(logits, axis=1)
        return zeros, zeros
    peak = xp.max(logits, axis=1, keepdims=True)
    lse = xp.log(xp.sum(xp.exp(logits - peak), axis=1, keepdims=True)) + peak  # (N, 1)
    keep, safe, _ = spread_of(logits, labels, ignore_index)
    losses = lse - xp.take_along_axis(logits, safe, axis=1)  # (N, 1)
    if weight is not None:
        losses = losses * xp.reshape(xp.take(weight, xp.reshape(safe, (-1,)), axis=0), (-1, 1))
    if label_smoothing:
        others = (lse - logits) if weight is None else (lse - logits) * weight
        even = xp.sum(others, axis=1, keepdims=True)
        losses = losses * (1 - label_smoothing) + even * (label_smoothing / classes)
    losses = xp.where(keep, losses, xp.zeros_like(losses))
    return xp.reshape(losses, (-1,)), xp.reshape(lse, (-1,))


@primitive
def cross_entropy_backward(
    g: Any, logits: Any, labels: Any, weight: Any, lse: Any, *, ignore_index: int, label_smoothing: float,
    spare: bool = False,
) -> Any:  # fmt: skip
    """g (N,), or (1,) for all; logits (N, C), labels (N,), weight (C,)|None, lse (N,) -> gradient of the logits.

    spare: nobody needs the logits any more, so the gradient may be written over them.
    """
    xp, classes, dtype = namespace(logits), logits.shape[1], logits.dtype
    g, logits, weight = wide(g), wide(logits), wide(weight)
    if 0 in logits.shape:
        return xp.zeros_like(logits)
    keep, safe, hot = spread_of(logits, labels, ignore_index)
    p = xp.exp(logits - xp.reshape(lse, (-1, 1)))  # (N, C)
    grad = p - xp.astype(hot, p.dtype)
    if weight is not None:
        grad = grad * xp.reshape(xp.take(weight, xp.reshape(safe, (-1,)), axis=0), (-1, 1))
    if label_smoothing:
        even = p * classes - 1 if weight is None else p * xp.sum(weight) - weight
        grad = grad * (1 - label_smoothing) + even * (label_smoothing / classes)
    grad = grad * xp.reshape(g, (-1, 1))
    return narrow(xp.where(keep, grad, xp.zeros_like(grad)), dtype)
