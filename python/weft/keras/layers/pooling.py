"""Pooling, channels last."""

from __future__ import annotations

from typing import Any, ClassVar

from weft import ops
from weft.keras.layer import Layer
from weft.keras.layers.conv import is_last, sides, slid, to_first, to_last
from weft.nn import functional as F
from weft.nn.functional.shape import tuple_of
from weft.nn.functional.volumes import volumes


class Pooling(Layer):
    """The largest or mean value of each window; `strides` are the window's size by default."""

    rank: ClassVar[int] = 2
    mean: ClassVar[bool] = False

    def setup(self, pool_size: Any, strides: Any, padding: str, data_format: Any) -> None:
        name = type(self).__name__
        self.pool_size = tuple_of(pool_size, self.rank, f"{name}: pool_size")
        self.strides = self.pool_size if strides is None else tuple_of(strides, self.rank, f"{name}: strides")
        self.padding, self.last = str(padding).lower(), is_last(data_format, name)
        if self.padding not in ("valid", "same"):
            raise ValueError(f"{name}: expected padding valid or same, got {padding!r}")

    def call(self, inputs: Any) -> Any:
        n = self.rank
        if inputs.ndim != n + 2:
            raise ValueError(f"{type(self).__name__} {self.name!r}: expected input of {n + 2} dimensions, with batch "
                             f"and channels, got {tuple(inputs.shape)}")  # fmt: skip
        x = to_first(inputs) if self.last else inputs
        pads = sides(self.padding, x.shape[2:], self.pool_size, self.strides, (1,) * n)
        if n == 1:
            out = ops.squeeze(self.pool(ops.expand_dims(x, axis=2), (1, *self.pool_size), (1, *self.strides),
                                        ((0, 0), *pads)), axis=2)  # fmt: skip
        elif n == 2:
            out = self.pool(x, self.pool_size, self.strides, pads)
        else:
            name = f"{type(self).__name__} {self.name!r}"
            out = volumes(name, self.pool, self.pool, x, kernel_size=self.pool_size, stride=self.strides, padding=pads)
        return to_last(out) if self.last else out

    def pool(self, x: Any, kernel_size: Any, stride: Any, padding: Any) -> Any:
        if self.mean:
            return ops.avg_pool2d(x, kernel_size, stride=stride, padding=padding, count_include_pad=False)
        return ops.max_pool2d(x, kernel_size, stride=stride, padding=padding)

    def compute_output_shape(self, input_shape: Any) -> Any:
        N, *sizes = input_shape
        C = sizes.pop(-1 if self.last else 0)
        sizes = [slid(n, self.padding, k, s) for n, k, s in zip(sizes, self.pool_size, self.strides)]
        return (N, *sizes, C) if self.last else (N, C, *sizes)


class MaxPooling(Pooling):
    def __init__(self, pool_size: Any = 2, strides: Any = None, padding: str = "valid", data_format: Any = None,
                 name: str | None = None, **kwargs: Any):  # fmt: skip
        super().__init__(name=name, **kwargs)
        self.setup(pool_size, strides, padding, data_format)


class AveragePooling(Pooling):
    mean = True

    def __init__(self, pool_size: Any, strides: Any = None, padding: str = "valid", data_format: Any = None,
                 name: str | None = None, **kwargs: Any):  # fmt: skip
        super().__init__(name=name, **kwargs)
        self.setup(pool_size, strides, padding, data_format)


class MaxPooling1D(MaxPooling):
    """The largest value of each window of a sequence.  (N, T, C) -> (N, T', C)

    >>> from weft import keras
    >>> keras.layers.MaxPooling1D()(np.ones((2, 8, 3), "f")).shape
    (2, 4, 3)
    """

    rank = 1


class MaxPooling2D(MaxPooling):
    """The largest value of each window of an image.  (N, H, W, C) -> (N, H', W', C)

    >>> from weft import keras
    >>> keras.layers.MaxPooling2D()(np.ones((2, 8, 8, 3), "f")).shape
    (2, 4, 4, 3)
    """


