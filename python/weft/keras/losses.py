"""Losses by Keras's names: objects that reduce what the functions of `loss_functions` give per sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from weft import ops
from weft.autograd import Tensor
from weft.keras import registry
from weft.keras.loss_functions import (
    FUNCTIONS,
    binary_crossentropy,
    binary_focal_crossentropy,
    categorical_crossentropy,
    categorical_focal_crossentropy,
    categorical_generalized_cross_entropy,
    categorical_hinge,
    cosine_similarity,
    cross_entropy_of_classes,
    ctc,
    dice,
    hinge,
    huber,
    kl_divergence,
    lined_up,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    poisson,
    sparse_categorical_crossentropy,
    squared_hinge,
    tensor,
    tversky,
)
from weft.keras.masks import MASKS, both, mask_of
from weft.keras.registry import Configured, Table, snake

REDUCTIONS = ("sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none", None)


class Loss(Configured):
    """Base: define `call(y_true, y_pred)`, which returns a number per sample.

    Calling it weighs these by `sample_weight` and by the mask of y_pred, and reduces them: "sum_over_batch_size" (also
    "mean") over their number, "mean_with_sample_weight" over the sum of the weights, "sum", or "none".

    >>> from weft import keras
    >>> class Cubed(keras.losses.Loss):
    ...     def call(self, y_true, y_pred):
    ...         return (abs(y_true - y_pred) ** 3).mean(axis=-1)
    >>> Cubed()(weft.asarray([[1.0]]), weft.asarray([[3.0]])).item()
    8.0
    """

    def __init__(self, name: str | None = None, reduction: str | None = "sum_over_batch_size", dtype: Any = None):
        if reduction not in REDUCTIONS:
            raise ValueError(f"{type(self).__name__}: expected reduction out of {REDUCTIONS}, got {reduction!r}")
        self.name, self.reduction, self.dtype = name or snake(type(self).__name__), reduction, dtype

    def call(self, y_true: Any, y_pred: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__}: expected a method `call`, got none")

    def mean(self, y_true: Any, y_pred: Any) -> Any:
        """The mean of unweighted losses in one op; None where there is no shorter way than that of `call`."""
        return None

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        if sample_weight is None and not MASKS.held and self.reduction not in ("sum", "none", None):
            whole = self.mean(y_true, y_pred)
            if whole is not None:
                return whole
        losses = self.call(y_true, y_pred)
        mask = both(mask_of(y_pred), mask_of(losses))
        if sample_weight is not None:
            sample_weight = ops.astype(tensor(sample_weight), dtype=losses.dtype)
        if mask is not None:
            mask = ops.astype(mask, dtype=losses.dtype)
            if self.reduction in ("mean", "sum_over_batch_size"):
                mask = mask * (mask.size / max(float(ops.sum(mask).item()), 1.0))
            sample_weight = mask if sample_weight is None else weighted(mask, sample_weight, "mask")
        if sample_weight is not None:
            losses = weighted(losses, sample_weight, "sample_weight")
        if self.reduction in (None, "none") or losses.ndim == 0:
            return losses
        if self.reduction == "sum":
            return ops.sum(losses)
        if self.reduction == "mean_with_sample_weight" and sample_weight is not None:
            return ops.sum(losses) / ops.sum(sample_weight)
        return ops.mean(losses)


def weighted(losses: Tensor, weight: Tensor, what: str) -> Tensor:
    """losses (N, ...) times weight (N, ...), whose axes it may lack at the end."""
    losses, weight = lined_up(losses, weight)
    if weight.shape != losses.shape[: weight.ndim]:
        raise ValueError(f"loss: expected {what} {losses.shape} or its first axes, got {weight.shape}")
    return losses * ops.reshape(weight, (*weight.shape, *(1,) * (losses.ndim - weight.ndim)))


class Wrapped(Loss):
    """A function as a loss; its keyword arguments are those that the class names."""

    def __init__(self, function: Callable[..., Any], name: str | None = None,
                 reduction: str | None = "sum_over_batch_size", dtype: Any = None, **options: Any):  # fmt: skip
        self.function, self.options = function, options
        super().__init__(name or getattr(function, "__name__", None), reduction, dtype)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self.function(y_true, y_pred, **self.options)

    def mean(self, y_true: Any, y_pred: Any) -> Any:
        if self.function is not sparse_categorical_crossentropy or type(self).call is not Wrapped.call:
            return None
        if self.options.get("ignore_class") is not None:  # their mean is over the labels that count
            return None
        return cross_entropy_of_classes(y_true, y_pred, **self.options, reduction="mean")


class Plain(Wrapped):
    """A loss with no argument but `reduction`, `name` and `dtype`."""

    standard: tuple[Callable[..., Any], str]

    def __init__(self, reduction: str | None = "sum_over_batch_size", name: str | None = None, dtype: Any = None):
        function, label = self.standard
        super().__init__(function, name or label, reduction, dtype)


def plain_loss(name: str, function: Callable[..., Any], label: str | None = None) -> Any:
    """The class of a loss that has no arguments of its own."""
    doc = f"`{function.__name__}`, reduced.\n\n    >>> from weft import keras\n    >>> keras.losses.{name}().name\n    "
    doc += f"'{label or function.__name__}'\n    "
    body = {"standard": (function, label or function.__name__), "__doc__": doc, "__module__": __name__}
    return type(name, (Plain,), body)


MeanSquaredError = plain_loss("MeanSquaredError", mean_squared_error)
MeanAbsoluteError = plain_loss("MeanAbsoluteError", mean_absolute_error)
MeanAbsolutePercentageError = plain_loss("MeanAbsolutePercentageError", mean_absolute_percentage_error)
MeanSquaredLogarithmicError = plain_loss("MeanSquaredLogarithmicError", mean_squared_logarithmic_error)
LogCosh = plain_loss("LogCosh", log_cosh)
Hinge = plain_loss("Hinge", hinge)
SquaredHinge = plain_loss("SquaredHinge", squared_hinge)
CategoricalHinge = plain_loss("CategoricalHinge", categorical_hinge)
KLDivergence = plain_loss("KLDivergence", kl_divergence)
Poisson = plain_loss("Poisson", poisson)
CTC = plain_loss("CTC", ctc)


class Huber(Wrapped):
    """`huber`, reduced.

    >>> from weft import keras
    >>> keras.losses.Huber()([[0.0]], weft.asarray([[3.0]])).item()
    2.5
    """

    def __init__(self, delta: float = 1.0, reduction: str | None = "sum_over_batch_size", name: str = "huber_loss",
                 dtype: Any = None):  # fmt: skip
        super().__init__(huber, name, reduction, dtype, delta=delta)


class CosineSimilarity(Wrapped):
    """`cosine_similarity`, reduced: -1 where labels and predictions point the same way.

    >>> from weft import keras
    >>> keras.losses.CosineSimilarity()([[1.0, 0.0]], weft.asarray([[2.0, 0.0]])).item()
    -1.0
    """

    def __init__(self, axis: int = -1, reduction: str | None = "sum_over_batch_size", name: str = "cosine_similarity",
                 dtype: Any = None):  # fmt: skip
        super().__init__(cosine_similarity, name, reduction, dtype, axis=axis)


class Dice(Wrapped):
    """`dice`, reduced.

    >>> from weft import keras
    >>> round(keras.losses.Dice()([[1.0, 0.0]], weft.asarray([[1.0, 1.0]])).item(), 4)
    0.3333
    """

    def __init__(self, reduction: str | None = "sum_over_batch_size", name: str = "dice", axis: Any = None,
                 dtype: Any = None):  # fmt: skip
        super().__init__(dice, name, reduction, dtype, axis=axis)


class Tversky(Wrapped):
    """`tversky`, reduced.

    >>> from weft import keras
    >>> round(keras.losses.Tversky()([[1.0, 0.0]], weft.asarray([[1.0, 1.0]])).item(), 4)
    0.3333
    """

    def __init__(self, alpha: float = 0.5, beta: float = 0.5, reduction: str | None = "sum_over_batch_size",
                 name: str = "tversky", axis: Any = None, dtype: Any = None):  # fmt: skip
        super().__init__(tversky, name, reduction, dtype, alpha=alpha, beta=beta, axis=axis)


class CategoricalGeneralizedCrossEntropy(Wrapped):
    """`categorical_generalized_cross_entropy`, reduced; q in (0, 1).

    >>> from weft import keras
    >>> keras.losses.CategoricalGeneralizedCrossEntropy()([1], weft.asarray([[0.75, 0.25]])).item()
    1.0
    """

    def __init__(self, q: float = 0.5, reduction: str | None = "sum_over_batch_size",
                 name: str = "categorical_generalized_cross_entropy", dtype: Any = None):  # fmt: skip
        if not 0 < q < 1:
            raise ValueError(f"CategoricalGeneralizedCrossEntropy: expected q in (0, 1), got {q}")
        super().__init__(categorical_generalized_cross_entropy, name, reduction, dtype, q=q)


class BinaryCrossentropy(Wrapped):
    """`binary_crossentropy`, reduced.

    >>> from weft import keras
    >>> round(keras.losses.BinaryCrossentropy(from_logits=True)([1.0], weft.asarray([[0.0]])).item(), 4)
    0.6931
    """

    def __init__(self, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1,
                 reduction: str | None = "sum_over_batch_size", name: str = "binary_crossentropy",
                 dtype: Any = None):  # fmt: skip
        super().__init__(binary_crossentropy, name, reduction, dtype, from_logits=from_logits,
                         label_smoothing=label_smoothing, axis=axis)  # fmt: skip


class CategoricalCrossentropy(Wrapped):
    """`categorical_crossentropy`, reduced.

    >>> from weft import keras
    >>> round(keras.losses.CategoricalCrossentropy()([[1.0, 0.0]], weft.asarray([[0.5, 0.5]])).item(), 4)
    0.6931
    """

    def __init__(self, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1,
                 reduction: str | None = "sum_over_batch_size", name: str = "categorical_crossentropy",
                 dtype: Any = None):  # fmt: skip
        super().__init__(categorical_crossentropy, name, reduction, dtype, from_logits=from_logits,
                         label_smoothing=label_smoothing, axis=axis)  # fmt: skip


class SparseCategoricalCrossentropy(Wrapped):
    """`sparse_categorical_crossentropy`, reduced; labels equal to ignore_class do not count.

    >>> from weft import keras
    >>> round(keras.losses.SparseCategoricalCrossentropy()([1], weft.asarray([[0.5, 0.5]])).item(), 4)
    0.6931
    """

    def __init__(self, from_logits: bool = False, ignore_class: int | None = None,
                 reduction: str | None = "sum_over_batch_size", axis: int = -1,
                 name: str = "sparse_categorical_crossentropy", dtype: Any = None):  # fmt: skip
        super().__init__(sparse_categorical_crossentropy, name, reduction, dtype, from_logits=from_logits,
                         ignore_class=ignore_class, axis=axis)  # fmt: skip


class BinaryFocalCrossentropy(Wrapped):
    """`binary_focal_crossentropy`, reduced.

    >>> from weft import keras
    >>> round(keras.losses.BinaryFocalCrossentropy()([[1.0]], weft.asarray([[0.5]])).item(), 4)
    0.1733
    """

    def __init__(self, apply_class_balancing: bool = False, alpha: float = 0.25, gamma: float = 2.0,
                 from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1,
                 reduction: str | None = "sum_over_batch_size", name: str = "binary_focal_crossentropy",
                 dtype: Any = None):  # fmt: skip
        super().__init__(binary_focal_crossentropy, name, reduction, dtype, apply_class_balancing=apply_class_balancing,
                         alpha=alpha, gamma=gamma, from_logits=from_logits, label_smoothing=label_smoothing,
                         axis=axis)  # fmt: skip


class CategoricalFocalCrossentropy(Wrapped):
    """`categorical_focal_crossentropy`, reduced.

    >>> from weft import keras
    >>> round(keras.losses.CategoricalFocalCrossentropy()([[1.0, 0.0]], weft.asarray([[0.5, 0.5]])).item(), 4)
    0.0433
    """

    def __init__(self, alpha: Any = 0.25, gamma: float = 2.0, from_logits: bool = False, label_smoothing: float = 0.0,
                 axis: int = -1, reduction: str | None = "sum_over_batch_size",
                 name: str = "categorical_focal_crossentropy", dtype: Any = None):  # fmt: skip
        super().__init__(categorical_focal_crossentropy, name, reduction, dtype, alpha=alpha, gamma=gamma,
                         from_logits=from_logits, label_smoothing=label_smoothing, axis=axis)  # fmt: skip


CLASSES = (MeanSquaredError, MeanAbsoluteError, MeanAbsolutePercentageError, MeanSquaredLogarithmicError, LogCosh,
           Hinge, SquaredHinge, CategoricalHinge, KLDivergence, Poisson, Huber, CosineSimilarity, Dice,
           BinaryCrossentropy, CategoricalCrossentropy, SparseCategoricalCrossentropy, BinaryFocalCrossentropy,
           CategoricalFocalCrossentropy, Tversky, CTC, CategoricalGeneralizedCrossEntropy)  # fmt: skip
SHORT = {"mse": "mean_squared_error", "mae": "mean_absolute_error", "bce": "binary_crossentropy",
         "mape": "mean_absolute_percentage_error", "msle": "mean_squared_logarithmic_error", "kld": "kl_divergence",
         "kullback_leibler_divergence": "kl_divergence", "logcosh": "log_cosh", "huber_loss": "huber"}  # fmt: skip
TABLE = Table("loss", "keras.losses", {c.__name__: c for c in CLASSES} | {f.__name__: f for f in FUNCTIONS}, SHORT)
serialize, deserialize = registry.serialize, registry.deserialize


def get(identifier: Any) -> Any:
    """A loss by name (a function), configuration or itself.  ValueError lists the names there are.

    >>> from weft import keras
    >>> keras.losses.get("mse") is keras.losses.mean_squared_error
    True
    """
    if isinstance(identifier, str) and identifier in TABLE.entries:
        found = TABLE.entries[identifier]
        return found() if isinstance(found, type) else found
    return TABLE.get(identifier)


def as_loss(identifier: Any, y_true: Any, y_pred: Any) -> Loss:
    """What `compile` was given, as a Loss; "crossentropy" chooses by the shapes of labels and predictions."""
    if identifier in ("crossentropy", "ce"):
        names = {"binary": "binary_crossentropy", "sparse": "sparse_categorical_crossentropy"}
        identifier = names.get(kind_of_labels(y_true, y_pred), "categorical_crossentropy")
    loss = get(identifier)
    return loss if isinstance(loss, Loss) else Wrapped(loss)


def kind_of_labels(y_true: Any, y_pred: Any) -> str:
    """ "binary", "sparse" (class numbers) or "categorical" (one-hot)."""
    if y_pred.shape[-1] == 1:
        return "binary"
    sparse = y_true.ndim < y_pred.ndim or (y_true.shape[-1] == 1 and y_pred.shape[-1] > 1)
    return "sparse" if sparse else "categorical"
