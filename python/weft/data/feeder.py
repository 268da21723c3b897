"""Batches to a device, ahead of their use: copies run on a stream of their own while the device computes."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np

from weft.backends.lanes import Lane

Array = np.ndarray[Any, Any]


class Slot:
    """Arrays on the device for one batch, and when they may be read (`ready`) and written again (`free`)."""

    def __init__(self, lane: Lane, batch: list[Array], rows: int):
        self.lane = lane
        self.host: list[Array] | None = None  # what is being copied from
        self.layout = layout_of(batch)
        self.rows = rows
        self.arrays = tuple([lane.array((rows, *shape), dtype) for shape, dtype in self.layout])
        self.ready, self.free = lane.event(), lane.event()
        self.is_free = True
        lane.computed(self.free)  # memory from the pool may still be read by what was enqueued before

    def __del__(self) -> None:
        # A loop that ends early drops copies that are under way; their memory may not go back to its pools before.
        if self.host is not None and not sys.is_finalizing():
            self.lane.finish(self.ready)


class Feeder:
    """Sends batches through a lane, `ahead` of them before they are asked for.

    A batch's arrays are written again once nobody refers to them, and what was enqueued until then has run; so a batch
    that the caller keeps is never written over, and in a loop that drops its batches a few slots go round.
    """

    def __init__(self, lane: Lane, ahead: int):
        self.lane, self.ahead = lane, ahead
        self.slots: list[Slot] = []

    def feed(self, batches: Iterator[list[Array]]) -> Iterator[list[Any]]:
        """The batches, on the device; an error in making one is raised in its place, not earlier."""
        waiting: deque[tuple[Slot, list[Any]]] = deque()
        error: Exception | None = None
        more = True
        while True:
            self.look()
            while more and len(waiting) <= self.ahead:
                try:
                    batch = next(batches)
                except StopIteration:
                    more = False
                except Exception as raised:
                    more, error = False, raised
                else:
                    waiting.append(self.send(batch))
                    del batch
            if not waiting:
                if error is not None:
                    raise error
                return
            slot, sent = waiting.popleft()
            self.lane.compute_after(slot.ready)
            yield sent
            del sent

    def look(self) -> None:
        """Note which slots nobody refers to any more, and which copies are done."""
        for slot in self.slots:
            if slot.host is not None and self.lane.done(slot.ready):
                slot.host = None
            if not slot.is_free and slot.host is None and unused(slot.arrays):
                self.lane.computed(slot.free)
                slot.is_free = True

    def send(self, batch: list[Array]) -> tuple[Slot, list[Any]]:
        """Enqueue the copies of a batch; the slot it goes to, and its arrays there."""
        batch = [np.ascontiguousarray(array) if array.ndim else array for array in batch]
        n, layout = len(batch[0]), layout_of(batch)
        slot = next((s for s in self.slots if s.is_free and s.rows >= n and s.layout == layout), None)
        if slot is None:
            slot = Slot(self.lane, batch, max([n, *[s.rows for s in self.slots if s.layout == layout]]))
            self.slots.append(slot)
        slot.is_free = False
        self.lane.copy_after(slot.free)
        sent = [array[:n] for array in slot.arrays]
        for out, values in zip(sent, batch, strict=True):
            if values.nbytes:
                self.lane.copy(out, values)
        self.lane.copied(slot.ready)
        slot.host = batch
        return slot, sent


def layout_of(batch: list[Array]) -> list[tuple[tuple[int, ...], Any]]:
    return [(array.shape[1:], array.dtype) for array in batch]


def references(arrays: tuple[Any, ...]) -> list[int]:
    return [sys.getrefcount(array) for array in arrays]


ALONE = references((np.empty(0),))[0]  # what this Python counts for an array that only its slot refers to


def unused(arrays: tuple[Any, ...]) -> bool:
    """Whether nobody but their slot refers to arrays; a view or a Tensor refers to its base."""
    return max(references(arrays)) <= ALONE
