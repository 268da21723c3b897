"""Recorded steps: a CUDA graph on a GPU, the list of its launches on the emulated device."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from weft.backends import capturing
from weft.backends.array import OnDevice
from weft.backends.capturing import SLOTS, Recorder
from weft.backends.gpu import flags
from weft.backends.gpu.array import empty


def record(device: str) -> Recorder:
    """A recorder for a step on "emulated" or "cuda:N"."""
    return Launches(device) if device == "emulated" else Graph(device)


@contextlib.contextmanager
def recording(recorder: Any) -> Iterator[None]:
    """What this thread launches in the block is recorded; on a GPU it does not run yet."""
    with recorder.recording():
        capturing.state.recorder = recorder
        try:
            yield
        finally:
            capturing.state.recorder = None


class Launches(Recorder):
    """The launches of a step on the emulated device. All memory that they touch is kept."""

    def __init__(self, device: str):
        super().__init__(device, empty((SLOTS,), np.uint64, device))
        self.launches: list[tuple[Any, ...]] = []

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        yield

    def launched(self, kernel: Any, grid: Any, block: Any, arguments: Any, *options: Any) -> bool:
        held = [by_value(argument) for argument in arguments]
        self.launches.append((kernel, grid, block, held, *options))
        return False

    def outside(self, array: Any) -> bool:
        return True

    def fill(self, start: int, stop: int) -> None:
        self.table.memory[start:stop] = self.host[start:stop]

    def replay(self) -> None:
        for kernel, *rest in self.launches:
            kernel.emulate(*rest)


def by_value(argument: Any) -> Any:
    """An argument as the launch takes it now: structures are copied, arrays stay the memory that they are."""
    if argument is None or isinstance(argument, (OnDevice, int, float, bytes, np.generic)):
        return argument
    if hasattr(argument, "bits"):  # a tensor map, which nobody changes
        return argument
    return bytes(memoryview(argument).cast("B"))


class Graph(Recorder):
    """A CUDA graph over memory of its own: what the step allocates comes from a pool that nobody else uses."""

    def __init__(self, device: str):
        from weft.backends import cupy_device

        self.cupy = cupy_device
        super().__init__(device, empty((SLOTS,), np.uint64, device))
        self.number = int(device.removeprefix("cuda:"))
        self.pool = cupy_device.PrivatePool()
        self.stream = flags.stream_of(device)  # that launches it: flag words are those of this stream
        self.graph: Any = None

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        with self.cupy.device(self.number), self.pool.allocating(), self.cupy.capturing() as captured:
            yield
        self.graph = captured.graph

    def launched(self, kernel: Any, grid: Any, block: Any, arguments: Any, *options: Any) -> bool:
        for argument in arguments:
            if isinstance(argument, OnDevice):
                self.pin(argument)
        return True

    def outside(self, array: Any) -> bool:
        return not self.pool.owns(array.pointer)  # what it owns is reused within the step

    def fill(self, start: int, stop: int) -> None:
        if capturing.state.recorder is not self:
            self.cupy.upload(self.table[start:stop], self.host[start:stop])

    def replay(self) -> None:
        with self.cupy.device(self.number):
            self.cupy.launch_graph(self.graph)
