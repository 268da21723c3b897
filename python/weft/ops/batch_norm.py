"""Batch normalisation (Ioffe and Szegedy, 2015), with its running statistics as outputs."""

from __future__ import annotations

from typing import Any

from weft.autograd import Tensor, op, state
from weft.backends import reference as K
from weft.backends.array import namespace
from weft.backends.reference.batch_norm import passed
from weft.ops.activation import floating
from weft.ops.norm import check_width


def batch_norm(
    x: Any,
    weight: Any,
    bias: Any,
    running_mean: Any,
    running_var: Any,
    residual: Any = None,
    *,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
    relu: bool = False,
) -> tuple[Tensor, Any, Any]:
    """Scale each channel to mean 0 and variance 1 over the batch, then by weight and bias.

    x (N, C, ...), the others (C,) or None -> out (N, C, ...), new running mean and variance (C,).  Outside of training
    the running statistics take the batch's place and come back as they are; where there are none, the batch's are used
    in either mode and None comes back.  Training mixes in `momentum` of this batch, its variance unbiased, as PyTorch.
    residual: of x's shape and dtype, is added to the result; with relu, what is negative then becomes 0. On devices
    that costs no pass over memory of its own.
    ValueError for one value per channel in training, whose variance says nothing, and where shapes differ.

    >>> out, mean, var = weft.batch_norm(weft.ones((4, 2)), None, None, None, None, training=True)
    """
    check_batch_norm(x, weight, bias, running_mean, running_var)
    check_residual(x, residual)
    if not training and running_mean is not None:
        out = scale_channels(x, weight, bias, running_mean, running_var, residual, eps=eps, relu=relu)
        return out, running_mean, running_var
    count = x.size // max(x.shape[1], 1)
    if training and count < 2:
        raise ValueError(f"batch_norm: expected more than one value per channel in training, got x {tuple(x.shape)}")
    out, mean, var = normalise_batch(x, weight, bias, residual, eps=eps, relu=relu)
    if not training or running_mean is None:
        return out, running_mean, running_var
    old = [s.data if isinstance(s, Tensor) else s for s in (running_mean, running_var)]
    new_mean, new_var = K.running_statistics(*old, mean.data, var.data, momentum=momentum, count=count)
    return out, Tensor(new_mean), Tensor(new_var)


@op(name="batch_norm")
def normalise_batch(x, weight, bias, residual=None, *, eps, relu=False):
    """Normalise by the batch's own statistics -> out, mean (C,), biased variance (C,)."""
    fused = relu or residual is not None
    if fused:
        out, mean, var = K.batch_norm_act(x, weight, bias, residual, eps=eps, relu=relu)
    else:
        out, mean, var = K.batch_norm(x, weight, bias, eps=eps)
    behind, added = out if relu else None, residual is not None

    def backward(gradients):
        g, g_mean, g_var = gradients
        xp, count = namespace(x), x.size // x.shape[1]
        gx, gw, gb, gr = xp.zeros_like(x) if g is None else None, None, None, None
        if g is not None and fused:
            gx, gw, gb, gr = K.batch_norm_act_backward(
                g, x, weight, mean, var, behind, eps=eps, residual=added, spare=state.spare is g
            )
        elif g is not None:
            gx, gw, gb = K.batch_norm_backward(g, x, weight, mean, var, eps=eps, spare=state.spare is g)
        if g_mean is not None:
            gx = gx + along_channels(xp, g_mean, x) / count
        if g_var is not None:
            gx = gx + (x - along_channels(xp, mean, x)) * along_channels(xp, g_var, x) * (2 / count)
        return gx, gw, gb, gr

    return (out, mean, var), backward


@op(name="batch_norm")
def scale_channels(x, weight, bias, mean, var, residual=None, *, eps, relu=False):
    """Normalise by given statistics: (x - mean) / sqrt(var + eps) * weight + bias."""
    xp = namespace(x)
    axes = (0, *range(2, x.ndim))
    out = K.batch_norm_inference(x, weight, bias, mean, var, residual, eps=eps, relu=relu)
    behind = out if relu else None

    def factors():
        rstd = 1 / xp.sqrt(var + eps)
        return rstd, rstd if weight is None else rstd * weight

    def through(g):
        return g if behind is None else passed(g, behind)

    def moment(g):  # (C,): what weight's and var's gradients share
        return xp.sum(through(g) * (x - along_channels(xp, mean, x)), axis=axes)

    def var_vjp(g):
        rstd, scale = factors()
        return -0.5 * moment(g) * scale * rstd * rstd

    return out, (
        lambda g: through(g) * along_channels(xp, factors()[1], x),
        None if weight is None else lambda g: moment(g) * factors()[0],
        None if bias is None else lambda g: xp.sum(through(g), axis=axes),
        lambda g: -xp.sum(through(g), axis=axes) * factors()[1],
        var_vjp,
        None if residual is None else through,
    )


def along_channels(xp: Any, values: Any, x: Any) -> Any:
    """values (C,) -> (C, 1, ...), which broadcasts against x (N, C, ...)."""
    return xp.reshape(values, (values.shape[0],) + (1,) * (x.ndim - 2))


def check_residual(x: Any, residual: Any) -> None:
    if residual is not None and (residual.shape != x.shape or residual.dtype != x.dtype):
        raise ValueError(
            f"batch_norm: expected residual {x.dtype} {tuple(x.shape)}, got {residual.dtype} {tuple(residual.shape)}"
        )


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
        check_width("batch_norm", x, name, values)
    if (running_mean is None) != (running_var is None):
        raise ValueError("batch_norm: expected running_mean and running_var together, got one of them")
