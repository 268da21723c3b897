"""Attention's gradients on devices: a pass over the rows of delta, one over keys and values, one over queries.

Every sum has one order. Where `attention_choice.ordered` is off, the pass over the keys adds what it knows of the
gradient of q to it atomically, and the pass over queries, which computes all scores again, goes.
"""

from __future__ import annotations

import dataclasses
import struct
from typing import Any

import numpy as np

from weft.backends import reference as K
from weft.backends.gpu import attention, attention_choice, entry
from weft.backends.gpu.array import empty
from weft.backends.gpu.attention import Call, empty_in_order, readable, row_strides
from weft.backends.gpu.expressions import STORAGE
from weft.backends.gpu.maps import apply
from weft.backends.launch import kernel, launch

DELTA_ROWS = 32  #: of a block of attention_delta.cu
DELTA_THREADS = 256


@dataclasses.dataclass
class Backward:
    """What the passes share."""

    call: Call
    g: Any
    gq: Any
    gk: Any
    gv: Any
    logs: Any
    deltas: Any

    def pack(self) -> bytes:
        """`Gradients` of kernels/attention/backward.cuh."""
        varlen = self.call.problem.varlen
        arrays = (self.g, self.gq, self.gk, self.gv)
        return struct.pack("<12q", *[s for x in arrays for s in row_strides(x, varlen)])


