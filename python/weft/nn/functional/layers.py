"""The functions under the layers with parameters: dense, convolution, normalisation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from weft import ops
from weft.nn.functional.shape import conv_padding, shape_of, tuple_of

__all__ = [
    "batch_norm",
    "bilinear",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "linear",
    "local_response_norm",
    "rms_norm",
]


def linear(input: Any, weight: Any, bias: Any = None) -> Any:
    """(..., I), weight (O, I), bias (O,) or None -> (..., O): input @ weight^T + bias.

    >>> F.linear(weft.ones((2, 3)), weft.ones((4, 3))).shape
    (2, 4)
    """
    return ops.linear(input, weight, bias)


def bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Any:
    """input1 (..., I), input2 (..., J), weight (O, I, J) -> (..., O): input1 @ weight[o] @ input2 + bias[o].

    >>> F.bilinear(weft.ones((5, 2)), weft.ones((5, 3)), weft.ones((4, 2, 3))).shape
    (5, 4)
    """
    if (input1.shape[-1], input2.shape[-1]) != weight.shape[1:] or input1.shape[:-1] != input2.shape[:-1]:
        raise ValueError(
            f"bilinear: expected inputs (..., {weight.shape[1]}) and (..., {weight.shape[2]}), "
            f"got {input1.shape} and {input2.shape}"
        )
    O, I, J = weight.shape
    rows = ops.matmul(input1, ops.reshape(ops.permute_dims(weight, (1, 0, 2)), (I, O * J)))  # (..., O * J)
    rows = ops.reshape(rows, (*input1.shape[:-1], O, J))
    out = ops.sum(rows * ops.expand_dims(input2, axis=-2), axis=-1)
    return out if bias is None else out + bias


def conv2d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Any:
    """(N, C, H, W) or (C, H, W), weight (O, C / groups, KH, KW), bias (O,) or None -> (N, O, OH, OW) or (O, OH, OW).

    >>> F.conv2d(weft.ones((1, 2, 8, 8)), weft.ones((4, 2, 3, 3)), padding=1).shape
    (1, 4, 8, 8)
    """
    if input.ndim == 3:
        return conv2d(input[None], weight, bias, stride, padding, dilation, groups)[0]
    return ops.conv2d(input, weight, bias, stride=stride, padding=padding, dilation=dilation, groups=groups)


def conv1d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Any:
    """(N, C, L) or (C, L), weight (O, C / groups, K), bias (O,) or None -> (N, O, OL) or (O, OL): a flat conv2d.

    >>> F.conv1d(weft.ones((1, 2, 8)), weft.ones((4, 2, 3)), padding=1).shape
    (1, 4, 8)
    """
    if input.ndim not in (2, 3) or weight.ndim != 3:
        raise ValueError(
            f"conv1d: expected input (N, C, L) or (C, L) and weight (O, C, K), got {input.shape} and {weight.shape}"
        )
    channels = weight.shape[1] * groups
    if input.shape[-2] != channels:
        hint = "; is the input (N, L, C)?" if input.shape[-1] == channels else ""
        raise ValueError(
            f"conv1d: expected input (N, {channels}, L) for weight {weight.shape}, got {input.shape}{hint}"
        )
    if input.ndim == 2:
        return conv1d(input[None], weight, bias, stride, padding, dilation, groups)[0]
    (stride,), (dilation,) = tuple_of(stride, 1, "conv1d: stride"), tuple_of(dilation, 1, "conv1d: dilation")
    if isinstance(padding, int):
        padding = (padding,)
    (pads,) = conv_padding(padding, weight.shape[2:], (dilation,), "conv1d")
    out = ops.conv2d(
        ops.expand_dims(input, axis=2),
        ops.expand_dims(weight, axis=2),
        bias,
        stride=(1, stride),
        padding=((0, 0), pads),
        dilation=(1, dilation),
        groups=groups,
    )
    return ops.squeeze(out, axis=2)


def conv3d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Any:
    """(N, C, D, H, W) or (C, D, H, W), weight (O, C / groups, KD, KH, KW), bias (O,) or None -> (N, O, OD, OH, OW).

    >>> F.conv3d(weft.ones((1, 2, 4, 4, 4)), weft.ones((3, 2, 3, 3, 3)), padding=1).shape
    (1, 3, 4, 4, 4)
    """
    if input.ndim == 4:
        return conv3d(input[None], weight, bias, stride, padding, dilation, groups)[0]
    return ops.conv3d(input, weight, bias, stride=stride, padding=padding, dilation=dilation, groups=groups)


def conv_transpose2d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
    groups: int = 1, dilation: Any = 1,
) -> Any:  # fmt: skip
    """(N, C, H, W) or (C, H, W), weight (C, O / groups, KH, KW), bias (O,) or None -> (N, O, OH, OW) or (O, OH, OW).

    >>> F.conv_transpose2d(weft.ones((1, 2, 4, 4)), weft.ones((2, 3, 2, 2)), stride=2).shape
    (1, 3, 8, 8)
    """
    if input.ndim == 3:
        return conv_transpose2d(input[None], weight, bias, stride, padding, output_padding, groups, dilation)[0]
    return ops.conv_transpose2d(
        input, weight, bias, stride=stride, padding=padding, output_padding=output_padding, dilation=dilation,
        groups=groups,
    )  # fmt: skip


def conv_transpose3d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
    groups: int = 1, dilation: Any = 1,
) -> Any:  # fmt: skip
    """(N, C, D, H, W), weight (C, O / groups, KD, KH, KW), bias (O,) or None -> (N, O, OD, OH, OW); or without the N.

    The convolution of what `stride` spreads out with the turned kernel.

    >>> F.conv_transpose3d(weft.ones((1, 2, 4, 4, 4)), weft.ones((2, 3, 2, 2, 2)), stride=2).shape
    (1, 3, 8, 8, 8)
    """
    name = "conv_transpose3d"
    if input.ndim == 4:
        return conv_transpose3d(input[None], weight, bias, stride, padding, output_padding, groups, dilation)[0]
    if input.ndim != 5 or weight.ndim != 5 or input.shape[1] != weight.shape[0] or input.shape[1] % groups:
        raise ValueError(f"{name}: expected input (N, C, D, H, W) and weight (C, O / {groups}, KD, KH, KW), "
                         f"got {input.shape} and {weight.shape}")  # fmt: skip
    steps, edges, more, spread = (
        tuple_of(value, 3, f"{name}: {what}") for value, what in
        ((stride, "stride"), (padding, "padding"), (output_padding, "output_padding"), (dilation, "dilation"))
    )  # fmt: skip
    if any(e >= max(s, d) for e, s, d in zip(more, steps, spread)):
        raise ValueError(f"{name}: expected output_padding below stride or dilation, got {more}, {steps} and {spread}")
    x = input
    for axis, s in enumerate(steps, 2):  # s - 1 zeros between neighbours
        if s > 1:
            n = x.shape[axis]
            gaps = [(0, 0)] * (axis + 1) + [(0, s - 1)] + [(0, 0)] * (4 - axis)
            x = ops.pad(ops.expand_dims(x, axis=axis + 1), tuple(gaps))
            x = ops.reshape(x, (*x.shape[:axis], n * s, *x.shape[axis + 2 :]))
            x = x[(slice(None),) * axis + (slice(0, (n - 1) * s + 1),)]
    sides = [(d * (k - 1) - p, d * (k - 1) - p + e) for d, k, p, e in zip(spread, weight.shape[2:], edges, more)]
    padded = ops.pad(x, ((0, 0), (0, 0), *((max(a, 0), max(b, 0)) for a, b in sides)))
    cut = tuple(slice(max(-a, 0), n - max(-b, 0)) for (a, b), n in zip(sides, padded.shape[2:]))
    C, O = weight.shape[:2]
    turned = ops.reshape(ops.flip(weight, axis=(2, 3, 4)), (groups, C // groups, O, *weight.shape[2:]))
    turned = ops.reshape(ops.swapaxes(turned, 1, 2), (groups * O, C // groups, *weight.shape[2:]))
    return conv3d(padded[(slice(None), slice(None), *cut)], turned, bias, 1, 0, spread, groups)


def conv_transpose1d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
    groups: int = 1, dilation: Any = 1,
) -> Any:  # fmt: skip
    """(N, C, L) or (C, L), weight (C, O / groups, K), bias (O,) or None -> (N, O, OL) or (O, OL), flat as conv1d's.

    >>> F.conv_transpose1d(weft.ones((1, 2, 8)), weft.ones((2, 4, 2)), stride=2).shape
    (1, 4, 16)
    """
    if input.ndim not in (2, 3) or weight.ndim != 3:
        raise ValueError(
            "conv_transpose1d: expected input (N, C, L) or (C, L) and weight (C, O, K), "
            f"got {input.shape} and {weight.shape}"
        )
    if input.ndim == 2:
        return conv_transpose1d(input[None], weight, bias, stride, padding, output_padding, groups, dilation)[0]
    (step,), (side,), (more,), (spread,) = (
        tuple_of(value, 1, f"conv_transpose1d: {what}")
        for value, what in ((stride, "stride"), (padding, "padding"), (output_padding, "output_padding"),
                            (dilation, "dilation"))
    )  # fmt: skip
    out = ops.conv_transpose2d(
        ops.expand_dims(input, axis=2), ops.expand_dims(weight, axis=2), bias, stride=(1, step), padding=(0, side),
        output_padding=(0, more), dilation=(1, spread), groups=groups,
    )  # fmt: skip
    return ops.squeeze(out, axis=2)


def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    residual: Any = None,
    relu: bool = False,
) -> Any:
    """(N, C, ...) -> same shape: each channel normalised by the batch (training) or by the running statistics.

    In training the running ones, (C,) or None, are moved towards the batch's by `momentum`, in place. residual, of the
    input's shape, is added to the result; with relu, what is negative then becomes 0.

    >>> F.batch_norm(weft.asarray([[1.0], [3.0]]), None, None, training=True).numpy().round(3)
    array([[-1.],
           [ 1.]], dtype=float32)
    """
    out, mean, var = ops.batch_norm(
        input, weight, bias, running_mean, running_var, residual, training=training, momentum=momentum, eps=eps,
        relu=relu,
    )  # fmt: skip
    if training and running_mean is not None:
        running_mean.assign(mean, by="batch_norm")
        running_var.assign(var, by="batch_norm")
    return out


def layer_norm(
    input: Any, normalized_shape: int | Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """(..., *normalized_shape) -> same shape: mean 0, variance 1 over those dimensions, times weight, plus bias.

    >>> F.layer_norm(weft.asarray([[1.0, 3.0]]), 2).numpy().round(3)
    array([[-1.,  1.]], dtype=float32)
    """
    return ops.layer_norm(input, weight, bias, normalized_shape=shape_of(normalized_shape), eps=eps)


def rms_norm(input: Any, normalized_shape: int | Sequence[int], weight: Any = None, eps: float | None = None) -> Any:
    """(..., *normalized_shape) -> same shape: divided by the root mean square over those dimensions, times weight.

    >>> F.rms_norm(weft.asarray([[3.0, 4.0]]), 2).numpy().round(4)
    array([[0.8485, 1.1314]], dtype=float32)
    """
    return ops.rms_norm(input, weight, normalized_shape=shape_of(normalized_shape), eps=eps)


def group_norm(input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """(N, C, ...) -> same shape: each of num_groups groups of channels to mean 0 and variance 1 in each sample.

    >>> F.group_norm(weft.asarray([[[1.0], [3.0]]]), 1).numpy().round(3)
    array([[[-1.],
            [ 1.]]], dtype=float32)
    """
    return ops.group_norm(input, weight, bias, num_groups=num_groups, eps=eps)


def instance_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """(N, C, ...) -> same shape: each channel of each sample to mean 0 and variance 1, times weight, plus bias.

    use_input_stats: false for the running statistics (C,) instead. Where they are given, they are moved towards the
    batch's mean and variance (unbiased, averaged over the samples) by `momentum`, in place.  ValueError for one value
    per channel, whose variance says nothing.  Ulyanov et al., 2016.

    >>> F.instance_norm(weft.asarray([[[1.0, 3.0]]])).numpy().round(3)
    array([[[-1.,  1.]]], dtype=float32)
    """
    if input.ndim < 3:
        raise ValueError(f"instance_norm: expected input (N, C, ...), got {input.shape}")
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise ValueError("instance_norm: expected running_mean and running_var without use_input_stats, got none")
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    if math.prod(input.shape[2:]) < 2:
        raise ValueError(f"instance_norm: expected more than one value per channel, got input {input.shape}")
    if running_mean is not None:
        x, axes = input.detach(), tuple(range(2, input.ndim))
        mean = ops.mean(x, axis=(0, *axes))
        var = ops.mean(ops.var(x, axis=axes, correction=1.0), axis=0)
        for running, new in ((running_mean, mean), (running_var, var)):
            running.assign(running.detach() * (1 - momentum) + new * momentum, by="instance_norm")
    return ops.group_norm(input, weight, bias, num_groups=input.shape[1], eps=eps)


def local_response_norm(input: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Any:
    """(N, C, ...) -> same shape: each value over (k + alpha mean of the squares of `size` channels around it)^beta.

    Channels past the ends count as zeros.  Krizhevsky et al., 2012.

    >>> F.local_response_norm(weft.ones((1, 4, 2, 2)), 3).shape
    (1, 4, 2, 2)
    """
    if input.ndim < 3 or size < 1:
        raise ValueError(f"local_response_norm: expected input (N, C, ...) and size >= 1, got {input.shape} and {size}")
    N, C = input.shape[:2]
    rows = ops.reshape(input * input, (N, 1, C, -1))
    sides = ((size // 2, (size - 1) // 2), (0, 0))
    means = ops.avg_pool2d(rows, (size, 1), stride=1, padding=sides)
    return input / (ops.reshape(means, input.shape) * alpha + k) ** beta
