"""Rotary position embedding: queries and keys that know where they stand."""

from __future__ import annotations

import numpy as np

from weft.autograd import Tensor, op
from weft.backends import reference as K
from weft.backends.array import namespace
from weft.backends.device import check_device, place


@op
def rope(x, cos, sin):
    """Rotate each pair (i, i + D/2) of a row of `x` by the angle of its position, given by its cosine and sine.

    x (..., T, D), cos (T, D/2), sin (T, D/2) -> (..., T, D); `rope_tables` makes the two tables.  ValueError unless
    D is even and the tables fit.  Su et al., "RoFormer: enhanced transformer with rotary position embedding" (2021),
    with the halves split as in GPT-NeoX.

    >>> import weft
    >>> weft.rope(weft.ones((2, 5, 8)), *weft.rope_tables(5, 8)).shape
    (2, 5, 8)
    """
    if x.ndim < 2 or x.shape[-1] % 2 or cos.shape != (x.shape[-2], x.shape[-1] // 2) or sin.shape != cos.shape:
        raise ValueError(
            f"rope: expected x (..., T, D) with even D, cos and sin (T, D/2), got {x.shape}, {cos.shape}, {sin.shape}"
        )
    half = x.shape[-1] // 2

    def cos_grad(g):
        return g[..., :half] * x[..., :half] + g[..., half:] * x[..., half:]

    def sin_grad(g):
        return g[..., half:] * x[..., :half] - g[..., :half] * x[..., half:]

    return K.rope(x, cos, sin), (lambda g: K.rope(g, cos, namespace(sin).negative(sin)), cos_grad, sin_grad)


def rope_tables(
    length: int, dim: int, *, base: float = 10000.0, start: int = 0, device: str | None = None
) -> tuple[Tensor, Tensor]:
    """Cosines and sines of `rope` for positions start, ..., start + length - 1.

    -> two Tensors (length, dim/2), float32; the angle of pair i at position t is t * base**(-2i / dim), in radians.
    ValueError unless dim is even and base positive.

    >>> import weft
    >>> [t.shape for t in weft.rope_tables(16, 64)]
    [(16, 32), (16, 32)]
    """
    if dim < 0 or dim % 2 or length < 0 or base <= 0:
        raise ValueError(f"rope_tables: expected length >= 0, an even dim and base > 0, got {length}, {dim}, {base}")
    rates = float(base) ** (-np.arange(0, dim, 2) / max(dim, 1))
    angles = np.arange(start, start + length)[:, None] * rates  # (T, D/2), float64 for large positions
    where = check_device(device)
    return tuple([Tensor(place(f(angles).astype(np.float32), where)) for f in (np.cos, np.sin)])  # type: ignore[return-value]
