"""Convolution of images and its two gradients: three bilinear maps that are each other's derivatives.

All three take `stride=(sh, sw)`, `padding=((top, bottom), (left, right))`, `dilation=(dh, dw)` and `groups`. Tap (a, b)
of the kernel reads the padded image at row `i * sh + a * dh`, column `j * sw + b * dw`.
"""

from __future__ import annotations

from math import prod

from weft.backends.array import namespace
from weft.backends.reference.precision import narrow, wide
from weft.backends.reference.windows import gather, output_size, scatter
from weft.backends.registry import primitive


@primitive
def conv2d(x, weight, bias, *, stride, padding, dilation, groups):
    """x (N, C, H, W), weight (O, C/G, KH, KW), bias (O,) or None -> (N, O, OH, OW): the cross-correlation."""
    xp, (N, _, *image), (O, _, *kernel) = namespace(x), x.shape, weight.shape
    size = output_size(image, kernel, stride, padding, dilation)
    columns = grouped_columns(xp, wide(x), groups, kernel, size, stride, padding, dilation)  # (N, G, K, P)
    rows = xp.reshape(wide(weight), (groups, O // groups, columns.shape[2]))  # (G, O/G, K)
    out = xp.reshape(xp.matmul(rows, columns), (N, O, *size))
    if bias is not None:
        out = out + xp.reshape(wide(bias), (O, 1, 1))
    return narrow(out, x.dtype)


@primitive
def conv2d_input_grad(g, weight, *, shape, stride, padding, dilation, groups):
    """g (N, O, OH, OW), weight (O, C/G, KH, KW) -> `shape` (N, C, H, W): the gradient of conv2d's image."""
    xp, (N, O, *size), (_, _, *kernel) = namespace(g), g.shape, weight.shape
    rows = xp.reshape(wide(weight), (groups, O // groups, prod(weight.shape[1:])))  # (G, O/G, K)
    flat = xp.reshape(wide(g), (N, groups, O // groups, prod(size)))  # (N, G, O/G, P)
    columns = xp.matmul(xp.matrix_transpose(rows), flat)  # (N, G, K, P)
    columns = xp.reshape(columns, (N, shape[1], prod(kernel), *size))
    taps = [columns[:, :, t] for t in range(prod(kernel))]
    return narrow(scatter(xp, taps, shape[2:], kernel, stride, padding, dilation), g.dtype)


@primitive
def conv2d_weight_grad(g, x, *, shape, stride, padding, dilation, groups):
    """g (N, O, OH, OW), x (N, C, H, W) -> `shape` (O, C/G, KH, KW): the gradient of conv2d's weight."""
    xp, (N, O, *size) = namespace(g), g.shape
    columns = grouped_columns(xp, wide(x), groups, shape[2:], size, stride, padding, dilation)  # (N, G, K, P)
    flat = xp.reshape(wide(g), (N, groups, O // groups, prod(size)))  # (N, G, O/G, P)
    rows = xp.sum(xp.matmul(flat, xp.matrix_transpose(columns)), axis=0)  # (G, O/G, K)
    return narrow(xp.reshape(rows, shape), g.dtype)


def grouped_columns(xp, x, groups, kernel, size, stride, padding, dilation):
    """x (N, C, H, W) -> (N, G, C/G * KH * KW, OH * OW): what each output pixel reads, one column per pixel."""
    N, C = x.shape[:2]
    columns = xp.stack(gather(xp, x, kernel, size, stride, padding, dilation), axis=2)  # (N, C, T, OH, OW)
    return xp.reshape(columns, (N, groups, C // groups * prod(kernel), prod(size)))
