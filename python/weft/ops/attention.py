"""Scaled dot-product attention."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from weft.autograd import Tensor, agree, is_recording, op, plain
from weft.backends import reference as K
from weft.backends.checks import check
from weft.backends.device import beside
from weft.ops.dropout import check_probability
from weft.ops.shape import broadcast_to, reshape
from weft.random import Generator, default_generator


def scaled_dot_product_attention(
    q: Any,
    k: Any,
    v: Any,
    mask: Any = None,
    *,
    dropout: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    causal_offset: int | str = 0,
    return_lse: bool = False,
    generator: Generator | None = None,
) -> Any:
    """Each query's mean of the values, weighted by softmax(scale * q k^T + mask), in memory linear in S and T.

    q (..., S, D), k (..., T, D), v (..., T, Dv) -> (..., S, Dv); the leading axes agree.
    mask: broadcastable to (..., S, T); bool (True = attend) or added to the scores. is_causal: query i sees keys up to
    i + causal_offset, an integer of either sign or "bottom-right": the last query sees up to the last key, T - S. A
    query that sees no key gives 0. dropout: the probability with which a weight is zeroed, in [0, 1]; the others
    are divided by 1 - dropout. scale: 1 / sqrt(D) by default. enable_gqa: q may have a multiple of the heads (axis -3)
    of k and v, and consecutive query heads share a key head. return_lse: (result, lse (..., S)) with the logarithm of
    each softmax's denominator, -inf where a query sees no key; no gradient flows through it.  ValueError where shapes
    do not fit.
    Vaswani et al., "Attention is all you need" (2017); computed in tiles as by Rabe and Staats (2021) and Dao (2022).

    >>> import weft
    >>> q, k, v = weft.ones((2, 4, 5, 8)), weft.ones((2, 4, 7, 8)), weft.ones((2, 4, 7, 3))
    >>> weft.scaled_dot_product_attention(q, k, v).shape
    (2, 4, 5, 3)
    """
    q, k, v, mask = (x if x is None or isinstance(x, Tensor) else Tensor(x) for x in (q, k, v, mask))
    check_attention(q, k, v, mask, enable_gqa)
    check_probability("scaled_dot_product_attention", dropout)
    lead = q.shape[:-2]
    S, T = q.shape[-2], k.shape[-2]
    if q.ndim != 4:  # the primitive takes (B, H, S, D)
        if mask is not None and q.ndim > 4 and mask.ndim > 2:
            mask = four(broadcast_to(mask, (*lead, *mask.shape[-2:])))
        q, k, v = four(q), four(k), four(v)
    diagonal = T - S if causal_offset == "bottom-right" else causal_offset
    params = {
        "scale": 1.0 / math.sqrt(q.shape[-1] or 1) if scale is None else float(scale),
        "causal": bool(is_causal),
        "causal_offset": check_offset("scaled_dot_product_attention", diagonal) if is_causal else 0,
        "dropout": float(dropout),
    }
    seed, offset = (generator or default_generator).take(q.shape[0] * q.shape[1] * S * T) if dropout else (0, 0)
    if mask is not None and mask.requires_grad and is_recording():
        # The gradient of a mask is as large as the scores, so nothing is gained by tiling: the reference, recorded.
        out, lse = K.attention.reference(plain(q), plain(k), plain(v), plain(mask), **params, seed=seed, offset=offset)
    elif return_lse:
        out, lse = attend_and_log(q, k, v, mask, **params, seed=seed, offset=offset)
    else:
        out, lse = attend(q, k, v, mask, **params, seed=seed, offset=offset), None
    out = out if out.ndim == len(lead) + 2 else reshape(out, (*lead, S, v.shape[-1]))
    return (out, reshape(lse.detach(), (*lead, S))) if return_lse else out


def attention_and_vjp(q, k, v, mask, params):
    out, lse = K.attention(q, k, v, mask, **params)
    return out, lse, lambda g: (*K.attention_backward(g, q, k, v, mask, out, lse, **params), None)


@op(name="scaled_dot_product_attention")
def attend(q, k, v, mask, *, scale, causal, dropout, seed, offset, causal_offset=0):
    """Attention over (B, H, S, D), all parameters spelled out: a replay drops the same weights."""
    params = {"scale": scale, "causal": causal, "causal_offset": causal_offset}
    out, _, vjp = attention_and_vjp(q, k, v, mask, {**params, "dropout": dropout, "seed": seed, "offset": offset})
    return out, vjp


@op(name="scaled_dot_product_attention")
def attend_and_log(q, k, v, mask, *, scale, causal, dropout, seed, offset, causal_offset):
    """The same with lse (B, H, S), through which no gradient flows."""
    params = {"scale": scale, "causal": causal, "causal_offset": causal_offset}
    out, lse, vjp = attention_and_vjp(q, k, v, mask, {**params, "dropout": dropout, "seed": seed, "offset": offset})
    return (out, lse), lambda gs: vjp(gs[0])


def varlen_attention(
    q: Any,
    k: Any,
    v: Any,
    queries_until: Any,
    keys_until: Any = None,
    *,
    longest_queries: int | None = None,
    longest_keys: int | None = None,
    dropout: float = 0.0,
    is_causal: bool = False,
    causal_offset: int | str = 0,
    scale: float | None = None,
    return_lse: bool = False,
    generator: Generator | None = None,
) -> Any:
    """Attention within sequences of different lengths that lie one after the other, without padding.

    q (N, H, D), k (M, Hkv, D), v (M, Hkv, Dv) -> (N, H, Dv); H a multiple of Hkv. queries_until: integers (sequences +
    1,), from 0 to N: sequence b has the rows queries_until[b] to queries_until[b + 1] - 1; keys_until likewise, the
    same by default. longest_queries, longest_keys: bounds of the lengths; known by themselves where the offsets are on
    the host, and where they are on a device N and M, which costs it empty blocks. is_causal: row i of a sequence sees
    its keys up to i + causal_offset, or with "bottom-right" its last row all of them. return_lse: (result, lse (H, N)).
    The rest is as in scaled_dot_product_attention.  ValueError where shapes do not fit, and for
    offsets that fall, leave the rows or go past the bounds of the lengths; from a device with the next values read.

    >>> import weft
    >>> x = weft.ones((7, 2, 8))
    >>> weft.varlen_attention(x, x, x, [0, 3, 7], is_causal=True).shape
    (7, 2, 8)
    """
    q, k, v = (x if isinstance(x, Tensor) else Tensor(x) for x in (q, k, v))
    check_probability("varlen_attention", dropout)
    check_packed(q, k, v)
    queries_until, longest_queries = cumulative(queries_until, q, longest_queries)
    if keys_until is None:
        if q.shape[0] != k.shape[0]:
            raise ValueError(f"varlen_attention: expected keys_until for q {q.shape} and k {k.shape}, got None")
        keys_until, longest_keys = queries_until, longest_queries if longest_keys is None else longest_keys
    else:
        keys_until, longest_keys = cumulative(keys_until, k, longest_keys)
    if queries_until.shape != keys_until.shape:
        shapes = f"{queries_until.shape} and {keys_until.shape}"
        raise ValueError(f"varlen_attention: expected as many sequences of queries as of keys, got offsets {shapes}")
    right = causal_offset == "bottom-right"
    words = q.shape[1] * q.shape[0] * k.shape[0]
    seed, offset = (generator or default_generator).take(words) if dropout else (0, 0)
    out, lse = attend_sequences(
        q, k, v, queries_until, keys_until, longest_queries=longest_queries, longest_keys=longest_keys,
        scale=1.0 / math.sqrt(q.shape[-1] or 1) if scale is None else float(scale), causal=bool(is_causal),
        causal_offset=0 if right or not is_causal else check_offset("varlen_attention", causal_offset),
        bottom_right=right, dropout=float(dropout), seed=seed, offset=offset,
    )  # fmt: skip
    return (out, lse.detach()) if return_lse else out


@op(name="varlen_attention")
def attend_sequences(q, k, v, queries_until, keys_until, **params):
    """varlen_attention, all parameters spelled out; no gradient flows through lse."""
    out, lse = K.attention_varlen(q, k, v, queries_until, keys_until, **params)

    def vjp(gs):
        grads = K.attention_varlen_backward(gs[0], q, k, v, queries_until, keys_until, out, lse, **params)
        return *grads, None, None

    return (out, lse), vjp


def cumulative(until: Any, x: Tensor, longest: int | None) -> tuple[Tensor, int]:
    """(offsets on x's device, a bound of the lengths); ValueError unless they rise from 0 to at most x's rows.

    What offsets on a device do wrong is told with the values that are next waited for.
    """
    rows = x.shape[0]
    if not isinstance(until, Tensor) or isinstance(until.data, np.ndarray):
        until = np.asarray(until.data if isinstance(until, Tensor) else until)
    if until.ndim != 1 or not until.size or until.dtype.kind not in "iu":
        got = f"{until.dtype} {until.shape}"
        raise ValueError(f"varlen_attention: expected integer offsets (sequences + 1,), got {got}")
    most = rows if longest is None else int(longest)
    message = f"varlen_attention: expected offsets that rise from 0 to at most {rows}"
    message += "" if longest is None else f" by at most {most}"
    check("offset", until.data if isinstance(until, Tensor) else until, message, p=rows, q=most)
    if isinstance(until, Tensor):
        return until, most
    return Tensor(beside(until.astype(np.int32), x)), int(np.diff(until).max(initial=0)) if longest is None else most


def check_packed(q: Tensor, k: Tensor, v: Tensor) -> None:
    shapes = f"q {q.shape}, k {k.shape}, v {v.shape}"
    if q.ndim != 3 or k.ndim != 3 or v.ndim != 3 or q.shape[2] != k.shape[2] or k.shape[:2] != v.shape[:2]:
        raise ValueError(f"varlen_attention: expected q (N, H, D), k (M, Hkv, D) and v (M, Hkv, Dv), got {shapes}")
    if not k.shape[1] or q.shape[1] % k.shape[1]:
        raise ValueError(f"varlen_attention: expected the heads of q to be a multiple of those of k, got {shapes}")
    if any(x.dtype.kind in "biu" for x in (q, k, v)) or not q.dtype == k.dtype == v.dtype:
        types = f"q {q.dtype}, k {k.dtype}, v {v.dtype}"
        raise TypeError(f"varlen_attention: expected one floating dtype, got {types}")


def check_offset(name: str, offset: Any) -> int:
    if isinstance(offset, bool) or not isinstance(offset, int | np.integer):
        raise ValueError(f'{name}: expected causal_offset to be an integer or "bottom-right", got {offset!r}')
    return int(offset)


def four(x: Tensor) -> Tensor:
    """(..., H, S, D) -> (B, H, S, D), with axes of length one where there are too few."""
    shape = (1, 1, *x.shape)
    return reshape(x, (math.prod(shape[:-3]), *shape[-3:]))


def check_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, enable_gqa: bool) -> None:
    """Raise ValueError or TypeError unless the arrays fit each other."""
    name, shapes = "scaled_dot_product_attention", f"q {q.shape}, k {k.shape}, v {v.shape}"
    if min(q.ndim, k.ndim, v.ndim) < 2 or q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ValueError(f"{name}: expected q (..., S, D), k (..., T, D), v (..., T, Dv), got {shapes}")
    if k.shape[:-2] != v.shape[:-2]:
        raise ValueError(f"{name}: expected k and v with the same leading axes, got {shapes}")
    if q.shape[:-2] != k.shape[:-2]:
        if q.ndim < 3 or q.ndim != k.ndim or q.shape[:-3] != k.shape[:-3]:
            raise ValueError(f"{name}: expected q, k and v with the same leading axes, got {shapes}")
        if not enable_gqa:
            raise ValueError(f"{name}: expected as many heads in q as in k (or enable_gqa=True), got {shapes}")
        if not k.shape[-3] or q.shape[-3] % k.shape[-3]:
            raise ValueError(f"{name}: expected the heads of q to be a multiple of those of k, got {shapes}")
    if any(x.dtype.kind in "biu" for x in (q, k, v)) or not agree(q, k, v):
        raise TypeError(f"{name}: expected one floating dtype, got q {q.dtype}, k {k.dtype}, v {v.dtype}")
    if mask is not None:
        if mask.dtype.kind in "iu":
            raise TypeError(f"{name}: expected a mask of bool (True = attend) or floating dtype, got {mask.dtype}")
        full = (*q.shape[:-2], q.shape[-2], k.shape[-2])
        if mask.ndim > len(full) or any(m not in (1, n) for m, n in zip(mask.shape[::-1], full[::-1], strict=False)):
            raise ValueError(f"{name}: expected a mask broadcastable to {full}, got {mask.shape} for {shapes}")
