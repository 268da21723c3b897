"""Convolutions."""

from __future__ import annotations

from typing import Any

from weft.nn import functional as F
from weft.nn import init
from weft.nn.functional.shape import conv_padding, tuple_of
from weft.nn.linear import uniform_by_fan_in
from weft.nn.module import Module
from weft.nn.parameter import Parameter

PADDING_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}


class ConvNd(Module):
    """What Conv1d, Conv2d and Conv3d share: arguments, parameters, padding."""

    spatial = 0

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] | str = 0,
        dilation: int | tuple[int, ...] = 1,
        groups: int = 1,
        bias: bool = True,
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
        if padding_mode not in PADDING_MODES:
            raise ValueError(f"{name}: expected padding_mode one of {', '.join(PADDING_MODES)}, got {padding_mode!r}")
        self.in_channels, self.out_channels, self.groups, self.padding_mode = (
            in_channels,
            out_channels,
            groups,
            padding_mode,
        )
        self.kernel_size = tuple_of(kernel_size, n, f"{name}: kernel_size")
        self.stride = tuple_of(stride, n, f"{name}: stride")
        self.dilation = tuple_of(dilation, n, f"{name}: dilation")
        self.padding = padding if isinstance(padding, str) else tuple_of(padding, n, f"{name}: padding")
        if padding == "same" and self.stride != (1,) * n:
            raise ValueError(f"{name}: expected stride 1 with padding='same', got stride={stride}")
        # Pairs for each axis, worked out once: what the primitive takes.
        self._pads = conv_padding(self.padding, self.kernel_size, self.dilation, name)
        self.weight = Parameter(init.empty((out_channels, in_channels // groups, *self.kernel_size), dtype))
        self.bias = Parameter(init.empty((out_channels,), dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        uniform_by_fan_in(self.weight, self.bias)

    def padded(self, x: Any) -> tuple[Any, Any]:
        """The input with its border in a padding mode other than zeros, and the padding that is left to do."""
        if self.padding_mode == "zeros":
            return x, self._pads
        widths = [n for pair in reversed(self._pads) for n in pair]
        return F.pad(x, widths, mode=PADDING_MODES[self.padding_mode]), ((0, 0),) * self.spatial

    def hint(self, x: Any) -> str | None:
        n, C = self.spatial, self.in_channels
        if x.ndim == n + 1 and n == 2 and x.shape[0] != C:
            return "the channel dimension is missing: x[:, None] makes (N, H, W) a batch of one channel"
        if x.ndim == 2:
            return "the input is flat: this layer must come before nn.Flatten()"
        return None

    def extra_repr(self) -> str:
        parts = [
            f"{self.in_channels}",
            f"{self.out_channels}",
            f"kernel_size={self.kernel_size}",
            f"stride={self.stride}",
        ]
        if self.padding != (0,) * self.spatial:
            parts.append(f"padding={self.padding!r}")
        if self.dilation != (1,) * self.spatial:
            parts.append(f"dilation={self.dilation}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode!r}")
        return ", ".join(parts)


class Conv2d(ConvNd):
    """Cross-correlation of images with `out_channels` filters.  (N, C, H, W) -> (N, O, OH, OW), N optional.

    OH = (H + 2 padding - dilation (kernel_size - 1) - 1) // stride + 1. padding: numbers, "valid" or "same".
    weight (O, C / groups, KH, KW), bias (O,), both drawn from U(-k, k), k = 1 / sqrt(C / groups KH KW).

    >>> import weft
    >>> Conv2d(3, 8, 3, padding=1)(weft.ones((2, 3, 16, 16))).shape
    (2, 8, 16, 16)
    """

    spatial = 2

    def forward(self, x: Any) -> Any:
        x, pads = self.padded(x)
        return F.conv2d(x, self.weight, self.bias, self.stride, pads, self.dilation, self.groups)


class Conv1d(ConvNd):
    """Cross-correlation of sequences with `out_channels` filters.  (N, C, L) -> (N, O, OL), N optional.

    weight (O, C / groups, K), bias (O,), both drawn from U(-k, k), k = 1 / sqrt(C / groups K).

    >>> nn.Conv1d(2, 4, 3, padding=1)(weft.ones((1, 2, 8))).shape
    (1, 4, 8)
    """

    spatial = 1

    def forward(self, x: Any) -> Any:
        x, pads = self.padded(x)
        return F.conv1d(x, self.weight, self.bias, self.stride, pads, self.dilation, self.groups)


class Conv3d(ConvNd):
    """Cross-correlation of volumes with `out_channels` filters.  (N, C, D, H, W) -> (N, O, OD, OH, OW), N optional.

    weight (O, C / groups, KD, KH, KW), bias (O,), both drawn from U(-k, k), k = 1 / sqrt(C / groups KD KH KW).

    >>> import weft
    >>> Conv3d(2, 4, 3, padding=1)(weft.ones((1, 2, 4, 8, 8))).shape
    (1, 4, 4, 8, 8)
    """

    spatial = 3

    def forward(self, x: Any) -> Any:
        x, pads = self.padded(x)
        return F.conv3d(x, self.weight, self.bias, self.stride, pads, self.dilation, self.groups)
