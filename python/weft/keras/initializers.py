"""First values of weights, by Keras's names, over `weft.nn.init`.

An initializer is called with a shape, in Keras's layout: a kernel is (..., inputs, outputs).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from weft import random
from weft.autograd import Tensor
from weft.keras import registry
from weft.keras.registry import Configured, Table
from weft.nn import init

Array = np.ndarray[Any, Any]
TRUNCATED = 0.87962566103423978  # standard deviation of a normal distribution cut off at two of its own


class Initializer(Configured):
    """Base: define `__call__(shape, dtype)`, which returns an array.

    >>> from weft import keras
    >>> class Half(keras.initializers.Initializer):
    ...     def __call__(self, shape, dtype=None):
    ...         return np.full(shape, 0.5)
    >>> keras.layers.Dense(2, kernel_initializer=Half())(np.ones((1, 3))).numpy()
    array([[1.5, 1.5]], dtype=float32)
    """

    seed: int | None = None

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        raise NotImplementedError(f"{type(self).__name__}: expected a method `__call__`, got none")

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Tensor:
        return Tensor(np.empty(shape, np.float32 if dtype is None else dtype))

    def generator(self) -> Any:
        """What random ones draw from: a generator of its own where a seed is given, as there each call is the same."""
        return None if self.seed is None else random.Generator(int(self.seed))


class Zeros(Initializer):
    """0 everywhere.

    >>> from weft import keras
    >>> keras.initializers.Zeros()((2,))
    array([0., 0.], dtype=float32)
    """

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Array:
        return init.zeros_(self.empty(shape, dtype)).data


class Ones(Initializer):
    """1 everywhere.

    >>> from weft import keras
    >>> keras.initializers.Ones()((2,))
    array([1., 1.], dtype=float32)
    """

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Array:
        return init.ones_(self.empty(shape, dtype)).data


class Constant(Initializer):
    """`value` everywhere: a number, or an array that broadcasts to the shape.

    >>> from weft import keras
    >>> keras.initializers.Constant(3)((2,))
    array([3., 3.], dtype=float32)
    """

    def __init__(self, value: Any = 0.0):
        self.value = value

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Array:
        return np.broadcast_to(np.asarray(self.value, np.float32 if dtype is None else dtype), shape).copy()


class Identity(Initializer):
    """The identity of a matrix, times gain.

    >>> from weft import keras
    >>> keras.initializers.Identity()((2, 2))
    array([[1., 0.],
           [0., 1.]], dtype=float32)
    """

    def __init__(self, gain: float = 1.0):
        self.gain = gain

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Array:
        return self.gain * init.eye_(self.empty(shape, dtype)).data


class RandomNormal(Initializer):
    """N(mean, stddev^2).

    >>> from weft import keras
    >>> keras.initializers.RandomNormal(seed=1)((2, 3)).shape
    (2, 3)
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None):
        self.mean, self.stddev, self.seed = mean, stddev, seed

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Array:
        return init.normal_(self.empty(shape, dtype), self.mean, self.stddev, self.generator()).data


class TruncatedNormal(RandomNormal):
    """N(mean, stddev^2) without what lies more than two stddev from the mean.

    >>> from weft import keras
    >>> bool(abs(keras.initializers.TruncatedNormal()((100,))).max() <= 0.1)
    True
    """

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Array:
        low, high = self.mean - 2 * self.stddev, self.mean + 2 * self.stddev
        return init.trunc_normal_(self.empty(shape, dtype), self.mean, self.stddev, low, high, self.generator()).data


class RandomUniform(Initializer):
    """U(minval, maxval).

    >>> from weft import keras
    >>> keras.initializers.RandomUniform()((2, 3)).shape
    (2, 3)
    """

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None):
        self.minval, self.maxval, self.seed = minval, maxval, seed

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Array:
        return init.uniform_(self.empty(shape, dtype), self.minval, self.maxval, self.generator()).data


class Orthogonal(Initializer):
    """Orthogonal rows or columns of the matrix (rest, outputs), times gain.  Saxe, McClelland and Ganguli, 2013.

    >>> from weft import keras
    >>> keras.initializers.Orthogonal()((2, 3)).shape
    (2, 3)
    """

    def __init__(self, gain: float = 1.0, seed: int | None = None):
        self.gain, self.seed = gain, seed

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Array:
        if len(shape) < 2:
            raise ValueError(f"Orthogonal: expected a shape of at least 2 dimensions, got {shape}")
        flat = self.empty((math.prod(shape[:-1]), shape[-1]), dtype)
        return init.orthogonal_(flat, self.gain, self.generator()).data.reshape(shape)


