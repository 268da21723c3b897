"""Attention between sequences, in several heads."""

from __future__ import annotations

import math
from typing import Any

from weft import ops
from weft.autograd import Tensor
from weft.backends.array import OnDevice
from weft.backends.device import beside
from weft.nn import functional as F
from weft.nn import init
from weft.nn.linear import Linear
from weft.nn.module import Module
from weft.nn.parameter import Parameter


class MultiheadAttention(Module):
    """Attention of `query` to `key` and `value` in num_heads heads.  Vaswani et al., 2017.

    query (L, N, E), key (S, N, kdim), value (S, N, vdim) -> output (L, N, E), weights (N, L, S); with batch_first N
    comes first; N may be left out. E = embed_dim. Masks are PyTorch's: bool ones say what does NOT take part, floating
    ones are added.

    key_padding_mask (N, S); attn_mask (L, S) or (N num_heads, L, S). is_causal without attn_mask: position i sees those
    up to i. need_weights=False is faster and needs no L x S memory; average_attn_weights=False gives (N, heads, L, S).

    Parameters: in_proj_weight (3 E, E), or with another kdim or vdim {q,k,v}_proj_weight (E, ...); in_proj_bias (3 E,);
    out_proj.weight (E, E), out_proj.bias (E,).

    >>> import weft
    >>> x = weft.ones((2, 5, 8))
    >>> out, weights = MultiheadAttention(8, 2, batch_first=True)(x, x, x)
    >>> out.shape, weights.shape
    ((2, 5, 8), (2, 5, 5))
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        *,
        dtype: Any = None,
    ):
        if num_heads < 1 or embed_dim < 1 or embed_dim % num_heads:
            raise ValueError(
                f"MultiheadAttention: expected num_heads that divides embed_dim, got {num_heads} for {embed_dim}"
            )
        self.embed_dim, self.num_heads, self.dropout, self.batch_first = embed_dim, num_heads, dropout, batch_first
        self.kdim, self.vdim = embed_dim if kdim is None else kdim, embed_dim if vdim is None else vdim
        self.add_zero_attn, E = add_zero_attn, embed_dim
        self.in_proj_weight: Any = None
        if self.kdim == self.vdim == E:
            self.in_proj_weight = Parameter(init.empty((3 * E, E), dtype))
            init.xavier_uniform_(self.in_proj_weight)
        else:
            for name, size in (("q", E), ("k", self.kdim), ("v", self.vdim)):
                setattr(self, f"{name}_proj_weight", Parameter(init.empty((E, size), dtype)))
                init.xavier_uniform_(getattr(self, f"{name}_proj_weight"))
        self.in_proj_bias = Parameter(init.filled((3 * E,), 0, dtype)) if bias else None
        self.out_proj = Linear(E, E, bias, dtype=dtype)
        if self.out_proj.bias is not None:
            init.zeros_(self.out_proj.bias)
        self.bias_k = Parameter(init.empty((1, 1, E), dtype)) if add_bias_kv else None
        self.bias_v = Parameter(init.empty((1, 1, E), dtype)) if add_bias_kv else None
        for bias_kv in (self.bias_k, self.bias_v):
            if bias_kv is not None:
                init.xavier_normal_(bias_kv)

    def forward(
        self,
        query: Any,
        key: Any,
        value: Any,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Any, Any]:
        batched = self.check(query, key, value)
        if not batched:
            same = query is key is value
            query = ops.expand_dims(query, axis=0 if self.batch_first else 1)
            key, value = (
                (query, query)
                if same
                else (ops.expand_dims(x, axis=0 if self.batch_first else 1) for x in (key, value))
            )
            key_padding_mask = None if key_padding_mask is None else ops.expand_dims(key_padding_mask, axis=0)
        attn_mask, key_padding_mask = (
            m if m is None or isinstance(m, (Tensor, OnDevice)) else beside(m, query)
            for m in (attn_mask, key_padding_mask)
        )
        q, k, v = self.project(query, key, value)  # (N, H, L, D), (N, H, S, D) twice
        extra = k.shape[2]
        k, v = self.extended(k, v)
        mask = self.mask(attn_mask, key_padding_mask, (q.shape[0], q.shape[2], extra), k.shape[2] - extra, q.dtype)
        causal = is_causal and attn_mask is None
        dropout = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            out, weights = F.attention_with_weights(q, k, v, mask, dropout, causal)
            if average_attn_weights:
                weights = ops.mean(weights, axis=1)
        else:
            out = F.scaled_dot_product_attention(q, k, v, mask, dropout, causal)
        order = (0, 2, 1, 3) if self.batch_first else (2, 0, 1, 3)
        out = ops.permute_dims(out, order)  # (N, L, H, D) or (L, N, H, D)
        out = self.out_proj(ops.reshape(out, (*out.shape[:2], self.embed_dim)))
        if not batched:
            out = ops.squeeze(out, axis=0 if self.batch_first else 1)
            weights = weights if weights is None else ops.squeeze(weights, axis=0)
        return out, weights

    def check(self, query: Any, key: Any, value: Any) -> bool:
        """Raise ValueError unless the three fit; whether they have a batch dimension."""
        n, batch = query.ndim, 0 if self.batch_first else 1
        sizes = (query.shape[-1:], key.shape[-1:], value.shape[-1:])
        fits = n in (2, 3) and key.ndim == n and sizes == ((self.embed_dim,), (self.kdim,), (self.vdim,))
        if not fits or key.shape[:-1] != value.shape[:-1] or (n == 3 and query.shape[batch] != key.shape[batch]):
            lead = "(N, {}, " if self.batch_first else "({}, N, "
            wanted = [lead.format(s) + f"{e})" for s, e in zip("LSS", (self.embed_dim, self.kdim, self.vdim))]
            raise ValueError(
                f"MultiheadAttention: expected query {wanted[0]}, key {wanted[1]}, value {wanted[2]}, "
                f"got {query.shape}, {key.shape}, {value.shape}"
            )
        return n == 3

    def project(self, query: Any, key: Any, value: Any) -> tuple[Any, Any, Any]:
        """query, key and value through their matrices, cut into heads (N, H, L, D)."""
        E, weight = self.embed_dim, self.in_proj_weight
        bias: Any = self.in_proj_bias
        if query is key is value and weight is not None:
            return ops.split_heads(
                F.linear(query, weight, bias), parts=3, heads=self.num_heads, batch_first=self.batch_first
            )
        made: list[Any] = []
        for i, (name, x) in enumerate((("q", query), ("k", key), ("v", value))):
            rows = slice(i * E, (i + 1) * E)
            w = getattr(self, f"{name}_proj_weight") if weight is None else weight[rows]
            y = F.linear(x, w, None if bias is None else bias[rows])
            made += ops.split_heads(y, parts=1, heads=self.num_heads, batch_first=self.batch_first)
        return made[0], made[1], made[2]

    def extended(self, k: Any, v: Any) -> tuple[Any, Any]:
        """Keys and values with the learned pair and the zero pair behind them, where these are asked for."""
        N, H, _, D = k.shape
        if self.bias_k is not None:
            k, v = (
                ops.concat([x, ops.broadcast_to(ops.reshape(b, (1, H, 1, D)), (N, H, 1, D))], axis=2)
                for x, b in ((k, self.bias_k), (v, self.bias_v))
            )
        if self.add_zero_attn:
            k, v = (ops.concat([x, ops.zeros((N, H, 1, D), dtype=x.dtype, device=x.device)], axis=2) for x in (k, v))
        return k, v

    def mask(self, attn_mask: Any, key_padding_mask: Any, sizes: tuple[int, int, int], extra: int, dtype: Any) -> Any:
        """Both masks as one that broadcasts to (N, H, L, S + extra): bool, True takes part, or added to the scores."""
        N, L, S = sizes
        masks = []
        if attn_mask is not None:
            full = (N * self.num_heads, L, S)
            if attn_mask.shape not in ((L, S), full):
                raise ValueError(f"MultiheadAttention: expected attn_mask {(L, S)} or {full}, got {attn_mask.shape}")
            masks.append((attn_mask, (N, self.num_heads, L, S) if attn_mask.ndim == 3 else (1, 1, L, S)))
        if key_padding_mask is not None:
            if key_padding_mask.shape != (N, S):
                raise ValueError(
                    f"MultiheadAttention: expected key_padding_mask {(N, S)}, got {key_padding_mask.shape}"
                )
            masks.append((key_padding_mask, (N, 1, 1, S)))
        if not masks:
            return None
        made = [ops.reshape(m, shape) for m, shape in masks]  # by ops, so that what follows an input stays its own
        beyond = ((0, 0), (0, 0), (0, 0), (0, extra))
        if all(m.dtype == bool for m in made):
            keep = ops.logical_not(made[0] if len(made) == 1 else ops.logical_or(*made))
            return ops.pad(keep, beyond, value=True) if extra else keep
        added = [ops.astype(ops.where(m, -math.inf, 0.0), dtype) if m.dtype == bool else m for m in made]
        total = added[0] if len(added) == 1 else added[0] + added[1]
        return ops.pad(total, beyond) if extra else total

    def extra_repr(self) -> str:
        return f"embed_dim={self.embed_dim}, num_heads={self.num_heads}, batch_first={self.batch_first}"
