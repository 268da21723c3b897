"""Softmax and its logarithm on devices: softmax.cu along the innermost axis in memory, softmax_columns.cu along others.

Results keep the memory format of what they are computed from.
"""

from __future__ import annotations

import math
from typing import Any

from weft.backends import reference as K
from weft.backends.gpu import entry, rows
from weft.backends.gpu.expressions import STORAGE
from weft.backends.gpu.maps import empty_in_order
from weft.backends.launch import kernel, launch

ONE, TWO = "[fdeE]", "ff|dd|ee|EE"
ACROSS, LINES = 32, 8  # threads of softmax_columns.cu


@entry(K.softmax, ONE)
def softmax(x: Any, *, axis: int) -> Any:
    return along("softmax", [x], axis)


@entry(K.log_softmax, ONE)
def log_softmax(x: Any, *, axis: int) -> Any:
    return along("log_softmax", [x], axis)


@entry(K.softmax_backward, TWO)
def softmax_backward(g: Any, y: Any, *, axis: int) -> Any:
    return along("softmax", [y, g], axis)


@entry(K.log_softmax_backward, TWO)
def log_softmax_backward(g: Any, y: Any, *, axis: int) -> Any:
    return along("log_softmax", [y, g], axis)


def along(name: str, operands: list[Any], axis: int) -> Any:
    """[x] -> the function `name` of x along `axis`; [y, g] -> its gradient of x, in y's memory format."""
    first = operands[0]
    order = rows.memory_order(first)
    out = empty_in_order(first.shape, first.dtype, first.device_name, order)
    if not first.size:
        return out
    lying = [rows.dense(x.transpose(*order)) for x in operands[::-1]]  # kernels take g, then y
    shape, place = lying[0].shape, order.index(axis % first.ndim)
    outer, columns, inner = math.prod(shape[:place]), shape[place], math.prod(shape[place + 1 :])
    suffix = "_backward" if len(operands) == 2 else ""
    written = out.transpose(*order)
    if inner == 1:
        rows.check_columns(name, columns)
        team = rows.team(columns, first.dtype.itemsize, len(operands))
        function = kernel("softmax.cu", name + suffix, **team.defines(first.dtype.char))
        launch(function, (team.blocks(outer),), (team.threads,), (written, *lying, outer, columns))
    else:
        vector = 16 // first.dtype.itemsize
        vector = vector if inner % vector == 0 else 1
        function = kernel("softmax_columns.cu", f"{name}_columns{suffix}", **columns_defines(first.dtype.char, vector))
        tiles = -(-inner // (ACROSS * vector))
        launch(function, (outer * tiles,), (ACROSS * LINES,), (written, *lying, columns, inner))
    return out


def columns_defines(char: str, vector: int) -> dict[str, Any]:
    return dict(TYPE=STORAGE[char], VECTOR=vector)