class MaxPooling3D(MaxPooling):
    """The largest value of each window of a volume.  (N, D, H, W, C) -> (N, D', H', W', C)

    >>> from weft import keras
    >>> keras.layers.MaxPooling3D()(np.ones((2, 4, 4, 4, 3), "f")).shape
    (2, 2, 2, 2, 3)
    """

    rank = 3


class AveragePooling1D(AveragePooling):
    """The mean of each window of a sequence, whose padding does not count.  (N, T, C) -> (N, T', C)

    >>> from weft import keras
    >>> keras.layers.AveragePooling1D(2)(np.ones((2, 8, 3), "f")).shape
    (2, 4, 3)
    """

    rank = 1


class AveragePooling2D(AveragePooling):
    """The mean of each window of an image, whose padding does not count.  (N, H, W, C) -> (N, H', W', C)

    >>> from weft import keras
    >>> keras.layers.AveragePooling2D(2)(np.ones((2, 8, 8, 3), "f")).shape
    (2, 4, 4, 3)
    """


class AveragePooling3D(AveragePooling):
    """The mean of each window of a volume, whose padding does not count.  (N, D, H, W, C) -> (N, D', H', W', C)

    >>> from weft import keras
    >>> keras.layers.AveragePooling3D(2)(np.ones((2, 4, 4, 4, 3), "f")).shape
    (2, 2, 2, 2, 3)
    """

    rank = 3


