"""Three-dimensional convolution, as a sum of two-dimensional ones: one for each plane of the kernel."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import Any

from weft.autograd import Tensor
from weft.ops.conv import conv2d
from weft.ops.shape import pad, permute_dims, reshape


def conv3d(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[Any] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Slide the kernels of `weight` over the volumes of `x` (cross-correlation).

    x (N, C, D, H, W), weight (O, C/groups, KD, KH, KW), bias (O,) or None -> (N, O, OD, OH, OW), where
    OD = (D + front + back - dilation * (KD - 1) - 1) // stride + 1.
    stride, padding, dilation: an int or three; padding also in pairs, "valid" or "same", as of conv2d.  ValueError
    where shapes do not fit.

    >>> weft.conv3d(weft.ones((1, 2, 4, 8, 8)), weft.ones((5, 2, 3, 3, 3)), padding=1).shape
    (1, 5, 4, 8, 8)
    """
    if len(x.shape) != 5 or len(weight.shape) != 5 or 0 in weight.shape[2:]:
        raise ValueError(
            f"conv3d: expected x (N, C, D, H, W) and weight (O, C/groups, KD, KH, KW), got {tuple(x.shape)} and "
            f"{tuple(weight.shape)}"
        )
    (step, *steps), (spread, *spreads) = three("stride", stride), three("dilation", dilation)
    depth = weight.shape[2]
    reach = spread * (depth - 1)
    if isinstance(padding, str):
        if padding == "same" and (step, *steps) != (1, 1, 1):
            raise ValueError(f'conv3d: expected stride 1 with padding="same", got stride {stride!r}')
        front, back = (reach // 2, reach - reach // 2) if padding == "same" else (0, 0)
        sides: Any = padding
    else:
        pairs = (padding,) * 3 if isinstance(padding, int) else tuple(padding)
        if len(pairs) != 3:
            raise ValueError(f"conv3d: expected padding of an int or of three, got {padding!r}")
        front, back = (pairs[0], pairs[0]) if isinstance(pairs[0], int) else pairs[0]
        sides = pairs[1:]
    if front or back:
        x = pad(x, ((0, 0), (0, 0), (front, back), (0, 0), (0, 0)))
    N, C, D = x.shape[:3]
    planes = (D - reach - 1) // step + 1
    if planes < 1:
        raise ValueError(f"conv3d: expected a volume of at least {reach + 1} planes with its padding, got {D}")
    images = permute_dims(x, (0, 2, 1, 3, 4))  # (N, D, C, H, W)
    total = None
    for tap in range(depth):
        first = tap * spread
        met = images[:, first : first + (planes - 1) * step + 1 : step]  # (N, OD, C, H, W)
        part = conv2d(
            reshape(met, (N * planes, C, *x.shape[3:])), weight[:, :, tap], bias if tap == 0 else None,
            stride=steps, padding=sides, dilation=spreads, groups=groups,
        )  # fmt: skip
        total = part if total is None else total + part
    return permute_dims(reshape(total, (N, planes, *total.shape[1:])), (0, 2, 1, 3, 4))  # type: ignore[union-attr]


def three(what: str, value: Any) -> tuple[int, int, int]:
    """An int or three ints, at least 1."""
    try:
        a, b, c = map(index, (value,) * 3 if isinstance(value, int) else value)
    except (TypeError, ValueError):
        raise ValueError(f"conv3d: expected {what} to be an int or three ints, got {value!r}") from None
    if min(a, b, c) < 1:
        raise ValueError(f"conv3d: expected {what} of at least 1, got {value!r}")
    return a, b, c
