"""ONNX's element types as NumPy dtypes, and back."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from onnx import TensorProto

from weft.onnx.errors import UnsupportedError
from weft.onnx.operators.unsupported import reason

NAMES = {
    "FLOAT": np.float32, "DOUBLE": np.float64, "FLOAT16": np.float16, "BFLOAT16": ml_dtypes.bfloat16,
    "INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64,
    "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64, "BOOL": np.bool_,
    "COMPLEX64": np.complex64, "COMPLEX128": np.complex128,
    "FLOAT8E4M3FN": ml_dtypes.float8_e4m3fn, "FLOAT8E4M3FNUZ": ml_dtypes.float8_e4m3fnuz,
    "FLOAT8E5M2": ml_dtypes.float8_e5m2, "FLOAT8E5M2FNUZ": ml_dtypes.float8_e5m2fnuz,
    "FLOAT8E8M0": ml_dtypes.float8_e8m0fnu, "FLOAT4E2M1": ml_dtypes.float4_e2m1fn,
    "INT4": ml_dtypes.int4, "UINT4": ml_dtypes.uint4, "INT2": ml_dtypes.int2, "UINT2": ml_dtypes.uint2,
}  # fmt: skip
BITS = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}  # the others: eight times their itemsize

CODES = {TensorProto.DataType.Value(n): np.dtype(t) for n, t in NAMES.items() if n in TensorProto.DataType.keys()}
SIZES = {code: BITS.get(TensorProto.DataType.Name(code), 8 * dtype.itemsize) for code, dtype in CODES.items()}


def dtype_of(code: int) -> np.dtype[Any]:
    """The dtype of an ONNX element type; UnsupportedError for strings, and for types that NumPy has not."""
    if code not in CODES:
        known = code in TensorProto.DataType.values()
        name = TensorProto.DataType.Name(code) if known else str(code)
        if code == TensorProto.STRING:
            raise UnsupportedError(reason("strings"))
        raise UnsupportedError(f"expected an element type out of {', '.join(NAMES)}, got {name}")
    return CODES[code]


def code_of(dtype: Any) -> int:
    """The ONNX element type of a dtype; TypeError if there is none."""
    dtype = np.dtype(dtype)
    for code, known in CODES.items():
        if known == dtype:
            return code
    raise TypeError(f"expected a dtype that ONNX has, got {dtype}")
