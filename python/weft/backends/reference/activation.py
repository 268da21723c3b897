"""Activations that are worth a kernel of their own: ReLU, GELU, SiLU."""

from __future__ import annotations

import math
from typing import Any

from weft.backends.array import namespace
from weft.backends.reference.precision import computed_wide
from weft.backends.registry import primitive

SQRT_HALF = math.sqrt(0.5)
DENSITY = 1 / math.sqrt(2 * math.pi)  # the normal density at 0
TANH_SCALE = math.sqrt(2 / math.pi)
TANH_CUBIC = 0.044715


@primitive
def relu(x: Any) -> Any:
    """x -> max(x, 0); NaN stays NaN."""
    return namespace(x).maximum(x, 0)


@primitive
def relu_backward(g: Any, y: Any, *, spare: bool = False) -> Any:
    """g, y = relu(x) -> gradient of x: 0 where y is 0.

    spare, here and in other gradients: nobody needs g any more, so what is returned may be written over it.
    """
    xp = namespace(g)
    return xp.where(y <= 0, xp.zeros_like(g), g)


@primitive
@computed_wide
def gelu(x: Any, *, approximate: str) -> Any:
    """x -> x times the normal distribution function, exact ("none") or by its "tanh" form."""
    xp = namespace(x)
    if approximate == "tanh":
        return 0.5 * x * (1 + xp.tanh(TANH_SCALE * (x + TANH_CUBIC * x * x * x)))
    return 0.5 * x * (1 + xp.erf(x * SQRT_HALF))


@primitive
@computed_wide
def gelu_backward(g: Any, x: Any, *, approximate: str, spare: bool = False) -> Any:
    """g, x -> gradient of x."""
    xp = namespace(g)
    if approximate == "tanh":
        t = xp.tanh(TANH_SCALE * (x + TANH_CUBIC * x * x * x))
        return g * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * TANH_SCALE * (1 + 3 * TANH_CUBIC * x * x))
    return g * (0.5 * (1 + xp.erf(x * SQRT_HALF)) + x * DENSITY * xp.exp(-0.5 * x * x))


@primitive
@computed_wide
def silu(x: Any) -> Any:
    """x -> x * sigmoid(x)."""
    return x * namespace(x).sigmoid(x)


@primitive
@computed_wide
def silu_backward(g: Any, x: Any, *, spare: bool = False) -> Any:
    """g, x -> gradient of x."""
    s = namespace(g).sigmoid(x)
    return g * (s * (1 + x * (1 - s)))


def activated(gate: Any, activation: str) -> Any:
    """The activation `activation` of a gate."""
    if activation == "sigmoid":
        return namespace(gate).sigmoid(gate)
    if activation == "relu":
        return relu(gate)
    if activation == "silu":
        return silu(gate)
    return gelu(gate, approximate="tanh" if activation == "gelu_tanh" else "none")


def slope(g: Any, gate: Any, activation: str) -> Any:
    """g times the derivative of the activation at a gate."""
    if activation == "sigmoid":
        s = namespace(g).sigmoid(gate)
        return g * s * (1 - s)
    if activation == "relu":
        return relu_backward(g, relu(gate))
    if activation == "silu":
        return silu_backward(g, gate)
    return gelu_backward(g, gate, approximate="tanh" if activation == "gelu_tanh" else "none")


@primitive
@computed_wide
def gated(x: Any, gate: Any, *, activation: str) -> Any:
    """x, gate -> x * activation(gate); activation: "sigmoid", "silu", "gelu", "gelu_tanh" or "relu"."""
    return x * activated(gate, activation)


@primitive
@computed_wide
def gated_backward(g: Any, x: Any, gate: Any, *, activation: str, joined: int | None) -> Any:
    """g, x, gate -> the gradients of x and gate; joined: an axis along which they come as one array."""
    grads = g * activated(gate, activation), slope(g * x, gate, activation)
    return grads if joined is None else namespace(g).concat(grads, axis=joined)
