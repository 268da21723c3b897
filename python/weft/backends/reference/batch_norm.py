"""Batch normalisation over all axes but the second, and its gradient (Ioffe and Szegedy, 2015)."""

from __future__ import annotations

from weft.backends.array import namespace
from weft.backends.reference.windows import widen
from weft.backends.registry import primitive


@primitive
def batch_norm(x, weight, bias, *, eps):
    """x (N, C, ...), weight (C,) or None, bias (C,) or None -> out (N, C, ...), mean (C,), biased variance (C,)."""
    xp, axes, column = namespace(x), all_but_channels(x), channel_column(x)
    wide = widen(xp, x)
    mean = xp.mean(wide, axis=axes, keepdims=True)
    centred = wide - mean  # two passes: E[x^2] - E[x]^2 cancels where |mean| >> std
    var = xp.mean(xp.square(centred), axis=axes, keepdims=True)
    out = centred / xp.sqrt(var + eps)
    if weight is not None:
        out = out * xp.reshape(widen(xp, weight), column)
    if bias is not None:
        out = out + xp.reshape(widen(xp, bias), column)
    C = x.shape[1]
    return xp.astype(out, x.dtype), xp.reshape(mean, (C,)), xp.reshape(var, (C,))


@primitive
def batch_norm_backward(g, x, weight, mean, var, *, eps):
    """g and x (N, C, ...), weight (C,) or None, mean and var (C,) -> gradients of x, weight (C,) and bias (C,)."""
    xp, axes, column = namespace(g), all_but_channels(x), channel_column(x)
    wide, count = widen(xp, g), x.size // x.shape[1] if x.size else 1
    rstd = 1 / xp.sqrt(xp.reshape(var, column) + eps)
    normal = (widen(xp, x) - xp.reshape(mean, column)) * rstd
    gb = xp.sum(wide, axis=axes, keepdims=True)
    gw = xp.sum(wide * normal, axis=axes, keepdims=True)
    scale = rstd if weight is None else rstd * xp.reshape(widen(xp, weight), column)
    gx = (wide - (gb + normal * gw) / count) * scale
    kind = g.dtype if weight is None else weight.dtype
    return xp.astype(gx, g.dtype), xp.astype(xp.reshape(gw, var.shape), kind), xp.astype(xp.reshape(gb, var.shape), kind)


def all_but_channels(x):
    """The axes that a channel's mean runs over: 0, 2, 3, ..."""
    return (0, *range(2, x.ndim))


def channel_column(x):
    """The shape that lays (C,) along axis 1 of x."""
    return (x.shape[1],) + (1,) * (x.ndim - 2)
