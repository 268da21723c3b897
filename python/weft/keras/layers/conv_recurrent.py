"""ConvLSTM: an LSTM whose products are convolutions, over sequences of signals, images or volumes."""

from __future__ import annotations

from typing import Any, ClassVar

from weft import ops
from weft.keras import activations, registry
from weft.keras.layers.conv import CONVOLVE, Conv, sides, to_last
from weft.keras.layers.recurrent import RNN
from weft.keras.layers.regularization import checked_rate
from weft.nn import functional as F


class ConvLSTMCell(Conv):
    """One step, whose inputs are convolved already: (N, 4 filters, ...), [h, c (N, filters, ...)], channels first.

    kernel (k..., C, 4 filters), recurrent_kernel (k..., filters, 4 filters), bias (4 filters,); the gates stand in the
    order input, forget, cell, output.
    """

    keep: Any = None  # in a sequence of training: what the state is multiplied by before each step

    def __init__(
        self, rank: int, filters: int, kernel_size: Any, strides: Any, padding: str, data_format: Any,
        dilation_rate: Any, activation: Any, recurrent_activation: Any, use_bias: bool, unit_forget_bias: bool,
        dropout: float, recurrent_dropout: float, identifiers: dict[str, Any], **kwargs: Any,
    ):  # fmt: skip
        super().__init__(**kwargs)
        self.rank = rank  # type: ignore[misc]
        self.setup(filters, kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias)
        self.recurrent_activation = activations.get(recurrent_activation)
        self.unit_forget_bias = unit_forget_bias
        self.dropout = checked_rate("ConvLSTM", dropout)
        self.recurrent_dropout = checked_rate("ConvLSTM", recurrent_dropout)
        self.resolve(**identifiers)

    def build(self, input_shape: Any) -> None:
        C, width = self.channels(input_shape), 4 * self.filters
        self.weight("kernel", (*self.kernel_size, C, width))
        self.weight("recurrent_kernel", (*self.kernel_size, self.filters, width), "recurrent")
        self.bias = self.weight("bias", (width,)) if self.use_bias else None
        if self.bias is not None and self.unit_forget_bias:
            values = self.bias.numpy().copy()
            values[self.filters : 2 * self.filters] = 1
            self.bias.assign(values)
        self.state_shape = self.compute_output_shape(input_shape)[1:]
        self.built = True

    @property
    def state_size(self) -> Any:
        return [self.filters] * 2

    def get_initial_state(self, batch_size: Any = None) -> Any:
        """Zeros for a batch of so many."""
        if None in self.state_shape:
            raise ValueError(f"ConvLSTM: expected input of known size, got states {self.state_shape}")
        zeros = ops.zeros((batch_size, *self.state_shape), dtype=self.kernel.dtype, device=self.kernel.device)
        return [zeros, zeros]

    def turned(self, kernel: Any) -> Any:
        """(k..., C, O) as (O, C, k...)"""
        n = self.rank
        return ops.permute_dims(kernel, (n + 1, n, *range(n)))

    def gates(self, x: Any) -> Any:
        """What inputs (N, C, ...) give to the gates, (N, 4 filters, ...)."""
        return self.convolve(x, self.turned(self.kernel), self.bias, self.strides, 1)

    def call(self, inputs: Any, states: Any, training: Any = None) -> Any:
        h, c = states
        h = h if self.keep is None else h * self.keep
        one = (1,) * self.rank
        pads = sides("same", h.shape[2:], self.kernel_size, one, one)
        scores = inputs + CONVOLVE[self.rank](h, self.turned(self.recurrent_kernel), None, 1, pads)
        n, gate = self.filters, self.recurrent_activation
        i, f, g, o = (scores[:, k * n : (k + 1) * n] for k in range(4))
        c = gate(f) * c + gate(i) * self.activation(g)
        h = gate(o) * self.activation(c)
        return h, [h, c]


