"""Recurrent layers and their cells."""

from __future__ import annotations

import math
from typing import Any

from weft import ops
from weft.nn import functional as F
from weft.nn import init
from weft.nn.module import Module
from weft.nn.parameter import Parameter


class Recurrent(Module):
    """What the recurrent layers share.

    input (L, N, input_size), or (N, L, input_size) with batch_first, or (L, input_size) -> output of the same layout
    with D hidden_size features, and the last state (D num_layers, N, hidden_size); D is 2 where bidirectional,
    layer k and direction d are at D k + d. hx: the first state, zeros by default. dropout: between layers, in training.

    Parameters of layer k, "_reverse" added for the second direction: weight_ih_l[k] (gates hidden_size, inputs),
    weight_hh_l[k] (gates hidden_size, hidden_size), bias_ih_l[k], bias_hh_l[k], from U(-b, b), b = hidden_size^-1/2.
    """

    gates = 1
    states = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        dtype: Any = None,
    ):
        if min(input_size, hidden_size, num_layers) < 1:
            raise ValueError(
                f"{type(self).__name__}: expected input_size, hidden_size and num_layers >= 1, "
                f"got {input_size}, {hidden_size} and {num_layers}"
            )
        if not 0 <= dropout <= 1:
            raise ValueError(f"{type(self).__name__}: expected dropout in [0, 1], got {dropout}")
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout, self.bidirectional = bias, batch_first, dropout, bidirectional
        rows = self.gates * hidden_size
        self._names = []  # of the parameters of each layer and direction
        for layer in range(num_layers):
            inputs = input_size if layer == 0 else hidden_size * self.directions
            for suffix in ("", "_reverse")[: self.directions]:
                shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, inputs), "weight_hh": (rows, hidden_size)}
                shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)} if bias else {}
                names = [f"{name}_l{layer}{suffix}" for name in shapes]
                self._names.append(names)
                for name, shape in zip(names, shapes.values()):
                    setattr(self, name, Parameter(init.empty(shape, dtype)))
        uniform_by_hidden(self, hidden_size)

    @property
    def directions(self) -> int:
        return 2 if self.bidirectional else 1

    def run(self, x: Any, states: tuple[Any, ...], weights: list[Any], reverse: bool) -> tuple[Any, ...]:
        """One direction of one layer: x (L, N, I), states (N, H) -> output (L, N, H), last states."""
        raise NotImplementedError

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        name = type(self).__name__
        if input.ndim not in (2, 3) or input.shape[-1] != self.input_size:
            wanted = ("(N, L, " if self.batch_first else "(L, N, ") + f"{self.input_size})"
            raise ValueError(f"{name}: expected input {wanted} or (L, {self.input_size}), got {input.shape}")
        batched = input.ndim == 3
        x = input if batched else ops.expand_dims(input, axis=1)
        if batched and self.batch_first:
            x = ops.swapaxes(x, 0, 1)
        first = self.first_states(x, hx, batched)
        last: list[tuple[Any, ...]] = []
        for layer in range(self.num_layers):
            outs = []
            for d in range(self.directions):
                k = layer * self.directions + d
                weights = [getattr(self, n) for n in self._names[k]]
                out, *after = self.run(x, first[k], weights, d == 1)
                outs.append(out)
                last.append(tuple(after))
            x = outs[0] if len(outs) == 1 else ops.concat(outs, axis=-1)
            if self.dropout and layer < self.num_layers - 1:
                x = F.dropout(x, self.dropout, self.training)
        ends = tuple(ops.stack([states[i] for states in last]) for i in range(self.states))
        if not batched:
            x, ends = ops.squeeze(x, axis=1), tuple(ops.squeeze(h, axis=1) for h in ends)
        elif self.batch_first:
            x = ops.swapaxes(x, 0, 1)
        return x, ends[0] if self.states == 1 else ends

    def first_states(self, x: Any, hx: Any, batched: bool) -> list[tuple[Any, ...]]:
        """The states (N, H) that each layer and direction starts from."""
        n, N = self.num_layers * self.directions, x.shape[1]
        if hx is None:
            zeros = ops.zeros((N, self.hidden_size), dtype=x.dtype, device=x.device)
            return [(zeros,) * self.states] * n
        given = (hx,) if self.states == 1 else tuple(hx)
        shape = (n, N, self.hidden_size) if batched else (n, self.hidden_size)
        if len(given) != self.states or any(h.shape != shape for h in given):
            shapes = " and ".join(str(h.shape) for h in given)
            raise ValueError(f"{type(self).__name__}: expected {self.states} of shape {shape} as hx, got {shapes}")
        if not batched:
            given = tuple(ops.expand_dims(h, axis=1) for h in given)
        return [tuple(h[k] for h in given) for k in range(n)]

    def hint(self, input: Any, hx: Any = None) -> str | None:
        if input.ndim == 3 and input.shape[-1] != self.input_size:
            return f"input_size={self.input_size} must be the input's last dimension"
        return None

    def extra_repr(self) -> str:
        parts = [f"{self.input_size}, {self.hidden_size}", f"num_layers={self.num_layers}" * (self.num_layers > 1)]
        parts += [f"{n}=True" for n in ("batch_first", "bidirectional") if getattr(self, n)]
        parts += [f"dropout={self.dropout}"] * bool(self.dropout) + ["bias=False"] * (not self.bias)
        return ", ".join(filter(None, parts))


