"""LSTM and GRU cells, float32."""

import numpy as np

from weft import _cpu  # type: ignore[attr-defined]
from weft.backends import reference as K

K.lstm_cell.on(np.ndarray, "ff")(_cpu.lstm_cell)
K.lstm_cell_backward.on(np.ndarray, "f+")(_cpu.lstm_cell_backward)
K.gru_cell.on(np.ndarray, "fff")(_cpu.gru_cell)
K.gru_cell_backward.on(np.ndarray, "ffff")(_cpu.gru_cell_backward)
