"""Layers that turn, shift, zoom, shear and cut images at random, in training alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from weft import ops
from weft.autograd import Tensor
from weft.backends.device import beside
from weft.keras.layers.conv import is_last, to_first, to_last
from weft.keras.layers.regularization import Noise
from weft.nn import functional as F
from weft.nn.functional.sampling import sampled

Array = np.ndarray[Any, Any]
OUTSIDE = {"reflect": "reflection", "wrap": "wrap", "nearest": "border", "constant": "zeros"}  # how `sampled` says it


class Moved(Noise):
    """What these share: `matrices` says where each pixel of the output is taken, rows and columns in pixels.

    fill_mode: outside of the image lie "reflect" (dcba|abcd|dcba), "wrap", "nearest" or "constant" (`fill_value`).
    """

    def __init__(self, fill_mode: str, interpolation: str, seed: int | None, fill_value: float, data_format: Any,
                 **kwargs: Any):  # fmt: skip
        super().__init__(seed, **kwargs)
        name = type(self).__name__
        if fill_mode not in OUTSIDE:
            raise ValueError(f"{name}: expected fill_mode out of {', '.join(OUTSIDE)}, got {fill_mode!r}")
        if interpolation not in ("nearest", "bilinear"):
            raise ValueError(f"{name}: expected interpolation nearest or bilinear, got {interpolation!r}")
        self.fill_mode, self.interpolation, self.fill_value = fill_mode, interpolation, float(fill_value)
        self.last = is_last(data_format, name)

    def matrices(self, count: int, height: int, width: int) -> Array:
        """((xx, xy, x0), (yx, yy, y0)) of each image: pixel (x, y) is taken at (xx x + xy y + x0, yx x + yy y + y0)."""
        raise NotImplementedError(f"{type(self).__name__}: expected a method `matrices`, got none")

    def drawn(self, factor: tuple[float, float], count: int) -> Array:
        return self.generator().uniform_array((count,), *factor, np.float32).astype(np.float64)

    def disturbed(self, x: Any) -> Any:
        check_images(self, x)
        if x.ndim == 3:
            return self.disturbed(x[None])[0]
        given, x = x.dtype, to_first(x) if self.last else x
        if given not in (np.float32, np.float64):  # in 16 bits places would be pixels off
            x = ops.astype(x, dtype=np.float32)
        N, _, H, W = x.shape
        rows = self.matrices(N, H, W)[..., None, None]  # (N, 2, 3, 1, 1)
        right, down = np.arange(W), np.arange(H)[:, None]
        where_x, where_y = (rows[:, k, 0] * right + rows[:, k, 1] * down + rows[:, k, 2] for k in (0, 1))  # (N, H, W)
        places = [Tensor(beside(where.astype(x.dtype), x)) for where in (where_y, where_x)]
        padding = OUTSIDE[self.fill_mode]
        base = self.fill_value if padding == "zeros" else 0.0
        mode = "linear" if self.interpolation == "bilinear" else "nearest"
        out = sampled(x - base if base else x, places, mode, padding)
        out = out + base if base else out
        out = out if out.dtype == given else ops.astype(out, dtype=given)
        return to_last(out) if self.last else out


class RandomRotation(Moved):
    """Each image turned about its middle by a part of a full turn out of [-factor, factor] or a pair, in training.

    A positive part turns counter-clockwise.

    >>> from weft import keras
    >>> keras.layers.RandomRotation((0.25, 0.25))(np.eye(2, dtype="f")[None, :, :, None], training=True).shape
    (1, 2, 2, 1)
    """

    def __init__(self, factor: Any, fill_mode: str = "reflect", interpolation: str = "bilinear",
                 seed: int | None = None, fill_value: float = 0.0, data_format: Any = None, **kwargs: Any):  # fmt: skip
        super().__init__(fill_mode, interpolation, seed, fill_value, data_format, **kwargs)
        self.factor = span("RandomRotation", "factor", factor)

    def matrices(self, count: int, height: int, width: int) -> Array:
        angle = self.drawn(self.factor, count) * 2 * math.pi
        cos, sin = np.cos(angle), np.sin(angle)
        x, y = (width - 1) / 2, (height - 1) / 2
        return rows_of((cos, -sin, x - x * cos + y * sin), (sin, cos, y - x * sin - y * cos))


class RandomZoom(Moved):
    """Each image made 1 + f times smaller about its middle, f out of [-factor, factor] or a pair, in training.

    Negative factors zoom in. width_factor: that of the rows' direction; None keeps the aspect.

    >>> from weft import keras
    >>> keras.layers.RandomZoom(0.2)(np.ones((2, 8, 8, 3), "f"), training=True).shape
    (2, 8, 8, 3)
    """

    def __init__(self, height_factor: Any, width_factor: Any = None, fill_mode: str = "reflect",
                 interpolation: str = "bilinear", seed: int | None = None, fill_value: float = 0.0,
                 data_format: Any = None, **kwargs: Any):  # fmt: skip
        super().__init__(fill_mode, interpolation, seed, fill_value, data_format, **kwargs)
        self.height_factor = span("RandomZoom", "height_factor", height_factor, above=True)
        self.width_factor = (
            None if width_factor is None else span("RandomZoom", "width_factor", width_factor, above=True)
        )

    def matrices(self, count: int, height: int, width: int) -> Array:
        tall = wide = 1 + self.drawn(self.height_factor, count)
        if self.width_factor is not None:
            wide = 1 + self.drawn(self.width_factor, count)
        zero = np.zeros(count)
        return rows_of((wide, zero, (width - 1) / 2 * (1 - wide)), (zero, tall, (height - 1) / 2 * (1 - tall)))


class RandomTranslation(Moved):
    """Each image shifted down and right by parts of its sides out of [-factor, factor] or pairs, in training.

    >>> from weft import keras
    >>> x = np.arange(4, dtype="f").reshape(1, 1, 4, 1)
    >>> keras.layers.RandomTranslation(0, (0.25, 0.25), "constant")(x, training=True).numpy().ravel()
    array([0., 0., 1., 2.], dtype=float32)
    """

    def __init__(self, height_factor: Any, width_factor: Any, fill_mode: str = "reflect",
                 interpolation: str = "bilinear", seed: int | None = None, fill_value: float = 0.0,
                 data_format: Any = None, **kwargs: Any):  # fmt: skip
        super().__init__(fill_mode, interpolation, seed, fill_value, data_format, **kwargs)
        self.height_factor = span("RandomTranslation", "height_factor", height_factor)
        self.width_factor = span("RandomTranslation", "width_factor", width_factor)

    def matrices(self, count: int, height: int, width: int) -> Array:
        down, right = self.drawn(self.height_factor, count) * height, self.drawn(self.width_factor, count) * width
        one, zero = np.ones(count), np.zeros(count)
        return rows_of((one, zero, -right), (zero, one, -down))


class RandomShear(Moved):
    """Each image slanted along x and y by factors out of [-factor, factor] or pairs of [0, 1], in training.

    Pixels per pixel from the upper left corner; half of the images the other way.

    >>> from weft import keras
    >>> keras.layers.RandomShear(0.2)(np.ones((2, 8, 8, 3), "f"), training=True).shape
    (2, 8, 8, 3)
    """

    def __init__(self, x_factor: Any = 0.0, y_factor: Any = 0.0, interpolation: str = "bilinear",
                 fill_mode: str = "reflect", fill_value: float = 0.0, data_format: Any = None,
                 seed: int | None = None, **kwargs: Any):  # fmt: skip
        super().__init__(fill_mode, interpolation, seed, fill_value, data_format, **kwargs)
        self.x_factor = span("RandomShear", "x_factor", x_factor, low=0.0)
        self.y_factor = span("RandomShear", "y_factor", y_factor, low=0.0)

    def matrices(self, count: int, height: int, width: int) -> Array:
        way = np.where(self.drawn((0.0, 1.0), count) > 0.5, -1.0, 1.0)
        x, y = self.drawn(self.x_factor, count) * way, self.drawn(self.y_factor, count) * way
        one, zero = np.ones(count), np.zeros(count)
        return rows_of((one, x, zero), (y, one, zero))


class RandomCrop(Noise):
    """A window of (height, width) out of images (N, H, W, C) or (H, W, C), the same of a whole batch, in training.

    Outside of training, and where an image is smaller: its largest middle part of that aspect, resized.

    >>> from weft import keras
    >>> keras.layers.RandomCrop(4, 6)(np.ones((2, 8, 8, 3), "f"), training=True).shape
    (2, 4, 6, 3)
    """

    def __init__(self, height: int, width: int, seed: int | None = None, data_format: Any = None,
                 name: str | None = None, **kwargs: Any):  # fmt: skip
        super().__init__(seed, name=name, **kwargs)
        if min(height, width) < 1:
            raise ValueError(f"RandomCrop: expected height and width >= 1, got {height} and {width}")
        self.height, self.width, self.last = height, width, is_last(data_format, "RandomCrop")

    def call(self, inputs: Any, training: Any = None) -> Any:
        check_images(self, inputs)
        if inputs.ndim == 3:
            return self.call(inputs[None], training)[0]
        x = to_first(inputs) if self.last else inputs
        H, W = x.shape[2:]
        if training and self.height <= H and self.width <= W:
            u = self.generator().uniform_array((2,), 0.0, 1.0, np.float32)
            top, left = (min(int(f * (room + 1)), room) for f, room in zip(u, (H - self.height, W - self.width)))
            x = x[:, :, top : top + self.height, left : left + self.width]
        else:
            h, w = aspect(H, W, self.height, self.width)
            x = x[:, :, (H - h) // 2 : (H - h) // 2 + h, (W - w) // 2 : (W - w) // 2 + w]
            if (h, w) != (self.height, self.width):
                x = F.interpolate(x, size=(self.height, self.width), mode="bilinear")
        return to_last(x) if self.last else x

    def compute_output_shape(self, input_shape: Any) -> Any:
        axis = len(input_shape) - (3 if self.last else 2)
        return (*input_shape[:axis], self.height, self.width, *input_shape[axis + 2 :])


def aspect(H: int, W: int, height: int, width: int) -> tuple[int, int]:
    """The height and width of the largest part of H x W that has the aspect height x width."""
    return max(min(H, W * height // width), 1), max(min(W, H * width // height), 1)


def rows_of(*rows: tuple[Array, Array, Array]) -> Array:
    """Two rows of three numbers per image, (N, 2, 3)."""
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def check_images(layer: Any, x: Any) -> None:
    if x.ndim not in (3, 4):
        raise ValueError(
            f"{type(layer).__name__} {layer.name!r}: expected images (N, H, W, C) or (H, W, C), got {x.shape}"
        )


def span(name: str, what: str, factor: Any, low: float = -1.0, above: bool = False) -> tuple[float, float]:
    """A factor f as (-f, f), or a pair in order; all within [low, 1], or (low, 1] with `above`."""
    given = factor if isinstance(factor, (list, tuple)) else (factor,)
    numbers = all(isinstance(f, (int, float, np.number)) for f in given)
    if len(given) not in (1, 2) or not numbers or any(not low <= f <= 1 or (above and f == low) for f in given):
        bounds = f"{'(' if above else '['}{low:g}, 1]"
        raise ValueError(f"{name}: expected {what}, or a pair of them, within {bounds}, got {factor}")
    pair = (-abs(given[0]), abs(given[0])) if len(given) == 1 else sorted(given)
    return float(pair[0]), float(pair[1])


__all__ = ["RandomCrop", "RandomRotation", "RandomShear", "RandomTranslation", "RandomZoom"]
