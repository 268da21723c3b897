"""Layers that move values about."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from weft import ops
from weft.keras.layer import Layer
from weft.keras.layers.conv import is_last, to_last
from weft.nn import functional as F


class Moving(Layer):
    """What these share: whole numbers stay whole."""

    floats = False


class Flatten(Moving):
    """Each sample as one row.  (N, ...) -> (N, product)

    >>> from weft import keras
    >>> keras.layers.Flatten()(np.ones((2, 3, 4), "f")).shape
    (2, 12)
    """

    def __init__(self, data_format: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.last = is_last(data_format, "Flatten")

    def call(self, inputs: Any) -> Any:
        x = inputs if self.last or inputs.ndim < 3 else to_last(inputs)
        return F.flatten(x, 1) if x.ndim > 1 else ops.expand_dims(x, axis=-1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        sizes = input_shape[1:]
        return (input_shape[0], None if None in sizes else math.prod(sizes))


class Reshape(Moving):
    """Each sample in another shape, one size of which may be -1.

    >>> from weft import keras
    >>> keras.layers.Reshape((2, -1))(np.ones((3, 8), "f")).shape
    (3, 2, 4)
    """

    def __init__(self, target_shape: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.target_shape = (target_shape,) if isinstance(target_shape, int) else tuple(target_shape)
        if sum(n == -1 for n in self.target_shape) > 1:
            raise ValueError(f"Reshape: expected at most one -1, got {target_shape}")

    def call(self, inputs: Any) -> Any:
        size = math.prod(inputs.shape[1:])
        known = math.prod(n for n in self.target_shape if n != -1)
        if (known != size) if -1 not in self.target_shape else (not known or size % known):
            raise ValueError(f"Reshape {self.name!r}: expected samples of a size that fits {self.target_shape}, "
                             f"got {tuple(inputs.shape[1:])}")  # fmt: skip
        return ops.reshape(inputs, (inputs.shape[0], *self.target_shape))

    def compute_output_shape(self, input_shape: Any) -> Any:
        sizes, target = input_shape[1:], list(self.target_shape)
        if -1 in target:
            known = math.prod(n for n in target if n != -1)
            target[target.index(-1)] = None if None in sizes else math.prod(sizes) // known
        return (input_shape[0], *target)


class Permute(Moving):
    """The axes of each sample in another order, counted from 1.

    >>> from weft import keras
    >>> keras.layers.Permute((2, 1))(np.ones((3, 8, 5), "f")).shape
    (3, 5, 8)
    """

    def __init__(self, dims: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.dims = tuple(dims)
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise ValueError(f"Permute: expected each of 1 to {len(self.dims)} once, got {dims}")

    def call(self, inputs: Any) -> Any:
        return ops.permute_dims(inputs, (0, *self.dims))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], *(input_shape[i] for i in self.dims))


class RepeatVector(Moving):
    """A row n times.  (N, F) -> (N, n, F)

    >>> from weft import keras
    >>> keras.layers.RepeatVector(4)(np.ones((3, 8), "f")).shape
    (3, 4, 8)
    """

    def __init__(self, n: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.n = n

    def call(self, inputs: Any) -> Any:
        return ops.repeat(ops.expand_dims(inputs, axis=1), self.n, axis=1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], self.n, input_shape[1])


class Bordered(Moving):
    """What padding and cropping share: (before, after) of each axis."""

    rank: ClassVar[int] = 2
    sign: ClassVar[int] = 1

    def setup(self, given: Any, data_format: Any) -> None:
        name = type(self).__name__
        self.last = is_last(data_format, name)
        if isinstance(given, int):
            given = ((given, given),) * self.rank
        elif self.rank == 1:
            given = (given,)
        self.sides = tuple((n, n) if isinstance(n, int) else tuple(n) for n in given)
        if len(self.sides) != self.rank or any(len(pair) != 2 for pair in self.sides):
            raise ValueError(f"{name}: expected an int, {self.rank} of them or pairs, got {given!r}")

    def call(self, inputs: Any) -> Any:
        before = 1 if self.last else 2
        pairs = [(0, 0)] * before + list(self.sides) + [(0, 0)] * (inputs.ndim - before - self.rank)
        if self.sign > 0:
            return ops.pad(inputs, tuple(pairs))
        if any(a + b >= n for (a, b), n in zip(pairs, inputs.shape) if a or b):
            raise ValueError(f"{type(self).__name__} {self.name!r}: expected input larger than the cropping "
                             f"{self.sides}, got {tuple(inputs.shape)}")  # fmt: skip
        return inputs[tuple(slice(a, n - b) for (a, b), n in zip(pairs, inputs.shape))]

    def compute_output_shape(self, input_shape: Any) -> Any:
        shape = list(input_shape)
        for i, pair in enumerate(self.sides, 1 if self.last else 2):
            shape[i] = None if shape[i] is None else shape[i] + self.sign * sum(pair)
        return tuple(shape)


class ZeroPadding1D(Bordered):
    """Zeros before and after a sequence.  (N, T, C) -> (N, T + before + after, C)

    >>> from weft import keras
    >>> keras.layers.ZeroPadding1D(2)(np.ones((3, 8, 5), "f")).shape
    (3, 12, 5)
    """

    rank = 1

    def __init__(self, padding: Any = 1, data_format: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.setup(padding, data_format)


class ZeroPadding2D(Bordered):
    """Zeros around images; padding: an int, (rows, columns), or ((top, bottom), (left, right)).

    >>> from weft import keras
    >>> keras.layers.ZeroPadding2D(((1, 0), (2, 2)))(np.ones((3, 8, 8, 5), "f")).shape
    (3, 9, 12, 5)
    """

    def __init__(self, padding: Any = (1, 1), data_format: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.setup(padding, data_format)


class ZeroPadding3D(Bordered):
    """Zeros around volumes.

    >>> from weft import keras
    >>> keras.layers.ZeroPadding3D()(np.ones((1, 2, 2, 2, 5), "f")).shape
    (1, 4, 4, 4, 5)
    """

    rank = 3

    def __init__(self, padding: Any = ((1, 1), (1, 1), (1, 1)), data_format: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.setup(padding, data_format)


class Cropping1D(Bordered):
    """A sequence without its ends.  (N, T, C) -> (N, T - before - after, C)

    >>> from weft import keras
    >>> keras.layers.Cropping1D((1, 2))(np.ones((3, 8, 5), "f")).shape
    (3, 5, 5)
    """

    rank, sign = 1, -1

    def __init__(self, cropping: Any = (1, 1), **kwargs: Any):
        super().__init__(**kwargs)
        self.setup(cropping, None)


class Cropping2D(Bordered):
    """Images without their borders; cropping as ZeroPadding2D's padding.

    >>> from weft import keras
    >>> keras.layers.Cropping2D(2)(np.ones((3, 8, 8, 5), "f")).shape
    (3, 4, 4, 5)
    """

    sign = -1

    def __init__(self, cropping: Any = ((0, 0), (0, 0)), data_format: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.setup(cropping, data_format)


class Cropping3D(Bordered):
    """Volumes without their borders.

    >>> from weft import keras
    >>> keras.layers.Cropping3D()(np.ones((1, 4, 4, 4, 5), "f")).shape
    (1, 2, 2, 2, 5)
    """

    rank, sign = 3, -1

    def __init__(self, cropping: Any = ((1, 1), (1, 1), (1, 1)), data_format: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.setup(cropping, data_format)
