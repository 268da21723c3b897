"""Dropout in its forms. In eval mode each returns its input; the masks come from weft.random.

`inplace` is taken so that code written for PyTorch runs; the input is left as it was all the same.
"""

from __future__ import annotations

from typing import Any

from weft.nn import functional as F
from weft.nn.module import Module


class DropoutNd(Module):
    """What the dropouts share: a probability, and the name of their function."""

    function = "dropout"

    def __init__(self, p: float = 0.5, inplace: bool = False):
        if not 0 <= p <= 1:
            raise ValueError(f"{type(self).__name__}: expected p in [0, 1], got {p}")
        self.p = p

    def forward(self, x: Any) -> Any:
        return getattr(F, self.function)(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Dropout(DropoutNd):
    """In training, zeroes each element with probability p and scales the rest by 1 / (1 - p).  Same shape.

    p: in [0, 1]. Srivastava et al., 2014.

    >>> import weft
    >>> Dropout(1.0)(weft.ones((3,))).numpy()
    array([0., 0., 0.], dtype=float32)
    """

    def forward(self, x: Any) -> Any:
        return F.dropout(x, self.p, self.training)


class Dropout1d(DropoutNd):
    """In training, zeroes whole channels of sequences with probability p.  (N, C, L) or (C, L) -> same shape

    The others are scaled by 1 / (1 - p). Tompson et al., 2015.

    >>> import weft
    >>> Dropout1d().eval()(weft.ones((2, 3, 4))).shape
    (2, 3, 4)
    """

    function = "dropout1d"


class Dropout2d(DropoutNd):
    """In training, zeroes whole channels of images with probability p.  (N, C, H, W) or (N, C, L) -> same shape

    The others are scaled by 1 / (1 - p). Tompson et al., 2015.

    >>> import weft
    >>> Dropout2d().eval()(weft.ones((2, 3, 4, 4))).shape
    (2, 3, 4, 4)
    """

    function = "dropout2d"


class Dropout3d(DropoutNd):
    """In training, zeroes whole channels of volumes with probability p.  (N, C, D, H, W), N optional -> same shape

    The others are scaled by 1 / (1 - p). Tompson et al., 2015.

    >>> import weft
    >>> Dropout3d().eval()(weft.ones((2, 3, 4, 4, 4))).shape
    (2, 3, 4, 4, 4)
    """

    function = "dropout3d"


class AlphaDropout(DropoutNd):
    """In training, sets elements with probability p to SELU's lowest value, then scales and shifts.  Same shape.

    Mean 0 and variance 1 stay what they are. Klambauer et al., 2017.

    >>> import weft
    >>> AlphaDropout(0.2).eval()(weft.ones((3,))).numpy()
    array([1., 1., 1.], dtype=float32)
    """

    function = "alpha_dropout"


class FeatureAlphaDropout(DropoutNd):
    """AlphaDropout of whole channels.  (N, C, ...) -> same shape

    >>> import weft
    >>> FeatureAlphaDropout(0.2).eval()(weft.ones((2, 3))).shape
    (2, 3)
    """

    function = "feature_alpha_dropout"


class DropPath(Module):
    """In training, zeroes whole samples with probability drop_prob: a residual branch left out.  (N, ...) -> same shape

    scale_by_keep: the others are scaled by 1 / (1 - drop_prob). "Stochastic depth", Huang et al., 2016.

    >>> import weft
    >>> DropPath(0.3).eval()(weft.ones((2, 3))).shape
    (2, 3)
    """

    def __init__(self, drop_prob: float = 0.0, scale_by_keep: bool = True):
        if not 0 <= drop_prob <= 1:
            raise ValueError(f"DropPath: expected drop_prob in [0, 1], got {drop_prob}")
        self.drop_prob, self.scale_by_keep = drop_prob, scale_by_keep

    def forward(self, x: Any) -> Any:
        return F.drop_path(x, self.drop_prob, self.training, self.scale_by_keep)

    def extra_repr(self) -> str:
        return f"drop_prob={self.drop_prob}"
