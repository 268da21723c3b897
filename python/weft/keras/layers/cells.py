"""Cells of recurrent layers with Keras's weights: kernel (inputs, gates units), recurrent_kernel (units, gates units).

LSTM's gates stand in the order input, forget, cell, output; GRU's update, reset, new.
"""

from __future__ import annotations

from typing import Any, ClassVar

from weft import ops
from weft.keras import activations
from weft.keras.layer import Layer
from weft.keras.layers.core import Weighted
from weft.keras.layers.regularization import checked_rate
from weft.keras.symbols import leaves
from weft.nn import functional as F


class Cell(Weighted):
    """One step: (N, inputs), [states (N, units)] -> (N, units), [new states]."""

    gates: ClassVar[int] = 1
    states: ClassVar[int] = 1
    recurrent_activation: Any = None
    drops: dict[str, Any] | None = None  # in a sequence: what each of its steps is multiplied by

    def setup(self, units: int, activation: Any, use_bias: bool, dropout: float, recurrent_dropout: float,
              **identifiers: Any) -> None:  # fmt: skip
        if units < 1:
            raise ValueError(f"{type(self).__name__}: expected units >= 1, got {units}")
        self.units, self.activation, self.use_bias = int(units), activations.get(activation), use_bias
        self.dropout = checked_rate(type(self).__name__, dropout)
        self.recurrent_dropout = checked_rate(type(self).__name__, recurrent_dropout)
        self.resolve(**identifiers)

    @property
    def state_size(self) -> Any:
        return self.units if self.states == 1 else [self.units] * self.states

    @property
    def output_size(self) -> int:
        return self.units

    def build(self, input_shape: Any) -> None:
        width = self.gates * self.units
        self.weight("kernel", (input_shape[-1], width))
        self.weight("recurrent_kernel", (self.units, width), "recurrent")
        self.bias = self.weight("bias", self.bias_shape()) if self.use_bias else None
        self.built = True

    def bias_shape(self) -> tuple[int, ...]:
        return (self.gates * self.units,)

    def get_initial_state(self, batch_size: Any = None) -> Any:
        """Zeros for a batch of so many."""
        zeros = [ops.zeros((batch_size, self.units), dtype=self.kernel.dtype, device=self.kernel.device)]
        return zeros * self.states

    def dropped(self, which: str, x: Any, training: Any) -> Any:
        """Dropout of "dropout" or "recurrent_dropout", the same at each step of a sequence.  Gal, Ghahramani, 2016."""
        rate = getattr(self, which)
        if not training or not rate:
            return x
        drops = {} if self.drops is None else self.drops
        if which not in drops:
            drops[which] = F.dropout(ops.ones_like(x), rate)
        return x * drops[which]

    def call(self, inputs: Any, states: Any, training: Any = None) -> Any:
        raise NotImplementedError(f"{type(self).__name__}: expected a method `call`, got none")

    def fused(self, x: Any, states: Any, reverse: bool) -> Any:
        """The whole sequence x (T, N, I) at once: (T, N, units) and the last states; None where no primitive fits."""
        return None


class SimpleRNNCell(Cell):
    """activation(x @ kernel + h @ recurrent_kernel + bias).  Elman, 1990.

    >>> from weft import keras
    >>> keras.layers.RNN(keras.layers.SimpleRNNCell(4))(np.ones((2, 5, 3), "f")).shape
    (2, 4)
    """

    def __init__(
        self, units: int, activation: Any = "tanh", use_bias: bool = True, kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal", bias_initializer: Any = "zeros", kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None, bias_regularizer: Any = None, kernel_constraint: Any = None,
        recurrent_constraint: Any = None, bias_constraint: Any = None, dropout: float = 0.0,
        recurrent_dropout: float = 0.0, seed: int | None = None, **kwargs: Any,
    ):  # fmt: skip
        super().__init__(**kwargs)
        self.setup(units, activation, use_bias, dropout, recurrent_dropout, kernel_initializer=kernel_initializer,
                   recurrent_initializer=recurrent_initializer, bias_initializer=bias_initializer,
                   kernel_regularizer=kernel_regularizer, recurrent_regularizer=recurrent_regularizer,
                   bias_regularizer=bias_regularizer, kernel_constraint=kernel_constraint,
                   recurrent_constraint=recurrent_constraint, bias_constraint=bias_constraint)  # fmt: skip

    def call(self, inputs: Any, states: Any, training: Any = None) -> Any:
        h = self.dropped("recurrent_dropout", states[0], training)
        x = self.dropped("dropout", inputs, training)
        out = self.activation(F.linear(x, self.kernel.mT, self.bias) + h @ self.recurrent_kernel)
        return out, [out]

    def fused(self, x: Any, states: Any, reverse: bool) -> Any:
        kind = {activations.tanh: "tanh", activations.relu: "relu"}.get(self.activation)
        if kind is None:
            return None
        biases = [] if self.bias is None else [self.bias, ops.zeros_like(self.bias)]
        out, h = ops.rnn(x, states[0], self.kernel.mT, self.recurrent_kernel.mT, *biases, nonlinearity=kind,
                         reverse=reverse)  # fmt: skip
        return out, [h]


