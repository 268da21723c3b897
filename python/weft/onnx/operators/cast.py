"""Changes of type."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

import weft
from weft.onnx.dtypes import dtype_of
from weft.onnx.operators import operator
from weft.onnx.operators.common import flag, host, like, one_of

FLOAT8 = {np.dtype(getattr(ml_dtypes, f"float8_{name}")) for name in ("e4m3fn", "e4m3fnuz", "e5m2", "e5m2fnuz")}
SMALL = {np.dtype(t) for t in (ml_dtypes.int4, ml_dtypes.uint4, ml_dtypes.int2, ml_dtypes.uint2)}
SCALES = np.dtype(ml_dtypes.float8_e8m0fnu)
NARROW = FLOAT8 | SMALL | {SCALES, np.dtype(ml_dtypes.float4_e2m1fn)}


def cast_to(x: Any, dtype: np.dtype[Any], saturate: bool = True, round_mode: str = "up") -> Any:
    """x in another type. Types of 8 bits and fewer go by the host and have no gradient."""
    if x.dtype == dtype:
        return x
    if x.dtype not in NARROW and dtype not in NARROW:
        with np.errstate(invalid="ignore", over="ignore"):
            return weft.astype(x, dtype=dtype)
    values = host(x)
    with np.errstate(invalid="ignore", over="ignore"):
        if dtype == SCALES:
            return like(powers_of_two(values, saturate, round_mode), x)
        if dtype in FLOAT8 and saturate:
            values = values.astype(np.float32)
            largest = float(ml_dtypes.finfo(dtype).max)
            values = np.where(np.isnan(values), values, np.clip(values, -largest, largest))
        if dtype in SMALL and values.dtype not in SMALL:  # the low bits, as of all integers
            values = values.astype(np.int32).astype(np.int8)
        if values.dtype in NARROW and dtype.kind in "biu":
            values = values.astype(np.float32)
        return like(values.astype(dtype), x)


def powers_of_two(values: Any, saturate: bool, round_mode: str) -> Any:
    """The exponents alone, 2**-127 to 2**127: up, down, or to the nearest."""
    one_of("round_mode", round_mode, ("up", "down", "nearest"))
    wide = np.asarray(values, np.float32)
    bits = wide.view(np.uint32) if wide.ndim else wide.reshape(1).view(np.uint32).reshape(())
    exponent = (bits >> 23 & 0xFF).astype(np.int64)
    fraction = bits & 0x7FFFFF
    half = np.where(exponent > 0, fraction >= 0x400000, fraction > 0x400000)
    more = {"up": fraction > 0, "down": np.zeros_like(half), "nearest": half}[round_mode]
    exponent = exponent + more
    exponent = np.where(np.isinf(wide), 255, exponent)
    if saturate:
        exponent = np.minimum(exponent, 254)
    exponent = np.where(np.isnan(wide), 255, np.minimum(exponent, 255))
    return exponent.astype(np.uint8).view(SCALES)


@operator("Cast", 6)
def cast_before_float8(x: Any, *, to: int) -> Any:
    return cast_to(x, dtype_of(to))


@operator("Cast", 19)
def cast(x: Any, *, to: int, saturate: int = 1, round_mode: str = "up") -> Any:
    return cast_to(x, dtype_of(to), flag("saturate", saturate), round_mode)


@operator("CastLike", 15)
def cast_like_before_float8(x: Any, target: Any) -> Any:
    return cast_to(x, target.dtype)


@operator("CastLike", 19)
def cast_like(x: Any, target: Any, *, saturate: int = 1, round_mode: str = "up") -> Any:
    return cast_to(x, target.dtype, flag("saturate", saturate), round_mode)


@operator("BitCast", 26)
def bit_cast(x: Any, *, to: int) -> Any:
    dtype = dtype_of(to)
    values = np.ascontiguousarray(host(x)).reshape(x.shape)
    if values.dtype.itemsize != dtype.itemsize:
        raise ValueError(f"BitCast: expected types of one size, got {values.dtype} and {dtype}")
    return like(values.view(dtype), x)
