"""Attention and rotary positions over heads that lie anywhere, as long as each row is contiguous.

Results take the memory order of what they belong to: from q, k and v that are views of one (B, T, 3, H, D) array, out
comes so that (B, T, H, D), which the next layer wants, is a view of it.
"""

from __future__ import annotations

import numpy as np

from weft import _cpu
from weft.backends import reference as K
from weft.backends.reference.dropout import keep_scale
from weft.backends.reference.random import threshold


def in_place(x):
    """`x`, copied only if the kernels cannot read it where it is."""
    if x.flags.c_contiguous and x.dtype.isnative and x.flags.aligned:
        return x
    if x.strides[-1] == x.itemsize and x.dtype.isnative and x.flags.aligned:
        return x
    return np.array(x, x.dtype.newbyteorder("="), order="C")


def empty(shape, like):
    """A new array of `shape` whose axes lie in memory in the order of those of `like`; the last one innermost."""
    if like.flags.c_contiguous:
        return _cpu.empty(shape)
    order = [*sorted(range(len(shape) - 1), key=lambda i: -abs(like.strides[i])), len(shape) - 1]
    return _cpu.empty([shape[i] for i in order]).transpose(np.argsort(order))


def empty_like_parts(q, k, v):
    """New arrays like q, k and v: parts of one array where those are, as one projection cut into three.

    Then the gradient of that projection is complete without a copy.
    """
    B, H, T, D = q.shape
    if q.shape == k.shape == v.shape:
        places = [x.ctypes.data - q.ctypes.data for x in (q, k, v)]
        for shape, order in (((B, T, 3, H, D), (2, 0, 3, 1, 4)), ((T, B, 3, H, D), (2, 1, 3, 0, 4))):
            step = H * D * q.itemsize
            parts = _cpu.empty(shape).transpose(order)
            if places == [0, step, 2 * step] and all(x.strides == parts.strides[1:] for x in (q, k, v)):
                return tuple(parts)
    return empty(q.shape, q), empty(k.shape, k), empty(v.shape, v)


def drop(p, seed, offset):
    return (threshold(p), keep_scale(p), seed, offset) if p else None


def readable_mask(mask):
    return mask if mask is None or mask.ndim == 0 or mask.shape[-1] == 1 and mask.flags.aligned else in_place(mask)


def offset_mask(mask, causal, causal_offset, S, T):
    """(mask, causal) for the kernels, which know the offset 0 alone: others become a mask, a byte per score."""
    if not causal or causal_offset == 0:
        return mask, causal
    if causal_offset >= T - 1:
        return mask, False
    seen = np.tri(S, T, causal_offset, dtype=bool)
    if mask is None:
        return seen, False
    return (mask & seen if mask.dtype == bool else np.where(seen, mask, np.float32(-np.inf))), False


@K.attention.on(np.ndarray, r"fff[?f]?")
def attention(q, k, v, mask, *, scale, causal, dropout, seed, offset, causal_offset=0):
    mask, causal = offset_mask(mask, causal, causal_offset, q.shape[2], k.shape[2])
    q, k, v = in_place(q), in_place(k), in_place(v)
    out = empty((*q.shape[:-1], v.shape[-1]), q)
    lse = _cpu.attention(q, k, v, readable_mask(mask), out, scale, causal, drop(dropout, seed, offset))
    return out, lse


@K.attention_backward.on(np.ndarray, r"ffff[?f]?ff")
def attention_backward(
    g, q, k, v, mask, out, lse, *, scale, causal, dropout, seed, offset, causal_offset=0
):  # fmt: skip
    mask, causal = offset_mask(mask, causal, causal_offset, q.shape[2], k.shape[2])
    g, q, k, v, out = in_place(g), in_place(q), in_place(k), in_place(v), in_place(out)
    gq, gk, gv = empty_like_parts(q, k, v)
    lse = np.asarray(lse, np.float32, order="C")
    dropped = drop(dropout, seed, offset)
    _cpu.attention_backward(g, q, k, v, readable_mask(mask), out, lse, gq, gk, gv, scale, causal, dropped)
    return gq, gk, gv


def sequences(queries_until, keys_until, *, causal, causal_offset, bottom_right, scale, **rest):
    """(rows, keys, parameters of `attention`) of each sequence."""
    starts, firsts = queries_until.tolist(), keys_until.tolist()
    for i, j, m, n in zip(starts, starts[1:], firsts, firsts[1:]):
        shift = causal_offset + ((n - m) - (j - i) if bottom_right else 0)
        params = {"scale": scale, "causal": causal, "causal_offset": shift, "dropout": 0.0, "seed": 0, "offset": 0}
        yield slice(i, j), slice(m, n), params


def one(x, rows):
    """Some rows of (N, H, D) as (1, H, rows, D)."""
    return x[rows].swapaxes(0, 1)[None]


@K.attention_varlen.on(np.ndarray, r"fff[il][il]")
def attention_varlen(q, k, v, queries_until, keys_until, **params):
    if params["dropout"]:  # which counts the weights of all sequences
        return K.attention_varlen.reference(q, k, v, queries_until, keys_until, **params)
    out = np.zeros((*q.shape[:2], v.shape[2]), np.float32)
    lse = np.full((q.shape[1], q.shape[0]), -np.inf, np.float32)
    for rows, keys, options in sequences(queries_until, keys_until, **params):
        if rows.stop > rows.start:
            some, logs = K.attention(one(q, rows), one(k, keys), one(v, keys), None, **options)
            out[rows], lse[:, rows] = some[0].swapaxes(0, 1), logs[0]
    return out, lse


@K.attention_varlen_backward.on(np.ndarray, r"ffff[il][il]ff")
def attention_varlen_backward(g, q, k, v, queries_until, keys_until, out, lse, **params):
    if params["dropout"]:
        return K.attention_varlen_backward.reference(g, q, k, v, queries_until, keys_until, out, lse, **params)
    grads = tuple([np.zeros(x.shape, np.float32) for x in (q, k, v)])
    for rows, keys, options in sequences(queries_until, keys_until, **params):
        if rows.stop > rows.start and keys.stop > keys.start:
            arrays = one(g, rows), one(q, rows), one(k, keys), one(v, keys), None, one(out, rows), lse[None, :, rows]
            for grad, part, some in zip(grads, (rows, keys, keys), K.attention_backward(*arrays, **options)):
                grad[part] = some[0].swapaxes(0, 1)
    return grads


@K.rope.on(np.ndarray, "fff")
def rope(x, cos, sin):
    shape = x.shape
    x = in_place(x)
    if x.ndim != 4:
        x = x.reshape((-1, 1, *shape[-2:]) if x.size else (0, 1, *shape[-2:]))
        x = in_place(x)
    out = empty(x.shape, x)
    _cpu.rope(x, np.asarray(cos, np.float32, order="C"), np.asarray(sin, np.float32, order="C"), out)
    return out if out.ndim == len(shape) else out.reshape(shape)
