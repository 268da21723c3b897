"""Recurrent layers against loops over NumPy, forwards, backwards and in reverse."""

import numpy as np
import pytest

import weft
from opcheck import Case, checks
from weft import ops


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def run(x, step, states, reverse):
    """Outputs of `step(x_t, states) -> states` over time, and the last states."""
    order = range(len(x))[::-1] if reverse else range(len(x))
    out = np.zeros((*x.shape[:2], states[0].shape[1]))
    for t in order:
        states = step(x[t], states)
        out[t] = states[0]
    return (out, *states)


def lstm(x, h0, c0, w_ih, w_hh, b_ih=0.0, b_hh=0.0, reverse=False):
    def step(x, states):
        h, c = states
        i, f, g, o = np.split(x @ w_ih.T + b_ih + h @ w_hh.T + b_hh, 4, 1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(c), c

    return run(x, step, (h0, c0), reverse)


def gru(x, h0, w_ih, w_hh, b_ih=0.0, b_hh=0.0, reverse=False):
    def step(x, states):
        (h,) = states
        (ir, iz, i_n), (hr, hz, hn) = np.split(x @ w_ih.T + b_ih, 3, 1), np.split(h @ w_hh.T + b_hh, 3, 1)
        z = sigmoid(iz + hz)
        return ((1 - z) * np.tanh(i_n + sigmoid(ir + hr) * hn) + z * h,)

    return run(x, step, (h0,), reverse)


def rnn(x, h0, w_ih, w_hh, b_ih=0.0, b_hh=0.0, nonlinearity="tanh", reverse=False):
    f = np.tanh if nonlinearity == "tanh" else lambda v: np.maximum(v, 0)
    return run(x, lambda x, s: (f(x @ w_ih.T + b_ih + s[0] @ w_hh.T + b_hh),), (h0,), reverse)


def lstm_cell(gates, c):
    i, f, g, o = np.split(gates, 4, 1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru_cell(gi, gh, h):
    (ir, iz, i_n), (hr, hz, hn) = np.split(gi, 3, 1), np.split(gh, 3, 1)
    z = sigmoid(iz + hz)
    return (1 - z) * np.tanh(i_n + sigmoid(ir + hr) * hn) + z * h


T, N, INPUTS, H = 4, 2, 3, 2
X, STATE = (T, N, INPUTS), (N, H)


def weights(gates):
    return (gates * H, INPUTS), (gates * H, H), (gates * H,), (gates * H,)


CASES = [
    Case(ops.lstm_cell, (3, 8), (3, 2), oracle=lstm_cell, order=3),
    Case(ops.gru_cell, (3, 6), (3, 6), (3, 2), oracle=gru_cell, order=3),
    Case(ops.lstm, X, STATE, STATE, *weights(4), oracle=lstm, half=False, why="rounding adds up over the steps"),
    Case(ops.lstm, X, STATE, STATE, *weights(4), params={"reverse": True}, oracle=lstm, half=False),
    Case(ops.lstm, X, STATE, STATE, *weights(4)[:2], oracle=lstm, half=False),
    Case(ops.gru, X, STATE, *weights(3), oracle=gru, half=False),
    Case(ops.gru, X, STATE, *weights(3), params={"reverse": True}, oracle=gru, half=False),
    Case(ops.gru, X, STATE, *weights(3)[:2], oracle=gru, half=False),
    Case(ops.rnn, X, STATE, *weights(1), oracle=rnn, half=False),
    Case(ops.rnn, X, STATE, *weights(1), params={"reverse": True}, oracle=rnn, half=False),
    Case(ops.rnn, X, STATE, *weights(1)[:2], params={"nonlinearity": "relu"}, oracle=rnn, half=False, order=1),
]
globals().update(checks(CASES))


@pytest.mark.parametrize(("op", "gates", "states"), [(ops.lstm, 4, 2), (ops.gru, 3, 1), (ops.rnn, 1, 1)])
def test_each_output_alone_has_a_gradient(op, gates, states):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s) for s in (X, *[STATE] * states, *weights(gates))]
    for k in range(1 + states):
        tensors = [weft.Tensor(a, requires_grad=True) for a in arrays]
        op(*tensors)[k].sum().backward()
        for i, (t, a) in enumerate(zip(tensors, arrays)):
            moved = rng.standard_normal(a.shape)
            ends = []
            for e in (1e-6, -1e-6):
                with weft.no_grad():
                    ends.append(op(*[b + e * moved if i == j else b for j, b in enumerate(arrays)])[k].sum().item())
            assert (t.grad.numpy() * moved).sum() == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize(("op", "gates", "states"), [(ops.lstm, 4, 2), (ops.gru, 3, 1), (ops.rnn, 1, 1)])
def test_an_empty_sequence_returns_its_states(op, gates, states):
    rng = np.random.default_rng(0)
    shapes = ((0, N, INPUTS), *[STATE] * states, *weights(gates))
    tensors = [weft.Tensor(rng.standard_normal(s), requires_grad=True) for s in shapes]
    out, *last = op(*tensors)
    assert out.shape == (0, N, H)
    for state, start in zip(last, tensors[1:]):
        np.testing.assert_array_equal(state.numpy(), start.numpy())
    last[0].sum().backward()
    np.testing.assert_array_equal(tensors[1].grad.numpy(), np.ones(STATE))


def test_shapes_are_checked():
    x, h, w = (weft.Tensor(np.zeros(s, np.float32)) for s in (X, STATE, (H, INPUTS)))
    square = weft.Tensor(np.zeros((H, H), np.float32))
    with pytest.raises(ValueError, match=r"rnn: expected a sequence \(T, N, I\), got \(2, 2\)"):
        ops.rnn(h, h, w, square)
    with pytest.raises(ValueError, match=r"rnn: expected w_ih \(2, 3\) to match x \(4, 2, 3\), got \(2, 2\)"):
        ops.rnn(x, h, square, square)
    with pytest.raises(ValueError, match=r"lstm: expected w_hh \(4 \* H, H\), got \(2, 2\)"):
        ops.lstm(x, h, h, w, square)
    with pytest.raises(ValueError, match=r"rnn: expected a state \(2, 2\) for x \(4, 2, 3\), got \(2, 3\)"):
        ops.rnn(x, w, w, square)
    with pytest.raises(TypeError, match="rnn: expected x, states and weights of one dtype, got float64 and float32"):
        ops.rnn(weft.Tensor(np.zeros(X)), h, w, square)
    with pytest.raises(ValueError, match="rnn: expected nonlinearity 'tanh' or 'relu', got 'gelu'"):
        ops.rnn(x, h, w, square, nonlinearity="gelu")
