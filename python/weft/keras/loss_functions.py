"""Losses as functions by Keras's names, over `weft.nn.functional`: a number per sample.

A cross entropy of what a softmax or sigmoid of `weft.keras` made is computed from the scores that went into it, which
loses no digits where a probability nears 0 or 1; other probabilities are cut to [1e-7, 1 - 1e-7], as in Keras.

Labels and predictions must have the same shape. (N,) beside (N, 1) means the same numbers and is lined up, row by row;
nothing is broadcast.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from weft import ops
from weft.autograd import Tensor
from weft.backends.device import beside
from weft.keras.activations import SCORES
from weft.keras.masks import set_mask
from weft.nn import functional as F

EPSILON = 1e-7
NO_CLASS = 1 - (1 << 31)  # what to ignore where no label is ignored: any label out of range is an error then


def tensor(x: Any) -> Tensor:
    return x if isinstance(x, Tensor) else Tensor(np.asarray(x))


def paired(name: str, y_true: Any, y_pred: Any) -> tuple[Tensor, Tensor]:
    """Both as Tensors of one shape, the labels in the dtype of the predictions."""
    y_pred = tensor(y_pred)
    y_true = Tensor(y_true) if not isinstance(y_true, Tensor) else y_true
    if y_true.dtype != y_pred.dtype:
        y_true = ops.astype(y_true, dtype=y_pred.dtype)
    y_true, y_pred = lined_up(y_true, y_pred)
    if y_true.shape != y_pred.shape:
        hint = ""
        if y_pred.ndim >= 1 and y_true.size and y_true.size == y_pred.size // max(y_pred.shape[-1], 1):
            hint = "; labels that are class numbers want sparse_categorical_crossentropy, or keras.utils.to_categorical"
        raise ValueError(f"{name}: expected labels of the predictions' shape {y_pred.shape}, got {y_true.shape}{hint}")
    return y_true, y_pred


def lined_up(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """(N, ..., 1) and (N, ...) in one shape; what else differs is left as it is."""
    if a.ndim == b.ndim + 1 and a.shape == (*b.shape, 1):
        return (a, ops.expand_dims(b, axis=-1)) if b.ndim == 1 else (ops.squeeze(a, axis=-1), b)
    if b.ndim == a.ndim + 1 and b.shape == (*a.shape, 1):
        b, a = lined_up(b, a)
    return a, b


def scores_of(y_pred: Any, kind: str) -> Any:
    """What a recorded softmax or sigmoid was made of, or None."""
    found = SCORES.get(y_pred)
    return found[1] if found is not None and found[0] == kind else None


def over_last(x: Any) -> Any:
    return ops.mean(x, axis=-1) if x.ndim else x


def smoothed(y_true: Any, label_smoothing: float, classes: int) -> Any:
    return y_true * (1 - label_smoothing) + label_smoothing / classes if label_smoothing else y_true


# ---- functions: (labels, predictions) -> a number per sample


def mean_squared_error(y_true: Any, y_pred: Any) -> Any:
    """mean((y_true - y_pred)^2) over the last axis.

    >>> from weft import keras
    >>> keras.losses.mean_squared_error([[1.0, 2.0]], weft.asarray([[1.0, 4.0]])).tolist()
    [2.0]
    """
    y_true, y_pred = paired("mean_squared_error", y_true, y_pred)
    return over_last(F.mse_loss(y_pred, y_true, "none"))


def mean_absolute_error(y_true: Any, y_pred: Any) -> Any:
    """mean(|y_true - y_pred|) over the last axis.

    >>> from weft import keras
    >>> keras.losses.mean_absolute_error([[1.0, 2.0]], weft.asarray([[1.0, 4.0]])).tolist()
    [1.0]
    """
    y_true, y_pred = paired("mean_absolute_error", y_true, y_pred)
    return over_last(F.l1_loss(y_pred, y_true, "none"))


def mean_absolute_percentage_error(y_true: Any, y_pred: Any) -> Any:
    """100 mean(|y_true - y_pred| / |y_true|) over the last axis.

    >>> from weft import keras
    >>> keras.losses.mean_absolute_percentage_error([[1.0, 2.0]], weft.asarray([[1.0, 4.0]])).tolist()
    [50.0]
    """
    y_true, y_pred = paired("mean_absolute_percentage_error", y_true, y_pred)
    return over_last(ops.abs((y_true - y_pred) / ops.maximum(ops.abs(y_true), EPSILON))) * 100


def mean_squared_logarithmic_error(y_true: Any, y_pred: Any) -> Any:
    """mean((log(1 + y_true) - log(1 + y_pred))^2) over the last axis; negative values count as 0.

    >>> from weft import keras
    >>> keras.losses.mean_squared_logarithmic_error([[1.0]], weft.asarray([[1.0]])).tolist()
    [0.0]
    """
    y_true, y_pred = paired("mean_squared_logarithmic_error", y_true, y_pred)
    logs = [ops.log(ops.maximum(x, EPSILON) + 1) for x in (y_true, y_pred)]
    return over_last((logs[0] - logs[1]) ** 2)


def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> Any:
    """Half the square of small differences, delta (|difference| - delta / 2) of large ones.

    >>> from weft import keras
    >>> keras.losses.huber([[1.0]], weft.asarray([[4.0]])).tolist()
    [2.5]
    """
    y_true, y_pred = paired("huber", y_true, y_pred)
    return over_last(F.huber_loss(y_pred, y_true, "none", delta))


def log_cosh(y_true: Any, y_pred: Any) -> Any:
    """mean(log(cosh(y_pred - y_true))) over the last axis.

    >>> from weft import keras
    >>> keras.losses.log_cosh([[1.0]], weft.asarray([[1.0]])).numpy().round(6)
    array([0.], dtype=float32)
    """
    y_true, y_pred = paired("log_cosh", y_true, y_pred)
    x = y_pred - y_true
    return over_last(x + F.softplus(x * -2) - float(np.log(2.0)))


def hinge(y_true: Any, y_pred: Any) -> Any:
    """mean(max(1 - y_true y_pred, 0)) over the last axis; labels are -1 and 1, or 0 and 1.

    >>> from weft import keras
    >>> keras.losses.hinge([[1.0]], weft.asarray([[0.25]])).tolist()
    [0.75]
    """
    y_true, y_pred = paired("hinge", y_true, y_pred)
    return over_last(F.relu(1 - signs("hinge", y_true) * y_pred))


def squared_hinge(y_true: Any, y_pred: Any) -> Any:
    """mean(max(1 - y_true y_pred, 0)^2) over the last axis; labels are -1 and 1, or 0 and 1.

    >>> from weft import keras
    >>> keras.losses.squared_hinge([[1.0]], weft.asarray([[0.5]])).tolist()
    [0.25]
    """
    y_true, y_pred = paired("squared_hinge", y_true, y_pred)
    return over_last(F.relu(1 - signs("squared_hinge", y_true) * y_pred) ** 2)


def signs(name: str, y_true: Any) -> Any:
    """Labels 0 and 1 as -1 and 1."""
    values = set(np.unique(tensor(y_true).numpy()).tolist())
    if not values <= {-1.0, 0.0, 1.0}:
        raise ValueError(f"{name}: expected labels -1 and 1, or 0 and 1, got {sorted(values)[:8]}")
    return y_true * 2 - 1 if -1.0 not in values else y_true


def categorical_hinge(y_true: Any, y_pred: Any) -> Any:
    """max(1 + the best wrong score - the right one, 0); labels one-hot.

    >>> from weft import keras
    >>> keras.losses.categorical_hinge([[1.0, 0.0]], weft.asarray([[0.5, 0.25]])).tolist()
    [0.75]
    """
    y_true, y_pred = paired("categorical_hinge", y_true, y_pred)
    right, wrong = ops.sum(y_true * y_pred, axis=-1), ops.max((1 - y_true) * y_pred, axis=-1)
    return F.relu(wrong - right + 1)


def kl_divergence(y_true: Any, y_pred: Any) -> Any:
    """sum(y_true log(y_true / y_pred)) over the last axis.

    >>> from weft import keras
    >>> keras.losses.kl_divergence([[0.5, 0.5]], weft.asarray([[0.5, 0.5]])).tolist()
    [0.0]
    """
    y_true, y_pred = (ops.clip(x, EPSILON, 1.0) for x in paired("kl_divergence", y_true, y_pred))
    return ops.sum(y_true * ops.log(y_true / y_pred), axis=-1)


def poisson(y_true: Any, y_pred: Any) -> Any:
    """mean(y_pred - y_true log(y_pred)) over the last axis.

    >>> from weft import keras
    >>> keras.losses.poisson([[3.0]], weft.asarray([[1.0]])).numpy().round(3)
    array([1.], dtype=float32)
    """
    y_true, y_pred = paired("poisson", y_true, y_pred)
    return over_last(y_pred - y_true * ops.log(y_pred + EPSILON))


def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """Minus the cosine of the angle between labels and predictions.

    >>> from weft import keras
    >>> keras.losses.cosine_similarity([[1.0, 0.0]], weft.asarray([[2.0, 0.0]])).tolist()
    [-1.0]
    """
    y_true, y_pred = paired("cosine_similarity", y_true, y_pred)
    return -ops.sum(F.normalize(y_true, dim=axis) * F.normalize(y_pred, dim=axis), axis=axis)


def binary_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Any:
    """-mean(y log(p) + (1 - y) log(1 - p)) over an axis, of probabilities or, from_logits, of scores.

    >>> from weft import keras
    >>> keras.losses.binary_crossentropy([[1.0]], weft.asarray([[0.5]])).numpy().round(4)
    array([0.6931], dtype=float32)
    """
    scores = y_pred if from_logits else scores_of(y_pred, "sigmoid")
    y_true, y_pred = paired("binary_crossentropy", y_true, y_pred if scores is None else scores)
    y_true = smoothed(y_true, label_smoothing, 2)
    if scores is not None:
        return ops.mean(F.binary_cross_entropy_with_logits(y_pred, y_true, reduction="none"), axis=axis)
    return ops.mean(F.binary_cross_entropy(ops.clip(y_pred, EPSILON, 1 - EPSILON), y_true, reduction="none"), axis=axis)


def log_probabilities(y_pred: Any, from_logits: bool, axis: int) -> Any:
    """log p of probabilities, which are brought to a sum of 1, or of scores."""
    last = axis in (-1, y_pred.ndim - 1)
    scores = y_pred if from_logits else scores_of(y_pred, "softmax") if last else None
    if scores is not None:
        return F.log_softmax(scores, axis)
    return ops.log(ops.clip(y_pred / ops.sum(y_pred, axis=axis, keepdims=True), EPSILON, 1 - EPSILON))


def categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Any:
    """-sum(y log(p)) over an axis, labels one-hot; of probabilities or, from_logits, of scores.

    >>> from weft import keras
    >>> keras.losses.categorical_crossentropy([[1.0, 0.0]], weft.asarray([[0.5, 0.5]])).numpy().round(4)
    array([0.6931], dtype=float32)
    """
    y_pred = tensor(y_pred)
    logs = log_probabilities(y_pred, from_logits, axis)
    y_true, _ = paired("categorical_crossentropy", y_true, y_pred)
    if y_pred.shape[axis] == 1:
        raise ValueError(f"categorical_crossentropy: expected predictions of at least 2 classes, got {y_pred.shape}; "
                         "for one probability per sample there is binary_crossentropy")  # fmt: skip
    return -ops.sum(smoothed(y_true, label_smoothing, y_pred.shape[axis]) * logs, axis=axis)


def sparse_categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, ignore_class: int | None = None, axis: int = -1
) -> Any:
    """-log(p) of the labelled class, labels integers; of probabilities or, from_logits, of scores.

    y_true (N, ...) or (N, ..., 1), y_pred (N, ..., C) -> (N, ...).  ValueError for a label that is no class.

    >>> from weft import keras
    >>> keras.losses.sparse_categorical_crossentropy([1], weft.asarray([[0.5, 0.5]])).numpy().round(4)
    array([0.6931], dtype=float32)
    """
    return cross_entropy_of_classes(y_true, y_pred, from_logits, ignore_class, axis)


def cross_entropy_of_classes(
    y_true: Any, y_pred: Any, from_logits: bool = False, ignore_class: int | None = None, axis: int = -1,
    reduction: str = "none",
) -> Any:  # fmt: skip
    """`sparse_categorical_crossentropy`, or its mean over all labels at once."""
    name = "sparse_categorical_crossentropy"
    y_pred, y_true = tensor(y_pred), tensor(y_true)
    if axis not in (-1, y_pred.ndim - 1):
        y_pred, axis = ops.moveaxis(y_pred, axis, -1), -1
    y_true = class_numbers(name, y_true, y_pred)
    labels = y_true if y_true.ndim == 1 else ops.reshape(y_true, (-1,))
    ignored = NO_CLASS if ignore_class is None else ignore_class
    options: dict[str, Any] = {"ignore_index": ignored, "reduction": reduction}
    scores = y_pred if from_logits else scores_of(y_pred, "softmax")
    if scores is not None:
        out = F.cross_entropy(in_rows(scores), labels, **options)
    else:
        out = F.nll_loss(log_probabilities(in_rows(y_pred), False, -1), labels, **options)
    if reduction != "none":
        return out
    out = out if y_true.ndim == 1 else ops.reshape(out, y_true.shape)
    if ignore_class is not None:
        set_mask(out, y_true != ignore_class)  # their mean is over the labels that count
    return out


def class_numbers(name: str, y_true: Any, y_pred: Any) -> Any:
    """Whole numbers (...) as labels of predictions (..., C); a last axis of size 1 is left out."""
    if y_true.ndim == y_pred.ndim and y_true.shape[-1] == 1:
        y_true = ops.squeeze(y_true, axis=-1)
    if y_true.shape != y_pred.shape[:-1]:
        hint = "; one-hot labels want categorical_crossentropy" if y_true.shape == y_pred.shape else ""
        raise ValueError(
            f"{name}: expected labels {y_pred.shape[:-1]} for predictions {y_pred.shape}, got {y_true.shape}{hint}"
        )
    if y_true.dtype.kind not in "iu":
        whole = ops.astype(y_true, dtype=np.int64)
        if y_true.dtype.kind != "b" and bool(ops.any(whole != y_true)):
            raise ValueError(f"{name}: expected whole numbers as labels, got {y_true.dtype} with fractions")
        y_true = whole
    return y_true


def in_rows(x: Any) -> Any:
    """(N, ..., C) as (N ..., C)"""
    return x if x.ndim == 2 else ops.reshape(x, (-1, x.shape[-1]))


def focal(p: Any, gamma: float) -> Any:
    return (1 - p) ** gamma


def binary_focal_crossentropy(
    y_true: Any, y_pred: Any, apply_class_balancing: bool = False, alpha: float = 0.25, gamma: float = 2.0,
    from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1,
) -> Any:  # fmt: skip
    """binary_crossentropy, each term times (1 - p of its label)^gamma.  Lin et al., 2017.

    >>> from weft import keras
    >>> keras.losses.binary_focal_crossentropy([[1.0]], weft.asarray([[0.5]])).numpy().round(4)
    array([0.1733], dtype=float32)
    """
    y_true, y_pred = paired("binary_focal_crossentropy", y_true, y_pred)
    y_true, p = smoothed(y_true, label_smoothing, 2), F.sigmoid(y_pred) if from_logits else y_pred
    clipped = ops.clip(p, EPSILON, 1 - EPSILON)
    losses = F.binary_cross_entropy(clipped, y_true, reduction="none")
    losses = losses * focal(y_true * p + (1 - y_true) * (1 - p), gamma)
    if apply_class_balancing:
        losses = losses * (y_true * alpha + (1 - y_true) * (1 - alpha))
    return ops.mean(losses, axis=axis)


def categorical_focal_crossentropy(
    y_true: Any, y_pred: Any, alpha: Any = 0.25, gamma: float = 2.0, from_logits: bool = False,
    label_smoothing: float = 0.0, axis: int = -1,
) -> Any:  # fmt: skip
    """categorical_crossentropy, each term times alpha (1 - p)^gamma.  Lin et al., 2017.

    >>> from weft import keras
    >>> keras.losses.categorical_focal_crossentropy([[1.0, 0.0]], weft.asarray([[0.5, 0.5]])).numpy().round(4)
    array([0.0433], dtype=float32)
    """
    y_true, y_pred = paired("categorical_focal_crossentropy", y_true, y_pred)
    p = F.softmax(y_pred, axis) if from_logits else y_pred
    p = ops.clip(p / ops.sum(p, axis=axis, keepdims=True), EPSILON, 1 - EPSILON)
    weights = focal(p, gamma) * (alpha if isinstance(alpha, float) else beside(np.asarray(alpha, p.dtype), p))
    return -ops.sum(smoothed(y_true, label_smoothing, y_pred.shape[axis]) * ops.log(p) * weights, axis=axis)


def dice(y_true: Any, y_pred: Any, axis: Any = None) -> Any:
    """1 - 2 |A B| / (|A| + |B|) over everything, or over `axis`.

    >>> from weft import keras
    >>> round(keras.losses.dice([[1.0, 0.0]], weft.asarray([[1.0, 1.0]])).item(), 4)
    0.3333
    """
    y_true, y_pred = paired("dice", y_true, y_pred)
    axis = tuple(axis) if isinstance(axis, list) else axis
    both, either = ops.sum(y_true * y_pred, axis=axis), ops.sum(y_true, axis=axis) + ops.sum(y_pred, axis=axis)
    return 1 - both * 2 / (either + EPSILON)


def tversky(y_true: Any, y_pred: Any, alpha: float = 0.5, beta: float = 0.5, axis: Any = None) -> Any:
    """1 - |A B| / (|A B| + alpha |A not B| + beta |B not A|), over everything or `axis`.  Salehi et al., 2017.

    >>> from weft import keras
    >>> round(keras.losses.tversky([[1.0, 0.0]], weft.asarray([[1.0, 1.0]])).item(), 4)
    0.3333
    """
    y_true, y_pred = paired("tversky", y_true, y_pred)
    axis = tuple(axis) if isinstance(axis, list) else axis
    both = ops.sum(y_true * y_pred, axis=axis)
    missed, wrong = ops.sum((1 - y_pred) * y_true, axis=axis), ops.sum(y_pred * (1 - y_true), axis=axis)
    return 1 - both / (both + missed * alpha + wrong * beta + EPSILON)


def categorical_generalized_cross_entropy(y_true: Any, y_pred: Any, q: float) -> Any:
    """(1 - p^q) / q, p the probability of the labelled class: robust to wrong labels.  Zhang and Sabuncu, 2018.

    y_true integers (N,) or (N, 1), y_pred (N, C) -> (N,).

    >>> from weft import keras
    >>> keras.losses.categorical_generalized_cross_entropy([1], weft.asarray([[0.75, 0.25]]), 0.5).tolist()
    [1.0]
    """
    y_true, y_pred = tensor(y_true), tensor(y_pred)
    labels = class_numbers("categorical_generalized_cross_entropy", y_true, y_pred)
    p = ops.sum(y_pred * ops.astype(F.one_hot(labels, y_pred.shape[-1]), dtype=y_pred.dtype), axis=-1)
    return (1 - p**q) / q


def ctc(y_true: Any, y_pred: Any) -> Any:
    """Minus the logarithm of the probability of a sequence of labels, over all alignments.  Graves et al., 2006.

    y_true (N, S), integers with 0 behind the end and for blanks; y_pred scores (N, T, C) -> (N,).

    >>> from weft import keras
    >>> round(keras.losses.ctc([[1, 2]], weft.zeros((1, 4, 3))).item(), 4)
    1.6864
    """
    labels, scores = tensor(y_true), tensor(y_pred)
    if labels.ndim != 2 or scores.ndim != 3 or len(labels) != len(scores):
        raise ValueError(f"ctc: expected labels (N, S) and scores (N, T, C), got {labels.shape} and {scores.shape}")
    labels = ops.astype(labels, dtype=np.int64)
    lengths = ops.sum(labels != 0, axis=1, dtype=np.int64)
    frames = ops.full((len(scores),), scores.shape[1], dtype=np.int64, device=scores.device)
    log_p = F.log_softmax(ops.swapaxes(scores, 0, 1), dim=2)
    return F.ctc_loss(log_p, labels, frames, lengths, reduction="none")


FUNCTIONS = (mean_squared_error, mean_absolute_error, mean_absolute_percentage_error, mean_squared_logarithmic_error,
             huber, log_cosh, hinge, squared_hinge, categorical_hinge, kl_divergence, poisson, cosine_similarity,
             binary_crossentropy, categorical_crossentropy, sparse_categorical_crossentropy, binary_focal_crossentropy,
             categorical_focal_crossentropy, dice, tversky, ctc, categorical_generalized_cross_entropy)  # fmt: skip
