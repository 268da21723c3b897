"""Recurrent layers: weft's own where they mean the same, step by step where an option asks for more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import weft
from weft.onnx.operators import operator
from weft.onnx.operators.common import flag, host, like, one_of
from weft.onnx.operators.index import reverse_sequence

DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}

# Functions of (x, alpha, beta), and the defaults of these; None where the function takes none.
ACTIVATIONS: dict[str, tuple[Callable[..., Any], float | None, float | None]] = {
    "relu": (lambda x, a, b: weft.relu(x), None, None),
    "tanh": (lambda x, a, b: weft.tanh(x), None, None),
    "sigmoid": (lambda x, a, b: weft.sigmoid(x), None, None),
    "affine": (lambda x, a, b: x * a + b, 1.0, 0.0),
    "leakyrelu": (lambda x, a, b: weft.leaky_relu(x, negative_slope=a), 0.01, None),
    "thresholdedrelu": (lambda x, a, b: weft.where(weft.greater(x, a), x, weft.zeros_like(x)), 1.0, None),
    "scaledtanh": (lambda x, a, b: weft.tanh(x * b) * a, 1.0, 1.0),
    "hardsigmoid": (lambda x, a, b: weft.clip(x * a + b, 0.0, 1.0), 0.2, 0.5),
    "elu": (lambda x, a, b: weft.elu(x, alpha=a), 1.0, None),
    "softsign": (lambda x, a, b: weft.softsign(x), None, None),
    "softplus": (lambda x, a, b: weft.softplus(x), None, None),
}


def functions(names: Any, alphas: Any, betas: Any, default: list[str], directions: int) -> list[list[Any]]:
    """The activations of each direction; alpha and beta are handed out in order to those that take them."""
    names = list(names) if names else default * directions
    if len(names) != len(default) * directions:
        raise ValueError(f"expected {len(default) * directions} activations, got {names}")
    left = [list(alphas or []), list(betas or [])]
    found = []
    for name in names:
        function, *defaults = ACTIVATIONS[one_of("activations", name.lower(), list(ACTIVATIONS))]
        a, b = (given.pop(0) if given and d is not None else d for given, d in zip(left, defaults))
        found.append(lambda x, f=function, a=a, b=b: f(x, a, b))
    k = len(default)
    return [found[i * k : (i + 1) * k] for i in range(directions)]


def blocks(weight: Any, order: tuple[int, ...], size: int) -> Any:
    """The rows of a weight, `size` for each gate, in another order of gates."""
    return weft.concat([weight[i * size : (i + 1) * size] for i in order])


def layer(
    x: Any, weights: Any, recurrent: Any, bias: Any, lengths: Any, states: list[Any], direction: str, layout: int,
    hidden_size: int | None, gates: int, one: Callable[..., tuple[Any, ...]],
) -> tuple[Any, ...]:  # fmt: skip
    """Both directions of a layer, by `one(k, x, W, R, B, states, lengths)` -> (outputs (T, N, H), *last states)."""
    turns = DIRECTIONS[one_of("direction", direction, list(DIRECTIONS))]
    batch_first = flag("layout", layout)
    size = recurrent.shape[-1]
    if hidden_size is not None and hidden_size != size or len(turns) != weights.shape[0]:
        raise ValueError(
            f"expected hidden_size {size} and {weights.shape[0]} directions, got {hidden_size}, {direction}"
        )
    if weights.shape[1] != gates * size:
        raise ValueError(f"expected W ({len(turns)}, {gates * size}, I), got {weights.shape}")
    if batch_first:
        x = weft.swapaxes(x, 0, 1)
        states = [s if s is None else weft.swapaxes(s, 0, 1) for s in states]
    zeros = weft.zeros((x.shape[1], size), dtype=x.dtype, device=x.device)
    counts = None if lengths is None else host(lengths)
    if counts is not None and (counts == x.shape[0]).all():
        counts = None
    outs, ends = [], []
    for k, backward in enumerate(turns):
        turned = x
        if backward:
            turned = weft.flip(x, axis=0) if counts is None else reverse_sequence(x, like(counts, x))
        first = [zeros if s is None else s[k] for s in states]
        out, *last = one(k, turned, weights[k], recurrent[k], None if bias is None else bias[k], first, counts)
        if backward:
            out = weft.flip(out, axis=0) if counts is None else reverse_sequence(out, like(counts, x))
        outs.append(out)
        ends.append(last)
    y = weft.stack(outs, axis=1)  # (T, D, N, H)
    finals = [weft.stack([end[i] for end in ends]) for i in range(len(ends[0]))]  # (D, N, H)
    if batch_first:
        y, finals = weft.permute_dims(y, (2, 0, 1, 3)), [weft.swapaxes(f, 0, 1) for f in finals]
    return y, *finals


def stepped(x: Any, first: list[Any], counts: Any, step: Callable[..., tuple[Any, ...]]) -> tuple[Any, ...]:
    """Run `step(x[t], *states) -> states`; a sequence that has ended keeps its states, and gives 0."""
    states, outs = first, []
    for t in range(x.shape[0]):
        after = list(step(x[t], *states))
        if counts is not None:
            going = like((t < counts)[:, None], x)
            states = [weft.where(going, new, old) for new, old in zip(after, states)]
            outs.append(weft.where(going, after[0], weft.zeros_like(after[0])))
        else:
            states = after
            outs.append(after[0])
    out = weft.stack(outs) if outs else weft.zeros((0, *first[0].shape), dtype=x.dtype, device=x.device)
    return out, *states


def halves(bias: Any) -> tuple[Any, Any]:
    """The bias of the input and that of the state."""
    return (None, None) if bias is None else (bias[: bias.shape[0] // 2], bias[bias.shape[0] // 2 :])


def held(x: Any, clip: float | None) -> Any:
    return x if clip is None else weft.clip(x, -clip, clip)


@operator("LSTM", 7)
def lstm(
    x: Any, weights: Any, recurrent: Any, bias: Any = None, lengths: Any = None, first_h: Any = None,
    first_c: Any = None, peepholes: Any = None, *, activation_alpha: Any = None, activation_beta: Any = None,
    activations: Any = None, clip: float | None = None, direction: str = "forward", hidden_size: int | None = None,
    input_forget: int = 0, layout: int = 0,
) -> Any:  # fmt: skip
    default = ["Sigmoid", "Tanh", "Tanh"]
    known = functions(activations, activation_alpha, activation_beta, default, weights.shape[0])
    plain = not activations or [a.lower() for a in activations] == [d.lower() for d in default] * weights.shape[0]
    coupled = flag("input_forget", input_forget)

    def one(k: int, x: Any, W: Any, R: Any, B: Any, first: list[Any], counts: Any) -> tuple[Any, ...]:
        size, (b_in, b_state) = R.shape[1], halves(B)
        if plain and clip is None and not coupled and peepholes is None and counts is None:
            order = (0, 2, 3, 1)  # i, o, f, c here; i, f, c, o there
            W, R = blocks(W, order, size), blocks(R, order, size)
            return weft.lstm(x, *first, W, R, *(b if b is None else blocks(b, order, size) for b in (b_in, b_state)))
        f, g, h = known[k]
        p_i, p_o, p_f = (None,) * 3 if peepholes is None else (
            peepholes[k][i * size : (i + 1) * size] for i in range(3))  # fmt: skip

        def step(x: Any, hidden: Any, cell: Any) -> tuple[Any, Any]:
            gates = weft.linear(x, W, b_in) + weft.linear(hidden, R, b_state)
            i, o, forget, c = (gates[:, n * size : (n + 1) * size] for n in range(4))
            i = f(held(i if p_i is None else i + p_i * cell, clip))
            forget = 1 - i if coupled else f(held(forget if p_f is None else forget + p_f * cell, clip))
            cell = forget * cell + i * g(held(c, clip))
            o = f(held(o if p_o is None else o + p_o * cell, clip))
            return o * h(cell), cell

        return stepped(x, first, counts, step)

    return layer(x, weights, recurrent, bias, lengths, [first_h, first_c], direction, layout, hidden_size, 4, one)


@operator("GRU", 7)
def gru(
    x: Any, weights: Any, recurrent: Any, bias: Any = None, lengths: Any = None, first_h: Any = None, *,
    activation_alpha: Any = None, activation_beta: Any = None, activations: Any = None, clip: float | None = None,
    direction: str = "forward", hidden_size: int | None = None, layout: int = 0, linear_before_reset: int = 0,
) -> Any:  # fmt: skip
    default = ["Sigmoid", "Tanh"]
    known = functions(activations, activation_alpha, activation_beta, default, weights.shape[0])
    plain = not activations or [a.lower() for a in activations] == [d.lower() for d in default] * weights.shape[0]
    after = flag("linear_before_reset", linear_before_reset)

    def one(k: int, x: Any, W: Any, R: Any, B: Any, first: list[Any], counts: Any) -> tuple[Any, ...]:
        size, (b_in, b_state) = R.shape[1], halves(B)
        if plain and clip is None and after and counts is None:
            order = (1, 0, 2)  # z, r, h here; r, z, h there
            W, R = blocks(W, order, size), blocks(R, order, size)
            return weft.gru(x, *first, W, R, *(b if b is None else blocks(b, order, size) for b in (b_in, b_state)))
        f, g = known[k]

        def step(x: Any, hidden: Any) -> tuple[Any]:
            into, own = weft.linear(x, W, b_in), weft.linear(hidden, R, b_state)
            z = f(held(into[:, :size] + own[:, :size], clip))
            r = f(held(into[:, size : 2 * size] + own[:, size : 2 * size], clip))
            if after:
                inner = r * own[:, 2 * size :]
            else:
                inner = weft.linear(r * hidden, R[2 * size :], None if b_state is None else b_state[2 * size :])
            new = g(held(into[:, 2 * size :] + inner, clip))
            return ((1 - z) * new + z * hidden,)

        return stepped(x, first, counts, step)

    return layer(x, weights, recurrent, bias, lengths, [first_h], direction, layout, hidden_size, 3, one)


@operator("RNN", 7)
def rnn(
    x: Any, weights: Any, recurrent: Any, bias: Any = None, lengths: Any = None, first_h: Any = None, *,
    activation_alpha: Any = None, activation_beta: Any = None, activations: Any = None, clip: float | None = None,
    direction: str = "forward", hidden_size: int | None = None, layout: int = 0,
) -> Any:  # fmt: skip
    known = functions(activations, activation_alpha, activation_beta, ["Tanh"], weights.shape[0])

    def one(k: int, x: Any, W: Any, R: Any, B: Any, first: list[Any], counts: Any) -> tuple[Any, ...]:
        (f,), (b_in, b_state) = known[k], halves(B)
        name = (activations[k] if activations else "Tanh").lower()
        if name in ("tanh", "relu") and clip is None and counts is None:
            return weft.rnn(x, *first, W, R, b_in, b_state, nonlinearity=name)

        def step(x: Any, hidden: Any) -> tuple[Any]:
            return (f(held(weft.linear(x, W, b_in) + weft.linear(hidden, R, b_state), clip)),)

        return stepped(x, first, counts, step)

    return layer(x, weights, recurrent, bias, lengths, [first_h], direction, layout, hidden_size, 1, one)
