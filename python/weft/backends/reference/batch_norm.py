"""Batch normalisation over all axes but the second, and its gradient (Ioffe and Szegedy, 2015)."""

from __future__ import annotations

from weft.backends.array import namespace
from weft.backends.reference.precision import narrow, wide
from weft.backends.registry import primitive


@primitive
def batch_norm(x, weight, bias, *, eps):
    """x (N, C, ...), weight (C,) or None, bias (C,) or None -> out (N, C, ...), mean (C,), biased variance (C,)."""
    xp, axes, column = namespace(x), all_but_channels(x), channel_column(x)
    full = wide(x)
    mean = xp.mean(full, axis=axes, keepdims=True)
    centred = full - mean  # two passes: E[x^2] - E[x]^2 cancels where |mean| >> std
    var = xp.mean(xp.square(centred), axis=axes, keepdims=True)
    out = centred / xp.sqrt(var + eps)
    if weight is not None:
        out = out * xp.reshape(wide(weight), column)
    if bias is not None:
        out = out + xp.reshape(wide(bias), column)
    C = x.shape[1]
    return narrow(out, x.dtype), xp.reshape(mean, (C,)), xp.reshape(var, (C,))


@primitive
def batch_norm_backward(g, x, weight, mean, var, *, eps):
    """g and x (N, C, ...), weight (C,) or None, mean and var (C,) -> gradients of x, weight (C,) and bias (C,)."""
    xp, axes, column = namespace(g), all_but_channels(x), channel_column(x)
    full, count = wide(g), x.size // x.shape[1] if x.size else 1
    rstd = 1 / xp.sqrt(xp.reshape(var, column) + eps)
    normal = (wide(x) - xp.reshape(mean, column)) * rstd
    gb = xp.sum(full, axis=axes, keepdims=True)
    gw = xp.sum(full * normal, axis=axes, keepdims=True)
    scale = rstd if weight is None else rstd * xp.reshape(wide(weight), column)
    gx = (full - (gb + normal * gw) / count) * scale
    kind = g.dtype if weight is None else weight.dtype
    return narrow(gx, g.dtype), narrow(xp.reshape(gw, var.shape), kind), narrow(xp.reshape(gb, var.shape), kind)


def all_but_channels(x):
    """The axes that a channel's mean runs over: 0, 2, 3, ..."""
    return (0, *range(2, x.ndim))


def channel_column(x):
    """The shape that lays (C,) along axis 1 of x."""
    return (x.shape[1],) + (1,) * (x.ndim - 2)
