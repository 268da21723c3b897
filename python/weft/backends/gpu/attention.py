"""Attention on devices: attention_mma.cu on tensor cores, attention_simt.cu for float32."""

from __future__ import annotations

import dataclasses
import math
import struct
from typing import Any

import numpy as np

from weft.backends import reference as K
from weft.backends.gpu import attention_choice, entry, layout
from weft.backends.gpu.array import contiguous, empty
from weft.backends.gpu.attention_choice import Problem
from weft.backends.gpu.expressions import STORAGE
from weft.backends.gpu.maps import apply
from weft.backends.launch import capability, kernel, launch
from weft.backends.reference.dropout import keep_scale
from weft.backends.reference.random import threshold

LOG2_E = math.log2(math.e)
TINY = 1e-30  #: in place of a scale of 0: kernels multiply -inf by it


@dataclasses.dataclass
class Call:
    """One attention: what it is computed from, and where the result goes.

    Arrays (batch, heads, rows, columns) whose rows begin at multiples of 16 bytes and hold whole 16 bytes, zeros behind
    the last column; of sequences that lie one after the other (1, heads, rows of all, columns). scale is positive.
    """

    problem: Problem
    q: Any
    k: Any
    v: Any
    mask: Any
    out: Any
    lse: Any  #: float32, (batch, heads, queries)
    queries_until: Any  #: int32 (sequences + 1,), or None
    keys_until: Any
    scale: float
    dropout: float
    seed: Any  #: an int, or an array of one on the device
    offset: Any
    negated: bool = False  #: q is, as the scale was negative

    def pack(self, tiles: int) -> bytes:
        """`Attention` of kernels/attention/problem.cuh."""
        p, fraction = self.problem, self.dropout
        rows = self.q.shape[2]
        strides = [s for x in (self.q, self.k, self.v, self.out) for s in row_strides(x, p.varlen)]
        mask = [0, 0, 0, 0]
        if self.mask is not None:
            shape = (p.batch, p.heads, p.queries, p.keys)
            mask = layout.spread(self.mask.shape, self.mask.strides, self.mask.dtype.itemsize, shape)
        seed, offset = (x if isinstance(x, int) else 0 for x in (self.seed, self.offset))
        return struct.pack(
            "<12q4q3q2Q3fI9i4x",
            *strides, *mask, 0 if p.varlen else p.heads * rows, rows, self.k.shape[2], seed, offset,
            self.scale, self.scale * LOG2_E, keep_scale(fraction), threshold(fraction) if fraction else 0,
            p.heads, p.heads // p.key_heads, p.queries, p.keys, self.q.shape[3], self.out.shape[3], p.visible,
            p.bottom_right, tiles,
        )  # fmt: skip

    def sources(self) -> tuple[Any, ...]:
        """Pointers that the kernels take beside the arrays."""
        seed, offset = (None if isinstance(x, int) else x for x in (self.seed, self.offset))
        return self.queries_until, self.keys_until, seed, offset

    def defines(self) -> dict[str, Any]:
        p = self.problem
        return {
            "TYPE": STORAGE[self.q.dtype.char], "HEAD": p.padded, "HEAD_V": p.padded_v,
            "MASKED": int(self.mask is not None),
            "MASK_TYPE": STORAGE[self.mask.dtype.char] if self.mask is not None else "float",
            "DROPOUT": int(p.dropout),
        }  # fmt: skip


