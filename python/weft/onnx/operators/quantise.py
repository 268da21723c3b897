"""Quantised values: integers (or floats of 8 and 4 bits) that stand for (q - zero) * scale."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

import weft
from weft.onnx.dtypes import dtype_of
from weft.onnx.operators import operator
from weft.onnx.operators.cast import FLOAT8, cast_to
from weft.onnx.operators.common import axis_of, flag, host, is_integer, like
from weft.onnx.operators.conv import check_kernel, correlate, geometry

WIDE = np.float32


def limits(dtype: np.dtype[Any]) -> tuple[int, int] | None:
    """The range of an integer type; None for a float."""
    if dtype.kind in "iu":
        return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    for name in ("int4", "uint4", "int2", "uint2"):
        if dtype == np.dtype(getattr(ml_dtypes, name)):
            info = ml_dtypes.iinfo(name)
            return int(info.min), int(info.max)
    return None


def spread(scale: np.ndarray[Any, Any], shape: Any, axis: int, block: int) -> np.ndarray[Any, Any]:
    """A scale (or zero point) so that it broadcasts: one for all, one along `axis`, or one for each block there."""
    if scale.size == 1 and scale.ndim < 2:
        return scale.reshape(())
    axis = axis_of(axis, len(shape))
    if block:
        if scale.ndim != len(shape) or -(-shape[axis] // block) != scale.shape[axis]:
            raise ValueError(f"expected a scale for each {block} along axis {axis} of {shape}, got {scale.shape}")
        return np.take(scale, np.arange(shape[axis]) // block, axis=axis)
    if scale.ndim != 1 or scale.shape[0] != shape[axis]:
        raise ValueError(f"expected {shape[axis]} scales along axis {axis}, got shape {scale.shape}")
    return scale.reshape([-1 if i == axis else 1 for i in range(len(shape))])


def quantised(x: Any, scale: Any, zero: Any, dtype: Any, axis: int, block: int, saturate: bool, kind: Any) -> Any:
    values = host(x).astype(kind)
    divided = values / spread(host(scale).astype(kind), x.shape, axis, block)
    offset = 0 if zero is None else spread(host(zero).astype(np.float64), x.shape, axis, block)
    ends = limits(dtype)
    if ends is None:
        shifted = divided if zero is None else divided + offset
        return cast_to(like(np.asarray(shifted, np.float32), x), dtype, saturate)
    whole = np.clip(np.rint(np.asarray(divided, np.float64)) + offset, *ends)
    return like(whole.astype(np.int64).astype(np.int32).astype(dtype), x)


def output_type(zero: Any, output_dtype: int) -> np.dtype[Any]:
    if zero is not None and output_dtype and dtype_of(output_dtype) != zero.dtype:
        raise ValueError(f"expected output_dtype of the zero point, {zero.dtype}, got {dtype_of(output_dtype)}")
    return zero.dtype if zero is not None else dtype_of(output_dtype) if output_dtype else np.dtype(np.uint8)


@operator("QuantizeLinear", 10)
def quantize_linear_by_tensor(x: Any, scale: Any, zero: Any = None) -> Any:
    return quantize_linear(x, scale, zero)


@operator("QuantizeLinear", 13)
def quantize_linear(
    x: Any, scale: Any, zero: Any = None, *, axis: int = 1, saturate: int = 1, block_size: int = 0,
    output_dtype: int = 0, precision: int = 0,
) -> Any:  # fmt: skip
    if is_integer(x) and x.dtype != np.int32:
        raise TypeError(f"QuantizeLinear: expected floats or int32, got {x.dtype}")
    kind = dtype_of(precision) if precision else np.dtype(WIDE)
    return quantised(
        x, scale, zero, output_type(zero, output_dtype), axis, block_size, flag("saturate", saturate), kind
    )


@operator("DequantizeLinear", 10)
def dequantize_linear(
    x: Any, scale: Any, zero: Any = None, *, axis: int = 1, block_size: int = 0, output_dtype: int = 0
) -> Any:
    values = host(x).astype(np.float32 if x.dtype in FLOAT8 or limits(x.dtype) is None else np.int32)
    if zero is not None:
        values = values - spread(host(zero).astype(values.dtype), x.shape, axis, block_size)
    dtype = dtype_of(output_dtype) if output_dtype else scale.dtype
    if scale.requires_grad and scale.size == 1:
        return (like(values.astype(scale.dtype), x) * scale.reshape(())).astype(dtype)
    wide = values.astype(np.float32) * spread(host(scale).astype(np.float32), x.shape, axis, block_size)
    return like(wide.astype(dtype), x)


@operator("DynamicQuantizeLinear", 11)
def dynamic_quantize_linear(x: Any) -> Any:
    """To uint8 over x's own range, 0 in it."""
    values = host(x)
    low, high = min(float(values.min(initial=0)), 0.0), max(float(values.max(initial=0)), 0.0)
    scale = np.float32((np.float32(high) - np.float32(low)) / np.float32(255))
    zero = np.uint8(np.clip(np.rint(-low / scale) if scale else 0, 0, 255))
    step, offset = like(scale, x), like(zero, x)
    return quantised(x, step, offset, np.dtype(np.uint8), 0, 0, True, WIDE), step, offset


