"""Noise and dropout, which act in training alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from weft import ops, random
from weft.autograd import Tensor
from weft.backends.device import beside
from weft.keras.layer import Layer
from weft.keras.layers.conv import is_last, to_first, to_last
from weft.nn import functional as F


class Noise(Layer):
    """What these share: the shape stays, outside of training the values too. `seed`: random numbers of its own."""

    supports_masking = True

    def __init__(self, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.seed = seed
        self.source = None if seed is None else random.Generator(int(seed))

    def generator(self) -> Any:
        return random.default_generator if self.source is None else self.source

    def call(self, inputs: Any, training: Any = None) -> Any:
        return self.disturbed(inputs) if training else inputs

    def disturbed(self, x: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__}: expected a method `disturbed`, got none")

    def normal(self, x: Any, mean: float, std: float) -> Tensor:
        return Tensor(beside(self.generator().normal_array(x.shape, mean, std, np.float32).astype(x.dtype), x))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return tuple(input_shape)


def checked_rate(name: str, rate: float) -> float:
    if not 0 <= rate <= 1:
        raise ValueError(f"{name}: expected rate in [0, 1], got {rate}")
    return float(rate)


class Dropout(Noise):
    """Sets a share `rate` of the values to 0 in training and scales the others up; noise_shape: axes that drop as one.

    >>> from weft import keras
    >>> keras.layers.Dropout(0.5)(weft.asarray([[2.0]])).tolist()
    [[2.0]]
    """

    def __init__(self, rate: float, noise_shape: Any = None, seed: int | None = None, **kwargs: Any):
        super().__init__(seed, **kwargs)
        self.rate = checked_rate(type(self).__name__, rate)
        self.noise_shape = None if noise_shape is None else tuple(noise_shape)

    def disturbed(self, x: Any) -> Any:
        if self.noise_shape is None:
            return F.dropout(x, self.rate, True, generator=self.source)
        if len(self.noise_shape) != x.ndim:
            raise ValueError(f"Dropout {self.name!r}: expected noise_shape of {x.ndim} axes, got {self.noise_shape}")
        shape = tuple(n if m is None else m for n, m in zip(x.shape, self.noise_shape))
        return x * F.dropout(ops.ones(shape, dtype=x.dtype, device=x.device), self.rate, True, generator=self.source)


class SpatialDropout(Dropout):
    """Whole channels at once."""

    def __init__(self, rate: float, data_format: Any = None, seed: int | None = None, name: str | None = None,
                 dtype: Any = None, **kwargs: Any):  # fmt: skip
        super().__init__(rate, None, seed, name=name, dtype=dtype, **kwargs)
        self.last = is_last(data_format, type(self).__name__)

    def disturbed(self, x: Any) -> Any:
        x = to_first(x) if self.last else x
        kept = ops.ones((*x.shape[:2], *(1,) * (x.ndim - 2)), dtype=x.dtype, device=x.device)
        out = x * F.dropout(kept, self.rate, True, generator=self.source)
        return to_last(out) if self.last else out


class SpatialDropout1D(SpatialDropout):
    """Dropout of whole channels of sequences.

    >>> from weft import keras
    >>> keras.layers.SpatialDropout1D(0.5)(np.ones((2, 8, 3), "f"), training=True).shape
    (2, 8, 3)
    """

    def __init__(self, rate: float, seed: int | None = None, name: str | None = None, dtype: Any = None, **kwargs: Any):
        super().__init__(rate, None, seed, name, dtype, **kwargs)


class SpatialDropout2D(SpatialDropout):
    """Dropout of whole channels of images.

    >>> from weft import keras
    >>> keras.layers.SpatialDropout2D(0.5)(np.ones((2, 8, 8, 3), "f"), training=True).shape
    (2, 8, 8, 3)
    """


class SpatialDropout3D(SpatialDropout):
    """Dropout of whole channels of volumes.

    >>> from weft import keras
    >>> keras.layers.SpatialDropout3D(0.5)(np.ones((1, 2, 2, 2, 3), "f"), training=True).shape
    (1, 2, 2, 2, 3)
    """


class AlphaDropout(Noise):
    """Dropout that keeps mean and variance behind a SELU.  Klambauer et al., 2017.

    >>> from weft import keras
    >>> keras.layers.AlphaDropout(0.5)(weft.asarray([[2.0]])).tolist()
    [[2.0]]
    """

    def __init__(self, rate: float, noise_shape: Any = None, seed: int | None = None, **kwargs: Any):
        super().__init__(seed, **kwargs)
        if noise_shape is not None or seed is not None:
            raise ValueError("AlphaDropout: expected no noise_shape and no seed, which Weft has not")
        self.rate = checked_rate("AlphaDropout", rate)

    def disturbed(self, x: Any) -> Any:
        return F.alpha_dropout(x, self.rate, True)


class GaussianNoise(Noise):
    """Adds N(0, stddev^2) in training.

    >>> from weft import keras
    >>> keras.layers.GaussianNoise(0.5)(weft.asarray([[2.0]])).tolist()
    [[2.0]]
    """

    def __init__(self, stddev: float, seed: int | None = None, **kwargs: Any):
        super().__init__(seed, **kwargs)
        if not stddev >= 0:
            raise ValueError(f"GaussianNoise: expected stddev >= 0, got {stddev}")
        self.stddev = stddev

    def disturbed(self, x: Any) -> Any:
        return x + self.normal(x, 0.0, self.stddev)


class GaussianDropout(Noise):
    """Multiplies by N(1, rate / (1 - rate)) in training.  Srivastava et al., 2014.

    >>> from weft import keras
    >>> keras.layers.GaussianDropout(0.5)(weft.asarray([[2.0]])).tolist()
    [[2.0]]
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any):
        super().__init__(seed, **kwargs)
        self.rate = checked_rate("GaussianDropout", rate)

    def disturbed(self, x: Any) -> Any:
        return x * self.normal(x, 1.0, (self.rate / max(1 - self.rate, 1e-7)) ** 0.5)
