"""Who wrote into which memory, and when: how backward notices that a value it saved is no longer what it was.

Each in-place write moves one clock and notes its time and author with the array that owns the memory, so views share
it. A recorded call only remembers the clock; arrays are looked at when it has moved since.
"""

from __future__ import annotations

import functools
import sys
import weakref
from types import FunctionType
from typing import Any

import numpy as np

from weft.backends.array import ARRAYS, OnDevice, ndarray
from weft.backends.capturing import state as capturing


class Clock:
    """The number of in-place writes so far."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now = 0


EVERYTHING = 1 << 64
clock = Clock()
last: dict[int, tuple[Any, int, str, int, int]] = {}  # id of owner -> (weak owner, time, author, first byte, last byte)


def owner(array: Any) -> Any:
    """The array whose memory `array` is a view of; itself if it is none."""
    while isinstance(array.base, ARRAYS):
        array = array.base
    return array


def bounds(array: Any) -> tuple[int, int]:
    """The address of an array's first byte, and that after its last."""
    if type(array) is ndarray:
        return np.lib.array_utils.byte_bounds(array)
    low = high = array.pointer
    for length, stride in zip(array.shape, array.strides, strict=True):
        if stride < 0:
            low += (length - 1) * stride
        else:
            high += (length - 1) * stride
    return low, high + array.dtype.itemsize


def writable(array: Any) -> bool:
    """Whether values may be written into an array: not where it is read-only, or repeats its values by broadcasting."""
    if isinstance(array, OnDevice):
        return all(n < 2 or step for n, step in zip(array.shape, array.strides, strict=True))
    return bool(array.flags.writeable)


def made_here(_: Any) -> bool:
    """Whether what is the base of an array is a block of the extension's allocator; the extension takes this name."""
    return False


def references(held: list[Any]) -> int:
    """How many references there are to what `held[0]` is, as seen from a function that has it in a name."""
    array = held[0]
    return sys.getrefcount(array)


ALONE = references([object()])  # depends on the version of Python


def alone(held: list[Any]) -> bool:
    """Whether the list `held` is all that holds its one array and the array's memory, which Weft made."""
    base = held[0].base
    if base is None or made_here(base):
        return references(held) <= ALONE
    whole = isinstance(base, ARRAYS) and (base.base is None or made_here(base.base))  # not another library's memory
    del base
    return whole and references(held) <= ALONE and references([held[0].base]) <= ALONE + 1


def record(array: Any, by: str) -> None:
    """Note that `by` has just written into `array`."""
    if capturing.recorder is not None:
        capturing.recorder.wrote(array, by)
    clock.now += 1
    memory = owner(array)
    key = id(memory)
    # An optimizer writes whole parameters every step, and working out the bounds would take longer than the rest.
    low, high = (0, EVERYTHING) if memory is array else bounds(array)
    before = last.get(key)
    if before is not None and before[0]() is memory:
        reference, low, high = before[0], min(low, before[3]), max(high, before[4])
    else:
        reference = weakref.ref(memory, functools.partial(forget, key))
    last[key] = (reference, clock.now, by, low, high)


def forget(key: int, _: Any) -> None:
    """The memory `key` has gone."""
    last.pop(key, None)


def written_since(array: Any, time: int) -> str | None:
    """The author of a write into `array` after `time`, or None."""
    if not isinstance(array, ARRAYS):
        return None
    memory = owner(array)
    entry = last.get(id(memory))
    if entry is None or entry[1] <= time or entry[0]() is not memory:
        return None
    low, high = bounds(array)
    return entry[2] if low < entry[4] and entry[3] < high else None


def captured(value: Any, depth: int = 5) -> list[Any]:
    """The arrays that a vjp holds through its closures."""
    if isinstance(value, ARRAYS):
        return [value]
    if depth and isinstance(value, FunctionType):
        found = []
        for cell in value.__closure__ or ():
            try:
                found += captured(cell.cell_contents, depth - 1)
            except ValueError:  # a name of the body that was never bound
                continue
        return found
    if depth and isinstance(value, (tuple, list)):
        return [a for v in value for a in captured(v, depth - 1)]
    return []


def check_saved(node: Any) -> None:
    """Raise if an array that `node` saved has been written since the call."""
    if clock.now != node.born:
        refuse(node, captured(node.vjp))


def check_parents(node: Any, arrays: list[Any]) -> None:
    """Raise if an input of `node`, from which it is to be computed again, has been written since the call."""
    if clock.now != node.born:
        refuse(node, arrays)


def refuse(node: Any, arrays: list[Any]) -> None:
    for array in arrays:
        by = written_since(array, node.born)
        if by is not None:
            raise RuntimeError(
                f"backward: {node.name} saved an array of shape {array.shape} that {by} has written since; "
                "run backward before the write, or write into a copy"
            )
