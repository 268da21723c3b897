"""How long the device of a training run had no step to work on."""

from __future__ import annotations

import time
from typing import Any


class Idle:
    """Adds up the time from the end of one step to the beginning of the next, on the device's own clock.

    Where steps follow each other closely a GPU has the next one in its queue before it is done, and nothing is added;
    what is, is waiting for a batch, for callbacks, for the host. On the CPU and the emulated device it is the host's
    clock. `fraction` is of the time since `reset`.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew: a round begins."""
        self.seconds = 0.0
        self.last: Any = None
        self.gaps: list[tuple[Any, Any]] = []  # events of a GPU, not looked at yet
        self.begun = time.perf_counter()

    def begin(self, device: str) -> None:
        """A step is about to be enqueued."""
        now = mark(device)
        if self.last is not None:
            if device.startswith("cuda"):
                self.gaps.append((self.last, now))
                self.look()
            else:
                self.seconds += now - self.last

    def end(self, device: str) -> None:
        """All of a step has been enqueued."""
        self.last = mark(device)

    def pause(self) -> None:
        """What comes next is no waiting for a step: a validation, a checkpoint."""
        self.last = None

    def look(self) -> None:
        """Take the gaps that have passed, so that events do not pile up; nobody waits."""
        while self.gaps and self.gaps[0][1].done:
            start, end = self.gaps.pop(0)
            self.seconds += start.seconds(end)

    def fraction(self) -> float:
        """The part of the time since `reset` in which the device had no step, 0 to 1; waits for the device."""
        for _, end in self.gaps[-1:]:
            end.synchronize()
        self.look()
        return min(1.0, self.seconds / max(time.perf_counter() - self.begun, 1e-9))


def mark(device: str) -> Any:
    """Now: the host's clock, or an event of the GPU's current stream."""
    if not device.startswith("cuda"):
        return time.perf_counter()
    from weft import cuda

    event = cuda.Event(timing=True)
    event.record()
    return event
