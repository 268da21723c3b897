"""Convolution and its gradients on devices: entries that say how operands lie, and what computes them.

Results lie channels last in memory, whatever the inputs do: (N, C, H, W) with C innermost. Inputs that do not are
copied so; channels are padded to whole vectors on the way. A 1x1 kernel at stride 1 is a matrix product, and one
channel per group has a kernel of its own; all else is an implicit matrix product (conv_problem.py), by the kernel that
conv_choice.py picks. What was worked out is kept by shapes, strides, types and alignments.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from weft.backends import reference as K
from weft.backends.gpu import conv_choice, conv_depthwise, conv_problem, entry, gemm_choice
from weft.backends.gpu.array import empty_like
from weft.backends.gpu.conv_layout import channels_last, filters, in_c_order, lies_channels_last, new_image
from weft.backends.gpu.conv_problem import FORWARD, INPUT_GRAD, WEIGHT_GRAD, Convolution, Shape
from weft.backends.gpu.gemm import explain as product_of
from weft.backends.gpu.gemm import gemm, identity, multiprocessors
from weft.backends.gpu.gemm_product import name_of
from weft.backends.gpu.maps import apply
from weft.backends.launch import capability
from weft.backends.reference.windows import output_size

Run = Callable[..., Any]
FLOATS = "ff|ee|EE|dd"

PLANS: dict[Any, Run] = {}
MOST_PLANS = 4096


def planned(direction: str, a: Any, b: Any, bias: Any, make: Callable[[], Run], *others: Any) -> Run:
    """The plan for arrays that lie like these; `make` is called for the first of a kind."""
    key = (direction, *identity(a), *identity(b), *identity(bias), *others, gemm_choice.settings(), capability(a))
    run = PLANS.get(key)
    if run is None:
        if len(PLANS) >= MOST_PLANS:
            PLANS.clear()
        run = PLANS[key] = make()
    return run


def shape_of(x: tuple[int, ...], weight: tuple[int, ...], stride: Any, padding: Any, dilation: Any, groups: int
             ) -> Shape:  # fmt: skip
    (images, C, *image), (O, _, *kernel) = x, weight
    out = output_size(image, kernel, stride, padding, dilation)
    shape = Shape(
        images, groups, C // groups, O // groups, (image[0], image[1]), (out[0], out[1]), (kernel[0], kernel[1]),
        (stride[0], stride[1]), (padding[0][0], padding[1][0]), (dilation[0], dilation[1]),
    )  # fmt: skip
    largest = max(math.prod(shape.image) * max(x[1], 8), math.prod(out) * max(weight[0], 8))
    if largest >= 1 << 30 or shape.images * max(math.prod(shape.image), math.prod(out)) >= 1 << 31:
        raise ValueError(f"conv2d: expected images below 2**30 elements, 2**31 pixels in all, got {x} and {weight}")
    return shape


def described(direction: str, shape: Shape, a: Any, bias: Any, out: Any, activation: str | None) -> Convolution:
    aligned = out.pointer % 16 == 0 and (bias is None or bias.pointer % 16 == 0)
    return conv_problem.describe(
        direction, shape, name_of(a.dtype), capability=capability(a), device=a.device_name.split(":")[0],
        multiprocessors=multiprocessors(a), tf32=gemm_choice.tf32_allowed() and a.dtype.char == "f",
        bias_dtype="" if bias is None else name_of(bias.dtype), activation=activation or "none", aligned=aligned,
    )  # fmt: skip


def pointwise(shape: Shape) -> bool:
    """Whether a convolution is the product of pixels and a matrix."""
    return shape.kernel == shape.stride == (1, 1) and shape.groups == 1 and shape.image == shape.out


def pixels(x: Any) -> Any:
    """x (N, C, H, W) -> its pixels as rows, (N H W, C), or (N, H W, C) where each image lies channel by channel."""
    N, C, H, W = x.shape
    if not lies_channels_last(x) and x.flags.c_contiguous:
        return x.reshape(N, C, H * W).swapaxes(1, 2)
    return rows(x)


def rows(x: Any) -> Any:
    """x (N, C, H, W) -> (N H W, C)."""
    N, C, H, W = x.shape
    return channels_last(x, 1, C).reshape(N * H * W, C)


def alone(shape: Shape, kernel: str | None) -> bool:
    """Whether each channel is convolved alone, by the kernel for that."""
    return conv_depthwise.fits(shape) and kernel in (None, conv_depthwise.NAME)


def by_taps(weight: Any) -> Any:
    """weight (C, 1, KH, KW) in memory as (KH, KW, C)."""
    return in_c_order(weight.transpose(2, 3, 1, 0))


def matrix(weight: Any) -> Any:
    """weight (O, C, 1, 1) -> (O, C)."""
    return weight.basic((slice(None), slice(None), 0, 0))


# -- forward ----------------------------------------------------------------------------------------------------------


@entry(K.conv2d, "fff?|eee?|EEE?|ddd?|eef|EEf")
def conv2d(x: Any, weight: Any, bias: Any, *, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    return convolve(x, weight, bias, stride=stride, padding=padding, dilation=dilation, groups=groups)


def convolve(
    x: Any, weight: Any, bias: Any = None, *, stride: Any, padding: Any, dilation: Any, groups: int,
    activation: str | None = None, kernel: str | None = None,
) -> Any:  # fmt: skip
    """activation(conv2d(x, weight) + bias), as the primitive, with one of gemm's activations in the epilogue.

    kernel: "family", "family/tile" or "family/tile/parts of K", as `conv_choice.describe` names it; None chooses.
    """

    def make() -> Run:
        return forward_plan(
            shape_of(x.shape, weight.shape, stride, padding, dilation, groups), x, bias, activation, kernel
        )

    return planned(
        FORWARD, x, weight, bias, make, stride, padding, dilation, groups, activation, kernel
    )(x, weight, bias)  # fmt: skip


def forward_plan(shape: Shape, x: Any, bias: Any, activation: str | None, kernel: str | None) -> Run:
    outputs = shape.groups * shape.outputs
    if not shape.images * outputs * math.prod(shape.out):
        return lambda x, weight, bias: new_image(x, shape.images, outputs, shape.out)
    if pointwise(shape) and kernel is None and shape.channels:

        def multiply(x: Any, weight: Any, bias: Any) -> Any:
            out = new_image(x, shape.images, outputs, shape.out)
            a = pixels(x)
            flat = out.transpose(0, 2, 3, 1).reshape(*a.shape[:-1], outputs)
            gemm(a, matrix(weight).swapaxes(0, 1), out=flat, bias=bias, activation=activation)
            return out

        return multiply
    sample = new_image(x, shape.images, outputs, shape.out)
    problem = described(FORWARD, shape, x, bias, sample, activation)
    if alone(shape, kernel):
        each = conv_depthwise.prepare(problem)

        def convolve_each(x: Any, weight: Any, bias: Any) -> Any:
            out = new_image(x, shape.images, outputs, shape.out)
            each(channels_last(x, 1, outputs), by_taps(weight), out, None if bias is None else in_c_order(bias))
            return out

        return convolve_each
    launch = conv_choice.prepare(problem, kernel)
    wide = problem.gathered

    def run(x: Any, weight: Any, bias: Any) -> Any:
        out = new_image(x, shape.images, outputs, shape.out)
        bias = None if bias is None else in_c_order(bias)
        launch(channels_last(x, shape.groups, wide), filters(weight, shape.groups, wide), out, bias)
        return out

    return run


def explain(
    x: Any, weight: Any, bias: Any = None, *, stride: Any = (1, 1), padding: Any = ((0, 0), (0, 0)),
    dilation: Any = (1, 1), groups: int = 1,
) -> str:  # fmt: skip
    """The kernel of a forward pass, as "family/tile" or "family/tile/parts of K"."""
    shape = shape_of(x.shape, weight.shape, stride, padding, dilation, groups)
    if pointwise(shape):
        return product_of(pixels(x), matrix(weight).swapaxes(0, 1), bias)
    if alone(shape, None):
        return conv_depthwise.NAME
    sample = new_image(x, shape.images, shape.groups * shape.outputs, shape.out)
    return conv_choice.describe(described(FORWARD, shape, x, bias, sample, None))


conv2d.describe = explain  # type: ignore[attr-defined]


# -- the gradient of the image ----------------------------------------------------------------------------------------


@entry(K.conv2d_input_grad, FLOATS)
def conv2d_input_grad(
    g: Any, weight: Any, *, shape: Any, stride: Any, padding: Any, dilation: Any, groups: int,
    kernel: str | None = None,
) -> Any:  # fmt: skip
    def make() -> Run:
        return input_grad_plan(shape_of(shape, weight.shape, stride, padding, dilation, groups), g, kernel)

    return planned(
        INPUT_GRAD, g, weight, None, make, tuple(shape), stride, padding, dilation, groups, kernel
    )(g, weight)  # fmt: skip


def input_grad_plan(shape: Shape, g: Any, kernel: str | None) -> Run:
    channels = shape.groups * shape.channels
    if not shape.images * channels * math.prod(shape.image):
        return lambda g, weight: new_image(g, shape.images, channels, shape.image)
    if pointwise(shape) and kernel is None and shape.outputs:

        def multiply(g: Any, weight: Any) -> Any:
            out = new_image(g, shape.images, channels, shape.image)
            a = pixels(g)
            gemm(a, matrix(weight), out=out.transpose(0, 2, 3, 1).reshape(*a.shape[:-1], channels))
            return out

        return multiply
    problem = described(INPUT_GRAD, shape, g, None, new_image(g, shape.images, channels, shape.image), None)
    if alone(shape, kernel):
        each = conv_depthwise.prepare(problem)

        def convolve_each(g: Any, weight: Any) -> Any:
            out = new_image(g, shape.images, channels, shape.image)
            each(channels_last(g, 1, channels), by_taps(weight), out, None)
            return out

        return convolve_each
    launch = conv_choice.prepare(problem, kernel)
    wide = problem.gathered

    def run(g: Any, weight: Any) -> Any:
        out = new_image(g, shape.images, channels, shape.image)
        launch(channels_last(g, shape.groups, wide), filters(weight, shape.groups, wide, turned=True), out, None)
        return out

    return run


# -- the gradient of the weight ---------------------------------------------------------------------------------------


@entry(K.conv2d_weight_grad, FLOATS)
def conv2d_weight_grad(
    g: Any, x: Any, *, shape: Any, stride: Any, padding: Any, dilation: Any, groups: int, kernel: str | None = None
) -> Any:
    def make() -> Run:
        return weight_grad_plan(shape_of(x.shape, shape, stride, padding, dilation, groups), g, kernel)

    return planned(
        WEIGHT_GRAD, g, x, None, make, tuple(shape), stride, padding, dilation, groups, kernel
    )(g, x)  # fmt: skip


def weight_grad_plan(shape: Shape, g: Any, kernel: str | None) -> Run:
    whole = (shape.groups * shape.outputs, shape.channels, *shape.kernel)
    if not math.prod(whole):
        return lambda g, x: empty_like(g, whole)
    if pointwise(shape) and kernel is None and shape.images * math.prod(shape.out):

        def multiply(g: Any, x: Any) -> Any:
            out = empty_like(g, whole)
            gemm(rows(g).swapaxes(0, 1), rows(x), out=out.reshape(whole[:2]))
            return out

        return multiply
    if alone(shape, kernel):
        each = conv_depthwise.prepare_weight(described(WEIGHT_GRAD, shape, g, None, g, None))

        def convolve_each(g: Any, x: Any) -> Any:
            out = empty_like(g, whole)
            sums = each(channels_last(g, 1, whole[0]), channels_last(x, 1, whole[0]))
            return apply("copy", sums.transpose(2, 0, 1).reshape(whole), out=out)

        return convolve_each
    wide, g_wide = (conv_problem.padded(g.dtype.itemsize, n) for n in (shape.channels, shape.outputs))
    size = (whole[0], *shape.kernel, wide)
    problem = described(WEIGHT_GRAD, shape, g, None, empty_like(g, size), None)
    launch = conv_choice.prepare(problem, kernel)

    def run(g: Any, x: Any) -> Any:
        out = empty_like(g, size)
        launch(channels_last(g, shape.groups, g_wide), channels_last(x, shape.groups, wide), out, None)
        return in_c_order(out.basic((..., slice(0, shape.channels))).transpose(0, 3, 1, 2))

    return run
