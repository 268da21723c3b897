"""Losses of pairs, triplets, sequences and distributions, and those of detection and segmentation, as modules."""

from __future__ import annotations

from typing import Any

from weft.nn import functional as F
from weft.nn.loss import Loss
from weft.nn.parameter import Buffer


class TripletMarginLoss(Loss):
    """max(|a - p| - |a - n| + margin, 0).  Three of one shape (N, D) or (D,) -> (N,) or (), reduced

    p: of the norm. swap: the nearer of anchor and positive to the negative counts. Balntas et al., 2016.

    >>> import weft
    >>> a, b = weft.zeros((1, 2)), weft.ones((1, 2))
    >>> round(float(TripletMarginLoss()(a, a, b)), 3), round(float(TripletMarginLoss()(a, b, a)), 3)
    (0.0, 2.414)
    """

    def __init__(
        self, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6, swap: bool = False, reduction: str = "mean"
    ):
        super().__init__(reduction)
        self.margin, self.p, self.eps, self.swap = margin, p, eps, swap

    def forward(self, anchor: Any, positive: Any, negative: Any) -> Any:
        options = (self.margin, self.p, self.eps, self.swap, self.reduction)
        return F.triplet_margin_loss(anchor, positive, negative, *options)


class CosineEmbeddingLoss(Loss):
    """1 - cosine where target is 1, max(cosine - margin, 0) where it is -1.  (N, D) twice, (N,) -> (N,), reduced

    >>> import weft
    >>> float(CosineEmbeddingLoss()(weft.asarray([[1.0, 0.0]]), weft.asarray([[0.0, 1.0]]), weft.asarray([1])))
    1.0
    """

    def __init__(self, margin: float = 0.0, reduction: str = "mean"):
        super().__init__(reduction)
        self.margin = margin

    def forward(self, input1: Any, input2: Any, target: Any) -> Any:
        return F.cosine_embedding_loss(input1, input2, target, self.margin, self.reduction)


class MarginRankingLoss(Loss):
    """max(-target (input1 - input2) + margin, 0): target 1 says that input1 shall be larger, -1 that input2 shall.

    All of one shape -> that shape, reduced.

    >>> import weft
    >>> float(MarginRankingLoss()(weft.asarray([1.0]), weft.asarray([3.0]), weft.asarray([1.0])))
    2.0
    """

    def __init__(self, margin: float = 0.0, reduction: str = "mean"):
        super().__init__(reduction)
        self.margin = margin

    def forward(self, input1: Any, input2: Any, target: Any) -> Any:
        return F.margin_ranking_loss(input1, input2, target, self.margin, self.reduction)


class HingeEmbeddingLoss(Loss):
    """input where target is 1, max(margin - input, 0) where it is -1: input is a distance.  One shape, reduced

    >>> import weft
    >>> HingeEmbeddingLoss(reduction="none")(weft.asarray([0.5, 0.5]), weft.asarray([1.0, -1.0])).numpy()
    array([0.5, 0.5], dtype=float32)
    """

    def __init__(self, margin: float = 1.0, reduction: str = "mean"):
        super().__init__(reduction)
        self.margin = margin

    def forward(self, input: Any, target: Any) -> Any:
        return F.hinge_embedding_loss(input, target, self.margin, self.reduction)


class PoissonNLLLoss(Loss):
    """exp(input) - target input, for counts `target` of mean exp(input), or input without log_input.  One shape.

    full: with Stirling's approximation of log(target!). eps: added to the input where its logarithm is taken.

    >>> import weft
    >>> float(PoissonNLLLoss()(weft.asarray([0.0]), weft.asarray([2.0])))
    1.0
    """

    def __init__(self, log_input: bool = True, full: bool = False, eps: float = 1e-8, reduction: str = "mean"):
        super().__init__(reduction)
        self.log_input, self.full, self.eps = log_input, full, eps

    def forward(self, input: Any, target: Any) -> Any:
        return F.poisson_nll_loss(input, target, self.log_input, self.full, self.eps, self.reduction)


class GaussianNLLLoss(Loss):
    """(log(var) + (input - target)^2 / var) / 2, for a normal distribution.  One shape, reduced

    Calls take mean, target and variance, the last one also with its last dimension 1 or left out. full: with
    log(2 pi) / 2. eps: the least variance. Nix and Weigend, 1994.

    >>> import weft
    >>> float(GaussianNLLLoss()(weft.asarray([1.0]), weft.asarray([3.0]), weft.asarray([1.0])))
    2.0
    """

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean"):
        super().__init__(reduction)
        self.full, self.eps = full, eps

    def forward(self, input: Any, target: Any, var: Any) -> Any:
        return F.gaussian_nll_loss(input, target, var, self.full, self.eps, self.reduction)


class FocalLoss(Loss):
    """-a (1 - p)^gamma log(p), with p the probability that is given to the truth: easy samples count for little.

    Scores with floating targets of one shape, a = alpha where the target is 1 and 1 - alpha where it is 0; or scores
    (N, C, ...) with integer labels (N, ...), a = weight (C,) at the label. Lin et al., 2017.

    >>> import weft
    >>> round(float(FocalLoss(alpha=None)(weft.asarray([0.0]), weft.asarray([1.0]))), 4)
    0.1733
    """

    def __init__(self, alpha: float | None = 0.25, gamma: float = 2.0, reduction: str = "mean", weight: Any = None):
        super().__init__(reduction)
        self.alpha, self.gamma = alpha, gamma
        self.weight = weight if weight is None else Buffer(weight)

    def forward(self, input: Any, target: Any) -> Any:
        return F.focal_loss(input, target, self.alpha, self.gamma, self.reduction, self.weight)


class DiceLoss(Loss):
    """1 - (2 sum(input target) + smooth) / (sum(input^2) + sum(target^2) + smooth): how little two masks overlap.

    Probabilities (N, C, ...) and a target of that shape -> (N, C), reduced. Milletari et al., 2016.

    >>> import weft
    >>> float(DiceLoss()(weft.ones((1, 1, 4)), weft.ones((1, 1, 4))))
    0.0
    """

    def __init__(self, smooth: float = 1.0, reduction: str = "mean"):
        super().__init__(reduction)
        self.smooth = smooth

    def forward(self, input: Any, target: Any) -> Any:
        return F.dice_loss(input, target, self.smooth, self.reduction)


class CTCLoss(Loss):
    """Minus the log-probability of a labelling whose alignment with the frames is not known.

    Calls take log_probs (T, N, C) or (T, C), targets (N, S) or one after the other, input_lengths (N,) and
    target_lengths (N,) -> (N,), reduced: "mean" divides each by its target's length first. blank: the class of no
    label. zero_infinity: 0, and no gradient, for a target that no alignment reaches; infinite otherwise. Graves et al.,
    2006.

    >>> import numpy as np, weft
    >>> even = weft.log_softmax(weft.zeros((2, 1, 2)))            # two frames, blank or "1"
    >>> round(float(CTCLoss()(even, np.array([[1]]), [2], [1])), 4)    # -log(3 / 4)
    0.2877
    """

    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False):
        super().__init__(reduction)
        self.blank, self.zero_infinity = blank, zero_infinity

    def forward(self, log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any) -> Any:
        lengths = (input_lengths, target_lengths)
        return F.ctc_loss(log_probs, targets, *lengths, self.blank, self.reduction, self.zero_infinity)
