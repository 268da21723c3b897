"""Figures of classification over whole arrays of labels and predictions; labels first, as in scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
AVERAGES = ("macro", "micro", "weighted", "binary", None)


def confusion_matrix(labels: Any, predictions: Any, classes: int | None = None) -> Array:
    """How often class i was taken for class j, int64 (C, C): rows are labels, columns predictions.

    labels, predictions: integers of one shape, in [0, C). classes: C; one more than the largest if left out.
    ValueError if shapes differ or a class is out of range.

    >>> confusion_matrix([0, 0, 1, 1], [0, 1, 1, 1]).tolist()
    [[1, 1], [0, 2]]
    """
    labels, predictions = check_pair("confusion_matrix", labels, predictions)
    largest = int(max(labels.max(initial=-1), predictions.max(initial=-1)))
    smallest = int(min(labels.min(initial=0), predictions.min(initial=0)))
    c = largest + 1 if classes is None else classes
    if smallest < 0 or largest >= c:
        raise ValueError(f"confusion_matrix: expected classes in [0, {c}), got {smallest} to {largest}")
    return np.bincount(labels * c + predictions, minlength=c * c).reshape(c, c)


def accuracy(labels: Any, predictions: Any) -> float:
    """The share of predictions that are the label, 0 to 1; NaN without samples.

    labels, predictions: integers of one shape.

    >>> accuracy([0, 1, 2, 2], [0, 1, 1, 2])
    0.75
    """
    labels, predictions = check_pair("accuracy", labels, predictions)
    return float((labels == predictions).mean()) if labels.size else float("nan")


def balanced_accuracy(labels: Any, predictions: Any) -> float:
    """The mean of the recalls of the classes that occur among the labels, 0 to 1; NaN without samples.

    >>> balanced_accuracy([0, 0, 0, 1], [0, 0, 0, 0])
    0.5
    """
    matrix = confusion_matrix(labels, predictions)
    counts = matrix.sum(axis=1)
    present = counts > 0
    return float((np.diag(matrix)[present] / counts[present]).mean()) if present.any() else float("nan")


def precision(labels: Any, predictions: Any, average: str | None = "macro", zero_division: float = 0.0) -> Any:
    """Of what was predicted as a class, the share that is it, 0 to 1.

    average: "macro" (mean over classes), "weighted" (mean by number of labels), "micro" (over all predictions),
    "binary" (of class 1 alone, where the classes are 0 and 1), or None for an array (C,). A class counts if it occurs
    in labels or predictions; zero_division stands for 0 / 0.

    >>> round(precision([0, 0, 1, 1], [0, 1, 1, 1]), 4)
    0.8333
    """
    return from_matrix("precision", confusion_matrix(labels, predictions), average, zero_division)


def recall(labels: Any, predictions: Any, average: str | None = "macro", zero_division: float = 0.0) -> Any:
    """Of what is a class, the share that was predicted as it, 0 to 1; arguments as `precision`.

    >>> recall([0, 0, 1, 1], [0, 1, 1, 1])
    0.75
    """
    return from_matrix("recall", confusion_matrix(labels, predictions), average, zero_division)


def f1(labels: Any, predictions: Any, average: str | None = "macro", zero_division: float = 0.0) -> Any:
    """The harmonic mean of precision and recall, 0 to 1; arguments as `precision`.

    >>> round(f1([0, 0, 1, 1], [0, 1, 1, 1]), 4)
    0.7333
    """
    return from_matrix("f1", confusion_matrix(labels, predictions), average, zero_division)


def top_k_accuracy(labels: Any, scores: Any, k: int = 5) -> float:
    """The share of labels that are among the k highest scores, 0 to 1; NaN without samples.

    labels (N,) integers, scores (N, C), 1 <= k <= C. Among equal scores the label is taken to come last.

    >>> top_k_accuracy([0, 2], [[0.1, 0.5, 0.4], [0.2, 0.3, 0.5]], k=2)
    0.5
    """
    scores = np.asarray(scores)
    labels = class_labels("top_k_accuracy", labels, scores)
    if not 1 <= k <= scores.shape[1]:
        raise ValueError(f"top_k_accuracy: expected 1 <= k <= {scores.shape[1]}, got {k}")
    if not labels.size:
        return float("nan")
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    behind = scores < own  # so that a NaN, on either side, never makes a label right
    return float(((~behind).sum(axis=1) <= k).mean())


def from_matrix(kind: str, matrix: Array, average: str | None, zero_division: float = 0.0) -> Any:
    """`kind` (precision, recall or f1) of a confusion matrix (C, C), averaged over its classes."""
    if average not in AVERAGES:
        raise ValueError(f"{kind}: expected average out of macro, micro, weighted, binary, None, got {average!r}")
    if average == "binary":
        if len(matrix) > 2:
            raise ValueError(f"{kind}: expected classes 0 and 1 with average='binary', got {len(matrix)} classes")
        matrix = np.pad(matrix, (0, 2 - len(matrix)))
    right, labels, predicted = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    if average == "micro":  # each sample has one label and one prediction, so the three figures are one: the accuracy
        return float(right.sum() / matrix.sum()) if matrix.sum() else zero_division
    over = {"precision": predicted, "recall": labels, "f1": (labels + predicted) / 2}[kind]
    each = np.divide(right, over, out=np.full(len(right), float(zero_division)), where=over > 0)
    if average is None:
        return each
    if average == "binary":
        return float(each[1])
    present = labels + predicted > 0
    if not present.any():
        return zero_division
    if average == "macro":
        return float(each[present].mean())
    return float((each * labels).sum() / labels.sum())


def averaged(name: str, each: Array, counts: Array, average: str | None) -> Any:
    """A figure per class (C,), NaN where it is not defined, averaged over the others, by `counts` (C,) if weighted."""
    if average is None:
        return each
    defined = ~np.isnan(each)
    if not defined.any():
        raise ValueError(f"{name}: expected at least two classes among the labels, got {int((counts > 0).sum())}")
    return float(np.average(each[defined], weights=counts[defined] if average == "weighted" else None))


def class_labels(name: str, labels: Any, scores: Array) -> Array:
    """Labels (N,) of scores (N, C) as int64; ValueError unless they are integers in [0, C)."""
    labels = np.asarray(labels)
    if scores.ndim != 2 or labels.shape != scores.shape[:1]:
        raise ValueError(f"{name}: expected labels (N,) and scores (N, C), got {labels.shape} and {scores.shape}")
    if labels.size and (labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= scores.shape[1]):
        raise ValueError(f"{name}: expected integer labels in [0, {scores.shape[1]}), "
                         f"got {labels.dtype} {labels.min()} to {labels.max()}")  # fmt: skip
    return labels.astype(np.int64)


def check_pair(name: str, labels: Any, predictions: Any) -> tuple[Array, Array]:
    """Both as flat int64 arrays; ValueError unless they are integers of one shape."""
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.shape != predictions.shape:
        raise ValueError(f"{name}: expected labels and predictions of one shape, "
                         f"got {labels.shape} and {predictions.shape}")  # fmt: skip
    for what, array in (("labels", labels), ("predictions", predictions)):
        if array.size and array.dtype.kind not in "iub":
            raise ValueError(f"{name}: expected integer {what}, got {array.dtype}")
    return labels.reshape(-1).astype(np.int64), predictions.reshape(-1).astype(np.int64)
