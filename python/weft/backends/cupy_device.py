"""The lines of Weft that know CuPy's streams, events, memory pool and pinned memory.

Importing it makes Weft's pool CuPy's allocator, so that a failed allocation says what was asked, held and there.
Source: CuPy's API reference, "Low-level CUDA support" and "Memory management".
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any

import cupy
import numpy as np
from cupy_backends.cuda import stream as cupy_stream

from weft.backends.rings import Uploads

peaks: dict[int, int] = {}  # device -> the most bytes that the pool held at once


class OutOfMemoryError(MemoryError):
    """The GPU's memory is used up; the message says what was asked, what is held and what the device has."""


def grow(size: int) -> Any:
    """New memory for the pool; called where nothing that it holds fits, so here alone its size can have a peak."""
    made = cupy.cuda.MemoryPointer(cupy.cuda.Memory(size), 0)
    number = current()
    peaks[number] = max(peaks.get(number, 0), POOL.total_bytes())
    return made


POOL = cupy.cuda.MemoryPool(grow)


def allocate(size: int) -> Any:
    """Memory from the pool, as CuPy wants it of an allocator."""
    try:
        return POOL.malloc(size)
    except cupy.cuda.memory.OutOfMemoryError:
        raise OutOfMemoryError(exhausted(size)) from None


cupy.cuda.set_allocator(allocate)


def exhausted(size: int) -> str:
    free, total = cupy.cuda.runtime.memGetInfo()
    used, held = POOL.used_bytes(), POOL.total_bytes()
    pieces = f", {text(held - used)} in free pieces too small" if held > used else ""
    return (
        f"cuda:{current()}: out of memory: asked for {text(size)}; arrays hold {text(used)}{pieces}; the device has "
        f"{text(total)}, {text(free)} of it free; the rest is held by other programs, kernels and CUDA itself"
    )


def text(size: int) -> str:
    """A number of bytes in words: 1.50 GiB."""
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit:
            return f"{size / unit:.2f} {name}"
    return f"{size} bytes"


def current() -> int:
    """The number of the current device."""
    return int(cupy.cuda.runtime.getDevice())


def device(number: int) -> Any:
    """A context manager that makes a device current."""
    return cupy.cuda.Device(number)


def synchronize(number: int) -> None:
    with cupy.cuda.Device(number):
        cupy.cuda.runtime.deviceSynchronize()


def memory(number: int) -> dict[str, int]:
    """Bytes of a device: used by arrays, held by the pool, the peak of held, free on the device, its total."""
    with cupy.cuda.Device(number):
        free, total = cupy.cuda.runtime.memGetInfo()
        used, held = POOL.used_bytes(), POOL.total_bytes()
        used += sum(each.pool.used_bytes() for each in private)
        held += sum(each.pool.total_bytes() for each in private)
    return {"used": used, "held": held, "peak": max(held, peaks.get(number, 0)), "free": free, "total": total}


def reset_peak(number: int) -> None:
    with cupy.cuda.Device(number):
        peaks[number] = POOL.total_bytes()


def release(number: int) -> None:
    """Give back to the device what the pool holds and no array uses."""
    with cupy.cuda.Device(number):
        POOL.free_all_blocks()


def name(number: int) -> str:
    found = cupy.cuda.runtime.getDeviceProperties(number)["name"]
    return found.decode() if isinstance(found, bytes) else str(found)


# ---- streams and events


def new_stream(priority: int) -> Any:
    return cupy.cuda.Stream(non_blocking=True, priority=priority)


def current_stream() -> Any:
    return cupy.cuda.get_current_stream()


def new_event(timing: bool) -> Any:
    return cupy.cuda.Event(disable_timing=not timing)


def milliseconds(start: Any, end: Any) -> float:
    return float(cupy.cuda.get_elapsed_time(start, end))


def stream_source() -> Any:
    """Where the current stream of a device is read: CuPy's own C function, else a callable of the device."""
    exported = getattr(cupy_stream, "__pyx_capi__", {}).get("get_stream_ptr")
    if exported is not None and '"intptr_t (int)"' in repr(exported):
        return exported
    return lambda number: cupy.cuda.get_current_stream(number).ptr


# ---- graphs


class PrivatePool:
    """Memory of one CUDA graph: it takes new memory for itself, and what it holds goes to nobody else."""

    def __init__(self) -> None:
        self.spans: list[tuple[int, int]] = []
        self.pool = cupy.cuda.MemoryPool(self.grow)
        private.add(self)

    def grow(self, size: int) -> Any:
        memory = cupy.cuda.Memory(size)
        self.spans.append((memory.ptr, memory.ptr + size))
        return cupy.cuda.MemoryPointer(memory, 0)

    def malloc(self, size: int) -> Any:
        try:
            return self.pool.malloc(size)
        except cupy.cuda.memory.OutOfMemoryError:
            raise OutOfMemoryError(exhausted(size)) from None

    def allocating(self) -> Any:
        """A block in which this thread's arrays are made here."""
        return cupy.cuda.using_allocator(self.malloc)

    def owns(self, pointer: int) -> bool:
        return any(low <= pointer < high for low, high in self.spans)


private: weakref.WeakSet[PrivatePool] = weakref.WeakSet()


class Captured:
    graph: Any = None


@contextmanager
def capturing() -> Iterator[Captured]:
    """Record what is enqueued in the block, on a stream of its own, as a graph that is ready to be launched."""
    captured, stream = Captured(), new_stream(0)
    with stream:
        stream.begin_capture()  # relaxed: memory may be allocated meanwhile
        try:
            yield captured
        except BaseException:
            with suppress(Exception):  # a capture that broke cannot be ended without an error of its own
                stream.end_capture()
            raise
        captured.graph = stream.end_capture()


def launch_graph(graph: Any) -> None:
    """Enqueue a graph on the current stream."""
    graph.launch(stream=cupy.cuda.get_current_stream())


# ---- from the host


def pinned(size: int) -> Any:
    return np.frombuffer(cupy.cuda.alloc_pinned_memory(size), np.uint8, size)


def copy_from_pinned(destination: int, buffer: Any, size: int, stream: Any) -> None:
    kind = cupy.cuda.runtime.memcpyHostToDevice
    cupy.cuda.runtime.memcpyAsync(destination, buffer.ctypes.data, size, kind, stream.ptr)


@lru_cache(maxsize=64)
def uploads(number: int) -> Uploads:
    """The pinned buffers of a device."""
    return Uploads(pinned, lambda: cupy.cuda.Event(disable_timing=True), copy_from_pinned)


def upload(out: Any, values: np.ndarray[Any, Any]) -> None:
    """Copy a host array into a C-contiguous array of its shape and dtype, on the current stream of that device."""
    if out.shape != values.shape or out.dtype != values.dtype or not out.flags.c_contiguous:
        what = f"a C-contiguous array of {values.dtype} {values.shape}"
        raise ValueError(f"upload: expected {what}, got {out.dtype} {out.shape}")
    with out.data.device:
        number = out.data.device_id
        uploads(number).upload(out.data.ptr, np.ascontiguousarray(values), cupy.cuda.get_current_stream())
