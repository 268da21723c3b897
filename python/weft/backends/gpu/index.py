"""Taking by index on devices: index.cu. What is out of range is noted in the flag word (flags.py)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from weft.backends.array import OnDevice
from weft.backends.checks import RULES
from weft.backends.gpu import flags
from weft.backends.gpu.array import contiguous, empty
from weft.backends.gpu.expressions import STORAGE
from weft.backends.gpu.maps import apply
from weft.backends.launch import Kernel, kernel, launch

THREADS = 256
BLOCKS = 1 << 16
WORDS = {16: "uint4", 8: "uint64_t", 4: "uint32_t", 2: "uint16_t", 1: "uint8_t"}


def index_array(name: str, indices: Any, device: str) -> Any:
    """Indices as a C-contiguous int32 or int64 array on `device`; TypeError unless they are integers."""
    if not isinstance(indices, OnDevice):
        from weft.backends.device import place

        indices = place(np.asarray(indices), device)
    if indices.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected integer indices, got {indices.dtype}")
    if indices.dtype.char not in "ilq":
        indices = apply("copy", indices, dtype=np.int64)
    return contiguous(indices)


def word_of(row_bytes: int, *pointers: int) -> int:
    """The widest access, in bytes, in which rows can be moved."""
    return next(w for w in WORDS if row_bytes % w == 0 and all([p % w == 0 for p in pointers]))


def blocks_for(size: int) -> int:
    return max(1, min(-(-size // THREADS), BLOCKS))


def take(x: Any, indices: Any, *, axis: int) -> Any:
    """The slices of x that `indices`, of any shape, name along `axis`; negative ones count from the end.

    IndexError, when values are next waited for, if one is out of range.
    """
    axis = np.lib.array_utils.normalize_axis_index(axis, x.ndim)
    indices = index_array("take", indices, x.device_name)
    source, n = contiguous(x), x.shape[axis]
    out = empty((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]), x.dtype, x.device_name)
    if not out.size:
        return out
    outer, row = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :]) * x.dtype.itemsize
    word = word_of(row, source.pointer, out.pointer)
    message = f"take: expected indices below {n} along axis {axis} of shape {x.shape}"
    noting = flags.raising(IndexError, x.device_name, message, indices.shape)
    function = kernel("index.cu", "take", WORD=WORDS[word], INDEX=STORAGE[indices.dtype.char])
    launch(
        function, (blocks_for(out.size * x.dtype.itemsize // word),), (THREADS,),
        (out, source, indices, outer, n, indices.size, row // word, *noting),
    )  # fmt: skip
    return out


def check_kernel(rule: str, dtype: np.dtype) -> Kernel:
    """The kernel that looks for what breaks a rule of `checks.RULES`."""
    keeps = RULES[rule]
    unsigned = dtype.char in "LQ"
    seen = "uint64_t" if unsigned else "int64_t" if dtype.kind in "biu" else "double"
    text = keeps.unsigned or keeps.text if unsigned else keeps.text
    return kernel("check.cu", "check", TYPE=STORAGE[dtype.char], SEEN=seen, BAD=text)


def check(rule: str, x: Any, message: str, shape: tuple[int, ...], p: int, q: int) -> None:
    """Note `message` unless x keeps a rule of `checks.RULES`; shape: in which positions are told."""
    if x.size:
        noting = flags.raising(RULES[rule].error, x.device_name, message, shape, x.dtype)
        function = check_kernel(rule, x.dtype)
        launch(function, (blocks_for(x.size),), (THREADS,), (contiguous(x), x.size, p, q, *noting))


def take_along_axis(x: Any, indices: Any, *, axis: int = -1) -> Any:
    """For each position of `indices`, which broadcast to x's shape but along `axis`, the value of x that it names."""
    axis = np.lib.array_utils.normalize_axis_index(axis, x.ndim)
    indices = index_array("take_along_axis", indices, x.device_name)
    if indices.ndim != x.ndim:
        raise ValueError(f"take_along_axis: expected indices with {x.ndim} axes, got shape {indices.shape}")
    n, m = x.shape[axis], indices.shape[axis]
    shape = tuple([max(p, q) if i != axis else m for i, (p, q) in enumerate(zip(x.shape, indices.shape))])
    whole = (*shape[:axis], n, *shape[axis + 1 :])
    source = contiguous(x if x.shape == whole else x.broadcast_to(whole))
    if indices.shape != shape:
        indices = contiguous(indices.broadcast_to(shape))
    out = empty(shape, x.dtype, x.device_name)
    if not out.size:
        return out
    outer, inner = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    noting = flags.raising(IndexError, x.device_name, f"take_along_axis: expected indices within {n}", shape)
    word = WORDS[x.dtype.itemsize]
    function = kernel("index.cu", "take_along_axis", WORD=word, INDEX=STORAGE[indices.dtype.char])
    launch(
        function, (blocks_for(out.size),), (THREADS,),
        (out, source, indices, outer, n, m, inner, *noting),
    )  # fmt: skip
    return out
