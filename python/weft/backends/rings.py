"""Fixed rings of buffers for data that crosses streams.

CuPy's memory pool knows one stream per block: memory that is freed while another stream still reads it would be given
away too soon. So what crosses streams lies in buffers that are never freed; events say when one may be used again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np


class Ring:
    """Buffers that one stream writes and another reads, in turns.

    buffers: what is handed round. event: makes an event that has `record(stream)`; streams have `wait(event)`.
    The host never waits; it may run ahead of the reader by as many writes as there are buffers.

    >>> ring = Ring([weft.zeros((64,), device="cuda") for _ in range(3)], weft.cuda.Event)   # doctest: +SKIP
    >>> with ring.write(copies) as buffer: ...                                               # doctest: +SKIP
    >>> with ring.read(compute) as buffer: ...                                               # doctest: +SKIP
    """

    def __init__(self, buffers: Sequence[Any], event: Callable[[], Any]):
        if len(buffers) < 1:
            raise ValueError(f"Ring: expected at least one buffer, got {len(buffers)}")
        self.buffers = list(buffers)
        self.written = [event() for _ in buffers]
        self.free = [event() for _ in buffers]
        self.writes = self.reads = 0

    @contextmanager
    def write(self, stream: Any) -> Iterator[Any]:
        """The next buffer, once what read it last has ended on its own stream; `stream` is to write it."""
        if self.writes - self.reads == len(self.buffers):
            raise RuntimeError(f"Ring: expected a read before write {self.writes + 1}, got {self.writes} writes unread")
        slot = self.writes % len(self.buffers)
        if self.writes >= len(self.buffers):
            stream.wait(self.free[slot])
        yield self.buffers[slot]
        self.written[slot].record(stream)
        self.writes += 1

    @contextmanager
    def read(self, stream: Any) -> Iterator[Any]:
        """The buffer written longest ago, once it is written; `stream` is to read it."""
        if self.reads == self.writes:
            raise RuntimeError(f"Ring: expected a write before read {self.reads + 1}, got {self.writes} writes")
        slot = self.reads % len(self.buffers)
        stream.wait(self.written[slot])
        yield self.buffers[slot]
        self.free[slot].record(stream)
        self.reads += 1


class Uploads:
    """Copies from the host through pinned buffers: they are queued, and the host's array is free on return.

    allocate: makes a pinned buffer of so many bytes, as a NumPy array of uint8. event: makes an event with
    `record(stream)` and `synchronize()`. copy(destination, buffer, bytes, stream) queues one copy.
    """

    def __init__(
        self,
        allocate: Callable[[int], Any],
        event: Callable[[], Any],
        copy: Callable[[int, Any, int, Any], None],
        *,
        size: int = 4 << 20,
        count: int = 4,
    ):
        self.size = size
        self.copy = copy
        self.buffers = [allocate(size) for _ in range(count)]
        self.done = [event() for _ in range(count)]
        self.used = [False] * count
        self.turn = 0
        self.lock = threading.Lock()

    def upload(self, destination: int, values: np.ndarray[Any, Any], stream: Any) -> None:
        """Queue a copy of a C-contiguous array to the address `destination` on `stream`.

        Waits only for the pinned buffer that it takes, if an earlier copy from it is still under way.
        """
        data = values.reshape(-1).view(np.uint8)
        with self.lock:
            for start in range(0, data.size, self.size):
                part = data[start : start + self.size]
                slot = self.turn
                self.turn = (slot + 1) % len(self.buffers)
                if self.used[slot]:
                    self.done[slot].synchronize()
                self.buffers[slot][: part.size] = part
                self.copy(destination + start, self.buffers[slot], part.size, stream)
                self.done[slot].record(stream)
                self.used[slot] = True
