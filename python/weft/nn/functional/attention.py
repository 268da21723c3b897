"""Attention: the fused one, and the one that shows its weights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from weft import ops
from weft.backends.device import beside


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """softmax(query key^T scale + attn_mask) value, without the matrix of weights in memory.

    query (..., S, D), key (..., T, D), value (..., T, Dv) -> (..., S, Dv). attn_mask: bool (True takes part) or added
    to the scores, broadcast to (..., S, T). is_causal: position i sees those up to i. scale: 1 / sqrt(D) by default.
    enable_gqa: key and value may have fewer heads (dimension -3) than query, by a divisor.

    >>> q = weft.ones((2, 4, 5, 8))
    >>> F.scaled_dot_product_attention(q, q, q, is_causal=True).shape
    (2, 4, 5, 8)
    """
    return ops.scaled_dot_product_attention(
        query, key, value, attn_mask, dropout=dropout_p, is_causal=is_causal, scale=scale, enable_gqa=enable_gqa
    )


def varlen_attention(
    query: Any,
    key: Any,
    value: Any,
    cu_seq_q: Any,
    cu_seq_k: Any = None,
    max_q: int | None = None,
    max_k: int | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
) -> Any:
    """Attention within sequences that lie one after the other, without padding.

    query (N, H, D), key (M, Hkv, D), value (M, Hkv, Dv) -> (N, H, Dv). cu_seq_q, cu_seq_k (sequences + 1,): where each
    begins, and where the last ends. max_q, max_k: the longest. is_causal: the last query of a sequence sees up to its
    last key.

    >>> x = weft.ones((7, 2, 8))
    >>> F.varlen_attention(x, x, x, weft.asarray([0, 3, 7]), is_causal=True).shape
    (7, 2, 8)
    """
    return ops.varlen_attention(
        query, key, value, cu_seq_q, cu_seq_k, longest_queries=max_q, longest_keys=max_k, dropout=dropout_p,
        is_causal=is_causal, causal_offset="bottom-right", scale=scale,
    )  # fmt: skip


def attention_with_weights(
    query: Any, key: Any, value: Any, mask: Any, dropout_p: float, is_causal: bool
) -> tuple[Any, Any]:
    """The same over (N, H, S, D), with the weights (N, H, S, T) as second output.

    >>> q = weft.ones((2, 4, 5, 8))
    >>> out, weights = F.attention_with_weights(q, q, q, None, 0.0, False)
    >>> weights.shape
    (2, 4, 5, 5)
    """
    scores = ops.matmul(query * (1 / math.sqrt(query.shape[-1])), ops.matrix_transpose(key))  # (N, H, S, T)
    if is_causal:
        scores = ops.where(beside(np.tri(*scores.shape[-2:], dtype=np.bool_), scores), scores, -math.inf)
    if mask is not None:
        scores = ops.where(mask, scores, -math.inf) if mask.dtype == bool else scores + mask
    weights = ops.softmax(scores, axis=-1)
    if dropout_p:
        weights = ops.dropout(weights, p=dropout_p)
    return ops.matmul(weights, value), weights
