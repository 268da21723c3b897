"""Products, convolutions, pooling, normalisation, attention."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from weft.onnx.emit import Emitter, Value
from weft.onnx.errors import UnsupportedError
from weft.onnx.exporters import exports
from weft.onnx.trace import Sym


@exports("matmul")
def matmul(to: Emitter, a: Any, b: Any) -> Any:
    return to.node("MatMul", a, b)


@exports("linear")
def linear(to: Emitter, x: Any, weight: Any, bias: Any, *, transposed: bool = False) -> Any:
    if x.ndim == 2:
        return to.node("Gemm", x, weight, bias, transB=0 if transposed else 1)
    out = to.node("MatMul", x, weight if transposed else to.node("Transpose", weight, perm=[1, 0]))
    return out if bias is None else to.node("Add", out, bias)


def pads_of(padding: Any) -> list[int]:
    """((top, bottom), (left, right)) -> top, left, bottom, right."""
    return [a for a, _ in padding] + [b for _, b in padding]


@exports("correlate")
def correlate(
    to: Emitter, x: Any, weight: Any, bias: Any, *, stride: Any, padding: Any, dilation: Any, groups: int
) -> Any:
    return to.node(
        "Conv", x, weight, bias, kernel_shape=list(weight.first.shape[2:]), strides=list(stride),
        pads=pads_of(padding), dilations=list(dilation), group=groups,
    )  # fmt: skip


@exports("correlate_input_grad")
def correlate_input_grad(
    to: Emitter, x: Any, weight: Any, *, shape: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> Any:
    """A transposed convolution; what the result has more than its windows reach is its output padding."""
    kernel = weight.first.shape[2:]
    extra = []
    for axis, (k, s, d, (a, b)) in enumerate(zip(kernel, stride, dilation, padding), 2):
        reached = [(n - 1) * s - a - b + d * (k - 1) + 1 for n in (x.first.shape[axis], x.second.shape[axis])]
        wanted = shape[axis] if isinstance(shape[axis], Sym) else Sym(shape[axis], shape[axis])
        if wanted.first - reached[0] != wanted.second - reached[1]:
            raise UnsupportedError("expected a result whose size follows that of the image")
        extra.append(wanted.first - reached[0])
    return to.node(
        "ConvTranspose", x, weight, kernel_shape=list(kernel), strides=list(stride), pads=pads_of(padding),
        dilations=list(dilation), group=groups, output_padding=extra,
    )  # fmt: skip


def whole_image(x: Any, kernel: Any, padding: Any) -> bool:
    """Whether one window covers the image, whatever its size."""
    return tuple(kernel) == tuple(x.shape[2:]) and not any(pads_of(padding))


@exports("largest")
def largest(to: Emitter, x: Any, *, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    if whole_image(x, kernel, padding):
        return to.node("GlobalMaxPool", x)
    return to.node("MaxPool", x, kernel_shape=list(kernel), strides=list(stride), pads=pads_of(padding),
                   dilations=list(dilation))  # fmt: skip


@exports("largest_and_where")
def largest_and_where(to: Emitter, x: Any, *, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    """ONNX counts places over the whole array, weft within each image."""
    image = x.shape[2:]
    pixels = to.size(image[0]) if isinstance(image[0], Sym) else to.constant([image[0]], np.int64)
    other = to.size(image[1]) if isinstance(image[1], Sym) else to.constant([image[1]], np.int64)
    values, places = to.node("MaxPool", x, outputs=2, kernel_shape=list(kernel), strides=list(stride),
                             pads=pads_of(padding), dilations=list(dilation))  # fmt: skip
    return values, to.node("Mod", places, to.node("Mul", pixels, other))


@exports("average")
def average(to: Emitter, x: Any, *, kernel: Any, stride: Any, padding: Any, count_include_pad: bool) -> Any:
    if whole_image(x, kernel, padding):
        return to.node("GlobalAveragePool", x)
    return to.node("AveragePool", x, kernel_shape=list(kernel), strides=list(stride), pads=pads_of(padding),
                   count_include_pad=int(count_include_pad))  # fmt: skip


@exports("average_regions")
def average_regions(to: Emitter, x: Any, rows: Any, columns: Any) -> Any:
    return to.node("MatMul", to.node("MatMul", rows, x), columns)


# ---- normalisation


def column(to: Emitter, values: Any, ndim: int) -> Any:
    """(C,) -> (C, 1, ...), which broadcasts against (N, C, ...)."""
    return to.node("Reshape", values, to.constant([-1] + [1] * (ndim - 2), np.int64))


@exports("layer_norm")
def layer_norm(to: Emitter, x: Any, weight: Any = None, bias: Any = None, *, normalized_shape: Any = None,
               eps: float = 1e-5) -> Any:  # fmt: skip
    shape = normalized_shape if normalized_shape is not None else x.shape[-1:] if weight is None else weight.shape
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    scale = to.constant(np.ones(shape, x.dtype)) if weight is None else weight
    return to.node("LayerNormalization", x, scale, bias, axis=-len(shape), epsilon=eps)


@exports("rms_norm")
def rms_norm(to: Emitter, x: Any, weight: Any = None, *, normalized_shape: Any = None, eps: Any = None) -> Any:
    shape = normalized_shape if normalized_shape is not None else x.shape[-1:] if weight is None else weight.shape
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    if eps is None:
        eps = float(np.finfo(x.dtype).eps) if x.dtype.kind == "f" else 2.0**-7
    if to.opset >= 23:
        scale = to.constant(np.ones(shape, x.dtype)) if weight is None else weight
        return to.node("RMSNormalization", x, scale, axis=-len(shape), epsilon=eps)
    squares = to.reduce("ReduceMean", to.node("Mul", x, x), range(-len(shape), 0), True)
    out = to.node("Div", x, to.node("Sqrt", to.node("Add", squares, to.constant(eps, x.dtype))))
    return out if weight is None else to.node("Mul", out, weight)


@exports("group_norm")
def group_norm(to: Emitter, x: Any, weight: Any = None, bias: Any = None, *, num_groups: int, eps: float = 1e-5) -> Any:
    channels = x.first.shape[1]
    if to.opset >= 21:
        scale = to.constant(np.ones(channels, x.dtype)) if weight is None else weight
        shift = to.constant(np.zeros(channels, x.dtype)) if bias is None else bias
        return to.node("GroupNormalization", x, scale, shift, num_groups=num_groups, epsilon=eps)
    rows = to.node("Reshape", x, to.constant([0, num_groups, -1], np.int64))
    ones, zeros = (to.constant(np.full(num_groups, n, x.dtype)) for n in (1, 0))
    normal = to.node("InstanceNormalization", rows, ones, zeros, epsilon=eps)
    out = to.node("Reshape", normal, to.node("Shape", x))
    for kind, p in (("Mul", weight), ("Add", bias)):
        out = out if p is None else to.node(kind, out, column(to, p, x.ndim))
    return out


def added(to: Emitter, out: Any, residual: Any, relu: bool) -> Any:
    out = out if residual is None else to.node("Add", out, residual)
    return to.node("Relu", out) if relu else out


@exports("scale_channels")
def scale_channels(to: Emitter, x: Any, weight: Any, bias: Any, mean: Any, var: Any, residual: Any = None, *,
                   eps: float, relu: bool = False) -> Any:  # fmt: skip
    channels = x.first.shape[1]
    scale = to.constant(np.ones(channels, x.dtype)) if weight is None else weight
    shift = to.constant(np.zeros(channels, x.dtype)) if bias is None else bias
    return added(to, to.node("BatchNormalization", x, scale, shift, mean, var, epsilon=eps), residual, relu)


@exports("normalise_batch")
def normalise_batch(to: Emitter, x: Any, weight: Any, bias: Any, residual: Any = None, *, eps: float,
                    relu: bool = False) -> Any:  # fmt: skip
    """By the statistics of the batch itself."""
    axes = (0, *range(2, x.ndim))
    mean = to.reduce("ReduceMean", x, axes, True)
    centred = to.node("Sub", x, mean)
    var = to.reduce("ReduceMean", to.node("Mul", centred, centred), axes, True)
    out = to.node("Div", centred, to.node("Sqrt", to.node("Add", var, to.constant(eps, x.dtype))))
    for kind, p in (("Mul", weight), ("Add", bias)):
        out = out if p is None else to.node(kind, out, column(to, p, x.ndim))
    return added(to, out, residual, relu), to.squeeze(mean, *axes), to.squeeze(var, *axes)


# ---- attention


@exports("attend")
def attend(
    to: Emitter, q: Any, k: Any, v: Any, mask: Any, *, scale: float, causal: bool, dropout: float, seed: int,
    offset: int, causal_offset: Any = 0,
) -> Any:  # fmt: skip
    """q (B, H, S, D), k, v (B, Hkv, T, D): Attention where it says the same, else its products and softmax."""
    if dropout:
        raise UnsupportedError("expected attention without dropout")
    if to.opset >= 23 and not (causal and causal_offset != 0) and mask is None:
        return to.node("Attention", q, k, v, scale=float(scale), is_causal=int(causal))
    heads, shared = q.first.shape[1], k.first.shape[1]
    if heads != shared:
        k, v = (repeated(to, x, heads // shared) for x in (k, v))
    dtype = q.dtype
    turned = to.node("Transpose", k, perm=[0, 1, 3, 2])
    scores = to.node("MatMul", to.node("Mul", q, to.constant(scale, dtype)), turned)
    hidden = to.constant(-math.inf, dtype)
    if causal:
        scores = to.node("Where", seen(to, q, k, causal_offset), scores, hidden)
    if mask is not None:
        if mask.dtype == np.bool_:
            scores = to.node("Where", mask, scores, hidden)
        else:
            scores = to.node("Add", scores, to.cast(mask, mask.dtype, dtype))
    weights = to.node("Softmax", scores, axis=-1)
    if mask is not None or causal_offset != 0:  # a query that sees no key gives 0
        none = to.node("Equal", to.reduce("ReduceMax", scores, [3], True), hidden)
        weights = to.node("Where", none, to.constant(0, dtype), weights)
    return to.node("MatMul", weights, v)


def repeated(to: Emitter, x: Any, times: int) -> Value:
    """Each head `times` times, one after the other."""
    batch, heads, length, width = x.shape
    spread = to.node("Tile", to.unsqueeze(x, 2), to.constant([1, 1, times, 1, 1], np.int64))
    name = to.reshape(spread, None, [0, heads * times, length if not isinstance(length, Sym) else -1, width])
    return Value(name, *(np.broadcast_to(np.empty((), x.dtype), (a.shape[0], heads * times, *a.shape[2:]))
                         for a in (x.first, x.second)))  # fmt: skip


def seen(to: Emitter, q: Any, k: Any, offset: Any) -> Any:
    """(S, T) of bool: query i sees keys up to i + offset."""
    lengths = to.shape([q.shape[2], k.shape[2]])
    ones = to.node("Expand", to.constant(1, np.float32), lengths)
    at = to.constant(offset, np.int64) if isinstance(offset, int) else to.squeeze(to.size(offset), 0)
    return to.cast(to.node("Trilu", ones, at, upper=0), np.float32, np.bool_)


@exports("rope")
def rope(to: Emitter, x: Any, cos: Any, sin: Any) -> Any:
    """x (..., T, D) with tables (T, D / 2)."""
    first, second = to.split(x, 2, x.ndim - 1)
    real = to.node("Sub", to.node("Mul", first, cos), to.node("Mul", second, sin))
    imaginary = to.node("Add", to.node("Mul", second, cos), to.node("Mul", first, sin))
    return to.node("Concat", real, imaginary, axis=x.ndim - 1)


# ---- losses


def labelled(kind: str) -> Any:
    def write(to: Emitter, x: Any, target: Any, weight: Any = None, *, ignore_index: int, reduction: str,
              label_smoothing: float = 0.0, wide_loss: bool = False) -> Any:  # fmt: skip
        dtype = to.outs[0].dtype
        value, labels = to.cast(x, x.dtype, dtype), to.cast(target, target.dtype, np.int64)
        scale = None if weight is None else to.cast(weight, weight.dtype, dtype)
        return to.node(kind, value, labels, scale, ignore_index=ignore_index, reduction=reduction)

    return write


exports("cross_entropy_of_labels", when=lambda p: not p["label_smoothing"])(labelled("SoftmaxCrossEntropyLoss"))
exports("nll_of_labels")(labelled("NegativeLogLikelihoodLoss"))
