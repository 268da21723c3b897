"""Recurrent layers and cells."""

from __future__ import annotations

from typing import Any

import numpy as np

from weft.onnx.emit import Emitter
from weft.onnx.exporters import exports


def ordered(to: Emitter, weight: Any, order: tuple[int, ...]) -> Any:
    """The rows of a weight, (gates H, ...), gate by gate in another order, with an axis of directions first."""
    if len(order) == 1:
        return to.unsqueeze(weight, 0)
    gates = to.split(weight, len(order), 0)
    return to.unsqueeze(to.node("Concat", *(gates[i] for i in order), axis=0), 0)


def biases(to: Emitter, b_ih: Any, b_hh: Any, order: tuple[int, ...], x: Any, size: int) -> Any:
    """Both biases as one (1, 2 gates H), None where there is none."""
    if b_ih is None and b_hh is None:
        return None
    zeros = to.constant(np.zeros((1, len(order) * size), x.dtype))
    return to.node("Concat", *(zeros if b is None else ordered(to, b, order) for b in (b_ih, b_hh)), axis=1)


def layer(
    to: Emitter, kind: str, x: Any, states: tuple[Any, ...], w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any,
    order: tuple[int, ...], reverse: bool, **attributes: Any,
) -> Any:  # fmt: skip
    """x (T, N, I), states (N, H) -> outputs (T, N, H) and the last states (N, H)."""
    size = w_hh.first.shape[1]
    made = to.node(
        kind, x, ordered(to, w_ih, order), ordered(to, w_hh, order), biases(to, b_ih, b_hh, order, x, size), None,
        *(to.unsqueeze(s, 0) for s in states), outputs=1 + len(states), hidden_size=size,
        direction="reverse" if reverse else "forward", **attributes,
    )  # fmt: skip
    return to.squeeze(made[0], 1), *(to.squeeze(end, 0) for end in made[1:])


@exports("lstm")
def lstm(to: Emitter, x: Any, h0: Any, c0: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None, *,
         reverse: bool = False) -> Any:  # fmt: skip
    return layer(to, "LSTM", x, (h0, c0), w_ih, w_hh, b_ih, b_hh, (0, 3, 1, 2), reverse)  # i, f, g, o -> i, o, f, g


@exports("gru")
def gru(to: Emitter, x: Any, h0: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None, *,
        reverse: bool = False) -> Any:  # fmt: skip
    return layer(to, "GRU", x, (h0,), w_ih, w_hh, b_ih, b_hh, (1, 0, 2), reverse, linear_before_reset=1)


@exports("rnn")
def rnn(to: Emitter, x: Any, h0: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None, *,
        nonlinearity: str = "tanh", reverse: bool = False) -> Any:  # fmt: skip
    return layer(to, "RNN", x, (h0,), w_ih, w_hh, b_ih, b_hh, (0,), reverse, activations=[nonlinearity.title()])


@exports("lstm_cell")
def lstm_cell(to: Emitter, gates: Any, c: Any) -> Any:
    i, f, g, o = to.split(gates, 4, 1)
    i, f, o = (to.node("Sigmoid", gate) for gate in (i, f, o))
    new = to.node("Add", to.node("Mul", f, c), to.node("Mul", i, to.node("Tanh", g)))
    return to.node("Mul", o, to.node("Tanh", new)), new


@exports("gru_cell")
def gru_cell(to: Emitter, gi: Any, gh: Any, h: Any) -> Any:
    (ri, zi, ni), (rh, zh, nh) = to.split(gi, 3, 1), to.split(gh, 3, 1)
    r, z = (to.node("Sigmoid", to.node("Add", a, b)) for a, b in ((ri, rh), (zi, zh)))
    n = to.node("Tanh", to.node("Add", ni, to.node("Mul", r, nh)))
    kept = to.node("Mul", z, to.node("Sub", h, n))
    return to.node("Add", n, kept)
