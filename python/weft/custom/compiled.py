"""Numba's part: a scalar program as a loop over arrays for this CPU, and as a function for a GPU or the emulated one.

Importing this loads Numba; it happens when a user's function first meets an array.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from typing import Any

import numba
import numpy as np
from numba import types

from weft.custom import emit, vector_math
from weft.custom.scalar import OPERATIONS, Program

OPTIONS: dict[str, Any] = {"nopython": True, "error_model": "numpy", "fastmath": {"contract"}}
FROM_MATH = (
    "exp expm1 log log10 log1p sqrt sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh erf erfc lgamma gamma "
    "atan2 hypot copysign"
)
ROUNDING = {"floor": np.floor, "ceil": np.ceil, "trunc": np.trunc, "round": np.rint}
lock = threading.Lock()  # Numba's own is held while it compiles; two threads must not compile one loop twice


def functions(dtype: Any) -> Mapping[str, Any]:
    """What the operations of a program call on this CPU."""
    found = {name: getattr(math, name) for name in FROM_MATH.split() if name in OPERATIONS}
    found |= {**ROUNDING, "fmod": np.fmod}
    if np.dtype(dtype) == np.float32:
        found |= {name: getattr(vector_math, name) for name in ("exp", "log", "tanh", "erf")}
    return found


def loop(program: Program, dtype: Any, held: int) -> Any:
    """The compiled loop: its `address` is that of a C function (count, pointers, strides), see emit.loop_function."""
    real = numba.from_dtype(np.dtype(dtype))
    pointers = types.CPointer(types.CPointer(real))
    signature = types.void(types.int64, pointers, types.CPointer(types.int64))
    with lock:
        return numba.cfunc(signature, **OPTIONS)(emit.loop_function(program, dtype, functions(dtype), held))


def function(program: Program, dtype: Any) -> Any:
    """The compiled scalar function: its `address` is that of a C function of numbers of `dtype`."""
    real = numba.from_dtype(np.dtype(dtype))
    signature = real(*[real] * len(program.parameters))
    with lock:
        return numba.cfunc(signature, **OPTIONS)(emit.scalar_function(program, dtype, functions(dtype)))
