"""Rotary position embedding on devices: rope.cu, in the memory that queries and keys lie in."""

from __future__ import annotations

from typing import Any

import numpy as np

from weft.backends import reference as K
from weft.backends.gpu import entry
from weft.backends.gpu.array import contiguous
from weft.backends.gpu.expressions import STORAGE
from weft.backends.gpu.maps import empty_in_format
from weft.backends.gpu.walk import THREADS, Operand, operand, walk
from weft.backends.launch import Kernel, kernel, launch


def rope_kernel(dtype: np.dtype, table: np.dtype, wide: bool = False) -> Kernel:
    types = dict(TYPE=STORAGE[dtype.char], TABLE=STORAGE[table.char])
    return kernel("rope.cu", "rope", **types, VECTOR=16 // dtype.itemsize, WIDE=int(wide))


@entry(K.rope, "d(dd|ff)|[feE](ff|ee|EE)")
def rope(x: Any, cos: Any, sin: Any) -> Any:
    half = x.shape[-1] // 2
    if x.strides[-1] != x.dtype.itemsize:
        x = contiguous(x)
    out = empty_in_format(x, x.dtype)
    if out.strides[-1] != x.dtype.itemsize:
        x = contiguous(x)
        out = empty_in_format(x, x.dtype)
    if not x.size:
        return out
    cos, sin = contiguous(cos), contiguous(sin)
    first = slice(0, half)
    table = Operand((*[0] * (x.ndim - 2), half, 1), cos.dtype.itemsize, (cos.pointer | sin.pointer) & 15)
    halves = [operand(a.basic((..., first))) for a in (out, x)]
    halves = [o._replace(off=o.off | half * o.itemsize & 15) for o in halves]  # where the second half begins
    how = walk((*x.shape[:-1], half), (*halves, table), 16 // x.dtype.itemsize)
    launch(
        rope_kernel(x.dtype, cos.dtype, how.wide), (how.blocks,), (THREADS,),
        (out, x, cos, sin, how.packed, half, int(how.vectors)),
    )  # fmt: skip
    return out
