"""Metrics that see one batch at a time; their sums are exact, so a resumed run reports the same figures."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from weft.autograd import Tensor
from weft.backends.device import on_host
from weft.metrics.classification import Array, confusion_matrix, from_matrix


class Metric:
    """Base: define `reset`, `update(outputs, targets)`, `compute()`, and name the attributes that hold sums in `sums`.

    outputs: scores (N, ..., C), whose largest is the prediction, or (N, ...) like the targets: predicted 1 above 0 (a
    logit). targets: integers (N, ...); those equal to `ignore_index` do not count. A sample with a NaN among its scores
    is an error of the model, not of its guess: ValueError, as for a target that is no class.

    >>> class Largest(Metric):
    ...     sums = ("largest",)
    ...     def reset(self):
    ...         self.largest = 0.0
    ...     def update(self, outputs, targets):
    ...         self.largest = max(self.largest, float(outputs.max()))
    ...     def compute(self):
    ...         return self.largest
    >>> metric = Largest()
    >>> metric.update(weft.asarray([1.0, 5.0]), None)
    >>> metric.compute()
    5.0
    """

    sums: tuple[str, ...] = ()

    def __init__(self, ignore_index: int | None = None):
        self.ignore_index = ignore_index
        self.reset()

    def reset(self) -> None:
        raise NotImplementedError(f"{type(self).__name__}: expected a method `reset`, got none")

    def update(self, outputs: Any, targets: Any) -> None:
        raise NotImplementedError(f"{type(self).__name__}: expected a method `update`, got none")

    def compute(self) -> Any:
        raise NotImplementedError(f"{type(self).__name__}: expected a method `compute`, got none")

    def fresh(self) -> Metric:
        """The same metric with nothing seen."""
        other = copy.copy(self)
        other.reset()
        return other

    def state_dict(self) -> dict[str, Any]:
        """The sums so far."""
        return {name: getattr(self, name) for name in self.sums}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in self.sums:
            setattr(self, name, state[name])

    def labelled(self, outputs: Any, targets: Any) -> tuple[Array, Array]:
        """Labels and predictions of the samples that count, flat."""
        outputs, targets = raw(outputs), raw(targets)
        name = type(self).__name__
        if targets.dtype.kind not in "iub":
            raise ValueError(f"{name}: expected integer targets, got {targets.dtype} {targets.shape}")
        scored = outputs.dtype.kind not in "iub"
        if outputs.shape == targets.shape:
            predictions = outputs > 0 if scored else outputs
            classes = 2 if scored else None
        elif outputs.shape[:-1] == targets.shape:
            predictions = outputs.argmax(-1)
            classes = outputs.shape[-1]
        else:
            raise ValueError(f"{name}: expected outputs (N, ..., C) and targets (N, ...), got {outputs.shape} "
                             f"and {targets.shape}")  # fmt: skip
        if scored and np.isnan(outputs).any():
            raise ValueError(f"{name}: expected numbers as outputs, got NaN in {int(np.isnan(outputs).sum())} of them")
        labels, predictions = targets.reshape(-1).astype(np.int64), predictions.reshape(-1).astype(np.int64)
        if self.ignore_index is not None:
            counts = labels != self.ignore_index
            labels, predictions = labels[counts], predictions[counts]
        if classes is not None and labels.size and not (labels.min() >= 0 and labels.max() < classes):
            raise ValueError(f"{name}: expected targets in [0, {classes}) for outputs {outputs.shape}, "
                             f"got {labels.min()} to {labels.max()}")  # fmt: skip
        return labels, predictions


class Accuracy(Metric):
    """The share of predictions that are right, 0 to 1.

    >>> accuracy = Accuracy()
    >>> accuracy.update(weft.asarray([[0.1, 0.9], [0.8, 0.2]]), weft.asarray([1, 1]))
    >>> accuracy.compute()
    0.5
    """

    sums = ("right", "seen")

    def reset(self) -> None:
        self.right, self.seen = 0, 0

    def update(self, outputs: Any, targets: Any) -> None:
        labels, predictions = self.labelled(outputs, targets)
        self.right += int((labels == predictions).sum())
        self.seen += len(labels)

    def compute(self) -> float:
        return self.right / self.seen if self.seen else float("nan")


class TopK(Metric):
    """The share of labels among the k highest scores, 0 to 1; outputs (N, C), targets (N,).

    >>> top = TopK(k=2)
    >>> top.update(weft.asarray([[0.1, 0.2, 0.7], [0.8, 0.1, 0.1]]), weft.asarray([1, 0]))
    >>> top.compute()
    1.0
    """

    sums = ("right", "seen")

    def __init__(self, k: int = 5, ignore_index: int | None = None):
        self.k = k
        super().__init__(ignore_index)

    def reset(self) -> None:
        self.right, self.seen = 0, 0

    def update(self, outputs: Any, targets: Any) -> None:
        from weft.metrics.classification import top_k_accuracy

        scores, labels = raw(outputs), raw(targets)
        if self.ignore_index is not None:
            scores, labels = scores[labels != self.ignore_index], labels[labels != self.ignore_index]
        if len(labels):
            self.right += round(top_k_accuracy(labels, scores, self.k) * len(labels))
            self.seen += len(labels)

    def compute(self) -> float:
        return self.right / self.seen if self.seen else float("nan")


class ConfusionMatrix(Metric):
    """How often class i was taken for class j, int64 (C, C); C grows with what is seen unless `classes` says it.

    >>> matrix = ConfusionMatrix(2)
    >>> matrix.update(weft.asarray([[0.1, 0.9], [0.8, 0.2]]), weft.asarray([1, 1]))
    >>> matrix.compute()
    array([[0, 0],
           [1, 1]])
    """

    sums = ("matrix",)

    def __init__(self, classes: int | None = None, ignore_index: int | None = None):
        self.classes = classes
        super().__init__(ignore_index)

    def reset(self) -> None:
        self.matrix = np.zeros((self.classes or 0,) * 2, np.int64)

    def update(self, outputs: Any, targets: Any) -> None:
        labels, predictions = self.labelled(outputs, targets)
        largest = int(max(labels.max(initial=-1), predictions.max(initial=-1))) + 1
        if self.classes is None and largest > len(self.matrix):
            grow = largest - len(self.matrix)
            self.matrix = np.pad(self.matrix, ((0, grow), (0, grow)))
        # A new array rather than one written in place: a checkpoint may hold the old one.
        self.matrix = self.matrix + confusion_matrix(labels, predictions, len(self.matrix))

    def compute(self) -> Any:
        return self.matrix


class FromMatrix(ConfusionMatrix):
    kind = ""

    def __init__(self, average: str | None = "macro", classes: int | None = None, ignore_index: int | None = None):
        self.average = average
        from_matrix(self.kind, np.zeros((1, 1), np.int64), average)  # refuses a wrong average now, not after an epoch
        super().__init__(classes, ignore_index)

    def compute(self) -> Any:
        return from_matrix(self.kind, self.matrix, self.average)


class Precision(FromMatrix):
    """Of what was predicted as a class, the share that is it; `average` as in `weft.metrics.precision`.

    >>> precision = Precision(classes=2)
    >>> precision.update(weft.asarray([[0.1, 0.9], [0.8, 0.2]]), weft.asarray([1, 0]))
    >>> precision.compute()
    1.0
    """

    kind = "precision"


class Recall(FromMatrix):
    """Of what is a class, the share that was predicted as it; `average` as in `weft.metrics.recall`.

    >>> recall = Recall(classes=2)
    >>> recall.update(weft.asarray([[0.1, 0.9], [0.8, 0.2]]), weft.asarray([1, 0]))
    >>> recall.compute()
    1.0
    """

    kind = "recall"


class F1(FromMatrix):
    """The harmonic mean of precision and recall; `average` as in `weft.metrics.f1`.

    >>> f1 = F1(classes=2)
    >>> f1.update(weft.asarray([[0.1, 0.9], [0.8, 0.2]]), weft.asarray([1, 0]))
    >>> f1.compute()
    1.0
    """

    kind = "f1"


def raw(value: Any) -> Array:
    return on_host(value.data if isinstance(value, Tensor) else value)