def prepare_rows(call: Call, g: Any) -> tuple[Any, Any]:
    """(logs, deltas) of every row; see attention_delta.cu."""
    logs = empty(call.lse.shape, np.float32, g.device_name)
    deltas = empty(call.lse.shape, np.float32, g.device_name)
    out, (_, heads, rows) = readable(call.out), call.lse.shape
    steps = [struct.pack("<3q", *row_strides(x, False)) for x in (g, out)]
    launch(
        kernel("attention_delta.cu", "attention_delta", TYPE=STORAGE[g.dtype.char]), (-(-logs.size // DELTA_ROWS),),
        (DELTA_THREADS,), (g, out, call.lse, logs, deltas, *steps, heads, rows, g.shape[3], logs.size),
    )  # fmt: skip
    return logs, deltas


def run_keys(work: Backward, grads: int, tile: attention_choice.Tile, sums: Any) -> None:
    """gk and gv, or one of them; `sums`, float32 (rows, D), takes in what that tells of gq."""
    call, problem = work.call, work.call.problem
    tiles = -(-problem.keys // tile.n)
    unordered = sums is not None and bool(grads & attention_choice.GK)
    function = kernel(
        f"{attention_choice.family(problem)}_keys.cu", "attention_backward_keys", **call.defines(),
        **attention_choice.tile_defines(tile), GRADS=grads, UNORDERED=int(unordered),
    )  # fmt: skip
    launch(
        function, (tiles * problem.key_heads * problem.batch,), (32 * tile.warps,),
        (call.q, call.k, call.v, call.mask, work.g, work.logs, work.deltas, work.gk, work.gv,
         sums if unordered else None, *call.sources(), call.pack(tiles), work.pack()),
        shared=attention_choice.keys_bytes(problem, tile, grads, unordered),
    )  # fmt: skip


def run_queries(work: Backward, tile: attention_choice.Tile) -> None:
    call, problem = work.call, work.call.problem
    tiles = -(-problem.queries // tile.m)
    function = kernel(
        f"{attention_choice.family(problem)}_queries.cu", "attention_backward_queries", **call.defines(),
        **attention_choice.tile_defines(tile),
    )  # fmt: skip
    launch(
        function, (tiles * problem.heads * problem.batch,), (32 * tile.warps,),
        (call.q, call.k, call.v, call.mask, work.g, work.logs, work.deltas, work.gq, *call.sources(),
         call.pack(tiles), work.pack()),
        shared=attention_choice.queries_bytes(problem, tile),
    )  # fmt: skip


def supported(problem: attention_choice.Problem) -> bool:
    """Whether there are kernels; of float32 with more than 192 columns there are none on Turing's 64 KiB."""
    if not attention_choice.family(problem):
        return False
    return bool(attention_choice.choose_keys(problem, False) and list(attention_choice.queries_tiles(problem)))


def backward(
    call: Call, g: Any, gq: Any, gk: Any, gv: Any, *, unordered: bool = False, queries: str | None = None,
    keys: attention_choice.Names = None,
) -> None:  # fmt: skip
    """Write the gradients of q, k and v, from call.out and call.lse. queries, keys: names of tiles."""
    g = readable(g)
    work = Backward(call, g, gq, gk, gv, *prepare_rows(call, g))
    names = () if queries or keys else attention_choice.SPECIAL_BACKWARD
    special = attention_choice.special(call.problem, names)
    if special is not None:
        special.run(work)
    else:
        run_passes(work, unordered, queries, keys)
    if call.negated:
        apply("negative", gq, out=gq)


def run_passes(work: Backward, unordered: bool, queries: str | None, keys: attention_choice.Names) -> None:
    call, gq, sums = work.call, work.gq, None
    passes = attention_choice.choose_keys(call.problem, unordered, keys)
    if unordered and not passes:  # no tile takes in the sums of gq beside its own
        unordered, passes = False, attention_choice.choose_keys(call.problem, False, keys)
    if unordered:
        sums = apply("copy", 0, shape=(call.lse.size, call.q.shape[3]), dtype=np.float32, device=gq.device_name)
    if work.gk.size or work.gv.size:
        for grads, tile in passes:
            run_keys(work, grads, tile, sums)
    if sums is None:
        run_queries(work, attention_choice.choose_queries(call.problem, queries))
    else:
        apply("multiply", sums.reshape((*call.lse.shape, call.q.shape[3])), call.scale, out=gq)


def empty_like_parts(q: Any, k: Any, v: Any) -> tuple[Any, Any, Any]:
    """New arrays like q, k and v: parts of one array where those are, as one projection cut into three."""
    if q.shape == k.shape == v.shape and q.strides == k.strides == v.strides:
        B, H, T, D = q.shape
        places = [x.pointer - q.pointer for x in (q, k, v)]
        for shape, order in (((B, T, 3, H, D), (2, 0, 3, 1, 4)), ((T, B, 3, H, D), (2, 1, 3, 0, 4))):
            step = H * D * q.dtype.itemsize
            if places == [0, step, 2 * step]:
                parts = empty(shape, q.dtype, q.device_name).transpose(order)
                if parts.strides[1:] == q.strides:
                    return parts[0], parts[1], parts[2]
    return empty_in_order(q.shape, q), empty_in_order(k.shape, k), empty_in_order(v.shape, v)


@entry(K.attention_backward, r"ffff[?f]?ff|eeee[?ef]?ef|EEEE[?Ef]?Ef")
def attention_backward(
    g: Any, q: Any, k: Any, v: Any, mask: Any, out: Any, lse: Any, *, causal_offset: int = 0, **params: Any
) -> Any:
    params["causal_offset"] = causal_offset
    gq, gk, gv = empty_like_parts(q, k, v)
    if not lse.size or not k.shape[2]:
        for x in (gq, gk, gv):
            x.fill(0)
        return gq, gk, gv
    call = attention.dense(q, k, v, mask, out, lse, params)
    if not supported(call.problem):
        return K.attention_backward.reference(g, q, k, v, mask, out, lse, **params)
    backward(call, g, gq, gk, gv, unordered=not attention_choice.ordered)
    return gq, gk, gv


@entry(K.attention_varlen_backward, r"(ffff[ilq][ilq]f|eeee[ilq][ilq]e|EEEE[ilq][ilq]E)f")
def attention_varlen_backward(
    g: Any, q: Any, k: Any, v: Any, queries_until: Any, keys_until: Any, out: Any, lse: Any, **params: Any
) -> Any:
    grads = tuple([apply("copy", 0, shape=x.shape, dtype=x.dtype, device=x.device_name) for x in (q, k, v)])
    if lse.size and queries_until.size > 1 and min(params["longest_queries"], params["longest_keys"]) > 0:
        until = attention.offsets(queries_until), attention.offsets(keys_until)
        call = attention.varlen(q, k, v, out, lse, until, **params)
        if not supported(call.problem):
            return K.attention_varlen_backward.reference(g, q, k, v, queries_until, keys_until, out, lse, **params)
        g, *into = (x.swapaxes(0, 1)[None] for x in (g, *grads))
        backward(call, g, *into, unordered=not attention_choice.ordered)
    return grads
