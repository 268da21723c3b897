"""Losses as modules, with PyTorch's names and arguments; `weft.nn.functional` says what each computes.

reduction: "mean" (default), "sum" or "none". Calls take the prediction, then the target.
"""

from __future__ import annotations

from typing import Any

from weft.nn import functional as F
from weft.nn.linear import Linear
from weft.nn.module import Module
from weft.nn.parameter import Buffer


class Loss(Module):
    """A function of prediction and target with a reduction."""

    def __init__(self, reduction: str = "mean"):
        self.reduction = chosen(self, reduction)

    def extra_repr(self) -> str:
        return f"reduction={self.reduction!r}"


class MSELoss(Loss):
    """(input - target)^2; one shape.

    >>> import weft
    >>> float(MSELoss()(weft.asarray([1.0, 2.0]), weft.asarray([1.0, 4.0])))
    2.0
    """

    def forward(self, input: Any, target: Any) -> Any:
        return F.mse_loss(input, target, self.reduction)


class L1Loss(Loss):
    """|input - target|; one shape.

    >>> nn.L1Loss()(weft.asarray([1.0, 2.0]), weft.asarray([1.0, 5.0])).item()
    1.5
    """

    def forward(self, input: Any, target: Any) -> Any:
        return F.l1_loss(input, target, self.reduction)


class SmoothL1Loss(Loss):
    """d^2 / (2 beta) for |d| < beta, |d| - beta / 2 from there.  Girshick, 2015.

    >>> nn.SmoothL1Loss()(weft.asarray([3.0]), weft.asarray([0.0])).item()
    2.5
    """

    def __init__(self, reduction: str = "mean", beta: float = 1.0):
        super().__init__(reduction)
        self.beta = beta

    def forward(self, input: Any, target: Any) -> Any:
        return F.smooth_l1_loss(input, target, self.reduction, self.beta)


class HuberLoss(Loss):
    """d^2 / 2 for |d| <= delta, delta (|d| - delta / 2) from there.  Huber, 1964.

    >>> nn.HuberLoss()(weft.asarray([3.0]), weft.asarray([0.0])).item()
    2.5
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0):
        super().__init__(reduction)
        self.delta = delta

    def forward(self, input: Any, target: Any) -> Any:
        return F.huber_loss(input, target, self.reduction, self.delta)


class CrossEntropyLoss(Loss):
    """-log softmax(input)[target].  input (N, C, ...) scores, target (N, ...) integers or (N, C, ...) probabilities.

    weight (C,): of each class; ignore_index: a label that counts for nothing; label_smoothing: in [0, 1].

    >>> import numpy as np, weft
    >>> float(CrossEntropyLoss()(weft.zeros((1, 4)), np.array([2])))
    1.3862943649291992
    """

    def __init__(
        self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0
    ):
        super().__init__(reduction)
        self.weight = weight if weight is None else Buffer(weight)
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def forward(self, input: Any, target: Any) -> Any:
        return F.cross_entropy(input, target, self.weight, self.ignore_index, self.reduction, self.label_smoothing)

    def hint(self, input: Any, target: Any) -> str | None:
        if target.ndim == input.ndim and target.shape[-1] == 1 and target.dtype.kind in "iu":
            return "labels have no dimension of their own: use target[:, 0]"
        return None


class LinearCrossEntropyLoss(Loss):
    """A classifier's last linear layer and its loss in one: input (..., in_features), target (...) integers.

    linear: the layer, of num_classes outputs, its bias only if asked for; the other arguments as CrossEntropyLoss.
    chunk_size: how many rows of logits exist at a time; None for as many as suit the device.

    >>> import numpy as np, weft
    >>> LinearCrossEntropyLoss(8, 1000)(weft.ones((2, 8)), np.array([3, 5])).shape
    ()
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        bias: bool = False,
        dtype: Any = None,
        reduction: str = "mean",
        weight: Any = None,
        ignore_index: int = -100,
        label_smoothing: float = 0.0,
        chunk_size: int | None = None,
    ):
        super().__init__(reduction)
        self.linear = Linear(in_features, num_classes, bias, dtype=dtype)
        self.weight = weight if weight is None else Buffer(weight)
        self.ignore_index, self.label_smoothing, self.chunk_size = ignore_index, label_smoothing, chunk_size

    def forward(self, input: Any, target: Any) -> Any:
        return F.linear_cross_entropy(
            input, self.linear.weight, target, linear_bias=self.linear.bias, weight=self.weight,
            reduction=self.reduction, ignore_index=self.ignore_index, label_smoothing=self.label_smoothing,
            chunk_size=self.chunk_size,
        )  # fmt: skip


class NLLLoss(Loss):
    """-input[target].  input (N, C, ...) log-probabilities, target (N, ...) integers; arguments as CrossEntropyLoss.

    >>> nn.NLLLoss()(weft.asarray([[-0.5, -1.0]]), weft.asarray([1])).item()
    1.0
    """

    def __init__(self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"):
        super().__init__(reduction)
        self.weight = weight if weight is None else Buffer(weight)
        self.ignore_index = ignore_index

    def forward(self, input: Any, target: Any) -> Any:
        return F.nll_loss(input, target, self.weight, self.ignore_index, self.reduction)


class BCELoss(Loss):
    """Binary cross-entropy of probabilities in [0, 1]; weight broadcasts to the input.

    >>> nn.BCELoss()(weft.asarray([0.5]), weft.asarray([1.0])).item()
    0.6931471824645996
    """

    def __init__(self, weight: Any = None, reduction: str = "mean"):
        super().__init__(reduction)
        self.weight = weight if weight is None else Buffer(weight)

    def forward(self, input: Any, target: Any) -> Any:
        return F.binary_cross_entropy(input, target, self.weight, self.reduction)


class BCEWithLogitsLoss(Loss):
    """Binary cross-entropy of sigmoid(input); pos_weight: factor on positive targets, broadcasts to the input.

    >>> nn.BCEWithLogitsLoss()(weft.asarray([0.0]), weft.asarray([1.0])).item()
    0.6931471824645996
    """

    def __init__(self, weight: Any = None, reduction: str = "mean", pos_weight: Any = None):
        super().__init__(reduction)
        self.weight = weight if weight is None else Buffer(weight)
        self.pos_weight = pos_weight if pos_weight is None else Buffer(pos_weight)

    def forward(self, input: Any, target: Any) -> Any:
        return F.binary_cross_entropy_with_logits(input, target, self.weight, self.reduction, self.pos_weight)


class KLDivLoss(Loss):
    """target (log target - input) for log-probabilities `input`; reduction "batchmean" too, the divergence itself.

    >>> p = weft.asarray([[0.5, 0.5]])
    >>> nn.KLDivLoss(reduction="batchmean")(weft.log(p), p).item()
    0.0
    """

    def __init__(self, reduction: str = "mean", log_target: bool = False):
        super().__init__(reduction)
        self.log_target = log_target

    def forward(self, input: Any, target: Any) -> Any:
        return F.kl_div(input, target, self.reduction, self.log_target)


def chosen(loss: Loss, reduction: str) -> str:
    known = ("mean", "sum", "none", *(("batchmean",) if isinstance(loss, KLDivLoss) else ()))
    if reduction not in known:
        raise ValueError(f"{type(loss).__name__}: expected reduction {', '.join(known)}, got {reduction!r}")
    return reduction
