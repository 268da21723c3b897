"""Recurrent layers: a cell over a sequence.

With the standard activations, no recurrent dropout and no mask but that of padding at the end, a whole SimpleRNN, LSTM
or GRU is one primitive of Weft; otherwise its cell runs step by step.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from weft import ops
from weft.backends.device import beside, on_host
from weft.keras import registry
from weft.keras.layer import Layer
from weft.keras.layers.cells import Cell, GRUCell, LSTMCell, SimpleRNNCell, StackedRNNCells
from weft.keras.layers.core import Wrapper
from weft.keras.symbols import leaves
from weft.nn import functional as F


class RNN(Layer):
    """A cell, or a list of them, over sequences.  (N, T, F) -> (N, units), or (N, T, units) with return_sequences.

    return_state: a list of the output and the last states. go_backwards: from the last step to the first, the output in
    that order. stateful: each batch begins with the states that the one before ended with. A masked step leaves states
    and output as they were (zero_output_for_mask: output 0).

    >>> from weft import keras
    >>> keras.layers.RNN(keras.layers.LSTMCell(4), return_sequences=True)(np.ones((2, 5, 3), "f")).shape
    (2, 5, 4)
    """

    supports_masking = True

    def __init__(
        self, cell: Any, return_sequences: bool = False, return_state: bool = False, go_backwards: bool = False,
        stateful: bool = False, unroll: bool = False, zero_output_for_mask: bool = False, **kwargs: Any,
    ):  # fmt: skip
        super().__init__(**kwargs)
        cell = StackedRNNCells(cell) if isinstance(cell, (list, tuple)) else cell
        if not hasattr(cell, "call") or not hasattr(cell, "state_size"):
            raise TypeError(f"RNN: expected a cell with `call` and `state_size`, got {type(cell).__name__}")
        self.cell = cell
        self.return_sequences, self.return_state, self.go_backwards = return_sequences, return_state, go_backwards
        self.stateful, self.zero_output_for_mask = stateful, zero_output_for_mask
        self.states: Any = None

    def build(self, input_shape: Any, initial_state_shape: Any = None) -> None:
        if len(input_shape) != 3 or input_shape[-1] is None:
            raise ValueError(f"{type(self).__name__} {self.name!r}: expected input (N, T, features), got {input_shape}")
        self.build_child(self.cell, (input_shape[0], input_shape[2]))
        self.built = True

    def reset_state(self) -> None:
        """Begin the next batch with zeros."""
        self.states = None

    def begin(self, N: int, initial_state: Any) -> list[Any]:
        if initial_state is None and self.stateful and self.states is not None:
            return list(self.states)
        if initial_state is not None:
            return list(leaves(initial_state))
        if hasattr(self.cell, "get_initial_state"):
            return list(leaves(self.cell.get_initial_state(N)))
        weight = self.cell.weights[0]
        return [ops.zeros((N, n), dtype=weight.dtype, device=weight.device) for n in leaves(self.cell.state_size)]

    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None, training: Any = None) -> Any:
        if isinstance(sequences, (list, tuple)):
            sequences, initial_state = sequences[0], list(sequences[1:])
        mask = next(leaves(mask), None)
        x = ops.swapaxes(sequences, 0, 1)  # (T, N, F)
        if x.shape[0] == 0:
            raise ValueError(f"{self.name}: expected at least one step, got {tuple(sequences.shape)}")
        states = self.begin(x.shape[1], initial_state)
        drops = getattr(self.cell, "drops", None)
        if isinstance(self.cell, Cell):
            self.cell.drops = {}
        try:
            done = self.at_once(x, states, mask, training)
            outs, last = self.step_by_step(x, states, mask, training) if done is None else done
        finally:
            if isinstance(self.cell, Cell):
                self.cell.drops = drops
        if self.stateful:
            self.states = tuple(s.detach() for s in last)
        out = ops.swapaxes(outs, 0, 1) if self.return_sequences else outs[-1]
        return [out, *last] if self.return_state else out

    def at_once(self, x: Any, states: Any, mask: Any, training: Any) -> Any:
        """Outputs (T, N, units) and last states by the cell's primitive; None where it does not fit."""
        cell = self.cell
        if not isinstance(cell, Cell) or (training and cell.recurrent_dropout):
            return None
        sizes = None
        if mask is not None:
            if self.return_state or self.stateful or self.go_backwards or self.zero_output_for_mask:
                return None
            sizes = right_padded(mask)
            if sizes is None:
                return None
        if training and cell.dropout:
            x = x * F.dropout(ops.ones((1, *x.shape[1:]), dtype=x.dtype, device=x.device), cell.dropout)
        done = cell.fused(x, states, self.go_backwards)
        if done is None:
            return None
        outs, last = done
        if sizes is not None:  # behind its end a sequence repeats its last output
            T, N = outs.shape[:2]
            steps = np.minimum(np.arange(T)[:, None], np.maximum(sizes - 1, 0))  # (T, N)
            rows = ops.reshape(outs, (T * N, outs.shape[2]))
            outs = ops.reshape(ops.take(rows, beside((steps * N + np.arange(N)).reshape(-1), rows), axis=0), outs.shape)
            if not sizes.all():
                outs = outs * beside((sizes > 0).astype(outs.dtype)[:, None], outs)
        return (ops.flip(outs, axis=0) if self.go_backwards else outs), last

    def step_by_step(self, x: Any, states: Any, mask: Any, training: Any) -> Any:
        outs: list[Any] = []
        order = range(x.shape[0])
        training = {"training": training} if "training" in takes(self.cell) else {}
        for t in reversed(order) if self.go_backwards else order:
            out, new = self.cell(x[t], states, **training)
            new = list(leaves(new))
            if mask is not None:
                counts = ops.reshape(mask[:, t], (-1, *(1,) * (out.ndim - 1)))
                before = outs[-1] if outs and not self.zero_output_for_mask else ops.zeros_like(out)
                out = ops.where(counts, out, before)
                new = [ops.where(counts, a, b) for a, b in zip(new, states)]
            outs.append(out)
            states = new
        return ops.stack(outs), states

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        mask = next(leaves(previous_mask), None) if self.return_sequences else None
        return [mask, *[None for _ in leaves(self.cell.state_size)]] if self.return_state else mask

    def compute_output_shape(self, input_shape: Any, initial_state_shape: Any = None) -> Any:
        shape = input_shape[0] if isinstance(input_shape[0], (list, tuple)) else input_shape
        sizes = list(leaves(self.cell.state_size))
        units = getattr(self.cell, "output_size", sizes[0])
        out = (*shape[:2], units) if self.return_sequences else (shape[0], units)
        return [out, *[(shape[0], n) for n in sizes]] if self.return_state else out


