"""weft.cuda: devices, streams, events, memory and what crosses streams, over a fake of CuPy (tests/fake_cupy.py)."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import fake_cupy
import weft
from weft.backends import device as devices
from weft.backends.rings import Ring, Uploads


@pytest.fixture
def gpu(monkeypatch):
    fake, made = fake_cupy.install(monkeypatch)
    fake.device_module = made
    return fake


def test_without_a_gpu_it_says_so(monkeypatch):
    monkeypatch.setattr(devices, "usable", lambda: 0)
    monkeypatch.setattr(devices, "driver_devices", lambda: 0)
    assert weft.cuda.is_available() is False and weft.cuda.device_count() == 0
    for call in (weft.cuda.current_device, weft.cuda.memory_summary, weft.cuda.Stream, weft.cuda.synchronize):
        with pytest.raises(RuntimeError, match="cuda: expected a GPU, but CUDA's driver finds no GPU here"):
            call()
    weft.cuda.synchronize("emulated")


def test_devices(gpu):
    assert weft.cuda.is_available() and weft.cuda.device_count() == 2 and weft.cuda.current_device() == 0
    with weft.cuda.device("cuda:1") as number:
        assert number == 1 == weft.cuda.current_device() and weft.cuda.device_name() == "Fake 1"
        with weft.cuda.device(0):
            assert weft.cuda.current_device() == 0
    assert weft.cuda.current_device() == 0 and weft.cuda.device_name("cuda") == "Fake 0"
    for wrong in ("cpu", "cuda:x", 1.5, "cuda:-1"):
        with pytest.raises(ValueError, match="cuda: expected the number or the name of a GPU, got"):
            weft.cuda.device_name(wrong)
    with pytest.raises(ValueError, match="cuda: expected one of 2 GPUs, got cuda:2"):
        weft.cuda.device_name(2)


def test_synchronize_waits_and_raises_what_kernels_noted(gpu, monkeypatch):
    from weft.backends.gpu import flags

    checked = []
    monkeypatch.setattr(flags, "check", lambda device, every_stream=False: checked.append((device, every_stream)))
    weft.cuda.synchronize(1)
    weft.cuda.synchronize()
    assert [c for c in gpu.calls if c[0] == "device"] == [("device", 1), ("device", 0)]
    assert checked == [("cuda:1", True), ("cuda:0", True)]


def test_streams_and_events(gpu):
    copies, compute = weft.cuda.Stream(), weft.cuda.Stream(priority=-1)
    assert gpu.calls == [("stream", True, 0), ("stream", True, -1)]
    with copies:
        assert weft.cuda.current_stream().ptr == copies.ptr != compute.ptr
        with weft.cuda.stream(compute):
            assert weft.cuda.current_stream().ptr == compute.ptr
        assert weft.cuda.current_stream().ptr == copies.ptr
    assert weft.cuda.current_stream().ptr == 0
    gpu.calls.clear()
    event = copies.record()
    compute.wait(event)
    event.synchronize()
    compute.synchronize()
    names = [call[0] for call in gpu.calls]
    assert names == ["record", "stream wait", "wait", "synchronize"]
    assert gpu.calls[0][2] == copies.cupy.name and gpu.calls[1][1] == compute.cupy.name
    assert event.done and copies.done
    start, end = weft.cuda.Event(timing=True), weft.cuda.Event(timing=True)
    assert start.cupy.timing and not event.cupy.timing and start.seconds(end) == 1.5


def test_memory_is_told(gpu):
    big = gpu.allocator(300 << 10)
    small = gpu.allocator(100 << 10)
    gpu.device_module.POOL.give(big)
    assert (weft.cuda.memory_allocated(), weft.cuda.memory_reserved()) == (100 << 10, 400 << 10)
    gpu.taken += 200 << 10  # another program
    assert weft.cuda.memory_summary().splitlines() == [
        "cuda:0, Fake 0",
        "  arrays          100.00 KiB",
        "  held by Weft    400.00 KiB, at most 400.00 KiB so far",
        "  other programs  200.00 KiB",
        "  free            424.00 KiB of 1.00 MiB",
    ]
    weft.cuda.empty_cache()
    assert weft.cuda.memory_reserved() == 100 << 10 and weft.cuda.max_memory_reserved() == 400 << 10
    weft.cuda.reset_peak_memory()
    assert weft.cuda.max_memory_reserved() == 100 << 10
    gpu.device_module.POOL.give(small)
    gpu.allocator(100 << 10)  # from the pool, which need not grow
    assert weft.cuda.max_memory_reserved() == 100 << 10


def test_an_exhausted_gpu_says_what_was_asked_and_held(gpu):
    gpu.allocator(600 << 10)
    gpu.device_module.POOL.give(gpu.allocator(200 << 10))
    with pytest.raises(weft.cuda.OutOfMemoryError) as caught:
        gpu.allocator(500 << 10)
    assert isinstance(caught.value, MemoryError) and str(caught.value) == (
        "cuda:0: out of memory: asked for 500.00 KiB; arrays hold 600.00 KiB, 200.00 KiB in free pieces too small; the "
        "device has 1.00 MiB, 224.00 KiB of it free; the rest is held by other programs, kernels and CUDA itself"
    )
    assert weft.cuda.max_memory_reserved() == 800 << 10


SIZES = [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.50 KiB"), (3 << 20, "3.00 MiB"), (3 << 30, "3.00 GiB")]


@pytest.mark.parametrize("size, words", SIZES)
def test_sizes_in_words(gpu, size, words):
    assert gpu.device_module.text(size) == words


def test_streams_are_found_by_a_callable_where_cupy_exports_nothing(gpu):
    source = gpu.device_module.stream_source()
    with weft.cuda.Stream() as stream:
        assert source(0) == stream.ptr


# ---- rings


class Log:
    """Streams and events that write down who waits for what."""

    def __init__(self):
        self.lines, self.events = [], 0

    def stream(self, name):
        return SimpleNamespace(name=name, wait=lambda event: self.lines.append(f"{name} waits for {event.name}"))

    def event(self):
        self.events += 1
        event = SimpleNamespace(name=f"e{self.events}", at=None)
        event.record = lambda stream: self.lines.append(f"{stream.name} records {event.name}")
        event.synchronize = lambda: self.lines.append(f"host waits for {event.name}")
        return event


def test_a_ring_lets_streams_wait_for_each_other():
    log = Log()
    ring = Ring(["a", "b"], log.event)  # written e1, e2; free e3, e4
    copies, compute = log.stream("copies"), log.stream("compute")
    seen = []
    for _ in range(3):
        with ring.write(copies) as buffer:
            log.lines.append(f"write {buffer}")
        with ring.read(compute) as buffer:
            log.lines.append(f"read {buffer}")
            seen.append(buffer)
    assert seen == ["a", "b", "a"]
    assert log.lines == [
        "write a", "copies records e1", "compute waits for e1", "read a", "compute records e3",
        "write b", "copies records e2", "compute waits for e2", "read b", "compute records e4",
        "copies waits for e3", "write a", "copies records e1", "compute waits for e1", "read a", "compute records e3",
    ]  # fmt: skip


def test_a_ring_is_never_overrun():
    log = Log()
    ring, s = Ring([1, 2, 3], log.event), log.stream("s")
    with pytest.raises(RuntimeError, match="Ring: expected a write before read 1, got 0 writes"):
        with ring.read(s):
            pass
    for _ in range(3):
        with ring.write(s):
            pass
    with pytest.raises(RuntimeError, match="Ring: expected a read before write 4, got 3 writes unread"):
        with ring.write(s):
            pass
    with pytest.raises(ValueError, match="at least one buffer"):
        Ring([], log.event)


def test_what_fails_inside_a_ring_does_not_advance_it():
    log = Log()
    ring, s = Ring(["a", "b"], log.event), log.stream("s")
    with pytest.raises(KeyError):
        with ring.write(s):
            raise KeyError
    with ring.write(s) as buffer:
        assert buffer == "a"
    with ring.read(s) as buffer:
        assert buffer == "a"


# ---- uploads


@pytest.mark.parametrize("size", [1, 63, 64, 65, 128, 200, 1000])
def test_uploads_arrive_whole_in_pieces(size):
    log, sent = Log(), []
    values = np.random.default_rng().integers(0, 256, size, np.uint8)

    def copy(destination, buffer, count, stream):
        sent.append((destination, buffer[:count].copy()))

    uploads = Uploads(lambda n: np.full(n, 0xAA, np.uint8), log.event, copy, size=64, count=3)
    uploads.upload(5000, values, log.stream("s"))
    assert [at for at, _ in sent] == list(range(5000, 5000 + size, 64))
    assert np.array_equal(np.concatenate([part for _, part in sent]), values)


def test_a_pinned_buffer_is_not_overwritten_under_a_copy():
    """A copy that is queued reads its buffer later: when its event is waited for, as here."""
    memory, pending = np.zeros(1000, np.uint8), {}
    values = np.random.default_rng().integers(1, 256, 1000, np.uint8)
    events = []

    def event():
        one = SimpleNamespace()
        one.record = lambda stream: pending.setdefault(id(one), []).append(queue.pop())
        one.synchronize = lambda: [run() for run in pending.pop(id(one))]
        events.append(one)
        return one

    queue = []

    def copy(destination, buffer, count, stream):
        queue.append(lambda: memory.__setitem__(slice(destination, destination + count), buffer[:count]))

    uploads = Uploads(lambda n: np.zeros(n, np.uint8), event, copy, size=64, count=2)
    uploads.upload(0, values, None)
    for one in events:
        one.synchronize()
    assert np.array_equal(memory, values)


def test_host_arrays_reach_a_device_array(gpu):
    for dtype in (np.float32, weft.bfloat16, np.int8):
        values = np.random.default_rng().standard_normal((5, 7)).astype(dtype)[:, ::2]
        memory = np.zeros(values.shape, dtype)
        out = SimpleNamespace(
            shape=values.shape, dtype=memory.dtype, flags=memory.flags,
            data=SimpleNamespace(ptr=memory.ctypes.data, device_id=1, device=gpu.cuda.Device(1)),
        )  # fmt: skip
        with weft.cuda.Stream() as stream:
            gpu.device_module.upload(out, values)
        assert memory.tobytes() == values.tobytes()
        copied = [call for call in gpu.calls if call[0] == "copy"][-1]
        assert copied == ("copy", values.nbytes, 1, stream.ptr) and gpu.number == 0
        gpu.device_module.uploads.cache_clear()
    with pytest.raises(ValueError, match=r"upload: expected a C-contiguous array of int8 \(3, 5\), got int8 \(5, 4\)"):
        gpu.device_module.upload(out, np.ones((3, 5), "i1"))
