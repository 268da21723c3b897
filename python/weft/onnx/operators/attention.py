"""Attention: weft's fused op where the options allow, else the standard's own definition out of other operators."""

from __future__ import annotations

from typing import Any

import numpy as np

import weft
from weft.onnx.operators import operator
from weft.onnx.operators.common import flag


def fused(x: Any, heads: int) -> Any:
    """(N, T, H D) -> (N, H, T, D)."""
    if not heads or x.shape[-1] % heads:
        raise ValueError(f"Attention: expected heads that divide the features of {x.shape}, got {heads}")
    return weft.swapaxes(x.reshape(*x.shape[:2], heads, -1), 1, 2)


@operator("Attention", 23)
def attention(
    q: Any, k: Any, v: Any, mask: Any = None, past_key: Any = None, past_value: Any = None, lengths: Any = None, *,
    is_causal: int = 0, kv_num_heads: int = 0, left_window_size: int = -1, q_num_heads: int = 0,
    qk_matmul_output_mode: int = 0, right_window_size: int = -1, scale: float | None = None, softcap: float = 0.0,
    softmax_precision: int = 0, context: Any,
) -> Any:  # fmt: skip
    """softmax(scale * q k^T + mask) v for (N, H, T, D) or (N, T, H D); a query that sees no key gives 0."""
    more = past_key is not None or past_value is not None or lengths is not None or softcap or softmax_precision
    windows = left_window_size != -1 or right_window_size != -1 or qk_matmul_output_mode
    if more or windows or context.wanted != [0] or (mask is not None and (mask.ndim < 2 or is_causal)):
        return context.standard(q, k, v, mask, past_key, past_value, lengths)
    flat = q.ndim == 3
    if flat:
        q, k, v = fused(q, q_num_heads), fused(k, kv_num_heads), fused(v, kv_num_heads)
    if mask is not None and mask.shape[-1] < k.shape[-2]:  # keys that the mask does not reach are hidden
        widths = ((0, 0),) * (mask.ndim - 1) + ((0, k.shape[-2] - mask.shape[-1]),)
        mask = weft.pad(mask, widths, value=False if mask.dtype == np.bool_ else -np.inf)
    out = weft.scaled_dot_product_attention(
        q, k, v, mask, is_causal=flag("is_causal", is_causal), scale=scale, enable_gqa=q.shape[1] != k.shape[1]
    )
    return weft.swapaxes(out, 1, 2).reshape(out.shape[0], out.shape[2], -1) if flat else out


@operator("RotaryEmbedding", 23)
def rotary_embedding(
    x: Any, cos: Any, sin: Any, places: Any = None, *, interleaved: int = 0, num_heads: int = 0,
    rotary_embedding_dim: int = 0,
) -> Any:  # fmt: skip
    """x (N, H, T, D) or (N, T, H D); pairs are halves of the features, or neighbours where interleaved."""
    heads = fused(x, num_heads) if x.ndim == 3 else x
    width = rotary_embedding_dim or heads.shape[-1]
    if places is not None:
        cos, sin = (weft.take(table, places, axis=0) for table in (cos, sin))  # (N, T, width / 2)
    cos, sin = (weft.expand_dims(table, axis=1) for table in (cos, sin))
    turned, rest = heads[..., :width], heads[..., width:]
    neighbours = flag("interleaved", interleaved)
    first = turned[..., 0::2] if neighbours else turned[..., : width // 2]
    second = turned[..., 1::2] if neighbours else turned[..., width // 2 :]
    real, imaginary = first * cos - second * sin, first * sin + second * cos
    if neighbours:
        out = weft.stack([real, imaginary], axis=-1).reshape(turned.shape)
    else:
        out = weft.concat([real, imaginary], axis=-1)
    out = weft.concat([out, rest], axis=-1) if rest.shape[-1] else out
    return weft.swapaxes(out, 1, 2).reshape(x.shape) if x.ndim == 3 else out
