"""Metrics with Keras's names: figures over all batches since the last reset, on the CPU, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from weft.autograd import no_grad
from weft.keras import loss_functions as losses
from weft.keras import registry
from weft.keras.confusion import (
    AUC,
    F1Score,
    FalseNegatives,
    FalsePositives,
    FBetaScore,
    Precision,
    PrecisionAtRecall,
    R2Score,
    Recall,
    RecallAtPrecision,
    SensitivityAtSpecificity,
    SpecificityAtSensitivity,
    TrueNegatives,
    TruePositives,
)
from weft.keras.losses import kind_of_labels
from weft.keras.metric import Array, Metric, array, fitting, weights_of
from weft.keras.overlap import BinaryIoU, IoU, MeanIoU, OneHotIoU, OneHotMeanIoU
from weft.keras.registry import Table


class Sum(Metric):
    """The sum of the values.

    >>> from weft import keras
    >>> keras.metrics.Sum()([1.0, 2.0])
    3.0
    """

    def __init__(self, name: str | None = "sum", dtype: Any = None):
        super().__init__(dtype, name)

    def reset_state(self) -> None:
        self.total = 0.0

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        values = array(values).astype(np.float64)
        self.total += float((values if sample_weight is None else values * weights_of(sample_weight, values)).sum())

    def result(self) -> float:
        return self.total


class Mean(Metric):
    """The mean of the values.

    >>> from weft import keras
    >>> keras.metrics.Mean()([1.0, 2.0])
    1.5
    """

    def __init__(self, name: str | None = "mean", dtype: Any = None):
        super().__init__(dtype, name)

    def reset_state(self) -> None:
        self.total = self.count = 0.0

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        if type(values) is float and type(sample_weight) is int:  # the loss of a batch, in every step
            self.total += values * sample_weight
            self.count += sample_weight
            return
        values = array(values)
        if sample_weight is None:
            self.total += float(values.sum(dtype=np.float64))
            self.count += values.size
        else:
            weights = weights_of(sample_weight, values)
            self.total += float((values * weights).sum())
            self.count += float(weights.sum())

    def result(self) -> float:
        return self.total / self.count if self.count else 0.0


class MeanMetricWrapper(Mean):
    """The mean of a function of labels and predictions.

    >>> from weft import keras
    >>> keras.metrics.MeanMetricWrapper(keras.losses.mean_squared_error)([[1.0]], [[3.0]])
    4.0
    """

    def __init__(self, fn: Callable[..., Any], name: str | None = None, dtype: Any = None, **kwargs: Any):
        self.fn, self.options = fn, kwargs
        self.direction = "up" if fn in RISING else "down" if fn in losses.FUNCTIONS else None
        super().__init__(name or getattr(fn, "__name__", None), dtype)

    def update_state(  # type: ignore[override]
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> None:
        with no_grad():
            values = self.fn(y_true, y_pred, **self.options)
        super().update_state(values, sample_weight)


# ---- shares of right predictions


def accuracy(y_true: Any, y_pred: Any) -> Array:
    """1 where labels and predictions are equal, else 0.

    >>> from weft import keras
    >>> keras.metrics.Accuracy()([1, 2], [1, 3])
    0.5
    """
    a, b = fitting("accuracy", y_true, y_pred)
    return (a == b).astype(np.float32)


def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> Array:
    """The share, over the last axis, of labels that the prediction's side of the threshold meets.

    >>> from weft import keras
    >>> keras.metrics.binary_accuracy([[1.0], [0.0]], [[0.7], [0.8]]).tolist()
    [1.0, 0.0]
    """
    y_true = array(y_true)
    a, b = fitting("binary_accuracy", y_true, y_pred)
    right = (a == (b > threshold)).astype(np.float32)
    return right.mean(-1) if y_true.ndim == right.ndim and right.ndim > 1 else right


def categorical_accuracy(y_true: Any, y_pred: Any) -> Array:
    """1 where the largest prediction is the one-hot label's, else 0.

    >>> from weft import keras
    >>> keras.metrics.categorical_accuracy([[0.0, 1.0]], [[0.2, 0.8]]).tolist()
    [1.0]
    """
    a, b = fitting("categorical_accuracy", y_true, y_pred)
    return (a.argmax(-1) == b.argmax(-1)).astype(np.float32)


def class_numbers(name: str, y_true: Any, y_pred: Array) -> Array:
    """Labels (N, ...) of predictions (N, ..., C)."""
    labels = array(y_true)
    if labels.ndim == y_pred.ndim and labels.shape[-1] == 1:
        labels = labels[..., 0]
    if labels.shape != y_pred.shape[:-1]:
        raise ValueError(f"{name}: expected labels {y_pred.shape[:-1]} for predictions {y_pred.shape}, "
                         f"got {labels.shape}")  # fmt: skip
    return labels


def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> Array:
    """1 where the largest prediction is the label's, else 0.

    >>> from weft import keras
    >>> keras.metrics.sparse_categorical_accuracy([1], [[0.2, 0.8]]).tolist()
    [1.0]
    """
    scores = array(y_pred)
    labels = class_numbers("sparse_categorical_accuracy", y_true, scores)
    return (labels == scores.argmax(-1)).astype(np.float32)


def sparse_top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> Array:
    """1 where the label is among the k largest predictions, else 0.

    >>> from weft import keras
    >>> keras.metrics.sparse_top_k_categorical_accuracy([1], [[0.2, 0.3, 0.5]], k=2).tolist()
    [1.0]
    """
    scores = array(y_pred)
    labels = class_numbers("sparse_top_k_categorical_accuracy", y_true, scores).astype(np.int64)
    own = np.take_along_axis(scores, labels[..., None], -1)
    return ((scores > own).sum(-1) < k).astype(np.float32)


def top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> Array:
    """1 where the one-hot label is among the k largest predictions, else 0.

    >>> from weft import keras
    >>> keras.metrics.top_k_categorical_accuracy([[0.0, 1.0, 0.0]], [[0.2, 0.3, 0.5]], k=2).tolist()
    [1.0]
    """
    a, b = fitting("top_k_categorical_accuracy", y_true, y_pred)
    return sparse_top_k_categorical_accuracy(a.argmax(-1), b, k)


def pearson_correlation(y_true: Any, y_pred: Any, axis: Any = -1) -> Array:
    """The covariance of labels and predictions along `axis`, by both spreads: -1 to 1.

    >>> from weft import keras
    >>> keras.metrics.pearson_correlation([[0.0, 1.0, 2.0]], [[1.0, 3.0, 5.0]]).round(4).tolist()
    [1.0]
    """
    axis = tuple(axis) if isinstance(axis, list) else axis  # as a configuration holds a tuple
    a, b = (x - x.mean(axis, keepdims=True) for x in fitting("pearson_correlation", y_true, y_pred))
    return np.asarray((a * b).mean(axis) / (a.std(axis) * b.std(axis)))


def concordance_correlation(y_true: Any, y_pred: Any, axis: Any = -1) -> Array:
    """Twice the covariance along `axis`, by both variances and the squared distance of the means.  Lin, 1989.

    >>> from weft import keras
    >>> keras.metrics.concordance_correlation([[0.0, 1.0, 2.0]], [[0.0, 1.0, 2.0]]).round(4).tolist()
    [1.0]
    """
    axis = tuple(axis) if isinstance(axis, list) else axis
    a, b = fitting("concordance_correlation", y_true, y_pred)
    c, d = (x - x.mean(axis, keepdims=True) for x in (a, b))
    below = a.var(axis) + b.var(axis) + (a.mean(axis) - b.mean(axis)) ** 2
    return np.asarray(2 * (c * d).mean(axis) / (below + losses.EPSILON))


def positive_cosine(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    return -losses.cosine_similarity(y_true, y_pred, axis)


def mean_of(name: str, fn: Callable[..., Any], label: str, options: dict[str, Any] | None = None) -> Any:
    """The class of a metric that is the mean of a function; options: its further arguments with their defaults."""
    defaults = options or {}

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        names = ("name", "dtype", *defaults)
        if len(args) > len(names):
            raise TypeError(f"{name}: expected at most {len(names)} arguments, got {len(args)}")
        given = dict(zip(names, args)) | kwargs
        unknown = set(given) - set(names)
        if unknown:
            raise TypeError(f"{name}: expected arguments among {', '.join(names)}, got {', '.join(sorted(unknown))}")
        self._given = given
        MeanMetricWrapper.__init__(self, fn, given.get("name") or label, given.get("dtype"),
                                   **{k: given.get(k, v) for k, v in defaults.items()})  # fmt: skip

    doc = f"The mean of `{getattr(fn, '__name__', label)}` over the samples.\n\n    >>> from weft import keras\n"
    doc += f"    >>> keras.metrics.{name}().name\n    '{label}'\n    "
    return type(name, (MeanMetricWrapper,), {"__init__": __init__, "__doc__": doc, "__module__": __name__})


RISING = (accuracy, binary_accuracy, categorical_accuracy, sparse_categorical_accuracy, top_k_categorical_accuracy,
          sparse_top_k_categorical_accuracy, positive_cosine, pearson_correlation, concordance_correlation)  # fmt: skip
SMOOTHED = {"from_logits": False, "label_smoothing": 0}
Accuracy = mean_of("Accuracy", accuracy, "accuracy")
PearsonCorrelation = mean_of("PearsonCorrelation", pearson_correlation, "pearson_correlation", {"axis": -1})
ConcordanceCorrelation = mean_of(
    "ConcordanceCorrelation", concordance_correlation, "concordance_correlation", {"axis": -1}
)
BinaryAccuracy = mean_of("BinaryAccuracy", binary_accuracy, "binary_accuracy", {"threshold": 0.5})
CategoricalAccuracy = mean_of("CategoricalAccuracy", categorical_accuracy, "categorical_accuracy")
SparseCategoricalAccuracy = mean_of(
    "SparseCategoricalAccuracy", sparse_categorical_accuracy, "sparse_categorical_accuracy"
)
MeanSquaredError = mean_of("MeanSquaredError", losses.mean_squared_error, "mean_squared_error")
MeanAbsoluteError = mean_of("MeanAbsoluteError", losses.mean_absolute_error, "mean_absolute_error")
MeanAbsolutePercentageError = mean_of(
    "MeanAbsolutePercentageError", losses.mean_absolute_percentage_error, "mean_absolute_percentage_error"
)
MeanSquaredLogarithmicError = mean_of(
    "MeanSquaredLogarithmicError", losses.mean_squared_logarithmic_error, "mean_squared_logarithmic_error"
)
LogCoshError = mean_of("LogCoshError", losses.log_cosh, "logcosh")
Hinge = mean_of("Hinge", losses.hinge, "hinge")
SquaredHinge = mean_of("SquaredHinge", losses.squared_hinge, "squared_hinge")
CategoricalHinge = mean_of("CategoricalHinge", losses.categorical_hinge, "categorical_hinge")
KLDivergence = mean_of("KLDivergence", losses.kl_divergence, "kl_divergence")
Poisson = mean_of("Poisson", losses.poisson, "poisson")
CosineSimilarity = mean_of("CosineSimilarity", positive_cosine, "cosine_similarity", {"axis": -1})
BinaryCrossentropy = mean_of("BinaryCrossentropy", losses.binary_crossentropy, "binary_crossentropy", SMOOTHED)
CategoricalCrossentropy = mean_of(
    "CategoricalCrossentropy", losses.categorical_crossentropy, "categorical_crossentropy", SMOOTHED | {"axis": -1}
)
SparseCategoricalCrossentropy = mean_of(
    "SparseCategoricalCrossentropy", losses.sparse_categorical_crossentropy, "sparse_categorical_crossentropy",
    {"from_logits": False, "ignore_class": None, "axis": -1},
)  # fmt: skip


class TopKCategoricalAccuracy(MeanMetricWrapper):
    """The share of one-hot labels among the k largest predictions.

    >>> from weft import keras
    >>> keras.metrics.TopKCategoricalAccuracy(k=2)([[0.0, 1.0, 0.0]], [[0.2, 0.3, 0.5]])
    1.0
    """

    def __init__(self, k: int = 5, name: str = "top_k_categorical_accuracy", dtype: Any = None):
        super().__init__(top_k_categorical_accuracy, name, dtype, k=k)


class SparseTopKCategoricalAccuracy(MeanMetricWrapper):
    """The share of labels among the k largest predictions.

    >>> from weft import keras
    >>> keras.metrics.SparseTopKCategoricalAccuracy(k=2)([1], [[0.2, 0.3, 0.5]])
    1.0
    """

    def __init__(self, k: int = 5, name: str = "sparse_top_k_categorical_accuracy", dtype: Any = None):
        super().__init__(sparse_top_k_categorical_accuracy, name, dtype, k=k)


class RootMeanSquaredError(Mean):
    """The root of the mean squared difference of all values.

    >>> from weft import keras
    >>> keras.metrics.RootMeanSquaredError()([[1.0]], [[3.0]])
    2.0
    """

    direction = "down"

    def __init__(self, name: str = "root_mean_squared_error", dtype: Any = None):
        super().__init__(name, dtype)

    def update_state(  # type: ignore[override]
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> None:
        a, b = fitting("root_mean_squared_error", y_true, y_pred)
        super().update_state((a - b) ** 2, sample_weight)

    def result(self) -> float:
        return float(super().result() ** 0.5)


CLASSES = (Accuracy, BinaryAccuracy, CategoricalAccuracy, SparseCategoricalAccuracy, TopKCategoricalAccuracy,
           SparseTopKCategoricalAccuracy, MeanSquaredError, RootMeanSquaredError, MeanAbsoluteError,
           MeanAbsolutePercentageError, MeanSquaredLogarithmicError, LogCoshError, Hinge, SquaredHinge,
           CategoricalHinge, KLDivergence, Poisson, CosineSimilarity, BinaryCrossentropy, CategoricalCrossentropy,
           SparseCategoricalCrossentropy, Mean, Sum, AUC, F1Score, FBetaScore, FalseNegatives, FalsePositives,
           TrueNegatives, TruePositives, Precision, Recall, MeanIoU, R2Score, IoU, BinaryIoU, OneHotIoU, OneHotMeanIoU,
           PrecisionAtRecall, RecallAtPrecision, SensitivityAtSpecificity, SpecificityAtSensitivity,
           PearsonCorrelation, ConcordanceCorrelation)  # fmt: skip
SHORT = {"mse": "MeanSquaredError", "mae": "MeanAbsoluteError", "bce": "BinaryCrossentropy",
         "mape": "MeanAbsolutePercentageError", "msle": "MeanSquaredLogarithmicError", "kld": "KLDivergence",
         "rmse": "RootMeanSquaredError", "log_cosh": "LogCoshError", "logcosh": "LogCoshError"}  # fmt: skip
TABLE = Table("metric", "keras.metrics", {c.__name__: c for c in CLASSES}, SHORT)
serialize, deserialize, get = registry.serialize, registry.deserialize, TABLE.get


def as_metric(identifier: Any, y_true: Any, y_pred: Any) -> Metric:
    """What `compile` was given, as a Metric of the name that the logs have; "accuracy" chooses by the shapes."""
    metric = identifier
    if identifier in ("accuracy", "acc"):
        kinds = {"binary": BinaryAccuracy, "sparse": SparseCategoricalAccuracy, "categorical": CategoricalAccuracy}
        metric = kinds[kind_of_labels(y_true, y_pred)]()
    elif identifier in ("crossentropy", "ce"):
        kinds = {"binary": BinaryCrossentropy, "sparse": SparseCategoricalCrossentropy,
                 "categorical": CategoricalCrossentropy}  # fmt: skip
        metric = kinds[kind_of_labels(y_true, y_pred)]()
    else:
        metric = get(identifier)
    if not isinstance(metric, Metric):
        metric = MeanMetricWrapper(metric)
    if isinstance(identifier, str):
        metric.name = identifier
    return metric
