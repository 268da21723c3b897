"""Normalisation layers with Keras's momentum, epsilon and names of weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from weft import ops
from weft.autograd import Tensor
from weft.backends.device import beside
from weft.keras.layer import Layer
from weft.keras.layers.core import Weighted
from weft.nn import functional as F
from weft.ops.batch_norm import normalise_batch


class Scaled(Weighted):
    """What the norms share: gamma and beta."""

    supports_masking = True

    def setup(self, center: bool, scale: bool, epsilon: float, **identifiers: Any) -> None:
        self.center, self.scale, self.epsilon = center, scale, epsilon
        self.resolve(**identifiers)

    def gains(self, shape: tuple[int, ...]) -> None:
        self.gamma = self.weight("gamma", shape) if self.scale else None
        self.beta = self.weight("beta", shape) if self.center else None
        self.built = True

    def compute_output_shape(self, input_shape: Any) -> Any:
        return tuple(input_shape)


class BatchNormalization(Scaled):
    """Each channel to mean 0 and variance 1: the batch's in training, running ones else; times gamma, plus beta.

    The running statistics keep `momentum` of themselves at each step; their variance is the biased one. axis: of the
    channels. Frozen (`trainable = False`), it uses the running statistics in training, too.  Ioffe and Szegedy, 2015.

    >>> from weft import keras
    >>> keras.layers.BatchNormalization()(np.ones((2, 8, 8, 3), "f")).shape
    (2, 8, 8, 3)
    """

    def __init__(
        self, axis: int = -1, momentum: float = 0.99, epsilon: float = 0.001, center: bool = True, scale: bool = True,
        beta_initializer: Any = "zeros", gamma_initializer: Any = "ones", moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones", beta_regularizer: Any = None, gamma_regularizer: Any = None,
        beta_constraint: Any = None, gamma_constraint: Any = None, **kwargs: Any,
    ):  # fmt: skip
        refused = {"renorm", "synchronized"} & {name for name in kwargs if kwargs[name]}
        if refused:
            raise ValueError(f"BatchNormalization: expected {', '.join(sorted(refused))} off, which Weft has not")
        for name in ("renorm", "renorm_clipping", "renorm_momentum", "synchronized"):
            kwargs.pop(name, None)
        super().__init__(**kwargs)
        self.axis, self.momentum = axis, momentum
        self.setup(center, scale, epsilon, beta_initializer=beta_initializer, gamma_initializer=gamma_initializer,
                   moving_mean_initializer=moving_mean_initializer,
                   moving_variance_initializer=moving_variance_initializer, beta_regularizer=beta_regularizer,
                   gamma_regularizer=gamma_regularizer, beta_constraint=beta_constraint,
                   gamma_constraint=gamma_constraint)  # fmt: skip

    def build(self, input_shape: Any) -> None:
        C = input_shape[self.axis]
        if C is None:
            raise self.wrong_input(f"with a known size of axis {self.axis}", input_shape)
        self.gains((C,))
        self.weight("moving_mean", (C,), trainable=False)
        self.weight("moving_variance", (C,), trainable=False)

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        if inputs.shape[self.axis] != self.moving_mean.shape[0]:
            raise self.wrong_input(f"of {self.moving_mean.shape[0]} channels on axis {self.axis}", inputs.shape)
        x = ops.moveaxis(inputs, self.axis, 1)
        if training and self._trainable:
            if mask is not None:
                raise ValueError(f"{self.name}: expected no mask in training, got one {mask.shape}")
            out, mean, var = normalise_batch(x, self.gamma, self.beta, eps=self.epsilon)
            for kept, new in ((self.moving_mean, mean), (self.moving_variance, var)):
                moved = kept.data * self.momentum + new.data * (1 - self.momentum)
                kept.assign(moved, by="BatchNormalization")
        else:
            out = F.batch_norm(x, self.moving_mean, self.moving_variance, self.gamma, self.beta, False, 0.0,
                               self.epsilon)  # fmt: skip
        return ops.moveaxis(out, 1, self.axis)


class LayerNormalization(Scaled):
    """Mean 0 and variance 1 over `axis` (one or several) of each sample, times gamma, plus beta.  Ba et al., 2016.

    >>> from weft import keras
    >>> keras.layers.LayerNormalization()(weft.asarray([[1.0, 3.0]])).numpy().round(3)
    array([[-1.,  1.]], dtype=float32)
    """

    def __init__(
        self, axis: Any = -1, epsilon: float = 0.001, center: bool = True, scale: bool = True,
        beta_initializer: Any = "zeros", gamma_initializer: Any = "ones", beta_regularizer: Any = None,
        gamma_regularizer: Any = None, beta_constraint: Any = None, gamma_constraint: Any = None, **kwargs: Any,
    ):  # fmt: skip
        super().__init__(**kwargs)
        self.axis = axis
        self.setup(center, scale, epsilon, beta_initializer=beta_initializer, gamma_initializer=gamma_initializer,
                   beta_regularizer=beta_regularizer, gamma_regularizer=gamma_regularizer,
                   beta_constraint=beta_constraint, gamma_constraint=gamma_constraint)  # fmt: skip

    def axes(self, rank: int) -> tuple[int, ...]:
        given = self.axis if isinstance(self.axis, (list, tuple)) else (self.axis,)
        return tuple(sorted(axis % rank for axis in given))

    def build(self, input_shape: Any) -> None:
        self.gains(tuple(input_shape[i] for i in self.axes(len(input_shape))))

    def call(self, inputs: Any) -> Any:
        axes, n = self.axes(inputs.ndim), inputs.ndim
        shape = tuple(inputs.shape[i] for i in axes)
        ends = tuple(range(n - len(axes), n))
        x = inputs if axes == ends else ops.moveaxis(inputs, axes, ends)
        out = F.layer_norm(x, shape, self.gamma, self.beta, self.epsilon)
        return out if axes == ends else ops.moveaxis(out, ends, axes)


class GroupNormalization(Scaled):
    """Mean 0 and variance 1 in each of `groups` groups of channels of each sample.  Wu and He, 2018.

    groups: -1 for one per channel (instance normalisation).

    >>> from weft import keras
    >>> keras.layers.GroupNormalization(2)(np.ones((2, 8, 8, 4), "f")).shape
    (2, 8, 8, 4)
    """

    def __init__(
        self, groups: int = 32, axis: int = -1, epsilon: float = 0.001, center: bool = True, scale: bool = True,
        beta_initializer: Any = "zeros", gamma_initializer: Any = "ones", beta_regularizer: Any = None,
        gamma_regularizer: Any = None, beta_constraint: Any = None, gamma_constraint: Any = None, **kwargs: Any,
    ):  # fmt: skip
        super().__init__(**kwargs)
        self.groups, self.axis = groups, axis
        self.setup(center, scale, epsilon, beta_initializer=beta_initializer, gamma_initializer=gamma_initializer,
                   beta_regularizer=beta_regularizer, gamma_regularizer=gamma_regularizer,
                   beta_constraint=beta_constraint, gamma_constraint=gamma_constraint)  # fmt: skip

    def build(self, input_shape: Any) -> None:
        C = input_shape[self.axis]
        groups = C if self.groups == -1 else self.groups
        if C is None or C % groups:
            raise self.wrong_input(f"of channels that {groups} groups divide", input_shape)
        self.gains((C,))

    def call(self, inputs: Any) -> Any:
        x = ops.moveaxis(inputs, self.axis, 1)
        groups = x.shape[1] if self.groups == -1 else self.groups
        return ops.moveaxis(F.group_norm(x, groups, self.gamma, self.beta, self.epsilon), 1, self.axis)


class RMSNormalization(Scaled):
    """Divided by the root mean square over the last axis, times scale.  Zhang and Sennrich, 2019.

    >>> from weft import keras
    >>> keras.layers.RMSNormalization()(weft.asarray([[3.0, 4.0]])).numpy().round(4)
    array([[0.8485, 1.1314]], dtype=float32)
    """

    def __init__(self, axis: int = -1, epsilon: float = 1e-6, **kwargs: Any):
        super().__init__(**kwargs)
        if axis != -1:
            raise ValueError(f"RMSNormalization: expected axis -1, got {axis}")
        self.axis, self.epsilon = axis, epsilon

    def build(self, input_shape: Any) -> None:
        self.scale = self.add_weight((input_shape[-1],), "ones", name="scale")
        self.built = True

    def call(self, inputs: Any) -> Any:
        return F.rms_norm(inputs, inputs.shape[-1], self.scale, self.epsilon)


class UnitNormalization(Layer):
    """Divided by the Euclidean norm over `axis`.

    >>> from weft import keras
    >>> keras.layers.UnitNormalization()(weft.asarray([[3.0, 4.0]])).numpy().round(4)
    array([[0.6, 0.8]], dtype=float32)
    """

    def __init__(self, axis: Any = -1, **kwargs: Any):
        super().__init__(**kwargs)
        self.axis = tuple(axis) if isinstance(axis, list) else axis

    def call(self, inputs: Any) -> Any:
        return inputs / ops.sqrt(ops.maximum(ops.sum(inputs * inputs, axis=self.axis, keepdims=True), 1e-12))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return tuple(input_shape)


class Normalization(Layer):
    """(x - mean) / sqrt(variance) of each feature, which `adapt` takes from data; with invert, the way back.

    axis: of the features, None for one mean and variance of all.

    >>> from weft import keras
    >>> layer = keras.layers.Normalization()
    >>> layer.adapt(np.array([[1.0], [3.0]]))
    >>> layer(np.array([[5.0]], "f")).tolist()
    [[3.0]]
    """

    def __init__(self, axis: Any = -1, mean: Any = None, variance: Any = None, invert: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        if (mean is None) != (variance is None):
            raise ValueError("Normalization: expected mean and variance together, got one of them")
        self.axis = axis if axis is None or isinstance(axis, int) else tuple(axis)
        self.input_mean, self.input_variance, self.invert = mean, variance, invert
        self.mean: Any = None
        self.variance: Any = None

    def kept(self, rank: int) -> tuple[int, ...]:
        axes = () if self.axis is None else self.axis if isinstance(self.axis, tuple) else (self.axis,)
        return tuple(sorted(axis % rank for axis in axes))

    def build(self, input_shape: Any) -> None:
        self.shape = tuple(n if i in self.kept(len(input_shape)) else 1 for i, n in enumerate(input_shape))
        if self.input_mean is not None:
            self.set(self.input_mean, self.input_variance)
        elif not self._own:
            size = tuple(n for i, n in enumerate(self.shape) if i in self.kept(len(input_shape)))
            self.adapt_mean = self.add_weight(size, "zeros", trainable=False, name="mean")
            self.adapt_variance = self.add_weight(size, "ones", trainable=False, name="variance")
            self.adapt_count = self.add_weight((), "zeros", dtype="int32", trainable=False, name="count")
        self.built = True

    def set(self, mean: Any, variance: Any) -> None:
        self.mean, self.variance = (
            np.broadcast_to(np.asarray(v, np.float32), self.shape).copy() for v in (mean, variance)
        )

    def adapt(self, data: Any) -> None:
        """Take mean and variance from an array (N, ...)."""
        if self.input_mean is not None:
            raise ValueError(f"Normalization {self.name!r}: expected no mean and variance of its own before adapt")
        data = np.asarray(data.data if isinstance(data, Tensor) else data)
        data = data[:, None] if data.ndim == 1 else data
        if not self.built:
            self.build(data.shape)
            self.finish_build()
        axes = tuple(i for i in range(data.ndim) if i not in self.kept(data.ndim))
        self.adapt_mean.assign(data.mean(axes, np.float64).astype("f"))
        self.adapt_variance.assign(data.var(axes, np.float64).astype("f"))
        self.adapt_count.assign(np.asarray(data.size // max(self.adapt_mean.size, 1), np.int32))

    def call(self, inputs: Any) -> Any:
        if self.mean is not None:
            mean, variance = (Tensor(beside(v, inputs)) for v in (self.mean, self.variance))
        else:
            mean, variance = (ops.reshape(w, self.shape) for w in (self.adapt_mean, self.adapt_variance))
        spread = ops.maximum(ops.sqrt(variance), 1e-7)
        return inputs * spread + mean if self.invert else (inputs - mean) / spread

    def compute_output_shape(self, input_shape: Any) -> Any:
        return tuple(input_shape)