class RNN(Recurrent):
    """h = f(weight_ih x + bias_ih + weight_hh h + bias_hh) over a sequence.  Elman, 1990.

    nonlinearity: "tanh" or "relu". Shapes: (L, N, I) -> (L, N, D H), (D num_layers, N, H); see Recurrent.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        dtype: Any = None,
    ):
        check_nonlinearity("RNN", nonlinearity)
        self.nonlinearity = nonlinearity
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype=dtype)

    def run(self, x: Any, states: tuple[Any, ...], weights: list[Any], reverse: bool) -> tuple[Any, ...]:
        return ops.rnn(x, *states, *weights, nonlinearity=self.nonlinearity, reverse=reverse)


class LSTM(Recurrent):
    """Long short-term memory over a sequence; gates i, f, g, o.  Hochreiter and Schmidhuber, 1997.

    (L, N, I), (h_0, c_0) -> (L, N, D H), (h_n, c_n) with states (D num_layers, N, H); see Recurrent.

    >>> import weft
    >>> out, (h, c) = LSTM(3, 5, batch_first=True)(weft.ones((2, 7, 3)))
    >>> out.shape, h.shape
    ((2, 7, 5), (1, 2, 5))
    """

    gates = 4
    states = 2

    def run(self, x: Any, states: tuple[Any, ...], weights: list[Any], reverse: bool) -> tuple[Any, ...]:
        return ops.lstm(x, *states, *weights, reverse=reverse)


class GRU(Recurrent):
    """Gated recurrent units over a sequence; gates r, z, n.  Cho et al., 2014.

    Shapes: (L, N, I) -> (L, N, D H), (D num_layers, N, H); see Recurrent.
    """

    gates = 3

    def run(self, x: Any, states: tuple[Any, ...], weights: list[Any], reverse: bool) -> tuple[Any, ...]:
        return ops.gru(x, *states, *weights, reverse=reverse)


class Cell(Module):
    """One step of a recurrent layer: (N, input_size), state (N, hidden_size) -> new state; N optional, state zeros."""

    gates = 1

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, *, dtype: Any = None):
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        rows = self.gates * hidden_size
        self.weight_ih = Parameter(init.empty((rows, input_size), dtype))
        self.weight_hh = Parameter(init.empty((rows, hidden_size), dtype))
        self.bias_ih = Parameter(init.empty((rows,), dtype)) if bias else None
        self.bias_hh = Parameter(init.empty((rows,), dtype)) if bias else None
        uniform_by_hidden(self, hidden_size)

    def state(self, x: Any, hx: Any) -> Any:
        return ops.zeros((*x.shape[:-1], self.hidden_size), dtype=x.dtype, device=x.device) if hx is None else hx

    def inputs(self, x: Any) -> Any:
        return F.linear(x, self.weight_ih, self.bias_ih)

    def recurrent(self, h: Any) -> Any:
        return F.linear(h, self.weight_hh, self.bias_hh)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + (", bias=False" if not self.bias else "")


class RNNCell(Cell):
    """h' = tanh (or relu) of weight_ih x + bias_ih + weight_hh h + bias_hh."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        *,
        dtype: Any = None,
    ):
        check_nonlinearity("RNNCell", nonlinearity)
        self.nonlinearity = nonlinearity
        super().__init__(input_size, hidden_size, bias, dtype=dtype)

    def forward(self, input: Any, hx: Any = None) -> Any:
        total = self.inputs(input) + self.recurrent(self.state(input, hx))
        return F.tanh(total) if self.nonlinearity == "tanh" else F.relu(total)


class LSTMCell(Cell):
    """(N, input_size), (h, c) -> (h', c'), each (N, hidden_size)."""

    gates = 4

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        h, c = (self.state(input, None),) * 2 if hx is None else hx
        return ops.lstm_cell(self.inputs(input) + self.recurrent(h), c)


class GRUCell(Cell):
    """(N, input_size), h (N, hidden_size) -> h'."""

    gates = 3

    def forward(self, input: Any, hx: Any = None) -> Any:
        h = self.state(input, hx)
        return ops.gru_cell(self.inputs(input), self.recurrent(h), h)


def uniform_by_hidden(module: Module, hidden_size: int) -> None:
    bound = 1 / math.sqrt(hidden_size)
    for parameter in module.parameters():
        init.uniform_(parameter, -bound, bound)


def check_nonlinearity(name: str, nonlinearity: str) -> None:
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f"{name}: expected nonlinearity tanh or relu, got {nonlinearity!r}")
