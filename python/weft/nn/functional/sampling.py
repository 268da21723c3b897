"""Values between the pixels of images: what lies at real positions, inside and outside."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from weft import ops
from weft.autograd import Tensor
from weft.backends.device import beside, host_copy

Array = np.ndarray[Any, Any]


def sampled(x: Any, places: list[Any], mode: str, padding: str, align: bool = False) -> Any:
    """x (N, C, *in) at real positions (N, *out), one Tensor for each axis, in pixels -> (N, C, *out).

    mode: "nearest", "linear" or "cubic". padding: what lies outside, "zeros", "border", "wrap" or "reflection", which
    repeats the pixel at the border unless `align`.  Gradients reach x and, but for "nearest", the positions.
    """
    choices = []  # for each axis: [(indices, whether they count, weights)]
    for length, place in zip(x.shape[2:], places):
        raw = host_copy(place.data)
        taps: list[tuple[Array, Any]] = []
        if mode == "nearest":
            taps.append((np.rint(raw).astype(np.int64), None))
        else:
            low = np.floor(raw)
            t = place - Tensor(beside(low, x))  # in [0, 1), with the places' gradient
            for k in (0, 1) if mode == "linear" else (-1, 0, 1, 2):
                taps.append((low.astype(np.int64) + k, weight_of(t, k, mode)))
        choices.append([(*folded(i, length, padding, align), w) for i, w in taps])
    batch = np.arange(x.shape[0]).reshape((-1,) + (1,) * len(places))
    channels_last = ops.moveaxis(x, 1, -1)  # (N, *in, C)
    total = None
    for chosen in itertools.product(*choices):
        index = tuple(Tensor(beside(i, x)) for i in np.broadcast_arrays(batch, *(c[0] for c in chosen)))
        value = channels_last[index]  # (N, *out, C)
        counts = np.logical_and.reduce([c[1] for c in chosen])
        weight: Any = None if counts.all() else Tensor(beside(counts.astype(x.dtype), x))
        for _, _, w in chosen:
            weight = w if weight is None else weight if w is None else weight * w
        if weight is not None:
            value = value * ops.expand_dims(weight, axis=-1)
        total = value if total is None else total + value
    return ops.moveaxis(total, -1, 1)


def folded(i: Array, n: int, padding: str, align: bool) -> tuple[Array, Array]:
    """(indices within n, whether they count) of indices that may lie outside."""
    if padding == "zeros":
        return np.clip(i, 0, n - 1), (i >= 0) & (i < n)
    everywhere = np.ones(i.shape, bool)
    if padding == "wrap":
        return i % n, everywhere
    if padding == "border" or n == 1:
        return np.clip(i, 0, n - 1), everywhere
    period = 2 * (n - 1) if align else 2 * n
    i = i % period
    return np.where(i >= n, period - i - (0 if align else 1), i), everywhere


def weight_of(t: Any, k: int, mode: str) -> Any:
    """The weight of the value k steps from the one before the place, t behind that."""
    if mode == "linear":
        return t if k else 1 - t
    a = -0.75
    d = {-1: t + 1, 0: t, 1: 1 - t, 2: 2 - t}[k]
    if k in (0, 1):
        return ((a + 2) * d - (a + 3)) * d * d + 1
    return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
