"""numba-cuda's part: a scalar program as LTO-IR, which nvJitLink makes part of a kernel. Importing this loads it."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import cuda
from numba.cuda import libdevice

from weft.custom import emit
from weft.custom.compiled import FROM_MATH, lock, math
from weft.custom.scalar import Program

FROM_LIBDEVICE = {"floor": "floor", "ceil": "ceil", "trunc": "trunc", "round": "rint", "fmod": "fmod"}


def lto_ir(program: Program, char: str, symbol: str, capability: int) -> bytes:
    """The program as the device function `symbol`, in LTO-IR for GPUs of this capability."""
    suffix = "f" if char == "f" else ""
    functions: dict[str, Any] = {name: getattr(math, name) for name in FROM_MATH.split()}
    functions |= {name: getattr(libdevice, word + suffix) for name, word in FROM_LIBDEVICE.items()}
    real = numba.from_dtype(np.dtype(char))
    signature = real(*[real] * len(program.parameters))
    with lock:
        code, _ = cuda.compile(
            emit.scalar_function(program, char, functions), signature, device=True, abi="c",
            abi_info={"abi_name": symbol}, output="ltoir", cc=divmod(capability, 10),
        )  # fmt: skip
    return bytes(code)
