"""What the transformers share: heads, masks, and the keys and values of the tokens that were read already."""

from __future__ import annotations

from typing import Any

import numpy as np

from weft import ops
from weft.autograd import Tensor
from weft.backends.device import beside, on_host
from weft.nn import Embedding, KeyValueCache, Linear, init


def linear(inputs: int, outputs: int, std: float, bias: bool = True) -> Linear:
    """A linear layer whose matrix starts as N(0, std^2), its bias at 0."""
    layer = Linear(inputs, outputs, bias=bias)
    init.normal_(layer.weight, 0.0, std)
    if layer.bias is not None:
        init.zeros_(layer.bias)
    return layer


def embedding(rows: int, width: int, std: float, pad: int | None = None) -> Embedding:
    """A table that starts as N(0, std^2). pad: the row that stands for padding and gets no gradient."""
    if pad is not None and not -rows <= pad < rows:
        raise ValueError(f"pad_token_id: expected one of {rows} tokens, got {pad}")
    table = Embedding(rows, width)
    init.normal_(table.weight, 0.0, std)
    table.padding_idx = None if pad is None else pad % rows
    return table


def split(x: Any, heads: int) -> Any:
    """(B, T, heads * D) -> (B, heads, T, D), a view."""
    B, T, width = x.shape
    return x.reshape(B, T, heads, width // heads).swapaxes(1, 2)


def merge(x: Any) -> Any:
    """(B, H, T, D) -> (B, T, H * D)."""
    B, H, T, D = x.shape
    return x.swapaxes(1, 2).reshape(B, T, H * D)


def integers(name: str, values: Any, like: Any) -> Tensor:
    """Integers of any kind, (B, T), on the device of `like`; ValueError if they are not."""
    tokens = values if isinstance(values, Tensor) else Tensor(beside(np.asarray(values), like.data))
    if tokens.ndim != 2 or tokens.dtype.kind not in "iu":
        raise ValueError(f"{name}: expected integers (B, T), got {tokens.dtype} {tokens.shape}")
    return tokens


def padding_mask(name: str, attention_mask: Any, shape: tuple[int, int], like: Any) -> Tensor | None:
    """(B, T) of 1 (a token) and 0 (padding) -> bool (B, 1, 1, T), True where keys count; None if all of them do."""
    if attention_mask is None:
        return None
    mask = on_host(attention_mask.data if isinstance(attention_mask, Tensor) else np.asarray(attention_mask))
    if mask.shape != shape or mask.dtype.kind not in "biuf" or not np.isin(mask, (0, 1)).all():
        raise ValueError(f"{name}: expected an attention_mask of 0 and 1, {shape}, got {mask.dtype} {mask.shape}")
    if mask.all():
        return None
    return Tensor(beside(mask.astype(bool)[:, None, None, :], like.data))


class Cache:
    """Keys and values of the tokens that a model has read, for each layer: a step of generation reads one token.

    A model takes it as `cache=`, reads what follows, and adds to it. Memory grows by doubling. It takes no part in
    gradients.

    >>> cache = Cache()
    >>> cache.length
    0
    """

    def __init__(self) -> None:
        self.layers: list[KeyValueCache] = []

    @property
    def length(self) -> int:
        """How many tokens have been read by all layers."""
        return len(self.layers[-1]) if self.layers else 0

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Add keys and values (B, H, S, D) to a layer's; returns all of them, (B, H, T, D)."""
        if layer == len(self.layers):
            self.layers.append(KeyValueCache())
        return self.layers[layer].append(k, v)

    def select(self, rows: Any) -> None:
        """Keep these rows of the batch, in this order; a row may come more than once."""
        for held in self.layers:
            held.reorder(np.asarray(rows))


class Sight:
    """What the tokens of one pass may see: earlier ones, in the cache too, that are no padding."""

    def __init__(self, mask: Tensor | None, cache: Cache | None):
        self.mask, self.cache = mask, cache

    def attend(self, layer: int, q: Any, k: Any, v: Any, *, scale: float | None = None, dropout: float = 0.0) -> Any:
        """q (B, H, S, D), k and v (B, Hkv, S, D) -> (B, H, S, D)."""
        if self.cache is not None:
            k, v = self.cache.extend(layer, k, v)
        return ops.scaled_dot_product_attention(
            q, k, v, self.mask, dropout=dropout, is_causal=True, causal_offset="bottom-right", scale=scale,
            enable_gqa=True,
        )  # fmt: skip


def places(name: str, position_ids: Any, past: int, shape: tuple[int, int]) -> np.ndarray[Any, Any]:
    """The position of each token, int64 (T,) where all rows have the same, else (B, T)."""
    if position_ids is None:
        return np.arange(past, past + shape[1])
    ids = on_host(position_ids.data if isinstance(position_ids, Tensor) else np.asarray(position_ids))
    if ids.dtype.kind not in "iu" or ids.ndim not in (1, 2) or ids.shape[-1] != shape[1] or (ids < 0).any():
        raise ValueError(f"{name}: expected position_ids (T,) or (B, T) of tokens {shape}, got {ids.dtype} {ids.shape}")
    if ids.ndim == 2:
        if ids.shape[0] not in (1, shape[0]):
            raise ValueError(f"{name}: expected position_ids of {shape[0]} rows or 1, got {ids.shape}")
        return ids[0] if (ids == ids[0]).all() else ids
    return ids
