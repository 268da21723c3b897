"""Figures of scores over all thresholds: ROC and precision-recall curves, the areas under them, and a threshold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from weft.metrics.classification import Array, averaged, class_labels

AVERAGES = ("macro", "micro", "weighted", None)


class RocCurve(NamedTuple):
    """Shares at each threshold, highest threshold first; the first is infinity, where nothing is predicted 1.

    >>> roc_curve([0, 1], [0.2, 0.7]).thresholds.tolist()
    [inf, 0.7, 0.2]
    """

    false_positive_rate: Array  # of the 0s, the share that is predicted 1
    true_positive_rate: Array  # of the 1s
    thresholds: Array


class PrecisionRecallCurve(NamedTuple):
    """Precision and recall where scores >= threshold are predicted 1, lowest threshold first; then precision 1 at 0.

    >>> precision_recall_curve([0, 1], [0.2, 0.7]).thresholds.tolist()
    [0.2, 0.7]
    """

    precision: Array  # (n + 1,)
    recall: Array  # (n + 1,)
    thresholds: Array  # (n,)


def roc_curve(labels: Any, scores: Any) -> RocCurve:
    """False and true positive rates at every distinct score, each 0 to 1; equal scores change sides together.

    labels (N,) 0 or 1, scores (N,): the higher, the likelier 1. ValueError unless both classes occur and every score is
    a number.

    >>> curve = roc_curve([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    >>> curve.true_positive_rate.tolist(), curve.false_positive_rate.tolist()
    ([0.0, 0.5, 0.5, 1.0, 1.0], [0.0, 0.0, 0.5, 0.5, 1.0])
    """
    positives, scores = check_binary("roc_curve", labels, scores)
    if positives.all():
        raise ValueError(f"roc_curve: expected both classes among the labels, got {len(positives)} times 1 and no 0")
    hits, alarms, thresholds = cumulated(positives, scores)
    return RocCurve(np.r_[0, alarms] / alarms[-1], np.r_[0, hits] / hits[-1], np.r_[np.inf, thresholds])


def precision_recall_curve(labels: Any, scores: Any) -> PrecisionRecallCurve:
    """Precision and recall at every distinct score, each 0 to 1; arguments as `roc_curve`.

    ValueError unless a label is 1 and every score is a number.

    >>> curve = precision_recall_curve([0, 1, 1], [0.2, 0.3, 0.9])
    >>> [round(p, 3) for p in curve.precision.tolist()], curve.recall.tolist()
    ([0.667, 1.0, 1.0, 1.0], [1.0, 1.0, 0.5, 0.0])
    """
    positives, scores = check_binary("precision_recall_curve", labels, scores)
    hits, alarms, thresholds = cumulated(positives, scores)
    precision, recall = hits / (hits + alarms), hits / hits[-1]
    return PrecisionRecallCurve(np.r_[precision[::-1], 1.0], np.r_[recall[::-1], 0.0], thresholds[::-1])


def roc_auc(labels: Any, scores: Any, average: str | None = "macro", pairs: bool = False) -> Any:
    """The chance that a sample of the class scores above one that is not, ties counting half: 0 to 1, by chance 0.5.

    labels (N,) 0 or 1 with scores (N,); or labels (N,) in [0, C) with scores (N, C), each class against the rest; or
    several labels per sample, 0 or 1 (N, C), with scores (N, C). average: "macro" (mean over classes), "weighted" (by
    how often the class occurs), "micro" (over all entries at once), or None for an array (C,). A class that no sample
    has, or that every sample has, is NaN in that array and does not count in a mean. pairs: the mean over pairs of
    classes instead (Hand and Till, 2001), which does not depend on how often they occur; macro or weighted, labels
    (N,). ValueError for shapes that do not fit, a label out of range, a NaN, or no class to measure.

    >>> roc_auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    >>> round(roc_auc([0, 1, 2, 2], [[0.7, 0.2, 0.1], [0.1, 0.5, 0.4], [0.3, 0.3, 0.4], [0.1, 0.6, 0.3]]), 4)
    0.7639
    """
    if pairs:
        return auc_of_pairs(labels, scores, average)
    return over_classes("roc_auc", binary_auc, labels, scores, average)


def average_precision(labels: Any, scores: Any, average: str | None = "macro") -> Any:
    """The area under the precision-recall curve, as a sum of steps: 0 to 1, by chance the share of 1s.

    Arguments as `roc_auc`; a class that no sample has is NaN and does not count.

    >>> round(average_precision([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), 4)
    0.8333
    """
    return over_classes("average_precision", binary_average_precision, labels, scores, average)


def best_threshold(labels: Any, scores: Any, *, beta: float = 1.0, costs: tuple[float, float] | None = None) -> float:
    """The threshold at or above which to predict 1: that of the highest F-beta, or of the lowest cost.

    labels, scores: as `roc_curve`, of validation data. beta: how much more recall counts than precision. costs: (of a
    false alarm, of a miss) instead. Of equals, the highest threshold; infinity where predicting no 1 is cheapest.

    >>> best_threshold([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.35
    >>> best_threshold([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], costs=(5.0, 1.0))
    0.8
    """
    positives, scores = check_binary("best_threshold", labels, scores)
    if not beta > 0 or costs is not None and not (len(costs) == 2 and min(costs) >= 0):
        raise ValueError(f"best_threshold: expected beta > 0 and two costs >= 0, got {beta} and {costs}")
    hits, alarms, thresholds = cumulated(positives, scores)
    if costs is None:
        return float(thresholds[((1 + beta**2) * hits / (hits + alarms + beta**2 * hits[-1])).argmax()])
    cost = costs[0] * np.r_[0, alarms] + costs[1] * (hits[-1] - np.r_[0, hits])
    return float(np.r_[np.inf, thresholds][cost.argmin()])


# ---- one class


def cumulated(positives: Array, scores: Array) -> tuple[Array, Array, Array]:
    """How many 1s and 0s score at least each distinct score, and these scores, highest first."""
    order = np.argsort(-scores, kind="stable")
    scores, positives = scores[order], positives[order]
    last = np.r_[np.flatnonzero(scores[1:] != scores[:-1]), len(scores) - 1]  # the last of each run of equal scores
    hits = np.cumsum(positives)[last]
    return hits, last + 1 - hits, scores[last]


def binary_auc(positives: Array, scores: Array) -> float:
    hits, alarms, _ = cumulated(positives, scores)
    if not hits[-1] or not alarms[-1]:
        return float("nan")
    return float(np.trapezoid(np.r_[0, hits] / hits[-1], np.r_[0, alarms] / alarms[-1]))


def binary_average_precision(positives: Array, scores: Array) -> float:
    hits, alarms, _ = cumulated(positives, scores)
    return float((np.diff(np.r_[0, hits]) * hits / (hits + alarms)).sum() / hits[-1]) if hits[-1] else float("nan")


# ---- several classes


def over_classes(
    name: str, figure: Callable[[Array, Array], float], labels: Any, scores: Any, average: str | None
) -> Any:
    """`figure` of 0s and 1s, each class against the rest, averaged over the classes that it is defined for."""
    if average not in AVERAGES:
        raise ValueError(f"{name}: expected average out of macro, micro, weighted, None, got {average!r}")
    labels, scores = np.asarray(labels), numbers(name, "scores", scores)
    if scores.ndim == 1:
        positives, scores = check_binary(name, labels, scores)
        return defined(name, figure(positives, scores), positives)
    truth = one_hot(name, labels, scores)
    if not truth.size:
        raise ValueError(f"{name}: expected at least one sample, got labels {labels.shape} and scores {scores.shape}")
    if average == "micro":
        return defined(name, figure(truth.ravel(), scores.ravel()), truth)
    each = np.array([figure(truth[:, c], scores[:, c]) for c in range(scores.shape[1])])
    return averaged(name, each, truth.sum(axis=0), average)


def defined(name: str, value: float, positives: Array) -> float:
    if np.isnan(value):
        got = f"{positives.size} times 1 and no 0" if positives.any() else f"{positives.size} times 0 and no 1"
        raise ValueError(f"{name}: expected both classes among the labels, got {got}")
    return value


def auc_of_pairs(labels: Any, scores: Any, average: str | None) -> float:
    """Hand and Till's mean over pairs of the classes that occur."""
    if average not in ("macro", "weighted"):
        raise ValueError(f"roc_auc: expected average macro or weighted with pairs=True, got {average!r}")
    scores = numbers("roc_auc", "scores", scores)
    labels = class_labels("roc_auc", labels, scores)
    present = np.unique(labels)
    if len(present) < 2:
        raise ValueError(f"roc_auc: expected at least two classes among the labels, got {present.tolist()}")
    values, sizes = [], []
    for i, a in enumerate(present):
        for b in present[i + 1 :]:
            one, both = labels == a, (labels == a) | (labels == b)
            by_a = binary_auc(one[both], scores[both, a])
            by_b = binary_auc(~one[both], scores[both, b])
            values.append((by_a + by_b) / 2)
            sizes.append(both.sum())
    return float(np.average(values, weights=sizes if average == "weighted" else None))


def one_hot(name: str, labels: Array, scores: Array) -> Array:
    """Which classes each sample has, bool (N, C), from classes (N,) or from 0s and 1s (N, C)."""
    if labels.ndim == 1 or scores.ndim != 2:
        return class_labels(name, labels, scores)[:, None] == np.arange(scores.shape[1])
    if labels.shape != scores.shape:
        raise ValueError(f"{name}: expected labels (N,) or (N, C) and scores (N, C), "
                         f"got {labels.shape} and {scores.shape}")  # fmt: skip
    return zeros_and_ones(name, labels)


def check_binary(name: str, labels: Any, scores: Any) -> tuple[Array, Array]:
    """Labels as bool (N,) and scores (N,); ValueError unless they fit and a label is 1."""
    labels, scores = np.asarray(labels), numbers(name, "scores", scores)
    if labels.ndim != 1 or labels.shape != scores.shape:
        raise ValueError(f"{name}: expected labels (N,) and scores (N,), got {labels.shape} and {scores.shape}")
    positives = zeros_and_ones(name, labels)
    if not positives.any():
        raise ValueError(f"{name}: expected both classes among the labels, got {len(labels)} times 0 and no 1")
    return positives, scores


def zeros_and_ones(name: str, labels: Array) -> Array:
    if labels.size and (labels.dtype.kind not in "iub" or not ((labels == 0) | (labels == 1)).all()):
        raise ValueError(f"{name}: expected labels 0 or 1, got {labels.dtype} {np.unique(labels)[:8].tolist()}")
    return labels.astype(bool)


def numbers(name: str, what: str, values: Any) -> Array:
    """An array of real numbers without NaN, as float64."""
    try:
        array = np.asarray(values)
        array = array.astype(np.float64, casting="same_kind" if array.dtype.kind in "iu" else "safe")
    except (TypeError, ValueError):
        raise ValueError(f"{name}: expected numbers as {what}, got {np.asarray(values, object).dtype}") from None
    if np.isnan(array).any():
        raise ValueError(f"{name}: expected numbers as {what}, got NaN in {int(np.isnan(array).sum())} of them")
    return array
