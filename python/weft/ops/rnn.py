"""Recurrent layers over a whole sequence, each one recorded op per direction.

The products with the inputs and the gradients of the weights run over all time steps at once; only what truly depends
on the step before is a loop. Sequences are time-major: (T, N, features).
"""

from __future__ import annotations

from typing import Any

from weft.autograd import op, op_of_several
from weft.backends import array
from weft.backends import reference as K
from weft.backends.array import device_of, namespace, ndarray
from weft.backends.reference.rnn import over_time, plus, projected, steps
from weft.ops.activation import floating


def check_sequence(name: str, gates: int, x: Any, states: tuple[Any, ...], w_ih: Any, w_hh: Any, biases: Any) -> None:
    """Raise unless x (T, N, I), each state (N, H), w_ih (gates * H, I), w_hh (gates * H, H), biases (gates * H,)."""
    floating(x, name)
    for other in (*states, w_ih, w_hh):
        if not other.dtype == x.dtype:
            raise TypeError(f"{name}: expected x, states and weights of one dtype, got {x.dtype} and {other.dtype}")
    if x.ndim != 3:
        raise ValueError(f"{name}: expected a sequence (T, N, I), got {x.shape}")
    rows, hidden = w_hh.shape[0], w_hh.shape[-1]
    if w_hh.ndim != 2 or rows != gates * hidden:
        raise ValueError(f"{name}: expected w_hh ({gates} * H, H), got {w_hh.shape}")
    if w_ih.shape != (rows, x.shape[2]):
        raise ValueError(f"{name}: expected w_ih ({rows}, {x.shape[2]}) to match x {x.shape}, got {w_ih.shape}")
    for state in states:
        if state.shape != (x.shape[1], hidden):
            raise ValueError(f"{name}: expected a state ({x.shape[1]}, {hidden}) for x {x.shape}, got {state.shape}")
    for bias in biases:
        if bias is not None and bias.shape != (rows,):
            raise ValueError(f"{name}: expected a bias ({rows},), got {bias.shape}")


def in_c_order(x: Any) -> Any:
    """x (T, N, I), which is often a transposed view, as both products with it want it: one copy, not two."""
    return array.in_c_order(x) if type(x) is ndarray else x


def empty_output(x: Any, h0: Any) -> Any:
    return namespace(x).full((0, *h0.shape), 0.0, dtype=x.dtype, device=device_of(x))


def rows_of(x: Any) -> Any:
    """(T, N, F) -> (T * N, F)"""
    return namespace(x).reshape(x, (-1, x.shape[2]))


def recurrent_gradient(g: Any, h0: Any, hs: Any, reverse: bool) -> Any:
    """The gradient of w_hh from g (T, N, G), over all steps at once: the first one multiplied h0, the others the state
    before them."""
    mt = namespace(g).matrix_transpose
    first, after, states = (g[-1], g[:-1], hs[1:]) if reverse else (g[0], g[1:], hs[:-1])
    return K.matmul(mt(rows_of(after)), rows_of(states)) + K.matmul(mt(first), h0)


def gradients(g_gates: Any, x: Any, w_ih: Any, h0: Any, hs: Any, reverse: bool, g_recurrent: Any = None) -> Any:
    """Gradients of x, w_ih, w_hh and of the two biases from those of the gates (T, N, G)."""
    xp = namespace(g_gates)
    flat = rows_of(g_gates)
    recurrent = g_gates if g_recurrent is None else g_recurrent
    gx = xp.reshape(K.matmul(flat, w_ih), x.shape)
    gw_ih = K.matmul(xp.matrix_transpose(flat), rows_of(x))
    gb = xp.sum(flat, axis=0)
    gb_hh = gb if g_recurrent is None else xp.sum(rows_of(g_recurrent), axis=0)
    return gx, gw_ih, recurrent_gradient(recurrent, h0, hs, reverse), gb, gb_hh


@op_of_several
def lstm(x, h0, c0, w_ih, w_hh, b_ih=None, b_hh=None, *, reverse=False):
    """One direction of one LSTM layer (Hochreiter and Schmidhuber, 1997; gates i, f, g, o as in PyTorch).

    x (T, N, I), h0 and c0 (N, H), w_ih (4H, I), w_hh (4H, H), biases (4H,) or None -> outputs (T, N, H), h and c
    (N, H) after the last step; `reverse` runs from the end of the sequence.  ValueError where the shapes do not fit.

    >>> x, h, c = weft.ones((5, 2, 3)), weft.zeros((2, 4)), weft.zeros((2, 4))
    >>> out, *last = weft.lstm(x, h, c, weft.zeros((16, 3)), weft.zeros((16, 4)), weft.zeros((16,)), weft.zeros((16,)))
    >>> out.shape
    (5, 2, 4)
    """
    check_sequence("lstm", 4, x, (h0, c0), w_ih, w_hh, (b_ih, b_hh))
    if not x.shape[0]:
        return (empty_output(x, h0), h0, c0), lambda g: (None, g[1], g[2], *(None,) * 4)
    x = in_c_order(x)
    hs, gates, cs = K.lstm_layer(x, h0, c0, w_ih, w_hh, plus(b_ih, b_hh), reverse=reverse)

    def vjp(g: Any) -> Any:
        g_gates, gh, gc = K.lstm_layer_backward(gates, cs, c0, w_hh, *g, reverse=reverse)
        gx, gw_ih, gw_hh, gb, _ = gradients(g_gates, x, w_ih, h0, hs, reverse)
        return gx, gh, gc, gw_ih, gw_hh, gb, gb

    last = 0 if reverse else -1
    return (hs, hs[last], cs[last]), vjp


