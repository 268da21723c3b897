"""As much of CuPy as Weft's streams, events, memory and uploads use, over the memory of this process.

Every call that CuPy would hand to CUDA is written to `calls`, so that its order can be tested without a GPU.
"""

from __future__ import annotations

import ctypes
import importlib
import sys
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace

NAMES = ("weft.backends.cupy_device", "cupy", "cupy_backends", "cupy_backends.cuda", "cupy_backends.cuda.stream")


class OutOfMemory(MemoryError):
    pass


class FakeCupy(ModuleType):
    def __init__(self, devices: int = 2, total: int = 1 << 20):
        super().__init__("cupy")
        self.calls: list[tuple] = []
        self.number, self.total, self.taken = 0, total, 0
        self.stack: list = []
        fake, calls = self, self.calls

        class Event:
            made = 0

            def __init__(self, block=False, disable_timing=False, interprocess=False):
                Event.made += 1
                self.name, self.timing, self.done = f"event{Event.made}", not disable_timing, False

            def record(self, stream=None):
                calls.append(("record", self.name, stream.name if stream else "current"))
                self.done = False

            def synchronize(self):
                calls.append(("wait", self.name))
                self.done = True

        class Stream:
            made = 0

            def __init__(self, null=False, non_blocking=False, ptds=False, priority=None):
                Stream.made += 1
                self.name, self.ptr, self.done = f"stream{Stream.made}", 0x1000 * Stream.made, True
                calls.append(("stream", non_blocking, priority))

            def __enter__(self):
                fake.stack.append(self)
                return self

            def __exit__(self, *raised):
                fake.stack.pop()

            def begin_capture(self, mode=None):
                calls.append(("begin", self.name, mode))

            def end_capture(self):
                calls.append(("end", self.name))
                return SimpleNamespace(launch=lambda stream: calls.append(("graph", stream.name)))

            def wait_event(self, event):
                calls.append(("stream wait", self.name, event.name))

            def synchronize(self):
                calls.append(("synchronize", self.name))

        class Device:
            def __init__(self, number=0):
                self.id = number

            def __enter__(self):
                self.before, fake.number = fake.number, self.id
                return self

            def __exit__(self, *raised):
                fake.number = self.before

        class Memory:
            def __init__(self, size):
                if fake.taken + size > fake.total:
                    raise OutOfMemory
                self.ptr = 0x10000 + fake.taken
                fake.taken += size
                self.size = size

        class MemoryPool:
            """Holds what it was given; of what is free it reuses blocks that are large enough."""

            def __init__(self, allocator):
                self.allocator, self.used, self.free, self.growing = allocator, 0, [], 0

            def malloc(self, size):
                fits = next((n for n in self.free if n >= size), None)
                if fits is None:
                    self.growing = size
                    try:
                        self.allocator(size)
                    finally:
                        self.growing = 0
                    fits = size
                else:
                    self.free.remove(fits)
                self.used += fits
                return fits

            def give(self, size):
                self.used -= size
                self.free.append(size)

            def used_bytes(self):
                return self.used

            def total_bytes(self):
                return self.used + sum(self.free) + self.growing

            def free_all_blocks(self):
                fake.taken -= sum(self.free)
                self.free.clear()

        null = SimpleNamespace(name="null", ptr=0)
        null.wait_event = lambda event: calls.append(("stream wait", "null", event.name))

        @contextmanager
        def using_allocator(allocator):
            before, fake.allocator = fake.allocator, allocator
            yield
            fake.allocator = before

        def copy(destination, source, size, kind, stream):
            calls.append(("copy", size, kind, stream))
            ctypes.memmove(destination, source, size)

        self.cuda = SimpleNamespace(
            Event=Event, Stream=Stream, Device=Device, Memory=Memory, MemoryPool=MemoryPool,
            MemoryPointer=lambda memory, offset: memory,
            memory=SimpleNamespace(OutOfMemoryError=OutOfMemory),
            set_allocator=lambda allocator: setattr(self, "allocator", allocator),
            using_allocator=using_allocator,
            get_current_stream=lambda device=-1: self.stack[-1] if self.stack else null,
            get_elapsed_time=lambda start, end: 1500.0,
            alloc_pinned_memory=lambda size: bytearray(size),
            runtime=SimpleNamespace(
                getDevice=lambda: self.number,
                memGetInfo=lambda: (self.total - self.taken, self.total),
                getDeviceProperties=lambda number: {"name": f"Fake {number}".encode()},
                deviceSynchronize=lambda: calls.append(("device", self.number)),
                memcpyAsync=copy, memcpyHostToDevice=1,
            ),
        )  # fmt: skip


def install(monkeypatch, **options):
    """Put the fake in CuPy's place until the test ends; returns (it, weft.backends.cupy_device over it)."""
    import weft.backends
    from weft.backends import device

    fake = FakeCupy(**options)
    stream = ModuleType("cupy_backends.cuda.stream")
    parents = ModuleType("cupy_backends"), ModuleType("cupy_backends.cuda")
    parents[0].cuda, parents[1].stream = parents[1], stream
    for name, module in zip(NAMES[1:], (fake, *parents, stream)):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, NAMES[0], raising=False)
    if hasattr(weft.backends, "cupy_device"):
        monkeypatch.delattr(weft.backends, "cupy_device")
    monkeypatch.setattr(device, "usable", lambda: options.get("devices", 2))
    made = importlib.import_module(NAMES[0])
    monkeypatch.setattr(weft.backends, "cupy_device", made, raising=False)
    return fake, made
