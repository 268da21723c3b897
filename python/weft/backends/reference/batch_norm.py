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
def batch_norm_backward(g, x, weight, mean, var, *, eps, spare=False):
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


@primitive
def batch_norm_act(x, weight, bias, residual, *, eps, relu):
    """batch_norm, plus residual (N, C, ...) or None, then ReLU if asked for -> out, mean (C,), biased variance (C,)."""
    out, mean, var = batch_norm.reference(wide(x), weight, bias, eps=eps)
    return narrow(activated(out, residual, relu), x.dtype), mean, var


@primitive
def batch_norm_act_backward(g, x, weight, mean, var, out, *, eps, residual, spare=False):
    """As batch_norm_backward; out: of a ReLU, or None -> gradients of x, weight, bias, and residual (or None)."""
    if out is not None:
        g = passed(g, out)
    return (*batch_norm_backward(g, x, weight, mean, var, eps=eps), g if residual else None)


@primitive
def batch_norm_inference(x, weight, bias, mean, var, residual, *, eps, relu):
    """(x - mean) / sqrt(var + eps) * weight + bias, mean and var (C,) given, plus residual, then ReLU -> (N, C, ...)"""
    xp, column = namespace(x), channel_column(x)
    scale = 1 / xp.sqrt(var + eps)
    if weight is not None:
        scale = scale * weight
    shift = -mean * scale if bias is None else bias - mean * scale
    out = x * xp.reshape(scale, column) + xp.reshape(shift, column)
    return narrow(activated(out, residual, relu), x.dtype)


@primitive
def running_statistics(old_mean, old_var, mean, var, *, momentum, count):
    """All (C,) -> old + momentum * (new - old) of both, for a batch of `count` values per channel; var is biased."""
    unbiased = var * (count / max(count - 1, 1))
    return mixed(old_mean, mean, momentum), mixed(old_var, unbiased, momentum)


def mixed(old, new, momentum):
    return narrow(old + momentum * (new - old), old.dtype)


def activated(out, residual, relu):
    """out + residual, without what is negative."""
    xp = namespace(out)
    if residual is not None:
        out = out + wide(residual)
    return xp.maximum(out, xp.zeros_like(out)) if relu else out


def passed(g, out):
    """What of the gradient g passes a ReLU that returned `out`."""
    xp = namespace(g, out)
    return xp.where(out > 0, g, xp.zeros_like(g))


def all_but_channels(x):
    """The axes that a channel's mean runs over: 0, 2, 3, ..."""
    return (0, *range(2, x.ndim))


def channel_column(x):
    """The shape that lays (C,) along axis 1 of x."""
    return (x.shape[1],) + (1,) * (x.ndim - 2)
