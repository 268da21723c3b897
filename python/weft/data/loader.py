"""The loader: batches of samples, made ahead by threads, the same whatever their number.

A sample is a function of (seed, epoch, index), so the whole state of a loader is three ints. Batches are written into a
ring of arrays that is allocated once; an array goes back into the ring when nobody holds it any more, so a batch that
the caller keeps is never written over.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from weft.autograd import Tensor
from weft.backends.device import check_device, default_device
from weft.backends.lanes import lane
from weft.data.dataset import Array, Dataset, Layout, get_sample
from weft.data.feeder import Feeder, unused
from weft.data.samplerandom import SampleRandom
from weft.random import Generator, fold


class DataLoader:
    """Batches of a dataset, as Tensors; iterate once per epoch.

    dataset: a Dataset, or anything with a length and an index. shuffle: a new order each epoch, from `seed`.
    drop_last: leave out a smaller last batch. workers: threads that make batches ahead; 0 makes them when asked for.
    transform: `transform(x, rng) -> x` over the first field of a whole batch (see `weft.data.augment`). mix: after it,
    `mix(x, labels, rng) -> (x, targets)` over the first two, such as `MixUp`.
    device: where the batches go, the default device unless one is given; samples are made on the CPU, in pinned memory
    for a GPU, and copied on a stream of their own. prefetch: batches on the way to a device ahead of the one in use,
    and made ahead by each worker.
    An error in a sample is raised again here, with the sample's index in its notes.

    A loop that is left early starts that epoch anew; after `load_state_dict` the first loop continues where the saved
    loader was, with the same batches to the bit.

    >>> loader = DataLoader(ArrayDataset(numpy.zeros((10, 3)), numpy.arange(10)), batch_size=4)   # doctest: +SKIP
    >>> [x.shape for x, y in loader]                                                        # doctest: +SKIP
    [(4, 3), (4, 3), (2, 3)]
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool = False,
        *,
        drop_last: bool = False,
        workers: int = 0,
        seed: int = 0,
        transform: Callable[[Array, SampleRandom], Array] | None = None,
        mix: Callable[[Array, Array, SampleRandom], tuple[Array, Array]] | None = None,
        prefetch: int = 2,
        device: str | None = None,
    ):
        if batch_size < 1 or workers < 0 or prefetch < 1:
            raise ValueError("DataLoader: expected batch_size >= 1, workers >= 0 and prefetch >= 1, "
                             f"got {batch_size}, {workers} and {prefetch}")  # fmt: skip
        if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
            raise TypeError(f"DataLoader: expected a dataset with a length and an index, got {type(dataset).__name__}")
        self.dataset, self.batch_size, self.shuffle, self.drop_last = dataset, batch_size, shuffle, drop_last
        self.workers, self.seed, self.prefetch = workers, seed, prefetch
        self.transform, self.mix = transform, mix
        self.device = None if device is None else check_device(device)
        self.epoch = 0
        self.position = 0  # batches of this epoch that were handed out
        self.resumed_at = 0
        self.ring: Ring | None = None
        self.feeder: Feeder | None = None
        self.names: Any = None  # keys of a dict sample, the number of fields of a tuple, or None for a single value

    def __len__(self) -> int:
        n = len(self.dataset)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def order(self, epoch: int) -> Array:
        """Indices of the samples in the order of an epoch, int64 (n,)."""
        if self.shuffle:
            return Generator(fold(self.seed, epoch)).permutation_array(len(self.dataset))
        return np.arange(len(self.dataset))

    def indices(self, epoch: int, number: int) -> Array:
        """Indices of the samples in batch `number` of an epoch."""
        return self.order(epoch)[number * self.batch_size : (number + 1) * self.batch_size]

    def state_dict(self) -> dict[str, int]:
        """Where the loader is: seed, epoch, batches handed out, and the sizes that these count in."""
        return {"seed": self.seed, "epoch": self.epoch, "position": self.position,
                "samples": len(self.dataset), "batch_size": self.batch_size}  # fmt: skip

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue where `state_dict` was taken; ValueError if dataset or batch size have changed."""
        here = self.state_dict()
        for name in ("samples", "batch_size"):
            if state[name] != here[name]:
                raise ValueError(f"DataLoader: expected a state with {name} {here[name]}, got {state[name]}")
        self.seed, self.epoch, self.position = state["seed"], state["epoch"], state["position"]
        self.resumed_at = self.position

    def __iter__(self) -> Iterator[Any]:
        return self.on(self.device or default_device())

    def on(self, device: str) -> Iterator[Any]:
        """One epoch, as iterating gives it, with the batches on `device`."""
        for arrays in self.batches(device):
            tensors = [Tensor(array) for array in arrays]
            del arrays  # else a batch that the caller has dropped would still count as held
            batch = self.structure(tensors)
            del tensors
            yield batch
            del batch

    def structure(self, tensors: list[Any]) -> Any:
        """The fields of a batch in the form of a sample."""
        if self.names is None:
            return tensors[0]
        return tuple(tensors) if isinstance(self.names, int) else dict(zip(self.names, tensors))

    def arrays(self) -> Iterator[list[Array]]:
        """The batches of one epoch as lists of NumPy arrays."""
        return self.batches("cpu")

    def batches(self, device: str) -> Iterator[list[Any]]:
        """The batches of one epoch as lists of arrays on a device."""
        start, self.resumed_at = self.resumed_at, 0
        self.position = start
        epoch, order = self.epoch, self.order(self.epoch)
        if device != "cpu" and (self.feeder is None or self.feeder.lane.device != device):
            self.feeder, self.ring = Feeder(lane(device), self.prefetch), None
        if self.ring is None and len(self) > start:
            allocate = np.empty if device == "cpu" or self.feeder is None else self.feeder.lane.host
            self.ring = Ring(self.find_layout(epoch, int(order[0])), self.batch_size, allocate)
        made = self.make_all(epoch, order, start)
        for batch in made if device == "cpu" or self.feeder is None else self.feeder.feed(made):
            self.position += 1
            yield batch
            del batch
        self.epoch, self.position = epoch + 1, 0

    def make_all(self, epoch: int, order: Array, start: int) -> Iterator[list[Array]]:
        if not self.workers:
            for number in range(start, len(self)):
                yield self.make(epoch, order, number)
            return
        from concurrent.futures import Future, ThreadPoolExecutor

        pool = ThreadPoolExecutor(self.workers, "weft-loader")
        pending: deque[Future[list[Array]]] = deque()
        try:
            for number in range(start, len(self) + self.prefetch * self.workers):
                if number < len(self):
                    pending.append(pool.submit(self.make, epoch, order, number))
                if pending and (number >= len(self) or len(pending) >= self.prefetch * self.workers):
                    yield pending.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def make(self, epoch: int, order: Array, number: int) -> list[Array]:
        """One batch, on whichever thread."""
        ring = self.ring
        if ring is None:
            raise RuntimeError("DataLoader: expected a ring before the first batch")
        indices = order[number * self.batch_size : (number + 1) * self.batch_size]
        slot = ring.take()
        batch = [array[: len(indices)] for array in slot]
        try:
            if getattr(self.dataset, "layout", None) is not None:
                self.dataset.batch(indices, batch)
            else:
                self.fill(epoch, indices, batch)
            rng = SampleRandom(self.seed, epoch, indices)
            if self.transform is not None:
                batch[0] = self.transform(batch[0], rng)
            if self.mix is not None:
                if len(batch) < 2:
                    raise ValueError("DataLoader: expected samples of an image and a label to mix, got one field")
                batch[:2] = self.mix(batch[0], batch[1], rng)
        except Exception as error:
            error.add_note(f"DataLoader: in batch {number} of epoch {epoch}, samples {shorten(indices)}")
            raise
        ring.give(slot)
        return batch

    def fill(self, epoch: int, indices: Array, batch: list[Array]) -> None:
        """Sample by sample, each with its own random numbers."""
        for row, index in enumerate(indices.tolist()):
            try:
                fields, names = self.fields(epoch, index)
                if names != self.names:
                    raise ValueError(f"DataLoader: expected samples with fields {self.names}, got {names}")
                for target, field in zip(batch, fields):
                    if field.shape != target.shape[1:]:
                        raise ValueError(f"DataLoader: expected all samples of shape {target.shape[1:]}, as sample "
                                         f"{self.first}, got {field.shape}")  # fmt: skip
                    if field.dtype is not target.dtype and not np.can_cast(field.dtype, target.dtype, "same_kind"):
                        raise TypeError(f"DataLoader: expected all samples of dtype {target.dtype}, as sample "
                                        f"{self.first}, got {field.dtype}")  # fmt: skip
                    target[row] = field
            except Exception as error:
                error.add_note(f"DataLoader: in sample {index}")
                raise

    def fields(self, epoch: int, index: int) -> tuple[list[Array], Any]:
        """The fields of a sample as arrays, and their form."""
        rng = Generator(fold(self.seed, epoch, index)) if isinstance(self.dataset, Dataset) else None
        sample = get_sample(self.dataset, index, rng)
        if isinstance(sample, dict):
            return [as_array(value) for value in sample.values()], list(sample)
        if isinstance(sample, (tuple, list)):
            return [as_array(value) for value in sample], len(sample)
        return [as_array(sample)], None

    def find_layout(self, epoch: int, first: int) -> Layout:
        """Shapes and dtypes of the fields: the dataset's word, or those of the first sample."""
        layout: Layout | None = getattr(self.dataset, "layout", None)
        if layout is not None:
            self.names = len(layout)
            return layout
        self.first = first
        try:
            fields, self.names = self.fields(epoch, first)
        except Exception as error:
            error.add_note(f"DataLoader: in sample {first}")
            raise
        return [(field.shape, field.dtype) for field in fields]


