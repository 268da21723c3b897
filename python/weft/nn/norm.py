"""Normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np

from weft.nn import functional as F
from weft.nn import init
from weft.nn.functional.shape import shape_of
from weft.nn.module import Module
from weft.nn.parameter import Buffer, Parameter

NHWC = "the batch looks like NHWC and this layer takes NCHW: use x.permute_dims((0, 3, 1, 2))"


def check_channels(name: str, x: Any, channels: int, dims: tuple[int, ...]) -> None:
    """Raise unless x (N, channels, ...) has one of `dims` dimensions; of instance norms the fewer one has no N."""
    missing = name == "instance_norm" and x.ndim == dims[0]
    if x.ndim in dims and x.shape[0 if missing else 1] == channels:
        return
    spatial = {0: "", 1: ", L", 2: ", H, W", 3: ", D, H, W"}
    batches = ("", "N, ") if name == "instance_norm" else ("N, ",) * len(dims)
    wanted = [f"({n}{channels}{spatial[d - 1 - bool(n)]})" for n, d in zip(batches, dims)]
    raise ValueError(f"{name}: expected x {' or '.join(wanted)}, got {x.shape}")


class ChannelNorm(Module):
    """What batch and instance norms share: weight and bias (C,), and the running statistics (C,)."""

    dims: tuple[int, ...] = ()

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        bias: bool = True,
        dtype: Any = None,
    ):
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        shape = (num_features,)
        self.weight = Parameter(init.filled(shape, 1, dtype)) if affine else None
        self.bias = Parameter(init.filled(shape, 0, dtype)) if affine and bias else None
        self.running_mean = Buffer(init.filled(shape, 0, dtype)) if track_running_stats else None
        self.running_var = Buffer(init.filled(shape, 1, dtype)) if track_running_stats else None
        self.num_batches_tracked = Buffer(np.array(0, np.int64)) if track_running_stats else None

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}"
        )


class BatchNorm(ChannelNorm):
    """What the batch norms share: each channel to mean 0 and variance 1 over the batch and all positions.

    In training the batch's own statistics are used, and `running_mean` and `running_var` move towards them by
    `momentum` (None: they become the mean over all batches); in eval mode the running ones are used.
    Ioffe and Szegedy, 2015.
    """

    def forward(self, x: Any, residual: Any = None, relu: bool = False) -> Any:
        """x normalised; plus residual, of x's shape, and without what is negative then if `relu`: one pass for all."""
        check_channels("batch_norm", x, self.num_features, self.dims)
        momentum = self.momentum
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.data += 1
            if momentum is None:
                momentum = 1 / int(self.num_batches_tracked.data)
        return F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or self.running_mean is None,
            momentum or 0.0,
            self.eps,
            residual,
            relu,
        )

    def hint(self, x: Any, residual: Any = None, relu: bool = False) -> str | None:
        if x.ndim == 4 and x.shape[1] != self.num_features and x.shape[-1] == self.num_features:
            return NHWC
        if x.ndim not in self.dims:
            return f"an input of {x.ndim} dimensions is for BatchNorm{max(x.ndim - 2, 1)}d"
        return None


class BatchNorm1d(BatchNorm):
    """Batch normalisation of features or sequences.  (N, C) or (N, C, L) -> same shape

    weight (C,) starts at 1, bias (C,) at 0. See BatchNorm2d.

    >>> nn.BatchNorm1d(3)(weft.ones((4, 3))).shape
    (4, 3)
    """

    dims = (2, 3)


class BatchNorm2d(BatchNorm):
    """Batch normalisation of images, for each channel over batch, height and width.  (N, C, H, W) -> same shape

    weight (C,) starts at 1, bias (C,) at 0. Buffers: running_mean, running_var (unbiased), num_batches_tracked.

    >>> import weft
    >>> BatchNorm2d(3)(weft.ones((2, 3, 4, 4))).shape
    (2, 3, 4, 4)
    """

    dims = (4,)


class BatchNorm3d(BatchNorm):
    """Batch normalisation of volumes, for each channel over batch and positions.  (N, C, D, H, W) -> same shape

    weight (C,) starts at 1, bias (C,) at 0. See BatchNorm2d.

    >>> import weft
    >>> BatchNorm3d(3)(weft.ones((2, 3, 4, 4, 4))).shape
    (2, 3, 4, 4, 4)
    """

    dims = (5,)