class LSTMCell(Cell):
    """Long short-term memory.  Hochreiter and Schmidhuber, 1997.

    >>> from weft import keras
    >>> keras.layers.RNN(keras.layers.LSTMCell(4))(np.ones((2, 5, 3), "f")).shape
    (2, 4)
    """

    gates, states = 4, 2

    def __init__(
        self, units: int, activation: Any = "tanh", recurrent_activation: Any = "sigmoid", use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform", recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros", unit_forget_bias: bool = True, kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None, bias_regularizer: Any = None, kernel_constraint: Any = None,
        recurrent_constraint: Any = None, bias_constraint: Any = None, dropout: float = 0.0,
        recurrent_dropout: float = 0.0, seed: int | None = None, **kwargs: Any,
    ):  # fmt: skip
        super().__init__(**kwargs)
        self.recurrent_activation = activations.get(recurrent_activation)
        self.unit_forget_bias = unit_forget_bias
        self.setup(units, activation, use_bias, dropout, recurrent_dropout, kernel_initializer=kernel_initializer,
                   recurrent_initializer=recurrent_initializer, bias_initializer=bias_initializer,
                   kernel_regularizer=kernel_regularizer, recurrent_regularizer=recurrent_regularizer,
                   bias_regularizer=bias_regularizer, kernel_constraint=kernel_constraint,
                   recurrent_constraint=recurrent_constraint, bias_constraint=bias_constraint)  # fmt: skip

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        if self.bias is not None and self.unit_forget_bias:
            values = self.bias.numpy().copy()
            values[self.units : 2 * self.units] = 1
            self.bias.assign(values)

    def call(self, inputs: Any, states: Any, training: Any = None) -> Any:
        h, c = self.dropped("recurrent_dropout", states[0], training), states[1]
        x = self.dropped("dropout", inputs, training)
        scores = F.linear(x, self.kernel.mT, self.bias) + h @ self.recurrent_kernel
        n, gate = self.units, self.recurrent_activation
        i, f, g, o = (scores[:, k * n : (k + 1) * n] for k in range(4))
        c = gate(f) * c + gate(i) * self.activation(g)
        h = gate(o) * self.activation(c)
        return h, [h, c]

    def fused(self, x: Any, states: Any, reverse: bool) -> Any:
        if (self.activation, self.recurrent_activation) != (activations.tanh, activations.sigmoid):
            return None
        biases = [] if self.bias is None else [self.bias, ops.zeros_like(self.bias)]
        h, c = states
        out, h, c = ops.lstm(x, h, c, self.kernel.mT, self.recurrent_kernel.mT, *biases, reverse=reverse)
        return out, [h, c]


