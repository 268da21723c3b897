"""Taking and putting by position."""

from __future__ import annotations

from typing import Any

import numpy as np

import weft
from weft.onnx.operators import operator
from weft.onnx.operators.common import axis_of, flag, host, ints, like, number, one_of
from weft.ops.index import getitem, put, replace


def positions(indices: Any, n: int, name: str) -> np.ndarray[Any, Any]:
    """Indices into n, negative ones counted from behind; IndexError outside."""
    found = host(indices)
    if found.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected integer indices, got {found.dtype}")
    found = found.astype(np.int64)
    if found.size and not -n <= found.min() <= found.max() < n:
        raise IndexError(f"{name}: expected indices in [{-n}, {n}), got {found.min()} to {found.max()}")
    return np.where(found < 0, found + n, found)


@operator("Gather")
def gather(x: Any, indices: Any, *, axis: int = 0) -> Any:
    axis = axis_of(axis, x.ndim)
    return weft.take(x, like(positions(indices, x.shape[axis], "Gather"), x), axis=axis)


def grid(indices: np.ndarray[Any, Any], axis: int) -> tuple[np.ndarray[Any, Any], ...]:
    """For each position of `indices` that position, with the index in place of its coordinate on `axis`."""
    places = list(np.indices(indices.shape, sparse=True))
    places[axis] = indices
    return tuple(np.broadcast_arrays(*places))


@operator("GatherElements", 11)
def gather_elements(x: Any, indices: Any, *, axis: int = 0) -> Any:
    axis = axis_of(axis, x.ndim)
    found = positions(indices, x.shape[axis], "GatherElements")
    if found.ndim != x.ndim:
        raise ValueError(f"GatherElements: expected indices of {x.ndim} axes, got {found.shape}")
    return getitem(x, grid(found, axis))


def tuples(indices: Any, shape: Any, batch: int, name: str) -> tuple[np.ndarray[Any, Any], ...]:
    """The last axis of `indices` as one array of indices for each axis after the `batch` first."""
    found = host(indices)
    depth = found.shape[-1] if found.ndim else 0
    if not found.ndim or batch + depth > len(shape):
        raise ValueError(f"{name}: expected indices (..., at most {len(shape) - batch}), got {found.shape}")
    inner = [positions(like(found[..., i], indices), shape[batch + i], name) for i in range(depth)]
    lead = np.indices(found.shape[:-1], sparse=True)[:batch]
    return tuple(np.broadcast_arrays(*lead, *inner)) if batch + depth else ()


@operator("GatherND", 11)
def gather_nd(x: Any, indices: Any, *, batch_dims: int = 0) -> Any:
    if x.shape[:batch_dims] != indices.shape[:batch_dims]:
        raise ValueError(f"GatherND: expected {batch_dims} equal axes first, got {x.shape} and {indices.shape}")
    return getitem(x, tuples(indices, x.shape, batch_dims, "GatherND"))


UFUNCS = {"mul": np.multiply, "max": np.maximum, "min": np.minimum}


def scattered(x: Any, index: tuple[np.ndarray[Any, Any], ...], updates: Any, reduction: str) -> Any:
    """x with updates put, added, or combined at `index`; gradients flow through the first two."""
    one_of("reduction", reduction, ("none", "add", *UFUNCS))
    if updates.dtype != x.dtype:
        raise TypeError(f"Scatter: expected updates of {x.dtype}, got {updates.dtype}")
    if reduction == "none":
        return replace(x, updates, index=tuple(like(i, x).data for i in index))
    if reduction == "add" and x.dtype.kind == "f":
        return x + put(updates, index=tuple(like(i, x).data for i in index), shape=x.shape)
    out = host(x).copy()
    (np.add if reduction == "add" else UFUNCS[reduction]).at(out, index, host(updates))
    return like(out, x)


def scatter_elements(x: Any, indices: Any, updates: Any, *, axis: int = 0, reduction: str = "none") -> Any:
    axis = axis_of(axis, x.ndim)
    found = positions(indices, x.shape[axis], "ScatterElements")
    if found.ndim != x.ndim or found.shape != updates.shape:
        raise ValueError(f"ScatterElements: expected indices and updates alike, got {found.shape} and {updates.shape}")
    return scattered(x, grid(found, axis), updates, reduction)


operator("ScatterElements", 16)(scatter_elements)
for name, since in (("Scatter", 9), ("ScatterElements", 11)):
    operator(name, since)(lambda x, indices, updates, *, axis=0: scatter_elements(x, indices, updates, axis=axis))


