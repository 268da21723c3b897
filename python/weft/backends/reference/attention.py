"""Scaled dot-product attention, written out."""

from __future__ import annotations

import numpy as np

from weft.backends.array import device_of, namespace
from weft.backends.reference.dropout import keep_scale, kept
from weft.backends.reference.precision import narrow, wide
from weft.backends.registry import primitive

INF = float("inf")


@primitive
def attention(q, k, v, mask, *, scale, causal, dropout, seed, offset, causal_offset=0):
    """q (B, H, S, D), k (B, Hkv, T, D), v (B, Hkv, T, Dv), mask -> out (B, H, S, Dv), lse (B, H, S).

    Row i of a head is the mean of v weighted by softmax(scale * q_i k^T + mask), lse the logarithm of its denominator.
    mask: None, bool (True = attend) or additive, broadcastable to (B, H, S, T). causal: row i sees keys 0 to
    i + causal_offset. Head h reads key head h * Hkv // H. dropout: weights are zeroed where kept() of the (B, H, S, T)
    elements says so. A row that may attend to nothing gives 0, and lse -inf.
    """
    xp, dtype = namespace(q, k, v, mask), q.dtype
    q, k, v, mask = wide(q), wide(k), wide(v), wide(mask)
    weights, lse = softmax_scores(xp, q, k, mask, scale, causal, causal_offset)
    weights = drop(xp, weights, dropout, seed, offset)
    return narrow(xp.matmul(weights, per_head(xp, v, q.shape[1])), dtype), lse


@primitive
def attention_backward(
    g, q, k, v, mask, out, lse, *, scale, causal, dropout, seed, offset, causal_offset=0
):  # fmt: skip
    """g (B, H, S, Dv) and what attention() took and gave -> gq, gk, gv, in the shapes of q, k, v.

    Recomputes the weights, so that its own gradients, of any order, follow from q, k, v and g alone.
    """
    xp, dtype, heads = namespace(g, q, k, v, mask), q.dtype, q.shape[1]
    g, q, k, v, mask = wide(g), wide(q), wide(k), wide(v), wide(mask)
    weights, _ = softmax_scores(xp, q, k, mask, scale, causal, causal_offset)
    gv = xp.matmul(xp.matrix_transpose(drop(xp, weights, dropout, seed, offset)), g)  # (B, H, T, Dv)
    gw = drop(xp, xp.matmul(g, xp.matrix_transpose(per_head(xp, v, heads))), dropout, seed, offset)
    gs = weights * (gw - xp.sum(weights * gw, axis=-1, keepdims=True)) * scale  # (B, H, S, T)
    gq = xp.matmul(gs, per_head(xp, k, heads))
    gk = xp.matmul(xp.matrix_transpose(gs), q)
    gk, gv = per_group(xp, gk, k.shape[1]), per_group(xp, gv, v.shape[1])
    return narrow(gq, dtype), narrow(gk, dtype), narrow(gv, dtype)


@primitive
def attention_varlen(
    q, k, v, queries_until, keys_until, *, longest_queries, longest_keys, scale, causal, causal_offset, bottom_right,
    dropout, seed, offset,
):  # fmt: skip
    """Sequences one after the other: q (N, H, D), k (M, Hkv, D), v (M, Hkv, Dv) -> out (N, H, Dv), lse (H, N).

    queries_until, keys_until (sequences + 1,) int32: sequence b has the rows until[b] to until[b + 1] - 1, and at most
    longest_queries and longest_keys of them. causal: row i of a sequence sees its keys 0 to i + causal_offset, with
    bottom_right counted so that its last row sees its last key for an offset of 0. Rows of no sequence give 0. dropout
    counts the weights of all rows and keys, (H, N, M). The rest is as in `attention`.
    """
    xp = namespace(q, k, v, queries_until, keys_until)
    mask = sequence_mask(xp, q, k, queries_until, keys_until, causal, causal_offset, bottom_right)
    params = {"scale": scale, "causal": False, "dropout": dropout, "seed": seed, "offset": offset}
    out, lse = attention(batched(xp, q), batched(xp, k), batched(xp, v), mask, **params)
    return xp.permute_dims(out[0], (1, 0, 2)), lse[0]


