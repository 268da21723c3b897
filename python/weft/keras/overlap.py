"""Metrics of segmentation: how much of what is labelled and what is found is both."""

from __future__ import annotations

from typing import Any

import numpy as np

from weft.keras.metric import Metric, array, fitting, weights_of


class IoU(Metric):
    """The mean, over target_class_ids, of |A B| / |A or B|, labels and predictions being class numbers.

    ignore_class: labels that do not count. sparse_y_true, sparse_y_pred: false for scores or one-hot vectors on `axis`.
    Classes that are in neither do not count.

    >>> from weft import keras
    >>> round(keras.metrics.IoU(num_classes=2, target_class_ids=[0])([0, 0, 1, 1], [0, 1, 0, 1]), 4)
    0.3333
    """

    direction = "up"

    def __init__(self, num_classes: int, target_class_ids: Any, name: str | None = None, dtype: Any = None,
                 ignore_class: int | None = None, sparse_y_true: bool = True, sparse_y_pred: bool = True,
                 axis: int = -1):  # fmt: skip
        if any(not 0 <= i < num_classes for i in target_class_ids):
            raise ValueError(f"{type(self).__name__}: expected target_class_ids in [0, {num_classes}), "
                             f"got {list(target_class_ids)}")  # fmt: skip
        self.num_classes, self.target_class_ids = num_classes, list(target_class_ids)
        self.ignore_class, self.axis = ignore_class, axis
        self.sparse_y_true, self.sparse_y_pred = sparse_y_true, sparse_y_pred
        super().__init__(dtype, name)

    def reset_state(self) -> None:
        self.matrix = np.zeros((self.num_classes,) * 2)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        name, labels, found = type(self).__name__, array(y_true), array(y_pred)
        labels = labels if self.sparse_y_true else labels.argmax(self.axis)
        found = found if self.sparse_y_pred else found.argmax(self.axis)
        labels, found = fitting(name, labels, found)
        weights = np.ones(labels.shape) if sample_weight is None else weights_of(sample_weight, labels)
        labels, found, weights = labels.reshape(-1).astype(int), found.reshape(-1).astype(int), weights.reshape(-1)
        if self.ignore_class is not None:
            labels, found, weights = (x[labels != self.ignore_class] for x in (labels, found, weights))
        for x in (labels, found):
            if x.size and not (x.min() >= 0 and x.max() < self.num_classes):
                raise ValueError(f"{name}: expected classes 0 to {self.num_classes - 1}, got {x.min()} to {x.max()}")
        np.add.at(self.matrix, (labels, found), weights)

    def result(self) -> float:
        both = np.diag(self.matrix)
        either = (self.matrix.sum(0) + self.matrix.sum(1) - both)[self.target_class_ids]
        seen = either > 0
        return float((both[self.target_class_ids][seen] / either[seen]).mean()) if seen.any() else 0.0


class BinaryIoU(IoU):
    """`IoU` of classes 0 and 1, or one of them, predictions being 1 from `threshold` on.

    >>> from weft import keras
    >>> round(keras.metrics.BinaryIoU(threshold=0.3)([0, 1, 0, 1], [0.1, 0.2, 0.4, 0.7]), 4)
    0.3333
    """

    def __init__(self, target_class_ids: Any = (0, 1), threshold: float = 0.5, name: str | None = None,
                 dtype: Any = None):  # fmt: skip
        self.threshold = threshold
        super().__init__(2, target_class_ids, name, dtype)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        super().update_state(y_true, (array(y_pred) >= self.threshold).astype(int), sample_weight)


class MeanIoU(IoU):
    """`IoU` of all classes.

    >>> from weft import keras
    >>> round(keras.metrics.MeanIoU(num_classes=2)([0, 0, 1, 1], [0, 1, 0, 1]), 4)
    0.3333
    """

    def __init__(self, num_classes: int, name: str | None = None, dtype: Any = None, ignore_class: int | None = None,
                 sparse_y_true: bool = True, sparse_y_pred: bool = True, axis: int = -1):  # fmt: skip
        super().__init__(num_classes, range(num_classes), name, dtype, ignore_class, sparse_y_true, sparse_y_pred, axis)


class OneHotIoU(IoU):
    """`IoU` of one-hot labels and of predictions that are scores, or with sparse_y_pred class numbers.

    >>> from weft import keras
    >>> keras.metrics.OneHotIoU(2, [1])([[0, 1], [1, 0]], [[0.2, 0.8], [0.4, 0.6]])
    0.5
    """

    def __init__(self, num_classes: int, target_class_ids: Any, name: str | None = None, dtype: Any = None,
                 ignore_class: int | None = None, sparse_y_pred: bool = False, axis: int = -1):  # fmt: skip
        super().__init__(num_classes, target_class_ids, name, dtype, ignore_class, False, sparse_y_pred, axis)


class OneHotMeanIoU(MeanIoU):
    """`MeanIoU` of one-hot labels and of predictions that are scores, or with sparse_y_pred class numbers.

    >>> from weft import keras
    >>> keras.metrics.OneHotMeanIoU(2)([[0, 1], [1, 0]], [[0.2, 0.8], [0.4, 0.6]])
    0.25
    """

    def __init__(self, num_classes: int, name: str | None = None, dtype: Any = None, ignore_class: int | None = None,
                 sparse_y_pred: bool = False, axis: int = -1):  # fmt: skip
        super().__init__(num_classes, name, dtype, ignore_class, False, sparse_y_pred, axis)
