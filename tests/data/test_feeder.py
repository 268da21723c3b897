"""Batches on their way to a device: the same ones, ahead of use, never written over; who waits for whom on a GPU."""

from __future__ import annotations

import gc
from types import SimpleNamespace

import numpy as np
import pytest

import fake_cupy
import weft
from data.test_loader import IMAGES, LABELS, LOADERS, Noisy, epoch, equal
from policy import needs
from stub_driver import FakeArray
from weft.backends.lanes import CudaLane, Lane
from weft.data import ArrayDataset, DataLoader
from weft.data.feeder import Feeder


def on_host(loader):
    return [tuple(np.array(field.numpy()) for field in batch) for batch in loader]


@needs("emulator")
@pytest.mark.parametrize("kind", LOADERS)
@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_those_of_the_cpu(kind, workers):
    plain, there = LOADERS[kind](), LOADERS[kind](workers=workers, device="emulated")
    for _ in range(2):
        assert equal(on_host(there), epoch(plain))
    assert all(field.device == "emulated" for field in next(iter(there)))


@needs("emulator")
def test_position_counts_what_was_handed_out():
    wanted = epoch(LOADERS["samples"]())
    for place in range(len(wanted) + 1):
        loader = LOADERS["samples"](device="emulated", prefetch=3)
        batches = iter(loader)
        for _ in range(place):
            next(batches)
        assert loader.state_dict()["position"] == place
        resumed = LOADERS["samples"](device="emulated")
        resumed.load_state_dict(loader.state_dict())
        assert equal(on_host(resumed), wanted[place:])


@needs("emulator")
def test_held_batches_stay_and_dropped_ones_are_used_again():
    loader = DataLoader(Noisy(), 5, workers=2, device="emulated")
    held = [(batch[0].data[1:, ...], batch[1], batch[0].numpy().copy(), batch[1].numpy().copy())
            for _ in range(3) for batch in loader]  # fmt: skip
    for view, tensor, a, b in held:
        assert np.array_equal(view.get(), a[1:]) and np.array_equal(tensor.numpy(), b)
    loader = DataLoader(ArrayDataset(IMAGES, LABELS), 4, device="emulated")
    places = {batch[0].data.pointer for _ in range(10) for batch in loader}
    assert len(places) <= 5  # one in use, one just used, two ahead, one that goes


@needs("emulator")
@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_comes_in_its_place(workers):
    class Broken(Noisy):
        def get(self, i, rng):
            if i == 12:
                raise OSError("no such picture")
            return super().get(i, rng)

    seen = []
    with pytest.raises(OSError, match="no such picture") as caught:
        for _, index, _ in DataLoader(Broken(), 4, workers=workers, device="emulated"):
            seen.append(index.numpy()[0])
    assert seen == [0, 4, 8] and "DataLoader: in sample 12" in caught.value.__notes__


# ---- a GPU's streams, by what CuPy is asked


class Arrays(FakeArray):
    """A GPU's array over memory of this process."""

    def __init__(self, host):
        super().__init__(host.ctypes.data, host.dtype)
        self.host = host

    def __getitem__(self, index):
        view = Arrays(self.host[index])
        view.base = self
        return view


@pytest.fixture
def gpu(monkeypatch):
    fake, _ = fake_cupy.install(monkeypatch)
    lane = CudaLane("cuda:0")
    monkeypatch.setattr(lane, "array", lambda shape, dtype: Arrays(np.empty(shape, dtype)))
    return SimpleNamespace(fake=fake, lane=lane, copies=lane.stream.name)


def test_copies_overlap_and_streams_wait_for_each_other(gpu):
    values = [[np.full((3, 2), i, "f"), np.arange(3) + i] for i in range(6)]
    feeder, calls = Feeder(gpu.lane, ahead=1), gpu.fake.calls
    calls.clear()
    ready = {}
    for i, batch in enumerate(feeder.feed(iter(values))):
        sent = [call for call in calls if call[0] == "copy"]
        assert len(sent) == 2 * min(i + 2, 6)  # this batch and the next are on their way
        assert {call[3] for call in sent} == {gpu.lane.stream.ptr}
        slot = next(s for s in feeder.slots if s.arrays[0] is batch[0].base)
        assert calls[-1] == ("stream wait", "null", slot.ready.name) or ("record", slot.free.name, "null") in calls
        np.testing.assert_array_equal(batch[0].host, values[i][0])
        np.testing.assert_array_equal(batch[1].host, values[i][1])
        ready[i] = slot
        slot.ready.done = True  # the copy is over before the step is
        del batch
    assert len(feeder.slots) == 3 and ready[3] is ready[0] and ready[4] is ready[1]
    # Between two copies into one slot: the reader's stream passes `free`, and the copies wait for it.
    slot = ready[0]
    order = [call for call in calls if slot.free.name in call]
    assert order[:4] == [("record", slot.free.name, "null"), ("stream wait", gpu.copies, slot.free.name)] * 2
    waits = [call for call in calls if call[:2] == ("stream wait", "null")]
    assert len(waits) == 6  # what computes waits for each batch, and the host for none
    assert not [call for call in calls if call[0] in ("wait", "synchronize", "device")]


def test_what_is_being_copied_is_not_made_anew(gpu):
    first = np.ones((2, 2), "f")
    feeder = Feeder(gpu.lane, ahead=2)
    batches = feeder.feed(iter([[first], [first * 2], [first * 3]]))
    next(batches)
    slot = feeder.slots[0]
    assert slot.host[0] is first and not gpu.lane.done(slot.ready)
    feeder.look()
    assert slot.host[0] is first
    slot.ready.done = True
    feeder.look()
    assert slot.host is None


def test_a_loader_makes_batches_for_a_gpu_in_pinned_memory(gpu, monkeypatch):
    from weft.data import loader as module

    made = []
    pinned = gpu.lane.host

    def host(shape, dtype):
        made.append((shape, np.dtype(dtype)))
        return pinned(shape, dtype)

    monkeypatch.setattr(gpu.lane, "host", host)
    monkeypatch.setattr(module, "lane", lambda device: gpu.lane)
    monkeypatch.setattr(module, "Tensor", lambda array: array)
    loader = DataLoader(ArrayDataset(IMAGES, LABELS), 5, device="cuda:0")
    batches = [tuple(field.host.copy() for field in batch) for batch in loader]
    assert [b[0].tolist() for b in batches] == [IMAGES[i : i + 5].tolist() for i in range(0, 23, 5)]
    assert ((5, 4), np.dtype("f")) in made and weft.default_device() == "cpu"


@needs("emulator")
def test_what_is_dropped_on_its_way_is_waited_for():
    class Slow(Lane):
        def __init__(self):
            super().__init__("emulated")
            self.finished = []

        def event(self):
            return object()

        def done(self, event):
            return False

        def finish(self, event):
            self.finished.append(event)

    lane = Slow()
    feeder = Feeder(lane, ahead=1)
    batches = feeder.feed(iter([[np.ones((2, 3), np.float32)] for _ in range(4)]))
    next(batches)
    ready = {slot.ready for slot in feeder.slots}
    assert len(ready) == 2 and not lane.finished
    del batches, feeder
    gc.collect()
    assert set(lane.finished) == ready
