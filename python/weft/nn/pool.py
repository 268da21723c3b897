"""Pooling."""

from __future__ import annotations

from typing import Any

from weft.nn import functional as F
from weft.nn.activation import Activation
from weft.nn.module import Module

Size = int | tuple[int, ...]


class Windows(Module):
    """What the poolings by windows share: how they show their arguments."""

    extra_repr = Activation.extra_repr


class MaxPool(Windows):
    """What the poolings by the largest value share."""

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        dilation: Size = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ):
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation, self.ceil_mode = padding, dilation, ceil_mode
        self.return_indices = return_indices

    def forward(self, x: Any) -> Any:
        pool = getattr(F, self.function)
        return pool(
            x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )  # fmt: skip

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(MaxPool):
    """The largest value of each window.  (N, C, L) -> (N, C, OL), N optional; arguments as MaxPool2d.

    >>> import weft
    >>> MaxPool1d(2)(weft.ones((1, 3, 9))).shape
    (1, 3, 4)
    """

    function = "max_pool1d"


class MaxPool2d(MaxPool):
    """The largest value of each window.  (N, C, H, W) -> (N, C, OH, OW), N optional

    stride: the kernel's size by default. ceil_mode: windows may reach over the bottom and right edge. return_indices:
    also where each value stands in its image, int64 (N, C, OH, OW), counted row by row.

    >>> import weft
    >>> MaxPool2d(2)(weft.ones((1, 3, 8, 8))).shape
    (1, 3, 4, 4)
    """

    function = "max_pool2d"


class MaxPool3d(MaxPool):
    """The largest value of each window.  (N, C, D, H, W) -> (N, C, OD, OH, OW), N optional; arguments as MaxPool2d.

    return_indices: also where each value stands in its volume, int64, counted plane by plane and row by row.

    >>> import weft
    >>> MaxPool3d(2)(weft.ones((1, 3, 4, 8, 8))).shape
    (1, 3, 2, 4, 4)
    """

    function = "max_pool3d"


class AvgPool1d(Windows):
    """The mean of each window.  (N, C, L) -> (N, C, OL), N optional; arguments as AvgPool2d.

    >>> import weft
    >>> AvgPool1d(3, stride=1)(weft.asarray([[0.0, 3.0, 6.0, 9.0]])).numpy()
    array([[3., 6.]], dtype=float32)
    """

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ):
        self.kernel_size, self.stride, self.padding = kernel_size, kernel_size if stride is None else stride, padding
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def forward(self, x: Any) -> Any:
        return F.avg_pool1d(x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)


class AvgPool(Windows):
    """What AvgPool2d and AvgPool3d share."""

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ):
        self.kernel_size, self.stride, self.padding = kernel_size, kernel_size if stride is None else stride, padding
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad
        self.divisor_override = divisor_override

    def forward(self, x: Any) -> Any:
        options = (self.ceil_mode, self.count_include_pad, self.divisor_override)
        return getattr(F, self.function)(x, self.kernel_size, self.stride, self.padding, *options)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(AvgPool):
    """The mean of each window.  (N, C, H, W) -> (N, C, OH, OW), N optional

    count_include_pad: whether the zeros of the padding count in the mean. divisor_override: what each window's sum is
    divided by instead of its size.

    >>> import weft
    >>> AvgPool2d(2)(weft.ones((1, 3, 8, 8))).shape
    (1, 3, 4, 4)
    """

    function = "avg_pool2d"


class AvgPool3d(AvgPool):
    """The mean of each window.  (N, C, D, H, W) -> (N, C, OD, OH, OW), N optional; arguments as AvgPool2d.

    >>> import weft
    >>> AvgPool3d((1, 2, 2))(weft.ones((1, 3, 4, 8, 8))).shape
    (1, 3, 4, 4, 4)
    """

    function = "avg_pool3d"


class AdaptiveAvgPool1d(Windows):
    """The mean of windows laid so that the output has `output_size`.  (N, C, L) -> (N, C, output_size), N optional

    >>> import weft
    >>> AdaptiveAvgPool1d(2)(weft.asarray([[1.0, 3.0, 5.0, 7.0]])).numpy()
    array([[2., 6.]], dtype=float32)
    """

    def __init__(self, output_size: int | tuple[int]):
        self.output_size = output_size

    def forward(self, x: Any) -> Any:
        return F.adaptive_avg_pool1d(x, self.output_size)


class AdaptiveAvgPool2d(Windows):
    """The mean of windows laid so that the output has `output_size`.  (N, C, H, W) -> (N, C, *output_size), N optional

    output_size: a number or a pair; None keeps the input's size along that axis.

    >>> import weft
    >>> AdaptiveAvgPool2d((1, None))(weft.ones((2, 3, 5, 7))).shape
    (2, 3, 1, 7)
    """

    def __init__(self, output_size: int | None | tuple[int | None, int | None]):
        self.output_size = output_size

    def forward(self, x: Any) -> Any:
        return F.adaptive_avg_pool2d(x, self.output_size)


