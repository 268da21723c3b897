"""Products of matrices, and convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import weft
from weft.onnx.operators import operator
from weft.onnx.operators.common import flag, is_integer, one_of


@operator("MatMul")
def matmul(a: Any, b: Any) -> Any:
    return weft.matmul(a, b)


@operator("Gemm", 7)
def gemm(
    a: Any, b: Any, c: Any = None, *, alpha: float = 1.0, beta: float = 1.0, transA: int = 0, transB: int = 0
) -> Any:
    """alpha * a @ b + beta * c, a and b transposed where asked for."""
    if a.ndim != 2 or b.ndim != 2:
        raise ValueError(f"Gemm: expected matrices, got {a.shape} and {b.shape}")
    a, b = (weft.matrix_transpose(x) if flag("trans", t) else x for x, t in ((a, transA), (b, transB)))
    out = weft.matmul(a, b)
    if is_integer(out):
        if alpha != int(alpha) or beta != int(beta):
            raise ValueError(f"Gemm: expected whole factors of integers, got {alpha} and {beta}")
        alpha, beta = int(alpha), int(beta)
    out = out if alpha == 1 else out * alpha
    return out if c is None else out + (c if beta == 1 else c * beta)


Pads = tuple[tuple[int, int], ...]


def geometry(
    shape: Sequence[int], kernel: Sequence[int], auto_pad: str, pads: Any, strides: Any, dilations: Any
) -> tuple[Pads, tuple[int, ...], tuple[int, ...]]:
    """(pads before and after each spatial axis, strides, dilations) of windows over axes of these lengths."""
    n = len(kernel)
    steps, spread = (tuple(given) if given else (1,) * n for given in (strides, dilations))
    flat = list(pads) if pads else [0] * 2 * n
    if len(shape) != n or len(steps) != n or len(spread) != n or len(flat) != 2 * n or min(steps + spread) < 1:
        raise ValueError(
            f"expected {n} strides and dilations of at least 1 and {2 * n} pads for an image {tuple(shape)}, "
            f"got {steps}, {spread}, {flat}"
        )
    one_of("auto_pad", auto_pad, ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"))
    if auto_pad == "NOTSET":
        return tuple(zip(flat[:n], flat[n:])), steps, spread
    if any(flat):
        raise ValueError(f"expected pads or auto_pad {auto_pad}, got both")
    sides = []
    for length, k, s, d in zip(shape, kernel, steps, spread):
        total = max((-(-length // s) - 1) * s + d * (k - 1) + 1 - length, 0) if auto_pad != "VALID" else 0
        less, more = total // 2, total - total // 2
        sides.append((less, more) if auto_pad == "SAME_UPPER" else (more, less))
    return tuple(sides), steps, spread


def check_kernel(weight: Any, kernel_shape: Any) -> tuple[int, ...]:
    kernel = tuple(weight.shape[2:])
    if kernel_shape and tuple(kernel_shape) != kernel:
        raise ValueError(f"expected kernel_shape {kernel} of the weight, got {tuple(kernel_shape)}")
    return kernel


def correlate(x: Any, weight: Any, bias: Any, pads: Pads, strides: Any, dilations: Any, group: int) -> Any:
    """Cross-correlation over one, two or three axes."""
    n = len(pads)
    options = {"groups": group}
    if n == 1:  # an image of one row
        out = weft.conv2d(
            weft.expand_dims(x, axis=2), weft.expand_dims(weight, axis=2), bias, stride=(1, *strides),
            padding=((0, 0), *pads), dilation=(1, *dilations), **options,
        )  # fmt: skip
        return weft.squeeze(out, axis=2)
    if n not in (2, 3):
        raise ValueError(f"Conv: expected 1 to 3 spatial axes, got {n}")
    convolve = weft.conv2d if n == 2 else weft.conv3d
    return convolve(x, weight, bias, stride=strides, padding=pads, dilation=dilations, **options)


@operator("Conv")
def conv(
    x: Any, weight: Any, bias: Any = None, *, auto_pad: str = "NOTSET", dilations: Any = None, group: int = 1,
    kernel_shape: Any = None, pads: Any = None, strides: Any = None,
) -> Any:  # fmt: skip
    kernel = check_kernel(weight, kernel_shape)
    sides, steps, spread = geometry(x.shape[2:], kernel, auto_pad, pads, strides, dilations)
    return correlate(x, weight, bias, sides, steps, spread, group)


@operator("ConvTranspose")
def conv_transpose(
    x: Any, weight: Any, bias: Any = None, *, auto_pad: str = "NOTSET", dilations: Any = None, group: int = 1,
    kernel_shape: Any = None, output_padding: Any = None, output_shape: Any = None, pads: Any = None,
    strides: Any = None,
) -> Any:  # fmt: skip
    """Each value spread over a window; as a correlation of x, its values `strides` apart, with the weight turned."""
    kernel = check_kernel(weight, kernel_shape)
    n = len(kernel)
    _, steps, spread = geometry(x.shape[2:], kernel, "NOTSET", pads, strides, dilations)
    extra = list(output_padding or [0] * n)
    whole = [s * (m - 1) + e + d * (k - 1) + 1
             for m, s, e, d, k in zip(x.shape[2:], steps, extra, spread, kernel)]  # fmt: skip
    one_of("auto_pad", auto_pad, ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"))
    wanted = list(output_shape or [])[-n:] or None
    if wanted is None and auto_pad.startswith("SAME"):
        wanted = [m * s for m, s in zip(x.shape[2:], steps)]
    flat = list(pads or [0] * 2 * n)
    if wanted is not None:
        totals = [w - target for w, target in zip(whole, wanted)]
        first = [t - t // 2 if auto_pad != "SAME_UPPER" else t // 2 for t in totals]
        flat = first + [t - f for t, f in zip(totals, first)]
    # Values between the values: zeros, so that a plain correlation of stride 1 does the rest.
    axes = tuple(range(2, 2 + n))
    spaced = x
    for axis, s in zip(axes, steps):
        if s > 1:
            widths = [(0, 0)] * (x.ndim + 1)
            widths[axis + 1] = (0, s - 1)
            lengths = list(spaced.shape)
            lengths[axis] *= s
            spaced = weft.pad(weft.expand_dims(spaced, axis=axis + 1), tuple(widths)).reshape(tuple(lengths))
            spaced = spaced[(slice(None),) * axis + (slice(0, lengths[axis] - (s - 1)),)]
    ends = [(d * (k - 1) - a, d * (k - 1) - b + e)
            for d, k, a, b, e in zip(spread, kernel, flat[:n], flat[n:], extra)]  # fmt: skip
    cut = tuple(slice(max(-a, 0), m - max(-b, 0)) for (a, b), m in zip(ends, spaced.shape[2:]))
    sides = tuple((max(a, 0), max(b, 0)) for a, b in ends)
    if any(min(end) < 0 for end in ends):
        spaced = spaced[(slice(None), slice(None), *cut)]
    inputs, each = weight.shape[0], weight.shape[1]
    turned = weft.flip(weight, axis=axes).reshape(group, inputs // group, each, *kernel)
    turned = weft.swapaxes(turned, 1, 2).reshape(group * each, inputs // group, *kernel)
    return correlate(spaced, turned, bias, sides, (1,) * n, spread, group)


@operator("Einsum", 12)
def einsum(*arrays: Any, equation: str) -> Any:
    return weft.einsum(equation, *arrays).astype(arrays[0].dtype)


@operator("Det", 11)
def determinant(x: Any) -> Any:
    return weft.linalg.det(x)
