"""The loader: the same batches whatever the workers, exact resumes, and batches that are never written over."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from policy import HANG
from weft.autograd import Tensor
from weft.data import ArrayDataset, DataLoader, Dataset, SampleRandom, Subset, Windows, random_split


class Noisy(Dataset):
    """Samples that use their random numbers."""

    def __len__(self):
        return 23

    def get(self, i, rng):
        return rng.normal_array((3, 2)) + i, i, float(i)


def jitter(x, rng):
    return x + rng.uniform(-1, 1)[:, None]


IMAGES, LABELS = np.arange(23 * 4, dtype="f").reshape(23, 4), np.arange(23)
LOADERS = {
    "arrays": lambda **kw: DataLoader(ArrayDataset(IMAGES, LABELS), 5, True, seed=3, transform=jitter, **kw),
    "subset": lambda **kw: DataLoader(Subset(ArrayDataset(IMAGES, LABELS), LABELS[::-2]), 5, True, seed=3, **kw),
    "samples": lambda **kw: DataLoader(Noisy(), 5, True, seed=3, **kw),
    "windows": lambda **kw: DataLoader(Windows(np.arange(30), 4), 5, True, seed=3, **kw),
    "in order": lambda **kw: DataLoader(ArrayDataset(IMAGES, LABELS), 5, drop_last=True, **kw),
    "list": lambda **kw: DataLoader([(i, np.ones(2) * i) for i in range(23)], 5, True, **kw),
}


def epoch(loader):
    return [tuple(np.array(field.data) for field in batch) for batch in loader]


def equal(a, b):
    def same(x, y):
        return len(x) == len(y) and all(p.dtype == q.dtype and np.array_equal(p, q) for p, q in zip(x, y))

    return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b))


@pytest.mark.parametrize("kind", LOADERS)
def test_workers_change_nothing(kind):
    plain = LOADERS[kind]()
    wanted = [epoch(plain) for _ in range(3)]
    assert [len(batches) for batches in wanted] == [len(plain)] * 3
    for workers in (1, 2, 5):
        loader = LOADERS[kind](workers=workers)
        assert all(equal(epoch(loader), batches) for batches in wanted)


@pytest.mark.parametrize("kind", LOADERS)
@pytest.mark.parametrize("workers", [0, 2])
def test_resume_at_every_batch(kind, workers):
    plain = LOADERS[kind]()
    wanted = epoch(plain) + epoch(plain)
    cut = LOADERS[kind](workers=workers)
    for place in range(len(cut) + 1):
        running = LOADERS[kind](workers=workers)
        batches = iter(running)
        for _ in range(place):
            next(batches)
        state = running.state_dict()
        assert state["position"] == place and all(type(value) is int for value in state.values())
        resumed = LOADERS[kind](workers=workers)
        resumed.load_state_dict(state)
        assert equal(epoch(resumed) + epoch(resumed), wanted[place:])


def test_epochs_and_seeds_differ():
    loader = DataLoader(ArrayDataset(LABELS), 23, shuffle=True)
    first, second = epoch(loader)[0][0], epoch(loader)[0][0]
    other = epoch(DataLoader(ArrayDataset(LABELS), 23, shuffle=True, seed=1))[0][0]
    assert sorted(first) == sorted(second) == sorted(other) == list(range(23))
    assert not np.array_equal(first, second) and not np.array_equal(first, other)


def test_a_sample_does_not_depend_on_its_batch():
    by_size = [np.concatenate([x for x, _ in epoch(DataLoader(ArrayDataset(IMAGES, LABELS), n, transform=jitter))])
               for n in (1, 4, 23)]  # fmt: skip
    assert all(np.array_equal(by_size[0], other) for other in by_size)


def test_leaving_a_loop_early_starts_the_epoch_anew():
    loader = LOADERS["arrays"](workers=2)
    first = np.array(next(iter(loader))[0].data)
    assert np.array_equal(epoch(loader)[0][0], first)


def test_drop_last_and_lengths():
    assert len(DataLoader(ArrayDataset(LABELS), 5)) == 5
    assert len(DataLoader(ArrayDataset(LABELS), 5, drop_last=True)) == 4
    assert [len(batch[0]) for batch in epoch(DataLoader(ArrayDataset(LABELS), 5))] == [5, 5, 5, 5, 3]
    assert epoch(DataLoader(ArrayDataset(LABELS[:0]), 5)) == []


# ---- the ring


@pytest.mark.parametrize("kind", ["subset", "samples"])
@pytest.mark.parametrize("workers", [0, 3])
def test_held_batches_stay(kind, workers):
    loader = LOADERS[kind](workers=workers)
    held, copies = [], []
    for _ in range(4):
        for batch in loader:
            held.append((batch[0].data[1:, ...], batch[1]))  # a view of one, a Tensor of the other
            copies.append((np.array(held[-1][0]), np.array(batch[1].data)))
    for (view, tensor), (a, b) in zip(held, copies):
        assert np.array_equal(view, a) and np.array_equal(tensor.data, b)


def test_dropped_batches_are_used_again():
    loader = DataLoader(ArrayDataset(IMAGES), 4)
    places = {batch[0].data.__array_interface__["data"][0] for _ in range(10) for batch in loader}
    assert len(places) <= 3
    loader = DataLoader(Noisy(), 4, workers=2)
    places = set()
    for _ in range(10):
        for batch in loader:
            places.add(batch[0].data.__array_interface__["data"][0])
    assert len(places) <= 8


def test_threads_write_while_batches_are_held():
    loader = DataLoader(Noisy(), 2, shuffle=True, workers=4)
    for _ in range(5):
        kept = []
        for batch in loader:
            kept.append((batch, np.array(batch[0].data)))
            time.sleep(0.001)
            kept = kept[-3:]
            assert all(np.array_equal(b[0].data, copy) for b, copy in kept)


# ---- forms and errors


def test_forms_of_samples():
    class Words(Dataset):
        def __len__(self):
            return 3

        def __getitem__(self, i):
            return {"x": np.full(2, i, "f"), "y": i > 1}

    (batch,) = DataLoader(Words(), 3)
    assert list(batch) == ["x", "y"] and batch["x"].shape == (3, 2) and batch["y"].dtype == np.bool_
    (batch,) = DataLoader([1.5, 2.5], 2)
    assert isinstance(batch, Tensor) and batch.dtype == np.float32 and batch.tolist() == [1.5, 2.5]
    x, y = next(iter(DataLoader(ArrayDataset(Tensor(IMAGES), LABELS), 2)))
    assert x.dtype == np.float32 and y.dtype == np.int64


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_names_its_sample(workers):
    class Broken(Dataset):
        def __len__(self):
            return 40

        def __getitem__(self, i):
            if i == 17:
                raise OSError("no such picture")
            return np.zeros(2 if i != 31 else 3)

    before = set(threading.enumerate())
    loader = DataLoader(Broken(), 4, workers=workers)
    with pytest.raises(OSError, match="no such picture") as caught:
        list(loader)
    assert "DataLoader: in sample 17" in caught.value.__notes__
    for thread in set(threading.enumerate()) - before:
        thread.join(HANG)
        assert not thread.is_alive(), "a worker outlives its epoch"
    with pytest.raises(ValueError, match=r"expected all samples of shape \(2,\), as sample 0, got \(3,\)"):
        list(DataLoader(Subset(Broken(), range(20, 40)), 4, workers=workers).arrays()) and None


@pytest.mark.parametrize("samples", [[1, 0.5], [np.uint8(1), 300], [True, 2]])
def test_a_sample_that_would_be_cut_is_refused(samples):
    with pytest.raises(TypeError, match="expected all samples of dtype .*, as sample 0, got"):
        list(DataLoader(samples, 2))
    assert [x.dtype for x in DataLoader([0.5, 1], 2)] == [np.float32]


def test_a_subset_takes_no_mask():
    with pytest.raises(TypeError, match=r"Subset: expected integer indices \(n,\), got bool .*flatnonzero"):
        Subset(ArrayDataset(LABELS), LABELS == 3)
    with pytest.raises(TypeError, match=r"Subset: expected integer indices \(n,\), got float64"):
        Subset(ArrayDataset(LABELS), [0.5])
    assert len(Subset(ArrayDataset(LABELS), [])) == 0


def test_bad_arguments():
    for wrong in ({"batch_size": 0}, {"workers": -1}, {"prefetch": 0}):
        with pytest.raises(ValueError, match="DataLoader: expected"):
            DataLoader(ArrayDataset(LABELS), **wrong)
    with pytest.raises(TypeError, match="length and an index"):
        DataLoader(iter([1]))
    with pytest.raises(TypeError, match="arrays or numbers"):
        next(iter(DataLoader(["text"], 1)))
    state = DataLoader(ArrayDataset(LABELS), 5).state_dict()
    with pytest.raises(ValueError, match="batch_size 4, got 5"):
        DataLoader(ArrayDataset(LABELS), 4).load_state_dict(state)
    with pytest.raises(ValueError, match="one length"):
        ArrayDataset(IMAGES, LABELS[1:])
    with pytest.raises(IndexError, match="Subset"):
        Subset(ArrayDataset(LABELS), [23])


# ---- datasets


def test_random_split():
    dataset = ArrayDataset(LABELS)
    for lengths, sizes in (([0.7, 0.1, 0.2], [16, 2, 5]), ([20, 3], [20, 3]), ([0.5, 0.5, 0.0], [12, 11, 0])):
        parts = random_split(dataset, lengths, seed=4)
        assert [len(part) for part in parts] == sizes
        assert sorted(np.concatenate([part.indices for part in parts])) == list(range(23))
    halves = [random_split(dataset, [0.5, 0.5], seed=seed)[0].indices.tolist() for seed in (0, 0, 1)]
    assert halves[0] == halves[1] != halves[2]
    for wrong in ([0.5, 0.6], [10, 10], [], [-1.0, 2.0]):
        with pytest.raises(ValueError, match="random_split"):
            random_split(dataset, wrong)


def test_stratified_split():
    labels = np.repeat([0, 1, 2], [700, 200, 97])
    parts = random_split(ArrayDataset(labels), [0.7, 0.1, 0.2], stratify=labels)
    assert sorted(np.concatenate([part.indices for part in parts])) == list(range(997))
    for part, share in zip(parts, (0.7, 0.1, 0.2)):
        counts = np.bincount(labels[part.indices], minlength=3)
        assert np.abs(counts - share * np.array([700, 200, 97])).max() <= 2
    with pytest.raises(ValueError, match="one label per sample"):
        random_split(ArrayDataset(labels), [0.5, 0.5], stratify=labels[1:])


def test_windows():
    windows = Windows(np.arange(10, dtype="u1"), 4, stride=3)
    assert len(windows) == 2 and windows[1][0].tolist() == [3, 4, 5, 6] and windows[1][1].tolist() == [4, 5, 6, 7]
    assert len(Windows(np.arange(5), 4)) == 1
    for wrong in (np.arange(4), np.zeros(9), np.zeros((3, 9), int)):
        with pytest.raises(ValueError, match="Windows"):
            Windows(wrong, 4)


def test_random_numbers_of_samples():
    rng = SampleRandom(7, 2, np.arange(5000))
    uniform, integers = rng.uniform(-1, 1, (3,)), rng.integers(2, 7)
    assert uniform.shape == (5000, 3) and uniform.dtype == np.float32 and abs(uniform.mean()) < 0.02
    assert -1 <= uniform.min() < -0.99 and 0.99 < uniform.max() < 1 and set(integers) == {2, 3, 4, 5, 6}
    assert abs(np.corrcoef(uniform.T) - np.eye(3)).max() < 0.05
    again = SampleRandom(7, 2, np.array([4999, 3, 2**40]))
    assert np.array_equal(again.uniform(-1, 1, (3,))[:2], uniform[[4999, 3]])
    assert np.array_equal(again.integers(2, 7)[:2], integers[[4999, 3]])
    other = SampleRandom(7, 3, np.arange(5000)).uniform(-1, 1, (3,))
    assert abs(np.corrcoef(uniform[:, 0], other[:, 0])[0, 1]) < 0.05