class Ring:
    """Arrays of batches, used again once nobody else refers to them; a view or a Tensor refers to its base."""

    def __init__(self, layout: Layout, rows: int, allocate: Callable[..., Array] = np.empty):
        self.layout, self.rows, self.allocate = layout, rows, allocate
        self.slots: list[tuple[Array, ...]] = []
        self.lock = threading.Lock()

    def take(self) -> tuple[Array, ...]:
        """Arrays (rows, *shape) that nobody refers to; new ones where all are held."""
        with self.lock:
            for i in range(len(self.slots)):
                if unused(self.slots[i]):
                    return self.slots.pop(i)
        return tuple(self.allocate((self.rows, *shape), dtype) for shape, dtype in self.layout)

    def give(self, slot: tuple[Array, ...]) -> None:
        """Put a slot back, filled: from now on its references tell whether it is held."""
        with self.lock:
            if len(self.slots) < MAX_SLOTS:
                self.slots.append(slot)


MAX_SLOTS = 64


def as_array(value: Any) -> Array:
    """A field of a sample; Python floats become float32."""
    if isinstance(value, Tensor):
        return value.numpy()
    if isinstance(value, float):
        return np.asarray(value, np.float32)
    array = np.asarray(value)
    if array.dtype.kind not in "biufcV":
        raise TypeError(f"DataLoader: expected arrays or numbers in a sample, got {type(value).__name__}")
    return array


def shorten(indices: Array) -> str:
    listed = ", ".join(str(i) for i in indices[:8])
    return f"[{listed}{', ...' if len(indices) > 8 else ''}]"
