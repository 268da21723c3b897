"""Scaled dot-product attention."""

from __future__ import annotations

import math
from typing import Any

from weft.autograd import Tensor, agree, is_recording, op, plain
from weft.backends import reference as K
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
    generator: Generator | None = None,
) -> Tensor:
    """Each query's mean of the values, weighted by softmax(scale * q k^T + mask), in memory linear in S and T.

    q (..., S, D), k (..., T, D), v (..., T, Dv) -> (..., S, Dv); the leading axes agree.
    mask: broadcastable to (..., S, T); bool (True = attend) or added to the scores. is_causal: query i sees keys up to
    i. A query that sees no key gives 0. dropout: the probability with which a weight is zeroed, in [0, 1]; the others
    are divided by 1 - dropout. scale: 1 / sqrt(D) by default. enable_gqa: q may have a multiple of the heads (axis -3)
    of k and v, and consecutive query heads share a key head.  ValueError where shapes do not fit.
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
    params = {
        "scale": 1.0 / math.sqrt(q.shape[-1] or 1) if scale is None else float(scale),
        "causal": bool(is_causal),
        "dropout": float(dropout),
    }
    seed, offset = (generator or default_generator).take(q.shape[0] * q.shape[1] * S * T) if dropout else (0, 0)
    if mask is not None and mask.requires_grad and is_recording():
        # The gradient of a mask is as large as the scores, so nothing is gained by tiling: the reference, recorded.
        out, _ = K.attention.reference(plain(q), plain(k), plain(v), plain(mask), **params, seed=seed, offset=offset)
    else:
        out = attend(q, k, v, mask, **params, seed=seed, offset=offset)
    return out if out.ndim == len(lead) + 2 else reshape(out, (*lead, S, v.shape[-1]))


@op
def attend(q, k, v, mask, *, scale, causal, dropout, seed, offset):
    """Attention over (B, H, S, D), all parameters spelled out: a replay drops the same weights."""
    params = {"scale": scale, "causal": causal, "dropout": dropout, "seed": seed, "offset": offset}
    out, lse = K.attention(q, k, v, mask, **params)
    return out, lambda g: (*K.attention_backward(g, q, k, v, mask, out, lse, **params), None)


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