@operator("ScatterND", 11)
def scatter_nd(x: Any, indices: Any, updates: Any, *, reduction: str = "none") -> Any:
    index = tuples(indices, x.shape, 0, "ScatterND")
    wanted = indices.shape[:-1] + x.shape[len(index) :]
    if updates.shape != wanted:
        raise ValueError(f"ScatterND: expected updates {wanted}, got {updates.shape}")
    return scattered(x, index, updates, reduction)


@operator("TensorScatter", 24)
def tensor_scatter(x: Any, update: Any, write: Any = None, *, axis: int = -2, mode: str = "linear") -> Any:
    """A cache (batch, ...) with `update` written from each batch's position on, around the end where circular."""
    one_of("mode", mode, ("linear", "circular"))
    axis = axis_of(axis, x.ndim)
    length, new = x.shape[axis], update.shape[axis]
    starts = np.zeros(x.shape[0], np.int64) if write is None else host(write)
    places = starts[:, None] + np.arange(new)  # (batch, new)
    if mode == "linear" and (places.max(initial=0) >= length or starts.min(initial=0) < 0):
        raise IndexError(f"TensorScatter: expected {new} places from {starts.tolist()} on within {length}")
    line = [1] * x.ndim
    line[0], line[axis] = places.shape
    index = list(np.indices(update.shape, sparse=True))
    index[axis] = (places % length).reshape(line)
    return scattered(x, tuple(np.broadcast_arrays(*index)), update, "none")


@operator("OneHot", 9)
def one_hot(indices: Any, depth: Any, values: Any, *, axis: int = -1) -> Any:
    """values[1] where the new axis names the index (negative ones from behind), values[0] elsewhere and outside."""
    n = int(number(depth))
    axis = axis_of(axis, indices.ndim + 1)
    found = np.expand_dims(host(indices), axis)
    places = np.arange(n).reshape([-1 if i == axis else 1 for i in range(indices.ndim + 1)])
    hit = like((found == places) | (found == places - n), values)
    return weft.where(hit, values[1], values[0])


@operator("NonZero", 9)
def nonzero(x: Any) -> Any:
    return like(np.stack(np.nonzero(np.atleast_1d(host(x.detach())))).astype(np.int64), x)


@operator("Compress", 9)
def compress(x: Any, condition: Any, *, axis: int | None = None) -> Any:
    where = np.flatnonzero(host(condition))
    if axis is None:
        x, axis = x.reshape(-1), 0
    axis = axis_of(axis, x.ndim)
    return weft.take(x, like(positions(like(where, x), x.shape[axis], "Compress"), x), axis=axis)


@operator("Unique", 11)
def unique(x: Any, *, axis: int | None = None, sorted: int = 1) -> Any:
    """The values, where each is first, which one each value is, how often there is each."""
    values = host(x)
    found, first, inverse, counts = np.unique(
        values, return_index=True, return_inverse=True, return_counts=True, axis=axis
    )
    inverse = inverse.reshape(-1)
    if not flag("sorted", sorted):
        order = np.argsort(first)
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        found, first, inverse, counts = (
            np.take(found, order, axis=axis or 0),
            first[order],
            rank[inverse],
            counts[order],
        )
    return like(found, x), *(like(a.astype(np.int64), x) for a in (first, inverse, counts))


@operator("ReverseSequence", 10)
def reverse_sequence(x: Any, lengths: Any, *, batch_axis: int = 1, time_axis: int = 0) -> Any:
    """The first lengths[b] steps of each batch entry in reverse."""
    if {batch_axis, time_axis} != {0, 1}:
        raise ValueError(f"ReverseSequence: expected axes 0 and 1, got {batch_axis} and {time_axis}")
    counts, time = np.asarray(ints(lengths)), np.arange(x.shape[time_axis])
    if len(counts) != x.shape[batch_axis] or counts.min(initial=1) < 0 or counts.max(initial=0) > len(time):
        raise ValueError(f"ReverseSequence: expected {x.shape[batch_axis]} lengths within {len(time)}, got {counts}")
    places = np.where(time < counts[:, None], counts[:, None] - 1 - time, time)  # (batch, time)
    batch = np.arange(len(counts))[:, None]
    index = (places.T, batch.T) if time_axis == 0 else (batch, places)
    return getitem(x, tuple(like(a, x) for a in np.broadcast_arrays(*index)))
