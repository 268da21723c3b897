"""Pooling to a size: the mean or the largest value of windows that are laid evenly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from weft.keras.layer import Layer
from weft.keras.layers.conv import is_last, to_first, to_last
from weft.nn import functional as F
from weft.nn.functional.shape import tuple_of


class AdaptivePooling(Layer):
    """Window i of m along an axis of n goes from floor(i n / m) to ceil((i + 1) n / m)."""

    rank: ClassVar[int] = 2
    along: ClassVar[Callable[..., Any]] = F.adaptive_avg_pool1d
    across: ClassVar[Callable[..., Any]] = F.adaptive_avg_pool2d
    through: ClassVar[Callable[..., Any]] = F.adaptive_avg_pool3d

    def __init__(self, output_size: Any, data_format: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        name = type(self).__name__
        self.output_size = tuple_of(output_size, self.rank, f"{name}: output_size")
        if min(self.output_size) < 1:
            raise ValueError(f"{name}: expected output_size >= 1, got {output_size}")
        self.last = is_last(data_format, name)

    def call(self, inputs: Any) -> Any:
        if inputs.ndim != self.rank + 2:
            raise ValueError(f"{type(self).__name__} {self.name!r}: expected input of {self.rank + 2} dimensions, "
                             f"with batch and channels, got {tuple(inputs.shape)}")  # fmt: skip
        out = self.pooled(to_first(inputs) if self.last else inputs)
        return to_last(out) if self.last else out

    def pooled(self, x: Any) -> Any:
        kind = type(self)
        if self.rank == 1:
            return kind.along(x, self.output_size[0])
        if self.rank == 2:
            return kind.across(x, self.output_size)
        return kind.through(x, self.output_size)

    def compute_output_shape(self, input_shape: Any) -> Any:
        N, C = input_shape[0], input_shape[-1 if self.last else 1]
        return (N, *self.output_size, C) if self.last else (N, C, *self.output_size)


class AdaptiveMaxPooling(AdaptivePooling):
    """The largest value of each window."""

    along = F.adaptive_max_pool1d
    across = F.adaptive_max_pool2d
    through = F.adaptive_max_pool3d


class AdaptiveAveragePooling1D(AdaptivePooling):
    """The mean of windows of a sequence.  (N, T, C) -> (N, output_size, C)

    >>> from weft import keras
    >>> keras.layers.AdaptiveAveragePooling1D(4)(np.ones((2, 8, 3), "f")).shape
    (2, 4, 3)
    """

    rank = 1


class AdaptiveAveragePooling2D(AdaptivePooling):
    """The mean of windows of an image.  (N, H, W, C) -> (N, *output_size, C)

    >>> from weft import keras
    >>> keras.layers.AdaptiveAveragePooling2D((4, 3))(np.ones((2, 8, 8, 3), "f")).shape
    (2, 4, 3, 3)
    """


class AdaptiveAveragePooling3D(AdaptivePooling):
    """The mean of windows of a volume.  (N, D, H, W, C) -> (N, *output_size, C)

    >>> from weft import keras
    >>> keras.layers.AdaptiveAveragePooling3D((2, 3, 3))(np.ones((1, 4, 5, 6, 2), "f")).shape
    (1, 2, 3, 3, 2)
    """

    rank = 3


class AdaptiveMaxPooling1D(AdaptiveMaxPooling):
    """The largest value of windows of a sequence.  (N, T, C) -> (N, output_size, C)

    >>> from weft import keras
    >>> keras.layers.AdaptiveMaxPooling1D(4)(np.ones((2, 8, 3), "f")).shape
    (2, 4, 3)
    """

    rank = 1


class AdaptiveMaxPooling2D(AdaptiveMaxPooling):
    """The largest value of windows of an image.  (N, H, W, C) -> (N, *output_size, C)

    >>> from weft import keras
    >>> keras.layers.AdaptiveMaxPooling2D((4, 3))(np.ones((2, 8, 8, 3), "f")).shape
    (2, 4, 3, 3)
    """


class AdaptiveMaxPooling3D(AdaptiveMaxPooling):
    """The largest value of windows of a volume.  (N, D, H, W, C) -> (N, *output_size, C)

    >>> from weft import keras
    >>> keras.layers.AdaptiveMaxPooling3D((2, 3, 3))(np.ones((1, 4, 5, 6, 2), "f")).shape
    (1, 2, 3, 3, 2)
    """

    rank = 3


__all__ = ["AdaptiveAveragePooling1D", "AdaptiveAveragePooling2D", "AdaptiveAveragePooling3D", "AdaptiveMaxPooling1D",
           "AdaptiveMaxPooling2D", "AdaptiveMaxPooling3D"]  # fmt: skip
