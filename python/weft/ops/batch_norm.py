"""Batch normalisation (Ioffe and Szegedy, 2015), with its running statistics as outputs."""

from __future__ import annotations

from typing import Any

from weft.autograd import Tensor, op
from weft.backends import reference as K
from weft.backends.array import namespace
from weft.backends.reference.precision import narrow
from weft.ops.activation import floating


def batch_norm(
    x: Any,
    weight: Any,
    bias: Any,
    running_mean: Any,
    running_var: Any,
    *,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> tuple[Tensor, Any, Any]:
    """Scale each channel to mean 0 and variance 1 over the batch, then by weight and bias.

    x (N, C, ...), the others (C,) or None -> out (N, C, ...), new running mean and variance (C,).  Outside of training
    the running statistics take the batch's place and come back as they are; where there are none, the batch's are used
    in either mode and None comes back.  Training mixes in `momentum` of this batch, its variance unbiased, as PyTorch.
    ValueError for one value per channel in training, whose variance says nothing.

    >>> out, mean, var = weft.batch_norm(weft.ones((4, 2)), None, None, None, None, training=True)
    """
    check_batch_norm(x, weight, bias, running_mean, running_var)
    if not training and running_mean is not None:
        return scale_channels(x, weight, bias, running_mean, running_var, eps=eps), running_mean, running_var
    count = x.size // max(x.shape[1], 1)
    if training and count < 2:
        raise ValueError(f"batch_norm: expected more than one value per channel in training, got x {tuple(x.shape)}")
    out, mean, var = normalise_batch(x, weight, bias, eps=eps)
    if not training or running_mean is None:
        return out, running_mean, running_var
    unbiased = var.data * (count / (count - 1))
    return out, mixed(running_mean, mean.data, momentum), mixed(running_var, unbiased, momentum)


@op
def normalise_batch(x, weight, bias, *, eps):
    """Normalise by the batch's own statistics -> out, mean (C,), biased variance (C,)."""
    out, mean, var = K.batch_norm(x, weight, bias, eps=eps)

    def backward(gradients):
        g, g_mean, g_var = gradients
        xp, count = namespace(x), x.size // x.shape[1]
        if g is not None:
            gx, gw, gb = K.batch_norm_backward(g, x, weight, mean, var, eps=eps)
        else:
            gx, gw, gb = xp.zeros_like(x), None, None
        if g_mean is not None:
            gx = gx + along_channels(xp, g_mean, x) / count
        if g_var is not None:
            gx = gx + (x - along_channels(xp, mean, x)) * along_channels(xp, g_var, x) * (2 / count)
        return gx, gw, gb

    return (out, mean, var), backward


@op
def scale_channels(x, weight, bias, mean, var, *, eps):
    """Normalise by given statistics: (x - mean) / sqrt(var + eps) * weight + bias."""
    xp = namespace(x)
    axes = (0, *range(2, x.ndim))
    rstd = 1 / xp.sqrt(var + eps)
    scale = rstd if weight is None else rstd * weight
    shift = -mean * scale if bias is None else bias - mean * scale
    out = narrow(x * along_channels(xp, scale, x) + along_channels(xp, shift, x), x.dtype)

    def moment(g):  # (C,): what weight's and var's gradients share
        return xp.sum(g * (x - along_channels(xp, mean, x)), axis=axes)

    return out, (
        lambda g: g * along_channels(xp, scale, x),
        None if weight is None else lambda g: moment(g) * rstd,
        None if bias is None else lambda g: xp.sum(g, axis=axes),
        lambda g: -xp.sum(g, axis=axes) * scale,
        lambda g: -0.5 * moment(g) * scale * rstd * rstd,
    )


def along_channels(xp: Any, values: Any, x: Any) -> Any:
    """values (C,) -> (C, 1, ...), which broadcasts against x (N, C, ...)."""
    return xp.reshape(values, (values.shape[0],) + (1,) * (x.ndim - 2))


def mixed(old: Any, new: Any, momentum: float) -> Tensor:
    """The running statistic after one batch."""
    data = old.data if isinstance(old, Tensor) else old
    return Tensor((data + momentum * (new - data)).astype(data.dtype, copy=False))


def check_batch_norm(x: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any) -> None:
    if len(x.shape) < 2:
        raise ValueError(f"batch_norm: expected x (N, C, ...), got {tuple(x.shape)}")
    floating(x, "batch_norm")
    given = {"weight": weight, "bias": bias, "running_mean": running_mean, "running_var": running_var}
    for name, values in given.items():
        if values is not None and tuple(values.shape) != (x.shape[1],):
            raise ValueError(
                f"batch_norm: expected {name} ({x.shape[1]},) for x {tuple(x.shape)}, got {tuple(values.shape)}"
            )
    if (running_mean is None) != (running_var is None):
        raise ValueError("batch_norm: expected running_mean and running_var together, got one of them")
