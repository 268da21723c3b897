"""Transposed convolution: the gradient of conv2d's image, taken as an op of its own."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import Any

from weft.autograd import Tensor
from weft.ops.activation import floating
from weft.ops.conv import correlate_input_grad, pads, pair
from weft.ops.shape import pad, reshape


def conv_transpose2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[Any] = 0,
    output_padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Spread each pixel of x over a window of the result, weighted by the kernels of `weight`, `stride` pixels apart.

    x (N, C, H, W), weight (C, O/groups, KH, KW), bias (O,) or None -> (N, O, OH, OW), where
    OH = (H - 1) * stride - top - bottom + dilation * (KH - 1) + output_padding + 1.
    padding: what is cut from the edges of the result, as of conv2d. output_padding: rows and columns that the result
    has more at its bottom and right, fewer than stride or dilation. It turns conv2d's shapes back, and is the transpose
    of its matrix (Zeiler et al., "Deconvolutional networks", 2010).  ValueError where shapes do not fit.

    >>> weft.conv_transpose2d(weft.ones((1, 4, 8, 8)), weft.ones((4, 3, 2, 2)), stride=2).shape
    (1, 3, 16, 16)
    """
    name = "conv_transpose2d"
    steps, spread = pair(name, "stride", stride), pair(name, "dilation", dilation)
    check(name, x, weight, bias, groups)
    kernel, image, outputs = weight.shape[2:], x.shape[2:], weight.shape[1] * groups
    if isinstance(padding, str):
        raise ValueError(f"{name}: expected padding in numbers, got {padding!r}")
    sides, more = pads(name, padding, kernel, steps), extra(name, output_padding, steps, spread)
    size, cut, missing = [], [], []
    for n, k, s, d, (front, behind), e in zip(image, kernel, steps, spread, sides, more):
        # The convolution whose gradient this is has image pixels that none of its windows reaches: up to s - 1 of them
        # by itself, others by less padding behind; what is still missing no window could reach, and is zero.
        less = min(behind, max(e - (s - 1), 0))
        rest = max(e - less - (s - 1), 0)
        size.append((n - 1) * s - front - behind + d * (k - 1) + e + 1 - rest)
        cut.append((front, behind - less))
        missing.append((0, rest))
    if min(size) < 1:
        raise ValueError(f"{name}: expected a result of at least one pixel, got {tuple(size)} from {tuple(x.shape)}")
    out = correlate_input_grad(
        x, weight, shape=(x.shape[0], outputs, *size), stride=steps, padding=tuple(cut), dilation=spread, groups=groups
    )
    if any(map(any, missing)):
        out = pad(out, ((0, 0), (0, 0), *missing))
    return out if bias is None else out + reshape(bias, (outputs, 1, 1))


def extra(name: str, value: Any, stride: Sequence[int], dilation: Sequence[int]) -> tuple[int, int]:
    try:
        height, width = map(index, (value, value) if isinstance(value, int) else value)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: expected output_padding to be an int or a pair of ints, got {value!r}") from None
    if any(not 0 <= e < max(s, d) for e, s, d in zip((height, width), stride, dilation)):
        raise ValueError(
            f"{name}: expected output_padding of at least 0, less than stride {tuple(stride)} or dilation "
            f"{tuple(dilation)}, got {value!r}"
        )
    return height, width


def check(name: str, x: Any, weight: Any, bias: Any, groups: int) -> None:
    """Raise where the shapes do not fit together."""
    if len(x.shape) != 4:
        raise ValueError(f"{name}: expected x (N, C, H, W), got {tuple(x.shape)}")
    if len(weight.shape) != 4 or 0 in weight.shape[2:]:
        raise ValueError(f"{name}: expected weight (C, O/groups, KH, KW), got {tuple(weight.shape)}")
    if weight.shape[0] != x.shape[1]:
        raise ValueError(
            f"{name}: expected x with {weight.shape[0]} channels for weight {tuple(weight.shape)}, got {tuple(x.shape)}"
        )
    if groups < 1 or x.shape[1] % groups:
        raise ValueError(f"{name}: expected groups to divide {x.shape[1]} channels, got groups {groups}")
    if bias is not None and tuple(bias.shape) != (weight.shape[1] * groups,):
        raise ValueError(f"{name}: expected bias ({weight.shape[1] * groups},), got {tuple(bias.shape)}")
    floating(x, name)
    if not x.dtype == weight.dtype:
        raise TypeError(f"{name}: expected x and weight of one dtype, got {x.dtype} and {weight.dtype}")
