"""Lanes: how batches of the host reach a device beside the work that is under way there."""

from __future__ import annotations

from typing import Any

import numpy as np


class Lane:
    """The emulated device's: copies are done on return, so there is nothing to wait for.

    An event is what `event` gives; it is recorded behind what is enqueued so far, on the lane's own stream (`copied`)
    or where ops are computed (`computed`), and waited for by the other.
    """

    def __init__(self, device: str):
        self.device = device

    def host(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
        """Memory of the host that copies start from."""
        return np.empty(shape, dtype)

    def array(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """Memory of the device."""
        from weft.backends.gpu.array import empty

        return empty(shape, dtype, self.device)

    def copy(self, out: Any, values: np.ndarray[Any, Any]) -> None:
        """Enqueue a copy of C-contiguous host values, which must stay until it is done."""
        out.set(values)

    def event(self) -> Any:
        return None

    def copied(self, event: Any) -> None:
        """Record an event behind the copies so far."""

    def computed(self, event: Any) -> None:
        """Record an event behind what has been enqueued on the current stream so far."""

    def copy_after(self, event: Any) -> None:
        """Let later copies wait for an event."""

    def compute_after(self, event: Any) -> None:
        """Let what is enqueued on the current stream from now on wait for an event."""

    def done(self, event: Any) -> bool:
        """Whether an event has happened."""
        return True

    def finish(self, event: Any) -> None:
        """Wait for an event on the host."""


class CudaLane(Lane):
    """A GPU's: pinned memory, and a stream for the copies."""

    def __init__(self, device: str):
        from weft.backends import cupy_device

        super().__init__(device)
        self.cupy = cupy_device
        self.number = int(device.removeprefix("cuda:"))
        with cupy_device.device(self.number):
            self.stream = cupy_device.new_stream(0)

    def host(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
        dtype = np.dtype(dtype)
        size = max(int(np.prod(shape)) * dtype.itemsize, 1)
        count = int(np.prod(shape))
        return np.ndarray(shape, dtype, self.cupy.pinned(size)) if count else np.empty(shape, dtype)  # type: ignore[no-any-return]

    def copy(self, out: Any, values: np.ndarray[Any, Any]) -> None:
        with self.cupy.device(self.number):
            self.cupy.copy_from_pinned(out.pointer, values, values.nbytes, self.stream)

    def event(self) -> Any:
        with self.cupy.device(self.number):
            return self.cupy.new_event(False)

    def copied(self, event: Any) -> None:
        event.record(self.stream)

    def computed(self, event: Any) -> None:
        with self.cupy.device(self.number):
            event.record(self.cupy.current_stream())

    def copy_after(self, event: Any) -> None:
        self.stream.wait_event(event)

    def compute_after(self, event: Any) -> None:
        with self.cupy.device(self.number):
            self.cupy.current_stream().wait_event(event)

    def done(self, event: Any) -> bool:
        return bool(event.done)

    def finish(self, event: Any) -> None:
        event.synchronize()


def lane(device: str) -> Lane:
    """A lane to "emulated" or "cuda:N"."""
    return Lane(device) if device == "emulated" else CudaLane(device)
