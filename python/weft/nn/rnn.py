"""Recurrent layers and their cells."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from weft import ops
from weft.nn import functional as F
from weft.nn import init
from weft.nn.module import Module
from weft.nn.parameter import Parameter
from weft.nn.utils.rnn import PackedSequence


class Recurrent(Module):
    """What the recurrent layers share.

    input (L, N, input_size), or (N, L, input_size) with batch_first, or (L, input_size) -> output of the same layout
    with D hidden_size features, and the last state (D num_layers, N, hidden_size); D is 2 where bidirectional,
    layer k and direction d are at D k + d. hx: the first state, zeros by default. dropout: between layers, in training.
    A PackedSequence (`nn.utils.rnn`) gives one, and each sequence's state after its own last step.

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
        self._names = []  # of the parameters of each layer and direction
        for layer in range(num_layers):
            inputs = input_size if layer == 0 else self.state_sizes()[0] * self.directions
            for suffix in ("", "_reverse")[: self.directions]:
                shapes = self.shapes(inputs)
                names = [f"{name}_l{layer}{suffix}" for name in shapes]
                self._names.append(names)
                for name, shape in zip(names, shapes.values()):
                    setattr(self, name, Parameter(init.empty(shape, dtype)))
        uniform_by_hidden(self, hidden_size)

    def shapes(self, inputs: int) -> dict[str, tuple[int, ...]]:
        """The parameters of one layer and direction, as its op takes them."""
        rows = self.gates * self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, inputs), "weight_hh": (rows, self.state_sizes()[0])}
        return shapes | {"bias_ih": (rows,), "bias_hh": (rows,)} if self.bias else shapes

    @property
    def directions(self) -> int:
        return 2 if self.bidirectional else 1

    def run(self, x: Any, states: tuple[Any, ...], weights: list[Any], reverse: bool) -> tuple[Any, ...]:
        """One direction of one layer: x (L, N, I), states (N, H) -> output (L, N, H), last states."""
        raise NotImplementedError(f"{type(self).__name__}: expected a method `run`, got none")

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        if isinstance(input, PackedSequence):
            return self.forward_packed(input, hx)
        name = type(self).__name__
        if input.ndim not in (2, 3) or input.shape[-1] != self.input_size:
            wanted = ("(N, L, " if self.batch_first else "(L, N, ") + f"{self.input_size})"
            raise ValueError(f"{name}: expected input {wanted} or (L, {self.input_size}), got {input.shape}")
        batched = input.ndim == 3
        x = input if batched else ops.expand_dims(input, axis=1)
        if batched and self.batch_first:
            x = ops.swapaxes(x, 0, 1)
        x, ends = self.layers(x, self.first_states(x, x.shape[1], hx, batched), self.run)
        if not batched:
            x, ends = ops.squeeze(x, axis=1), tuple(ops.squeeze(h, axis=1) for h in ends)
        elif self.batch_first:
            x = ops.swapaxes(x, 0, 1)
        return x, ends[0] if self.states == 1 else ends

    def forward_packed(self, input: PackedSequence, hx: Any) -> tuple[PackedSequence, Any]:
        """The same over sequences without padding: as many steps at once as the number of sequences stays the same."""
        data, sizes = input.data, input.batch_sizes.numpy()
        if data.ndim != 2 or data.shape[1] != self.input_size:
            raise ValueError(
                f"{type(self).__name__}: expected packed data (steps, {self.input_size}), got {data.shape}"
            )
        if hx is not None and input.sorted_indices is not None:
            hx = (hx,) if self.states == 1 else tuple(hx)
            hx = tuple(ops.take(h, input.sorted_indices, axis=1) for h in hx)
            hx = hx[0] if self.states == 1 else hx
        first = self.first_states(data, int(sizes[0]), hx, True)
        stretches = constant_stretches(sizes)

        def run(x: Any, states: tuple[Any, ...], weights: list[Any], reverse: bool) -> tuple[Any, ...]:
            return self.run_packed(x, stretches, states, weights, reverse)

        data, ends = self.layers(data, first, run)
        if input.unsorted_indices is not None:
            ends = tuple(ops.take(h, input.unsorted_indices, axis=1) for h in ends)
        return input._replace(data=data), ends[0] if self.states == 1 else ends

    def run_packed(
        self, x: Any, stretches: list[tuple[int, int, int]], states: tuple[Any, ...], weights: list[Any], reverse: bool
    ) -> tuple[Any, ...]:
        """One direction of one layer over packed x (steps, I): output (steps, H), last states."""
        outs: list[Any] = []
        ended: list[tuple[Any, ...]] = []  # states of sequences that are over, or in reverse of all that have begun
        now = tuple(h[: stretches[-1][2]] for h in states) if reverse else states
        for start, steps, n in reversed(stretches) if reverse else stretches:
            there = now[0].shape[0]
            if n < there:  # the shortest sequences ended
                ended.append(tuple(h[n:] for h in now))
                now = tuple(h[:n] for h in now)
            elif n > there:  # and begin, from behind
                now = tuple(ops.concat([h, h0[there:n]]) for h, h0 in zip(now, states))
            block = ops.reshape(x[start : start + steps * n], (steps, n, x.shape[1]))
            out, *after = self.run(block, now, weights, reverse)
            now = tuple(after)
            outs.append(ops.reshape(out, (steps * n, out.shape[2])))
        if ended:
            now = tuple(ops.concat(list(parts)) for parts in zip(now, *reversed(ended)))
        outs = outs[::-1] if reverse else outs
        return (outs[0] if len(outs) == 1 else ops.concat(outs), *now)

    def layers(self, x: Any, first: list[tuple[Any, ...]], run: Any) -> tuple[Any, tuple[Any, ...]]:
        """All layers and directions, each by `run`: output, and the last states (D num_layers, N, H)."""
        last: list[tuple[Any, ...]] = []
        for layer in range(self.num_layers):
            outs = []
            for d in range(self.directions):
                k = layer * self.directions + d
                weights = [getattr(self, n) for n in self._names[k]]
                out, *after = run(x, first[k], weights, d == 1)
                outs.append(out)
                last.append(tuple(after))
            x = outs[0] if len(outs) == 1 else ops.concat(outs, axis=-1)
            if self.dropout and layer < self.num_layers - 1:
                x = F.dropout(x, self.dropout, self.training)
        return x, tuple(ops.stack([states[i] for states in last]) for i in range(self.states))

    def state_sizes(self) -> tuple[int, ...]:
        """The features of each state."""
        return (self.hidden_size,) * self.states

    def first_states(self, x: Any, N: int, hx: Any, batched: bool) -> list[tuple[Any, ...]]:
        """The states (N, H) that each layer and direction starts from."""
        n, sizes = self.num_layers * self.directions, self.state_sizes()
        if hx is None:
            zeros = tuple(ops.zeros((N, size), dtype=x.dtype, device=x.device) for size in sizes)
            return [zeros] * n
        given = (hx,) if self.states == 1 else tuple(hx)
        shapes = [(n, N, size) if batched else (n, size) for size in sizes]
        if [tuple(h.shape) for h in given] != shapes:
            wanted, got = (" and ".join(map(str, s)) for s in (shapes, [tuple(h.shape) for h in given]))
            raise ValueError(f"{type(self).__name__}: expected hx of shape {wanted}, got {got}")
        if not batched:
            given = tuple(ops.expand_dims(h, axis=1) for h in given)
        return [tuple(h[k] for h in given) for k in range(n)]

    def hint(self, input: Any, hx: Any = None) -> str | None:
        if not isinstance(input, PackedSequence) and input.ndim == 3 and input.shape[-1] != self.input_size:
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

    >>> out, last = nn.RNN(3, 4, batch_first=True)(weft.ones((2, 5, 3)))
    >>> out.shape, last.shape
    ((2, 5, 4), (1, 2, 4))
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
    proj_size: h, and so the output, has that many features instead, by weight_hr_l[k] (proj_size, H).  Sak et al.,
    2014.

    >>> import weft
    >>> out, (h, c) = LSTM(3, 5, batch_first=True)(weft.ones((2, 7, 3)))
    >>> out.shape, h.shape
    ((2, 7, 5), (1, 2, 5))
    """

    gates = 4
    states = 2

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        *,
        dtype: Any = None,
    ):
        if not 0 <= proj_size < max(hidden_size, 1):
            raise ValueError(f"LSTM: expected proj_size in [0, {hidden_size}), got {proj_size}")
        self.proj_size = proj_size
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype=dtype)

    def shapes(self, inputs: int) -> dict[str, tuple[int, ...]]:
        shapes = super().shapes(inputs)
        return shapes | {"weight_hr": (self.proj_size, self.hidden_size)} if self.proj_size else shapes

    def state_sizes(self) -> tuple[int, ...]:
        return (self.proj_size or self.hidden_size, self.hidden_size)

    def run(self, x: Any, states: tuple[Any, ...], weights: list[Any], reverse: bool) -> tuple[Any, ...]:
        if not self.proj_size:
            return ops.lstm(x, *states, *weights, reverse=reverse)
        w_ih, w_hh, *biases, w_hr = weights
        inputs = F.linear(x, w_ih, biases[0] + biases[1] if biases else None)  # (L, N, 4 H)
        (h, c), outs = states, {}
        for t in reversed(range(x.shape[0])) if reverse else range(x.shape[0]):
            h, c = ops.lstm_cell(inputs[t] + F.linear(h, w_hh), c)
            outs[t] = h = F.linear(h, w_hr)
        return ops.stack([outs[t] for t in range(x.shape[0])]), h, c


class GRU(Recurrent):
    """Gated recurrent units over a sequence; gates r, z, n.  Cho et al., 2014.

    Shapes: (L, N, I) -> (L, N, D H), (D num_layers, N, H); see Recurrent.

    >>> out, last = nn.GRU(3, 4, batch_first=True)(weft.ones((2, 5, 3)))
    >>> out.shape, last.shape
    ((2, 5, 4), (1, 2, 4))
    """

    gates = 3

    def run(self, x: Any, states: tuple[Any, ...], weights: list[Any], reverse: bool) -> tuple[Any, ...]:
        return ops.gru(x, *states, *weights, reverse=reverse)


def constant_stretches(sizes: Any) -> list[tuple[int, int, int]]:
    """(first row, steps, sequences) of each run of steps at which a packed batch has as many sequences."""
    edges = [0, *(np.flatnonzero(np.diff(sizes)) + 1).tolist(), len(sizes)]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    return [(int(starts[a]), b - a, int(sizes[a])) for a, b in zip(edges, edges[1:])]


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
    """h' = tanh (or relu) of weight_ih x + bias_ih + weight_hh h + bias_hh.

    >>> nn.RNNCell(3, 4)(weft.ones((2, 3))).shape
    (2, 4)
    """

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
    """(N, input_size), (h, c) -> (h', c'), each (N, hidden_size).

    >>> h, c = nn.LSTMCell(3, 4)(weft.ones((2, 3)))
    >>> h.shape, c.shape
    ((2, 4), (2, 4))
    """

    gates = 4

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        h, c = (self.state(input, None),) * 2 if hx is None else hx
        return ops.lstm_cell(self.inputs(input) + self.recurrent(h), c)


class GRUCell(Cell):
    """(N, input_size), h (N, hidden_size) -> h'.

    >>> nn.GRUCell(3, 4)(weft.ones((2, 3))).shape
    (2, 4)
    """

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