@op_of_several
def gru(x, h0, w_ih, w_hh, b_ih=None, b_hh=None, *, reverse=False):
    """One direction of one GRU layer (Cho et al., 2014; gates r, z, n as in PyTorch).

    x (T, N, I), h0 (N, H), w_ih (3H, I), w_hh (3H, H), biases (3H,) or None -> outputs (T, N, H), h (N, H) after the
    last step; `reverse` runs from the end of the sequence.  ValueError where the shapes do not fit.

    >>> x, h = weft.ones((5, 2, 3)), weft.zeros((2, 4))
    >>> out, last = weft.gru(x, h, weft.zeros((12, 3)), weft.zeros((12, 4)), weft.zeros((12,)), weft.zeros((12,)))
    >>> out.shape, last.shape
    ((5, 2, 4), (2, 4))
    """
    check_sequence("gru", 3, x, (h0,), w_ih, w_hh, (b_ih, b_hh))
    if not x.shape[0]:
        return (empty_output(x, h0), h0), lambda g: (None, g[1], *(None,) * 4)
    x = in_c_order(x)
    hs, inputs, recurrents = K.gru_layer(x, h0, w_ih, w_hh, b_ih, b_hh, reverse=reverse)

    def vjp(g: Any) -> Any:
        g_inputs, g_recurrents, gh = K.gru_layer_backward(inputs, recurrents, hs, h0, w_hh, *g, reverse=reverse)
        gx, gw_ih, gw_hh, gb_ih, gb_hh = gradients(g_inputs, x, w_ih, h0, hs, reverse, g_recurrents)
        return gx, gh, gw_ih, gw_hh, gb_ih, gb_hh

    return (hs, hs[0 if reverse else -1]), vjp


@op_of_several
def rnn(x, h0, w_ih, w_hh, b_ih=None, b_hh=None, *, nonlinearity="tanh", reverse=False):
    """One direction of one Elman layer (Elman, 1990): h = f(w_ih x + b_ih + w_hh h + b_hh).

    x (T, N, I), h0 (N, H), w_ih (H, I), w_hh (H, H), biases (H,) or None -> outputs (T, N, H), h (N, H) after the last
    step; nonlinearity: "tanh" or "relu"; `reverse` runs from the end.  ValueError where the shapes do not fit.

    >>> x, h = weft.ones((5, 2, 3)), weft.zeros((2, 4))
    >>> out, last = weft.rnn(x, h, weft.zeros((4, 3)), weft.zeros((4, 4)), None, None)
    >>> out.shape, last.shape
    ((5, 2, 4), (2, 4))
    """
    check_sequence("rnn", 1, x, (h0,), w_ih, w_hh, (b_ih, b_hh))
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f"rnn: expected nonlinearity 'tanh' or 'relu', got {nonlinearity!r}")
    xp, order, smooth = namespace(x), steps(x.shape[0], reverse), nonlinearity == "tanh"
    if not x.shape[0]:
        return (empty_output(x, h0), h0), lambda g: (None, g[1], *(None,) * 4)
    inputs = projected(x, w_ih, plus(b_ih, b_hh))  # (T, N, H)
    hs = [h0]
    for t in order:
        before_f = inputs[t] + K.linear(hs[-1], w_hh, None)
        hs.append(xp.tanh(before_f) if smooth else K.relu(before_f))
    out = over_time(hs[1:], reverse)

    def vjp(g: Any) -> Any:
        gy, gh = g
        parts = []
        for k, t in reversed(list(enumerate(order))):
            into_h = plus(gh, None if gy is None else gy[t])
            h = hs[k + 1]
            parts.append(into_h * (1 - h * h) if smooth else K.relu_backward(into_h, h))
            gh = K.matmul(parts[-1], w_hh)
        gx, gw_ih, gw_hh, gb, _ = gradients(over_time(parts, not reverse), x, w_ih, h0, out, reverse)
        return gx, gh, gw_ih, gw_hh, gb, gb

    return (out, hs[-1]), vjp


@op_of_several
def lstm_cell(gates, c):
    """One step of an LSTM after its matrix products: gates (N, 4H) as i, f, g, o; c (N, H) -> h, c_new (N, H).

    >>> h, c = weft.lstm_cell(weft.zeros((2, 16)), weft.ones((2, 4)))
    >>> c.numpy()[0]
    array([0.5, 0.5, 0.5, 0.5], dtype=float32)
    """
    h, c_new = K.lstm_cell(gates, c)

    def vjp(g: Any) -> Any:
        gh = namespace(gates).zeros_like(c) if g[0] is None else g[0]
        return K.lstm_cell_backward(gh, g[1], gates, c, c_new)

    return (h, c_new), vjp


@op
def gru_cell(gi, gh, h):
    """One step of a GRU after its matrix products: gi, gh (N, 3H) as r, z, n; h (N, H) -> h_new (N, H).

    >>> h = weft.gru_cell(weft.zeros((2, 12)), weft.zeros((2, 12)), weft.ones((2, 4)))
    >>> h.numpy()[0]
    array([0.5, 0.5, 0.5, 0.5], dtype=float32)
    """
    return K.gru_cell(gi, gh, h), lambda g: K.gru_cell_backward(g, gi, gh, h)
