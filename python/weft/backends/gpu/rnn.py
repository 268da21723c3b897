"""LSTM and GRU cells and layers on devices: matrix products by `gemm`, the gates of a step by one kernel of rnn.cu.

A layer multiplies its inputs for all steps at once. A step is then one product, added to the gates in place, and one
kernel. Of 16-bit layers the cell's state, and the gradients that go from step to step, stay in float32.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from weft.backends import reference as K
from weft.backends.gpu import entry, layout
from weft.backends.gpu.array import contiguous, empty_like
from weft.backends.gpu.expressions import STORAGE
from weft.backends.gpu.gemm import gemm, rows_together, swapped
from weft.backends.launch import kernel, launch
from weft.backends.reference.rnn import steps

THREADS, VECTOR = 128, 4  # as in rnn.cu
FLOAT32 = np.dtype(np.float32)


def same(least: int, most: int) -> str:
    """Between `least` and `most` arrays of one real dtype."""
    return "|".join(f"{c}{{{least},{most}}}" for c in "feEd")


class Step:
    """A kernel of rnn.cu for rows of one size and arrays that lie like `arrays`: step(arrays) launches it.

    active: an LSTM's gates are kept, and read, after their activations."""

    def __init__(self, name: str, rows: int, hidden: int, state: np.dtype[Any], arrays: Any, active: bool = False):
        given = [x for x in arrays if x is not None]
        vectors = hidden % VECTOR == 0 and not any(x.pointer % min(16, VECTOR * x.dtype.itemsize) for x in given)
        per_row = hidden // VECTOR if vectors else hidden
        wide = 4 * rows * hidden >= layout.NARROW
        self.kernel = kernel(
            "rnn.cu", name, TYPE=STORAGE[given[0].dtype.char], STATE=STORAGE[state.char], WIDE=int(wide)
        )
        self.grid = (-(-rows * per_row // THREADS),)
        self.cells = struct.pack("<qii3Ii", rows * per_row, hidden, vectors, *layout.division(per_row), active)

    def __call__(self, *arrays: Any) -> None:
        if self.grid[0]:
            launch(self.kernel, self.grid, (THREADS,), (*arrays, self.cells))


def wide_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return FLOAT32 if dtype.itemsize == 2 else dtype


def widened(x: Any) -> Any:
    """x without gaps, 16 bits as float32; None passes."""
    return None if x is None else contiguous(x.astype(wide_type(x.dtype), copy=False))


def dense(x: Any) -> Any:
    return None if x is None else contiguous(x)


def ready(weight: Any) -> Any:
    """A weight that every step multiplies by: copied once where a product would copy it each time."""
    return weight if rows_together(weight) or rows_together(swapped(weight)) else contiguous(weight)


def rows_of(x: Any) -> int:
    """Rows of an array (..., H)."""
    return x.size // x.shape[-1] if x.size else 0


# -- cells ------------------------------------------------------------------------------------------------------------


@entry(K.lstm_cell, same(2, 2))
def lstm_cell(gates: Any, c: Any) -> tuple[Any, Any]:
    gates, c = contiguous(gates), contiguous(c)
    h, c_new = empty_like(c), empty_like(c)
    step = Step("lstm_cell", rows_of(c), c.shape[-1], c.dtype, (h, c_new, gates, c))
    step(h, c_new, None, gates, c)
    return h, c_new


@entry(K.lstm_cell_backward, same(4, 5))
def lstm_cell_backward(gh: Any, gc: Any, gates: Any, c: Any, c_new: Any) -> tuple[Any, Any]:
    gh, gc, gates, c, c_new = (dense(x) for x in (gh, gc, gates, c, c_new))
    g_gates, g_c = empty_like(gates), empty_like(c)
    step = Step("lstm_cell_backward", rows_of(c), c.shape[-1], c.dtype, (g_gates, g_c, gates, c, c_new, gh, gc))
    step(g_gates, g_c, gates, c, c_new, None, gh, gc)
    return g_gates, g_c


@entry(K.gru_cell, same(3, 3))
def gru_cell(gi: Any, gh: Any, h: Any) -> Any:
    gi, gh, h = contiguous(gi), contiguous(gh), contiguous(h)
    h_new = empty_like(h)
    Step("gru_cell", rows_of(h), h.shape[-1], h.dtype, (h_new, gi, gh, h))(h_new, None, gi, gh, h)
    return h_new


@entry(K.gru_cell_backward, same(4, 4))
def gru_cell_backward(g: Any, gi: Any, gh: Any, h: Any) -> tuple[Any, Any, Any]:
    g, gi, gh, h = (contiguous(x) for x in (g, gi, gh, h))
    g_gi, g_gh, g_h = empty_like(gi), empty_like(gh), empty_like(h)
    step = Step("gru_cell_backward", rows_of(h), h.shape[-1], h.dtype, (g_gi, g_gh, g_h, gi, gh, h, g))
    step(g_gi, g_gh, g_h, gi, gh, h, None, g)
    return g_gi, g_gh, g_h


# -- layers -----------------------------------------------------------------------------------------------------------


@entry(K.lstm_layer, same(5, 6))
def lstm_layer(x: Any, h0: Any, c0: Any, w_ih: Any, w_hh: Any, bias: Any, *, reverse: bool) -> tuple[Any, Any, Any]:
    (length, rows), hidden = x.shape[:2], h0.shape[1]
    gates = gemm(x, swapped(w_ih), bias=bias)  # each step adds its own product
    hs, cs = empty_like(x, (length, rows, hidden)), empty_like(x, (length, rows, hidden))
    weight, h, c = swapped(ready(w_hh)), h0, widened(c0)
    carry = c if c.dtype != x.dtype else None  # a copy of c0 then
    step = Step("lstm_cell", rows, hidden, c.dtype, (hs, cs, gates, c), active=True)
    for t in steps(length, reverse):
        gemm(h, weight, out=gates[t], beta=1.0)
        h, now = hs[t], cs[t]
        step(h, now, carry, gates[t], c)
        if carry is None:
            c = now
    return hs, gates, cs


@entry(K.lstm_layer_backward, same(4, 7))
def lstm_layer_backward(
    gates: Any, cs: Any, c0: Any, w_hh: Any, gy: Any, gh: Any, gc: Any, *, reverse: bool
) -> tuple[Any, Any, Any]:
    (rows, hidden), order = c0.shape, steps(gates.shape[0], reverse)
    gates, cs, c0, gy = (dense(x) for x in (gates, cs, c0, gy))
    gh, gc, weight = widened(gh), widened(gc), ready(w_hh)
    g_gates, state = empty_like(gates), wide_type(c0.dtype)
    g_h, g_c = empty_like(c0, dtype=state), empty_like(c0, dtype=state)
    arrays = (g_gates, g_h, g_c, gates, cs, c0, gy, gh, gc)
    step = Step("lstm_cell_backward", rows, hidden, state, arrays, active=True)
    for k in range(len(order) - 1, -1, -1):
        t = order[k]
        before = cs[order[k - 1]] if k else c0
        step(g_gates[t], g_c, gates[t], before, cs[t], None if gy is None else gy[t], gh, gc)
        gh, gc = gemm(g_gates[t], weight, out=g_h), g_c
    return g_gates, gh.astype(c0.dtype, copy=False), gc.astype(c0.dtype, copy=False)


@entry(K.gru_layer, same(4, 6))
def gru_layer(x: Any, h0: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, *, reverse: bool) -> tuple[Any, Any, Any]:
    (length, rows), hidden = x.shape[:2], h0.shape[1]
    inputs = gemm(x, swapped(w_ih), bias=b_ih)
    hs, recurrents = empty_like(x, (length, rows, hidden)), empty_like(inputs)
    weight, h, state = swapped(ready(w_hh)), h0, widened(h0)
    carry = state if state.dtype != x.dtype else None
    step = Step("gru_cell", rows, hidden, state.dtype, (hs, inputs, recurrents, state))
    for t in steps(length, reverse):
        gemm(h, weight, bias=b_hh, out=recurrents[t])
        h = hs[t]
        step(h, carry, inputs[t], recurrents[t], state)
        if carry is None:
            state = h
    return hs, inputs, recurrents


@entry(K.gru_layer_backward, same(5, 7))
def gru_layer_backward(
    inputs: Any, recurrents: Any, hs: Any, h0: Any, w_hh: Any, gy: Any, gh: Any, *, reverse: bool
) -> tuple[Any, Any, Any]:
    (rows, hidden), order = h0.shape, steps(inputs.shape[0], reverse)
    inputs, recurrents, hs, h0, gy = (dense(x) for x in (inputs, recurrents, hs, h0, gy))
    gh, weight = widened(gh), ready(w_hh)
    g_inputs, g_recurrents = empty_like(inputs), empty_like(inputs)
    g_h = empty_like(h0, dtype=wide_type(h0.dtype))
    step = Step(
        "gru_cell_backward", rows, hidden, g_h.dtype, (g_inputs, g_recurrents, g_h, inputs, recurrents, hs, h0, gy, gh)
    )
    for k in range(len(order) - 1, -1, -1):
        t = order[k]
        before = hs[order[k - 1]] if k else h0
        into = None if gy is None else gy[t]
        step(g_inputs[t], g_recurrents[t], g_h, inputs[t], recurrents[t], before, into, gh)
        gh = gemm(g_recurrents[t], weight, out=g_h, beta=1.0)
    return g_inputs, g_recurrents, gh.astype(h0.dtype, copy=False)
