"""Convolutions, channels last: kernels are (k..., inputs, filters), as Keras has them.

Each runs with the channels first, as the primitives of Weft do; the axes are only turned in name, so a chain of these
layers copies nothing in between.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

from weft import ops
from weft.keras import activations
from weft.keras.layers.core import Weighted
from weft.nn import functional as F
from weft.nn.functional.shape import tuple_of

CONVOLVE: dict[int, Callable[..., Any]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
GROW: dict[int, Callable[..., Any]] = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def is_last(data_format: str | None, name: str) -> bool:
    """Whether the channels stand last."""
    if data_format not in (None, "channels_last", "channels_first"):
        raise ValueError(f"{name}: expected data_format channels_last or channels_first, got {data_format!r}")
    return data_format != "channels_first"


def to_first(x: Any) -> Any:
    """(N, ..., C) -> (N, C, ...), turned in name."""
    return ops.permute_dims(x, (0, x.ndim - 1, *range(1, x.ndim - 1)))


def to_last(x: Any) -> Any:
    """(N, C, ...) -> (N, ..., C), turned in name."""
    return ops.permute_dims(x, (0, *range(2, x.ndim), 1))


def sides(padding: str, sizes: Any, kernel: Any, strides: Any, dilation: Any) -> tuple[tuple[int, int], ...]:
    """(before, after) of each axis; the odd one of "same" goes after, all of "causal" before."""
    if padding == "valid":
        return ((0, 0),) * len(kernel)
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation)]
    if padding == "causal":
        return tuple((r - 1, 0) for r in reach)
    total = [max((math.ceil(n / s) - 1) * s + r - n, 0) for n, s, r in zip(sizes, strides, reach)]
    return tuple((t // 2, t - t // 2) for t in total)


def slid(n: Any, padding: str, kernel: int, stride: int, dilation: int = 1) -> Any:
    """How many windows there are along an axis of n."""
    if n is None:
        return None
    return (n - dilation * (kernel - 1) - 1) // stride + 1 if padding == "valid" else math.ceil(n / stride)


class Conv(Weighted):
    """What the convolutions share."""

    rank: ClassVar[int] = 2
    paddings: ClassVar[tuple[str, ...]] = ("valid", "same")

    def setup(self, filters: Any, kernel_size: Any, strides: Any, padding: str, data_format: Any, dilation_rate: Any,
              activation: Any, use_bias: bool, groups: int = 1) -> None:  # fmt: skip
        name, n = type(self).__name__, self.rank
        self.kernel_size = tuple_of(kernel_size, n, f"{name}: kernel_size")
        self.strides, self.dilation_rate = tuple_of(strides, n, f"{name}: strides"), tuple_of(dilation_rate, n, name)
        self.filters, self.groups, self.padding = filters, groups, str(padding).lower()
        if self.padding not in self.paddings:
            raise ValueError(f"{name}: expected padding out of {', '.join(self.paddings)}, got {padding!r}")
        if filters is not None and (filters < 1 or groups < 1 or filters % groups):
            raise ValueError(f"{name}: expected filters >= 1, a multiple of groups, got {filters} and {groups}")
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError(f"{name}: expected strides or dilation_rate of 1, got {strides} and {dilation_rate}")
        self.last, self.activation, self.use_bias = is_last(data_format, name), activations.get(activation), use_bias

    def channels(self, input_shape: Any) -> int:
        """The channels of a shape, which has to have a dimension for each axis of the kernel."""
        axes = ", ".join("HW" if self.rank == 2 else "DHW"[3 - self.rank :] if self.rank == 3 else "T")
        wanted = f"(N, {axes}, C)" if self.last else f"(N, C, {axes})"
        if len(input_shape) != self.rank + 2:
            hint = "; the channel axis is missing: x[..., None] adds one" if len(input_shape) == self.rank + 1 else ""
            raise self.wrong_input(wanted, input_shape, hint)
        C = input_shape[-1 if self.last else 1]
        if C is None:
            raise self.wrong_input(f"{wanted} with known channels", input_shape)
        return int(C)

    def check(self, inputs: Any, channels: int) -> None:
        if inputs.ndim == self.rank + 2 and inputs.shape[-1 if self.last else 1] == channels:
            return
        C = self.channels(inputs.shape)
        first = inputs.shape[1 if self.last else -1] == channels
        hint = f"; {channels} channels stand {'first' if self.last else 'last'} in it" if first else ""
        raise self.wrong_input(f"of {channels} channels", inputs.shape, hint or f", whose channels are {C}")

    def convolve(self, x: Any, kernel: Any, bias: Any, strides: Any, groups: int) -> Any:
        """x (N, C, ...), kernel (O, C / groups, k...) -> (N, O, ...)"""
        pads = sides(self.padding, x.shape[2:], self.kernel_size, strides, self.dilation_rate)
        return CONVOLVE[self.rank](x, kernel, bias, strides, pads, self.dilation_rate, groups)

    def first(self, inputs: Any) -> Any:
        return to_first(inputs) if self.last else inputs

    def back(self, out: Any) -> Any:
        """The activation of (N, O, ...), with the channels where the layer has them."""
        out = self.activation(out) if not self.last or self.activation is not activations.softmax else out
        if not self.last:
            return out
        out = to_last(out)
        return self.activation(out) if self.activation is activations.softmax else out

    def compute_output_shape(self, input_shape: Any) -> Any:
        sizes = input_shape[1:-1] if self.last else input_shape[2:]
        C = self.filters if self.filters is not None else self.made(input_shape[-1 if self.last else 1])
        sizes = [slid(n, self.padding, k, s, d) for n, k, s, d in
                 zip(sizes, self.kernel_size, self.strides, self.dilation_rate)]  # fmt: skip
        return (input_shape[0], *sizes, C) if self.last else (input_shape[0], C, *sizes)

    def made(self, channels: int) -> int:
        """How many channels come out where no `filters` say it."""
        return channels


class PlainConv(Conv):
    """Cross-correlation with `filters` kernels."""

    def __init__(
        self, filters: int, kernel_size: Any, strides: Any = 1, padding: str = "valid", data_format: Any = None,
        dilation_rate: Any = 1, groups: int = 1, activation: Any = None, use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform", bias_initializer: Any = "zeros", kernel_regularizer: Any = None,
        bias_regularizer: Any = None, activity_regularizer: Any = None, kernel_constraint: Any = None,
        bias_constraint: Any = None, **kwargs: Any,
    ):  # fmt: skip
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.setup(filters, kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias, groups)
        self.resolve(kernel_initializer=kernel_initializer, bias_initializer=bias_initializer,
                     kernel_regularizer=kernel_regularizer, bias_regularizer=bias_regularizer,
                     kernel_constraint=kernel_constraint, bias_constraint=bias_constraint)  # fmt: skip

    def build(self, input_shape: Any) -> None:
        C = self.channels(input_shape)
        if C % self.groups:
            raise self.wrong_input(f"of channels that {self.groups} groups divide", input_shape)
        self.kernel = self.weight("kernel", (*self.kernel_size, C // self.groups, self.filters))
        self.bias = self.weight("bias", (self.filters,)) if self.use_bias else None
        self.built = True

    def call(self, inputs: Any) -> Any:
        n = self.rank
        self.check(inputs, self.kernel.shape[n] * self.groups)
        kernel = ops.permute_dims(self.kernel, (n + 1, n, *range(n)))
        return self.back(self.convolve(self.first(inputs), kernel, self.bias, self.strides, self.groups))


class Conv1D(PlainConv):
    """Convolution over sequences.  (N, T, C) -> (N, T', filters); kernel (k, C / groups, filters).

    padding: "valid", "same" or "causal".

    >>> from weft import keras
    >>> keras.layers.Conv1D(4, 3)(np.ones((2, 8, 3), "f")).shape
    (2, 6, 4)
    """

    rank = 1
    paddings = ("valid", "same", "causal")


class Conv2D(PlainConv):
    """Convolution over images.  (N, H, W, C) -> (N, H', W', filters); kernel (kh, kw, C / groups, filters).

    >>> from weft import keras
    >>> keras.layers.Conv2D(4, 3, padding="same", activation="relu")(np.ones((2, 8, 8, 3), "f")).shape
    (2, 8, 8, 4)
    """


class Conv3D(PlainConv):
    """Convolution over volumes.  (N, D, H, W, C) -> (N, D', H', W', filters).

    >>> from weft import keras
    >>> keras.layers.Conv3D(4, 2)(np.ones((1, 4, 4, 4, 3), "f")).shape
    (1, 3, 3, 3, 4)
    """

    rank = 3


class TransposedConv(Conv):
    """The gradient of a convolution: sizes grow by the strides. Kernels are (k..., filters, inputs)."""

    def __init__(
        self, filters: int, kernel_size: Any, strides: Any = 1, padding: str = "valid", output_padding: Any = None,
        data_format: Any = None, dilation_rate: Any = 1, activation: Any = None, use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform", bias_initializer: Any = "zeros", kernel_regularizer: Any = None,
        bias_regularizer: Any = None, activity_regularizer: Any = None, kernel_constraint: Any = None,
        bias_constraint: Any = None, **kwargs: Any,
    ):  # fmt: skip
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.setup(filters, kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias)
        self.output_padding = None
        if output_padding is not None:
            self.output_padding = tuple_of(output_padding, self.rank, f"{type(self).__name__}: output_padding")
        self.resolve(kernel_initializer=kernel_initializer, bias_initializer=bias_initializer,
                     kernel_regularizer=kernel_regularizer, bias_regularizer=bias_regularizer,
                     kernel_constraint=kernel_constraint, bias_constraint=bias_constraint)  # fmt: skip

    def build(self, input_shape: Any) -> None:
        C = self.channels(input_shape)
        self.kernel = self.weight("kernel", (*self.kernel_size, self.filters, C))
        self.bias = self.weight("bias", (self.filters,)) if self.use_bias else None
        self.built = True

    def grown(self, axis: int, n: Any) -> Any:
        """(what is cut off in front, length) along an axis of n."""
        s, d = self.strides[axis], self.dilation_rate[axis]
        k = d * (self.kernel_size[axis] - 1) + 1
        if self.output_padding is not None:
            pad = k // 2 if self.padding == "same" else 0
            return pad, None if n is None else (n - 1) * s + k - 2 * pad + self.output_padding[axis]
        if self.padding == "same":
            return max(k - s, 0) // 2, None if n is None else n * s
        return 0, None if n is None else n * s + max(k - s, 0)

    def call(self, inputs: Any) -> Any:
        n = self.rank
        self.check(inputs, self.kernel.shape[n + 1])
        x, kernel = self.first(inputs), ops.permute_dims(self.kernel, (n + 1, n, *range(n)))
        out = GROW[n](x, kernel, None, self.strides, 0, 0, 1, self.dilation_rate)
        for axis in range(n):
            start, length = self.grown(axis, x.shape[2 + axis])
            out = out[(slice(None),) * (2 + axis) + (slice(start, start + length),)]
            if out.shape[2 + axis] < length:  # a stride longer than the kernel leaves a gap at the end
                widths = [(0, 0)] * out.ndim
                widths[2 + axis] = (0, length - out.shape[2 + axis])
                out = ops.pad(out, tuple(widths))
        return self.back(out if self.bias is None else out + ops.reshape(self.bias, (self.filters, *(1,) * n)))

    def compute_output_shape(self, input_shape: Any) -> Any:
        sizes = input_shape[1:-1] if self.last else input_shape[2:]
        sizes = [self.grown(axis, size)[1] for axis, size in enumerate(sizes)]
        return (input_shape[0], *sizes, self.filters) if self.last else (input_shape[0], self.filters, *sizes)


class Conv1DTranspose(TransposedConv):
    """Transposed convolution over sequences.  (N, T, C) -> (N, T strides, filters) with padding="same".

    >>> from weft import keras
    >>> keras.layers.Conv1DTranspose(4, 3, strides=2, padding="same")(np.ones((2, 8, 3), "f")).shape
    (2, 16, 4)
    """

    rank = 1


class Conv2DTranspose(TransposedConv):
    """Transposed convolution over images.  (N, H, W, C) -> (N, H strides, W strides, filters) with padding="same".

    >>> from weft import keras
    >>> keras.layers.Conv2DTranspose(4, 3, strides=2, padding="same")(np.ones((2, 4, 4, 3), "f")).shape
    (2, 8, 8, 4)
    """


class Conv3DTranspose(TransposedConv):
    """Transposed convolution over volumes.  (N, D, H, W, C) -> (N, D strides, H strides, W strides, filters), "same".

    >>> from weft import keras
    >>> keras.layers.Conv3DTranspose(4, 3, strides=2, padding="same")(np.ones((1, 4, 4, 4, 3), "f")).shape
    (1, 8, 8, 8, 4)
    """

    rank = 3


class DepthwiseConv(Conv):
    """depth_multiplier kernels for each channel. Kernels are (k..., inputs, depth_multiplier)."""

    def __init__(
        self, kernel_size: Any, strides: Any = 1, padding: str = "valid", depth_multiplier: int = 1,
        data_format: Any = None, dilation_rate: Any = 1, activation: Any = None, use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform", bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None, bias_regularizer: Any = None, activity_regularizer: Any = None,
        depthwise_constraint: Any = None, bias_constraint: Any = None, **kwargs: Any,
    ):  # fmt: skip
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.setup(None, kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias)
        self.depth_multiplier = depth_multiplier
        self.resolve(depthwise_initializer=depthwise_initializer, bias_initializer=bias_initializer,
                     depthwise_regularizer=depthwise_regularizer, bias_regularizer=bias_regularizer,
                     depthwise_constraint=depthwise_constraint, bias_constraint=bias_constraint)  # fmt: skip

    def build(self, input_shape: Any) -> None:
        C = self.channels(input_shape)
        self.kernel = self.weight("kernel", (*self.kernel_size, C, self.depth_multiplier), "depthwise")
        self.bias = self.weight("bias", (C * self.depth_multiplier,)) if self.use_bias else None
        self.built = True

    def call(self, inputs: Any) -> Any:
        C = self.kernel.shape[-2]
        self.check(inputs, C)
        kernel = depthwise(self.kernel)
        return self.back(self.convolve(self.first(inputs), kernel, self.bias, self.strides, C))

    def made(self, channels: int) -> int:
        return channels * self.depth_multiplier


def depthwise(kernel: Any) -> Any:
    """(k..., C, multiplier) -> (C multiplier, 1, k...), as a convolution of C groups has it."""
    n = kernel.ndim - 2
    turned = ops.permute_dims(kernel, (n, n + 1, *range(n)))
    return ops.reshape(turned, (-1, 1, *kernel.shape[:n]))


class DepthwiseConv1D(DepthwiseConv):
    """Each channel of a sequence with kernels of its own.  (N, T, C) -> (N, T', C depth_multiplier)

    >>> from weft import keras
    >>> keras.layers.DepthwiseConv1D(3)(np.ones((2, 8, 3), "f")).shape
    (2, 6, 3)
    """

    rank = 1


class DepthwiseConv2D(DepthwiseConv):
    """Each channel of an image with kernels of its own.  (N, H, W, C) -> (N, H', W', C depth_multiplier)

    >>> from weft import keras
    >>> keras.layers.DepthwiseConv2D(3, depth_multiplier=2)(np.ones((2, 8, 8, 3), "f")).shape
    (2, 6, 6, 6)
    """


class SeparableConv(Conv):
    """A depthwise convolution, then one of 1 x 1 that mixes the channels."""

    def __init__(
        self, filters: int, kernel_size: Any, strides: Any = 1, padding: str = "valid", data_format: Any = None,
        dilation_rate: Any = 1, depth_multiplier: int = 1, activation: Any = None, use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform", pointwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros", depthwise_regularizer: Any = None, pointwise_regularizer: Any = None,
        bias_regularizer: Any = None, activity_regularizer: Any = None, depthwise_constraint: Any = None,
        pointwise_constraint: Any = None, bias_constraint: Any = None, **kwargs: Any,
    ):  # fmt: skip
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.setup(filters, kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias)
        self.depth_multiplier = depth_multiplier
        self.resolve(depthwise_initializer=depthwise_initializer, pointwise_initializer=pointwise_initializer,
                     bias_initializer=bias_initializer, depthwise_regularizer=depthwise_regularizer,
                     pointwise_regularizer=pointwise_regularizer, bias_regularizer=bias_regularizer,
                     depthwise_constraint=depthwise_constraint, pointwise_constraint=pointwise_constraint,
                     bias_constraint=bias_constraint)  # fmt: skip

    def build(self, input_shape: Any) -> None:
        C = self.channels(input_shape)
        self.weight("depthwise_kernel", (*self.kernel_size, C, self.depth_multiplier), "depthwise")
        self.weight("pointwise_kernel", (*(1,) * self.rank, C * self.depth_multiplier, self.filters), "pointwise")
        self.bias = self.weight("bias", (self.filters,)) if self.use_bias else None
        self.built = True

    def call(self, inputs: Any) -> Any:
        C, n = self.depthwise_kernel.shape[-2], self.rank
        self.check(inputs, C)
        x = self.convolve(self.first(inputs), depthwise(self.depthwise_kernel), None, self.strides, C)
        mixing = ops.permute_dims(self.pointwise_kernel, (n + 1, n, *range(n)))
        return self.back(CONVOLVE[n](x, mixing, self.bias))


class SeparableConv1D(SeparableConv):
    """A depthwise and a pointwise convolution over sequences.  (N, T, C) -> (N, T', filters)

    >>> from weft import keras
    >>> keras.layers.SeparableConv1D(5, 3)(np.ones((2, 8, 3), "f")).shape
    (2, 6, 5)
    """

    rank = 1


class SeparableConv2D(SeparableConv):
    """A depthwise and a pointwise convolution over images.  (N, H, W, C) -> (N, H', W', filters)

    >>> from weft import keras
    >>> keras.layers.SeparableConv2D(5, 3)(np.ones((2, 8, 8, 3), "f")).shape
    (2, 6, 6, 5)
    """