class AdaptiveAvgPool3d(Windows):
    """The mean of windows laid so that the output has `output_size`.

    (N, C, D, H, W) -> (N, C, *output_size), N optional. output_size: a number or one for each axis; None keeps the
    input's size along that axis.

    >>> import weft
    >>> AdaptiveAvgPool3d((1, 2, None))(weft.ones((2, 3, 4, 5, 7))).shape
    (2, 3, 1, 2, 7)
    """

    def __init__(self, output_size: int | None | tuple[int | None, int | None, int | None]):
        self.output_size = output_size

    def forward(self, x: Any) -> Any:
        return F.adaptive_avg_pool3d(x, self.output_size)


class AdaptiveMaxPool1d(Windows):
    """The largest value of windows laid so that the output has `output_size`; arguments as AdaptiveMaxPool2d.

    (N, C, L) -> (N, C, output_size), N optional

    >>> import weft
    >>> AdaptiveMaxPool1d(2)(weft.asarray([[1.0, 3.0, 5.0, 7.0]])).numpy()
    array([[3., 7.]], dtype=float32)
    """

    def __init__(self, output_size: int | tuple[int], return_indices: bool = False):
        self.output_size, self.return_indices = output_size, return_indices

    def forward(self, x: Any) -> Any:
        return F.adaptive_max_pool1d(x, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool2d(Windows):
    """The largest value of windows laid so that the output has `output_size`.

    (N, C, H, W) -> (N, C, *output_size), N optional. output_size: a number or a pair; None keeps the input's size along
    that axis. return_indices: also where each value stands in its image, int64, counted row by row.

    >>> import weft
    >>> AdaptiveMaxPool2d(3)(weft.ones((2, 3, 7, 8))).shape
    (2, 3, 3, 3)
    """

    def __init__(self, output_size: int | None | tuple[int | None, int | None], return_indices: bool = False):
        self.output_size, self.return_indices = output_size, return_indices

    def forward(self, x: Any) -> Any:
        return F.adaptive_max_pool2d(x, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool3d(Windows):
    """The largest value of windows laid so that the output has `output_size`.

    (N, C, D, H, W) -> (N, C, *output_size), N optional. output_size: a number or one for each axis; None keeps the
    input's size. return_indices: also where each value stands in its volume, int64.

    >>> import weft
    >>> AdaptiveMaxPool3d(2)(weft.ones((2, 3, 4, 7, 8))).shape
    (2, 3, 2, 2, 2)
    """

    def __init__(
        self, output_size: int | None | tuple[int | None, int | None, int | None], return_indices: bool = False
    ):
        self.output_size, self.return_indices = output_size, return_indices

    def forward(self, x: Any) -> Any:
        return F.adaptive_max_pool3d(x, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class LPPool(Windows):
    """What the poolings by a norm share."""

    def __init__(self, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False):
        self.norm_type, self.kernel_size, self.stride = norm_type, kernel_size, stride
        self.ceil_mode = ceil_mode

    def forward(self, x: Any) -> Any:
        return getattr(F, self.function)(x, self.norm_type, self.kernel_size, self.stride, self.ceil_mode)


class LPPool1d(LPPool):
    """(sum of x^norm_type)^(1 / norm_type) of each window.  (N, C, L) -> (N, C, OL), N optional; see LPPool2d.

    >>> import weft
    >>> LPPool1d(2, 2)(weft.asarray([[3.0, 4.0]])).numpy()
    array([[5.]], dtype=float32)
    """

    function = "lp_pool1d"


class LPPool2d(LPPool):
    """(sum of x^norm_type)^(1 / norm_type) of each window.  (N, C, H, W) -> (N, C, OH, OW), N optional

    stride: the kernel's size by default. norm_type 1 sums; the larger it is, the nearer to the largest value.

    >>> import weft
    >>> LPPool2d(1, 2)(weft.ones((1, 1, 4, 4))).numpy().ravel()
    array([4., 4., 4., 4.], dtype=float32)
    """

    function = "lp_pool2d"


class LPPool3d(LPPool):
    """(sum of x^norm_type)^(1 / norm_type) of each window.  See LPPool2d.

    (N, C, D, H, W) -> (N, C, OD, OH, OW), N optional

    >>> import weft
    >>> LPPool3d(1, 2)(weft.ones((1, 1, 2, 2, 2))).numpy().ravel()
    array([8.], dtype=float32)
    """

    function = "lp_pool3d"
