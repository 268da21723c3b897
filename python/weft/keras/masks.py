"""What travels beside Tensors: the masks of padded sequences, from the layer that makes them to those that use them."""

from __future__ import annotations

from typing import Any
from weakref import ref

from weft.autograd import Tensor


class Beside:
    """Something kept for each of several Tensors, by identity, as long as it lives."""

    def __init__(self) -> None:
        self.held: dict[int, tuple[Any, Any]] = {}

    def __setitem__(self, x: Tensor, value: Any) -> None:
        key = id(x)
        self.held[key] = (ref(x, lambda _: self.held.pop(key, None)), value)

    def get(self, x: Any) -> Any:
        entry = self.held.get(id(x))
        return entry[1] if entry is not None and entry[0]() is x else None


MASKS = Beside()


def mask_of(x: Any) -> Any:
    """The mask of a Tensor, bool (N, T), true where it counts; None where there is none."""
    return MASKS.get(x) if MASKS.held else None


def set_mask(x: Any, mask: Any) -> None:
    if mask is not None and isinstance(x, Tensor):
        MASKS[x] = mask


def both(a: Any, b: Any) -> Any:
    """Where two masks count, either of which may be None."""
    return b if a is None else a if b is None else a & b
