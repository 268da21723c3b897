"""Layers that prepare inputs. The random ones act in training alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from weft import ops
from weft.autograd import Tensor
from weft.backends.device import beside
from weft.keras.layer import Layer
from weft.keras.layers.conv import is_last, to_first, to_last
from weft.keras.layers.geometry import span
from weft.keras.layers.regularization import Noise
from weft.nn import functional as F


class Rescaling(Layer):
    """x scale + offset, such as Rescaling(1 / 255) for pixels.

    >>> from weft import keras
    >>> keras.layers.Rescaling(0.5, offset=1)(np.array([[4]], "uint8")).tolist()
    [[3.0]]
    """

    def __init__(self, scale: Any, offset: Any = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.scale, self.offset = scale, offset

    def call(self, inputs: Any) -> Any:
        scale, offset = (
            v if isinstance(v, (int, float)) else Tensor(beside(np.asarray(v, inputs.dtype), inputs))
            for v in (self.scale, self.offset)
        )
        return inputs * scale + offset

    def compute_output_shape(self, input_shape: Any) -> Any:
        return tuple(input_shape)


class Resizing(Layer):
    """Images (N, H, W, C) or (H, W, C) at another size, by "bilinear", "nearest" or "bicubic" interpolation.

    crop_to_aspect_ratio: cut the sides off first, so that nothing is stretched. antialias: when making smaller.

    >>> from weft import keras
    >>> keras.layers.Resizing(4, 6)(np.ones((2, 8, 8, 3), "f")).shape
    (2, 4, 6, 3)
    """

    def __init__(self, height: int, width: int, interpolation: str = "bilinear", crop_to_aspect_ratio: bool = False,
                 antialias: bool = False, data_format: Any = None, **kwargs: Any):  # fmt: skip
        if kwargs.pop("fill_mode", "constant") != "constant" or kwargs.pop("fill_value", 0.0) != 0.0:
            raise ValueError("Resizing: expected fill_mode constant and fill_value 0; nothing is padded")
        super().__init__(**kwargs)
        if interpolation not in ("bilinear", "nearest", "bicubic"):
            raise ValueError(f"Resizing: expected bilinear, nearest or bicubic, got {interpolation!r}")
        self.height, self.width, self.interpolation = height, width, interpolation
        self.crop_to_aspect_ratio, self.antialias = crop_to_aspect_ratio, antialias
        self.last = is_last(data_format, "Resizing")

    def call(self, inputs: Any) -> Any:
        if inputs.ndim == 3:
            return self.call(inputs[None])[0]
        x = to_first(inputs) if self.last else inputs
        if self.crop_to_aspect_ratio:
            H, W = x.shape[2:]
            h, w = min(H, int(W * self.height / self.width)), min(W, int(H * self.width / self.height))
            x = x[:, :, (H - h) // 2 : (H - h) // 2 + h, (W - w) // 2 : (W - w) // 2 + w]
        mode = "nearest-exact" if self.interpolation == "nearest" else self.interpolation
        options = {"antialias": True} if self.antialias and mode != "nearest-exact" else {}
        out = F.interpolate(x, size=(self.height, self.width), mode=mode, **options)
        return to_last(out) if self.last else out


class CenterCrop(Layer):
    """The middle of images (N, H, W, C) or (H, W, C).

    >>> from weft import keras
    >>> keras.layers.CenterCrop(4, 6)(np.ones((2, 8, 8, 3), "f")).shape
    (2, 4, 6, 3)
    """

    def __init__(self, height: int, width: int, data_format: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.height, self.width, self.last = height, width, is_last(data_format, "CenterCrop")

    def call(self, inputs: Any) -> Any:
        axis = inputs.ndim - (3 if self.last else 2)
        H, W = inputs.shape[axis : axis + 2]
        if H < self.height or W < self.width:
            raise ValueError(f"CenterCrop {self.name!r}: expected images of at least {self.height} x {self.width}, "
                             f"got {H} x {W}")  # fmt: skip
        top, left = (H - self.height) // 2, (W - self.width) // 2
        window = (slice(top, top + self.height), slice(left, left + self.width))
        return inputs[(slice(None),) * axis + window]


class RandomFlip(Noise):
    """Each image of (N, H, W, C) mirrored or not, in training: "horizontal", "vertical" or both.

    >>> from weft import keras
    >>> keras.layers.RandomFlip("horizontal")(np.ones((2, 8, 8, 3), "f"), training=True).shape
    (2, 8, 8, 3)
    """

    def __init__(self, mode: str = "horizontal_and_vertical", seed: int | None = None, data_format: Any = None,
                 **kwargs: Any):  # fmt: skip
        super().__init__(seed, **kwargs)
        if mode not in ("horizontal", "vertical", "horizontal_and_vertical"):
            raise ValueError(f"RandomFlip: expected horizontal, vertical or horizontal_and_vertical, got {mode!r}")
        self.mode, self.last = mode, is_last(data_format, "RandomFlip")

    def disturbed(self, x: Any) -> Any:
        rows = x.ndim - (3 if self.last else 2)
        for kind, axis in (("vertical", rows), ("horizontal", rows + 1)):
            if kind in self.mode:
                shape = (x.shape[0], 1, 1, 1) if x.ndim == 4 else (1, 1, 1)
                chosen = self.generator().uniform_array(shape, 0.0, 1.0, np.float32) < 0.5
                x = ops.where(Tensor(beside(chosen, x)), ops.flip(x, axis=axis), x)
        return x


class RandomBrightness(Noise):
    """A number of [-factor, factor] times the range of values added to each image, in training.

    >>> from weft import keras
    >>> keras.layers.RandomBrightness(0.2)(np.ones((2, 8, 8, 3), "f"), training=True).shape
    (2, 8, 8, 3)
    """

    def __init__(self, factor: Any, value_range: Any = (0, 255), seed: int | None = None, **kwargs: Any):
        super().__init__(seed, **kwargs)
        self.factor, self.value_range = (
            span("RandomBrightness", "factor", factor),
            checked_range("RandomBrightness", value_range),
        )

    def disturbed(self, x: Any) -> Any:
        low, high = self.value_range
        shape = (x.shape[0], 1, 1, 1) if x.ndim == 4 else (1, 1, 1)
        drawn = self.generator().uniform_array(shape, *self.factor, np.float32) * (high - low)
        return ops.clip(x + Tensor(beside(drawn.astype(x.dtype), x)), low, high)


class RandomContrast(Noise):
    """The distance of each image's values from their mean times a number of [1 - factor, 1 + factor], in training.

    Of a pair (a, b) the number is in [1 - a, 1 + b]. Results are clipped to value_range.

    >>> from weft import keras
    >>> keras.layers.RandomContrast(0.2)(np.ones((2, 8, 8, 3), "f"), training=True).shape
    (2, 8, 8, 3)
    """

    def __init__(self, factor: Any, value_range: Any = (0, 255), seed: int | None = None, **kwargs: Any):
        super().__init__(seed, **kwargs)
        low, high = span("RandomContrast", "factor", factor, low=0.0)
        self.factor = (abs(low), high)
        self.value_range = checked_range("RandomContrast", value_range)

    def disturbed(self, x: Any) -> Any:
        low, high = self.factor
        shape = (x.shape[0], 1, 1, 1) if x.ndim == 4 else (1, 1, 1)
        drawn = self.generator().uniform_array(shape, 1 - low, 1 + high, np.float32)
        mean = ops.mean(x, axis=(-3, -2), keepdims=True)
        return ops.clip((x - mean) * Tensor(beside(drawn.astype(x.dtype), x.data)) + mean, *self.value_range)


def checked_range(name: str, value_range: Any) -> tuple[float, float]:
    """The least and the largest value of a pixel, in order."""
    if not isinstance(value_range, (list, tuple)) or len(value_range) != 2:
        raise ValueError(f"{name}: expected value_range to be two numbers, got {value_range}")
    low, high = sorted(value_range)
    return low, high


__all__ = ["CenterCrop", "RandomBrightness", "RandomContrast", "RandomFlip", "Rescaling",
           "Resizing"]  # fmt: skip
