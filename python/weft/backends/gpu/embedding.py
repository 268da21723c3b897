"""Sums of rows by index on devices, the gradient of a look-up: scatter.cu sorts the indices, then adds in order."""

from __future__ import annotations

from typing import Any

import numpy as np

from weft.backends import reference as K
from weft.backends.gpu import entry, flags
from weft.backends.gpu.array import contiguous, empty
from weft.backends.gpu.expressions import STORAGE
from weft.backends.gpu.index import index_array
from weft.backends.gpu.maps import apply
from weft.backends.launch import Kernel, kernel, launch

THREADS, WARPS = 256, 8
DIGITS, BITS = 256, 8  # of the indices that one pass sorts by
TILE = 2048  # indices of a block
FILLING = 8192  # warps that fill any GPU; beyond, each takes more
MOST = (1 << 31) - 1  # indices, and rows


def scatter_kernel(name: str, indices: np.dtype, dtype: np.dtype | None = None) -> Kernel:
    """A kernel of scatter.cu for indices of one dtype, and rows of another where it adds rows."""
    dtype = np.dtype(np.float32) if dtype is None else dtype
    accumulate = "double" if dtype.char == "d" else "uint64_t" if dtype.kind in "biu" else "float"
    types = dict(INDEX=STORAGE[indices.char], TYPE=STORAGE[dtype.char], ACCUMULATE=accumulate)
    return kernel("scatter.cu", name, **types, VECTOR=16 // dtype.itemsize)


def stable_order(indices: Any, rows: int, noting: tuple[Any, int]) -> tuple[Any, Any]:
    """Indices (n,) in [0, rows) -> them in ascending order, and where each was, equal ones in their order; uint32 (n,).

    One out of range becomes `rows`, and is noted.
    """
    count, device = indices.size, indices.device_name
    tiles = -(-count // TILE)
    counts, totals = empty((DIGITS, tiles), np.uint32, device), empty((DIGITS,), np.uint32, device)
    keys = order = None
    given = indices
    for shift in range(0, max(rows.bit_length(), 1), BITS):
        launch(
            scatter_kernel("count_digits", indices.dtype), (tiles,), (THREADS,),
            (counts, given, keys, count, rows, shift, *noting),
        )  # fmt: skip
        launch(scatter_kernel("scan_digits", indices.dtype), (DIGITS // WARPS,), (THREADS,), (counts, totals, tiles))
        sorted_keys, sorted_order = (empty((count,), np.uint32, device) for _ in range(2))
        launch(
            scatter_kernel("place_keys", indices.dtype), (tiles,), (THREADS,),
            (sorted_keys, sorted_order, given, keys, order, counts, totals, count, rows, shift),
        )  # fmt: skip
        given, keys, order = None, sorted_keys, sorted_order
    return keys, order


def scatter_add(g: Any, indices: Any, *, rows: int) -> Any:
    """g (*indices.shape, D), indices (...) in [0, rows) -> (rows, D): the sums of the rows of g by their index.

    The order of the additions depends on the indices alone; 16-bit types are added in float32. IndexError, when values
    are next waited for, names an index out of range.
    """
    indices = index_array("scatter_add", indices, g.device_name)
    if g.shape[:-1] != indices.shape or not g.ndim:
        raise ValueError(f"scatter_add: expected g of shape (*indices.shape, D), got {g.shape} and {indices.shape}")
    width, count = g.shape[-1], indices.size
    if max(rows, count) > MOST:
        raise ValueError(f"scatter_add: expected at most {MOST} rows and indices, got {rows} and {count}")
    out = apply("copy", 0, shape=(rows, width), dtype=g.dtype, device=g.device_name)
    if not count or not width:
        return out
    source = contiguous(g)
    message = f"scatter_add: expected indices in [0, {rows})"
    noting = flags.raising(IndexError, g.device_name, message, indices.shape)
    keys, order = stable_order(indices.reshape(-1), rows, noting)

    vector = 16 // g.dtype.itemsize
    vectors = width % vector == 0 and source.pointer % 16 == 0
    columns = -(-width // (32 * (vector if vectors else 1)))
    span = max(1, count * columns // (32 * FILLING))
    chunks = -(-count // (32 * span))
    accumulate = np.float64 if g.dtype.char == "d" or g.dtype.kind in "biu" else np.float32
    heads, tails = (empty((chunks, width), accumulate, g.device_name) for _ in range(2))
    launch(
        scatter_kernel("scatter_add", indices.dtype, g.dtype), (-(-chunks // WARPS), columns), (THREADS,),
        (out, source, keys, order, heads.pointer, tails.pointer, rows, count, width, span, int(vectors)),
    )  # fmt: skip
    if chunks > 1:
        launch(
            scatter_kernel("scatter_add_runs", indices.dtype, g.dtype), (-(-chunks // WARPS), -(-width // 32)),
            (THREADS,), (out, keys, heads.pointer, tails.pointer, rows, count, width, span),
        )  # fmt: skip
    return out


@entry(K.scatter_add, "[?bBhHiIlLqQfdeE][bBhHiIlLqQ]")
def scatter_add_entry(g: Any, indices: Any, *, rows: int) -> Any:
    return scatter_add(g, indices, rows=rows)
