"""Indices with arrays in them, on devices: NumPy's rules over `take` and `scatter_add`.

The axes that arrays name come to the front and merge into one, along which one array of positions says which rows are
meant. Only a mask makes the host wait, for how many values it names.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from weft.backends.gpu.array import DeviceArray, namespace


class Rows(NamedTuple):
    """What an index names: rows of the part `view` of an array."""

    view: Any
    axes: tuple[int, ...]
    """Of the view: those that arrays name, then the others."""
    positions: Any
    """Which rows, along the first of these merged into one; negative ones count from the end."""
    length: int
    """How many rows there are."""
    rest: tuple[int, ...]
    """The shape of a row."""
    place: int
    """Where the axes of the positions stand in the result."""

    def rows(self) -> Any:
        """The view as (length, *rest)."""
        xp = namespace()
        return xp.reshape(xp.permute_dims(self.view, self.axes), (self.length, *self.rest))

    def back(self, rows: Any) -> Any:
        """(length, *rest) as the view lies."""
        xp = namespace()
        lengths = tuple([self.view.shape[a] for a in self.axes])
        return xp.permute_dims(xp.reshape(rows, lengths), inverse(self.axes))

    def to_result(self) -> tuple[int, ...]:
        """The axes of (*positions, *rest) in the order of the result."""
        n, k = self.positions.ndim, self.place
        others = range(n, n + len(self.rest))
        return (*others[:k], *range(n), *others[k:])

    def wrapped(self) -> Any:
        """The positions in one line, none negative."""
        xp = namespace()
        flat = xp.reshape(self.positions, (-1,))
        return xp.where(flat < 0, flat + self.length, flat)


def inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(np.argsort(order).tolist())


def get(x: Any, index: Any) -> Any:
    """x[index], a copy."""
    xp, named = namespace(), resolve(x, index)
    out = xp.take(named.rows(), named.positions, axis=0)
    return xp.permute_dims(out, named.to_result()) if named.place else out


def add_at(x: Any, index: Any, values: Any) -> None:
    """x[index] += values, where positions that are named twice receive both."""
    from weft.backends.gpu.array import is_basic

    xp = namespace()
    if is_basic(index):
        xp.accumulate(x.basic(index), values)
        return
    named = resolve(x, index)
    flat = value_rows(named, values)
    summed = xp.scatter_add(flat, named.wrapped(), rows=named.length)
    xp.accumulate(named.view, named.back(summed))


def put(x: Any, index: Any, value: Any) -> None:
    """x[index] = value; of positions that are named twice the last value counts."""
    xp = namespace()
    masked = isinstance(index, DeviceArray) and index.dtype.kind == "b" and index.ndim <= x.ndim
    if masked and not (isinstance(value, DeviceArray) and value.ndim):  # no need to know how many
        mask = xp.reshape(index, (*index.shape, *(1,) * (x.ndim - index.ndim)))
        xp.assign(x, xp.where(mask, value, x))
        return
    named = resolve(x, index)
    if not isinstance(value, DeviceArray):
        value = xp.full((), value, dtype=x.dtype, device=x.device_name)
    flat, at = value_rows(named, value), named.wrapped()
    if not at.size:
        return
    order = np.argsort(at, kind="stable")
    ordered = xp.take(at, order, axis=0)
    differs = xp.not_equal(ordered[1:], ordered[:-1])
    last = xp.concat((differs, xp.ones((1,), dtype=bool, device=x.device_name)), axis=0)
    # One row of values at most is the last for each position; its number, from 1, arrives there and 0 elsewhere.
    numbers = xp.astype(xp.where(last, order + 1, xp.zeros_like(order)), np.dtype(np.float64))
    source = xp.scatter_add(xp.reshape(numbers, (-1, 1)), ordered, rows=named.length)
    source = xp.astype(source, np.dtype(np.int64)) - 1  # (length, 1)
    taken = xp.take(flat, xp.reshape(xp.maximum(source, 0), (-1,)), axis=0)
    rows = xp.reshape(named.rows(), (named.length, -1 if named.length else 0))
    xp.assign(named.view, named.back(xp.where(source >= 0, xp.astype(taken, x.dtype), rows)))


def value_rows(named: Rows, values: Any) -> Any:
    """Values for x[index], broadcast to its shape, as (rows, values of a row)."""
    xp, order = namespace(), named.to_result()
    full = (*named.positions.shape, *named.rest)
    values = xp.broadcast_to(values, tuple([full[a] for a in order]))
    return xp.reshape(xp.permute_dims(values, inverse(order)), (named.positions.size, math.prod(named.rest)))


def resolve(x: Any, index: Any) -> Rows:
    """What an index with arrays in it names of x."""
    parts: list[Any] = []
    for part in index if type(index) is tuple else (index,):
        if isinstance(part, np.ndarray):
            raise TypeError(f"getitem: expected both on one device, got {x.device_name} and cpu (numpy.ndarray)")
        if isinstance(part, DeviceArray) and part.dtype.kind == "b":
            parts += np.nonzero(part)  # one array of positions for each of its axes
        elif isinstance(part, DeviceArray) or part is None or part is Ellipsis or isinstance(part, slice):
            parts.append(part)
        else:
            parts.append(int(part))
    named = sum([part is not None and part is not Ellipsis for part in parts])
    if named > x.ndim:
        raise IndexError(f"getitem: expected an index of at most {x.ndim} parts for shape {x.shape}, got {named}")
    if not any(part is Ellipsis for part in parts):
        parts.append(Ellipsis)
    where = next(i for i, part in enumerate(parts) if part is Ellipsis)
    parts[where : where + 1] = [slice(None)] * (x.ndim - named)

    arrays = [(i, part) for i, part in enumerate(parts) if isinstance(part, DeviceArray)]
    pointed = [i for i, part in enumerate(parts) if isinstance(part, (int, DeviceArray))]
    view = x.basic(tuple([slice(None) if isinstance(part, DeviceArray) else part for part in parts]))
    axes = tuple([i - sum([type(part) is int for part in parts[:i]]) for i, _ in arrays])
    others = tuple([a for a in range(view.ndim) if a not in axes])
    together = pointed[-1] - pointed[0] == len(pointed) - 1
    positions, count = merged([part for _, part in arrays], [view.shape[a] for a in axes])
    rest = tuple([view.shape[a] for a in others])
    return Rows(view, (*axes, *others), positions, count, rest, axes[0] if together else 0)


def merged(arrays: list[Any], lengths: list[int]) -> tuple[Any, int]:
    """Positions along several axes as positions along all of them in one line; out of range stays out of range."""
    if len(arrays) == 1:
        return arrays[0], lengths[0]
    xp, count = namespace(), math.prod(lengths)
    total, inside = None, None
    for array, n in zip(arrays, lengths):
        array = array if array.dtype == np.int64 else xp.astype(array, np.dtype(np.int64))
        fits = xp.logical_and(array >= -n, array < n)
        at = xp.where(array < 0, array + n, array)
        total = at if total is None else total * n + at
        inside = fits if inside is None else xp.logical_and(inside, fits)
    return xp.where(inside, total, count), count
