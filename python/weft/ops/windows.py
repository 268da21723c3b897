"""Windows of images side by side, and added up again: each the transpose of the other."""

from __future__ import annotations

from weft.autograd import Tensor, op
from weft.backends.array import namespace
from weft.backends.piece import Pieces
from weft.ops.index import put_all


@op
def gather_windows(x, *, taps):
    """The pixels that each tap of a kernel meets: x (N, C, ...), taps: slices of x -> (N, C, taps, ...)."""
    shape = x.shape

    def vjp(g):
        return put_all([(g[:, :, k], tap) for k, tap in enumerate(taps)], shape)

    return namespace(x).stack([x[tap] for tap in taps], axis=2), (vjp,)


@op
def add_windows(x, *, taps, shape):
    """Zeros of `shape` (N, C, ...) with x (N, C, taps, ...) added tap by tap at its slices."""
    parts = [(x[:, :, k], tap) for k, tap in enumerate(taps)]
    out = put_all(parts, shape) if type(x) is Tensor else Pieces(parts, shape).whole()
    return out, (lambda g: namespace(g).stack([g[tap] for tap in taps], axis=2),)
