"""Losses, with PyTorch's arguments and meaning. Shapes that would broadcast, and labels out of range, raise.

`reduction`: "none" (a loss for each element or sample), "mean" or "sum".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from weft.autograd import Tensor, op, state
from weft.backends import reference as K
from weft.backends import writes
from weft.backends.array import namespace
from weft.backends.checks import check
from weft.backends.device import beside
from weft.backends.reference.loss import check_labels, spread_of
from weft.backends.reference.precision import narrow, wide
from weft.ops.activation import floating, held

REDUCTIONS = ("mean", "sum", "none")


def check_reduction(name: str, reduction: str, allowed: tuple[str, ...] = REDUCTIONS) -> None:
    if reduction not in allowed:
        raise ValueError(f"{name}: expected reduction in {allowed}, got {reduction!r}")


def reduced(xp: Any, losses: Any, reduction: str, count: Any) -> Any:
    """The losses as they are, their sum, or their sum over `count`."""
    if reduction == "none":
        return losses
    total = xp.sum(losses)
    return total if reduction == "sum" else total / count


# -- element by element ---------------------------------------------------------------------------------------------


def pair_loss(body: Callable[..., Any], name: str = "") -> Callable[..., Any]:
    """An op of (input, target) of one shape from `body(xp, x, t, **params) -> losses, vjp of both`.

    Checks the shapes, computes 16-bit floats in float32, and reduces. name: what errors call it, if not by its body.
    """
    name = name or body.__name__

    def loss(input: Any, target: Any, *, reduction: str = "mean", **params: Any) -> Any:
        floating(input, name)
        if input.shape != target.shape:
            raise ValueError(
                f"{name}: expected input and target of one shape, got {input.shape} and {target.shape}; "
                "broadcasting would average over pairs that do not belong together"
            )
        batch = reduction == "batchmean"
        check_reduction(name, "sum" if batch and name == "kl_div" else reduction)
        xp, dtype = namespace(input, target), input.dtype
        losses, both = body(xp, wide(input), wide(target), **params)
        count = (input.shape[0] if batch and input.ndim else input.size) or math.nan  # nothing has no mean
        mean = reduction in ("mean", "batchmean")

        def vjp(g: Any) -> Any:
            g = wide(g) / count if mean else wide(g)
            gx, gt = both(g)
            return narrow(gx, dtype), gt  # `g` of one value broadcasts to every element

        return narrow(reduced(xp, losses, "mean" if mean else reduction, count), dtype), vjp

    loss.__name__, loss.__qualname__, loss.__doc__ = name, name, body.__doc__
    return op(loss)


@pair_loss
def mse_loss(xp: Any, x: Any, t: Any) -> Any:
    """(input - target)^2.  Both of one shape -> that shape, or a scalar under "mean" and "sum".

    >>> import weft
    >>> weft.mse_loss(weft.asarray([1.0, 2.0]), weft.asarray([1.0, 4.0])).item()
    2.0
    """
    d = x - t
    return d * d, lambda g: ((gx := 2 * g * d), -gx)


@pair_loss
def l1_loss(xp: Any, x: Any, t: Any) -> Any:
    """|input - target|.  Both of one shape -> that shape, or a scalar under "mean" and "sum".

    >>> weft.l1_loss(weft.asarray([1.0, 2.0]), weft.asarray([1.0, 5.0])).item()
    1.5
    """
    d = x - t
    return xp.abs(d), lambda g: ((gx := g * xp.sign(d)), -gx)


@pair_loss
def smooth_l1_loss(xp: Any, x: Any, t: Any, *, beta: float = 1.0) -> Any:
    """d^2 / (2 beta) where |d| < beta, |d| - beta / 2 elsewhere, d = input - target (Girshick, 2015).

    Both of one shape -> that shape, or a scalar under "mean" and "sum".  ValueError for a negative beta.

    >>> weft.smooth_l1_loss(weft.asarray([0.5, 3.0]), weft.asarray([0.0, 0.0]), reduction="none").numpy()
    array([0.125, 2.5  ], dtype=float32)
    """
    if beta < 0:
        raise ValueError(f"smooth_l1_loss: expected beta >= 0, got {beta}")
    d = x - t
    a = xp.abs(d)
    if not beta:
        return a, lambda g: ((gx := g * xp.sign(d)), -gx)
    near = a < beta
    losses = xp.where(near, d * d * (0.5 / beta), a - 0.5 * beta)
    return losses, lambda g: ((gx := g * xp.where(near, d / beta, xp.sign(d))), -gx)


@pair_loss
def huber_loss(xp: Any, x: Any, t: Any, *, delta: float = 1.0) -> Any:
    """d^2 / 2 where |d| <= delta, delta (|d| - delta / 2) elsewhere, d = input - target (Huber, 1964).

    Both of one shape -> that shape, or a scalar under "mean" and "sum".  ValueError unless delta > 0.

    >>> weft.huber_loss(weft.asarray([0.5, 3.0]), weft.asarray([0.0, 0.0]), reduction="none").numpy()
    array([0.125, 2.5  ], dtype=float32)
    """
    if delta <= 0:
        raise ValueError(f"huber_loss: expected delta > 0, got {delta}")
    d = x - t
    a = xp.abs(d)
    losses = xp.where(a <= delta, 0.5 * d * d, delta * (a - 0.5 * delta))
    return losses, lambda g: ((gx := g * held(xp, d, -delta, delta)), -gx)


@pair_loss
def kl_div(xp: Any, x: Any, t: Any, *, log_target: bool = False) -> Any:
    """target * (log(target) - input): the divergence of log-probabilities `input` from `target`.

    Both of one shape -> that shape, or a scalar; reduction "batchmean" divides the sum by the first axis, which is the
    divergence as defined.  log_target: `target` holds logarithms too.

    >>> p = weft.asarray([[0.5, 0.5]])
    >>> weft.kl_div(weft.log(p), p, reduction="batchmean").item()
    0.0
    """
    if log_target:
        p = xp.exp(t)
        return p * (t - x), lambda g: (-g * p, g * p * (t - x + 1))
    some = t > 0
    log = xp.log(xp.where(some, t, xp.ones_like(t)))
    return xp.where(some, t * log, xp.zeros_like(t)) - t * x, lambda g: (-g * t, g * (log + 1 - x))


def weighted(losses: Any, weight: Any, reduction: str, name: str) -> Any:
    """Elementwise losses times `weight`, which must broadcast to them, then reduced."""
    check_reduction(name, reduction)
    if weight is not None:
        if np.broadcast_shapes(losses.shape, weight.shape) != losses.shape:
            raise ValueError(f"{name}: expected a weight that broadcasts to {losses.shape}, got {weight.shape}")
        losses = losses * weight
    return losses if reduction == "none" else losses.mean() if reduction == "mean" else losses.sum()


@partial(pair_loss, name="binary_cross_entropy")
def of_probabilities(xp: Any, x: Any, t: Any) -> Any:
    """-(t log x + (1 - t) log(1 - x)), each logarithm held above -100 as in PyTorch."""
    check("probability", x, "binary_cross_entropy: expected probabilities in [0, 1] (binary_cross_entropy_with_logits "
                            "takes raw scores)")  # fmt: skip
    tiny = 1e-44  # log(1e-44) is below -100: keeps log(0) and its warning away
    yes, no = xp.maximum(xp.log(xp.maximum(x, tiny)), -100), xp.maximum(xp.log(xp.maximum(1 - x, tiny)), -100)
    return -(t * yes + (1 - t) * no), lambda g: (g * (x - t) / xp.maximum(x * (1 - x), 1e-12), g * (no - yes))


def binary_cross_entropy(input: Any, target: Any, weight: Any = None, *, reduction: str = "mean") -> Tensor:
    """-(target log(input) + (1 - target) log(1 - input)), for probabilities `input`.

    Both of one shape -> that shape, or a scalar under "mean" and "sum".  ValueError names an input outside [0, 1] and
    its position.

    >>> weft.binary_cross_entropy(weft.asarray([0.5, 1.0]), weft.asarray([1.0, 1.0]), reduction="none").numpy()
    array([ 0.6931472, -0.       ], dtype=float32)
    """
    if weight is None:
        return of_probabilities(input, target, reduction=reduction)
    return weighted(of_probabilities(input, target, reduction="none"), weight, reduction, "binary_cross_entropy")


@partial(pair_loss, name="binary_cross_entropy_with_logits")
def of_logits(xp: Any, x: Any, t: Any) -> Any:
    """log(1 + exp(x)) - t x, without overflow."""
    losses = xp.maximum(x, 0) - x * t + xp.log1p(xp.exp(-xp.abs(x)))
    return losses, lambda g: (g * (xp.sigmoid(x) - t), -g * x)


def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, *, pos_weight: Any = None, reduction: str = "mean"
) -> Tensor:
    """Binary cross-entropy of sigmoid(input), without its overflow.

    Both of one shape -> that shape, or a scalar under "mean" and "sum".  weight: of each element; pos_weight: of the
    positive class, broadcast over the last axes.

    >>> weft.binary_cross_entropy_with_logits(weft.asarray([0.0]), weft.asarray([1.0])).item()
    0.6931471824645996
    """
    if weight is None and pos_weight is None:
        return of_logits(input, target, reduction=reduction)
    losses = of_logits(input, target, reduction="none")
    if pos_weight is not None:  # adds (pos_weight - 1) times the positive part, -t log(sigmoid(x))
        from weft.ops.activation import logsigmoid

        losses = losses - (pos_weight - 1) * (target * logsigmoid(input))
    return weighted(losses, weight, reduction, "binary_cross_entropy_with_logits")


# -- one label, or one distribution, for each sample ------------------------------------------------------------------


def class_rows(x: Any) -> Any:
    """(N, C, ...) -> (N * ..., C)."""
    if x.ndim == 2:
        return x
    xp = namespace(x)
    return xp.reshape(xp.moveaxis(x, 1, -1), (-1, x.shape[1]))


def class_axis(rows: Any, shape: tuple[int, ...]) -> Any:
    """(N * ..., C) -> (N, C, ...), the reverse of `class_rows`."""
    if len(shape) == 2:
        return rows
    xp = namespace(rows)
    return xp.moveaxis(xp.reshape(rows, (shape[0], *shape[2:], shape[1])), -1, 1)


def check_classes(name: str, input: Any, target: Any, weight: Any) -> None:
    """Labels must be (N, ...) integers for input (N, C, ...), and class weights (C,)."""
    floating(input, name)
    expected = input.shape[:1] + input.shape[2:]
    if input.ndim < 2 or target.shape != expected or target.dtype.kind not in "iu":
        raise ValueError(
            f"{name}: expected input (N, C, ...) and integer labels (N, ...), got {input.shape} and "
            f"{target.dtype} {target.shape}"
        )
    if weight is not None and weight.shape != input.shape[1:2]:
        raise ValueError(f"{name}: expected weight ({input.shape[1]},) for input {input.shape}, got {weight.shape}")


def label_rows(xp: Any, target: Any, ignore_index: int) -> Any:
    """(N, ...) integers of any type -> (N * ...,) int64, or int32 as they are where that holds `ignore_index`."""
    rows = target if target.ndim == 1 else xp.reshape(target, (-1,))
    if rows.dtype == np.int64 or (rows.dtype == np.int32 and -(1 << 31) <= ignore_index < 1 << 31):
        return rows
    return xp.astype(rows, np.dtype(np.int64))


def weight_of_labels(xp: Any, labels: Any, weight: Any, ignore_index: int) -> Any:
    """What "mean" divides by: the number of labels that count (NaN for none), or the sum of their class weights."""
    keep = xp.not_equal(labels, ignore_index)
    if weight is None:
        raw = keep.data if isinstance(keep, Tensor) else keep
        if isinstance(raw, np.ndarray):
            return int(np.count_nonzero(raw)) or float("nan")
        return namespace(raw).sum(namespace(raw).astype(raw, np.dtype(np.float32)))  # 0 / 0 is NaN there too
    safe = xp.where(keep, labels, xp.zeros_like(labels))
    each = xp.take(weight, safe, axis=0)
    return xp.sum(xp.where(keep, each, xp.zeros_like(each)))


def label_counts(xp: Any, rows: Any, labels: Any, ignore_index: int) -> Any:
    """How many labels of each class count, (C,)."""
    keep, _, hot = spread_of(rows, labels, ignore_index)
    return xp.sum(xp.astype(xp.logical_and(hot, keep), rows.dtype), axis=0)


def weight_gradient(g: Any, logp: Any, labels: Any, ignore_index: int, label_smoothing: float) -> Any:
    """Gradient of the class weights (C,) for gradients g (N,) or () of the losses."""
    xp = namespace(g, logp)
    keep, _, hot = spread_of(logp, labels, ignore_index)
    share = xp.astype(hot, logp.dtype) * (1 - label_smoothing) + label_smoothing / logp.shape[1]
    zero = xp.zeros_like(logp)
    parts = xp.where(xp.logical_and(keep, share > 0), share * logp, zero)  # -inf * 0 is no loss
    return -xp.sum(parts * xp.reshape(g, (-1, 1)), axis=0)


@op(name="cross_entropy")
def cross_entropy_of_labels(
    input: Any, target: Any, weight: Any = None, *, ignore_index: int, reduction: str, label_smoothing: float,
    wide_loss: bool = False,
) -> Any:  # fmt: skip
    """cross_entropy where `target` holds integers.  wide_loss: a loss of float32 from 16-bit logits."""
    check_classes("cross_entropy", input, target, weight)
    xp, shape, dtype = namespace(input), input.shape, input.dtype
    if target.dtype == np.uint64:  # the largest would wrap to negative ones
        check_labels(target, shape[1], ignore_index)
    rows, labels = class_rows(input), label_rows(xp, target, ignore_index)
    options = {"ignore_index": ignore_index, "label_smoothing": label_smoothing}
    held = [rows]  # of `input_vjp` alone, which may be the last to need them
    losses, lse = K.cross_entropy(rows, labels, weight, **options, shape=target.shape)
    count = weight_of_labels(xp, labels, wide(weight), ignore_index) if reduction == "mean" else None
    out = xp.reshape(losses, target.shape) if reduction == "none" else reduced(xp, losses, reduction, count)

    def of_each(g: Any) -> Any:
        each = wide(g) if count is None else wide(g) / count
        return namespace(g).reshape(each, (-1,))  # (N,), or (1,) for all

    def input_vjp(g: Any) -> Any:
        spare = state.freeing and writes.alone(held)
        grad = K.cross_entropy_backward(of_each(g), held[0], labels, weight, lse, **options, spare=spare)
        return class_axis(grad, shape)

    def weight_vjp(g: Any) -> Any:
        logp = rows - xp.reshape(lse, (-1, 1))
        each = of_each(g)
        grad = weight_gradient(each, logp, labels, ignore_index, label_smoothing)
        return grad if count is None else grad - each * out * label_counts(xp, rows, labels, ignore_index)

    return out if wide_loss else narrow(out, dtype), (input_vjp, None, weight_vjp)


@op(name="cross_entropy")
def cross_entropy_of_probabilities(
    input: Any, target: Any, weight: Any = None, *, reduction: str, label_smoothing: float
) -> Any:
    """cross_entropy where `target` holds a distribution over the classes for each sample."""
    xp, shape, dtype = namespace(input, target), input.shape, input.dtype
    logp = K.log_softmax(wide(input), axis=1)
    column = (-1,) + (1,) * (input.ndim - 2)
    t = wide(target)
    if label_smoothing:
        t = t * (1 - label_smoothing) + label_smoothing / shape[1]
    if weight is not None:
        t = t * xp.reshape(wide(weight), column)
    count = max(input.size // max(shape[1], 1), 1)
    out = reduced(xp, -xp.sum(t * logp, axis=1), reduction, count)

    def of_each(g: Any) -> Any:
        xp = namespace(g)
        g = wide(g) / count if reduction == "mean" else wide(g)
        return xp.broadcast_to(-xp.expand_dims(g, axis=1) if reduction == "none" else -g, shape)

    def target_vjp(g: Any) -> Any:
        g = of_each(g) * logp * (1 - label_smoothing)
        return g if weight is None else g * xp.reshape(wide(weight), column)

    def weight_vjp(g: Any) -> Any:
        t = wide(target) * (1 - label_smoothing) + label_smoothing / shape[1]
        return namespace(g).sum(of_each(g) * t * logp, axis=(0, *range(2, logp.ndim)))

    input_vjp = lambda g: narrow(K.log_softmax_backward(of_each(g) * t, logp, axis=1), dtype)
    return narrow(out, dtype), (input_vjp, target_vjp, weight_vjp)


def as_target(target: Any, input: Any) -> Any:
    return target if hasattr(target, "dtype") else beside(target, input)


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-log of the probability that softmax(input) gives to the target class.

    input (N, C, ...) raw scores, or (C,) for one sample; target: integer labels (N, ...), or probabilities (N, C, ...)
    -> losses (N, ...), or a scalar under "mean" and "sum".  weight (C,) of each class; labels equal to `ignore_index`
    do not count; label_smoothing in [0, 1] mixes in the uniform distribution (Szegedy et al., 2016).
    IndexError names a label outside [0, C) and its position; ValueError where the shapes do not fit.

    >>> import weft
    >>> weft.cross_entropy(weft.asarray([[0.0, 0.0]]), weft.asarray([1])).item()
    0.6931471824645996
    """
    check_reduction("cross_entropy", reduction)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: expected label_smoothing in [0, 1], got {label_smoothing}")
    target = as_target(target, input)
    if input.ndim == 1 and target.ndim == (0 if target.dtype.kind in "iu" else 1):
        one = (1, *target.shape)
        options: Any = {"ignore_index": ignore_index, "label_smoothing": label_smoothing}
        target = namespace(target).reshape(target, one)
        out = cross_entropy(input.reshape((1, -1)), target, weight, reduction=reduction, **options)
        return out.reshape(()) if reduction == "none" else out
    if target.dtype.kind in "iu" and not (target.ndim == input.ndim and target.shape == input.shape):
        return cross_entropy_of_labels(
            input, target, weight, ignore_index=ignore_index, reduction=reduction, label_smoothing=label_smoothing,
            wide_loss=state.casting is not None,
        )  # fmt: skip
    floating(input, "cross_entropy")
    if target.dtype.kind not in "fV" or target.shape != input.shape or input.ndim < 2:
        raise ValueError(
            f"cross_entropy: expected input (N, C, ...) and integer labels (N, ...) or probabilities (N, C, ...), got "
            f"{input.shape} and {target.dtype} {target.shape}"
        )
    if weight is not None and weight.shape != input.shape[1:2]:
        raise ValueError(f"cross_entropy: expected weight ({input.shape[1]},) for {input.shape}, got {weight.shape}")
    return cross_entropy_of_probabilities(input, target, weight, reduction=reduction, label_smoothing=label_smoothing)


