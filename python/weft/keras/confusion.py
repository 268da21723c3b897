"""Metrics of decisions: counts of right and wrong ones, and the figures that are made of them."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from weft.keras.metric import Array, Metric, array, fitting, weights_of

TINY = 1e-7


def ratio(a: Any, b: Any) -> Any:
    """a / b, and 0 where b is 0."""
    return np.divide(a, b, out=np.zeros(np.broadcast_shapes(np.shape(a), np.shape(b))), where=np.asarray(b) != 0)


class Counts(Metric):
    """True and false positives and negatives at each of several thresholds."""

    def setup(self, thresholds: Any, top_k: int | None = None, class_id: int | None = None) -> None:
        self.many = isinstance(thresholds, (list, tuple, np.ndarray))
        default = -np.inf if top_k is not None else 0.5
        values = list(thresholds) if self.many else [default if thresholds is None else thresholds]
        if any(not -1e-3 < t < 1 + 1e-3 for t in values if t > -np.inf):
            raise ValueError(f"{type(self).__name__}: expected thresholds in [0, 1], got {thresholds}")
        self.thresholds: Array = np.asarray(values, np.float64)
        self.top_k, self.class_id = top_k, class_id

    def reset_state(self) -> None:
        self.tp, self.fp, self.tn, self.fn = (np.zeros(len(self.thresholds)) for _ in range(4))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        name = type(self).__name__
        labels, scores = fitting(name, y_true, y_pred)
        scores = scores.astype(np.float64)
        if not ((scores >= 0) & (scores <= 1)).all():
            raise ValueError(f"{name}: expected predictions in [0, 1], got {scores.min()} to {scores.max()}")
        weights = np.ones(scores.shape) if sample_weight is None else weights_of(sample_weight, scores)
        if self.top_k is not None:
            last = np.sort(scores, -1)[..., -self.top_k][..., None]
            scores = np.where(scores >= last, scores, -np.inf)
        if self.class_id is not None:
            labels, scores, weights = (x[..., self.class_id] for x in (labels, scores, weights))
        labels, flat, weights = labels.astype(bool).reshape(-1), scores.reshape(-1), weights.reshape(-1)
        order = np.argsort(flat)  # counts above each threshold, by where it falls among the sorted scores
        cut = np.searchsorted(flat[order], self.thresholds, side="right")
        for positive in (True, False):
            running = np.concatenate([[0.0], np.cumsum(np.where(labels == positive, weights, 0.0)[order])])
            above, below = running[-1] - running[cut], running[cut]
            if positive:
                self.tp, self.fn = self.tp + above, self.fn + below
            else:
                self.fp, self.tn = self.fp + above, self.tn + below

    def shown(self, values: Any) -> Any:
        return np.asarray(values) if self.many else float(values[0])


class Count(Counts):
    which: ClassVar[str]

    def __init__(self, thresholds: Any = None, name: str | None = None, dtype: Any = None):
        self.setup(thresholds)
        super().__init__(dtype, name)

    def result(self) -> Any:
        return self.shown(getattr(self, self.which))


class TruePositives(Count):
    """How many positive labels have predictions above the threshold.

    >>> from weft import keras
    >>> keras.metrics.TruePositives()([1, 0, 1], [0.9, 0.8, 0.2])
    1.0
    """

    direction = "up"

    which = "tp"


class FalsePositives(Count):
    """How many negative labels have predictions above the threshold.

    >>> from weft import keras
    >>> keras.metrics.FalsePositives()([1, 0, 1], [0.9, 0.8, 0.2])
    1.0
    """

    direction = "down"

    which = "fp"


class TrueNegatives(Count):
    """How many negative labels have predictions below the threshold.

    >>> from weft import keras
    >>> keras.metrics.TrueNegatives()([1, 0, 1], [0.9, 0.8, 0.2])
    0.0
    """

    direction = "up"

    which = "tn"


class FalseNegatives(Count):
    """How many positive labels have predictions below the threshold.

    >>> from weft import keras
    >>> keras.metrics.FalseNegatives()([1, 0, 1], [0.9, 0.8, 0.2])
    1.0
    """

    direction = "down"

    which = "fn"


class Share(Counts):
    def __init__(self, thresholds: Any = None, top_k: int | None = None, class_id: int | None = None,
                 name: str | None = None, dtype: Any = None):  # fmt: skip
        self.setup(thresholds, top_k, class_id)
        super().__init__(dtype, name)


class Precision(Share):
    """Of the predictions above the threshold, the share whose labels are positive.

    >>> from weft import keras
    >>> keras.metrics.Precision()([1, 0, 1], [0.9, 0.8, 0.2])
    0.5
    """

    direction = "up"

    def result(self) -> Any:
        return self.shown(ratio(self.tp, self.tp + self.fp))


class Recall(Share):
    """Of the positive labels, the share whose predictions are above the threshold.

    >>> from weft import keras
    >>> keras.metrics.Recall()([1, 0, 1], [0.9, 0.8, 0.2])
    0.5
    """

    direction = "up"

    def result(self) -> Any:
        return self.shown(ratio(self.tp, self.tp + self.fn))


class AUC(Counts):
    """The area under the "ROC" or "PR" curve, approximated by num_thresholds points.  Davis and Goadrich, 2006.

    >>> from weft import keras
    >>> round(keras.metrics.AUC()([0, 0, 1, 1], [0.0, 0.5, 0.3, 0.9]), 4)
    0.75
    """

    direction = "up"

    def __init__(self, num_thresholds: int = 200, curve: str = "ROC", summation_method: str = "interpolation",
                 name: str | None = None, dtype: Any = None, thresholds: Any = None, multi_label: bool = False,
                 num_labels: int | None = None, label_weights: Any = None, from_logits: bool = False):  # fmt: skip
        if multi_label or num_labels is not None or label_weights is not None:
            raise ValueError("AUC: expected one label per prediction; multi_label, num_labels and label_weights are "
                             "not there")  # fmt: skip
        methods = ("interpolation", "minoring", "majoring")
        if curve not in ("ROC", "PR") or summation_method not in methods:
            raise ValueError(f"AUC: expected curve ROC or PR and summation_method out of {', '.join(methods)}, "
                             f"got {curve!r} and {summation_method!r}")  # fmt: skip
        if thresholds is None:
            if num_thresholds < 2:
                raise ValueError(f"AUC: expected num_thresholds >= 2, got {num_thresholds}")
            thresholds = [(i + 1) / (num_thresholds - 1) for i in range(num_thresholds - 2)]
        self.curve, self.summation_method, self.from_logits = curve, summation_method, from_logits
        self.setup([-TINY, *sorted(thresholds), 1 + TINY])
        super().__init__(dtype, name)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        if self.from_logits:
            y_pred = 1 / (1 + np.exp(-array(y_pred).astype(np.float64)))
        super().update_state(y_true, y_pred, sample_weight)

    def result(self) -> float:
        recall = ratio(self.tp, self.tp + self.fn)
        if self.curve == "PR" and self.summation_method == "interpolation":
            return self.interpolated()
        x, y = ratio(self.fp, self.fp + self.tn), recall
        if self.curve == "PR":
            x, y = recall, ratio(self.tp, self.tp + self.fp)
        heights = {"interpolation": (y[:-1] + y[1:]) / 2, "minoring": np.minimum(y[:-1], y[1:]),
                   "majoring": np.maximum(y[:-1], y[1:])}[self.summation_method]  # fmt: skip
        return float(((x[:-1] - x[1:]) * heights).sum())

    def interpolated(self) -> float:
        """The area under precision over recall, both counts running in lines from one threshold to the next."""
        found, positive = self.tp[:-1] - self.tp[1:], self.tp + self.fp
        slope = ratio(found, np.maximum(positive[:-1] - positive[1:], 0))
        start = self.tp[1:] - slope * positive[1:]
        grown = np.where((positive[:-1] > 0) & (positive[1:] > 0), ratio(positive[:-1], positive[1:]), 1.0)
        return float(ratio(slope * (found + start * np.log(np.where(grown > 0, grown, 1.0))),
                           self.tp[1:] + self.fn[1:]).sum())  # fmt: skip


class FBetaScore(Metric):
    """(1 + beta^2) precision recall / (beta^2 precision + recall) per class; predictions and labels (N, C).

    average: None, "micro", "macro" or "weighted". threshold: None takes the largest prediction as the decision.

    >>> from weft import keras
    >>> keras.metrics.FBetaScore(threshold=0.5)([[1, 0], [0, 1]], [[0.9, 0.6], [0.2, 0.9]]).round(3)
    array([1.   , 0.667])
    """

    direction = "up"

    def __init__(self, average: str | None = None, beta: float = 1.0, threshold: float | None = None,
                 name: str | None = "fbeta_score", dtype: Any = None):  # fmt: skip
        if average not in (None, "micro", "macro", "weighted") or not beta > 0:
            raise ValueError(f"{type(self).__name__}: expected average None, micro, macro or weighted and beta > 0, "
                             f"got {average!r} and {beta}")  # fmt: skip
        self.average, self.beta, self.threshold = average, beta, threshold
        super().__init__(dtype, name)

    def reset_state(self) -> None:
        self.tp = self.fp = self.fn = self.seen = np.zeros(1)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        labels, scores = (array(x).astype(np.float64) for x in (y_true, y_pred))
        if scores.ndim != 2 or labels.shape != scores.shape:
            raise ValueError(f"{type(self).__name__}: expected labels and predictions (N, C), got {labels.shape} "
                             f"and {scores.shape}")  # fmt: skip
        if self.threshold is None:
            decided = ((scores >= scores.max(-1, keepdims=True)) & (abs(scores) > 1e-9)).astype(np.float64)
        else:
            decided = (scores > self.threshold).astype(np.float64)
        weights = np.ones(labels.shape) if sample_weight is None else weights_of(sample_weight, labels)
        axis = None if self.average == "micro" else 0
        self.tp = self.tp + (decided * labels * weights).sum(axis)
        self.fp = self.fp + (decided * (1 - labels) * weights).sum(axis)
        self.fn = self.fn + ((1 - decided) * labels * weights).sum(axis)
        self.seen = self.seen + (labels * weights).sum(axis)

    def result(self) -> Any:
        precision, recall = self.tp / (self.tp + self.fp + TINY), self.tp / (self.tp + self.fn + TINY)
        score = precision * recall / (self.beta**2 * precision + recall + TINY) * (1 + self.beta**2)
        if self.average == "weighted":
            return float((score * self.seen / (self.seen.sum() + TINY)).sum())
        return np.asarray(score) if self.average is None else float(score.mean())


class F1Score(FBetaScore):
    """FBetaScore with beta = 1: the harmonic mean of precision and recall.

    >>> from weft import keras
    >>> round(keras.metrics.F1Score("macro")([[1, 0], [0, 1]], [[0.9, 0.6], [0.2, 0.9]]), 3)
    1.0
    """

    def __init__(self, average: str | None = None, threshold: float | None = None, name: str | None = "f1_score",
                 dtype: Any = None):  # fmt: skip
        super().__init__(average, 1.0, threshold, name, dtype)


class AtConstraint(Counts):
    """The best of one figure at those thresholds where another is at least `value`; 0 where there are none."""

    direction = "up"
    figures: ClassVar[tuple[str, str]]  # (the one that is bound, the one to be best)

    def bind(self, what: str, value: float, num_thresholds: int, class_id: int | None) -> None:
        name = type(self).__name__
        if not 0 <= value <= 1:
            raise ValueError(f"{name}: expected {what} in [0, 1], got {value}")
        if num_thresholds < 1:
            raise ValueError(f"{name}: expected num_thresholds >= 1, got {num_thresholds}")
        inner = [(i + 1) / (num_thresholds - 1) for i in range(num_thresholds - 2)]
        self.value, self.num_thresholds = value, num_thresholds
        self.setup([0.5] if num_thresholds == 1 else [0.0, *inner, 1.0], class_id=class_id)

    def result(self) -> float:
        shares = {"recall": ratio(self.tp, self.tp + self.fn), "precision": ratio(self.tp, self.tp + self.fp),
                  "specificity": ratio(self.tn, self.tn + self.fp)}  # fmt: skip
        bound, best = (shares[name] for name in self.figures)
        return float(np.where(bound >= self.value, best, 0.0).max())


class SensitivityAtSpecificity(AtConstraint):
    """The largest recall where the specificity, the share of negatives that are found, is at least so large.

    >>> from weft import keras
    >>> keras.metrics.SensitivityAtSpecificity(0.5)([0, 0, 0, 1, 1], [0, 0.3, 0.8, 0.3, 0.8])
    0.5
    """

    figures = ("specificity", "recall")

    def __init__(self, specificity: float, num_thresholds: int = 200, class_id: int | None = None,
                 name: str | None = None, dtype: Any = None):  # fmt: skip
        self.bind("specificity", specificity, num_thresholds, class_id)
        super().__init__(dtype, name)


class SpecificityAtSensitivity(AtConstraint):
    """The largest specificity, the share of negatives that are found, where the recall is at least so large.

    >>> from weft import keras
    >>> round(keras.metrics.SpecificityAtSensitivity(0.5)([0, 0, 0, 1, 1], [0, 0.3, 0.8, 0.3, 0.8]), 4)
    0.6667
    """

    figures = ("recall", "specificity")

    def __init__(self, sensitivity: float, num_thresholds: int = 200, class_id: int | None = None,
                 name: str | None = None, dtype: Any = None):  # fmt: skip
        self.bind("sensitivity", sensitivity, num_thresholds, class_id)
        super().__init__(dtype, name)


class PrecisionAtRecall(AtConstraint):
    """The largest precision where the recall is at least so large.

    >>> from weft import keras
    >>> keras.metrics.PrecisionAtRecall(0.5)([0, 0, 0, 1, 1], [0, 0.3, 0.8, 0.3, 0.8])
    0.5
    """

    figures = ("recall", "precision")

    def __init__(self, recall: float, num_thresholds: int = 200, class_id: int | None = None,
                 name: str | None = None, dtype: Any = None):  # fmt: skip
        self.bind("recall", recall, num_thresholds, class_id)
        super().__init__(dtype, name)


class RecallAtPrecision(AtConstraint):
    """The largest recall where the precision is at least so large.

    >>> from weft import keras
    >>> keras.metrics.RecallAtPrecision(0.8)([0, 0, 1, 1], [0, 0.5, 0.3, 0.9])
    0.5
    """

    figures = ("precision", "recall")

    def __init__(self, precision: float, num_thresholds: int = 200, class_id: int | None = None,
                 name: str | None = None, dtype: Any = None):  # fmt: skip
        self.bind("precision", precision, num_thresholds, class_id)
        super().__init__(dtype, name)


class R2Score(Metric):
    """1 - squared error / variance of the labels, per output and then in the mean; 1 is perfect, 0 as their mean.

    >>> from weft import keras
    >>> keras.metrics.R2Score()([[1.0], [3.0]], [[1.0], [3.0]])
    1.0
    """

    direction = "up"

    def __init__(self, class_aggregation: str | None = "uniform_average", num_regressors: int = 0,
                 name: str | None = "r2_score", dtype: Any = None):  # fmt: skip
        kinds = (None, "uniform_average", "variance_weighted_average")
        if class_aggregation not in kinds or num_regressors < 0:
            raise ValueError(f"R2Score: expected class_aggregation out of {kinds} and num_regressors >= 0, "
                             f"got {class_aggregation!r} and {num_regressors}")  # fmt: skip
        self.class_aggregation, self.num_regressors = class_aggregation, num_regressors
        super().__init__(dtype, name)

    def reset_state(self) -> None:
        self.sum = self.squares = self.errors = self.count = np.zeros(1)
        self.samples = 0

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        labels, found = (x.astype(np.float64) for x in fitting("R2Score", y_true, y_pred))
        if labels.ndim == 1:
            labels, found = labels[:, None], found[:, None]
        weights = np.ones(labels.shape) if sample_weight is None else weights_of(sample_weight, labels)
        self.sum = self.sum + (labels * weights).sum(0)
        self.squares = self.squares + (labels**2 * weights).sum(0)
        self.errors = self.errors + ((labels - found) ** 2 * weights).sum(0)
        self.count = self.count + weights.sum(0)
        self.samples += labels.size

    def result(self) -> Any:
        total = self.squares - self.sum * ratio(self.sum, self.count)
        scores = np.where(total != 0, 1 - ratio(self.errors, total), 0.0)
        if self.class_aggregation is None:
            return scores
        weighted = self.class_aggregation == "variance_weighted_average"
        score = ratio((total * scores).sum(), total.sum()) if weighted else scores.mean()
        n, p = self.samples, self.num_regressors
        return float(1 - (1 - score) * (n - 1) / (n - p - 1) if p and p < n - 1 else score)
