"""The gradient of a slice, without the zeros around it."""

from __future__ import annotations

from typing import Any

import numpy as np

from weft.backends import array


class Piece:
    """`g` at `index` of an array of `shape` that is zero elsewhere; positions that `index` repeats add up.

    Backward writes the pieces of one array into one buffer, so that cutting an array into n parts does not cost n
    arrays of its size on the way back.
    """

    __slots__ = ("g", "index", "shape")

    def __init__(self, g: Any, index: Any, shape: tuple[int, ...]):
        self.g, self.index, self.shape = g, index, shape

    @property
    def dtype(self) -> Any:
        return self.g.dtype

    def unique(self) -> bool:
        """Whether no position can be named twice."""
        parts = self.index if type(self.index) is tuple else (self.index,)
        arrays = [i for i in parts if isinstance(i, np.ndarray)]
        return not arrays or (len(arrays) == 1 and arrays[0].dtype == bool)

    def whole(self) -> Any:
        """The array itself."""
        out = array.zeros(self.shape, self.g.dtype)
        if self.unique():
            out[self.index] = self.g
        else:
            np.add.at(out, self.index, self.g)
        return out

    def add_to(self, out: Any) -> None:
        if self.unique():
            out[self.index] += self.g
        else:
            np.add.at(out, self.index, self.g)