@op(name="nll_loss")
def nll_of_labels(input: Any, target: Any, weight: Any = None, *, ignore_index: int, reduction: str) -> Any:
    """nll_loss where the shapes have been put in order."""
    check_classes("nll_loss", input, target, weight)
    check_labels(target, input.shape[1], ignore_index, "nll_loss")
    xp, shape, dtype = namespace(input), input.shape, input.dtype
    rows, labels = class_rows(wide(input)), label_rows(xp, target, ignore_index)
    keep, safe, hot = spread_of(rows, labels, ignore_index)
    each = xp.ones_like(rows[:, :1])  # (N, 1), what a label's loss weighs
    if weight is not None:
        each = xp.reshape(xp.take(wide(weight), xp.reshape(safe, (-1,)), axis=0), (-1, 1))
    each = xp.where(keep, each, xp.zeros_like(each))
    losses = xp.where(keep, -each * xp.take_along_axis(rows, safe, axis=1), xp.zeros_like(each))
    count = xp.sum(each)
    out = xp.reshape(losses, target.shape) if reduction == "none" else reduced(xp, losses, reduction, count)

    def of_each(g: Any) -> Any:
        g = wide(g)
        return namespace(g).reshape(g, (-1,)) if reduction == "none" else g / count if reduction == "mean" else g

    def input_vjp(g: Any) -> Any:
        grad = xp.where(hot, -each * xp.reshape(of_each(g), (-1, 1)), xp.zeros_like(rows))
        return class_axis(narrow(grad, dtype), shape)

    def weight_vjp(g: Any) -> Any:
        grad = weight_gradient(of_each(g), rows, labels, ignore_index, 0.0)
        return grad if reduction != "mean" else grad - of_each(g) * out * label_counts(xp, rows, labels, ignore_index)

    return narrow(out, dtype), (input_vjp, None, weight_vjp)


def nll_loss(
    input: Any, target: Any, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean"
) -> Tensor:
    """Minus the log-probability of the target class.

    input (N, C, ...) log-probabilities, or (C,) for one sample; target (N, ...) integer labels -> losses (N, ...), or
    a scalar under "mean" (weighted by class weights) and "sum".  IndexError names a label outside [0, C) and where.

    >>> import weft
    >>> weft.nll_loss(weft.asarray([[-0.5, -1.0]]), weft.asarray([1])).item()
    1.0
    """
    check_reduction("nll_loss", reduction)
    target = as_target(target, input)
    if input.ndim == 1 and target.ndim == 0:
        target = namespace(target).reshape(target, (1,))
        out = nll_of_labels(input.reshape((1, -1)), target, weight, ignore_index=ignore_index, reduction=reduction)
        return out.reshape(()) if reduction == "none" else out
    return nll_of_labels(input, target, weight, ignore_index=ignore_index, reduction=reduction)
