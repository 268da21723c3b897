"""The gradients of slices, without the zeros around them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from weft.backends import array, writes


class Pieces:
    """Gradients at their indices in an array of `shape` that is zero elsewhere; positions named twice add up.

    Backward collects the pieces of one array and lays them into one buffer, so that cutting an array into n parts does
    not cost n arrays of its size on the way back. Parts that make up the array need no zeros, and no copy either where
    a kernel has written them side by side.
    """

    __slots__ = ("parts", "shape")

    def __init__(self, parts: list[tuple[Any, Any]], shape: tuple[int, ...]):
        self.parts, self.shape = parts, shape  # (gradient, index)

    @property
    def dtype(self) -> Any:
        return self.parts[0][0].dtype

    def whole(self) -> Any:
        """The array itself."""
        if not make_up([index for _, index in self.parts], self.shape):
            out = self.made("zeros")
            self.add_to(out)
            return out
        out = self.in_place()
        if out is None:
            out = self.made("empty")
            for g, index in self.parts:
                out[index] = g
        return out

    def made(self, name: str) -> Any:
        """`zeros` or `empty` of this shape and dtype, beside the parts."""
        device = array.device_of(self.parts[0][0])
        make = getattr(array.namespace(self.parts[0][0]), name)
        return make(self.shape, self.dtype) if device == "cpu" else make(self.shape, self.dtype, device=device)

    def add_to(self, out: Any) -> None:
        for g, index in self.parts:
            if isinstance(g, array.OnDevice):
                array.namespace(g).add_at(out, index, g)
            elif unique(index):
                out[index] += g
            else:
                np.add.at(out, index, g)

    def in_place(self) -> Any:
        """The array that the pieces are already parts of, each at its index, or None."""
        memory = writes.owner(self.parts[0][0])
        if memory.size != math.prod(self.shape) or not memory.flags.c_contiguous or not writes.writable(memory):
            return None
        out = memory.reshape(self.shape)
        return out if all(same_place(out[index], g) for g, index in self.parts) else None


def same_place(a: Any, b: Any) -> bool:
    return bool(pointer(a) == pointer(b) and a.strides == b.strides and a.dtype == b.dtype)


def pointer(a: Any) -> int:
    return int(a.ctypes.data if type(a) is np.ndarray else a.pointer)


def unique(index: Any) -> bool:
    """Whether no position can be named twice."""
    arrays = [i for i in (index if type(index) is tuple else (index,)) if isinstance(i, array.ARRAYS)]
    return not arrays or (len(arrays) == 1 and arrays[0].dtype == bool)


def make_up(indices: list[Any], shape: tuple[int, ...]) -> bool:
    """Whether the indices are slices along one axis that together name every position of `shape` once."""
    spans = []
    for index in indices:
        cuts = [span(p, n) for p, n in zip(index if type(index) is tuple else (index,), shape, strict=False)]
        partial = [(axis, *cut) for axis, (cut, n) in enumerate(zip(cuts, shape, strict=False)) if cut != (0, n)]
        if len(partial) != 1:
            return len(indices) == 1 and not partial
        spans.append(partial[0])
    spans.sort()
    axis, ends = spans[0][0], [0, *(end for _, _, end in spans)]
    return ends[-1] == shape[axis] and all(s == (axis, end, s[2]) for s, end in zip(spans, ends, strict=False))


def span(part: Any, length: int) -> tuple[int, int]:
    """The first position and the end of what one part of an index names, (-1, -1) where that is not a run."""
    if type(part) is int:
        return part % length, part % length + 1
    if type(part) is not slice:
        return -1, -1
    run = range(length)[part]
    return (run.start, run.stop) if run.step == 1 and len(run) else (-1, -1)