class GlobalPooling(Layer):
    """One value per channel."""

    rank: ClassVar[int] = 2
    mean: ClassVar[bool] = True

    def __init__(self, data_format: Any = None, keepdims: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.last, self.keepdims = is_last(data_format, type(self).__name__), keepdims

    def axes(self) -> tuple[int, ...]:
        return tuple(range(1, self.rank + 1) if self.last else range(2, self.rank + 2))

    def call(self, inputs: Any) -> Any:
        if inputs.ndim != self.rank + 2:
            raise ValueError(f"{type(self).__name__} {self.name!r}: expected input of {self.rank + 2} dimensions, "
                             f"with batch and channels, got {tuple(inputs.shape)}")  # fmt: skip
        reduce = ops.mean if self.mean else ops.max
        return reduce(inputs, axis=self.axes(), keepdims=self.keepdims)

    def compute_output_shape(self, input_shape: Any) -> Any:
        shape = [1 if i in self.axes() else n for i, n in enumerate(input_shape)]
        return tuple(n for i, n in enumerate(shape) if self.keepdims or i not in self.axes())


class GlobalAveragePooling1D(GlobalPooling):
    """The mean over the steps of a sequence, those that a mask leaves out apart.  (N, T, C) -> (N, C)

    >>> from weft import keras
    >>> keras.layers.GlobalAveragePooling1D()(np.ones((2, 8, 3), "f")).shape
    (2, 3)
    """

    rank = 1

    def call(self, inputs: Any, mask: Any = None) -> Any:
        if mask is None:
            return super().call(inputs)
        T = 1 if self.last else 2
        counts = ops.astype(ops.expand_dims(mask, axis=3 - T), dtype=inputs.dtype)
        total, number = (ops.sum(v, axis=T, keepdims=self.keepdims) for v in (inputs * counts, counts))
        return total / number


class GlobalAveragePooling2D(GlobalPooling):
    """The mean over an image.  (N, H, W, C) -> (N, C)

    >>> from weft import keras
    >>> keras.layers.GlobalAveragePooling2D()(np.ones((2, 8, 8, 3), "f")).shape
    (2, 3)
    """


class GlobalAveragePooling3D(GlobalPooling):
    """The mean over a volume.  (N, D, H, W, C) -> (N, C)

    >>> from weft import keras
    >>> keras.layers.GlobalAveragePooling3D()(np.ones((2, 4, 4, 4, 3), "f")).shape
    (2, 3)
    """

    rank = 3


class GlobalMaxPooling1D(GlobalPooling):
    """The largest value over the steps of a sequence.  (N, T, C) -> (N, C)

    >>> from weft import keras
    >>> keras.layers.GlobalMaxPooling1D()(np.ones((2, 8, 3), "f")).shape
    (2, 3)
    """

    rank, mean = 1, False


class GlobalMaxPooling2D(GlobalPooling):
    """The largest value over an image.  (N, H, W, C) -> (N, C)

    >>> from weft import keras
    >>> keras.layers.GlobalMaxPooling2D()(np.ones((2, 8, 8, 3), "f")).shape
    (2, 3)
    """

    mean = False


class GlobalMaxPooling3D(GlobalPooling):
    """The largest value over a volume.  (N, D, H, W, C) -> (N, C)

    >>> from weft import keras
    >>> keras.layers.GlobalMaxPooling3D()(np.ones((2, 4, 4, 4, 3), "f")).shape
    (2, 3)
    """

    rank, mean = 3, False


class UpSampling(Layer):
    """Each value repeated, or values between them."""

    rank: ClassVar[int] = 2

    def setup(self, size: Any, data_format: Any, interpolation: str = "nearest") -> None:
        name = type(self).__name__
        self.size, self.last = tuple_of(size, self.rank, f"{name}: size"), is_last(data_format, name)
        if interpolation not in ("nearest", "bilinear", "bicubic"):
            raise ValueError(f"{name}: expected interpolation nearest, bilinear or bicubic, got {interpolation!r}")
        self.interpolation = interpolation

    def call(self, inputs: Any) -> Any:
        first = 1 if self.last else 2
        if self.interpolation == "nearest":
            for i, n in enumerate(self.size):
                inputs = ops.repeat(inputs, n, axis=first + i) if n > 1 else inputs
            return inputs
        x = to_first(inputs) if self.last else inputs
        sizes = tuple(n * k for n, k in zip(x.shape[2:], self.size))
        out = F.interpolate(x, size=sizes, mode=self.interpolation)
        return to_last(out) if self.last else out

    def compute_output_shape(self, input_shape: Any) -> Any:
        shape = list(input_shape)
        for i, k in enumerate(self.size, 1 if self.last else 2):
            shape[i] = None if shape[i] is None else shape[i] * k
        return tuple(shape)


class UpSampling1D(UpSampling):
    """Each step `size` times.  (N, T, C) -> (N, T size, C)

    >>> from weft import keras
    >>> keras.layers.UpSampling1D(3)(np.ones((2, 4, 3), "f")).shape
    (2, 12, 3)
    """

    rank = 1

    def __init__(self, size: Any = 2, **kwargs: Any):
        super().__init__(**kwargs)
        self.setup(size, None)


class UpSampling2D(UpSampling):
    """Images enlarged, "nearest", "bilinear" or "bicubic".  (N, H, W, C) -> (N, H size, W size, C)

    >>> from weft import keras
    >>> keras.layers.UpSampling2D()(np.ones((2, 4, 4, 3), "f")).shape
    (2, 8, 8, 3)
    """

    def __init__(self, size: Any = (2, 2), data_format: Any = None, interpolation: str = "nearest", **kwargs: Any):
        super().__init__(**kwargs)
        self.setup(size, data_format, interpolation)


class UpSampling3D(UpSampling):
    """Volumes enlarged, each value repeated.  (N, D, H, W, C) -> (N, D size, H size, W size, C)

    >>> from weft import keras
    >>> keras.layers.UpSampling3D()(np.ones((1, 2, 2, 2, 3), "f")).shape
    (1, 4, 4, 4, 3)
    """

    rank = 3

    def __init__(self, size: Any = (2, 2, 2), data_format: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.setup(size, data_format)