class VarianceScaling(Initializer):
    """A variance of scale / n, with n the inputs ("fan_in"), outputs ("fan_out") or their mean ("fan_avg").

    distribution: "truncated_normal", "untruncated_normal" or "uniform". input_axes, output_axes: of the shape, where it
    is no kernel (..., inputs, outputs).

    >>> from weft import keras
    >>> keras.initializers.VarianceScaling(2.0, mode="fan_out")((2, 3)).shape
    (2, 3)
    """

    def __init__(
        self, scale: float = 1.0, mode: str = "fan_in", distribution: str = "truncated_normal", seed: int | None = None,
        input_axes: Any = None, output_axes: Any = None,
    ):  # fmt: skip
        distribution = "truncated_normal" if distribution == "normal" else distribution
        kinds = ("truncated_normal", "untruncated_normal", "uniform")
        if scale <= 0 or mode not in ("fan_in", "fan_out", "fan_avg") or distribution not in kinds:
            raise ValueError(
                "VarianceScaling: expected scale > 0, mode fan_in, fan_out or fan_avg, and distribution "
                f"{', '.join(kinds)}; got {scale}, {mode!r} and {distribution!r}"
            )
        self.scale, self.mode, self.distribution, self.seed = scale, mode, distribution, seed
        self.input_axes, self.output_axes = input_axes, output_axes

    def fans(self, shape: tuple[int, ...]) -> tuple[int, int]:
        if self.input_axes is not None and self.output_axes is not None:
            return math.prod(shape[i] for i in self.input_axes), math.prod(shape[i] for i in self.output_axes)
        if len(shape) < 2:
            return math.prod(shape), math.prod(shape)
        return math.prod(shape[:-1]), math.prod(shape[:-2]) * shape[-1]

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Array:
        inputs, outputs = self.fans(shape)
        n = {"fan_in": inputs, "fan_out": outputs, "fan_avg": (inputs + outputs) / 2}[self.mode]
        std = math.sqrt(self.scale / max(1.0, n))
        target, generator = self.empty(shape, dtype), self.generator()
        if self.distribution == "uniform":
            return init.uniform_(target, -math.sqrt(3) * std, math.sqrt(3) * std, generator).data
        if self.distribution == "untruncated_normal":
            return init.normal_(target, 0.0, std, generator).data
        std /= TRUNCATED
        return init.trunc_normal_(target, 0.0, std, -2 * std, 2 * std, generator).data


class Fixed(VarianceScaling):
    """A VarianceScaling with everything but the seed given."""

    settings: tuple[float, str, str]

    def __init__(self, seed: int | None = None, input_axes: Any = None, output_axes: Any = None):
        super().__init__(*self.settings, seed, input_axes, output_axes)


class GlorotUniform(Fixed):
    """Variance 2 / (inputs + outputs).  Glorot and Bengio, 2010.

    >>> from weft import keras
    >>> keras.initializers.GlorotUniform(seed=1)((2, 3)).shape
    (2, 3)
    """

    settings = (1.0, "fan_avg", "uniform")


class GlorotNormal(Fixed):
    """Variance 2 / (inputs + outputs).  Glorot and Bengio, 2010.

    >>> from weft import keras
    >>> keras.initializers.GlorotNormal(seed=1)((2, 3)).shape
    (2, 3)
    """

    settings = (1.0, "fan_avg", "truncated_normal")


class HeUniform(Fixed):
    """Variance 2 / inputs.  He et al., 2015.

    >>> from weft import keras
    >>> keras.initializers.HeUniform(seed=1)((2, 3)).shape
    (2, 3)
    """

    settings = (2.0, "fan_in", "uniform")


class HeNormal(Fixed):
    """Variance 2 / inputs.  He et al., 2015.

    >>> from weft import keras
    >>> keras.initializers.HeNormal(seed=1)((2, 3)).shape
    (2, 3)
    """

    settings = (2.0, "fan_in", "truncated_normal")


class LecunUniform(Fixed):
    """Variance 1 / inputs.  LeCun et al., 1998.

    >>> from weft import keras
    >>> keras.initializers.LecunUniform(seed=1)((2, 3)).shape
    (2, 3)
    """

    settings = (1.0, "fan_in", "uniform")


class LecunNormal(Fixed):
    """Variance 1 / inputs.  LeCun et al., 1998.

    >>> from weft import keras
    >>> keras.initializers.LecunNormal(seed=1)((2, 3)).shape
    (2, 3)
    """

    settings = (1.0, "fan_in", "truncated_normal")


CLASSES = (Zeros, Ones, Constant, Identity, RandomNormal, TruncatedNormal, RandomUniform, Orthogonal, VarianceScaling,
           GlorotUniform, GlorotNormal, HeUniform, HeNormal, LecunUniform, LecunNormal)  # fmt: skip
TABLE = Table(
    "initializer", "keras.initializers", {c.__name__: c for c in CLASSES},
    {"normal": "RandomNormal", "uniform": "RandomUniform", "one": "Ones", "zero": "Zeros",
     "OrthogonalInitializer": "Orthogonal", "IdentityInitializer": "Identity"},
)  # fmt: skip
#: Keras's other names of the same classes.
zeros, ones, constant, identity, orthogonal, variance_scaling = (
    Zeros, Ones, Constant, Identity, Orthogonal, VarianceScaling,
)  # fmt: skip
random_normal, random_uniform, truncated_normal = RandomNormal, RandomUniform, TruncatedNormal
glorot_uniform, glorot_normal, he_uniform, he_normal = GlorotUniform, GlorotNormal, HeUniform, HeNormal
lecun_uniform, lecun_normal = LecunUniform, LecunNormal
IdentityInitializer, OrthogonalInitializer = Identity, Orthogonal
get, serialize, deserialize = TABLE.get, registry.serialize, registry.deserialize