class InstanceNorm(ChannelNorm):
    """What the instance norms share: each channel of each sample to mean 0 and variance 1 over its positions.

    affine: with weight (C,), which starts at 1, and bias (C,), at 0. track_running_stats: keep running_mean and
    running_var, and use them in eval mode. Ulyanov et al., 2016.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        *,
        bias: bool = True,
        dtype: Any = None,
    ):
        super().__init__(num_features, eps, momentum, affine, track_running_stats, bias=bias, dtype=dtype)

    def forward(self, x: Any) -> Any:
        check_channels("instance_norm", x, self.num_features, self.dims)
        batched = x if x.ndim == self.dims[-1] else x[None]
        out = F.instance_norm(
            batched, self.running_mean, self.running_var, self.weight, self.bias,
            self.training or not self.track_running_stats, self.momentum or 0.0, self.eps,
        )  # fmt: skip
        return out if batched is x else out[0]

    def hint(self, x: Any) -> str | None:
        if x.ndim == 4 and x.shape[1] != self.num_features and x.shape[-1] == self.num_features:
            return NHWC
        return None


class InstanceNorm1d(InstanceNorm):
    """Instance normalisation of sequences.  (N, C, L) or (C, L) -> same shape; see InstanceNorm.

    >>> import weft
    >>> InstanceNorm1d(1, eps=0.0)(weft.asarray([[1.0, 3.0]])).numpy()
    array([[-1.,  1.]], dtype=float32)
    """

    dims = (2, 3)


class InstanceNorm2d(InstanceNorm):
    """Instance normalisation of images.  (N, C, H, W) or (C, H, W) -> same shape; see InstanceNorm.

    >>> import weft
    >>> InstanceNorm2d(3)(weft.ones((2, 3, 4, 4))).shape
    (2, 3, 4, 4)
    """

    dims = (3, 4)


class InstanceNorm3d(InstanceNorm):
    """Instance normalisation of volumes.  (N, C, D, H, W) or (C, D, H, W) -> same shape; see InstanceNorm.

    >>> import weft
    >>> InstanceNorm3d(3)(weft.ones((2, 3, 4, 4, 4))).shape
    (2, 3, 4, 4, 4)
    """

    dims = (4, 5)


class LocalResponseNorm(Module):
    """Each value over (k + alpha mean of the squares of `size` channels around it)^beta.  (N, C, ...) -> same shape

    Krizhevsky et al., 2012.

    >>> import weft
    >>> LocalResponseNorm(2)(weft.ones((2, 3, 4))).shape
    (2, 3, 4)
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0):
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, x: Any) -> Any:
        return F.local_response_norm(x, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class LayerNorm(Module):
    """Each sample to mean 0 and variance 1 over the last dimensions, then times weight, plus bias.  Same shape.

    normalized_shape: the size of the last dimension, or of several. Ba, Kiros and Hinton, 2016.

    >>> nn.LayerNorm(2)(weft.asarray([[1.0, 3.0]])).numpy().round(3)
    array([[-1.,  1.]], dtype=float32)
    """

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: Any = None,
    ):
        self.normalized_shape = shape_of(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self.weight = Parameter(init.filled(self.normalized_shape, 1, dtype)) if elementwise_affine else None
        self.bias = Parameter(init.filled(self.normalized_shape, 0, dtype)) if elementwise_affine and bias else None

    def forward(self, x: Any) -> Any:
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class RMSNorm(Module):
    """Each sample divided by its root mean square over the last dimensions, then times weight.  Same shape.

    eps: added to the mean square; None for the dtype's own epsilon. Zhang and Sennrich, 2019.

    >>> nn.RMSNorm(2)(weft.asarray([[3.0, 4.0]])).numpy().round(4)
    array([[0.8485, 1.1314]], dtype=float32)
    """

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...],
        eps: float | None = None,
        elementwise_affine: bool = True,
        *,
        dtype: Any = None,
    ):
        self.normalized_shape = shape_of(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self.weight = Parameter(init.filled(self.normalized_shape, 1, dtype)) if elementwise_affine else None

    def forward(self, x: Any) -> Any:
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(Module):
    """Each group of channels of each sample to mean 0 and variance 1.  (N, C, ...) -> same shape

    num_groups divides num_channels; weight (C,) starts at 1, bias (C,) at 0. Wu and He, 2018.

    >>> nn.GroupNorm(2, 4)(weft.ones((1, 4, 3))).shape
    (1, 4, 3)
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        *,
        bias: bool = True,
        dtype: Any = None,
    ):
        if num_groups < 1 or num_channels % num_groups:
            raise ValueError(
                f"GroupNorm: expected num_groups that divides num_channels, got {num_groups} of {num_channels}"
            )
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        self.weight = Parameter(init.filled((num_channels,), 1, dtype)) if affine else None
        self.bias = Parameter(init.filled((num_channels,), 0, dtype)) if affine and bias else None

    def forward(self, x: Any) -> Any:
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"
