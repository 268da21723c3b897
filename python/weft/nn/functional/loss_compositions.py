"""Losses that are compositions of ops: of pairs and triplets, of distributions, of detection and segmentation.

reduction: "mean", "sum" or "none". 16-bit floats are computed in float32. Nothing is broadcast unless it says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from weft import ops
from weft.autograd import Tensor
from weft.backends.array import device_of, is_16_bit
from weft.nn.functional.shape import pairwise_distance
from weft.ops.activation import floating
from weft.ops.loss import weighted

__all__ = [
    "cosine_embedding_loss",
    "dice_loss",
    "focal_loss",
    "gaussian_nll_loss",
    "hinge_embedding_loss",
    "margin_ranking_loss",
    "poisson_nll_loss",
    "triplet_margin_loss",
]


def prepared(name: str, reduction: str, input: Any, *others: Any) -> tuple[list[Any], Callable[[Any], Any]]:
    """The inputs as Tensors, 16-bit floats in float32, and what reduces the losses and casts them back."""
    floating(input, name)
    dtype = input.dtype

    def wide(x: Any) -> Any:
        x = x if isinstance(x, Tensor) else ops.asarray(x, device=device_of(input))  # Python floats become float32
        return ops.astype(x, dtype="float32") if is_16_bit(x.dtype) else x

    def finished(losses: Any) -> Any:
        out = weighted(losses, None, reduction, name)
        return ops.astype(out, dtype=dtype) if is_16_bit(dtype) else out

    return [wide(x) for x in (input, *others)], finished


def same_shape(name: str, **given: Any) -> None:
    shapes = [x.shape for x in given.values()]
    if any(shape != shapes[0] for shape in shapes):
        got = ", ".join(map(str, shapes))
        raise ValueError(f"{name}: expected {' and '.join(given)} of one shape, got {got}")


def positive_part(x: Any) -> Any:
    """max(x, 0), whose gradient at 0 is 1, as of PyTorch's clamp_min."""
    return ops.clip(x, 0.0)


def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> Any:
    """max(|anchor - positive| - |anchor - negative| + margin, 0) of vectors along the last dimension.

    Three of one shape (N, D) or (D,) -> (N,) or (), reduced. p: of the norm; eps: added to each difference. swap: the
    nearer of anchor and positive to the negative counts (Balntas et al., 2016).

    >>> x = weft.asarray([[0.0, 0.0]])
    >>> F.triplet_margin_loss(x, x, x).item()
    1.0
    """
    (a, b, c), finished = prepared("triplet_margin_loss", reduction, anchor, positive, negative)
    same_shape("triplet_margin_loss", anchor=a, positive=b, negative=c)
    if margin <= 0:
        raise ValueError(f"triplet_margin_loss: expected margin > 0, got {margin}")
    near, far = pairwise_distance(a, b, p, eps), pairwise_distance(a, c, p, eps)
    if swap:
        far = ops.minimum(far, pairwise_distance(b, c, p, eps))
    return finished(positive_part(near - far + margin))


