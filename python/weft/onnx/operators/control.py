"""Branches, loops, sequences and optional values."""

from __future__ import annotations

from typing import Any

import numpy as np

import weft
from weft.autograd import Tensor
from weft.onnx.dtypes import dtype_of
from weft.onnx.operators import operator
from weft.onnx.operators.common import axis_of, flag, ints, number
from weft.onnx.operators.shape import integers


def truth(x: Any) -> bool:
    if x.dtype != np.bool_ or x.size != 1:
        raise ValueError(f"expected one boolean, got {x.dtype} of shape {x.shape}")
    return bool(x.item())


@operator("If")
def if_(condition: Any, *, then_branch: Any, else_branch: Any, context: Any) -> Any:
    return tuple(context.run(then_branch if truth(condition) else else_branch, []))


@operator("Loop")
def loop(trips: Any, condition: Any, *states: Any, body: Any, context: Any) -> Any:
    """`body(i, condition, *states)` -> condition, states and what is stacked, while the condition holds."""
    most = None if trips is None else number(trips)
    going = condition is None or truth(condition)
    carried, count, rows = list(states), len(states), []
    i = 0
    while going and (most is None or i < most):
        out = context.run(body, [integers(i), Tensor(np.asarray(going)), *carried])
        going, carried = truth(out[0]), out[1 : 1 + count]
        rows.append(out[1 + count :])
        i += 1
    return *carried, *stacked(rows, body, 1 + count)


def stacked(rows: list[list[Any]], body: Any, first: int) -> list[Any]:
    """What a loop gives at each turn, along a new first axis; where it never turned, of the declared shape."""
    if rows:
        return [weft.stack(list(column)) for column in zip(*rows)]
    out = []
    for info in body.results[first:]:
        kind = info.type.tensor_type
        lengths = [d.dim_value for d in kind.shape.dim]
        out.append(weft.zeros((0, *lengths), dtype=dtype_of(kind.elem_type)))
    return out


@operator("Scan", 9)
def scan(
    *values: Any, body: Any, num_scan_inputs: int, scan_input_axes: Any = None, scan_input_directions: Any = None,
    scan_output_axes: Any = None, scan_output_directions: Any = None, context: Any,
) -> Any:  # fmt: skip
    """`body(*states, *slices)` -> states and slices, over the slices of the last inputs."""
    count = len(values) - num_scan_inputs
    if not 0 < num_scan_inputs <= len(values):
        raise ValueError(f"Scan: expected num_scan_inputs in 1 to {len(values)}, got {num_scan_inputs}")
    states, scanned = list(values[:count]), values[count:]
    axes = [axis_of(a, x.ndim) for a, x in zip(scan_input_axes or [0] * num_scan_inputs, scanned)]
    turns = scan_input_directions or [0] * num_scan_inputs
    lengths = {x.shape[a] for x, a in zip(scanned, axes)}
    if len(lengths) != 1:
        raise ValueError(f"Scan: expected inputs of one length, got {sorted(lengths)}")
    slices = [weft.unstack(weft.flip(x, axis=a) if flag("direction", t) else x, axis=a)
              for x, a, t in zip(scanned, axes, turns)]  # fmt: skip
    rows = []
    for row in zip(*slices):
        out = context.run(body, [*states, *row])
        states = out[:count]
        rows.append(out[count:])
    outs = stacked(rows, body, count)
    for i, direction in enumerate(scan_output_directions or []):
        outs[i] = weft.flip(outs[i], axis=0) if flag("direction", direction) else outs[i]
    for i, axis in enumerate(scan_output_axes or []):
        outs[i] = weft.moveaxis(outs[i], 0, axis_of(axis, outs[i].ndim))
    return *states, *outs


@operator("Scan", 8)
def scan_of_batches(
    lengths: Any, *values: Any, body: Any, num_scan_inputs: int, directions: Any = None, context: Any
) -> Any:
    """As it was in opset 8: an axis of batches before all, each run alone."""
    if lengths is not None:
        raise ValueError("Scan: expected no sequence_lens before opset 9, got some")
    runs = [
        scan(*[v[b] for v in values], body=body, num_scan_inputs=num_scan_inputs, scan_input_directions=directions,
             context=context)
        for b in range(values[0].shape[0])
    ]  # fmt: skip
    return tuple(weft.stack(list(column)) for column in zip(*runs))


# ---- sequences: Python lists


def place(position: Any, n: int, last: int) -> int:
    i = number(position)
    if not -n <= i <= last:
        raise IndexError(f"expected a position in [{-n}, {last}], got {i}")
    return int(i + n if i < 0 else i)


@operator("SequenceEmpty", 11)
def sequence_empty(*, dtype: int = 1) -> Any:
    dtype_of(dtype)
    return []


@operator("SequenceConstruct", 11)
def sequence_construct(first: Any, *others: Any) -> Any:
    return [first, *others]


@operator("SequenceInsert", 11)
def sequence_insert(sequence: Any, x: Any, position: Any = None) -> Any:
    i = len(sequence) if position is None else place(position, len(sequence), len(sequence))
    return [*sequence[:i], x, *sequence[i:]]


@operator("SequenceErase", 11)
def sequence_erase(sequence: Any, position: Any = None) -> Any:
    i = place(integers(-1) if position is None else position, len(sequence), len(sequence) - 1)
    return [*sequence[:i], *sequence[i + 1 :]]


@operator("SequenceAt", 11)
def sequence_at(sequence: Any, position: Any) -> Any:
    return sequence[place(position, len(sequence), len(sequence) - 1)]


@operator("SequenceLength", 11)
def sequence_length(sequence: Any) -> Any:
    return integers(len(sequence))


@operator("ConcatFromSequence", 11)
def concat_from_sequence(sequence: Any, *, axis: int, new_axis: int = 0) -> Any:
    if flag("new_axis", new_axis):
        return weft.stack(sequence, axis=axis_of(axis, sequence[0].ndim + 1))
    return weft.concat(sequence, axis=axis_of(axis, sequence[0].ndim))


@operator("SplitToSequence", 11)
def split_to_sequence(x: Any, split: Any = None, *, axis: int = 0, keepdims: int = 1) -> Any:
    axis = axis_of(axis, x.ndim)
    n = x.shape[axis]
    if split is None:
        parts = weft.unstack(x, axis=axis)
        return [weft.expand_dims(p, axis=axis) for p in parts] if flag("keepdims", keepdims) else list(parts)
    sizes = ints(split)
    if split.ndim == 0:
        each = sizes[0]
        if each < 1:
            raise ValueError(f"SplitToSequence: expected pieces of at least 1, got {each}")
        sizes = [min(each, n - i) for i in range(0, n, each)]
    return list(weft.split(x, sizes, axis=axis))


# ---- optional values: None, or what is there


@operator("Optional", 15)
def optional(x: Any = None, *, type: Any = None) -> Any:
    if x is None and type is None:
        raise ValueError("Optional: expected a type where there is no value, got none")
    return x


@operator("OptionalHasElement", 15)
def optional_has_element(x: Any = None) -> Any:
    return Tensor(np.asarray(x is not None))


@operator("OptionalGetElement", 15)
def optional_get_element(x: Any) -> Any:
    if x is None:
        raise ValueError("OptionalGetElement: expected a value, got none")
    return x