class ConvLSTM(RNN):
    """What ConvLSTM1D, 2D and 3D share."""

    rank: ClassVar[int] = 2

    def __init__(
        self, filters: int, kernel_size: Any, strides: Any = 1, padding: str = "valid", data_format: Any = None,
        dilation_rate: Any = 1, activation: Any = "tanh", recurrent_activation: Any = "sigmoid", use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform", recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros", unit_forget_bias: bool = True, kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None, bias_regularizer: Any = None, activity_regularizer: Any = None,
        kernel_constraint: Any = None, recurrent_constraint: Any = None, bias_constraint: Any = None,
        dropout: float = 0.0, recurrent_dropout: float = 0.0, seed: int | None = None, return_sequences: bool = False,
        return_state: bool = False, go_backwards: bool = False, stateful: bool = False, **kwargs: Any,
    ):  # fmt: skip
        identifiers = {
            "kernel_initializer": kernel_initializer, "recurrent_initializer": recurrent_initializer,
            "bias_initializer": bias_initializer, "kernel_regularizer": kernel_regularizer,
            "recurrent_regularizer": recurrent_regularizer, "bias_regularizer": bias_regularizer,
            "kernel_constraint": kernel_constraint, "recurrent_constraint": recurrent_constraint,
            "bias_constraint": bias_constraint,
        }  # fmt: skip
        cell = ConvLSTMCell(
            self.rank, filters, kernel_size, strides, padding, data_format, dilation_rate, activation,
            recurrent_activation, use_bias, unit_forget_bias, dropout, recurrent_dropout, identifiers,
            name=registry.snake("ConvLSTMCell"), trainable=kwargs.get("trainable", True), dtype=kwargs.get("dtype"),
        )  # fmt: skip
        super().__init__(cell, return_sequences, return_state, go_backwards, stateful,
                         activity_regularizer=activity_regularizer, **kwargs)  # fmt: skip

    def build(self, input_shape: Any, initial_state_shape: Any = None) -> None:
        if len(input_shape) != self.rank + 3:
            raise self.wrong_input(input_shape)
        self.build_child(self.cell, (input_shape[0], *input_shape[2:]))
        self.built = True

    def wrong_input(self, got: Any, channels: Any = "C") -> ValueError:
        axes = {1: "L", 2: "H, W", 3: "D, H, W"}[self.rank]
        wanted = f"(N, T, {axes}, {channels})" if self.cell.last else f"(N, T, {channels}, {axes})"
        return ValueError(f"{type(self).__name__} {self.name!r}: expected input {wanted}, got {tuple(got)}")

    def step_by_step(self, x: Any, states: Any, mask: Any, training: Any) -> Any:
        """As RNN's, over inputs (T, N, ...) that are convolved together, before the steps."""
        cell: Any = self.cell
        T, N = x.shape[:2]
        channels = cell.kernel.shape[self.rank]
        if x.ndim != self.rank + 3 or x.shape[-1 if cell.last else 2] != channels:
            raise self.wrong_input((N, T, *x.shape[2:]), channels)
        if training and cell.dropout:
            x = x * F.dropout(ops.ones((1, *x.shape[1:]), dtype=x.dtype, device=x.device), cell.dropout)
        given = cell.gates(cell.first(ops.reshape(x, (T * N, *x.shape[2:]))))
        given = ops.reshape(given, (T, N, *given.shape[1:]))
        states = [cell.first(state) for state in states]
        wanted = (N, self.cell.filters, *given.shape[3:])
        if any(state.shape != wanted for state in states):
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: expected states {wanted}, channels first, for input "
                f"{(N, T, *x.shape[2:])}, got {[state.shape for state in states]}; those that begin have the size of "
                "the input that the layer was built for"
            )
        if training and cell.recurrent_dropout:
            cell.keep = F.dropout(ops.ones_like(states[0]), cell.recurrent_dropout)
        try:
            outs, last = super().step_by_step(given, states, mask, training)
        finally:
            cell.keep = None
        if not cell.last:
            return outs, last
        return ops.moveaxis(outs, 2, -1), [to_last(state) for state in last]

    def compute_output_shape(self, input_shape: Any, initial_state_shape: Any = None) -> Any:
        shape = input_shape[0] if isinstance(input_shape[0], (list, tuple)) else input_shape
        state = self.cell.compute_output_shape((shape[0], *shape[2:]))
        out = (*shape[:2], *state[1:]) if self.return_sequences else state
        return [out, state, state] if self.return_state else out


class ConvLSTM1D(ConvLSTM):
    """A convolutional LSTM over sequences of signals.  (N, T, L, C) -> (N, L', filters); see `RNN`.  Shi et al., 2015.

    >>> from weft import keras
    >>> keras.layers.ConvLSTM1D(4, 3, return_sequences=True)(np.ones((2, 5, 8, 3), "f")).shape
    (2, 5, 6, 4)
    """

    rank = 1


class ConvLSTM2D(ConvLSTM):
    """A convolutional LSTM over sequences of images.  (N, T, H, W, C) -> (N, H', W', filters); see `RNN`.

    Shi et al., Convolutional LSTM network, 2015 (arXiv:1506.04214), without its peepholes, as Keras has it.

    >>> from weft import keras
    >>> keras.layers.ConvLSTM2D(4, 3, padding="same")(np.ones((2, 5, 8, 8, 3), "f")).shape
    (2, 8, 8, 4)
    """

    rank = 2


class ConvLSTM3D(ConvLSTM):
    """A convolutional LSTM over sequences of volumes.  (N, T, D, H, W, C) -> (N, D', H', W', filters); see `RNN`.

    >>> from weft import keras
    >>> keras.layers.ConvLSTM3D(4, 2)(np.ones((1, 2, 4, 4, 4, 3), "f")).shape
    (1, 3, 3, 3, 4)
    """

    rank = 3


__all__ = ["ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"]
