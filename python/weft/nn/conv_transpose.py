"""Transposed convolutions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from weft.nn import functional as F
from weft.nn import init
from weft.nn.functional.shape import tuple_of
from weft.nn.linear import uniform_by_fan_in
from weft.nn.module import Module
from weft.nn.parameter import Parameter


class ConvTransposeNd(Module):
    """What ConvTranspose1d, 2d and 3d share: arguments, parameters, the size of the result."""

    spatial: ClassVar[int]
    function: ClassVar[Callable[..., Any]]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] = 0,
        output_padding: int | tuple[int, ...] = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | tuple[int, ...] = 1,
        padding_mode: str = "zeros",
        *,
        dtype: Any = None,
    ):
        name, n = type(self).__name__, self.spatial
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"{name}: expected groups that divide in_channels and out_channels, "
                f"got groups={groups} for {in_channels} and {out_channels}"
            )
        if padding_mode != "zeros":
            raise ValueError(f"{name}: expected padding_mode 'zeros', got {padding_mode!r}")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.padding_mode = padding_mode
        self.kernel_size = tuple_of(kernel_size, n, f"{name}: kernel_size")
        self.stride = tuple_of(stride, n, f"{name}: stride")
        self.padding = tuple_of(padding, n, f"{name}: padding")
        self.output_padding = tuple_of(output_padding, n, f"{name}: output_padding")
        self.dilation = tuple_of(dilation, n, f"{name}: dilation")
        self.weight = Parameter(init.empty((in_channels, out_channels // groups, *self.kernel_size), dtype))
        self.bias = Parameter(init.empty((out_channels,), dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        uniform_by_fan_in(self.weight, self.bias)

    def padding_for(self, input: Any, output_size: Sequence[int] | None) -> tuple[int, ...]:
        """The output_padding that makes the result output_size, or the layer's own; ValueError if none does."""
        if output_size is None:
            return self.output_padding
        n = self.spatial
        wanted = tuple(output_size)[-n:]
        axes = zip(input.shape[-n:], self.kernel_size, self.stride, self.padding, self.dilation)
        least = tuple((size - 1) * s - 2 * p + d * (k - 1) + 1 for size, k, s, p, d in axes)
        if len(wanted) != n or any(not low <= size < low + s for size, low, s in zip(wanted, least, self.stride)):
            most = tuple(low + s - 1 for low, s in zip(least, self.stride))
            raise ValueError(
                f"{type(self).__name__}: expected output_size from {least} to {most}, got {tuple(output_size)}"
            )
        return tuple(size - low for size, low in zip(wanted, least))

    def forward(self, x: Any, output_size: Sequence[int] | None = None) -> Any:
        more = self.padding_for(x, output_size)
        return self.function(x, self.weight, self.bias, self.stride, self.padding, more, self.groups, self.dilation)

    def extra_repr(self) -> str:
        parts = [
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}",
        ]
        n = self.spatial
        for name, default in (("padding", 0), ("dilation", 1), ("output_padding", 0)):
            if getattr(self, name) != (default,) * n:
                parts.append(f"{name}={getattr(self, name)}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        return ", ".join(parts)


class ConvTranspose2d(ConvTransposeNd):
    """The transpose of Conv2d: each pixel spreads over a window of the result.  (N, C, H, W) -> (N, O, OH, OW), N
    optional.

    OH = (H - 1) stride - 2 padding + dilation (kernel_size - 1) + output_padding + 1; forward(x, output_size) chooses
    output_padding. weight (C, O / groups, KH, KW), bias (O,), both drawn from U(-k, k), k = 1 / sqrt(O / groups KH KW).

    >>> import weft
    >>> ConvTranspose2d(8, 3, 2, stride=2)(weft.ones((2, 8, 16, 16))).shape
    (2, 3, 32, 32)
    """

    spatial = 2
    function = staticmethod(F.conv_transpose2d)


class ConvTranspose1d(ConvTransposeNd):
    """The transpose of Conv1d.  (N, C, L) -> (N, O, OL), N optional.

    OL = (L - 1) stride - 2 padding + dilation (kernel_size - 1) + output_padding + 1. weight (C, O / groups, K),
    bias (O,), both drawn from U(-k, k), k = 1 / sqrt(O / groups K).

    >>> nn.ConvTranspose1d(2, 4, 2, stride=2)(weft.ones((1, 2, 8))).shape
    (1, 4, 16)
    """

    spatial = 1
    function = staticmethod(F.conv_transpose1d)


class ConvTranspose3d(ConvTransposeNd):
    """The transpose of Conv3d.  (N, C, D, H, W) -> (N, O, OD, OH, OW), N optional.

    OD = (D - 1) stride - 2 padding + dilation (kernel_size - 1) + output_padding + 1, so also OH and OW;
    forward(x, output_size) chooses output_padding. weight (C, O / groups, KD, KH, KW), bias (O,), both drawn from
    U(-k, k), k = 1 / sqrt(O / groups KD KH KW).

    >>> import weft
    >>> ConvTranspose3d(8, 3, 2, stride=2)(weft.ones((2, 8, 4, 5, 6))).shape
    (2, 3, 8, 10, 12)
    """

    spatial = 3
    function = staticmethod(F.conv_transpose3d)
