"""Normalisation of each row by its own statistics: layer norm, RMS norm, group norm."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from weft.autograd import op, state
from weft.backends import reference as K
from weft.backends.array import namespace
from weft.ops.activation import floating


def normalized(x: Any, weight: Any, bias: Any, shape: Any, name: str) -> tuple[int, ...]:
    """The shape of the last axes that are normalised together, checked against `x` and the parameters."""
    floating(x, name)
    if shape is None:
        shape = x.shape[-1:] if weight is None else weight.shape
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    if not shape or x.shape[len(x.shape) - len(shape) :] != shape:
        raise ValueError(f"{name}: expected x (..., {', '.join(map(str, shape))}), got {x.shape}")
    for what, p in (("weight", weight), ("bias", bias)):
        if p is not None and p.shape != shape:
            raise ValueError(f"{name}: expected {what} {shape} to match x {x.shape}, got {p.shape}")
        check_width(name, x, what, p)
    return shape


def check_width(name: str, x: Any, what: str, p: Any) -> None:
    """TypeError where float64 meets a narrower type: nobody asked for a result of twice the size, or half the digits.

    16 bits beside parameters of float32 are the common case of mixed precision.
    """
    if p is not None and (p.dtype == np.float64) != (x.dtype == np.float64):
        raise TypeError(f"{name}: expected x and {what} of one dtype, got {x.dtype} and {p.dtype}")


def flat(p: Any) -> Any:
    return p if p is None or p.ndim == 1 else namespace(p).reshape(p, (-1,))


@op
def layer_norm(x: Any, weight: Any = None, bias: Any = None, *, normalized_shape: Any = None, eps: float = 1e-5) -> Any:
    """Bring each row of `x` to mean 0 and variance 1, then scale by `weight` and add `bias` (Ba et al., 2016).

    x (..., *S), weight and bias S or None -> (..., *S); S is `normalized_shape`, or weight's shape, or the last axis.
    ValueError where the shapes differ.

    >>> import weft
    >>> weft.layer_norm(weft.asarray([[1.0, 3.0]]), eps=0.0).numpy()
    array([[-1.,  1.]], dtype=float32)
    """
    shape = normalized(x, weight, bias, normalized_shape, "layer_norm")
    if len(shape) == 1:
        out, mean, rstd = K.layer_norm(x, weight, bias, eps=eps)

        def vjp(g: Any) -> Any:
            gx, gw, gb = K.layer_norm_backward(g, x, weight, mean, rstd, spare=state.spare is g)
            return gx, gw, gb if bias is not None else None

        return out, vjp

    full, rows = x.shape, (*x.shape[: x.ndim - len(shape)], math.prod(shape))
    x, weight, bias = namespace(x).reshape(x, rows), flat(weight), flat(bias)
    out, mean, rstd = K.layer_norm(x, weight, bias, eps=eps)

    def vjp_of_many_axes(g: Any) -> Any:
        xp = namespace(g)
        gx, gw, gb = K.layer_norm_backward(xp.reshape(g, rows), x, weight, mean, rstd)
        gw, gb = (None if p is None else xp.reshape(gp, shape) for p, gp in ((weight, gw), (bias, gb)))
        return xp.reshape(gx, full), gw, gb

    return namespace(out).reshape(out, full), vjp_of_many_axes


@op
def rms_norm(x: Any, weight: Any = None, *, normalized_shape: Any = None, eps: float | None = None) -> Any:
    """Divide each row of `x` by its root mean square, then scale by `weight` (Zhang and Sennrich, 2019).

    x (..., *S), weight S or None -> (..., *S); S is `normalized_shape`, or weight's shape, or the last axis.
    eps: added to the mean square; the dtype's machine epsilon by default.  ValueError where the shapes differ.

    >>> import weft
    >>> weft.rms_norm(weft.asarray([[3.0, 4.0]]), eps=0.0).numpy().round(4)
    array([[0.8485, 1.1314]], dtype=float32)
    """
    shape = normalized(x, weight, None, normalized_shape, "rms_norm")
    if eps is None:
        eps = float(np.finfo(x.dtype).eps) if x.dtype.kind == "f" else 2.0**-7  # bfloat16 keeps 7 bits
    full, rows = x.shape, (*x.shape[: x.ndim - len(shape)], math.prod(shape))
    if len(shape) > 1:
        x, weight = namespace(x).reshape(x, rows), flat(weight)
    out, rstd = K.rms_norm(x, weight, eps=eps)
    if len(shape) == 1:
        return out, lambda g: K.rms_norm_backward(g, x, weight, rstd, spare=state.spare is g)

    def vjp(g: Any) -> Any:
        xp = namespace(g)
        gx, gw = K.rms_norm_backward(xp.reshape(g, rows), x, weight, rstd)
        return xp.reshape(gx, full), None if gw is None else xp.reshape(gw, shape)

    return namespace(out).reshape(out, full), vjp


@op
def group_norm(x: Any, weight: Any = None, bias: Any = None, *, num_groups: int, eps: float = 1e-5) -> Any:
    """Bring each group of channels of a sample to mean 0 and variance 1, then scale and shift each channel.

    x (N, C, ...), weight and bias (C,) or None -> (N, C, ...).  ValueError unless `num_groups` divides C.  (Wu and He,
    2018)

    >>> import weft
    >>> weft.group_norm(weft.asarray([[[1.0], [3.0]]]), num_groups=1, eps=0.0).numpy().ravel()
    array([-1.,  1.], dtype=float32)
    """
    floating(x, "group_norm")
    if x.ndim < 2 or num_groups < 1 or x.shape[1] % num_groups:
        raise ValueError(f"group_norm: expected (N, C, ...) with C a multiple of {num_groups}, got {x.shape}")
    channels, full = x.shape[1], x.shape
    for what, p in (("weight", weight), ("bias", bias)):
        if p is not None and p.shape != (channels,):
            raise ValueError(f"group_norm: expected {what} ({channels},) to match x {full}, got {p.shape}")
        check_width("group_norm", x, what, p)
    xp = namespace(x)
    column = (channels,) + (1,) * (x.ndim - 2)
    rows = (x.shape[0], num_groups, math.prod(x.shape[1:]) // num_groups)
    others = (0, *range(2, x.ndim))
    x = xp.reshape(x, rows)
    normal, mean, rstd = K.layer_norm(x, None, None, eps=eps)
    out = xp.reshape(normal, full)
    if weight is not None:
        out = out * xp.reshape(weight, column)
    if bias is not None:
        out = out + xp.reshape(bias, column)

    def vjp(g: Any) -> Any:
        xp = namespace(g)
        gw = None if weight is None else xp.sum(g * xp.reshape((x - mean) * rstd, full), axis=others)
        gb = None if bias is None else xp.sum(g, axis=others)
        scaled = g if weight is None else g * xp.reshape(weight, column)
        gx, _, _ = K.layer_norm_backward(xp.reshape(scaled, rows), x, None, mean, rstd)
        return xp.reshape(gx, full), gw, gb

    return out, vjp