def takes(cell: Any) -> Any:
    return cell.takes() if isinstance(cell, Layer) else ()


def right_padded(mask: Any) -> Any:
    """The lengths of sequences whose padding is at the end; None where it is elsewhere."""
    counts = on_host(mask.data if hasattr(mask, "data") and not isinstance(mask, np.ndarray) else mask).astype(bool)
    sizes = counts.sum(1)
    return sizes if (counts == (np.arange(counts.shape[1]) < sizes[:, None])).all() else None


class Ready(RNN):
    """An RNN with a cell of its own; the cell's arguments and attributes are the layer's."""

    kind: ClassVar[type[Cell]]
    OWN: ClassVar[tuple[str, ...]] = ("return_sequences", "return_state", "go_backwards", "stateful", "unroll")

    def assemble(self, given: dict[str, Any], kwargs: dict[str, Any]) -> None:
        """Make the cell of the arguments that are not the layer's."""
        given = {k: v for k, v in given.items() if k not in ("self", "kwargs", "__class__", "activity_regularizer")}
        own = {name: given.pop(name) for name in self.OWN}
        kwargs.pop("use_cudnn", None)
        kwargs.pop("implementation", None)
        trainable = {"trainable": kwargs.get("trainable", True), "dtype": kwargs.get("dtype")}
        cell = self.kind(**given, **trainable, name=registry.snake(self.kind.__name__))
        RNN.__init__(self, cell, **own, **kwargs)

    @property
    def units(self) -> int:
        return int(self.cell.units)


class SimpleRNN(Ready):
    """`SimpleRNNCell` over sequences, see `RNN`; kernel (F, units), recurrent_kernel (units, units), bias (units,).

    >>> from weft import keras
    >>> keras.layers.SimpleRNN(4)(np.ones((2, 5, 3), "f")).shape
    (2, 4)
    """

    kind = SimpleRNNCell

    def __init__(
        self, units: int, activation: Any = "tanh", use_bias: bool = True, kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal", bias_initializer: Any = "zeros", kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None, bias_regularizer: Any = None, activity_regularizer: Any = None,
        kernel_constraint: Any = None, recurrent_constraint: Any = None, bias_constraint: Any = None,
        dropout: float = 0.0, recurrent_dropout: float = 0.0, return_sequences: bool = False,
        return_state: bool = False, go_backwards: bool = False, stateful: bool = False, unroll: bool = False,
        seed: int | None = None, **kwargs: Any,
    ):  # fmt: skip
        self.assemble(locals(), {**kwargs, "activity_regularizer": activity_regularizer})


class LSTM(Ready):
    """`LSTMCell` over sequences, see `RNN`; kernel (F, 4 units), recurrent_kernel (units, 4 units), bias (4 units,).

    >>> from weft import keras
    >>> keras.layers.LSTM(4, return_sequences=True)(np.ones((2, 5, 3), "f")).shape
    (2, 5, 4)
    """

    kind = LSTMCell

    def __init__(
        self, units: int, activation: Any = "tanh", recurrent_activation: Any = "sigmoid", use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform", recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros", unit_forget_bias: bool = True, kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None, bias_regularizer: Any = None, activity_regularizer: Any = None,
        kernel_constraint: Any = None, recurrent_constraint: Any = None, bias_constraint: Any = None,
        dropout: float = 0.0, recurrent_dropout: float = 0.0, seed: int | None = None, return_sequences: bool = False,
        return_state: bool = False, go_backwards: bool = False, stateful: bool = False, unroll: bool = False,
        **kwargs: Any,
    ):  # fmt: skip
        self.assemble(locals(), {**kwargs, "activity_regularizer": activity_regularizer})


