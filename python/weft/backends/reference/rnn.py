"""One step of an LSTM and of a GRU after its matrix products, and layers of them over time, with their gradients.

Gates lie side by side in the last axis, in PyTorch's order. The backward functions compute the activations again from
the preactivations, except the LSTM's layer, which keeps them.
"""

from __future__ import annotations

from typing import Any

from weft.backends.array import namespace
from weft.backends.reference.matmul import linear, matmul
from weft.backends.reference.precision import computed_wide
from weft.backends.registry import primitive


def lstm_gates(gates: Any, active: bool = False) -> tuple[Any, Any, Any, Any]:
    """gates (N, 4H) -> input, forget, candidate, output (N, H) activated; `active` ones are already."""
    xp, n = namespace(gates), gates.shape[-1] // 4
    i, f, g, o = (gates[..., k * n : (k + 1) * n] for k in range(4))
    return (i, f, g, o) if active else (xp.sigmoid(i), xp.sigmoid(f), xp.tanh(g), xp.sigmoid(o))


@computed_wide
def lstm_step(gates: Any, c: Any) -> tuple[Any, Any, Any]:
    """lstm_cell, and its gates (N, 4H) after their activations."""
    xp = namespace(gates)
    i, f, g, o = active = lstm_gates(gates)
    c_new = f * c + i * g
    return o * xp.tanh(c_new), c_new, xp.concat(active, axis=-1)


@computed_wide
def lstm_step_backward(gh: Any, gc: Any, gates: Any, c: Any, c_new: Any, *, active: bool) -> tuple[Any, Any]:
    """lstm_cell_backward; active: from the gates after their activations."""
    xp = namespace(gates)
    i, f, g, o = lstm_gates(gates, active)
    t = xp.tanh(c_new)
    if gh is None:
        into_c, into_o = gc, xp.zeros_like(c)
    else:
        into_c = gh * o * (1 - t * t) if gc is None else gc + gh * o * (1 - t * t)
        into_o = gh * t * o * (1 - o)
    parts = (into_c * g * i * (1 - i), into_c * c * f * (1 - f), into_c * i * (1 - g * g), into_o)
    return xp.concat(parts, axis=-1), into_c * f


@primitive
def lstm_cell(gates: Any, c: Any) -> tuple[Any, Any]:
    """gates (N, 4H) preactivations i, f, g, o; c (N, H) -> h, c_new (N, H)."""
    h, c_new, _ = lstm_step(gates, c)
    return h, c_new


@primitive
def lstm_cell_backward(gh: Any, gc: Any, gates: Any, c: Any, c_new: Any) -> tuple[Any, Any]:
    """gh, gc (N, H) or None (not both), gates (N, 4H), c, c_new (N, H) -> gradients of gates and c."""
    return lstm_step_backward(gh, gc, gates, c, c_new, active=False)


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


# -- layers: sequences are time-major, and lie in the order of time also where the steps run in reverse ----------------


def steps(length: int, reverse: bool) -> range:
    """The times in the order in which the layer visits them."""
    return range(length - 1, -1, -1) if reverse else range(length)


def over_time(parts: list[Any], reverse: bool) -> Any:
    """What the steps gave, one after the other, as one array in the order of time."""
    return namespace(parts[0]).stack(parts[::-1] if reverse else parts, axis=0)


def plus(a: Any, b: Any) -> Any:
    """a + b, where None is 0."""
    return b if a is None else a if b is None else a + b


def projected(x: Any, weight: Any, bias: Any) -> Any:
    """linear of all steps at once, (T, N, I) -> (T, N, G)."""
    xp = namespace(x)
    return xp.reshape(linear(xp.reshape(x, (-1, x.shape[2])), weight, bias), (*x.shape[:2], weight.shape[0]))


@primitive
def lstm_layer(x: Any, h0: Any, c0: Any, w_ih: Any, w_hh: Any, bias: Any, *, reverse: bool) -> tuple[Any, Any, Any]:
    """x (T, N, I), h0, c0 (N, H), w_ih (4H, I), w_hh (4H, H), bias (4H,)|None, T > 0 -> hs (T, N, H), gates (T, N, 4H)
    after their activations, cs (T, N, H)."""
    inputs = projected(x, w_ih, bias)
    hs, gates, cs = [], [], []
    h, c = h0, c0
    for t in steps(x.shape[0], reverse):
        h, c, active = lstm_step(inputs[t] + linear(h, w_hh, None), c)
        gates.append(active)
        hs.append(h)
        cs.append(c)
    return over_time(hs, reverse), over_time(gates, reverse), over_time(cs, reverse)


@primitive
def lstm_layer_backward(
    gates: Any, cs: Any, c0: Any, w_hh: Any, gy: Any, gh: Any, gc: Any, *, reverse: bool
) -> tuple[Any, Any, Any]:
    """gates (T, N, 4H), cs (T, N, H), c0, w_hh; gradients gy of hs and gh, gc of the last states, or None
    -> gradients of the gates (T, N, 4H), of h0 and c0."""
    order = steps(gates.shape[0], reverse)
    parts = []
    for k in range(len(order) - 1, -1, -1):
        t = order[k]
        into_h = plus(gh, None if gy is None else gy[t])
        into_h = namespace(gates).zeros_like(c0) if into_h is None else into_h
        before = cs[order[k - 1]] if k else c0
        part, gc = lstm_step_backward(into_h, gc, gates[t], before, cs[t], active=True)
        gh = matmul(part, w_hh)
        parts.append(part)
    return over_time(parts, not reverse), gh, gc


@primitive
def gru_layer(x: Any, h0: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, *, reverse: bool) -> tuple[Any, Any, Any]:
    """x (T, N, I), h0 (N, H), w_ih (3H, I), w_hh (3H, H), biases (3H,)|None, T > 0 -> hs (T, N, H), and the input and
    the recurrent part of the gates (T, N, 3H) before their activations."""
    inputs = projected(x, w_ih, b_ih)
    hs, recurrents = [], []
    h = h0
    for t in steps(x.shape[0], reverse):
        recurrents.append(linear(h, w_hh, b_hh))
        h = gru_cell(inputs[t], recurrents[-1], h)
        hs.append(h)
    return over_time(hs, reverse), inputs, over_time(recurrents, reverse)


@primitive
def gru_layer_backward(
    inputs: Any, recurrents: Any, hs: Any, h0: Any, w_hh: Any, gy: Any, gh: Any, *, reverse: bool
) -> tuple[Any, Any, Any]:
    """inputs, recurrents (T, N, 3H), hs (T, N, H), h0, w_hh; gradients gy of hs and gh of the last state, or None
    -> gradients of inputs, recurrents (T, N, 3H) and h0."""
    order = steps(inputs.shape[0], reverse)
    from_inputs, from_recurrents = [], []
    for k in range(len(order) - 1, -1, -1):
        t = order[k]
        into_h = plus(gh, None if gy is None else gy[t])
        into_h = namespace(inputs).zeros_like(h0) if into_h is None else into_h
        g_input, g_recurrent, direct = gru_cell_backward(
            into_h, inputs[t], recurrents[t], hs[order[k - 1]] if k else h0
        )
        gh = direct + matmul(g_recurrent, w_hh)
        from_inputs.append(g_input)
        from_recurrents.append(g_recurrent)
    return over_time(from_inputs, not reverse), over_time(from_recurrents, not reverse), gh
