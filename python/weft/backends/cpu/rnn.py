"""LSTM and GRU cells and layers, float32. A layer is one call: no step comes back to Python."""

from __future__ import annotations

from typing import Any

import numpy as np

from weft import _cpu  # type: ignore[attr-defined]
from weft.backends import reference as K

K.lstm_cell.on(np.ndarray, "ff")(_cpu.lstm_cell)
K.lstm_cell_backward.on(np.ndarray, "f+")(_cpu.lstm_cell_backward)
K.gru_cell.on(np.ndarray, "fff")(_cpu.gru_cell)
K.gru_cell_backward.on(np.ndarray, "ffff")(_cpu.gru_cell_backward)


@K.lstm_layer.on(np.ndarray, "f+")
def lstm_layer(x: Any, h0: Any, c0: Any, w_ih: Any, w_hh: Any, bias: Any, *, reverse: bool) -> Any:
    return _cpu.lstm_layer(x, h0, c0, w_ih, w_hh, bias, reverse)


@K.lstm_layer_backward.on(np.ndarray, "f+")
def lstm_layer_backward(gates: Any, cs: Any, c0: Any, w_hh: Any, gy: Any, gh: Any, gc: Any, *, reverse: bool) -> Any:
    return _cpu.lstm_layer_backward(gates, cs, c0, w_hh, gy, gh, gc, reverse)


@K.gru_layer.on(np.ndarray, "f+")
def gru_layer(x: Any, h0: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, *, reverse: bool) -> Any:
    return _cpu.gru_layer(x, h0, w_ih, w_hh, b_ih, b_hh, reverse)


@K.gru_layer_backward.on(np.ndarray, "f+")
def gru_layer_backward(
    inputs: Any, recurrents: Any, hs: Any, h0: Any, w_hh: Any, gy: Any, gh: Any, *, reverse: bool
) -> Any:
    return _cpu.gru_layer_backward(inputs, recurrents, hs, h0, w_hh, gy, gh, reverse)
