"""The kernels of recurrent cells in their shipped kinds, for configurations.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

KERNELS = ("lstm_cell", "lstm_cell_backward", "gru_cell", "gru_cell_backward")
#: Types of arrays and of states: cells, and layers of 16 bits.
TYPES = (
    ("float", "float"),
    ("bf16", "bf16"),
    ("bf16", "float"),
    ("f16", "f16"),
    ("f16", "float"),
    ("double", "double"),
)


def rnn() -> Iterator[tuple[Any, ...]]:
    for name in KERNELS:
        for type_, state in TYPES:
            registers = 168 if type_ == "double" else 80
            yield "rnn.cu", name, {"TYPE": type_, "STATE": state, "WIDE": 0}, 75, registers