class GRUCell(Cell):
    """Gated recurrent units; reset_after: the reset gate after the product, as cuDNN has it.  Cho et al., 2014.

    bias is (2, 3 units) with reset_after, that of inputs and of states, else (3 units,).

    >>> from weft import keras
    >>> keras.layers.RNN(keras.layers.GRUCell(4))(np.ones((2, 5, 3), "f")).shape
    (2, 4)
    """

    gates = 3

    def __init__(
        self, units: int, activation: Any = "tanh", recurrent_activation: Any = "sigmoid", use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform", recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros", kernel_regularizer: Any = None, recurrent_regularizer: Any = None,
        bias_regularizer: Any = None, kernel_constraint: Any = None, recurrent_constraint: Any = None,
        bias_constraint: Any = None, dropout: float = 0.0, recurrent_dropout: float = 0.0, reset_after: bool = True,
        seed: int | None = None, **kwargs: Any,
    ):  # fmt: skip
        super().__init__(**kwargs)
        self.recurrent_activation, self.reset_after = activations.get(recurrent_activation), reset_after
        self.setup(units, activation, use_bias, dropout, recurrent_dropout, kernel_initializer=kernel_initializer,
                   recurrent_initializer=recurrent_initializer, bias_initializer=bias_initializer,
                   kernel_regularizer=kernel_regularizer, recurrent_regularizer=recurrent_regularizer,
                   bias_regularizer=bias_regularizer, kernel_constraint=kernel_constraint,
                   recurrent_constraint=recurrent_constraint, bias_constraint=bias_constraint)  # fmt: skip

    def bias_shape(self) -> tuple[int, ...]:
        return (2, 3 * self.units) if self.reset_after else (3 * self.units,)

    def biases(self) -> tuple[Any, Any]:
        if self.bias is None:
            return None, None
        return (self.bias[0], self.bias[1]) if self.reset_after else (self.bias, None)

    def call(self, inputs: Any, states: Any, training: Any = None) -> Any:
        h = states[0]
        before = self.dropped("recurrent_dropout", h, training)
        x, (given, recurrent) = self.dropped("dropout", inputs, training), self.biases()
        n, gate = self.units, self.recurrent_activation
        xs = F.linear(x, self.kernel.mT, given)
        if self.reset_after:
            hs = F.linear(before, self.recurrent_kernel.mT, recurrent)
            z, r = gate(xs[:, :n] + hs[:, :n]), gate(xs[:, n : 2 * n] + hs[:, n : 2 * n])
            new = self.activation(xs[:, 2 * n :] + r * hs[:, 2 * n :])
        else:
            hs = before @ self.recurrent_kernel[:, : 2 * n]
            z, r = gate(xs[:, :n] + hs[:, :n]), gate(xs[:, n : 2 * n] + hs[:, n:])
            new = self.activation(xs[:, 2 * n :] + (r * before) @ self.recurrent_kernel[:, 2 * n :])
        out = z * h + (1 - z) * new
        return out, [out]

    def fused(self, x: Any, states: Any, reverse: bool) -> Any:
        standard = (self.activation, self.recurrent_activation) == (activations.tanh, activations.sigmoid)
        if not standard or not self.reset_after:
            return None

        def turned(w: Any) -> Any:  # the primitive has the reset gate first
            n = self.units
            return ops.concat([w[..., n : 2 * n], w[..., :n], w[..., 2 * n :]], axis=-1)

        biases = [] if self.bias is None else [turned(b) for b in self.biases()]
        out, h = ops.gru(x, states[0], turned(self.kernel).mT, turned(self.recurrent_kernel).mT, *biases,
                         reverse=reverse)  # fmt: skip
        return out, [h]


class StackedRNNCells(Layer):
    """Cells one on top of the other, as one.

    >>> from weft import keras
    >>> cells = keras.layers.StackedRNNCells([keras.layers.GRUCell(4), keras.layers.GRUCell(6)])
    >>> keras.layers.RNN(cells)(np.ones((2, 5, 3), "f")).shape
    (2, 6)
    """

    def __init__(self, cells: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.cells = list(cells)

    @property
    def state_size(self) -> Any:
        return [size for cell in self.cells for size in leaves(cell.state_size)]

    @property
    def output_size(self) -> int:
        return int(self.cells[-1].output_size)

    def build(self, input_shape: Any) -> None:
        for cell in self.cells:
            self.build_child(cell, input_shape)
            input_shape = (input_shape[0], cell.output_size)
        self.built = True

    def get_initial_state(self, batch_size: Any = None) -> Any:
        return [state for cell in self.cells for state in leaves(cell.get_initial_state(batch_size))]

    def call(self, inputs: Any, states: Any, training: Any = None) -> Any:
        new: list[Any] = []
        for cell in self.cells:
            count = len(list(leaves(cell.state_size)))
            inputs, after = cell(inputs, states[len(new) : len(new) + count], training=training)
            new += list(leaves(after))
        return inputs, new
