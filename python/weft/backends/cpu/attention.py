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


@K.attention.on(np.ndarray, r"fff[?f]?")
def attention(q, k, v, mask, *, scale, causal, dropout, seed, offset):
    q, k, v = in_place(q), in_place(k), in_place(v)
    out = empty((*q.shape[:-1], v.shape[-1]), q)
    lse = _cpu.attention(q, k, v, readable_mask(mask), out, scale, causal, drop(dropout, seed, offset))
    return out, lse


@K.attention_backward.on(np.ndarray, r"ffff[?f]?ff")
def attention_backward(g, q, k, v, mask, out, lse, *, scale, causal, dropout, seed, offset):
    g, q, k, v, out = in_place(g), in_place(q), in_place(k), in_place(v), in_place(out)
    gq, gk, gv = empty_like_parts(q, k, v)
    lse = np.asarray(lse, np.float32, order="C")
    dropped = drop(dropout, seed, offset)
    _cpu.attention_backward(g, q, k, v, readable_mask(mask), out, lse, gq, gk, gv, scale, causal, dropped)
    return gq, gk, gv


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