def centred(x: Any, zero: Any, axis: int, kind: Any) -> Any:
    """x less its zero point, in a type that holds what follows."""
    values = host(x).astype(kind)
    if zero is None:
        return like(values, x)
    point = host(zero).astype(kind)
    if point.ndim == 1 and point.size > 1:
        point = point.reshape([-1 if i == axis % x.ndim else 1 for i in range(x.ndim)])
    return like(values - point, x)


@operator("MatMulInteger", 10)
def matmul_integer(a: Any, b: Any, a_zero: Any = None, b_zero: Any = None) -> Any:
    return weft.matmul(centred(a, a_zero, -2, np.int32), centred(b, b_zero, -1, np.int32))


def along_axis(scale: Any, axis: int, ndim: int) -> Any:
    values = host(scale).astype(WIDE)
    if values.ndim == 1 and values.size > 1:
        return values.reshape([-1 if i == axis % ndim else 1 for i in range(ndim)])
    return values


@operator("QLinearMatMul", 10)
def qlinear_matmul(a: Any, a_scale: Any, a_zero: Any, b: Any, b_scale: Any, b_zero: Any, scale: Any, zero: Any) -> Any:
    total = host(weft.matmul(centred(a, a_zero, -2, np.int32), centred(b, b_zero, -1, np.int32)))
    wide = total * along_axis(a_scale, -2, a.ndim) * along_axis(b_scale, -1, b.ndim)
    return quantised(like(wide.astype(WIDE), a), scale, zero, zero.dtype, wide.ndim - 2, 0, True, WIDE)


def integer_conv(
    x: Any, weight: Any, x_zero: Any, w_zero: Any, bias: Any, auto_pad: str, dilations: Any, group: int,
    kernel_shape: Any, pads: Any, strides: Any,
) -> Any:  # fmt: skip
    """In float64, which holds every sum of products of bytes."""
    sides, steps, spreads = geometry(
        x.shape[2:], check_kernel(weight, kernel_shape), auto_pad, pads, strides, dilations
    )
    wide, kernel = centred(x, x_zero, 1, np.float64), centred(weight, w_zero, 0, np.float64)
    return correlate(wide, kernel, None if bias is None else bias.astype(np.float64), sides, steps, spreads, group)


@operator("ConvInteger", 10)
def conv_integer(
    x: Any, weight: Any, x_zero: Any = None, w_zero: Any = None, *, auto_pad: str = "NOTSET", dilations: Any = None,
    group: int = 1, kernel_shape: Any = None, pads: Any = None, strides: Any = None,
) -> Any:  # fmt: skip
    geometry_of = (auto_pad, dilations, group, kernel_shape, pads, strides)
    return integer_conv(x, weight, x_zero, w_zero, None, *geometry_of).astype(np.int32)


@operator("QLinearConv", 10)
def qlinear_conv(
    x: Any, x_scale: Any, x_zero: Any, weight: Any, w_scale: Any, w_zero: Any, scale: Any, zero: Any,
    bias: Any = None, *, auto_pad: str = "NOTSET", dilations: Any = None, group: int = 1, kernel_shape: Any = None,
    pads: Any = None, strides: Any = None,
) -> Any:  # fmt: skip
    geometry_of = (auto_pad, dilations, group, kernel_shape, pads, strides)
    total = host(integer_conv(x, weight, x_zero, w_zero, bias, *geometry_of))
    wide = total * host(x_scale).astype(WIDE) * along_axis(w_scale, 1, total.ndim)
    return quantised(like(wide.astype(WIDE), x), scale, zero, zero.dtype, 1, 0, True, WIDE)