class GRU(Ready):
    """`GRUCell` over sequences, see `RNN`; kernel (F, 3 units), recurrent_kernel (units, 3 units), bias (2, 3 units).

    >>> from weft import keras
    >>> keras.layers.GRU(4)(np.ones((2, 5, 3), "f")).shape
    (2, 4)
    """

    kind = GRUCell

    def __init__(
        self, units: int, activation: Any = "tanh", recurrent_activation: Any = "sigmoid", use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform", recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros", kernel_regularizer: Any = None, recurrent_regularizer: Any = None,
        bias_regularizer: Any = None, activity_regularizer: Any = None, kernel_constraint: Any = None,
        recurrent_constraint: Any = None, bias_constraint: Any = None, dropout: float = 0.0,
        recurrent_dropout: float = 0.0, seed: int | None = None, return_sequences: bool = False,
        return_state: bool = False, go_backwards: bool = False, stateful: bool = False, unroll: bool = False,
        reset_after: bool = True, **kwargs: Any,
    ):  # fmt: skip
        self.assemble(locals(), {**kwargs, "activity_regularizer": activity_regularizer})


class Bidirectional(Wrapper):
    """A recurrent layer over the sequence, and one backwards; merge_mode: concat, sum, mul, ave, or None for a list.

    >>> from weft import keras
    >>> keras.layers.Bidirectional(keras.layers.LSTM(4))(np.ones((2, 5, 3), "f")).shape
    (2, 8)
    """

    supports_masking = True

    def __init__(self, layer: Any, merge_mode: Any = "concat", weights: Any = None, backward_layer: Any = None,
                 **kwargs: Any):  # fmt: skip
        if merge_mode not in ("concat", "sum", "mul", "ave", None):
            raise ValueError(f"Bidirectional: expected merge_mode concat, sum, mul, ave or None, got {merge_mode!r}")
        if not isinstance(layer, RNN):
            raise TypeError(f"Bidirectional: expected a recurrent layer, got {type(layer).__name__}")
        super().__init__(layer, **kwargs)
        name, self.merge_mode = layer.name, merge_mode
        del self.layer

        def like(one: Any, prefix: str, backwards: bool) -> Any:
            config = {**one.get_config(), "name": f"{prefix}_{name}", "go_backwards": backwards}
            return type(one).from_config(config)

        self.forward_layer = like(layer, "forward", layer.go_backwards)
        self.backward_layer = backward_layer or like(layer, "backward", not layer.go_backwards)
        if self.backward_layer.go_backwards == self.forward_layer.go_backwards:
            raise ValueError("Bidirectional: expected layers of different go_backwards, got two of "
                             f"{self.forward_layer.go_backwards}")  # fmt: skip
        if weights is not None:
            raise ValueError("Bidirectional: expected no weights in its arguments; set_weights takes them once built")

    def build(self, input_shape: Any = None, initial_state_shape: Any = None) -> None:
        for layer in (self.forward_layer, self.backward_layer):
            self.build_child(layer, input_shape)
        self.built = True

    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None, training: Any = None) -> Any:
        halves = (None, None)
        if initial_state is not None:
            half = len(initial_state) // 2
            halves = (initial_state[:half], initial_state[half:])
        layers = (self.forward_layer, self.backward_layer)
        outs = [layer(sequences, initial_state=h, mask=mask) for layer, h in zip(layers, halves)]
        states: list[Any] = []
        if self.forward_layer.return_state:
            states = [state for out in outs for state in out[1:]]
            outs = [out[0] for out in outs]
        if self.forward_layer.return_sequences:
            outs[1] = ops.flip(outs[1], axis=1)
        a, b = outs
        if self.merge_mode is None:
            return [a, b, *states]
        out = {"concat": lambda: ops.concat([a, b], axis=-1), "sum": lambda: a + b, "mul": lambda: a * b,
               "ave": lambda: (a + b) / 2}[self.merge_mode]()  # fmt: skip
        return [out, *states] if states else out

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        mask = previous_mask if self.forward_layer.return_sequences else None
        several = self.merge_mode is None or self.forward_layer.return_state
        return [mask] * 2 if several else mask

    def compute_output_shape(self, input_shape: Any, initial_state_shape: Any = None) -> Any:
        outs = [layer.compute_output_shape(input_shape) for layer in (self.forward_layer, self.backward_layer)]
        states = [s for out in outs for s in out[1:]] if self.forward_layer.return_state else []
        a, b = (out[0] for out in outs) if self.forward_layer.return_state else outs
        if self.merge_mode is None:
            return [a, b, *states]
        out = (*a[:-1], a[-1] + b[-1]) if self.merge_mode == "concat" else a
        return [out, *states] if states else out