def row_strides(x: Any, varlen: bool) -> tuple[int, ...]:
    """Strides in elements of batch, head and row; 0 where there is one, or where sequences follow each other."""
    batch, head, row = (0 if n == 1 else s // x.dtype.itemsize for n, s in zip(x.shape[:3], x.strides[:3]))
    return 0 if varlen else batch, head, row


def readable(x: Any) -> Any:
    """x (B, H, rows, D) as the kernels read it: itself, or a copy whose rows are filled up to 16 bytes with zeros."""
    size = x.dtype.itemsize
    steps = [s for n, s in zip(x.shape, x.strides) if n > 1]
    whole = x.shape[3] * size % 16 == 0 and x.pointer % 16 == 0
    if whole and all(s % 16 == 0 for s in steps[: -1 if x.shape[3] > 1 else None]) and x.strides[3] == size:
        return x
    width = -(-x.shape[3] * size // 16) * 16 // size
    copy = empty((*x.shape[:3], width), x.dtype, x.device_name)
    if width != x.shape[3]:
        apply("copy", 0, out=copy[..., x.shape[3] :])
    apply("copy", x, out=copy[..., : x.shape[3]])
    return copy[..., : x.shape[3]]


def empty_in_order(shape: tuple[int, ...], like: Any) -> Any:
    """New memory of `shape` (B, H, rows, D) whose axes lie in memory in the order of those of `like`."""
    order = [*sorted(range(3), key=lambda i: -abs(like.strides[i])), 3]
    made = empty(tuple(shape[i] for i in order), like.dtype, like.device_name)
    return made.transpose(tuple(int(i) for i in np.argsort(order)))


def make_call(
    q: Any, k: Any, v: Any, mask: Any, out: Any, lse: Any, until: tuple[Any, Any], lengths: tuple[int, int],
    *, scale: float, visible: int, bottom_right: bool, dropout: float, seed: Any, offset: Any,
) -> Call:  # fmt: skip
    varlen = until[0] is not None
    problem = Problem(
        dtype=q.dtype.name, batch=until[0].size - 1 if varlen else q.shape[0], heads=q.shape[1], key_heads=k.shape[1],
        queries=lengths[0], keys=lengths[1], head=q.shape[3], head_v=v.shape[3], visible=visible,
        capability=capability(q), mask=mask.dtype.name if mask is not None else "", dropout=dropout > 0,
        varlen=varlen, bottom_right=bottom_right,
    )  # fmt: skip
    negated = scale < 0
    if negated:
        q, scale = apply("negative", q), -scale
    return Call(
        problem, readable(q), readable(k), readable(v), mask, out, lse, *until, max(scale, TINY), dropout, seed, offset,
        negated,
    )  # fmt: skip


def forward(call: Call, tile: str | None = None) -> None:
    """Write call.out and call.lse."""
    problem = call.problem
    module = attention_choice.special(problem) if tile is None else None
    if module is not None:
        module.forward(call)
        return
    chosen = attention_choice.choose_forward(problem, tile)
    tiles = -(-problem.queries // chosen.m)
    function = kernel(
        f"{attention_choice.family(problem)}.cu", "attention_forward", **call.defines(),
        **attention_choice.tile_defines(chosen),
    )  # fmt: skip
    launch(
        function, (tiles * problem.heads * problem.batch,), (32 * chosen.warps,),
        (call.q, call.k, call.v, call.mask, call.out, call.lse, *call.sources(), call.pack(tiles)),
        shared=attention_choice.forward_bytes(problem, chosen),
    )  # fmt: skip


def dense(q: Any, k: Any, v: Any, mask: Any, out: Any, lse: Any, params: dict[str, Any]) -> Call:
    """The call of the primitive `attention`."""
    S, T = q.shape[2], k.shape[2]
    visible = max(-S, min(T, params["causal_offset"] + 1)) if params["causal"] else T
    names = ("scale", "dropout", "seed", "offset")
    rest = {name: params[name] for name in names}
    return make_call(q, k, v, mask, out, lse, (None, None), (S, T), visible=visible, bottom_right=False, **rest)


@entry(K.attention, r"fff[?f]?|eee[?ef]?|EEE[?Ef]?")
def attention(q: Any, k: Any, v: Any, mask: Any, *, causal_offset: int = 0, **params: Any) -> Any:
    out = empty_in_order((*q.shape[:3], v.shape[3]), q)
    lse = empty(q.shape[:3], np.float32, q.device_name)
    if lse.size:
        call = dense(q, k, v, mask, out, lse, {**params, "causal_offset": causal_offset})
        if not attention_choice.family(call.problem):
            return K.attention.reference(q, k, v, mask, causal_offset=causal_offset, **params)
        forward(call)
    return out, lse


def describe(q: Any, k: Any, v: Any, mask: Any = None) -> str:
    """What would run of these without dropout, for `weft.which`."""
    out, lse = empty_in_order((*q.shape[:3], v.shape[3]), q), empty(q.shape[:3], np.float32, q.device_name)
    params = {"causal": False, "causal_offset": 0, "scale": 1.0, "dropout": 0.0, "seed": 0, "offset": 0}
    return attention_choice.family(dense(q, k, v, mask, out, lse, params).problem) or "reference"


attention.describe = describe  # type: ignore[attr-defined]


def varlen(
    q: Any, k: Any, v: Any, out: Any, lse: Any, until: tuple[Any, Any], *, longest_queries: int, longest_keys: int,
    causal: bool, causal_offset: int, bottom_right: bool, **rest: Any,
) -> Call:  # fmt: skip
    """The call of the primitive `attention_varlen`: arrays (N, H, D) as one sequence (1, H, N, D)."""
    lengths = min(longest_queries, q.shape[0]), min(longest_keys, k.shape[0])
    furthest = q.shape[0] + k.shape[0]
    visible = max(-furthest, min(furthest, causal_offset + 1)) if causal else lengths[1]
    q, k, v = (x.swapaxes(0, 1)[None] for x in (q, k, v))
    return make_call(
        q, k, v, None, out.swapaxes(0, 1)[None], lse[None], until, lengths, visible=visible,
        bottom_right=causal and bottom_right, **rest,
    )  # fmt: skip


def offsets(until: Any) -> Any:
    """Cumulative offsets as the kernels read them: int32 in C order."""
    return contiguous(until if until.dtype == np.int32 else apply("copy", until, dtype=np.int32))


@entry(K.attention_varlen, r"(fff|eee|EEE)[ilq][ilq]")
def attention_varlen(q: Any, k: Any, v: Any, queries_until: Any, keys_until: Any, **params: Any) -> Any:
    out = apply("copy", 0, shape=(*q.shape[:2], v.shape[2]), dtype=q.dtype, device=q.device_name)
    lse = apply("copy", -math.inf, shape=(q.shape[1], q.shape[0]), dtype=np.float32, device=q.device_name)
    if lse.size and queries_until.size > 1 and min(params["longest_queries"], params["longest_keys"]) > 0:
        until = offsets(queries_until), offsets(keys_until)
        call = varlen(q, k, v, out, lse, until, **params)
        if not attention_choice.family(call.problem):
            return K.attention_varlen.reference(q, k, v, queries_until, keys_until, **params)
        forward(call)
    return out, lse
