"""When kernels run on their device, on the clock of the host that times the ops around them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from weft.backends.capturing import state as capturing


class Timeline:
    """The kernels of one profile. On the emulated device, which is this process, the host's clock times them.

    On a GPU a pair of events stands around each launch; what they say is read when all is done.
    """

    def __init__(self) -> None:
        self.begins: dict[str, tuple[float, Any]] = {}  # device -> host time and event of the same moment
        self.pending: list[tuple[str, Any, Any, Callable[[float, float], None]]] = []

    def launch(self, device: str, launch: Callable[[], None], ran: Callable[[float, float], None]) -> None:
        """Launch, and call `ran(start, seconds)` once it is known when the kernel ran; not while a step is recorded."""
        if capturing.recorder is not None:
            launch()
        elif device == "emulated":
            start = time.perf_counter()
            launch()
            ran(start, time.perf_counter() - start)
        else:
            self.enqueue(device, launch, ran)

    def enqueue(self, device: str, launch: Callable[[], None], ran: Callable[[float, float], None]) -> None:
        from weft.backends import cupy_device

        with cupy_device.device(int(device.removeprefix("cuda:"))):
            if device not in self.begins:
                first = cupy_device.new_event(True)
                cupy_device.synchronize(cupy_device.current())
                first.record()
                first.synchronize()
                self.begins[device] = (time.perf_counter(), first)
            before, after = cupy_device.new_event(True), cupy_device.new_event(True)
            before.record()
            launch()
            after.record()
        self.pending.append((device, before, after, ran))

    def finish(self) -> None:
        """Wait for the kernels that are still under way, and tell of them."""
        if not self.pending:
            return
        from weft.backends import cupy_device

        for device in {device for device, *_ in self.pending}:
            cupy_device.synchronize(int(device.removeprefix("cuda:")))
        for device, before, after, ran in self.pending:
            zero, first = self.begins[device]
            start = zero + cupy_device.milliseconds(first, before) * 1e-3
            ran(start, cupy_device.milliseconds(before, after) * 1e-3)
        self.pending.clear()
