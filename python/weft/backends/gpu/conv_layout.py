"""How the operands of convolutions lie: images channels last, filters in the order of windows, channels padded."""

from __future__ import annotations

from typing import Any

from weft.backends.gpu.array import contiguous, empty_like
from weft.backends.gpu.maps import apply

in_c_order = contiguous


def new_image(like: Any, images: int, channels: int, size: tuple[int, ...], dtype: Any = None) -> Any:
    """Memory of (N, C, H, W), channels last, of the dtype of `like` unless another is given."""
    return empty_like(like, (images, *size, channels), dtype).transpose(0, 3, 1, 2)


def lies_channels_last(x: Any) -> bool:
    """Whether x (N, C, H, W) lies without gaps, C innermost, from a multiple of 16 bytes on."""
    return bool(x.transpose(0, 2, 3, 1).flags.c_contiguous) and x.pointer % 16 == 0


def channels_last(x: Any, groups: int, wide: int) -> Any:
    """x (N, C, H, W) in memory as (N, H, W, groups, wide): C / groups channels, then zeros. x itself if it lies so."""
    N, C, H, W = x.shape
    if C == groups * wide and lies_channels_last(x):
        return x.transpose(0, 2, 3, 1)
    return packed(x.transpose(0, 2, 3, 1).reshape(N, H, W, groups, C // groups), wide)


def filters(weight: Any, groups: int, wide: int, turned: bool = False) -> Any:
    """weight (O, C, KH, KW) in memory as (groups, O / groups, KH, KW, wide), or with `turned` as (groups, C, KH, KW,
    wide) whose last axis is O / groups: C channels (of a group), or O / groups, then zeros."""
    O, C, KH, KW = weight.shape
    by_group = weight.reshape(groups, O // groups, C, KH, KW)
    return packed(by_group.transpose(*((0, 2, 3, 4, 1) if turned else (0, 1, 3, 4, 2))), wide)


def packed(x: Any, wide: int) -> Any:
    """A copy of x in C order whose last axis is `wide` long, zeros behind x's own."""
    if x.shape[-1] == wide and x.flags.c_contiguous and x.pointer % 16 == 0:
        return x
    out = empty_like(x, (*x.shape[:-1], wide))
    if x.shape[-1] != wide:
        apply("copy", 0, out=out.basic((..., slice(x.shape[-1], None))))
    if x.size:
        apply("copy", x, out=out.basic((..., slice(0, x.shape[-1]))))
    return out
