"""Layers that add to the borders of their input.

padding: (left, right, top, bottom, ...), from the last dimension to the first, or one number for all sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from weft.nn import functional as F
from weft.nn.functional.shape import tuple_of
from weft.nn.module import Module


class Pad(Module):
    """What the paddings share: `spatial` dimensions behind (N, C), N optional; `mode` is that of `functional.pad`."""

    spatial = 0
    mode = "constant"
    value: float | None = None

    def __init__(self, padding: int | Sequence[int]):
        self.padding = tuple_of(padding, 2 * self.spatial, f"{type(self).__name__}: padding")

    def forward(self, x: Any) -> Any:
        if x.ndim not in (self.spatial + 1, self.spatial + 2):
            wanted = "(N, C, " + ", ".join("DHW"[3 - self.spatial :] if self.spatial > 1 else "L") + ")"
            raise ValueError(f"pad: expected an input {wanted}, N optional, got {x.shape}")
        return F.pad(x, self.padding, self.mode, self.value)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ConstantPad(Pad):
    """What the paddings with a value share."""

    def __init__(self, padding: int | Sequence[int], value: float):
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(ConstantPad):
    """`value` on the border; negative numbers cut off.  (N, C, L) -> (N, C, L + left + right), N optional

    >>> import weft
    >>> ConstantPad1d(1, 9.0)(weft.asarray([[1.0, 2.0]])).numpy()
    array([[9., 1., 2., 9.]], dtype=float32)
    """

    spatial = 1


class ConstantPad2d(ConstantPad):
    """`value` on the border; negative numbers cut off.

    (N, C, H, W) -> (N, C, H + top + bottom, W + left + right), N optional

    >>> import weft
    >>> ConstantPad2d(1, 2.0)(weft.ones((1, 2, 3, 3))).shape
    (1, 2, 5, 5)
    """

    spatial = 2


class ConstantPad3d(ConstantPad):
    """`value` on the border; negative numbers cut off.

    (N, C, D, H, W) -> (N, C, D + front + back, H + top + bottom, W + left + right), N optional

    >>> import weft
    >>> ConstantPad3d(1, 2.0)(weft.ones((1, 2, 3, 3, 3))).shape
    (1, 2, 5, 5, 5)
    """

    spatial = 3


class ZeroPad1d(Pad):
    """Zeros on the border; negative numbers cut off.  (N, C, L) -> (N, C, L + left + right), N optional

    >>> import weft
    >>> ZeroPad1d((0, 2))(weft.asarray([[1.0, 2.0]])).numpy()
    array([[1., 2., 0., 0.]], dtype=float32)
    """

    spatial = 1


class ZeroPad2d(Pad):
    """Zeros on the border; negative numbers cut off.

    (N, C, H, W) -> (N, C, H + top + bottom, W + left + right), N optional

    >>> import weft
    >>> ZeroPad2d(1)(weft.ones((1, 2, 3, 3))).shape
    (1, 2, 5, 5)
    """

    spatial = 2


class ZeroPad3d(Pad):
    """Zeros on the border; negative numbers cut off.

    (N, C, D, H, W) -> (N, C, D + front + back, H + top + bottom, W + left + right), N optional

    >>> import weft
    >>> ZeroPad3d(1)(weft.ones((1, 2, 3, 3, 3))).shape
    (1, 2, 5, 5, 5)
    """

    spatial = 3


class ReflectionPad1d(Pad):
    """The input mirrored at its outermost values on the border, which is narrower than the input.

    (N, C, L) -> (N, C, L + left + right), N optional

    >>> import weft
    >>> ReflectionPad1d(2)(weft.asarray([[1.0, 2.0, 3.0]])).numpy()
    array([[3., 2., 1., 2., 3., 2., 1.]], dtype=float32)
    """

    spatial = 1
    mode = "reflect"


class ReflectionPad2d(Pad):
    """The input mirrored at its outermost values on the border, which is narrower than the input.

    (N, C, H, W) -> (N, C, H + top + bottom, W + left + right), N optional

    >>> import weft
    >>> ReflectionPad2d(1)(weft.ones((1, 2, 3, 3))).shape
    (1, 2, 5, 5)
    """

    spatial = 2
    mode = "reflect"


class ReflectionPad3d(Pad):
    """The input mirrored at its outermost values on the border, which is narrower than the input.

    (N, C, D, H, W) -> (N, C, D + front + back, H + top + bottom, W + left + right), N optional

    >>> import weft
    >>> ReflectionPad3d(1)(weft.ones((1, 2, 3, 3, 3))).shape
    (1, 2, 5, 5, 5)
    """

    spatial = 3
    mode = "reflect"


class ReplicationPad1d(Pad):
    """The outermost value repeated on the border.  (N, C, L) -> (N, C, L + left + right), N optional

    >>> import weft
    >>> ReplicationPad1d(2)(weft.asarray([[1.0, 2.0]])).numpy()
    array([[1., 1., 1., 2., 2., 2.]], dtype=float32)
    """

    spatial = 1
    mode = "replicate"


class ReplicationPad2d(Pad):
    """The outermost value repeated on the border.

    (N, C, H, W) -> (N, C, H + top + bottom, W + left + right), N optional

    >>> import weft
    >>> ReplicationPad2d(1)(weft.ones((1, 2, 3, 3))).shape
    (1, 2, 5, 5)
    """

    spatial = 2
    mode = "replicate"


class ReplicationPad3d(Pad):
    """The outermost value repeated on the border.

    (N, C, D, H, W) -> (N, C, D + front + back, H + top + bottom, W + left + right), N optional

    >>> import weft
    >>> ReplicationPad3d(1)(weft.ones((1, 2, 3, 3, 3))).shape
    (1, 2, 5, 5, 5)
    """

    spatial = 3
    mode = "replicate"


class CircularPad1d(Pad):
    """The input continued from its other side on the border.  (N, C, L) -> (N, C, L + left + right), N optional

    >>> import weft
    >>> CircularPad1d(1)(weft.asarray([[1.0, 2.0, 3.0]])).numpy()
    array([[3., 1., 2., 3., 1.]], dtype=float32)
    """

    spatial = 1
    mode = "circular"


class CircularPad2d(Pad):
    """The input continued from its other side on the border.

    (N, C, H, W) -> (N, C, H + top + bottom, W + left + right), N optional

    >>> import weft
    >>> CircularPad2d(1)(weft.ones((1, 2, 3, 3))).shape
    (1, 2, 5, 5)
    """

    spatial = 2
    mode = "circular"


class CircularPad3d(Pad):
    """The input continued from its other side on the border.

    (N, C, D, H, W) -> (N, C, D + front + back, H + top + bottom, W + left + right), N optional

    >>> import weft
    >>> CircularPad3d(1)(weft.ones((1, 2, 3, 3, 3))).shape
    (1, 2, 5, 5, 5)
    """

    spatial = 3
    mode = "circular"
