"""Rotary position embedding."""

from __future__ import annotations

from weft.backends.array import namespace
from weft.backends.reference.precision import narrow, wide
from weft.backends.registry import primitive


@primitive
def rope(x, cos, sin):
    """x (..., T, D), cos (T, D/2), sin (T, D/2) -> (..., T, D).

    Element i of the first half and element i of the second are the plane that turns by angle i of the row. The rotation
    is orthogonal, so its backward is itself with -sin.
    """
    half = x.shape[-1] // 2
    xp, wider = namespace(x, cos, sin), wide(x)
    a, b = wider[..., :half], wider[..., half:]
    cos, sin = xp.astype(cos, a.dtype), xp.astype(sin, a.dtype)
    return narrow(xp.concat([a * cos - b * sin, b * cos + a * sin], axis=-1), x.dtype)
