"""Images of another size, and images as windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from weft.nn import functional as F
from weft.nn.module import Module

Pair = int | tuple[int, int]


class Upsample(Module):
    """The input in another size: (N, C, ...) -> (N, C, *size); `functional.interpolate` has the meaning of all modes.

    size, or scale_factor: one for all dimensions, or one for each. mode: "nearest", "linear" of (N, C, L), "bilinear"
    and "bicubic" of (N, C, H, W), "trilinear" of (N, C, D, H, W). align_corners, recompute_scale_factor: see there.

    >>> import weft
    >>> Upsample(scale_factor=2)(weft.asarray([[[1.0, 2.0]]])).numpy()
    array([[[1., 1., 2., 2.]]], dtype=float32)
    """

    def __init__(
        self,
        size: int | Sequence[int] | None = None,
        scale_factor: float | Sequence[float] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ):
        self.size, self.mode, self.align_corners = size, mode, align_corners
        self.scale_factor = tuple(map(float, scale_factor)) if isinstance(scale_factor, Sequence) else scale_factor
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, x: Any) -> Any:
        options = (self.mode, self.align_corners, self.recompute_scale_factor)
        return F.interpolate(x, self.size, self.scale_factor, *options)

    def extra_repr(self) -> str:
        target = f"size={self.size}" if self.scale_factor is None else f"scale_factor={self.scale_factor}"
        return f"{target}, mode={self.mode!r}"


class PixelShuffle(Module):
    """r^2 channels become r x r pixels.  (..., C r^2, H, W) -> (..., C, H r, W r).  Shi et al., 2016.

    >>> import weft
    >>> PixelShuffle(2)(weft.ones((1, 8, 3, 3))).shape
    (1, 2, 6, 6)
    """

    def __init__(self, upscale_factor: int):
        self.upscale_factor = upscale_factor

    def forward(self, x: Any) -> Any:
        return F.pixel_shuffle(x, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """r x r pixels become r^2 channels, the inverse of PixelShuffle.  (..., C, H r, W r) -> (..., C r^2, H, W)

    >>> import weft
    >>> PixelUnshuffle(2)(weft.ones((1, 2, 6, 6))).shape
    (1, 8, 3, 3)
    """

    def __init__(self, downscale_factor: int):
        self.downscale_factor = downscale_factor

    def forward(self, x: Any) -> Any:
        return F.pixel_unshuffle(x, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"


class Unfold(Module):
    """The windows of an image as columns.  (N, C, H, W) -> (N, C KH KW, L), N optional; L is the number of windows.

    >>> import weft
    >>> Unfold(2, stride=2)(weft.ones((1, 3, 4, 6))).shape
    (1, 12, 6)
    """

    def __init__(self, kernel_size: Pair, dilation: Pair = 1, padding: Pair = 0, stride: Pair = 1):
        self.kernel_size, self.dilation, self.padding, self.stride = kernel_size, dilation, padding, stride

    def forward(self, x: Any) -> Any:
        return F.unfold(x, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, stride={self.stride}"


class Fold(Module):
    """Windows added up where they lie: the transpose of Unfold.  (N, C KH KW, L) -> (N, C, *output_size), N optional

    >>> import weft
    >>> Fold((4, 6), 2, stride=2)(weft.ones((1, 12, 6))).shape
    (1, 3, 4, 6)
    """

    def __init__(self, output_size: Pair, kernel_size: Pair, dilation: Pair = 1, padding: Pair = 0, stride: Pair = 1):
        self.output_size, self.kernel_size = output_size, kernel_size
        self.dilation, self.padding, self.stride = dilation, padding, stride

    def forward(self, x: Any) -> Any:
        return F.fold(x, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return (
            f"output_size={self.output_size}, kernel_size={self.kernel_size}, dilation={self.dilation}, "
            f"padding={self.padding}, stride={self.stride}"
        )
