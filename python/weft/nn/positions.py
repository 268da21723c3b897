"""Positions in a sequence: rotations of queries and keys, sines added to features, and what a decoder remembers."""

from __future__ import annotations

from typing import Any

import numpy as np

from weft import ops
from weft.autograd import Tensor, is_recording, no_grad
from weft.backends.device import beside
from weft.nn import functional as F
from weft.nn.module import Module


class RotaryEmbedding(Module):
    """Turns each pair (i, i + D/2) of queries or keys by an angle that grows with the position.  (..., T, D) -> same

    dim: D, even. base: the angle of pair i at position t is t base^(-2 i / D) radians. forward(x, start): x[..., 0, :]
    is at position start. No parameters; the product of a query and a key then depends on their distance alone.  Su et
    al., 2021, with the halves split as in GPT-NeoX and Llama.

    >>> import weft
    >>> RotaryEmbedding(8)(weft.ones((2, 5, 8))).shape
    (2, 5, 8)
    """

    def __init__(self, dim: int, base: float = 10000.0):
        if dim < 2 or dim % 2 or base <= 0:
            raise ValueError(f"RotaryEmbedding: expected an even dim and base > 0, got {dim} and {base}")
        self.dim, self.base = dim, base
        self._tables: tuple[tuple[int, int, str], Tensor, Tensor] | None = None

    def forward(self, x: Any, start: int = 0) -> Any:
        if x.ndim < 2 or x.shape[-1] != self.dim:
            raise ValueError(f"rope: expected x (..., T, {self.dim}), got {x.shape}")
        key = (x.shape[-2], start, x.device)
        if self._tables is None or self._tables[0] != key:
            self._tables = (key, *ops.rope_tables(key[0], self.dim, base=self.base, start=start, device=x.device))
        return ops.rope(x, *self._tables[1:])

    def extra_repr(self) -> str:
        return f"{self.dim}, base={self.base}"


class SinusoidalPositionalEncoding(Module):
    """Adds sines and cosines of the position to the features.  (..., T, d_model) -> same shape

    PE(t, 2 i) = sin(t / base^(2 i / d_model)), PE(t, 2 i + 1) = cos of the same. dropout: of the sum, in training.
    forward(x, start): x[..., 0, :] is at position start. batch_first=False takes (T, N, d_model). No parameters.
    Vaswani et al., 2017, section 3.5.

    >>> import weft
    >>> SinusoidalPositionalEncoding(4)(weft.zeros((1, 2, 4))).numpy().round(2)
    array([[[0.  , 1.  , 0.  , 1.  ],
            [0.84, 0.54, 0.01, 1.  ]]], dtype=float32)
    """

    def __init__(self, d_model: int, dropout: float = 0.0, base: float = 10000.0, batch_first: bool = True):
        if d_model < 1 or base <= 0 or not 0 <= dropout <= 1:
            raise ValueError(
                "SinusoidalPositionalEncoding: expected d_model >= 1, dropout in [0, 1] and base > 0, "
                f"got {d_model}, {dropout} and {base}"
            )
        self.d_model, self.dropout, self.base, self.batch_first = d_model, dropout, base, batch_first
        self._table: tuple[tuple[Any, ...], Tensor] | None = None

    def forward(self, x: Any, start: int = 0) -> Any:
        if x.ndim < 2 or x.shape[-1] != self.d_model:
            wanted = f"(..., T, {self.d_model})" if self.batch_first else f"(T, N, {self.d_model})"
            raise ValueError(f"SinusoidalPositionalEncoding: expected x {wanted}, got {x.shape}")
        T = x.shape[-2] if self.batch_first else x.shape[0]
        key = (T, start, x.ndim, x.dtype, x.device)
        if self._table is None or self._table[0] != key:
            table = self.table(T, start).astype(x.dtype)  # (T, d_model)
            table = table if self.batch_first else table.reshape(T, *(1,) * (x.ndim - 2), self.d_model)
            self._table = key, Tensor(beside(table, x))
        return F.dropout(x + self._table[1], self.dropout, self.training)

    def table(self, length: int, start: int = 0) -> Any:
        """(length, d_model) float64 on the host: what is added at positions start, start + 1, ..."""
        pair = np.arange(self.d_model) // 2
        angles = np.arange(start, start + length)[:, None] / self.base ** (2 * pair / self.d_model)
        return np.where(np.arange(self.d_model) % 2 == 0, np.sin(angles), np.cos(angles))

    def extra_repr(self) -> str:
        return f"{self.d_model}, dropout={self.dropout}"


