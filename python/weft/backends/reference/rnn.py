"""One step of an LSTM and of a GRU after its matrix products, with their gradients.

Gates lie side by side in the last axis, in PyTorch's order. The backward functions compute the activations again from
the preactivations: cheaper than storing them.
"""

from __future__ import annotations

from typing import Any

from weft.backends.array import namespace
from weft.backends.reference.precision import computed_wide
from weft.backends.registry import primitive


def lstm_gates(gates: Any) -> tuple[Any, Any, Any, Any]:
    """gates (N, 4H) -> input, forget, candidate, output (N, H) after their activations."""
    xp, n = namespace(gates), gates.shape[-1] // 4
    i, f, g, o = (gates[..., k * n : (k + 1) * n] for k in range(4))
    return xp.sigmoid(i), xp.sigmoid(f), xp.tanh(g), xp.sigmoid(o)


@primitive
@computed_wide
def lstm_cell(gates: Any, c: Any) -> tuple[Any, Any]:
    """gates (N, 4H) preactivations i, f, g, o; c (N, H) -> h, c_new (N, H)."""
    i, f, g, o = lstm_gates(gates)
    c_new = f * c + i * g
    return o * namespace(gates).tanh(c_new), c_new


@primitive
@computed_wide
def lstm_cell_backward(gh: Any, gc: Any, gates: Any, c: Any, c_new: Any) -> tuple[Any, Any]:
    """gh, gc (N, H) or None (not both), gates (N, 4H), c, c_new (N, H) -> gradients of gates and c."""
    xp = namespace(gates)
    i, f, g, o = lstm_gates(gates)
    t = xp.tanh(c_new)
    if gh is None:
        into_c, into_o = gc, xp.zeros_like(c)
    else:
        into_c = gh * o * (1 - t * t) if gc is None else gc + gh * o * (1 - t * t)
        into_o = gh * t * o * (1 - o)
    parts = (into_c * g * i * (1 - i), into_c * c * f * (1 - f), into_c * i * (1 - g * g), into_o)
    return xp.concat(parts, axis=-1), into_c * f


def gru_gates(gi: Any, gh: Any) -> tuple[Any, Any, Any, Any]:
    """gi, gh (N, 3H) -> reset, update, candidate (N, H) after their activations, and the recurrent part of the last."""
    xp, n = namespace(gi), gi.shape[-1] // 3
    both = gi[..., : 2 * n] + gh[..., : 2 * n]
    r, z = xp.sigmoid(both[..., :n]), xp.sigmoid(both[..., n:])
    recurrent = gh[..., 2 * n :]
    return r, z, xp.tanh(gi[..., 2 * n :] + r * recurrent), recurrent


@primitive
@computed_wide
def gru_cell(gi: Any, gh: Any, h: Any) -> Any:
    """gi, gh (N, 3H) input and recurrent parts r, z, n, biases included; h (N, H) -> h_new (N, H)."""
    _, z, n, _ = gru_gates(gi, gh)
    return n + z * (h - n)


@primitive
@computed_wide
def gru_cell_backward(g: Any, gi: Any, gh: Any, h: Any) -> tuple[Any, Any, Any]:
    """g (N, H), gi, gh (N, 3H), h (N, H) -> gradients of gi, gh and h."""
    xp = namespace(g)
    r, z, n, recurrent = gru_gates(gi, gh)
    into_n = g * (1 - z) * (1 - n * n)
    into_z = g * (h - n) * z * (1 - z)
    into_r = into_n * recurrent * r * (1 - r)
    return xp.concat((into_r, into_z, into_n), axis=-1), xp.concat((into_r, into_z, into_n * r), axis=-1), g * z