@primitive
def attention_varlen_backward(
    g, q, k, v, queries_until, keys_until, out, lse, *, longest_queries, longest_keys, scale, causal, causal_offset,
    bottom_right, dropout, seed, offset,
):  # fmt: skip
    """g (N, H, Dv) and what attention_varlen() took and gave -> gq, gk, gv, in the shapes of q, k, v."""
    xp = namespace(g, q, k, v, queries_until, keys_until)
    mask = sequence_mask(xp, q, k, queries_until, keys_until, causal, causal_offset, bottom_right)
    params = {"scale": scale, "causal": False, "dropout": dropout, "seed": seed, "offset": offset}
    arrays = (batched(xp, x) for x in (g, q, k, v))
    grads = attention_backward(*arrays, mask, batched(xp, out), lse[None], **params)
    return tuple([xp.permute_dims(x[0], (1, 0, 2)) for x in grads])


def batched(xp, x):
    """(N, H, D) -> (1, H, N, D)."""
    return xp.permute_dims(x, (1, 0, 2))[None]


def sequence_mask(xp, q, k, queries_until, keys_until, causal, causal_offset, bottom_right):
    """Which of all keys each row sees, bool (N, M): those of its own sequence that come early enough."""
    where, last = device_of(q), queries_until.shape[0] - 1
    i, j = xp.arange(q.shape[0], device=where)[:, None], xp.arange(k.shape[0], device=where)[:, None]
    rows = xp.sum(xp.astype(i >= queries_until[None, :], np.int64), axis=1) - 1  # (N,) the sequence of each row
    keys = xp.sum(xp.astype(j >= keys_until[None, :], np.int64), axis=1) - 1
    seen = (rows[:, None] == keys[None, :]) & (rows < last)[:, None]
    if causal:
        first_row, first_key = xp.take(queries_until, rows, axis=0), xp.take(keys_until, rows, axis=0)
        end = first_key - first_row + causal_offset
        if bottom_right:
            after = xp.minimum(rows + 1, last)
            end = end + xp.take(keys_until, after, axis=0) - first_key
            end = end - xp.take(queries_until, after, axis=0) + first_row
        seen = seen & (j[:, 0][None, :] <= i + end[:, None])
    return seen


def softmax_scores(xp, q, k, mask, scale, causal, causal_offset):
    """The weights (B, H, S, T) before dropout, and lse (B, H, S)."""
    (B, H, S, _), T = q.shape, k.shape[2]
    if T == 0:
        none = {"dtype": q.dtype, "device": device_of(q)}
        return xp.full((B, H, S, 0), 0.0, **none), xp.full((B, H, S), -INF, **none)
    s = xp.matmul(q * scale, xp.matrix_transpose(per_head(xp, k, H)))
    if mask is not None:
        s = xp.where(mask, s, -INF) if mask.dtype.kind == "b" else s + mask
    if causal:
        s = xp.where(xp.tril(xp.ones((S, T), dtype=bool, device=device_of(s)), k=causal_offset), s, -INF)
    m = constant(xp.max(s, axis=-1, keepdims=True))
    m = xp.where(m == -INF, 0.0, m)
    e = xp.exp(s - m)
    z = xp.sum(e, axis=-1, keepdims=True)
    none = z == 0
    z = xp.where(none, 1.0, z)
    return e / z, xp.squeeze(xp.where(none, -INF, m + xp.log(z)), axis=-1)


def drop(xp, weights, p, seed, offset):
    """Dropout of the weights; exact zeros stay zero whatever the scale."""
    if p == 0:
        return weights
    stay = kept(weights.shape, p=p, seed=seed, offset=offset, device=device_of(weights))
    return xp.where(stay, weights * keep_scale(p), 0.0)


def per_head(xp, x, heads):
    """(B, Hkv, T, D) -> (B, H, T, D): each key head once for every query head that reads it."""
    return x if x.shape[1] == heads else xp.repeat(x, heads // x.shape[1], axis=1)


def per_group(xp, x, groups):
    """(B, H, T, D) -> (B, Hkv, T, D): the sum over the query heads of each key head."""
    B, H, T, D = x.shape
    return x if H == groups else xp.sum(xp.reshape(x, (B, groups, H // groups, T, D)), axis=2)


def constant(x):
    """x off the tape: a softmax does not depend on the number that it subtracts for safety, to any order."""
    return x.detach() if hasattr(x, "detach") else x
