"""Two-dimensional convolution, differentiable to any order by its own three primitives."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from operator import index
from typing import Any

from weft.autograd import Tensor, agree, op
from weft.backends import reference as K
from weft.backends.array import namespace
from weft.ops.activation import floating

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]


def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[Any] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Slide the kernels of `weight` over the images of `x` (cross-correlation, as every framework's convolution).

    x (N, C, H, W), weight (O, C/groups, KH, KW), bias (O,) or None -> (N, O, OH, OW), where
    OH = (H + top + bottom - dilation * (KH - 1) - 1) // stride + 1.
    padding: an int, (height, width), ((top, bottom), (left, right)), "valid" (none) or "same" (OH = H, stride 1 only;
    the odd pixel goes to the bottom and right).  ValueError where shapes do not fit.

    >>> weft.conv2d(weft.ones((1, 3, 8, 8)), weft.ones((4, 3, 3, 3)), padding=1).shape
    (1, 4, 8, 8)
    """
    steps, spread = pair("conv2d", "stride", stride), pair("conv2d", "dilation", dilation)
    check_conv2d(x, weight, bias, groups)
    window = reach(weight.shape[2:], spread)
    sides = pads("conv2d", padding, window, steps)
    check_fits("conv2d", x.shape, window, sides)
    return correlate(x, weight, bias, stride=steps, padding=sides, dilation=spread, groups=groups)


# The three ops below are also what the primitives mean on Tensors. A replay for higher orders thus records these same
# ops, each with its fast entries, instead of the reference's many small ones.


@op(name="conv2d")
def correlate(x, weight, bias, **geometry):
    """conv2d with every parameter spelled out, as the primitive takes it."""
    x_shape, weight_shape = x.shape, weight.shape

    def bias_grad(g):
        return namespace(g).sum(g, axis=(0, 2, 3))

    return K.conv2d(x, weight, bias, **geometry), (
        lambda g: K.conv2d_input_grad(g, weight, shape=x_shape, **geometry),
        lambda g: K.conv2d_weight_grad(g, x, shape=weight_shape, **geometry),
        None if bias is None else bias_grad,
    )


@op(name="conv_transpose2d")
def correlate_input_grad(g, weight, *, shape, **geometry):
    """The gradient of conv2d's image, itself linear in g and weight."""
    weight_shape = weight.shape
    return K.conv2d_input_grad(g, weight, shape=shape, **geometry), (
        lambda u: K.conv2d(u, weight, None, **geometry),
        lambda u: K.conv2d_weight_grad(g, u, shape=weight_shape, **geometry),
    )


@op(name="conv2d")
def correlate_weight_grad(g, x, *, shape, **geometry):
    """The gradient of conv2d's weight, itself linear in g and x."""
    x_shape = x.shape
    return K.conv2d_weight_grad(g, x, shape=shape, **geometry), (
        lambda u: K.conv2d(x, u, None, **geometry),
        lambda u: K.conv2d_input_grad(g, u, shape=x_shape, **geometry),
    )


K.conv2d.on(Tensor, ".*")(correlate)
K.conv2d_input_grad.on(Tensor, ".*")(correlate_input_grad)
K.conv2d_weight_grad.on(Tensor, ".*")(correlate_weight_grad)


def pair(name: str, what: str, value: Any) -> Pair:
    """An int or a pair of ints, at least 1 -> a pair."""
    try:
        height, width = map(index, (value, value) if isinstance(value, Integral) else value)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: expected {what} to be an int or a pair of ints, got {value!r}") from None
    if height < 1 or width < 1:
        raise ValueError(f"{name}: expected {what} of at least 1, got {value!r}")
    return height, width


def pads(name: str, padding: Any, window: Pair, stride: Pair) -> Padding:
    """Any spelling of padding -> ((top, bottom), (left, right)). `window` is the kernel's reach with its dilation."""
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding == "same":
        if stride != (1, 1):
            raise ValueError(f'{name}: expected stride 1 with padding="same", got stride {stride}')
        height, width = window[0] - 1, window[1] - 1
        return (height // 2, height - height // 2), (width // 2, width - width // 2)
    try:
        sides = (padding, padding) if isinstance(padding, Integral) else padding
        (top, bottom), (left, right) = (map(index, (p, p) if isinstance(p, Integral) else p) for p in sides)
    except (TypeError, ValueError):
        raise ValueError(
            f'{name}: expected padding "same", "valid", an int, (height, width) or ((top, bottom), (left, right)), '
            f"got {padding!r}"
        ) from None
    if min(top, bottom, left, right) < 0:
        raise ValueError(f"{name}: expected padding of at least 0, got {padding!r}")
    return (top, bottom), (left, right)


def reach(kernel: Pair, dilation: Pair) -> Pair:
    """The pixels from the first to the last tap of a kernel, both included."""
    return dilation[0] * (kernel[0] - 1) + 1, dilation[1] * (kernel[1] - 1) + 1


def check_fits(name: str, shape: Sequence[int], window: Sequence[int], padding: Sequence[Sequence[int]]) -> None:
    """Raise where not even one window fits into the padded image."""
    padded = tuple(n + sum(p) for n, p in zip(shape[2:], padding))
    if any(n < k for n, k in zip(padded, window)):
        raise ValueError(f"{name}: expected an image of at least {tuple(window)} pixels with its padding, got {padded}")


def check_conv2d(x: Any, weight: Any, bias: Any, groups: int) -> None:
    """Raise where the shapes of a convolution do not fit together, with the likely cause."""
    if len(weight.shape) != 4 or 0 in weight.shape[2:]:
        raise ValueError(f"conv2d: expected weight (O, C/groups, KH, KW), got {tuple(weight.shape)}")
    if len(x.shape) != 4:
        hint = "; add the batch axis with x[None]" if len(x.shape) == 3 else ""
        raise ValueError(f"conv2d: expected x (N, C, H, W), got {tuple(x.shape)}{hint}")
    O, channels = weight.shape[0], weight.shape[1] * groups
    if groups < 1 or O % groups:
        raise ValueError(f"conv2d: expected groups to divide {O} output channels, got groups {groups}")
    if x.shape[1] != channels:
        hint = "; is the batch NHWC? Permute it to (N, C, H, W)" if x.shape[3] == channels else ""
        raise ValueError(
            f"conv2d: expected x with {channels} channels for weight {tuple(weight.shape)} and groups {groups}, "
            f"got x {tuple(x.shape)}{hint}"
        )
    if bias is not None and tuple(bias.shape) != (O,):
        raise ValueError(f"conv2d: expected bias ({O},), got {tuple(bias.shape)}")
    floating(x, "conv2d")
    if not agree(x, weight):
        raise TypeError(f"conv2d: expected x and weight of one dtype, got {x.dtype} and {weight.dtype}")
