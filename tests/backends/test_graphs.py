"""The way of a recorded step to a CUDA graph: over a fake of CuPy, and with launches that a stub driver keeps."""

from __future__ import annotations

import contextlib
import struct
from types import SimpleNamespace

import numpy as np
import pytest

import fake_cupy
import policy
import stub_driver
import weft
from stub_driver import bytes_of
from weft.backends import capturing


def test_a_graph_is_recorded_on_a_stream_and_a_pool_of_its_own(monkeypatch):
    fake, made = fake_cupy.install(monkeypatch)
    ordinary, pool = fake.allocator, made.PrivatePool()
    with pool.allocating(), made.capturing() as captured:
        assert fake.allocator == pool.malloc != ordinary
        assert pool.malloc(1024) == 1024 and fake.stack[-1].name == fake.calls[-1][1]
    assert fake.allocator == ordinary and [call[0] for call in fake.calls] == ["stream", "begin", "end"]
    (low, high), = pool.spans
    assert high - low == 1024 and pool.owns(low) and pool.owns(high - 1) and not pool.owns(high)
    assert made.memory(0)["held"] == 1024 and made.memory(0)["used"] == 1024
    with made.device(0):
        made.launch_graph(captured.graph)
    assert fake.calls[-1] == ("graph", "null")
    with pytest.raises(MemoryError, match="asked for 2.00 MiB"):
        pool.malloc(2 << 20)
    with pytest.raises(ZeroDivisionError), made.capturing():
        raise ZeroDivisionError
    assert fake.calls[-1][0] == "end" and fake.stack == []


class Gpu:
    """CUDA arrays over memory of this process, and what the recording of a graph asked of CuPy, in order."""

    def __init__(self, monkeypatch):
        import cupy

        from weft.backends import cupy_device
        from weft.backends.gpu import cuda_array, flags

        self.cupy, self.kind, self.log, self.kept, self.pools = cupy, cuda_array.CudaArray, [], [], []
        self.stream, self.pool = 0x5000, None
        gpu = self

        class Pool:
            def __init__(self):
                self.spans = []
                gpu.pools.append(self)

            @contextlib.contextmanager
            def allocating(self):
                gpu.pool = self
                yield
                gpu.pool = None

            def owns(self, pointer):
                return any(low <= pointer < high for low, high in self.spans)

        @contextlib.contextmanager
        def recording():
            gpu.stream, captured = 0x6000, SimpleNamespace(graph=None)
            gpu.log.append("begin")
            yield captured
            gpu.log.append("end")
            gpu.stream, captured.graph = 0x5000, f"graph {len(gpu.pools)}"

        monkeypatch.setattr(cupy_device, "PrivatePool", Pool)
        monkeypatch.setattr(cupy_device, "capturing", recording)
        monkeypatch.setattr(cupy_device, "launch_graph", lambda graph: gpu.log.append(graph))
        monkeypatch.setattr(cupy_device, "upload", lambda out, values: gpu.log.append(("upload", values.copy())))
        monkeypatch.setattr(cupy_device, "device", lambda number: contextlib.nullcontext())
        monkeypatch.setattr(cupy_device, "stream_source", lambda: lambda number: gpu.stream)
        monkeypatch.setattr(cuda_array, "empty", lambda shape, dtype, device: gpu.empty(shape, dtype))
        monkeypatch.setattr(flags, "stream_of", lambda device: gpu.stream)

    def empty(self, shape, dtype):
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        host = np.zeros(max(int(np.prod(shape)), 1), dtype)
        self.kept.append(host)
        if self.pool is not None:
            self.pool.spans.append((host.ctypes.data, host.ctypes.data + host.nbytes))
        memory = self.cupy.cuda.UnownedMemory(host.ctypes.data, host.nbytes, host, 0)
        return self.kind(shape, dtype, memptr=self.cupy.cuda.MemoryPointer(memory, 0))


@pytest.fixture
def gpu(monkeypatch):
    policy.require("cupy")
    with stub_driver.driven() as stub:
        made = Gpu(monkeypatch)
        made.stub = stub
        yield made


@policy.needs("native")
def test_a_step_becomes_a_graph(gpu):
    w = weft.Tensor(gpu.empty((64,), np.float32))
    x = weft.Tensor(gpu.empty((64,), np.float32))

    @weft.capture
    def step(x):
        w.assign(weft.dropout(w + x, p=0.5))
        return w * 2

    weft.random.seed(5)
    step(x)
    eager = len(gpu.stub.launches())
    assert not gpu.log and {call["stream"] for call in gpu.stub.launches()} == {0x5000}
    out = step(x)
    launched = gpu.stub.launches()[eager:]
    names = [call["kernel"] for call in launched]
    recorded = [call for call in launched if call["stream"] == 0x6000]
    assert names.count("dropout") == 1 and step.captures == 1
    assert len(recorded) == eager - 1  # the result is copied outside of the recording
    assert [entry if isinstance(entry, str) else entry[0] for entry in gpu.log] == ["begin", "end", "upload", "graph 1"]
    recording = next(iter(step.recordings.values()))
    own = recording.recorder
    # The dropout reads seed and offset where the host's values go before each launch of the graph.
    dropout = next(call for call in recorded if call["kernel"] == "dropout")
    seed_at, offset_at = (struct.unpack("<Q", value)[0] for value in bytes_of(dropout)[-2:])
    assert (seed_at, offset_at) == (own.table.pointer, own.table.pointer + 8)
    assert list(gpu.log[2][1]) == [5, 64] and weft.random.get_state() == (5, 128)
    # What the step made is the graph's own; what it was given is kept.
    pinned = {array.pointer for array in own.pinned}
    assert {w.data.pointer, recording.inputs[0].data.pointer} <= pinned and not any(map(own.pool.owns, pinned))
    assert own.pool.owns(recording.out.data.pointer) and not own.pool.owns(out.data.pointer)
    gpu.log.clear()
    before = len(gpu.stub.launches())
    step(x)
    later = gpu.stub.launches()[before:]
    assert gpu.log[1:] == ["graph 1"] and list(gpu.log[0][1]) == [5, 128]
    assert len(later) == 2 and {call["stream"] for call in later} == {0x5000}  # the argument in, the result out


@policy.needs("native")
def test_a_step_that_cannot_be_recorded_leaves_no_trace(gpu):
    x = weft.Tensor(gpu.empty((1,), np.float32))
    broken = []

    @weft.capture
    def step(x):
        y = weft.dropout(x, p=0.5)
        return y.item() if broken else y

    step(x)
    broken.append(1)
    before = weft.random.get_state()
    with pytest.raises(weft.CaptureError, match=r"stays on cuda:0, got a copy of \(1,\) to the host \(item at test_"):
        step(x)
    assert capturing.state.recorder is None and capturing.state.received is None
    assert weft.random.get_state() == before and step.captures == 0
