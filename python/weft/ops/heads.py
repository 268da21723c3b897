"""Features as heads of attention: one recorded call, at most one copy on the way back."""

from __future__ import annotations

from weft.autograd import op_of_several
from weft.backends.array import namespace
from weft.ops.index import put_all

ALL = slice(None)


@op_of_several
def split_heads(x, *, parts, heads, batch_first=True):
    """Cut the features of a sequence into `parts` arrays of `heads` heads: query, key and value of one projection.

    x (N, L, parts * heads * D), or (L, N, ...) unless batch_first -> a tuple of `parts` arrays (N, heads, L, D), which
    lie in x's memory.  ValueError where the features cannot be cut so.

    >>> import weft
    >>> q, k, v = weft.split_heads(weft.ones((2, 5, 24)), parts=3, heads=4)
    >>> q.shape
    (2, 4, 5, 2)
    """
    if x.ndim != 3 or x.shape[2] % (parts * heads):
        raise ValueError(f"split_heads: expected x (N, L, features) with a multiple of {parts * heads}, got {x.shape}")
    xp, (first, second, width) = namespace(x), x.shape
    order, back = ((2, 0, 3, 1, 4), (0, 2, 1, 3)) if batch_first else ((2, 1, 3, 0, 4), (2, 0, 1, 3))
    y = xp.permute_dims(xp.reshape(x, (first, second, parts, heads, width // (parts * heads))), order)

    def vjp(gs):
        gs = gs if type(gs) is tuple else (gs,)  # a single part has a single gradient
        known = [(namespace(g).permute_dims(g, back), i) for i, g in enumerate(gs) if g is not None]
        each = width // parts
        rows = [(namespace(g).reshape(g, (first, second, each)), i) for g, i in known]
        return (put_all([(g, (ALL, ALL, slice(i * each, (i + 1) * each))) for g, i in rows], (first, second, width)),)

    return tuple([y[i] for i in range(parts)]), vjp