def cosine_embedding_loss(input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean") -> Any:
    """1 - cosine where target is 1, max(cosine - margin, 0) where it is -1.

    input1 and input2 (N, D) or (D,), target (N,) or () -> target's shape, reduced. margin in [-1, 1].

    >>> x = weft.asarray([[1.0, 0.0]])
    >>> F.cosine_embedding_loss(x, x, weft.asarray([1.0])).item()
    0.0
    """
    (a, b, t), finished = prepared("cosine_embedding_loss", reduction, input1, input2, target)
    same_shape("cosine_embedding_loss", input1=a, input2=b)
    if a.ndim not in (1, 2) or t.shape != a.shape[:-1]:
        raise ValueError(
            "cosine_embedding_loss: expected inputs (N, D) and target (N,), or (D,) and (), "
            f"got {a.shape} and {t.shape}"
        )
    squares = [ops.sum(x * x, axis=-1) + 1e-12 for x in (a, b)]
    cosine = ops.sum(a * b, axis=-1) / ops.sqrt(squares[0] * squares[1])
    return finished(ops.where(t == 1, 1 - cosine, 0.0) + ops.where(t == -1, positive_part(cosine - margin), 0.0))


def margin_ranking_loss(input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean") -> Any:
    """max(-target (input1 - input2) + margin, 0): target 1 says that input1 shall be larger, -1 that input2 shall.

    All of one shape -> that shape, reduced.

    >>> F.margin_ranking_loss(weft.asarray([1.0]), weft.asarray([3.0]), weft.asarray([1.0])).item()
    2.0
    """
    (a, b, t), finished = prepared("margin_ranking_loss", reduction, input1, input2, target)
    same_shape("margin_ranking_loss", input1=a, input2=b, target=t)
    return finished(positive_part(-t * (a - b) + margin))


def hinge_embedding_loss(input: Any, target: Any, margin: float = 1.0, reduction: str = "mean") -> Any:
    """input where target is 1, max(margin - input, 0) where it is -1: input is a distance.  One shape, reduced.

    >>> F.hinge_embedding_loss(weft.asarray([0.25, 0.25]), weft.asarray([1.0, -1.0])).item()
    0.5
    """
    (x, t), finished = prepared("hinge_embedding_loss", reduction, input, target)
    same_shape("hinge_embedding_loss", input=x, target=t)
    return finished(ops.where(t != 1, positive_part(margin - x), 0.0) + ops.where(t != -1, x, 0.0))


def poisson_nll_loss(
    input: Any,
    target: Any,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Any:
    """exp(input) - target input; input - target log(input + eps) without log_input.  One shape, reduced.

    The negative log-likelihood of counts `target` under a Poisson distribution of mean exp(input), or input. full: add
    Stirling's approximation of log(target!) where target > 1.

    >>> F.poisson_nll_loss(weft.asarray([0.0]), weft.asarray([2.0])).item()
    1.0
    """
    (x, t), finished = prepared("poisson_nll_loss", reduction, input, target)
    same_shape("poisson_nll_loss", input=x, target=t)
    losses = ops.exp(x) - t * x if log_input else x - t * ops.log(x + eps)
    if full:
        large = ops.where(t > 1, t, 1.0)
        stirling = large * ops.log(large) - large + 0.5 * ops.log(2 * math.pi * large)
        losses = losses + ops.where(t > 1, stirling, 0.0)
    return finished(losses)


def gaussian_nll_loss(
    input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Any:
    """(log(var) + (input - target)^2 / var) / 2: of a normal distribution with mean `input` and variance `var`.

    input and target of one shape; var of that shape, or with its last dimension 1 or left out, or a number -> that
    shape, reduced. var counts as at least eps, which its gradient passes over. full: add log(2 pi) / 2. ValueError for
    a negative number as var.  Nix and Weigend, 1994.

    >>> F.gaussian_nll_loss(weft.asarray([1.0]), weft.asarray([3.0]), weft.asarray([1.0])).item()
    2.0
    """
    (x, t, v), finished = prepared("gaussian_nll_loss", reduction, input, target, var)
    same_shape("gaussian_nll_loss", input=x, target=t)
    if v.ndim and v.shape != x.shape:
        if v.shape == x.shape[:-1]:
            v = ops.expand_dims(v, axis=-1)
        elif v.shape != (*x.shape[:-1], 1):
            raise ValueError(
                f"gaussian_nll_loss: expected var {x.shape}, {(*x.shape[:-1], 1)} or {x.shape[:-1]}, got {v.shape}"
            )
    if isinstance(var, (int, float)) and var < 0:
        raise ValueError(f"gaussian_nll_loss: expected var >= 0, got {var}")
    held = v + (ops.maximum(v.detach(), eps) - v.detach())
    losses = 0.5 * (ops.log(held) + (x - t) ** 2 / held)
    return finished(losses + 0.5 * math.log(2 * math.pi) if full else losses)


def focal_loss(
    input: Any,
    target: Any,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    reduction: str = "mean",
    weight: Any = None,
) -> Any:
    """-a (1 - p)^gamma log(p), with p the probability that is given to the truth: easy samples count for little.

    Two classes: input of raw scores and floating target in [0, 1], of one shape -> that shape, reduced; a is alpha
    where the target is 1 and 1 - alpha where it is 0 (alpha None: 1). More: input (N, C, ...) of raw scores and integer
    labels (N, ...) -> (N, ...), reduced; a is weight (C,) at the label, or 1. IndexError for a label out of range. Lin
    et al., "Focal loss for dense object detection" (2017).

    >>> F.focal_loss(weft.asarray([0.0]), weft.asarray([1.0])).item()
    0.043321698904037476
    """
    (x, t), finished = prepared("focal_loss", reduction, input, target)
    if gamma < 0:
        raise ValueError(f"focal_loss: expected gamma >= 0, got {gamma}")
    if t.dtype.kind in "iu":
        losses = ops.cross_entropy(x, t, reduction="none")  # -log p
        losses = losses * power_of_rest(ops.exp(-losses), gamma)
        return finished(losses if weight is None else losses * ops.take(weight, t, axis=0))
    same_shape("focal_loss", input=x, target=t)
    if weight is not None:
        raise ValueError(f"focal_loss: expected weight only with integer labels, got weight and {t.dtype} target")
    p = ops.sigmoid(x)
    losses = ops.binary_cross_entropy_with_logits(x, t, reduction="none")
    losses = losses * power_of_rest(p * t + (1 - p) * (1 - t), gamma)
    return finished(losses if alpha is None else losses * (alpha * t + (1 - alpha) * (1 - t)))


def power_of_rest(p: Any, gamma: float) -> Any:
    """(1 - p)^gamma; rounding may bring p past 1, where a root has no value and the power no slope."""
    return 1.0 if gamma == 0 else ops.maximum(1 - p, 1e-12 if gamma < 1 else 0.0) ** gamma


def dice_loss(input: Any, target: Any, smooth: float = 1.0, reduction: str = "mean") -> Any:
    """1 - (2 sum(input target) + smooth) / (sum(input^2) + sum(target^2) + smooth), of each channel of each sample.

    input: probabilities (N, C, ...), target of the same shape in [0, 1] -> (N, C), reduced; smooth: makes two empty
    masks agree.  Milletari, Navab and Ahmadi, "V-Net" (2016), whose smooth is 0.

    >>> x = weft.asarray([[[1.0, 0.0]]])
    >>> F.dice_loss(x, x).item()
    0.0
    """
    (x, t), finished = prepared("dice_loss", reduction, input, target)
    same_shape("dice_loss", input=x, target=t)
    if x.ndim < 3:
        raise ValueError(f"dice_loss: expected input (N, C, ...) with positions, got {x.shape}")
    if smooth < 0:
        raise ValueError(f"dice_loss: expected smooth >= 0, got {smooth}")
    axes = tuple(range(2, x.ndim))
    both = 2 * ops.sum(x * t, axis=axes) + smooth
    return finished(1 - both / (ops.sum(x * x, axis=axes) + ops.sum(t * t, axis=axes) + smooth))