class KeyValueCache:
    """Keys and values of the positions that a decoder has seen, so that a step computes those of new positions alone.

    `append(k, v)` takes (..., T, D) and (..., T, Dv) of the new positions and gives all that there are, the new ones
    last; len(cache) is how many. Attention of the new queries then needs causal_offset="bottom-right". Memory doubles
    as it fills, so that n steps cost n copies, not n^2; nothing is recorded: it is for decoding, under `no_grad`. What
    comes back lies in the cache's memory: after `truncate` the next `append` writes over it.

    >>> import weft
    >>> cache = KeyValueCache()
    >>> for _ in range(3):
    ...     k, v = cache.append(weft.ones((2, 1, 4)), weft.ones((2, 1, 5)))
    >>> k.shape, v.shape, len(cache)
    ((2, 3, 4), (2, 3, 5), 3)
    """

    def __init__(self) -> None:
        self.length = 0
        self._keys: Any = None  # (..., room, D), the first `length` positions of which are used
        self._values: Any = None

    def __len__(self) -> int:
        return self.length

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values, the new ones (..., T, D) and (..., T, Dv) last.

        ValueError where they do not fit each other or what is there; RuntimeError for what is recorded.
        """
        if is_recording() and (k.requires_grad or v.requires_grad):
            raise RuntimeError("KeyValueCache.append: expected keys and values without a gradient; use weft.no_grad()")
        if k.ndim < 2 or k.shape[:-1] != v.shape[:-1]:
            raise ValueError(f"KeyValueCache.append: expected k (..., T, D), v (..., T, Dv), got {k.shape}, {v.shape}")
        end = self.length + k.shape[-2]
        self._keys, self._values = self.stored(self._keys, k, end), self.stored(self._values, v, end)
        self.length = end
        return Tensor(self._keys.data[..., :end, :]), Tensor(self._values.data[..., :end, :])

    def stored(self, room: Any, new: Tensor, end: int) -> Any:
        if room is None:
            room = ops.zeros((*new.shape[:-2], end, new.shape[-1]), dtype=new.dtype, device=new.device)
        elif (*new.shape[:-2], new.shape[-1]) != (*room.shape[:-2], room.shape[-1]) or new.dtype != room.dtype:
            wanted = f"({', '.join(map(str, room.shape[:-2]))}, T, {room.shape[-1]})"
            raise ValueError(
                f"KeyValueCache.append: expected {room.dtype} {wanted} as before, got {new.dtype} {new.shape}"
            )
        if end > room.shape[-2]:
            larger = (*room.shape[:-2], max(end, 2 * room.shape[-2]), room.shape[-1])
            grown = ops.zeros(larger, dtype=room.dtype, device=room.device)
            grown.data[..., : self.length, :] = room.data[..., : self.length, :]
            room = grown
        room.data[..., self.length : end, :] = new.data
        room.touch("KeyValueCache.append")
        return room

    def reorder(self, indices: Any) -> None:
        """Keep row indices[b] of the first dimension as row b: the beams that a search goes on with."""
        if self._keys is not None:
            with no_grad():
                self._keys, self._values = (ops.take(x, indices, axis=0) for x in (self._keys, self._values))

    def truncate(self, length: int) -> None:
        """Forget all positions from `length` on; ValueError for more than there are."""
        if not 0 <= length <= self.length:
            raise ValueError(f"KeyValueCache.truncate: expected a length within {self.length}, got {length}")
        self.length = length
