"""What moves values: shapes, slices, taking by position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from weft.onnx.emit import Emitter, Value
from weft.onnx.errors import UnsupportedError
from weft.onnx.exporters import exports
from weft.onnx.trace import Sym

END = 2**62  # past the end of any axis


@exports("reshape")
def reshape(to: Emitter, x: Any, *, shape: Any, copy: Any = None) -> Any:
    wanted = [shape] if isinstance(shape, (int, Sym)) else list(shape)
    if -1 in wanted:
        if sum(isinstance(n, Sym) for n in wanted):
            return to.node("Reshape", x, to.shape(wanted))
        return to.node("Reshape", x, to.constant(wanted, np.int64), allowzero=int(0 in wanted) or None)
    if 0 in wanted:
        return to.node("Reshape", x, to.shape(wanted), allowzero=1)
    return to.reshape(x, x.shape, wanted)


@exports("permute_dims")
def permute_dims(to: Emitter, x: Any, *, axes: Sequence[int]) -> Any:
    return to.node("Transpose", x, perm=[a % x.ndim for a in axes])


@exports("swapaxes")
def swapaxes(to: Emitter, x: Any, *, axis1: int, axis2: int) -> Any:
    order = list(range(x.ndim))
    order[axis1], order[axis2] = order[axis2], order[axis1]
    return to.node("Transpose", x, perm=order)


@exports("moveaxis")
def moveaxis(to: Emitter, x: Any, *, source: Any, destination: Any) -> Any:
    order = np.moveaxis(np.empty(range(2, 2 + x.ndim)), source, destination).shape  # lengths that name the axes
    return to.node("Transpose", x, perm=[n - 2 for n in order])


@exports("expand_dims")
def expand_dims(to: Emitter, x: Any, *, axis: Any = 0) -> Any:
    axes = (axis,) if isinstance(axis, int) else axis
    return to.unsqueeze(x, *(a % (x.ndim + len(axes)) for a in axes))


@exports("squeeze")
def squeeze(to: Emitter, x: Any, *, axis: Any) -> Any:
    return to.squeeze(x, *(a % x.ndim for a in ((axis,) if isinstance(axis, int) else axis)))


@exports("broadcast_to")
def broadcast_to(to: Emitter, x: Any, *, shape: Any) -> Any:
    return to.node("Expand", x, to.shape(list(shape)))


@exports("flip")
def flip(to: Emitter, x: Any, *, axis: Any = None) -> Any:
    axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    for a in axes:
        x = to.slice(x, a % (x.ndim if isinstance(x, Value) else to.outs[0].ndim), -1, -END, -1)
    return x


@exports("roll")
def roll(to: Emitter, x: Any, *, shift: Any, axis: Any = None) -> Any:
    shifts, axes = ((shift,), (axis,)) if isinstance(shift, (int, Sym)) else (shift, axis)
    out, ndim = x, x.ndim
    if axis is None:
        out, axes, ndim = to.reshape(x, None, [-1]), (0,) * len(shifts), 1
    for by, a in zip(shifts, axes):
        n = x.first.size if axis is None else x.first.shape[a]
        if not isinstance(by, int) or not n:
            raise UnsupportedError(f"expected a shift that is fixed, got {by}")
        if abs(by) > n or (isinstance(x.shape[a or 0], Sym) and abs(by) > 1):
            raise UnsupportedError(f"expected a shift within a fixed length, got {by} of {n}")
        if by:
            out = to.node("Concat", to.slice(out, a % ndim, -by, END), to.slice(out, a % ndim, 0, -by), axis=a % ndim)
    return to.reshape(out, None, x.shape) if axis is None else out


@exports("tile")
def tile(to: Emitter, x: Any, *, repetitions: Any) -> Any:
    counts = [repetitions] if isinstance(repetitions, (int, Sym)) else list(repetitions)
    more = len(counts) - x.ndim
    value = to.unsqueeze(x, *range(more)) if more > 0 else x
    return to.node("Tile", value, to.shape([1] * max(-more, 0) + counts))


@exports("repeat_each")
def repeat_each(to: Emitter, x: Any, *, repeats: Any, axis: Any) -> Any:
    if not isinstance(repeats, (int, Sym)):
        raise UnsupportedError("expected one number of repeats, got one for each value")
    value = to.reshape(x, None, [-1]) if axis is None else x
    axis, ndim = (0, 1) if axis is None else (axis % x.ndim, x.ndim)
    spread = to.node(
        "Tile", to.unsqueeze(value, axis + 1), to.shape([1] * (axis + 1) + [repeats] + [1] * (ndim - axis - 1))
    )
    shape = to.node("Shape", value)
    parts = [to.slice(shape, 0, 0, axis), to.constant([-1], np.int64), to.slice(shape, 0, axis + 1, END)]
    return to.node("Reshape", spread, to.node("Concat", *parts, axis=0))


@exports("pad")
def pad(to: Emitter, x: Any, *, widths: Any, value: Any = 0.0) -> Any:
    if isinstance(widths, (int, Sym)):
        widths = ((widths, widths),) * x.ndim
    flat = to.shape([a for a, _ in widths] + [b for _, b in widths])
    return to.node("Pad", x, flat, to.scalar(value, x.dtype))


def triangle(upper: int) -> Any:
    return lambda to, x, *, k=0: to.node("Trilu", x, to.constant(k, np.int64), upper=upper)


exports("tril")(triangle(0))
exports("triu")(triangle(1))


@exports("concat_arrays")
def concat_arrays(to: Emitter, *arrays: Any, axis: Any) -> Any:
    if axis is None:
        return to.node("Concat", *(to.reshape(x, None, [-1]) for x in arrays), axis=0)
    return to.node("Concat", *arrays, axis=axis % arrays[0].ndim)


@exports("stack_arrays")
def stack_arrays(to: Emitter, *arrays: Any, axis: int) -> Any:
    axis %= arrays[0].ndim + 1
    return to.node("Concat", *(to.unsqueeze(x, axis) for x in arrays), axis=axis)


@exports("split_heads")
def split_heads(to: Emitter, x: Any, *, parts: int, heads: int, batch_first: bool = True) -> Any:
    width = x.first.shape[2] // (parts * heads)
    first, second = x.shape[:2]
    order = (2, 0, 3, 1, 4) if batch_first else (2, 1, 3, 0, 4)
    y = to.node("Transpose", to.reshape(x, x.shape, [first, second, parts, heads, width]), perm=order)
    if parts == 1:
        return (to.squeeze(y, 0),)
    return tuple(to.squeeze(part, 0) for part in to.split(y, parts, 0))


# ---- by position


@exports("get")
def get(to: Emitter, x: Any, *, index: Any) -> Any:
    return indexed(to, x, index)


def indexed(to: Emitter, x: Any, index: Any) -> Any:
    """x[index]: slices, then integers and arrays of them, then new axes."""
    items = list(index) if type(index) is tuple else [index]
    consumed = sum(i is not None and i is not Ellipsis for i in items)
    if sum(i is Ellipsis for i in items) == 0:
        items.append(Ellipsis)
    at = next(k for k, i in enumerate(items) if i is Ellipsis)
    items[at : at + 1] = [slice(None)] * (x.ndim - consumed)
    out: Any = x
    axis, dropped, arrays, added, place = 0, [], [], [], 0
    for item in items:
        if item is None:
            added.append(place)
            place += 1
            continue
        if isinstance(item, slice):
            if item != slice(None):
                out = sliced(to, out, axis, item)
            place += 1
        elif isinstance(item, (int, Sym)) and not isinstance(item, bool):
            last = item == -1
            out = to.slice(out, axis, item, END if last else after(item))
            dropped.append(axis)
        elif isinstance(item, Value) and item.dtype.kind in "iu":
            arrays.append((axis, item, place))
            place += 1
        else:
            raise UnsupportedError(f"expected an index of integers and slices, got {kind_of(item)}")
        axis += 1
    if arrays:
        where = arrays[0][0]
        picked = sorted([a for a, _, _ in arrays] + dropped)  # NumPy puts first what stands apart
        if (
            added
            or (picked[-1] - picked[0] >= len(picked) and where > sum(d < where for d in dropped))
            or len(arrays) > 1
            and (dropped or [a for a, _, _ in arrays] != list(range(arrays[0][0], arrays[-1][0] + 1)))
        ):
            raise UnsupportedError("expected arrays of indices that stand together, with no new axes between")
        if len(arrays) == 1:
            item = arrays[0][1]
            if any(d > where for d in dropped) and item.ndim != 1:
                where -= sum(d < where for d in dropped)
                out, dropped = to.squeeze(out, *dropped), []
            out = to.node("Gather", out, item, axis=where)
        else:
            out = gathered(to, out, x.ndim, arrays)
    if dropped:
        out = to.squeeze(out, *dropped)
    if added:
        out = to.unsqueeze(out, *added)
    return out if out is not x else to.node("Identity", x)


def after(n: Any) -> Any:
    return Sym(n.first + 1, n.second + 1) if isinstance(n, Sym) else n + 1


def kind_of(item: Any) -> str:
    return f"an array of {item.dtype}" if isinstance(item, Value) else type(item).__name__


def sliced(to: Emitter, x: Any, axis: int, item: slice) -> Any:
    step = 1 if item.step is None else item.step
    if not isinstance(step, int):
        raise UnsupportedError("expected a step that is fixed")
    start = item.start if item.start is not None else 0 if step > 0 else END
    stop = item.stop if item.stop is not None else END if step > 0 else -END
    return to.slice(x, axis, start, stop, step)


def gathered(to: Emitter, x: Any, ndim: int, arrays: list[tuple[int, Any, int]]) -> Any:
    """Several arrays of indices on axes that stand together, by GatherND."""
    first, count = arrays[0][0], len(arrays)
    depth = max(item.ndim for _, item, _ in arrays)
    order = [*range(first, first + count), *range(first), *range(first + count, ndim)]
    moved = to.node("Transpose", x, perm=order) if first else x
    wide = [to.cast(item, item.dtype, np.int64) for _, item, _ in arrays]
    if len({item.shape for _, item, _ in arrays}) > 1:
        total = wide[0]
        for other in wide[1:]:
            total = to.node("Add", total, other)
        shape = to.node("Shape", total)
        wide = [to.node("Expand", item, shape) for item in wide]
    tuples = to.node("Concat", *(to.unsqueeze(item, depth) for item in wide), axis=depth)
    out = to.node("GatherND", moved, tuples)
    if not first:
        return out
    back = [*range(depth, depth + first), *range(depth), *range(depth + first, depth + ndim - count)]
    return to.node("Transpose", out, perm=back)


@exports("take_at")
def take_at(to: Emitter, x: Any, *, indices: Any, axis: int) -> Any:
    return to.node("Gather", x, to.cast(indices, indices.dtype, np.int64), axis=axis)


@exports("gather")
def gather(to: Emitter, x: Any, *, indices: Any, axis: int) -> Any:
    return to.node("GatherElements", x, to.cast(indices, indices.dtype, np.int64), axis=axis)


@exports("look_up")
def look_up(to: Emitter, indices: Any, weight: Any, *, padding_idx: Any) -> Any:
    return to.node("Gather", weight, to.cast(indices, indices.dtype, np.int64), axis=0)


@exports("gather_windows")
def gather_windows(to: Emitter, x: Any, *, taps: Any) -> Any:
    return to.node("Concat", *(to.unsqueeze(indexed(to, x, tap), 2) for tap in taps), axis=2)


@exports("add_windows")
def add_windows(to: Emitter, x: Any, *, taps: Any, shape: Any) -> Any:
    """Tap by tap, matrices of 0 and 1 that put rows and columns where the tap's slices say."""
    spatial = list(shape[2:])
    if len(spatial) > 2 or any(isinstance(n, Sym) for n in spatial):
        raise UnsupportedError(f"expected windows of one or two axes of a fixed size, got {shape}")
    total = None
    for k, tap in enumerate(taps):
        part = to.squeeze(to.slice(x, 2, k, k + 1), 2)
        places = [np.arange(n)[i] for n, i in zip(spatial, tap[2:])]
        put = [np.eye(n, dtype=x.dtype)[where] for n, where in zip(spatial, places)]  # (windows, n)
        part = to.node("MatMul", part, to.constant(put[-1]))
        if len(put) == 2:
            part = to.node("MatMul", to.constant(put[0].T), part)
        total = part if total is None else to.node("Add", total, part)
    return total


@exports("scatter_add")
def scatter_add(to: Emitter, g: Any, indices: Any, *, rows: Any) -> Any:
    """Rows of g (*indices.shape, D) added up in a table (rows, D), each at its index."""
    width = g.first.shape[-1]
    table = to.node("Expand", to.constant(0, g.dtype), to.shape([rows, width]))
    places = to.reshape(to.cast(indices, indices.dtype, np.int64), None, [-1, 1])
    return to.node("ScatterND", table, places, to.reshape(g, None, [-1, width]), reduction="add")
